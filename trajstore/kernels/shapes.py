"""Shapes of bodies: convex, closed, each inscribed exactly in the sphere of the body's radius around its origin.

In a body's own frame the axis of cylinder and cone is z, and the cone's apex points up it.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel

SPHERE, CUBE, CYLINDER, CONE = range(4)
"""Codes of shapes."""

CUBE_HALF_EDGE = 1.0 / sqrt(3.0)
CYLINDER_RADIUS = CYLINDER_HALF_HEIGHT = sqrt(0.5)
CONE_BASE_RADIUS, CONE_BASE_HEIGHT, CONE_APEX_HEIGHT = sqrt(0.75), -0.5, 1.0
"""Measures of the shapes for a radius of 1."""


@kernel
def bound_solid(
    center_camera: NDArray[np.float64],
    rotation: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    radius: float,
    shape: int,
    intrinsics: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Box of the exact silhouette of a cube, a cylinder or a cone.

    Parameters
    ----------
    center_camera : (3,) float64
        The centre of the sphere that encloses the body, camera frame, world units, z > radius.
    rotation : (3, 3) float64
        Body to world.
    extrinsics : (3, 4) float64
        ``[R | t]``, world to camera.
    radius : float
        Of the sphere that encloses the body, world units.
    shape : int
        ``CUBE``, ``CYLINDER`` or ``CONE``.
    intrinsics : (3, 3) float64
        ``K`` without skew, px.
    out : (4,) float32 or float64
        (u_min, v_min, u_max, v_max) in px.

    Notes
    -----
    The box of a convex hull is that of what spans it: a cube's corners, a cylinder's two discs, a cone's base and apex.
    """
    z = center_camera[2]
    for axis in range(2):
        x = center_camera[axis]
        focal_px, principal_px = intrinsics[axis, axis], intrinsics[axis, 2]
        # how far the body's own z axis leads along the picture's axis and along the line of sight
        up_x = up_z = 0.0
        for k in range(3):
            up_x += extrinsics[axis, k] * rotation[k, 2]
            up_z += extrinsics[2, k] * rotation[k, 2]
        if shape == CUBE:
            side_x = side_z = deep_x = deep_z = 0.0
            for k in range(3):
                side_x += extrinsics[axis, k] * rotation[k, 0]
                side_z += extrinsics[2, k] * rotation[k, 0]
                deep_x += extrinsics[axis, k] * rotation[k, 1]
                deep_z += extrinsics[2, k] * rotation[k, 1]
            half = CUBE_HALF_EDGE * radius
            low, high = np.inf, -np.inf
            for corner in range(8):
                p, q, r = (
                    half * (corner // 4 * 2 - 1),
                    half * (corner // 2 % 2 * 2 - 1),
                    half * (corner % 2 * 2 - 1),
                )
                at = (x + p * side_x + q * deep_x + r * up_x) / (z + p * side_z + q * deep_z + r * up_z)
                low, high = min(low, at), max(high, at)
        elif shape == CYLINDER:
            half, across = CYLINDER_HALF_HEIGHT * radius, CYLINDER_RADIUS * radius
            low, high = bound_disc(x + half * up_x, z + half * up_z, up_x, up_z, across)
            other_low, other_high = bound_disc(x - half * up_x, z - half * up_z, up_x, up_z, across)
            low, high = min(low, other_low), max(high, other_high)
        else:
            base, tip = CONE_BASE_HEIGHT * radius, CONE_APEX_HEIGHT * radius
            low, high = bound_disc(x + base * up_x, z + base * up_z, up_x, up_z, CONE_BASE_RADIUS * radius)
            at = (x + tip * up_x) / (z + tip * up_z)
            low, high = min(low, at), max(high, at)
        out[axis], out[axis + 2] = focal_px * low + principal_px, focal_px * high + principal_px


@kernel
def bound_disc(x: float, z: float, normal_x: float, normal_z: float, radius: float) -> tuple[float, float]:
    """Bounds of a disc's image along one axis of the picture.

    Parameters
    ----------
    x, z : float
        Its centre along the picture's axis and along the line of sight, camera frame.
    normal_x, normal_z : float
        The same components of its unit normal.
    radius : float
        In the units of the centre.

    Returns
    -------
    low, high : float
        For a focal length of 1.

    Notes
    -----
    A plane through the camera with normal N touches the disc where ``(N·c)² = r² (|N|² − (N·n)²)``; those that bound
    an axis have N = (1, −bound) in these components.
    """
    square = radius * radius
    a = z * z - square * (1.0 - normal_z * normal_z)
    b = x * z + square * normal_x * normal_z
    c = x * x - square * (1.0 - normal_x * normal_x)
    root = sqrt(max(0.0, b * b - a * c))
    return (b - root) / a, (b + root) / a
