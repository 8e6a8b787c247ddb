"""What a build is about to do: the spec, the pending tasks, a slice of them, and the room they need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import SpecError, SpecMismatchError
from trajstore.spec import DatasetSpec
from trajstore.storage.disk_space import Estimate, check_space, fits, inspect_filesystem, round_up
from trajstore.storage.location import Location
from trajstore.store.handle import StoreHandle, check_generator, check_is_free, exists, open_store
from trajstore.store.layout import ColumnGroup, Layout, Task, plan_layout
from trajstore.store.shard import index_size
from trajstore.store.write import measure_rows

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
        match = re.fullmatch(r"(\d+)/(\d+)", text)
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
    """What a build is about to do."""

    location: Location
    spec: DatasetSpec
    layout: Layout
    store: StoreHandle | None
    part: Part | None
    pending: Mapping[str, NDArray[np.int64]]

    def tasks(self) -> Iterator[Task]:
        """The pending tasks: labels first, each group in the order of its rows."""
        for group in self.layout.groups:
            yield from map(group.task, self.pending[group.name].tolist())

    def pending_rows(self, group: str) -> int:
        """Rows of a group that are to be written."""
        return self.layout.group(group).count_rows(self.pending[group])

    def estimate(self, block: int) -> Estimate:
        """Bytes and files that this build will add, from rendering some rows."""
        rows = range(min(PROBE_ROWS, self.spec.dataset.samples))
        return self._add_up(*measure_rows(self.spec, rows), block=block)

    def bound(self, block: int) -> Estimate:
        """More bytes than this build can possibly add, at no cost: those of incompressible rows."""
        labels, video = self.layout.group("labels"), self.layout.group("video")
        (column,) = video.columns
        return self._add_up(
            1.01 * labels.row_bytes + CHUNK_OVERHEAD_MAX * len(labels.columns),
            1.01 * video.row_bytes + CHUNK_OVERHEAD_MAX * prod(column.chunk_counts[1:]),
            block=block,
        )

    def _add_up(self, label_bytes: float, video_bytes: float, *, block: int) -> Estimate:
        """Bytes and files of all pending tasks, from bytes per row."""
        labels, video = self.layout.group("labels"), self.layout.group("video")
        tasks, shards = len(self.pending["labels"]), len(self.pending["video"])
        # each column's file ends somewhere in a block: half a block is wasted on average; and the flag
        total = ceil(label_bytes * self.pending_rows("labels"))
        total += tasks * (len(labels.columns) * block // 2 + block)
        files = tasks * (len(labels.columns) + 1)
        (column,) = video.columns
        index_bytes = index_size(prod(column.chunk_counts))
        for index in self.pending["video"][-1:].tolist():
            # only the last one can be shorter than the others
            for count, rows in ((shards - 1, video.rows_per_task), (1, len(video.task(index).rows))):
                total += count * (round_up(video_bytes * rows + index_bytes, block) + block)
        files += 2 * shards
        if self.store is None:
            arrays = len(list(self.layout.columns))
            # a folder and a zarr.json for each array, the consolidated zarr.json, and the cameras
            total += (2 * arrays + 2 * len(self.layout.static)) * block + METADATA_BYTES
            files += arrays + 1 + len(self.layout.static)
        return Estimate(bytes=total, files=files)


def plan_build(
    path: str | Path | Location,
    spec: DatasetSpec | None = None,
    *,
    part: str | None = None,
    **fields: Any,
) -> BuildPlan:
    """Find out what a build would do; writes nothing."""
    wanted_part = None if part is None else Part.parse(part)
    location = Location.parse(path)
    store = open_store(location) if exists(location) else None
    base = spec or (store.spec if store else DatasetSpec())
    wanted = base.replace(**fields) if fields else base
    if store is None:
        check_is_free(location)
    else:
        check_same(store.spec, wanted, location)
        check_generator(store)
    layout = plan_layout(wanted)
    return BuildPlan(
        location=location,
        spec=wanted,
        layout=layout,
        store=store,
        part=wanted_part,
        pending={group.name: _pending(group, store, wanted_part) for group in layout.groups},
    )


def _pending(group: ColumnGroup, store: StoreHandle | None, part: Part | None) -> NDArray[np.int64]:
    """Tasks of a group that are not written and belong to a part."""
    tasks = None if part is None else part.slice(len(group))
    mine = range(len(group)) if tasks is None else tasks  # which may be empty
    indices = np.arange(mine.start, mine.stop)
    return indices if store is None else indices[~store.is_written(group, tasks)]


def check_same(stored: DatasetSpec, wanted: DatasetSpec, location: Location) -> None:
    """Refuse to go on with a store that was built from another spec."""
    differences = stored.differences(wanted)
    if not differences:
        return
    grown = stored.replace(samples=wanted.dataset.samples)
    grows = grown == wanted and wanted.dataset.samples > stored.dataset.samples
    remedy = (
        f"grow it with: trajstore extend {location.argument} --samples {wanted.dataset.samples}"
        if grows
        else "resume it without these, or name another path"
    )
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
