"""Annotate a store: compute masks, depth, flow, normals or tracks for the rows that are there, or take them away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from trajstore.commands.build import BuildReport, run_build
from trajstore.executors.options import check_options
from trajstore.executors.run import RunOptions
from trajstore.families import load_family
from trajstore.progress import Report, shows_progress
from trajstore.show import Shown
from trajstore.spec import ANNOTATIONS
from trajstore.storage.disk_space import explain_failed_write
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.fill import explain_error
from trajstore.store.groups.annotations import ARRAYS
from trajstore.store.handle import (
    add_annotations,
    drop_annotations,
    find_leftovers,
    open_store,
)
from trajstore.store.layout import plan_layout
from trajstore.store.plan import check_annotations, check_fits, plan_annotation
from trajstore.store.write import measure_rows

PROBE_ROWS: Final = 16
"""Rows that are computed to estimate the size of annotations that are not there."""


@shows_progress
def annotate(
    path: str | Path | Location,
    *names: str,
    points: int | None = None,
    workers: int | None = None,
    executor: str = "threads",
    scheduler: str | None = None,
    part: str | None = None,
    progress: Report | bool | None = None,
    force: bool = False,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> BuildReport:
    """Add annotations to a store. If it is interrupted, run it again.

    Parameters
    ----------
    path : path-like
        The store, finished or not: a folder or a URL.
    *names : {'segmentation', 'depth_map', 'flow', 'normals', 'amodal', 'tracks'}
        Which; all of them are computed in one pass over each row. Those that are complete are left as they are.
    points : int, optional
        Points of each camera that ``tracks`` follows; by default as many as the spec says, 64.
    workers : int, optional
        Threads that compute, or processes of a local Dask cluster; by default one for each processor.
    executor, scheduler : str
        See `trajstore.build`.
    part : str, optional
        ``"i/n"``: only the i-th of n slices, counted from 1, so that n annotators can share the work.
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
        If there is no annotation of a name, or none is named.
    SpecMismatchError
        If the store has tracks of another number of points.
    DriftError
        If the installed generator does not make the rows of the store.
    StoreError
        If there is no store, or it cannot be written.
    NotEnoughSpaceError
        If the data would not fit; then nothing is changed. Or if the disk became full; then annotate the store again.
    InterruptedBuildError
        If ``should_stop`` asked for it. Run it again to continue.
    ClusterError
        If the cluster cannot be used or is lost, or a worker, which is named, has failed for good. Run it again to
        continue.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     report = trajstore.annotate(f"{folder}/tiny.zarr", "segmentation")
    ...     trajstore.open(f"{folder}/tiny.zarr").segmentation.shape
    (8, 4, 4, 16, 16)
    >>> report.summary.written
    {'labels': 8, 'video': 8, 'segmentation': 8}
    """
    started = time.monotonic()
    options = RunOptions(workers, executor, scheduler, progress, should_stop, force)
    location = Location.parse(path, storage_options)
    check_options(options, location)
    storage = open_storage(location)
    plan = plan_annotation(storage, names, points=points, part=part)
    if plan.store and plan.spec != plan.store.spec:
        # a family that is missing or another leaves the store as it was
        for name in (*plan.spec.dataset.classes, *plan.spec.bodies.motion):
            load_family(name, plan.spec.dataset.families)
        check_fits(plan, force=force)
        try:
            storage.sweep()
            add_annotations(plan.store, plan.spec)
        except OSError as error:
            raise explain_error(plan, error) from error
        plan = plan_annotation(storage, names, points=points, part=part)
    return run_build(plan, options, started=started)


@dataclass(frozen=True)
class AnnotationState:
    """What a store has of an annotation.

    Attributes
    ----------
    name : str
        Its name.
    arrays : dict
        From the name of each of its arrays to what the array holds.
    is_there : bool
        Whether the store has it, complete or not.
    written : int
        Rows that are written.
    stored_bytes : int
        Bytes that are stored.
    estimated_bytes : int
        About how many bytes it takes when it is complete.
    """

    name: str
    arrays: dict[str, str]
    is_there: bool
    written: int
    stored_bytes: int
    estimated_bytes: int


@dataclass(frozen=True, repr=False)
class AnnotationList(Shown):
    """All annotations, and how much of each a store has.

    Attributes
    ----------
    location : str
        The store.
    samples : int
        Its rows.
    annotations : tuple of AnnotationState
        Each of them.
    """

    _shown = "location samples written"

    location: str
    samples: int
    annotations: tuple[AnnotationState, ...]

    @property
    def written(self) -> dict[str, int]:
        """Rows that are written, by annotation."""
        return {state.name: state.written for state in self.annotations}

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON.

        Returns
        -------
        dict
            The attributes.
        """
        return asdict(self)


def list_annotations(
    path: str | Path | Location, *, storage_options: Mapping[str, str] | None = None
) -> AnnotationList:
    """List all annotations: whether a store has each of them, and how large it is or would be.

    Parameters
    ----------
    path : path-like
        The store: a folder or a URL.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    AnnotationList
        All of them; sizes of what is not complete are estimated from a few rows.

    Raises
    ------
    StoreError
        If there is no store, or none that this version reads.
    """
    store = open_store(open_storage(Location.parse(path, storage_options)))
    spec = store.spec.replace(groups=ANNOTATIONS)
    samples, layout = spec.dataset.samples, plan_layout(spec)
    rows, sizes = store.count_written(), store.storage.measure()
    incomplete = {name for name in ANNOTATIONS if rows.get(name, 0) < samples}
    each = measure_rows(spec, PROBE_ROWS, incomplete) if incomplete else {}
    states = []
    for name in ANNOTATIONS:
        arrays = [column.name for column in layout.group(name).columns]
        stored = sum(sizes.get(array, 0) for array in arrays)
        is_there = name in store.spec.annotations.groups
        estimated = round(samples * sum(each[array] for array in arrays)) if name in incomplete else stored
        meaning = {array.name: array.long_name for array in ARRAYS[name]}
        states.append(AnnotationState(name, meaning, is_there, rows.get(name, 0), stored, estimated))
    return AnnotationList(str(store.location), samples, tuple(states))


def remove_annotations(
    path: str | Path | Location, *names: str, storage_options: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Remove annotations from a store. If it is interrupted, run it again.

    First the store says that it does not have them, then their files are removed, and no others.

    Parameters
    ----------
    path : path-like
        The store: a folder or a URL.
    *names : {'segmentation', 'depth_map', 'flow', 'normals', 'amodal', 'tracks'}
        Which.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    tuple of str
        Those of which anything was there.

    Raises
    ------
    SpecError
        If there is no annotation of a name, or none is named.
    StoreError
        If there is no store, or it cannot be changed.
    """
    wanted = check_annotations(names)
    store = open_store(open_storage(Location.parse(path, storage_options)))
    left = find_leftovers(store, store.storage.list_keys())
    found = tuple(name for name in wanted if name in store.spec.annotations.groups or name in left)
    try:
        store.storage.sweep()  # whoever was killed while they were removed has left nothing else
        if found:
            drop_annotations(store, found)
        for name in wanted:
            for array in (*(array.name for array in ARRAYS[name]), f"{name}_written"):
                store.storage.prune(array)
    except OSError as error:
        removal = " ".join(f"--remove {name}" for name in found or wanted)
        state = f"continue with: trajstore annotate {store.location.argument} {removal}"
        raise explain_failed_write(store.location, error, state=state) from error
    return found
