from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stores import storage_at

from trajstore.errors import IncompleteStoreError, NotAStoreError, RowRangeError, SpecError
from trajstore.pictures import choose
from trajstore.pictures.choose import ROWS_MAX, choose_rows
from trajstore.pictures.source import name_of, open_samples
from trajstore.reading.generator import SampleGenerator
from trajstore.reading.samples import Samples
from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location
from trajstore.store.attributes import StoreAttributes
from trajstore.store.handle import StoreHandle

CLASSES = ("Linear", "Circular", "Helical", "Parabolic")


@pytest.fixture(scope="module", params=["store", "spec"])
def samples(request: pytest.FixtureRequest, tiny_store: Path, tiny_spec: DatasetSpec) -> Samples:
    return open_samples(tiny_store if request.param == "store" else tiny_spec)


def first_rows(samples: Samples, label: int, split: str | None, count: int) -> list[int]:
    """The first rows of a class and a split, found the plain way."""
    is_wanted = samples.column("class_label") == label
    if split is not None:
        is_wanted &= samples.column("split") == SPLIT_NAMES.index(split)
    return np.flatnonzero(is_wanted)[:count].tolist()


@pytest.mark.parametrize("split", [None, *SPLIT_NAMES])
def test_without_rows_it_is_the_first_of_each_class(samples: Samples, split: str | None):
    expected = [row for label in range(4) for row in first_rows(samples, label, split or "train", 1)]
    assert len(expected) == 4
    assert list(choose_rows(samples, split=split)) == expected
    assert list(choose_rows(samples, [], split=split)) == expected


def test_where_a_class_is_not_trained_on_it_is_the_first_of_any_split():
    samples = open_samples(DatasetSpec.from_fields(samples=4, train=0.5, val=0.5, test=0.0))
    classes = samples.column("class_label")
    assert [classes[row] for row in choose_rows(samples)] == sorted(classes)


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_of_a_class_it_is_the_first_four(samples: Samples, split: str | None):
    expected = first_rows(samples, 2, split, 4)
    assert expected
    assert list(choose_rows(samples, class_name="Helical", split=split)) == expected


def test_rows_are_taken_as_given_but_once(samples: Samples):
    assert choose_rows(samples, [7, -1, 0, 43, 7]) == (7, 43, 0)


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"rows": [3, 44]}, RowRangeError, "row 44 is out of range, expected 0 … 43"),
        ({"rows": [-45]}, RowRangeError, "row -45 is out of range, expected 0 … 43"),
        ({"rows": list(range(13))}, SpecError, "rows: found 13, expected at most 12"),
        ({"rows": [1], "class_name": "Linear"}, SpecError, "rows together with a class or a split"),
        ({"rows": [1], "split": "val"}, SpecError, "rows together with a class or a split"),
        (
            {"class_name": "Zigzag"},
            SpecError,
            "class: found 'Zigzag', expected one of Linear, Circular, Helical, Parabolic",
        ),
        ({"split": "dev"}, SpecError, "split: found 'dev', expected one of train, val, test"),
    ],
)
def test_what_cannot_be_chosen_is_refused(
    samples: Samples, choice: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=re.escape(message)):
        choose_rows(samples, **choice)


def test_a_class_without_samples_in_the_split_is_refused():
    samples = open_samples(
        DatasetSpec.from_fields(samples=5, frames=2, height=8, width=8, train=1.0, val=0.0, test=0.0)
    )
    with pytest.raises(SpecError, match="found no sample of class Linear in the split val among the 5 rows"):
        choose_rows(samples, class_name="Linear", split="val")
    with pytest.raises(SpecError, match="found no sample in the split test among the 5 rows"):
        choose_rows(samples, split="test")


def test_a_huge_dataset_is_searched_at_its_beginning_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choose, "ROWS_SEARCHED_MAX", 3000)
    fields: dict[str, Any] = {"samples": 10**12, "frames": 2, "height": 8, "width": 8}
    samples = open_samples(DatasetSpec.from_fields(**fields))
    assert len(choose_rows(samples, split="val")) == 4
    none = open_samples(DatasetSpec.from_fields(**fields, train=1.0, val=0.0, test=0.0))
    with pytest.raises(SpecError, match="found no sample in the split val among the first 3,000 rows"):
        choose_rows(none, split="val")


def test_more_classes_than_can_be_shown(monkeypatch: pytest.MonkeyPatch, tiny_spec: DatasetSpec):
    monkeypatch.setattr(choose, "ROWS_MAX", 3)
    assert ROWS_MAX > 3
    assert len(choose_rows(open_samples(tiny_spec))) == 3


def test_an_unfinished_store_shows_what_is_written(tiny_copy: Path):
    (tiny_copy / "video_written" / "c.0").unlink()
    reader = open_samples(tiny_copy)
    chosen = choose_rows(reader)
    first = (
        int(np.argmax(reader.column("split", range(8, 44)) == 0)) + 8
    )  # of the split train, which groups share
    assert chosen == tuple(
        first + row for row in np.argsort(reader.column("class_label", range(first, first + 4)))
    )
    assert choose_rows(reader, [3]) == (3,)  # reading it says that it is not written
    with pytest.raises(
        SpecError, match="no sample of class Linear in the split val among the written 36 rows"
    ):
        _without(reader, "val")


def _without(reader: Samples, split: str) -> None:
    """Choose of a split that no written row belongs to."""
    with pytest.MonkeyPatch.context() as patch:
        real = reader.column
        patch.setattr(reader, "column", lambda name, rows: real(name, rows) * (0 if name == "split" else 1))
        choose_rows(reader, class_name="Linear", split=split)


def test_labels_that_are_not_written_yet_are_left_out(tiny_copy: Path):
    (tiny_copy / "labels_written" / "c.0").unlink()
    with pytest.raises(IncompleteStoreError, match="no row is written yet; go on with: trajstore build"):
        choose_rows(open_samples(tiny_copy))


def test_specs_are_read_from_files(tmp_path: Path, tiny_spec: DatasetSpec):
    (tmp_path / "a.toml").write_text("[dataset]\nseed = 5\n[video]\nframes = 3\n")
    (tmp_path / "a.json").write_text(json.dumps(tiny_spec.model_dump(mode="json")))
    toml, as_json = open_samples(tmp_path / "a.toml"), open_samples(str(tmp_path / "a.json"))
    assert isinstance(toml, SampleGenerator)
    assert (toml.spec.dataset.seed, toml.spec.video.frames) == (5, 3)
    assert as_json.spec == tiny_spec
    assert name_of(toml) == "a.toml (not built yet)"
    with pytest.raises(RowRangeError, match=r"a\.toml: row 10000 is out of range"):
        choose_rows(toml, [10_000])


def test_a_store_may_be_called_like_a_spec(tiny_copy: Path):
    store = tiny_copy.rename(tiny_copy.with_name("a.toml"))
    reader = open_samples(store)
    assert isinstance(reader, StoreReader)
    assert name_of(reader) == "a.toml"


def test_what_is_neither_store_nor_spec_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match=r"spec file .*b\.toml: No such file"):
        open_samples(tmp_path / "b.toml")
    with pytest.raises(NotAStoreError):
        open_samples(tmp_path / "b.zarr")


def test_a_store_in_a_bucket_is_called_by_its_last_part(tiny_spec: DatasetSpec):
    location = Location.parse("s3://bucket/some/a.toml", {"region": "x"})
    reader = StoreReader(StoreHandle(storage_at(location), StoreAttributes.created(tiny_spec)))
    assert name_of(reader) == "a.toml"


def test_where_to_go_on_is_told_with_the_options(tiny_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch):
    location = Location.parse("s3://bucket/a.zarr", {"region": "x"})
    reader = StoreReader(StoreHandle(storage_at(location), StoreAttributes.created(tiny_spec)))
    monkeypatch.setattr(reader, "written_rows", lambda *_, within: ())
    with pytest.raises(
        IncompleteStoreError, match=r"trajstore build s3://bucket/a\.zarr --storage-option region=x"
    ):
        choose_rows(reader)
