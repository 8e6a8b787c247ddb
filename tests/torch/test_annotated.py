"""Annotations as tensors: of the same cameras, frames and layout as the frames, and in the same memory."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

import trajstore
from trajstore.errors import IncompleteStoreError, SpecError
from trajstore.reading.store import StoreReader, open_reader
from trajstore.spec import ANNOTATIONS
from trajstore.store.groups.annotations import ARRAYS
from trajstore.torch import GeneratedDataset, TrajectoryDataset, collate

pytestmark = pytest.mark.torch

DIMS = {array.name: array.dims.split() for arrays in ARRAYS.values() for array in arrays}
MEANT = {"V": ("camera",), "T": ("frame",), "C": ("channel", "uv", "axis"), "H": ("y",), "W": ("x",)}
INDICES = [5, 2, 43, 2]


@pytest.fixture(scope="module")
def reader(annotated_store: Path) -> StoreReader:
    return open_reader(annotated_store)


@pytest.fixture(scope="module")
def dataset(annotated_store: Path) -> TrajectoryDataset:
    return TrajectoryDataset(annotated_store, columns=[*ANNOTATIONS, "class_label"])


def equal(batch: dict[str, Any], other: dict[str, Any]) -> bool:
    return batch.keys() == other.keys() and all(
        value.dtype == other[name].dtype
        and np.array_equal(value, other[name], equal_nan=value.is_floating_point())
        for name, value in batch.items()
    )


@pytest.mark.parametrize("layout", ["VTCHW", "VCTHW", "VTHWC", "TVHWC", "CTHW", "THWC"])
def test_layouts_leave_out_what_there_is_not(annotated_store: Path, reader: StoreReader, layout: str) -> None:
    choice: dict[str, Any] = {"cameras": [1] if "V" not in layout else [1, 0], "frames": [4, 2]}
    options = choice | {"layout": layout, "columns": ANNOTATIONS}
    stored = TrajectoryDataset(annotated_store, **options)
    batch = collate(stored.__getitems__(INDICES))
    assert batch.keys() == {"video", "row", *DIMS}
    for group in ANNOTATIONS:
        for name, values in reader.read_group(group, INDICES, **choice).items():
            dims = DIMS[name]
            if "V" not in layout:
                values, dims = (
                    values.squeeze(1 + dims.index("camera")),
                    [dim for dim in dims if dim != "camera"],
                )
            if "y" in dims:
                wanted = [dim for letter in layout for dim in MEANT[letter] if dim in dims]
                wanted = [*(["body"] if "body" in dims else []), *wanted]
                values = values.transpose(0, *(1 + dims.index(dim) for dim in wanted))
            assert batch[name].dtype == getattr(torch, values.dtype.name)
            np.testing.assert_array_equal(batch[name], values, err_msg=name)
    generated = GeneratedDataset(reader.spec.replace(groups=[]), **options)
    assert equal(collate(generated.__getitems__(INDICES)), batch)
    for other in (stored, generated):
        assert equal(default_collate([other[index] for index in INDICES]), batch)


def test_arrays_are_named_alone_or_by_their_group(annotated_store: Path, dataset: TrajectoryDataset) -> None:
    alone = TrajectoryDataset(annotated_store, columns=["depth_map", "backward_flow", "flow"])
    assert alone[3].keys() == {"video", "depth_map", "forward_flow", "backward_flow", "row"}
    assert all(np.array_equal(alone[3][name], dataset[3][name], equal_nan=True) for name in alone[3])


def test_a_batch_is_decoded_where_it_stays(dataset: TrajectoryDataset) -> None:
    batch = dataset.__getitems__(INDICES)
    tensors = collate(batch)
    for name in DIMS:
        assert tensors[name].untyped_storage().data_ptr() == tensors["video"].untyped_storage().data_ptr()
        assert batch[0][name].data_ptr() == tensors[name].data_ptr()
        assert tensors[name].data_ptr() % tensors[name].element_size() == 0
        assert tensors[name].is_contiguous()


def test_memory_is_used_again_only_when_no_array_is_held(dataset: TrajectoryDataset) -> None:
    kept = [
        (first, name, collate(dataset.__getitems__([first, first + 1]))[name][1])
        for first, name in enumerate(DIMS)
    ]
    for _ in range(4):
        dataset.__getitems__([40, 41])
    for first, name, values in kept:
        np.testing.assert_array_equal(values, dataset[first + 1][name])
    del kept, values
    places = {collate(dataset.__getitems__([1, 2]))["amodal"].data_ptr() for _ in range(20)}
    assert len(places) <= 3


def test_shared_memory_is_used_again_only_when_no_array_is_held(
    dataset: TrajectoryDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trajstore.torch.datasets.get_worker_info", object)

    def send(indices: list[int]) -> dict[str, Any]:
        make, arguments = collate(dataset.__getitems__(indices)).__reduce__()
        received: dict[str, Any] = make(*arguments)
        return received

    first = send([3, 4])
    place, held = first["video"].data_ptr(), first["backward_flow"][1]
    assert equal(first, default_collate([dataset[3], dataset[4]]))
    del first
    assert place not in {send([7, 8])["video"].data_ptr() for _ in range(10)}
    np.testing.assert_array_equal(held, dataset[4]["backward_flow"])
    del held
    assert place in {batch["video"].data_ptr() for batch in [send([9, 10]) for _ in range(10)]}

    batch = collate(dataset.__getitems__([1, 2]))
    batch["normals"] = batch["normals"] * 2  # what a worker changes arrives changed
    make, arguments = batch.__reduce__()
    assert equal(make(*arguments), dict(batch))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers(annotated_store: Path, reader: StoreReader, dataset: TrajectoryDataset) -> None:
    generated = GeneratedDataset(reader.spec, columns=dataset.columns)
    for source in (dataset, generated):
        loader = DataLoader(source, batch_size=8, num_workers=2, collate_fn=collate, timeout=100)
        for number, batch in enumerate(loader):
            rows = range(8 * number, min(8 * number + 8, 44))
            assert batch["row"].tolist() == list(rows)
            assert equal(batch, collate(dataset.__getitems__(rows)))


def test_pickles_small(dataset: TrajectoryDataset) -> None:
    dataset.__getitems__(range(6))
    data = pickle.dumps(dataset)
    assert len(data) < 20_000
    assert equal(pickle.loads(data)[3], dataset[3])


def test_rows_are_those_of_which_all_is_written(annotated_store: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(annotated_store, tmp_path / "copy.zarr"))
    (copy / "flow_written/c.1").unlink()
    assert len(TrajectoryDataset(copy, columns=["segmentation"])) == 44
    with pytest.raises(IncompleteStoreError, match=r"36 of 44 samples are written; .*trajstore build .*copy"):
        TrajectoryDataset(copy, columns=["backward_flow"])
    some = TrajectoryDataset(copy, columns=["flow"], only_written=True)
    assert some.rows.tolist() == [*range(8), *range(16, 44)]


def test_annotations_that_a_store_does_not_have_name_the_command(tiny_copy: Path) -> None:
    trajstore.annotate(tiny_copy, "depth_map")
    message = (
        rf"found 'forward_flow', expected .*, depth_map; add it with: trajstore annotate {tiny_copy} flow$"
    )
    with pytest.raises(SpecError, match=message):
        TrajectoryDataset(tiny_copy, columns=["forward_flow"])
    for name in ("video", "labels", "masks"):
        with pytest.raises(
            SpecError, match=rf"columns: found '{name}', expected one of .*, caption, depth_map$"
        ):
            TrajectoryDataset(tiny_copy, columns=[name])
