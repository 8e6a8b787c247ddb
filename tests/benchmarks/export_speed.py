"""How fast a store is exported and read back, in all formats; loose tensors also against the disk and a plain loop.

Run it on a quiet machine::

    python tests/benchmarks/export_speed.py [--samples 1000] [--format-samples 200] [--rounds 3] [FOLDER]

Every figure is a median over the rounds, and the rounds take turns, so that a machine that slows down slows all of
them. Nobody is done before the bytes are on the disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zarr

import trajstore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--format-samples", type=int, default=200, help="samples of the table of all formats")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), samples=arguments.samples, rounds=arguments.rounds)
        print()
        measure_formats(Path(folder), samples=arguments.format_samples, rounds=arguments.rounds)


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


KINDS: dict[str, dict[str, Any]] = {
    "hdf5": {"format": "hdf5"},
    "hdf5 --compression zstd": {"format": "hdf5", "options": {"compression": "zstd"}},
    "webdataset": {"format": "webdataset"},
    "webdataset --video mp4": {"format": "webdataset", "options": {"video": "mp4"}},
    "videofolder": {"format": "videofolder"},
    "videofolder --video mkv": {"format": "videofolder", "options": {"video": "mkv"}},
    "pt": {"format": "pt"},
    "pt --layout traj --cameras 0": {"format": "pt", "options": {"layout": "traj"}, "cameras": [0]},
    "frames": {"format": "frames"},
}


def measure_formats(folder: Path, *, samples: int, rounds: int) -> None:
    store = folder / "formats.zarr"
    trajstore.build(store, samples=samples)
    plain = "h5py, gzip, row by row"
    written: dict[str, list[float]] = {name: [] for name in (*KINDS, plain)}
    read: dict[str, list[float]] = {name: [] for name in KINDS}
    sizes: dict[str, float] = {}
    for _ in range(rounds):
        rate, sizes[plain] = plain_hdf5(store, fresh(folder / "plain.h5"), min(samples, 100))
        written[plain].append(rate)
        for name, how in KINDS.items():
            target = fresh(folder / "export")
            some = min(samples, 40) if name == "frames" else samples
            started = time.perf_counter()
            trajstore.export(store, target, rows=f"0:{some}", **how)
            written[name].append(some / (time.perf_counter() - started))
            sizes[name] = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / some
            started = time.perf_counter()
            count = sum(1 for _ in READERS[how["format"]](target))
            assert count == some, (name, count)
            read[name].append(count / (time.perf_counter() - started))
    print(
        f"{samples:,} samples, median of {rounds} rounds, whole samples read by others' readers in one thread\n"
    )
    print(f"{'format':<32}{'KB/sample':>10}{'export/s':>10}{'x h5py':>8}{'read/s':>8}")
    for name, rates in written.items():
        ratio = statistics.median(a / b for a, b in zip(rates, written[plain], strict=True))
        back = f"{statistics.median(read[name]):>8,.0f}" if name in read else ""
        print(f"{name:<32}{sizes[name] / 1000:>10,.1f}{statistics.median(rates):>10,.0f}{ratio:>8.1f}{back}")


def plain_hdf5(store: Path, path: Path, samples: int) -> tuple[float, float]:
    """What people write: a row after the other with h5py's own gzip. Samples a second, and bytes of each."""
    import h5py

    reader = trajstore.open_reader(store)
    shape = reader[0].shape
    started = time.perf_counter()
    with h5py.File(path, "w") as file:
        video = file.create_dataset(
            "video", (samples, *shape), "u1", chunks=(1, 1, *shape[1:]), compression="gzip"
        )
        for row in range(samples):
            video[row] = reader[row]
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
    rate = samples / (time.perf_counter() - started)
    size = path.stat().st_size / samples
    path.unlink()
    return rate, size


def read_hdf5(folder: Path) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401

    with h5py.File(folder / "dataset.h5") as file:
        yield from (file["video"][row] for row in range(len(file["video"])))


def read_webdataset(folder: Path) -> Iterator[Any]:
    import webdataset

    shards = sorted(map(str, folder.glob("*.tar")))
    for sample in webdataset.WebDataset(shards, shardshuffle=False).decode():
        for name, data in sample.items():
            if name.endswith("mp4"):
                decode(io.BytesIO(data))
        yield sample


def read_videofolder(folder: Path) -> Iterator[Any]:
    for path in sorted(folder.glob("*/metadata.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield [decode(path.parent / name) for name in json.loads(line)["videos_file_names"]]


def read_pt(folder: Path) -> Iterator[Any]:
    import torch

    for path in sorted((folder / "videos").iterdir()):
        yield torch.load(path, weights_only=True)


def read_frames(folder: Path) -> Iterator[Any]:
    import numpy as np
    from PIL import Image

    for path in sorted((folder / "frames").iterdir()):
        yield [np.asarray(Image.open(picture)) for picture in sorted(path.iterdir())]


def decode(source: Any) -> list[Any]:
    """The frames of a video."""
    import av

    with av.open(source) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    "hdf5": read_hdf5,
    "webdataset": read_webdataset,
    "videofolder": read_videofolder,
    "pt": read_pt,
    "frames": read_frames,
}


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
