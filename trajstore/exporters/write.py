"""Write what is missing of an export: batches of rows, files durable before they are counted, metadata last."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from trajstore.errors import (
    ExportError,
    TrajstoreError,
)
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.exporters import Encoder, find_format
from trajstore.exporters.interface import Bytes, Export, Part
from trajstore.exporters.plan import (
    METADATA_FILE,
    UNFINISHED_FILE,
    ExportPlan,
    read_record,
    read_samples,
)
from trajstore.exporters.records import ExportRecord, Source
from trajstore.progress import Report, Tally
from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.storage.disk_space import (
    explain_failed_write,
)
from trajstore.storage.durable import make_folders, publish, publish_all, remove, sweep
from trajstore.storage.location import Location
from trajstore.store.handle import reopen_store
from trajstore.text import format_count

BATCH_BYTES: Final = 64 * 2**20
"""About how many bytes of files a thread writes before it waits for the disk, or of frames that it puts into them."""

COPY_BYTES: Final = 2**20
"""As much as that of a file that is there is copied at a time, where its end is another."""

WAITING_THREADS: Final = 3
"""Threads beside those that compute, so that writes to the disk overlap with computing."""


def begin_export(plan: ExportPlan) -> None:
    """Make the folders, and say what is being exported, before the first file."""
    publish(plan.folder / UNFINISHED_FILE, plan.source.to_json())
    remove(plan.folder / METADATA_FILE)
    sweep(plan.folder)
    for name in sorted({file.rpartition("/")[0] for part in plan.parts for file in part.files}):
        make_folders(plan.folder / name)


def finish_export(plan: ExportPlan, started: float, report: Report) -> ExportRecord:
    """Make what is made of all parts, then write the metadata, which says that all files are there."""
    plan.format.finish(Export(plan.folder, plan.parts, plan.reader, plan.source, report))
    spec = plan.store.spec
    counts = {
        name: _count(plan, name, names)
        for name, names in (("class_label", spec.dataset.classes), ("split", SPLIT_NAMES))
    }
    source = plan.source
    fields = {name: getattr(source, name) for name in Source.model_fields} | {
        "total_samples": len(plan.rows),
        "class_distribution": counts["class_label"],
        "generation_time_seconds": round(time.monotonic() - started, 3),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "split_distribution": counts["split"],
        **_read_cameras(plan),
    }
    metadata = ExportRecord.model_validate(fields, strict=False)
    publish(plan.folder / METADATA_FILE, metadata.to_json())
    tidy_export(plan)
    return metadata


def _read_cameras(plan: ExportPlan) -> dict[str, Any]:
    """What the exported cameras are, where they are the same in all samples."""
    intrinsics, extrinsics = plan.reader.calibration(plan.rows[:1])
    chosen = plan.source.cameras or range(len(intrinsics))
    found = {"intrinsics": [intrinsics[camera].tolist() for camera in chosen]}
    if "extrinsics" not in plan.reader.columns:
        found["extrinsics"] = [extrinsics[0, camera].tolist() for camera in chosen]
    return found


def tidy_export(plan: ExportPlan) -> None:
    """Remove what an export leaves that is killed at its end, or beside another one; where that is allowed."""
    with suppress(PermissionError):
        sweep(plan.folder)
        remove(plan.folder / UNFINISHED_FILE)


def _count(plan: ExportPlan, column: str, names: Sequence[str]) -> dict[str, int]:
    """How often each value of a column occurs among the exported rows."""
    counts = np.bincount(plan.reader.read_column(column, plan.rows), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


@dataclass(frozen=True)
class Batch:
    """Some parts, whose files are written together."""

    parts: list[Part]

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return sum(len(part.rows) for part in self.parts)

    def __str__(self) -> str:
        return f"rows-{self.parts[0].rows[0]:06d}"


def make_batches(parts: Iterable[Part], *, rows_per_shard: int, rows_max: int) -> Iterator[Batch]:
    """Put successive parts together, those that begin in the same shard of the store, up to a number of rows.

    The rows of a batch ascend, so that they are read one after the other.
    """
    for _, group in groupby(parts, key=lambda part: part.rows[0] // rows_per_shard):
        batch: list[Part] = []
        rows = 0
        for part in group:
            if batch and (rows + len(part.rows) > rows_max or part.rows[0] < batch[-1].rows[-1]):
                yield Batch(batch)
                batch, rows = [], 0
            batch.append(part)
            rows += len(part.rows)
        yield Batch(batch)


@dataclass(frozen=True)
class WriteBatch:
    """Write the files of some parts, those that are not there and right, on whatever machine sees both places."""

    reader: StoreReader
    folder: Path
    source: Source
    turn: AbstractContextManager[object] | threading.Semaphore = field(default_factory=nullcontext)
    _local: threading.local = field(default_factory=threading.local)

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages whose versions decide the bytes."""
        return find_format(self.source.format).list_packages(self.source.options)

    def __call__(self, batch: Batch) -> tuple[int, int]:
        """Write a batch; the samples of which a file was written, and the bytes of these."""
        touched: set[Part] = set()
        size = publish_all(self._list_pieces(batch, touched))
        return sum(len(part.rows) for part in touched), size

    def _list_pieces(self, batch: Batch, touched: set[Part]) -> Iterator[tuple[Path, Bytes]]:
        """The pieces of the files to write."""
        encoder = self._encoder()
        samples = read_samples(
            self.reader, self.source, [row for part in batch.parts for row in part.rows], encoder
        )
        for part in batch.parts:
            pieces = self._take_turns(encoder.encode(part, samples))
            for name, file in groupby(pieces, key=itemgetter(0)):
                path = self.folder / name
                for piece in _find_changes(path, (piece for _, piece in file)):
                    touched.add(part)
                    yield path, piece

    def _take_turns(self, pieces: Iterator[tuple[str, Bytes]]) -> Iterator[tuple[str, Bytes]]:
        """The same, made while no more threads than allowed make some."""
        while True:
            with self.turn:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def _encoder(self) -> Encoder:
        """The encoder of this thread."""
        if not hasattr(self._local, "encoder"):
            self._local.encoder = find_format(self.source.format).make_encoder(self.source)
        encoder: Encoder = self._local.encoder
        return encoder

    def __reduce__(self) -> tuple[Callable[..., WriteBatch], tuple[Any, ...]]:
        """Small: where the store and the folder are, and what they must be; whoever receives it opens both."""
        source = self.source
        return _reopen, (
            Location.parse(self.reader.location).absolute(),
            source.spec.dataset.samples,
            source.fingerprint,
            self.folder.absolute(),
            zlib.crc32(source.to_json()),
        )


def _reopen(location: Location, samples: int, fingerprint: str, folder: Path, checksum: int) -> WriteBatch:
    """Open the store and the folder of an export in another process."""
    source = read_record(folder / UNFINISHED_FILE, Source)
    if source is None or zlib.crc32(source.to_json()) != checksum:
        message = (
            f"{folder}: found another folder here than where the export was begun, expected one that is the same for "
            "all workers"
        )
        raise ExportError(message)
    store = reopen_store(location, samples=samples, fingerprint=fingerprint, groups=source.annotations)
    return WriteBatch(StoreReader(store), folder, source)


def _find_changes(path: Path, pieces: Iterable[Bytes]) -> Iterator[Bytes]:
    """All pieces of a file, or none if that is its content already."""
    rest = iter(pieces)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield from rest
        return
    with file:
        same = 0
        for piece in rest:
            if file.read(len(piece)) != piece:
                yield from _read_start(file, same)
                yield piece
                yield from rest
                return
            same += len(piece)
        if file.read(1):
            yield from _read_start(file, same)


def _read_start(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The first bytes of a file."""
    file.seek(0)
    for at in range(0, size, COPY_BYTES):
        yield file.read(min(COPY_BYTES, size - at))


def fill_export(plan: ExportPlan, options: RunOptions) -> tuple[int, int]:
    """Compare what an unfinished export has left, then write what is missing; new samples, and their bytes."""
    write = WriteBatch(plan.reader, plan.folder, plan.source, threading.Semaphore(options.threads))
    there, missing = (
        [part for part, is_there in zip(plan.parts, plan.is_there, strict=True) if is_there == wanted]
        for wanted in (True, False)
    )
    done_before = sum(len(part.rows) for part in there)
    phases = [("check", there, done_before, 0)] if there else []
    phases.append(("export", missing, len(plan.rows), done_before))
    new_samples = new_bytes = 0
    for phase, parts, total, done in phases:
        tally = Tally(phase, options.report, total=total, done=done, raw_bytes_each=0)

        def finished(batch: Batch, value: tuple[int, int] | None, tally: Tally = tally) -> None:
            nonlocal new_samples, new_bytes
            samples, size = value or (0, 0)
            new_samples, new_bytes = new_samples + samples, new_bytes + size
            tally.add(batch.samples, stored_bytes=size)

        run_tasks(
            write,
            make_batches(
                parts,
                rows_per_shard=plan.reader.rows_per_shard,
                rows_max=max(1, BATCH_BYTES // max(plan.bytes_each, prod(plan.source.tensor_shape))),
            ),
            options=options,
            place=plan.folder,
            waiting_threads=WAITING_THREADS,
            tallies=[tally],
            finished=finished,
            describe_state=lambda: describe_state(plan),
        )
    return new_samples, new_bytes


def describe_state(plan: ExportPlan) -> str:
    """What is written, what is missing, and how to go on."""
    total = len(plan.rows)
    try:
        there = plan.count_there()
    except OSError:
        there = 0
    return (
        f"{format_count(there)} of {format_count(total)} samples are exported, "
        f"{format_count(total - there)} are missing; continue with: {plan.command()}"
    )


def explain_error(plan: ExportPlan, error: OSError) -> TrajstoreError:
    """The error to show for one that the filesystem raised."""
    return explain_failed_write(plan.folder, error, state=describe_state(plan), kind=ExportError)
