"""Numbers as people read them, and lines that fit the terminal they are shown on."""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from reprlib import repr as shorten
from typing import TYPE_CHECKING, Any, Final, TextIO, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

UNBROKEN: Final = re.compile(r"(?:(?<=: )|^)(?:trajstore|python|rm) .*|`[^`]*`")
"""What is to be copied in one piece: a command at the end of a line, or anything in backticks."""


MESSAGE_MAX: Final = 4000
"""Characters of the longest message that is shown whole."""

Advise = Callable[[Sequence[int | str]], str]
"""What to do about an unknown field at a place; empty where nothing is known."""


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


def describe_invalid(
    error: ValidationError, model: type[BaseModel] | None = None, advise: Advise | None = None
) -> list[str]:
    """One sentence for each thing that pydantic found wrong: where, what is there, what should be.

    With the model, a field that it does not have is answered with those that it has, unless there is better advice.
    """
    details = error.errors(include_url=False)
    places = {detail["loc"][:-1] for detail in details}
    return [
        _describe_detail(detail, model, advise)
        for detail in details
        if detail["type"] != "too_short" or detail["loc"] not in places  # too short without its wrong items
    ]


def describe_unknown(name: object, known: Iterable[str], *, hint: str = "") -> str:
    """Say that a name is none of those that are known, and give a hint: by default which of them is close to it.

    Examples
    --------
    >>> print(describe_unknown("tarin", ["train", "val", "test"]))
    found 'tarin', expected one of train, val, test; did you mean train?
    """
    names = list(known)
    return f"found {name!r}, expected one of {', '.join(names)}{hint or suggest(name, names)}"


def suggest(name: object, known: Iterable[str] | Mapping[str, str]) -> str:
    """Ask whether a known name was meant, where one is close; of a mapping, its values are what is shown.

    Examples
    --------
    >>> suggest("lineer", ["Linear", "Circular"]), suggest("Cubic", ["Linear"])
    ('; did you mean Linear?', '')
    """
    from difflib import get_close_matches  # only where something is wrong

    shown = known if isinstance(known, Mapping) else dict(zip(names := list(known), names, strict=True))
    # of two that differ in case only, the first
    folded = {each.casefold(): each for each in reversed(list(shown))}
    close = get_close_matches(str(name).casefold(), folded, 1)
    return f"; did you mean {shown[folded[close[0]]]}?" if close else ""


def explain_install(extra: str) -> str:
    """How to get the packages of an extra.

    Examples
    --------
    >>> print(explain_install("preview"))
    get it, in a clone of trajstore, with: pip install '.[preview]'
    """
    return f"get it, in a clone of trajstore, with: pip install '.[{extra}]'"


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


def _describe_detail(detail: ErrorDetails, model: type[BaseModel] | None, advise: Advise | None) -> str:
    """One sentence for one thing that pydantic found wrong."""
    place = ".".join(map(str, detail["loc"]))
    message = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            advice = advise(detail["loc"]) if advise else ""
            message = f"unknown field{advice}" if advice else _describe_extra(detail["loc"], model)
        case "tuple_type":
            message = f"found {shorten(detail['input'])}, expected a list in square brackets"
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
        case "literal_error":
            choices = re.findall("'([^']*)'", detail["ctx"]["expected"])
            message = describe_unknown(detail["input"], choices)
        case _:
            message = f"found {shorten(detail['input'])}; {message[0].lower()}{message[1:]}"
    return f"{place}: {message}" if place else message


def _describe_extra(place: tuple[int | str, ...], model: type[BaseModel] | None) -> str:
    """What should be in place of a field that a model, or one inside it, does not have."""
    siblings = list(_list_fields(model, place[:-1]))
    if not siblings:
        return "unknown field, expected none of that name"
    inner = {
        name: f"{outer}.{name}" for outer in _list_fields(model) for name in _list_fields(model, (outer,))
    }
    close = suggest(place[-1], inner | dict(zip(siblings, siblings, strict=True)))
    return f"unknown field, expected some of {', '.join(siblings)}{close}"


def _list_fields(model: Any, place: tuple[int | str, ...] = ()) -> Iterable[str]:
    """Names of the fields of a model, or of the one at a place inside it; none where there is another value."""
    for part in place:
        if isinstance(part, str):
            fields = getattr(model, "model_fields", {})
            model = fields[part].annotation if part in fields else None
        else:  # an item of a tuple
            model = next(iter(get_args(model)), None)
    return getattr(model, "model_fields", {})


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
