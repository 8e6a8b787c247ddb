"""Arithmetic that gives the same bits on every machine.

IEEE 754 fixes the result of ``+ − × ÷ √`` and of comparisons, but not of ``sin`` or ``pow``: NumPy's differ
in the last bit between processors, and BLAS adds in an order of its own. A row has to be the same everywhere,
so what decides a row's content is computed with the functions here and elementwise arithmetic only.
"""

from __future__ import annotations

from math import factorial, pi

import numpy as np
from numpy.typing import NDArray

_SIN_TERMS = [(-1.0) ** k / factorial(2 * k + 1) for k in range(8)]
_COS_TERMS = [(-1.0) ** k / factorial(2 * k) for k in range(9)]


def sin_cos_turns(turns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sine and cosine of angles given in turns (1 turn = 2π rad), to about 2e-16.

    Parameters
    ----------
    turns : (...) float64
        Angles in turns, finite, of any sign.

    Returns
    -------
    sine, cosine : (...) float64
        The same bits on every machine with IEEE 754 arithmetic.

    Examples
    --------
    >>> sine, cosine = sin_cos_turns(np.array([0.0, 0.25, 0.5]))
    >>> sine.tolist(), cosine.tolist()
    ([0.0, 1.0, 0.0], [1.0, 0.0, -1.0])

    Notes
    -----
    The angle is reduced to the nearest quarter turn, which is exact in turns, and the Taylor series is summed over
    the remaining ±1/8 turn.
    """
    turns = np.asarray(turns, dtype=np.float64)
    quarter = np.rint(4.0 * turns)
    x = (turns - quarter / 4.0) * (2.0 * pi)
    square = x * x
    sine = x * _horner(square, _SIN_TERMS)
    cosine = _horner(square, _COS_TERMS)
    quadrant = np.mod(quarter, 4.0)
    is_odd = (quadrant == 1.0) | (quadrant == 3.0)
    sine_sign = np.where(quadrant >= 2.0, -1.0, 1.0)
    cosine_sign = np.where((quadrant == 1.0) | (quadrant == 2.0), -1.0, 1.0)
    # `+ 0.0` turns a −0 into 0
    return (
        sine_sign * np.where(is_odd, cosine, sine) + 0.0,
        cosine_sign * np.where(is_odd, sine, cosine) + 0.0,
    )


def _horner(x: NDArray[np.float64], coefficients: list[float]) -> NDArray[np.float64]:
    """Evaluate a polynomial, lowest coefficient first."""
    result = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def norm(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean length over the last axis of size 3, added in a fixed order.

    Parameters
    ----------
    vectors : (..., 3) float64
        Any units.

    Returns
    -------
    (...) float64
        Lengths in the same units.
    """
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    length: NDArray[np.float64] = np.sqrt(x * x + y * y + z * z)
    return length


def rotate(matrices: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply 3×3 matrices with vectors, added in a fixed order (``@`` leaves the order to BLAS).

    Parameters
    ----------
    matrices : (..., 3, 3) float64
        Broadcast against ``vectors``.
    vectors : (..., 3) float64
        Any units.

    Returns
    -------
    (..., 3) float64
        ``matrices @ vectors``.
    """
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    rows = [matrices[..., i, 0] * x + matrices[..., i, 1] * y + matrices[..., i, 2] * z for i in range(3)]
    return np.stack(rows, axis=-1)


def cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross products of vectors, added in a fixed order.

    Parameters
    ----------
    a, b : (..., 3) float64
        Any units; broadcast against each other.

    Returns
    -------
    (..., 3) float64
        ``a × b``.
    """
    following, last = [1, 2, 0], [2, 0, 1]
    product: NDArray[np.float64] = a[..., following] * b[..., last] - a[..., last] * b[..., following]
    return product
