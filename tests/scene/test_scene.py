"""Rows, labels and cameras: closed forms, guarantees, and the same bytes however the rows are cut."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import naive

from trajstore.kernels.poses import make_scratch
from trajstore.kernels.raster import make_touched
from trajstore.kernels.world import render_world
from trajstore.scene.cameras import place_cameras
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import DatasetSpec

SIZES = {
    "default": {},
    "one camera": {"cameras": 1},
    "wide": {"height": 96, "width": 128, "frames": 3},
    "two frames": {"frames": 2, "cameras": 3},
    "one frame": {"frames": 1, "cameras": 2},
    "five cameras below": {"cameras": 5, "elevation": -89.0, "distance": 1.5, "frames": 4},
    "two classes": {"classes": ["Parabolic", "Circular"], "frames": 5},
}

RAYS = 4
"""Rays through a pixel, each way, of the spheres that are filmed here."""

TINY = {"cameras": 2, "frames": 3, "height": 16, "width": 16, "seed": 8}


def draw_all(scene: Scene, spec: DatasetSpec) -> np.ndarray:
    """Clips (n, cameras, frames, 3, height, width) of all rows of a scene."""
    video = spec.video
    count = len(scene.columns["class_label"])
    clips = np.empty((count, video.cameras, video.frames, 3, video.height, video.width), np.uint8)
    for index in range(count):
        scene.draw(index, slice(None), slice(None), clips[index])
    return clips


@pytest.fixture(scope="module", params=SIZES)
def sized(request: pytest.FixtureRequest) -> tuple[DatasetSpec, Scene, range]:
    spec = DatasetSpec.from_fields(seed=3, **SIZES[request.param])
    rows = range(37, 57)
    return spec, make_scene(spec, rows), rows


def test_columns_have_the_sizes_and_types_of_the_spec(sized: tuple[DatasetSpec, Scene, range]):
    spec, scene, rows = sized
    n, cameras, frames = len(rows), spec.video.cameras, spec.video.frames
    expected = {
        "class_label": ((n,), "int8"),
        "split": ((n,), "int8"),
        "position": ((n, frames, 3), "float32"),
        "future_position": ((n, 3), "float32"),
        "pixel": ((n, cameras, frames, 2), "float32"),
        "depth": ((n, cameras, frames), "float32"),
        "box": ((n, cameras, frames, 4), "float32"),
        "radius": ((n,), "float32"),
        "object_color": ((n, 3), "uint8"),
        "background_color": ((n, 3), "uint8"),
    }
    found = {name: (column.shape, column.dtype.name) for name, column in scene.columns.items()}
    assert found == expected
    assert all(column.flags.c_contiguous for column in scene.columns.values())
    assert all(np.isfinite(column).all() for column in scene.columns.values())


def test_pixel_depth_and_box_follow_from_position_and_calibration(sized: tuple[DatasetSpec, Scene, range]):
    _, scene, _ = sized
    columns, rig = scene.columns, scene.rig
    position = columns["position"].astype(np.float64)
    extrinsics = rig.static("extrinsics")
    rotation, translation = extrinsics[:, :, :3], extrinsics[:, :, 3]
    camera = np.einsum("cij,nfj->ncfi", rotation, position) + translation[None, :, None]
    uvw = np.einsum("cij,ncfj->ncfi", rig.intrinsics, camera)
    # half a unit in the last place of float32: 8e-6 px at 128 px, 2e-7 at a depth of 4
    np.testing.assert_allclose(columns["pixel"], uvw[..., :2] / uvw[..., 2:], rtol=0, atol=1e-5)
    np.testing.assert_allclose(columns["depth"], camera[..., 2], rtol=0, atol=3e-7)

    # a line u = const touches the silhouette where its dual conic, K (c cᵀ − r² 1) Kᵀ, vanishes
    radius = columns["radius"].astype(np.float64)[:, None, None, None, None]
    quadric = camera[..., :, None] * camera[..., None, :] - radius**2 * np.eye(3)
    intrinsics = rig.intrinsics[None, :, None]
    dual = intrinsics @ quadric @ np.swapaxes(intrinsics, -1, -2)
    for axis in (0, 1):
        a, b, c = dual[..., 2, 2], dual[..., axis, 2], dual[..., axis, axis]
        root = np.sqrt(b * b - a * c)
        np.testing.assert_allclose(columns["box"][..., axis], (b - root) / a, rtol=0, atol=1.5e-5)
        np.testing.assert_allclose(columns["box"][..., axis + 2], (b + root) / a, rtol=0, atol=1.5e-5)


def test_pixel_and_box_match_brute_force(sized: tuple[DatasetSpec, Scene, range]):
    spec, scene, rows = sized
    for index in range(0, len(rows), 5):
        for camera in range(spec.video.cameras):
            frame = index % spec.video.frames
            radius = float(scene.columns["radius"][index])
            pixel, depth = naive.project(
                scene.columns["position"][index, frame],
                scene.rig.intrinsics[camera],
                scene.rig.static("extrinsics")[camera],
            )
            center = scene.locate(index, slice(None), slice(None))[camera, frame]
            box = naive.bound_sphere(center, radius, scene.rig.intrinsics[camera])
            assert center[2] == pytest.approx(depth, abs=1e-12)
            np.testing.assert_allclose(scene.columns["pixel"][index, camera, frame], pixel, rtol=0, atol=1e-5)
            np.testing.assert_allclose(scene.columns["box"][index, camera, frame], box, rtol=0, atol=3e-5)


def test_labels_and_splits_match_the_twin(sized: tuple[DatasetSpec, Scene, range]):
    spec, scene, rows = sized
    classes = len(spec.dataset.classes)
    labels = [naive.find_label(spec.dataset.seed, row=row, classes=classes) for row in rows]
    splits = [
        naive.find_split(spec.dataset.seed, row=row, classes=classes, per_block=(14, 3)) for row in rows
    ]
    assert scene.columns["class_label"].tolist() == labels
    assert scene.columns["split"].tolist() == splits


def test_radius_is_uniform_in_its_range():
    spec = DatasetSpec.from_fields(cameras=1, frames=2, radius=(0.1, 0.3))
    radius = make_scene(spec, range(2000)).columns["radius"]
    assert radius.min() >= np.float32(0.1)
    assert radius.max() <= np.float32(0.3)
    # deciles of 2,000 uniforms: 200 each with a standard deviation of 13
    counts, _ = np.histogram(radius, bins=10, range=(0.1, 0.3001))
    assert counts.min() > 130


@pytest.mark.parametrize("cameras", [1, 2, 4, 7])
def test_cameras_are_proper_and_look_at_the_origin_from_their_distance(cameras: int):
    spec = DatasetSpec.from_fields(cameras=cameras, distance=3.0, elevation=25.0, azimuth=45.0)
    rig = place_cameras(spec)
    extrinsics = rig.static("extrinsics")
    rotation, translation = extrinsics[:, :, :3], extrinsics[:, :, 3]
    np.testing.assert_allclose(rotation @ np.swapaxes(rotation, 1, 2), [np.eye(3)] * cameras, atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, rtol=0, atol=1e-15)

    eyes = -np.einsum("cji,cj->ci", rotation, translation)
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), 3.0, rtol=1e-15)
    np.testing.assert_allclose(rotation[:, 2], -eyes / 3.0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(eyes[:, 2], 3.0 * np.sin(np.radians(25.0)), rtol=1e-14)
    azimuth = np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))
    np.testing.assert_allclose((azimuth - 45.0 - 360.0 / cameras * np.arange(cameras) + 180.0) % 360.0, 180.0)
    # x right is level, y down points down
    np.testing.assert_allclose(rotation[:, 0, 2], 0.0, rtol=0, atol=1e-15)
    assert (rotation[:, 1, 2] < 0.0).all()


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (50, 20)])
@pytest.mark.parametrize("distance", [1.001, 1.5, 4.0, 1000.0])
def test_every_camera_sees_the_whole_unit_ball_and_no_more_than_it_must(
    size: tuple[int, int], distance: float
):
    height, width = size
    spec = DatasetSpec.from_fields(height=height, width=width, cameras=3, distance=distance, margin=0.1)
    rig = place_cameras(spec)
    for intrinsics, extrinsics in zip(rig.intrinsics, rig.static("extrinsics"), strict=True):
        u_min, v_min, u_max, v_max = naive.bound_sphere(extrinsics[:, 3], 1.0, intrinsics)
        assert u_min > 0.0
        assert v_min > 0.0
        assert u_max < width
        assert v_max < height
        assert u_max - u_min == pytest.approx(0.9 * min(size), rel=1e-6)
        assert (u_min + u_max, v_min + v_max) == pytest.approx((width, height))


def test_the_light_is_a_unit_vector_and_the_same_in_all_cameras():
    spec = DatasetSpec.from_fields(cameras=3, light=(0.0, 3.0, 4.0))
    rig = place_cameras(spec)
    back = np.einsum("cji,cj->ci", rig.static("extrinsics")[:, :, :3], rig.light_camera)
    np.testing.assert_allclose(back, [[0.0, 0.6, 0.8]] * 3, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"contrast": 80},
        {"ambient": 0.2},
        {"ambient": 1.0, "contrast": 115},
        {"ambient": 0.05, "contrast": 10},
    ],
    ids=str,
)
def test_every_pixel_of_the_sphere_keeps_the_contrast(fields: dict):
    spec = DatasetSpec.from_fields(
        frames=2, height=48, width=48, cameras=2, seed=1, radius=(0.15, 0.25), **fields
    )
    scene = make_scene(spec, range(60))
    clips = draw_all(scene, spec).astype(int)
    was_dark = set()
    u, v = np.meshgrid(np.arange(48) + 0.5, np.arange(48) + 0.5)
    for index, camera, frame in np.ndindex(60, 2, 2):
        # a disc well inside the silhouette: pixels that the sphere covers wholly
        u_min, v_min, u_max, v_max = scene.columns["box"][index, camera, frame]
        inner = min(u_max - u_min, v_max - v_min) / 2.0 - 1.0
        is_inside = np.hypot(u - (u_min + u_max) / 2.0, v - (v_min + v_max) / 2.0) < inner
        assert is_inside.sum() > 4
        background = scene.columns["background_color"][index].astype(int)
        difference = np.abs(clips[index, camera, frame][:, is_inside] - background[:, None])
        # in the same channel for all pixels of the sphere
        assert difference.min(axis=1).max() >= spec.render.contrast
        was_dark.add(background.max() < 128)
    assert was_dark == {True, False}


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 19), max_size=4, unique=True).map(sorted))
def test_rows_are_the_same_however_they_are_cut(first: int, edges: list[int]):
    spec = DatasetSpec.from_fields(**TINY)

    def digest(rows: range) -> list[bytes]:
        scene = make_scene(spec, rows)
        clips = draw_all(scene, spec)
        return [
            b"".join(
                [*(column[index].tobytes() for column in scene.columns.values()), clips[index].tobytes()]
            )
            for index in range(len(rows))
        ]

    whole = digest(range(first, first + 20))
    pieces = [digest(range(first + a, first + b)) for a, b in zip([0, *edges], [*edges, 20], strict=True)]
    assert [row for piece in pieces for row in piece] == whole


def test_a_clip_is_the_same_drawn_whole_or_in_parts():
    spec = DatasetSpec.from_fields(cameras=4, frames=6, height=20, width=24)
    scene = make_scene(spec, range(3))
    whole = draw_all(scene, spec)
    for index in range(3):
        for camera in range(4):
            for frame in range(0, 6, 2):
                part = np.empty((1, 2, 3, 20, 24), np.uint8)
                scene.draw(index, slice(camera, camera + 1), slice(frame, frame + 2), part)
                np.testing.assert_array_equal(part, whole[index, camera : camera + 1, frame : frame + 2])


def hash_row(spec: DatasetSpec) -> str:
    scene = make_scene(spec, range(5, 6))
    state = hashlib.sha256(draw_all(scene, spec).tobytes())
    for column in scene.columns.values():
        state.update(column.tobytes())
    return state.hexdigest()


def test_samples_and_storage_do_not_change_a_row_but_the_seed_does():
    spec = DatasetSpec.from_fields(**TINY)
    same = [
        spec,
        spec.replace(samples=6),
        spec.replace(samples_per_shard=3),
        spec.replace(compression_level=9),
    ]
    assert len({hash_row(spec) for spec in same}) == 1
    assert len({hash_row(spec.replace(seed=seed)) for seed in (0, 1, 2**63 - 1)}) == 3


def test_positions_do_not_depend_on_how_they_are_filmed():
    spec = DatasetSpec.from_fields(**TINY)
    other = spec.replace(cameras=3, height=40, width=30, distance=2.0, contrast=20)
    for name in ("class_label", "split", "position", "future_position", "radius"):
        np.testing.assert_array_equal(
            make_scene(spec, range(40)).columns[name], make_scene(other, range(40)).columns[name]
        )


@pytest.mark.parametrize(("ambient", "contrast"), [(0.4, 40), (0.4, 81), (0.3, 1), (1.0, 115)])
def test_colors_keep_the_contrast_in_any_light(ambient: float, contrast: int):
    spec = DatasetSpec.from_fields(cameras=1, frames=1, ambient=ambient, contrast=contrast)
    columns = make_scene(spec, range(20_000)).columns
    background = columns["background_color"].astype(float)
    lit = columns["object_color"].astype(float)
    # a pixel of the sphere lies between full light and ambient light, rounded to the nearest level
    darkest, brightest = np.floor(ambient * lit + 0.5), lit
    difference = np.maximum(darkest - background, background - brightest)
    assert difference.max(axis=1).min() >= contrast
    is_dark = (background.max(axis=1) <= 204.0 * ambient - contrast) & (lit.max(axis=1) >= 204.0)
    assert 0.48 < is_dark.mean() < 0.52


def film(centers: np.ndarray, radius: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Clip of red, green and blue spheres, lit from everywhere, over black, at centres (frames, bodies, 3)."""
    video, bodies, rig = spec.video, len(radius), place_cameras(spec)
    size = (video.height, video.width)
    clip = np.empty((video.cameras, len(centers), 3, *size), np.uint8)
    render_world(
        centers, np.eye(3)[None, None], np.ones((len(centers), bodies), bool), radius,
        255 * np.eye(3, dtype=np.uint8)[:bodies], np.zeros(bodies, np.uint8),
        np.zeros((video.cameras, 3, *size), np.uint8), rig.intrinsics, rig.extrinsics[0], rig.light[0], 1.0,
        make_scratch(bodies, *size), make_touched(video.height), clip,
    )  # fmt: skip
    return clip


def find_nearest(centers: np.ndarray, radius: np.ndarray, spec: DatasetSpec, camera: int) -> np.ndarray:
    """Which body at centres (bodies, 3) the rays of a camera meet first, `RAYS` a pixel each way; −1 where none."""
    rig, size = place_cameras(spec), (spec.video.height, spec.video.width)
    rays = naive.cast_rays(rig.intrinsics[camera], size=size, rays=RAYS)
    pose = rig.static("extrinsics")[camera]
    seen = centers @ pose[:, :3].T + pose[:, 3]
    bodies = zip(seen, radius, strict=True)
    distance = np.array([naive.meet_sphere(rays, center, float(radius)) for center, radius in bodies])
    return np.where(np.isfinite(distance).any(axis=0), distance.argmin(axis=0), -1)


def check_plain_pixels(picture: np.ndarray, nearest: np.ndarray) -> None:
    """Check pixels among pixels of the same body, or of the background: they are of one colour."""
    height, width = picture.shape[1:]
    padded = np.pad(nearest, RAYS, mode="edge")
    around = [
        padded[y : y + RAYS * height, x : x + RAYS * width]
        for y in range(0, 2 * RAYS + 1, RAYS)
        for x in range(0, 2 * RAYS + 1, RAYS)
    ]
    is_same = (np.stack(around) == nearest).all(axis=0).reshape(height, RAYS, width, RAYS).all(axis=(1, 3))
    body = nearest[::RAYS, ::RAYS]
    is_plain = is_same & (nearest.reshape(height, RAYS, width, RAYS) == body[:, None, :, None]).all(
        axis=(1, 3)
    )
    expected = np.where(body[None] == np.arange(3)[:, None, None], 255, 0)
    # what is thinner than the distance of two rays may be missed: a quarter of a pixel, which is 64 levels
    assert np.abs(picture.astype(int) - expected)[:, is_plain].max(initial=0) <= 255 // RAYS


def test_spheres_that_cross_in_depth_hide_each_other_rightly_in_every_camera():
    frames = 9
    spec = DatasetSpec.from_fields(cameras=4, frames=frames, height=64, width=64)
    times = np.linspace(0.0, 2.0 * np.pi, frames)
    # around each other, always apart
    one = np.stack([0.4 * np.cos(times), 0.4 * np.sin(times), 0.1 * np.cos(times)], axis=-1)
    centers, radius = np.stack([one, -one], axis=1), np.array([0.35, 0.2])
    clip = film(centers, radius, spec)
    hidden = np.zeros((4, 2), bool)
    for camera, frame in np.ndindex(4, frames):
        nearest = find_nearest(centers[frame], radius, spec, camera)
        check_plain_pixels(clip[camera, frame], nearest)
        for body in range(2):
            alone = find_nearest(centers[frame, body, None], radius[body, None], spec, camera)
            hidden[camera, body] |= bool(((alone == 0) & (nearest == 1 - body)).any())
    assert hidden.all(), "in each camera each sphere has been before the other"


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8), st.floats(-0.8, 0.8), st.floats(0.1, 0.7)),
        min_size=2,
        max_size=3,
    )
)
def test_the_nearest_sphere_is_seen_along_every_ray(spheres: list[tuple[float, float, float, float]]):
    centers, radius = np.array(spheres)[:, :3], np.array(spheres)[:, 3]
    apart = [
        np.linalg.norm(centers[a] - centers[b]) > radius[a] + radius[b]
        for a in range(len(radius))
        for b in range(a)
    ]
    assume(all(apart))
    spec = DatasetSpec.from_fields(cameras=2, frames=1, height=48, width=40)
    clip = film(centers[None], radius, spec)
    for camera in range(2):
        check_plain_pixels(clip[camera, 0], find_nearest(centers, radius, spec, camera))


def test_a_sphere_in_the_corner_is_hidden_though_its_centre_is_less_deep():
    spec = DatasetSpec.from_fields(cameras=1, frames=1, distance=1.5)
    angle, distance, radius = np.radians([40.0, 30.0]), np.array([4.5, 4.0]), np.array([0.3, 0.5])
    seen = np.stack([distance * np.sin(angle), [0.0, 0.0], distance * np.cos(angle)], axis=-1)
    assert seen[0, 2] < seen[1, 2]
    pose = place_cameras(spec).static("extrinsics")[0]
    centers = (seen - pose[:, 3]) @ pose[:, :3]
    nearest = find_nearest(centers, radius, spec, 0)
    assert {0, 1} <= set(nearest.ravel().tolist())
    check_plain_pixels(film(centers[None], radius, spec)[0, 0], nearest)
