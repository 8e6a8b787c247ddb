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

INK: Final = "#1A1A1A"
QUIET: Final = "#595959"
SHADOW: Final = "#A6A6A6"
FAINT: Final = "#C8C8C8"
PAPER: Final = "#FFFFFF"

FONT: Final = "DejaVu Sans"
"""Comes with matplotlib, so that pictures are the same everywhere."""
