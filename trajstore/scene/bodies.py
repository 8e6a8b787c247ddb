"""What a row is made of: the target and other bodies, what they look like, when they are there and how they turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.families import load_family
from trajstore.kernels.portable import norm
from trajstore.scene.appearance import choose_looks, is_dark, mix_object_colors
from trajstore.scene.motion import ARRAYS, Motion, count_uniforms, plan_motion
from trajstore.scene.randomness import Stream, uniforms
from trajstore.scene.rotations import (
    multiply,
    random_directions,
    random_quaternions,
    turn_around,
)
from trajstore.spec import SHAPES, DatasetSpec
from trajstore.trajectories import FAMILY_UNIFORMS

ROLES: Final = ("target", "distractor", "transient")
"""What a body is there for; the code of a role is its place in this list; -1: there is no such body."""

ABSENT: Final = -1

PLACES_TRIED: Final = 16
"""Where a body is tried to be put so that it keeps its clearance of the target."""

TUMBLING: Final = (0.25, 1.5)
"""Turns of a tumbling body over the seen frames, fewest and most, in either sense."""

LOOKS: Final = 8
"""Uniforms of a body's looks: radius, hue, saturation, strength, shape, family, first frame, duration."""


@dataclass(frozen=True)
class Bodies:
    """The bodies of n rows; body 0 is the target.

    Attributes
    ----------
    role : (n, bodies) int8
        Places in `ROLES`; -1 where there is no such body.
    shape : (n, bodies) uint8
        Places in `trajstore.spec.SHAPES`.
    radius : (n, bodies) float32
        Of the enclosing spheres, world units.
    color : (n, bodies, 3) uint8
        RGB at full brightness.
    background_color : (n, 3) uint8
        RGB.
    first_frame, last_frame : (n, bodies) int32
        Counted from 1; 0 where there is no such body.
    motion : Motion
        Of all bodies, row by row.
    path : (n, bodies, frames + horizon, 3) float32
        Centres at every frame up to the future one, world units.
    """

    spec: DatasetSpec
    rows: range
    role: NDArray[np.int8]
    shape: NDArray[np.uint8]
    radius: NDArray[np.float32]
    color: NDArray[np.uint8]
    background_color: NDArray[np.uint8]
    first_frame: NDArray[np.int32]
    last_frame: NDArray[np.int32]
    motion: Motion
    path: NDArray[np.float32]

    @cached_property
    def is_present(self) -> NDArray[np.bool_]:
        """Whether each body is there at each seen frame (n, bodies, frames)."""
        return is_between(self.first_frame, self.last_frame, self.spec.video.frames)

    @property
    def are_turned(self) -> bool:
        """Whether some bodies are no spheres, so that it matters how they are turned."""
        return self.spec.bodies.shapes != ("sphere",)

    def orient(self, rows: slice, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """How the bodies of some rows are turned at times (k,): (rows, bodies, k or 1, 4) unit quaternions, w first."""
        count, first = self.role.shape[1], self.rows.start + rows.start
        table = uniforms(
            self.spec.dataset.seed,
            Stream.ORIENTATION,
            first=first,
            count=rows.stop - rows.start,
            width=8 * count,
        ).reshape(-1, count, 8)
        still = random_quaternions(table[..., :3])[:, :, None]
        if self.spec.bodies.orientation == "fixed":
            return still
        low, high = TUMBLING
        turns = (low + (high - low) * table[..., 5]) * np.where(table[..., 6] < 0.5, -1.0, 1.0)
        axis = random_directions(table[..., 3:5])[:, :, None]
        return multiply(turn_around(axis, turns[..., None] * times), still)


def make_bodies(spec: DatasetSpec, rows: range, *, label: NDArray[np.int8]) -> Bodies:
    """Everything about the bodies of some rows: a pure function of (spec, rows)."""
    n, frames, horizon = len(rows), spec.video.frames, spec.video.horizon
    radius, color, background_color = choose_looks(spec, rows)
    times = np.arange(frames + horizon) / max(frames - 1, 1)
    targets = [load_family(name, spec.dataset.families) for name in spec.dataset.classes]
    motion, path = plan_motion(
        targets,
        label,
        _draw(spec, Stream.SHAPE, rows, FAMILY_UNIFORMS),
        _draw(spec, Stream.PLACEMENT, rows, count_uniforms(spec.scene)),
        times=times,
        radius=radius.astype(np.float64),
        scene=spec.scene,
    )
    target = Bodies(
        spec=spec,
        rows=rows,
        role=np.zeros((n, 1), np.int8),
        shape=np.zeros((n, 1), np.uint8),
        radius=radius[:, None],
        color=color[:, None],
        background_color=background_color,
        first_frame=np.ones((n, 1), np.int32),
        last_frame=np.full((n, 1), frames, np.int32),
        motion=motion,
        path=path.astype(np.float32)[:, None],
    )
    return _add_others(target, times) if spec.bodies.are_labelled else target


def choose_shapes(spec: DatasetSpec, rows: range) -> NDArray[np.uint8]:
    """Shape of each body (n, bodies) uint8: places in `trajstore.spec.SHAPES`."""
    return _pick_shapes(spec, _draw_looks(spec, rows))


def count_others(spec: DatasetSpec, rows: range) -> NDArray[np.int64]:
    """Distractors and transients (n, 2) that the spec asks for."""
    table = _draw(spec, Stream.BODIES, rows, 4)
    limits = np.array([spec.bodies.distractors, spec.bodies.transients])
    return _between(limits[:, 0], limits[:, 1], table[:, :2])


def is_between(first: NDArray[np.int32], last: NDArray[np.int32], frames: int) -> NDArray[np.bool_]:
    """Whether each of so many frames, counted from 1, lies between two others: (..., frames)."""
    number = np.arange(1, frames + 1)
    inside: NDArray[np.bool_] = (number >= first[..., None]) & (number <= last[..., None])
    return inside


def _add_others(target: Bodies, times: NDArray[np.float64]) -> Bodies:
    """The target, with its shape, and the other bodies."""
    spec, rows = target.spec, target.rows
    looks, n, count = _draw_looks(spec, rows), len(rows), spec.bodies.count
    smallest, largest = spec.scene.radius
    radius = (smallest + (largest - smallest) * looks[..., 0]).astype(np.float32)
    dark = np.broadcast_to(is_dark(spec, rows)[:, None], radius.shape)
    color = mix_object_colors(dark, looks[..., 1:4])
    radius[:, 0], color[:, 0] = target.radius[:, 0], target.color[:, 0]

    role, first, last = _time_others(spec, rows, looks)
    motion, path = _move_others(target, looks[:, 1:], radius[:, 1:], times, (first[:, 1:], last[:, 1:]), role)
    is_absent = role == ABSENT
    first[is_absent] = last[is_absent] = 0
    color[is_absent] = 0
    return Bodies(
        spec=spec,
        rows=rows,
        role=role,
        shape=_pick_shapes(spec, looks),
        radius=radius,
        color=color,
        background_color=target.background_color,
        first_frame=first,
        last_frame=last,
        motion=_join(target.motion, motion, n, count),
        path=np.concatenate([target.path, path.astype(np.float32)], axis=1),
    )


def _time_others(
    spec: DatasetSpec, rows: range, looks: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int32]]:
    """Role, first and last frame of each body (n, bodies): which of the places for bodies are taken, and when."""
    n, frames = len(rows), spec.video.frames
    most = spec.bodies.distractors[1]
    number = np.arange(spec.bodies.count)
    wanted = count_others(spec, rows)
    role = np.full((n, len(number)), ABSENT, np.int8)
    role[:, 0] = ROLES.index("target")
    role[(number > 0) & (number <= wanted[:, :1])] = ROLES.index("distractor")
    is_transient = (number > most) & (number <= most + wanted[:, 1:])
    role[is_transient] = ROLES.index("transient")

    duration = _between(*spec.bodies.transient_frames, looks[..., 7])
    start = _between(np.ones_like(duration), frames + 1 - duration, looks[..., 6])
    first = np.where(is_transient, start, 1).astype(np.int32)
    last = np.where(is_transient, start + duration - 1, frames).astype(np.int32)
    return role, first, last


def _move_others(
    target: Bodies,
    looks: NDArray[np.float64],
    radius: NDArray[np.float32],
    times: NDArray[np.float64],
    shown: tuple[NDArray[np.int32], NDArray[np.int32]],
    role: NDArray[np.int8],
) -> tuple[Motion, NDArray[np.float64]]:
    """Motion and paths (n, bodies − 1, frames, 3) of all bodies but the target.

    Where they have to keep clear of it, each is put to the first place tried that does; one for which there is none
    loses its role.
    """
    spec, rows = target.spec, target.rows
    n, count = radius.shape
    families = [load_family(name, spec.dataset.families) for name in spec.bodies.motion]
    family = _pick(len(families), looks[..., 5]).reshape(-1)
    table = _draw(spec, Stream.BODY_SHAPE, rows, FAMILY_UNIFORMS * (count + 1))
    shape_table = table.reshape(n, count + 1, FAMILY_UNIFORMS)[:, 1:].reshape(-1, FAMILY_UNIFORMS)
    flat_radius = radius.reshape(-1).astype(np.float64)

    def plan(
        placement: NDArray[np.float64], chosen: NDArray[np.intp] | slice
    ) -> tuple[Motion, NDArray[np.float64]]:
        return plan_motion(
            families,
            family[chosen],
            shape_table[chosen],
            placement,
            times=times,
            radius=flat_radius[chosen],
            scene=spec.scene,
        )

    clearance = spec.bodies.clearance
    tries = 1 if clearance is None else PLACES_TRIED
    width = count_uniforms(spec.scene)
    table = _draw(spec, Stream.BODY_PLACEMENT, rows, width * tries * (count + 1))
    places = table.reshape(n, count + 1, tries, width)[:, 1:].reshape(-1, tries, width)
    motion, path = plan(places[:, 0], slice(None))
    if clearance is not None:
        frames = spec.video.frames
        is_shown = is_between(*shown, frames).reshape(-1, frames)
        least = flat_radius + np.repeat(target.radius[:, 0].astype(np.float64), count) + clearance
        of_target = np.repeat(target.path[:, 0, :frames].astype(np.float64), count, axis=0)

        def collides(path: NDArray[np.float64], chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
            distance = norm(path[:, :frames] - of_target[chosen])
            is_close = (distance < least[chosen, None]) & is_shown[chosen]
            return np.asarray(is_close.any(axis=1))

        pending = np.arange(n * count)
        pending = pending[collides(path, pending)]
        for number in range(1, tries):
            if not len(pending):
                break
            other, other_path = plan(places[pending, number], pending)
            motion, path[pending] = motion.put(pending, other), other_path
            pending = pending[collides(other_path, pending)]
        row, body = np.divmod(pending, count)
        role[row, body + 1] = ABSENT
    return motion, path.reshape(n, count, len(times), 3)


def _join(target: Motion, others: Motion, n: int, count: int) -> Motion:
    """The motion of all bodies, row by row."""
    families = [*target.families, *others.families]
    shifted = replace(others, family=others.family + len(target.families))

    def weave(first: NDArray[Any], rest: NDArray[Any]) -> NDArray[Any]:
        shape = first.shape[1:]
        both = [first.reshape(n, 1, *shape), rest.reshape(n, count - 1, *shape)]
        return np.concatenate(both, axis=1).reshape(n * count, *shape)

    return Motion(families, **{name: weave(getattr(target, name), getattr(shifted, name)) for name in ARRAYS})


def _draw(spec: DatasetSpec, stream: Stream, rows: range, width: int) -> NDArray[np.float64]:
    """A table of uniforms for some rows."""
    return uniforms(spec.dataset.seed, stream, first=rows.start, count=len(rows), width=width)


def _draw_looks(spec: DatasetSpec, rows: range) -> NDArray[np.float64]:
    """Uniforms that decide what bodies look like and when they are there (n, bodies, LOOKS)."""
    count = spec.bodies.count
    return _draw(spec, Stream.BODY_LOOKS, rows, LOOKS * count).reshape(len(rows), count, LOOKS)


def _pick_shapes(spec: DatasetSpec, looks: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Shapes by their uniforms."""
    codes = np.array([SHAPES.index(name) for name in spec.bodies.shapes], np.uint8)
    return codes[_pick(len(codes), looks[..., 4])]


def _pick(count: int, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """One of so many, by uniforms in [0, 1)."""
    return (count * uniform).astype(np.int64)


def _between(low: Any, high: Any, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Uniforms in [0, 1) as integers from low to high, both among them."""
    span = np.asarray(high) - np.asarray(low) + 1
    return np.asarray(low + (span * uniform).astype(np.int64))
