"""The trajectory families: pure functions from uniforms and times to paths.

A family gives a path at any place, size and orientation; `trajstore.scene.motion` turns, scales and moves it into
the unit ball. To add one, write a function and add it to `FAMILIES`; a spec selects it in ``classes``.

Time is 0 at frame 1 and 1 at the last frame that is seen; the future position lies beyond 1. What keeps the families
apart therefore holds over the frames that a model sees, whatever the horizon:

========== ==================================================================== ==========================
family     what is guaranteed over the seen frames                              so it cannot be taken for
========== ==================================================================== ==========================
Linear     lies on a line
Circular   planar; turns by 0.6 to 1.5 turns (216° to 540°)                     Linear, Parabolic
Helical    1.25 to 2.5 turns, advancing along its axis by 0.75 to 2 diameters   Circular
Parabolic  planar; sagitta 0.28 to 0.8 of the chord; turns by less than 150°    Linear, Circular
========== ==================================================================== ==========================

`MARGINS` states the limits that the tests measure over thousands of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.portable import sin_cos_turns

Family = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""``(uniforms (n, FAMILY_UNIFORMS), times (m,)) -> points (n, m, 3)``, all float64, any units."""

FAMILY_UNIFORMS: Final = 8
"""How many uniforms a family may use for a row."""

MARGINS: Final = {
    "circle_turns_min": 0.6,
    "helix_turns_min": 1.25,
    "helix_advance_in_diameters_min": 0.75,
    "parabola_sagitta_in_chords_min": 0.28,
    "parabola_turning_degrees_max": 150.0,
}
"""Limits that keep the families apart, over the seen frames."""


def linear(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Straight line at constant speed.

    Parameters
    ----------
    uniforms : (n, 8) float64
        Not used: direction, length and place come from the placement.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths.
    """
    return _stack(np.broadcast_to(times, (len(uniforms), len(times))), 0.0, 0.0)


def circular(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Circle at constant speed, 0.6 to 1.5 turns over the seen frames.

    Parameters
    ----------
    uniforms : (n, 8) float64
        Columns: start angle, turns.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths.
    """
    start = uniforms[:, 0, None]
    turns = _between(MARGINS["circle_turns_min"], 1.5, uniforms[:, 1, None])
    sine, cosine = sin_cos_turns(start + turns * times)
    return _stack(cosine, sine, 0.0)


def helical(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Helix at constant speed, of either hand.

    Parameters
    ----------
    uniforms : (n, 8) float64
        Columns: start angle, turns, advance, hand.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths.
    """
    start = uniforms[:, 0, None]
    turns = _between(MARGINS["helix_turns_min"], 2.5, uniforms[:, 1, None])
    diameters = _between(MARGINS["helix_advance_in_diameters_min"], 2.0, uniforms[:, 2, None])
    hand = np.where(uniforms[:, 3, None] < 0.5, -1.0, 1.0)
    sine, cosine = sin_cos_turns(start + turns * times)
    return _stack(cosine, sine, hand * (2.0 * diameters) * times)


def parabolic(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parabola as a thrown ball flies it: constant velocity along, constant acceleration across.

    Parameters
    ----------
    uniforms : (n, 8) float64
        Columns: curvature, time of the vertex.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths.
    """
    curvature = _between(1.2, 3.2, uniforms[:, 0, None])
    vertex = _between(0.4, 0.6, uniforms[:, 1, None])
    along = np.broadcast_to(times, (len(uniforms), len(times)))
    return _stack(along, curvature * (along - vertex) * (along - vertex), 0.0)


FAMILIES: Final[Mapping[str, Family]] = {
    "Linear": linear,
    "Circular": circular,
    "Helical": helical,
    "Parabolic": parabolic,
}
"""Every family by the class name that a spec uses."""

DEFAULT_CLASSES: Final = ("Linear", "Circular", "Helical", "Parabolic")
"""Classes of a dataset whose spec names none; the default dataset's rows depend on them, so a new family stays out."""


def _between(low: float, high: float, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uniforms in [0, 1) as values in [low, high)."""
    return low + (high - low) * uniform


def _stack(
    x: NDArray[np.float64], y: NDArray[np.float64] | float, z: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Points from their three coordinates; a number stands for all points."""
    points = np.empty((*x.shape, 3))
    points[..., 0], points[..., 1], points[..., 2] = x, y, z
    return points
