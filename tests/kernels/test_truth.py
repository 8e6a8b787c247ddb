"""The rasterizer of worlds against a slow ray caster that shares nothing with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.raycaster import World
from support.worlds import SIZES, make_world

from trajstore.kernels.cameras import observe
from trajstore.kernels.poses import make_scratch
from trajstore.kernels.raster import make_touched
from trajstore.kernels.visible import count_visible
from trajstore.kernels.world import render_world
from trajstore.spec import SHAPES


def draw(world: World) -> np.ndarray:
    """What the rasterizer makes of it."""
    out = np.empty((2, world.frames, 3, *world.size), np.uint8)
    render_world(
        world.position, world.rotation, world.is_present, world.radius, world.color, world.shape,
        world.background, world.intrinsics, world.extrinsics, world.light, world.ambient,
        make_scratch(len(world.radius), *world.size), make_touched(world.size[0]), out,
    )  # fmt: skip
    return out


def count(world: World) -> np.ndarray:
    """Pixels that see each body (bodies, cameras, frames)."""
    out = np.empty((len(world.radius), 2, world.frames), np.int32)
    count_visible(
        world.position, world.rotation, world.is_present, world.radius, world.shape, world.intrinsics,
        world.extrinsics, *world.size, make_scratch(len(world.radius), *world.size), out,
    )  # fmt: skip
    return out


def measure_silhouette(world: World, camera: int, frame: int) -> np.ndarray:
    """Coverage of the first body alone, as the rasterizer has it: white over black, lit from everywhere."""
    white = replace(
        world,
        color=np.full_like(world.color, 255),
        background=np.zeros_like(world.background),
        ambient=1.0,
        is_present=np.ones_like(world.is_present),
    )
    return draw(white)[camera, frame, 0] / 255.0


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", range(4), ids=lambda code: SHAPES[code])
def test_silhouettes_centroids_and_boxes(shape: int, size: tuple[int, int]):
    errors = []
    for seed in range(6):
        world = make_world(seed, bodies=1, shapes=(shape,), size=size)
        for camera, frame in np.ndindex(2, world.frames):
            found, true = measure_silhouette(world, camera, frame), world.coverage(camera, frame, 0)
            is_edge = (true > 0) & (true < 1)
            if not is_edge.any():
                continue
            errors.append((found - true)[is_edge])
            # four scanlines a pixel: an edge along them is right to an eighth, the rays to another sixteenth
            assert np.abs(found - true).max() < 0.19
            v, u = np.mgrid[: size[0], : size[1]] + 0.5
            for at in (u, v):
                assert abs((at * found).sum() / found.sum() - (at * true).sum() / true.sum()) < 0.25
    error = np.concatenate(errors)
    assert abs(error.mean()) < 1 / 256
    assert np.abs(error).mean() < 1 / 32


@pytest.mark.parametrize("shape", range(4), ids=lambda code: SHAPES[code])
def test_boxes_are_those_of_the_silhouettes(shape: int):
    zoom = 4
    for seed in range(2):
        world = make_world(seed, bodies=1, shapes=(shape,), size=(40, 40))
        bodies, frames = 1, world.frames
        box = np.empty((1, bodies, 2, frames, 4), np.float32)
        observe(
            world.position.swapaxes(0, 1)[None].astype(np.float32),
            world.rotation.swapaxes(0, 1)[None].copy(),
            np.ones((1, bodies, frames), bool),
            world.radius[None].astype(np.float32),
            world.shape[None],
            world.intrinsics,
            world.extrinsics[None],
            np.empty(3),
            np.empty((1, bodies, 2, frames, 2), np.float32),
            np.empty((1, bodies, 2, frames), np.float32),
            box,
        )
        # a picture four times as large, of four times as many rays each way: thin tips are not missed
        intrinsics = world.intrinsics * [[[zoom], [zoom], [1]]]
        large = replace(
            world, intrinsics=intrinsics, background=np.zeros((2, 3, 40 * zoom, 40 * zoom), np.uint8)
        )
        for camera, frame in np.ndindex(2, frames):
            rows, columns = np.nonzero(large.coverage(camera, frame, 0))
            ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box[0, 0, camera, frame], np.array(ends) / zoom, rtol=0, atol=0.25)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("bodies", [1, 3, 8])
def test_pictures_and_visible_pixels(bodies: int, size: tuple[int, int]):
    for seed in range(4):
        world = make_world(100 + seed, bodies=bodies, size=size)
        pictures, counts = draw(world), count(world)
        for camera, frame in np.ndindex(2, world.frames):
            difference = np.abs(pictures[camera, frame] - world.picture(camera, frame))
            assert difference.mean() < 3.0
            # pixels where three surfaces meet are averaged in another way, and parted by depth at their centre
            assert (difference.max(axis=0) > 40).mean() < 0.05
            ids = world.ids(camera, frame)
            true = np.bincount(ids.ravel(), minlength=bodies + 1)[1:]
            np.testing.assert_array_equal(counts[:, camera, frame], true)


def test_crossing_bodies_are_parted_where_they_meet():
    shares = []
    for seed in range(8):
        world = make_world(200 + seed, bodies=4, spread=0.2, radius=(0.3, 0.5))
        pictures = draw(world)
        for camera, frame in np.ndindex(2, world.frames):
            difference = np.abs(pictures[camera, frame] - world.picture(camera, frame)).max(axis=0)
            ids = world.ids(camera, frame)
            around = np.stack([np.roll(ids, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)])
            is_inside = (around == ids).all(axis=0) & (ids > 0)
            assert is_inside.sum() > 20
            # creases of a body's own faces are inside, too
            shares.append((difference[is_inside] > 12).mean())
    # where edges of one body come out of another: depths are compared at the pixel's centre
    assert np.mean(shares) < 0.01


@pytest.mark.parametrize("orbit", [0.0, 60.0])
def test_blur_and_moving_cameras(orbit: float):
    for seed in range(2):
        world = make_world(300 + seed, bodies=3, frames=2, subframes=8, orbit=orbit)
        pictures = draw(world)
        for camera, frame in np.ndindex(2, world.frames):
            difference = np.abs(pictures[camera, frame] - world.picture(camera, frame))
            assert difference.mean() < 1.5
            assert (difference.max(axis=0) > 20).mean() < 0.02


def test_no_halo_where_a_body_lies_before_another():
    dark = make_world(1, bodies=2, shapes=(0,))
    position = np.array([[0.0, 0.0, 0.0], [0.55, 0.0, 0.25]])
    world = replace(
        dark,
        position=np.repeat(position[None], 2, 0),
        radius=np.array([0.5, 0.2]),
        color=np.full((2, 3), 200, np.uint8),
        background=np.zeros_like(dark.background),
        is_present=np.ones((2, 2), bool),
        ambient=1.0,
    )
    large = replace(world, is_present=np.array([[True, False]] * 2))
    both, alone = draw(world), draw(large)
    # wherever the large sphere fills a pixel, whatever lies before or behind it is as bright
    assert (both[alone == 200] >= 199).all()
    assert (both >= alone).all()
