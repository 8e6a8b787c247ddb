"""Build a store: check, create or resume, run what is pending, set flags, finish."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any, Final

from trajstore.attributes import HistoryEntry
from trajstore.errors import (
    InterruptedBuildError,
    NotEnoughSpaceError,
    SpecError,
    SpecMismatchError,
    StoreError,
)
from trajstore.executors import Executor, ThreadExecutor
from trajstore.layout import ColumnGroup, Layout, Task, plan_layout
from trajstore.progress import Report, Tally, ignore
from trajstore.running import describe_full_disk, run_tasks
from trajstore.shard import CHECKSUM_BYTES
from trajstore.space import Estimate, check_space, fits, inspect_filesystem, is_full, round_up
from trajstore.spec import DatasetSpec
from trajstore.store import (
    StoreHandle,
    check_generator,
    check_is_free,
    complete_growth,
    create_store,
    exists,
    open_store,
)
from trajstore.summary import Summary, summarize
from trajstore.tasks import WriteTask, measure_rows
from trajstore.text import format_count

PROBE_ROWS: Final = 64
"""Rows that are rendered to estimate the size of all."""

WAITING_THREADS: Final = 3
"""Threads beside those that compute, so that writes to the disk overlap with computing."""

CHUNK_OVERHEAD_MAX: Final = 64
"""More bytes than the frame and the checksum of a chunk take."""

METADATA_BYTES: Final = 40_000
"""What the metadata of a store takes, about."""


@dataclass(frozen=True)
class Part:
    """One of several equal slices of the tasks, for independent builders of one store.

    Attributes
    ----------
    number, count : int
        The slice, counted from 1, and how many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``i/n``.

        Parameters
        ----------
        text : str
            Such as ``2/8``.

        Returns
        -------
        Part
            The slice.

        Raises
        ------
        SpecError
            Unless 1 ≤ i ≤ n.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            message = f"part: found {text!r}, expected i/n with 1 ≤ i ≤ n, such as 1/4"
            raise SpecError(message)
        return cls(int(match[1]), int(match[2]))

    def slice(self, count: int) -> range:
        """Which of so many tasks belong to this part.

        Parameters
        ----------
        count : int
            How many tasks there are.

        Returns
        -------
        range
            A contiguous range of indices; those of all parts cover each index once.
        """
        return range((self.number - 1) * count // self.count, self.number * count // self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class BuildPlan:
    """What a build is about to do.

    Attributes
    ----------
    location : str
        The store.
    spec : DatasetSpec
        What it is built from.
    layout : Layout
        Its layout.
    store : StoreHandle or None
        The store, if it exists already.
    part : Part or None
        Which slice of the tasks.
    pending : dict
        Tasks that are not written and belong to this part, by column group.
    """

    location: str
    spec: DatasetSpec
    layout: Layout
    store: StoreHandle | None
    part: Part | None
    pending: dict[str, list[Task]]

    def pending_rows(self, group: str) -> int:
        """Rows of a group that are to be written."""
        return sum(len(task.rows) for task in self.pending[group])

    def estimate(self, block: int) -> Estimate:
        """Bytes and files that this build will add, from rendering some rows.

        Parameters
        ----------
        block : int
            Bytes that a file's size is rounded up to.

        Returns
        -------
        Estimate
            Within a few percent of what is then used.
        """
        rows = range(min(PROBE_ROWS, self.spec.dataset.samples))
        return self._add_up(*measure_rows(self.spec, rows), block=block)

    def bound(self, block: int) -> Estimate:
        """More bytes than this build can possibly add, at no cost: those of incompressible rows.

        Parameters
        ----------
        block : int
            Bytes that a file's size is rounded up to.

        Returns
        -------
        Estimate
            An upper bound.
        """
        labels, video = self.layout.group("labels"), self.layout.group("video")
        (column,) = video.columns
        return self._add_up(
            1.01 * labels.row_bytes + CHUNK_OVERHEAD_MAX * len(labels.columns),
            1.01 * video.row_bytes + CHUNK_OVERHEAD_MAX * prod(column.chunk_counts[1:]),
            block=block,
        )

    def _add_up(self, label_bytes: float, video_bytes: float, *, block: int) -> Estimate:
        """Bytes and files of all pending tasks, from bytes per row."""
        labels, video = self.layout.group("labels"), self.layout.group("video")
        total, files = 0, 0
        for task in self.pending["labels"]:
            # each column's file ends somewhere in a block: half a block is wasted on average; and the flag
            total += ceil(label_bytes * len(task.rows)) + len(labels.columns) * block // 2 + block
            files += len(labels.columns) + 1
        (column,) = video.columns
        index_bytes = 16 * prod(column.chunk_counts) + CHECKSUM_BYTES
        for task in self.pending["video"]:
            total += round_up(video_bytes * len(task.rows) + index_bytes, block) + block
            files += 2
        if self.store is None:
            arrays = len(list(self.layout.columns))
            # a folder and a zarr.json for each array, the consolidated zarr.json, and the cameras
            total += (2 * arrays + 2 * len(self.layout.static)) * block + METADATA_BYTES
            files += arrays + 1 + len(self.layout.static)
        return Estimate(bytes=total, files=files)


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes
    ----------
    summary : Summary
        The store afterwards.
    new_samples : int
        Samples whose frames this run has written.
    seconds : float
        Wall time of the run.
    """

    summary: Summary
    new_samples: int
    seconds: float


def build(
    path: str | Path,
    spec: DatasetSpec | None = None,
    *,
    workers: int | None = None,
    part: str | None = None,
    progress: Report | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    **fields: Any,
) -> BuildReport:
    """Build a store, or what is missing of it: running it again is resuming it.

    Parameters
    ----------
    path : path-like
        The store's folder.
    spec : DatasetSpec, optional
        The dataset. By default that of the store, where there is one, or the default spec.
    workers : int, optional
        Threads that compute; by default one for each processor.
    part : str, optional
        ``"i/n"``: only the i-th of n slices, counted from 1, so that n builders can share the work.
    progress : callable, optional
        Receives `trajstore.progress.Progress` events.
    force : bool
        Go on although the estimate says that it will not fit.
    should_stop : callable, optional
        Asked before each task; anything but 0 is the number of a signal, and stops the build after the tasks in flight.
    **fields
        Single fields of the spec by name, such as ``samples=100, seed=7``; they override ``spec``.

    Returns
    -------
    BuildReport
        What was done and what the store holds.

    Raises
    ------
    SpecError
        If a field or argument is invalid.
    SpecMismatchError
        If the store was built from another spec; each differing field is named.
    StoreError
        If the path cannot become a store, or cannot be written.
    NotEnoughSpaceError
        If it will not fit, or the disk became full: the store is valid, and the next build goes on.
    InterruptedBuildError
        If ``should_stop`` said so: likewise.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     report.summary.classes
    {'Linear': 2, 'Circular': 2, 'Helical': 2, 'Parabolic': 2}
    """
    started = time.monotonic()
    threads = ThreadExecutor(workers).workers
    plan = plan_build(path, spec, part=part, **fields)
    check_fits(plan, force=force)
    run = Run(plan, threads, progress or ignore, should_stop or (lambda: 0))
    try:
        store = plan.store or create_store(path, plan.spec)
        _check_same(store.spec, plan.spec, plan.location)  # another builder may have been first
        store.sweep()
        complete_growth(store)
        run.fill(store)
        _check_size(store)
        finish(store)
    except OSError as error:
        raise explain(plan, error) from error
    return BuildReport(
        summary=summarize(open_store(path)),
        new_samples=run.new_samples,
        seconds=time.monotonic() - started,
    )


def plan_build(
    path: str | Path, spec: DatasetSpec | None = None, *, part: str | None = None, **fields: Any
) -> BuildPlan:
    """Find out what a build would do; writes nothing.

    Parameters
    ----------
    path : path-like
        The store's folder.
    spec : DatasetSpec, optional
        See `build`.
    part : str, optional
        See `build`.
    **fields
        See `build`.

    Returns
    -------
    BuildPlan
        The spec, the pending tasks and, on demand, an estimate of their size.

    Raises
    ------
    SpecError
        If a field or argument is invalid.
    SpecMismatchError
        If the store was built from another spec.
    StoreError
        If the path cannot become a store.
    """
    wanted_part = None if part is None else Part.parse(part)
    store = open_store(path) if exists(path) else None
    base = spec or (store.spec if store else DatasetSpec())
    wanted = base.replace(**fields) if fields else base
    if store is None:
        check_is_free(path)
    else:
        _check_same(store.spec, wanted, str(path))
        check_generator(store)
    layout = plan_layout(wanted)
    return BuildPlan(
        location=str(path),
        spec=wanted,
        layout=layout,
        store=store,
        part=wanted_part,
        pending={group.name: list(_pending(group, store, wanted_part)) for group in layout.groups},
    )


def _pending(group: ColumnGroup, store: StoreHandle | None, part: Part | None) -> Iterator[Task]:
    """Tasks of a group that are not written and belong to a part."""
    is_written = None if store is None else store.is_written(group)
    for index in part.slice(len(group)) if part else range(len(group)):
        if is_written is None or not is_written[index]:
            yield group.task(index)


def _check_same(stored: DatasetSpec, wanted: DatasetSpec, location: str) -> None:
    """Refuse to go on with a store that was built from another spec."""
    differences = stored.differences(wanted)
    if differences:
        message = (
            f"{location}: the store was built from another spec ({'; '.join(differences)}); "
            f"resume it without these, or name another path"
        )
        raise SpecMismatchError(message)


def _check_size(store: StoreHandle) -> None:
    """Take back what this build has said about a last task that has grown while it was running."""
    samples = open_store(store.location).spec.dataset.samples
    if samples == store.spec.dataset.samples:
        return
    for group in store.layout.groups:
        last = group.task(len(group) - 1)
        if len(last.rows) < group.rows_per_task:
            store.clear_written(last)
    message = (
        f"{store.location}: found {format_count(samples)} samples, expected "
        f"{format_count(store.spec.dataset.samples)}: it was extended while it was being built; "
        f"continue with: trajstore build {shlex.quote(store.location)}"
    )
    raise StoreError(message)


def check_fits(plan: BuildPlan, *, force: bool) -> None:
    """Refuse a build that the filesystem cannot hold.

    Parameters
    ----------
    plan : BuildPlan
        The build.
    force : bool
        Do not look.

    Raises
    ------
    NotEnoughSpaceError
        If it does not fit.
    """
    filesystem = inspect_filesystem(plan.location)
    # rendering rows takes longer than a look at the disk: only do it where even raw frames would not fit
    if not force and any(plan.pending.values()) and not fits(plan.bound(filesystem.block), filesystem):
        check_space(plan.estimate(filesystem.block), filesystem, location=plan.location)


def finish(store: StoreHandle) -> None:
    """Note in the store's history that it is complete, once for each size.

    Parameters
    ----------
    store : StoreHandle
        The store, complete or not.
    """
    samples = store.spec.dataset.samples
    if not all(store.is_written(group).all() for group in store.layout.groups):
        return
    last = open_store(store.location).attributes.history[-1]
    if (last.event, last.samples) != ("finished", samples):
        store.record(HistoryEntry.now("finished", samples=samples))


class Run:
    """One run over pending tasks: counts, reports, and stops cleanly.

    Parameters
    ----------
    plan : BuildPlan
        The tasks.
    workers : int
        Threads that compute.
    report : callable
        Receives progress.
    should_stop : callable
        See `build`.
    """

    def __init__(self, plan: BuildPlan, workers: int, report: Report, should_stop: Callable[[], int]) -> None:
        self._plan = plan
        self._report = report
        self._should_stop = should_stop
        # more threads than may compute at once: while some wait for the disk the others have their turn
        self._turn = threading.Semaphore(workers)
        self._executor: Executor = ThreadExecutor(workers + WAITING_THREADS)
        self.new_samples = 0

    def fill(self, store: StoreHandle) -> None:
        """Write all pending tasks: labels first, and video as soon as a thread has no labels to write.

        Parameters
        ----------
        store : StoreHandle
            Where.
        """
        tallies = {group.name: self._tally(group) for group in self._plan.layout.groups}
        pending = [task for tasks in self._plan.pending.values() for task in tasks]

        def finished(task: Task, stored_bytes: int | None) -> None:
            tallies[task.group].add(len(task.rows), stored_bytes=stored_bytes or 0)
            self.new_samples = tallies["video"].fresh

        run_tasks(
            self._executor,
            WriteTask(store, self._turn),
            pending,
            should_stop=self._should_stop,
            finished=finished,
        )
        signal_number = self._should_stop()
        if signal_number and any(tally.is_short for tally in tallies.values()):
            message = f"{self._plan.location}: interrupted; {describe_state(self._plan)}"
            raise InterruptedBuildError(message, exit_code=128 + signal_number)

    def _tally(self, group: ColumnGroup) -> Tally:
        """Begin to count and report a column group."""
        indices = self._plan.part.slice(len(group)) if self._plan.part else range(len(group))
        total = sum(len(group.task(index).rows) for index in indices)
        return Tally(
            group.name,
            self._report,
            total=total,
            done=total - self._plan.pending_rows(group.name),
            raw_bytes_each=group.row_bytes,
        )


def describe_state(plan: BuildPlan) -> str:
    """What is written, what is missing, and how to go on.

    Parameters
    ----------
    plan : BuildPlan
        The build.

    Returns
    -------
    str
        A clause for messages.
    """
    part = f" --part {plan.part}" if plan.part else ""
    command = f"trajstore build {shlex.quote(plan.location)}{part}"
    try:
        store = open_store(plan.location)
        total = store.spec.dataset.samples
        written = store.count_written(store.layout.group("video"))
    except (StoreError, OSError):
        return f"no samples are written; continue with: {command}"
    return (
        f"{format_count(written)} of {format_count(total)} samples are written, "
        f"{format_count(total - written)} are missing; continue with: {command}"
    )


def explain(plan: BuildPlan, error: OSError) -> NotEnoughSpaceError | StoreError:
    """The error to show for one that the filesystem raised.

    Parameters
    ----------
    plan : BuildPlan
        What was being done.
    error : OSError
        What was raised.

    Returns
    -------
    NotEnoughSpaceError or StoreError
        With what is written, what is missing and how to go on.
    """
    state = describe_state(plan)
    if not is_full(error):
        return StoreError(f"{plan.location}: cannot be written: {error.strerror or error}; {state}")
    return describe_full_disk(plan.location, state=state)
