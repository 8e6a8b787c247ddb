"""What every executor does: run a function over tasks and hand back the outcomes as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """How one task ended: with the value that the function returned, or the error that it raised."""

    task: Item
    value: Value | None = None
    error: Exception | None = None


class Executor(Protocol):
    """Runs a function over tasks, in parallel.

    Where that is in other processes, function and tasks are pickled. What the function opens it opens where it is
    unpickled, and raises where that is not what its sender had. Its ``prepare()``, if it has one, is called first, and
    its ``packages`` are more whose versions must be the sender's.
    """

    watch: Callable[[], None]
    """Called now and then while tasks run."""

    def run(self, function: Callable[[Item], Value], tasks: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Run a function over tasks and yield an outcome for each task taken, as they finish, in any order.

        What the function raises becomes an outcome and stops nothing. Tasks are taken only as fast as others finish:
        whoever ends the iterable early stops the run after the tasks in flight.
        """
        ...

    def in_work(self) -> Iterable[tuple[Any, int]]:
        """The tasks that run, and how many samples of each are done, where that is known."""
        ...
