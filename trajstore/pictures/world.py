"""The world as a drawing: a path inside the unit ball, and the cameras around it, both to scale.

The projection is orthographic, so that a sphere is a circle of its own radius and a scale holds everywhere. With
mplot3d numbers cover one another and what is drawn beside them, cameras are cut off, and a sheet takes a tenth longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajstore.pictures.choose import spread
from trajstore.pictures.clips import Body, Clip
from trajstore.pictures.page import Area, Page
from trajstore.pictures.palette import FAINT, FUTURE, INK, PAPER, PATH, QUIET, ROLES, SHADOW
from trajstore.pictures.shapes import find_outline

AZIMUTH: Final = np.radians(-70.0)
ELEVATION: Final = np.radians(28.0)
"""Where the drawing is seen from."""

TYPE: Final = 14.0
"""Size of the numbers, px."""

CUBE_SPAN: Final = (2.9, 2.75)
"""Width and height of what is drawn of the cube around the unit ball with its numbers, world units."""

CUBE_MIDDLE: Final = (-0.02, -0.32)
"""The middle of that, to the right and up from the origin."""

DOT_GAP: Final = 10.0
"""Between the dots of a path, px: where bodies are slow or frames many, only every few frames have one."""

RIG_PADDING: Final = (26.0, 26.0)
"""Room for the numbers of the cameras, px."""

WAY_POINTS: Final = 65
"""Points of the way of a camera that moves."""

SCALE_HEIGHT: Final = 26.0
"""Room for the scale below the cameras, px."""


@dataclass(frozen=True)
class Outlook:
    """How an area of a page shows the world: what of the view is in its middle, and how many px a world unit has."""

    middle: NDArray[np.float64]
    area: Area
    scale: float

    def to_page(self, points_world: ArrayLike) -> NDArray[np.float64]:
        """Where points of the world, (..., 3), appear on the page, (..., 2), px."""
        right_up = (look(points_world) - self.middle) * self.scale
        center = [self.area.left + self.area.width / 2, self.area.top + self.area.height / 2]
        return np.array(center) + right_up * [1.0, -1.0]


def look(points_world: ArrayLike) -> NDArray[np.float64]:
    """Points of the world, (..., 3), as seen from afar: to the right and up, (..., 2), world units."""
    sine, cosine = np.sin(AZIMUTH), np.cos(AZIMUTH)
    right = [-sine, cosine, 0.0]
    up = [-np.sin(ELEVATION) * cosine, -np.sin(ELEVATION) * sine, np.cos(ELEVATION)]
    right_up: NDArray[np.float64] = np.asarray(points_world, np.float64) @ np.array([right, up]).T
    return right_up


def draw_path(page: Page, area: Area, clip: Clip) -> None:
    """Draw the path of a sample over its shadow on the floor of the cube around the unit ball."""
    scale = min(area.width / CUBE_SPAN[0], area.height / CUBE_SPAN[1])
    outlook = Outlook(np.array(CUBE_MIDDLE), area, scale)
    _draw_cube(page, outlook)

    target, future = clip.target, np.asarray(clip.future_position, np.float64)
    path = np.asarray(target.position, np.float64)
    for body in clip.bodies[1:]:
        _draw_other(page, outlook, body)
    page.add_line(outlook.to_page(_drop(path)), color=SHADOW, width=2.0)
    for point, color in ((path[-1], PATH), (future, FUTURE)):
        stem = outlook.to_page([point, _drop(point)])
        page.add_lines([stem], color=color, width=1.0, linestyles=[(0, (2.0, 2.0))])
    line = outlook.to_page(path)
    step = float(np.median(np.hypot(*np.diff(line, axis=0).T))) if len(line) > 1 else DOT_GAP
    every = ceil(min(DOT_GAP / max(step, 1e-9), len(line)))
    page.add_line(line, color=PATH, width=2.0, marker="o", markersize=3.4, markevery=every)
    _draw_body(page, outlook, target, 1, width=1.5, edgecolor=PATH, fill=False, zorder=2.5)
    object_color = tuple(level / 255 for level in target.color)
    style: dict[str, Any] = {"edgecolor": PATH, "facecolor": object_color, "zorder": 3.0}
    _draw_body(page, outlook, target, clip.last_frame, width=1.5, **style)
    seen = outlook.to_page(future)
    page.add_circle(
        seen, target.radius * scale, width=1.5, edgecolor=FUTURE, fill=False, linestyle="--", zorder=3.0
    )
    page.add_cross(seen, color=FUTURE, size=9.0)


def draw_rig(page: Page, area: Area, clip: Clip) -> None:
    """Draw the cameras at the last frame with what they look at, around the unit ball and the path."""
    cameras, last = clip.cameras, clip.last_frame
    centers = cameras.centers(last)
    screens = cameras.corners(0.22 * float(np.linalg.norm(centers, axis=1).max()), last)
    # of cameras that stand still one point, which is no line
    moments = spread(last, WAY_POINTS, first=1) if cameras.are_moving else [last]
    ways = np.stack([cameras.centers(frame) for frame in moments], axis=1)
    seen = np.concatenate([look([*ways.reshape(-1, 3), *screens.reshape(-1, 3)]), [[-1.0, -1.0], [1.0, 1.0]]])
    low, high = seen.min(axis=0), seen.max(axis=0)
    room = Area(area.left, area.top, area.width, area.height - SCALE_HEIGHT)
    inner = (room.width - 2 * RIG_PADDING[0], room.height - 2 * RIG_PADDING[1])
    scale = min(inner[0] / (high[0] - low[0]), inner[1] / (high[1] - low[1]))
    outlook = Outlook((low + high) / 2, room, scale)

    page.add_circle(outlook.to_page(np.zeros(3)), scale, width=1.0, edgecolor=FAINT, facecolor="#F2F2F2")
    page.add_lines(list(outlook.to_page(ways)), color=SHADOW, width=1.4)
    page.add_line(outlook.to_page(clip.target.position), color=PATH, width=1.6)
    page.add_cross(outlook.to_page(clip.future_position), color=FUTURE, size=6.0)
    taken: list[NDArray[np.float64]] = []
    for number, center, screen in zip(clip.cameras.numbers, centers, screens, strict=True):
        _draw_camera(page, outlook.to_page(center), outlook.to_page(screen))
        _write_number(page, outlook.to_page(center), outlook.to_page(screen), number, taken)
    _draw_scale(page, area, scale)


def _draw_other(page: Page, outlook: Outlook, body: Body) -> None:
    """A body that is not the target: where it is when it is last there, and its way there."""
    color = ROLES[body.role]
    way = FAINT if body.role == "distractor" else color
    page.add_line(outlook.to_page(body.path), color=way, width=1.0, zorder=1.7)
    _draw_body(page, outlook, body, body.last_frame, width=1.0, edgecolor=color, fill=False, zorder=1.8)


def _draw_body(page: Page, outlook: Outlook, body: Body, frame: int, *, width: float, **style: Any) -> None:
    """The outline of a body at a frame, counted from 1."""
    if body.shape == "sphere":
        page.add_circle(
            outlook.to_page(body.position[frame - 1]), body.radius * outlook.scale, width=width, **style
        )
    else:
        page.add_polygon(find_outline(outlook.to_page(body.corners([frame])[0])), width=width, **style)


def _drop(points_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """What lies below points on the floor z = −1."""
    return points_world * [1.0, 1.0, 0.0] - [0.0, 0.0, 1.0]


def _draw_cube(page: Page, outlook: Outlook) -> None:
    """The floor z = −1 with a grid, one edge upwards, and numbers along all three."""
    steps = np.linspace(-1.0, 1.0, 5)
    grid = [[(x, -1.0, -1.0), (x, 1.0, -1.0)] for x in steps]
    grid += [[(-1.0, y, -1.0), (1.0, y, -1.0)] for y in steps]
    page.add_lines([outlook.to_page(line) for line in grid], color=FAINT, width=0.8)
    edges = [[(1.0, 1.0, -1.0), (1.0, -1.0, -1.0), (-1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)]]
    page.add_lines([outlook.to_page(line) for line in edges], color=QUIET, width=1.0)
    # corners belong to two edges: their number is written once
    others = ((0.0, "0"), (1.0, "1"))
    x_numbers = ((-1.0, "−1"), *others)
    labels: list[tuple[tuple[float, float, float], str, tuple[int, int]]] = [
        ((x, -1.0, -1.0), text, (-3, 13)) for x, text in x_numbers
    ]
    labels += [((1.0, y, -1.0), text, (14, 5)) for y, text in others]
    labels += [((-1.0, -1.0, z), text, (-12, 0)) for z, text in others]
    labels += [((0.5, -1.0, -1.0), "x", (-3, 14)), ((1.0, 0.5, -1.0), "y", (15, 6))]
    labels += [((-1.0, -1.0, 0.5), "z", (-12, 0))]
    for point, text, (right, down) in labels:
        left, top = outlook.to_page(point).tolist()
        color = INK if text.isalpha() else QUIET
        page.add_text(left + right, top + down, text, size=TYPE, ha="center", va="center", color=color)


def _draw_camera(page: Page, center: NDArray[np.float64], screen: NDArray[np.float64]) -> None:
    """A pyramid from a camera to the corners of its picture."""
    page.add_lines([(center, corner) for corner in screen], color=QUIET, width=1.0, zorder=3.0)
    page.add_polygon(screen, width=1.2, facecolor="#8C8C8C40", edgecolor=INK, zorder=3.0)
    # the upper edge of the picture, so that one sees which way is up
    page.add_line(screen[:2], color=INK, width=3.0, zorder=3.0)


def _write_number(
    page: Page,
    center: NDArray[np.float64],
    screen: NDArray[np.float64],
    number: int,
    taken: list[NDArray[np.float64]],
) -> None:
    """A camera's number behind it, where no other number is; none if there is no such place near."""
    away = center - screen.mean(axis=0)
    length = float(np.hypot(*away))
    direction = away / length if length > 1.0 else np.array([0.0, -1.0])
    places = [center + distance * direction for distance in (12.0, 30.0, 48.0)]
    free = [place for place in places if all(np.hypot(*(place - other)) > 20.0 for other in taken)]
    if not free:
        return
    taken.append(free[0])
    left, top = free[0].tolist()
    style: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold"}
    page.add_text(left, top, str(number), size=TYPE, outline=PAPER, **style)


def _draw_scale(page: Page, area: Area, scale: float) -> None:
    """A bar of a round length in the lower left corner."""
    length = round_down(0.3 * area.width / scale)
    left, top = area.left + 8.0, area.bottom - 3.0
    page.add_line([(left, top), (left + length * scale, top)], color=QUIET, width=2.0, solid_capstyle="butt")
    text = f"{length:g} world unit{'' if length == 1 else 's'}"
    page.add_text(left, top - 5.0, text, size=TYPE, va="bottom", color=QUIET)


def round_down(length: float) -> float:
    """The largest round number that is not larger.

    Examples
    --------
    >>> round_down(7.3), round_down(0.25), round_down(1000)
    (5.0, 0.2, 1000.0)
    """
    power = 10.0 ** floor(log10(length))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= length * (1 + 1e-9))
