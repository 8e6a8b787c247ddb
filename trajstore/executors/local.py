"""A Dask cluster on this machine: a scheduler in this process, workers in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dask
from distributed import LocalCluster

PATIENCE_SECONDS: Final = 10.0
"""Workers that have not ended so long after they were asked to are killed."""


class LocalWorkers:
    """A scheduler and its workers, which end with the context, and by themselves if this process is killed.

    Workers are started by ``dask worker`` and not by ``LocalCluster``: so they import nothing of the program that calls
    us, which may lack ``if __name__ == "__main__"``, and a Ctrl-C in the terminal reaches this process alone.

    Parameters
    ----------
    workers : int
        Processes, of one thread each.

    Attributes
    ----------
    address : str
        The scheduler's.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[LocalWorkers]:
        """Start all, and end all.

        Yields
        ------
        LocalWorkers
            Itself.
        """
        with (
            tempfile.TemporaryDirectory(prefix="trajstore-dask-", ignore_cleanup_errors=True) as folder,
            # whatever the port, it is free; without bokeh nothing is shown there
            dask.config.set({"distributed.scheduler.http.routes": []}),
            LocalCluster(
                n_workers=0,
                processes=True,
                host="127.0.0.1",
                dashboard_address=":0",
                silence_logs=False,
            ) as cluster,
        ):
            self.address = str(cluster.scheduler_address)
            self._log = Path(folder) / "workers.log"
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command(folder),
                    env=os.environ | {"NUMBA_NUM_THREADS": os.environ.get("NUMBA_NUM_THREADS", "1")},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            try:
                yield self
            finally:
                self._end()

    @property
    def ended(self) -> str | None:
        """Why there are no workers any more; None as long as there may be some."""
        if self._process is None or self._process.poll() is None:
            return None
        lines = self._log.read_text(errors="replace").split("\n") if self._log else []
        said = [line for line in lines if line.strip()][-1:]
        return f"exit code {self._process.returncode}{': ' if said else ''}{''.join(said)}"

    def _command(self, folder: str) -> list[str]:
        """What starts all workers, each with a guard that starts it again."""
        return [
            sys.executable,
            "-c",
            "from distributed.cli.dask_worker import main; main()",
            self.address,
            f"--nworkers={self._workers}",
            "--nthreads=1",
            "--no-dashboard",
            "--death-timeout=20",
            f"--local-directory={folder}",
        ]

    def _end(self) -> None:
        """Ask the workers to end, then make them."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the session's other processes, if any is left
        self._process.wait()
