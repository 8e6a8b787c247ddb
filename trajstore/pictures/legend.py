"""What the marks of a page mean, in lines at its bottom or top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trajstore.pictures.clips import HIDDEN, PARTLY, VISIBLE, Clip
from trajstore.pictures.page import Area, Page
from trajstore.pictures.palette import BOX, FUTURE, PATH, QUIET, ROLES
from trajstore.pictures.tile import LINES


@dataclass(frozen=True)
class Entry:
    """A mark and its meaning."""

    mark: str
    text: str
    color: str
    sight: int = VISIBLE


def list_entries(clips: Sequence[Clip]) -> list[list[Entry]]:
    """The lines of a legend: one where there is nothing but a sphere, else another for the boxes."""
    clip, last = clips[0], clips[0].last_frame
    path = Entry("line", f"path, frames 1 to {last}" if last > 1 else "path, frame 1", PATH)
    future = Entry("cross", f"future position, {clip.when}", FUTURE)
    if clip.target.visible_pixels is None:
        return [[path, Entry("box", "box of the silhouette", BOX), future]]
    return [[path, future], list_boxes(clips)]


def list_boxes(clips: Sequence[Clip]) -> list[Entry]:
    """What the boxes around bodies mean, as far as there are such bodies."""
    roles = {body.role for clip in clips for body in clip.bodies}
    boxes = [Entry("box", name, color) for name, color in ROLES.items() if name in roles]
    if len(boxes) > 1:
        boxes += [Entry("box", "partly hidden", QUIET, PARTLY), Entry("box", "hidden", QUIET, HIDDEN)]
    return boxes


def draw_line(page: Page, left: float, middle: float, entries: Sequence[Entry], *, size: float = 16) -> None:
    """Draw marks and what they mean beside each other."""
    for entry in entries:
        if entry.mark == "line":
            page.add_line([(left, middle), (left + 26, middle)], color=entry.color, width=2.4)
        elif entry.mark == "box":
            box = page.add_rectangle(Area(left + 7, middle - 6, 12, 12), color=entry.color, width=1.8)
            box.set_linestyle(LINES[entry.sight])
        else:
            page.add_cross((left + 13, middle), color=entry.color, size=11)
        written = page.add_text(left + 36, middle, entry.text, size=size, va="center")
        left = page.end_of(written) + 30
