"""Motion labels: what they say is what the positions show, however the rows are cut."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from trajstore.scene.column_names import MOTION_LABELS, list_columns
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILIES

ROWS = range(100, 500)
SPEC = DatasetSpec.from_fields(classes=list(FAMILIES), motion_labels=True, cameras=1, frames=64, seed=6)

Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def columns() -> Columns:
    """All columns of some rows."""
    return dict(make_scene(SPEC, ROWS).columns)


def rows_of(columns: Columns, *names: str) -> list[int]:
    """Places of the rows of some classes."""
    labels = [SPEC.dataset.classes.index(name) for name in names]
    return np.flatnonzero(np.isin(columns["class_label"], labels)).tolist()


def flatten(points: np.ndarray) -> np.ndarray:
    """Points (m, 3) in the plane that they lie in, (m, 2)."""
    centered = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centered)
    return centered @ axes[:2].T


def test_speed_length_and_direction_are_those_of_the_positions(columns: Columns):
    for index in range(len(ROWS)):
        points = columns["position"][index].astype(np.float64)
        length = sum(math.dist(a, b) for a, b in pairwise(points))
        assert columns["path_length"][index] == pytest.approx(length, rel=1e-6)
        assert columns["speed"][index] == pytest.approx(length / 63, rel=1e-6)
        way = points[-1] - points[0]
        if np.linalg.norm(way) > 1e-6:
            np.testing.assert_allclose(
                columns["direction"][index], way / np.linalg.norm(way), rtol=0, atol=1e-6
            )
        else:
            assert np.isnan(columns["direction"][index]).all()


def test_what_is_still_has_no_direction(columns: Columns):
    still = rows_of(columns, "Still")
    assert not columns["speed"][still].any()
    assert not columns["path_length"][still].any()
    assert np.isnan(columns["direction"][still]).all()
    moving = np.setdiff1d(np.arange(len(ROWS)), still)
    assert (columns["speed"][moving] > 0.0).all()
    assert np.isfinite(columns["direction"][moving]).all()


def test_parameters_are_there_for_their_classes_only(columns: Columns):
    names = [name for family in FAMILIES.values() for name in family.parameters]
    assert SPEC.dataset.parameters == tuple(dict.fromkeys(names))
    for name in SPEC.dataset.parameters:
        has_it = rows_of(columns, *(key for key, family in FAMILIES.items() if name in family.parameters))
        assert np.flatnonzero(np.isfinite(columns[name])).tolist() == has_it


def test_the_turns_of_a_circle_are_those_of_its_positions(columns: Columns):
    for index in rows_of(columns, "Circular"):
        steps = np.diff(flatten(columns["position"][index].astype(np.float64)), axis=0)
        angle = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
        # the direction of 63 steps turns 62 times
        assert columns["turns"][index] == pytest.approx(
            abs(angle[-1] - angle[0]) / (2.0 * math.pi) * 63 / 62, rel=1e-4
        )


def test_turns_advance_and_hand_of_a_helix_are_those_of_its_positions(columns: Columns):
    for index in rows_of(columns, "Helical"):
        points = columns["position"][index].astype(np.float64)
        steps = np.diff(points, axis=0)
        bend = np.diff(steps, axis=0)
        axis = np.cross(bend[10], bend[20])
        axis /= np.linalg.norm(axis)
        across = steps - np.outer(steps @ axis, axis)
        turn = np.arccos(np.clip((across[0] @ across[1]) / (across[0] @ across[0]), -1.0, 1.0))
        assert columns["turns"][index] == pytest.approx(63 * turn / (2.0 * math.pi), rel=1e-3)
        radius = np.linalg.norm(across[0]) / (2.0 * math.sin(turn / 2.0))
        advance = abs((points[-1] - points[0]) @ axis)
        assert columns["advance"][index] == pytest.approx(advance / (2.0 * radius), rel=1e-3)
        # a right-handed helix goes forward as a right-handed screw does: along the axis around which it turns
        hand = np.sign(np.cross(across[0], across[1]) @ (steps[0] @ axis * axis))
        assert columns["hand"][index] == hand


def test_the_sagitta_of_a_parabola_is_that_of_its_positions(columns: Columns):
    for index in rows_of(columns, "Parabolic"):
        points = columns["position"][index].astype(np.float64)
        chord = points[-1] - points[0]
        off = np.linalg.norm(np.cross(points - points[0], chord), axis=1) / (chord @ chord)
        assert columns["sagitta"][index] == pytest.approx(off.max(), rel=2e-3)


def test_the_restitution_of_a_ball_is_that_of_its_positions():
    spec = SPEC.replace(classes=["Bouncing"], frames=3000)
    columns = make_scene(spec, range(20)).columns
    for height, restitution in zip(
        columns["position"][..., 2].astype(np.float64), columns["restitution"], strict=True
    ):
        floor = np.flatnonzero((height[1:-1] < height[:-2]) & (height[1:-1] <= height[2:])) + 1
        first, second = (height[floor[0] : floor[1]].max(), height[0]) - height[floor[0]]
        assert restitution**2 == pytest.approx(first / second, abs=0.02)


def test_swings_and_amplitude_of_a_pendulum_are_those_of_its_positions():
    spec = SPEC.replace(classes=["Pendulum"], frames=2000)
    columns = make_scene(spec, range(20)).columns
    for points, swings, amplitude in zip(
        columns["position"].astype(np.float64), columns["swings"], columns["amplitude"], strict=True
    ):
        # twice the largest angle is the arc, seen from the pivot: the centre of the circle through three of its points
        along, height = (points[:, :2] - points[0, :2]) @ np.array([1.0, 0.0]), points[:, 2]
        scale = np.linalg.norm(np.ptp(points[:, :2], axis=0)) / max(np.ptp(along), 1e-12)
        along = along * scale
        system = np.column_stack([2.0 * along, 2.0 * height, np.ones(len(along))])
        (x, z, _), *_ = np.linalg.lstsq(system, along**2 + height**2, rcond=None)
        angle = np.degrees(np.arctan2(along - x, z - height))
        assert amplitude == pytest.approx(np.ptp(angle) / 2.0, abs=0.05)
        phase = np.count_nonzero(np.diff(np.sign(np.diff(angle))))
        assert abs(phase - 2.0 * swings) <= 1.0


def test_labels_do_not_depend_on_slicing(columns: Columns):
    parts = [make_scene(SPEC, rows).columns for rows in (range(100, 101), range(101, 350), range(350, 500))]
    for name in (*MOTION_LABELS, *SPEC.dataset.parameters):
        joined = np.concatenate([part[name] for part in parts])
        assert joined.dtype == np.float32
        assert joined.tobytes() == columns[name].tobytes()


@pytest.mark.parametrize("fields", [{}, {"classes": ["Helical", "Still"]}], ids=str)
def test_they_are_columns_where_a_spec_asks_for_them(fields: dict[str, Any]):
    without = DatasetSpec.from_fields(**fields)
    asked = without.replace(motion_labels=True)
    more = [name for name in list_columns(asked) if name not in list_columns(without)]
    assert more == [*MOTION_LABELS, *asked.dataset.parameters]


def test_a_single_frame_shows_no_motion():
    columns = make_scene(SPEC.replace(frames=1), range(8)).columns
    assert not columns["speed"].any()
    assert not columns["path_length"].any()
    assert np.isnan(columns["direction"]).all()
