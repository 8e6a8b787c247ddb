"""What each feature of the world costs: samples a second, bytes a sample and memory, beside the default; in one run.

Run it on a quiet machine::

    python tests/benchmarks/world_speed.py [--samples 1500] [--rounds 3] [--against FOLDER] [DIRECTORY]

Each figure is a median over the rounds, in which the specs take turns, each in a process of its own that has built
once before, so that nothing is compiled while it is timed. ``--against`` names a checkout of another commit: its
default takes turns with ours.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from checkouts import HERE, Figures, add_against, build, find_median, find_ratio, take_turns

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write (a temporary folder by default)")
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    add_against(parser)
    parser.add_argument("--only", nargs="*", help="only worlds with one of these in their names")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    runs: dict[str, tuple[Path, dict[str, Any]]] = {}
    if arguments.against:
        runs["default, the other commit"] = (arguments.against.resolve(), WORLDS["default"])
    for name, fields in WORLDS.items():
        if arguments.only is None or name == "default" or any(part in name for part in arguments.only):
            runs[name] = (HERE, fields)
    path, samples = folder / "store.zarr", {"samples": arguments.samples}

    def measure_one(checkout: Path, fields: dict[str, Any]) -> Figures:
        figures = build(checkout, path, samples | fields)
        shutil.rmtree(path)
        return figures

    found = take_turns(arguments.rounds, {name: partial(measure_one, *run) for name, run in runs.items()})

    print(f"{arguments.samples:,} samples, median of {arguments.rounds} rounds\n")
    print(f"{'world':<34}{'samples/s':>10}{'x time of default':>20}{'KB a sample':>13}{'peak MB':>9}")
    for name in runs:
        rate, size, peak = (find_median(found[name], key) for key in ("rate", "bytes", "peak"))
        ratio = find_ratio(found["default"], found[name], "rate")
        print(f"{name:<34}{rate:>10,.0f}{ratio:>20.2f}{size / 1e3:>13,.1f}{peak:>9,.0f}")


if __name__ == "__main__":
    main()
