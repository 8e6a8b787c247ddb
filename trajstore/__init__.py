"""Synthetic multi-camera video datasets with exact labels, in one Zarr store.

>>> import trajstore
>>> spec = trajstore.DatasetSpec.from_fields(samples=100, seed=7)
>>> spec.dataset.samples
100
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trajstore.errors import (
    ClusterError,
    CorruptDataError,
    DamageError,
    DriftError,
    ExportError,
    FormatVersionError,
    IncompleteStoreError,
    InterruptedBuildError,
    MissingExtraError,
    NewerStoreError,
    NotAStoreError,
    NotEnoughSpaceError,
    OutputError,
    RowRangeError,
    SpecError,
    SpecMismatchError,
    StoreError,
    TrajstoreError,
)

if TYPE_CHECKING:
    from trajstore.commands.annotate import AnnotationList, annotate, list_annotations, remove_annotations
    from trajstore.commands.build import BuildReport, build
    from trajstore.commands.card import CardReport, card
    from trajstore.commands.export import ExportReport, export
    from trajstore.commands.extend import extend
    from trajstore.commands.info import Summary, info
    from trajstore.commands.preview import PreviewReport, preview
    from trajstore.commands.repair import RepairReport, repair
    from trajstore.commands.validate import validate
    from trajstore.commands.verify import VerifyReport, verify
    from trajstore.commands.verify_copy import CopyReport, verify_copy
    from trajstore.commands.view import ViewReport, view
    from trajstore.exporters.check import ValidationReport
    from trajstore.reading.as_xarray import open  # noqa: A004
    from trajstore.reading.store import StoreReader, open_reader
    from trajstore.scene.captions import caption
    from trajstore.spec import DatasetSpec
    from trajstore.trajectories import Family

    __version__: str

__all__ = [
    "AnnotationList",
    "BuildReport",
    "CardReport",
    "ClusterError",
    "CopyReport",
    "CorruptDataError",
    "DamageError",
    "DatasetSpec",
    "DriftError",
    "ExportError",
    "ExportReport",
    "Family",
    "FormatVersionError",
    "IncompleteStoreError",
    "InterruptedBuildError",
    "MissingExtraError",
    "NewerStoreError",
    "NotAStoreError",
    "NotEnoughSpaceError",
    "OutputError",
    "PreviewReport",
    "RepairReport",
    "RowRangeError",
    "SpecError",
    "SpecMismatchError",
    "StoreError",
    "StoreReader",
    "Summary",
    "TrajstoreError",
    "ValidationReport",
    "VerifyReport",
    "ViewReport",
    "__version__",
    "annotate",
    "build",
    "caption",
    "card",
    "export",
    "extend",
    "info",
    "list_annotations",
    "open",
    "open_reader",
    "preview",
    "remove_annotations",
    "repair",
    "validate",
    "verify",
    "verify_copy",
    "view",
]

# imported when first used: `import trajstore` and `trajstore --help` stay fast
_MODULES = {
    "AnnotationList": "trajstore.commands.annotate",
    "BuildReport": "trajstore.commands.build",
    "CardReport": "trajstore.commands.card",
    "CopyReport": "trajstore.commands.verify_copy",
    "DatasetSpec": "trajstore.spec",
    "ExportReport": "trajstore.commands.export",
    "Family": "trajstore.trajectories",
    "PreviewReport": "trajstore.commands.preview",
    "RepairReport": "trajstore.commands.repair",
    "StoreReader": "trajstore.reading.store",
    "Summary": "trajstore.commands.info",
    "ValidationReport": "trajstore.exporters.check",
    "VerifyReport": "trajstore.commands.verify",
    "ViewReport": "trajstore.commands.view",
    "annotate": "trajstore.commands.annotate",
    "build": "trajstore.commands.build",
    "caption": "trajstore.scene.captions",
    "card": "trajstore.commands.card",
    "export": "trajstore.commands.export",
    "extend": "trajstore.commands.extend",
    "info": "trajstore.commands.info",
    "list_annotations": "trajstore.commands.annotate",
    "open": "trajstore.reading.as_xarray",
    "open_reader": "trajstore.reading.store",
    "preview": "trajstore.commands.preview",
    "remove_annotations": "trajstore.commands.annotate",
    "repair": "trajstore.commands.repair",
    "validate": "trajstore.commands.validate",
    "verify": "trajstore.commands.verify",
    "verify_copy": "trajstore.commands.verify_copy",
    "view": "trajstore.commands.view",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        value = import_module("importlib.metadata").version("trajstore")
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        message = f"module 'trajstore' has no attribute {name!r}"
        raise AttributeError(message)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
