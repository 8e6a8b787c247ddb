"""What a build is about to do: the spec, the pending tasks, a slice of them, and the room they need."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final, Unpack

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import SpecError, SpecMismatchError
from trajstore.spec import ANNOTATIONS, Annotation, AnnotationsSection, DatasetSpec, SpecFields
from trajstore.storage.disk_space import Estimate, check_space, fits, inspect_filesystem, round_up
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.store.columns import Column, ColumnGroup, Layout, Task
from trajstore.store.groups.video import check_storage, settle_storage
from trajstore.store.handle import StoreHandle, check_generator, check_is_free, find_store, open_store
from trajstore.store.layout import FRAMES, plan_layout
from trajstore.store.shard import index_size
from trajstore.store.write import measure_rows
from trajstore.text import describe_unknown, format_count

TASKS_MAX: Final = 2**22
"""A store with more tasks in a group is refused: each has files and a flag of its own, and every list of them grows."""

PROBE_ROWS: Final = 64
"""Rows that are rendered to estimate the size of all."""

CHUNK_OVERHEAD_MAX: Final = 64
"""More bytes than the frame and the checksum of a chunk take."""

METADATA_BYTES: Final = 40_000
"""What the metadata of a store takes, about."""


@dataclass(frozen=True)
class Part:
    """One of several equal slices of the tasks, for independent builders of one store."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``i/n``."""
        match = re.fullmatch(r"(\d{1,18})/(\d{1,18})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            message = f"part: found {text!r}, expected i/n with 1 ≤ i ≤ n, such as 1/4"
            raise SpecError(message)
        return cls(int(match[1]), int(match[2]))

    def slice(self, count: int) -> range:
        """Which of so many tasks belong to this part."""
        return range((self.number - 1) * count // self.count, self.number * count // self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class BuildPlan:
    """What a build is about to do; ``store`` is None where it is to be created.

    ``annotations`` are those that are to be written and nothing else; none where it is everything that is missing.
    """

    storage: Storage
    spec: DatasetSpec
    layout: Layout
    store: StoreHandle | None
    part: Part | None
    pending: Mapping[str, NDArray[np.int64]]
    annotations: tuple[Annotation, ...] = ()
    is_repair: bool = False

    @property
    def location(self) -> Location:
        """Where the store lies."""
        return self.storage.location

    def tasks(self) -> Iterator[Task]:
        """The pending tasks: one pass after the other, each in the order of its rows."""
        for groups in self.layout.passes:
            pending = [self.pending[group.name] for group in groups]
            indices = np.unique(np.concatenate(pending))
            wanted = np.array([np.isin(indices, numbers, assume_unique=True) for numbers in pending])
            for number, index in enumerate(indices.tolist()):
                names = [group.name for group, asked in zip(groups, wanted[:, number], strict=True) if asked]
                task = groups[0].task(index)
                yield Task(names[0], index, task.rows, tuple(names[1:]))

    @property
    def command(self) -> str:
        """The command that does what is planned."""
        if self.is_repair:
            return f"trajstore repair {self.location.argument}"
        part = f" --part {self.part}" if self.part else ""
        if self.annotations:
            points = self.spec.annotations.points
            is_other = "tracks" in self.annotations and points != AnnotationsSection().points
            options = f" --points {points}{part}" if is_other else part
            return f"trajstore annotate {self.location.argument} {' '.join(self.annotations)}{options}"
        return f"trajstore build {self.location.argument}{part}"

    @property
    def counted(self) -> tuple[ColumnGroup, ...]:
        """The groups by whose rows one says how far it is."""
        return tuple(map(self.layout.group, self.annotations or (self.layout.group_of(FRAMES).name,)))

    @property
    def pending_samples(self) -> int:
        """Samples of which something that counts is to be written."""
        indices = np.unique(np.concatenate([self.pending[group.name] for group in self.counted]))
        return self.counted[0].count_rows(indices)

    def estimate(self, block: int) -> Estimate:
        """Bytes and files that this build will add, from rendering some rows."""
        names = {name for name, tasks in self.pending.items() if len(tasks)}
        return self._add_up(measure_rows(self.spec, PROBE_ROWS, names), block)

    def estimate_quiet(self, block: int) -> Estimate | None:
        """The same for a new store without the sensor's noise; None where there is none anyway."""
        if self.store or not self.spec.sensor.is_noisy:
            return None
        return make_plan(self.storage, self.spec.replace(noise=0.0), None, part=self.part).estimate(block)

    def bound(self, block: int) -> Estimate:
        """More bytes than this build can possibly add, at no cost: those of incompressible rows."""
        columns = (column for group in self.layout.groups for column in group.columns)
        return self._add_up(
            {
                column.name: 1.01 * column.row_bytes + CHUNK_OVERHEAD_MAX * len(column.parts)
                for column in columns
            },
            block,
        )

    def _add_up(self, row_bytes: Mapping[str, float], block: int) -> Estimate:
        """Bytes and files of all pending tasks, from stored bytes of a row of each column."""
        total = files = 0
        for group in self.layout.groups:
            pending = self.pending[group.name]
            files += len(pending) * (len(group.columns) + 1)
            total += len(pending) * block  # the flags
            for index in pending[-1:].tolist():
                # only the last one can be shorter than the others
                for count, rows in (
                    (len(pending) - 1, group.rows_per_task),
                    (1, len(group.task(index).rows)),
                ):
                    total += count * sum(
                        round_up(row_bytes[column.name] * rows + _index_bytes(column), block)
                        for column in group.columns
                    )
        present = {column.name for column in self.store.layout.columns} if self.store else set()
        arrays = sum(column.name not in present for column in self.layout.columns)
        # a folder and a zarr.json for each array
        total += 2 * arrays * block
        files += arrays
        if self.store is None:  # and the consolidated zarr.json, and the cameras
            total += 2 * len(self.layout.static) * block + METADATA_BYTES
            files += 1 + len(self.layout.static)
        return Estimate(bytes=total, files=files)


def _index_bytes(column: Column) -> int:
    """Bytes of the index of a file; a chunk has none."""
    return 0 if column.shard_shape is None else index_size(prod(column.chunk_counts))


def plan_build(
    storage: Storage,
    spec: DatasetSpec | None = None,
    *,
    part: str | None = None,
    **fields: Unpack[SpecFields],
) -> BuildPlan:
    """Find out what a build would do; writes nothing."""
    wanted_part = None if part is None else Part.parse(part)
    store = find_store(storage)
    base = spec or (store.spec if store else DatasetSpec())
    wanted = base.replace(**fields) if fields else base
    if store is None:
        wanted = settle_storage(wanted)
        check_storage(wanted)
        check_is_free(storage, wanted)
    else:
        wanted = adopt_storage(wanted, store.spec)
        check_same(store.spec, wanted, storage.location)
        check_generator(store)
    return make_plan(storage, wanted, store, part=wanted_part)


def plan_annotation(
    storage: Storage, names: Collection[str], *, points: int | None = None, part: str | None = None
) -> BuildPlan:
    """Find out what it takes to give a store some annotations, all of them or a part; writes nothing."""
    wanted_part = None if part is None else Part.parse(part)
    wanted = check_annotations(names)
    store = open_store(storage)
    stored = store.spec.annotations
    if points is not None and "tracks" in stored.groups and points != stored.points:
        message = (
            f"{storage.location}: found {stored.points} points in tracks, {points} given; leave points out, or remove "
            f"it first: trajstore annotate {storage.location.argument} --remove tracks"
        )
        raise SpecMismatchError(message)
    check_generator(store)
    spec = store.spec.replace(
        groups=list({*stored.groups, *wanted}), points=stored.points if points is None else points
    )
    return make_plan(storage, spec, store, part=wanted_part, annotations=wanted)


def check_annotations(names: Collection[str]) -> tuple[Annotation, ...]:
    """Refuse names that are none of an annotation; in the order of their list."""
    for name in names:
        if name not in ANNOTATIONS:
            message = f"annotation: {describe_unknown(name, ANNOTATIONS)}"
            raise SpecError(message)
    if not names:
        message = f"annotation: found none, expected some of {', '.join(ANNOTATIONS)}"
        raise SpecError(message)
    return tuple(name for name in ANNOTATIONS if name in names)


def adopt_storage(spec: DatasetSpec, stored: DatasetSpec) -> DatasetSpec:
    """A spec with what it leaves open, and with annotations that it does not name, as a store has them."""
    settled = {name: value for name, value in stored.storage if getattr(spec.storage, name) is None}
    named, present = spec.annotations, stored.annotations
    is_open = set(named.groups) <= set(present.groups)
    is_open &= named.points in (present.points, AnnotationsSection().points)
    splits = spec.splits.model_copy(
        update={"first_groups": spec.splits.first_groups or stored.splits.first_groups}
    )
    update = {"storage": spec.storage.model_copy(update=settled), "splits": splits}
    return spec.model_copy(update=update | ({"annotations": present} if is_open else {}))


def make_plan(
    storage: Storage,
    spec: DatasetSpec,
    store: StoreHandle | None,
    *,
    part: Part | None = None,
    annotations: tuple[Annotation, ...] = (),
) -> BuildPlan:
    """What has to be written for a store, which may be a smaller one, to hold the rows of a spec or a part of them.

    Of ``annotations`` only, where there are any.
    """
    layout = plan_layout(spec)
    for group in layout.groups:
        if len(group) > TASKS_MAX:
            message = (
                f"dataset.samples: found {format_count(spec.dataset.samples)}, which takes {format_count(len(group))} "
                f"files for each array of {group.name}, expected at most {format_count(TASKS_MAX)}; ask for fewer "
                "samples, or for more of them in a file (storage.samples_per_shard), or build several stores"
            )
            raise SpecError(message)
    pending = {
        group.name: _find_pending(group, store, part)
        if not annotations or group.name in annotations
        else np.empty(0, np.int64)
        for group in layout.groups
    }
    return BuildPlan(storage, spec, layout, store, part, pending, annotations)


def _find_pending(group: ColumnGroup, store: StoreHandle | None, part: Part | None) -> NDArray[np.int64]:
    """Tasks of a group that belong to a part and are not written, or were written with fewer rows."""
    mine = range(len(group)) if part is None else part.slice(len(group))
    indices = np.arange(mine.start, mine.stop)
    if store is None or all(group.name != present.name for present in store.layout.groups):
        return indices
    smaller = store.layout.group(group.name)
    known = range(mine.start, min(mine.stop, len(smaller)))
    is_pending = np.ones(len(mine), dtype=bool)
    is_pending[: len(known)] = ~store.is_written(smaller, None if part is None else known)
    last = len(smaller) - 1
    if last in known and smaller.task(last) != group.task(last):
        is_pending[last - mine.start] = True
    return indices[is_pending]


def check_same(stored: DatasetSpec, wanted: DatasetSpec, location: Location) -> None:
    """Refuse to go on with a store that was built from another spec."""
    differences = stored.differences(wanted)
    if not differences:
        return
    grown = stored.replace(samples=wanted.dataset.samples)
    named, present = wanted.annotations, stored.annotations
    missing = [name for name in named.groups if name not in present.groups]
    remedy = "resume it without these, or name another path"
    if grown == wanted and wanted.dataset.samples > stored.dataset.samples:
        remedy = f"grow it with: trajstore extend {location.argument} --samples {wanted.dataset.samples}"
    elif missing and stored == wanted.model_copy(update={"annotations": present}):
        points = f" --points {named.points}" if "tracks" in missing and named.points != present.points else ""
        remedy = f"add them with: trajstore annotate {location.argument} {' '.join(missing)}{points}"
    message = f"{location}: the store was built from another spec ({'; '.join(differences)}); {remedy}"
    raise SpecMismatchError(message)


def check_fits(plan: BuildPlan, *, force: bool) -> None:
    """Refuse a build that the filesystem cannot hold."""
    if plan.location.folder is None:  # a bucket is as large as its owner pays for
        return
    filesystem = inspect_filesystem(plan.location.folder)
    # rendering rows takes longer than a look at the disk: only do it where even raw frames would not fit
    if (
        not force
        and any(map(len, plan.pending.values()))
        and not fits(plan.bound(filesystem.block), filesystem)
    ):
        check_space(plan.estimate(filesystem.block), filesystem, location=str(plan.location))
