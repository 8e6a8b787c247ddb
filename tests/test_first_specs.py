"""What people try first: each spec of the page "Specs to try" works, and each word that is no field is answered."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import trajstore
from trajstore.errors import SpecError
from trajstore.spec import DatasetSpec
from trajstore.spec_words import ABSENT, FIELDS, PAGE, SYNONYMS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
SPECS = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
WORDS = re.findall(r"^\| (`.*`) \| (.*) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("text", SPECS)
def test_a_spec_of_the_page_builds_is_sound_and_can_be_seen(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)  # where the family of the example can be imported
    spec = DatasetSpec.from_mapping(tomllib.loads(text)).replace(samples=4)
    if spec.video.height < 256:
        spec = spec.replace(height=spec.video.height // 2, width=spec.video.width // 2)
    trajstore.build(tmp_path / "store.zarr", spec)
    assert trajstore.verify(tmp_path / "store.zarr").is_sound
    trajstore.preview(tmp_path / "store.zarr", [0], output=tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def refuse(spec: dict[str, Any]) -> str:
    """The line with which a spec is refused."""
    with pytest.raises(SpecError) as refused:
        DatasetSpec.from_mapping(spec)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("word", SYNONYMS)
def test_a_word_that_is_no_field_is_answered_wherever_it_is_written(word: str):
    section, _, name = word.rpartition(".")
    for place in [section] if section else ["dataset", "bodies"]:
        expected = SYNONYMS.get(f"{place}.{name}", SYNONYMS[word])
        assert refuse({place: {name: 1}}) == f"spec: {place}.{name}: unknown field; {expected}"
    if not section:
        shouted = word.upper().replace("_", "-")
        assert refuse({word: {"count": 1}}) == f"spec: {word}: unknown field; {SYNONYMS[word]}"
        assert refuse({shouted: 1}) == f"spec: {shouted}: unknown field; {SYNONYMS[word]}"
        with pytest.raises(SpecError, match=f"unknown field {word!r}; {re.escape(SYNONYMS[word])}$"):
            DatasetSpec.from_fields(**{word: 1})


def test_words_that_are_answered_are_no_fields_and_what_they_are_answered_with_is():
    fields = {".".join(path) for path, _ in DatasetSpec().walk()}
    names = {name for field in fields for name in field.split(".")}
    assert not SYNONYMS.keys() & (fields | names)
    assert len(SYNONYMS) == sum(words.count(",") + 1 for words in (*FIELDS.values(), *ABSENT.values()))
    sections = "|".join(DatasetSpec.model_fields)
    named = re.findall(rf"\b(?:{sections})\.(?!md)\w+", " ".join([*FIELDS, *ABSENT]))
    assert named
    assert set(named) <= fields


def test_the_page_has_all_words():
    table = {answer.replace("`", ""): words.replace("`", "") for words, answer in WORDS}
    assert {
        answer: words for answer, words in table.items() if answer in {*FIELDS, *ABSENT}
    } == FIELDS | ABSENT


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"bodies": {"shapes": "cube"}}, "bodies.shapes: found 'cube', expected a list in square brackets"),
        (
            {"bodies": {"shapes": ["mesh"]}},
            "bodies.shapes.0: found 'mesh', expected one of sphere, cube, cylinder, cone",
        ),
        (
            {"sensor": {"noise": "gaussian"}},
            "sensor.noise: found 'gaussian', expected a number, or the smallest and largest in square brackets",
        ),
        *[
            (
                {"dataset": {"weights": weights}},
                f"dataset.weights: found {weights}, expected whole numbers in the ",
            )
            for weights in ([0.7, 0.1, 0.1, 0.1], {"Linear": 7})
        ],
    ],
)
def test_a_value_that_people_try_is_refused_with_what_is_expected(spec: dict[str, Any], expected: str):
    assert refuse(spec).startswith(f"spec: {expected}")


def test_a_field_that_is_misspelt_in_python_is_suggested_by_its_own_name():
    with pytest.raises(
        SpecError, match=r"unknown field 'frame', expected some of .*; did you mean frames\?$"
    ):
        DatasetSpec.from_fields(frame=3)
