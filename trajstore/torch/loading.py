"""Loaders for training, validation and test, in one call."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Sampler

from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location
from trajstore.torch.datasets import (
    GeneratedDataset,
    NoSamplesError,
    SampleDataset,
    TrajectoryDataset,
    collate,
)
from trajstore.torch.sampler import ShardShuffleSampler


class Loaders(NamedTuple):
    """A `torch.utils.data.DataLoader` for each split.

    Attributes
    ----------
    train : DataLoader
        Shuffled by a `ShardShuffleSampler`: call ``train.sampler.set_epoch(epoch)`` before each epoch.
    val, test : DataLoader
        In the order of the rows.
    """

    train: DataLoader[Any]
    val: DataLoader[Any]
    test: DataLoader[Any]


def loaders(
    source: str | Path | Location | DatasetSpec,
    *,
    batch_size: int = 32,
    seed: int = 0,
    num_workers: int = 0,
    **dataset_options: Any,
) -> Loaders:
    """Make a loader for each split of a store.

    Parameters
    ----------
    source : path-like or DatasetSpec
        The store; or a spec, whose samples are drawn when they are asked for.
    batch_size : int
        Samples in a batch; the last batch of an epoch may be smaller.
    seed : int
        Of the order of the training samples.
    num_workers : int
        Processes that read for each loader and live as long as it. With 0, this process reads, in threads.
    **dataset_options
        Arguments of `TrajectoryDataset` or `GeneratedDataset`, other than ``split``.

    Returns
    -------
    Loaders
        ``train``, ``val`` and ``test``. Memory is pinned where there is a GPU. A loader of a split that has no samples
        has a length of 0, and raises when it is iterated.

    Raises
    ------
    SpecError
        If an argument does not fit the store.
    IncompleteStoreError
        If samples are not written yet.
    StoreError
        If there is no store.

    Examples
    --------
    >>> from trajstore import DatasetSpec
    >>> train, val, test = loaders(DatasetSpec.from_fields(samples=80, frames=4, height=16, width=16), batch_size=8)
    >>> len(train), len(val), len(test)
    (7, 2, 2)
    """
    if isinstance(source, DatasetSpec):
        dataset_type: Any = GeneratedDataset
    else:
        dataset_type = TrajectoryDataset
    made = {}
    for split in SPLIT_NAMES:
        try:
            dataset: SampleDataset = dataset_type(source, split=split, **dataset_options)
        except NoSamplesError as error:
            made[split] = DataLoader[Any]([], sampler=_Nothing(error))  # type: ignore[arg-type]
            continue
        made[split] = DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=ShardShuffleSampler(dataset, seed=seed) if split == "train" else None,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context=_choose_start() if num_workers and dataset.samples.waits else None,
            persistent_workers=num_workers > 0,
        )
    return Loaders(**made)


class _Nothing(Sampler[int]):
    """What to say instead of an order of no samples."""

    def __init__(self, error: NoSamplesError) -> None:
        self.error = error

    def __iter__(self) -> Iterator[int]:
        raise NoSamplesError(str(self.error))

    def __len__(self) -> int:
        return 0

    def set_epoch(self, epoch: int) -> None:
        """Take part in a loop over epochs."""


def _choose_start() -> str:
    """How workers start that read a bucket: its client has threads, which a fork does not take along."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
