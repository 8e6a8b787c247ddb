"""Standard output and error that may be closed, full, or unable to show a character: nothing fails because of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast


class BestEffort:
    """A stream that never raises: from its first failure on, what is written to it is lost.

    Attributes
    ----------
    error : OSError or None
        That failure.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name
        self.error: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write text, if possible."""
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Hand on what has been written, if possible."""
        self._attempt(self._stream.flush)

    def _attempt(self, call: Callable[..., Any], *arguments: str) -> None:
        """Call a method of the stream; once that fails, let it lead nowhere: the interpreter flushes it at its end."""
        try:
            call(*arguments)
        except OSError as error:
            self.error = self.error or OSError(error.errno, error.strerror, self._name)
            with suppress(OSError):
                _open_null(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lenient_streams() -> Iterator[BestEffort]:
    """Open the standard streams that are closed, and make those for output fail silently; yields standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_null(
                descriptor
            )  # or the next file that is opened gets this number, and messages are written into it
    out, err = (
        BestEffort(stream or os.fdopen(descriptor, "w", closefd=False), f"standard {name}")
        for descriptor, stream, name in ((1, sys.stdout, "output"), (2, sys.stderr, "error"))
    )
    with redirect_stdout(cast("TextIO", out)), redirect_stderr(cast("TextIO", err)):
        try:
            yield out
        finally:
            out.flush()
            err.flush()


def _open_null(descriptor: int) -> None:
    """Let a descriptor lead nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == descriptor:
        os.set_inheritable(null, True)
    else:
        os.dup2(null, descriptor)
        os.close(null)
