"""What a format does: name the files of a sample, and make their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trajstore.exporters.records import Label, Source

Dtype = Literal["uint8", "float32"]
Bytes = bytes | bytearray | memoryview


class Encoder(Protocol):
    """Makes the files of one sample after the other; each thread has its own."""

    frames: NDArray[np.uint8]
    """(cameras, frames, 3, height, width) uint8: the caller puts a sample here, then calls `encode`."""

    annotations: Mapping[str, NDArray[Any]]
    """Where its annotations are put, by the names of their arrays: those that the source names."""

    def encode(self, row: int, label: Label) -> Iterable[tuple[str, Bytes]]:
        """Make the files of the sample that is in `frames` and `annotations`."""
        ...


class Format(Protocol):
    """A way to write samples into a folder."""

    folders: tuple[str, ...]
    """The folders below the target that its files may lie in."""

    packages: tuple[str, ...]
    """The packages that it needs, whose versions decide the bytes of its files."""

    def check_installed(self) -> None:
        """Check that the packages it needs are there."""
        ...

    def name_files(self, row: int, source: Source) -> tuple[str, ...]:
        """Names of a sample's files."""
        ...

    def measure_files(self, source: Source) -> tuple[int, ...]:
        """About how large a sample's files are, rather more than less."""
        ...

    def make_encoder(self, source: Source) -> Encoder:
        """Make an encoder for one thread."""
        ...
