"""Reports and readers say what they hold, in a terminal and in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import trajstore
from trajstore.reading.generator import SampleGenerator
from trajstore.show import Shown

REPORTS = [
    value
    for name in trajstore.__all__
    if isinstance(value := getattr(trajstore, name), type)
    and name.endswith(("Report", "Summary", "AnnotationList"))
]


class Cells(HTMLParser):
    """The texts of a table's cells, and the elements and attributes that there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def find_type(owner: Any, path: str) -> Any:
    """The type of an attribute of an attribute …, as annotated."""
    for part in path.split("."):
        hints = get_type_hints(owner)
        owner = hints[part] if part in hints else get_type_hints(getattr(owner, part).fget)["return"]
    return owner


@pytest.mark.parametrize("report", REPORTS)
def test_reports_show_attributes_that_they_have(report: type[Shown]):
    assert issubclass(report, Shown)
    assert report.__repr__ is Shown.__repr__, "a dataclass makes its own unless it is told not to"
    for path in report._shown.split():
        assert find_type(report, path) is not None


def test_readers_say_what_they_hold(tiny_store: Path):
    reader = trajstore.open_reader(tiny_store)
    for samples in (reader, SampleGenerator(reader.spec)):
        title, *lines = repr(samples).splitlines()
        shown = dict(line.split(maxsplit=1) for line in lines)
        assert title == type(samples).__name__
        assert shown["location"] == str(samples.location)
        assert shown["spec.dataset.samples"] == "44"
        assert shown["sample_shape"] == "camera 2, frame 4, channel 3, y 16, x 16"
        assert "Helical" in shown["spec.dataset.classes"]
        assert "box" in shown["columns"]
        assert "video" in shown["groups"]
        found = Cells(samples._repr_html_())
        assert found.texts == [title, *(text for pair in shown.items() for text in pair)]
    reader.close()
    assert "44" in repr(reader)


@dataclass(frozen=True, repr=False)
class Example(Shown):
    _shown = "name count none empty found size parts numbers stored_bytes seconds ratio is_done long"
    name: str = "<b>a&b\x1b[2J</b>"
    count: int = 12_345
    none: None = None
    empty: tuple[str, ...] = ()
    found: tuple[object, ...] = (object(), object())
    size: tuple[int, ...] = (2, 3)
    parts: Any = None
    numbers: Any = None
    stored_bytes: int = 1500
    seconds: float = 61.0
    ratio: float = 2.5512
    is_done: bool = True
    long: tuple[str, ...] = ("word",) * 50


def test_values_are_shown_as_people_read_them_and_escaped():
    example = Example(parts={"missing": ("a", "b")}, numbers={"train": 7000, "val": 0})
    cells = Cells(example._repr_html_())
    shown = dict(zip(cells.texts[1::2], cells.texts[2::2], strict=True))
    long = shown.pop("long")
    assert shown == {
        "name": "<b>a&b\\x1b[2J</b>",
        "count": "12,345",
        "empty": "none",
        "found": "2",
        "size": "2, 3",
        "parts": "missing (2)",
        "numbers": "train 7,000, val 0",
        "stored_bytes": "1.50 KB",
        "seconds": "1 min 1 s",
        "ratio": "2.55",
        "is_done": "yes",
    }
    assert long.endswith("word, …")
    assert len(long) <= 100
    assert {tag for tag, _ in cells.elements} == {"table", "caption", "tr", "th", "td"}
    assert "color" not in str(cells.elements)  # the notebook's theme has colours
    assert len(repr(example).splitlines()) == 13


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sheet.SVG", ("img", "data:image/svg+xml;base64,YWJj")),
        ("film.gif", ("img", "data:image/gif;base64,YWJj")),
        ("film.mp4", ("video", "data:video/mp4;base64,YWJj")),
        ("sheet.pdf", None),
    ],
)
def test_a_notebook_shows_the_preview_itself(tmp_path: Path, name: str, expected: tuple[str, str] | None):
    (tmp_path / name).write_bytes(b"abc")
    report = trajstore.PreviewReport(tmp_path / name, (5,), ("Linear",), 3)
    assert report._repr_png_() is None
    cells = Cells(report._repr_html_())
    pictures = [(tag, attributes["src"]) for tag, attributes in cells.elements if "src" in attributes]
    assert pictures == ([expected] if expected else [])
    assert "Linear" in cells.texts
    (tmp_path / name).unlink()
    assert "src" not in report._repr_html_()  # gone: the report still says what it was


def test_a_notebook_shows_a_sheet_as_png_and_no_html_in_its_place(tmp_path: Path):
    for output in (tmp_path / "sheet.png", None):
        report = trajstore.PreviewReport(output, (5,), ("Linear",), 3, b"abc")
        assert (report._repr_png_(), report._repr_html_()) == (b"abc", None)
    assert "Linear" in repr(report)


def test_a_notebook_does_not_take_in_a_huge_film(tmp_path: Path):
    (tmp_path / "film.mp4").write_bytes(b"abc")
    report = trajstore.PreviewReport(tmp_path / "film.mp4", (5,), ("Linear",), 10**9)
    assert "src" not in report._repr_html_()
