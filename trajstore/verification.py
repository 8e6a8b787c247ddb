"""Verify a store: find everything in it that is not as its spec says; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajstore.checks import CheckTask, TaskState
from trajstore.durable import is_partial
from trajstore.errors import InterruptedBuildError
from trajstore.executors import ThreadExecutor
from trajstore.findings import KINDS, Finding
from trajstore.layout import ColumnGroup, Layout, Task
from trajstore.locations import Location
from trajstore.metadata import check_metadata, settle
from trajstore.progress import Report, Tally, ignore
from trajstore.running import run_tasks
from trajstore.store import ROOT_KEY, StoreHandle, open_store


@dataclass(frozen=True)
class VerifyReport:
    """What a verification has found.

    Attributes
    ----------
    location : str
        The store.
    samples : int
        Rows it is to have.
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


@dataclass(frozen=True)
class Inspection:
    """All that is known about the state of a store.

    Attributes
    ----------
    store : StoreHandle
        The store; its spec is corrected where its own metadata outvotes it.
    states : tuple of TaskState
        Tasks of which anything is there, and those that are lost.
    metadata : tuple of Finding
        Objects beside rows and flags that are wrong.
    debris, foreign : tuple of str
        Keys of temporary files of dead builders, and of files that do not belong to a store.
    """

    store: StoreHandle
    states: tuple[TaskState, ...]
    metadata: tuple[Finding, ...]
    debris: tuple[str, ...]
    foreign: tuple[str, ...]

    def findings(self) -> tuple[Finding, ...]:
        """Everything that is not as it should be, damage first.

        Returns
        -------
        tuple of Finding
            In the order of groups and rows.
        """
        found = [*self.metadata]
        for state in self.states:
            found += self._judge(state)
        found += [Finding("foreign", key, "no part of a store; remove it by hand") for key in self.foreign]
        note = "left by a builder that was killed; the next build or repair removes it"
        found += [Finding("foreign", key, note, is_damage=False) for key in self.debris]
        return tuple(sorted(found, key=lambda finding: not finding.is_damage))

    def _judge(self, state: TaskState) -> Iterator[Finding]:
        """What is wrong with a task, data and flag together."""
        if state.flag_fault:
            yield state.flag_fault
        if state.flag == "set":
            yield from state.faults
            return
        # what is not flagged is not promised, unless the history says that it has once been
        is_lost = self.store.was_finished
        key = self.store.layout.group(state.task.group).flags.key(state.task.index)
        if state.has_data and state.flag == "clear":
            detail = "the data is there, its flag is not" + (
                "" if is_lost else ": not finished, or just being built"
            )
            yield Finding("unflagged", key, detail, state.task, is_damage=is_lost)
        if is_lost:
            yield from state.faults


def verify(
    path: str | Path | Location,
    *,
    deep: bool = False,
    workers: int | None = None,
    progress: Report | None = None,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> VerifyReport:
    """Check a store, finished or not, while it is being built or not; changes nothing.

    Every index, checksum and flag is checked, labels are computed again, and one sample of each shard is drawn again.

    Parameters
    ----------
    path : path-like
        The store.
    deep : bool
        Draw every sample again.
    workers : int, optional
        Threads; by default one for each processor.
    progress : callable, optional
        Receives `trajstore.progress.Progress` events.
    should_stop : callable, optional
        Asked before each task; anything but 0 is the number of a signal, and stops the verification.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    VerifyReport
        What was found. In a store that has never been finished, what is not there yet is no damage.

    Raises
    ------
    StoreError
        If there is no store, none that this version reads, or its root is damaged.
    InterruptedBuildError
        If ``should_stop`` said so.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     trajstore.verify(f"{folder}/tiny.zarr").is_sound
    True
    """
    started = time.monotonic()
    location = Location.parse(path, storage_options)
    while True:
        store = open_store(location)
        inspection = inspect(store, deep=deep, workers=workers, progress=progress, should_stop=should_stop)
        findings = inspection.findings()
        # what was extended or finished meanwhile is judged by what it is now
        if not findings or open_store(location).attributes == store.attributes:
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
    pending = {
        group.name: 0 if store.was_finished else spec.dataset.samples - inspection.store.count_written(group)
        for group in layout.groups
    }
    return VerifyReport(
        location=str(location),
        samples=spec.dataset.samples,
        deep=deep,
        checked=checked,
        pending=pending,
        findings=findings,
        seconds=time.monotonic() - started,
    )


def inspect(
    store: StoreHandle,
    *,
    deep: bool = False,
    only: Iterable[tuple[str, int]] | None = None,
    workers: int | None = None,
    progress: Report | None = None,
    should_stop: Callable[[], int] | None = None,
) -> Inspection:
    """Look at everything in a store.

    Parameters
    ----------
    store : StoreHandle
        The store.
    deep, workers, progress, should_stop
        See `verify`.
    only : iterable of (group, index), optional
        Tasks to check; by default all.

    Returns
    -------
    Inspection
        What is there.
    """
    executor = ThreadExecutor(workers)
    asked = should_stop or (lambda: 0)
    store = settle(store)
    metadata = tuple(check_metadata(store))
    present, foreign = _survey(store)
    states: list[TaskState] = []
    tasks: list[Task] = []
    for group in store.layout.groups:
        wanted = range(len(group)) if only is None else sorted({i for name, i in only if name == group.name})
        for index in wanted:
            if index in present[group.name]:
                tasks.append(group.task(index))
            elif store.was_finished and index < len(group):
                states.append(_lost(group, index))
    tallies = {
        group.name: _tally(group, [task for task in tasks if task.group == group.name], progress or ignore)
        for group in store.layout.groups
    }

    def finished(task: Task, state: TaskState | None) -> None:
        if state is not None:
            states.append(state)
            tallies[task.group].add(len(task.rows), stored_bytes=state.read_bytes)

    run_tasks(executor, CheckTask(store, deep), tasks, should_stop=asked, finished=finished)
    if (number := asked()) and any(tally.is_short for tally in tallies.values()):
        message = f"{store.location}: verification interrupted; nothing was changed"
        raise InterruptedBuildError(message, exit_code=128 + number)
    order = [group.name for group in store.layout.groups]
    return Inspection(
        store=store,
        states=tuple(sorted(states, key=lambda state: (order.index(state.task.group), state.task.index))),
        metadata=metadata,
        debris=tuple(store.find_debris()),
        foreign=tuple(foreign),
    )


def _survey(store: StoreHandle) -> tuple[dict[str, set[int]], list[str]]:
    """Indices of tasks of which anything is there, by group, and keys that do not belong to the store."""
    layout = store.layout
    present: dict[str, set[int]] = {group.name: set() for group in layout.groups}
    known = {ROOT_KEY, *(f"{column.name}/{ROOT_KEY}" for column in layout.columns)}
    known |= {column.key(0) for column in layout.static}
    find = _Locator(layout)
    foreign = []
    for key in store.list_keys():
        task = find(key)
        if task is not None:
            present[task.group].add(task.index)
        elif key not in known and not is_partial(key):
            foreign.append(key)
    return present, foreign


class _Locator:
    """From a key to the task that writes it."""

    def __init__(self, layout: Layout) -> None:
        self._columns = {
            column.name: (group, column)
            for group in layout.groups
            for column in (*group.columns, group.flags)
        }

    def __call__(self, key: str) -> Task | None:
        name, _, rest = key.partition("/")
        number = rest.removeprefix("c.").partition(".")[0]
        if name not in self._columns or not (number.isascii() and number.isdecimal()):
            return None
        group, column = self._columns[name]
        index = int(number)
        return group.task(index) if index < len(group) and column.key(index) == key else None


def _lost(group: ColumnGroup, index: int) -> TaskState:
    """The state of a task of which nothing is there although it was."""
    task = group.task(index)
    faults = (
        Finding("missing", column.key(index), "there is no such file", task)
        for column in (*group.columns, group.flags)
    )
    return TaskState(task, "clear", tuple(faults), has_data=False)


def _tally(group: ColumnGroup, tasks: list[Task], report: Report) -> Tally:
    """Begin to count and report the check of a column group."""
    return Tally(
        f"verify {group.name}",
        report,
        total=sum(len(task.rows) for task in tasks),
        done=0,
        raw_bytes_each=group.row_bytes,
    )
