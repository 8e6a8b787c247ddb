"""What workers do before and after tasks, without a cluster."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.stores import create_store

from trajstore.errors import ClusterError, NotEnoughSpaceError
from trajstore.executors.remote import (
    Bundle,
    Failure,
    check_versions,
    find_versions,
    make_failure,
    pack_function,
    run_bundle,
)
from trajstore.spec import DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.store.write import WriteTask


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
    failure: Failure = pickle.loads(pickle.dumps(make_failure(error)))
    assert (type(failure.error), str(failure.error)) == (type(error), str(error))
    assert vars(failure.error) == vars(error)
    assert failure.is_final is is_final


def test_every_version_that_differs_is_named() -> None:
    check_versions(find_versions(), find_versions())
    text = r"found numpy .*, expected 0\.1; nothing missing, expected 1 as the client has"
    with pytest.raises(ClusterError, match=text):
        check_versions(find_versions(), {"numpy": "0.1", "nothing": "1"})


def test_unpickling_a_bundle_is_running_it_and_what_is_sent_is_small(tmp_path: Path) -> None:
    store = create_store(
        tmp_path / "a.zarr", DatasetSpec.from_fields(samples=40, samples_per_shard=8, frames=2)
    )
    tasks = list(plan_layout(store.spec).group("video").tasks())
    sent = pickle.dumps(Bundle(pack_function(WriteTask(store, threading.Semaphore(2))), tasks[:2]))
    assert len(sent) < 1500
    assert not store.is_written(store.layout.group("video")).any()
    seconds, values = pickle.loads(pickle.loads(sent))
    assert seconds > 0
    assert [value.keys() for value in values] == [{"video"}, {"video"}]
    assert store.is_written(store.layout.group("video")).tolist() == [True, True, False, False, False]


class Negative:
    """A function that notes what happens to it."""

    calls: ClassVar[list[object]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return open_negative, ()

    def prepare(self) -> None:
        self.calls.append("prepared")

    def __call__(self, task: int) -> int:
        self.calls.append(task)
        return -task


def open_negative() -> Negative:
    Negative.calls.append("opened")
    return Negative()


def test_a_function_is_made_ready_once_and_before_its_first_task() -> None:
    function = pack_function(Negative())
    for tasks in ([1, 2], [3]):
        _, values = pickle.loads(run_bundle(function, pickle.dumps(tasks)))
        assert values == [-task for task in tasks]
    assert Negative.calls == ["opened", "prepared", 1, 2, 3]


def test_a_function_names_more_packages_whose_versions_must_be_the_same() -> None:
    class Function:
        packages = ("pytest",)

        def __call__(self, task: int) -> int:
            return task

    versions, inner, run = pickle.loads(pack_function(Function()))
    assert versions == find_versions("pytest") == find_versions() | {"pytest": pytest.__version__}
    other = pickle.dumps((versions | {"pytest": "0.1"}, inner, run))
    _, (failure,) = pickle.loads(run_bundle(other, pickle.dumps([1])))
    assert f"found pytest {pytest.__version__}, expected 0.1" in str(failure.error)


def test_each_run_makes_its_function_ready_again() -> None:
    assert pack_function(abs) != pack_function(abs)


def test_other_versions_are_noticed_before_anything_is_imported() -> None:
    class Function:
        def __reduce__(self) -> Any:
            return __import__, ("a_package_that_is_not_there",)

        def __call__(self, _: int) -> None:
            pass

    _, values = pickle.loads(run_bundle(pack_function(Function()), pickle.dumps([1])))
    assert isinstance(values[0].error, ModuleNotFoundError)
    function = pickle.dumps(({"numpy": "0.1"}, pickle.dumps(Function()), b""))
    _, values = pickle.loads(run_bundle(function, pickle.dumps([1, 2])))
    assert [type(value.error) for value in values] == [ClusterError, ClusterError]
    assert all(value.is_final for value in values)


def test_a_worker_imports_nothing_heavy_until_it_has_compared_versions() -> None:
    program = "import sys, trajstore.executors.remote; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert not {"numba", "zarr", "trajstore.store"} & set(done.stdout.split())
