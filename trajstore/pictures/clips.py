"""Samples as somebody looks at them: pictures and labels of one row together, as they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.reading.samples import Samples
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import VideoSection

Color = tuple[int, int, int]

BYTES_MAX: Final = 2**30
"""Pictures that are kept in memory at a time."""


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
        """Where a point appears.

        Parameters
        ----------
        point_world : (3,) float32
            World units.

        Returns
        -------
        (cameras, 2) float64
            (u, v) in px; pixel centres at half-integers, origin top left.
        """
        point_camera = self.extrinsics[:, :, :3] @ point_world + self.extrinsics[:, :, 3]
        homogeneous = np.einsum("cij,cj->ci", self.intrinsics, point_camera)
        pixel: NDArray[np.float64] = homogeneous[:, :2] / homogeneous[:, 2:]
        return pixel

    def centers(self) -> NDArray[np.float64]:
        """Where the cameras stand.

        Returns
        -------
        (cameras, 3) float64
            World units.
        """
        centers: NDArray[np.float64] = -np.einsum(
            "cji,cj->ci", self.extrinsics[:, :, :3], self.extrinsics[:, :, 3]
        )
        return centers

    def corners(self, depth: float) -> NDArray[np.float64]:
        """What the corners of the pictures look at.

        Returns
        -------
        (cameras, 4, 3) float64
            Top left, top right, bottom right, bottom left; world units.
        """
        w, h = float(self.width), float(self.height)
        pixel = np.array([[0.0, 0.0, 1.0], [w, 0.0, 1.0], [w, h, 1.0], [0.0, h, 1.0]])
        point_camera = depth * np.einsum("cij,kj->cki", np.linalg.inv(self.intrinsics), pixel)
        offset = point_camera - self.extrinsics[:, None, :, 3]
        corners: NDArray[np.float64] = np.einsum("cji,ckj->cki", self.extrinsics[:, :, :3], offset)
        return corners


@dataclass(frozen=True)
class Clip:
    """One sample.

    Attributes
    ----------
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
    spec = samples.spec
    chosen = list(cameras)
    intrinsics, extrinsics = samples.calibration()
    rig = Cameras(tuple(cameras), intrinsics[chosen], extrinsics[chosen], spec.video.height, spec.video.width)
    for row in rows:
        label = {name: samples.column(name, [row])[0] for name in samples.columns}
        yield Clip(
            row=row,
            class_name=spec.dataset.classes[label["class_label"]],
            split=SPLIT_NAMES[label["split"]],
            radius=float(label["radius"]),
            object_color=_color(label["object_color"]),
            background_color=_color(label["background_color"]),
            cameras=rig,
            frames=tuple(frames),
            video=samples.read([row], cameras=cameras, frames=frames)[0],
            position=label["position"],
            pixel=label["pixel"][chosen],
            box=label["box"][chosen],
            future_position=label["future_position"],
            future_pixel=rig.project(label["future_position"]),
            future_frame=spec.video.frames + spec.video.horizon,
        )


def choose_frames(video: VideoSection, *, rows: int, cameras: int, most: int) -> tuple[int, ...]:
    """Which frames to show so that their pictures fit into memory."""
    frame_bytes = rows * cameras * 3 * video.height * video.width
    return spread(video.frames, min(most, max(2, BYTES_MAX // frame_bytes)), first=1)


def choose_cameras(count: int, *, most: int) -> tuple[int, ...]:
    """Some of the cameras, evenly spaced around the scene.

    Examples
    --------
    >>> choose_cameras(4, most=8), choose_cameras(20, most=8)
    ((0, 1, 2, 3), (0, 2, 5, 7, 10, 12, 15, 17))
    """
    chosen = min(count, most)
    return tuple(place * count // chosen for place in range(chosen))


def spread(count: int, most: int, *, first: int = 0) -> tuple[int, ...]:
    """Some of a sequence of numbers, evenly spaced, the first and the last among them.

    Examples
    --------
    >>> spread(32, 4, first=1), spread(2, 4), spread(5, 1)
    ((1, 11, 22, 32), (0, 1), (4,))
    """
    if most == 1:
        return (first + count - 1,)
    return tuple(
        (first + np.unique(np.linspace(0, count - 1, min(count, most)).round())).astype(int).tolist()
    )


def _color(values: NDArray[np.uint8]) -> Color:
    """A colour as three numbers."""
    red, green, blue = values.tolist()
    return red, green, blue
