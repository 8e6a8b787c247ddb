"""A store in a local folder: every object is a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from trajstore.errors import NotAStoreError, StoreError
from trajstore.storage.caching import LoadingCache
from trajstore.storage.durable import find_debris, make_folders, publish, remove, sweep
from trajstore.storage.interface import ByteRange, Bytes, Change, Check
from trajstore.storage.location import Location
from trajstore.storage.locking import lock_folder
from trajstore.text import quote

OPEN_FILES_MAX: Final = 128
"""Files that are kept open for reading; processes are usually allowed 1024."""

SMALL_BYTES: Final = 2**16
"""Files that are smaller are read at one go."""

_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # a folder of that name is no object


class Folder:
    """The files of a folder, which need not exist yet; see `trajstore.storage.interface.Storage`."""

    waits = False
    is_locked = True

    def __init__(self, location: Location, *, open_files_max: int = OPEN_FILES_MAX) -> None:
        self.location = location
        self.root = Path(location.url)
        self._open_files_max = open_files_max
        self._files: LoadingCache[str, _File] = LoadingCache(open_files_max)

    def read(self, key: str) -> bytes | None:
        """Read a file; see `Storage`."""
        try:
            # a file object asks the system twice as many questions, and a store may have 100,000 flags
            descriptor = os.open(f"{self.root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except _NOT_THERE:
            return None
        try:
            data = os.read(descriptor, SMALL_BYTES)
            if len(data) < SMALL_BYTES:
                return data
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return data + file.read()
        except IsADirectoryError:
            return None
        finally:
            os.close(descriptor)

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read small files one after the other, which takes microseconds each; see `Storage`."""
        return ((key, self.read(key)) for key in keys)

    def read_tail(self, key: str, length: int) -> tuple[Bytes, int]:
        """Read the end of a file; see `Storage`."""
        file = self._open(key)
        size = os.fstat(file.descriptor).st_size
        start = max(0, size - length)
        return os.pread(file.descriptor, size - start, start), size

    def read_ranges(self, key: str, ranges: Iterable[ByteRange]) -> Iterator[Bytes]:
        """Read parts of a file one after the other; see `Storage`."""
        file = self._open(key)  # held until all are read: another thread may push it out of the cache
        for start, length in ranges:
            yield os.pread(file.descriptor, length, start)

    def forget(self, key: str) -> None:
        """Open a file anew the next time; see `Storage`."""
        self._files.discard(key)

    def write(self, key: str, data: Bytes, *, check: Check | None = None) -> None:
        """Write a file durably; see `Storage`."""
        if check is None:
            publish(self.root / key, data)
        else:
            publish(self.root / key, data, guard=partial(self._hold, check))

    def update(self, key: str, change: Change) -> None:
        """Replace a file durably while no other process does; see `Storage`."""
        make_folders(self.root)
        with lock_folder(self.root, is_shared=False) as self.is_locked:
            data = change(self.read(key))
            if data is not None:
                publish(self.root / key, data)

    def create(self, key: str, data: Bytes) -> bool:
        """Write a file durably unless it is there; see `Storage`."""
        try:
            publish(self.root / key, data, exclusive=True)
        except FileExistsError:
            return False
        return True

    def remove(self, key: str, *, check: Check | None = None) -> None:
        """Remove a file durably; see `Storage`."""
        if check is None:
            remove(self.root / key)
        else:
            remove(self.root / key, guard=partial(self._hold, check))

    def prune(self, prefix: str) -> None:
        """Remove a folder that is empty; see `Storage`."""
        with suppress(OSError):  # it is not there, or not empty
            (self.root / prefix).rmdir()

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        """List files; see `Storage`."""
        try:
            entries = list(os.scandir(self.root / prefix))
        except _NOT_THERE:
            return
        for entry in entries:
            key = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self.list_keys(key)
            else:
                yield key

    def measure(self) -> dict[str, int]:
        """Add up the sizes of all files; see `Storage`."""
        return {entry.name: _measure(entry) for entry in os.scandir(self.root)}

    def check_free(self, allowed: Iterable[str]) -> None:
        """Check that a store can be created here; see `Storage`."""
        folder = self.root
        if folder.is_dir():
            keys = set(allowed)
            for key in sorted(self.list_keys()):
                if not (key in keys or key.endswith(".partial")):
                    message = (
                        f"{folder}: found a folder with other files ({key}), expected a store, an empty folder or "
                        "none; name another path"
                    )
                    raise NotAStoreError(message)
        elif os.path.lexists(folder):
            message = f"{folder}: found a file, expected a store's folder or nothing; name another path"
            raise NotAStoreError(message)
        else:
            folder = folder.parent
            if not folder.is_dir():
                message = (
                    f"{self.root}: the folder {folder} does not exist, expected a folder to create the store in; "
                    f"make it first: mkdir -p {quote(str(folder))}"
                )
                raise StoreError(message)
        if not os.access(folder, os.W_OK | os.X_OK):
            message = f"{self.root}: no permission to write in {folder}; change its permissions or name another path"
            raise StoreError(message)

    def find_debris(self) -> list[str]:
        """Temporary files of dead writers; see `Storage`."""
        return sorted(file.relative_to(self.root).as_posix() for file in find_debris(self.root))

    def sweep(self) -> list[str]:
        """Remove temporary files of dead writers; see `Storage`."""
        return [file.relative_to(self.root).as_posix() for file in sweep(self.root)]

    @contextmanager
    def _hold(self, check: Check) -> Iterator[None]:
        """Keep all from updating while something is done that depends on a check."""
        with lock_folder(self.root, is_shared=True) as self.is_locked:
            check()
            yield

    def _open(self, key: str) -> _File:
        """The open file of a name."""
        return self._files.get(key, lambda key: _File(self.root / key))

    def __reduce__(self) -> tuple[Any, ...]:
        return Folder, (self.location,)


def _measure(entry: os.DirEntry[str]) -> int:
    """Bytes of a file, or of all files of a folder."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return sum(map(_measure, os.scandir(entry.path)))
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # a temporary file that is gone by now
        return 0


class _File:
    """A descriptor that is closed when the last thread that uses it lets go of it."""

    _close = staticmethod(os.close)  # a module may be gone when Python ends

    def __init__(self, path: Path) -> None:
        self.descriptor: Final = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            self._close(self.descriptor)
