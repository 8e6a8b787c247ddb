"""Names of the files of format pt in both of its layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VIDEO_FOLDER: Final = "videos"
LABEL_FOLDER: Final = "labels"
ANNOTATION_FOLDER: Final = "annotations"
TRAJ: Final = "traj"
LAYOUTS: Final = ("sample", TRAJ)
"""The usual one first; names of files begin with it."""


def find_layout(options: Mapping[str, str]) -> str:
    """The layout that options of the format name."""
    return options.get("layout", LAYOUTS[0])


def name_stem(row: int, layout: str) -> str:
    """What the names of a sample's files begin with."""
    return f"traj_{row:05d}" if layout == TRAJ else f"sample_{row:04d}"


def name_sample(stem: str, *, has_annotations: bool) -> tuple[str, ...]:
    """Names of a sample's files by what they begin with."""
    names = (f"{VIDEO_FOLDER}/{stem}.pt", f"{LABEL_FOLDER}/{stem}.json")
    return (*names, f"{ANNOTATION_FOLDER}/{stem}.pt") if has_annotations else names
