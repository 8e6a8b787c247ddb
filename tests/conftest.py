"""A tiny dataset that the tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# the compiled kernels' cache and every child process see one thread of BLAS: nothing here needs more
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from support.swift_server import SwiftServer, start_server
from support.worlds import EVERYTHING

from trajstore.commands.build import build
from trajstore.spec import ANNOTATIONS, DatasetSpec
from trajstore.store.groups.video import settle_storage

settings.register_profile("trajstore", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("trajstore")

collect_ignore = ["conftest.py", "support/preloaded.py"]

NEED_TORCH = {
    "test_card.py",
    "test_export.py",
    "test_export_annotations.py",
    "test_validate.py",
    "test_validate_hostile.py",
    "test_validate_formats.py",
    "test_pt_traj.py",
}
"""And all of `tests/torch`."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files that import torch where tests that need it are deselected."""
    needs_torch = collection_path.name in NEED_TORCH or collection_path.parent.name == "torch"
    return (config.getoption("markexpr") == "not torch" and needs_torch) or None


ROOT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels of a fresh checkout, or each worker would compile all of them."""
    in_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not in_workers or any(ROOT.glob("trajstore/kernels/__pycache__/*.nbi")):
        return
    script = ROOT / "tests" / "support" / "compile_kernels.py"
    for process in [subprocess.Popen([sys.executable, script, part]) for part in ("worlds", "annotations")]:
        assert process.wait() == 0


TINY: dict[str, Any] = {
    "samples": 44,
    "frames": 4,
    "height": 16,
    "width": 16,
    "cameras": 2,
    "samples_per_shard": 8,
}
"""Six shards, the last one half full."""


@pytest.fixture(scope="session")
def tiny_fields() -> dict[str, Any]:
    """Fields of the tiny spec."""
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny_spec() -> DatasetSpec:
    """Spec of 44 samples of 2 cameras × 4 frames × 16 × 16 in shards of 8."""
    return settle_storage(DatasetSpec.from_fields(**TINY))


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of the tiny spec, for reading only."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.zarr"
    build(path, **TINY)
    return path


@pytest.fixture
def tiny_copy(tiny_store: Path, tmp_path: Path) -> Path:
    """A finished store of the tiny spec that a test may change."""
    return Path(shutil.copytree(tiny_store, tmp_path / "copy.zarr"))


@pytest.fixture(scope="session")
def world_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of the tiny spec with everything that a world can have, for reading only."""
    path = tmp_path_factory.mktemp("world") / "world.zarr"
    build(path, **TINY, **EVERYTHING)
    return path


@pytest.fixture(scope="session")
def annotated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of that world with all annotations, for reading only."""
    path = tmp_path_factory.mktemp("annotated") / "annotated.zarr"
    build(path, **TINY, **EVERYTHING, groups=list(ANNOTATIONS))
    return path


@pytest.fixture
def tiny_options(tiny_fields: dict[str, Any]) -> list[str]:
    """The tiny spec as options of the command line."""
    return [
        part for name, value in tiny_fields.items() for part in (f"--{name.replace('_', '-')}", str(value))
    ]


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """An object store with an S3 API: four servers of OpenStack Swift, which a test leaves running and well."""
    with start_server(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def bucket(swift: SwiftServer) -> str:
    """The name of a new bucket."""
    return swift.create_bucket()
