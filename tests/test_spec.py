"""The spec: what it accepts, how it refuses, what its fingerprint covers."""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.errors import SpecError
from trajstore.spec import DatasetSpec, SceneSection, Since, SpecFields, StorageSection, _Section
from trajstore.store.groups.video import settle_storage

NOT_CONTENT = {
    ("dataset", "samples"),
    ("storage", "samples_per_shard"),
    ("storage", "compression_level"),
    ("storage", "encoder"),
    ("storage", "chunk"),
    ("annotations", "groups"),
    ("annotations", "points"),
}
"""Fields that do not change what a row holds."""

RECORD = {"name": "m:f", "version": "1", "source": "0" * 64, "is_upright": True, "parameters": ["turns"]}
"""What a spec says about a family of one's own; there is none of that name."""

OTHER_VALUES: dict[tuple[str, str], Any] = {
    ("dataset", "samples"): 20_000,
    ("dataset", "seed"): 1,
    ("dataset", "classes"): ["Circular", "Linear", "Helical", "Parabolic"],
    ("video", "cameras"): 3,
    ("video", "frames"): 16,
    ("video", "height"): 32,
    ("video", "width"): 32,
    ("video", "horizon"): 6,
    ("scene", "radius"): [0.08, 0.17],
    ("scene", "size"): [0.4, 0.9],
    ("scene", "placement"): "matched",
    ("scene", "path_length"): [0.4, 1.2],
    ("camera", "distance"): 5.0,
    ("camera", "elevation"): -10.0,
    ("camera", "azimuth"): 0.0,
    ("camera", "margin"): 0.1,
    ("render", "ambient"): 0.5,
    ("render", "contrast"): 41,
    ("render", "light"): [0.4, 0.3, 0.85],
    ("splits", "train"): 0.8,
    ("splits", "val"): 0.1,
    ("splits", "test"): 0.3,
    ("splits", "first_groups"): "random",
    ("storage", "samples_per_shard"): 100,
    ("storage", "compression_level"): 3,
    ("storage", "encoder"): "zstd",
    ("storage", "chunk"): "sample",
    ("dataset", "weights"): [2, 1, 1, 3],
    ("dataset", "motion_labels"): True,
    ("dataset", "families"): [RECORD],
    ("camera", "azimuth_jitter"): 5.0,
    ("camera", "elevation_jitter"): 5.0,
    ("camera", "distance_jitter"): 0.1,
    ("camera", "roll_jitter"): 5.0,
    ("camera", "orbit"): [-30.0, 30.0],
    ("render", "light_jitter"): 20.0,
    ("bodies", "distractors"): [0, 3],
    ("bodies", "transients"): [1, 6],
    ("bodies", "transient_frames"): [2, 3],
    ("bodies", "shapes"): ["cube", "cone"],
    ("bodies", "orientation"): "tumbling",
    ("bodies", "motion"): ["Linear", "Still"],
    ("bodies", "clearance"): 0.1,
    ("background", "patterns"): ["checker", "plain"],
    ("background", "cell"): [0.2, 0.3],
    ("sensor", "noise"): [0.0, 2.0],
    ("sensor", "blur"): [0.5, 0.5],
    ("annotations", "groups"): ["segmentation", "flow"],
    ("annotations", "points"): 7,
}
"""A valid value of each field that is not its default."""

ALL_FIELDS = [path for path, _ in DatasetSpec().walk()]

BAD: list[tuple[str, str, Any]] = [
    *[("dataset", "samples", value) for value in (0, -1, 10**12 + 1, 1.0, "1", True, None)],
    *[("dataset", "seed", value) for value in (-1, 2**63, 10**40, 0.5, 0.0, "0", False)],
    *[
        ("dataset", "classes", value)
        for value in ([], ["Cubic"], ["linear"], ["Linear"] * 2, "Linear", [0], 4)
    ],
    *[
        ("video", name, value)
        for name in ("cameras", "frames", "height", "width")
        for value in (0, -4, 2.0, "8")
    ],
    ("video", "cameras", 257),
    ("video", "frames", 100_001),
    ("video", "height", 16_385),
    ("video", "horizon", 0),
    ("video", "frames", [32]),
    *[
        ("scene", "radius", value)
        for value in ([0.2, 0.1], [0.0, 0.1], [0.1, 1.0], [-0.1, 0.1], [0.1], [0.1] * 3)
    ],
    *[
        ("scene", "radius", value)
        for value in (1.0, ["0.1", "0.2"], [True, 0.5], [0.1, math.nan], {"low": 0.1})
    ],
    *[("scene", "size", value) for value in ([0.9, 0.5], [0.5, 1.0], [0.0, 0.0])],
    *[("camera", "distance", value) for value in (1.0, 0.0, -4.0, 1e9, math.inf, math.nan, "4")],
    *[("camera", "elevation", value) for value in (90.0, -90.0, math.nan)],
    ("camera", "azimuth", 361.0),
    *[("camera", "margin", value) for value in (1.0, -9.1, math.nan)],
    *[("camera", "azimuth_jitter", value) for value in (-1.0, 181.0, "5")],
    *[("camera", "elevation_jitter", value) for value in (-1.0, 65.0)],
    *[("camera", "distance_jitter", value) for value in (-0.1, 0.75, 1.0)],
    *[("camera", "roll_jitter", value) for value in (-1.0, 181.0)],
    *[("camera", "orbit", value) for value in ([30.0, -30.0], [1.0], 1e9, True, "30")],
    *[("render", "light_jitter", value) for value in (-1.0, 181.0)],
    *[("dataset", "weights", value) for value in ([1], [0, 1, 1, 1], [1.5, 1, 1, 1], [998, 1, 1, 1], 4)],
    ("dataset", "motion_labels", 1),
    *[("dataset", "families", value) for value in ({}, 4, ["m:f"], [{"name": "m:f"}], [RECORD] * 2)],
    ("dataset", "families", [RECORD | {"name": "m f"}]),
    ("dataset", "families", [RECORD | {"source": "0"}]),
    *[("bodies", "distractors", value) for value in ([3, 1], [-1, 2], 254, 1.5, [1], True)],
    *[("bodies", "transients", value) for value in ([3, 1], 300, "2")],
    *[("bodies", "transient_frames", value) for value in ([0, 3], [3, 1])],
    *[("bodies", "shapes", value) for value in ([], ["blob"], ["cube", "cube"], "cube")],
    ("bodies", "orientation", "spinning"),
    *[("annotations", "groups", value) for value in (["masks"], ["flow", "flow"], "flow", [1])],
    *[("annotations", "points", value) for value in (0, 65_537, 1.5, "64")],
    *[("bodies", "motion", value) for value in ([], ["Cubic"], ["Still", "Still"])],
    *[("bodies", "clearance", value) for value in (-0.1, 1.5, "far")],
    *[("background", "patterns", value) for value in ([], ["stripes"], ["noise", "noise"])],
    *[("background", "cell", value) for value in (0.0, [0.3, 0.2], 11.0)],
    *[("sensor", "noise", value) for value in (-1.0, [2.0, 1.0], 256.0, math.nan)],
    *[("sensor", "blur", value) for value in (-0.1, 1.1, [0.5, 0.1])],
    *[("render", "ambient", value) for value in (0.0, 1.1, -1.0, 0.1)],
    *[("render", "contrast", value) for value in (0, 256, 100, 40.0)],
    *[
        ("render", "light", value)
        for value in ([0, 0, 0], [1e-200, 0, 0], [1e200, 0, 0], [0, 1], [math.nan, 0, 1])
    ],
    *[("splits", "train", value) for value in (-0.1, 1.1, 0.5, 0.71, math.nan, "0.7")],
    *[("storage", "samples_per_shard", value) for value in (0, -1, 10**6 + 1, 250.0)],
    *[("storage", "compression_level", value) for value in (23, -101, 1.0)],
]


def field_named_by(section: str, name: str) -> str:
    """What a message about a field must contain."""
    # a contrast that is too high for the ambient light is a matter of both, and named as the former
    return "render." if section == "render" else f"{section}.{name}"


@pytest.mark.parametrize(("section", "name", "value"), BAD, ids=repr)
def test_a_bad_value_is_refused_in_one_line_that_names_the_field(section: str, name: str, value: Any):
    with pytest.raises(SpecError) as from_mapping:
        DatasetSpec.from_mapping({section: {name: value}}, source="there")
    with pytest.raises(SpecError) as from_fields:
        DatasetSpec.from_fields(**{name: value})
    for error in (from_mapping, from_fields):
        message = str(error.value)
        assert field_named_by(section, name) in message
        assert name in message
        assert "\n" not in message
        assert "pydantic" not in message
        assert error.value.exit_code == 2
    assert str(from_mapping.value).startswith("there: ")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"vidio": {}}, "vidio"),
        ({"video": {"frame": 3}}, "video.frame"),
        ({"video": {"samples": 3}}, "video.samples"),
        ({"frames": 3}, "frames"),
        ({"video": 3}, "video"),
        ({"video": None}, "video"),
        ({"video": [1]}, "video"),
    ],
)
def test_an_unknown_or_misplaced_field_is_named(data: dict[str, Any], named: str):
    with pytest.raises(SpecError, match=rf"^spec: {re.escape(named)}: [^\n]+$"):
        DatasetSpec.from_mapping(data)


def test_every_bad_field_is_named_at_once():
    with pytest.raises(SpecError) as error:
        DatasetSpec.from_mapping({"video": {"frames": 0, "hight": 3}, "storage": {"samples_per_shard": 0}})
    for name in ("video.frames", "video.hight", "storage.samples_per_shard"):
        assert name in str(error.value)


def test_messages_tell_the_value_found_and_the_one_expected():
    with pytest.raises(SpecError, match=r"video\.frames: found 0; .*greater than or equal to 1"):
        DatasetSpec.from_fields(frames=0)
    with pytest.raises(SpecError, match=r"found 0\.5 \+ 0\.15 \+ 0\.15 = 0\.8, expected 1"):
        DatasetSpec.from_fields(train=0.5)
    with pytest.raises(SpecError, match=r"unknown class 'Cubic', expected one of Linear, Circular"):
        DatasetSpec.from_fields(classes=["Linear", "Cubic"])
    with pytest.raises(SpecError, match=r"unknown field 'frame', expected some of samples, seed"):
        DatasetSpec.from_fields(frame=3)


@pytest.mark.parametrize(
    "fields",
    [
        {"samples": 1, "seed": 2**63 - 1},
        {"train": 1.0, "val": 0.0, "test": 0.0},
        {"train": 1 / 3, "val": 1 / 3, "test": 1 / 3},
        {"train": 0.1, "val": 0.2, "test": 0.7},
        {"ambient": 1.0, "contrast": 115},
        {"radius": [0.1, 0.1]},
        {"distance": 4},
        {"classes": ["Helical"]},
    ],
    ids=str,
)
def test_limits_are_accepted(fields: dict[str, Any]):
    spec = DatasetSpec.from_fields(**fields)
    values = {path[-1]: value for path, value in spec.walk()}
    assert {name: values[name] for name in fields} == fields


def test_numpy_numbers_are_taken_as_numbers():
    spec = DatasetSpec.from_fields(
        samples=np.int64(5), distance=np.float64(3.5), radius=np.array([0.125, 0.25])
    )
    assert spec == DatasetSpec.from_fields(samples=5, distance=3.5, radius=(0.125, 0.25))


def as_toml(data: dict[str, dict[str, Any]]) -> str:
    """TOML of sections of plain values, whose syntax JSON shares."""
    return "".join(
        f"[{section}]\n"
        + "".join(f"{name} = {json.dumps(value)}\n".replace('": ', '" = ') for name, value in values.items())
        for section, values in data.items()
    )


@pytest.mark.parametrize("name", ["spec.toml", "spec.json", "spec"])
def test_a_whole_spec_survives_a_file(tmp_path: Path, name: str):
    data: dict[str, dict[str, Any]] = {}
    for (section, field), value in OTHER_VALUES.items():
        data.setdefault(section, {})[field] = value
    data["splits"] = {"train": 0.6, "val": 0.1, "test": 0.3, "first_groups": "random"}
    path = tmp_path / name
    path.write_text(json.dumps(data) if name.endswith("json") else as_toml(data), encoding="utf-8")
    spec = DatasetSpec.from_file(path)
    assert spec.model_dump(mode="json") == data
    assert DatasetSpec.from_file(str(path)) == spec


def test_an_empty_file_is_the_default(tmp_path: Path):
    path = tmp_path / "spec.toml"
    path.write_text("")
    assert DatasetSpec.from_file(path) == DatasetSpec()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("spec.toml", b"frames: 3", "not valid TOML"),
        ("spec.toml", b"[video]\nframes = 3\nframes = 4", "not valid TOML"),
        ("spec.toml", b"\xff\xfe", "not valid TOML"),
        ("spec.json", b"[video]\nframes = 3", "not valid JSON"),
        ("spec.json", b"[1, 2]", "found list, expected sections"),
        ("spec.toml", b"[video]\nframes = 1979-05-27", "video.frames: found '1979-05-27'"),
        ("spec.toml", b"[video]\nframes = 3.0", "video.frames: found 3.0"),
        ("spec.json", b'{"video": {"frames": NaN}}', "video.frames: found "),
        ("spec.json", b'{"camera": {"margin": NaN}}', "camera.margin: found nan"),
        ("spec.toml", b"[camera]\nmargin = nan", "camera.margin: found nan"),
        ("spec.toml", b"[dataset]\nsead = 1", "dataset.sead: unknown field"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes, problem: str
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SpecError) as error:
        DatasetSpec.from_file(path)
    message = str(error.value)
    assert message.startswith(f"spec file {path}: {problem}")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str):
    with pytest.raises(
        SpecError, match=rf"^spec file {re.escape(str(tmp_path / name))}: .*; expected a readable TOML"
    ):
        DatasetSpec.from_file(tmp_path / name)


def test_a_spec_cannot_be_changed():
    spec = DatasetSpec()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        spec.video.frames = 3
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        spec.video = spec.video


def changed(path: tuple[str, str]) -> DatasetSpec:
    """The default spec with another value in one field, and in a second where the sum of the splits wants it."""
    fields = {path[1]: OTHER_VALUES[path]}
    if path[0] == "splits" and path[1] != "first_groups":
        partner = {"train": "val", "val": "train", "test": "train"}[path[1]]
        rest = {"train": 0.7, "val": 0.15, "test": 0.15} | fields
        fields[partner] = 1.0 - sum(rest.values()) + rest[partner]
    return DatasetSpec.from_fields(**fields)


def test_every_field_has_another_value_to_test_with():
    assert set(OTHER_VALUES) == set(ALL_FIELDS)
    names = [name for _, name in ALL_FIELDS]
    assert len(set(names)) == len(names), "from_fields needs names that are unique"


@pytest.mark.parametrize("path", ALL_FIELDS, ids=".".join)
def test_the_fingerprint_covers_what_decides_a_row_and_nothing_else(path: tuple[str, str]):
    is_same = changed(path).fingerprint == DatasetSpec().fingerprint
    assert is_same == (path in NOT_CONTENT)


def test_fingerprints_of_all_specs_differ():
    prints = {changed(path).fingerprint for path in ALL_FIELDS if path not in NOT_CONTENT}
    # train with val and val with train are two fields, and two specs
    assert len(prints) == len(ALL_FIELDS) - len(NOT_CONTENT)


def test_a_fingerprint_is_that_of_the_store_that_will_be_built():
    spec = DatasetSpec()
    assert spec.splits.first_groups is None
    assert (
        spec.fingerprint == spec.replace(first_groups="each").fingerprint == settle_storage(spec).fingerprint
    )
    assert spec.fingerprint != spec.replace(first_groups="random").fingerprint


def test_the_fingerprint_does_not_depend_on_how_a_number_is_written():
    fingerprint = DatasetSpec.from_fields(distance=4, azimuth=45).fingerprint
    assert fingerprint == DatasetSpec().fingerprint
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)


@pytest.mark.parametrize("path", ALL_FIELDS, ids=".".join)
def test_a_difference_names_the_field_and_both_values(path: tuple[str, str]):
    stored, given = DatasetSpec(), changed(path)
    values = dict(stored.walk())
    assert f"{'.'.join(path)}: {values[path]!r} stored, {OTHER_VALUES[path]!r} given" in stored.differences(
        given
    )
    assert len(stored.differences(given)) == (2 if path[0] == "splits" and path[1] != "first_groups" else 1)
    assert stored.differences(stored) == []


def test_replace_keeps_the_rest_and_leaves_the_original():
    spec = DatasetSpec.from_fields(seed=3, frames=16)
    other = spec.replace(frames=8, samples=5)
    assert (other.dataset.seed, other.video.frames, other.dataset.samples) == (3, 8, 5)
    assert (spec.video.frames, spec.dataset.samples) == (16, 10_000)
    assert spec.replace() == spec


@given(
    st.integers(0, 2**63 - 1),
    st.tuples(st.floats(1e-6, 0.999), st.floats(1e-6, 0.999)).map(sorted),
    st.floats(1.0, 1000.0, exclude_min=True),
    st.floats(-89.0, 89.0),
)
def test_any_spec_survives_json(seed: int, radius: list[float], distance: float, elevation: float):
    spec = DatasetSpec.from_fields(seed=seed, radius=radius, distance=distance, elevation=elevation)
    again = DatasetSpec.from_mapping(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert again == spec
    assert again.fingerprint == spec.fingerprint
    assert DatasetSpec.from_mapping(tomllib.loads(as_toml(spec.model_dump(mode="json")))) == spec


def all_changed() -> DatasetSpec:
    """A spec in which every field has another value than by default."""
    fields = {path[1]: value for path, value in OTHER_VALUES.items()}
    return DatasetSpec.from_fields(**fields | {"train": 0.6, "val": 0.1, "test": 0.3})


@pytest.mark.parametrize("comments", [False, True])
@pytest.mark.parametrize(
    "spec",
    [DatasetSpec(), settle_storage(DatasetSpec()), all_changed()],
    ids=["default", "settled", "changed"],
)
def test_a_spec_survives_toml(spec: DatasetSpec, comments: bool, tmp_path: Path):
    path = tmp_path / "spec.toml"
    path.write_text(spec.to_toml(comments), encoding="utf-8")
    again = DatasetSpec.from_file(path)
    assert again == spec
    assert again.fingerprint == spec.fingerprint


@given(
    st.floats(1.0, 1000.0, exclude_min=True),
    st.lists(st.from_regex(r"[^\s,]+", fullmatch=True), min_size=1, max_size=3, unique=True),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_name_and_number_survives_toml(distance: float, names: list[str], version: str):
    records = [RECORD | {"name": name, "version": version} for name in names]
    spec = DatasetSpec.from_fields(distance=distance, classes=names, families=records)
    assert DatasetSpec.from_mapping(tomllib.loads(spec.to_toml())) == spec


def test_comments_say_what_a_field_means_may_be_and_is_by_default():
    text = DatasetSpec.from_fields(frames=16).to_toml(comments=True)
    assert max(map(len, text.splitlines())) <= 100
    for (section, name), _ in DatasetSpec().walk():
        assert re.search(rf"^# .*\n(# )?{name} = ", text, re.MULTILINE), (section, name)
    for lines in (
        "# Frames of a clip. They are numbered from 1: array index = frame − 1.\n",
        "# From 1 to 100000. Default: 32.\nframes = 16\n",
        '# One of "fixed", "tumbling". Default: "fixed".\norientation = "fixed"\n',
        "# More than 1.0, at most 1000.0. Default: 4.0.\n",
        '# Some of "sphere", "cube", "cylinder", "cone". Default: ["sphere"].\n',
        "# Either true or false. Default: false.\n",
        "# From 1 to 1000000. Default: left open.\n# samples_per_shard = …\n",
    ):
        assert lines in text


def test_a_spec_shows_what_is_not_as_by_default():
    spec = DatasetSpec.from_fields(samples=100, shapes=["cube"], noise=2.0)
    assert (
        repr(spec) == str(spec) == "DatasetSpec.from_fields(samples=100, shapes=['cube'], noise=[2.0, 2.0])"
    )
    assert repr(DatasetSpec()) == "DatasetSpec()"
    assert eval(repr(all_changed())) == all_changed()
    html = spec._repr_html_()
    assert html.count("<tr>") == 4
    assert "<td>dataset.samples</td><td>100</td><td>10000</td>" in html
    assert "&#x27;cube&#x27;" in html
    assert "defaults" in DatasetSpec()._repr_html_()


def test_the_names_of_fields_for_type_checkers_are_those_of_the_spec():
    assert list(SpecFields.__annotations__) == [name for _, name in ALL_FIELDS]


def test_a_spec_may_come_in_any_form(tmp_path: Path):
    spec = DatasetSpec.from_fields(frames=16)
    path = tmp_path / "spec.toml"
    path.write_text("[video]\nframes = 16\n")
    for form in (spec, {"video": {"frames": 16}}, path, str(path)):
        assert DatasetSpec.from_any(form) == spec
    assert DatasetSpec.from_any(spec) is spec
    for form, found in (([spec], "list"), (16, "int"), (None, "NoneType")):
        with pytest.raises(
            SpecError, match=rf"^spec: found {found}, expected a DatasetSpec, the path of [^\n]+$"
        ):
            DatasetSpec.from_any(form)


@pytest.mark.parametrize(
    ("data", "meant"),
    [
        ({"video": {"hight": 3}}, "height"),
        ({"video": {"samples": 3}}, "dataset.samples"),
        ({"frames": 3}, "video.frames"),
        ({"vidio": {}}, "video"),
        ({"dataset": {"classes": ["Circularr"]}}, "Circular"),
        ({"dataset": {"classes": ["parabolic"]}}, "Parabolic"),
        ({"bodies": {"shapes": ["Sphere"]}}, "sphere"),
        ({"bodies": {"motion": ["Stil"]}}, "Still"),
        ({"annotations": {"groups": ["segmentaton"]}}, "segmentation"),
    ],
)
def test_what_was_meant_is_suggested(data: dict[str, Any], meant: str):
    with pytest.raises(SpecError, match=rf"did you mean {re.escape(meant)}\?(;|$)"):
        DatasetSpec.from_mapping(data)


def test_nothing_is_suggested_where_nothing_is_close_and_names_keep_their_case():
    with pytest.raises(SpecError, match=r"unknown class 'Lissajous', expected [^?]+$"):
        DatasetSpec.from_fields(classes=["Lissajous"])
    with pytest.raises(SpecError, match=r"unknown field 'hieght', .*; did you mean height\?$"):
        DatasetSpec.from_fields(hieght=3)


@pytest.mark.parametrize("name", ["spec.yaml", "spec.yml"])
def test_yaml_is_named_as_such(tmp_path: Path, name: str):
    with pytest.raises(SpecError, match=rf"{name}: found YAML, expected TOML or JSON; .*: trajstore spec$"):
        DatasetSpec.from_file(tmp_path / name)


FINGERPRINTS = {
    "3a163eaed037dc054b56218cf0064878f06a9ca02e7103a19bcbfd588dde28d5": {},
    "0c99c0a44165abca40557f8cbdea167c4dec7837ac661ebbb65d2a8e10b8034a": {
        "seed": 3,
        "frames": 3,
        "height": 12,
        "width": 12,
        "cameras": 2,
    },
    "f50cc98b5b82b7a5cbac99109056ccc9a06e17b75e894e57b967b62b223ddebf": {
        "classes": ["Helical", "Linear"],
        "radius": (0.1, 0.1),
        "light": (0, 0, 1),
    },
    "4c76eb064123b89c0da73ed58a814897be238d774ef506be41a3177d4cf1e3f4": {
        "samples": 7,
        "samples_per_shard": 9,
        "compression_level": 3,
        "train": 0.6,
        "val": 0.2,
        "test": 0.2,
        "contrast": 60,
        "ambient": 0.6,
    },
    "e8c17dd23d08c29db94e1e1948e7aadd4fb922bc6c575abb1ec82ab41ecc8ee5": {
        "seed": 2**63 - 1,
        "distance": 7,
        "elevation": -10,
        "azimuth": 0,
        "margin": 0.1,
        "horizon": 1,
        "size": (0.2, 0.3),
    },
}
"""Of some specs, as version 0.1 computed them (commit 077818e), which drew all splits at random."""


class LaterScene(SceneSection):
    """A section with fields of later versions."""

    wobble: Annotated[float, Since("0.2")] = 0.0
    forms: Annotated[tuple[str, ...], pydantic.Field(strict=False), Since("0.3")] = ("sphere",)


class LaterWind(_Section):
    """A section of a later version, with a field that came later still."""

    gusts: int = 0
    speed: Annotated[float, Since("0.4")] = pydantic.Field(default=1.0, ge=0.0)


class LaterStorage(StorageSection):
    """A section that decides no row, with a field of a later version."""

    codec: Annotated[str, Since("0.2")] = "zstd"


class LaterSpec(DatasetSpec):
    """The spec of a later version."""

    scene: LaterScene = LaterScene()
    storage: LaterStorage = LaterStorage()
    wind: Annotated[LaterWind, Since("0.2")] = LaterWind()


@pytest.mark.parametrize("model", [DatasetSpec, LaterSpec])
@pytest.mark.parametrize("fingerprint", FINGERPRINTS)
def test_fingerprints_stay_what_they_were_also_when_the_spec_grows(
    fingerprint: str, model: type[DatasetSpec]
):
    spec = model.from_fields(**FINGERPRINTS[fingerprint], first_groups="random")
    assert spec.fingerprint == fingerprint
    # an older version, which refuses unknown fields, reads what this one writes
    assert DatasetSpec.from_mapping(spec.model_dump(mode="json")).fingerprint == fingerprint
    assert model.from_mapping(spec.model_dump(mode="json")) == spec


LATER_VALUES: dict[str, Any] = {"wobble": 0.5, "forms": ["cube", "cone"], "gusts": 2, "speed": 0.0}


def test_a_later_field_with_another_value_is_written_covered_and_named():
    base = LaterSpec()
    prints = {base.fingerprint}
    for name, value in LATER_VALUES.items():
        spec = base.replace(**{name: value})
        prints.add(spec.fingerprint)
        (section,) = (path[0] for path, _ in spec.walk() if path[1] == name)
        assert spec.model_dump(mode="json")[section][name] == value
        assert LaterSpec.from_mapping(json.loads(spec.model_dump_json())) == spec
        stored = dict(base.walk())[section, name]
        assert base.differences(spec) == [f"{section}.{name}: {stored!r} stored, {value!r} given"]
        assert spec.replace(**{name: stored}) == base
        assert spec.replace(seed=1).replace(seed=0) == spec
        with pytest.raises(SpecError, match=f"{section}"):
            DatasetSpec.from_mapping(spec.model_dump(mode="json"))
    assert len(prints) == 1 + len(LATER_VALUES)
    # inside a later section, only what is later than the section is left out
    assert base.replace(gusts=2).model_dump()["wind"] == {"gusts": 2}
    assert base.replace(speed=0.0).model_dump()["wind"] == {"gusts": 0, "speed": 0.0}


def test_a_later_field_that_decides_no_row_is_in_no_fingerprint():
    spec = LaterSpec.from_fields(codec="lz4")
    assert spec.fingerprint == DatasetSpec().fingerprint
    assert spec.model_dump()["storage"]["codec"] == "lz4"
