"""Other people's formats: one module each behind a small protocol, and one line in `FORMATS`.

Which rows are exported, and going on after an interruption, is the command's and not decided here.
"""

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
    """Find a format by its name."""
    if name not in FORMATS:
        message = f"format: found {name!r}, expected one of {', '.join(FORMATS)}"
        raise SpecError(message)
    FORMATS[name].check_installed()
    return FORMATS[name]
