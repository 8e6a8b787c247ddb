"""Stores that trajstore 0.1 has written: every command works on them, and their rows stay what they were."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import assert_same_bytes, flip_bit, run, tree
from support.future import make_future, run_in_future
from support.stores import open_store

import trajstore

FIXTURE = Path(__file__).parents[1] / "fixtures" / "store-0.1"
ROWS = 12
SPEC = trajstore.DatasetSpec.from_fields(
    samples=ROWS, seed=3, frames=3, height=12, width=12, cameras=2, samples_per_shard=4, first_groups="random"
)


def digest(store: Path) -> dict[str, str]:
    """SHA-256 of each array, of the rows that the fixture has."""
    with trajstore.open(store) as dataset:
        arrays = {name: array for name, array in dataset.data_vars.items() if not name.endswith("_written")}
        return {
            str(name): hashlib.sha256(
                np.ascontiguousarray(array[:ROWS] if "sample" in array.dims else array).tobytes()
            ).hexdigest()
            for name, array in arrays.items()
        }


def writes_other_bytes(store: Path) -> bool:
    """Whether a library that compresses or describes arrays is not that of the fixture."""
    found = open_store(store).attributes.history[0].versions
    return any(found[name] != version(name) for name in ("zstandard", "zarr"))


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    return json.loads((FIXTURE / "digests.json").read_text())


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE / "finished", tmp_path / "finished.zarr"))


@pytest.fixture
def half_built(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE / "half-built", tmp_path / "half-built.zarr"))


def test_the_fixture_is_small() -> None:
    assert sum(path.stat().st_size for path in FIXTURE.rglob("*") if path.is_file()) < 100_000


def test_looking_changes_nothing(finished: Path, half_built: Path, digests: dict[str, str]) -> None:
    for store in (finished, half_built):
        before = tree(store)
        for deep in (False, True):
            assert trajstore.verify(store, deep=deep).findings == ()
        assert trajstore.repair(store).found == ()
        for command in ("info", "verify"):
            assert run(command, store).code == 0
        assert tree(store) == before
    assert trajstore.info(finished).is_complete
    assert trajstore.info(finished).fingerprint == SPEC.fingerprint
    assert trajstore.info(half_built).written == {"labels": 12, "video": 8}
    assert digest(finished) == digests


def test_the_reader_reads_what_xarray_reads(finished: Path) -> None:
    reader = trajstore.open_reader(finished)
    with trajstore.open(finished) as dataset:
        np.testing.assert_array_equal(reader[5], dataset["video"][5])
        np.testing.assert_array_equal(reader.column("position"), dataset["position"])


def test_a_half_built_store_is_resumed(half_built: Path, finished: Path, digests: dict[str, str]) -> None:
    report = trajstore.build(half_built)
    assert (report.new_samples, report.summary.is_complete) == (4, True)
    assert digest(half_built) == digests
    if not writes_other_bytes(finished):
        assert_same_bytes(half_built, finished)


def test_a_store_built_now_has_the_same_rows(tmp_path: Path, finished: Path, digests: dict[str, str]) -> None:
    trajstore.build(tmp_path / "new.zarr", SPEC, encoder="zstd", chunk="sample")
    assert digest(tmp_path / "new.zarr") == digests
    if not writes_other_bytes(finished):
        assert_same_bytes(tmp_path / "new.zarr", finished)


def test_damage_is_mended(finished: Path, digests: dict[str, str]) -> None:
    flip_bit(finished / "video/c.1.0.0.0.0.0", 60)
    (finished / "position/c.0.0.0").unlink()
    (finished / "zarr.json").unlink()
    report = trajstore.repair(finished, spec=SPEC)
    assert {finding.key for finding in report.found} == {
        "video/c.1.0.0.0.0.0",
        "position/c.0.0.0",
        "zarr.json",
    }
    assert trajstore.verify(finished, deep=True).findings == ()
    assert digest(finished) == digests


def test_a_spec_that_says_nothing_about_the_first_splits_fits(
    finished: Path, digests: dict[str, str]
) -> None:
    """Specs of 0.1 have no word for it, and a new store would have others."""
    spec = SPEC.replace(first_groups=None)
    assert spec.fingerprint != SPEC.fingerprint
    assert trajstore.build(finished, spec).new_samples == 0
    (finished / "zarr.json").unlink()
    report = trajstore.repair(finished, spec=spec)
    assert [finding.key for finding in report.found] == ["zarr.json"]
    assert trajstore.info(finished).fingerprint == SPEC.fingerprint
    assert digest(finished) == digests


def test_a_store_is_extended(finished: Path, digests: dict[str, str]) -> None:
    assert trajstore.extend(finished, 22).summary.written == {"labels": 22, "video": 22}
    assert trajstore.verify(finished, deep=True).findings == ()
    assert digest(finished) == digests


@pytest.mark.torch
def test_a_store_is_exported_and_drawn(finished: Path, tmp_path: Path) -> None:
    before = tree(finished)
    trajstore.export(finished, tmp_path / "export")
    assert trajstore.validate(tmp_path / "export", against=finished).faults == ()
    assert trajstore.preview(finished, [0, 11], output=tmp_path / "sheet.png").rows == (0, 11)
    assert tree(finished) == before


IN_FUTURE = """
import json, sys
from pathlib import Path
import trajstore

finished, half_built, neutral, other = sys.argv[1:]
fields = dict(samples=12, seed=3, frames=3, height=12, width=12, cameras=2, samples_per_shard=4, first_groups="random")
found = {}
found["sound"] = trajstore.verify(finished, deep=True).is_sound
found["resumed"] = trajstore.build(half_built).new_samples
Path(finished, "video/c.1.0.0.0.0.0").unlink()
found["mended"] = len(trajstore.repair(finished).done.rebuild)
found["same"] = trajstore.build(finished, wobble=0.0, drops=0).new_samples
try:
    trajstore.build(finished, wobble=0.5, drops=2)
except trajstore.TrajstoreError as error:
    found["refusal"] = str(error)
found["extended"] = trajstore.extend(finished, 22).new_samples
found["still sound"] = trajstore.verify(finished, deep=True).is_sound
trajstore.build(neutral, **fields)
summary = trajstore.build(other, wobble=0.5, **fields).summary
found["fingerprint"], found["scene"] = summary.fingerprint, summary.spec["scene"]
found["reopened"] = trajstore.build(other).new_samples
found["weather"] = trajstore.DatasetSpec.from_fields(drops=2).model_dump()["weather"]
print(json.dumps(found))
"""


@pytest.fixture
def future(tmp_path: Path) -> Path:
    return make_future(tmp_path / "future")


def test_a_version_whose_spec_has_grown_goes_on_with_them(
    tmp_path: Path, finished: Path, half_built: Path, future: Path, digests: dict[str, str]
) -> None:
    neutral, other = tmp_path / "neutral.zarr", tmp_path / "other.zarr"
    found: dict[str, Any] = run_in_future(future, IN_FUTURE, finished, half_built, neutral, other)
    assert found["sound"]
    assert found["still sound"]
    assert (found["resumed"], found["mended"], found["same"], found["extended"]) == (4, 1, 0, 10)
    for difference in ("scene.wobble: 0.0 stored, 0.5 given", "weather.drops: 0 stored, 2 given"):
        assert difference in found["refusal"]
    assert found["fingerprint"] != SPEC.fingerprint
    assert (found["scene"]["wobble"], found["reopened"], found["weather"]) == (0.5, 0, {"drops": 2})
    for store in (finished, half_built):  # an older version goes on in turn
        assert digest(store) == digests
        assert trajstore.verify(store, deep=True).findings == ()
    assert trajstore.info(neutral).fingerprint == SPEC.fingerprint
    assert trajstore.info(neutral).history[0]["versions"]["trajstore"] == "0.9.0"
    assert trajstore.build(neutral).new_samples == 0
    assert trajstore.verify(neutral, deep=True).findings == ()
