"""What a recording holds, read back with Rerun's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
import rerun
import xarray
from rerun.chunk import RrdReader
from support.faults import tree
from support.worlds import EVERYTHING

import trajstore
from trajstore.errors import IncompleteStoreError, MissingExtraError, OutputError, SpecError
from trajstore.pictures.annotations import COLORINGS
from trajstore.pictures.clips import Clip, load_clips
from trajstore.pictures.source import open_samples
from trajstore.reading.samples import Samples
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import DatasetSpec

Recording = dict[str, dict[str, Any]]
ROWS = (5, 40)


def read_back(path: Path) -> Recording:
    """What was logged, by entity: the values of each component in the order of the frames, and by frame."""
    entities: dict[str, Any] = {}
    for chunk in RrdReader(path).stream():
        values = entities.setdefault(chunk.entity_path, {"static": True, "at": {}})
        values["static"] &= chunk.is_static
        assert chunk.timeline_names == ([] if chunk.is_static else ["frame"])
        for record in chunk.to_record_batch().to_pylist():
            for name, value in record.items():
                values.setdefault(name, []).append(value)
                if not chunk.is_static and value is not None:
                    values["at"].setdefault(name, {})[record["frame"]] = value
    return entities


@pytest.fixture(scope="module")
def path(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "a.rrd"
    report = trajstore.view(tiny_store, ROWS, output=path)
    assert (report.output, report.rows, report.bytes) == (path, ROWS, path.stat().st_size)
    assert tree(path.parent).keys() == {".", "a.rrd"}
    return path


@pytest.fixture(scope="module")
def recording(path: Path) -> Recording:
    return read_back(path)


@pytest.fixture(scope="module")
def dataset(tiny_store: Path) -> xarray.Dataset:
    return xarray.open_zarr(tiny_store, chunks=None).load()


def test_a_recording_has_the_entities_of_each_row_and_a_layout(path: Path, recording: Recording):
    of_camera = ["", "/image", "/box", "/path", "/future"]
    expected = {
        f"/row_{row}{name}"
        for row in ROWS
        for name in [
            *("/labels", "/world", "/world/unit_ball", "/world/path", "/world/sphere", "/world/future"),
            *(f"/world/camera_{camera}{part}" for camera in range(2) for part in of_camera),
        ]
    }
    assert {name for name in recording if not name.startswith("/__")} == expected
    (blueprint,) = RrdReader(path).blueprints()
    shown = " ".join(
        str(record)
        for chunk in RrdReader(path).stream(store=blueprint)
        for record in chunk.to_record_batch().to_pylist()
    )
    for row in ROWS:
        assert f"row_{row}/world/camera_1" in shown
    assert "frame" in shown


@pytest.mark.parametrize("row", ROWS)
def test_cameras_are_those_of_the_store(recording: Recording, dataset: xarray.Dataset, row: int):
    for camera in range(2):
        logged = recording[f"/row_{row}/world/camera_{camera}"]
        assert logged["static"]
        ((columns,),) = logged["Pinhole:image_from_camera"]
        np.testing.assert_array_equal(
            np.reshape(columns, (3, 3)).T, dataset.intrinsics.values[camera].astype(np.float32)
        )
        assert logged["Pinhole:resolution"] == [[[16.0, 16.0]]]
        ((columns,),) = logged["Transform3D:mat3x3"]
        ((center,),) = logged["Transform3D:translation"]
        rotation, shift = np.split(dataset.extrinsics.values[camera], [3], axis=1)
        np.testing.assert_allclose(np.reshape(columns, (3, 3)).T, rotation.T, atol=1e-6)
        np.testing.assert_allclose(rotation @ center + shift[:, 0], 0.0, atol=1e-6)


@pytest.mark.parametrize("row", ROWS)
def test_what_moves_is_logged_by_frame(recording: Recording, dataset: xarray.Dataset, row: int):
    stored = dataset.isel(sample=row)
    sphere = recording[f"/row_{row}/world/sphere"]
    assert sphere["frame"] == [1, 2, 3, 4]
    np.testing.assert_array_equal(np.squeeze(sphere["Ellipsoids3D:centers"]), stored.position.values)
    np.testing.assert_array_equal(np.unique(sphere["Ellipsoids3D:half_sizes"]), [stored.radius.values])
    for camera in range(2):
        entity = f"/row_{row}/world/camera_{camera}"
        image = recording[f"{entity}/image"]
        assert image["frame"] == [1, 2, 3, 4]
        pictures = np.array(image["Image:buffer"], np.uint8).reshape(4, 16, 16, 3)
        np.testing.assert_array_equal(np.moveaxis(pictures, -1, 1), stored.video.values[camera])
        box = recording[f"{entity}/box"]
        assert box["frame"] == [1, 2, 3, 4]
        middle, half = np.squeeze(box["Boxes2D:centers"]), np.squeeze(box["Boxes2D:half_sizes"])
        found = np.concatenate([middle - half, middle + half], axis=1)
        np.testing.assert_allclose(found, stored.box.values[camera], atol=1e-4)


@pytest.mark.parametrize("row", ROWS)
def test_what_stands_still_is_that_of_the_store(
    recording: Recording, dataset: xarray.Dataset, tiny_store: Path, row: int
):
    stored = dataset.isel(sample=row)
    (clip,) = load_clips(open_samples(tiny_store), [row], cameras=[0, 1], frames=[1])
    path = recording[f"/row_{row}/world/path"]["LineStrips3D:strips"]
    np.testing.assert_array_equal(np.squeeze(path), stored.position.values)
    future = recording[f"/row_{row}/world/future"]
    np.testing.assert_array_equal(np.squeeze(future["Ellipsoids3D:centers"]), stored.future_position.values)
    assert future["Ellipsoids3D:labels"] == [["frame 9"]]
    for camera in range(2):
        entity = f"/row_{row}/world/camera_{camera}"
        path = recording[f"{entity}/path"]["LineStrips2D:strips"]
        np.testing.assert_array_equal(np.squeeze(path), stored.pixel.values[camera])
        point = recording[f"{entity}/future"]["Points2D:positions"]
        np.testing.assert_allclose(np.squeeze(point), clip.future_pixel[camera], rtol=1e-6)
    (((text,)),) = recording[f"/row_{row}/labels"]["TextDocument:text"]
    assert f"| class | {clip.class_name} |" in text
    assert f"| split | {clip.split} |" in text
    assert f"| row | {row} |" in text


def test_a_spec_can_be_viewed_before_it_is_built(tmp_path: Path):
    spec = DatasetSpec.from_fields(samples=8, frames=1, height=4, width=6, cameras=12)
    report = trajstore.view(spec, class_name="Linear", output=tmp_path / "a.rrd")
    assert report.classes == ("Linear", "Linear")
    recording = read_back(tmp_path / "a.rrd")
    image = recording[f"/row_{report.rows[0]}/world/camera_11/image"]
    assert image["frame"] == [1]
    assert len(image["Image:buffer"][0][0]) == 4 * 6 * 3


# ---------------------------------------------------------------------------------------------- worlds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Samples, Clip, Recording]:
    sizes = {"samples": 20, "cameras": 2, "frames": 6, "height": 32, "width": 40, "transients": 3}
    samples = open_samples(DatasetSpec.from_fields(**EVERYTHING | sizes))
    path = tmp_path_factory.mktemp("world") / "a.rrd"
    trajstore.view(samples.spec, [3], output=path)
    (clip,) = load_clips(samples, [3], cameras=[0, 1], frames=range(1, 7))
    return samples, clip, read_back(path)


def test_cameras_that_move_have_a_pose_at_each_frame(world: tuple[Samples, Clip, Recording]):
    samples, _, recording = world
    _, extrinsics = samples.calibration([3])
    for camera in range(2):
        logged = recording[f"/row_3/world/camera_{camera}"]["at"]
        for frame in range(6):
            rotation, shift = np.split(extrinsics[0, camera, frame], [3], axis=1)
            (columns,) = logged["Transform3D:mat3x3"][frame + 1]
            np.testing.assert_allclose(np.reshape(columns, (3, 3)).T, rotation.T, atol=1e-6)
            (center,) = logged["Transform3D:translation"][frame + 1]
            np.testing.assert_allclose(rotation @ center + shift[:, 0], 0.0, atol=1e-6)


def test_bodies_are_in_the_world_while_they_are_there(world: tuple[Samples, Clip, Recording]):
    _, clip, recording = world
    assert len(clip.bodies) > 3
    centers = {"sphere": "Ellipsoids3D:centers", "cube": "Boxes3D:centers", "cylinder": "Cylinders3D:centers"}
    for body in clip.bodies:
        logged = recording[f"/row_3/world/{body.name}"]["at"]
        found = logged[centers.get(body.shape, "Mesh3D:vertex_positions")]
        assert set(found) == {frame for frame in range(1, 7) if body.is_present(frame)}
        for frame, points in found.items():
            expected = body.corners([frame])[0] if body.shape == "cone" else body.position[[frame - 1]]
            np.testing.assert_allclose(points, expected, atol=1e-6)
        cleared = logged.get("Clear:is_recursive", {})
        assert cleared == ({} if body.last_frame == 6 else {body.last_frame + 1: [False]})


def test_boxes_are_those_of_bodies_in_view(world: tuple[Samples, Clip, Recording]):
    samples, clip, recording = world
    in_view = samples.column("body_in_view", [3])[0]
    numbers = [0 if body.role == "target" else int(body.name.rpartition("_")[2]) for body in clip.bodies]
    for camera in range(2):
        box = recording[f"/row_3/world/camera_{camera}/box"]["at"]
        for frame in range(6):
            named = [label.split(",")[0] for label in box["Boxes2D:labels"][frame + 1]]
            assert named == [
                body.name
                for body, number in zip(clip.bodies, numbers, strict=True)
                if in_view[number, camera, frame]
            ]
            middle = np.reshape(box["Boxes2D:centers"][frame + 1], (-1, 2))
            half = np.reshape(box["Boxes2D:half_sizes"][frame + 1], (-1, 2))
            assert (middle - half >= -1e-4).all()
            assert (middle + half <= np.array([40, 32]) + 1e-4).all()


def test_the_labels_of_a_world_are_told_in_words(world: tuple[Samples, Clip, Recording]):
    _, clip, recording = world
    (((text,)),) = recording["/row_3/labels"]["TextDocument:text"]
    assert text.startswith(f"{clip.caption}\n\n| label")
    assert f"| bodies | {len(clip.bodies)} |" in text
    for camera in range(2):
        assert recording[f"/row_3/world/camera_{camera}/future"]["Points2D:labels"] == [
            ["frame 11, cameras as at frame 6"]
        ]


# ---------------------------------------------------------------------------------------------- annotations

ALL = ("video", *COLORINGS)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, Clip, Recording, str]:
    sizes = {"samples": 20, "cameras": 2, "frames": 4, "height": 32, "width": 60, "transients": 3}
    samples = open_samples(DatasetSpec.from_fields(**EVERYTHING | sizes))
    path = tmp_path_factory.mktemp("annotated") / "a.rrd"
    trajstore.view(samples.spec, [3], output=path, show=[*ALL, "flow"])
    (clip,) = load_clips(samples, [3], cameras=[0, 1], frames=range(1, 5))
    (blueprint,) = RrdReader(path).blueprints()
    layout = " ".join(
        str(record)
        for chunk in RrdReader(path).stream(store=blueprint)
        for record in chunk.to_record_batch().to_pylist()
    )
    return make_scene(samples.spec, range(3, 4)), clip, read_back(path), layout


def values_of(scene: Scene, array: str) -> Any:
    """An array of the row, all cameras and frames."""
    return scene.annotate(0, [array], slice(None), slice(None))[array]


def test_bodies_are_classes_with_names_and_colours(annotated: tuple[Scene, Clip, Recording, str]):
    scene, clip, recording, _ = annotated
    ((classes,),) = [recording["/row_3/world"]["AnnotationContext:context"][0:1]]
    infos = [entry["class_description"]["info"] for entry in classes[0]]
    assert {info["id"]: info["label"] for info in infos} == {
        0: "background", **{body.number + 1: body.name for body in clip.bodies},
    }  # fmt: skip
    assert len({info["color"] for info in infos}) == len(infos)
    seen = values_of(scene, "segmentation")
    assert len(np.unique(seen)) > 2
    for camera in range(2):
        logged = recording[f"/row_3/world/camera_{camera}/segmentation"]["at"]["SegmentationImage:buffer"]
        for frame in range(4):
            found = np.array(logged[frame + 1][0], np.uint8).reshape(32, 60)
            np.testing.assert_array_equal(found, seen[camera, frame])


def test_depth_has_the_unit_of_the_world(annotated: tuple[Scene, Clip, Recording, str]):
    scene, _, recording, _ = annotated
    depth = values_of(scene, "depth_map")
    finite = depth[np.isfinite(depth)]
    for camera in range(2):
        logged = recording[f"/row_3/world/camera_{camera}/depth_map"]["at"]
        for frame in range(4):
            buffer = np.array(logged["DepthImage:buffer"][frame + 1][0], np.uint8).tobytes()
            np.testing.assert_array_equal(
                np.frombuffer(buffer, np.float32).reshape(32, 60), depth[camera, frame]
            )
            assert logged["DepthImage:meter"][frame + 1] == [1.0]
            ((low, high),) = logged["DepthImage:depth_range"][frame + 1]
            assert low <= finite.min() < finite.max() <= high


def test_flow_is_arrows_of_a_grid_of_pixels(annotated: tuple[Scene, Clip, Recording, str]):
    scene, _, recording, _ = annotated
    flow = values_of(scene, "forward_flow")
    count = 0
    for camera in range(2):
        logged = recording[f"/row_3/world/camera_{camera}/flow"]["at"]
        assert logged["Arrows2D:vectors"][4] == []  # there is no next frame
        for frame in range(3):
            origins = np.reshape(logged["Arrows2D:origins"][frame + 1], (-1, 2))
            vectors = np.reshape(logged["Arrows2D:vectors"][frame + 1], (-1, 2))
            u, v = (origins - 0.5).astype(int).T
            np.testing.assert_array_equal(origins, np.stack([u, v], -1) + 0.5)  # the centres of pixels
            np.testing.assert_array_equal(vectors.T, flow[camera, frame][:, v, u])
            assert (u % 2 == 1).all()  # every second pixel of 60
            count += len(vectors)
            moving = flow[camera, frame, :, 1::2, 1::2].any(axis=0).sum()
            assert len(vectors) == moving
    assert count > 20


@pytest.mark.parametrize("name", ["normals", "amodal"])
def test_what_the_viewer_has_no_type_for_is_coloured(
    annotated: tuple[Scene, Clip, Recording, str], name: str
):
    scene, _, recording, _ = annotated
    values = values_of(scene, name)
    for camera in range(2):
        logged = recording[f"/row_3/world/camera_{camera}/{name}"]["at"]["Image:buffer"]
        for frame in range(4):
            of_frame = values[:, camera, frame] if name == "amodal" else values[camera, frame]
            expected = np.moveaxis(COLORINGS[name].color(of_frame, (0.0, 1.0)), 0, -1)
            np.testing.assert_array_equal(
                np.array(logged[frame + 1][0], np.uint8).reshape(32, 60, 3), expected
            )


def test_each_of_what_is_shown_has_a_view(annotated: tuple[Scene, Clip, Recording, str]):
    _, _, recording, layout = annotated
    for name in ALL:
        assert f"camera 0, {name}" in layout
        assert "camera 1" not in layout  # six views of one camera are enough
    entities = {f"/row_3/world/camera_1/{name}" for name in COLORINGS}
    assert entities <= set(recording)


def test_annotations_of_a_store_are_those_of_its_spec(
    tmp_path: Path, tiny_store: Path, tiny_spec: DatasetSpec
):
    found = []
    for name, source in (("a", tiny_store), ("b", tiny_spec)):
        trajstore.view(source, [5], output=tmp_path / f"{name}.rrd", show=["segmentation"])
        logged = read_back(tmp_path / f"{name}.rrd")["/row_5/world/camera_1/segmentation"]
        found.append(logged["at"]["SegmentationImage:buffer"])
    assert found[0] == found[1]


def test_what_cannot_be_shown_is_refused_before_anything_is_opened():
    with pytest.raises(SpecError, match="show: found 'tracks', expected one of video, segmentation,"):
        trajstore.view("no such store", show=["flow", "tracks"])


# ---------------------------------------------------------------------------------------------- the screen


def test_without_a_screen_it_says_how_to_save_a_recording(tiny_store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    ways = rf"trajstore view {tiny_store} --web, .*trajstore view {tiny_store} -o FILE\.rrd"
    with pytest.raises(OutputError, match=rf"found no screen .*{ways}"):
        trajstore.view(tiny_store)


def test_a_browser_of_this_machine_gets_the_viewer(tiny_store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    report = trajstore.view(tiny_store, [5], web=True)
    assert report.url is not None
    assert report.server is not None
    try:
        address = urlsplit(report.url)
        assert address.hostname == "127.0.0.1"
        with urlopen(report.url, timeout=20) as page:
            assert b"<html" in page.read()
        options = report.server.args
        assert options[options.index("--bind") + 1] == "127.0.0.1"  # type: ignore[union-attr, index]
    finally:
        report.server.kill()
    report.wait()
    assert report.rows == (5,)


def test_a_server_that_does_not_start_says_why(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    viewer = tmp_path / "viewer"
    viewer.write_text("#!/bin/sh\necho out of order\n")
    viewer.chmod(0o755)
    monkeypatch.setattr("trajstore.pictures.recording._find_viewer", lambda: str(viewer))
    with pytest.raises(OutputError, match="the viewer did not start: out of order; save a recording with"):
        trajstore.view(tiny_store, [0], web=True)


def test_a_browser_and_a_file_are_not_asked_for_together(tiny_store: Path, tmp_path: Path):
    with pytest.raises(SpecError, match=r"found both a browser and the file .*a\.rrd"):
        trajstore.view(tiny_store, output=tmp_path / "a.rrd", web=True)


def test_extremes_are_recorded(tmp_path: Path):
    spec = DatasetSpec.from_fields(samples=1, cameras=1, frames=1, height=1, width=1)
    report = trajstore.view(spec, output=tmp_path / "a.rrd", show=["video", "flow"])
    assert (report.rows, report.classes) == ((0,), ("Linear",))


def test_on_a_screen_the_viewer_gets_everything(
    tiny_store: Path, path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DISPLAY", ":7")
    spawned: list[dict[str, Any]] = []

    def spawn(**options: Any) -> None:
        spawned.append(options | {"memory": options["recording"].memory_recording()})

    monkeypatch.setattr(rerun, "spawn", spawn)
    report = trajstore.view(tiny_store, ROWS)
    assert (report.output, report.rows, report.bytes) == (None, ROWS, 0)
    ((options),) = spawned
    assert isinstance(options["default_blueprint"], rerun.blueprint.Blueprint)
    shown = path.with_name("shown.rrd")
    shown.write_bytes(options["memory"].drain_as_bytes())
    found = read_back(shown)
    images = [name for name in recording if name.endswith("/image")]
    assert images
    for name in images:
        assert found[name]["Image:buffer"] == recording[name]["Image:buffer"]
    shown.unlink()


def test_a_viewer_that_does_not_start_is_one_error(tiny_store: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(**_: Any) -> None:
        message = "no such executable"
        raise RuntimeError(message)

    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setattr(rerun, "spawn", fail)
    with pytest.raises(
        OutputError, match="the viewer did not start: no such executable; save a recording with"
    ):
        trajstore.view(tiny_store, [0])


@pytest.mark.parametrize("output", [None, "a.rrd"])
def test_without_rerun_it_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str | None
):
    monkeypatch.setattr("trajstore.pictures.outputs.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"needs rerun, .*pip install '\.\[view\]'"):
        trajstore.view("nothing", output=output and tmp_path / output)


def test_what_cannot_be_recorded_is_refused(tmp_path: Path, tiny_copy: Path):
    with pytest.raises(SpecError, match=r"found the ending '\.mp4', expected one of \.rrd"):
        trajstore.view(tiny_copy, output=tmp_path / "a.mp4")
    (tiny_copy / "video_written" / "c.0").unlink()
    with pytest.raises(IncompleteStoreError, match="rows 0 … 7 of the video are not written yet"):
        trajstore.view(tiny_copy, [2], output=tmp_path / "a.rrd")
    with pytest.raises(OutputError, match="lies in the store"):
        trajstore.view(tiny_copy, [20], output=tiny_copy / "a.rrd")
    assert not (tmp_path / "a.rrd").exists()
