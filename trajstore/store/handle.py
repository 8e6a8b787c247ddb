"""Create, open and fill a store, and tell what is written; the only module that knows zarr's API.

What decides whether something is there are the written flags: one object per task, published after the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajstore.errors import DriftError, FormatVersionError, NotAStoreError, StoreError
from trajstore.spec import GENERATOR_VERSION, DatasetSpec
from trajstore.storage.durable import find_debris, sweep
from trajstore.storage.interface import Bytes, Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.attributes import NAMESPACE, HistoryEntry, StoreAttributes
from trajstore.store.layout import FORMAT_VERSION, ColumnGroup, Layout, Task, plan_layout
from trajstore.store.shard import FLAG_WRITTEN
from trajstore.store.zarr_api import ROOT_KEY, render_metadata


@dataclass(frozen=True)
class StoreHandle:
    """An open store: where it is, what it is, and what of it is written."""

    location: Location
    attributes: StoreAttributes

    @cached_property
    def storage(self) -> Storage:
        """The bytes."""
        return open_storage(self.location)

    @property
    def spec(self) -> DatasetSpec:
        """The spec that the store was built from."""
        return self.attributes.spec

    @cached_property
    def layout(self) -> Layout:
        """The plan of the store."""
        return plan_layout(self.spec)

    def publish(self, key: str, data: Bytes) -> None:
        """Write an object, durably, whole or not at all."""
        self.storage.write(key, data)

    def mark_written(self, task: Task) -> None:
        """Set the flag of a task whose data is published."""
        self.publish(self.layout.group(task.group).flags.key(task.index), FLAG_WRITTEN)

    def clear_written(self, task: Task) -> None:
        """Clear the flag of a task, for good when this returns."""
        self.remove(self.layout.group(task.group).flags.key(task.index))

    def read(self, key: str) -> bytes | None:
        """Read an object."""
        return self.storage.read(key)

    def remove(self, key: str) -> None:
        """Remove an object, for good when this returns; harmless where there is none."""
        self.storage.remove(key)

    def list_keys(self) -> list[str]:
        """Names of all objects, sorted, those that do not belong to a store and temporary ones among them."""
        return sorted(self.storage.list_keys())

    def read_flags(self, group: ColumnGroup, tasks: range | None = None) -> dict[int, bytes]:
        """The bytes of the flags of a group that are there, whatever they say."""
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
        """Which tasks of a group have their flag set.

        Returns
        -------
        (tasks,) bool
            In the order of the tasks.
        """
        looked_at = range(len(group)) if tasks is None else tasks
        written = np.zeros(len(looked_at), dtype=bool)
        flags = self.read_flags(group, tasks)
        written[[index - looked_at.start for index, flag in flags.items() if flag == FLAG_WRITTEN]] = True
        return written

    def count_written(self, group: ColumnGroup) -> int:
        """How many rows of a group are written."""
        return group.count_rows(np.flatnonzero(self.is_written(group)))

    def record(self, entry: HistoryEntry) -> None:
        """Add an event to the history in the root attributes; nothing else in the root changes."""
        current = open_store(self.location)
        attributes = current.attributes.model_copy(update={"history": (*current.attributes.history, entry)})
        root = _load_root(self.location)
        root["attributes"] |= attributes.to_json()
        self.publish(ROOT_KEY, json.dumps(root, indent=2).encode())

    @property
    def was_finished(self) -> bool:
        """Whether all rows have once been written, as the history says; whatever is not there now has been lost."""
        last = self.attributes.history[-1]
        return (last.event, last.samples) == ("finished", self.spec.dataset.samples)

    def find_debris(self) -> list[str]:
        """Temporary files of dead builders."""
        folder = self.location.folder
        if folder is None:
            return []
        return sorted(file.relative_to(folder).as_posix() for file in find_debris(folder))

    def sweep(self) -> list[str]:
        """Remove temporary files of dead builders."""
        folder = self.location.folder
        if folder is None:
            return []
        return [file.relative_to(folder).as_posix() for file in sweep(folder)]

    def stored_bytes(self) -> dict[str, int]:
        """Bytes of the objects of each array."""
        return self.storage.measure()


def create_store(location: str | Path | Location, spec: DatasetSpec) -> StoreHandle:
    """Create a store with all its metadata and no rows; harmless where one is being created from the same spec."""
    metadata = render_metadata(StoreAttributes.created(spec))
    check_is_free(location, metadata)
    storage = open_storage(Location.parse(location))
    root = metadata.pop(ROOT_KEY)
    for key, data in metadata.items():
        if exists(location):  # another builder is first: leave its store alone
            break
        storage.write(key, data)
    # the root comes last and never replaces another: it is what makes a folder a store
    storage.create(ROOT_KEY, root)
    store = open_store(location)
    if store.spec != spec:  # another builder was first: give it back what was overwritten
        for key, data in render_metadata(store.attributes).items():
            if key != ROOT_KEY:
                storage.write(key, data)
    return store


def open_store(location: str | Path | Location) -> StoreHandle:
    """Open a store of ours."""
    location = Location.parse(location)
    root = _load_root(location)
    found = root["attributes"].get(NAMESPACE)
    if not isinstance(found, dict):
        message = (
            f"{location}: found a zarr group without the attribute {NAMESPACE!r}, expected a trajstore store; "
            "name another path"
        )
        raise NotAStoreError(message)
    if found.get("format_version") != FORMAT_VERSION:
        message = (
            f"{location}: found store format {found.get('format_version')!r}, expected {FORMAT_VERSION}; "
            "use the trajstore version that wrote it (see attributes.trajstore.history in its zarr.json)"
        )
        raise FormatVersionError(message)
    try:
        attributes = StoreAttributes.model_validate_json(json.dumps(found))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in detail["loc"])
        message = (
            f"{location}/zarr.json: attribute {NAMESPACE}.{place}: {detail['msg'].lower()}; "
            f"the attributes are damaged, mend them with: trajstore repair {location.argument}"
        )
        raise StoreError(message) from None
    return StoreHandle(location, attributes)


def grow_store(store: StoreHandle, spec: DatasetSpec) -> StoreHandle:
    """Give a store more rows, none of which is written; interrupted at any instant it has the old size or the new."""
    larger = plan_layout(spec)
    entry = HistoryEntry.now("extended", samples=spec.dataset.samples)
    history = (*store.attributes.history, entry)
    attributes = store.attributes.model_copy(update={"spec": spec, "history": history})
    root = json.loads(render_metadata(attributes)[ROOT_KEY])
    root["attributes"] = _load_root(store.location)["attributes"] | root["attributes"]
    # before the store says that it is larger: a flag that is set promises all rows of its task
    for group in store.layout.groups:
        last = group.task(len(group) - 1)
        if larger.group(group.name).task(last.index).rows != last.rows:
            store.clear_written(last)
    # one object decides: before it is replaced the store has its old size, afterwards the new one
    store.publish(ROOT_KEY, json.dumps(root, indent=2).encode())
    grown = open_store(store.location)
    complete_growth(grown)
    return grown


def complete_growth(store: StoreHandle) -> None:
    """Bring the metadata of each array up to the root's where growing the store was interrupted in between."""
    if store.attributes.history[-1].event != "extended":
        return
    for key, data in render_metadata(store.attributes).items():
        if key.endswith(f"/{ROOT_KEY}") and store.read(key) != data:
            store.publish(key, data)


def check_generator(store: StoreHandle) -> None:
    """Refuse to add rows to a store that another generator has begun."""
    if store.attributes.fingerprint != store.spec.fingerprint:
        message = (
            f"{store.location}: found rows of another generator, or damaged attributes: fingerprint "
            f"{store.attributes.fingerprint[:16]}, expected {store.spec.fingerprint[:16]} "
            f"(generator {GENERATOR_VERSION}); {name_versions(store)}; use one of these, name another path, or find "
            f"out more with: trajstore verify {store.location.argument}"
        )
        raise DriftError(message)


def name_versions(store: StoreHandle) -> str:
    """Which versions built a store."""
    built = {entry.versions.get("trajstore", "unknown"): None for entry in store.attributes.history}
    now = HistoryEntry.now("created", samples=1).versions["trajstore"]
    return f"it was built by trajstore {', '.join(built)}, installed is {now}"


def open_raw(location: str | Path | Location, attributes: StoreAttributes) -> StoreHandle:
    """Open what is left of a store whose root is not there or cannot be trusted."""
    return StoreHandle(Location.parse(location), attributes)


def exists(location: str | Path | Location) -> bool:
    """Whether a zarr group lies at a location, ours or not."""
    parsed = Location.parse(location)
    if parsed.folder is not None:
        return os.path.lexists(parsed.folder / ROOT_KEY)  # also one that cannot be read
    try:
        return open_storage(parsed).read(ROOT_KEY) is not None
    except OSError as error:
        message = f"{location}: cannot be read: {error}"
        raise StoreError(message) from None


def check_is_free(location: str | Path | Location, allowed: Iterable[str] | None = None) -> None:
    """Check that a store can be created at a location, without writing anything."""
    if allowed is None:
        allowed = render_metadata(StoreAttributes.created(DatasetSpec()))
    try:
        open_storage(Location.parse(location)).check_free(allowed)
    except NotAStoreError:
        if not exists(location):  # another builder has just created the store
            raise


def _load_root(location: Location) -> dict[str, Any]:
    """The root's ``zarr.json``."""
    try:
        data = open_storage(location).read(ROOT_KEY)
    except OSError as error:
        message = f"{location}: cannot be read: {error.strerror or error}"
        raise StoreError(message) from None
    if data is None:
        found, action = "nothing", f"make one with: trajstore build {location.argument}"
        if location.folder is None:
            pass
        elif location.folder.is_dir():
            found = "no zarr.json"
        elif os.path.lexists(location.folder):
            found, action = "a file", "name another path"
        message = f"{location}: found {found}, expected a trajstore store; {action}"
        raise NotAStoreError(message)
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
