"""Choosing rows of a store, and finding those that are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.export_faults import TINY

import trajstore
from trajstore.errors import SpecError
from trajstore.reading.rows import parse_rows


@given(st.integers(-2, 30), st.integers(-2, 30), st.integers(1, 25))
def test_rows_are_a_slice_inside_the_store(first: int, stop: int, samples: int) -> None:
    if 0 <= first < stop <= samples:
        assert parse_rows(f"{first}:{stop}", samples=samples) == range(first, stop)
    else:
        with pytest.raises(SpecError, match="expected a:b"):
            parse_rows(f"{first}:{stop}", samples=samples)


@pytest.mark.parametrize("text", ["", "3", "1:2:3", "a:b", "1-2", " 1:2", "20:"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="rows: found"):
        parse_rows(text, samples=20)


@pytest.mark.parametrize(
    "rows", [range(2, 9), slice(2, 9), (2, 9), (np.int64(2), np.int64(9)), "2:9"], ids=repr
)
def test_rows_may_be_anything_that_python_calls_a_slice(rows: Any) -> None:
    assert parse_rows(rows, samples=20) == range(2, 9)
    assert parse_rows(slice(None, 9), samples=20) == range(9)
    assert parse_rows(slice(2, None), samples=20) == range(2, 20)


@pytest.mark.parametrize(
    "rows",
    [5, (1,), (0, 4, 8), ("0", "4"), (0.0, 4.0), range(0, 8, 2), slice(0, 8, 2), range(-3, 4), [2, 9]],
)
def test_nonsense_is_one_line(rows: Any) -> None:
    with pytest.raises(SpecError) as refused:
        parse_rows(rows, samples=20)
    assert str(refused.value).startswith(f"rows: found {rows!r}, expected a:b with 0 ≤ a < b ≤ 20")


def test_written_rows_are_those_with_all_flags(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    trajstore.build(path, **TINY)
    reader = trajstore.open_reader(path)
    for index in (0, 2, 3):
        (path / f"video_written/c.{index}").unlink()
        unwritten = {shard for shard in (0, 2, 3) if shard <= index}
        for wanted in (range(44), range(3, 29), range(17, 18), range(43, 44)):
            found = [row for rows in reader.written_rows(within=wanted) for row in rows]
            assert found == [row for row in wanted if row // 8 not in unwritten]
    assert reader.written_rows("box") == (range(44),)
    (path / "labels_written/c.0").unlink()
    assert reader.written_rows() == ()


def test_more_digits_than_python_reads_are_refused() -> None:
    with pytest.raises(SpecError, match="rows: found"):
        parse_rows(f"0:{'9' * 5000}", samples=9)
