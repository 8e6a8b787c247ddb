"""Create, open and grow a store, and tell what is written.

What decides whether something is there are the written flags: one object per task, published after the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import DriftError, NotAStoreError, StoreError
from trajstore.spec import GENERATOR_VERSION, DatasetSpec
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.attributes import ROOT_KEY, HistoryEntry, StoreAttributes, parse_attributes
from trajstore.store.columns import ColumnGroup, Layout, Task
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
        """Set the flag of a task whose data is published."""
        self.storage.write(self.layout.group(task.group).flags.key(task.index), FLAG_WRITTEN)

    def clear_written(self, task: Task) -> None:
        """Clear the flag of a task, for good when this returns."""
        self.storage.remove(self.layout.group(task.group).flags.key(task.index))

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

    @property
    def was_finished(self) -> bool:
        """Whether all rows have once been written, as the history says; whatever is not there now has been lost."""
        last = self.attributes.history[-1]
        return (last.event, last.samples) == ("finished", self.spec.dataset.samples)


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


def reopen_store(location: Location, *, samples: int, fingerprint: str) -> StoreHandle:
    """Open a store in another process, where it is known what it must be."""
    store = open_store(open_storage(location))
    if (store.spec.dataset.samples, store.attributes.fingerprint) != (samples, fingerprint):
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
    history = (*store.attributes.history, HistoryEntry.now("extended", samples=spec.dataset.samples))
    attributes = store.attributes.model_copy(update={"spec": spec, "history": history})
    root: dict[str, Any] = json.loads(_render_metadata(attributes)[ROOT_KEY])
    present = _load_root(store.storage) or {"attributes": {}}
    root["attributes"] = present["attributes"] | root["attributes"]
    store.storage.write(ROOT_KEY, json.dumps(root, indent=2).encode())
    grown = StoreHandle(store.storage, attributes)
    complete_growth(grown)
    return grown


def complete_growth(store: StoreHandle) -> None:
    """Bring the metadata of each array up to the root's where growing the store was interrupted in between."""
    if store.attributes.history[-1].event != "extended":
        return
    for key, data in _render_metadata(store.attributes).items():
        if key.endswith(f"/{ROOT_KEY}") and store.storage.read(key) != data:
            store.storage.write(key, data)


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
    if current.was_finished or not all(store.is_written(group).all() for group in store.layout.groups):
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
