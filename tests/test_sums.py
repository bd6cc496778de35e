"""Sums over many rows: what a million rows come to is what their exact sum comes to, however the rows are given."""

import numpy as np
import pytest
from runs import QUICK
from sklearn.metrics import r2_score

import backprop as bp

FEW, TIMES = 8, 1 << 16
NEAR = 1e-5


class Same(bp.Layer):
    """A layer of one's own, so that a network is a chain of plans."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


#: Layers from 3 numbers to 2, of which the embeddings take the first one, or all, as names.
NETWORKS = {
    "one output": lambda: [bp.Dense(3, 1, "sigmoid")],
    "one output of a whole register": lambda: [bp.Dense(3, 16, "relu", bias_init="he_normal"), bp.Dense(16, 1)],
    "dense": lambda: [bp.Dense(3, 20, "tanh"), bp.Dense(20, 2)],
    "penalties": lambda: [bp.Dense(3, 5, "tanh", l1=0.01, l2=0.02), bp.Dense(5, 2, use_bias=False)],
    "prelu": lambda: [bp.Dense(3, 20), bp.PReLU(), bp.Dense(20, 2)],
    "layer norm": lambda: [bp.Dense(3, 20), bp.LayerNorm(), bp.Dense(20, 2)],
    "batch norm": lambda: [bp.Dense(3, 20, "tanh"), bp.BatchNorm(), bp.Dense(20, 2)],
    "two batch norms": lambda: [bp.BatchNorm(), bp.Dense(3, 20, "tanh"), bp.BatchNorm(), bp.Dense(20, 2)],
    "embedding": lambda: [bp.Embedding(3, 4, columns=3), bp.Dense(12, 2)],
    "columns": lambda: [bp.Columns(3, {0: bp.Embedding(3, 4)}), bp.Dense(6, 2)],
    "graph": lambda: [
        bp.Concatenate([[bp.Dense(3, 4, "gelu")], [bp.Dense(3, 5)]]),
        bp.Residual([bp.Dense(9, 9, "silu"), bp.PReLU()]), bp.Dense(9, 2),
    ],
    "a layer of one's own": lambda: [bp.Dense(3, 20, "tanh"), Same(), bp.Dense(20, 2)],
}  # fmt: skip


def network(name, dtype="float32"):
    net = bp.Sequential(NETWORKS[name](), rng=4, dtype=dtype)
    net.parameters += 0.01 * np.random.default_rng(5).random(net.parameters.size)  # no gradient is zero for long
    return net


def rows(name, dtype="float32"):
    """A few rows whose gradients have much the same sign, so that they add up and do not cancel."""
    rng = np.random.default_rng(6)
    x = rng.integers(0, 3, (FEW, 3)) if name in ("embedding", "columns") else rng.random((FEW, 3)) + 0.3
    return x.astype(dtype), (3 + rng.random((FEW, network(name).n_out))).astype(dtype)


def many(name, times=TIMES):
    return tuple(np.tile(part, (times, 1)) for part in rows(name))


def at_once(net, x, y):
    return net.value_and_gradient(x, y, "mse")[1]


def fitted(net, x, y):
    net.fit(x, y, loss="mse", optimizer=bp.SGD(1e-3), batch_size=None)
    return net.gradients


def fitted_in_long_batches(net, x, y):
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.0), batch_size=len(x) // 4, shuffle=False)
    return net.gradients


def by_hand(net, x, y):
    net.backward(bp.losses.get("mse")(net.forward(x), y)[1])
    return net.gradients


def by_lbfgs(net, x, y):
    found = []

    class Look(bp.LBFGS):
        def minimize(self, net, evaluate, iterations):
            found.append(evaluate()[1])
            return [0.0] * iterations

    net.fit(x, y, loss="mse", optimizer=Look())
    return found[0]


WAYS = [at_once, fitted, fitted_in_long_batches, by_hand, by_lbfgs]


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in NETWORKS for way in WAYS if way is not by_lbfgs or "batch norm" not in name],
    ids=lambda given: given if isinstance(given, str) else given.__name__,
)
@pytest.mark.parametrize("times", [TIMES // 8, pytest.param(TIMES, marks=pytest.mark.slow)])
def test_the_gradient_of_many_rows_is_that_of_the_few_they_repeat(times, name, way):
    net = network(name)
    exact = at_once(network(name, "float64"), *rows(name, "float64"))
    rounded = at_once(network(name), *rows(name))  # where terms cancel, as beneath a batch norm, a few are not exact
    found = way(net, *many(name, times))
    at = 0
    for leaf in net.leaves.values():
        for shape in leaf.shapes().values():
            part = slice(at, at := at + int(np.prod(shape)))
            near = NEAR * abs(exact[part]).max() + 4 * abs(rounded[part] - exact[part]).max()
            assert abs(found[part] - exact[part]).max() <= near, leaf


@pytest.mark.parametrize("rows", [1_000_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_a_constant_error(rows):
    net = bp.Sequential([bp.Dense(1, 1)], rng=0)
    net.parameters = np.zeros(2)
    x = np.ones((rows, 1), "float32")
    for gradient in at_once(net, x, -x), by_hand(net, x, -x):
        np.testing.assert_allclose(gradient, 2, rtol=NEAR)


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("batch_size", [1024, 1025, 1536, 5000, None])
@pytest.mark.parametrize("name", NETWORKS)
def test_long_batches_give_the_same_bits_by_hand_and_for_any_threads(name, batch_size, dtype):
    rng, size = np.random.default_rng(7), batch_size or 5000
    x = rng.integers(0, 3, (5000, 3)).astype(dtype)
    y = rng.normal(size=(5000, network(name).n_out)).astype(dtype)

    def trained(threads):
        net = network(name, dtype)
        net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=2, batch_size=batch_size, shuffle=False, threads=threads)
        return net.parameters

    net, optimizer, loss = network(name, dtype), bp.Adam(), bp.losses.get("mse")
    for start in [*range(0, 5000, size)] * 2:
        batch = slice(start, start + size)
        net.backward(loss(net.forward(x[batch]), y[batch])[1])
        optimizer.step(net)
    for threads in 1, 2, 3:
        assert np.array_equal(trained(threads), net.parameters)


def test_the_norm_that_is_clipped_is_that_of_all_parameters():
    """A million of them, all alike: in one float32 sum they would come to something else."""
    net = bp.Sequential([bp.Dense(1000, 1000, use_bias=False)], rng=0)
    net.parameters, net.gradients = np.zeros(10**6), np.full(10**6, 0.1)
    bp.SGD(1.0, clip_norm=1.0).step(net)
    np.testing.assert_allclose(net.parameters, -1e-3, rtol=1e-6)


def test_statistics_of_many_rows():
    x = np.tile(np.array([[0.1], [0.3], [0.7]], "float32"), (300_000, 1)) + np.float32(100)
    net = bp.Sequential([bp.BatchNorm(momentum=1.0), bp.Dense(1, 1)], rng=0)
    net.forward(x)
    exact = x[:3].astype(np.float64)
    np.testing.assert_allclose(net.layers[0].running_mean, exact.mean(), rtol=1e-7)
    np.testing.assert_allclose(net.layers[0].running_variance, exact.var(), rtol=1e-5)


def test_losses_of_many_rows():
    """With weights, and as sums too; of all rows at once, of an epoch, and by hand."""
    x, y = many("one output")
    weights = np.tile(np.linspace(0.1, 0.8, FEW), TIMES)
    for reduction in "mean", "sum":
        loss = bp.losses.MeanSquaredError(reduction=reduction)
        net, times = network("one output"), TIMES if reduction == "sum" else 1
        exact = times * network("one output", "float64").value_and_gradient(
            *rows("one output", "float64"), loss, sample_weight=weights[:FEW]
        )[0]  # fmt: skip
        near = {"rtol": 1e-6}
        np.testing.assert_allclose(net.value_and_gradient(x, y, loss, sample_weight=weights)[0], exact, **near)
        np.testing.assert_allclose(loss(net.forward(x), y, weights)[0], exact, **near)
        np.testing.assert_allclose(net.evaluate(x, y, loss=loss, sample_weight=weights)["loss"], exact, **near)
        history = net.fit(x, y, loss=loss, optimizer=bp.SGD(0.0), batch_size=1000, sample_weight=weights)
        np.testing.assert_allclose(history["loss"][0], exact, **near)


@pytest.mark.parametrize("name", ["accuracy", "explained_variance", "f1", "mae", "mse", "r2", "rmse", "roc_auc"])
def test_metrics_of_many_rows_in_float32_are_those_in_float64(name):
    rng, metric = np.random.default_rng(8), bp.metrics.get([name])[name]
    scores = (rng.random((3_000_000, 1)) < 0.9).astype("float32") * np.float32(0.7) + np.float32(0.1)
    y = (rng.random((3_000_000, 1)) < 0.8).astype("float32")
    assert metric(scores, y) == metric(scores.astype(np.float64), y.astype(np.float64))


def test_the_score_of_the_estimators_on_many_rows():
    """Of rows that are float32 throughout: squares of errors are added up in double."""
    rng = np.random.default_rng(9)
    y = rng.random((3_000_000, 1), "float32") + np.float32(5)
    answers = y + np.float32(0.3)
    exact = r2_score(y.astype(np.float64), answers.astype(np.float64))
    np.testing.assert_allclose(bp.metrics.explained(y - answers, y), exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("layers", "rows", "slices"),
    [
        ([bp.Dense(20, 64), bp.Dense(64, 1)], 127, 1), ([bp.Dense(20, 64), bp.Dense(64, 1)], 128, 2),
        ([bp.Dense(20, 64), bp.Dense(64, 1)], 10**6, 32), ([bp.Dense(784, 128)], 1023, 1), ([bp.Dense(784, 128)], 1024, 16),
        ([bp.Dense(784, 256)], 10**6, 1), ([bp.Columns(2, {0: bp.Embedding(3000, 9)}), bp.Dense(10, 1)], 1024, 1),
    ],
)  # fmt: skip
def test_a_batch_is_cut_where_its_slices_meet_most_parameters_and_these_are_few(layers, rows, slices):
    assert bp.Sequential(layers, rng=0)._engine.slices(rows) == slices
