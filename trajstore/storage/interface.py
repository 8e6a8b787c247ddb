"""Where the bytes of a store come from and go to: one small interface for folders and buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from trajstore.storage.location import Location

Bytes = bytes | bytearray | memoryview

ByteRange = tuple[int, int]
"""First byte, and how many."""

Check = Callable[[], object]
"""Raises where something must not be written, or removed, any more."""

Change = Callable[[bytes | None], bytes | None]
"""Makes of what an object holds, None where there is none, what it is to hold, or None to leave it."""


class Storage(Protocol):
    """Named objects of bytes, read and written by several threads at once, in this process and in others.

    Every method raises `OSError` where the disk or the server fails, and `StoreError` where it refuses. An
    implementation can be pickled.
    """

    location: Location
    """Where it lies."""

    waits: bool
    """Whether reading mostly waits for a network: more threads than processors then make it faster."""

    is_locked: bool
    """Whether no `update` of another process can come between a check and the write that follows it."""

    def read(self, key: str) -> bytes | None:
        """Read an object."""
        ...

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read many small objects, several at once."""
        ...

    def read_tail(self, key: str, length: int) -> tuple[Bytes, int]:
        """Read the end of an object."""
        ...

    def read_ranges(self, key: str, ranges: Iterable[ByteRange]) -> Iterable[Bytes]:
        """Read parts of an object; what is read is kept open until `forget`, where that saves time."""
        ...

    def forget(self, key: str) -> None:
        """Let go of whatever is kept of an object, because it may have been replaced."""
        ...

    def write(self, key: str, data: Bytes, *, check: Check | None = None) -> None:
        """Write an object: it is there whole and for good when this returns, or as it was before.

        The check is asked just before the object is replaced.
        """
        ...

    def update(self, key: str, change: Change) -> None:
        """Replace an object by what a function makes of it, which is asked again where another process was faster.

        Where `is_locked`, no other process updates, nor writes or removes anything with a check, meanwhile. The
        function must do neither.
        """
        ...

    def create(self, key: str, data: Bytes) -> bool:
        """Write an object as `write` does unless it is there; whether it was written."""
        ...

    def remove(self, key: str, *, check: Check | None = None) -> None:
        """Remove an object, for good when this returns; harmless where there is none. For the check see `write`."""
        ...

    def prune(self, prefix: str) -> None:
        """Remove the folder of objects that are gone, where there are folders and nothing else is in it."""
        ...

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        """List objects."""
        ...

    def measure(self) -> dict[str, int]:
        """Add up the sizes of all objects."""
        ...

    def check_free(self, allowed: Iterable[str]) -> None:
        """Check that a store can be created here, without writing anything."""
        ...

    def find_debris(self) -> list[str]:
        """Temporary files of dead writers."""
        ...

    def sweep(self) -> list[str]:
        """Remove temporary files of dead writers; which."""
        ...
