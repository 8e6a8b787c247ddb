"""Building on a Dask cluster: the same bytes, whatever happens to workers; one clear line when it cannot go on."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from support.clusters import is_idle, kill_a_local_worker, start_cluster
from support.faults import (
    assert_flags_are_true,
    assert_same_bytes,
    small_disk,
    wait_until,
)
from support.stores import create_store, plan_build

import trajstore
from trajstore.commands.build import build
from trajstore.commands.extend import extend
from trajstore.errors import ClusterError, MissingExtraError, SpecError
from trajstore.executors import Outcome, options, remote
from trajstore.executors import dask as cluster
from trajstore.executors.dask import ATTEMPTS_MAX, DaskExecutor
from trajstore.executors.local import LocalWorkers
from trajstore.executors.options import check_options
from trajstore.executors.run import RunOptions
from trajstore.progress import Progress
from trajstore.store.fill import fill_store

pytestmark = [
    # what tornado leaves to the collector when a connection is cut in the middle of a message
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

MANY: dict[str, Any] = {
    "samples": 400,
    "frames": 4,
    "height": 16,
    "width": 16,
    "cameras": 2,
    "samples_per_shard": 2,
}
"""200 shards: seconds for two workers."""


@pytest.fixture
def client(workers: LocalWorkers) -> Iterator[Client]:
    """A client of them, when both are there."""
    with Client(workers.address, set_as_default=False) as connected:
        connected.wait_for_workers(2)
        yield connected


@pytest.fixture
def executor(client: Client, monkeypatch: pytest.MonkeyPatch) -> DaskExecutor:
    """An executor on them that is not patient."""
    monkeypatch.setattr(cluster, "PAUSE_SECONDS", 0.001)
    ready = DaskExecutor(client)
    ready.wait_for_workers(10)
    return ready


@pytest.fixture(scope="module")
def many_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What threads make of `MANY`."""
    path = tmp_path_factory.mktemp("many") / "a.zarr"
    build(path, **MANY)
    return path


# ------------------------------------------------------------------------------------------------ same bytes


def test_a_cluster_builds_the_same_bytes_as_threads(
    workers: LocalWorkers, tmp_path: Path, tiny_fields: dict[str, Any], tiny_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)  # the workers have another working folder
    events: list[Progress] = []
    report = build(
        "a.zarr", executor="dask", scheduler=workers.address, progress=events.append, **tiny_fields
    )
    assert_same_bytes(tmp_path / "a.zarr", tiny_store)
    assert (report.new_samples, report.summary.written) == (44, {"labels": 44, "video": 44})
    assert max(event.workers or 0 for event in events) in (1, 2)
    assert events[-1].figures()["workers"].rstrip("s").endswith("worker")


def test_extending_on_a_cluster_is_building_the_larger_store(
    workers: LocalWorkers, tmp_path: Path, tiny_fields: dict[str, Any], tiny_store: Path
) -> None:
    path = tmp_path / "a.zarr"
    build(path, **tiny_fields | {"samples": 20})
    extend(path, 44, executor="dask", scheduler=workers.address)
    assert_same_bytes(path, tiny_store)


# -------------------------------------------------------------------------------------------- single tasks


def test_every_task_has_one_outcome_and_small_ones_travel_together(executor: DaskExecutor) -> None:
    outcomes = list(executor.run(lambda task: (task * task, os.getpid()), range(2000)))
    assert sorted((outcome.task, outcome.value[0]) for outcome in outcomes) == [
        (n, n * n) for n in range(2000)
    ]
    assert executor.bundle_size > 1
    assert list(executor.run(abs, [])) == []


def test_tasks_are_taken_only_as_fast_as_they_finish(executor: DaskExecutor) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    for finished, _ in enumerate(executor.run(lambda _: time.sleep(0.15), tasks()), start=1):
        assert len(taken) <= finished + executor.window * executor.bundle_size + 1
        if finished == 10:
            break


def test_a_slow_worker_holds_up_only_what_it_has(executor: DaskExecutor, client: Client) -> None:
    slow = next(iter(client.run(os.getpid).values()))

    def work(_: int) -> int:
        time.sleep(0.25 if os.getpid() == slow else 0.002)
        return os.getpid()

    outcomes = list(executor.run(work, range(60)))
    assert sorted(outcome.task for outcome in outcomes) == list(range(60))
    assert sum(outcome.value == slow for outcome in outcomes) < 30


def count_calls(folder: Path) -> Callable[[int], int]:
    """A function for workers that counts the calls of each task."""

    def count(task: int) -> int:
        with (folder / str(task)).open("ab") as file:
            file.write(b".")
            return file.tell()

    return count


def test_a_task_that_fails_twice_is_tried_again(executor: DaskExecutor, tmp_path: Path) -> None:
    count = count_calls(tmp_path)

    def fail_twice(task: int) -> int:
        if (calls := count(task)) <= 2 and task == 3:
            raise OSError(errno.EIO, "Input/output error")
        return calls

    outcomes = {outcome.task: outcome for outcome in executor.run(fail_twice, range(6))}
    assert {task: outcome.value for task, outcome in outcomes.items()} == {
        0: 1, 1: 1, 2: 1, 3: 3, 4: 1, 5: 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "attempts", "code"),
    [
        (ValueError("odd"), ATTEMPTS_MAX, 1),
        (PermissionError(errno.EACCES, "Permission denied"), 1, 1),
        (OSError(errno.ENOSPC, "No space left on device"), 1, 3),
        (trajstore.TrajstoreError("no such bucket"), 1, 1),
    ],
)
def test_a_task_that_always_fails_ends_the_run_and_names_the_worker(
    executor: DaskExecutor, tmp_path: Path, error: Exception, attempts: int, code: int
) -> None:
    count = count_calls(tmp_path)

    def fail(task: int) -> int:
        count(task)
        raise error

    (outcome,) = executor.run(fail, [5])
    assert isinstance(outcome.error, ClusterError)
    assert outcome.error.exit_code == code
    assert f"5 failed{f' {attempts} times' if attempts > 1 else ''} on worker " in str(outcome.error)
    assert f"{os.uname().nodename}, process " in str(outcome.error)
    assert (error.args[-1] if error.args else "") in str(outcome.error)
    assert count(5) == attempts + 1


def test_an_error_that_cannot_be_sent_is_sent_as_text(executor: DaskExecutor) -> None:
    def fail(_: int) -> None:
        class OddError(Exception):
            def __init__(self, a: int, b: int) -> None:
                super().__init__(f"{a} and {b}")

        raise OddError(1, 2)

    (outcome,) = executor.run(fail, [1])
    assert "OddError: 1 and 2" in str(outcome.error)


def test_a_request_to_stop_ends_after_the_tasks_in_flight(client: Client) -> None:
    stopping: list[int] = []
    executor = DaskExecutor(client, should_stop=lambda: len(stopping))
    executor.wait_for_workers(10)

    def tasks() -> Iterator[int]:
        for number in range(100):
            if stopping:
                return
            yield number

    finished = []
    for outcome in executor.run(lambda _: time.sleep(0.1), tasks()):
        finished.append(outcome.task)
        stopping.append(2)
    assert sorted(finished) == list(range(len(finished)))
    assert len(finished) <= 2 * executor.window


# ------------------------------------------------------------------------------------- a cluster that changes


def test_a_cluster_that_changes(tmp_path: Path, many_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker, a late one, another that replaces it, and then the scheduler is killed."""
    with start_cluster(tmp_path) as changing, Client(changing.address, set_as_default=False) as client:
        monkeypatch.setattr(cluster, "WORKERS_SECONDS", 0.3)
        path = tmp_path / "a.zarr"
        with pytest.raises(
            ClusterError, match=r"has had no workers for 0\.3 s; start some: dask worker tcp://"
        ):
            build(path, executor="dask", scheduler=changing.address, **MANY)
        assert not path.exists()

        monkeypatch.setattr(cluster, "WORKERS_SECONDS", 60)
        changing.add_worker()
        executor = DaskExecutor(client)
        executor.wait_for_workers(60)  # for one that is only just being started
        (first,) = client.nthreads()
        seen: dict[str, int] = {}

        def work(_: int) -> str:
            from distributed import get_worker

            time.sleep(0.05)
            return str(get_worker().address)

        late, retired, tasks = False, False, []

        def until_both_have_worked() -> Iterator[int]:
            while len(seen) < 2 or seen[second()] < 5:
                tasks.append(len(tasks))
                yield tasks[-1]

        def second() -> str:
            return next(address for address in seen if address != first)

        finished = []
        for outcome in executor.run(work, until_both_have_worked()):
            finished.append(outcome.task)
            seen[str(outcome.value)] = seen.get(str(outcome.value), 0) + 1
            if not late:
                changing.add_worker()
                late = True
            if len(seen) == 2 and not retired:
                client.retire_workers([first])
                retired = True
        assert sorted(finished) == tasks
        wait_until(lambda: executor.look(at_once=True) or executor.workers == 1)
        assert set(seen) == {first, second()}

        monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)

        def kill_scheduler(event: Progress) -> None:
            if event.phase == "video" and event.fresh:
                changing.scheduler.kill()

        with pytest.raises(
            ClusterError, match=r"scheduler tcp://.* was lost .*continue with: trajstore build"
        ) as lost:
            build(path, executor="dask", scheduler=changing.address, progress=kill_scheduler, **MANY)
        assert "are missing" in str(lost.value)
    assert_flags_are_true(path, many_store)
    build(path)
    assert_same_bytes(path, many_store)


# ------------------------------------------------------------------------------------------------- bad workers


@contextmanager
def pretended_versions(client: Client, versions: dict[str, str | None]) -> Iterator[None]:
    """Make the workers say that they have other versions, or None of a package."""

    def pretend(versions: dict[str, str | None]) -> None:
        from distributed import versions as module

        original = module.get_package_info
        module.get_package_info = lambda packages: original(packages) | versions
        module.get_package_info.original = original  # type: ignore[attr-defined]

    def stop_pretending() -> None:
        from distributed import versions as module

        module.get_package_info = module.get_package_info.original  # type: ignore[attr-defined]

    client.run(pretend, versions)
    try:
        yield
    finally:
        client.run(stop_pretending)


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        ({"numpy": "1.26.4"}, f"found numpy 1.26.4, expected {version('numpy')} as the client has"),
        ({"trajstore": None}, f"found trajstore missing, expected {version('trajstore')}"),
    ],
)
def test_workers_that_are_not_like_the_client_are_named_and_nothing_is_created(
    workers: LocalWorkers, client: Client, tmp_path: Path, versions: dict[str, str | None], text: str
) -> None:
    with pretended_versions(client, versions), pytest.raises(ClusterError) as refused:
        build(tmp_path / "a.zarr", executor="dask", scheduler=workers.address)
    assert text in str(refused.value)
    assert str(refused.value).startswith("worker tcp://127.0.0.1:")
    assert "continue" not in str(refused.value)
    assert not (tmp_path / "a.zarr").exists()


def test_a_worker_that_comes_later_compares_its_versions_itself(
    executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "find_versions", lambda: {"numpy": "0.1", "numba": version("numba")})
    outcomes = list(executor.run(lambda task: task, [1]))
    assert f"found numpy {version('numpy')}, expected 0.1 as the client has" in str(outcomes[0].error)


def test_a_worker_that_cannot_import_what_it_is_sent_ends_the_run(executor: DaskExecutor) -> None:
    class Unknown:
        def __reduce__(self) -> Any:
            return __import__, ("a_package_that_is_not_there",)

    def call(_: int, unknown: Any = Unknown()) -> None:  # noqa: B008
        del unknown

    (outcome,) = executor.run(call, [1])
    assert "No module named 'a_package_that_is_not_there'" in str(outcome.error)


def test_a_worker_without_trajstore_is_refused(tmp_path: Path) -> None:
    with (
        start_cluster(tmp_path) as bare,
        Client(bare.address, set_as_default=False) as client,
    ):
        bare.add_worker(setup="import sys; sys.modules['trajstore'] = None")
        executor = DaskExecutor(client)
        executor.wait_for_workers(60)
        (outcome,) = executor.run(abs, [1])
        assert "a worker cannot run 1: ModuleNotFoundError: No module named 'trajstore" in str(outcome.error)
        assert "install the same versions of Python, trajstore" in str(outcome.error)


def test_a_full_disk_ends_the_build_as_with_threads(workers: LocalWorkers, tmp_path: Path) -> None:
    text = r"(labels|video)-\d+ failed on worker .*No space left on device.* are missing; continue with"
    with small_disk(tmp_path / "disk", "size=800k") as disk, pytest.raises(ClusterError, match=text) as full:
        build(disk.folder / "a.zarr", executor="dask", scheduler=workers.address, force=True, **MANY)
    assert full.value.exit_code == 3


def test_a_store_that_workers_do_not_see_is_one_clear_line(
    workers: LocalWorkers, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "a.zarr"

    def hide(event: Progress) -> None:
        if not event.fresh and event.phase == "video" and path.exists():
            path.rename(tmp_path / "elsewhere")

    with pytest.raises(ClusterError, match=r"on worker .*found nothing, expected a trajstore store"):
        build(path, executor="dask", scheduler=workers.address, progress=hide, **MANY)


def test_what_flags_do_not_say_is_built_again_and_not_for_ever(
    tmp_path: Path, tiny_fields: dict[str, Any], tiny_store: Path
) -> None:
    class Forgetful:
        """Says that tasks are done which are not, as often as it is told."""

        workers = 1

        def __init__(self, lies: int) -> None:
            self.lies = lies

        def watch(self) -> None:
            pass

        def in_work(self) -> tuple[()]:
            return ()

        def run(self, function: Callable[[Any], Any], tasks: Any) -> Iterator[Outcome[Any, Any]]:
            for task in tasks:
                if self.lies and task.group == "video":
                    self.lies -= 1
                    yield Outcome(task, value={"video": 1})
                else:
                    yield Outcome(task, value=function(task))

    path = tmp_path / "a.zarr"
    plan = plan_build(path, **tiny_fields)
    store = create_store(path, plan.spec)
    with pytest.raises(ClusterError, match="have written 6 tasks 3 times whose flags are not there"):
        fill_store(store, plan, RunOptions(cluster=Forgetful(18)))  # type: ignore[arg-type]
    fill_store(store, plan, RunOptions(cluster=Forgetful(8)))  # type: ignore[arg-type]
    assert_same_bytes(path, tiny_store)


# ------------------------------------------------------------------------------------------------ bad arguments


@pytest.mark.parametrize(
    ("executor", "scheduler", "workers", "text"),
    [
        ("spark", None, None, "executor: found 'spark', expected one of threads, dask"),
        ("threads", "tcp://a:1", None, "without the executor that uses it; add: --executor dask"),
        ("dask", "tcp://a:1", 2, "found 2 beside the scheduler tcp://a:1, expected one of both"),
        ("dask", None, 0, "workers: found 0, expected at least 1"),
        *(
            ("dask", address, None, f"scheduler: found {address!r}, expected an address such as tcp://host:8786")
            for address in ["", "host", "tcp://host", "tcp://:8786", "http://a:1", "tcp://a:0", "tcp://a:99999", "a:b"]
        ),
    ],
)  # fmt: skip
def test_arguments_that_do_not_go_together_are_refused(
    tmp_path: Path, executor: str, scheduler: str | None, workers: int | None, text: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(text)):
        build(tmp_path / "a.zarr", executor=executor, scheduler=scheduler, workers=workers)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.1:8786", "tls://a.b-c.de:1", "localhost:8786", "tcp://[::1]:65535"]
)
def test_addresses_of_schedulers_are_accepted(address: str) -> None:
    check_options(RunOptions(executor="dask", scheduler=address), "a.zarr")


def test_a_store_in_memory_is_no_place_for_workers() -> None:
    with pytest.raises(SpecError, match=r"memory://a\.zarr: only this process sees it"):
        build("memory://a.zarr", executor="dask")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(options, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install '.[dask]'")):
        build(tmp_path / "a.zarr", executor="dask")


def test_an_unreachable_scheduler_is_one_line_and_nothing_is_created(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cluster.CONNECT_SECONDS < 10
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # says nothing
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ClusterError, match=rf"scheduler {address}: cannot be reached within 0.5 s .*dask scheduler"
        ):
            build(tmp_path / "a.zarr", executor="dask", scheduler=address)
    with pytest.raises(ClusterError, match=rf"scheduler {address}: cannot be reached"):
        build(tmp_path / "a.zarr", executor="dask", scheduler=address)  # now nobody listens
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------- a local cluster, as a user


def find_processes(folder: Path) -> list[psutil.Process]:
    """Processes that run with a folder for temporary files, as all of a command's do."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(folder):
                found.append(process)
    return found


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the processes of a test's commands keep temporary files."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def start_build(path: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start the command on a local cluster."""
    fields = [part for name, value in MANY.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    program = "from trajstore.cli import main; main()"  # no guard against being imported by a child
    return subprocess.Popen(
        [sys.executable, "-c", program, "build", str(path), "--executor", "dask", *fields, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
    )


def find_listeners(folder: Path) -> set[str]:
    """Addresses at which the processes of a command, which `find_processes` finds, wait for connections."""
    addresses = set()
    for process in find_processes(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = process.net_connections(kind="inet")
            addresses |= {link.laddr.ip for link in connections if link.status == psutil.CONN_LISTEN}
    return addresses


def test_nobody_reaches_a_local_cluster_from_another_machine(own_folder: Path, tmp_path: Path) -> None:
    """A scheduler runs whatever it is sent: each of its processes listens on this machine's own address alone."""
    path = tmp_path / "a.zarr"
    command = start_build(path, own_folder, "--workers", "2")
    try:
        wait_until(lambda: (path / "video_written/c.3").exists())
        assert len(find_processes(own_folder)) >= 4
        assert find_listeners(own_folder) == {"127.0.0.1"}
    finally:
        command.terminate()
        command.communicate(timeout=60)


def test_a_local_cluster_says_nothing_of_its_own_and_leaves_nothing(
    own_folder: Path, tmp_path: Path, many_store: Path
) -> None:
    path = tmp_path / "a.zarr"
    out, err = start_build(path, own_folder, "--workers", "1").communicate(timeout=120)
    assert all(re.match(r"(labels|video): [\d,]+ of 400 samples \(", line) for line in err.splitlines()), err
    assert err.rstrip().endswith(", 1 worker")
    assert out.startswith(f"{path}: complete, 400 samples")
    assert_same_bytes(path, many_store)
    assert not find_processes(own_folder)
    assert not [entry for entry in own_folder.iterdir() if entry.name.startswith("trajstore-dask")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_command_that_is_ended_leaves_no_workers(
    own_folder: Path, tmp_path: Path, many_store: Path, number: int, code: int
) -> None:
    path = tmp_path / "a.zarr"
    command = start_build(path, own_folder, "--workers", "1")
    wait_until(lambda: (path / "video_written/c.3").exists())
    assert len(find_processes(own_folder)) >= 3
    command.send_signal(number)
    _, err = command.communicate(timeout=60)
    assert command.returncode == code
    if code > 0:
        assert "are missing; continue with: trajstore build" in err.splitlines()[-1]
        assert not find_processes(own_folder)
    wait_until(lambda: not find_processes(own_folder))
    assert_flags_are_true(path, many_store)


def test_local_workers_that_cannot_be_started_or_have_ended_are_one_clear_line(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_all(event: Progress) -> None:
        if event.phase == "video" and event.fresh:
            for process in find_processes(own_folder):
                process.kill()

    with pytest.raises(ClusterError, match=r"the local workers have ended \(exit code -9.*continue with"):
        build(tmp_path / "a.zarr", executor="dask", workers=1, progress=kill_all, **MANY)
    wait_until(lambda: not find_processes(own_folder))
    monkeypatch.setenv("DASK_DISTRIBUTED__NANNY__PRELOAD", "a_module_that_is_not_there")
    with pytest.raises(ClusterError, match=r"cannot be started \(exit code 1: .*a_module_that_is_not_there"):
        build(tmp_path / "b.zarr", executor="dask", workers=1, **MANY)
    assert not (tmp_path / "b.zarr").exists()


# ------------------------------------------------------------------------------------------- what ends workers


def test_a_task_that_ends_every_worker_is_given_up(
    executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "DEATHS_MAX", 4)

    def die(task: int) -> int:
        if task == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    outcomes = {outcome.task: outcome for outcome in executor.run(die, range(3))}
    assert "4 workers ended while they ran 1, the last was tcp://127.0.0.1:" in str(outcomes.pop(1).error)
    assert all(outcome.error is None for outcome in outcomes.values())


def test_what_has_arrived_is_not_run_again_when_its_worker_ends(
    executor: DaskExecutor, client: Client, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"

    def work(_: int) -> int:
        with ran.open("a") as file:
            file.write("once ")
        return os.getpid()

    outcomes = executor.run(work, [1])
    process = next(outcomes).value
    wait_until(lambda: not any(client.has_what().values()), seconds=10)  # nothing is held for us
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: is_idle(client))
    assert list(outcomes) == []
    assert ran.read_text() == "once "


def test_workers_killed_at_random_cost_nothing_but_time(
    workers: LocalWorkers, client: Client, tmp_path: Path, many_store: Path
) -> None:
    rng, kills = random.Random(7), [20, 80, 160]
    timers: list[threading.Timer] = []

    def kill_now_and_then(event: Progress) -> None:
        if event.phase == "video" and kills and event.fresh >= kills[0]:
            del kills[0]
            timers.append(threading.Timer(rng.uniform(0, 0.2), kill_a_local_worker, [rng]))
            timers[-1].start()

    path = tmp_path / "a.zarr"
    report = build(path, executor="dask", scheduler=workers.address, progress=kill_now_and_then, **MANY)
    assert not kills
    assert report.summary.is_complete
    for timer in timers:
        timer.join()
    # a result that is lost on its way is made again, and who lives may be about it when the build is complete
    wait_until(lambda: is_idle(client))
    trajstore.build(path)  # sweeps what killed workers have left
    assert_same_bytes(path, many_store)
