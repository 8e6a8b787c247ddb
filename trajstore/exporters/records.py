"""The JSON of an exported folder: a label for each sample, and the metadata that says what the folder is.

The fields without a default are the plain layout, which trajstore reads whoever wrote it; the others are what trajstore
adds. Unknown fields are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from trajstore.reading.samples import Samples
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILIES

EXPORT_VERSION: Final = 1
"""Raised whenever exported folders are laid out in another way."""

LABEL_COLUMNS: Final = ("class_label", "split", "position", "future_position")
"""The columns that a label is made of."""

Count = Annotated[int, Field(ge=0)]
Point = tuple[float, float, float]
Split = Annotated[Literal["train", "val", "test"], Field(description="Part of the dataset.")]
RowRange = Annotated[tuple[Count, Count], Field(description="First row, and the row after the last.")]
Version = Annotated[Literal[1], Field(description="Version of the exported folder's layout.")]
TensorShape = Annotated[
    tuple[Count, Count, Count, Count, Count],
    Field(
        description="Shape of each tensor: cameras, frames, channels (red, green, blue), height in px, width in px. "
        "Frames are numbered from 1: array index = frame − 1."
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
Fingerprint = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 over everything that decides a row's content; equal fingerprints mean equal rows.",
    ),
]


class _Record(BaseModel):
    """Base: frozen and strict; open to unknown fields, so that other programs may add theirs."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Label(_Record):
    """The label of one sample, `labels/sample_NNNN.json`, where NNNN is its row in the store, counted from 0."""

    class_label: int = Field(ge=0, lt=len(FAMILIES))
    """Trajectory class: the place of its name among the dataset's classes, counted from 0. By default 0 Linear,
    1 Circular, 2 Helical, 3 Parabolic."""

    future_position: Point
    """Centre of the sphere after the last seen frame, [x, y, z], z up, world units. Frames are numbered from 1: with
    32 seen frames and a horizon of 5 this is frame 37."""

    class_name: str | None = None
    """Name of the trajectory class."""

    split: Split | None = None
    """Which part of the dataset the sample belongs to."""

    positions: tuple[Point, ...] | None = None
    """Centre of the sphere at each seen frame, frames × [x, y, z], z up, world units. Frames are numbered from 1: array
    index = frame − 1."""

    def to_json(self) -> bytes:
        """The content of the label's file."""
        return self.model_dump_json().encode() + b"\n"


def read_labels(samples: Samples, rows: NDArray[np.int64]) -> Iterator[Label]:
    """Make the labels of some rows, whose numbers are known to be right."""
    names = samples.spec.dataset.classes
    columns = (samples.read_column(name, rows).tolist() for name in LABEL_COLUMNS)
    for label, split, positions, future in zip(*columns, strict=True):
        yield Label.model_validate(
            {
                "class_label": label,
                "class_name": names[label],
                "split": SPLIT_NAMES[split],
                "positions": tuple(map(tuple, positions)),
                "future_position": tuple(future),
            }
        )


class Source(_Record):
    """What an exported folder was made from, and how: two exports with the same source have the same files."""

    format_version: Version = EXPORT_VERSION
    tensor_shape: TensorShape
    tensor_dtype: TensorDtype

    split: Split | None = None
    """The split that was exported; null for all."""

    row_ranges: RowRanges
    fingerprint: Fingerprint

    spec: DatasetSpec
    """The spec of the store."""

    def to_json(self) -> bytes:
        """The content of `unfinished.json`."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    def differences(self, other: Self) -> list[str]:
        """Name everything in which another source is no continuation of this one."""
        named = {"split": "split", "tensor_dtype": "dtype"}
        pairs = [(title, getattr(self, name), getattr(other, name)) for name, title in named.items()]
        if not all(_holds(other.row_ranges, rows) for rows in self.row_ranges):
            pairs.append(("rows", _describe(self.row_ranges), _describe(other.row_ranges)))
        found = [
            f"{title}: {mine!r} stored, {theirs!r} given" for title, mine, theirs in pairs if mine != theirs
        ]
        if self.fingerprint != other.fingerprint:
            mine, theirs = self.spec, other.spec
            # neither the number of rows nor their storage changes what a row holds
            same = theirs.model_copy(
                update={
                    "storage": mine.storage,
                    "dataset": theirs.dataset.model_copy(update={"samples": mine.dataset.samples}),
                }
            )
            found += mine.differences(same) or [
                f"fingerprint: {self.fingerprint[:16]} stored, {other.fingerprint[:16]} given"
            ]
        return found


class ExportRecord(_Record):
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
    tensor_shape: TensorShape | None = None
    tensor_dtype: TensorDtype | None = None

    split: Split | None = None
    """The split that was exported; null for all."""

    row_ranges: RowRanges | None = None
    fingerprint: Fingerprint | None = None

    spec: DatasetSpec | None = None
    """The spec of the store."""

    @property
    def source(self) -> Source | None:
        """What the folder was made from; None if trajstore did not write it."""
        fields = {name: getattr(self, name) for name in Source.model_fields}
        if any(value is None for name, value in fields.items() if name != "split"):
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
