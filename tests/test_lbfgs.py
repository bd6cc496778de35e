"""L-BFGS: minima of known functions, full batches, its line search, and what it does where there is no number."""

import math
import os

import numpy as np
import pytest
import runs
from runs import alarm, three_layers

import backprop as bp
from backprop.datasets import xor
from backprop.optimizers import linesearch

DTYPES = ["float32", "float64"]


def table(rows=20, dtype="float64"):
    return runs.table(rows, dtype)[:2]


class Function:
    """A function of a few numbers, as a network to L-BFGS."""

    def __init__(self, start, value, gradient):
        self.parameters = np.array(start, float)
        self.gradients, self.trainable_ranges = np.zeros_like(self.parameters), ((0, self.parameters.size),)
        self.value, self.gradient, self.looks = value, gradient, 0

    def evaluate(self):
        self.looks += 1
        return float(self.value(self.parameters)), np.asarray(self.gradient(self.parameters), float)


def test_lbfgs_finds_the_minimum_of_rosenbrocks_valley():
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    for start in [-1.2, 1], [3, -4], np.full(20, -1.0):
        net, optimizer = Function(start, optimize.rosen, optimize.rosen_der), bp.LBFGS(tolerance=1e-10)
        values = optimizer.minimize(net, net.evaluate, 150)
        np.testing.assert_allclose(net.parameters, 1, atol=1e-9)
        assert (np.diff(values) <= 1e-12).all() and len(values) == optimizer.steps == 150
        theirs = optimize.minimize(optimize.rosen, start, jac=optimize.rosen_der, method="L-BFGS-B",
                                   options={"ftol": 0, "gtol": 1e-10})  # fmt: skip
        assert net.looks <= 1.5 * theirs.nfev


def test_lbfgs_solves_least_squares():
    # A convex problem, against the exact solution and SciPy's L-BFGS-B.
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 12)) * 10 ** rng.uniform(-0.5, 0.5, 12), rng.normal(size=(300, 2))
    net = bp.Sequential([bp.Dense(12, 2)], rng=0, dtype="float64")
    net.fit(x, y, loss="mse", optimizer=bp.LBFGS(tolerance=1e-10), epochs=200)
    exact = np.linalg.lstsq(np.hstack([x, np.ones((300, 1))]), y)[0]
    np.testing.assert_allclose(net.layers[0].weight, exact[:-1], atol=1e-9)
    np.testing.assert_allclose(net.layers[0].bias, exact[-1], atol=1e-9)
    other = bp.Sequential([bp.Dense(12, 2)], rng=0, dtype="float64")

    def objective(parameters):
        other.parameters[...] = parameters
        return other.value_and_gradient(x, y, "mse")

    theirs = optimize.minimize(objective, other.parameters.copy(), jac=True, method="L-BFGS-B",
                               options={"ftol": 0, "gtol": 1e-10, "maxiter": 500})  # fmt: skip
    assert net.evaluate(x, y, loss="mse")["loss"] == pytest.approx(theirs.fun, rel=1e-12)


def test_lbfgs_solves_a_logistic_regression_as_scipy_and_scikit_learn_do():
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(200, 5)), rng.integers(0, 3, 200)
    net = bp.Sequential([bp.Dense(5, 3, "softmax", l2=0.01)], rng=0, dtype="float64")
    net.fit(x, labels, loss="cross_entropy", optimizer=bp.LBFGS(tolerance=1e-10), epochs=100)

    def objective(parameters):
        kept = net.parameters.copy()
        net.parameters[...] = parameters
        found = net.value_and_gradient(x, labels, "cross_entropy")
        net.parameters[...] = kept
        return found

    value, gradient = net.value_and_gradient(x, labels, "cross_entropy")
    theirs = optimize.minimize(objective, np.zeros(18), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-10})
    assert abs(gradient).max() < 1e-10 and value == pytest.approx(theirs.fun, rel=1e-12)
    np.testing.assert_allclose(net.layers[0].weight, theirs.x[:15].reshape(5, 3), atol=1e-8)
    # scikit-learn's C weighs the sum of the losses against half the squares.
    fitted = linear.LogisticRegression(C=1 / (2 * 0.01 * 200), tol=1e-10, max_iter=1000).fit(x, labels)
    np.testing.assert_allclose(net.layers[0].weight, fitted.coef_.T, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_lbfgs_learns_xor(seed, dtype):
    x, y = xor()
    net = bp.Sequential([bp.Dense(2, 4, "tanh"), bp.Dense(4, 1, "sigmoid")], rng=seed, dtype=dtype)
    history = net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.LBFGS(), epochs=100)
    assert net.evaluate(x, y, loss="binary_cross_entropy")["loss"] < 1e-5
    assert (np.diff(history["loss"]) <= 10 * np.finfo(dtype).eps * np.array(history["loss"][:-1])).all()
    assert net.epochs == 100 and net.steps == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_lbfgs_by_every_road_gives_the_same_bits(dtype):
    x, y = table(300, dtype)
    runs = []
    for how in ({}, {"threads": 1}, {"threads": 3}, {"callbacks": [bp.Callback()]}, {"metrics": ["mse"]}, {"batch_size": 7},
                {"batch_size": None}, {"validation_data": (x, y)}, {"shuffle": True}, "by hand", "by turns"):  # fmt: skip
        net = bp.Sequential([bp.Dense(4, 60, "tanh"), bp.Dropout(0.2), bp.Dense(60, 3, l2=1e-3)], rng=1, dtype=dtype)
        optimizer, how = bp.LBFGS(history_size=4), how
        if how == "by hand":
            losses = optimizer.minimize(net, lambda net=net: net.value_and_gradient(x, y, "mse"), 12)
        elif how == "by turns":
            losses = [*net.fit(x, y, loss="mse", optimizer=optimizer, epochs=5)["loss"],
                      *optimizer.minimize(net, lambda net=net: net.value_and_gradient(x, y, "mse"), 7)]  # fmt: skip
        else:
            history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=12, **how)
            losses = history["loss"]
            if "metrics" in how:
                assert history["mse"][3] > history["mse"][11] > 0
        runs.append([net.parameters, losses, *optimizer.state.values()])
        assert optimizer.steps == 12 and len(optimizer.state) == 8
    assert all(np.array_equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


def test_lbfgs_takes_any_loss():
    x, y = table()
    runs = []
    for loss in "mse", lambda y_hat, y: (np.square(y_hat - y).mean(), 2 * (y_hat - y) / y.size):
        net = three_layers()
        net.fit(x, y, loss=loss, optimizer=bp.LBFGS(), epochs=8)
        runs.append(net.parameters)
    np.testing.assert_allclose(*runs, rtol=1e-8, atol=1e-10)


def test_lbfgs_stays_where_nothing_is_lower():
    # At a maximum the gradient is zero, and on the flat nothing is learned: no step, no error.
    net = Function([0.0, 0.0], lambda p: -(p * p).sum(), lambda p: -2 * p)
    assert bp.LBFGS().minimize(net, net.evaluate, 5) == [0] * 5 and net.looks == 1
    # A gradient that leads up: after one line search it is known.
    net, optimizer = Function([1.0, 2.0], lambda p: (p * p).sum(), lambda p: -2 * p), bp.LBFGS(max_evaluations=9)
    assert optimizer.minimize(net, net.evaluate, 5) == [5] * 5
    assert net.looks == 10 and net.parameters.tolist() == [1, 2] and optimizer.state == {} and optimizer.steps == 5


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_lbfgs_steps_back_from_where_there_is_no_number(bad):
    # log p has no value beyond 0: the first step goes there.
    def value(p):
        return float((p - np.log(p)).sum()) if (p > 0).all() else bad

    with np.errstate(divide="ignore", invalid="ignore"):
        net = Function([0.01, 30.0], value, lambda p: 1 - 1 / p)
        bp.LBFGS(100.0, tolerance=1e-9).minimize(net, net.evaluate, 60)
    np.testing.assert_allclose(net.parameters, 1, atol=1e-7)


def test_lbfgs_refuses_to_begin_where_there_is_no_number():
    x, y = table()
    net = three_layers()
    net.layers[2].weight[0, 0] = np.inf
    before = net.parameters.copy()
    for run in (
        lambda: net.fit(x, y, loss="mse", optimizer=bp.LBFGS()),
        lambda: bp.LBFGS().minimize(net, lambda: net.value_and_gradient(x, y, "mse")),
    ):
        with pytest.raises(bp.DivergedError):
            run()
    assert np.array_equal(net.parameters, before) and net.epochs == 0


@pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")
def test_lbfgs_when_interrupted_keeps_the_last_iteration():
    x, y = table(20_000)
    for seconds in 0.3, 1.0, 3.0, 10.0:  # a busy machine may not finish an iteration in the first
        net, twin = (
            bp.Sequential([bp.Dense(4, 64, "tanh"), bp.Dense(64, 3)], rng=0, dtype="float64") for _ in range(2)
        )
        optimizer = bp.LBFGS()
        with alarm(KeyboardInterrupt, seconds), pytest.raises(KeyboardInterrupt):
            # One thread: what a signal raises in the callback of a weak reference, as one that ends has, Python drops.
            net.fit(x, y, loss="mse", optimizer=optimizer, epochs=100_000, threads=1)
        if optimizer.steps:
            break
    assert net.epochs == optimizer.steps > 0
    twin.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=optimizer.steps)
    assert np.array_equal(net.parameters, twin.parameters)


def test_the_line_search_ends_where_both_conditions_hold():
    rng, found = np.random.default_rng(3), 0
    for _ in range(300):
        a, b, c, d = rng.normal(size=4) * 10 ** rng.uniform(-2, 2, 4)

        def look(t, a=a, b=b, c=c, d=d):
            value = a * math.sin(b * t) + c * c * t * t + d * t
            return linesearch.Point(t, value, a * b * math.cos(b * t) + 2 * c * c * t + d, np.zeros(1))

        start = look(0.0)
        if start.slope >= 0:
            continue
        point = linesearch.strong_wolfe(look, start, 10 ** rng.uniform(-3, 3), 60)
        assert point.value <= start.value + 1e-4 * point.step * start.slope
        assert abs(point.slope) <= 0.9 * abs(start.slope)
        found += 1
    assert found > 100


def test_the_metrics_of_lbfgs_see_probabilities():
    # Under a sigmoid the loss works on the logits beneath it: what a metric is given is not that.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.integers(0, 2, (50, 1))
    net = bp.Sequential([bp.Dense(3, 1, "sigmoid")], rng=0, dtype="float64")
    before = net.evaluate(x, y, loss="binary_cross_entropy", metrics=["log_loss", "accuracy"])
    history = net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.LBFGS(), metrics=["log_loss", "accuracy"])
    assert {name: values[0] for name, values in history.items()} == pytest.approx(before)


def test_a_tolerance_that_no_float32_reaches():
    x = np.ones((4, 2), np.float32)
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    before = net.parameters.copy()
    history = net.fit(x, x[:, :1], loss="mse", optimizer=bp.LBFGS(tolerance=1e300), epochs=2)
    assert np.array_equal(net.parameters, before) and len(set(history["loss"])) == 1
