"""What a sensor adds to a picture: noise."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.hashing import mix

BYTES: Final = np.uint64(0x00FF00FF00FF00FF)
LOW_16: Final = np.uint64(0xFFFF)
EIGHT, SIXTEEN, HALF = np.uint64(8), np.uint64(16), np.uint64(32)

MEAN: Final = np.float32(1020.0)
"""Of the sum of eight bytes, each from 0 to 255 alike."""

STANDARD_DEVIATION: Final = np.float32(209.0215299915299)
"""Of the same: √(8 · (256² − 1) / 12)."""

ZERO, ROUNDING, BRIGHTEST = np.float32(0.0), np.float32(0.5), np.float32(255.0)


@kernel
def add_plane_noise(scale: np.float32, key: np.uint64, out: NDArray[np.uint8]) -> None:
    """Add noise to one channel of a picture.

    Parameters
    ----------
    scale : float32
        Levels for each unit of the sum of eight bytes.
    key : uint64
        Of this channel of this picture.
    out : (height, width) uint8
        The channel, changed in place: rounded half up, and clipped to 0 … 255.
    """
    for row in range(out.shape[0]):
        line = out[row]
        line_key = key ^ (np.uint64(row) << HALF)
        for column in range(line.shape[0]):
            bits = mix(line_key ^ np.uint64(column))
            pairs = (bits & BYTES) + ((bits >> EIGHT) & BYTES)
            quads = pairs + (pairs >> HALF)
            total = np.float32(np.int32((quads + (quads >> SIXTEEN)) & LOW_16))
            value = np.float32(line[column]) + scale * (total - MEAN) + ROUNDING
            line[column] = np.uint8(min(max(value, ZERO), BRIGHTEST))


@kernel
def add_noise(
    level: np.float32, key: np.uint64, first_camera: int, first_frame: int, out: NDArray[np.uint8]
) -> None:
    """Add noise to each value of some pictures of a row, independent of all others.

    Parameters
    ----------
    level : float32 or float64
        Standard deviation of the noise, levels.
    key : uint64
        Of the row: other keys give other noise.
    first_camera, first_frame : int
        Indices of the camera and of the frame that ``out`` begins with.
    out : (cameras, frames, 3, height, width) uint8
        The pictures, changed in place: rounded half up, and clipped to 0 … 255.

    Notes
    -----
    The noise is the sum of the eight bytes of a hash of (key, camera, frame, channel, row, column), centred and scaled:
    near normal, with an excess kurtosis of −0.15, and never more than 4.9 standard deviations. Rounding adds 1/12 to
    the variance.
    """
    scale = np.float32(level) / STANDARD_DEVIATION
    for camera in range(out.shape[0]):
        camera_key = mix(key ^ np.uint64(first_camera + camera))
        for frame in range(out.shape[1]):
            frame_key = mix(camera_key ^ np.uint64(first_frame + frame))
            for channel in range(3):
                add_plane_noise(scale, mix(frame_key ^ np.uint64(channel)), out[camera, frame, channel])
