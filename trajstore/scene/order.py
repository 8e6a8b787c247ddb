"""Class order and splits of any range of rows, without looking at any other row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DEFAULT_FIRST_GROUPS, DatasetSpec, FirstGroups

SPLIT_NAMES = ("train", "val", "test")
GROUPS_PER_SPLIT_BLOCK = 20
"""Splits are exact over each aligned block of this many class groups (70/15/15 gives 14 + 3 + 3)."""


def label_rows(spec: DatasetSpec, rows: range) -> NDArray[np.int8]:
    """Class of each of some rows (n,)."""
    dataset = spec.dataset
    return class_labels(dataset.seed, first=rows.start, count=len(rows), weights=dataset.class_weights)


def split_rows(spec: DatasetSpec, rows: range) -> NDArray[np.int8]:
    """Split of each of some rows (n,): places in `SPLIT_NAMES`."""
    shares, group = spec.splits, sum(spec.dataset.class_weights)
    return splits(
        spec.dataset.seed,
        first=rows.start,
        count=len(rows),
        group=group,
        shares=(shares.train, shares.val, shares.test),
        first_groups=shares.first_groups or DEFAULT_FIRST_GROUPS,
    )


def class_labels(seed: int, *, first: int, count: int, weights: tuple[int, ...]) -> NDArray[np.int8]:
    """Class of each row: every aligned group of ``sum(weights)`` rows holds each class so often, in shuffled order.

    Returns
    -------
    (count,) int8
        Labels 0 … classes − 1. With weights of 1 the counts of two classes differ by at most two over any
        contiguous slice.
    """
    group = sum(weights)
    rows = np.arange(first, first + count)
    first_group, groups = _spanned(first, count, group)
    width = -(-group // 4) * 4
    table = uniforms(seed, Stream.CLASS_ORDER, first=first_group, count=groups, width=width)
    order = np.argsort(table[:, :group], axis=1, kind="stable")
    label = np.repeat(np.arange(len(weights)), weights).astype(np.int8)
    return label[order[rows // group - first_group, rows % group]]


def splits(
    seed: int,
    *,
    first: int,
    count: int,
    group: int,
    shares: tuple[float, float, float],
    first_groups: FirstGroups = DEFAULT_FIRST_GROUPS,
) -> NDArray[np.int8]:
    """Split of each row; whole groups of rows go to one split, so each split has the classes in the same shares.

    Where ``first_groups`` is ``each``, the very first groups go to train, val and test, as far as each has a share of
    the first block.

    Returns
    -------
    (count,) int8
        0 train, 1 val, 2 test. Of the first n blocks of 20 groups, each split holds its share, give or take less
        than two groups; a row's split never depends on the size of the dataset.
    """
    block_rows = group * GROUPS_PER_SPLIT_BLOCK
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
    if first_groups == "each" and first_block == 0:
        for place, name in enumerate(np.unique(split[0])):
            other = place + int((split[0, place:] == name).argmax())
            split[0, [place, other]] = split[0, [other, place]]
    return split[rows // block_rows - first_block, rows // group % GROUPS_PER_SPLIT_BLOCK].astype(np.int8)


def _round_share(groups: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """How many of so many groups a share is, to the nearest, halves up; never shrinks as the groups grow."""
    # 0.145 of 100 is 14.499…98: rounding the product first keeps a half a half
    rounded: NDArray[np.float64] = np.floor(np.round(groups * share, 6) + 0.5)
    return rounded


def _spanned(first: int, count: int, size: int) -> tuple[int, int]:
    """First aligned group of ``size`` rows that a range touches, and how many it touches."""
    first_group = first // size
    return first_group, (first + max(count, 1) - 1) // size - first_group + 1
