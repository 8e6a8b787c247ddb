"""Export a store to a folder of loose files: check, write what is missing, and the metadata last.

A file has its name only when its bytes are on the disk, and the metadata is there only when all files are. So a folder
without ``metadata.json`` is an export that goes on when the command is run again; ``unfinished.json`` says of what.
"""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajstore.errors import (
    ExportError,
    IncompleteStoreError,
    SpecError,
    SpecMismatchError,
    TrajstoreError,
    is_full,
)
from trajstore.executors import ThreadExecutor
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.exporters import Encoder, Format, find_format
from trajstore.exporters.interface import Bytes, Dtype
from trajstore.exporters.records import LABEL_COLUMNS, ExportRecord, Source, read_labels
from trajstore.progress import Report, Tally, ignore
from trajstore.reading.rows import check_split, parse_rows
from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.storage.disk_space import (
    Estimate,
    check_space,
    describe_full_disk,
    inspect_filesystem,
    round_up,
)
from trajstore.storage.durable import make_folders, publish, publish_all, remove, sweep
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import StoreHandle, open_store
from trajstore.store.layout import FRAMES
from trajstore.text import describe_invalid, format_count

METADATA_FILE: Final = "metadata.json"
UNFINISHED_FILE: Final = "unfinished.json"

BATCH_BYTES: Final = 64 * 2**20
"""About how many bytes of files a thread writes before it waits for the disk."""

WAITING_THREADS: Final = 3
"""Threads beside those that compute, so that writes to the disk overlap with computing."""

RANGES_SHOWN: Final = 5

Record = TypeVar("Record", ExportRecord, Source)


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Attributes
    ----------
    location : str
        The folder.
    metadata : ExportRecord
        What it holds.
    new_samples : int
        Samples of which this run has written a file.
    new_bytes : int
        Bytes of the files that it has written.
    seconds : float
        Wall time of the run.
    """

    location: str
    metadata: ExportRecord
    new_samples: int
    new_bytes: int
    seconds: float


@dataclass(frozen=True)
class ExportPlan:
    """What an export is about to do.

    Attributes
    ----------
    rows : (n,) int64
        The rows to export.
    is_there : (n,) bool
        Which of them have all their files.
    """

    store: StoreHandle
    reader: StoreReader
    folder: Path
    format_name: str
    format: Format
    source: Source
    rows: NDArray[np.int64]
    is_there: NDArray[np.bool_]
    stored: ExportRecord | None

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return self.stored is not None and self.stored.source == self.source and bool(self.is_there.all())

    def estimate(self, block: int) -> Estimate:
        """Bytes and files that this export will add."""
        sizes = self.format.measure_files(self.source.tensor_shape, self.source.tensor_dtype)
        missing = int((~self.is_there).sum())
        each = sum(round_up(size, block) for size in sizes)
        return Estimate(bytes=missing * each, files=missing * len(sizes) + 1)

    def command(self) -> str:
        """The command that goes on with this export."""
        source, samples = self.source, self.store.spec.dataset.samples
        first, stop = source.row_ranges[0][0], source.row_ranges[-1][1]
        options = [
            f"--format {self.format_name}",
            *([f"--split {source.split}"] if source.split else []),
            *([f"--rows {first}:{stop}"] if (first, stop) != (0, samples) else []),
            *([f"--dtype {source.tensor_dtype}"] if source.tensor_dtype != "uint8" else []),
            *(["--allow-partial"] if len(source.row_ranges) > 1 else []),
        ]
        places = f"{self.store.location.argument} {shlex.quote(str(self.folder))}"
        return f"trajstore export {places} {' '.join(options)}"


def export(
    store: str | Path | Location,
    folder: str | Path,
    *,
    format: str = "pt",  # noqa: A002
    split: str | None = None,
    rows: str | None = None,
    dtype: str = "uint8",
    workers: int | None = None,
    progress: Report | None = None,
    allow_partial: bool = False,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> ExportReport:
    """Export samples to loose files, or what is missing of them: running it again is resuming it.

    Parameters
    ----------
    store : path-like
        The store.
    folder : path-like
        Where: a new or empty folder, or an export of the same rows or fewer of them.
    format : str
        ``pt``: ``videos/sample_NNNN.pt`` for ``torch.load`` and ``labels/sample_NNNN.json``.
    split : {'train', 'val', 'test'}, optional
        Which split; by default all.
    rows : str, optional
        ``"a:b"``, as in a slice: which of the store's rows, counted from 0. Files are numbered by the store's rows.
    dtype : {'uint8', 'float32'}
        Of the exported frames: 0 … 255, or the same divided by 255.
    workers : int, optional
        Threads that compute; by default one for each processor.
    progress : callable, optional
        Receives `trajstore.progress.Progress` events.
    allow_partial : bool
        Export what is written of a store that is not finished.
    force : bool
        Go on although it seems not to fit.
    should_stop : callable, optional
        Asked before each task; anything but 0 is the number of a signal, and stops after the tasks in flight.
    storage_options : mapping, optional
        Of the store; see `trajstore.build`.

    Returns
    -------
    ExportReport
        What was done and what the folder holds.

    Raises
    ------
    SpecError
        If an argument is invalid, or there are no such rows.
    SpecMismatchError
        If the folder holds an export of something else; each difference is named.
    StoreError
        If there is no store, it is damaged, or rows are not written yet.
    ExportError
        If the folder cannot be used or written.
    MissingExtraError
        If a package that the format needs is not installed.
    NotEnoughSpaceError
        If it will not fit, or the disk became full: what is there is right, and the next export goes on.
    InterruptedBuildError
        If ``should_stop`` said so: likewise.
    """
    started = time.monotonic()
    threads = ThreadExecutor(workers).workers
    location = Location.parse(store, storage_options)
    plan = plan_export(
        location, folder, format=format, split=split, rows=rows, dtype=dtype, allow_partial=allow_partial
    )
    if plan.is_done and plan.stored is not None:
        return ExportReport(str(folder), plan.stored, 0, 0, time.monotonic() - started)
    if not force:
        filesystem = inspect_filesystem(folder)
        estimate = plan.estimate(filesystem.block)
        check_space(estimate, filesystem, location=str(folder), fewer_files="export fewer rows")
    run = _Run(plan, threads, progress or ignore, should_stop or (lambda: 0))
    try:
        _begin(plan)
        run.fill()
        metadata = _finish(plan, started)
    except OSError as error:
        raise run.explain(error) from error
    return ExportReport(str(folder), metadata, run.new_samples, run.new_bytes, time.monotonic() - started)


def plan_export(
    store: str | Path | Location,
    folder: str | Path,
    *,
    format: str = "pt",  # noqa: A002
    split: str | None = None,
    rows: str | None = None,
    dtype: str = "uint8",
    allow_partial: bool = False,
) -> ExportPlan:
    """Find out what an export would do; writes nothing."""
    check_split(split)
    if dtype not in get_args(Dtype):
        message = f"dtype: found {dtype!r}, expected one of {', '.join(get_args(Dtype))}"
        raise SpecError(message)
    handle = open_store(open_storage(Location.parse(store)))
    wanted = parse_rows(rows, samples=handle.spec.dataset.samples)
    reader = StoreReader(handle)
    ranges = _check_written(reader, wanted, allow_partial=allow_partial)
    target = Path(folder)
    _check_target(target, handle)
    writer = find_format(format)
    numbers = reader.split_rows(split, ranges)
    if not len(numbers):
        message = (
            f"{store}: found no row of split {split} in rows {wanted.start}:{wanted.stop}, expected some"
        )
        raise SpecError(message)
    source = Source.model_validate(
        {
            "tensor_shape": reader.select().shape,
            "tensor_dtype": dtype,
            "split": split,
            "row_ranges": tuple((rows.start, rows.stop) for rows in ranges),
            "fingerprint": handle.attributes.fingerprint,
            "spec": handle.spec,
        }
    )
    stored = _check_same(target, source, writer)
    return ExportPlan(
        store=handle,
        reader=reader,
        folder=target,
        format_name=format,
        format=writer,
        source=source,
        rows=numbers,
        is_there=_find_there(target, numbers, writer),
        stored=stored,
    )


def _check_written(reader: StoreReader, rows: range, *, allow_partial: bool) -> tuple[range, ...]:
    """The rows that can be exported; refuse if some are missing, unless that is allowed."""
    written = reader.written_rows(FRAMES, *LABEL_COLUMNS, within=rows)
    missing = len(rows) - sum(map(len, written))
    if not missing or (allow_partial and written):
        return written
    edges = [rows.start, *(edge for part in written for edge in (part.start, part.stop)), rows.stop]
    gaps = [f"{a}:{b}" for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    shown = ", ".join(gaps[:RANGES_SHOWN]) + (", …" if len(gaps) > RANGES_SHOWN else "")
    partial = ", or export what is written with --allow-partial" if written else ""
    message = (
        f"{reader.location}: {format_count(missing)} of {format_count(len(rows))} rows are not written yet "
        f"({shown}); finish the store with: trajstore build {reader.argument}{partial}"
    )
    raise IncompleteStoreError(message)


def _check_target(folder: Path, store: StoreHandle) -> None:
    """Refuse a target that cannot be a folder of files."""
    inside = store.location.folder
    if inside is not None and folder.resolve().is_relative_to(inside.resolve()):
        message = f"{folder}: lies in the store {store.location}, which holds nothing else; name another path"
        raise ExportError(message)
    if os.path.lexists(folder) and not folder.is_dir():
        message = f"{folder}: found a file, expected a folder or nothing; name another path"
        raise ExportError(message)
    if not folder.exists() and not folder.parent.is_dir():
        message = (
            f"{folder}: the folder {folder.parent} does not exist, expected a folder to export to; "
            f"make it first: mkdir -p {shlex.quote(str(folder.parent))}"
        )
        raise ExportError(message)
    writable = folder if folder.exists() else folder.parent
    if not os.access(writable, os.R_OK | os.W_OK | os.X_OK):
        message = (
            f"{folder}: no permission to write in {writable}; change its permissions or name another path"
        )
        raise ExportError(message)


def _check_same(folder: Path, source: Source, writer: Format) -> ExportRecord | None:
    """Refuse a folder that holds anything but a part of this export; its metadata, if it is finished."""
    if not folder.is_dir():
        return None
    metadata = _read_record(folder / METADATA_FILE, ExportRecord)
    stored = metadata.source if metadata else _read_record(folder / UNFINISHED_FILE, Source)
    if stored is None:
        # an export that was cut off before its first file leaves empty folders
        ours = {*writer.folders} if metadata is None else set()
        strange = next(
            (
                path.name
                for path in sorted(folder.iterdir())
                if path.suffix != ".partial" and (path.name not in ours or next(path.iterdir(), None))
            ),
            None,
        )
        if strange is not None:
            message = (
                f"{folder}: found a folder that trajstore export did not write ({strange}), expected an export, "
                "an empty folder or none; name another path"
            )
            raise ExportError(message)
        return None
    differences = stored.differences(source)
    if differences:
        message = (
            f"{folder}: holds an export of something else ({'; '.join(differences)}); "
            "export the same again, or name another path"
        )
        raise SpecMismatchError(message)
    return metadata


def _read_record(path: Path, model: type[Record]) -> Record | None:
    """Read a file of the folder; None if it is not there."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ExportError(message) from None
    except ValidationError as error:
        detail = describe_invalid(error)[0]
        message = f"{path}: {detail}; the file is damaged: remove the folder, or name another"
        raise ExportError(message) from None


def _find_there(folder: Path, rows: NDArray[np.int64], writer: Format) -> NDArray[np.bool_]:
    """Which rows have all their files, none of them empty."""
    if not all((folder / name).is_dir() for name in writer.folders):
        return np.zeros(len(rows), dtype=bool)
    root = str(folder)

    def is_there(name: str) -> bool:
        try:
            return os.stat(f"{root}/{name}").st_size > 0  # noqa: PTH116 - a Path each takes longer than the call
        except FileNotFoundError:
            return False

    return np.array([all(map(is_there, writer.name_files(row))) for row in rows.tolist()], dtype=bool)


def _begin(plan: ExportPlan) -> None:
    """Make the folders, and say what is being exported, before the first file."""
    for name in plan.format.folders:
        make_folders(plan.folder / name)
    sweep(plan.folder)
    publish(plan.folder / UNFINISHED_FILE, plan.source.to_json())
    remove(plan.folder / METADATA_FILE)


def _finish(plan: ExportPlan, started: float) -> ExportRecord:
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
    """Write the files of some samples, those that are not there and right."""

    plan: ExportPlan
    turn: threading.Semaphore
    _local: threading.local = field(default_factory=threading.local)

    def __call__(self, batch: RowBatch) -> tuple[int, int]:
        """Write a batch."""
        touched: set[int] = set()
        size = publish_all(self._files(batch, touched))
        return len(touched), size

    def _files(self, batch: RowBatch, touched: set[int]) -> Iterator[tuple[Path, Bytes]]:
        """The files to write."""
        encoder = self._encoder()
        with self.turn:
            labels = read_labels(self.plan.reader, np.array(batch.rows))
        rows = self.plan.reader.read_each(batch.rows, encoder.frames)
        for label in labels:
            with self.turn:
                row = next(rows)
                files: Iterable[tuple[str, Bytes]] = list(encoder.encode(row, label))
            for name, data in files:
                path = self.plan.folder / name
                if not _has_content(path, data):
                    touched.add(row)
                    yield path, data

    def _encoder(self) -> Encoder:
        """The encoder of this thread."""
        source = self.plan.source
        if not hasattr(self._local, "encoder"):
            self._local.encoder = self.plan.format.make_encoder(source.tensor_shape, source.tensor_dtype)
        encoder: Encoder = self._local.encoder
        return encoder


def _has_content(path: Path, data: Bytes) -> bool:
    """Whether a file has this content already."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


class _Run:
    """One run of an export: counts, reports, and stops cleanly."""

    def __init__(
        self, plan: ExportPlan, workers: int, report: Report, should_stop: Callable[[], int]
    ) -> None:
        self._plan = plan
        self._report = report
        self._should_stop = should_stop
        self._turn = threading.Semaphore(workers)
        self._executor = ThreadExecutor(workers + WAITING_THREADS)
        self.new_samples = 0
        self.new_bytes = 0

    def fill(self) -> None:
        """Compare what an unfinished export has left, then write what is missing."""
        plan = self._plan
        write = WriteBatch(plan, self._turn)
        there, missing = plan.rows[plan.is_there], plan.rows[~plan.is_there]
        phases = [("check", there, len(there), 0)] if len(there) else []
        phases.append(("export", missing, len(plan.rows), len(there)))
        each = sum(plan.format.measure_files(plan.source.tensor_shape, plan.source.tensor_dtype))
        for phase, rows, total, done in phases:
            tally = Tally(phase, self._report, total=total, done=done, raw_bytes_each=0)

            def finished(batch: RowBatch, value: tuple[int, int] | None, tally: Tally = tally) -> None:
                samples, size = value or (0, 0)
                self.new_samples += samples
                self.new_bytes += size
                tally.add(len(batch.rows), stored_bytes=size)

            batches = make_batches(
                rows,
                rows_per_shard=plan.reader.rows_per_shard,
                rows_max=max(1, BATCH_BYTES // each),
            )
            run_tasks(
                self._executor,
                write,
                batches,
                options=RunOptions(should_stop=self._should_stop),
                tallies=[tally],
                finished=finished,
                describe_stop=lambda: f"{plan.folder}: interrupted; {self.state()}",
            )

    def state(self) -> str:
        """What is written, what is missing, and how to go on."""
        plan = self._plan
        total = len(plan.rows)
        try:
            there = int(_find_there(plan.folder, plan.rows, plan.format).sum())
        except OSError:
            there = 0
        return (
            f"{format_count(there)} of {format_count(total)} samples are exported, "
            f"{format_count(total - there)} are missing; continue with: {plan.command()}"
        )

    def explain(self, error: OSError) -> TrajstoreError:
        """The error to show for one that the filesystem raised."""
        location = str(self._plan.folder)
        if is_full(error):
            return describe_full_disk(location, state=self.state())
        return ExportError(f"{location}: cannot be written: {error.strerror or error}; {self.state()}")
