"""Build a store: check, create or resume, run what is pending, set flags, finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from trajstore.commands.info import Summary, summarize
from trajstore.executors.options import check_options
from trajstore.executors.run import RunOptions, open_workers
from trajstore.progress import Report, shows_progress
from trajstore.show import Shown
from trajstore.spec import DatasetSpec, SpecFields, SpecLike
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.fill import explain_error, fill_store
from trajstore.store.handle import complete_growth, create_store, finish_store
from trajstore.store.plan import BuildPlan, check_fits, check_same, plan_build


@dataclass(frozen=True, repr=False)
class BuildReport(Shown):
    """What a build did.

    Attributes
    ----------
    summary : Summary
        The store afterwards.
    new_rows : dict
        Rows that this run has written, by column group.
    seconds : float
        Wall time of the run.
    """

    _shown = (
        "summary.location summary.is_complete summary.samples summary.classes summary.splits "
        "summary.total_stored_bytes new_rows seconds"
    )

    summary: Summary
    new_rows: dict[str, int]
    seconds: float

    @property
    def new_samples(self) -> int:
        """Samples whose frames this run has written."""
        return self.new_rows.get("video", 0)


@shows_progress
def build(
    path: str | Path | Location,
    spec: SpecLike | None = None,
    *,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    part: str | None = None,
    progress: Report | bool | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
    **fields: Unpack[SpecFields],
) -> BuildReport:
    """Build a store. Run it again to resume: only what is missing is built.

    Parameters
    ----------
    path : path-like
        The store: a folder, or a URL such as ``s3://bucket/store.zarr``.
    spec : DatasetSpec, mapping or path-like, optional
        The dataset: a spec, sections such as ``{"video": {"frames": 16}}``, or a TOML or JSON file. By default the spec
        of the store, where there is one, or the default spec.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor : {'threads', 'dask'}
        What computes: this process, or a Dask cluster (extra ``dask``).
    scheduler : str, optional
        Address of the cluster's scheduler, such as ``tcp://host:8786``. Without one, workers are started here and end
        with the build.
    part : str, optional
        ``"i/n"``: only the i-th of n slices, counted from 1, so that n builders can share the work.
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    force : bool
        Go on even if the estimate says that it will not fit.
    should_stop : callable, optional
        Called before each task: 0 goes on; any other number, that of a signal, stops the build after the running tasks.
    storage_options : mapping, optional
        Settings of a bucket, such as ``{"region": "eu-central-1"}``.
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
        If the data would not fit, or the disk became full. The store stays valid, and the next build continues it.
    InterruptedBuildError
        If ``should_stop`` asked for it. Run it again to continue.
    ClusterError
        If the cluster cannot be used or is lost, or a worker, which is named, has failed for good. Run it again to
        continue.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     report.summary.classes
    {'Linear': 2, 'Circular': 2, 'Helical': 2, 'Parabolic': 2}
    """
    started = time.monotonic()
    options = RunOptions(workers, executor, scheduler, progress, should_stop, force)
    location = Location.parse(path, storage_options)
    check_options(options, location)
    wanted = None if spec is None else DatasetSpec.from_any(spec)
    return run_build(
        plan_build(open_storage(location), wanted, part=part, **fields), options, started=started
    )


def run_build(plan: BuildPlan, options: RunOptions, *, started: float) -> BuildReport:
    """Do what is planned: create the store or go on with it, until its flags say that all is there."""
    check_fits(plan, force=options.force)
    is_needed = any(map(len, plan.pending.values()))
    with open_workers(options) if is_needed else nullcontext(options) as ready:
        try:
            store = plan.store or create_store(plan.storage, plan.spec)
            check_same(store.spec, plan.spec, plan.location)  # another builder may have been first
            store.storage.sweep()
            complete_growth(store)
            new_rows = fill_store(store, plan, ready)
            store = finish_store(store)
        except OSError as error:
            raise explain_error(plan, error) from error
    return BuildReport(summary=summarize(store), new_rows=new_rows, seconds=time.monotonic() - started)
