"""Whether what is to be written fits: estimates, free space, and what to say when it does not."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from trajstore.errors import NotEnoughSpaceError
from trajstore.text import format_bytes, format_count

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a filesystem or a quota that is full."""

RESERVE: Final = 1.05
"""An estimate has to fit with this much to spare."""

_UNUSED_SHARE_MIN: Final = 0.1
_UNUSED_BYTES_MIN: Final = 2**30


@dataclass(frozen=True)
class Estimate:
    """What is going to be written.

    Attributes
    ----------
    bytes : int
        On disk, whole blocks counted.
    files : int
        Files, folders not counted.
    """

    bytes: int
    files: int


@dataclass(frozen=True)
class Filesystem:
    """The filesystem that a path lies on.

    Attributes
    ----------
    path : Path
        The nearest folder that exists.
    total, free : int
        Bytes in all, and bytes that this user may still write.
    free_files : int or None
        Files that may still be made; None where the filesystem has no limit.
    block : int
        Bytes that files are rounded up to.
    device : int or None
        Bytes of the block device; None where there is none.
    """

    path: Path
    total: int
    free: int
    free_files: int | None
    block: int
    device: int | None

    def hint(self) -> str:
        """What to do if the filesystem is smaller than its device.

        Returns
        -------
        str
            A sentence, or nothing.
        """
        unused = (self.device or 0) - self.total
        if unused < max(_UNUSED_BYTES_MIN, _UNUSED_SHARE_MIN * (self.device or 0)):
            return ""
        return (
            f"the filesystem uses {format_bytes(self.total)} of a device of {format_bytes(self.device or 0)}: "
            "growpart and resize2fs (xfs_growfs on XFS) make the rest usable"
        )


def inspect_filesystem(path: str | Path, *, devices: str | Path = "/sys/dev/block") -> Filesystem:
    """Look at the filesystem that a path lies on, or would lie on.

    Parameters
    ----------
    path : path-like
        Need not exist.
    devices : path-like
        Where Linux describes its block devices.

    Returns
    -------
    Filesystem
        Its sizes.
    """
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    number = folder.stat().st_dev
    size_file = Path(devices) / f"{os.major(number)}:{os.minor(number)}" / "size"
    try:
        device = int(size_file.read_text()) * 512
    except (OSError, ValueError):
        device = None
    return Filesystem(
        path=folder,
        total=status.f_blocks * status.f_frsize,
        free=status.f_bavail * status.f_frsize,
        free_files=status.f_favail if status.f_files else None,
        block=status.f_frsize,
        device=device,
    )


def round_up(size: float, block: int) -> int:
    """Bytes that a file takes in whole blocks.

    Parameters
    ----------
    size : float
        Bytes of the file.
    block : int
        Bytes of a block.

    Returns
    -------
    int
        Bytes.
    """
    return ceil(size / block) * block


def fits(estimate: Estimate, filesystem: Filesystem) -> bool:
    """Whether something fits, with some to spare.

    Parameters
    ----------
    estimate : Estimate
        What is to be written.
    filesystem : Filesystem
        Where.

    Returns
    -------
    bool
        True if bytes and files fit.
    """
    has_files = filesystem.free_files is None or estimate.files <= filesystem.free_files
    return has_files and estimate.bytes * RESERVE <= filesystem.free


def check_space(
    estimate: Estimate,
    filesystem: Filesystem,
    *,
    location: str,
    fewer_files: str = "raise storage.samples_per_shard",
) -> None:
    """Refuse what will not fit.

    Parameters
    ----------
    estimate : Estimate
        What is to be written.
    filesystem : Filesystem
        Where.
    location : str
        The target, for the message.
    fewer_files : str
        What to do if there are too many files, for the message.

    Raises
    ------
    NotEnoughSpaceError
        If bytes or files do not fit.
    """
    needed = ceil(estimate.bytes * RESERVE)
    hint = filesystem.hint()
    if needed > filesystem.free:
        message = (
            f"{location}: needs about {format_bytes(needed)}, found {format_bytes(filesystem.free)} free, "
            f"{format_bytes(needed - filesystem.free)} are missing; free some space, write fewer samples, name "
            f"another path, or go on with --force{hint and '; '}{hint}"
        )
        raise NotEnoughSpaceError(message)
    if filesystem.free_files is not None and estimate.files > filesystem.free_files:
        message = (
            f"{location}: needs about {format_count(estimate.files)} files, the filesystem has room for "
            f"{format_count(filesystem.free_files)} more; {fewer_files} or name another path"
        )
        raise NotEnoughSpaceError(message)


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that a filesystem or quota is full.

    Parameters
    ----------
    error : BaseException or None
        Any error.

    Returns
    -------
    bool
        True for ENOSPC and EDQUOT.
    """
    return isinstance(error, OSError) and error.errno in FULL
