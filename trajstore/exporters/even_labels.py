"""Labels with the same fields in every sample, of one type each, as readers expect that make columns of them.

They are those of `Label` with the row before them, but for what only some samples of a store have: the direction of a
path that has none is (0, 0, 0), and its parameters are pairs of ``name`` and ``value``.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ValidationError

from trajstore.exporters.interface import BadFileError
from trajstore.exporters.records import Label
from trajstore.text import describe_invalid

NO_DIRECTION: Final = [0.0, 0.0, 0.0]


def render_even(label: Label, row: int, **others: Any) -> bytes:
    """A label as a line of JSON, with its row and other fields before it."""
    fields = label.model_dump(mode="json", exclude_none=True)
    motion = fields.get("motion")
    if motion is not None:
        motion["direction"] = motion.get("direction", NO_DIRECTION)
        motion["parameters"] = [
            {"name": name, "value": value} for name, value in motion["parameters"].items()
        ]
    return json.dumps({"row": row, **others, **fields}, separators=(",", ":")).encode() + b"\n"


def parse_even(data: bytes, row: int, *, path: str) -> Label:
    """Read such a label; `BadFileError` if it is none, or that of another row."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"is no JSON: {error}"
        raise BadFileError(message, path=path, code="unreadable") from None
    if not isinstance(fields, dict) or fields.get("row") != row:
        found = fields.get("row") if isinstance(fields, dict) else type(fields).__name__
        message = f"row: found {found!r}, expected {row}"
        raise BadFileError(message, path=path, code="invalid")
    motion = fields.get("motion")
    try:
        if isinstance(motion, dict):
            motion["parameters"] = {each["name"]: each["value"] for each in motion["parameters"]}
            if motion["direction"] == NO_DIRECTION:
                del motion["direction"]
        return Label.model_validate_json(json.dumps(fields))
    except (KeyError, TypeError) as error:
        message = f"motion: {error} is not as expected"
        raise BadFileError(message, path=path, code="invalid") from None
    except ValidationError as error:
        raise BadFileError(describe_invalid(error)[0], path=path, code="invalid") from None
