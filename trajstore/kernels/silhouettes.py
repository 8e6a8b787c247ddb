"""Where scanlines cross the outlines and the flat faces of posed bodies, and how deep rays meet them.

A scanline crosses a convex silhouette in one interval, whose ends are exact: the roots of a quadratic for a sphere
and for the image of a disc, crossings of straight edges for the rest.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.poses import (
    ACROSS,
    AXIS,
    CENTER,
    DISCS,
    EDGES,
    HEIGHT,
    PLANES,
    RADIUS,
    SEEN,
    SIDES,
    TANGENT,
    TIP,
    WHOLE,
)
from trajstore.kernels.shapes import CONE, CUBE, SPHERE


@kernel
def cross_edges(
    edges: NDArray[np.float64], count: int, v: float, step: float, lines: int, out: NDArray[np.float64]
) -> None:
    """Widen intervals by where scanlines cross straight edges.

    Parameters
    ----------
    edges : (count or more, 4) float64
        (u, v) of both ends, px.
    count : int
        How many there are.
    v, step : float
        The first scanline, and from one to the next, px.
    lines : int
        How many scanlines there are.
    out : (lines or more, 2) float64
        The intervals, px.
    """
    for edge in range(count):
        u_a, v_a, u_b, v_b = edges[edge, 0], edges[edge, 1], edges[edge, 2], edges[edge, 3]
        if max(v_a, v_b) < v or min(v_a, v_b) > v + step * (lines - 1):
            continue
        slope = (u_b - u_a) / (v_b - v_a) if v_a != v_b else 0.0
        for line in range(lines):
            at = v + step * line
            if (v_a <= at) != (v_b <= at):
                u = u_a + (at - v_a) * slope
                out[line, 0] = min(out[line, 0], u)
                out[line, 1] = max(out[line, 1], u)


@kernel
def cross_conic(
    conic: NDArray[np.float64],
    ray_y: float,
    step: float,
    lines: int,
    intrinsics: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Widen intervals by where scanlines cross the image of a disc.

    Parameters
    ----------
    conic : (6,) float64
        See `pose_disc`.
    ray_y, step : float
        The first scanline as Y of its rays, and from one to the next.
    lines : int
        How many scanlines there are.
    intrinsics : (3, 3) float64
        ``K``, px.
    out : (lines or more, 2) float64
        The intervals, px.
    """
    a = conic[0]
    if a <= 0.0:
        return
    focal_by_a, principal = intrinsics[0, 0] / a, intrinsics[0, 2]
    for line in range(lines):
        y = ray_y + step * line
        b = 0.5 * (conic[1] * y + conic[2])
        discriminant = b * b - a * ((conic[3] * y + conic[4]) * y + conic[5])
        if discriminant > 0.0:
            root = sqrt(discriminant)
            out[line, 0] = min(out[line, 0], principal - focal_by_a * (b + root))
            out[line, 1] = max(out[line, 1], principal - focal_by_a * (b - root))


@kernel
def cross_sphere(
    pose: NDArray[np.float64],
    ray_y: float,
    step: float,
    lines: int,
    intrinsics: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Where scanlines cross a sphere.

    Parameters
    ----------
    pose : (32,) float64
        Of the sphere.
    ray_y, step : float
        The first scanline as Y of its rays, and from one to the next.
    lines : int
        How many scanlines there are.
    intrinsics : (3, 3) float64
        ``K``, px.
    out : (lines or more, 2) float64
        The intervals, px; left as they are where there is none.
    """
    x, y, z = pose[CENTER], pose[CENTER + 1], pose[CENTER + 2]
    tangent_square = pose[TANGENT]
    a = tangent_square - x * x
    focal_by_a, principal = intrinsics[0, 0] / a, intrinsics[0, 2]
    for line in range(lines):
        at = ray_y + step * line
        m = at * y + z
        b = x * m
        discriminant = b * b + a * (m * m - (at * at + 1.0) * tangent_square)
        if discriminant > 0.0:
            root = sqrt(discriminant)
            out[line, 0], out[line, 1] = (
                focal_by_a * (b - root) + principal,
                focal_by_a * (b + root) + principal,
            )


@kernel
def clip_spans(lines: int, width: int, out: NDArray[np.float64]) -> None:
    """Clip intervals to a picture; those that are empty or outside get no length.

    Parameters
    ----------
    lines : int
        How many there are.
    width : int
        Of the picture, px.
    out : (lines or more, 2) float64
        The intervals, px.
    """
    for line in range(lines):
        left = min(max(out[line, 0], 0.0), float(width))
        out[line, 0], out[line, 1] = left, max(left, min(out[line, 1], float(width)))


@kernel
def cross_body(
    pose: NDArray[np.float64],
    shape: int,
    edges: NDArray[np.float64],
    conics: NDArray[np.float64],
    v: float,
    step: float,
    lines: int,
    width: int,
    intrinsics: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Where scanlines cross a body and its flat faces.

    Parameters
    ----------
    pose : (32,) float64
        Of the body.
    shape : int
        Its code.
    edges, conics : (FACES + 1, EDGES, 4), (2, 6) float64
        Its outline.
    v, step : float
        The first scanline, and from one to the next, px.
    lines, width : int
        How many scanlines there are, and the width of the picture, px.
    intrinsics : (3, 3) float64
        ``K``, px.
    out : (FACES + 1, lines or more, 2) float64
        Intervals of the faces that are seen, then of the whole, px, within the picture; of no length where there is
        none.
    """
    whole = out[WHOLE]
    for line in range(lines):
        whole[line, 0], whole[line, 1] = np.inf, -np.inf
    ray_y, ray_step = (v - intrinsics[1, 2]) / intrinsics[1, 1], step / intrinsics[1, 1]
    if shape == SPHERE:
        cross_sphere(pose, ray_y, ray_step, lines, intrinsics, whole)
        clip_spans(lines, width, whole)
        return
    seen = int(pose[SEEN])
    for face in range(seen):
        span = out[face]
        for line in range(lines):
            span[line, 0], span[line, 1] = np.inf, -np.inf
        if shape == CUBE:
            cross_edges(edges[face], EDGES, v, step, lines, span)
            for line in range(lines):
                whole[line, 0] = min(whole[line, 0], span[line, 0])
                whole[line, 1] = max(whole[line, 1], span[line, 1])
        else:
            cross_conic(conics[0], ray_y, ray_step, lines, intrinsics, span)
        clip_spans(lines, width, span)
    if shape != CUBE:
        for disc in range(int(pose[DISCS])):
            cross_conic(conics[disc], ray_y, ray_step, lines, intrinsics, whole)
        cross_edges(edges[WHOLE], int(pose[SIDES]), v, step, lines, whole)
    clip_spans(lines, width, whole)


@kernel
def meet_side(
    pose: NDArray[np.float64], shape: int, ray_x: float, ray_y: float
) -> tuple[float, float, float, float]:
    """Where a ray enters through the curved side of a cylinder or a cone, or the nearest it comes to it.

    Parameters
    ----------
    pose : (32,) float64
        Of the body.
    shape : int
        ``CYLINDER`` or ``CONE``.
    ray_x, ray_y : float
        The ray (X, Y, 1), camera frame.

    Returns
    -------
    depth, normal_x, normal_y, normal_z : float
        z of the point, world units, and the unit normal there, camera frame.
    """
    n_x, n_y, n_z = pose[AXIS], pose[AXIS + 1], pose[AXIS + 2]
    x, y, z = pose[TIP], pose[TIP + 1], pose[TIP + 2]
    across, height = pose[ACROSS], pose[HEIGHT]
    # what of the ray and of the tip lies along the axis, and what across it
    ray_along = ray_x * n_x + ray_y * n_y + n_z
    tip_along = x * n_x + y * n_y + z * n_z
    r_x, r_y, r_z = ray_x - ray_along * n_x, ray_y - ray_along * n_y, 1.0 - ray_along * n_z
    t_x, t_y, t_z = x - tip_along * n_x, y - tip_along * n_y, z - tip_along * n_z
    a = r_x * r_x + r_y * r_y + r_z * r_z
    b = r_x * t_x + r_y * t_y + r_z * t_z
    c = t_x * t_x + t_y * t_y + t_z * t_z
    slope = 0.0
    if shape == CONE:
        slope = across / height
        square = slope * slope
        a -= square * ray_along * ray_along
        b -= square * ray_along * tip_along
        c -= square * tip_along * tip_along
    else:
        c -= across * across
    root = sqrt(max(0.0, b * b - a * c))
    depth = c / (b + root) if b + root > 0.0 else pose[CENTER + 2]
    if shape == CONE:
        # the first of the two roots that is before the camera and on the half of the double cone below the tip; a ray
        # along the side has one root only
        first, second = (b - root) / a, (b + root) / a
        if abs(a) < 1e-12:
            first = second = 0.5 * c / b
        if first > second:
            first, second = second, first
        depth = first if first > 0.0 and first * ray_along <= tip_along else second
    p_x, p_y, p_z = depth * r_x - t_x, depth * r_y - t_y, depth * r_z - t_z
    length = sqrt(p_x * p_x + p_y * p_y + p_z * p_z)
    scale = 1.0 / (max(length, 1e-12) * sqrt(1.0 + slope * slope))
    lift = slope / sqrt(1.0 + slope * slope)
    return depth, p_x * scale + lift * n_x, p_y * scale + lift * n_y, p_z * scale + lift * n_z


@kernel
def find_depth(pose: NDArray[np.float64], shape: int, ray_x: float, ray_y: float) -> float:
    """Where a ray enters a body, or about the nearest it comes to it.

    Parameters
    ----------
    pose : (32,) float64
        Of the body.
    shape : int
        Its code.
    ray_x, ray_y : float
        The ray (X, Y, 1), camera frame.

    Returns
    -------
    float
        z of the point, camera frame, world units.
    """
    if shape == SPHERE:
        x, y, z, radius = pose[CENTER], pose[CENTER + 1], pose[CENTER + 2], pose[RADIUS]
        square = ray_x * ray_x + ray_y * ray_y + 1.0
        along = ray_x * x + ray_y * y + z
        inside = along * along - square * (x * x + y * y + z * z - radius * radius)
        return float((along - sqrt(max(0.0, inside))) / square)
    # a ray enters a convex body where it has passed the planes of all faces that it looks at
    depth = 0.0
    for face in range(int(pose[SEEN])):
        at = PLANES + 4 * face
        facing = pose[at] * ray_x + pose[at + 1] * ray_y + pose[at + 2]
        if facing < 0.0:
            depth = max(depth, pose[at + 3] / facing)
    if shape == CUBE:
        return float(min(depth, pose[CENTER + 2] + pose[RADIUS]))
    if depth > 0.0:
        # through the flat face, if that point is within its rim
        end = pose[HEIGHT]
        along = (
            pose[AXIS] * pose[PLANES] + pose[AXIS + 1] * pose[PLANES + 1] + pose[AXIS + 2] * pose[PLANES + 2]
        )
        down = 0.0 if along > 0.0 else end
        p_x = depth * ray_x - pose[TIP] + down * pose[AXIS]
        p_y = depth * ray_y - pose[TIP + 1] + down * pose[AXIS + 1]
        p_z = depth - pose[TIP + 2] + down * pose[AXIS + 2]
        if p_x * p_x + p_y * p_y + p_z * p_z <= pose[ACROSS] * pose[ACROSS]:
            return depth
    side, _, _, _ = meet_side(pose, shape, ray_x, ray_y)
    return float(min(max(side, pose[CENTER + 2] - pose[RADIUS]), pose[CENTER + 2] + pose[RADIUS]))
