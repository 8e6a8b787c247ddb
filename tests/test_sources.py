from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from trajstore.sources import LocalSource


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(8):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 100)
    return tmp_path


def test_reads_parts_and_sizes(files: Path):
    source = LocalSource(files)
    assert source.read("3", 10, 5) == bytes([3]) * 5
    assert source.read("3", 98, 5) == bytes([3]) * 2
    assert source.size("3") == 100
    with pytest.raises(FileNotFoundError):
        source.read("nothing", 0, 1)


def test_replaced_file_is_seen_after_forgetting_it(files: Path):
    source = LocalSource(files)
    source.read("3", 0, 1)
    (files / "new").write_bytes(b"new")
    (files / "new").replace(files / "3")
    assert source.read("3", 0, 3) == bytes([3]) * 3
    source.forget("3")
    assert source.read("3", 0, 3) == b"new"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_keeps_few_files_open_and_closes_them_all(files: Path):
    before = descriptors()
    source = LocalSource(files, open_files_max=3)
    for number in range(8):
        source.read(str(number), 0, 1)
        assert descriptors() - before <= 3
    del source
    assert descriptors() == before


def test_threads_never_read_from_a_descriptor_that_another_has_closed(files: Path):
    source = LocalSource(files, open_files_max=1)
    wrong: list[int] = []

    def use() -> None:
        wrong.extend(
            number % 8
            for number in range(800)
            if source.read(str(number % 8), 0, 4) != bytes([number % 8]) * 4
        )

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
