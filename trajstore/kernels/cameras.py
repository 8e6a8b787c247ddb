"""Pinhole cameras: points and bodies in the world to pixels, depths and silhouette boxes.

OpenCV's convention: x right, y down, z forward; pixel centres at half-integers, origin at the top left corner.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.shapes import SPHERE, bound_solid


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
def locate(position: NDArray[np.float32], extrinsics: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """A path in the frames of all cameras.

    Parameters
    ----------
    position : (frames, 3) float32
        World units.
    extrinsics : (cameras, frames or 1, 3, 4) float64
        ``[R | t]``, world to camera.
    out : (cameras, frames, 3) float64
        World units.
    """
    for camera in range(out.shape[0]):
        for frame in range(out.shape[1]):
            pose = extrinsics[camera, min(frame, extrinsics.shape[1] - 1)]
            transform_point(position[frame], pose, out[camera, frame])


@kernel
def observe(
    position: NDArray[np.float32],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float32],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    center: NDArray[np.float64],
    pixel: NDArray[np.float32],
    depth: NDArray[np.float32],
    box: NDArray[np.float32],
) -> None:
    """See every body with every camera at every frame.

    Parameters
    ----------
    position : (n, bodies, frames, 3) float32
        Centres of the spheres that enclose the bodies, world units.
    rotation : (n or 1, bodies or 1, frames or 1, 3, 3) float64
        Body to world; an axis of size 1 stands for all, here and below.
    is_present : (n or 1, bodies, frames or 1) bool
        Whether a body is there; where not, its pixel, depth and box are NaN.
    radius : (n, bodies) float32
        Of the spheres that enclose the bodies, world units.
    shape : (n, bodies) uint8
        Codes of `trajstore.kernels.shapes`.
    intrinsics : (cameras, 3, 3) float64
        ``K``, px.
    extrinsics : (n or 1, cameras, frames or 1, 3, 4) float64
        ``[R | t]``, world to camera.
    center : (3,) float64
        Scratch.
    pixel : (n, bodies, cameras, frames, 2) float32
        Out: projected centres, px.
    depth : (n, bodies, cameras, frames) float32
        Out: z of the centres in the camera's frame, world units.
    box : (n, bodies, cameras, frames, 4) float32
        Out: boxes of the exact silhouettes, px.
    """
    bodies, frames = position.shape[1], position.shape[2]
    for n in range(position.shape[0]):
        for body in range(bodies):
            for camera in range(intrinsics.shape[0]):
                for frame in range(frames):
                    pose = extrinsics[
                        min(n, extrinsics.shape[0] - 1), camera, min(frame, extrinsics.shape[2] - 1)
                    ]
                    transform_point(position[n, body, frame], pose, center)
                    place = (n, body, camera, frame)
                    if not is_present[
                        min(n, is_present.shape[0] - 1), body, min(frame, is_present.shape[2] - 1)
                    ]:
                        pixel[place][:] = np.nan
                        depth[place] = np.nan
                        box[place][:] = np.nan
                        continue
                    project_point(center, intrinsics[camera], pixel[place])
                    depth[place] = center[2]
                    if shape[n, body] == SPHERE:
                        bound_silhouette(center, radius[n, body], intrinsics[camera], box[place])
                    else:
                        turn = rotation[
                            min(n, rotation.shape[0] - 1),
                            min(body, rotation.shape[1] - 1),
                            min(frame, rotation.shape[2] - 1),
                        ]
                        bound_solid(
                            center,
                            turn,
                            pose,
                            float(radius[n, body]),
                            shape[n, body],
                            intrinsics[camera],
                            box[place],
                        )
