"""Naive twins: what the package computes, again, as plainly as possible and with none of its code.

Written for reading, one item at a time in float64; a loop is preferred to a formula, a search to a solution.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

CLASS_ORDER, SPLIT, SHAPE, PLACEMENT, APPEARANCE = range(5)
"""Streams of random numbers, as numbered for ever."""

Array = NDArray[np.float64]


def draw_uniforms(seed: int, stream: int, *, row: int, width: int) -> Array:
    """One row of a table of uniforms, by drawing all the rows above it, too."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))
    return generator.random((row + 1, width))[row]


def find_label(seed: int, *, row: int, classes: int) -> int:
    """Class of one row: the rank order of its group's uniforms."""
    group, place = divmod(row, classes)
    width = 4 * math.ceil(classes / 4)
    keys = draw_uniforms(seed, CLASS_ORDER, row=group, width=width)[:classes]
    return sorted(range(classes), key=lambda label: keys[label])[place]


def find_split(
    seed: int, *, row: int, classes: int, per_block: tuple[int, int], first_groups: str = "each"
) -> int:
    """Split of one row, where 20 groups are ``per_block`` groups of train and val, and the rest test."""
    block, place = divmod(row // classes, 20)
    keys = list(draw_uniforms(seed, SPLIT, row=block, width=20))
    ranks = [sorted(keys).index(key) for key in keys]
    split = [0 if rank < per_block[0] else 1 if rank < sum(per_block) else 2 for rank in ranks]
    if block == 0 and first_groups == "each":
        for group, name in enumerate(sorted(set(split))):
            other = split.index(name, group)
            split[group], split[other] = split[other], split[group]
    return split[place]


def linear(_uniforms: Array, time: float) -> Array:
    """A point of a straight line."""
    return np.array([time, 0.0, 0.0])


def circular(uniforms: Array, time: float) -> Array:
    """A point of a circle, 0.6 to 1.5 turns."""
    angle = 2.0 * math.pi * (uniforms[0] + (0.6 + 0.9 * uniforms[1]) * time)
    return np.array([math.cos(angle), math.sin(angle), 0.0])


def helical(uniforms: Array, time: float) -> Array:
    """A point of a helix, 1.25 to 2.5 turns, advancing by 0.75 to 2 diameters, left- or right-handed."""
    angle = 2.0 * math.pi * (uniforms[0] + (1.25 + 1.25 * uniforms[1]) * time)
    advance = 2.0 * (0.75 + 1.25 * uniforms[2])
    hand = -1.0 if uniforms[3] < 0.5 else 1.0
    return np.array([math.cos(angle), math.sin(angle), hand * advance * time])


def parabolic(uniforms: Array, time: float) -> Array:
    """A point of a parabola."""
    curvature = 1.2 + 2.0 * uniforms[0]
    vertex = 0.4 + 0.2 * uniforms[1]
    return np.array([time, curvature * (time - vertex) ** 2, 0.0])


def bouncing(uniforms: Array, time: float) -> Array:
    """A point of a ball that falls from height 1 and keeps a share of its speed at each contact with the floor."""
    fall = 0.2 + 0.1 * uniforms[0]
    restitution = 0.7 + 0.2 * uniforms[1]
    gravity = 2.0 / fall**2
    start, speed, height = -fall, gravity * fall, 0.0
    for _ in range(24):
        flight = 2.0 * speed / gravity
        if start <= time < start + flight:
            height = speed * (time - start) - gravity / 2.0 * (time - start) ** 2
        start, speed = start + flight, speed * restitution
    return np.array([(1.0 + 2.0 * uniforms[2]) * time, 0.0, height])


def pendulum(uniforms: Array, time: float) -> Array:
    """A point of a pendulum of length 1: 1 to 2.5 swings, 36 to 72 degrees to either side."""
    largest = math.radians(36.0 + 36.0 * uniforms[1])
    angle = largest * math.sin(2.0 * math.pi * (uniforms[2] + (1.0 + 1.5 * uniforms[0]) * time))
    return np.array([math.sin(angle), 0.0, -math.cos(angle)])


def random_walk(uniforms: Array, time: float) -> Array:
    """A point of a cubic B-spline through the corners of a walk, by de Boor's recursion."""
    corners, steps = [np.zeros(3)], [np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])]
    is_left = False
    for number, uniform in enumerate(uniforms):
        # further digits of the number, as numbers of their own
        length, first, second = (math.fmod(uniform * 2.0**bits, 1.0) for bits in (1, 17, 34))
        is_left = not is_left if number in (2, 5) else uniform < 0.5
        across = np.cross(steps[-2], steps[-1])
        across *= (1.0 if is_left else -1.0) / np.linalg.norm(across)
        step = across + 0.35 * ((first - 0.5) * steps[-2] + (second - 0.5) * steps[-1])
        steps.append(step / np.linalg.norm(step))
        corners.append(corners[-1] + (0.7 + 0.6 * length) * steps[-1])
    points = np.array([corners[0], *corners, corners[-1], corners[-1]])
    place = min(time * 8.0 / 1.5, 9.0)
    knot = min(max(math.floor(place), 0), 8)
    support = [points[knot + number] for number in range(4)]
    for degree in (1, 2, 3):
        # knots are the integers: the weight is how far between them the place is
        support = [
            before + (place - (knot + degree + number - 3)) / (4 - degree) * (after - before)
            for number, (before, after) in enumerate(pairwise(support))
        ]
    return support[0]


def still(_uniforms: Array, _time: float) -> Array:
    """A point that does not move."""
    return np.zeros(3)


SHAPES = {
    "Linear": linear,
    "Circular": circular,
    "Helical": helical,
    "Parabolic": parabolic,
    "Bouncing": bouncing,
    "Pendulum": pendulum,
    "RandomWalk": random_walk,
    "Still": still,
}


def trace_path(name: str, *, seed: int, row: int, frames: int, horizon: int, radius: float) -> Array:
    """Positions (frames + horizon, 3) of one row of the default scene, from frame 1 to the future one."""
    shape_uniforms = draw_uniforms(seed, SHAPE, row=row, width=8)
    u = draw_uniforms(seed, PLACEMENT, row=row, width=8)
    steps = max(frames - 1, 1)
    shape = np.array([SHAPES[name](shape_uniforms, frame / steps) for frame in range(frames + horizon)])

    middle = np.array([(min(shape[:, axis]) + max(shape[:, axis])) / 2.0 for axis in range(3)])
    extent = max(math.dist(point, middle) for point in shape)
    room = (1.0 - radius) * (1.0 - 1e-6)
    size = (0.5 + 0.4 * u[3]) * room

    height = 2.0 * u[4] - 1.0
    azimuth = 2.0 * math.pi * u[5]
    across = math.sqrt(1.0 - height**2)
    offset = (room - size) * max(u[6], u[7]) * np.array(
        [across * math.cos(azimuth), across * math.sin(azimuth), height]
    )  # fmt: skip
    turn = rotation_of_quaternion(
        w=math.sqrt(u[0]) * math.cos(2.0 * math.pi * u[2]),
        vector=np.array(
            [
                math.sqrt(1.0 - u[0]) * math.sin(2.0 * math.pi * u[1]),
                math.sqrt(1.0 - u[0]) * math.cos(2.0 * math.pi * u[1]),
                math.sqrt(u[0]) * math.sin(2.0 * math.pi * u[2]),
            ]
        ),
    )
    return np.array([turn @ ((point - middle) * (size / extent)) + offset for point in shape])


def rotation_of_quaternion(*, w: float, vector: Array) -> Array:
    """Rotation matrix of a unit quaternion, by turning the three axes: v + 2w (q × v) + 2 q × (q × v)."""
    columns = []
    for axis in np.eye(3):
        once = np.cross(vector, axis)
        columns.append(axis + 2.0 * w * once + 2.0 * np.cross(vector, once))
    return np.column_stack(columns)


def project(point_world: Array, intrinsics: Array, extrinsics: Array) -> tuple[Array, float]:
    """Pixel and depth of a point, by homogeneous coordinates."""
    point_camera = extrinsics @ np.array([*point_world, 1.0])
    homogeneous = intrinsics @ point_camera
    return homogeneous[:2] / homogeneous[2], float(point_camera[2])


def trace_contour(center_camera: Array, radius: float, *, points: int = 20_000) -> Array:
    """Points (points, 3) of the circle on a sphere along which a camera's rays touch it, camera frame."""
    distance = math.dist(center_camera, (0.0, 0.0, 0.0))
    towards = np.asarray(center_camera) / distance
    # the tangent length, the radius and the distance make a right-angled triangle
    along = (distance**2 - radius**2) / distance
    across = radius * math.sqrt(distance**2 - radius**2) / distance
    side = np.cross(towards, (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    up = np.cross(side, towards)
    angle = np.linspace(0.0, 2.0 * math.pi, points, endpoint=False)[:, None]
    return towards * along + across * (np.cos(angle) * side + np.sin(angle) * up)


def bound_sphere(center_camera: Array, radius: float, intrinsics: Array) -> Array:
    """Box (u_min, v_min, u_max, v_max) of a sphere's silhouette: the extremes of its projected contour."""
    contour = trace_contour(center_camera, radius) @ intrinsics.T
    uv = contour[:, :2] / contour[:, 2:]
    return np.concatenate([uv.min(axis=0), uv.max(axis=0)])


def cast_rays(intrinsics: Array, *, size: tuple[int, int], rays: int) -> Array:
    """Unit directions (height · rays, width · rays, 3) of ``rays`` × ``rays`` rays through each pixel, camera frame."""
    height, width = size
    u = (np.arange(width * rays) + 0.5) / rays
    v = (np.arange(height * rays) + 0.5) / rays
    directions = np.empty((height * rays, width * rays, 3))
    directions[..., 0] = (u[None, :] - intrinsics[0, 2]) / intrinsics[0, 0]
    directions[..., 1] = (v[:, None] - intrinsics[1, 2]) / intrinsics[1, 1]
    directions[..., 2] = 1.0
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def meet_sphere(directions: Array, center_camera: Array, radius: float) -> Array:
    """How far along each ray (…, 3) a sphere is met first: (…), infinite where the ray misses it."""
    along = directions @ center_camera
    discriminant = along**2 - center_camera @ center_camera + radius**2
    return np.where(discriminant >= 0.0, along - np.sqrt(np.maximum(discriminant, 0.0)), np.inf)


def paint_sphere(
    frame: Array,
    center_camera: Array,
    radius: float,
    *,
    color: NDArray[np.uint8],
    intrinsics: Array,
    light_camera: Array,
    ambient: float,
    rays: int = 16,
) -> Array:
    """Paint a sphere over a frame (3, height, width), by many rays a pixel; returns its coverage (height, width).

    Where a ray hits, the surface is lit by Lambert's law; the rays that miss keep what the frame shows.
    """
    height, width = frame.shape[1:]
    directions = cast_rays(intrinsics, size=(height, width), rays=rays)
    distance = meet_sphere(directions, center_camera, radius)
    is_hit = np.isfinite(distance)
    normals = (directions[is_hit] * distance[is_hit][:, None] - center_camera) / radius
    brightness = ambient + (1.0 - ambient) * np.clip(normals @ light_camera, 0.0, 1.0)

    colors = np.repeat(np.repeat(frame.transpose(1, 2, 0), rays, axis=0), rays, axis=1)
    colors[is_hit] = brightness[:, None] * color
    frame[:] = colors.reshape(height, rays, width, rays, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    return is_hit.reshape(height, rays, width, rays).mean(axis=(1, 3))


def fill_frame(color: NDArray[np.uint8], size: tuple[int, int]) -> Array:
    """A frame (3, height, width) of one colour."""
    frame = np.empty((3, *size))
    frame[:] = np.asarray(color, float)[:, None, None]
    return frame
