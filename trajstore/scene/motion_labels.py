"""Labels that say how the target moves: speed, length, direction, and the numbers that describe its path."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.families import describe_paths, load_family
from trajstore.kernels.portable import norm
from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILY_UNIFORMS


def describe_motion(
    spec: DatasetSpec, rows: range, label: NDArray[np.int8], position: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """Motion labels of some rows, from the centres of their targets (n, frames, 3), world units.

    ``speed`` (n,) is the mean over the seen frames, world units a frame; ``path_length`` (n,) in world units;
    ``direction`` (n, 3) the unit vector of the net displacement; and every parameter of the spec's classes (n,).
    All are float32, NaN where there is none.
    """
    points = position.astype(np.float64)
    steps = norm(np.diff(points, axis=1))
    # added one after the other: the sum of NumPy depends on the machine
    length = np.cumsum(steps, axis=1)[:, -1] if steps.shape[1] else np.zeros(len(rows))
    way = points[:, -1] - points[:, 0]
    distance = norm(way)
    has_direction = distance > 1e-6
    direction = np.full_like(way, np.nan)
    direction[has_direction] = way[has_direction] / distance[has_direction, None]
    described = {
        "speed": length / max(steps.shape[1], 1),
        "path_length": length,
        "direction": direction,
        **find_parameters(spec, rows, label),
    }
    return {name: values.astype(np.float32) for name, values in described.items()}


def find_parameters(
    spec: DatasetSpec, rows: range, label: NDArray[np.int8]
) -> dict[str, NDArray[np.float64]]:
    """The numbers that describe the paths of some rows (n,), NaN where they do not apply."""
    table = uniforms(
        spec.dataset.seed, Stream.SHAPE, first=rows.start, count=len(rows), width=FAMILY_UNIFORMS
    )
    found = {name: np.full(len(rows), np.nan) for name in spec.dataset.parameters}
    for index, name in enumerate(spec.dataset.classes):
        is_class = label == index
        family = load_family(name, spec.dataset.families)
        for parameter, values in describe_paths(family, table[is_class]).items():
            found[parameter][is_class] = values
    return found
