"""The rasterizer of whole worlds: bodies of all shapes that hide each other, over any background, sharp or blurred.

A pixel's coverage is exact across and averaged over `SCANLINES` lines down, that of the flat faces of a body
likewise, so that the edges between its faces are as smooth as its outline.

Bodies whose enclosing spheres do not meet are painted one over the other, the farthest first. Where spheres meet,
each row becomes fragments with a coverage, a brightness and a depth, which are put one over the other pixel by pixel:
bodies that cross are parted where they meet, and the edge of a nearer body blends into what is behind it.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel
from trajstore.kernels.poses import (
    AMBIENT,
    BOTTOM,
    BRIGHTNESS,
    CENTER,
    FIRST,
    IS_CROSSED,
    LAST,
    RADIUS,
    SEEN,
    TOP,
    WHOLE,
    Scratch,
    pose_bodies,
    shine,
)
from trajstore.kernels.raster import SCANLINES, clear_touched, draw_sphere, touch
from trajstore.kernels.shapes import CUBE, SPHERE
from trajstore.kernels.silhouettes import cross_body, find_depth, meet_side


@kernel
def cover(span: NDArray[np.float64], first: int, out: NDArray[np.float64]) -> None:
    """Add to each pixel of a row how much of it an interval on each of its scanlines covers.

    Parameters
    ----------
    span : (SCANLINES, 2) float64
        The intervals, px.
    first : int
        Column of the first pixel.
    out : (n,) float64
        Shares, from 0 to 1.
    """
    left_0, left_1, left_2, left_3 = span[0, 0], span[1, 0], span[2, 0], span[3, 0]
    right_0, right_1, right_2, right_3 = span[0, 1], span[1, 1], span[2, 1], span[3, 1]
    for i in range(out.shape[0]):
        start = float(first) + float(i)
        end = start + 1.0
        out[i] += (1.0 / SCANLINES) * (
            max(0.0, min(right_0, end) - max(left_0, start))
            + max(0.0, min(right_1, end) - max(left_1, start))
            + max(0.0, min(right_2, end) - max(left_2, start))
            + max(0.0, min(right_3, end) - max(left_3, start))
        )


@kernel
def shade_sphere(
    pose: NDArray[np.float64],
    start_x: float,
    per_px_x: float,
    ray_y: float,
    light_camera: NDArray[np.float64],
    brightness: NDArray[np.float64],
    depth: NDArray[np.float64],
) -> None:
    """Brightness and depth of a sphere along a row, where rays miss it those of the nearest they come to it.

    Parameters
    ----------
    pose : (32,) float64
        Of the sphere.
    start_x, per_px_x, ray_y : float
        X of the first ray, its step from pixel to pixel, and Y of all.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    brightness, depth : (n,) float64
        Out: as a share of full brightness; z, world units.
    """
    x, y, z, radius, ambient = pose[CENTER], pose[CENTER + 1], pose[CENTER + 2], pose[RADIUS], pose[AMBIENT]
    light_x, light_y, light_z = light_camera[0] / radius, light_camera[1] / radius, light_camera[2] / radius
    light_center = light_x * x + light_y * y + light_z * z
    tangent_square = x * x + y * y + z * z - radius * radius
    square_y, center_y, light_ray_y = ray_y * ray_y + 1.0, ray_y * y + z, ray_y * light_y + light_z
    diffuse = 1.0 - ambient
    for i in range(brightness.shape[0]):
        ray_x = start_x + float(i) * per_px_x
        square = ray_x * ray_x + square_y
        along = ray_x * x + center_y
        inside = max(0.0, along * along - square * tangent_square)
        distance = (along - sqrt(inside)) / square
        depth[i] = distance
        cosine = distance * (ray_x * light_x + light_ray_y) - light_center
        brightness[i] = ambient + diffuse * min(1.0, max(0.0, cosine))


@kernel
def cut_row(
    body: int,
    shape: int,
    row: int,
    intrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    width: int,
    with_depth: bool,
    scratch: Scratch,
) -> None:
    """Fragments of a body in a row of a picture.

    Parameters
    ----------
    body, shape : int
        Its number and its code.
    row : int
        The row.
    intrinsics : (3, 3) float64
        ``K``, px.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    width : int
        Of the picture, px.
    with_depth : bool
        Whether depths are needed.
    scratch : Scratch
        Poses and outlines of the bodies; out: the fragments, and the columns where they begin and end.
    """
    pose, extent, spans = scratch.pose[body], scratch.extents[body], scratch.spans
    edges, conics = scratch.edges[body], scratch.conics[body]
    v = row + 0.5 / SCANLINES
    cross_body(pose, shape, edges, conics, v, 1.0 / SCANLINES, SCANLINES, width, intrinsics, spans)
    leftmost, rightmost, total, covered = float(width), 0.0, 0.0, 0
    for line in range(SCANLINES):
        if spans[WHOLE, line, 1] > spans[WHOLE, line, 0]:
            leftmost = min(leftmost, spans[WHOLE, line, 0])
            rightmost = max(rightmost, spans[WHOLE, line, 1])
            total += v + line / SCANLINES
            covered += 1
    first = int(leftmost)
    last = max(first, min(width, ceil(rightmost)))
    extent[FIRST], extent[LAST] = first, last
    # each by itself: a slice of all four would hide from the compiler that their pixels lie side by side
    coverage, brightness = scratch.fragments[body, 0, first:last], scratch.fragments[body, 1, first:last]
    depth, flat = scratch.fragments[body, 2, first:last], scratch.fragments[body, 3, first:last]
    per_px_x = 1.0 / intrinsics[0, 0]
    ray_y = (row + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    start_x = (first + 0.5 - intrinsics[0, 2]) * per_px_x
    for i in range(last - first):
        coverage[i] = 0.0
    cover(spans[WHOLE], first, coverage)
    if shape == SPHERE:
        shade_sphere(pose, start_x, per_px_x, ray_y, light_camera, brightness, depth)
    if with_depth:
        # a pixel's centre may lie outside of the body, and a surface there nearer or farther than anything of it
        middle_y = (total / max(covered, 1) - intrinsics[1, 2]) / intrinsics[1, 1]
        for i in range(last - first):
            if coverage[i] < 1.0 - 1e-9:
                u = 0.5 * (max(leftmost, float(first + i)) + min(rightmost, float(first + i + 1)))
                depth[i] = find_depth(pose, shape, (u - intrinsics[0, 2]) * per_px_x, middle_y)
            elif shape != SPHERE:
                depth[i] = find_depth(pose, shape, start_x + i * per_px_x, ray_y)
    if shape == SPHERE:
        return
    for i in range(last - first):
        brightness[i] = flat[i] = 0.0
    for face in range(int(pose[SEEN])):
        share = scratch.depths[: last - first]
        share[:] = 0.0
        cover(spans[face], first, share)
        level = pose[BRIGHTNESS + face]
        for i in range(last - first):
            flat[i] += share[i]
            brightness[i] += share[i] * level
    if shape == CUBE:
        for i in range(last - first):
            brightness[i] /= max(flat[i], 1e-12)
        return
    for i in range(last - first):
        side = coverage[i] - flat[i]
        if side > 1e-9:
            _, n_x, n_y, n_z = meet_side(pose, shape, start_x + i * per_px_x, ray_y)
            brightness[i] += side * shine(n_x, n_y, n_z, light_camera, pose[AMBIENT])
        brightness[i] /= max(coverage[i], 1e-12)


@kernel
def blend_row(
    body: int,
    row: int,
    color: NDArray[np.uint8],
    scratch: Scratch,
    touched: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Put the fragments of one body over what a row shows.

    Parameters
    ----------
    body, row : int
        Its number, and the row.
    color : (3,) uint8
        RGB at full brightness.
    scratch : Scratch
        Its fragments.
    touched : (height + 1, 2) int64
        Where bodies are: this one is added.
    out : (3, height, width) uint8
        The picture.
    """
    first, last = scratch.extents[body, FIRST], scratch.extents[body, LAST]
    touch(row, first, last, touched)
    coverage, brightness = scratch.fragments[body, 0, first:last], scratch.fragments[body, 1, first:last]
    reds, greens, blues = out[0, row, first:last], out[1, row, first:last], out[2, row, first:last]
    red, green, blue = float(color[0]), float(color[1]), float(color[2])
    for i in range(last - first):
        share, light = coverage[i], brightness[i]
        behind_red, behind_green, behind_blue = float(reds[i]), float(greens[i]), float(blues[i])
        reds[i] = np.uint8(behind_red + share * (light * red - behind_red) + 0.5)
        greens[i] = np.uint8(behind_green + share * (light * green - behind_green) + 0.5)
        blues[i] = np.uint8(behind_blue + share * (light * blue - behind_blue) + 0.5)


@kernel
def is_in_order(group: int, scratch: Scratch) -> bool:
    """Whether of all bodies that a row crosses no later one is behind an earlier one.

    Parameters
    ----------
    group : int
        How many bodies there are.
    scratch : Scratch
        Their numbers and their fragments.

    Returns
    -------
    bool
        Whether they may be put one over the other as they come.
    """
    for place in range(1, group):
        near = scratch.order[1, place]
        for other in range(place):
            far = scratch.order[1, other]
            first = max(scratch.extents[near, FIRST], scratch.extents[far, FIRST])
            last = min(scratch.extents[near, LAST], scratch.extents[far, LAST])
            near_depth, far_depth = (
                scratch.fragments[near, 2, first:last],
                scratch.fragments[far, 2, first:last],
            )
            behind = 0
            for i in range(last - first):
                behind += near_depth[i] > far_depth[i]
            if behind:
                return False
    return True


@kernel
def layer_row(
    row: int,
    first: int,
    last: int,
    group: int,
    color: NDArray[np.uint8],
    scratch: Scratch,
    touched: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Put the fragments of several bodies one over the other, pixel by pixel, nearest first.

    Parameters
    ----------
    row, first, last : int
        The row, and its columns from the first to before the last.
    group : int
        How many bodies there are.
    color : (bodies, 3) uint8
        RGB at full brightness.
    scratch : Scratch
        Their numbers and their fragments.
    touched : (height + 1, 2) int64
        Where bodies are: these are added.
    out : (3, height, width) uint8
        The picture, which holds what is behind them.
    """
    order = scratch.order
    touch(row, first, last, touched)
    for column in range(first, last):
        count = 0
        for place in range(group):
            body = order[1, place]
            extent = scratch.extents[body]
            if column < extent[FIRST] or column >= extent[LAST]:
                continue
            if scratch.fragments[body, 0, column] <= 0.0:
                continue
            depth = scratch.fragments[body, 2, column]
            at = count
            while at > 0 and scratch.fragments[order[2, at - 1], 2, column] >= depth:
                order[2, at] = order[2, at - 1]
                at -= 1
            order[2, at] = body
            count += 1
        if count == 0:
            continue
        red = green = blue = 0.0
        left = 1.0
        for place in range(count):
            body = order[2, place]
            share = left * scratch.fragments[body, 0, column]
            light = share * scratch.fragments[body, 1, column]
            red += light * color[body, 0]
            green += light * color[body, 1]
            blue += light * color[body, 2]
            left -= share
        out[0, row, column] = np.uint8(red + left * out[0, row, column] + 0.5)
        out[1, row, column] = np.uint8(green + left * out[1, row, column] + 0.5)
        out[2, row, column] = np.uint8(blue + left * out[2, row, column] + 0.5)


@kernel
def draw_bodies(
    count: int,
    color: NDArray[np.uint8],
    shape: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    light_camera: NDArray[np.float64],
    ambient: float,
    scratch: Scratch,
    touched: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Draw posed bodies over what a picture shows.

    Parameters
    ----------
    count : int
        Of `pose_bodies`.
    color : (bodies, 3) uint8
        RGB at full brightness.
    shape : (bodies,) uint8
        Codes.
    intrinsics : (3, 3) float64
        ``K``, px.
    light_camera : (3,) float64
        Unit vector towards the light, camera frame.
    ambient : float
        Brightness of a surface turned away from the light.
    scratch : Scratch
        What `pose_bodies` has found out.
    touched : (height + 1, 2) int64
        Where bodies are: these are added.
    out : (3, height, width) uint8
        The picture.
    """
    width, order, extents = out.shape[2], scratch.order, scratch.extents
    top, bottom = out.shape[1], 0
    for place in range(count):
        body = order[0, place]
        extent = extents[body]
        if extent[IS_CROSSED]:
            top, bottom = min(top, extent[TOP]), max(bottom, extent[BOTTOM])
        elif shape[body] == SPHERE:
            pose = scratch.pose[body]
            draw_sphere(
                pose[CENTER : CENTER + 3], pose[RADIUS], color[body], intrinsics, light_camera, ambient,
                scratch.spans[WHOLE], touched, out,
            )  # fmt: skip
        else:
            for row in range(extent[TOP], extent[BOTTOM]):
                cut_row(body, shape[body], row, intrinsics, light_camera, width, False, scratch)
                blend_row(body, row, color[body], scratch, touched, out)
    for row in range(top, bottom):
        group, first, last = 0, width, 0
        for place in range(count):
            body = order[0, place]
            extent = extents[body]
            if extent[IS_CROSSED] and extent[TOP] <= row < extent[BOTTOM]:
                cut_row(body, shape[body], row, intrinsics, light_camera, width, True, scratch)
                order[1, group] = body
                group += 1
                first, last = min(first, extent[FIRST]), max(last, extent[LAST])
        if group and is_in_order(group, scratch):
            for place in range(group):
                blend_row(order[1, place], row, color[order[1, place]], scratch, touched, out)
        elif group:
            layer_row(row, first, last, group, color, scratch, touched, out)


@kernel
def copy_picture(picture: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Copy a picture, row by row.

    Parameters
    ----------
    picture : (3, height, width) uint8
        What is copied.
    out : (3, height, width) uint8
        Where to.
    """
    for channel in range(3):
        plane, source = out[channel], picture[channel]
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                plane[row, column] = source[row, column]


@kernel
def turn_light(light: NDArray[np.float64], extrinsics: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Direction towards the light in a camera's frame.

    Parameters
    ----------
    light : (3,) float64
        In the world.
    extrinsics : (3, 4) float64
        ``[R | t]``, world to camera.
    out : (3,) float64
        The direction.
    """
    for i in range(3):
        out[i] = extrinsics[i, 0] * light[0] + extrinsics[i, 1] * light[1] + extrinsics[i, 2] * light[2]


@kernel
def average(
    subframes: int,
    background: NDArray[np.uint8],
    touched: NDArray[np.int64],
    scratch: Scratch,
    out: NDArray[np.uint8],
) -> None:
    """Average the sub-frames that have been added up, and forget them.

    Parameters
    ----------
    subframes : int
        How many there were.
    background : (3, height, width) uint8
        What is behind the bodies.
    touched : (height + 1, 2) int64
        Where bodies are.
    scratch : Scratch
        Sums of what they add to the background.
    out : (3, height, width) uint8
        The picture, which holds the background.
    """
    for channel in range(3):
        for row in range(touched[-1, 0], touched[-1, 1]):
            left, right = touched[row, 0], max(touched[row, 0], touched[row, 1])
            sums = scratch.sums[channel, row, left:right]
            behind, line = background[channel, row, left:right], out[channel, row, left:right]
            for i in range(right - left):
                total = np.int32(behind[i]) * subframes + sums[i]
                line[i] = np.uint8((2 * total + subframes) // (2 * subframes))
                sums[i] = 0


@kernel
def add_up(background: NDArray[np.uint8], scratch: Scratch, touched: NDArray[np.int64]) -> None:
    """Add to the sums what the bodies of a sub-frame have changed, and clean its picture.

    Parameters
    ----------
    background : (3, height, width) uint8
        What is behind the bodies.
    scratch : Scratch
        The sub-frame's picture, what its bodies have touched, and the sums.
    touched : (height + 1, 2) int64
        Where bodies are: these are added.
    """
    for row in range(scratch.touched[-1, 0], scratch.touched[-1, 1]):
        left, right = scratch.touched[row, 0], scratch.touched[row, 1]
        if left >= right:
            continue
        touch(row, left, right, touched)
        for channel in range(3):
            behind, line = background[channel, row, left:right], scratch.picture[channel, row, left:right]
            sums = scratch.sums[channel, row, left:right]
            for i in range(right - left):
                sums[i] += np.int32(line[i]) - np.int32(behind[i])
                line[i] = behind[i]
    clear_touched(scratch.touched)


@kernel
def draw_world(
    frame: int,
    subframes: int,
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
    touched: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Draw one frame of one camera over its background.

    Parameters
    ----------
    frame : int
        Which; before the first one of a camera, `start_camera` is to be called.
    subframes : int
        Instants of a frame.
    position, rotation, is_present, radius, color, shape, light, ambient, scratch
        As for `render_world`.
    background : (3, height, width) uint8
        What the camera sees behind the bodies.
    intrinsics : (3, 3) float64
        Its ``K``.
    extrinsics : (instants or 1, 3, 4) float64
        Its ``[R | t]``.
    touched : (height + 1, 2) int64
        Where bodies are: these are added.
    out : (3, height, width) uint8
        The picture, which holds the background.
    """
    light_camera = scratch.light
    for instant in range(frame * subframes, (frame + 1) * subframes):
        view = extrinsics[min(instant, extrinsics.shape[0] - 1)]
        turn_light(light, view, light_camera)
        count = pose_bodies(
            position[instant], rotation[min(instant, rotation.shape[0] - 1)], is_present[frame],
            radius, shape, intrinsics, view, light_camera, ambient, out.shape[1], out.shape[2], scratch,
        )  # fmt: skip
        if subframes == 1:
            draw_bodies(count, color, shape, intrinsics, light_camera, ambient, scratch, touched, out)
        else:
            draw_bodies(
                count,
                color,
                shape,
                intrinsics,
                light_camera,
                ambient,
                scratch,
                scratch.touched,
                scratch.picture,
            )
            add_up(background, scratch, touched)
    if subframes > 1:
        average(subframes, background, touched, scratch, out)


@kernel
def start_camera(background: NDArray[np.uint8], scratch: Scratch) -> None:
    """Prepare the picture on which the sub-frames of a camera are drawn.

    Parameters
    ----------
    background : (3, height, width) uint8
        What it sees behind the bodies.
    scratch : Scratch
        The picture.
    """
    copy_picture(background, scratch.picture)
    clear_touched(scratch.touched)


@kernel
def render_world(
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
    touched: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Draw a clip: every camera, every frame, every body.

    Parameters
    ----------
    position : (instants, bodies, 3) float64
        Centres of the enclosing spheres, world units. The picture of a frame is the average of as many sub-frames as
        there are instants for it.
    rotation : (instants or 1, bodies or 1, 3, 3) float64
        Body to world; an axis of size 1 stands for all, here and below.
    is_present : (frames, bodies) bool
        Which bodies are there.
    radius : (bodies,) float64
        Of the enclosing spheres, world units.
    color : (bodies, 3) uint8
        RGB at full brightness.
    shape : (bodies,) uint8
        Codes of `trajstore.kernels.shapes`.
    background : (cameras, 3, height, width) uint8
        What each camera sees behind the bodies, at all times.
    intrinsics : (cameras, 3, 3) float64
        ``K`` without skew, px.
    extrinsics : (cameras, instants or 1, 3, 4) float64
        ``[R | t]``, world to camera.
    light : (3,) float64
        Unit vector towards the light, world.
    ambient : float
        Brightness of a surface turned away from the light, as a share of full brightness.
    scratch : Scratch
        Of `make_scratch`.
    touched : (height + 1, 2) int64
        Scratch, of `make_touched`.
    out : (cameras, frames, 3, height, width) uint8
        The clip; every pixel is written.
    """
    subframes = position.shape[0] // out.shape[1]
    for camera in range(out.shape[0]):
        start_camera(background[camera], scratch)
        for frame in range(out.shape[1]):
            copy_picture(background[camera], out[camera, frame])
            clear_touched(touched)
            draw_world(
                frame, subframes, position, rotation, is_present, radius, color, shape, background[camera],
                intrinsics[camera], extrinsics[camera], light, ambient, scratch, touched, out[camera, frame],
            )  # fmt: skip
