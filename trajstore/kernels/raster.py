"""The rasterizer: Lambert-shaded spheres over a plain background, seen through a pinhole.

A ray through the camera's origin with direction d meets a sphere with centre c and radius r exactly where
``(d·c)² ≥ |d|² (|c|² − r²)``: on the image this is an ellipse. Along a scanline the border is the root of a quadratic,
so a pixel's coverage is exact across and averaged over `SCANLINES` lines down.

Spheres are painted one over the other: where one covers a share of a pixel, the rest keeps what the frame shows there.
A nearer sphere's edge thus blends into the farther sphere behind it, without a halo of the background.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel

SCANLINES = 4
"""Scanlines a pixel row is divided into for anti-aliasing; `draw_sphere` is unrolled for this number."""

NOWHERE: Final = 2**31
"""Before it, every column and row."""

LANES = 4
"""Pixels of a row are blended by multiples of this: the float64 that a vector of common processors holds."""


@kernel
def fill_background(color: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Paint a plain frame.

    Parameters
    ----------
    color : (3,) uint8
        RGB.
    out : (3, height, width) uint8
        The frame; every pixel is written.
    """
    for channel in range(3):
        plane = out[channel]
        level = color[channel]
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                plane[row, column] = level


def make_touched(height: int) -> NDArray[np.int64]:
    """Allocate what takes down where bodies are in a picture: in no column of any row.

    Returns
    -------
    (height + 1, 2) int64
        In which columns of each row they begin and end; last, in which rows.
    """
    return np.tile(np.array([NOWHERE, 0]), (height + 1, 1))


@kernel
def clear_touched(touched: NDArray[np.int64]) -> None:
    """Forget where bodies are.

    Parameters
    ----------
    touched : (height + 1, 2) int64
        Of `make_touched`.
    """
    height = touched.shape[0] - 1
    for row in range(touched[height, 0], touched[height, 1]):
        touched[row, 0], touched[row, 1] = NOWHERE, 0
    touched[height, 0], touched[height, 1] = NOWHERE, 0


@kernel
def touch(row: int, first: int, last: int, touched: NDArray[np.int64]) -> None:
    """Take down that a body is seen in a row.

    Parameters
    ----------
    row, first, last : int
        The row, and its columns from the first to before the last.
    touched : (height + 1, 2) int64
        Of `make_touched`.
    """
    height = touched.shape[0] - 1
    touched[row, 0], touched[row, 1] = min(touched[row, 0], first), max(touched[row, 1], last)
    touched[height, 0], touched[height, 1] = min(touched[height, 0], row), max(touched[height, 1], row + 1)


@kernel
def draw_sphere(
    center_camera: NDArray[np.float64],
    radius: float,
    color: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    ambient: float,
    spans: NDArray[np.float64],
    touched: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Draw a sphere over what a frame shows.

    Parameters
    ----------
    center_camera : (3,) float64
        The sphere's centre in the camera's frame, world units, z > radius.
    radius : float
        World units.
    color : (3,) uint8
        RGB at full brightness.
    intrinsics : (3, 3) float64
        ``K`` without skew, px.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    ambient : float
        Brightness of a surface turned away from the light, as a share of full brightness.
    spans : (SCANLINES, 2) float64
        Scratch.
    touched : (height + 1, 2) int64
        Where bodies are: this one is added.
    out : (3, height, width) uint8
        The frame, RGB; the pixels that the silhouette touches are blended with what they hold.
    """
    height, width = out.shape[1], out.shape[2]
    x, y, z = center_camera[0], center_camera[1], center_camera[2]
    focal_y, principal_x, principal_y = intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    per_px_x, per_px_y = 1.0 / intrinsics[0, 0], 1.0 / focal_y
    tangent_square = x * x + y * y + z * z - radius * radius
    # a scanline crosses the border where a·ray_x² − 2b·ray_x − c = 0, with a the same for all of them
    a = tangent_square - x * x
    focal_by_a = intrinsics[0, 0] / a
    # the light in units of the radius gives the cosine at the surface without a division a pixel
    light_x, light_y, light_z = light_camera[0] / radius, light_camera[1] / radius, light_camera[2] / radius
    light_center = light_x * x + light_y * y + light_z * z
    diffuse = 1.0 - ambient
    red, green, blue = float(color[0]), float(color[1]), float(color[2])

    gap = z * z - radius * radius
    reach = radius * sqrt(y * y + gap)
    top = max(0, floor(focal_y * ((y * z - reach) / gap) + principal_y))
    bottom = min(height, ceil(focal_y * ((y * z + reach) / gap) + principal_y))
    for row in range(top, bottom):
        leftmost, rightmost = float(width), 0.0
        for line in range(SCANLINES):
            ray_y = (row + (line + 0.5) / SCANLINES - principal_y) * per_px_y
            m = ray_y * y + z
            b = x * m
            discriminant = b * b + a * (m * m - (ray_y * ray_y + 1.0) * tangent_square)
            left, right = float(width), 0.0
            if discriminant > 0.0:
                root = sqrt(discriminant)
                left = max(0.0, focal_by_a * (b - root) + principal_x)
                right = min(float(width), focal_by_a * (b + root) + principal_x)
            spans[line, 0], spans[line, 1] = left, right
            leftmost, rightmost = min(leftmost, left), max(rightmost, right)
        left_0, left_1, left_2, left_3 = spans[0, 0], spans[1, 0], spans[2, 0], spans[3, 0]
        right_0, right_1, right_2, right_3 = spans[0, 1], spans[1, 1], spans[2, 1], spans[3, 1]

        first = int(leftmost)
        touch(row, first, min(width, ceil(rightmost)), touched)
        # whole vectors: uncovered pixels keep their level, but what does not fill a vector is computed one by one
        last = min(width, first + (ceil(rightmost) - first + LANES - 1) // LANES * LANES)
        ray_y = (row + 0.5 - principal_y) * per_px_y
        ray_center_y = ray_y * y + z
        ray_square_y = ray_y * ray_y + 1.0
        ray_light_y = ray_y * light_y + light_z
        # slices, no branch, and an index from 0: only so does LLVM vectorise this loop (2.4 times as fast)
        reds, greens, blues = out[0, row, first:last], out[1, row, first:last], out[2, row, first:last]
        for i in range(last - first):
            start = float(first) + float(i)
            end = start + 1.0
            coverage = (1.0 / SCANLINES) * (
                max(0.0, min(right_0, end) - max(left_0, start))
                + max(0.0, min(right_1, end) - max(left_1, start))
                + max(0.0, min(right_2, end) - max(left_2, start))
                + max(0.0, min(right_3, end) - max(left_3, start))
            )
            # the nearer point where the ray meets the sphere; where it misses, the nearest it comes to it
            ray_x = (start + 0.5 - principal_x) * per_px_x
            ray_square = ray_x * ray_x + ray_square_y
            ray_center = ray_x * x + ray_center_y
            inside = max(0.0, ray_center * ray_center - ray_square * tangent_square)
            distance = (ray_center - sqrt(inside)) / ray_square
            cosine = distance * (ray_x * light_x + ray_light_y) - light_center
            brightness = ambient + diffuse * min(1.0, max(0.0, cosine))
            behind_red, behind_green, behind_blue = float(reds[i]), float(greens[i]), float(blues[i])
            reds[i] = np.uint8(behind_red + coverage * (brightness * red - behind_red) + 0.5)
            greens[i] = np.uint8(behind_green + coverage * (brightness * green - behind_green) + 0.5)
            blues[i] = np.uint8(behind_blue + coverage * (brightness * blue - behind_blue) + 0.5)


@kernel
def render(
    center_camera: NDArray[np.float64],
    radius: float,
    color: NDArray[np.uint8],
    background_color: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    ambient: float,
    spans: NDArray[np.float64],
    touched: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Draw a clip of one sphere over a plain background: every camera, every frame.

    Parameters
    ----------
    center_camera : (cameras, frames, 3) float64
        The sphere's centre in each camera's frame, world units, z > radius.
    radius : float
        World units.
    color, background_color : (3,) uint8
        RGB; the sphere's at full brightness.
    intrinsics : (cameras, 3, 3) float64
        ``K``, px.
    light_camera : (cameras, 3) float64
        Unit vector towards the light in each camera's frame.
    ambient : float
        Brightness of a surface turned away from the light, as a share of full brightness.
    spans : (SCANLINES, 2) float64
        Scratch.
    touched : (height + 1, 2) int64
        Scratch, of `make_touched`.
    out : (cameras, frames, 3, height, width) uint8
        The clip; every pixel is written.
    """
    for camera in range(out.shape[0]):
        for frame in range(out.shape[1]):
            fill_background(background_color, out[camera, frame])
            draw_sphere(
                center_camera[camera, frame],
                radius,
                color,
                intrinsics[camera],
                light_camera[camera],
                ambient,
                spans,
                touched,
                out[camera, frame],
            )
