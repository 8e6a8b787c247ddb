"""What workers do before and after tasks, without a cluster."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.stores import create_store

from trajstore.errors import ClusterError, NotEnoughSpaceError
from trajstore.executors.remote import (
    Batch,
    BatchResult,
    Failure,
    check_versions,
    describe_failure,
    list_versions,
    once_per_host,
)
from trajstore.spec import DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.store.write import WriteTask


def test_only_the_first_process_of_a_host_compiles_and_nobody_overtakes_it(tmp_path: Path) -> None:
    alone, running, most, calls = [True], 0, 0, 0
    lock, side_by_side = threading.Lock(), threading.Barrier(3, timeout=60)

    def compile_or_load() -> None:
        nonlocal running, most, calls
        with lock:
            calls += 1
            is_first = calls == 1
            running += 1
            alone[0] &= is_first or not compiling.is_set()
        if is_first:
            compiling.set()
            threading.Event().wait(0.05)
            compiling.clear()
        else:
            side_by_side.wait()  # the others load at the same time
        with lock:
            running -= 1

    compiling = threading.Event()
    threads = [
        threading.Thread(target=once_per_host, args=(compile_or_load,), kwargs={"token": "a", "folder": tmp_path})
        for _ in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (calls, alone) == (4, [True])


def test_where_processes_cannot_meet_each_compiles_for_itself(tmp_path: Path) -> None:
    calls: list[int] = []
    once_per_host(lambda: calls.append(1), token="a", folder=tmp_path / "missing")
    assert calls == [1]


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (TimeoutError("slow"), False),
        (NotEnoughSpaceError("full"), True),
        (ClusterError("other version", exit_code=4), True),
        (ModuleNotFoundError("No module named 'x'"), True),
        (ValueError("odd"), False),
    ],
)
def test_failures_keep_their_error_on_the_way(error: Exception, is_final: bool) -> None:
    failure: Failure = pickle.loads(pickle.dumps(describe_failure(error)))
    assert (type(failure.error), str(failure.error)) == (type(error), str(error))
    assert vars(failure.error) == vars(error)
    assert failure.is_final is is_final


def test_every_version_that_differs_is_named() -> None:
    check_versions(list_versions())
    with pytest.raises(
        ClusterError, match=r"numpy .*, expected 0\.1; nothing none, expected 1 as the client has"
    ):
        check_versions((("numpy", "0.1"), ("nothing", "1")))


def test_unpickling_a_batch_is_running_it_and_what_is_sent_is_small(tmp_path: Path) -> None:
    store = create_store(
        tmp_path / "a.zarr", DatasetSpec.from_fields(samples=40, samples_per_shard=8, frames=2)
    )
    tasks = list(plan_layout(store.spec).group("video").tasks())
    function = pickle.dumps(WriteTask(store, threading.Semaphore(2)))
    sent = pickle.dumps(Batch(list_versions(), function, tasks[:2]))
    assert len(sent) < 1500
    assert not store.is_written(store.layout.group("video")).any()
    result = pickle.loads(pickle.loads(sent))
    assert isinstance(result, BatchResult)
    assert [isinstance(value, int) for value in result.values] == [True, True]
    assert store.is_written(store.layout.group("video")).tolist() == [True, True, False, False, False]


def test_numba_has_one_thread_and_a_place_for_what_it_compiles_before_it_is_imported(tmp_path: Path) -> None:
    program = """
import os, sys
from trajstore.executors import remote
assert not {"numba", "zarr", "numpy"} & set(sys.modules)
remote.os.access = lambda *_: False
remote.place_cache()
print(os.environ["NUMBA_NUM_THREADS"], os.environ["NUMBA_CACHE_DIR"])
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"TMPDIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["1", str(tmp_path / f"trajstore-{os.getuid()}-numba")]
