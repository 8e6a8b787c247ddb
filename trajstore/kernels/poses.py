"""Where bodies are in a picture: their boxes, outlines and flat faces, and in which order they hide each other.

All shapes are convex. What a body's outline and its flat faces are made of, straight edges and images of discs, is
found once for a picture; `trajstore.kernels.silhouettes` then asks where scanlines and rays meet it.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.cameras import bound_silhouette, transform_point
from trajstore.kernels.compiler import kernel
from trajstore.kernels.raster import SCANLINES, make_touched
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
    """(bodies, 32): what is known of each body in a picture; see `pose_bodies`."""

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
    """(height + 1, 2): where the bodies of a sub-frame are."""

    axes: NDArray[np.float64]
    """(3, 3): a body's own axes in the camera's frame."""

    box: NDArray[np.float64]
    """(4,): box of a silhouette, px."""

    light: NDArray[np.float64]
    """(3,): direction towards the light in the camera's frame."""


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
        touched=make_touched(height),
        axes=np.zeros((3, 3)),
        box=np.zeros(4),
        light=np.zeros(3),
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
    axes, box = scratch.axes, scratch.box
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
