"""Check the files of one task: checksums, labels made again, and one sample drawn again, or all of them."""

from __future__ import annotations

import errno
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from zstandard import ZstdDecompressor

from trajstore.errors import CorruptDataError, StoreError
from trajstore.integrity.findings import Finding
from trajstore.progress import advance
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import DatasetSpec
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.attributes import ROOT_KEY, StoreAttributes
from trajstore.store.columns import Column, ColumnGroup, Task
from trajstore.store.handle import OTHER_STORE, StoreHandle
from trajstore.store.layout import FRAMES
from trajstore.store.shard import (
    ABSENT,
    FLAG_CLEAR,
    FLAG_WRITTEN,
    decode_chunk,
    index_size,
    parse_index,
)
from trajstore.store.write import draw_file, make_files

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
    """Check one task of a store, on whatever machine sees it; changes nothing."""

    store: StoreHandle
    deep: bool = False

    def __call__(self, task: Task) -> TaskState:
        """Compare a task's flag and files with what the spec gives."""
        # the flag first: a builder sets it after the data
        state = self._read_flag(task)
        faults: list[Finding] = []
        read_bytes = 0
        expected = _Expected(self.store.spec, self.store.layout.group(task.group), task, deep=self.deep)
        for column in expected.group.columns:
            key = column.key(task.index)
            try:
                data = read_object(self.store, key)
            except CorruptDataError as error:
                faults.append(Finding("corrupt", key, str(error), task))
                continue
            if data is None:
                faults.append(Finding("missing", key, "there is no such file", task))
                continue
            read_bytes += len(data)
            check = _find_in_chunk if column.shard_shape is None else _find_in_shard
            faults += check(expected, column, data)
        if faults and state.flag == "set":
            # a repair or an extension may have cleared the flag meanwhile
            state = self._read_flag(task)
        return replace(state, faults=tuple(faults), has_data=read_bytes > 0, read_bytes=read_bytes)

    def _read_flag(self, task: Task) -> TaskState:
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

    def __reduce__(self) -> tuple[Callable[..., CheckTask], tuple[Any, ...]]:
        """Small: where the store is, what it must be, as its root may be lost, and how it is told from others."""
        store = self.store
        return _reopen, (
            store.location.absolute(),
            store.attributes,
            self.deep,
            _identify(store.storage),
        )


def _reopen(location: Location, attributes: StoreAttributes, deep: bool, identity: object) -> CheckTask:
    """Check the store of another process; what is not there would be taken for damage."""
    storage = open_storage(location)
    if _identify(storage) != identity:
        message = f"{location}: {OTHER_STORE}"
        raise StoreError(message)
    return CheckTask(StoreHandle(storage, attributes), deep)


def _identify(storage: Storage) -> bytes | list[int | bytes | None]:
    """What tells a store from others while it may be extended: its fingerprint, or whatever is left without one."""
    found: dict[str, bytes | None] = {ROOT_KEY: None, f"{FRAMES}/{ROOT_KEY}": None}
    for key in found:
        with suppress(OSError):
            found[key] = storage.read(key)
    fingerprint = re.search(rb'"fingerprint":\s*"(\w+)', found[ROOT_KEY] or b"")
    return fingerprint[1] if fingerprint else [data and zlib.crc32(data) for data in found.values()]


def read_object(store: StoreHandle, key: str) -> bytes | None:
    """Read an object; a disk that cannot is damage, a permission that lacks is not."""
    try:
        return store.storage.read(key)
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


class _Expected:
    """What the files of a task should hold."""

    def __init__(self, spec: DatasetSpec, group: ColumnGroup, task: Task, *, deep: bool) -> None:
        self.spec, self.group, self.task = spec, group, task
        chosen = choose_sample(task)
        self.drawn = range(len(task.rows)) if deep else range(chosen, chosen + 1)
        """Places of the rows whose chunks in a shard are drawn again."""

    @cached_property
    def scene(self) -> Scene:
        """All rows of the task."""
        return make_scene(self.spec, self.task.rows)

    @cached_property
    def drawn_scene(self) -> Scene:
        """The rows that are drawn again."""
        return make_scene(self.spec, self.task.rows[self.drawn.start : self.drawn.stop])

    def make_file(self, key: str) -> bytes:
        """The whole file as it should be."""
        return next(bytes(data) for name, data in make_files(self.spec, self.group, self.task) if name == key)


def _find_in_chunk(expected: _Expected, column: Column, data: bytes) -> Iterator[Finding]:
    """Compare a chunk that is a file of its own with what it is computed from."""
    task = expected.task
    key, count = column.key(task.index), len(task.rows)
    found = np.empty(column.chunk_shape, dtype=column.dtype)
    try:
        decode_chunk(data, found, ZstdDecompressor())
    except CorruptDataError as error:
        yield classify(key, data, expected.make_file(key), str(error), task)
        return
    (wanted,) = draw_file(expected.group, column, expected.scene, count)
    if not _is_same(found[:count], wanted[:count]):
        is_wrong = (found[:count] != wanted[:count]).reshape(count, -1).any(axis=1)
        rows = task.rows.start + np.flatnonzero(is_wrong)
        yield Finding("different", key, f"wrong values in {_name_rows(rows.tolist())}", task)
    elif not _is_same(found[count:], wanted[count:]):
        yield Finding("different", key, "values beyond the last row", task)


def _find_in_shard(expected: _Expected, column: Column, data: bytes) -> Iterator[Finding]:
    """Check a shard: its index, the checksum of each row, and the values of one row or of all."""
    task, key = expected.task, column.key(expected.task.index)
    capacity = prod(column.chunk_counts)
    size = index_size(capacity)
    try:
        index = parse_index(memoryview(data)[-size:], capacity=capacity, shard_size=len(data))
    except CorruptDataError as error:
        yield classify(key, data, expected.make_file(key), str(error), task)
        return
    chunks = len(task.rows) * len(column.parts)
    is_present = index[:, 0] != ABSENT
    if not is_present[:chunks].all() or is_present[chunks:].any():
        found = np.count_nonzero(is_present)
        yield Finding("different", key, f"holds {found} chunks, expected the first {chunks}", task)
        return
    unused = len(data) - size - int(index[is_present, 1].sum())
    if unused:
        yield Finding("different", key, f"{unused} bytes that belong to no sample", task)
        return
    corrupt, different = _compare_rows(expected, column, data, index[:chunks])
    if corrupt:
        yield Finding("corrupt", key, f"the checksum is wrong in {_name_rows(corrupt)}", task)
    if different:
        yield Finding("different", key, f"other pixels in {_name_rows(different)}", task)


def _compare_rows(
    expected: _Expected, column: Column, data: bytes, index: NDArray[np.uint64]
) -> tuple[list[int], list[int]]:
    """Rows of a shard whose checksum is wrong, and rows with other values."""
    stored, drawn = (np.empty(column.chunk_shape, column.dtype) for _ in range(2))
    view, decompressor = memoryview(data), ZstdDecompressor()
    corrupt: dict[int, None] = {}
    different: dict[int, None] = {}
    places = product(range(len(expected.task.rows)), column.parts)
    share = 1.0 / (len(column.parts) * len(expected.group.columns))
    for (start, length), (place, part) in zip(index.tolist(), places, strict=True):
        row = expected.task.rows[place]
        advance(share)
        try:
            decode_chunk(view[start : start + length], stored, decompressor)
        except CorruptDataError:
            corrupt[row] = None
            continue
        if place in expected.drawn:
            at = place - expected.drawn.start
            values = expected.group.draw(expected.drawn_scene, column, slice(at, at + 1), part, drawn)
            if not _is_same(stored, values):
                different[row] = None
    return list(corrupt), list(different)


def choose_sample(task: Task) -> int:
    """The sample of a shard that is drawn again: another place in each shard, always the same one.

    References
    ----------
    Knuth, The Art of Computer Programming 3, 6.4: multiplicative hashing.
    """
    return (task.index * 2654435761 % 2**32) * len(task.rows) >> 32


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
