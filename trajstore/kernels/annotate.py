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
from trajstore.kernels.raster import clear_touched, touch
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


class Survey(NamedTuple):
    """Memory of the functions here, allocated once for many clips."""

    runs: NDArray[np.int64]
    """(n, 4): pixels of a row that see the same body: body, row, first column, and the one after the last."""

    moves: NDArray[np.float64]
    """(bodies, 2, 3, 4): where points of each body go in the next frame, and where they were in the one before."""


def make_survey(bodies: int, height: int, width: int) -> Survey:
    """Allocate what the functions here need for so many bodies and pictures of a size."""
    return Survey(np.zeros((height * width, 4), np.int64), np.zeros((bodies, 2, 3, 4)))


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
def segment(
    count: int,
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    scratch: Scratch,
    out: NDArray[np.uint8],
) -> None:
    """Find out which body the centre of each pixel sees.

    Parameters
    ----------
    count : int
        Of `pose_bodies`.
    shape : (bodies,) uint8
        Codes of the bodies.
    intrinsics : (3, 3) float64
        ``K``, px.
    scratch : Scratch
        Posed bodies; out: touched.
    out : (height, width) uint8
        All 0; body and 1 where there is one.
    """
    width, touched, ids = out.shape[1], scratch.touched, scratch.ids
    left, right, top, bottom = width, 0, out.shape[0], 0
    for place in range(count):
        body = scratch.order[0, place]
        extent = scratch.extents[body]
        if extent[IS_SHARED]:
            left, right = min(left, extent[LEFT]), max(right, extent[RIGHT])
            top, bottom = min(top, extent[TOP]), max(bottom, extent[BOTTOM])
            continue
        for row in range(extent[TOP], extent[BOTTOM]):
            first, last = see_row(body, row, shape, intrinsics, width, scratch)
            if first < last:
                touch(row, first, last, touched)
                line = out[row, first:last]
                for i in range(last - first):
                    line[i] = body + 1
    for row in range(top, bottom):
        find_nearest(row, count, shape, intrinsics, left, right, width, scratch)
        touch(row, left, right, touched)
        for column in range(left, right):
            if ids[column]:
                out[row, column] = ids[column]


@kernel
def find_runs(segmentation: NDArray[np.uint8], touched: NDArray[np.int64], out: NDArray[np.int64]) -> int:
    """Find pixels side by side that see the same body.

    Parameters
    ----------
    segmentation : (height, width) uint8
        Of `segment`.
    touched : (height + 1, 2) int64
        Where bodies are; out: nowhere.
    out : (n, 4) int64
        The runs; see `Survey`.

    Returns
    -------
    int
        How many there are.
    """
    height, count = segmentation.shape[0], 0
    for row in range(touched[height, 0], touched[height, 1]):
        line, column, last = segmentation[row], touched[row, 0], touched[row, 1]
        while column < last:
            number, first = line[column], column
            column += 1
            while column < last and line[column] == number:
                column += 1
            if number:
                run = out[count]
                run[0], run[1], run[2], run[3] = int(number) - 1, row, first, column
                count += 1
    clear_touched(touched)
    return count


@kernel
def annotate_run(
    row: int,
    first: int,
    shape: int,
    pose: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    depth: NDArray[np.float64],
    depth_map: NDArray[np.float32],
    normals: NDArray[np.float32],
) -> None:
    """Depths and normals of pixels of a row that see the same body.

    Parameters
    ----------
    row, first : int
        The row, and the first column.
    shape : int
        Code of the body.
    pose : (32,) float64
        Of the body.
    intrinsics : (3, 3) float64
        ``K``, px.
    depth : (n,) float64
        Out: z of what the pixels see, world units.
    depth_map, normals : (height, width), (3, height, width) float32
        Out, if they have pixels.
    """
    last = first + depth.shape[0]
    start_x, per_px_x = (first + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0], 1.0 / intrinsics[0, 0]
    ray_y = (row + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    for i in range(last - first):
        depth[i] = find_depth(pose, shape, start_x + i * per_px_x, ray_y)
    if depth_map.shape[1] > 0:
        line = depth_map[row, first:last]
        for i in range(last - first):
            line[i] = depth[i]
    if normals.shape[2] > 0:
        along_x, along_y, along_z = (
            normals[0, row, first:last],
            normals[1, row, first:last],
            normals[2, row, first:last],
        )
        for i in range(last - first):
            along_x[i], along_y[i], along_z[i] = find_normal(
                pose, shape, start_x + i * per_px_x, ray_y, depth[i]
            )


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
    survey: Survey,
    scratch: Scratch,
    layers: Layers,
) -> int:
    """Annotate one frame of one camera.

    Parameters
    ----------
    frame : int
        Which.
    position, rotation, is_present, radius, shape, scratch
        As for `annotate_clip`.
    intrinsics, extrinsics : (3, 3), (frames or 1, 3, 4) float64
        The camera.
    survey : Survey
        Of `make_survey`; out: runs.
    layers : Layers
        Of one picture, all background; written where bodies are.

    Returns
    -------
    int
        How many runs there are.
    """
    height, width = layers.segmentation.shape[0], layers.segmentation.shape[1]
    scratch.light[:] = 0.0
    count = pose_bodies(
        position[frame], rotation[min(frame, rotation.shape[0] - 1)], is_present[frame], radius, shape,
        intrinsics, extrinsics[min(frame, extrinsics.shape[0] - 1)], scratch.light, 1.0, height, width, scratch,
    )  # fmt: skip
    segment(count, shape, intrinsics, scratch, layers.segmentation)
    runs, moves = survey.runs, survey.moves
    total = find_runs(layers.segmentation, scratch.touched, runs)
    with_next = frame + 1 < position.shape[0] and layers.forward_flow.shape[2] > 0
    with_previous = frame > 0 and layers.backward_flow.shape[2] > 0
    if not (with_next or with_previous or layers.depth_map.shape[1] > 0 or layers.normals.shape[2] > 0):
        return total
    for place in range(count):
        body = scratch.order[0, place]
        for way, is_wanted in enumerate((with_next, with_previous)):
            if is_wanted:
                relate_frames(
                    position,
                    rotation,
                    extrinsics,
                    body,
                    frame,
                    frame + 1 - 2 * way,
                    scratch.axes,
                    moves[body, way],
                )
    for run in range(total):
        body, row, first, last = runs[run, 0], runs[run, 1], runs[run, 2], runs[run, 3]
        depth = scratch.depths[first:last]
        annotate_run(
            row, first, shape[body], scratch.pose[body], intrinsics, depth, layers.depth_map, layers.normals
        )
        if with_next:
            move_run(row, first, depth, moves[body, 0], intrinsics, layers.forward_flow)
        if with_previous:
            move_run(row, first, depth, moves[body, 1], intrinsics, layers.backward_flow)
    return total


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
    survey: Survey,
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
    survey : Survey
        Of `make_survey`.
    scratch : Scratch
        Of `make_scratch`.
    out : Layers
        Of so many cameras and frames, all background; written where bodies are.
    """
    clear_touched(scratch.touched)
    for camera in range(out.segmentation.shape[0]):
        for frame in range(out.segmentation.shape[1]):
            annotate_frame(
                first_frame + frame, position, rotation, is_present, radius, shape, intrinsics[camera],
                extrinsics[camera], survey, scratch,
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
