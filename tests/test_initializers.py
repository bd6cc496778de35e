"""Initial weights: their variance and shape are those of the papers, and the same in both types."""

import math

import numpy as np
import pytest

from backprop import initializers

N_IN, N_OUT = 200, 300
VARIANCE = {"glorot": 2 / (N_IN + N_OUT), "he": 2 / N_IN, "lecun": 1 / N_IN}


def filled(name, dtype="float64"):
    array = np.full((N_IN, N_OUT), np.nan, dtype)
    initializers.fill(array, name, N_IN, N_OUT, np.random.default_rng(0))
    return array


def test_these_are_all():
    assert {*initializers.NAMES} == {
        "zeros",
        *(f"{name}_{shape}" for name in VARIANCE for shape in ("uniform", "normal")),
        "siren_first", "siren",
    }  # fmt: skip


@pytest.mark.parametrize("name", VARIANCE)
def test_a_uniform_one_fills_its_interval(name):
    weights, limit = filled(f"{name}_uniform"), math.sqrt(3 * VARIANCE[name])
    assert 0.999 * limit < abs(weights).max() <= limit
    assert abs(weights.mean()) < 0.01 * limit and weights.var() == pytest.approx(VARIANCE[name], rel=0.02)
    np.testing.assert_allclose(np.percentile(weights, [25, 50, 75]), [-limit / 2, 0, limit / 2], atol=0.02 * limit)


@pytest.mark.parametrize("name", VARIANCE)
def test_a_normal_one_is_not_truncated(name):
    weights, deviation = filled(f"{name}_normal"), math.sqrt(VARIANCE[name])
    assert abs(weights.mean()) < 0.02 * deviation and weights.var() == pytest.approx(VARIANCE[name], rel=0.02)
    shares = [(abs(weights) > k * deviation).mean() for k in (1, 2, 3)]
    np.testing.assert_allclose(shares, [math.erfc(k / math.sqrt(2)) for k in (1, 2, 3)], rtol=0.2)


@pytest.mark.parametrize("name", initializers.NAMES)
def test_both_types_have_the_same_numbers(name):
    np.testing.assert_array_equal(filled(name, "float32"), filled(name).astype("float32"))
    assert name != "zeros" or not filled(name).any()
