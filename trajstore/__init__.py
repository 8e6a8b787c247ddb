"""Synthetic multi-camera video datasets with exact labels, in one Zarr store.

>>> import trajstore
>>> spec = trajstore.DatasetSpec.from_fields(samples=100, seed=7)
>>> spec.dataset.samples
100
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trajstore.builder import BuildReport, build
    from trajstore.dataset import open  # noqa: A004
    from trajstore.errors import TrajstoreError
    from trajstore.reading import StoreReader, open_reader
    from trajstore.spec import DatasetSpec
    from trajstore.summary import Summary, info

__all__ = [
    "BuildReport",
    "DatasetSpec",
    "StoreReader",
    "Summary",
    "TrajstoreError",
    "build",
    "info",
    "open",
    "open_reader",
]

# imported when first used: `import trajstore` and `trajstore --help` stay fast
_MODULES = {
    "BuildReport": "trajstore.builder",
    "DatasetSpec": "trajstore.spec",
    "StoreReader": "trajstore.reading",
    "Summary": "trajstore.summary",
    "TrajstoreError": "trajstore.errors",
    "build": "trajstore.builder",
    "info": "trajstore.summary",
    "open": "trajstore.dataset",
    "open_reader": "trajstore.reading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        message = f"module 'trajstore' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
