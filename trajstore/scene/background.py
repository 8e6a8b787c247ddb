"""What is behind the bodies of each row: its pattern, its second colour, and where the pattern lies in each camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.background import SCRATCH_LINES, paint_background
from trajstore.kernels.portable import sin_cos_turns
from trajstore.scene.appearance import choose_patterns, draw_background, is_dark, mix_background_colors
from trajstore.scene.randomness import to_keys
from trajstore.spec import DatasetSpec


@dataclass(frozen=True)
class Backgrounds:
    """The backgrounds of some rows.

    Attributes
    ----------
    pattern : (n,) uint8
        Place in `trajstore.spec.PATTERNS`.
    first_color, second_color : (n, 3) uint8
        RGB; all other patterns but plain mix both.
    cell : (n,) float64
        Size of a field of a checker or of a grain of noise, as a share of the picture's shorter side.
    direction : (n, cameras, 2) float64
        Unit vectors (u, v) in the picture.
    phase : (n, cameras, 2) float64
        Where the pattern begins, cells.
    key : (n, cameras) uint64
        What noise is a hash of.
    """

    pattern: NDArray[np.uint8]
    first_color: NDArray[np.uint8]
    second_color: NDArray[np.uint8]
    cell: NDArray[np.float64]
    direction: NDArray[np.float64]
    phase: NDArray[np.float64]
    key: NDArray[np.uint64]

    def paint(self, index: int, cameras: slice, height: int, width: int) -> NDArray[np.uint8]:
        """Paint the backgrounds (cameras, 3, height, width) that some cameras see in one row."""
        key = self.key[index, cameras]
        out = np.empty((len(key), 3, height, width), np.uint8)
        paint_background(
            self.pattern[index],
            self.first_color[index],
            self.second_color[index],
            self.direction[index, cameras],
            self.phase[index, cameras],
            self.cell[index] * min(height, width),
            key,
            np.empty((SCRATCH_LINES, width), np.float32),
            out,
        )
        return out


def choose_backgrounds(spec: DatasetSpec, rows: range, first_color: NDArray[np.uint8]) -> Backgrounds:
    """Backgrounds of some rows, whose second colour is as dark or as bright as the first."""
    # by row: the pattern, the size of a cell, the second colour and three to spare; then four for each camera
    table = draw_background(spec, rows)
    least, most = spec.background.cell
    by_camera = table[:, 8:].reshape(len(rows), -1, 4)
    sine, cosine = sin_cos_turns(by_camera[..., 0])
    return Backgrounds(
        pattern=choose_patterns(spec, rows),
        first_color=first_color,
        second_color=mix_background_colors(spec, is_dark(spec, rows), table[:, 2:5]),
        cell=least + (most - least) * table[:, 1],
        direction=np.stack([cosine, sine], axis=-1),
        phase=by_camera[..., 1:3].copy(),
        key=to_keys(by_camera[..., 3]),
    )
