"""One run over the pending tasks of a store: count, report, and stop cleanly."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import ClusterError, NotAStoreError, StoreError, TrajstoreError
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.progress import Tally
from trajstore.storage.disk_space import explain_failed_write
from trajstore.store.columns import ColumnGroup, Task
from trajstore.store.handle import StoreHandle, open_store
from trajstore.store.plan import BuildPlan
from trajstore.store.write import WriteTask
from trajstore.text import format_count

WAITING_THREADS: Final = 3
"""Threads beside those that compute, so that writes to the disk overlap with computing."""

SENDING_THREADS: Final = 12
"""The same where objects are sent over a network; each holds a shard."""

ATTEMPTS_MAX: Final = 3
"""How often a cluster is asked for tasks that it says are done and whose flags are not there."""


def fill_store(store: StoreHandle, plan: BuildPlan, options: RunOptions) -> dict[str, int]:
    """Write all pending tasks of a plan, a group as soon as a worker has no task of the one before.

    Returns the rows that were written, by group.
    """
    new_rows: Counter[str] = Counter()
    for _ in range(1 if options.cluster is None else ATTEMPTS_MAX):
        new_rows.update(_fill_once(store, plan, options))
        if options.cluster is None:
            return dict(new_rows)
        # what the workers have said is one thing, what is there another
        missing = _find_missing(store, plan)
        if not any(map(len, missing.values())):
            return dict(new_rows)
        plan = replace(plan, store=store, pending=missing)
    message = (
        f"{store.location}: the workers have written {format_count(sum(map(len, missing.values())))} tasks "
        f"{ATTEMPTS_MAX} times whose flags are not there: expected a location that is the same for all of them; "
        f"{describe_state(plan)}"
    )
    raise ClusterError(message)


def _fill_once(store: StoreHandle, plan: BuildPlan, options: RunOptions) -> dict[str, int]:
    """Write the pending tasks once."""
    groups = map(plan.layout.group, plan.annotations) if plan.annotations else plan.layout.groups
    tallies = {group.name: _start_tally(group, plan, options) for group in groups}

    def finished(task: Task, stored_bytes: dict[str, int] | None) -> None:
        for name in task.groups:
            tallies[name].add(len(task.rows), stored_bytes=(stored_bytes or {}).get(name, 0))

    run_tasks(
        WriteTask(store, threading.Semaphore(options.threads)),
        plan.tasks(),
        options=options,
        place=plan.location,
        # more threads than may compute at once: while some wait for the disk the others have their turn
        waiting_threads=SENDING_THREADS if store.location.folder is None else WAITING_THREADS,
        tallies=tallies.values(),
        finished=finished,
        describe_state=lambda: describe_state(plan),
        find_tallies=lambda task: map(tallies.__getitem__, task.groups),
    )
    return {name: tally.fresh for name, tally in tallies.items()}


def _start_tally(group: ColumnGroup, plan: BuildPlan, options: RunOptions) -> Tally:
    """Begin to count and report a column group."""
    mine = plan.part.slice(len(group)) if plan.part else range(len(group))
    total = group.count_rows(np.arange(mine.start, mine.stop))
    return Tally(
        group.name,
        options.report,
        total=total,
        done=total - group.count_rows(plan.pending[group.name]),
        raw_bytes_each=group.row_bytes,
    )


def _find_missing(store: StoreHandle, plan: BuildPlan) -> dict[str, NDArray[np.int64]]:
    """Numbers of a plan's tasks whose flag is not set."""
    return {
        group.name: (pending := plan.pending[group.name])[~store.is_written(group)[pending]]
        for group in plan.layout.groups
    }


def describe_state(plan: BuildPlan) -> str:
    """What is written, what is missing, and how to go on."""
    what = f" of {' and '.join(plan.annotations)}" if plan.annotations else ""
    if plan.is_repair:
        return f"not all that was damaged is written again; continue with: {plan.command}"
    try:
        store = open_store(plan.storage)
        total = store.spec.dataset.samples
        rows = store.count_written()
    except NotAStoreError:
        return f"no samples{what} are written; continue with: {plan.command}"
    except (StoreError, OSError):
        return f"what{what} is written cannot be read; when it can be, continue with: {plan.command}"
    written = min(rows.get(group.name, 0) for group in plan.counted)
    return (
        f"{format_count(written)} of {format_count(total)} samples{what} are written, "
        f"{format_count(total - written)} are missing; continue with: {plan.command}"
    )


def explain_error(plan: BuildPlan, error: OSError) -> TrajstoreError:
    """The error to show for one that the filesystem raised."""
    return explain_failed_write(plan.location, error, state=describe_state(plan))
