"""Create, open and fill a store, and tell what is written; the only module that knows zarr's API.

What decides whether something is there are the written flags: one object per task, published after the data.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from trajstore.access import open_objects
from trajstore.attributes import NAMESPACE, HistoryEntry, StoreAttributes
from trajstore.buckets import Bucket
from trajstore.durable import find_debris, sweep
from trajstore.errors import CorruptDataError, DriftError, FormatVersionError, NotAStoreError, StoreError
from trajstore.layout import FORMAT_VERSION, Column, ColumnGroup, Layout, Task, plan_layout
from trajstore.locations import Location
from trajstore.objects import Objects
from trajstore.shard import FLAG_WRITTEN, Bytes
from trajstore.spec import GENERATOR_VERSION, DatasetSpec

ROOT_KEY: Final = "zarr.json"


@dataclass(frozen=True)
class StoreHandle:
    """An open store: where it is, what it is, and what of it is written.

    Attributes
    ----------
    location : Location
        Where.
    attributes : StoreAttributes
        The root attributes, as they were when the store was opened.
    """

    location: Location
    attributes: StoreAttributes

    @cached_property
    def objects(self) -> Objects:
        """The bytes."""
        return open_objects(self.location)

    @property
    def spec(self) -> DatasetSpec:
        """The spec that the store was built from."""
        return self.attributes.spec

    @cached_property
    def layout(self) -> Layout:
        """The plan of the store."""
        return plan_layout(self.spec)

    def publish(self, key: str, data: Bytes) -> None:
        """Write an object, durably, whole or not at all.

        Parameters
        ----------
        key : str
            Its name in the store.
        data : bytes-like
            Its content.
        """
        self.objects.write(key, data)

    def mark_written(self, task: Task) -> None:
        """Set the flag of a task whose data is published.

        Parameters
        ----------
        task : Task
            The task.
        """
        self.publish(self.layout.group(task.group).flags.key(task.index), FLAG_WRITTEN)

    def clear_written(self, task: Task) -> None:
        """Clear the flag of a task, for good when this returns.

        Parameters
        ----------
        task : Task
            The task.
        """
        self.remove(self.layout.group(task.group).flags.key(task.index))

    def read(self, key: str) -> bytes | None:
        """Read an object.

        Parameters
        ----------
        key : str
            Its name in the store.

        Returns
        -------
        bytes or None
            Its content; None if it is not there.
        """
        return self.objects.read(key)

    def remove(self, key: str) -> None:
        """Remove an object, for good when this returns; harmless where there is none.

        Parameters
        ----------
        key : str
            Its name in the store.
        """
        self.objects.remove(key)

    def list_keys(self) -> list[str]:
        """Names of all objects, sorted, those that do not belong to a store and temporary ones among them.

        Returns
        -------
        list of str
            Keys.
        """
        return sorted(self.objects.list_keys())

    def read_flags(self, group: ColumnGroup, tasks: range | None = None) -> dict[int, bytes]:
        """The bytes of the flags of a group that are there, whatever they say.

        Parameters
        ----------
        group : ColumnGroup
            One of the layout's groups.
        tasks : range, optional
            Indices of the tasks to look at; all by default.

        Returns
        -------
        dict
            From a task's index to the content of its flag.
        """
        prefix = group.flags.key(0).removesuffix("0")
        indices: Iterable[int] | None = tasks
        if indices is None:  # listing is cheaper than asking for what is not there
            found = (key.removeprefix(prefix) for key in self.objects.list_keys(group.flags.name))
            indices = (int(number) for number in found if number.isdecimal() and int(number) < len(group))
        keys = (group.flags.key(index) for index in indices)
        return {
            int(key.removeprefix(prefix)): flag
            for key, flag in self.objects.read_many(keys)
            if flag is not None
        }

    def is_written(self, group: ColumnGroup, tasks: range | None = None) -> NDArray[np.bool_]:
        """Which tasks of a group have their flag set.

        Parameters
        ----------
        group : ColumnGroup
            One of the layout's groups.
        tasks : range, optional
            Indices of the tasks to look at; all by default.

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
        """How many rows of a group are written.

        Parameters
        ----------
        group : ColumnGroup
            One of the layout's groups.

        Returns
        -------
        int
            Rows.
        """
        return group.count_rows(np.flatnonzero(self.is_written(group)))

    def record(self, entry: HistoryEntry) -> None:
        """Add an event to the history in the root attributes; nothing else in the root changes.

        Parameters
        ----------
        entry : HistoryEntry
            What happened.
        """
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
        """Temporary files of dead builders.

        Returns
        -------
        list of str
            Keys.
        """
        folder = self.location.folder
        if folder is None:
            return []
        return sorted(file.relative_to(folder).as_posix() for file in find_debris(folder))

    def sweep(self) -> list[str]:
        """Remove temporary files of dead builders.

        Returns
        -------
        list of str
            Keys that were removed.
        """
        folder = self.location.folder
        if folder is None:
            return []
        return [file.relative_to(folder).as_posix() for file in sweep(folder)]

    def stored_bytes(self) -> dict[str, int]:
        """Bytes of the objects of each array.

        Returns
        -------
        dict
            From an array's name, or ``zarr.json`` for the root, to bytes.
        """
        return self.objects.measure()


def create_store(location: str | Path | Location, spec: DatasetSpec) -> StoreHandle:
    """Create a store with all its metadata and no rows; harmless where one is being created from the same spec.

    Parameters
    ----------
    location : path-like or Location
        A folder that does not exist, is empty, or holds what is left of an interrupted creation.
    spec : DatasetSpec
        The dataset.

    Returns
    -------
    StoreHandle
        The new store, or the one that another builder created first.

    Raises
    ------
    NotAStoreError
        If the folder holds other files.
    """
    metadata = render_metadata(StoreAttributes.created(spec))
    check_is_free(location, metadata)
    objects = open_objects(Location.parse(location))
    root = metadata.pop(ROOT_KEY)
    for key, data in metadata.items():
        if exists(location):  # another builder is first: leave its store alone
            break
        objects.write(key, data)
    # the root comes last and never replaces another: it is what makes a folder a store
    objects.create(ROOT_KEY, root)
    store = open_store(location)
    if store.spec != spec:  # another builder was first: give it back what was overwritten
        for key, data in render_metadata(store.attributes).items():
            if key != ROOT_KEY:
                objects.write(key, data)
    return store


def open_store(location: str | Path | Location) -> StoreHandle:
    """Open a store of ours.

    Parameters
    ----------
    location : path-like or Location
        The store's folder.

    Returns
    -------
    StoreHandle
        The store.

    Raises
    ------
    NotAStoreError
        If there is none.
    FormatVersionError
        If it was written by a version with another layout.
    StoreError
        If its attributes are damaged.
    """
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
    """Give a store more rows, none of which is written; interrupted at any instant it has the old size or the new.

    Parameters
    ----------
    store : StoreHandle
        The store.
    spec : DatasetSpec
        Its spec with more samples.

    Returns
    -------
    StoreHandle
        The larger store. Tasks that were partly filled have lost their flag; all other data stays as it was.
    """
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
    """Bring the metadata of each array up to the root's where growing the store was interrupted in between.

    Parameters
    ----------
    store : StoreHandle
        The store.
    """
    if store.attributes.history[-1].event != "extended":
        return
    for key, data in render_metadata(store.attributes).items():
        if key.endswith(f"/{ROOT_KEY}") and store.read(key) != data:
            store.publish(key, data)


def check_generator(store: StoreHandle) -> None:
    """Refuse to add rows to a store that another generator has begun.

    Parameters
    ----------
    store : StoreHandle
        The store.

    Raises
    ------
    DriftError
        If the fingerprint of its spec is not the one that the installed generator gives.
    """
    if store.attributes.fingerprint != store.spec.fingerprint:
        message = (
            f"{store.location}: found rows of another generator, or damaged attributes: fingerprint "
            f"{store.attributes.fingerprint[:16]}, expected {store.spec.fingerprint[:16]} "
            f"(generator {GENERATOR_VERSION}); {name_versions(store)}; use one of these, name another path, or find "
            f"out more with: trajstore verify {store.location.argument}"
        )
        raise DriftError(message)


def name_versions(store: StoreHandle) -> str:
    """Which versions built a store.

    Parameters
    ----------
    store : StoreHandle
        The store.

    Returns
    -------
    str
        A clause for messages.
    """
    built = {entry.versions.get("trajstore", "unknown"): None for entry in store.attributes.history}
    now = HistoryEntry.now("created", samples=1).versions["trajstore"]
    return f"it was built by trajstore {', '.join(built)}, installed is {now}"


def open_raw(location: str | Path | Location, attributes: StoreAttributes) -> StoreHandle:
    """Open what is left of a store whose root is not there or cannot be trusted.

    Parameters
    ----------
    location : path-like or Location
        The store's folder.
    attributes : StoreAttributes
        What its root should say.

    Returns
    -------
    StoreHandle
        The store.
    """
    return StoreHandle(Location.parse(location), attributes)


def exists(location: str | Path | Location) -> bool:
    """Whether a zarr group lies at a location, ours or not.

    Parameters
    ----------
    location : path-like or Location
        A folder, which need not exist.

    Returns
    -------
    bool
        True if there is a ``zarr.json``.
    """
    parsed = Location.parse(location)
    if parsed.folder is not None:
        return os.path.lexists(parsed.folder / ROOT_KEY)  # also one that cannot be read
    try:
        return open_objects(parsed).read(ROOT_KEY) is not None
    except OSError as error:
        message = f"{location}: cannot be read: {error}"
        raise StoreError(message) from None


def check_is_free(location: str | Path | Location, allowed: Iterable[str] | None = None) -> None:
    """Check that a store can be created at a location, without writing anything.

    Parameters
    ----------
    location : path-like or Location
        Where; a store, which another builder may have created by now, is no obstacle.
    allowed : iterable of str, optional
        Keys that an interrupted creation may have left.

    Raises
    ------
    NotAStoreError
        If it is a file or a folder with files of somebody else's.
    StoreError
        If the parent folder is missing or not writable.
    """
    if allowed is None:
        allowed = render_metadata(StoreAttributes.created(DatasetSpec()))
    try:
        open_objects(Location.parse(location)).check_free(allowed)
    except NotAStoreError:
        if not exists(location):  # another builder has just created the store
            raise


def read_written(store: StoreHandle, group: ColumnGroup, name: str) -> NDArray[np.generic]:
    """Read the rows of a column whose flags are set.

    Parameters
    ----------
    store : StoreHandle
        The store.
    group : ColumnGroup
        The group that the column belongs to.
    name : str
        The column.

    Returns
    -------
    (rows, ...) ndarray
        Rows of unwritten tasks are left out.

    Raises
    ------
    CorruptDataError
        If a checksum is wrong or bytes cannot be decoded.
    """
    parts = [group.task(int(index)).rows for index in np.flatnonzero(store.is_written(group))]
    return np.concatenate([read_rows(store, name, rows) for rows in parts or [range(0)]])


def read_rows(store: StoreHandle, name: str, rows: range) -> NDArray[np.generic]:
    """Read some rows of a column, written or not.

    Parameters
    ----------
    store : StoreHandle
        The store.
    name : str
        The column.
    rows : range
        Contiguous rows.

    Returns
    -------
    (rows, ...) ndarray
        What is not written reads as the fill value.

    Raises
    ------
    CorruptDataError
        If a checksum is wrong or bytes do not decode.
    """
    try:
        array = zarr.open_array(zarr_store(store.location), path=name, mode="r", zarr_format=3)
        return np.asarray(array[rows.start : rows.stop])
    except (ValueError, TypeError, LookupError, RuntimeError, FileNotFoundError) as error:
        # all of these are what zarr and its codecs raise
        message = (
            f"{store.location}: column {name}, rows {rows.start}…{rows.stop - 1}: {error}; "
            f"see what else is damaged with: trajstore verify {store.location.argument}"
        )
        raise CorruptDataError(message) from None


def _load_root(location: Location) -> dict[str, Any]:
    """The root's ``zarr.json``."""
    try:
        data = open_objects(location).read(ROOT_KEY)
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


def render_metadata(attributes: StoreAttributes) -> dict[str, bytes]:
    """All objects of a store without rows: metadata and static arrays, made by zarr in memory.

    Parameters
    ----------
    attributes : StoreAttributes
        What the store says about itself, its spec above all.

    Returns
    -------
    dict
        From key to content; the root's is `ROOT_KEY`.
    """
    objects = _render_arrays(attributes.spec)
    root = json.loads(objects[ROOT_KEY])
    root = {"attributes": attributes.to_json(), **root}
    return {**objects, ROOT_KEY: json.dumps(root, indent=2).encode()}


def zarr_store(location: Location) -> Store:
    """A store's objects for zarr, to read.

    Parameters
    ----------
    location : Location
        The store.

    Returns
    -------
    zarr.abc.store.Store
        Read-only.
    """
    if location.folder is not None:
        return LocalStore(location.folder, read_only=True)
    return ObjectStore(Bucket(location).client, read_only=True)


@lru_cache(maxsize=4)
def _render_arrays(spec: DatasetSpec) -> Mapping[str, bytes]:
    """All objects of a store without rows; the root has no attributes."""
    from trajstore.scene import place_cameras  # compiles kernels: only where it is needed

    memory = MemoryStore()
    root = zarr.create_group(memory, zarr_format=3)
    layout = plan_layout(spec)
    for column in layout.columns:
        _create_array(root, column, spec)
    rig = place_cameras(spec)
    root["intrinsics"][...] = rig.intrinsics  # type: ignore[index]
    root["extrinsics"][...] = rig.extrinsics  # type: ignore[index]
    with warnings.catch_warnings():
        # zarr 3.1 warns that consolidated metadata is no part of the specification; without it xarray warns
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(memory)
    objects = {key: _read(memory, key) for key in sorted(sync(_list(memory)))}
    # zarr lists the members in the order of a set; ours is the same in every store
    described = json.loads(objects[ROOT_KEY])
    members = described["consolidated_metadata"]["metadata"]
    described["consolidated_metadata"]["metadata"] = {
        column.name: members[column.name] for column in layout.columns
    }
    del described["attributes"]
    return MappingProxyType(objects | {ROOT_KEY: json.dumps(described).encode()})


async def _list(memory: Store) -> list[str]:
    """All keys."""
    return [key async for key in memory.list()]


def _read(memory: Store, key: str) -> bytes:
    """An object that is there."""
    value = sync(memory.get(key, default_buffer_prototype()))
    assert value is not None  # it was listed
    return value.to_bytes()


def _create_array(root: zarr.Group, column: Column, spec: DatasetSpec) -> None:
    """Create one array with the codecs that `trajstore.shard` writes."""
    checksum = Crc32cCodec()
    zstd = ZstdCodec(level=spec.storage.compression_level)
    root.create_array(
        column.name,
        shape=column.shape,
        dtype=column.dtype,
        chunks=column.chunk_shape,
        shards=column.shard_shape,
        compressors=[checksum] if column.dtype == "bool" else [zstd, checksum],
        filters=None,
        fill_value=column.fill_value,
        dimension_names=column.dims,
        attributes=dict(column.attributes),
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )
