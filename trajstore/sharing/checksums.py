"""Checksums of all files, as ``sha256sum`` writes and checks them, of a folder or a bucket."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trajstore.errors import InterruptedBuildError, SpecError
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.exporters.records import CARD_FILES
from trajstore.progress import Tally
from trajstore.storage.durable import is_partial
from trajstore.storage.interface import Storage

CHECKSUM_FILE: Final = "checksums.sha256"

FILE_BYTES_MAX: Final = 256 * 2**20
"""A larger file of checksums is not read: it would name some millions of files."""

PIECE_BYTES: Final = 4 * 2**20
"""As much is read at a time."""

WAITING_THREADS: Final = 12
"""Threads beside those that compute, where reading waits for a network."""

_LINE: Final = re.compile(r"(\\?)([0-9A-Fa-f]{64}) [ *]([^\0]+)", re.DOTALL)
_ESCAPES: Final = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


@dataclass(frozen=True)
class Checksum:
    """The SHA-256 of a file; None where there is none, with the reason."""

    digest: str | None
    size: int = 0
    reason: str = ""


@dataclass(frozen=True)
class HashFile:
    """Find the checksum of one file."""

    storage: Storage
    options: RunOptions = field(default_factory=RunOptions)

    def __call__(self, name: str) -> Checksum:
        """Read the file, in pieces where it is on a disk."""
        folder = self.storage.location.folder
        if folder is None:
            data = self.storage.read(name)
            if data is None:
                return Checksum(None, reason="missing")
            return Checksum(hashlib.sha256(data).hexdigest(), len(data))
        try:
            return self._hash(f"{folder}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return Checksum(None, reason="missing")
        except OSError as error:
            return Checksum(None, reason=f"unreadable: {error.strerror or error}")

    def _hash(self, path: str) -> Checksum:
        """Read a file on a disk; pipes and devices, which may never end, are not read."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Checksum(None, reason="unreadable: not a file")
            found, size = hashlib.sha256(), 0
            while piece := file.read(PIECE_BYTES):
                found.update(piece)
                size += len(piece)
                if number := self.options.stop_signal():
                    message = f"{self.storage.location}: interrupted; nothing was changed"
                    raise InterruptedBuildError(message, exit_code=128 + number)
        return Checksum(found.hexdigest(), size)


def list_files(storage: Storage) -> list[str]:
    """The files of a store or an export, without those of a card, and what hubs and file managers hide at the top."""
    return sorted(
        name
        for name in storage.list_keys()
        if not (name in CARD_FILES or name.startswith(".") or is_partial(name))
    )


def hash_files(storage: Storage, names: list[str], options: RunOptions) -> dict[str, Checksum]:
    """Find the checksums of some files, in threads."""
    found: dict[str, Checksum] = {}
    tally = Tally("checksums", options.report, total=len(names), done=0, raw_bytes_each=0, unit="files")

    def finished(name: str, checksum: Checksum | None) -> None:
        assert checksum is not None
        found[name] = checksum
        tally.add(1, stored_bytes=checksum.size)

    run_tasks(
        HashFile(storage, options),
        names,
        options=options,
        place=storage.location,
        waiting_threads=WAITING_THREADS if storage.waits else 0,
        tallies=[tally],
        finished=finished,
        describe_state=lambda: "nothing was changed",
    )
    return {name: found[name] for name in names}


def render_checksums(digests: Mapping[str, str]) -> bytes:
    """Write checksums as ``sha256sum`` does."""
    return b"".join(map(_render_line, digests.items()))


def _render_line(entry: tuple[str, str]) -> bytes:
    """One line; what would break it is escaped, which a backslash at its beginning says."""
    name, digest = entry
    escaped = name
    for code, character in _ESCAPES.items():
        escaped = escaped.replace(character, code)
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}\n".encode("utf-8", "surrogateescape")


def read_checksums(path: Path) -> dict[str, str]:
    """Read checksums of files inside a folder; nothing else is accepted."""
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "nothing" if not path.exists() else "no file"
            message = f"checksums {path}: found {found}, expected a file such as `trajstore card` writes"
            raise SpecError(message)
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        message = f"checksums {path}: cannot be read: {error.strerror}"
        raise SpecError(message) from None
    if len(data) > FILE_BYTES_MAX:
        message = (
            f"checksums {path}: found more than {FILE_BYTES_MAX // 2**20} MiB, expected a file of checksums"
        )
        raise SpecError(message)
    digests: dict[str, str] = {}
    for number, (name, digest) in enumerate(_parse(path, data), start=1):
        if digests.setdefault(name, digest) != digest:
            message = (
                f"checksums {path}: line {number}: found {name!r} a second time, expected each file once"
            )
            raise SpecError(message)
    if not digests:
        message = f"checksums {path}: found no line, expected checksums of files"
        raise SpecError(message)
    return digests


def _parse(path: Path, data: bytes) -> Iterator[tuple[str, str]]:
    """Names and checksums, line by line."""
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line.decode("utf-8", "surrogateescape"))
        if match is None:
            message = (
                f"checksums {path}: line {number}: found {line[:40]!r}, expected 64 hexadecimal digits, two spaces and "
                "a name"
            )
            raise SpecError(message)
        mark, digest, name = match.groups()
        if mark:
            name = re.sub(r"\\[\\nr]", lambda code: _ESCAPES[code.group()], name)
        name = name.removeprefix("./")
        if any(part in ("", ".", "..") for part in name.split("/")):
            message = (
                f"checksums {path}: line {number}: found {name[:200]!r}, expected a file inside of the folder"
            )
            raise SpecError(message)
        yield name, digest.lower()
