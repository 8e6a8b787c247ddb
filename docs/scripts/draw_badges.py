"""Draw the badges of the README from pyproject.toml: ``python docs/scripts/draw_badges.py [FOLDER]``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
LETTER = 6.6
"""Width of a letter, px; the text is fitted to it, whichever font a reader has."""

BADGE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{name}: {value}">
<title>{name}: {value}</title>
<clipPath id="round"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#round)">
<rect width="{middle}" height="20" fill="#444"/>
<rect x="{middle}" width="{right}" height="20" fill="#3f51b5"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="6" y="14" textLength="{name_length}">{name}</text>
<text x="{value_start}" y="14" textLength="{value_length}">{value}</text>
</g>
</svg>
"""


def draw_badge(name: str, value: str) -> str:
    """A badge as SVG."""
    left, right = round(len(name) * LETTER), round(len(value) * LETTER)
    return BADGE.format(
        name=name,
        value=value,
        width=left + right + 24,
        middle=left + 12,
        right=right + 12,
        name_length=left,
        value_start=left + 18,
        value_length=right,
    )


def draw_badges(folder: Path) -> None:
    """Draw all badges."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [line.split()[-1] for line in project["classifiers"] if "Python :: 3." in line]
    badges = {"version": project["version"], "python": " | ".join(versions), "license": project["license"]}
    for name, value in badges.items():
        (folder / f"badge-{name}.svg").write_text(draw_badge(name, value), encoding="utf-8")


if __name__ == "__main__":
    draw_badges(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
