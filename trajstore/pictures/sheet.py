"""The contact sheet: for each sample its cameras at some frames, the path in the world, and the labels in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from textwrap import wrap
from typing import Any, Final

from trajstore.pictures.clips import Clip
from trajstore.pictures.legend import Entry, draw_line, find_height, list_entries
from trajstore.pictures.page import Area, Page
from trajstore.pictures.palette import QUIET
from trajstore.pictures.tile import Tile
from trajstore.pictures.world import CUBE_SPAN, draw_path, draw_rig

MARGIN: Final = 26
GAP: Final = 5
GUTTER: Final = 88
CAPTION: Final = 39
LINE: Final = 19
HEADING: Final = 24
WORLD_GAP: Final = 20
BLOCK_GAP: Final = (44, 30)
TITLE: Final = 78
LEGEND: Final = 40
LEGEND_LINE: Final = 26
TYPE: Final = 15
WIDTH_MIN: Final = 760
CELL_MIN: Final = (56, 20)
WORDS_MIN: Final = 88
LETTER: Final = 8.2
"""Lengths on the page, px."""

WORLD_WIDTH: Final = 330
TILE_MAX: Final = 160
TILES_HEIGHT: Final = 520
STACKED_MIN: Final = 500
"""From this height of the pictures on, the two drawings of the world stand above one another."""

CAPTION_LINES: Final = 2
"""Lines of a sample in a sentence."""

ASPECT: Final = 16 / 10
"""Of the page; blocks are arranged to come near it."""


@dataclass(frozen=True)
class Plan:
    """How large everything of a sample is, px, and how many samples stand beside each other."""

    tile: tuple[int, int]
    cell: tuple[int, int]
    tiles: tuple[int, int]
    path: tuple[int, int]
    rig: tuple[int, int]
    columns: int
    lines: int
    caption_lines: int
    legend: int

    @property
    def is_stacked(self) -> bool:
        """Whether the cameras are drawn below the path, not beside it."""
        return self.path[1] + self.rig[1] <= self.inner_height

    @property
    def inner_height(self) -> int:
        """Of the pictures and the drawings."""
        return max(self.tiles[1], self.path[1])

    @property
    def block(self) -> tuple[int, int]:
        """Of all that belongs to one sample."""
        world = self.path[0] if self.is_stacked else self.path[0] + self.rig[0]
        return GUTTER + self.tiles[0] + WORLD_GAP + world, self.caption + HEADING + self.inner_height

    @property
    def caption(self) -> int:
        """Height of the labels in words."""
        return CAPTION + self.caption_lines * LINE

    @property
    def page(self) -> tuple[int, int]:
        """Of the sheet."""
        width = self.columns * (self.block[0] + BLOCK_GAP[0]) - BLOCK_GAP[0] + 2 * MARGIN
        height = self.lines * (self.block[1] + BLOCK_GAP[1]) - BLOCK_GAP[1] + 2 * MARGIN + TITLE + self.legend
        return max(width, WIDTH_MIN), height


def plan_sheet(
    count: int,
    *,
    cameras: int,
    frames: int,
    height: int,
    width: int,
    caption_lines: int = 1,
    legend: int = LEGEND,
) -> Plan:
    """Find sizes that suit any number of samples, cameras and frames."""
    tile = fit_tile(height, width, largest=min(TILE_MAX, TILES_HEIGHT // cameras - GAP))
    cell = (max(tile[0], CELL_MIN[0]), max(tile[1], CELL_MIN[1]))
    tiles = (frames * (cell[0] + GAP) - GAP, cameras * (cell[1] + GAP) - GAP)
    if tiles[1] >= STACKED_MIN:
        path_height = round(WORLD_WIDTH * CUBE_SPAN[1] / CUBE_SPAN[0])
        path, rig = (WORLD_WIDTH, path_height), (WORLD_WIDTH, tiles[1] - path_height)
    else:
        side = max(250, tiles[1])
        path, rig = (side, side), (round(1.25 * side), side)

    def arrange(columns: int) -> Plan:
        return Plan(tile, cell, tiles, path, rig, columns, ceil(count / columns), caption_lines, legend)

    # no column more than the lines need, so that none stays empty
    plans = [arrange(columns) for columns in range(1, count + 1)]
    full = [plan for plan in plans if ceil(count / plan.lines) == plan.columns]
    return min(full, key=lambda plan: abs(log(plan.page[0] / plan.page[1] / ASPECT)))


def fit_tile(height: int, width: int, *, largest: int) -> tuple[int, int]:
    """How large a picture is shown: a whole multiple of its size, or smaller than it is."""
    longer = max(height, width)
    if longer <= 1.35 * largest:
        factor = max(1, round(largest / longer))
        return factor * width, factor * height
    return max(1, round(width * largest / longer)), max(1, round(height * largest / longer))


def draw_sheet(
    clips: Sequence[Clip], *, title: str, subtitle: str, colors: Sequence[Sequence[Entry]] = ()
) -> Page:
    """Draw a contact sheet; ``colors`` are lines of the legend that say what its pictures show."""
    cameras, frames, _, height, width = clips[0].video.shape
    sizes = {"cameras": cameras, "frames": frames, "height": height, "width": width}
    block_width, _ = plan_sheet(1, **sizes).block
    words, legend = [_say(clip, block_width) for clip in clips], [*list_entries(clips), *colors]
    heights = [find_height(line, LEGEND_LINE) for line in legend]
    plan = plan_sheet(
        len(clips),
        **sizes,
        caption_lines=max(map(len, words)),
        legend=LEGEND - LEGEND_LINE + sum(heights),
    )
    page = Page(*plan.page)
    room = page.width - 2 * MARGIN
    page.add_text(MARGIN, MARGIN, title, size=26, weight="bold", room=room)
    page.add_text(MARGIN, MARGIN + 36, subtitle, size=17, color=QUIET, room=room)
    for place, clip in enumerate(clips):
        line, column = divmod(place, plan.columns)
        block_width, block_height = plan.block
        left = MARGIN + column * (block_width + BLOCK_GAP[0])
        top = MARGIN + TITLE + line * (block_height + BLOCK_GAP[1])
        area = Area(left, top, block_width, block_height)
        _write_caption(page, area, clip, words[place])
        _draw_block(page, area, plan, clip, has_frames=bool(colors))
    bottom = page.height - MARGIN + LEGEND_LINE / 2 - 10.0
    for height, entries in zip(reversed(heights), reversed(legend), strict=True):
        draw_line(page, MARGIN, bottom - height / 2, entries)
        bottom -= height
    return page


def _draw_block(page: Page, area: Area, plan: Plan, clip: Clip, *, has_frames: bool) -> None:
    """All that belongs to one sample, below its labels in words."""
    top = area.top + plan.caption + HEADING
    tiles = Area(area.left + GUTTER, top, *plan.tiles)
    _draw_tiles(page, tiles, plan, clip, has_frames=has_frames)
    path = Area(tiles.right + WORLD_GAP, top, *plan.path)
    rig = Area(path.left, path.bottom, *plan.rig) if plan.is_stacked else Area(path.right, top, *plan.rig)
    draw_path(page, path, clip)
    draw_rig(page, rig, clip)


def _say(clip: Clip, width: float) -> list[str]:
    """The labels in words, in lines."""
    point = ", ".join(f"{value:.2f}".replace("-", "−") for value in clip.future_position)
    numbers = [f"radius {clip.target.radius:.3f}", f"at frame {clip.future_frame}: ({point})"]
    numbers += [f"{name} {value}" for name, value in clip.facts.items()]
    sentence = wrap(clip.caption, int(width / LETTER), max_lines=CAPTION_LINES, placeholder=" …")
    return [*sentence, ", ".join(numbers)]


def _write_caption(page: Page, area: Area, clip: Clip, words: list[str]) -> None:
    """What a sample is, and its labels in words."""
    name = page.add_text(area.left, area.top, clip.class_name, size=22, weight="bold")
    page.add_text(page.end_of(name) + 14, area.top + 3, f"row {clip.row:,}, split {clip.split}", size=18)
    for number, line in enumerate(words):
        top = area.top + 31 + number * LINE
        page.add_text(area.left, top, line, size=15, color=QUIET, room=area.width)


def _draw_tiles(page: Page, area: Area, plan: Plan, clip: Clip, *, has_frames: bool) -> None:
    """Cameras × frames, in thin frames where their background may be as bright as the paper."""
    (width, height), (cell_width, cell_height) = plan.tile, plan.cell
    style: dict[str, Any] = {"size": TYPE, "color": QUIET}
    has_words = cell_width >= WORDS_MIN
    if not has_words:
        page.add_text(area.left - 10, area.top - 6, "frame", ha="right", va="bottom", **style)
    middles = [area.left + j * (cell_width + GAP) + cell_width / 2 for j in range(len(clip.frames))]
    for frame, middle in zip(clip.frames, middles, strict=True):
        text = f"frame {frame}" if has_words else str(frame)
        page.add_text(middle, area.top - 6, text, ha="center", va="bottom", **style)
    for i, camera in enumerate(clip.cameras.numbers):
        line = area.top + i * (cell_height + GAP) + cell_height / 2
        page.add_text(area.left - 10, line, f"camera {camera}", ha="right", va="center", **style)
        for j, (frame, middle) in enumerate(zip(clip.frames, middles, strict=True)):
            place = Area(round(middle - width / 2), round(line - height / 2), width, height)
            tile = Tile(page, place, height=clip.cameras.height, width=clip.cameras.width)
            page.add_picture(place, clip.video[i, j])
            if has_frames:
                page.add_frame(place)
            tile.mark_boxes(clip.bodies, i, frame)
        tile.mark_path(clip.target.pixel[i])
        tile.mark_future(clip.future_pixel[i])
