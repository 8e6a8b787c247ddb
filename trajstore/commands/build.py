"""Build a store: check, create or resume, run what is pending, set flags, finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajstore.commands.info import Summary, summarize
from trajstore.errors import (
    ClusterError,
    SpecError,
    StoreError,
)
from trajstore.executors import ThreadExecutor
from trajstore.executors.choosing import check_choice, open_dask
from trajstore.progress import Report, ignore
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location
from trajstore.store.fill import Run, describe_state, explain, finish
from trajstore.store.handle import StoreHandle, complete_growth, create_store, open_store
from trajstore.store.plan import check_fits, check_same, plan_build
from trajstore.text import format_count


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes
    ----------
    summary : Summary
        The store afterwards.
    new_samples : int
        Samples whose frames this run has written.
    seconds : float
        Wall time of the run.
    """

    summary: Summary
    new_samples: int
    seconds: float


def build(
    path: str | Path | Location,
    spec: DatasetSpec | None = None,
    *,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    part: str | None = None,
    progress: Report | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
    **fields: Any,
) -> BuildReport:
    """Build a store, or what is missing of it: running it again is resuming it.

    Parameters
    ----------
    path : path-like
        The store: a folder, or a URL such as ``s3://bucket/store.zarr``.
    spec : DatasetSpec, optional
        The dataset. By default that of the store, where there is one, or the default spec.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor : {'threads', 'dask'}
        What computes: this process, or a Dask cluster (``pip install 'trajstore[dask]'``).
    scheduler : str, optional
        Address of the cluster's scheduler, such as ``tcp://host:8786``. Without one, workers are started here and end
        with the build.
    part : str, optional
        ``"i/n"``: only the i-th of n slices, counted from 1, so that n builders can share the work.
    progress : callable, optional
        Receives `trajstore.progress.Progress` events.
    force : bool
        Go on although the estimate says that it will not fit.
    should_stop : callable, optional
        Asked before each task; anything but 0 is the number of a signal, and stops the build after the tasks in flight.
    storage_options : mapping, optional
        Endpoint, region and the like of a bucket; see `trajstore.storage.location.Location.parse`.
    **fields
        Single fields of the spec by name, such as ``samples=100, seed=7``; they override ``spec``.

    Returns
    -------
    BuildReport
        What was done and what the store holds.

    Raises
    ------
    SpecError
        If a field or argument is invalid.
    SpecMismatchError
        If the store was built from another spec; each differing field is named.
    StoreError
        If the path cannot become a store, or cannot be written.
    NotEnoughSpaceError
        If it will not fit, or the disk became full: the store is valid, and the next build goes on.
    InterruptedBuildError
        If ``should_stop`` said so: likewise.
    ClusterError
        If the cluster cannot be used, is lost, or a worker has failed for good: likewise; the worker is named.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     report.summary.classes
    {'Linear': 2, 'Circular': 2, 'Helical': 2, 'Parabolic': 2}
    """
    started = time.monotonic()
    check_choice(executor, scheduler=scheduler, workers=workers)
    threads = ThreadExecutor(workers).workers
    should_stop = should_stop or (lambda: 0)
    location = Location.parse(path, storage_options)
    if executor == "dask" and location.url.startswith("memory:"):
        message = f"{location}: only this process sees it, expected a location that all workers see"
        raise SpecError(message)
    plan = plan_build(location, spec, part=part, **fields)
    check_fits(plan, force=force)
    with ExitStack() as stack:
        cluster = None
        if executor == "dask" and any(map(len, plan.pending.values())):
            cluster = stack.enter_context(
                open_dask(scheduler=scheduler, workers=workers, should_stop=should_stop)
            )
        run = Run(plan, threads, progress or ignore, should_stop, cluster=cluster)
        try:
            store = plan.store or create_store(location, plan.spec)
            check_same(store.spec, plan.spec, plan.location)  # another builder may have been first
            store.sweep()
            complete_growth(store)
            run.fill(store)
            _check_size(store)
            finish(store)
        except OSError as error:
            raise explain(plan, error) from error
        except ClusterError as error:
            message = f"{error}; {describe_state(plan)}"
            raise ClusterError(message, exit_code=error.exit_code) from error
    return BuildReport(
        summary=summarize(open_store(location)),
        new_samples=run.new_samples,
        seconds=time.monotonic() - started,
    )


def _check_size(store: StoreHandle) -> None:
    """Take back what this build has said about a last task that has grown while it was running."""
    samples = open_store(store.location).spec.dataset.samples
    if samples == store.spec.dataset.samples:
        return
    for group in store.layout.groups:
        last = group.task(len(group) - 1)
        if len(last.rows) < group.rows_per_task:
            store.clear_written(last)
    message = (
        f"{store.location}: found {format_count(samples)} samples, expected "
        f"{format_count(store.spec.dataset.samples)}: it was extended while it was being built; "
        f"continue with: trajstore build {store.location.argument}"
    )
    raise StoreError(message)
