"""What is known of each pixel: which body its centre sees, how far away, turned which way, and where it moves.

The bodies, and which of them hides which, are those of `trajstore.kernels.visible`: as many pixels of each body are
here as are counted there.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.poses import (
    BOTTOM,
    CENTER,
    IS_SHARED,
    LEFT,
    PLANES,
    RIGHT,
    SEEN,
    TOP,
    Scratch,
    pose_bodies,
)
from trajstore.kernels.raster import touch
from trajstore.kernels.shapes import CUBE, SPHERE
from trajstore.kernels.silhouettes import find_depth, meet_side
from trajstore.kernels.visible import find_nearest, see_row


class Layers(NamedTuple):
    """Pictures of annotations, and what stands before them: nothing in one picture, cameras and frames in a clip.

    Those that nobody asks for have no pixels; ``segmentation`` always has some.
    """

    segmentation: NDArray[np.uint8]
    """(…, height, width): body and 1; 0 where there is background."""

    depth_map: NDArray[np.float32]
    """(…, height, width): z, camera frame, world units."""

    forward_flow: NDArray[np.float32]
    """(…, 2, height, width): (u, v) to where the surface point is in the next frame, px."""

    backward_flow: NDArray[np.float32]
    """(…, 2, height, width): (u, v) to where the surface point is in the frame before, px."""

    normals: NDArray[np.float32]
    """(…, 3, height, width): unit vectors outwards, camera frame."""


@kernel
def relate_frames(
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    body: int,
    frame: int,
    other: int,
    axes: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Where the points of a body at one frame are at another one, in the frame of a camera.

    Parameters
    ----------
    position : (frames, bodies, 3) float64
        Centres, world units.
    rotation : (frames or 1, bodies or 1, 3, 3) float64
        Body to world.
    extrinsics : (frames or 1, 3, 4) float64
        ``[R | t]``, world to camera.
    body, frame, other : int
        Which body, and from when to when.
    axes : (3, 3) float64
        Scratch.
    out : (3, 4) float64
        ``[B | b]``: a point p of the camera's frame is at B p + b.
    """
    view = extrinsics[min(frame, extrinsics.shape[0] - 1)]
    next_view = extrinsics[min(other, extrinsics.shape[0] - 1)]
    column = min(body, rotation.shape[1] - 1)
    turn = rotation[min(frame, rotation.shape[0] - 1), column]
    next_turn = rotation[min(other, rotation.shape[0] - 1), column]
    place, next_place = position[frame, body], position[other, body]
    for i in range(3):
        for j in range(3):
            axes[i, j] = (
                next_turn[i, 0] * turn[j, 0] + next_turn[i, 1] * turn[j, 1] + next_turn[i, 2] * turn[j, 2]
            )
    for i in range(3):
        r_x, r_y, r_z = next_view[i, 0], next_view[i, 1], next_view[i, 2]
        x = r_x * axes[0, 0] + r_y * axes[1, 0] + r_z * axes[2, 0]
        y = r_x * axes[0, 1] + r_y * axes[1, 1] + r_z * axes[2, 1]
        z = r_x * axes[0, 2] + r_y * axes[1, 2] + r_z * axes[2, 2]
        moved = next_view[i, 3] + r_x * next_place[0] + r_y * next_place[1] + r_z * next_place[2]
        moved -= x * place[0] + y * place[1] + z * place[2]
        for j in range(3):
            out[i, j] = x * view[j, 0] + y * view[j, 1] + z * view[j, 2]
            moved -= out[i, j] * view[j, 3]
        out[i, 3] = moved


@kernel
def find_normal(
    pose: NDArray[np.float64], shape: int, ray_x: float, ray_y: float, depth: float
) -> tuple[float, float, float]:
    """Which way a body's surface is turned where a ray enters it.

    Parameters
    ----------
    pose : (32,) float64
        Of the body.
    shape : int
        Its code.
    ray_x, ray_y, depth : float
        The ray (X, Y, 1), and z of the point by `find_depth`, camera frame.

    Returns
    -------
    x, y, z : float
        The unit normal, outwards, camera frame.
    """
    if shape == SPHERE:
        x, y, z = depth * ray_x - pose[CENTER], depth * ray_y - pose[CENTER + 1], depth - pose[CENTER + 2]
        scale = 1.0 / sqrt(x * x + y * y + z * z)
        return x * scale, y * scale, z * scale
    # of the planes of all faces that it looks at, it enters through the last
    entered, last = PLANES, 0.0
    for face in range(int(pose[SEEN])):
        at = PLANES + 4 * face
        facing = pose[at] * ray_x + pose[at + 1] * ray_y + pose[at + 2]
        if facing < 0.0 and pose[at + 3] / facing > last:
            entered, last = at, pose[at + 3] / facing
    if shape == CUBE or last == depth:
        return pose[entered], pose[entered + 1], pose[entered + 2]
    _, x, y, z = meet_side(pose, shape, ray_x, ray_y)
    return x, y, z


@kernel
def move_run(
    row: int,
    first: int,
    depth: NDArray[np.float64],
    move: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Flow of some pixels of a row that see the same body.

    Parameters
    ----------
    row, first : int
        The row, and the first column.
    depth : (n,) float64
        z of what they see, world units.
    move : (3, 4) float64
        Where points of the body go, by `relate_frames`.
    intrinsics : (3, 3) float64
        ``K``, px.
    out : (2, height, width) float32
        The flow, px.
    """
    focal_x, focal_y = intrinsics[0, 0], intrinsics[1, 1]
    middle_x, middle_y = intrinsics[0, 2], intrinsics[1, 2]
    ray_y = (row + 0.5 - middle_y) / focal_y
    # B (X, Y, 1) is a constant plus X times a column of B
    x_x, y_x, z_x = move[0, 0], move[1, 0], move[2, 0]
    x_0, y_0, z_0 = (
        move[0, 1] * ray_y + move[0, 2],
        move[1, 1] * ray_y + move[1, 2],
        move[2, 1] * ray_y + move[2, 2],
    )
    x_b, y_b, z_b = move[0, 3], move[1, 3], move[2, 3]
    right, down = out[0, row, first : first + depth.shape[0]], out[1, row, first : first + depth.shape[0]]
    for i in range(depth.shape[0]):
        u = float(first) + float(i) + 0.5
        ray_x = (u - middle_x) / focal_x
        z = depth[i] * (z_x * ray_x + z_0) + z_b
        right[i] = focal_x * (depth[i] * (x_x * ray_x + x_0) + x_b) / z + (middle_x - u)
        down[i] = focal_y * (depth[i] * (y_x * ray_x + y_0) + y_b) / z + (middle_y - (row + 0.5))


@kernel
def annotate_run(
    body: int,
    row: int,
    first: int,
    last: int,
    shape: int,
    intrinsics: NDArray[np.float64],
    has_next: bool,
    has_previous: bool,
    moves: NDArray[np.float64],
    scratch: Scratch,
    layers: Layers,
) -> None:
    """Annotate pixels of a row that see the same body.

    Parameters
    ----------
    body, row, first, last : int
        The body, the row, and the columns from the first to before the last.
    shape : int
        Code of the body.
    intrinsics : (3, 3) float64
        ``K``, px.
    has_next, has_previous : bool
        Whether there are such frames.
    moves : (bodies, 2, 3, 4) float64
        Where its points go in the next frame, and where they were in the frame before.
    scratch : Scratch
        Posed bodies; out: touched.
    layers : Layers
        Of one picture.
    """
    touch(row, first, last, scratch.touched)
    segmentation = layers.segmentation[row]
    for column in range(first, last):
        segmentation[column] = body + 1
    with_depth, with_normals = layers.depth_map.shape[1] > 0, layers.normals.shape[2] > 0
    has_next, has_previous = (
        has_next and layers.forward_flow.shape[2] > 0,
        has_previous and layers.backward_flow.shape[2] > 0,
    )
    if not (with_depth or with_normals or has_next or has_previous):
        return
    pose, depth = scratch.pose[body], scratch.fragments[body, 2, first:last]
    ray_y = (row + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    for i in range(last - first):
        ray_x = (float(first) + float(i) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
        depth[i] = find_depth(pose, shape, ray_x, ray_y)
    if with_depth:
        line = layers.depth_map[row, first:last]
        for i in range(last - first):
            line[i] = depth[i]
    if with_normals:
        normal_x, normal_y = layers.normals[0, row, first:last], layers.normals[1, row, first:last]
        normal_z = layers.normals[2, row, first:last]
        for i in range(last - first):
            ray_x = (float(first) + float(i) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
            normal_x[i], normal_y[i], normal_z[i] = find_normal(pose, shape, ray_x, ray_y, depth[i])
    if has_next:
        move_run(row, first, depth, moves[body, 0], intrinsics, layers.forward_flow)
    if has_previous:
        move_run(row, first, depth, moves[body, 1], intrinsics, layers.backward_flow)


@kernel
def annotate_frame(
    frame: int,
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    moves: NDArray[np.float64],
    scratch: Scratch,
    layers: Layers,
) -> None:
    """Annotate one frame of one camera.

    Parameters
    ----------
    frame : int
        Which.
    position, rotation, is_present, radius, shape, moves, scratch
        As for `annotate_clip`.
    intrinsics, extrinsics : (3, 3), (frames or 1, 3, 4) float64
        The camera.
    layers : Layers
        Of one picture, all background; written where bodies are.
    """
    height, width = layers.segmentation.shape[0], layers.segmentation.shape[1]
    scratch.light[:] = 0.0
    count = pose_bodies(
        position[frame], rotation[min(frame, rotation.shape[0] - 1)], is_present[frame], radius, shape,
        intrinsics, extrinsics[min(frame, extrinsics.shape[0] - 1)], scratch.light, 1.0, height, width, scratch,
    )  # fmt: skip
    has_next, has_previous = frame + 1 < position.shape[0], frame > 0
    with_next = has_next and layers.forward_flow.shape[2] > 0
    with_previous = has_previous and layers.backward_flow.shape[2] > 0
    left, right, top, bottom = width, 0, height, 0
    for place in range(count):
        body = scratch.order[0, place]
        extent = scratch.extents[body]
        if with_next:
            relate_frames(
                position, rotation, extrinsics, body, frame, frame + 1, scratch.axes, moves[body, 0]
            )
        if with_previous:
            relate_frames(
                position, rotation, extrinsics, body, frame, frame - 1, scratch.axes, moves[body, 1]
            )
        if extent[IS_SHARED]:
            left, right = min(left, extent[LEFT]), max(right, extent[RIGHT])
            top, bottom = min(top, extent[TOP]), max(bottom, extent[BOTTOM])
            continue
        for row in range(extent[TOP], extent[BOTTOM]):
            first, last = see_row(body, row, shape, intrinsics, width, scratch)
            if first < last:
                annotate_run(
                    body, row, first, last, shape[body], intrinsics, has_next, has_previous, moves, scratch,
                    layers,
                )  # fmt: skip
    ids = scratch.ids
    for row in range(top, bottom):
        find_nearest(row, count, shape, intrinsics, left, right, width, scratch)
        first = left
        while first < right:
            last = first + 1
            while last < right and ids[last] == ids[first]:
                last += 1
            if ids[first]:
                body = int(ids[first]) - 1
                annotate_run(
                    body, row, first, last, shape[body], intrinsics, has_next, has_previous, moves, scratch,
                    layers,
                )  # fmt: skip
            first = last


@kernel
def annotate_clip(
    first_frame: int,
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    moves: NDArray[np.float64],
    scratch: Scratch,
    out: Layers,
) -> None:
    """Annotate a clip.

    Parameters
    ----------
    first_frame : int
        The frame that comes first.
    position : (frames, bodies, 3) float64
        Centres of the enclosing spheres at all frames, world units.
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
    moves : (bodies, 2, 3, 4) float64
        Scratch.
    scratch : Scratch
        Of `make_scratch`.
    out : Layers
        Of so many cameras and frames, all background; written where bodies are.
    """
    for camera in range(out.segmentation.shape[0]):
        for frame in range(out.segmentation.shape[1]):
            annotate_frame(
                first_frame + frame, position, rotation, is_present, radius, shape, intrinsics[camera],
                extrinsics[camera], moves, scratch,
                Layers(
                    out.segmentation[camera, frame],
                    out.depth_map[camera, frame],
                    out.forward_flow[camera, frame],
                    out.backward_flow[camera, frame],
                    out.normals[camera, frame],
                ),
            )  # fmt: skip


@kernel
def fill_silhouettes(
    first_frame: int,
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    scratch: Scratch,
    out: NDArray[np.bool_],
) -> None:
    """Fill the whole silhouettes of bodies, whatever hides them.

    Parameters
    ----------
    first_frame, position, rotation, is_present, radius, shape, intrinsics, extrinsics, scratch
        As for `annotate_clip`.
    out : (bodies, cameras, frames, height, width) bool
        All False; True where a pixel's centre is inside the silhouette.
    """
    height, width = out.shape[3], out.shape[4]
    scratch.light[:] = 0.0
    for camera in range(out.shape[1]):
        for place in range(out.shape[2]):
            frame = first_frame + place
            count = pose_bodies(
                position[frame], rotation[min(frame, rotation.shape[0] - 1)], is_present[frame], radius, shape,
                intrinsics[camera], extrinsics[camera, min(frame, extrinsics.shape[1] - 1)], scratch.light, 1.0,
                height, width, scratch,
            )  # fmt: skip
            for number in range(count):
                body = scratch.order[0, number]
                for row in range(scratch.extents[body, TOP], scratch.extents[body, BOTTOM]):
                    first, last = see_row(body, row, shape, intrinsics[camera], width, scratch)
                    line = out[body, camera, place, row]
                    for column in range(first, last):
                        line[column] = True
