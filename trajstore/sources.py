"""Where the bytes of a store come from: one small interface, and local files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

from trajstore.caching import BoundedCache

OPEN_FILES_MAX: Final = 128
"""Files that a source keeps open; processes are usually allowed 1024."""


class ByteSource(Protocol):
    """Named objects of bytes, read by several threads at once.

    All methods raise `FileNotFoundError` for a name that is not there, and `OSError` where reading fails.
    """

    def read(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object.

        Parameters
        ----------
        key : str
            The object's name in the store.
        start, length : int
            Which bytes.

        Returns
        -------
        bytes
            Fewer than ``length`` where the object ends earlier.
        """
        ...

    def size(self, key: str) -> int:
        """Bytes of an object.

        Parameters
        ----------
        key : str
            The object's name in the store.

        Returns
        -------
        int
            Its size.
        """
        ...

    def forget(self, key: str) -> None:
        """Let go of whatever is kept of an object, because it may have been replaced.

        Parameters
        ----------
        key : str
            The object's name in the store.
        """
        ...


class LocalSource:
    """Files of a folder, kept open from one read to the next.

    Parameters
    ----------
    root : Path
        The folder.
    open_files_max : int
        How many files to keep open.
    """

    def __init__(self, root: Path, *, open_files_max: int = OPEN_FILES_MAX) -> None:
        self._root = root
        self._files: BoundedCache[str, _File] = BoundedCache(open_files_max)

    def read(self, key: str, start: int, length: int) -> bytes:
        """Read a part of a file; see `ByteSource`.

        Parameters
        ----------
        key : str
            The file's name in the folder.
        start, length : int
            Which bytes.

        Returns
        -------
        bytes
            Fewer than ``length`` where the file ends earlier.
        """
        file = self._open(key)  # held until the bytes are read: another thread may push it out of the cache
        return os.pread(file.descriptor, length, start)

    def size(self, key: str) -> int:
        """Bytes of a file; see `ByteSource`.

        Parameters
        ----------
        key : str
            The file's name in the folder.

        Returns
        -------
        int
            Its size.
        """
        file = self._open(key)
        return os.fstat(file.descriptor).st_size

    def forget(self, key: str) -> None:
        """Open a file anew the next time.

        Parameters
        ----------
        key : str
            The file's name in the folder.
        """
        self._files.discard(key)

    def _open(self, key: str) -> _File:
        """The open file of a name."""
        return self._files.get(key, lambda key: _File(self._root / key))


class _File:
    """A descriptor that is closed when the last thread that uses it lets go of it."""

    def __init__(self, path: Path) -> None:
        self.descriptor: Final = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
