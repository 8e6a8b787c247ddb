"""The rasterizer of whole worlds: bodies of all shapes that hide each other, over any background, sharp or blurred.

All shapes are convex, so that a scanline crosses a silhouette in one interval, whose ends are exact: the roots of a
quadratic for a sphere and for the image of a disc, crossings of straight edges for the rest. A pixel's coverage is
exact across and averaged over `SCANLINES` lines down, that of the flat faces of a body likewise, so that the edges
between its faces are as smooth as its outline.

Where the boxes of bodies do not meet they are painted one after the other. Where they do, each row becomes fragments
with a coverage, a brightness and a depth, which are put one over the other pixel by pixel, nearest first: bodies
that cross are parted where they meet, and the edge of a nearer body blends into what is behind it.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.cameras import bound_silhouette, transform_point
from trajstore.kernels.compiler import kernel
from trajstore.kernels.raster import SCANLINES, draw_sphere
from trajstore.kernels.shapes import (
    CONE,
    CONE_APEX_HEIGHT,
    CONE_BASE_HEIGHT,
    CONE_BASE_RADIUS,
    CUBE,
    CUBE_HALF_EDGE,
    CYLINDER,
    CYLINDER_HALF_HEIGHT,
    CYLINDER_RADIUS,
    SPHERE,
    bound_solid,
)

FACES: Final = 3
"""Flat faces of a body that a camera may see at once."""

EDGES: Final = 4
"""Straight edges of a face, or of the outline of a cylinder or cone."""

WHOLE: Final = FACES
"""Where the outline comes after the faces, in arrays of both."""


class Scratch(NamedTuple):
    """Memory of the kernels here, allocated once for many pictures."""

    pose: NDArray[np.float64]
    """(bodies, 32): what is known of each body in a picture; see `pose_body`."""

    edges: NDArray[np.float64]
    """(bodies, FACES + 1, EDGES, 4): straight edges (u, v, u, v), px."""

    conics: NDArray[np.float64]
    """(bodies, 2, 6): images of discs as quadratic forms of rays (x, y, 1)."""

    spans: NDArray[np.float64]
    """(FACES + 1, SCANLINES, 2): where scanlines cross."""

    fragments: NDArray[np.float64]
    """(bodies, 4, width): coverage, brightness, depth, and coverage by flat faces along a row."""

    extents: NDArray[np.int64]
    """(bodies, 8): columns and rows of each body's box, where its fragments begin and end, whether its box meets
    another, and whether it has to be put over others pixel by pixel."""

    picture: NDArray[np.uint8]
    """(3, height, width): a picture of a sub-frame."""

    sums: NDArray[np.int32]
    """(3, height, width): what sub-frames add to the background."""

    depths: NDArray[np.float64]
    """(width,): depth of the nearest body along a row."""

    ids: NDArray[np.uint8]
    """(width,): its number and 1; 0 where there is none."""

    order: NDArray[np.int64]
    """(3, bodies): bodies that are in the picture, farthest first; those that a row crosses; those of a pixel."""

    touched: NDArray[np.int64]
    """(4,): columns and rows that the sub-frames of a frame have changed."""

    small: NDArray[np.float64]
    """(8, 3): axes of a body, a box, the light in the camera's frame."""


def make_scratch(bodies: int, height: int, width: int) -> Scratch:
    """Allocate what the kernels need for so many bodies and pictures of a size."""
    return Scratch(
        pose=np.zeros((bodies, 32)),
        edges=np.zeros((bodies, FACES + 1, EDGES, 4)),
        conics=np.zeros((bodies, 2, 6)),
        spans=np.zeros((FACES + 1, SCANLINES, 2)),
        fragments=np.zeros((bodies, 4, width)),
        extents=np.zeros((bodies, 8), np.int64),
        picture=np.zeros((3, height, width), np.uint8),
        sums=np.zeros((3, height, width), np.int32),
        depths=np.zeros(width),
        ids=np.zeros(width, np.uint8),
        order=np.zeros((3, bodies), np.int64),
        touched=np.zeros(4, np.int64),
        small=np.zeros((8, 3)),
    )


# places in a pose
CENTER, RADIUS, AXIS, TIP, ACROSS, HEIGHT = 0, 3, 4, 7, 10, 11
DISCS, SIDES, SEEN, BRIGHTNESS, PLANES = 12, 13, 14, 15, 18
AMBIENT, TANGENT = 30, 31
# columns of extents
LEFT, RIGHT, TOP, BOTTOM, FIRST, LAST, IS_SHARED, IS_CROSSED = range(8)


@kernel
def project_edge(
    a_x: float, a_y: float, a_z: float, b_x: float, b_y: float, b_z: float,
    intrinsics: NDArray[np.float64], out: NDArray[np.float64],
) -> None:  # fmt: skip
    """Image of a straight edge between two points in the camera's frame.

    Parameters
    ----------
    a_x, a_y, a_z, b_x, b_y, b_z : float
        The points, world units.
    intrinsics : (3, 3) float64
        ``K`` without skew, px.
    out : (4,) float64
        (u, v) of both ends, px.
    """
    focal_x, focal_y = intrinsics[0, 0], intrinsics[1, 1]
    out[0] = focal_x * a_x / a_z + intrinsics[0, 2]
    out[1] = focal_y * a_y / a_z + intrinsics[1, 2]
    out[2] = focal_x * b_x / b_z + intrinsics[0, 2]
    out[3] = focal_y * b_y / b_z + intrinsics[1, 2]


@kernel
def pose_disc(
    x: float, y: float, z: float, normal: NDArray[np.float64], radius: float, out: NDArray[np.float64]
) -> None:
    """Image of a disc: the rays d = (X, Y, 1) that meet it.

    Parameters
    ----------
    x, y, z : float
        Its centre c, camera frame, world units.
    normal : (3,) float64
        Its unit normal n.
    radius : float
        World units.
    out : (6,) float64
        The form that is not positive on it: coefficients of X², XY, X, Y², Y and 1.

    Notes
    -----
    A ray meets the plane of the disc at d (n·c) / (n·d); this is within the radius where
    ``|(n·c) d − (n·d) c|² ≤ r² (n·d)²``.
    """
    p, q, r = normal[0], normal[1], normal[2]
    k = p * x + q * y + r * z
    gap = x * x + y * y + z * z - radius * radius
    out[0] = k * k - 2.0 * k * p * x + gap * p * p
    out[1] = 2.0 * (gap * p * q - k * (p * y + q * x))
    out[2] = 2.0 * (gap * p * r - k * (p * z + r * x))
    out[3] = k * k - 2.0 * k * q * y + gap * q * q
    out[4] = 2.0 * (gap * q * r - k * (q * z + r * y))
    out[5] = k * k - 2.0 * k * r * z + gap * r * r


@kernel
def shine(
    normal_x: float, normal_y: float, normal_z: float, light: NDArray[np.float64], ambient: float
) -> float:
    """Brightness of a surface by Lambert's law.

    Parameters
    ----------
    normal_x, normal_y, normal_z : float
        Unit normal, camera frame.
    light : (3,) float64
        Unit vector towards the light, camera frame.
    ambient : float
        Brightness of a surface turned away from the light.

    Returns
    -------
    float
        As a share of full brightness.
    """
    cosine = normal_x * light[0] + normal_y * light[1] + normal_z * light[2]
    return float(ambient + (1.0 - ambient) * max(0.0, cosine))


@kernel
def pose_cube(
    pose: NDArray[np.float64],
    axes: NDArray[np.float64],
    light: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> None:
    """Faces of a cube that the camera sees.

    Parameters
    ----------
    pose : (32,) float64
        Of the body; its faces are put in.
    axes : (3, 3) float64
        Body to camera.
    light : (3,) float64
        Unit vector towards the light, camera frame.
    intrinsics : (3, 3) float64
        ``K``, px.
    edges : (FACES + 1, EDGES, 4) float64
        Out: edges of each face, px.
    """
    x, y, z = pose[CENTER], pose[CENTER + 1], pose[CENTER + 2]
    half = CUBE_HALF_EDGE * pose[RADIUS]
    seen = 0
    for axis in range(3):
        n_x, n_y, n_z = axes[0, axis], axes[1, axis], axes[2, axis]
        along = n_x * x + n_y * y + n_z * z
        # of two opposite faces the camera sees the one that is turned to it, if it is not between their planes
        sign = -1.0 if along > 0.0 else 1.0
        k = sign * along + half
        if k >= 0.0:
            continue
        n_x, n_y, n_z = sign * n_x, sign * n_y, sign * n_z
        c_x, c_y, c_z = x + half * n_x, y + half * n_y, z + half * n_z
        a, b = (axis + 1) % 3, (axis + 2) % 3
        a_x, a_y, a_z = half * axes[0, a], half * axes[1, a], half * axes[2, a]
        b_x, b_y, b_z = half * axes[0, b], half * axes[1, b], half * axes[2, b]
        p, q = 1.0, 1.0
        for corner in range(4):
            # around the face: (1, 1), (−1, 1), (−1, −1), (1, −1)
            next_p, next_q = -q, p
            project_edge(
                c_x + p * a_x + q * b_x, c_y + p * a_y + q * b_y, c_z + p * a_z + q * b_z,
                c_x + next_p * a_x + next_q * b_x,
                c_y + next_p * a_y + next_q * b_y,
                c_z + next_p * a_z + next_q * b_z,
                intrinsics, edges[seen, corner],
            )  # fmt: skip
            p, q = next_p, next_q
        set_face(pose, seen, n_x, n_y, n_z, k, light)
        seen += 1
    pose[SEEN] = seen


@kernel
def set_face(
    pose: NDArray[np.float64],
    face: int,
    n_x: float,
    n_y: float,
    n_z: float,
    k: float,
    light: NDArray[np.float64],
) -> None:
    """Note a flat face of a body.

    Parameters
    ----------
    pose : (32,) float64
        Of the body.
    face : int
        Its number among those that are seen.
    n_x, n_y, n_z, k : float
        Its plane, n·p = k with the unit normal outwards, camera frame.
    light : (3,) float64
        Unit vector towards the light, camera frame.
    """
    pose[BRIGHTNESS + face] = shine(n_x, n_y, n_z, light, pose[AMBIENT])
    at = PLANES + 4 * face
    pose[at], pose[at + 1], pose[at + 2], pose[at + 3] = n_x, n_y, n_z, k


@kernel
def pose_round(
    pose: NDArray[np.float64],
    axes: NDArray[np.float64],
    shape: int,
    light: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    edges: NDArray[np.float64],
    conics: NDArray[np.float64],
) -> None:
    """Outline of a cylinder or a cone, and the flat face that the camera sees.

    Parameters
    ----------
    pose : (32,) float64
        Of the body; what it is made of is put in.
    axes : (3, 3) float64
        Body to camera.
    shape : int
        ``CYLINDER`` or ``CONE``.
    light : (3,) float64
        Unit vector towards the light, camera frame.
    intrinsics : (3, 3) float64
        ``K``, px.
    edges : (FACES + 1, EDGES, 4) float64
        Out: straight edges of the outline, px.
    conics : (2, 6) float64
        Out: images of its discs, that of the face that is seen first.

    Notes
    -----
    The outline is that of the hull of two discs, or of a disc and a tip. Its straight parts lie where a plane through
    the camera touches the side: at the angles where ``cos·A + sin·B = t`` for the camera's place across the axis.
    """
    x, y, z, radius = pose[CENTER], pose[CENTER + 1], pose[CENTER + 2], pose[RADIUS]
    axis = axes[:, 2]
    u_x, u_y, u_z = axes[0, 0], axes[1, 0], axes[2, 0]
    v_x, v_y, v_z = axes[0, 1], axes[1, 1], axes[2, 1]
    pose[AXIS], pose[AXIS + 1], pose[AXIS + 2] = axis[0], axis[1], axis[2]
    along = axis[0] * x + axis[1] * y + axis[2] * z
    if shape == CYLINDER:
        across, high, low = (
            CYLINDER_RADIUS * radius,
            CYLINDER_HALF_HEIGHT * radius,
            -CYLINDER_HALF_HEIGHT * radius,
        )
        a, b, t = u_x * x + u_y * y + u_z * z, v_x * x + v_y * y + v_z * z, -across
    else:
        across, high, low = CONE_BASE_RADIUS * radius, CONE_APEX_HEIGHT * radius, CONE_BASE_HEIGHT * radius
        a, b = u_x * x + u_y * y + u_z * z, v_x * x + v_y * y + v_z * z
        t = -across * (along + high) / (high - low)
    tip_x, tip_y, tip_z = x + high * axis[0], y + high * axis[1], z + high * axis[2]
    end_x, end_y, end_z = x + low * axis[0], y + low * axis[1], z + low * axis[2]
    pose[TIP], pose[TIP + 1], pose[TIP + 2] = tip_x, tip_y, tip_z
    pose[ACROSS], pose[HEIGHT] = across, high - low

    # the face at the low end looks down the axis, that at the high end of a cylinder up
    pose[SEEN] = 0.0
    sees_high = shape == CYLINDER and along + high < 0.0
    if sees_high:
        pose[SEEN] = 1.0
        set_face(pose, 0, axis[0], axis[1], axis[2], along + high, light)
    elif -(along + low) < 0.0:
        pose[SEEN] = 1.0
        set_face(pose, 0, -axis[0], -axis[1], -axis[2], -(along + low), light)
    pose[DISCS] = 1.0
    pose_disc(end_x, end_y, end_z, axis, across, conics[1 if sees_high else 0])
    if shape == CYLINDER:
        pose[DISCS] = 2.0
        pose_disc(tip_x, tip_y, tip_z, axis, across, conics[0 if sees_high else 1])

    pose[SIDES] = 0.0
    square = a * a + b * b
    if square <= t * t:
        return  # the camera looks along the axis: the outline is that of a disc
    root = sqrt(square - t * t)
    c_1, s_1 = across * (t * a - b * root) / square, across * (t * b + a * root) / square
    c_2, s_2 = across * (t * a + b * root) / square, across * (t * b - a * root) / square
    w_x, w_y, w_z = c_1 * u_x + s_1 * v_x, c_1 * u_y + s_1 * v_y, c_1 * u_z + s_1 * v_z
    o_x, o_y, o_z = c_2 * u_x + s_2 * v_x, c_2 * u_y + s_2 * v_y, c_2 * u_z + s_2 * v_z
    p_x, p_y, p_z = end_x + w_x, end_y + w_y, end_z + w_z
    q_x, q_y, q_z = end_x + o_x, end_y + o_y, end_z + o_z
    outline = edges[WHOLE]
    # a disc that is seen from its side has no area: there the chord between the two sides is the outline
    project_edge(p_x, p_y, p_z, q_x, q_y, q_z, intrinsics, outline[0])
    if shape == CONE:
        project_edge(p_x, p_y, p_z, tip_x, tip_y, tip_z, intrinsics, outline[1])
        project_edge(q_x, q_y, q_z, tip_x, tip_y, tip_z, intrinsics, outline[2])
        pose[SIDES] = 3.0
        return
    r_x, r_y, r_z = tip_x + w_x, tip_y + w_y, tip_z + w_z
    k_x, k_y, k_z = tip_x + o_x, tip_y + o_y, tip_z + o_z
    project_edge(p_x, p_y, p_z, r_x, r_y, r_z, intrinsics, outline[1])
    project_edge(q_x, q_y, q_z, k_x, k_y, k_z, intrinsics, outline[2])
    project_edge(r_x, r_y, r_z, k_x, k_y, k_z, intrinsics, outline[3])
    pose[SIDES] = 4.0


@kernel
def meet_boxes(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    """Whether the boxes of two bodies share a pixel.

    Parameters
    ----------
    a, b : (8,) int64
        Extents.

    Returns
    -------
    bool
        Whether they do; an empty one never does.
    """
    return bool(
        max(a[LEFT], b[LEFT]) < min(a[RIGHT], b[RIGHT]) and max(a[TOP], b[TOP]) < min(a[BOTTOM], b[BOTTOM])
    )


@kernel
def sort_bodies(bodies: int, scratch: Scratch) -> int:
    """Sort the bodies of a picture by their distance, and find out which may cross.

    Parameters
    ----------
    bodies : int
        How many there are.
    scratch : Scratch
        Their poses and extents; out: their order, and which have to be put over others pixel by pixel: those whose
        enclosing spheres meet, and those whose boxes meet the box of such a one.

    Returns
    -------
    int
        How many are in the picture.

    Notes
    -----
    Spheres that do not meet are parted by a plane, from whose points the tangents to both are equally long. So of two
    that do not meet the one with the shorter tangents from the camera is never behind the other, whatever the depths of
    their centres: painted in that order they hide each other rightly, and so does all that is in them.
    """
    order, extents, count = scratch.order, scratch.extents, 0
    for body in range(bodies):
        pose, extent = scratch.pose[body], extents[body]
        extent[IS_SHARED] = extent[IS_CROSSED] = 0
        if extent[LEFT] == extent[RIGHT]:
            continue
        x, y, z, radius = pose[CENTER], pose[CENTER + 1], pose[CENTER + 2], pose[RADIUS]
        pose[TANGENT] = x * x + y * y + z * z - radius * radius
        at = count
        while at > 0 and scratch.pose[order[0, at - 1], TANGENT] < pose[TANGENT]:
            order[0, at] = order[0, at - 1]
            at -= 1
        order[0, at] = body
        for other in range(body):
            if not meet_boxes(extent, extents[other]):
                continue
            extent[IS_SHARED] = extents[other, IS_SHARED] = 1
            near = scratch.pose[other]
            d_x, d_y, d_z, reach = (
                x - near[CENTER],
                y - near[CENTER + 1],
                z - near[CENTER + 2],
                radius + near[RADIUS],
            )
            if d_x * d_x + d_y * d_y + d_z * d_z < reach * reach:
                extent[IS_CROSSED] = extents[other, IS_CROSSED] = 1
        count += 1
    # whatever meets the box of one that is put over others pixel by pixel is so, too
    is_growing = True
    while is_growing:
        is_growing = False
        for body in range(bodies):
            for other in range(bodies):
                if extents[other, IS_CROSSED] > extents[body, IS_CROSSED] and meet_boxes(
                    extents[body], extents[other]
                ):
                    extents[body, IS_CROSSED] = 1
                    is_growing = True
    return count


@kernel
def pose_bodies(
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    ambient: float,
    height: int,
    width: int,
    scratch: Scratch,
) -> int:
    """Find out where all bodies are in a picture.

    Parameters
    ----------
    position : (bodies, 3) float64
        Centres of the enclosing spheres, world units.
    rotation : (bodies or 1, 3, 3) float64
        Body to world.
    is_present : (bodies,) bool
        Which are there.
    radius : (bodies,) float64
        Of the enclosing spheres, world units.
    shape : (bodies,) uint8
        Codes of `trajstore.kernels.shapes`.
    intrinsics, extrinsics : (3, 3), (3, 4) float64
        The camera.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    ambient : float
        Brightness of a surface turned away from the light.
    height, width : int
        Of the picture, px.
    scratch : Scratch
        Out: poses, edges, conics and extents; the extent of a body that is not in the picture is empty.

    Returns
    -------
    int
        How many bodies are in the picture.
    """
    axes, box = scratch.small[:3], scratch.spans[0].reshape(-1)[:4]
    for body in range(position.shape[0]):
        extent, pose = scratch.extents[body], scratch.pose[body]
        extent[LEFT] = extent[RIGHT] = extent[TOP] = extent[BOTTOM] = 0
        if not is_present[body]:
            continue
        transform_point(position[body], extrinsics, pose[CENTER : CENTER + 3])
        pose[RADIUS], pose[AMBIENT] = radius[body], ambient
        turn = rotation[min(body, rotation.shape[0] - 1)]
        if shape[body] == SPHERE:
            bound_silhouette(pose[CENTER : CENTER + 3], radius[body], intrinsics, box)
        else:
            bound_solid(
                pose[CENTER : CENTER + 3], turn, extrinsics, radius[body], shape[body], intrinsics, box
            )
        left, right = max(0.0, floor(box[0])), min(float(width), ceil(box[2]))
        top, bottom = max(0.0, floor(box[1])), min(float(height), ceil(box[3]))
        if left >= right or top >= bottom:
            continue
        extent[LEFT], extent[RIGHT], extent[TOP], extent[BOTTOM] = (
            int(left),
            int(right),
            int(top),
            int(bottom),
        )
        if shape[body] == SPHERE:
            continue
        for i in range(3):
            for j in range(3):
                axes[i, j] = (
                    extrinsics[i, 0] * turn[0, j]
                    + extrinsics[i, 1] * turn[1, j]
                    + extrinsics[i, 2] * turn[2, j]
                )
        if shape[body] == CUBE:
            pose_cube(pose, axes, light_camera, intrinsics, scratch.edges[body])
        else:
            pose_round(
                pose, axes, shape[body], light_camera, intrinsics, scratch.edges[body], scratch.conics[body]
            )
    return sort_bodies(position.shape[0], scratch)


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


@kernel
def cover(span: NDArray[np.float64], first: int, out: NDArray[np.float64]) -> None:
    """Add to each pixel of a row how much of it an interval on each of its scanlines covers.

    Parameters
    ----------
    span : (SCANLINES, 2) float64
        The intervals, px.
    first : int
        Column of the first pixel.
    out : (n,) float64
        Shares, from 0 to 1.
    """
    left_0, left_1, left_2, left_3 = span[0, 0], span[1, 0], span[2, 0], span[3, 0]
    right_0, right_1, right_2, right_3 = span[0, 1], span[1, 1], span[2, 1], span[3, 1]
    for i in range(out.shape[0]):
        start = float(first) + float(i)
        end = start + 1.0
        out[i] += (1.0 / SCANLINES) * (
            max(0.0, min(right_0, end) - max(left_0, start))
            + max(0.0, min(right_1, end) - max(left_1, start))
            + max(0.0, min(right_2, end) - max(left_2, start))
            + max(0.0, min(right_3, end) - max(left_3, start))
        )


@kernel
def shade_sphere(
    pose: NDArray[np.float64],
    start_x: float,
    per_px_x: float,
    ray_y: float,
    light_camera: NDArray[np.float64],
    brightness: NDArray[np.float64],
    depth: NDArray[np.float64],
) -> None:
    """Brightness and depth of a sphere along a row, where rays miss it those of the nearest they come to it.

    Parameters
    ----------
    pose : (32,) float64
        Of the sphere.
    start_x, per_px_x, ray_y : float
        X of the first ray, its step from pixel to pixel, and Y of all.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    brightness, depth : (n,) float64
        Out: as a share of full brightness; z, world units.
    """
    x, y, z, radius, ambient = pose[CENTER], pose[CENTER + 1], pose[CENTER + 2], pose[RADIUS], pose[AMBIENT]
    light_x, light_y, light_z = light_camera[0] / radius, light_camera[1] / radius, light_camera[2] / radius
    light_center = light_x * x + light_y * y + light_z * z
    tangent_square = x * x + y * y + z * z - radius * radius
    square_y, center_y, light_ray_y = ray_y * ray_y + 1.0, ray_y * y + z, ray_y * light_y + light_z
    diffuse = 1.0 - ambient
    for i in range(brightness.shape[0]):
        ray_x = start_x + float(i) * per_px_x
        square = ray_x * ray_x + square_y
        along = ray_x * x + center_y
        inside = max(0.0, along * along - square * tangent_square)
        distance = (along - sqrt(inside)) / square
        depth[i] = distance
        cosine = distance * (ray_x * light_x + light_ray_y) - light_center
        brightness[i] = ambient + diffuse * min(1.0, max(0.0, cosine))


@kernel
def cut_row(
    body: int,
    shape: int,
    row: int,
    intrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    width: int,
    with_depth: bool,
    scratch: Scratch,
) -> None:
    """Fragments of a body in a row of a picture.

    Parameters
    ----------
    body, shape : int
        Its number and its code.
    row : int
        The row.
    intrinsics : (3, 3) float64
        ``K``, px.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    width : int
        Of the picture, px.
    with_depth : bool
        Whether depths are needed.
    scratch : Scratch
        Poses and outlines of the bodies; out: the fragments, and the columns where they begin and end.
    """
    pose, extent, spans = scratch.pose[body], scratch.extents[body], scratch.spans
    edges, conics = scratch.edges[body], scratch.conics[body]
    v = row + 0.5 / SCANLINES
    cross_body(pose, shape, edges, conics, v, 1.0 / SCANLINES, SCANLINES, width, intrinsics, spans)
    leftmost, rightmost, total, covered = float(width), 0.0, 0.0, 0
    for line in range(SCANLINES):
        if spans[WHOLE, line, 1] > spans[WHOLE, line, 0]:
            leftmost = min(leftmost, spans[WHOLE, line, 0])
            rightmost = max(rightmost, spans[WHOLE, line, 1])
            total += v + line / SCANLINES
            covered += 1
    first = int(leftmost)
    last = max(first, min(width, ceil(rightmost)))
    extent[FIRST], extent[LAST] = first, last
    # each by itself: a slice of all four would hide from the compiler that their pixels lie side by side
    coverage, brightness = scratch.fragments[body, 0, first:last], scratch.fragments[body, 1, first:last]
    depth, flat = scratch.fragments[body, 2, first:last], scratch.fragments[body, 3, first:last]
    per_px_x = 1.0 / intrinsics[0, 0]
    ray_y = (row + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    start_x = (first + 0.5 - intrinsics[0, 2]) * per_px_x
    for i in range(last - first):
        coverage[i] = 0.0
    cover(spans[WHOLE], first, coverage)
    if shape == SPHERE:
        shade_sphere(pose, start_x, per_px_x, ray_y, light_camera, brightness, depth)
    if with_depth:
        # a pixel's centre may lie outside of the body, and a surface there nearer or farther than anything of it
        middle_y = (total / max(covered, 1) - intrinsics[1, 2]) / intrinsics[1, 1]
        for i in range(last - first):
            if coverage[i] < 1.0 - 1e-9:
                u = 0.5 * (max(leftmost, float(first + i)) + min(rightmost, float(first + i + 1)))
                depth[i] = find_depth(pose, shape, (u - intrinsics[0, 2]) * per_px_x, middle_y)
            elif shape != SPHERE:
                depth[i] = find_depth(pose, shape, start_x + i * per_px_x, ray_y)
    if shape == SPHERE:
        return
    for i in range(last - first):
        brightness[i] = flat[i] = 0.0
    for face in range(int(pose[SEEN])):
        share = scratch.depths[: last - first]
        share[:] = 0.0
        cover(spans[face], first, share)
        level = pose[BRIGHTNESS + face]
        for i in range(last - first):
            flat[i] += share[i]
            brightness[i] += share[i] * level
    if shape == CUBE:
        for i in range(last - first):
            brightness[i] /= max(flat[i], 1e-12)
        return
    for i in range(last - first):
        side = coverage[i] - flat[i]
        if side > 1e-9:
            _, n_x, n_y, n_z = meet_side(pose, shape, start_x + i * per_px_x, ray_y)
            brightness[i] += side * shine(n_x, n_y, n_z, light_camera, pose[AMBIENT])
        brightness[i] /= max(coverage[i], 1e-12)


@kernel
def blend_row(
    body: int, row: int, color: NDArray[np.uint8], scratch: Scratch, out: NDArray[np.uint8]
) -> None:
    """Put the fragments of one body over what a row shows.

    Parameters
    ----------
    body, row : int
        Its number, and the row.
    color : (3,) uint8
        RGB at full brightness.
    scratch : Scratch
        Its fragments.
    out : (3, height, width) uint8
        The picture.
    """
    first, last = scratch.extents[body, FIRST], scratch.extents[body, LAST]
    coverage, brightness = scratch.fragments[body, 0, first:last], scratch.fragments[body, 1, first:last]
    reds, greens, blues = out[0, row, first:last], out[1, row, first:last], out[2, row, first:last]
    red, green, blue = float(color[0]), float(color[1]), float(color[2])
    for i in range(last - first):
        share, light = coverage[i], brightness[i]
        behind_red, behind_green, behind_blue = float(reds[i]), float(greens[i]), float(blues[i])
        reds[i] = np.uint8(behind_red + share * (light * red - behind_red) + 0.5)
        greens[i] = np.uint8(behind_green + share * (light * green - behind_green) + 0.5)
        blues[i] = np.uint8(behind_blue + share * (light * blue - behind_blue) + 0.5)


@kernel
def is_in_order(group: int, scratch: Scratch) -> bool:
    """Whether of all bodies that a row crosses no later one is behind an earlier one.

    Parameters
    ----------
    group : int
        How many bodies there are.
    scratch : Scratch
        Their numbers and their fragments.

    Returns
    -------
    bool
        Whether they may be put one over the other as they come.
    """
    for place in range(1, group):
        near = scratch.order[1, place]
        for other in range(place):
            far = scratch.order[1, other]
            first = max(scratch.extents[near, FIRST], scratch.extents[far, FIRST])
            last = min(scratch.extents[near, LAST], scratch.extents[far, LAST])
            near_depth, far_depth = (
                scratch.fragments[near, 2, first:last],
                scratch.fragments[far, 2, first:last],
            )
            behind = 0
            for i in range(last - first):
                behind += near_depth[i] > far_depth[i]
            if behind:
                return False
    return True


@kernel
def layer_row(
    row: int,
    first: int,
    last: int,
    group: int,
    color: NDArray[np.uint8],
    scratch: Scratch,
    out: NDArray[np.uint8],
) -> None:
    """Put the fragments of several bodies one over the other, pixel by pixel, nearest first.

    Parameters
    ----------
    row, first, last : int
        The row, and its columns from the first to before the last.
    group : int
        How many bodies there are.
    color : (bodies, 3) uint8
        RGB at full brightness.
    scratch : Scratch
        Their numbers and their fragments.
    out : (3, height, width) uint8
        The picture, which holds what is behind them.
    """
    order = scratch.order
    for column in range(first, last):
        count = 0
        for place in range(group):
            body = order[1, place]
            extent = scratch.extents[body]
            if column < extent[FIRST] or column >= extent[LAST]:
                continue
            if scratch.fragments[body, 0, column] <= 0.0:
                continue
            depth = scratch.fragments[body, 2, column]
            at = count
            while at > 0 and scratch.fragments[order[2, at - 1], 2, column] >= depth:
                order[2, at] = order[2, at - 1]
                at -= 1
            order[2, at] = body
            count += 1
        if count == 0:
            continue
        red = green = blue = 0.0
        left = 1.0
        for place in range(count):
            body = order[2, place]
            share = left * scratch.fragments[body, 0, column]
            light = share * scratch.fragments[body, 1, column]
            red += light * color[body, 0]
            green += light * color[body, 1]
            blue += light * color[body, 2]
            left -= share
        out[0, row, column] = np.uint8(red + left * out[0, row, column] + 0.5)
        out[1, row, column] = np.uint8(green + left * out[1, row, column] + 0.5)
        out[2, row, column] = np.uint8(blue + left * out[2, row, column] + 0.5)


@kernel
def draw_bodies(
    count: int,
    color: NDArray[np.uint8],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    ambient: float,
    scratch: Scratch,
    out: NDArray[np.uint8],
) -> None:
    """Draw posed bodies over what a picture shows.

    Parameters
    ----------
    count : int
        Of `pose_bodies`.
    color : (bodies, 3) uint8
        RGB at full brightness.
    shape : (bodies,) uint8
        Codes.
    intrinsics : (3, 3) float64
        ``K``, px.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    ambient : float
        Brightness of a surface turned away from the light.
    scratch : Scratch
        What `pose_bodies` has found out.
    out : (3, height, width) uint8
        The picture.
    """
    width, order, extents = out.shape[2], scratch.order, scratch.extents
    top, bottom = out.shape[1], 0
    for place in range(count):
        body = order[0, place]
        extent = extents[body]
        if extent[IS_CROSSED]:
            top, bottom = min(top, extent[TOP]), max(bottom, extent[BOTTOM])
        elif shape[body] == SPHERE:
            pose = scratch.pose[body]
            draw_sphere(
                pose[CENTER : CENTER + 3], pose[RADIUS], color[body], intrinsics, light_camera, ambient,
                scratch.spans[WHOLE], out,
            )  # fmt: skip
        else:
            for row in range(extent[TOP], extent[BOTTOM]):
                cut_row(body, shape[body], row, intrinsics, light_camera, width, False, scratch)
                blend_row(body, row, color[body], scratch, out)
    for row in range(top, bottom):
        group, first, last = 0, width, 0
        for place in range(count):
            body = order[0, place]
            extent = extents[body]
            if extent[IS_CROSSED] and extent[TOP] <= row < extent[BOTTOM]:
                cut_row(body, shape[body], row, intrinsics, light_camera, width, True, scratch)
                order[1, group] = body
                group += 1
                first, last = min(first, extent[FIRST]), max(last, extent[LAST])
        if group and is_in_order(group, scratch):
            for place in range(group):
                blend_row(order[1, place], row, color[order[1, place]], scratch, out)
        elif group:
            layer_row(row, first, last, group, color, scratch, out)


@kernel
def copy_picture(picture: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Copy a picture, row by row.

    Parameters
    ----------
    picture : (3, height, width) uint8
        What is copied.
    out : (3, height, width) uint8
        Where to.
    """
    for channel in range(3):
        plane, source = out[channel], picture[channel]
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                plane[row, column] = source[row, column]


@kernel
def turn_light(light: NDArray[np.float64], extrinsics: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Direction towards the light in a camera's frame.

    Parameters
    ----------
    light : (3,) float64
        In the world.
    extrinsics : (3, 4) float64
        ``[R | t]``, world to camera.
    out : (3,) float64
        The direction.
    """
    for i in range(3):
        out[i] = extrinsics[i, 0] * light[0] + extrinsics[i, 1] * light[1] + extrinsics[i, 2] * light[2]


@kernel
def average(
    subframes: int,
    background: NDArray[np.uint8],
    edges: NDArray[np.int64],
    scratch: Scratch,
    out: NDArray[np.uint8],
) -> None:
    """Average the sub-frames that have been added up, and forget them.

    Parameters
    ----------
    subframes : int
        How many there were.
    background : (3, height, width) uint8
        What is behind the bodies.
    edges : (4,) int64
        The columns and the rows that have been touched.
    scratch : Scratch
        Sums of what they add to the background.
    out : (3, height, width) uint8
        The picture, which holds the background.
    """
    left, right, top, bottom = edges
    for channel in range(3):
        for row in range(top, bottom):
            sums = scratch.sums[channel, row, left:right]
            behind, line = background[channel, row, left:right], out[channel, row, left:right]
            for i in range(right - left):
                total = np.int32(behind[i]) * subframes + sums[i]
                line[i] = np.uint8((2 * total + subframes) // (2 * subframes))
                sums[i] = 0


@kernel
def add_up(background: NDArray[np.uint8], edges: NDArray[np.int64], scratch: Scratch) -> None:
    """Add to the sums what the bodies of a sub-frame have changed, and clean its picture.

    Parameters
    ----------
    background : (3, height, width) uint8
        What is behind the bodies.
    edges : (4,) int64
        The columns and rows that have been touched: grown by those of this sub-frame.
    scratch : Scratch
        The sub-frame's picture, the extents of its bodies, and the sums.
    """
    height, width = background.shape[1], background.shape[2]
    for row in range(height):
        # the box of a body that is alone is drawn in whole vectors, which change nothing beyond it
        left, right = width, 0
        for body in range(scratch.extents.shape[0]):
            extent = scratch.extents[body]
            if extent[LEFT] < extent[RIGHT] and extent[TOP] <= row < extent[BOTTOM]:
                left, right = min(left, extent[LEFT]), max(right, extent[RIGHT])
        if left >= right:
            continue
        edges[0], edges[1] = min(edges[0], left), max(edges[1], right)
        edges[2], edges[3] = min(edges[2], row), max(edges[3], row + 1)
        for channel in range(3):
            behind, line = background[channel, row, left:right], scratch.picture[channel, row, left:right]
            sums = scratch.sums[channel, row, left:right]
            for i in range(right - left):
                sums[i] += np.int32(line[i]) - np.int32(behind[i])
                line[i] = behind[i]


@kernel
def render_world(
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    color: NDArray[np.uint8],
    shape: NDArray[np.uint8],
    background: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    light: NDArray[np.float64],
    ambient: float,
    scratch: Scratch,
    out: NDArray[np.uint8],
) -> None:
    """Draw a clip: every camera, every frame, every body.

    Parameters
    ----------
    position : (instants, bodies, 3) float64
        Centres of the enclosing spheres, world units. The picture of a frame is the average of as many sub-frames as
        there are instants for it.
    rotation : (instants or 1, bodies or 1, 3, 3) float64
        Body to world; an axis of size 1 stands for all, here and below.
    is_present : (frames, bodies) bool
        Which bodies are there.
    radius : (bodies,) float64
        Of the enclosing spheres, world units.
    color : (bodies, 3) uint8
        RGB at full brightness.
    shape : (bodies,) uint8
        Codes of `trajstore.kernels.shapes`.
    background : (cameras, 3, height, width) uint8
        What each camera sees behind the bodies, at all times.
    intrinsics : (cameras, 3, 3) float64
        ``K`` without skew, px.
    extrinsics : (cameras, instants or 1, 3, 4) float64
        ``[R | t]``, world to camera.
    light : (3,) float64
        Unit vector towards the light, world.
    ambient : float
        Brightness of a surface turned away from the light, as a share of full brightness.
    scratch : Scratch
        Of `make_scratch`.
    out : (cameras, frames, 3, height, width) uint8
        The clip; every pixel is written.
    """
    frames, height, width = out.shape[1], out.shape[3], out.shape[4]
    subframes = position.shape[0] // frames
    light_camera, edges = scratch.small[4], scratch.touched
    for camera in range(out.shape[0]):
        if subframes > 1:
            copy_picture(background[camera], scratch.picture)
        for frame in range(frames):
            picture = out[camera, frame]
            copy_picture(background[camera], picture)
            edges[0], edges[1], edges[2], edges[3] = width, 0, height, 0
            for instant in range(frame * subframes, (frame + 1) * subframes):
                view = extrinsics[camera, min(instant, extrinsics.shape[1] - 1)]
                turn_light(light, view, light_camera)
                count = pose_bodies(
                    position[instant], rotation[min(instant, rotation.shape[0] - 1)], is_present[frame],
                    radius, shape, intrinsics[camera], view, light_camera, ambient, height, width, scratch,
                )  # fmt: skip
                target = picture if subframes == 1 else scratch.picture
                draw_bodies(count, color, shape, intrinsics[camera], light_camera, ambient, scratch, target)
                if subframes > 1:
                    add_up(background[camera], edges, scratch)
            if subframes > 1:
                average(subframes, background[camera], edges, scratch, picture)


@kernel
def see_row(
    body: int,
    row: int,
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    width: int,
    scratch: Scratch,
) -> tuple[int, int]:
    """Pixels of a row whose centres a body's silhouette covers.

    Parameters
    ----------
    body, row : int
        The body, and the row.
    shape : (bodies,) uint8
        Codes of the bodies.
    intrinsics : (3, 3) float64
        ``K``, px.
    width : int
        Of the picture, px.
    scratch : Scratch
        Posed bodies.

    Returns
    -------
    first, last : int
        The first column, and the one after the last.
    """
    spans = scratch.spans
    cross_body(
        scratch.pose[body], shape[body], scratch.edges[body], scratch.conics[body], row + 0.5, 0.0, 1, width,
        intrinsics, spans,
    )  # fmt: skip
    return int(ceil(spans[WHOLE, 0, 0] - 0.5)), int(ceil(spans[WHOLE, 0, 1] - 0.5))  # noqa: RUF046 compiled, it is a float


@kernel
def find_nearest(
    row: int,
    count: int,
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    left: int,
    right: int,
    width: int,
    scratch: Scratch,
) -> None:
    """Find out which body the centre of each pixel of a row sees, of those whose boxes meet others.

    Parameters
    ----------
    row : int
        The row.
    count : int
        Of `pose_bodies`.
    shape : (bodies,) uint8
        Codes of the bodies.
    intrinsics : (3, 3) float64
        ``K``, px.
    left, right, width : int
        The columns that count, and the width of the picture, px.
    scratch : Scratch
        Posed bodies; out: ids.
    """
    ids, depths, extents = scratch.ids, scratch.depths, scratch.extents
    for column in range(left, right):
        ids[column] = 0
        depths[column] = np.inf
    ray_y = (row + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    for place in range(count):
        body = scratch.order[0, place]
        if not extents[body, IS_SHARED] or row < extents[body, TOP] or row >= extents[body, BOTTOM]:
            continue
        first, last = see_row(body, row, shape, intrinsics, width, scratch)
        if not extents[body, IS_CROSSED]:
            # farther ones came before
            for column in range(first, last):
                ids[column] = body + 1
            continue
        pose, code = scratch.pose[body], shape[body]
        for column in range(first, last):
            ray_x = (column + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
            depth = find_depth(pose, code, ray_x, ray_y)
            if depth <= depths[column]:
                depths[column] = depth
                ids[column] = body + 1


@kernel
def count_visible(
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    height: int,
    width: int,
    scratch: Scratch,
    out: NDArray[np.int32],
) -> None:
    """Count the pixels whose centre sees each body.

    Parameters
    ----------
    position : (frames, bodies, 3) float64
        Centres of the enclosing spheres, world units.
    rotation : (frames or 1, bodies or 1, 3, 3) float64
        Body to world; an axis of size 1 stands for all, here and below.
    is_present : (frames, bodies) bool
        Which bodies are there.
    radius, shape : (bodies,) float64, (bodies,) uint8
        Of the enclosing spheres, world units; codes of `trajstore.kernels.shapes`.
    intrinsics : (cameras, 3, 3) float64
        ``K`` without skew, px.
    extrinsics : (cameras, frames or 1, 3, 4) float64
        ``[R | t]``, world to camera.
    height, width : int
        Of a picture, px.
    scratch : Scratch
        Of `make_scratch`.
    out : (bodies, cameras, frames) int32
        The counts.
    """
    out[:] = 0
    light = scratch.small[4]
    light[:] = 0.0
    for camera in range(intrinsics.shape[0]):
        for frame in range(position.shape[0]):
            count = pose_bodies(
                position[frame], rotation[min(frame, rotation.shape[0] - 1)], is_present[frame], radius, shape,
                intrinsics[camera], extrinsics[camera, min(frame, extrinsics.shape[1] - 1)], light, 1.0,
                height, width, scratch,
            )  # fmt: skip
            left, right, top, bottom = width, 0, height, 0
            for place in range(count):
                body = scratch.order[0, place]
                extent = scratch.extents[body]
                if extent[IS_SHARED]:
                    left, right = min(left, extent[LEFT]), max(right, extent[RIGHT])
                    top, bottom = min(top, extent[TOP]), max(bottom, extent[BOTTOM])
                    continue
                for row in range(extent[TOP], extent[BOTTOM]):
                    first, last = see_row(body, row, shape, intrinsics[camera], width, scratch)
                    out[body, camera, frame] += last - first
            for row in range(top, bottom):
                find_nearest(row, count, shape, intrinsics[camera], left, right, width, scratch)
                for column in range(left, right):
                    if scratch.ids[column]:
                        out[scratch.ids[column] - 1, camera, frame] += 1
