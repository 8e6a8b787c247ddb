"""What a format does: put samples into parts, name the files of a part, make their bytes, and finish the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trajstore.exporters.records import Label, Source
from trajstore.exporters.traj import TrajLabel
from trajstore.progress import Report, Tally
from trajstore.reading.samples import Samples

Dtype = Literal["uint8", "float32"]
Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Part:
    """Samples that are written together: they count when all of its files are there.

    Attributes
    ----------
    rows : tuple of int
        Rows of the store, in ascending order.
    files : tuple of str
        Names of its files in the folder, with ``/``.
    """

    rows: tuple[int, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """A sample as an exported folder has it.

    Attributes
    ----------
    row : int
        Its row in the store.
    frames : (cameras, frames, 3, height, width) uint8 or float32, or None
        What the cameras see; None where their file is bad.
    label : Label, TrajLabel or None
        Its label; None of a format that has columns instead, and where its file is bad.
    columns : mapping
        Columns of the store by name, of a format that has them.
    annotations : mapping
        Arrays of annotations by name.
    """

    row: int
    frames: NDArray[Any] | None
    label: Label | TrajLabel | None
    columns: Mapping[str, NDArray[Any]]
    annotations: Mapping[str, NDArray[Any]]


class BadFileError(Exception):
    """A file is not what was exported; ``code`` is the last word of one of `trajstore.exporters.faults.FAULTS`."""

    def __init__(self, detail: str, *, path: str, code: str) -> None:
        super().__init__(detail)
        self.path, self.code = path, code


class Encoder(Protocol):
    """Makes the files of one part after the other; each thread has its own."""

    frames: NDArray[np.uint8]
    """(cameras, frames, 3, height, width) uint8: where a sample is put, C-contiguous."""

    uses_labels: bool = True
    """Whether it does anything with labels; if not, they are not made."""

    annotations: Mapping[str, NDArray[Any]]
    """Where its annotations are put, by the names of their arrays: those that the source names."""

    def encode(self, part: Part, labels: Iterator[Label]) -> Iterator[tuple[str, Bytes]]:
        """Make the files of a part in pieces: its files in order, of each one piece or several.

        Each label that is taken (None where `uses_labels` is false) puts the next sample of the part into `frames` and
        `annotations`. A piece may be overwritten once the next is asked for.
        """
        ...


@dataclass(frozen=True)
class Export:
    """An export whose parts are all there.

    Attributes
    ----------
    folder : Path
        Where.
    parts : sequence of Part
        Its parts.
    samples : Samples
        The store's samples.
    source : Source
        What it is made from.
    report : callable
        Receives progress.
    """

    folder: Path
    parts: Sequence[Part]
    samples: Samples
    source: Source
    report: Report

    def start_tally(self) -> Tally:
        """What counts samples that are put together."""
        total = sum(len(part.rows) for part in self.parts)
        return Tally("assemble", self.report, total=total, done=0, raw_bytes_each=0)


class Format(Protocol):
    """A way to write samples into a folder; formats inherit from it what they do not say."""

    summary: str
    """What it is and who reads it, in one line."""

    options: Mapping[str, tuple[str, ...]]
    """Its own options, and the values of each, the default first."""

    extra: str
    """The extra of trajstore that installs what it needs."""

    holds_annotations: bool
    """Whether annotations can be exported, too."""

    is_assembled: bool
    """Whether `finish` puts the parts together, which takes as much room again."""

    def list_dtypes(self, options: Mapping[str, str]) -> tuple[Dtype, ...]:
        """The types of frames that it holds with some options, the usual one first."""
        ...

    def list_packages(self, options: Mapping[str, str]) -> tuple[str, ...]:
        """The packages that it needs with some options, whose versions decide the bytes of its files."""
        ...

    def is_exact(self, options: Mapping[str, str]) -> bool:
        """Whether frames come back bit for bit."""
        return True

    def check(self, source: Source) -> None:
        """Refuse what it cannot hold, such as frames of a size that a codec does not know."""
        return

    def plan(self, rows: NDArray[np.int64], splits: NDArray[np.int8], source: Source) -> list[Part]:
        """Put rows, in ascending order, with the split of each, into parts."""
        ...

    def list_results(self, parts: Sequence[Part], source: Source) -> Iterator[str]:
        """The files of a complete export: by default those of its parts."""
        return (name for part in parts for name in part.files)

    def make_encoder(self, source: Source) -> Encoder:
        """Make an encoder for one thread."""
        ...

    def finish(self, export: Export) -> None:
        """Make what is made of all parts; each file whole or not at all, and again if that was cut off."""
        return

    def decode(self, folder: Path, part: Part, source: Source) -> Iterator[Decoded | BadFileError]:
        """Read the samples of a part of a complete export, in order; nothing in a file is executed.

        Raises `BadFileError` where a file is missing, unreadable or not laid out as it should be; or yields it, and
        then what else there is of the sample.
        """
        ...
