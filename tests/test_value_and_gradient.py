"""`value_and_gradient`, and losses and optimizers from elsewhere that use it."""

import numpy as np
import pytest
from runs import QUICK, small, table

import backprop as bp


def own_mse(y_hat, y, weights=None):
    weights = np.ones(len(y)) if weights is None else weights
    share = (weights / weights.sum())[:, None]
    d = y_hat - y
    return float((share * d * d).sum() / d.shape[1]), 2 * share * d / d.shape[1]


def by_either_loss(**how):
    x, y, weights = table(23, "float64")
    runs = []
    for loss in own_mse, bp.MeanSquaredError():
        net, optimizer = small("float64"), bp.Adam(0.01)
        history = net.fit(
            x, y, loss=loss, optimizer=optimizer, epochs=4, batch_size=5, metrics=["mae"],
            validation_data=(x, y, weights), **how,
        )  # fmt: skip
        runs.append([net.parameters, net.steps, net.epochs, *optimizer.state.values(), *history.values()])
    return runs, list(history)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loss_of_ones_own_trains_as_the_built_in(shuffle):
    runs, names = by_either_loss(shuffle=shuffle)
    assert names == ["loss", "mae", "val_loss", "val_mae"]
    for own, built_in in zip(*runs, strict=True):
        np.testing.assert_allclose(own, built_in, rtol=1e-9, atol=1e-12)
    (x, y, weights), net = table(23, "float64"), small("float64")
    for how in {}, {"sample_weight": weights}:
        scores = [net.evaluate(x, y, loss=loss, **how)["loss"] for loss in (own_mse, "mse")]
        assert scores[0] == pytest.approx(scores[1], rel=1e-12)


def test_a_loss_of_ones_own_is_given_the_weights():
    runs, names = by_either_loss(sample_weight=table(23)[2])
    for own, built_in, name in zip(*runs, [""] * (len(runs[0]) - len(names)) + names, strict=True):
        np.testing.assert_allclose(own, built_in, rtol=1e-9, atol=1e-12, err_msg=f"history: {name}" if name else "")


def test_scipy_trains_by_value_and_gradient():
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    x, y, _ = table(60, "float64")
    net = small("float64", dropout=0)

    def objective(parameters):
        net.parameters[...] = parameters
        return net.value_and_gradient(x, y, "mse")

    found = optimize.minimize(objective, net.parameters.copy(), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    assert found.fun < 0.05
    net.parameters[...] = found.x
    assert net.evaluate(x, y, loss="mse")["loss"] == pytest.approx(found.fun, rel=1e-12)
    _, gradient = net.value_and_gradient(x, y, "mse")
    assert np.array_equal(gradient, net.gradients) and gradient is not net.gradients


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [1, 45, 2500])
def test_the_gradient_is_that_of_the_lines_by_hand_bits(rows, weighted, dtype):
    x, y, weights = table(rows, dtype)
    net, weights = small(dtype), weights if weighted else None
    _, gradient = net.value_and_gradient(x, y, "mse", sample_weight=weights)
    _, dy = bp.MeanSquaredError()(net.forward(x), y, weights)
    net.backward(dy)
    assert np.array_equal(gradient, net.gradients)


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_value_is_that_of_the_lines_by_hand_to_the_last_place(reduction, weighted, dtype):
    for rows in 1, 45, 2500:
        x, y, weights = table(rows, dtype)
        net, weights, loss = small(dtype), weights if weighted else None, bp.MeanSquaredError(reduction=reduction)
        value, _ = net.value_and_gradient(x, y, loss, sample_weight=weights)
        by_hand, _ = loss(net.forward(x), y, weights)
        net.steps = 0
        history = net.fit(x, y, loss=loss, optimizer=bp.SGD(0.1), sample_weight=weights, batch_size=None, shuffle=False)
        assert value == by_hand == history["loss"][0], rows


@pytest.mark.parametrize("dtype", QUICK)
def test_large_logits_do_no_harm(dtype):
    # Probabilities of 0 and 1 in either type; under its cross-entropy the last layer is computed on the logits.
    x, z = np.array([[1.0], [-1.0]]), 1000.0
    one = bp.Sequential([bp.Dense(1, 1, "sigmoid")], rng=0, dtype=dtype)
    one.layers[0].weight[...] = z
    two = bp.Sequential([bp.Dense(1, 2, "softmax")], rng=0, dtype=dtype)
    two.layers[0].weight[...] = [[0, z]]
    for net, loss in (one, bp.BinaryCrossEntropy()), (two, bp.CrossEntropy()):
        for y, expected, slope in (([1, 0], 0, 0), ([0, 1], z, 1), ([1, 1], z / 2, 0.5)):
            value, gradient = net.value_and_gradient(x, y, loss)
            assert value == net.evaluate(x, y, loss=loss)["loss"] == expected
            assert abs(gradient[: net.n_out]).max() == slope
            by_hand, dy = loss(net.predict(x), y)
            assert np.isfinite(by_hand) and np.isfinite(dy).all() and (by_hand > 40) == (expected > 0)
