"""Check an exported folder: files, labels, tensors, balance, metadata, and its contents against a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from trajstore.executors import ThreadExecutor
from trajstore.executors.run import RunOptions
from trajstore.exporters import check_installed
from trajstore.exporters.check import FAULTS_MAX, ValidationReport, check_is_export, inspect_folder
from trajstore.progress import Report
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import open_store


def validate(
    folder: str | Path,
    against: str | Path | Location | None = None,
    *,
    workers: int | None = None,
    progress: Report | None = None,
    max_faults: int = FAULTS_MAX,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> ValidationReport:
    """Check an exported folder; trajstore need not have written it.

    Parameters
    ----------
    folder : path-like
        With ``videos``, ``labels`` and ``metadata.json``.
    against : path-like, optional
        A store: compare the contents with it, row by row.
    workers : int, optional
        Threads; by default one for each processor.
    progress : callable, optional
        Receives `trajstore.progress.Progress` events.
    max_faults : int
        The most faults that the report lists; all are counted.
    should_stop : callable, optional
        Asked before each task; anything but 0 is the number of a signal, and stops after the tasks in flight.
    storage_options : mapping, optional
        Of the store; see `trajstore.build`.

    Returns
    -------
    ValidationReport
        What the folder holds, and every fault.

    Raises
    ------
    ExportError
        If there is no such folder, or nothing in it is an export.
    StoreError
        If there is no store to compare with, or it is damaged.
    MissingExtraError
        If PyTorch is not installed.
    InterruptedBuildError
        If ``should_stop`` said so.
    """
    root = Path(folder)
    ThreadExecutor(workers)  # checks the number
    check_is_export(root)
    check_installed("pt", {})
    store = None if against is None else open_store(open_storage(Location.parse(against, storage_options)))
    options = RunOptions(workers=workers, progress=progress, should_stop=should_stop)
    return inspect_folder(root, store, options, max_faults=max_faults)
