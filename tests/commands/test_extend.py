"""A store that grows is the store that would have been built larger, whenever and wherever it was interrupted."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from support.faults import KillAt, assert_same_bytes, fill_disk, run, small_disk, start, tree
from support.stores import open_store

from trajstore.commands.build import build
from trajstore.commands.extend import extend
from trajstore.commands.info import info
from trajstore.commands.repair import repair
from trajstore.commands.verify import verify
from trajstore.errors import InterruptedBuildError, NotEnoughSpaceError, SpecError, StoreError
from trajstore.executors.threads import ThreadExecutor
from trajstore.store.handle import grow_store

SAMPLES = 75


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory, tiny_fields: dict[str, Any]) -> Path:
    """The store that the others grow to."""
    path = tmp_path_factory.mktemp("larger") / "a.zarr"
    build(path, **tiny_fields | {"samples": SAMPLES})
    return path


@pytest.mark.parametrize("sizes", [(1, 75), (8, 16, 75), (44, 45, 48, 75), (74, 75)])
def test_the_larger_store_is_the_same(
    sizes: tuple[int, ...], tiny_fields: dict[str, Any], larger: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.zarr"
    build(path, **tiny_fields | {"samples": sizes[0]})
    for size in sizes[1:]:
        assert extend(path, size).summary.is_complete
        assert verify(path).findings == ()
    assert_same_bytes(path, larger)
    events = [(entry["event"], entry["samples"]) for entry in info(path).history]
    assert events[:2] == [("created", sizes[0]), ("finished", sizes[0])]
    assert events[2:] == [(event, size) for size in sizes[1:] for event in ("extended", "finished")]


def test_label_chunks_grow(
    monkeypatch: pytest.MonkeyPatch, tiny_fields: dict[str, Any], tmp_path: Path
) -> None:
    monkeypatch.setattr("trajstore.store.groups.labels.LABEL_ROWS", 20)
    a, b = tmp_path / "a.zarr", tmp_path / "b.zarr"
    fields = tiny_fields | {"seed": 5}  # rendered metadata is kept by spec
    build(a, **fields | {"samples": 33})
    extend(a, 60)
    extend(a, SAMPLES)
    build(b, **fields | {"samples": SAMPLES})
    assert_same_bytes(a, b)
    assert verify(a, deep=True).is_sound


def test_rows_that_are_there_stay_as_they_are(tiny_copy: Path, tiny_store: Path) -> None:
    unchanged = {
        f"video/c.{index}.0.0.0.0.0": (tiny_copy / f"video/c.{index}.0.0.0.0.0").stat().st_mtime_ns
        for index in range(5)
    }
    extend(tiny_copy, SAMPLES)
    assert unchanged == {key: (tiny_copy / key).stat().st_mtime_ns for key in unchanged}
    for name in ("video", "class_label", "split", "position"):
        old, new = (zarr.open_array(path / name, mode="r")[:44] for path in (tiny_store, tiny_copy))
        np.testing.assert_array_equal(old, new)


def test_an_unfinished_store_grows(tiny_fields: dict[str, Any], larger: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    build(path, part="2/3", **tiny_fields)
    extend(path, SAMPLES)
    assert_same_bytes(path, larger)


STEPS = [
    ("*_written/c.*", "before", 1),
    ("*_written/c.*", "after", 1),
    ("*_written/c.*", "after", 2),
    ("a.zarr/zarr.json", "renaming", 1),
    ("a.zarr/zarr.json", "after", 1),
    ("*/zarr.json", "renaming", 2),
    ("*/zarr.json", "after", 5),
    ("*/zarr.json", "after", 12),
    ("labels_written/c.0", "before", 2),
    ("video/c.*", "renaming", 2),
    ("video_written/c.*", "before", 3),
    ("video_written/c.*", "after", 4),
    ("a.zarr/zarr.json", "before", 2),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[1]}-{step[0]}-{step[2]}".replace("/", "."))
def test_killed_at_a_step(step: tuple[str, Any, int], tiny_store: Path, larger: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_store, tmp_path / "a.zarr"))
    key, moment, count = step
    killed = run("extend", path, "--samples", SAMPLES, "-q", kill=KillAt(key, moment, count))
    assert killed.code == -9
    samples = open_store(path).spec.dataset.samples
    assert samples in (44, SAMPLES)
    # an interrupted extension is no damage, unless it was stopped before the store said that it had begun
    report = verify(path)
    assert {finding.kind for finding in report.damage} <= ({"unflagged"} if samples == 44 else set())
    other = Path(shutil.copytree(path, tmp_path / "b.zarr"))
    build(other)
    assert_same_bytes(other, larger if samples == SAMPLES else tiny_store)
    assert verify(other).findings == ()
    extend(path, SAMPLES)
    assert_same_bytes(path, larger)
    assert verify(path).findings == ()


def test_killed_at_any_moment(tiny_store: Path, larger: Path, tmp_path: Path) -> None:
    rng = random.Random(11)
    for number in range(4):
        path = Path(shutil.copytree(tiny_store, tmp_path / f"{number}.zarr"))
        for _ in range(3):
            command = start("extend", path, "--samples", SAMPLES, "-q")
            time.sleep(rng.uniform(0.0, 0.25))
            command.kill()
            if rng.random() < 0.5:
                repair(path)
        extend(path, SAMPLES)
        assert_same_bytes(path, larger)


def test_interrupted_and_resumed(tiny_copy: Path, larger: Path) -> None:
    answers = iter([0, 0, 0, 2, 2, 2, 2])
    with pytest.raises(InterruptedBuildError, match="trajstore build"):
        extend(tiny_copy, SAMPLES, workers=1, should_stop=lambda: next(answers, 2))
    assert verify(tiny_copy).is_sound
    build(tiny_copy)
    assert_same_bytes(tiny_copy, larger)


@pytest.mark.parametrize("samples", [43, 1, 0, -5])
def test_shrinking_is_refused(samples: int, tiny_copy: Path) -> None:
    before = tree(tiny_copy)
    with pytest.raises(SpecError, match="does not shrink"):
        extend(tiny_copy, samples)
    assert tree(tiny_copy) == before


def test_the_same_size_completes(tiny_copy: Path, tiny_store: Path) -> None:
    before = tree(tiny_copy)
    assert extend(tiny_copy, 44).new_samples == 0
    assert tree(tiny_copy) == before
    assert_same_bytes(tiny_copy, tiny_store)


def test_no_room(tiny_store: Path, larger: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        path = Path(shutil.copytree(tiny_store, disk.folder / "a.zarr"))
        ballast = fill_disk(disk.folder, leave=12_000)
        before = tree(path)
        with pytest.raises(NotEnoughSpaceError, match="are missing"):
            extend(path, SAMPLES)
        assert tree(path) == before
        with pytest.raises(NotEnoughSpaceError, match="the disk is full"):
            extend(path, SAMPLES, force=True)
        assert verify(path).damage == () or open_store(path).spec.dataset.samples == 44
        ballast.unlink()
        extend(path, SAMPLES)
        assert_same_bytes(path, larger)


def test_a_builder_of_the_old_size_takes_back_what_it_said(
    tiny_fields: dict[str, Any], larger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    build(path, part="1/2", **tiny_fields)
    executor_run = ThreadExecutor.run

    def grow_first(self: ThreadExecutor, function: Callable[..., Any], items: Any) -> Any:
        monkeypatch.setattr(ThreadExecutor, "run", executor_run)
        store = open_store(path)
        grow_store(store, SAMPLES)
        return executor_run(self, function, items)

    monkeypatch.setattr(ThreadExecutor, "run", grow_first)
    with pytest.raises(StoreError, match="extended while it was being built"):
        build(path)
    assert verify(path).is_sound
    build(path)
    assert_same_bytes(path, larger)


def test_two_at_once(tiny_copy: Path, larger: Path) -> None:
    commands = [start("extend", tiny_copy, "--samples", SAMPLES, "-q") for _ in range(2)]
    codes = [command.wait().code for command in commands]
    assert set(codes) <= {0, 1}
    extend(tiny_copy, SAMPLES)
    assert_same_bytes(tiny_copy, larger)


def test_verify_meanwhile(tiny_copy: Path) -> None:
    command = start("extend", tiny_copy, "--samples", 400, "-q")
    reports = []
    while command.is_running:
        reports.append(verify(tiny_copy))
    assert command.wait().code == 0
    # for an instant the flag of the last shard is cleared in a store that does not yet say that it grows
    allowed = {
        ("unflagged", 44, f"{group}_written/c.{index}") for group, index in (("labels", 0), ("video", 5))
    }
    for report in reports:
        assert {(finding.kind, report.samples, finding.key) for finding in report.damage} <= allowed
    assert verify(tiny_copy).samples == 400
    assert verify(tiny_copy).findings == ()
