from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from support.faults import tree
from support.swift_server import SwiftServer

import trajstore
from trajstore import cli
from trajstore.torch import TrajectoryDataset, loaders

pytestmark = pytest.mark.torch


def test_epoch_of_training_out_of_a_bucket(swift: SwiftServer, bucket: str, tiny_store: Path):
    """By two workers, although this process has read the bucket before them."""
    swift.upload(tiny_store, bucket)
    storage_options = swift.options()
    url = f"s3://{bucket}/store.zarr"
    TrajectoryDataset(url, storage_options=storage_options)[0]
    multiprocessing.set_forkserver_preload(["trajstore.torch"])
    loader = loaders(url, batch_size=4, seed=1, num_workers=2, storage_options=storage_options).train
    seen = []
    with trajstore.open_reader(tiny_store) as local:
        for batch in loader:
            rows = batch["row"].numpy()
            np.testing.assert_array_equal(batch["video"], local.read(rows))
            np.testing.assert_array_equal(batch["class_label"], local.column("class_label", rows))
            seen += rows.tolist()
        assert sorted(seen) == local.split_rows("train").tolist()


@pytest.mark.parametrize("where", [[], ["--executor", "dask", "--workers", "1"]])
def test_export_out_of_a_bucket(
    swift: SwiftServer, bucket: str, tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    where: list[str],
):  # fmt: skip
    swift.upload(tiny_store, bucket)
    options = [part for pair in swift.options().items() for part in ("--storage-option", "=".join(pair))]
    url, found, expected = f"s3://{bucket}/store.zarr", tmp_path / "found", tmp_path / "expected"
    cli.app(["export", url, str(found), "--rows", "4:20", "-q", *options, *where], standalone_mode=False)
    trajstore.export(tiny_store, expected, rows="4:20")
    differing = {name for name, data in tree(expected).items() if tree(found).get(name) != data}
    assert differing == {"metadata.json"}  # names the store
    cli.app(["validate", str(found), "--against", url, "-q", *options], standalone_mode=False)
    assert "valid" in capsys.readouterr().out
