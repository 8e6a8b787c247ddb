"""Tar files of samples: what others read of them is what the store holds."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.export_faults import make_source
from support.exported import (
    assert_damage_is_found,
    assert_equals_store,
    assert_goes_on_after_full_disk,
    assert_is_resumed,
    measure_psnr,
)

import trajstore
from trajstore.errors import MissingExtraError, SpecError
from trajstore.exporters import FORMATS, check_installed
from trajstore.exporters.interface import BadFileError
from trajstore.exporters.plan import plan_export
from trajstore.exporters.webdataset import SHARD_BYTES, count_rows
from trajstore.spec import DatasetSpec

EXACT: dict[str, Any] = {"format": "webdataset", "options": {}}
LOSSY: dict[str, Any] = {"format": "webdataset", "options": {"video": "mp4"}}
PSNR_MIN = 24.0
"""Of 16 × 16 px, in which a ball is smaller than what shares a colour."""


@pytest.fixture(scope="module")
def exported(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("webdataset") / "out"
    trajstore.export(tiny_store, path, **EXACT)
    return path


def test_it_holds_what_the_store_holds(tiny_store: Path, exported: Path) -> None:
    assert_equals_store(tiny_store, exported, **EXACT)


def test_a_world_with_annotations_is_held(annotated_store: Path, tmp_path: Path) -> None:
    trajstore.export(annotated_store, tmp_path / "out", cameras=(1, 0), **EXACT)
    plan = plan_export(annotated_store, tmp_path / "out", cameras=(1, 0), **EXACT)
    keys = set()
    for part in plan.parts:
        (name,) = part.files
        with tarfile.open(tmp_path / "out" / name) as archive:
            for row in part.rows:
                members = [m for m in archive.getnames() if m.startswith(f"{row:08d}.")]
                keys.add(tuple(member.partition(".")[2] for member in members))
        for sample in plan.format.decode(tmp_path / "out", part, plan.source):
            np.testing.assert_array_equal(
                sample.frames, plan.reader.read([sample.row], cameras=(1, 0))[0], strict=True
            )
            assert set(sample.annotations) == {column.name for column in plan.source.arrays}
    (only,) = keys
    assert only[:3] == ("json", "camera1.npy", "camera0.npy")
    assert len(only) == 3 + len(plan.source.arrays)


def test_annotations_are_those_of_the_store(annotated_store: Path, tmp_path: Path) -> None:
    trajstore.export(annotated_store, tmp_path / "out", **EXACT)
    assert_equals_store(annotated_store, tmp_path / "out", **EXACT)


def test_floats_and_videos_are_held(tiny_store: Path, tmp_path: Path) -> None:
    trajstore.export(tiny_store, tmp_path / "float", dtype="float32", **EXACT)
    assert_equals_store(tiny_store, tmp_path / "float", dtype="float32", **EXACT)
    trajstore.export(tiny_store, tmp_path / "mp4", **LOSSY)
    assert_equals_store(tiny_store, tmp_path / "mp4", psnr=PSNR_MIN, **LOSSY)


def test_tarfile_reads_it(tiny_store: Path, exported: Path) -> None:
    reader, rows = trajstore.open_reader(tiny_store), []
    for path in sorted(exported.glob("*.tar")):
        with tarfile.open(path, "r:") as archive:
            members = archive.getmembers()
            assert {member.mtime for member in members} == {0}
            for json_member, *cameras in zip(*[iter(members)] * 3, strict=True):
                label = json.load(archive.extractfile(json_member))  # type: ignore[arg-type]
                assert path.name == f"{label['split']}-000000.tar"
                assert label["caption"] == reader.captions([label["row"]])[0]
                for number, member in enumerate(cameras):
                    assert member.name == f"{label['row']:08d}.camera{number}.npy"
                    found = np.load(io.BytesIO(archive.extractfile(member).read()))  # type: ignore[union-attr]
                    np.testing.assert_array_equal(found, reader.read([label["row"]])[0, number])
                rows.append(label["row"])
    assert sorted(rows) == list(range(44))


@pytest.mark.filterwarnings("ignore")
def test_webdataset_reads_it(tiny_store: Path, exported: Path) -> None:
    import webdataset

    reader, rows = trajstore.open_reader(tiny_store), []
    urls = [str(path) for path in sorted(exported.glob("*.tar"))]
    for sample in webdataset.WebDataset(urls, shardshuffle=False).decode():
        row = int(sample["__key__"])
        assert sample["json"]["row"] == row
        for number in range(2):
            np.testing.assert_array_equal(sample[f"camera{number}.npy"], reader.read([row])[0, number])
        rows.append(row)
    assert sorted(rows) == list(range(44))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fixture", ["tiny_store", "world_store"])
def test_datasets_reads_it(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    store = request.getfixturevalue(fixture)
    trajstore.export(store, tmp_path / "out", **EXACT)
    files = {
        split: str(tmp_path / f"out/{split}-*.tar")
        for split in ("train", "val", "test")
        if (tmp_path / f"out/{split}-000000.tar").exists()
    }
    loaded = datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "cache"))
    reader, rows = trajstore.open_reader(store), []
    for split in files:
        for sample in loaded[split]:
            row = sample["json"]["row"]
            assert sample["json"]["split"] == split
            expected = reader.read([row])[0]
            np.testing.assert_array_equal(np.array(sample["camera1.npy"], np.uint8), expected[1])
            rows.append(row)
    assert sorted(rows) == list(range(44))


def test_videos_play_elsewhere(tiny_store: Path, tmp_path: Path) -> None:
    import av

    trajstore.export(tiny_store, tmp_path / "out", rows="0:8", **LOSSY)
    for path in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                if member.name.endswith(".mp4"):
                    row, camera = int(member.name[:8]), int(member.name.split(".")[1].removeprefix("camera"))
                    with av.open(archive.extractfile(member)) as video:
                        found = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode()])
                    expected = trajstore.open_reader(tiny_store).read([row])[0, camera]
                    assert measure_psnr(found.transpose(0, 3, 1, 2), expected) > PSNR_MIN


def test_a_killed_export_goes_on(tiny_store: Path, tmp_path: Path) -> None:
    assert_is_resumed(tiny_store, tmp_path, pattern="*.tar", at=2, **EXACT)


def test_a_full_disk_is_told(tiny_store: Path, tmp_path: Path) -> None:
    assert_goes_on_after_full_disk(tiny_store, tmp_path / "disk", size="256k", **EXACT)


def test_damage_is_found(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    names = ["train-000000.tar"]
    assert_damage_is_found(tiny_store, exported, tmp_path / "copy", names=names, **EXACT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 2**40}, "found 1,099,511,627,776 bytes, expected at most"),
        ({"name": "../../x"}, "found '../../x', expected '0"),
        ({"type": tarfile.SYMTYPE, "size": 0}, "expected '0"),
        ({"type": tarfile.GNUTYPE_SPARSE}, "expected"),
    ],
)
def test_hostile_members_are_refused(
    tiny_store: Path, exported: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    plan = plan_export(tiny_store, exported, **EXACT)
    (part,) = (part for part in plan.parts if part.files == ("train-000000.tar",))
    data = bytearray((exported / part.files[0]).read_bytes())
    info = tarfile.TarInfo.frombuf(bytes(data[:512]), "utf-8", "strict")
    for name, value in change.items():
        setattr(info, name, value)
    data[:512] = info.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / part.files[0]).write_bytes(data)
    with pytest.raises(BadFileError, match=message):
        list(plan.format.decode(tmp_path, part, plan.source))


def test_more_samples_than_expected_are_told(tiny_store: Path, exported: Path) -> None:
    plan = plan_export(tiny_store, exported, **EXACT)
    part = plan.parts[0]
    fewer = type(part)(part.rows[:-1], part.files)
    with pytest.raises(BadFileError, match="more samples"):
        list(plan.format.decode(exported, fewer, plan.source))


def test_tar_files_are_of_a_sensible_size() -> None:
    spec, video = DatasetSpec(), 4 * 32 * 3 * 64 * 64
    assert count_rows(make_source(spec)) == SHARD_BYTES // video == 162
    assert count_rows(make_source(spec, options={"video": "mp4"})) == 1000
    assert count_rows(make_source(spec, tensor_shape=(8, 128, 3, 1024, 1024))) == 1
    rows = np.arange(1000)
    parts = FORMATS["webdataset"].plan(rows, np.repeat(np.int8([0, 2]), 500), make_source(spec))
    assert [part.files[0] for part in parts] == [
        *(f"train-{number:06d}.tar" for number in range(4)),
        *(f"test-{number:06d}.tar" for number in range(4)),
    ]
    assert [row for part in parts for row in part.rows] == rows.tolist()


def test_what_videos_cannot_do_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    trajstore.build(tmp_path / "odd.zarr", samples=4, cameras=1, frames=2, height=15, width=16)
    with pytest.raises(SpecError, match=r"15 × 16 px, expected an even height.*; export with --video npy"):
        trajstore.export(tmp_path / "odd.zarr", tmp_path / "out", **LOSSY)
    with pytest.raises(SpecError, match="found 'float32', expected uint8 with format webdataset --video mp4"):
        trajstore.export(tmp_path / "odd.zarr", tmp_path / "out", dtype="float32", **LOSSY)
    with pytest.raises(SpecError, match="expected one of npy, mp4"):
        trajstore.export(
            tmp_path / "odd.zarr", tmp_path / "out", format="webdataset", options={"video": "mkv"}
        )
    assert not (tmp_path / "out").exists()


def test_only_videos_need_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FORMATS["webdataset"].list_packages({}) == ()
    monkeypatch.setattr(FORMATS["webdataset"], "list_packages", lambda _: ("no-such-package",))
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[video\]'"):
        check_installed("webdataset", {"video": "mp4"})
