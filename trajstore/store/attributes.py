"""The root attributes of a store: which spec, which format, who built it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from trajstore.spec import DatasetSpec
from trajstore.store.layout import FORMAT_VERSION

NAMESPACE: Final = "trajstore"
"""The root attribute under which all of this is stored."""


class _Record(BaseModel):
    """Base: frozen and closed to unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class HistoryEntry(_Record):
    """One event in the life of a store."""

    event: Literal["created", "extended", "finished"]
    """What happened: the store was created, grew, or got its last missing part."""

    time: str
    """When, UTC, ISO 8601."""

    samples: int = Field(ge=1)
    """Rows of the store at that time."""

    versions: dict[str, str]
    """Versions of trajstore, python, numpy, numba, zstandard, numcodecs and zarr that did it."""

    @classmethod
    def now(cls, event: Literal["created", "extended", "finished"], *, samples: int) -> Self:
        """Record an event that happens now, by this process."""
        packages = ("trajstore", "numpy", "numba", "zstandard", "numcodecs", "zarr")
        versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
        return cls(
            event=event,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            samples=samples,
            versions=versions,
        )


class StoreAttributes(_Record):
    """What a store says about itself in the root attribute ``trajstore``."""

    format_version: Literal[1] = FORMAT_VERSION
    """Version of the store's layout."""

    fingerprint: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 over everything that decides a row's content; equal fingerprints mean equal rows."""

    spec: DatasetSpec
    """The whole spec."""

    history: tuple[HistoryEntry, ...] = Field(min_length=1)
    """Who created, extended and finished the store, oldest first."""

    @classmethod
    def created(cls, spec: DatasetSpec) -> Self:
        """Attributes of a store that is created now."""
        return cls(
            fingerprint=spec.fingerprint,
            spec=spec,
            history=(HistoryEntry.now("created", samples=spec.dataset.samples),),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {NAMESPACE: self.model_dump(mode="json")}
