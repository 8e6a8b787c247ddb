"""The kernels against naive twins; the file also runs, and passes, under ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from support import naive

from trajstore.kernels.cameras import bound_silhouette, observe, project_point, transform_point
from trajstore.kernels.raster import SCANLINES, draw_sphere, fill_background
from trajstore.scene.cameras import place_cameras
from trajstore.scene.describe import Scene, describe
from trajstore.spec import DatasetSpec

ROWS = 200
COVERAGE_TOLERANCE = 0.5 / SCANLINES
"""The border can lie half a scanline off, which is an eighth of a pixel; measured, it is a tenth."""

QUARTER_PIXEL = 0.25
GUARD = 173

INTRINSICS = np.array([[40.0, 0.0, 20.0], [0.0, 44.0, 15.0], [0.0, 0.0, 1.0]])
FRAME_SIZE = (30, 40)
BLACK, WHITE = np.zeros(3, np.uint8), np.full(3, 255, np.uint8)
LIGHT = np.array([0.48, -0.64, -0.6])

SPHERES = {
    "in the middle": ((0.0, 0.0, 4.0), 0.8),
    "off the axis": ((0.9, -0.5, 4.0), 0.4),
    "close and far off the axis": ((0.42, 0.28, 1.2), 0.22),
    "at a pixel's corner": ((0.0, 0.0, 4.0), 0.05),
    "smaller than a pixel": ((0.013, 0.021, 4.0), 0.02),
    "cut by the left side": ((-2.0, 0.1, 4.0), 0.5),
    "cut by the right side": ((2.0, 0.1, 4.0), 0.5),
    "cut by the top": ((0.1, -1.4, 4.0), 0.5),
    "cut by the bottom": ((0.1, 1.4, 4.0), 0.5),
    "cut by a corner": ((1.9, 1.3, 4.0), 0.4),
    "touching the left side": ((-1.8, 0.0, 4.0), 0.2),
    "left of the picture": ((-5.0, 0.0, 4.0), 0.5),
    "right of the picture": ((5.0, 0.0, 4.0), 0.5),
    "above the picture": ((0.0, -5.0, 4.0), 0.5),
    "below the picture": ((0.0, 5.0, 4.0), 0.5),
    "larger than the picture": ((0.1, 0.0, 1.2), 0.9),
    "just before the camera": ((0.05, 0.02, 0.51), 0.5),
}

Clip = NDArray[np.uint8]


def draw(
    center: tuple[float, ...], radius: float, *, ambient: float, size: tuple[int, int] = FRAME_SIZE
) -> Clip:
    """A white sphere over black, drawn in the middle of a larger array that must stay as it is."""
    height, width = size
    canvas = np.full((5, height + 2, width + 2), GUARD, np.uint8)
    frame = canvas[1:4, 1:-1, 1:-1]
    fill_background(BLACK, frame)
    spans = np.empty((SCANLINES, 2))
    draw_sphere(np.array(center), radius, INTRINSICS, LIGHT, ambient, WHITE, BLACK, spans, frame)
    drawn = frame.copy()
    frame[:] = GUARD
    assert (canvas == GUARD).all(), "wrote outside of the frame"
    return drawn


@pytest.fixture(scope="module")
def spec() -> DatasetSpec:
    """Spheres of one plain colour each, so that a pixel tells its coverage."""
    return DatasetSpec.from_fields(frames=8, ambient=1.0, seed=4)


@pytest.fixture(scope="module")
def scene(spec: DatasetSpec) -> Scene:
    return describe(spec, range(ROWS))


@pytest.fixture(scope="module")
def coverage(spec: DatasetSpec, scene: Scene) -> NDArray[np.float64]:
    """Coverage (rows, cameras, height, width) measured from pixels: of row i, frame i modulo 8."""
    clip = np.empty((spec.video.cameras, 1, 3, spec.video.height, spec.video.width), np.uint8)
    measured = []
    for index in range(ROWS):
        frame = index % spec.video.frames
        scene.draw(index, slice(None), slice(frame, frame + 1), clip)
        full = scene.columns["object_color"][index].astype(float)
        empty = scene.columns["background_color"][index].astype(float)
        channel = np.abs(full - empty).argmax()
        measured.append((clip[:, 0, channel] - empty[channel]) / (full - empty)[channel])
    return np.array(measured)


def of_drawn_frames(column: NDArray[np.float32]) -> NDArray[np.float64]:
    """A column's values (rows, cameras, …) at the frames that `coverage` holds."""
    return np.array([values[:, index % values.shape[1]] for index, values in enumerate(column)], dtype=float)


def measure_moments(coverage: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroid and half extent, each (rows, cameras, 2) in px, of covered areas.

    Along any direction an ellipse's half extent is twice the standard deviation of its area.
    """
    area = coverage.sum(axis=(-2, -1))
    centroid, half = [], []
    for axis in (-1, -2):
        profile = coverage.sum(axis=-2 if axis == -1 else -1) / area[..., None]
        place = np.arange(profile.shape[-1]) + 0.5
        middle = (profile * place).sum(axis=-1)
        variance = (profile * (place - middle[..., None]) ** 2).sum(axis=-1) + 1.0 / 12.0  # of a pixel itself
        centroid.append(middle)
        half.append(2.0 * np.sqrt(variance))
    return np.stack(centroid, axis=-1), np.stack(half, axis=-1)


def digest() -> str:
    """Hash of labels and pixels of some rows, of float64 where kernels give it, and of all the odd spheres."""
    spec = DatasetSpec.from_fields(frames=3, height=24, width=32, seed=6)
    scene = describe(spec, range(8))
    clip = np.empty((4, 3, 3, 24, 32), np.uint8)
    state = hashlib.sha256(scene.center_camera.tobytes())
    for column in scene.columns.values():
        state.update(column.tobytes())
    for index in range(8):
        scene.draw(index, slice(None), slice(None), clip)
        state.update(clip.tobytes())
    for center, radius in SPHERES.values():
        state.update(draw(center, radius, ambient=0.3).tobytes())
    return state.hexdigest()


def test_compiled_and_interpreted_give_the_same_bits():
    other = "0" if numba.config.DISABLE_JIT else "1"
    program = "import numba, test_kernels; print(numba.config.DISABLE_JIT, test_kernels.digest())"
    folders = [str(Path(__file__).parent), *sys.path]
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "NUMBA_DISABLE_JIT": other, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [other, digest()]


def test_the_centroid_of_the_silhouette_is_the_labelled_pixel(scene: Scene, coverage: NDArray[np.float64]):
    centroid, _ = measure_moments(coverage)
    assert np.abs(centroid - of_drawn_frames(scene.columns["pixel"])).max() < QUARTER_PIXEL


def test_the_extent_of_the_silhouette_is_the_labelled_box(scene: Scene, coverage: NDArray[np.float64]):
    centroid, half = measure_moments(coverage)
    measured = np.concatenate([centroid - half, centroid + half], axis=-1)
    assert np.abs(measured - of_drawn_frames(scene.columns["box"])).max() < QUARTER_PIXEL


def test_only_pixels_in_the_box_are_drawn_and_the_box_is_filled(scene: Scene, coverage: NDArray[np.float64]):
    box = of_drawn_frames(scene.columns["box"])
    for axis in (0, 1):
        is_touched = (coverage > 0.0).any(axis=-2 if axis == 0 else -1)
        first = is_touched.argmax(axis=-1)
        last = is_touched.shape[-1] - is_touched[..., ::-1].argmax(axis=-1)
        assert (first >= np.floor(box[..., axis])).all()
        assert (last <= np.ceil(box[..., axis + 2])).all()
        assert (first <= np.floor(box[..., axis]) + 1).all()
        assert (last >= np.ceil(box[..., axis + 2]) - 1).all()


@pytest.mark.parametrize("name", SPHERES)
def test_silhouette_matches_supersampled_twin(name: str):
    center, radius = SPHERES[name]
    drawn = draw(center, radius, ambient=1.0)
    _, expected = naive.render_frame(
        np.array(center),
        radius,
        intrinsics=INTRINSICS,
        light_camera=LIGHT,
        ambient=1.0,
        object_color=WHITE,
        background_color=BLACK,
        size=FRAME_SIZE,
    )
    assert np.abs(drawn[0] / 255.0 - expected).max() <= COVERAGE_TOLERANCE + 0.5 / 255.0
    assert (drawn == drawn[0]).all()
    # errors of the border cancel: the area is right to a hundredth of the border's length
    border = np.count_nonzero((expected > 0.0) & (expected < 1.0))
    assert drawn[0].sum() / 255.0 == pytest.approx(expected.sum(), abs=0.01 * border + 0.1)


def test_a_sphere_out_of_sight_leaves_the_background():
    for name in ("left of", "right of", "above", "below"):
        center, radius = SPHERES[f"{name} the picture"]
        assert not draw(center, radius, ambient=1.0).any()


@pytest.mark.parametrize("fields", [{}, {"height": 48, "width": 80, "cameras": 3}], ids=str)
def test_pictures_match_supersampled_twin(fields: dict):
    spec = DatasetSpec.from_fields(frames=4, seed=5, **fields)
    size = (spec.video.height, spec.video.width)
    scene = describe(spec, range(12))
    clip = np.empty((1, 1, 3, *size), np.uint8)
    for index in range(12):
        camera, frame = index % spec.video.cameras, index % 4
        scene.draw(index, slice(camera, camera + 1), slice(frame, frame + 1), clip)
        object_color = scene.columns["object_color"][index]
        background_color = scene.columns["background_color"][index]
        expected, is_covered = naive.render_frame(
            scene.center_camera[index, camera, frame],
            float(scene.columns["radius"][index]),
            intrinsics=scene.rig.intrinsics[camera],
            light_camera=scene.rig.light_camera[camera],
            ambient=spec.render.ambient,
            object_color=object_color,
            background_color=background_color,
            size=size,
        )
        error = np.abs(clip[0, 0] - expected)
        contrast = np.abs(object_color.astype(float) - background_color).max()
        assert error.max() <= COVERAGE_TOLERANCE * contrast + 1.0
        assert error[:, is_covered > 0.0].mean() <= 3.0


def test_shading_follows_the_light():
    light_side = draw((0.0, 0.0, 4.0), 0.8, ambient=0.2)[0].astype(float)
    # LIGHT comes from the right, from above and from behind the camera
    assert light_side[10, 24] > light_side[15, 20] > light_side[20, 15]
    assert light_side.max() == pytest.approx(255.0, abs=2.0)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (30, 40)])
def test_background_is_painted_everywhere(size: tuple[int, int]):
    frame = np.full((3, *size), GUARD, np.uint8)
    fill_background(np.array([1, 2, 3], np.uint8), frame)
    assert (frame == np.array([1, 2, 3])[:, None, None]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (5, 5)])
@pytest.mark.parametrize("name", SPHERES)
def test_frames_of_any_size_are_safe(name: str, size: tuple[int, int]):
    drawn = draw(*SPHERES[name], ambient=1.0, size=size)
    whole = draw(*SPHERES[name], ambient=1.0)
    np.testing.assert_array_equal(drawn, whole[:, : size[0], : size[1]])


def test_points_and_boxes_match_the_twin():
    rig = place_cameras(DatasetSpec.from_fields(cameras=5, elevation=-30.0, width=80))
    generator = np.random.default_rng(0)
    for camera in range(5):
        intrinsics, extrinsics = rig.intrinsics[camera], rig.extrinsics[camera]
        for point_world in generator.uniform(-0.5, 0.5, (4, 3)):
            radius = generator.uniform(0.05, 0.4)
            center_camera, pixel, box = np.empty(3), np.empty(2), np.empty(4)
            transform_point(point_world, extrinsics, center_camera)
            project_point(center_camera, intrinsics, pixel)
            bound_silhouette(center_camera, radius, intrinsics, box)
            expected_pixel, expected_depth = naive.project(point_world, intrinsics, extrinsics)
            np.testing.assert_allclose(pixel, expected_pixel, rtol=0, atol=1e-10)
            assert center_camera[2] == pytest.approx(expected_depth, abs=1e-12)
            expected_box = naive.bound_sphere(center_camera, radius, intrinsics)
            # 20,000 points on the contour miss its extremes by a hundred millionth of the extent
            np.testing.assert_allclose(box, expected_box, rtol=0, atol=1e-5)


def test_observing_all_is_observing_each():
    rig = place_cameras(DatasetSpec.from_fields(cameras=3))
    generator = np.random.default_rng(1)
    position = generator.uniform(-0.5, 0.5, (4, 2, 3)).astype(np.float32)
    radius = generator.uniform(0.05, 0.4, 4).astype(np.float32)
    centers = np.empty((4, 3, 2, 3))
    pixels, boxes = np.empty((4, 3, 2, 2), np.float32), np.empty((4, 3, 2, 4), np.float32)
    observe(position, radius, rig.intrinsics, rig.extrinsics, centers, pixels, boxes)
    for n, camera, frame in np.ndindex(4, 3, 2):
        center, pixel, box = np.empty(3), np.empty(2, np.float32), np.empty(4, np.float32)
        transform_point(position[n, frame], rig.extrinsics[camera], center)
        project_point(center, rig.intrinsics[camera], pixel)
        bound_silhouette(center, float(radius[n]), rig.intrinsics[camera], box)
        assert centers[n, camera, frame].tobytes() == center.tobytes()
        assert pixels[n, camera, frame].tobytes() == pixel.tobytes()
        assert boxes[n, camera, frame].tobytes() == box.tobytes()
