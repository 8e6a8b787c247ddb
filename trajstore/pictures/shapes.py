"""Silhouettes of bodies: the outline of the points that a convex body is the hull of, and how much of it a picture has.

Labels say how many pixels see a body; how many there would be if nothing stood before it, follows from its silhouette.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDES: Final = 32
"""Sides of the polygon that stands for a silhouette."""

CUTS: Final = 4
"""Points on each side where a polygon is cut off at the edges of a picture."""

Points = NDArray[np.float64]


def _circle(count: int) -> Points:
    """Points (count, 2) on the unit circle."""
    angle = np.arange(count) * (2.0 * np.pi / count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _ring(radius: float, height: float) -> Points:
    """Points on a circle around the z axis."""
    return np.concatenate([radius * _circle(24), np.full((24, 1), height)], axis=1)


CUBE_HALF: Final = float(np.sqrt(1.0 / 3.0))
CYLINDER_HALF: Final = float(np.sqrt(0.5))
CONE_BASE: Final = float(np.sqrt(0.75))
"""Half of a cube's edge, half of a cylinder's height as well as its radius, radius of a cone, in enclosing radii."""

_SIGNS: Final = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)

CORNERS: Final[dict[str, Points]] = {
    "cube": CUBE_HALF * _SIGNS,
    "cylinder": np.concatenate([_ring(CYLINDER_HALF, CYLINDER_HALF), _ring(CYLINDER_HALF, -CYLINDER_HALF)]),
    "cone": np.concatenate([[(0.0, 0.0, 1.0)], _ring(CONE_BASE, -0.5)]),
}
"""Points (n, 3) that a body is the hull of, inside the unit sphere, which encloses it; a sphere has none."""

CONE_FACES: Final = [(0, 1 + a, 1 + (a + 1) % 24) for a in range(24)] + [(1, a + 1, a) for a in range(2, 24)]
"""Triangles between the corners of a cone."""


def find_outline(points: Points) -> Points:
    """The hull of points (..., n, 2) as a polygon (..., SIDES, 2): the farthest of them in each direction."""
    farthest = (points @ _circle(SIDES).T).argmax(axis=-2)
    return np.take_along_axis(points, farthest[..., None], axis=-2)


def find_ellipse(box: NDArray[np.float32]) -> Points:
    """The ellipse inside boxes (..., 4) as a polygon (..., SIDES, 2): the silhouette of a sphere, or nearly so."""
    low, high = box[..., None, :2].astype(np.float64), box[..., None, 2:].astype(np.float64)
    return (low + high) / 2.0 + (high - low) / 2.0 * _circle(SIDES)


def measure_inside(polygon: Points, *, height: int, width: int) -> Points:
    """How many px (...,) of convex polygons (..., n, 2) are inside a picture."""
    share = (np.arange(CUTS) / CUTS)[:, None]
    start, end = polygon[..., None, :], np.roll(polygon, -1, axis=-2)[..., None, :]
    around = (start + share * (end - start)).reshape(*polygon.shape[:-2], -1, 2)
    u, v = np.moveaxis(np.clip(around, 0.0, (width, height)), -1, 0)
    area: Points = 0.5 * np.abs((u * np.roll(v, -1, axis=-1) - np.roll(u, -1, axis=-1) * v).sum(axis=-1))
    return area
