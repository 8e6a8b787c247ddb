from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from trajstore.errors import IncompleteStoreError
from trajstore.pictures.choose import BYTES_MAX, choose_cameras, choose_frames, spread
from trajstore.pictures.clips import Clip, load_clips
from trajstore.pictures.source import open_samples
from trajstore.spec import DatasetSpec


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
        np.testing.assert_array_equal(clip.pixel, row.pixel.values[[1, 0]])
        np.testing.assert_array_equal(clip.box, row.box.values[[1, 0]])
        np.testing.assert_array_equal(clip.position, row.position.values)
        np.testing.assert_array_equal(clip.future_position, row.future_position.values)
        assert clip.object_color == tuple(row.object_color.values)
        assert clip.background_color == tuple(row.background_color.values)
        assert clip.radius == row.radius.item()
        assert clip.class_name == dataset.class_label.flag_meanings.split()[row.class_label.item()]
        assert clip.split == ("train", "val", "test")[row.split.item()]
        assert clip.future_frame == 9
        np.testing.assert_array_equal(clip.cameras.intrinsics, dataset.intrinsics.values[[1, 0]])


def test_projection_is_that_of_the_stored_pixels(clips: list[Clip]):
    for clip in clips:
        for frame in range(4):
            found = clip.cameras.project(clip.position[frame])
            np.testing.assert_allclose(found, clip.pixel[:, frame], atol=1e-4)
        np.testing.assert_array_equal(clip.future_pixel, clip.cameras.project(clip.future_position))


def test_corners_appear_at_the_corners(clips: list[Clip]):
    cameras = clips[0].cameras
    corners = cameras.corners(2.5)
    for camera in range(2):
        for corner, expected in zip(corners[camera], [(0, 0), (16, 0), (16, 16), (0, 16)], strict=True):
            np.testing.assert_allclose(
                cameras.project(corner.astype(np.float64))[camera], expected, atol=1e-9
            )
        ahead = corners[camera].mean(axis=0) - cameras.centers()[camera]
        np.testing.assert_allclose(np.linalg.norm(ahead), 2.5)


def test_cameras_look_at_the_origin_from_their_distance(clips: list[Clip]):
    np.testing.assert_allclose(np.linalg.norm(clips[0].cameras.centers(), axis=1), 4.0)
    np.testing.assert_allclose(clips[0].cameras.corners(4.0).mean(axis=1), 0.0, atol=1e-12)


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
