"""What verification says of stores that are being built, were interrupted, or cannot be read; and how it says it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from support.faults import FAULTS, KillAt, assert_same_bytes, run, start, tree, wait_until
from support.stores import create_store

import trajstore
from trajstore import progress
from trajstore.commands.build import build
from trajstore.commands.repair import repair
from trajstore.commands.verify import verify
from trajstore.errors import InterruptedBuildError, StoreError
from trajstore.integrity.checks import choose_sample
from trajstore.integrity.findings import KINDS
from trajstore.report import FINDINGS_MAX, describe_verification
from trajstore.scene.scene import Scene
from trajstore.spec import DatasetSpec
from trajstore.storage import durable
from trajstore.storage.folder import Folder
from trajstore.storage.location import Location
from trajstore.store.columns import Task


def test_a_sound_store(tiny_store: Path, tiny_copy: Path) -> None:
    for deep in (False, True):
        report = verify(tiny_copy, deep=deep)
        assert (report.findings, report.is_sound) == ((), True)
        assert report.checked == {"labels": 44, "video": 44}
        assert report.pending == {"labels": 0, "video": 0}
    assert tree(tiny_copy) == tree(tiny_store)


def test_what_is_drawn(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    draw = Scene.draw
    monkeypatch.setattr(Scene, "draw", lambda *a: drawn.append(1) or draw(*a))
    verify(tiny_store)
    cameras = 2  # of each sample
    assert len(drawn) == 6 * cameras
    verify(tiny_store, deep=True)
    assert len(drawn) == (6 + 44) * cameras


def test_the_chosen_sample_is_spread_and_always_the_same() -> None:
    chosen = [choose_sample(Task("video", index, range(250))) for index in range(400)]
    assert chosen == [choose_sample(Task("video", index, range(250))) for index in range(400)]
    assert set(chosen) <= set(range(250))
    assert len(set(chosen[:40])) == 40
    assert choose_sample(Task("video", 3, range(7, 8))) == 0


def test_unfinished_stores_are_sound(
    tmp_path: Path, tiny_spec: DatasetSpec, tiny_fields: dict[str, Any]
) -> None:
    path = tmp_path / "a.zarr"
    create_store(path, tiny_spec)
    report = verify(path)
    assert (report.findings, report.pending) == ((), {"labels": 44, "video": 44})
    build(path, part="1/3", **tiny_fields)
    report = verify(path)
    assert report.findings == ()
    assert report.pending["video"] == 44 - 16
    # killed between a shard and its flag
    (path / "video_written/c.1").unlink()
    report = verify(path)
    assert report.is_sound
    assert [(finding.kind, finding.is_damage) for finding in report.findings] == [("unflagged", False)]
    result = run("verify", path, "-q")
    assert result.code == 0
    assert f"trajstore build {path}" in result.out


@pytest.mark.parametrize("moment", ["before", "renaming", "after"])
@pytest.mark.parametrize("key", ["video/c.*", "video_written/c.*", "labels_written/c.*", "box/c.*"])
def test_a_killed_build_is_sound(
    key: str, moment: Any, tmp_path: Path, tiny_options: list[str], tiny_store: Path
) -> None:
    path = tmp_path / "a.zarr"
    assert run("build", path, *tiny_options, kill=KillAt(key, moment, 1)).code == -9
    report = verify(path)
    assert report.is_sound, report.damage
    debris = [finding for finding in report.findings if finding.kind == "foreign"]
    if moment == "renaming":
        assert debris
    repair(path)
    assert not any(finding.kind == "foreign" for finding in verify(path).findings)
    build(path)
    assert_same_bytes(path, tiny_store)
    assert verify(path).findings == ()


def test_a_lie_in_an_unfinished_store_is_damage(tmp_path: Path, tiny_fields: dict[str, Any]) -> None:
    path = tmp_path / "a.zarr"
    build(path, part="1/3", **tiny_fields)
    (path / "video/c.0.0.0.0.0.0").unlink()
    (finding,) = verify(path).damage
    assert (finding.kind, finding.key) == ("missing", "video/c.0.0.0.0.0.0")
    repair(path)
    assert verify(path).findings == ()
    assert verify(path).pending["video"] == 44 - 16


def test_during_builds(tmp_path: Path, tiny_options: list[str]) -> None:
    path = tmp_path / "a.zarr"
    options = [*tiny_options, "--samples", "600"]
    commands = [start("build", path, *options, "-q") for _ in range(2)]
    wait_until((path / "zarr.json").exists)
    reports = []
    while any(command.is_running for command in commands):
        reports.append(verify(path))
    assert [command.wait().code for command in commands] == [0, 0]
    assert reports
    assert all(report.is_sound for report in reports), [report.damage for report in reports]
    assert verify(path).findings == ()


def test_living_builders_leave_no_debris(tiny_copy: Path) -> None:
    host = durable._host()
    alive = tiny_copy / f"video/c.0.0.0.0.0.0.{host}~{os.getppid()}~0.partial"
    dead = tiny_copy / f"video/c.0.0.0.0.0.0.{host}~{_dead_process()}~0.partial"
    for path in (alive, dead):
        path.write_bytes(b"half")
    report = verify(tiny_copy)
    assert report.is_sound
    assert [finding.key for finding in report.findings] == [dead.relative_to(tiny_copy).as_posix()]
    assert repair(tiny_copy).removed == (dead.relative_to(tiny_copy).as_posix(),)
    assert alive.exists()


def _dead_process() -> int:
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitpid(process, 0)
    return process


@pytest.mark.parametrize("jump", [-10 * 365 * 86400, -3600, 3600, 10 * 365 * 86400])
def test_clocks_that_jump(
    jump: int, tiny_copy: Path, tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    for path in tiny_copy.rglob("*"):
        os.utime(path, (max(0, now() - 2 * jump),) * 2)
    assert verify(tiny_copy).findings == ()
    FAULTS["shard torn"](tiny_copy, random.Random(jump))
    repair(tiny_copy)
    assert_same_bytes(tiny_copy, tiny_store)
    trajstore.extend(tiny_copy, 50)
    assert verify(tiny_copy).findings == ()


def test_a_disk_that_fails_to_read(
    tiny_copy: Path, tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIO for ten objects of every kind is damage, object by object; the rest is checked."""
    keys = sorted(tree(tiny_store).keys() - {".", "zarr.json"})
    keys = [
        "video/zarr.json",
        *random.Random(1).sample([key for key in keys if (tiny_store / key).is_file()], 20),
    ]
    read = Folder.read

    def fail(self: Folder, key: str) -> bytes | None:
        if key in keys and self.root == tiny_copy:
            raise OSError(errno.EIO, "Input/output error")
        return read(self, key)

    monkeypatch.setattr(Folder, "read", fail)
    damage = verify(tiny_copy).damage
    assert {finding.key for finding in damage} == set(keys)
    assert {finding.kind for finding in damage} == {"corrupt"}
    assert all("Input/output error" in finding.detail for finding in damage)


@pytest.mark.parametrize("value", [None, [], 3, {}, {"metadata": None}, {"metadata": {"video": 1}}])
def test_a_root_of_another_shape(value: object, tiny_copy: Path, tiny_store: Path) -> None:
    root = json.loads((tiny_copy / "zarr.json").read_text())
    (tiny_copy / "zarr.json").write_text(json.dumps(root | {"consolidated_metadata": value}))
    assert [(finding.kind, finding.key) for finding in verify(tiny_copy).damage] == [
        ("different", "zarr.json")
    ]
    repair(tiny_copy)
    assert_same_bytes(tiny_copy, tiny_store)


def test_no_permission(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Folder.read

    def refuse(self: Folder, key: str) -> bytes | None:
        if key.startswith("video/c.3"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(self, key)

    monkeypatch.setattr(Folder, "read", refuse)
    before = tree(tiny_copy)
    for function in (verify, repair):
        with pytest.raises(StoreError, match=r"video/c\.3.*Permission denied; change its permissions"):
            function(tiny_copy)
    assert tree(tiny_copy) == before


def test_interrupted(tiny_store: Path) -> None:
    with pytest.raises(InterruptedBuildError, match="nothing was changed") as caught:
        verify(tiny_store, should_stop=lambda: 15)
    assert caught.value.exit_code == 143


def test_progress(tiny_store: Path) -> None:
    events: list[progress.Progress] = []
    verify(tiny_store, progress=events.append)
    last = {event.phase: (event.done, event.total) for event in events}
    assert last == {"verify labels": (44, 44), "verify video": (44, 44)}


def test_json(tiny_copy: Path) -> None:
    shutil.rmtree(tiny_copy / "video")
    result = run("verify", tiny_copy, "--json", "-q")
    assert result.code == 4
    report = json.loads(result.out)
    finding = {
        "type": "object",
        "required": ["kind", "key", "detail", "is_damage", "group", "index", "rows"],
        "properties": {"kind": {"enum": list(KINDS)}, "is_damage": {"type": "boolean"}},
        "additionalProperties": {"type": ["string", "integer", "array", "null"]},
    }
    validate(report, {"properties": {"findings": {"type": "array", "items": finding}}})
    assert {item["key"] for item in report["findings"] if item["kind"] == "missing"} >= {
        "video/zarr.json",
        "video/c.5.0.0.0.0.0",
    }
    assert report["is_sound"] is False
    assert next(item["rows"] for item in report["findings"] if item["index"] == 5) == [40, 44]


def test_the_table(tiny_copy: Path) -> None:
    (tiny_copy / "video/c.4.0.0.0.0.0").unlink()
    (tiny_copy / "stray").touch()
    before = tree(tiny_copy)
    result = run("verify", tiny_copy, "-q")
    assert (result.code, result.err.count("\n")) == (4, 1)
    assert f"trajstore repair {tiny_copy}" in result.err
    words = [line.split() for line in result.out.splitlines()]
    assert ["missing", "video/c.4.0.0.0.0.0", "32:40", "there", "is", "no", "such", "file"] in words
    assert "1 missing, 1 foreign" in result.out
    assert tree(tiny_copy) == before


def test_a_long_table_is_cut(tmp_path: Path, tiny_fields: dict[str, Any]) -> None:
    path = tmp_path / "a.zarr"
    build(path, **tiny_fields | {"samples_per_shard": 1})
    shutil.rmtree(path / "video_written")
    text = describe_verification(verify(path), location=Location.parse(path))
    assert len(text.splitlines()) < FINDINGS_MAX + 10
    assert f"and {len(verify(path).findings) - FINDINGS_MAX} more" in text


def test_keys_of_a_store_are_known_and_others_are_foreign(tiny_copy: Path) -> None:
    names = [
        "video/c.6.0.0.0.0.0", "video/c.0.0.0.0.0.1", "video/c.00.0.0.0.0.0", "video/c/0", "radius/c.1",
        "video_written/c.6", "c.0", "x/zarr.json", "intrinsics/c.0.0.1", "zarr.json.bak", "video/c.٣.0.0.0.0.0",
    ]  # fmt: skip
    for name in names:
        (tiny_copy / name).parent.mkdir(parents=True, exist_ok=True)
        (tiny_copy / name).touch()
    assert {finding.key for finding in verify(tiny_copy).damage} == set(names)
