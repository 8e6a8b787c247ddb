"""Read a tensor file of unknown origin, safely: nothing in it is executed."""

from __future__ import annotations

import pickle
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

TensorFault = Literal["video-unreadable", "video-unsafe", "video-dtype", "video-storage", "video-checksum"]

DTYPES: Final = ("uint8", "float32")


class BadTensorError(Exception):
    """A file holds no tensor of the exported kind.

    Parameters
    ----------
    detail : str
        What was found, and what was expected.
    code : str
        What kind of fault.
    """

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
    checksum : int or None
        CRC-32 of its memory according to the file; None if the file has none.
    """

    values: NDArray[Any]
    checksum: int | None

    def check(self) -> None:
        """Compare the elements with the file's checksum.

        Raises
        ------
        BadTensorError
            If they differ.
        """
        if (
            self.checksum is not None
            and zlib.crc32(self.values.reshape(-1).view(np.uint8).data) != self.checksum
        ):
            detail = "its checksum is wrong: bytes of the tensor have changed"
            raise BadTensorError(detail, code="video-checksum")


def open_tensor(path: Path) -> StoredTensor:
    """Map the tensor of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    StoredTensor
        A uint8 or float32 tensor that is all that the file holds.

    Raises
    ------
    BadTensorError
        If the file is anything else.
    OSError
        If it cannot be read.
    """
    import torch

    with path.open("rb") as file:
        is_archive = zipfile.is_zipfile(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is odd in a file: what matters becomes a fault
            tensor = torch.load(path, weights_only=True, mmap=is_archive, map_location="cpu")
    except pickle.UnpicklingError as error:
        detail = f"refused, nothing of it was run: {_summarize(error)}"
        raise BadTensorError(detail, code="video-unsafe") from None
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged bytes make PyTorch raise almost anything
        raise BadTensorError("video-unreadable", _summarize(error)) from None
    if not isinstance(tensor, torch.Tensor):
        detail = f"found a {type(tensor).__name__}, expected a tensor"
        raise BadTensorError(detail, code="video-unreadable")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or dtype not in DTYPES:
        detail = f"found {dtype}, expected one of {', '.join(DTYPES)}"
        raise BadTensorError(detail, code="video-dtype")
    stored, own = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
    if stored != own or not tensor.is_contiguous():
        detail = f"found a view of {stored:,} bytes, expected a tensor with its own {own:,}"
        raise BadTensorError(detail, code="video-storage")
    return StoredTensor(tensor.detach().numpy(), _find_checksum(path) if is_archive else None)


def _find_checksum(path: Path) -> int | None:
    """CRC-32 of the only tensor, as the archive has it; PyTorch can leave it out."""
    with zipfile.ZipFile(path) as archive:
        found = [record.CRC for record in archive.infolist() if record.filename.endswith("/data/0")]
    return found[0] if found and found[0] else None


def _summarize(error: Exception) -> str:
    """The beginning of an error's message, in one line."""
    text = str(error)
    _, _, reason = text.partition("WeightsUnpickler error: ")
    line = (reason or text).strip().partition("\n")[0]
    return line[:200] or type(error).__name__
