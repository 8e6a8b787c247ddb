"""A Dask cluster of this machine's processes, which nobody can reach from another machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Final

import dask
from distributed import LocalCluster

from trajstore.errors import ClusterError

LOOPBACK: Final = "127.0.0.1"
PATIENCE_SECONDS: Final = 10.0  # between asking processes to end and killing them


@dataclass(frozen=True)
class LocalWorkers:
    """A scheduler and its workers that run on this machine; made by `start_workers`."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ended(self) -> str | None:
        """Why scheduler and workers have ended; None as long as they run."""
        if self.process.poll() is None:
            return None
        *_, last_line = self.log.read_text(errors="replace").strip().split("\n")
        return f"exit code {self.process.returncode}: {last_line}"


@contextlib.contextmanager
def start_workers(count: int) -> Iterator[LocalWorkers]:
    """Start a scheduler and workers, which end with the context, and by themselves if this process is killed."""
    with tempfile.TemporaryDirectory(prefix="trajstore-dask-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "workers.log"
        # Not a LocalCluster of this process: its workers would import the program that calls us, which may lack
        # `if __name__ == "__main__"`, and a Ctrl-C in the terminal would reach them.
        command = [sys.executable, "-c", f"from {__name__} import serve; serve({count}, {folder!r})"]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=file, start_new_session=True)
        try:
            assert process.stdout is not None
            local = LocalWorkers(process.stdout.read().decode(), process, log)
            if not local.address:
                process.wait()
                message = f"the local workers cannot be started ({local.ended})"
                raise ClusterError(message)
            yield local
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=PATIENCE_SECONDS)  # closes its input, which asks all to end
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # the session's other processes, if any is left
            process.wait()


def serve(count: int, folder: str) -> None:
    """Run a scheduler, write its address to the standard output, and run workers until the standard input ends."""
    output = os.dup(1)
    os.dup2(2, 1)  # whatever workers print belongs in the log
    # what is killed is started again, however slowly
    dask.config.set({"temporary-directory": folder, "distributed.deploy.lost-worker-timeout": "1d"})
    dask.config.set({"distributed.comm.timeouts.connect": "5s"})  # and nobody waits 30 s for what was killed
    # servers for HTTP cannot be left out: these have nothing to show, on whatever port is free
    dask.config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []})
    addresses = dict.fromkeys(("host", "dashboard_address", "worker_dashboard_address"), LOOPBACK)
    hidden = {"dashboard": False}
    with LocalCluster(n_workers=count, threads_per_worker=1, scheduler_kwargs=hidden, **addresses) as cluster:
        os.write(output, cluster.scheduler_address.encode())
        os.close(output)
        sys.stdin.read()
