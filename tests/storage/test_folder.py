from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from trajstore.storage.folder import SMALL_BYTES, Folder
from trajstore.storage.location import Location


def open_below(folder: Path) -> int:
    """How many descriptors of this process are open on files below `folder`."""
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link).startswith(f"{folder}/") for link in links)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(8):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 100)
    return tmp_path


def part(folder: Folder, key: str, start: int, length: int) -> bytes:
    (data,) = folder.read_ranges(key, [(start, length)])
    return bytes(data)


def test_reads_whole_files_parts_and_ends(files: Path):
    folder = Folder(Location.parse(files))
    assert folder.read("3") == bytes([3]) * 100
    assert list(folder.read_ranges("3", [(10, 5), (98, 5), (100, 1)])) == [b"\3" * 5, b"\3" * 2, b""]
    assert folder.read_tail("3", 7) == (b"\3" * 7, 100)
    assert folder.read_tail("3", 700) == (b"\3" * 100, 100)
    assert dict(folder.read_many(["1", "nothing", "2"])) == {
        "1": b"\1" * 100,
        "nothing": None,
        "2": b"\2" * 100,
    }


def test_what_is_not_there(files: Path):
    folder = Folder(Location.parse(files))
    (files / "sub").mkdir()
    assert [folder.read(key) for key in ("nothing", "3/below a file", "sub")] == [None] * 3
    for read in (
        lambda: folder.read_tail("nothing", 1),
        lambda: list(folder.read_ranges("nothing", [(0, 1)])),
    ):
        with pytest.raises(FileNotFoundError):
            read()
    folder.remove("nothing")


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * SMALL_BYTES + 5])
def test_reads_files_of_any_size(tmp_path: Path, size: int):
    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    assert Folder(Location.parse(tmp_path)).read("a") == content


def test_lists_everything_below(files: Path):
    folder = Folder(Location.parse(files))
    folder.write("a/b/c", b"12345")
    assert list(folder.list_keys("a")) == ["a/b/c"]
    assert set(folder.list_keys()) == {"a/b/c", *map(str, range(8))}
    assert folder.measure() == {"a": 5} | {str(number): 100 for number in range(8)}
    assert list(Folder(Location.parse(files / "nothing")).list_keys()) == []


def test_creating_replaces_nothing(files: Path):
    folder = Folder(Location.parse(files))
    folder.create("3", b"new")
    folder.create("new", b"new")
    assert (folder.read("3"), folder.read("new")) == (b"\3" * 100, b"new")


def test_replaced_file_is_seen_after_forgetting_it(files: Path):
    folder = Folder(Location.parse(files))
    part(folder, "3", 0, 1)
    (files / "new").write_bytes(b"new")
    (files / "new").replace(files / "3")
    assert part(folder, "3", 0, 3) == bytes([3]) * 3
    folder.forget("3")
    assert part(folder, "3", 0, 3) == b"new"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_keeps_few_files_open_and_closes_them_all(files: Path):
    folder = Folder(Location.parse(files), open_files_max=3)
    for number in range(8):
        part(folder, str(number), 0, 1)
        assert 1 <= open_below(files) <= 3
    del folder
    gc.collect()
    assert open_below(files) == 0


def test_threads_never_read_from_a_descriptor_that_another_has_closed(files: Path):
    folder = Folder(Location.parse(files), open_files_max=1)
    wrong: list[int] = []

    def use() -> None:
        wrong.extend(
            number % 8
            for number in range(800)
            if part(folder, str(number % 8), 0, 4) != bytes([number % 8]) * 4
        )

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
