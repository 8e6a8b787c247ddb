"""What a row looks like: the sphere's size, its colour and that of the background."""

from __future__ import annotations

from math import floor

import numpy as np
from numpy.typing import NDArray

from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DARK_OBJECT_MAX, STRONGEST_CHANNEL_MIN, DatasetSpec


def choose_looks(
    spec: DatasetSpec, rows: range
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Radius (n,), object colour (n, 3) and background colour (n, 3) of some rows."""
    table = uniforms(spec.dataset.seed, Stream.APPEARANCE, first=rows.start, count=len(rows), width=8)
    smallest, largest = spec.scene.radius
    radius = (smallest + (largest - smallest) * table[:, 0]).astype(np.float32)
    return radius, *_choose_colors(spec, table[:, 1:])


def _choose_colors(
    spec: DatasetSpec, table: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Object and background colours: bright on dark or dark on bright, with the spec's contrast kept.

    The seven uniforms of a row are: which of both, the object's hue, saturation and strongest channel, and the
    background's red, green and blue.
    """
    contrast = spec.render.contrast
    dark_max = floor(STRONGEST_CHANNEL_MIN * 255 * spec.render.ambient) - contrast
    bright_min = max(DARK_OBJECT_MAX + contrast, 180)
    is_dark = table[:, 0, None] < 0.5

    hue = table[:, 1, None] * 6.0 + np.array([0.0, 4.0, 2.0])
    pure = np.clip(np.abs(np.mod(hue, 6.0) - 3.0) - 1.0, 0.0, 1.0)
    saturation = 0.4 + 0.6 * table[:, 2, None]
    strength = table[:, 3, None]
    strongest = np.where(
        is_dark,
        255.0 * (STRONGEST_CHANNEL_MIN + (1.0 - STRONGEST_CHANNEL_MIN) * strength),
        DARK_OBJECT_MAX * (0.6 + 0.4 * strength),
    )
    object_color = np.ceil(strongest * (1.0 - saturation * (1.0 - pure)))
    object_color = np.where(is_dark, object_color, np.minimum(object_color, DARK_OBJECT_MAX))
    background_color = np.where(
        is_dark, np.floor(dark_max * table[:, 4:]), np.ceil(bright_min + (255.0 - bright_min) * table[:, 4:])
    )
    return object_color.astype(np.uint8), background_color.astype(np.uint8)
