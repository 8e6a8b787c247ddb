"""Numbers as people read them, and lines that fit the terminal they are shown on."""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from reprlib import repr as shorten
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

UNBROKEN: Final = re.compile(r"(?:(?<=: )|^)(?:trajstore|python|rm) .*|`[^`]*`")
"""What is to be copied in one piece: a command at the end of a line, or anything in backticks."""


MESSAGE_MAX: Final = 4000
"""Characters of the longest message that is shown whole."""


def format_bytes(size: float) -> str:
    """Bytes with a decimal unit and three digits.

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
    """A whole number with thousands separated."""
    return f"{count:,.0f}"


def format_rate(rate: float) -> str:
    """How many in a second, with two digits where they are few.

    Examples
    --------
    >>> format_rate(1915.2), format_rate(4.26), format_rate(0.0432)
    ('1,915', '4.3', '0.043')
    """
    return format_count(rate) if rate >= 9.95 else f"{rate:.1f}" if rate >= 1.0 else f"{rate:.2g}"


def format_seconds(seconds: float) -> str:
    """A duration in one or two units.

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


def describe_invalid(error: ValidationError) -> list[str]:
    """One sentence for each thing that pydantic found wrong: where, what is there, what should be."""
    return [_describe_detail(detail) for detail in error.errors(include_url=False)]


def escape(text: str) -> str:
    r"""Show what is no printable character, or no character at all, as Python writes it.

    Examples
    --------
    >>> print(escape("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def quote(text: str) -> str:
    r"""A text as one word of a shell, on one line.

    Examples
    --------
    >>> print(quote("a.zarr"), quote("a  b"), quote("a\nb"))
    a.zarr 'a  b' $'a\x0ab'
    """
    if text.isprintable():
        return shlex.quote(text)
    characters = (
        f"\\{c}" if c in "\\'" else c if c.isprintable() else "".join(f"\\x{b:02x}" for b in os.fsencode(c))
        for c in text
    )
    return f"$'{''.join(characters)}'"


def join_lines(message: str) -> str:
    """A message on one line, every space as it is; of one that repeats a huge value, beginning and end."""
    line = escape(re.sub(r"\s*\n\s*", " ", message.strip()))
    if len(line) > MESSAGE_MAX:
        line = f"{line[: MESSAGE_MAX // 2]} … {line[-MESSAGE_MAX // 2 :]}"
    return line


def hide_secrets(text: str) -> str:
    """Put ``…`` for what may be secret in URLs: user and password, query and fragment.

    Examples
    --------
    >>> hide_secrets("s3://user:secret@bucket/a.zarr"), hide_secrets("az://box/a.zarr?sv=1&sig=secret")
    ('s3://…@bucket/a.zarr', 'az://box/a.zarr?…')
    """
    # a password may hold slashes; behind a name without one they begin a path
    text = re.sub(r"://(?:[^/?#@\s]*|[^/?#@\s]*:[^?#\s]*)@", "://…@", text)
    return re.sub(r"(://[^?#\n]*[?#])[^\s)'\"]+", r"\1…", text)


def wrap(text: str, width: int) -> str:
    """Break lines that are too long between words, and go on under the column where the break is.

    Examples
    --------
    >>> print(wrap("  size     37 MB stored, 2 GB raw; go on with: trajstore build a.zarr", 40))
      size     37 MB stored, 2 GB raw; go on
               with: trajstore build a.zarr
    """
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def fit(text: str, stream: TextIO) -> str:
    """Break lines that are too long for the terminal that a stream shows them on; a file gets them as they are."""
    width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    return wrap(text, width) if width else text


def _describe_detail(detail: ErrorDetails) -> str:
    """One sentence for one thing that pydantic found wrong."""
    place = ".".join(map(str, detail["loc"]))
    message = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            message = "unknown field, expected one that its schema names (see schemas/)"
        case "missing":
            message = "found nothing, expected a value"
        case "value_error" if named := re.match(r"(\w+)\.\w+", message):
            # a validator of several fields names them itself, from their section on
            outer = [str(part) for part in detail["loc"]]
            if outer[-1:] == [named[1]]:
                outer.pop()
            return ".".join([*outer, message])
        case "value_error" | "json_invalid":
            pass
        case _:
            message = f"found {shorten(detail['input'])}; {message[0].lower()}{message[1:]}"
    return f"{place}: {message}" if place else message


def _wrap_line(line: str, width: int) -> str:
    """Break one line."""
    if len(line) <= width:
        return line
    columns = re.match(r"(?:.*\S)?  +(?=\S)|", line)
    assert columns is not None
    head = columns.group()
    # textwrap breaks at spaces: those that must stay are something else for as long as it works
    words = UNBROKEN.sub(lambda found: found.group().replace(" ", "\0"), line[len(head) :])
    return textwrap.fill(
        words,
        width,
        initial_indent=head,
        subsequent_indent=" " * (len(head) if 0 < len(head) <= width // 2 else 4),
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\0", " ")
