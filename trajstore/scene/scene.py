"""The scene of some rows: bodies, cameras, background and sensor put together into label columns and pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.annotate import Layers, annotate_clip, fill_silhouettes
from trajstore.kernels.background import PLAIN
from trajstore.kernels.cameras import locate, observe
from trajstore.kernels.compress import compress_sphere, compress_world
from trajstore.kernels.layers import Encoders, compress_layers, compress_silhouettes
from trajstore.kernels.poses import make_scratch
from trajstore.kernels.raster import render
from trajstore.kernels.sensor import add_noise
from trajstore.kernels.tracks import follow_points, make_tracks
from trajstore.kernels.visible import count_visible
from trajstore.kernels.world import render_world
from trajstore.scene.annotations import PLANES, TRACKS
from trajstore.scene.background import Backgrounds, choose_backgrounds
from trajstore.scene.bodies import ABSENT, Bodies, make_bodies
from trajstore.scene.cameras import Rig, is_in_view, place_cameras
from trajstore.scene.column_names import MOTION_LABELS, list_columns
from trajstore.scene.motion_labels import describe_motion
from trajstore.scene.order import label_rows, split_rows
from trajstore.scene.randomness import Stream, to_keys, uniforms
from trajstore.scene.rotations import to_matrices
from trajstore.scene.sensor import Sensor, choose_sensor, open_shutter
from trajstore.scene.workspace import Workspace, get_workspace
from trajstore.spec import DatasetSpec

Exposure = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Positions, rotations and extrinsics at some moments, as `render_world` takes them."""

EXPOSURES_MAX: Final = 8
"""So many exposures are kept."""

UNTURNED: Final = np.eye(3)[None, None, None]
"""How bodies are turned that look alike from all sides."""


class Columns(Mapping[str, NDArray[Any]]):
    """Label columns by name, each computed when it is first asked for."""

    def __init__(self, functions: Mapping[str, Callable[[], NDArray[Any]]]) -> None:
        self._functions = functions
        self._values: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._values:
            self._values[name] = np.ascontiguousarray(self._functions[name]())
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


@dataclass(frozen=True)
class Seen:
    """What the cameras see of the bodies at each frame; NaN where there is none.

    Attributes
    ----------
    pixel, depth, box : (n, bodies, cameras, frames, …) float32
        Projected centre, its z, and the box of the silhouette.
    """

    pixel: NDArray[np.float32]
    depth: NDArray[np.float32]
    box: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """A range of rows: all their labels, and what it takes to draw them."""

    spec: DatasetSpec
    rows: range
    label: NDArray[np.int8]
    bodies: Bodies

    @cached_property
    def rig(self) -> Rig:
        """The cameras and the light at each frame."""
        return place_cameras(self.spec, self.rows)

    @cached_property
    def background(self) -> Backgrounds:
        """What is behind the bodies."""
        return choose_backgrounds(self.spec, self.rows, self.bodies.background_color)

    @cached_property
    def sensor(self) -> Sensor:
        """Noise and exposure."""
        return choose_sensor(self.spec, self.rows)

    @cached_property
    def orientation(self) -> NDArray[np.float64]:
        """How the bodies are turned at each frame, (n, bodies, frames or 1, 4) unit quaternions, w first."""
        return self.bodies.orient(slice(0, len(self.rows)), self._times)

    @cached_property
    def rotation(self) -> NDArray[np.float64]:
        """The same as matrices, (n or 1, bodies or 1, frames or 1, 3, 3)."""
        return to_matrices(self.orientation) if self.bodies.are_turned else UNTURNED

    @cached_property
    def _surface(self) -> NDArray[np.float64]:
        """How points on the bodies turn, as `rotation`: those of spheres turn, too, where bodies tumble."""
        is_tumbling = self.spec.bodies.orientation == "tumbling"
        return to_matrices(self.orientation) if is_tumbling else self.rotation

    @cached_property
    def seen(self) -> Seen:
        """What the cameras see of the bodies."""
        video, bodies = self.spec.video, self.bodies
        n, count = bodies.role.shape
        shape = (n, count, video.cameras, video.frames)
        seen = Seen(
            np.empty((*shape, 2), np.float32),
            np.empty(shape, np.float32),
            np.empty((*shape, 4), np.float32),
        )
        observe(
            self._position, self.rotation, bodies.is_present, bodies.radius, bodies.shape,
            self.rig.intrinsics, self.rig.extrinsics, np.empty(3), seen.pixel, seen.depth, seen.box,
        )  # fmt: skip
        return seen

    @cached_property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """The label columns that the spec asks for."""
        bodies = self.bodies
        motion = (*MOTION_LABELS, *self.spec.dataset.parameters)
        functions: dict[str, Callable[[], NDArray[Any]]] = {
            "class_label": lambda: self.label,
            "split": lambda: split_rows(self.spec, self.rows),
            "position": lambda: self._position[:, 0],
            "future_position": lambda: bodies.path[:, 0, -1],
            "pixel": lambda: self.seen.pixel[:, 0],
            "depth": lambda: self.seen.depth[:, 0],
            "box": lambda: self.seen.box[:, 0],
            "in_view": lambda: self._is_in_view()[:, 0],
            "radius": lambda: bodies.radius[:, 0],
            "object_color": lambda: bodies.color[:, 0],
            "background_color": lambda: bodies.background_color,
            "background_second_color": lambda: self.background.second_color,
            "background_pattern": lambda: self.background.pattern.astype(np.int8),
            "light": lambda: self.rig.light.astype(np.float32),
            "noise": lambda: self.sensor.noise,
            "shutter": lambda: self.sensor.shutter,
            "extrinsics": self._get_extrinsics,
            "body_role": lambda: bodies.role,
            "body_shape": lambda: np.where(self._is_absent, np.int8(ABSENT), bodies.shape.astype(np.int8)),
            "body_radius": lambda: _blank(bodies.radius, self._is_absent),
            "body_color": lambda: bodies.color,
            "first_frame": lambda: bodies.first_frame,
            "last_frame": lambda: bodies.last_frame,
            "body_position": lambda: _blank(self._position, ~bodies.is_present),
            "body_orientation": self._get_orientation,
            "body_pixel": lambda: self.seen.pixel,
            "body_depth": lambda: self.seen.depth,
            "body_box": lambda: self.seen.box,
            "body_in_view": self._is_in_view,
            "visible_pixels": self._count_visible,
            **{name: partial(self._get_motion, name) for name in motion},
        }
        return Columns({name: functions[name] for name in list_columns(self.spec)})

    def draw(self, index: int, cameras: slice, frames: slice, out: NDArray[np.uint8]) -> None:
        """Draw some cameras and frames of one row.

        Parameters
        ----------
        out : (cameras, frames, 3, height, width) uint8
            The pictures; every pixel is written.
        """
        cameras = slice(*cameras.indices(self.spec.video.cameras)[:2])
        frames = slice(*frames.indices(self.spec.video.frames)[:2])
        memory = self._workspace
        touched = memory.canvas.touched
        if self._is_plain:
            render(*(*self._describe_sphere(index, cameras, frames, memory), touched, out))
            return
        render_world(*(*self._describe_world(index, cameras, frames, memory), touched, out))
        if (level := self.sensor.noise[index]) > 0.0:
            add_noise(level, self.sensor.key[index], cameras.start, frames.start, out)

    def compress(self, index: int, chunk: tuple[int, int]) -> list[bytes] | None:
        """Draw and compress one row at the cost of what moves.

        Parameters
        ----------
        chunk : (int, int)
            How many cameras and how many frames are compressed together; each divides those that there are.

        Returns
        -------
        list of bytes, or None
            Zstd frames of what `draw` gives, by camera, then by frames; None where noise changes every pixel.
        """
        if self.sensor.noise[index] > 0.0:
            return None
        video, memory = self.spec.video, self._workspace
        canvas, count = memory.canvas, chunk[0] * chunk[1]
        encoder, ends, out = memory.get_encoder(
            "frames", count * canvas.background.size, video.cameras * video.frames // count
        )
        cameras, frames = slice(0, video.cameras), slice(0, video.frames)
        if self._is_plain:
            described = self._describe_sphere(index, cameras, frames, memory)
            compress_sphere(*(*described, chunk, canvas, encoder, ends, out))
        else:
            described = self._describe_world(index, cameras, frames, memory)
            is_plain = self.background.pattern[index] == PLAIN
            compress_world(*(*described, is_plain, chunk, canvas, encoder, ends, out))
        return _cut(ends, out)

    def annotate(
        self, index: int, names: Collection[str], cameras: slice, frames: slice
    ) -> dict[str, NDArray[Any]]:
        """Tell of some cameras and frames of one row what is known beside the pictures.

        Parameters
        ----------
        names : collection of str
            Arrays of annotations: of `PLANES` and `TRACKS`, and ``amodal``.

        Returns
        -------
        dict of str to ndarray
            By name, for the middle of the shutter. ``segmentation`` (cameras, frames, height, width) uint8: body and 1,
            0 where there is background. ``depth_map`` of this shape, float32: z in the camera's frame, world units,
            infinite where there is background. ``forward_flow`` and ``backward_flow`` (cameras, frames, 2, height,
            width) float32: (u, v), px, to where the surface point is in the next frame or the one before; NaN in the
            clip's last or first frame. ``normals`` (cameras, frames, 3, height, width) float32: outwards, camera frame.
            ``amodal`` (bodies, cameras, frames, height, width) bool: whole silhouettes. Of points on surfaces, always
            at all frames: ``query_points`` (cameras, points, 3) float32: frame, y and x, px, where each is seen, NaN
            where a camera sees no body at all; ``target_points`` (cameras, points, all frames, 2) float32: x and y, px;
            ``occluded`` (cameras, points, all frames) bool: whether the point is not seen.
        """
        video = self.spec.video
        cameras = slice(*cameras.indices(video.cameras)[:2])
        frames = slice(*frames.indices(video.frames)[:2])
        shape = (cameras.stop - cameras.start, frames.stop - frames.start)
        size, found = (video.height, video.width), dict[str, NDArray[Any]]()
        described = (frames.start, *self._describe_bodies(index, cameras))
        if not PLANES.keys().isdisjoint(names):
            for name, (components, dtype, behind) in PLANES.items():
                is_wanted = name in names or name == "segmentation"
                found[name] = np.full((*shape, *components, *(size if is_wanted else (0, 0))), behind, dtype)
            annotate_clip(*(*described, self._workspace.survey, self._workspace.scratch, Layers(**found)))
            if frames.start == 0:
                found["backward_flow"][:, :1] = np.nan
            if frames.stop == video.frames:
                found["forward_flow"][:, -1:] = np.nan
        if "amodal" in names:
            found["amodal"] = np.zeros((len(self.bodies.role[index]), *shape, *size), np.bool_)
            fill_silhouettes(*(*described, self._workspace.scratch, found["amodal"]))
        if not set(TRACKS).isdisjoint(names):
            found |= self._follow(index, cameras)
        return {name: found[name] for name in names}

    def compress_annotations(
        self, index: int, names: Collection[str], chunk: tuple[int, int]
    ) -> dict[str, list[bytes]]:
        """Make and compress what is known of each pixel of one row, at the cost of the pixels that show bodies.

        Parameters
        ----------
        names : collection of str
            Arrays as for `annotate`, but not those of points.
        chunk : (int, int)
            How many cameras and how many frames are compressed together; each divides those that there are.

        Returns
        -------
        dict of str to list of bytes
            By name, zstd frames of what `annotate` gives, by camera, then by frames; those of ``amodal`` by body first.
        """
        video, memory = self.spec.video, self._workspace
        count = chunk[0] * chunk[1]
        chunks, plane = video.cameras * video.frames // count, count * video.height * video.width
        described = self._describe_bodies(index, slice(0, video.cameras))
        is_wanted = tuple(name in names for name in PLANES)
        canvas, found = memory.get_layers(is_wanted), dict[str, list[bytes]]()
        if any(is_wanted):
            encodings = [
                memory.get_encoder(
                    name, plane * prod(components) * np.dtype(dtype).itemsize if name in names else 0, chunks
                )
                for name, (components, dtype, _) in PLANES.items()
            ]
            encoders, ends, out = zip(*encodings, strict=True)
            compress_layers(
                *(*described, memory.survey, memory.scratch, chunk, canvas, Encoders(*encoders), ends, out)
            )
            found |= {
                name: _cut(ends[place], out[place]) for place, name in enumerate(PLANES) if is_wanted[place]
            }
        if "amodal" in names:
            bodies = len(self.bodies.role[index])
            encoder, end, space = memory.get_encoder("amodal", plane, bodies * chunks)
            compress_silhouettes(
                *(*described, memory.survey, memory.scratch, chunk, canvas, encoder, end, space)
            )
            found["amodal"] = _cut(end, space)
        return {name: found[name] for name in names}

    def locate(self, index: int, cameras: slice, frames: slice) -> NDArray[np.float64]:
        """Centres of the target in the frames of some cameras that stand still, (cameras, frames, 3), world units."""
        position, extrinsics = self._position[index, 0, frames], self.rig.extrinsics[0, cameras]
        centers = np.empty((len(extrinsics), len(position), 3))
        locate(position, extrinsics, centers)
        return centers

    def _follow(self, index: int, cameras: slice) -> dict[str, NDArray[Any]]:
        """Points on surfaces of a row, by the names of their arrays."""
        video, memory, row = self.spec.video, self._workspace, self.rows[index]
        table = uniforms(self.spec.dataset.seed, Stream.TRACKS, first=row, count=1, width=4)
        points = self.spec.annotations.points
        tracks = make_tracks(video.frames, points, video.height, video.width)
        shape = (cameras.stop - cameras.start, points)
        found = (
            np.empty((*shape, 3), np.float32),
            np.empty((*shape, video.frames, 2), np.float32),
            np.empty((*shape, video.frames), np.bool_),
        )
        follow_points(
            cameras.start,
            to_keys(table[:, 0])[0],
            *(*self._describe_bodies(index, cameras), memory.survey, memory.scratch, tracks, *found),
        )
        return dict(zip(TRACKS, found, strict=True))

    def _describe_sphere(
        self, index: int, cameras: slice, frames: slice, memory: Workspace
    ) -> tuple[Any, ...]:
        """What `render` needs to know of some cameras and frames of a row."""
        bodies, rig = self.bodies, self.rig
        return (
            self.locate(index, cameras, frames),
            float(bodies.radius[index, 0]),
            bodies.color[index, 0],
            bodies.background_color[index],
            rig.intrinsics[cameras],
            rig.light_camera[cameras],
            self.spec.render.ambient,
            memory.spans,
        )

    def _describe_world(
        self, index: int, cameras: slice, frames: slice, memory: Workspace
    ) -> tuple[Any, ...]:
        """What `render_world` needs to know of some cameras and frames of a row."""
        bodies, rig, video = self.bodies, self.rig, self.spec.video
        position, rotation, extrinsics = self._expose(index, frames)
        return (
            position,
            rotation,
            bodies.is_present[index, :, frames].T.copy(),
            bodies.radius[index].astype(np.float64),
            bodies.color[index],
            bodies.shape[index],
            self.background.paint(index, cameras, video.height, video.width),
            rig.intrinsics[cameras],
            extrinsics[cameras],
            _of_row(rig.light, index),
            self.spec.render.ambient,
            memory.scratch,
        )

    def _describe_bodies(self, index: int, cameras: slice) -> tuple[Any, ...]:
        """What `annotate_clip` needs to know of a row: all frames, some cameras."""
        bodies, rig = self.bodies, self.rig
        return (
            _by_moment(self._position[index].astype(np.float64)),
            _by_moment(_of_row(self._surface, index)),
            bodies.is_present[index].T.copy(),
            bodies.radius[index].astype(np.float64),
            bodies.shape[index],
            rig.intrinsics[cameras],
            _of_row(rig.extrinsics, index)[cameras],
        )

    @property
    def _workspace(self) -> Workspace:
        """Memory of this thread."""
        return get_workspace(self.bodies.role.shape[1], self.spec.video.height, self.spec.video.width)

    @cached_property
    def _is_plain(self) -> bool:
        """Whether there is nothing but a sphere before a plain background, seen by cameras that stand still."""
        spec = self.spec
        return not (
            spec.bodies.are_labelled
            or spec.background.patterns != ("plain",)
            or spec.sensor.is_noisy
            or spec.sensor.is_blurred
            or spec.camera.is_jittered
            or spec.camera.is_moving
            or spec.render.light_jitter
        )

    @cached_property
    def _times(self) -> NDArray[np.float64]:
        """Time of each frame: 0 at frame 1, 1 at the last."""
        frames = self.spec.video.frames
        return np.arange(frames) / max(frames - 1, 1)

    @cached_property
    def _position(self) -> NDArray[np.float32]:
        """Centres of all bodies at each frame (n, bodies, frames, 3)."""
        return self.bodies.path[:, :, : self.spec.video.frames]

    @cached_property
    def _is_absent(self) -> NDArray[np.bool_]:
        """Which bodies are not there at all (n, bodies)."""
        return np.asarray(self.bodies.role == ABSENT)

    def _expose(self, index: int, frames: slice) -> Exposure:
        """Positions, rotations and cameras of a row, at some frames or while the shutter is open for them."""
        rig, rotation = self.rig, self.rotation
        if not self.spec.sensor.is_blurred:
            extrinsics = _of_row(rig.extrinsics, index)
            turned = _of_row(rotation, index)
            return (
                _by_moment(self._position[index, :, frames].astype(np.float64)),
                _by_moment(turned[:, frames] if turned.shape[1] > 1 else turned),
                extrinsics[:, frames] if extrinsics.shape[1] > 1 else extrinsics,
            )
        key = (index, frames.start, frames.stop)
        exposure = self._exposures.get(key)
        if exposure is None:
            if len(self._exposures) >= EXPOSURES_MAX:
                self._exposures.clear()
            exposure = self._exposures[key] = self._open_shutter(index, frames)
        return exposure

    @cached_property
    def _exposures(self) -> dict[tuple[int, int, int], Exposure]:
        """The last exposures: the cameras of a row may be drawn one by one, and share one."""
        return {}

    def _open_shutter(self, index: int, frames: slice) -> Exposure:
        """Positions, rotations and cameras of a row while the shutter is open for some frames."""
        turned = UNTURNED[0]
        count = self.bodies.role.shape[1]
        moments = open_shutter(self.sensor.shutter[index], frames)
        times = moments / max(self.spec.video.frames - 1, 1)
        position = self.bodies.motion.take(slice(index * count, (index + 1) * count)).at(times)
        if self.bodies.are_turned:
            turned = to_matrices(self.bodies.orient(slice(index, index + 1), times)[0])
        row = self.rows[index]
        extrinsics = place_cameras(self.spec, range(row, row + 1), moments[None]).extrinsics[0]
        return _by_moment(position), _by_moment(turned), extrinsics

    def _is_in_view(self) -> NDArray[np.bool_]:
        """Whether each body is in each camera's picture (n, bodies, cameras, frames)."""
        return is_in_view(self.seen.box, self.spec.video.height, self.spec.video.width)

    @cached_property
    def _motion(self) -> dict[str, NDArray[Any]]:
        """Motion labels by name."""
        return describe_motion(self.spec, self.rows, self.label, self._position[:, 0])

    def _get_motion(self, name: str) -> NDArray[Any]:
        """A motion label."""
        return self._motion[name]

    def _get_extrinsics(self) -> NDArray[np.float64]:
        """The cameras of each row (n, cameras, [frames,] 3, 4)."""
        extrinsics = self.rig.extrinsics
        return extrinsics if self.spec.camera.is_moving else extrinsics[:, :, 0]

    def _get_orientation(self) -> NDArray[np.float32]:
        """How each body is turned at each frame, as unit quaternions."""
        present = self.bodies.is_present
        whole = np.broadcast_to(self.orientation, (*present.shape, 4))
        return _blank(whole.astype(np.float32), ~present)

    def _count_visible(self) -> NDArray[np.int32]:
        """Pixels whose centre sees each body (n, bodies, cameras, frames)."""
        bodies, rig, video, rotation = self.bodies, self.rig, self.spec.video, self.rotation
        n, count = bodies.role.shape
        visible = np.empty((n, count, video.cameras, video.frames), np.int32)
        scratch = make_scratch(count, video.height, video.width)
        for index in range(n):
            count_visible(
                _by_moment(self._position[index].astype(np.float64)),
                _by_moment(_of_row(rotation, index)),
                bodies.is_present[index].T.copy(),
                bodies.radius[index].astype(np.float64),
                bodies.shape[index],
                rig.intrinsics,
                _of_row(rig.extrinsics, index),
                video.height,
                video.width,
                scratch,
                visible[index],
            )
        return visible


def make_scene(spec: DatasetSpec, rows: range) -> Scene:
    """Everything about some rows but their pixels, which `Scene.draw` makes: a pure function of (spec, rows)."""
    label = label_rows(spec, rows)
    return Scene(spec, rows, label, make_bodies(spec, rows, label=label))


def _cut(ends: NDArray[np.int64], data: NDArray[np.uint8]) -> list[bytes]:
    """What ends in so many places of some bytes."""
    stops = ends.tolist()
    return [data[start:stop].tobytes() for start, stop in zip([0, *stops[:-1]], stops, strict=True)]


def _of_row(values: NDArray[Any], index: int) -> NDArray[Any]:
    """What belongs to a row, of an array in which one may stand for all."""
    return np.asarray(values[min(index, len(values) - 1)])


def _by_moment(values: NDArray[Any]) -> NDArray[Any]:
    """Values of each body and moment, (bodies, k, …), with the moment first."""
    return np.ascontiguousarray(values.swapaxes(0, 1))


def _blank(values: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A copy with NaN where there is no body."""
    filled: NDArray[np.float32] = values.copy()
    filled[where] = np.nan
    return filled
