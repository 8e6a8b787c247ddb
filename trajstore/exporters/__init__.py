"""Other people's formats: one module each behind a small protocol, and one line in `FORMATS`.

Which rows are exported, and going on after an interruption, is the command's and not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from trajstore.errors import MissingExtraError, SpecError
from trajstore.exporters.frames import FramePictures
from trajstore.exporters.hdf5 import Hdf5File
from trajstore.exporters.interface import Encoder, Format, Part
from trajstore.exporters.pt import TorchFiles
from trajstore.exporters.videofolder import VideoFolder
from trajstore.exporters.webdataset import WebDataset
from trajstore.text import describe_unknown, explain_install

__all__ = ["FORMATS", "Encoder", "Format", "Part", "check_installed", "find_format"]

FORMATS: Final[dict[str, Format]] = {
    "pt": TorchFiles(),
    "hdf5": Hdf5File(),
    "webdataset": WebDataset(),
    "videofolder": VideoFolder(),
    "frames": FramePictures(),
}
"""From the name of a format to what writes it."""


def find_format(name: str) -> Format:
    """Find a format by its name."""
    if name not in FORMATS:
        message = f"format: {describe_unknown(name, FORMATS)}"
        raise SpecError(message)
    return FORMATS[name]


def check_installed(name: str, options: Mapping[str, str]) -> None:
    """Check that the packages that a format with some options needs are there."""
    writer = find_format(name)
    for package in writer.list_packages(options):
        try:
            version(package)
        except PackageNotFoundError:
            message = (
                f"format {name}: needs {package}, which is not installed; {explain_install(writer.extra)}"
            )
            raise MissingExtraError(message) from None
