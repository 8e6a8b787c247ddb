"""Where compiled kernels are kept, wherever the package is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trajstore

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
