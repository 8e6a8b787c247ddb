"""Clips that are compressed while they are drawn, against the same clips drawn and nothing else."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Zstd
from support.interpreted import digest_otherwise
from support.worlds import EVERYTHING
from zstandard import ZstdCompressor

from trajstore.scene.scene import Scene, make_scene
from trajstore.spec import PATTERNS, SHAPES, DatasetSpec

SMALL = {"samples": 40, "frames": 5, "horizon": 1, "cameras": 2, "height": 24, "width": 30}

WORLDS: dict[str, dict[str, Any]] = {
    "the default": {},
    "one camera, odd sizes": {"cameras": 1, "height": 33, "width": 47},
    "one pixel": {"height": 1, "width": 1},
    "a row": {"height": 1, "width": 90},
    "a column": {"height": 90, "width": 1},
    "one frame": {"frames": 1},
    "larger than a block": {"height": 300, "width": 300, "frames": 2},
    "bodies that stand still": {"distractors": 5},
    "bodies that come and go": {"transients": [3, 5], "shapes": SHAPES},
    "bodies that move and cross": {
        "distractors": 6,
        "motion": ["Bouncing"],
        "shapes": SHAPES,
        "radius": [0.1, 0.4],
    },
    "bodies that fill the picture": {"radius": [0.3, 0.5], "margin": -0.5, "distractors": 3},
    "patterns": {"patterns": PATTERNS},
    "blurred": {"blur": [0.2, 0.9], "distractors": 2},
    "moving cameras": {"orbit": [10, 30], "azimuth_jitter": 5.0},
}


def describe(**fields: Any) -> Scene:
    return make_scene(DatasetSpec.from_fields(**{**SMALL, **fields}), range(8))


def check(scene: Scene, index: int, chunk: tuple[int, int]) -> int:
    """Compare a row's frames with its pictures; their bytes."""
    video = scene.spec.video
    drawn = np.empty((video.cameras, video.frames, 3, video.height, video.width), np.uint8)
    scene.draw(index, slice(None), slice(None), drawn)
    chunks = drawn.reshape(-1, chunk[0], video.frames // chunk[1], chunk[1], *drawn.shape[2:]).swapaxes(1, 2)
    frames = scene.compress(index, chunk)
    assert frames is not None
    wanted = chunks.reshape(-1, *chunk, *drawn.shape[2:])
    assert len(frames) == len(wanted)
    for frame, clip in zip(frames, wanted, strict=True):
        assert bytes(Zstd().decode(frame)) == clip.tobytes()
    return sum(map(len, frames))


@pytest.mark.parametrize("fields", WORLDS.values(), ids=WORLDS)
def test_compressed_is_what_is_drawn(fields: dict[str, Any]):
    scene = describe(**fields)
    for index in range(8):
        check(scene, index, (1, scene.spec.video.frames))
        check(scene, index, (scene.spec.video.cameras, scene.spec.video.frames))
        check(scene, index, (1, 1))


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32),
            "height": st.integers(1, 80),
            "width": st.integers(1, 80),
            "frames": st.integers(1, 7),
            "cameras": st.integers(1, 3),
            "distractors": st.integers(0, 4),
            "radius": st.sampled_from([(0.05, 0.1), (0.1, 0.5)]),
            "blur": st.sampled_from([0.0, 0.0, 0.5]),
            "patterns": st.sampled_from([(name,) for name in PATTERNS]),
            "motion": st.sampled_from([("Still",), ("RandomWalk",)]),
            "shapes": st.sampled_from([SHAPES, SHAPES[:1]]),
            "margin": st.sampled_from([0.05, -0.6]),
        }
    )
)
def test_compressed_is_what_is_drawn_in_any_world(fields: dict[str, Any]):
    scene = describe(**fields)
    for index in range(2):
        check(scene, index, (1, scene.spec.video.frames))


def test_noise_is_left_to_the_library():
    assert describe(noise=[1.0, 2.0]).compress(0, (1, 5)) is None


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, 1.0),
        ({"distractors": 7}, 1.1),
        ({"distractors": 3, "transients": [0, 3], "shapes": SHAPES}, 1.15),
        ({"height": 256, "width": 256, "frames": 8}, 1.2),
        ({"patterns": PATTERNS}, 1.3),
    ],
    ids=["the default", "still bodies", "bodies that come and go", "large", "patterns"],
)
def test_is_hardly_larger_than_what_the_library_makes(fields: dict[str, Any], most: float):
    scene = describe(**{"height": 64, "width": 64, "frames": 32, "cameras": 4, **fields})
    video, library, own = scene.spec.video, 0, 0
    for index in range(8):
        drawn = np.empty((video.cameras, video.frames, 3, video.height, video.width), np.uint8)
        scene.draw(index, slice(None), slice(None), drawn)
        library += sum(len(ZstdCompressor(level=-1).compress(clip.data)) for clip in drawn)
        own += sum(map(len, scene.compress(index, (1, video.frames)) or ()))
    assert own <= most * library


def test_a_body_that_stands_still_is_stored_once():
    still = {"classes": ["Still"], "height": 64, "width": 64}
    clips, pictures = describe(**still, frames=32), describe(**still, frames=1)
    for index in range(8):
        assert check(clips, index, (1, 32)) < 1.5 * check(pictures, index, (1, 1))


def digest() -> str:
    """Hash of some frames of worlds."""
    state = hashlib.sha256()
    everything = {**EVERYTHING, "noise": 0.0}
    for fields in ({}, everything):
        scene = describe(**{**fields, **SMALL, "frames": 3})
        for index in range(2):
            for frame in scene.compress(index, (1, 3)) or ():
                state.update(frame)
    return state.hexdigest()


def test_compiled_and_interpreted_compress_alike():
    assert digest_otherwise(__file__) == digest()
