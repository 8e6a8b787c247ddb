from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trajstore
from trajstore.errors import RowRangeError, SpecError
from trajstore.pictures.source import open_samples
from trajstore.reading.generator import SampleGenerator
from trajstore.reading.store import StoreReader, open_reader
from trajstore.spec import DatasetSpec


@pytest.fixture(scope="module")
def reader(tiny_store: Path) -> StoreReader:
    return open_reader(tiny_store)


@pytest.fixture(scope="module")
def generator(tiny_spec: DatasetSpec) -> SampleGenerator:
    return SampleGenerator(tiny_spec)


@given(
    choice=st.fixed_dictionaries(
        {
            "rows": st.lists(st.integers(-44, 43), max_size=12),
            "cameras": st.none() | st.lists(st.integers(0, 1), min_size=1, max_size=3),
            "frames": st.none() | st.lists(st.integers(1, 4), min_size=1, max_size=6),
            "threads": st.integers(1, 3),
        }
    )
)
def test_draws_what_is_stored(reader: StoreReader, generator: SampleGenerator, choice: dict[str, Any]):
    np.testing.assert_array_equal(generator.read(**choice), reader.read(**choice))


def test_labels_are_those_stored(reader: StoreReader, generator: SampleGenerator):
    assert generator.columns == reader.columns
    for name in reader.columns:
        for rows in (None, [], [43, 0, -7]):
            found, expected = generator.column(name, rows), reader.column(name, rows)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_whatever_takes_a_spec_takes_it_in_any_form(tmp_path: Path):
    spec = DatasetSpec.from_fields(samples=4, frames=2, height=8, width=8)
    (tmp_path / "spec.toml").write_text(spec.to_toml())
    for form in (spec.model_dump(), tmp_path / "spec.toml"):
        assert SampleGenerator(form).spec == open_samples(form).spec == spec
        assert trajstore.caption(form, 3) == trajstore.caption(spec, 3)
    with pytest.raises(SpecError, match=r"^spec: found list, expected a DatasetSpec"):
        SampleGenerator([spec])


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch, reader: StoreReader, tiny_spec: DatasetSpec):
    monkeypatch.setattr("trajstore.reading.generator.BLOCK_ROWS", 10)
    monkeypatch.setattr("trajstore.reading.generator.BLOCKS_MAX", 2)
    generator = SampleGenerator(tiny_spec)
    rows = [43, 0, 9, 10, 40, 11]
    np.testing.assert_array_equal(generator.read(rows, threads=2), reader.read(rows))
    np.testing.assert_array_equal(generator.column("box"), reader.column("box"))


def test_everything_counts_as_written(generator: SampleGenerator):
    assert generator.written_rows() == (range(44),)
    assert generator.written_rows("video", within=range(3, 9)) == (range(3, 9),)


def test_row_out_of_range(generator: SampleGenerator):
    with pytest.raises(RowRangeError, match="generated samples: row 44 is out of range, expected 0 … 43"):
        generator[44]


def test_pickles_small(generator: SampleGenerator):
    generator.read(range(44))
    data = pickle.dumps(generator)
    assert len(data) < 20_000
    np.testing.assert_array_equal(pickle.loads(data)[5], generator[5])


def test_classes_and_splits_of_some_rows_are_those_of_all(generator: SampleGenerator):
    for name in ("class_label", "split"):
        of_all = generator.column(name)
        for rows in ([43, 40, 41], [-1, 0], [5], list(range(30, 10, -1))):
            np.testing.assert_array_equal(generator.column(name, rows), of_all[rows])


def test_classes_of_a_few_rows_of_a_huge_dataset():
    generator = SampleGenerator(DatasetSpec.from_fields(samples=10**12, frames=2, height=8, width=8))
    assert sorted(generator.column("class_label", range(10**12 - 4, 10**12))) == [0, 1, 2, 3]


def test_cameras_are_those_stored(reader: StoreReader, generator: SampleGenerator):
    for found, expected, shape in zip(
        generator.calibration(), reader.calibration(), [(2, 3, 3), (2, 3, 4)], strict=True
    ):
        assert expected.shape == shape
        np.testing.assert_array_equal(found, expected)
    for name in ("intrinsics", "extrinsics"):
        np.testing.assert_array_equal(
            generator.column(name, [3, 1]), reader.column(name, [3, 1]), strict=True
        )


def test_is_a_sequence_of_samples(reader: StoreReader, generator: SampleGenerator):
    np.testing.assert_array_equal(generator[-3:], reader[-3:])
    assert sum(1 for _ in generator) == 44
