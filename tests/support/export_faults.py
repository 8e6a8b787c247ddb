"""What breaks exports, for tests: kills at a chosen step, a small disk, and folders to compare."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from trajstore import cli
from trajstore.exporters.records import Source
from trajstore.spec import DatasetSpec

TINY: Final[dict[str, Any]] = {
    "samples": 44,
    "frames": 4,
    "height": 16,
    "width": 16,
    "cameras": 2,
    "samples_per_shard": 8,
}
"""Six shards, the last one half full."""

_PROGRAM: Final = """
import importlib, os, signal, sys, threading
from pathlib import Path
import trajstore.cli
method, pattern, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
original, lock, seen = getattr(Path, method), threading.Lock(), 0
def step(path, *arguments, **options):
    global seen
    target = Path(arguments[0]) if arguments and method == "replace" else path
    with lock:
        seen += target.match(pattern)
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
    return original(path, *arguments, **options)
setattr(Path, method, step)
module, _, assignment = os.environ.get("TRAJSTORE_TEST_PATCH", "").partition(":")
if module:  # such as module:NAME=number
    name, _, number = assignment.partition("=")
    setattr(importlib.import_module(module), name, int(number))
sys.argv = ["trajstore", *sys.argv[4:]]
trajstore.cli.main()
"""


def make_source(spec: DatasetSpec, **fields: Any) -> Source:
    """What an export of a spec says that it was made from."""
    return Source.model_validate(
        {
            "tensor_shape": (4, 32, 3, 64, 64),
            "tensor_dtype": "uint8",
            "row_ranges": ((0, 100),),
            "fingerprint": spec.fingerprint,
            "spec": spec,
        }
        | fields
    )


def export_and_die(store: Path, folder: Path, *options: str, method: str, pattern: str, at: int) -> None:
    """Export in a process that is killed by SIGKILL just before a step.

    Parameters
    ----------
    store, folder : Path
        What and where.
    *options : str
        More of the command line.
    method : {'replace', 'unlink'}
        The method of `Path` that is the step.
    pattern : str
        Which files count: the new name, for ``replace``.
    at : int
        The how manieth of them.
    """
    arguments = [method, pattern, str(at), "export", str(store), str(folder), "--quiet", *options]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, (done.returncode, done.stderr)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of an export, without the times in the metadata."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    if "metadata.json" in files:
        metadata = json.loads(files["metadata.json"])
        del metadata["timestamp"], metadata["generation_time_seconds"]
        files["metadata.json"] = json.dumps(metadata).encode()
    return files


def assert_is_part(folder: Path, reference: Path) -> int:
    """Fail unless every named file is whole, and every label has its video; returns how many samples there are."""
    expected = contents(reference)
    found = {
        name: data for name, data in contents(folder).items()
        if not name.endswith(".partial") and name != "unfinished.json"
    }  # fmt: skip
    for name, data in found.items():
        assert data == expected[name], name
    labels = [name for name in found if name.startswith("labels/")]
    for name in labels:
        assert name.replace("labels", "videos").replace(".json", ".pt") in found
    return len(labels)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a tmpfs of a size for as long as the context lasts."""
    if os.geteuid() != 0:
        pytest.skip("mounting a filesystem needs root")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow_disk(folder: Path, size: str) -> None:
    """Give a small disk another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run a command in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["trajstore", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    code = caught.value.code or 0
    assert isinstance(code, int)
    return code
