"""JSON Schemas of everything that trajstore writes as JSON, generated from the models.

``python -m trajstore.schemas schemas/`` writes them; a test fails when the files in the repository are stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trajstore.exporters.records import ExportRecord, Label, Source
from trajstore.spec import DatasetSpec
from trajstore.store.attributes import StoreAttributes

MODELS: dict[str, type[BaseModel]] = {
    "label": Label,
    "metadata": ExportRecord,
    "spec": DatasetSpec,
    "store": StoreAttributes,
    "unfinished": Source,
}
"""From the name of a schema, ``schemas/NAME.schema.json``, to its model."""


def make_schema(name: str) -> dict[str, Any]:
    """Make one schema."""
    model = MODELS[name]
    schema = model.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{name}.schema.json", **schema}


def write_schemas(folder: Path) -> None:
    """Write all schemas."""
    for name in MODELS:
        text = json.dumps(make_schema(name), indent=2, ensure_ascii=False)
        (folder / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
