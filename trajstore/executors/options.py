"""The options that say where tasks run, checked before anything is done: which go together, and what they need."""

from __future__ import annotations

import re
from importlib.util import find_spec

from trajstore.errors import MissingExtraError, SpecError
from trajstore.executors.run import RunOptions
from trajstore.executors.threads import ThreadExecutor
from trajstore.text import describe_unknown, explain_install, hide_secrets

_ADDRESS = re.compile(r"((tcp|tls|ucx|ws|wss)://)?([\w.-]+|\[[0-9a-fA-F:.%\w]+\]):(?P<port>\d{1,5})")


def check_options(options: RunOptions, store: object) -> None:
    """Refuse an executor, a scheduler and a number of workers that do not go together, or with the place of a store."""
    executor, scheduler, workers = options.executor, options.scheduler, options.workers
    ThreadExecutor(workers)  # checks the number
    message, shown = "", hide_secrets(scheduler or "")
    if executor not in ("threads", "dask"):
        message = f"executor: {describe_unknown(executor, ('threads', 'dask'))}"
    elif scheduler is not None and executor != "dask":
        message = f"scheduler: found {shown!r} without the executor that uses it; add: --executor dask"
    elif scheduler is not None and workers is not None:
        message = (
            f"workers: found {workers} beside the scheduler {shown}, expected one of both: the scheduler has "
            "its workers, and without one they are started here"
        )
    elif scheduler is not None:
        match = _ADDRESS.fullmatch(scheduler)
        if match is None or not 0 < int(match["port"]) < 2**16:
            message = f"scheduler: found {shown!r}, expected an address such as tcp://host:8786"
    if not message and executor == "dask" and str(store).startswith("memory:"):
        message = f"{store}: only this process sees it, expected a location that all workers see"
    if message:
        raise SpecError(message)
    if executor == "dask" and find_spec("distributed") is None:
        message = f"executor dask: Dask is not installed; {explain_install('dask')}"
        raise MissingExtraError(message)
