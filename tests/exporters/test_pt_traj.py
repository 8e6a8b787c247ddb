"""The layout traj of format pt: what training code of one camera reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from jsonschema import Draft202012Validator
from support.export_faults import TINY, contents, export_and_die

import trajstore
from trajstore.errors import SpecError, SpecMismatchError
from trajstore.exporters import pt
from trajstore.exporters.traj import find_centers

SCHEMA = Path(__file__).parents[2] / "schemas/traj-label.schema.json"
TRAJ: dict[str, Any] = {"options": {"layout": "traj"}, "cameras": [1]}
THEIRS = ("class", "num_frames", "resolution", "num_cameras", "positions", "camera_positions")


def read(folder: Path, row: int) -> tuple[torch.Tensor, dict[str, Any]]:
    tensor = torch.load(folder / f"videos/traj_{row:05d}.pt", weights_only=True)
    return tensor, json.loads((folder / f"labels/traj_{row:05d}.json").read_bytes())


@pytest.fixture(scope="module")
def reference(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traj") / "reference"
    trajstore.export(tiny_store, path, **TRAJ)
    return path


def test_it_holds_one_camera_as_floats_and_their_keys(tiny_store: Path, reference: Path) -> None:
    group: Any = zarr.open_group(tiny_store, mode="r")
    schema = Draft202012Validator(json.loads(SCHEMA.read_bytes()))
    for row in range(44):
        tensor, label = read(reference, row)
        assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, (4, 3, 16, 16))
        expected = group["video"][row, 1].astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(tensor.numpy(), expected)
        assert tuple(label) == (*THEIRS, "future_position", "split")
        assert label["class"] == ("Linear", "Circular", "Helical", "Parabolic")[group["class_label"][row]]
        assert (label["num_frames"], label["resolution"], label["num_cameras"]) == (4, [16, 16], 1)
        np.testing.assert_array_equal(np.float32(label["positions"]), group["position"][row])
        np.testing.assert_array_equal(np.float32(label["future_position"]), group["future_position"][row])
        schema.validate(label)
    assert trajstore.validate(reference, tiny_store).is_valid


@pytest.mark.parametrize(
    "fields", [{}, {"azimuth_jitter": 20.0, "distance_jitter": 0.2}, {"orbit": 30.0}], ids=str
)
def test_cameras_stand_where_the_calibration_says(tmp_path: Path, fields: dict[str, Any]) -> None:
    trajstore.build(tmp_path / "s.zarr", **TINY, **fields)
    trajstore.export(tmp_path / "s.zarr", tmp_path / "out", rows="0:3", **TRAJ)
    reader = trajstore.open_reader(tmp_path / "s.zarr")
    for row in range(3):
        _, extrinsics = reader.calibration([row])
        transforms = extrinsics[0, 1]
        _, label = read(tmp_path / "out", row)
        found = np.array(label["camera_positions"])
        assert found.shape == ((1, 4, 3) if "orbit" in fields else (1, 3))
        for center, matrix in zip(found.reshape(-1, 3), transforms.reshape(-1, 3, 4), strict=False):
            # in its own frame a camera is at the origin
            np.testing.assert_allclose(matrix @ [*center, 1.0], 0.0, atol=1e-14)
    report = trajstore.validate(tmp_path / "out", tmp_path / "s.zarr")
    assert report.is_valid, report.faults


def test_the_center_of_a_camera_that_is_not_turned_is_minus_its_translation() -> None:
    extrinsics = np.hstack([np.eye(3), [[1.0], [0.0], [-3.0]]])
    assert find_centers(extrinsics).tolist() == [-1.0, 0.0, 3.0]


def test_what_it_cannot_hold_is_refused_in_one_line(
    tiny_store: Path, reference: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"found 2, expected 1 .*; choose one with --cameras 0$"):
        trajstore.export(tiny_store, tmp_path / "out", options={"layout": "traj"})
    with pytest.raises(SpecError, match="found 'uint8', expected float32 with format pt --layout traj"):
        trajstore.export(tiny_store, tmp_path / "out", dtype="uint8", **TRAJ)
    with pytest.raises(SpecMismatchError, match="options"):
        trajstore.export(tiny_store, reference, cameras=[1], dtype="float32")
    assert not (tmp_path / "out").exists()


def test_killed_it_goes_on_to_the_same_bytes(tiny_store: Path, reference: Path, tmp_path: Path) -> None:
    options = ("--layout", "traj", "--cameras", "1")
    export_and_die(tiny_store, tmp_path / "out", *options, method="replace", pattern="traj_*.pt", at=9)
    assert trajstore.validate(tmp_path / "out").layout == "traj"
    trajstore.export(tiny_store, tmp_path / "out", **TRAJ)
    assert contents(tmp_path / "out") == contents(reference)


def test_its_files_are_made_the_fast_way(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    render = pt.PatchedTensor.render
    monkeypatch.setattr(pt.PatchedTensor, "render", lambda self: made.append(1) or render(self))
    trajstore.export(tiny_store, tmp_path / "out", rows="0:8", **TRAJ)
    assert len(made) >= 8


@pytest.fixture
def theirs(reference: Path, tmp_path: Path) -> Path:
    """A folder as the first team wrote it: their keys only, and no metadata of trajstore's."""
    folder = Path(shutil.copytree(reference, tmp_path / "theirs"))
    (folder / "metadata.json").unlink()
    for path in (folder / "labels").iterdir():
        label = json.loads(path.read_bytes())
        path.write_text(json.dumps({key: label[key] for key in THEIRS}))
    return folder


def test_a_folder_of_their_own_is_read(theirs: Path) -> None:
    report = trajstore.validate(theirs)
    assert report.fault_counts == {"metadata-missing": 1}
    assert (report.format, report.layout, report.by_trajstore, report.samples) == ("pt", "traj", False, 44)
    assert report.classes == {"Linear": 11, "Circular": 11, "Helical": 11, "Parabolic": 11}
    os_path = theirs / "labels/traj_00003.json"
    label = json.loads(os_path.read_bytes())
    os_path.write_text(json.dumps(label | {"num_frames": 5, "num_cameras": 2}))
    (theirs / "videos/traj_00004.pt").write_text("hello")
    (theirs / "labels/traj_00005.json").unlink()
    assert trajstore.validate(theirs).fault_counts == {
        "metadata-missing": 1,
        "label-mismatch": 2,
        "video-unreadable": 1,
        "label-missing": 1,
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"class": "Spiral"}, "class: found 'Spiral'"),
        ({"num_frames": 5}, "num_frames: found 5, expected 4"),
        ({"resolution": [8, 16]}, "resolution: found (8, 16), expected (16, 16)"),
        ({"num_cameras": 2}, "num_cameras: found 2, expected 1"),
        ({"camera_positions": [[0.0] * 3] * 2}, "found (2, 3), expected (1, 3)"),
        ({"positions": [[0.0] * 3]}, "positions: found 1, expected 4"),
        ({"future_position": None}, "future_position: found none"),
    ],
)
def test_labels_that_contradict_the_metadata_are_faults(
    reference: Path, tmp_path: Path, fields: dict[str, Any], text: str
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "folder"))
    path = folder / "labels/traj_00003.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))
    report = trajstore.validate(folder)
    assert [text in fault.detail for fault in report.faults if fault.code == "label-mismatch"] == [True]


def test_another_camera_or_position_differs_from_the_store(
    tiny_store: Path, reference: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "folder"))
    path = folder / "labels/traj_00003.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"camera_positions": [[1.0, 2.0, 3.0]]}))
    shutil.copy(folder / "videos/traj_00006.pt", folder / "videos/traj_00007.pt")
    assert trajstore.validate(folder, tiny_store).fault_counts == {"content-video": 1, "content-label": 1}


def test_a_sound_export_is_valid_whatever_its_folder_is_called(reference: Path, tmp_path: Path) -> None:
    here = tmp_path / "not text \udcff"
    shutil.copytree(reference, here)
    assert trajstore.validate(here).faults == ()
