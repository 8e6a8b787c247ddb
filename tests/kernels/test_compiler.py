"""Where compiled kernels are kept, wherever the package is."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import fill_disk, flip_bit, small_disk, truncate

import trajstore
from trajstore.kernels import compiler
from trajstore.kernels.compiler import kernel

PROGRAM = """
import numpy as np
from numba.np.ufunc import parallel
from trajstore.kernels.raster import fill_background

frame = np.zeros((3, 2, 2), np.uint8)
fill_background(np.array([1, 2, 3], np.uint8), frame)
assert frame[:, 0, 0].tolist() == [1, 2, 3]
assert not parallel._is_initialized, "numba has started threads"
"""


@pytest.fixture
def moved_package(tmp_path: Path) -> Path:
    """A copy of the package in another place."""
    folder = tmp_path / "elsewhere"
    source = Path(trajstore.__file__).parent
    shutil.copytree(source, folder / "trajstore", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run_a_kernel(package: Path, cache: Path) -> None:
    """Compile a kernel in another process that has a folder for caches; numba starts no threads for it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    folders = {"PYTHONPATH": str(package), "HOME": str(cache), "XDG_CACHE_HOME": str(cache)}
    program = f"import trajstore; assert {str(package)!r} in trajstore.__file__\n{PROGRAM}"
    subprocess.run([sys.executable, "-c", program], env=environment | folders, cwd=package, check=True)


def test_kernels_are_kept_beside_the_package(moved_package: Path, tmp_path: Path) -> None:
    run_a_kernel(moved_package, tmp_path)
    assert list((moved_package / "trajstore/kernels").rglob("raster.fill_background*.nbc"))


def test_kept_kernels_run_without_all_that_compiles_them() -> None:
    program = f"{PROGRAM}\nimport sys\nprint('numba.np.linalg' in sys.modules)"
    for _ in range(2):  # the first one may have to compile
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_where_the_package_cannot_be_written_kernels_are_kept_for_the_user(
    moved_package: Path, tmp_path: Path
) -> None:
    (moved_package / "trajstore/kernels/__pycache__").touch()  # no folder, not even for root
    (tmp_path / "cache").mkdir()
    run_a_kernel(moved_package, tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("raster.fill_background*.nbc"))


def test_where_nothing_can_be_written_each_process_compiles_for_itself(
    moved_package: Path, tmp_path: Path
) -> None:
    (moved_package / "trajstore/kernels/__pycache__").touch()
    (tmp_path / "cache").touch()
    run_a_kernel(moved_package, tmp_path / "cache")


# ------------------------------------------------------------------------------------- files that are damaged


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with a function to compile, beside which its code is kept."""
    monkeypatch.setitem(sys.modules, "module", sys)  # whatever the test puts there is gone after it
    path = tmp_path / "module.py"
    path.write_text(
        "def double(values, out):\n    for i in range(len(out)):\n        out[i] = 2 * values[i]\n"
    )
    return path


def compile_anew(module: Path, values: Any = (1, 2, 3)) -> Any:
    """Run the function as a new process would; how often its code has been found on the disk."""
    sys.modules.pop("module", None)
    spec = importlib.util.spec_from_file_location("module", module)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["module"] = loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    compiled, given = kernel(loaded.double), np.array(values)
    out = np.zeros_like(given)
    compiled(given, out)
    assert (out == 2 * given).all()
    return sum(compiled.stats.cache_hits.values())


def damage_each(module: Path, suffix: str, damage: Callable[[Path], None]) -> None:
    """Damage what is kept of a module."""
    files = list(module.parent.rglob(f"module.double*{suffix}"))
    assert files
    for path in files:
        damage(path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: truncate(path, 0),  # as after a power cut
    "cut": lambda path: truncate(path, 100),
    "flipped": lambda path: flip_bit(path, path.stat().st_size // 2),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)) and None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_kept_damaged_is_compiled_anew(module: Path, damage: str) -> None:
    assert compile_anew(module) == 0
    for suffix in (".nbi", ".nbc"):
        assert compile_anew(module) == 1
        damage_each(module, suffix, DAMAGES[damage])
        assert compile_anew(module) == 0
    assert compile_anew(module) == 1


def test_where_nothing_can_be_kept_any_more_all_is_compiled_anew(module: Path) -> None:
    compile_anew(module)
    for path in list(module.parent.rglob("module.double*")):
        path.unlink()
        path.mkdir()  # cannot be read or replaced, not even by root
    assert compile_anew(module) == 0


def test_compiling_is_told_once_and_loading_is_not(
    module: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trajstore")
    for values, told in (((1, 2), 1), ((1.5, 2.5), 1), ((1, 2), 0)):
        caplog.clear()
        monkeypatch.setattr(compiler, "_is_told", threading.Event())
        compile_anew(module, values)
        assert len(caplog.records) == told


def test_code_for_other_arguments_is_not_taken(module: Path) -> None:
    compile_anew(module)
    compile_anew(module, [1.5])
    first, second = sorted(module.parent.rglob("module.double*.nbc"))
    shutil.copy(first, second)  # as where two processes have numbered their files at once
    assert compile_anew(module) == 1
    assert compile_anew(module, [1.5]) == 0
    assert compile_anew(module, [1.5]) == 1


def test_where_the_disk_of_the_cache_is_full_nothing_is_kept(module: Path) -> None:
    with small_disk(module.parent / "__pycache__", "size=200k"):
        fill_disk(module.parent / "__pycache__")
        assert compile_anew(module) == 0
        assert compile_anew(module) == 0
