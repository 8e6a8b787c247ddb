"""Settings as TOML: a model of sections, bare or with comments that say what each field means and may be."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

COMMENT_WIDTH: Final = 100


def render_toml(model: BaseModel) -> str:
    """What a model of sections dumps, as TOML, without what is None."""
    tables = model.model_dump(mode="json")
    return "\n".join(
        "\n".join([f"[{section}]", *_render_fields(fields), ""]) for section, fields in tables.items()
    )


def render_commented(model: BaseModel) -> str:
    """All fields of a model of sections as TOML, each with its docstring, its limits and its default above it."""
    sections = type(model).model_json_schema()["$defs"]
    lines: list[str] = []
    for name, section in model:
        kind = type(section)
        described, schema = read_docstrings(kind), sections[kind.__name__]["properties"]
        lines += [*_comment(inspect.cleandoc(kind.__doc__ or "")), f"[{name}]"]
        for field, value in section:
            limits = _describe_limits(schema[field])
            default = kind.model_fields[field].get_default(call_default_factory=True)
            shown = "left open" if default is None else format_value(to_jsonable_python(default))
            lines += ["", *_comment(described[field]), *_comment(f"{limits}Default: {shown}.")]
            lines += _render_fields({field: to_jsonable_python(value)}) or [f"# {field} = …"]
        lines.append("")
    return "\n".join(lines)


def format_value(value: Any) -> str:
    """A number, a string, a boolean, a list or a table as TOML writes it.

    Examples
    --------
    >>> print(format_value({"frames": 16, "orbit": [0.0, 90.0], "shapes": ["cube"], "noisy": True}))
    { frames = 16, orbit = [0.0, 90.0], shapes = ["cube"], noisy = true }
    """
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_render_fields(value))} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(format_value, value))}]"
    # all others are written as in JSON, which leaves one control character as it is
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_docstrings(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstrings below the fields that a class adds."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(str(below.value.value))
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def _render_fields(fields: Mapping[str, Any]) -> list[str]:
    """A line for each field that has a value; TOML has no word for none."""
    return [f"{name} = {format_value(value)}" for name, value in fields.items() if value is not None]


def _comment(text: str) -> Iterator[str]:
    """Lines of a comment."""
    plain = text.replace("``", '"')
    return (f"# {line}" for line in textwrap.wrap(plain, COMMENT_WIDTH - 2, break_on_hyphens=False))


def _describe_limits(schema: Mapping[str, Any]) -> str:
    """A sentence that says what the JSON Schema of a field allows; empty where any value of its type is right."""
    schema = schema.get("anyOf", [schema])[0]
    if schema.get("type") == "boolean":
        return "Either true or false. "
    for kind, found in (("One", schema), ("Some", schema.get("items", {}))):
        if "enum" in found:
            return f"{kind} of {', '.join(map(format_value, found['enum']))}. "
    if {"minimum", "maximum"} <= schema.keys():
        return f"From {schema['minimum']} to {schema['maximum']}. "
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    limits = ", ".join(f"{word} {format_value(schema[key])}" for key, word in words.items() if key in schema)
    return f"{limits[0].upper()}{limits[1:]}. " if limits else ""
