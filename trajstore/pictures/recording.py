"""Clips as a recording for the Rerun viewer: frames, boxes, paths, cameras and the world, on one timeline."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trajstore.errors import OutputError
from trajstore.pictures.clips import Clip
from trajstore.pictures.palette import BOX, FUTURE, PATH

if TYPE_CHECKING:
    import rerun

TIMELINE: Final = "frame"
"""Counts frames from 1, as everywhere."""

FRAMES_PER_SECOND: Final = 10.0
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
        sphere = rerun.Ellipsoids3D(
            centers=[clip.position[frame - 1]],
            half_sizes=[[clip.radius] * 3],
            colors=[clip.object_color],
            fill_mode=rerun.components.FillMode.Solid,
        )
        recording.log(f"{root}/world/sphere", sphere)
        for place, camera in enumerate(clip.cameras.numbers):
            entity = f"{root}/world/camera_{camera}"
            picture = np.ascontiguousarray(np.moveaxis(clip.video[place, index], 0, -1))
            recording.log(f"{entity}/image", rerun.Image(picture))
            box = clip.box[place, frame - 1]
            recording.log(
                f"{entity}/box", rerun.Boxes2D(mins=[box[:2]], sizes=[box[2:] - box[:2]], colors=[_rgb(BOX)])
            )
    recording.reset_time()


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
        "/path": rerun.LineStrips3D([clip.position], colors=[_rgb(PATH)], radii=[0.008]),
        "/future": rerun.Ellipsoids3D(
            centers=[clip.future_position],
            half_sizes=[[clip.radius] * 3],
            colors=[_rgb(FUTURE)],
            fill_mode=rerun.components.FillMode.MajorWireframe,
            labels=[f"frame {clip.future_frame}"],
            show_labels=True,
        ),
    }
    for name, archetype in statics.items():
        recording.log(f"{entity}{name}", archetype, static=True)


def _log_camera(recording: rerun.RecordingStream, entity: str, clip: Clip, place: int) -> None:
    """What stands still of a camera: where it is, what it is, and where the path and the future appear."""
    import rerun

    cameras = clip.cameras
    center = cameras.centers()[place]
    # the transform's transpose turns the camera's axes into the world's
    pose = rerun.Transform3D(translation=center, mat3x3=cameras.extrinsics[place, :, :3].T)
    pinhole = rerun.Pinhole(
        image_from_camera=cameras.intrinsics[place],
        resolution=[cameras.width, cameras.height],
        camera_xyz=rerun.ViewCoordinates.RDF,
        image_plane_distance=0.25 * float(np.linalg.norm(center)),
    )
    recording.log(entity, pose, pinhole, static=True)
    path = rerun.LineStrips2D([clip.pixel[place]], colors=[_rgb(PATH)], draw_order=20.0)
    recording.log(f"{entity}/path", path, static=True)
    future = rerun.Points2D(
        [clip.future_pixel[place]],
        colors=[_rgb(FUTURE)],
        radii=rerun.Radius.ui_points(5.0),
        labels=[f"frame {clip.future_frame}"],
        draw_order=30.0,
    )
    recording.log(f"{entity}/future", future, static=True)


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
        "radius": f"{clip.radius:.4f} world units",
        f"future position, frame {clip.future_frame}": f"({point})",
        "object colour": str(clip.object_color),
        "background colour": str(clip.background_color),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| label | value |", "|---|---|", *lines])


def _rgb(color: str) -> tuple[int, int, int]:
    """A colour of the palette as three numbers."""
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue
