"""Arrays of any layout, and of no rows: the same bits, and nothing is modified."""

import numpy as np
import pytest
import reference
from instances import layouts
from plans import DTYPES, dense, predict

import backprop as bp

#: The numbers that some losses have in their formula.
NUMBERS = {"huber": (0.7,), "quantile": (0.2, 0.5, 0.9), "cross_entropy": (0.1,), "focal": (2.0, 0.3, 0.7, 0.0)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rows(core, dtype):
    w = np.ones((3, 2), dtype)
    made, _ = dense(core, w.T.copy(), w)
    assert predict(made, np.empty((0, 3), dtype), 2).shape == (0, 2)
    for shape in (0, 3), (3, 0), (0, 0):
        y = np.empty(shape, dtype)
        for name in core.ACTIVATIONS:
            core.activate(core.ACTIVATIONS[name], 0.0, y)
            core.activate_backward(core.ACTIVATIONS[name], 0.0, y, y.copy(), y)
        y_hat = np.empty((shape[0], 6 * shape[1]), dtype)
        for name, code in core.LOSSES.items():
            kind = code, False, NUMBERS.get(name, ())
            targets = np.empty((shape[0], core.loss_target_width(kind, y_hat.shape[1])), dtype)
            core.loss(kind, y_hat, targets, None, None, 1.0, np.empty(shape[0]), y_hat.copy())
    assert core.all_finite(np.empty(0, dtype))
    core.permutation(1, 2, np.empty(0, np.int64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 17, 64, 1031])
def test_all_finite_is_its_twin(core, n, dtype):
    x = np.random.default_rng(0).normal(size=n).astype(dtype)
    assert core.all_finite(x) is reference.all_finite(x.tolist()) is True
    for at in {0, n // 2, n - 1}:
        for bad in np.nan, np.inf, -np.inf:
            wrong = x.copy()
            wrong[at] = bad
            assert core.all_finite(wrong) is reference.all_finite(wrong.tolist()) is False
    info = np.finfo(dtype)
    assert core.all_finite(np.array([info.max, info.min, info.smallest_subnormal, -0.0], dtype))


def uses(net, x, y, weights):
    """Every way a network takes arrays from outside, as numbers to compare."""
    loss = bp.MeanSquaredError()
    fresh = bp.Sequential(eval(repr(list(net.layers)), vars(bp)), rng=1, dtype=net.dtype)
    history = fresh.fit(x, y, loss=loss, optimizer=bp.Adam(), epochs=2, batch_size=3, sample_weight=weights, rng=1)
    y_hat = net.forward(x)
    value, dy = loss(y_hat, y, weights)
    gradient = net.value_and_gradient(x, y, loss, sample_weight=weights)
    scores = net.evaluate(x, y, loss=loss, metrics=["mse", "mae", "r2", "rmse"], sample_weight=weights)
    return [
        net.predict(x), net.predict(x, batch_size=2), y_hat, value, dy, net.backward(dy), net.gradients.copy(),
        *gradient, list(scores.values()), fresh.parameters, history["loss"],
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_changes_no_bit_and_nothing_is_modified(dtype):
    rng = np.random.default_rng(6)
    x, y, weights = rng.normal(size=(7, 5)).astype(dtype), rng.normal(size=(7, 3)).astype(dtype), rng.random((7, 1))
    net = bp.Sequential([bp.Dense(5, 9, "tanh"), bp.Dense(9, 3)], rng=7, dtype=dtype)
    expected = uses(net, x, y, weights[:, 0])
    ways = layouts(x), layouts(y), layouts(weights)
    for how in ways[0]:
        given = [way[how] for way in ways]
        given[2] = [row[0] for row in given[2]] if how == "lists" else given[2][:, 0]
        before = [np.array(array) for array in given]
        for got, wanted in zip(uses(net, *given), expected, strict=True):
            assert np.array_equal(got, wanted), how
        assert all(np.array_equal(a, b) for a, b in zip(before, given, strict=True)), how
