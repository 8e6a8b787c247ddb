"""Progress as events, and two ways to show them: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from trajstore.text import fit, format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

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

    def figures(self) -> list[str]:
        """What is known so far, such as ``["1,900/s", "115 MB", "53× smaller", "3.0 s left"]``."""
        figures = []
        if self.rate:
            figures.append(f"{format_count(self.rate)}/s")
        if self.stored_bytes:
            figures.append(format_bytes(self.stored_bytes))
            if self.ratio > RATIO_MIN:
                figures.append(f"{self.ratio:.3g}× smaller")
        if self.seconds_left is not None and self.done < self.total:
            figures.append(f"{format_seconds(self.seconds_left)} left")
        if self.workers is not None:
            figures.append(f"{format_count(self.workers)} worker{'' if self.workers == 1 else 's'}")
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
        self.add(0, stored_bytes=0)

    @property
    def is_short(self) -> bool:
        """Whether samples are missing."""
        return self._done + self.fresh < self._total

    def add(self, samples: int, *, stored_bytes: int) -> None:
        """Count some samples that are finished."""
        self.fresh += samples
        self._stored_bytes += stored_bytes
        self._report(
            Progress(
                phase=self._phase,
                done=self._done + self.fresh,
                total=self._total,
                fresh=self.fresh,
                stored_bytes=self._stored_bytes,
                raw_bytes=self.fresh * self._raw_bytes_each,
                seconds=time.monotonic() - self._started,
                unit=self._unit,
            )
        )


def ignore(_: Progress) -> None:
    """Show nothing."""


@contextmanager
def show_progress(stream: TextIO | None = None) -> Iterator[Report]:
    """Show progress in the way that fits the stream, for as long as the context lasts."""
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        console = Console(file=stream)
        if console.is_interactive and not console.is_dumb_terminal:
            with _show_bar(console) as report:
                yield report
            return
    yield _Lines(stream)


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
        line = f"{event.phase}: {counts} ({event.percent} %)"
        print(fit(", ".join([line, *event.figures()]), self._stream), file=self._stream, flush=True)


@contextmanager
def _show_bar(console: Console) -> Iterator[Report]:
    """A live bar for each phase."""
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description:<6}"),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="cyan"),
        TextColumn("{task.fields[counts]}"),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        console=console,
        refresh_per_second=8,
        expand=True,
    )
    phases: dict[str, TaskID] = {}

    def report(event: Progress) -> None:
        fields: dict[str, Any] = {
            "counts": f"{format_count(event.done)}/{format_count(event.total)} {event.percent}%",
            "figures": " ".join(event.figures()).replace(" smaller", ""),
        }
        if event.phase not in phases:
            phases[event.phase] = bars.add_task(event.phase, total=event.total, **fields)
        bars.update(phases[event.phase], completed=event.done, **fields)

    with bars:
        yield report
