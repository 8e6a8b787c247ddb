"""How fast samples are read, against what a user would pick instead; all in one run, the same samples.

Run it on a quiet machine::

    pip install -e '.[benchmark]'
    python tests/benchmarks/read_speed.py [--samples 2000] [--rounds 3] [--only NAME …] [--against FOLDER] [DIRECTORY]

``--against`` names a checkout of another commit (``git worktree add FOLDER COMMIT``): it takes turns with this one,
each reads a store that it has built itself, and nothing else is measured.

Each figure is a median over the rounds, and the rounds take turns, so that a machine that slows down slows all of them.
Every measurement has a process of its own, forked from one that has imported torch and nothing else. Cold means that
the files were dropped from the page cache by ``posix_fadvise``; a disk or a hypervisor may still hold them in a cache.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import re
import signal
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import checkouts
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

BATCH = 32
SHARD = 250
Sample = dict[str, Any]


class Format:
    """One way to keep samples: how they are written, and the dataset that its documentation recommends."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    compresses: ClassVar[bool] = False
    can_seek: ClassVar[bool] = True
    collate: ClassVar[Callable[[list[Any]], Any] | None] = None

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def write(self, store: Path) -> None:
        raise NotImplementedError

    def dataset(self) -> Any:
        raise NotImplementedError

    def sampler(self, dataset: Any) -> Any:
        return None if isinstance(dataset, IterableDataset) else RandomSampler(dataset)

    def loader(self, workers: int) -> DataLoader[Any]:
        dataset = self.dataset()
        extra: dict[str, Any] = {"multiprocessing_context": "forkserver", "persistent_workers": True}
        return DataLoader(
            dataset,
            batch_size=BATCH,
            sampler=self.sampler(dataset),
            num_workers=workers,
            collate_fn=type(self).collate,
            **(extra if workers else {}),
        )


def stored_samples(store: Path) -> Iterator[Sample]:
    """What all formats write."""
    import trajstore

    reader = trajstore.open_reader(store)
    label, future = reader.column("class_label"), reader.column("future_position")
    for row in range(len(reader)):
        yield {"video": reader[row], "class_label": int(label[row]), "future_position": future[row]}


def write_labels(path: Path, store: Path) -> None:
    """Labels of formats that keep arrays: two more arrays, read once."""
    import trajstore

    reader = trajstore.open_reader(store)
    np.savez(path / "labels.npz", **{n: reader.column(n) for n in ("class_label", "future_position")})


class ArrayDataset(Dataset[Sample]):
    """Samples out of an array-like that is opened when it is first read, in each process."""

    def __init__(self, path: Path, open_array: Callable[[Path], Any]) -> None:
        self.path, self.open_array = path, open_array
        with np.load(path / "labels.npz") as labels:
            self.labels = {name: labels[name] for name in labels.files}
        self.array: Any = None

    def __len__(self) -> int:
        return len(self.labels["class_label"])

    def read(self, index: int) -> np.ndarray:
        if self.array is None:
            self.array = self.open_array(self.path)
        return np.asarray(self.array[index])

    def __getitem__(self, index: int) -> Sample:
        return self.label(index, self.read(index))

    def label(self, index: int, video: np.ndarray) -> Sample:
        return {"video": torch.from_numpy(video)} | {name: v[index] for name, v in self.labels.items()}


class BareDataset(ArrayDataset):
    """The bytes of a sample out of a shard of ours, decoded: no checks, no flags, no labels of its own."""

    def read(self, index: int) -> np.ndarray:
        if self.array is None:
            self.array = self.open_array(self.path)
        video = np.empty(self.array.shape, np.uint8)
        self.array.decode(index, video)
        return video

    def __getitems__(self, indices: list[int]) -> Sample:
        if self.array is None:
            self.array = self.open_array(self.path)
        video = np.empty((len(indices), *self.array.shape), np.uint8)
        for place, index in enumerate(indices):
            self.array.decode(index, video[place])
        return self.label(np.array(indices), video)


class BareStore:
    """Descriptors, indices, a decompressor."""

    def __init__(self, path: Path) -> None:
        from zstandard import ZstdDecompressor

        import trajstore
        from trajstore.store.shard import index_size, parse_index

        store = json.loads((path / "store.json").read_text())
        video = trajstore.open_reader(store).layout.column("video")
        self.shape, self.parts, self.decompressor = video.shape[1:], video.parts, ZstdDecompressor()
        capacity = SHARD * len(self.parts)
        self.descriptors, self.indices = [], []
        for shard in range(-(-video.shape[0] // SHARD)):
            descriptor = os.open(f"{store}/{video.key(shard)}", os.O_RDONLY)
            size = os.fstat(descriptor).st_size
            tail = os.pread(descriptor, index_size(capacity), size - index_size(capacity))
            self.descriptors.append(descriptor)
            self.indices.append(parse_index(tail, capacity=capacity, shard_size=size))

    def decode(self, row: int, out: np.ndarray) -> None:
        shard, place = divmod(int(row), SHARD)
        chunks = self.indices[shard][place * len(self.parts) :]
        for part, (start, length) in zip(self.parts, chunks, strict=False):
            data = os.pread(self.descriptors[shard], int(length) - 4, int(start))
            self.decompressor.stream_reader(data).readinto(out[part].data)


def identity(batch: Any) -> Any:
    return batch


class Bare(Format):
    name = "bare read-and-decode loop"
    compresses = True
    collate = staticmethod(identity)

    def write(self, store: Path) -> None:
        write_labels(self.path, store)
        (self.path / "store.json").write_text(json.dumps(str(store)))

    def dataset(self) -> Any:
        return BareDataset(self.path, BareStore)


class Trajstore(Format):
    name = "trajstore"
    compresses = True

    def write(self, store: Path) -> None:
        (self.path / "store.json").write_text(json.dumps(str(store)))

    def dataset(self) -> Any:
        from trajstore.torch import TrajectoryDataset, collate

        type(self).collate = staticmethod(collate)
        return TrajectoryDataset(json.loads((self.path / "store.json").read_text()))

    def sampler(self, dataset: Any) -> Any:
        from trajstore.torch import ShardShuffleSampler

        return ShardShuffleSampler(dataset)


class Generated(Format):
    name = "trajstore, no store (GeneratedDataset)"

    def write(self, store: Path) -> None:
        (self.path / "store.json").write_text(json.dumps(str(store)))

    def dataset(self) -> Any:
        import trajstore
        from trajstore.torch import GeneratedDataset, collate

        type(self).collate = staticmethod(collate)
        return GeneratedDataset(
            trajstore.open_reader(json.loads((self.path / "store.json").read_text())).spec
        )

    def sampler(self, dataset: Any) -> Any:
        from trajstore.torch import ShardShuffleSampler

        return ShardShuffleSampler(dataset)


class LooseDataset(Dataset[Sample]):
    def __init__(self, path: Path) -> None:
        self.files = sorted(path.glob("*.pt"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return torch.load(self.files[index], weights_only=True)


class Loose(Format):
    name = "loose .pt files"

    def write(self, store: Path) -> None:
        for row, sample in enumerate(stored_samples(store)):
            tensors = {name: torch.as_tensor(value) for name, value in sample.items()}
            torch.save(tensors, self.path / f"{row:06d}.pt")

    def dataset(self) -> Any:
        return LooseDataset(self.path)


def open_zarr(path: Path) -> Any:
    import zarr

    return zarr.open_array(str(path / "video.zarr"), mode="r")


def open_zarr_of_store(path: Path) -> Any:
    import zarr

    return zarr.open_group(json.loads((path / "store.json").read_text()), mode="r")["video"]


def open_tensorstore(path: Path) -> Any:
    import tensorstore

    store = json.loads((path / "store.json").read_text())
    return tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{store}/video"}},
        context=tensorstore.Context({"cache_pool": {"total_bytes_limit": 100_000_000}}),
        recheck_cached_metadata="open",
        recheck_cached_data="open",
        read=True,
    ).result()


class ZarrPlain(Format):
    name = "zarr-python, a chunk a sample"
    needs = ("zarr",)
    compresses = True

    def write(self, store: Path) -> None:
        import zarr

        write_labels(self.path, store)
        samples = list(stored_samples(store))
        array = zarr.create_array(
            str(self.path / "video.zarr"),
            shape=(len(samples), *samples[0]["video"].shape),
            chunks=(1, *samples[0]["video"].shape),
            dtype="uint8",
            compressors=[zarr.codecs.ZstdCodec(level=1)],
        )
        for row, sample in enumerate(samples):
            array[row] = sample["video"]

    def dataset(self) -> Any:
        return ArrayDataset(self.path, open_zarr)


class ZarrSharded(Bare):
    name = "zarr-python, our sharded store"
    needs = ("zarr",)
    collate = None

    def dataset(self) -> Any:
        return ArrayDataset(self.path, open_zarr_of_store)


class TensorstoreDataset(ArrayDataset):
    """Reads a batch at once, as tensorstore's documentation recommends."""

    def read(self, index: int) -> np.ndarray:
        if self.array is None:
            self.array = self.open_array(self.path)
        return self.array[index].read().result()

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        if self.array is None:
            self.array = self.open_array(self.path)
        reads = [self.array[index].read() for index in indices]
        return [self.label(index, read.result()) for index, read in zip(indices, reads, strict=True)]


class Tensorstore(Bare):
    name = "tensorstore, our sharded store"
    needs = ("tensorstore",)
    collate = None

    def dataset(self) -> Any:
        return TensorstoreDataset(self.path, open_tensorstore)


def open_h5(path: Path) -> Any:
    if (path / "needs_plugin").exists():
        import hdf5plugin  # noqa: F401 (registers its filters)
    import h5py

    # the cache of decoded chunks is of no use where each chunk is read once an epoch
    return h5py.File(path / "video.h5", "r", rdcc_nbytes=0)["video"]


class H5Plain(Format):
    name = "h5py, chunked, not compressed"
    needs = ("h5py",)

    def options(self) -> dict[str, Any]:
        return {}

    def write(self, store: Path) -> None:
        import h5py

        write_labels(self.path, store)
        samples = list(stored_samples(store))
        options = self.options()
        with h5py.File(self.path / "video.h5", "w", libver="latest") as file:
            shape = samples[0]["video"].shape
            video = file.create_dataset(
                "video", (len(samples), *shape), "uint8", chunks=(1, *shape), **options
            )
            for row, sample in enumerate(samples):
                video[row] = sample["video"]

    def dataset(self) -> Any:
        return ArrayDataset(self.path, open_h5)


class H5Gzip(H5Plain):
    name = "h5py, gzip 1"
    compresses = True

    def options(self) -> dict[str, Any]:
        return {"compression": "gzip", "compression_opts": 1}


class H5Zstd(H5Plain):
    name = "h5py, zstd 1 (hdf5plugin)"
    needs = ("h5py", "hdf5plugin")
    compresses = True

    def options(self) -> dict[str, Any]:
        import hdf5plugin

        (self.path / "needs_plugin").touch()
        return dict(hdf5plugin.Zstd(clevel=1))


def from_webdataset(sample: Sample) -> Sample:
    label = json.loads(sample["json"])
    return {
        "video": torch.frombuffer(bytearray(sample["bin"]), dtype=torch.uint8).view(label["shape"]),
        "class_label": label["class_label"],
        "future_position": torch.tensor(label["future_position"]),
    }


class Webdataset(Format):
    name = "WebDataset, tar shards"
    needs = ("webdataset",)
    can_seek = False

    def write(self, store: Path) -> None:
        import webdataset

        with webdataset.ShardWriter(str(self.path / "%04d.tar"), maxcount=SHARD, verbose=0) as sink:
            for row, sample in enumerate(stored_samples(store)):
                label = {
                    "class_label": sample["class_label"],
                    "future_position": sample["future_position"].tolist(),
                    "shape": sample["video"].shape,
                }
                sink.write(
                    {
                        "__key__": f"{row:06d}",
                        "bin": sample["video"].tobytes(),
                        "json": json.dumps(label).encode(),
                    }
                )

    def dataset(self) -> Any:
        import webdataset

        files = [str(path) for path in sorted(self.path.glob("*.tar"))]
        return (
            webdataset.WebDataset(files, shardshuffle=len(files), empty_check=False)
            .shuffle(SHARD)
            .map(from_webdataset)
        )


class Mds(Format):
    name = "MosaicML Streaming MDS"
    needs = ("streaming",)
    compression: ClassVar[str | None] = None

    def write(self, store: Path) -> None:
        from streaming import MDSWriter

        columns = {"video": "ndarray", "class_label": "int", "future_position": "ndarray"}
        with MDSWriter(out=str(self.path / "mds"), columns=columns, compression=self.compression) as out:
            for sample in stored_samples(store):
                out.write(sample)

    def dataset(self) -> Any:
        from streaming import StreamingDataset

        return StreamingDataset(local=str(self.path / "mds"), shuffle=True, batch_size=BATCH)


class MdsZstd(Mds):
    name = "MosaicML Streaming MDS, zstd 1"
    compresses = True
    compression = "zstd:1"


FORMATS = (
    Bare, Trajstore, Generated, Loose, ZarrPlain, ZarrSharded, Tensorstore,
    H5Plain, H5Gzip, H5Zstd, Webdataset, Mds, MdsZstd,
)  # fmt: skip


def measure_random(form: Format, count: int) -> dict[str, float]:
    """Single samples in random order, samples/s."""
    if not form.can_seek:
        return {}
    dataset = form.dataset()
    rows = np.random.default_rng(0).permutation(len(dataset))[:count].tolist()
    dataset[rows[-1]]
    started = time.perf_counter()
    for row in rows:
        touch(dataset[row])
    return {"rate": len(rows) / (time.perf_counter() - started)}


def measure_epoch(form: Format, workers: int) -> dict[str, float]:
    """A shuffled epoch in batches, samples/s; the first batch, s; memory above what the process began with, MB."""
    memory = memory_mb("VmRSS")
    started = time.perf_counter()
    loader = form.loader(workers)
    batches = iter(loader)
    touch(next(batches))
    first = time.perf_counter() - started
    if workers:  # starting processes is not what is compared: the second epoch is
        for batch in batches:
            touch(batch)
        batches, started = iter(loader), time.perf_counter()
        count = 0
    else:
        count, started = 0, time.perf_counter()
    for batch in batches:
        touch(batch)
        count += len(batch["class_label"])
    seconds = time.perf_counter() - started
    return {"rate": count / seconds, "first": first, "peak": memory_mb("VmHWM") - memory}


def touch(sample: Sample) -> None:
    """Use what was read."""
    video = sample["video"]
    assert video.dtype in (torch.uint8, np.uint8)
    assert video.shape[-3:] == (3, 64, 64)


def memory_mb(name: str) -> float:
    """Memory of this process; not ru_maxrss, which a child inherits from its parent."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) * 1.024e-3  # type: ignore[index]


def drop_from_cache(folder: Path) -> None:
    """Ask the system to forget the content of files."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def in_child(function: Callable[..., Any], *arguments: Any, seconds: float = 600.0) -> Any:
    """Call a function in a forked process, and end all processes that it has started."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def run() -> None:
        os.setsid()
        warnings.simplefilter("ignore")
        try:
            send.send((True, function(*arguments)))
        except Exception:  # noqa: BLE001
            send.send((False, traceback.format_exc()))
        time.sleep(3600)  # until it is killed with its children

    child = context.Process(target=run)
    child.start()
    good, result = receive.recv() if receive.poll(seconds) else (False, f"no answer in {seconds} s")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.join()
    if not good:
        print(f"failed: {result}", file=sys.stderr)
        return None
    return result


def build(path: Path, samples: int) -> None:
    import trajstore

    trajstore.build(path, samples=samples, samples_per_shard=SHARD)


def files_bytes(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def measure(folder: Path, *, samples: int, rounds: int, only: list[str]) -> list[dict[str, Any]]:
    store = folder / "store.zarr"
    in_child(build, store, samples)
    forms = []
    for kind in FORMATS:
        if only and not any(name.lower() in kind.name.lower() for name in only):
            continue
        missing = [name for name in kind.needs if importlib.util.find_spec(name) is None]
        if missing:
            print(f"{kind.name}: left out, {', '.join(missing)} is not installed")
            continue
        path = folder / kind.__name__
        path.mkdir()
        form = kind(path)
        in_child(form.write, store)
        forms.append(form)
        print(f"written: {form.name}", file=sys.stderr)

    figures: dict[str, dict[str, list[float]]] = {form.name: {} for form in forms}

    def note(form: Format, column: str, result: dict[str, float] | None, key: str = "rate") -> None:
        if result and key in result:
            figures[form.name].setdefault(column, []).append(result[key])
            print(f"{form.name}: {column} {result[key]:,.2f}", file=sys.stderr, flush=True)

    count = min(samples, 500)
    for _ in range(rounds):
        for form in forms:
            where = store if (form.path / "store.json").exists() else form.path
            in_child(measure_epoch, form, 0)  # fills the page cache
            note(form, "random", in_child(measure_random, form, count))
            warm = in_child(measure_epoch, form, 0)
            for column in ("epoch", "first", "peak"):
                note(form, column, warm, "rate" if column == "epoch" else column)
            note(form, "epoch_2", in_child(measure_epoch, form, 2))
            drop_from_cache(where)
            note(form, "random_cold", in_child(measure_random, form, count))
            drop_from_cache(where)
            note(form, "epoch_cold", in_child(measure_epoch, form, 0))
    rows = []
    for form in forms:
        where = store if (form.path / "store.json").exists() else form.path
        size = 0 if isinstance(form, Generated) else files_bytes(where)
        medians = {column: statistics.median(values) for column, values in figures[form.name].items()}
        rows.append({"name": form.name, "compresses": form.compresses, "kb": size / samples / 1e3, **medians})
    return rows


def compare(folder: Path, *, samples: int, rounds: int, against: Path) -> None:
    """Read with this checkout and with another, each in processes of its own and out of a store of its own."""
    fields = {"samples": samples, "samples_per_shard": SHARD}

    def measure_one(checkout: Path, store: Path) -> checkouts.Figures:
        figures = checkouts.run(checkout, checkouts.READ, str(store))
        figures |= checkouts.run(checkout, checkouts.EPOCH, str(store))
        figures["tensors"] = checkouts.run(checkout, checkouts.FIRST_TENSORS, str(store))["seconds"]
        return figures | checkouts.run(checkout, checkouts.FIRST_READ, str(store))

    sides = {}
    for number, (name, checkout) in enumerate(checkouts.name_sides(against).items()):
        store = folder.absolute() / f"{number}.zarr"
        checkouts.build(checkout, store, fields)
        sides[name] = partial(measure_one, checkout, store)
    found = checkouts.take_turns(rounds, sides)
    print(f"{samples:,} samples, median of {rounds} rounds\n")
    labels = {
        "decode": "whole samples in order, one thread, samples/s",
        "random": "random single samples, samples/s",
        "camera": "one camera of random single samples, samples/s",
        "epoch": "shuffled epoch, two workers, samples/s",
        "seconds": "first batch of a reader, s",
        "whole": "the same with the interpreter's start, s",
        "tensors": "first batch of a dataset after torch, s",
    }
    checkouts.print_sides(found, labels)


def print_table(rows: list[dict[str, Any]]) -> None:
    columns = {
        "random": "random", "epoch": "shuffled", "epoch_2": "2 workers", "random_cold": "random, cold",
        "epoch_cold": "shuffled, cold",
    }  # fmt: skip
    print(f"| samples/s | {' | '.join(columns.values())} | KB a sample | first batch, s | peak memory, MB |")
    print("|---|" + "---:|" * (len(columns) + 3))
    for row in rows:
        rates = [f"{row[column]:,.0f}" if column in row else "–" for column in columns]
        rest = [f"{row['kb']:,.1f}", f"{row.get('first', 0):.2f}", f"{row.get('peak', 0):,.0f}"]
        print(f"| {row['name']} | {' | '.join(rates + rest)} |")
    by_name = {row["name"]: row for row in rows}
    if {Trajstore.name, Generated.name} <= by_name.keys():
        stored, drawn = by_name[Trajstore.name], by_name[Generated.name]
        for column, title in columns.items():
            if column in stored and column in drawn:
                print(f"{title}: trajstore / no store {stored[column] / drawn[column]:.2f}")
    if {"trajstore", Bare.name, Loose.name} <= by_name.keys():
        mine, bare, loose = (by_name[name] for name in ("trajstore", Bare.name, Loose.name))
        for column, title in columns.items():
            if not all(column in row for row in (mine, bare, loose)):
                continue
            print(f"{title}: bare loop / trajstore {bare[column] / mine[column]:.2f}, "
                  f"trajstore / loose .pt {mine[column] / loose[column]:.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of formats")
    checkouts.add_against(parser)
    arguments = parser.parse_args()
    if arguments.against:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            compare(
                Path(folder), samples=arguments.samples, rounds=arguments.rounds, against=arguments.against
            )
        return
    multiprocessing.set_forkserver_preload(["torch"])
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = measure(Path(folder), samples=arguments.samples, rounds=arguments.rounds, only=arguments.only)
    load = os.getloadavg()[1]
    print(f"{arguments.samples:,} samples, median of {arguments.rounds} rounds, batches of {BATCH}, "
          f"{os.cpu_count()} processors, load average {load:.1f}\n")  # fmt: skip
    print_table(rows)


if __name__ == "__main__":
    main()
