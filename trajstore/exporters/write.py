"""Write what is missing of an export: batches of rows, files durable before they are counted, metadata last."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import (
    ExportError,
    TrajstoreError,
    is_full,
)
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.exporters import Encoder, find_format
from trajstore.exporters.interface import Bytes
from trajstore.exporters.plan import (
    METADATA_FILE,
    UNFINISHED_FILE,
    ExportPlan,
    find_there,
    list_folders,
    read_record,
)
from trajstore.exporters.records import ExportRecord, Source, read_labels
from trajstore.progress import Tally
from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.storage.disk_space import (
    explain_full_disk,
)
from trajstore.storage.durable import make_folders, publish, publish_all, remove, sweep
from trajstore.storage.location import Location
from trajstore.store.handle import reopen_store
from trajstore.store.layout import FRAMES
from trajstore.text import format_count

BATCH_BYTES: Final = 64 * 2**20
"""About how many bytes of files a thread writes before it waits for the disk."""

WAITING_THREADS: Final = 3
"""Threads beside those that compute, so that writes to the disk overlap with computing."""


def begin_export(plan: ExportPlan) -> None:
    """Make the folders, and say what is being exported, before the first file."""
    for name in list_folders(plan.format, plan.source):
        make_folders(plan.folder / name)
    sweep(plan.folder)
    publish(plan.folder / UNFINISHED_FILE, plan.source.to_json())
    remove(plan.folder / METADATA_FILE)


def finish_export(plan: ExportPlan, started: float) -> ExportRecord:
    """Write the metadata, which says that all files are there."""
    spec = plan.store.spec
    counts = {
        name: _count(plan, name, names)
        for name, names in (("class_label", spec.dataset.classes), ("split", SPLIT_NAMES))
    }
    source = plan.source
    metadata = ExportRecord(
        total_samples=len(plan.rows),
        class_distribution=counts["class_label"],
        generation_time_seconds=round(time.monotonic() - started, 3),
        timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        split_distribution=counts["split"],
        **{name: getattr(source, name) for name in Source.model_fields},
    )
    publish(plan.folder / METADATA_FILE, metadata.to_json())
    remove(plan.folder / UNFINISHED_FILE)
    return metadata


def _count(plan: ExportPlan, column: str, names: Sequence[str]) -> dict[str, int]:
    """How often each value of a column occurs among the exported rows."""
    counts = np.bincount(plan.reader.read_column(column, plan.rows), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


@dataclass(frozen=True)
class RowBatch:
    """Some rows of one shard, whose files are written together."""

    rows: list[int]

    def __str__(self) -> str:
        return f"rows-{self.rows[0]:06d}"


def make_batches(rows: NDArray[np.int64], *, rows_per_shard: int, rows_max: int) -> Iterator[RowBatch]:
    """Cut rows into batches.

    Parameters
    ----------
    rows : (n,) int64
        In ascending order.
    """
    for _, group in groupby(rows.tolist(), key=lambda row: row // rows_per_shard):
        shard = list(group)
        for at in range(0, len(shard), rows_max):
            yield RowBatch(shard[at : at + rows_max])


@dataclass(frozen=True)
class WriteBatch:
    """Write the files of some samples, those that are not there and right, on whatever machine sees both places."""

    reader: StoreReader
    folder: Path
    format_name: str
    source: Source
    turn: AbstractContextManager[object] | threading.Semaphore = field(default_factory=nullcontext)
    _local: threading.local = field(default_factory=threading.local)

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages whose versions decide the bytes."""
        return find_format(self.format_name).packages

    def __call__(self, batch: RowBatch) -> tuple[int, int]:
        """Write a batch."""
        touched: set[int] = set()
        size = publish_all(self._files(batch, touched))
        return len(touched), size

    def _files(self, batch: RowBatch, touched: set[int]) -> Iterator[tuple[Path, Bytes]]:
        """The files to write."""
        encoder = self._encoder()
        with self.turn:
            labels = read_labels(self.reader, np.array(batch.rows))
        memory = {FRAMES: encoder.frames, **encoder.annotations}
        rows = zip(
            *(self.reader.read_each(batch.rows, out, column=name) for name, out in memory.items()),
            strict=True,
        )
        for label in labels:
            with self.turn:
                row, *_ = next(rows)
                files: Iterable[tuple[str, Bytes]] = list(encoder.encode(row, label))
            for name, data in files:
                path = self.folder / name
                if not _has_content(path, data):
                    touched.add(row)
                    yield path, data

    def _encoder(self) -> Encoder:
        """The encoder of this thread."""
        if not hasattr(self._local, "encoder"):
            make_encoder = find_format(self.format_name).make_encoder
            self._local.encoder = make_encoder(self.source)
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
            self.format_name,
        )


def _reopen(
    location: Location, samples: int, fingerprint: str, folder: Path, checksum: int, format_name: str
) -> WriteBatch:
    """Open the store and the folder of an export in another process."""
    source = read_record(folder / UNFINISHED_FILE, Source)
    if source is None or zlib.crc32(source.to_json()) != checksum:
        message = (
            f"{folder}: found another folder here than where the export was begun, expected one that is the same for "
            "all workers"
        )
        raise ExportError(message)
    store = reopen_store(location, samples=samples, fingerprint=fingerprint, groups=source.annotations)
    return WriteBatch(StoreReader(store), folder, format_name, source)


def _has_content(path: Path, data: Bytes) -> bool:
    """Whether a file has this content already."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def fill_export(plan: ExportPlan, options: RunOptions) -> tuple[int, int]:
    """Compare what an unfinished export has left, then write what is missing; new samples, and their bytes."""
    write = WriteBatch(
        plan.reader, plan.folder, plan.format_name, plan.source, threading.Semaphore(options.threads)
    )
    there, missing = plan.rows[plan.is_there], plan.rows[~plan.is_there]
    phases = [("check", there, len(there), 0)] if len(there) else []
    phases.append(("export", missing, len(plan.rows), len(there)))
    each = sum(plan.format.measure_files(plan.source))
    new_samples = new_bytes = 0
    for phase, rows, total, done in phases:
        tally = Tally(phase, options.report, total=total, done=done, raw_bytes_each=0)

        def finished(batch: RowBatch, value: tuple[int, int] | None, tally: Tally = tally) -> None:
            nonlocal new_samples, new_bytes
            samples, size = value or (0, 0)
            new_samples, new_bytes = new_samples + samples, new_bytes + size
            tally.add(len(batch.rows), stored_bytes=size)

        run_tasks(
            write,
            make_batches(
                rows, rows_per_shard=plan.reader.rows_per_shard, rows_max=max(1, BATCH_BYTES // each)
            ),
            options=options,
            place=plan.folder,
            waiting_threads=WAITING_THREADS,
            tallies=[tally],
            finished=finished,
            describe_state=lambda: describe_state(plan),
        )
    if options.cluster:
        sweep(plan.folder)  # what killed workers have left
    return new_samples, new_bytes


def describe_state(plan: ExportPlan) -> str:
    """What is written, what is missing, and how to go on."""
    total = len(plan.rows)
    try:
        there = int(find_there(plan.folder, plan.rows, plan.format, plan.source).sum())
    except OSError:
        there = 0
    return (
        f"{format_count(there)} of {format_count(total)} samples are exported, "
        f"{format_count(total - there)} are missing; continue with: {plan.command()}"
    )


def explain_error(plan: ExportPlan, error: OSError) -> TrajstoreError:
    """The error to show for one that the filesystem raised."""
    state = describe_state(plan)
    if is_full(error):
        return explain_full_disk(str(plan.folder), state=state)
    return ExportError(f"{plan.folder}: cannot be written: {error.strerror or error}; {state}")
