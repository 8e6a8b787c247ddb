"""Choose where tasks run, by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from trajstore.errors import MissingExtraError, SpecError
from trajstore.executors.threads import ThreadExecutor

if TYPE_CHECKING:
    from trajstore.executors.cluster import ClusterExecutor

EXECUTORS: Final = ("threads", "dask")

_ADDRESS = re.compile(r"((tcp|tls|ucx|ws|wss)://)?([\w.-]+|\[[0-9a-fA-F:.%\w]+\]):(?P<port>\d{1,5})")


def check_choice(executor: str, *, scheduler: str | None, workers: int | None) -> None:
    """Check where tasks are to run, before anything is done.

    Parameters
    ----------
    executor : {'threads', 'dask'}
        What runs them.
    scheduler : str or None
        Address of a Dask scheduler.
    workers : int or None
        Threads, or processes of a local Dask cluster.

    Raises
    ------
    SpecError
        If these do not go together.
    MissingExtraError
        If Dask is needed and not installed.
    """
    if executor not in EXECUTORS:
        message = f"executor: found {executor!r}, expected one of {', '.join(EXECUTORS)}"
        raise SpecError(message)
    ThreadExecutor(workers)  # checks the number
    if scheduler is not None:
        if executor != "dask":
            message = (
                f"scheduler: found {scheduler!r} without the executor that uses it; add: --executor dask"
            )
            raise SpecError(message)
        if workers is not None:
            message = (
                f"workers: found {workers} beside the scheduler {scheduler}, expected one of both: the scheduler has "
                "its workers, and without one they are started here"
            )
            raise SpecError(message)
        match = _ADDRESS.fullmatch(scheduler)
        if match is None or not 0 < int(match["port"]) < 2**16:
            message = f"scheduler: found {scheduler!r}, expected an address such as tcp://host:8786"
            raise SpecError(message)
    if executor == "dask" and find_spec("distributed") is None:
        message = (
            "executor dask: needs Dask, which is not installed; get it with: pip install 'trajstore[dask]'"
        )
        raise MissingExtraError(message)


def open_dask(
    *, scheduler: str | None, workers: int | None, should_stop: Callable[[], int]
) -> AbstractContextManager[ClusterExecutor]:
    """A Dask cluster for as long as the context lasts; see `trajstore.executors.cluster.open_cluster`.

    Parameters
    ----------
    scheduler : str or None
        Its address; None to start workers here.
    workers : int or None
        How many to start.
    should_stop : callable
        Anything but 0 ends runs.

    Returns
    -------
    context manager of ClusterExecutor
        The executor.
    """
    from trajstore.executors.cluster import open_cluster  # only where Dask is used

    return open_cluster(scheduler, workers=workers, should_stop=should_stop)
