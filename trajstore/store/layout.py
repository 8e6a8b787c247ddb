"""The plan of a store, from a spec alone. A new column group is a module in `groups` and a line in `GROUPS`.

Annotations are column groups, too: those that the spec names follow the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from typing import Final

from trajstore.spec import DatasetSpec
from trajstore.store.columns import Column, ColumnGroup, Layout
from trajstore.store.groups.annotations import define_annotations
from trajstore.store.groups.labels import EXTRINSICS_DIMS, EXTRINSICS_TEXTS, define_labels
from trajstore.store.groups.video import define_video

FORMAT_VERSION: Final = 1
"""Raised whenever stores are laid out in another way."""

FRAMES: Final = "video"
"""The array of the frames: what is read where no other is named."""

GROUPS: Final[list[Callable[[DatasetSpec], ColumnGroup]]] = [define_labels, define_video]
"""What defines each column group that every store has, in the order in which they are filled."""


def plan_layout(spec: DatasetSpec) -> Layout:
    """Lay out the store that a spec describes."""
    groups = (*(define(spec) for define in GROUPS), *define_annotations(spec))
    return Layout(groups, static=_define_cameras(spec))


def _define_cameras(spec: DatasetSpec) -> tuple[Column, ...]:
    """The calibration of the cameras: each array in a single chunk, named as in `trajstore.scene.cameras.Rig`.

    The extrinsics are a label where the cameras stand elsewhere in each row, or move.
    """
    cameras = spec.video.cameras

    def column(name: str, dims: Mapping[str, int], long_name: str, units: str, comment: str) -> Column:
        shape = (cameras, *dims.values())
        attributes = {"long_name": long_name, "units": units, "comment": comment}
        return Column(name, ("camera", *dims), shape, shape, "float64", nan, attributes)

    intrinsics = column(
        "intrinsics", {"row": 3, "column": 3}, "camera matrix K", "px", "pixel centres at half-integers"
    )
    if spec.camera.is_jittered or spec.camera.is_moving:
        return (intrinsics,)
    return (intrinsics, column("extrinsics", EXTRINSICS_DIMS, **EXTRINSICS_TEXTS))
