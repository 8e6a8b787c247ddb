"""Objects that show what they hold in a few lines: as text, and as a table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from operator import attrgetter
from textwrap import shorten
from typing import ClassVar, Final

from trajstore.text import escape, format_bytes, format_count, format_seconds

LIST_MAX: Final = 100
"""Characters of the longest list that is shown whole."""


class Shown:
    """Shows its class and the attributes that ``_shown`` names, such as ``summary.classes``, where they have a value.

    Examples
    --------
    >>> class Report(Shown):
    ...     _shown = "location rows stored_bytes seconds"
    ...     location, rows, stored_bytes, seconds = "a.zarr", {"train": 7000, "val": 1500}, 29_310, 200
    >>> Report()
    Report
      location      a.zarr
      rows          train 7,000, val 1,500
      stored_bytes  29.3 KB
      seconds       3 min 20 s
    """

    _shown: ClassVar[str]

    def __repr__(self) -> str:
        facts = self._list_facts()
        width = max(map(len, facts), default=0)
        return "\n".join(
            [type(self).__name__, *(f"  {name:<{width}}  {text}" for name, text in facts.items())]
        )

    def _repr_html_(self) -> str | None:
        """The same for a notebook, in the colours of its theme."""
        left = 'style="text-align: left"'
        rows = (
            f'<tr><th scope="row" {left}>{html.escape(name)}</th><td {left}>{html.escape(text)}</td></tr>'
            for name, text in self._list_facts().items()
        )
        return f"<table><caption {left}>{type(self).__name__}</caption>{''.join(rows)}</table>"

    def _list_facts(self) -> dict[str, str]:
        """Texts of the attributes, by name."""
        texts = {name: _describe(name, attrgetter(name)(self)) for name in self._shown.split()}
        return {name: text for name, text in texts.items() if text}


def _describe(name: str, value: object) -> str:
    """Describe a value, by its type and what the name of the attribute says about its unit."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | float() if name.endswith("bytes"):
            return format_bytes(value)
        case int() | float() if name.endswith("seconds"):
            return format_seconds(value)
        case int():
            return format_count(value)
        case float():
            return f"{value:.3g}"
        case Mapping() | tuple() if not value:
            return "none"
        case Mapping():
            return _list(
                f"{key} ({len(of)})" if isinstance(of, tuple) else f"{key} {_describe(name, of)}"
                for key, of in value.items()
            )
        case tuple():
            is_listed = all(isinstance(item, str | int) for item in value)
            return _list(map(str, value)) if is_listed else format_count(len(value))
        case _:
            return escape(str(value))


def _list(texts: Iterable[str]) -> str:
    """Texts in a row, as many as fit."""
    return shorten(escape(", ".join(texts)), LIST_MAX, placeholder=" …")
