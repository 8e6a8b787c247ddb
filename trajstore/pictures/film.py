"""The animation: all cameras of some samples in sync, frame by frame, until the path and its future are seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from trajstore.pictures.clips import Clip
from trajstore.pictures.legend import Entry, draw_line, find_height, list_boxes
from trajstore.pictures.page import Area, Page
from trajstore.pictures.palette import QUIET
from trajstore.pictures.sheet import WORDS_MIN, fit_tile
from trajstore.pictures.tile import Tile

MARGIN: Final = 14
GAP: Final = 4
TITLE: Final = 40
LEGEND: Final = 28
FOOTER: Final = 20
CAPTION: Final = 24
NUMBER_WIDTH: Final = 240
WIDTH_MIN: Final = 480
BLOCK_WIDTH_MIN: Final = 250
BLOCK_GAP: Final = 20
WORLD_WIDTH_MIN: Final = 640
PITCH_MIN: Final = 30
TILE_MAX: Final = 200
TILE_MIN: Final = 112
TILES_WIDTH: Final = 800
TILES_HEIGHT: Final = 640
"""Lengths on the page, px."""


@dataclass(frozen=True)
class _Playing:
    """One camera's picture and what moves over it."""

    clip: Clip
    view: int
    tile: Tile
    path: Line2D
    boxes: tuple[Rectangle, ...]
    future: Line2D
    overlay: bool

    def show(self, index: int) -> None:
        """Show a frame that was read, and what of the path is known by then."""
        frame, camera = self.clip.frames[index], self.clip.views[self.view].camera
        self.tile.page.paste_picture(self.tile.area, self.clip.video[self.view, index])
        if not self.overlay:
            return
        self.tile.corner = self.clip.corners[camera, index]
        self.path.set_data(self.tile.path_points(self.clip.target, camera, frame).T)
        for box, body in zip(self.boxes, self.clip.bodies, strict=True):
            box.set_visible(body.is_present(frame))
            if box.get_visible():
                self.tile.move_box(box, body, camera, frame)
        self.future.set_visible(index == len(self.clip.frames) - 1)
        self.future.set_data(self.tile.to_page(self.clip.future_pixel[[camera]]).T)
        for mark in self.marks:
            self.tile.page.axes.draw_artist(mark)

    @property
    def marks(self) -> tuple[Artist, ...]:
        """From back to front."""
        return (self.path, *reversed(self.boxes), self.future)


def draw_film(
    clips: Sequence[Clip],
    *,
    title: str,
    colors: Sequence[Sequence[Entry]] = (),
    scale: float | None = None,
    overlay: bool = True,
) -> Iterator[NDArray[np.uint8]]:
    """Draw a picture for each frame, (height, width, 3) uint8: of each sample all cameras beside each other.

    Both sides are even, as video codecs want them. The last picture shows the future position, too. Lines of a legend,
    ``colors``, say what the pictures show.
    """
    views, count, _, height, width = clips[0].video.shape
    most = max(1, TILES_WIDTH // max(BLOCK_WIDTH_MIN, views * TILE_MAX))
    lines = ceil(len(clips) / most)
    columns = ceil(len(clips) / lines)
    room = min(TILES_WIDTH // (views * columns) - GAP, TILES_HEIGHT // lines)
    tile = fit_tile(height, width, largest=min(TILE_MAX, max(TILE_MIN, room)), scale=scale)
    block_width = max(views * _pitch(tile) - GAP, BLOCK_WIDTH_MIN if columns > 1 else 0) + BLOCK_GAP
    line_height = CAPTION + tile[1] + MARGIN
    has_boxes = overlay and clips[0].target.visible_pixels is not None
    legend = [*([list_boxes(clips)] if has_boxes else []), *colors]
    heights = [find_height(entries, LEGEND) for entries in legend]
    first_line = MARGIN + TITLE + sum(heights)
    names = [view.name_lines(clips[0]) for view in clips[0].views]
    footer = FOOTER * max(map(len, names))
    page = Page(
        _even(max(WORLD_WIDTH_MIN if legend else WIDTH_MIN, 2 * MARGIN + columns * block_width - BLOCK_GAP)),
        _even(first_line + lines * line_height + footer),
    )
    bottom = first_line - 10.0
    for height, entries in zip(reversed(heights), reversed(legend), strict=True):
        draw_line(page, MARGIN - (entries[0].mark == "box") * 7, bottom - height / 2, entries, size=14)
        bottom -= height
    room = page.width - 2 * MARGIN - NUMBER_WIDTH
    page.add_text(MARGIN, MARGIN, title, size=17, weight="bold", room=room)
    for column, (place, said) in product(range(columns), enumerate(names)):
        middle = MARGIN + column * block_width + place * _pitch(tile) + tile[0] / 2
        shown = said if tile[0] >= WORDS_MIN else [line.removeprefix("camera ") for line in said]
        for line, text in enumerate(shown):
            top = page.height - MARGIN - footer + (line + 1) * FOOTER
            page.add_text(
                middle,
                top,
                text,
                size=14,
                ha="center",
                va="bottom",
                color=QUIET,
                room=max(tile[0], PITCH_MIN),
            )
    number = page.add_text(page.width - MARGIN, MARGIN + 1, "", size=16, ha="right", animated=True)
    playing = [
        part
        for place, clip in enumerate(clips)
        for part in _lay_out(
            page,
            clip,
            tile,
            left=MARGIN + place % columns * block_width,
            top=first_line + place // columns * line_height,
            has_frames=bool(colors),
            overlay=overlay,
        )
    ]
    start_anew = page.keep()
    frames, last = clips[0].frames, clips[0].last_frame
    for index in range(count):
        start_anew()
        text = f"frame {frames[index]} of {last}"
        number.set_text(f"{text}, × future" if overlay and index == count - 1 else text)
        page.axes.draw_artist(number)
        for part in playing:
            part.show(index)
        yield page.shown()


def _lay_out(
    page: Page, clip: Clip, size: tuple[int, int], *, left: float, top: float, has_frames: bool, overlay: bool
) -> Iterator[_Playing]:
    """A line of cameras, and what the sample is above them."""
    name = page.add_text(left, top, clip.class_name, size=15, weight="bold")
    page.add_text(page.end_of(name) + 10, top, f"row {clip.row:,}, split {clip.split}", size=15, color=QUIET)
    *_, height, width = clip.video.shape
    for number, (camera, _) in enumerate(clip.views):
        area = Area(left + number * _pitch(size), top + CAPTION, *size)
        tile = Tile(page, area, height=height, width=width)
        if has_frames:
            page.add_frame(area)
        part = _Playing(
            clip=clip,
            view=number,
            tile=tile,
            path=tile.mark_path(clip.target, camera, 1),
            boxes=tuple(tile.add_box(body) for body in clip.bodies),
            future=tile.mark_future(clip.future_pixel[camera]),
            overlay=overlay and clip.views[number].is_marked(clip),
        )
        for mark in part.marks:
            mark.set_animated(True)
        yield part


def _pitch(tile: tuple[int, int]) -> int:
    """From one camera to the next: its number has room, however narrow its picture is."""
    return max(tile[0], PITCH_MIN) + GAP


def _even(pixels: int) -> int:
    """The next even number."""
    return pixels + pixels % 2
