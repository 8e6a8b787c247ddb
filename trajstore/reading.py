"""Read samples out of a store: the bytes of one chunk, checked and decoded straight into the caller's array.

Nothing is trusted that is not flagged as written, and nothing is returned whose checksum is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray

from trajstore.caching import BoundedCache, PerProcess
from trajstore.errors import CorruptDataError, IncompleteStoreError, StoreError
from trajstore.layout import Column, ColumnGroup
from trajstore.samples import Samples, Selection
from trajstore.shard import FLAG_WRITTEN, decode_chunk, index_size, parse_index
from trajstore.sources import ByteSource, LocalSource
from trajstore.spec import DatasetSpec

SHARD_INDICES_MAX: Final = 1024
"""Shard indices that are kept in memory; one of 250 samples takes 4 KB."""

LABEL_BYTES_MAX: Final = 256 * 2**20
"""Decoded labels that are kept in memory."""

Value = TypeVar("Value")


def open_reader(path: str | Path, *, threads: int | None = None) -> StoreReader:
    """Open a store for random and batched reading, finished or still being built.

    Parameters
    ----------
    path : path-like
        The store.
    threads : int, optional
        Threads that a batch is spread over; by default one for each processor, at most 8.

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
    from trajstore.store import open_store  # imports zarr, which reading does without in worker processes

    spec = open_store(path).spec
    return StoreReader(str(path), spec, connect=partial(LocalSource, Path(path).absolute()), threads=threads)


@dataclass
class _Kept:
    """What one process keeps of a store."""

    source: ByteSource
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
    location : str
        The store, for messages.
    spec : DatasetSpec
        What the store was built from.
    connect : callable
        Makes the source of bytes in each process; is pickled.
    threads : int, optional
        Threads that a batch is spread over; by default one for each processor, at most 8.
    """

    def __init__(
        self,
        location: str,
        spec: DatasetSpec,
        *,
        connect: Callable[[], ByteSource],
        threads: int | None = None,
    ) -> None:
        super().__init__(location, spec, threads=threads)
        self._kept = PerProcess(partial(_connect, connect))
        self._is_closed = False

    def written_shards(self) -> NDArray[np.bool_]:
        """Which shards are flagged as written now.

        Returns
        -------
        (shards,) bool
            Each has `rows_per_shard` rows.
        """
        group = self._video_group
        source = self._open().source
        return np.array([_is_flagged(source, group, index) for index in range(len(group))])

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
        return f"<StoreReader {self.location!r}: {len(self)} samples>"

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
        """Read rows one after the other."""
        kept, codec = self._open(), Zstd()
        pieces = _plan_pieces(self._video, selection)
        chunks_per_row = int(np.prod(self._video.chunk_counts)) // self.rows_per_shard
        scratch: NDArray[np.uint8] | None = None
        for place in places.tolist():
            row = int(rows[place])
            shard, row_in_shard = divmod(row, self.rows_per_shard)
            sample = out[place]
            for piece in pieces:
                if piece.is_whole and (target := sample[piece.target]).flags.c_contiguous:
                    self._decode(kept, row, shard, row_in_shard * chunks_per_row + piece.chunk, target, codec)
                    continue
                if scratch is None:
                    scratch = np.empty(self._video.chunk_shape[1:], np.uint8)
                self._decode(kept, row, shard, row_in_shard * chunks_per_row + piece.chunk, scratch, codec)
                sample[piece.target] = scratch[piece.part]

    def _decode(
        self, kept: _Kept, row: int, shard: int, chunk: int, out: NDArray[np.uint8], codec: Zstd
    ) -> None:
        """Read, check and decode one chunk."""
        key = self._video.key(shard)

        def read() -> None:
            index = kept.indices.get(shard, partial(self._load_index, kept.source))
            start, length = (int(number) for number in index[chunk])
            if start + length >= 2**64:
                message = "the shard does not hold the sample"
                raise CorruptDataError(message)
            decode_chunk(kept.source.read(key, start, length), out, codec)

        def forget() -> None:
            kept.indices.discard(shard)
            kept.source.forget(key)

        self._attempt(read, forget, what=f"row {row}", key=key)

    def _load_index(self, source: ByteSource, shard: int) -> NDArray[np.uint64]:
        """The index of a shard that is flagged as written."""
        group, column = self._video_group, self._video
        self._check_flag(source, group, shard)
        key, capacity = column.key(shard), int(np.prod(column.chunk_counts))
        size = source.size(key)
        start = max(0, size - index_size(capacity))
        return parse_index(source.read(key, start, size - start), capacity=capacity, shard_size=size)

    def _load_labels(self, column: Column, chunk: int) -> NDArray[Any]:
        """A chunk of a label column."""
        kept = self._open()
        return kept.labels.get(
            (column.name, chunk), lambda _: self._decode_labels(kept.source, column, chunk)
        )

    def _decode_labels(self, source: ByteSource, column: Column, chunk: int) -> NDArray[Any]:
        """Read, check and decode a chunk of a label column that is flagged as written."""
        group, key = self.layout.group("labels"), column.key(chunk)
        values = np.empty(column.chunk_shape, column.dtype)

        def read() -> NDArray[Any]:
            self._check_flag(source, group, chunk)
            decode_chunk(source.read(key, 0, source.size(key)), values, Zstd())
            return values

        try:
            return self._attempt(read, lambda: source.forget(key), what=f"column {column.name}", key=key)
        finally:
            source.forget(key)

    def _check_flag(self, source: ByteSource, group: ColumnGroup, index: int) -> None:
        """Raise unless a task is flagged as written."""
        if not _is_flagged(source, group, index):
            rows = group.task(index).rows
            message = (
                f"{self.location}: rows {rows.start} … {rows.stop - 1} of the {group.name} are not written yet; "
                f"finish the store with: trajstore build {self.location}"
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
                f"check the disk, then: trajstore verify {self.location}"
            )
            raise StoreError(message) from error

    def _raise_damaged(self, found: str, what: str, key: str) -> NoReturn:
        """Say what is damaged, where, and what to do."""
        message = (
            f"{self.location}: {what} in {key}: {found}; make it again with: trajstore repair {self.location}"
        )
        raise CorruptDataError(message) from None

    def _explain_range(self) -> str:
        """Whether the store has grown since it was opened."""
        from trajstore.store import open_store

        try:
            samples = open_store(self.location).spec.dataset.samples
        except StoreError:
            return ""
        if samples <= len(self):
            return ""
        return f" when the store was opened; it has grown to {samples} samples since: open it again"


def _connect(connect: Callable[[], ByteSource]) -> _Kept:
    """Start with nothing kept."""
    return _Kept(connect())


def _is_flagged(source: ByteSource, group: ColumnGroup, index: int) -> bool:
    """Whether a task is flagged as written, now."""
    key = group.flags.key(index)
    try:
        return source.read(key, 0, len(FLAG_WRITTEN) + 1) == FLAG_WRITTEN
    except FileNotFoundError:
        return False
    finally:
        source.forget(key)


@dataclass(frozen=True)
class _Piece:
    """What one chunk of a sample gives to a selection.

    Attributes
    ----------
    chunk : int
        The chunk, counted within the sample.
    target, part : tuple
        Index into the sample that is wanted, and into the chunk.
    is_whole : bool
        Whether the part is the whole chunk, in order, and the target slices.
    """

    chunk: int
    target: tuple[Any, ...]
    part: tuple[Any, ...]
    is_whole: bool


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
