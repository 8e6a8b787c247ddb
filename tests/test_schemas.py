"""The JSON Schemas in the repository: fresh, valid, and as strict as the models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from trajstore.schemas import MODELS, make_schema, write_schemas
from trajstore.spec import DatasetSpec
from trajstore.store.attributes import NAMESPACE, StoreAttributes
from trajstore.store.groups.video import settle_storage

FOLDER = Path(__file__).parents[1] / "schemas"


def load(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(load(name))


@pytest.fixture
def attributes() -> dict[str, Any]:
    """The attributes of a new store, as they are in its JSON."""
    return json.loads(json.dumps(StoreAttributes.created(DatasetSpec()).to_json()))[NAMESPACE]


@pytest.mark.parametrize("name", MODELS)
def test_the_file_is_not_stale(name: str):
    assert load(name) == make_schema(name), "run: python -m trajstore.schemas schemas/"


def test_the_command_writes_the_files_byte_for_byte(tmp_path: Path):
    write_schemas(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (FOLDER / path.name).read_bytes()


def test_the_command_runs(tmp_path: Path):
    command = [sys.executable, "-W", "error", "-m", "trajstore.schemas", str(tmp_path)]
    subprocess.run(command, check=True, cwd=FOLDER.parent)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.schema.json" for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_is_valid_and_names_its_draft(name: str):
    schema = load(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", MODELS)
def test_every_property_is_described(name: str):
    schema = load(name)
    for model in (schema, *schema.get("$defs", {}).values()):
        for field, described in model["properties"].items():
            is_section = "$ref" in described
            assert is_section or "'description':" in str(described), field


def test_specs_are_valid():
    validator("spec").validate(DatasetSpec().model_dump(mode="json"))
    validator("spec").validate({"video": {"frames": 16}, "camera": {"distance": 4}})
    validator("spec").validate({})


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        ({"video": {"frames": 0}}, "video.frames"),
        ({"video": {"frames": "8"}}, "video.frames"),
        ({"video": {"frame": 8}}, "video"),
        ({"vidio": {}}, ""),
        ({"dataset": {"seed": 2**63}}, "dataset.seed"),
        ({"dataset": {"classes": []}}, "dataset.classes"),
        ({"scene": {"radius": [0.1]}}, "scene.radius"),
        ({"scene": {"radius": [0.1, 0.2, 0.3]}}, "scene.radius"),
        ({"camera": {"distance": 1.0}}, "camera.distance"),
        ({"splits": {"train": 1.5}}, "splits.train"),
        ({"storage": {"samples_per_shard": 0}}, "storage.samples_per_shard"),
    ],
)
def test_wrong_specs_are_not_valid(bad: dict[str, Any], path: str):
    errors = list(validator("spec").iter_errors(bad))
    assert [".".join(map(str, error.absolute_path)) for error in errors] == [path]


def test_attributes_of_a_new_store_are_valid(attributes: dict[str, Any]):
    validator("store").validate(attributes)
    assert StoreAttributes.model_validate_json(json.dumps(attributes)).spec == settle_storage(DatasetSpec())


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"format_version": 2}, "format_version"),
        ({"fingerprint": "abc"}, "fingerprint"),
        ({"spec": {"video": {"frames": 0}}}, "spec.video.frames"),
        ({"history": [{"event": "deleted", "time": "", "samples": 1, "versions": {}}]}, "history.0.event"),
        ({"history": [{"event": "created", "time": "", "versions": {}}]}, "history.0"),
        ({"owner": "me"}, ""),
    ],
)
def test_wrong_attributes_are_not_valid(attributes: dict[str, Any], change: dict[str, Any], path: str):
    errors = list(validator("store").iter_errors(attributes | change))
    assert [".".join(map(str, error.absolute_path)) for error in errors] == [path]


@pytest.mark.parametrize("name", ["fingerprint", "spec", "history"])
def test_attributes_without_a_part_are_not_valid(attributes: dict[str, Any], name: str):
    del attributes[name]
    assert not validator("store").is_valid(attributes)
