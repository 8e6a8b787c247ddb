"""Compile a part of the kernels: `python compile_kernels.py worlds|annotations`."""

import sys
import tempfile
from pathlib import Path

import trajstore

EXAMPLES = Path(__file__).parents[2] / "examples" / "specs"
SMALL = {"samples": 2, "frames": 2, "samples_per_shard": 2}


def compile_worlds(folder: Path) -> None:
    """Compile what draws several bodies, patterns, noise, blur and cameras that move."""
    for name in ("clutter", "moving-cameras"):
        spec = trajstore.DatasetSpec.from_file(EXAMPLES / f"{name}.toml").replace(**SMALL)
        trajstore.build(folder / f"{name}.zarr", spec, workers=1)


def compile_annotations(folder: Path) -> None:
    """Compile what draws one sphere, and what annotates."""
    store = folder / "default.zarr"
    trajstore.build(store, height=16, width=16, workers=1, **SMALL)
    trajstore.annotate(store, "segmentation", "depth_map", "flow", "normals", "amodal", "tracks", workers=1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        {"worlds": compile_worlds, "annotations": compile_annotations}[sys.argv[1]](Path(temporary))
