"""Optimizers as a user meets them: clipping, averages, penalties, frozen layers, L-BFGS; and what each one learns.

Their formulas are compared with their twins in test_updates.py, with PyTorch's in test_torch.py, and fits with steps by
hand in test_four_lines.py.
"""

import copy
import itertools
import json
import math
import os
import pickle
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from instances import CLIPPED, OPTIMIZERS, optimizer_of
from oracles import InTorch

import backprop as bp
from backprop.datasets import mnist, xor
from backprop.optimizers import linesearch

DTYPES = ["float32", "float64"]
ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("BACKPROP_DATA", ROOT.parent / "shared" / "data"))


def network(dtype="float64", rng=2, **more):
    layers = [bp.Dense(4, 9, "tanh", **more), bp.Dense(9, 7, "sigmoid"), bp.Dense(7, 3, **more)]
    return bp.Sequential(layers, rng=rng, dtype=dtype)


def table(rows=20, dtype="float64"):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return x.astype(dtype), np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2], x.sum(axis=1)], axis=1).astype(dtype)


def trained(net, optimizer, epochs=12, **how):
    x, y = table(dtype=net.dtype)
    return net.fit(
        x, y, **{"loss": "mse", "optimizer": optimizer, "epochs": epochs, "batch_size": 4, "shuffle": False} | how
    )


# Clipping, averages, penalties and frozen layers, as in PyTorch.


class Steps:
    """The same network in PyTorch, and 60 of its steps."""

    def __init__(self, torch, net, make, frozen=(), clip_norm=None, clip_value=None, average=None):
        self.torch, self.twin = torch, InTorch(torch, net)
        for i in frozen:
            for parameter in self.twin.own[id(net.layers[i])]:
                parameter.requires_grad_(False)
        self.parameters = torch.nn.ParameterList(self.twin.parameters)
        self.optimizer = make([p for p in self.parameters if p.requires_grad])
        self.clip_norm, self.clip_value = clip_norm, clip_value
        if average is not None:
            swa = torch.optim.swa_utils
            self.average = swa.AveragedModel(self.parameters, multi_avg_fn=swa.get_ema_multi_avg_fn(average))
        self.losses = [self.step(start % 5 * 4) for start in range(60)]

    def step(self, start):
        torch = self.torch
        x, y = (torch.tensor(part[start : start + 4]) for part in table())
        loss = torch.nn.functional.mse_loss(self.twin(x), y) + self.twin.penalty()
        self.optimizer.zero_grad()
        loss.backward()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.clip_norm is not None:  # clip_grad_norm_ would add 1e-6 to the norm
            norm = torch.linalg.vector_norm(torch.cat([g.ravel() for g in gradients]))
            for g in gradients:
                g.mul_(min(1, self.clip_norm / norm.item()))
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.parameters, self.clip_value)
        self.optimizer.step()
        if hasattr(self, "average"):
            self.average.update_parameters(self.parameters)
        return loss.item()


HOW = [
    {}, {"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.2, "clip_value": 0.02}, {"average": 0.9},
    {"clip_norm": 0.1, "average": 0.5},
]  # fmt: skip
PENALTIES = {"l1": 0.01, "l2": 0.02}


@pytest.mark.parametrize(
    ("penalised", "how", "frozen"),
    [
        pytest.param(
            penalised, how, frozen, id=f"{how}, {'penalised' if penalised else 'plain'}, {frozen} frozen",
            marks=() if (penalised, frozen) in [({}, ()), (PENALTIES, (0, 2))] else pytest.mark.slow,
        )
        for penalised, how, frozen in itertools.product([{}, PENALTIES], HOW, [(), (0,), (1,), (0, 2)])
    ],
)  # fmt: skip
def test_torch_takes_the_same_60_steps_with_everything(torch, penalised, how, frozen):
    for ours, theirs in (
        (bp.SGD(0.1, 0.9, weight_decay=0.1, **how), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1)),
        (bp.AdamW(0.01, **how), lambda p: torch.optim.AdamW(p, 0.01)),
    ):
        net = network(**penalised)
        steps = Steps(torch, net, theirs, frozen, **how)
        for i in frozen:
            net.layers[i].trainable = False
        history = trained(net, ours)
        near = {"rtol": 1e-9, "atol": 1e-9}
        np.testing.assert_allclose(history["loss"], np.reshape(steps.losses, (12, 5)).mean(axis=1), **near)
        np.testing.assert_allclose(net.parameters, steps.twin.flat(steps.parameters), **near)
        if "average" in how:
            np.testing.assert_allclose(ours.state["average"], steps.twin.flat(steps.average.parameters()), **near)


def test_clipping_bites():
    """The clips of these tests are not so wide that nothing would be seen."""
    plain = network()
    trained(plain, bp.SGD(0.1))
    for text in ("SGD(0.1, clip_norm=0.05)", "SGD(0.1, clip_value=0.01)"):
        clipped = network()
        trained(clipped, optimizer_of(text))
        assert abs(clipped.parameters - plain.parameters).max() > 0.01
    wide = network()
    trained(wide, bp.SGD(0.1, clip_norm=1e6, clip_value=1e6))
    assert np.array_equal(wide.parameters, plain.parameters)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_clipped_step_has_the_norm_it_is_told_and_the_gradient_stays(dtype):
    (x, y), net = table(dtype=dtype), network(dtype)
    net.backward(bp.MeanSquaredError()(net.forward(x), y)[1])
    gradient, before = net.gradients.copy(), net.parameters.copy()
    bp.SGD(1.0, clip_norm=0.01).step(net)
    step = before - net.parameters
    assert np.linalg.norm(step) == pytest.approx(0.01, rel=1e-4 if dtype == "float32" else 1e-12)
    np.testing.assert_allclose(step / np.linalg.norm(step), gradient / np.linalg.norm(gradient), atol=1e-5)
    assert np.array_equal(net.gradients, gradient)
    bp.SGD(1.0, clip_value=0.001).step(net)
    assert np.array_equal(net.gradients, gradient)
    assert abs(before - step - net.parameters).max() <= 0.001 * (1 + 1e-3)


# The average.


def test_the_average_is_switched_on_and_off():
    x, _ = table()
    net, optimizer = network(), bp.Adam(0.01, average=0.9)
    trained(net, optimizer)
    own, mean = net.parameters.copy(), optimizer.state["average"].copy()
    answers = net.predict(x)
    with optimizer.averaged(net):
        assert np.array_equal(net.parameters, mean) and not np.array_equal(mean, own)
        assert not np.array_equal(net.predict(x), answers)
        net.parameters += 1
    assert np.array_equal(net.parameters, own) and np.array_equal(optimizer.state["average"], mean)
    with pytest.raises(LookupError, match="mine"), optimizer.averaged(net):
        raise LookupError("mine")
    assert np.array_equal(net.parameters, own)
    with pytest.raises(ValueError, match="of another: make one for each"), optimizer.averaged(network()):
        pass
    net.parameters = optimizer.state["average"]
    trained(net, optimizer)
    assert not np.array_equal(optimizer.state["average"], mean)


def test_the_average_is_that_of_the_steps():
    net, optimizer, seen = network(), bp.SGD(0.1, average=0.8), []
    trained(
        net,
        optimizer,
        batch_size=None,
        callbacks=[SimpleNamespace(on_epoch_end=lambda run: seen.append(net.parameters.copy()))],
    )
    mean = seen[0]
    for p in seen[1:]:
        mean = 0.8 * mean + 0.2 * p
    np.testing.assert_allclose(optimizer.state["average"], mean, rtol=1e-12, atol=1e-15)


# Penalties.


@pytest.mark.parametrize("batch_size", [None, 4])
def test_an_l2_on_every_weight_is_twice_the_weight_decay(batch_size):
    runs = []
    for layer, decay in ({"l2": 0.05}, 0.0), ({}, 0.1):
        net = bp.Sequential(
            [bp.Dense(4, 9, "tanh", use_bias=False, **layer), bp.Dense(9, 3, use_bias=False, **layer)],
            rng=1,
            dtype="float64",
        )
        trained(net, bp.SGD(0.1, momentum=0.9, weight_decay=decay), batch_size=batch_size)
        runs.append(net.parameters)
    np.testing.assert_allclose(*runs, rtol=1e-11)


def test_an_l1_makes_weights_nothing():
    x, y = table(200)
    sizes = []
    for l1 in (0.0, 0.2):
        net = bp.Sequential([bp.Dense(4, 3, l1=l1)], rng=1, dtype="float64")
        net.fit(x, y, loss="mse", optimizer=bp.SGD(lambda t: 0.1 / (1 + t / 100)), epochs=400, batch_size=None)
        sizes.append(np.sort(abs(net.layers[0].weight), axis=None))
    assert (sizes[1] < 5e-3).sum() >= 6 > (sizes[0] < 5e-3).sum()
    assert sizes[1].max() > 0.1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_penalty_is_in_the_loss_of_a_fit_and_not_of_evaluate(weighted, reduction):
    x, y = table()
    loss, weights = bp.MeanSquaredError(reduction=reduction), np.linspace(0, 2, 20) if weighted else None
    net = network(l1=0.01, l2=0.03)
    w = [net.layers[i].weight for i in (0, 2)]
    expected = sum(0.01 * abs(v).sum() + 0.03 * (v * v).sum() for v in w)
    assert net.penalty() == pytest.approx(expected, rel=1e-13)
    plain = net.evaluate(x, y, loss=loss, sample_weight=weights)["loss"]
    value, gradient = net.value_and_gradient(x, y, loss, sample_weight=weights)
    assert plain == pytest.approx(network().evaluate(x, y, loss=loss, sample_weight=weights)["loss"], rel=1e-13)
    assert value == pytest.approx(plain + expected, rel=1e-13)
    net.backward(loss(net.forward(x), y, weights)[1])
    assert np.array_equal(net.gradients, gradient)
    for given in loss, lambda *data: loss(*data):
        history = net.fit(x, y, loss=given, optimizer=bp.SGD(0.0), sample_weight=weights, epochs=2, batch_size=None,
                          validation_data=(x, y, *([weights] if weighted else [])))  # fmt: skip
        assert history["loss"] == pytest.approx([value] * 2, rel=1e-12)
        assert history["val_loss"] == pytest.approx([plain] * 2, rel=1e-12)
    # Of several batches: the mean of what each was trained on.
    batches = net.fit(x, y, loss=loss, optimizer=bp.SGD(0.0), sample_weight=weights, batch_size=7)["loss"][0]
    assert batches == pytest.approx(value if reduction == "mean" else plain + 3 * expected, rel=1e-12)


def test_a_penalty_that_overflows_is_a_divergence():
    x, y = table()
    net = bp.Sequential([bp.Dense(4, 3, l2=1.0), bp.Dense(3, 3)], rng=0, dtype="float64")
    net.layers[0].weight[0, 0] = 1e200
    net.layers[1].weight *= 0
    with pytest.raises(bp.DivergedError):
        net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1))
    value, gradient = net.value_and_gradient(x, y, "mse")
    assert math.isnan(value) and np.isnan(gradient).all()


# Frozen layers.


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *CLIPPED, "LBFGS()"])
def test_frozen_layers_stay(optimizer):
    net, its = network(l2=0.1), optimizer_of(optimizer)
    net.layers[0].trainable = net.layers[2].trainable = False
    before, ranges = net.parameters.copy(), [(45, 115)]
    assert list(net.trainable_ranges) == ranges
    trained(net, its, epochs=3)
    assert np.array_equal(net.parameters[:45], before[:45]) and np.array_equal(net.parameters[115:], before[115:])
    assert abs(net.parameters[45:115] - before[45:115]).max() > 1e-5
    if its.average:
        assert np.array_equal(its.state["average"][:45], before[:45])
    net.layers[0].trainable = True
    middle = net.parameters.copy()
    trained(net, its, epochs=3)
    assert abs(net.parameters[:45] - middle[:45]).max() > 1e-5
    assert np.array_equal(net.parameters[115:], before[115:])


def test_all_frozen():
    x, y = table()
    net, optimizer = network(), bp.Adam(0.1)
    for layer in net.layers:
        layer.trainable = False
    before = net.parameters.copy()
    history = trained(net, optimizer)
    net.backward(bp.MeanSquaredError()(net.forward(x), y)[1])
    optimizer.step(net)
    assert np.array_equal(net.parameters, before) and len(set(history["loss"])) == 1
    assert net.trainable_ranges == () and optimizer.steps == 61
    assert trained(net, bp.LBFGS(), epochs=3)["loss"] == pytest.approx(history["loss"][:3])
    assert np.array_equal(net.parameters, before)


def test_frozen_layers_travel(tmp_path):
    net = network()
    net.layers[1].trainable = False
    net.save(tmp_path / "frozen.safetensors")
    for other in bp.load(tmp_path / "frozen.safetensors"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net):
        assert [layer.trainable for layer in other.layers] == [True, False, True]
        assert other.trainable_ranges == net.trainable_ranges == ((0, 45), (115, 139))
    net.layers[1].trainable = True
    assert net.trainable_ranges == ((0, 139),)


# What an optimizer remembers.


class Halving:
    """A schedule."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate / 2 ** (step / 10)

    def config(self):
        return {"rate": self.rate}


@pytest.mark.parametrize(
    "text", [*OPTIMIZERS, *CLIPPED, "LBFGS()", "LBFGS(0.5, history_size=3, tolerance=0.0, max_evaluations=7)"]
)
def test_the_config_and_the_repr_build_it_again(text):
    optimizer = optimizer_of(text)
    config = json.loads(json.dumps(optimizer.config()))
    assert config["name"] == text.partition("(")[0]
    again = bp.optimizers.from_config(config)
    assert type(again) is type(optimizer) and again.config() == optimizer.config()
    assert repr(again) == repr(optimizer) == repr(optimizer_of(repr(optimizer)))
    if not isinstance(optimizer, bp.optimizers.FullBatch):
        assert again.lower() == optimizer.lower()
    assert text in CLIPPED or "()" in text or repr(optimizer) == text


def test_the_config_of_a_schedule():
    optimizer = bp.AdamW(Halving(0.1), weight_decay=0.2, clip_norm=3)
    config = json.loads(json.dumps(optimizer.config()))
    assert config["learning_rate"] == {"rate": 0.1}
    again = bp.optimizers.from_config(config, schedule=lambda written: Halving(**written))
    assert isinstance(again.learning_rate, Halving) and again.config() == optimizer.config()


@pytest.mark.parametrize("text", [*OPTIMIZERS, *CLIPPED, "LBFGS()"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_state_and_steps_are_all_it_remembers(dtype, text):
    whole, part = network(dtype), network(dtype)
    one, first = optimizer_of(text), optimizer_of(text)
    losses = trained(whole, one, epochs=9)["loss"]
    begun = trained(part, first, epochs=4)["loss"]
    second = bp.optimizers.from_config(first.config())
    second.state = dict(sorted((name, vector.copy()) for name, vector in first.state.items()))
    second.steps = first.steps
    assert begun + trained(part, second, epochs=5)["loss"] == losses
    assert np.array_equal(part.parameters, whole.parameters) and second.steps == one.steps
    assert one.state.keys() == second.state.keys()
    assert all(np.array_equal(one.state[name], second.state[name]) for name in one.state)


def test_the_first_step_of_rprop_is_the_learning_rate():
    for rate in 0.25, lambda step: 0.25:
        net = network()
        net.gradients[:] = np.where(np.arange(139) % 3 == 0, 0, -1.5)
        before = net.parameters.copy()
        bp.Rprop(rate).step(net)
        np.testing.assert_allclose(net.parameters - before, -0.25 * np.sign(net.gradients), atol=1e-15)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("decay", [0.0, 1e-300, 1e-9, 4e-3, 0.1, 3.0, 1e300])
def test_the_product_of_nadams_momenta_is_that_of_the_factors(beta1, decay):
    # From a step of two parameters: (a g + b m) / (sqrt(v') + epsilon), a = (1 - mu_t) / (1 - product).
    product = 1.0
    for t in range(1, 400):
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * decay))
        product *= mu
        if t in (1, 2, 3, 10, 50, 399):
            p, g = np.zeros(1), np.ones(1)
            kind = bp.NAdam(1.0, beta1, 0.5, 1e-300, momentum_decay=decay).lower()
            bp._core.apply_update(kind, 1.0, t, p, g, (np.full(1, beta1 - 1), np.ones(1)), ((0, 1),))
            m, v_hat = (beta1 - 1) * beta1 + 1 - beta1, 1 / (1 - 0.5**t)
            following = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay))
            step = ((1 - mu) / (1 - product) + following * m / (1 - product * following)) / math.sqrt(v_hat)
            assert -p[0] == pytest.approx(step, rel=1e-11), t


# L-BFGS.


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
        net = network()
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
    net = network()
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
    def stop(number, frame):
        raise KeyboardInterrupt

    x, y = table(20_000)
    net, twin = (bp.Sequential([bp.Dense(4, 64, "tanh"), bp.Dense(64, 3)], rng=0, dtype="float64") for _ in range(2))
    optimizer, before = bp.LBFGS(), signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            # One thread: what a signal raises in the callback of a weak reference, as one that ends has, Python drops.
            net.fit(x, y, loss="mse", optimizer=optimizer, epochs=100_000, threads=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
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


# What each one learns. The accuracies are those of the worst of six seeds, less a little for other processors.

LEARNED = {  # two spirals; the digits of scikit-learn; MNIST after an epoch
    "SGD(0.1)": (1.0, 0.95, 0.90),
    "SGD(0.1, momentum=0.9)": (1.0, 0.96, 0.90),
    "SGD(0.1, momentum=0.9, nesterov=True)": (1.0, 0.96, 0.90),
    "RMSprop(0.002)": (0.93, 0.95, 0.92),
    "Adagrad(0.1)": (1.0, 0.96, 0.92),
    "Adadelta()": (0.96, 0.95, 0.92),
    "Adam(0.01)": (1.0, 0.96, 0.92),
    "AdamW(0.01)": (1.0, 0.96, 0.92),
    "NAdam(0.005)": (1.0, 0.96, 0.92),
    "RAdam(0.01)": (1.0, 0.95, 0.92),
    "Lion(0.001)": (1.0, 0.95, 0.90),
    "Rprop()": (1.0, 0.95, 0.88),
    "LBFGS()": (1.0, 0.95, 0.87),
}


def how(text, epochs, iterations):
    """Those for whole sets of data, or batches of 32."""
    whole = text in ("Rprop()", "LBFGS()")
    return {
        "optimizer": optimizer_of(text),
        "batch_size": None if whole else 32,
        "epochs": iterations if whole else epochs,
    }


def accuracy(net, x, y, loss):
    return net.evaluate(x, y, loss=loss, metrics=["accuracy"])["accuracy"]


@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_xor(text):
    x, y = xor()
    net = bp.Sequential([bp.Dense(2, 8, "tanh"), bp.Dense(8, 1, "sigmoid")], rng=0)
    net.fit(x, y, loss="binary_cross_entropy", **how(text, 4000, 100))
    assert (net.predict(x)[:, 0].round() == y).all()


@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_two_spirals(text):
    angle = np.sqrt(np.linspace(0.02, 1, 200)) * 8.5
    arm = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 4.25
    x, y = np.concatenate([arm, -arm]), np.repeat([0, 1], 200)
    net = bp.Sequential([bp.Dense(2, 32, "tanh"), bp.Dense(32, 32, "tanh"), bp.Dense(32, 1, "sigmoid")], rng=0)
    net.fit(x, y, loss="binary_cross_entropy", **how(text, 1000, 1000))
    assert accuracy(net, x, y, "binary_cross_entropy") >= LEARNED[text][0]


@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_digits(text):
    sets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    x, y = sets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order]
    net = bp.Sequential([bp.Dense(64, 32, "relu"), bp.Dense(32, 10, "softmax")], rng=0)
    net.fit(x[:1200], y[:1200], loss="cross_entropy", **how(text, 30, 60))
    assert accuracy(net, x[1200:], y[1200:], "cross_entropy") >= LEARNED[text][1]


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason=f"no MNIST files under {DATA}")
@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_mnist(text):
    x, y, xt, yt = mnist(DATA / "mnist")
    net = bp.Sequential([bp.Dense(784, 32, "relu"), bp.Dense(32, 10, "softmax")], rng=0)
    net.fit(x[::3], y[::3], loss="cross_entropy", **how(text, 1, 20))
    assert accuracy(net, xt, yt, "cross_entropy") >= LEARNED[text][2]


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
