"""Lets the reference show types, defaults and links as signatures have them: an extension of griffe.

A docstring says ``path : path-like`` or describes several parameters at once; what a reader wants is in the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

PUBLIC = re.compile(r"(?<![`\[])`trajstore\.(\w+)`")


class Signatures(griffe.Extension):
    """Completes docstrings from the code that they describe."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Visit everything in the package."""
        for member in walk(pkg):
            if isinstance(member, griffe.Function | griffe.Class) and member.docstring is not None:
                member.docstring.value = PUBLIC.sub(
                    lambda found: f"[{found[0]}][]" if found[1] in (pkg.exports or ()) else found[0],
                    member.docstring.value.replace("``", "`").replace("path-like", "path"),  # no subtraction
                )
                complete(member, pkg["errors"])


def walk(parent: griffe.Object) -> Iterator[griffe.Object]:
    """Everything in a module or a class."""
    for member in parent.members.values():
        if isinstance(member, griffe.Object):
            yield member
            yield from walk(member)


def complete(member: griffe.Function | griffe.Class, errors: griffe.Object) -> None:
    """Give the parameters of a docstring their types and defaults, and its errors their links."""
    assert member.docstring is not None
    for parameter in member.parameters:
        if isinstance(parameter.default, griffe.ExprName):
            parameter.default = find_value(parameter.default)
        elif isinstance(parameter.default, griffe.ExprTuple):
            parameter.default.elements = [find_value(element) for element in parameter.default.elements]
    for section in member.docstring.parsed:
        if isinstance(section, griffe.DocstringSectionParameters):
            for described in section.value:
                found = next((p for p in member.parameters if p.name == described.name.lstrip("*")), None)
                if found is None:
                    continue
                described.value = found.default
                if isinstance(described.annotation, griffe.ExprTuple):
                    described.annotation.implicit = (
                        True  # choices, which only the docstring has; without brackets
                    )
                elif found.annotation is not None and not str(described.annotation).startswith("("):
                    described.annotation = found.annotation
        elif isinstance(section, griffe.DocstringSectionRaises):
            for described in section.value:
                if str(described.annotation) in errors.members:
                    described.annotation = griffe.ExprName(str(described.annotation), parent=errors)


def find_value(name: str | griffe.Expr) -> str | griffe.Expr:
    """The value of a constant that is a default, or whatever else is there."""
    if not isinstance(name, griffe.ExprName):
        return name
    try:
        constant = name.parent.modules_collection[name.canonical_path]  # type: ignore[union-attr]
    except (AttributeError, KeyError, griffe.GriffeError):
        return name
    return getattr(constant, "value", None) or name
