"""JSON Schemas of everything that trajstore writes as JSON, generated from the models.

``python -m trajstore.schemas schemas/`` writes them; a test fails when the files in the repository are stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from trajstore.exporters.records import ExportRecord, Label, Source
from trajstore.exporters.traj import TrajLabel
from trajstore.spec import DatasetSpec
from trajstore.store.attributes import StoreAttributes
from trajstore.toml import read_docstrings

MODELS: dict[str, type[BaseModel]] = {
    "label": Label,
    "metadata": ExportRecord,
    "spec": DatasetSpec,
    "store": StoreAttributes,
    "traj-label": TrajLabel,
    "unfinished": Source,
}
"""From the name of a schema, ``schemas/NAME.schema.json``, to its model."""


def make_schema(name: str) -> dict[str, Any]:
    """Make one schema."""
    model = MODELS[name]
    schema = model.model_json_schema(mode="validation", schema_generator=_Described)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{name}.schema.json", **schema}


def write_schemas(folder: Path) -> None:
    """Write all schemas."""
    for name in MODELS:
        text = json.dumps(make_schema(name), indent=2, ensure_ascii=False)
        (folder / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")


class _Described(GenerateJsonSchema):
    """Describes each field by the docstring below it: read here, because that takes longer than to open a store."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """The schema of a model."""
        made = super().model_schema(schema)
        for model in schema["cls"].__mro__:
            if issubclass(model, BaseModel) and model is not BaseModel:
                for name, text in read_docstrings(model).items():
                    made["properties"][name].setdefault("description", text)
        return made


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
