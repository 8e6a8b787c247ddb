"""The format ``videofolder``: a video for each camera of each sample, and labels as lines of a file for each split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.exporters.codecs import (
    LABEL_BYTES_MAX,
    OVERHEAD_BYTES_MAX,
    check_video,
    decode_video,
    encode_video,
    explain_unreadable,
    read_file,
)
from trajstore.exporters.even_labels import parse_even, render_even
from trajstore.exporters.interface import BadFileError, Bytes, Decoded, Dtype, Encoder, Export, Format, Part
from trajstore.exporters.records import Label, Source, read_labels
from trajstore.scene.order import SPLIT_NAMES
from trajstore.storage.durable import publish_all

LABEL_FILE: Final = "metadata.jsonl"
LABEL_ROWS: Final = 1000
"""Labels that are read from the store at a time."""


class VideoFolder(Format):
    """``train/00000012_camera0.mp4`` and ``train/metadata.jsonl``, and so on for each split.

    See `trajstore.exporters.Format`.
    """

    summary = (
        "a video per camera and a line of labels per sample, for datasets and players; exact with --video mkv"
    )
    options: Mapping[str, tuple[str, ...]] = {"video": ("mp4", "mkv")}
    extra = "video"
    holds_annotations = False
    is_assembled = False

    def list_dtypes(self, _: Mapping[str, str]) -> tuple[Dtype, ...]:
        """The types of frames that it holds."""
        return ("uint8",)

    def list_packages(self, _: Mapping[str, str]) -> tuple[str, ...]:
        """PyAV."""
        return ("av",)

    def is_exact(self, options: Mapping[str, str]) -> bool:
        """Those of FFV1 do."""
        return "video" in options

    def check(self, source: Source) -> None:
        """Refuse sizes that a codec does not know."""
        codec = _name_codec(source)
        instead = "--format webdataset" if codec == "mkv" else "--video mkv"
        check_video(codec, source.tensor_shape, instead=instead)

    def plan(self, rows: NDArray[np.int64], splits: NDArray[np.int8], source: Source) -> list[Part]:
        """A part for each row."""
        codec, cameras = _name_codec(source), source.cameras or range(source.tensor_shape[0])
        return [
            Part(
                (row,), tuple(f"{SPLIT_NAMES[split]}/{row:08d}_camera{camera}.{codec}" for camera in cameras)
            )
            for row, split in zip(rows.tolist(), splits.tolist(), strict=True)
        ]

    def list_results(self, parts: Sequence[Part], _: Source) -> Iterator[str]:
        """The files of the parts, and the labels of each split."""
        yield from (name for part in parts for name in part.files)
        yield from sorted({f"{_find_split(part)}/{LABEL_FILE}" for part in parts})

    def make_encoder(self, source: Source) -> Encoder:
        """Make an encoder for one thread."""
        return _VideoEncoder(source)

    def finish(self, export: Export) -> None:
        """Write the labels of each split."""
        publish_all(_list_lines(export))

    def decode(self, folder: Path, part: Part, source: Source) -> Iterator[Decoded]:
        """Read a sample."""
        frames = np.empty(source.tensor_shape, np.uint8)
        most = frames[0].nbytes + OVERHEAD_BYTES_MAX
        (row,) = part.rows
        for index, name in enumerate(part.files):
            data = read_file(folder, name, most)
            frames[index] = decode_video(_name_codec(source), data, frames[index].shape, path=name)
        label = _read_label(folder, f"{_find_split(part)}/{LABEL_FILE}", row)
        yield Decoded(row, frames, label, {}, {})


class _VideoEncoder(Encoder):
    """Makes the videos of a sample."""

    uses_labels = False

    def __init__(self, source: Source) -> None:
        self._codec = _name_codec(source)
        self.frames: NDArray[np.uint8] = np.empty(source.tensor_shape, np.uint8)
        self.annotations: Mapping[str, NDArray[Any]] = {}

    def encode(self, part: Part, labels: Iterator[Label]) -> Iterator[tuple[str, Bytes]]:
        """Make the files of a sample."""
        next(labels)
        for name, frames in zip(part.files, self.frames, strict=True):
            yield name, encode_video(self._codec, frames)


def _name_codec(source: Source) -> str:
    """The codec, which is also the ending of the files."""
    return source.options.get("video", "mp4")


def _find_split(part: Part) -> str:
    """The folder of a sample."""
    return part.files[0].partition("/")[0]


def _list_lines(export: Export) -> Iterator[tuple[Path, bytes]]:
    """The lines of the files of labels."""
    tally = export.start_tally()
    for split, parts in groupby(sorted(export.parts, key=_find_split), key=_find_split):
        path, chosen = export.folder / split / LABEL_FILE, list(parts)
        for first in range(0, len(chosen), LABEL_ROWS):
            some = chosen[first : first + LABEL_ROWS]
            rows = np.array([part.rows[0] for part in some])
            source = export.source
            labels = read_labels(export.samples, rows, cameras=source.cameras, extra=source.columns)
            for part, label in zip(some, labels, strict=True):
                names = [name.partition("/")[2] for name in part.files]
                yield path, render_even(label, part.rows[0], videos_file_names=names)
            tally.add(len(some), stored_bytes=0)


def _read_label(folder: Path, name: str, row: int) -> Label:
    """Read the label of a row."""
    path = folder / name
    try:
        status = path.stat()
        places = _find_lines(path, status.st_size, status.st_mtime_ns)
        if row not in places:
            message = f"found no line of row {row}"
            raise BadFileError(message, path=name, code="missing")
        with path.open("rb") as file:
            file.seek(places[row])
            return parse_even(file.readline(LABEL_BYTES_MAX), row, path=name)
    except OSError as error:
        raise explain_unreadable(error, name) from None


@lru_cache(maxsize=2 * len(SPLIT_NAMES))
def _find_lines(path: Path, _size: int, _changed: int) -> Mapping[int, int]:
    """Where the lines of rows begin in a file of labels that has a size and was changed at a time."""
    places, at = {}, 0
    with path.open("rb") as file:
        while line := file.readline(LABEL_BYTES_MAX):
            row, comma, _ = line.removeprefix(b'{"row":').partition(b",")
            if comma and row.isdigit() and len(row) < 19:
                places[int(row)] = at
            at += len(line)
    return places
