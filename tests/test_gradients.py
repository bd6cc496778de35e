"""Every gradient against central differences."""

import itertools

import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from instances import ACTIVATIONS, GRADIENTS, LOSSES, REDUCTIONS, data, network
from oracles import differences, error

import backprop as bp

MSE, LABELS = (next(loss for loss in LOSSES if loss.name == name) for name in ("mse", "ce-labels"))
WITHIN = 1e-6


@GRADIENTS
def test_every_parameter(layer, f, end, loss):
    net = network(layer, f, end, loss.n_out)
    x, y, weights = data(loss)
    # How the losses of the rows are combined meets the loss and the penalties, and the rest through dy alone.
    all_ways = (layer, f) == ("dense", "tanh") or layer == "penalties"
    ways = itertools.product(REDUCTIONS, (None, weights)) if all_ways else [("mean", weights)]
    for reduction, sample_weight in ways:
        found = bp.check_gradients(net, loss.make(reduction), x, y, sample_weight=sample_weight)
        assert found.error < WITHIN, (reduction, found)


@GRADIENTS
def test_by_hand(layer, f, end, loss):
    # Here the loss is computed on the probabilities where there are such, not on the logits beneath them.
    net, made = network(layer, f, end, loss.n_out), loss.make("mean")
    x, y, weights = data(loss)

    def forward():
        net.steps = 0  # the same numbers are dropped each time
        return net.forward(x)

    def value():
        return made(forward(), y, weights)[0] + net.penalty()

    y_hat = forward()
    _, dy = made(y_hat, y, weights)
    dx = net.backward(dy)
    gradients = net.gradients.copy()
    assert error(dx, differences(value, x)) < WITHIN
    assert error(gradients, differences(value, net.parameters)) < WITHIN
    net.steps = 0
    _, fused = net.value_and_gradient(x, y, made, sample_weight=weights)
    np.testing.assert_allclose(gradients, fused, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_loss_on_its_own(reduction, weighted, loss):
    rng, made = np.random.default_rng(1), loss.make(reduction)
    y_hat, y = rng.dirichlet(np.ones(max(2, loss.n_out)), 6)[:, : loss.n_out], loss.data(6, rng)
    if loss.ends == ("identity",):
        y_hat = rng.normal(scale=3, size=(6, loss.n_out))
    weights = rng.random(6) * (rng.random(6) < 0.7) if weighted else None
    value, dy = made(y_hat, y, weights)
    assert np.shape(value) == ((6,) if reduction == "none" else ())
    assert error(dy, differences(lambda: np.sum(made(y_hat, y, weights)[0]), y_hat)) < WITHIN


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_loss_of_ones_own(name):
    # log cosh, through every last activation.
    def log_cosh(y_hat, y):
        return np.log(np.cosh(y_hat - y)).sum(), np.tanh(y_hat - y)

    x, y, _ = data(MSE)
    assert bp.check_gradients(network("dropout", "tanh", name), log_cosh, x, y).error < WITHIN


# The check itself.


def test_the_check_finds_every_wrong_gradient():
    class Wrong(bp.Sequential):
        at = 0

        def value_and_gradient(self, *args, **kwargs):
            value, gradient = super().value_and_gradient(*args, **kwargs)
            gradient[self.at] += abs(gradient).max() / 10
            return value, gradient

    net = Wrong(
        [bp.Dense(4, 3, "tanh"), bp.Dropout(0.1), bp.Dense(3, 2, "sigmoid", use_bias=False)], rng=1, dtype="float64"
    )
    x, y, _ = data(MSE)
    names = [
        f"layers[{i}].{name}[{', '.join(map(str, at))}]"
        for i, layer in enumerate(net.layers)
        for name, shape in layer.shapes().items()
        for at in np.ndindex(shape)
    ]
    assert len(names) == net.parameters.size == 21
    for net.at, name in enumerate(names):
        found = bp.check_gradients(net, "mse", x, y[:, :2])
        assert found.parameter == name
        assert found.error > 0.05
        assert float(found) == found.error


def test_the_check_finds_a_wrong_gradient_that_is_small():
    """An error counts beside its own gradient, as long as that is not a hundred times smaller than the largest."""

    class Doubled(bp.Sequential):
        def value_and_gradient(self, *args, **kwargs):
            value, gradient = super().value_and_gradient(*args, **kwargs)
            sizes = np.where(abs(gradient) > abs(gradient).max() / 80, abs(gradient), np.inf)
            self.share = sizes.min() / abs(gradient).max()
            gradient[sizes.argmin()] *= 2
            return value, gradient

    net = Doubled([bp.Dense(4, 3, "tanh"), bp.Dense(3, 2)], rng=1, dtype="float64")
    x, y, _ = data(MSE)
    assert bp.check_gradients(net, "mse", x, y[:, :2]).error == pytest.approx(0.5, rel=1e-4)
    assert net.share < 0.2


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_check_finds_a_loss_whose_gradient_is_not_its_own(loss):
    def wrong(y_hat, y):
        value, dy = made(y_hat, y)
        return value, dy * 1.001

    net, made = network("dense", "tanh", loss.ends[-1], loss.n_out), loss.make("mean")
    x, y, _ = data(loss)
    assert 0.0005 < bp.check_gradients(net, wrong, x, y).error < 0.002


def test_the_check_leaves_the_network_as_it_was():
    net = network("dropout", "sigmoid", "softmax")
    x, y, weights = data(LABELS)
    _, gradient = net.value_and_gradient(x, y, "cross_entropy", sample_weight=weights)
    parameters, steps = net.parameters.copy(), net.steps
    bp.check_gradients(net, "cross_entropy", x, y, sample_weight=weights)
    assert np.array_equal(net.parameters, parameters) and np.array_equal(net.gradients, gradient) and net.steps == steps
    float32 = bp.Sequential([bp.Dense(4, 3, "softmax")], rng=1)
    assert bp.check_gradients(float32, "cross_entropy", x, y).error < 1e-2


def test_a_callable_loss_is_given_the_weights():
    net, mse = network("dense", "tanh", "identity"), bp.MeanSquaredError()
    x, y, weights = data(MSE)
    value, gradient = net.value_and_gradient(x, y, lambda *args: mse(*args), sample_weight=weights)
    expected, expected_gradient = net.value_and_gradient(x, y, mse, sample_weight=weights)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-14)


# Random networks.


@st.composite
def networks(draw):
    """A network of up to four layers, and rows for it."""
    activations = st.sampled_from(sorted(ACTIVATIONS.keys() - {"exp"}))  # of which a tower leaves the numbers
    n, layers = draw(st.integers(1, 6)), []
    for kind in (*draw(st.lists(st.sampled_from(["dense", "dense", "activation", "dropout"]), max_size=4)), "dense"):
        if kind == "dense":
            n_out = draw(st.integers(1, 7))
            layers.append(
                bp.Dense(
                    n, n_out, ACTIVATIONS[draw(activations)], use_bias=draw(st.booleans()), bias_init="lecun_normal",
                    weight_init=draw(st.sampled_from(["glorot_uniform", "he_normal", "lecun_normal"])),
                )
            )  # fmt: skip
            n = n_out
        elif kind == "activation":
            layers.append(bp.Activation(ACTIVATIONS[draw(activations)]))
        else:
            layers.append(bp.Dropout(draw(st.floats(0, 0.9))))
    first = next(layer.n_in for layer in layers if layer.n_in)
    net = bp.Sequential(layers, rng=draw(st.integers(0, 1000)), dtype="float64")
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    rows = draw(st.integers(1, 6))
    return net, rng.normal(size=(rows, first)), rng.normal(size=(rows, n))


KINKS = {"relu": [0], "leaky_relu": [0], "elu": [0], "selu": [0], "hard_sigmoid": [-3, 3], "hard_tanh": [-1, 1]}


def nearest_kink(net, x):
    """How far the nearest number lies from where its activation is bent; those that are 0 whatever the weights aside."""
    found = reference.forward_rows(net.layers, x, net.seed, net.steps)
    bent = [
        abs(z[z != 0] - kink)
        for (z, _), layer in zip(found, net.layers, strict=True)
        for kink in KINKS.get(layer.activation.name, ())
    ]
    return min((z.min() for z in bent if z.size), default=1)


@settings(deadline=None, max_examples=60, derandomize=True, database=None)
@given(networks(), st.sampled_from(REDUCTIONS))
def test_random_networks(case, reduction):
    net, x, y = case
    assume(nearest_kink(net, x) > 1e-3)
    loss = bp.MeanSquaredError(reduction=reduction)
    found = bp.check_gradients(net, loss, x, y)
    assert found.error < WITHIN, found
    y_hat = net.forward(x)
    _, dy = loss(y_hat, y)
    twins = reference.forward_rows(net.layers, x, net.seed, net.steps - 1)
    dx, gradients = reference.backward_rows(net.layers, x, twins, dy, net.seed, net.steps - 1)
    np.testing.assert_allclose(y_hat, twins[-1][1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(net.backward(dy), dx, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(net.gradients, gradients, rtol=1e-11, atol=1e-13)
