"""How bodies move: the path that a family traces, turned, scaled and moved into the unit ball."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.families import trace_family
from trajstore.kernels.portable import norm, rotate
from trajstore.scene.rotations import random_directions, random_quaternions, to_matrices, turn_around
from trajstore.trajectories import Family

INSIDE = 1.0 - 1e-6
"""Paths are fitted into a ball this much smaller than the unit ball, so that rounding to float32 keeps them in it."""

UP: Final = np.array([0.0, 0.0, 1.0])

ARRAYS: Final = ("family", "uniforms", "middle", "scale", "rotation", "offset")
"""What a motion has for each body."""


@dataclass(frozen=True)
class Motion:
    """How some bodies move: from where a family traces a path to where it lies in the world.

    Attributes
    ----------
    family : (m,) integers
        Which of ``families`` each body follows.
    uniforms : (m, FAMILY_UNIFORMS) float64
        What decides its path.
    middle, offset : (m, 3) float64
        What is taken from the traced path, and what is added after turning it.
    scale : (m,) float64
        World units of one unit of the traced path.
    rotation : (m, 3, 3) float64
        How it is turned.
    """

    families: Sequence[Family]
    family: NDArray[np.integer]
    uniforms: NDArray[np.float64]
    middle: NDArray[np.float64]
    scale: NDArray[np.float64]
    rotation: NDArray[np.float64]
    offset: NDArray[np.float64]

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the bodies are (m, k, 3), world units, at times (k,) or (m, k): 0 at frame 1, 1 at the last one."""
        return self.place(_trace(self.families, self.family, self.uniforms, times))

    def place(self, path: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn, scale and move traced paths (m, k, 3)."""
        scaled = (path - self.middle[:, None]) * self.scale[:, None, None]
        placed: NDArray[np.float64] = rotate(self.rotation[:, None], scaled) + self.offset[:, None]
        return placed

    def take(self, chosen: NDArray[np.bool_] | slice) -> Motion:
        """The motion of some of the bodies."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in ARRAYS})

    def put(self, chosen: NDArray[np.intp], other: Motion) -> Motion:
        """The same with the motion of some bodies replaced."""
        arrays = {name: getattr(self, name).copy() for name in ARRAYS}
        for name, values in arrays.items():
            values[chosen] = getattr(other, name)
        return replace(self, **arrays)


def plan_motion(
    families: Sequence[Family],
    family: NDArray[np.integer],
    uniforms: NDArray[np.float64],
    placement: NDArray[np.float64],
    *,
    times: NDArray[np.float64],
    radius: NDArray[np.float64],
    size: tuple[float, float],
) -> tuple[Motion, NDArray[np.float64]]:
    """Place paths so that a sphere around each body stays inside the unit ball at all given times.

    ``placement`` (m, 8) uniforms decide rotation, size and place; ``radius`` (m,) is the spheres', world units. Returns
    the paths (m, len(times), 3), too.
    """
    path = _trace(families, family, uniforms, times)
    low, high = size
    middle = (path.min(axis=1) + path.max(axis=1)) / 2.0
    extent = norm(path - middle[:, None]).max(axis=1)
    is_still = extent == 0.0
    room = (1.0 - radius) * INSIDE
    extents = np.where(is_still, 0.0, (low + (high - low) * placement[:, 3]) * room)

    rotation = to_matrices(random_quaternions(placement[:, :3]))
    is_upright = np.array([one.is_upright for one in families])[family]
    if is_upright.any():
        rotation[is_upright] = to_matrices(turn_around(UP, placement[is_upright, 0]))
    away = (room - extents) * np.maximum(placement[:, 6], placement[:, 7])
    motion = Motion(
        families,
        family,
        uniforms,
        middle=middle,
        scale=extents / np.where(is_still, 1.0, extent),
        rotation=rotation,
        offset=random_directions(placement[:, 4:6]) * away[:, None],
    )
    return motion, motion.place(path)


def _trace(
    families: Sequence[Family],
    family: NDArray[np.integer],
    uniforms: NDArray[np.float64],
    times: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Paths (m, k, 3) as the families give them: of any size, at any place."""
    path = np.empty((len(family), times.shape[-1], 3))
    for index, one in enumerate(families):
        bodies = np.flatnonzero(family == index)
        if times.ndim == 1:
            path[bodies] = trace_family(one, uniforms[bodies], times)
            continue
        # a family takes one list of times: where exposures differ, bodies of the same one go together
        for moments in np.unique(times[bodies], axis=0):
            alike = bodies[(times[bodies] == moments).all(axis=1)]
            path[alike] = trace_family(one, uniforms[alike], moments)
    return path
