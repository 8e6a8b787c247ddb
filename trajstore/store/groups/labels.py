"""The labels: every number about a row but its pixels, complete before the first frame is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec
from trajstore.store.columns import FRAME_NOTE, Column, ColumnGroup

if TYPE_CHECKING:
    from trajstore.scene.scene import Scene  # imports numba, which reading does without

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
    video = spec.video
    seen = 4 * (2 + 1 + 4) * video.cameras * video.frames
    path = 8 * 3 * (video.frames + video.horizon)
    rows = LABEL_ROWS
    while rows > 1 and rows * (seen + path) > LABEL_BYTES_MAX:
        rows //= 2
    return rows


def _define_columns(spec: DatasetSpec, rows: int) -> tuple[Column, ...]:
    """Describe the labels."""
    cameras, frames, horizon = spec.video.cameras, spec.video.frames, spec.video.horizon

    def column(
        name: str, extra: dict[str, int], dtype: str, long_name: str, units: str = "", comment: str = ""
    ) -> Column:
        texts = {"long_name": long_name, "units": units, "comment": comment}
        flags = {"class_label": spec.dataset.classes, "split": SPLIT_NAMES}.get(name)
        meanings = {"flag_values": list(range(len(flags))), "flag_meanings": " ".join(flags)} if flags else {}
        return Column(
            name=name,
            dims=("sample", *extra),
            shape=(spec.dataset.samples, *extra.values()),
            chunk_shape=(rows, *extra.values()),
            dtype=dtype,
            fill_value={"int8": -1, "uint8": 0}.get(dtype, float("nan")),
            attributes={key: text for key, text in texts.items() if text} | meanings,
        )

    seen = {"camera": cameras, "frame": frames}
    return (
        column("class_label", {}, "int8", "trajectory class"),
        column("split", {}, "int8", "split of the dataset"),
        column(
            "position", {"frame": frames, "axis": 3}, "float32",
            "centre of the sphere in the world", "world units", f"x, y, z, z up; {FRAME_NOTE}",
        ),
        column(
            "future_position", {"axis": 3}, "float32",
            "centre of the sphere in the world after the last seen frame", "world units",
            f"x, y, z at frame {frames + horizon}, {horizon} after the last seen frame {frames}, counted from 1",
        ),
        column(
            "pixel", {**seen, "uv": 2}, "float32",
            "projected centre of the sphere", "px",
            f"u right, v down from the top left corner; pixel centres at half-integers; {FRAME_NOTE}",
        ),
        column(
            "depth", seen, "float32",
            "z of the sphere's centre in the camera's frame", "world units", FRAME_NOTE,
        ),
        column(
            "box", {**seen, "edge": 4}, "float32",
            "box of the sphere's exact silhouette", "px", f"u_min, v_min, u_max, v_max; {FRAME_NOTE}",
        ),
        column("radius", {}, "float32", "radius of the sphere", "world units"),
        column("object_color", {"channel": 3}, "uint8", "colour of the fully lit sphere", "", "red, green, blue"),
        column("background_color", {"channel": 3}, "uint8", "colour of the background", "", "red, green, blue"),
    )  # fmt: skip
