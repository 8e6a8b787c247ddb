"""The order of an epoch: shuffled, yet reading stays within a few shards at a time.

The shards are shuffled and cut into windows, and the rows of a window are shuffled among each other. The order depends
on the seed and the epoch alone; ranks take turns in it. So the same rows make up a step whatever the number of ranks,
as long as the ranks' batches add up to the same size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajstore.errors import SpecError


def order_epoch(shards: ArrayLike, *, seed: int, epoch: int, window: int) -> NDArray[np.int64]:
    """Order the rows of an epoch.

    Parameters
    ----------
    shards : (n,) integers
        The shard of each row.

    Returns
    -------
    (n,) int64
        A permutation of 0 … n − 1.

    Examples
    --------
    >>> order_epoch([0, 0, 1, 1, 2, 2], seed=0, epoch=0, window=1).tolist()
    [5, 4, 1, 0, 3, 2]
    """
    for name, value, least in (("seed", seed, 0), ("epoch", epoch, 0), ("window", window, 1)):
        if value < least:
            message = f"{name}: found {value}, expected at least {least}"
            raise SpecError(message)
    # a counter of its own: the tables of the dataset's content start at 0
    philox = np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=[0, 0, 0, 1])
    random = np.random.Generator(philox).random
    present, shard = np.unique(np.asarray(shards, dtype=np.int64), return_inverse=True)
    # sorted uniforms and not Generator.permutation, whose result may change from one numpy to the next
    turn = np.argsort(np.argsort(random(len(present)), kind="stable"), kind="stable")
    order: NDArray[np.int64] = np.lexsort((random(len(shard)), turn[shard] // window))
    return order


def deal(order: NDArray[np.int64], *, rank: int, world_size: int, start: int = 0) -> NDArray[np.int64]:
    """What one rank reads of an epoch.

    Parameters
    ----------
    order : (n,) int64
        The epoch.

    Returns
    -------
    (m,) int64
        Every ``world_size``-th from ``start + rank``; the same number for every rank, for which the first rows of the
        epoch are read again at its end where it does not divide evenly.

    Examples
    --------
    >>> [deal(np.arange(5), rank=rank, world_size=2).tolist() for rank in range(2)]
    [[0, 2, 4], [1, 3, 0]]
    """
    if not 0 <= rank < world_size:
        message = f"rank: found {rank} of a world size of {world_size}, expected 0 ≤ rank < world size"
        raise SpecError(message)
    remaining = order[start:]
    if not len(remaining):
        return remaining
    count = -(-len(remaining) // world_size)
    padded = np.concatenate([remaining, np.resize(order, count * world_size - len(remaining))])
    return padded[rank::world_size]
