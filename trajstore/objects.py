"""Where the bytes of a store come from and go to: one small interface for folders and buckets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from trajstore.shard import Bytes

Range = tuple[int, int]
"""First byte, and how many."""


class Objects(Protocol):
    """Named objects of bytes, read and written by several threads at once, in this process and in others.

    Every method raises `OSError` where the disk or the server fails, and `StoreError` where it refuses. An
    implementation can be pickled.
    """

    waits: bool
    """Whether reading mostly waits for a network: more threads than processors then make it faster."""

    def read(self, key: str) -> bytes | None:
        """Read an object.

        Parameters
        ----------
        key : str
            Its name.

        Returns
        -------
        bytes or None
            Its content; None if it is not there.
        """
        ...

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read many small objects, several at once.

        Parameters
        ----------
        keys : iterable of str
            Their names; consumed a few ahead.

        Yields
        ------
        (str, bytes or None)
            Name and content, in any order.
        """
        ...

    def read_tail(self, key: str, length: int) -> tuple[Bytes, int]:
        """Read the end of an object.

        Parameters
        ----------
        key : str
            Its name.
        length : int
            How many bytes; fewer come where the object is shorter.

        Returns
        -------
        bytes-like, int
            The end, and the size of the whole object.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        """
        ...

    def read_ranges(self, key: str, ranges: Iterable[Range]) -> Iterable[Bytes]:
        """Read parts of an object; what is read is kept open until `forget`, where that saves time.

        Parameters
        ----------
        key : str
            Its name.
        ranges : iterable of (int, int)
            First byte and length of each part.

        Returns
        -------
        iterable of bytes-like
            The parts in this order, shorter where the object ends earlier.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        """
        ...

    def forget(self, key: str) -> None:
        """Let go of whatever is kept of an object, because it may have been replaced.

        Parameters
        ----------
        key : str
            Its name.
        """
        ...

    def write(self, key: str, data: Bytes) -> None:
        """Write an object: it is there whole and for good when this returns, or as it was before.

        Parameters
        ----------
        key : str
            Its name.
        data : bytes-like
            Its content.
        """
        ...

    def create(self, key: str, data: Bytes) -> None:
        """The same, unless the object is there already.

        Parameters
        ----------
        key : str
            Its name.
        data : bytes-like
            Its content.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove an object, for good when this returns; harmless where there is none.

        Parameters
        ----------
        key : str
            Its name.
        """
        ...

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        """List objects.

        Parameters
        ----------
        prefix : str
            Name of an array of the store; by default all objects are listed, strange ones among them.

        Yields
        ------
        str
            Name of each, in any order.
        """
        ...

    def measure(self) -> dict[str, int]:
        """Add up the sizes of all objects.

        Returns
        -------
        dict
            From what their names begin with, up to a slash, to bytes.
        """
        ...

    def check_free(self, allowed: Iterable[str]) -> None:
        """Check that a store can be created here, without writing anything.

        Parameters
        ----------
        allowed : iterable of str
            Names of objects that are no obstacle.

        Raises
        ------
        NotAStoreError
            If there are others.
        StoreError
            If nothing can be written here.
        """
        ...
