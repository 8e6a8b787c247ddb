"""Samples without a store: drawn when they are asked for, equal to the stored ones bit for bit."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.reading.samples import Samples, Selection
from trajstore.scene.cameras import place_cameras
from trajstore.scene.describe import Scene, describe
from trajstore.scene.order import class_labels, splits
from trajstore.spec import DatasetSpec
from trajstore.storage.caching import BoundedCache, PerProcess
from trajstore.store.columns import Column

BLOCK_ROWS: Final = 256
"""Rows that are described at a time: it takes 4 ms for 256 and 2 ms for one."""

BLOCKS_MAX: Final = 64
"""Described blocks that are kept in memory; one of default samples takes 4 MB."""

_SPREAD_MAX: Final = 64
"""Rows lie together if they span at most so many times as many as they are."""


class SampleGenerator(Samples):
    """Draws samples; has the methods of `trajstore.reading.store.StoreReader`.

    Parameters
    ----------
    spec : DatasetSpec
        The dataset.
    threads : int, optional
        Threads that a batch is spread over; by default one for each processor, at most 8.

    Examples
    --------
    >>> spec = DatasetSpec.from_fields(samples=8, frames=4, height=16, width=16)
    >>> generator = SampleGenerator(spec)
    >>> generator[3].shape, generator.column("future_position").shape
    ((4, 4, 3, 16, 16), (8, 3))
    """

    def __init__(self, spec: DatasetSpec, *, threads: int | None = None) -> None:
        super().__init__("generated samples", spec, threads=threads)
        self._blocks = PerProcess(partial(BoundedCache[int, Scene], BLOCKS_MAX))

    def column(self, name: str, rows: Any = None) -> NDArray[Any]:
        """Labels; see `trajstore.reading.samples.Samples.column`.

        Parameters
        ----------
        name : str
            One of `columns`.
        rows : (n,) integers, optional
            Which rows, in this order; all by default.

        Returns
        -------
        (n, ...) ndarray
            The labels.
        """
        if name not in ("class_label", "split"):
            return super().column(name, rows)
        numbers = None if rows is None else self.check_rows(rows)
        if numbers is not None and (len(numbers) == 0 or np.ptp(numbers) >= _SPREAD_MAX * len(numbers)):
            return super().column(name, numbers)
        # of rows that lie together: thousands of times as fast without tracing their paths
        first, last = (0, len(self) - 1) if numbers is None else (int(numbers.min()), int(numbers.max()))
        spec, count = self.spec, last - first + 1
        seed, classes = spec.dataset.seed, len(spec.dataset.classes)
        if name == "class_label":
            values = class_labels(seed, first=first, count=count, classes=classes)
        else:
            shares = (spec.splits.train, spec.splits.val, spec.splits.test)
            values = splits(seed, first=first, count=count, classes=classes, shares=shares)
        return values if numbers is None else values[numbers - first]

    @cached_property
    def _label_rows(self) -> int:
        """Rows of a block."""
        return BLOCK_ROWS

    def _load_labels(self, column: Column, chunk: int) -> NDArray[Any]:
        """A column of a block."""
        return self._describe(chunk).columns[column.name]

    def _load_static(self, column: Column) -> NDArray[np.float64]:
        """An array of the cameras."""
        rig = place_cameras(self.spec)
        return {"intrinsics": rig.intrinsics, "extrinsics": rig.extrinsics}[column.name]

    def _describe(self, block: int) -> Scene:
        """Everything about a block of rows but their pixels."""
        return self._blocks.get().get(block, self._describe_anew)

    def _describe_anew(self, block: int) -> Scene:
        """The same, computed."""
        first = block * BLOCK_ROWS
        return describe(self.spec, range(first, min(first + BLOCK_ROWS, len(self))))

    def _fill(
        self,
        rows: NDArray[np.int64],
        places: NDArray[np.intp],
        selection: Selection,
        out: NDArray[np.uint8],
    ) -> None:
        """Draw rows one after the other, in runs of neighbouring cameras and frames."""
        frame_runs = _find_runs(selection.frames)
        camera_runs = _find_runs(selection.cameras)
        if frame_runs != [(slice(0, self.spec.video.frames),) * 2]:
            # one camera at a time, so that what the kernel sees is contiguous: another layout is compiled anew
            camera_runs = [(slice(i, i + 1), slice(c, c + 1)) for i, c in enumerate(selection.cameras)]
        runs = [(*to_of, *frames) for to_of in camera_runs for frames in frame_runs]
        for place in places.tolist():
            block, index = divmod(int(rows[place]), BLOCK_ROWS)
            scene = self._describe(block)
            for to_cameras, of_cameras, to_frames, of_frames in runs:
                scene.draw(index, of_cameras, of_frames, out[place, to_cameras, to_frames])


def _find_runs(indices: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Cut indices into runs that ascend by one: slices of the places in the selection, and of the indices."""
    starts = [at for at in range(len(indices)) if at == 0 or indices[at] != indices[at - 1] + 1]
    stops = [*starts[1:], len(indices)]
    return [(slice(a, b), slice(indices[a], indices[a] + b - a)) for a, b in zip(starts, stops, strict=True)]
