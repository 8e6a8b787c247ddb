"""What a row looks like: the sphere's size, its colour, and the background's colour and pattern."""

from __future__ import annotations

from math import floor

import numpy as np
from numpy.typing import NDArray

from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DARK_OBJECT_MAX, PATTERNS, STRONGEST_CHANNEL_MIN, DatasetSpec


def choose_looks(
    spec: DatasetSpec, rows: range
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Radius (n,), object colour (n, 3) and background colour (n, 3) of some rows."""
    # uniforms: radius; bright on dark or dark on bright; hue, saturation and strength; the background's three channels
    table = uniforms(spec.dataset.seed, Stream.APPEARANCE, first=rows.start, count=len(rows), width=8)
    smallest, largest = spec.scene.radius
    radius = (smallest + (largest - smallest) * table[:, 0]).astype(np.float32)
    dark = is_dark(spec, rows)
    background_color = mix_background_colors(spec, dark, table[:, 5:])
    return radius, mix_object_colors(dark, table[:, 2:5]), background_color


def is_dark(spec: DatasetSpec, rows: range) -> NDArray[np.bool_]:
    """Whether the background of each row (n,) is dark, with bright bodies in front.

    The colour alone does not tell: with much ambient light and little contrast some colours may be either.
    """
    table = uniforms(spec.dataset.seed, Stream.APPEARANCE, first=rows.start, count=len(rows), width=8)
    return table[:, 1] < 0.5


def draw_background(spec: DatasetSpec, rows: range) -> NDArray[np.float64]:
    """Uniforms that decide the background of each row: 8, then 4 for each camera."""
    width = 8 + 4 * spec.video.cameras
    return uniforms(spec.dataset.seed, Stream.BACKGROUND, first=rows.start, count=len(rows), width=width)


def choose_patterns(spec: DatasetSpec, rows: range) -> NDArray[np.uint8]:
    """Pattern of each background (n,): places in `trajstore.spec.PATTERNS`."""
    patterns = np.array([PATTERNS.index(name) for name in spec.background.patterns], np.uint8)
    if len(patterns) == 1:
        return np.repeat(patterns, len(rows))
    return patterns[(draw_background(spec, rows)[:, 0] * len(patterns)).astype(np.intp)]


def mix_object_colors(is_dark: NDArray[np.bool_], table: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours of bodies (..., 3), bright in front of dark backgrounds (...), dark in front of bright ones.

    The three uniforms of a body are its hue, its saturation and how strong its strongest channel is.
    """
    dark = is_dark[..., None]
    hue = table[..., 0, None] * 6.0 + np.array([0.0, 4.0, 2.0])
    pure = np.clip(np.abs(np.mod(hue, 6.0) - 3.0) - 1.0, 0.0, 1.0)
    saturation = 0.4 + 0.6 * table[..., 1, None]
    strength = table[..., 2, None]
    strongest = np.where(
        dark,
        255.0 * (STRONGEST_CHANNEL_MIN + (1.0 - STRONGEST_CHANNEL_MIN) * strength),
        DARK_OBJECT_MAX * (0.6 + 0.4 * strength),
    )
    color = np.ceil(strongest * (1.0 - saturation * (1.0 - pure)))
    mixed: NDArray[np.uint8] = np.where(dark, color, np.minimum(color, DARK_OBJECT_MAX)).astype(np.uint8)
    return mixed


def mix_background_colors(
    spec: DatasetSpec, is_dark: NDArray[np.bool_], table: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Colours of dark or bright backgrounds (..., 3), far enough from those of all bodies, from three uniforms each."""
    bright_min = max(DARK_OBJECT_MAX + spec.render.contrast, 180)
    color = np.where(
        is_dark[..., None],
        np.floor(_limit_dark(spec) * table),
        np.ceil(bright_min + (255.0 - bright_min) * table),
    )
    return color.astype(np.uint8)


def _limit_dark(spec: DatasetSpec) -> int:
    """The most that any channel of a dark background is."""
    return floor(STRONGEST_CHANNEL_MIN * 255 * spec.render.ambient) - spec.render.contrast
