"""Create, open, grow and annotate a store, and tell what is written.

What decides whether something is there are the written flags: one object per task, published after the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import DriftError, NotAStoreError, StoreError
from trajstore.spec import ANNOTATIONS, GENERATOR_VERSION, Annotation, AnnotationsSection, DatasetSpec
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.attributes import ROOT_KEY, HistoryEntry, StoreAttributes, parse_attributes
from trajstore.store.columns import Column, ColumnGroup, Layout, Task
from trajstore.store.layout import plan_layout
from trajstore.store.shard import FLAG_WRITTEN
from trajstore.text import format_count

OTHER_STORE: Final = (
    "found another store here than where the command was begun, or one that has been extended; expected a location "
    "that is the same for all workers"
)

WRITING_THREADS: Final = 8
"""Small objects that are on their way to the disk or the network at once."""


@dataclass(frozen=True)
class StoreHandle:
    """An open store: its bytes, and what its root said when it was opened."""

    storage: Storage
    attributes: StoreAttributes

    @property
    def location(self) -> Location:
        """Where it lies."""
        return self.storage.location

    @property
    def spec(self) -> DatasetSpec:
        """The spec that the store was built from."""
        return self.attributes.spec

    @cached_property
    def layout(self) -> Layout:
        """The plan of the store."""
        return plan_layout(self.spec)

    def mark_written(self, task: Task) -> None:
        """Set the flags of a task whose data is published."""
        for name in task.groups:
            self.storage.write(self.layout.group(name).flags.key(task.index), FLAG_WRITTEN)

    def clear_written(self, task: Task) -> None:
        """Clear the flags of a task, for good when this returns."""
        for name in task.groups:
            self.storage.remove(self.layout.group(name).flags.key(task.index))

    def read_flags(self, group: ColumnGroup, tasks: range | None = None) -> dict[int, bytes]:
        """The bytes of the flags of a group that are there, by task, whatever they say."""
        prefix = group.flags.key(0).removesuffix("0")
        indices: Iterable[int] | None = tasks
        if indices is None:  # listing is cheaper than asking for what is not there
            found = (key.removeprefix(prefix) for key in self.storage.list_keys(group.flags.name))
            indices = (int(number) for number in found if number.isdecimal() and int(number) < len(group))
        keys = (group.flags.key(index) for index in indices)
        return {
            int(key.removeprefix(prefix)): flag
            for key, flag in self.storage.read_many(keys)
            if flag is not None
        }

    def is_written(self, group: ColumnGroup, tasks: range | None = None) -> NDArray[np.bool_]:
        """Which tasks of a group have their flag set, in the order of the tasks.

        Returns
        -------
        (tasks,) bool
        """
        looked_at = range(len(group)) if tasks is None else tasks
        written = np.zeros(len(looked_at), dtype=bool)
        flags = self.read_flags(group, tasks)
        written[[index - looked_at.start for index, flag in flags.items() if flag == FLAG_WRITTEN]] = True
        return written

    def count_written(self) -> dict[str, int]:
        """How many rows of each group are written."""
        return {
            group.name: group.count_rows(np.flatnonzero(self.is_written(group)))
            for group in self.layout.groups
        }

    def was_finished(self, group: ColumnGroup) -> bool:
        """Whether all rows of a group have once been written, as the history says; what is not there now has been lost.

        Annotations that came later make nothing else unfinished.
        """
        for entry in reversed(self.attributes.history):
            if entry.event == "finished":
                return entry.samples == self.spec.dataset.samples
            if entry.event in ("created", "extended") or group.name in entry.groups:
                return False
        return False


def create_store(storage: Storage, spec: DatasetSpec) -> StoreHandle:
    """Create a store with all its metadata and no rows, or open the one that another builder has created first."""
    attributes = StoreAttributes.created(spec)
    metadata = _render_metadata(attributes)
    check_is_free(storage, spec)
    root = metadata.pop(ROOT_KEY)
    _write_all(storage, metadata)
    # the root comes last and never replaces another: it is what makes a folder a store
    if storage.create(ROOT_KEY, root):
        return StoreHandle(storage, attributes)
    store = open_store(storage)
    if store.spec != attributes.spec:  # give the other builder back what was overwritten
        metadata = _render_metadata(store.attributes)
        del metadata[ROOT_KEY]
        _write_all(storage, metadata)
    return store


def _write_all(storage: Storage, objects: Mapping[str, bytes]) -> None:
    """Write small objects in any order, and wait for the disk or the network once and not once for each."""
    with ThreadPoolExecutor(WRITING_THREADS, thread_name_prefix="trajstore-write") as pool:
        for written in [pool.submit(storage.write, key, data) for key, data in objects.items()]:
            written.result()


def open_store(storage: Storage) -> StoreHandle:
    """Open a store of ours; `NotAStoreError` where there is none."""
    return find_store(storage) or _refuse_absent(storage.location)


def reopen_store(
    location: Location, *, samples: int, fingerprint: str, groups: Collection[str] = ()
) -> StoreHandle:
    """Open a store in another process, where it is known what it must be and which annotations it must have."""
    store = open_store(open_storage(location))
    found = (store.spec.dataset.samples, store.attributes.fingerprint)
    if found != (samples, fingerprint) or not set(groups) <= set(store.spec.annotations.groups):
        message = f"{location}: {OTHER_STORE}"
        raise StoreError(message)
    return store


def _refuse_absent(location: Location) -> NoReturn:
    """Say what lies where a store was expected."""
    found, action = "nothing", f"make one with: trajstore build {location.argument}"
    if location.folder is not None and location.folder.is_dir():
        found = "no zarr.json"
    elif location.folder is not None and os.path.lexists(location.folder):
        found, action = "a file", "name another path"
    message = f"{location}: found {found}, expected a trajstore store; {action}"
    raise NotAStoreError(message)


def find_store(storage: Storage) -> StoreHandle | None:
    """Open the store that lies here, if any; another zarr group or a damaged one is an error."""
    root = _load_root(storage)
    if root is not None:
        return StoreHandle(storage, parse_attributes(root, storage.location))
    folder = storage.location.folder
    if folder is not None and os.path.lexists(folder / ROOT_KEY):  # a folder, or a link to nothing
        _refuse_absent(storage.location)
    return None


def grow_store(store: StoreHandle, spec: DatasetSpec) -> StoreHandle:
    """Give a store the rows of a larger spec, none of which is written.

    Interrupted at any instant it has the old size or the new. Tasks that were partly filled lose their flag.
    """
    larger = plan_layout(spec)
    # before the store says that it is larger: a flag that is set promises all rows of its task
    for group in store.layout.groups:
        last = group.task(len(group) - 1)
        if larger.group(group.name).task(last.index).rows != last.rows:
            store.clear_written(last)
    # one object decides: before it is replaced the store has its old size, afterwards the new one
    grown = _replace_root(store, spec, HistoryEntry.now("extended", samples=spec.dataset.samples))
    complete_growth(grown)
    return grown


def _replace_root(store: StoreHandle, spec: DatasetSpec, event: HistoryEntry) -> StoreHandle:
    """Give a store another spec, all at once; what others have written to its root stays."""
    history = (*store.attributes.history, event)
    attributes = store.attributes.model_copy(update={"spec": spec, "history": history})
    root: dict[str, Any] = json.loads(_render_metadata(attributes)[ROOT_KEY])
    present = _load_root(store.storage) or {"attributes": {}}
    root["attributes"] = present["attributes"] | root["attributes"]
    store.storage.write(ROOT_KEY, json.dumps(root, indent=2).encode())
    return StoreHandle(store.storage, attributes)


def complete_growth(store: StoreHandle) -> None:
    """Bring the metadata of each array up to the root's where growing the store was interrupted in between."""
    if store.attributes.history[-1].event != "extended":
        return
    for key, data in _render_metadata(store.attributes).items():
        if key.endswith(f"/{ROOT_KEY}") and store.storage.read(key) != data:
            store.storage.write(key, data)


def add_annotations(store: StoreHandle, spec: DatasetSpec) -> StoreHandle:
    """Give a store the annotations of a spec, of which nothing is written.

    Interrupted at any instant it has all of them or none. What an earlier one has left of them counts for nothing.
    """
    complete_growth(store)
    store = _open_same(store)
    names = tuple(name for name in spec.annotations.groups if name not in store.spec.annotations.groups)
    groups = [plan_layout(spec).group(name) for name in names]
    # before the store says that it has them: a flag that was left would promise what may be gone
    for group in groups:
        _remove_all(store.storage, group.flags)
    metadata = _render_metadata(store.attributes.model_copy(update={"spec": spec}))
    arrays = {column.name for group in groups for column in (*group.columns, group.flags)}
    _write_all(
        store.storage, {key: data for key, data in metadata.items() if key.partition("/")[0] in arrays}
    )
    event = HistoryEntry.now("annotated", samples=spec.dataset.samples, groups=names)
    return _replace_root(store, spec, event)


def drop_annotations(store: StoreHandle, names: Collection[Annotation]) -> StoreHandle:
    """Take annotations from a store, or what is left of them where that was interrupted.

    First the store says that it has them no more; then their files go, the flags before what they speak of.
    """
    complete_growth(store)
    store = _open_same(store)
    everything = plan_layout(store.spec.replace(groups=ANNOTATIONS))
    present = store.spec.annotations.groups
    if gone := tuple(name for name in present if name in names):
        fields: dict[str, Any] = {"groups": [name for name in present if name not in gone]}
        if "tracks" in gone:
            fields["points"] = AnnotationsSection().points
        event = HistoryEntry.now("removed", samples=store.spec.dataset.samples, groups=gone)
        store = _replace_root(store, store.spec.replace(**fields), event)
    for group in map(everything.group, names):
        for column in (group.flags, *group.columns):
            _remove_all(store.storage, column)
        for column in (*group.columns, group.flags):
            store.storage.remove(f"{column.name}/{ROOT_KEY}")
            store.storage.prune(column.name)
    return store


def find_leftovers(store: StoreHandle, keys: Iterable[str]) -> dict[str, list[str]]:
    """Those of some keys that belong to annotations which a store does not say that it has, by name.

    They were removed, or never begun.
    """
    everything = plan_layout(store.spec.replace(groups=ANNOTATIONS))
    columns = {
        column.name: (name, column)
        for name in ANNOTATIONS
        if name not in store.spec.annotations.groups
        for group in (everything.group(name),)
        for column in (*group.columns, group.flags)
    }
    found: dict[str, list[str]] = {}
    for key in keys:
        array, _, rest = key.partition("/")
        if array in columns:
            name, column = columns[array]
            if rest == ROOT_KEY or _is_of(column, key):
                found.setdefault(name, []).append(key)
    return found


def _is_of(column: Column, key: str) -> bool:
    """Whether a key is that of an object of an array, without its metadata, whatever size the array had."""
    number = key.removeprefix(f"{column.name}/c.").partition(".")[0]
    return number.isascii() and number.isdecimal() and column.key(int(number)) == key


def _open_same(store: StoreHandle) -> StoreHandle:
    """A store as its root is now; `StoreError` where another command has changed what it holds."""
    current = open_store(store.storage)
    if current.spec != store.spec:
        message = (
            f"{store.location}: found another spec than a moment ago, expected the same: another command has changed "
            "the store; run it again"
        )
        raise StoreError(message)
    return current


def _remove_all(storage: Storage, column: Column) -> None:
    """Remove all objects of an array but its metadata, several at once."""
    keys = [key for key in storage.list_keys(column.name) if _is_of(column, key)]
    with ThreadPoolExecutor(WRITING_THREADS, thread_name_prefix="trajstore-remove") as pool:
        for removed in [pool.submit(storage.remove, key) for key in keys]:
            removed.result()


def finish_store(store: StoreHandle) -> StoreHandle:
    """Note in the history that a store is complete, if it is, once for each size; the store as its root is now.

    Raises `StoreError` where another command has extended the store meanwhile.
    """
    root = _load_root(store.storage)
    if root is None:
        message = f"{store.location}: found no zarr.json any more, expected the store that is being written"
        raise StoreError(message)
    current = StoreHandle(store.storage, parse_attributes(root, store.location))
    samples = store.spec.dataset.samples
    if current.spec.dataset.samples != samples:
        # take back what was said about a last task that has grown while it was being written
        for group in store.layout.groups:
            last = group.task(len(group) - 1)
            if len(last.rows) < group.rows_per_task:
                store.clear_written(last)
        message = (
            f"{store.location}: found {format_count(current.spec.dataset.samples)} samples, expected "
            f"{format_count(samples)}: it was extended while it was being built; "
            f"continue with: trajstore build {store.location.argument}"
        )
        raise StoreError(message)
    lost = [name for name in store.spec.annotations.groups if name not in current.spec.annotations.groups]
    if lost:
        message = (
            f"{store.location}: found no {', '.join(lost)} any more, expected what is being written: it was removed "
            f"meanwhile; write it again with: trajstore annotate {store.location.argument} {' '.join(lost)}"
        )
        raise StoreError(message)
    groups = current.layout.groups
    if all(map(current.was_finished, groups)) or not all(current.is_written(group).all() for group in groups):
        return current
    history = (*current.attributes.history, HistoryEntry.now("finished", samples=samples))
    attributes = current.attributes.model_copy(update={"history": history})
    root["attributes"] |= attributes.to_json()  # nothing else in the root changes
    store.storage.write(ROOT_KEY, json.dumps(root, indent=2).encode())
    return StoreHandle(store.storage, attributes)


def check_generator(store: StoreHandle) -> None:
    """Refuse to add rows to a store that another generator has begun."""
    if store.attributes.fingerprint != store.spec.fingerprint:
        message = (
            f"{store.location}: found rows of another generator, or damaged attributes: fingerprint "
            f"{store.attributes.fingerprint[:16]}, expected {store.spec.fingerprint[:16]} "
            f"(generator {GENERATOR_VERSION}); {describe_versions(store)}; use one of these, name another path, or "
            f"find out more with: trajstore verify {store.location.argument}"
        )
        raise DriftError(message)


def describe_versions(store: StoreHandle) -> str:
    """Say which versions built a store, and which is installed."""
    built = {entry.versions.get("trajstore", "unknown"): None for entry in store.attributes.history}
    now = HistoryEntry.now("created", samples=1).versions["trajstore"]
    return f"it was built by trajstore {', '.join(built)}, installed is {now}"


def check_is_free(storage: Storage, spec: DatasetSpec) -> None:
    """Check that a store can be created here, without writing anything; a store of ours is no obstacle.

    Nor is what an interrupted creation may have left.
    """
    keys = _render_metadata(StoreAttributes.created(spec)).keys()
    try:
        storage.check_free(keys - {ROOT_KEY})
    except NotAStoreError:
        if find_store(storage) is None:
            raise


def _render_metadata(attributes: StoreAttributes) -> dict[str, bytes]:
    """All objects of a store without rows."""
    from trajstore.store.zarr_api import render_metadata  # imports zarr, which reading does without

    return render_metadata(attributes)


def _load_root(storage: Storage) -> dict[str, Any] | None:
    """The root's ``zarr.json``; None where there is none."""
    location = storage.location
    try:
        data = storage.read(ROOT_KEY)
    except OSError as error:
        message = f"{location}: cannot be read: {error.strerror or error}"
        raise StoreError(message) from None
    if data is None:
        return None
    try:
        root = json.loads(data)
    except ValueError as error:
        message = (
            f"{location}/zarr.json: not valid JSON: {error}; the file is damaged, "
            f"mend it with: trajstore repair {location.argument}"
        )
        raise StoreError(message) from None
    if not isinstance(root, dict) or root.get("node_type") != "group" or root.get("zarr_format") != 3:
        message = f"{location}: found no Zarr v3 group, expected a trajstore store; name another path"
        raise NotAStoreError(message)
    if not isinstance(root.setdefault("attributes", {}), dict):
        message = (
            f"{location}/zarr.json: attributes are no object; the file is damaged, "
            f"mend it with: trajstore repair {location.argument}"
        )
        raise StoreError(message)
    return root
