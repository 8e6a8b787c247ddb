"""Verify a store: find everything in it that is not as its spec says; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajstore.executors.options import check_options
from trajstore.executors.run import RunOptions, open_workers
from trajstore.integrity.findings import KINDS, Finding
from trajstore.integrity.inspect import inspect
from trajstore.progress import Report, shows_progress
from trajstore.show import Shown
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import open_store


@dataclass(frozen=True, repr=False)
class VerifyReport(Shown):
    """What a verification has found.

    Attributes
    ----------
    location : str
        The store.
    samples : int
        Rows that it has when it is finished.
    deep : bool
        Whether every sample was drawn again.
    checked : dict
        Rows that were checked, by column group.
    pending : dict
        Rows that are still to be built, by column group; none in a store that was finished once.
    findings : tuple of Finding
        What is not as it should be, damage first.
    seconds : float
        Wall time.
    """

    _shown = "location is_sound samples deep checked pending findings seconds"

    location: str
    samples: int
    deep: bool
    checked: dict[str, int]
    pending: dict[str, int]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def damage(self) -> tuple[Finding, ...]:
        """The findings that are damage."""
        return tuple(finding for finding in self.findings if finding.is_damage)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged; a store that is not finished can be sound."""
        return not self.damage

    def counts(self) -> dict[str, int]:
        """How often each kind of damage was found.

        Returns
        -------
        dict
            From kind to count, those that occur.
        """
        kinds = [finding.kind for finding in self.damage]
        return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON.

        Returns
        -------
        dict
            The attributes, and whether the store is sound.
        """
        return {
            "location": self.location,
            "samples": self.samples,
            "deep": self.deep,
            "is_sound": self.is_sound,
            "checked": self.checked,
            "pending": self.pending,
            "findings": [finding.to_json() for finding in self.findings],
            "seconds": round(self.seconds, 3),
        }


@shows_progress
def verify(
    path: str | Path | Location,
    *,
    deep: bool = False,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    progress: Report | bool | None = None,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> VerifyReport:
    """Check a store without changing it. It may be unfinished, or still being built.

    Every index, checksum and flag is checked, labels are computed again, and one sample of each shard is drawn again.

    Parameters
    ----------
    path : path-like
        The store.
    deep : bool
        Draw every sample again.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor, scheduler : str
        See `trajstore.build`.
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    should_stop : callable, optional
        Called before each task: 0 goes on; any other number, that of a signal, stops the verification.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    VerifyReport
        What was found. What an unfinished store still lacks is not damage.

    Raises
    ------
    StoreError
        If there is no store, none that this version reads, or its root is damaged.
    InterruptedBuildError
        If ``should_stop`` asked for it.
    ClusterError
        If the cluster cannot be used, is lost, or a worker has failed for good; the worker is named.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     trajstore.verify(f"{folder}/tiny.zarr").is_sound
    True
    """
    started = time.monotonic()
    options = RunOptions(workers, executor, scheduler, progress, should_stop)
    location = Location.parse(path, storage_options)
    check_options(options, location)
    store = open_store(open_storage(location))
    with open_workers(options) as ready:
        while True:
            inspection = inspect(store, ready, deep=deep)
            findings = inspection.findings()
            # what was extended or finished meanwhile is judged by what it is now
            before, store = store, open_store(store.storage) if findings else store
            if before.attributes == store.attributes:
                break
    spec, layout = inspection.store.spec, inspection.store.layout
    checked = {
        group.name: sum(
            len(state.task.rows)
            for state in inspection.states
            if state.task.group == group.name and state.has_data
        )
        for group in layout.groups
    }
    pending = {group.name: 0 for group in layout.groups}
    if not all(map(store.was_finished, layout.groups)):
        written = inspection.store.count_written()
        pending |= {
            group.name: spec.dataset.samples - written[group.name]
            for group in layout.groups
            if not store.was_finished(group)
        }
    return VerifyReport(
        location=str(store.location),
        samples=spec.dataset.samples,
        deep=deep,
        checked=checked,
        pending=pending,
        findings=findings,
        seconds=time.monotonic() - started,
    )
