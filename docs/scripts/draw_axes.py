"""Draw the world, a camera and the pixels of a frame with their axes, as ``docs/pictures/axes.svg``.

What is drawn comes from the package itself::

    python docs/scripts/draw_axes.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon, Rectangle
from numpy.typing import ArrayLike, NDArray

from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import DatasetSpec

ROOT = Path(__file__).parents[2]
RED, GREEN, BLUE, ORANGE, GREY = "#D55E00", "#009E73", "#0072B2", "#E69F00", "0.5"
SIZE = 12
"""Frames of so few pixels that one sees where they begin and end."""

Array = NDArray[np.float64]

WORLD_VIEW = np.array([[-0.34, 0.94, 0.0], [-0.66, -0.24, 0.71]])
"""Right and up of the drawing in the world: seen from above, a little from the left of the x axis."""

CAMERA_VIEW = np.array([[0.80, 0.0, 0.72], [-0.28, -1.0, 0.30]])
"""Right and up of the drawing in the camera's frame: seen from behind it."""


def main() -> None:
    """Draw the three pictures side by side."""
    plt.style.use(ROOT / "notebooks" / "story.mplstyle")
    mpl.rcParams["svg.hashsalt"] = "trajstore"  # the same bytes each time
    spec = DatasetSpec.from_fields(classes=["Helical"], height=SIZE, width=SIZE, radius=(0.3, 0.3), seed=17)
    scene = make_scene(spec, range(1))
    figure, (world, camera, pixels) = plt.subplots(1, 3, figsize=(14, 5))
    draw_world(world, scene)
    draw_camera(camera)
    draw_pixels(pixels, scene)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures" / "axes.svg"
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def draw_world(axes: Axes, scene: Scene) -> None:
    """Draw the unit ball, a path in it, and the cameras around it."""
    axes.add_patch(Circle((0, 0), 1, facecolor="0.95", edgecolor=GREY))
    for end, color, name in zip(np.eye(3) * 2.4, (RED, GREEN, BLUE), "xyz", strict=True):
        draw_axis(axes, WORLD_VIEW @ end, color, name)
    axes.plot(*WORLD_VIEW @ scene.columns["position"][0].T, color="black")
    axes.annotate("unit ball", (-0.87, 0.5), (-3.3, 1.5), arrowprops={"arrowstyle": "-", "color": GREY})
    rig = scene.rig.static("extrinsics")
    for index, (rotation, shift) in enumerate(zip(rig[:, :, :3], rig[:, :, 3], strict=True)):
        center = -rotation.T @ shift
        corners = center + 0.4 * np.array([[-1, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2]]) @ rotation
        tip, outline = WORLD_VIEW @ center, corners @ WORLD_VIEW.T
        axes.add_patch(Polygon(outline, facecolor="white", edgecolor="black"))
        for corner in outline:
            axes.plot(*np.stack([tip, corner]).T, color="black", lw=1)
        axes.text(tip[0], min(tip[1], *outline[:, 1]) - 0.15, f"camera {index}", ha="center", va="top")
    finish(axes, "World: right-handed, z up", (-4.4, 4.4), (-2.9, 4.2))


def draw_camera(axes: Axes) -> None:
    """Draw the axes of a camera, its image, and a centre with its pixel and its depth."""
    plane, center = 1.8, np.array([0.9, -1.7, 4.6])
    image = np.array([[-1, -1, plane], [1, -1, plane], [1, 1, plane], [-1, 1, plane]]) @ CAMERA_VIEW.T
    foot, sphere = CAMERA_VIEW @ [0, 0, center[2]], CAMERA_VIEW @ center
    axes.add_patch(Polygon(image, facecolor="0.95", edgecolor=GREY))
    draw_axis(axes, CAMERA_VIEW @ [2.7, 0, 0], RED, "x right")
    draw_axis(axes, CAMERA_VIEW @ [0, 1.5, 0], GREEN, "y down")
    draw_axis(axes, CAMERA_VIEW @ [0, 0, 6.2], BLUE, "z forward")
    axes.plot(*np.stack([np.zeros(2), sphere]).T, color="black", lw=1, ls=":")
    axes.plot(*np.stack([foot, sphere]).T, color=GREY, lw=1.5, ls="--")
    axes.add_patch(Circle(sphere, 0.22, color="black", zorder=3))
    axes.plot(*CAMERA_VIEW @ center * plane / center[2], "o", color="black", ms=6)
    axes.text(sphere[0], sphere[1] + 0.4, "centre of the sphere\nat z = depth", ha="center")
    axes.annotate(
        "pixel (u, v)",
        CAMERA_VIEW @ center * plane / center[2] + [-0.05, 0.1],
        image[0] + [0.9, 1.1],
        ha="center",
        arrowprops={"arrowstyle": "-", "color": GREY},
    )
    axes.text(*image[0] + [0.12, -0.5], "image", color="0.3")
    finish(axes, "Camera: x right, y down, z forward", (-1.0, 6.2), (-2.1, 4.0))


def draw_pixels(axes: Axes, scene: Scene) -> None:
    """Draw a frame with its axes and labels."""
    frame = np.empty((1, 1, 3, SIZE, SIZE), np.uint8)
    scene.draw(0, slice(1), slice(1), frame)
    left, top, right, bottom = scene.columns["box"][0, 0, 0]
    u, v = scene.columns["pixel"][0, 0, 0]
    axes.imshow(frame[0, 0].transpose(1, 2, 0), extent=(0, SIZE, SIZE, 0))
    axes.hlines(range(SIZE + 1), 0, SIZE, color=GREY, lw=0.5)
    axes.vlines(range(SIZE + 1), 0, SIZE, color=GREY, lw=0.5)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=ORANGE, lw=3))
    axes.plot(u, v, "+", color="white", ms=16, mew=3)
    axes.plot(0.5, 0.5, "o", color="black", ms=5)
    draw_axis(axes, (SIZE + 1.2, 0), RED, "u", (0, 0))
    draw_axis(axes, (0, SIZE + 1.2), GREEN, "v", (0, 0))
    for text, place, point in (
        ("(0, 0)", (-1.6, -0.9), (0, 0)),
        ("(0.5, 0.5): centre of\nthe pixel at [y, x] = [0, 0]", (5.2, -1.5), (0.5, 0.5)),
        ("box", (right + 1.6, top - 1.0), (right, top)),
        ("pixel (u, v)", (right + 2.2, bottom + 1.2), (u, v)),
    ):
        axes.annotate(
            text, point, place, ha="center", va="center", arrowprops={"arrowstyle": "-", "color": "black"}
        )
    finish(axes, "Pixels: origin top left", (-2.4, SIZE + 2.2), (SIZE + 2.0, -2.2))


def draw_axis(axes: Axes, end: ArrayLike, color: str, name: str, start: ArrayLike = (0, 0)) -> None:
    """Draw an arrow with a name at its end."""
    begin, tip = np.asarray(start, float), np.asarray(end, float)
    axes.annotate("", tip, begin, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2.5, "shrinkA": 0})
    beyond = tip + 0.45 * (tip - begin) / np.linalg.norm(tip - begin)
    axes.text(*beyond, name, color=color, weight="bold", size=13, ha="center", va="center")


def finish(axes: Axes, title: str, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Set what the three drawings have in common."""
    axes.set(title=title, xlim=x, ylim=y, aspect="equal")
    axes.set_axis_off()


if __name__ == "__main__":
    main()
