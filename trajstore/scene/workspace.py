"""Memory that drawing takes, allocated once for each thread."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.annotate import Survey, make_survey
from trajstore.kernels.canvas import Canvas, make_canvas
from trajstore.kernels.layers import LayerCanvas, make_layer_canvas
from trajstore.kernels.poses import Scratch, make_scratch
from trajstore.kernels.raster import SCANLINES
from trajstore.kernels.zstd import Encoder, bound_frame, make_encoder

Encoding = tuple[Encoder, NDArray[np.int64], NDArray[np.uint8]]
"""An encoder, where its chunks end, and what comes out."""


class Workspace:
    """Memory to draw so many bodies in pictures of a size.

    Parameters
    ----------
    bodies, height, width : int
        How many, and the size in px.
    """

    def __init__(self, bodies: int, height: int, width: int) -> None:
        self.shape: Final = (bodies, height, width)
        self.spans: Final[NDArray[np.float64]] = np.empty((SCANLINES, 2))
        self._canvas: tuple[tuple[bool, ...], LayerCanvas] | None = None
        self._encoders: dict[str, tuple[tuple[int, int], Encoding]] = {}

    @cached_property
    def canvas(self) -> Canvas:
        """A picture to draw on."""
        _, height, width = self.shape
        return make_canvas(height, width)

    @cached_property
    def scratch(self) -> Scratch:
        """Memory to draw several bodies."""
        return make_scratch(*self.shape)

    @cached_property
    def survey(self) -> Survey:
        """Memory to annotate pictures."""
        return make_survey(*self.shape)

    def get_layers(self, is_wanted: tuple[bool, ...]) -> LayerCanvas:
        """Pictures to draw layers of annotations on."""
        if self._canvas is None or self._canvas[0] != is_wanted:
            self._canvas = is_wanted, make_layer_canvas(is_wanted, *self.shape[1:])
        return self._canvas[1]

    def get_encoder(self, name: str, chunk_bytes: int, chunks: int) -> Encoding:
        """Memory to compress chunks of so many bytes of an array, for where they end, and for all that comes out."""
        kept = self._encoders.get(name)
        if kept is None or kept[0] != (chunk_bytes, chunks):
            ends, out = np.empty(chunks, np.int64), np.empty(chunks * bound_frame(chunk_bytes), np.uint8)
            kept = (chunk_bytes, chunks), (make_encoder(chunk_bytes), ends, out)
            self._encoders[name] = kept
        return kept[1]


class _Kept(threading.local):
    """The last workspace of each thread."""

    workspace: Workspace | None = None


_kept = _Kept()


def get_workspace(bodies: int, height: int, width: int) -> Workspace:
    """The workspace of this thread; what is in it is valid until the next one is asked for."""
    if _kept.workspace is None or _kept.workspace.shape != (bodies, height, width):
        _kept.workspace = Workspace(bodies, height, width)
    return _kept.workspace
