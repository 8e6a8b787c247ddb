"""Rows as people name them: a range of them, or a split."""

from __future__ import annotations

import operator
import re
from contextlib import suppress

from trajstore.errors import SpecError
from trajstore.scene.order import SPLIT_NAMES
from trajstore.text import describe_unknown

Rows = str | range | slice | tuple[int, int]
"""``"a:b"``, or the same as a range, a slice or a pair."""


def parse_rows(rows: Rows | None, *, samples: int) -> range:
    """Read ``"a:b"``, as in a slice, or the same as a range, a slice or a pair; None stands for all rows.

    Examples
    --------
    >>> parse_rows("10:20", samples=100), parse_rows("90:", samples=100), parse_rows((0, 4), samples=100)
    (range(10, 20), range(90, 100), range(0, 4))
    """
    with suppress(TypeError, ValueError):  # what is no row, or no pair
        first, stop = _split(rows)
        first, stop = (
            0 if first is None else operator.index(first),
            samples if stop is None else operator.index(stop),
        )
        if 0 <= first < stop <= samples:
            return range(first, stop)
    message = f"rows: found {rows!r}, expected a:b with 0 ≤ a < b ≤ {samples}, the store's number of samples"
    raise SpecError(message)


def _split(rows: Rows | None) -> tuple[int | None, int | None]:
    """The first of some rows and the one after the last; None where that is left open. ValueError if they are none."""
    if isinstance(rows, str):
        match = re.fullmatch(r"(\d{,18}):(\d{,18})", rows)
        if match is None:
            raise ValueError
        first, stop = (int(number) if number else None for number in match.groups())
        return first, stop
    if isinstance(rows, range | slice):
        if rows.step not in (None, 1):
            raise ValueError
        return rows.start, rows.stop
    if rows is not None and not isinstance(rows, tuple):  # a list would be taken for single rows
        raise ValueError
    first, stop = (None, None) if rows is None else rows
    return first, stop


def check_split(split: str | None) -> None:
    """Check the name of a split; None stands for all rows."""
    if split is not None and split not in SPLIT_NAMES:
        message = f"split: {describe_unknown(split, SPLIT_NAMES)}"
        raise SpecError(message)
