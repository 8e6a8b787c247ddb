"""The kernels against naive twins; the file also runs, and passes, under ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from support import naive
from support.interpreted import digest_otherwise

from trajstore.kernels.cameras import bound_silhouette, observe, project_point, transform_point
from trajstore.kernels.raster import SCANLINES, draw_sphere, fill_background, make_touched, render
from trajstore.scene.cameras import place_cameras
from trajstore.scene.scene import Scene, make_scene
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
PAPER = np.array([13, 200, 90], np.uint8)
COLORS = np.array([[251, 130, 7], [20, 40, 240], [255, 255, 255], [90, 0, 60]], np.uint8)

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
Sphere = tuple[tuple[float, ...], float]

SPHERES_OF_VERSION_0_1 = "dc97afcb883ff1126331a097ebcd5bdac9094209353b93fecbe8dfbf0fe5b509"
"""SHA-256 of `SPHERES`, each alone in a frame, as version 0.1 (077818e) drew them over one constant colour."""

colors = arrays(np.uint8, 3)


def draw(
    center: tuple[float, ...], radius: float, *, ambient: float, size: tuple[int, int] = FRAME_SIZE
) -> Clip:
    """A white sphere over black, drawn in the middle of a larger array that must stay as it is."""
    height, width = size
    canvas = np.full((5, height + 2, width + 2), GUARD, np.uint8)
    frame = canvas[1:4, 1:-1, 1:-1]
    fill_background(BLACK, frame)
    spans, touched = np.empty((SCANLINES, 2)), make_touched(height)
    draw_sphere(np.array(center), radius, WHITE, INTRINSICS, LIGHT, ambient, spans, touched, frame)
    drawn = frame.copy()
    columns = np.arange(width)
    is_touched = (touched[:-1, :1] <= columns) & (columns < touched[:-1, 1:])
    assert not drawn[:, ~is_touched].any(), "touched more than it says"
    frame[:] = GUARD
    assert (canvas == GUARD).all(), "wrote outside of the frame"
    return drawn


def paint(
    spheres: list[Sphere],
    *,
    ambient: float = 1.0,
    colors: NDArray[np.uint8] = COLORS,
    background: NDArray[np.uint8] = PAPER,
    order: list[int] | None = None,
) -> Clip:
    """A frame of several spheres, drawn one after the other or in another order."""
    frame, spans = np.full((3, *FRAME_SIZE), GUARD, np.uint8), np.empty((SCANLINES, 2))
    touched = make_touched(FRAME_SIZE[0])
    fill_background(background, frame)
    for body in range(len(spheres)) if order is None else order:
        center, radius = spheres[body]
        color = colors[body % len(colors)]
        draw_sphere(np.array(center), radius, color, INTRINSICS, LIGHT, ambient, spans, touched, frame)
    return frame


def film(spheres: list[Sphere], *, ambient: float) -> Clip:
    """Frames (spheres, 3, height, width) of a sphere that is at another place, and of the first radius, in each."""
    clip = np.full((1, len(spheres), 3, *FRAME_SIZE), GUARD, np.uint8)
    render(
        np.array([[center for center, _ in spheres]]),
        spheres[0][1],
        COLORS[0],
        PAPER,
        INTRINSICS[None],
        LIGHT[None],
        ambient,
        np.empty((SCANLINES, 2)),
        make_touched(FRAME_SIZE[0]),
        clip,
    )
    return clip[0]


@pytest.fixture(scope="module")
def spec() -> DatasetSpec:
    """Spheres of one plain colour each, so that a pixel tells its coverage."""
    return DatasetSpec.from_fields(frames=8, ambient=1.0, seed=4)


@pytest.fixture(scope="module")
def scene(spec: DatasetSpec) -> Scene:
    return make_scene(spec, range(ROWS))


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
    """Hash of labels of many rows, of float64 where kernels give it, and of pixels of some and of all odd spheres."""
    spec = DatasetSpec.from_fields(frames=3, height=24, width=32, seed=6)
    # one box in thousands tells whether a radius was squared in float32
    scene = make_scene(spec, range(1200))
    clip = np.empty((4, 3, 3, 24, 32), np.uint8)
    state = hashlib.sha256(scene.locate(0, slice(None), slice(None)).tobytes())
    for column in scene.columns.values():
        state.update(column.tobytes())
    for index in range(8):
        scene.draw(index, slice(None), slice(None), clip)
        state.update(clip.tobytes())
    for center, radius in SPHERES.values():
        state.update(draw(center, radius, ambient=0.3).tobytes())
    state.update(paint(list(SPHERES.values()), ambient=0.3).tobytes())
    return state.hexdigest()


def test_compiled_and_interpreted_give_the_same_bits():
    assert digest_otherwise(__file__) == digest()


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
    expected = naive.paint_sphere(
        naive.fill_frame(BLACK, FRAME_SIZE),
        np.array(center),
        radius,
        color=WHITE,
        intrinsics=INTRINSICS,
        light_camera=LIGHT,
        ambient=1.0,
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
    scene = make_scene(spec, range(12))
    clip = np.empty((1, 1, 3, *size), np.uint8)
    for index in range(12):
        camera, frame = index % spec.video.cameras, index % 4
        scene.draw(index, slice(camera, camera + 1), slice(frame, frame + 1), clip)
        object_color = scene.columns["object_color"][index]
        background_color = scene.columns["background_color"][index]
        expected = naive.fill_frame(background_color, size)
        is_covered = naive.paint_sphere(
            expected,
            scene.locate(index, slice(None), slice(None))[camera, frame],
            float(scene.columns["radius"][index]),
            color=object_color,
            intrinsics=scene.rig.intrinsics[camera],
            light_camera=scene.rig.light_camera[camera],
            ambient=spec.render.ambient,
        )
        error = np.abs(clip[0, 0] - expected)
        contrast = np.abs(object_color.astype(float) - background_color).max()
        assert error.max() <= COVERAGE_TOLERANCE * contrast + 1.0
        assert error[:, is_covered > 0.0].mean() <= 3.0


def test_a_sphere_alone_has_the_bits_of_version_0_1():
    state = hashlib.sha256()
    for sphere in SPHERES.values():
        state.update(film([sphere], ambient=0.3).tobytes())
    assert state.hexdigest() == SPHERES_OF_VERSION_0_1


def test_a_clip_is_drawn_frame_by_frame():
    spheres = [(center, 0.4) for center, _ in SPHERES.values() if center[2] > 1.0]
    expected = [paint([sphere], ambient=0.3) for sphere in spheres]
    np.testing.assert_array_equal(film(spheres, ambient=0.3), expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [2, 5])
def test_several_spheres_match_the_twin_painted_one_over_the_other(seed: int, count: int):
    generator = np.random.default_rng(seed)
    spheres = [
        (tuple(generator.uniform((-1.5, -1.1, 3.0), (1.5, 1.1, 5.0))), float(generator.uniform(0.1, 0.7)))
        for _ in range(count)
    ]
    order = generator.permutation(count).tolist()
    plain, shaded = (paint(spheres, ambient=ambient, order=order) for ambient in (1.0, 0.4))
    expected = {1.0: naive.fill_frame(PAPER, FRAME_SIZE), 0.4: naive.fill_frame(PAPER, FRAME_SIZE)}
    tolerance = np.zeros(FRAME_SIZE)
    for body in order:
        for ambient, frame in expected.items():
            coverage = naive.paint_sphere(
                frame,
                np.array(spheres[body][0]),
                spheres[body][1],
                color=COLORS[body % len(COLORS)],
                intrinsics=INTRINSICS,
                light_camera=LIGHT,
                ambient=ambient,
            )
        # what is painted hides earlier errors, and errs by itself along its border
        is_border = (coverage > 0.0) & (coverage < 1.0)
        tolerance = tolerance * (1.0 - coverage) + 0.5 + 255.0 * COVERAGE_TOLERANCE * is_border
    assert (np.abs(plain - expected[1.0]) <= tolerance + 1.0).all()
    assert np.abs(shaded - expected[0.4]).mean() <= 1.0


@given(
    colors, colors, colors,
    st.tuples(st.floats(-0.25, 0.25), st.floats(-0.25, 0.25), st.floats(2.4, 2.9)), st.floats(0.03, 0.25),
    st.floats(0.05, 1.0),
)  # fmt: skip
def test_no_background_shines_through_where_a_sphere_lies_before_another(
    far: NDArray[np.uint8],
    near: NDArray[np.uint8],
    background: NDArray[np.uint8],
    center: tuple[float, float, float],
    radius: float,
    ambient: float,
):
    # the nearer silhouette lies inside the farther one, seen 0.36 wide at a distance of 1
    behind, before = ((0.0, 0.0, 4.5), 1.5), (center, radius)
    scene = {"ambient": ambient, "background": background, "colors": np.stack([far, near])}
    alone, both = paint([behind], **scene).astype(int), paint([behind, before], **scene).astype(int)
    darkest, brightest = np.floor(ambient * near + 0.5)[:, None, None], near.astype(int)[:, None, None]
    assert (both >= np.minimum(alone, darkest)).all()
    assert (both <= np.maximum(alone, brightest)).all()
    u_min, v_min, u_max, v_max = naive.bound_sphere(np.array(center), radius, INTRINSICS)
    is_inside = np.zeros(FRAME_SIZE, bool)
    is_inside[int(v_min) : int(v_max) + 1, int(u_min) : int(u_max) + 1] = True
    np.testing.assert_array_equal(both[:, ~is_inside], alone[:, ~is_inside])
    # and what stands behind does not matter: no pixel of the nearer sphere knows the background
    scene["background"] = 255 - background
    np.testing.assert_array_equal(paint([behind, before], **scene)[:, is_inside], both[:, is_inside])


def test_the_order_decides_whatever_the_depths():
    spheres = [((0.2, 0.0, 4.0), 0.6), ((-0.2, 0.1, 3.0), 0.4)]
    for order in ([0, 1], [1, 0]):
        # the frame's middle lies well inside of both
        assert paint(spheres, order=order)[:, 15, 20].tolist() == COLORS[order[-1]].tolist()


@given(st.permutations(range(4)))
def test_the_place_of_a_body_in_the_arrays_does_not_matter(places: list[int]):
    spheres = [
        ((0.2, 0.0, 4.0), 0.6),
        ((-0.2, 0.1, 3.0), 0.4),
        ((0.1, 0.3, 3.5), 0.3),
        ((0.0, -0.4, 2.5), 0.1),
    ]
    moved = [spheres[place] for place in places]
    order = [places.index(body) for body in range(4)]
    np.testing.assert_array_equal(
        paint(moved, colors=COLORS[places], order=order, ambient=0.4), paint(spheres, ambient=0.4)
    )


@pytest.mark.parametrize("side", ["left of", "right of", "above", "below"])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_body_out_of_sight_changes_nothing(side: str, order: list[int]):
    spheres = [SPHERES["larger than the picture"], SPHERES[f"{side} the picture"]]
    np.testing.assert_array_equal(paint(spheres, order=order), paint(spheres[:1]))


def test_without_a_body_there_is_the_background():
    assert (paint([]) == PAPER[:, None, None]).all()


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
        intrinsics, extrinsics = rig.intrinsics[camera], rig.static("extrinsics")[camera]
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
    position = generator.uniform(-0.5, 0.5, (4, 2, 5, 3)).astype(np.float32)
    radius = generator.uniform(0.05, 0.4, (4, 2)).astype(np.float32)
    is_present = generator.random((4, 2, 5)) < 0.8
    depths = np.empty((4, 2, 3, 5), np.float32)
    pixels, boxes = np.empty((4, 2, 3, 5, 2), np.float32), np.empty((4, 2, 3, 5, 4), np.float32)
    observe(
        position,
        np.eye(3)[None, None, None],
        is_present,
        radius,
        np.zeros((4, 2), np.uint8),
        rig.intrinsics,
        rig.extrinsics,
        np.empty(3),
        pixels,
        depths,
        boxes,
    )
    for n, body, camera, frame in np.ndindex(4, 2, 3, 5):
        center, pixel, box = np.empty(3), np.empty(2, np.float32), np.empty(4, np.float32)
        transform_point(position[n, body, frame], rig.static("extrinsics")[camera], center)
        place = (n, body, camera, frame)
        if not is_present[n, body, frame]:
            assert np.isnan([*pixels[place], depths[place], *boxes[place]]).all()
            continue
        project_point(center, rig.intrinsics[camera], pixel)
        bound_silhouette(center, radius[n, body], rig.intrinsics[camera], box)
        assert pixels[place].tobytes() == pixel.tobytes()
        assert depths[place] == np.float32(center[2])
        assert boxes[place].tobytes() == box.tobytes()
