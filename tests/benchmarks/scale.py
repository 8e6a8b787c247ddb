"""How builds scale: processes under Dask against threads, what a task costs the coordinator, and large stores.

Run it on a quiet machine::

    python tests/benchmarks/scale.py [--samples 10000] [--tasks 100000] [--shards 100000] [FOLDER]

Rates are ratios of runs that take turns. The coordinator's time and memory are those of two processes, the
client's and the scheduler's, while workers do next to nothing.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from distributed import Client

import trajstore
from trajstore.executors.dask import DaskExecutor, open_cluster
from trajstore.executors.local import start_workers
from trajstore.executors.threads import count_processors
from trajstore.progress import Progress
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.columns import Task
from trajstore.store.handle import create_store, open_store
from trajstore.store.shard import FLAG_WRITTEN
from trajstore.store.write import make_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--only", choices=["rate", "coordinator", "open"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if arguments.only in (None, "rate"):
            compare_rates(Path(folder), samples=arguments.samples, rounds=arguments.rounds)
        if arguments.only in (None, "coordinator"):
            measure_coordinator(arguments.tasks)
        if arguments.only in (None, "open"):
            open_large_store(Path(folder), arguments.shards)


def compare_rates(folder: Path, *, samples: int, rounds: int) -> None:
    """Samples per second of threads and of local processes, end to end and in between."""
    workers = count_processors()
    spec = DatasetSpec.from_fields(samples=samples)
    build(folder, spec, workers)
    rates: dict[str, list[tuple[float, float]]] = {"threads": [], "dask": [], "cluster": []}
    with start_workers(workers) as running, Client(running.address, set_as_default=False) as client:
        client.wait_for_workers(workers)
        build(folder, spec, None, executor="dask", scheduler=running.address)
        for _ in range(rounds):
            rates["threads"].append(build(folder, spec, workers))
            rates["cluster"].append(build(folder, spec, None, executor="dask", scheduler=running.address))
    for round_ in range(rounds):
        rates["dask"].append(build(folder, spec, workers, executor="dask"))
        if round_:
            rates["threads"].append(build(folder, spec, workers))

    def median(name: str, which: int) -> float:
        return statistics.median(rate[which] for rate in rates[name])

    print(f"{samples:,} samples, {workers} workers, median of {rounds} rounds\n")
    for label, name in (
        ("threads", "threads"),
        ("processes under Dask that are there", "cluster"),
        ("processes under Dask, started and ended", "dask"),
    ):
        print(
            f"{label:<42}{median(name, 0):>8,.0f} samples/s end to end ({median(name, 0) / median('threads', 0):.2f} ×)"
            f"{median(name, 1):>8,.0f} in between ({median(name, 1) / median('threads', 1):.2f} ×)"
        )
    print()


def build(
    folder: Path,
    spec: DatasetSpec,
    workers: int | None,
    *,
    executor: str = "threads",
    scheduler: str | None = None,
) -> tuple[float, float]:
    """Samples per second, end to end, and between a fifth and the last of the shards."""
    path = folder / "store.zarr"
    shutil.rmtree(path, ignore_errors=True)
    os.sync()
    steps: list[tuple[float, int]] = []

    def note(event: Progress) -> None:
        if event.phase == "video":
            steps.append((time.perf_counter(), event.fresh))

    report = trajstore.build(
        path, spec, workers=workers, executor=executor, scheduler=scheduler, progress=note
    )
    shutil.rmtree(path)
    first = next(step for step in steps if step[1] >= report.new_samples / 5)
    last = next(step for step in steps if step[1] >= 0.9 * report.new_samples)
    return report.new_samples / report.seconds, (last[1] - first[1]) / (last[0] - first[0])


def measure_coordinator(tasks_max: int) -> None:
    """Processor time and memory of client and scheduler, a task, for more and more tasks that do nothing."""
    with open_cluster(workers=1) as executor:
        seconds, cpu, _ = run_empty(executor, 500, is_bundled=False)
    print(f"each task alone, 500: {1e3 * seconds:.2f} ms a task, {1e3 * cpu:.2f} ms of processor time")
    for count in (1_000, 10_000, 100_000, 1_000_000):
        if count <= tasks_max:
            with open_cluster(workers=1) as executor:
                seconds, cpu, memory = run_empty(executor, count, is_bundled=True)
            print(
                f"in bundles, {count:,}: {1e3 * seconds:.3f} ms a task, {1e3 * cpu:.3f} ms of processor time, "
                f"{memory:+.0f} MB"
            )
    print()


def run_empty(executor: DaskExecutor, count: int, *, is_bundled: bool) -> tuple[float, float, float]:
    """Seconds and processor seconds a task, and megabytes that a run leaves."""
    if not is_bundled:
        executor.learn = lambda *_: None  # type: ignore[method-assign]
    tasks: Iterator[Task] = (Task("video", index, range(index, index + 1)) for index in range(count))
    list(executor.run(len_of, [Task("video", 0, range(1))] * 100))
    gc.collect()
    cpu, memory = measure_processes()
    started = time.perf_counter()
    done = sum(1 for _ in executor.run(len_of, tasks))
    assert done == count
    elapsed = time.perf_counter() - started
    cpu_after, memory_after = measure_processes()
    return elapsed / count, (cpu_after - cpu) / count, memory_after - memory


len_of: Callable[[Task], int] = eval("lambda task: len(task.rows)")


def measure_processes() -> tuple[float, float]:
    """Processor seconds and resident megabytes of this process and of its child, which runs the scheduler."""
    processes = [psutil.Process(), *psutil.Process().children()]
    seconds = sum(sum(process.cpu_times()[:2]) for process in processes)
    return seconds, sum(process.memory_info().rss for process in processes) / 1e6


def open_large_store(folder: Path, shards: int) -> None:
    """Opening and summing up a store of many tiny shards, all but their labels linked to the same file."""
    path = folder / "large.zarr"
    spec = DatasetSpec.from_fields(
        samples=shards, samples_per_shard=1, frames=1, height=8, width=8, cameras=1
    )
    store = create_store(open_storage(Location.parse(path)), spec)
    labels, video = store.layout.group("labels"), store.layout.group("video")
    for task in labels.tasks():
        for key, data in make_files(spec, labels, task):
            write(path / key, data)
        write(path / labels.flags.key(task.index), FLAG_WRITTEN)
    ((_, shard),) = make_files(spec, video, video.task(0))
    (column,) = video.columns
    for index in range(shards):
        write(path / column.key(index), shard)
        write(path / video.flags.key(index), FLAG_WRITTEN)

    def measure(function: Callable[[], object]) -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    print(f"a store of {shards:,} video shards")
    for label, function in (
        ("open", lambda: open_store(store.storage)),
        ("which tasks are pending", lambda: np.flatnonzero(~open_store(store.storage).is_written(video))),
        ("info", lambda: trajstore.info(path)),
        ("build of what is complete", lambda: trajstore.build(path)),
    ):
        print(f"{label:<42}{min(measure(function) for _ in range(2)):>8.2f} s")


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file, whether it lasts or not."""
    with path.open("wb", buffering=0) if path.parent.is_dir() else made(path) as file:
        file.write(data)


@contextmanager
def made(path: Path) -> Iterator[object]:
    """A file in a folder that is made first."""
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        yield file


if __name__ == "__main__":
    main()
