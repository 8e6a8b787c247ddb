"""How fast a store is exported, against the disk and against a plain loop; all in one run.

Run it on a quiet machine::

    python tests/benchmarks/export_speed.py [--samples 1000] [--rounds 3] [FOLDER]

Every figure is a median over the rounds, and the rounds take turns, so that a machine that slows down slows all of
them. Nobody is done before the bytes are on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr

import trajstore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), samples=arguments.samples, rounds=arguments.rounds)


def measure(folder: Path, *, samples: int, rounds: int) -> None:
    store = folder / "store.zarr"
    trajstore.build(store, samples=samples)
    peaks = {rows: run_child(store, fresh(folder / "child"), rows) for rows in (samples // 4, samples)}
    contents = {
        path.relative_to(folder / "child"): path.read_bytes() for path in sample_files(folder / "child")[:400]
    }
    runs: dict[str, Callable[[], float]] = {
        "export": lambda: export(store, fresh(folder / "out")),
        "plain": lambda: plain_writes(contents, samples, fresh(folder / "plain")),
        "loop": lambda: zarr_loop(store, fresh(folder / "loop"), min(samples, 300)),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, function in runs.items():
            rates[name].append(function())
    median = {name: statistics.median(values) for name, values in rates.items()}

    def ratio(other: str) -> float:
        return statistics.median(a / b for a, b in zip(rates["export"], rates[other], strict=True))

    size = sum(map(len, contents.values())) / len(contents) * 2
    print(f"{samples:,} samples of {size / 1e6:.2f} MB, median of {rounds} rounds\n")
    rows = [
        ("trajstore export", median["export"], f"{median['export'] * size / 1e6:,.0f} MB/s"),
        ("open().write() of the same bytes", median["plain"], f"export is {ratio('plain'):.2f} ×"),
        ("zarr-python, torch.save, json.dump", median["loop"], f"export is {ratio('loop'):.2f} ×"),
    ]
    for label, rate, note in rows:
        print(f"{label:<36}{rate:>8,.0f} samples/s   {note}")
    for name, values in rates.items():
        print(f"  rounds of {name:<8}{', '.join(f'{value:,.0f}' for value in values)}")
    print()
    for rows_exported, peak in peaks.items():
        print(f"{f'peak memory, {rows_exported:,} samples':<36}{peak:>8,.0f} MB")


def export(store: Path, target: Path) -> float:
    """The real thing; its files are on the disk when it returns."""
    started = time.perf_counter()
    report = trajstore.export(store, target)
    rate = report.new_samples / (time.perf_counter() - started)
    shutil.rmtree(target)
    return rate


def plain_writes(contents: dict[Path, bytes], samples: int, target: Path) -> float:
    """The same files, from memory, one after the other; those of the first samples over and over."""
    names, blobs = list(contents), list(contents.values())
    for name in ("videos", "labels"):
        (target / name).mkdir(parents=True)
    started = time.perf_counter()
    for index in range(2 * samples):
        name = names[index % len(names)]
        with open(target / f"{name}.{index}", "wb") as file:  # noqa: PTH123
            file.write(blobs[index % len(names)])
    sync(target)
    rate = samples / (time.perf_counter() - started)
    shutil.rmtree(target)
    return rate


def zarr_loop(store: Path, target: Path, samples: int) -> float:
    """What people write: a row through zarr-python, ``torch.save``, a label."""
    import torch

    group: Any = zarr.open_group(store, mode="r")
    labels, futures = group["class_label"][:], group["future_position"][:]
    for name in ("videos", "labels"):
        (target / name).mkdir(parents=True)
    started = time.perf_counter()
    for row in range(samples):
        torch.save(torch.from_numpy(group["video"][row]), target / f"videos/sample_{row:04d}.pt")
        label = {"class_label": int(labels[row]), "future_position": futures[row].tolist()}
        (target / f"labels/sample_{row:04d}.json").write_text(json.dumps(label))
    sync(target)
    rate = samples / (time.perf_counter() - started)
    shutil.rmtree(target)
    return rate


def run_child(store: Path, target: Path, rows: int) -> float:
    """Peak memory of an export in a process of its own, MB."""
    program = (
        "import re, trajstore; from pathlib import Path\n"
        f"trajstore.export({str(store)!r}, {str(target)!r}, rows='0:{rows}')\n"
        # not ru_maxrss, which a child inherits from its parent
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1.024e-3)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


def sample_files(folder: Path) -> list[Path]:
    """Files of the samples, a label after its video."""
    videos = sorted((folder / "videos").iterdir())
    return [path for video in videos for path in (video, folder / "labels" / f"{video.stem}.json")]


def fresh(path: Path) -> Path:
    """A path with nothing there, and nothing of earlier runs left for the disk to write."""
    shutil.rmtree(path, ignore_errors=True)
    os.sync()
    return path


def sync(path: Path) -> None:
    """Rivals leave their bytes in the page cache; ours are on the disk when the export returns. Make it even."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


if __name__ == "__main__":
    main()
