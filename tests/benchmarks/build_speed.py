"""How fast a store is built, against what bounds it and what else people would use; all in one run.

Run it on a quiet machine::

    python tests/benchmarks/build_speed.py [--samples 10000] [--size 64] [--rounds 3] [--against FOLDER] [DIRECTORY]

``--against`` names a checkout of another commit (``git worktree add FOLDER COMMIT``): its builds take turns with ours,
and nothing else is measured. Every figure is a median over the rounds, and the rounds take turns, so that a machine
that slows down slows all of them. The rivals write the same arrays, fewer of them where they are slow.
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
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import checkouts
import numpy as np
import zarr

import trajstore
from trajstore.executors.threads import count_processors
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import DatasetSpec
from trajstore.store.groups.video import settle_storage
from trajstore.store.layout import plan_layout

ALL = slice(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64, help="height and width of a frame, px")
    parser.add_argument("--rounds", type=int, default=3)
    checkouts.add_against(parser)
    arguments = parser.parse_args()
    fields = {"samples": arguments.samples, "height": arguments.size, "width": arguments.size}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if arguments.against:
            compare(Path(folder), fields, rounds=arguments.rounds, against=arguments.against)
        else:
            measure(Path(folder), fields, rounds=arguments.rounds)


def compare(folder: Path, fields: dict[str, int], *, rounds: int, against: Path) -> None:
    """Build with this checkout and with another, each in a process of its own."""

    def measure_one(checkout: Path) -> checkouts.Figures:
        return checkouts.build(checkout, fresh(folder / "store.zarr"), fields)

    sides = {name: partial(measure_one, checkout) for name, checkout in checkouts.name_sides(against).items()}
    found = checkouts.take_turns(rounds, sides)
    print(
        f"{fields['samples']:,} samples of {fields['height']} × {fields['width']}, median of {rounds} rounds\n"
    )
    labels = {
        "rate": "build, end to end, samples/s",
        "bytes": "stored, bytes a sample",
        "peak": "peak memory, MB",
    }
    checkouts.print_sides(found, labels)


def measure(folder: Path, fields: dict[str, int], *, rounds: int) -> None:
    spec, samples = settle_storage(DatasetSpec.from_fields(**fields)), fields["samples"]
    threads = count_processors()
    shard = spec.storage.samples_per_shard
    frames = draw(spec, shard)
    first = run_child(folder, fields | {"samples": 4}, cache=folder / "numba-cold")
    child = run_child(folder, fields)

    runs: dict[str, Callable[[], float]] = {
        "build": lambda: build(folder, spec, threads),
        "build-1": lambda: build(folder, spec, 1),
        "bound": lambda: kernel_bound(spec, threads, max(500, samples // 5)),
        "bound-1": lambda: kernel_bound(spec, 1, max(500, samples // 10)),
        "tensorstore": lambda: through_tensorstore(folder, spec, threads, 12 * shard),
        "zarr": lambda: through_zarr(folder, spec, threads, 2 * threads * shard),
        "writing": lambda: tensorstore_alone(folder, spec, frames, 4 * shard),
        "by hand": lambda: by_hand(folder, make_scene(spec, range(shard)), spec, shard),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, function in runs.items():
            rates[name].append(function())

    median = {name: statistics.median(values) for name, values in rates.items()}

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(rates[a], rates[b], strict=True))

    rows = [
        ("trajstore build, end to end", median["build"], ""),
        (
            "trajstore build, one thread",
            median["build-1"],
            f"two or more give {ratio('build', 'build-1'):.2f} ×",
        ),
        (f"kernel bound, {threads} threads", median["bound"], f"build reaches {ratio('build', 'bound'):.0%}"),
        ("kernel bound, one thread", median["bound-1"], f"threads give {ratio('bound', 'bound-1'):.2f} ×"),
        (
            "the same through tensorstore",
            median["tensorstore"],
            f"build is {ratio('build', 'tensorstore'):.1f} ×",
        ),
        ("the same through zarr-python", median["zarr"], f"build is {ratio('build', 'zarr'):.1f} ×"),
        (
            "tensorstore, writing drawn frames",
            median["writing"],
            f"build is {ratio('build', 'writing'):.1f} ×",
        ),
        (
            "by hand: OpenCV, torch.save, JSON",
            median["by hand"],
            f"build is {ratio('build', 'by hand'):.1f} ×",
        ),
    ]
    print(f"{samples:,} samples of {spec.video.cameras} × {spec.video.frames} × 3 × {spec.video.height} × "
          f"{spec.video.width}, {threads} threads, median of {rounds} rounds\n")  # fmt: skip
    for label, rate, note in rows:
        print(f"{label:<42}{rate:>8,.0f} samples/s   {note}")
    print()
    print(f"{'whole command, a process of its own':<42}{child['seconds']:>8.2f} s")
    print(f"{'peak memory of that process':<42}{child['peak_mb']:>8,.0f} MB")
    print(f"{'stored, labels and all':<42}{child['bytes'] / samples / 1e3:>8.2f} KB a sample")
    print(f"{'first build: compilation adds':<42}{first['seconds'] - child['warm']:>8.2f} s")


def draw(spec: DatasetSpec, count: int) -> np.ndarray:
    """The frames that all rivals write."""
    scene = make_scene(spec, range(count))
    shape = (spec.video.cameras, spec.video.frames, 3, spec.video.height, spec.video.width)
    frames = np.empty((count, *shape), np.uint8)
    for index in range(count):
        scene.draw(index, ALL, ALL, frames[index])
    return frames


def build(folder: Path, spec: DatasetSpec, workers: int) -> float:
    """The real thing."""
    path = fresh(folder / "store.zarr")
    report = trajstore.build(path, spec, workers=workers)
    shutil.rmtree(path)
    return report.new_samples / report.seconds


def kernel_bound(spec: DatasetSpec, threads: int, count: int) -> float:
    """Draw and compress in hot buffers, nothing else."""
    scene = make_scene(spec, range(min(250, count)))
    (column,) = plan_layout(spec).group("video").columns
    chunk = (column.chunk_shape[1], column.chunk_shape[2])

    def loop() -> None:
        for index in range(count):
            scene.compress(index % len(scene.rows), chunk)

    pool = [threading.Thread(target=loop) for _ in range(threads)]
    started = time.perf_counter()
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return threads * count / (time.perf_counter() - started)


def through_zarr(folder: Path, spec: DatasetSpec, threads: int, count: int) -> float:
    """The same build, each shard drawn into an array and written by zarr-python."""
    (column,) = plan_layout(spec).group("video").columns
    path = fresh(folder / "zarr.zarr")
    array = zarr.create_array(
        str(path),
        shape=(count, *column.shape[1:]),
        dtype="uint8",
        chunks=column.chunk_shape,
        shards=column.shard_shape,
        compressors=[zarr.codecs.ZstdCodec(level=spec.storage.compression_level), zarr.codecs.Crc32cCodec()],
    )

    def write(rows: slice, frames: np.ndarray) -> None:
        array[rows] = frames

    return draw_and_write(path, spec, write, threads=threads, count=count)


def through_tensorstore(folder: Path, spec: DatasetSpec, threads: int, count: int) -> float:
    """The same build, each shard drawn into an array and written by tensorstore."""
    path = fresh(folder / "tensorstore.zarr")
    array = create_tensorstore(path, spec, count)

    def write(rows: slice, frames: np.ndarray) -> None:
        array[rows].write(frames).result()

    return draw_and_write(path, spec, write, threads=threads, count=count)


def tensorstore_alone(folder: Path, spec: DatasetSpec, frames: np.ndarray, count: int) -> float:
    """Tensorstore's write of frames that are drawn already: nothing but compression and files."""
    path = fresh(folder / "tensorstore.zarr")
    array = create_tensorstore(path, spec, count)
    size = len(frames)
    started = time.perf_counter()
    futures = [array[at : at + size].write(frames) for at in range(0, count, size)]
    for future in futures:
        future.result()
    sync(path)
    return count / (time.perf_counter() - started)


def draw_and_write(
    path: Path, spec: DatasetSpec, write: Callable[[slice, np.ndarray], None], *, threads: int, count: int
) -> float:
    """Draw shards into arrays and hand each to a library, in as many threads as our build computes in."""
    size = spec.storage.samples_per_shard

    def task(first: int) -> None:
        scene = make_scene(spec, range(first, first + size))
        shape = (spec.video.cameras, spec.video.frames, 3, spec.video.height, spec.video.width)
        frames = np.empty((size, *shape), np.uint8)
        for index in range(size):
            scene.draw(index, ALL, ALL, frames[index])
        write(slice(first, first + size), frames)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, range(0, count, size)))
    sync(path)
    return count / (time.perf_counter() - started)


def create_tensorstore(path: Path, spec: DatasetSpec, count: int) -> Any:
    """An array of the store's layout and codecs."""
    import tensorstore

    (column,) = plan_layout(spec).group("video").columns
    codecs = {
        "chunk_shape": column.chunk_shape,
        "codecs": [
            {"name": "bytes"},
            {"name": "zstd", "configuration": {"level": spec.storage.compression_level}},
            {"name": "crc32c"},
        ],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    }
    return tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "metadata": {
                "shape": (count, *column.shape[1:]),
                "data_type": "uint8",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": column.shard_shape}},
                "codecs": [{"name": "sharding_indexed", "configuration": codecs}],
            },
            "create": True,
        }
    ).result()


def by_hand(folder: Path, scene: Scene, spec: DatasetSpec, count: int) -> float:
    """A plain pipeline: a circle per frame, one tensor file and one JSON per sample."""
    import cv2
    import torch

    path = fresh(folder / "by-hand")
    path.mkdir()
    video, columns = spec.video, scene.columns
    started = time.perf_counter()
    for index in range(count):
        clip = np.empty((video.cameras, video.frames, 3, video.height, video.width), np.uint8)
        for camera in range(video.cameras):
            for frame in range(video.frames):
                image = np.empty((video.height, video.width, 3), np.uint8)
                image[:] = columns["background_color"][index]
                u, v = columns["pixel"][index, camera, frame]
                left, _, right, _ = columns["box"][index, camera, frame]
                center, radius = (round(16 * float(u)), round(16 * float(v))), round(8 * float(right - left))
                color = [int(c) for c in columns["object_color"][index]]
                cv2.circle(image, center, radius, color, -1, cv2.LINE_AA, 4)
                clip[camera, frame] = image.transpose(2, 0, 1)
        torch.save(torch.from_numpy(clip), path / f"sample_{index:04d}.pt")
        label = {"class_label": int(columns["class_label"][index]),
                 "future_position": columns["future_position"][index].tolist()}  # fmt: skip
        (path / f"sample_{index:04d}.json").write_text(json.dumps(label))
    sync(path)
    return count / (time.perf_counter() - started)


def run_child(folder: Path, fields: dict[str, int], *, cache: Path | None = None) -> dict[str, float]:
    """A build in a process of its own, for its memory and its compilation."""
    path = fresh(folder / "child.zarr")
    program = (
        "import json, re, time, trajstore; from pathlib import Path; started = time.perf_counter()\n"
        f"report = trajstore.build({str(path)!r}, **{fields})\n"
        "seconds = time.perf_counter() - started\n"
        # not ru_maxrss, which a child inherits from its parent
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1.024e-3\n"
        "print(json.dumps(dict(seconds=seconds, peak_mb=peak, bytes=report.summary.total_stored_bytes)))"
    )
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})

    def run() -> dict[str, float]:
        output = subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout
        shutil.rmtree(path)
        return json.loads(output)

    result = run()
    tiny = program.replace(str(fields), str(fields | {"samples": 4}))
    warm = subprocess.run([sys.executable, "-c", tiny], check=True, capture_output=True, text=True).stdout
    shutil.rmtree(path)
    return result | {"warm": json.loads(warm)["seconds"]}


def fresh(path: Path) -> Path:
    """A path with nothing there, and nothing of earlier runs left for the disk to write."""
    shutil.rmtree(path, ignore_errors=True)
    os.sync()
    return path


def sync(path: Path) -> None:
    """Rivals leave their bytes in the page cache; ours are on the disk when the build returns. Make it even."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


if __name__ == "__main__":
    main()
