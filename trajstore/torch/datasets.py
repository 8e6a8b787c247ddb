"""Rows of a store, or of the generator, as PyTorch datasets; and batches of them."""

from __future__ import annotations

import multiprocessing
import operator
import os
import threading
from collections.abc import Callable, Mapping, Sequence
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


class Batch(Sequence[Sample]):
    """Samples that lie one after the other in memory, made when they are asked for, and the tensors that hold them all.

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
        split: str | None,
        cameras: Sequence[int] | None,
        frames: Sequence[int] | None,
        transform: Transform | None,
        layout: str,
        columns: Sequence[str],
        only_written: bool,
    ) -> None:
        self.samples = samples
        self.split = split
        self.columns = tuple(columns)
        self.transform = transform
        video = samples.select(cameras=cameras, frames=frames)
        _check_layout(layout, cameras=video.shape[0])
        self._labels = tuple(name for name in self.columns if name in (*samples.columns, CAPTION))
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
        self._rows: NDArray[np.int64] | None = None
        self._check_rows(only_written=only_written)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the samples in the store, (len(dataset),) int64."""
        if self._rows is None:
            self._rows = self.samples.split_rows(self.split, self._written)
        return self._rows

    @property
    def shards(self) -> NDArray[np.int64]:
        """Shard of each sample, (len(dataset),) int64."""
        return self.rows // self.samples.rows_per_shard

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        """One sample."""
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
        values = self.samples.read_column(name, rows)
        return torch.from_numpy(values.astype(np.int64) if values.dtype == np.int8 else values)

    def _check_indices(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Raise unless all indices are those of samples."""
        numbers = np.array([operator.index(index) for index in indices], dtype=np.int64)
        is_outside = (numbers < -len(self)) | (numbers >= len(self))
        if is_outside.any():
            message = (
                f"{self.samples.location}: sample {numbers[is_outside][0]} is out of range, expected "
                f"0 … {len(self) - 1} of {'all rows' if self.split is None else f'split {self.split!r}'}"
            )
            raise RowRangeError(message)
        return numbers

    def _check_rows(self, *, only_written: bool) -> None:
        """Raise if there are no rows, or rows that are not written."""
        location, total = self.samples.location, len(self)
        if not total:
            message = (
                f"{location}: split {self.split!r} is empty, expected at least one of {len(self.samples)} samples; "
                "build more samples or change the shares of the splits"
            )
            raise SpecError(message)
        labels = ("position" if name == CAPTION else name for name in self._labels)
        written = self.samples.written_rows(*self._arrays, *labels)
        if written == (range(len(self.samples)),):
            return
        count = len(self.samples.split_rows(self.split, written))
        if only_written and count:
            self._written, self._rows = written, None
        elif count < total:
            place = getattr(location, "argument", location)
            message = (
                f"{location}: {format_count(count)} of {format_count(total)} samples are written; finish the store "
                f"with: trajstore build {place}; or take what is there: only_written=True"
            )
            raise IncompleteStoreError(message)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_rows": None}


class TrajectoryDataset(SampleDataset):
    """The samples of a store.

    It opens files when they are first read, in each process on its own, and pickles to a few kilobytes, so it works
    under fork, forkserver and spawn. Frames are uint8: convert them where the model is.

    Parameters
    ----------
    path : path-like
        The store.
    split : {'train', 'val', 'test'}, optional
        Which rows; all by default.
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
        What to give along. Annotations are of the cameras and frames that are chosen, each array under its own name:
        ``"segmentation"``, ``"flow"`` for ``forward_flow`` and ``backward_flow``, or one of its arrays. Label columns
        are of all cameras and frames; int8 becomes int64, other types stay what they are. ``"caption"`` is a sentence
        that describes a sample, a str; in a batch, a list.
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
        If an argument does not fit the store, or the split is empty.
    IncompleteStoreError
        If samples are not written yet.
    StoreError
        If there is no store.
    """

    def __init__(
        self,
        path: str | Path | Location,
        *,
        split: str | None = None,
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
            cameras=cameras,
            frames=frames,
            transform=transform,
            layout=layout,
            columns=columns,
            only_written=only_written,
        )


class GeneratedDataset(SampleDataset):
    """The samples of a spec without a store, drawn when they are asked for: equal to the stored ones bit for bit.

    Parameters
    ----------
    spec : DatasetSpec, mapping or path-like
        The dataset.
    split, cameras, frames, transform, layout, columns, threads
        See `TrajectoryDataset`.

    Raises
    ------
    SpecError
        If an argument does not fit the spec, or the split is empty.
    """

    def __init__(
        self,
        spec: SpecLike,
        *,
        split: str | None = None,
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
        known = (*samples.columns, CAPTION, *annotations)
        message = f"columns: {describe_unknown(name, known, hint=samples.explain_absent(name))}"
        raise SpecError(message)
