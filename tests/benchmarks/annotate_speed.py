"""How fast a store is annotated and read with its annotations, against building and reading it alone; all in one run.

Run it on a quiet machine::

    python tests/benchmarks/annotate_speed.py [--samples 10000] [--size 64] [--bodies 1] [--rounds 3] [FOLDER]

Every figure is a median over the rounds, and the rounds take turns, so that a machine that slows down slows all of
them. Reading is of whole samples in random order by one thread, from the page cache: one at a time into the same
memory, and in batches of tensors.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import trajstore
from trajstore.executors.threads import count_processors
from trajstore.spec import ANNOTATIONS
from trajstore.torch import TrajectoryDataset

TOGETHER = ("depth_map", "normals", "flow")
"""What is annotated in one pass, beside each annotation alone."""

READS = 640
BATCH = 32

AIMS = {"segmentation": 1.0, " + ".join(TOGETHER): 0.4}
"""How many times the rate of the build it shall be, at least."""

READ_AIM = 1.6
"""How many times the time of reading frames alone it shall take with segmentation, at most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64, help="height and width of a frame, px")
    parser.add_argument("--bodies", type=int, default=1, help="the target and its distractors")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    fields = {
        "samples": arguments.samples,
        "height": arguments.size,
        "width": arguments.size,
        "distractors": arguments.bodies - 1,
    }
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), fields, rounds=arguments.rounds)


def measure(folder: Path, fields: dict[str, int], *, rounds: int) -> None:
    path, samples = folder / "store.zarr", fields["samples"]
    passes = {" + ".join(names): names for names in (*((name,) for name in ANNOTATIONS), TOGETHER)}
    build(path, fields | {"samples": 8})  # nothing is compiled while it is timed
    for names in passes.values():
        annotate(path, names)
    rates: dict[str, list[float]] = {name: [] for name in ("build", *passes)}
    for _ in range(rounds):
        rates["build"].append(samples / build(path, fields))
        for name, names in passes.items():
            rates[name].append(samples / annotate(path, names))
    trajstore.annotate(path, *ANNOTATIONS)
    sizes = {
        state.name: state.stored_bytes / samples for state in trajstore.list_annotations(path).annotations
    }
    sizes[" + ".join(TOGETHER)] = sum(sizes[name] for name in TOGETHER)
    video = trajstore.info(path).stored_bytes["video"]

    print(f"{samples:,} samples of {fields['height']} × {fields['width']}, {1 + fields['distractors']} bodies, "
          f"{count_processors()} threads, median of {rounds} rounds\n")  # fmt: skip
    print(
        f"{'build':<30}{statistics.median(rates['build']):>8,.0f} samples/s{video / samples:>10,.0f} bytes a sample"
    )
    for name in passes:
        aim = f" (aim: ≥ {AIMS[name]})" if name in AIMS else ""
        print(f"{name:<30}{statistics.median(rates[name]):>8,.0f} samples/s{sizes[name]:>10,.0f} bytes a sample   "
              f"{find_ratio(rates[name], rates['build']):.2f} × the build{aim}")  # fmt: skip
    print()
    for label, (alone, both) in time_reading(path, rounds).items():
        ratio = find_ratio(both, alone)
        print(f"{label:<30}{1e3 * statistics.median(alone):>8.2f} ms a sample, with segmentation "
              f"{1e3 * statistics.median(both):.2f} ms: {ratio:.2f} × (aim: ≤ {READ_AIM})")  # fmt: skip


def build(path: Path, fields: dict[str, int]) -> float:
    """Seconds of a build of a new store, end to end."""
    shutil.rmtree(path, ignore_errors=True)
    os.sync()
    return trajstore.build(path, **fields).seconds


def annotate(path: Path, names: tuple[str, ...]) -> float:
    """Seconds of annotating, end to end; the annotations are removed again."""
    os.sync()
    seconds = trajstore.annotate(path, *names).seconds
    trajstore.remove_annotations(path, *names)
    return seconds


def time_reading(path: Path, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds a sample, of frames alone and with segmentation, in each round."""
    reader = trajstore.open_reader(path, threads=1)
    video, dense = reader.read([0]), reader.read_group("segmentation", [0])
    datasets = [TrajectoryDataset(path, columns=columns, threads=1) for columns in ([], ["segmentation"])]
    rows = np.random.default_rng(0).permutation(len(reader))[:READS]
    batches = [rows[at : at + BATCH].tolist() for at in range(0, len(rows), BATCH)]

    def read(*, with_segmentation: bool) -> None:
        for row in rows:
            reader.read([row], out=video)
            if with_segmentation:
                reader.read_group("segmentation", [row], out=dense)

    def batch(dataset: TrajectoryDataset) -> None:
        for indices in batches:
            dataset.__getitems__(indices)

    sides: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "reader, one at a time": (
            lambda: read(with_segmentation=False),
            lambda: read(with_segmentation=True),
        ),
        f"dataset, batches of {BATCH}": (lambda: batch(datasets[0]), lambda: batch(datasets[1])),
    }
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
    for number in range(rounds + 1):
        for name, functions in sides.items():
            for seconds, function in zip(found[name], functions, strict=True):
                started = time.perf_counter()
                function()
                if number:  # the first fills the page cache
                    seconds.append((time.perf_counter() - started) / len(rows))
    return found


def find_ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over the rounds of how many times theirs a figure of ours is."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
