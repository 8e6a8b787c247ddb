"""Colours that colour-blind people tell apart, and the typeface.

References
----------
Okabe & Ito, "Color Universal Design", 2008: https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

from typing import Final

PATH: Final = "#0072B2"
"""Where the sphere was: Okabe and Ito's blue."""

FUTURE: Final = "#D55E00"
"""Where it will be: their vermillion."""

BOX: Final = "#009E73"
"""Around its silhouette: their bluish green. Backgrounds are dark or bright, never of its brightness."""

DISTRACTOR: Final = "#808080"
"""Around and along bodies that are there all the time, and only in the way."""

TRANSIENT: Final = "#E69F00"
"""Around bodies that come and go: their orange."""

ROLES: Final = {"target": BOX, "distractor": DISTRACTOR, "transient": TRANSIENT}
"""Colours of boxes, by what a body is there for."""

GROUND: Final = "#1F1F1F"
"""What pixels that see no body are in pictures of annotations."""

TARGET: Final = "#FFFFFF"
"""The target in pictures of annotations, brighter than any other body."""

BODIES: Final = (
    *("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#0072B2"),
    *("#F2CF80", "#AADAF4", "#E6BCD3", "#80CFB9", "#EAAF80", "#80B9D9"),
    *("#8A5F00", "#346C8C", "#7A4964", "#005F45", "#803800", "#00446B"),
)
"""The other bodies there: six of Okabe and Ito's colours, the same half way to white, and darker by two fifths."""

INK: Final = "#1A1A1A"
QUIET: Final = "#595959"
SHADOW: Final = "#A6A6A6"
FAINT: Final = "#C8C8C8"
PAPER: Final = "#FFFFFF"

MARKS: Final = (PAPER, INK, QUIET, PATH, FUTURE, *ROLES.values())
"""What is written and drawn over pictures."""

FONT: Final = "DejaVu Sans"
"""Comes with matplotlib, so that pictures are the same everywhere."""


def to_rgb(color: str) -> tuple[int, int, int]:
    """A colour of the palette as three numbers."""
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue
