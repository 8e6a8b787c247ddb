"""Rows of a store, or of the generator, as PyTorch datasets; and batches of them."""

from __future__ import annotations

import multiprocessing
import operator
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import connection
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, default_collate, get_worker_info

from trajstore.errors import IncompleteStoreError, RowRangeError, SpecError
from trajstore.reading.samples import Samples, Selection
from trajstore.reading.store import open_reader
from trajstore.scene.captions import CAPTION
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import SpecLike
from trajstore.storage.location import Location
from trajstore.store.layout import FRAMES
from trajstore.text import describe_unknown, format_count
from trajstore.torch.buffers import BufferPool, Loan, Room, Sample, SharedBatch

Transform = Callable[[Sample], Any]

STORED_LAYOUT: Final = "VTCHW"
"""Order of a sample's dimensions in a store: camera (view), frame (time), channel, height, width."""

LETTERS: Final = {"camera": "V", "frame": "T", "channel": "C", "uv": "C", "axis": "C", "y": "H", "x": "W"}
"""What stands for a dimension in a layout; bodies and points are in none."""

TARGETS: Final = ("class_label", "future_position")

CALIBRATION: Final = ("intrinsics", "extrinsics")
"""Columns that follow the choice of cameras and frames, as the frames do."""

NAMED: Final = {"class_name": "class_label", "split_name": "split"}
"""Columns of names for `where`, and the numbers that they are read from."""


class NoSamplesError(SpecError):
    """Nothing is left of a dataset: a split is empty, or `where` matches no sample."""


class Batch(Sequence[Sample]):
    """A batch: the tensors that hold its samples, and each sample as views of them.

    Attributes
    ----------
    tensors : dict
        The whole batch: what `collate` gives, without copying anything.
    """

    def __init__(self, tensors: Sample) -> None:
        self.tensors = tensors

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return {name: values[index] for name, values in self.tensors.items()}

    def __len__(self) -> int:
        return len(self.tensors["row"])


@dataclass(frozen=True)
class _Array:
    """What a dataset reads of frames or an annotation, and which axes of it are given, in their order."""

    selection: Selection
    axes: tuple[int, ...]

    def arrange(self, stored: torch.Tensor) -> torch.Tensor:
        """A batch in the dataset's layout, a view; the first dimension is that of the samples."""
        axes = range(stored.ndim - 1)
        if self.axes == tuple(axes):
            return stored
        left_out = [axis for axis in axes if axis not in self.axes]
        arranged = stored.permute(0, *(1 + axis for axis in (*left_out, *self.axes)))
        return arranged.squeeze(1) if left_out else arranged


class SampleDataset(Dataset[Any]):
    """What both datasets are: rows of a source of samples, as tensors."""

    def __init__(
        self,
        samples: Samples,
        *,
        split: str | Sequence[str] | None,
        where: Mapping[str, Any] | None,
        cameras: Sequence[int] | None,
        frames: Sequence[int] | None,
        transform: Transform | None,
        layout: str,
        columns: Sequence[str],
        only_written: bool,
    ) -> None:
        self.samples = samples
        self.split = split
        self.where = dict(where or {})
        self.columns = tuple(columns)
        self.layout = layout
        self.transform = transform
        video = samples.select(cameras=cameras, frames=frames)
        _check_layout(layout, cameras=video.shape[0])
        self._cameras, self._frames = map(list, video.indices)
        known = {*samples.columns, *CALIBRATION, CAPTION}
        self._labels = tuple(name for name in self.columns if name in known)
        stored = [video]
        for name in self.columns:
            if name not in self._labels:
                _check_column(name, samples)
                stored += samples.select_group(name, cameras=cameras, frames=frames)
        self._arrays = {
            selection.column.name: _Array(selection, _find_axes(selection.column.dims[1:], layout))
            for selection in stored
        }
        self._buffers = BufferPool()
        self._written: tuple[range, ...] | None = None
        self._rows: NDArray[np.int64] | None = self._find_rows(only_written=only_written)
        self._static = self._read_static()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: ``classes[label]`` is that of a ``class_label``."""
        return tuple(self.samples.spec.dataset.classes)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the samples in the store, (len(dataset),) int64."""
        if self._rows is None:
            self._rows = self._split_rows(self._written)
        return self._rows

    @property
    def shards(self) -> NDArray[np.int64]:
        """Shard of each sample, (len(dataset),) int64."""
        return self.rows // self.samples.rows_per_shard

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        nothing = np.empty(0, np.int64)
        rooms = zip(self._arrays.items(), self._measure(0), strict=True)
        empty: Sample = {
            name: array.arrange(torch.from_numpy(np.empty(*room))) for (name, array), room in rooms
        } | {name: self._read_column(name, nothing) for name in self._labels}
        counts = f"{format_count(len(self))} of {format_count(len(self.samples))} samples"
        lines = [
            f"{type(self).__name__} of {self.samples.location}: {counts} ({self._describe_choice()})",
            f"    classes: {', '.join(self.classes)}",
        ]
        for name, values in empty.items():
            if isinstance(values, torch.Tensor):
                kind = f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape[1:])}"
            else:
                kind = "str"
            lines.append(f"    {name}: {kind}{f' {self.layout}' if name == FRAMES else ''}")
        if self.transform is not None:
            lines.append(f"    transform: {getattr(self.transform, '__name__', self.transform)}")
        return "\n".join(lines)

    def __getitem__(self, index: int | slice) -> Any:
        """One sample; of a slice, a batch of its samples, as `collate` makes it."""
        if isinstance(index, slice):
            return collate(self.__getitems__(range(len(self))[index]))
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            self._check_indices([number])
        if get_worker_info() is not None:
            _end_with_parent(os.getpid())
        rows = self.rows[number : number + 1 or None].copy()
        # not by way of a batch of one: that takes a fifth of the time of reading
        stored = [torch.from_numpy(np.empty(*room)) for room in self._measure(1)]
        sample = {name: values[0] for name, values in self._fill(rows, stored, threads=1).items()}
        sample["row"] = torch.from_numpy(rows.reshape(()))
        return sample if self.transform is None else self.transform(sample)

    def __getitems__(self, indices: Sequence[int]) -> Batch | list[Any]:
        """Several samples, read at once: what a `torch.utils.data.DataLoader` calls."""
        in_worker = get_worker_info() is not None
        if in_worker:
            _end_with_parent(os.getpid())
        rows = self.rows[self._check_indices(indices)]
        # the workers of a loader are what makes it parallel, unless it waits for a network
        threads = 1 if in_worker and not self.samples.waits else None
        tensors, loan = self._read(rows, threads=threads, is_shared=in_worker and self.transform is None)
        if loan is not None:
            shared = SharedBatch(tensors)
            shared.loan, shared.shared = loan, {name: tensors[name] for name in self._arrays}
            return Batch(shared)
        batch = Batch(tensors)
        return batch if self.transform is None else list(map(self.transform, batch))

    def _read(
        self, rows: NDArray[np.int64], *, threads: int | None, is_shared: bool
    ) -> tuple[Sample, Loan | None]:
        """Some rows, one after the other in memory."""
        rooms, loan = self._measure(len(rows)), None
        if is_shared:
            stored, loan = self._buffers.allocate_shared(rooms)
        else:
            stored = self._buffers.allocate(rooms)
        tensors = self._fill(rows, stored, threads=threads)
        tensors["row"] = torch.from_numpy(rows)
        return tensors, loan

    def _measure(self, count: int) -> list[Room]:
        """What so many rows of frames and annotations need."""
        selections = (array.selection for array in self._arrays.values())
        return [Room((count, *selection.shape), selection.dtype) for selection in selections]

    def _fill(self, rows: NDArray[np.int64], stored: list[torch.Tensor], *, threads: int | None) -> Sample:
        """All columns of some rows, frames and annotations in memory that is given."""
        tensors: Sample = {}
        for (name, array), values in zip(self._arrays.items(), stored, strict=True):
            self.samples.read_selection(rows, array.selection, values.numpy(), threads=threads)
            tensors[name] = array.arrange(values)
        for name in self._labels:
            tensors[name] = self._read_column(name, rows)
        return tensors

    def _read_column(self, name: str, rows: NDArray[np.int64]) -> torch.Tensor | list[str]:
        """Labels of some rows as a tensor, class numbers as int64, which loss functions want; or captions."""
        if name == CAPTION:
            return self.samples.read_captions(rows)
        if name in CALIBRATION:
            return torch.from_numpy(self._read_calibration(name, rows))
        values = self.samples.read_column(name, rows)
        return torch.from_numpy(values.astype(np.int64) if values.dtype == np.int8 else values)

    def _check_indices(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Raise unless all indices are those of samples."""
        numbers = np.array([operator.index(index) for index in indices], dtype=np.int64)
        is_outside = (numbers < -len(self)) | (numbers >= len(self))
        if is_outside.any():
            message = (
                f"{self.samples.location}: sample {numbers[is_outside][0]} is out of range, expected "
                f"0 … {len(self) - 1} of {self._describe_choice()}"
            )
            raise RowRangeError(message)
        return numbers

    def _find_rows(self, *, only_written: bool) -> NDArray[np.int64]:
        """Choose the rows; raise if there are none, or some that are not written."""
        location, rows = self.samples.location, self._split_rows()
        if not len(rows):
            message = (
                f"{location}: {self._describe_choice()} is empty, expected at least one of "
                f"{format_count(len(self.samples))} samples; build more samples or change the shares of the splits"
            )
            raise NoSamplesError(message)
        names = {
            "position" if name == CAPTION else NAMED.get(name, name) for name in (*self._labels, *self.where)
        }
        labels = names.intersection(self.samples.columns)
        written = self.samples.written_rows(*self._arrays, *sorted(labels))
        is_whole = written == (range(len(self.samples)),)
        if not is_whole:
            present = self._split_rows(written)
            if only_written and len(present):
                self._written, rows = written, present
            elif len(present) < len(rows):
                place = getattr(location, "argument", location)
                message = (
                    f"{location}: {format_count(len(present))} of {format_count(len(rows))} samples are written; "
                    f"finish the store with: trajstore build {place}; or take what is there: only_written=True"
                )
                raise IncompleteStoreError(message)
        chosen = np.ones(len(rows), bool)
        for name, wanted in self.where.items():
            chosen &= self._match(name, wanted, rows, is_whole=is_whole)
        if not chosen.any():
            message = (
                f"{location}: {self._describe_choice()} matches none of {format_count(len(rows))} samples, "
                "expected at least one; ask for less"
            )
            raise NoSamplesError(message)
        return rows[chosen]

    def _split_rows(self, within: tuple[range, ...] | None = None) -> NDArray[np.int64]:
        """Rows of the split, or of several, in ascending order."""
        if self.split is None or isinstance(self.split, str):
            return self.samples.split_rows(self.split, within)
        if not self.split:
            message = f"split: found none, expected some of {', '.join(SPLIT_NAMES)}"
            raise SpecError(message)
        parts = [self.samples.split_rows(name, within) for name in dict.fromkeys(self.split)]
        return np.sort(np.concatenate(parts))

    def _match(self, name: str, wanted: Any, rows: NDArray[np.int64], *, is_whole: bool) -> NDArray[np.bool_]:
        """Which of some rows ``where`` asks for in one column."""
        column = NAMED.get(name, name)
        names = {"class_name": self.classes, "split_name": SPLIT_NAMES}.get(name, ())
        if column == "row":
            values: NDArray[Any] = rows
        elif column not in self.samples.columns:
            message = f"where: {describe_unknown(name, ('row', *NAMED, *self.samples.columns))}"
            raise SpecError(message)
        elif is_whole:  # of a generator thousands of times as fast
            values = self.samples.column(column)[rows]
        else:
            values = self.samples.read_column(column, rows)
        if names:
            values = np.array(names)[values]
        if callable(wanted):
            mask = np.asarray(wanted(values))
            if mask.dtype != bool or mask.shape != rows.shape:
                message = (
                    f"where: the function of {name} gave {mask.dtype} of shape {mask.shape} for a column of shape "
                    f"{values.shape}, expected bool of shape {rows.shape}"
                )
                raise SpecError(message)
            return mask
        if values.ndim > 1:
            message = (
                f"where: {name} has values of shape {values.shape[1:]}, which no single value equals; expected a "
                f"function from the column {values.shape} to a mask {rows.shape}"
            )
            raise SpecError(message)
        several = not isinstance(wanted, str) and isinstance(wanted, Collection)
        choices = list(wanted) if several else [wanted]
        for choice in choices:
            if names and choice not in names:
                message = f"where: {name}: {describe_unknown(choice, names)}"
                raise SpecError(message)
        return np.isin(values, choices)

    def _describe_choice(self) -> str:
        """The split and the columns of ``where``, for people."""
        if self.split is None:
            split = "all rows"
        elif isinstance(self.split, str):
            split = f"split {self.split!r}"
        else:
            split = f"splits {', '.join(map(repr, self.split))}"
        return f"{split} where {' and '.join(self.where)}" if self.where else split

    def _read_static(self) -> dict[str, NDArray[np.float64]]:
        """The calibration that is the same in all rows, if it is asked for."""
        static = {*CALIBRATION}.intersection(self._labels).difference(self.samples.columns)
        if not static:
            return {}
        varies = "extrinsics" in self.samples.columns
        found = self.samples.calibration(self.rows[:0] if varies else None)
        return {name: values for name, values in zip(CALIBRATION, found, strict=True) if name in static}

    def _read_calibration(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Matrices of the chosen cameras, and of the chosen frames where the cameras move."""
        if name in self._static:
            values = np.repeat(self._static[name][None], len(rows), axis=0)
        else:
            values = self.samples.read_column(name, rows)
        if values.ndim == 5:  # sample, camera, frame, and a matrix
            values = values[:, :, self._frames]
        return values[:, self._cameras] if "V" in self.layout else values[:, self._cameras[0]]

    def __getstate__(self) -> dict[str, Any]:
        # the workers of a loader find the rows of a split on their own; functions need not pickle
        rows = self._rows if self.where else None
        return self.__dict__ | {"_rows": rows, "where": dict.fromkeys(self.where)}


class TrajectoryDataset(SampleDataset):
    """The samples of a store.

    It opens files when they are first read, in each process on its own, and pickles to a few kilobytes, so it works
    under fork, forkserver and spawn. Frames are uint8: convert them where the model is.

    Parameters
    ----------
    path : path-like
        The store.
    split : {'train', 'val', 'test'} or a sequence of them, optional
        Which rows; all by default. Always in ascending order.
    where : mapping, optional
        Which samples of the split: from the name of a label column to a value, to a collection of values, or to a
        function that is called once with the column, (n, …) for the n samples of the split, and returns a mask,
        (n,) bool. All must hold. ``"class_name"``, ``"split_name"`` (names) and ``"row"`` are columns, too.
    cameras : sequence of int, optional
        Which cameras, counted from 0; all by default.
    frames : sequence of int, optional
        Which frames; all by default. Frames are numbered from 1: array index = frame − 1.
    transform : callable, optional
        Called with each sample, a dict of tensors (and, where asked for, the caption); what it returns is the sample.
    layout : str
        Order of the dimensions of ``video``: V camera (view), T frame, C channel, H, W. ``"VTCHW"`` is what is stored;
        ``"VCTHW"`` suits 3D convolutions (I3D, SlowFast, R(2+1)D), a view at a time; ``"VTCHW"`` and ``"VTHWC"``
        video transformers. Without V (``"CTHW"``) where one camera is chosen. Orders other than the stored one are
        views of it; ``.contiguous()`` copies. Annotations follow it: C is u and v, or x, y and z, and left out where
        there is neither; bodies come first (``amodal``: body, V, T, H, W). ``tracks`` stay in the order that is stored.
    columns : sequence of str
        What a sample holds besides its frames. Annotations are of the cameras and frames that are chosen, each array
        under its own name: ``"segmentation"``, ``"flow"`` for ``forward_flow`` and ``backward_flow``, or one of its
        arrays. Label columns are of all cameras and frames; int8 becomes int64, other types stay what they are.
        ``"caption"`` is a sentence that describes a sample, a str; in a batch, a list. ``"intrinsics"`` (V, 3, 3) and
        ``"extrinsics"`` (V, 3, 4), float64, are of the cameras that are chosen; where cameras move, extrinsics are (V,
        T, 3, 4) of the frames that are chosen. They have no V where the layout has none.
    only_written : bool
        Take the rows of which everything that is asked for is written now, instead of refusing a store that is not
        finished.
    threads : int, optional
        Threads that a batch is spread over in a process that is no worker of a loader; by default one for each
        processor, at most 8, and 16 for a bucket, also in a worker.
    storage_options : mapping, optional
        See `trajstore.build`.

    Raises
    ------
    SpecError
        If an argument does not fit the store, or no sample is left.
    IncompleteStoreError
        If samples are not written yet.
    StoreError
        If there is no store.
    """

    def __init__(
        self,
        path: str | Path | Location,
        *,
        split: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        cameras: Sequence[int] | None = None,
        frames: Sequence[int] | None = None,
        transform: Transform | None = None,
        layout: str = STORED_LAYOUT,
        columns: Sequence[str] = TARGETS,
        only_written: bool = False,
        threads: int | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            open_reader(path, threads=threads, storage_options=storage_options),
            split=split,
            where=where,
            cameras=cameras,
            frames=frames,
            transform=transform,
            layout=layout,
            columns=columns,
            only_written=only_written,
        )


class GeneratedDataset(SampleDataset):
    """The samples of a spec without a store, drawn on access; they equal stored ones bit for bit.

    Parameters
    ----------
    spec : DatasetSpec, mapping or path-like
        The dataset.
    split, where, cameras, frames, transform, layout, columns, threads
        See `TrajectoryDataset`.

    Raises
    ------
    SpecError
        If an argument does not fit the spec, or no sample is left.
    """

    def __init__(
        self,
        spec: SpecLike,
        *,
        split: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        cameras: Sequence[int] | None = None,
        frames: Sequence[int] | None = None,
        transform: Transform | None = None,
        layout: str = STORED_LAYOUT,
        columns: Sequence[str] = TARGETS,
        threads: int | None = None,
    ) -> None:
        # imports numba, which the workers of a dataset with a store do without
        from trajstore.reading.generator import SampleGenerator

        samples = SampleGenerator(spec, threads=threads)
        super().__init__(
            samples,
            split=split,
            where=where,
            cameras=cameras,
            frames=frames,
            transform=transform,
            layout=layout,
            columns=columns,
            only_written=False,
        )
        # compiles the kernels here and not in several workers at once
        self._read(self.rows[:1], threads=1, is_shared=False)


def collate(samples: list[Any] | Batch) -> Any:
    """Make a batch of samples, without copying where they lie one after the other already.

    Parameters
    ----------
    samples : list or Batch
        From a dataset's ``__getitems__``.

    Returns
    -------
    dict of tensors, of captions a list of str
        The same as from `torch.utils.data.default_collate`, which copies every sample.
    """
    if isinstance(samples, Batch):
        return samples.tensors
    return default_collate(samples)


@lru_cache(maxsize=1)
def _end_with_parent(process: int) -> None:
    """End this worker when the process that it works for is killed.

    PyTorch's own look at the parent sees, with forkserver, a server that lives as long as its workers.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_and_end() -> None:
        connection.wait([parent.sentinel])
        os.write(
            2, f"trajstore: worker {process}: the process it reads for has ended, and so does it\n".encode()
        )
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


def _check_layout(layout: str, *, cameras: int) -> None:
    """Raise unless a layout names each dimension of the frames once."""
    expected = [STORED_LAYOUT, *([STORED_LAYOUT.replace("V", "")] if cameras == 1 else [])]
    if sorted(layout) not in map(sorted, expected):
        message = (
            f"layout: found {layout!r} with {cameras} cameras, expected an order of the letters VTCHW "
            "(camera, frame, channel, height, width), such as 'VCTHW', or without V where one camera is chosen"
        )
        raise SpecError(message)


def _find_axes(dims: tuple[str, ...], layout: str) -> tuple[int, ...]:
    """The axes of a sample that a layout has, in its order; of what is no picture in the order that is stored."""
    letters = [LETTERS.get(dim, "") for dim in dims]
    kept = [axis for axis, letter in enumerate(letters) if letter != "V" or "V" in layout]
    if "H" not in letters:
        return tuple(kept)
    return tuple(sorted(kept, key=lambda axis: layout.index(letters[axis]) if letters[axis] else -1))


def _check_column(name: str, samples: Samples) -> None:
    """Raise unless there is a column or an annotation of a name."""
    annotations = {group: columns for group, columns in samples.groups.items() if group != FRAMES}
    arrays = {column.name for columns in annotations.values() for column in columns}
    if name not in arrays | annotations.keys():
        known = dict.fromkeys((*samples.columns, *CALIBRATION, CAPTION, *annotations))
        message = f"columns: {describe_unknown(name, known, hint=samples.explain_absent(name))}"
        raise SpecError(message)
