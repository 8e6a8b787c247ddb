"""Create, open, grow and annotate a store, and tell what is written.

What decides whether something is there are the written flags: one object per task, published after the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import DriftError, NotAStoreError, StoreError
from trajstore.spec import ANNOTATIONS, GENERATOR_VERSION, Annotation, AnnotationsSection, DatasetSpec
from trajstore.storage.durable import PARTIAL_SUFFIX
from trajstore.storage.interface import Bytes, Check, Storage
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

EXPORT_FILES: Final = ("metadata.json", "unfinished.json")
"""What tells an export from other folders."""

TAIL_BYTES: Final = 64
"""By how many bytes at the end a file is told from another: there are the checksums."""

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

    def is_fixed(self, task: Task) -> bool:
        """Whether a task holds the same for ever: whole tasks of groups that nobody removes."""
        return all(
            len(task.rows) == self.layout.group(name).rows_per_task
            and name not in self.spec.annotations.groups
            for name in task.groups
        )

    @contextmanager
    def publishing(self, task: Task) -> Iterator[Callable[[str, Bytes], None]]:
        """Set the flags of a task when all that was written with the function that this gives is there.

        Raises `StoreError` where another command has changed meanwhile what the task is to hold: then nothing is
        written any more. Where the storage cannot promise that, flags that may be wrong are cleared.
        """
        is_fixed = self.is_fixed(task)
        check = None if is_fixed else partial(self.check_current, task)
        must_look = not is_fixed and not self.storage.is_locked
        tails: dict[str, bytes] = {}

        def write(key: str, data: Bytes) -> None:
            self.storage.write(key, data, check=None if must_look else check)
            if must_look:
                tails[key] = bytes(data[-TAIL_BYTES:])

        try:
            if must_look:  # and not before each file: what comes in between is seen in the end
                self.check_current(task)
            yield write
            for name in task.groups:
                self.storage.write(self.layout.group(name).flags.key(task.index), FLAG_WRITTEN, check=check)
            if must_look:
                self.check_current(task)
                self._check_tails(tails)
        except StoreError:
            if check and not self.storage.is_locked:
                with suppress(OSError, StoreError):
                    self.clear_written(task)
            raise

    def _check_tails(self, tails: Mapping[str, bytes]) -> None:
        """Refuse where another command has replaced or removed what was written; files end in a checksum."""
        for key, expected in tails.items():
            found = None
            with suppress(FileNotFoundError):
                found, _ = self.storage.read_tail(key, len(expected))
                self.storage.forget(key)
            if found is None or bytes(found) != expected:
                message = (
                    f"{self.location}/{key}: found other bytes than were written a moment ago: another command was "
                    f"changing the store; continue with: trajstore build {self.location.argument}"
                )
                raise StoreError(message)

    def mark_written(self, task: Task) -> None:
        """Set the flags of a task whose data is there."""
        with self.publishing(task):
            pass

    def clear_written(self, task: Task, *, check: Check | None = None) -> None:
        """Clear the flags of a task, for good when this returns."""
        for name in task.groups:
            self.storage.remove(self.layout.group(name).flags.key(task.index), check=check)

    def check_current(self, task: Task) -> None:
        """Refuse to go on with a task where another command has changed what it is to hold.

        Raises `StoreError`, which says what has been changed.
        """
        current = _open_again(self.storage)
        if not all(self._is_same(task, name, current) for name in task.groups):
            raise _explain_change(self, current)

    def _is_same(self, task: Task, name: str, current: StoreHandle) -> bool:
        """Whether a group's part of a task holds in another state of the store what it holds in this one."""
        here, there = (
            [
                (group.row_bytes, group.task(task.index).rows)
                for group in store.layout.groups
                if group.name == name
            ]
            # one that was removed and added again is another, of which nothing is there
            + [entry for entry in store.attributes.history if name in entry.groups]
            for store in (self, current)
        )
        return here == there and here[0] == (self.layout.group(name).row_bytes, task.rows)

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
    def is_growing(self) -> bool:
        """Whether it was extended and not finished since: the metadata of its arrays may say less than the root."""
        events = [entry.event for entry in self.attributes.history]
        return (
            "extended"
            in events[max((i for i, event in enumerate(events) if event == "finished"), default=0) :]
        )

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
        _write_all(storage, metadata, check=partial(_check_spec, store))
    return store


def _check_spec(store: StoreHandle) -> None:
    """Refuse to go on where another command has changed what a store is to hold."""
    current = _open_again(store.storage)
    if current.spec != store.spec:
        raise _explain_change(store, current)


def _write_all(storage: Storage, objects: Mapping[str, bytes], *, check: Check | None = None) -> None:
    """Write small objects in any order, and wait for the disk or the network once and not once for each."""
    with ThreadPoolExecutor(WRITING_THREADS, thread_name_prefix="trajstore-write") as pool:
        for written in [pool.submit(storage.write, key, data, check=check) for key, data in objects.items()]:
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


def _open_again(storage: Storage) -> StoreHandle:
    """Open a store that was open a moment ago: its root is parsed where it is another."""
    data = storage.read(ROOT_KEY)
    if data is None:
        message = f"{storage.location}: found no zarr.json any more, expected the store that is being written"
        raise StoreError(message)
    return StoreHandle(storage, _parse_attributes(data, storage.location))


@lru_cache(maxsize=4)
def _parse_attributes(data: bytes, location: Location) -> StoreAttributes:
    """What a root says, as bytes, about a store."""
    root = _parse_root(data, location)
    assert root is not None  # there are bytes
    return parse_attributes(root, location)


def _refuse_absent(location: Location) -> NoReturn:
    """Say what lies where a store was expected."""
    found, action = "nothing", f"make one with: trajstore build {location.argument}"
    path = location.folder
    if path is not None and path.is_dir():
        found = "no zarr.json"
        if any((path / name).is_file() for name in EXPORT_FILES):
            found = "an export"
            action = f"name the store that it was made from, or check it with: trajstore validate {location.argument}"
    elif path is not None and os.path.lexists(path):
        found, action = "a file", "name the folder of a store"
        if path.suffix in (".toml", ".json") and path.name != ROOT_KEY:
            command = f"trajstore build NAME.zarr --spec {location.argument}"
            action = f"if it is a spec, build a store from it with: {command}"
        elif path.suffix in (".h5", ".hdf5"):
            action = f'read it with: xarray.open_dataset("{path.name}", engine="h5netcdf")'
    message = f"{location}: found {found}, expected a trajstore store; {action}"
    raise NotAStoreError(message)


def find_store(storage: Storage) -> StoreHandle | None:
    """Open the store that lies here, if any; another zarr group or a damaged one is an error."""
    root = _load_root(storage)
    if root is not None:
        return StoreHandle(storage, parse_attributes(root, storage.location))
    folder = storage.location.folder
    if (
        folder is not None and os.path.lexists(folder / ROOT_KEY) and not (folder / ROOT_KEY).is_file()
    ):  # a folder, or a link to nothing
        _refuse_absent(storage.location)
    return None


def grow_store(store: StoreHandle, samples: int) -> StoreHandle:
    """Give a store more rows, none of which is written; the store as its root is now.

    Interrupted at any instant it has the old size or the new. Tasks that were partly filled lose their flag. Raises
    `StoreError` where another command has given it more rows than that.
    """
    partly_filled: list[Task] = []

    def grow(current: StoreHandle) -> tuple[DatasetSpec, HistoryEntry] | None:
        present = current.spec.dataset.samples
        if present > samples:
            message = (
                f"{store.location}: found {format_count(present)} samples, expected to extend to "
                f"{format_count(samples)}: another command has extended it further meanwhile; complete it with: "
                f"trajstore build {store.location.argument}"
            )
            raise StoreError(message)
        if present == samples:
            return None
        spec = current.spec.replace(samples=samples)
        larger = plan_layout(spec)
        last = [(group, group.task(len(group) - 1)) for group in current.layout.groups]
        partly_filled[:] = [
            task for group, task in last if larger.group(group.name).task(task.index).rows != task.rows
        ]
        # before the store says that it is larger: a flag that is set promises all rows of its task
        for task in partly_filled:
            current.clear_written(task)
        return spec, HistoryEntry.now("extended", samples=samples)

    # one object decides: before it is replaced the store has its old size, afterwards the new one
    grown = _change_root(store.storage, grow)
    if not store.storage.is_locked:  # a builder may have set them in between
        for task in partly_filled:
            grown.clear_written(task)
    complete_growth(grown)
    return grown


def _change_root(
    storage: Storage, change: Callable[[StoreHandle], tuple[DatasetSpec, HistoryEntry] | None]
) -> StoreHandle:
    """Give a store another spec and say so in its history, all at once; the store as its root is then.

    The function gets the store as its root is now, after whatever others have changed, which stays, and again where
    another was faster. Where it gives None, nothing is changed.
    """
    changed: list[StoreHandle] = []

    def rewrite(data: bytes | None) -> bytes | None:
        root = _parse_root(data, storage.location)
        if root is None:
            message = (
                f"{storage.location}: found no zarr.json any more, expected the store that is being changed"
            )
            raise StoreError(message)
        current = StoreHandle(storage, parse_attributes(root, storage.location))
        changed[:] = [current]
        decided = change(current)
        if decided is None:
            return None
        spec, event = decided
        history = (*current.attributes.history, event)
        attributes = current.attributes.model_copy(update={"spec": spec, "history": history})
        changed[:] = [StoreHandle(storage, attributes)]
        others = root["attributes"]
        if spec != current.spec:
            root = json.loads(_render_metadata(attributes)[ROOT_KEY])
        root["attributes"] = others | attributes.to_json()
        return json.dumps(root, indent=2).encode()

    storage.update(ROOT_KEY, rewrite)
    return changed[0]


def complete_growth(store: StoreHandle) -> None:
    """Bring the metadata of each array up to the root's where growing the store was interrupted in between."""
    if not store.is_growing:
        return

    def check(key: str) -> None:
        current = _open_again(store.storage)
        if _render_metadata(current.attributes).get(key) != metadata[key]:
            raise _explain_change(store, current)

    metadata = _render_metadata(store.attributes)
    for key, data in metadata.items():
        if key.endswith(f"/{ROOT_KEY}") and store.storage.read(key) != data:
            store.storage.write(key, data, check=partial(check, key))


def add_annotations(store: StoreHandle, spec: DatasetSpec) -> StoreHandle:
    """Give a store the annotations of a spec, of which nothing is written; the store as its root is now.

    Interrupted at any instant it has all of them or none. What an earlier one has left of them counts for nothing.
    """
    complete_growth(store)
    wanted = [name for name in spec.annotations.groups if name not in store.spec.annotations.groups]

    def add(current: StoreHandle) -> tuple[DatasetSpec, HistoryEntry] | None:
        present = current.spec.annotations
        names = tuple(name for name in wanted if name not in present.groups)
        if not names:
            return None
        points = spec.annotations.points if "tracks" in names else present.points
        annotated = current.spec.replace(groups=[*present.groups, *names], points=points)
        groups = [plan_layout(annotated).group(name) for name in names]
        # before the store says that it has them: a flag that was left would promise what may be gone
        for group in groups:
            _remove_all(store.storage, group.flags)
        metadata = _render_metadata(current.attributes.model_copy(update={"spec": annotated}))
        arrays = {column.name for group in groups for column in (*group.columns, group.flags)}
        _write_all(
            store.storage, {key: data for key, data in metadata.items() if key.partition("/")[0] in arrays}
        )
        event = HistoryEntry.now("annotated", samples=annotated.dataset.samples, groups=names)
        return annotated, event

    return _change_root(store.storage, add)


def drop_annotations(store: StoreHandle, names: Collection[Annotation]) -> StoreHandle:
    """Take annotations from a store, or what is left of them where that was interrupted.

    First the store says that it has them no more; then their files go, the flags before what they speak of.
    """
    complete_growth(store)

    def drop(current: StoreHandle) -> tuple[DatasetSpec, HistoryEntry] | None:
        present = current.spec.annotations.groups
        gone = tuple(name for name in present if name in names)
        if not gone:
            return None
        fields: dict[str, Any] = {"groups": [name for name in present if name not in gone]}
        if "tracks" in gone:
            fields["points"] = AnnotationsSection().points
        spec = current.spec.replace(**fields)
        return spec, HistoryEntry.now("removed", samples=spec.dataset.samples, groups=gone)

    dropped = _change_root(store.storage, drop)
    everything = plan_layout(dropped.spec.replace(groups=ANNOTATIONS))
    for name in names:
        check = partial(_check_dropped, dropped, name)
        group = everything.group(name)
        try:
            for column in (group.flags, *group.columns):
                _remove_all(store.storage, column, check=check)
            for column in (*group.columns, group.flags):
                store.storage.remove(f"{column.name}/{ROOT_KEY}", check=check)
                store.storage.prune(column.name)
            if not store.storage.is_locked:
                check()
        except StoreError:
            if not store.storage.is_locked:  # what was removed may have been the new one's
                _remove_all(store.storage, group.flags)
            raise
    return dropped


def _check_dropped(store: StoreHandle, name: Annotation) -> None:
    """Refuse to remove what another command has begun to write anew."""
    if name in _open_again(store.storage).spec.annotations.groups:
        message = (
            f"{store.location}: found {name} again, expected that it is being removed: another command has added it "
            f"meanwhile; remove it with: trajstore annotate {store.location.argument} --remove {name}"
        )
        raise StoreError(message)


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


def _remove_all(storage: Storage, column: Column, *, check: Check | None = None) -> None:
    """Remove all objects of an array but its metadata, several at once."""
    keys = [key for key in storage.list_keys(column.name) if _is_of(column, key)]
    with ThreadPoolExecutor(WRITING_THREADS, thread_name_prefix="trajstore-remove") as pool:
        for removed in [pool.submit(storage.remove, key, check=check) for key in keys]:
            removed.result()


def finish_store(store: StoreHandle) -> StoreHandle:
    """Note in the history that a store is complete, if it is, once for each size; the store as its root is now.

    Raises `StoreError` where another command has extended the store or removed something from it meanwhile.
    """
    current = open_store(store.storage)
    lost = set(store.spec.annotations.groups) - set(current.spec.annotations.groups)
    if lost or current.spec.dataset.samples != store.spec.dataset.samples:
        raise _explain_change(store, current)
    groups = current.layout.groups
    if all(map(current.was_finished, groups)) or not all(current.is_written(group).all() for group in groups):
        return current

    def finish(latest: StoreHandle) -> tuple[DatasetSpec, HistoryEntry] | None:
        if latest.spec != current.spec or all(map(latest.was_finished, latest.layout.groups)):
            return None
        return latest.spec, HistoryEntry.now("finished", samples=latest.spec.dataset.samples)

    finished = _change_root(store.storage, finish)
    return finished if finished.spec == current.spec else finish_store(store)


def _explain_change(store: StoreHandle, current: StoreHandle) -> StoreError:
    """The error for a command that has begun with a store which another command has changed meanwhile."""
    location, argument = store.location, store.location.argument
    samples, present = store.spec.dataset.samples, current.spec.dataset.samples
    if present != samples:
        message = (
            f"{location}: found {format_count(present)} samples, expected {format_count(samples)}: it was extended "
            f"while it was being built; continue with: trajstore build {argument}"
        )
        return StoreError(message)
    groups = current.spec.annotations.groups
    lost = [name for name in store.spec.annotations.groups if name not in groups]
    if lost:
        message = (
            f"{location}: found no {', '.join(lost)} any more, expected what is being written: it was removed "
            f"meanwhile; write it again with: trajstore annotate {argument} {' '.join(lost)}"
        )
        return StoreError(message)
    message = (
        f"{location}: found other annotations than a moment ago, expected the same: another command has changed the "
        f"store; complete it with: trajstore build {argument}"
    )
    return StoreError(message)


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
        if storage.read(ROOT_KEY) == b"":
            storage.check_free(keys)
        elif find_store(storage) is None:
            raise


def _render_metadata(attributes: StoreAttributes) -> dict[str, bytes]:
    """All objects of a store without rows."""
    from trajstore.store.zarr_api import render_metadata  # imports zarr, which reading does without

    return render_metadata(attributes)


def _is_begun(storage: Storage) -> bool:
    """Whether nothing is there but metadata, as where a creation was killed while it claimed the root's name."""
    metadata = _render_metadata(StoreAttributes.created(DatasetSpec())).keys()
    return all(
        key in metadata or key.endswith((f"/{ROOT_KEY}", PARTIAL_SUFFIX)) for key in storage.list_keys()
    )


def _load_root(storage: Storage) -> dict[str, Any] | None:
    """The root's ``zarr.json``; None where there is none."""
    try:
        data = storage.read(ROOT_KEY)
    except OSError as error:
        message = f"{storage.location}: cannot be read: {error.strerror or error}"
        raise StoreError(message) from None
    if data == b"" and _is_begun(storage):
        return None
    return _parse_root(data, storage.location)


def _parse_root(data: bytes | None, location: Location) -> dict[str, Any] | None:
    """The root that some bytes are; None where there are none."""
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
