"""The arithmetic that decides rows: accurate, exact where exactness is promised, and free of BLAS."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trajstore.kernels.portable import norm, rotate, sin_cos_turns

ACCURACY = 3e-16
"""A unit in the last place just below 1 is 1.1e-16; the reference itself is off by one."""

coordinates = st.floats(-1e3, 1e3)


def reference_sin_cos(turns: float) -> tuple[float, float]:
    """Sine and cosine of turns, reduced to an eighth of a turn with exact fractions."""
    exact = Fraction(turns)
    quarter = round(4 * exact)
    angle = 2.0 * math.pi * float(exact - Fraction(quarter, 4))
    sine, cosine = math.sin(angle), math.cos(angle)
    return [(sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine)][quarter % 4]


@given(st.floats(-1e9, 1e9) | st.floats(-2.0, 2.0))
def test_sin_cos_is_accurate(turns: float):
    sine, cosine = sin_cos_turns(np.array(turns))
    assert [float(sine), float(cosine)] == pytest.approx(reference_sin_cos(turns), rel=0, abs=ACCURACY)


def test_sin_cos_is_accurate_all_around():
    turns = np.linspace(-3.0, 3.0, 20_001)
    expected = np.array([reference_sin_cos(turn) for turn in turns.tolist()])
    np.testing.assert_allclose(np.stack(sin_cos_turns(turns), axis=-1), expected, rtol=0, atol=ACCURACY)


@given(st.integers(-(2**40), 2**40))
def test_quarter_turns_are_exact_and_zero_is_positive(quarters: int):
    sine, cosine = sin_cos_turns(np.array([quarters / 4.0]))
    assert sine.tolist() == [[0.0, 1.0, 0.0, -1.0][quarters % 4]]
    assert cosine.tolist() == [[1.0, 0.0, -1.0, 0.0][quarters % 4]]
    assert not np.signbit(sine[sine == 0.0]).any()
    assert not np.signbit(cosine[cosine == 0.0]).any()


@given(st.floats(-1e6, 1e6))
def test_sine_is_odd_and_cosine_even(turns: float):
    sine, cosine = sin_cos_turns(np.array([turns, -turns]))
    assert sine[0] == -sine[1]
    assert cosine[0] == cosine[1]


def test_a_value_does_not_depend_on_its_neighbours():
    turns = np.random.default_rng(0).uniform(-2.0, 2.0, 1001)
    together = np.stack(sin_cos_turns(turns))
    alone = np.stack([np.ravel(sin_cos_turns(np.array([turn]))) for turn in turns], axis=-1)
    assert together.tobytes() == alone.tobytes()


@given(arrays(np.float64, (5, 3), elements=coordinates))
def test_norm_is_the_euclidean_length(vectors: np.ndarray):
    expected = [math.sqrt(math.fsum(x * x for x in vector)) for vector in vectors.tolist()]
    np.testing.assert_allclose(norm(vectors), expected, rtol=1e-15, atol=1e-160)


@given(arrays(np.float64, (3, 3), elements=coordinates), arrays(np.float64, (4, 3), elements=coordinates))
def test_rotate_is_the_matrix_product(matrix: np.ndarray, vectors: np.ndarray):
    expected = [
        [math.fsum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix] for vector in vectors
    ]
    np.testing.assert_allclose(rotate(matrix, vectors), expected, rtol=0, atol=1e-9)


def test_rotate_adds_from_left_to_right():
    matrix = np.array([[1e16, 1.0, -1e16]] * 3)
    assert rotate(matrix, np.ones(3)).tolist() == [0.0, 0.0, 0.0]
    matrix = np.array([[1e16, -1e16, 1.0]] * 3)
    assert rotate(matrix, np.ones(3)).tolist() == [1.0, 1.0, 1.0]
