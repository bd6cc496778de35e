"""Each activation and its derivative against its plain twin, far out, and wherever in an array a number lies."""

import itertools
import math

import numpy as np
import pytest
import reference
from instances import ACTIVATIONS, layouts
from plans import DTYPES, dense, dense_all, eps, predict


def is_its_twin(f, z, y):
    """Whether y is the twin's, to rounding; in a tail the twin, which is in double, loses what z has lost, and in the
    engine a subnormal y is zero."""
    twin = reference.activation_forward(f.name, f.slope, z)
    lost = eps("float64") * abs(z * reference.activation_backward(f.name, f.slope, z, twin, np.ones_like(z)))
    near = (10 + z.shape[1]) * (eps(z.dtype) * abs(twin) + lost) + float(np.finfo(z.dtype).tiny)
    return (abs(y - twin) <= near).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_twins(core, name, dtype):
    f, rng = ACTIVATIONS[name], np.random.default_rng(0)
    for rows, n in itertools.product((1, 3), (1, 2, 3, 7, 8, 17, 31, 64, 65, 1031)):
        z, dy = (rng.normal(scale=3, size=(rows, n)).astype(dtype) for _ in range(2))
        z[0, ::5] = 0
        y, dz, kept = z.copy(), dy.copy(), dy.copy()
        core.activate(core.ACTIVATIONS[f.name], f.slope, y)
        assert is_its_twin(f, z, y), (rows, n)
        before = y.copy(), z.copy()
        core.activate_backward(core.ACTIVATIONS[f.name], f.slope, y, dz, z)
        assert np.array_equal(y, before[0]) and np.array_equal(z, before[1])
        twin = reference.activation_backward(f.name, f.slope, z, y, kept)
        size = np.maximum(abs(kept).max(axis=1, keepdims=True), abs(twin))
        assert (abs(dz - twin) <= (10 + n) * eps(dtype) * size).all(), (rows, n)


def test_a_derivative_is_taken_from_z_where_y_does_not_tell(core):
    assert {name for name, code in core.ACTIVATIONS.items() if code in core.NEEDS_Z} == reference.NEEDS_Z
    y = np.ones((3, 5))
    for name, code in core.ACTIVATIONS.items():
        if name in reference.NEEDS_Z:
            with pytest.raises(ValueError, match="expected z"):
                core.activate_backward(code, 0.0, y, y.copy())
        else:
            with_z, without = np.full((2, 3, 5), 0.7)
            core.activate_backward(code, 0.0, y, with_z, y)
            core.activate_backward(code, 0.0, y, without)
            assert np.array_equal(with_z, without)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_number_gives_the_same_bits_wherever_it_lies(core, name, dtype):
    f, rng = ACTIVATIONS[name], np.random.default_rng(3)
    code = core.ACTIVATIONS[f.name]
    z = (rng.normal(size=(630, 1)) * rng.choice([0.1, 1, 5, 30, 300], (630, 1))).astype(dtype)
    dy = rng.normal(size=z.shape).astype(dtype)
    if "softmax" in name:  # there, a row does
        z, dy = np.repeat(z, 9, axis=1) + dy, np.repeat(dy, 9, axis=1)

    def apart(n):
        """So many rows at a time."""
        y, dz = z.copy(), dy.copy()
        for r in range(0, len(z), n):
            rows = slice(r, r + n)
            core.activate(code, f.slope, y[rows])
            core.activate_backward(code, f.slope, y[rows], dz[rows], z[rows])
        return y, dz

    together = apart(len(z))
    for n in 1, 3, 5, 7, 9, 14:
        assert all(np.array_equal(a, b) for a, b in zip(apart(n), together, strict=True)), n


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dense_ends_in_its_activation(core, name, dtype):
    for batch, n_in, n_out in (1, 1, 1), (5, 3, 7), (17, 8, 33), (130, 5, 65), (33, 2, 1030):
        f, rng = ACTIVATIONS[name], np.random.default_rng(2)
        x, w, b, dy = (rng.normal(size=s).astype(dtype) for s in ((batch, n_in), (n_in, n_out), n_out, (batch, n_out)))
        z = predict(dense(core, x, w, b, f.name, f.slope)[0], x, n_out, logits=True)
        assert np.array_equal(z, dense_all(core, x, w, b, dy)[0])
        y, dx, dw, db = dense_all(core, x, w, b, dy, f.name, f.slope)
        assert is_its_twin(f, z, y), (batch, n_in, n_out)
        dz = reference.activation_backward(f.name, f.slope, z, y, dy)
        size = abs(dy) + abs(dz)
        sizes = reference.dense_backward(abs(x), abs(w), size)
        for got, twin, bound in zip((dx, dw, db), reference.dense_backward(x, w, dz), sizes, strict=True):
            assert (abs(got - twin) <= (10 + batch + n_out) * eps(dtype) * bound).all(), (batch, n_in, n_out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_out(core, dtype):
    most = float(np.finfo(dtype).max)
    far = np.array([[1000, -1000, 0, -0.0, np.inf, -np.inf, most, -most]], dtype)
    sines, cosines = ([f(z) if math.isfinite(z) else math.nan for z in far[0].tolist()] for f in (math.sin, math.cos))
    passing, left = [1000, 0, 0, 0, np.inf, 0, most, 0], -1.7580993408473766
    expected = {
        "sigmoid": [1, 0, 0.5, 0.5, 1, 0, 1, 0], "tanh": [1, -1, 0, 0, 1, -1, 1, -1], "relu": passing,
        "elu": [1000, -1, 0, 0, np.inf, -1, most, -1],
        "selu": [1050.7009873554804, left, 0, 0, np.inf, left, np.inf, left],
        "gelu": passing, "gelu_tanh": passing, "silu": passing, "mish": passing,
        "softplus": [1000, 0, math.log(2), math.log(2), np.inf, 0, most, 0],
        "softsign": [1000 / 1001, -1000 / 1001, 0, 0, 1, -1, 1, -1], "hard_sigmoid": [1, 0, 0.5, 0.5, 1, 0, 1, 0],
        "hard_tanh": [1, -1, 0, 0, 1, -1, 1, -1], "exp": [np.inf, 0, 1, 1, np.inf, 0, np.inf, 0],
        "sin": sines, "cos": cosines,
    }  # fmt: skip
    slopes = {
        "sigmoid": [0, 0, 0.25, 0.25, 0, 0], "tanh": [0, 0, 1, 1, 0, 0], "relu": [1, 0, 0, 0, 1, 0],
        "elu": [1, 0, 1, 1, 1, 0], "selu": [1.0507009873554804, 0, -left, -left, 1.0507009873554804, 0],
        "gelu": [1, 0, 0.5, 0.5, 1, 0], "gelu_tanh": [1, 0, 0.5, 0.5, 1, 0], "silu": [1, 0, 0.5, 0.5, 1, 0],
        "mish": [1, 0, 0.6, 0.6, 1, 0], "softplus": [1, 0, 0.5, 0.5, 1, 0], "softsign": [1 / 1001**2, 1 / 1001**2, 1, 1, 0, 0],
        "hard_sigmoid": [0, 0, 1 / 6, 1 / 6, 0, 0], "hard_tanh": [0, 0, 1, 1, 0, 0],
        "exp": [np.inf, 0, 1, 1, np.inf, 0],
        "sin": np.delete(cosines, [4, 5]), "cos": -np.delete(sines, [4, 5]),
    }  # fmt: skip
    others = {"identity", "leaky_relu", "softmax", "log_softmax"}
    assert expected.keys() == slopes.keys() == core.ACTIVATIONS.keys() - others
    for name, y in expected.items():
        z = far.copy()
        core.activate(core.ACTIVATIONS[name], 1.0, z)
        np.testing.assert_allclose(z[0], y, rtol=4 * eps(dtype), atol=0, err_msg=name)
        y, z, dz = (np.delete(array, [4, 5], axis=1) for array in (z, far, np.ones_like(far)))
        core.activate_backward(core.ACTIVATIONS[name], 1.0, y, dz, z)
        np.testing.assert_allclose(dz[0], slopes[name], rtol=1000 * eps(dtype), atol=2 * eps(dtype), err_msg=name)
    # What is not a number stays so: a diverging run must show.
    for name in core.ACTIVATIONS:
        z = np.array([[np.nan] * 9], dtype)
        core.activate(core.ACTIVATIONS[name], 0.5, z)
        assert np.isnan(z).all(), name


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_hand_leave_their_argument(name):
    z = np.random.default_rng(8).normal(size=(4, 5))
    expected = ACTIVATIONS[name](z)
    for how, given in layouts(z).items():
        before = np.array(given)
        assert np.array_equal(ACTIVATIONS[name](given), expected), how
        assert np.array_equal(before, given)
    assert ACTIVATIONS[name](z.astype("float32")).dtype == "float32"
