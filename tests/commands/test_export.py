"""Exports hold what the store holds, are resumed to the same bytes, and refuse what cannot be right."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.export_faults import (
    TINY,
    assert_is_part,
    contents,
    export_and_die,
    grow_disk,
    run_command,
    small_disk,
)
from support.exported import decode_all

import trajstore
from trajstore.errors import (
    CorruptDataError,
    ExportError,
    IncompleteStoreError,
    InterruptedBuildError,
    NotEnoughSpaceError,
    SpecError,
    SpecMismatchError,
)
from trajstore.exporters import Part
from trajstore.exporters.plan import plan_export
from trajstore.exporters.write import make_batches
from trajstore.storage.durable import _host

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "tiny.zarr"
    trajstore.build(path, **TINY)
    return path


@pytest.fixture(scope="module")
def reference(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "reference"
    trajstore.export(store, path)
    return path


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "copy.zarr"))


def assert_equals_store(folder: Path, store: Path, rows: list[int], *, dtype: str) -> None:
    """Fail unless a folder holds exactly these rows, as plain PyTorch and JSON read them."""
    group: Any = zarr.open_group(store, mode="r")
    assert sorted(path.name for path in (folder / "videos").iterdir()) == [
        f"sample_{row:04d}.pt" for row in rows
    ]
    assert sorted(path.name for path in (folder / "labels").iterdir()) == [
        f"sample_{row:04d}.json" for row in rows
    ]
    for row in rows:
        video = group["video"][row]
        expected = video if dtype == "uint8" else video.astype(np.float32) / np.float32(255)
        for mmap in (False, True):
            tensor = torch.load(folder / f"videos/sample_{row:04d}.pt", weights_only=True, mmap=mmap)
            assert tensor.dtype == getattr(torch, dtype)
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            np.testing.assert_array_equal(tensor.numpy(), expected)
        label = json.loads((folder / f"labels/sample_{row:04d}.json").read_bytes())
        assert label["class_label"] == group["class_label"][row]
        assert label["class_name"] == ("Linear", "Circular", "Helical", "Parabolic")[label["class_label"]]
        assert label["split"] == SPLITS[group["split"][row]]
        assert label["caption"].startswith("A")
        np.testing.assert_array_equal(np.float64(label["future_position"]), group["future_position"][row])
        np.testing.assert_array_equal(np.float64(label["positions"]), group["position"][row])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("split", "rows"), [(None, None), ("val", None), (None, "5:19"), ("train", "7:")])
def test_an_export_holds_what_the_store_holds(
    store: Path, tmp_path: Path, dtype: str, split: str | None, rows: str | None
) -> None:
    report = trajstore.export(store, tmp_path / "out", dtype=dtype, split=split, rows=rows)
    group: Any = zarr.open_group(store, mode="r")
    first, stop = {None: (0, 44), "5:19": (5, 19), "7:": (7, 44)}[rows]
    in_split = [split is None or SPLITS[value] == split for value in group["split"][first:stop]]
    expected = [first + place for place, is_in in enumerate(in_split) if is_in]
    assert_equals_store(tmp_path / "out", store, expected, dtype=dtype)
    metadata = json.loads((tmp_path / "out/metadata.json").read_bytes())
    assert metadata["total_samples"] == report.new_samples == len(expected)
    labels = group["class_label"][:][expected]
    names = ("Linear", "Circular", "Helical", "Parabolic")
    assert metadata["class_distribution"] == {name: int((labels == i).sum()) for i, name in enumerate(names)}
    assert sum(metadata["split_distribution"].values()) == len(expected)
    assert metadata["tensor_shape"] == [2, 4, 3, 16, 16]
    assert metadata["tensor_dtype"] == dtype
    assert metadata["generation_time_seconds"] > 0
    for name in ("intrinsics", "extrinsics"):
        np.testing.assert_array_equal(metadata[name], group[name][:])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["labels", "metadata.json", "videos"]


def test_an_export_of_a_world_is_complete_and_valid(tmp_path: Path) -> None:
    fields = TINY | {"distractors": 1, "transients": 1, "orbit": 20.0, "motion_labels": True}
    trajstore.build(tmp_path / "s.zarr", **fields)
    trajstore.export(tmp_path / "s.zarr", tmp_path / "out")
    assert_equals_store(tmp_path / "out", tmp_path / "s.zarr", list(range(44)), dtype="uint8")
    label = json.loads((tmp_path / "out/labels/sample_0007.json").read_bytes())
    assert [body["role"] for body in label["bodies"]] == ["target", "distractor", "transient"]
    assert np.shape(label["extrinsics"]) == (2, 4, 3, 4)
    assert label["caption"] == trajstore.caption(trajstore.DatasetSpec.from_fields(**fields), 7)
    assert trajstore.validate(tmp_path / "out", tmp_path / "s.zarr").is_valid


def test_some_cameras_of_a_world_are_exported(tmp_path: Path) -> None:
    fields = TINY | {"distractors": 1, "orbit": 20.0, "cameras": 3}
    trajstore.build(tmp_path / "s.zarr", **fields)
    trajstore.annotate(tmp_path / "s.zarr", "segmentation", "amodal")
    trajstore.export(tmp_path / "s.zarr", tmp_path / "out", cameras=[2, 0], rows="3:5")
    group: Any = zarr.open_group(tmp_path / "s.zarr", mode="r")
    tensor = torch.load(tmp_path / "out/videos/sample_0004.pt")
    np.testing.assert_array_equal(tensor.numpy(), group["video"][4][[2, 0]])
    arrays = torch.load(tmp_path / "out/annotations/sample_0004.pt")
    np.testing.assert_array_equal(arrays["segmentation"].numpy(), group["segmentation"][4][[2, 0]])
    np.testing.assert_array_equal(arrays["amodal"].numpy(), group["amodal"][4][:, [2, 0]])
    label = json.loads((tmp_path / "out/labels/sample_0004.json").read_bytes())
    np.testing.assert_array_equal(label["extrinsics"], group["extrinsics"][4][[2, 0]])
    for body in label["bodies"]:
        np.testing.assert_array_equal(
            body["visible_pixels"], group["visible_pixels"][4, body["body"]][[2, 0]]
        )
    metadata = json.loads((tmp_path / "out/metadata.json").read_bytes())
    assert (metadata["cameras"], metadata["tensor_shape"]) == ([2, 0], [2, 4, 3, 16, 16])
    np.testing.assert_array_equal(metadata["intrinsics"], group["intrinsics"][:][[2, 0]])
    assert metadata["extrinsics"] is None
    assert trajstore.validate(tmp_path / "out", tmp_path / "s.zarr").is_valid
    with pytest.raises(SpecMismatchError, match="cameras"):
        trajstore.export(tmp_path / "s.zarr", tmp_path / "out", rows="3:5")
    with pytest.raises(SpecError, match="there is no camera 3, expected some of 0 … 2"):
        trajstore.export(tmp_path / "s.zarr", tmp_path / "other", cameras=[3])
    with pytest.raises(SpecError, match=r"found \[1, 1\], expected each camera once"):
        trajstore.export(tmp_path / "s.zarr", tmp_path / "other", cameras=[1, 1])


def test_samples_in_several_chunks_are_put_together(tmp_path: Path) -> None:
    trajstore.build(
        tmp_path / "s.zarr", samples=2, cameras=2, frames=4, height=768, width=512, samples_per_shard=2
    )
    group: Any = zarr.open_group(tmp_path / "s.zarr", mode="r")
    assert group["video"].chunks[1:3] == (1, 4)
    trajstore.export(tmp_path / "s.zarr", tmp_path / "out")
    assert_equals_store(tmp_path / "out", tmp_path / "s.zarr", [0, 1], dtype="uint8")


def test_bytes_do_not_depend_on_the_number_of_workers(store: Path, reference: Path, tmp_path: Path) -> None:
    trajstore.export(store, tmp_path / "out", workers=1)
    assert contents(tmp_path / "out") == contents(reference)


def test_exporting_again_writes_nothing(store: Path, reference: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in reference.rglob("*")}
    report = trajstore.export(store, reference)
    assert (report.new_samples, report.new_bytes) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in reference.rglob("*")} == before


@pytest.mark.parametrize(
    ("method", "pattern", "at"),
    [
        ("replace", "videos/*.pt", 30),
        ("replace", "labels/*.json", 17),
        ("unlink", "unfinished.json", 1),
    ],
)
def test_an_export_that_was_killed_is_resumed_to_the_same_bytes(
    store: Path, reference: Path, tmp_path: Path, method: str, pattern: str, at: int
) -> None:
    folder = tmp_path / "out"
    export_and_die(store, folder, method=method, pattern=pattern, at=at)
    there = assert_is_part(folder, reference)
    assert (folder / "metadata.json").exists() == (pattern == "unfinished.json")
    kept = {path: path.stat().st_ino for path in folder.rglob("sample_*") if path.suffix in {".pt", ".json"}}
    report = trajstore.export(store, folder)
    assert {path: path.stat().st_ino for path in kept} == kept  # nothing that was there is written again
    # of one sample the video may have been there without its label
    assert 44 - there - len(kept) % 2 <= report.new_samples <= 44 - there
    assert contents(folder) == contents(reference)


def test_many_small_files_need_few_descriptors(store: Path, reference: Path, tmp_path: Path) -> None:
    before, folder = resource.getrlimit(resource.RLIMIT_NOFILE), tmp_path / "out"
    in_use = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 24, before[1]))
    try:
        trajstore.export(store, folder)  # 88 files
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert contents(folder) == contents(reference)


def test_what_a_killed_exporter_left_in_a_complete_export_is_removed(
    reference: Path, store: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "out"))
    shutil.copy(folder / "metadata.json", folder / "unfinished.json")
    process = subprocess.Popen(["true"])
    process.wait()
    debris = folder / f"videos/sample_0001.pt.{_host()}~{process.pid}~3.partial"
    debris.touch()
    assert trajstore.export(store, folder).new_samples == 0
    assert contents(folder) == contents(reference)
    assert trajstore.validate(folder, store).is_valid


def test_what_an_unfinished_export_left_is_compared_with_the_store(
    store: Path, reference: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "out"))
    (folder / "metadata.json").rename(folder / "unfinished.json")
    torn, cut = folder / "videos/sample_0003.pt", folder / "videos/sample_0009.pt"
    torn.write_bytes(bytes(torn.stat().st_size))  # as after a power cut: the size is right
    os.truncate(cut, 1000)
    (folder / "labels/sample_0011.json").write_text("{}")
    assert trajstore.export(store, folder).new_samples == 3
    assert contents(folder) == contents(reference)


def test_a_file_that_is_gone_from_a_finished_export_is_written_again(
    store: Path, reference: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "out"))
    (folder / "videos/sample_0020.pt").unlink()
    assert trajstore.export(store, folder).new_samples == 1
    assert contents(folder) == contents(reference)


def test_a_full_disk_ends_cleanly_and_the_export_goes_on(
    store: Path, reference: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "300k"):
        folder = disk / "out"
        with pytest.raises(NotEnoughSpaceError, match="missing"):
            trajstore.export(store, folder)
        assert not folder.exists()
        with pytest.raises(
            NotEnoughSpaceError, match=r"of 44 samples are exported.*trajstore export"
        ) as caught:
            trajstore.export(store, folder, force=True, workers=1)
        assert caught.value.exit_code == 3
        there = assert_is_part(folder, reference)
        assert f"{there} of 44" in str(caught.value)
        assert there < 44
        assert not list(folder.rglob("*.partial"))
        assert not (folder / "metadata.json").exists()
        grow_disk(disk, "2m")
        assert trajstore.export(store, folder).new_samples == 44 - there
        assert contents(folder) == contents(reference)


def test_a_signal_stops_after_what_has_begun(store: Path, reference: Path, tmp_path: Path) -> None:
    calls = count()
    folder = tmp_path / "out"
    with pytest.raises(InterruptedBuildError, match="continue with: trajstore export") as caught:
        trajstore.export(
            store, folder, workers=1, should_stop=lambda: signal.SIGTERM if next(calls) > 4 else 0
        )
    assert caught.value.exit_code == 143
    assert 0 < assert_is_part(folder, reference) < 44
    trajstore.export(store, folder)
    assert contents(folder) == contents(reference)


def test_a_range_grows_and_never_shrinks(store: Path, reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    trajstore.export(store, folder, rows="8:20")
    with pytest.raises(SpecMismatchError, match=r"rows: '8:20' stored, '0:12' given"):
        trajstore.export(store, folder, rows="0:12")
    assert trajstore.export(store, folder).new_samples == 44 - 12
    assert contents(folder) == contents(reference)


def test_an_unfinished_store_is_refused_or_exported_in_part(
    copy: Path, reference: Path, tmp_path: Path
) -> None:
    for shard in (1, 3):
        (copy / f"video_written/c.{shard}").unlink()
    with pytest.raises(
        IncompleteStoreError, match=r"16 of 44 rows are not written yet \(8:16, 24:32\).*allow-partial"
    ):
        trajstore.export(copy, tmp_path / "out")
    trajstore.export(copy, tmp_path / "whole", rows="16:24")  # what is asked for is there
    trajstore.export(copy, tmp_path / "out", allow_partial=True)
    rows = [*range(8), *range(16, 24), *range(32, 44)]
    assert_equals_store(tmp_path / "out", copy, rows, dtype="uint8")
    assert trajstore.validate(tmp_path / "out", copy).is_valid
    trajstore.build(copy)
    trajstore.export(copy, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(reference)


def test_an_empty_store_is_refused(copy: Path, tmp_path: Path) -> None:
    for flag in copy.glob("*_written/c.*"):
        flag.unlink()
    for allow_partial in (False, True):
        with pytest.raises(IncompleteStoreError, match=r"44 of 44 rows .*trajstore build"):
            trajstore.export(copy, tmp_path / "out", allow_partial=allow_partial)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fields", "options", "difference"),
    [
        ({"seed": 1}, {}, "dataset.seed: 0 stored, 1 given"),
        ({"frames": 5}, {}, "video.frames: 4 stored, 5 given"),
        ({}, {"dtype": "float32"}, "dtype: 'uint8' stored, 'float32' given"),
        ({}, {"split": "val"}, "split: None stored, 'val' given"),
    ],
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_a_folder_of_something_else_is_refused(
    reference: Path, tmp_path: Path, fields: dict[str, Any], options: dict[str, Any], difference: str,
    is_finished: bool,
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(reference, tmp_path / "out"))
    if not is_finished:
        (folder / "metadata.json").rename(folder / "unfinished.json")
    before = contents(folder)
    trajstore.build(tmp_path / "other.zarr", **TINY | fields)
    with pytest.raises(SpecMismatchError) as caught:
        trajstore.export(tmp_path / "other.zarr", folder, **options)
    assert difference in str(caught.value)
    assert contents(folder) == before


def test_a_damaged_store_is_named(copy: Path, tmp_path: Path) -> None:
    shard = copy / "video/c.2.0.0.0.0.0"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptDataError, match=r"row 16 in video/c\.2\.0.*checksum.*trajstore repair"):
        trajstore.export(copy, tmp_path / "a")
    shard.unlink()
    with pytest.raises(CorruptDataError, match=r"row \d+ in video/c\.2\.0.*the file is missing"):
        trajstore.export(copy, tmp_path / "b")
    trajstore.build(tmp_path / "again.zarr", **TINY)
    (tmp_path / "again.zarr/position/c.0.0.0").unlink()
    with pytest.raises(CorruptDataError, match=r"column position in position/c\.0.*the file is missing"):
        trajstore.export(tmp_path / "again.zarr", tmp_path / "c")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--rows", "5:2"], 2, "rows: found '5:2', expected a:b"),
        (["--rows", "40:45"], 2, "≤ 44"),
        (["--rows", "-3:4"], 2, "rows: found '-3:4'"),
        (["--rows", "x"], 2, "rows: found 'x'"),
        (["--rows", "0:1", "--split", "test"], 2, "found no row of split test in rows 0:1"),
        (
            ["--class", "circular"],
            2,
            "class: found 'circular', expected one of Linear, Circular, Helical, Parabolic; did you mean Circular?",
        ),
        (
            ["--class", "Linear", "--rows", "0:1", "--split", "test"],
            2,
            "no row of class Linear and split test in",
        ),
        (["--columns", "boxes"], 2, "columns: found 'boxes', expected some of pixel, depth, box"),
        (["--columns", "box", "--format", "hdf5"], 2, "columns: found box, expected none with format hdf5"),
        (["--columns", "box", "--layout", "traj", "--cameras", "0"], 2, "expected none with --layout traj"),
        (["--split", "all"], 2, "split: found 'all', expected one of train, val, test"),
        (["--format", "npz"], 2, "format: found 'npz', expected one of pt"),
        (["--dtype", "int8"], 2, "dtype: found 'int8', expected uint8 or float32 with format pt"),
        (["--workers", "0"], 2, "workers: found 0"),
        (["--cameras", "a"], 2, "cameras: found 'a', expected numbers between commas"),
        (["--compression", "zstd"], 2, "compression: found 'zstd', leave it out with format pt"),
        (["--layout", "traj"], 2, "cameras: found 2, expected 1 with --layout traj; choose one with"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], code: int, text: str,
) -> None:  # fmt: skip
    assert run_command(monkeypatch, "export", store, tmp_path / "out", "-q", *options) == code
    message = capsys.readouterr().err
    assert text in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_places_are_one_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("")
    (tmp_path / "clash/videos").mkdir(parents=True)
    (tmp_path / "clash/videos/sample_0000.pt").write_text("")
    cases = [
        (tmp_path / "none.zarr", tmp_path / "out", "none.zarr: found nothing, expected a trajstore store"),
        (tmp_path / "full", tmp_path / "out", "found no zarr.json"),
        (store, tmp_path / "file", "found a file, expected a folder"),
        (store, tmp_path / "full", "trajstore export did not write (notes.txt)"),
        (store, tmp_path / "clash", "trajstore export did not write (videos)"),
        (store, tmp_path / "a/b", "does not exist, expected a folder to export to"),
        (store, store / "out", "lies in the store"),
    ]
    for source, target, text in cases:
        assert run_command(monkeypatch, "export", source, target, "-q") == 1
        message = capsys.readouterr().err
        assert text in message
        assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_without_permission_is_refused(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # to root, as whom tests may run, everything is permitted
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    with pytest.raises(ExportError, match="no permission to write in"):
        plan_export(store, tmp_path / "out")


def test_what_cannot_be_written_is_one_error(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("trajstore.exporters.write.publish_all", fail)
    with pytest.raises(ExportError, match=r"cannot be written: Permission denied; .*; 0 of 44 samples"):
        trajstore.export(store, tmp_path / "out")


def test_the_command_exports_and_says_so(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_command(monkeypatch, "export", store, tmp_path / "out", "--split", "val", "--dtype", "float32")
        == 0
    )
    printed = capsys.readouterr()
    assert "exported" in printed.out
    assert "(100 %)" in printed.err
    metadata = json.loads((tmp_path / "out/metadata.json").read_bytes())
    assert (metadata["split"], metadata["tensor_dtype"]) == ("val", "float32")


@pytest.mark.parametrize("name", ["pt", "webdataset", "frames", "videofolder"])
def test_an_export_of_one_class_has_boxes_pixels_and_depths_on_request(
    tmp_path: Path, world_store: Path, name: str
) -> None:
    """Of some cameras of a world in which the target may be out of view; a NaN is null."""
    columns, reader = ["pixel", "depth", "box"], trajstore.open_reader(world_store)
    codec = {"videofolder": {"video": "mkv"}}.get(name, {})
    how: dict[str, Any] = {
        "format": name,
        "options": codec,
        "class_name": "Helical",
        "columns": columns,
        "cameras": [1],
    }
    trajstore.export(world_store, tmp_path / "out", **how, rows=(0, 12))
    assert trajstore.validate(tmp_path / "out", world_store).is_valid
    rows = np.flatnonzero(reader.column("class_label", range(12)) == 2)
    found = list(decode_all(world_store, tmp_path / "out", **how, rows="0:12"))
    assert [sample.row for sample in found] == rows.tolist()
    for sample in found:
        label = sample.label.model_dump()
        for column, field in zip(columns, ("pixels", "depths", "boxes"), strict=True):
            expected = reader.column(column, [sample.row])[0, [1]]
            np.testing.assert_array_equal(np.array(label[field], np.float32), expected)
    plan = plan_export(world_store, tmp_path / "out", **how, rows=range(12))
    assert plan.is_done
    assert "--class Helical" in plan.command()
    assert "--columns pixel,depth,box" in plan.command()
    with pytest.raises(SpecMismatchError, match="class: 'Helical' stored, 'Linear' given"):
        trajstore.export(world_store, tmp_path / "out", **how | {"class_name": "Linear"}, rows=(0, 12))


def test_what_an_export_says_of_its_class_and_columns_is_checked(store: Path, tmp_path: Path) -> None:
    trajstore.export(store, tmp_path, class_name="Linear", columns=["box"], rows=(0, 12))
    metadata = json.loads((tmp_path / "metadata.json").read_bytes())
    label = next((tmp_path / "labels").iterdir())
    found = json.loads(label.read_bytes())
    label.write_text(json.dumps(found | {"boxes": None, "class_label": 1, "class_name": "Circular"}))
    faults = {fault.detail for fault in trajstore.validate(tmp_path).faults}
    assert "class_name: found 'Circular', expected 'Linear' as in metadata.json" in faults
    assert "boxes: found none, expected (2, 4), cameras × frames" in faults
    (tmp_path / "metadata.json").write_text(json.dumps(metadata | {"class_name": "Lissajous"}))
    assert "metadata-invalid" in trajstore.validate(tmp_path).fault_counts


def test_the_card_of_an_export_of_one_class_counts_its_samples(store: Path, tmp_path: Path) -> None:
    trajstore.export(store, tmp_path, class_name="Circular", columns=["box", "depth"])
    trajstore.card(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "--class Circular" in text
    assert "| boxes | camera, frame, edge | 2 × 4 × 4 |" in text.replace("`", "")
    assert "pixels |" not in text


def test_a_dry_run_of_an_export_writes_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    for wanted in ("would write 44 of 44 samples", "would write 1 of 44 samples", "complete, 44 samples"):
        before = contents(folder) if folder.exists() else {}
        assert run_command(monkeypatch, "export", store, folder, "--dry-run") == 0
        printed = capsys.readouterr().out
        assert f"{folder}: {wanted}" in printed
        assert ("  free  " in printed) == ("would" in wanted)
        assert before == (contents(folder) if folder.exists() else {})
        trajstore.export(store, folder)
        if not before:
            (folder / "videos/sample_0003.pt").unlink()


@settings(max_examples=50, deadline=None)
@given(
    st.sets(st.integers(0, 200)), st.integers(1, 50), st.integers(1, 30)
)  # fmt: skip
def test_batches_hold_each_row_once_and_lie_in_one_shard(rows: set[int], per_shard: int, most: int) -> None:
    parts = [Part((row,), ()) for row in sorted(rows)]
    batches = list(make_batches(parts, rows_per_shard=per_shard, rows_max=most))
    assert [part for batch in batches for part in batch.parts] == parts
    for batch in batches:
        assert len({part.rows[0] // per_shard for part in batch.parts}) == 1
        assert batch.samples <= most


def test_an_unknown_split_is_no_row(store: Path) -> None:
    with pytest.raises(SpecError, match="split"):
        plan_export(store, "unused", split="none")
