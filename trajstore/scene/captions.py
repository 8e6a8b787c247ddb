"""Captions: one English sentence for each row, from what its labels say."""

from __future__ import annotations

from collections.abc import Callable
from colorsys import rgb_to_hsv
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import RowRangeError
from trajstore.scene.appearance import choose_looks, choose_patterns, is_dark
from trajstore.scene.bodies import ROLES, choose_shapes, make_bodies
from trajstore.scene.order import label_rows
from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import PATTERNS, SHAPES, DatasetSpec, SpecLike
from trajstore.trajectories import FAMILIES, FAMILY_UNIFORMS

CAPTION: Final = "caption"
"""Name of the captions where they stand among label columns."""

HUES: Final = (
    (15.0, "red", "maroon"),
    (45.0, "orange", "brown"),
    (70.0, "yellow", "olive"),
    (160.0, "green", "dark green"),
    (200.0, "cyan", "teal"),
    (255.0, "blue", "navy"),
    (285.0, "violet", "indigo"),
    (315.0, "magenta", "purple"),
    (345.0, "pink", "plum"),
    (360.0, "red", "maroon"),
)
"""Up to which hue, degrees, a colour has which name: a bright one and a dark one."""

BRIGHT_MIN: Final = 0.6
"""The least that the strongest channel of a bright colour is."""

SIZES: Final = ((0.1, "small "), (0.14, ""), (inf, "large "))
"""Up to which radius, world units, a body is called what."""

LEVEL_MAX: Final = 0.2
"""The most that a displacement rises or falls by and is still level, as a share of its length."""

BACKGROUNDS: Final = dict(zip(PATTERNS, ("plain", "gradient", "checkered", "noisy"), strict=True))

MOTIONS: Final[dict[str, Callable[[dict[str, float]], str]]] = {
    "Linear": lambda _: "moves along a straight line",
    "Circular": lambda of: f"moves along a circular arc of {_count(of['turns'], 'turn')}",
    "Helical": lambda of: (
        f"flies along a {'right' if of['hand'] > 0 else 'left'}-handed helix of {_count(of['turns'], 'turn')}"
    ),
    "Parabolic": lambda of: f"flies along a parabolic arc {of['sagitta']:.2f} times as high as it is wide",
    "Bouncing": lambda of: f"bounces like a ball with a restitution of {of['restitution']:.2f}",
    "Pendulum": lambda of: (
        f"makes {_count(of['swings'], 'swing')} like a pendulum, by up to {of['amplitude']:.0f} degrees"
    ),
    "RandomWalk": lambda _: "wanders along a random walk",
    "Still": lambda _: "stays still",
}
"""What a body does, from the parameters of its path."""

STRAIGHT: Final = ("Linear", "Helical")
"""Families that rise or fall all the way, or at every turn, and not only from their first to their last point."""


def caption(spec: SpecLike, row: int) -> str:
    """Describe a row in one English sentence.

    Parameters
    ----------
    spec : DatasetSpec, mapping or path-like
        The dataset, as `trajstore.build` takes it.
    row : int
        Which row, counted from 0.

    Returns
    -------
    str
        The target's colour, size, shape and motion, the background, what else moves, and the cameras.

    Raises
    ------
    RowRangeError
        If there is no such row.

    Examples
    --------
    >>> import trajstore
    >>> trajstore.caption(trajstore.DatasetSpec.from_fields(seed=7), 3)
    'A blue sphere moves along a straight line, falling, in front of a dark plain background, seen by 4 cameras.'
    """
    spec = DatasetSpec.from_any(spec)
    if not 0 <= row < spec.dataset.samples:
        message = f"row {row} is out of range, expected 0 … {spec.dataset.samples - 1}"
        raise RowRangeError(message)
    return captions(spec, range(row, row + 1))[0]


def captions(spec: DatasetSpec, rows: range) -> list[str]:
    """Describe successive rows, each in one sentence."""
    bodies = make_bodies(spec, rows, label=label_rows(spec, rows))
    return write_captions(spec, rows, bodies.path[:, 0, : spec.video.frames], bodies.role)


def write_captions(
    spec: DatasetSpec, rows: range, position: NDArray[np.float32], role: NDArray[np.int8]
) -> list[str]:
    """Describe successive rows from centres of their targets (n, frames, 3) and roles of their bodies (n, bodies)."""
    radius, color, _ = choose_looks(spec, rows)
    shape = choose_shapes(spec, rows)[:, 0]
    dark, pattern = is_dark(spec, rows), choose_patterns(spec, rows)
    motion = _describe_motion(spec, rows, position)
    orbiting = "orbiting " if spec.camera.is_moving else ""
    seen = f"seen by {_count(spec.video.cameras, f'{orbiting}camera')}"
    written = []
    for index in range(len(rows)):
        size = next(word for most, word in SIZES if radius[index] < most)
        body = f"{size}{_name_color(color[index])} {SHAPES[shape[index]]}"
        shade = "dark" if dark[index] else "bright"
        written.append(
            f"{'An' if body[0] in 'aeiou' else 'A'} {body} {motion[index]} "
            f"in front of a {shade} {BACKGROUNDS[PATTERNS[pattern[index]]]} background"
            f"{_describe_others(role[index])}, {seen}."
        )
    return written


def _describe_motion(spec: DatasetSpec, rows: range, position: NDArray[np.float32]) -> list[str]:
    """What the target of each row does."""
    # only of families here, so that what was made with others can be read without them
    table = uniforms(
        spec.dataset.seed, Stream.SHAPE, first=rows.start, count=len(rows), width=FAMILY_UNIFORMS
    )
    described = []
    for index, label in enumerate(label_rows(spec, rows).tolist()):
        name = spec.dataset.classes[label]
        if name not in FAMILIES:
            words = f"moves along a path of the family {name}"
        else:
            parameters = FAMILIES[name].parameters.items()
            words = MOTIONS[name]({key: float(of(table[index, None])[0]) for key, of in parameters})
        described.append(words if name == "Still" else f"{words}, {_name_trend(name, position[index])},")
    return described


def _name_trend(family: str, position: NDArray[np.float32]) -> str:
    """Whether a path (frames, 3) leads up or down."""
    x, y, z = (position[-1].astype(np.float64) - position[0]).tolist()
    if z * z <= LEVEL_MAX * LEVEL_MAX * (x * x + y * y + z * z):
        return "ending about as high as it began"
    direction = "rising" if z > 0.0 else "falling"
    return direction if family in STRAIGHT else f"{direction} on the whole"


def _name_color(color: NDArray[np.uint8]) -> str:
    """Name of an RGB colour."""
    hue, saturation, strength = rgb_to_hsv(*(color / 255.0).tolist())
    is_bright = strength >= BRIGHT_MIN
    if saturation < 0.15:
        return "white" if is_bright else "gray" if strength > 0.2 else "black"
    bright, dark = next(names for most, *names in HUES if 360.0 * hue <= most)
    return bright if is_bright else dark


def _describe_others(role: NDArray[np.int8]) -> str:
    """What else there is, from the roles of a row's bodies."""
    counts = [(int((role == ROLES.index(name)).sum()), name) for name in ("distractor", "transient")]
    words = " and ".join(_count(count, name) for count, name in counts if count)
    return words and f", with {words}"


def _count(number: float, noun: str) -> str:
    """A number, to one decimal, and what it counts.

    >>> _count(1.04, "turn"), _count(1.8, "turn")
    ('1 turn', '1.8 turns')
    """
    text = f"{number:.1f}".removesuffix(".0")
    return f"{text} {noun}" if text == "1" else f"{text} {noun}s"
