"""A folder of videos: what others read of it is what the store holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.exported import (
    assert_damage_is_found,
    assert_equals_store,
    assert_goes_on_after_full_disk,
    assert_is_resumed,
    measure_psnr,
)

import trajstore
from trajstore.errors import SpecError
from trajstore.exporters.interface import BadFileError
from trajstore.exporters.plan import plan_export

LOSSY: dict[str, Any] = {"format": "videofolder", "options": {}}
EXACT: dict[str, Any] = {"format": "videofolder", "options": {"video": "mkv"}}
PSNR_MIN = 24.0
"""Of 16 × 16 px, in which a ball is smaller than what shares a colour."""


@pytest.fixture(scope="module")
def exported(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videofolder") / "out"
    trajstore.export(tiny_store, path, **EXACT)
    return path


def test_it_holds_what_the_store_holds(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    assert_equals_store(tiny_store, exported, **EXACT)
    trajstore.export(tiny_store, tmp_path / "mp4", **LOSSY)
    assert_equals_store(tiny_store, tmp_path / "mp4", psnr=PSNR_MIN, **LOSSY)


def test_a_world_seen_by_one_camera_is_held(world_store: Path, tmp_path: Path) -> None:
    trajstore.export(world_store, tmp_path / "out", cameras=(1,), **EXACT)
    assert_equals_store(world_store, tmp_path / "out", cameras=(1,), **EXACT)
    assert len(list((tmp_path / "out").glob("*/*_camera1.mkv"))) == 44


@pytest.mark.parametrize("how", [EXACT, LOSSY], ids=["mkv", "mp4"])
def test_videos_play_elsewhere(tiny_store: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    trajstore.export(tiny_store, tmp_path / "out", rows="0:8", **how)
    for labels in (tmp_path / "out").glob("*/metadata.jsonl"):
        for line in labels.read_text().splitlines():
            label = json.loads(line)
            for camera, name in enumerate(label["videos_file_names"]):
                with av.open(labels.parent / name) as video:
                    found = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
                expected = trajstore.open_reader(tiny_store).read([label["row"]])[0, camera]
                if how is EXACT:
                    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), expected)
                else:
                    assert measure_psnr(found.transpose(0, 3, 1, 2), expected) > PSNR_MIN


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fixture", ["tiny_store", "world_store"])
def test_datasets_reads_it(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    store = request.getfixturevalue(fixture)
    trajstore.export(store, tmp_path / "out", **LOSSY)
    loaded = datasets.load_dataset(
        "videofolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache")
    )
    names = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert {split.removesuffix("idation") for split in loaded} == names
    reader, rows = trajstore.open_reader(store), []
    for split, samples in loaded.items():
        assert samples.features["videos"] == datasets.List(datasets.Video())
        for sample in samples.cast_column("videos", datasets.List(datasets.Video(decode=False))):
            assert sample["split"] == split.removesuffix("idation")
            assert sample["caption"] == reader.captions([sample["row"]])[0]
            assert [Path(video["path"]).name for video in sample["videos"]] == [
                f"{sample['row']:08d}_camera{camera}.mp4" for camera in range(2)
            ]
            assert all(Path(video["path"]).is_file() for video in sample["videos"])
            rows.append(sample["row"])
    assert sorted(rows) == list(range(44))


@pytest.mark.parametrize(("pattern", "at"), [("*.mkv", 31), ("metadata.jsonl", 2), ("metadata.json", 1)])
def test_a_killed_export_goes_on(tiny_store: Path, tmp_path: Path, pattern: str, at: int) -> None:
    assert_is_resumed(tiny_store, tmp_path, pattern=pattern, at=at, **EXACT)


def test_a_full_disk_is_told(tiny_store: Path, tmp_path: Path) -> None:
    assert_goes_on_after_full_disk(tiny_store, tmp_path / "disk", size="128k", **EXACT)


def test_damage_is_found(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    name = min(path.name for path in (exported / "train").glob("*.mkv"))
    names = [f"train/{name}", "train/metadata.jsonl"]
    assert_damage_is_found(tiny_store, exported, tmp_path / "copy", names=names, **EXACT)


def test_labels_of_another_row_are_told(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    plan = plan_export(tiny_store, exported, **EXACT)
    part = plan.parts[0]
    split = part.files[0].partition("/")[0]
    (tmp_path / split).mkdir()
    for name in part.files:
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    labels = (exported / split / "metadata.jsonl").read_bytes()
    start = b'{"row":%d,' % part.rows[0]
    for content, code in {
        labels.replace(start, b'{"row":99,'): "missing",
        labels.replace(start, start + b'"row":98,'): "invalid",
        labels.replace(start + b'"videos', start + b"'"): "unreadable",
    }.items():
        (tmp_path / split / "metadata.jsonl").write_bytes(content)
        with pytest.raises(BadFileError) as caught:
            list(plan.format.decode(tmp_path, part, plan.source))
        assert caught.value.code == code


def test_what_cannot_be_held_is_refused_before_anything_is_written(
    annotated_store: Path, tmp_path: Path
) -> None:
    trajstore.build(tmp_path / "odd.zarr", samples=4, cameras=1, frames=2, height=16, width=15)
    with pytest.raises(SpecError, match=r"16 × 15 px, expected an even height.*; export with --video mkv"):
        trajstore.export(tmp_path / "odd.zarr", tmp_path / "out", **LOSSY)
    with pytest.raises(SpecError, match="found 'float32', expected uint8"):
        trajstore.export(tmp_path / "odd.zarr", tmp_path / "out", dtype="float32", **EXACT)
    with pytest.raises(SpecError, match="annotations: found flow, expected none"):
        trajstore.export(annotated_store, tmp_path / "out", annotations=["flow"], **EXACT)
    assert not (tmp_path / "out").exists()
    trajstore.export(tmp_path / "odd.zarr", tmp_path / "out", **EXACT)
    assert_equals_store(tmp_path / "odd.zarr", tmp_path / "out", **EXACT)
