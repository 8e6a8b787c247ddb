"""Random numbers, class order and splits: the same for every slicing, balanced, stable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import naive

from trajstore.scene.order import SPLIT_NAMES, class_labels, label_rows, split_rows, splits
from trajstore.scene.randomness import Stream, uniforms
from trajstore.spec import DatasetSpec

DEFAULT_SHARES = (0.7, 0.15, 0.15)
LARGEST_SEED = 2**63 - 1

seeds = st.integers(0, LARGEST_SEED)
class_counts = st.integers(1, 9)
class_weights = st.lists(st.integers(1, 12), min_size=1, max_size=6).map(tuple)
cuts = st.lists(st.integers(1, 400), max_size=6).map(sorted)
shares_of_all = st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100)).filter(any)


def normalise(parts: tuple[int, int, int]) -> tuple[float, float, float]:
    """Shares that sum to 1 up to rounding."""
    return tuple(part / sum(parts) for part in parts)


def split_at(edges: list[int], total: int) -> list[range]:
    """Cut the rows 0 … total − 1 at some of them."""
    inner = [edge for edge in edges if edge < total]
    return [range(*pair) for pair in zip([0, *inner], [*inner, total], strict=True)]


@given(seeds, st.sampled_from(Stream), cuts, st.sampled_from([4, 8, 20]))
def test_uniforms_do_not_depend_on_slicing(seed: int, stream: Stream, edges: list[int], width: int):
    whole = uniforms(seed, stream, first=0, count=400, width=width)
    parts = [uniforms(seed, stream, first=r.start, count=len(r), width=width) for r in split_at(edges, 400)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_uniforms_match_rows_drawn_one_by_one():
    table = uniforms(5, Stream.PLACEMENT, first=90, count=10, width=8)
    expected = [naive.draw_uniforms(5, naive.PLACEMENT, row=row, width=8) for row in range(90, 100)]
    assert table.tobytes() == np.array(expected).tobytes()


def test_streams_and_seeds_differ():
    tables = [
        uniforms(seed, stream, first=0, count=3, width=8).tobytes()
        for seed in (0, 1, LARGEST_SEED)
        for stream in Stream
    ]
    assert len(set(tables)) == len(tables)


def test_a_row_far_away_costs_nothing():
    assert uniforms(0, Stream.SHAPE, first=10**12, count=2, width=8).shape == (2, 8)


@pytest.mark.parametrize("width", [1, 6, 7])
def test_a_width_that_would_break_the_table_is_refused(width: int):
    with pytest.raises(ValueError, match=f"width is {width}, expected a multiple of 4"):
        uniforms(0, Stream.SHAPE, first=0, count=1, width=width)


@given(seeds, class_weights, cuts)
def test_labels_and_splits_do_not_depend_on_slicing(seed: int, weights: tuple[int, ...], edges: list[int]):
    def labels_of(rows: range) -> np.ndarray:
        return class_labels(seed, first=rows.start, count=len(rows), weights=weights)

    def splits_of(rows: range) -> np.ndarray:
        return splits(seed, first=rows.start, count=len(rows), group=sum(weights), shares=DEFAULT_SHARES)

    parts = split_at(edges, 400)
    np.testing.assert_array_equal(np.concatenate([labels_of(r) for r in parts]), labels_of(range(400)))
    np.testing.assert_array_equal(np.concatenate([splits_of(r) for r in parts]), splits_of(range(400)))


@pytest.mark.parametrize("start", ["each", "random"])
@pytest.mark.parametrize("classes", [1, 2, 4, 5])
def test_labels_and_splits_match_the_twin(classes: int, start: Any):
    labels = class_labels(11, first=150, count=110, weights=(1,) * classes)
    assert labels.tolist() == [naive.find_label(11, row=row, classes=classes) for row in range(150, 260)]
    for rows in (range(60), range(150, 260)):
        split = splits(
            11, first=rows.start, count=len(rows), group=classes, shares=DEFAULT_SHARES, first_groups=start
        )
        assert split.tolist() == [
            naive.find_split(11, row=row, classes=classes, per_block=(14, 3), first_groups=start)
            for row in rows
        ]


@given(seeds, class_counts, st.integers(0, 10**9))
def test_every_aligned_group_holds_each_class_once(seed: int, classes: int, first_group: int):
    labels = class_labels(seed, first=first_group * classes, count=30 * classes, weights=(1,) * classes)
    assert (np.sort(labels.reshape(30, classes), axis=1) == np.arange(classes)).all()


@given(seeds, class_weights, st.integers(0, 10**9))
def test_every_aligned_group_holds_each_class_as_often_as_its_weight(
    seed: int, weights: tuple[int, ...], first_group: int
):
    group = sum(weights)
    labels = class_labels(seed, first=first_group * group, count=10 * group, weights=weights)
    for of_group in labels.reshape(10, group):
        assert np.bincount(of_group, minlength=len(weights)).tolist() == list(weights)


@given(seeds, class_weights)
def test_every_split_has_the_classes_in_the_shares_of_their_weights(seed: int, weights: tuple[int, ...]):
    group = sum(weights)
    labels = class_labels(seed, first=0, count=20 * group, weights=weights)
    split = splits(seed, first=0, count=20 * group, group=group, shares=DEFAULT_SHARES)
    assert (split.reshape(20, group) == split[::group, None]).all()
    for index, groups in enumerate((14, 3, 3)):
        counts = np.bincount(labels[split == index], minlength=len(weights))
        assert counts.tolist() == [groups * weight for weight in weights]


def test_a_rare_class_may_be_anywhere_in_its_group():
    labels = class_labels(0, first=0, count=80_000, weights=(7, 1)).reshape(-1, 8)
    assert (labels.sum(axis=1) == 1).all()
    counts = labels.sum(axis=0)
    # 1,250 expected at each place; the standard deviation is 33
    assert counts.min() > 1100
    assert counts.max() < 1400


def test_a_spec_names_the_weights_of_its_classes():
    spec = DatasetSpec.from_fields(classes=["Linear", "Helical"], weights=[3, 1])
    labels, split = label_rows(spec, range(8, 40)), split_rows(spec, range(8, 40))
    assert labels.tolist() == class_labels(0, first=8, count=32, weights=(3, 1)).tolist()
    assert split.tolist() == splits(0, first=8, count=32, group=4, shares=DEFAULT_SHARES).tolist()
    assert np.bincount(labels).tolist() == [24, 8]
    assert DatasetSpec().dataset.class_weights == (1, 1, 1, 1)
    rows = range(30)
    alike = DatasetSpec.from_fields(weights=[1, 1, 1, 1])
    assert label_rows(alike, rows).tolist() == label_rows(DatasetSpec(), rows).tolist()


@given(seeds, st.integers(2, 9), st.integers(0, 10**9), st.integers(1, 500))
def test_every_contiguous_slice_is_balanced_within_two(seed: int, classes: int, first: int, count: int):
    labels = class_labels(seed, first=first, count=count, weights=(1,) * classes)
    counts = np.bincount(labels, minlength=classes)
    assert counts.max() - counts.min() <= 2


def test_all_orders_of_the_classes_occur_about_equally_often():
    orders = class_labels(0, first=0, count=96_000, weights=(1,) * 4).reshape(-1, 4)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    # 1,000 expected; the standard deviation is 31
    assert counts.min() > 850
    assert counts.max() < 1150


def test_default_shares_are_exact_over_ten_thousand_rows():
    split = splits(0, first=0, count=10_000, group=4, shares=DEFAULT_SHARES)
    assert np.bincount(split).tolist() == [7000, 1500, 1500]


@given(seeds, class_counts, st.sampled_from([DEFAULT_SHARES, (0.6, 0.25, 0.15), (0.5, 0.5, 0.0)]))
def test_whole_shares_are_exact_over_each_block_and_for_each_class(seed: int, classes: int, shares: tuple):
    rows = {"first": 20 * classes * 5, "count": 20 * classes}
    split = splits(seed, **rows, group=classes, shares=shares)
    labels = class_labels(seed, **rows, weights=(1,) * classes)
    for index, share in enumerate(shares):
        per_class = np.bincount(labels[split == index], minlength=classes)
        assert per_class.tolist() == [round(20 * share)] * classes


@given(seeds, class_counts, shares_of_all.map(normalise), st.integers(1, 150))
def test_odd_shares_hold_over_any_number_of_blocks(seed: int, classes: int, shares: tuple, blocks: int):
    split = splits(seed, first=0, count=blocks * 20 * classes, group=classes, shares=shares)
    groups = np.bincount(split, minlength=3) / classes
    assert np.abs(groups - 20 * blocks * np.array(shares)).max() < 2
    assert not groups[np.array(shares) == 0.0].any()


@given(
    seeds, class_counts, st.sampled_from([DEFAULT_SHARES, (0.5, 0.0, 0.5), (0.0, 0.5, 0.5), (1.0, 0.0, 0.0)])
)
def test_each_split_with_a_share_has_one_of_the_first_groups(seed: int, classes: int, shares: tuple):
    rows = {"count": 20 * classes, "group": classes, "shares": shares}
    split = splits(seed, first=0, **rows)
    present = [index for index, share in enumerate(shares) if share]
    assert split[: len(present) * classes : classes].tolist() == present
    drawn = splits(seed, first=0, **rows, first_groups="random")
    assert np.bincount(split, minlength=3).tolist() == np.bincount(drawn, minlength=3).tolist()
    assert (split != drawn).sum() <= 2 * len(present) * classes  # the least that brings them there
    later = {"first": 20 * classes, **rows}
    assert splits(seed, **later).tolist() == splits(seed, **later, first_groups="random").tolist()


@given(seeds, class_counts, shares_of_all.map(normalise))
def test_a_split_takes_whole_groups(seed: int, classes: int, shares: tuple):
    split = splits(seed, first=0, count=100 * classes, group=classes, shares=shares).reshape(100, classes)
    assert (split == split[:, :1]).all()


@given(seeds, shares_of_all.map(normalise), st.integers(1, 2000), st.integers(1, 2000))
def test_splits_stay_when_the_dataset_grows(seed: int, shares: tuple, samples: int, more: int):
    small = splits(seed, first=0, count=samples, group=4, shares=shares)
    large = splits(seed, first=0, count=samples + more, group=4, shares=shares)
    np.testing.assert_array_equal(small, large[:samples])


def test_splits_are_shuffled():
    split = splits(0, first=0, count=80_000, group=4, shares=DEFAULT_SHARES)[::4].reshape(-1, 20)
    share_of_test = (split == SPLIT_NAMES.index("test")).mean(axis=0)
    # each place in a block is as likely as any other: 0.15, with a standard deviation of 0.011
    assert np.abs(share_of_test - 0.15).max() < 0.05


def test_seeds_give_other_orders_and_splits():
    def all_of(seed: int) -> bytes:
        labels = class_labels(seed, first=0, count=400, weights=(1,) * 4)
        return labels.tobytes() + splits(seed, first=0, count=400, group=4, shares=DEFAULT_SHARES).tobytes()

    assert len({all_of(seed) for seed in (0, 1, 2, LARGEST_SEED)}) == 4
