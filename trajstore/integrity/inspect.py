"""Look at all of a store: its metadata, its flags, and the files of each task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trajstore.executors.run import RunOptions, run_tasks
from trajstore.integrity.checks import CheckTask, TaskState
from trajstore.integrity.findings import Finding
from trajstore.integrity.metadata import find_in_metadata, settle
from trajstore.progress import Tally
from trajstore.storage.durable import is_partial
from trajstore.store.attributes import ROOT_KEY
from trajstore.store.columns import ColumnGroup, Layout, Task
from trajstore.store.handle import StoreHandle, find_leftovers
from trajstore.text import format_count


@dataclass(frozen=True)
class Inspection:
    """All that is known about the state of a store."""

    store: StoreHandle
    states: tuple[TaskState, ...]
    metadata: tuple[Finding, ...]
    debris: tuple[str, ...]
    foreign: tuple[str, ...]
    leftovers: Mapping[str, Sequence[str]]
    """Keys of annotations that the store does not say that it has, by name."""

    def findings(self) -> tuple[Finding, ...]:
        """Everything that is not as it should be, damage first."""
        found = [*self.metadata]
        for state in self.states:
            found += self._judge(state)
        found += [Finding("foreign", key, "no part of a store; remove it by hand") for key in self.foreign]
        for name, keys in self.leftovers.items():
            note = (
                f"{format_count(len(keys))} files of an annotation that was removed, or never begun; they go with: "
                f"trajstore annotate {self.store.location.argument} --remove {name}"
            )
            found.append(Finding("foreign", keys[0], note, is_damage=False))
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
        group = self.store.layout.group(state.task.group)
        is_lost = self.store.was_finished(group)
        key = group.flags.key(state.task.index)
        if state.has_data and state.flag == "clear":
            detail = "the data is there, its flag is not" + (
                "" if is_lost else ": not finished, or just being built"
            )
            yield Finding("unflagged", key, detail, state.task, is_damage=is_lost)
        if is_lost:
            yield from state.faults


def inspect(
    store: StoreHandle,
    options: RunOptions,
    *,
    deep: bool = False,
    only: Iterable[tuple[str, int]] | None = None,
) -> Inspection:
    """Look at everything in a store, or beside its metadata only at some tasks, named by group and index."""
    store = settle(store)
    metadata = tuple(find_in_metadata(store))
    keys = sorted(store.storage.list_keys())
    leftovers = find_leftovers(store, keys)
    left = {key for some in leftovers.values() for key in some}
    present, foreign = _survey(store.layout, (key for key in keys if key not in left))
    states: list[TaskState] = []
    tasks: list[Task] = []
    for group in store.layout.groups:
        wanted = range(len(group)) if only is None else sorted({i for name, i in only if name == group.name})
        for index in wanted:
            if index in present[group.name]:
                tasks.append(group.task(index))
            elif store.was_finished(group) and index < len(group):
                states.append(_lost(group, index))
    states += check_tasks(store, tasks, options, deep=deep, state="nothing was changed")
    order = [group.name for group in store.layout.groups]
    return Inspection(
        store=store,
        states=tuple(sorted(states, key=lambda state: (order.index(state.task.group), state.task.index))),
        metadata=metadata,
        debris=tuple(store.storage.find_debris()),
        foreign=tuple(foreign),
        leftovers=leftovers,
    )


def check_tasks(
    store: StoreHandle,
    tasks: Sequence[Task],
    options: RunOptions,
    *,
    deep: bool = False,
    phase: str = "verify",
    state: str,
) -> list[TaskState]:
    """Look at the files of some tasks; ``state`` is what an interruption says of the store."""
    states: list[TaskState] = []
    tallies = {
        group.name: Tally(
            f"{phase} {group.name}", options.report, total=total, done=0, raw_bytes_each=group.row_bytes
        )
        for group in store.layout.groups
        if (total := sum(len(task.rows) for task in tasks if task.group == group.name))
    }

    def finished(task: Task, found: TaskState | None) -> None:
        if found is not None:
            states.append(found)
            tallies[task.group].add(len(task.rows), stored_bytes=found.read_bytes)

    run_tasks(
        CheckTask(store, deep),
        tasks,
        options=options,
        place=store.location,
        tallies=tallies.values(),
        finished=finished,
        describe_state=lambda: state,
        find_tallies=lambda task: [tallies[task.group]],
    )
    return states


def _survey(layout: Layout, keys: Iterable[str]) -> tuple[dict[str, set[int]], list[str]]:
    """Indices of tasks of which anything is there, by group, and keys that do not belong to the store."""
    present: dict[str, set[int]] = {group.name: set() for group in layout.groups}
    known = {ROOT_KEY, *(f"{column.name}/{ROOT_KEY}" for column in layout.columns)}
    known |= {column.key(0) for column in layout.static}
    find = _Locator(layout)
    foreign = []
    for key in keys:
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
