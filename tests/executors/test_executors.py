from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from trajstore.errors import ClusterError, SpecError, TrajstoreError
from trajstore.executors import Outcome, ThreadExecutor
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.executors.threads import count_processors
from trajstore.progress import Progress, Tally, advance


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_task_has_one_outcome(workers: int) -> None:
    outcomes = list(ThreadExecutor(workers).run(lambda task: task * task, range(20)))
    assert sorted((outcome.task, outcome.value) for outcome in outcomes) == [(n, n * n) for n in range(20)]
    assert all(outcome.error is None for outcome in outcomes)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_exception_stops_no_other_task(workers: int) -> None:
    def fail_for_odd(task: int) -> int:
        if task % 2:
            message = f"task {task}"
            raise ValueError(message)
        return task

    outcomes = {outcome.task: outcome for outcome in ThreadExecutor(workers).run(fail_for_odd, range(10))}
    assert set(outcomes) == set(range(10))
    for task, outcome in outcomes.items():
        if task % 2:
            assert (outcome.value, str(outcome.error)) == (None, f"task {task}")
            assert isinstance(outcome.error, ValueError)
        else:
            assert (outcome.value, outcome.error) == (task, None)


def test_no_tasks_have_no_outcomes() -> None:
    assert list(ThreadExecutor(2).run(abs, [])) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_tasks_are_taken_only_as_fast_as_they_finish(workers: int) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    for finished, _ in enumerate(ThreadExecutor(workers).run(abs, tasks()), start=1):
        assert len(taken) < finished + 2 * workers


@pytest.mark.parametrize("workers", [1, 3])
def test_an_iterable_that_ends_early_stops_after_the_tasks_in_flight(workers: int) -> None:
    stopped = threading.Event()
    taken: list[int] = []

    def until_stopped() -> Iterator[int]:
        for number in range(100):
            if stopped.is_set():
                return
            taken.append(number)
            yield number

    finished = []
    for outcome in ThreadExecutor(workers).run(abs, until_stopped()):
        finished.append(outcome.task)
        stopped.set()
    assert sorted(finished) == taken
    assert len(taken) <= 2 * workers


def test_as_many_tasks_run_at_once_as_there_are_workers() -> None:
    """Each waits for the others: fewer threads would never end, and more are never needed."""
    barrier = threading.Barrier(4, timeout=60)
    outcomes = list(ThreadExecutor(4).run(lambda _: barrier.wait(), range(8)))
    assert [outcome.error for outcome in outcomes] == [None] * 8


def test_what_is_no_error_of_a_task_ends_the_run() -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ThreadExecutor(1).run(interrupt, range(3)))


class Cluster:
    """An executor that does some tasks, gets another worker, and fails."""

    workers = 1
    watch: Callable[[], None]

    def run(self, function: Callable[[int], int], tasks: Iterable[int]) -> Iterator[Outcome[int, int]]:
        for task in tasks:
            if task == 2:
                self.workers = 2
                self.watch()
            error = ClusterError("2 failed on worker a", exit_code=3) if task == 2 else None
            yield Outcome(task, error=error) if error else Outcome(task, value=function(task))

    def in_work(self) -> Iterable[tuple[int, int]]:
        return ()


def test_a_run_on_a_cluster_counts_its_workers_and_says_what_is_there_when_it_fails() -> None:
    events: list[Progress] = []
    options = RunOptions(progress=events.append, cluster=Cluster())  # type: ignore[arg-type]
    done, left = (
        Tally(phase, options.report, total=total, done=0, raw_bytes_each=1)
        for phase, total in (("labels", 0), ("video", 5))
    )
    with pytest.raises(ClusterError, match=r"^2 failed on worker a; nothing was changed$") as failed:
        run_tasks(
            abs,
            range(5),
            options=options,
            place="a.zarr",
            tallies=[done, left],
            finished=lambda _task, _value: left.add(1, stored_bytes=0),
            describe_state=lambda: "nothing was changed",
        )
    assert failed.value.exit_code == 3
    assert [(event.phase, event.done, event.workers) for event in events] == [
        ("labels", 0, 1), ("video", 0, 1), ("video", 1, 1), ("video", 2, 1), ("video", 2, 2),
    ]  # fmt: skip


def test_samples_of_a_task_are_counted_while_it_runs() -> None:
    """A task of five samples waits after its second until somebody has seen it."""
    events: list[Progress] = []
    is_seen = threading.Event()

    def report(event: Progress) -> None:
        events.append(event)
        if event.done == 2:
            is_seen.set()

    def work(samples: int) -> None:
        advance()
        advance()
        assert is_seen.wait(10)

    tally = Tally("video", report, total=5, done=0, raw_bytes_each=1)
    run_tasks(
        work,
        [5],
        options=RunOptions(progress=report),
        place="a.zarr",
        tallies=[tally],
        finished=lambda samples, _: tally.add(samples, stored_bytes=7),
        describe_state=str,
    )
    assert [event.done for event in events if event.done != 2] == [0, 5]
    assert [(event.fresh, event.stored_bytes, event.raw_bytes) for event in events[-2:]] == [
        (2, 0, 0),
        (5, 7, 5),
    ]
    assert tally.fresh == 5
    advance()  # nobody counts here


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_refused(workers: int) -> None:
    with pytest.raises(SpecError, match=rf"workers: found {workers}, expected at least 1"):
        ThreadExecutor(workers)


def test_by_default_every_processor_works() -> None:
    assert ThreadExecutor().workers == count_processors() >= 1


def test_a_limit_of_threads_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(TrajstoreError, match=r"no more threads .*; ask for fewer with --workers"):
        list(ThreadExecutor(2).run(abs, [1]))
