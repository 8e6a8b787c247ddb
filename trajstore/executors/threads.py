"""Tasks on the threads of this process: kernels, compression and file writes all release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from trajstore.errors import SpecError
from trajstore.executors.interface import Item, Outcome, Value


class ThreadExecutor:
    """Runs tasks on threads, by default as many as this process has processors."""

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            message = f"workers: found {workers}, expected at least 1"
            raise SpecError(message)
        self.workers = workers or count_processors()

    def run(self, function: Callable[[Item], Value], tasks: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Run a function once over each task and yield an outcome for each, as they finish."""
        remaining = iter(tasks)
        pending: dict[Future[Value], Item] = {}
        with ThreadPoolExecutor(self.workers, thread_name_prefix="trajstore") as pool:
            while True:
                for task in islice(remaining, self.workers - len(pending)):
                    pending[pool.submit(function, task)] = task
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


def count_processors() -> int:
    """How many processors this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
