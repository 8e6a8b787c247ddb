"""Kernels compiled against the same run by the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba


def digest_otherwise(file: str) -> str:
    """What ``digest()`` of a test module gives in a process that compiles where this one does not, or the reverse."""
    path = Path(file)
    other = "0" if numba.config.DISABLE_JIT else "1"
    program = f"import numba, {path.stem} as t; print(numba.config.DISABLE_JIT, t.digest())"
    folders = [str(path.parent), *sys.path]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "NUMBA_DISABLE_JIT": other, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=True,
    )
    found, digest = result.stdout.split()
    assert found == other
    return digest
