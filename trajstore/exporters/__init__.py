"""The formats that a store can be exported to: one module each behind a small protocol, and one line in `FORMATS`."""

from __future__ import annotations

from typing import Final

from trajstore.errors import SpecError
from trajstore.exporters.interface import Encoder, Format
from trajstore.exporters.pt import TorchFiles

__all__ = ["FORMATS", "Encoder", "Format", "find_format"]

FORMATS: Final[dict[str, Format]] = {
    "pt": TorchFiles(),
}
"""From the name of a format to what writes it."""


def find_format(name: str) -> Format:
    """Find a format by its name.

    Parameters
    ----------
    name : str
        One of `FORMATS`.

    Returns
    -------
    Format
        What writes it.

    Raises
    ------
    SpecError
        If there is no such format.
    MissingExtraError
        If a package that it needs is not installed.
    """
    if name not in FORMATS:
        message = f"format: found {name!r}, expected one of {', '.join(FORMATS)}"
        raise SpecError(message)
    FORMATS[name].check_installed()
    return FORMATS[name]
