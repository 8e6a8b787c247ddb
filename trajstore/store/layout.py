"""The plan of a store, from a spec alone. A new column group is a module in `groups` and a line in `GROUPS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trajstore.spec import DatasetSpec
from trajstore.store.columns import Column, ColumnGroup, Layout
from trajstore.store.groups.labels import define_labels
from trajstore.store.groups.video import define_video

FORMAT_VERSION: Final = 1
"""Raised whenever stores are laid out in another way."""

FRAMES: Final = "video"
"""The array of the frames: what is read where no other is named."""

GROUPS: Final[list[Callable[[DatasetSpec], ColumnGroup]]] = [define_labels, define_video]
"""What defines each column group, in the order in which they are filled."""


def plan_layout(spec: DatasetSpec) -> Layout:
    """Lay out the store that a spec describes."""
    return Layout(groups=tuple(define(spec) for define in GROUPS), static=_define_cameras(spec))


def _define_cameras(spec: DatasetSpec) -> tuple[Column, ...]:
    """The calibration of the cameras: each array in a single chunk, named as in `trajstore.scene.cameras.Rig`."""
    shapes = {"intrinsics": (spec.video.cameras, 3, 3), "extrinsics": (spec.video.cameras, 3, 4)}
    dims = {"intrinsics": "column", "extrinsics": "column_homogeneous"}
    attributes = {
        "intrinsics": {
            "long_name": "camera matrix K",
            "units": "px",
            "comment": "pixel centres at half-integers",
        },
        "extrinsics": {
            "long_name": "world-to-camera transform [R|t]",
            "units": "world units",
            "comment": "OpenCV: x right, y down, z forward",
        },
    }
    return tuple(
        Column(name, ("camera", "row", dims[name]), shape, shape, "float64", float("nan"), attributes[name])
        for name, shape in shapes.items()
    )
