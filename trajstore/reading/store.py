"""Read samples out of a store: the bytes of one chunk, checked and decoded straight into the caller's array.

Nothing is trusted that is not flagged as written, and nothing is returned whose checksum is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import groupby, product
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray

from trajstore.errors import CorruptDataError, IncompleteStoreError, StoreError
from trajstore.reading.samples import Samples, Selection
from trajstore.storage.caching import BoundedCache, PerProcess
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.columns import Column, ColumnGroup
from trajstore.store.handle import StoreHandle
from trajstore.store.shard import FLAG_WRITTEN, decode_chunk, index_size, parse_index

SHARD_INDICES_MAX: Final = 1024
"""Shard indices that are kept in memory; one of 250 samples takes 4 KB."""

LABEL_BYTES_MAX: Final = 256 * 2**20
"""Decoded labels that are kept in memory."""

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
    from trajstore.store.handle import open_store

    return StoreReader(open_store(open_storage(Location.parse(path, storage_options))), threads=threads)


@dataclass
class _Kept:
    """What one process keeps of a store."""

    storage: Storage
    indices: BoundedCache[int, NDArray[np.uint64]] = field(
        default_factory=lambda: BoundedCache(SHARD_INDICES_MAX)
    )
    labels: BoundedCache[tuple[str, int], NDArray[Any]] = field(
        default_factory=lambda: BoundedCache(LABEL_BYTES_MAX, weigh=lambda values: values.nbytes)
    )


class StoreReader(Samples):
    """Reads samples and labels out of a store; made by `open_reader`.

    ``reader[i]`` is the frames of row i, ``reader.read(rows)`` those of many rows, ``reader.column(name)`` labels,
    ``len(reader)`` the rows that the store had when it was opened.

    Parameters
    ----------
    location : Location
        The store.
    spec : DatasetSpec
        What it was built from.
    threads : int, optional
        Threads that a batch is spread over; see `open_reader`.
    """

    def __init__(self, store: StoreHandle, *, threads: int | None = None) -> None:
        # what a network makes wait costs no processor
        location = store.location
        super().__init__(location, store.spec, threads=threads, waits=location.folder is None)
        self._argument = location.argument
        self._kept = PerProcess(partial(_keep, location.absolute()))
        self._is_closed = False

    def written_shards(self) -> NDArray[np.bool_]:
        """Which shards are flagged as written now.

        Returns
        -------
        (shards,) bool
            Each has `rows_per_shard` rows.
        """
        flags = self._video_group.flags
        keys = {flags.key(index): index for index in range(len(self._video_group))}
        is_written = np.zeros(len(keys), dtype=bool)
        for key, flag in self._open().storage.read_many(keys):
            is_written[keys[key]] = flag == FLAG_WRITTEN
        return is_written

    def is_written(self, shard: int) -> bool:
        """Whether a shard is flagged as written now.

        Parameters
        ----------
        shard : int
            Which; each has `rows_per_shard` rows.

        Returns
        -------
        bool
            True if it is.
        """
        key = self._video_group.flags.key(shard)
        return super().is_written(shard) and self._open().storage.read(key) == FLAG_WRITTEN

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

    def __repr__(self) -> str:
        return f"<StoreReader {str(self.location)!r}: {len(self)} samples>"

    def _open(self) -> _Kept:
        """What this process keeps."""
        if self._is_closed:
            message = f"{self.location}: the reader is closed; open the store again: trajstore.open_reader(…)"
            raise StoreError(message)
        return self._kept.get()

    def _fill(
        self,
        rows: NDArray[np.int64],
        places: NDArray[np.intp],
        selection: Selection,
        out: NDArray[np.uint8],
    ) -> None:
        """Read the rows of one shard after the other."""
        fill = _Fill(self._open(), _plan_pieces(self._video, selection), out)
        numbers = rows.tolist()
        for shard, group in groupby(places.tolist(), lambda place: numbers[place] // self.rows_per_shard):
            mine = [(place, numbers[place]) for place in group]
            try:
                self._fill_from(shard, mine, fill)
            except (CorruptDataError, OSError):
                # row by row, which says what is wrong, unless all is well with the files as they are now
                for one in mine:
                    self._attempt(
                        partial(self._fill_from, shard, [one], fill),
                        partial(self._forget, shard),
                        what=f"row {one[1]}",
                        key=self._video.key(shard),
                    )

    def _fill_from(self, shard: int, rows: list[tuple[int, int]], fill: _Fill) -> None:
        """Read, check and decode rows of one shard; each with its place in the output."""
        kept, key = fill.kept, self._video.key(shard)
        index = kept.indices.get(shard, self._load_index)
        first, wanted, ranges = shard * self.rows_per_shard, [], []
        for place, row in rows:
            for piece in fill.pieces:
                start, length = index[(row - first) * self._chunks_per_row + piece.chunk].tolist()
                if start + length >= 2**64:
                    message = "the shard does not hold the sample"
                    raise CorruptDataError(message)
                wanted.append((place, piece))
                ranges.append((start, length))
        for (place, piece), data in zip(wanted, kept.storage.read_ranges(key, ranges), strict=True):
            sample = fill.out[place]
            if piece.is_whole and (target := sample[piece.target]).flags.c_contiguous:
                decode_chunk(data, target, fill.codec)
                continue
            if fill.scratch is None:
                fill.scratch = np.empty(self._video.chunk_shape[1:], np.uint8)
            decode_chunk(data, fill.scratch, fill.codec)
            sample[piece.target] = fill.scratch[piece.part]

    def _forget(self, shard: int) -> None:
        """Let go of what is kept of a shard."""
        kept = self._open()
        kept.indices.discard(shard)
        kept.storage.forget(self._video.key(shard))

    def _load_index(self, shard: int) -> NDArray[np.uint64]:
        """The index of a shard that is flagged as written."""
        storage = self._open().storage
        self._check_flag(storage, self._video_group, shard)
        capacity = self._chunks_per_row * self.rows_per_shard
        tail, size = storage.read_tail(self._video.key(shard), index_size(capacity))
        return parse_index(tail, capacity=capacity, shard_size=size)

    @cached_property
    def _chunks_per_row(self) -> int:
        """Chunks that a sample is split into."""
        return prod(self._video.chunk_counts) // self.rows_per_shard

    def _load_labels(self, column: Column, chunk: int) -> NDArray[Any]:
        """A chunk of a label column."""
        kept = self._open()
        return kept.labels.get(
            (column.name, chunk), lambda _: self._decode_labels(kept.storage, column, chunk)
        )

    def _decode_labels(self, storage: Storage, column: Column, chunk: int) -> NDArray[Any]:
        """A chunk of a label column that is flagged as written."""
        group = self.layout.group("labels")
        return self._decode_file(storage, column, chunk, lambda: self._check_flag(storage, group, chunk))

    def _load_static(self, column: Column) -> NDArray[np.float64]:
        """An array that was written when the store was created."""
        return self._decode_file(self._open().storage, column, 0, lambda: None)

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
            decode_chunk(data, values, Zstd())
            return values

        return self._attempt(read, lambda: None, what=f"column {column.name}", key=key)

    def _check_flag(self, storage: Storage, group: ColumnGroup, index: int) -> None:
        """Raise unless a task is flagged as written."""
        if storage.read(group.flags.key(index)) != FLAG_WRITTEN:
            rows = group.task(index).rows
            message = (
                f"{self.location}: rows {rows.start} … {rows.stop - 1} of the {group.name} are not written yet; "
                f"finish the store with: trajstore build {self._argument}"
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
                f"check the disk, then: trajstore verify {self._argument}"
            )
            raise StoreError(message) from error

    def _raise_damaged(self, found: str, what: str, key: str) -> NoReturn:
        """Say what is damaged, where, and what to do."""
        message = f"{self.location}: {what} in {key}: {found}; make it again with: trajstore repair {self._argument}"
        raise CorruptDataError(message) from None

    def _explain_range(self) -> str:
        """Whether the store has grown since it was opened."""
        from trajstore.store.handle import open_store

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
    """What one thread needs to fill an array.

    Attributes
    ----------
    out : (n, cameras, frames, 3, height, width) uint8
        The array.
    scratch : (cameras, frames, 3, height, width) uint8 or None
        Room for a chunk that is wanted in part.
    """

    kept: _Kept
    pieces: tuple[_Piece, ...]
    out: NDArray[np.uint8]
    codec: Zstd = field(default_factory=Zstd)
    scratch: NDArray[np.uint8] | None = None


@lru_cache(maxsize=64)
def _plan_pieces_of(
    sizes: tuple[int, int], counts: tuple[int, int], cameras: tuple[int, ...], frames: tuple[int, ...]
) -> tuple[_Piece, ...]:
    """Which chunks hold a selection; ``sizes`` and ``counts`` of chunks along cameras and frames."""
    camera_parts = _split(cameras, sizes[0])
    frame_parts = _split(frames, sizes[1])
    pieces = []
    for (i, (to_cameras, of_cameras)), (j, (to_frames, of_frames)) in product(
        camera_parts.items(), frame_parts.items()
    ):
        target = _index(to_cameras, to_frames)
        # an index that is no slice gives a copy, which nothing can be decoded into
        is_whole = isinstance(target[0], slice) and (of_cameras, of_frames) == (
            list(range(sizes[0])),
            list(range(sizes[1])),
        )
        pieces.append(_Piece(i * counts[1] + j, target, _index(of_cameras, of_frames), is_whole))
    return tuple(pieces)


def _plan_pieces(video: Column, selection: Selection) -> tuple[_Piece, ...]:
    """Which chunks hold a selection, and where they go."""
    sizes = (video.chunk_shape[1], video.chunk_shape[2])
    counts = (video.chunk_counts[1], video.chunk_counts[2])
    return _plan_pieces_of(sizes, counts, selection.cameras, selection.frames)


def _split(chosen: tuple[int, ...], size: int) -> dict[int, tuple[list[int], list[int]]]:
    """For each chunk along a dimension: places in the selection, and indices in the chunk."""
    parts: dict[int, tuple[list[int], list[int]]] = {}
    for place, index in enumerate(chosen):
        places, indices = parts.setdefault(index // size, ([], []))
        places.append(place)
        indices.append(index % size)
    return parts


def _index(first: list[int], second: list[int]) -> tuple[Any, ...]:
    """An index over two dimensions, as slices where they do: NumPy copies slices several times as fast."""
    slices = (_as_slice(first), _as_slice(second))
    if None in slices:
        return np.ix_(first, second)
    return slices


def _as_slice(numbers: list[int]) -> slice | None:
    """Ascending numbers without gaps as a slice."""
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return None
    return slice(numbers[0], numbers[-1] + 1)
