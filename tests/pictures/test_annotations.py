"""Colours say what the values are, and come from the row wherever the samples come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from numpy.typing import NDArray
from support.worlds import EVERYTHING

from trajstore.errors import DriftError, SpecError
from trajstore.pictures.annotations import (
    COLORINGS,
    annotate,
    body_colors,
    check_computable,
    check_show,
    color_bodies,
    color_clips,
    color_depth,
    color_flow,
    color_normals,
    color_silhouettes,
    find_last,
    measure,
    measure_depth,
    measure_flow,
)
from trajstore.pictures.clips import Clip, load_clips
from trajstore.pictures.legend import list_colors
from trajstore.pictures.palette import BODIES, FAINT, GROUND, TARGET, to_rgb
from trajstore.pictures.source import open_samples
from trajstore.reading.samples import Samples
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec

SPEC: dict[str, Any] = EVERYTHING | {
    "samples": 20, "frames": 7, "height": 24, "width": 32, "cameras": 3, "radius": [0.2, 0.4], "clearance": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def samples() -> Samples:
    return open_samples(DatasetSpec.from_fields(**SPEC))


@pytest.fixture(scope="module")
def clips(samples: Samples) -> list[Clip]:
    return list(load_clips(samples, [3, 11], cameras=[2, 0], frames=[1, 3, 4, 6]))


def brightness(color: Any) -> float:
    """Relative luminance of levels in sRGB."""
    share = np.asarray(color, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


# ---------------------------------------------------------------------------------------------- colours


def test_bodies_have_the_colours_of_their_numbers():
    shown = color_bodies(np.array([[0, 1, 2, 19, 20]], np.uint8))
    assert shown.shape == (3, 1, 5)
    assert shown[:, 0].T.tolist() == [
        list(to_rgb(c)) for c in (GROUND, TARGET, *BODIES[:1], BODIES[17], BODIES[0])
    ]
    assert color_bodies(np.full((2, 4, 3), 254, np.uint8)).shape == (2, 3, 4, 3)


def test_the_target_is_the_brightest_and_the_background_the_darkest():
    ground, target, *others = body_colors(1 + len(BODIES)).tolist()
    assert len({tuple(color) for color in others}) == len(BODIES)
    light = [brightness(color) for color in others]
    contrast = [(brightness(target) + 0.05) / (value + 0.05) for value in light]
    assert min(contrast) > 1.4
    assert min((value + 0.05) / (brightness(ground) + 0.05) for value in light) > 1.4


def test_silhouettes_are_mixed_where_they_overlap():
    inside = np.array([[[1, 1, 0, 0]], [[1, 0, 1, 0]]], bool)[:, None]
    (shown,) = color_silhouettes(inside)
    target, body, ground = (np.array(to_rgb(color), float) for color in (TARGET, BODIES[0], GROUND))
    np.testing.assert_allclose(shown[:, 0].T, [(target + body) / 2, target, body, ground], atol=0.5)


def test_what_is_near_is_bright_and_the_background_is_neutral():
    shown = color_depth(np.array([[2.0, 2.5, 3.0, 4.0, np.inf]], np.float32), (2.0, 4.0))
    light = [brightness(shown[:, 0, place]) for place in range(5)]
    assert light == sorted(light, reverse=True)
    assert tuple(shown[:, 0, 4]) == to_rgb(GROUND)
    assert tuple(shown[:, 0, 0]) == (253, 231, 37)  # where viridis ends
    assert light[3] > 2 * light[4]
    flat = color_depth(np.full((1, 1), 2.0, np.float32), (2.0, 2.0))
    assert tuple(flat[:, 0, 0]) != to_rgb(GROUND)


@pytest.mark.parametrize(
    ("flow", "color"),
    [
        ((2.0, 0.0), (255, 0, 0)),  # right
        ((1.0, 0.0), (255, 128, 128)),
        ((-2.0, 0.0), (0, 197, 255)),  # left
        ((0.0, 2.0), (255, 234, 0)),  # down
        ((0.0, -2.0), (103, 0, 255)),  # up
        ((9.0, 0.0), (255, 0, 0)),  # longer than the scale
        ((0.0, 0.0), (255, 255, 255)),
        ((np.nan, np.nan), to_rgb(FAINT)),
    ],
)
def test_flow_has_the_colours_of_the_wheel(flow: tuple[float, float], color: tuple[int, int, int]):
    shown = color_flow(np.reshape(flow, (2, 1, 1)).astype(np.float32), (0.0, 2.0))
    np.testing.assert_allclose(shown[:, 0, 0], color, atol=1)


@given(angle=st.floats(0.0, 2 * np.pi), length=st.floats(0.05, 1.0))
def test_hue_is_the_direction_and_saturation_the_length(angle: float, length: float):
    at = np.array([np.cos(angle), np.sin(angle)]).reshape(2, 1, 1)
    full, shown = (color_flow(at * size, (0.0, 1.0))[:, 0, 0] / 255 for size in (1.0, length))
    hue, saturation, value = rgb_to_hsv(full)
    assert (saturation, value) == pytest.approx((1.0, 1.0), abs=0.01)
    np.testing.assert_allclose(shown, hsv_to_rgb((hue, length, 1.0)), atol=0.01)


def test_normals_are_shifted_into_the_range_of_colours():
    normals = np.array([(1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 0)], np.float32).T[:, None]
    assert color_normals(normals)[:, 0].T.tolist() == [
        [255, 128, 128], [128, 0, 128], [128, 128, 0], list(to_rgb(GROUND)),
    ]  # fmt: skip


def test_scales_hold_all_values_and_are_short_numbers():
    assert measure_depth(np.array([np.inf, 2.3451, 4.0999])) == (2.34, 4.10)
    assert measure_depth(np.array([np.inf])) == (np.inf, -np.inf)
    flow = np.array([[3.0, np.nan], [4.011, np.nan]]).reshape(2, 1, 2)
    assert measure_flow(flow) == (0.0, 5.1)
    assert measure_flow(0.1 * flow) == (0.0, 0.51)
    assert measure_flow(0.0 * flow) == (0.0, 0.0)


# ---------------------------------------------------------------------------------------------- clips


@pytest.mark.parametrize("name", COLORINGS)
def test_clips_are_coloured_camera_by_camera_and_frame_by_frame(
    samples: Samples, clips: list[Clip], name: str
):
    colored, scale = color_clips(samples, clips, name)
    assert scale == measure(samples, clips, name)
    array = COLORINGS[name].array
    for before, clip in zip(clips, colored, strict=True):
        assert clip.video.shape == before.video.shape
        assert clip.video.dtype == np.uint8
        whole = make_scene(samples.spec, range(clip.row, clip.row + 1)).annotate(
            0, [array], slice(None), slice(None)
        )[array]
        for place, camera in enumerate((2, 0)):
            for index, frame in enumerate((1, 3, 4, 6)):
                values = whole[..., camera, frame - 1, :, :] if name == "amodal" else whole[camera, frame - 1]
                expected = COLORINGS[name].color(values, scale)
                np.testing.assert_array_equal(clip.video[place, index], expected)
    assert not all((clip.video == clip.video[:, :1]).all() for clip in colored)


def test_one_scale_holds_for_all_clips(samples: Samples, clips: list[Clip]):
    def seen(array: str) -> NDArray[np.float64]:
        values = [values for clip in clips for (values,) in annotate(samples, clip, [array])]
        return np.stack(values).astype(float)

    low, high = measure(samples, clips, "depth_map")
    depth = seen("depth_map")
    depth = depth[np.isfinite(depth)]
    assert 0 <= depth.min() - low < 0.01001
    assert 0 <= high - depth.max() < 0.01001
    _, longest = measure(samples, clips, "flow")
    flow = seen("forward_flow")
    assert 1.0 <= longest / np.hypot(flow[:, :, 0], flow[:, :, 1]).max() < 1.11


def test_nothing_to_measure_is_no_error():
    samples = open_samples(DatasetSpec.from_fields(samples=4, frames=1, height=8, width=8, cameras=1))
    clips = list(load_clips(samples, [0], cameras=[0], frames=[1]))
    colored, scale = color_clips(samples, clips, "flow")
    assert scale == (0.0, 1.0)  # there is no next frame
    assert {tuple(color) for color in colored[0].video.reshape(3, -1).T} == {to_rgb(FAINT)}
    assert (find_last(1, "flow"), find_last(9, "flow"), find_last(9, "normals")) == (1, 8, 9)


def test_what_cannot_be_shown_is_refused():
    check_show(["video", "flow"])
    for names, found in ((["flow", "flwo"], "'flwo'"), ([], "nothing"), (["tracks"], "'tracks'")):
        with pytest.raises(SpecError, match=rf"show: found {found}, expected one of video, segmentation, "):
            check_show(names)


def test_rows_of_another_generator_are_not_annotated(tiny_copy: Path):
    check_computable(open_samples(tiny_copy))
    path = tiny_copy / "zarr.json"
    fingerprint = open_samples(tiny_copy).spec.fingerprint
    text = path.read_text()
    assert fingerprint in text
    path.write_text(text.replace(fingerprint, "0" * len(fingerprint)))
    with pytest.raises(DriftError, match="found rows of another generator"):
        check_computable(open_samples(tiny_copy))


# ---------------------------------------------------------------------------------------------- legends


def test_legends_have_the_numbers_of_the_scale(clips: list[Clip]):
    ((depth, ground),) = list_colors("depth_map", (2.0, 4.5), clips)
    assert depth.text == "z: 2 to 4.5 world units"
    assert depth.picture is not None
    ends = color_depth(np.array([[2.0, 4.5]], np.float32), (2.0, 4.5))
    np.testing.assert_array_equal(depth.picture[:, 0, [0, -1]], ends[:, 0])
    assert ground.picture is not None
    assert tuple(ground.picture[:, 0, 0]) == to_rgb(GROUND)
    ((flow,),) = list_colors("flow", (0.0, 3.2), clips)
    assert flow.text.endswith("full colour: 3.2 px per frame")


def test_the_wheel_and_the_ball_are_those_of_the_pictures(clips: list[Clip]):
    ((flow,),) = list_colors("flow", (0.0, 3.2), clips)
    ((normals,),) = list_colors("normals", (0.0, 1.0), clips)
    assert flow.picture is not None
    assert normals.picture is not None
    side = flow.picture.shape[1]
    middle = side // 2
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        at = (slice(None), middle + y * (middle - 3), middle + x * (middle - 3))
        full = color_flow(np.array([x, y], float).reshape(2, 1, 1), (0.0, 1.0))[:, 0, 0]
        assert np.abs(flow.picture[at].astype(int) - full).max() < 50
        bent = np.array([x, y, 0], float) * (middle - 2.5) / middle
        bent[2] = -np.sqrt(1 - bent @ bent)
        expected = color_normals(bent.reshape(3, 1, 1))[:, 0, 0]
        assert np.abs(normals.picture[at].astype(int) - expected).max() < 20
    assert (flow.picture[:, 0, 0] == 255).all()  # the corners are paper


def test_legends_of_bodies_name_as_many_as_there_are(clips: list[Clip]):
    last = max(body.number for clip in clips for body in clip.bodies)
    (line,) = list_colors("segmentation", (0.0, 1.0), clips)
    assert [entry.text for entry in line] == ["background", "target", f"bodies 1 to {last}"]
    assert line[2].picture is not None
    found = list(dict.fromkeys(map(tuple, line[2].picture[:, 0].T.tolist())))
    assert found == [to_rgb(color) for color in BODIES[:last]]
    first, second = list_colors("amodal", (0.0, 1.0), clips)
    assert [entry.text for entry in first] == [entry.text for entry in line]
    assert "mixed where they overlap" in second[0].text
    plain = DatasetSpec.from_fields(samples=4, frames=1, height=8, width=8, cameras=1)
    alone = list(load_clips(open_samples(plain), [0], cameras=[0], frames=[1]))
    for name in ("segmentation", "amodal"):
        (line,) = list_colors(name, (0.0, 1.0), alone)
        assert [entry.text for entry in line] == ["background", "sphere"]
