"""Everything that breaks things for tests: kills at a moment or at a step, full disks, damaged files.

Commands run in processes of their own, forked from one that has imported everything, so that a test can afford dozens.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from trajstore.attributes import NAMESPACE
from trajstore.store import open_store


@dataclass(frozen=True)
class KillAt:
    """The step at which a process kills itself with SIGKILL.

    Attributes
    ----------
    key : str
        Glob pattern of the end of the path that is being published, such as ``video/c.*``.
    moment : {'before', 'renaming', 'after'}
        Before anything is written, between the temporary file and its rename, or when the file is there.
    count : int
        At the how manieth such file.
    """

    key: str
    moment: Literal["before", "renaming", "after"] = "before"
    count: int = 1


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes
    ----------
    code : int
        Exit code, or minus the number of the signal that ended it.
    out, err : str
        What it printed.
    """

    code: int
    out: str
    err: str


class Command:
    """A running command; see `start`."""

    def __init__(self, process: BaseProcess, out: Path, err: Path) -> None:
        self._process, self._out, self._err = process, out, err

    @property
    def err(self) -> str:
        """What it has printed on standard error so far."""
        return self._err.read_text()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def send(self, number: int) -> None:
        """Send a signal; nothing happens if the command has ended."""
        if self._process.is_alive() and self._process.pid:
            os.kill(self._process.pid, number)

    def kill(self) -> Result:
        """Send SIGKILL and wait."""
        self._process.kill()
        return self.wait()

    def wait(self, seconds: float | None = 120.0) -> Result:
        """Wait for the end; a command that does not end is killed and fails the test."""
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            message = f"the command did not end within {seconds} s: {self.err}"
            raise AssertionError(message)
        return Result(self._process.exitcode or 0, self._out.read_text(), self._err.read_text())

    def runs_for(self, seconds: float) -> bool:
        """Wait at most so long; whether it is running then."""
        self._process.join(seconds)
        return self._process.is_alive()


def start(*arguments: object, kill: KillAt | None = None, folder: Path | None = None) -> Command:
    """Start a ``trajstore`` command in a process of its own.

    Parameters
    ----------
    *arguments
        Of the command line.
    kill : KillAt, optional
        The step at which it kills itself.
    folder : Path, optional
        Its working folder.

    Returns
    -------
    Command
        The running command.
    """
    target = Path(tempfile.mkdtemp(prefix="trajstore-command-"))
    out, err = target / "out", target / "err"
    process = _context().Process(target=_run, args=([str(a) for a in arguments], kill, folder, out, err))
    for path in (out, err):
        path.touch()
    process.start()
    return Command(process, out, err)


def run(*arguments: object, kill: KillAt | None = None, folder: Path | None = None) -> Result:
    """Run a ``trajstore`` command in a process of its own; see `start`."""
    return start(*arguments, kill=kill, folder=folder).wait()


def _context() -> Any:
    """The forking server, which is started by its first use."""
    context = multiprocessing.get_context("forkserver")
    # the server of Python 3.11 does not know this process's sys.path
    os.environ["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys([str(Path(__file__).parent), *filter(None, sys.path)])
    )
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # it must have a single thread when it forks
    context.set_forkserver_preload(["preloaded"])
    return context


def _run(arguments: list[str], kill: KillAt | None, folder: Path | None, out: Path, err: Path) -> None:
    """In the new process: run the command line."""
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    if folder is not None:
        os.chdir(folder)
    if kill is not None:
        _install(kill)
    from trajstore.cli import main

    sys.argv = ["trajstore", *arguments]
    main()


def _install(kill: KillAt) -> None:
    """Replace the one function that writes files by one that dies at a step."""
    from trajstore import durable

    publish = durable.publish
    numbers, lock = count(1), threading.Lock()

    def die(*_: object, **__: object) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def publish_or_die(path: Path, data: bytes, *, exclusive: bool = False) -> None:
        with lock:
            is_hit = fnmatch(path.as_posix(), f"*/{kill.key}") and next(numbers) == kill.count
        if is_hit and kill.moment == "before":
            die()
        if is_hit and kill.moment == "renaming":
            Path.replace = Path.hardlink_to = die  # type: ignore[assignment, method-assign]
        publish(path, data, exclusive=exclusive)
        if is_hit:
            die()

    for module in list(sys.modules.values()):
        if getattr(module, "publish", None) is publish:
            module.publish = publish_or_die  # type: ignore[attr-defined]


@dataclass(frozen=True)
class SmallDisk:
    """A filesystem in memory with a size limit.

    Attributes
    ----------
    folder : Path
        Where it is mounted.
    """

    folder: Path

    def change(self, options: str) -> None:
        """Mount it anew with other options, such as ``size=10m`` or ``ro``."""
        _mount("-o", f"remount,{options}", str(self.folder))


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[SmallDisk]:
    """Mount a tmpfs for as long as the context lasts; fails where that is not possible, as without root.

    Parameters
    ----------
    folder : Path
        Where; made if it is missing.
    options : str
        Such as ``size=200k`` or ``size=1m,nr_inodes=20``.

    Yields
    ------
    SmallDisk
        The filesystem.
    """
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    """Mount, or say why not."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"mount {' '.join(arguments)}: {done.stderr.strip()}; these tests need root"
        raise AssertionError(message)


def fill_disk(folder: Path, *, leave: int = 0) -> Path:
    """Fill a filesystem with one file.

    Parameters
    ----------
    folder : Path
        Where on it.
    leave : int
        Bytes that stay free.

    Returns
    -------
    Path
        The file; remove it to have room again.
    """
    ballast = folder / "ballast"
    status = os.statvfs(folder)
    os.posix_fallocate(os.open(ballast, os.O_CREAT | os.O_WRONLY), 0, status.f_bavail * status.f_frsize - leave)
    return ballast


def flip_bit(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file; a negative offset counts from the end."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def truncate(path: Path, size: int) -> None:
    """Cut a file to a size; 0 makes it empty."""
    os.truncate(path, size)


def swap(first: Path, second: Path) -> None:
    """Exchange the content of two files."""
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])


def tree(folder: Path) -> dict[str, bytes | None]:
    """All there is below a folder, or the content of a file, to see whether anything was written or changed.

    Returns
    -------
    dict
        From relative path to content; None for folders.
    """
    paths = [folder, *sorted(folder.rglob("*"))]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in paths
        if os.path.lexists(path)
    }


def tree_bytes(store: Path) -> dict[str, bytes]:
    """The content of every object of a store, without the history, which says when it was built.

    Returns
    -------
    dict
        From key to bytes.
    """
    objects = {key: data for key, data in tree(store).items() if data is not None}
    root = json.loads(objects["zarr.json"])
    del root["attributes"][NAMESPACE]["history"]
    return objects | {"zarr.json": json.dumps(root).encode()}


def assert_same_bytes(store: Path, reference: Path) -> None:
    """Fail, naming the objects, unless two stores have the same bytes, history aside."""
    found, expected = tree_bytes(store), tree_bytes(reference)
    differing = {key for key in found.keys() & expected.keys() if found[key] != expected[key]}
    assert (found.keys() - expected.keys(), expected.keys() - found.keys(), differing) == (set(), set(), set())


def assert_flags_are_true(store: Path, reference: Path) -> int:
    """Fail unless all that a store's flags promise is there, byte for byte as in a reference.

    Returns
    -------
    int
        How many flags are set.
    """
    handle = open_store(store)
    promised = [
        column.key(int(index))
        for group in handle.layout.groups
        for index in np.flatnonzero(handle.is_written(group))
        for column in (*group.columns, group.flags)
    ]
    for key in promised:
        assert (store / key).read_bytes() == (reference / key).read_bytes(), key
    return sum(1 for key in promised if "_written/" in key)


def wait_until(condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Poll until a condition holds; fail if it never does."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    message = "the condition never held"
    raise AssertionError(message)
