"""Memory for batches, used again when nobody holds the last batch any more, also between processes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from math import prod
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

Sample = dict[str, Any]
"""Tensors by name; a caption is a str, those of a batch are a list of them."""

SPARE_BUFFERS: Final = 2
"""Batches whose memory is kept for the next ones."""

SHARED_BUFFERS: Final = 8
"""The same in each worker of a loader; those that the parent holds are among them."""


class BufferPool:
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

    def allocate_shared(self, shape: tuple[int, ...]) -> tuple[torch.Tensor, Loan]:
        """The same in memory that the parent of a loader's worker sees."""
        size = prod(shape)
        memory = next((free for free in self._shared if free.numel() > size and not free[-1]), None)
        if memory is None:
            # as default_collate does
            storage = torch.UntypedStorage._new_shared(size + 1, device="cpu")  # type: ignore[no-untyped-call]
            memory = torch.empty(0, dtype=torch.uint8).set_(storage)
            used = [other for other in self._shared if other[-1]]
            self._shared = [memory, *used][:SHARED_BUFFERS]
        loan = Loan(memory)
        return _lend(memory.numpy(), loan.end)[:size].view(shape), loan

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
    """A batch in a worker; what arrives in the parent is a plain dict."""

    loan: Loan
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
    video = _lend(memory.numpy(), Loan(memory).end).as_strided(shape, stride)
    return tensors | {"video": video}


def _lend(memory: NDArray[np.uint8], give_back: Callable[..., None], *arguments: Any) -> torch.Tensor:
    """A tensor over some memory, and a call when it and all its views are gone."""
    lent = memory[:]
    # tensors and arrays that are made from this one hold this very array, and not what it is a view of
    weakref.finalize(lent, give_back, *arguments).atexit = False
    return torch.from_numpy(lent)
