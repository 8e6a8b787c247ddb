"""Memory for batches, used again when nobody holds the last batch any more, also between processes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Sample = dict[str, Any]
"""Tensors by name; a caption is a str, those of a batch are a list of them."""

SPARE_BUFFERS: Final = 2
"""Batches whose memory is kept for the next ones."""

SHARED_BUFFERS: Final = 8
"""The same in each worker of a loader; those that the parent holds are among them."""


ALIGNMENT: Final = 64
"""Each array of a batch begins at a multiple of so many bytes of its memory."""


class Room(NamedTuple):
    """What one array of a batch needs."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class BufferPool:
    """Memory for batches, used again when nobody holds the last batch any more.

    Fresh memory costs as much as reading into it, and several times as much where it is shared between processes: the
    system clears and maps each page first.
    """

    def __init__(self) -> None:
        self._spare: list[NDArray[np.uint8]] = []
        self._shared: list[torch.Tensor] = []

    def allocate(self, rooms: Sequence[Room]) -> list[torch.Tensor]:
        """Tensors that are not initialised, one after the other in memory."""
        offsets, size = _lay_out(rooms)
        memory = next((spare for spare in self._spare if spare.size == size), None)
        if memory is None:
            memory = np.empty(size, np.uint8)
        else:
            self._spare = [spare for spare in self._spare if spare is not memory]
        return _cut(_lend(memory, self._take_back, memory), rooms, offsets)

    def allocate_shared(self, rooms: Sequence[Room]) -> tuple[list[torch.Tensor], Loan]:
        """The same in memory that the parent of a loader's worker sees."""
        offsets, size = _lay_out(rooms)
        memory = next((free for free in self._shared if free.numel() > size and not free[-1]), None)
        if memory is None:
            # as default_collate does
            storage = torch.UntypedStorage._new_shared(size + 1, device="cpu")  # type: ignore[no-untyped-call]
            memory = torch.empty(0, dtype=torch.uint8).set_(storage)
            used = [other for other in self._shared if other[-1]]
            self._shared = [memory, *used][:SHARED_BUFFERS]
        loan = Loan(memory)
        return _cut(_lend(memory.numpy(), loan.end), rooms, offsets), loan

    def _take_back(self, memory: NDArray[np.uint8]) -> None:
        """Keep memory that nobody holds any more, and forget what was not used for long."""
        self._spare = [memory, *self._spare][:SPARE_BUFFERS]

    def __getstate__(self) -> dict[str, Any]:
        return {"_spare": [], "_shared": []}


class Loan:
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


class SharedBatch(dict[str, Any]):
    """A batch in a worker, of which some tensors lie in shared memory; what arrives in the parent is a plain dict."""

    loan: Loan
    shared: dict[str, torch.Tensor]

    def __reduce__(self) -> tuple[Any, ...]:
        if any(self.get(name) is not tensor for name, tensor in self.shared.items()):
            return dict, (dict(self),)  # somebody has put something else there
        places = {
            name: (tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())
            for name, tensor in self.shared.items()
        }
        return _receive, (self.loan.send(), places, dict(self) | dict.fromkeys(places))


Place = tuple[torch.dtype, int, tuple[int, ...], tuple[int, ...]]
"""Where a tensor lies in memory: its dtype, and its offset, shape and stride in elements."""


def _receive(memory: torch.Tensor, places: dict[str, Place], tensors: dict[str, Any]) -> Sample:
    """A batch that a worker has sent, and word to the worker when nobody holds it any more."""
    storage = _lend(memory.numpy(), Loan(memory).end).untyped_storage()
    return tensors | {
        name: torch.empty(0, dtype=dtype).set_(storage, offset, shape, stride)
        for name, (dtype, offset, shape, stride) in places.items()
    }


def _lay_out(rooms: Sequence[Room]) -> tuple[list[int], int]:
    """Where each array begins, and the size of all, in bytes."""
    offsets, size = [], 0
    for room in rooms:
        offsets.append(-(-size // ALIGNMENT) * ALIGNMENT)
        size = offsets[-1] + prod(room.shape) * room.dtype.itemsize
    return offsets, size


def _cut(memory: torch.Tensor, rooms: Sequence[Room], offsets: Sequence[int]) -> list[torch.Tensor]:
    """Tensors over parts of some memory, which hold all of it."""
    cut = []
    for room, offset in zip(rooms, offsets, strict=True):
        part = memory[offset : offset + prod(room.shape) * room.dtype.itemsize]
        cut.append(part.view(getattr(torch, room.dtype.name)).view(room.shape))
    return cut


def _lend(memory: NDArray[np.uint8], give_back: Callable[..., None], *arguments: Any) -> torch.Tensor:
    """A tensor over some memory, and a call when it and all its views are gone."""
    lent = memory[:]
    # tensors and arrays that are made from this one hold this very array, and not what it is a view of
    weakref.finalize(lent, give_back, *arguments).atexit = False
    return torch.from_numpy(lent)
