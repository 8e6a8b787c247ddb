"""Extend a store in place: more rows, and those that are there stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajstore.commands.build import BuildReport, build
from trajstore.errors import SpecError
from trajstore.executors.choosing import check_choice
from trajstore.progress import Report
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location
from trajstore.store.fill import explain
from trajstore.store.handle import StoreHandle, check_generator, grow_store, open_store
from trajstore.store.layout import ColumnGroup, plan_layout
from trajstore.store.plan import BuildPlan, check_fits
from trajstore.text import format_count


def extend(
    path: str | Path | Location,
    samples: int,
    *,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    progress: Report | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> BuildReport:
    """Give a store more rows; interrupted at any instant it can be run again.

    Parameters
    ----------
    path : path-like
        The store, finished or not.
    samples : int
        Rows it is to have. Rows that are there keep their bytes; a last shard or label chunk that was partly filled is
        made again.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor, scheduler : str
        See `trajstore.build`.
    progress : callable, optional
        Receives `trajstore.progress.Progress` events.
    force : bool
        Go on although the estimate says that it will not fit.
    should_stop : callable, optional
        See `trajstore.build`.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    BuildReport
        What was done and what the store holds.

    Raises
    ------
    SpecError
        If the store has more rows than that.
    StoreError
        If there is no store, or it cannot be written.
    NotEnoughSpaceError
        If it will not fit: nothing is changed; or the disk became full: the store is valid, and can be extended again.
    InterruptedBuildError
        If ``should_stop`` said so: likewise.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     trajstore.extend(f"{folder}/tiny.zarr", samples=20).summary.written
    {'labels': 20, 'video': 20}
    """
    check_choice(executor, scheduler=scheduler, workers=workers)
    location = Location.parse(path, storage_options)
    store = open_store(location)
    check_generator(store)
    spec = _enlarge(store, samples)
    if spec != store.spec:
        plan = _plan(store, spec)
        check_fits(plan, force=force)
        try:
            grow_store(store, spec)
        except OSError as error:
            raise explain(plan, error) from error
    return build(
        location,
        workers=workers,
        executor=executor,
        scheduler=scheduler,
        progress=progress,
        force=force,
        should_stop=should_stop,
    )


def _enlarge(store: StoreHandle, samples: int) -> DatasetSpec:
    """The spec with more samples."""
    present = store.spec.dataset.samples
    if samples < present:
        message = (
            f"{store.location}: found {format_count(present)} samples, expected to extend to more, not to "
            f"{format_count(samples)}; a store does not shrink, build a smaller one: "
            f"trajstore build NEW --samples {samples}"
        )
        raise SpecError(message)
    return store.spec.replace(samples=samples)


def _plan(store: StoreHandle, spec: DatasetSpec) -> BuildPlan:
    """What there will be to build."""
    layout = plan_layout(spec)
    pending = {group.name: _pending(group, store.layout.group(group.name), store) for group in layout.groups}
    return BuildPlan(store.location, spec, layout, store, None, pending)


def _pending(larger: ColumnGroup, smaller: ColumnGroup, store: StoreHandle) -> NDArray[np.int64]:
    """Tasks that are not written, or were written with fewer rows."""
    is_pending = np.ones(len(larger), dtype=bool)
    is_pending[: len(smaller)] = ~store.is_written(smaller)
    last = len(smaller) - 1
    is_pending[last] |= smaller.task(last) != larger.task(last)
    return np.flatnonzero(is_pending)
