"""What verification finds: one record for each thing that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from trajstore.store.columns import Task

Kind = Literal["missing", "unflagged", "truncated", "corrupt", "different", "foreign"]
"""What can be wrong with an object.

* missing: it should be there and is not;
* unflagged: the data is there, the flag that says so is not;
* truncated: the beginning of what it should be;
* corrupt: a checksum is wrong, or it cannot be read or decoded;
* different: valid bytes with another content;
* foreign: it does not belong to the store.
"""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Finding:
    """One object that is not as it should be."""

    kind: Kind
    key: str
    detail: str
    task: Task | None = None
    is_damage: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        task = self.task
        return {
            "kind": self.kind,
            "key": self.key,
            "detail": self.detail,
            "is_damage": self.is_damage,
            "group": task.group if task else None,
            "index": task.index if task else None,
            "rows": [task.rows.start, task.rows.stop] if task else None,
        }
