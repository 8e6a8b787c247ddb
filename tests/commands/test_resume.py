"""Kill a build at any moment, or fill its disk: what is there is right, and building again completes it."""

from __future__ import annotations

import itertools
import random
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
    run,
    small_disk,
    start,
    tree,
    wait_until,
)
from support.stores import exists, open_store

from trajstore.commands.build import build
from trajstore.commands.info import info
from trajstore.storage.durable import find_partials

FIELDS = {
    "samples": 160,
    "frames": 4,
    "height": 16,
    "width": 16,
    "cameras": 2,
    "samples_per_shard": 8,
}
OPTIONS = [part for name, value in FIELDS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
KILLED = -9
BUILDS, KILLS = 4, 6


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 20 shards that was never interrupted."""
    path = tmp_path_factory.mktemp("reference") / "a.zarr"
    build(path, **FIELDS)
    return path


@pytest.fixture(scope="module")
def writing_seconds(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long such a build writes, from its first file to its last, on this machine at this time."""
    path = tmp_path_factory.mktemp("timed") / "a.zarr"
    command = start("build", path, *OPTIONS)
    wait_until(path.exists)
    started = time.monotonic()
    assert command.wait().code == 0
    return time.monotonic() - started


def count_files(path: Path) -> int:
    return sum(1 for _ in path.rglob("*"))


def assert_is_sound(path: Path, reference: Path) -> int:
    """What is there after a fault opens in xarray, and its flags are true; the number of flags."""
    if not exists(path):
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_zarr(path) as dataset:
            promised = int(dataset["video_written"].sum()) + int(dataset["labels_written"].sum())
            for shard in np.flatnonzero(dataset["video_written"].values):
                assert dataset["video"][shard * 8].values.any()
    assert assert_flags_are_true(path, reference) == promised
    return promised


@pytest.mark.parametrize("seed", range(BUILDS))
def test_kill_at_random_moments(tmp_path: Path, reference: Path, writing_seconds: float, seed: int) -> None:
    """Six kills of each of four builds, all of which hit; then the next start completes the store."""
    moments, numbers = random.Random(seed), itertools.count(1)
    path, flags, kills, longest = tmp_path / "0.zarr", 0, 0, 0.5 * writing_seconds
    while kills < KILLS:
        before = count_files(path)
        command = start("build", path, *OPTIONS, "--workers", 1 + kills % 2)
        wait_until(lambda: not command.is_running or count_files(path) != before)  # noqa: B023
        was_running = command.runs_for(moments.uniform(0.0, longest))
        command.kill()
        now = assert_is_sound(path, reference)
        assert now >= flags
        kills, flags = kills + was_running, now
        if (
            not was_running
        ):  # it was done before the kill: begin another, and wait less, for the machine is faster now
            path, flags, longest = tmp_path / f"{next(numbers)}.zarr", 0, 0.5 * longest
    done = run("build", path, *OPTIONS)
    assert done.code == 0, done.err
    assert_same_bytes(path, reference)
    assert info(path).is_complete


STEPS = [
    KillAt("video/zarr.json", "before"),
    KillAt("intrinsics/c.*", "renaming"),
    KillAt("split/zarr.json", "after"),
    KillAt("a.zarr/zarr.json", "before"),
    KillAt("a.zarr/zarr.json", "renaming"),
    KillAt("a.zarr/zarr.json", "after"),
    KillAt("class_label/c.*", "before"),
    KillAt("pixel/c.*", "renaming"),
    KillAt("labels_written/c.*", "before"),
    KillAt("labels_written/c.*", "renaming"),
    KillAt("labels_written/c.*", "after"),
    KillAt("video/c.*", "before"),
    KillAt("video/c.*", "renaming", count=7),
    KillAt("video/c.*", "after", count=20),
    KillAt("video_written/c.*", "before", count=7),
    KillAt("video_written/c.*", "renaming", count=20),
    KillAt("video_written/c.*", "after", count=20),
    KillAt("a.zarr/zarr.json", "before", count=2),  # the record that it is finished
    KillAt("a.zarr/zarr.json", "renaming", count=2),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.moment} {step.key} {step.count}")
def test_kill_at_a_step(tmp_path: Path, reference: Path, step: KillAt) -> None:
    """Resumed with the path alone, where there is a store, and with the spec where there is none yet."""
    path = tmp_path / "a.zarr"
    killed = run("build", path, *OPTIONS, kill=step)
    assert killed.code == KILLED
    assert_is_sound(path, reference)
    done = run("build", path, *([] if exists(path) else OPTIONS))
    assert (done.code, list(find_partials(path))) == (0, []), done.err
    assert_same_bytes(path, reference)
    assert [entry["event"] for entry in info(path).history] == ["created", "finished"]


def test_data_without_a_flag_is_written_again(tmp_path: Path, reference: Path) -> None:
    """A kill between data and flag leaves a shard that nobody vouches for, even a damaged one."""
    path = tmp_path / "a.zarr"
    killed = run("build", path, *OPTIONS, kill=KillAt("video_written/c.3", "before"))
    assert killed.code == KILLED
    shard = path / "video" / "c.3.0.0.0.0.0"
    assert shard.read_bytes() == (reference / "video" / shard.name).read_bytes()
    assert not open_store(path).is_written(open_store(path).layout.group("video"))[3]
    shard.write_bytes(b"damaged")
    assert run("build", path).code == 0
    assert_same_bytes(path, reference)


@pytest.mark.parametrize("size", ["40k", "120k", "180k", "220k"])
def test_a_disk_that_fills_up(tmp_path: Path, reference: Path, size: str) -> None:
    """While the store is created, while its labels or its video are written; then with more space."""
    with small_disk(tmp_path / "disk", f"size={size}") as disk:
        path = disk.folder / "a.zarr"
        full = run("build", path, *OPTIONS, "--force", "--quiet")
        assert (full.code, full.out) == (3, "")
        (line,) = full.err.splitlines()
        assert line.startswith(f"trajstore: {path}: the disk is full")
        assert f"continue with: trajstore build {path}" in line
        flags = assert_is_sound(path, reference)
        written = info(path).written["video"] if exists(path) else 0
        assert (f"{written} of 160 samples are written, {160 - written} are missing" in line) or (
            written == 0 and "no samples are written" in line
        )
        assert list(find_partials(path)) == []
        disk.change("size=8m")
        done = run("build", path, *([] if exists(path) else OPTIONS), "--quiet")
        assert done.code == 0, done.err
        assert_same_bytes(path, reference)
        assert flags < 21


def test_a_disk_that_others_fill_while_a_build_runs(tmp_path: Path, reference: Path) -> None:
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        path = disk.folder / "a.zarr"
        assert run("build", path, *OPTIONS, "--part", "1/2").code == 0
        ballast = fill_disk(disk.folder, leave=20_000)
        before = tree(path)
        refused = run("build", path)
        assert refused.code == 3
        assert "--force" in refused.err
        assert tree(path) == before
        full = run("build", path, "--force", "-q")
        assert full.code == 3
        assert assert_is_sound(path, reference) >= 10
        ballast.unlink()
        assert run("build", path).code == 0
        assert_same_bytes(path, reference)


def test_part_without_tasks_of_a_group_writes_none_of_it(
    tmp_path: Path, tiny_store: Path, tiny_fields: dict[str, Any]
) -> None:
    """There is one task of labels: the last of three parts has it, and each part may run again."""
    path = tmp_path / "a.zarr"
    for part, labels in (("1/3", 0), ("1/3", 0), ("2/3", 0), ("3/3", 44), ("2/3", 44)):
        build(path, part=part, **tiny_fields)
        assert info(path).written["labels"] == labels
    assert_same_bytes(path, tiny_store)
