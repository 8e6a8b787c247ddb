"""A page that is laid out in pixels from its top left corner, as pictures are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trajstore.errors import SpecError
from trajstore.pictures.palette import FAINT, FONT, INK, PAPER

DPI: Final = 100
"""Pixels per inch: what is placed by the pixel, pictures of samples above all, stays sharp."""


SIDE_MAX: Final = 16_000
"""The longest side of a page, px."""

SMALLEST: Final = 0.7
"""How much smaller a line of text may be set to fit."""


@dataclass(frozen=True)
class Area:
    """A rectangle of a page, px from the page's top left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Where it ends, px."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Where it ends, px."""
        return self.top + self.height


class Page:
    """A figure of so many pixels, all of which one pair of axes covers.

    What is drawn is added as an artist: whatever else matplotlib adds also stretches limits, which are fixed here.
    """

    def __init__(self, width: int, height: int) -> None:
        if max(width, height) > SIDE_MAX:
            message = (
                f"scale: found a page of {width:,} × {height:,} px, expected at most {SIDE_MAX:,} px a side; "
                "choose a smaller scale, or fewer rows"
            )
            raise SpecError(message)
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
        self.figure.set_layout_engine("none")  # whatever the style says
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set_axis_off()
        self.axes.set_xlim(0.0, width)
        self.axes.set_ylim(height, 0.0)
        self.axes.autoscale(enable=False)

    def keep(self) -> Callable[[], None]:
        """Draw all that is not animated, once."""
        canvas: Any = self.canvas
        canvas.draw()
        kept = canvas.copy_from_bbox(self.figure.bbox)
        return lambda: canvas.restore_region(kept)

    def shown(self) -> NDArray[np.uint8]:
        """What the canvas shows now, (height, width, 3) uint8, RGB."""
        return np.array(self.image())

    def image(self) -> Image.Image:
        """What the canvas shows now, RGB."""
        canvas: Any = self.canvas
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    def add_picture(self, area: Area, picture: NDArray[np.uint8]) -> None:
        """Show a picture, (3, height, width) uint8, RGB."""
        image = _Pixels(
            self.axes, extent=(area.left, area.right, area.bottom, area.top), interpolation="nearest"
        )
        image.set_data(resize(picture, round(area.width), round(area.height)))
        image.corner = (round(area.left), self.height - round(area.bottom))
        self.axes.add_artist(image)

    def paste_picture(self, area: Area, picture: NDArray[np.uint8]) -> None:
        """Put a picture on what the canvas shows now, a hundred times as fast as drawing it."""
        renderer: RendererAgg = self.canvas.get_renderer()  # type: ignore[no-untyped-call]
        pixels = resize(picture, round(area.width), round(area.height))
        # matplotlib counts lines from the bottom
        renderer.draw_image(
            renderer.new_gc(),
            round(area.left),
            self.height - round(area.bottom),
            np.ascontiguousarray(pixels[::-1]),
        )

    def add_line(
        self, points: ArrayLike, *, color: str, width: float, outline: str | None = None, **style: Any
    ) -> Line2D:
        """Draw a line through points, (n, 2), px, or markers there."""
        x, y = np.asarray(points, np.float64).T
        options: dict[str, Any] = {
            "solid_capstyle": "round", "solid_joinstyle": "round", "zorder": 2.0,
            "path_effects": _outline(outline, width + 2.2),
        } | style  # fmt: skip
        line = Line2D(x, y, color=color, linewidth=to_points(width), **options)
        self.axes.add_artist(line)
        return line

    def add_cross(self, point: ArrayLike, *, color: str, size: float) -> Line2D:
        """Draw a cross at a point, (2,), px."""
        return self.add_line(
            np.reshape(point, (1, 2)), color=color, width=0.0, linestyle="none", marker="x", markersize=to_points(size),
            markeredgewidth=to_points(2.6), path_effects=_outline(PAPER, 5.0), zorder=4.0,
        )  # fmt: skip

    def add_lines(self, lines: Sequence[ArrayLike], *, color: str, width: float, **style: Any) -> None:
        """Draw many lines of the same kind."""
        kept = LineCollection(
            [np.asarray(line) for line in lines], colors=color, linewidths=to_points(width), **style
        )
        self.axes.add_artist(kept)

    def add_rectangle(self, area: Area, *, color: str, width: float) -> Rectangle:
        """Draw the outline of a rectangle."""
        rectangle = Rectangle(
            (area.left, area.top), area.width, area.height, fill=False, edgecolor=color,
            linewidth=to_points(width), joinstyle="miter", zorder=3.0,
        )  # fmt: skip
        self.axes.add_artist(rectangle)
        return rectangle

    def add_frame(self, area: Area) -> None:
        """Draw a thin line right outside a picture that may be as bright as the paper."""
        around = Area(area.left - 0.5, area.top - 0.5, area.width + 1.0, area.height + 1.0)
        self.add_rectangle(around, color=FAINT, width=1.0).set_snap(False)

    def add_circle(self, center: ArrayLike, radius: float, *, width: float, **style: Any) -> None:
        """Draw a circle around a point, (2,), px."""
        u, v = np.asarray(center, np.float64).tolist()
        self.axes.add_artist(Circle((u, v), radius, linewidth=to_points(width), **style))

    def add_polygon(self, points: ArrayLike, *, width: float, **style: Any) -> None:
        """Draw a polygon between points, (n, 2), px."""
        self.axes.add_artist(Polygon(np.asarray(points), linewidth=to_points(width), **style))

    def add_text(
        self,
        left: float,
        top: float,
        text: str,
        *,
        size: float,
        room: float | None = None,
        outline: str | None = None,
        **style: Any,
    ) -> Text:
        """Write a line."""
        options: dict[str, Any] = {
            "color": INK, "ha": "left", "va": "top", "family": FONT, "parse_math": False, "zorder": 5.0,
            "path_effects": _outline(outline, 4.0),
        } | style  # fmt: skip
        written = self.axes.text(left, top, text, fontsize=to_points(size), **options)
        if room is not None:
            _fit(written, room, size)
        return written

    def end_of(self, text: Text) -> float:
        """Where a line of text ends, px."""
        return float(text.get_window_extent().x1)


class _Pixels(AxesImage):
    """A picture whose pixels are the page's: where they are, nothing is resampled, which takes a third of a sheet."""

    corner: tuple[int, int]

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> Any:
        """The pixels from the bottom up, and where on the canvas they begin."""
        if isinstance(renderer, RendererAgg):
            pixels: Any = self.get_array()
            return np.ascontiguousarray(pixels[::-1]), *self.corner, None
        return super().make_image(renderer, magnification, unsampled)


def _outline(color: str | None, width: float) -> list[withStroke]:
    """An edge of so many px that sets a mark apart from what is behind it, or none."""
    return [] if color is None else [withStroke(linewidth=to_points(width), foreground=color)]


def _fit(written: Text, room: float, size: float) -> None:
    """Make a line no wider than it may be."""
    text, smallest = written.get_text(), SMALLEST * size
    # widths are not quite proportional to sizes: glyphs are placed by the pixel
    while (width := float(written.get_window_extent().width)) > room:
        size = max(smallest, 0.99 * size * room / width)
        if size == smallest:
            text = text[: min(len(text) - 1, int(len(text) * room / width))]
            written.set_text(f"{text}…")
        written.set_fontsize(to_points(size))


def resize(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Enlarge a picture, (3, rows, columns), pixel by pixel where that is possible, or else smooth it; RGBA."""
    _, rows, columns = picture.shape
    is_whole = height % rows == 0 and width % columns == 0
    way = Image.Resampling.NEAREST if is_whole else Image.Resampling.HAMMING
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1)))
    return np.asarray(image.resize((width, height), way).convert("RGBA"))


def to_points(pixels: float) -> float:
    """Pixels in matplotlib's unit of type sizes and line widths."""
    return pixels * 72.0 / DPI
