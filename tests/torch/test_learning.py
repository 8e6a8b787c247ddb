"""That what is stored can be learned: labels belong to their frames, and nothing else gives them away."""

from __future__ import annotations

from pathlib import Path

import pytest

import trajstore
from examples.train_classifier import train

pytestmark = pytest.mark.torch


def test_small_net_learns_the_classes(tmp_path: Path):
    trajstore.build(tmp_path / "small.zarr", samples=600, cameras=2, frames=16, height=24, width=24)
    # by chance 25 %, and more than 40 % in one of ten thousand runs
    assert train(tmp_path / "small.zarr", epochs=4) > 0.5
