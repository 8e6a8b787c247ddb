"""A spec that asks for everything that trajstore can put into a world, and a family of one's own."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.spec import PATTERNS, SHAPES
from trajstore.trajectories import FAMILIES, Family

EVERYTHING: Final[dict[str, Any]] = {
    "distractors": [1, 2], "transients": [1, 2], "transient_frames": [1, 2], "shapes": list(SHAPES),
    "orientation": "tumbling", "motion": ["Linear", "Still", "RandomWalk"], "clearance": 0.02,
    "patterns": list(PATTERNS), "noise": [0.0, 3.0], "blur": [0.0, 0.7], "light_jitter": 30.0, "margin": -0.5,
    "azimuth_jitter": 10.0, "elevation_jitter": 5.0, "distance_jitter": 0.1, "roll_jitter": 20.0,
    "orbit": [-90.0, 90.0], "motion_labels": True, "classes": [*FAMILIES, "support.worlds:STAIRS"],
    "weights": [1, 2, 1, 1, 1, 1, 1, 1, 1],
}  # fmt: skip
"""Fields of the spec beside the sizes; no two sections are neutral."""


def climb(uniforms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stairs that turn left or right."""
    number = 4.0 * np.broadcast_to(times, (len(uniforms), len(times)))
    return np.stack([number, (uniforms[:, :1] < 0.5) * number, np.floor(number)], axis=-1)


STAIRS: Final = Family(climb, parameters={"steepness": lambda uniforms: 1.0 + (uniforms[:, 0] < 0.5)})
