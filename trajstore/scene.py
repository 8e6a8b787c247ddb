"""From rows to what they hold: label columns, and what the rasterizer needs to draw them.

The one place that knows specs and kernels both. Everything here is a pure function of (spec, rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.cameras import observe
from trajstore.kernels.raster import SCANLINES, render
from trajstore.portable import norm, rotate, sin_cos_turns
from trajstore.sampling import Stream, class_labels, splits, uniforms
from trajstore.spec import DARK_OBJECT_MAX, STRONGEST_CHANNEL_MIN, DatasetSpec
from trajstore.trajectories import FAMILIES, SHAPE_UNIFORMS

INSIDE = 1.0 - 1e-6
"""Paths are fitted into a ball this much smaller than the unit ball, so that rounding to float32 keeps them in it."""


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


@dataclass(frozen=True)
class Scene:
    """A range of rows: all their labels, and what it takes to draw them.

    Attributes
    ----------
    columns : mapping
        The label columns by name, each with ``len(rows)`` rows.
    center_camera : (n, cameras, frames, 3) float64
        Centres of the spheres in each camera's frame, world units.
    rig : Rig
        The cameras.
    ambient : float
        See `trajstore.spec.RenderSection`.
    """

    columns: Mapping[str, NDArray[Any]]
    center_camera: NDArray[np.float64]
    rig: Rig
    ambient: float

    def draw(self, index: int, cameras: slice, frames: slice, out: NDArray[np.uint8]) -> None:
        """Draw some cameras and frames of one row.

        Parameters
        ----------
        index : int
            The row, counted from the first of this range.
        cameras, frames : slice
            What to draw, by array index.
        out : (cameras, frames, 3, height, width) uint8
            The pictures; every pixel is written.
        """
        columns = self.columns
        render(
            self.center_camera[index, cameras, frames],
            float(columns["radius"][index]),
            self.rig.intrinsics[cameras],
            self.rig.light_camera[cameras],
            self.ambient,
            columns["object_color"][index],
            columns["background_color"][index],
            np.empty((SCANLINES, 2)),
            out,
        )


def place_cameras(spec: DatasetSpec) -> Rig:
    """Cameras evenly around the z axis, looking at the origin, each seeing the whole unit ball.

    Parameters
    ----------
    spec : DatasetSpec
        Number, distance, elevation and size of the cameras.

    Returns
    -------
    Rig
        The cameras and the light.
    """
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


def describe(spec: DatasetSpec, rows: range) -> Scene:
    """Everything about a range of rows but their pixels.

    Parameters
    ----------
    spec : DatasetSpec
        The dataset.
    rows : range
        A contiguous, non-empty range of rows.

    Returns
    -------
    Scene
        Labels, and what it takes to draw.
    """
    seed, names, video = spec.dataset.seed, spec.dataset.classes, spec.video
    first, count = rows.start, len(rows)
    label = class_labels(seed, first=first, count=count, classes=len(names))
    shares = (spec.splits.train, spec.splits.val, spec.splits.test)
    split = splits(seed, first=first, count=count, classes=len(names), shares=shares)
    look = uniforms(seed, Stream.APPEARANCE, first=first, count=count, width=8)
    radius = (spec.scene.radius[0] + (spec.scene.radius[1] - spec.scene.radius[0]) * look[:, 0]).astype(
        np.float32
    )
    object_color, background_color = _choose_colors(spec, look)

    shape = _trace_shapes(spec, label, first)
    path = _place_shapes(spec, shape, first, radius=radius.astype(np.float64)).astype(np.float32)
    position = np.ascontiguousarray(path[:, : video.frames])

    rig = place_cameras(spec)
    seen = (count, video.cameras, video.frames)
    center_camera = np.empty((*seen, 3))
    pixel = np.empty((*seen, 2), np.float32)
    box = np.empty((*seen, 4), np.float32)
    observe(position, radius, rig.intrinsics, rig.extrinsics, center_camera, pixel, box)
    columns: dict[str, NDArray[Any]] = {
        "class_label": label,
        "split": split,
        "position": position,
        "future_position": np.ascontiguousarray(path[:, -1]),
        "pixel": pixel,
        "depth": center_camera[..., 2].astype(np.float32),
        "box": box,
        "radius": radius,
        "object_color": object_color,
        "background_color": background_color,
    }
    return Scene(columns=columns, center_camera=center_camera, rig=rig, ambient=spec.render.ambient)


def _trace_shapes(spec: DatasetSpec, label: NDArray[np.int8], first: int) -> NDArray[np.float64]:
    """Shapes of the paths, (n, frames + horizon, 3): every frame from the first to the future one."""
    video = spec.video
    # all frames up to the future one, because the sphere must stay in the unit ball in between, too
    times = np.arange(video.frames + video.horizon) / max(video.frames - 1, 1)
    table = uniforms(spec.dataset.seed, Stream.SHAPE, first=first, count=len(label), width=SHAPE_UNIFORMS)
    shape = np.empty((len(label), len(times), 3))
    for index, name in enumerate(spec.dataset.classes):
        is_class = label == index
        shape[is_class] = FAMILIES[name](table[is_class], times)
    return shape


def _place_shapes(
    spec: DatasetSpec, shape: NDArray[np.float64], first: int, *, radius: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn, scale and move each shape so that its sphere stays inside the unit ball."""
    table = uniforms(spec.dataset.seed, Stream.PLACEMENT, first=first, count=len(shape), width=8)
    low, high = spec.scene.size

    middle = (shape.min(axis=1) + shape.max(axis=1)) / 2.0
    centered = shape - middle[:, None]
    extent = norm(centered).max(axis=1)
    room = (1.0 - radius) * INSIDE
    size = (low + (high - low) * table[:, 3]) * room
    scaled = centered * (size / extent)[:, None, None]

    height = 2.0 * table[:, 4] - 1.0
    sine, cosine = sin_cos_turns(table[:, 5])
    across = np.sqrt(1.0 - height * height)
    direction = np.stack([across * cosine, across * sine, height], axis=-1)
    offset = direction * ((room - size) * np.maximum(table[:, 6], table[:, 7]))[:, None]
    return rotate(_random_rotations(table[:, :3])[:, None], scaled) + offset[:, None]


def _random_rotations(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices (n, 3, 3), uniform over all rotations, from (n, 3) uniforms.

    References: Shoemake, "Uniform random rotations", Graphics Gems III, 1992.
    """
    sine_a, cosine_a = sin_cos_turns(table[:, 1])
    sine_b, cosine_b = sin_cos_turns(table[:, 2])
    short, long = np.sqrt(1.0 - table[:, 0]), np.sqrt(table[:, 0])
    x, y, z, w = short * sine_a, short * cosine_a, long * sine_b, long * cosine_b
    matrix = np.empty((len(table), 3, 3))
    matrix[:, 0, 0] = 1.0 - 2.0 * (y * y + z * z)
    matrix[:, 0, 1] = 2.0 * (x * y - z * w)
    matrix[:, 0, 2] = 2.0 * (x * z + y * w)
    matrix[:, 1, 0] = 2.0 * (x * y + z * w)
    matrix[:, 1, 1] = 1.0 - 2.0 * (x * x + z * z)
    matrix[:, 1, 2] = 2.0 * (y * z - x * w)
    matrix[:, 2, 0] = 2.0 * (x * z - y * w)
    matrix[:, 2, 1] = 2.0 * (y * z + x * w)
    matrix[:, 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    return matrix


def _choose_colors(
    spec: DatasetSpec, look: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Object and background colours (n, 3): bright on dark or dark on bright, with the spec's contrast kept."""
    contrast = spec.render.contrast
    dark_max = floor(STRONGEST_CHANNEL_MIN * 255 * spec.render.ambient) - contrast
    bright_min = max(DARK_OBJECT_MAX + contrast, 180)
    is_dark = look[:, 1, None] < 0.5

    hue = look[:, 2, None] * 6.0 + np.array([0.0, 4.0, 2.0])
    pure = np.clip(np.abs(np.mod(hue, 6.0) - 3.0) - 1.0, 0.0, 1.0)
    saturation = 0.4 + 0.6 * look[:, 3, None]
    strongest = np.where(
        is_dark,
        255.0 * (STRONGEST_CHANNEL_MIN + (1.0 - STRONGEST_CHANNEL_MIN) * look[:, 4, None]),
        DARK_OBJECT_MAX * (0.6 + 0.4 * look[:, 4, None]),
    )
    object_color = np.ceil(strongest * (1.0 - saturation * (1.0 - pure)))
    object_color = np.where(is_dark, object_color, np.minimum(object_color, DARK_OBJECT_MAX))
    background = np.where(
        is_dark, np.floor(dark_max * look[:, 5:]), np.ceil(bright_min + (255.0 - bright_min) * look[:, 5:])
    )
    return object_color.astype(np.uint8), background.astype(np.uint8)
