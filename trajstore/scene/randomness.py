"""Random numbers of any range of rows, without looking at any other row.

Each purpose has a stream: one infinite table of uniforms, ``Philox(key=(seed, stream))`` advanced to the row. Rows
``first … first + count`` of that table are the same however the dataset is cut into ranges.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Stream(IntEnum):
    """What a table of uniforms is for; the numbers decide the content of every row and never change."""

    CLASS_ORDER = 0
    SPLIT = 1
    SHAPE = 2
    PLACEMENT = 3
    APPEARANCE = 4
    BODIES = 5
    BODY_LOOKS = 6
    BODY_SHAPE = 7
    BODY_PLACEMENT = 8
    ORIENTATION = 9
    BACKGROUND = 10
    CAMERAS = 11
    LIGHT = 12
    SENSOR = 13
    TRACKS = 14


def uniforms(seed: int, stream: int, *, first: int, count: int, width: int) -> NDArray[np.float64]:
    """Rows ``first … first + count − 1`` of a stream's table of uniforms.

    Returns
    -------
    (count, width) float64
        Uniform in [0, 1).

    Examples
    --------
    >>> whole = uniforms(7, Stream.SHAPE, first=0, count=10, width=8)
    >>> part = uniforms(7, Stream.SHAPE, first=6, count=4, width=8)
    >>> bool((whole[6:] == part).all())
    True

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    if width % 4:
        message = f"width is {width}, expected a multiple of 4"
        raise ValueError(message)
    generator = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    generator.advance(first * width // 4)
    return np.random.Generator(generator).random((count, width))


def to_keys(table: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Keys (...) of hashes from uniforms (...): as integers, the 53 bits that decide each."""
    return (table * 2.0**53).astype(np.uint64)
