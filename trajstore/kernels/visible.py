"""What the centres of pixels see: the nearest body, or none."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.poses import (
    BOTTOM,
    IS_CROSSED,
    IS_SHARED,
    LEFT,
    RIGHT,
    TOP,
    WHOLE,
    Scratch,
    pose_bodies,
)
from trajstore.kernels.silhouettes import cross_body, find_depth


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
    light = scratch.light
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
