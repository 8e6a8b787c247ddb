"""Repair a store: make again what a verification finds, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.commands.verify import VerifyReport
from trajstore.errors import (
    DamageError,
    DriftError,
    FormatVersionError,
    NewerStoreError,
    NotAStoreError,
    SpecMismatchError,
    StoreError,
)
from trajstore.executors.options import check_options
from trajstore.executors.run import RunOptions, open_workers
from trajstore.integrity.checks import TaskState, choose_sample
from trajstore.integrity.findings import Finding
from trajstore.integrity.inspect import Inspection, check_tasks, inspect
from trajstore.integrity.metadata import adopt, find_first_groups, read_storage, salvage, settle
from trajstore.progress import Report, shows_progress
from trajstore.reading.store import StoreReader
from trajstore.scene.scene import make_scene
from trajstore.show import Shown
from trajstore.spec import DatasetSpec, SpecLike
from trajstore.storage.interface import Check, Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.attributes import (
    ROOT_KEY,
    HistoryEntry,
    StoreAttributes,
    describe_newer,
    find_newer_version,
    parse_attributes,
)
from trajstore.store.columns import Column, ColumnGroup, Task
from trajstore.store.fill import explain_error, fill_store
from trajstore.store.handle import StoreHandle, describe_versions, finish_store, open_store
from trajstore.store.layout import FRAMES
from trajstore.store.plan import BuildPlan, adopt_storage, check_fits
from trajstore.store.zarr_api import render_metadata
from trajstore.text import format_count

MISPLACED_PROBES: Final = 8
"""Shards with other pixels that are compared with all others, to tell exchanged shards from another generator."""


@dataclass(frozen=True)
class RepairPlan:
    """What has to be done to a store."""

    metadata: tuple[str, ...]
    restore: tuple[Task, ...]
    rebuild: tuple[Task, ...]
    forget: tuple[Task, ...]


@dataclass(frozen=True, repr=False)
class RepairReport(Shown):
    """What a repair did.

    Attributes
    ----------
    location : str
        The store.
    found : tuple of Finding
        What was wrong.
    done : RepairPlan
        What was written.
    removed : tuple of str
        Temporary files of dead builders that were removed.
    remaining : tuple of Finding
        What a repair does not touch: files that do not belong to the store.
    seconds : float
        Wall time.
    """

    _shown = "location found done.metadata done.rebuild done.restore done.forget removed remaining seconds"

    location: str
    found: tuple[Finding, ...]
    done: RepairPlan
    removed: tuple[str, ...]
    remaining: tuple[Finding, ...]
    seconds: float


@shows_progress
def repair(
    path: str | Path | Location,
    *,
    spec: SpecLike | None = None,
    report: VerifyReport | dict[str, Any] | None = None,
    deep: bool = False,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    progress: Report | bool | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> RepairReport:
    """Verify a store and rebuild what is damaged. If it is interrupted, run it again.

    Parameters
    ----------
    path : path-like
        The store.
    spec : DatasetSpec, mapping or path-like, optional
        What the store was built from, for a store whose root ``zarr.json`` is lost.
    report : VerifyReport or dict, optional
        Of an earlier verification, or its JSON: only the tasks that it names are checked and repaired.
    deep : bool
        Draw every sample again to find damage, not one of each shard.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor, scheduler : str
        See `trajstore.build`.
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    force : bool
        Go on even if the estimate says that it will not fit.
    should_stop : callable, optional
        See `trajstore.build`.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    RepairReport
        What was wrong, and what was done.

    Raises
    ------
    DriftError
        If the installed generator does not make the rows that are stored; nothing is changed.
    StoreError
        If there is no store, its spec cannot be found, or it cannot be written.
    SpecMismatchError
        If the store still has its spec, and ``spec`` differs from it.
    DamageError
        If a rebuilt part is damaged again.
    InterruptedBuildError
        If ``should_stop`` asked for it.
    ClusterError
        If the cluster cannot be used, is lost, or a worker has failed for good; the worker is named.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/tiny.zarr"
    ...     _ = trajstore.build(path, samples=8, frames=4, height=16, width=16)
    ...     Path(f"{path}/video/c.0.0.0.0.0.0").unlink()
    ...     print(len(trajstore.repair(path).done.rebuild), trajstore.verify(path).is_sound)
    1 True
    """
    started = time.monotonic()
    options = RunOptions(workers, executor, scheduler, progress, should_stop, force)
    location = Location.parse(path, storage_options)
    check_options(options, location)
    storage = open_storage(location)
    root = _read_root(storage)
    store, is_lost = _open(storage, None if spec is None else DatasetSpec.from_any(spec))
    only = None if report is None or is_lost else _named(report)
    with open_workers(options) as ready:
        return _mend(store, root, ready, deep=deep, only=only, is_lost=is_lost, started=started)


def _mend(
    store: StoreHandle,
    root: bytes | None,
    options: RunOptions,
    *,
    deep: bool,
    only: list[tuple[str, int]] | None,
    is_lost: bool,
    started: float,
) -> RepairReport:
    """Look at a store or some of its tasks, and make again what is damaged."""
    storage = store.storage
    inspection = inspect(store, options, deep=deep, only=only)
    _check_drift(inspection, must_match=is_lost)
    todo = plan_repair(inspection)
    store = inspection.store
    pending = {
        group.name: np.array([task.index for task in todo.rebuild if task.group == group.name], np.int64)
        for group in store.layout.groups
    }
    plan = BuildPlan(storage, store.spec, store.layout, store, None, pending, is_repair=True)
    check_fits(plan, force=options.force)
    try:
        removed = storage.sweep()
        check = partial(_check_unchanged, store, root)
        # what is damaged stays until it is replaced: another command may have mended it meanwhile
        for task in (*todo.rebuild, *todo.forget):
            store.clear_written(task, check=check)
        store = _write_metadata(store, todo.metadata, check)
        for task in todo.restore:
            store.mark_written(task)
        if todo.rebuild:
            fill_store(store, replace(plan, store=store), options)
            _check_again(store, todo.rebuild, options)
        finish_store(store)
    except OSError as error:
        raise explain_error(plan, error) from error
    found = inspection.findings()
    return RepairReport(
        location=str(store.location),
        found=found,
        done=todo,
        removed=tuple(removed),
        remaining=tuple(finding for finding in found if finding.key in inspection.foreign),
        seconds=time.monotonic() - started,
    )


def plan_repair(inspection: Inspection) -> RepairPlan:
    """Decide what has to be done; changes nothing."""
    restore: list[Task] = []
    rebuild: list[Task] = []
    forget: list[Task] = []
    store = inspection.store
    for state in inspection.states:
        if not state.faults:
            if state.flag != "set":
                # where others cannot be locked out, nobody knows whether it is still as it was when it was read
                is_certain = store.storage.is_locked or store.is_fixed(state.task)
                (restore if is_certain else rebuild).append(state.task)
        elif state.flag == "set" or store.was_finished(store.layout.group(state.task.group)):
            rebuild.append(state.task)
        elif state.flag == "damaged":
            forget.append(state.task)
    metadata = tuple(finding.key for finding in inspection.metadata)
    return RepairPlan(metadata, tuple(restore), tuple(rebuild), tuple(forget))


def _named(report: VerifyReport | dict[str, Any]) -> list[tuple[str, int]]:
    """Groups and indices of the tasks that a report names."""
    data = report.to_json() if isinstance(report, VerifyReport) else report
    try:
        return [(item["group"], item["index"]) for item in data["findings"] if item["group"] is not None]
    except (LookupError, TypeError):
        message = "report: found other JSON, expected what `trajstore verify STORE --json` prints"
        raise StoreError(message) from None


def _open(storage: Storage, spec: DatasetSpec | None) -> tuple[StoreHandle, bool]:
    """Open a store, or what is left of one; and whether its root is lost."""
    try:
        store = open_store(storage)
    except NewerStoreError:  # what this version does not know it would throw away
        raise
    except StoreError as error:
        return _recover(storage, spec, error), True
    if spec is None:
        return store, False
    settled = settle(store).spec
    spec = adopt_storage(spec, settled)
    if store.attributes.fingerprint == store.spec.fingerprint:
        differences = settled.differences(spec)
        if differences:
            message = (
                f"{storage.location}: the store was built from another spec ({'; '.join(differences)}); "
                "leave --spec out"
            )
            raise SpecMismatchError(message)
        return store, False
    update = {"spec": spec, "fingerprint": spec.fingerprint}
    return replace(store, attributes=store.attributes.model_copy(update=update)), True


def _recover(storage: Storage, spec: DatasetSpec | None, error: StoreError) -> StoreHandle:
    """A handle for a store whose root cannot be read, from what is left of it or from a spec."""
    path = storage.location
    store = StoreHandle(storage, StoreAttributes.created(spec or DatasetSpec()))
    try:
        root, repeated = storage.read(ROOT_KEY), read_storage(store)
        if root is None and storage.read(f"{FRAMES}/{ROOT_KEY}") is None:
            raise error
    except OSError:
        raise error from None
    if newer := find_newer_version((root or b"").decode(errors="replace")):
        message = f"{path}/{ROOT_KEY}: it is damaged, and {describe_newer(newer)} before you repair it"
        raise NewerStoreError(message)
    if spec is not None:
        found = store.spec if repeated is None else adopt(store.spec, repeated)
        held = find_first_groups(StoreHandle(storage, StoreAttributes.created(found)))
        first_groups = spec.splits.first_groups or held
        found, spec = (one.replace(first_groups=first_groups) for one in (found, spec))
        spec = adopt_storage(spec, found)
        differences = found.differences(spec)
        if differences:
            message = (
                f"{path}: the frames were built from another spec ({'; '.join(differences)}); correct it"
            )
            raise SpecMismatchError(message)
        return StoreHandle(storage, StoreAttributes.created(spec))
    attributes = None if root is None or isinstance(error, FormatVersionError) else salvage(store, root)
    if attributes is None:
        if isinstance(error, FormatVersionError) or (isinstance(error, NotAStoreError) and root is not None):
            raise error
        lost = "it is lost" if root is None else "it is damaged where it says what the store holds"
        message = (
            f"{path}/{ROOT_KEY}: {lost}, and the spec is written nowhere else; give the spec that the store was "
            f"built from: trajstore repair {path.argument} --spec spec.toml"
        )
        raise StoreError(message) from None
    return StoreHandle(storage, attributes)


def _check_drift(inspection: Inspection, *, must_match: bool) -> None:
    """Refuse if the rows that are stored are sound but not those that the generator makes now."""
    store = inspection.store
    for group in store.layout.groups:
        states = [
            state for state in inspection.states if state.task.group == group.name and state.flag == "set"
        ]
        different = [state for state in states if any(fault.kind == "different" for fault in state.faults)]
        right = sum(not state.faults for state in states)
        if len(different) < 2 or len(different) <= right:
            continue
        if any(_is_misplaced(store, state) for state in different[:MISPLACED_PROBES]):
            continue
        message = (
            f"{store.location}: found {len(different)} {group.name} files with valid checksums whose rows are not "
            f"those of the spec, and {right} with the right ones: the generator has changed, the spec is damaged, or "
            f"they belong to another dataset; {describe_versions(store)}; repair with the version that built it, or "
            "with --spec, or build a new store; nothing was changed"
        )
        raise DriftError(message)
    is_proven = any(not state.faults for state in inspection.states if state.has_data)
    if (must_match or store.attributes.fingerprint != store.spec.fingerprint) and not is_proven:
        message = (
            f"{store.location}: found no row that is what the spec gives, expected some that prove it; "
            f"{describe_versions(store)}; give the spec that the store was built from with --spec, or build a new "
            "store; nothing was changed"
        )
        raise DriftError(message)


def _is_misplaced(store: StoreHandle, state: TaskState) -> bool:
    """Whether the files of a task hold the rows of another task of the same store."""
    group, place = store.layout.group(state.task.group), choose_sample(state.task)
    try:
        with StoreReader(store) as reader:
            stored = [_read_row(reader, column, state.task.rows[place]) for column in group.columns]
    except StoreError:
        return False
    rows = (task.rows[place] for task in group.tasks() if task != state.task and len(task.rows) > place)
    return any(all(map(np.array_equal, stored, _draw_row(store.spec, group, row))) for row in rows)


def _read_row(reader: StoreReader, column: Column, row: int) -> NDArray[Any]:
    """The stored values of a row in a column."""
    if column.shard_shape is None:
        return reader.column(column.name, [row])
    return reader.read([row], column=column.name)


def _draw_row(spec: DatasetSpec, group: ColumnGroup, row: int) -> Iterator[NDArray[Any]]:
    """The values of a row in each column of a group, as the generator makes them."""
    scene = make_scene(spec, range(row, row + 1))
    for column in group.columns:
        values = np.empty((1, *column.shape[1:]), column.dtype)
        whole = tuple(slice(0, size) for size in column.shape[1:])
        yield group.draw(scene, column, slice(0, 1), whole, values)


def _read_root(storage: Storage) -> bytes | None:
    """The root as it is; None where it cannot be read."""
    try:
        return storage.read(ROOT_KEY)
    except OSError:
        return None


def _check_unchanged(store: StoreHandle, before: bytes | None) -> None:
    """Refuse to change a store which another command has changed since it was looked at."""
    now = _read_root(store.storage)
    if now != before and _find_changes(now, store.location) != _find_changes(before, store.location):
        message = (
            f"{store.location}: found another spec or history than when it was verified: another command has changed "
            f"the store meanwhile; run it again: trajstore repair {store.location.argument}"
        )
        raise StoreError(message)


def _find_changes(root: bytes | None, location: Location) -> tuple[DatasetSpec, list[HistoryEntry]] | None:
    """The spec of a root and all that has happened beside that it was finished; None where it is damaged."""
    attributes = _parse(root, location)
    if attributes is None:
        return None
    return attributes.spec, [entry for entry in attributes.history if entry.event != "finished"]


def _parse(root: bytes | None, location: Location) -> StoreAttributes | None:
    """What a root says about its store; None where it is damaged."""
    try:
        return parse_attributes(json.loads(root or b""), location)
    except (ValueError, TypeError, LookupError, StoreError):
        return None


def _write_metadata(store: StoreHandle, keys: Iterable[str], check: Check) -> StoreHandle:
    """Write metadata as the spec gives it; the root last, with the user's own attributes. The store as it is then."""
    if not keys:
        return store
    attributes = store.attributes.model_copy(update={"fingerprint": store.spec.fingerprint})
    metadata = render_metadata(attributes)

    def mend(found: bytes | None) -> bytes:
        check()
        latest = _parse(found, store.location)
        history = attributes.history if latest is None else latest.history
        rendered = render_metadata(attributes.model_copy(update={"history": history}))
        return _keep_attributes(found, rendered[ROOT_KEY])

    for key in sorted(keys, key=lambda key: key == ROOT_KEY):
        if key == ROOT_KEY:
            store.storage.update(key, mend)
        else:
            store.storage.write(key, metadata[key], check=check)
    return replace(store, attributes=attributes)


def _keep_attributes(found: bytes | None, expected: bytes) -> bytes:
    """A root with the attributes that somebody else has added to it."""
    root = json.loads(expected)
    try:
        attributes = json.loads(found or b"")["attributes"]
        root["attributes"] = attributes | root["attributes"]
    except (ValueError, TypeError, LookupError):
        return expected
    return json.dumps(root, indent=2).encode()


def _check_again(store: StoreHandle, tasks: Sequence[Task], options: RunOptions) -> None:
    """Make sure that what was written again is right."""
    done = "what was damaged is written again, but not all of it was checked again; run it again"
    states = check_tasks(store, tasks, options, phase="check", state=done)
    found = {state.task: state for state in states}
    for task in tasks:
        state = found[task]
        if state.faults or state.flag != "set":
            detail = (
                f"{state.faults[0].key}: {state.faults[0].detail}" if state.faults else "its flag is not set"
            )
            message = (
                f"{store.location}: {format_count(len(task.rows))} rows of {task.group} were written again and are "
                f"damaged again ({detail}), expected them to be right: check the disk"
            )
            raise DamageError(message)
