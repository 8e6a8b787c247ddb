"""What `pip show` and errors say about the package is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "trajstore").rglob("*.py")}


def test_the_metadata_name_who_made_it():
    assert PROJECT["authors"] == [{"name": "The trajstore developers"}]


def test_hints_name_extras_that_there_are_and_no_index():
    for path, text in SOURCES.items():
        assert "pip install trajstore" not in text, path
        assert "trajstore[" not in text, path
        for extra in re.findall(r"explain_install\(['\"](\w+)|extra=\"(\w+)\", what", text):
            assert set(extra) - {""} <= PROJECT["optional-dependencies"].keys(), (path, extra)


def test_errors_name_no_file_that_an_installation_lacks():
    for path, text in SOURCES.items():
        if path.name != "schemas.py":
            assert "schemas/" not in text, path
