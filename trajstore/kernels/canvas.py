"""A picture on which the frames of a clip are drawn one after the other, and what is new in each of them.

Bodies are drawn over a background that stands still. What they touch is put down as literals of a compressed frame
(`trajstore.kernels.zstd`), everything else as matches: with the frame before, or, where that shows a body, with one of
the two before it or another place of a plain background. Then the background is put back there, and nowhere else. So
nothing is filled, searched or compressed that does not move.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.raster import clear_touched, make_touched
from trajstore.kernels.zstd import MATCH_MIN, STEP, Encoder, copy_step, put_pieces

HISTORY: Final = 4
"""Frames whose runs are kept, a power of 2: the one that is drawn, and those before it."""

PROBE: Final = 4
"""How far apart, and how long, samples are that find repetitions: half of the shortest one."""

REFINE_MIN: Final = 16
"""In fewer new pixels than this, repetitions are not looked for."""

LITERALS: Final = 0
"""The offset that stands for bytes which are not the same as any before."""


class Canvas(NamedTuple):
    """Memory of the functions here, allocated once for many clips."""

    pictures: NDArray[np.uint8]
    """(2, 3, height, width): the background, over which bodies are drawn: in the first one those of frame 0, 2, …."""

    picture_bytes: NDArray[np.uint8]
    """(2, 3 · height · width + STEP): the same memory."""

    background: NDArray[np.uint8]
    """(3, height, width): what is behind the bodies."""

    background_bytes: NDArray[np.uint8]
    """(3 · height · width + STEP,): the same memory."""

    touched: NDArray[np.int64]
    """(height + 1, 2): where the bodies of the frame that is drawn are."""

    runs: NDArray[np.int64]
    """(HISTORY, n, 2): where pixels that show bodies begin and end, counted row by row."""

    first_run: NDArray[np.int64]
    """(HISTORY, height + 1): the first run of each row in which there are bodies; last, how many there are."""

    rows: NDArray[np.int64]
    """(HISTORY, 2): the rows in which bodies begin and end."""

    pieces: NDArray[np.int64]
    """(n, 3): of what each plane of a frame is put together: how far back, where, how many pixels."""

    refined: NDArray[np.int64]
    """(n, 3): the same for one plane, with repetitions in it."""


def make_canvas(height: int, width: int) -> Canvas:
    """Allocate a canvas for pictures of a size."""
    pixels = height * width
    pictures = np.zeros((3, 3 * pixels + STEP), np.uint8)
    shaped = pictures[:, : 3 * pixels].reshape(3, 3, height, width)
    pieces = pixels + 16
    return Canvas(
        pictures=shaped[:2],
        picture_bytes=pictures[:2],
        background=shaped[2],
        background_bytes=pictures[2],
        touched=make_touched(height),
        runs=np.zeros((HISTORY, height * (width // MATCH_MIN + 1), 2), np.int64),
        first_run=np.zeros((HISTORY, height + 1), np.int64),
        rows=np.zeros((HISTORY, 2), np.int64),
        pieces=np.zeros((pieces, 3), np.int64),
        refined=np.zeros((pieces, 3), np.int64),
    )


@kernel
def find_runs(frame: int, is_single: bool, canvas: Canvas) -> None:
    """Find the pixels that differ from the background.

    Parameters
    ----------
    frame : int
        How many frames of this clip are before this one.
    is_single : bool
        Whether there is a single body: all between its edges is one run.
    canvas : Canvas
        A picture with what has been touched; out: its runs. Pixels between two bodies of a row belong to none where
        they are enough for a match.
    """
    slot, background = frame & (HISTORY - 1), canvas.background_bytes
    runs, first_run, picture = canvas.runs[slot], canvas.first_run[slot], canvas.picture_bytes[frame & 1]
    height, width = canvas.background.shape[1], canvas.background.shape[2]
    pixels, count = height * width, 0
    top, bottom = canvas.touched[height, 0], canvas.touched[height, 1]
    for row in range(top, bottom):
        first_run[row] = count
        first, last = canvas.touched[row, 0] + row * width, canvas.touched[row, 1] + row * width
        if first >= last:
            continue
        runs[count, 0], runs[count, 1] = first, last
        if is_single:
            count += 1
            continue
        still = 0
        for i in range(first, last):
            if (
                picture[i] == background[i]
                and picture[pixels + i] == background[pixels + i]
                and picture[2 * pixels + i] == background[2 * pixels + i]
            ):
                still += 1
                continue
            if still >= MATCH_MIN:
                if i - still > runs[count, 0]:
                    runs[count, 1] = i - still
                    count += 1
                runs[count, 0] = i
            still = 0
        if still < MATCH_MIN:
            still = 0
        if last - still > runs[count, 0]:
            runs[count, 1] = last - still
            count += 1
    if top < bottom:
        first_run[bottom] = count
    first_run[height] = count
    canvas.rows[slot, 0], canvas.rows[slot, 1] = top, bottom


@kernel
def count_still(slot: int, row: int, first: int, stop: int, canvas: Canvas) -> int:
    """Count the pixels before the first one that shows a body.

    Parameters
    ----------
    slot : int
        Of which frame.
    row, first, stop : int
        Among which pixels, and the row of the first one.
    canvas : Canvas
        The runs.

    Returns
    -------
    int
        From 0 to ``stop - first``.
    """
    runs, count = canvas.runs[slot], canvas.first_run[slot, canvas.background.shape[1]]
    run = count if row >= canvas.rows[slot, 1] else 0
    if canvas.rows[slot, 0] <= row < canvas.rows[slot, 1]:
        run = canvas.first_run[slot, row]
    while run < count and runs[run, 1] <= first:
        run += 1
    if run == count:
        return stop - first
    return int(max(0, min(runs[run, 0], stop) - first))


@kernel
def add_piece(count: int, offset: int, first: int, length: int, pieces: NDArray[np.int64]) -> int:
    """Add a piece to a frame; one that goes on from the last becomes part of it.

    Parameters
    ----------
    count : int
        How many there are.
    offset : int
        How far back, or LITERALS.
    first, length : int
        Its first pixel, and how many it has.
    pieces : (n, 3) int64
        The pieces.

    Returns
    -------
    int
        How many there are now.
    """
    if count > 0 and pieces[count - 1, 0] == offset:
        pieces[count - 1, 2] += length
        return count
    pieces[count, 0], pieces[count, 1], pieces[count, 2] = offset, first, length
    return count + 1


@kernel
def fill_gap(
    count: int, first: int, stop: int, frame: int, is_single: bool, is_plain: bool, canvas: Canvas
) -> int:
    """Add the pieces of some pixels that show the background.

    Parameters
    ----------
    count : int
        How many pieces there are.
    first, stop : int
        Which pixels.
    frame : int
        How many frames of this clip are before this one.
    is_single : bool
        Whether there is a single body.
    is_plain : bool
        Whether all pixels of the background are the same.
    canvas : Canvas
        Runs of this frame and those before it, and the pieces.

    Returns
    -------
    int
        How many pieces there are now.
    """
    pieces, size = canvas.pieces, canvas.background.size
    height, width = canvas.background.shape[1], canvas.background.shape[2]
    if frame == 0 and is_plain and stop - first >= MATCH_MIN:
        # a little of it, and that again and again: what is copied from far enough is copied fast
        head = STEP if stop - first >= 4 * STEP else 1
        count = add_piece(count, LITERALS, first, head, pieces)
        return add_piece(count, head, first + head, stop - first - head, pieces)
    if frame == 0:
        return add_piece(count, LITERALS, first, stop - first, pieces) if first < stop else count
    while first < stop:
        length, row = stop - first, int(np.uintp(first) // np.uintp(width))
        best, offset = count_still((frame - 1) & (HISTORY - 1), row, first, stop, canvas), size
        if best < length and is_single and is_plain:
            # the other half of the same plane, where the body that is here is not
            down = height // 2 if row < height // 2 else -(height // 2)
            shift = down * width
            end = min(stop + shift, height * width)
            still = count_still((frame - 1) & (HISTORY - 1), row + down, first + shift, end, canvas)
            if still > best:
                best, offset = still, size - shift
        if best < MATCH_MIN:
            for back in range(2, min(frame, HISTORY - 1) + 1):
                still = count_still((frame - back) & (HISTORY - 1), row, first, stop, canvas)
                if still > max(best, MATCH_MIN - 1):
                    best, offset = still, back * size
        if best == 0:
            best, offset = 1, LITERALS
        count = add_piece(count, offset, first, best, pieces)
        first += best
    return count


@kernel
def fill_run(count: int, first: int, stop: int, frame: int, canvas: Canvas) -> int:
    """Add the pieces of some pixels that show bodies.

    Parameters
    ----------
    count : int
        How many pieces there are.
    first, stop : int
        Which pixels.
    frame : int
        How many frames of this clip are before this one.
    canvas : Canvas
        The picture and the one before, and the pieces.

    Returns
    -------
    int
        How many pieces there are now.
    """
    pieces, pixels = canvas.pieces, canvas.background.shape[1] * canvas.background.shape[2]
    now, before = canvas.picture_bytes[frame & 1], canvas.picture_bytes[1 - (frame & 1)]
    if frame == 0:
        return add_piece(count, LITERALS, first, stop - first, pieces)
    place = first
    while place < stop:
        is_still = (
            now[place] == before[place]
            and now[pixels + place] == before[pixels + place]
            and now[2 * pixels + place] == before[2 * pixels + place]
        )
        count = add_piece(count, canvas.background.size if is_still else LITERALS, place, 1, pieces)
        place += 1
    return count


@kernel
def drop_short(count: int, pieces: NDArray[np.int64]) -> int:
    """Make matches literals that are too short.

    Parameters
    ----------
    count : int
        How many pieces there are.
    pieces : (n, 3) int64
        The pieces, changed in place.

    Returns
    -------
    int
        How many pieces there are now.
    """
    total = 0
    for i in range(count):
        offset, first, length = pieces[i, 0], pieces[i, 1], pieces[i, 2]
        total = add_piece(total, LITERALS if length < MATCH_MIN else offset, first, length, pieces)
    return total


@kernel
def refine(count: int, shift: int, source: NDArray[np.uint8], width: int, canvas: Canvas) -> int:
    """Find what repeats the byte before it or the row above in the new pixels of a plane.

    Parameters
    ----------
    count : int
        How many pieces there are.
    shift : int
        Where the plane begins.
    source : (n,) uint8
        The planes.
    width : int
        Of the picture, px.
    canvas : Canvas
        The pieces; out: refined ones.

    Returns
    -------
    int
        How many pieces are refined.
    """
    pieces, refined, total = canvas.pieces, canvas.refined, 0
    for i in range(count):
        offset, first, stop = pieces[i, 0], pieces[i, 1], pieces[i, 1] + pieces[i, 2]
        if offset != LITERALS or stop - first < REFINE_MIN:
            total = add_piece(total, offset, first, stop - first, refined)
            continue
        place = first  # where what is taken down ends
        at = first + PROBE  # probes are so close that no repetition is missed
        while at + PROBE <= stop:
            found = 0
            for back in (1, width):
                j = shift + at
                if j < back:
                    continue
                if (
                    source[j] == source[j - back]
                    and source[j + 1] == source[j + 1 - back]
                    and source[j + 2] == source[j + 2 - back]
                    and source[j + 3] == source[j + 3 - back]
                ):
                    start, end = at, at + PROBE
                    while (
                        start > place
                        and shift + start > back
                        and source[shift + start - 1] == source[shift + start - 1 - back]
                    ):
                        start -= 1
                    while end < stop and source[shift + end] == source[shift + end - back]:
                        end += 1
                    if end - start >= MATCH_MIN:
                        if start > place:
                            total = add_piece(total, LITERALS, place, start - place, refined)
                        total = add_piece(total, back, start, end - start, refined)
                        place = at = found = end
                        break
            if not found:
                at += PROBE
        if stop > place:
            total = add_piece(total, LITERALS, place, stop - place, refined)
    return total


@kernel
def is_other_half_still(frame: int, canvas: Canvas) -> bool:
    """Whether half a picture away from all bodies none was to be seen in the frame before.

    Parameters
    ----------
    frame : int
        How many frames of this clip are before this one, at least 1.
    canvas : Canvas
        The rows of bodies.

    Returns
    -------
    bool
        So that whatever is between bodies can be copied from there.
    """
    half = canvas.background.shape[1] // 2
    now, before = frame & (HISTORY - 1), (frame - 1) & (HISTORY - 1)
    top, bottom = canvas.rows[now, 0], canvas.rows[now, 1]
    first, last = canvas.rows[before, 0], canvas.rows[before, 1]
    upper = top < half and max(top + half, first) < min(min(bottom, half) + half, last)
    lower = bottom > half and max(max(top, half) - half, first) < min(bottom - half, last)
    return not (upper or lower)


@kernel
def is_first_run_still(frame: int, canvas: Canvas) -> bool:
    """Whether the first pixels that show a body are the same as in the frame before.

    Parameters
    ----------
    frame : int
        How many frames of this clip are before this one.
    canvas : Canvas
        The pictures and their runs.

    Returns
    -------
    bool
        False if there is no body, or no frame before.
    """
    slot, height = frame & (HISTORY - 1), canvas.background.shape[1]
    if frame == 0 or canvas.first_run[slot, height] == 0:
        return False
    now, before = canvas.picture_bytes[frame & 1], canvas.picture_bytes[1 - (frame & 1)]
    changed = 0
    for i in range(canvas.runs[slot, 0, 0], canvas.runs[slot, 0, 1]):
        changed += now[i] != before[i]
    return changed == 0


@kernel
def put_frame(frame: int, is_single: bool, is_plain: bool, canvas: Canvas, encoder: Encoder) -> None:
    """Put down the frame that has been drawn, and clear the canvas.

    Parameters
    ----------
    frame : int
        How many frames of this clip are before it.
    is_single : bool
        Whether there is a single body.
    is_plain : bool
        Whether each plane of the background has a single level.
    canvas : Canvas
        The picture, and what has been touched.
    encoder : Encoder
        Takes it down.
    """
    slot, pixels, width = (
        frame & (HISTORY - 1),
        canvas.background.shape[1] * canvas.background.shape[2],
        canvas.background.shape[2],
    )
    find_runs(frame, is_single, canvas)
    runs = canvas.runs[slot]
    # a number that is written out has a type of its own, for which `fill_gap` would be compiled once more
    zero = int(np.int64(0))
    half, count, place, above = canvas.background.shape[1] // 2, zero, zero, 0
    # a body that stands still is treated as one of several, which are compared with the frame before
    is_single = is_single and not is_first_run_still(frame, canvas)
    is_easy = is_single and is_plain and frame > 0 and is_other_half_still(frame, canvas)
    for row in range(canvas.rows[slot, 0], canvas.rows[slot, 1]):
        for run in range(canvas.first_run[slot, row], canvas.first_run[slot, row + 1]):
            first, stop = runs[run, 0], runs[run, 1]
            if is_easy and run > 0 and (above < half) == (row < half):
                shift = half * width if row < half else -half * width
                count = add_piece(count, canvas.background.size - shift, place, first - place, canvas.pieces)
            else:
                count = fill_gap(count, place, first, frame, is_single, is_plain, canvas)
            if is_single:
                count = add_piece(count, LITERALS, first, stop - first, canvas.pieces)
            else:
                count = fill_run(count, first, stop, frame, canvas)
            place, above = stop, row
    count = drop_short(fill_gap(count, place, pixels, frame, is_single, is_plain, canvas), canvas.pieces)
    now, before = canvas.picture_bytes[frame & 1], canvas.picture_bytes[1 - (frame & 1)]
    longest = 0
    for i in range(count):
        if canvas.pieces[i, 0] == LITERALS:
            longest = max(longest, canvas.pieces[i, 2])
    for channel in range(3):
        if longest < REFINE_MIN:
            put_pieces(count, canvas.pieces, now, channel * pixels, encoder)
        else:
            refined = refine(count, channel * pixels, now, width, canvas)
            put_pieces(refined, canvas.refined, now, channel * pixels, encoder)
    clear_touched(canvas.touched)
    if frame == 0:
        return
    # the picture before becomes the next one
    slot = (frame - 1) & (HISTORY - 1)
    for channel in range(3):
        for run in range(canvas.first_run[slot, canvas.background.shape[1]]):
            first, stop = canvas.runs[slot, run, 0], canvas.runs[slot, run, 1]
            for i in range(channel * pixels + first, channel * pixels + stop, STEP):
                copy_step(canvas.background_bytes, i, before, i)
