"""Whatever a spec asks for builds, verifies, grows and reads; what must not be is refused, and nothing is written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.worlds import EVERYTHING

import trajstore
from trajstore.errors import SpecError
from trajstore.scene.scene import make_scene
from trajstore.spec import PATTERNS, SHAPES, DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.trajectories import FAMILIES

SMALL = {"samples": 20, "cameras": 2, "frames": 4, "height": 16, "width": 20, "samples_per_shard": 8}


def pairs(low: float, high: float) -> st.SearchStrategy[list[float]]:
    """Ranges between two limits."""
    return st.lists(st.floats(low, high), min_size=2, max_size=2).map(sorted)


def subsets(names: list[str]) -> st.SearchStrategy[list[str]]:
    """Some of a list, at least one."""
    return st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)


counts = st.lists(st.integers(0, 3), min_size=2, max_size=2).map(sorted)
worlds = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 99),
        "distractors": counts,
        "transients": counts,
        "transient_frames": st.lists(st.integers(1, 3), min_size=2, max_size=2).map(sorted),
        "shapes": subsets(list(SHAPES)),
        "orientation": st.sampled_from(["fixed", "tumbling"]),
        "motion": subsets(list(FAMILIES)),
        "clearance": st.floats(0.0, 0.3),
        "patterns": subsets(list(PATTERNS)),
        "cell": pairs(0.02, 2.0),
        "noise": pairs(0.0, 20.0),
        "blur": pairs(0.0, 1.0),
        "light_jitter": st.floats(0.0, 180.0),
        "margin": st.floats(-4.0, 0.5),
        "azimuth_jitter": st.floats(0.0, 180.0),
        "elevation_jitter": st.floats(0.0, 60.0),
        "distance_jitter": st.floats(0.0, 0.5),
        "roll_jitter": st.floats(0.0, 180.0),
        "orbit": pairs(-400.0, 400.0),
        "motion_labels": st.booleans(),
        "classes": subsets(list(FAMILIES)),
        "radius": st.sampled_from([[0.05, 0.1], [0.1, 0.6]]),
    },
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds)
def test_any_world_builds_verifies_and_grows(fields: dict[str, Any]):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.zarr"
        trajstore.build(path, **SMALL, **fields, workers=1)
        assert not trajstore.verify(path, deep=True, workers=1).findings
        trajstore.extend(path, samples=27, workers=1)
        assert not trajstore.verify(path, deep=True, workers=1).findings


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds, st.integers(0, 10**9), st.integers(1, 5))
def test_rows_do_not_depend_on_how_they_are_cut(fields: dict[str, Any], first: int, cut: int):
    spec = DatasetSpec.from_fields(**SMALL, **fields)
    video = spec.video

    def digest(rows: range) -> list[bytes]:
        scene = make_scene(spec, rows)
        clip = np.empty((video.cameras, video.frames, 3, video.height, video.width), np.uint8)
        found = []
        for index in range(len(rows)):
            scene.draw(index, slice(None), slice(None), clip)
            labels = (values[index].tobytes() for values in scene.columns.values())
            found.append(b"".join([*labels, clip.tobytes()]))
        return found

    whole = digest(range(first, first + 6))
    assert digest(range(first, first + cut)) + digest(range(first + cut, first + 6)) == whole


def test_a_clip_is_the_same_in_parts():
    spec = DatasetSpec.from_fields(**SMALL, **EVERYTHING)
    scene = make_scene(spec, range(4))
    for index in range(4):
        whole = np.empty((2, 4, 3, 16, 20), np.uint8)
        scene.draw(index, slice(None), slice(None), whole)
        for camera, frame in np.ndindex(2, 4):
            part = np.empty((1, 1, 3, 16, 20), np.uint8)
            scene.draw(index, slice(camera, camera + 1), slice(frame, frame + 1), part)
            np.testing.assert_array_equal(part[0, 0], whole[camera, frame])


@pytest.mark.parametrize("only", [None, *EVERYTHING])
def test_labels_are_those_that_the_layout_describes(only: str | None):
    fields = EVERYTHING if only is None else {only: EVERYTHING[only]}
    fields = fields | ({"classes": EVERYTHING["classes"]} if only == "weights" else {})
    spec = DatasetSpec.from_fields(**SMALL, **fields)
    found = {name: (v.shape[1:], v.dtype.name) for name, v in make_scene(spec, range(5)).columns.items()}
    labels = plan_layout(spec).group("labels").columns
    assert found == {column.name: (column.shape[1:], column.dtype) for column in labels}


@pytest.mark.filterwarnings("error")
def test_a_world_opens_in_xarray_and_says_what_is_absent(tmp_path: Path):
    path = tmp_path / "store.zarr"
    trajstore.build(path, **SMALL, **EVERYTHING)
    store = xarray.open_zarr(path)
    is_absent = store.body_role.values == -1
    assert is_absent.any()
    assert not is_absent[:, 0].any()
    number = np.arange(1, 5)
    first, last = store.first_frame.values[..., None], store.last_frame.values[..., None]
    is_there = (number >= first) & (number <= last)
    assert not is_there[is_absent].any()
    for name in ("body_position", "body_pixel", "body_depth", "body_box"):
        values = np.moveaxis(store[name].values, store[name].dims.index("frame"), 2)
        np.testing.assert_array_equal(np.isnan(values).reshape(*is_there.shape, -1).all(-1), ~is_there)
    visible = np.moveaxis(store.visible_pixels.values, 3, 2)
    assert not visible[~is_there].any()
    assert visible[is_there].any()
    np.testing.assert_array_equal(store.body_position[:, 0], store.position)
    np.testing.assert_array_equal(store.body_box[:, 0], store.box)
    np.testing.assert_array_equal(store.body_in_view[:, 0], store.in_view)
    duration = (last - first + 1)[store.body_role.values == 2]
    assert set(duration.ravel().tolist()) <= {1, 2}
    # projecting with a row's own cameras gives its pixels
    reader = trajstore.open_reader(path)
    intrinsics, extrinsics = reader.calibration([3, 7])
    point = (
        np.einsum("ncfij,nfj->ncfi", extrinsics[..., :3], store.position.values[[3, 7]]) + extrinsics[..., 3]
    )
    uvw = np.einsum("cij,ncfj->ncfi", intrinsics, point)
    np.testing.assert_allclose(store.pixel.values[[3, 7]], uvw[..., :2] / uvw[..., 2:], rtol=0, atol=1e-4)


def test_calibration_needs_rows_where_cameras_differ(tmp_path: Path):
    path = tmp_path / "store.zarr"
    trajstore.build(path, **SMALL, azimuth_jitter=5.0)
    reader = trajstore.open_reader(path)
    with pytest.raises(SpecError, match=r"calibration\(rows\)"):
        reader.calibration()
    assert (
        reader.calibration(range(3))[1].shape == reader.column("extrinsics", range(3)).shape == (3, 2, 3, 4)
    )
    assert reader.column("intrinsics", range(3)).shape == (3, 2, 3, 3)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"distractors": [3, 1]}, "bodies.distractors"),
        ({"distractors": 200, "transients": 60}, "expected at most 254"),
        ({"transients": 1, "transient_frames": [1, 5]}, "expected at most the 4 of the clip"),
        ({"shapes": ["blob"]}, "bodies.shapes"),
        ({"classes": ["Zigzag"]}, "dataset.classes: unknown class 'Zigzag'"),
        ({"motion": ["nowhere:path"]}, "bodies.motion: family nowhere:path"),
        ({"patterns": ["stripes"]}, "background.patterns"),
        ({"margin": -50.0}, "camera.margin"),
        ({"weights": [1, 2]}, "dataset.weights"),
        ({"noise": [3.0, 1.0]}, "sensor.noise"),
    ],
    ids=str,
)
def test_nonsense_is_one_line_and_writes_nothing(tmp_path: Path, fields: dict[str, Any], named: str):
    with pytest.raises(SpecError) as error:
        trajstore.build(tmp_path / "store.zarr", **SMALL, **fields)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_shard_of_noise_has_a_bounded_size():
    quiet, noisy = (plan_layout(DatasetSpec.from_fields(noise=noise)).group("video") for noise in (0.0, 1.0))
    assert quiet.rows_per_task == 250
    assert noisy.rows_per_task * noisy.row_bytes <= 32 * 2**20
    assert (
        plan_layout(DatasetSpec.from_fields(noise=1.0, height=4096, width=4096)).group("video").rows_per_task
        == 1
    )


@pytest.mark.parametrize(
    "storage",
    [{}, {"encoder": "zstd", "chunk": "sample", "samples_per_shard": 7}, {"compression_level": 3}],
    ids=str,
)
def test_what_a_store_has_settled_about_its_files_is_found_again(tmp_path: Path, storage: dict[str, Any]):
    path, root = tmp_path / "store.zarr", tmp_path / "store.zarr" / "zarr.json"
    fields = {**SMALL, "samples_per_shard": None, **storage}
    trajstore.build(path, **fields, noise=1.0)
    settled = trajstore.open_reader(path).spec.storage
    assert not trajstore.verify(path, deep=True).findings
    trajstore.build(
        path, DatasetSpec.from_fields(**fields, noise=1.0)
    )  # which leaves open what it leaves open
    trajstore.extend(path, samples=25)
    assert not trajstore.verify(path, deep=True).findings
    assert trajstore.open_reader(path).spec.storage == settled
    whole = root.read_bytes()
    # what the root says can be told from a torn one, or from the spec, as in any other store
    for damaged in (whole[: -len(whole) // 3], b""):
        root.write_bytes(damaged)
        trajstore.repair(path, spec=DatasetSpec.from_fields(**{**fields, "samples": 25}, noise=1.0))
        assert not trajstore.verify(path).findings
    rows = str(settled.samples_per_shard).encode()
    root.write_bytes(whole.replace(b'"samples_per_shard": ' + rows, b'"samples_per_shard": 2', 1))
    assert [finding.key for finding in trajstore.verify(path).damage] == ["zarr.json"]
    trajstore.repair(path)
    assert not trajstore.verify(path).findings
