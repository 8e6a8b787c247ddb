"""Draw a frame with all that can be stored beside it, as ``docs/pictures/annotations.png``.

What is drawn comes from the package itself, in the colours of ``trajstore preview --show``::

    python docs/scripts/draw_annotations.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from trajstore.pictures.annotations import (
    color_bodies,
    color_depth,
    color_flow,
    color_normals,
    color_silhouettes,
    measure_depth,
    measure_flow,
)
from trajstore.pictures.legend import draw_wheel
from trajstore.pictures.palette import FAINT, FUTURE, INK
from trajstore.scene.annotations import PLANES, TRACKS
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import DatasetSpec

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "examples" / "specs" / "occlusion.toml"
ROW, CAMERA, FRAME = 34, 1, 30
"""Row and camera are counted from 0, frames from 1."""

TAIL = 2
"""Frames of which the way of a point is drawn."""


def main() -> None:
    """Draw eight pictures of the same frame."""
    plt.style.use(ROOT / "notebooks" / "story.mplstyle")
    spec = DatasetSpec.from_file(SPEC).replace(height=192, width=192, points=96)
    scene = make_scene(spec, range(ROW, ROW + 1))
    video, arrays = draw(scene)
    depth, forward, backward = arrays["depth_map"], arrays["forward_flow"], arrays["backward_flow"]
    near_far, longest = measure_depth(depth), measure_flow(np.stack([forward, backward]))
    pictures = {
        "video": video,
        "segmentation": color_bodies(arrays["segmentation"]),
        "amodal": color_silhouettes(arrays["amodal"]),
        "tracks": video // 2 + 96,
        "depth_map": color_depth(depth, near_far),
        "forward_flow": color_flow(forward, longest),
        "backward_flow": color_flow(backward, longest),
        "normals": color_normals(arrays["normals"]),
    }
    notes = {
        "depth_map": f"{near_far[0]:g} (yellow) to {near_far[1]:g} world units",
        "forward_flow": f"full colour: {longest[1]:g} px per frame",
        "amodal": "mixed where silhouettes overlap",
        "tracks": f"rings: hidden; lines: last {TAIL} frames",
        "segmentation": "white: body 0, the target",
        "normals": "x, y, z as red, green, blue",
        "backward_flow": "to the previous frame",
        "video": f"frame {FRAME} of camera {CAMERA}",
    }
    figure, panels = plt.subplots(2, 4, figsize=(9.6, 5.6), dpi=100)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, hspace=0.03)
    for panel, (name, picture) in zip(panels.flat, pictures.items(), strict=True):
        panel.imshow(np.moveaxis(picture, 0, -1), interpolation="nearest", extent=(0, 192, 192, 0))
        panel.set(title=name, xlabel=notes[name], xticks=[], yticks=[])
        panel.xaxis.label.set_size(9)
        for side in ("top", "right", "bottom", "left"):
            panel.spines[side].set(visible=True, color=FAINT)
    draw_tracks(panels.flat[3], arrays["target_points"], arrays["occluded"])
    wheel = panels.flat[5].inset_axes((0.03, 0.03, 0.26, 0.26))
    wheel.imshow(np.moveaxis(draw_wheel(), 0, -1))
    wheel.set_axis_off()
    target = sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "pictures" / "annotations.png"
    figure.savefig(target, metadata={"Software": None})


def draw(scene: Scene) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
    """The frame (3, height, width), and every annotation of it."""
    video, cameras = scene.spec.video, slice(CAMERA, CAMERA + 1)
    frames = slice(FRAME - 1, FRAME)
    out = np.empty((1, 1, 3, video.height, video.width), np.uint8)
    scene.draw(0, cameras, frames, out)
    arrays = scene.annotate(0, [*PLANES, "amodal", *TRACKS], cameras, frames)
    for name, values in arrays.items():
        if name == "amodal":
            arrays[name] = values[:, 0, 0]
        else:
            arrays[name] = values[0] if name in TRACKS else values[0, 0]
    return out[0, 0], arrays


def draw_tracks(panel: Axes, target: NDArray[np.float32], occluded: NDArray[np.float32]) -> None:
    """Where points are, and where they were before."""
    last = FRAME - 1
    seen = ~occluded[:, last].astype(bool)
    ways = target[:, last - TAIL : last + 1]
    panel.add_collection(LineCollection(list(ways), colors=INK, linewidths=0.8))
    panel.scatter(*target[seen, last].T, s=9, color=FUTURE, zorder=3)
    panel.scatter(*target[~seen, last].T, s=16, facecolor="none", edgecolor=FUTURE, linewidth=0.9, zorder=2)
    panel.set(xlim=(0, 192), ylim=(192, 0))


if __name__ == "__main__":
    main()
