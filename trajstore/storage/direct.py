"""Writing large files without copying them into the page cache first.

On the project's machine that copy and its way to the disk take a tenth of the processors' time of a build. A file
written around the cache is read from the disk the first time, and nothing else is pushed out of the cache for it.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import Final

import numpy as np

try:
    import fcntl
except ImportError:  # not a POSIX system: everything goes through the page cache
    fcntl = None  # type: ignore[assignment]

BLOCK: Final = 4096
"""Memory and file offsets of direct writes are multiples of this."""

DIRECT_BYTES_MIN: Final = 2**20
"""Smaller files go through the page cache: there the copy costs less than waiting."""


class PageBuffer:
    """Memory that begins at a page and is used again and again; it grows as it is filled.

    Growing pages costs as much as filling them, so a thread that makes one shard after the other keeps its buffer.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2**20)
        self._size = 0

    def clear(self) -> None:
        """Forget the content, keep the memory; views of it become invalid."""
        self._size = 0

    def append(self, data: bytes) -> None:
        """Add some bytes at the end."""
        end = self._size + len(data)
        if end > len(self._memory):
            larger = mmap.mmap(-1, max(end, 2 * len(self._memory)))
            larger[: self._size] = self._memory[: self._size]
            self._memory = larger
        self._memory[self._size : end] = data
        self._size = end

    def view(self) -> memoryview:
        """The content, without a copy."""
        return memoryview(self._memory)[: self._size]

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self._size


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write bytes at the start of a file; whole blocks around the page cache where memory and filesystem allow it."""
    view = memoryview(data).cast("B")
    bulk = view.nbytes - view.nbytes % BLOCK
    written = 0
    if bulk >= DIRECT_BYTES_MIN and _is_aligned(view) and _set_direct(descriptor, is_direct=True):
        try:
            while written < bulk:
                written += os.write(descriptor, view[written:bulk])
        except OSError as error:
            if error.errno != errno.EINVAL:  # which says that this filesystem wants other blocks
                raise
        finally:
            _set_direct(descriptor, is_direct=False)
    while written < view.nbytes:
        written += os.write(descriptor, view[written:])


def _is_aligned(view: memoryview) -> bool:
    """Whether memory begins at a block."""
    return np.frombuffer(view, np.uint8).ctypes.data % BLOCK == 0


def _set_direct(descriptor: int, *, is_direct: bool) -> bool:
    """Switch direct writes on or off; False where the filesystem has none."""
    flag = getattr(os, "O_DIRECT", 0)
    if fcntl is None or not flag:
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | flag if is_direct else flags & ~flag)
    except OSError:
        return False
    return True
