"""What can go wrong, as exceptions; the command line turns each into one line and an exit code.

::

    TrajstoreError                 exit code 1
    ├── SpecError                  2   a spec, a field or an argument is invalid
    │   ├── SpecMismatchError      2   a store was built from another spec
    │   └── RowRangeError          2   there is no such row; also an IndexError
    ├── StoreError                 1   a folder is no store, or cannot be used as one
    │   ├── NotAStoreError         1
    │   ├── FormatVersionError     1
    │   │   └── NewerStoreError    1   a newer trajstore wrote it; not damaged, and never changed
    │   ├── IncompleteStoreError   1   something asked for has not been written yet
    │   ├── CorruptDataError       1   a checksum is wrong or bytes cannot be decoded
    │   └── DriftError             1   the installed generator does not make the rows of a store
    ├── ExportError                1   a folder is no export, or cannot be used as one
    ├── OutputError                1   a picture or a recording cannot be written or shown
    ├── MissingExtraError          1   an optional package is not installed
    ├── ClusterError               1   a cluster cannot be used; 3 if the disk of a worker is full
    ├── DamageError                4   verify or validate found damage
    ├── NotEnoughSpaceError        3   before writing, or while writing
    └── InterruptedBuildError      130 (SIGINT) or 143 (SIGTERM); what was begun is finished and can be resumed

Every message says what was found, what was expected, where, and what to do.
"""

from __future__ import annotations

import errno
from typing import Final


class TrajstoreError(Exception):
    """Base of all errors that trajstore raises on purpose."""

    exit_code = 1


class SpecError(TrajstoreError):
    """A spec, one of its fields, or an argument is invalid."""

    exit_code = 2


class SpecMismatchError(SpecError):
    """The store was built from another spec than the one given."""


class RowRangeError(SpecError, IndexError):
    """The dataset has no such row."""


class StoreError(TrajstoreError):
    """The path does not hold a store, or the store cannot be used."""


class NotAStoreError(StoreError):
    """There is nothing at the path, or something that is not a store."""


class FormatVersionError(StoreError):
    """The store has a format that the installed version does not know."""


class NewerStoreError(FormatVersionError):
    """A newer trajstore wrote the store, with something that the installed version does not know."""


class IncompleteStoreError(StoreError):
    """The rows that were asked for are not written yet."""


class CorruptDataError(StoreError):
    """The store is damaged: a checksum is wrong, or bytes cannot be decoded."""


class ExportError(TrajstoreError):
    """The folder does not hold an export, or the export cannot be used."""


class OutputError(TrajstoreError):
    """A picture or a recording cannot be written or shown."""


class MissingExtraError(TrajstoreError):
    """An optional package is not installed."""


class ClusterError(TrajstoreError):
    """A cluster cannot be used, or one of its workers cannot do its work.

    Parameters
    ----------
    message : str
        What was found where.
    exit_code : int
                The exit code of the error in the worker.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DriftError(StoreError):
    """The installed generator would make other rows than those of the store."""


class DamageError(TrajstoreError):
    """`verify`, `repair` or `validate` has found damage in a store or an export."""

    exit_code = 4


class NotEnoughSpaceError(TrajstoreError):
    """The disk is full, or has too little space for what is to be written."""

    exit_code = 3


class InterruptedBuildError(TrajstoreError):
    """A command was asked to stop. It has finished what it had begun; run it again to do the rest.

    Parameters
    ----------
    message : str
        What is done, what is missing, how to go on.
    exit_code : int
        130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, message: str, *, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_ADVICE: Final = {
    errno.EIO: "check the disk",
    errno.EROFS: "make its filesystem writable or name another path",
    errno.EACCES: "change its permissions or name another path",
    errno.EPERM: "change its permissions or name another path",
    errno.EMFILE: "allow more open files, such as with: ulimit -n 4096",
    errno.ENFILE: "close other programs that keep files open",
    errno.ENAMETOOLONG: "name a shorter path",
}


def describe_failure(error: OSError) -> str:
    """What the system says, and what to do about it.

    Parameters
    ----------
    error : OSError
        Any.

    Returns
    -------
    str
        Such as ``Input/output error; check the disk``.
    """
    advice = _ADVICE.get(error.errno or 0)
    return f"{error.strerror or error}{'; ' if advice else ''}{advice or ''}"


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that a filesystem or quota is full.

    Parameters
    ----------
    error : BaseException or None
        Any error.

    Returns
    -------
    bool
        True for ENOSPC and EDQUOT.
    """
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
