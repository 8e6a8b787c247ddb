"""Backgrounds against naive twins; the file also runs, and passes, under ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

import hashlib
import math
from typing import get_args

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from support.interpreted import digest_otherwise

from trajstore.kernels.background import CHECKER, GRADIENT, NOISE, PLAIN, SCRATCH_LINES, paint_background
from trajstore.scene.appearance import choose_looks
from trajstore.scene.background import Backgrounds, choose_backgrounds
from trajstore.spec import DatasetSpec, Pattern

BLACK, WHITE = np.zeros(3, np.uint8), np.full(3, 255, np.uint8)
GUARD = 173
MASK = 2**64 - 1

Picture = NDArray[np.uint8]
colors = arrays(np.uint8, 3)


def paint(
    pattern: int,
    *,
    first: Picture = BLACK,
    second: Picture = WHITE,
    turns: float = 0.0,
    phase: tuple[float, float] = (0.0, 0.0),
    cell_px: float = 5.0,
    key: int = 1,
    size: tuple[int, int] = (12, 15),
) -> Picture:
    """What one camera sees, painted in the middle of a larger array that must stay as it is."""
    height, width = size
    canvas = np.full((1, 5, height + 2, width + 2), GUARD, np.uint8)
    out = canvas[:, 1:4, 1:-1, 1:-1]
    angle = 2.0 * math.pi * turns
    paint_background(
        pattern,
        first,
        second,
        np.array([[math.cos(angle), math.sin(angle)]]),
        np.array([phase]),
        cell_px,
        np.array([key], np.uint64),
        np.full((SCRATCH_LINES, width), np.nan, np.float32),
        out,
    )
    painted = out[0].copy()
    out[:] = GUARD
    assert (canvas == GUARD).all(), "wrote outside of the picture"
    return painted


def make_backgrounds(spec: DatasetSpec, rows: range) -> Backgrounds:
    return choose_backgrounds(spec, rows, choose_looks(spec, rows)[2])


def digest() -> str:
    """Hash of backgrounds of all patterns, fine and coarse, and of how they are chosen."""
    state = hashlib.sha256()
    for pattern in (PLAIN, GRADIENT, CHECKER, NOISE):
        for cell_px in (0.3, 2.5, 7.0):
            first, second = np.array([3, 200, 90], np.uint8), np.array([250, 11, 90], np.uint8)
            fields = {"turns": 0.13, "phase": (0.3, 0.8), "cell_px": cell_px, "key": 2**53 - 1}
            state.update(paint(pattern, first=first, second=second, **fields).tobytes())
    spec = DatasetSpec.from_fields(cameras=2, patterns=list(get_args(Pattern)))
    backgrounds = make_backgrounds(spec, range(8))
    for index in range(8):
        state.update(backgrounds.paint(index, slice(0, 2), 10, 14).tobytes())
    return state.hexdigest()


def test_compiled_and_interpreted_give_the_same_bits():
    assert digest_otherwise(__file__) == digest()


def test_a_pattern_has_the_code_of_its_place_in_the_spec():
    names = dict(
        zip(("plain", "gradient", "checker", "noise"), (PLAIN, GRADIENT, CHECKER, NOISE), strict=True)
    )
    assert [names[name] for name in get_args(Pattern)] == [0, 1, 2, 3]


@given(colors, colors)
def test_a_plain_background_has_the_first_colour(first: Picture, second: Picture):
    assert (paint(PLAIN, first=first, second=second) == first[:, None, None]).all()


@given(
    st.sampled_from([GRADIENT, CHECKER, NOISE]), colors, colors, st.floats(0.0, 1.0),
    st.tuples(st.floats(0.0, 0.999), st.floats(0.0, 0.999)), st.floats(0.05, 40.0), st.integers(0, 2**53 - 1),
)  # fmt: skip
def test_every_pixel_is_a_mixture_of_both_colours(
    pattern: int,
    first: Picture,
    second: Picture,
    turns: float,
    phase: tuple[float, float],
    cell_px: float,
    key: int,
):
    fields = {"turns": turns, "phase": phase, "cell_px": cell_px, "key": key, "size": (7, 9)}
    painted = paint(pattern, first=first, second=second, **fields).astype(int)
    low, high = np.minimum(first, second), np.maximum(first, second)
    assert (painted >= low[:, None, None]).all()
    assert (painted <= high[:, None, None]).all()
    # and of the same mixture in all channels
    share = paint(pattern, **fields)[0] / 255.0
    expected = first[:, None, None] + share * (second.astype(float) - first)[:, None, None]
    assert np.abs(painted - expected).max() <= 1.0


@pytest.mark.parametrize("turns", [0.0, 0.125, 0.25, 0.4, 0.7])
@pytest.mark.parametrize("size", [(12, 15), (1, 9), (1, 1)])
def test_a_gradient_is_linear_from_one_end_of_the_picture_to_the_other(turns: float, size: tuple[int, int]):
    height, width = size
    direction = np.array([math.cos(2.0 * math.pi * turns), math.sin(2.0 * math.pi * turns)])
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    along = direction[0] * u + direction[1] * v
    corners = [direction @ (u, v) for u in (0.0, width) for v in (0.0, height)]
    expected = 255.0 * (along - min(corners)) / (max(corners) - min(corners))
    assert np.abs(paint(GRADIENT, turns=turns, size=size) - expected).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("turns", [0.0, 0.06, 0.2, 0.6])
@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.3, 0.7)])
@pytest.mark.parametrize("cell_px", [2.5, 5.0, 40.0])
def test_a_checker_matches_its_twin(turns: float, phase: tuple[float, float], cell_px: float):
    height, width, rays = 40, 50, 16
    angle = 2.0 * math.pi * turns
    u, v = np.meshgrid((np.arange(width * rays) + 0.5) / rays, (np.arange(height * rays) + 0.5) / rays)
    along = (math.cos(angle) * u + math.sin(angle) * v) / cell_px + phase[0]
    across = (math.cos(angle) * v - math.sin(angle) * u) / cell_px + phase[1]
    is_second = (np.floor(along) + np.floor(across)) % 2 == 1
    covered = is_second.reshape(height, rays, width, rays).mean(axis=(1, 3))
    found = paint(CHECKER, turns=turns, phase=phase, cell_px=cell_px, size=(height, width))[0] / 255.0

    # a soft edge is one pixel wide across, a pixel reaches half a diagonal: 0.2 px more
    assert np.abs(found - covered).max() <= 0.3
    assert np.abs(found - covered).mean() <= 0.03 * (5.0 / cell_px)
    to_edge = np.minimum(*(np.abs(place - np.rint(place)) * cell_px for place in (along, across)))
    is_inside = to_edge.reshape(height, rays, width, rays).min(axis=(1, 3)) > 0.5
    assert is_inside.any() or cell_px < 3.0
    np.testing.assert_array_equal(found[is_inside], covered[is_inside])


def test_fields_smaller_than_pixels_are_grey():
    fine = paint(CHECKER, turns=0.1, cell_px=0.2, size=(30, 30))[0].astype(float)
    assert np.abs(fine - 127.5).max() <= 255.0 * 0.5 * 0.2**2 + 1.0


def hash_twin(value: int) -> int:
    """The hash of 64 bits, with Python's integers."""
    value ^= 0x9E3779B97F4A7C15
    for _ in range(5):
        product = (value % 2**32) * 0xD256D193
        low, high = product % 2**32, product >> 32
        value = (low << 32 | high) ^ (value >> 32)
    return value


def sample_noise_twin(u: float, v: float, *, key: int, phase: tuple[float, float], cell_px: float) -> float:
    """Value noise at one place in px: three octaves of smoothly interpolated lattices."""
    total = 0.0
    for octave in range(3):
        distance = max(cell_px / 2**octave, 2.0)
        x, y = u / distance + phase[0], v / distance + phase[1]
        column, line = math.floor(x), math.floor(y)
        value = 0.0
        for i in (0, 1):
            for j in (0, 1):
                point = hash_twin(hash_twin(key ^ octave) ^ (line + j << 32) ^ (column + i)) / 2**64
                near_x, near_y = 1.0 - abs(x - column - i), 1.0 - abs(y - line - j)
                value += point * near_x**2 * (3.0 - 2.0 * near_x) * near_y**2 * (3.0 - 2.0 * near_y)
        total += value / 2**octave
    return total / 1.75


@pytest.mark.parametrize("cell_px", [0.4, 3.0, 9.0, 60.0])
def test_noise_matches_its_twin(cell_px: float):
    fields = {"key": 987654321, "phase": (0.35, 0.9), "cell_px": cell_px}
    found = paint(NOISE, **fields)[0]
    for row, column in np.ndindex(12, 15):
        expected = 255.0 * sample_noise_twin(column + 0.5, row + 0.5, **fields)
        assert abs(found[row, column] - expected) <= 0.5 + 1e-3


def test_noise_is_smooth_and_uses_the_whole_range():
    grains = (
        np.array([paint(NOISE, cell_px=16.0, key=key, size=(48, 48))[0] for key in range(20)], float) / 255.0
    )
    # the steepest a smooth step of 1 can be is 1.5 a distance; so much, halved and twice as often, from each octave
    steepest = 1.5 / 16.0 * (1.0 + 1.0 + 1.0) / 1.75
    for axis in (1, 2):
        assert np.abs(np.diff(grains, axis=axis)).max() <= steepest + 1 / 255.0
    assert grains.mean() == pytest.approx(0.5, abs=0.03)
    assert grains.min() < 0.1
    assert grains.max() > 0.9


def test_other_keys_give_other_noise():
    grains = np.array(
        [paint(NOISE, cell_px=4.0, key=key, size=(64, 64))[0].ravel() for key in range(12)], float
    )
    # a grain of 4 px has about 16 px: 256 of them are independent
    assert np.abs(np.corrcoef(grains) - np.eye(12)).max() < 5.0 / math.sqrt(256)


def test_rows_choose_their_backgrounds_uniformly_and_however_they_are_cut():
    spec = DatasetSpec.from_fields(seed=5, cameras=3, patterns=["noise", "plain", "checker"], cell=(0.1, 0.5))
    whole = make_backgrounds(spec, range(3000))
    counts = np.bincount(whole.pattern, minlength=4)
    assert counts[GRADIENT] == 0
    assert np.abs(counts[[NOISE, PLAIN, CHECKER]] - 1000).max() < 5.0 * math.sqrt(3000 * 2 / 9)
    deciles, _ = np.histogram(whole.cell, bins=10, range=(0.1, 0.5))
    assert deciles.sum() == 3000
    assert np.abs(deciles - 300).max() < 5.0 * math.sqrt(270)
    np.testing.assert_allclose(np.linalg.norm(whole.direction, axis=-1), 1.0, rtol=0, atol=1e-15)
    assert len(np.unique(whole.key)) == 9000
    part = make_backgrounds(spec, range(1200, 1210))
    for name in ("pattern", "first_color", "second_color", "cell", "direction", "phase", "key"):
        assert getattr(part, name).tobytes() == getattr(whole, name)[1200:1210].tobytes()


def test_a_background_is_the_same_painted_for_all_cameras_or_for_some():
    spec = DatasetSpec.from_fields(cameras=4, patterns=["gradient", "checker", "noise"])
    backgrounds = make_backgrounds(spec, range(12))
    assert set(backgrounds.pattern.tolist()) == {GRADIENT, CHECKER, NOISE}
    for index in range(12):
        whole = backgrounds.paint(index, slice(None), 20, 24)
        assert whole.shape == (4, 3, 20, 24)
        for cameras in (slice(0, 1), slice(1, 3), slice(3, 4)):
            np.testing.assert_array_equal(backgrounds.paint(index, cameras, 20, 24), whole[cameras])
        # each camera sees another part or another turn of it
        assert len({picture.tobytes() for picture in whole}) == 4


def test_a_cell_is_a_share_of_the_shorter_side():
    spec = DatasetSpec.from_fields(cameras=1, patterns=["checker"], cell=0.25)
    backgrounds = make_backgrounds(spec, range(1))
    for size in ((40, 60), (60, 40)):
        picture = backgrounds.paint(0, slice(None), *size)[0]
        turns = math.atan2(*backgrounds.direction[0, 0, ::-1]) / (2.0 * math.pi)
        expected = paint(
            CHECKER, first=backgrounds.first_color[0], second=backgrounds.second_color[0], turns=turns,
            phase=tuple(backgrounds.phase[0, 0]), cell_px=10.0, size=size,
        )  # fmt: skip
        assert np.abs(picture.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("ambient", "contrast"), [(0.4, 40), (0.4, 81), (0.3, 1), (1.0, 1), (1.0, 115)])
@pytest.mark.parametrize("pattern", ["gradient", "checker", "noise"])
def test_every_pixel_of_a_background_keeps_the_contrast_with_the_object_in_any_light(
    ambient: float, contrast: int, pattern: str
):
    spec = DatasetSpec.from_fields(
        cameras=2, height=8, width=8, ambient=ambient, contrast=contrast, patterns=[pattern]
    )
    rows = range(150 if numba.config.DISABLE_JIT == 0 else 10)
    _, object_color, first_color = choose_looks(spec, rows)
    backgrounds = choose_backgrounds(spec, rows, first_color)
    assert not (backgrounds.second_color == first_color).all()
    for index in range(len(rows)):
        pixels = backgrounds.paint(index, slice(None), 8, 8).astype(int).transpose(0, 2, 3, 1).reshape(-1, 3)
        brightest = object_color[index].astype(int)
        darkest = np.floor(ambient * brightest + 0.5)
        difference = np.maximum(darkest - pixels, pixels - brightest)
        # in one channel for all pixels, wherever in the picture the object is
        assert difference.min(axis=0).max() >= contrast


@pytest.mark.parametrize(("ambient", "contrast"), [(0.4, 40), (0.3, 1), (1.0, 1), (1.0, 60)])
def test_whatever_both_colours_mix_to_keeps_the_contrast(ambient: float, contrast: int):
    spec = DatasetSpec.from_fields(cameras=1, ambient=ambient, contrast=contrast, patterns=["noise"])
    _, object_color, first_color = choose_looks(spec, range(20_000))
    second_color = choose_backgrounds(spec, range(20_000), first_color).second_color
    darkest, brightest = np.floor(ambient * object_color + 0.5), object_color.astype(float)
    low, high = np.minimum(first_color, second_color), np.maximum(first_color, second_color)
    assert np.maximum(darkest - high, low - brightest).max(axis=1).min() >= contrast
