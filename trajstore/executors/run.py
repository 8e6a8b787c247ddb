"""Run tasks until all are done, one fails, or somebody asks to stop; what has begun always ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from trajstore.errors import ClusterError, InterruptedBuildError
from trajstore.executors.interface import Executor
from trajstore.executors.threads import ThreadExecutor
from trajstore.progress import Report, Tally, ignore

if TYPE_CHECKING:
    from trajstore.executors.dask import DaskExecutor

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
    progress: Report | bool | None = None
    should_stop: Callable[[], int] | None = None
    force: bool = False
    cluster: DaskExecutor | None = None
    """Where tasks run instead of threads; `open_workers` opens it."""

    @property
    def threads(self) -> int:
        """How many threads of this process may compute at once."""
        return ThreadExecutor(self.workers).workers

    @property
    def report(self) -> Report:
        """Who receives progress; events say how many workers a cluster has."""
        progress, cluster = self.progress if callable(self.progress) else ignore, self.cluster
        if cluster is None:
            return progress
        return lambda event: progress(replace(event, workers=cluster.workers))

    @property
    def stop_signal(self) -> Callable[[], int]:
        """What is asked before each task; anything but 0 is the number of a signal."""
        return self.should_stop or go_on


@contextmanager
def open_workers(options: RunOptions) -> Iterator[RunOptions]:
    """The options with the cluster that they ask for, as long as the context lasts; threads are started when needed."""
    if options.executor != "dask":
        yield options
        return
    from trajstore.executors.dask import open_cluster  # only where Dask is used

    with open_cluster(options.scheduler, workers=options.workers, should_stop=options.stop_signal) as cluster:
        yield replace(options, cluster=cluster)


def run_tasks(
    function: Callable[[Item], Value],
    tasks: Iterable[Item],
    *,
    options: RunOptions,
    place: object,
    waiting_threads: int = 0,
    tallies: Collection[Tally],
    finished: Callable[[Item, Value | None], None],
    describe_state: Callable[[], str],
    find_tallies: Callable[[Item], Iterable[Tally]] | None = None,
) -> None:
    """Run a function over tasks; after a failure or a request to stop no task is begun, and those in flight end.

    A cluster gets both pickled. ``waiting_threads`` are threads beside those that compute, where there is none.
    ``finished`` receives, in this thread, each task that has succeeded and what the function returned.
    ``find_tallies`` says which tallies count the samples of a task; all by default. Raises the first error of the
    function, or `InterruptedBuildError` where the tallies are short because somebody has asked to stop; that, and what
    a cluster cannot do, says with ``describe_state`` what is there and how to go on.
    """
    failures: list[Exception] = []
    stop_signal, cluster = options.stop_signal, options.cluster
    executor: Executor = cluster or ThreadExecutor(options.threads + waiting_threads)

    def until_stopped() -> Iterator[Item]:
        for task in tasks:
            if failures or stop_signal():
                return
            yield task

    def count_in_work() -> None:
        for tally in tallies:
            tally.in_work = 0
        for task, samples in executor.in_work():
            for tally in find_tallies(task) if find_tallies else tallies:
                tally.in_work += samples

    def watch() -> None:
        count_in_work()
        for tally in tallies:
            if tally.is_short:
                tally.add(0, stored_bytes=0)

    executor.watch = watch
    try:
        for outcome in executor.run(function, until_stopped()):
            count_in_work()
            if outcome.error is not None:
                failures.append(outcome.error)
            else:
                finished(outcome.task, outcome.value)
        if failures:
            raise failures[0]
    except ClusterError as error:
        message = f"{error}; {describe_state()}"
        raise ClusterError(message, exit_code=error.exit_code) from error
    if (number := stop_signal()) and any(tally.is_short for tally in tallies):
        message = f"{place}: interrupted; {describe_state()}"
        raise InterruptedBuildError(message, exit_code=128 + number)
