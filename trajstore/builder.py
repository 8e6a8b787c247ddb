"""Build a store: check, create or resume, run what is pending, set flags, finish."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.attributes import HistoryEntry
from trajstore.errors import (
    ClusterError,
    InterruptedBuildError,
    NotEnoughSpaceError,
    SpecError,
    StoreError,
)
from trajstore.executors import Executor, ThreadExecutor
from trajstore.executors.choosing import check_choice, open_dask
from trajstore.layout import ColumnGroup, Task
from trajstore.locations import Location
from trajstore.planning import BuildPlan, check_fits, check_same, plan_build
from trajstore.progress import Report, Tally, ignore
from trajstore.running import describe_full_disk, run_tasks
from trajstore.space import is_full
from trajstore.spec import DatasetSpec
from trajstore.store import (
    StoreHandle,
    complete_growth,
    create_store,
    open_store,
)
from trajstore.summary import Summary, summarize
from trajstore.tasks import WriteTask
from trajstore.text import format_count

if TYPE_CHECKING:
    from trajstore.executors.cluster import ClusterExecutor

WAITING_THREADS: Final = 3
"""Threads beside those that compute, so that writes to the disk overlap with computing."""

SENDING_THREADS: Final = 12
"""The same where objects are sent over a network; each holds a shard."""

PASSES_MAX: Final = 3
"""How often a cluster is asked for tasks that it says are done and whose flags are not there."""


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
    path: str | Path | Location,
    spec: DatasetSpec | None = None,
    *,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    part: str | None = None,
    progress: Report | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
    **fields: Any,
) -> BuildReport:
    """Build a store, or what is missing of it: running it again is resuming it.

    Parameters
    ----------
    path : path-like
        The store: a folder, or a URL such as ``s3://bucket/store.zarr``.
    spec : DatasetSpec, optional
        The dataset. By default that of the store, where there is one, or the default spec.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor : {'threads', 'dask'}
        What computes: this process, or a Dask cluster (``pip install 'trajstore[dask]'``).
    scheduler : str, optional
        Address of the cluster's scheduler, such as ``tcp://host:8786``. Without one, workers are started here and end
        with the build.
    part : str, optional
        ``"i/n"``: only the i-th of n slices, counted from 1, so that n builders can share the work.
    progress : callable, optional
        Receives `trajstore.progress.Progress` events.
    force : bool
        Go on although the estimate says that it will not fit.
    should_stop : callable, optional
        Asked before each task; anything but 0 is the number of a signal, and stops the build after the tasks in flight.
    storage_options : mapping, optional
        Endpoint, region and the like of a bucket; see `trajstore.locations.Location.parse`.
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
    ClusterError
        If the cluster cannot be used, is lost, or a worker has failed for good: likewise; the worker is named.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     report.summary.classes
    {'Linear': 2, 'Circular': 2, 'Helical': 2, 'Parabolic': 2}
    """
    started = time.monotonic()
    check_choice(executor, scheduler=scheduler, workers=workers)
    threads = ThreadExecutor(workers).workers
    should_stop = should_stop or (lambda: 0)
    location = Location.parse(path, storage_options)
    if executor == "dask" and location.url.startswith("memory:"):
        message = f"{location}: only this process sees it, expected a location that all workers see"
        raise SpecError(message)
    plan = plan_build(location, spec, part=part, **fields)
    check_fits(plan, force=force)
    with ExitStack() as stack:
        cluster = None
        if executor == "dask" and any(map(len, plan.pending.values())):
            cluster = stack.enter_context(
                open_dask(scheduler=scheduler, workers=workers, should_stop=should_stop)
            )
        run = Run(plan, threads, progress or ignore, should_stop, cluster=cluster)
        try:
            store = plan.store or create_store(location, plan.spec)
            check_same(store.spec, plan.spec, plan.location)  # another builder may have been first
            store.sweep()
            complete_growth(store)
            run.fill(store)
            _check_size(store)
            finish(store)
        except OSError as error:
            raise explain(plan, error) from error
        except ClusterError as error:
            message = f"{error}; {describe_state(plan)}"
            raise ClusterError(message, exit_code=error.exit_code) from error
    return BuildReport(
        summary=summarize(open_store(location)),
        new_samples=run.new_samples,
        seconds=time.monotonic() - started,
    )


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
        f"continue with: trajstore build {store.location.argument}"
    )
    raise StoreError(message)


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
    cluster : ClusterExecutor, optional
        What computes instead of threads.
    """

    def __init__(
        self,
        plan: BuildPlan,
        workers: int,
        report: Report,
        should_stop: Callable[[], int],
        *,
        cluster: ClusterExecutor | None = None,
    ) -> None:
        self._plan = plan
        self._report = report
        self._should_stop = should_stop
        # more threads than may compute at once: while some wait for the disk the others have their turn
        self._turn = threading.Semaphore(workers)
        waiting = SENDING_THREADS if plan.location.folder is None else WAITING_THREADS
        self._cluster = cluster
        self._executor: Executor = cluster or ThreadExecutor(workers + waiting)
        self.new_samples = 0

    def fill(self, store: StoreHandle) -> None:
        """Write all pending tasks: labels first, and video as soon as a thread has no labels to write.

        Parameters
        ----------
        store : StoreHandle
            Where.
        """
        for _ in range(PASSES_MAX):
            self._fill(store)
            if self._cluster is None:
                return
            # what the workers have said is one thing, what is there another
            missing = _find_missing(store, self._plan)
            if not any(map(len, missing.values())):
                return
            self._plan = replace(self._plan, store=store, pending=missing)
        count = sum(map(len, missing.values()))
        message = (
            f"{store.location}: the workers have written {format_count(count)} tasks {PASSES_MAX} times whose flags "
            "are not there: expected a location that is the same for all of them"
        )
        raise ClusterError(message)

    def _fill(self, store: StoreHandle) -> None:
        """Write the pending tasks once."""
        tallies = {group.name: self._tally(group) for group in self._plan.layout.groups}
        before = self.new_samples

        def finished(task: Task, stored_bytes: int | None) -> None:
            tallies[task.group].add(len(task.rows), stored_bytes=stored_bytes or 0)
            self.new_samples = before + tallies["video"].fresh

        def watch() -> None:
            for tally in tallies.values():
                tally.add(0, stored_bytes=0)

        if self._cluster is not None:
            self._cluster.watch = watch
        run_tasks(
            self._executor,
            WriteTask(store, self._turn),
            self._plan.tasks(),
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
        cluster = self._cluster
        return Tally(
            group.name,
            self._report,
            total=total,
            done=total - self._plan.pending_rows(group.name),
            raw_bytes_each=group.row_bytes,
            count_workers=None if cluster is None else lambda: cluster.workers,
        )


def _find_missing(store: StoreHandle, plan: BuildPlan) -> dict[str, NDArray[np.int64]]:
    """Numbers of a plan's tasks whose flag is not set."""
    missing = {}
    for group in plan.layout.groups:
        indices = plan.pending[group.name]
        missing[group.name] = indices[~store.is_written(group)[indices]]
    return missing


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
    command = f"trajstore build {plan.location.argument}{part}"
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
    return describe_full_disk(str(plan.location), state=state)
