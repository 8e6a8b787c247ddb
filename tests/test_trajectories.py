"""The families: closed forms, the margins that keep them apart, the unit ball, and a fifth family."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from support import naive

from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILIES, FAMILY_UNIFORMS, MARGINS

ROWS = 6000
ROUNDING = 5e-7
"""How far float32 may move a coordinate inside the unit ball, with a factor of eight to spare."""

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def paths() -> dict[str, Array]:
    """Seen positions (n, 32, 3) of all rows of each class, as stored."""
    spec = DatasetSpec.from_fields(cameras=1, seed=1)
    columns = make_scene(spec, range(ROWS)).columns
    label, position = columns["class_label"], columns["position"].astype(np.float64)
    return {name: position[label == index] for index, name in enumerate(spec.dataset.classes)}


def measure_flatness(points: Array) -> tuple[float, float]:
    """Largest distances of points (m, 3) from their best line and from their best plane."""
    centered = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centered)
    from_line = np.linalg.norm(centered - np.outer(centered @ axes[0], axes[0]), axis=1)
    return float(from_line.max()), float(np.abs(centered @ axes[2]).max())


def measure_winding(points: Array) -> tuple[float, float, float, float]:
    """Turns, advance, radius and roundness error of points (m, 3) that wind around an axis at constant speed."""
    # the acceleration of a uniform winding points at its axis
    _, _, axes = np.linalg.svd(np.diff(points, n=2, axis=0))
    side, up, axis = axes
    flat = np.stack([points @ side, points @ up], axis=-1)
    # |p|² = 2 c·p + (r² − |c|²) is linear in the centre
    system = np.column_stack([2.0 * flat, np.ones(len(flat))])
    (*center, rest), *_ = np.linalg.lstsq(system, (flat**2).sum(axis=1), rcond=None)
    arms = flat - center
    radius = math.sqrt(rest + center[0] ** 2 + center[1] ** 2)
    angle = np.unwrap(np.arctan2(arms[:, 1], arms[:, 0]))
    roundness = np.abs(np.linalg.norm(arms, axis=1) - radius).max()
    return (
        abs(angle[-1] - angle[0]) / (2.0 * math.pi),
        abs((points[-1] - points[0]) @ axis),
        radius,
        roundness,
    )


def measure_arc(points: Array) -> tuple[float, float]:
    """Sagitta in chords, and by how many degrees the direction turns, of points (m, 3)."""
    chord = points[-1] - points[0]
    length = np.linalg.norm(chord)
    sagitta = np.linalg.norm(np.cross(points - points[0], chord / length), axis=1).max()
    steps = np.diff(points, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    turning = np.arccos(np.clip((steps[1:] * steps[:-1]).sum(axis=1), -1.0, 1.0)).sum()
    return float(sagitta / length), math.degrees(turning)


def per_path(paths: Array, measure: object) -> Array:
    """A measure of each path, one row each."""
    return np.array([measure(path) for path in paths])


def test_a_line_is_straight_and_its_speed_constant(paths: dict[str, Array]):
    from_line, _ = per_path(paths["Linear"], measure_flatness).T
    assert from_line.max() < ROUNDING
    assert np.abs(np.diff(paths["Linear"], n=2, axis=1)).max() < 4 * ROUNDING


def test_a_circle_is_planar_and_round_and_turns_enough(paths: dict[str, Array]):
    _, from_plane = per_path(paths["Circular"], measure_flatness).T
    turns, advance, radius, roundness = per_path(paths["Circular"], measure_winding).T
    assert from_plane.max() < ROUNDING
    assert (roundness / radius).max() < 1e-4
    assert turns.min() >= MARGINS["circle_turns_min"] - 1e-4
    assert turns.max() <= 1.5 + 1e-4
    assert advance.max() < 1e-4


def test_a_circle_is_far_from_any_line(paths: dict[str, Array]):
    from_line, _ = per_path(paths["Circular"], measure_flatness).T
    _, _, radius, _ = per_path(paths["Circular"], measure_winding).T
    assert (from_line / radius).min() > 0.5


def test_a_helix_advances_and_turns_enough(paths: dict[str, Array]):
    turns, advance, radius, roundness = per_path(paths["Helical"], measure_winding).T
    assert (roundness / radius).max() < 1e-3
    assert turns.min() >= MARGINS["helix_turns_min"] - 1e-3
    assert turns.max() <= 2.5 + 1e-3
    diameters = advance / (2.0 * radius)
    assert diameters.min() >= MARGINS["helix_advance_in_diameters_min"] - 1e-3
    assert diameters.max() <= 2.0 + 1e-3


def test_helices_have_either_hand(paths: dict[str, Array]):
    steps = np.diff(paths["Helical"], axis=1)
    jerk = np.diff(steps, n=2, axis=1)
    # torsion: the sign of velocity · (acceleration × jerk)
    torsion = np.einsum("nmi,nmi->nm", steps[:, :-2], np.cross(np.diff(steps, axis=1)[:, :-1], jerk))
    is_right = torsion.mean(axis=1) > 0.0
    assert 0.45 < is_right.mean() < 0.55


def test_a_parabola_is_planar_and_bends_enough_but_not_round(paths: dict[str, Array]):
    _, from_plane = per_path(paths["Parabolic"], measure_flatness).T
    sagitta, turning = per_path(paths["Parabolic"], measure_arc).T
    assert from_plane.max() < ROUNDING
    assert sagitta.min() >= MARGINS["parabola_sagitta_in_chords_min"]
    assert sagitta.max() <= 0.8 + 1e-4
    assert turning.max() <= MARGINS["parabola_turning_degrees_max"]
    # constant acceleration: the third difference vanishes
    assert np.abs(np.diff(paths["Parabolic"], n=3, axis=1)).max() < 8 * ROUNDING


def test_circles_turn_by_more_than_any_parabola(paths: dict[str, Array]):
    _, parabolas = per_path(paths["Parabolic"], measure_arc).T
    _, circles = per_path(paths["Circular"], measure_arc).T
    assert circles.min() - parabolas.max() > 45.0


def test_the_ranges_are_used_up(paths: dict[str, Array]):
    turns, *_ = per_path(paths["Circular"], measure_winding).T
    sagitta, _ = per_path(paths["Parabolic"], measure_arc).T
    assert turns.min() < 0.61
    assert turns.max() > 1.49
    assert sagitta.min() < 0.3
    assert sagitta.max() > 0.75


def test_orientations_have_no_preference(paths: dict[str, Array]):
    direction = paths["Linear"][:, -1] - paths["Linear"][:, 0]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    second_moment = direction.T @ direction / len(direction)
    # a third along each axis, with a standard deviation of 0.008 for 1,500 directions
    np.testing.assert_allclose(second_moment, np.eye(3) / 3.0, rtol=0, atol=0.04)
    assert np.abs(direction.mean(axis=0)).max() < 0.06


SIZES = [
    {},
    {"frames": 1},
    {"frames": 2, "horizon": 1},
    {"frames": 8, "horizon": 30},
    {"radius": (0.5, 0.999), "size": (0.001, 0.999)},
]


@pytest.mark.parametrize("fields", SIZES, ids=str)
def test_the_sphere_stays_in_the_unit_ball_when_seen_and_at_the_future_frame(fields: dict):
    spec = DatasetSpec.from_fields(cameras=1, seed=2, **fields)
    columns = make_scene(spec, range(2000)).columns
    points = np.concatenate([columns["position"], columns["future_position"][:, None]], axis=1)
    reach = np.linalg.norm(points.astype(np.float64), axis=-1) + columns["radius"][:, None].astype(np.float64)
    assert reach.max() <= 1.0


def trace_twins(spec: DatasetSpec, rows: range) -> Iterator[tuple[int, Array, float]]:
    """Index, naive path of all frames up to the future one, and radius, of each row."""
    columns = make_scene(spec, rows).columns
    for index, row in enumerate(rows):
        radius = float(columns["radius"][index])
        name = spec.dataset.classes[columns["class_label"][index]]
        path = naive.trace_path(
            name,
            seed=spec.dataset.seed,
            row=row,
            frames=spec.video.frames,
            horizon=spec.video.horizon,
            radius=radius,
        )
        yield index, path, radius


@pytest.mark.parametrize("fields", [{}, {"frames": 1}, {"frames": 5, "horizon": 2}], ids=str)
def test_positions_match_closed_forms_and_stay_in_the_unit_ball_at_every_frame(fields: dict):
    spec = DatasetSpec.from_fields(cameras=1, seed=9, **fields)
    rows = range(400, 520)
    columns = make_scene(spec, rows).columns
    for index, path, radius in trace_twins(spec, rows):
        frames = spec.video.frames
        np.testing.assert_allclose(columns["position"][index], path[:frames], rtol=0, atol=1e-7)
        np.testing.assert_allclose(columns["future_position"][index], path[-1], rtol=0, atol=1e-7)
        assert np.linalg.norm(path, axis=1).max() + radius <= 1.0


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_a_pure_function_of_each_row(name: str):
    table = np.random.default_rng(0).random((50, FAMILY_UNIFORMS))
    times = np.linspace(0.0, 1.2, 37)
    together = FAMILIES[name](table, times)
    alone = np.concatenate([FAMILIES[name](row[None], times) for row in table])
    assert together.shape == (50, 37, 3)
    assert together.dtype == np.float64
    assert together.tobytes() == alone.tobytes()
    expected = [[naive.SHAPES[name](row, time) for time in times] for row in table]
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-14)


def zigzag(uniforms: Array, times: Array) -> Array:
    """A fifth family: up and down by turns along a line."""
    points = np.zeros((len(uniforms), len(times), 3))
    points[..., 0] = times
    points[..., 1] = np.abs(np.mod(times * (2.0 + uniforms[:, :1]), 1.0) - 0.5)
    return points


def test_a_fifth_family_is_one_function_and_one_registry_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(FAMILIES, "Zigzag", zigzag)
    classes = [*DatasetSpec().dataset.classes, "Zigzag"]
    spec = DatasetSpec.from_fields(classes=classes, frames=8, cameras=1)
    columns = make_scene(spec, range(200)).columns
    assert np.bincount(columns["class_label"]).tolist() == [40] * 5
    assert np.isfinite(columns["position"]).all()
    path = columns["position"][columns["class_label"] == 4].astype(np.float64)
    from_line, from_plane = per_path(path, measure_flatness).T
    assert from_line.min() > 0.01
    assert from_plane.max() < ROUNDING


def test_a_spec_can_select_a_single_family():
    alone = DatasetSpec.from_fields(classes=["Helical"], cameras=1)
    turns, *_ = per_path(
        make_scene(alone, range(100)).columns["position"].astype(np.float64), measure_winding
    ).T
    assert turns.min() > MARGINS["helix_turns_min"] - 1e-3
