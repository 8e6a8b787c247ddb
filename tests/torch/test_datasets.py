from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from support.faults import flip_bit
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split

import trajstore
from trajstore.errors import CorruptDataError, IncompleteStoreError, RowRangeError, SpecError, StoreError
from trajstore.spec import DatasetSpec
from trajstore.torch import (
    Batch,
    GeneratedDataset,
    ShardShuffleSampler,
    TrajectoryDataset,
    collate,
)

pytestmark = pytest.mark.torch

FLAG = "video_written/c.{}"


@pytest.fixture(scope="module")
def stored(tiny_store: Path) -> xarray.Dataset:
    return xarray.open_zarr(tiny_store, chunks=None).load()


@pytest.fixture(scope="module")
def dataset(tiny_store: Path) -> TrajectoryDataset:
    return TrajectoryDataset(tiny_store)


def equal(sample: dict[str, Any], other: dict[str, Any]) -> bool:
    return sample.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in sample.items()
    )


def double(sample: dict[str, Any]) -> Any:
    """A transform, here so that it can be pickled."""
    return sample["video"].float() * 2


def test_sample_is_frames_and_targets(dataset: TrajectoryDataset, stored: xarray.Dataset):
    assert len(dataset) == 44
    sample = dataset[43]
    assert sample.keys() == {"video", "class_label", "future_position", "row"}
    assert sample["video"].dtype == torch.uint8
    assert sample["class_label"].dtype == torch.int64
    np.testing.assert_array_equal(sample["video"], stored.video[43])
    np.testing.assert_array_equal(sample["future_position"], stored.future_position[43])
    assert sample["class_label"] == int(stored.class_label[43])
    assert sample["row"] == 43
    assert equal(dataset[-1], sample)


def test_batch_is_its_samples(dataset: TrajectoryDataset):
    indices = [3, 40, 3, -1]
    batch = dataset.__getitems__(indices)
    assert isinstance(batch, Batch)
    assert all(equal(sample, dataset[index]) for sample, index in zip(batch, indices, strict=True))
    assert equal(collate(batch), default_collate([dataset[index] for index in indices]))
    assert equal(default_collate(batch), collate(batch))
    assert all(map(equal, batch[1:], [dataset[index] for index in indices[1:]]))
    assert collate(batch)["video"].data_ptr() == batch[0]["video"].data_ptr()


def test_split_cameras_frames_columns_and_layout(tiny_store: Path, stored: xarray.Dataset):
    dataset = TrajectoryDataset(
        tiny_store, split="train", cameras=[1], frames=[4, 2], layout="CTHW", columns=["box", "split"]
    )
    rows = np.flatnonzero(stored.split.values == 0)
    np.testing.assert_array_equal(dataset.rows, rows)
    sample = dataset[2]
    assert sample["video"].shape == (3, 2, 16, 16)
    expected = stored.video.values[rows[2], 1][[3, 1]].swapaxes(0, 1)
    np.testing.assert_array_equal(sample["video"], expected)
    np.testing.assert_array_equal(sample["box"], stored.box[rows[2]])
    assert sample["split"] == 0


def test_captions_are_text(tiny_store: Path, tiny_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch):
    columns = ["caption", "class_label"]
    stored, generated = (
        TrajectoryDataset(tiny_store, columns=columns),
        GeneratedDataset(tiny_spec, columns=columns),
    )
    assert stored[43]["caption"] == trajstore.caption(tiny_spec, 43)
    indices = [3, 4, 40, 3, -1]
    batch = stored.__getitems__(indices)
    assert collate(batch)["caption"] == [trajstore.caption(tiny_spec, row) for row in (3, 4, 40, 3, 43)]
    for dataset in (stored, generated):
        samples = [dataset[index] for index in indices]
        assert all(map(equal, samples, batch))
        assert equal(collate(batch), default_collate(samples))
    monkeypatch.setattr("trajstore.torch.datasets.get_worker_info", object)
    make, arguments = collate(stored.__getitems__(indices)).__reduce__()
    assert equal(make(*pickle.loads(pickle.dumps(arguments))), collate(batch))
    with pytest.raises(SpecError, match=r"columns: found 'captions', expected one of .*, caption"):
        TrajectoryDataset(tiny_store, columns=["captions"])


def test_every_label_column_of_a_world(world_store: Path):
    dtypes = {"int8": torch.int64, "uint8": torch.uint8, "int32": torch.int32, "bool": torch.bool,
              "float32": torch.float32, "float64": torch.float64}  # fmt: skip
    world = xarray.open_zarr(world_store, chunks=None).load()
    names = [
        str(name) for name, array in world.data_vars.items() if array.dims[0] == "sample" and name != "video"
    ]
    dataset = TrajectoryDataset(world_store, cameras=[1], frames=[2, 4], columns=[*names, "caption"])
    generated = GeneratedDataset(
        dataset.samples.spec, cameras=[1], frames=[2, 4], columns=[*names, "caption"]
    )
    indices = [5, 2, 43]
    batch = collate(dataset.__getitems__(indices))
    assert batch["video"].shape == (3, 1, 2, 3, 16, 16)
    assert {"in_view", "extrinsics", "body_position", "steepness", "shutter"} <= set(names)
    for name in names:  # of all cameras and frames, whichever are chosen; the poses of those that are chosen
        assert batch[name].dtype == dtypes[world[name].dtype.name]
        expected = world[name].values[indices]
        if name == "extrinsics":
            expected = expected[:, [1]][:, :, [1, 3]]
        np.testing.assert_array_equal(batch[name], expected, err_msg=name)
    for other in (
        collate(generated.__getitems__(indices)),
        default_collate([dataset[index] for index in indices]),
    ):
        assert other.keys() == batch.keys()
        assert other["caption"] == batch["caption"]
        for name in (*names, "video"):
            np.testing.assert_array_equal(other[name], batch[name], err_msg=name)


@pytest.mark.parametrize("layout", ["VTCHW", "VCTHW", "VTHWC", "TVHWC", "CVTHW"])
def test_layouts(tiny_store: Path, stored: xarray.Dataset, layout: str):
    video = TrajectoryDataset(tiny_store, layout=layout)[7]["video"]
    dims = dict(zip("VTCHW", ("camera", "frame", "channel", "y", "x"), strict=True))
    np.testing.assert_array_equal(video, stored.video[7].transpose(*(dims[letter] for letter in layout)))


def test_transform_is_applied_to_each_sample(tiny_store: Path, dataset: TrajectoryDataset):
    transformed = TrajectoryDataset(tiny_store, transform=double)
    assert torch.equal(transformed[3], dataset[3]["video"].float() * 2)
    loader = DataLoader(transformed, batch_size=4, collate_fn=collate)
    assert torch.equal(next(iter(loader))[3], transformed[3])


def test_memory_of_a_batch_is_used_again_only_when_nobody_holds_it(dataset: TrajectoryDataset):
    kept = []
    for start in range(0, 40, 4):
        batch = dataset.__getitems__(range(start, start + 4))
        match start % 3:  # what is held: the batch, a view of one sample, a NumPy view
            case 0:
                kept.append((start, collate(batch)["video"][0]))
            case 1:
                kept.append((start, batch[0]["video"][:, :]))
            case 2:
                kept.append((start, batch[0]["video"].numpy()[:]))
        dataset.__getitems__(range(4))
    for start, video in kept:
        np.testing.assert_array_equal(video, dataset[start]["video"])
    del kept, batch, video
    gc.collect()
    addresses = {dataset.__getitems__([index])[0]["video"].data_ptr() for index in range(10)}
    assert len(addresses) <= 3


def test_shared_memory_is_used_again_only_when_the_receiver_is_done(
    dataset: TrajectoryDataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trajstore.torch.datasets.get_worker_info", object)

    def send(indices: list[int]) -> dict[str, Any]:
        make, arguments = collate(dataset.__getitems__(indices)).__reduce__()
        return make(*arguments)

    first, second = send([3, 4]), send([5, 6])
    assert type(first) is dict
    assert first["video"].data_ptr() != second["video"].data_ptr()
    view, place = first["video"][1, :, 2], first["video"].data_ptr()
    child = os.fork()
    if not child:  # a fork that drops the batch says nothing
        del first, view
        os._exit(0)
    os.waitpid(child, 0)
    del first
    for _ in range(10):
        assert send([7, 8])["video"].data_ptr() != place
    np.testing.assert_array_equal(view, dataset[4]["video"][:, 2])
    del view
    again = [send([9, 10]) for _ in range(10)]
    assert place in [batch["video"].data_ptr() for batch in again]
    for batch in again:
        assert equal(batch, default_collate([dataset[9], dataset[10]]))
    # what is never sent is free when the worker drops it
    del again, batch
    places = {collate(dataset.__getitems__([1, 2]))["video"].data_ptr() for _ in range(20)}
    assert len(places) <= 3


def test_batch_that_a_worker_changes_arrives_changed(
    dataset: TrajectoryDataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trajstore.torch.datasets.get_worker_info", object)
    batch = collate(dataset.__getitems__([1, 2]))
    batch["video"] = batch["video"].float()
    batch["more"] = torch.ones(2)
    make, arguments = batch.__reduce__()
    assert equal(make(*arguments), dict(batch))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "training"}, "split: found 'training'"),
        ({"cameras": [2]}, "no camera 2"),
        ({"frames": [5]}, "no frame 5, expected some of 1 … 4"),
        ({"layout": "CTHW"}, "layout: found 'CTHW' with 2 cameras"),
        ({"layout": "CFTHW"}, "layout: found 'CFTHW'"),
        ({"columns": ["label"]}, "columns: found 'label', expected one of class_label"),
        ({"columns": ["intrinsic"]}, "found 'intrinsic', expected .* did you mean intrinsics"),
        ({"split": ["train", "training"]}, "split: found 'training'"),
        ({"split": []}, "split: found none, expected some of train, val, test"),
        (
            {"where": {"class": "Linear"}},
            "where: found 'class', expected one of row, class_name, .*did you mean",
        ),
        (
            {"where": {"class_name": "lineer"}},
            "class_name: found 'lineer', expected .*; did you mean Linear",
        ),
        (
            {"where": {"class_name": ["Linear", 3]}},
            "where: class_name: found 3, expected one of Linear, Circular",
        ),
        ({"where": {"split_name": "trian"}}, "split_name: found 'trian', .*; did you mean train"),
        (
            {"where": {"box": 0.0}},
            r"box has values of shape \(2, 4, 4\), .*from the column \(44, 2, 4, 4\) to a mask",
        ),
        (
            {"where": {"radius": np.sqrt}},
            r"function of radius gave float32 of shape \(44,\) .*expected bool of shape",
        ),
        (
            {"split": "val", "where": {"row": 44}},
            "split 'val' where row matches none of [0-9]+ samples, expected at least one",
        ),
    ],
)
def test_refuses_what_does_not_fit(
    tiny_store: Path, tiny_spec: DatasetSpec, arguments: dict[str, Any], message: str
):
    with pytest.raises(SpecError, match=message):
        TrajectoryDataset(tiny_store, **arguments)
    with pytest.raises(SpecError, match=message):
        GeneratedDataset(tiny_spec, **arguments)


def test_index_out_of_range(dataset: TrajectoryDataset):
    with pytest.raises(RowRangeError, match="sample 44 is out of range, expected 0 … 43 of all rows"):
        dataset[44]


def test_empty_split(tmp_path: Path, tiny_fields: dict[str, Any]):
    fields = tiny_fields | {"samples": 8, "train": 1.0, "val": 0.0, "test": 0.0}
    trajstore.build(tmp_path / "s.zarr", **fields)
    for make in (
        lambda: TrajectoryDataset(tmp_path / "s.zarr", split="val"),
        lambda: GeneratedDataset(DatasetSpec.from_fields(**fields), split="val"),
    ):
        with pytest.raises(SpecError, match="split 'val' is empty, expected at least one of 8 samples"):
            make()


def test_store_that_is_not_finished(tiny_copy: Path, stored: xarray.Dataset):
    (tiny_copy / FLAG.format(1)).unlink()
    with pytest.raises(IncompleteStoreError, match=r"36 of 44 samples are written; .*trajstore build .*copy"):
        TrajectoryDataset(tiny_copy)
    dataset = TrajectoryDataset(tiny_copy, only_written=True)
    expected = [*range(8), *range(16, 44)]
    assert dataset.rows.tolist() == expected
    # what it holds stays as it was, in other processes, too
    shutil.copy(tiny_copy / FLAG.format(0), tiny_copy / FLAG.format(1))
    assert pickle.loads(pickle.dumps(dataset)).rows.tolist() == expected
    assert len(TrajectoryDataset(tiny_copy)) == 44
    for index in range(6):
        (tiny_copy / FLAG.format(index)).unlink()
    with pytest.raises(IncompleteStoreError, match="0 of 44 samples"):
        TrajectoryDataset(tiny_copy, only_written=True)


def test_where_chooses_samples_by_their_labels(
    tiny_store: Path, tiny_spec: DatasetSpec, stored: xarray.Dataset
):
    label, split, radius = stored.class_label.values, stored.split.values, stored.radius.values
    names = np.array(tiny_spec.dataset.classes)
    middle = float(np.median(radius[split != 2]))
    for make in (
        lambda **options: TrajectoryDataset(tiny_store, **options),
        lambda **options: GeneratedDataset(tiny_spec, **options),
    ):
        for options, expected in (
            ({"where": {"class_name": "Circular"}}, names[label] == "Circular"),
            (
                {"where": {"class_label": {0, 3}, "row": range(5, 30)}},
                np.isin(label, [0, 3]) & _between(5, 30),
            ),
            ({"where": {"split_name": ["val", "test"]}}, split != 0),
            ({"where": {"box": lambda box: np.isfinite(box).all((1, 2, 3))}}, np.ones(44, bool)),
            # the function sees the samples of the splits, and no others
            (
                {"split": ["val", "train"], "where": {"radius": lambda values: values > np.median(values)}},
                (split != 2) & (radius > middle),
            ),
        ):
            dataset = make(**options)
            assert dataset.rows.tolist() == np.flatnonzero(expected).tolist()
            assert len(dataset) < 44 or "box" in options["where"]
            assert equal(dataset[-1], TrajectoryDataset(tiny_store)[int(dataset.rows[-1])])
            # what a worker gets: functions are not sent
            assert pickle.loads(pickle.dumps(dataset)).rows.tolist() == dataset.rows.tolist()


def _between(first: int, stop: int) -> Any:
    return (np.arange(44) >= first) & (np.arange(44) < stop)


def test_where_reads_only_what_is_written(tiny_copy: Path, stored: xarray.Dataset):
    written = sorted(path.name for path in tiny_copy.glob("labels_written/c.*"))
    assert written
    (tiny_copy / FLAG.format(1)).unlink()
    dataset = TrajectoryDataset(tiny_copy, where={"class_name": "Linear"}, only_written=True)
    expected = [row for row in np.flatnonzero(stored.class_label == 0).tolist() if not 8 <= row < 16]
    assert dataset.rows.tolist() == expected


def test_several_splits(tiny_store: Path, stored: xarray.Dataset):
    dataset = TrajectoryDataset(tiny_store, split=("test", "train", "test"))
    assert dataset.rows.tolist() == np.flatnonzero(stored.split != 1).tolist()
    assert pickle.loads(pickle.dumps(dataset)).rows.tolist() == dataset.rows.tolist()
    with pytest.raises(RowRangeError, match="of splits 'test', 'train', 'test'"):
        dataset[44]


def test_slice_is_a_batch(tiny_store: Path, dataset: TrajectoryDataset):
    for part in (slice(0, 4), slice(None, None, -20), slice(-3, 99)):
        expected = [dataset[index] for index in range(44)[part]]
        assert equal(dataset[part], default_collate(expected))
    assert dataset[9:9]["video"].shape == (0, 2, 4, 3, 16, 16)
    assert torch.equal(TrajectoryDataset(tiny_store, transform=double)[1:3][1], double(dataset[2]))


def test_says_what_it_holds(tiny_store: Path, tiny_spec: DatasetSpec):
    dataset = TrajectoryDataset(
        tiny_store, split=["train", "val"], where={"class_name": "Linear"}, cameras=[0], layout="CTHW",
        columns=["class_label", "extrinsics", "caption"], transform=double,
    )  # fmt: skip
    assert dataset.classes == ("Linear", "Circular", "Helical", "Parabolic")
    assert repr(dataset).splitlines() == [
        (
            f"TrajectoryDataset of {tiny_store}: {len(dataset)} of 44 samples "
            "(splits 'train', 'val' where class_name)"
        ),
        "    classes: Linear, Circular, Helical, Parabolic",
        "    video: uint8 (3, 4, 16, 16) CTHW",
        "    class_label: int64 ()",
        "    extrinsics: float64 (3, 4)",
        "    caption: str",
        "    transform: double",
    ]
    dataset.samples.close()
    assert "44 samples" in repr(dataset)  # of which a debugger shows this
    assert repr(GeneratedDataset(tiny_spec)).startswith(
        "GeneratedDataset of generated samples: 44 of 44 samples (all rows)"
    )


@pytest.mark.parametrize("layout", ["VTCHW", "CTHW"])
def test_cameras_are_columns(tiny_store: Path, tiny_spec: DatasetSpec, stored: xarray.Dataset, layout: str):
    options: dict[str, Any] = {
        "cameras": [1, 0] if "V" in layout else [1],
        "layout": layout,
        "columns": ["intrinsics", "extrinsics"],
    }
    chosen = [1, 0] if "V" in layout else 1
    read, drawn = TrajectoryDataset(tiny_store, **options), GeneratedDataset(tiny_spec, **options)
    batch = read[4:7]
    for name in options["columns"]:
        expected = stored[name].values[chosen]
        assert batch[name].dtype == torch.float64
        np.testing.assert_array_equal(batch[name], np.stack([expected] * 3))
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(read))[4][name], expected)
        np.testing.assert_array_equal(drawn[5][name], expected)


def test_generated_samples_equal_the_stored_ones(tiny_store: Path, tiny_spec: DatasetSpec):
    options: dict[str, Any] = {
        "split": "train",
        "layout": "VCTHW",
        "columns": ["class_label", "box", "future_position"],
    }
    stored, generated = TrajectoryDataset(tiny_store, **options), GeneratedDataset(tiny_spec, **options)
    assert len(stored) == len(generated)
    indices = range(len(stored))
    assert equal(collate(stored.__getitems__(indices)), collate(generated.__getitems__(indices)))


def test_pickles_small_also_after_reading(tiny_store: Path, tiny_spec: DatasetSpec, tmp_path: Path):
    many = tiny_spec.replace(samples=100_000)
    for dataset in (TrajectoryDataset(tiny_store, split="train"), GeneratedDataset(many, split="train")):
        dataset.__getitems__(range(6))
        data = pickle.dumps(dataset)
        assert len(data) < 10_000
        assert equal(pickle.loads(data)[3], dataset[3])


class Several(Dataset[Any]):
    """Datasets of 44 samples one after the other, so that one set of workers tests them all: starting it is slow."""

    def __init__(self, *datasets: Any) -> None:
        self.datasets = datasets

    def __len__(self) -> int:
        return 44 * len(self.datasets)

    def __getitems__(self, indices: list[int]) -> Batch:
        number = indices[0] // 44
        return self.datasets[number].__getitems__([index - 44 * number for index in indices])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_however_they_start(tiny_store: Path, tiny_spec: DatasetSpec, method: str):
    multiprocessing.set_forkserver_preload(["trajstore.torch"])
    columns = ["class_label", "caption"]
    unread, read = (TrajectoryDataset(tiny_store, columns=columns, threads=threads) for threads in (None, 2))
    generated = GeneratedDataset(tiny_spec, columns=columns)
    read.__getitems__(range(44))
    options: dict[str, Any] = {"batch_size": 4, "collate_fn": collate}
    found = list(
        DataLoader(
            Several(unread, read, generated),
            num_workers=2,
            multiprocessing_context=method,
            timeout=100,
            **options,
        )
    )
    # the same without workers, by datasets that have read and that have not
    for number, dataset in enumerate((read, unread, generated)):
        for batch, expected in zip(found[11 * number :], DataLoader(dataset, **options), strict=False):
            assert equal(batch, expected)
    assert len(found) == 33


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_go_on_when_the_parent_closes_its_reader(tiny_store: Path):
    dataset = TrajectoryDataset(tiny_store)
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context="fork", timeout=60, collate_fn=collate
    )
    batches = iter(loader)
    next(batches)
    dataset.samples.close()
    assert sum(len(batch["row"]) for batch in batches) == 40
    # what is sent to another process after that says what is wrong
    with pytest.raises(StoreError, match="the reader is closed"):
        pickle.loads(pickle.dumps(dataset))[0]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_end_when_the_parent_is_killed(tiny_store: Path, tmp_path: Path, method: str):
    program = tmp_path / "train.py"
    program.write_text(f"""
import os, signal
from torch.utils.data import DataLoader
from trajstore.torch import TrajectoryDataset, collate

if __name__ == "__main__":
    dataset = TrajectoryDataset({str(tiny_store)!r})
    loader = DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=collate, multiprocessing_context="{method}")
    batches = iter(loader)
    next(batches)
    print(*(worker.pid for worker in batches._workers), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
""")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert done.stderr.count("the process it reads for has ended") == 2
    workers = [Path(f"/proc/{number}/stat") for number in done.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 10

    def is_alive(stat: Path) -> bool:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return stat.read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))


def test_damage_is_named_through_a_worker(tiny_copy: Path):
    flip_bit(tiny_copy / "video/c.2.0.0.0.0.0", 5)
    loader = DataLoader(
        TrajectoryDataset(tiny_copy),
        batch_size=4,
        num_workers=1,
        multiprocessing_context="fork",
        timeout=60,
        collate_fn=collate,
    )
    with pytest.raises(CorruptDataError, match=r"row 16 in video/c\.2.*trajstore repair"):
        list(loader)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 44, 60])
def test_sampler_gives_the_same_samples_for_any_number_of_ranks(dataset: TrajectoryDataset, world_size: int):
    ranks = [
        list(ShardShuffleSampler(dataset, seed=1, epoch=2, rank=rank, world_size=world_size, window=2))
        for rank in range(world_size)
    ]
    samplers = [ShardShuffleSampler(dataset, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {len(sampler) for sampler in samplers} == {-(-44 // world_size)}
    assert {index for rank in ranks for index in rank} == set(range(44))


def test_sampler_is_a_function_of_its_arguments(dataset: TrajectoryDataset):
    sampler = ShardShuffleSampler(dataset, seed=1)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert first == again
    assert first != list(sampler)
    assert list(sampler) == list(ShardShuffleSampler(dataset, seed=1, epoch=1))
    torch.manual_seed(5)
    assert list(ShardShuffleSampler(dataset, seed=1)) == first


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_sampler_goes_on_in_the_middle_of_an_epoch(dataset: TrajectoryDataset, world_size: int):
    def make(rank: int) -> ShardShuffleSampler:
        return ShardShuffleSampler(dataset, seed=1, rank=rank, world_size=world_size)

    for rank in range(world_size):
        whole = list(ShardShuffleSampler(dataset, seed=1, epoch=3, rank=rank, world_size=world_size))
        sampler = make(rank)
        sampler.set_epoch(3)
        head = [index for index, _ in zip(sampler, range(6), strict=False)]
        # one more was taken to see that six are enough, as a loader's workers take more than training has used
        state = sampler.state_dict(consumed=6)
        resumed = make(rank)
        resumed.load_state_dict(pickle.loads(pickle.dumps(state)))
        assert resumed.epoch == 3
        resumed.set_epoch(3)
        assert head + list(resumed) == whole
        # a second interruption counts from the first
        twice = make(rank)
        resumed.load_state_dict(state)
        iterator = iter(resumed)
        more = [next(iterator) for _ in range(2)]
        twice.load_state_dict(resumed.state_dict())
        assert head + more + list(twice) == whole
        # the next epoch is whole again
        twice.set_epoch(4)
        assert len(list(twice)) == len(whole)


def test_sampler_that_was_saved_at_the_end_has_nothing_left(dataset: TrajectoryDataset):
    sampler = ShardShuffleSampler(dataset, world_size=3)
    list(sampler)
    other = ShardShuffleSampler(dataset, world_size=3)
    other.load_state_dict(sampler.state_dict())
    assert list(other) == []


def test_sampler_refuses_the_state_of_another_order(dataset: TrajectoryDataset, tiny_store: Path):
    state = ShardShuffleSampler(dataset, seed=1).state_dict()
    with pytest.raises(SpecError, match="found seed 1, expected seed 2"):
        ShardShuffleSampler(dataset, seed=2).load_state_dict(state)
    with pytest.raises(SpecError, match="samples 44"):
        ShardShuffleSampler(TrajectoryDataset(tiny_store, split="train"), seed=1).load_state_dict(state)


def test_sampler_shuffles_a_part_of_a_dataset(dataset: TrajectoryDataset):
    first, second = random_split(dataset, [30, 14], torch.Generator().manual_seed(0))
    for part in (first, Subset(second, range(3, 12)), Subset(dataset, [5, -1, 7])):
        sampler = ShardShuffleSampler(part, seed=1, window=2)
        assert sorted(sampler) == list(range(len(part)))
        loader = DataLoader(part, batch_size=5, sampler=sampler, collate_fn=collate)
        rows = torch.cat([batch["row"] for batch in loader]).tolist()
        assert sorted(rows) == sorted(int(part[index]["row"]) for index in range(len(part)))
        # read shard by shard: two at a time, and none comes again
        shards = np.array(rows) // 8
        assert all(set(shards[:at]).isdisjoint(shards[at:]) for at in _window_ends(shards, window=2))
    with pytest.raises(SpecError, match="samples 30"):
        ShardShuffleSampler(second).load_state_dict(ShardShuffleSampler(first).state_dict())
    with pytest.raises(SpecError, match=r"found TensorDataset, expected a TrajectoryDataset, .* Subset"):
        ShardShuffleSampler(Subset(TensorDataset(torch.zeros(3)), [0]))


def _window_ends(shards: Any, *, window: int) -> list[int]:
    """Where an order of so many shards at a time goes on to the next ones."""
    ends, seen = [], set()
    for at, shard in enumerate(shards.tolist()):
        if shard not in seen and len(seen) == window:
            ends, seen = [*ends, at], set()
        seen.add(shard)
    return ends


def test_sampler_refuses_ranks_that_do_not_exist(dataset: TrajectoryDataset):
    with pytest.raises(SpecError, match="rank: found 2 of a world size of 2"):
        ShardShuffleSampler(dataset, rank=2, world_size=2)


def test_resumed_training_sees_every_sample_once_through_a_loader(dataset: TrajectoryDataset):
    def rows(sampler: ShardShuffleSampler, batches: int | None) -> list[int]:
        loader = DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=collate)
        seen: list[int] = []
        for number, batch in enumerate(loader):
            if number == batches:
                break
            seen += batch["row"].tolist()
        return seen

    sampler = ShardShuffleSampler(dataset, seed=9)
    head = rows(sampler, 5)
    state = sampler.state_dict(consumed=len(head))
    resumed = ShardShuffleSampler(dataset, seed=9)
    resumed.load_state_dict(state)
    tail = rows(resumed, None)
    assert head + tail == rows(ShardShuffleSampler(dataset, seed=9), None)
    assert sorted(head + tail) == list(range(44))
