"""One camera's picture on a page, with the path, the boxes and the future position where the labels say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox, TransformedBbox
from numpy.typing import ArrayLike, NDArray

from trajstore.pictures.clips import HIDDEN, PARTLY, VISIBLE, Body
from trajstore.pictures.page import Area, Page
from trajstore.pictures.palette import FUTURE, PAPER, PATH, ROLES

LINES: Final[dict[int, Any]] = {VISIBLE: "solid", PARTLY: (0, (2.6, 1.4)), HIDDEN: (0, (0.9, 1.4))}
"""Line styles of boxes, by how much is seen of a body."""

WIDTH: Final = 1.4
WIDTHS: Final = {"target": 2.0, "distractor": 1.0, "transient": WIDTH}
"""Line widths of boxes, px, of a sphere that is alone and by what a body is there for."""

Mark = TypeVar("Mark", bound=Artist)


class Tile:
    """A picture whose pixels are known on the page: what is drawn over it is given in px of the whole frame.

    A picture may be a part of a frame, with its top left corner at ``corner``.
    """

    def __init__(
        self, page: Page, area: Area, *, height: int, width: int, corner: ArrayLike = (0.0, 0.0)
    ) -> None:
        self.page, self.area, self.corner = page, area, np.asarray(corner)
        self._scale = np.array([area.width / width, area.height / height])
        frame = Bbox.from_extents(area.left, area.top, area.right, area.bottom)
        self._frame = TransformedBbox(frame, page.axes.transData)

    def to_page(self, pixel: ArrayLike) -> NDArray[np.float64]:
        """Where points of the frame, (..., 2), lie on the page; pixel centres are at half-integers."""
        origin = np.array([self.area.left, self.area.top])
        points: NDArray[np.float64] = (np.asarray(pixel, np.float64) - self.corner) * self._scale + origin
        return points

    def mark_path(self, body: Body, camera: int, frame: int) -> Line2D:
        """Draw the path of a body up to a frame, counted from 1."""
        points = self.path_points(body, camera, frame)
        return self._clip(self.page.add_line(points, color=PATH, width=2.2, outline=PAPER))

    def path_points(self, body: Body, camera: int, frame: int) -> NDArray[np.float64]:
        """The path of a body up to its box at a frame, so that the body is seen, (n, 2), px of the page."""
        return self.to_page(cut_path(body.pixel[camera, :frame], body.box[camera, frame - 1]))

    def mark_boxes(self, bodies: Sequence[Body], camera: int, frame: int) -> None:
        """Draw the boxes of all bodies that are there at a frame, counted from 1, that of the target on top."""
        for body in reversed(bodies):
            if body.is_present(frame):
                self.move_box(self.add_box(body), body, camera, frame)

    def add_box(self, body: Body) -> Rectangle:
        """The box of a body, which is nowhere yet."""
        width = WIDTH if body.visible_pixels is None else WIDTHS[body.role]
        return self._clip(self.page.add_rectangle(self.area, color=ROLES[body.role], width=width))

    def move_box(self, rectangle: Rectangle, body: Body, camera: int, frame: int) -> None:
        """Put a box to where a body is at a frame, counted from 1; its line says how much is seen of the body."""
        area = self.box_area(body.box[camera, frame - 1])
        rectangle.set_bounds(area.left, area.top, area.width, area.height)
        rectangle.set_linestyle(LINES[int(body.sight[camera, frame - 1])])

    def box_area(self, box: NDArray[np.float32]) -> Area:
        """Where a box lies on the page."""
        (left, top), (right, bottom) = self.to_page(box.reshape(2, 2)).tolist()
        return Area(left, top, right - left, bottom - top)

    def mark_future(self, pixel: NDArray[np.float64]) -> Line2D:
        """Mark the projected future position, px of the frame, with a cross."""
        return self._clip(self.page.add_cross(self.to_page(pixel), color=FUTURE, size=11.0))

    def _clip(self, mark: Mark) -> Mark:
        """Keep a mark inside the picture."""
        mark.set_clip_box(self._frame)
        return mark


def cut_path(pixel: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """A path, (n, 2), px, without what of its end lies in a box.

    Examples
    --------
    >>> path = np.array([(0, 0), (4, 0), (8, 0), (9, 0)], np.float32)
    >>> cut_path(path, np.array([6, -2, 10, 2], np.float32)).tolist()
    [[0.0, 0.0], [4.0, 0.0], [6.0, 0.0]]
    """
    is_outside = ((pixel < box[:2]) | (pixel > box[2:])).any(axis=-1)
    count = int(np.flatnonzero(is_outside).max(initial=-1)) + 1
    if count in (0, len(pixel)):
        return pixel[:count]
    start, end = pixel[count - 1], pixel[count]
    way = np.where(end == start, np.float32(1.0), end - start)
    into = np.where(start < box[:2], box[:2], np.where(start > box[2:], box[2:], start))
    return np.concatenate([pixel[:count], [start + ((into - start) / way).max() * (end - start)]])
