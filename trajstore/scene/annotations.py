"""What can be known of each pixel beside its colour, and of points on surfaces."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Final

import numpy as np

TRACKS: Final = ("query_points", "target_points", "occluded")
"""The arrays of points; all others are of pixels."""

PLANES: Final[Mapping[str, tuple[tuple[int, ...], type[np.generic], float]]] = MappingProxyType(
    {
        "segmentation": ((), np.uint8, 0),
        "depth_map": ((), np.float32, inf),
        "forward_flow": ((2,), np.float32, 0.0),
        "backward_flow": ((2,), np.float32, 0.0),
        "normals": ((3,), np.float32, 0.0),
    }
)
"""What is told of the nearest surface: its components, its type, and what it is where there is background."""
