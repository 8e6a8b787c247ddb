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

INK: Final = "#1A1A1A"
QUIET: Final = "#595959"
SHADOW: Final = "#A6A6A6"
FAINT: Final = "#C8C8C8"
PAPER: Final = "#FFFFFF"

FONT: Final = "DejaVu Sans"
"""Comes with matplotlib, so that pictures are the same everywhere."""
