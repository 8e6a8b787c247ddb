"""Random numbers, class order and splits of any range of rows, without looking at any other row.

Each purpose has a stream: one infinite table of uniforms, ``Philox(key=(seed, stream))`` advanced to the row. Rows
``first … first + count`` of that table are the same however the dataset is cut into ranges.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

SPLIT_NAMES = ("train", "val", "test")
GROUPS_PER_SPLIT_BLOCK = 20
"""Splits are exact over each aligned block of this many class groups (70/15/15 gives 14 + 3 + 3)."""


class Stream(IntEnum):
    """What a table of uniforms is for; the numbers decide the content of every row and never change."""

    CLASS_ORDER = 0
    SPLIT = 1
    SHAPE = 2
    PLACEMENT = 3
    APPEARANCE = 4


def uniforms(seed: int, stream: int, *, first: int, count: int, width: int) -> NDArray[np.float64]:
    """Rows ``first … first + count − 1`` of a stream's table of uniforms.

    Parameters
    ----------
    seed : int
        The dataset's seed, 0 … 2⁶³ − 1.
    stream : int
        Which table, see `Stream`.
    first, count : int
        The range of rows.
    width : int
        Columns of the table, a multiple of 4: Philox yields four numbers a step.

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


def class_labels(seed: int, *, first: int, count: int, classes: int) -> NDArray[np.int8]:
    """Class of each row: every aligned group of ``classes`` rows holds each class once, in shuffled order.

    Parameters
    ----------
    seed : int
        The dataset's seed.
    first, count : int
        The range of rows.
    classes : int
        How many classes there are, at most 127.

    Returns
    -------
    (count,) int8
        Labels 0 … classes − 1. Over any contiguous slice the counts of two classes differ by at most two.
    """
    rows = np.arange(first, first + count)
    first_group, groups = _spanned(first, count, classes)
    width = -(-classes // 4) * 4
    table = uniforms(seed, Stream.CLASS_ORDER, first=first_group, count=groups, width=width)
    order = np.argsort(table[:, :classes], axis=1, kind="stable")
    return order[rows // classes - first_group, rows % classes].astype(np.int8)


def splits(
    seed: int, *, first: int, count: int, classes: int, shares: tuple[float, float, float]
) -> NDArray[np.int8]:
    """Split of each row; whole class groups go to one split, so each split is balanced over the classes.

    Parameters
    ----------
    seed : int
        The dataset's seed.
    first, count : int
        The range of rows.
    classes : int
        How many rows a class group has.
    shares : (train, val, test)
        Non-negative shares that sum to 1.

    Returns
    -------
    (count,) int8
        0 train, 1 val, 2 test. Of the first n blocks of 20 groups, each split holds its share, give or take less
        than two groups; a row's split never depends on the size of the dataset.
    """
    block_rows = classes * GROUPS_PER_SPLIT_BLOCK
    rows = np.arange(first, first + count)
    first_block, blocks = _spanned(first, count, block_rows)
    table = uniforms(seed, Stream.SPLIT, first=first_block, count=blocks, width=GROUPS_PER_SPLIT_BLOCK)
    rank = np.argsort(np.argsort(table, axis=1, kind="stable"), axis=1, kind="stable")
    groups = GROUPS_PER_SPLIT_BLOCK * np.arange(first_block, first_block + blocks + 1, dtype=np.float64)
    train, val, test = shares
    # val gets its share of what train leaves: rounding both alike would let a split lose groups it already has
    train_groups = _round_share(groups, train)
    val_groups = _round_share(groups - train_groups, val / (val + test) if val else 0.0)
    val_start = np.diff(train_groups)[:, None]
    test_start = val_start + np.diff(val_groups)[:, None]
    split = (rank >= val_start).astype(np.int8) + (rank >= test_start)
    return split[rows // block_rows - first_block, rows // classes % GROUPS_PER_SPLIT_BLOCK].astype(np.int8)


def _round_share(groups: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """How many of so many groups a share is, to the nearest, halves up; never shrinks as the groups grow."""
    # 0.145 of 100 is 14.499…98: rounding the product first keeps a half a half
    rounded: NDArray[np.float64] = np.floor(np.round(groups * share, 6) + 0.5)
    return rounded


def _spanned(first: int, count: int, size: int) -> tuple[int, int]:
    """First aligned group of ``size`` rows that a range touches, and how many it touches."""
    first_group = first // size
    return first_group, (first + max(count, 1) - 1) // size - first_group + 1
