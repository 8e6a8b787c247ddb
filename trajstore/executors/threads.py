"""Tasks on the threads of this process: kernels, compression and file writes all release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, Final

from trajstore.errors import SpecError, TrajstoreError
from trajstore.executors.interface import Item, Outcome, Value
from trajstore.progress import Steps

WATCH_SECONDS: Final = 0.25
"""Between looks at how far the tasks are that run."""

WORKERS_MAX: Final = 10_000
"""More threads or processes no machine runs for one command."""


class ThreadExecutor:
    """Runs tasks on threads, by default as many as this process has processors; `watch` is called while they run."""

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and not 1 <= workers <= WORKERS_MAX:
            message = f"workers: found {workers}, expected at least 1 and at most {WORKERS_MAX}"
            raise SpecError(message)
        self.workers = workers or count_processors()
        self.watch: Callable[[], None] = lambda: None
        self._running: dict[Future[Any], tuple[Any, Steps]] = {}

    def in_work(self) -> Iterator[tuple[Any, int]]:
        """The tasks that run, and how many samples of each are done."""
        for task, steps in self._running.values():
            yield task, int(steps.samples)

    def run(self, function: Callable[[Item], Value], tasks: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Run a function once over each task and yield an outcome for each, as they finish."""
        remaining = iter(tasks)
        pending = self._running
        with ThreadPoolExecutor(self.workers, thread_name_prefix="trajstore") as pool:
            while True:
                for task in islice(remaining, self.workers - len(pending)):
                    steps = Steps()
                    pending[_submit(pool, function, task, steps)] = task, steps
                if not pending:
                    return
                while not (done := wait(pending, WATCH_SECONDS, FIRST_COMPLETED).done):
                    self.watch()
                for future in done:
                    (task, _), error = pending.pop(future), future.exception()
                    if error is None:
                        yield Outcome(task, value=future.result())
                    elif isinstance(error, Exception):
                        yield Outcome(task, error=error)
                    else:
                        raise error


def _count(function: Callable[[Item], Value], task: Item, steps: Steps) -> Value:
    """Run a function and count the samples that it says are done."""
    with steps.counting():
        return function(task)


def _submit(
    pool: ThreadPoolExecutor, function: Callable[[Item], Value], task: Item, steps: Steps
) -> Future[Value]:
    """Give a pool a task, for which it may start a thread."""
    try:
        return pool.submit(_count, function, task, steps)
    except RuntimeError as error:
        message = f"workers: the system starts no more threads ({error}); ask for fewer with --workers"
        raise TrajstoreError(message) from None


def count_processors() -> int:
    """How many processors this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
