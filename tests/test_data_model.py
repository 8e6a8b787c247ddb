"""The page on the data model says what the code does."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from support.worlds import EVERYTHING

from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.trajectories import FAMILIES, MARGINS

DOCS = Path(__file__).parents[1] / "docs"
FILLS = {"0": 0, "−1": -1, "NaN": math.nan, "false": False}


def read_tables() -> dict[str, list[list[str]]]:
    """Rows of the page's tables, without markup, by the name of the first column."""
    tables: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in (DOCS / "data-model.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            rows = []
            continue
        cells = line.replace("\\|", "¦").strip("|").split("|")
        rows.append([cell.strip().strip("`") for cell in cells])
        if len(rows) == 1:
            tables[rows[0][0]] = rows
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
    usual = {column.name for column in plan_layout(DatasetSpec()).group("labels").columns}
    asked = (
        plan_layout(DatasetSpec.from_fields(**EVERYTHING | {"classes": list(FAMILIES), "weights": ()}))
        .group("labels")
        .columns
    )
    assert documented == [
        (
            c.name,
            c.dims,
            c.dtype,
            str(c.fill_value),
            c.attributes.get("units", ""),
            c.attributes["long_name"],
        )
        for c in asked
        if c.name not in usual
    ]


def test_margins_are_those_of_the_families():
    assert {name: float(value) for name, value in TABLES["limit"]} == MARGINS


def test_labels_and_splits_are_those_of_the_spec():
    spec = DatasetSpec()
    assert [(int(label), name) for label, name, _ in TABLES["label"]] == list(enumerate(spec.dataset.classes))
    shares = [getattr(spec.splits, name) for name in SPLIT_NAMES]
    assert [(int(value), name, float(share)) for value, name, share in TABLES["value"]] == list(
        zip(range(3), SPLIT_NAMES, shares, strict=True)
    )


def test_defaults_in_the_text_are_those_of_the_spec():
    text = " ".join((DOCS / "data-model.md").read_text(encoding="utf-8").split())
    spec = DatasetSpec()
    for sentence in (
        f"between {spec.scene.radius[0]} and {spec.scene.radius[1]} by default",
        f"{spec.camera.distance:g} world units away, {spec.camera.elevation:g}° above",
        f"azimuth of {spec.camera.azimuth:g}°",
        f"by {spec.render.contrast} levels or more",
        f"at frame {spec.video.frames} + {spec.video.horizon} = {spec.video.frames + spec.video.horizon}",
    ):
        assert sentence in text


def test_the_drawing_is_what_its_script_draws(tmp_path: Path):
    subprocess.run([sys.executable, DOCS / "draw_axes.py", tmp_path / "axes.svg"], check=True)
    drawn, kept = ((folder / "axes.svg").read_text(encoding="utf-8") for folder in (tmp_path, DOCS))
    # the bytes depend on the version of matplotlib; that there is everything to see does not
    assert drawn.count("<path") == pytest.approx(kept.count("<path"), rel=0.2)
    assert len(kept.encode()) < 100_000
