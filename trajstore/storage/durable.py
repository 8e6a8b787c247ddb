"""Files that are there whole and for good, or not at all: the one place where trajstore writes to a disk.

In this order, always: bytes to a temporary file, fsync, rename, fsync of the folder. A process that is killed leaves
at most a temporary file, whose name says who was writing; `sweep` removes those of dead writers.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count, groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from trajstore.storage.direct import write_all

PARTIAL_SUFFIX: Final = ".partial"
_PARTIAL_NAME = re.compile(r"\.(?P<host>[\w-]+)~(?P<process>\d+)~\d+\.partial$")
_STALE_SECONDS: Final = 24 * 3600
_NO_LINKS: Final = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What filesystems without hard links say, such as exFAT, SMB and some in user space."""
_NAME_BYTES_MAX: Final = 255
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_serial = count()
_in_flight: set[str] = set()
_on_disk: set[Path] = set()
"""Folders whose entry in the folder above this process has put on disk."""


Guard = Callable[[], AbstractContextManager[object]]
"""What is entered while a file gets its name or loses it; what it raises leaves all as it was."""


def publish(
    path: Path,
    data: bytes | bytearray | memoryview,
    *,
    exclusive: bool = False,
    guard: Guard = nullcontext,
) -> None:
    """Write a file so that it is there whole and for good when this returns, or not at all."""
    make_folders(path.parent)
    partial = _name_partial(path)
    _in_flight.add(partial.name)
    try:
        _write(partial, path, data, exclusive=exclusive, guard=guard)
    finally:
        _in_flight.discard(partial.name)
    _sync_folder(path.parent)


def publish_all(pieces: Iterable[tuple[Path, bytes | bytearray | memoryview]]) -> int:
    """Write many files as `publish` does, but wait for the disk once and not once for each.

    Successive pieces of the same path become one file. Returns how many bytes were written.
    """
    unnamed: deque[tuple[Path, Path]] = deque()
    total = 0
    try:
        for path, file in groupby(pieces, key=itemgetter(0)):
            partial = _name_partial(path)
            _in_flight.add(partial.name)
            unnamed.append((partial, path))
            with partial.open("wb") as stream:
                for _, piece in file:
                    total += stream.write(piece)
                    stream.flush()
                    _begin_writing(stream.fileno())
        folders = {path.parent for _, path in unnamed}
        for partial, _ in unnamed:  # opened again, so that any number of files needs one descriptor
            _sync(partial, os.O_RDONLY)
        while unnamed:
            partial, path = unnamed[0]
            partial.replace(path)
            unnamed.popleft()
            _in_flight.discard(partial.name)
    finally:
        for partial, _ in unnamed:
            _in_flight.discard(partial.name)
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    for folder in folders:
        _sync_folder(folder)
    return total


@contextlib.contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Give the temporary name of a file that something else writes; it has its own when it is whole and for good."""
    partial = _name_partial(path)
    _in_flight.add(partial.name)
    try:
        yield partial
        _sync(partial, os.O_RDONLY)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    finally:
        _in_flight.discard(partial.name)
    _sync_folder(path.parent)


def remove(path: Path, *, guard: Guard = nullcontext) -> None:
    """Remove a file so that it is gone for good when this returns; harmless where there is none."""
    with contextlib.suppress(FileNotFoundError):
        with guard():
            path.unlink()
        _sync_folder(path.parent)


def remove_all(folder: Path) -> None:
    """Remove a folder and all that is in it; harmless where there is none."""
    if folder.is_dir():
        shutil.rmtree(folder)
        _sync_folder(folder.parent)


def make_folders(folder: Path) -> None:
    """Make a folder and the missing ones above it, each entry on disk."""
    if folder.is_dir():
        if folder not in _on_disk:
            # whoever made it may have been killed before its entry was on disk; or it is none of ours, and above it
            # there may be folders that nobody may read
            with contextlib.suppress(OSError):
                _sync_folder(folder.parent)
            _on_disk.add(folder)
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)
    _on_disk.add(folder)


def _name_partial(path: Path) -> Path:
    """A temporary name beside a file's, which says who is writing."""
    writer = f".{_host()}~{os.getpid()}~{next(_serial)}{PARTIAL_SUFFIX}"
    name = os.fsencode(path.name)
    if len(name) <= _NAME_BYTES_MAX:  # a longer one the system refuses itself
        name = name[: _NAME_BYTES_MAX - len(writer)]
    return path.with_name(os.fsdecode(name) + writer)


def _begin_writing(descriptor: int) -> None:
    """Ask the system to write a file to the disk now, so that the next is made meanwhile."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _write(
    partial: Path, path: Path, data: bytes | bytearray | memoryview, *, exclusive: bool, guard: Guard
) -> None:
    """Write to the temporary name, then rename; again if the temporary file was swept meanwhile."""
    while True:
        is_made = False
        try:
            with partial.open("wb", buffering=0) as file:
                is_made = True
                write_all(file.fileno(), data)
                os.fsync(file.fileno())
            if exclusive:
                _rename_exclusively(partial, path)
            else:
                with guard():
                    partial.replace(path)
        except BaseException as error:
            if isinstance(error, FileNotFoundError) and is_made and path.parent.is_dir():
                continue  # swept by a builder that could not see this process: write it again
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        return


def _rename_exclusively(partial: Path, path: Path) -> None:
    """Give a temporary file its name, unless there is a file of that name: `FileExistsError`."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        if path.lstat().st_size:
            raise
        _take_over(partial, path)
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        partial.unlink(missing_ok=True)
        return
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and not rename(
        _AT_FDCWD, os.fsencode(partial), _AT_FDCWD, os.fsencode(path), _RENAME_NOREPLACE
    ):
        return
    number = ctypes.get_errno() if rename else errno.ENOSYS
    if number not in (errno.EINVAL, errno.EEXIST, *_NO_LINKS):
        raise OSError(number, os.strerror(number), str(partial), None, str(path))
    _take_over(partial, path)


def _take_over(partial: Path, path: Path) -> None:
    """Rename a temporary file to a name that is free, or whose empty file a process left that was killed here.

    One process at a time, which the system ensures by a lock that ends with it.
    """
    import fcntl  # not a part of every system's Python

    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    try:
        descriptor, is_new = os.open(path, flags | os.O_EXCL), True
    except FileExistsError:
        descriptor, is_new = os.open(path, flags), False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            is_mine = True
        except OSError:  # a filesystem without locks
            is_mine = is_new
        found = os.fstat(descriptor)
        if not is_mine or found.st_size or not os.path.samestat(found, path.lstat()):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        partial.replace(path)
    finally:
        os.close(descriptor)


def sweep(root: Path) -> list[Path]:
    """Remove temporary files whose writer is dead."""
    debris = list(find_debris(root))
    for partial in debris:
        partial.unlink(missing_ok=True)
    return debris


def find_partials(root: Path) -> Iterator[Path]:
    """All temporary files below a folder."""
    for partial in root.rglob(f"*{PARTIAL_SUFFIX}"):
        if is_partial(partial.name):
            yield partial


def find_debris(root: Path) -> Iterator[Path]:
    """Temporary files of dead writers below a folder."""
    return filter(_is_dead, find_partials(root))


def is_partial(name: str) -> bool:
    """Whether a file's name is one that `publish` gives temporary files."""
    return _PARTIAL_NAME.search(name) is not None


def _host() -> str:
    """Name of the machine in characters that are safe in a file's name."""
    return re.sub(r"[^\w-]", "_", socket.gethostname()) or "_"


def _is_dead(partial: Path) -> bool:
    """Whether the writer of a temporary file is gone."""
    match = _PARTIAL_NAME.search(partial.name)
    if match is None:
        return False
    if match["host"] != _host():
        with contextlib.suppress(FileNotFoundError):
            return time.time() - partial.stat().st_mtime > _STALE_SECONDS
        return False
    process = int(match["process"])
    if process == os.getpid():  # or an earlier process of the same number, as in containers
        return partial.name not in _in_flight
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    """Put what there is of a file or folder on disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
