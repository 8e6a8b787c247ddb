"""Whether what is to be written fits: estimates, free space, and what to say when it does not."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from trajstore.errors import NotEnoughSpaceError, StoreError, TrajstoreError, describe_failure, is_full
from trajstore.text import format_bytes, format_count

RESERVE: Final = 1.05
"""An estimate has to fit with this much to spare."""

_UNUSED_SHARE_MIN: Final = 0.1
_UNUSED_BYTES_MIN: Final = 2**30


@dataclass(frozen=True)
class Estimate:
    """What is going to be written."""

    bytes: int
    files: int


@dataclass(frozen=True)
class Filesystem:
    """The filesystem that a path lies on."""

    path: Path
    total: int
    free: int
    free_files: int | None
    block: int
    device: int | None

    def hint(self) -> str:
        """What to do if the filesystem is smaller than its device."""
        unused = (self.device or 0) - self.total
        if unused < max(_UNUSED_BYTES_MIN, _UNUSED_SHARE_MIN * (self.device or 0)):
            return ""
        return (
            f"the filesystem uses {format_bytes(self.total)} of a device of {format_bytes(self.device or 0)}: "
            "growpart and resize2fs (xfs_growfs on XFS) make the rest usable"
        )


def inspect_filesystem(path: str | Path, *, devices: str | Path = "/sys/dev/block") -> Filesystem:
    """Look at the filesystem that a path lies on, or would lie on."""
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
    """Bytes that a file takes in whole blocks."""
    return ceil(size / block) * block


def fits(estimate: Estimate, filesystem: Filesystem) -> bool:
    """Whether something fits, with some to spare."""
    has_files = filesystem.free_files is None or estimate.files <= filesystem.free_files
    return has_files and estimate.bytes * RESERVE <= filesystem.free


def check_space(
    estimate: Estimate,
    filesystem: Filesystem,
    *,
    location: str,
    fewer_files: str = "raise storage.samples_per_shard",
) -> None:
    """Refuse what will not fit."""
    needed = ceil(estimate.bytes * RESERVE)
    hint = filesystem.hint()
    if needed > filesystem.free:
        message = (
            f"{location}: needs about {format_bytes(needed)}, found {format_bytes(filesystem.free)} free, "
            f"{format_bytes(needed - filesystem.free)} are missing; free some space, ask for less, or go on with "
            f"--force{hint and '; '}{hint}"
        )
        raise NotEnoughSpaceError(message)
    if filesystem.free_files is not None and estimate.files > filesystem.free_files:
        message = (
            f"{location}: needs about {format_count(estimate.files)} files, the filesystem has room for "
            f"{format_count(filesystem.free_files)} more; {fewer_files} or name another path"
        )
        raise NotEnoughSpaceError(message)


def explain_failed_write(
    location: object, error: OSError, *, state: str, kind: type[TrajstoreError] = StoreError
) -> TrajstoreError:
    """The error to show where the system could not write: `NotEnoughSpaceError` if there is no room, or of a kind."""
    if not is_full(error):
        return kind(f"{location}: cannot be written: {describe_failure(error)}; {state}")
    try:
        filesystem = inspect_filesystem(str(location))
    except OSError:
        return NotEnoughSpaceError(f"{location}: the disk is full; {state}")
    hint = filesystem.hint()
    found = f"the disk is full ({format_bytes(filesystem.free)} free)"
    if error.errno == errno.EDQUOT:
        found, hint = "the quota is used up", ""
    elif filesystem.free_files == 0:
        found, hint = "the filesystem has no room for more files", ""
    return NotEnoughSpaceError(f"{location}: {found}; {state}{hint and '; '}{hint}")
