"""A trajstore of the future: the installed one under a later version, whose spec has a field and a section more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import trajstore

VERSION = "0.9.0"

CHANGES = {
    '    """What moves, and how far."""\n': """
    wobble: Annotated[float, Since("0.9")] = 0.0
    \"\"\"A field that nothing reads.\"\"\"
""",
    "    storage: StorageSection = StorageSection()\n": """
    weather: Annotated[WeatherSection, Since("0.9")] = WeatherSection()
""",
    "\n\nclass DatasetSpec(_Section):\n": None,
}
"""From a place in ``spec.py`` to what is added after it; the section itself goes before the spec."""

SECTION = '''

class WeatherSection(_Section):
    """A section that nothing reads."""

    drops: int = 0
    """A number."""
'''


def make_future(folder: Path) -> Path:
    """Make a folder that stands for an installation of the future trajstore; all but the spec is linked."""
    package = Path(trajstore.__file__).parent
    (folder / "trajstore").mkdir(parents=True)
    for path in package.iterdir():
        if path.name not in ("spec.py", "__pycache__"):
            (folder / "trajstore" / path.name).symlink_to(path)
    text = (package / "spec.py").read_text(encoding="utf-8")
    for place, addition in CHANGES.items():
        assert text.count(place) == 1, f"{place!r} is no longer a place in spec.py"
        text = text.replace(place, SECTION + place if addition is None else place + addition)
    (folder / "trajstore" / "spec.py").write_text(text, encoding="utf-8")
    described = folder / f"trajstore-{VERSION}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: trajstore\nVersion: {VERSION}\n")
    return folder


def run_in_future(installation: Path, script: str, *arguments: object) -> Any:
    """Run a script with a future trajstore; what it prints is JSON."""
    result = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(installation)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
