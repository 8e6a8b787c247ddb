"""How fast a store is verified and repaired, against what bounds it; all in one run.

Run it on a quiet machine::

    python tests/benchmarks/verify_speed.py [--samples 10000] [--rounds 3] [FOLDER]

Every figure is a median over the rounds, and the rounds take turns. The bound is a loop over the same shards, in as
many threads, that reads each and decodes every sample, checksum and all, and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

import numpy as np
from zstandard import ZstdDecompressor

import trajstore
from trajstore.executors.threads import count_processors
from trajstore.store.shard import ABSENT, decode_chunk, index_size, parse_index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), samples=arguments.samples, rounds=arguments.rounds)


def measure(folder: Path, *, samples: int, rounds: int) -> None:
    path = folder / "store.zarr"
    trajstore.build(path, samples=samples)
    shard = trajstore.open_reader(path).spec.storage.samples_per_shard
    runs: dict[str, Callable[[], object]] = {
        "bound": lambda: read_and_decode(path),
        "verify": lambda: expect_sound(trajstore.verify(path)),
        "build": lambda: build(folder, samples),
        "deep": lambda: expect_sound(trajstore.verify(path, deep=True)),
        "one shard, built": lambda: build(folder, shard),
        "repair": lambda: damage_and_repair(path, named=False),
        "repair, named": lambda: damage_and_repair(path, named=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, function in runs.items():
            started = time.perf_counter()
            taken = function()
            seconds[name].append(taken if isinstance(taken, float) else time.perf_counter() - started)

    median = {name: statistics.median(values) for name, values in seconds.items()}

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))

    rows = [
        ("bare loop: read, check, decode", median["bound"], ""),
        ("trajstore verify", median["verify"], f"{ratio('verify', 'bound'):.2f} × the bare loop"),
        ("trajstore build", median["build"], ""),
        ("trajstore verify --deep", median["deep"], f"{ratio('deep', 'build'):.2f} × the build"),
        (f"build of {shard} samples, one shard", median["one shard, built"], ""),
        ("repair of one shard", median["repair"], "verification of all included"),
        ("repair of one shard, --report", median["repair, named"], "only what the report names"),
    ]
    print(f"{samples:,} samples, {count_processors()} threads, median of {rounds} rounds\n")
    for label, value, note in rows:
        print(f"{label:<36}{value:>8.2f} s   {note}")
    print()
    for command in ("verify", "verify, deep=True", "repair"):
        print(f"{f'peak memory of {command}':<36}{peak_memory(path, command):>8,.0f} MB")


def expect_sound(report: trajstore.VerifyReport) -> None:
    """A benchmark of a verification that finds something means nothing."""
    if report.findings:
        raise SystemExit(f"not sound: {report.findings}")


def read_and_decode(path: Path) -> None:
    """Every chunk of every shard into one buffer a thread."""
    video = trajstore.open_reader(path).layout.column("video")
    capacity = prod(video.chunk_counts)

    def decode(file: Path) -> None:
        out, decompressor = np.empty(video.chunk_shape, np.uint8), ZstdDecompressor()
        data = file.read_bytes()
        view = memoryview(data)
        index = parse_index(view[-index_size(capacity) :], capacity=capacity, shard_size=len(data))
        for start, length in index.tolist():
            if start != ABSENT:
                decode_chunk(view[start : start + length], out, decompressor)

    with ThreadPoolExecutor(count_processors()) as pool:
        list(pool.map(decode, sorted((path / "video").glob("c.*"))))


def build(folder: Path, samples: int) -> float:
    """Seconds of a build."""
    path = folder / "other.zarr"
    seconds = trajstore.build(path, samples=samples).seconds
    shutil.rmtree(path)
    return seconds


def damage_and_repair(path: Path, *, named: bool) -> float:
    """Seconds of the repair of one shard."""
    shard = max((path / "video").glob("c.*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    report = trajstore.verify(path) if named else None
    return trajstore.repair(path, report=report).seconds


def peak_memory(path: Path, call: str) -> float:
    """Megabytes of a process that does nothing else."""
    name, _, options = call.partition(", ")
    program = (
        "import re, trajstore; from pathlib import Path\n"
        f"trajstore.{name}({str(path)!r}, {options})\n"
        # not ru_maxrss, which a child inherits from its parent
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1.024e-3)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    main()
