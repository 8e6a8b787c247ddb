"""What a card is about: a finished store, or a finished export."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import DriftError, ExportError, IncompleteStoreError
from trajstore.exporters import find_format
from trajstore.exporters.plan import (
    METADATA_FILE,
    UNFINISHED_FILE,
    check_class,
    list_options,
    read_record,
    select_rows,
)
from trajstore.exporters.records import ExportRecord, Source
from trajstore.reading.generator import SampleGenerator
from trajstore.reading.samples import Samples
from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.attributes import ROOT_KEY
from trajstore.store.columns import Column
from trajstore.store.handle import StoreHandle, open_store
from trajstore.text import format_count, quote

ZARR: Final = "zarr"
"""The format of a store, beside those of exports."""


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes
    ----------
    storage : Storage
        Its files.
    samples : Samples
        The samples: those of the store, or those that the spec of an export gives.
    format : str
        ``zarr``, or that of the export.
    source : Source or None
        What an export was made from.
    rows : (n,) int64
        Its rows, by their numbers in the store.
    fingerprint : str
        What decides a row's content, hashed.
    finished : str
        When it was finished, ISO 8601.
    versions : dict
        Versions of what made it, as far as that is known.
    """

    storage: Storage
    samples: Samples
    format: str
    source: Source | None
    rows: NDArray[np.int64]
    fingerprint: str
    finished: str
    versions: dict[str, str]

    @property
    def spec(self) -> DatasetSpec:
        """The spec of the store."""
        return self.samples.spec

    @property
    def location(self) -> Location:
        """Where it is."""
        return self.storage.location

    @property
    def folder_name(self) -> str:
        """The last part of its path."""
        folder = self.location.folder
        return str(self.location).rpartition("/")[-1] if folder is None else folder.absolute().name

    @property
    def annotations(self) -> tuple[str, ...]:
        """The annotations that it has."""
        return self.spec.annotations.groups if self.source is None else self.source.annotations

    @property
    def cameras(self) -> int:
        """How many cameras it has."""
        return self.frame_shape[0]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Cameras, frames, channels, height, width."""
        if self.source is not None:
            return self.source.tensor_shape
        video = self.spec.video
        return (video.cameras, video.frames, 3, video.height, video.width)

    @property
    def columns(self) -> list[Column]:
        """The arrays of the store that it has, flags aside."""
        flags = {group.flags.name for group in self.samples.layout.groups}
        hidden = {
            column.name
            for group in self.samples.layout.groups
            for column in group.columns
            if group.name not in ("video", "labels", *self.annotations)
        }
        return [one for one in self.samples.layout.columns if one.name not in flags | hidden]

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Samples by class, then by split."""
        names = self.spec.dataset.classes
        labels = self.samples.column("class_label", range(len(self.samples)))[self.rows]
        splits = self.samples.column("split", range(len(self.samples)))[self.rows]
        table = np.bincount(
            labels.astype(np.int64) * len(SPLIT_NAMES) + splits, minlength=len(names) * len(SPLIT_NAMES)
        )
        rows = table.reshape(len(names), len(SPLIT_NAMES)).tolist()
        return {name: dict(zip(SPLIT_NAMES, row, strict=True)) for name, row in zip(names, rows, strict=True)}

    @property
    def splits(self) -> list[str]:
        """The splits of which it has samples."""
        return [name for name in SPLIT_NAMES if any(row[name] for row in self.counts.values())]

    def command(self) -> list[str]:
        """The commands that make it again, with its spec in a file."""
        name = self.folder_name
        if self.source is None:
            return [f"trajstore build {quote(name)} --spec spec.toml"]
        return [
            "trajstore build store.zarr --spec spec.toml",
            f"trajstore export store.zarr {quote(name)} {list_options(self.source)}",
        ]


def open_subject(location: Location) -> Subject:
    """Open a finished store or a finished export."""
    folder = location.folder
    if (
        folder is not None
        and not (folder / ROOT_KEY).exists()
        and ((folder / METADATA_FILE).exists() or (folder / UNFINISHED_FILE).exists())
    ):
        return _open_export(folder)
    return _open_store(open_store(open_storage(location)))


def _open_store(store: StoreHandle) -> Subject:
    """Open a store; refuse one that is not finished."""
    spec, written = store.spec, store.count_written()
    missing = {name: rows for name, rows in written.items() if rows < spec.dataset.samples}
    if missing:
        name, rows = next(iter(missing.items()))
        total, argument = spec.dataset.samples, store.location.argument
        message = (
            f"{store.location}: unfinished, {name} {format_count(rows)} of {format_count(total)} samples, expected all "
            f"before it is given away; continue with: trajstore build {argument}"
        )
        raise IncompleteStoreError(message)
    last = store.attributes.history[-1]
    return Subject(
        storage=store.storage,
        samples=StoreReader(store),
        format=ZARR,
        source=None,
        rows=np.arange(spec.dataset.samples),
        fingerprint=store.attributes.fingerprint,
        finished=last.time,
        versions=last.versions,
    )


def _open_export(folder: Path) -> Subject:
    """Open an export; refuse one that is not finished, or that nobody knows the spec of."""
    record = read_record(folder / METADATA_FILE, ExportRecord)
    if record is None:
        message = (
            f"{folder}: found an export that was interrupted ({UNFINISHED_FILE}), expected a complete one; finish it "
            f"with the same trajstore export command first"
        )
        raise ExportError(message)
    source = record.source
    if source is None:
        message = (
            f"{folder}/{METADATA_FILE}: found nothing of what the folder was made from, expected an export that "
            "trajstore wrote"
        )
        raise ExportError(message)
    spec = source.spec
    if spec.fingerprint != source.fingerprint:
        message = (
            f"{folder}: holds rows that the installed generator does not make (fingerprint {source.fingerprint[:16]}, "
            f"expected {spec.fingerprint[:16]}); use the trajstore version that exported them"
        )
        raise DriftError(message)
    check_class(source.class_name, spec)
    samples, ranges = SampleGenerator(spec), [range(*each) for each in source.row_ranges]
    rows, splits = select_rows(samples, ranges, split=source.split, class_name=source.class_name)
    if len(rows) != record.total_samples:
        message = (
            f"{folder}/{METADATA_FILE}: found {format_count(record.total_samples)} samples, expected "
            f"{format_count(len(rows))} of its rows; export again"
        )
        raise ExportError(message)
    _check_files(folder, rows, splits, source)
    return Subject(
        storage=open_storage(Location(str(folder))),
        samples=samples,
        format=source.format,
        source=source,
        rows=rows,
        fingerprint=source.fingerprint,
        finished=str(record.timestamp),
        versions={},
    )


def _check_files(folder: Path, rows: NDArray[np.int64], splits: NDArray[np.int8], source: Source) -> None:
    """Refuse an export that has lost files."""
    writer = find_format(source.format)
    parts = writer.plan(rows, splits, source)
    missing = [name for name in writer.list_results(parts, source) if not (folder / name).is_file()]
    if missing:
        message = (
            f"{folder}: {format_count(len(missing))} files are missing, such as {missing[0]}, expected all before it "
            "is given away; export it again"
        )
        raise ExportError(message)
