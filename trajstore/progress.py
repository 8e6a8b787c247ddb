"""Progress as events, and two ways to show them: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TextIO, TypeVar

from trajstore.errors import SpecError
from trajstore.text import fit, format_bytes, format_count, format_rate, format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PATIENCE_SECONDS: Final = 0.5
"""So long nothing is shown before the first event."""

BAR_MIN: Final = 10
"""A bar has at least so many columns; a fifth of the terminal where that is more."""

STEPS: Final = "steps"
"""The unit of what is not equally long, so that there is no rate."""

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")

LINE_SECONDS: Final = 3.0
"""At least this long between two plain lines."""

RATIO_MIN: Final = 1.5
"""Below this, how many times smaller stored bytes are is no news: labels are not compressed."""


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    phase : str
        What is being done, such as ``labels`` or ``video``.
    done, total : int
        Samples, or what ``unit`` says: finished, by whomever, and wanted.
    fresh : int
        Those finished by this run.
    stored_bytes, raw_bytes : int
        Bytes that this run has written, and what they hold uncompressed.
    seconds : float
        Since the phase began.
    workers : int or None
        Workers of a cluster that are alive; None where there is no cluster.
    unit : str
        What is counted.
    """

    phase: str
    done: int
    total: int
    fresh: int
    stored_bytes: int
    raw_bytes: int
    seconds: float
    workers: int | None = None
    unit: str = "samples"

    @property
    def rate(self) -> float:
        """Samples per second of this run."""
        return self.fresh / self.seconds if self.seconds > 0 else 0.0

    @property
    def ratio(self) -> float:
        """How many times smaller the stored bytes are."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes else 0.0

    @property
    def percent(self) -> int:
        """Share that is finished, rounded down."""
        return 100 * self.done // self.total if self.total else 100

    @property
    def seconds_left(self) -> float | None:
        """Time to go at this rate; None before there is a rate."""
        return (self.total - self.done) / self.rate if self.rate else None

    def figures(self) -> dict[str, str]:
        """What is known so far, by name, such as ``{"rate": "1,900/s", "size": "115 MB", "left": "3.0 s left"}``."""
        figures = {}
        is_even = self.unit != STEPS
        if self.rate and is_even:
            figures["rate"] = f"{format_rate(self.rate)}/s"
        if self.stored_bytes:
            figures["size"] = format_bytes(self.stored_bytes)
            if self.seconds > 0:
                figures["speed"] = f"{format_bytes(self.stored_bytes / self.seconds)}/s"
            if self.ratio > RATIO_MIN:
                figures["ratio"] = f"{self.ratio:.3g}× smaller"
        if self.workers is not None:
            figures["workers"] = f"{format_count(self.workers)} worker{'' if self.workers == 1 else 's'}"
        if self.seconds_left is not None and self.done < self.total and is_even:
            figures["left"] = f"{format_seconds(self.seconds_left)} left"
        return figures


Report = Callable[[Progress], None]
"""Receives each event, in the thread that runs the job."""


class Tally:
    """Counts the samples of a phase as they are finished and reports each step; the first when it is made."""

    def __init__(
        self,
        phase: str,
        report: Report,
        *,
        total: int,
        done: int,
        raw_bytes_each: int,
        unit: str = "samples",
    ) -> None:
        self._phase, self._report, self._unit = phase, report, unit
        self._total, self._done, self._raw_bytes_each = total, done, raw_bytes_each
        self._started = time.monotonic()
        self._stored_bytes = 0
        self.fresh = 0
        self.in_work = 0
        """Samples of tasks that are not finished."""
        self.add(0, stored_bytes=0)

    @property
    def is_short(self) -> bool:
        """Whether samples are missing."""
        return self._done + self.fresh < self._total

    def add(self, samples: int, *, stored_bytes: int) -> None:
        """Count some samples that are finished."""
        self.fresh += samples
        self._stored_bytes += stored_bytes
        fresh = min(self.fresh + self.in_work, self._total - self._done)
        self._report(
            Progress(
                phase=self._phase,
                done=self._done + fresh,
                total=self._total,
                fresh=fresh,
                stored_bytes=self._stored_bytes,
                raw_bytes=self.fresh * self._raw_bytes_each,
                seconds=time.monotonic() - self._started,
                unit=self._unit,
            )
        )


class Steps:
    """How many samples of a task are done while it runs."""

    def __init__(self) -> None:
        self.samples = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what `advance` is told in this thread, for as long as the context lasts."""
        _local.steps = self
        try:
            yield
        finally:
            _local.steps = None


_local = threading.local()


def advance(samples: float = 1.0) -> None:
    """Say that the task of this thread is some samples further; nothing where nobody counts them."""
    steps: Steps | None = getattr(_local, "steps", None)
    if steps is not None:
        steps.samples += samples


def ignore(_: Progress) -> None:
    """Show nothing."""


def shows_progress(function: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """Let a function that reports to its argument ``progress`` take True for a bar, and False for nothing, as well."""

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
        progress = kwargs.get("progress")
        if callable(progress):
            return function(*args, **kwargs)
        if not isinstance(progress, bool | None):
            message = (
                f"progress: found {progress!r}, expected True, False, None or a function that receives events"
            )
            raise SpecError(message)
        with show_progress() if progress else nullcontext() as report:
            kwargs["progress"] = report
            return function(*args, **kwargs)

    return call


@contextmanager
def show_progress(stream: TextIO | None = None, *, busy: str = "getting ready") -> Iterator[Report]:
    """Show progress, and what the package logs, in the way that fits the stream, for as long as the context lasts.

    Before the first event a terminal shows a clock, and beside it what keeps one ``busy``.
    """
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        console = Console(file=stream, highlight=False, markup=False)
        if console.is_interactive and not console.is_dumb_terminal:
            with _show_bars(console, busy) as report, _show_notes(console.print):
                yield report
            return
    lines = _Lines(stream)
    with _show_notes(lines.print):
        yield lines


class _Notes(logging.Handler):
    """Shows what is logged."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        self._show(record.getMessage())


@contextmanager
def _show_notes(show: Callable[[str], None]) -> Iterator[None]:
    """Show what the package logs, such as that it compiles, which takes a while at the first use."""
    logger, handler = logging.getLogger("trajstore"), _Notes(show)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Lines:
    """A plain line when a phase begins and ends, and every few seconds in between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: dict[str, float] = {}

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        last = self._last.get(event.phase)
        if last is not None and event.done < event.total and now - last < LINE_SECONDS:
            return
        self._last[event.phase] = now
        counts = f"{format_count(event.done)} of {format_count(event.total)} {event.unit}"
        self.print(", ".join([f"{event.phase}: {counts} ({event.percent} %)", *event.figures().values()]))

    def print(self, text: str) -> None:
        """Print a line."""
        print(fit(text, self._stream), file=self._stream, flush=True)


@contextmanager
def _show_bars(console: Console, busy: str) -> Iterator[Report]:
    """A live bar for each phase."""
    from rich.live import Live

    started = time.monotonic()
    latest: dict[str, tuple[Progress, float]] = {}
    """The last event of each phase, and when it came."""

    def report(event: Progress) -> None:
        latest[event.phase] = event, time.monotonic()

    def draw() -> Table:
        if latest:
            return _draw_bars(list(latest.values()), console.width)
        return _draw_clock(busy, time.monotonic() - started)

    with Live(console=console, get_renderable=draw, refresh_per_second=8) as live:
        try:
            yield report
        finally:
            live.transient = not latest  # a clock is of no use any more


def _draw_clock(busy: str, seconds: float) -> Table:
    """What keeps one busy, a bar that moves, and for how long; nothing at first."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    if seconds >= PATIENCE_SECONDS:
        table.add_row(busy, ProgressBar(pulse=True, width=BAR_MIN), format_seconds(seconds))
    return table


def _draw_bars(latest: list[tuple[Progress, float]], width: int) -> Table:
    """A line for each phase: its name, its bar, and as many figures as leave the bars wide enough to be read."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    events = [event for event, _ in latest]
    names = max((len(event.phase) for event in events), default=0)
    room = width - names - max(BAR_MIN, width // 5) - 4
    texts = [_describe(event, time.monotonic() - came, room) for event, came in latest]
    bar = max(BAR_MIN, width - names - max(map(len, texts), default=0) - 4)
    for event, text in zip(events, texts, strict=True):
        table.add_row(
            event.phase,
            ProgressBar(
                event.total or 1,
                event.done if event.total else 1,
                width=bar,
                complete_style="cyan",
                finished_style="cyan",
            ),
            text,
        )
    return table


def _describe(event: Progress, since: float, room: int) -> str:
    """What an event says, some seconds after it came, in some columns: the least important is left out first."""
    known = event.figures()
    seconds = event.seconds
    if event.done < event.total:  # the clock runs between events
        seconds += since
        remaining = (event.seconds_left or 0.0) - since
        if known.pop("left", None) and remaining > 0.0:
            known["left"] = f"{format_seconds(remaining)} left"
    shown = {
        "percent": f"{event.percent:>3}%",
        "counts": f"{format_count(event.done)}/{format_count(event.total)} {event.unit}",
    }
    shown |= {name: known[name] for name in ("rate", "size", "speed", "ratio", "workers") if name in known}
    left = known.get("left", "")
    shown["clock"] = f"{format_seconds(seconds)}, {left}" if left else format_seconds(seconds)

    def fits() -> bool:
        return len("  ".join(shown.values())) <= room

    for name in ("ratio", "size", "speed", "rate", "workers", "counts"):
        if not fits():
            shown.pop(name, None)
    if left and not fits():
        shown["clock"] = left
    if not fits():
        del shown["clock"]
    return "  ".join(shown.values())
