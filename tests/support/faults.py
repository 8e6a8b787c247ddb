"""Everything that breaks things for tests: kills at a moment or at a step, full disks, damaged files.

Commands run in processes of their own, forked from one that has imported everything, so that a test can afford dozens.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count, takewhile
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from support.stores import open_store
from trajstore.store.attributes import NAMESPACE
from trajstore.store.layout import plan_layout
from trajstore.store.shard import append_checksum
from trajstore.store.write import make_files


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
        weakref.finalize(self, shutil.rmtree, out.parent, ignore_errors=True)

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

    def wait_for_stall(self) -> Command:
        """Wait until it stands still, as it was told to."""
        wait_until(lambda: "stalled" in self.err)
        return self

    def resume(self) -> Command:
        """Let it go on where it stands still."""
        self._err.with_name("go").touch()
        return self

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


def start(
    *arguments: object, kill: KillAt | None = None, stall: str | None = None, folder: Path | None = None
) -> Command:
    """Start a ``trajstore`` command in a process of its own.

    Parameters
    ----------
    *arguments
        Of the command line.
    kill : KillAt, optional
        The step at which it kills itself.
    stall : str, optional
        Glob pattern like that of `KillAt`: where such a file is to be published or removed, it says "stalled" on
        standard error and stands still until `Command.resume`.
    folder : Path, optional
        Its working folder.

    Returns
    -------
    Command
        The running command.
    """
    target = Path(tempfile.mkdtemp(prefix="trajstore-command-"))
    out, err = target / "out", target / "err"
    process = _context().Process(
        target=_run, args=([str(a) for a in arguments], kill, stall, folder, out, err)
    )
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
        dict.fromkeys([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    )
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # it must have a single thread when it forks
    context.set_forkserver_preload(["support.preloaded"])
    return context


def _run(
    arguments: list[str], kill: KillAt | None, stall: str | None, folder: Path | None, out: Path, err: Path
) -> None:
    """In the new process: run the command line."""
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    if folder is not None:
        os.chdir(folder)
    if kill is not None:
        _kill_at(kill)
    if stall is not None:
        _stall_at(stall, err.with_name("go"))
    from trajstore.cli import main

    sys.argv = ["trajstore", *arguments]
    main()


def _kill_at(kill: KillAt) -> None:
    """Die at a step of writing a file."""
    from trajstore.storage import durable

    publish = durable.publish
    numbers, lock = count(1), threading.Lock()

    def die(*_: object, **__: object) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def publish_or_die(path: Path, data: bytes, **options: Any) -> None:
        with lock:
            is_hit = _matches(path, kill.key) and next(numbers) == kill.count
        if is_hit and kill.moment == "before":
            die()
        if is_hit and kill.moment == "renaming":
            Path.replace = Path.hardlink_to = die  # type: ignore[assignment, method-assign]
        publish(path, data, **options)
        if is_hit:
            die()

    _replace("publish", publish_or_die)

    remove = durable.remove

    def remove_or_die(path: Path, **options: Any) -> None:
        with lock:
            is_hit = _matches(path, kill.key) and next(numbers) == kill.count
        if is_hit and kill.moment == "before":
            die()
        remove(path, **options)
        if is_hit:
            die()

    _replace("remove", remove_or_die)


def _stall_at(key: str, go: Path) -> None:
    """Stand still before certain files are changed, until a file is there."""
    from trajstore.storage import durable

    def stalling(change: Callable[..., None]) -> Callable[..., None]:
        def change_or_stall(path: Path, *arguments: Any, **options: Any) -> None:
            if _matches(path, key) and not go.exists():
                os.write(2, b"stalled\n")
                wait_until(go.exists, seconds=600.0)
            change(path, *arguments, **options)

        return change_or_stall

    for name in ("publish", "remove"):
        _replace(name, stalling(getattr(durable, name)))


def _matches(path: Path, key: str) -> bool:
    """Whether a path ends in what a pattern describes."""
    return fnmatch(path.as_posix(), f"*/{key}")


def _replace(name: str, replacement: Callable[..., None]) -> None:
    """Replace one of the functions that change files, wherever it has been imported to."""
    from trajstore.storage import durable

    original = getattr(durable, name)
    for module in list(sys.modules.values()):
        if getattr(module, name, None) is original:
            setattr(module, name, replacement)


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
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - leave)
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


@dataclass(frozen=True)
class Planted:
    """What a fault has done to a store.

    Attributes
    ----------
    keys : set of str
        The objects that a verification must name.
    kinds : set of str
        What it may call them.
    """

    keys: set[str]
    kinds: set[str]


Plant = Callable[[Path, random.Random], Planted]
"""Damages a finished store of six shards, the last one half full, somewhere."""


def _lose(choose: Callable[[Path, random.Random], str], kind: str = "missing") -> Plant:
    """Remove an object."""

    def plant(store: Path, rng: random.Random) -> Planted:
        key = choose(store, rng)
        (store / key).unlink()
        return Planted({key}, {kind})

    return plant


def _empty(choose: Callable[[Path, random.Random], str]) -> Plant:
    """Leave an object without a byte, as some filesystems do after a power cut."""

    def plant(store: Path, rng: random.Random) -> Planted:
        key = choose(store, rng)
        truncate(store / key, 0)
        return Planted({key}, {"truncated"})

    return plant


def _tear(choose: Callable[[Path, random.Random], str]) -> Plant:
    """Cut an object anywhere."""

    def plant(store: Path, rng: random.Random) -> Planted:
        key = choose(store, rng)
        truncate(store / key, rng.randrange(1, (store / key).stat().st_size))
        return Planted({key}, {"truncated"})

    return plant


def _flip(choose: Callable[[Path, random.Random], str], *kinds: str, tail: int | None = None) -> Plant:
    """Flip a bit anywhere, or of the last bytes, or of all others."""

    def plant(store: Path, rng: random.Random) -> Planted:
        key = choose(store, rng)
        size = (store / key).stat().st_size
        first, last = (0, size) if tail is None else (size - tail, size) if tail > 0 else (0, size + tail)
        flip_bit(store / key, rng.randrange(first, last), rng.randrange(8))
        return Planted({key}, set(kinds))

    return plant


def _shard(_: Path, rng: random.Random) -> str:
    return f"video/c.{rng.randrange(6)}.0.0.0.0.0"


def _label_chunk(store: Path, rng: random.Random) -> str:
    columns = open_store(store).layout.group("labels").columns
    return rng.choice([column.key(0) for column in columns])


def _flag(_: Path, rng: random.Random) -> str:
    return rng.choice(["labels_written/c.0", *(f"video_written/c.{index}" for index in range(6))])


def _array_metadata(store: Path, rng: random.Random) -> str:
    return rng.choice([f"{column.name}/zarr.json" for column in open_store(store).layout.columns])


def _static(_: Path, rng: random.Random) -> str:
    return rng.choice(["intrinsics/c.0.0.0", "extrinsics/c.0.0.0"])


def _swap_shards(store: Path, rng: random.Random) -> Planted:
    """Exchange two shards."""
    first, second = (f"video/c.{index}.0.0.0.0.0" for index in rng.sample(range(6), 2))
    swap(store / first, store / second)
    return Planted({first, second}, {"different"})


def _exchange_content(store: Path, rng: random.Random) -> Planted:
    """Put the valid bytes of other rows in the place of a shard or of a label chunk."""
    handle = open_store(store)
    group = rng.choice(handle.layout.groups)
    task = group.task(rng.randrange(len(group)))
    other = handle.spec.replace(seed=handle.spec.dataset.seed + 1)
    key, data = rng.choice(make_files(other, group, task))
    (store / key).write_bytes(data)
    return Planted({key}, {"different"})


def _shorten(store: Path, rng: random.Random) -> Planted:
    """Put a shard of a smaller dataset in its place."""
    handle = open_store(store)
    smaller = handle.spec.replace(samples=41 + rng.randrange(3))
    (group,) = (group for group in plan_layout(smaller).groups if group.name == "video")
    ((key, data),) = make_files(smaller, group, group.task(5))
    (store / key).write_bytes(data)
    return Planted({key}, {"different"})


def _grow_tail(store: Path, rng: random.Random) -> Planted:
    """Append bytes to a shard."""
    key = _shard(store, rng)
    with (store / key).open("ab") as file:
        file.write(rng.randbytes(rng.randrange(1, 100)))
    return Planted({key}, {"corrupt"})


def _write_false(store: Path, rng: random.Random) -> Planted:
    """Set a flag back as zarr would."""
    key = _flag(store, rng)
    (store / key).write_bytes(append_checksum(b"\x00"))
    return Planted({key}, {"unflagged"})


def _lose_flag_array(store: Path, rng: random.Random) -> Planted:
    """Remove all flags of a group."""
    flags = sorted((store / rng.choice(["labels_written", "video_written"])).glob("c.*"))
    for path in flags:
        path.unlink()
    return Planted({path.relative_to(store).as_posix() for path in flags}, {"unflagged"})


def _lose_task(store: Path, rng: random.Random) -> Planted:
    """Remove a shard and its flag."""
    index = rng.randrange(6)
    keys = {f"video/c.{index}.0.0.0.0.0", f"video_written/c.{index}"}
    for key in keys:
        (store / key).unlink()
    return Planted(keys, {"missing"})


def _damage_root(store: Path, rng: random.Random) -> Planted:
    """Change a character of the metadata of arrays that the root repeats."""
    path = store / "zarr.json"
    text = path.read_text()
    at = rng.choice(
        [m.end() for m in re.finditer(r'"(shape|long_name|name|data_type|units)": "?\[?\s*', text)]
    )
    path.write_text(text[:at] + ("7" if text[at] != "7" else "8") + text[at + 1 :])
    return Planted({"zarr.json"}, {"different"})


def _damage_fingerprint(store: Path, rng: random.Random) -> Planted:
    """Change a digit of the fingerprint."""
    path = store / "zarr.json"
    text = path.read_text()
    at = text.index('"fingerprint": "') + len('"fingerprint": "') + rng.randrange(64)
    path.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])
    return Planted({"zarr.json"}, {"different"})


def _damage_size(store: Path, rng: random.Random) -> Planted:
    """Change a number of the spec that the fingerprint does not cover."""
    path = store / "zarr.json"
    root = json.loads(path.read_text())
    spec = root["attributes"][NAMESPACE]["spec"]
    section, name = rng.choice(
        [("dataset", "samples"), ("storage", "samples_per_shard"), ("storage", "compression_level")]
    )
    spec[section][name] += rng.choice([1, 2, 4, 8])
    path.write_text(json.dumps(root, indent=2))
    return Planted({"zarr.json"}, {"different"})


FAULTS: dict[str, Plant] = {
    "shard lost": _lose(_shard),
    "shard of zero length": _empty(_shard),
    "shard torn": _tear(_shard),
    "bit flipped in shard data": _flip(_shard, "corrupt", tail=-132),
    "bit flipped in shard index": _flip(_shard, "corrupt", tail=132),
    "bytes after a shard": _grow_tail,
    "shards swapped": _swap_shards,
    "rows of another dataset": _exchange_content,
    "shard of a smaller dataset": _shorten,
    "label chunk lost": _lose(_label_chunk),
    "label chunk of zero length": _empty(_label_chunk),
    "label chunk torn": _tear(_label_chunk),
    "bit flipped in label chunk": _flip(_label_chunk, "corrupt"),
    "flag lost": _lose(_flag, "unflagged"),
    "flag of zero length": _empty(_flag),
    "flag torn": _tear(_flag),
    "bit flipped in flag": _flip(_flag, "corrupt"),
    "flag set to false": _write_false,
    "all flags lost": _lose_flag_array,
    "shard and flag lost": _lose_task,
    "zarr.json of an array lost": _lose(_array_metadata),
    "zarr.json of an array of zero length": _empty(_array_metadata),
    "zarr.json of an array torn": _tear(_array_metadata),
    "bit flipped in zarr.json of an array": _flip(_array_metadata, "corrupt", "different"),
    "cameras lost": _lose(_static),
    "cameras torn": _tear(_static),
    "bit flipped in cameras": _flip(_static, "corrupt"),
    "root: metadata of an array changed": _damage_root,
    "root: fingerprint changed": _damage_fingerprint,
    "root: size changed": _damage_size,
}
"""Every fault that verification names object by object and repair mends without help."""


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
    """Fail, naming the objects and how they differ, unless two stores have the same bytes, history aside."""
    found, expected = tree_bytes(store), tree_bytes(reference)
    differing = {
        key: _compare(found.get(key), expected.get(key))
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    }
    assert not differing


def _compare(found: bytes | None, expected: bytes | None) -> str:
    """How an object differs from what it should be."""
    if found is None or expected is None:
        return f"found {_size(found)}, expected {_size(expected)}"
    at = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(found, expected, strict=False)))
    return f"found {_size(found)}, expected {_size(expected)}, the first that differs is {at}"


def _size(data: bytes | None) -> str:
    """Bytes of an object."""
    return "nothing" if data is None else f"{len(data)} bytes"


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
