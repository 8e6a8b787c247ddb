from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.faults import fill_disk, small_disk

from trajstore.storage import durable
from trajstore.storage.durable import find_partials, publish, sweep

HERE = socket.gethostname()


def partial(folder: Path, *, host: str = HERE, process: int | None = None, serial: int = 10**9) -> Path:
    """A temporary file such as a builder leaves when it is killed."""
    number = os.getpid() if process is None else process
    path = folder / f"c.0.{host}~{number}~{serial}.partial"
    path.write_bytes(b"half")
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("data", [b"", b"new", bytearray(b"new"), memoryview(b"new")])
def test_publish_writes_and_replaces(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a" / "b" / "c.0"
    publish(path, b"old and longer")
    publish(path, data)
    assert path.read_bytes() == bytes(data)
    assert names_in(path.parent) == ["c.0"]


@pytest.fixture(params=["links", "no links", "no exclusive rename either"])
def filesystem(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that has hard links, or none, or one that cannot even rename without replacing."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if request.param != "links":
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    if request.param == "no exclusive rename either":
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())


@pytest.mark.usefixtures("filesystem")
def test_exclusive_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "zarr.json"
    publish(path, b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        publish(path, b"second", exclusive=True)
    assert path.read_bytes() == b"first"
    assert names_in(tmp_path) == ["zarr.json"]


@pytest.mark.usefixtures("filesystem")
def test_an_empty_file_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "zarr.json"
    path.touch()
    publish(path, b"first", exclusive=True)
    assert path.read_bytes() == b"first"
    assert names_in(tmp_path) == ["zarr.json"]


@pytest.mark.usefixtures("filesystem")
@pytest.mark.parametrize("is_claimed", [False, True])
def test_only_one_of_many_exclusive_writers_wins(tmp_path: Path, is_claimed: bool) -> None:
    path, winners = tmp_path / "zarr.json", []
    if is_claimed:
        path.touch()
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait()
        try:
            publish(path, bytes([number]), exclusive=True)
        except FileExistsError:
            return
        winners.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = winners
    assert path.read_bytes() == bytes([winner])
    assert names_in(tmp_path) == ["zarr.json"]


@pytest.mark.parametrize(("exclusive", "step"), [(False, "replace"), (True, "hardlink_to")])
def test_data_is_on_disk_before_its_name_and_its_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exclusive: bool, step: str
) -> None:
    """Write, fsync of the file, rename, fsync of the folder; new folders are synced in their parents first."""
    calls: list[tuple[str, Path]] = []
    fsync, rename = os.fsync, getattr(Path, step)

    def record_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_file():
            assert path.read_bytes() == b"data"
        calls.append(("fsync", path))
        fsync(descriptor)

    def record_rename(self: Path, other: Path) -> Any:
        calls.append((step, self))
        return rename(self, other)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, step, record_rename)
    folder = tmp_path / "a" / "b"
    publish(folder / "c.0", b"data", exclusive=exclusive)

    (written,) = [path for name, path in calls if name == "fsync" and path.suffix == ".partial"]
    assert calls == [
        ("fsync", tmp_path.parent),  # whoever made the folder may have been killed before
        ("fsync", tmp_path),
        ("fsync", tmp_path / "a"),
        ("fsync", written),
        (step, folder / "c.0" if exclusive else written),
        ("fsync", folder),
    ]


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_a_folder_that_a_killed_process_has_made_is_put_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Whichever fsync was the last: a rerun makes up for all that have not been done."""
    file, synced = tmp_path / "a" / "b" / "c" / "c.0", set()
    left, fsync = killed_at, os.fsync

    def fsync_or_die(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        fsync(descriptor)
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync_or_die)
    monkeypatch.setattr(durable, "_on_disk", {tmp_path})
    with pytest.raises(Killed):
        publish(file, b"data")
    monkeypatch.setattr(durable, "_on_disk", set())  # another process
    publish(file, b"data")
    assert synced >= {tmp_path, *list(file.parents)[:3]}
    again = len(synced)
    publish(file, b"data")  # and once is enough
    assert len(synced) == again + 1  # the temporary file


def test_a_folder_above_that_cannot_be_read_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        if folder == tmp_path.parent:
            raise PermissionError

    monkeypatch.setattr(durable, "_sync_folder", refuse)
    monkeypatch.setattr(durable, "_on_disk", set())
    publish(tmp_path / "c.0", b"data")
    assert (tmp_path / "c.0").read_bytes() == b"data"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_leaves_no_debris_and_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "c.0"
    publish(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(OSError, match="Input/output"):
        publish(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["c.0"]


def test_a_full_disk_leaves_no_debris_and_the_old_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=200k") as disk:
        path = disk.folder / "c.0"
        publish(path, b"old")
        fill_disk(disk.folder, leave=20_000)
        with pytest.raises(OSError, match="No space left"):
            publish(path, bytes(50_000))
        assert path.read_bytes() == b"old"
        assert names_in(disk.folder) == ["ballast", "c.0"]


def test_sweep_removes_what_dead_processes_left(tmp_path: Path, dead_process: int) -> None:
    folder = tmp_path / "video"
    folder.mkdir()
    dead = partial(folder, process=dead_process)
    earlier = partial(folder)  # of this process's number, but none of its writes: an earlier container's
    living = partial(folder, process=os.getppid())
    others = [folder / "c.0", folder / "notes.partial"]
    for path in others:
        path.write_bytes(b"kept")
    assert sorted(find_partials(tmp_path)) == sorted([dead, earlier, living])
    assert sorted(sweep(tmp_path)) == sorted([dead, earlier])
    assert sorted(folder.iterdir()) == sorted([living, *others])


def test_sweep_keeps_what_other_hosts_write_for_a_day(tmp_path: Path, dead_process: int) -> None:
    young = partial(tmp_path, host="elsewhere", process=dead_process)
    old = partial(tmp_path, host="elsewhere", process=dead_process, serial=1)
    yesterday = time.time() - 24 * 3600 - 60
    os.utime(old, (yesterday, yesterday))
    assert sweep(tmp_path) == [old]
    assert young.exists()


def test_sweep_keeps_what_this_process_is_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[Path] = []
    fsync = os.fsync

    def sweep_and_fsync(descriptor: int) -> None:
        swept.extend(sweep(tmp_path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sweep_and_fsync)
    publish(tmp_path / "c.0", b"data")
    assert swept == []


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_file_that_is_swept_while_it_is_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exclusive: bool
) -> None:
    """As by a builder in another container that shares the folder and the host's name."""
    fsync, removed = os.fsync, []

    def remove_and_fsync(descriptor: int) -> None:
        fsync(descriptor)
        if len(removed) < 2:
            for path in find_partials(tmp_path):
                path.unlink()
                removed.append(path)

    monkeypatch.setattr(os, "fsync", remove_and_fsync)
    publish(tmp_path / "c.0", b"data", exclusive=exclusive)
    assert len(removed) == 2
    assert (tmp_path / "c.0").read_bytes() == b"data"
    assert names_in(tmp_path) == ["c.0"]


def test_a_folder_that_vanishes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    fsync = os.fsync

    def remove_and_fsync(descriptor: int) -> None:
        fsync(descriptor)
        for path in find_partials(folder):
            path.unlink()
            folder.rmdir()

    monkeypatch.setattr(os, "fsync", remove_and_fsync)
    with pytest.raises(FileNotFoundError):
        publish(folder / "c.0", b"data")


def test_names_of_temporary_files_are_never_keys_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end in the suffix that `sweep` looks for, whatever the host is called."""
    monkeypatch.setattr(socket, "gethostname", lambda: "a.b/c~d é")
    seen: list[Path] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        seen.extend(durable.find_partials(tmp_path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    publish(tmp_path / "c.0", b"data")
    assert [path.parent for path in seen[:1]] == [tmp_path]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    publish(tmp_path / name, b"data")
    assert names_in(tmp_path) == [name]
    with pytest.raises(OSError, match="File name too long"):
        publish(tmp_path / ("x" * 256), b"data")


def test_where_no_file_can_be_made_writing_ends() -> None:
    with pytest.raises(FileNotFoundError):
        publish(Path("/proc/x.png"), b"data")
