"""How the sensor of each row sees: how noisy it is, and how long its shutter is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.scene.randomness import Stream, to_keys, uniforms
from trajstore.spec import DatasetSpec

SUBFRAMES: Final = 8
"""Pictures that the picture of a frame is the average of where the shutter is open for some time."""


@dataclass(frozen=True)
class Sensor:
    """The sensors of some rows.

    Attributes
    ----------
    noise : (n,) float32
        Standard deviation of the noise of each pixel and channel, levels.
    shutter : (n,) float32
        How long the shutter is open, as a share of the time between two frames.
    key : (n,) uint64
        What the noise of a row is a hash of, with the place of a pixel.
    """

    noise: NDArray[np.float32]
    shutter: NDArray[np.float32]
    key: NDArray[np.uint64]


def choose_sensor(spec: DatasetSpec, rows: range) -> Sensor:
    """Sensors of some rows, within the spec's ranges."""
    table = uniforms(spec.dataset.seed, Stream.SENSOR, first=rows.start, count=len(rows), width=4)
    ranges = np.array([spec.sensor.noise, spec.sensor.blur])
    drawn = (ranges[:, 0] + (ranges[:, 1] - ranges[:, 0]) * table[:, :2]).astype(np.float32)
    return Sensor(noise=drawn[:, 0].copy(), shutter=drawn[:, 1].copy(), key=to_keys(table[:, 2]))


def open_shutter(shutter: float, frames: range | slice, subframes: int = SUBFRAMES) -> NDArray[np.float64]:
    """Moments (frames · subframes,), in frames from the first one, at which an open shutter sees each frame.

    They part the time that the shutter is open for a frame into equal shares, and are the middles of those.
    """
    middle = np.arange(frames.start, frames.stop, dtype=np.float64)[:, None]
    share = (np.arange(subframes) + 0.5) / subframes - 0.5
    return (middle + float(shutter) * share).ravel()
