"""Read a tensor file of unknown origin, safely: nothing in it is executed."""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

TensorFault = Literal["video-unreadable", "video-unsafe", "video-dtype", "video-storage", "video-checksum"]

DATA_RECORD: Final = "/data/0"
DTYPES: Final = ("uint8", "float32")


class BadTensorError(Exception):
    """A file holds no tensor of the exported kind."""

    def __init__(self, detail: str, *, code: TensorFault) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True)
class StoredTensor:
    """The tensor of a file, mapped into memory.

    Attributes
    ----------
    values : ndarray
        Its elements.
    """

    values: NDArray[Any]
    path: Path
    is_archive: bool

    def check(self) -> None:
        """Compare all bytes with the file's checksums, which PyTorch does not do when it loads a file."""
        if not self.is_archive:
            return
        with zipfile.ZipFile(self.path) as archive:
            for record in archive.infolist():
                if not record.CRC:  # PyTorch can leave it out
                    continue
                if record.filename.endswith(DATA_RECORD):
                    checksum = zlib.crc32(self.values.reshape(-1).view(np.uint8).data)
                else:
                    checksum = zlib.crc32(_read_record(archive, record))
                if checksum != record.CRC:
                    name = record.filename.partition("/")[2]
                    detail = f"the checksum of {name} in it is wrong: bytes have changed since it was written"
                    raise BadTensorError(detail, code="video-checksum")


def _read_record(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bytes:
    """Read a small record, or nothing if that fails."""
    try:
        return archive.read(record)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return b""


def open_tensor(path: Path) -> StoredTensor:
    """Map the tensor of a file."""
    import torch

    with path.open("rb") as file:
        is_archive = zipfile.is_zipfile(file)
    try:
        tensor = torch.load(path, weights_only=True, mmap=is_archive, map_location="cpu")
    except pickle.UnpicklingError as error:
        detail = f"refused, and nothing in it was run: {_summarize(error)}"
        raise BadTensorError(detail, code="video-unsafe") from None
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged bytes make PyTorch raise almost anything
        detail = _summarize(error)
        raise BadTensorError(detail, code="video-unreadable") from None
    if not isinstance(tensor, torch.Tensor):
        detail = f"found a {type(tensor).__name__}, expected a tensor"
        raise BadTensorError(detail, code="video-unreadable")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or dtype not in DTYPES:
        kind = "" if tensor.layout == torch.strided else f"{tensor.layout} "
        detail = f"found {kind}{dtype}, expected {' or '.join(DTYPES)}"
        raise BadTensorError(detail, code="video-dtype")
    stored, own = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
    if stored != own or not tensor.is_contiguous():
        detail = f"found a view of {stored:,} bytes, expected a tensor with its own {own:,}"
        raise BadTensorError(detail, code="video-storage")
    return StoredTensor(tensor.detach().numpy(), path, is_archive)


def _summarize(error: Exception) -> str:
    """What matters of PyTorch's long messages, in one line."""
    text = str(error)
    reason = re.search(r"(?i:unsupported )[^\n]+|(?<=WeightsUnpickler error: )[^\n]+", text)
    line = reason[0] if reason else text.strip().partition("\n")[0].partition(". ")[0]
    return f"no tensor file ({type(error).__name__}: {line[:150].rstrip('. ')})"
