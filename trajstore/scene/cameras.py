"""Where the cameras and the light stand, how they move, and how the cameras are calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.portable import cross, norm, rotate, sin_cos_turns
from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import CameraSection, DatasetSpec


@dataclass(frozen=True)
class Rig:
    """The calibrated cameras and the light of some rows.

    An axis of size 1 stands for all: of rows where nothing is drawn by row, of moments where nothing moves.

    Attributes
    ----------
    intrinsics : (cameras, 3, 3) float64
        ``K``, px.
    extrinsics : (n or 1, cameras, moments or 1, 3, 4) float64
        ``[R | t]``, world to camera, world units.
    light : (n or 1, 3) float64
        Unit vector towards the light in the world.
    """

    intrinsics: NDArray[np.float64]
    extrinsics: NDArray[np.float64]
    light: NDArray[np.float64]

    @cached_property
    def light_camera(self) -> NDArray[np.float64]:
        """Unit vector (cameras, 3) towards the light in each camera's frame, where neither is drawn by row or moves."""
        return rotate(self.extrinsics[0, :, 0, :, :3], self.light[0])

    def static(self, name: str) -> NDArray[np.float64]:
        """An array of the cameras that is the same in all rows and at all moments, without their axes."""
        values: NDArray[np.float64] = (
            self.extrinsics[0, :, 0] if name == "extrinsics" else getattr(self, name)
        )
        return values


def place_cameras(
    spec: DatasetSpec, rows: range = range(1), moments: NDArray[np.float64] | None = None
) -> Rig:
    """Cameras evenly around the z axis, looking at the origin, each of which sees the whole unit ball.

    That is: with a margin of 0 or more; and as evenly as the spec's jitter leaves them.

    Parameters
    ----------
    rows : range
        Rows of the dataset; the cameras and the light of a row may depend on it.
    moments : (n or 1, moments) float64
        When cameras that move are wanted, in frames from the first one; by default at every frame.
    """
    camera = spec.camera
    if moments is None:
        moments = np.arange(spec.video.frames, dtype=np.float64)[None]
    extrinsics = _stand(spec, np.zeros((1, 4, 1)))
    if camera.is_jittered or camera.is_moving:
        # by row: the orbit and three to spare, then four for each camera
        width = 4 * (1 + spec.video.cameras)
        table = uniforms(
            spec.dataset.seed, Stream.CAMERAS, first=rows.start, count=len(rows), width=width
        ).reshape(len(rows), -1, 4)
        if camera.is_jittered:
            extrinsics = _stand(spec, 2.0 * table[:, 1:].swapaxes(1, 2) - 1.0)
        if camera.is_moving:
            extrinsics = _orbit(spec, extrinsics, table[:, 0, 0], moments)
    return Rig(intrinsics=_calibrate(spec), extrinsics=extrinsics, light=_light(spec, rows))


def is_in_view(box: NDArray[Any], height: int, width: int) -> NDArray[np.bool_]:
    """Whether any of a silhouette's box (..., 4) in px lies inside the picture; a box of NaN does not."""
    u_min, v_min, u_max, v_max = np.moveaxis(box, -1, 0)
    seen: NDArray[np.bool_] = (u_min < width) & (u_max > 0) & (v_min < height) & (v_max > 0)
    return seen


def _calibrate(spec: DatasetSpec) -> NDArray[np.float64]:
    """The intrinsics (cameras, 3, 3), the same for all cameras."""
    video, camera = spec.video, spec.camera
    half_px = min(video.height, video.width) / 2.0 * (1.0 - camera.margin)
    nearest = _nearest(camera)
    intrinsics = np.zeros((video.cameras, 3, 3))
    # the unit ball's silhouette ends where a tangent leaves the axis by 1 / √(distance² − 1)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = half_px * np.sqrt(nearest * nearest - 1.0)
    intrinsics[:, :, 2] = (video.width / 2.0, video.height / 2.0, 1.0)
    return intrinsics


def _nearest(camera: CameraSection) -> float:
    """The least distance of a camera from the origin that may come."""
    return camera.distance * (1.0 - camera.distance_jitter)


def _stand(spec: DatasetSpec, departure: NDArray[np.float64]) -> NDArray[np.float64]:
    """The extrinsics (n, cameras, 1, 3, 4) at the first frame.

    The departures (n, 4, cameras) of azimuth, elevation, distance and roll are from −1 to 1 times what may come.
    """
    video, camera = spec.video, spec.camera
    azimuth = camera.azimuth / 360.0 + np.arange(video.cameras) / video.cameras
    sine, cosine = sin_cos_turns(azimuth + departure[:, 0] * (camera.azimuth_jitter / 360.0))
    elevation = camera.elevation / 360.0 + departure[:, 1] * (camera.elevation_jitter / 360.0)
    sine_up, cosine_up = (np.broadcast_to(x, sine.shape) for x in sin_cos_turns(elevation))
    right = np.stack([-sine, cosine, np.zeros_like(sine)], axis=-1)
    down = np.stack([sine_up * cosine, sine_up * sine, 0.0 - cosine_up], axis=-1)
    forward = np.stack([-cosine_up * cosine, -cosine_up * sine, 0.0 - sine_up], axis=-1)
    if camera.roll_jitter:  # a roll of 0 would turn −0 into 0
        sine, cosine = (x[..., None] for x in sin_cos_turns(departure[:, 3] * (camera.roll_jitter / 360.0)))
        right, down = cosine * right + sine * down, cosine * down - sine * right

    extrinsics = np.zeros((*right.shape[:2], 1, 3, 4))
    extrinsics[:, :, 0, :, :3] = np.stack([right, down, forward], axis=2)
    extrinsics[:, :, 0, 2, 3] = camera.distance * (1.0 + departure[:, 2] * camera.distance_jitter)
    return extrinsics


def _orbit(
    spec: DatasetSpec,
    extrinsics: NDArray[np.float64],
    share: NDArray[np.float64],
    moments: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The extrinsics (n, cameras, moments, 3, 4) of cameras on their way around the z axis."""
    least, most = spec.camera.orbit
    turns = (least + (most - least) * share) / 360.0
    sine, cosine = sin_cos_turns(turns[:, None] * (moments / max(spec.video.frames - 1, 1)))
    sine, cosine = sine[:, None, :, None], cosine[:, None, :, None]
    # to a camera that goes one way the world turns the other way
    along_x, along_y = extrinsics[..., 0], extrinsics[..., 1]
    moved = np.empty((len(sine), extrinsics.shape[1], sine.shape[2], 3, 4))
    moved[..., 0] = cosine * along_x - sine * along_y
    moved[..., 1] = sine * along_x + cosine * along_y
    moved[..., 2:] = extrinsics[..., 2:]
    return moved


def _light(spec: DatasetSpec, rows: range) -> NDArray[np.float64]:
    """Unit vectors (n or 1, 3) towards the light, uniform over the cap that the jitter leaves around the spec's."""
    light = np.array(spec.render.light)[None]
    middle = light / norm(light)[:, None]
    if not spec.render.light_jitter:
        return middle
    table = uniforms(spec.dataset.seed, Stream.LIGHT, first=rows.start, count=len(rows), width=4)
    half_sine, _ = sin_cos_turns(np.array(spec.render.light_jitter / 720.0))
    # the height of a point above the cap's rim is uniform; 1 − cos x = 2 sin² x/2 keeps the digits of small angles
    drop = (2.0 * half_sine * half_sine * table[:, 0])[:, None]
    sine, cosine = (x[:, None] for x in sin_cos_turns(table[:, 1]))
    across = np.eye(3)[np.argmin(np.abs(middle))]
    across = cross(middle, across[None])
    across = across / norm(across)[:, None]
    aside = cosine * across + sine * cross(middle, across)
    return (1.0 - drop) * middle + np.sqrt(drop * (2.0 - drop)) * aside
