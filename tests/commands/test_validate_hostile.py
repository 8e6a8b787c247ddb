"""Folders that were made to do harm are answered with faults, soon and in little memory, and nothing of them is run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trajstore
from trajstore.errors import ExportError
from trajstore.exporters.check import check_is_export
from trajstore.exporters.faults import Fault

PROGRAM = """
import json, resource, sys, time
import torch, trajstore
from trajstore.exporters.check import inspect_folder  # compiled and imported before the clock runs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in sys.argv[1:]:
    started = time.monotonic()
    report = trajstore.validate(folder, workers=2)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([report.fault_counts, time.monotonic() - started, (after - before) * 1024]))
"""


def video(folder: Path, row: int) -> Path:
    return folder / f"videos/sample_{row:04d}.pt"


def label(folder: Path, row: int) -> Path:
    return folder / f"labels/sample_{row:04d}.json"


def change(path: Path, **fields: Any) -> None:
    """Change fields of a JSON file; None removes one."""
    data = json.loads(path.read_bytes()) | fields
    path.write_text(json.dumps({name: value for name, value in data.items() if value is not None}))


def deflate(path: Path) -> None:
    """Put an archive in place of a tensor file whose pickle has 3 GB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as record:
            for _ in range(3000):
                record.write(bytes(10**6))
        archive.writestr("archive/version", "3")


def sparse(path: Path) -> None:
    """Put 8 GB of holes in place of a file."""
    path.write_bytes(b"")
    os.truncate(path, 8 * 10**9)


def large(path: Path, *, is_archive: bool) -> None:
    """Put a pickle in place of a tensor file that makes 8 GB of bytes."""
    data = b"\x80\x02c__builtin__\nbytearray\nq\x00\x8a\x05\x00\x50\xd6\xdc\x01\x85q\x01Rq\x02."
    if not is_archive:
        path.write_bytes(data)
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def nest(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


Plant = Callable[[Path], Any]
HOSTILE: list[tuple[str, Plant, dict[str, int]]] = [
    ("a record that grows", lambda f: deflate(video(f, 5)), {"video-unreadable": 1}),
    ("bytes that are made", lambda f: large(video(f, 5), is_archive=False), {"video-unsafe": 1}),
    ("bytes in an archive", lambda f: large(video(f, 5), is_archive=True), {"video-unsafe": 1}),
    ("holes for a tensor", lambda f: sparse(video(f, 5)), {"video-unreadable": 1}),
    ("many samples", lambda f: change(f / "metadata.json", total_samples=10**8), {"metadata-mismatch": 1}),
    ("many rows", lambda f: change(f / "metadata.json", row_ranges=[[0, 10**8]]), {"metadata-mismatch": 1}),
    ("many times the same rows", lambda f: change(f / "metadata.json", row_ranges=[[0, 44]] * 10**5),
     {"metadata-mismatch": 1}),
    ("many samples of another program", lambda f: change(f / "metadata.json", total_samples=10**8, spec=None),
     {"metadata-mismatch": 1}),
    ("holes for a label", lambda f: sparse(label(f, 5)), {"label-unreadable": 1, "metadata-mismatch": 2}),
    ("a deep label", lambda f: nest(label(f, 5)), {"label-unreadable": 1, "metadata-mismatch": 2}),
    ("a pipe for metadata", lambda f: pipe(f / "metadata.json"), {"metadata-invalid": 1}),
    ("a device for metadata", lambda f: endless(f / "metadata.json"), {"metadata-invalid": 1}),
    ("holes for metadata", lambda f: sparse(f / "metadata.json"), {"metadata-invalid": 1}),
    ("a pipe for a tensor", lambda f: pipe(video(f, 5)),
     {"surplus": 1, "video-missing": 1, "metadata-mismatch": 1}),
    ("a device for a tensor", lambda f: endless(video(f, 5)),
     {"surplus": 1, "video-missing": 1, "metadata-mismatch": 1}),
    ("a pipe for a label", lambda f: pipe(label(f, 5)), {"surplus": 1, "label-missing": 1, "metadata-mismatch": 2}),
    ("an unknown format", lambda f: change(f / "metadata.json", format="npz"), {"metadata-invalid": 1}),
    ("another shape than the spec's", lambda f: change(f / "metadata.json", tensor_shape=[2, 4, 3, 10**6, 16]),
     {"metadata-invalid": 1}),
]  # fmt: skip


def test_hostile_folders_end_in_faults_within_seconds_and_little_memory(
    tiny_store: Path, tmp_path: Path
) -> None:
    trajstore.export(tiny_store, tmp_path / "reference")
    folders = []
    for number, (_, plant, _) in enumerate(HOSTILE):
        folders.append(Path(shutil.copytree(tmp_path / "reference", tmp_path / str(number))))
        plant(folders[-1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *folders], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for (name, _, expected), line in zip(HOSTILE, done.stdout.splitlines(), strict=True):
        counts, seconds, memory = json.loads(line)
        assert counts == expected, name
        assert seconds < 10.0, name
        assert memory < 500e6, name


def test_control_characters_of_names_and_values_are_shown_escaped(tmp_path: Path) -> None:
    fault = Fault("surplus", "a\x1b[2J\n.pt", "found '\udcff\x07'")
    assert (fault.path, fault.detail) == (r"a\x1b[2J\n.pt", r"found '\udcff\x07'")
    with pytest.raises(ExportError, match=r"a\\x1bb: found nothing"):
        check_is_export(tmp_path / "a\x1bb")
