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
from trajstore.spec import SceneSection
from trajstore.trajectories import Family

INSIDE = 1.0 - 1e-6
"""Paths are fitted into a ball this much smaller than the unit ball, so that rounding to float32 keeps them in it."""

TURNS_TRIED: Final = 32
"""How a matched path is tried to be turned around its anchor so that it stays inside the unit ball."""

ANCHOR_REACH: Final = 0.9
"""Anchors of matched paths lie in a ball of this share of the room that the unit ball leaves the sphere."""

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


def count_uniforms(scene: SceneSection) -> int:
    """How many uniforms decide where a path lies, a multiple of 4."""
    return 8 if scene.placement == "free" else 8 + 3 * TURNS_TRIED


def plan_motion(
    families: Sequence[Family],
    family: NDArray[np.integer],
    uniforms: NDArray[np.float64],
    placement: NDArray[np.float64],
    *,
    times: NDArray[np.float64],
    radius: NDArray[np.float64],
    scene: SceneSection,
) -> tuple[Motion, NDArray[np.float64]]:
    """Place paths so that a sphere around each body stays inside the unit ball at all given times.

    ``placement`` (m, `count_uniforms`) decides rotation, size and place; ``radius`` (m,) is the spheres', world units.
    Returns the paths (m, len(times), 3), too.
    """
    path = _trace(families, family, uniforms, times)
    room = (1.0 - radius) * INSIDE
    is_upright = np.array([one.is_upright for one in families])[family]
    place = _place_freely if scene.placement == "free" else _place_matched
    motion = Motion(
        families,
        family,
        uniforms,
        **place(path, placement, times=times, room=room, is_upright=is_upright, scene=scene),
    )
    return motion, motion.place(path)


def _place_freely(
    path: NDArray[np.float64],
    placement: NDArray[np.float64],
    *,
    times: NDArray[np.float64],
    room: NDArray[np.float64],
    is_upright: NDArray[np.bool_],
    scene: SceneSection,
) -> dict[str, NDArray[np.float64]]:
    """Draw the size of each path, and a place in which it has room."""
    low, high = scene.size
    middle, extent = _measure(path)
    is_still = extent == 0.0
    extents = np.where(is_still, 0.0, (low + (high - low) * placement[:, 3]) * room)
    away = (room - extents) * np.maximum(placement[:, 6], placement[:, 7])
    return {
        "middle": middle,
        "scale": extents / np.where(is_still, 1.0, extent),
        "rotation": _turn(placement[:, :3], is_upright),
        "offset": random_directions(placement[:, 4:6]) * away[:, None],
    }


def _place_matched(
    path: NDArray[np.float64],
    placement: NDArray[np.float64],
    *,
    times: NDArray[np.float64],
    room: NDArray[np.float64],
    is_upright: NDArray[np.bool_],
    scene: SceneSection,
) -> dict[str, NDArray[np.float64]]:
    """Draw the length of each path, and let it pass a point in a ball at a frame, turned so that it has room.

    Length, frame and point are drawn alike for all families. A path that has no room however it is turned lies in the
    middle, and is smaller where it would not fit there either.
    """
    m, seen = len(path), int(np.count_nonzero(times <= 1.0))
    anchor = path[np.arange(m), (seen * placement[:, 0]).astype(np.intp)]
    low, high = scene.path_length
    # added one after the other: a sum in pairs depends on the machine
    length = np.cumsum(norm(np.diff(path[:, :seen], axis=1)), axis=1)[:, -1]
    is_still = length == 0.0
    scale = (low + (high - low) * placement[:, 1]) / np.where(is_still, 1.0, length)
    away = ANCHOR_REACH * room * placement[:, 4:7].max(axis=1)
    offset = random_directions(placement[:, 2:4]) * away[:, None]

    middle, turns = anchor.copy(), placement[:, 8:].reshape(m, TURNS_TRIED, 3)
    rotation = _turn(turns[:, 0], is_upright)
    pending = np.arange(m)
    for number in range(TURNS_TRIED):
        rotation[pending] = _turn(turns[pending, number], is_upright[pending])
        scaled = (path[pending] - anchor[pending, None]) * scale[pending, None, None]
        placed = rotate(rotation[pending, None], scaled) + offset[pending, None]
        pending = pending[norm(placed).max(axis=1) > room[pending]]
        if not len(pending):
            break
    middle[pending], extent = _measure(path[pending])
    offset[pending] = 0.0
    scale[pending] = np.minimum(scale[pending], room[pending] / extent)
    return {"middle": middle, "scale": scale, "rotation": rotation, "offset": offset}


def _measure(path: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle (m, 3) of the box around each path (m, k, 3), and how far the path goes from it (m,)."""
    middle = (path.min(axis=1) + path.max(axis=1)) / 2.0
    return middle, norm(path - middle[:, None]).max(axis=1)


def _turn(table: NDArray[np.float64], is_upright: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Rotations (m, 3, 3) from uniforms (m, 3): any, or around the z axis for paths that are upright."""
    rotation = to_matrices(random_quaternions(table))
    if is_upright.any():
        rotation[is_upright] = to_matrices(turn_around(UP, table[is_upright, 0]))
    return rotation


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
