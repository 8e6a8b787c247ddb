"""Export a store to a folder of loose files: check, write what is missing, and the metadata last.

A file has its name only when its bytes are on the disk, and the metadata is there only when all files are. So a folder
without ``metadata.json`` is an export that goes on when the command is run again; ``unfinished.json`` says of what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajstore.executors.options import check_options
from trajstore.executors.run import RunOptions, open_workers
from trajstore.exporters.plan import plan_export
from trajstore.exporters.records import ExportRecord
from trajstore.exporters.write import (
    begin_export,
    explain_error,
    fill_export,
    finish_export,
    tidy_export,
)
from trajstore.progress import Report, shows_progress
from trajstore.reading.rows import Rows
from trajstore.show import Shown
from trajstore.storage.disk_space import check_space, inspect_filesystem
from trajstore.storage.location import Location


@dataclass(frozen=True, repr=False)
class ExportReport(Shown):
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

    _shown = (
        "location metadata.format metadata.total_samples metadata.class_distribution "
        "metadata.split_distribution metadata.tensor_shape new_samples new_bytes seconds"
    )

    location: str
    metadata: ExportRecord
    new_samples: int
    new_bytes: int
    seconds: float


@shows_progress
def export(
    store: str | Path | Location,
    folder: str | Path,
    *,
    format: str = "pt",  # noqa: A002
    options: Mapping[str, str | None] | None = None,
    split: str | None = None,
    class_name: str | None = None,
    rows: Rows | None = None,
    cameras: Sequence[int] | None = None,
    dtype: str | None = None,
    annotations: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    progress: Report | bool | None = None,
    allow_partial: bool = False,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> ExportReport:
    """Export samples to files of another format. Run it again to resume: only what is missing is written.

    Parameters
    ----------
    store : path-like
        The store.
    folder : path-like
        Where: a new or empty folder, or an export of the same rows or fewer of them. All workers of a cluster write
        to it.
    format : str
        ``pt``: ``videos/sample_NNNN.pt`` for ``torch.load``, ``labels/sample_NNNN.json``, and of annotations
        ``annotations/sample_NNNN.pt``, a dictionary of tensors by the names of their arrays.
    options : mapping, optional
        Options of the format by name; `trajstore export --list` shows them.
    split : {'train', 'val', 'test'}, optional
        Which split; by default all.
    class_name : str, optional
        Which class; by default all.
    rows : str, range, slice or (int, int), optional
        Which of the store's rows, counted from 0, without the last: ``"0:1000"``, ``range(1000)``, ``slice(0, 1000)``
        or ``(0, 1000)``. Files are numbered by the store's rows.
    cameras : sequence of int, optional
        Which cameras, counted from 0, in this order; all by default.
    dtype : {'uint8', 'float32'}, optional
        Of the exported frames: 0 … 255, or the same divided by 255; by default as is usual in the format.
    annotations : sequence of str, optional
        Which annotations; by default all that the store has. An export that lacks some is given them.
    columns : sequence of {'pixel', 'depth', 'box'}
        Columns of the store that each label is to have, too: where the target is in the pictures.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor, scheduler : str
        See `trajstore.build`.
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    allow_partial : bool
        Export what is written of a store that is not finished.
    force : bool
        Go on even if it seems not to fit.
    should_stop : callable, optional
        Called before each task: 0 goes on; any other number, that of a signal, stops after the running tasks.
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
        If ``should_stop`` asked for it. Run it again to continue.
    ClusterError
        If the cluster cannot be used or is lost, or a worker, which is named, has failed for good. Run it again to
        continue.
    """
    started = time.monotonic()
    run = RunOptions(workers, executor, scheduler, progress, should_stop, force)
    location = Location.parse(store, storage_options)
    check_options(run, location)
    plan = plan_export(
        location,
        folder,
        format=format,
        options=options,
        split=split,
        class_name=class_name,
        rows=rows,
        cameras=cameras,
        dtype=dtype,
        annotations=annotations,
        columns=columns,
        allow_partial=allow_partial,
    )
    if plan.is_done and plan.stored is not None:
        try:
            tidy_export(plan)
        except OSError as error:
            raise explain_error(plan, error) from error
        return ExportReport(str(folder), plan.stored, 0, 0, time.monotonic() - started)
    if not force:
        filesystem = inspect_filesystem(folder)
        estimate = plan.estimate(filesystem.block)
        check_space(estimate, filesystem, location=str(folder), fewer_files="export fewer rows")
    with open_workers(run) as ready:
        try:
            begin_export(plan)
            new_samples, new_bytes = fill_export(plan, ready)
            metadata = finish_export(plan, started, ready.report)
        except OSError as error:
            raise explain_error(plan, error) from error
    return ExportReport(str(folder), metadata, new_samples, new_bytes, time.monotonic() - started)
