"""The format ``pt``: a tensor file for PyTorch, a JSON label and a file of annotations for each sample.

A tensor file is what ``torch.save`` writes: a zip archive whose only large record is the tensor's memory. Files of one
shape and dtype differ in that record, its CRC-32, and an identifier that hashes the CRCs. So one file is made by
``torch.save``, and the others by putting another tensor into its bytes, which takes a quarter of the time.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import SpecError
from trajstore.exporters.interface import BadFileError, Bytes, Decoded, Dtype, Encoder, Format, Part
from trajstore.exporters.pt_names import LAYOUTS, TRAJ, find_layout, name_sample, name_stem
from trajstore.exporters.read_pt import read_sample
from trajstore.exporters.records import Label, Source
from trajstore.exporters.traj import make_traj_label

_IDENTIFIER: Final = ".data/serialization_id"


class TorchFiles(Format):
    """``videos/sample_NNNN.pt``, ``labels/sample_NNNN.json``, and where there are any ``annotations/sample_NNNN.pt``.

    The layout ``traj`` is that of training code of one camera: ``videos/traj_NNNNN.pt`` without a dimension of cameras,
    and labels as `trajstore.exporters.traj.TrajLabel` says. See `trajstore.exporters.Format`.
    """

    summary = (
        "a .pt tensor and a .json label per sample, for PyTorch; traj: one camera, float32, plain labels"
    )
    options: Mapping[str, tuple[str, ...]] = {"layout": LAYOUTS}
    extra = "torch"
    holds_annotations = True
    is_assembled = False

    def list_dtypes(self, options: Mapping[str, str]) -> tuple[Dtype, ...]:
        """Both; of the layout traj float32 only, which is what its readers compute with."""
        return ("float32",) if find_layout(options) == TRAJ else ("uint8", "float32")

    def list_packages(self, _: Mapping[str, str]) -> tuple[str, ...]:
        """PyTorch."""
        return ("torch",)

    def check(self, source: Source) -> None:
        """Refuse what the layout traj has no room for: several cameras, and more columns."""
        cameras = source.tensor_shape[0]
        if find_layout(source.options) == TRAJ and source.columns:
            message = (
                f"columns: found {', '.join(source.columns)}, expected none with --layout {TRAJ}, whose labels have "
                "fixed fields"
            )
            raise SpecError(message)
        if find_layout(source.options) == TRAJ and cameras != 1:
            message = (
                f"cameras: found {cameras}, expected 1 with --layout {TRAJ}; choose one with --cameras 0"
            )
            raise SpecError(message)

    def plan(self, rows: NDArray[np.int64], _: NDArray[np.int8], source: Source) -> list[Part]:
        """A part for each row."""
        return [Part((row,), name_files(row, source)) for row in rows.tolist()]

    def make_encoder(self, source: Source) -> Encoder:
        """Make an encoder for one thread."""
        return _TorchEncoder(source)

    def decode(self, folder: Path, part: Part, source: Source) -> Iterator[Decoded | BadFileError]:
        """Read a sample, whatever of its files can be read."""
        return read_sample(folder, part, find_layout(source.options))


def name_files(row: int, source: Source) -> tuple[str, ...]:
    """Names of a sample's files: the tensor, the label, then the annotations."""
    return name_sample(name_stem(row, find_layout(source.options)), has_annotations=bool(source.annotations))


class TensorFile(Protocol):
    """The bytes of a tensor file, for one tensor after the other."""

    values: NDArray[np.generic]
    """The tensor's memory: fill it, then call `render`."""

    def render(self) -> Bytes:
        """The bytes of the file that holds `values`; valid until the next call."""
        ...


class _TorchEncoder(Encoder):
    """Puts a sample into a tensor file, its label into JSON, and its annotations into a file of several tensors."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._is_traj = find_layout(source.options) == TRAJ
        shape = source.tensor_shape[1:] if self._is_traj else source.tensor_shape
        self._file = file = make_tensor_file(shape, source.tensor_dtype)
        is_direct = file.values.dtype == np.uint8
        self.frames: NDArray[np.uint8] = (
            file.values.view(np.uint8) if is_direct else np.empty(source.tensor_shape, np.uint8)
        )
        self.annotations: Mapping[str, NDArray[Any]] = make_arrays(source)

    def encode(self, part: Part, labels: Iterator[Label]) -> Iterator[tuple[str, Bytes]]:
        """Make the files of a sample."""
        label = next(labels)
        video, text, *annotations = part.files
        values = self._file.values
        if values.dtype == np.float32:
            np.divide(self.frames.reshape(values.shape), np.float32(255.0), out=values)
        yield video, self._file.render()
        source = self._source
        written = make_traj_label(label, source.spec, source.cameras) if self._is_traj else label
        yield text, written.to_json()
        for name in annotations:
            yield name, _save_arrays(self.annotations)


def make_arrays(source: Source) -> dict[str, NDArray[Any]]:
    """Memory for a sample of each array of the annotations."""
    shapes = source.array_shapes
    return {column.name: np.empty(shapes[column.name], column.dtype) for column in source.arrays}


def _save_arrays(arrays: Mapping[str, NDArray[Any]]) -> Bytes:
    """The bytes of a file of tensors by name."""
    import torch

    stream = io.BytesIO()  # a name would become a part of the archive
    torch.save({name: torch.from_numpy(values) for name, values in arrays.items()}, stream)
    return stream.getbuffer()


def make_tensor_file(shape: tuple[int, ...], dtype: Dtype) -> TensorFile:
    """Make what writes tensors as ``torch.save`` does, as fast as this version of PyTorch allows."""
    saved = SavedTensor(shape, dtype)
    try:
        patched = PatchedTensor(bytes(saved.render()), shape, dtype)
    except ValueError:
        return saved
    for file in (saved, patched):
        file.values.reshape(-1)[:] = np.arange(prod(shape)) % 251
    if patched.render() != saved.render():
        return saved
    return patched


class SavedTensor:
    """A tensor file that ``torch.save`` makes each time."""

    def __init__(self, shape: tuple[int, ...], dtype: Dtype) -> None:
        import torch

        self._tensor = torch.zeros(shape, dtype=getattr(torch, dtype))
        self.values: NDArray[np.generic] = self._tensor.numpy()

    def render(self) -> Bytes:
        """The bytes of the file."""
        import torch

        stream = io.BytesIO()  # a name would become a part of the archive
        torch.save(self._tensor, stream)
        return stream.getvalue()


class PatchedTensor:
    """A tensor file into whose bytes one tensor after the other is put."""

    def __init__(self, saved: bytes, shape: tuple[int, ...], dtype: Dtype) -> None:
        self._bytes = bytearray(saved)
        with zipfile.ZipFile(io.BytesIO(saved)) as archive:
            records = archive.infolist()
            *others, last = records
            data = next((record for record in others if record.filename.endswith("/data/0")), None)
            if data is None or not last.filename.endswith(_IDENTIFIER):
                message = "the records have other names"
                raise ValueError(message)
            identifier = archive.read(last)
        size = prod(shape) * np.dtype(dtype).itemsize
        start = _find_content(saved, data)
        if data.file_size != size or data.compress_type != zipfile.ZIP_STORED:
            message = "the tensor's memory is stored in another way"
            raise ValueError(message)
        self._payload = memoryview(self._bytes)[start : start + size]
        self.values: NDArray[np.generic] = np.frombuffer(self._payload, dtype).reshape(shape)
        self._checksums = [0 if record is data else record.CRC for record in others]
        self._changing = others.index(data)
        self._identifier_head = identifier[:20]
        self._identifier_spot = saved.index(identifier, start + size)
        self._checksum_spots = _find_all(saved, data.CRC.to_bytes(4, "little"), start + size)
        self._identifier_checksum_spots = _find_all(saved, last.CRC.to_bytes(4, "little"), start + size)

    def render(self) -> Bytes:
        """The bytes of the file."""
        checksum = zlib.crc32(self._payload)
        self._checksums[self._changing] = checksum
        identifier = self._identifier_head + b"%020d" % _combine(self._checksums)
        self._put(self._checksum_spots, checksum.to_bytes(4, "little"))
        self._put([self._identifier_spot], identifier)
        self._put(self._identifier_checksum_spots, zlib.crc32(identifier).to_bytes(4, "little"))
        return memoryview(self._bytes)

    def _put(self, spots: list[int], data: bytes) -> None:
        """Put some bytes into the file."""
        for spot in spots:
            self._bytes[spot : spot + len(data)] = data


def _find_content(archive: bytes, record: zipfile.ZipInfo) -> int:
    """Where the content of a record begins: behind its header, its name and padding."""
    at = record.header_offset
    name, extra = archive[at + 26 : at + 28], archive[at + 28 : at + 30]
    return at + 30 + int.from_bytes(name, "little") + int.from_bytes(extra, "little")


def _find_all(data: bytes, part: bytes, start: int) -> list[int]:
    """All places of some bytes."""
    places = []
    while (start := data.find(part, start)) >= 0:
        places.append(start)
        start += len(part)
    return places


def _combine(checksums: list[int]) -> int:
    """PyTorch's hash of a file's checksums, ``c10::hash_combine``."""
    seed = 0
    for checksum in checksums:
        seed ^= (checksum + 0x9E3779B9 + (seed << 6) + (seed >> 2)) & (2**64 - 1)
    return seed
