"""Open a store as an `xarray.Dataset` whose coordinates have names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import xarray

from trajstore.reading.coordinates import name_coordinates
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.columns import Layout
from trajstore.store.handle import open_store
from trajstore.store.zarr_api import zarr_store

DASK_CHUNK_BYTES: Final = 64 * 2**20
"""About how much of the frames one dask task reads."""


def open(  # noqa: A001
    path: str | Path | Location, *, storage_options: Mapping[str, str] | None = None
) -> xarray.Dataset:
    """Open a store lazily, finished or not.

    Parameters
    ----------
    path : path-like
        The store: a folder or a URL.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    xarray.Dataset
        All columns, with coordinates ``sample``, ``camera`` and ``body`` (from 0), ``frame`` (from 1), ``axis``,
        ``channel``, ``uv``, ``edge``, ``quaternion``, ``tyx``, ``xy`` and ``class`` (the names that ``class_label``
        counts), those of dimensions that the store has. Where dask is installed, columns are dask arrays in pieces that
        suit the store; elsewhere they are read when they are used. What is not written yet reads as the fill value: see
        ``labels_written`` and ``video_written``.

    Raises
    ------
    StoreError
        If there is no store, or none that this version reads.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trajstore.build(f"{folder}/tiny.zarr", samples=8, frames=4, height=16, width=16)
    ...     dataset = trajstore.open(f"{folder}/tiny.zarr")
    ...     names = dataset["class"].values[dataset.class_label.values]
    ...     future = dataset.future_position.sel(axis="z")
    >>> sorted(set(names.tolist()))
    ['Circular', 'Helical', 'Linear', 'Parabolic']
    """
    store = open_store(open_storage(Location.parse(path, storage_options)))
    spec = store.spec
    dataset: xarray.Dataset = xarray.open_zarr(
        zarr_store(store.storage), chunks=None, zarr_format=3, consolidated=True
    )
    dataset = dataset.assign_coords(name_coordinates(spec, dataset.sizes))
    if find_spec("dask") is None:
        return dataset
    return dataset.assign(
        {name: dataset[name].chunk({"sample": rows}) for name, rows in _chunk_rows(store.layout).items()}
    )


def _chunk_rows(layout: Layout) -> dict[str, int]:
    """Rows that one dask task reads of each column: whole label chunks, and a part of a shard."""
    rows = {}
    for column in (column for group in layout.groups for column in group.columns):
        in_file = column.file_shape[0]
        fitting = max(1, DASK_CHUNK_BYTES // column.row_bytes) if column.shard_shape else in_file
        rows[column.name] = next(n for n in range(min(fitting, in_file), 0, -1) if in_file % n == 0)
    return rows
