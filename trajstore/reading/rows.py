"""Rows as people name them: a range of them, or a split."""

from __future__ import annotations

import re

from trajstore.errors import SpecError
from trajstore.scene.order import SPLIT_NAMES


def parse_rows(text: str | None, *, samples: int) -> range:
    """Read ``a:b``, as in a slice.

    Examples
    --------
    >>> parse_rows("10:20", samples=100), parse_rows("90:", samples=100)
    (range(10, 20), range(90, 100))
    """
    match = re.fullmatch(r"(\d{,18}):(\d{,18})", ":" if text is None else text)
    if match is not None:
        first, stop = int(match[1] or 0), int(match[2] or samples)
        if first < stop <= samples:
            return range(first, stop)
    message = f"rows: found {text!r}, expected a:b with 0 ≤ a < b ≤ {samples}, the store's number of samples"
    raise SpecError(message)


def check_split(split: str | None) -> None:
    """Check the name of a split; None stands for all rows."""
    if split is not None and split not in SPLIT_NAMES:
        message = f"split: found {split!r}, expected one of {', '.join(SPLIT_NAMES)}"
        raise SpecError(message)
