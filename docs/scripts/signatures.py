"""Lets the reference show types, defaults and links as signatures have them: an extension of griffe.

A docstring says ``path : path-like`` or describes several parameters at once; what a reader wants is in the code.
"""

from __future__ import annotations

from typing import Any

import griffe


class Signatures(griffe.Extension):
    """Completes docstrings from the code that they describe."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Visit everything in the package."""
        errors = pkg["errors"]
        for module in (pkg, *walk_modules(pkg)):
            for member in module.members.values():
                if member.is_alias:
                    continue
                complete(member, errors)
                if member.is_class:
                    for method in member.members.values():
                        if not method.is_alias:
                            complete(method, errors)


def walk_modules(module: griffe.Module) -> list[griffe.Module]:
    """All modules below one."""
    return [
        below
        for child in module.modules.values()
        if not child.is_alias
        for below in (child, *walk_modules(child))
    ]


def complete(member: griffe.Object, errors: griffe.Module) -> None:
    """Give the parameters of a docstring their types and defaults, and its errors their links."""
    if member.docstring is None or not (member.is_function or member.is_class):
        return
    parameters = getattr(member, "parameters", griffe.Parameters())
    for section in member.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.parameters:
            for described in section.value:
                found = next((p for p in parameters if p.name == described.name.lstrip("*")), None)
                if found is None:
                    continue
                described.value = found.default
                is_choice = str(described.annotation).startswith(("{", "("))
                if found.annotation is not None and not is_choice:
                    described.annotation = found.annotation
        elif section.kind is griffe.DocstringSectionKind.raises:
            for described in section.value:
                if str(described.annotation) in errors.members:
                    described.annotation = griffe.ExprName(str(described.annotation), parent=errors)
