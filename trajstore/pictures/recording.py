"""Clips as a recording for the Rerun viewer: frames, boxes, paths, cameras and the world, on one timeline."""

from __future__ import annotations

import atexit
import socket
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import OutputError
from trajstore.pictures.annotations import (
    COLORINGS,
    DEPTH_COLORS,
    Scale,
    annotate,
    body_colors,
    color_flow,
    measure,
    take_frame,
)
from trajstore.pictures.clips import HIDDEN, PARTLY, VIDEO, VISIBLE, Body, Clip
from trajstore.pictures.palette import FUTURE, PATH, ROLES, to_rgb
from trajstore.pictures.shapes import CONE_FACES, CUBE_HALF, CYLINDER_HALF
from trajstore.reading.samples import Samples

if TYPE_CHECKING:
    import rerun

TIMELINE: Final = "frame"
"""Counts frames from 1, as everywhere."""

FRAMES_PER_SECOND: Final = 10.0
WORDS: Final = {VISIBLE: "", PARTLY: ", partly hidden", HIDDEN: ", hidden"}
WIDTHS: Final = {VISIBLE: 1.5, PARTLY: 1.0, HIDDEN: 0.5}
"""What the name of a body goes on with, and how wide the line of its box is, by how much is seen of it."""

LOCAL: Final = "127.0.0.1"
WEB_PORT: Final = 9090
STREAM_PORT: Final = 9876
"""Where browsers find the viewer, and where that finds the recording; rerun's own ports, unless they are taken."""

VIEWERS: Final = ("Rerun.app/Contents/MacOS/Rerun", "rerun.exe", "rerun")
"""The viewer in its package, on macOS, Windows and Linux."""

START_SECONDS: Final = 30.0
"""How long the viewer may take to start."""

VIEWS_MAX: Final = 8
"""Views of cameras; the cameras that have none are seen in the world."""

ARROWS_MAX: Final = 48
"""Arrows of flow along the longer side of a picture."""


def record(samples: Samples, clips: Sequence[Clip], title: str, *, show: Sequence[str]) -> bytes:
    """Make a recording."""
    recording = _start(title)
    memory = recording.memory_recording()
    recording.send_blueprint(_arrange(clips, show))
    _log(recording, samples, clips, show)
    return memory.drain_as_bytes()


def show_recording(
    samples: Samples, clips: Sequence[Clip], title: str, *, show: Sequence[str], instead: str
) -> None:
    """Send clips to the viewer, opened if it is not open; ``instead`` is a command for where there is none."""
    import rerun

    recording = _start(title)
    # in an environment that is not activated, the viewer is not on the path
    beside = Path(sysconfig.get_path("scripts")) / "rerun"
    try:
        rerun.spawn(
            recording=recording,
            executable_path=str(beside) if beside.exists() else None,
            default_blueprint=_arrange(clips, show),
        )
    except RuntimeError as error:
        message = f"view: the viewer did not start: {error}; save a recording with: {instead}"
        raise OutputError(message) from error
    _log(recording, samples, clips, show)
    recording.flush()


def serve_recording(data: bytes, *, instead: str) -> tuple[str, subprocess.Popen[bytes]]:
    """Serve a recording to browsers of this machine alone: the address, and the process that serves it.

    The process ends with this one. ``instead`` is a command for where it does not start.
    """
    folder = TemporaryDirectory(prefix="trajstore-")
    path, log = Path(folder.name, "recording.rrd"), Path(folder.name, "log")
    path.write_bytes(data)
    page, stream = _find_port(WEB_PORT), _find_port(STREAM_PORT)
    # rerun.serve_grpc would listen to other machines, too
    options = ["--serve-web", "--bind", LOCAL, "--web-viewer-port", str(page), "--port", str(stream)]
    with log.open("wb") as output:
        server = subprocess.Popen([_find_viewer(), str(path), *options], stdout=output, stderr=output)
    atexit.register(_end, server, folder)
    until = monotonic() + START_SECONDS
    while server.poll() is None and monotonic() < until:
        with suppress(OSError), socket.create_connection((LOCAL, page), timeout=1.0):
            source = quote_plus(f"rerun+http://{LOCAL}:{stream}/proxy")
            return f"http://{LOCAL}:{page}?url={source}", server
        sleep(0.05)
    reason = (log.read_text(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
    _end(server, folder)
    message = f"view: the viewer did not start: {reason}; save a recording with: {instead}"
    raise OutputError(message)


def _end(server: subprocess.Popen[bytes], folder: TemporaryDirectory[str]) -> None:
    """End a server, and remove its recording."""
    server.kill()
    server.wait()
    folder.cleanup()


def _find_port(wanted: int) -> int:
    """A port that is free: the wanted one, if it is."""
    for port in (wanted, 0):
        with suppress(OSError), socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((LOCAL, port))
            found: int = tried.getsockname()[1]
            return found
    message = "view: found no free port on this machine, expected one for the viewer; close other programs"
    raise OutputError(message)


def _find_viewer() -> str:
    """The viewer itself: the command ``rerun`` starts another process, which would outlive it."""
    package = find_spec("rerun_cli")
    folders = (package and package.submodule_search_locations) or []
    found = [path for folder in folders for name in VIEWERS if (path := Path(folder, name)).exists()]
    return str(found[0]) if found else "rerun"


def _start(title: str) -> rerun.RecordingStream:
    """Begin a recording."""
    import rerun

    recording = rerun.RecordingStream("trajstore")
    recording.send_recording_name(title)
    recording.set_log_time_enabled(False)
    return recording


def _log(
    recording: rerun.RecordingStream, samples: Samples, clips: Sequence[Clip], show: Sequence[str]
) -> None:
    """All of some samples."""
    names = [name for name in show if name != VIDEO]
    scales = {name: measure(samples, clips, name) for name in names}
    for clip in clips:
        _log_clip(recording, clip)
        if names:
            _log_annotations(recording, samples, clip, scales)


def _log_clip(recording: rerun.RecordingStream, clip: Clip) -> None:
    """A sample but its annotations."""
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


def _log_annotations(
    recording: rerun.RecordingStream, samples: Samples, clip: Clip, scales: Mapping[str, Scale]
) -> None:
    """What is known of the pixels of a sample; of flow, nothing at the last frame."""
    import rerun

    world = f"row_{clip.row}/world"
    names = {0: "background"} | {body.number + 1: body.name for body in clip.bodies}
    colors = body_colors(max(names))
    recording.log(
        world,
        rerun.AnnotationContext([(number, name, colors[number].tolist()) for number, name in names.items()]),
        static=True,
    )
    computed = annotate(samples, clip, [COLORINGS[name].array for name in scales])
    for camera, arrays in zip(clip.cameras.numbers, computed, strict=True):
        for (name, scale), values in zip(scales.items(), arrays, strict=True):
            for index, frame in enumerate(clip.frames):
                recording.set_time(TIMELINE, sequence=frame)
                shown = _annotation(name, take_frame(name, values, index), scale)
                recording.log(f"{world}/camera_{camera}/{name}", shown)
    recording.reset_time()


def _annotation(name: str, values: NDArray[Any], scale: Scale) -> Any:
    """An annotation of one frame: what the viewer has a type for as it is, the others in their colours."""
    import rerun

    if name == "segmentation":
        return rerun.SegmentationImage(values)
    if name == "depth_map":
        return rerun.DepthImage(values, meter=1.0, colormap=DEPTH_COLORS[0], depth_range=scale)
    if name == "flow":
        return _arrows(values, scale)
    return rerun.Image(np.moveaxis(COLORINGS[name].color(values, scale), 0, -1))


def _arrows(flow: NDArray[np.float32], scale: Scale) -> rerun.Arrows2D:
    """Flow (2, height, width) of a grid of pixels, where it is not 0."""
    import rerun

    _, height, width = flow.shape
    step = -(-max(height, width) // ARROWS_MAX)
    v, u = np.mgrid[step // 2 : height : step, step // 2 : width : step].reshape(2, -1)
    vectors = np.nan_to_num(flow[:, v, u])
    is_moving = vectors.any(axis=0)
    kept = vectors[:, is_moving]
    return rerun.Arrows2D(
        origins=np.stack([u[is_moving], v[is_moving]], axis=-1) + 0.5,
        vectors=kept.T,
        colors=color_flow(kept[:, None], scale)[:, 0].T,
        draw_order=10.0,
    )


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


def _arrange(clips: Sequence[Clip], show: Sequence[str]) -> Any:
    """The viewer's layout: a tab for each row, with the world, the labels, and what the cameras show."""
    import rerun.blueprint as layout

    tabs = []
    for clip in clips:
        root = f"row_{clip.row}"
        cameras = [
            _look_through(f"{root}/world/camera_{camera}", camera, name, is_alone=len(show) == 1)
            for camera in clip.cameras.numbers[: max(1, VIEWS_MAX // len(show))]
            for name in show
        ]
        left = layout.Vertical(
            layout.Spatial3DView(origin=f"{root}/world", name="world"),
            layout.TextDocumentView(origin=f"{root}/labels", name="labels"),
            row_shares=[3, 1],
        )
        grid = layout.Grid(*cameras, grid_columns=len(show) if len(show) > 1 else None)
        tabs.append(layout.Horizontal(left, grid, name=f"{clip.class_name}, row {clip.row}"))
    return layout.Blueprint(
        layout.Tabs(*tabs),
        layout.TimePanel(timeline=TIMELINE, fps=FRAMES_PER_SECOND),
        layout.SelectionPanel(state="collapsed"),
    )


def _look_through(entity: str, camera: int, name: str, *, is_alone: bool) -> Any:
    """A view of what a camera shows, below the marks; arrows lie on the frames."""
    import rerun.blueprint as layout

    pictures = {VIDEO: ["image"], "flow": ["image", "flow"]}.get(name, [name])
    return layout.Spatial2DView(
        origin=entity,
        contents=[f"$origin/{part}" for part in (*pictures, "box", "path/**", "future")],
        name=f"camera {camera}" if is_alone else f"camera {camera}, {name}",
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
