"""Captions: right, grammatical, and the same however the rows are cut."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import trajstore
from trajstore.errors import RowRangeError
from trajstore.scene.captions import _name_color, captions
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.trajectories import FAMILIES

VARIED: dict[str, Any] = {
    "classes": list(FAMILIES),
    "shapes": ["sphere", "cube", "cylinder", "cone"],
    "distractors": (0, 2),
    "transients": (0, 2),
    "clearance": 0.3,
    "frames": 6,
    "patterns": ["plain", "gradient", "checker", "noise"],
    "motion_labels": True,
    "height": 16,
    "width": 16,
}
SPECS: dict[str, dict[str, Any]] = {
    "default": {},
    "varied": VARIED,
    "orbiting": VARIED | {"orbit": (20.0, 50.0), "cameras": 2},
    "one orbiting camera": {"orbit": 30.0, "cameras": 1},
    "one frame": VARIED | {"frames": 1, "transient_frames": 1},
    "large": {"radius": (0.99999999, 0.999999999)},
}

GRAMMAR = re.compile(
    r"(A|An) (small |large )?(dark )?[a-z]+ (sphere|cube|cylinder|cone) [a-z].*? "
    r"in front of a (dark|bright) (plain|gradient|checkered|noisy) background"
    r"(, with \d distractors?( and \d transients?)?|, with \d transients?)?"
    r", seen by (1 (orbiting )?camera|\d+ (orbiting )?cameras)\."
)

WORDS = {
    "Linear": "moves along a straight line",
    "Circular": "moves along a circular arc of {turns}",
    "Helical": "flies along a {hand}-handed helix of {turns}",
    "Parabolic": "flies along a parabolic arc {sagitta:.2f} times as high as it is wide",
    "Bouncing": "bounces like a ball with a restitution of {restitution:.2f}",
    "Pendulum": "makes {swings} like a pendulum, by up to {amplitude:.0f} degrees",
    "RandomWalk": "wanders along a random walk",
    "Still": "stays still",
}


@pytest.mark.parametrize("name", SPECS)
def test_sentences_are_grammatical_however_the_rows_are_cut(name: str):
    spec = DatasetSpec.from_fields(seed=5, **SPECS[name])
    found = captions(spec, range(300))
    for text in found:
        assert GRAMMAR.fullmatch(text), text
        assert text.startswith("An ") == (re.split(r"An? ", text, maxsplit=1)[1][0] in "aeiou")
        assert not re.search(r"nan|inf\b|  | ,|,,|(?<![.\d])1 \w+s\b|\.0 ", text), text
        for number, noun in re.findall(r"([\d.]+) (turn|swing|distractor|transient)\b", text):
            assert number == "1", (text, noun)
    assert captions(spec, range(40, 75)) == found[40:75]
    assert [trajstore.caption(spec, row) for row in (0, 299)] == [found[0], found[-1]]
    assert captions(spec, range(5, 5)) == []


def test_sentences_say_what_the_labels_say():
    spec = DatasetSpec.from_fields(seed=2, **VARIED)
    rows = range(16, 216)
    columns = make_scene(spec, rows).columns
    for index, text in enumerate(captions(spec, rows)):
        of = {name: float(columns[name][index]) for name in spec.dataset.parameters}
        counted: dict[str, Any] = {}
        for name in ("turns", "swings"):
            number = f"{of[name]:.1f}".removesuffix(".0")
            counted[name] = f"{number} {name.removesuffix('s') if number == '1' else name}"
        hand = "right" if of["hand"] > 0 else "left"
        family = spec.dataset.classes[columns["class_label"][index]]
        assert WORDS[family].format(**of | counted | {"hand": hand}) in text
        assert spec.bodies.shapes[columns["body_shape"][index, 0]] in text
        for role, noun in ((1, "distractor"), (2, "transient")):
            count = int((columns["body_role"][index] == role).sum())
            assert (f"{count} {noun}" in text) if count else (noun not in text)
        pattern = ("plain", "gradient", "checkered", "noisy")[columns["background_pattern"][index]]
        assert f"{pattern} background" in text
        assert (
            "dark" if columns["background_color"][index].max() < 128 else "bright"
        ) + f" {pattern}" in text
        way = columns["position"][index, -1] - columns["position"][index, 0]
        slope = way[2] / max(np.linalg.norm(way), 1e-9)
        trend = "rising" if slope > 0.2 else "falling" if slope < -0.2 else "ending about as high as it began"
        assert (trend in text) == (family != "Still")


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((255, 0, 0), "red"),
        ((255, 0, 20), "red"),
        ((120, 0, 0), "maroon"),
        ((250, 140, 0), "orange"),
        ((120, 65, 0), "brown"),
        ((240, 240, 10), "yellow"),
        ((20, 200, 30), "green"),
        ((0, 120, 120), "teal"),
        ((10, 10, 130), "navy"),
        ((240, 80, 240), "magenta"),
        ((255, 255, 255), "white"),
        ((120, 120, 120), "gray"),
        ((0, 0, 0), "black"),
    ],
)
def test_colours_have_names(color: tuple[int, int, int], name: str):
    assert _name_color(np.array(color, np.uint8)) == name


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_that_is_not_there_is_refused(row: int):
    with pytest.raises(RowRangeError, match=f"row {row} is out of range, expected 0 … 9"):
        trajstore.caption(DatasetSpec.from_fields(samples=10), row)


def test_captions_need_no_compiler():
    program = (
        "import sys, trajstore; trajstore.caption(trajstore.DatasetSpec(), 3); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
