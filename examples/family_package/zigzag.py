"""A family of one's own: a path that turns to and fro while it goes on."""

import numpy as np

from trajstore import Family


def count_corners(uniforms):
    """How often each path turns over the seen frames (n,): 3 to 7 times."""
    return 3.0 + np.floor(5.0 * uniforms[:, 0])


def trace_zigzag(uniforms, times):
    """Points (n, m, 3) of paths, from uniforms (n, 8) and times (m,)."""
    turns = count_corners(uniforms)[:, None] * times / 2.0 + 0.25
    across = np.abs(turns - np.floor(turns) - 0.5)
    return np.stack([np.broadcast_to(2.0 * times, across.shape), across, 0.0 * across], axis=-1)


zigzag = Family(trace_zigzag, parameters={"corners": count_corners})
