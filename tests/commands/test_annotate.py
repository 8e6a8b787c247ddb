"""A store that is given annotations is the store that would have been built with them, wherever it was interrupted."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from support.faults import (
    KillAt,
    assert_flags_are_true,
    assert_same_bytes,
    fill_disk,
    flip_bit,
    run,
    small_disk,
    start,
    swap,
    tree,
    truncate,
)
from support.stores import open_store

import trajstore
from trajstore.errors import (
    DriftError,
    InterruptedBuildError,
    NewerStoreError,
    NotEnoughSpaceError,
    SpecMismatchError,
    StoreError,
)
from trajstore.progress import Progress
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import ANNOTATIONS
from trajstore.store.attributes import NAMESPACE
from trajstore.store.groups.annotations import ARRAYS

FIXTURE = Path(__file__).parents[1] / "fixtures" / "store-0.1"
NAMES = ("segmentation", "flow", "tracks")
ALL_ARRAYS = [array.name for arrays in ARRAYS.values() for array in arrays]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory, tiny_fields: dict[str, Any]) -> Path:
    """A store that was built with all annotations at once, for reading only."""
    path = tmp_path_factory.mktemp("complete") / "a.zarr"
    trajstore.build(path, **tiny_fields, groups=list(ANNOTATIONS))
    return path


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory, tiny_fields: dict[str, Any]) -> Path:
    """A store that was built with some annotations at once, for reading only."""
    path = tmp_path_factory.mktemp("annotated") / "a.zarr"
    trajstore.build(path, **tiny_fields, groups=list(NAMES))
    return path


def events(path: Path) -> list[tuple[str, list[str]]]:
    """What has happened to a store, and to which annotations."""
    return [(entry["event"], entry.get("groups", [])) for entry in trajstore.info(path).history]


def open_strictly(path: Path) -> xarray.Dataset:
    """What xarray sees, where it has nothing to warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xarray.open_zarr(path)


@pytest.mark.parametrize(
    "steps",
    [[ANNOTATIONS], [ANNOTATIONS[::-1]], [(name,) for name in ANNOTATIONS[::-1]], [NAMES, ANNOTATIONS]],
    ids=["at once", "in another order", "one after the other", "some, then all"],
)
def test_annotating_is_building_with_annotations(
    steps: list[tuple[str, ...]], tiny_copy: Path, complete: Path
) -> None:
    for names in steps:
        assert trajstore.annotate(tiny_copy, *names).summary.is_complete
        assert trajstore.verify(tiny_copy).findings == ()
    assert_same_bytes(tiny_copy, complete)


def test_values_are_those_of_the_scene(complete: Path) -> None:
    spec = open_store(complete).spec
    scene = make_scene(spec, range(44))
    with open_strictly(complete) as dataset:
        for name in ALL_ARRAYS:
            stored = dataset[name].values
            for row in (0, 8, 43):
                drawn = scene.annotate(row, (name,), slice(None), slice(None))[name]
                assert stored.dtype == drawn.dtype, name
                np.testing.assert_array_equal(stored[row], drawn, err_msg=name)
            assert {"long_name", "comment"} <= dataset[name].attrs.keys()
        assert dataset.segmentation.attrs["flag_meanings"] == "background body_0"
        assert dataset.intrinsics.shape == (2, 3, 3)
    with trajstore.open(complete) as dataset:
        assert dataset.target_points.sel(xy="y").shape == (44, 2, 64, 4)
        assert dataset.forward_flow.sel(uv="v", frame=2).shape == (44, 2, 16, 16)


def test_whole_worlds_are_annotated(world_store: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(world_store, tmp_path / "a.zarr"))
    trajstore.annotate(path, *ANNOTATIONS)
    assert trajstore.verify(path, deep=True).findings == ()
    with open_strictly(path) as dataset:
        seen = np.stack([(dataset.segmentation == body + 1).sum(("y", "x")) for body in range(5)], 1)
        np.testing.assert_array_equal(seen, dataset.visible_pixels)


def test_one_pass_over_a_row_fills_all_groups(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[range] = []

    def describe(spec: Any, rows: range) -> Scene:
        drawn.append(rows)
        return make_scene(spec, rows)

    monkeypatch.setattr("trajstore.store.write.make_scene", describe)
    report = trajstore.annotate(tiny_copy, *NAMES)
    assert sorted(drawn, key=lambda rows: rows.start) == [
        range(at, min(at + 8, 44)) for at in range(0, 44, 8)
    ]
    assert report.new_rows == dict.fromkeys(NAMES, 44)
    assert report.new_samples == 0


def test_progress_counts_each_group(tiny_copy: Path) -> None:
    seen: list[Progress] = []
    trajstore.annotate(tiny_copy, *NAMES, progress=seen.append)
    last = {event.phase: event for event in seen}
    assert last.keys() == set(NAMES)
    with open_strictly(tiny_copy) as dataset:
        raw = {name: sum(dataset[array.name].nbytes for array in ARRAYS[name]) for name in NAMES}
    for name, event in last.items():
        assert (event.done, event.total, event.fresh, event.raw_bytes) == (44, 44, 44, raw[name])
        assert event.stored_bytes == trajstore.info(tiny_copy).stored_bytes[name] - sum(
            (tiny_copy / array.name / "zarr.json").stat().st_size for array in ARRAYS[name]
        )


STEPS = [
    KillAt("segmentation/zarr.json", "before"),
    KillAt("tracks_written/zarr.json", "renaming"),
    KillAt("query_points/zarr.json", "after"),
    KillAt("a.zarr/zarr.json", "before"),
    KillAt("a.zarr/zarr.json", "renaming"),
    KillAt("a.zarr/zarr.json", "after"),
    KillAt("segmentation/c.*", "before"),
    KillAt("forward_flow/c.*", "renaming", count=2),
    KillAt("backward_flow/c.*", "after", count=3),
    KillAt("occluded/c.*", "after"),
    KillAt("segmentation_written/c.*", "before"),
    KillAt("flow_written/c.*", "before", count=2),
    KillAt("flow_written/c.*", "renaming", count=3),
    KillAt("flow_written/c.*", "after", count=4),
    KillAt("tracks_written/c.*", "after", count=6),
    KillAt("a.zarr/zarr.json", "before", count=2),  # the record that it is finished
    KillAt("a.zarr/zarr.json", "renaming", count=2),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.moment} {step.key} {step.count}")
def test_killed_at_a_step(step: KillAt, tiny_store: Path, annotated: Path, tmp_path: Path) -> None:
    """Annotating again completes it; so does building, if the store says that it has them."""
    path = Path(shutil.copytree(tiny_store, tmp_path / "a.zarr"))
    killed = run("annotate", path, *NAMES, "-q", kill=step)
    assert killed.code == -9
    with open_strictly(path) as dataset:
        assert dataset.video_written.all()
    assert_flags_are_true(path, annotated)
    assert trajstore.verify(path).is_sound
    assert trajstore.repair(path).remaining == ()
    groups = open_store(path).spec.annotations.groups
    assert groups in ((), NAMES)
    other = Path(shutil.copytree(path, tmp_path / "b.zarr"))
    trajstore.build(other)
    if groups:
        assert_same_bytes(other, annotated)
    else:
        assert trajstore.verify(other).is_sound
    trajstore.annotate(path, *NAMES)
    assert_same_bytes(path, annotated)
    assert trajstore.verify(path).findings == ()
    assert events(path)[2:] == [("annotated", list(NAMES)), ("finished", [])]


def test_killed_at_any_moment(tiny_store: Path, annotated: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    for number in range(3):
        path = Path(shutil.copytree(tiny_store, tmp_path / f"{number}.zarr"))
        for _ in range(3):
            command = start("annotate", path, *NAMES, "-q")
            time.sleep(rng.uniform(0.0, 0.3))
            command.kill()
            assert trajstore.verify(path).is_sound
            if rng.random() < 0.5:
                trajstore.repair(path)
        trajstore.annotate(path, *NAMES)
        assert_same_bytes(path, annotated)


def test_interrupted_and_resumed(tiny_copy: Path, annotated: Path) -> None:
    answers = iter([0, 0, 2])
    with pytest.raises(InterruptedBuildError, match=r"missing; continue with: trajstore annotate") as stopped:
        trajstore.annotate(tiny_copy, *NAMES, workers=1, should_stop=lambda: next(answers, 2))
    command = str(stopped.value).partition("continue with: trajstore ")[2].split()
    assert "samples of segmentation and flow and tracks are written" in str(stopped.value)
    assert 0 < trajstore.info(tiny_copy).written["flow"] < 44
    assert run(*command).code == 0
    assert_same_bytes(tiny_copy, annotated)


def test_parts(tiny_copy: Path, annotated: Path) -> None:
    for part in ("2/3", "2/3", "1/3"):
        trajstore.annotate(tiny_copy, *NAMES, part=part)
        assert trajstore.verify(tiny_copy).is_sound
    assert trajstore.info(tiny_copy).written["flow"] == 32
    assert trajstore.verify(tiny_copy).pending == {"labels": 0, "video": 0, **dict.fromkeys(NAMES, 12)}
    with open_strictly(tiny_copy) as dataset:  # what is not written cannot be taken for a value
        assert (dataset.segmentation[32:] == 255).all()
        assert dataset.forward_flow[32:].isnull().all()
        assert dataset.occluded[32:].all()
    trajstore.annotate(tiny_copy, *NAMES, part="3/3")
    assert_same_bytes(tiny_copy, annotated)


def test_a_group_that_is_ahead_of_the_others_is_not_written_again(tiny_copy: Path, annotated: Path) -> None:
    trajstore.annotate(tiny_copy, "flow", part="1/2")
    before = {path: path.stat().st_mtime_ns for path in (tiny_copy / "forward_flow").glob("c.*")}
    report = trajstore.annotate(tiny_copy, *NAMES)
    assert report.new_rows == {"segmentation": 44, "flow": 20, "tracks": 44}
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert_same_bytes(tiny_copy, annotated)


def test_two_at_once(tiny_copy: Path, annotated: Path) -> None:
    commands = [start("annotate", tiny_copy, *NAMES, "-q") for _ in range(2)]
    assert {command.wait().code for command in commands} <= {0, 1}
    assert trajstore.verify(tiny_copy).is_sound
    trajstore.annotate(tiny_copy, *NAMES)
    assert_same_bytes(tiny_copy, annotated)


def test_an_unfinished_store_is_annotated(
    tmp_path: Path, tiny_fields: dict[str, Any], annotated: Path
) -> None:
    path = tmp_path / "a.zarr"
    trajstore.build(path, part="1/3", **tiny_fields)
    report = trajstore.annotate(path, *NAMES)
    assert report.summary.written == {"labels": 0, "video": 16, **dict.fromkeys(NAMES, 44)}
    assert trajstore.verify(path).is_sound
    trajstore.build(path)
    assert_same_bytes(path, annotated)
    assert events(path) == [("created", []), ("annotated", list(NAMES)), ("finished", [])]


@pytest.mark.parametrize("sizes", [(1, 44), (8, 43, 44), (20, 44)])
def test_a_store_that_grows_grows_its_annotations(
    sizes: tuple[int, ...], tmp_path: Path, tiny_fields: dict[str, Any], annotated: Path
) -> None:
    path = tmp_path / "a.zarr"
    trajstore.build(path, **tiny_fields | {"samples": sizes[0]})
    trajstore.annotate(path, *NAMES)
    for size in sizes[1:]:
        summary = trajstore.extend(path, size).summary
        assert set(summary.written.values()) == {size}
    assert_same_bytes(path, annotated)


def test_a_half_annotated_store_grows(tmp_path: Path, tiny_fields: dict[str, Any], annotated: Path) -> None:
    path = tmp_path / "a.zarr"
    trajstore.build(path, **tiny_fields | {"samples": 20})
    trajstore.annotate(path, *NAMES, part="2/2")
    killed = run("extend", path, "--samples", 44, "-q", kill=KillAt("flow_written/zarr.json", "before"))
    assert killed.code == -9
    assert trajstore.verify(path).is_sound
    trajstore.annotate(path, *NAMES)
    assert trajstore.info(path).written == {"labels": 0, "video": 16} | dict.fromkeys(NAMES, 44)
    trajstore.build(path)
    assert_same_bytes(path, annotated)


FAULTS = ["flipped bit", "torn", "exchanged", "lost", "flag lost", "metadata lost", "metadata damaged"]


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        *((array, fault) for array in ("segmentation", "target_points") for fault in FAULTS),
        *((array, "flipped bit") for array in ALL_ARRAYS if array not in ("segmentation", "target_points")),
    ],
)
def test_damage_is_named_and_mended(fault: str, array: str, complete: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(complete, tmp_path / "a.zarr"))
    file, other = sorted((path / array).glob("c.*"))[:2]
    expected = {f"{array}/{file.name}"}
    if fault == "flipped bit":
        flip_bit(file, 33)
    elif fault == "torn":
        truncate(file, file.stat().st_size // 2)
    elif fault == "exchanged":
        swap(file, other)
        expected.add(f"{array}/{other.name}")
    elif fault == "lost":
        file.unlink()
    elif fault == "flag lost":
        (name,) = (name for name, arrays in ARRAYS.items() if array in {one.name for one in arrays})
        (path / f"{name}_written" / "c.0").unlink()
        expected = {f"{name}_written/c.0"}
    else:
        metadata = path / array / "zarr.json"
        metadata.unlink() if fault == "metadata lost" else flip_bit(metadata, 200, 1)
        expected = {f"{array}/zarr.json"}
    report = trajstore.verify(
        path, deep=fault == "exchanged"
    )  # one sample of each shard may be alike in both
    assert {finding.key for finding in report.damage} == expected
    trajstore.repair(path, deep=fault == "exchanged")
    assert_same_bytes(path, complete)


def test_what_is_lost_of_the_frames_is_damage_while_annotations_are_pending(
    tiny_copy: Path, tiny_store: Path
) -> None:
    trajstore.annotate(tiny_copy, "flow", part="1/2")
    for name in ("video", "flow", "forward_flow", "backward_flow"):
        for file in (*(tiny_copy / name).glob("c.2.*"), *(tiny_copy / f"{name}_written").glob("c.2")):
            file.unlink()
    assert {finding.key for finding in trajstore.verify(tiny_copy).damage} == {
        "video/c.2.0.0.0.0.0",
        "video_written/c.2",
    }
    trajstore.repair(tiny_copy)
    trajstore.remove_annotations(tiny_copy, "flow")
    assert_same_bytes(tiny_copy, tiny_store)


def test_a_root_that_is_lost_or_torn_is_mended(
    annotated: Path, tmp_path: Path, tiny_fields: dict[str, Any]
) -> None:
    spec = trajstore.DatasetSpec.from_fields(**tiny_fields)
    for number, given in enumerate((spec, spec.replace(groups=list(NAMES)))):
        path = Path(shutil.copytree(annotated, tmp_path / f"{number}.zarr"))
        (path / "zarr.json").unlink()
        trajstore.repair(path, spec=given)
        assert_same_bytes(path, annotated)
    path = Path(shutil.copytree(annotated, tmp_path / "torn.zarr"))
    root = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(root[:-50])
    trajstore.repair(path)
    assert_same_bytes(path, annotated)
    (path / "zarr.json").write_text(root.replace('"points": 64', '"points": 65'))
    assert {finding.key for finding in trajstore.verify(path).damage} == {"zarr.json"}
    trajstore.repair(path)
    assert_same_bytes(path, annotated)


def test_removing_leaves_the_store_that_was_there(complete: Path, tiny_store: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(complete, tmp_path / "a.zarr"))
    notes = path / "flow_written" / "notes.txt"
    notes.write_text("mine")
    removed = run("annotate", path, "--remove", "flow", "--remove", "tracks")
    assert (removed.code, removed.out) == (0, f"{path}: flow, tracks removed\n")
    assert trajstore.info(path).is_complete
    assert {finding.key for finding in trajstore.verify(path).findings} == {"flow_written/notes.txt"}
    assert notes.read_text() == "mine"
    notes.unlink()
    notes.parent.rmdir()
    trajstore.remove_annotations(path, *ANNOTATIONS)
    assert tree(path).keys() == tree(tiny_store).keys()
    assert_same_bytes(path, tiny_store)
    before = tree(path)
    assert trajstore.remove_annotations(path, *ANNOTATIONS) == ()
    assert tree(path) == before
    assert trajstore.build(path).new_rows == dict.fromkeys(("labels", "video"), 0)


REMOVALS = [
    KillAt("a.zarr/zarr.json", "before"),
    KillAt("a.zarr/zarr.json", "renaming"),
    KillAt("a.zarr/zarr.json", "after"),
    KillAt("flow_written/c.*", "before", count=3),
    KillAt("flow_written/c.*", "after", count=6),
    KillAt("backward_flow/c.*", "after", count=2),
    KillAt("forward_flow/zarr.json", "after"),
    KillAt("flow_written/zarr.json", "before"),
]


@pytest.mark.parametrize("step", REMOVALS, ids=lambda step: f"{step.moment} {step.key} {step.count}")
def test_removing_is_interrupted(step: KillAt, annotated: Path, tmp_path: Path, tiny_fields: Any) -> None:
    path = Path(shutil.copytree(annotated, tmp_path / "a.zarr"))
    assert run("annotate", path, "--remove", "flow", kill=step).code == -9
    assert_flags_are_true(path, annotated)
    open_strictly(path).close()
    report = trajstore.verify(path)
    assert report.is_sound
    if "flow" not in open_store(path).spec.annotations.groups:
        assert "trajstore annotate" in report.findings[0].detail
    extended = Path(shutil.copytree(path, tmp_path / "b.zarr"))
    trajstore.remove_annotations(path, "flow")
    assert trajstore.verify(path).findings == ()
    assert not list(path.glob("*flow*"))
    trajstore.annotate(path, "flow")
    assert_same_bytes(path, annotated)
    # what was left is of a smaller store, and is not taken for that of the larger one
    trajstore.extend(extended, 48)
    trajstore.annotate(extended, "flow")
    assert trajstore.verify(extended, deep=True).findings == ()
    assert trajstore.info(extended).is_complete


def test_removing_while_it_is_written(tiny_copy: Path, tiny_store: Path) -> None:
    command = start("annotate", tiny_copy, "flow", "-q", stall="forward_flow/c.3*")
    while "stalled" not in command.err:
        time.sleep(0.01)
    trajstore.remove_annotations(tiny_copy, "flow")
    command.kill()
    trajstore.remove_annotations(tiny_copy, "flow")
    assert_same_bytes(tiny_copy, tiny_store)


def test_a_full_disk(tiny_store: Path, annotated: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        path = Path(shutil.copytree(tiny_store, disk.folder / "a.zarr"))
        for leave in (8_000, 60_000, 150_000):
            ballast = fill_disk(disk.folder, leave=leave)
            before = tree(path)
            with pytest.raises(NotEnoughSpaceError, match="are missing"):
                trajstore.annotate(path, *NAMES)
            assert tree(path) == before
            full = run("annotate", path, *NAMES, "--force", "-q")
            assert (full.code, full.out) == (3, "")
            assert f"continue with: trajstore annotate {path} segmentation flow tracks" in full.err
            assert full.err.count("\n") == 1
            assert_flags_are_true(path, annotated)
            assert trajstore.verify(path).is_sound
            ballast.unlink()
        trajstore.annotate(path, *NAMES)
        assert_same_bytes(path, annotated)


def test_a_store_that_is_read_only(tiny_store: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        path = Path(shutil.copytree(tiny_store, disk.folder / "a.zarr"))
        before = tree(path)
        disk.change("ro")
        refused = run("annotate", path, "flow", "-q")
        assert refused.code == 1
        assert "cannot be written: Read-only file system" in refused.err
        assert refused.err.count("\n") == 1
        disk.change("rw")
        assert tree(path) == before


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["segmentatoin"], "found 'segmentatoin', expected one of .*; did you mean segmentation?"),
        (["flow", "depth"], "found 'depth', expected one of segmentation, .*did you mean depth_map"),
        (["--remove", "masks"], "found 'masks', expected one of"),
        ([], "found none of NAME, --list and --remove, expected one"),
        (["flow", "--list"], "found several of NAME, --list and --remove"),
        (["flow", "--part", "3/2"], "part: found '3/2'"),
        (["tracks", "--points", "0"], "annotations.points: found 0"),
        (["flow", "--executor", "mpi"], "executor: found 'mpi'"),
    ],
)
def test_what_is_refused(arguments: list[str], found: str, tiny_copy: Path) -> None:
    before = tree(tiny_copy)
    refused = run("annotate", tiny_copy, *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert re.search(found, refused.err), refused.err
    assert tree(tiny_copy) == before


def test_another_number_of_points(tiny_copy: Path, tmp_path: Path, tiny_fields: dict[str, Any]) -> None:
    trajstore.annotate(tiny_copy, "tracks", points=5, part="1/2")
    with pytest.raises(SpecMismatchError, match=r"found 5 points in tracks, 6 given.*--remove tracks"):
        trajstore.annotate(tiny_copy, "tracks", points=6)
    with pytest.raises(SpecMismatchError, match=r"annotations\.points: 5 stored, 6 given"):
        trajstore.build(tiny_copy, points=6)
    trajstore.annotate(tiny_copy, "tracks")
    trajstore.build(tmp_path / "b.zarr", **tiny_fields, groups=["tracks"], points=5)
    assert_same_bytes(tiny_copy, tmp_path / "b.zarr")
    trajstore.remove_annotations(tiny_copy, "tracks")
    trajstore.annotate(tiny_copy, "tracks", points=7)
    assert trajstore.verify(tiny_copy, deep=True).findings == ()


def test_what_is_there_is_said_and_stays(annotated: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(annotated, tmp_path / "a.zarr"))
    before = tree(path)
    done = run("annotate", path, "flow", "segmentation", "-q")
    assert done.code == 0
    assert "complete, segmentation 44, flow 44 of 44 samples" in done.out
    assert "nothing was missing" in done.out
    assert trajstore.build(path).new_rows == {"labels": 0, "video": 0, **dict.fromkeys(NAMES, 0)}
    assert tree(path) == before


def test_no_store_and_another_generator(tiny_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="trajstore build"):
        trajstore.annotate(tmp_path / "b.zarr", "flow")
    root = json.loads((tiny_copy / "zarr.json").read_text())
    root["attributes"][NAMESPACE]["fingerprint"] = "0" * 64
    (tiny_copy / "zarr.json").write_text(json.dumps(root, indent=2))
    before = tree(tiny_copy)
    with pytest.raises(DriftError, match="rows of another generator"):
        trajstore.annotate(tiny_copy, "flow")
    assert tree(tiny_copy) == before


def test_a_spec_and_a_store_with_annotations(
    annotated: Path, tmp_path: Path, tiny_fields: dict[str, Any], tiny_copy: Path
) -> None:
    path = Path(shutil.copytree(annotated, tmp_path / "a.zarr"))
    before = tree(path)
    for groups in ([], ["flow"], list(NAMES)):
        trajstore.build(path, **tiny_fields, groups=groups)
        trajstore.repair(path, spec=trajstore.DatasetSpec.from_fields(**tiny_fields, groups=groups))
    assert tree(path) == before
    for store, missing in ((path, "normals"), (tiny_copy, "flow normals")):
        with pytest.raises(SpecMismatchError, match=f"trajstore annotate {store} {missing}$"):
            trajstore.build(store, **tiny_fields, groups=["flow", "normals"])
    with pytest.raises(SpecMismatchError, match="name another path"):
        trajstore.build(path, **tiny_fields | {"seed": 4}, groups=["normals"])


@pytest.mark.parametrize("name", ["finished", "half-built"])
def test_a_store_of_an_older_version(name: str, tmp_path: Path) -> None:
    path = Path(shutil.copytree(FIXTURE / name, tmp_path / "a.zarr"))
    frames = {file.name: file.read_bytes() for file in (path / "video").iterdir()}
    trajstore.annotate(path, *ANNOTATIONS)
    assert trajstore.verify(path, deep=True).is_sound
    assert frames == {file.name: file.read_bytes() for file in (path / "video").iterdir()}
    trajstore.remove_annotations(path, *ANNOTATIONS)
    assert_same_bytes(path, FIXTURE / name)


def test_a_store_that_was_annotated_by_a_newer_version(tiny_copy: Path) -> None:
    """One that has an annotation that this one does not know."""
    root = json.loads((tiny_copy / "zarr.json").read_text())
    ours = root["attributes"][NAMESPACE]
    ours["spec"]["annotations"] = {"groups": ["scene_flow"], "points": 64}
    ours["history"].append(ours["history"][0] | {"event": "annotated", "groups": ["scene_flow"]})
    ours["history"][-1]["versions"] = ours["history"][0]["versions"] | {"trajstore": "0.9.0"}
    (tiny_copy / "zarr.json").write_text(json.dumps(root, indent=2))
    before = tree(tiny_copy)
    with pytest.raises(NewerStoreError, match=r"written by trajstore 0\.9\.0"):
        trajstore.annotate(tiny_copy, "flow")
    with pytest.raises(NewerStoreError):
        trajstore.remove_annotations(tiny_copy, "flow")
    assert tree(tiny_copy) == before


def test_a_dry_run_writes_nothing_and_is_about_right(tiny_copy: Path) -> None:
    before = tree(tiny_copy)
    planned = run("annotate", tiny_copy, *NAMES, "--dry-run")
    assert planned.code == 0, planned.err
    assert "would write segmentation, flow, tracks of 44 of 44 samples" in planned.out
    assert tree(tiny_copy) == before
    trajstore.annotate(tiny_copy, *NAMES)
    assert "of 0 of 44 samples" in run("annotate", tiny_copy, *NAMES, "--dry-run").out


def test_the_list_says_what_is_there_and_how_large_the_rest_would_be(tiny_copy: Path, complete: Path) -> None:
    trajstore.annotate(tiny_copy, "segmentation")
    trajstore.annotate(tiny_copy, "flow", part="1/2")
    before = tree(tiny_copy)
    found = trajstore.list_annotations(tiny_copy)
    states = {state.name: state for state in found.annotations}
    assert tuple(states) == ANNOTATIONS
    assert [name for name, state in states.items() if state.is_there] == ["segmentation", "flow"]
    assert [states[name].written for name in ("segmentation", "flow", "normals")] == [44, 24, 0]
    sizes = trajstore.info(complete).stored_bytes
    for name, state in states.items():
        assert list(state.arrays) == [array.name for array in ARRAYS[name]]
        files = sum((complete / array / "zarr.json").stat().st_size for array in state.arrays)
        assert state.estimated_bytes == pytest.approx(sizes[name] - files, rel=0.3)
    shown = run("annotate", tiny_copy, "--list")
    assert (shown.code, shown.err) == (0, "")
    assert "24 of 44" in shown.out
    data = json.loads(run("annotate", tiny_copy, "--list", "--json").out)
    assert data["annotations"][0]["arrays"] == states["segmentation"].arrays
    assert tree(tiny_copy) == before


def test_info_tells_annotations_from_frames(annotated: Path, tiny_store: Path) -> None:
    shown, plain = (run("info", path).out for path in (annotated, tiny_store))
    assert "complete, 44 samples" in shown
    assert "flow 44 (100 %)" in shown
    assert "annotations  " in shown
    assert "annotations  " not in plain
    (size,) = (line for line in shown.splitlines() if line.startswith("  size"))
    (same,) = (line for line in plain.splitlines() if line.startswith("  size"))
    assert size.split("on disk")[1].split("raw")[0] == same.split("on disk")[1].split("raw")[0]
