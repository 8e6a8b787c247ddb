"""What is told of pixels and points, against a slow ray caster that shares nothing with it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from support.interpreted import digest_otherwise
from support.raycaster import World
from support.worlds import SIZES, make_world

from trajstore.kernels.annotate import Layers, annotate_clip, fill_silhouettes, make_survey
from trajstore.kernels.poses import make_scratch
from trajstore.kernels.tracks import follow_points, make_tracks
from trajstore.kernels.visible import count_visible
from trajstore.spec import SHAPES

POINTS = 40


def describe(world: World) -> tuple:
    return (
        world.position, world.rotation, world.is_present, world.radius, world.shape, world.intrinsics,
        world.extrinsics,
    )  # fmt: skip


def annotate(world: World) -> Layers:
    """All that is told of its pixels."""
    shape, size = (2, world.frames), world.size
    layers = Layers(
        np.zeros((*shape, *size), np.uint8),
        np.full((*shape, *size), np.inf, np.float32),
        np.zeros((*shape, 2, *size), np.float32),
        np.zeros((*shape, 2, *size), np.float32),
        np.zeros((*shape, 3, *size), np.float32),
    )
    bodies = len(world.radius)
    annotate_clip(0, *describe(world), make_survey(bodies, *size), make_scratch(bodies, *size), layers)
    return layers


def fill(world: World) -> NDArray[np.bool_]:
    """Whole silhouettes (bodies, cameras, frames, height, width)."""
    bodies = len(world.radius)
    out = np.zeros((bodies, 2, world.frames, *world.size), np.bool_)
    fill_silhouettes(0, *describe(world), make_scratch(bodies, *world.size), out)
    return out


def follow(world: World, points: int = POINTS, *, key: int = 5) -> tuple[NDArray, NDArray, NDArray]:
    """Queries, targets and whether they are hidden."""
    bodies = len(world.radius)
    found = (
        np.empty((2, points, 3), np.float32),
        np.empty((2, points, world.frames, 2), np.float32),
        np.empty((2, points, world.frames), np.bool_),
    )
    follow_points(
        0, np.uint64(key), *describe(world), make_survey(bodies, *world.size),
        make_scratch(bodies, *world.size), make_tracks(world.frames, points, *world.size), *found,
    )  # fmt: skip
    return found


def check_pixels(world: World) -> int:
    """Compare all that is told with the truth; pixels that see bodies."""
    layers, silhouettes, pixels = annotate(world), fill(world), 0
    v, u = np.mgrid[: world.size[0], : world.size[1]] + 0.5
    for camera, frame in np.ndindex(2, world.frames):
        true = world.surface(camera, frame)
        ids, is_body = layers.segmentation[camera, frame], true.ids > 0
        np.testing.assert_array_equal(ids, true.ids)
        np.testing.assert_array_equal(silhouettes[:, camera, frame], true.silhouettes)
        depths, normals = layers.depth_map[camera, frame], layers.normals[camera, frame]
        np.testing.assert_allclose(depths, true.depths, rtol=1e-5)
        np.testing.assert_allclose(normals, np.moveaxis(true.normals, -1, 0), rtol=0, atol=1e-4)
        length = np.linalg.norm(normals, axis=0)
        np.testing.assert_allclose(length, is_body, rtol=0, atol=1e-6)
        for step, flows in ((1, layers.forward_flow), (-1, layers.backward_flow)):
            flow, other = flows[camera, frame], frame + step
            assert not flow[:, ~is_body].any()
            if not 0 <= other < world.frames:
                assert not flow.any()
                continue
            moved = world.follow(true.points[is_body], true.ids[is_body] - 1, frame, other)
            place, _ = world.project(moved, camera, other)
            wanted = place - np.column_stack([u[is_body], v[is_body]])
            np.testing.assert_allclose(flow[:, is_body].T, wanted, rtol=1e-6, atol=1e-3)
        pixels += int(is_body.sum())
    return pixels


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("bodies", [1, 3, 8])
def test_pixels_of_any_world(bodies: int, size: tuple[int, int]):
    seen = sum(check_pixels(make_world(500 + seed, bodies=bodies, size=size)) for seed in range(3))
    assert seen > 100


@pytest.mark.parametrize("shape", range(4), ids=lambda code: SHAPES[code])
def test_pixels_of_each_shape(shape: int):
    assert sum(check_pixels(make_world(600 + seed, bodies=2, shapes=(shape,))) for seed in range(3)) > 100


@pytest.mark.parametrize("bodies", [1, 4])
def test_pixels_of_moving_cameras(bodies: int):
    world = make_world(700, bodies=bodies, frames=4, orbit=60.0)
    assert len(np.unique(world.extrinsics[0, :, 0, 0])) == 4
    assert check_pixels(world) > 100


def test_bodies_that_all_turn_alike_or_stand_still():
    world = make_world(800, bodies=4, frames=3)
    check_pixels(replace(world, rotation=world.rotation[:1]))
    still = replace(
        world,
        rotation=world.rotation[:1, :1],
        position=np.repeat(world.position[:1], 3, 0),
        is_present=np.ones_like(world.is_present),
    )
    check_pixels(still)
    layers = annotate(still)
    assert np.abs(layers.forward_flow).max() < 1e-5
    np.testing.assert_array_equal(layers.depth_map[:, 0], layers.depth_map[:, 2])


def test_as_many_pixels_as_are_counted():
    for bodies in (1, 3, 8):
        world = make_world(900 + bodies, bodies=bodies, frames=3)
        counts, ids = np.empty((bodies, 2, 3), np.int32), annotate(world).segmentation
        count_visible(*describe(world), *world.size, make_scratch(bodies, *world.size), counts)
        for body in range(bodies):
            np.testing.assert_array_equal((ids == body + 1).sum((-1, -2)), counts[body])
            assert not (ids == body + 1)[~fill(world)[body]].any()


def test_layers_that_nobody_asks_for_have_no_pixels():
    world = make_world(1000, bodies=3)
    whole, shape = annotate(world), (2, world.frames)
    for name in Layers._fields:
        layers = Layers(
            np.zeros((*shape, *world.size), np.uint8),
            np.zeros((*shape, 0, 0), np.float32),
            np.zeros((*shape, 2, 0, 0), np.float32),
            np.zeros((*shape, 2, 0, 0), np.float32),
            np.zeros((*shape, 3, 0, 0), np.float32),
        )
        wanted = getattr(whole, name)
        layers = layers._replace(**{name: np.full_like(wanted, np.inf if name == "depth_map" else 0)})
        annotate_clip(0, *describe(world), make_survey(3, *world.size), make_scratch(3, *world.size), layers)
        np.testing.assert_array_equal(getattr(layers, name), wanted)


def glide(seed: int, *, bodies: int, frames: int = 4, orbit: float = 0.0) -> World:
    """A world in which bodies move a little from frame to frame, and do not tumble."""
    world = make_world(seed, bodies=bodies, frames=frames, orbit=orbit)
    start = world.position[:1]
    return replace(
        world,
        position=start + 0.2 * (world.position - start),
        rotation=world.rotation[:1],
        is_present=np.ones_like(world.is_present),
    )


@pytest.mark.parametrize("orbit", [0.0, 6.0])
def test_flow_there_and_back_ends_where_it_began(orbit: float):
    errors = []
    for seed in range(4):
        world = glide(1100 + seed, bodies=3, orbit=orbit)
        layers = annotate(world)
        height, width = world.size
        for camera, frame in np.ndindex(2, world.frames - 1):
            ids, after = layers.segmentation[camera, frame], layers.segmentation[camera, frame + 1]
            flow, back = layers.forward_flow[camera, frame], layers.backward_flow[camera, frame + 1]
            for row, column in np.argwhere(ids):
                # the four pixels around where the point goes
                x, y = column + flow[0, row, column], row + flow[1, row, column]
                left, top = int(np.floor(x)), int(np.floor(y))
                if not (0 <= left < width - 1 and 0 <= top < height - 1):
                    continue
                around = (slice(top, top + 2), slice(left, left + 2))
                facing = layers.normals[camera, frame + 1, :, *around]
                flat = np.abs(facing - facing[:, :1, :1]).max() < 0.3
                if (after[around] != ids[row, column]).any() or not flat:
                    continue
                weights = np.outer([1 - (y - top), y - top], [1 - (x - left), x - left])
                there = (back[:, *around] * weights).sum((1, 2))
                errors.append(np.abs(flow[:, row, column] + there).max())
    assert len(errors) > 1000
    # what is between pixels is taken as straight, and a few points come out from behind others
    assert np.quantile(errors, 0.95) < 0.02
    assert np.mean(errors) < 0.01


@pytest.mark.parametrize("bodies", [1, 3, 8])
@pytest.mark.parametrize("orbit", [0.0, 60.0])
def test_tracks(bodies: int, orbit: float):
    seen = hidden = 0
    for seed in range(3):
        world = make_world(1200 + seed, bodies=bodies, frames=4, orbit=orbit, size=(37, 53))
        query, target, occluded = follow(world)
        for camera in range(2):
            first, row, column = np.floor(query[camera]).astype(int).T
            for moment in range(world.frames):
                begun = np.flatnonzero(first == moment)
                surface = world.surface(camera, moment)
                body = surface.ids[row[begun], column[begun]] - 1
                assert (body >= 0).all()
                points = surface.points[row[begun], column[begun]]
                for frame in range(world.frames):
                    moved = world.follow(points, body, moment, frame)
                    pixels, depths = world.project(moved, camera, frame)
                    np.testing.assert_allclose(target[camera, begun, frame], pixels, rtol=1e-6, atol=1e-4)
                    gap = world.gaps(pixels, depths, camera, frame)
                    inside = ((pixels >= 0) & (pixels < world.size[::-1])).all(1)
                    wanted = (gap > 1e-9) | ~inside | ~world.is_present[frame, body]
                    # where a surface is seen from its side, rounding decides
                    is_sure = (gap > 1e-6) | (gap < 1e-9) | ~inside
                    found = occluded[camera, begun, frame]
                    np.testing.assert_array_equal(found[is_sure], wanted[is_sure])
                    assert is_sure.mean() > 0.9 if len(begun) > 10 else True
                    seen, hidden = seen + (~found).sum(), hidden + found.sum()
    assert min(seen, hidden) > 100


def test_a_point_is_seen_where_its_query_says():
    world = make_world(1300, bodies=3, frames=5)
    query, target, occluded = follow(world)
    first = query[..., 0].astype(int)
    assert len(np.unique(first)) == 5
    there = np.take_along_axis(target, first[..., None, None], 2)[:, :, 0]
    np.testing.assert_array_equal(there, query[..., [2, 1]])
    assert not np.take_along_axis(occluded, first[..., None], 2).any()
    assert (query[..., 1:] % 1 == 0.5).all()


def test_fewer_points_are_the_first_ones_and_another_key_has_others():
    world = make_world(1400, bodies=2)
    whole, part, other = follow(world), follow(world, 7), follow(world, key=6)
    for one, two in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[:, :7], two)
    assert (whole[0] != other[0]).any(axis=-1).mean() > 0.9
    assert (whole[0][0] != whole[0][1]).any()


def test_points_are_spread_over_all_that_is_seen():
    world = make_world(1500, bodies=3, frames=3)
    ids = annotate(world).segmentation
    query, _, _ = follow(world, 3000)
    for camera in range(2):
        frame, row, column = np.floor(query[camera]).astype(int).T
        chosen = ids[camera, frame, row, column]
        share = np.bincount(chosen, minlength=4)[1:] / 3000
        wanted = np.bincount(ids[camera].ravel(), minlength=4)[1:] / (ids[camera] > 0).sum()
        np.testing.assert_allclose(share, wanted, rtol=0, atol=0.04)


def test_a_camera_that_sees_nothing_has_no_points():
    world = make_world(1600, bodies=2)
    query, target, occluded = follow(replace(world, is_present=np.zeros_like(world.is_present)))
    assert np.isnan(query).all()
    assert np.isnan(target).all()
    assert occluded.all()


def test_a_point_behind_the_camera_stays_at_its_query():
    world = make_world(1700, bodies=1, frames=2)
    view = world.extrinsics[:, min(1, world.extrinsics.shape[1] - 1)]
    behind = -view[0, :, :3].T @ (view[0, :, 3] + [0, 0, 5.0])
    query, target, occluded = follow(
        replace(
            world,
            position=np.stack([world.position[0], behind[None]]),
            is_present=np.array([[True], [False]]),
        )
    )
    np.testing.assert_array_equal(target[0, :, 1], query[0][:, [2, 1]])
    assert occluded[0, :, 1].all()


def digest() -> str:
    """Hash of all that is told of some worlds."""
    state = hashlib.sha256()
    for seed, bodies in ((1, 1), (2, 5)):
        world = make_world(seed, bodies=bodies, size=(24, 24), orbit=20.0)
        for array in (*annotate(world), fill(world), *follow(world, 8)):
            state.update(array.tobytes())
    return state.hexdigest()


def test_compiled_and_interpreted_tell_the_same():
    assert digest_otherwise(__file__) == digest()
