"""What is behind the bodies: patterns that mix two colours, still on the sensor.

A pattern gives each pixel of a line its share of the second colour, in float32; a pixel that has none is of the first.
"""

from __future__ import annotations

from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.hashing import mix

PLAIN, GRADIENT, CHECKER, NOISE = range(4)

OCTAVES: Final = 3
"""Layers of value noise, each half as strong as the one before and with points half as far apart; `sum_octaves` is
unrolled for this number."""

FINEST_PER_PX: Final = 0.5
"""Points of noise for each pixel are never more."""

SCRATCH_LINES: Final = 1 + 2 * OCTAVES
"""Lines of scratch: the shares, and two lines of each octave."""

HALF_BITS, UNUSED_BITS = np.uint64(32), np.uint64(40)
ZERO, HALF, ONE, TWO, THREE = (np.float32(value) for value in (0.0, 0.5, 1.0, 2.0, 3.0))
STRENGTH_0, STRENGTH_1, STRENGTH_2 = (np.float32(value / 7.0) for value in (4.0, 2.0, 1.0))
NEXT: Final = np.int32(1)
PER_STEP: Final = np.float32(2.0**-24)


@kernel
def blend(
    share: NDArray[np.float32], first: NDArray[np.uint8], second: NDArray[np.uint8], out: NDArray[np.uint8]
) -> None:
    """Mix two colours along a line of pixels.

    Parameters
    ----------
    share : (width or more,) float32
        How much of the second colour there is, from 0 to 1.
    first, second : (3,) uint8
        RGB.
    out : (3, width) uint8
        The line, rounded to the nearest levels.
    """
    for channel in range(3):
        line = out[channel]
        start = np.float32(first[channel])
        step = np.float32(second[channel]) - start
        for column in range(line.shape[0]):
            line[column] = np.uint8(start + share[column] * step + HALF)


@kernel
def fill_gradient(direction: NDArray[np.float64], row: int, height: int, out: NDArray[np.float32]) -> None:
    """Share of the second colour that grows linearly across the picture, from one corner or side to the opposite one.

    Parameters
    ----------
    direction : (2,) float64
        Unit vector (u, v) towards the second colour.
    row, height : int
        The line, and the lines of the picture.
    out : (width,) float32
        Shares, above 0 and below 1.
    """
    width = out.shape[0]
    extent = abs(direction[0]) * width + abs(direction[1]) * height
    step = direction[0] / extent
    start = 0.5 + (direction[0] * (0.5 - 0.5 * width) + direction[1] * (row + 0.5 - 0.5 * height)) / extent
    for column in range(width):
        out[column] = np.float32(start + step * float(column))


@kernel
def sample_wave(phase: np.float32, sharpness: np.float32) -> np.float32:
    """A square wave of period 2, 1 first and then −1, whose steps are as wide as a pixel."""
    place = phase + HALF
    place = place - TWO * np.floor(place * HALF)
    return min(max(sharpness * (HALF - abs(place - ONE)), -ONE), ONE)


@kernel
def fill_checker(
    direction: NDArray[np.float64],
    phase: NDArray[np.float64],
    cells_per_px: float,
    row: int,
    out: NDArray[np.float32],
) -> None:
    """Share of the second colour on a checkerboard with soft edges.

    Parameters
    ----------
    direction : (2,) float64
        Unit vector (u, v) along one side of the fields.
    phase : (2,) float64
        Where the picture's corner lies on the board, fields.
    cells_per_px : float
        Fields for each pixel along one of their sides.
    row : int
        The line.
    out : (width,) float32
        Shares.
    """
    step_x, step_y = direction[0] * cells_per_px, direction[1] * cells_per_px
    start_x = phase[0] + 0.5 * step_x + (row + 0.5) * step_y
    start_y = phase[1] - 0.5 * step_y + (row + 0.5) * step_x
    # whole periods are left out in float64: what remains is small
    along, across = (
        np.float32(start_x - 2.0 * floor(0.5 * start_x)),
        np.float32(start_y - 2.0 * floor(0.5 * start_y)),
    )
    step_along, step_across = np.float32(step_x), np.float32(-step_y)
    sharpness = np.float32(2.0 / cells_per_px)
    for column in range(out.shape[0]):
        place = np.float32(np.int32(column))
        wave = sample_wave(along + place * step_along, sharpness)
        wave = wave * sample_wave(across + place * step_across, sharpness)
        out[column] = HALF - HALF * wave


@kernel
def smoothen(share: np.float32) -> np.float32:
    """A share from 0 to 1 as one that starts and ends without a kink."""
    return share * share * (THREE - TWO * share)


@kernel
def hash_point(line_key: np.uint64, point: np.int32) -> np.float32:
    """Value of one point of a line of a lattice, from 0 to 1."""
    return np.float32(np.int32(mix(line_key ^ np.uint64(point)) >> UNUSED_BITS)) * PER_STEP


@kernel
def fill_lattice_line(
    key: np.uint64, phase: float, per_px: float, line: int, out: NDArray[np.float32]
) -> None:
    """Value noise along one line of its lattice.

    Parameters
    ----------
    key : uint64
        What the values are a hash of, with the line and the column of a point.
    phase : float
        Where the picture's left side lies between two points, as a share of their distance.
    per_px : float
        Points for each pixel.
    line : int
        Of the lattice.
    out : (width,) float32
        Noise from 0 to 1.
    """
    line_key = key ^ (np.uint64(line) << HALF_BITS)
    start, step = np.float32(phase + 0.5 * per_px), np.float32(per_px)
    for column in range(out.shape[0]):
        place = start + np.float32(np.int32(column)) * step
        point = np.int32(place)
        # two hashes for each pixel: on vectors faster than values looked up in a table
        left, right = hash_point(line_key, point), hash_point(line_key, point + NEXT)
        out[column] = left + smoothen(place - np.float32(point)) * (right - left)


@kernel
def sum_octaves(
    below_0: np.float32,
    below_1: np.float32,
    below_2: np.float32,
    lines: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Weighted mean of three octaves, each half as strong as the one before.

    Parameters
    ----------
    below_0, below_1, below_2 : float32
        How near an octave's lower line is, from 0 to 1.
    lines : (6, width) float32
        Upper and lower line of each octave.
    out : (width,) float32
        Noise from 0 to 1.
    """
    for column in range(out.shape[0]):
        first = lines[0, column] + below_0 * (lines[1, column] - lines[0, column])
        second = lines[2, column] + below_1 * (lines[3, column] - lines[2, column])
        third = lines[4, column] + below_2 * (lines[5, column] - lines[4, column])
        out[column] = STRENGTH_0 * first + STRENGTH_1 * second + STRENGTH_2 * third


@kernel
def fill_noise(
    key: np.uint64,
    phase: NDArray[np.float64],
    cells_per_px: float,
    row: int,
    lines: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Share of the second colour as smooth value noise.

    Parameters
    ----------
    key : uint64
        Other keys give other noise.
    phase : (2,) float64
        Where the picture's corner lies between the points of each lattice, as shares of their distance.
    cells_per_px : float
        Points of the coarsest lattice for each pixel.
    row : int
        The line; the lines of a picture are filled from the first one on, one after the other.
    lines : (2 · OCTAVES, width) float32
        What is kept from line to line: of each octave, the lattice's lines above and below.
    out : (width,) float32
        Shares.
    """
    below_0, below_1, below_2 = ZERO, ZERO, ZERO
    for octave in range(OCTAVES):
        per_px = min(cells_per_px * float(1 << octave), FINEST_PER_PX)
        place = phase[1] + (row + 0.5) * per_px
        line, line_before = floor(place), floor(phase[1] + (row - 0.5) * per_px)
        octave_key = key ^ np.uint64(octave)
        if row == 0:
            fill_lattice_line(mix(octave_key), phase[0], per_px, line, lines[2 * octave])
        elif line > line_before:
            for column in range(
                lines.shape[1]
            ):  # a copy of a whole line would allocate, in case both overlap
                lines[2 * octave, column] = lines[2 * octave + 1, column]
        if row == 0 or line > line_before:
            fill_lattice_line(mix(octave_key), phase[0], per_px, line + 1, lines[2 * octave + 1])
        below_0, below_1, below_2 = below_1, below_2, smoothen(np.float32(place - line))
    sum_octaves(below_0, below_1, below_2, lines, out)


@kernel
def paint_background(
    pattern: int,
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    direction: NDArray[np.float64],
    phase: NDArray[np.float64],
    cell_px: float,
    key: NDArray[np.uint64],
    scratch: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Paint what each camera sees behind the bodies.

    Parameters
    ----------
    pattern : int
        PLAIN, GRADIENT, CHECKER or NOISE.
    first, second : (3,) uint8
        RGB; a plain background has the first colour.
    direction : (cameras, 2) float64
        Unit vectors (u, v): where a gradient or a side of a checker's fields goes.
    phase : (cameras, 2) float64
        Where a checker or a noise begins.
    cell_px : float
        Side of a checker's field, or distance of the points that noise is interpolated between, px.
    key : (cameras,) uint64
        What noise is a hash of.
    scratch : (SCRATCH_LINES, width) float32
        Scratch.
    out : (cameras, 3, height, width) uint8
        The pictures; every pixel is written.
    """
    height = out.shape[2]
    # taken here, not line by line: each view of an array costs its counted references
    share, lines, cells_per_px = scratch[0], scratch[1:], 1.0 / cell_px
    share[:] = ZERO
    for camera in range(out.shape[0]):
        picture, toward, begin = out[camera], direction[camera], phase[camera]
        for row in range(height):
            if pattern == GRADIENT:
                fill_gradient(toward, row, height, share)
            elif pattern == CHECKER:
                fill_checker(toward, begin, cells_per_px, row, share)
            elif pattern == NOISE:
                fill_noise(key[camera], begin, cells_per_px, row, lines, share)
            blend(share, first, second, picture[:, row])
