"""The JSON of exported folders, and its schemas in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from trajstore.exporters.records import Source
from trajstore.schemas import MODELS, make_schema
from trajstore.spec import DatasetSpec

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.mark.parametrize("name", MODELS)
def test_schemas_are_not_stale(name: str) -> None:
    """If this fails: ``python -m trajstore.schemas schemas/``."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert schema == json.loads(json.dumps(make_schema(name)))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", ["label", "metadata", "unfinished"])
def test_every_field_of_an_export_is_described(name: str) -> None:
    for field, schema in make_schema(name)["properties"].items():
        described = [schema, *schema.get("anyOf", [])]
        assert any("description" in part or "$ref" in part for part in described), field


def test_descriptions_say_units_and_how_frames_are_counted() -> None:
    text = json.dumps(make_schema("label"))
    for words in ("world units", "z up", "Frames are numbered from 1", "frame 37"):
        assert words in text


def make_source(spec: DatasetSpec, **fields: Any) -> Source:
    return Source.model_validate(
        {
            "tensor_shape": (4, 32, 3, 64, 64),
            "tensor_dtype": "uint8",
            "row_ranges": ((0, 100),),
            "fingerprint": spec.fingerprint,
            "spec": spec,
        }
        | fields
    )


def test_an_export_may_grow_but_nothing_else() -> None:
    spec = DatasetSpec.from_fields(samples=100)
    first = make_source(spec)
    assert first.differences(make_source(spec)) == []
    grown = spec.replace(samples=300, samples_per_shard=10)
    assert first.differences(make_source(grown, row_ranges=((0, 300),))) == []
    assert first.differences(make_source(spec, row_ranges=((0, 60), (70, 100)))) == [
        "rows: '0:100' stored, '0:60, 70:100' given"
    ]
    assert first.differences(make_source(spec, split="val")) == ["split: None stored, 'val' given"]
    other = spec.replace(seed=3, horizon=6)
    assert first.differences(make_source(other)) == [
        "dataset.seed: 0 stored, 3 given",
        "video.horizon: 5 stored, 6 given",
    ]
