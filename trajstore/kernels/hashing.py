"""Random bits of any place of an array, without looking at any other place: a hash of its indices.

Only 32-bit factors are multiplied, so that nothing overflows, and so that every processor does it on vectors.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trajstore.kernels.compiler import kernel

MULTIPLIER: Final = np.uint64(0xD256D193)
OFFSET: Final = np.uint64(0x9E3779B97F4A7C15)
LOW: Final = np.uint64(0xFFFFFFFF)
HALF: Final = np.uint64(32)


@kernel
def mix(value: np.uint64) -> np.uint64:
    """Hash a number of 64 bits; different numbers have different hashes.

    Parameters
    ----------
    value : uint64
        Any.

    Returns
    -------
    uint64
        Bits that look random, whatever few bits two values differ in.

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011: five rounds of Philox-2x32, unrolled.
    """
    value = value ^ OFFSET
    for _ in range(5):
        product = (value & LOW) * MULTIPLIER
        value = (product << HALF | product >> HALF) ^ (value >> HALF)
    return value
