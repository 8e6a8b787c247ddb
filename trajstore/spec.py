"""The spec: everything that decides a dataset, as frozen models read from TOML, JSON or keyword arguments."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypedDict, Unpack, get_args

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import to_jsonable_python

from trajstore.errors import SpecError
from trajstore.families import FamilyRecord, record_families
from trajstore.spec_words import advise
from trajstore.text import describe_invalid, suggest
from trajstore.toml import render_commented, render_toml
from trajstore.trajectories import DEFAULT_CLASSES, FAMILIES

GENERATOR_VERSION: Final = 1
"""Raised whenever the same spec would give other rows; part of the fingerprint."""

STRONGEST_CHANNEL_MIN: Final = 0.8
"""Over a dark background, the least that the strongest channel of an object's colour is, as a share of 255."""

DARK_OBJECT_MAX: Final = 140
"""Over a bright background, the most that any channel of an object's colour is."""

BODIES_MAX: Final = 254
"""Bodies of a row, the target among them: what tells them apart in a segmentation is one byte, and 0 is background."""

COMPRESSION_LEVEL: Final = -1
"""Level of zstd by default."""

Shape = Literal["sphere", "cube", "cylinder", "cone"]
SHAPES: Final[tuple[str, ...]] = get_args(Shape)
"""Shapes of bodies; the code of a shape is its place in this list."""

Pattern = Literal["plain", "gradient", "checker", "noise"]
PATTERNS: Final[tuple[str, ...]] = get_args(Pattern)
"""Patterns of backgrounds; the code of a pattern is its place in this list."""

FirstGroups = Literal["each", "random"]
FIRST_GROUPS: Final[tuple[FirstGroups, ...]] = get_args(FirstGroups)
DEFAULT_FIRST_GROUPS: Final = FIRST_GROUPS[0]
"""How the first splits are assigned where a spec leaves it open."""

Annotation = Literal["segmentation", "depth_map", "flow", "normals", "amodal", "tracks"]
ANNOTATIONS: Final[tuple[Annotation, ...]] = get_args(Annotation)
"""What can be stored beside the frames, in the order in which a store has it."""


def _pair(value: Any) -> Any:
    """A number as the range that holds nothing else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value, value
    if not isinstance(value, list | tuple):
        message = f"found {value!r}, expected a number, or the smallest and largest in square brackets"
        raise ValueError(message)  # noqa: TRY004, as pydantic wants it
    return value


NumberOrRange = Annotated[tuple[float, float], BeforeValidator(_pair), Field(strict=False)]
CountOrRange = Annotated[tuple[int, int], BeforeValidator(_pair), Field(strict=False)]


Count = Annotated[int, Field(ge=1)]

WEIGHTS_MAX: Final = 1000
"""Rows of a group in which each class occurs as often as its weight says."""


def _check_distinct(names: tuple[str, ...], what: str = "one") -> tuple[str, ...]:
    """Raise if a name is there twice."""
    if len(set(names)) != len(names):
        message = f"{what} is named twice in {', '.join(names)}, expected each once"
        raise ValueError(message)
    return names


def check_names(field: str, names: tuple[str, ...], records: tuple[FamilyRecord, ...]) -> None:
    """Raise unless every family is one of trajstore's or is recorded, and none is named twice."""
    recorded = {record.name for record in records}
    unknown = [name for name in names if name not in FAMILIES and name not in recorded]
    if unknown:
        message = (
            f"{field}: unknown class {', '.join(map(repr, unknown))}, expected some of {', '.join(FAMILIES)}"
            f"{suggest(unknown[0], FAMILIES)}"
        )
        raise ValueError(message)
    _check_distinct(names, f"{field}: a class")


def _check_range(name: str, values: tuple[float, float], *, below: float) -> None:
    """Raise unless 0 < low ≤ high < below."""
    low, high = values
    if not 0.0 < low <= high < below:
        message = f"{name}: found ({low}, {high}), expected 0 < low ≤ high < {below}"
        raise ValueError(message)


def _check_limits(name: str, values: tuple[float, float], *, least: float, most: float) -> None:
    """Raise unless least ≤ low ≤ high ≤ most."""
    low, high = values
    if not least <= low <= high <= most:
        message = f"{name}: found ({low}, {high}), expected {least} ≤ low ≤ high ≤ {most}"
        raise ValueError(message)


@dataclass(frozen=True)
class Since:
    """Marks a field or a section that a version later than 0.1 has added, and whose default changes no row.

    ``spin: Annotated[float, Since("0.2")] = 0.0``

    A store that does not name the field was made with its default, or with ``before`` where that is given.
    """

    version: str
    before: Any = None


class _Section(BaseModel):
    """Base of the sections: frozen, strict, and closed to unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _leave_out_neutral(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what was added later and changes nothing, wherever a spec is written or hashed."""
        # in the fingerprint: a store that knows nothing of a field keeps its own; in the JSON of stores and exports: a
        # version that knows nothing of it and refuses unknown fields reads what it could have made itself
        return {name: value for name, value in dump(self).items() if not self._is_neutral(name)}

    def _is_neutral(self, name: str) -> bool:
        """Whether a field is open, or was added later and has its default."""
        field, value = type(self).model_fields[name], getattr(self, name)
        is_later = any(isinstance(mark, Since) for mark in field.metadata)
        return value is None or (is_later and value == field.get_default(call_default_factory=True))


class DatasetSection(_Section):
    """How many rows, which random numbers, which classes."""

    samples: int = Field(default=10_000, ge=1, le=10**12)
    """Rows of the dataset. Does not change what a row holds."""

    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Seed of all random numbers."""

    classes: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=127)] = DEFAULT_CLASSES
    """Trajectory families, by name; the label of a class is its place in this list, counted from 0."""

    weights: Annotated[tuple[Count, ...], Field(strict=False), Since("0.2")] = ()
    """How often each class occurs in a group of rows, in the order of `classes`; by default once each. A group has as
    many rows as the sum of the weights, at most 1000."""

    motion_labels: Annotated[bool, Since("0.2")] = False
    """Whether to store the speed, length and direction of the target's path, and the parameters of its class, as
    labels."""

    families: Annotated[tuple[FamilyRecord, ...], Field(strict=False), Since("0.2")] = ()
    """Version and source hash of the families of your own that a store uses. Leave it out: trajstore records it when it
    builds a store."""

    @field_validator("weights", mode="before")
    @classmethod
    def _check_whole(cls, weights: Any) -> Any:
        if not isinstance(weights, list | tuple) or any(isinstance(weight, float) for weight in weights):
            message = (
                f"found {weights}, expected whole numbers in the order of dataset.classes, such as "
                "[7, 1, 1, 1]: how many rows of each class a group has"
            )
            raise ValueError(message)
        return weights

    @field_validator("families")
    @classmethod
    def _check_once(cls, records: tuple[FamilyRecord, ...]) -> tuple[FamilyRecord, ...]:
        _check_distinct(tuple(record.name for record in records))
        return records

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        check_names("dataset.classes", self.classes, self.families)
        if self.weights and (len(self.weights) != len(self.classes) or sum(self.weights) > WEIGHTS_MAX):
            message = (
                f"dataset.weights: found {len(self.weights)} weights that sum to {sum(self.weights)}, expected "
                f"{len(self.classes)}, one for each class, and a sum of at most {WEIGHTS_MAX}"
            )
            raise ValueError(message)
        return self

    @property
    def class_weights(self) -> tuple[int, ...]:
        """How often each class occurs in a group of rows."""
        return self.weights or (1,) * len(self.classes)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the numbers that describe the paths of some class, each once."""
        recorded = {record.name: record.parameters for record in self.families}
        named = (FAMILIES[name].parameters if name in FAMILIES else recorded[name] for name in self.classes)
        return tuple(dict.fromkeys(parameter for names in named for parameter in names))


class VideoSection(_Section):
    """The size of a sample."""

    cameras: int = Field(default=4, ge=1, le=256)
    """Cameras, spaced evenly around the world's z axis."""

    frames: int = Field(default=32, ge=1, le=100_000)
    """Frames of a clip. They are numbered from 1: array index = frame − 1."""

    height: int = Field(default=64, ge=1, le=16_384)
    """Height of a frame, px."""

    width: int = Field(default=64, ge=1, le=16_384)
    """Width of a frame, px."""

    horizon: int = Field(default=5, ge=1, le=100_000)
    """How many frames after the last one `future_position` lies: at frame 37 by default."""


class SceneSection(_Section):
    """What moves, and how far."""

    radius: NumberOrRange = (0.08, 0.16)
    """Smallest and largest radius of a body, world units: more than 0, less than 1."""

    size: NumberOrRange = (0.5, 0.9)
    """Smallest and largest half extent of a path, as a share of the room that the unit ball leaves the body: more than
    0, less than 1."""

    placement: Annotated[Literal["free", "matched"], Since("0.2")] = "free"
    """Where paths lie: ``free`` is anywhere inside the unit ball. With ``matched``, all classes have the same
    distribution of positions at any one frame and of mean speed, so neither tells the class; `path_length` then
    replaces `size`."""

    path_length: Annotated[NumberOrRange, Since("0.2")] = (0.5, 0.9)
    """Smallest and largest length of a path over the clip, world units, if the placement is ``matched``: more than 0,
    less than 2."""

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        _check_range("scene.radius", self.radius, below=1.0)
        _check_range("scene.size", self.size, below=1.0)
        _check_range("scene.path_length", self.path_length, below=2.0)
        return self


class CameraSection(_Section):
    """Where the cameras stand. Their focal length is chosen so that each sees the whole unit ball."""

    distance: float = Field(default=4.0, gt=1.0, le=1000.0)
    """Distance of the cameras from the origin, world units."""

    elevation: float = Field(default=25.0, ge=-89.0, le=89.0)
    """Elevation of the cameras above the x–y plane, degrees."""

    azimuth: float = Field(default=45.0, ge=-360.0, le=360.0)
    """Azimuth of the first camera from the x axis, degrees."""

    margin: float = Field(default=0.04, ge=-9.0, lt=1.0)
    """Free space around the image of the unit ball, as a share of half the image's shorter side. Below 0 the ball is
    larger than the image (at −1 twice as large), and bodies may be out of view."""

    azimuth_jitter: Annotated[float, Since("0.2")] = Field(default=0.0, ge=0.0, le=180.0)
    """Largest deviation of a camera's azimuth from its place, degrees; drawn for each row and camera."""

    elevation_jitter: Annotated[float, Since("0.2")] = Field(default=0.0, ge=0.0, le=178.0)
    """Largest deviation of a camera's elevation from `elevation`, degrees; drawn for each row and camera."""

    distance_jitter: Annotated[float, Since("0.2")] = Field(default=0.0, ge=0.0, lt=1.0)
    """Largest deviation of a camera's distance, as a share of `distance`; drawn for each row and camera. All cameras
    have the same focal length, which suits the nearest possible distance."""

    roll_jitter: Annotated[float, Since("0.2")] = Field(default=0.0, ge=0.0, le=180.0)
    """Largest angle by which a camera is rolled around its viewing axis, degrees; drawn for each row and camera."""

    orbit: Annotated[NumberOrRange, Since("0.2")] = (0.0, 0.0)
    """How far the cameras travel around the z axis from the first to the last frame, degrees, smallest and largest;
    drawn for each row, the same for all cameras. From −36000 to 36000."""

    @model_validator(mode="after")
    def _check_camera(self) -> Self:
        _check_limits("camera.orbit", self.orbit, least=-36_000.0, most=36_000.0)
        steepest = max(
            abs(self.elevation - self.elevation_jitter), abs(self.elevation + self.elevation_jitter)
        )
        if steepest > 89.0:
            message = (
                f"camera.elevation_jitter: found {self.elevation_jitter} around an elevation of {self.elevation}, "
                "expected at most 89 degrees up or down in all"
            )
            raise ValueError(message)
        nearest = self.distance * (1.0 - self.distance_jitter)
        if nearest <= 1.0:
            message = (
                f"camera.distance_jitter: found {self.distance_jitter}, which brings a camera from {self.distance} to "
                f"{nearest:.4g}, expected more than 1, the radius of the ball in which all bodies are"
            )
            raise ValueError(message)
        return self

    @property
    def is_jittered(self) -> bool:
        """Whether the cameras stand elsewhere in each row."""
        jitters = (self.azimuth_jitter, self.elevation_jitter, self.distance_jitter, self.roll_jitter)
        return any(jitters)

    @property
    def is_moving(self) -> bool:
        """Whether the cameras move during a clip."""
        return self.orbit != (0.0, 0.0)


class RenderSection(_Section):
    """How bodies are shaded."""

    ambient: float = Field(default=0.4, gt=0.0, le=1.0)
    """Brightness of a surface that is turned away from the light, as a share of full brightness."""

    contrast: int = Field(default=40, ge=1, le=255)
    """In at least one channel, every pixel of a body differs from the background by at least this many levels. The
    largest possible value depends on `ambient`."""

    light: Annotated[tuple[float, float, float], Field(strict=False)] = (0.4, -0.3, 0.85)
    """Direction towards the light in the world; its length does not matter."""

    light_jitter: Annotated[float, Since("0.2")] = Field(default=0.0, ge=0.0, le=180.0)
    """Largest angle between the direction towards the light and `light`, degrees; drawn for each row."""

    @model_validator(mode="after")
    def _check_render(self) -> Self:
        most = min(int(STRONGEST_CHANNEL_MIN * 255 * self.ambient), 255 - DARK_OBJECT_MAX)
        if self.contrast > most:
            message = (
                f"render.contrast: found {self.contrast}, expected at most {most} "
                f"with render.ambient {self.ambient}; lower one or raise the other"
            )
            raise ValueError(message)
        if not 1e-6 <= max(map(abs, self.light)) <= 1e6:
            message = f"render.light: found {self.light}, expected a direction of a length from 1e-6 to 1e6"
            raise ValueError(message)
        return self


class BodiesSection(_Section):
    """The target, which is body 0, and the bodies beside it."""

    distractors: CountOrRange = (0, 0)
    """Fewest and most bodies that are there during the whole clip, besides the target; drawn for each row. A row has at
    most 254 bodies."""

    transients: CountOrRange = (0, 0)
    """Fewest and most bodies that are there for a few frames only; drawn for each row."""

    transient_frames: CountOrRange = (1, 3)
    """Fewest and most successive frames for which a transient is there; drawn for each body. At least 1, at most the
    frames of the clip."""

    shapes: Annotated[tuple[Shape, ...], Field(strict=False, min_length=1)] = ("sphere",)
    """Shapes of all bodies, including the target; drawn for each body. A body's radius is that of the sphere around
    it."""

    orientation: Literal["fixed", "tumbling"] = "fixed"
    """Whether a body keeps its orientation or turns around an axis. Orientation, axis and rate are drawn for each
    body."""

    motion: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("Still",)
    """Families of the paths of distractors and transients; drawn for each body."""

    clearance: float | None = Field(default=None, ge=0.0, le=1.0)
    """Least distance between the enclosing spheres of the target and of any other body while both are there, world
    units. By default bodies may pass through the target; they may always pass through each other. A body for which no
    such place is found is left out."""

    @field_validator("shapes")
    @classmethod
    def _check_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _check_distinct(names)

    @model_validator(mode="after")
    def _check_bodies(self) -> Self:
        _check_limits("bodies.distractors", self.distractors, least=0, most=BODIES_MAX - 1)
        _check_limits("bodies.transients", self.transients, least=0, most=BODIES_MAX - 1)
        _check_limits("bodies.transient_frames", self.transient_frames, least=1, most=100_000)
        if self.count > BODIES_MAX:
            message = (
                f"bodies.distractors and bodies.transients: found up to {self.count} bodies with the target, "
                f"expected at most {BODIES_MAX}"
            )
            raise ValueError(message)
        return self

    @property
    def count(self) -> int:
        """Most bodies of a row, the target among them."""
        return 1 + self.distractors[1] + self.transients[1]

    @property
    def are_labelled(self) -> bool:
        """Whether a store has columns of bodies: there may be several, or they are not all spheres."""
        return self.count > 1 or self.shapes != ("sphere",)


class BackgroundSection(_Section):
    """What is behind the bodies. It is fixed to the sensor."""

    patterns: Annotated[tuple[Pattern, ...], Field(strict=False, min_length=1)] = ("plain",)
    """Patterns; drawn for each row. All but plain mix two colours, both dark or both bright."""

    cell: NumberOrRange = (0.1, 0.3)
    """Smallest and largest size of a checker's square, or distance between the grid points of value noise, as a share
    of the image's shorter side; drawn for each row. From 0.01 to 10."""

    @field_validator("patterns")
    @classmethod
    def _check_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _check_distinct(names)

    @model_validator(mode="after")
    def _check_background(self) -> Self:
        _check_limits("background.cell", self.cell, least=0.01, most=10.0)
        return self


class SensorSection(_Section):
    """What the sensor adds: noise and motion blur."""

    noise: NumberOrRange = (0.0, 0.0)
    """Smallest and largest standard deviation of the noise of each pixel and channel, levels; drawn for each row. From
    0 to 255."""

    blur: NumberOrRange = (0.0, 0.0)
    """Shortest and longest time that the shutter is open, as a share of the time between two frames; drawn for each
    row. Labels describe the middle of that time. From 0 to 1."""

    @model_validator(mode="after")
    def _check_sensor(self) -> Self:
        _check_limits("sensor.noise", self.noise, least=0.0, most=255.0)
        _check_limits("sensor.blur", self.blur, least=0.0, most=1.0)
        return self

    @property
    def is_noisy(self) -> bool:
        """Whether pixels are noisy."""
        return self.noise != (0.0, 0.0)

    @property
    def is_blurred(self) -> bool:
        """Whether what moves is blurred."""
        return self.blur != (0.0, 0.0)


class SplitsSection(_Section):
    """Shares of the splits; they sum to 1."""

    train: float = Field(default=0.70, ge=0.0, le=1.0)
    """Share of the training split."""

    val: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of the validation split."""

    test: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of the test split."""

    first_groups: Annotated[FirstGroups | None, Since("0.2", before="random")] = None
    """Splits of the first groups of rows. ``each`` gives one to train, the next to val and the next to test, unless a
    share is 0, so that small datasets have all splits. ``random`` draws them like all others, as version 0.1 did. By
    default ``each``; a store records the choice."""

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1.0) > 1e-9:
            message = (
                f"splits.train + splits.val + splits.test: found {self.train} + {self.val} + {self.test} "
                f"= {total:.6g}, expected 1"
            )
            raise ValueError(message)
        return self


class StorageSection(_Section):
    """How rows are stored. Does not change what a row holds."""

    samples_per_shard: int | None = Field(default=None, ge=1, le=1_000_000)
    """Samples in one shard, which is one file, one task and one flag. By default about 32 MiB, or less so that there
    are at least 40 shards; a store records the number."""

    compression_level: int = Field(default=COMPRESSION_LEVEL, ge=-100, le=22)
    """Level of the zstd library. The default, −1, takes three quarters of the time of level 1 for 5 % more bytes. The
    encoder ``motion`` does not use it."""

    encoder: Annotated[Literal["motion", "zstd"] | None, Since("0.2", before="zstd")] = None
    """What compresses frames: ``motion``, which the rasterizer tells what has moved, or ``zstd``, the library. Any zstd
    decoder reads both. By default ``motion``, or ``zstd`` if `compression_level` is set; a store records the choice."""

    chunk: Annotated[Literal["camera", "sample"] | None, Since("0.2", before="sample")] = None
    """What is compressed, and so read, in one piece: one camera of a sample, or a whole sample. Pieces of more than 8
    MiB are split into runs of frames. By default ``camera``; a store records the choice."""


class AnnotationsSection(_Section):
    """What is stored about pixels and points on surfaces. Does not change frames and labels."""

    groups: Annotated[tuple[Annotation, ...], Field(strict=False)] = ()
    """Annotations to build with the frames. `trajstore annotate` adds them to a finished store."""

    points: int = Field(default=64, ge=1, le=65_536)
    """Points of each camera that ``tracks`` follows."""

    @field_validator("groups")
    @classmethod
    def _sort(cls, names: tuple[Annotation, ...]) -> tuple[Annotation, ...]:
        _check_distinct(names)
        return tuple(sorted(names, key=ANNOTATIONS.index))


class SpecFields(TypedDict, total=False):
    """Single fields of a spec by name, as `trajstore.build` takes them; `DatasetSpec` says what each means."""

    samples: int
    seed: int
    classes: Sequence[str]
    weights: Sequence[int]
    motion_labels: bool
    families: Sequence[Mapping[str, Any]]
    cameras: int
    frames: int
    height: int
    width: int
    horizon: int
    radius: float | Sequence[float]
    size: float | Sequence[float]
    placement: Literal["free", "matched"]
    path_length: float | Sequence[float]
    distance: float
    elevation: float
    azimuth: float
    margin: float
    azimuth_jitter: float
    elevation_jitter: float
    distance_jitter: float
    roll_jitter: float
    orbit: float | Sequence[float]
    ambient: float
    contrast: int
    light: Sequence[float]
    light_jitter: float
    train: float
    val: float
    test: float
    first_groups: FirstGroups | None
    samples_per_shard: int | None
    compression_level: int
    encoder: Literal["motion", "zstd"] | None
    chunk: Literal["camera", "sample"] | None
    distractors: int | Sequence[int]
    transients: int | Sequence[int]
    transient_frames: int | Sequence[int]
    shapes: Sequence[Shape]
    orientation: Literal["fixed", "tumbling"]
    motion: Sequence[str]
    clearance: float | None
    patterns: Sequence[Pattern]
    cell: float | Sequence[float]
    noise: float | Sequence[float]
    blur: float | Sequence[float]
    groups: Sequence[Annotation]
    points: int


class DatasetSpec(_Section):
    """Everything that decides a dataset.

    Examples
    --------
    >>> spec = DatasetSpec.from_fields(samples=100, seed=7, frames=16)
    >>> spec.video.frames
    16
    >>> spec.fingerprint == DatasetSpec.from_fields(samples=200, seed=7, frames=16).fingerprint
    True
    >>> spec
    DatasetSpec.from_fields(samples=100, seed=7, frames=16)
    """

    dataset: DatasetSection = DatasetSection()
    video: VideoSection = VideoSection()
    scene: SceneSection = SceneSection()
    camera: CameraSection = CameraSection()
    render: RenderSection = RenderSection()
    splits: SplitsSection = SplitsSection()
    storage: StorageSection = StorageSection()
    bodies: Annotated[BodiesSection, Since("0.2")] = BodiesSection()
    background: Annotated[BackgroundSection, Since("0.2")] = BackgroundSection()
    sensor: Annotated[SensorSection, Since("0.2")] = SensorSection()
    annotations: Annotated[AnnotationsSection, Since("0.2")] = AnnotationsSection()

    @model_validator(mode="after")
    def _check_bodies(self) -> Self:
        check_names("bodies.motion", self.bodies.motion, self.dataset.families)
        longest = self.bodies.transient_frames[1]
        if self.bodies.transients[1] and longest > self.video.frames:
            message = (
                f"bodies.transient_frames: found up to {longest} frames, "
                f"expected at most the {self.video.frames} of the clip"
            )
            raise ValueError(message)
        return self

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, source: str = "spec") -> Self:
        """Build a spec from nested sections as TOML or JSON give them.

        Parameters
        ----------
        data : mapping
            ``{"video": {"frames": 16}, …}``; what is left out keeps its default.
        source : str
            Where the data came from, for messages.

        Returns
        -------
        DatasetSpec
            The spec.

        Raises
        ------
        SpecError
            If a field is unknown or a value invalid; the message names every such field.
        """
        data = _record_families(data, source)
        try:
            # through JSON, where an array is a tuple but 1.0 is no integer and "1" no number
            return cls.model_validate_json(json.dumps(data, default=_to_plain))
        except ValidationError as error:
            message = f"{source}: {'; '.join(describe_invalid(error, cls, advise))}"
            raise SpecError(message) from None

    @classmethod
    def from_any(cls, spec: SpecLike) -> Self:
        """Take a spec in any form: as it is, as nested sections, or from a file.

        Parameters
        ----------
        spec : DatasetSpec, mapping or path-like
            A spec; what `from_mapping` takes; or what `from_file` reads.

        Returns
        -------
        DatasetSpec
            The spec.

        Raises
        ------
        SpecError
            If it is something else, or `from_mapping` or `from_file` refuses it.

        Examples
        --------
        >>> DatasetSpec.from_any({"video": {"frames": 16}})
        DatasetSpec.from_fields(frames=16)
        """
        if isinstance(spec, cls):
            return spec
        if isinstance(spec, Mapping):
            return cls.from_mapping(spec)
        if isinstance(spec, str | Path):
            return cls.from_file(spec)
        message = (
            f"spec: found {type(spec).__name__}, expected a DatasetSpec, the path of a TOML or JSON file, or sections "
            'such as {"video": {"frames": 16}}'
        )
        raise SpecError(message)

    @classmethod
    def from_fields(cls, **fields: Unpack[SpecFields]) -> Self:
        """Build a spec from field names alone; each name occurs in one section only.

        Parameters
        ----------
        **fields
            Such as ``samples=100, frames=16``; what is left out keeps its default.

        Returns
        -------
        DatasetSpec
            The spec.

        Raises
        ------
        SpecError
            If a field is unknown or a value invalid.
        """
        return cls().replace(**fields)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a spec from a TOML file, or from a JSON file if its name ends in ``.json``.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        DatasetSpec
            The spec.

        Raises
        ------
        SpecError
            If the file cannot be read or parsed, or the spec is invalid.
        """
        path = Path(path)
        if path.suffix in {".yaml", ".yml"}:
            message = f"spec file {path}: found YAML, expected TOML or JSON; to see what one looks like: trajstore spec"
            raise SpecError(message)
        kind = "JSON" if path.suffix == ".json" else "TOML"
        try:
            text = path.read_text(encoding="utf-8")
            data = json.loads(text) if kind == "JSON" else tomllib.loads(text)
        except OSError as error:
            message = f"spec file {path}: {error.strerror}; expected a readable {kind} file"
            raise SpecError(message) from None
        except ValueError as error:  # both parsers and the UTF-8 decoder raise subclasses
            message = f"spec file {path}: not valid {kind}: {error}"
            raise SpecError(message) from None
        if not isinstance(data, dict):
            message = f"spec file {path}: found {type(data).__name__}, expected sections such as [video]"
            raise SpecError(message)
        return cls.from_mapping(data, source=f"spec file {path}")

    def to_toml(self, comments: bool = False) -> str:
        """Write the spec as TOML, which `from_file` reads back as the same spec.

        Parameters
        ----------
        comments : bool
            Also say above each field what it means, what it may be and what it is by default, and write those fields
            as well that change nothing as they are.

        Returns
        -------
        str
            Sections with one field a line.

        Examples
        --------
        >>> text = DatasetSpec.from_fields(samples=100, seed=7).to_toml()
        >>> print(text[:32])
        [dataset]
        samples = 100
        seed = 7
        """
        return render_commented(self) if comments else render_toml(self)

    def replace(self, **fields: Unpack[SpecFields]) -> Self:
        """Copy with some fields changed, by field name.

        Parameters
        ----------
        **fields
            Such as ``samples=100, frames=16``.

        Returns
        -------
        DatasetSpec
            The changed copy, checked anew.

        Raises
        ------
        SpecError
            If a field is unknown or a value invalid.
        """
        data = self.model_dump(mode="json")
        section_of = {path[-1]: path[0] for path, _ in self.walk()}
        for name, value in fields.items():
            if name not in section_of:
                known = f", expected some of {', '.join(section_of)}{suggest(name, list(section_of))}"
                message = f"unknown field {name!r}{advise([name]) or known}"
                raise SpecError(message)
            data.setdefault(section_of[name], {})[name] = value
        spec = self.from_mapping(data)
        return spec if "families" in fields else spec._forget_unused_families()

    def _forget_unused_families(self) -> Self:
        """The spec without records of families that it does not name any more: equal rows, equal fingerprints."""
        records = {record.name: record for record in self.dataset.families}
        used = dict.fromkeys((*self.dataset.classes, *self.bodies.motion))
        families = tuple(records[name] for name in used if name in records)
        return self.model_copy(update={"dataset": self.dataset.model_copy(update={"families": families})})

    def walk(self) -> Iterator[tuple[tuple[str, str], Any]]:
        """Iterate over all fields.

        Yields
        ------
        tuple
            ``(section, field), value``.
        """
        for section, values in self:
            for name, value in values:
                yield (section, name), to_jsonable_python(value)

    @property
    def changes(self) -> dict[tuple[str, str], Any]:
        """The fields that differ from their defaults, as `walk` gives them."""
        default = dict(type(self)().walk())
        return {path: value for path, value in self.walk() if value != default[path]}

    def __repr__(self) -> str:
        """What `from_fields` makes the spec from."""
        changes = ", ".join(f"{path[-1]}={value!r}" for path, value in self.changes.items())
        return f"{type(self).__name__}.from_fields({changes})" if changes else f"{type(self).__name__}()"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """A table of the fields that have another value than by default, for notebooks."""
        default = dict(type(self)().walk())
        rows = "".join(
            f"<tr><td>{'.'.join(path)}</td><td>{escape(repr(value))}</td><td>{escape(repr(default[path]))}</td></tr>"
            for path, value in self.changes.items()
        )
        head = "<tr><th>field</th><th>value</th><th>default</th></tr>"
        body = f"<table>{head}{rows}</table>" if rows else "<p>All fields have their defaults.</p>"
        return f"<b>{type(self).__name__}</b>{body}"

    def differences(self, other: Self) -> list[str]:
        """Name every field in which another spec differs.

        Parameters
        ----------
        other : DatasetSpec
            The spec to compare with.

        Returns
        -------
        list of str
            ``"video.frames: 32 stored, 16 given"`` for each differing field.
        """
        return [
            f"{'.'.join(path)}: {mine!r} stored, {theirs!r} given"
            for (path, mine), (_, theirs) in zip(self.walk(), other.walk(), strict=True)
            if mine != theirs
        ]

    @property
    def content(self) -> dict[str, Any]:
        """What decides a row: the spec without its size, storage and annotations, and the generator's version.

        A field that was added after 0.1 is part of it only where it has another value than 0.1 had without it.
        """
        data = self.model_dump(mode="json")
        del data["dataset"]["samples"], data["storage"]
        data.pop("annotations", None)  # they follow from the row
        data["splits"].setdefault("first_groups", DEFAULT_FIRST_GROUPS)
        return {"generator_version": GENERATOR_VERSION, **leave_out_before(data)}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `content`, in hexadecimal: equal fingerprints mean equal rows."""
        canonical = json.dumps(self.content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def complete(data: Any) -> Any:
    """Data of a spec as some version has written it, with the values that were fixed before a field was added."""
    if isinstance(data, dict):
        for section, before in _BEFORE.items():
            if isinstance(fields := data.get(section, {}), dict):
                data = {**data, section: before | fields}
    return data


def leave_out_before(data: dict[str, Any]) -> dict[str, Any]:
    """Data of a spec without what versions that do not know a field make of it anyway: they read the rest."""
    return {
        section: {
            name: value
            for name, value in fields.items()
            if name not in _BEFORE.get(section, {}) or value != _BEFORE[section][name]
        }
        for section, fields in data.items()
    }


_BEFORE: Final = {
    section: before
    for section, values in DatasetSpec()
    if (
        before := {
            name: mark.before
            for name, field in type(values).model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Since) and mark.before is not None
        }
    )
}
"""Fields, by section, with the values that specs have which older versions have written."""

WrittenSpec = Annotated[DatasetSpec, BeforeValidator(complete)]
"""A spec that trajstore has written itself, maybe an older version."""

SpecLike = DatasetSpec | Mapping[str, Any] | str | Path
"""A spec in any form; `DatasetSpec.from_any` takes it."""


def _record_families(data: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Data of a spec with what families of one's own are; those that it does not record yet are imported."""
    dataset = data.get("dataset", {})
    records = dataset.get("families", []) if isinstance(dataset, Mapping) else None
    if not isinstance(records, list | tuple) or not all(isinstance(record, Mapping) for record in records):
        return data  # refused when it is checked
    records = list(records)
    for section, field in (("dataset", "classes"), ("bodies", "motion")):
        names = data[section].get(field) if isinstance(data.get(section), Mapping) else None
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            continue
        try:
            known = [record.get("name") for record in records]
            found = record_families(name for name in dict.fromkeys(names) if name not in known)
        except SpecError as error:
            message = f"{source}: {section}.{field}: {error}"
            raise SpecError(message) from None
        records += [record.model_dump() for record in found]
    return {**data, "dataset": {**dataset, "families": records}} if records else data


def _to_plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's; anything else, such as a TOML date, as text that is then refused."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
