"""What a scene tells beside its pictures: the same as its labels, and the same when it is compressed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.worlds import EVERYTHING
from zstandard import ZstdDecompressor

from trajstore.scene.annotations import PLANES, TRACKS
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import SHAPES, DatasetSpec
from trajstore.store.groups.annotations import ARRAYS

SMALL = {"samples": 40, "frames": 6, "horizon": 1, "cameras": 2, "height": 24, "width": 30}
DENSE = (*PLANES, "amodal")
ALL = slice(None)

WORLDS: dict[str, dict[str, Any]] = {
    "the default": {},
    "one camera, odd sizes": {"cameras": 1, "height": 33, "width": 47},
    "one pixel": {"height": 1, "width": 1},
    "two pixels": {"height": 1, "width": 2},
    "a row": {"height": 1, "width": 90},
    "a column": {"height": 90, "width": 1},
    "one frame": {"frames": 1},
    "larger than a block": {"height": 300, "width": 300, "frames": 2},
    "bodies that stand still": {"distractors": 5},
    "bodies that come and go": {"transients": [3, 5], "transient_frames": [1, 3], "shapes": SHAPES},
    "bodies that move, tumble and cross": {
        "distractors": 7,
        "motion": ["Bouncing"],
        "orientation": "tumbling",
        "shapes": SHAPES,
        "radius": [0.1, 0.4],
    },
    "bodies that fill the picture": {"radius": [0.3, 0.5], "margin": -0.9, "distractors": 3},
    "nothing but bodies": {"radius": [0.4, 0.6], "margin": -8.0, "distractors": 3, "width": 90},
    "spheres that tumble": {"distractors": 2, "orientation": "tumbling"},
    "blurred": {"blur": [0.2, 0.9], "distractors": 2},
    "moving cameras": {"orbit": [10, 30], "azimuth_jitter": 5.0},
    "everything": EVERYTHING,
}


def describe(**fields: Any) -> Scene:
    return make_scene(DatasetSpec.from_fields(**{**SMALL, **fields}), range(4))


def cut(values: NDArray[Any], chunk: tuple[int, int], *, is_amodal: bool) -> list[bytes]:
    """Chunks (bodies,) cameras by frames of an array, as bytes."""
    whole = values if is_amodal else values[None]
    _, cameras, frames = whole.shape[:3]
    return [
        part[camera : camera + chunk[0], frame : frame + chunk[1]].tobytes()
        for part in whole
        for camera in range(0, cameras, chunk[0])
        for frame in range(0, frames, chunk[1])
    ]


def check(scene: Scene, index: int, names: tuple[str, ...], chunk: tuple[int, int]) -> None:
    """Compare what is compressed with what is told."""
    told, compressed = scene.annotate(index, names, ALL, ALL), scene.compress_annotations(index, names, chunk)
    assert compressed.keys() == set(names)
    for name in names:
        wanted = cut(told[name], chunk, is_amodal=name == "amodal")
        found = [ZstdDecompressor().decompress(frame) for frame in compressed[name]]
        assert found == wanted, name


@pytest.mark.parametrize("fields", WORLDS.values(), ids=WORLDS)
def test_compressed_is_what_is_told(fields: dict[str, Any]):
    scene = describe(**fields)
    video = scene.spec.video
    for index in range(4):
        check(scene, index, DENSE, (1, video.frames))
    check(scene, 0, DENSE, (video.cameras, 1))
    check(scene, 0, DENSE, (video.cameras, video.frames))
    for name in DENSE:
        check(scene, 1, (name,), (1, max(1, video.frames // 2)))


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32),
            "height": st.integers(1, 80),
            "width": st.integers(1, 80),
            "frames": st.sampled_from([1, 2, 6]),
            "cameras": st.sampled_from([1, 2, 4]),
            "distractors": st.sampled_from([0, 2, 7]),
            "radius": st.sampled_from([(0.05, 0.1), (0.1, 0.5)]),
            "blur": st.sampled_from([0.0, 0.5]),
            "motion": st.sampled_from([("Still",), ("RandomWalk",)]),
            "orientation": st.sampled_from(["fixed", "tumbling"]),
            "orbit": st.sampled_from([0.0, 40.0]),
            "shapes": st.sampled_from([SHAPES, *((name,) for name in SHAPES)]),
            "margin": st.sampled_from([0.05, -0.6, -3.0]),
        }
    ),
    st.sets(st.sampled_from(DENSE), min_size=1),
    st.booleans(),
)
def test_compressed_is_what_is_told_in_any_world(
    fields: dict[str, Any], names: set[str], is_cut_by_camera: bool
):
    scene = describe(**fields)
    chunk = (1, fields["frames"]) if is_cut_by_camera else (fields["cameras"], max(1, fields["frames"] // 2))
    check(scene, 0, tuple(names), chunk)


@pytest.mark.parametrize("fields", WORLDS.values(), ids=WORLDS)
def test_agrees_with_the_labels(fields: dict[str, Any]):
    scene = describe(**fields)
    video, count = scene.spec.video, scene.spec.bodies.count
    visible, box = scene._count_visible(), scene.seen.box
    for index in range(4):
        told = scene.annotate(index, DENSE, ALL, ALL)
        ids, amodal = told["segmentation"], told["amodal"]
        assert amodal.shape == (count, video.cameras, video.frames, video.height, video.width)
        for body in range(count):
            np.testing.assert_array_equal((ids == body + 1).sum((-1, -2)), visible[index, body])
            assert amodal[body][ids == body + 1].all()
        assert ids.max() <= count
        np.testing.assert_array_equal(ids > 0, amodal.any(axis=0))
        np.testing.assert_array_equal(ids > 0, np.isfinite(told["depth_map"]))
        np.testing.assert_array_equal(ids > 0, told["normals"].any(axis=2))
        for body, camera, frame in np.argwhere(amodal.any(axis=(-1, -2))):
            rows, columns = np.nonzero(amodal[body, camera, frame])
            u_min, v_min, u_max, v_max = box[index, body, camera, frame].astype(float)
            slack = 1e-4
            assert u_min - slack <= columns.min() + 0.5
            assert columns.max() + 0.5 <= u_max + slack
            assert v_min - slack <= rows.min() + 0.5
            assert rows.max() + 0.5 <= v_max + slack


def test_boxes_end_where_silhouettes_do():
    scene = describe(height=120, width=160, distractors=5, shapes=SHAPES, radius=[0.2, 0.3])
    box, checked = scene.seen.box.astype(float), 0
    for index in range(4):
        amodal = scene.annotate(index, ("amodal",), ALL, ALL)["amodal"]
        for body, camera, frame in np.argwhere(amodal.any(axis=(-1, -2))):
            u_min, v_min, u_max, v_max = box[index, body, camera, frame]
            rows, columns = np.nonzero(amodal[body, camera, frame])
            ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            wanted = (max(u_min, 0), max(v_min, 0), min(u_max, 160), min(v_max, 120))
            # the sharpest tip is that of a cone, narrower than a pixel for less than two
            np.testing.assert_allclose(ends, wanted, rtol=0, atol=2.0)
            checked += 1
    assert checked > 100


def test_names_and_types():
    scene = describe(distractors=2, points=9)
    names = [array.name for arrays in ARRAYS.values() for array in arrays]
    assert set(names) == {*DENSE, *TRACKS}
    told = scene.annotate(2, names, ALL, ALL)
    assert list(told) == names
    size = (2, 6, 24, 30)
    assert {name: (array.dtype.name, array.shape) for name, array in told.items()} == {
        "segmentation": ("uint8", size),
        "depth_map": ("float32", size),
        "forward_flow": ("float32", (2, 6, 2, 24, 30)),
        "backward_flow": ("float32", (2, 6, 2, 24, 30)),
        "normals": ("float32", (2, 6, 3, 24, 30)),
        "amodal": ("bool", (3, *size)),
        "query_points": ("float32", (2, 9, 3)),
        "target_points": ("float32", (2, 9, 6, 2)),
        "occluded": ("bool", (2, 9, 6)),
    }


def test_some_cameras_and_frames_are_those_of_the_whole():
    scene = describe(**EVERYTHING)
    names = (*DENSE, *TRACKS)
    whole, part = scene.annotate(1, names, ALL, ALL), scene.annotate(1, names, slice(1, 2), slice(2, 5))
    for name in names:
        wanted = whole[name][:, 1:2, 2:5] if name == "amodal" else whole[name][1:2]
        np.testing.assert_array_equal(part[name], wanted[:, 2:5] if name in PLANES else wanted)


def test_a_row_does_not_depend_on_those_around_it():
    world = DatasetSpec.from_fields(**{**SMALL, **EVERYTHING})
    names = (*DENSE, *TRACKS)
    alone = make_scene(world, range(7, 8)).annotate(0, names, ALL, ALL)
    among = make_scene(world, range(4, 12)).annotate(3, names, ALL, ALL)
    for name in names:
        np.testing.assert_array_equal(alone[name], among[name])


def test_flow_has_no_numbers_where_there_is_no_other_frame():
    told = describe(distractors=2).annotate(0, ["forward_flow", "backward_flow"], ALL, ALL)
    missing = {name: np.isnan(flow).all(axis=(0, 2, 3, 4)) for name, flow in told.items()}
    some = {name: np.isnan(flow).any(axis=(0, 2, 3, 4)) for name, flow in told.items()}
    assert missing["forward_flow"].tolist() == some["forward_flow"].tolist() == [False] * 5 + [True]
    assert missing["backward_flow"].tolist() == some["backward_flow"].tolist() == [True] + [False] * 5


def test_blur_noise_and_patterns_change_nothing():
    plain = {"distractors": 3, "shapes": SHAPES, "orientation": "tumbling", "orbit": 20.0}
    names = (*DENSE, *TRACKS)
    sharp = describe(**plain).annotate(3, names, ALL, ALL)
    seen = describe(**plain, blur=0.9, noise=5.0, patterns=["checker"]).annotate(3, names, ALL, ALL)
    for name in names:
        np.testing.assert_array_equal(sharp[name], seen[name])


def test_the_middle_of_a_sphere_moves_as_the_labels_say():
    scene = describe(height=64, width=64, radius=[0.4, 0.4], classes=["Linear"])
    told = scene.annotate(0, ("forward_flow", "segmentation", "depth_map", "normals"), ALL, ALL)
    pixel, radius = scene.columns["pixel"][0], float(scene.columns["radius"][0])
    for camera, frame in np.ndindex(2, 5):
        column, row = np.floor(pixel[camera, frame]).astype(int)
        assert told["segmentation"][camera, frame, row, column] == 1
        moved = pixel[camera, frame + 1] - pixel[camera, frame]
        # what is nearer than the centre moves faster
        ratio = told["forward_flow"][camera, frame, :, row, column] / moved
        large = np.abs(moved) > 0.3
        assert (np.abs(ratio[large] - 1) < 0.4).all()
        depth = scene.columns["depth"][0, camera, frame]
        assert told["depth_map"][camera, frame, row, column] == pytest.approx(depth - radius, abs=0.01)
        assert told["normals"][camera, frame, 2, row, column] < -0.9


def test_surfaces_of_spheres_turn_where_bodies_tumble():
    fields = {"distractors": 1, "motion": ["Still"], "height": 64, "width": 64, "seed": 3}
    still, turning = describe(**fields), describe(**fields, orientation="tumbling")
    flows = [
        scene.annotate(0, ("forward_flow", "segmentation"), ALL, slice(0, 5)) for scene in (still, turning)
    ]
    other = flows[0]["segmentation"] == 2
    assert other.any()
    speed = [np.linalg.norm(flow["forward_flow"], axis=2)[other] for flow in flows]
    assert speed[0].max() < 1e-5
    assert np.median(speed[1]) > 0.1


def test_an_unknown_name_is_refused():
    with pytest.raises(KeyError):
        describe().annotate(0, ("depth",), ALL, ALL)
    with pytest.raises(KeyError):
        describe().compress_annotations(0, ("occluded",), (1, 6))
