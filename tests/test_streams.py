"""Standard streams that are closed, full or of another encoding: the work is done, and the exit code says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
from support.faults import assert_same_bytes

from trajstore import cli

PROGRAM = "import sys; from trajstore.cli import main; sys.argv[0] = 'trajstore'; main()"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run a command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["trajstore", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@contextmanager
def broken_pipe() -> Iterator[TextIO]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        yield stream


def full() -> TextIO:
    """A file on a full disk."""
    return Path("/dev/full").open("w")


@pytest.mark.parametrize("make", [full, broken_pipe])
def test_what_cannot_be_said_about_a_build_is_no_failure_of_it(
    monkeypatch: pytest.MonkeyPatch, make: Any, tiny_store: Path, tiny_options: list[str], tmp_path: Path
) -> None:
    with make() as out, make() as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert call(monkeypatch, "build", tmp_path / "a.zarr", *tiny_options) == 0
    assert_same_bytes(tmp_path / "a.zarr", tiny_store)


def test_closed_streams_are_not_taken_for_files_of_the_store(
    tiny_store: Path, tiny_options: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PROGRAM, "build", str(tmp_path / "a.zarr"), *tiny_options]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], check=False)
    assert done.returncode == 0
    assert_same_bytes(tmp_path / "a.zarr", tiny_store)


@pytest.mark.parametrize("arguments", [["info"], ["info", "--json"], ["verify"], ["build", "--dry-run"]])
def test_an_answer_that_cannot_be_written_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    tiny_store: Path,
) -> None:
    with full() as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert call(monkeypatch, *arguments, tiny_store) == 3
    assert capsys.readouterr().err.splitlines()[-1] == "trajstore: standard output: No space left on device"
    with broken_pipe() as out:  # as of `| head`
        monkeypatch.setattr(sys, "stdout", out)
        assert call(monkeypatch, *arguments, tiny_store) == 1
    assert "trajstore: " not in capsys.readouterr().err


def test_characters_that_a_stream_does_not_have_are_escaped(
    monkeypatch: pytest.MonkeyPatch, tiny_store: Path, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert call(monkeypatch, "info", tiny_store) == 0
    assert r"4 frames \xd7 3 channels" in (tmp_path / "out").read_text()
    link = tmp_path / os.fsdecode(b"\xff.zarr")
    link.symlink_to(tiny_store)
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert call(monkeypatch, "info", link) == 0
    assert r"\udcff.zarr: complete" in (tmp_path / "out").read_text()


def test_the_end_of_a_file_is_no_wish_to_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_store: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("trajstore.cli.trajstore.info", fail)
    error: BaseException = EOFError("Ran out of input")
    assert call(monkeypatch, "info", tiny_store) == 1
    assert "trajstore: unexpected EOFError: Ran out of input; " in capsys.readouterr().err
    error = KeyboardInterrupt()
    assert call(monkeypatch, "info", tiny_store) == 128 + signal.SIGINT
