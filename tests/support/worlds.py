"""A spec that asks for everything that trajstore can put into a world, a family of one's own, and random worlds."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from support.raycaster import World
from trajstore.scene.cameras import place_cameras
from trajstore.scene.rotations import random_quaternions, to_matrices
from trajstore.spec import PATTERNS, SHAPES, DatasetSpec
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

SIZES: Final = {(40, 40): 0.04, (37, 53): 0.04, (24, 24): -1.0, (9, 70): -0.3}
"""Heights and widths of pictures, and the cameras' margins: below 0, bodies are cut by the picture's edge."""


def make_world(
    seed: int,
    *,
    bodies: int,
    shapes: tuple[int, ...] = (0, 1, 2, 3),
    size: tuple[int, int] = (40, 40),
    frames: int = 2,
    subframes: int = 1,
    radius: tuple[float, float] = (0.15, 0.45),
    spread: float = 0.4,
    orbit: float = 0.0,
) -> World:
    """A random world; bodies touch and cross where they are many."""
    random = np.random.default_rng(seed)
    spec = DatasetSpec.from_fields(
        cameras=2, frames=max(frames, 2), height=size[0], width=size[1], margin=SIZES[size], orbit=orbit
    )
    instants = frames * subframes
    rig = place_cameras(spec, range(1), np.linspace(0, 1, instants)[None])
    start = random.uniform(-spread, spread, (bodies, 3))
    way = random.uniform(-0.3, 0.3, (bodies, 3)) * (instants > 1)
    light = random.normal(size=3)
    return World(
        position=start + way * np.linspace(0, 1, instants)[:, None, None],
        rotation=to_matrices(random_quaternions(random.random((instants, bodies, 3)))),
        is_present=random.random((frames, bodies)) < (1.0 if bodies == 1 else 0.9),
        radius=random.uniform(*radius, bodies),
        color=random.integers(0, 256, (bodies, 3)).astype(np.uint8),
        shape=random.choice(shapes, bodies).astype(np.uint8),
        background=random.integers(0, 256, (2, 3, *size)).astype(np.uint8),
        intrinsics=rig.intrinsics,
        extrinsics=rig.extrinsics[0],
        light=light / np.linalg.norm(light),
        ambient=0.3,
    )
