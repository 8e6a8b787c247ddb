"""Measure this checkout and another commit's side by side, through the functions that all versions have.

The programs here run in processes of their own, each with the package of one checkout: ``--against FOLDER`` of the
benchmarks names the other one, made by ``git worktree add FOLDER COMMIT``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]

Figures = dict[str, float]

BUILD = """
import json, re, shutil, sys
from pathlib import Path
import trajstore
path, fields = Path(sys.argv[1]), json.loads(sys.argv[2])
trajstore.build(path, **fields | {"samples": 8})  # nothing is compiled while it is timed
shutil.rmtree(path)
report = trajstore.build(path, **fields)
# not ru_maxrss, which a child inherits from its parent
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1.024e-3
stored = report.summary.total_stored_bytes / report.new_samples
print(json.dumps({"rate": report.new_samples / report.seconds, "bytes": stored, "peak": peak}))
"""

FIRST_READ = """
import time; started = time.perf_counter()
import sys, trajstore
trajstore.open_reader(sys.argv[1]).read(range(32))
print('{"seconds": %f}' % (time.perf_counter() - started))
"""

FIRST_TENSORS = """
import time; import torch.utils.data; started = time.perf_counter()
import sys; from trajstore.torch import TrajectoryDataset
TrajectoryDataset(sys.argv[1]).__getitems__(range(32))
print('{"seconds": %f}' % (time.perf_counter() - started))
"""

READ = """
import json, sys, time
import numpy as np, trajstore
reader = trajstore.open_reader(sys.argv[1], threads=1)
count, out = len(reader), np.empty((1, *reader[0].shape), np.uint8)
reader.read(range(count))  # all is in the page cache, and all memory has been used
rows = np.random.default_rng(0).permutation(count)[:500].tolist()
def rate(order, **choice):
    started = time.perf_counter()
    for row in order:
        reader.read([row], **choice)
    return len(order) / (time.perf_counter() - started)
print(json.dumps({
    "decode": rate(sorted(rows), out=out),
    "random": rate(rows),
    "camera": rate(rows, cameras=[0]),
}))
"""

EPOCH = """
import json, sys, time
from torch.utils.data import DataLoader
from trajstore.torch import ShardShuffleSampler, TrajectoryDataset, collate
dataset = TrajectoryDataset(sys.argv[1])
loader = DataLoader(
    dataset, batch_size=32, sampler=ShardShuffleSampler(dataset), num_workers=2, collate_fn=collate,
    multiprocessing_context="forkserver", persistent_workers=True,
)
for _ in range(2):  # starting processes is not what is compared: the second epoch is
    started = time.perf_counter()
    count = sum(len(batch["video"]) for batch in loader)
print(json.dumps({"epoch": count / (time.perf_counter() - started)}))
"""


def add_against(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark take another checkout."""
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="a checkout of another commit, which takes turns with this one",
    )


def name_sides(against: Path) -> dict[str, Path]:
    """Both checkouts, by what they are called in tables."""
    return {"this checkout": HERE, "the other": against.resolve()}


def run(checkout: Path, program: str, *arguments: str) -> Figures:
    """Run a program with the package of a checkout; what it prints, and ``whole``: seconds with the interpreter."""
    started = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        cwd=checkout,  # what lies in the working folder is imported first
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return {"whole": time.perf_counter() - started, **json.loads(output)}


def build(checkout: Path, path: Path, fields: Mapping[str, Any]) -> Figures:
    """Build a store: samples/s, bytes a sample and peak memory, MB."""
    os.sync()
    return run(checkout, BUILD, str(path.absolute()), json.dumps(fields))


def take_turns(rounds: int, sides: Mapping[str, Callable[[], Figures]]) -> dict[str, list[Figures]]:
    """Measure each side once a round, so that a machine that slows down slows all of them."""
    found: dict[str, list[Figures]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            found[name].append(measure())
    return found


def find_median(found: list[Figures], key: str) -> float:
    """The median of a figure over the rounds."""
    return statistics.median(one[key] for one in found)


def find_ratio(ours: list[Figures], theirs: list[Figures], key: str) -> float:
    """The median over the rounds of how many times theirs a figure of ours is."""
    return statistics.median(a[key] / b[key] for a, b in zip(ours, theirs, strict=True))


def print_sides(found: Mapping[str, list[Figures]], labels: Mapping[str, str]) -> None:
    """A line for each figure: both sides, and how many times the other's this checkout's is."""
    (ours, mine), (theirs, others) = found.items()
    print(f"{'':<44}{ours:>16}{theirs:>16}{'ratio':>8}")
    for key, label in labels.items():
        columns = "".join(f"{find_median(side, key):>16,.3f}" for side in (mine, others))
        print(f"{label:<44}{columns}{find_ratio(mine, others, key):>8.2f}")
