"""The page on the data model says what the code does."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.worlds import EVERYTHING

from trajstore.scene.bodies import PLACES_TRIED, TUMBLING
from trajstore.scene.column_names import ALWAYS, list_columns
from trajstore.scene.order import SPLIT_NAMES
from trajstore.scene.scene import make_scene
from trajstore.spec import ANNOTATIONS, DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.trajectories import FAMILIES, MARGINS

DOCS = Path(__file__).parents[1] / "docs"
FILLS = {"0": 0, "−1": -1, "NaN": math.nan, "false": False}


def read_tables() -> dict[str, list[list[str]]]:
    """Rows of the page's tables, without markup, by the name of the first column that is not a code."""
    tables: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in (DOCS / "reference" / "data-model.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            rows = []
            continue
        cells = line.replace("\\|", "¦").strip("|").split("|")
        rows.append([cell.strip().strip("`") for cell in cells])
        if len(rows) == 1:
            tables[next(name for name in rows[0] if name != "code")] = rows
    return {name: rows[2:] for name, rows in tables.items()}


TABLES = read_tables()


def test_arrays_are_those_of_a_store(tmp_path: Path, tiny_store: Path):
    documented = [
        (name, tuple(dims.split(", ")), tuple(map(int, shape.split(", "))), dtype, str(FILLS[fill]), unit)
        for name, dims, shape, dtype, fill, unit, _ in TABLES["array"]
    ]
    planned = [
        (c.name, c.dims, c.shape, c.dtype, str(c.fill_value), c.attributes.get("units", ""))
        for c in plan_layout(DatasetSpec()).columns
    ]
    assert documented == planned
    stored = {path.parent.name: json.loads(path.read_text()) for path in tiny_store.glob("*/zarr.json")}
    assert {(name, dims, dtype) for name, dims, _, dtype, *_ in documented} == {
        (name, tuple(array["dimension_names"]), array["data_type"]) for name, array in stored.items()
    }


def test_columns_of_other_worlds_are_those_of_a_spec_that_asks_for_everything():
    documented = [
        (name, tuple(dims.split(", ")), dtype, str(FILLS[fill]), unit, meaning.replace("¦", "|"))
        for name, dims, dtype, fill, unit, meaning in TABLES["column"]
    ]
    spec = DatasetSpec.from_fields(**EVERYTHING | {"classes": list(FAMILIES), "weights": ()})
    assert documented == [
        (
            *(c.name, c.dims, c.dtype, str(c.fill_value)),
            *(c.attributes.get("units", ""), c.attributes["long_name"]),
        )
        for c in plan_layout(spec).group("labels").columns
        if c.name not in ALWAYS
    ]


ASKING: list[list[dict[str, Any]]] = [
    [
        {"distractors": [0, 1]},
        {"transients": 1},
        {"shapes": ["sphere", "cube"]},
        {"distractors": 1, "margin": -0.1},
    ],
    [{"shapes": ["sphere", "cube"]}],
    [{"margin": -0.1}, {"distractors": 1, "margin": -0.1}],
    [{"distractors": 1, "margin": -0.1}],
    [{name: 1.0} for name in ("azimuth_jitter", "elevation_jitter", "roll_jitter", "orbit")]
    + [{"distance_jitter": 0.1}],
    [{"patterns": ["plain", "noise"]}],
    [{"light_jitter": 1.0}],
    [{"noise": [0.0, 1.0]}],
    [{"blur": [0.0, 1.0]}],
    [{"motion_labels": True, "classes": list(FAMILIES)}],
]
"""For each row of the page's table of columns, fields that ask for them."""


def test_columns_are_there_where_the_page_says():
    rows = [names.replace("`", "").split(", ") for names, _ in TABLES["columns"]]
    assert [name for names in rows for name in names] == [name for name, *_ in TABLES["column"]]
    for fields in (fields for several in ASKING for fields in several):
        expected = {
            name for names, asking in zip(rows, ASKING, strict=True) if fields in asking for name in names
        }
        assert {*list_columns(DatasetSpec.from_fields(**fields))} - {*ALWAYS} == expected, fields


def test_codes_are_those_of_the_columns():
    columns = {c.name: c for c in plan_layout(DatasetSpec.from_fields(**EVERYTHING)).columns}
    for table, name in (("role", "body_role"), ("shape", "body_shape"), ("pattern", "background_pattern")):
        attributes = columns[name].attributes
        meanings = zip(attributes["flag_values"], attributes["flag_meanings"].split(), strict=True)
        assert [(int(code), meaning) for code, meaning, _ in TABLES[table]] == list(meanings)


def test_parameters_are_those_of_the_families():
    documented = {name: parameters for _, name, _, parameters in TABLES["label"]}
    documented |= {name: parameters for name, _, parameters in TABLES["family"]}
    assert documented == {name: ", ".join(family.parameters) for name, family in FAMILIES.items()}


def test_margins_are_those_of_the_families():
    assert {name: float(value) for name, value in TABLES["limit"]} == MARGINS


def test_labels_and_splits_are_those_of_the_spec():
    spec = DatasetSpec()
    assert [(int(label), name) for label, name, *_ in TABLES["label"]] == list(
        enumerate(spec.dataset.classes)
    )
    shares = [getattr(spec.splits, name) for name in SPLIT_NAMES]
    assert [(int(value), name, float(share)) for value, name, share in TABLES["value"]] == list(
        zip(range(3), SPLIT_NAMES, shares, strict=True)
    )


def test_defaults_in_the_text_are_those_of_the_spec():
    text = " ".join((DOCS / "reference" / "data-model.md").read_text(encoding="utf-8").split())
    spec = DatasetSpec()
    for sentence in (
        f"between {spec.scene.radius[0]} and {spec.scene.radius[1]} by default",
        f"{spec.camera.distance:g} world units away, {spec.camera.elevation:g}° above",
        f"azimuth of {spec.camera.azimuth:g}°",
        f"by {spec.render.contrast} levels or more",
        f"{spec.bodies.transient_frames[0]} to {spec.bodies.transient_frames[1]} by default",
        f"by {TUMBLING[0]:g} to {TUMBLING[1]:g} turns",
        f"in {PLACES_TRIED} tries",
        f"at frame {spec.video.frames} + {spec.video.horizon} = {spec.video.frames + spec.video.horizon}",
    ):
        assert sentence in text


def test_annotations_are_what_the_page_says():
    lines = (DOCS / "how-to" / "annotations.md").read_text(encoding="utf-8").splitlines()
    cells = [
        [cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
        for line in lines
        if line[:3] == "| `"
    ]
    spec = DatasetSpec.from_fields(samples=4, groups=list(ANNOTATIONS))
    groups = {group.name: group for group in plan_layout(spec).groups if group.name in ANNOTATIONS}
    assert [(name, array) for name, array, *_ in cells] == [
        (name, column.name) for name, group in groups.items() for column in group.columns
    ]
    fills = {"255": 255, "NaN": math.nan, "false": False, "true": True}
    scene = make_scene(spec, range(1))
    for name, array, dims, dtype, unit, _, background, unwritten in cells:
        (column,) = (column for column in groups[name].columns if column.name == array)
        assert dims.split(", ") == list(column.dims[1:])
        assert dtype == column.dtype
        assert unit == column.attributes.get("units", "")
        np.testing.assert_equal(np.array(fills[unwritten], dtype), np.array(column.fill_value, dtype))
        if background:  # the sphere never comes near the corner of a picture
            values = scene.annotate(0, [array], slice(0, 1), slice(2, 3))[array]
            expected = np.array([float(part) for part in background.replace("false", "0").split(", ")])
            assert (values[..., 0, 0].ravel() == expected).all()


def test_the_picture_of_annotations_is_what_its_script_draws(tmp_path: Path):
    from PIL import Image

    script = DOCS / "scripts" / "draw_annotations.py"
    subprocess.run([sys.executable, script, tmp_path / "annotations.png"], check=True)
    drawn, kept = (Image.open(folder / "annotations.png") for folder in (tmp_path, DOCS / "pictures"))
    assert drawn.size == kept.size
    # what letters look like depends on the version of matplotlib
    difference = np.abs(np.asarray(drawn.convert("RGB"), int) - np.asarray(kept.convert("RGB"), int))
    assert difference.mean() < 5
    assert (DOCS / "pictures" / "annotations.png").stat().st_size < 300_000


def test_the_drawing_is_what_its_script_draws(tmp_path: Path):
    subprocess.run([sys.executable, DOCS / "scripts" / "draw_axes.py", tmp_path / "axes.svg"], check=True)
    drawn, kept = (
        (folder / "axes.svg").read_text(encoding="utf-8") for folder in (tmp_path, DOCS / "pictures")
    )
    # the bytes depend on the version of matplotlib; that there is everything to see does not
    assert drawn.count("<path") == pytest.approx(kept.count("<path"), rel=0.2)
    assert len(kept.encode()) < 100_000
