"""The JSON of exported folders, and its schemas in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from support.export_faults import make_source
from support.worlds import EVERYTHING

from trajstore.exporters.records import BODY_COLUMNS, BodyLabel, Label, _list_finite, read_labels
from trajstore.reading.generator import SampleGenerator
from trajstore.scene.bodies import ROLES
from trajstore.schemas import MODELS, make_schema
from trajstore.spec import BODIES_MAX, SHAPES, DatasetSpec

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


@pytest.mark.parametrize(
    "fields",
    [{}, {"shapes": ["cube"]}, {"transients": [0, 3]}, {"roll_jitter": 5.0}, {"orbit": 9.0}, EVERYTHING],
)
def test_labels_hold_what_the_columns_hold(fields: dict[str, Any]) -> None:
    spec = DatasetSpec.from_fields(samples=40, cameras=2, frames=7, height=16, width=16, **fields)
    samples, rows = SampleGenerator(spec), np.arange(3, 40, 2)
    columns = {name: samples.column(name, rows) for name in samples.columns}
    validator = Draft202012Validator(make_schema("label"))
    for index, label in enumerate(read_labels(samples, rows)):
        text = label.to_json()
        found = json.loads(text)
        validator.validate(found)
        assert Label.model_validate_json(text) == label
        assert found["caption"] == samples.captions([rows[index]])[0]
        row = {name: values[index] for name, values in columns.items()}
        assert found["class_label"] == row["class_label"]
        np.testing.assert_array_equal(np.float64(found["positions"]), row["position"])
        assert ("extrinsics" in found) == ("extrinsics" in row)
        if "extrinsics" in row:
            np.testing.assert_array_equal(found["extrinsics"], row["extrinsics"])
        assert ("bodies" in found) == ("body_role" in row)
        if "bodies" in found:
            assert [body["body"] for body in found["bodies"]] == np.flatnonzero(
                row["body_role"] >= 0
            ).tolist()
        for body in found.get("bodies", ()):
            of_body = {name: values[body["body"]] for name, values in row.items() if name in BODY_COLUMNS}
            assert body["role"] == ROLES[of_body["body_role"]]
            assert body["shape"] == SHAPES[of_body["body_shape"]]
            assert body["radius"] == of_body["body_radius"]
            assert body["color"] == of_body["body_color"].tolist()
            assert (body["first_frame"], body["last_frame"]) == (
                of_body["first_frame"],
                of_body["last_frame"],
            )
            assert body["visible_pixels"] == of_body["visible_pixels"].tolist()
            points = [point or [np.nan] * 3 for point in body["positions"]]
            np.testing.assert_array_equal(np.float64(points), of_body["body_position"])
        assert ("motion" in found) == ("speed" in row)
        if "motion" in found:
            motion = found["motion"]
            assert (motion["speed"], motion["path_length"]) == (row["speed"], row["path_length"])
            np.testing.assert_array_equal(np.float64(motion.get("direction", [np.nan] * 3)), row["direction"])
            named = {name: row[name] for name in spec.dataset.parameters if not np.isnan(row[name])}
            assert motion["parameters"] == named


def test_names_in_labels_are_those_of_the_columns() -> None:
    fields = BodyLabel.model_fields
    assert get_args(fields["role"].annotation) == ROLES
    assert get_args(fields["shape"].annotation) == SHAPES
    schema = make_schema("label")
    assert schema["$defs"]["BodyLabel"]["properties"]["body"]["exclusiveMaximum"] == BODIES_MAX
    (most,) = (
        part.max_length
        for part in DatasetSpec.model_fields["dataset"].annotation.model_fields["classes"].metadata
        if hasattr(part, "max_length")
    )
    assert schema["properties"]["class_label"]["exclusiveMaximum"] == most


def test_values_that_are_no_number_are_null_in_a_label() -> None:
    found = _list_finite(np.array([[0.5, np.nan], [np.inf, -2.0]], np.float32))
    assert found == [[0.5, None], [None, -2.0]]
