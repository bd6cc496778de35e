"""Optimizers as a user meets them: clipping, averages, penalties, frozen layers, and what they remember.

Their formulas are compared with their twins in test_updates.py, with PyTorch's in test_torch.py, and fits with steps by
hand in test_four_lines.py.
"""

import copy
import itertools
import json
import math
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import runs
from instances import CLIPPED, OPTIMIZERS, optimizer_of
from oracles import InTorch
from runs import three_layers

import backprop as bp

DTYPES = ["float32", "float64"]
ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("BACKPROP_DATA", ROOT.parent / "shared" / "data"))


def table(rows=20, dtype="float64"):
    return runs.table(rows, dtype)[:2]


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
        net = three_layers(**penalised)
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
    plain = three_layers()
    trained(plain, bp.SGD(0.1))
    for text in ("SGD(0.1, clip_norm=0.05)", "SGD(0.1, clip_value=0.01)"):
        clipped = three_layers()
        trained(clipped, optimizer_of(text))
        assert abs(clipped.parameters - plain.parameters).max() > 0.01
    wide = three_layers()
    trained(wide, bp.SGD(0.1, clip_norm=1e6, clip_value=1e6))
    assert np.array_equal(wide.parameters, plain.parameters)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_clipped_step_has_the_norm_it_is_told_and_the_gradient_stays(dtype):
    (x, y), net = table(dtype=dtype), three_layers(dtype)
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
    net, optimizer = three_layers(), bp.Adam(0.01, average=0.9)
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
    with (
        pytest.raises(ValueError, match="bound to another network: create a new one"),
        optimizer.averaged(three_layers()),
    ):
        pass
    net.parameters = optimizer.state["average"]
    trained(net, optimizer)
    assert not np.array_equal(optimizer.state["average"], mean)


def test_the_average_is_that_of_the_steps():
    net, optimizer, seen = three_layers(), bp.SGD(0.1, average=0.8), []
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
    net = three_layers(l1=0.01, l2=0.03)
    w = [net.layers[i].weight for i in (0, 2)]
    expected = sum(0.01 * abs(v).sum() + 0.03 * (v * v).sum() for v in w)
    assert net.penalty() == pytest.approx(expected, rel=1e-13)
    plain = net.evaluate(x, y, loss=loss, sample_weight=weights)["loss"]
    value, gradient = net.value_and_gradient(x, y, loss, sample_weight=weights)
    assert plain == pytest.approx(three_layers().evaluate(x, y, loss=loss, sample_weight=weights)["loss"], rel=1e-13)
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
    net, its = three_layers(l2=0.1), optimizer_of(optimizer)
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
    net, optimizer = three_layers(), bp.Adam(0.1)
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
    net = three_layers()
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
    whole, part = three_layers(dtype), three_layers(dtype)
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
        net = three_layers()
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


def test_a_rule_is_all_that_the_next_step_depends_on():
    net, optimizer = three_layers(), bp.AdamW(0.01, clip_norm=1.0)
    net.layers[0].trainable = False
    net.gradients[:] = np.linspace(-1, 1, 139)
    optimizer.step(net)
    rule = optimizer.rule(net)
    assert rule.state[0] is optimizer.state["mean"] and rule.state[1] is optimizer.state["square"]
    assert rule.ranges == net.trainable_ranges and len(rule.state) == 2 and rule.steps == 1
    assert repr(rule.update) == "Update(adamw, 0.9, 0.999, 1e-08, 0.0, weight_decay=0.01, clip_norm=1.0)"
    assert str(rule) == f"Rule({rule.update}, state=(float64[139], float64[139]), ranges={rule.ranges}, steps=1)"
    by_hand, state = net.parameters.copy(), tuple(vector.copy() for vector in rule.state)
    optimizer.step(net)
    assert bp._core.apply_update(rule.update, 0.01, rule.steps + 1, by_hand, net.gradients, state, rule.ranges)
    assert np.array_equal(by_hand, net.parameters)


def test_a_full_batch_optimizer_is_given_all_rows_once_an_epoch():
    seen = []

    class Descent(bp.optimizers.FullBatch):
        def minimize(self, net, evaluate, iterations=1):
            values = []
            for _ in range(iterations):
                value, gradient = evaluate()
                net.parameters -= self.rates(1)[0] * gradient
                self.steps += 1
                values.append(value)
            seen.append(iterations)
            return values

    x, y = np.random.default_rng(0).normal(size=(2, 20, 5))
    ends = []
    for optimizer, size in (Descent(0.1), 3), (bp.SGD(0.1), None):
        net = bp.Sequential([bp.Dense(5, 5)], rng=0, dtype="float64")
        history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=4, batch_size=size, shuffle=False)
        ends.append([*history["loss"], *net.parameters])
    np.testing.assert_allclose(*ends, rtol=1e-12)
    assert sum(seen) == 4
    with pytest.raises(TypeError, match="step: expected an optimizer that needs one gradient, got Descent"):
        Descent(0.1).step(net)


def test_the_steps_of_a_custom_optimizer_are_counted_once():
    class Forgets(bp.Optimizer):
        def step(self, net):
            net.parameters -= self.rates(1)[0] * net.gradients

    class Counts(Forgets):
        def step(self, net):
            super().step(net)

    class Doubles(bp.SGD):
        def step(self, net):
            net.gradients *= 2
            super().step(net)

    for kind in Forgets, Counts, Doubles:
        net, optimizer = three_layers(), kind(0.1)
        for _ in range(3):
            optimizer.step(net)
        assert optimizer.steps == 3
