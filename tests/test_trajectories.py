"""The families: closed forms, the margins that keep them apart, the unit ball, and one more family."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from support import naive

from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.trajectories import DEFAULT_CLASSES, FAMILIES, FAMILY_UNIFORMS, MARGINS, Family

ROWS = 12_000
ROUNDING = 5e-7
"""How far float32 may move a coordinate inside the unit ball, with a factor of eight to spare."""

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def paths() -> dict[str, Array]:
    """Seen positions (n, 32, 3) of all rows of each class, as stored."""
    spec = DatasetSpec.from_fields(cameras=1, seed=1, classes=list(FAMILIES))
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


def measure_steps(points: Array) -> tuple[float, float, float]:
    """Largest turn between neighbouring steps, degrees, and smallest and largest length of a step of points (m, 3)."""
    steps = np.diff(points, axis=0)
    length = np.linalg.norm(steps, axis=1)
    steps = steps[length > 1e-6]
    cross = np.linalg.norm(np.cross(steps[1:], steps[:-1]), axis=1)
    turns = np.arctan2(cross, (steps[1:] * steps[:-1]).sum(axis=1))
    return math.degrees(turns.max(initial=0.0)), float(length.min()), float(length.max())


def measure_twist(points: Array) -> tuple[float, float]:
    """Degrees by which the plane of motion turns about the direction of points (m, 3), to the left and to the right."""
    steps = np.diff(points, axis=0)
    normals = np.cross(steps[:-1], steps[1:])
    cross = np.cross(normals[:-1], normals[1:])
    angle = np.arctan2(
        np.sign((cross * steps[1:-1]).sum(axis=1)) * np.linalg.norm(cross, axis=1),
        (normals[:-1] * normals[1:]).sum(axis=1),
    )
    return math.degrees(-angle[angle < 0.0].sum()), math.degrees(angle[angle > 0.0].sum())


def measure_thickness(points: Array) -> float:
    """Root mean square distance of points (m, 3) from their best plane, in halves of their extent."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
    thinnest = np.linalg.svd(points - points.mean(axis=0))[1][2]
    return float(thinnest / math.sqrt(len(points)) / np.linalg.norm(points - middle, axis=1).max())


def measure_upright(points: Array) -> tuple[Array, Array, float]:
    """Way along (m,) and height (m,) of points (m, 3) in an upright plane, and how far they are off it."""
    flat = points[:, :2] - points[:, :2].mean(axis=0)
    _, _, axes = np.linalg.svd(flat)
    return flat @ axes[0], points[:, 2], float(np.abs(flat @ axes[1]).max())


def fit_circle(along: Array, height: Array) -> tuple[float, float, float, float]:
    """Centre, radius and largest departure of the best circle through points of a plane."""
    system = np.column_stack([2.0 * along, 2.0 * height, np.ones(len(along))])
    (x, z, rest), *_ = np.linalg.lstsq(system, along**2 + height**2, rcond=None)
    radius = math.sqrt(rest + x**2 + z**2)
    return x, z, radius, float(np.abs(np.hypot(along - x, height - z) - radius).max())


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


def test_a_ball_falls_and_bounces_in_an_upright_plane_and_goes_on_at_constant_speed(paths: dict[str, Array]):
    fewest = np.inf
    for points in paths["Bouncing"]:
        along, height, off_plane = measure_upright(points)
        assert off_plane < ROUNDING
        assert np.abs(np.diff(along, n=2)).max() < 4 * ROUNDING
        assert np.abs(np.diff(along)).min() > 0.01
        # it falls freely at first; a step in which it meets the floor is bent upwards
        bend = np.diff(height, n=2)
        assert np.ptp(bend[:4]) < 8 * ROUNDING
        is_flying = bend < 0.0
        fewest = min(fewest, np.count_nonzero(is_flying[:-1] & ~is_flying[1:]))
    assert fewest >= MARGINS["bounces_min"]


def test_each_jump_of_a_ball_is_lower_than_the_one_before(paths: dict[str, Array]):
    assert FAMILIES["Bouncing"].is_upright
    table = np.random.default_rng(3).random((100, FAMILY_UNIFORMS))
    times = np.linspace(0.0, 1.0, 10_001)
    height = FAMILIES["Bouncing"].path(table, times)[..., 2]
    restitution = FAMILIES["Bouncing"].parameters["restitution"](table)
    assert height.min() >= 0.0
    for path, share in zip(height, restitution, strict=True):
        floor = np.flatnonzero((path[1:-1] < path[:-2]) & (path[1:-1] <= path[2:])) + 1
        assert len(floor) >= MARGINS["bounces_min"]
        assert path[floor].max() < 1e-3
        peaks = [path[a:b].max() for a, b in pairwise(floor)]
        np.testing.assert_allclose(peaks, share ** (2.0 * np.arange(1, len(peaks) + 1)), rtol=0, atol=1e-4)


def test_a_pendulum_swings_to_and_fro_on_an_arc_in_an_upright_plane(paths: dict[str, Array]):
    reversals, arcs = [], []
    for points in paths["Pendulum"]:
        along, height, off_plane = measure_upright(points)
        assert off_plane < ROUNDING
        x, z, radius, departure = fit_circle(along, height)
        assert departure / radius < 1e-4
        assert z > height.max(), "it hangs below its pivot"
        angle = np.degrees(np.arctan2(along - x, z - height))
        speed = np.diff(angle)
        reversals.append(np.count_nonzero(speed[1:] * speed[:-1] < 0.0))
        arcs.append(np.ptp(angle))
        assert abs(angle.min() + angle.max()) < 12.0, "about the same to both sides"
    # a whole swing turns round twice, and is cut in 31 steps
    assert min(reversals) >= 2.0 * MARGINS["pendulum_swings_min"] - 1.0
    assert max(reversals) >= 5
    assert min(arcs) > MARGINS["pendulum_arc_degrees_min"] - 3.0
    assert max(arcs) < MARGINS["pendulum_arc_degrees_max"] + 0.01


def test_a_random_walk_stays_off_every_plane_and_twists_to_both_sides(paths: dict[str, Array]):
    thickness = per_path(paths["RandomWalk"], measure_thickness)
    left, right = per_path(paths["RandomWalk"], measure_twist).T
    assert thickness.min() > MARGINS["random_walk_off_plane_min"]
    assert np.minimum(left, right).min() > MARGINS["random_walk_twist_degrees_min"]
    # a helix twists to one side only
    left, right = per_path(paths["Helical"], measure_twist).T
    assert np.minimum(left, right).max() < 1.0


def test_a_random_walk_is_smooth_also_before_the_first_frame_and_comes_to_rest():
    table = np.random.default_rng(4).random((200, FAMILY_UNIFORMS))
    step = 1e-3
    walk = FAMILIES["RandomWalk"].path(table, np.arange(-0.05, 2.0, step))
    speed = np.diff(walk, axis=1) / step
    # neither the speed nor the acceleration jumps
    assert np.abs(np.diff(speed, axis=1)).max() < 60.0 * step
    assert np.abs(np.diff(speed, n=2, axis=1)).max() < 600.0 * step * step
    assert np.abs(speed[:, -100:]).max() == 0.0


def test_what_is_still_does_not_move_and_all_else_does(paths: dict[str, Array]):
    assert np.ptp(paths["Still"], axis=1).max() == 0.0
    for name in set(FAMILIES) - {"Still"}:
        assert np.linalg.norm(np.ptp(paths[name], axis=1), axis=1).min() > 0.3


def take_for(points: Array) -> str:
    """The family that points (32, 3) belong to, by the stated margins alone."""
    half_extent = np.linalg.norm(np.ptp(points, axis=0)) / 2.0
    if half_extent == 0.0:
        return "Still"
    from_line, _ = measure_flatness(points)
    if from_line < 0.05 * half_extent:
        return "Linear"
    if measure_thickness(points) > MARGINS["random_walk_off_plane_min"] / 2.0:
        return "RandomWalk" if min(measure_twist(points)) > 30.0 else "Helical"
    if measure_steps(points)[0] > 50.0:  # a smooth path turns by 30 degrees at most from step to step
        along, *_ = measure_upright(points)
        goes_on = np.abs(np.diff(along, n=2)).max() < 0.01 * np.ptp(along)
        return "Bouncing" if goes_on else "Pendulum"
    _, turning = measure_arc(points)
    return "Circular" if turning > 180.0 else "Parabolic"


def test_nothing_can_be_taken_for_anything_else(paths: dict[str, Array]):
    taken = {name: {take_for(points) for points in of_class} for name, of_class in paths.items()}
    assert taken == {name: {name} for name in FAMILIES}


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
    {"classes": list(FAMILIES)},
    {"classes": list(FAMILIES), "frames": 1, "horizon": 40},
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
def test_a_family_is_a_pure_function_of_each_row_and_time(name: str):
    table = np.random.default_rng(0).random((50, FAMILY_UNIFORMS))
    times = np.linspace(-0.1, 2.2, 37)
    path = FAMILIES[name].path
    together = path(table, times)
    rows = np.concatenate([path(row[None], times) for row in table])
    moments = np.concatenate([path(table, time[None]) for time in times], axis=1)
    assert together.shape == (50, 37, 3)
    assert together.dtype == np.float64
    assert together.tobytes() == rows.tobytes() == moments.tobytes()
    expected = [[naive.SHAPES[name](row, time) for time in times] for row in table]
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_is_a_number_for_each_row(name: str):
    table = np.random.default_rng(1).random((200, FAMILY_UNIFORMS))
    for function in FAMILIES[name].parameters.values():
        values = function(table)
        assert values.shape == (200,)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        assert len(set(values.tolist())) > 1


def test_the_default_classes_stay_the_four_of_version_0_1():
    assert DatasetSpec().dataset.classes == DEFAULT_CLASSES == ("Linear", "Circular", "Helical", "Parabolic")


def zigzag(uniforms: Array, times: Array) -> Array:
    """One more family: up and down by turns along a line."""
    points = np.zeros((len(uniforms), len(times), 3))
    points[..., 0] = times
    points[..., 1] = np.abs(np.mod(times * (2.0 + uniforms[:, :1]), 1.0) - 0.5)
    return points


def test_one_more_family_is_one_function_and_one_registry_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(FAMILIES, "Zigzag", Family(zigzag))
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
