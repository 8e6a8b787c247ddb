"""Clips that are drawn and compressed at once: every camera, every frame, nothing but what moves.

The frames are bit for bit those of `trajstore.kernels.raster.render` and `trajstore.kernels.world.render_world`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.canvas import Canvas, put_frame
from trajstore.kernels.compiler import kernel
from trajstore.kernels.poses import Scratch
from trajstore.kernels.raster import clear_touched, draw_sphere, fill_background
from trajstore.kernels.world import copy_picture, draw_world, start_camera
from trajstore.kernels.zstd import Encoder, start_frame, write_frame


@kernel
def compress_sphere(
    center_camera: NDArray[np.float64],
    radius: float,
    color: NDArray[np.uint8],
    background_color: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    ambient: float,
    spans: NDArray[np.float64],
    chunk: tuple[int, int],
    canvas: Canvas,
    encoder: Encoder,
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Draw and compress a clip of one sphere over a plain background.

    Parameters
    ----------
    center_camera, radius, color, background_color, intrinsics, light_camera, ambient, spans
        As for `trajstore.kernels.raster.render`.
    chunk : (int, int)
        Cameras and frames of a chunk; each becomes a zstd frame of its own.
    canvas : Canvas
        For pictures of the size.
    encoder : Encoder
        For so many bytes as a chunk has.
    ends : (chunks,) int64
        Where each chunk ends in ``out``.
    out : (n,) uint8
        The zstd frames, one after the other; `bound_frame` says how many bytes each may take.
    """
    fill_background(background_color, canvas.background)
    clear_touched(canvas.touched)
    cameras, frames, number, end = center_camera.shape[0], center_camera.shape[1], 0, 0
    for first_camera in range(0, cameras, chunk[0]):
        for first_frame in range(0, frames, chunk[1]):
            start_frame(encoder)
            for camera in range(first_camera, first_camera + chunk[0]):
                copy_picture(canvas.background, canvas.pictures[0])
                copy_picture(canvas.background, canvas.pictures[1])
                for frame in range(first_frame, first_frame + chunk[1]):
                    draw_sphere(
                        center_camera[camera, frame], radius, color, intrinsics[camera], light_camera[camera],
                        ambient, spans, canvas.touched, canvas.pictures[(frame - first_frame) & 1],
                    )  # fmt: skip
                    put_frame(frame - first_frame, True, True, canvas, encoder)
            end += write_frame(chunk[0] * chunk[1] * canvas.background.size, encoder, out[end:])
            ends[number] = end
            number += 1


@kernel
def compress_world(
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    is_present: NDArray[np.bool_],
    radius: NDArray[np.float64],
    color: NDArray[np.uint8],
    shape: NDArray[np.uint8],
    background: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    light: NDArray[np.float64],
    ambient: float,
    scratch: Scratch,
    is_plain: bool,
    chunk: tuple[int, int],
    canvas: Canvas,
    encoder: Encoder,
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Draw and compress a clip.

    Parameters
    ----------
    position, rotation, is_present, radius, color, shape, background, intrinsics, extrinsics, light, ambient, scratch
        As for `trajstore.kernels.world.render_world`.
    is_plain : bool
        Whether each plane of the background has a single level.
    chunk, canvas, encoder, ends, out
        As for `compress_sphere`.
    """
    cameras, frames, number, end = background.shape[0], is_present.shape[0], 0, 0
    subframes, is_single = position.shape[0] // frames, radius.shape[0] == 1
    clear_touched(canvas.touched)
    for first_camera in range(0, cameras, chunk[0]):
        for first_frame in range(0, frames, chunk[1]):
            start_frame(encoder)
            for camera in range(first_camera, first_camera + chunk[0]):
                start_camera(background[camera], scratch)
                copy_picture(background[camera], canvas.background)
                copy_picture(background[camera], canvas.pictures[0])
                copy_picture(background[camera], canvas.pictures[1])
                for frame in range(first_frame, first_frame + chunk[1]):
                    draw_world(
                        frame, subframes, position, rotation, is_present, radius, color, shape, canvas.background,
                        intrinsics[camera], extrinsics[camera], light, ambient, scratch, canvas.touched,
                        canvas.pictures[(frame - first_frame) & 1],
                    )  # fmt: skip
                    put_frame(frame - first_frame, is_single, is_plain, canvas, encoder)
            end += write_frame(chunk[0] * chunk[1] * canvas.background.size, encoder, out[end:])
            ends[number] = end
            number += 1
