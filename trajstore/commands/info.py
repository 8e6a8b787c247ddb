"""What a store holds and how complete it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.show import Shown
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import StoreHandle, open_store
from trajstore.store.layout import FRAMES


@dataclass(frozen=True, repr=False)
class Summary(Shown):
    """What a store holds, in numbers.

    Attributes
    ----------
    location : str
        Where it is.
    samples : int
        Rows that it has when it is finished.
    written : dict
        Rows that are written, by column group.
    is_complete : bool
        Whether all rows of all groups are written.
    classes, splits : dict
        Rows per class and per split, of those whose labels are written.
    sample_shape : dict
        Size of each dimension of a sample.
    sample_bytes, raw_bytes : int
        Uncompressed bytes of a sample's frames, and of all frames that are written.
    ratio : float
        How many times smaller the stored frames are than the raw ones; 0 where there are none.
    stored_bytes : dict
        Bytes on disk, by column group, with ``other`` for metadata and the rest.
    fingerprint : str
        What decides a row's content, hashed.
    spec : dict
        The whole spec.
    history : list of dict
        Who created, extended and finished the store.
    """

    _shown = (
        "location is_complete samples written classes splits sample_shape sample_bytes stored_bytes ratio"
    )

    location: str
    samples: int
    written: dict[str, int]
    is_complete: bool
    classes: dict[str, int]
    splits: dict[str, int]
    sample_shape: dict[str, int]
    sample_bytes: int
    raw_bytes: int
    ratio: float
    stored_bytes: dict[str, int]
    fingerprint: str
    spec: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def total_stored_bytes(self) -> int:
        """Bytes on disk."""
        return sum(self.stored_bytes.values())

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON.

        Returns
        -------
        dict
            The attributes, with totals.
        """
        totals = {"total_stored_bytes": self.total_stored_bytes, "ratio": round(self.ratio, 2)}
        return asdict(self) | totals


def info(path: str | Path | Location, *, storage_options: Mapping[str, str] | None = None) -> Summary:
    """Summarize a store, finished or not.

    Parameters
    ----------
    path : path-like
        The store: a folder or a URL.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    Summary
        What it holds.

    Raises
    ------
    StoreError
        If there is no store, or none that this version reads.
    """
    return summarize(open_store(open_storage(Location.parse(path, storage_options))))


def summarize(store: StoreHandle) -> Summary:
    """Sum up an open store."""
    spec, layout = store.spec, store.layout
    reader = StoreReader(store)
    written, sizes = store.count_written(), store.storage.measure()
    stored = {
        group.name: sum(sizes.pop(column.name, 0) for column in group.columns) for group in layout.groups
    }
    frames, group = layout.column(FRAMES), layout.group_of(FRAMES)
    raw_bytes = written[group.name] * frames.row_bytes
    return Summary(
        location=str(store.location),
        samples=spec.dataset.samples,
        written=written,
        is_complete=all(rows == spec.dataset.samples for rows in written.values()),
        classes=_count(reader, "class_label", spec.dataset.classes),
        splits=_count(reader, "split", SPLIT_NAMES),
        sample_shape=reader.sample_shape,
        sample_bytes=frames.row_bytes,
        raw_bytes=raw_bytes,
        ratio=raw_bytes / stored[group.name] if stored[group.name] else 0.0,
        stored_bytes={**stored, "other": sum(sizes.values())},
        fingerprint=store.attributes.fingerprint,
        spec=spec.model_dump(mode="json"),
        history=[entry.model_dump(mode="json") for entry in store.attributes.history],
    )


def _count(reader: StoreReader, column: str, names: tuple[str, ...]) -> dict[str, int]:
    """How often each value of a column occurs among the rows that are written."""
    parts = [reader.column(column, rows) for rows in reader.written_rows(column)]
    return {
        name: sum(int(np.count_nonzero(part == index)) for part in parts) for index, name in enumerate(names)
    }
