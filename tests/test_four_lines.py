"""A fit is the four lines by hand: the same numbers by either road.

Tests whose name ends in _bits compare to the last bit; they are run for every build of the core that runs here.
"""

import itertools
from itertools import pairwise

import numpy as np
import pytest
from instances import ACTIVATIONS, CLIPPED, LOSSES, OPTIMIZERS, optimizer_of
from runs import QUICK, big, by_hand, same, small, state, table, tiny

import backprop as bp


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *CLIPPED])
def test_fit_is_the_four_lines_bits(optimizer, dtype):
    x, y, weights = table(23, dtype)
    for shuffle, weight, reduction in itertools.product((False, True), (None, weights), ("mean", "sum")):
        loss, runs = bp.MeanSquaredError(reduction=reduction), []
        for way in range(2):
            net, its = small(dtype), optimizer_of(optimizer)
            if way:
                values = by_hand(net, x, y, loss, its, 3, 5, weight, shuffle=shuffle)
            else:
                history = net.fit(
                    x, y, loss=loss, optimizer=its, epochs=3, batch_size=5, shuffle=shuffle, sample_weight=weight
                )
            runs.append(state(net, its))
        assert same(*runs), (shuffle, weight is not None, reduction)
        if reduction == "sum":
            np.testing.assert_allclose(history["loss"], np.reshape(values, (3, 5)).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize(("rows", "batch"), [(1, 1), (4, 3), (129, 128), (300, 129), (2500, 1025), (2500, 2500)])
@pytest.mark.parametrize("make", [tiny, small, big])
def test_fit_is_the_four_lines_for_every_batch_bits(make, rows, batch, dtype):
    # A fit works on 128 rows at a time, and keeps 1024: neither may show.
    x, y, weights = table(rows, dtype)
    runs = []
    for way in range(2):
        net, its = make(dtype), bp.Adam()
        if way:
            by_hand(net, x, y, bp.MeanSquaredError(), its, 2, batch, weights)
        else:
            net.fit(x, y, loss="mse", optimizer=its, epochs=2, batch_size=batch, shuffle=False, sample_weight=weights)
        runs.append(state(net, its))
    assert same(*runs)


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("batch", range(1, 10))
def test_fit_is_the_four_lines_for_every_tiny_batch_bits(batch, dtype):
    # Up to 8 rows of a tiny network are computed turned, 4 or 8 at a time; two threads and larger networks are not.
    rng = np.random.default_rng(batch)
    names = sorted(ACTIVATIONS.keys() - {"exp"})
    for _ in range(20):
        sizes = rng.integers(1, 6, rng.integers(2, 5))
        layers = [(i, o, rng.choice(names), bool(rng.integers(2))) for i, o in pairwise(sizes.tolist())]
        rows, weighted, shuffle = int(rng.integers(1, 12)), rng.integers(2), bool(rng.integers(2))
        x, y = rng.normal(size=(rows, sizes[0])).astype(dtype), rng.normal(size=(rows, sizes[-1])).astype(dtype)
        weights, runs = rng.random(rows) + 0.1 if weighted else None, []
        for threads in (None, 1, 2):
            dense = [bp.Dense(i, o, ACTIVATIONS[f], use_bias=b) for i, o, f, b in layers]
            net = bp.Sequential(dense, rng=1, dtype=dtype)
            its = bp.Adam(0.1)
            if threads is None:
                by_hand(net, x, y, bp.MeanSquaredError(), its, 3, batch, weights, shuffle=shuffle)
            else:
                net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=batch, shuffle=shuffle,
                        sample_weight=weights, threads=threads)  # fmt: skip
            runs.append(state(net, its))
        assert same(*runs), (layers, rows)


@pytest.mark.parametrize("instance", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_fit_is_the_four_lines_under_every_loss(instance, reduction):
    # By hand, a sigmoid or softmax under its cross-entropy goes by way of the probabilities: equal to rounding.
    x, _, weights = table(22, "float64")
    y = instance.data(22, np.random.default_rng(2))
    for end in instance.ends:
        parameters = []
        for way in range(2):
            net, its = (
                bp.Sequential(
                    [bp.Dense(4, 6, "tanh"), bp.Dense(6, instance.n_out, ACTIVATIONS[end])], rng=3, dtype="float64"
                ),
                bp.SGD(0.02),
            )
            if way:
                by_hand(net, x, y, instance.make(reduction), its, 4, 5, weights)
            else:
                net.fit(x, y, loss=instance.make(reduction), optimizer=its, epochs=4, batch_size=5, shuffle=False,
                        sample_weight=weights)  # fmt: skip
            parameters.append(net.parameters)
        np.testing.assert_allclose(*parameters, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize(
    "instance", [loss for loss in LOSSES if loss.ends == ("identity",)], ids=lambda loss: loss.name
)
@pytest.mark.parametrize(("rows", "batch", "hidden"), [(23, 5, 6), (23, 4, 1), (2100, 1500, 6)])
def test_fit_is_the_four_lines_under_every_loss_bits(rows, batch, hidden, instance, dtype):
    # Targets need not be as many as outputs: each row finds its own, in any order, turned, and beyond 1024 rows.
    x, _, weights = table(rows, dtype)
    y, runs = instance.data(rows, np.random.default_rng(2)), []
    for threads in (None, 1, 2):
        layers = [bp.Dense(4, hidden, "tanh"), bp.Dense(hidden, instance.n_out)]
        net, its = bp.Sequential(layers, rng=3, dtype=dtype), bp.Adam(0.01)
        if threads is None:
            by_hand(net, x, y, instance.make("mean"), its, 2, batch, weights, shuffle=True)
        else:
            net.fit(x, y, loss=instance.make("mean"), optimizer=its, epochs=2, batch_size=batch, sample_weight=weights,
                    threads=threads)  # fmt: skip
        runs.append(state(net, its))
    assert same(*runs)


def test_the_best_known_worked_example():
    # Half squared errors are the mean of two; one row.
    x, y = [[0.05, 0.10]], [[0.01, 0.99]]

    def fresh():
        net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 2, "sigmoid")], rng=0, dtype="float64")
        net.layers[0].weight[...] = [[0.15, 0.25], [0.20, 0.30]]
        net.layers[1].weight[...] = [[0.40, 0.50], [0.45, 0.55]]
        net.layers[0].bias[...], net.layers[1].bias[...] = 0.35, 0.60
        return net

    net, optimizer, loss = fresh(), bp.SGD(0.5), bp.MeanSquaredError()
    y_hat = net.forward(x)
    value, dy = loss(y_hat, y)
    net.backward(dy)
    optimizer.step(net)
    assert value == pytest.approx(0.298371109, abs=1e-9)
    assert y_hat[0] == pytest.approx([0.75136507, 0.772928465], abs=1e-9)
    assert net.layers[1].weight.T.ravel() == pytest.approx(
        [0.35891648, 0.408666186, 0.511301270, 0.561370121], abs=1e-9
    )
    assert net.layers[0].weight.T.ravel() == pytest.approx([0.149780716, 0.19956143, 0.24975114, 0.29950229], abs=5e-9)
    other = fresh()
    history = other.fit(x, y, loss="mse", optimizer=bp.SGD(0.5))
    assert history["loss"] == [value]
    assert np.array_equal(other.parameters, net.parameters)
