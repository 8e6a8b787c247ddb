"""The tasks of a build: make the files of one task, publish them, then set its flag."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zstandard import ZstdCompressor

from trajstore.progress import advance
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import DatasetSpec
from trajstore.storage.direct import PageBuffer
from trajstore.storage.interface import Bytes
from trajstore.storage.location import Location
from trajstore.store.columns import Column, ColumnGroup, Task
from trajstore.store.handle import StoreHandle, check_generator, reopen_store
from trajstore.store.layout import plan_layout
from trajstore.store.shard import Shard, append_checksum, encode_chunk

PROBE_BYTES: Final = 2**28
"""What is drawn at most to estimate the size of all, raw; 170 default samples."""


class _Local(threading.local):
    """What each thread keeps from task to task: memory for the shards of each column."""

    def __init__(self) -> None:
        self.buffers: dict[str, PageBuffer] = defaultdict(PageBuffer)


_local = _Local()


@dataclass(frozen=True)
class WriteTask:
    """Write one task of a store; carries no state, so that it may run anywhere, twice, or at once with itself."""

    store: StoreHandle
    turn: AbstractContextManager[object] | threading.Semaphore = field(default_factory=nullcontext)

    def __call__(self, task: Task) -> dict[str, int]:
        """Write a task; its stored bytes, by group."""
        store = self.store
        group, *also = map(store.layout.group, task.groups)
        with self.turn:  # computing; writing is not counted
            files = make_files(store.spec, group, task, _local.buffers, also=also)
        written = dict.fromkeys(task.groups, 0)
        with store.publishing(task) as write:
            for key, data in files:
                write(key, data)
                written[store.layout.group_of(key.partition("/")[0]).name] += len(data)
        return written

    def prepare(self) -> None:
        """Compile all kernels, or load them from where they are cached, before the first task needs them."""
        spec = self.store.spec  # what it asks for, in the smallest size
        frames = min(spec.video.frames, max(2, spec.bodies.transient_frames[1]))
        tiny = spec.replace(samples=4, frames=frames, horizon=1, height=8, width=8)
        for group, *also in plan_layout(tiny).passes:
            make_files(tiny, group, group.task(0), also=also)

    def __reduce__(self) -> tuple[Callable[..., WriteTask], tuple[Any, ...]]:
        """Small: where the store is and what it must be; whoever receives it opens the store."""
        store = self.store  # the receiver has another working folder
        return _reopen, (
            store.location.absolute(),
            store.spec.dataset.samples,
            store.attributes.fingerprint,
            store.spec.annotations.groups,
        )


def _reopen(location: Location, samples: int, fingerprint: str, groups: tuple[str, ...]) -> WriteTask:
    """Open the store of a task in another process."""
    store = reopen_store(location, samples=samples, fingerprint=fingerprint, groups=groups)
    check_generator(store)
    return WriteTask(store)


def make_files(
    spec: DatasetSpec,
    group: ColumnGroup,
    task: Task,
    buffers: dict[str, PageBuffer] | None = None,
    *,
    also: Sequence[ColumnGroup] = (),
) -> list[tuple[str, Bytes]]:
    """Everything that a task writes but its flags: a pure function.

    ``also`` are the groups that are filled in the same pass. Shards are views of ``buffers``, by column: valid until
    these are used again.
    """
    compressor = ZstdCompressor(level=spec.storage.compression_level)
    scene, count = make_scene(spec, task.rows), len(task.rows)
    memory = defaultdict(PageBuffer) if buffers is None else buffers
    files: list[tuple[str, Bytes]] = []
    shards: dict[str, Shard] = {}
    sharded = []
    for column in (column for one in (group, *also) for column in one.columns):
        if column.shard_shape is None:
            values = draw_file(group, column, scene, count)
            files += [(column.key(task.index), encode_chunk(chunk, compressor)) for chunk in values]
        else:
            sharded.append(column)
            shards[column.name] = Shard(memory[column.name], capacity=prod(column.chunk_counts))
    for column, chunk in encode_rows(group, sharded, scene, count, compressor):
        shards[column.name].append(chunk)
    return files + [(column.key(task.index), shards[column.name].finish()) for column in sharded]


def encode_rows(
    group: ColumnGroup, columns: Sequence[Column], scene: Scene, count: int, compressor: ZstdCompressor
) -> Iterator[tuple[Column, bytes]]:
    """The chunks of some columns of a pass, row by row: those of `draw_file`, without drawing what stands still."""
    buffers = {column.name: np.empty(column.chunk_shape, column.dtype) for column in columns}
    for row in range(count if columns else 0):
        compressed = group.compress(scene, columns, row, compressor) if group.compress else None
        for column in columns:
            if compressed is not None:
                yield from ((column, append_checksum(frame)) for frame in compressed[column.name])
                continue
            for part in column.parts:
                values = group.draw(scene, column, slice(row, row + 1), part, buffers[column.name])
                yield column, encode_chunk(np.ascontiguousarray(values), compressor)
        advance()


def draw_file(group: ColumnGroup, column: Column, scene: Scene, count: int) -> Iterator[NDArray[Any]]:
    """The chunks of one file of a column, one after the other in a buffer that stays in the processor's cache.

    Rows beyond the last hold the fill value, as zarr has it.

    Yields
    ------
    (chunk_shape) ndarray
        Valid until the next one is asked for.
    """
    step = column.chunk_shape[0]
    buffer = np.empty(column.chunk_shape, column.dtype)
    for first in range(0, count, step):
        rows = slice(first, min(first + step, count))
        present = rows.stop - rows.start
        for part in column.parts:
            values = group.draw(scene, column, rows, part, buffer[:present])
            if present < step:
                buffer[:present], buffer[present:], values = values, column.fill_value, buffer
            yield np.ascontiguousarray(values)


def measure_rows(spec: DatasetSpec, most: int, names: Collection[str] | None = None) -> dict[str, float]:
    """Stored bytes of a row of each column, or of those in some groups, from drawing and compressing some rows.

    Where these would take long, they are fewer, and of large samples it is fewer cameras and frames.
    """
    probe = _shrink(spec)
    rows = range(max(1, min(most, spec.dataset.samples, int(1 / _share(probe)))))
    compressor = ZstdCompressor(level=spec.storage.compression_level)
    scene = make_scene(probe, rows)
    sizes: dict[str, float] = {}
    for together in plan_layout(probe).passes:
        groups = [group for group in together if names is None or group.name in names]
        sharded = []
        for column in (column for group in groups for column in group.columns):
            sizes[column.name] = 0.0
            if column.shard_shape is None:
                # a label chunk is longer than these rows: what it holds beyond them takes no room
                values = draw_file(together[0], column, scene, len(rows))
                stored = sum(len(encode_chunk(chunk[: len(rows)], compressor)) for chunk in values)
                sizes[column.name] = stored / len(rows)
            else:
                sharded.append(column)
        for column, chunk in encode_rows(together[0], sharded, scene, len(rows), compressor):
            sizes[column.name] += len(chunk) / len(rows)
    layouts = plan_layout(spec), plan_layout(probe)
    whole, drawn = ({column.name: column.row_bytes for column in layout.columns} for layout in layouts)
    return {name: size * whole[name] / drawn[name] for name, size in sizes.items()}


def _shrink(spec: DatasetSpec) -> DatasetSpec:
    """A spec with the same frames, but fewer of them and then fewer cameras where a row takes long to draw."""
    video = spec.video
    least = max(2, spec.bodies.transient_frames[1])
    frames = min(video.frames, max(least, int(video.frames / _share(spec))))
    fewer = spec.replace(frames=frames)
    return fewer.replace(cameras=min(video.cameras, max(1, int(video.cameras / _share(fewer)))))


def _share(spec: DatasetSpec) -> float:
    """How much of what a probe may draw is a row; more than 1 for large samples."""
    return sum(group.row_bytes for group in plan_layout(spec).groups) / PROBE_BYTES
