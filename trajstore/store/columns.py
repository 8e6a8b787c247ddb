"""What a store is made of, as data: columns, the groups they are filled in, and tasks.

The unit of work is the unit of storage is the unit of the flag: a task owns whole files of each column of its group,
and says so with one written flag. Nothing is ever read, modified and written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, product
from math import ceil, prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

    from trajstore.scene.scene import Scene  # imports numba, which reading does without


FRAME_NOTE: Final = "frames are numbered from 1: array index = frame - 1"


@dataclass(frozen=True)
class Column:
    """One array of a store; a file of it is one chunk or, with a ``shard_shape``, many that are compressed apart."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dtype: str
    fill_value: float = field(compare=False)  # NaN equals nothing, and equal columns shall be equal
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    shard_shape: tuple[int, ...] | None = None

    @property
    def file_shape(self) -> tuple[int, ...]:
        """What one file covers: a shard, or a chunk."""
        return self.shard_shape or self.chunk_shape

    @property
    def row_bytes(self) -> int:
        """Uncompressed bytes of a row."""
        return prod(self.shape[1:]) * np.dtype(self.dtype).itemsize

    @cached_property
    def chunk_counts(self) -> tuple[int, ...]:
        """Chunks along each dimension of one file."""
        return tuple(a // b for a, b in zip(self.file_shape, self.chunk_shape, strict=True))

    @cached_property
    def parts(self) -> tuple[tuple[slice, ...], ...]:
        """What each chunk covers of a row, in the order in which they lie in a file."""
        ranges = (
            range(0, size, step) for size, step in zip(self.shape[1:], self.chunk_shape[1:], strict=True)
        )
        steps = self.chunk_shape[1:]
        return tuple(
            tuple(slice(a, a + step) for a, step in zip(starts, steps, strict=True))
            for starts in product(*ranges)
        )

    def key(self, index: int) -> str:
        """Name of the file that holds part ``index`` along the first dimension."""
        return f"{self.name}/{'.'.join(['c', str(index), *['0'] * (len(self.dims) - 1)])}"


Draw = Callable[["Scene", Column, slice, tuple[slice, ...], NDArray[Any]], NDArray[Any]]
"""Makes some rows of a column, counted from the scene's first, and a part of their other dimensions.

It puts them into the array that it is given and returns that, or returns another where they are without a copy.
"""


Compress = Callable[["Scene", Sequence[Column], int, "ZstdCompressor"], Mapping[str, list[bytes]] | None]
"""Makes the zstd frames of the chunks of a row in several columns at once, by name, without drawing all of it.

The row is counted from the scene's first. None where there is nothing to save: it is then drawn, and compressed by the
library.
"""


@dataclass(frozen=True)
class Task:
    """Some rows of a column group, or of several that are filled together: the files of one index, and their flags."""

    group: str
    index: int
    rows: range
    also: tuple[str, ...] = ()
    """Further groups that are filled in the same pass over the rows."""

    @property
    def groups(self) -> tuple[str, ...]:
        """All groups that are filled."""
        return (self.group, *self.also)

    def __str__(self) -> str:
        return f"{'+'.join(self.groups)}-{self.index:06d}"


@dataclass(frozen=True)
class ColumnGroup:
    """Arrays that are filled together, the function that makes their values, and a flag per task.

    Groups that follow each other and share that function and the rows of their tasks are filled in one pass.
    """

    name: str
    columns: tuple[Column, ...]
    samples: int
    rows_per_task: int
    draw: Draw
    flag_dim: str
    compress: Compress | None = None

    @cached_property
    def flags(self) -> Column:
        """The array of written flags."""
        return Column(
            name=f"{self.name}_written",
            dims=(self.flag_dim,),
            shape=(len(self),),
            chunk_shape=(1,),
            dtype="bool",
            fill_value=False,
            attributes={
                "long_name": f"whether these {self.rows_per_task} rows of the {self.name} columns are written"
            },
        )

    @property
    def row_bytes(self) -> int:
        """Uncompressed bytes of a row."""
        return sum(column.row_bytes for column in self.columns)

    def task(self, index: int) -> Task:
        """The task of an index."""
        first = index * self.rows_per_task
        return Task(self.name, index, range(first, min(first + self.rows_per_task, self.samples)))

    def tasks(self) -> Iterator[Task]:
        """All tasks, in the order of their rows."""
        return map(self.task, range(len(self)))

    def count_rows(self, indices: NDArray[np.integer[Any]]) -> int:
        """Rows of several tasks.

        Parameters
        ----------
        indices : (n,) integers
            Indices of tasks, none of them twice.
        """
        missing = len(self) * self.rows_per_task - self.samples
        return len(indices) * self.rows_per_task - missing * int((indices == len(self) - 1).any())

    def __len__(self) -> int:
        return ceil(self.samples / self.rows_per_task)


@dataclass(frozen=True)
class Layout:
    """A whole store: column groups in the order in which they are filled, and arrays that do not depend on rows."""

    groups: tuple[ColumnGroup, ...]
    static: tuple[Column, ...]

    @property
    def columns(self) -> Iterator[Column]:
        """Every array of the store, those of the last group first."""
        for group in reversed(self.groups):
            yield from group.columns
        yield from self.static
        yield from (group.flags for group in self.groups)

    @property
    def passes(self) -> Iterator[tuple[ColumnGroup, ...]]:
        """The groups, those together that are filled in one pass over their rows."""
        for _, groups in groupby(self.groups, lambda group: (group.draw, group.rows_per_task)):
            yield tuple(groups)

    def group(self, name: str) -> ColumnGroup:
        """The column group of a name."""
        return next(group for group in self.groups if group.name == name)

    def group_of(self, column: str) -> ColumnGroup:
        """The group that a column is filled in."""
        return next(group for group in self.groups if any(one.name == column for one in group.columns))

    def column(self, name: str) -> Column:
        """The array of a name."""
        return next(column for column in self.columns if column.name == name)
