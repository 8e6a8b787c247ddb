"""Points on the surfaces of bodies, followed through a clip."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.annotate import Survey, find_normal, find_runs, segment
from trajstore.kernels.cameras import transform_point
from trajstore.kernels.compiler import kernel
from trajstore.kernels.hashing import mix
from trajstore.kernels.poses import BOTTOM, LEFT, RIGHT, TOP, WHOLE, Scratch, pose_bodies
from trajstore.kernels.raster import clear_touched
from trajstore.kernels.silhouettes import cross_body, find_depth

UNUSED_BITS: Final = np.uint64(11)
PER_STEP: Final = 2.0**-53
"""A hash without these bits, times this, is uniform in [0, 1)."""


class Tracks(NamedTuple):
    """Points that are followed, and memory to do so."""

    seen: NDArray[np.int64]
    """(frames + 1,): pixels that show bodies in all frames before this one."""

    chosen: NDArray[np.int64]
    """(points,): which of those pixels each point begins with."""

    body: NDArray[np.int64]
    """(points,): what the point is on."""

    anchor: NDArray[np.float64]
    """(points, 2, 3): where it is, and the normal there, in the body's own frame, world units."""

    segmentation: NDArray[np.uint8]
    """(height, width): all 0."""

    place: NDArray[np.float64]
    """(2, 3): a point and a normal."""


def make_tracks(frames: int, points: int, height: int, width: int) -> Tracks:
    """Allocate what it takes to follow so many points."""
    return Tracks(
        seen=np.zeros(frames + 1, np.int64),
        chosen=np.zeros(points, np.int64),
        body=np.zeros(points, np.int64),
        anchor=np.zeros((points, 2, 3)),
        segmentation=np.zeros((height, width), np.uint8),
        place=np.zeros((2, 3)),
    )


@kernel
def anchor_point(
    ray_x: float,
    ray_y: float,
    shape: int,
    pose: NDArray[np.float64],
    position: NDArray[np.float64],
    turn: NDArray[np.float64],
    view: NDArray[np.float64],
    place: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Find what a ray sees of a body, in the body's own frame.

    Parameters
    ----------
    ray_x, ray_y : float
        The ray (X, Y, 1), camera frame.
    shape : int
        Code of the body.
    pose : (32,) float64
        Of the body.
    position : (3,) float64
        Its centre, world units.
    turn : (3, 3) float64
        Body to world.
    view : (3, 4) float64
        ``[R | t]``, world to camera.
    place : (2, 3) float64
        Scratch.
    out : (2, 3) float64
        The point, world units, and the normal.
    """
    depth = find_depth(pose, shape, ray_x, ray_y)
    along_x, along_y, along_z = find_normal(pose, shape, ray_x, ray_y, depth)
    x, y, z = depth * ray_x - view[0, 3], depth * ray_y - view[1, 3], depth - view[2, 3]
    for i in range(3):
        place[0, i] = view[0, i] * x + view[1, i] * y + view[2, i] * z - position[i]
        place[1, i] = view[0, i] * along_x + view[1, i] * along_y + view[2, i] * along_z
    for part in range(2):
        for i in range(3):
            out[part, i] = (
                turn[0, i] * place[part, 0] + turn[1, i] * place[part, 1] + turn[2, i] * place[part, 2]
            )


@kernel
def is_hidden(
    body: int,
    depth: float,
    u: float,
    v: float,
    count: int,
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    width: int,
    scratch: Scratch,
) -> bool:
    """Whether another body is before a point.

    Parameters
    ----------
    body : int
        What the point is on.
    depth, u, v : float
        z, world units, and where it is in the picture, px.
    count : int
        Of `pose_bodies`.
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
    bool
        Whether the ray to the point enters one before.
    """
    ray_x, ray_y = (u - intrinsics[0, 2]) / intrinsics[0, 0], (v - intrinsics[1, 2]) / intrinsics[1, 1]
    for number in range(count):
        other = scratch.order[0, number]
        extent, pose = scratch.extents[other], scratch.pose[other]
        if other == body or not (extent[LEFT] <= u < extent[RIGHT] and extent[TOP] <= v < extent[BOTTOM]):
            continue
        cross_body(
            pose, shape[other], scratch.edges[other], scratch.conics[other], v, 0.0, 1, width, intrinsics,
            scratch.spans,
        )  # fmt: skip
        if (
            scratch.spans[WHOLE, 0, 0] <= u < scratch.spans[WHOLE, 0, 1]
            and find_depth(pose, shape[other], ray_x, ray_y) < depth
        ):
            return True
    return False


@kernel
def choose_points(
    key: np.uint64,
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    survey: Survey,
    scratch: Scratch,
    tracks: Tracks,
    out: NDArray[np.float32],
) -> None:
    """Choose points among all that a camera sees of bodies at any frame, each pixel of them alike.

    Parameters
    ----------
    key : uint64
        Of the camera.
    position, rotation, is_present, radius, shape, survey, scratch
        As for `follow_points`.
    intrinsics, extrinsics : (3, 3), (frames or 1, 3, 4) float64
        The camera.
    tracks : Tracks
        Of `make_tracks`; out: the points.
    out : (points, 3) float32
        (frame, y, x) of the pixel's centre, px; left as it is where the camera sees no body.
    """
    height, width = tracks.segmentation.shape[0], tracks.segmentation.shape[1]
    runs, seen, chosen = survey.runs, tracks.seen, tracks.chosen
    points, frames = out.shape[0], position.shape[0]
    # first how many pixels there are, then which were chosen
    for is_second in range(2):
        if is_second:
            for point in range(points):
                share = np.float64(mix(key ^ np.uint64(point)) >> UNUSED_BITS) * PER_STEP
                chosen[point] = int(share * seen[frames])
        for frame in range(frames):
            if is_second and seen[frame] == seen[frame + 1]:
                continue
            view = extrinsics[min(frame, extrinsics.shape[0] - 1)]
            turns = rotation[min(frame, rotation.shape[0] - 1)]
            count = pose_bodies(
                position[frame], turns, is_present[frame], radius, shape, intrinsics, view, scratch.light, 1.0,
                height, width, scratch,
            )  # fmt: skip
            segment(count, shape, intrinsics, scratch, tracks.segmentation)
            total, pixels = find_runs(tracks.segmentation, scratch.touched, runs), 0
            for run in range(total):
                tracks.segmentation[runs[run, 1], runs[run, 2] : runs[run, 3]] = 0
                pixels += runs[run, 3] - runs[run, 2]
            seen[frame + 1] = seen[frame] + pixels
            if not is_second:
                continue
            for point in range(points):
                left = chosen[point] - seen[frame]
                if left < 0 or left >= pixels:
                    continue
                run = 0
                while left >= runs[run, 3] - runs[run, 2]:
                    left -= runs[run, 3] - runs[run, 2]
                    run += 1
                body, u, v = runs[run, 0], runs[run, 2] + left + 0.5, runs[run, 1] + 0.5
                tracks.body[point] = body
                out[point, 0], out[point, 1], out[point, 2] = frame, v, u
                anchor_point(
                    (u - intrinsics[0, 2]) / intrinsics[0, 0], (v - intrinsics[1, 2]) / intrinsics[1, 1],
                    shape[body], scratch.pose[body], position[frame, body],
                    turns[min(body, turns.shape[0] - 1)], view, tracks.place, tracks.anchor[point],
                )  # fmt: skip


@kernel
def follow_points(
    first_camera: int,
    key: np.uint64,
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    survey: Survey,
    scratch: Scratch,
    tracks: Tracks,
    query: NDArray[np.float32],
    target: NDArray[np.float32],
    occluded: NDArray[np.bool_],
) -> None:
    """Choose points that cameras see, and follow them through a clip.

    Parameters
    ----------
    first_camera : int
        The camera that comes first.
    key : uint64
        Of the row: other keys choose other points.
    position, rotation, is_present, radius, shape, intrinsics, extrinsics, survey, scratch
        As for `trajstore.kernels.annotate.annotate_clip`.
    tracks : Tracks
        Of `make_tracks`.
    query : (cameras, points, 3) float32
        Out: frame, y and x, px, where each point is seen; NaN where a camera sees no body at all.
    target : (cameras, points, frames, 2) float32
        Out: x and y at each frame, px, whether it is seen or not; the same if so, and where it is behind the camera
        those of the query.
    occluded : (cameras, points, frames) bool
        Out: whether it is not seen: hidden by any body, outside of the picture, or its body is not there.
    """
    height, width = tracks.segmentation.shape[0], tracks.segmentation.shape[1]
    place, points = tracks.place, query.shape[1]
    query[:], target[:], occluded[:] = np.nan, np.nan, True
    clear_touched(scratch.touched)
    scratch.light[:] = 0.0
    for camera in range(query.shape[0]):
        lens = intrinsics[camera]
        choose_points(
            mix(key ^ np.uint64(first_camera + camera)), position, rotation, is_present, radius, shape, lens,
            extrinsics[camera], survey, scratch, tracks, query[camera],
        )  # fmt: skip
        if tracks.seen[position.shape[0]] == 0:
            continue
        for frame in range(position.shape[0]):
            view = extrinsics[camera, min(frame, extrinsics.shape[1] - 1)]
            turns = rotation[min(frame, rotation.shape[0] - 1)]
            count = pose_bodies(
                position[frame], turns, is_present[frame], radius, shape, lens, view, scratch.light, 1.0, height,
                width, scratch,
            )  # fmt: skip
            for point in range(points):
                body, anchor = tracks.body[point], tracks.anchor[point]
                turn = turns[min(body, turns.shape[0] - 1)]
                for i in range(3):
                    place[1, i] = (
                        turn[i, 0] * anchor[0, 0] + turn[i, 1] * anchor[0, 1] + turn[i, 2] * anchor[0, 2]
                    ) + position[frame, body, i]
                transform_point(place[1], view, place[0])
                x, y, z = place[0, 0], place[0, 1], place[0, 2]
                at = target[camera, point, frame]
                at[0], at[1] = query[camera, point, 2], query[camera, point, 1]
                if frame == query[camera, point, 0]:
                    occluded[camera, point, frame] = False
                    continue
                if z <= 0.0:
                    continue
                u, v = lens[0, 0] * x / z + lens[0, 2], lens[1, 1] * y / z + lens[1, 2]
                at[0], at[1] = u, v
                if not (is_present[frame, body] and 0.0 <= u < width and 0.0 <= v < height):
                    continue
                # of a convex body, what is turned away is what it hides itself
                facing = 0.0
                for i in range(3):
                    along = turn[i, 0] * anchor[1, 0] + turn[i, 1] * anchor[1, 1] + turn[i, 2] * anchor[1, 2]
                    facing += along * (view[0, i] * x + view[1, i] * y + view[2, i] * z)
                if facing < 0.0:
                    occluded[camera, point, frame] = is_hidden(
                        body, z, u, v, count, shape, lens, width, scratch
                    )
