"""How kernels are compiled: without the GIL, without ``fastmath``, kept on disk where there is a place."""

from __future__ import annotations

import logging
import pickle
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime import rtsys

_is_told = threading.Event()

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
    compiled: Any = numba.njit(**options)(function)
    if compiled is not function:
        with suppress(RuntimeError, OSError):  # no folder for it: compile anew in each process
            compiled._cache = _KernelCache(function)
    result: Function = compiled
    return result


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """What has been compiled, in files that may be damaged and on a disk that may be full: then compile anew.

    numba does not wait for the disk: after a power cut its files are empty. And it raises whatever it meets there.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFile(
            self.cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load what was compiled for a signature; None where it is not there whole."""
        found = None
        # numba's own first loads all that it compiles with: 0.3 s in every process, and machine code needs none of it
        rtsys.initialize(target_context)
        try:
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  what unpickling raises depends on where the file was cut
            with suppress(OSError):
                self.flush()  # or nothing could be kept from now on
        if found is None and not _is_told.is_set():
            _is_told.set()
            logging.getLogger(__name__).info("compiling for this machine, once: this takes about 15 s")
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature, if that is possible."""
        with suppress(Exception):
            super().save_overload(sig, data)


class _CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
    """Files of machine code with a checksum, and with the signature: processes that fill a new cache mix them up."""

    def save(self, key: Any, data: Any) -> None:
        """Write what belongs to a signature."""
        content = self._dump((key, data))
        super().save(key, (zlib.crc32(content), content))

    def load(self, key: Any) -> Any:
        """Read what belongs to a signature; None where there is nothing."""
        found = super().load(key)
        if found is None:
            return None
        checksum, content = found
        if zlib.crc32(content) != checksum:
            message = "the checksum is wrong"
            raise ValueError(message)
        kept, data = pickle.loads(content)
        return data if kept == key else None
