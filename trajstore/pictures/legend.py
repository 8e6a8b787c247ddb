"""What the marks of a page mean, in lines at its bottom or top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.pictures.annotations import (
    Picture,
    Scale,
    body_colors,
    color_depth,
    color_flow,
    color_normals,
)
from trajstore.pictures.clips import HIDDEN, PARTLY, VISIBLE, Clip
from trajstore.pictures.page import Area, Page
from trajstore.pictures.palette import BODIES, BOX, FUTURE, GROUND, PAPER, PATH, QUIET, ROLES, TARGET, to_rgb
from trajstore.pictures.tile import LINES

SWATCH: Final = 14
STRIP: Final = 10
RAMP: Final = 110
DISC: Final = 48
"""Lengths of pictures in a legend, px: of a colour, of one of many colours, of a scale, of what is round."""

SHARPNESS: Final = 4
"""Points that each px of a disc is the mean of, along each side."""


@dataclass(frozen=True)
class Entry:
    """A mark and its meaning; the mark may be a picture (3, height, width)."""

    mark: str
    text: str
    color: str = ""
    sight: int = VISIBLE
    picture: Picture | None = None


def list_entries(clips: Sequence[Clip], *, has_boxes: bool = True) -> list[list[Entry]]:
    """The lines of a legend: one where there is nothing but a sphere, else another for the boxes."""
    clip, last = clips[0], clips[0].last_frame
    path = [Entry("line", f"path, frames 1 to {last}", PATH)] if last > 1 else []
    future = Entry("cross", f"future position, {clip.when}", FUTURE)
    if not has_boxes:
        return [[*path, future]]
    if clip.target.visible_pixels is None:
        return [[*path, Entry("box", "box of the silhouette", BOX), future]]
    return [[*path, future], list_boxes(clips)]


def list_boxes(clips: Sequence[Clip]) -> list[Entry]:
    """What the boxes around bodies mean, as far as there are such bodies."""
    roles = {body.role for clip in clips for body in clip.bodies}
    boxes = [Entry("box", name, color) for name, color in ROLES.items() if name in roles]
    if len(boxes) > 1:
        boxes += [Entry("box", "partly hidden", QUIET, PARTLY), Entry("box", "hidden", QUIET, HIDDEN)]
    return boxes


def list_all_colors(scales: Mapping[str, Scale], clips: Sequence[Clip]) -> list[list[Entry]]:
    """The lines of a legend of some annotations, in which nothing is said twice."""
    said: set[str] = set()
    lines = []
    for show, scale in scales.items():
        for line in list_colors(show, scale, clips):
            lines.append([entry for entry in line if entry.text not in said])
            said |= {entry.text for entry in line}
    return lines


def list_colors(show: str, scale: Scale, clips: Sequence[Clip]) -> list[list[Entry]]:
    """The lines of a legend of an annotation."""
    ground = Entry("picture", "background", picture=_paint(GROUND, SWATCH))
    if show == "depth_map":
        ramp = np.broadcast_to(np.linspace(*scale, RAMP, dtype=np.float32), (SWATCH, RAMP))
        text = f"z: {scale[0]:.4g} to {scale[1]:.4g} world units"
        return [[Entry("picture", text, picture=color_depth(ramp, scale)), ground]]
    if show == "flow":
        text = f"flow to the next frame, full colour: {scale[1]:g} px per frame"
        return [[Entry("picture", text, picture=draw_wheel())]]
    if show == "normals":
        return [
            [Entry("picture", "normals, x right, y down, z ahead: (n + 1) / 2 as RGB", picture=draw_ball())]
        ]
    last = max(body.number for clip in clips for body in clip.bodies)
    line = [ground, Entry("picture", clips[0].target.name, picture=_paint(TARGET, SWATCH))]
    if last > 0:
        text = "body 1" if last == 1 else f"bodies 1 to {last}"
        shown = body_colors(last + 1)[2 : 2 + len(BODIES)]
        strip = np.broadcast_to(shown.repeat(STRIP, axis=0).T[:, None], (3, SWATCH, STRIP * len(shown)))
        line.append(Entry("picture", text if last <= len(BODIES) else f"{text}, and again", picture=strip))
    if show == "amodal" and last > 0:
        return [line, [Entry("none", "whole silhouettes, hidden or not; mixed where they overlap")]]
    return [line]


def find_height(line: Sequence[Entry], least: int) -> int:
    """Height of a line of a legend, px."""
    pictures = (entry.picture for entry in line if entry.picture is not None)
    return max([least, *(len(picture[0]) + 8 for picture in pictures)])


def _paint(color: str, side: int) -> Picture:
    """A square of one colour."""
    return np.broadcast_to(np.array(to_rgb(color), np.uint8)[:, None, None], (3, side, side))


def draw_wheel() -> Picture:
    """What flow of each direction and length looks like."""
    u, v = _grid()
    return _average(color_flow(np.stack([u, v]), (0.0, 1.0)), u**2 + v**2 <= 1.0)


def draw_ball() -> Picture:
    """What the normals of a sphere look like from afar."""
    x, y = _grid()
    is_inside = x**2 + y**2 <= 1.0
    z = -np.sqrt(np.where(is_inside, 1.0 - x**2 - y**2, 0.0))
    return _average(color_normals(np.stack([x, y, z])), is_inside)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of a square of which the unit disc is a part: how far they are to the right and down of its middle."""
    count = DISC * SHARPNESS
    along = (np.arange(count) + 0.5) * (2.0 / count) - 1.0
    return np.broadcast_to(along, (count, count)), np.broadcast_to(along[:, None], (count, count))


def _average(picture: Picture, is_inside: NDArray[np.bool_]) -> Picture:
    """Each px of a disc before the paper, the mean of what it covers."""
    paper = np.array(to_rgb(PAPER), np.uint8)[:, None, None]
    cells = np.where(is_inside, picture, paper).reshape(3, DISC, SHARPNESS, DISC, SHARPNESS)
    averages: Picture = cells.mean(axis=(2, 4)).round().astype(np.uint8)
    return averages


def draw_line(page: Page, left: float, middle: float, entries: Sequence[Entry], *, size: float = 16) -> None:
    """Draw marks and what they mean beside each other."""
    for entry in entries:
        right = left + 26
        if entry.picture is not None:
            _, height, width = entry.picture.shape
            area = Area(round(left), round(middle - height / 2), width, height)
            page.add_picture(area, entry.picture)
            if height == SWATCH:
                page.add_frame(area)
            right = left + width
        elif entry.mark == "none":
            right = left - 10
        elif entry.mark == "line":
            page.add_line([(left, middle), (left + 26, middle)], color=entry.color, width=2.4)
        elif entry.mark == "box":
            box = page.add_rectangle(Area(left + 7, middle - 6, 12, 12), color=entry.color, width=1.8)
            box.set_linestyle(LINES[entry.sight])
        else:
            page.add_cross((left + 13, middle), color=entry.color, size=11)
        written = page.add_text(right + 10, middle, entry.text, size=size, va="center")
        left = page.end_of(written) + 30
