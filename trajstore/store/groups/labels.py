"""The labels: every number about a row but its pixels, complete before the first frame is drawn."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from trajstore.scene.bodies import ROLES
from trajstore.scene.column_names import list_columns
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import PATTERNS, SHAPES, DatasetSpec
from trajstore.store.columns import FRAME_NOTE, Column, ColumnGroup
from trajstore.trajectories import PARAMETER_TEXTS

if TYPE_CHECKING:
    from trajstore.scene.scene import Scene  # imports numba, which reading does without

FILLS: Final = {"int8": -1, "uint8": 0, "int32": 0, "bool": False}
"""What is in an array where nothing is written, by dtype; NaN otherwise."""

EXTRINSICS_DIMS: Final = {"row": 3, "column_homogeneous": 4}
EXTRINSICS_TEXTS: Final = {
    "long_name": "world-to-camera transform [R|t]",
    "units": "world units",
    "comment": "OpenCV: x right, y down, z forward",
}

LABEL_ROWS: Final = 8192
"""Rows of a label chunk, whatever the size of the dataset, so that growing it moves nothing."""

LABEL_BYTES_MAX: Final = 64 * 2**20
"""Label chunks have fewer rows where a task would hold more than this: many cameras, long videos, far horizons."""


def define_labels(spec: DatasetSpec) -> ColumnGroup:
    """The label columns, one chunk of each in a task."""
    rows = _count_rows(spec)
    return ColumnGroup(
        "labels", _define_columns(spec, rows), spec.dataset.samples, rows, draw_labels, flag_dim="label_chunk"
    )


def draw_labels(
    scene: Scene, column: Column, rows: slice, part: tuple[slice, ...], _: NDArray[Any]
) -> NDArray[Any]:
    """Find labels in a scene, which has them all; see `trajstore.store.columns.Draw`."""
    return scene.columns[column.name][(rows, *part)]


def _count_rows(spec: DatasetSpec) -> int:
    """Rows of a label chunk: a power of two below `LABEL_ROWS` where these take too much memory."""
    video, bodies = spec.video, spec.bodies
    seen = 4 * (2 + 1 + 4) * video.cameras * video.frames
    path = 8 * 3 * (video.frames + video.horizon)
    if bodies.are_labelled:  # what is kept of each while its labels are found, too
        seen = 2 * bodies.count * (seen + 8 * 3 * video.cameras * video.frames)
        path = bodies.count * (4 * path + 8 * (4 + 9) * video.frames)
    if spec.camera.is_moving:
        seen += 8 * 3 * 4 * video.cameras * video.frames
    rows = LABEL_ROWS
    while rows > 1 and rows * (seen + path) > LABEL_BYTES_MAX:
        rows //= 2
    return rows


def _define_columns(spec: DatasetSpec, rows: int) -> tuple[Column, ...]:
    """Describe all labels, and take those that a spec asks for."""
    cameras, frames, horizon, count = (
        spec.video.cameras,
        spec.video.frames,
        spec.video.horizon,
        spec.bodies.count,
    )
    flags = {
        "class_label": spec.dataset.classes,
        "split": SPLIT_NAMES,
        "background_pattern": PATTERNS,
        "body_role": ROLES,
        "body_shape": SHAPES,
    }

    def column(
        name: str, extra: dict[str, int], dtype: str, long_name: str, units: str = "", comment: str = ""
    ) -> Column:
        texts = {"long_name": long_name, "units": units, "comment": comment}
        names = flags.get(name, ())
        meanings = {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)} if names else {}
        return Column(
            name=name,
            dims=("sample", *extra),
            shape=(spec.dataset.samples, *extra.values()),
            chunk_shape=(rows, *extra.values()),
            dtype=dtype,
            fill_value=FILLS.get(dtype, nan),
            attributes={key: text for key, text in texts.items() if text} | meanings,
        )

    what = "the sphere" if spec.bodies.shapes == ("sphere",) else "the target"
    seen = {"camera": cameras, "frame": frames}
    columns = [
        column("class_label", {}, "int8", "trajectory class"),
        column("split", {}, "int8", "split of the dataset"),
        column(
            "position", {"frame": frames, "axis": 3}, "float32",
            f"centre of {what} in the world", "world units", f"x, y, z, z up; {FRAME_NOTE}",
        ),
        column(
            "future_position", {"axis": 3}, "float32",
            f"centre of {what} in the world after the last seen frame", "world units",
            f"x, y, z at frame {frames + horizon}, {horizon} after the last seen frame {frames}, counted from 1",
        ),
        column(
            "pixel", {**seen, "uv": 2}, "float32",
            f"projected centre of {what}", "px",
            f"u right, v down from the top left corner; pixel centres at half-integers; {FRAME_NOTE}",
        ),
        column(
            "depth", seen, "float32",
            f"z of {what}'s centre in the camera's frame", "world units", FRAME_NOTE,
        ),
        column(
            "box", {**seen, "edge": 4}, "float32",
            f"box of {what}'s exact silhouette", "px", f"u_min, v_min, u_max, v_max; {FRAME_NOTE}",
        ),
        column("radius", {}, "float32", f"radius of {what}", "world units"),
        column("object_color", {"channel": 3}, "uint8", f"colour of the fully lit {what[4:]}", "", "red, green, blue"),
        column("background_color", {"channel": 3}, "uint8", "colour of the background", "", "red, green, blue"),
    ]  # fmt: skip
    body, whole = {"body": count}, f"body 0 is the target; {FRAME_NOTE}"
    absent = f"NaN where there is no such body at that frame; {whole}"
    in_view = f"whether any of the silhouette's box is inside the picture; {FRAME_NOTE}"
    moving = {"frame": frames} if spec.camera.is_moving else {}
    columns += [
        column("body_role", body, "int8", "what the body is there for", "", "-1: there is no such body"),
        column("body_shape", body, "int8", "shape of the body", "", "-1: there is no such body"),
        column(
            "body_radius", body, "float32",
            "radius of the sphere that encloses the body", "world units", "NaN where there is no such body",
        ),
        column(
            "body_color", {**body, "channel": 3}, "uint8", "colour of the fully lit body", "", "red, green, blue",
        ),
        column(
            "first_frame", body, "int32",
            "first frame at which the body is there", "", "counted from 1; 0: there is no such body",
        ),
        column(
            "last_frame", body, "int32",
            "last frame at which the body is there", "", "counted from 1; 0: there is no such body",
        ),
        column(
            "body_position", {**body, "frame": frames, "axis": 3}, "float32",
            "centre of the body in the world", "world units", f"x, y, z, z up; {absent}",
        ),
        column(
            "body_pixel", {**body, **seen, "uv": 2}, "float32",
            "projected centre of the body", "px",
            f"u right, v down from the top left corner; pixel centres at half-integers; {absent}",
        ),
        column(
            "body_depth", {**body, **seen}, "float32",
            "z of the body's centre in the camera's frame", "world units", absent,
        ),
        column(
            "body_box", {**body, **seen, "edge": 4}, "float32",
            "box of the body's exact silhouette, hidden parts included", "px",
            f"u_min, v_min, u_max, v_max; {absent}",
        ),
        column(
            "visible_pixels", {**body, **seen}, "int32",
            "pixels whose centre sees the body", "px", f"0 where it is hidden or not there; {whole}",
        ),
        column(
            "body_orientation", {**body, "frame": frames, "quaternion": 4}, "float32",
            "rotation from the body's frame to the world", "", f"unit quaternion w, x, y, z; {absent}",
        ),
        column("in_view", seen, "bool", f"whether {what} is in view", "", in_view),
        column("body_in_view", {**body, **seen}, "bool", "whether the body is in view", "", in_view),
        column("extrinsics", {"camera": cameras, **moving, **EXTRINSICS_DIMS}, "float64", **EXTRINSICS_TEXTS),
        column("background_pattern", {}, "int8", "pattern of the background"),
        column(
            "background_second_color", {"channel": 3}, "uint8",
            "colour that the pattern mixes with background_color", "", "red, green, blue; not used by plain ones",
        ),
        column("light", {"axis": 3}, "float32", "direction towards the light", "", "unit vector in the world"),
        column("noise", {}, "float32", "standard deviation of the sensor's noise", "levels"),
        column(
            "shutter", {}, "float32", "how long the shutter is open, as a share of the time between two frames",
        ),
        column("speed", {}, "float32", f"mean speed of {what} over the seen frames", "world units per frame"),
        column("path_length", {}, "float32", f"length of {what}'s path over the seen frames", "world units"),
        column(
            "direction", {"axis": 3}, "float32",
            f"direction of {what}'s net displacement over the seen frames", "",
            "unit vector; NaN where there is none",
        ),
    ]  # fmt: skip
    for name in spec.dataset.parameters:
        long_name, units = PARAMETER_TEXTS.get(name, (name.replace("_", " "), ""))
        columns.append(column(name, {}, "float32", long_name, units, "NaN for other classes"))
    asked = list_columns(spec)
    return tuple(one for one in columns if one.name in asked)
