"""Tasks on the workers of a Dask cluster, whatever happens to these workers.

Dask is asked for little: to run a batch of tasks somewhere. Which tasks are left, how often one is tried again and when
to give up is decided here, and a task that may have run is simply run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import pickle
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic

import cloudpickle
from distributed import Client, Future
from distributed.core import rpc
from distributed.scheduler import KilledWorker

from trajstore.errors import ClusterError, is_full
from trajstore.executors.interface import Item, Outcome, Value
from trajstore.executors.local import LocalWorkers
from trajstore.executors.remote import PACKAGES, Batch, BatchResult, Failure, list_versions
from trajstore.executors.threads import count_processors
from trajstore.text import format_count

CONNECT_SECONDS: Final = 5.0
"""How long to wait for a scheduler, and for one that was lost to come back."""

WORKERS_SECONDS: Final = 30.0
"""How long to wait for the first worker."""

WORKERLESS_SECONDS: Final = 300.0
"""How long a run goes on without any worker: batch systems take their time to send new ones."""

ATTEMPTS_MAX: Final = 5
"""A task that has failed so often has failed for good."""

PAUSE_SECONDS: Final = 0.25
"""Before a failed task is tried again for the first time; four times as long each time after."""

DEATHS_MAX: Final = 8
"""A task during which so many workers have ended is what ends them. Dask reports them four at a time."""

WINDOW: Final = 2
"""Batches per thread of the cluster that are submitted: one runs, one waits beside it."""

BATCH_SECONDS_MIN: Final = 0.2
BATCH_SECONDS_PER_THREAD: Final = 0.02
"""Tasks that are shorter travel together: a batch costs the coordinator some 10 ms, however many tasks it has."""

BATCH_MAX: Final = 256
"""Tasks of a batch at most."""

POLL_SECONDS: Final = 0.5
"""How often the number of workers is looked up, and whether somebody wants to stop."""


@dataclass(frozen=True)
class _Try(Generic[Item]):
    """A task and what has become of it so far."""

    task: Item
    failures: int = 0
    deaths: int = 0


class ClusterExecutor:
    """An executor of Dask workers; made by `open_cluster`.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    local : LocalWorkers, optional
        The workers, where they are ours.
    should_stop : callable
        Anything but 0 ends a run after the tasks in flight, and at once where no worker is left.
    pause_seconds : float
        See `PAUSE_SECONDS`.

    Attributes
    ----------
    workers : int
        How many are alive.
    watch : callable
        Called whenever that number has changed, in the thread that runs the tasks.
    """

    def __init__(
        self,
        client: Client,
        *,
        local: LocalWorkers | None = None,
        should_stop: Callable[[], int] = lambda: 0,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._client, self._local, self._should_stop = client, local, should_stop
        self._pause_seconds = pause_seconds
        self._address = str(client.scheduler.address)
        self._threads = 1
        self._batch_size = 1
        self._next_look = self._seen_at = time.monotonic()
        self.workers = 0
        self.watch: Callable[[], None] = lambda: None

    def run(self, function: Callable[[Item], Value], tasks: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Run a function over tasks; see `trajstore.executors.Executor`.

        Parameters
        ----------
        function : callable
            Called with each task once or more often, which must do no harm; it is pickled.
        tasks : iterable
            Consumed as workers become free. Their text names them on Dask's dashboard.

        Yields
        ------
        Outcome
            One for each task taken, as they finish; none for those that a request to stop has left without a worker.
            Errors are `trajstore.errors.ClusterError` and name the worker.

        Raises
        ------
        ClusterError
            If the scheduler or all workers are lost.
        """
        run: _Run[Item, Value] = _Run(self, self._client, cloudpickle.dumps(function), iter(tasks))
        try:
            yield from run.outcomes()
        finally:
            run.cancel()

    def look(self, *, at_once: bool = False) -> None:
        """See who is alive, now and then.

        Parameters
        ----------
        at_once : bool
            Not now and then but now.

        Raises
        ------
        ClusterError
            If nobody is, or the scheduler is lost.
        """
        now = time.monotonic()
        if now < self._next_look and not at_once:
            return
        self._next_look = now + POLL_SECONDS
        if self._client.status not in ("running", "connecting"):
            message = f"the scheduler {self._address} was lost and has not come back"
            raise ClusterError(message)
        threads = self._count_threads()
        if threads is None:  # connecting
            return
        if len(threads) != self.workers:
            self.workers = len(threads)
            self.watch()
        if threads:
            self._threads = sum(threads.values())
            self._seen_at = time.monotonic()
            return
        if self._local is not None and (why := self._local.ended):
            message = (
                f"the local workers have ended ({why}); start again, with fewer --workers if memory was short"
            )
            raise ClusterError(message)
        if now - self._seen_at > WORKERLESS_SECONDS:
            message = (
                f"the scheduler {self._address} has had no workers for {WORKERLESS_SECONDS:.0f} s; start some: "
                f"dask worker {self._address} --nthreads 1"
            )
            raise ClusterError(message)

    @property
    def is_stopping(self) -> bool:
        """Whether somebody wants to stop."""
        return bool(self._should_stop())

    @property
    def window(self) -> int:
        """Batches that may be submitted at a time."""
        return WINDOW * self._threads

    @property
    def batch_size(self) -> int:
        """Tasks of a batch."""
        return self._batch_size

    def learn(self, size: int, seconds: float) -> None:
        """Adapt the size of batches to how long one has taken.

        Parameters
        ----------
        size : int
            Its tasks.
        seconds : float
            What they took.
        """
        wanted = max(BATCH_SECONDS_MIN, BATCH_SECONDS_PER_THREAD * self._threads)
        if seconds > 2 * wanted:
            self._batch_size = max(1, min(self._batch_size, size // 2))
        elif seconds < wanted / 2 and size == self._batch_size:
            self._batch_size = min(BATCH_MAX, 2 * size)

    def pause_after(self, failures: int) -> float:
        """Seconds before a task is tried again."""
        return self._pause_seconds * 4.0 ** (failures - 1)

    def wait_for_workers(self, seconds: float) -> None:
        """Wait for the first worker.

        Parameters
        ----------
        seconds : float
            How long.

        Raises
        ------
        ClusterError
            If there is none by then.
        """
        deadline = time.monotonic() + seconds
        while not self.workers and not self.is_stopping:
            self.look(at_once=True)
            if time.monotonic() > deadline:
                message = (
                    f"the scheduler {self._address} has no workers, waited {seconds:.0f} s; start some: "
                    f"dask worker {self._address} --nthreads 1"
                )
                raise ClusterError(message)
            time.sleep(0.0 if self.workers else 0.02)

    def check_versions(self) -> None:
        """Compare the versions of all workers that are there with ours; those that come later compare themselves.

        Raises
        ------
        ClusterError
            If one differs; it is named.
        """
        for package, expected in list_versions():
            # a function of the standard library: workers without trajstore run it, too
            found = self._client.run(version, package, on_error="return")
            for worker, value in found.items():
                if value != expected:
                    _raise_version(worker, package, value, expected)

    def _count_threads(self) -> dict[str, int] | None:
        """Threads of each worker; None while the scheduler is away."""
        if self._client.status != "running":
            return None
        try:
            threads: dict[str, int] = self._client.sync(
                self._client.scheduler.ncores, callback_timeout=CONNECT_SECONDS
            )
        except (OSError, TimeoutError):
            return None
        return threads


def _raise_version(worker: str, package: str, found: object, expected: str) -> None:
    """Say that a worker is not like the client."""
    what = f"no {package}" if isinstance(found, Exception) else f"{package} {found}"
    message = (
        f"worker {worker}: found {what}, expected {package} {expected} as the client has; install the same "
        f"versions of {', '.join(PACKAGES)} on all workers"
    )
    raise ClusterError(message)


class _Run(Generic[Item, Value]):
    """One run over tasks."""

    def __init__(
        self, executor: ClusterExecutor, client: Client, function: bytes, tasks: Iterator[Item]
    ) -> None:
        self._executor, self._client, self._function, self._tasks = executor, client, function, tasks
        self._versions = list_versions()
        self._token = uuid.uuid4().hex[:8]
        self._serial = count()
        self._in_flight: dict[Future, list[_Try[Item]]] = {}
        self._delayed: list[tuple[float, int, _Try[Item]]] = []
        self._finished: SimpleQueue[Future] = SimpleQueue()
        self._suspects: list[_Try[Item]] = []
        self._peeked: list[Item] = []
        self._is_exhausted = self._has_failed = self._is_suspect_in_flight = False

    def outcomes(self) -> Iterator[Outcome[Item, Value]]:
        """Run all tasks."""
        while True:
            self._submit()
            if self._is_exhausted and not self._in_flight and not self._delayed and not self._suspects:
                return
            if self._executor.is_stopping and not (self._in_flight and self._executor.workers):
                return
            for future in self._wait():
                yield from self._collect(future)

    def cancel(self) -> None:
        """Let go of everything that is submitted."""
        with contextlib.suppress(Exception):
            if self._in_flight and self._client.status == "running":
                self._client.cancel(list(self._in_flight), force=True)
        self._in_flight.clear()

    def _submit(self) -> None:
        """Fill the window."""
        if self._client.status != "running":
            return
        if self._suspects or self._is_suspect_in_flight:
            # what ends its worker ends what waits there, too: whether it does is seen when it is alone
            if not self._in_flight:
                self._is_suspect_in_flight = True
                self._send([self._suspects.pop()])
            return
        while len(self._in_flight) < self._executor.window:
            batch = self._take_delayed() or self._take_fresh()
            if not batch:
                return
            self._send(batch)

    def _send(self, batch: list[_Try[Item]]) -> None:
        """Submit a batch."""
        future = self._client.submit(
            pickle.loads,
            pickle.dumps(Batch(self._versions, self._function, [attempt.task for attempt in batch])),
            # the number is the task's, the rest makes the name unique: other builds may run on the same cluster
            key=f"{batch[0].task}-{self._token}-{next(self._serial)}",
            pure=False,
        )
        self._in_flight[future] = batch
        future.add_done_callback(self._finished.put)

    def _take_delayed(self) -> list[_Try[Item]]:
        """A task that has failed and is due; alone, so that it harms no other."""
        if self._delayed and self._delayed[0][0] <= time.monotonic():
            return [heapq.heappop(self._delayed)[2]]
        return []

    def _take_fresh(self) -> list[_Try[Item]]:
        """The next tasks, all of one kind."""
        batch: list[_Try[Item]] = []
        while len(batch) < self._executor.batch_size and not self._is_exhausted:
            if not self._peeked:
                try:
                    self._peeked.append(next(self._tasks))
                except StopIteration:
                    self._is_exhausted = True
                    break
            if batch and _kind(self._peeked[0]) != _kind(batch[0].task):
                self._executor.learn(1, float("inf"))  # another kind of task: begin with one
                break
            batch.append(_Try(self._peeked.pop()))
        return batch

    def _wait(self) -> list[tuple[Future, BatchResult | None]]:
        """Batches that have ended, with what came of them; none after a while."""
        self._executor.look()
        due = self._delayed[0][0] - time.monotonic() if self._delayed else POLL_SECONDS
        futures = []
        with contextlib.suppress(Empty):
            futures.append(self._finished.get(timeout=min(max(due, 0.001), POLL_SECONDS)))
            while True:
                futures.append(self._finished.get_nowait())
        done = [future for future in futures if future.status == "finished"]
        values: dict[Future, Any] = {}
        if done:
            try:  # one request for all
                values = dict(zip(done, self._client.gather(done, errors="raise"), strict=True))
            except Exception:  # noqa: BLE001  lost on the way: whatever it was, the tasks are run again
                self._executor.look(at_once=True)
        return [(future, pickle.loads(values[future]) if future in values else None) for future in futures]

    def _collect(self, ended: tuple[Future, BatchResult | None]) -> Iterator[Outcome[Item, Value]]:
        """The outcomes of a batch; what has none is tried again."""
        future, result = ended
        batch = self._in_flight.pop(future, [])
        if not self._in_flight:
            self._is_suspect_in_flight = False
        error = future.exception() if future.status == "error" else None
        # what is held when its worker ends Dask runs again, beside us or for nobody, even after the run
        future.release()
        if result is not None:
            self._executor.learn(len(batch), result.seconds)
            for attempt, value in zip(batch, result.values, strict=True):
                if isinstance(value, Failure):
                    yield from self._fail(attempt, value, result.worker)
                else:
                    yield Outcome(attempt.task, value=value)
            return
        if error is None:  # cancelled with its scheduler, or by somebody else; or its result was lost
            self._delay(batch)
        elif isinstance(error, KilledWorker):
            yield from self._bury(batch, error)
        else:
            yield from self._refuse(batch, error)

    def _fail(self, attempt: _Try[Item], failure: Failure, worker: str) -> Iterator[Outcome[Item, Value]]:
        """Try a task again, or give up."""
        attempt = replace(attempt, failures=attempt.failures + 1)
        if not (failure.is_final or self._has_failed or attempt.failures >= ATTEMPTS_MAX):
            self._delay([attempt], self._executor.pause_after(attempt.failures))
            return
        times = f" {attempt.failures} times" if attempt.failures > 1 else ""
        code = 3 if is_full(failure.error) else getattr(failure.error, "exit_code", 1)
        text = _describe(failure.error)
        yield self._give_up(
            attempt, ClusterError(f"{attempt.task} failed{times} on worker {worker}: {text}", exit_code=code)
        )

    def _bury(self, batch: list[_Try[Item]], error: KilledWorker) -> Iterator[Outcome[Item, Value]]:
        """Try tasks again, each alone, during which several workers have ended; or give up."""
        for attempt in batch:
            again = replace(attempt, deaths=attempt.deaths + error.allowed_failures + 1)
            if (again.deaths < DEATHS_MAX or not attempt.deaths) and not self._has_failed:
                self._delay([again])
                continue
            message = (
                f"{format_count(again.deaths)} workers ended while they ran {again.task}, the last was "
                f"{error.last_worker.address}: they lack memory, probably; give each more, or lower "
                "storage.samples_per_shard in a new store"
            )
            yield self._give_up(again, ClusterError(message))

    def _refuse(self, batch: list[_Try[Item]], error: BaseException) -> Iterator[Outcome[Item, Value]]:
        """Explain why a worker could not even begin: it cannot import what it is sent."""
        if isinstance(error, ImportError):
            try:
                self._executor.check_versions()
            except ClusterError as explained:
                yield self._give_up(batch[0], explained)
                return
        message = (
            f"a worker cannot run {batch[0].task}: {_describe(error)}; install the same versions of Python, "
            f"{', '.join(PACKAGES)} on all workers"
        )
        yield self._give_up(batch[0], ClusterError(message))

    def _give_up(self, attempt: _Try[Item], error: ClusterError) -> Outcome[Item, Value]:
        """A task that has failed for good; from now on nothing is tried again."""
        self._has_failed = True
        self._delayed.clear()
        self._suspects.clear()
        return Outcome(attempt.task, error=error)

    def _delay(self, batch: Iterable[_Try[Item]], seconds: float = 0.0) -> None:
        """Try tasks again after a while."""
        if self._has_failed:
            return
        for attempt in batch:
            if attempt.deaths:
                self._suspects.append(attempt)
                continue
            heapq.heappush(self._delayed, (time.monotonic() + seconds, next(self._serial), attempt))


def _kind(task: object) -> str:
    """The part of a task's name that it shares with others like it."""
    return str(task).rpartition("-")[0]


def _describe(error: BaseException) -> str:
    """The text of an exception, on one line; its type where the text alone says nothing."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (ClusterError, OSError)) and text else f"{type(error).__name__}: {text}"


@contextlib.contextmanager
def open_cluster(
    scheduler: str | None = None,
    *,
    workers: int | None = None,
    should_stop: Callable[[], int] = lambda: 0,
) -> Iterator[ClusterExecutor]:
    """Connect to a cluster, or start one on this machine, for as long as the context lasts.

    Parameters
    ----------
    scheduler : str, optional
        Address of a scheduler; without one, workers are started here.
    workers : int, optional
        How many to start; by default one for each processor.
    should_stop : callable
        See `ClusterExecutor`.

    Yields
    ------
    ClusterExecutor
        With at least one worker, of the same versions as this process.

    Raises
    ------
    ClusterError
        If there is no scheduler or no worker, or a worker is not like this process.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        local = None
        if scheduler is None:
            local = stack.enter_context(LocalWorkers(workers or count_processors()).running())
        client = stack.enter_context(_connect(scheduler or str(local and local.address)))
        executor = ClusterExecutor(client, local=local, should_stop=should_stop)
        executor.wait_for_workers(WORKERS_SECONDS)
        if local is None:
            executor.check_versions()
        yield executor


@contextlib.contextmanager
def _connect(address: str) -> Iterator[Client]:
    """A client of a scheduler."""
    try:
        with ThreadPoolExecutor(1) as thread:  # this one may have a loop of its own, as in notebooks
            kind = thread.submit(asyncio.run, _identify(address)).result()
        if kind != "Scheduler":
            message = f"found a {kind.lower()} there"
            raise OSError(message)
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        detail = "nothing answers" if isinstance(error, TimeoutError) else _describe(error)
        message = (
            f"scheduler {address}: cannot be reached within {CONNECT_SECONDS:.2g} s ({detail}), expected a Dask "
            "scheduler; start one with: dask scheduler"
        )
        raise ClusterError(message) from None
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            client.close(timeout=5)


async def _identify(address: str) -> str:
    """What kind of Dask server listens at an address: a client would wait for ever for one that says nothing."""

    async def ask() -> str:
        async with rpc(address) as server:
            return str((await server.identity())["type"])

    return await asyncio.wait_for(ask(), CONNECT_SECONDS)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Dask and Tornado log about each connection from the terminal: what matters becomes an error."""
    names = [
        name
        for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict)
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio")
    ]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(distributed|tornado)\b")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
