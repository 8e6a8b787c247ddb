"""The trajectory families: pure functions from uniforms and times to paths.

A family gives a path at any place, size and orientation; `trajstore.scene.motion` turns, scales and moves it into
the unit ball. To add one, write a function and add a `Family` to `FAMILIES`; a spec selects it in ``classes``. A family
of one's own needs no change here: see `trajstore.scene.families`.

Time is 0 at frame 1 and 1 at the last frame that is seen; the future position lies beyond 1. What keeps the families
apart therefore holds over the frames that a model sees, whatever the horizon:

========== ==================================================================== ================================
family     what is guaranteed over the seen frames                              so it cannot be taken for
========== ==================================================================== ================================
Linear     lies on a line
Circular   planar; turns by 0.6 to 1.5 turns (216° to 540°)                     Linear, Parabolic
Helical    1.25 to 2.5 turns, advancing along its axis by 0.75 to 2 diameters   Circular
Parabolic  planar; sagitta 0.28 to 0.8 of the chord; turns by less than 150°    Linear, Circular
Bouncing   planar; meets the floor at least twice, in kinks, always moving on   Linear, Parabolic, Pendulum
Pendulum   1 to 2.5 swings to and fro on an arc of 72° to 144°                  Linear, Circular, Parabolic
RandomWalk twists by 65° and more to either side, off every plane by 0.045 rms  Helical, and all that are planar
Still      does not move                                                        all others
========== ==================================================================== ================================

Distances off a plane are in halves of a path's extent. The last four are for those who ask for them. Bouncing and
Pendulum are upright: their gravity points along −z.

`MARGINS` states the limits that the tests measure over thousands of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.portable import cross, norm, sin_cos_turns

Path = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""``(uniforms (n, FAMILY_UNIFORMS), times (m,)) -> points (n, m, 3)``, all float64, any units."""

Parameter = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""``uniforms (n, FAMILY_UNIFORMS) -> (n,)`` float64: one number that says what a path is like."""


@dataclass(frozen=True)
class Family:
    """A family of trajectories.

    Attributes
    ----------
    path : callable
        ``(uniforms (n, 8), times (m,)) -> points (n, m, 3)``, all float64, in any units: a pure function, each point
        of which depends on its row of uniforms and its time alone. Time is 0 at frame 1 and 1 at the last seen frame,
        and goes on to the future position; with motion blur times lie between those of frames.
    is_upright : bool
        Whether paths are only turned around the z axis, so that gravity stays along −z.
    version : str
        Raised whenever the same uniforms would give another path in a way that the source of ``path`` does not show.
    parameters : mapping
        Numbers that describe a path, by name: functions of the uniforms.

    Examples
    --------
    >>> import numpy as np
    >>> def zigzag(uniforms, times):
    ...     corners = 2.0 + np.floor(3.0 * uniforms[:, :1])
    ...     across = np.abs(np.mod(corners * times, 1.0) - 0.5)
    ...     return np.stack([np.broadcast_to(times, across.shape), across, 0.0 * across], axis=-1)
    >>> Family(zigzag, parameters={"corners": lambda uniforms: 2.0 + np.floor(3.0 * uniforms[:, 0])}).version
    '1'
    """

    path: Path
    is_upright: bool = False
    version: str = "1"
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


FAMILY_UNIFORMS: Final = 8
"""How many uniforms a family may use for a row."""

MARGINS: Final = {
    "circle_turns_min": 0.6,
    "helix_turns_min": 1.25,
    "helix_advance_in_diameters_min": 0.75,
    "parabola_sagitta_in_chords_min": 0.28,
    "parabola_turning_degrees_max": 150.0,
    "bounces_min": 2.0,
    "pendulum_swings_min": 1.0,
    "pendulum_arc_degrees_min": 72.0,
    "pendulum_arc_degrees_max": 144.0,
    "random_walk_off_plane_min": 0.045,
    "random_walk_twist_degrees_min": 65.0,
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
    turns = _circle_turns(uniforms)[:, None]
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
    turns, diameters = _helix_turns(uniforms)[:, None], _advance(uniforms)[:, None]
    hand = _hand(uniforms)[:, None]
    sine, cosine = sin_cos_turns(start + turns * times)
    return _stack(cosine, sine, hand * (2.0 * diameters) * times)


def parabolic(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parabola: constant velocity along, constant acceleration across.

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
    curvature, vertex = _curvature(uniforms)[:, None], _vertex(uniforms)[:, None]
    along = np.broadcast_to(times, (len(uniforms), len(times)))
    return _stack(along, curvature * (along - vertex) * (along - vertex), 0.0)


def bouncing(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ball that falls to a floor and jumps lower each time, at constant speed along; gravity is along −z.

    Parameters
    ----------
    uniforms : (n, 8) float64
        Columns: time of the first contact, restitution, way along in heights of the fall.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths.
    """
    # the fall from height 1 is the second half of a flight of twice its time; each flight is shorter by the restitution
    fall = _between(0.2, 0.3, uniforms[:, 0, None])
    restitution = _restitution(uniforms)[:, None]
    along = _between(1.0, 3.0, uniforms[:, 2, None]) * times
    height = np.zeros_like(along)
    start, flight, peak = -fall, 2.0 * fall, np.ones_like(fall)
    for _ in range(FLIGHTS):
        share = (times - start) / flight
        is_flying = (share >= 0.0) & (share < 1.0)
        height = np.where(is_flying, 4.0 * peak * share * (1.0 - share), height)
        start, flight, peak = start + flight, flight * restitution, peak * (restitution * restitution)
    return _stack(along, 0.0, height)


def pendulum(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight on a rod that swings in an upright plane, its angle a sine of time.

    Parameters
    ----------
    uniforms : (n, 8) float64
        Columns: swings, amplitude, phase.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths.
    """
    swings, amplitude = _swings(uniforms)[:, None], _amplitude(uniforms)[:, None]
    phase, _ = sin_cos_turns(uniforms[:, 2, None] + swings * times)
    sine, cosine = sin_cos_turns(amplitude * phase)
    return _stack(sine, 0.0, -cosine)


def random_walk(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth walk: a cubic B-spline through steps each of which is about across the two before, to either side.

    It comes to rest after all its steps, before time 1.7.

    Parameters
    ----------
    uniforms : (n, 8) float64
        One for each step, whose digits decide its side, its tilt and its length.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths.
    """
    corners = _walk(uniforms)
    # a knot a step; the last corner is there three times, which slows the walker down until it stands
    place = np.minimum(times * (STEPS / 1.5), STEPS + 1.0)
    knot = np.clip(np.floor(place), 0.0, STEPS)
    x = (place - knot)[:, None]
    first = knot.astype(np.intp)
    rest = 1.0 - x
    weights = (
        rest * rest * rest,
        3.0 * x * x * x - 6.0 * x * x + 4.0,
        3.0 * rest * rest * rest - 6.0 * rest * rest + 4.0,
        x * x * x,
    )
    padded = np.concatenate([corners[:, :1], corners, corners[:, -1:], corners[:, -1:]], axis=1)
    points = sum(weight * padded[:, first + number] for number, weight in enumerate(weights))
    return np.asarray(points) / 6.0


def still(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Point that does not move.

    Parameters
    ----------
    uniforms : (n, 8) float64
        Not used.
    times : (m,) float64
        0 at frame 1, 1 at the last seen frame.

    Returns
    -------
    (n, m, 3) float64
        Points of the paths, all 0.
    """
    return np.zeros((len(uniforms), len(times), 3))


FLIGHTS: Final = 24
"""Flights of a bouncing ball that are computed; what is left is below a hundredth of its height."""

STEPS: Final = 8
"""Steps of a random walk, one for each uniform."""


def _walk(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners (n, STEPS + 1, 3) of random walks."""
    n = len(uniforms)
    digits = uniforms[:, :, None] * np.array([2.0, 2.0**17, 2.0**34])
    length, first_tilt, second_tilt = np.moveaxis(digits - np.floor(digits), -1, 0)
    is_left = uniforms < 0.5
    before, last = np.zeros((n, 3)), np.zeros((n, 3))
    before[:, 0], last[:, 1] = 1.0, 1.0
    corners = np.zeros((n, STEPS + 1, 3))
    left = is_left[:, 0]
    for step in range(STEPS):
        # the side changes at every third step at the latest, so that the walk winds both ways
        left = ~left if step % 3 == 2 else is_left[:, step]
        across = cross(before, last)
        across = across / norm(across)[:, None] * np.where(left, 1.0, -1.0)[:, None]
        tilt = (
            0.35 * (first_tilt[:, step, None] - 0.5) * before
            + 0.35 * (second_tilt[:, step, None] - 0.5) * last
        )
        direction = across + tilt
        direction /= norm(direction)[:, None]
        corners[:, step + 1] = corners[:, step] + (0.7 + 0.6 * length[:, step, None]) * direction
        before, last = last, direction
    return corners


def _circle_turns(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns of a circle over the seen frames."""
    return _between(MARGINS["circle_turns_min"], 1.5, uniforms[:, 1])


def _helix_turns(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns of a helix over the seen frames."""
    return _between(MARGINS["helix_turns_min"], 2.5, uniforms[:, 1])


def _advance(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a helix advances over the seen frames, in diameters."""
    return _between(MARGINS["helix_advance_in_diameters_min"], 2.0, uniforms[:, 2])


def _hand(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for a right-handed helix, −1 for a left-handed one."""
    return np.where(uniforms[:, 3] < 0.5, -1.0, 1.0)


def _curvature(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the acceleration of a parabola, in lengths of its way along."""
    return _between(1.2, 3.2, uniforms[:, 0])


def _vertex(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time of the vertex of a parabola."""
    return _between(0.4, 0.6, uniforms[:, 1])


def _sagitta(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of a parabola's arc over the chord of the seen frames, in chords."""
    curvature, vertex = _curvature(uniforms), _vertex(uniforms)
    # the arc over [0, 1] is farthest from its chord half-way in time, by a quarter of the curvature, measured along y
    slope = curvature * (1.0 - 2.0 * vertex)
    return 0.25 * curvature / (1.0 + slope * slope)


def _restitution(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of its speed that a bouncing ball keeps at each contact."""
    return _between(0.7, 0.9, uniforms[:, 1])


def _swings(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Swings to and fro of a pendulum over the seen frames."""
    return _between(MARGINS["pendulum_swings_min"], 2.5, uniforms[:, 0])


def _amplitude(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest angle of a pendulum, turns."""
    least, most = MARGINS["pendulum_arc_degrees_min"], MARGINS["pendulum_arc_degrees_max"]
    return _between(least / 720.0, most / 720.0, uniforms[:, 1])


FAMILIES: Final[Mapping[str, Family]] = {
    "Linear": Family(linear),
    "Circular": Family(circular, parameters={"turns": _circle_turns}),
    "Helical": Family(helical, parameters={"turns": _helix_turns, "advance": _advance, "hand": _hand}),
    "Parabolic": Family(parabolic, parameters={"sagitta": _sagitta}),
    "Bouncing": Family(bouncing, is_upright=True, parameters={"restitution": _restitution}),
    "Pendulum": Family(
        pendulum,
        is_upright=True,
        parameters={"swings": _swings, "amplitude": lambda uniforms: 360.0 * _amplitude(uniforms)},
    ),
    "RandomWalk": Family(random_walk),
    "Still": Family(still),
}
"""Every family by the class name that a spec uses."""

PARAMETER_TEXTS: Final = {
    "turns": ("turns over the seen frames", "turns"),
    "advance": ("advance along the axis over the seen frames", "diameters"),
    "hand": ("hand of the helix: 1 right, -1 left", ""),
    "sagitta": ("height of the arc over its chord", "chords"),
    "restitution": ("share of the speed that a contact with the floor leaves", ""),
    "swings": ("swings to and fro over the seen frames", ""),
    "amplitude": ("largest angle of the rod from the vertical", "degrees"),
}
"""What the parameters of the families here mean, and their units."""

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
