"""What each feature of the world costs: samples a second, bytes a sample and memory, beside the default; in one run.

Run it on a quiet machine::

    python tests/benchmarks/world_speed.py [--samples 1500] [--rounds 3] [--against FOLDER] [DIRECTORY]

Each figure is a median over the rounds, in which the specs take turns, each in a process of its own that has built
once before, so that nothing is compiled while it is timed. ``--against`` names a checkout of another commit: its
default takes turns with ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ALL_SHAPES = ["sphere", "cube", "cylinder", "cone"]
MOVING = ["Linear", "Circular", "Helical", "Parabolic"]
ORBIT = {"orbit": [60, 120], "azimuth_jitter": 20.0, "elevation_jitter": 10.0, "roll_jitter": 10.0}

WORLDS: dict[str, dict[str, Any]] = {
    "default": {},
    "3 bodies": {"distractors": 2, "motion": MOVING},
    "8 bodies": {"distractors": 7, "motion": MOVING},
    "8 bodies, all shapes, tumbling": {
        "distractors": 7, "motion": MOVING, "shapes": ALL_SHAPES, "orientation": "tumbling",
    },
    "1 to 6 transients": {"transients": [1, 6]},
    "gradient": {"patterns": ["gradient"]},
    "checker": {"patterns": ["checker"]},
    "value noise": {"patterns": ["noise"]},
    "sensor noise": {"noise": 2.0},
    "blur": {"blur": 0.5},
    "orbiting cameras": ORBIT,
    "all together": {
        "distractors": 5, "transients": 2, "motion": MOVING, "shapes": ALL_SHAPES, "orientation": "tumbling",
        "patterns": ["gradient", "checker", "noise"], "noise": 2.0, "blur": 0.5, "light_jitter": 20.0, **ORBIT,
    },
}  # fmt: skip

PROGRAM = """
import json, re, shutil, sys, time
from pathlib import Path
import trajstore
folder, fields, rounds = Path(sys.argv[1]), json.loads(sys.argv[2]), 2
for number in range(rounds):
    path = folder / "store.zarr"
    few = {"samples": 8} if number == 0 else {}
    report = trajstore.build(path, **fields | few)
    shutil.rmtree(path)
# not ru_maxrss, which a child inherits from its parent
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1.024e-3
stored = report.summary.total_stored_bytes / report.new_samples
print(json.dumps({"rate": report.new_samples / report.seconds, "bytes": stored, "peak": peak}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--against", type=Path, help="a checkout of another commit, whose default takes turns"
    )
    parser.add_argument("--only", nargs="*", help="only worlds with one of these in their names")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    here = Path(__file__).parents[2]
    runs: dict[str, tuple[Path, dict[str, Any]]] = {}
    if arguments.against:
        runs["default, the other commit"] = (arguments.against.resolve(), WORLDS["default"])
    for name, fields in WORLDS.items():
        if arguments.only is None or name == "default" or any(part in name for part in arguments.only):
            runs[name] = (here, fields)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, (checkout, fields) in runs.items():
            found[name].append(build(folder, checkout, {"samples": arguments.samples} | fields))

    def median(name: str, key: str) -> float:
        return statistics.median(one[key] for one in found[name])

    def ratio(name: str) -> float:
        pairs = zip(found["default"], found[name], strict=True)
        return statistics.median(ours["rate"] / theirs["rate"] for ours, theirs in pairs)

    print(f"{arguments.samples:,} samples, median of {arguments.rounds} rounds\n")
    print(f"{'world':<34}{'samples/s':>10}{'x time of default':>20}{'KB a sample':>13}{'peak MB':>9}")
    for name in runs:
        size, peak = median(name, "bytes") / 1e3, median(name, "peak")
        print(f"{name:<34}{median(name, 'rate'):>10,.0f}{ratio(name):>20.2f}{size:>13,.1f}{peak:>9,.0f}")


def build(folder: Path, checkout: Path, fields: dict[str, Any]) -> dict[str, float]:
    """Build a store in a process of its own."""
    os.sync()
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), json.dumps(fields)],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        cwd=folder,  # what lies in the working folder is imported first
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(output)


if __name__ == "__main__":
    main()
