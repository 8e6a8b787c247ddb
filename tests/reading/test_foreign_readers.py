"""Libraries that know nothing of trajstore read what it wrote."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray
import zarr
import zarrs  # noqa: F401  a codec pipeline for zarr
from support.faults import flip_bit
from support.stores import create_store, open_store

import trajstore
from trajstore.commands.build import build
from trajstore.scene.cameras import place_cameras
from trajstore.scene.order import SPLIT_NAMES
from trajstore.scene.scene import make_scene
from trajstore.spec import PATTERNS, SHAPES, DatasetSpec

Arrays = dict[str, np.ndarray]


def expect(spec: DatasetSpec) -> Arrays:
    """All arrays of a finished store, straight from the scene, whatever the store's chunks are."""
    samples, video = spec.dataset.samples, spec.video
    scene, rig = make_scene(spec, range(samples)), place_cameras(spec)
    frames = np.empty((samples, video.cameras, video.frames, 3, video.height, video.width), np.uint8)
    for row in range(samples):
        scene.draw(row, slice(None), slice(None), frames[row])
    return {
        "video": frames,
        **scene.columns,
        "intrinsics": rig.intrinsics,
        "extrinsics": rig.static("extrinsics"),
        "labels_written": np.ones(1, bool),
        "video_written": np.ones(-(-samples // spec.storage.samples_per_shard), bool),
    }


def read_with_zarr(path: Path, names: list[str]) -> Arrays:
    group = zarr.open_group(path, mode="r")
    return {name: np.asarray(group[name][...]) for name in names}  # type: ignore[index]


def read_with_zarrs(path: Path, names: list[str]) -> Arrays:
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return read_with_zarr(path, names)


def read_with_tensorstore(path: Path, names: list[str]) -> Arrays:
    def read(name: str) -> np.ndarray:
        spec: dict[str, Any] = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / name)}}
        return np.asarray(tensorstore.open(spec, open=True, read=True).result().read().result())

    return {name: read(name) for name in names}


def read_with_xarray(path: Path, names: list[str]) -> Arrays:
    with xarray.open_zarr(path) as dataset:
        return {name: dataset[name].values for name in names}


READERS = [read_with_zarr, read_with_zarrs, read_with_tensorstore, read_with_xarray]


LAYOUTS: dict[str, dict[str, Any]] = {
    "by camera": {},
    "by sample": {"chunk": "sample"},
    "by frames": {},
    "by sample, of the library": {"chunk": "sample", "encoder": "zstd"},
    "a world": {"height": 64, "width": 48, "distractors": 3, "patterns": PATTERNS, "shapes": SHAPES},
    "noise": {"noise": [0.0, 2.0]},
}


@pytest.fixture(scope="module", params=LAYOUTS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished store whose samples are one chunk, one for each camera, or several for each camera."""
    limit = 2 * 3 * 16 * 16 if request.param == "by frames" else 8 * 2**20
    path = tmp_path_factory.mktemp("readers") / "a.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trajstore.store.groups.video.CHUNK_BYTES_MAX", limit)
        sizes = {"samples": 21, "cameras": 2, "frames": 4, "height": 16, "width": 16, "samples_per_shard": 8}
        build(path, **{**sizes, **LAYOUTS[request.param]})
        (video,) = open_store(path).layout.group("video").columns
        chunks = 1 if "sample" in request.param else 4 if request.param == "by frames" else 2
        assert np.prod(video.chunk_counts[1:]) == chunks
        yield path


@pytest.mark.parametrize("read", READERS)
def test_every_reader_sees_every_row(store: Path, read: Callable[[Path, list[str]], Arrays]) -> None:
    """The last shard, of 5 rows of 8, included."""
    expected = expect(open_store(store).spec)
    assert set(expected) == {column.name for column in open_store(store).layout.columns}
    found = read(store, list(expected))
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_sample_too_large_for_a_chunk_is_split(tmp_path: Path) -> None:
    """With the real limit of 8 MiB: two of six frames of 3 MiB each."""
    path = tmp_path / "large.zarr"
    build(path, samples=1, cameras=1, frames=6, height=1024, width=1024, samples_per_shard=2)
    (video,) = open_store(path).layout.group("video").columns
    assert video.chunk_shape == (1, 1, 2, 3, 1024, 1024)
    expected = expect(open_store(path).spec)["video"]
    np.testing.assert_array_equal(read_with_zarr(path, ["video"])["video"], expected)
    np.testing.assert_array_equal(read_with_tensorstore(path, ["video"])["video"], expected)


@pytest.mark.parametrize("read", READERS)
def test_what_is_not_written_reads_as_fill(
    tmp_path: Path, tiny_spec: DatasetSpec, read: Callable[[Path, list[str]], Arrays]
) -> None:
    path = tmp_path / "a.zarr"
    build(path, tiny_spec, part="1/3")  # the first two of six shards, and no labels
    columns = {column.name: column for column in open_store(path).layout.columns}
    found = read(path, list(columns))
    assert found["labels_written"].tolist() == [False]
    assert found["video_written"].tolist() == [True] * 2 + [False] * 4
    for column in open_store(path).layout.group("labels").columns:
        np.testing.assert_array_equal(found[column.name], np.full(column.shape, column.fill_value))
    assert not found["video"][16:].any()
    assert found["video"][:16].any(axis=(1, 2, 3, 4, 5)).all()


def make_new(path: Path, spec: DatasetSpec) -> None:
    create_store(path, spec)


def make_half(path: Path, spec: DatasetSpec) -> None:
    build(path, spec, part="2/2")


def make_whole(path: Path, spec: DatasetSpec) -> None:
    build(path, spec)


def test_xarray_opens_any_store_without_a_warning_and_without_trajstore(
    tmp_path: Path, tiny_spec: DatasetSpec
) -> None:
    """Just created, half built, finished, and finished with a builder's temporary file in it."""
    for name, make in (("new", make_new), ("half", make_half), ("whole", make_whole)):
        make(tmp_path / f"{name}.zarr", tiny_spec)
    make_whole(tmp_path / "writing.zarr", tiny_spec)
    (tmp_path / "writing.zarr" / "video" / "c.7.0.0.0.0.0.host~1~1.partial").write_bytes(b"half")
    code = (
        "import sys, xarray\n"
        "for name in ('new', 'half', 'whole', 'writing'):\n"
        "    dataset = xarray.open_zarr(f'{name}.zarr')\n"
        "    assert len(dataset.data_vars) == 15, dataset\n"
        "    dataset.load()\n"
        "assert 'trajstore' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_open_names_the_coordinates(tiny_store: Path, tiny_spec: DatasetSpec) -> None:
    dataset = trajstore.open(tiny_store)
    plain = expect(tiny_spec)
    assert {name: values.values.tolist() for name, values in dataset.coords.items()} == {
        "sample": list(range(44)),
        "class_name": np.array(tiny_spec.dataset.classes)[plain["class_label"]].tolist(),
        "split_name": np.array(SPLIT_NAMES)[plain["split"]].tolist(),
        "camera": [0, 1],
        "frame": [1, 2, 3, 4],
        "axis": ["x", "y", "z"],
        "channel": ["red", "green", "blue"],
        "uv": ["u", "v"],
        "edge": ["u_min", "v_min", "u_max", "v_max"],
    }
    last = dataset.sel(sample=43, frame=4, camera=1, channel="green")
    np.testing.assert_array_equal(last["video"].values, plain["video"][43, 1, 3, 1])
    np.testing.assert_array_equal(
        dataset["future_position"].sel(axis="z").values, plain["future_position"][:, 2]
    )


@pytest.mark.parametrize("engine", ["dask", "none"])
def test_samples_are_selected_by_the_names_of_class_and_split(
    tiny_store: Path, tiny_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    if engine == "none":
        monkeypatch.setattr("trajstore.reading.as_xarray.find_spec", lambda _: None)
    dataset = pickle.loads(pickle.dumps(trajstore.open(tiny_store)))
    wanted = np.flatnonzero(expect(tiny_spec)["class_label"] == tiny_spec.dataset.classes.index("Helical"))
    for found in (
        dataset.set_xindex("class_name").sel(class_name="Helical"),
        dataset.sel(sample=dataset.class_name == "Helical"),
        dataset.groupby("class_name")["Helical"],
        dataset.isel(sample=wanted[::-1]).sortby("sample"),
    ):
        assert found.sample.values.tolist() == wanted.tolist()
        assert set(found.class_name.values.tolist()) == {"Helical"}
    val = dataset.sel(sample=dataset.split_name == "val")
    assert val.sample.values.tolist() == np.flatnonzero(expect(tiny_spec)["split"] == 1).tolist()
    with pytest.raises(KeyError, match="class"):
        dataset.sel({"class": "Helical"})


def test_names_are_at_hand_with_xarray_alone(tiny_store: Path) -> None:
    dataset, expected = xarray.open_zarr(tiny_store), trajstore.open(tiny_store)
    for name, column in (("class_name", "class_label"), ("split_name", "split")):
        meanings = np.array(dataset[column].flag_meanings.split())
        named = dataset.assign_coords({name: ("sample", meanings[dataset[column].values])})
        assert named[name].values.tolist() == expected[name].values.tolist()


def test_names_are_read_when_they_are_used_and_empty_until_they_are_written(
    tiny_copy: Path, tiny_spec: DatasetSpec, tmp_path: Path
) -> None:
    dataset = trajstore.open(tiny_copy)
    repr(dataset)
    flip_bit(tiny_copy / "class_label" / "c.0", 12)
    with pytest.raises(ValueError, match=r"crc32c|checksum"):
        _ = dataset.class_name.values
    create_store(tmp_path / "new.zarr", tiny_spec)
    assert set(trajstore.open(tmp_path / "new.zarr").class_name.values.tolist()) == {""}


def test_open_reads_the_same_values(tiny_store: Path, tiny_spec: DatasetSpec) -> None:
    dataset = trajstore.open(tiny_store)
    for name, values in expect(tiny_spec).items():
        np.testing.assert_array_equal(dataset[name].values, values, err_msg=name)


def test_open_is_lazy_in_pieces_that_do_not_cut_chunks(tiny_store: Path) -> None:
    dataset = trajstore.open(tiny_store)
    layout = open_store(tiny_store).layout
    assert dataset["video"].chunks is not None
    for group in layout.groups:
        for column in group.columns:
            rows = dataset[column.name].chunksizes["sample"]
            assert all(column.file_shape[0] % size == 0 for size in rows[:-1]), column.name
            assert len(dataset[column.name].data.dask.layers) >= 1


def test_open_works_without_dask(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trajstore.reading.as_xarray.find_spec", lambda _: None)
    dataset = trajstore.open(tiny_store)
    assert dataset["video"].chunks is None
    assert dataset["video"][43].values.any()
