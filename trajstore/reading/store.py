"""Read samples out of a store: the bytes of one chunk, checked and decoded straight into the caller's array.

Nothing is trusted that is not flagged as written, and nothing is returned whose checksum is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import groupby, product
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from zstandard import ZstdDecompressor

from trajstore.errors import CorruptDataError, IncompleteStoreError, StoreError
from trajstore.reading.samples import Samples, Selection
from trajstore.storage.caching import LoadingCache, PerProcess
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.columns import Column, ColumnGroup
from trajstore.store.groups.annotations import ARRAYS
from trajstore.store.handle import StoreHandle, open_store
from trajstore.store.layout import FRAMES
from trajstore.store.shard import FLAG_WRITTEN, decode_chunk, index_size, parse_index

SHARD_INDICES_MAX: Final = 1024
"""Shard indices that are kept in memory; one of 250 samples takes 4 KB."""

CHUNK_BYTES_MAX: Final = 256 * 2**20
"""Decoded chunks of labels and other chunked columns that are kept in memory."""

Value = TypeVar("Value")


def open_reader(
    path: str | Path | Location,
    *,
    threads: int | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> StoreReader:
    """Open a store for random and batched reading, finished or still being built.

    Parameters
    ----------
    path : path-like
        The store: a folder or a URL.
    threads : int, optional
        Threads that a batch is spread over; by default one for each processor, at most 8, and 16 for a bucket.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    StoreReader
        The reader. It opens files when they are first read, in each process on its own; it can be pickled, forked
        and shared between threads.

    Raises
    ------
    StoreError
        If there is no store, or none that this version reads.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     with trajstore.open_reader(f"{folder}/tiny.zarr") as reader:
    ...         one, some = reader[5], reader.read([3, 1], cameras=[0], frames=[1, 4])
    >>> one.shape, some.shape
    ((4, 4, 3, 16, 16), (2, 1, 2, 3, 16, 16))
    """
    return StoreReader(open_store(open_storage(Location.parse(path, storage_options))), threads=threads)


class _Local(threading.local):
    """What each thread keeps: to make a decompressor takes longer than to decode a small chunk."""

    def __init__(self) -> None:
        self.decompressor = ZstdDecompressor()


@dataclass
class _Kept:
    """What one process keeps of a store."""

    storage: Storage
    local: _Local = field(default_factory=_Local)
    indices: LoadingCache[tuple[str, int], NDArray[np.uint64]] = field(
        default_factory=lambda: LoadingCache(SHARD_INDICES_MAX)
    )
    chunks: LoadingCache[tuple[str, int], NDArray[Any]] = field(
        default_factory=lambda: LoadingCache(CHUNK_BYTES_MAX, weigh=lambda values: values.nbytes)
    )


class StoreReader(Samples):
    """Reads samples and labels from a store; `open_reader` makes one.

    ``reader[i]`` is the frames of row i, ``reader[0:4]`` and ``reader.read(rows)`` those of many rows,
    ``reader.read_group(name, rows)`` an annotation of them, ``reader.column(name)`` labels, ``len(reader)`` the rows
    that the store had when it was opened.

    Parameters
    ----------
    store : StoreHandle
        The open store. Other processes, to which the reader is pickled or forked, open its files on their own.
    threads : int, optional
        Threads that a batch is spread over; see `open_reader`.
    """

    def __init__(self, store: StoreHandle, *, threads: int | None = None) -> None:
        # what a network makes wait costs no processor
        super().__init__(store.location, store.spec, threads=threads, waits=store.storage.waits)
        self.argument = store.location.argument
        place = store.location.absolute()
        # the files of a relative path are opened anew, for the working folder may change
        mine = _Kept(store.storage) if place == store.location else None
        self._kept = PerProcess(partial(_keep, place), made=mine)
        self._is_closed = False

    def written_rows(self, *columns: str, within: range | None = None) -> tuple[range, ...]:
        """Rows that are flagged as written now.

        Parameters
        ----------
        *columns : str
            Of which all of these columns are written; by default, all that there are.
        within : range, optional
            Among which rows; among all by default.

        Returns
        -------
        tuple of range
            In ascending order, with gaps between them.
        """
        rows = range(len(self)) if within is None else within
        is_written = np.ones(len(rows), dtype=bool)
        # arrays that all rows share are there from the start
        named = (name for name in columns if name not in self._static)
        found = map(self.layout.group_of, named) if columns else self.layout.groups
        for group in {group.name: group for group in found}.values():
            tasks = map(
                group.task, range(rows.start // group.rows_per_task, -(-rows.stop // group.rows_per_task))
            )
            parts = {group.flags.key(task.index): task.rows for task in tasks}
            for key, flag in self._open().storage.read_many(parts):
                if flag != FLAG_WRITTEN:
                    first, stop = (max(0, row - rows.start) for row in (parts[key].start, parts[key].stop))
                    is_written[first:stop] = False
        edges = rows.start + np.flatnonzero(np.diff(is_written, prepend=False, append=False))
        return tuple(range(first, stop) for first, stop in edges.reshape(-1, 2).tolist())

    def is_written(self, shard: int) -> bool:
        """Whether a shard of frames is flagged as written now.

        Parameters
        ----------
        shard : int
            Which; each has `rows_per_shard` rows.

        Returns
        -------
        bool
            True if it is.
        """
        key = self.layout.group_of(FRAMES).flags.key(shard)
        return super().is_written(shard) and self._open().storage.read(key) == FLAG_WRITTEN

    def explain_absent(self, name: str) -> str:
        """How to get an annotation that the store does not have."""
        for annotation, arrays in ARRAYS.items():
            if name == annotation or name in (array.name for array in arrays):
                return f"; add it with: trajstore annotate {self.argument} {annotation}"
        return ""

    def close(self) -> None:
        """Close the files of this process; reading is an error from then on."""
        self._is_closed = True
        self._kept.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> _Kept:
        """What this process keeps."""
        if self._is_closed:
            message = f"{self.location}: the reader is closed; open the store again: trajstore.open_reader(…)"
            raise StoreError(message)
        return self._kept.get()

    def read_each(
        self,
        rows: ArrayLike,
        out: NDArray[Any],
        *,
        cameras: Sequence[int] | None = None,
        column: str = FRAMES,
    ) -> Iterator[int]:
        """Read whole samples into the same array one after the other, their bytes in few requests.

        Parameters
        ----------
        rows : (n,) integers
            Which, in ascending order.
        out : (cameras, frames, 3, height, width) uint8
            Where each is put, C-contiguous.
        cameras : sequence of int, optional
            Which cameras, counted from 0, in this order; all by default.
        column : str
            What to read of them; another column than the frames has its own dimensions and dtype.

        Yields
        ------
        int
            The row that ``out`` holds until the next is asked for.
        """
        numbers = self.check_rows(rows)
        places = np.arange(len(numbers))
        (selection,) = self.select_group(column, cameras=cameras)
        return self._fill_each(numbers, places, selection, [out] * len(numbers))

    def _fill(
        self,
        rows: NDArray[np.int64],
        places: NDArray[np.intp],
        selection: Selection,
        out: NDArray[Any],
    ) -> None:
        """Read the rows of one shard after the other."""
        for _ in self._fill_each(rows, places, selection, out):
            pass

    def _fill_each(
        self,
        rows: NDArray[np.int64],
        places: NDArray[np.intp],
        selection: Selection,
        out: Sequence[NDArray[Any]] | NDArray[Any],
    ) -> Iterator[int]:
        """Read the rows of one shard after the other; each is yielded when it is there."""
        fill = _Fill(self._open(), selection.column, _plan_pieces(selection), out)
        numbers, each = rows.tolist(), selection.column.file_shape[0]
        for shard, group in groupby(places.tolist(), lambda place: numbers[place] // each):
            mine, done = [(place, numbers[place]) for place in group], 0
            try:
                for row in self._fill_from(shard, mine, fill):
                    yield row
                    done += 1
            except (CorruptDataError, OSError):
                # row by row, which says what is wrong, unless all is well with the files as they are now
                for one in mine[done:]:
                    self._attempt(
                        partial(self._fill_one, shard, one, fill),
                        partial(self._forget, fill.column, shard),
                        what=f"row {one[1]}",
                        key=fill.column.key(shard),
                    )
                    yield one[1]

    def _fill_one(self, shard: int, row: tuple[int, int], fill: _Fill) -> None:
        """Read, check and decode one row of a shard."""
        for _ in self._fill_from(shard, [row], fill):
            pass

    def _fill_from(self, shard: int, rows: list[tuple[int, int]], fill: _Fill) -> Iterator[int]:
        """Read, check and decode rows of one shard; each with its place in the output."""
        kept, column = fill.kept, fill.column
        index = kept.indices.get((column.name, shard), self._load_index)
        first, each = shard * column.file_shape[0], prod(column.chunk_counts[1:])
        ranges = []
        for _, row in rows:
            for piece in fill.pieces:
                start, length = index[(row - first) * each + piece.chunk].tolist()
                if start + length >= 2**64:
                    message = "the shard does not hold the sample"
                    raise CorruptDataError(message)
                ranges.append((start, length))
        chunks = iter(kept.storage.read_ranges(column.key(shard), ranges))
        for place, row in rows:
            sample = fill.out[place]
            for piece, data in zip(fill.pieces, chunks, strict=False):
                if piece.is_whole and (target := sample[piece.target]).flags.c_contiguous:
                    decode_chunk(data, target, fill.kept.local.decompressor)
                    continue
                if fill.scratch is None:
                    fill.scratch = np.empty(column.chunk_shape[1:], column.dtype)
                decode_chunk(data, fill.scratch, fill.kept.local.decompressor)
                sample[piece.target] = fill.scratch[piece.part]
            yield row

    def _forget(self, column: Column, shard: int) -> None:
        """Let go of what is kept of a shard."""
        kept = self._open()
        kept.indices.discard((column.name, shard))
        kept.storage.forget(column.key(shard))

    def _load_index(self, place: tuple[str, int]) -> NDArray[np.uint64]:
        """The index of a shard that is flagged as written."""
        name, shard = place
        storage, column = self._open().storage, self._sharded[name]
        self._check_flag(storage, self.layout.group_of(name), shard)
        capacity = prod(column.chunk_counts)
        tail, size = storage.read_tail(column.key(shard), index_size(capacity))
        return parse_index(tail, capacity=capacity, shard_size=size)

    def _load(self, column: Column, chunk: int) -> NDArray[Any]:
        """A chunk of a column."""
        return self._open().chunks.get((column.name, chunk), self._load_chunk)

    def _load_chunk(self, place: tuple[str, int]) -> NDArray[Any]:
        """A chunk of a column that is flagged as written, or an array that all rows share."""
        name, chunk = place
        storage = self._open().storage
        if name in self._static:
            return self._decode_file(storage, self._static[name], chunk, lambda: None)
        group = self.layout.group_of(name)
        check = partial(self._check_flag, storage, group, chunk)
        return self._decode_file(storage, self._chunked[name][0], chunk, check)

    def _load_static(self, column: Column) -> NDArray[np.float64]:
        """An array that was written when the store was created."""
        return self._load(column, 0)

    def _decode_file(
        self, storage: Storage, column: Column, chunk: int, check: Callable[[], None]
    ) -> NDArray[Any]:
        """Check whether a chunk may be read, read it, and decode it."""
        key = column.key(chunk)
        values = np.empty(column.chunk_shape, column.dtype)

        def read() -> NDArray[Any]:
            check()
            data = storage.read(key)
            if data is None:
                raise FileNotFoundError
            decode_chunk(data, values, self._open().local.decompressor)
            return values

        return self._attempt(read, lambda: None, what=f"column {column.name}", key=key)

    def _check_flag(self, storage: Storage, group: ColumnGroup, index: int) -> None:
        """Raise unless a task is flagged as written."""
        if storage.read(group.flags.key(index)) != FLAG_WRITTEN:
            rows = group.task(index).rows
            message = (
                f"{self.location}: rows {rows.start} … {rows.stop - 1} of the {group.name} are not written yet; "
                f"finish the store with: trajstore build {self.argument}"
            )
            raise IncompleteStoreError(message)

    def _attempt(
        self, read: Callable[[], Value], forget: Callable[[], None], *, what: str, key: str
    ) -> Value:
        """Read something; once more with nothing kept, in case it was replaced since it was opened."""
        try:
            return read()
        except (CorruptDataError, OSError):
            forget()
        try:
            return read()
        except FileNotFoundError:
            self._raise_damaged("the file is missing although it is flagged as written", what, key)
        except CorruptDataError as error:
            forget()
            self._raise_damaged(str(error), what, key)
        except OSError as error:
            message = (
                f"{self.location}: {what} cannot be read from {key}: {error.strerror or error}; "
                f"check the disk, then: trajstore verify {self.argument}"
            )
            raise StoreError(message) from error

    def _raise_damaged(self, found: str, what: str, key: str) -> NoReturn:
        """Say what is damaged, where, and what to do."""
        message = (
            f"{self.location}: {what} in {key}: {found}; make it again with: trajstore repair {self.argument}"
        )
        raise CorruptDataError(message) from None

    def _explain_range(self) -> str:
        """Whether the store has grown since it was opened."""
        try:
            samples = open_store(self._open().storage).spec.dataset.samples
        except StoreError:
            return ""
        if samples <= len(self):
            return ""
        return f" when the store was opened; it has grown to {samples} samples since: open it again"


def _keep(location: Location) -> _Kept:
    """Start with nothing kept."""
    return _Kept(open_storage(location))


@dataclass(frozen=True)
class _Piece:
    """What one chunk of a sample gives to a selection."""

    chunk: int
    target: tuple[Any, ...]
    part: tuple[Any, ...]
    is_whole: bool


@dataclass
class _Fill:
    """What one thread needs to fill an array for each place; ``scratch`` takes a chunk that is wanted in part."""

    kept: _Kept
    column: Column
    pieces: tuple[_Piece, ...]
    out: Sequence[NDArray[Any]] | NDArray[Any]
    scratch: NDArray[Any] | None = None


@lru_cache(maxsize=64)
def _plan_pieces_of(
    sizes: tuple[int, ...], counts: tuple[int, ...], indices: tuple[tuple[int, ...], ...]
) -> tuple[_Piece, ...]:
    """Which chunks hold a selection; ``sizes`` and ``counts`` of chunks along each dimension that is chosen from."""
    pieces = []
    for split in product(*(_split(*chosen).items() for chosen in zip(indices, sizes, strict=True))):
        chunk = 0
        for (number, _), count in zip(split, counts, strict=True):
            chunk = chunk * count + number
        target, parts = _index([to for _, (to, _) in split]), [of for _, (_, of) in split]
        # an index that is no slice gives a copy, which nothing can be decoded into
        is_whole = all(isinstance(one, slice) for one in target) and parts == [list(range(n)) for n in sizes]
        pieces.append(_Piece(chunk, target, _index(parts), is_whole))
    return tuple(pieces)


@lru_cache(maxsize=64)
def _plan_pieces(selection: Selection) -> tuple[_Piece, ...]:
    """Which chunks hold a selection, and where they go."""
    column, indices = selection.column, selection.indices
    chosen = slice(1, 1 + len(indices))
    return _plan_pieces_of(column.chunk_shape[chosen], column.chunk_counts[chosen], indices)


def _split(chosen: tuple[int, ...], size: int) -> dict[int, tuple[list[int], list[int]]]:
    """For each chunk along a dimension: places in the selection, and indices in the chunk."""
    parts: dict[int, tuple[list[int], list[int]]] = {}
    for place, index in enumerate(chosen):
        places, indices = parts.setdefault(index // size, ([], []))
        places.append(place)
        indices.append(index % size)
    return parts


def _index(numbers: list[list[int]]) -> tuple[Any, ...]:
    """An index over some dimensions, as slices where they do: NumPy copies slices several times as fast."""
    slices = tuple(map(_as_slice, numbers))
    return np.ix_(*numbers) if None in slices else slices


def _as_slice(numbers: list[int]) -> slice | None:
    """Ascending numbers without gaps as a slice."""
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return None
    return slice(numbers[0], numbers[-1] + 1)
