"""Settings as TOML: whatever is written is read back as it was."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trajstore.toml import format_value

plain = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
names = st.from_regex("[a-z_]{1,8}", fullmatch=True)
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=6)


@given(values)
def test_any_value_is_read_back_as_it_was(value: Any):
    again = tomllib.loads(f"value = {format_value(value)}")["value"]
    assert (again, type(again)) == (value, type(value))
