"""The slow truth: many rays through each pixel of a scene of spheres, cubes, cylinders and cones, in plain NumPy.

Everything is done in the body's own frame and in the textbook's way; nothing is shared with the rasterizer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SIDE = 8
"""Rays of a pixel are a square of so many by so many."""


@dataclass(frozen=True)
class Surface:
    """What the centres of pixels (height, width) see."""

    ids: NDArray[np.int64]
    """0, or a body and 1."""

    depths: Array
    """z in the camera's frame; inf where there is no body."""

    normals: Array
    """(height, width, 3), outwards, in the camera's frame; 0 where there is no body."""

    points: Array
    """(height, width, 3), in the world."""

    silhouettes: NDArray[np.bool_]
    """(bodies, height, width): what each body covers, hidden or not."""


@dataclass(frozen=True)
class World:
    """One row at the moments that count; shapes as `trajstore.kernels.world.render_world` takes them."""

    position: Array
    rotation: Array
    is_present: NDArray[np.bool_]
    radius: Array
    color: NDArray[np.uint8]
    shape: NDArray[np.uint8]
    background: NDArray[np.uint8]
    intrinsics: Array
    extrinsics: Array
    light: Array
    ambient: float

    @property
    def frames(self) -> int:
        return len(self.is_present)

    @property
    def size(self) -> tuple[int, int]:
        return self.background.shape[-2:]

    def picture(self, camera: int, frame: int) -> Array:
        """The picture (3, height, width), the average over all rays and sub-frames."""
        each = len(self.position) // self.frames
        pictures = [
            self._shoot(camera, frame, instant)[0] for instant in range(frame * each, (frame + 1) * each)
        ]
        return np.mean(pictures, axis=0)

    def ids(self, camera: int, frame: int) -> NDArray[np.int64]:
        """What the centre of each pixel sees (height, width): 0 or a body and 1; one instant a frame."""
        return self._shoot(camera, frame, frame, side=1)[1]

    def coverage(self, camera: int, frame: int, body: int) -> Array:
        """Share of each pixel (height, width) that a body's whole silhouette covers."""
        origin, directions = self._cast(camera, frame, SIDE)
        hit = np.isfinite(self._meet(body, frame, origin, directions)[0])
        return _pool(hit[..., None].astype(float), self.size)[..., 0]

    def surface(self, camera: int, frame: int) -> Surface:
        """What the centre of each pixel sees; one instant a frame."""
        origin, directions = self._cast(camera, frame, 1)
        nearest, ids = np.full(self.size, np.inf), np.zeros(self.size, np.int64)
        normals, silhouettes = np.zeros((*self.size, 3)), np.zeros((len(self.radius), *self.size), bool)
        for body in np.flatnonzero(self.is_present[frame]):
            distance, normal = self._meet(body, frame, origin, directions)
            silhouettes[body] = np.isfinite(distance)
            is_nearer = distance < nearest
            nearest[is_nearer], ids[is_nearer] = distance[is_nearer], body + 1
            normals[is_nearer] = normal[is_nearer]
        points = origin + np.where(ids > 0, nearest, 0)[..., None] * directions
        # the third component of a direction is 1 in the camera's frame: a distance along it is a depth
        return Surface(ids, nearest, normals @ self._view(camera, frame)[:, :3].T, points, silhouettes)

    def follow(self, points: Array, bodies: NDArray[np.int64], frame: int, other: int) -> Array:
        """Where points (n, 3) of bodies (n,) at one frame are at another, in the world."""
        moved = np.empty_like(points)
        for i, (point, body) in enumerate(zip(points, bodies, strict=True)):
            local = np.linalg.solve(self._turn(body, frame), point - self.position[frame, body])
            moved[i] = self._turn(body, other) @ local + self.position[other, body]
        return moved

    def project(self, points: Array, camera: int, frame: int) -> tuple[Array, Array]:
        """Pixels (n, 2) and depths (n,) of points (n, 3) of the world."""
        homogeneous = np.column_stack([points, np.ones(len(points))]) @ self._view(camera, frame).T
        pixels = homogeneous @ self.intrinsics[camera].T
        return pixels[:, :2] / pixels[:, 2:], homogeneous[:, 2]

    def gaps(self, pixels: Array, depths: Array, camera: int, frame: int) -> Array:
        """How far before points (n,) at pixels (n, 2) the first body is; negative where none is before."""
        view = self._view(camera, frame)
        rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self.intrinsics[camera]).T
        origin, nearest = -view[:, :3].T @ view[:, 3], np.full(len(pixels), np.inf)
        for body in np.flatnonzero(self.is_present[frame]):
            nearest = np.minimum(nearest, self._meet(body, frame, origin, rays @ view[:, :3])[0])
        return depths - nearest

    def _view(self, camera: int, instant: int) -> Array:
        """Extrinsics (3, 4)."""
        return self.extrinsics[camera, min(instant, self.extrinsics.shape[1] - 1)]

    def _turn(self, body: int, instant: int) -> Array:
        """Body to world."""
        return self.rotation[min(instant, len(self.rotation) - 1), min(body, self.rotation.shape[1] - 1)]

    def _cast(self, camera: int, instant: int, side: int) -> tuple[Array, Array]:
        """The camera's place and directions (height · side, width · side, 3) of rays in the world."""
        height, width = self.size
        u = (np.arange(width * side) + 0.5) / side
        v = (np.arange(height * side) + 0.5) / side
        pixels = np.stack(np.broadcast_arrays(u[None], v[:, None], 1.0), axis=-1)
        view = self._view(camera, instant)
        in_camera = pixels @ np.linalg.inv(self.intrinsics[camera]).T
        return -view[:, :3].T @ view[:, 3], in_camera @ view[:, :3]

    def _shoot(
        self, camera: int, frame: int, instant: int, side: int = SIDE
    ) -> tuple[Array, NDArray[np.int64]]:
        """The picture at one instant, and which body each ray meets first."""
        origin, directions = self._cast(camera, instant, side)
        nearest = np.full(directions.shape[:2], np.inf)
        ids = np.zeros(directions.shape[:2], np.int64)
        behind = self.background[camera].astype(float).transpose(1, 2, 0)
        colors = behind.repeat(side, axis=0).repeat(side, axis=1)
        for body in np.flatnonzero(self.is_present[frame]):
            distance, normal = self._meet(body, instant, origin, directions)
            is_nearer = distance < nearest
            light = self.ambient + (1 - self.ambient) * np.clip(normal @ self.light, 0, 1)
            nearest[is_nearer] = distance[is_nearer]
            ids[is_nearer] = body + 1
            colors[is_nearer] = light[is_nearer][:, None] * self.color[body]
        return _pool(colors, self.size).transpose(2, 0, 1), ids

    def _meet(self, body: int, instant: int, origin: Array, directions: Array) -> tuple[Array, Array]:
        """How far along each ray it enters a body, inf where it does not, and the normal there in the world."""
        turn = self._turn(body, instant)
        start = turn.T @ (origin - self.position[instant, body]) / self.radius[body]
        along = directions @ turn / self.radius[body]
        with np.errstate(all="ignore"):
            distance, normal = SHAPES[self.shape[body]](start, along)
        return distance, np.where(np.isfinite(distance)[..., None], normal, 0.0) @ turn.T


def _pool(values: Array, size: tuple[int, int]) -> Array:
    """Averages over the rays of each pixel."""
    height, width = size
    side = len(values) // height
    return values.reshape(height, side, width, side, -1).mean(axis=(1, 3))


def meet_sphere(start: Array, along: Array) -> tuple[Array, Array]:
    """The unit sphere."""
    a, b, c = (along**2).sum(-1), along @ start, start @ start - 1
    distance = (-b - np.sqrt(b**2 - a * c)) / a
    distance = np.where(np.isnan(distance), np.inf, distance)
    return distance, start + distance[..., None] * along


def meet_cube(start: Array, along: Array) -> tuple[Array, Array]:
    """The cube in the unit sphere: what lies between three pairs of planes."""
    half = 3**-0.5
    low, high = (-half - start) / along, (half - start) / along
    enter, leave = np.minimum(low, high), np.maximum(low, high)
    axis = enter.argmax(-1)
    distance = np.where(enter.max(-1) < leave.min(-1), enter.max(-1), np.inf)
    normal = -np.sign(np.take_along_axis(along, axis[..., None], -1)) * np.eye(3)[axis]
    return distance, normal


def meet_cylinder(start: Array, along: Array) -> tuple[Array, Array]:
    """The cylinder in the unit sphere: the nearer of its side and its caps."""
    across = half = 0.5**0.5
    a = along[..., 0] ** 2 + along[..., 1] ** 2
    b = along[..., 0] * start[0] + along[..., 1] * start[1]
    c = start[0] ** 2 + start[1] ** 2 - across**2
    side = (-b - np.sqrt(b**2 - a * c)) / a
    point = start + side[..., None] * along
    side = np.where(np.abs(point[..., 2]) <= half, side, np.inf)
    candidates = [(side, point * [1, 1, 0] / across)]
    return _first([*candidates, *(_meet_disc(start, along, z, across) for z in (-half, half))])


def meet_cone(start: Array, along: Array) -> tuple[Array, Array]:
    """The cone in the unit sphere: tip up at 1, base at −1/2."""
    base, slope = 0.75**0.5, 0.75**0.5 / 1.5
    tip = start - [0, 0, 1]
    sign = np.array([1, 1, -(slope**2)])
    a, b, c = (sign * along**2).sum(-1), (sign * along) @ tip, (sign * tip) @ tip
    root = np.sqrt(b**2 - a * c)
    candidates = [_meet_disc(start, along, -0.5, base)]
    for distance in ((-b - root) / a, (-b + root) / a):
        point = start + distance[..., None] * along
        inside = (point[..., 2] <= 1) & (point[..., 2] >= -0.5)
        normal = point * [1, 1, 0] - [0, 0, 1] * (slope**2 * (point[..., 2:] - 1))
        normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
        candidates.append((np.where(inside, distance, np.inf), normal))
    return _first(candidates)


def _meet_disc(start: Array, along: Array, z: float, across: float) -> tuple[Array, Array]:
    """A disc across the z axis."""
    distance = (z - start[2]) / along[..., 2]
    point = start + distance[..., None] * along
    distance = np.where((point[..., :2] ** 2).sum(-1) <= across**2, distance, np.inf)
    return distance, np.broadcast_to([0.0, 0.0, np.sign(z)], point.shape)


def _first(candidates: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The nearest of several surfaces before the camera."""
    distances = np.stack([np.where(distance > 0, distance, np.inf) for distance, _ in candidates])
    distances = np.where(np.isnan(distances), np.inf, distances)
    first = distances.argmin(0)
    normals = np.stack([normal for _, normal in candidates])
    normal = np.take_along_axis(normals, first[None, ..., None], 0)[0]
    distance = distances.min(0)
    return distance, normal


SHAPES = (meet_sphere, meet_cube, meet_cylinder, meet_cone)
