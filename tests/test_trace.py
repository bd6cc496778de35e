"""`net.trace`: its numbers have the bits of forward, backward and step; its text has the published numbers."""

import copy
import json
import math
import re
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
from instances import (
    ACTIVATIONS,
    CLIPPED,
    GRADIENTS,
    LOSSES,
    NETWORKS,
    OPTIMIZERS,
    data,
    every_network,
    network,
    optimizer_of,
)
from runs import shaken

import backprop as bp
from backprop import _display
from backprop.program import engine
from backprop.program.graph import Graph
from backprop.tracing import formulas

MSE = LOSSES[0]
FITS = [name for name in NETWORKS if "names" not in name]


def rows(name, dtype="float64", n=5):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(n, 4)), rng.normal(size=(n, 3))
    if "names" in name:
        x[:, 1], x[:, 3] = rng.integers(0, 5, n), rng.integers(0, 2, n)
    return x.astype(dtype), y.astype(dtype)


def everything(net, *optimizers):
    state = [vector for it in optimizers for vector in (*it.state.values(), np.array(it.steps))]
    counters = np.array([net.steps, net.epochs])
    return [array.copy() for array in (net.parameters, net.gradients, net.buffers, counters, *state)]


def equal(some, others):
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def assert_bits(net, x, y, loss, weights=None):
    """The trace has the numbers of the ways that train."""
    net.gradients[...] = 7
    before = everything(net)
    trace = net.trace(x, y, loss, sample_weight=weights)
    assert equal(before, everything(net))
    value, gradient = net.copy().value_and_gradient(x, y, loss, sample_weight=weights)
    assert trace.value == value
    for name, array in trace.gradients.items():
        begin = net._storage.offset(net.arrays()[name])
        assert np.array_equal(array.ravel(), gradient[begin : begin + array.size]), name
    other, on_logits = net.copy(), trace.objective.on_logits
    out = other.forward(x, logits=on_logits)
    last = trace.steps[net.graph[-1].name]
    assert np.array_equal(out, last.z if on_logits else last.output)
    factor = trace.objective.penalty_factor(trace.data)
    dx = np.empty_like(trace.dx)
    other._engine.backward(last.delta if on_logits else last.dy, dx, factor)
    assert np.array_equal(dx, trace.dx)
    assert np.array_equal(other.gradients, gradient)
    assert_tape(other, trace)
    return trace


def assert_tape(net, trace):
    """Each output and each delta is what the network's own engine left on its tape."""
    at = -1
    for operation in net.graph:
        apart = operation.activation.code in bp._core.NEEDS_Z and operation.kind != "activation"
        at += len(operation.inputs) - 1 if operation.kind == "concatenate" else 1
        y, dz = (np.empty_like(trace[operation.name].output) for _ in range(2))
        net._plan.tape_of(at, y, dz)
        if apart:
            assert np.array_equal(y, trace[operation.name].z)
            at += 1
            net._plan.tape_of(at, y, np.empty_like(y))
        fused = trace.objective.on_logits and operation.name == net.graph[-1].name
        assert np.array_equal(y, trace[operation.name].z if fused else trace[operation.name].output)
        more = trace[operation.name].more  # a dropout and waves multiply where the numbers lie
        assert np.array_equal(dz, trace[operation.name].delta * more.get("mask", more.get("wave_slope", 1)))


@GRADIENTS
def test_every_layer_activation_and_loss(layer, f, end, loss):
    net = network(layer, f, end, loss.n_out)
    x, y, weights = data(loss)
    for reduction in "mean", "sum":
        trace = assert_bits(net, x, y, loss.make(reduction), weights)
        total = (trace.losses * weights).sum() / (weights.sum() if reduction == "mean" else 1)
        assert trace.value == pytest.approx(total + trace.penalty, rel=1e-12)


@every_network
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_network(name, dtype):
    net = shaken(NETWORKS[name](), dtype)
    for n in 5, 1, 64:
        assert_bits(net, *rows(name, dtype, n), "mse")


@every_network
def test_outputs_are_those_of_the_graph_cut_after_each_operation(name):
    net = shaken(NETWORKS[name]())
    x, y = rows(name)
    trace = net.trace(x, y, "mse")
    for k, operation in enumerate(net.graph):
        cut = engine.build(Graph(net.graph[: k + 1], net.n_in, net.dtype), net._storage)
        out = np.empty((len(x), operation.n_out))
        cut.forward(x, out, net.seed, net.steps)
        assert np.array_equal(out, trace[operation.name].output)


@pytest.mark.parametrize("text", [*OPTIMIZERS, *CLIPPED, "LBFGS()"])
def test_every_optimizer(text):
    net, optimizer = network("dense", "tanh", "softmax"), optimizer_of(text)
    x, y, weights = data(LOSSES[8])
    if text != "LBFGS()":
        net.fit(x, y, loss="cross_entropy", optimizer=optimizer, epochs=2, batch_size=None)
    before = everything(net, optimizer)
    trace = net.trace(x, y, "cross_entropy", optimizer=optimizer, sample_weight=weights)
    assert equal(before, everything(net, optimizer))
    own = copy.copy(optimizer)
    update, kept = trace.update, {name: vector.copy() for name, vector in optimizer.state.items()}
    net.fit(x, y, loss="cross_entropy", optimizer=optimizer, batch_size=None, shuffle=False, sample_weight=weights)
    assert np.array_equal(update.parameters, net.parameters)
    assert equal(update.after.values(), list(optimizer.state.values()))
    assert update.number == own.steps + 1 == optimizer.steps
    if kept:
        assert equal(update.before.values(), kept.values())
    new = np.concatenate([trace.values[f"{name}.new"].ravel() for name in trace.parameters])
    assert np.array_equal(new, net.parameters)


def test_a_new_optimizer_stays_new_and_one_of_another_network_is_refused():
    net, optimizer = network("dense", "tanh", "identity"), bp.Adam()
    x, y, _ = data(MSE)
    net.trace(x, y, "mse", optimizer=optimizer)
    assert (optimizer.state, optimizer.steps, optimizer._owner) == ({}, 0, None)
    other = network("dense", "relu", "identity")
    other.fit(x, y, loss="mse", optimizer=optimizer)
    with pytest.raises(ValueError, match="expected one for this network"):
        net.trace(x, y, "mse", optimizer=optimizer)


class Doubled(bp.Layer):
    def forward(self, x, training=False):
        self.calls = getattr(self, "calls", 0) + 1
        return 2 * x

    def backward(self, dy):
        return 2 * dy


class Descent(bp.Optimizer):
    def __init__(self):
        super().__init__(0.5)

    def step(self, net):
        net.parameters -= 0.5 * net.gradients


def half(y_hat, y):
    return 0.5 * np.square(y_hat - y).sum(), y_hat - y


def test_what_is_custom():
    net = bp.Sequential([Doubled(), bp.Dense(4, 3, "tanh"), Doubled(), Doubled()], rng=1, dtype="float64")
    x, y, _ = data(MSE)
    optimizer = Descent()
    before = everything(net, optimizer)
    trace = net.trace(x, y, half, optimizer=optimizer)
    assert equal(before, everything(net, optimizer))
    assert not hasattr(net.layers[0], "calls")
    assert trace.losses is None
    assert np.array_equal(trace["1"].output * 2, trace["2"].output)
    assert np.array_equal(trace["2"].dy, 2 * trace["3"].dy)
    value, gradient = net.value_and_gradient(x, y, half)
    assert trace.value == value
    assert np.array_equal(trace.gradients["1.weight"].ravel(), gradient[:12])
    assert np.array_equal(trace.update.parameters, net.parameters - 0.5 * gradient)
    assert trace.check().error < 1e-6
    assert "Doubled" in str(trace)


def test_masks_and_statistics():
    net = bp.Sequential([bp.Dropout(0.5), bp.BatchNorm(), bp.Dense(4, 3)], rng=1, dtype="float64")
    x, y, _ = data(MSE)
    trace = net.trace(x, y, "mse")
    assert set(np.unique(trace["0"].more["mask"])) == {0, 2}
    assert np.array_equal(trace["0"].output, x * trace["0"].more["mask"])
    np.testing.assert_allclose(trace["1"].more["variance"], trace["0"].output.var(axis=0))
    np.testing.assert_allclose(trace["1"].output, (trace["0"].output - trace["1"].more["mean"]) / np.sqrt(
        trace["1"].more["variance"] + 1e-5))  # fmt: skip
    running = trace["1"].more
    np.testing.assert_allclose(running["running_mean.after"], 0.1 * running["mean"])
    assert np.array_equal(running["running_variance.before"], np.ones(4))
    assert np.array_equal(trace.values["1.running_mean.after"], running["running_mean.after"])
    other = net.copy()
    other.forward(x)
    assert np.array_equal(other.layers[1].running_mean, running["running_mean.after"])
    one = net.trace(x[:1], y[:1], "mse")
    assert np.array_equal(one["1"].more["mean"], [0, 0, 0, 0])


def test_a_callback_may_trace_what_is_being_trained():
    class Tracing:
        def on_batch_end(self, run):
            self.found = run.network.trace(x, y, "mse", optimizer=run.optimizer)

    x, y, _ = data(MSE)
    (net, other), tracing = (network("dropout", "tanh", "identity") for _ in range(2)), Tracing()
    net.fit(x, y, loss="mse", optimizer="adam", epochs=3, callbacks=[tracing])
    other.fit(x, y, loss="mse", optimizer="adam", epochs=3)
    assert np.array_equal(net.parameters, other.parameters)
    assert tracing.found.update.number == 4


def test_another_thread_may_not_while_it_is_being_trained():
    class Asking:
        def on_epoch_end(self, run):
            with ThreadPoolExecutor() as pool:
                for what in (lambda: net.trace(x, y, "mse"), first.check):
                    assert isinstance(pool.submit(what).exception(), bp.BusyError)

    x, y, _ = data(MSE)
    net = network("dense", "tanh", "identity")
    first = net.trace(x, y, "mse")
    net.fit(x, y, loss="mse", optimizer="adam", callbacks=[Asking()])
    assert first.check().error < 1e-6


def test_too_many_rows_are_refused():
    net = network("dense", "tanh", "identity")
    with pytest.raises(ValueError, match=r"x: expected at most 64 rows to trace, got 65: take some, x\[:4\], y\[:4\]"):
        net.trace(np.ones((65, 4)), np.ones((65, 3)), "mse")


# The worked example everyone knows.


def known():
    net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 2, "sigmoid")], dtype="float64")
    hidden, output = net.layers
    hidden.weight, output.weight = [[0.15, 0.25], [0.2, 0.3]], [[0.4, 0.5], [0.45, 0.55]]
    hidden.bias, output.bias = [0.35, 0.35], [0.6, 0.6]
    hidden_bias, output_bias = hidden.bias.copy(), output.bias.copy()
    return net, (hidden_bias, output_bias), np.array([[0.05, 0.1]]), np.array([[0.01, 0.99]])


def test_the_published_numbers():
    net, biases, x, y = known()
    trace = net.trace(x, y, "mse", optimizer=bp.SGD(0.5))
    published = {
        "0.output": [[0.593269992, 0.596884378]], "1.output": [[0.751365070, 0.772928465]], "loss": 0.298371109,
        "1.delta": [[0.138498562, -0.038098237]], "0.delta": [[0.008771355, 0.009954255]],
    }  # fmt: skip
    text = str(trace)
    for name, numbers in published.items():
        np.testing.assert_allclose(trace.values[name], numbers, atol=5.1e-10, rtol=0)
        assert all(f"{number:.6g}" in text for number in trace.values[name].ravel()), name
    assert all(verdict.verdict == "approximate" for verdict in trace.compare(published).values())

    def step():
        net.parameters = net.trace(x, y, "mse", optimizer=bp.SGD(0.5)).update.parameters
        net.layers[0].bias, net.layers[1].bias = biases  # which the example leaves alone

    step()
    after = net.trace(x, y, "mse")
    assert f"{after.value:.9f}" == "0.291027774"
    assert "0.291028" in str(after)
    np.testing.assert_allclose(
        trace.values["1.weight.new"].T, [[0.35891648, 0.408666186], [0.511301270, 0.561370121]], atol=5e-9
    )
    for _ in range(9999):
        net.value_and_gradient(x, y, "mse")
        net.parameters -= 0.5 * net.gradients
        net.layers[0].bias, net.layers[1].bias = biases
    assert f"{net.trace(x, y, 'mse').value:.10f}" == "0.0000351019"
    assert "3.51019e-05" in str(net.trace(x, y, "mse"))


def test_xor_and_one_neuron():
    net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")], rng=0, dtype="float64")
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]), np.array([[0], [1], [1], [0.0]])
    trace = net.trace(x, y, "mse", optimizer=bp.SGD(0.1))
    text = str(trace)
    hidden = 1 / (1 + np.exp(-(x @ net.layers[0].weight + net.layers[0].bias)))
    output = 1 / (1 + np.exp(-(hidden @ net.layers[1].weight + net.layers[1].bias)))
    delta = 2 / 4 * (output - y) * output * (1 - output)
    below = delta @ net.layers[1].weight.T * hidden * (1 - hidden)
    weights = hidden.T @ delta, x.T @ below
    for numbers in hidden, output, delta, below, *weights, net.layers[0].weight - 0.1 * weights[1]:
        assert all(f"{number:.6g}" in text for number in numbers.ravel())
    assert (
        trace.compare({"0.output": hidden, "1.output": output, "1.delta": delta, "0.delta": below})["1.delta"][1]
        < 1e-15
    )
    neuron = bp.Sequential([bp.Dense(2, 1, "sigmoid")], rng=0, dtype="float64")
    trace = neuron.trace([[0.5, -1.5]], [1], "binary_cross_entropy", optimizer=bp.SGD(0.1))
    p = float(trace["0"].output[0, 0])
    gradient = (p - 1) * 0.5
    explained = trace.explain("0.weight[0,0]")
    assert trace["0"].dy is None
    assert f"= 0.5 * ({p - 1:.6g})" in explained
    assert f"1 * ({p:.6g} - 1) / 1, of the loss = {p - 1:.6g}" in explained
    assert f"{float(neuron.parameters[0]) - 0.1 * gradient:.6g}" in explained
    assert "computed on the logits z, together with the sigmoid" in str(trace)
    assert f"    0.delta[0,0] = 1 * (y_hat - y) / 1 = 1 * ({p:.6g} - 1) / 1, of the loss = {p - 1:.6g}" in str(trace)
    assert trace.explain("losses[0]").startswith("losses[0]: l = -1/n_out sum y log p")


# What it says.


@every_network
def test_every_number_is_explained(name):
    net = shaken(NETWORKS[name]())
    trace = net.trace(*rows(name, n=3), "mse", optimizer=bp.Adam())
    for key, array in trace.values.items():
        if array.ndim and array.size:
            place = ",".join(str(n - 1) for n in array.shape)
            text = trace.explain(f"{key}[{place}]")
            owner = next((own for own in trace.parameters if key.startswith(own)), None)
            shown = trace.gradients[owner] if owner else array
            assert f"{shown[(-1,) * array.ndim]:.6g}" in text, key
    assert str(trace).count("dE/d") > 0


def test_the_chain_rule_is_shown_factor_by_factor():
    net, _, x, y = known()
    text = net.trace(x, y, "mse", optimizer=bp.SGD(0.5)).explain("0.weight[0,1]")
    for line in (
        "dE/d 0.weight[0,1] = 0.000497713",
        "= 0.05 * 0.00995425",
        "= 0.0413703 * 0.240613 = 0.00995425",
        "(0.138499 * 0.45 + (-0.0380982) * 0.55 through 1.weight) = 0.0413703",
        "0.751365 (1 - 0.751365) = 0.186816",
        "1 * 2 (0.751365 - 0.01) / 2, of the loss = 0.741365",
        "0.weight.new[0,1] = 0.25 - 0.5 * 0.000497713 = 0.249751",
        "0.weight[0,1]: 0.25 becomes 0.249751, a step of -0.000248856",
    ):
        assert line in text


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_derivative_of_a_loss_is_its_own(loss):
    x, y, weights = data(loss)
    shown = 0
    for end in loss.ends[:3]:
        for reduction in "mean", "sum":
            net = network("dense", "tanh", end, loss.n_out)
            trace = net.trace(x, y, loss.make(reduction), sample_weight=weights)
            name = f"1.{'z' if trace.objective.on_logits else 'output'}[2,0]"
            line = next(line for line in trace.explain("1.delta[2,0]").splitlines() if f"dE/d {name} = " in line)
            factors = re.search(r" = ([^=]*), of the loss = (\S+)$", line)
            if factors:
                shown += 1
                assert eval(factors[1].replace(" (", " * (").replace("* *", "*")) == pytest.approx(
                    float(factors[2]), rel=1e-4, abs=1e-6
                )
    assert shown or loss.name not in ("mse", "bce", "ce-labels", "ce-rows", "ce-smooth", "kl")


def test_every_path_is_followed_to_the_loss():
    net = bp.Sequential([bp.Dense(4, 9), bp.Residual([bp.Dense(9, 9, "tanh")]), bp.Dense(9, 3)], rng=0)
    x, y, _ = data(MSE)
    text = net.trace(x, y, "mse").explain("0.dy[0,8]")
    assert "(of 1.z[0,8])" in text
    assert "(of all units of a layer, the first 4 are followed)" in text
    assert all(f"dE/d {name} = " in text for name in ("1.output[0,8]", "1.0.z[0,3]", "1.output[0,3]", "2.output[0,2]"))


@every_network
def test_gradients_are_the_sums_of_products_that_are_shown(name):
    trace = shaken(NETWORKS[name]()).trace(*rows(name, n=3), "mse")
    for key, gradient in trace.gradients.items():
        for where in [(0,) * gradient.ndim, tuple(n - 1 for n in gradient.shape)]:
            lines = trace.explain(f"{key}[{','.join(map(str, where))}]").splitlines()
            shown = [line for line in lines[:5] if re.fullmatch(r"  = [-+*()\d.e ]+", line)]
            assert eval(shown[0][4:]) == pytest.approx(gradient[where], rel=1e-4, abs=2e-5), key


def test_the_moments_of_adam_are_shown():
    net, _, x, y = known()
    optimizer = bp.Adam(0.01)
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=2)
    trace = net.trace(x, y, "mse", optimizer=optimizer)
    text = str(trace)
    place, moment = (0, 0), trace.values["0.weight.square.after"]
    assert f"v' = {moment[place]:.6g} / (1 - 0.999^3) = {moment[place] / 0.002997001:.6g}, for 0.weight[0,0]" in text
    assert "mean before" in text
    assert np.array_equal(trace.values["0.weight.mean.before"].ravel(), optimizer.state["mean"][:4])
    explained, moment = trace.explain("0.weight[0,0]"), trace.values["0.weight.mean.after"][0, 0]
    assert f"m' = {moment:.6g} / (1 - 0.9^3) = {moment / 0.271:.6g}" in explained


SYMBOLS = {
    "sqrt": lambda value: math.sqrt(max(value, 0.0)), "log": math.log, "e": math.e, "abs": abs,
    "sign": lambda value: (value > 0) - (value < 0), "max": max, "erf": math.erf, "tanh": math.tanh,
    "cos": math.cos, "pi": math.pi,
    "sigmoid": lambda value: 1 / (1 + math.exp(-value)), "softplus": lambda value: math.log1p(math.exp(value)),
}  # fmt: skip


def worth(expression):
    """The value of an expression with numbers, as it is printed, without what is said of it."""
    text = re.sub(r"\((?:the mask of|of|through|a number) [^()]*\)", "", expression)
    text, _, bounds = text.partition(", at least ")
    text = re.sub(r" through [\w.]+(?=\))|, of the loss", "", text).replace("^", "**")
    text = re.sub(r"\|([^|]*)\|", r"abs(\1)", text)
    text = re.sub(r"([\d)]) (?=[\d(]|log|tanh|sigmoid|pi)", r"\1 * ", text)
    found = eval(re.sub(r"\blog ([\d.e-]+)", r"log(\1)", text), SYMBOLS)
    return np.clip(found, *map(float, re.findall(r"[\d.]+(?:e-?\d+)?", bounds))) if bounds else found


@pytest.mark.parametrize("text", [*OPTIMIZERS, *CLIPPED])
@pytest.mark.parametrize("factors", [{}, {"learning_rate": 3, "weight_decay": 0.5, "epsilon": 20}], ids=["", "groups"])
def test_every_step_comes_of_the_numbers_that_are_shown(factors, text):
    net, optimizer = network("dense", "tanh", "softmax"), optimizer_of(text)
    if factors:
        optimizer.groups = {"*.bias": {name: f for name, f in factors.items() if name in optimizer._arguments()}}
    x, y, _ = data(LOSSES[8])
    for _ in range(3):
        trace = net.trace(x, y, "cross_entropy", optimizer=optimizer)
        for name, array in trace.parameters.items():
            for where in {(0,) * array.ndim, tuple(n - 1 for n in array.shape)}:
                place = f"[{','.join(map(str, where))}]"
                lines = trace.explain(name + place).partition("update: ")[2].splitlines()
                equations = [line.split(" = ") for line in lines if re.match(r"  [\w.,'\[\]]+ = .* = ", line)]
                assert bool(equations) == (text not in CLIPPED)
                for _, expression, value in equations:
                    numbers = [abs(float(each)) for each in re.findall(r"\d[\d.]*(?:e-?\d+)?", expression)]
                    assert worth(expression) == pytest.approx(float(value), rel=2e-5, abs=1e-5 * max(numbers)), text
                if equations:
                    assert equations[-1][0] == f"  {name}.new{place}"
                    assert equations[-1][2] == f"{trace.values[f'{name}.new'][where]:.6g}"
                    assert f"{name}.new{place} = {equations[-1][1]} = " in str(trace) or array.size > 8
        net.fit(x, y, loss="cross_entropy", optimizer=optimizer, batch_size=None, shuffle=False, epochs=2)


def test_a_frozen_layer_stays():
    net = network("dense", "tanh", "identity")
    net[0].trainable = False
    trace = net.trace(*data(MSE)[:2], "mse", optimizer="adam")
    kept = f"{net[0].weight[0, 0]:.6g}"
    assert trace.explain("0.weight[0,0]").endswith(f"0.weight[0,0] is of a frozen layer, and stays {kept}")
    assert "0.weight, of a frozen layer" in str(trace) and "0.weight.new[0,0]" not in str(trace)


@every_network
@pytest.mark.parametrize("training", [True, False])
def test_what_is_passed_back_comes_of_the_factors_that_are_shown(name, training, monkeypatch):
    monkeypatch.setattr(formulas, "MOST_TERMS", 99)  # no sum is shortened
    net = shaken(NETWORKS[name]())
    trace = net.trace(*rows(name, n=3), "mse", training=training)
    told = 0
    for key in [*(f"{step.name}.dy" for step in trace.steps.values()), "dx"]:
        for where in np.ndindex(trace.values[key].shape):
            line = trace.explain(f"{key}[{','.join(map(str, where))}]").splitlines()[0]
            _, expression, value = line.split(" = ")
            assert value == f"{trace.values[key][where]:.6g}"
            assert worth(expression) == pytest.approx(float(value), rel=1e-4, abs=1e-5), line
            told += 1
    assert told > 3


@every_network
@pytest.mark.parametrize("training", [True, False])
def test_each_number_comes_of_what_it_is_computed_from(name, training, monkeypatch):
    monkeypatch.setattr(formulas, "MOST_TERMS", 99)
    net = shaken(NETWORKS[name]())
    trace = net.trace(*rows(name, n=3), "mse", training=training)
    for step in trace.steps.values():
        for where in np.ndindex(step.z.shape):
            for word, array in ("z", step.z), ("output", step.output):
                lines = trace.explain(f"{step.name}.{word}[{','.join(map(str, where))}]").splitlines()
                shown = next(line for line in lines if re.fullmatch(r"  = [-\d.e]+", line))
                assert shown == f"  = {array[where]:.6g}"
                if lines[1] != shown:
                    near = 1e-4 if "cos" in lines[1] else 1e-5  # of an angle, six digits are less of its cosine
                    assert worth(lines[1][4:]) == pytest.approx(array[where], rel=1e-4, abs=near), lines


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_loss_comes_of_the_numbers_that_are_shown(loss, monkeypatch):
    monkeypatch.setattr(formulas, "MOST_TERMS", 99)
    x, y, weights = data(loss)
    told = loss.name in ("mse", "mae", "bce", "ce-labels")
    for reduction in "mean", "sum":
        for given in None, weights:
            net = network("dense", "tanh", loss.ends[0], loss.n_out)
            trace = net.trace(x, y, loss.make(reduction), sample_weight=given)
            for r in range(len(x)):
                lines = trace.explain(f"losses[{r}]").splitlines()
                assert len(lines) == 2 + told and lines[-1] == f"  = {trace.losses[r]:.6g}"
                if told:
                    assert worth(lines[1][4:]) == pytest.approx(trace.losses[r], rel=1e-4)
            head, value = trace.explain("loss").splitlines()
            assert worth(head.split(" = ")[-1]) == pytest.approx(trace.value, rel=1e-4)
            assert value == f"  = {trace.value:.6g}"


# Evaluation mode.


@every_network
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_evaluation_mode_has_the_numbers_of_predict(name, dtype):
    net = shaken(NETWORKS[name](), dtype)
    x, y = rows(name, dtype)
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.01), batch_size=None)  # running statistics move
    net.gradients[...] = 7
    before = everything(net)
    trace = net.trace(x, y, "mse", training=False)
    assert equal(before, everything(net))
    for out, step in zip(net.activations(x), trace.steps.values(), strict=True):
        assert np.array_equal(out, step.output)
    other = net.copy()
    last = trace.steps[net.graph[-1].name]
    assert np.array_equal(other.forward(x, training=False), last.output)
    assert np.array_equal(net.predict(x), last.output)
    value, dy = bp.MeanSquaredError()(last.output, y)
    assert trace.value == pytest.approx(value + net.penalty(), rel=1e-6)
    assert np.array_equal(other.backward(dy), trace.dx)
    for key, array in trace.gradients.items():
        begin = net._storage.offset(net.arrays()[key])
        assert np.array_equal(array.ravel(), other.gradients[begin : begin + array.size]), key
    assert not any("mask" in step.more or "running_mean.after" in step.more for step in trace.steps.values())
    assert "evaluation mode" in str(trace).splitlines()[0] and "in evaluation mode" in repr(trace)
    if dtype == "float64" and "names" not in name:
        assert trace.check().error < 1e-6


def test_a_norm_in_evaluation_mode_goes_by_its_running_statistics():
    net = shaken([bp.Dropout(0.5), bp.BatchNorm(), bp.Dense(4, 3)])
    net[1].running_mean, net[1].running_variance = [1, 2, 3, 4], [4, 9, 16, 25]
    x, y, _ = data(MSE)
    trace = net.trace(x, y, "mse", training=False)
    assert trace["1"].more["mean"].tolist() == [1, 2, 3, 4] and np.array_equal(trace["0"].output, x)
    text = str(trace)
    assert "y = x, since nothing is dropped in evaluation mode" in text and "by the running statistics" in text
    delta, weight = trace["1"].delta[0, 1], net[1].weight[1]
    shown = f"({delta:.6g})" if delta < 0 else f"{delta:.6g}"
    assert f"{shown} * {weight:.6g} / sqrt(9 + 1e-05) (through the batch_norm 1)" in trace.explain("0.dy[0,1]")
    with pytest.raises(ValueError, match=r"optimizer: expected none with training=False, .* got 'adam'"):
        net.trace(x, y, "mse", optimizer="adam", training=False)
    with pytest.raises(TypeError, match=r"training: expected True or False"):
        net.trace(x, y, "mse", training=1)
    own = bp.Sequential([Doubled(), bp.Dense(4, 3)], rng=0)
    with pytest.raises(TypeError, match="expected built-in layers with training=False"):
        own.trace(x, y, "mse", training=False)


def test_softmax_within_is_shown_with_its_sum():
    net = network("dense", "softmax", "identity")
    trace = net.trace(*data(MSE)[:2], "mse")
    step, lines = trace["0"], trace.explain("0.delta[1,2]").splitlines()
    _, expression, value = re.fullmatch(r"  dE/d (0\.z\[1,2\]) = (.*) = ([-\d.e]+), of dz_i = .*", lines[0]).groups()
    assert worth(expression) == pytest.approx(float(value), rel=1e-3, abs=1e-7)
    assert float(value) == pytest.approx(step.delta[1, 2], rel=1e-5)


def test_long_layers_are_shortened_and_the_table_is_whole():
    net = bp.Sequential([bp.Dense(50, 60, "relu"), bp.Dense(60, 1)], rng=0)
    trace = net.trace(np.ones((3, 50)), np.ones((3, 1)), "mse")
    text = str(trace)
    assert len(text.splitlines()) < 150
    assert max(map(len, text.splitlines())) < 140
    whole = trace.table("0.weight")
    assert all(f"{number:.6g}" in whole for number in trace.parameters["0.weight"].ravel())
    assert "..." not in trace.table()
    assert trace.table("1.*").startswith("1.z (3, 1)\n")
    with pytest.raises(ValueError, match=r"got '0\.weigth'; did you mean '0\.weight'\?"):
        trace.explain("0.weigth[0,0]")
    with pytest.raises(ValueError, match=r"name: expected one of input, 0\.z, .*, got '2\.\*'"):
        trace.table("2.*")


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if "softmax" not in name])
def test_formulas_of_activations_are_theirs(name):
    net = bp.Sequential([bp.Dense(4, 3, ACTIVATIONS[name])], rng=1, dtype="float64")
    step = net.trace(*data(MSE)[:2], "mse")["0"]
    shown = formulas.activation(ACTIVATIONS[name]), formulas.slope(ACTIVATIONS[name])
    for text, numbers in zip(shown, (step.output, step.slope), strict=True):
        np.testing.assert_allclose(evaluated(text, step.z, step.output), numbers, rtol=2e-5, atol=1e-7)


def evaluated(text, z, y):
    """A formula as it is printed."""
    text, _, where = text.partition(" with t = ")
    text, _, bounds = text.partition(", at least ")
    names = {
        "z": z, "y": y, "e": np.e, "max": np.maximum, "sqrt": math.sqrt, "erf": np.vectorize(math.erf), "log": np.log,
        "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "softplus": lambda z: np.log1p(np.exp(z)),
        "Phi": lambda z: (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2, "abs": np.abs,
        "phi": lambda z: np.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    }  # fmt: skip
    if where:
        names["t"] = evaluated(where, z, y)
    if " where z > 0, else " in text:
        return np.where(z > 0, *(evaluated(part, z, y) for part in text.split(" where z > 0, else ")))
    if " between " in text:
        value, low, high = re.fullmatch(r"(\S+) between (\S+) and (\S+), else 0", text).groups()
        return np.where((z > float(low)) & (z < float(high)), eval(value), 0)
    text = re.sub(r"\|(\w)\|", r"abs(\1)", text).replace("^", "**")
    text = re.sub(r"((?<![\w.])[zyta]|(?<![\w.])[\d.]+|\)) (?=[\w(])", r"\1 * ", text)
    found = eval(text, names)
    return np.clip(found, *map(float, bounds.split(", at most "))) if bounds else found


def test_a_wide_network_is_traced_in_a_moment(tmp_path):
    net = bp.Sequential([bp.Dense(784, 256, "relu"), bp.Dense(256, 10, "softmax")], rng=0)
    rng = np.random.default_rng(0)
    trace = net.trace(rng.random((64, 784)), rng.integers(0, 10, 64), "cross_entropy", optimizer="adam")
    start = time.perf_counter()
    lines = str(trace).splitlines()
    trace.to_html(tmp_path / "trace.html")
    assert time.perf_counter() - start < 10
    assert len(lines) < 400
    assert "    0.z[0,255] = " in "\n".join(lines)


def test_it_is_json():
    trace = network("dense", "softmax", "identity").trace(*data(MSE)[:2], "mse", optimizer="adam")
    given = json.loads(json.dumps(trace.to_dict()))
    assert given["loss"] == trace.value
    assert np.array_equal(given["1.delta"], trace["1"].delta)


@pytest.mark.parametrize("name", FITS)
def test_gradients_beside_differences(name):
    net = shaken(NETWORKS[name]())
    trace = net.trace(*rows(name), "mse")
    net.parameters += 1  # what was traced counts
    before = everything(net)
    check = trace.check()
    assert equal(before, everything(net))
    assert check.error < 1e-6, check
    assert set(check.pairs) == {*trace.gradients, "dx"}
    assert "largest relative error" in str(check)


def test_a_wrong_gradient_is_found():
    class Wrong(Doubled):
        def backward(self, dy):
            return 3 * dy

    net = bp.Sequential([bp.Dense(4, 3), Wrong()], rng=1, dtype="float64")
    assert net.trace(*data(MSE)[:2], "mse").check().error > 0.1


class Page(HTMLParser):
    """What is in a page: its elements by tag, and whether each is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.setdefault(tag, []).append(dict(attributes))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.setdefault(tag, []).append(dict(attributes))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@every_network
def test_a_page_has_a_formula_for_all_that_it_draws(name, tmp_path):
    net = shaken(NETWORKS[name]())
    trace = net.trace(*rows(name), "mse", optimizer="adam")
    trace.to_html(tmp_path / "trace.html")
    text = (tmp_path / "trace.html").read_text(encoding="utf-8")
    page = Page(text)
    texts = json.loads(re.search("const texts = (.*);\n", text)[1])
    groups = page.found["g"]
    assert [group["data-at"] for group in groups] == [str(k) for k in range(len(texts))]
    assert "http" not in text
    assert page.found["details"]
    for group, formula in zip(groups, texts, strict=True):
        if "weight" in group["aria-label"]:
            place = group["aria-label"].partition(" = ")[0]
            assert formula == trace.explain(place)
    drawn = min(4, 10) + sum(operation.n_out if operation.n_out <= 10 else 8 for operation in net.graph)
    assert len(page.found["circle"]) == drawn
    shown = Page(trace._repr_html_())
    assert len(shown.found["circle"]) == drawn
    assert "script" not in shown.found


def test_a_page_draws_weights_by_sign_and_names_inputs(tmp_path):
    net, _, x, y = known()
    net[0].weight[0, 1] = -0.25
    net.feature_names = ("age", "<b>")
    text = net.trace(x, y, "mse")._repr_html_()
    classes = [path.get("class") for path in Page(text).found["path"]]
    assert classes == ["near", "positive", "near", "negative"] + ["near", "positive"] * 6
    assert f".positive{{stroke:{_display.ORANGE}}}" in text and f".negative{{stroke:{_display.BLUE}}}" in text
    assert "input[0,0] = 0.05, age" in text and "<b>" not in text
    assert "    input[0,1] = 0.1, <b>" in str(net.trace(x, y, "mse")).splitlines()
    rows = "those of the first row"
    for n in 1, 2:
        net.trace(np.tile(x, (n, 1)), np.tile(y, (n, 1)), "mse").to_html(tmp_path / "trace.html")
        assert (rows in (tmp_path / "trace.html").read_text(encoding="utf-8")) == (n == 2)


def test_a_page_says_what_it_is_given_as_text():
    net = bp.Sequential([bp.Dense(4, 3), Doubled()], rng=1, dtype="float64")

    def loss(y_hat, y):
        return half(y_hat, y)

    loss.__qualname__ = "</script><b>"
    text = net.trace(*data(MSE)[:2], loss)._repr_html_()
    assert "</script>" not in text
    assert "&lt;b&gt;" in text


def test_comparing_with_what_was_computed_by_hand():
    net, _, x, y = known()
    trace = net.trace(x, y, "mse")
    found = trace.compare({
        "1.delta": trace["1"].delta, "0.delta": [[0.00877135, 0.00995425]], "loss": 0.3,
        "0.weight.gradient[0,1]": 0.000497713,
    })  # fmt: skip
    assert [verdict.verdict for verdict in found.values()] == ["exact", "approximate", "different", "approximate"]
    assert str(found).splitlines()[2] == "loss                    different, off by 0.00163"
    assert trace.compare({"loss": 0.3}, tolerance=0.01)["loss"].verdict == "approximate"
    with pytest.raises(ValueError, match=r"1\.delta: expected numbers of shape \(1, 2\), got \(2,\)"):
        trace.compare({"1.delta": [0.1, 0.2]})
    with pytest.raises(ValueError, match=r"name: expected one of .*, got '3\.delta'"):
        trace.compare({"3.delta": [0.1, 0.2]})
    with pytest.raises(ValueError, match=r"1\.delta: expected a place within its shape \(1, 2\), got \[0, 2\]"):
        trace.explain("1.delta[0,2]")
    squares = "((0.751365 - 0.01)^2 + (0.772928 - 0.99)^2) / 2"
    for use in trace.explain, trace.table, lambda name: trace.compare({name: 1.0}):
        for name in None, 3:
            with pytest.raises(TypeError, match=r"name: expected a name, such as '0\.weight\[0,1\]', got"):
                use(name)
    assert trace.explain("loss") == f"loss = l\n  = {squares}\n  = 0.298371"
    assert f"losses[0] = {squares} = 0.298371" in str(trace)
    with pytest.raises(ValueError, match=r"expected one number, such as '1\.delta\[0,0\]', got all of '1\.delta'"):
        trace.explain("1.delta")


def test_the_core_refuses_a_tape_that_there_is_not():
    net = bp.Sequential([bp.Dense(2, 3)], rng=0)
    y = np.empty((4, 3), "float32")
    with pytest.raises(ValueError, match="tape: expected a forward"):
        net._plan.tape_of(0, y, y.copy())
    net.forward(np.ones((4, 2)))
    net.backward(np.ones((4, 3)))
    for at, rows, n in (1, 4, 3), (-1, 4, 3), (0, 3, 3), (0, 4, 2):
        wrong = np.empty((rows, n), "float32")
        with pytest.raises(ValueError, match="tape: expected"):
            net._plan.tape_of(at, wrong, wrong.copy())
