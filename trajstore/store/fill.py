"""One run over the pending tasks of a store: count, report, stop cleanly, and finish."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import (
    ClusterError,
    InterruptedBuildError,
    NotEnoughSpaceError,
    StoreError,
    is_full,
)
from trajstore.executors import Executor, ThreadExecutor
from trajstore.executors.run import run_tasks
from trajstore.progress import Report, Tally
from trajstore.storage.disk_space import describe_full_disk
from trajstore.store.attributes import HistoryEntry
from trajstore.store.handle import StoreHandle, open_store
from trajstore.store.layout import ColumnGroup, Task
from trajstore.store.plan import BuildPlan
from trajstore.store.write import WriteTask
from trajstore.text import format_count

if TYPE_CHECKING:
    from trajstore.executors.cluster import ClusterExecutor

WAITING_THREADS: Final = 3
"""Threads beside those that compute, so that writes to the disk overlap with computing."""

SENDING_THREADS: Final = 12
"""The same where objects are sent over a network; each holds a shard."""

PASSES_MAX: Final = 3
"""How often a cluster is asked for tasks that it says are done and whose flags are not there."""


def finish(store: StoreHandle) -> None:
    """Note in the store's history that it is complete, once for each size."""
    samples = store.spec.dataset.samples
    if not all(store.is_written(group).all() for group in store.layout.groups):
        return
    last = open_store(store.location).attributes.history[-1]
    if (last.event, last.samples) != ("finished", samples):
        store.record(HistoryEntry.now("finished", samples=samples))


class Run:
    """One run over pending tasks: counts, reports, and stops cleanly."""

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
        """Write all pending tasks: labels first, and video as soon as a thread has no labels to write."""
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
    """What is written, what is missing, and how to go on."""
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
    """The error to show for one that the filesystem raised."""
    state = describe_state(plan)
    if not is_full(error):
        return StoreError(f"{plan.location}: cannot be written: {error.strerror or error}; {state}")
    return describe_full_disk(str(plan.location), state=state)
