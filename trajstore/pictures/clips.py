"""Samples as somebody looks at them: pictures, labels and cameras of one row together, as they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.reading.samples import Samples
from trajstore.scene.order import SPLIT_NAMES

Color = tuple[int, int, int]

LABELS: Final = (
    "class_label", "split", "radius", "object_color", "background_color",
    "position", "pixel", "box", "future_position",
)  # fmt: skip
"""What is read of a row besides its frames."""


@dataclass(frozen=True)
class Cameras:
    """Calibrated cameras.

    Attributes
    ----------
    intrinsics : (cameras, 3, 3) float64
        ``K``, px.
    extrinsics : (cameras, 3, 4) float64
        ``[R | t]``, world to camera, world units.
    """

    numbers: tuple[int, ...]
    intrinsics: NDArray[np.float64]
    extrinsics: NDArray[np.float64]
    height: int
    width: int

    def project(self, point_world: NDArray[np.float32]) -> NDArray[np.float64]:
        """Where a point of the world appears, (cameras, 2), px: pixel centres at half-integers, origin top left."""
        point_camera = self.extrinsics[:, :, :3] @ point_world + self.extrinsics[:, :, 3]
        homogeneous = np.einsum("cij,cj->ci", self.intrinsics, point_camera)
        pixel: NDArray[np.float64] = homogeneous[:, :2] / homogeneous[:, 2:]
        return pixel

    def centers(self) -> NDArray[np.float64]:
        """Where the cameras stand, (cameras, 3), world units."""
        return self._to_world(np.zeros((len(self.numbers), 1, 3)))[:, 0]

    def corners(self, depth: float) -> NDArray[np.float64]:
        """What the corners of the pictures look at, (cameras, 4, 3), world units, clockwise from the top left."""
        w, h = float(self.width), float(self.height)
        pixel = np.array([[0.0, 0.0, 1.0], [w, 0.0, 1.0], [w, h, 1.0], [0.0, h, 1.0]])
        return self._to_world(depth * np.einsum("cij,kj->cki", np.linalg.inv(self.intrinsics), pixel))

    def _to_world(self, points_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points in each camera's frame, (cameras, n, 3), as points of the world."""
        offset = points_camera - self.extrinsics[:, None, :, 3]
        points_world: NDArray[np.float64] = np.einsum("cji,ckj->cki", self.extrinsics[:, :, :3], offset)
        return points_world


@dataclass(frozen=True)
class Clip:
    """One sample.

    Attributes
    ----------
    video : (cameras, frames, 3, height, width) uint8
        Of the chosen cameras and frames.
    position : (all frames, 3) float32
        Centre of the sphere at each frame that is seen, world units.
    pixel : (cameras, all frames, 2) float32
        The same, projected, px.
    box : (cameras, all frames, 4) float32
        (u_min, v_min, u_max, v_max) of the silhouette, px.
    future_position : (3,) float32
        Centre of the sphere at `future_frame`, world units.
    future_pixel : (cameras, 2) float64
        The same, projected, px.
    """

    row: int
    class_name: str
    split: str
    radius: float
    object_color: Color
    background_color: Color
    cameras: Cameras
    frames: tuple[int, ...]
    video: NDArray[np.uint8]
    position: NDArray[np.float32]
    pixel: NDArray[np.float32]
    box: NDArray[np.float32]
    future_position: NDArray[np.float32]
    future_pixel: NDArray[np.float64]
    future_frame: int


def load_clips(
    samples: Samples, rows: Sequence[int], *, cameras: Sequence[int], frames: Sequence[int]
) -> Iterator[Clip]:
    """Read some samples with all their labels."""
    video, chosen = samples.spec.video, list(cameras)
    intrinsics, extrinsics = samples.calibration()
    rig = Cameras(tuple(cameras), intrinsics[chosen], extrinsics[chosen], video.height, video.width)
    for row in rows:
        label: dict[str, Any] = {name: samples.column(name, [row])[0] for name in LABELS}
        yield Clip(
            row=row,
            class_name=samples.spec.dataset.classes[label["class_label"]],
            split=SPLIT_NAMES[label["split"]],
            radius=float(label["radius"]),
            object_color=tuple(label["object_color"].tolist()),
            background_color=tuple(label["background_color"].tolist()),
            cameras=rig,
            frames=tuple(frames),
            video=samples.read([row], cameras=cameras, frames=frames)[0],
            position=label["position"],
            pixel=label["pixel"][chosen],
            box=label["box"][chosen],
            future_position=label["future_position"],
            future_pixel=rig.project(label["future_position"]),
            future_frame=video.frames + video.horizon,
        )
