"""A row is the same on every processor: the fast instructions are switched off, and nothing changes."""

import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import hashlib
import numpy as np
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec

digest = hashlib.sha256()
wide = {"cameras": 3, "frames": 7, "height": 48, "width": 70, "ambient": 0.3, "radius": (0.05, 0.5)}
for fields in ({"seed": 11}, {"seed": 5, **wide}):
    spec = DatasetSpec.from_fields(**fields)
    scene = make_scene(spec, range(1000, 1040))
    for name in sorted(scene.columns):
        digest.update(scene.columns[name].tobytes())
    video = spec.video
    clip = np.empty((video.cameras, video.frames, 3, video.height, video.width), np.uint8)
    for index in range(40):
        scene.draw(index, slice(None), slice(None), clip)
        digest.update(clip.tobytes())
print(digest.hexdigest())
"""

VERSION_0_1 = "73de82cc3585672e61baa4ab8f952afe62a6bdc99b63568a3d1f844b7f53029c"
"""What `PROGRAM` printed with version 0.1 (077818e): rows keep their labels and pixels, bit for bit."""


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


def test_rows_are_those_of_version_0_1(reference: str) -> None:
    assert reference == VERSION_0_1


def test_without_the_fast_instructions_of_numpy(reference: str) -> None:
    core = np._core._multiarray_umath
    switchable = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    assert run_program(NPY_DISABLE_CPU_FEATURES=" ".join(switchable)) == reference


def test_compiled_for_the_oldest_processor(reference: str, tmp_path: object) -> None:
    assert (
        run_program(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path))
        == reference
    )
