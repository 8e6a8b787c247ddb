"""Rotations that are the same on every machine: unit quaternions, w first, and their matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.portable import sin_cos_turns


def random_quaternions(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions (..., 4), uniform over all rotations, from (..., 3) uniforms.

    References: Shoemake, "Uniform random rotations", Graphics Gems III, 1992.
    """
    sine_a, cosine_a = sin_cos_turns(table[..., 1])
    sine_b, cosine_b = sin_cos_turns(table[..., 2])
    short, long = np.sqrt(1.0 - table[..., 0]), np.sqrt(table[..., 0])
    return np.stack([long * cosine_b, short * sine_a, short * cosine_a, long * sine_b], axis=-1)


def random_directions(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (..., 3), uniform over the sphere, from (..., 2) uniforms."""
    height = 2.0 * table[..., 0] - 1.0
    sine, cosine = sin_cos_turns(table[..., 1])
    across = np.sqrt(1.0 - height * height)
    return np.stack([across * cosine, across * sine, height], axis=-1)


def turn_around(axis: NDArray[np.float64], turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions (..., 4) that turn by so many turns around unit vectors (..., 3)."""
    sine, cosine = sin_cos_turns(turns / 2.0)
    return np.concatenate([cosine[..., None], sine[..., None] * axis], axis=-1)


def multiply(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of quaternions (..., 4): the rotation of ``second``, then that of ``first``."""
    a, b, c, d = np.moveaxis(first, -1, 0)
    w, x, y, z = np.moveaxis(second, -1, 0)
    return np.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=-1,
    )


def to_matrices(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4)."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    matrix = np.empty((*quaternions.shape[:-1], 3, 3))
    matrix[..., 0, 0] = 1.0 - 2.0 * (y * y + z * z)
    matrix[..., 0, 1] = 2.0 * (x * y - z * w)
    matrix[..., 0, 2] = 2.0 * (x * z + y * w)
    matrix[..., 1, 0] = 2.0 * (x * y + z * w)
    matrix[..., 1, 1] = 1.0 - 2.0 * (x * x + z * z)
    matrix[..., 1, 2] = 2.0 * (y * z - x * w)
    matrix[..., 2, 0] = 2.0 * (x * z - y * w)
    matrix[..., 2, 1] = 2.0 * (y * z + x * w)
    matrix[..., 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    return matrix
