"""Run tasks until all are done, one fails, or somebody asks to stop; what has begun always ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from trajstore.errors import NotEnoughSpaceError
from trajstore.executors import Executor
from trajstore.space import inspect_filesystem
from trajstore.text import format_bytes

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


def describe_full_disk(location: str, *, state: str) -> NotEnoughSpaceError:
    """The error to show when a filesystem became full.

    Parameters
    ----------
    location : str
        What was being written.
    state : str
        What is written, what is missing, how to go on.

    Returns
    -------
    NotEnoughSpaceError
        With the free space, and a hint if the filesystem could be larger.
    """
    filesystem = inspect_filesystem(location)
    hint = filesystem.hint()
    return NotEnoughSpaceError(
        f"{location}: the disk is full ({format_bytes(filesystem.free)} free); {state}{hint and '; '}{hint}"
    )
