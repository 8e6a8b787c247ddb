"""A shuffled order of samples that reads a few shards at a time, for one rank of several."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler, Subset

from trajstore.errors import SpecError
from trajstore.torch.datasets import SampleDataset
from trajstore.torch.shuffle import deal, order_epoch

WINDOW: Final = 16
"""Shards that are shuffled together: of default samples 4,000 rows, 110 MB of the page cache."""


class ShardShuffleSampler(Sampler[int]):
    """A shuffled order of samples that reads a few shards at a time, for one rank of several.

    It is a pure function of the arguments and the epoch. All ranks get the same number of samples; together they get
    every sample once, and a few twice where it does not divide evenly.

    Parameters
    ----------
    dataset : TrajectoryDataset, GeneratedDataset or Subset
        What to sample; a `torch.utils.data.Subset`, such as `random_split` makes, is one of a part of them.
    seed : int
        Seed of the order; the same on all ranks.
    epoch : int
        The first epoch; see `set_epoch`.
    rank, world_size : int
        Which of how many processes that train together, counted from 0.
    window : int
        Shards that are shuffled together.

    Examples
    --------
    >>> from trajstore import DatasetSpec
    >>> from trajstore.torch import GeneratedDataset
    >>> dataset = GeneratedDataset(DatasetSpec.from_fields(samples=8, frames=4, height=16, width=16))
    >>> sorted(ShardShuffleSampler(dataset, seed=3))
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def __init__(
        self,
        dataset: SampleDataset | Subset[Any],
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        window: int = WINDOW,
    ) -> None:
        source, chosen = _find_source(dataset)
        self._shards = source.shards[chosen]
        self._digest = zlib.crc32(np.ascontiguousarray(source.rows[chosen], "<i8").tobytes())
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
        """Choose the epoch. The one that `load_state_dict` has restored continues in its middle.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self._start = self._begun = self._handed_out = 0

    def state_dict(self, *, consumed: int | None = None) -> dict[str, int]:
        """Position of the sampler in its epoch.

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
        """Continue where another sampler stopped, even with another number of ranks.

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


def _find_source(dataset: SampleDataset | Subset[Any]) -> tuple[SampleDataset, NDArray[np.int64] | slice]:
    """The dataset that a subset is part of, also of another subset, and which of its samples."""
    if isinstance(dataset, SampleDataset):
        return dataset, slice(None)
    if isinstance(dataset, Subset):
        source, chosen = _find_source(dataset.dataset)  # type: ignore[arg-type]
        return source, np.arange(len(source))[chosen][np.array(dataset.indices, np.int64)]
    found = type(dataset).__name__
    message = f"dataset: found {found}, expected a TrajectoryDataset, a GeneratedDataset or a Subset of one"
    raise SpecError(message)
