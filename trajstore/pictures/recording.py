"""Clips as a recording for the Rerun viewer: frames, boxes, paths, cameras and the world, on one timeline."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trajstore.errors import OutputError
from trajstore.pictures.clips import HIDDEN, PARTLY, VISIBLE, Body, Clip
from trajstore.pictures.palette import FUTURE, PATH, ROLES, to_rgb
from trajstore.pictures.shapes import CONE_FACES, CUBE_HALF, CYLINDER_HALF

if TYPE_CHECKING:
    import rerun

TIMELINE: Final = "frame"
"""Counts frames from 1, as everywhere."""

FRAMES_PER_SECOND: Final = 10.0
WORDS: Final = {VISIBLE: "", PARTLY: ", partly hidden", HIDDEN: ", hidden"}
WIDTHS: Final = {VISIBLE: 1.5, PARTLY: 1.0, HIDDEN: 0.5}
"""What the name of a body goes on with, and how wide the line of its box is, by how much is seen of it."""

VIEWS_MAX: Final = 8
"""Cameras that get a view of their own; the others are seen in the world."""


def record(clips: Sequence[Clip], title: str) -> bytes:
    """Make a recording."""
    recording = _start(title)
    memory = recording.memory_recording()
    recording.send_blueprint(_arrange(clips))
    for clip in clips:
        _log(recording, clip)
    return memory.drain_as_bytes()


def show_recording(clips: Sequence[Clip], title: str, *, instead: str) -> None:
    """Send clips to the viewer, opened if it is not open; ``instead`` is a command for where there is none."""
    import rerun

    recording = _start(title)
    # in an environment that is not activated, the viewer is not on the path
    beside = Path(sysconfig.get_path("scripts")) / "rerun"
    try:
        rerun.spawn(
            recording=recording,
            executable_path=str(beside) if beside.exists() else None,
            default_blueprint=_arrange(clips),
        )
    except RuntimeError as error:
        message = f"view: the viewer did not start: {error}; save a recording with: {instead}"
        raise OutputError(message) from error
    for clip in clips:
        _log(recording, clip)
    recording.flush()


def _start(title: str) -> rerun.RecordingStream:
    """Begin a recording."""
    import rerun

    recording = rerun.RecordingStream("trajstore")
    recording.send_recording_name(title)
    recording.set_log_time_enabled(False)
    return recording


def _log(recording: rerun.RecordingStream, clip: Clip) -> None:
    """All of a sample."""
    import rerun

    root = f"row_{clip.row}"
    recording.log(
        f"{root}/labels", rerun.TextDocument(_describe(clip), media_type="text/markdown"), static=True
    )
    _log_world(recording, f"{root}/world", clip)
    for place, camera in enumerate(clip.cameras.numbers):
        _log_camera(recording, f"{root}/world/camera_{camera}", clip, place)
    for index, frame in enumerate(clip.frames):
        recording.set_time(TIMELINE, sequence=frame)
        for body in clip.bodies:
            if body.is_present(frame):
                recording.log(f"{root}/world/{body.name}", _shape(body, frame))
            elif index > 0 and body.is_present(clip.frames[index - 1]):
                recording.log(f"{root}/world/{body.name}", rerun.Clear(recursive=False))
        for place, camera in enumerate(clip.cameras.numbers):
            entity = f"{root}/world/camera_{camera}"
            if clip.cameras.are_moving:
                recording.log(entity, _pose(clip, place, frame))
            picture = np.ascontiguousarray(np.moveaxis(clip.video[place, index], 0, -1))
            recording.log(f"{entity}/image", rerun.Image(picture))
            recording.log(f"{entity}/box", _boxes(clip, place, frame))
    recording.reset_time()


def _shape(body: Body, frame: int) -> Any:
    """A body in the world at a frame."""
    import rerun

    center = body.position[frame - 1]
    if body.shape == "cone":  # none of the viewer's own shapes
        (corners,) = body.corners([frame])
        return rerun.Mesh3D(
            vertex_positions=corners,
            vertex_normals=corners - center,
            vertex_colors=[body.color] * len(corners),
            triangle_indices=CONE_FACES,
        )
    style: dict[str, Any] = {
        "centers": [center],
        "colors": [body.color],
        "fill_mode": rerun.components.FillMode.Solid,
    }
    if body.shape == "sphere":
        return rerun.Ellipsoids3D(half_sizes=[[body.radius] * 3], **style)
    style["quaternions"] = np.roll(body.orientation[frame - 1], -1)[None]  # w last
    if body.shape == "cube":
        return rerun.Boxes3D(half_sizes=[[CUBE_HALF * body.radius] * 3], **style)
    half = CYLINDER_HALF * body.radius
    return rerun.Cylinders3D(lengths=[2.0 * half], radii=[half], **style)


def _boxes(clip: Clip, place: int, frame: int) -> rerun.Boxes2D:
    """The boxes of all bodies that are there at a frame, as far as they are in the picture of a camera."""
    import rerun

    size = np.array([clip.cameras.width, clip.cameras.height])
    shown = []
    for body in clip.bodies:
        box = body.box[place, frame - 1]
        low, high = np.clip(box[:2], 0, size), np.clip(box[2:], 0, size)
        if (low < high).all():  # neither absent nor out of view
            shown.append((body, int(body.sight[place, frame - 1]), low, high - low))
    style: dict[str, Any] = {}
    if len(clip.bodies) > 1:
        style["labels"] = [f"{body.name}{WORDS[sight]}" for body, sight, *_ in shown]
        style["radii"] = [rerun.Radius.ui_points(WIDTHS[sight]) for _, sight, *_ in shown]
        style["show_labels"] = False
    return rerun.Boxes2D(
        mins=np.array([low for *_, low, _ in shown]).reshape(-1, 2),
        sizes=np.array([extent for *_, extent in shown]).reshape(-1, 2),
        colors=[to_rgb(ROLES[body.role]) for body, *_ in shown],
        **style,
    )


def _log_world(recording: rerun.RecordingStream, entity: str, clip: Clip) -> None:
    """What stands still in the world: the unit ball, the path, the future position."""
    import rerun

    # an empty line for a single frame would be no line at all
    statics: dict[str, Any] = {
        "": rerun.ViewCoordinates.RIGHT_HAND_Z_UP,
        "/unit_ball": rerun.Ellipsoids3D(
            half_sizes=[[1.0, 1.0, 1.0]],
            colors=[(128, 128, 128, 96)],
            fill_mode=rerun.components.FillMode.MajorWireframe,
        ),
        "/path": rerun.LineStrips3D([clip.target.position], colors=[to_rgb(PATH)], radii=[0.008]),
        "/future": rerun.Ellipsoids3D(
            centers=[clip.future_position],
            half_sizes=[[clip.target.radius] * 3],
            colors=[to_rgb(FUTURE)],
            fill_mode=rerun.components.FillMode.MajorWireframe,
            labels=[f"frame {clip.future_frame}"],
            show_labels=True,
        ),
    }
    for name, archetype in statics.items():
        recording.log(f"{entity}{name}", archetype, static=True)
    for body in clip.bodies[1:]:
        way = rerun.LineStrips3D([body.path], colors=[to_rgb(ROLES[body.role])], radii=[0.004])
        recording.log(f"{entity}/path/{body.name}", way, static=True)


def _log_camera(recording: rerun.RecordingStream, entity: str, clip: Clip, place: int) -> None:
    """What stands still of a camera: where it is, what it is, and where the path and the future appear."""
    import rerun

    cameras = clip.cameras
    distance = float(np.linalg.norm(cameras.centers(clip.last_frame)[place]))
    pinhole = rerun.Pinhole(
        image_from_camera=cameras.intrinsics[place],
        resolution=[cameras.width, cameras.height],
        camera_xyz=rerun.ViewCoordinates.RDF,
        image_plane_distance=0.25 * distance,
    )
    recording.log(entity, pinhole, static=True)
    if not cameras.are_moving:
        recording.log(entity, _pose(clip, place, clip.last_frame), static=True)
    path = rerun.LineStrips2D([clip.target.pixel[place]], colors=[to_rgb(PATH)], draw_order=20.0)
    recording.log(f"{entity}/path", path, static=True)
    future = rerun.Points2D(
        [clip.future_pixel[place]],
        colors=[to_rgb(FUTURE)],
        radii=rerun.Radius.ui_points(5.0),
        labels=[clip.when],
        draw_order=30.0,
    )
    recording.log(f"{entity}/future", future, static=True)


def _pose(clip: Clip, place: int, frame: int) -> rerun.Transform3D:
    """Where a camera is at a frame."""
    import rerun

    rotation = clip.cameras.at([frame])[place, 0, :, :3]
    # its transpose turns the camera's axes into the world's
    return rerun.Transform3D(translation=clip.cameras.centers(frame)[place], mat3x3=rotation.T)


def _arrange(clips: Sequence[Clip]) -> Any:
    """The viewer's layout: a tab for each row, with the world, the cameras and the labels."""
    import rerun.blueprint as layout

    tabs = []
    for clip in clips:
        root = f"row_{clip.row}"
        cameras = [
            layout.Spatial2DView(origin=f"{root}/world/camera_{camera}", name=f"camera {camera}")
            for camera in clip.cameras.numbers[:VIEWS_MAX]
        ]
        left = layout.Vertical(
            layout.Spatial3DView(origin=f"{root}/world", name="world"),
            layout.TextDocumentView(origin=f"{root}/labels", name="labels"),
            row_shares=[3, 1],
        )
        name = f"{clip.class_name}, row {clip.row}"
        tabs.append(layout.Horizontal(left, layout.Grid(*cameras), name=name))
    return layout.Blueprint(
        layout.Tabs(*tabs),
        layout.TimePanel(timeline=TIMELINE, fps=FRAMES_PER_SECOND),
        layout.SelectionPanel(state="collapsed"),
    )


def _describe(clip: Clip) -> str:
    """The labels of a sample as a table."""
    point = ", ".join(f"{value:.3f}" for value in clip.future_position)
    rows = {
        "class": clip.class_name,
        "row": str(clip.row),
        "split": clip.split,
        "radius": f"{clip.target.radius:.4f} world units",
        f"future position, frame {clip.future_frame}": f"({point})",
        "object colour": str(clip.target.color),
        "background colour": str(clip.background_color),
        **clip.facts,
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    sentence = [clip.caption, ""] if clip.caption else []
    return "\n".join([*sentence, "| label | value |", "|---|---|", *lines])
