"""Numbers as people read them: never off by more than their last digit, never too long; and lines that fit."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.text import fit, format_bytes, format_count, format_seconds, wrap

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}


@given(st.integers(0, 10**17))
def test_bytes_have_three_digits_and_the_right_size(size: int):
    number, unit = format_bytes(size).split()
    assert float(number) * UNITS[unit] == pytest.approx(size, rel=0.0051)
    assert unit == "PB" or float(number) < 1000.0
    if unit not in {"B", "PB"}:
        assert len(number.replace(".", "")) == 3


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 KB"),
        (999_499, "999 KB"),
        (999_500, "1.00 MB"),
        (99_950, "100 KB"),
    ],
)
def test_bytes_at_the_edges(size: int, text: str):
    assert format_bytes(size) == text


@given(st.integers(0, 10**15))
def test_counts_are_exact(count: int):
    text = format_count(count)
    assert int(text.replace(",", "")) == count
    assert re.fullmatch(r"\d{1,3}(,\d{3})*", text)


def parse_seconds(text: str) -> float:
    units = {"s": 1.0, "min": 60.0, "h": 3600.0}
    words = text.split()
    return sum(float(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))


@given(st.floats(0.0, 1e6))
def test_seconds_are_right_to_their_last_unit(seconds: float):
    text = format_seconds(seconds)
    last_unit = 60.0 if " h " in text else 1.0 if " min " in text else 0.1
    assert abs(parse_seconds(text) - seconds) <= last_unit
    assert not re.search(r"\b60(\.0)? (s|min)", text)


WORD = st.text("ab:;`", min_size=1, max_size=8).filter(lambda word: word.count("`") % 2 == 0)
LINE = st.tuples(
    st.sampled_from(["", "  size     ", "      "]), st.lists(WORD, max_size=20).map(" ".join)
).map("".join)


@given(st.lists(LINE, max_size=4).map("\n".join), st.integers(22, 60))
def test_wrapped_lines_fit_and_keep_their_words(text: str, width: int):
    wrapped = wrap(text, width)
    assert wrapped.split() == text.split()
    assert max(map(len, wrapped.split("\n"))) <= width
    assert wrap(wrapped, width) == wrapped
    assert wrap(text, max(map(len, text.split("\n")))) == text


def test_a_command_is_not_broken():
    command = "trajstore build 'a store.zarr' --samples 10 --seed 3"
    assert command in wrap(
        f"trajstore: interrupted; 3 of 10 samples are written; continue with: {command}", 50
    )
    assert "`a b c d`" in wrap("word word word `a b c d`", 10)


def test_a_file_gets_lines_as_they_are():
    line = "word " * 100
    assert fit(line, io.StringIO()) == line
