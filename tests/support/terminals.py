"""Terminals that remember what they were shown."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from typing import TextIO

ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")
"""A control sequence as ECMA-48 defines it."""

COLOR = re.compile(r"\x1b\[[0-9;]*m")
"""One that sets colours or type."""


class Terminal:
    """A pseudoterminal.

    Parameters
    ----------
    columns : int
        Its width.

    Attributes
    ----------
    stream : text file
        Shows what is written to it.
    """

    def __init__(self, columns: int = 100) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._shown.endswith(b"\x04"):
            self._shown += os.read(self._master, 65536)

    def read(self) -> str:
        """Close the terminal and return what was written to it, with plain ends of lines."""
        self.stream.flush()
        os.write(self.stream.fileno(), b"\x04")
        self._reader.join(10)
        self.stream.close()
        os.close(self._master)
        return self._shown.decode().removesuffix("\x04").replace("\r\n", "\n")


def visible_lines(text: str) -> list[str]:
    """What one sees in each line, of every state that a live line was in."""
    return re.split(r"[\r\n]", ESCAPE.sub("", text))
