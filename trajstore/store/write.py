"""The tasks of a build: make the files of one task, publish them, then set its flag."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zstandard import ZstdCompressor

from trajstore.errors import StoreError
from trajstore.scene.describe import Scene, describe
from trajstore.spec import DatasetSpec
from trajstore.storage.direct import PageBuffer
from trajstore.storage.location import Location
from trajstore.store.handle import StoreHandle, check_generator, open_store
from trajstore.store.layout import Column, Layout, Task, plan_layout
from trajstore.store.shard import assemble_shard, encode_chunk


class _Local(threading.local):
    """What each thread keeps from task to task."""

    def __init__(self) -> None:
        self.buffer = PageBuffer()


_local = _Local()


@dataclass(frozen=True)
class WriteTask:
    """Write one task of a store; carries no state, so that it may run anywhere, twice, or at once with itself."""

    store: StoreHandle
    turn: AbstractContextManager[object] | threading.Semaphore = field(default_factory=nullcontext)

    def __call__(self, task: Task) -> int:
        """Write a task."""
        written = 0
        with self.turn:
            files = make_files(self.store.spec, self.store.layout, task, _local.buffer)
        for key, data in files:
            self.store.publish(key, data)
            written += len(data)
        self.store.mark_written(task)
        return written

    def __reduce__(self) -> tuple[Callable[..., WriteTask], tuple[Any, ...]]:
        """Small: where the store is and what it must be; whoever receives it opens the store."""
        location = self.store.location
        if location.folder is not None:  # the receiver has another working folder
            location = replace(location, url=str(location.folder.absolute()))
        return _reopen, (location, self.store.spec.dataset.samples, self.store.attributes.fingerprint)


def _reopen(location: Location, samples: int, fingerprint: str) -> WriteTask:
    """Open the store of a task in another process."""
    store = open_store(location)
    if (store.spec.dataset.samples, store.attributes.fingerprint) != (samples, fingerprint):
        message = f"{location}: found another store here than where the build was begun, or one that has been extended"
        raise StoreError(message)
    check_generator(store)
    return WriteTask(store)


def warm_up() -> None:
    """Compile all kernels, or load them from where they are cached."""
    spec = DatasetSpec.from_fields(samples=4, frames=2, height=8, width=8)
    layout = plan_layout(spec)
    for group in layout.groups:
        make_files(spec, layout, group.task(0))


def make_files(
    spec: DatasetSpec, layout: Layout, task: Task, buffer: PageBuffer | None = None
) -> list[tuple[str, bytes | memoryview]]:
    """Everything that a task writes but its flag: a pure function."""
    columns = layout.group(task.group).columns
    compressor = ZstdCompressor(level=spec.storage.compression_level)
    scene = describe(spec, task.rows)
    if task.group == "labels":
        return [
            (column.key(task.index), encode_chunk(pad(scene.columns[column.name], column), compressor))
            for column in columns
        ]
    (video,) = columns
    capacity = int(np.prod(video.chunk_counts))
    chunks = encode_samples(scene, video, len(task.rows), compressor)
    shard = buffer or PageBuffer()
    assemble_shard(chunks, shard, capacity=capacity)
    return [(video.key(task.index), shard.view())]


def encode_samples(scene: Scene, video: Column, count: int, compressor: ZstdCompressor) -> Iterator[bytes]:
    """Draw and compress samples, one chunk after the other in a buffer that stays in the cache."""
    buffer = np.empty(video.chunk_shape[1:], np.uint8)
    cameras, frames = video.chunk_shape[1:3]
    for index in range(count):
        for camera in range(0, video.shape[1], cameras):
            for frame in range(0, video.shape[2], frames):
                scene.draw(index, slice(camera, camera + cameras), slice(frame, frame + frames), buffer)
                yield encode_chunk(buffer, compressor)


def measure_rows(spec: DatasetSpec, rows: range) -> tuple[float, float]:
    """Stored bytes of some rows, from rendering them."""
    compressor = ZstdCompressor(level=spec.storage.compression_level)
    scene = describe(spec, rows)
    (video,) = plan_layout(spec).group("video").columns
    labels = sum(len(encode_chunk(values, compressor)) for values in scene.columns.values())
    frames = sum(len(chunk) for chunk in encode_samples(scene, video, len(rows), compressor))
    return labels / len(rows), frames / len(rows)


def pad(values: NDArray[np.generic], column: Column) -> NDArray[np.generic]:
    """Fill a chunk at the end of an array up to a whole chunk, as zarr does.

    Parameters
    ----------
    values : (n, ...) ndarray
        The rows that there are.

    Returns
    -------
    (rows of a chunk, ...) ndarray
        Of the same dtype.
    """
    missing = column.chunk_shape[0] - len(values)
    if not missing:
        return values
    padding = np.full((missing, *values.shape[1:]), column.fill_value, dtype=values.dtype)
    return np.concatenate([values, padding])
