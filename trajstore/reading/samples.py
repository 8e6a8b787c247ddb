"""What reading samples means, wherever they come from: rows, cameras, frames, columns, threads.

Chunked columns (labels) are read by `Samples.column`, sharded ones (frames, annotations) by `Samples.read`, or by
`Samples.read_group` all that belong together; the layout says which there are, and what group each belongs to.

`trajstore.reading.store.StoreReader` takes them from a store, `trajstore.reading.generator.SampleGenerator` draws them.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Final, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajstore.errors import RowRangeError, SpecError
from trajstore.executors.threads import count_processors
from trajstore.reading.rows import check_split
from trajstore.scene.captions import write_captions
from trajstore.scene.order import SPLIT_NAMES
from trajstore.show import Shown
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location
from trajstore.store.columns import Column, Layout
from trajstore.store.layout import FRAMES, plan_layout
from trajstore.text import describe_unknown

THREADS_MAX: Final = 8
"""Threads that a batch is spread over unless the caller says otherwise."""

WAITING_THREADS: Final = 16
"""The same where reading waits for a network."""

SELECTIONS_MAX: Final = 64
"""Choices of cameras and frames that are kept."""

_ONLY: Final = np.zeros(1, np.intp)


@dataclass(frozen=True, eq=False)
class Selection:
    """A sharded column, and some cameras and frames of every sample of it.

    Attributes
    ----------
    indices : tuple of tuples of int
        Along each of the column's dimensions from the one after the sample's to the last that can be chosen from.
    shape : tuple of int
        Of what is read of a sample.
    """

    column: Column
    indices: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Samples(Shown, ABC):
    """The samples of a dataset, by row.

    Parameters
    ----------
    location : Location or str
        Where they come from, for messages.
    spec : DatasetSpec
        The dataset.
    threads : int, optional
        Threads that a batch is spread over; by default one for each processor, at most 8, and 16 where they wait.
    waits : bool
        Whether reading mostly waits for a network.
    """

    _shown = "location spec.dataset.samples sample_shape spec.dataset.classes columns groups"

    def __init__(
        self, location: Location | str, spec: DatasetSpec, *, threads: int | None = None, waits: bool = False
    ) -> None:
        if threads is not None and threads < 1:
            message = f"threads: found {threads}, expected at least 1"
            raise SpecError(message)
        self.location: Location | str = location
        self.spec = spec
        self.threads = threads
        self.waits = waits
        self._selections: dict[tuple[object, ...] | None, Selection] = {}

    @cached_property
    def layout(self) -> Layout:
        """The plan of the store that the spec describes."""
        return plan_layout(self.spec)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that have a value for each row: the labels, and whatever else is not made of shards."""
        return tuple(self._chunked)

    @property
    def sample_shape(self) -> dict[str, int]:
        """Size of each dimension of a sample's frames."""
        frames = self._sharded[FRAMES]
        return dict(zip(frames.dims[1:], frames.shape[1:], strict=True))

    @cached_property
    def groups(self) -> dict[str, tuple[Column, ...]]:
        """The groups that `read_group` reads, and the arrays of each: the frames, and annotations."""
        return {
            group.name: group.columns
            for group in self.layout.groups
            if all(column.name in self._sharded for column in group.columns)
        }

    @cached_property
    def rows_per_shard(self) -> int:
        """Rows whose frames lie in one file: reading is fastest where rows of a file are read together."""
        return self._sharded[FRAMES].file_shape[0]

    def __len__(self) -> int:
        return self.spec.dataset.samples

    def __getitem__(self, row: SupportsIndex | slice) -> NDArray[np.uint8]:
        if isinstance(row, slice):
            return self.read(range(*row.indices(len(self))))
        try:
            number = operator.index(row)
        except TypeError:
            found = type(row).__name__
            message = (
                f"row: found a {found}, expected an integer or a slice; several rows: reader.read([3, 1])"
            )
            raise SpecError(message) from None
        sample: NDArray[np.uint8] = self.read([number])[0]
        return sample

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return map(self.__getitem__, range(len(self)))

    def read(
        self,
        rows: ArrayLike,
        out: NDArray[Any] | None = None,
        *,
        cameras: Sequence[int] | None = None,
        frames: Sequence[int] | None = None,
        threads: int | None = None,
        column: str = FRAMES,
    ) -> NDArray[Any]:
        """Read the frames of some rows, or another column that is stored in shards.

        Parameters
        ----------
        rows : (n,) integers
            Any rows in any order; negative ones count from the end.
        out : (n, cameras, frames, 3, height, width) uint8, optional
            Where to put them, C-contiguous; a new array by default. After an error its content is undefined.
        cameras : sequence of int, optional
            Which cameras, counted from 0, in this order; all by default.
        frames : sequence of int, optional
            Which frames, in this order; all by default. Frames are numbered from 1: array index = frame − 1.
        threads : int, optional
            Threads to spread the rows over, instead of the reader's own number.
        column : str
            What to read; another column than the frames has its own dimensions and dtype.

        Returns
        -------
        (n, cameras, frames, 3, height, width) uint8
            ``out``, or the new array.

        Raises
        ------
        RowRangeError
            If there is no such row.
        SpecError
            If there is no such column, camera or frame, or ``out`` does not fit.
        IncompleteStoreError
            If a row is not written yet.
        CorruptDataError
            If a row is damaged.
        """
        numbers = self.check_rows(rows)
        selection = self.select(cameras=cameras, frames=frames, column=column)
        shape = (len(numbers), *selection.shape)
        if out is None:
            out = np.empty(shape, selection.dtype)
        else:
            _check_out(out, shape, selection.dtype)
        self.read_selection(numbers, selection, out, threads=threads)
        return out

    def read_group(
        self,
        name: str,
        rows: ArrayLike,
        out: Mapping[str, NDArray[Any]] | None = None,
        *,
        cameras: Sequence[int] | None = None,
        frames: Sequence[int] | None = None,
        threads: int | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Read all arrays of an annotation, of the same cameras and frames as those of `read`.

        Parameters
        ----------
        name : str
            The annotation, such as ``"segmentation"``, or one of its arrays; also ``"video"``.
        rows : (n,) integers
            Any rows in any order; negative ones count from the end.
        out : mapping, optional
            From the name of each array to where to put it, C-contiguous; new arrays by default.
        cameras : sequence of int, optional
            Which cameras, counted from 0, in this order; all by default.
        frames : sequence of int, optional
            Which frames, numbered from 1, in this order; all by default. What has no frames is read whole: the times in
            ``query_points`` are indices among all frames of the store.
        threads : int, optional
            Threads to spread the rows over, instead of the reader's own number.

        Returns
        -------
        dict
            From the name of each array to (n, …): ``out``'s, or new ones of the dtype that the store gives them.

        Raises
        ------
        SpecError
            If there is no such annotation, camera or frame, or ``out`` does not fit.
        RowRangeError
            If there is no such row.
        IncompleteStoreError
            If a row is not written yet.
        CorruptDataError
            If a row is damaged.

        Examples
        --------
        >>> import tempfile, trajstore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
        ...     _ = trajstore.annotate(f"{folder}/tiny.zarr", "flow")
        ...     flow = trajstore.open_reader(f"{folder}/tiny.zarr").read_group("flow", [5, 2], cameras=[0])
        >>> {name: values.shape for name, values in flow.items()}
        {'forward_flow': (2, 1, 4, 2, 16, 16), 'backward_flow': (2, 1, 4, 2, 16, 16)}
        """
        numbers = self.check_rows(rows)
        selections = self.select_group(name, cameras=cameras, frames=frames)
        shapes = {one.column.name: (len(numbers), *one.shape) for one in selections}
        if out is None:
            out = {one.column.name: np.empty(shapes[one.column.name], one.dtype) for one in selections}
        elif out.keys() != shapes.keys():
            message = f"out: found {', '.join(out) or 'nothing'}, expected {', '.join(shapes)}"
            raise SpecError(message)
        for one in selections:
            _check_out(out[one.column.name], shapes[one.column.name], one.dtype)
        for one in selections:
            self.read_selection(numbers, one, out[one.column.name], threads=threads)
        return dict(out)

    def read_selection(
        self,
        rows: NDArray[np.int64],
        selection: Selection,
        out: NDArray[Any],
        *,
        threads: int | None = None,
    ) -> None:
        """Read a selection of rows into an array of its shape: what `read` does after its checks."""
        if len(rows) == 1:
            self._fill(rows, _ONLY, selection, out)
            return
        # sorted, so that a thread finds its rows in few files and one after the other
        order = np.argsort(rows, kind="stable")
        workers = min(threads or self.threads or self._default_threads, len(rows))
        if workers <= 1:
            self._fill(rows, order, selection, out)
            return
        first, *others = self._split(order, rows[order] // selection.column.file_shape[0], workers)
        if not others:
            self._fill(rows, first, selection, out)
            return
        with ThreadPoolExecutor(len(others), thread_name_prefix="trajstore-read") as pool:
            futures = [pool.submit(self._fill, rows, places, selection, out) for places in others]
            self._fill(rows, first, selection, out)
        for future in futures:
            future.result()

    def _split(
        self, order: NDArray[np.intp], shards: NDArray[np.int64], workers: int
    ) -> list[NDArray[np.intp]]:
        """Parts for threads, of about the same length; over a network a shard stays whole, to be one request."""
        cuts = np.arange(1, workers) * len(order) // workers
        if self.waits:
            cuts = np.unique(np.searchsorted(shards, shards[cuts]))
            cuts = cuts[cuts > 0]
        return np.split(order, cuts)

    def column(self, name: str, rows: ArrayLike | None = None) -> NDArray[Any]:
        """Read labels, or another column that is stored in chunks.

        Parameters
        ----------
        name : str
            One of `columns`, ``"intrinsics"`` or ``"extrinsics"``.
        rows : (n,) integers, optional
            Which rows, in this order; all by default. A `range` is read fastest.

        Returns
        -------
        (n, ...) ndarray
            Of the shape and dtype that the store gives them. Where all rows have the same cameras, their calibration
            is repeated without a copy, and is read-only.

        Raises
        ------
        SpecError
            If there is no such column.
        RowRangeError
            If there is no such row.
        IncompleteStoreError
            If a row is not written yet.
        CorruptDataError
            If a row is damaged.
        """
        _check_name(name, (*self._chunked, *self._static))
        wanted = range(len(self)) if rows is None else rows
        if isinstance(wanted, range) and wanted.step == 1 and 0 <= wanted.start <= wanted.stop <= len(self):
            return self._read_run(name, wanted)
        return self.read_column(name, self.check_rows(wanted))

    def read_column(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read a chunked column of rows of `check_rows`: what `column` does after its checks."""
        if name in self._static:
            return self._repeat(name, len(rows))
        column, each = self._chunked[name]
        if len(rows) == 1:  # without looking for chunks takes a tenth of the time
            chunk, index = divmod(int(rows[0]), each)
            return self._load(column, chunk)[index : index + 1].copy()
        chunks = rows // each
        values = np.empty((len(rows), *column.shape[1:]), column.dtype)
        for chunk in set(chunks.tolist()):
            is_here = chunks == chunk
            values[is_here] = self._load(column, chunk)[rows[is_here] - chunk * each]
        return values

    def _read_run(self, name: str, rows: range) -> NDArray[Any]:
        """Read successive rows of a column, without a list of their numbers."""
        if name in self._static:
            return self._repeat(name, len(rows))
        column, each = self._chunked[name]
        values = np.empty((len(rows), *column.shape[1:]), column.dtype)
        for chunk in range(rows.start // each, -(-rows.stop // each)):
            first, stop = max(rows.start, chunk * each), min(rows.stop, (chunk + 1) * each)
            part = self._load(column, chunk)[first - chunk * each : stop - chunk * each]
            values[first - rows.start : stop - rows.start] = part
        return values

    def _repeat(self, name: str, count: int) -> NDArray[np.float64]:
        """An array that all rows share, once for each of so many rows, without a copy."""
        values = self._load_static(self._static[name])
        return np.broadcast_to(values, (count, *values.shape))

    def captions(self, rows: ArrayLike) -> list[str]:
        """Describe some rows, each in one English sentence.

        Parameters
        ----------
        rows : (n,) integers
            Any rows in any order; negative ones count from the end.

        Returns
        -------
        list of str
            The same as from `trajstore.caption`.

        Raises
        ------
        RowRangeError
            If there is no such row.
        IncompleteStoreError
            If a row is not written yet.
        CorruptDataError
            If a row is damaged.
        """
        return self.read_captions(self.check_rows(rows))

    def read_captions(self, rows: NDArray[np.int64]) -> list[str]:
        """Describe rows of `check_rows`: what `captions` does after its checks."""
        position = self.read_column("position", rows)
        if self.spec.bodies.are_labelled:
            role = self.read_column("body_role", rows)
        else:
            role = np.zeros((len(rows), 1), np.int8)
        written = []
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
            if len(run):
                places, first = slice(run[0], run[-1] + 1), int(rows[run[0]])
                written += write_captions(
                    self.spec, range(first, first + len(run)), position[places], role[places]
                )
        return written

    def split_rows(self, split: str | None, within: Iterable[range] | None = None) -> NDArray[np.int64]:
        """Rows of a split.

        Parameters
        ----------
        split : {'train', 'val', 'test'} or None
            Which; None for all rows.
        within : iterable of range, optional
            Among which rows, in ascending order; among all by default.

        Returns
        -------
        (n,) int64
            Rows in ascending order; there may be none.

        Raises
        ------
        SpecError
            If there is no such split.
        """
        check_split(split)
        parts = [np.empty(0, np.int64)]
        for rows in (range(len(self)),) if within is None else within:
            numbers = np.arange(rows.start, rows.stop)
            if split is not None:
                numbers = numbers[self.column("split", rows) == SPLIT_NAMES.index(split)]
            parts.append(numbers)
        return np.concatenate(parts)

    def written_rows(self, *columns: str, within: range | None = None) -> tuple[range, ...]:
        """Rows that can be read now.

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
        return (range(len(self)) if within is None else within,)

    def calibration(self, rows: ArrayLike | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read what the cameras are.

        Parameters
        ----------
        rows : (n,) integers, optional
            Which rows; required if cameras move or stand in other places in each row.

        Returns
        -------
        intrinsics : (cameras, 3, 3) float64
            ``K``, px; pixel centres at half-integers, origin top left.
        extrinsics : (cameras, 3, 4) float64
            ``[R | t]``, world to camera, world units; OpenCV's x right, y down, z forward. With rows
            (n, cameras, 3, 4); where the cameras move, (n, cameras, frames, 3, 4).

        Raises
        ------
        SpecError
            If the cameras of a row are not those of another, and no rows are given.
        RowRangeError
            If there is no such row.
        IncompleteStoreError
            If a row is not written yet.
        CorruptDataError
            If they are damaged.
        """
        intrinsics = self._repeat("intrinsics", 1)[0].copy()
        if rows is not None:
            return intrinsics, self.column("extrinsics", rows)
        if "extrinsics" not in self._static:
            message = f"{self.location}: the cameras of each row are others; name the rows: calibration(rows)"
            raise SpecError(message)
        return intrinsics, self._repeat("extrinsics", 1)[0].copy()

    def is_written(self, shard: int) -> bool:
        """Whether a shard of frames can be read.

        Parameters
        ----------
        shard : int
            Which; each has `rows_per_shard` rows.

        Returns
        -------
        bool
            True if it is written now.
        """
        return 0 <= shard < len(self.layout.group_of(FRAMES))

    def select(
        self,
        *,
        cameras: Sequence[int] | None = None,
        frames: Sequence[int] | None = None,
        column: str = FRAMES,
    ) -> Selection:
        """Check a choice of cameras, counted from 0, and of frames, counted from 1; all by default."""
        # kept, because planning anew which chunks hold it takes a fiftieth of the time of reading
        key = _make_key(column, cameras, frames)
        if key in self._selections:
            return self._selections[key]
        if column not in self._sharded:
            message = f"column: {describe_unknown(column, self._sharded, hint=self.explain_absent(column))}"
            raise SpecError(message)
        found = self._sharded[column]
        choices = {"camera": (cameras, 0), "frame": (frames, 1)}
        indices: list[tuple[int, ...]] = []
        for dim, (chosen, first) in choices.items():
            if dim in found.dims:
                place = found.dims.index(dim)
                # what lies before it is read whole
                indices += (tuple(range(size)) for size in found.shape[len(indices) + 1 : place])
                indices.append(_check_choice(dim, chosen, first=first, count=found.shape[place]))
            elif chosen is not None:
                message = (
                    f"{dim}s: found {list(chosen)!r}, column {column} has no dimension {dim!r}; leave it out"
                )
                raise SpecError(message)
        shape = (*map(len, indices), *found.shape[len(indices) + 1 :])
        selection = Selection(found, tuple(indices), shape, np.dtype(found.dtype))
        if key is not None:
            if len(self._selections) >= SELECTIONS_MAX:
                self._selections.clear()
            self._selections[key] = selection
        return selection

    def select_group(
        self, name: str, *, cameras: Sequence[int] | None = None, frames: Sequence[int] | None = None
    ) -> tuple[Selection, ...]:
        """Check the same choice of each array of a group that is stored in shards, or of one such array by its name."""
        if name not in self.groups and name not in self._sharded:
            message = f"group: {describe_unknown(name, self.groups, hint=self.explain_absent(name))}"
            raise SpecError(message)
        return tuple(
            self.select(
                cameras=cameras if "camera" in column.dims else None,
                frames=frames if "frame" in column.dims else None,
                column=column.name,
            )
            for column in self.groups.get(name) or (self._sharded[name],)
        )

    def check_rows(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Check row numbers, (n,) integers: (n,) int64, those that count from the end counted from the first."""
        given = np.asarray(rows)
        if given.ndim != 1 or not (given.size == 0 or np.issubdtype(given.dtype, np.integer)):
            message = f"rows: found {given.dtype} of shape {given.shape}, expected a sequence of integers"
            raise SpecError(message)
        numbers = given.astype(np.int64)
        is_outside = (numbers < -len(self)) | (numbers >= len(self))
        if is_outside.any():
            message = (
                f"{self.location}: row {numbers[is_outside][0]} is out of range, "
                f"expected 0 … {len(self) - 1}{self._explain_range()}"
            )
            raise RowRangeError(message)
        return np.where(numbers < 0, numbers + len(self), numbers)

    def explain_absent(self, _: str) -> str:
        """What else to say about an array or group of a name that there is not."""
        return ""

    def _explain_range(self) -> str:
        """What else to say about a row that is out of range."""
        return ""

    @property
    def _default_threads(self) -> int:
        """Threads that a batch is spread over."""
        return WAITING_THREADS if self.waits else min(count_processors(), THREADS_MAX)

    @cached_property
    def _chunked(self) -> dict[str, tuple[Column, int]]:
        """Columns that are stored in chunks, and how many rows `_load` gives of each at a time."""
        return {
            column.name: (column, self._count_loaded(column))
            for group in self.layout.groups
            for column in group.columns
            if column.shard_shape is None
        }

    @cached_property
    def _static(self) -> dict[str, Column]:
        """Arrays that all rows share."""
        return {column.name: column for column in self.layout.static}

    @cached_property
    def _sharded(self) -> dict[str, Column]:
        """Columns that are stored in shards."""
        columns = (column for group in self.layout.groups for column in group.columns)
        return {column.name: column for column in columns if column.shard_shape is not None}

    def _count_loaded(self, column: Column) -> int:
        """Rows that `_load` gives at a time."""
        return column.chunk_shape[0]

    @abstractmethod
    def _load(self, column: Column, chunk: int) -> NDArray[Any]:
        """A part of a chunked column: the rows from ``chunk`` times `_count_loaded` on, fewer at the end."""

    @abstractmethod
    def _load_static(self, column: Column) -> NDArray[np.float64]:
        """An array that all rows share."""

    @abstractmethod
    def _fill(
        self,
        rows: NDArray[np.int64],
        places: NDArray[np.intp],
        selection: Selection,
        out: NDArray[Any],
    ) -> None:
        """Put ``rows[i]`` into ``out[i]`` for each i in ``places``; runs in several threads at once."""


def _check_name(name: str, known: Collection[str]) -> None:
    """Raise unless a column is known."""
    if name not in known:
        message = f"column: {describe_unknown(name, known)}"
        raise SpecError(message)


def _make_key(column: str, *choices: Sequence[int] | None) -> tuple[object, ...] | None:
    """What a choice of cameras and frames is kept by; None for one that is not of plain integers, and may be wrong."""
    if not all(choice is None or isinstance(choice, list | tuple | range) for choice in choices):
        return None
    if any(type(number) is not int for choice in choices if choice for number in choice):
        return None
    return (column, *(choice if choice is None else tuple(choice) for choice in choices))


def _check_choice(what: str, chosen: Sequence[int] | None, *, first: int, count: int) -> tuple[int, ...]:
    """Array indices of cameras or frames that are counted from ``first``."""
    if chosen is None:
        return tuple(range(count))
    last = first + count - 1
    expected = f"expected some of {first} … {last} ({what}s are counted from {first})"
    try:
        indices = tuple(operator.index(number) - first for number in chosen)
    except TypeError:
        message = f"{what}s: found {chosen!r}, {expected}"
        raise SpecError(message) from None
    unknown = [index + first for index in indices if not 0 <= index < count]
    if unknown or not indices:
        found = f"no {what} {unknown[0]}" if unknown else f"no {what} at all"
        message = f"{what}s: found {list(chosen)!r}, there is {found}, {expected}"
        raise SpecError(message)
    return indices


def _check_out(out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise unless an array can take what is read."""
    if out.shape != shape or out.dtype != dtype:
        message = f"out: found {out.dtype} of shape {out.shape}, expected {dtype} of shape {shape}"
        raise SpecError(message)
    if prod(shape) and not (out.flags.c_contiguous and out.flags.writeable):
        message = "out: found an array that is not C-contiguous or not writable, expected one that is both"
        raise SpecError(message)
