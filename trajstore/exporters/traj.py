"""The labels of pt's layout traj: those of training code that reads ``labels/traj_NNNNN.json``."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from trajstore.exporters.records import Label, Point, Record, Split
from trajstore.spec import DatasetSpec

Size = Annotated[int, Field(ge=1)]


class TrajLabel(Record):
    """The label of one sample, `labels/traj_NNNNN.json`, where NNNNN is its row in the store, counted from 0."""

    model_config = ConfigDict(populate_by_name=True)

    class_name: str = Field(alias="class", description="Name of the trajectory class.")

    num_frames: Size
    """Frames of the tensor."""

    resolution: tuple[Size, Size]
    """Height and width of a frame, px."""

    num_cameras: Size
    """Cameras: trajstore writes 1, whose tensor is frames × 3 × height × width."""

    positions: tuple[Point, ...]
    """Centre of the target at each seen frame, frames × [x, y, z], z up, world units: `positions[-1]` is the last seen
    frame and no future one; what is to be predicted is `future_position`."""

    camera_positions: tuple[Point, ...] | tuple[tuple[Point, ...], ...]
    """Where the camera stands, cameras × [x, y, z], z up, world units; cameras × frames × [x, y, z] where it moves."""

    future_position: Point | None = None
    """Centre of the target after the last seen frame, [x, y, z], z up, world units."""

    split: Split | None = None
    """Which part of the dataset the sample belongs to."""

    def to_json(self) -> bytes:
        """The content of the label's file."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"


def make_traj_label(label: Label, spec: DatasetSpec, cameras: tuple[int, ...] | None) -> TrajLabel:
    """Make the label of a sample from the other layout's, which is of the same cameras of the store; None for all."""
    video = spec.video
    static = label.extrinsics is None
    transforms = _place_static(spec, cameras) if static else np.array(label.extrinsics)
    return TrajLabel.model_validate(
        {
            "class_name": label.class_name,
            "num_frames": video.frames,
            "resolution": (video.height, video.width),
            "num_cameras": len(transforms),
            "positions": label.positions,
            "camera_positions": find_centers(transforms).tolist(),
            "future_position": label.future_position,
            "split": label.split,
        },
        strict=False,
    )


def find_centers(extrinsics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where cameras stand (..., 3), world units, by their world-to-camera transforms (..., 3, 4): −Rᵀt."""
    rotation, translation = extrinsics[..., :3], extrinsics[..., 3:]
    # 0 − x, so that no zero is negative; summed one after the other, so that the bits are the same everywhere
    first, second, third = np.moveaxis(rotation * translation, -2, 0)
    centers: NDArray[np.float64] = 0.0 - (first + second + third)
    return centers


def _place_static(spec: DatasetSpec, cameras: tuple[int, ...] | None) -> NDArray[np.float64]:
    """The transforms (cameras, 3, 4) of cameras that are the same in all samples."""
    from trajstore.scene.cameras import place_cameras  # imports numba

    extrinsics = place_cameras(spec).static("extrinsics")
    return extrinsics if cameras is None else extrinsics[list(cameras)]
