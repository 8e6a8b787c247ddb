"""Which rows of a store are meant, which of them are written, and reading them one after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray

from trajstore.errors import CorruptDataError, SpecError
from trajstore.exporters.records import Label
from trajstore.reading.written import read_rows
from trajstore.scene.order import SPLIT_NAMES
from trajstore.store.handle import StoreHandle
from trajstore.store.shard import ABSENT, decode_chunk, index_size, parse_index

Range = tuple[int, int]
"""First row, and the row after the last."""


def parse_rows(text: str | None, *, samples: int) -> Range:
    """Read ``a:b``, as in a slice.

    Examples
    --------
    >>> parse_rows("10:20", samples=100), parse_rows("90:", samples=100)
    ((10, 20), (90, 100))
    """
    match = re.fullmatch(r"(\d*):(\d*)", ":" if text is None else text)
    if match is not None:
        first, stop = int(match[1] or 0), int(match[2] or samples)
        if first < stop <= samples:
            return first, stop
    message = f"rows: found {text!r}, expected a:b with 0 ≤ a < b ≤ {samples}, the store's number of samples"
    raise SpecError(message)


def check_split(split: str | None) -> None:
    """Check the name of a split."""
    if split is not None and split not in SPLIT_NAMES:
        message = f"split: found {split!r}, expected one of {', '.join(SPLIT_NAMES)}"
        raise SpecError(message)


def find_written(store: StoreHandle, rows: Range) -> tuple[Range, ...]:
    """Which of some rows are written, labels and frames."""
    found = [rows]
    for group in store.layout.groups:
        written = [group.task(int(index)).rows for index in np.flatnonzero(store.is_written(group))]
        found = _intersect(found, _merge([(part.start, part.stop) for part in written]))
    return tuple(_merge(found))


def _merge(ranges: Sequence[Range]) -> list[Range]:
    """Join ranges that touch; they are in ascending order."""
    merged: list[Range] = []
    for first, stop in ranges:
        if merged and merged[-1][1] == first:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((first, stop))
    return merged


def _intersect(left: list[Range], right: list[Range]) -> list[Range]:
    """What two lists of ascending ranges have in common."""
    common, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        first, stop = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first < stop:
            common.append((first, stop))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return common


def select_rows(store: StoreHandle, ranges: Sequence[Range], split: str | None) -> NDArray[np.int64]:
    """Row numbers of some ranges that belong to a split.

    Returns
    -------
    (n,) int64
        In ascending order.
    """
    parts = [np.empty(0, np.int64)]
    for first, stop in ranges:
        rows = np.arange(first, stop)
        if split is not None:
            rows = rows[read_rows(store, "split", range(first, stop)) == SPLIT_NAMES.index(split)]
        parts.append(rows)
    return np.concatenate(parts)


class RowReader:
    """Reads labels, and frames of neighbouring rows, of a store; threads may share it."""

    def __init__(self, store: StoreHandle) -> None:
        self.store = store
        (self.column,) = store.layout.group("video").columns
        self.shape: tuple[int, ...] = self.column.shape[1:]
        # rows are read in their order: two chunks serve all threads
        self._label_chunk = lru_cache(maxsize=2)(self._read_label_chunk)

    def label(self, row: int) -> Label:
        """Read a label."""
        group = self.store.layout.group("labels")
        chunk, place = divmod(row, group.rows_per_task)
        columns = self._label_chunk(chunk)
        label, split = int(columns["class_label"][place]), int(columns["split"][place])
        position, future = columns["position"][place], columns["future_position"][place]
        # a file that is missing reads as fill values
        if label < 0 or split < 0 or not (np.isfinite(position).all() and np.isfinite(future).all()):
            message = f"{self.store.location}: row {row}: found no label though its flag is set; {_repair(self.store)}"
            raise CorruptDataError(message)
        return Label.model_validate(
            {
                "class_label": label,
                "future_position": tuple(future.tolist()),
                "class_name": self.store.spec.dataset.classes[label],
                "split": SPLIT_NAMES[split],
                "positions": tuple(map(tuple, position.tolist())),
            }
        )

    def frames(self, rows: Sequence[int]) -> Frames:
        """Read the bytes of some rows of one shard."""
        return Frames(self, rows)

    def _read_label_chunk(self, chunk: int) -> dict[str, NDArray[np.generic]]:
        """The label columns of one chunk."""
        rows = self.store.layout.group("labels").task(chunk).rows
        return {
            name: read_rows(self.store, name, rows)
            for name in ("class_label", "split", "position", "future_position")
        }


class Frames:
    """The stored bytes of some rows of one shard; see `RowReader.frames`."""

    def __init__(self, reader: RowReader, rows: Sequence[int]) -> None:
        column, objects = reader.column, reader.store.storage
        self._chunk_bytes = prod(column.chunk_shape)
        self._chunks_per_row = prod(column.chunk_counts) // column.file_shape[0]
        shard, self._first_row = (
            rows[0] // column.file_shape[0],
            rows[0] // column.file_shape[0] * column.file_shape[0],
        )
        self._key = column.key(shard)
        self._store = reader.store
        capacity = prod(column.chunk_counts)
        try:
            tail, size = objects.read_tail(self._key, index_size(capacity))
            self._index = parse_index(tail, capacity=capacity, shard_size=size)
        except FileNotFoundError:
            message = "found no file though its flag is set"
            raise self._damage(message) from None
        except CorruptDataError as error:
            raise self._damage(str(error)) from None
        entries = self._entries(rows[0], rows[-1])
        if (entries == ABSENT).any():
            message = f"rows {rows[0]}…{rows[-1]} are not all in the file though its flag is set"
            raise self._damage(message)
        self._start, stop = int(entries[:, 0].min()), int(entries.sum(axis=1).max())
        (data,) = objects.read_ranges(self._key, [(self._start, stop - self._start)])
        self._data = memoryview(data)
        objects.forget(self._key)
        if len(self._data) < stop - self._start:
            message = f"found {len(self._data)} bytes from {self._start} on, expected {stop - self._start}"
            raise self._damage(message)
        self._codec = Zstd()

    def decode(self, row: int, out: NDArray[np.uint8]) -> None:
        """Decode a row.

        Parameters
        ----------
        out : (cameras, frames, 3, height, width) uint8
            C-contiguous; overwritten.
        """
        parts = out.reshape(self._chunks_per_row, self._chunk_bytes)
        for part, (offset, size) in zip(parts, self._entries(row, row).tolist(), strict=True):
            at = offset - self._start
            try:
                decode_chunk(self._data[at : at + size], part, self._codec)
            except CorruptDataError as error:
                message = f"row {row}: {error}"
                raise self._damage(message) from None

    def _entries(self, first: int, last: int) -> NDArray[np.uint64]:
        """Offset and length of the chunks of some rows."""
        each = self._chunks_per_row
        return self._index[(first - self._first_row) * each : (last + 1 - self._first_row) * each]

    def _damage(self, what: str) -> CorruptDataError:
        """The error to raise for a damaged shard."""
        return CorruptDataError(f"{self._store.location}/{self._key}: {what}; {_repair(self._store)}")


def _repair(store: StoreHandle) -> str:
    """What to do about a damaged store."""
    return f"repair it with: trajstore repair {store.location.argument}"
