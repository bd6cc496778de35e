"""Quantiles that cannot cross: an end of rising outputs, and the loss that insists on it."""

import itertools
import pickle

import numpy as np
import pytest
from oracles import InTorch
from runs import DTYPES, by_hand, same, state

import backprop as bp

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def rows(n=400, dtype="float64"):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, 2))
    return x.astype(dtype), (x[:, 0] + rng.normal(size=n) * (0.1 + 0.4 * (x[:, 1] > 0)))[:, None].astype(dtype)


def network(dtype="float64", levels=LEVELS, rng=1):
    return bp.Sequential([bp.Dense(2, 12, "tanh"), bp.Ordered(12, len(levels))], rng=rng, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_they_never_cross(dtype):
    rng = np.random.default_rng(2)
    for scale, size in itertools.product((0.01, 1, 30, 1e4), (2, 9, 40)):
        net = bp.Sequential([bp.Dense(3, 7, "tanh"), bp.Ordered(7, size)], rng=1, dtype=dtype)
        net.parameters = rng.normal(size=net.parameters.size) * scale
        x = rng.normal(size=(500, 3)) * scale
        for found in net.predict(x), np.stack([net.predict(row[None])[0] for row in x[:20]]), net.forward(x):
            assert (np.diff(found, axis=1) >= 0).all(), (scale, size)


def test_the_formula():
    net, (x, _) = network(), rows(50)
    hidden = net[:1].predict(x)
    z = np.concatenate([hidden @ net[1][k].weight + net[1][k].bias for k in range(5)], axis=1)
    z[:, 1:] = np.logaddexp(0, z[:, 1:])
    np.testing.assert_allclose(net.predict(x), z.cumsum(axis=1), rtol=1e-12)
    assert list(net.arrays())[2:6] == ["1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias"]


def test_torch_takes_the_same_60_steps(torch):
    (x, y), net = rows(20), network()
    twin = InTorch(torch, net)
    theirs = torch.optim.Adam(twin.parameters, 0.01)
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    for start in range(60):
        some = slice(start % 5 * 4, start % 5 * 4 + 4)
        d = torch.tensor(y[some]) - twin(torch.tensor(x[some]))
        theirs.zero_grad()
        torch.maximum(levels * d, (levels - 1) * d).mean().backward()
        theirs.step()
    loss = bp.Quantile(LEVELS, crossing=False)
    net.fit(x, y, loss=loss, optimizer=bp.Adam(0.01), epochs=12, batch_size=4, shuffle=False)
    np.testing.assert_allclose(net.predict(x), twin(torch.tensor(x)).detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fit_is_the_four_lines_bits(dtype):
    x, y = rows(300, dtype)
    runs = []
    for threads in (None, 1, 2):
        net, its, loss = network(dtype), bp.Adam(0.01), bp.Quantile(LEVELS, crossing=False)
        if threads is None:
            by_hand(net, x, y, loss, its, 2, 64)
        else:
            net.fit(x, y, loss=loss, optimizer=its, epochs=2, batch_size=64, shuffle=False, threads=threads)
        runs.append(state(net, its))
    assert same(*runs)


def test_penalties_are_those_of_its_parts():
    net = bp.Sequential([bp.Ordered(2, 3, l1=0.1, l2=0.2)], rng=0, dtype="float64")
    weights = np.concatenate([net[0][k].weight for k in range(3)], axis=None)
    assert net.penalty() == pytest.approx(0.1 * abs(weights).sum() + 0.2 * (weights**2).sum(), rel=1e-12)


def test_they_learn_the_levels_and_stay_in_order_where_others_cross():
    x, y = rows(60)
    crossing = bp.Sequential([bp.Dense(2, 40, "tanh"), bp.Dense(40, 5)], rng=1)
    ordered = bp.Sequential([bp.Dense(2, 40, "tanh"), bp.Ordered(40, 5)], rng=1)
    for net, loss in (crossing, bp.Quantile(LEVELS)), (ordered, bp.Quantile(LEVELS, crossing=False)):
        net.fit(x, y, loss=loss, optimizer=bp.Adam(0.02), epochs=300, rng=0)
    far = np.random.default_rng(1).uniform(-3, 3, (500, 2))
    assert (np.diff(crossing.predict(far), axis=1) < 0).any() and (np.diff(ordered.predict(far), axis=1) >= 0).all()
    x, y = rows(2000)
    ordered.fit(x, y, loss=bp.Quantile(LEVELS, crossing=False), optimizer=bp.Adam(0.005), epochs=60, rng=0)
    below = (y < ordered.predict(x)).mean(axis=0)
    assert below == pytest.approx(LEVELS, abs=0.04)


def test_several_targets_have_an_end_each():
    x, y = rows()
    y = np.hstack([y, -3 * y])
    ends = [[bp.Ordered(9, 3)], [bp.Dense(9, 5, "relu"), bp.Ordered(5, 3)]]
    net = bp.Sequential([bp.Dense(2, 9, "tanh"), bp.Concatenate(ends)], rng=0)
    net.fit(x, y, loss=bp.Quantile((0.1, 0.5, 0.9), crossing=False), optimizer=bp.Adam(0.01), epochs=20)
    found = net.predict(x).reshape(-1, 2, 3)
    assert (np.diff(found, axis=2) >= 0).all() and (np.diff(net.predict(x), axis=1) < 0).any()


def test_they_travel(tmp_path):
    net, (x, _) = network("float32"), rows(20, "float32")
    net.save(tmp_path / "net.safetensors")
    for other in bp.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)), net.copy():
        assert other == net and repr(other) == repr(net) and np.array_equal(other.predict(x), net.predict(x))
    assert eval(repr(net), vars(bp)) == net != network("float32", LEVELS[:3])
    loss = bp.Quantile(LEVELS, crossing=False)
    assert repr(loss) == f"Quantile({LEVELS}, crossing=False)" and repr(eval(repr(loss), vars(bp))) == repr(loss)
    net[1].trainable = False
    assert net.trainable_ranges == ((0, 36),)


def test_a_trace_of_it_is_checked():
    net, (x, y) = network(), rows(3)
    trace = net.trace(x, y, bp.Quantile(LEVELS, crossing=False), optimizer=bp.SGD(0.1))
    assert trace.check() and "1.3.sum" in str(trace)
    assert float(bp.check_gradients(net, bp.Quantile(LEVELS, crossing=False), x, y)) < 1e-6


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations")
def test_the_estimator_ends_so():
    sklearn = pytest.importorskip("backprop.sklearn", reason="scikit-learn is not installed")
    x, y = rows(200)
    mlp = sklearn.MLPRegressor(
        bp.Quantile((0.1, 0.5, 0.9), crossing=False), hidden_layer_sizes=(16,), max_iter=40, random_state=0
    )
    for targets in y[:, 0], np.hstack([y, 2 * y]):
        found = mlp.fit(x, targets).predict(3 * x)
        assert (np.diff(found.reshape(len(x), -1, 3), axis=2) >= 0).all()
        assert np.array_equal(pickle.loads(pickle.dumps(mlp)).predict(3 * x), found)


# What is refused.


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [bp.Dense(2, 5)],
        lambda: [bp.Ordered(2, 4), bp.Dense(4, 5)],
        lambda: [bp.Ordered(2, 5), bp.Dense(5, 5), bp.Activation("relu")],
        lambda: [bp.Concatenate([[bp.Ordered(2, 3)], [bp.Ordered(2, 2)]])],
        lambda: [bp.Concatenate([[bp.Ordered(2, 4)], [bp.Dense(2, 1)]])],
        lambda: [bp.Concatenate([[], [bp.Ordered(2, 3)]])],
    ],
)
def test_an_end_that_may_cross_is_refused(layers):
    net, (x, y) = bp.Sequential(layers(), rng=0), rows(20)
    before = net.parameters.copy()
    for call in (
        lambda: net.fit(x, y, loss=bp.Quantile(LEVELS, crossing=False), optimizer="adam"),
        lambda: net.evaluate(x, y, loss=bp.Quantile(LEVELS, crossing=False)),
    ):
        with pytest.raises(
            ValueError, match=r"loss: Quantile\(.*\) expected a network that ends in Ordered\(n_in, 5\)"
        ):
            call()
    assert np.array_equal(net.parameters, before)


def test_levels_that_do_not_rise():
    for q in ((0.5, 0.1), (0.1, 0.5, 0.5), [0.9, 0.5, 0.1]):
        with pytest.raises(ValueError, match="q: expected levels that rise, with crossing=False, got"):
            bp.Quantile(q, crossing=False)
        with pytest.raises(ValueError, match="q: expected levels that rise"):
            bp.Quantile(q).crossing = False
    assert bp.Quantile((0.5, 0.1)).q == (0.5, 0.1)
    x, y = rows(20)
    one = bp.Sequential([bp.Dense(2, 1)], rng=0)
    one.fit(x, y, loss=bp.Quantile(0.5, crossing=False), optimizer="adam")  # one has nothing to cross


def test_by_hand_quantiles_that_cross_are_refused():
    loss = bp.Quantile((0.1, 0.9), crossing=False)
    value, dy = loss([[0.0, 1.0], [2.0, 2.0]], [[0.5], [1.0]])
    assert value == bp.Quantile((0.1, 0.9))([[0.0, 1.0], [2.0, 2.0]], [[0.5], [1.0]])[0] and dy.shape == (2, 2)
    with pytest.raises(
        ValueError, match=r"y_hat: expected quantiles that rise, got \[1. 0.\] in row 1: end the network"
    ):
        loss([[0.0, 1.0], [1.0, 0.0]], [[0.5], [1.0]])


def test_sizes_of_an_ordered_layer():
    for n in (1, 0, -1, 2**20):
        with pytest.raises(ValueError, match="n_out: expected a whole number from 2 to 1024"):
            bp.Ordered(3, n)
    with pytest.raises(ValueError, match="expected 3 inputs, got the 4"):
        bp.Sequential([bp.Dense(2, 4), bp.Ordered(3, 2)])
    with pytest.raises(AttributeError, match=r"n_out: .* cannot be changed: make a new layer"):
        bp.Ordered(3, 2).n_out = 5
