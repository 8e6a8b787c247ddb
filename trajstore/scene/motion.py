"""Paths of the target: the shape that its class traces, turned, scaled and moved into the unit ball."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.portable import norm, rotate, sin_cos_turns
from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILIES, SHAPE_UNIFORMS

INSIDE = 1.0 - 1e-6
"""Paths are fitted into a ball this much smaller than the unit ball, so that rounding to float32 keeps them in it."""


def trace_shapes(spec: DatasetSpec, label: NDArray[np.int8], first: int) -> NDArray[np.float64]:
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


def place_shapes(
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
