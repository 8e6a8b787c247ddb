"""The format ``frames``: a picture for each frame of each camera, for people who look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajstore.exporters.codecs import LABEL_BYTES_MAX, OVERHEAD_BYTES_MAX, decode_png, encode_png, read_file
from trajstore.exporters.interface import BadFileError, Bytes, Decoded, Dtype, Encoder, Format, Part
from trajstore.exporters.records import Label, Source
from trajstore.text import describe_invalid

FRAME_FOLDER: Final = "frames"
LABEL_FOLDER: Final = "labels"


class FramePictures(Format):
    """``frames/00000012/camera_0_frame_01.png``, ``labels/sample_0012.json``; frames are numbered from 1.

    See `trajstore.exporters.Format`.
    """

    summary = "a .png per frame and camera and a .json label per sample, to look at"
    options: Mapping[str, tuple[str, ...]] = {}
    extra = "video"
    holds_annotations = False
    is_assembled = False

    def list_dtypes(self, _: Mapping[str, str]) -> tuple[Dtype, ...]:
        """The types of frames that it holds."""
        return ("uint8",)

    def list_packages(self, _: Mapping[str, str]) -> tuple[str, ...]:
        """Pillow."""
        return ("pillow",)

    def plan(self, rows: NDArray[np.int64], _: NDArray[np.int8], source: Source) -> list[Part]:
        """A part for each row."""
        return [Part((row,), name_files(row, source)) for row in rows.tolist()]

    def make_encoder(self, source: Source) -> Encoder:
        """Make an encoder for one thread."""
        return _FrameEncoder(source)

    def decode(self, folder: Path, part: Part, source: Source) -> Iterator[Decoded]:
        """Read a sample."""
        frames = np.empty(source.tensor_shape, np.uint8)
        *names, text = part.files
        pictures = frames.reshape(-1, *frames.shape[2:])
        most = pictures[0].nbytes + OVERHEAD_BYTES_MAX
        for name, picture in zip(names, pictures, strict=True):
            picture[...] = decode_png(read_file(folder, name, most), picture.shape, path=name)
        try:
            label = Label.model_validate_json(read_file(folder, text, LABEL_BYTES_MAX))
        except ValidationError as error:
            raise BadFileError(describe_invalid(error)[0], path=text, code="invalid") from None
        yield Decoded(part.rows[0], frames, label, {}, {})


def name_files(row: int, source: Source) -> tuple[str, ...]:
    """Names of a sample's files: the frames of each camera, then the label."""
    cameras, frames, *_ = source.tensor_shape
    return (
        *(
            f"{FRAME_FOLDER}/{row:08d}/camera_{camera}_frame_{frame:02d}.png"
            for camera in source.cameras or range(cameras)
            for frame in range(1, frames + 1)
        ),
        f"{LABEL_FOLDER}/sample_{row:04d}.json",
    )


class _FrameEncoder(Encoder):
    """Makes the pictures of a sample, and its label."""

    def __init__(self, source: Source) -> None:
        self.frames: NDArray[np.uint8] = np.empty(source.tensor_shape, np.uint8)
        self.annotations: Mapping[str, NDArray[Any]] = {}

    def encode(self, part: Part, labels: Iterator[Label]) -> Iterator[tuple[str, Bytes]]:
        """Make the files of a sample."""
        label = next(labels)
        *names, text = part.files
        pictures = self.frames.reshape(-1, *self.frames.shape[2:])
        for name, picture in zip(names, pictures, strict=True):
            yield name, encode_png(picture)
        yield text, label.to_json()
