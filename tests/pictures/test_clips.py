from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.worlds import EVERYTHING

from trajstore.errors import IncompleteStoreError
from trajstore.kernels.poses import make_scratch
from trajstore.kernels.visible import count_visible
from trajstore.pictures.choose import BYTES_MAX, choose_cameras, choose_frames, favor_transients, spread
from trajstore.pictures.clips import HIDDEN, PARTLY, VISIBLE, Clip, load_clips
from trajstore.pictures.shapes import find_ellipse, find_outline, measure_inside
from trajstore.pictures.source import open_samples
from trajstore.scene.rotations import to_matrices
from trajstore.spec import SHAPES, DatasetSpec


@pytest.fixture(scope="module")
def clips(tiny_store: Path) -> list[Clip]:
    return list(load_clips(open_samples(tiny_store), [5, 40], cameras=[1, 0], frames=[1, 4]))


@pytest.fixture(scope="module")
def dataset(tiny_store: Path) -> xarray.Dataset:
    return xarray.open_zarr(tiny_store, chunks=None).load()


def test_a_clip_holds_what_is_stored(clips: list[Clip], dataset: xarray.Dataset):
    assert [clip.row for clip in clips] == [5, 40]
    for clip in clips:
        row = dataset.isel(sample=clip.row)
        np.testing.assert_array_equal(clip.video, row.video.values[[1, 0]][:, [0, 3]])
        np.testing.assert_array_equal(clip.target.pixel, row.pixel.values[[1, 0]])
        np.testing.assert_array_equal(clip.target.box, row.box.values[[1, 0]])
        np.testing.assert_array_equal(clip.target.position, row.position.values)
        np.testing.assert_array_equal(clip.future_position, row.future_position.values)
        assert clip.target.color == tuple(row.object_color.values)
        assert clip.background_color == tuple(row.background_color.values)
        assert clip.target.radius == row.radius.item()
        assert len(clip.bodies) == 1
        assert (clip.caption, clip.facts) == ("", {})
        assert clip.class_name == dataset.class_label.flag_meanings.split()[row.class_label.item()]
        assert clip.split == ("train", "val", "test")[row.split.item()]
        assert clip.future_frame == 9
        np.testing.assert_array_equal(clip.cameras.intrinsics, dataset.intrinsics.values[[1, 0]])


def test_projection_is_that_of_the_stored_pixels(clips: list[Clip]):
    for clip in clips:
        found = clip.cameras.project(clip.target.position[:, None], range(1, 5))
        np.testing.assert_allclose(found[:, :, 0], clip.target.pixel, atol=1e-4)


def test_corners_appear_at_the_corners(clips: list[Clip]):
    cameras = clips[0].cameras
    corners = cameras.corners(2.5, 1)
    for camera in range(2):
        for corner, expected in zip(corners[camera], [(0, 0), (16, 0), (16, 16), (0, 16)], strict=True):
            found = cameras.project(corner[None, None], [1])[camera, 0, 0]
            np.testing.assert_allclose(found, expected, atol=1e-9)
        ahead = corners[camera].mean(axis=0) - cameras.centers(1)[camera]
        np.testing.assert_allclose(np.linalg.norm(ahead), 2.5)


def test_cameras_look_at_the_origin_from_their_distance(clips: list[Clip]):
    np.testing.assert_allclose(np.linalg.norm(clips[0].cameras.centers(1), axis=1), 4.0)
    np.testing.assert_allclose(clips[0].cameras.corners(4.0, 1).mean(axis=1), 0.0, atol=1e-12)


def test_a_row_that_is_not_written_is_refused(tiny_copy: Path):
    (tiny_copy / "video_written" / "c.0").unlink()
    with pytest.raises(
        IncompleteStoreError, match="rows 0 … 7 of the video are not written yet; finish the store"
    ):
        next(load_clips(open_samples(tiny_copy), [3], cameras=[0], frames=[1]))


@given(count=st.integers(1, 10_000), most=st.integers(1, 700))
def test_some_of_many_are_evenly_spaced(count: int, most: int):
    chosen = spread(count, most, first=1)
    assert len(chosen) == min(count, most)
    assert chosen[-1] == count
    assert chosen[0] == (1 if most > 1 else count)
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


@given(count=st.integers(1, 256), most=st.integers(1, 8))
def test_cameras_are_spaced_around_the_whole_ring(count: int, most: int):
    chosen = choose_cameras(count, most=most)
    assert len(chosen) == min(count, most)
    gaps = np.diff([*chosen, chosen[0] + count])
    assert gaps.max() - gaps.min() <= 1


def test_frames_fit_into_memory():
    video = DatasetSpec.from_fields(height=1080, width=1920, frames=5000).video
    frames = choose_frames(video, rows=4, cameras=4, most=600)
    assert 2 < len(frames) * 16 * 3 * 1080 * 1920 <= BYTES_MAX
    assert (frames[0], frames[-1]) == (1, 5000)
    huge = DatasetSpec.from_fields(height=16384, width=16384, frames=9).video
    assert choose_frames(huge, rows=12, cameras=8, most=600) == (1, 9)
    assert choose_frames(DatasetSpec().video, rows=4, cameras=4, most=600) == tuple(range(1, 33))


# ---------------------------------------------------------------------------------------------- worlds

WORLD: dict[str, Any] = EVERYTHING | {
    "samples": 40, "frames": 6, "height": 48, "width": 64, "cameras": 2,
    "radius": [0.1, 0.3], "distractors": [4, 6], "clearance": None,
}  # fmt: skip
WORLDS = {
    "everything": WORLD,
    "static": WORLD | {"orbit": 0.0} | {name: 0.0 for name in WORLD if name.endswith("_jitter")},
    "jittered": WORLD | {"orbit": 0.0},
    "close": WORLD | {"margin": -1.5, "orbit": 0.0},
}


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> list[Clip]:
    samples = open_samples(DatasetSpec.from_fields(**WORLDS[request.param]))
    return list(load_clips(samples, range(0, 40, 8), cameras=[0, 1], frames=range(1, 7)))


def test_bodies_are_projected_to_where_their_labels_are(world: list[Clip]):
    for clip in world:
        assert clip.bodies[0].role == "target"
        for body in clip.bodies:
            frames = range(body.first_frame, body.last_frame + 1)
            found = clip.cameras.project(body.path[:, None], frames)[:, :, 0]
            np.testing.assert_allclose(found, body.pixel[:, frames[0] - 1 : frames[-1]], atol=1e-3)
            assert np.isfinite(body.position).all(axis=1).sum() == len(frames)


def test_bodies_are_the_hulls_of_their_corners(world: list[Clip]):
    shapes = set()
    for clip in world:
        for body in clip.bodies:
            if body.shape == "sphere":
                continue
            shapes.add(body.shape)
            frames = range(body.first_frame, body.last_frame + 1)
            seen = clip.cameras.project(body.corners(frames), frames)
            box = body.box[:, frames[0] - 1 : frames[-1]]
            size = (box[..., 2:] - box[..., :2]).max()
            found = np.concatenate([seen.min(axis=2), seen.max(axis=2)], axis=-1)
            # of what is round, some points on the rim
            np.testing.assert_allclose(found, box, atol=1e-3 if body.shape == "cube" else 0.02 * size)
    assert shapes == {"cube", "cylinder", "cone"}


def test_the_future_is_projected_as_the_cameras_stand_at_the_last_frame(world: list[Clip]):
    for clip in world:
        pose = clip.cameras.extrinsics[:, -1]
        u, v, w = np.moveaxis(clip.cameras.intrinsics @ pose @ [*clip.future_position, 1.0], -1, 0)
        np.testing.assert_allclose(clip.future_pixel, np.stack([u / w, v / w], axis=-1), rtol=1e-9)


def count_alone(clip: Clip, number: int) -> NDArray[np.int32]:
    """Pixels that see a body if there is no other, (cameras, frames), as the renderer counts them."""
    body, cameras = clip.bodies[number], clip.cameras
    frames = len(body.position)
    is_present = np.array([[body.is_present(frame)] for frame in range(1, frames + 1)])
    out = np.empty((1, len(cameras.numbers), frames), np.int32)
    count_visible(
        np.nan_to_num(body.position.astype(np.float64))[:, None],
        to_matrices(np.nan_to_num(body.orientation.astype(np.float64)))[:, None],
        is_present,
        np.array([body.radius]),
        np.array([SHAPES.index(body.shape)], np.uint8),
        cameras.intrinsics,
        cameras.extrinsics,
        cameras.height,
        cameras.width,
        make_scratch(1, cameras.height, cameras.width),
        out,
    )
    return out[0]


def test_silhouettes_have_as_many_pixels_as_are_seen_of_a_body_alone(world: list[Clip]):
    for clip in world:
        size = {"height": clip.cameras.height, "width": clip.cameras.width}
        for number, body in enumerate(clip.bodies):
            frames = range(body.first_frame, body.last_frame + 1)
            shown = slice(frames[0] - 1, frames[-1])
            if body.shape == "sphere":
                outline = find_ellipse(body.box[:, shown])
            else:
                outline = find_outline(clip.cameras.project(body.corners(frames), frames))
            found, expected = measure_inside(outline, **size), count_alone(clip, number)[:, shown]
            assert (np.abs(found - expected) <= 0.02 * expected + 0.6 * np.sqrt(expected) + 1).all()


def test_what_hides_bodies_is_told(world: list[Clip]):
    for clip in world:
        for number, body in enumerate(clip.bodies):
            assert body.visible_pixels is not None
            alone, visible = count_alone(clip, number), body.visible_pixels
            assert (body.sight[visible == alone] == VISIBLE).all()
            is_partly = (visible > 0) & (visible < 0.75 * alone - 4)
            assert (body.sight[is_partly] == PARTLY).all()
            assert (body.sight[(visible == 0) & (alone > 4)] == HIDDEN).all()
    sights = np.concatenate([body.sight.ravel() for clip in world for body in clip.bodies])
    assert set(sights) == {VISIBLE, PARTLY, HIDDEN}


def test_a_clip_says_in_words_what_there_is():
    spec = DatasetSpec.from_fields(**WORLD)
    samples = open_samples(spec)
    clip = next(load_clips(samples, [4], cameras=[0], frames=[1], shows_transients=True))
    assert clip.caption == samples.captions([4])[0]
    assert clip.facts == {
        "bodies": str((samples.column("body_role", [4]) >= 0).sum()),
        "pattern": spec.background.patterns[samples.column("background_pattern", [4])[0]],
        "sensor noise": f"{samples.column('noise', [4])[0]:.1f} levels",
        "shutter": f"{samples.column('shutter', [4])[0]:.2f} frames",
    }


@given(frames=st.integers(1, 40), most=st.integers(1, 5), data=st.data())
def test_frames_with_transients_are_favoured(frames: int, most: int, data: st.DataObject):
    even = spread(frames, most, first=1)
    starts = st.integers(1, frames).flatmap(
        lambda low: st.tuples(st.just(low), st.integers(low, min(low + 2, frames)))
    )
    spans = data.draw(st.lists(starts, max_size=6))
    found = favor_transients(even, spans)
    assert len(set(found)) == len(even)
    assert list(found) == sorted(found)
    assert set(found) <= set(range(1, frames + 1))
    assert found[-1] == even[-1]
    missed = [span for span in spans if not any(span[0] <= frame <= span[1] for frame in found)]
    assert len(missed) <= max(0, len(spans) - (len(even) - 1))
    if not spans:
        assert found == even
