"""Pinhole cameras: points and spheres in the world to pixels, depths and silhouette boxes.

OpenCV's convention: x right, y down, z forward; pixel centres at half-integers, origin at the top left corner.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel


@kernel
def transform_point(
    point_world: NDArray[np.float32], extrinsics: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """World to camera, ``R x + t``.

    Parameters
    ----------
    point_world : (3,) float32 or float64
        World units.
    extrinsics : (3, 4) float64
        ``[R | t]``, world to camera.
    out : (3,) float64
        The point in the camera's frame, world units.
    """
    x, y, z = float(point_world[0]), float(point_world[1]), float(point_world[2])
    for i in range(3):
        out[i] = extrinsics[i, 0] * x + extrinsics[i, 1] * y + extrinsics[i, 2] * z + extrinsics[i, 3]


@kernel
def project_point(
    point_camera: NDArray[np.float64], intrinsics: NDArray[np.float64], out: NDArray[np.float32]
) -> None:
    """Camera frame to pixels.

    Parameters
    ----------
    point_camera : (3,) float64
        World units, z > 0.
    intrinsics : (3, 3) float64
        ``K`` without skew, px.
    out : (2,) float32
        (u, v) in px.
    """
    out[0] = intrinsics[0, 0] * point_camera[0] / point_camera[2] + intrinsics[0, 2]
    out[1] = intrinsics[1, 1] * point_camera[1] / point_camera[2] + intrinsics[1, 2]


@kernel
def bound_silhouette(
    center_camera: NDArray[np.float64],
    radius: float,
    intrinsics: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Box of a sphere's exact silhouette, which is an ellipse.

    Parameters
    ----------
    center_camera : (3,) float64
        The sphere's centre in the camera's frame, world units, z > radius.
    radius : float32 or float64
        World units.
    intrinsics : (3, 3) float64
        ``K`` without skew, px.
    out : (4,) float32 or float64
        (u_min, v_min, u_max, v_max) in px.

    Notes
    -----
    The tangents from the camera to the circle that the sphere cuts in the x–z plane bound u, those in the y–z plane
    bound v.
    """
    z = center_camera[2]
    # a float32 is squared as one, compiled or not: so the boxes of stored rows were computed
    gap = z * z - np.float64(radius * radius)
    for axis in range(2):
        along = center_camera[axis]
        reach = np.float64(radius) * sqrt(along * along + gap)
        focal_px, principal_px = intrinsics[axis, axis], intrinsics[axis, 2]
        out[axis] = focal_px * ((along * z - reach) / gap) + principal_px
        out[axis + 2] = focal_px * ((along * z + reach) / gap) + principal_px


@kernel
def observe(
    position: NDArray[np.float32],
    radius: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    point_camera: NDArray[np.float64],
    pixel: NDArray[np.float32],
    box: NDArray[np.float32],
) -> None:
    """See every sphere with every camera at every frame.

    Parameters
    ----------
    position : (n, frames, 3) float32
        Centres of the spheres, world units.
    radius : (n,) float32
        World units.
    intrinsics : (cameras, 3, 3) float64
        ``K``, px.
    extrinsics : (cameras, 3, 4) float64
        ``[R | t]``, world to camera.
    point_camera : (n, cameras, frames, 3) float64
        Out: centres in the camera's frame, world units.
    pixel : (n, cameras, frames, 2) float32
        Out: projected centres, px.
    box : (n, cameras, frames, 4) float32
        Out: boxes of the silhouettes, px.
    """
    for n in range(position.shape[0]):
        for camera in range(intrinsics.shape[0]):
            for frame in range(position.shape[1]):
                center_camera = point_camera[n, camera, frame]
                transform_point(position[n, frame], extrinsics[camera], center_camera)
                project_point(center_camera, intrinsics[camera], pixel[n, camera, frame])
                bound_silhouette(center_camera, radius[n], intrinsics[camera], box[n, camera, frame])
