"""Numbers as people read them."""

from __future__ import annotations


def format_bytes(size: float) -> str:
    """Bytes with a decimal unit and three digits.

    Parameters
    ----------
    size : float
        Bytes.

    Returns
    -------
    str
        Such as ``293 MB``.

    Examples
    --------
    >>> format_bytes(999), format_bytes(29_310), format_bytes(15_728_640_000)
    ('999 B', '29.3 KB', '15.7 GB')
    """
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        if size < 999.5 or unit == "PB":
            break
        size /= 1000.0
    digits = 0 if unit == "B" or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{size:.{digits}f} {unit}"


def format_count(count: float) -> str:
    """A whole number with thousands separated.

    Parameters
    ----------
    count : float
        Any number.

    Returns
    -------
    str
        Such as ``10,000``.
    """
    return f"{count:,.0f}"


def format_seconds(seconds: float) -> str:
    """A duration in one or two units.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        Such as ``5.2 s`` or ``3 min 20 s``.

    Examples
    --------
    >>> format_seconds(5.21), format_seconds(200), format_seconds(7300)
    ('5.2 s', '3 min 20 s', '2 h 1 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
