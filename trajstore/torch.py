"""Train from a store, or without one: PyTorch datasets and the sampler that keeps their reads local.

::

    import torch, trajstore.torch as tt

    dataset = tt.TrajectoryDataset("store.zarr", split="train", layout="VCTHW")
    sampler = tt.ShardShuffleSampler(dataset, seed=0)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=32, sampler=sampler, num_workers=2, collate_fn=tt.collate
    )
    for epoch in range(10):
        sampler.set_epoch(epoch)
        for batch in loader:
            clips = batch["video"].to(device).float() / 255
            loss = loss_of(model(clips), batch["class_label"].to(device))
"""

from __future__ import annotations

import multiprocessing
import operator
import os
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import prod
from multiprocessing import connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import IncompleteStoreError, RowRangeError, SpecError
from trajstore.locations import Location
from trajstore.reading import open_reader
from trajstore.samples import Samples
from trajstore.shuffling import deal, order_epoch
from trajstore.spec import DatasetSpec
from trajstore.text import format_count

try:
    import torch
    from torch.utils.data import Dataset, Sampler, default_collate, get_worker_info
except ImportError as error:  # pragma: no cover
    message = "trajstore.torch needs PyTorch, which is not installed: pip install 'trajstore[torch]'"
    raise ImportError(message) from error

__all__ = ["Batch", "GeneratedDataset", "ShardShuffleSampler", "TrajectoryDataset", "collate"]

Sample = dict[str, torch.Tensor]
Transform = Callable[[Sample], Any]

STORED_LAYOUT: Final = "VTCHW"
"""Order of a sample's dimensions in a store: camera (view), frame (time), channel, height, width."""

TARGETS: Final = ("class_label", "future_position")

SPARE_BUFFERS: Final = 2
"""Batches whose memory is kept for the next ones."""

SHARED_BUFFERS: Final = 8
"""The same in each worker of a loader; those that the parent holds are among them."""

WINDOW: Final = 16
"""Shards that are shuffled together: of default samples 4,000 rows, 110 MB of the page cache."""


class Batch(list[Any]):
    """Samples that lie one after the other in memory, and the tensors that hold them all.

    Attributes
    ----------
    tensors : dict
        The whole batch: what `collate` gives, without copying anything.
    """

    tensors: Sample


class _SampleDataset(Dataset[Any]):
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
        self._selection = samples.select(cameras=cameras, frames=frames)
        self._permutation = _check_layout(layout, cameras=len(self._selection.cameras))
        self._is_as_stored = layout == STORED_LAYOUT
        _check_columns(self.columns, samples.columns)
        self._buffers = _BufferPool()
        self._written_shards: bytes | None = None
        self._rows: NDArray[np.int64] | None = None
        self._check_rows(only_written=only_written)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the samples in the store, (len(dataset),) int64."""
        if self._rows is None:
            rows = self.samples.split_rows(self.split)
            if self._written_shards is not None:
                is_written = np.unpackbits(np.frombuffer(self._written_shards, np.uint8)).astype(bool)
                rows = rows[is_written[rows // self.samples.rows_per_shard]]
            self._rows = rows
        return self._rows

    @property
    def shards(self) -> NDArray[np.int64]:
        """Shard of each sample, (len(dataset),) int64."""
        return self.rows // self.samples.rows_per_shard

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        """One sample.

        Parameters
        ----------
        index : int
            Which, counted from 0; negative ones count from the end.

        Returns
        -------
        dict, or what ``transform`` makes of it
            ``video`` uint8 in the dataset's layout, and each label column; ``row`` is its row in the store.
        """
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            self._check_indices([number])
        if get_worker_info() is not None:
            _end_with_parent(os.getpid())
        rows = self.rows[number : number + 1 or None].copy()
        # not by way of a batch of one: that takes a fifth of the time of reading
        stored = np.empty((1, *self._selection.shape), np.uint8)
        self.samples.read_selection(rows, self._selection, stored, threads=1)
        sample = {"video": self._arrange(torch.from_numpy(stored))[0]}
        for name in self.columns:
            values = self.samples.read_column(name, rows)
            sample[name] = _to_tensor(values.reshape(values.shape[1:]))
        sample["row"] = torch.from_numpy(rows.reshape(()))
        return sample if self.transform is None else self.transform(sample)

    def __getitems__(self, indices: Sequence[int]) -> Batch | list[Any]:
        """Several samples, read at once: what a `torch.utils.data.DataLoader` calls.

        Parameters
        ----------
        indices : sequence of int
            Which.

        Returns
        -------
        Batch
            A list of samples; a plain list where there is a ``transform``.
        """
        in_worker = get_worker_info() is not None
        if in_worker:
            _end_with_parent(os.getpid())
        rows = self.rows[self._check_indices(indices)]
        # the workers of a loader are what makes it parallel, unless it waits for a network
        threads = 1 if in_worker and not self.samples.waits else None
        tensors, loan = self._read(rows, threads=threads, is_shared=in_worker and self.transform is None)
        samples = [{name: tensor[i] for name, tensor in tensors.items()} for i in range(len(rows))]
        if self.transform is not None:
            return [self.transform(sample) for sample in samples]
        batch = Batch(samples)
        batch.tensors = tensors
        if loan is not None:
            batch.tensors = shared = _SharedBatch(tensors)
            shared.loan, shared.video = loan, tensors["video"]
        return batch

    def _read(
        self, rows: NDArray[np.int64], *, threads: int | None, is_shared: bool
    ) -> tuple[Sample, _Loan | None]:
        """Some rows, one after the other in memory."""
        shape, loan = (len(rows), *self._selection.shape), None
        if is_shared:
            stored, loan = self._buffers.allocate_shared(shape)
        else:
            stored = self._buffers.allocate(shape)
        self.samples.read_selection(rows, self._selection, stored.numpy(), threads=threads)
        tensors = {"video": self._arrange(stored)}
        for name in self.columns:
            tensors[name] = _to_tensor(self.samples.read_column(name, rows))
        tensors["row"] = torch.from_numpy(rows)
        return tensors, loan

    def _arrange(self, stored: torch.Tensor) -> torch.Tensor:
        """Frames in the dataset's layout, a view; the first dimension is that of the samples."""
        if self._is_as_stored:
            return stored
        video = stored.squeeze(1) if len(self._permutation) == 4 else stored
        return video.permute(0, *(1 + axis for axis in self._permutation))

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
        is_written = self.samples.written_shards()
        if is_written.all():
            return
        count = int(is_written[self.shards].sum())
        if only_written and count:
            self._written_shards = np.packbits(is_written).tobytes()
            self._rows = None
        elif count < total:
            message = (
                f"{location}: {format_count(count)} of {format_count(total)} samples are written; finish the store "
                f"with: trajstore build {location}; or take what is there: only_written=True"
            )
            raise IncompleteStoreError(message)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_rows": None}


class TrajectoryDataset(_SampleDataset):
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
        Called with each sample, a dict of tensors; what it returns is the sample.
    layout : str
        Order of the dimensions of ``video``: V camera (view), T frame, C channel, H, W. ``"VTCHW"`` is what is stored;
        ``"VCTHW"`` suits 3D convolutions (I3D, SlowFast, R(2+1)D), a view at a time; ``"VTCHW"`` and ``"VTHWC"``
        video transformers. Without V (``"CTHW"``) where one camera is chosen. Orders other than the stored one are
        views of it; ``.contiguous()`` copies.
    columns : sequence of str
        Label columns to give along.
    only_written : bool
        Take the rows whose frames are written now, instead of refusing a store that is not finished.
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


class GeneratedDataset(_SampleDataset):
    """The samples of a spec without a store, drawn when they are asked for: equal to the stored ones bit for bit.

    Parameters
    ----------
    spec : DatasetSpec
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
        spec: DatasetSpec,
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
        from trajstore.generating import SampleGenerator

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
        samples.read([0], cameras=[0], frames=[1])


class ShardShuffleSampler(Sampler[int]):
    """A shuffled order of samples that reads a few shards at a time, for one rank of several.

    It is a pure function of the arguments and the epoch. All ranks get the same number of samples; together they get
    every sample once, and a few twice where it does not divide evenly.

    Parameters
    ----------
    dataset : TrajectoryDataset or GeneratedDataset
        What to sample.
    seed : int
        Of the order; the same on all ranks.
    epoch : int
        The first epoch; see `set_epoch`.
    rank, world_size : int
        Which of how many processes that train together, counted from 0.
    window : int
        Shards that are shuffled together.

    Examples
    --------
    >>> dataset = GeneratedDataset(DatasetSpec.from_fields(samples=8, frames=4, height=16, width=16))
    >>> sorted(ShardShuffleSampler(dataset, seed=3))
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def __init__(
        self,
        dataset: _SampleDataset,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        window: int = WINDOW,
    ) -> None:
        self._shards = dataset.shards
        self._digest = zlib.crc32(np.ascontiguousarray(dataset.rows, "<i8").tobytes())
        self.seed = seed
        self.epoch = epoch
        self.rank = rank
        self.world_size = world_size
        self.window = window
        self._start = 0  # where the next iteration begins, counted over all ranks
        self._begun = 0  # where this one has begun
        self._handed_out = 0  # what it has handed out on this rank
        self._deal()  # checks the arguments

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; choosing the one that `load_state_dict` has restored goes on in its middle.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self._start = self._begun = self._handed_out = 0

    def state_dict(self, *, consumed: int | None = None) -> dict[str, int]:
        """Where the sampler is.

        Parameters
        ----------
        consumed : int, optional
            Samples that this rank has trained with since the epoch was begun or resumed. Needed with the workers of
            a loader, which take samples from the sampler ahead of training; by default all that were handed out.

        Returns
        -------
        dict
            Plain numbers; the same on every rank.
        """
        mine = self._handed_out if consumed is None else consumed
        position = self._begun + mine * self.world_size
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "window": self.window,
            "samples": len(self._shards),
            "digest": self._digest,
            "position": min(position, len(self._shards)),
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another sampler was, also with another number of ranks.

        Parameters
        ----------
        state : dict
            From `state_dict`.

        Raises
        ------
        SpecError
            If it comes from another order or from other samples.
        """
        mine = self.state_dict() | {"epoch": state["epoch"], "position": state["position"]}
        differing = [name for name in mine if mine[name] != state.get(name)]
        if differing:
            found = ", ".join(f"{name} {state.get(name)}" for name in differing)
            expected = ", ".join(f"{name} {mine[name]}" for name in differing)
            message = (
                f"sampler state: found {found}, expected {expected}; "
                "use the arguments and the dataset that the state was saved with"
            )
            raise SpecError(message)
        self.epoch = state["epoch"]
        self._start = self._begun = state["position"]
        self._handed_out = 0

    def __len__(self) -> int:
        """Samples of a whole epoch of this rank."""
        return -(-len(self._shards) // self.world_size)

    def __iter__(self) -> Iterator[int]:
        mine = self._deal()
        self._begun, self._handed_out = self._start, 0
        for index in mine.tolist():
            self._handed_out += 1
            yield index
        self._start = 0

    def _deal(self) -> NDArray[np.int64]:
        """What is left of the epoch for this rank."""
        order = order_epoch(self._shards, seed=self.seed, epoch=self.epoch, window=self.window)
        return deal(order, rank=self.rank, world_size=self.world_size, start=self._start)


def collate(samples: list[Any]) -> Any:
    """Make a batch of samples, without copying where they lie one after the other already.

    Parameters
    ----------
    samples : list
        From a dataset's ``__getitems__``.

    Returns
    -------
    dict of tensors
        The same as from `torch.utils.data.default_collate`, which copies every sample.
    """
    if isinstance(samples, Batch):
        return samples.tensors
    return default_collate(samples)


class _BufferPool:
    """Memory for batches, used again when nobody holds the last batch any more.

    Fresh memory costs as much as reading into it, and several times as much where it is shared between processes: the
    system clears and maps each page first.
    """

    def __init__(self) -> None:
        self._spare: list[NDArray[np.uint8]] = []
        self._shared: list[torch.Tensor] = []

    def allocate(self, shape: tuple[int, ...]) -> torch.Tensor:
        """An uint8 tensor that is not initialised."""
        size = prod(shape)
        memory = next((spare for spare in self._spare if spare.size == size), None)
        if memory is None:
            memory = np.empty(size, np.uint8)
        else:
            self._spare = [spare for spare in self._spare if spare is not memory]
        return _lend(memory, self._take_back, memory)[:size].view(shape)

    def allocate_shared(self, shape: tuple[int, ...]) -> tuple[torch.Tensor, _Loan]:
        """The same in memory that the parent of a loader's worker sees."""
        size = prod(shape)
        memory = next((free for free in self._shared if free.numel() > size and not free[-1]), None)
        if memory is None:
            # as default_collate does
            storage = torch.UntypedStorage._new_shared(size + 1, device="cpu")  # type: ignore[no-untyped-call]
            memory = torch.empty(0, dtype=torch.uint8).set_(storage)
            used = [other for other in self._shared if other[-1]]
            self._shared = [memory, *used][:SHARED_BUFFERS]
        loan = _Loan(memory)
        return _lend(memory.numpy(), loan.end)[:size].view(shape), loan

    def _take_back(self, memory: NDArray[np.uint8]) -> None:
        """Keep memory that nobody holds any more, and forget what was not used for long."""
        self._spare = [memory, *self._spare][:SPARE_BUFFERS]

    def __getstate__(self) -> dict[str, Any]:
        return {"_spare": [], "_shared": []}


class _Loan:
    """Shared memory that one batch occupies: its last byte says so, to both processes.

    It ends where the batch is dropped: in the worker, or, once it is sent, in the process that has received it.
    """

    def __init__(self, memory: torch.Tensor) -> None:
        self.memory = memory
        self._owner: int | None = os.getpid()
        memory[-1] = 1

    def send(self) -> torch.Tensor:
        """Leave the loan to the process that receives the memory."""
        self._owner = None
        return self.memory

    def end(self) -> None:
        """Free the memory, unless it was sent, or this is a fork of the process that holds it."""
        if self._owner == os.getpid():
            self.memory[-1] = 0


class _SharedBatch(dict[str, torch.Tensor]):
    """A batch in a worker; what arrives in the parent is a plain dict."""

    loan: _Loan
    video: torch.Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        if self.get("video") is not self.video:  # somebody has put something else there
            return dict, (dict(self),)
        return _receive, (
            self.loan.send(),
            self.video.shape,
            self.video.stride(),
            dict(self) | {"video": None},
        )


def _receive(
    memory: torch.Tensor, shape: tuple[int, ...], stride: tuple[int, ...], tensors: dict[str, Any]
) -> Sample:
    """A batch that a worker has sent, and word to the worker when nobody holds it any more."""
    video = _lend(memory.numpy(), _Loan(memory).end).as_strided(shape, stride)
    return tensors | {"video": video}


def _lend(memory: NDArray[np.uint8], give_back: Callable[..., None], *arguments: Any) -> torch.Tensor:
    """A tensor over some memory, and a call when it and all its views are gone."""
    lent = memory[:]
    # tensors and arrays that are made from this one hold this very array, and not what it is a view of
    weakref.finalize(lent, give_back, *arguments).atexit = False
    return torch.from_numpy(lent)


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


def _to_tensor(values: NDArray[Any]) -> torch.Tensor:
    """Labels as a tensor; class numbers as int64, which loss functions want."""
    return torch.from_numpy(values.astype(np.int64) if values.dtype == np.int8 else values)


def _check_layout(layout: str, *, cameras: int) -> tuple[int, ...]:
    """The permutation that turns what is stored into a layout."""
    stored = STORED_LAYOUT
    if sorted(layout) == sorted("TCHW") and cameras == 1:
        stored = "TCHW"
    if sorted(layout) != sorted(stored):
        message = (
            f"layout: found {layout!r} with {cameras} cameras, expected an order of the letters VTCHW "
            "(camera, frame, channel, height, width), such as 'VCTHW', or without V where one camera is chosen"
        )
        raise SpecError(message)
    return tuple(stored.index(letter) for letter in layout)


def _check_columns(columns: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raise unless all columns exist."""
    for name in columns:
        if name not in known:
            message = f"columns: found {name!r}, expected some of {', '.join(known)}"
            raise SpecError(message)
