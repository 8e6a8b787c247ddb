"""How kernels are compiled: without the GIL, without ``fastmath``, cached on disk where there is a place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile a kernel at its first call.

    Parameters
    ----------
    function : callable
        Arrays and numbers in; writes into ``out``, its last argument.

    Returns
    -------
    callable
        The same, compiled; the function itself under ``NUMBA_DISABLE_JIT=1``.
    """
    # `error_model="numpy"` drops the division-by-zero branches that keep loops from being vectorised. Kernels do not
    # allocate, so they need not count references ("_nrt"): for each slice of an array, that took as long as many a work
    options: Any = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
    try:
        compiled: Function = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable folder for the cache: compile anew in each process
        compiled = numba.njit(**options)(function)
    return compiled
