"""Read a small file of unknown origin: a regular one, and no more of it than there should be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trajstore.text import format_bytes


def read_small(path: Path, most: int) -> bytes:
    """Read a file; raises OSError if it is a pipe, a device or a folder, or larger than so many bytes."""
    # a pipe that nobody writes to would be waited for
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            message = "found no file, expected a regular one"
            raise OSError(message)
        if status.st_size > most:
            message = f"found {format_bytes(status.st_size)}, expected at most {format_bytes(most)}"
            raise OSError(message)
        return file.read(most)


def explain(error: OSError) -> str:
    """What an error of a file says."""
    return error.strerror or str(error)
