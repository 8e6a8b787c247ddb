"""Check the files of one task: checksums, labels made again, and one sample drawn again, or all of them."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Final, Literal

import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray
from zstandard import ZstdCompressor

from trajstore.errors import CorruptDataError, StoreError
from trajstore.integrity.findings import Finding
from trajstore.scene.describe import describe
from trajstore.spec import DatasetSpec
from trajstore.store.handle import StoreHandle
from trajstore.store.layout import Column, Layout, Task
from trajstore.store.shard import (
    ABSENT,
    FLAG_CLEAR,
    FLAG_WRITTEN,
    decode_chunk,
    encode_chunk,
    index_size,
    parse_index,
)
from trajstore.store.write import make_files, pad

_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True)
class TaskState:
    """What is there of one task."""

    task: Task
    flag: Literal["set", "clear", "damaged"]
    faults: tuple[Finding, ...]
    flag_fault: Finding | None = None
    has_data: bool = True
    read_bytes: int = 0


@dataclass(frozen=True)
class CheckTask:
    """Check one task of a store; changes nothing."""

    store: StoreHandle
    deep: bool = False

    def __call__(self, task: Task) -> TaskState:
        """Check a task."""
        # the flag first: a builder sets it after the data
        state = self._check_flag(task)
        spec, layout = self.store.spec, self.store.layout
        faults: list[Finding] = []
        files: dict[str, bytes] = {}
        for column in layout.group(task.group).columns:
            key = column.key(task.index)
            try:
                data = read_object(self.store, key)
            except CorruptDataError as error:
                faults.append(Finding("corrupt", key, str(error), task))
                continue
            if data is None:
                faults.append(Finding("missing", key, "there is no such file", task))
            else:
                files[key] = data
        if task.group == "labels":
            faults += check_labels(spec, layout, task, files)
        else:
            faults += check_video(spec, layout, task, files, deep=self.deep)
        if faults and state.flag == "set":
            # a repair or an extension may have cleared the flag meanwhile
            state = self._check_flag(task)
        return replace(
            state,
            faults=tuple(faults),
            has_data=bool(files),
            read_bytes=sum(map(len, files.values())),
        )

    def _check_flag(self, task: Task) -> TaskState:
        """The state of a task as far as its flag goes."""
        key = self.store.layout.group(task.group).flags.key(task.index)
        try:
            flag = read_object(self.store, key)
        except CorruptDataError as error:
            fault = Finding("corrupt", key, str(error), task)
        else:
            if flag == FLAG_WRITTEN:
                return TaskState(task, "set", ())
            if flag is None or flag == FLAG_CLEAR:
                return TaskState(task, "clear", ())
            fault = classify(key, flag, FLAG_WRITTEN, "the checksum of the flag is wrong", task)
        return TaskState(task, "damaged", (), flag_fault=fault)


def read_object(store: StoreHandle, key: str) -> bytes | None:
    """Read an object; a disk that cannot is damage, a permission that lacks is not."""
    try:
        return store.read(key)
    except OSError as error:
        if error.errno in _REFUSED:
            message = f"{store.location}/{key}: cannot be read: {error.strerror}; change its permissions"
            raise StoreError(message) from None
        message = f"cannot be read: {error.strerror or error}"
        raise CorruptDataError(message) from None


def classify(key: str, found: bytes, expected: bytes, detail: str, task: Task | None = None) -> Finding:
    """Tell an object that ends too early from one with wrong bytes."""
    if len(found) < len(expected) and expected.startswith(found):
        return Finding("truncated", key, f"found {len(found)} bytes, expected {len(expected)}", task)
    return Finding("corrupt", key, detail, task)


def check_labels(spec: DatasetSpec, layout: Layout, task: Task, files: dict[str, bytes]) -> Iterator[Finding]:
    """Compare label columns with what they are computed from."""
    columns = describe(spec, task.rows).columns
    codec = Zstd()
    for column in layout.group("labels").columns:
        key = column.key(task.index)
        if key not in files:
            continue
        data, expected = files[key], columns[column.name]
        found = np.empty(column.chunk_shape, dtype=column.dtype)
        try:
            decode_chunk(data, found, codec)
        except CorruptDataError as error:
            whole = encode_chunk(pad(expected, column), ZstdCompressor(level=spec.storage.compression_level))
            yield classify(key, data, whole, str(error), task)
            continue
        count = len(task.rows)
        if not _is_same(found[:count], expected):
            width = prod(found.shape[1:])
            is_wrong = found[:count].reshape(count, width) != expected.reshape(count, width)
            rows = task.rows.start + np.flatnonzero(is_wrong.any(axis=1))
            yield Finding("different", key, f"wrong values in {_name_rows(rows.tolist())}", task)
        elif not _is_same(found[count:], pad(expected[:0], column)[count:]):
            yield Finding("different", key, "values beyond the last row", task)


def check_video(
    spec: DatasetSpec, layout: Layout, task: Task, files: dict[str, bytes], *, deep: bool
) -> Iterator[Finding]:
    """Check a shard: its index, the checksum of each sample, and the pixels of one sample or of all."""
    (video,) = layout.group("video").columns
    key = video.key(task.index)
    if key not in files:
        return
    data = files[key]
    capacity = prod(video.chunk_counts)
    size = index_size(capacity)
    try:
        index = parse_index(memoryview(data)[-size:], capacity=capacity, shard_size=len(data))
    except CorruptDataError as error:
        ((_, whole),) = make_files(spec, layout, task)
        yield classify(key, data, bytes(whole), str(error), task)
        return
    chunks = len(task.rows) * prod(video.chunk_counts[1:])
    is_present = index[:, 0] != ABSENT
    if not is_present[:chunks].all() or is_present[chunks:].any():
        found = np.count_nonzero(is_present)
        yield Finding("different", key, f"holds {found} chunks, expected the first {chunks}", task)
        return
    unused = len(data) - size - int(index[is_present, 1].sum())
    if unused:
        yield Finding("different", key, f"{unused} bytes that belong to no sample", task)
        return
    corrupt, different = _check_samples(spec, video, task, data, index[:chunks], deep=deep)
    if corrupt:
        yield Finding("corrupt", key, f"the checksum is wrong in {_name_rows(corrupt)}", task)
    if different:
        yield Finding("different", key, f"other pixels in {_name_rows(different)}", task)


def choose_sample(task: Task) -> int:
    """The sample of a shard that is drawn again: another place in each shard, always the same one.

    References
    ----------
    Knuth, The Art of Computer Programming 3, 6.4: multiplicative hashing.
    """
    return (task.index * 2654435761 % 2**32) * len(task.rows) >> 32


def draw_sample(spec: DatasetSpec, video: Column, row: int) -> NDArray[np.uint8]:
    """Draw the first chunk of one sample.

    Returns
    -------
    (cameras, frames, 3, height, width) uint8
        The chunk, which is the whole sample unless it is a large one.
    """
    drawn = np.empty(video.chunk_shape[1:], np.uint8)
    cameras, frames = (first[0] for first in _parts(video))
    describe(spec, range(row, row + 1)).draw(0, cameras, frames, drawn)
    return drawn


def read_sample(store: StoreHandle, task: Task, sample: int) -> NDArray[np.uint8] | None:
    """Read the first chunk of one sample of a shard.

    Returns
    -------
    (cameras, frames, 3, height, width) uint8 or None
        None if it is not there or damaged.
    """
    (video,) = store.layout.group("video").columns
    capacity = prod(video.chunk_counts)
    stored = np.empty(video.chunk_shape[1:], np.uint8)
    try:
        data = memoryview(read_object(store, video.key(task.index)) or b"")
        index = parse_index(data[-index_size(capacity) :], capacity=capacity, shard_size=len(data))
        start, length = index[sample * prod(video.chunk_counts[1:])].tolist()
        decode_chunk(data[start : start + length], stored, Zstd())
    except CorruptDataError:
        return None
    return stored


def _check_samples(
    spec: DatasetSpec, video: Column, task: Task, data: bytes, index: NDArray[np.uint64], *, deep: bool
) -> tuple[list[int], list[int]]:
    """Rows whose checksum is wrong, and rows with other pixels."""
    chosen = choose_sample(task)
    scene = describe(spec, task.rows if deep else task.rows[chosen : chosen + 1])
    stored, drawn = (np.empty(video.chunk_shape[1:], np.uint8) for _ in range(2))
    view, codec = memoryview(data), Zstd()
    corrupt: dict[int, None] = {}
    different: dict[int, None] = {}
    places = product(range(len(task.rows)), *_parts(video))
    for (start, length), (sample, cameras, frames) in zip(index.tolist(), places, strict=True):
        row = task.rows[sample]
        try:
            decode_chunk(view[start : start + length], stored, codec)
        except CorruptDataError:
            corrupt[row] = None
            continue
        if deep or sample == chosen:
            scene.draw(sample if deep else 0, cameras, frames, drawn)
            if not _is_same(stored, drawn):
                different[row] = None
    return list(corrupt), list(different)


def _parts(video: Column) -> list[list[slice]]:
    """What the chunks of a sample cover: slices of its cameras, and of its frames."""
    return [
        [slice(first, first + step) for first in range(0, size, step)]
        for size, step in zip(video.shape[1:3], video.chunk_shape[1:3], strict=True)
    ]


def _is_same(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    """Whether two arrays of a shape have the same bytes, NaN or not."""
    a, b = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (first, second))
    words = len(a) // 8 * 8  # eight bytes at a time take a third of the time
    return bool(
        (a[:words].view(np.uint64) == b[:words].view(np.uint64)).all() and (a[words:] == b[words:]).all()
    )


def _name_rows(rows: Collection[int]) -> str:
    """Name one row, or count several and name the first."""
    first = min(rows)
    return f"row {first}" if len(rows) == 1 else f"{len(rows)} rows, the first is {first}"
