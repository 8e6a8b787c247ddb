"""Compare a copy of a store or an export with checksums: which files are missing, changed or surplus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajstore.errors import ExportError
from trajstore.executors.run import RunOptions
from trajstore.executors.threads import ThreadExecutor
from trajstore.progress import Report, shows_progress
from trajstore.sharing.checksums import hash_files, list_files, read_checksums
from trajstore.show import Shown
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage


@dataclass(frozen=True, repr=False)
class CopyReport(Shown):
    """How a copy compares with checksums.

    Attributes
    ----------
    location : str
        The copy.
    against : str
        The file of checksums.
    files : int
        Files that it names.
    bytes : int
        Bytes that were read.
    missing, changed, unreadable, surplus : tuple of str
        Files that are not there, have other bytes, cannot be read, or are not named.
    seconds : float
        Wall time.
    """

    _shown = "location against is_same files bytes differences seconds"

    location: str
    against: str
    files: int
    bytes: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unreadable: tuple[str, ...]
    surplus: tuple[str, ...]
    seconds: float

    @property
    def differences(self) -> dict[str, tuple[str, ...]]:
        """The files that differ, by kind, those kinds that occur."""
        kinds = {
            "missing": self.missing,
            "changed": self.changed,
            "unreadable": self.unreadable,
            "surplus": self.surplus,
        }
        return {kind: names for kind, names in kinds.items() if names}

    @property
    def is_same(self) -> bool:
        """Whether the copy has all files, as they were, and no others."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON.

        Returns
        -------
        dict
            The attributes, and whether the copy is the same.
        """
        return {
            "location": self.location,
            "against": self.against,
            "is_same": self.is_same,
            "files": self.files,
            "bytes": self.bytes,
            "missing": list(self.missing),
            "changed": list(self.changed),
            "unreadable": list(self.unreadable),
            "surplus": list(self.surplus),
            "seconds": round(self.seconds, 3),
        }


@shows_progress
def verify_copy(
    path: str | Path | Location,
    against: str | Path,
    *,
    workers: int | None = None,
    progress: Report | bool | None = None,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> CopyReport:
    """Compare a copy of a store or of an export with a file of checksums; changes nothing.

    Parameters
    ----------
    path : path-like
        The copy: a folder or a URL.
    against : path-like
        ``checksums.sha256``, as `trajstore.card` and ``sha256sum`` write it. Names that lead out of
        the copy are refused.
    workers : int, optional
        Threads; by default one for each processor.
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    should_stop : callable, optional
        Asked before each file; anything but 0 is the number of a signal, and stops.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    CopyReport
        Which files differ. What is hidden at the top of the folder (``.gitattributes``), and the card itself, count as
        no surplus.

    Raises
    ------
    SpecError
        If the file of checksums cannot be read, or is none.
    ExportError
        If there is no such folder, or it cannot be listed.
    InterruptedBuildError
        If ``should_stop`` asked for it.
    """
    started = time.monotonic()
    ThreadExecutor(workers)  # checks the number
    digests = read_checksums(Path(against))
    location = Location.parse(path, storage_options)
    storage = open_storage(location)
    folder = location.folder
    if folder is not None and not folder.is_dir():
        message = (
            f"{location}: found {'a file' if folder.exists() else 'nothing'}, expected the folder of a copy"
        )
        raise ExportError(message)
    try:
        there = set(list_files(storage))
    except OSError as error:
        message = f"{location}: cannot be listed: {error.strerror or error}"
        raise ExportError(message) from error
    options = RunOptions(workers=workers, progress=progress, should_stop=should_stop)
    found = hash_files(storage, list(digests), options)
    surplus = there - digests.keys()
    if folder is not None:
        surplus = {name for name in surplus if (folder / name).absolute() != Path(against).absolute()}
    missing = [name for name, one in found.items() if one.reason == "missing"]
    unreadable = [name for name, one in found.items() if one.reason.startswith("unreadable")]
    changed = [name for name, one in found.items() if one.digest not in (None, digests[name])]
    return CopyReport(
        location=str(location),
        against=str(against),
        files=len(digests),
        bytes=sum(one.size for one in found.values()),
        missing=tuple(sorted(missing)),
        changed=tuple(sorted(changed)),
        unreadable=tuple(sorted(unreadable)),
        surplus=tuple(sorted(surplus)),
        seconds=time.monotonic() - started,
    )
