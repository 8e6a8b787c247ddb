from __future__ import annotations

import io
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.faults import run
from support.terminals import ESCAPE, Terminal

import trajstore
from trajstore import progress
from trajstore.errors import SpecError
from trajstore.progress import Progress, Tally, _draw_bars, show_progress, shows_progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def event(done: int, phase: str = "video", *, total: int = 1000) -> Progress:
    return Progress(
        phase=phase,
        done=done,
        total=total,
        fresh=done,
        stored_bytes=done * 1000,
        raw_bytes=done * 50_000,
        seconds=done / 100,
    )


def show(stream: TextIO, events: Iterable[Progress]) -> None:
    with show_progress(stream) as report:
        for item in events:
            report(item)


PUBLIC = {name: getattr(trajstore, name) for name in trajstore.__all__ if name.islower()}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, function in PUBLIC.items()
        if callable(function) and "progress" in signature(function).parameters
    ],
)
def test_every_function_takes_true_for_a_bar(name: str, tmp_path: Path) -> None:
    others = {"annotate": ["flow"], "export": [tmp_path / "out"], "extend": [4], "verify_copy": ["sums"]}
    with pytest.raises(SpecError, match="progress: found 'yes', expected True, False, None or a function"):
        PUBLIC[name](tmp_path / "a.zarr", *others.get(name, []), progress="yes")


def test_true_is_a_bar_and_false_is_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @shows_progress
    def work(*, progress: Any = None) -> object:
        if progress is not None:
            progress(event(1000))
        return progress

    received: list[Progress] = []
    for silent in (False, None):
        assert work(progress=silent) is None
    assert work() is None
    assert work(progress=received.append) == received.append
    assert (len(received), capsys.readouterr().err) == (1, "")
    work(progress=True)
    assert capsys.readouterr().err.startswith("video: 1,000 of 1,000 samples (100 %)")


def test_plain_lines_say_everything_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    show(stream, [event(0), event(250), event(1000)])
    first, last = stream.getvalue().splitlines()
    assert first == "video: 0 of 1,000 samples (0 %)"
    assert last == "video: 1,000 of 1,000 samples (100 %), 100/s, 1.00 MB, 100 KB/s, 50× smaller"


def test_a_plain_line_comes_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin, 3 s, 6 s, 9 s and end, of an event each second."""
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    show(stream, [event(100 * step) for step in range(11)])
    shares = [line.split("(")[1].split(")")[0] for line in stream.getvalue().splitlines()]
    assert shares == ["0 %", "30 %", "60 %", "90 %", "100 %"]
    assert "1.0 s left" in stream.getvalue().splitlines()[3]


def test_phases_that_alternate_do_not_print_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels and video are written side by side."""
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    stream = io.StringIO()
    show(stream, [event(step, phase) for step in range(50) for phase in ("labels", "video")])
    assert len(stream.getvalue().splitlines()) == 2


def test_a_bar_is_drawn_on_a_terminal(terminal: Terminal) -> None:
    show(terminal.stream, [event(0), event(500), event(1000)])
    text = terminal.read()
    assert "\x1b[" in text
    assert "━" in text
    for part in ("video", "1,000/1,000 samples", "100%", "100/s", "10.0 s"):
        assert part in text


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (40, " 25%  7.5 s left"),
        (60, " 25%  2.5 s, 7.5 s left"),
        (80, " 25%  250/1,000 samples  100/s  2.5 s, 7.5 s left"),
        (120, " 25%  250/1,000 samples  100/s  250 KB  100 KB/s  50× smaller  2.5 s, 7.5 s left"),
    ],
)
def test_bars_are_wide_enough_beside_as_many_figures_as_fit(columns: int, shown: str) -> None:
    """Of two phases, whose bars begin and end at the same places."""
    stream = io.StringIO()
    console = Console(width=columns, file=stream, color_system=None)
    now = time.monotonic()
    console.print(_draw_bars([(event(250, phase), now) for phase in ("labels", "video")], columns))
    lines = stream.getvalue().splitlines()
    for line, phase in zip(lines, ("labels  ", "video   "), strict=True):
        assert line.startswith(f"{phase}━")
        assert line.rstrip().endswith(shown)
        assert len(line) <= columns
        assert len(line.rstrip()) - len(phase) - len(shown) >= max(10, columns // 5)


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TERM", name)
    show(terminal.stream, [event(0), event(1000)])
    text = terminal.read()
    assert "\x1b" not in text
    assert "video: 1,000 of 1,000 samples (100 %)" in text


def test_an_error_within_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    def fail(_: int) -> Progress:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        show(terminal.stream, (fail(step) if step else event(10) for step in range(2)))
    text = terminal.read()
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0  # the cursor is shown again


@given(
    steps=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10**6)), max_size=20),
    before=st.integers(0, 5),
)
def test_a_tally_adds_up(steps: list[tuple[int, int]], before: int) -> None:
    events: list[Progress] = []
    total = before + sum(samples for samples, _ in steps)
    tally = Tally("video", events.append, total=total, done=before, raw_bytes_each=7)
    for samples, size in steps:
        tally.add(samples, stored_bytes=size)
    assert len(events) == len(steps) + 1
    assert (events[0].done, events[0].fresh, events[0].stored_bytes) == (before, 0, 0)
    last = events[-1]
    assert (last.done, last.fresh, last.total) == (total, total - before, total)
    assert last.stored_bytes == sum(size for _, size in steps)
    assert last.raw_bytes == 7 * (total - before)
    assert not tally.is_short
    assert last.percent == 100


@given(done=st.integers(0, 1000), total=st.integers(0, 1000), stored=st.integers(0, 10**9))
def test_figures_exist_for_any_numbers(done: int, total: int, stored: int) -> None:
    item = Progress("video", min(done, total), total, done, stored, stored * 50, seconds=done / 7)
    assert 0 <= item.percent <= 100
    assert (item.percent == 100) == (item.done == total)
    assert all(isinstance(figure, str) for figure in item.figures())


def test_a_redirected_build_prints_plain_lines(tmp_path: Path, tiny_options: list[str]) -> None:
    done = run("build", tmp_path / "a.zarr", *tiny_options)
    assert done.code == 0
    assert "\x1b" not in done.err + done.out
    lines = done.err.splitlines()
    for phase in ("labels", "video"):
        mine = [line for line in lines if line.startswith(f"{phase}: ")]
        assert mine[0].startswith(f"{phase}: 0 of 44 samples (0 %)")
        assert mine[-1].startswith(f"{phase}: 44 of 44 samples (100 %)")


def test_the_default_stream_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert sys.stderr is not sys.__stderr__
    with show_progress() as report:
        report(event(0))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "video: 0 of 1,000 samples (0 %)\n")


def test_what_is_logged_is_shown_above_bars_and_in_lines(terminal: Terminal) -> None:
    """Such as that kernels are compiled, which takes a while."""
    logger = logging.getLogger("trajstore.kernels.compiler")
    plain = io.StringIO()
    for stream in (terminal.stream, plain):
        with show_progress(stream) as report:
            report(event(0))
            logger.info("compiling")
        logger.info("nobody looks")
    assert plain.getvalue().splitlines()[1:] == ["compiling"]
    text = terminal.read()
    assert "compiling\n" in text
    assert "nobody" not in text


@pytest.mark.torch
def test_every_command_says_how_far_its_tasks_are(
    tmp_path: Path, tiny_fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sample once, but for the last one of those that are exported together."""
    counted: Counter[str] = Counter()
    for module in ("store.write", "integrity.checks", "exporters.plan", "exporters.check"):

        def count(samples: float = 1.0, module: str = module) -> None:
            counted[module] += samples  # type: ignore[assignment]

        monkeypatch.setattr(f"trajstore.{module}.advance", count)
    store, folder = tmp_path / "a.zarr", tmp_path / "out"
    trajstore.build(store, **tiny_fields, workers=1)
    trajstore.verify(store, deep=True, workers=1)
    trajstore.export(store, folder, workers=1)
    trajstore.validate(folder, workers=1)
    assert counted.pop("exporters.plan") == pytest.approx(44, abs=6)
    assert counted == pytest.approx({"store.write": 44, "integrity.checks": 44, "exporters.check": 44})


def test_a_clock_runs_before_the_first_event_and_leaves_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    with show_progress(terminal.stream, busy="drawing"):
        time.sleep(0.2)
    text = terminal.read()
    assert re.search(r"drawing .*0\.[0-9] s", ESCAPE.sub("", text))
    assert text.rfind("\x1b[2K") > text.rfind("drawing")  # the line is erased


def test_no_clock_is_seen_of_what_is_quick(terminal: Terminal) -> None:
    with show_progress(terminal.stream, busy="drawing"):
        pass
    assert "drawing" not in terminal.read()
