"""Rows of a column that are written."""

from __future__ import annotations

import numpy as np
import zarr
from numpy.typing import NDArray

from trajstore.errors import CorruptDataError
from trajstore.store.columns import ColumnGroup
from trajstore.store.handle import StoreHandle
from trajstore.store.zarr_api import zarr_store


def read_written(store: StoreHandle, group: ColumnGroup, name: str) -> NDArray[np.generic]:
    """Read the rows of a column whose flags are set.

    Returns
    -------
    (rows, ...) ndarray
        Rows of unwritten tasks are left out.
    """
    parts = [group.task(int(index)).rows for index in np.flatnonzero(store.is_written(group))]
    return np.concatenate([read_rows(store, name, rows) for rows in parts or [range(0)]])


def read_rows(store: StoreHandle, name: str, rows: range) -> NDArray[np.generic]:
    """Read some rows of a column, written or not.

    Returns
    -------
    (rows, ...) ndarray
        What is not written reads as the fill value.
    """
    try:
        array = zarr.open_array(zarr_store(store.storage), path=name, mode="r", zarr_format=3)
        return np.asarray(array[rows.start : rows.stop])
    except (ValueError, TypeError, LookupError, RuntimeError, FileNotFoundError) as error:
        # all of these are what zarr and its codecs raise
        message = (
            f"{store.location}: column {name}, rows {rows.start}…{rows.stop - 1}: {error}; "
            f"see what else is damaged with: trajstore verify {store.location.argument}"
        )
        raise CorruptDataError(message) from None
