"""How the target moves: the path that its class traces, turned, scaled and moved into the unit ball."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.portable import norm, rotate, sin_cos_turns
from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILIES, FAMILY_UNIFORMS

INSIDE = 1.0 - 1e-6
"""Paths are fitted into a ball this much smaller than the unit ball, so that rounding to float32 keeps them in it."""


def trace_paths(
    spec: DatasetSpec, rows: range, *, label: NDArray[np.int8], radius: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Paths of the spheres' centres (n, frames + horizon, 3), at every frame up to the future one, in world units."""
    return _place(spec, rows, _trace(spec, rows, label), radius.astype(np.float64))


def _trace(spec: DatasetSpec, rows: range, label: NDArray[np.int8]) -> NDArray[np.float64]:
    """Paths as the families give them: of any size, at any place."""
    video = spec.video
    # all frames up to the future one, because the sphere must stay in the unit ball in between, too
    times = np.arange(video.frames + video.horizon) / max(video.frames - 1, 1)
    table = uniforms(
        spec.dataset.seed, Stream.SHAPE, first=rows.start, count=len(rows), width=FAMILY_UNIFORMS
    )
    path = np.empty((len(rows), len(times), 3))
    for index, name in enumerate(spec.dataset.classes):
        is_class = label == index
        path[is_class] = FAMILIES[name](table[is_class], times)
    return path


def _place(
    spec: DatasetSpec, rows: range, path: NDArray[np.float64], radius: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Paths turned, scaled and moved so that each sphere stays inside the unit ball."""
    table = uniforms(spec.dataset.seed, Stream.PLACEMENT, first=rows.start, count=len(rows), width=8)
    low, high = spec.scene.size

    middle = (path.min(axis=1) + path.max(axis=1)) / 2.0
    centered = path - middle[:, None]
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
