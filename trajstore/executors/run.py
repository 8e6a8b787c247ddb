"""Run tasks until all are done, one fails, or somebody asks to stop; what has begun always ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from trajstore.errors import InterruptedBuildError
from trajstore.executors.interface import Executor
from trajstore.progress import Report, Tally, ignore

Item = TypeVar("Item")
Value = TypeVar("Value")


def go_on() -> int:
    """Ask for nothing to stop."""
    return 0


@dataclass(frozen=True)
class RunOptions:
    """How a command runs: where, on how many workers, whom it tells and who may stop it; see `trajstore.build`."""

    workers: int | None = None
    executor: str = "threads"
    scheduler: str | None = None
    progress: Report | None = None
    should_stop: Callable[[], int] | None = None
    force: bool = False

    @property
    def report(self) -> Report:
        """Who receives progress."""
        return self.progress or ignore

    @property
    def stop_signal(self) -> Callable[[], int]:
        """What is asked before each task; anything but 0 is the number of a signal."""
        return self.should_stop or go_on


def run_tasks(
    executor: Executor,
    function: Callable[[Item], Value],
    tasks: Iterable[Item],
    *,
    options: RunOptions,
    tallies: Collection[Tally],
    finished: Callable[[Item, Value | None], None],
    describe_stop: Callable[[], str],
) -> None:
    """Run a function over tasks; after a failure or a request to stop no task is begun, and those in flight end.

    ``finished`` receives, in this thread, each task that has succeeded and what the function returned. Raises the
    first error of the function, or `InterruptedBuildError` with the text of ``describe_stop`` where the tallies are
    short because somebody has asked to stop.
    """
    failures: list[Exception] = []
    stop_signal = options.stop_signal

    def until_stopped() -> Iterator[Item]:
        for task in tasks:
            if failures or stop_signal():
                return
            yield task

    for outcome in executor.run(function, until_stopped()):
        if outcome.error is not None:
            failures.append(outcome.error)
        else:
            finished(outcome.task, outcome.value)
    if failures:
        raise failures[0]
    if (number := stop_signal()) and any(tally.is_short for tally in tallies):
        raise InterruptedBuildError(describe_stop(), exit_code=128 + number)
