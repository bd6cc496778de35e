"""Initial weights: their variance and shape are those of the papers, and the same in both types."""

import math

import numpy as np
import pytest

import backprop as bp
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
        "normal",
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


def test_the_standard_one_is_normal():
    weights = filled("normal")
    assert weights.std() == pytest.approx(1, rel=0.02) and abs(weights.mean()) < 0.02 and abs(weights).max() > 3.5
    net = bp.Sequential([bp.Dense(200, 300, weight_init="zeros", bias_init="normal")], rng=0)
    assert not net[0].weight.any() and net[0].bias.std() == pytest.approx(1, rel=0.15)


# By the data.


def spread(net, x, name):
    """z of a dense operation."""
    return net._before_activation(name, net._inputs.rows(x)).astype(np.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_dense_layer_has_z_of_one_size_and_0_among_the_rows(dtype):
    x = np.random.default_rng(0).normal(30, [1, 200, 1e-3], (6000, 3))
    net = bp.Sequential([
        bp.Dense(3, 40, "selu"), bp.Residual([bp.Dense(40, 20, "mish"), bp.Dense(20, 40)]), bp.Dropout(0.5),
        bp.Concatenate([[bp.ParametricActivation("relu")], [bp.Dense(40, 5)]]), bp.Dense(45, 60),
    ], rng=0, dtype=dtype)  # fmt: skip
    initializers.data_driven(net, x[:4096], rng=1)
    names = [operation.name for operation in net.graph if operation.kind == "dense"]
    assert names == ["0", "1.0", "1.1", "3.1.0", "4"]
    for name in names:
        z = spread(net, x[:4096], name)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)
        assert (z.min(axis=0) < 0).all() and (z.max(axis=0) > 0).all()  # 0 is a mean of rows
        bias = net.graph[name].parameters["bias"]
        assert 0.3 < (z.mean(axis=0)).std() < 0.8, name  # of a mean of five, with weights of mean square 1/3
        assert abs(z.mean(axis=0).mean()) < 0.5 and abs(bias).max() > 0
    other = bp.Sequential([bp.Dense(3, 40, "selu"), bp.Dense(40, 1)], rng=5, dtype=dtype)
    again = bp.Sequential([bp.Dense(3, 40, "selu"), bp.Dense(40, 1)], rng=6, dtype=dtype)
    for it in other, again:
        initializers.data_driven(it, x, rng=3)
    assert np.array_equal(other.parameters, again.parameters)  # of more than 4,096 rows, the same


def test_what_data_driven_leaves_alone_and_refuses():
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 1] = 0
    net = bp.Sequential([bp.Dense(3, 4, use_bias=False), bp.Scale(), bp.Dense(4, 2)], rng=0)
    net[2].trainable, before = False, net[2].weight.copy()
    initializers.data_driven(net, x, rng=0)
    assert np.array_equal(net[2].weight, before) and np.isfinite(net.parameters).all()
    assert not np.allclose(net[0].weight, bp.Sequential([bp.Dense(3, 4)], rng=0)[0].weight)
    initializers.data_driven(bp.Sequential([bp.Dense(3, 2)], rng=0), np.zeros((5, 3)), rng=0)  # nothing to divide by
    for call, says in (
        (lambda: initializers.data_driven(net, x[:, :2]), r"x: expected an array of shape \(batch, 3\), got \(50, 2\)"),
        (lambda: initializers.data_driven(net, x[:0]), "x: expected at least one row"),
        (lambda: initializers.data_driven(net, np.full((2, 3), np.nan)), "x: expected finite numbers"),
    ):
        with pytest.raises(ValueError, match=says):
            call()
    with pytest.raises(TypeError, match="net: expected a network, a Sequential, got 3"):
        initializers.data_driven(3, x)


@pytest.mark.parametrize("name", initializers.NAMES)
def test_both_types_have_the_same_numbers(name):
    np.testing.assert_array_equal(filled(name, "float32"), filled(name).astype("float32"))
    assert name != "zeros" or not filled(name).any()
