"""Open a store as an `xarray.Dataset` whose coordinates have names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from trajstore.reading.coordinates import NAMES, list_meanings, name_coordinates
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
        ``channel``, ``uv``, ``edge``, ``quaternion``, ``tyx`` and ``xy``, those of dimensions that the store has. Each
        sample also has its ``class_name`` and ``split_name``, as text. Where dask is installed, columns are dask arrays
        in pieces that suit the store; elsewhere they are read when they are used. What is not written yet reads as the
        fill value, and its names as empty text: see ``labels_written`` and ``video_written``.

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
    ...     circular = dataset.set_xindex("class_name").sel(class_name="Circular")
    ...     circular.future_position.sel(axis="z").shape
    ...     dataset.sel(sample=dataset.split_name == "val").sizes["sample"]
    ...     dataset.groupby("class_name").count().class_label.values.tolist()
    (2,)
    4
    [2, 2, 2, 2]
    """
    store = open_store(open_storage(Location.parse(path, storage_options)))
    spec = store.spec
    dataset: xarray.Dataset = xarray.open_zarr(
        zarr_store(store.storage), chunks=None, zarr_format=3, consolidated=True
    )
    dataset = dataset.assign_coords(
        name_coordinates(spec, dataset.sizes)
        | {name: _name(dataset[column]) for name, column in NAMES.items()}
    )
    if find_spec("dask") is None:
        return dataset
    # variables, because arrays would chunk the coordinates of samples along with each of them
    return dataset.assign(
        {
            name: dataset[name].variable.chunk({"sample": rows})
            for name, rows in _chunk_rows(store.layout).items()
        }
    )


def _name(numbers: xarray.DataArray) -> xarray.Variable:
    """What the numbers of a column mean, as a column of text."""
    return xarray.Variable(numbers.dims, indexing.LazilyIndexedArray(_Names(numbers.variable)))


class _Names(BackendArray):
    """Names in place of numbers, which are read when the names are used: a million rows open without reading any."""

    def __init__(self, numbers: xarray.Variable) -> None:
        self.numbers = numbers
        self.names = list_meanings(numbers.attrs)
        self.shape = numbers.shape
        self.dtype = self.names.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._look_up
        )

    def _look_up(self, key: tuple[Any, ...]) -> Any:
        return self.names[self.numbers[key].values]


def _chunk_rows(layout: Layout) -> dict[str, int]:
    """Rows that one dask task reads of each column: whole label chunks, and a part of a shard."""
    rows = {}
    for column in (column for group in layout.groups for column in group.columns):
        in_file = column.file_shape[0]
        fitting = max(1, DASK_CHUNK_BYTES // column.row_bytes) if column.shard_shape else in_file
        rows[column.name] = next(n for n in range(min(fitting, in_file), 0, -1) if in_file % n == 0)
    return rows
