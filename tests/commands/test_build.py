from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.faults import assert_flags_are_true, assert_same_bytes, flip_bit, run, small_disk, start, tree
from support.stores import create_store, open_store, plan_build

import trajstore
from trajstore.commands.build import build
from trajstore.commands.info import info
from trajstore.errors import (
    InterruptedBuildError,
    NotEnoughSpaceError,
    SpecError,
    SpecMismatchError,
    StoreError,
)
from trajstore.progress import Progress
from trajstore.spec import DatasetSpec
from trajstore.storage.bucket import Bucket
from trajstore.storage.disk_space import inspect_filesystem
from trajstore.storage.location import Location
from trajstore.store import fill, plan
from trajstore.store.layout import plan_layout
from trajstore.store.plan import Part
from trajstore.store.write import WriteTask, make_files

SMALL: dict[str, Any] = {
    "samples": 44,
    "frames": 2,
    "height": 8,
    "width": 8,
    "cameras": 1,
    "samples_per_shard": 4,
}
"""Eleven shards."""


def test_a_spec_comes_in_any_form(tmp_path: Path) -> None:
    fields = {"samples": 4, "frames": 2, "height": 12, "width": 12, "cameras": 1}
    spec = DatasetSpec.from_fields(**fields)
    (tmp_path / "spec.toml").write_text(spec.to_toml())
    build(tmp_path / "0.zarr", **fields)
    forms = [spec, tmp_path / "spec.toml", f"{tmp_path}/spec.toml", spec.model_dump()]
    for number, form in enumerate(forms, start=1):
        build(tmp_path / f"{number}.zarr", form, progress=False)
        assert_same_bytes(tmp_path / f"{number}.zarr", tmp_path / "0.zarr")
    with pytest.raises(SpecError, match=r"^spec: found list, expected a DatasetSpec, .*$"):
        build(tmp_path / "a.zarr", [spec])
    with pytest.raises(SpecError, match=r"^spec: frames: unknown field, .*; did you mean video\.frames\?$"):
        build(tmp_path / "a.zarr", {"frames": 3})
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("samples", "shares", "expected"),
    [
        (4, {}, [4, 0, 0]),
        (8, {}, [4, 4, 0]),
        (12, {}, [4, 4, 4]),
        (10, {}, [4, 4, 2]),
        (80, {}, [56, 12, 12]),
        (8, {"train": 0.5, "val": 0.0, "test": 0.5}, [4, 0, 4]),
    ],
)
def test_each_split_with_a_share_has_samples_as_soon_as_there_are_groups_enough(
    tmp_path: Path, samples: int, shares: dict[str, float], expected: list[int]
) -> None:
    found = build(
        tmp_path / "a.zarr", samples=samples, frames=2, height=12, width=12, cameras=1, **shares
    ).summary.splits
    assert list(found.values()) == expected


@pytest.fixture
def many_label_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels in chunks of 8 rows rather than 8,192, so that a tiny store has several tasks of them."""
    monkeypatch.setattr("trajstore.store.groups.labels.LABEL_ROWS", 8)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A small store, built at once by one thread."""
    path = tmp_path / "reference.zarr"
    build(path, workers=1, **SMALL)
    return path


def stop_after(tasks: int, number: int = 2) -> Callable[[], int]:
    """Ask to stop when so many tasks have been taken."""
    asked = iter([0] * tasks)
    return lambda: next(asked, number)


def catch_interruption(*arguments: Any, **options: Any) -> InterruptedBuildError | None:
    """Build; how the build was interrupted, if it was."""
    try:
        build(*arguments, **options)
    except InterruptedBuildError as error:
        return error
    return None


# ---------------------------------------------------------------------------------------------- the same bytes


@pytest.mark.parametrize("workers", [2, 7])
def test_any_number_of_threads_writes_the_same_bytes(
    tmp_path: Path, many_label_tasks: None, reference: Path, workers: int
) -> None:
    build(tmp_path / "a.zarr", workers=workers, **SMALL)
    assert_same_bytes(tmp_path / "a.zarr", reference)


def test_tasks_in_any_order_write_the_same_bytes(
    tmp_path: Path, many_label_tasks: None, reference: Path
) -> None:
    """And at once with themselves: every task twice, in shuffled order, in four threads without a lock."""
    spec = DatasetSpec.from_fields(**SMALL)
    path = tmp_path / "a.zarr"
    store = create_store(path, spec)
    tasks = [task for group in store.layout.groups for task in group.tasks()] * 2
    random.Random(0).shuffle(tasks)
    write = WriteTask(store)
    threads = [
        threading.Thread(target=lambda share=tasks[first::4]: [write(task) for task in share])
        for first in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_bytes(path, reference)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1), (3, 2, 1)])
def test_parts_in_any_order_write_the_same_bytes(
    tmp_path: Path, many_label_tasks: None, reference: Path, order: tuple[int, ...]
) -> None:
    path = tmp_path / "a.zarr"
    for number in order:
        build(path, part=f"{number}/3", **SMALL)
    assert info(path).is_complete
    assert_same_bytes(path, reference)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 9), max_size=3), workers=st.integers(1, 3))
def test_interrupted_builds_can_be_resumed(
    tmp_path_factory: pytest.TempPathFactory, tiny_store: Path, stops: list[int], workers: int
) -> None:
    """Stopped after any number of tasks, any number of times; resumed with the path alone."""
    path = tmp_path_factory.mktemp("stops") / "a.zarr"
    spec: DatasetSpec | None = open_store(tiny_store).spec
    for tasks in stops:
        interruption = catch_interruption(path, spec, workers=workers, should_stop=stop_after(tasks))
        assert_flags_are_true(path, tiny_store)
        written = info(path).written["video"]
        if interruption is None:
            assert info(path).is_complete
        else:
            assert f"{written} of 44 samples are written, {44 - written} are missing" in str(interruption)
            assert f"trajstore build {path}" in str(interruption)
            assert interruption.exit_code == 130
        spec = None
    build(path, spec)
    assert_same_bytes(path, tiny_store)


def test_stopping_finishes_the_tasks_in_flight_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with pytest.raises(InterruptedBuildError) as caught:
        build(path, workers=1, should_stop=stop_after(1, number=15), **SMALL)
    assert caught.value.exit_code == 143
    assert info(path).written == {"labels": 44, "video": 0}


def test_a_stop_after_the_last_task_is_no_interruption(tmp_path: Path) -> None:
    tasks = 1 + 11
    assert build(tmp_path / "a.zarr", should_stop=stop_after(tasks), **SMALL).summary.is_complete


@settings(max_examples=12)
@given(size=st.integers(1, 44), rows_per_task=st.integers(1, 20), data=st.data())
def test_any_split_of_the_rows_gives_the_same_rows(
    size: int, rows_per_task: int, data: st.DataObject
) -> None:
    """Chunks of one sample are the same bytes whatever shard they lie in, and whatever the dataset's size is."""
    big = DatasetSpec.from_fields(**SMALL)
    other = big.replace(samples=size, samples_per_shard=rows_per_task)
    assert other.fingerprint == big.fingerprint
    group = plan_layout(other).group("video")
    task = group.task(data.draw(st.integers(0, len(group) - 1)))
    ((_, shard),) = make_files(other, group, task)
    for row in task.rows:
        ((_, alone),) = make_files(
            big.replace(samples_per_shard=1),
            (single := plan_layout(big.replace(samples_per_shard=1)).group("video")),
            single.task(row),
        )
        assert bytes(alone[: -16 - 4]) in bytes(shard)


def test_building_a_finished_store_changes_nothing(tiny_copy: Path, tiny_store: Path) -> None:
    before = tree(tiny_copy)
    times = {path: path.stat().st_mtime_ns for path in tiny_copy.rglob("*")}
    report = build(tiny_copy)
    assert (report.new_samples, report.summary.is_complete) == (0, True)
    assert tree(tiny_copy) == before
    assert {path: path.stat().st_mtime_ns for path in tiny_copy.rglob("*")} == times


@pytest.mark.parametrize("index", [0, 3, 5])
def test_a_task_without_a_flag_is_built_again(tiny_copy: Path, tiny_store: Path, index: int) -> None:
    video = open_store(tiny_copy).layout.group("video")
    (column,) = video.columns
    flip_bit(tiny_copy / video.flags.key(index), 0)
    (tiny_copy / column.key(index)).unlink()
    report = build(tiny_copy)
    assert report.new_samples == len(video.task(index).rows)
    assert_same_bytes(tiny_copy, tiny_store)


# ---------------------------------------------------------------------------------------------- several builders


def test_builders_that_start_at_once_fill_one_store(
    tmp_path: Path, tiny_store: Path, tiny_options: list[str]
) -> None:
    """Two of two parts, and two more that want it all; none knows of the others, and the store does not exist yet."""
    path = tmp_path / "a.zarr"
    parts = [["--part", "1/2"], ["--part", "2/2"], [], []]
    commands = [start("build", path, *tiny_options, *part) for part in parts]
    for command in commands:
        done = command.wait()
        assert done.code == 0, done.err
    assert_same_bytes(path, tiny_store)
    events = [entry["event"] for entry in info(path).history]
    assert events[0] == "created"
    assert set(events) == {"created", "finished"}


@pytest.mark.parametrize("part", ["1/2", "1/1"])
def test_a_builder_that_overlooked_another_joins_it(
    tmp_path: Path, tiny_store: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The store appears, with rows, after the look whether there is one."""
    path = tmp_path / "a.zarr"
    spec = open_store(tiny_store).spec
    build(path, spec, part=part)
    monkeypatch.setattr(plan, "find_store", lambda _: None)
    with pytest.raises(SpecMismatchError):
        build(path, spec, frames=5)
    build(path, spec)
    assert_same_bytes(path, tiny_store)


def test_builders_of_different_specs_do_not_mix(
    tmp_path: Path, tiny_store: Path, tiny_options: list[str]
) -> None:
    """At once on a new path: one wins, the others are refused, and the store is the winner's."""
    path = tmp_path / "a.zarr"
    seeds = [0, 1, 2]
    commands = [start("build", path, *tiny_options, "--seed", seed) for seed in seeds]
    results = [command.wait() for command in commands]
    assert sorted(done.code for done in results) == [0, 2, 2]
    winner = next(seed for seed, done in zip(seeds, results, strict=True) if done.code == 0)
    build(tmp_path / "alone.zarr", open_store(tiny_store).spec, seed=winner)
    assert_same_bytes(path, tmp_path / "alone.zarr")


@given(count=st.integers(0, 300), parts=st.integers(1, 40))
def test_parts_cover_each_task_once(count: int, parts: int) -> None:
    slices = [Part.parse(f"{number}/{parts}").slice(count) for number in range(1, parts + 1)]
    assert [index for part in slices for index in part] == list(range(count))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "4/3", "-1/2", "1/0", "1/2/3", "a/b", "1.5/2", " 1/2"]
)
def test_a_part_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match=r"^part: found .* expected i/n"):
        build(tmp_path / "a.zarr", part=text, **SMALL)
    assert tree(tmp_path) == {".": None}


def test_debris_of_dead_builders_is_swept(tiny_copy: Path, tiny_store: Path) -> None:
    host = os.uname().nodename
    (tiny_copy / "video" / f"c.0.0.0.0.0.0.{host}~{2**22 + 1}~0.partial").write_bytes(b"half")
    build(tiny_copy)
    assert_same_bytes(tiny_copy, tiny_store)


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"frames": 5}, ["video.frames: 4 stored, 5 given"]),
        ({"samples": 45}, ["dataset.samples: 44 stored, 45 given"]),
        (
            {"seed": 7, "samples_per_shard": 9, "radius": (0.1, 0.11)},
            [
                "dataset.seed: 0 stored, 7 given",
                "storage.samples_per_shard: 8 stored, 9 given",
                "scene.radius: [0.08, 0.16] stored, [0.1, 0.11] given",
            ],
        ),
        ({"classes": ("Linear", "Helical")}, ["dataset.classes"]),
    ],
)
def test_another_spec_is_refused_naming_each_field(
    tiny_copy: Path, fields: dict[str, Any], named: list[str]
) -> None:
    before = tree(tiny_copy)
    with pytest.raises(SpecMismatchError) as caught:
        build(tiny_copy, **fields)
    for text in named:
        assert text in str(caught.value)
    assert str(caught.value).count(" stored, ") == len(fields)
    assert tree(tiny_copy) == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"samples": 0}, "dataset.samples"),
        ({"samples": -3}, "dataset.samples"),
        ({"samples": 1.5}, "dataset.samples"),
        ({"seed": -1}, "dataset.seed"),
        ({"seed": 2**63}, "dataset.seed"),
        ({"cameras": 0}, "video.cameras"),
        ({"frames": 0}, "video.frames"),
        ({"height": -1}, "video.height"),
        ({"samples_per_shard": 0}, "storage.samples_per_shard"),
        ({"classes": ("Zigzag",)}, "dataset.classes"),
        ({"train": 0.5}, "splits.train"),
        ({"colour": "red"}, "colour"),
        ({"workers": 0}, "workers"),
    ],
)
def test_invalid_fields_are_refused_before_anything_is_written(
    tmp_path: Path, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(SpecError, match=field):
        build(tmp_path / "a.zarr", **fields)
    assert tree(tmp_path) == {".": None}


def test_a_missing_parent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing/a does not exist.*mkdir -p"):
        build(tmp_path / "missing" / "a" / "b.zarr", **SMALL)
    assert tree(tmp_path) == {".": None}


def test_a_file_as_parent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="file"):
        build(tmp_path / "file" / "a.zarr", **SMALL)
    assert tree(tmp_path) == {".": None, "file": b"mine"}


def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    """A filesystem that is mounted read-only: root, too, cannot write there."""
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        build(disk.folder / "half.zarr", part="1/2", **SMALL)
        build(disk.folder / "whole.zarr", **SMALL)
        disk.change("ro")
        before = tree(disk.folder)
        with pytest.raises(StoreError, match=r"a\.zarr: no permission to write in"):
            build(disk.folder / "a.zarr", **SMALL)
        with pytest.raises(
            StoreError, match=r"half\.zarr: cannot be written: Read-only file system; .*\d+ of 44"
        ):
            build(disk.folder / "half.zarr")
        assert build(disk.folder / "whole.zarr").summary.is_complete
        assert tree(disk.folder) == before


def test_what_does_not_fit_is_refused_unless_forced(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=300k") as disk:
        path = disk.folder / "a.zarr"
        with pytest.raises(NotEnoughSpaceError, match=r"needs about .* found 307 KB free"):
            build(path, **SMALL | {"samples": 4000})
        assert tree(disk.folder) == {".": None}
        assert build(path, force=True, **SMALL).summary.is_complete


def test_too_few_free_inodes_are_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=8m,nr_inodes=40") as disk:
        with pytest.raises(NotEnoughSpaceError, match="files"):
            build(disk.folder / "a.zarr", **SMALL)
        assert tree(disk.folder) == {".": None}


# ---------------------------------------------------------------------------------------------- estimates


def used_on_disk(path: Path) -> int:
    """As du counts, with a block for each folder, which a tmpfs does not have."""
    status = [(item.is_dir(), item.stat().st_blocks * 512) for item in (path, *path.rglob("*"))]
    return sum(max(used, 4096) if is_folder else used for is_folder, used in status)


@pytest.mark.parametrize(
    "fields",
    [
        {"samples": 400},
        {"samples": 1000},
        SMALL | {"samples": 400},
        SMALL | {"samples": 2000, "samples_per_shard": 250},
    ],
    ids=["default 400", "default 1000", "tiny shards", "tiny samples"],
)
def test_the_estimate_is_within_15_percent_of_what_is_used(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "a.zarr"
    estimate = plan_build(path, **fields).estimate(inspect_filesystem(path).block)
    assert tree(tmp_path) == {".": None}
    build(path, **fields)
    assert estimate.bytes == pytest.approx(used_on_disk(path), rel=0.15)
    assert estimate.files == sum(1 for item in path.rglob("*") if item.is_file())


def test_the_estimate_of_large_samples_draws_a_part_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_build(tmp_path / "a.zarr", samples=64)
    whole = plan.estimate(1).bytes
    monkeypatch.setattr("trajstore.store.write.PROBE_BYTES", 1_000_000)  # of 1,572,864 and labels
    assert plan.estimate(1).bytes == pytest.approx(whole, rel=0.3)
    huge = plan_build(tmp_path / "a.zarr", samples=64, frames=100_000)
    assert huge.estimate(1).bytes > 1000 * whole


def test_the_estimate_of_the_rest_counts_the_rest_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    fields = SMALL | {"samples": 800}
    build(path, part="1/2", **fields)
    before = used_on_disk(path)
    plan = plan_build(path)
    assert plan.pending_samples == 400
    estimate = plan.estimate(inspect_filesystem(path).block)
    build(path)
    assert estimate.bytes == pytest.approx(used_on_disk(path) - before, rel=0.15)


@pytest.mark.parametrize("fields", [SMALL, {"samples": 30}])
def test_the_bound_is_never_below_the_estimate(tmp_path: Path, fields: dict[str, Any]) -> None:
    plan = plan_build(tmp_path / "a.zarr", **fields)
    assert plan.bound(4096).bytes >= plan.estimate(4096).bytes
    assert plan.bound(4096).files == plan.estimate(4096).files


# ---------------------------------------------------------------------------------------------- what is reported


def test_progress_only_ever_grows(tmp_path: Path, many_label_tasks: None) -> None:
    events: list[Progress] = []
    path = tmp_path / "a.zarr"
    with pytest.raises(InterruptedBuildError):
        build(path, should_stop=stop_after(9), progress=events.append, **SMALL)
    first_run = len(events)
    build(path, progress=events.append)
    for run_events in (events[:first_run], events[first_run:]):
        for phase in ("labels", "video"):
            mine = [event for event in run_events if event.phase == phase]
            for name in ("done", "fresh", "stored_bytes", "raw_bytes", "seconds"):
                values = [getattr(event, name) for event in mine]
                assert values == sorted(values), name
            assert {event.total for event in mine} == {44}
            assert {event.done - event.fresh for event in mine} == {mine[0].done}
    last = {event.phase: event for event in events}
    assert [(event.done, event.percent) for event in last.values()] == [(44, 100)] * 2
    assert max(event.done for event in events[:first_run] if event.phase == "video") < 44


def test_progress_counts_the_part_alone(tmp_path: Path) -> None:
    events: list[Progress] = []
    build(tmp_path / "a.zarr", part="2/2", progress=events.append, **SMALL)
    last = {event.phase: event for event in events}
    assert {phase: (event.done, event.total) for phase, event in last.items()} == {
        "labels": (44, 44),
        "video": (24, 24),
    }


def test_the_report_sums_the_store_up(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    report = build(path, **SMALL)
    labels = trajstore.open(path)
    assert report.new_samples == 44
    assert report.summary == info(path)
    assert report.summary.written == {"labels": 44, "video": 44}
    for name, column, counts in (
        ("classes", "class_label", report.summary.classes),
        ("splits", "split", report.summary.splits),
    ):
        found = np.bincount(labels[column].values, minlength=len(counts)).tolist()
        assert list(counts.values()) == found, name
    assert report.summary.total_stored_bytes == sum(
        item.stat().st_size for item in path.rglob("*") if item.is_file()
    )
    assert json.loads(json.dumps(report.summary.to_json()))["ratio"] == round(report.summary.ratio, 2)


def test_a_summary_of_a_damaged_label_chunk_says_so(tiny_copy: Path) -> None:
    flip_bit(tiny_copy / "class_label" / "c.0", 12)
    done = run("info", tiny_copy)
    (line,) = done.err.splitlines()
    assert done.code == 1
    assert line.startswith(f"trajstore: {tiny_copy}")
    assert "class_label" in line


def test_an_error_of_a_task_stops_the_build_and_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks in flight finish, no more are taken, and the next build completes the store."""

    class Failing(WriteTask):
        def __call__(self, task: Any) -> int:
            if (task.group, task.index) == ("video", 3):
                raise ZeroDivisionError
            return super().__call__(task)

    path = tmp_path / "a.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(fill, "WriteTask", Failing)
        with pytest.raises(ZeroDivisionError):
            build(path, workers=1, **SMALL)
    assert 12 <= info(path).written["video"] < 44
    build(path)
    build(tmp_path / "alone.zarr", **SMALL)
    assert_same_bytes(path, tmp_path / "alone.zarr")


def test_a_larger_dataset_is_a_matter_of_extending(tiny_copy: Path) -> None:
    with pytest.raises(
        SpecMismatchError, match=r"samples: 44 stored, 60 given.*trajstore extend .* --samples 60"
    ):
        build(tiny_copy, samples=60)
    with pytest.raises(SpecMismatchError, match=r"samples: 44 stored, 40 given.*name another path"):
        build(tiny_copy, samples=40)


# ---------------------------------------------------------------------------------------------- the trip of a location


def test_a_location_is_parsed_once_and_its_root_read_five_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """To see that there is no store, whether all is there, and around the task that is partly filled.

    Nobody must have extended the store before that task is written, before its flag is, and after.
    """
    parsed, opened, roots = [], [], []
    parse, connect, read = Location.parse, Bucket.__init__, Bucket.read

    def count_parsing(*arguments: Any) -> Any:
        parsed.append(arguments)
        return parse(*arguments)

    def count_opening(self: Bucket, location: Location) -> None:
        opened.append(location)
        connect(self, location)

    def count_reading(self: Bucket, key: str) -> bytes | None:
        roots.extend([key] if key == "zarr.json" else [])
        return read(self, key)

    monkeypatch.setattr(Location, "parse", count_parsing)
    monkeypatch.setattr(Bucket, "__init__", count_opening)
    monkeypatch.setattr(Bucket, "read", count_reading)
    report = build("memory://one-trip", **SMALL)
    assert report.summary.is_complete
    assert (len(parsed), len(opened), len(roots)) == (1, 1, 5)
