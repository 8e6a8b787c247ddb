"""What a process keeps at hand: values made once per process, and caches that do not grow without bound."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key")
Value = TypeVar("Value")


class PerProcess(Generic[Value]):
    """A value that each process makes for itself when it first needs it; neither fork nor pickle carries it along.

    Examples
    --------
    >>> numbers = PerProcess(list)
    >>> numbers.get().append(1)
    >>> numbers.get()
    [1]
    """

    def __init__(self, make: Callable[[], Value], *, made: Value | None = None) -> None:
        self._make = make
        self._made = None if made is None else (os.getpid(), made)

    def get(self) -> Value:
        """The value of this process."""
        made = self._made
        # a forked child has the parent's files and locks, in whatever state another thread left them: not for use
        if made is None or made[0] != os.getpid():
            made = self._made = (os.getpid(), self._make())
        return made[1]

    def drop(self) -> None:
        """Let go of the value."""
        self._made = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_made": None}


class LoadingCache(Generic[Key, Value]):
    """Loads what it lacks and forgets what was used longest ago; safe to use from several threads.

    Examples
    --------
    >>> cache = LoadingCache(limit=2)
    >>> [cache.get(key, str) for key in (1, 2, 3)], len(cache)
    (['1', '2', '3'], 2)
    """

    def __init__(self, limit: int, *, weigh: Callable[[Value], int] | None = None) -> None:
        self._values: LRUCache[Key, Value] = LRUCache(limit, weigh)
        self._lock = threading.Lock()

    def get(self, key: Key, load: Callable[[Key], Value]) -> Value:
        """The value of a key, loaded if it is not at hand."""
        with self._lock:
            if key in self._values:
                return self._values[key]
        value = load(key)
        with self._lock, suppress(ValueError):  # heavier than all that may be kept
            self._values[key] = value
        return value

    def discard(self, key: Key) -> None:
        """Forget a key, if it is there."""
        with self._lock:
            self._values.pop(key, None)

    def __len__(self) -> int:
        return len(self._values)
