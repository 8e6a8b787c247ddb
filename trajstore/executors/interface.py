"""What every executor does: run a function over tasks and hand back the outcomes as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """How one task ended.

    Attributes
    ----------
    task : Item
        The task.
    value : Value or None
        What the function returned.
    error : Exception or None
        What it raised instead.
    """

    task: Item
    value: Value | None = None
    error: Exception | None = None


class Executor(Protocol):
    """Runs a function over tasks, in parallel."""

    def run(self, function: Callable[[Item], Value], tasks: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Run a function over tasks and yield outcomes as they finish, in any order.

        Parameters
        ----------
        function : callable
            Called once with each task; what it raises becomes an outcome and stops nothing.
        tasks : iterable
            Consumed only as fast as tasks finish: whoever ends the iterable early stops the run after the tasks in
            flight.

        Yields
        ------
        Outcome
            One for each task taken.
        """
        ...
