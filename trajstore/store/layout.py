"""The plan of a store, from a spec alone: column groups, arrays, chunk grids and tasks.

The unit of work is the unit of storage is the unit of the flag: a task owns whole chunks (labels) or one whole shard
(video), and says so with one written flag. Nothing is ever read, modified and written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec

FORMAT_VERSION: Final = 1
"""Raised whenever stores are laid out in another way."""

LABEL_ROWS: Final = 8192
"""Rows of a label chunk, whatever the size of the dataset, so that growing it moves nothing."""

LABEL_BYTES_MAX: Final = 64 * 2**20
"""Label chunks have fewer rows where a task would hold more than this: many cameras, long videos, far horizons."""

CHUNK_BYTES_MAX: Final = 8 * 2**20
"""A sample with more raw bytes than this is split into several chunks: by camera, then by frames."""

FRAME_NOTE: Final = "frames are numbered from 1: array index = frame - 1"


@dataclass(frozen=True)
class Column:
    """One array of a store."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dtype: str
    fill_value: float
    attributes: Mapping[str, Any] = field(default_factory=dict)
    shard_shape: tuple[int, ...] | None = None

    @property
    def file_shape(self) -> tuple[int, ...]:
        """What one file covers: a shard, or a chunk."""
        return self.shard_shape or self.chunk_shape

    @cached_property
    def chunk_counts(self) -> tuple[int, ...]:
        """Chunks along each dimension of one file."""
        return tuple(a // b for a, b in zip(self.file_shape, self.chunk_shape, strict=True))

    def key(self, index: int) -> str:
        """Name of the file that holds part ``index`` along the first dimension."""
        return f"{self.name}/{'.'.join(['c', str(index), *['0'] * (len(self.dims) - 1)])}"


@dataclass(frozen=True)
class Task:
    """Some rows of a column group: the files of one index, and their flag."""

    group: str
    index: int
    rows: range

    def __str__(self) -> str:
        return f"{self.group}-{self.index:06d}"


@dataclass(frozen=True)
class ColumnGroup:
    """Arrays that are filled together, with one flag per task."""

    name: str
    columns: tuple[Column, ...]
    samples: int
    rows_per_task: int
    flags: Column

    @property
    def row_bytes(self) -> int:
        """Uncompressed bytes of a row."""
        return sum(prod(column.shape[1:]) * np.dtype(column.dtype).itemsize for column in self.columns)

    def task(self, index: int) -> Task:
        """The task of an index."""
        first = index * self.rows_per_task
        return Task(self.name, index, range(first, min(first + self.rows_per_task, self.samples)))

    def tasks(self) -> Iterator[Task]:
        """All tasks, in the order of their rows."""
        return map(self.task, range(len(self)))

    def count_rows(self, indices: NDArray[np.integer[Any]]) -> int:
        """Rows of several tasks.

        Parameters
        ----------
        indices : (n,) integers
            Indices of tasks, none of them twice.
        """
        missing = len(self) * self.rows_per_task - self.samples
        return len(indices) * self.rows_per_task - missing * int((indices == len(self) - 1).any())

    def __len__(self) -> int:
        return ceil(self.samples / self.rows_per_task)


@dataclass(frozen=True)
class Layout:
    """A whole store."""

    groups: tuple[ColumnGroup, ...]
    static: tuple[Column, ...]

    @property
    def columns(self) -> Iterator[Column]:
        """Every array of the store, the frames first."""
        for group in reversed(self.groups):
            yield from group.columns
        yield from self.static
        yield from (group.flags for group in self.groups)

    def group(self, name: str) -> ColumnGroup:
        """The column group of a name."""
        return next(group for group in self.groups if group.name == name)


def plan_layout(spec: DatasetSpec) -> Layout:
    """Lay out the store that a spec describes."""
    rows = _label_rows(spec)
    labels = _group("labels", "label_chunk", _label_columns(spec, rows), spec.dataset.samples, rows)
    video = _group(
        "video", "video_shard", (_video_column(spec),), spec.dataset.samples, spec.storage.samples_per_shard
    )
    cameras = spec.video.cameras
    static = (
        _static(
            "intrinsics",
            ("camera", "row", "column"),
            (cameras, 3, 3),
            {"long_name": "camera matrix K", "units": "px", "comment": "pixel centres at half-integers"},
        ),
        _static(
            "extrinsics",
            ("camera", "row", "column_homogeneous"),
            (cameras, 3, 4),
            {
                "long_name": "world-to-camera transform [R|t]",
                "units": "world units",
                "comment": "OpenCV: x right, y down, z forward",
            },
        ),
    )
    return Layout(groups=(labels, video), static=static)


def _group(
    name: str, flag_dim: str, columns: tuple[Column, ...], samples: int, rows_per_task: int
) -> ColumnGroup:
    """Add the flags to some columns."""
    flags = Column(
        name=f"{name}_written",
        dims=(flag_dim,),
        shape=(ceil(samples / rows_per_task),),
        chunk_shape=(1,),
        dtype="bool",
        fill_value=False,
        attributes={"long_name": f"whether these {rows_per_task} rows of the {name} columns are written"},
    )
    return ColumnGroup(name, columns, samples, rows_per_task, flags)


def _static(
    name: str, dims: tuple[str, ...], shape: tuple[int, ...], attributes: Mapping[str, Any]
) -> Column:
    """Describe an array in a single chunk."""
    return Column(name, dims, shape, shape, "float64", float("nan"), attributes)


def _video_column(spec: DatasetSpec) -> Column:
    """Describe the frames."""
    video = spec.video
    sample = (video.cameras, video.frames, 3, video.height, video.width)
    return Column(
        name="video",
        dims=("sample", "camera", "frame", "channel", "y", "x"),
        shape=(spec.dataset.samples, *sample),
        chunk_shape=(1, *_split_sample(sample)),
        shard_shape=(spec.storage.samples_per_shard, *sample),
        dtype="uint8",
        fill_value=0,
        attributes={"long_name": "RGB frames", "comment": f"channels are red, green, blue; {FRAME_NOTE}"},
    )


def _split_sample(sample: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a chunk: a sample, or a camera of it, or the largest equal parts of its frames that are small enough."""
    if prod(sample) <= CHUNK_BYTES_MAX:
        return sample
    _, frames, *frame = sample
    fitting = max(1, CHUNK_BYTES_MAX // prod(frame))
    step = next(step for step in range(min(fitting, frames), 0, -1) if frames % step == 0)
    return (1, step, *frame)


def _label_rows(spec: DatasetSpec) -> int:
    """Rows of a label chunk: a power of two below `LABEL_ROWS` where these take too much memory."""
    video = spec.video
    seen = 4 * (2 + 1 + 4) * video.cameras * video.frames
    path = 8 * 3 * (video.frames + video.horizon)
    rows = LABEL_ROWS
    while rows > 1 and rows * (seen + path) > LABEL_BYTES_MAX:
        rows //= 2
    return rows


def _label_columns(spec: DatasetSpec, rows: int) -> tuple[Column, ...]:
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
