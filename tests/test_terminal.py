"""What every command shows: nothing wider than the terminal, and no control characters where they do harm."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faults import flip_bit
from support.terminals import COLOR, Terminal, visible_lines

from trajstore import cli

COMMANDS = ["build", "info", "export", "validate", "verify", "repair", "extend", "preview", "view"]

SESSION = [
    *((name, "--help") for name in COMMANDS),
    ("--help",),
    ("--version",),
    ("build", "a.zarr", "--samples", "44", "--samples-per-shard", "8", "--cameras", "2", "--frames", "4", "--dry-run"),
    ("build", "a.zarr", "--samples", "44", "--samples-per-shard", "8", "--cameras", "2", "--frames", "4"),
    ("build", "a.zarr", "--frames", "5", "--seed", "3", "--height", "17", "--width", "17", "--horizon", "6"),
    ("build", "b.zarr", "--classes", "Zigzag"),
    ("build", "b.zarr", "--colour", "red"),
    ("info", "a.zarr"),
    ("info", "b.zarr"),
    ("verify", "a.zarr"),
    ("verify", "damaged.zarr"),
    ("repair", "damaged.zarr"),
    ("extend", "damaged.zarr", "--samples", "60"),
    ("validate", "broken"),
]  # fmt: skip
"""Each command, on what is right and what is wrong."""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tiny_store: Path) -> Iterator[Path]:
    """A working folder with a damaged store and a broken export, of a short name; nothing said about colours."""
    with tempfile.TemporaryDirectory() as short, monkeypatch.context() as patch:
        patch.chdir(short)
        fill_folder(patch, tiny_store)
        yield Path(short)


def fill_folder(monkeypatch: pytest.MonkeyPatch, tiny_store: Path) -> None:
    """Damage a store and break an export in the working folder."""
    shutil.copytree(tiny_store, "damaged.zarr")
    flip_bit(Path("damaged.zarr/video/c.2.0.0.0.0.0"), 900)
    Path("damaged.zarr/depth/c.0.0.0").unlink()
    for name in ("videos", "labels"):
        Path("broken", name).mkdir(parents=True)
    Path("broken/labels/sample_0000.json").write_text("{}")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run a command in this process."""
    monkeypatch.setattr(sys, "argv", ["trajstore", *arguments])
    with pytest.raises(SystemExit):
        cli.main()


def show_session(
    monkeypatch: pytest.MonkeyPatch, *, columns: int, kind: str = "xterm-256color"
) -> dict[tuple[str, ...], str]:
    """What a terminal of this width and kind shows of each command."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", kind)
    shown = {}
    for arguments in SESSION:
        terminal = Terminal(columns)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal.stream)
            patch.setattr(sys, "stderr", terminal.stream)
            call(patch, *arguments)
        shown[arguments] = terminal.read()
    return shown


def assert_fits(shown: dict[tuple[str, ...], str], columns: int) -> None:
    wide = [line for text in shown.values() for line in visible_lines(text) if len(line) > columns]
    assert not wide
    assert all(text.strip() for text in shown.values())


@pytest.mark.usefixtures("folder")
def test_a_terminal_shows_no_line_that_it_must_break(monkeypatch: pytest.MonkeyPatch):
    shown = show_session(monkeypatch, columns=80)
    assert_fits(shown, 80)
    assert any(COLOR.search(text) for text in shown.values())  # the bars of build and verify


@pytest.mark.usefixtures("folder")
def test_a_terminal_shows_no_colour_to_those_who_want_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown = show_session(monkeypatch, columns=200)
    assert_fits(shown, 200)
    assert not [text for text in shown.values() if COLOR.search(text)]


@pytest.mark.usefixtures("folder")
def test_a_dumb_terminal_is_sent_no_control_sequence(monkeypatch: pytest.MonkeyPatch):
    shown = show_session(monkeypatch, columns=80, kind="dumb")
    assert_fits(shown, 80)
    assert not [text for text in shown.values() if "\x1b" in text or "\r" in text]


@pytest.mark.usefixtures("folder")
def test_a_file_gets_plain_lines_whatever_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TERM", "xterm-256color")
    for arguments in SESSION:
        call(monkeypatch, *arguments)
        out, err = capsys.readouterr()
        lines = (out + err).splitlines()
        assert not [line for line in lines if set(line) & set("\x1b\r\b\a\t") or line != line.rstrip()]
        # an error is one line, however long, so that programs can read it
        assert len([line for line in err.splitlines() if line.startswith("trajstore: ")]) <= 1
        assert not [line for line in err.splitlines() if line.startswith(" ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_that_name_options_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    call(monkeypatch, name, "--help")
    text, _, examples = capsys.readouterr().out.partition("Examples:\n")
    commands = [line.split() for line in examples.splitlines() if line]
    assert ["trajstore", name] in [words[:2] for words in commands]
    for words in commands:
        assert words[0] == "trajstore"
        if words[1] == name:
            assert {word for word in words if word.startswith("--")} <= set(text.split())


def test_no_command_is_cut_short_in_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "80")
    call(monkeypatch, "--help")
    _, _, listed = capsys.readouterr().out.partition("Commands:")
    assert "..." not in listed
    assert all(f"\n  {name} " in listed for name in COMMANDS)
