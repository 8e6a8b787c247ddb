"""What a worker does: check that it is the right one, make a function ready, run tasks, report failures."""

from __future__ import annotations

import errno
import os
import pickle
import platform
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cloudpickle
from distributed.versions import get_versions

from trajstore.errors import ClusterError, TrajstoreError

PACKAGES: Final = ("trajstore", "numpy", "numba", "zstandard")
"""Their versions decide the bytes of a store; a function may name more as its ``packages``."""

FINAL_NUMBERS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}  # will not pass

_lock = threading.Lock()


@dataclass(frozen=True)
class Failure:
    """What a task has raised, in a form that can be sent, where, and whether trying again is pointless."""

    error: Exception
    is_final: bool
    worker: str


@dataclass(frozen=True)
class Bundle:
    """Tasks on their way to a worker, with what `pack_function` made: to unpickle a bundle is to run it.

    So what Dask is asked to call is ``pickle.loads`` with some bytes. Its scheduler needs none of our modules, and a
    worker that lacks them fails in the task: while it reads its messages, it would lose its connection instead.
    """

    function: bytes
    tasks: list[Any]

    def __reduce__(self) -> tuple[Callable[..., bytes], tuple[bytes, bytes]]:
        return run_bundle, (self.function, cloudpickle.dumps(self.tasks))


def pack_function(function: Callable[[Any], Any]) -> bytes:
    """Pickle a function for one run, and with it the versions that its workers must have."""
    versions = find_versions(*getattr(function, "packages", ()))
    # other bytes in each run: whether it sees the right store a worker looks anew, and what it had opened may be old
    return pickle.dumps((versions, cloudpickle.dumps(function), uuid.uuid4().bytes))


def run_bundle(function: bytes, tasks: bytes) -> bytes:
    """Run a function over tasks; pickle the seconds that they took, and for each what it returned or its `Failure`."""
    started, values = time.perf_counter(), []
    for task in pickle.loads(tasks):
        try:
            with _lock:
                call = _make_ready(function)
            values.append(call(task))
        except Exception as error:  # noqa: BLE001  whatever it is, the client has to know
            values.append(make_failure(error))
    return bytes(cloudpickle.dumps((time.perf_counter() - started, values)))


@lru_cache(maxsize=2)  # an export keeps label chunks in memory
def _make_ready(function: bytes) -> Callable[[Any], Any]:
    """Unpickle a function and call its method `prepare`, if it has one; once in each process and run."""
    expected, inner, _ = pickle.loads(function)
    check_versions(find_versions(*expected), expected)  # before anything else is imported
    loaded: Callable[[Any], Any] = pickle.loads(inner)
    if prepare := getattr(loaded, "prepare", None):
        prepare()
    return loaded


def find_versions(*more: str) -> dict[str, str | None]:
    """The version of each of `PACKAGES`, and of more, in this process; None where it is not installed."""
    packages = (*PACKAGES, *more)
    found = get_versions(packages)["packages"]
    return {package: found[package] for package in packages}


def check_versions(found: dict[str, Any], expected: dict[str, Any], where: str = "") -> None:
    """Refuse a worker that has other versions of packages than the client, and name each."""
    differing = [name for name, version in expected.items() if found.get(name) != version]
    if differing:
        faults = [f"{name} {found.get(name) or 'missing'}, expected {expected[name]}" for name in differing]
        message = f"{where}found {'; '.join(faults)} as the client has; install the same on all workers"
        raise ClusterError(message)


def make_failure(error: Exception) -> Failure:
    """Turn an exception into what can be sent: as it is, or its text where it would not arrive as it is."""
    is_final = isinstance(error, (TrajstoreError, ImportError, PermissionError)) or (
        isinstance(error, OSError) and error.errno in FINAL_NUMBERS
    )
    sent: Exception = RuntimeError(f"{type(error).__name__}: {error}")
    with suppress(Exception):  # some cannot be pickled, some not be unpickled, and some change on the way
        copy = pickle.loads(pickle.dumps(error))
        sent = copy if (type(copy), str(copy)) == (type(error), str(error)) else sent
    return Failure(sent, is_final, f"{platform.node()}, process {os.getpid()}")
