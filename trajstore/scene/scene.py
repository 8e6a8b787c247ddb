"""The scene of some rows: cameras, motion and looks put together into label columns and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.cameras import observe
from trajstore.kernels.raster import SCANLINES, render
from trajstore.scene.appearance import choose_looks
from trajstore.scene.cameras import Rig, place_cameras
from trajstore.scene.motion import trace_paths
from trajstore.scene.order import class_labels, splits
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

        Spheres that do not touch are parted by a plane, from whose points the tangents to both are equally long. The
        sphere with the shorter tangents is on the camera's side of it: so this order is right even where that of the
        centres' depths is not, with a large sphere beside a small one or in the corner of a picture.
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


def make_scene(spec: DatasetSpec, rows: range) -> Scene:
    """Everything about some rows but their pixels, which `Scene.draw` makes: a pure function of (spec, rows)."""
    seed, video = spec.dataset.seed, spec.video
    order = {"first": rows.start, "count": len(rows), "classes": len(spec.dataset.classes)}
    label = class_labels(seed, **order)
    split = splits(seed, **order, shares=(spec.splits.train, spec.splits.val, spec.splits.test))
    radius, object_color, background_color = choose_looks(spec, rows)
    path = trace_paths(spec, rows, label=label, radius=radius).astype(np.float32)
    position = np.ascontiguousarray(path[:, : video.frames])

    rig = place_cameras(spec)
    seen = (len(rows), video.cameras, video.frames)
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
