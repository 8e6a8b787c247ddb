"""Every fault is found, named for what it is, and mended, byte for byte."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import (
    FAULTS,
    KillAt,
    assert_same_bytes,
    fill_disk,
    flip_bit,
    run,
    small_disk,
    swap,
    tree,
    truncate,
)
from support.stores import open_store

import trajstore
from trajstore.commands import repair as repairing
from trajstore.commands.build import build
from trajstore.commands.repair import repair
from trajstore.commands.verify import verify
from trajstore.errors import (
    DamageError,
    DriftError,
    InterruptedBuildError,
    NotAStoreError,
    NotEnoughSpaceError,
    SpecMismatchError,
    StoreError,
)
from trajstore.executors.run import RunOptions
from trajstore.integrity.checks import choose_sample
from trajstore.integrity.inspect import inspect
from trajstore.progress import Progress
from trajstore.scene.scene import Scene
from trajstore.spec import DatasetSpec
from trajstore.store import write as tasks
from trajstore.store.shard import append_checksum, index_size, parse_index

PLACES = 10


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found_and_mended(fault: str, tiny_store: Path, tiny_copy: Path) -> None:
    for place in range(PLACES):
        planted = FAULTS[fault](tiny_copy, random.Random(place))
        before = tree(tiny_copy)
        if place == 0:
            assert {finding.key for finding in verify(tiny_copy).damage} == planted.keys
            assert tree(tiny_copy) == before
        found = repair(tiny_copy).found
        assert {finding.key for finding in found} == planted.keys
        assert {finding.kind for finding in found} <= planted.kinds
        assert_same_bytes(tiny_copy, tiny_store)
    assert verify(tiny_copy, deep=True).findings == ()


def test_many_faults_at_once(tiny_store: Path, tiny_copy: Path) -> None:
    names = [name for name in FAULTS if not name.startswith("root")]
    rng = random.Random(7)
    for _ in range(PLACES):
        for name in rng.sample(names, 4):
            try:
                FAULTS[name](tiny_copy, rng)
            except (FileNotFoundError, ValueError):
                continue  # an earlier fault has taken what this one needs
        repair(tiny_copy)
        assert_same_bytes(tiny_copy, tiny_store)


def test_a_sound_store_is_left_alone(tiny_copy: Path) -> None:
    before = tree(tiny_copy)
    report = repair(tiny_copy)
    assert (report.found, report.remaining, report.removed) == ((), (), ())
    assert tree(tiny_copy) == before


def test_only_what_is_damaged_is_made_again(
    tiny_copy: Path, tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_bit(tiny_copy / "video/c.3.0.0.0.0.0", 50)
    made = []
    make_files = tasks.make_files
    monkeypatch.setattr(tasks, "make_files", lambda *a, **k: made.append(a[2]) or make_files(*a, **k))
    done = repair(tiny_copy).done
    assert [(task.group, task.index) for task in made] == [("video", 3)]
    assert [(task.group, task.index) for task in done.rebuild] == [("video", 3)]
    assert_same_bytes(tiny_copy, tiny_store)


def test_a_request_to_stop_is_heard_while_what_was_written_is_checked_again(
    tiny_copy: Path, tiny_store: Path
) -> None:
    flip_bit(tiny_copy / "video/c.3.0.0.0.0.0", 50)
    written: list[int] = []

    def note(event: Progress) -> None:
        if event.phase == "video" and event.fresh:
            written.append(15)

    with pytest.raises(
        InterruptedBuildError, match="written again, but not all of it was checked"
    ) as stopped:
        repair(tiny_copy, progress=note, should_stop=lambda: max(written, default=0))
    assert stopped.value.exit_code == 143
    assert_same_bytes(tiny_copy, tiny_store)


def test_lost_flags_are_set_without_building(
    tiny_copy: Path, tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("labels_written", "video_written"):
        shutil.rmtree(tiny_copy / name)
    drawn = []
    draw = Scene.draw
    monkeypatch.setattr(Scene, "draw", lambda *a: drawn.append(a[1]) or draw(*a))
    monkeypatch.setattr(repairing, "fill_store", lambda *_: pytest.fail("it builds"))
    report = repair(tiny_copy)
    assert len(report.done.restore) == 7
    assert len(drawn) == 12  # both cameras of one sample of each shard
    assert_same_bytes(tiny_copy, tiny_store)


def test_flags_of_an_unfinished_store_are_set_again(
    tmp_path: Path, tiny_fields: dict[str, Any], tiny_store: Path
) -> None:
    path = tmp_path / "a.zarr"
    build(path, part="1/2", **tiny_fields)
    for flag in path.glob("video_written/c.*"):
        flag.unlink()
    (path / "video_written/c.5").write_bytes(b"junk")
    assert len(verify(path).damage) == 1
    done = repair(path).done
    assert [task.index for task in done.restore] == [0, 1, 2]
    assert [task.index for task in done.forget] == [5]
    assert verify(path).is_sound
    build(path)
    assert_same_bytes(path, tiny_store)


def test_samples_exchanged_within_a_shard_are_found_by_deep(tiny_copy: Path, tiny_store: Path) -> None:
    key = "video/c.2.0.0.0.0.0"
    store = open_store(tiny_copy)
    task = store.layout.group("video").task(2)
    right = (tiny_copy / key).read_bytes()
    other = bytes(tasks.make_files(store.spec.replace(seed=9), store.layout.group("video"), task)[0][1])
    chunks = []
    for number in range(16):  # of two cameras each
        data = right if number // 2 == choose_sample(task) else other
        start, length = parse_index(data[-index_size(16) :], capacity=16, shard_size=len(data))[
            number
        ].tolist()
        chunks.append(data[start : start + length])
    index = np.cumsum([0, *map(len, chunks)])
    pairs = np.stack([index[:-1], np.diff(index)], axis=1).astype("<u8")
    (tiny_copy / key).write_bytes(b"".join(chunks) + append_checksum(pairs.tobytes()))
    assert verify(tiny_copy).is_sound
    (finding,) = verify(tiny_copy, deep=True).damage
    assert (finding.kind, finding.key) == ("different", key)
    assert "7 rows" in finding.detail
    repair(tiny_copy, deep=True)
    assert_same_bytes(tiny_copy, tiny_store)


def test_another_generator_is_refused(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny_copy / "video/c.1.0.0.0.0.0").unlink()
    draw = Scene.draw

    def drift(self: Scene, *arguments: Any) -> None:
        draw(self, *arguments)
        arguments[-1][...] ^= 1

    monkeypatch.setattr(Scene, "draw", drift)
    before = tree(tiny_copy)
    with pytest.raises(DriftError, match=r"5 video files .* built by trajstore 0\.2\.0"):
        repair(tiny_copy)
    assert tree(tiny_copy) == before
    assert {finding.kind for finding in verify(tiny_copy).damage} == {"missing", "different"}


def test_a_newer_generator_is_refused(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trajstore import spec
    from trajstore.scene import appearance

    uniforms = appearance.uniforms
    monkeypatch.setattr(spec, "GENERATOR_VERSION", 2)
    monkeypatch.setattr(appearance, "uniforms", lambda seed, *a, **k: uniforms(seed + 1, *a, **k))
    before = tree(tiny_copy)
    assert "fingerprint" in verify(tiny_copy).damage[0].detail
    for function in (repair, build, lambda path: trajstore.extend(path, 60)):
        with pytest.raises(DriftError, match="built by trajstore"):
            function(tiny_copy)
    assert tree(tiny_copy) == before


def test_every_shard_swapped_is_no_drift(tiny_copy: Path, tiny_store: Path) -> None:
    for first, second in ((0, 1), (2, 3), (4, 0)):
        swap(tiny_copy / f"video/c.{first}.0.0.0.0.0", tiny_copy / f"video/c.{second}.0.0.0.0.0")
    assert len(repair(tiny_copy).done.rebuild) == 5
    assert_same_bytes(tiny_copy, tiny_store)


def test_only_what_a_report_names_is_checked(tiny_copy: Path, tiny_store: Path, tmp_path: Path) -> None:
    (tiny_copy / "video/c.1.0.0.0.0.0").unlink()
    report = verify(tiny_copy)
    flip_bit(tiny_copy / "video/c.4.0.0.0.0.0", 9)
    done = repair(tiny_copy, report=json.loads(json.dumps(report.to_json()))).done
    assert [task.index for task in done.rebuild] == [1]
    assert [finding.task and finding.task.index for finding in verify(tiny_copy).damage] == [4]
    repair(tiny_copy, report=verify(tiny_copy))
    assert_same_bytes(tiny_copy, tiny_store)
    with pytest.raises(StoreError, match="other JSON"):
        repair(tiny_copy, report={"findings": 3})


@pytest.mark.parametrize("size", [0.0, 0.05, 0.2, 0.4, 0.6, 0.9, 0.99])
def test_a_torn_root_is_mended(
    size: float, tiny_copy: Path, tiny_store: Path, tiny_spec: DatasetSpec
) -> None:
    root = tiny_copy / "zarr.json"
    truncate(root, int(size * root.stat().st_size))
    with pytest.raises(StoreError, match="trajstore repair"):
        verify(tiny_copy)
    if size < 0.15:  # the spec itself is cut
        before = tree(tiny_copy)
        with pytest.raises(StoreError, match=r"--spec spec\.toml"):
            repair(tiny_copy)
        assert tree(tiny_copy) == before
    repair(tiny_copy, spec=tiny_spec if size < 0.15 else None)
    assert_same_bytes(tiny_copy, tiny_store)
    assert verify(tiny_copy).findings == ()


def test_flipped_bits_of_the_root_are_never_harmful(
    tiny_copy: Path, tiny_store: Path, tiny_spec: DatasetSpec
) -> None:
    """At 30 places: found, or in the history, which nothing else knows; mended with the spec at the latest."""
    whole = (tiny_store / "zarr.json").read_bytes()
    rng = random.Random(3)
    history = range(whole.index(b'"history"'), whole.index(b'"zarr_format"'))
    alone = 0
    for _ in range(30):
        offset = rng.randrange(len(whole))
        flip_bit(tiny_copy / "zarr.json", offset, rng.randrange(8))
        before = tree(tiny_copy)
        try:
            is_found = not verify(tiny_copy).is_sound
        except StoreError:
            is_found = True
        assert is_found or offset in history
        assert tree(tiny_copy) == before
        try:
            repair(tiny_copy)
            alone += 1
        except StoreError:
            assert tree(tiny_copy) == before
            repair(tiny_copy, spec=tiny_spec)
        assert_same_bytes(tiny_copy, tiny_store)
        (tiny_copy / "zarr.json").write_bytes(whole)
    assert alone > 20


def test_a_lost_root_needs_the_right_spec(tiny_copy: Path, tiny_store: Path, tiny_spec: DatasetSpec) -> None:
    (tiny_copy / "zarr.json").unlink()
    before = tree(tiny_copy)
    with pytest.raises(StoreError, match="--spec"):
        repair(tiny_copy)
    with pytest.raises(DriftError, match="nothing was changed"):
        repair(tiny_copy, spec=tiny_spec.replace(seed=5))
    for fields in ({"samples": 45}, {"samples_per_shard": 4}, {"frames": 5}):
        with pytest.raises((SpecMismatchError, DriftError)):
            repair(tiny_copy, spec=tiny_spec.replace(**fields))
    assert tree(tiny_copy) == before
    repair(tiny_copy, spec=tiny_spec)
    assert_same_bytes(tiny_copy, tiny_store)
    with pytest.raises(SpecMismatchError, match=r"dataset\.seed: 0 stored, 5 given"):
        repair(tiny_copy, spec=tiny_spec.replace(seed=5))


def test_attributes_of_the_user_are_kept(tiny_copy: Path) -> None:
    root = tiny_copy / "zarr.json"
    described = json.loads(root.read_text())
    described["attributes"]["note"] = "mine"
    described["consolidated_metadata"]["metadata"]["video"]["shape"][0] = 43
    root.write_text(json.dumps(described))
    repair(tiny_copy)
    assert json.loads(root.read_text())["attributes"]["note"] == "mine"
    assert verify(tiny_copy).is_sound


def test_foreign_files_are_named_and_stay(tiny_copy: Path) -> None:
    (tiny_copy / "video/notes.txt").write_text("mine")
    (tiny_copy / "video/c.6.0.0.0.0.0").write_text("not mine")
    result = run("repair", tiny_copy, "-q")
    assert result.code == 4
    assert "rm " in result.err
    assert {f.key for f in repair(tiny_copy).remaining} == {"video/notes.txt", "video/c.6.0.0.0.0.0"}
    assert (tiny_copy / "video/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("moment", ["before", "renaming", "after"])
@pytest.mark.parametrize("key", ["video_written/c.*", "video/c.*", "zarr.json"])
def test_a_killed_repair_can_be_run_again(key: str, moment: Any, tiny_copy: Path, tiny_store: Path) -> None:
    for name in ("shard torn", "label chunk torn", "shard lost", "root: metadata of an array changed"):
        FAULTS[name](tiny_copy, random.Random(name))
    assert run("repair", tiny_copy, "-q", kill=KillAt(key, moment)).code == -9
    result = run("repair", tiny_copy, "-q")
    assert result.code == 0, result.err
    assert_same_bytes(tiny_copy, tiny_store)


def test_a_killed_repair_can_be_completed_by_a_build(tiny_copy: Path, tiny_store: Path) -> None:
    for index in (1, 3):
        truncate(tiny_copy / f"video/c.{index}.0.0.0.0.0", 77)
    assert run("repair", tiny_copy, "-q", kill=KillAt("video/c.*", count=2)).code == -9
    build(tiny_copy)
    assert_same_bytes(tiny_copy, tiny_store)


def test_an_interrupted_repair_says_so(tiny_copy: Path, tiny_store: Path) -> None:
    (tiny_copy / "video/c.0.0.0.0.0.0").unlink()
    before = tree(tiny_copy)
    with pytest.raises(InterruptedBuildError, match="nothing was changed"):
        repair(tiny_copy, should_stop=lambda: 2)
    assert tree(tiny_copy) == before


def test_a_full_disk_during_repair(tiny_store: Path, tiny_spec: DatasetSpec, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        path = Path(shutil.copytree(tiny_store, disk.folder / "a.zarr"))
        for index in range(6):
            (path / f"video/c.{index}.0.0.0.0.0").unlink()
        ballast = fill_disk(disk.folder, leave=8192)
        before = tree(path)
        with pytest.raises(NotEnoughSpaceError):
            repair(path)
        assert tree(path) == before
        with pytest.raises(NotEnoughSpaceError, match=r"full.*trajstore repair"):
            repair(path, force=True)
        ballast.unlink()
        repair(path)
        assert_same_bytes(path, tiny_store)


def test_a_read_only_disk(tiny_store: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        path = Path(shutil.copytree(tiny_store, disk.folder / "a.zarr"))
        truncate(path / "video/c.0.0.0.0.0.0", 50)
        disk.change("ro")
        assert [finding.kind for finding in verify(path).damage] == ["truncated"]
        for command in (("repair",), ("extend", "--samples", 60)):
            result = run(command[0], path, *command[1:], "-q")
            assert result.code == 1
            assert "Read-only file system" in result.err
            assert "Traceback" not in result.err
        disk.change("rw")
        repair(path)
        assert_same_bytes(path, tiny_store)


def test_a_disk_that_fails_again_is_reported(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny_copy / "video/c.2.0.0.0.0.0").unlink()
    fill_store = repairing.fill_store

    def fail(*arguments: Any) -> int:
        filled = fill_store(*arguments)
        flip_bit(tiny_copy / "video/c.2.0.0.0.0.0", 30)
        return filled

    monkeypatch.setattr(repairing, "fill_store", fail)
    with pytest.raises(DamageError, match=r"video/c\.2.*check the disk"):
        repair(tiny_copy)


def test_a_chunked_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trajstore.store.groups.video.CHUNK_BYTES_MAX", 1600)
    path, reference = tmp_path / "a.zarr", tmp_path / "b.zarr"
    build(path, samples=20, seed=6, frames=4, height=16, width=16, cameras=2, samples_per_shard=8)
    shutil.copytree(path, reference)
    assert open_store(path).layout.group("video").columns[0].chunk_counts[:3] == (8, 2, 2)
    swap(path / "video/c.0.0.0.0.0.0", path / "video/c.1.0.0.0.0.0")
    assert len(verify(path, deep=True).damage) == 2
    repair(path)
    assert_same_bytes(path, reference)


def test_not_a_store(tmp_path: Path, tiny_copy: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none", tmp_path / "file", tmp_path / "empty"):
        for function in (repair, verify, lambda path: trajstore.extend(path, 60)):
            with pytest.raises(NotAStoreError):
                function(path)
    assert not (tmp_path / "none").exists()
    root = tiny_copy / "zarr.json"
    root.write_text(root.read_text().replace('"format_version": 1', '"format_version": 2'))
    before = tree(tiny_copy)
    for command in ("verify", "repair"):
        result = run(command, tiny_copy, "-q")
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert "format 2, expected 1" in result.err
    assert tree(tiny_copy) == before


def test_a_plan_is_pure(tiny_copy: Path) -> None:
    (tiny_copy / "video/c.2.0.0.0.0.0").unlink()
    inspection = inspect(open_store(tiny_copy), RunOptions())
    before = tree(tiny_copy)
    plan = repairing.plan_repair(inspection)
    assert [task.index for task in plan.rebuild] == [2]
    assert plan == repairing.plan_repair(replace(inspection))
    assert tree(tiny_copy) == before
