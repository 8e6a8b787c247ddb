"""Matched placement: neither one frame nor the speed tells the class, the whole path does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from trajstore.kernels.portable import norm
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILIES

ROWS = range(8000)
CHANCE = 0.25

Columns = Mapping[str, np.ndarray]


def describe(placement: str, rows: range = ROWS, **fields: Any) -> Columns:
    """Labels of some rows."""
    spec = DatasetSpec.from_fields(placement=placement, motion_labels=True, cameras=1, **fields)
    return make_scene(spec, rows).columns


@pytest.fixture(scope="module")
def matched() -> Columns:
    """Labels of the default classes, their placement matched."""
    return describe("matched")


def guess(features: np.ndarray, labels: np.ndarray, neighbours: int = 25) -> float:
    """Share of the second half of some rows whose class most of the nearest rows of the first half have."""
    half = len(features) // 2
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    known, asked = scaled[:half], scaled[half : half + 1500]
    distance = (asked**2).sum(axis=1)[:, None] - 2.0 * asked @ known.T + (known**2).sum(axis=1)
    nearest = labels[:half][np.argpartition(distance, neighbours, axis=1)[:, :neighbours]]
    votes = (nearest[..., None] == np.arange(4)).sum(axis=1)
    return float((votes.argmax(axis=1) == labels[half : half + 1500]).mean())


def test_one_frame_does_not_tell_the_class(matched: Columns):
    for frame in (0, 8, 15, 23, 31):
        assert guess(matched["position"][:, frame], matched["class_label"]) < CHANCE + 0.07
    free = describe("free")
    assert guess(free["position"][:, 15], free["class_label"]) > CHANCE + 0.2


def test_the_speed_does_not_tell_the_class(matched: Columns):
    assert guess(matched["speed"][:, None], matched["class_label"]) < CHANCE + 0.05
    low, high = np.percentile(matched["path_length"], [0, 100])
    assert 0.5 <= low < 0.51
    assert 0.89 < high <= 0.9001


def test_the_whole_path_tells_the_class(matched: Columns):
    points = matched["position"].astype(np.float64)
    velocity = np.diff(points, axis=1)
    turning = norm(np.cross(velocity[:, 1:], velocity[:, :-1])) / (
        norm(velocity[:, 1:]) * norm(velocity[:, :-1])
    )
    net = norm(points[:, -1] - points[:, 0]) / matched["path_length"]
    twist = np.abs(
        np.linalg.det(
            np.stack(
                [points[:, 10] - points[:, 0], points[:, 20] - points[:, 0], points[:, 31] - points[:, 0]],
                axis=1,
            )
        )
    )
    features = np.stack(
        [turning.mean(axis=1), turning.std(axis=1), net, twist ** (1 / 3) / matched["path_length"]], axis=1
    )
    assert guess(features, matched["class_label"]) > 0.97


def test_all_families_stay_in_the_unit_ball_and_rows_are_functions():
    fields = {
        "classes": list(FAMILIES),
        "transients": [1, 3],
        "motion": ["RandomWalk"],
        "clearance": 0.1,
        "horizon": 9,
    }
    columns = describe("matched", range(200, 360), **fields)
    seen = np.concatenate([columns["position"], columns["future_position"][:, None]], axis=1).astype(
        np.float64
    )
    assert (norm(seen).max(axis=1) + columns["radius"] <= 1.0).all()
    part = describe("matched", range(250, 260), **fields)
    for name in ("position", "body_position", "speed"):
        np.testing.assert_array_equal(part[name], columns[name][50:60], err_msg=name)


def test_paths_that_have_no_room_are_smaller():
    columns = describe("matched", range(400), path_length=[1.9, 1.99], horizon=32)
    assert (norm(columns["future_position"].astype(np.float64)) + columns["radius"] <= 1.0).all()
    lengths = columns["path_length"]
    assert lengths[columns["class_label"] == 1].min() > 1.89
    assert lengths[columns["class_label"] == 0].max() < 1.0
