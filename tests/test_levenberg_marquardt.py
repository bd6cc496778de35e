"""Levenberg-Marquardt: NIST's certified problems, SciPy beside it, and what ends a fit.

The problems are those of NIST's Statistical Reference Datasets (https://www.itl.nist.gov/div898/strd) that a dense network is
exactly; their data, their certified parameters and residual sums, and both starting points are in data/nist.json.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import backprop as bp

CERTIFIED = json.loads((Path(__file__).parent / "data" / "nist.json").read_text())


def straight(n_in, n_out, activation="identity"):
    return bp.Dense(n_in, n_out, activation, use_bias=False)


#: The layers, the network's parameters from the certified ones, and back.
PROBLEMS = {
    # y = b0 + b1 x
    "Norris": (lambda: [bp.Dense(1, 1)], lambda b: [b[1], b[0]], lambda p: [p[1], p[0]]),
    # y = b1 (1 - e^(-b2 x))
    "Misra1a": (lambda: [straight(1, 1, "elu"), straight(1, 1)], lambda b: [-b[1], -b[0]], lambda p: [-p[1], -p[0]]),
    "BoxBOD": (lambda: [straight(1, 1, "elu"), straight(1, 1)], lambda b: [-b[1], -b[0]], lambda p: [-p[1], -p[0]]),
    # y = b1 b2 x / (1 + b2 x)
    "Misra1d": (lambda: [straight(1, 1, "softsign"), straight(1, 1)], lambda b: [b[1], b[0]], lambda p: [p[1], p[0]]),
    # y = b1 x^b2, of log x
    "DanWood": (lambda: [straight(1, 1, "exp"), straight(1, 1)], lambda b: [b[1], b[0]], lambda p: [p[1], p[0]]),
    # y = b1 e^(-b2 x) + b3 e^(-b4 x) + b5 e^(-b6 x)
    "Lanczos3": (lambda: [straight(1, 3, "exp"), straight(3, 1)], lambda b: [-b[1], -b[3], -b[5], b[0], b[2], b[4]],
                 lambda p: [p[3], -p[0], p[4], -p[1], p[5], -p[2]]),
    # y = b1 + b2 e^(-x b4) + b3 e^(-x b5)
    "MGH17": (lambda: [straight(1, 2, "exp"), bp.Dense(2, 1)], lambda b: [-b[3], -b[4], b[1], b[2], b[0]],
              lambda p: [p[4], p[2], p[3], -p[0], -p[1]]),
    # y = b1 / (1 + e^(b2 - b3 x))
    "Rat42": (lambda: [bp.Dense(1, 1, "sigmoid"), straight(1, 1)], lambda b: [b[2], -b[1], b[0]],
              lambda p: [p[2], -p[1], p[0]]),
    # y = b1 / (1 + e^(b2 - b3 x))^(1 / b4)
    "Rat43": (lambda: [bp.Dense(1, 1, "softplus"), straight(1, 1, "exp"), straight(1, 1)],
              lambda b: [-b[2], b[1], -1 / b[3], b[0]], lambda p: [p[3], p[1], -p[0], -1 / p[2]]),
}  # fmt: skip


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", PROBLEMS)
def test_certified(name, start):
    """9 digits of the residual sum and 7 of the parameters, from both starting points."""
    (layers, given, found), problem = PROBLEMS[name], CERTIFIED[name]
    x, y = (np.array(problem[column])[:, None] for column in "xy")
    x = np.log(x) if name == "DanWood" else x
    net = bp.Sequential(layers(), rng=0, dtype="float64")
    net.parameters[...] = given(problem["starts"][start])
    optimizer = bp.LevenbergMarquardt(min_grad=0, mu_max=1e20)
    history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=2000)
    assert optimizer.stopped == "mu_max" and len(history["loss"]) < 1500
    assert ((net.predict(x) - y) ** 2).sum() == pytest.approx(problem["squares"], rel=1e-9)
    assert found(net.parameters) == pytest.approx(problem["parameters"], rel=1e-7)


def problem(seed=0, rows=60, n_out=2, dtype="float64", end="identity", hidden=6):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    y = np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 2] ** 2], axis=1)[:, :n_out]
    net = bp.Sequential([bp.Dense(3, hidden, "tanh"), bp.Dense(hidden, n_out, end)], rng=seed, dtype=dtype)
    return net, x, y


def test_the_minimum_is_that_of_scipy():
    scipy = pytest.importorskip("scipy.optimize")
    net, x, y = problem()
    twin = net.copy()

    def residuals(parameters):
        twin.parameters[...] = parameters
        return (twin.predict(x) - y).ravel()

    def jacobian(parameters):
        twin.parameters[...] = parameters
        rows = [twin.per_sample_gradients(x, y, OfOutput(k)) for k in range(2)]
        return np.stack(rows, axis=1).reshape(-1, len(parameters))

    theirs = scipy.least_squares(residuals, net.parameters.copy(), jacobian, method="lm", xtol=1e-14, ftol=1e-14)
    net.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt(min_grad=0), epochs=2000)
    ours = ((net.predict(x) - y) ** 2).sum()
    assert ours <= 2 * theirs.cost * (1 + 1e-2)


class OfOutput:
    """What makes the gradient of a row that of one output."""

    def __init__(self, k):
        self.k = k

    def __call__(self, y_hat, y):
        return float(y_hat[:, self.k].sum()), np.eye(2)[[self.k] * len(y_hat)]


def test_one_step_by_its_formula():
    net, x, y = problem()
    weights = np.random.default_rng(1).random(60) + 0.1
    before, mu = net.parameters.copy(), 0.5
    errors = (net.predict(x) - y) * np.sqrt(weights)[:, None]
    rows = np.stack([net.per_sample_gradients(x, y, OfOutput(k)) for k in range(2)], axis=1)
    rows = (rows * np.sqrt(weights)[:, None, None]).reshape(120, -1)
    step = np.linalg.solve(rows.T @ rows + mu * np.eye(len(before)), rows.T @ errors.ravel())
    history = net.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt(mu=mu), epochs=1, sample_weight=weights)
    np.testing.assert_allclose(net.parameters, before - step, rtol=1e-9, atol=1e-11)
    assert history["mu"] == [0.05]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "log_cosh", "poisson", "mse"])
def test_it_minimizes_other_losses(loss, dtype):
    end = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}.get(loss, "identity")
    net, x, y = problem(dtype=dtype, end=end, hidden=3)
    y = np.argmax(y, axis=1) if loss == "cross_entropy" else y if end == "identity" else (y > 0.5).astype(float)
    twin = net.copy()
    history = net.fit(x, y, loss=loss, optimizer=bp.LevenbergMarquardt(), epochs=40)
    adam = twin.fit(x, y, loss=loss, optimizer=bp.Adam(0.01), epochs=40, batch_size=None)
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert history["loss"][-1] < adam["loss"][-1]


def test_the_same_bits_for_any_threads():
    found = []
    for threads in (1, 2, 3):
        net, x, y = problem(rows=400)
        net.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt(), epochs=5, threads=threads)
        found.append(net.parameters.copy())
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_penalties_count_and_what_is_frozen_stays():
    _, x, y = problem()
    frozen = bp.Sequential([bp.Dense(3, 6, "tanh"), bp.Dense(6, 2, l2=0.05)], rng=0, dtype="float64")
    frozen[0].trainable = False
    kept = frozen[0].weight.copy()
    optimizer = bp.LevenbergMarquardt(min_grad=1e-10)
    frozen.fit(x, y, loss="mse", optimizer=optimizer, epochs=50)
    assert np.array_equal(frozen[0].weight, kept)
    _, gradient = frozen.value_and_gradient(x, y, "mse")
    begin, end = frozen.trainable_ranges[0]
    assert abs(gradient[begin:end]).max() < 1e-9  # linear in what is free: one step or two


def test_what_ends_a_fit():
    net, x, y = problem()
    for given, reason in (({"goal": 0.5}, "goal"), ({"min_grad": 10.0}, "min_grad"), ({"mu_max": 1e-9}, "mu_max")):
        optimizer = bp.LevenbergMarquardt(**given)
        history = net.copy().fit(x, y, loss="mse", optimizer=optimizer, epochs=300)
        assert optimizer.stopped == reason and len(history["loss"]) < 300
    history = net.copy().fit(x, y, loss="mse", optimizer=(optimizer := bp.LevenbergMarquardt()), epochs=3)
    assert optimizer.stopped == "" and len(history["loss"]) == len(history["mu"]) == 3


def test_validation_ends_a_fit_at_its_best_epoch():
    net, x, y = problem(rows=30, hidden=12)
    y = y + np.random.default_rng(5).normal(size=y.shape)
    other = problem(seed=7, rows=200)[1:]
    optimizer = bp.LevenbergMarquardt(max_fail=3)
    history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=300, validation_data=other)
    best = int(np.argmin(history["val_loss"]))
    assert optimizer.stopped == "max_fail" and len(history["val_loss"]) == best + 4
    assert net.evaluate(*other, loss="mse")["loss"] == history["val_loss"][best]


def test_bayesian_regularization_says_how_many_parameters_are_used():
    """Of a line in noise, two; a larger network does not use more of a smooth curve, and does not follow the noise."""
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 80)[:, None]
    noise = 0.1 * rng.normal(size=x.shape)
    effective = []
    for hidden in (8, 16):
        net = bp.Sequential([bp.Dense(1, hidden, "tanh"), bp.Dense(hidden, 1)], rng=0, dtype="float64")
        optimizer = bp.LevenbergMarquardt(bayesian=True)
        history = net.fit(x, np.sin(3 * x) + noise, loss="mse", optimizer=optimizer, epochs=200)
        effective.append(history["effective_parameters"][-1])
        assert ((net.predict(x) - np.sin(3 * x)) ** 2).mean() < 0.1**2 / 4
    assert effective[0] < 12 and effective[1] < 14 and abs(effective[0] - effective[1]) < 4
    line = bp.Sequential([bp.Dense(1, 1)], rng=0, dtype="float64")
    history = line.fit(x, 2 * x + 1 + noise, loss="mse", optimizer=bp.LevenbergMarquardt(bayesian=True), epochs=50)
    assert history["effective_parameters"][-1] == pytest.approx(2, abs=0.02)


def test_a_fit_goes_on_from_a_checkpoint(tmp_path):
    net, x, y = problem()
    whole, begun = net.copy(), net.copy()
    history = whole.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt(), epochs=8)
    path = tmp_path / "run.safetensors"
    begun.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt(), epochs=5, callbacks=[bp.Checkpoint(path)])
    again, rest = bp.resume(path, x, y, loss="mse", epochs=8, callbacks=[bp.Checkpoint(path)])
    assert np.array_equal(again.parameters, whole.parameters)
    assert rest["loss"] == history["loss"] and rest["mu"] == history["mu"]


def test_what_is_refused():
    net, x, y = problem()
    optimizer = bp.LevenbergMarquardt()
    for layers, word in (([bp.Dense(3, 4), bp.Dropout(0.1), bp.Dense(4, 2)], "Dropout"),
                         ([bp.Dense(3, 4), bp.BatchNorm(), bp.Dense(4, 2)], "BatchNorm")):  # fmt: skip
        other = bp.Sequential(layers, rng=0, dtype="float64")
        with pytest.raises(ValueError, match=f"the same in training, got {word}"):
            other.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt())
    large = bp.Sequential([bp.Dense(3000, 3000)], rng=0)
    with pytest.raises(ValueError, match=r"two matrices of 9003000 x 9003000 parameters: .*, got 1\.3e\+15 bytes"):
        large.fit(np.zeros((2, 3000)), np.zeros((2, 3000)), loss="mse", optimizer=bp.LevenbergMarquardt())
    with pytest.raises(TypeError, match="loss: expected a built-in one"):
        net.fit(x, y, loss=lambda y_hat, y: (1.0, 0 * y_hat), optimizer=optimizer)
    with pytest.raises(ValueError, match=r"loss: expected one with second derivatives, .* got MeanAbsoluteError\(\)"):
        net.fit(x, y, loss="mae", optimizer=optimizer)
    with pytest.raises(ValueError, match="expected a mean squared error"):
        net.fit(x, y, loss="log_cosh", optimizer=bp.LevenbergMarquardt(bayesian=True))
    with pytest.raises(TypeError, match="evaluate: expected a fit"):
        bp.LevenbergMarquardt().minimize(net, lambda: net.value_and_gradient(x, y, "mse"))
    net.parameters[...] = 1e200
    with pytest.raises(bp.DivergedError):
        net.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt())
    for name, value in (("mu", 0), ("mu_dec", 1), ("mu_inc", 1), ("goal", -1), ("max_fail", 0)):
        with pytest.raises(ValueError, match=name):
            bp.LevenbergMarquardt(**{name: value})
