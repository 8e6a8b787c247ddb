"""Tasks on the threads of this process: kernels, compression and file writes all release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final

from trajstore.errors import SpecError, TrajstoreError
from trajstore.executors.interface import Item, Outcome, Value

WORKERS_MAX: Final = 10_000
"""More threads or processes no machine runs for one command."""


class ThreadExecutor:
    """Runs tasks on threads, by default as many as this process has processors."""

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and not 1 <= workers <= WORKERS_MAX:
            message = f"workers: found {workers}, expected at least 1 and at most {WORKERS_MAX}"
            raise SpecError(message)
        self.workers = workers or count_processors()

    def run(self, function: Callable[[Item], Value], tasks: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Run a function once over each task and yield an outcome for each, as they finish."""
        remaining = iter(tasks)
        pending: dict[Future[Value], Item] = {}
        with ThreadPoolExecutor(self.workers, thread_name_prefix="trajstore") as pool:
            while True:
                for task in islice(remaining, self.workers - len(pending)):
                    pending[_submit(pool, function, task)] = task
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    task, error = pending.pop(future), future.exception()
                    if error is None:
                        yield Outcome(task, value=future.result())
                    elif isinstance(error, Exception):
                        yield Outcome(task, error=error)
                    else:
                        raise error


def _submit(pool: ThreadPoolExecutor, function: Callable[[Item], Value], task: Item) -> Future[Value]:
    """Give a pool a task, for which it may start a thread."""
    try:
        return pool.submit(function, task)
    except RuntimeError as error:
        message = f"workers: the system starts no more threads ({error}); ask for fewer with --workers"
        raise TrajstoreError(message) from None


def count_processors() -> int:
    """How many processors this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
