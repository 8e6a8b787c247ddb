"""Annotations as pictures: which body each pixel sees, how far that is, where it goes, which way it faces.

They are computed from the row, whether or not a store holds them.

References
----------
Baker et al., "A Database and Evaluation Methodology for Optical Flow", 2011: the colours of flow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from math import floor, inf, log10
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import SpecError
from trajstore.pictures.clips import VIDEO, Clip, View
from trajstore.pictures.palette import BODIES, FAINT, GROUND, TARGET, to_rgb
from trajstore.reading.samples import Samples
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import check_generator, open_store
from trajstore.text import describe_unknown

if TYPE_CHECKING:
    from trajstore.scene.scene import Scene

Values = NDArray[Any]
Picture = NDArray[np.uint8]
Scale = tuple[float, float]
"""The smallest and the largest value that colours tell apart."""

WHEEL: Final = (
    (0, "#FF0000"),
    (15, "#FFFF00"),
    (21, "#00FF00"),
    (25, "#00FFFF"),
    (36, "#0000FF"),
    (49, "#FF00FF"),
)
"""Colours of directions, clockwise from the right, and where each stands among `WHEEL_STEPS` equal steps of a turn."""

WHEEL_STEPS: Final = 55

DEPTH_COLORS: Final = ("viridis", 0.25)
"""matplotlib's map, and from where on it is used: what is darker could be taken for the background."""


def color_bodies(values: Values, scale: Scale = (0, 0)) -> Picture:
    """Colour what pixels see, (…, h, w) uint8: 0 for the background, otherwise a body and 1."""
    del scale
    return _channels_first(body_colors(255)[values])


def color_silhouettes(values: Values, scale: Scale = (0, 0)) -> Picture:
    """Colour whole silhouettes, (bodies, …, h, w) bool, with the mean of the colours where they overlap."""
    del scale
    count = values.sum(axis=0)[..., None]
    total = np.zeros((*values.shape[1:], 3))
    for color, is_inside in zip(body_colors(len(values))[1:], values, strict=True):
        total[is_inside] += color
    return _channels_first(np.where(count, total / np.maximum(count, 1), to_rgb(GROUND)))


def color_depth(values: Values, scale: Scale) -> Picture:
    """Colour z, (…, h, w): what is near is bright."""
    from matplotlib import colormaps

    low, high = scale
    name, darkest = DEPTH_COLORS
    is_seen = np.isfinite(values)
    nearness = np.clip((high - np.where(is_seen, values, high)) / max(high - low, 1e-6), 0.0, 1.0)
    colors = 255.0 * colormaps[name](darkest + (1.0 - darkest) * nearness)[..., :3]
    return _channels_first(np.where(is_seen[..., None], colors, to_rgb(GROUND)))


def color_flow(values: Values, scale: Scale) -> Picture:
    """Colour flow, (…, 2, h, w): the hue is the direction, the saturation the length; grey where there is none."""
    flow = np.moveaxis(values, -3, -1)
    is_known = np.asarray(np.isfinite(flow).all(axis=-1))
    u, v = np.moveaxis(np.where(is_known[..., None], flow, 0.0), -1, 0)
    step = np.arctan2(v, u) / (2.0 * np.pi) % 1.0 * WHEEL_STEPS
    steps, colors = zip(*WHEEL, strict=True)
    hue = np.stack(
        [
            np.interp(step, steps, channel, period=WHEEL_STEPS)
            for channel in zip(*map(to_rgb, colors), strict=True)
        ],
        axis=-1,
    )
    saturation = np.minimum(np.hypot(u, v) / scale[1], 1.0)[..., None]
    shown = 255.0 - saturation * (255.0 - hue)
    return _channels_first(np.where(is_known[..., None], shown, to_rgb(FAINT)))


def color_normals(values: Values, scale: Scale = (0, 0)) -> Picture:
    """Colour normals n, (…, 3, h, w): (n + 1) / 2 as red, green and blue."""
    del scale
    normals = np.moveaxis(values, -3, -1)
    is_seen = normals.any(axis=-1, keepdims=True)
    return _channels_first(np.where(is_seen, 127.5 * (normals + 1.0), to_rgb(GROUND)))


def measure_depth(values: Values) -> Scale:
    """The smallest and the largest z, to two decimals outwards."""
    seen = values[np.isfinite(values)].astype(np.float64)
    return (floor(seen.min() * 100) / 100, -floor(-seen.max() * 100) / 100) if seen.size else (inf, -inf)


def measure_flow(values: Values) -> Scale:
    """The largest length, to two digits upwards."""
    length = float(np.nan_to_num(np.hypot(*np.moveaxis(values, -3, 0))).max(initial=0.0))
    unit = 10.0 ** (floor(log10(length)) - 1) if length > 0.0 else 1.0
    return 0.0, round(-floor(-length / unit + 1e-9) * unit, 9)


@dataclass(frozen=True)
class Coloring:
    """How an array becomes a picture, (…, 3, h, w) uint8, and of which of its values the colours depend."""

    array: str
    color: Callable[[Values, Scale], Picture]
    measure: Callable[[Values], Scale] | None = None


COLORINGS: Final[dict[str, Coloring]] = {
    "segmentation": Coloring("segmentation", color_bodies),
    "depth_map": Coloring("depth_map", color_depth, measure_depth),
    "flow": Coloring("forward_flow", color_flow, measure_flow),
    "normals": Coloring("normals", color_normals),
    "amodal": Coloring("amodal", color_silhouettes),
}
"""The annotations that are shown as pictures."""


def check_show(names: Collection[str]) -> None:
    """Refuse what cannot be shown."""
    known = (VIDEO, *COLORINGS)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = (
            describe_unknown(unknown[0], known)
            if unknown
            else f"found nothing, expected one of {', '.join(known)}"
        )
        message = f"show: {wrong}"
        raise SpecError(message)


def check_computable(samples: Samples) -> None:
    """Refuse a store whose rows the installed generator does not make: its annotations would be those of others."""
    if isinstance(samples.location, Location):
        check_generator(open_store(open_storage(samples.location)))


def find_last(frames: int, show: Collection[str]) -> int:
    """The last of so many frames of which there is something to show: flow needs a next one."""
    return max(1, frames - 1) if "flow" in show else frames


def color_clips(samples: Samples, clips: Sequence[Clip], show: str) -> tuple[list[Clip], Scale]:
    """Clips with the colours of an annotation in place of their frames, all on one scale."""
    coloring = COLORINGS[show]
    scale = measure(samples, clips, show)
    colored = []
    for clip in clips:
        video = np.empty_like(clip.video)
        for place, (values,) in enumerate(annotate(samples, clip, [coloring.array])):
            for index in range(len(clip.frames)):  # all at once take ten times the memory
                video[place, index] = coloring.color(take_frame(show, values, index), scale)
        colored.append(replace(clip, video=video))
    return colored, scale


def show_views(
    samples: Samples, clips: Sequence[Clip], show: Sequence[str]
) -> tuple[list[Clip], dict[str, Scale]]:
    """Clips that show frames and annotations of each camera beside each other, and the scale of each annotation."""
    colored, scales = {VIDEO: list(clips)}, {}
    for name in show:
        if name != VIDEO:
            colored[name], scales[name] = color_clips(samples, clips, name)
    shown = []
    for place, clip in enumerate(clips):
        views = tuple(View(view.camera, name) for view in clip.views for name in show)
        video = np.stack([colored[name][place].video for name in show], axis=1).reshape(
            -1, *clip.video.shape[1:]
        )
        shown.append(replace(clip, views=views, video=video))
    return shown, scales


def measure(samples: Samples, clips: Sequence[Clip], show: str) -> Scale:
    """The scale of an annotation that suits some clips."""
    coloring = COLORINGS[show]
    if coloring.measure is None:
        return 0.0, 1.0
    scales = [
        coloring.measure(values) for clip in clips for (values,) in annotate(samples, clip, [coloring.array])
    ]
    low, high = min(low for low, _ in scales), max(high for _, high in scales)
    return (low, high) if low < high else (0.0, 1.0)


def annotate(samples: Samples, clip: Clip, arrays: Sequence[str]) -> Iterator[list[Values]]:
    """Compute arrays of a clip, camera by camera: each ([bodies,] frames, …, h, w)."""
    from trajstore.scene.scene import make_scene  # imports numba, which frames of a store do without

    scene = make_scene(samples.spec, range(clip.row, clip.row + 1))
    for camera in clip.cameras.numbers:
        yield _annotate_camera(scene, arrays, camera, np.array(clip.frames) - 1)


def _annotate_camera(
    scene: Scene, arrays: Sequence[str], camera: int, frames: NDArray[np.int64]
) -> list[Values]:
    """Compute arrays of one camera, successive frames at once."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) != 1) + 1)
    parts = [
        scene.annotate(0, arrays, slice(camera, camera + 1), slice(int(run[0]), int(run[-1]) + 1))
        for run in runs
    ]
    return [
        np.concatenate([part[name].squeeze(axis=axis) for part in parts], axis=axis)
        for name in arrays
        for axis in [int(name == "amodal")]
    ]


def take_frame(show: str, values: Values, index: int) -> Values:
    """What values of a camera say of one of its frames."""
    frame: Values = values[:, index] if show == "amodal" else values[index]
    return frame


def body_colors(count: int) -> Picture:
    """Colours (1 + count, 3) of the background and of so many bodies."""
    others = [BODIES[number % len(BODIES)] for number in range(count - 1)]
    return np.array([to_rgb(color) for color in (GROUND, TARGET, *others)], np.uint8)[: 1 + count]


def _channels_first(colors: Values) -> Picture:
    """Colours (…, h, w, 3) as pictures (…, 3, h, w) uint8."""
    rounded = colors if colors.dtype == np.uint8 else np.round(colors).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(rounded, -1, -3))
