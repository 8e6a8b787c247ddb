"""What a worker of a cluster does: check that it is the right one, compile once a host, run tasks, report failures.

A worker imports this module before anything heavy, so that it can still say where numba keeps compiled kernels.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import cloudpickle

from trajstore.errors import ClusterError, TrajstoreError

try:
    import fcntl
except ImportError:  # not a POSIX system: every worker compiles for itself
    fcntl = None  # type: ignore[assignment]

PACKAGES: Final = ("trajstore", "numpy", "numba", "zstandard")
"""What decides the bytes of a store: the same versions on every worker."""

FINAL_NUMBERS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
"""Error numbers of the system that trying again does not change."""

_lock = threading.Lock()


@dataclass(frozen=True)
class Failure:
    """Why a task has failed.

    Attributes
    ----------
    error : Exception
        What it raised, or its text where that cannot be sent.
    is_final : bool
        Whether trying again is pointless.
    """

    error: Exception
    is_final: bool


@dataclass(frozen=True)
class BatchResult:
    """What came of the tasks of a batch.

    Attributes
    ----------
    worker : str
        Host and process, for messages.
    seconds : float
        What the tasks took.
    values : list
        In the order of the tasks: what the function returned, or a `Failure`.
    """

    worker: str
    seconds: float
    values: list[Any]


def list_versions() -> tuple[tuple[str, str], ...]:
    """Which versions this process runs.

    Returns
    -------
    tuple of (package, version)
        In the order of `PACKAGES`.
    """
    return tuple((name, find_version(name)) for name in PACKAGES)


def find_version(package: str) -> str:
    """The installed version of a package.

    Parameters
    ----------
    package : str
        Its name.

    Returns
    -------
    str
        "none" where it is not installed.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


@dataclass(frozen=True)
class Batch:
    """Tasks on their way to a worker: to unpickle a batch is to run it.

    So what Dask is asked to call is ``pickle.loads`` with some bytes. Its scheduler needs none of our modules, and a
    worker that lacks them fails in the task: while it reads its messages, it would lose its connection instead.

    Attributes
    ----------
    versions : tuple of (package, version)
        What the worker must run.
    function : bytes
        The pickled function; opened once per process.
    tasks : list
        The tasks.
    """

    versions: tuple[tuple[str, str], ...]
    function: bytes
    tasks: list[Any]

    def __reduce__(self) -> tuple[Callable[..., bytes], tuple[Any, ...]]:
        return run_batch, (self.versions, self.function, cloudpickle.dumps(self.tasks))


def run_batch(versions: tuple[tuple[str, str], ...], function: bytes, tasks: bytes) -> bytes:
    """Run a function over some tasks in this worker; an exception of a task is a value.

    Parameters
    ----------
    versions, function
        See `Batch`.
    tasks : bytes
        The pickled tasks.

    Returns
    -------
    bytes
        A pickled `BatchResult`, with one value for each task.
    """
    data: bytes = cloudpickle.dumps(_run_batch(versions, function, tasks))
    return data


def _run_batch(versions: tuple[tuple[str, str], ...], function: bytes, tasks: bytes) -> BatchResult:
    """The same, before it is pickled."""
    items = pickle.loads(tasks)
    worker = f"{platform.node()}, process {os.getpid()}"
    try:
        with _lock:
            prepare(versions)
            call = _load(function)
    except Exception as error:  # noqa: BLE001  whatever it is, the client has to know
        return BatchResult(worker, 0.0, [describe_failure(error)] * len(items))
    started = time.perf_counter()
    values = [_call(call, item) for item in items]
    return BatchResult(worker, time.perf_counter() - started, values)


def _call(function: Callable[[Any], Any], task: Any) -> Any:
    """What a function returns, or why it does not."""
    try:
        return function(task)
    except Exception as error:  # noqa: BLE001
        return describe_failure(error)


def describe_failure(error: Exception) -> Failure:
    """An exception in a form that can be sent.

    Parameters
    ----------
    error : Exception
        Any.

    Returns
    -------
    Failure
        With a verdict whether trying again may help.
    """
    is_final = isinstance(error, (TrajstoreError, ImportError, PermissionError)) or (
        isinstance(error, OSError) and error.errno in FINAL_NUMBERS
    )
    try:
        sent = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  some exceptions cannot be pickled, and some not be unpickled
        sent = None
    if type(sent) is not type(error) or str(sent) != str(error):
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.__traceback__ = None
    return Failure(sent, is_final)


@lru_cache(maxsize=8)
def _load(function: bytes) -> Callable[[Any], Any]:
    """The function of some bytes, opened once."""
    loaded: Callable[[Any], Any] = pickle.loads(function)
    return loaded


@lru_cache(maxsize=8)
def prepare(versions: tuple[tuple[str, str], ...]) -> None:
    """Make this process ready for tasks, once: compare versions, then compile, one process of a host at a time.

    Parameters
    ----------
    versions : tuple of (package, version)
        What this process must run.

    Raises
    ------
    ClusterError
        If it runs another version of anything.
    """
    check_versions(versions)
    place_cache()
    from trajstore.store.write import warm_up  # only now: it imports numba

    once_per_host(warm_up, token=repr((versions, sys.version, os.environ.get("NUMBA_CACHE_DIR"), __file__)))


def check_versions(expected: tuple[tuple[str, str], ...]) -> None:
    """Check that this process makes the same bytes as the client.

    Parameters
    ----------
    expected : tuple of (package, version)
        The client's.

    Raises
    ------
    ClusterError
        If a version differs.
    """
    differing = [(name, find_version(name), wanted) for name, wanted in expected]
    faults = [f"{name} {found}, expected {wanted}" for name, found, wanted in differing if found != wanted]
    if faults:
        message = f"found {'; '.join(faults)} as the client has; install the same versions on all workers"
        raise ClusterError(message)


def place_cache() -> None:
    """Give numba a place for compiled kernels where it has none of its own, and one thread; before it is imported."""
    if "numba" in sys.modules:
        return
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    kernels = Path(__file__).parents[1] / "kernels"
    if not os.access(kernels, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(_shared_path("numba")))


def once_per_host(function: Callable[[], object], *, token: str, folder: Path | None = None) -> None:
    """Call a function that fills a cache: alone where no process of this host has done it, side by side afterwards.

    Parameters
    ----------
    function : callable
        Fills the cache, or reads it.
    token : str
        Says which cache; another token begins anew.
    folder : Path, optional
        Where processes meet; the host's folder of temporary files by default.
    """
    with _open_shared(folder) as descriptor:
        if descriptor is None:
            function()
            return
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not _has_token(descriptor, token):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _has_token(descriptor, token):
                function()
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, token.encode(), 0)
                return
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        function()


def _has_token(descriptor: int, token: str) -> bool:
    """Whether a file holds a text."""
    return os.pread(descriptor, 2**16, 0) == token.encode()


@contextlib.contextmanager
def _open_shared(folder: Path | None) -> Iterator[int | None]:
    """A file that all processes of this user and host open; None where there can be none."""
    path = folder / "warm" if folder else _shared_path("warm")
    try:
        if fcntl is None:
            raise OSError
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _shared_path(name: str) -> Path:
    """A path of this user on this host."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"trajstore-{user}-{name}"
