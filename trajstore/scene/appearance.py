"""Sizes and colours."""

from __future__ import annotations

from math import floor

import numpy as np
from numpy.typing import NDArray

from trajstore.spec import DARK_OBJECT_MAX, STRONGEST_CHANNEL_MIN, DatasetSpec


def choose_colors(
    spec: DatasetSpec, look: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Object and background colours (n, 3): bright on dark or dark on bright, with the spec's contrast kept."""
    contrast = spec.render.contrast
    dark_max = floor(STRONGEST_CHANNEL_MIN * 255 * spec.render.ambient) - contrast
    bright_min = max(DARK_OBJECT_MAX + contrast, 180)
    is_dark = look[:, 1, None] < 0.5

    hue = look[:, 2, None] * 6.0 + np.array([0.0, 4.0, 2.0])
    pure = np.clip(np.abs(np.mod(hue, 6.0) - 3.0) - 1.0, 0.0, 1.0)
    saturation = 0.4 + 0.6 * look[:, 3, None]
    strongest = np.where(
        is_dark,
        255.0 * (STRONGEST_CHANNEL_MIN + (1.0 - STRONGEST_CHANNEL_MIN) * look[:, 4, None]),
        DARK_OBJECT_MAX * (0.6 + 0.4 * look[:, 4, None]),
    )
    object_color = np.ceil(strongest * (1.0 - saturation * (1.0 - pure)))
    object_color = np.where(is_dark, object_color, np.minimum(object_color, DARK_OBJECT_MAX))
    background = np.where(
        is_dark, np.floor(dark_max * look[:, 5:]), np.ceil(bright_min + (255.0 - bright_min) * look[:, 5:])
    )
    return object_color.astype(np.uint8), background.astype(np.uint8)
