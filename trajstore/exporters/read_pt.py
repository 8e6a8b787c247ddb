"""Read a sample of tensor files and JSON of unknown origin, safely: nothing is executed, and nothing grows in memory.

PyTorch's own ``weights_only`` executes nothing, but it inflates records and makes what a pickle asks for, of any size.
So an archive is looked at before, and pickles may name nothing but what makes tensors.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajstore.exporters.interface import BadFileError, Decoded, Part
from trajstore.exporters.pt_names import ANNOTATION_FOLDER, LABEL_FOLDER, TRAJ, VIDEO_FOLDER
from trajstore.exporters.read_files import explain, read_small
from trajstore.exporters.records import Label
from trajstore.exporters.traj import TrajLabel
from trajstore.text import describe_invalid, format_bytes

if TYPE_CHECKING:
    import torch

TensorFault = Literal["unreadable", "unsafe", "dtype", "storage", "checksum"]

DATA_RECORD: Final = "/data/0"
VIDEO_DTYPES: Final = ("uint8", "float32")
ANNOTATION_DTYPES: Final = ("uint8", "float32", "bool")

LABEL_BYTES: Final = 8 * 2**20
"""A larger label is not read: as objects it takes twenty times as much memory."""

PICKLE_BYTES: Final = 2**20
"""A larger pickle is not read; those of tensors have some hundred bytes."""

OLD_FILE_BYTES: Final = 2**28
"""A larger file that is no archive, as PyTorch wrote before 1.6, is not read: it cannot be mapped."""

OLD_PICKLES: Final = 5
"""Pickles at the start of such a file: two that say what it is, the system, the tensors, their memories' names."""

_END_OF_ARCHIVE: Final = b"PK\x05\x06"
_TENSOR = re.compile(
    r"torch\._utils _rebuild_(tensor(_v2)?|parameter)|torch \w*Storage|collections OrderedDict"
)
"""What the pickle of a tensor names, and of a dictionary of them."""


class BadTensorError(Exception):
    """A file does not hold what is exported."""

    def __init__(self, detail: str, *, code: TensorFault) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True)
class StoredTensors:
    """The tensors of a file, mapped into memory.

    Attributes
    ----------
    values : dict
        Elements of each, by name; of a file that is one tensor, by an empty name.
    """

    values: dict[str, NDArray[Any]]
    path: Path
    is_archive: bool

    def check(self) -> None:
        """Compare all bytes with the file's checksums, which PyTorch does not do when it loads a file."""
        if not self.is_archive:
            return
        only = self.values.get("")
        with zipfile.ZipFile(self.path) as archive:
            for record in archive.infolist():
                if not record.CRC:  # PyTorch can leave it out
                    continue
                if only is not None and record.filename.endswith(DATA_RECORD):
                    checksum = zlib.crc32(only.reshape(-1).view(np.uint8).data)
                else:
                    checksum = zlib.crc32(_read_record(archive, record))
                if checksum != record.CRC:
                    name = record.filename.partition("/")[2]
                    detail = f"the checksum of {name} in it is wrong: bytes have changed since it was written"
                    raise BadTensorError(detail, code="checksum")


def read_sample(folder: Path, part: Part, layout: str) -> Iterator[Decoded | BadFileError]:
    """Read the files of a sample: each that is bad is told of, then comes what the others hold."""
    frames: NDArray[Any] | None = None
    label: Label | TrajLabel | None = None
    arrays: dict[str, NDArray[Any]] = {}
    for name in part.files:
        path = folder / name
        try:
            match name.partition("/")[0]:
                case value if value == LABEL_FOLDER:
                    model = TrajLabel if layout == TRAJ else Label
                    label = model.model_validate_json(read_small(path, LABEL_BYTES))
                case value if value == VIDEO_FOLDER:
                    tensor = open_tensor(path)
                    tensor.check()
                    frames = tensor.values[""]
                    if layout == TRAJ:
                        frames = frames[None]
                case value if value == ANNOTATION_FOLDER:
                    tensors = open_tensors(path)
                    tensors.check()
                    arrays = tensors.values
        except BadTensorError as error:
            yield BadFileError(str(error), path=name, code=error.code)
        except ValidationError as error:
            is_json = error.errors()[0]["type"] != "json_invalid"
            for detail in describe_invalid(error):
                yield BadFileError(detail, path=name, code="invalid" if is_json else "unreadable")
        except OSError as error:
            yield BadFileError(explain(error), path=name, code="unreadable")
    yield Decoded(part.rows[0], frames, label, {}, arrays)


def _read_record(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bytes:
    """Read a small record, or nothing if that fails."""
    try:
        return archive.read(record)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return b""


def open_tensor(path: Path) -> StoredTensors:
    """Map the tensor of a file."""
    import torch

    found, is_archive = _load(path)
    if not isinstance(found, torch.Tensor):
        detail = f"found a {type(found).__name__}, expected a tensor"
        raise BadTensorError(detail, code="unreadable")
    return StoredTensors({"": _map(found, VIDEO_DTYPES, "")}, path, is_archive)


def open_tensors(path: Path) -> StoredTensors:
    """Map the tensors of a file that has several, by name."""
    import torch

    found, is_archive = _load(path)
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        detail = f"found a {type(found).__name__}, expected a dict of tensors by name"
        raise BadTensorError(detail, code="unreadable")
    arrays = {name: _map(tensor, ANNOTATION_DTYPES, f"{name}: ") for name, tensor in found.items()}
    return StoredTensors(arrays, path, is_archive)


def _load(path: Path) -> tuple[Any, bool]:
    """What is in a file, and whether that is an archive; nothing is executed."""
    import torch

    if not stat.S_ISREG(path.stat().st_mode):
        detail = "found no file, expected a regular one"
        raise BadTensorError(detail, code="unreadable")
    try:
        with path.open("rb") as file:
            is_archive = _is_archive(file)
            for data, count in _read_pickles(file, is_archive=is_archive):
                _check_pickles(data, count)
        if not _is_utf8(path):  # PyTorch maps no file of such a name
            with path.open("rb") as file:
                return torch.load(file, weights_only=True, map_location="cpu"), is_archive
        return torch.load(path, weights_only=True, mmap=is_archive, map_location="cpu"), is_archive
    except pickle.UnpicklingError as error:
        detail = f"refused, and nothing in it was run: {_summarize(error)}"
        raise BadTensorError(detail, code="unsafe") from None
    except (OSError, BadTensorError):
        raise
    except Exception as error:  # noqa: BLE001 - damaged bytes make PyTorch raise almost anything
        detail = _summarize(error)
        raise BadTensorError(detail, code="unreadable") from None


def _is_utf8(path: Path) -> bool:
    """Whether the name of a file is text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_archive(file: BinaryIO) -> bool:
    """Whether a file is a zip archive; refuses one whose list of records is larger than that of any tensors."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 2**16 - 22))
    tail = file.read()
    at = tail.rfind(_END_OF_ARCHIVE)
    if at < 0 or len(tail) < at + 22:
        return False
    (listed,) = struct.unpack_from("<L", tail, at + 12)
    if listed > PICKLE_BYTES:
        detail = f"found a list of records of {format_bytes(listed)}, expected that of some tensors"
        raise BadTensorError(detail, code="unreadable")
    return True


def _read_pickles(file: BinaryIO, *, is_archive: bool) -> Iterator[tuple[bytes, int]]:
    """Bytes of a file that begin with so many pickles; refuses large ones, and records that grow when they are read."""
    if is_archive:
        with zipfile.ZipFile(file) as archive:
            for record in archive.infolist():
                if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
                    detail = f"{record.filename} in it is compressed, expected records as they are"
                    raise BadTensorError(detail, code="unreadable")
                if "/data/" in record.filename:
                    continue
                if record.file_size > PICKLE_BYTES:
                    detail = (
                        f"{record.filename} in it has {format_bytes(record.file_size)}, expected a tensor's"
                    )
                    raise BadTensorError(detail, code="unreadable")
                if record.filename.endswith(".pkl"):
                    yield _read_stored(file, record), 1
        return
    size = file.seek(0, io.SEEK_END)
    if size > OLD_FILE_BYTES:
        detail = f"found {format_bytes(size)} that are no archive, expected what torch.save writes since 1.6"
        raise BadTensorError(detail, code="unreadable")
    file.seek(0)
    yield file.read(PICKLE_BYTES), OLD_PICKLES


def _read_stored(file: BinaryIO, record: zipfile.ZipInfo) -> bytes:
    """A record that is stored as it is, whatever its checksum says: that is compared later."""
    file.seek(record.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    file.seek(name + extra, io.SEEK_CUR)
    return file.read(record.file_size)


def _check_pickles(data: bytes, count: int) -> None:
    """Refuse pickles that name anything but what tensors are made of: PyTorch makes byte arrays of any size."""
    stream = io.BytesIO(data)
    for _ in range(count):
        for code, argument, _at in pickletools.genops(stream):
            is_name = code.name in ("GLOBAL", "INST")
            if is_name and not _TENSOR.fullmatch(str(argument)):
                message = f"it names {str(argument).replace(' ', '.')}"
            elif code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                message = f"found {code.name}, expected names in full"
            else:
                continue
            raise pickle.UnpicklingError(message)


def _map(tensor: torch.Tensor, dtypes: tuple[str, ...], name: str) -> NDArray[Any]:
    """The elements of a tensor that has memory of its own."""
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or dtype not in dtypes:
        kind = "" if tensor.layout == torch.strided else f"{tensor.layout} "
        detail = f"{name}found {kind}{dtype}, expected {' or '.join(dtypes)}"
        raise BadTensorError(detail, code="dtype")
    stored, own = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
    if stored != own or not tensor.is_contiguous():
        detail = f"{name}found a view of {stored:,} bytes, expected a tensor with its own {own:,}"
        raise BadTensorError(detail, code="storage")
    return tensor.detach().numpy()


def _summarize(error: Exception) -> str:
    """What matters of PyTorch's long messages, in one line."""
    text = str(error)
    reason = re.search(r"(?i:unsupported )[^\n]+|(?<=WeightsUnpickler error: )[^\n]+", text)
    line = reason[0] if reason else text.strip().partition("\n")[0].partition(". ")[0]
    return f"no tensor file ({type(error).__name__}: {line[:150].rstrip('. ')})"
