"""The format ``webdataset``: tar files of some hundred samples each, read one after the other.

The members of a sample have its row as their name up to the first dot, and what they are behind it: ``.json``,
``.camera0.npy`` or ``.camera0.mp4``, and ``.flow.npy`` and the like of annotations.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.exporters.codecs import (
    HEADER_BYTES_MAX,
    LABEL_BYTES_MAX,
    OVERHEAD_BYTES_MAX,
    check_video,
    decode_npy,
    decode_video,
    encode_npy,
    encode_video,
    explain_unreadable,
)
from trajstore.exporters.even_labels import parse_even, render_even
from trajstore.exporters.interface import BadFileError, Bytes, Decoded, Dtype, Encoder, Format, Part
from trajstore.exporters.pt import make_arrays
from trajstore.exporters.records import Label, Source
from trajstore.scene.order import SPLIT_NAMES

SHARD_BYTES: Final = 256 * 10**6
"""About as large are the tar files, and not larger."""

SHARD_ROWS_MAX: Final = 1000

VIDEO_SHARE: Final = 0.1
"""Videos are taken to need as much of what their frames need in memory; most need less."""


class WebDataset(Format):
    """``train-000000.tar`` and so on for each split, numbered in the order of the split's rows.

    See `trajstore.exporters.Format`.
    """

    summary = "tar files of samples per split, for webdataset and datasets; exact, or small with --video mp4"
    options: Mapping[str, tuple[str, ...]] = {"video": ("npy", "mp4")}
    extra = "video"
    holds_annotations = True
    is_assembled = False

    def list_dtypes(self, options: Mapping[str, str]) -> tuple[Dtype, ...]:
        """The types of frames that it holds."""
        return ("uint8", "float32") if _is_exact(options) else ("uint8",)

    def list_packages(self, options: Mapping[str, str]) -> tuple[str, ...]:
        """PyAV, for videos."""
        return () if _is_exact(options) else ("av",)

    def is_exact(self, options: Mapping[str, str]) -> bool:
        """Arrays do, videos do not."""
        return _is_exact(options)

    def check(self, source: Source) -> None:
        """Refuse videos of sizes that their codec does not know."""
        if _is_exact(source.options):
            return
        check_video("mp4", source.tensor_shape, instead="--video npy")

    def plan(self, rows: NDArray[np.int64], splits: NDArray[np.int8], source: Source) -> list[Part]:
        """A part for each tar file."""
        each = count_rows(source)
        parts = []
        for number, split in enumerate(SPLIT_NAMES):
            chosen = rows[splits == number]
            for shard, first in enumerate(range(0, len(chosen), each)):
                some = tuple(chosen[first : first + each].tolist())
                parts.append(Part(some, (f"{split}-{shard:06d}.tar",)))
        return parts

    def make_encoder(self, source: Source) -> Encoder:
        """Make an encoder for one thread."""
        return _TarEncoder(source)

    def decode(self, folder: Path, part: Part, source: Source) -> Iterator[Decoded]:
        """Read the samples of a tar file."""
        (name,) = part.files
        try:
            with (folder / name).open("rb") as file:
                for row in part.rows:
                    yield _decode_sample(file, row, source, name)
                if any(file.read(tarfile.BLOCKSIZE)):
                    message = "found more samples than expected"
                    raise BadFileError(message, path=name, code="shape")
        except OSError as error:
            raise explain_unreadable(error, name) from None


def count_rows(source: Source) -> int:
    """How many samples a tar file holds: it does not depend on how many there are."""
    size: float = prod(source.tensor_shape) * np.dtype(source.tensor_dtype).itemsize
    if not _is_exact(source.options):
        size *= VIDEO_SHARE
    shapes = source.array_shapes
    size += sum(prod(shapes[column.name]) * np.dtype(column.dtype).itemsize for column in source.arrays)
    return max(1, min(SHARD_ROWS_MAX, int(SHARD_BYTES // size)))


class _TarEncoder(Encoder):
    """Puts samples into a tar file, a member after the other."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.frames: NDArray[np.uint8] = np.empty(source.tensor_shape, np.uint8)
        self.annotations: Mapping[str, NDArray[Any]] = make_arrays(source)

    def encode(self, part: Part, labels: Iterator[Label]) -> Iterator[tuple[str, Bytes]]:
        """Make the tar file of some samples."""
        (name,) = part.files
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for row in part.rows:
                label = next(labels)  # of this part only: those of the next may follow
                for member, data in self._list_members(row, label):
                    info = tarfile.TarInfo(member)  # of time 0 and nobody
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
                    yield name, _take(stream)
        yield name, _take(stream)

    def _list_members(self, row: int, label: Label) -> Iterator[tuple[str, bytes]]:
        """The members of a sample."""
        source = self._source
        json, *others = list_members(row, source)
        yield json, render_even(label, row)
        arrays = iter(self.annotations.values())
        for index, member in enumerate(others):
            if index >= len(self.frames):
                yield member, encode_npy(next(arrays))
            elif not _is_exact(source.options):
                yield member, encode_video("mp4", self.frames[index])
            elif source.tensor_dtype == "float32":
                yield member, encode_npy(self.frames[index] / np.float32(255.0))
            else:
                yield member, encode_npy(self.frames[index])


def list_members(row: int, source: Source) -> tuple[str, ...]:
    """Names of a sample's members: the label, the cameras by the store's numbers, then the annotations."""
    ending = source.options.get("video", "npy")
    cameras = source.cameras or range(source.tensor_shape[0])
    return (
        f"{row:08d}.json",
        *(f"{row:08d}.camera{camera}.{ending}" for camera in cameras),
        *(f"{row:08d}.{column.name}.npy" for column in source.arrays),
    )


def _is_exact(options: Mapping[str, str]) -> bool:
    """Whether frames are stored as arrays."""
    return "video" not in options


def _take(stream: io.BytesIO) -> bytes:
    """What was written to a stream, which is empty then."""
    data = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    return data


def _decode_sample(file: BinaryIO, row: int, source: Source, name: str) -> Decoded:
    """Read the members of a sample."""
    shapes, (cameras, *one) = source.array_shapes, source.tensor_shape
    shape, arrays = tuple(one), iter(source.arrays)
    frames = np.empty(source.tensor_shape, source.tensor_dtype)
    annotations: dict[str, NDArray[Any]] = {}
    json, *others = list_members(row, source)
    label = parse_even(_read_member(file, json, LABEL_BYTES_MAX, name), row, path=f"{name}/{json}")
    for index, member in enumerate(others):
        path = f"{name}/{member}"
        if index >= cameras:
            column = next(arrays)
            size = prod(shapes[column.name]) * np.dtype(column.dtype).itemsize
            data = _read_member(file, member, size + HEADER_BYTES_MAX, name)
            annotations[column.name] = decode_npy(data, shapes[column.name], column.dtype, path=path)
        elif _is_exact(source.options):
            data = _read_member(file, member, frames[index].nbytes + HEADER_BYTES_MAX, name)
            frames[index] = decode_npy(data, shape, source.tensor_dtype, path=path)
        else:
            data = _read_member(file, member, frames[index].nbytes + OVERHEAD_BYTES_MAX, name)
            frames[index] = decode_video("mp4", data, shape, path=path)
    return Decoded(row, frames, label, {}, annotations)


def _read_member(file: BinaryIO, member: str, most: int, name: str) -> bytes:
    """Read the next member, which must have a name and no more bytes than it may."""
    block, path = file.read(tarfile.BLOCKSIZE), f"{name}/{member}"
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        message = f"no member of a tar file: {error}"
        raise BadFileError(message, path=path, code="unreadable") from None
    if info.name != member or info.type != tarfile.REGTYPE:
        message = f"found {info.name!r}, expected {member!r}"
        raise BadFileError(message, path=path, code="unreadable")
    if not 0 <= info.size <= most:
        detail = f"found {info.size:,} bytes, expected at most {most:,}"
        raise BadFileError(detail, path=path, code="unreadable")
    data = file.read(info.size)
    padding = -info.size % tarfile.BLOCKSIZE
    if len(data) != info.size or len(file.read(padding)) != padding:
        message = "the tar file is cut off"
        raise BadFileError(message, path=path, code="unreadable")
    return data
