"""The JSON of an exported folder: a label for each sample, and the metadata that says what the folder is.

The fields without a default are the plain layout, which trajstore reads whoever wrote it; the others are what trajstore
adds. Unknown fields are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from trajstore.reading.samples import Samples
from trajstore.scene.bodies import ABSENT, ROLES
from trajstore.scene.column_names import MOTION_LABELS
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import BODIES_MAX, SHAPES, Annotation, Shape, WrittenSpec
from trajstore.store.columns import Column
from trajstore.store.layout import plan_layout

EXPORT_VERSION: Final = 1
"""Raised whenever exported folders are laid out in another way."""

CARD_FILES: Final = ("README.md", "croissant.json", "checksums.sha256", "preview.png", "spec.toml")
"""What `trajstore card` puts beside the files of an export, which is none of them."""

LABEL_COLUMNS: Final = ("class_label", "split", "position", "future_position")
"""The columns that every label is made of."""

CAPTION_BYTES: Final = 256
"""More than a caption has, where captions are stored beside labels."""

BODY_COLUMNS: Final = (
    "body_role", "body_shape", "body_radius", "body_color", "first_frame", "last_frame", "body_position",
    "visible_pixels",
)  # fmt: skip
"""Those that its bodies are made of, where the store has them."""

Extra = Literal["pixel", "depth", "box"]

EXTRA_COLUMNS: Final[dict[Extra, str]] = {"pixel": "pixels", "depth": "depths", "box": "boxes"}
"""The columns that labels have on request, and the field of each."""

OPTIONAL: Final = {"bodies": "body_role", "extrinsics": "extrinsics", "motion": "speed"}
"""Fields of a label that only some stores have, by a column that these have."""

Count = Annotated[int, Field(ge=0)]
FrameNumber = Annotated[int, Field(ge=1)]
Level = Annotated[int, Field(ge=0, le=255)]
Point = tuple[float, float, float]
MatrixRow = tuple[float, float, float, float]
Matrix = tuple[MatrixRow, MatrixRow, MatrixRow]
Pixel = tuple[float | None, float | None]
Box = tuple[float | None, float | None, float | None, float | None]
CameraMatrix = tuple[Point, Point, Point]
Split = Annotated[Literal["train", "val", "test"], Field(description="Part of the dataset.")]
RowRange = Annotated[tuple[Count, Count], Field(description="First row, and the row after the last.")]
Version = Annotated[Literal[1], Field(description="Version of the exported folder's layout.")]
TensorShape = Annotated[
    tuple[Count, Count, Count, Count, Count],
    Field(
        description="Shape of each sample: cameras, frames, channels (red, green, blue), height in px, width in px; "
        "tensors of pt's layout traj have no dimension of cameras. Frames are numbered from 1: array index = frame − 1."
    ),
]
TensorDtype = Annotated[
    Literal["uint8", "float32"],
    Field(
        description="Type of each tensor's elements: uint8 from 0 to 255, or float32 from 0 to 1, "
        "which is the same divided by 255."
    ),
]
RowRanges = Annotated[
    tuple[RowRange, ...],
    Field(description="The store's rows that were exported, those of other splits included; counted from 0."),
]
Annotations = Annotated[
    tuple[Annotation, ...],
    Field(
        description="Annotations of each sample; of pt in annotations/sample_NNNN.pt, or traj_NNNNN.pt: a dictionary "
        "from the name of each array to a tensor, of the shape and dtype that a row has in the store."
    ),
]
Cameras = Annotated[
    tuple[Count, ...] | None,
    Field(description="The store's cameras that were exported, counted from 0, in this order; null for all."),
]
ExtraColumns = Annotated[
    tuple[Extra, ...], Field(description="Columns that labels have on request: pixel, depth, box.")
]
ClassName = Annotated[str | None, Field(description="The class that was exported; null for all.")]
FormatName = Annotated[str, Field(description="The format, such as pt.")]
FormatOptions = Annotated[
    dict[str, str],
    Field(description="What the format was told, such as layout: traj; what is as usual is left out."),
]
Fingerprint = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 over everything that decides a row's content; equal fingerprints mean equal rows.",
    ),
]


class Record(BaseModel):
    """Base: frozen and strict; open to unknown fields, so that other programs may add theirs."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class BodyLabel(Record):
    """A body of a sample."""

    body: int = Field(ge=0, lt=BODIES_MAX)
    """Its place along the dimension body of the store, counted from 0; 0 is the target."""

    role: Literal["target", "distractor", "transient"]
    """What it is there for."""

    shape: Shape
    """Its shape."""

    radius: float = Field(gt=0)
    """Radius of the sphere that encloses it, world units."""

    color: tuple[Level, Level, Level]
    """Its colour where it is fully lit: red, green, blue."""

    first_frame: FrameNumber
    """The first frame at which it is there, counted from 1."""

    last_frame: FrameNumber
    """The last frame at which it is there, counted from 1."""

    positions: tuple[Point | None, ...]
    """Its centre at each seen frame, frames × [x, y, z], z up, world units; null where it is not there."""

    visible_pixels: tuple[tuple[Count, ...], ...]
    """Pixels whose centre sees it, cameras × frames; 0 where it is hidden, out of view or not there."""


class MotionLabel(Record):
    """How the target moves over the seen frames."""

    speed: float = Field(ge=0)
    """Mean speed, world units per frame."""

    path_length: float = Field(ge=0)
    """Length of the path, world units."""

    direction: Point | None = None
    """Unit vector of the net displacement; left out where there is none."""

    parameters: dict[str, float]
    """The numbers that describe a path of this class, by name."""


class Label(Record):
    """The label of one sample, `labels/sample_NNNN.json`, where NNNN is its row in the store, counted from 0."""

    class_label: int = Field(ge=0, lt=127)
    """Trajectory class: the place of its name among the dataset's classes, counted from 0. By default 0 Linear,
    1 Circular, 2 Helical, 3 Parabolic."""

    future_position: Point
    """Centre of the target after the last seen frame, [x, y, z], z up, world units. Frames are numbered from 1: with
    32 seen frames and a horizon of 5 this is frame 37."""

    class_name: str | None = None
    """Name of the trajectory class."""

    split: Split | None = None
    """Which part of the dataset the sample belongs to."""

    caption: str | None = None
    """What is to be seen, in one English sentence."""

    positions: tuple[Point, ...] | None = None
    """Centre of the target at each seen frame, frames × [x, y, z], z up, world units. Frames are numbered from 1: array
    index = frame − 1."""

    bodies: tuple[BodyLabel, ...] | None = None
    """The bodies that are there at some frame, the target first; left out where it is the only one and a sphere."""

    extrinsics: tuple[Matrix, ...] | tuple[tuple[Matrix, ...], ...] | None = None
    """World-to-camera transforms [R|t], cameras × 3 × 4, or cameras × frames × 3 × 4 where the cameras move; OpenCV's
    x right, y down, z forward. Left out where the cameras are the same in all samples."""

    motion: MotionLabel | None = None
    """How the target moves; left out unless the store has motion labels."""

    pixels: tuple[tuple[Pixel, ...], ...] | None = None
    """Projected centre of the target, cameras × frames × [u, v], px: u right, v down from the top left corner; pixel
    centres at half-integers. Only with --columns pixel."""

    depths: tuple[tuple[float | None, ...], ...] | None = None
    """The z of the target's centre in each camera's frame, cameras × frames, world units. Only with --columns depth."""

    boxes: tuple[tuple[Box, ...], ...] | None = None
    """Box of the target's exact silhouette, cameras × frames × [u_min, v_min, u_max, v_max], px. Only with --columns
    box."""

    def to_json(self) -> bytes:
        """The content of the label's file."""
        return self.model_dump_json(exclude_none=True).encode() + b"\n"


def read_labels(
    samples: Samples,
    rows: NDArray[np.int64],
    *,
    cameras: Sequence[int] | None = None,
    extra: Sequence[Extra] = (),
) -> Iterator[Label]:
    """Make the labels of some rows, whose numbers are known to be right, as seen by some cameras.

    ``extra`` are columns that labels have on request, from `EXTRA_COLUMNS`.
    """
    spec, names = samples.spec, samples.spec.dataset.classes
    captions = samples.read_captions(rows)
    columns = {name: _read_seen(samples, name, rows, cameras) for name in (*_list_read(samples), *extra)}
    for index, caption in enumerate(captions):
        values = {name: column[index].tolist() for name, column in columns.items()}
        label: dict[str, Any] = {
            "class_label": values["class_label"],
            "class_name": names[values["class_label"]],
            "split": SPLIT_NAMES[values["split"]],
            "caption": caption,
            "positions": values["position"],
            "future_position": values["future_position"],
            "extrinsics": values.get("extrinsics"),
        }
        if "body_role" in values:
            label["bodies"] = _list_bodies(values)
        if "speed" in values:
            label["motion"] = _describe_motion(values, spec.dataset.parameters)
        for name in extra:
            label[EXTRA_COLUMNS[name]] = _list_finite(columns[name][index])
        yield Label.model_validate(label, strict=False)


def _read_seen(
    samples: Samples, name: str, rows: NDArray[np.int64], cameras: Sequence[int] | None
) -> NDArray[Any]:
    """Read a column of some rows, of some cameras only where it has a value for each."""
    values, dims = samples.read_column(name, rows), samples.layout.column(name).dims
    return values if cameras is None or "camera" not in dims else values.take(cameras, dims.index("camera"))


def _list_finite(values: NDArray[Any]) -> Any:
    """Values as lists, with None for those that are no number: JSON has no NaN."""
    listed = values.astype(object)
    listed[~np.isfinite(values)] = None
    return listed.tolist()


def _list_read(samples: Samples) -> list[str]:
    """Columns that labels are made of."""
    wanted = {*LABEL_COLUMNS, *BODY_COLUMNS, *MOTION_LABELS, *samples.spec.dataset.parameters, "extrinsics"}
    return [name for name in samples.columns if name in wanted]


def _list_bodies(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Those bodies of a row that there are."""
    bodies = []
    for body, role in enumerate(values["body_role"]):
        if role == ABSENT:
            continue
        first, last = values["first_frame"][body], values["last_frame"][body]
        positions = values["body_position"][body]
        bodies.append(
            {
                "body": body,
                "role": ROLES[role],
                "shape": SHAPES[values["body_shape"][body]],
                "radius": values["body_radius"][body],
                "color": values["body_color"][body],
                "first_frame": first,
                "last_frame": last,
                "positions": [
                    point if first <= frame <= last else None
                    for frame, point in enumerate(positions, start=1)
                ],
                "visible_pixels": values["visible_pixels"][body],
            }
        )
    return bodies


def _describe_motion(values: dict[str, Any], parameters: tuple[str, ...]) -> dict[str, Any]:
    """The motion labels of a row, those that apply to it."""
    return {
        "speed": values["speed"],
        "path_length": values["path_length"],
        "direction": values["direction"] if isfinite(values["direction"][0]) else None,
        "parameters": {name: values[name] for name in parameters if isfinite(values[name])},
    }


class Source(Record):
    """What an exported folder was made from, and how: two exports with the same source have the same files."""

    format_version: Version = EXPORT_VERSION
    format: FormatName = "pt"
    options: FormatOptions = {}
    cameras: Cameras = None
    tensor_shape: TensorShape
    tensor_dtype: TensorDtype

    annotations: Annotations = ()
    columns: ExtraColumns = ()
    class_name: ClassName = None

    split: Split | None = None
    """The split that was exported; null for all."""

    row_ranges: RowRanges
    fingerprint: Fingerprint

    spec: WrittenSpec
    """The spec of the store."""

    @property
    def arrays(self) -> tuple[Column, ...]:
        """The arrays of the annotations, as a store has them."""
        if not self.annotations:
            return ()
        layout = plan_layout(self.spec.replace(groups=self.annotations))
        return tuple(column for name in self.annotations for column in layout.group(name).columns)

    @property
    def array_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape that each of these arrays has in a sample, of the cameras that are exported."""
        sizes = {} if self.cameras is None else {"camera": len(self.cameras)}
        return {
            column.name: tuple(
                sizes.get(dim, size) for dim, size in zip(column.dims[1:], column.shape[1:], strict=True)
            )
            for column in self.arrays
        }

    def to_json(self) -> bytes:
        """The content of `unfinished.json`."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    def differences(self, other: Self) -> list[str]:
        """Name everything in which another source is no continuation of this one."""
        named = {
            "format": "format", "options": "options", "cameras": "cameras", "class_name": "class", "split": "split",
            "tensor_dtype": "dtype", "columns": "columns",
        }  # fmt: skip
        pairs = [(title, getattr(self, name), getattr(other, name)) for name, title in named.items()]
        if not all(_holds(other.row_ranges, rows) for rows in self.row_ranges):
            pairs.append(("rows", _describe(self.row_ranges), _describe(other.row_ranges)))
        if not set(self.annotations) <= set(other.annotations):
            mine, theirs = (", ".join(one.annotations) or "none" for one in (self, other))
            pairs.append(("annotations", mine, theirs))
        found = [
            f"{title}: {mine!r} stored, {theirs!r} given" for title, mine, theirs in pairs if mine != theirs
        ]
        if self.fingerprint != other.fingerprint:
            spec, given = self.spec, other.spec
            # neither the number of rows nor their storage nor what is stored beside them changes what a row holds
            same = given.model_copy(
                update={
                    "storage": spec.storage,
                    "annotations": spec.annotations,
                    "dataset": given.dataset.model_copy(update={"samples": spec.dataset.samples}),
                }
            )
            found += spec.differences(same) or [
                f"fingerprint: {self.fingerprint[:16]} stored, {other.fingerprint[:16]} given"
            ]
        return found


class ExportRecord(Record):
    """What an exported folder holds, `metadata.json`; it is written last and says that the export is complete."""

    total_samples: Count
    """Samples in the folder."""

    class_distribution: dict[str, Count]
    """Samples of each trajectory class, by name."""

    generation_time_seconds: float = Field(ge=0)
    """How long it took to write the folder, s; of an export that was resumed, its last run."""

    timestamp: str | float
    """When the folder was completed; trajstore writes UTC, ISO 8601."""

    split_distribution: dict[str, Count] | None = None
    """Samples of each split, by name."""

    format_version: Version | None = None
    format: FormatName = "pt"
    options: FormatOptions = {}
    cameras: Cameras = None
    tensor_shape: TensorShape | None = None
    tensor_dtype: TensorDtype | None = None
    annotations: Annotations = ()
    columns: ExtraColumns = ()
    class_name: ClassName = None

    split: Split | None = None
    """The split that was exported; null for all."""

    row_ranges: RowRanges | None = None
    fingerprint: Fingerprint | None = None

    spec: WrittenSpec | None = None
    """The spec of the store."""

    intrinsics: tuple[CameraMatrix, ...] | None = None
    """Camera matrices K of the exported cameras, cameras × 3 × 3, px; pixel centres at half-integers, origin top
    left."""

    extrinsics: tuple[Matrix, ...] | None = None
    """World-to-camera transforms [R|t] of the exported cameras, cameras × 3 × 4, world units; OpenCV's x right, y down,
    z forward. Left out where they differ between samples: then each label has its own."""

    @property
    def source(self) -> Source | None:
        """What the folder was made from; None if trajstore did not write it."""
        fields = {name: getattr(self, name) for name in Source.model_fields}
        if any(
            value is None for name, value in fields.items() if name not in ("split", "cameras", "class_name")
        ):
            return None
        return Source(**fields)

    def to_json(self) -> bytes:
        """The content of the file."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def _holds(ranges: tuple[tuple[int, int], ...], rows: tuple[int, int]) -> bool:
    """Whether one of some ranges holds another."""
    return any(first <= rows[0] and rows[1] <= stop for first, stop in ranges)


def _describe(ranges: tuple[tuple[int, int], ...]) -> str:
    """Ranges as the command line takes them."""
    return ", ".join(f"{first}:{stop}" for first, stop in ranges)
