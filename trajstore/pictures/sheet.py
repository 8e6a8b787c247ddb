"""The contact sheet: for each sample its cameras at some frames, the path in the world, and the labels in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, log, sqrt
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
GUTTER_SHOWS: Final = 120
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

TILE_MAX: Final = 192
TILE_MIN: Final = 112
TILE_ALONE: Final = 256
TILES_HEIGHT: Final = 640
"""About how large pictures are: of many cameras, of very many, of one, and those of all cameras together, px."""

LONG_MAX: Final = 1.7
"""How much longer than that the longer side of a picture may be."""

STACKED_MIN: Final = 380
"""From this height of the pictures on, the two drawings of the world stand above one another."""

PATH_SHARE: Final = 0.6
PATH_HEIGHT_MAX: Final = 480
"""Of that height, what the upper one has; px."""

CAPTION_LINES: Final = 2
"""Lines of a sample in a sentence."""

ASPECT: Final = 16 / 10
"""Of the page; blocks are arranged to come near it."""


@dataclass(frozen=True)
class Plan:
    """How large everything of a sample is, px, and how many samples stand beside each other.

    Each camera has a line of pictures; the pictures of one camera alone go on in the next line.
    """

    tile: tuple[int, int]
    cell: tuple[int, int]
    pitch: tuple[int, int]
    across: int
    gutter: int
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
        return self.gutter + self.tiles[0] + WORLD_GAP + world, self.caption + HEADING + self.inner_height

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
    views: int,
    frames: int,
    height: int,
    width: int,
    scale: float | None = None,
    gutter: int = GUTTER,
    caption_lines: int = 1,
    legend: int = LEGEND,
) -> Plan:
    """Find sizes that suit any number of samples, cameras and frames."""
    most = TILE_ALONE if views == 1 else TILE_MAX
    largest = min(most, max(TILE_MIN, TILES_HEIGHT // views - GAP))
    tile = fit_tile(height, width, largest=largest, scale=scale)
    cell = (max(tile[0], CELL_MIN[0]), max(tile[1], CELL_MIN[1]))
    across = ceil(frames / 2) if views == 1 and frames > 3 else frames
    lines = ceil(views * frames / across)
    heading = HEADING if views == 1 else 0
    pitch = (cell[0] + GAP, cell[1] + GAP + heading)
    tiles = (across * pitch[0] - GAP, lines * pitch[1] - GAP - heading)
    gutter = gutter if views > 1 or cell[0] < WORDS_MIN else 0
    if tiles[1] >= STACKED_MIN:
        path_height = round(min(PATH_SHARE * tiles[1], PATH_HEIGHT_MAX))
        path_width = round(path_height * CUBE_SPAN[0] / CUBE_SPAN[1])
        path, rig = (path_width, path_height), (path_width, min(tiles[1] - path_height, path_width))
    else:
        side = max(250, tiles[1])
        path, rig = (side, side), (round(1.25 * side), side)

    def arrange(columns: int) -> Plan:
        lines = ceil(count / columns)
        return Plan(
            tile, cell, pitch, across, gutter, tiles, path, rig, columns, lines, caption_lines, legend
        )

    # no column more than the lines need, so that none stays empty
    plans = [arrange(columns) for columns in range(1, count + 1)]
    full = [plan for plan in plans if ceil(count / plan.lines) == plan.columns]
    return min(full, key=lambda plan: abs(log(plan.page[0] / plan.page[1] / ASPECT)))


def fit_tile(height: int, width: int, *, largest: int, scale: float | None = None) -> tuple[int, int]:
    """How large a picture is shown: ``scale`` times its size, or a whole multiple or part of it about so large.

    Examples
    --------
    >>> fit_tile(64, 64, largest=160), fit_tile(256, 256, largest=112), fit_tile(64, 64, largest=160, scale=3)
    ((128, 128), (128, 128), (192, 192))
    """
    if scale is None:
        side = max(sqrt(height * width), max(height, width) / LONG_MAX)
        scale = max(1, round(largest / side)) / max(1, round(side / largest))
    return max(1, round(scale * width)), max(1, round(scale * height))


def draw_sheet(
    clips: Sequence[Clip],
    *,
    title: str,
    subtitle: str,
    colors: Sequence[Sequence[Entry]] = (),
    scale: float | None = None,
    overlay: bool = True,
) -> Page:
    """Draw a contact sheet; ``colors`` are lines of the legend that say what its pictures show."""
    views, frames, _, height, width = clips[0].video.shape
    has_shows = len({view.show for view in clips[0].views}) > 1
    plan_some = partial(
        plan_sheet,
        views=views,
        frames=frames,
        height=height,
        width=width,
        scale=scale,
        gutter=GUTTER_SHOWS if has_shows else GUTTER,
    )
    block_width, _ = plan_some(1).block
    words = [_say(clip, block_width) for clip in clips]
    legend = [*list_entries(clips, has_boxes=overlay), *colors]
    heights = [find_height(line, LEGEND_LINE) for line in legend]
    plan = plan_some(
        len(clips),
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
        _draw_block(page, area, plan, clip, has_frames=bool(colors), overlay=overlay)
    bottom = page.height - MARGIN + LEGEND_LINE / 2 - 10.0
    for height, entries in zip(reversed(heights), reversed(legend), strict=True):
        draw_line(page, MARGIN, bottom - height / 2, entries)
        bottom -= height
    return page


def _draw_block(page: Page, area: Area, plan: Plan, clip: Clip, *, has_frames: bool, overlay: bool) -> None:
    """All that belongs to one sample, below its labels in words."""
    top = area.top + plan.caption + HEADING
    tiles = Area(area.left + plan.gutter, top, *plan.tiles)
    _draw_tiles(page, tiles, plan, clip, has_frames=has_frames, overlay=overlay)
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


def _draw_tiles(page: Page, area: Area, plan: Plan, clip: Clip, *, has_frames: bool, overlay: bool) -> None:
    """Cameras × frames, in thin frames where their background may be as bright as the paper."""
    (width, height), (cell_width, cell_height) = plan.tile, plan.cell
    views, frames, _, rows, columns = clip.video.shape
    style: dict[str, Any] = {"size": TYPE, "color": QUIET}
    has_words = cell_width >= WORDS_MIN
    for number in range(views * frames):
        (view, place), (line, column) = divmod(number, frames), divmod(number, plan.across)
        camera, frame = clip.views[view].camera, clip.frames[place]
        middle = area.left + column * plan.pitch[0] + cell_width / 2
        top = area.top + line * plan.pitch[1]
        if view == 0:
            text = f"frame {frame}" if has_words else str(frame)
            page.add_text(middle, top - 6, text, ha="center", va="bottom", **style)
            if column == 0 and not has_words:
                page.add_text(area.left - 10, top - 6, "frame", ha="right", va="bottom", **style)
        if column == 0 and views > 1:
            text = "\n".join(clip.views[view].name_lines(clip))
            page.add_text(area.left - 10, top + cell_height / 2, text, ha="right", va="center", **style)
        shown = Area(round(middle - width / 2), round(top + (cell_height - height) / 2), width, height)
        page.add_picture(shown, clip.video[view, place])
        if has_frames:
            page.add_frame(shown)
        if overlay and clip.views[view].is_marked(clip):
            tile = Tile(page, shown, height=rows, width=columns, corner=clip.corners[camera, place])
            tile.mark_boxes(clip.bodies, camera, frame)
            if place == frames - 1:
                tile.mark_path(clip.target, camera, frame)
                tile.mark_future(clip.future_pixel[camera])
