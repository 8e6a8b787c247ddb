"""What a store holds and how complete it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from trajstore.reading.written import read_written
from trajstore.scene.order import SPLIT_NAMES
from trajstore.storage.location import Location
from trajstore.store.handle import StoreHandle, open_store


@dataclass(frozen=True)
class Summary:
    """A store in numbers.

    Attributes
    ----------
    location : str
        Where it is.
    samples : int
        Rows it is to have.
    written : dict
        Rows that are written, by column group.
    is_complete : bool
        Whether all rows of all groups are written.
    classes, splits : dict
        Rows per class and per split, of those whose labels are written.
    sample_shape : dict
        Size of each dimension of a sample.
    sample_bytes : int
        Raw bytes of a sample's frames.
    stored_bytes : dict
        Bytes on disk, by column group, with ``other`` for metadata and the rest.
    fingerprint : str
        What decides a row's content, hashed.
    spec : dict
        The whole spec.
    history : list of dict
        Who created, extended and finished the store.
    """

    location: str
    samples: int
    written: dict[str, int]
    is_complete: bool
    classes: dict[str, int]
    splits: dict[str, int]
    sample_shape: dict[str, int]
    sample_bytes: int
    stored_bytes: dict[str, int]
    fingerprint: str
    spec: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def total_stored_bytes(self) -> int:
        """Bytes on disk."""
        return sum(self.stored_bytes.values())

    @property
    def raw_bytes(self) -> int:
        """Uncompressed bytes of the frames that are written."""
        return self.written["video"] * self.sample_bytes

    @property
    def ratio(self) -> float:
        """How many times smaller the stored frames are than the raw ones."""
        stored = self.stored_bytes["video"]
        return self.raw_bytes / stored if stored and self.raw_bytes else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON.

        Returns
        -------
        dict
            The attributes, with totals.
        """
        return asdict(self) | {
            "total_stored_bytes": self.total_stored_bytes,
            "raw_bytes": self.raw_bytes,
            "ratio": round(self.ratio, 2),
        }


def info(path: str | Path | Location, *, storage_options: Mapping[str, str] | None = None) -> Summary:
    """Sum up a store, finished or not.

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
    return summarize(open_store(Location.parse(path, storage_options)))


def summarize(store: StoreHandle) -> Summary:
    """Sum up an open store."""
    spec, layout = store.spec, store.layout
    written = {group.name: store.count_written(group) for group in layout.groups}
    labels = layout.group("labels")
    sizes = store.stored_bytes()
    stored = {
        group.name: sum(sizes.pop(column.name, 0) for column in group.columns) for group in layout.groups
    }
    (video,) = layout.group("video").columns
    return Summary(
        location=str(store.location),
        samples=spec.dataset.samples,
        written=written,
        is_complete=all(rows == spec.dataset.samples for rows in written.values()),
        classes=_count(read_written(store, labels, "class_label"), spec.dataset.classes),
        splits=_count(read_written(store, labels, "split"), SPLIT_NAMES),
        sample_shape=dict(zip(video.dims[1:], video.shape[1:], strict=True)),
        sample_bytes=prod(video.shape[1:]),
        stored_bytes={**stored, "other": sum(sizes.values())},
        fingerprint=store.attributes.fingerprint,
        spec=spec.model_dump(mode="json"),
        history=[entry.model_dump(mode="json") for entry in store.attributes.history],
    )


def _count(values: np.ndarray[Any, np.dtype[np.generic]], names: tuple[str, ...]) -> dict[str, int]:
    """How often each flag value occurs."""
    return {name: int(np.count_nonzero(values == index)) for index, name in enumerate(names)}
