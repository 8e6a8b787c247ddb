"""From rows to what they hold: label columns, and what the rasterizer needs to draw them.

The one place that knows specs and kernels both. Everything here is a pure function of (spec, rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.cameras import observe
from trajstore.kernels.raster import SCANLINES, render
from trajstore.scene.appearance import choose_colors
from trajstore.scene.cameras import Rig, place_cameras
from trajstore.scene.motion import place_shapes, trace_shapes
from trajstore.scene.order import class_labels, splits
from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DatasetSpec


@dataclass(frozen=True)
class Scene:
    """A range of rows: all their labels, and what it takes to draw them.

    Attributes
    ----------
    center_camera : (n, cameras, frames, bodies, 3) float64
        Centres of the spheres in each camera's frame, world units.
    radius : (n, bodies) float64
        World units.
    color : (n, bodies, 3) uint8
        RGB at full brightness.
    """

    columns: Mapping[str, NDArray[Any]]
    center_camera: NDArray[np.float64]
    radius: NDArray[np.float64]
    color: NDArray[np.uint8]
    rig: Rig
    ambient: float

    @cached_property
    def drawing_order(self) -> NDArray[np.intp]:
        """Indices of the bodies (n, cameras, frames, bodies), farthest first.

        A plane parts two spheres that do not touch: the points from which both have tangents of one length. Whoever
        has the shorter tangents is on the viewer's side of it, so this order is right where that of the centres'
        depths fails, with a large sphere beside a small one.
        """
        x, y, z = np.moveaxis(self.center_camera, -1, 0)
        radius = self.radius[:, None, None]
        tangent_square = x * x + y * y + z * z - radius * radius
        return np.argsort(-tangent_square, axis=-1, kind="stable")

    def draw(self, index: int, cameras: slice, frames: slice, out: NDArray[np.uint8]) -> None:
        """Draw some cameras and frames of one row.

        Parameters
        ----------
        out : (cameras, frames, 3, height, width) uint8
            The pictures; every pixel is written.
        """
        render(
            self.center_camera[index, cameras, frames],
            self.radius[index],
            self.color[index],
            self.drawing_order[index, cameras, frames],
            self.columns["background_color"][index],
            self.rig.intrinsics[cameras],
            self.rig.light_camera[cameras],
            self.ambient,
            np.empty((SCANLINES, 2)),
            out,
        )


def describe(spec: DatasetSpec, rows: range) -> Scene:
    """Everything about a range of rows but their pixels."""
    seed, names, video = spec.dataset.seed, spec.dataset.classes, spec.video
    first, count = rows.start, len(rows)
    label = class_labels(seed, first=first, count=count, classes=len(names))
    shares = (spec.splits.train, spec.splits.val, spec.splits.test)
    split = splits(seed, first=first, count=count, classes=len(names), shares=shares)
    look = uniforms(seed, Stream.APPEARANCE, first=first, count=count, width=8)
    radius = (spec.scene.radius[0] + (spec.scene.radius[1] - spec.scene.radius[0]) * look[:, 0]).astype(
        np.float32
    )
    object_color, background_color = choose_colors(spec, look)

    shape = trace_shapes(spec, label, first)
    path = place_shapes(spec, shape, first, radius=radius.astype(np.float64)).astype(np.float32)
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
    return Scene(
        columns=columns,
        center_camera=center_camera[:, :, :, None],
        radius=radius[:, None].astype(np.float64),
        color=object_color[:, None],
        rig=rig,
        ambient=spec.render.ambient,
    )
