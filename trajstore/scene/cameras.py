"""Where the cameras and the light stand, and how the cameras are calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.portable import norm, rotate, sin_cos_turns
from trajstore.spec import DatasetSpec


@dataclass(frozen=True)
class Rig:
    """The calibrated cameras and the light.

    Attributes
    ----------
    intrinsics : (cameras, 3, 3) float64
        ``K``, px.
    extrinsics : (cameras, 3, 4) float64
        ``[R | t]``, world to camera, world units.
    light_camera : (cameras, 3) float64
        Unit vector towards the light in each camera's frame.
    """

    intrinsics: NDArray[np.float64]
    extrinsics: NDArray[np.float64]
    light_camera: NDArray[np.float64]


def place_cameras(spec: DatasetSpec) -> Rig:
    """Cameras evenly around the z axis, looking at the origin, each seeing the whole unit ball."""
    video, camera = spec.video, spec.camera
    azimuth = camera.azimuth / 360.0 + np.arange(video.cameras) / video.cameras
    sine, cosine = sin_cos_turns(azimuth)
    sine_up, cosine_up = (float(x) for x in sin_cos_turns(np.array(camera.elevation / 360.0)))
    zero = np.zeros(video.cameras)
    right = np.stack([-sine, cosine, zero], axis=-1)
    down = np.stack([sine_up * cosine, sine_up * sine, zero - cosine_up], axis=-1)
    forward = np.stack([-cosine_up * cosine, -cosine_up * sine, zero - sine_up], axis=-1)

    extrinsics = np.zeros((video.cameras, 3, 4))
    extrinsics[:, :, :3] = np.stack([right, down, forward], axis=1)
    extrinsics[:, 2, 3] = camera.distance

    half_px = min(video.height, video.width) / 2.0 * (1.0 - camera.margin)
    intrinsics = np.zeros((video.cameras, 3, 3))
    # the unit ball's silhouette ends where a tangent leaves the axis by 1 / √(distance² − 1)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = half_px * np.sqrt(camera.distance * camera.distance - 1.0)
    intrinsics[:, :, 2] = (video.width / 2.0, video.height / 2.0, 1.0)

    light = np.array(spec.render.light)
    return Rig(
        intrinsics=intrinsics,
        extrinsics=extrinsics,
        light_camera=rotate(extrinsics[:, :, :3], light / norm(light)),
    )
