"""The animation: all cameras of some samples in sync, frame by frame, until the path and its future are seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
WORLD_WIDTH_MIN: Final = 640
PITCH_MIN: Final = 30
TILE_MAX: Final = 200
TILES_WIDTH: Final = 800
TILES_HEIGHT: Final = 640
"""Lengths on the page, px."""


@dataclass(frozen=True)
class _Playing:
    """One camera's picture and what moves over it."""

    clip: Clip
    camera: int
    tile: Tile
    path: Line2D
    boxes: tuple[Rectangle, ...]
    future: Line2D

    def show(self, index: int) -> None:
        """Show a frame that was read, and what of the path is known by then."""
        frame = self.clip.frames[index]
        self.tile.page.paste_picture(self.tile.area, self.clip.video[self.camera, index])
        known = self.tile.to_page(self.clip.target.pixel[self.camera, :frame])
        self.path.set_data(known[:, 0], known[:, 1])
        for box, body in zip(self.boxes, self.clip.bodies, strict=True):
            box.set_visible(body.is_present(frame))
            if box.get_visible():
                self.tile.move_box(box, body, self.camera, frame)
        self.future.set_visible(index == len(self.clip.frames) - 1)
        for mark in self.marks:
            self.tile.page.axes.draw_artist(mark)

    @property
    def marks(self) -> tuple[Artist, ...]:
        """From back to front."""
        return (self.path, *reversed(self.boxes), self.future)


def draw_film(
    clips: Sequence[Clip], *, title: str, colors: Sequence[Sequence[Entry]] = ()
) -> Iterator[NDArray[np.uint8]]:
    """Draw a picture for each frame, (height, width, 3) uint8: a line of cameras for each sample.

    Both sides are even, as video codecs want them. The last picture shows the future position, too. Lines of a legend,
    ``colors``, say what the pictures show.
    """
    cameras, count, _, height, width = clips[0].video.shape
    largest = min(TILE_MAX, TILES_WIDTH // cameras - GAP, TILES_HEIGHT // len(clips))
    tile = fit_tile(height, width, largest=largest)
    line_height = CAPTION + tile[1] + MARGIN
    has_world = clips[0].target.visible_pixels is not None
    legend = [*([list_boxes(clips)] if has_world else []), *colors]
    heights = [find_height(entries, LEGEND) for entries in legend]
    first_line = MARGIN + TITLE + sum(heights)
    page = Page(
        _even(max(WORLD_WIDTH_MIN if has_world else WIDTH_MIN, 2 * MARGIN + cameras * _pitch(tile) - GAP)),
        _even(first_line + len(clips) * line_height + FOOTER),
    )
    bottom = first_line - 10.0
    for height, entries in zip(reversed(heights), reversed(legend), strict=True):
        draw_line(page, MARGIN - (entries[0].mark == "box") * 7, bottom - height / 2, entries, size=14)
        bottom -= height
    room = page.width - 2 * MARGIN - NUMBER_WIDTH
    page.add_text(MARGIN, MARGIN, title, size=17, weight="bold", room=room)
    for camera, of_dataset in enumerate(clips[0].cameras.numbers):
        middle = MARGIN + camera * _pitch(tile) + tile[0] / 2
        text = f"camera {of_dataset}" if tile[0] >= WORDS_MIN else str(of_dataset)
        page.add_text(middle, page.height - MARGIN, text, size=14, ha="center", va="bottom", color=QUIET)
    number = page.add_text(page.width - MARGIN, MARGIN + 1, "", size=16, ha="right", animated=True)
    playing = [
        part
        for line, clip in enumerate(clips)
        for part in _lay_out(page, clip, tile, top=first_line + line * line_height, has_frames=bool(colors))
    ]
    start_anew = page.keep()
    frames, last = clips[0].frames, clips[0].last_frame
    for index in range(count):
        start_anew()
        text = f"frame {frames[index]} of {last}"
        number.set_text(f"{text}, × future" if index == count - 1 else text)
        page.axes.draw_artist(number)
        for part in playing:
            part.show(index)
        yield page.shown()


def _lay_out(
    page: Page, clip: Clip, size: tuple[int, int], *, top: float, has_frames: bool
) -> Iterator[_Playing]:
    """A line of cameras, and what the sample is above them."""
    name = page.add_text(MARGIN, top, clip.class_name, size=15, weight="bold")
    page.add_text(page.end_of(name) + 10, top, f"row {clip.row:,}, split {clip.split}", size=15, color=QUIET)
    for camera in range(len(clip.cameras.numbers)):
        left = MARGIN + camera * _pitch(size)
        tile = Tile(
            page,
            Area(left, top + CAPTION, *size),
            height=clip.cameras.height,
            width=clip.cameras.width,
        )
        if has_frames:
            page.add_frame(tile.area)
        part = _Playing(
            clip=clip,
            camera=camera,
            tile=tile,
            path=tile.mark_path(clip.target.pixel[camera]),
            boxes=tuple(tile.add_box(body) for body in clip.bodies),
            future=tile.mark_future(clip.future_pixel[camera]),
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
