"""Annotations that are made and compressed at once: nothing is touched but the pixels that show bodies.

They are bit for bit those of `trajstore.kernels.annotate`. Pixels of bodies are literals of zstd frames
(`trajstore.kernels.zstd`), the background is one number and a match that repeats it.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.annotate import Layers, Survey, annotate_frame
from trajstore.kernels.canvas import LITERALS, add_piece
from trajstore.kernels.compiler import kernel
from trajstore.kernels.poses import BOTTOM, TOP, Scratch, pose_bodies
from trajstore.kernels.raster import clear_touched
from trajstore.kernels.visible import see_row
from trajstore.kernels.zstd import (
    LENGTH,
    MATCH_MIN,
    OFFSET,
    STEP,
    Encoder,
    put_pieces,
    start_frame,
    write_frame,
)

SEGMENTATION, DEPTH_MAP, FORWARD_FLOW, BACKWARD_FLOW, NORMALS = range(5)
"""Places of the layers."""

LONG: Final = 4 * STEP
"""Bytes that are worth copying fast."""


NEW_MAX: Final = 8
"""So many bytes of a row more than in the row before are put down, and the rest is copied from there."""


class Encoders(NamedTuple):
    """Those of the layers."""

    segmentation: Encoder
    depth_map: Encoder
    forward_flow: Encoder
    backward_flow: Encoder
    normals: Encoder


class LayerCanvas(NamedTuple):
    """Pictures on which the layers of a frame are drawn, allocated once for many clips."""

    layers: Layers
    """Of one picture, all background."""

    is_wanted: NDArray[np.bool_]
    """(5,): which layers are to be compressed; the others have no pixels, but for ``segmentation``."""

    layer_bytes: tuple[NDArray[np.uint8], ...]
    """The same memory, and `STEP` bytes more of each."""

    absent: NDArray[np.uint8]
    """(4 · 4 + STEP,): the bytes of NaN, again and again."""

    pieces: NDArray[np.int64]
    """(n, 3): what a plane is put together of."""


def make_layer_canvas(is_wanted: tuple[bool, ...], height: int, width: int) -> LayerCanvas:
    """Allocate pictures of a size for the layers that are wanted."""
    backgrounds = (0, inf, 0, 0, 0)
    types = (np.uint8, np.float32, np.float32, np.float32, np.float32)
    shapes = ((), (), (2,), (2,), (3,))
    layers: list[NDArray[Any]] = []
    layer_bytes: list[NDArray[np.uint8]] = []
    for layer, shape in enumerate(shapes):
        size = (height, width) if is_wanted[layer] or layer == SEGMENTATION else (0, 0)
        count = int(np.prod((*shape, *size)))
        memory = np.full(count + STEP, backgrounds[layer], types[layer])
        layers.append(memory[:count].reshape(*shape, *size))
        layer_bytes.append(memory.view(np.uint8))
    return LayerCanvas(
        layers=Layers(*layers),
        is_wanted=np.array(is_wanted),
        layer_bytes=tuple(layer_bytes),
        absent=np.full(4 + STEP // 4, nan, np.float32).view(np.uint8),
        pieces=np.zeros((2 * height * width + 16, 3), np.int64),
    )


@kernel
def add_repeated(count: int, first: int, length: int, size: int, pieces: NDArray[np.int64]) -> int:
    """Add the pieces of pixels that are all the same: some of them, and those again and again.

    Parameters
    ----------
    count : int
        How many pieces there are.
    first, length : int
        The first pixel, and how many there are.
    size : int
        Bytes of a pixel.
    pieces : (n, 3) int64
        The pieces, in bytes.

    Returns
    -------
    int
        How many pieces there are now.
    """
    if length == 0:
        return count
    # what is copied from far enough is copied fast
    head = STEP // size if length * size >= LONG else 1
    rest = (length - head) * size
    if rest < MATCH_MIN:
        return add_piece(count, LITERALS, first * size, length * size, pieces)
    count = add_piece(count, LITERALS, first * size, head * size, pieces)
    return add_piece(count, head * size, (first + head) * size, rest, pieces)


@kernel
def add_gap(
    count: int, first: int, length: int, lead: int, is_last: bool, size: int, pieces: NDArray[np.int64]
) -> int:
    """Add the pieces of pixels that show the background; those that the plane begins with are copied.

    Parameters
    ----------
    count : int
        How many pieces there are.
    first, length : int
        The first pixel, and how many there are.
    lead : int
        How many pixels of background the plane begins with.
    is_last : bool
        Whether the plane ends with these.
    size : int
        Bytes of a pixel.
    pieces : (n, 3) int64
        The pieces, in bytes.

    Returns
    -------
    int
        How many pieces there are now.
    """
    total = length * size
    if first > 0 and lead * size >= STEP and total >= MATCH_MIN:
        if total <= lead * size and not is_last:
            return add_piece(count, first * size, first * size, total, pieces)
        if total >= STEP + MATCH_MIN:  # what is left can go on in the next plane
            count = add_piece(count, first * size, first * size, STEP, pieces)
            return add_piece(count, STEP, first * size + STEP, total - STEP, pieces)
    return add_repeated(count, first, length, size, pieces)


@kernel
def find_lead(total: int, runs: NDArray[np.int64], height: int, width: int) -> int:
    """Count the pixels of background that a plane begins with.

    Parameters
    ----------
    total : int
        How many runs there are.
    runs : (n, 4) int64
        Pixels of bodies; see `trajstore.kernels.annotate.Survey`.
    height, width : int
        Of the plane, px.

    Returns
    -------
    int
        All of them, where there is no body.
    """
    return int(runs[0, 1] * width + runs[0, 2] if total > 0 else height * width)


@kernel
def find_pieces(
    size: int, total: int, runs: NDArray[np.int64], height: int, width: int, pieces: NDArray[np.int64]
) -> int:
    """Find what a plane is put together of.

    Parameters
    ----------
    size : int
        Bytes of a pixel; where it is a single one, pixels of a body are all the same, too.
    total : int
        How many runs there are.
    runs : (n, 4) int64
        Pixels of bodies; see `trajstore.kernels.annotate.Survey`.
    height, width : int
        Of the plane, px.
    pieces : (m, 3) int64
        Out: the pieces, in bytes.

    Returns
    -------
    int
        How many pieces there are.
    """
    count, place, pixels, lead = 0, 0, height * width, find_lead(total, runs, height, width)
    gap_before, length_before, body_before = 0, 0, -1
    for run in range(total):
        body, first, length = runs[run, 0], runs[run, 1] * width + runs[run, 2], runs[run, 3] - runs[run, 2]
        gap, end = first - place, first + length
        # no match is left open at the end of a plane but one of background
        is_same = size == 1 and end < pixels
        new_gap, new_length = max(gap - gap_before, 0), max(length - length_before, 0)
        alike = gap - new_gap + length - new_length
        if is_same and body == body_before and max(new_gap, new_length) <= NEW_MAX and alike >= MATCH_MIN:
            # the row before is background and body, too: what it has less of is put down
            if new_gap:
                count = add_piece(count, LITERALS, place, new_gap, pieces)
            count = add_piece(count, length_before + gap, place + new_gap, alike, pieces)
            if new_length:
                count = add_piece(count, LITERALS, end - new_length, new_length, pieces)
        else:
            count = add_gap(count, place, gap, lead, False, size, pieces)
            if is_same:
                count = add_repeated(count, first, length, size, pieces)
            else:
                count = add_piece(count, LITERALS, first * size, length * size, pieces)
        place, gap_before, length_before, body_before = end, gap, length, body
    return add_gap(count, place, pixels - place, lead, True, size, pieces)


@kernel
def put_planes(
    components: int,
    size: int,
    count: int,
    pieces: NDArray[np.int64],
    lead: int,
    pixels: int,
    source: NDArray[np.uint8],
    encoder: Encoder,
) -> None:
    """Put down the planes of a layer; where one ends in background, that of the next is repeated further.

    Parameters
    ----------
    components, size : int
        Planes of the layer, and bytes of a pixel.
    count : int
        How many pieces there are in a plane.
    pieces : (n, 3) int64
        The pieces.
    lead, pixels : int
        With how many pixels of background a plane begins, and how many it has.
    source : (n,) uint8
        The planes.
    encoder : Encoder
        Takes them down.
    """
    for component in range(components):
        shift = component * pixels * size
        if lead * size >= LONG and encoder.state[LENGTH] > 0 and encoder.state[OFFSET] == STEP:
            pieces[1, 2] += STEP
            put_pieces(count - 1, pieces[1:], source, shift, encoder)
            pieces[1, 2] -= STEP
        else:
            put_pieces(count, pieces, source, shift, encoder)


@kernel
def put_absent(pixels: int, canvas: LayerCanvas, encoder: Encoder) -> None:
    """Put down flow of a frame that has no neighbour.

    Parameters
    ----------
    pixels : int
        Of a plane.
    canvas : LayerCanvas
        What stands for none.
    encoder : Encoder
        Takes it down.
    """
    # what comes next is not the same: no match is left open for it
    count = add_repeated(0, 0, 2 * pixels - 1, 4, canvas.pieces)
    put_pieces(count, canvas.pieces, canvas.absent, 0, encoder)
    canvas.pieces[0, 0], canvas.pieces[0, 1], canvas.pieces[0, 2] = LITERALS, 0, 4
    put_pieces(1, canvas.pieces, canvas.absent, 0, encoder)


@kernel
def clear_layers(total: int, runs: NDArray[np.int64], layers: Layers) -> None:
    """Put the background back where bodies were drawn.

    Parameters
    ----------
    total : int
        How many runs there are.
    runs : (n, 4) int64
        Where bodies are.
    layers : Layers
        Of one picture.
    """
    with_depth, with_normals = layers.depth_map.shape[1] > 0, layers.normals.shape[2] > 0
    with_next, with_previous = layers.forward_flow.shape[2] > 0, layers.backward_flow.shape[2] > 0
    for run in range(total):
        row, first, last = runs[run, 1], runs[run, 2], runs[run, 3]
        layers.segmentation[row, first:last] = 0
        if with_depth:
            layers.depth_map[row, first:last] = np.inf
        for axis in range(2):
            if with_next:
                layers.forward_flow[axis, row, first:last] = 0.0
            if with_previous:
                layers.backward_flow[axis, row, first:last] = 0.0
        if with_normals:
            for axis in range(3):
                layers.normals[axis, row, first:last] = 0.0


@kernel
def end_chunk(
    number: int, size: int, encoder: Encoder, ends: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Write a chunk after those before it, and begin the next one.

    Parameters
    ----------
    number : int
        How many there are before it.
    size : int
        Bytes that it decompresses to; 0 where the layer is not wanted.
    encoder : Encoder
        What it consists of.
    ends : (chunks,) int64
        Out: where it ends.
    out : (n,) uint8
        The chunks, one after the other.
    """
    if size > 0:
        start = ends[number - 1] if number > 0 else 0
        ends[number] = start + write_frame(size, encoder, out[start:])
        start_frame(encoder)


@kernel
def compress_layers(
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    survey: Survey,
    scratch: Scratch,
    chunk: tuple[int, int],
    canvas: LayerCanvas,
    encoders: Encoders,
    ends: tuple[NDArray[np.int64], ...],
    out: tuple[NDArray[np.uint8], ...],
) -> None:
    """Annotate and compress a clip.

    Parameters
    ----------
    position, rotation, is_present, radius, shape, intrinsics, extrinsics, survey, scratch
        As for `trajstore.kernels.annotate.annotate_clip`.
    chunk : (int, int)
        Cameras and frames of a chunk; each becomes a zstd frame of its own.
    canvas : LayerCanvas
        For the layers that are wanted, of the size.
    encoders : Encoders
        Each for so many bytes as a chunk of its layer has.
    ends : 5 of (chunks,) int64
        Where each chunk ends in ``out``.
    out : 5 of (n,) uint8
        The zstd frames of each layer, one after the other.
    """
    cameras, frames, number = intrinsics.shape[0], position.shape[0], 0
    layers, pieces, runs, sources = canvas.layers, canvas.pieces, survey.runs, canvas.layer_bytes
    height, width, pixels = (
        layers.segmentation.shape[0],
        layers.segmentation.shape[1],
        layers.segmentation.size,
    )
    plane, is_wanted = chunk[0] * chunk[1] * pixels, canvas.is_wanted
    with_depth, with_normals = is_wanted[DEPTH_MAP], is_wanted[NORMALS]
    with_next, with_previous = is_wanted[FORWARD_FLOW], is_wanted[BACKWARD_FLOW]
    clear_touched(scratch.touched)
    start_frame(encoders.segmentation)
    start_frame(encoders.depth_map)
    start_frame(encoders.forward_flow)
    start_frame(encoders.backward_flow)
    start_frame(encoders.normals)
    for first_camera in range(0, cameras, chunk[0]):
        for first_frame in range(0, frames, chunk[1]):
            for camera in range(first_camera, first_camera + chunk[0]):
                for frame in range(first_frame, first_frame + chunk[1]):
                    total = annotate_frame(
                        frame, position, rotation, is_present, radius, shape, intrinsics[camera],
                        extrinsics[camera], survey, scratch, canvas.layers,
                    )  # fmt: skip
                    lead = find_lead(total, runs, height, width)
                    if is_wanted[SEGMENTATION]:
                        count = find_pieces(1, total, runs, height, width, pieces)
                        put_planes(
                            1, 1, count, pieces, lead, pixels, sources[SEGMENTATION], encoders.segmentation
                        )
                    if with_next and frame + 1 == frames:
                        put_absent(pixels, canvas, encoders.forward_flow)
                    if with_previous and frame == 0:
                        put_absent(pixels, canvas, encoders.backward_flow)
                    if with_depth or with_next or with_previous or with_normals:
                        count = find_pieces(4, total, runs, height, width, pieces)
                        if with_depth:
                            put_planes(
                                1, 4, count, pieces, lead, pixels, sources[DEPTH_MAP], encoders.depth_map
                            )
                        if with_next and frame + 1 < frames:
                            put_planes(
                                2,
                                4,
                                count,
                                pieces,
                                lead,
                                pixels,
                                sources[FORWARD_FLOW],
                                encoders.forward_flow,
                            )
                        if with_previous and frame > 0:
                            put_planes(
                                2,
                                4,
                                count,
                                pieces,
                                lead,
                                pixels,
                                sources[BACKWARD_FLOW],
                                encoders.backward_flow,
                            )
                        if with_normals:
                            put_planes(3, 4, count, pieces, lead, pixels, sources[NORMALS], encoders.normals)
                    clear_layers(total, runs, layers)
            end_chunk(number, plane * is_wanted[0], encoders.segmentation, ends[0], out[0])
            end_chunk(number, 4 * plane * is_wanted[1], encoders.depth_map, ends[1], out[1])
            end_chunk(number, 8 * plane * is_wanted[2], encoders.forward_flow, ends[2], out[2])
            end_chunk(number, 8 * plane * is_wanted[3], encoders.backward_flow, ends[3], out[3])
            end_chunk(number, 12 * plane * is_wanted[4], encoders.normals, ends[4], out[4])
            number += 1


@kernel
def compress_silhouettes(
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    survey: Survey,
    scratch: Scratch,
    chunk: tuple[int, int],
    canvas: LayerCanvas,
    encoder: Encoder,
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Fill and compress the whole silhouettes of bodies, whatever hides them.

    Parameters
    ----------
    position, rotation, is_present, radius, shape, intrinsics, extrinsics, survey, scratch
        As for `trajstore.kernels.annotate.annotate_clip`.
    chunk : (int, int)
        Cameras and frames of a chunk of a body; each becomes a zstd frame of its own.
    canvas : LayerCanvas
        Of the size.
    encoder : Encoder
        For so many bytes as a chunk has.
    ends : (bodies · chunks,) int64
        Where each chunk ends in ``out``.
    out : (n,) uint8
        The zstd frames, by body, one after the other.
    """
    cameras, frames, place, end = intrinsics.shape[0], position.shape[0], 0, 0
    silhouette, source = canvas.layers.segmentation, canvas.layer_bytes[SEGMENTATION]
    height, width, pieces, runs = silhouette.shape[0], silhouette.shape[1], canvas.pieces, survey.runs
    scratch.light[:] = 0.0
    for body in range(radius.shape[0]):
        turned = min(body, rotation.shape[1] - 1)
        for first_camera in range(0, cameras, chunk[0]):
            for first_frame in range(0, frames, chunk[1]):
                start_frame(encoder)
                for camera in range(first_camera, first_camera + chunk[0]):
                    for frame in range(first_frame, first_frame + chunk[1]):
                        # alone: the only one of a world
                        pose_bodies(
                            position[frame, body : body + 1],
                            rotation[min(frame, rotation.shape[0] - 1), turned : turned + 1],
                            is_present[frame, body : body + 1], radius[body : body + 1], shape[body : body + 1],
                            intrinsics[camera], extrinsics[camera, min(frame, extrinsics.shape[1] - 1)],
                            scratch.light, 1.0, height, width, scratch,
                        )  # fmt: skip
                        total = 0
                        for row in range(scratch.extents[0, TOP], scratch.extents[0, BOTTOM]):
                            first, last = see_row(
                                0, row, shape[body : body + 1], intrinsics[camera], width, scratch
                            )
                            if first < last:
                                run = runs[total]
                                run[0], run[1], run[2], run[3] = 0, row, first, last
                                total += 1
                                silhouette[row, first:last] = 1
                        count = find_pieces(1, total, runs, height, width, pieces)
                        lead = find_lead(total, runs, height, width)
                        put_planes(1, 1, count, pieces, lead, height * width, source, encoder)
                        for number in range(total):
                            silhouette[runs[number, 1], runs[number, 2] : runs[number, 3]] = 0
                end += write_frame(chunk[0] * chunk[1] * height * width, encoder, out[end:])
                ends[place] = end
                place += 1
