"""Losses of derivatives: their gradients beside finite differences, equations that are solved, and bad functions."""

from functools import partial

import numpy as np
import pytest
from oracles import differences, error

import backprop as bp

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 2))
TERM = np.arange(30) % 3


def network(dtype="float64", **how):
    return bp.Sequential([bp.Dense(2, 7, "tanh", **how), bp.Dense(7, 5, "silu"), bp.Dense(5, 2)], rng=0, dtype=dtype)


def inside(x, u, du, d2u):
    r = du[:, 0, 1] - u[:, 0] * d2u[:, 1, 0] + x[:, 0]
    d_u, d_du, d_d2u = (np.zeros_like(part) for part in (u, du, d2u))
    d_u[:, 0], d_du[:, 0, 1], d_d2u[:, 1, 0] = -2 * r * d2u[:, 1, 0], 2 * r, -2 * r * u[:, 0]
    return r**2, d_u, d_du, d_d2u


def slope(x, u, du):
    return ((du - 1) ** 2).sum(axis=(1, 2)), None, 2 * (du - 1)


def border(x, u):
    return ((u - x) ** 2).sum(axis=1), 2 * (u - x)


LOSSES = {
    "one": (lambda: bp.losses.Differential(inside), np.zeros(30)),
    "first order": (lambda: bp.losses.Differential(slope, 1), np.zeros((30, 2))),
    "terms": (lambda: bp.losses.Differential([inside, slope, border], (2, 1, 0), weights=[1, 0.3, 5]), TERM),
    "sobolev": (lambda: bp.losses.Sobolev(0.4), (rng.normal(size=(30, 2)), rng.normal(size=(30, 2, 2)))),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_beside_differences(name, weighted):
    make, y = LOSSES[name]
    weights = rng.random(30) + 0.1 if weighted else None
    net, loss = network(l2=0.01), make()
    value, gradient = net.value_and_gradient(X, y, loss, sample_weight=weights)
    numeric = differences(lambda: net.value_and_gradient(X, y, loss, sample_weight=weights)[0], net.parameters)
    assert error(gradient, numeric) < 1e-6
    score = net.evaluate(X, y, loss=loss, sample_weight=weights)["loss"]
    assert score + net.penalty() == pytest.approx(value, rel=1e-12)


def test_the_value_is_the_weighted_sum_of_the_means_of_the_terms():
    net, (make, y) = network(), LOSSES["terms"]
    u, du, d2u = net.derivatives(X, 2)
    parts = [inside(X, u, du, d2u)[0], slope(X, u, du)[0], border(X, u)[0]]
    expected = sum(w * part[term == TERM].mean() for w, part, term in zip((1, 0.3, 5), parts, range(3), strict=True))
    assert net.evaluate(X, y, loss=make())["loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_is_its_steps(name, dtype):
    """Of all rows at once, of batches, and seen by a callback: the loss falls, and steps are those by hand."""
    make, y = LOSSES[name]
    net, by_hand = network(dtype), network(dtype)
    history = net.fit(X, y, loss=make(), optimizer=bp.Adam(0.01), epochs=60, batch_size=None)
    assert history["loss"][-1] < history["loss"][0]
    optimizer, loss = bp.Adam(0.01), make()
    for expected in history["loss"][:5]:
        value, gradient = by_hand.value_and_gradient(X, y, loss)
        assert value == pytest.approx(expected, rel=1e-14)
        by_hand.gradients[...] = gradient
        optimizer.step(by_hand)
    batches = network(dtype).fit(X, y, loss=make(), optimizer=bp.Adam(0.01), epochs=30, batch_size=8, rng=0)
    assert batches["loss"][-1] < batches["loss"][0]

    class Seen(bp.Callback):
        def on_batch_end(self, run):
            assert run.loss > 0

    watched = network(dtype)
    again = watched.fit(
        X, y, loss=make(), optimizer=bp.Adam(0.01), epochs=60, batch_size=None, shuffle=False, callbacks=[Seen()]
    )
    assert again["loss"] == history["loss"] and np.array_equal(watched.parameters, net.parameters)


def test_lbfgs_solves_an_equation():
    """u'' = -u with u(0) = 0 and u(1) = sin 1."""

    def equation(x, u, du, d2u):
        r = d2u[:, :, 0] + u
        return (r**2)[:, 0], 2 * r, None, 2 * r[:, :, None]

    def ends(x, u):
        off = u - np.sin(x)
        return (off**2)[:, 0], 2 * off

    x, term = np.concatenate([np.linspace(0, 1, 30), [0, 1]])[:, None], np.repeat([0, 1], [30, 2])
    net = bp.Sequential([bp.Dense(1, 10, "sin"), bp.Dense(10, 1)], rng=0, dtype="float64")
    loss = bp.losses.Differential([equation, ends], order=[2, 0])
    net.fit(x, term, loss=loss, optimizer=bp.LBFGS(), epochs=300, validation_data=(x, term))
    assert abs(net.predict(x) - np.sin(x)).max() < 1e-4


def test_derivatives_as_targets_help_with_few_rows():
    x = np.random.default_rng(1).uniform(-2, 2, (25, 2))
    grid = np.random.default_rng(2).uniform(-2, 2, (500, 2))

    def f(x):
        return np.sin(x[:, :1]) * x[:, 1:]

    slopes = np.stack([np.cos(x[:, 0]) * x[:, 1], np.sin(x[:, 0])], axis=1)
    wrong = []
    for weight in (0, 1):
        net = bp.Sequential([bp.Dense(2, 30, "tanh"), bp.Dense(30, 1)], rng=0, dtype="float64")
        net.fit(x, (f(x), slopes), loss=bp.losses.Sobolev(weight), optimizer=bp.LBFGS(), epochs=300)
        wrong.append(((net.predict(grid) - f(grid)) ** 2).mean())
    assert wrong[1] < wrong[0] / 5


def returning(*values):
    return lambda *given: values


def test_bad_functions_and_targets_are_refused():
    net = network()
    before = net.parameters.copy()
    u, du, d2u = net.derivatives(X, 2)
    good = np.zeros(30)
    for function, kind, message in (
        (returning(good), TypeError, r"expected it to return \(values, d_u, d_du, d_d2u\)"),
        (
            returning(good[:5], u, du, d2u),
            ValueError,
            r"expected values of shape \(30,\), one for each row, got \(5,\)",
        ),
        (returning(good, u, du[:, :, :1], d2u), ValueError, r"expected d_du of shape \(30, 2, 2\), got \(30, 2, 1\)"),
        (returning(good + 1j, u, du, d2u), TypeError, "expected values of real numbers, got dtype complex128"),
        (returning(good, u > 0, du, d2u), TypeError, "expected d_u of real numbers, got dtype bool"),
        (
            returning(good, u, np.ma.masked_array(du), d2u),
            TypeError,
            "expected d_du of real numbers, got a masked array",
        ),
        (lambda x, u, du, d2u: x.fill(0), ValueError, "read-only"),
    ):
        with pytest.raises(kind, match=message):
            net.fit(X, good, loss=bp.losses.Differential(function), optimizer="adam")
    with pytest.raises(bp.DivergedError):
        net.fit(X, good, loss=bp.losses.Differential(returning(good + np.nan, None, None, None)), optimizer="adam")
    assert np.array_equal(net.parameters, before)

    terms = LOSSES["terms"][0]()
    for y in (np.full(30, 3), np.full(30, -1), np.full(30, 0.5), np.zeros((30, 2))):
        with pytest.raises(ValueError, match="y: expected for each row the number of its term, 0 to 2"):
            net.fit(X, y, loss=terms, optimizer="adam")
    for y, message in (
        (np.zeros((30, 2)), "expected a pair"),
        ((np.zeros((30, 2)), np.zeros((30, 3))), "dy: expected"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            net.fit(X, y, loss=bp.losses.Sobolev(), optimizer="adam")
    pair = np.zeros((30, 2)), np.zeros((30, 2, 2))
    for call in (partial(net.fit, optimizer="adam"), net.evaluate):
        with pytest.raises(ValueError, match=r"metrics: expected none with Sobolev\(1.0\)"):
            call(X, pair, loss=bp.losses.Sobolev(), metrics=["mae"])
    with pytest.raises(TypeError, match="function: expected"):
        bp.losses.Differential("mse")
    for order in (3, -1, [2, 5]):
        with pytest.raises(ValueError, match="order: expected"):
            bp.losses.Differential(inside, order)
    with pytest.raises(ValueError, match="weights: expected 2, one for each term, got 1"):
        bp.losses.Differential([inside, border], weights=[1])
    with pytest.raises(TypeError, match="expected one of outputs alone, got Differential"):
        bp.losses.Differential(inside)(u, good)
    straight = bp.Sequential([bp.Dense(2, 4, "relu"), bp.Dense(4, 2)], rng=0)
    with pytest.raises(ValueError, match="the second derivative of relu"):
        straight.fit(X, good, loss=bp.losses.Differential(inside), optimizer="adam")
    straight.fit(X, good, loss=bp.losses.Differential(inside, allow_zero_curvature=True), optimizer="adam")
