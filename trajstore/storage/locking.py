"""A lock on a folder: held by one who changes what a store is, or shared by those who rely on what it is.

The system lets go of it when a process ends, however it ends, and nothing is written into the folder.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trajstore.errors import StoreError

try:
    import fcntl
except ImportError:  # not a POSIX system: there are no such locks
    fcntl = None  # type: ignore[assignment]

PATIENCE_SECONDS: Final = 60.0
"""How long to wait for a lock: it is held for a few writes, or by a process that has been stopped."""

_PAUSE_SECONDS: Final = 0.005
_BUSY: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})
_UNSUPPORTED: Final = frozenset(
    {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
)
"""What filesystems without locks answer, or which have none for folders, as NFS."""


@contextmanager
def lock_folder(folder: Path, *, is_shared: bool) -> Iterator[bool]:
    """Hold the lock of a folder as long as the context lasts; gives whether there is one on its filesystem."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _lock(descriptor, folder, is_shared=is_shared)
    finally:
        os.close(descriptor)  # which lets go of it


def _lock(descriptor: int, folder: Path, *, is_shared: bool) -> bool:
    """Wait for a lock; False where the filesystem has none."""
    if fcntl is None:
        return False
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX))
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            if error.errno not in _BUSY:
                raise
        else:
            return True
        if time.monotonic() > give_up:
            message = (
                f"{folder}: found a command that has held the store's lock for {PATIENCE_SECONDS:.0f} s, expected "
                "none for so long: it was probably stopped; let it go on or end it, and run this again"
            )
            raise StoreError(message)
        time.sleep(_PAUSE_SECONDS)
