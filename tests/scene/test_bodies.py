"""Bodies: who is there and when, where they may be, what they look like, and how they move and turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trajstore.scene.bodies import ABSENT, ROLES, TUMBLING
from trajstore.scene.order import class_labels
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import SHAPES, DatasetSpec
from trajstore.trajectories import FAMILIES

ROWS = 2000
TARGET, DISTRACTOR, TRANSIENT = range(len(ROLES))
FIELDS = {
    "cameras": 1,
    "frames": 12,
    "height": 16,
    "width": 16,
    "seed": 11,
    "distractors": [1, 4],
    "transients": [0, 3],
    "transient_frames": [2, 5],
    "shapes": list(SHAPES),
    "motion": ["Linear", "Circular", "Still"],
}

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def spec() -> DatasetSpec:
    return DatasetSpec.from_fields(**FIELDS)


@pytest.fixture(scope="module")
def scene(spec: DatasetSpec) -> Scene:
    return make_scene(spec, range(ROWS))


def check_even(values: NDArray[np.integer], choices: list[int]) -> None:
    """Check that each choice occurs about as often as the others: within six standard deviations."""
    counts = np.array([np.count_nonzero(values == choice) for choice in choices])
    assert counts.sum() == len(values)
    expected = len(values) / len(choices)
    assert np.abs(counts - expected).max() < 6.0 * np.sqrt(expected)


def test_there_is_one_target_and_as_many_others_as_the_spec_says(scene: Scene):
    role = scene.columns["body_role"]
    assert role.shape == (ROWS, 8)
    assert (role[:, 0] == TARGET).all()
    assert (role[:, 1:] != TARGET).all()
    check_even((role == DISTRACTOR).sum(axis=1), [1, 2, 3, 4])
    check_even((role == TRANSIENT).sum(axis=1), [0, 1, 2, 3])


def test_the_number_of_transients_does_not_depend_on_that_of_distractors(scene: Scene):
    counts = [(scene.columns["body_role"] == code).sum(axis=1) for code in (DISTRACTOR, TRANSIENT)]
    # of 2,000 independent pairs it has a standard deviation of 0.022
    assert abs(np.corrcoef(counts)[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("distractors", "transients"),
    [([0, 0], [1, 1]), ([2, 2], [0, 0]), ([0, 1], [0, 0]), ([200, 250], [3, 3])],
)
def test_counts_of_any_range_are_reached(distractors: list[int], transients: list[int]):
    spec = DatasetSpec.from_fields(
        cameras=1, frames=4, transient_frames=4, distractors=distractors, transients=transients
    )
    role = make_scene(spec, range(100)).columns["body_role"]
    assert role.shape[1] == spec.bodies.count == 1 + distractors[1] + transients[1]
    for code, (low, high) in ((DISTRACTOR, distractors), (TRANSIENT, transients)):
        counts = (role == code).sum(axis=1)
        assert low <= counts.min() <= counts.max() <= high
        if high - low < 10:
            assert set(counts.tolist()) == set(range(low, high + 1))


def test_all_but_transients_are_there_all_the_time(scene: Scene):
    role, first, last = (scene.columns[name] for name in ("body_role", "first_frame", "last_frame"))
    is_whole = (role == TARGET) | (role == DISTRACTOR)
    assert (first[is_whole] == 1).all()
    assert (last[is_whole] == 12).all()
    assert (first[role == ABSENT] == 0).all()
    assert (last[role == ABSENT] == 0).all()


def test_transients_come_and_go_at_any_time(scene: Scene):
    role, first, last = (scene.columns[name] for name in ("body_role", "first_frame", "last_frame"))
    first, last = first[role == TRANSIENT], last[role == TRANSIENT]
    duration = last - first + 1
    check_even(duration, [2, 3, 4, 5])
    for frames in (2, 3, 4, 5):
        check_even(first[duration == frames], list(range(1, 12 - frames + 2)))


def test_what_is_not_there_has_no_values(scene: Scene):
    columns, n = scene.columns, ROWS
    number = np.arange(1, 13)
    is_present = (number >= columns["first_frame"][..., None]) & (number <= columns["last_frame"][..., None])
    for name in ("body_position", "body_orientation"):
        assert (np.isfinite(columns[name]) == is_present[..., None]).all()
    for name in ("body_pixel", "body_depth", "body_box"):
        values = columns[name].reshape(n, 8, 1, 12, -1)
        assert (np.isfinite(values) == is_present[:, :, None, :, None]).all()
    is_absent = columns["body_role"] == ABSENT
    assert (columns["body_shape"][is_absent] == ABSENT).all()
    assert np.isnan(columns["body_radius"][is_absent]).all()
    assert (columns["body_color"][is_absent] == 0).all()
    assert (columns["visible_pixels"][~is_present[:, :, None]] == 0).all()


def test_the_target_is_the_first_body(scene: Scene):
    columns = scene.columns
    for name, of_bodies in (
        ("position", "body_position"),
        ("pixel", "body_pixel"),
        ("depth", "body_depth"),
        ("box", "body_box"),
        ("radius", "body_radius"),
        ("object_color", "body_color"),
    ):
        np.testing.assert_array_equal(columns[name], columns[of_bodies][:, 0])


@pytest.mark.parametrize("clearance", [None, 0.0, 0.2])
def test_bodies_stay_in_the_unit_ball_and_keep_their_clearance(clearance: float | None):
    fields = FIELDS | {"motion": list(FAMILIES)} | ({} if clearance is None else {"clearance": clearance})
    columns = make_scene(DatasetSpec.from_fields(**fields), range(800)).columns
    position, radius = columns["body_position"].astype(float), columns["body_radius"].astype(float)
    reach = np.linalg.norm(position, axis=-1) + radius[..., None]
    assert np.nanmax(reach) <= 1.0
    distance = np.linalg.norm(position[:, 1:] - position[:, :1], axis=-1)
    gap = distance - radius[:, 1:, None] - radius[:, :1, None]
    if clearance is None:
        assert np.nanmin(gap) < 0.0, "bodies may pass through the target"
    else:
        assert np.nanmin(gap) >= clearance - 1e-6


def test_a_body_without_a_place_is_left_out_and_the_others_stay(scene: Scene, spec: DatasetSpec):
    asked = scene.columns["body_role"]
    kept = make_scene(spec.replace(clearance=0.3), range(ROWS)).columns["body_role"]
    assert ((kept == asked) | (kept == ABSENT)).all()
    left_out = (kept != asked).mean()
    assert 0.0 < left_out < 0.2


def test_shapes_are_drawn_evenly(scene: Scene):
    columns = scene.columns
    check_even(columns["body_shape"][columns["body_role"] != ABSENT], list(range(len(SHAPES))))


def guess(features: Array, label: NDArray[np.integer]) -> float:
    """Share of a held-out half that a linear classifier of features and their products finds rightly.

    The score is the balanced one: what it is by chance is 1 / classes, whatever their shares.
    """
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    products = np.einsum("ni,nj->nij", scaled, scaled)[:, *np.triu_indices(scaled.shape[1])]
    table = np.concatenate([np.ones((len(scaled), 1)), scaled, products], axis=1)
    half = len(table) // 2
    classes, target = np.unique(label, return_inverse=True)
    wanted = np.eye(len(classes))[target]
    # each class weighs the same
    weight = 1.0 / np.bincount(target[:half])[target[:half], None]
    square = (weight * table[:half]).T @ table[:half] + 1e-6 * np.eye(table.shape[1])
    found = (table[half:] @ np.linalg.solve(square, (weight * table[:half]).T @ wanted[:half])).argmax(axis=1)
    right = [(found[target[half:] == index] == index).mean() for index in range(len(classes))]
    return float(np.mean(right))


def describe_looks(scene: Scene) -> Array:
    """Colour, size, shape and background of each body (n, bodies, features)."""
    columns = scene.columns
    shape = columns["body_shape"][..., None] == np.arange(len(SHAPES))
    background = np.broadcast_to(columns["background_color"][:, None], columns["body_color"].shape)
    radius = columns["body_radius"][..., None]
    return np.concatenate([columns["body_color"], radius, shape, background], axis=-1).astype(float)


def test_the_classifier_finds_what_there_is_to_find(scene: Scene):
    looks = describe_looks(scene)[:, 0]
    is_dark = scene.columns["background_color"].max(axis=1) < 128
    assert guess(looks[:, :8], is_dark) > 0.9


def test_looks_do_not_tell_the_role_of_a_body(scene: Scene):
    role, looks = scene.columns["body_role"], describe_looks(scene)
    is_there = role != ABSENT
    # 1,000 rows of the held-out half have 1,000 targets: three standard deviations of the score are 0.04
    assert abs(guess(looks[is_there], role[is_there]) - 1.0 / 3.0) < 0.04


@pytest.mark.parametrize("body", [0, 1])
def test_looks_do_not_tell_the_class_of_the_target(body: int, spec: DatasetSpec):
    scene = make_scene(spec, range(6000))
    # 3,000 rows of four classes: three standard deviations are 0.024
    assert abs(guess(describe_looks(scene)[:, body], scene.columns["class_label"]) - 0.25) < 0.03


def test_what_else_is_there_does_not_tell_the_class_of_the_target(spec: DatasetSpec):
    columns = make_scene(spec, range(6000)).columns
    role = columns["body_role"]
    counts = np.stack([(role == DISTRACTOR).sum(axis=1), (role == TRANSIENT).sum(axis=1)], axis=-1)
    features = np.concatenate([counts, columns["first_frame"][:, 1:], columns["last_frame"][:, 1:]], axis=1)
    assert abs(guess(features.astype(float), columns["class_label"]) - 0.25) < 0.03


def test_other_bodies_leave_the_target_as_it_is(scene: Scene, spec: DatasetSpec):
    alone = make_scene(spec.replace(distractors=0, transients=0, shapes=["sphere"]), range(ROWS)).columns
    for name in set(alone) - {"box"}:  # which is that of its shape
        np.testing.assert_array_equal(alone[name], scene.columns[name])


@settings(max_examples=8)
@given(
    st.integers(0, 10**7),
    st.lists(st.integers(1, 11), max_size=3, unique=True).map(sorted),
    st.sampled_from([{}, {"clearance": 0.1, "orientation": "tumbling", "motion_labels": True}]),
)
def test_rows_are_the_same_however_they_are_cut(first: int, edges: list[int], fields: dict):
    spec = DatasetSpec.from_fields(**FIELDS, **fields)

    def digest(rows: range) -> list[bytes]:
        scene, clip = make_scene(spec, rows), np.empty((1, 12, 3, 16, 16), np.uint8)
        digests = []
        for index in range(len(rows)):
            scene.draw(index, slice(None), slice(None), clip)
            values = (column[index].tobytes() for column in scene.columns.values())
            digests.append(b"".join([*values, clip.tobytes()]))
        return digests

    whole = digest(range(first, first + 12))
    pieces = [digest(range(first + a, first + b)) for a, b in zip([0, *edges], [*edges, 12], strict=True)]
    assert [row for piece in pieces for row in piece] == whole


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=6).map(tuple),
    st.integers(0, 2**40),
    st.integers(0, 2**63 - 1),
)
def test_each_class_occurs_in_every_aligned_group_as_often_as_its_weight_says(
    weights: tuple[int, ...], group: int, seed: int
):
    size = sum(weights)
    label = class_labels(seed, first=group * size, count=5 * size, weights=weights).reshape(5, size)
    for of_group in label:
        assert np.bincount(of_group, minlength=len(weights)).tolist() == list(weights)


def test_weights_are_those_of_the_rows_of_each_split():
    spec = DatasetSpec.from_fields(cameras=1, frames=1, classes=["Linear", "Still"], weights=[3, 1])
    columns = make_scene(spec, range(80 * 5)).columns
    for split in range(3):
        counts = np.bincount(columns["class_label"][columns["split"] == split])
        assert counts[0] == 3 * counts[1] > 0


def test_motion_labels_are_those_of_the_positions():
    spec = DatasetSpec.from_fields(cameras=1, frames=20, classes=list(FAMILIES), motion_labels=True)
    columns = make_scene(spec, range(800)).columns
    position, label = columns["position"].astype(float), columns["class_label"]
    length = np.linalg.norm(np.diff(position, axis=1), axis=-1).sum(axis=1)
    np.testing.assert_allclose(columns["path_length"], length, rtol=1e-6)
    np.testing.assert_allclose(columns["speed"], length / 19.0, rtol=1e-6)
    way = position[:, -1] - position[:, 0]
    distance = np.linalg.norm(way, axis=1)
    is_moved = distance > 1e-6
    direction = columns["direction"]
    np.testing.assert_allclose(
        direction[is_moved], way[is_moved] / distance[is_moved, None], rtol=0, atol=1e-6
    )
    assert np.isnan(direction[~is_moved]).all()
    is_still = label == list(FAMILIES).index("Still")
    assert (is_still <= ~is_moved).all()
    assert (columns["speed"][is_still] == 0.0).all()


def test_one_frame_has_no_speed_and_no_direction():
    spec = DatasetSpec.from_fields(cameras=1, frames=1, motion_labels=True)
    columns = make_scene(spec, range(8)).columns
    assert (columns["speed"] == 0.0).all()
    assert (columns["path_length"] == 0.0).all()
    assert np.isnan(columns["direction"]).all()


def to_axes(quaternion: Array) -> Array:
    """Where a rotation by unit quaternions (..., 4) takes the three axes, as columns (..., 3, 3)."""
    w, v = quaternion[..., :1], quaternion[..., 1:]
    turned = []
    for axis in np.eye(3):
        once = np.cross(v, axis)
        turned.append(axis + 2.0 * w * once + 2.0 * np.cross(v, once))
    return np.stack(turned, axis=-1)


@pytest.mark.parametrize("orientation", ["fixed", "tumbling"])
def test_orientations_are_unit_quaternions_without_preference(orientation: str, spec: DatasetSpec):
    columns = make_scene(spec.replace(orientation=orientation), range(ROWS)).columns
    whole = columns["body_orientation"][:, :2].astype(float)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=-1), 1.0, rtol=0, atol=1e-6)
    for frame in (0, 11):
        axes = to_axes(whole[:, :, frame].reshape(-1, 4))
        # of 4,000 rotations each entry has a mean of 0 and a square of 1/3, with deviations of 0.009 and 0.005
        assert np.abs(axes.mean(axis=0)).max() < 0.05
        np.testing.assert_allclose((axes**2).mean(axis=0), 1.0 / 3.0, rtol=0, atol=0.03)
        turn = 2.0 * np.arccos(np.clip(np.abs(whole[:, :, frame, 0]), 0.0, 1.0))
        # uniform rotations turn by θ with a density of (1 − cos θ) / π
        assert turn.mean() == pytest.approx(np.pi / 2.0 + 2.0 / np.pi, abs=0.05)


def test_fixed_bodies_keep_their_orientation(scene: Scene):
    orientation = scene.columns["body_orientation"][:, 0]
    assert (orientation == orientation[:, :1]).all()


def test_tumbling_bodies_turn_around_an_axis_at_a_constant_rate(spec: DatasetSpec):
    columns = make_scene(spec.replace(orientation="tumbling", frames=32), range(500)).columns
    axes = to_axes(columns["body_orientation"][:, 0].astype(float))
    steps = axes[:, 1:] @ np.swapaxes(axes[:, :-1], -1, -2)
    # each step is the same rotation in the world, around the same axis
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), rtol=0, atol=3e-6)
    trace = np.trace(steps[:, 0], axis1=-2, axis2=-1)
    turns = 31.0 * np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0)) / (2.0 * np.pi)
    least, most = TUMBLING
    assert least - 1e-3 <= turns.min() < least + 0.05
    assert most - 0.05 < turns.max() <= most + 1e-3
