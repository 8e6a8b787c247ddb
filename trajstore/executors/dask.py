"""Tasks on the workers of a Dask cluster, whatever happens to these workers.

Dask is asked for little: to run a bundle of tasks somewhere. Which tasks are left, how often one is tried again and
when to give up is decided here, and a task that may have run is simply run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic

from distributed import Client, Future
from distributed.core import rpc
from distributed.scheduler import KilledWorker

from trajstore.errors import ClusterError, TrajstoreError, is_full
from trajstore.executors.interface import Item, Outcome, Value
from trajstore.executors.local import LocalWorkers, start_workers
from trajstore.executors.remote import PACKAGES, Bundle, Failure, check_versions, find_versions, pack_function
from trajstore.executors.threads import count_processors
from trajstore.text import format_count

CONNECT_SECONDS: Final = 5.0  # for a scheduler to answer, and for one that was lost to come back
WORKERS_SECONDS: Final = 30.0  # for the first worker to come
WORKERLESS_SECONDS: Final = 300.0  # for another when all are gone: batch systems take their time
POLL_SECONDS: Final = 0.5  # between looks at the number of workers, and at whether somebody wants to stop
ATTEMPTS_MAX: Final = 5  # a task that has failed so often has failed for good
PAUSE_SECONDS: Final = 0.25  # before the second attempt; four times as long before each further one
DEATHS_MAX: Final = 8  # workers that end during a task until it is to blame; Dask reports them four at a time
WINDOW: Final = 2  # bundles per thread of the cluster that are submitted: one runs, one waits beside it
# tasks that are shorter travel together: a bundle costs the coordinator some 8 ms, however many tasks it has
BUNDLE_SECONDS_MIN: Final = 0.2
BUNDLE_SECONDS_PER_THREAD: Final = 0.02
BUNDLE_MAX: Final = 256


@contextlib.contextmanager
def open_cluster(
    scheduler: str | None = None, *, workers: int | None = None, should_stop: Callable[[], int] = lambda: 0
) -> Iterator[DaskExecutor]:
    """Connect to a scheduler, or start one with workers on this machine, for as long as the context lasts."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        local = None
        if scheduler is None:
            local = stack.enter_context(start_workers(workers or count_processors()))
            scheduler = local.address
        client = stack.enter_context(_connect(scheduler))
        executor = DaskExecutor(client, local=local, should_stop=should_stop)
        executor.wait_for_workers(WORKERS_SECONDS)
        for worker, said in client.get_versions(packages=list(PACKAGES))["workers"].items():
            check_versions(said["packages"], find_versions(), where=f"worker {worker}: ")
        yield executor


class DaskExecutor:
    """Runs tasks on the workers of a Dask cluster; `workers` are alive, and `watch` is called when that has changed."""

    def __init__(
        self, client: Client, *, local: LocalWorkers | None = None, should_stop: Callable[[], int] = lambda: 0
    ) -> None:
        self.client, self.should_stop = client, should_stop
        self._local, self._address = local, client.scheduler.address
        self._next_look = self._seen_at = time.monotonic()
        self.workers, self.window, self.bundle_size = 0, WINDOW, 1
        self.watch: Callable[[], None] = lambda: None

    def run(self, function: Callable[[Item], Value], tasks: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Run a function over tasks, on each once or more often, and yield one outcome for each.

        There is no outcome for tasks that a request to stop has left without a worker.
        """
        return _Run[Item, Value](self, pack_function(function), tasks).outcomes()

    def in_work(self) -> Iterable[tuple[Any, int]]:
        """Nothing: workers tell of what they have finished only."""
        return ()

    def learn(self, size: int, seconds: float) -> None:
        """Adapt the size of bundles to how long one of some size has taken."""
        wanted = max(BUNDLE_SECONDS_MIN, BUNDLE_SECONDS_PER_THREAD * self.window / WINDOW)
        if seconds > 2 * wanted:
            self.bundle_size = max(1, min(self.bundle_size, size // 2))
        elif seconds < wanted / 2 and size == self.bundle_size:
            self.bundle_size = min(BUNDLE_MAX, 2 * size)

    def look(self, *, at_once: bool = False, patience_seconds: float = WORKERLESS_SECONDS) -> None:
        """See now and then, or at once, who is alive; an error if the scheduler or all workers are lost."""
        now = time.monotonic()
        if now < self._next_look and not at_once:
            return
        self._next_look = now + POLL_SECONDS
        if self._local is not None and (why := self._local.ended):
            message = f"the local workers have ended ({why}); start again, with fewer if memory was short"
            raise ClusterError(message)
        if self.client.status not in ("running", "connecting"):
            message = f"the scheduler {self._address} was lost and has not come back"
            raise ClusterError(message)
        if self.client.status == "connecting":
            return
        try:
            threads = self.client.sync(self.client.scheduler.ncores, callback_timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError):  # it is away, perhaps for a moment
            return
        if len(threads) != self.workers:
            self.workers = len(threads)
            self.watch()
        if threads:
            self.window = WINDOW * sum(threads.values())
            self._seen_at = time.monotonic()
        elif now - self._seen_at > patience_seconds:
            message = (
                f"the scheduler {self._address} has had no workers for {patience_seconds:g} s; start some: "
                f"dask worker {self._address} --nthreads 1"
            )
            raise ClusterError(message)

    def wait_for_workers(self, seconds: float) -> None:
        """Wait for the first worker; an error if there is none after so many seconds."""
        while not self.workers and not self.should_stop():
            self.look(at_once=True, patience_seconds=seconds)
            time.sleep(0.0 if self.workers else 0.02)


@dataclass(eq=False)
class _Try(Generic[Item]):
    """A task, how often it has failed, how many workers have ended during it, and when it is to be tried again."""

    task: Item
    failures: int = 0
    deaths: int = 0
    due: float = 0.0


class _Run(Generic[Item, Value]):
    """One run of an executor: which tasks are in flight, and which are to be tried again."""

    def __init__(self, executor: DaskExecutor, function: bytes, tasks: Iterable[Item]) -> None:
        self._executor, self._client = executor, executor.client
        self._function, self._fresh = function, self._bundle(tasks)
        self._again: list[_Try[Item]] = []
        self._in_flight: dict[Future, list[_Try[Item]]] = {}
        self._ended: SimpleQueue[Future] = SimpleQueue()
        self._is_exhausted = self._has_failed = False

    def outcomes(self) -> Iterator[Outcome[Item, Value]]:
        """Run all tasks; what is still submitted when nobody asks for more is cancelled."""
        try:
            while True:
                while bundle := self._take():
                    self._send(bundle)
                if self._is_exhausted and not self._in_flight and not self._again:
                    return
                if self._executor.should_stop() and not (self._in_flight and self._executor.workers):
                    return
                for bundle, data, error in self._wait():
                    yield from self._unpack(bundle, data) if data else self._explain(bundle, error)
        finally:
            with contextlib.suppress(Exception):
                if self._in_flight and self._client.status == "running":
                    self._client.cancel(list(self._in_flight), force=True)

    def _bundle(self, tasks: Iterable[Item]) -> Iterator[list[_Try[Item]]]:
        """Group tasks as they are asked for: a bundle has tasks of one kind, and the first of a kind goes alone."""
        for _, alike in groupby(tasks, lambda task: str(task).rpartition("-")[0]):
            self._executor.bundle_size = 1
            while bundle := [_Try(task) for task in islice(alike, self._executor.bundle_size)]:
                yield bundle

    def _take(self) -> list[_Try[Item]] | None:
        """The next bundle to submit; None where there is none, or none may be submitted now."""
        if self._client.status != "running" or len(self._in_flight) >= self._executor.window:
            return None
        # what ends its worker ends what waits there, too: whether it does is seen when it is alone
        suspects = [attempt for attempt in self._again if attempt.deaths]
        if self._in_flight and (suspects or any(bundle[0].deaths for bundle in self._in_flight.values())):
            return None
        for attempt in suspects or self._again:
            if attempt.due <= time.monotonic():
                self._again.remove(attempt)
                return [attempt]  # what has failed goes alone, so that it harms no other
        bundle = None if suspects else next(self._fresh, None)
        self._is_exhausted = bundle is None and not suspects
        return bundle

    def _send(self, bundle: list[_Try[Item]]) -> None:
        """Submit a bundle."""
        future = self._client.submit(
            pickle.loads,
            pickle.dumps(Bundle(self._function, [attempt.task for attempt in bundle])),
            key=f"{bundle[0].task}-{uuid.uuid4().hex}",  # others may run on the same cluster
            pure=False,
        )
        self._in_flight[future] = bundle
        future.add_done_callback(self._ended.put)

    def _wait(self) -> Iterator[tuple[list[_Try[Item]], bytes | None, Exception | None]]:
        """Bundles that have ended, with what `run_bundle` has returned or raised, if it has; none after a while."""
        self._executor.look()
        now, futures = time.monotonic(), []
        seconds = min([POLL_SECONDS, *(attempt.due - now for attempt in self._again if attempt.due > now)])
        with contextlib.suppress(Empty):
            futures.append(self._ended.get(timeout=seconds))
            while True:
                futures.append(self._ended.get_nowait())
        done = [future for future in futures if future.status == "finished"]
        results: dict[Future, bytes] = {}
        with contextlib.suppress(Exception):  # lost on the way: whatever it was, the tasks are run again
            results = dict(zip(done, self._client.gather(done), strict=True)) if done else {}
        errors = {future: future.exception() for future in futures if future.status == "error"}
        # what is held when its worker ends Dask runs again, beside us or for nobody, even after the run
        for future in futures:
            future.release()
        for future in futures:
            yield self._in_flight.pop(future, []), results.get(future), errors.get(future)

    def _unpack(self, bundle: list[_Try[Item]], data: bytes) -> Iterator[Outcome[Item, Value]]:
        """The outcomes of tasks that have run; those that have failed are tried again, or given up."""
        seconds, values = pickle.loads(data)
        self._executor.learn(len(bundle), seconds)
        for attempt, value in zip(bundle, values, strict=True):
            if not isinstance(value, Failure):
                yield Outcome(attempt.task, value=value)
                continue
            attempt.failures += 1
            attempt.due = time.monotonic() + PAUSE_SECONDS * 4.0 ** (attempt.failures - 1)
            times = f" {attempt.failures} times" if attempt.failures > 1 else ""
            yield from self._retry(
                attempt,
                f"{attempt.task} failed{times} on worker {value.worker}: {_describe(value.error)}",
                is_final=value.is_final or attempt.failures >= ATTEMPTS_MAX,
                exit_code=3 if is_full(value.error) else getattr(value.error, "exit_code", 1),
            )

    def _explain(self, bundle: list[_Try[Item]], error: Exception | None) -> Iterator[Outcome[Item, Value]]:
        """The outcomes of tasks that have not run, or nobody knows; most are tried again."""
        for attempt in bundle:
            is_final, text = False, f"{attempt.task} was lost"
            if isinstance(error, KilledWorker):
                was_alone, attempt.deaths = attempt.deaths > 0, attempt.deaths + error.allowed_failures + 1
                is_final = was_alone and attempt.deaths >= DEATHS_MAX
                text = (
                    f"{format_count(attempt.deaths)} workers ended while they ran {attempt.task}, the last was "
                    f"{error.last_worker.address}: they lack memory, probably; give each more, or lower "
                    "storage.samples_per_shard in a new store"
                )
            elif error is not None:  # otherwise it was cancelled with its scheduler, or by somebody else
                is_final, packages = True, ", ".join(("Python", *PACKAGES))
                text = f"a worker cannot run {attempt.task}: {_describe(error)}; "
                text += f"install the same versions of {packages} on all workers"
            yield from self._retry(attempt, text, is_final=is_final)

    def _retry(
        self, attempt: _Try[Item], text: str, *, is_final: bool, exit_code: int = 1
    ) -> Iterator[Outcome[Item, Value]]:
        """Try a task again, or give it up: after that, nothing is tried again."""
        if not is_final and not self._has_failed:
            self._again.append(attempt)
            return
        self._has_failed = True
        self._again.clear()
        yield Outcome(attempt.task, error=ClusterError(text, exit_code=exit_code))


def _describe(error: BaseException) -> str:
    """The text of an exception, on one line; its type where the text alone says nothing."""
    text = " ".join(str(error).split())
    return (
        text if isinstance(error, (TrajstoreError, OSError)) and text else f"{type(error).__name__}: {text}"
    )


@contextlib.contextmanager
def _connect(address: str) -> Iterator[Client]:
    """Connect a client to a scheduler."""
    try:
        with ThreadPoolExecutor(1) as thread:  # this one may have a loop of its own, as in notebooks
            thread.submit(asyncio.run, _check_scheduler(address)).result()
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        detail = "nothing answers" if isinstance(error, TimeoutError) else _describe(error)
        message = (
            f"scheduler {address}: cannot be reached within {CONNECT_SECONDS:g} s ({detail}), expected a Dask "
            "scheduler; start one with: dask scheduler"
        )
        raise ClusterError(message) from None
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            client.close(timeout=5)


async def _check_scheduler(address: str) -> None:
    """Refuse what is no Dask scheduler: a client would wait for ever for a server that says nothing."""
    async with asyncio.timeout(CONNECT_SECONDS), rpc(address) as server:
        if (kind := (await server.identity())["type"]) != "Scheduler":
            message = f"found a {kind.lower()} there"
            raise OSError(message)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Dask and Tornado log about each connection from the terminal: what matters becomes an error."""
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(distributed|tornado)\b")
        for name in ("asyncio", *logging.root.manager.loggerDict):
            if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
                logger = logging.getLogger(name)
                stack.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL + 1)
        yield
