"""The sensor's noise and shutter, and the hash; the file also runs, and passes, under ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

import hashlib
import math

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from support.interpreted import digest_otherwise

from trajstore.kernels.hashing import mix
from trajstore.kernels.sensor import MEAN, STANDARD_DEVIATION, add_noise
from trajstore.scene.sensor import SUBFRAMES, choose_sensor, open_shutter
from trajstore.spec import DatasetSpec

KEY = np.uint64(0x0012_3456_789A_BCDE)
MIDDLE = 128
LEVEL = np.float32(20.0)
"""At most 4.9 times as much is added to `MIDDLE`: nothing is clipped."""

SIZE = (2, 3, 3, 64, 64) if numba.config.DISABLE_JIT == 0 else (2, 2, 3, 16, 16)

Clip = NDArray[np.uint8]


def make_noise(
    key: np.uint64 = KEY,
    *,
    level: float = LEVEL,
    size: tuple[int, ...] = SIZE,
    first: tuple[int, int] = (0, 0),
) -> NDArray[np.float64]:
    """What is added to grey pictures (cameras, frames, 3, height, width)."""
    clip = np.full(size, MIDDLE, np.uint8)
    add_noise(np.float32(level), key, *first, clip)
    return clip.astype(float) - MIDDLE


def hash_twin(value: int) -> int:
    """The hash of 64 bits, with Python's integers."""
    value ^= 0x9E3779B97F4A7C15
    for _ in range(5):
        product = (value % 2**32) * 0xD256D193
        low, high = product % 2**32, product >> 32
        value = (low << 32 | high) ^ (value >> 32)
    return value


def digest() -> str:
    """Hash of noise of all strengths on all levels."""
    state = hashlib.sha256()
    for level in (0.0, 0.3, 2.0, 25.5, 255.0):
        clip = np.arange(2 * 2 * 3 * 8 * 8, dtype=np.uint8).reshape(2, 2, 3, 8, 8)
        add_noise(np.float32(level), np.uint64(2**53 - 1), 3, 70_000, clip)
        state.update(clip.tobytes())
    return state.hexdigest()


def test_compiled_and_interpreted_give_the_same_bits():
    assert digest_otherwise(__file__) == digest()


def test_the_hash_matches_its_twin():
    values = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15]
    assert [int(mix(np.uint64(value))) for value in values] == [hash_twin(value) for value in values]


def test_each_bit_of_a_number_decides_half_the_bits_of_its_hash():
    values = np.arange(4000, dtype=np.uint64)
    hashed = elementwise(values)
    assert len(np.unique(hashed)) == 4000
    places = np.arange(64, dtype=np.uint64)
    for flipped in range(64):
        changed = hashed ^ elementwise(values ^ (np.uint64(1) << np.uint64(flipped)))
        share = ((changed[:, None] >> places) & np.uint64(1)).mean(axis=0)
        # six standard deviations of 4,000 coins
        assert np.abs(share - 0.5).max() < 6.0 * 0.5 / math.sqrt(4000), flipped


def elementwise(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes of many numbers: the kernel's own code on an array."""
    function = getattr(mix, "py_func", mix)
    return function(values)


def test_noise_matches_its_twin():
    level, size = 30.0, (2, 2, 3, 5, 6)
    found = make_noise(level=level, size=size, first=(1, 40))
    deviation = math.sqrt(8 * (256**2 - 1) / 12)
    for camera, frame, channel, row, column in np.ndindex(size):
        plane = hash_twin(hash_twin(hash_twin(int(KEY) ^ (1 + camera)) ^ (40 + frame)) ^ channel)
        total = sum(hash_twin(plane ^ (row << 32) ^ column).to_bytes(8, "little"))
        expected = level * (total - 8 * 127.5) / deviation
        assert abs(found[camera, frame, channel, row, column] - expected) <= 0.5 + 1e-3


def test_the_constants_are_those_of_the_sum_of_eight_bytes():
    assert float(MEAN) == 8 * np.arange(256).mean()
    assert float(STANDARD_DEVIATION) == pytest.approx(math.sqrt(8 * np.arange(256).var()), rel=1e-7)


@pytest.mark.skipif(numba.config.DISABLE_JIT != 0, reason="millions of values")
@pytest.mark.parametrize("level", [2.0, 5.0, 20.0])
def test_noise_is_nearly_normal_with_the_standard_deviation_asked_for(level: float):
    noise = make_noise(level=level, size=(4, 16, 3, 64, 64)).ravel()
    standardised = noise / math.sqrt(level**2 + 1 / 12)  # rounding adds a twelfth
    # 786,432 values: five standard deviations of each moment
    error = 5.0 / math.sqrt(noise.size)
    assert abs(standardised.mean()) < error
    assert abs(standardised.std() - 1.0) < error
    assert noise.std() == pytest.approx(level, rel=0.012)
    assert abs((standardised**3).mean()) < error * math.sqrt(6.0) * 2.0
    assert (standardised**4).mean() - 3.0 == pytest.approx(-0.15, abs=0.035)


@pytest.mark.skipif(numba.config.DISABLE_JIT != 0, reason="millions of values")
def test_no_value_tells_of_another_at_any_distance():
    noise = make_noise(size=(4, 8, 3, 64, 64)) / float(LEVEL)
    spectrum = np.fft.rfftn(noise)
    correlation = np.fft.irfftn(spectrum * spectrum.conj(), s=noise.shape, axes=tuple(range(5))) / noise.size
    assert correlation.flat[0] == pytest.approx(1.0, abs=0.01)
    # of 393,216 lags, each with a standard deviation of 1/√393,216, none is beyond six of them
    assert np.abs(correlation.ravel()[1:]).max() < 6.0 / math.sqrt(noise.size)
    # nor does its size tell of its neighbours' size
    size = noise**2 - 1.0
    for axis in range(5):
        moved = np.roll(size, 1, axis=axis)
        assert abs((size * moved).mean()) < 5.0 * 1.9 / math.sqrt(noise.size)


@pytest.mark.skipif(numba.config.DISABLE_JIT != 0, reason="millions of values")
def test_no_place_is_brighter_in_all_pictures():
    noise = make_noise(size=(8, 32, 3, 32, 32)) / float(LEVEL)
    # 768 pictures: the mean of a place has a standard deviation of 1/√768, that of a line of 1/√(768 · 32)
    assert np.abs(noise.mean(axis=(0, 1, 2))).max() < 5.0 / math.sqrt(768)
    for axis in (3, 4):
        assert np.abs(noise.mean(axis=(0, 1, 2, axis))).max() < 5.0 / math.sqrt(768 * 32)
    # and the mean of a picture tells nothing of another's
    means = noise.mean(axis=(3, 4)).ravel()
    assert means.std() == pytest.approx(1.0 / 32.0, rel=0.15)


def test_rows_have_noise_of_their_own_however_alike_their_keys():
    keys = [
        KEY,
        *(KEY ^ (np.uint64(1) << np.uint64(bit)) for bit in (0, 1, 5, 31, 32, 52)),
        KEY + np.uint64(1),
    ]
    noise = np.array([make_noise(key).ravel() for key in dict.fromkeys(keys)])
    assert len(noise) >= 7
    assert np.abs(np.corrcoef(noise) - np.eye(len(noise))).max() < 5.0 / math.sqrt(noise.shape[1])


def test_noise_does_not_depend_on_which_cameras_and_frames_are_asked_for():
    whole = make_noise(size=(3, 5, 3, 6, 7))
    for cameras, frames in (
        (range(1), range(5)),
        (range(1, 3), range(2, 4)),
        (range(2, 3), range(4, 5)),
    ):
        part = make_noise(size=(len(cameras), len(frames), 3, 6, 7), first=(cameras.start, frames.start))
        chosen = whole[cameras.start : cameras.stop, frames.start : frames.stop]
        np.testing.assert_array_equal(part, chosen)


def test_noise_is_added_in_place_to_whatever_view_and_to_nothing_else():
    canvas = np.full((2, 2, 3, 8, 9), MIDDLE, np.uint8)
    view = canvas[:, :, :, 1:-1, 1:-1]
    add_noise(LEVEL, KEY, 0, 0, view)
    np.testing.assert_array_equal(view, make_noise(size=view.shape) + MIDDLE)
    view[:] = MIDDLE
    assert (canvas == MIDDLE).all()


def test_without_noise_pictures_stay_as_they_are():
    clip = np.arange(2 * 3 * 8 * 16, dtype=np.uint8).reshape(1, 2, 3, 8, 16)
    assert set(clip.flat) == set(range(256))
    noisy = clip.copy()
    add_noise(np.float32(0.0), KEY, 0, 0, noisy)
    np.testing.assert_array_equal(noisy, clip)


@pytest.mark.parametrize("level", [0, 3, 250, 255])
def test_noise_is_clipped_to_what_a_level_can_be(level: int):
    clip = np.full(SIZE, level, np.uint8)
    add_noise(LEVEL, KEY, 0, 0, clip)
    expected = np.clip(make_noise() + level, 0, 255)
    np.testing.assert_array_equal(clip, expected)
    assert (clip == (0 if level < 128 else 255)).any()


def test_an_open_shutter_sees_the_middles_of_equal_shares_of_its_time():
    assert SUBFRAMES == 8
    moments = open_shutter(np.float32(0.5), range(3)).reshape(3, 8)
    np.testing.assert_allclose(moments.mean(axis=1), [0.0, 1.0, 2.0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(np.diff(moments, axis=1), 0.5 / 8, rtol=0, atol=1e-15)
    assert open_shutter(1.0, range(1), subframes=2).tolist() == [-0.25, 0.25]
    # a shutter that is open all the time leaves no gap from frame to frame
    np.testing.assert_allclose(np.diff(open_shutter(1.0, range(4))), 1.0 / 8, rtol=0, atol=1e-15)
    assert open_shutter(0.0, range(2, 4)).tolist() == [2.0] * 8 + [3.0] * 8


def test_the_moments_of_a_frame_do_not_depend_on_which_frames_are_asked_for():
    whole = open_shutter(np.float32(0.37), range(9))
    assert open_shutter(np.float32(0.37), slice(4, 7)).tobytes() == whole[4 * 8 : 7 * 8].tobytes()


def test_rows_choose_their_sensors_uniformly_and_however_they_are_cut():
    spec = DatasetSpec.from_fields(seed=3, noise=(2.0, 12.0), blur=(0.25, 0.75))
    whole = choose_sensor(spec, range(4000))
    for values, (low, high) in ((whole.noise, (2.0, 12.0)), (whole.shutter, (0.25, 0.75))):
        assert values.dtype == np.float32
        counts, _ = np.histogram(values, bins=10, range=(low, high))
        assert counts.sum() == 4000
        assert np.abs(counts - 400).max() < 5.0 * math.sqrt(360)
    assert abs(np.corrcoef(whole.noise, whole.shutter)[0, 1]) < 5.0 / math.sqrt(4000)
    assert len(np.unique(whole.key)) == 4000
    part = choose_sensor(spec, range(1700, 1720))
    for name in ("noise", "shutter", "key"):
        assert getattr(part, name).tobytes() == getattr(whole, name)[1700:1720].tobytes()


def test_a_sensor_of_a_number_is_the_same_in_all_rows_and_the_default_adds_nothing():
    fixed = choose_sensor(DatasetSpec.from_fields(noise=7.5, blur=0.5), range(50))
    assert set(fixed.noise.tolist()) == {7.5}
    assert set(fixed.shutter.tolist()) == {0.5}
    default = choose_sensor(DatasetSpec(), range(50))
    assert not default.noise.any()
    assert not default.shutter.any()
