"""Samples as somebody looks at them: pictures, labels and cameras of one row together, as they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.pictures.choose import favor_transients
from trajstore.pictures.shapes import CORNERS, find_ellipse, find_outline, measure_inside
from trajstore.reading.samples import Samples
from trajstore.scene.bodies import ROLES
from trajstore.scene.column_names import ALWAYS, list_columns
from trajstore.scene.order import SPLIT_NAMES
from trajstore.scene.rotations import to_matrices
from trajstore.spec import PATTERNS, SHAPES

Color = tuple[int, int, int]
Labels = Mapping[str, NDArray[Any]]

VIDEO: Final = "video"
"""What is shown unless an annotation is asked for."""

LABELS: Final = (
    "class_label", "split", "radius", "object_color", "background_color",
    "position", "pixel", "box", "future_position",
)  # fmt: skip
"""What is read of each row besides its frames."""

WORLD_LABELS: Final = (
    "body_role", "body_shape", "body_radius", "body_color", "first_frame", "last_frame", "body_position",
    "body_pixel", "body_box", "body_orientation", "visible_pixels", "background_pattern", "noise", "shutter",
)  # fmt: skip
"""What else is read of it where there is more to see than a sphere before a plain background."""

VISIBLE, PARTLY, HIDDEN = range(3)
"""How much is seen of a body."""

VARYING: Final = "extrinsics"
"""A label where the cameras of each row are others."""

CLEAR_MIN: Final = 0.85
SLACK: Final = 2.0
"""Of a body before which nothing stands at least this share of its silhouette's pixels is seen, but for so many px."""


@dataclass(frozen=True)
class Cameras:
    """Calibrated cameras.

    Attributes
    ----------
    intrinsics : (cameras, 3, 3) float64
        ``K``, px.
    extrinsics : (cameras, all frames or 1, 3, 4) float64
        ``[R | t]``, world to camera, world units; one where the cameras stand still.
    """

    numbers: tuple[int, ...]
    intrinsics: NDArray[np.float64]
    extrinsics: NDArray[np.float64]
    height: int
    width: int

    @property
    def are_moving(self) -> bool:
        """Whether they are elsewhere at each frame."""
        return len(self.extrinsics[0]) > 1

    def at(self, frames: Sequence[int]) -> NDArray[np.float64]:
        """The extrinsics (cameras, frames or 1, 3, 4) at some frames, counted from 1."""
        return self.extrinsics[:, np.array(frames) - 1] if self.are_moving else self.extrinsics

    def project(self, points_world: NDArray[Any], frames: Sequence[int]) -> NDArray[np.float64]:
        """Where points (frames, n, 3) appear at some frames, (cameras, frames, n, 2), px.

        Pixel centres are at half-integers, the origin is top left.
        """
        pose = self.at(frames)
        points_camera = points_world @ pose[..., :3].swapaxes(-1, -2) + pose[..., None, :, 3]
        homogeneous = points_camera @ self.intrinsics[:, None].swapaxes(-1, -2)
        pixel: NDArray[np.float64] = homogeneous[..., :2] / homogeneous[..., 2:]
        return pixel

    def centers(self, frame: int) -> NDArray[np.float64]:
        """Where the cameras stand at a frame, (cameras, 3), world units."""
        return self._to_world(np.zeros((len(self.numbers), 1, 3)), frame)[:, 0]

    def corners(self, depth: float, frame: int) -> NDArray[np.float64]:
        """What the corners of the pictures look at, (cameras, 4, 3), world units, clockwise from the top left."""
        w, h = float(self.width), float(self.height)
        pixel = np.array([[0.0, 0.0, 1.0], [w, 0.0, 1.0], [w, h, 1.0], [0.0, h, 1.0]])
        return self._to_world(depth * np.einsum("cij,kj->cki", np.linalg.inv(self.intrinsics), pixel), frame)

    def _to_world(self, points_camera: NDArray[np.float64], frame: int) -> NDArray[np.float64]:
        """Points in each camera's frame, (cameras, n, 3), as points of the world."""
        pose = self.at([frame])[:, 0]
        offset = points_camera - pose[:, None, :, 3]
        points_world: NDArray[np.float64] = np.einsum("cji,ckj->cki", pose[:, :, :3], offset)
        return points_world


@dataclass(frozen=True)
class Body:
    """A body of a sample: the target, a distractor or a transient.

    Attributes
    ----------
    number : int
        Its place along the dimension ``body``.
    radius : float
        Of the sphere that encloses it, world units.
    first_frame, last_frame : int
        From when to when it is there, counted from 1.
    position : (all frames, 3) float32
        Its centre, world units; like what follows NaN where it is not there.
    orientation : (all frames, 4) float32
        Unit quaternion w, x, y, z: from its own frame to the world.
    pixel : (cameras, all frames, 2) float32
        Its centre, projected, px.
    box : (cameras, all frames, 4) float32
        (u_min, v_min, u_max, v_max) of its silhouette, px.
    visible_pixels : (cameras, all frames) int32 or None
        Pixels that see it; None where there is nothing that could stand before it.
    sight : (cameras, all frames) uint8
        `VISIBLE`, `PARTLY` or `HIDDEN` at the frames that a clip shows.
    """

    name: str
    number: int
    role: str
    shape: str
    radius: float
    color: Color
    first_frame: int
    last_frame: int
    position: NDArray[np.float32]
    orientation: NDArray[np.float32]
    pixel: NDArray[np.float32]
    box: NDArray[np.float32]
    visible_pixels: NDArray[np.int32] | None
    sight: NDArray[np.uint8]

    def is_present(self, frame: int) -> bool:
        """Whether it is there at a frame, counted from 1."""
        return self.first_frame <= frame <= self.last_frame

    @property
    def path(self) -> NDArray[np.float32]:
        """Its centres (frames, 3) while it is there, world units."""
        return self.position[self.first_frame - 1 : self.last_frame]

    def corners(self, frames: Sequence[int]) -> NDArray[np.float64]:
        """Points (frames, n, 3) of the world that it is the hull of, unless it is a sphere."""
        places = np.array(frames) - 1
        rotation = to_matrices(self.orientation[places].astype(np.float64))
        own = self.radius * CORNERS[self.shape]
        corners: NDArray[np.float64] = own @ rotation.swapaxes(-1, -2) + self.position[places, None]
        return corners


class View(NamedTuple):
    """What is seen of a sample: the place of a camera among those of a clip, and frames or an annotation."""

    camera: int
    show: str

    def is_marked(self, clip: Clip) -> bool:
        """Whether marks are drawn over it: where frames are seen, too, only over these."""
        return self.show == VIDEO or all(view.show != VIDEO for view in clip.views)

    def name_lines(self, clip: Clip) -> list[str]:
        """The camera and what is shown, as far as there are others."""
        lines = []
        if len({view.camera for view in clip.views}) > 1 or len(clip.views) == 1:
            lines.append(f"camera {clip.cameras.numbers[self.camera]}")
        if len({view.show for view in clip.views}) > 1:
            lines.append(self.show.replace("_map", ""))
        return lines


@dataclass(frozen=True)
class Clip:
    """One sample.

    Attributes
    ----------
    views : tuple of View
        What the pictures show: one for each camera, or several.
    video : (views, frames, 3, height, width) uint8
        At the chosen frames; of a clip that is zoomed in, what is left of them.
    corners : (cameras, frames, 2) int64
        Where in the whole frames the top left corners of these pictures are, px.
    bodies : tuple of Body
        The target first.
    future_position : (3,) float32
        Centre of the target at `future_frame`, world units.
    future_pixel : (cameras, 2) float64
        The same as the cameras of the last seen frame project it, px.
    caption : str
        The sample in a sentence; empty where there is nothing but a sphere before a plain background.
    facts : mapping of str to str
        What else is known of it, by name; empty in the same case.
    """

    row: int
    class_name: str
    split: str
    background_color: Color
    cameras: Cameras
    frames: tuple[int, ...]
    views: tuple[View, ...]
    video: NDArray[np.uint8]
    corners: NDArray[np.int64]
    bodies: tuple[Body, ...]
    future_position: NDArray[np.float32]
    future_pixel: NDArray[np.float64]
    future_frame: int
    caption: str
    facts: Mapping[str, str]

    @property
    def target(self) -> Body:
        """The body that the labels of the row are about."""
        return self.bodies[0]

    @property
    def last_frame(self) -> int:
        """The last seen frame."""
        return len(self.target.position)

    @property
    def when(self) -> str:
        """When the future position is, and how the cameras stand that project it."""
        seen = f", cameras as at frame {self.last_frame}" if self.cameras.are_moving else ""
        return f"frame {self.future_frame}{seen}"


def load_clips(
    samples: Samples,
    rows: Sequence[int],
    *,
    cameras: Sequence[int],
    frames: Sequence[int],
    shows_transients: bool = False,
) -> Iterator[Clip]:
    """Read some samples with all their labels, at some frames or, where there are transients, at as many of theirs."""
    spec = samples.spec
    has_world = set(list_columns(spec)) > set(ALWAYS)
    names = [*LABELS, *(name for name in WORLD_LABELS if name in samples.columns)]
    rig = None if VARYING in samples.columns else _place_cameras(samples, cameras)
    for row in rows:
        label = {name: samples.column(name, [row])[0] for name in names}
        placed = rig or _place_cameras(samples, cameras, row)
        bodies = _list_bodies(label, list(cameras))
        spans = [
            (body.first_frame, min(body.last_frame, frames[-1]))
            for body in bodies
            if body.role == "transient" and body.first_frame <= frames[-1]
        ]
        shown = favor_transients(frames, spans) if shows_transients else tuple(frames)
        yield Clip(
            row=row,
            class_name=spec.dataset.classes[label["class_label"]],
            split=SPLIT_NAMES[label["split"]],
            background_color=_to_color(label["background_color"]),
            cameras=placed,
            frames=shown,
            views=tuple(View(place, VIDEO) for place in range(len(cameras))),
            video=samples.read([row], cameras=cameras, frames=shown)[0],
            corners=np.zeros((len(cameras), len(shown), 2), np.int64),
            bodies=tuple(_look_at(body, placed, shown) for body in bodies),
            future_position=label["future_position"],
            future_pixel=placed.project(label["future_position"][None, None], [spec.video.frames])[:, 0, 0],
            future_frame=spec.video.frames + spec.video.horizon,
            caption=samples.captions([row])[0] if has_world else "",
            facts=_describe(label, len(bodies)),
        )


def zoom_in(clip: Clip, factor: float) -> Clip:
    """The part of each frame around the target that is so many times smaller than the frame on each side."""
    size = np.array([clip.cameras.width, clip.cameras.height])
    part = np.maximum(np.round(size / factor), 1).astype(np.int64)
    places = np.array(clip.frames) - 1
    middle = clip.target.box[:, places].reshape(*clip.corners.shape[:2], 2, 2).mean(axis=2)
    corners = np.clip(np.round(middle - part / 2), 0, size - part).astype(np.int64)
    video = np.empty((*clip.video.shape[:3], part[1], part[0]), np.uint8)
    for number, view in enumerate(clip.views):
        for index, (left, top) in enumerate(corners[view.camera]):
            video[number, index] = clip.video[number, index, :, top : top + part[1], left : left + part[0]]
    return replace(clip, video=video, corners=corners)


def _place_cameras(samples: Samples, numbers: Sequence[int], row: int | None = None) -> Cameras:
    """Some of the cameras, of all rows or of one."""
    video, chosen = samples.spec.video, list(numbers)
    intrinsics, extrinsics = samples.calibration(None if row is None else [row])
    pose = extrinsics[chosen] if row is None else extrinsics[0, chosen]
    pose = pose if pose.ndim == 4 else pose[:, None]
    return Cameras(tuple(numbers), intrinsics[chosen], pose, video.height, video.width)


def _list_bodies(label: Labels, cameras: list[int]) -> list[Body]:
    """The bodies of a row, from its labels."""
    frames = len(label["position"])
    unturned = np.broadcast_to(np.array([1.0, 0.0, 0.0, 0.0], np.float32), (frames, 4))
    if "body_role" not in label:
        sphere = Body(
            name="sphere",
            number=0,
            role="target",
            shape="sphere",
            radius=float(label["radius"]),
            color=_to_color(label["object_color"]),
            first_frame=1,
            last_frame=frames,
            position=label["position"],
            orientation=unturned,
            pixel=label["pixel"][cameras],
            box=label["box"][cameras],
            visible_pixels=None,
            sight=np.zeros(label["box"][cameras].shape[:2], np.uint8),
        )
        return [sphere]
    return [
        Body(
            name=ROLES[role] if number == 0 else f"{ROLES[role]}_{number}",
            number=number,
            role=ROLES[role],
            shape=SHAPES[label["body_shape"][number]],
            radius=float(label["body_radius"][number]),
            color=_to_color(label["body_color"][number]),
            first_frame=int(label["first_frame"][number]),
            last_frame=int(label["last_frame"][number]),
            position=label["body_position"][number],
            orientation=label["body_orientation"][number] if "body_orientation" in label else unturned,
            pixel=label["body_pixel"][number, cameras],
            box=label["body_box"][number, cameras],
            visible_pixels=label["visible_pixels"][number, cameras],
            sight=np.zeros((len(cameras), frames), np.uint8),
        )
        for number, role in enumerate(label["body_role"].tolist())
        if role >= 0
    ]


def _look_at(body: Body, cameras: Cameras, frames: Sequence[int]) -> Body:
    """A body with what is known of its sight at some frames."""
    seen = [frame for frame in frames if body.is_present(frame)]
    if body.visible_pixels is None or not seen:
        return body
    shown = np.array(seen) - 1
    if body.shape == "sphere":
        silhouette = find_ellipse(body.box[:, shown])
    else:
        silhouette = find_outline(cameras.project(body.corners(seen), seen))
    whole = measure_inside(silhouette, height=cameras.height, width=cameras.width)
    visible = body.visible_pixels[:, shown]
    sight = np.zeros(body.visible_pixels.shape, np.uint8)
    sight[:, shown] = np.select(
        [visible >= CLEAR_MIN * whole - SLACK, visible > 0], [VISIBLE, PARTLY], HIDDEN
    )
    return replace(body, sight=sight)


def _describe(label: Labels, bodies: int) -> dict[str, str]:
    """What there is beside the target, its path and its looks, in words."""
    facts = {}
    if "body_role" in label:
        facts["bodies"] = str(bodies)
    if "background_pattern" in label:
        facts["pattern"] = PATTERNS[label["background_pattern"]]
    if "noise" in label:
        facts["sensor noise"] = f"{label['noise']:.1f} levels"
    if "shutter" in label:
        facts["shutter"] = f"{label['shutter']:.2f} frames"
    return facts


def _to_color(color: NDArray[np.uint8]) -> Color:
    """Red, green and blue as integers."""
    red, green, blue = color.tolist()
    return red, green, blue
