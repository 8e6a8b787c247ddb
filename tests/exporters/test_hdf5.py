"""HDF5 files hold what the store holds, for whoever reads HDF5; half-written ones are never taken for whole."""

from __future__ import annotations

import shutil
import warnings
import zlib
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers zstd for h5py and xarray
import numpy as np
import pytest
import xarray
from support.export_faults import contents, export_and_die, grow_disk, small_disk
from support.exported import decode_all

import trajstore
from trajstore.errors import ExportError, NotEnoughSpaceError, SpecError
from trajstore.exporters.interface import BadFileError
from trajstore.exporters.plan import plan_export

HOW: dict[str, Any] = {"format": "hdf5"}
ANNOTATIONS = ("segmentation", "flow", "amodal", "tracks")


@pytest.fixture(scope="module")
def exported(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hdf5") / "out"
    trajstore.export(tiny_store, path, **HOW)
    return path


@pytest.fixture(scope="module")
def world(world_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hdf5") / "world.zarr"
    shutil.copytree(world_store, path)
    trajstore.annotate(path, *ANNOTATIONS)
    return path


def assert_equals_store(file: Path, store: Path, rows: list[int], cameras: list[int]) -> None:
    """Fail unless xarray finds in the file what it finds in the store, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xarray.open_dataset(file, engine="h5netcdf")
        stored = trajstore.open(store).isel(sample=rows, camera=cameras)
        names = {str(name) for name in stored.variables if not str(name).endswith("_written")}
        assert set(map(str, found.variables)) == names | {"caption"}
        for name in names:
            one, other = found[name], stored[name]
            assert one.dims == other.dims, name
            assert one.dtype == other.dtype or other.dtype.kind == "U", name
            np.testing.assert_array_equal(one.values, other.values, err_msg=name)
            assert set(one.attrs) == set(other.attrs), name
            for key, value in other.attrs.items():
                np.testing.assert_array_equal(one.attrs[key], value, err_msg=f"{name} {key}")
        assert set(found.coords) == set(stored.coords)
        assert found["caption"].values.tolist() == trajstore.open_reader(store).captions(rows)
        found.close()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_xarray_finds_what_the_store_holds(world: Path, tmp_path: Path, compression: str) -> None:
    options = {"compression": compression}
    trajstore.export(world, tmp_path / "out", options=options, **HOW)
    assert sorted(contents(tmp_path / "out")) == ["dataset.h5", "metadata.json"]
    assert_equals_store(tmp_path / "out/dataset.h5", world, list(range(44)), [0, 1])
    trajstore.export(
        world, tmp_path / "some", options=options, cameras=[1], split="train", rows="3:30", **HOW
    )
    rows = [row for row in range(3, 30) if trajstore.open_reader(world).column("split", [row])[0] == 0]
    assert_equals_store(tmp_path / "some/dataset.h5", world, rows, [1])
    for folder in ("out", "some"):
        report = trajstore.validate(tmp_path / folder, world)
        assert report.is_valid, report.faults


def test_labels_are_not_made_for_chunks_alone(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trajstore.exporters.plan.read_labels", None)
    trajstore.export(tiny_store, tmp_path / "out", **HOW)


def test_h5py_alone_reads_it(exported: Path, tiny_store: Path) -> None:
    reader = trajstore.open_reader(tiny_store)
    with h5py.File(exported / "dataset.h5") as file:
        video = file["video"]
        assert (video.chunks, video.compression) == ((1, 1, 4, 3, 16, 16), "gzip")
        names = [dim.keys()[0] for dim in video.dims]
        assert names[:4] == ["sample", "camera", "frame", "channel"]
        assert [bool(dim) for dim in video.dims] == [
            True
        ] * 6  # rows and columns of pixels have no coordinate
        np.testing.assert_array_equal(video[...], reader.read(range(44)))
        assert file.attrs["fingerprint"] == reader.spec.fingerprint
        assert trajstore.DatasetSpec.model_validate_json(file.attrs["spec"]) == reader.spec
        assert file["future_position"].attrs["units"] == "world units"


def test_datasets_reads_the_columns_that_it_is_told(exported: Path, tiny_store: Path, tmp_path: Path) -> None:
    from datasets import Array5D, Features, Value, load_dataset

    features = Features({"video": Array5D((2, 4, 3, 16, 16), "uint8"), "class_label": Value("int8")})
    rows = load_dataset(
        "hdf5",
        data_files=str(exported / "dataset.h5"),
        features=features,
        split="train",
        cache_dir=str(tmp_path),
    ).with_format("numpy")
    reader = trajstore.open_reader(tiny_store)
    assert len(rows) == 44
    np.testing.assert_array_equal(rows[7]["video"], reader[7])
    assert rows[7]["class_label"] == reader.column("class_label", [7])[0]


def test_float_frames_are_divided_by_255(tiny_store: Path, tmp_path: Path) -> None:
    trajstore.export(tiny_store, tmp_path / "out", dtype="float32", rows="0:3", **HOW)
    with h5py.File(tmp_path / "out/dataset.h5") as file:
        expected = trajstore.open_reader(tiny_store).read(range(3)) / np.float32(255)
        np.testing.assert_array_equal(file["video"][...], expected, strict=True)
    assert trajstore.validate(tmp_path / "out", tiny_store).is_valid


@pytest.mark.parametrize(
    ("method", "pattern", "at"),
    [
        ("replace", "parts/*.chunks", 2),
        ("replace", "dataset.h5", 1),
        ("replace", "metadata.json", 1),
        ("unlink", "unfinished.json", 1),
    ],
)
def test_an_export_that_was_killed_goes_on(
    tiny_store: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    method: str, pattern: str, at: int,
) -> None:  # fmt: skip
    folder = tmp_path / "out"
    # small parts, here and in the process that is killed
    monkeypatch.setenv("TRAJSTORE_TEST_PATCH", "trajstore.exporters.hdf5:PART_BYTES=100000")
    export_and_die(tiny_store, folder, "--format=hdf5", method=method, pattern=pattern, at=at)
    names = set(contents(folder))
    is_whole = pattern in ("metadata.json", "unfinished.json")
    assert ("dataset.h5" in names) == is_whole
    assert ("metadata.json" in names) == (pattern == "unfinished.json")
    if not is_whole:
        assert not trajstore.validate(folder).is_valid
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("parts/*.chunks")}
    assert bool(kept) == (not is_whole)
    trajstore.export(tiny_store, folder, **HOW)
    assert contents(folder) == contents(exported)


def test_an_export_grows(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    trajstore.export(tiny_store, folder, rows="8:20", **HOW)
    assert trajstore.export(tiny_store, folder, **HOW).new_samples == 44
    assert contents(folder) == contents(exported)
    assert trajstore.export(tiny_store, folder, **HOW).new_samples == 0


def test_a_full_disk(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    size = (exported / "dataset.h5").stat().st_size
    for blocks in (size // 2, size):  # too small for the parts, and for the file beside them
        disk = tmp_path / f"disk{blocks}"
        with small_disk(disk, str(blocks)):
            with pytest.raises(
                NotEnoughSpaceError, match=r"continue with: trajstore export .* --format hdf5"
            ):
                trajstore.export(tiny_store, disk / "out", force=True, **HOW)
            assert not (disk / "out/dataset.h5").exists()
            assert not list(disk.rglob("*.partial"))
            grow_disk(disk, str(4 * size))
            trajstore.export(tiny_store, disk / "out", **HOW)
            assert contents(disk / "out") == contents(exported)


def test_room_is_estimated(world: Path, tmp_path: Path) -> None:
    estimate = plan_export(world, tmp_path / "out", **HOW).estimate(1)
    trajstore.export(world, tmp_path / "out", **HOW)
    size = (tmp_path / "out/dataset.h5").stat().st_size
    assert size < estimate.bytes < 3 * size
    disk = tmp_path / "disk"
    with small_disk(disk, str(size)):
        with pytest.raises(NotEnoughSpaceError, match="are missing; free some space"):
            trajstore.export(world, disk / "out", **HOW)
        assert not (disk / "out").exists()


def test_damage_is_found(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "out"))
    file = folder / "dataset.h5"
    with h5py.File(file) as opened:
        at, size = opened["video"].id.get_chunk_info(5)[2:]
    data = bytearray(file.read_bytes())
    data[at + size // 2] ^= 16
    file.write_bytes(data)
    report = trajstore.validate(folder, tiny_store)
    assert not report.is_valid
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadFileError, match=r"cannot be read"):
        list(decode_all(tiny_store, folder, **HOW))


def test_a_file_of_other_shapes_takes_no_memory(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "out"))
    with h5py.File(folder / "dataset.h5", "r+") as file:
        del file["video"]
        file.create_dataset("video", (44, 2**40), "u1", chunks=(1, 2**20), fillvalue=0)
    with pytest.raises(BadFileError, match=r"video: found uint8 of shape \(1099511627776,\)"):
        list(decode_all(tiny_store, folder, **HOW))
    assert not trajstore.validate(folder).is_valid


def test_a_chunk_that_would_inflate_without_end_is_not_read(
    tiny_store: Path, exported: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "out"))
    with h5py.File(folder / "dataset.h5", "r+") as file:
        file["video"].id.write_direct_chunk((7, 0, 0, 0, 0, 0), zlib.compress(bytes(2**24)))
    with pytest.raises(BadFileError, match=r"video: found a chunk of 16,\d{3} bytes, expected at most 4,096"):
        list(decode_all(tiny_store, folder, **HOW))


def test_a_link_to_another_file_is_not_followed(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "out"))
    with h5py.File(folder / "dataset.h5", "r+") as file:
        del file["video"]
        file["video"] = h5py.ExternalLink(str(exported / "dataset.h5"), "video")
    with pytest.raises(BadFileError, match="video: found a link to another file"):
        list(decode_all(tiny_store, folder, **HOW))


def test_options_it_does_not_have(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="compression: found 'lzf', expected one of gzip, zstd, none"):
        trajstore.export(tiny_store, tmp_path / "out", options={"compression": "lzf"}, **HOW)
    (tmp_path / "data.h5").touch()
    with pytest.raises(ExportError, match="found a file, expected a folder"):
        trajstore.export(tiny_store, tmp_path / "data.h5", **HOW)
    assert not (tmp_path / "out").exists()


def test_what_is_packed_in_a_part_is_bounded(tiny_store: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("trajstore.exporters.hdf5.PART_BYTES", 100_000)
    plan = plan_export(tiny_store, tmp_path / "out", **HOW)
    assert [row for part in plan.parts for row in part.rows] == list(range(44))
    assert max(len(part.rows) for part in plan.parts) == 100_000 // (2 * 4 * 3 * 16 * 16)
