"""The matrix products of a dense layer, and whole networks, against their twins: in every size, in every build that runs here."""

import itertools
import math

import numpy as np
import pytest
import reference
from plans import DTYPES, dense_all, eps

import backprop as bp

SIZES = [1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 64, 65, 127, 300]
# Every size in every place, once beside small others and once beside large; and what the engine treats in its own way:
# sums longer than 256 and 512, rows of 2 KiB and more, batches beyond 128 and 1024 rows.
SHAPES = [
    *((SIZES[i], SIZES[i - 5], SIZES[i - 11]) for i in range(len(SIZES))),
    *((size, size, size) for size in (1, 2, 3, 31, 64, 127)),
    (5, 257, 9), (33, 600, 31), (40, 257, 256), (31, 3, 512), (129, 13, 513), (128, 513, 40), (260, 5, 1030),
    (1025, 7, 3), (2049, 3, 17), (2, 1, 700), (64, 1030, 1), (1, 700, 600),
]  # fmt: skip


def products_of_integers(core, batch, n_in, n_out, dtype):
    """Small whole numbers: every sum is exact in whatever order, so a single number missed or met twice shows."""
    rng = np.random.default_rng(batch * n_in + n_out)
    x, w, b, dy = (
        rng.integers(-4, 5, shape).astype(dtype) for shape in ((batch, n_in), (n_in, n_out), n_out, (batch, n_out))
    )
    kept = [array.copy() for array in (x, w, b, dy)]
    ix, iw, idy = (array.astype(np.int64) for array in (x, w, dy))  # BLAS has been seen to warn of nothing
    for bias in b, None:
        y, dx, dw, db = dense_all(core, x, w, bias, dy)
        assert np.array_equal(y, ix @ iw + (0 if bias is None else b))
        assert np.array_equal(dx, idy @ iw.T)
        assert np.array_equal(dw, ix.T @ idy)
        assert bias is None or np.array_equal(db, dy.sum(axis=0))
    assert all(np.array_equal(*pair) for pair in zip(kept, (x, w, b, dy), strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "n_in", "n_out"), SHAPES)
def test_products_of_integers_are_exact(core, batch, n_in, n_out, dtype):
    products_of_integers(core, batch, n_in, n_out, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_products_of_integers_are_exact(core, dtype):
    for batch, n_in, n_out in itertools.product((1, 2, 3, 4, 6, 7, 9), (1, 2, 4, 5, 9), range(1, 10)):
        products_of_integers(core, batch, n_in, n_out, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (33, 65, 17), (64, 600, 31), (31, 13, 513), (300, 31, 10)])
def test_dense_is_its_twin_to_rounding(core, shape, dtype):
    batch, n_in, n_out = shape
    rng = np.random.default_rng(1)
    x, w, b, dy = (rng.normal(size=s).astype(dtype) for s in ((batch, n_in), (n_in, n_out), n_out, (batch, n_out)))
    found = dense_all(core, x, w, b, dy)
    twins = reference.dense_forward(x, w, b), *reference.dense_backward(x, w, dy)
    # The bound of Higham, "Accuracy and Stability of Numerical Algorithms", eq. 3.5, for sums in any order.
    sizes = reference.dense_forward(abs(x), abs(w), abs(b)), *reference.dense_backward(abs(x), abs(w), abs(dy))
    for got, twin, size, terms in zip(found, twins, sizes, (n_in + 1, n_out, batch, batch), strict=True):
        assert (abs(got - twin) <= terms * eps(dtype) * size).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 2, 31, 129, 1030])
def test_a_network_is_its_twin(batch, dtype):
    net = bp.Sequential([
        bp.Dropout(0.1), bp.Dense(5, 33, "tanh", bias_init="he_normal"), bp.Dropout(0.5), bp.Dense(33, 7),
        bp.Activation("leaky_relu"), bp.Activation("softmax"), bp.Dense(7, 3, "sigmoid", use_bias=False),
        bp.Activation("relu"),
    ], rng=3, dtype=dtype)  # fmt: skip
    rng = np.random.default_rng(4)
    x, dy = rng.normal(size=(batch, 5)).astype(dtype), rng.normal(size=(batch, 3)).astype(dtype)
    for step in range(2):
        y, dx = net.forward(x), net.backward(dy)
        found = reference.forward_rows(net.layers, x, net.seed, step)
        twin_dx, twin_gradients = reference.backward_rows(net.layers, x, found, dy, net.seed, step)
        near = 200 * eps(dtype)
        np.testing.assert_allclose(y, found[-1][1], rtol=near, atol=near)
        np.testing.assert_allclose(dx, twin_dx, rtol=near, atol=near)
        np.testing.assert_allclose(net.gradients, twin_gradients, rtol=near, atol=near * math.sqrt(batch))
