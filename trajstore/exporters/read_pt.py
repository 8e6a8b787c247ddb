"""Read a file of one tensor, or of several by name, of unknown origin, safely: nothing in it is executed."""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

TensorFault = Literal["unreadable", "unsafe", "dtype", "storage", "checksum"]

DATA_RECORD: Final = "/data/0"
VIDEO_DTYPES: Final = ("uint8", "float32")
ANNOTATION_DTYPES: Final = ("uint8", "float32", "bool")


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

    with path.open("rb") as file:
        is_archive = zipfile.is_zipfile(file)
    try:
        found = torch.load(path, weights_only=True, mmap=is_archive, map_location="cpu")
    except pickle.UnpicklingError as error:
        detail = f"refused, and nothing in it was run: {_summarize(error)}"
        raise BadTensorError(detail, code="unsafe") from None
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged bytes make PyTorch raise almost anything
        detail = _summarize(error)
        raise BadTensorError(detail, code="unreadable") from None
    return found, is_archive


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
