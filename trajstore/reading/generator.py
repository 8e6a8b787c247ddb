"""Samples without a store: drawn when they are asked for, equal to the stored ones bit for bit."""

from __future__ import annotations

from functools import cached_property, partial
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.reading.samples import Samples, Selection
from trajstore.scene.cameras import Rig, place_cameras
from trajstore.scene.order import label_rows, split_rows
from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import ANNOTATIONS, DatasetSpec, SpecLike
from trajstore.storage.caching import LoadingCache, PerProcess
from trajstore.store.columns import Column, Layout
from trajstore.store.layout import plan_layout

BLOCK_ROWS: Final = 256
"""Rows that are described at a time: it takes 4 ms for 256 and 2 ms for one."""

BLOCKS_MAX: Final = 64
"""Described blocks that are kept in memory; one of default samples takes 4 MB."""


class SampleGenerator(Samples):
    """Draws samples; has the methods of `trajstore.reading.store.StoreReader`, and all annotations.

    Parameters
    ----------
    spec : DatasetSpec, mapping or path-like
        The dataset, as `trajstore.build` takes it.
    threads : int, optional
        Threads that a batch is spread over; by default one for each processor, at most 8.

    Examples
    --------
    >>> spec = DatasetSpec.from_fields(samples=8, frames=4, height=16, width=16)
    >>> generator = SampleGenerator(spec)
    >>> generator[3].shape, generator.column("future_position").shape
    ((4, 4, 3, 16, 16), (8, 3))
    """

    def __init__(self, spec: SpecLike, *, threads: int | None = None) -> None:
        super().__init__("generated samples", DatasetSpec.from_any(spec), threads=threads)
        self._blocks = PerProcess(partial(LoadingCache[int, Scene], BLOCKS_MAX))

    @cached_property
    def layout(self) -> Layout:
        """The plan of a store of the spec that has all annotations: they are there without being written."""
        return plan_layout(self.spec.replace(groups=ANNOTATIONS))

    def _read_run(self, name: str, rows: range) -> NDArray[Any]:
        """Read successive rows of a column; classes and splits without tracing paths: thousands of times as fast."""
        if name == "class_label":
            return label_rows(self.spec, rows)
        if name == "split":
            return split_rows(self.spec, rows)
        return super()._read_run(name, rows)

    def _count_loaded(self, column: Column) -> int:
        """Rows of a block."""
        return BLOCK_ROWS

    def _load(self, column: Column, chunk: int) -> NDArray[Any]:
        """A column of a block."""
        values = np.empty((min(BLOCK_ROWS, len(self) - chunk * BLOCK_ROWS), *column.shape[1:]), column.dtype)
        rows, whole = slice(0, len(values)), tuple(slice(0, size) for size in column.shape[1:])
        draw = self.layout.group_of(column.name).draw
        return draw(self._find_scene(chunk), column, rows, whole, values)

    def _load_static(self, column: Column) -> NDArray[np.float64]:
        """An array of the cameras."""
        return self._rig.static(column.name)

    @cached_property
    def _rig(self) -> Rig:
        """The cameras."""
        return place_cameras(self.spec)

    def _find_scene(self, block: int) -> Scene:
        """Everything about a block of rows but their pixels."""
        return self._blocks.get().get(block, self._make_scene)

    def _make_scene(self, block: int) -> Scene:
        """Compute a block that is not kept any more, or not yet."""
        first = block * BLOCK_ROWS
        return make_scene(self.spec, range(first, min(first + BLOCK_ROWS, len(self))))

    def _fill(
        self,
        rows: NDArray[np.int64],
        places: NDArray[np.intp],
        selection: Selection,
        out: NDArray[Any],
    ) -> None:
        """Draw rows one after the other, in runs of neighbouring cameras and frames."""
        column, indices = selection.column, selection.indices
        draw = self.layout.group_of(column.name).draw
        runs = [_find_runs(chosen) for chosen in indices]
        whole = [slice(0, size) for size in column.shape[1:]]
        if runs and runs[-1] != [(whole[len(runs) - 1],) * 2]:
            # one camera at a time, so that what the kernel sees is contiguous: another layout is compiled anew
            camera = column.dims.index("camera") - 1
            runs[camera] = [(slice(i, i + 1), slice(c, c + 1)) for i, c in enumerate(indices[camera])]
        parts = [
            (tuple(to for to, _ in run), (*(of for _, of in run), *whole[len(run) :]))
            for run in product(*runs)
        ]
        for place in places.tolist():
            block, index = divmod(int(rows[place]), BLOCK_ROWS)
            scene = self._find_scene(block)
            for to, part in parts:
                target = out[(slice(place, place + 1), *to)]
                values = draw(scene, column, slice(index, index + 1), part, target)
                if values is not target:  # they were there already
                    target[...] = values


def _find_runs(indices: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Cut indices into runs that ascend by one: slices of the places in the selection, and of the indices."""
    starts = [at for at in range(len(indices)) if at == 0 or indices[at] != indices[at - 1] + 1]
    stops = [*starts[1:], len(indices)]
    return [(slice(a, b), slice(indices[a], indices[a] + b - a)) for a, b in zip(starts, stops, strict=True)]
