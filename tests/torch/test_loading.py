from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray

import trajstore
from trajstore.errors import SpecError
from trajstore.reading.store import open_reader
from trajstore.spec import DatasetSpec
from trajstore.torch import GeneratedDataset, ShardShuffleSampler, TrajectoryDataset, loaders

pytestmark = pytest.mark.torch


def test_a_loader_for_each_split(tiny_store: Path, tiny_spec: DatasetSpec):
    split = xarray.open_zarr(tiny_store, chunks=None).split.values
    for source, kind in ((tiny_store, TrajectoryDataset), (str(tiny_store), TrajectoryDataset),
                         (tiny_spec, GeneratedDataset)):  # fmt: skip
        made = loaders(source, batch_size=5, seed=3, cameras=[0], layout="CTHW", columns=["class_label"])
        orders = []
        for number, loader in enumerate(made):
            assert isinstance(loader.dataset, kind)
            batches = list(loader)
            assert {len(batch["video"]) for batch in batches[:-1]} <= {5}
            assert batches[0]["video"].shape[1:] == (3, 4, 16, 16)
            orders.append(torch.cat([batch["row"] for batch in batches]).tolist())
            assert sorted(orders[-1]) == np.flatnonzero(split == number).tolist()
        train, val, test = orders
        assert (
            train == made.train.dataset.rows[list(ShardShuffleSampler(made.train.dataset, seed=3))].tolist()
        )
        assert (val, test) == (sorted(val), sorted(test))
        made.train.sampler.set_epoch(1)
        assert [row for batch in made.train for row in batch["row"].tolist()] != train


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_stay_for_the_next_epoch(tiny_store: Path):
    train = loaders(tiny_store, batch_size=4, num_workers=1).train
    rows, workers = [], set()
    for epoch in range(2):
        train.sampler.set_epoch(epoch)
        rows.append([row for batch in train for row in batch["row"].tolist()])
        workers |= {worker.pid for worker in train._iterator._workers}
    assert len(workers) == 1
    assert rows[0] != rows[1]
    assert sorted(rows[0]) == sorted(rows[1]) == train.dataset.rows.tolist()


def test_a_bucket_is_read_by_workers_that_are_no_forks(tiny_store: Path, monkeypatch: pytest.MonkeyPatch):
    assert loaders(tiny_store, num_workers=1).train.multiprocessing_context is None  # what is usual here
    reader = open_reader(tiny_store)
    reader.waits = True
    monkeypatch.setattr("trajstore.torch.datasets.open_reader", lambda *_, **__: reader)
    assert loaders(tiny_store).train.multiprocessing_context is None
    context = loaders(tiny_store, num_workers=1).train.multiprocessing_context
    assert context.get_start_method() == "forkserver"


def test_a_split_without_samples_says_so_when_it_is_read(tmp_path: Path, tiny_fields: dict[str, Any]):
    fields = tiny_fields | {"samples": 8, "train": 1.0, "val": 0.0, "test": 0.0}
    trajstore.build(tmp_path / "s.zarr", **fields)
    for source in (tmp_path / "s.zarr", DatasetSpec.from_fields(**fields)):
        train, val, test = loaders(source, num_workers=1)
        assert (len(train), len(val), len(test)) == (1, 0, 0)
        with pytest.raises(SpecError, match="split 'val' is empty, expected at least one of 8 samples"):
            list(val)
    train = loaders(tmp_path / "s.zarr", where={"row": 9}).train
    train.sampler.set_epoch(3)
    with pytest.raises(SpecError, match="split 'train' where row matches none of 8 samples"):
        list(train)
    with pytest.raises(SpecError, match="where: class_name: found 'Linea'"):
        loaders(tmp_path / "s.zarr", where={"class_name": "Linea"})
