"""A row is the same on every processor: the fast instructions are switched off, and nothing changes."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import hashlib
import numpy as np
from trajstore.scene.describe import describe
from trajstore.spec import DatasetSpec

scene = describe(DatasetSpec.from_fields(seed=11), range(1000, 1040))
digest = hashlib.sha256()
for name in sorted(scene.columns):
    digest.update(scene.columns[name].tobytes())
clip = np.empty((4, 32, 3, 64, 64), np.uint8)
for index in range(40):
    scene.draw(index, slice(None), slice(None), clip)
    digest.update(clip.tobytes())
print(digest.hexdigest())
"""


def run_program(**environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture(scope="module")
def reference() -> str:
    return run_program()


def test_the_digest_is_one(reference: str) -> None:
    assert len(reference) == hashlib.sha256().digest_size * 2


def test_without_the_fast_instructions_of_numpy(reference: str) -> None:
    core = np._core._multiarray_umath
    switchable = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    assert run_program(NPY_DISABLE_CPU_FEATURES=" ".join(switchable)) == reference


def test_compiled_for_the_oldest_processor(reference: str, tmp_path: object) -> None:
    assert (
        run_program(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path))
        == reference
    )
