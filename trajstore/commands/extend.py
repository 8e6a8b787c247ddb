"""Extend a store in place: more rows, and those that are there stay as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from trajstore.commands.build import BuildReport, run_build
from trajstore.errors import SpecError
from trajstore.executors.options import check_options
from trajstore.executors.run import RunOptions
from trajstore.families import load_family
from trajstore.progress import Report, shows_progress
from trajstore.spec import DatasetSpec
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.fill import explain_error
from trajstore.store.handle import StoreHandle, check_generator, grow_store, open_store
from trajstore.store.plan import BuildPlan, check_fits, make_plan
from trajstore.text import format_count


@shows_progress
def extend(
    path: str | Path | Location,
    samples: int,
    *,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    progress: Report | bool | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> BuildReport:
    """Give a store more rows. If it is interrupted, run it again.

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
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    force : bool
        Go on even if the estimate says that it will not fit.
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
        If the data would not fit; then nothing is changed. Or if the disk became full; then extend the store again.
    InterruptedBuildError
        If ``should_stop`` asked for it. Run it again to continue.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     trajstore.extend(f"{folder}/tiny.zarr", samples=20).summary.written
    {'labels': 20, 'video': 20}
    """
    started = time.monotonic()
    options = RunOptions(workers, executor, scheduler, progress, should_stop, force)
    location = Location.parse(path, storage_options)
    check_options(options, location)
    plan = plan_extension(open_storage(location), samples)
    store = plan.store
    assert store is not None
    if plan.spec != store.spec:
        check_fits(plan, force=force)
        try:
            store = grow_store(store, samples)
        except OSError as error:
            raise explain_error(plan, error) from error
    return run_build(make_plan(store.storage, store.spec, store), options, started=started)


def plan_extension(storage: Storage, samples: int) -> BuildPlan:
    """Find out what it takes to give a store more rows; writes nothing."""
    store = open_store(storage)
    check_generator(store)
    plan = make_plan(storage, _enlarge(store, samples), store)
    if plan.spec != store.spec:
        # a family that is missing or another leaves the store as it was
        for name in (*plan.spec.dataset.classes, *plan.spec.bodies.motion):
            load_family(name, plan.spec.dataset.families)
    return plan


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
