"""What an index along each dimension means, and what the classes and splits of samples are called."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.spec import DatasetSpec

NAMES: Final = {"class_name": "class_label", "split_name": "split"}
"""The coordinates of samples that are text, and the column of numbers that each gives the names of."""


def name_coordinates(
    spec: DatasetSpec, dims: Collection[Hashable]
) -> dict[str, Sequence[str] | NDArray[np.int64]]:
    """What each index means along those dimensions that there are."""
    along: dict[str, Sequence[str] | NDArray[np.int64]] = {
        "sample": np.arange(spec.dataset.samples),
        "camera": np.arange(spec.video.cameras),
        "frame": np.arange(1, spec.video.frames + 1),
        "body": np.arange(spec.bodies.count),
        "axis": ["x", "y", "z"],
        "channel": ["red", "green", "blue"],
        "uv": ["u", "v"],
        "edge": ["u_min", "v_min", "u_max", "v_max"],
        "quaternion": ["w", "x", "y", "z"],
        "tyx": ["t", "y", "x"],
        "xy": ["x", "y"],
    }
    return {dim: names for dim, names in along.items() if dim in dims}


def list_meanings(attributes: Mapping[str, Any]) -> NDArray[np.str_]:
    """What the numbers of a column mean, by number; the last one is empty, for −1: not written."""
    return np.array([*attributes["flag_meanings"].split(), ""])
