"""Cameras and light: where they stand, how far they depart from it, how they move, and what they see."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from support import naive

from trajstore.errors import SpecError
from trajstore.scene.cameras import Rig, is_in_view, place_cameras
from trajstore.spec import DatasetSpec

CAMERAS = 11
"""Stream of random numbers, as numbered for ever."""

ALL_JITTER = {
    "azimuth_jitter": 10.0, "elevation_jitter": 20.0, "distance_jitter": 0.3, "roll_jitter": 40.0, "orbit": (30.0, 90.0)
}  # fmt: skip

RIGS_OF_VERSION_0_1 = [
    ({}, "2bb5aea55a8ea5e9204e0581de0f565b20022b25ee443dc025bfcfc6c683da66"),
    (
        {"cameras": 7, "elevation": -30.0, "azimuth": 0.0, "distance": 1.5, "width": 80, "margin": -0.5},
        "a67a263e1076516c5b520559bc14bde1ebf6913e838f59884fe02d799f7cc509",
    ),
    (
        {"cameras": 3, "azimuth": -90.0, "elevation": 0.0, "light": (0, -3.0, 4.0)},
        "3d03b2b9bfc822d14c35ab6713b97b733b248fd0bca3e774e11c7ff90aef20fd",
    ),
]
"""SHA-256 of intrinsics, extrinsics and light_camera as the code of version 0.1 (57a2df1) computed them."""


def look_at_origin(azimuth: float, elevation: float, distance: float, roll: float) -> NDArray[np.float64]:
    """The extrinsics (3, 4) of a camera, angles in degrees, by cross products."""
    azimuth, elevation, roll = map(math.radians, (azimuth, elevation, roll))
    eye = distance * np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    forward = -eye / distance
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    turned = np.array(
        [
            math.cos(roll) * right + math.sin(roll) * down,
            math.cos(roll) * down - math.sin(roll) * right,
            forward,
        ]
    )
    return np.column_stack([turned, -turned @ eye])


def find_poses(rig: Rig) -> dict[str, NDArray[np.float64]]:
    """Azimuth, elevation, roll in degrees and distance, each (n, cameras, moments), from the extrinsics."""
    rotation, translation = rig.extrinsics[..., :3], rig.extrinsics[..., 3]
    eye = -np.einsum("...ji,...j->...i", rotation, translation)
    distance = np.linalg.norm(eye, axis=-1)
    # the z axis of the world, as seen in the picture, is straight up without a roll
    return {
        "azimuth": np.degrees(np.arctan2(eye[..., 1], eye[..., 0])),
        "elevation": np.degrees(np.arcsin(eye[..., 2] / distance)),
        "distance": distance,
        "roll": np.degrees(np.arctan2(-rotation[..., 0, 2], -rotation[..., 1, 2])),
    }


def differ(a: NDArray[np.float64], b: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Difference of angles in degrees, from −180 to 180."""
    return (a - b + 180.0) % 360.0 - 180.0


def assert_uniform(share: NDArray[np.float64]) -> None:
    """Shares from 0 to 1 are uniform: each tenth holds a tenth, within five standard deviations."""
    assert share.min() >= -1e-9
    assert share.max() <= 1.0 + 1e-9
    counts, _ = np.histogram(np.clip(share, 0.0, 1.0), bins=10, range=(0.0, 1.0))
    assert np.abs(counts - share.size / 10).max() < 5.0 * math.sqrt(0.09 * share.size)


@pytest.mark.parametrize(("fields", "digest"), RIGS_OF_VERSION_0_1, ids=["default", "seven", "three"])
def test_cameras_that_stand_still_have_the_bits_of_version_0_1(fields: dict, digest: str):
    spec = DatasetSpec.from_fields(**fields)
    rig = place_cameras(spec, range(5, 9), np.array([[0.5, 3.0]]))
    assert rig.extrinsics.shape == (1, spec.video.cameras, 1, 3, 4)
    assert rig.light.shape == (1, 3)
    arrays = [rig.static("intrinsics"), rig.static("extrinsics"), rig.light_camera]
    assert [array.shape for array in arrays] == [
        (spec.video.cameras, *shape) for shape in ((3, 3), (3, 4), (3,))
    ]
    assert hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest() == digest


@pytest.mark.parametrize("cameras", [1, 2, 4, 7])
def test_cameras_are_proper_and_look_at_the_origin_from_their_distance(cameras: int):
    spec = DatasetSpec.from_fields(cameras=cameras, distance=3.0, elevation=25.0, azimuth=45.0)
    poses = find_poses(place_cameras(spec))
    np.testing.assert_allclose(poses["distance"], 3.0, rtol=1e-15)
    np.testing.assert_allclose(poses["elevation"], 25.0, rtol=0, atol=1e-13)
    np.testing.assert_allclose(poses["roll"], 0.0, rtol=0, atol=1e-13)
    expected = 45.0 + 360.0 / cameras * np.arange(cameras)
    np.testing.assert_allclose(differ(poses["azimuth"][0, :, 0], expected), 0.0, rtol=0, atol=1e-12)


def test_jittered_cameras_on_their_orbit_match_the_twin():
    spec = DatasetSpec.from_fields(cameras=3, frames=5, seed=6, distance=3.0, **ALL_JITTER)
    moments = np.array([[-0.4, 0.0, 1.0, 3.75, 4.0], [0.0, 0.5, 2.0, 4.0, 9.0]])
    rig = place_cameras(spec, range(40, 42), moments)
    assert rig.extrinsics.shape == (2, 3, 5, 3, 4)
    for row, camera, moment in np.ndindex(2, 3, 5):
        drawn = naive.draw_uniforms(6, CAMERAS, row=40 + row, width=16)
        departure = 2.0 * drawn[4 + 4 * camera : 8 + 4 * camera] - 1.0
        orbit = 30.0 + 60.0 * drawn[0]
        expected = look_at_origin(
            azimuth=45.0 + 120.0 * camera + 10.0 * departure[0] + orbit * moments[row, moment] / 4.0,
            elevation=25.0 + 20.0 * departure[1],
            distance=3.0 * (1.0 + 0.3 * departure[2]),
            roll=40.0 * departure[3],
        )
        np.testing.assert_allclose(rig.extrinsics[row, camera, moment], expected, rtol=0, atol=2e-14)


def test_every_rotation_is_proper_and_every_camera_looks_at_the_origin():
    spec = DatasetSpec.from_fields(
        frames=6, seed=2, elevation=-60.0, **{**ALL_JITTER, "orbit": (-900.0, 900.0)}
    )
    extrinsics = place_cameras(spec, range(100)).extrinsics
    rotation = extrinsics[..., :3]
    product = rotation @ np.swapaxes(rotation, -1, -2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), rtol=0, atol=2e-15)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, rtol=0, atol=2e-15)
    # the origin lies on the optical axis
    assert not extrinsics[..., :2, 3].any()


def test_each_camera_of_each_row_departs_by_itself_and_uniformly():
    spec = DatasetSpec.from_fields(cameras=2, frames=2, **{**ALL_JITTER, "orbit": 0.0})
    rig = place_cameras(spec, range(4000))
    assert rig.extrinsics.shape == (4000, 2, 1, 3, 4)
    poses = find_poses(rig)
    shares = [
        (differ(poses["azimuth"], np.array([45.0, 225.0])[:, None]) + 10.0) / 20.0,
        (poses["elevation"] - 5.0) / 40.0,
        (poses["distance"] / 4.0 - 0.7) / 0.6,
        (poses["roll"] + 40.0) / 80.0,
    ]
    for share in shares:
        assert_uniform(share)
    quantities = np.concatenate([share[:, :, 0].T for share in shares])
    correlation = np.corrcoef(quantities) - np.eye(8)
    assert np.abs(correlation).max() < 5.0 / math.sqrt(4000)


@pytest.mark.parametrize("name", ["azimuth", "elevation", "distance", "roll"])
def test_one_jitter_moves_nothing_else(name: str):
    spec = DatasetSpec.from_fields(**{f"{name}_jitter": 0.5})
    still, moved = find_poses(place_cameras(spec.replace(**{f"{name}_jitter": 0.0}))), find_poses(
        place_cameras(spec, range(20))
    )  # fmt: skip
    for quantity, values in moved.items():
        departure = np.abs(values - still[quantity])
        assert (departure.min() > 1e-6) if quantity == name else (departure.max() < 1e-12)


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (50, 20)])
@pytest.mark.parametrize("margin", [0.0, 0.1])
@pytest.mark.parametrize("distance", [1.45, 4.0, 1000.0])
def test_every_camera_sees_the_whole_unit_ball_however_it_is_jittered(
    size: tuple[int, int], margin: float, distance: float
):
    height, width = size
    fields = {
        "height": height,
        "width": width,
        "cameras": 3,
        "frames": 3,
        "distance": distance,
        "margin": margin,
    }
    spec = DatasetSpec.from_fields(**fields, **ALL_JITTER)
    rig = place_cameras(spec, range(4))
    for row, camera, frame in np.ndindex(4, 3, 3):
        center = rig.extrinsics[row, camera, frame, :, 3]
        u_min, v_min, u_max, v_max = naive.bound_sphere(center, 1.0, rig.intrinsics[camera])
        assert u_min > -1e-9
        assert v_min > -1e-9
        assert u_max < width + 1e-9
        assert v_max < height + 1e-9
    # and from the least distance that may come it fills all but the margin
    nearest = np.array([0.0, 0.0, 0.7 * distance])
    u_min, v_min, u_max, v_max = naive.bound_sphere(nearest, 1.0, rig.intrinsics[0])
    assert u_max - u_min == pytest.approx((1.0 - margin) * min(size), rel=1e-6)
    assert (u_min + u_max, v_min + v_max) == pytest.approx((width, height))


@pytest.mark.parametrize("margin", [-1.0, -9.0])
def test_below_a_margin_of_zero_the_unit_ball_is_larger_than_the_picture(margin: float):
    rig = place_cameras(DatasetSpec.from_fields(cameras=1, margin=margin))
    u_min, _, u_max, _ = naive.bound_sphere(rig.static("extrinsics")[0, :, 3], 1.0, rig.intrinsics[0])
    assert u_max - u_min == pytest.approx(64.0 * (1.0 - margin), rel=1e-6)


def test_a_margin_at_which_cameras_see_next_to_nothing_is_refused():
    with pytest.raises(
        SpecError, match=r"^spec: camera\.margin: found -9\.01; .*greater than or equal to -9$"
    ):
        DatasetSpec.from_fields(margin=-9.01)


def test_an_orbit_moves_all_cameras_by_the_angle_of_their_row():
    spec = DatasetSpec.from_fields(cameras=3, frames=7, orbit=(-20.0, 140.0))
    poses = find_poses(place_cameras(spec, range(2000)))
    moved = differ(poses["azimuth"], poses["azimuth"][:, :, :1])
    orbit = moved[:, 0, -1]
    assert_uniform((orbit + 20.0) / 160.0)
    expected = orbit[:, None] * np.arange(7) / 6.0
    np.testing.assert_allclose(moved, np.broadcast_to(expected[:, None], moved.shape), rtol=0, atol=1e-11)
    for name in ("elevation", "distance", "roll"):
        np.testing.assert_allclose(np.ptp(poses[name], axis=-1), 0.0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        poses["azimuth"][:, :, 0],
        np.broadcast_to(find_poses(place_cameras(spec.replace(orbit=0.0)))["azimuth"][:, :, 0], (2000, 3)),
        rtol=0,
        atol=1e-12,
    )


def test_a_clip_of_one_frame_is_seen_from_where_the_orbit_begins():
    spec = DatasetSpec.from_fields(frames=1, orbit=90.0)
    still = place_cameras(spec.replace(orbit=0.0)).extrinsics
    np.testing.assert_allclose(place_cameras(spec).extrinsics, still, rtol=0, atol=1e-15)


def test_cameras_and_light_are_the_same_however_rows_and_moments_are_cut():
    spec = DatasetSpec.from_fields(seed=9, frames=8, light_jitter=25.0, **ALL_JITTER)
    whole = place_cameras(spec, range(10, 30))
    for rows, frames in ((range(10, 11), slice(0, 8)), (range(17, 30), slice(3, 5))):
        moments = np.arange(8.0)[None, frames]
        part = place_cameras(spec, rows, moments)
        place = slice(rows.start - 10, rows.stop - 10)
        assert part.extrinsics.tobytes() == whole.extrinsics[place, :, frames].tobytes()
        assert part.light.tobytes() == whole.light[place].tobytes()
    assert place_cameras(spec.replace(seed=10), range(10, 30)).light.tobytes() != whole.light.tobytes()


@pytest.mark.parametrize("jitter", [1e-4, 20.0, 90.0, 180.0])
@pytest.mark.parametrize("light", [(0.4, -0.3, 0.85), (0.0, 0.0, -2.0)])
def test_the_light_is_uniform_within_its_cone(jitter: float, light: tuple[float, float, float]):
    spec = DatasetSpec.from_fields(light=light, light_jitter=jitter)
    found = place_cameras(spec, range(4000)).light
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=0, atol=1e-15)
    middle = np.array(light) / np.linalg.norm(light)
    # half the chord is the sine of half the angle: exact for small angles, too; its square is uniform over a cap
    half_sine = np.linalg.norm(found - middle, axis=1) / 2.0
    assert_uniform((half_sine / math.sin(math.radians(jitter) / 2.0)) ** 2)
    across = np.cross(middle, (0.6, 0.8, 0.1))
    across /= np.linalg.norm(across)
    offset = found - middle
    turn = np.arctan2(offset @ np.cross(middle, across), offset @ across)
    assert_uniform(turn / (2.0 * math.pi) + 0.5)


def test_the_light_in_each_camera_is_that_of_the_world():
    rig = place_cameras(DatasetSpec.from_fields(cameras=3, light=(0.0, 3.0, 4.0)))
    np.testing.assert_allclose(rig.light, [[0.0, 0.6, 0.8]], rtol=0, atol=1e-15)
    back = np.einsum("cji,cj->ci", rig.static("extrinsics")[:, :, :3], rig.light_camera)
    np.testing.assert_allclose(back, [[0.0, 0.6, 0.8]] * 3, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2.0, 3.0, 5.0, 6.0), True),
        ((-5.0, -5.0, 50.0, 50.0), True),
        ((-5.0, 3.0, 0.1, 6.0), True),
        ((-5.0, 3.0, 0.0, 6.0), False),
        ((19.9, 3.0, 25.0, 6.0), True),
        ((20.0, 3.0, 25.0, 6.0), False),
        ((2.0, -4.0, 5.0, 0.1), True),
        ((2.0, -4.0, 5.0, 0.0), False),
        ((2.0, 9.9, 5.0, 12.0), True),
        ((2.0, 10.0, 5.0, 12.0), False),
        ((math.nan,) * 4, False),
    ],
)
def test_a_box_is_in_view_where_any_of_it_is_inside_the_picture(box: tuple[float, ...], expected: bool):
    boxes = np.full((2, 3, 4), box, np.float32)
    found = is_in_view(boxes, 10, 20)
    assert found.shape == (2, 3)
    assert found.dtype == bool
    assert (found == expected).all()
