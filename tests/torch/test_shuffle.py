from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.errors import SpecError
from trajstore.torch.shuffle import deal, order_epoch

orders = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**63),
        "epoch": st.integers(0, 1000),
        "window": st.integers(1, 5),
    }
)


@given(shards=st.lists(st.integers(0, 12), max_size=80), options=orders)
def test_epoch_is_every_row_once_and_stays_within_its_windows(shards: list[int], options: dict[str, Any]):
    order = order_epoch(shards, **options)
    assert sorted(order.tolist()) == list(range(len(shards)))
    np.testing.assert_array_equal(order, order_epoch(shards, **options))
    # a shard that was left for the next window never comes again
    runs: list[set[int]] = []
    for shard in np.array(shards, int)[order].tolist():
        if any(shard in run for run in runs[:-1]):
            raise AssertionError((shard, runs))
        if not runs or (shard not in runs[-1] and len(runs[-1]) == options["window"]):
            runs.append(set())
        runs[-1].add(shard)
    assert len(runs) == -(-len(set(shards)) // options["window"])


def test_epochs_and_seeds_differ_and_windows_mix_their_shards():
    shards = np.arange(400) // 10
    orders = [
        order_epoch(shards, seed=seed, epoch=epoch, window=4).tolist() for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4
    first = shards[orders[0][:40]]
    assert len(set(first.tolist())) == 4
    assert (np.diff(first) != 0).sum() > 15
    assert set(order_epoch(shards, seed=0, epoch=0, window=4)[:40]) != set(range(40))


@given(count=st.integers(0, 60), world_size=st.integers(1, 9), start=st.integers(0, 60), options=orders)
def test_ranks_get_the_same_number_and_together_every_row(
    count: int, world_size: int, start: int, options: dict[str, Any]
):
    order = order_epoch(np.arange(count) // 7, **options)
    parts = [deal(order, rank=rank, world_size=world_size, start=start) for rank in range(world_size)]
    assert len({len(part) for part in parts}) == 1
    # they take turns: undoing that gives the epoch, and its beginning again
    together = np.stack(parts, axis=1).reshape(-1)
    remaining = order[start:]
    np.testing.assert_array_equal(together[: len(remaining)], remaining)
    padding = together[len(remaining) :]
    assert len(padding) < world_size
    assert set(padding) <= set(order)


@given(
    count=st.integers(1, 60), sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)), steps=st.integers(0, 9)
)
def test_epoch_goes_on_with_another_number_of_ranks(count: int, sizes: tuple[int, int], steps: int):
    order = order_epoch(np.arange(count) // 7, seed=3, epoch=1, window=2)
    before, after = sizes
    done = min(steps * before, count)
    first = [row for rank in range(before) for row in deal(order, rank=rank, world_size=before)[:steps]]
    second = [row for rank in range(after) for row in deal(order, rank=rank, world_size=after, start=done)]
    assert set(first) | set(second) == set(range(count))
    assert len(first) + len(second) < count + before + after


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed: found -1, expected at least 0"),
        ({"epoch": -1}, "epoch: found -1"),
        ({"window": 0}, "window: found 0, expected at least 1"),
    ],
)
def test_refuses_what_makes_no_order(change: dict[str, int], message: str):
    with pytest.raises(SpecError, match=message):
        order_epoch([0], **{"seed": 0, "epoch": 0, "window": 1} | change)


@pytest.mark.parametrize(("rank", "world_size"), [(-1, 2), (2, 2), (0, 0)])
def test_refuses_ranks_that_do_not_exist(rank: int, world_size: int):
    with pytest.raises(SpecError, match=f"rank: found {rank} of a world size of {world_size}"):
        deal(np.arange(4), rank=rank, world_size=world_size)
