"""Dask schedulers and workers as processes, for tests that end them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from distributed import Client, Worker

from support.faults import wait_until

FOLLOW_PARENT = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL)"


class Process:
    """A scheduler or a worker in a process of its own."""

    def __init__(self, command: str, *arguments: str, log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                # ends with this process, however that ends
                [sys.executable, "-W", "ignore", "-c", f"{FOLLOW_PARENT}\n{command}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it and what it has started, at once."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Cluster:
    """A scheduler and the workers that a test adds; see `start_cluster`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self.scheduler = self._start(
            "import sys; sys.modules['trajstore'] = None\n"  # a scheduler needs nothing of ours
            "from distributed.cli.dask_scheduler import main; main()",
            "--host=127.0.0.1",
            "--port=0",
            "--no-dashboard",
            "--dashboard-address=:0",
            f"--scheduler-file={folder / 'scheduler.json'}",
        )
        wait_until((folder / "scheduler.json").exists)
        with Client(scheduler_file=str(folder / "scheduler.json"), set_as_default=False) as client:
            self.address: str = client.scheduler.address

    def add_worker(self, setup: str = "") -> Process:
        """Start a worker, which is not there yet when this returns, after a line of Python."""
        return self._start(
            f"{setup}\nfrom distributed.cli.dask_worker import main; main()",
            self.address,
            "--nthreads=1",
            "--no-nanny",
            "--no-dashboard",
            f"--local-directory={self._folder}",
        )

    def close(self) -> None:
        """End all processes."""
        for process in reversed(self._processes):
            process.kill()

    def _start(self, command: str, *arguments: str) -> Process:
        """Start a process and remember it."""
        log = self._folder / f"{len(self._processes)}.log"
        self._processes.append(Process(command, *arguments, log=log))
        return self._processes[-1]


def is_idle(client: Client) -> bool:
    """Whether no worker runs anything, be it wanted or not: Dask cannot interrupt what it has begun."""

    def count(dask_worker: Worker) -> int:
        return dask_worker.state.executing_count  # also what has been cancelled

    return not any(client.run(count, on_error="return").values())  # an error: one that is just ending


def kill_a_local_worker(rng: random.Random) -> None:
    """SIGKILL to one of the workers that this process has started, not to their guards; back when it is gone."""
    workers = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "multiprocessing.spawn" in " ".join(process.cmdline()):
                workers.append(process)
    if workers:
        with contextlib.suppress(psutil.Error):
            worker = rng.choice(workers)
            worker.kill()
            wait_until(lambda: not psutil.pid_exists(worker.pid))  # until then it counts as alive


@contextmanager
def start_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a scheduler without workers.

    Parameters
    ----------
    folder : Path
        For logs and scratch files.

    Yields
    ------
    Cluster
        It ends with the context.
    """
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.close()
