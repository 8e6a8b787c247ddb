"""What an index along each dimension means."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from trajstore.spec import DatasetSpec


def name_coordinates(
    spec: DatasetSpec, dims: Collection[Hashable]
) -> dict[str, Sequence[str] | NDArray[np.int64]]:
    """What each index means along those dimensions that there are, and the names of the classes."""
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
    return {dim: names for dim, names in along.items() if dim in dims} | {"class": list(spec.dataset.classes)}
