"""Annotations: what is known of each pixel and of points on surfaces; each camera of a sample compressed on its own.

All of them are filled in one pass over a row, in shards of the same rows as those of the frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.spec import Annotation, DatasetSpec
from trajstore.store.columns import FRAME_NOTE, Column, ColumnGroup
from trajstore.store.groups.video import count_frames, settle_storage

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

    from trajstore.scene.scene import Scene  # imports numba, which reading does without

PIXEL_BYTES_MAX: Final = 12
"""Bytes of a pixel in the largest array: chunks of all arrays have the same frames, whichever of them a store has."""

MIDDLE: Final = "of the middle of the shutter, without blur and noise"


@dataclass(frozen=True)
class Array:
    """One array of an annotation: its dimensions after the sample, what is there before it is written, its meaning."""

    name: str
    dims: str
    dtype: str
    fill: float
    long_name: str
    comment: str
    units: str = ""


ARRAYS: Final[dict[Annotation, tuple[Array, ...]]] = {
    "segmentation": (
        Array(
            "segmentation", "camera frame y x", "uint8", 255, "body that the pixel's centre sees",
            f"0: background, otherwise index of the body + 1; {MIDDLE}; 255: not written; {FRAME_NOTE}",
        ),
    ),
    "depth_map": (
        Array(
            "depth_map", "camera frame y x", "float32", nan, "z of the surface that the pixel's centre sees",
            f"along z of the camera's frame, not along the ray; infinite where there is background; {MIDDLE}; "
            f"NaN: not written; {FRAME_NOTE}", "world units",
        ),
    ),
    "flow": (
        Array(
            "forward_flow", "camera frame uv y x", "float32", nan,
            "how far the surface point that the pixel's centre sees moves to the next frame",
            "u right, v down; motion of bodies and cameras; 0 where there is background; NaN in the last frame and "
            f"where not written; {MIDDLE}; {FRAME_NOTE}", "px",
        ),
        Array(
            "backward_flow", "camera frame uv y x", "float32", nan,
            "how far the surface point that the pixel's centre sees moves back to the previous frame",
            "u right, v down; motion of bodies and cameras; 0 where there is background; NaN in the first frame and "
            f"where not written; {MIDDLE}; {FRAME_NOTE}", "px",
        ),
    ),
    "normals": (
        Array(
            "normals", "camera frame axis y x", "float32", nan,
            "outward normal of the surface that the pixel's centre sees",
            "unit vector in the camera's frame: x right, y down, z forward; 0, 0, 0 where there is background; "
            f"{MIDDLE}; NaN: not written; {FRAME_NOTE}",
        ),
    ),
    "amodal": (
        Array(
            "amodal", "body camera frame y x", "bool", False,
            "whether the pixel's centre is inside the body's silhouette",
            f"also where another body hides it; {MIDDLE}; false where not written; body 0 is the target; {FRAME_NOTE}",
        ),
    ),
    "tracks": (
        Array(
            "query_points", "camera point tyx", "float32", nan, "where each point on a surface is seen",
            "t: index of the frame, counted from 0; y down, x right, px, pixel centres at half-integers; "
            "NaN: not written",
        ),
        Array(
            "target_points", "camera point frame xy", "float32", nan, "where the point is at each frame",
            f"x right, y down; pixel centres at half-integers; {MIDDLE}; NaN: not written; {FRAME_NOTE}", "px",
        ),
        Array(
            "occluded", "camera point frame", "bool", True, "whether the point cannot be seen at that frame",
            f"hidden by a body or outside the picture; true where not written; {FRAME_NOTE}",
        ),
    ),
}  # fmt: skip
"""The arrays of each annotation, in the order in which a store has them."""


def define_annotations(spec: DatasetSpec) -> Iterator[ColumnGroup]:
    """The annotations that a spec asks for, a shard of each array in a task."""
    spec = settle_storage(spec)
    rows = spec.storage.samples_per_shard
    assert rows is not None  # it is settled
    compress = compress_spans if spec.storage.encoder == "motion" else compress_drawn
    for name in spec.annotations.groups:
        yield ColumnGroup(
            name,
            tuple(_define_column(spec, array, rows) for array in ARRAYS[name]),
            spec.dataset.samples,
            rows,
            draw_annotation,
            flag_dim=f"{name}_shard",
            compress=compress,
        )


def draw_annotation(
    scene: Scene, column: Column, rows: slice, part: tuple[slice, ...], out: NDArray[Any]
) -> NDArray[Any]:
    """Draw a part of an annotation; see `trajstore.store.columns.Draw`."""
    cameras, frames, inside = _split(column, part)
    for place, index in enumerate(range(rows.start, rows.stop)):
        out[place] = scene.annotate(index, (column.name,), cameras, frames)[column.name][inside]
    return out


def compress_spans(
    scene: Scene, columns: Sequence[Column], row: int, compressor: ZstdCompressor
) -> dict[str, list[bytes]]:
    """Compress what is seen of bodies, and draw the rest; see `trajstore.store.columns.Compress`."""
    dense = {column.name: column for column in columns if "y" in column.dims}
    compressed = compress_drawn(scene, [one for one in columns if one.name not in dense], row, compressor)
    if dense:
        column = next(iter(dense.values()))
        sizes = dict(zip(column.dims, column.chunk_shape, strict=True))
        compressed |= scene.compress_annotations(row, tuple(dense), (sizes["camera"], sizes["frame"]))
    return compressed


def compress_drawn(
    scene: Scene, columns: Sequence[Column], row: int, compressor: ZstdCompressor
) -> dict[str, list[bytes]]:
    """Draw at once what has the same cameras and frames, then compress it; see `trajstore.store.columns.Compress`."""
    chunks: dict[tuple[int | None, ...], list[tuple[Column, int, tuple[slice, ...]]]] = {}
    for column in columns:
        for number, part in enumerate(column.parts):
            cameras, frames, inside = _split(column, part)
            view = (cameras.start, cameras.stop, frames.start, frames.stop)
            chunks.setdefault(view, []).append((column, number, inside))
    compressed = {column.name: [b""] * len(column.parts) for column in columns}
    for (first_camera, last_camera, first_frame, last_frame), seen in chunks.items():
        names = {column.name for column, *_ in seen}
        values = scene.annotate(row, names, slice(first_camera, last_camera), slice(first_frame, last_frame))
        for column, number, inside in seen:
            chunk = np.ascontiguousarray(values[column.name][inside])
            # a copy: what the library returns keeps the memory of an incompressible chunk from being used again
            compressed[column.name][number] = bytes(memoryview(compressor.compress(chunk.data)))
    return compressed


def _split(column: Column, part: tuple[slice, ...]) -> tuple[slice, slice, tuple[slice, ...]]:
    """Cameras and frames that `Scene.annotate` is asked for, and which of the values that it gives a part has."""
    dims = column.dims[1:]
    given = {"camera", "frame"} if "y" in dims else {"camera"}  # points are followed through all frames
    where = dict(zip(dims, part, strict=True))
    inside = tuple(slice(None) if dim in given else where[dim] for dim in dims)
    return where["camera"], where["frame"] if "frame" in given else slice(None), inside


def _define_column(spec: DatasetSpec, array: Array, rows: int) -> Column:
    """Describe an array, of which so many rows are in a shard."""
    video, count = spec.video, spec.bodies.count
    sizes = {
        "body": count, "camera": video.cameras, "frame": video.frames, "y": video.height, "x": video.width,
        "uv": 2, "axis": 3, "point": spec.annotations.points, "tyx": 3, "xy": 2,
    }  # fmt: skip
    dims = array.dims.split()
    shape = tuple(sizes[dim] for dim in dims)
    apart: Mapping[str, int] = {}
    if "y" in dims:  # everything else is small
        step = count_frames(video.frames, PIXEL_BYTES_MAX * video.height * video.width)
        apart = {"body": 1, "camera": 1, "frame": step}
    attributes: dict[str, Any] = {
        "long_name": array.long_name,
        "units": array.units,
        "comment": array.comment,
    }
    if array.name == "segmentation":
        attributes["flag_values"] = list(range(count + 1))
        attributes["flag_meanings"] = " ".join(["background", *(f"body_{body}" for body in range(count))])
    return Column(
        name=array.name,
        dims=("sample", *dims),
        shape=(spec.dataset.samples, *shape),
        chunk_shape=(1, *(apart.get(dim, sizes[dim]) for dim in dims)),
        dtype=array.dtype,
        fill_value=array.fill,
        attributes={key: value for key, value in attributes.items() if value},
        shard_shape=(rows, *shape),
    )
