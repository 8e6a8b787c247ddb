"""Check an exported folder of any format: files, labels, frames, balance, metadata, its contents against a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from trajstore.executors import ThreadExecutor
from trajstore.executors.run import RunOptions
from trajstore.exporters.check import ValidationReport, check_is_export, inspect_folder
from trajstore.exporters.faults import FAULTS_MAX
from trajstore.progress import Report, shows_progress
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import open_store


@shows_progress
def validate(
    folder: str | Path,
    against: str | Path | Location | None = None,
    *,
    workers: int | None = None,
    progress: Report | bool | None = None,
    max_faults: int = FAULTS_MAX,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> ValidationReport:
    """Check an exported folder; trajstore need not have written it.

    Parameters
    ----------
    folder : path-like
        An export of any format, with its ``metadata.json``; or ``videos`` and ``labels`` of another program, in either
        layout of format pt: ``sample_NNNN`` or ``traj_NNNNN``.
    against : path-like, optional
        A store: compare the contents with it, row by row; frames bit for bit, or by their PSNR in a lossy format.
    workers : int, optional
        Threads; by default one for each processor.
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    max_faults : int
        The most faults that the report lists; all are counted.
    should_stop : callable, optional
        Called before each task: 0 goes on; any other number, that of a signal, stops after the running tasks.
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
        If a package that reads the format is not installed.
    InterruptedBuildError
        If ``should_stop`` asked for it.
    """
    root = Path(folder)
    ThreadExecutor(workers)  # checks the number
    check_is_export(root)
    store = None if against is None else open_store(open_storage(Location.parse(against, storage_options)))
    options = RunOptions(workers=workers, progress=progress, should_stop=should_stop)
    return inspect_folder(root, store, options, max_faults=max_faults)
