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
    from trajstore.exporting import ExportReport, export
    from trajstore.extending import extend
    from trajstore.previewing import PreviewReport, preview
    from trajstore.reading import StoreReader, open_reader
    from trajstore.repairing import RepairReport, repair
    from trajstore.spec import DatasetSpec
    from trajstore.summary import Summary, info
    from trajstore.validation import ValidationReport, validate
    from trajstore.verification import VerifyReport, verify
    from trajstore.viewing import ViewReport, view

__all__ = [
    "BuildReport",
    "DatasetSpec",
    "ExportReport",
    "PreviewReport",
    "RepairReport",
    "StoreReader",
    "Summary",
    "TrajstoreError",
    "ValidationReport",
    "VerifyReport",
    "ViewReport",
    "build",
    "export",
    "extend",
    "info",
    "open",
    "open_reader",
    "preview",
    "repair",
    "validate",
    "verify",
    "view",
]

# imported when first used: `import trajstore` and `trajstore --help` stay fast
_MODULES = {
    "BuildReport": "trajstore.builder",
    "DatasetSpec": "trajstore.spec",
    "ExportReport": "trajstore.exporting",
    "PreviewReport": "trajstore.previewing",
    "RepairReport": "trajstore.repairing",
    "StoreReader": "trajstore.reading",
    "Summary": "trajstore.summary",
    "TrajstoreError": "trajstore.errors",
    "VerifyReport": "trajstore.verification",
    "ViewReport": "trajstore.viewing",
    "build": "trajstore.builder",
    "ValidationReport": "trajstore.validation",
    "export": "trajstore.exporting",
    "extend": "trajstore.extending",
    "info": "trajstore.summary",
    "open": "trajstore.dataset",
    "open_reader": "trajstore.reading",
    "preview": "trajstore.previewing",
    "repair": "trajstore.repairing",
    "validate": "trajstore.validation",
    "verify": "trajstore.verification",
    "view": "trajstore.viewing",
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
