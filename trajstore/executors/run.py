"""Run tasks until all are done, one fails, or somebody asks to stop; what has begun always ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from trajstore.executors import Executor

Item = TypeVar("Item")
Value = TypeVar("Value")


def run_tasks(
    executor: Executor,
    function: Callable[[Item], Value],
    tasks: Iterable[Item],
    *,
    should_stop: Callable[[], int],
    finished: Callable[[Item, Value | None], None],
) -> None:
    """Run a function over tasks; after a failure or a request to stop no task is begun, and those in flight end.

    Parameters
    ----------
    executor : Executor
        Where.
    function : callable
        Called once with each task.
    tasks : iterable
        The tasks.
    should_stop : callable
        Asked before each task; anything but 0 stops the run.
    finished : callable
        Receives each task that has succeeded and what the function returned, in this thread.

    Raises
    ------
    Exception
        The first that the function raised.
    """
    failures: list[Exception] = []

    def until_stopped() -> Iterator[Item]:
        for task in tasks:
            if failures or should_stop():
                return
            yield task

    for outcome in executor.run(function, until_stopped()):
        if outcome.error is not None:
            failures.append(outcome.error)
        else:
            finished(outcome.task, outcome.value)
    if failures:
        raise failures[0]
