"""Fits in shards in one process: the tree of sums, who has which rows, and what is refused."""

import copy

import numpy as np
import pytest

import backprop as bp
from backprop.distributed import Partition, Tree, blocks, grown

RNG = np.random.default_rng(3)
X = RNG.standard_normal((103, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def network(*more, dtype="float64", rng=1):
    more = [make() for make in more]
    return bp.Sequential([bp.Dense(6, 9, "tanh"), *more, bp.Dense(9, 3, "softmax")], rng=rng, dtype=dtype)


def dropout():
    return bp.Dropout(0.3)


def named(value):
    return value if isinstance(value, str) else "+".join(getattr(each, "__name__", each) for each in value) or "plain"


def fitted(net, x=X, y=Y, **arguments):
    arguments = {"loss": "cross_entropy", "optimizer": bp.Adam(1e-2), "epochs": 4, "batch_size": 20} | arguments
    history = net.fit(x, y, **arguments)
    return np.concatenate([net.parameters, net.buffers]), dict(history)


@pytest.mark.parametrize("leaves", range(1, 20))
def test_a_tree_is_one_however_its_leaves_are_shared(leaves):
    vectors = RNG.standard_normal((leaves, 4)).astype(np.float32) * 10.0 ** RNG.integers(-4, 4, (leaves, 1))
    vectors = vectors.astype(np.float32)
    tree = Tree()
    for vector in vectors.copy():
        tree.add(vector)
    whole = tree.total()
    assert np.allclose(whole, vectors.sum(0, dtype=np.float64), rtol=1e-5, atol=1e-6 * abs(vectors).max())
    for ranks in range(1, leaves + 1):
        held = []
        for rank in range(ranks):
            own = Partition(leaves, leaves, ranks).of(rank)
            part = Tree(own.start)
            for vector in vectors[own.start : own.stop].copy():
                part.add(vector)
            held += zip(blocks(own.start, own.stop), part.held, strict=True)
        assert np.array_equal(grown(held), whole)


def test_a_tree_of_eight_adds_pairs_and_pairs_of_pairs():
    a = RNG.standard_normal((8, 3)).astype(np.float32)
    tree = Tree()
    for vector in a.copy():
        tree.add(vector)
    assert np.array_equal(tree.total(), ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7])))


@pytest.mark.parametrize(("rows", "shards", "size"), [(10, 3, 4), (7, 7, 2), (100, 8, 100), (23, 5, 1), (64, 4, 16)])
def test_each_batch_has_its_rows_and_each_row_its_batch(rows, shards, size):
    places = Partition(rows, shards, 2)
    seen = {shard: [] for shard in range(shards)}
    for number in range(places.batches(size)):
        counts = []
        for shard in range(shards):
            some = range(places.size(shard))[places.batch(shard, number, size)]
            seen[shard] += some
            counts.append(len(some))
        assert sum(counts) == min(size, rows - number * size)
        assert max(counts) - min(counts) <= 1
    assert all(seen[shard] == list(range(places.size(shard))) for shard in range(shards))
    assert [*places.rows_of(0), *places.rows_of(1)] == list(range(rows))


MORE = {
    "plain": {}, "sum": {"loss": bp.losses.CrossEntropy(reduction="sum")}, "metrics": {"metrics": ["accuracy"]},
    "validation": {"validation_split": 0.2}, "order": {"shuffle": False}, "whole": {"batch_size": None},
    "lbfgs": {"optimizer": "lbfgs"}, "levenberg": {"optimizer": bp.LevenbergMarquardt()},
    "weights": {"sample_weight": RNG.random(103)}, "classes": {"class_weight": "balanced"},
}  # fmt: skip


LAYERS = [(), (dropout,), (bp.BatchNorm,), (bp.LayerNorm,)]
#: Optimizers of all rows: not of those that a batch norm looks at, and one not of what dropout drops.
WHOLE = ("lbfgs", "levenberg")


@pytest.mark.parametrize(
    ("more", "layers"),
    [
        (more, layers)
        for more in MORE
        for layers in LAYERS
        if more not in WHOLE or layers not in LAYERS[1:3] or (more, layers) == ("lbfgs", LAYERS[1])
    ],  # see below
    ids=named,
)
def test_one_shard_is_a_fit_without_shards(more, layers):
    one, two = (fitted(network(*layers), **copy.deepcopy(MORE[more]), **given) for given in ({}, {"shards": 1}))
    assert np.array_equal(one[0], two[0])
    assert one[1].keys() == two[1].keys()
    for name in one[1]:
        assert one[1][name] == pytest.approx(two[1][name], rel=1e-14)


@pytest.mark.parametrize("layers", [(), (bp.BatchNorm,), (bp.PReLU, bp.BatchNorm)], ids=named)
@pytest.mark.parametrize(
    "more", [{}, {"sample_weight": RNG.random(103) + 0.5}, {"class_weight": "balanced"}], ids=named
)
@pytest.mark.parametrize("shards", [2, 5, 8])
def test_more_shards_only_round_otherwise(shards, layers, more):
    layers = [bp.Dense(6, 9, "tanh", l2=0.01), *(make() for make in layers), bp.Dense(9, 3, "softmax")]
    net = bp.Sequential(layers, rng=1, dtype="float64")
    found = [fitted(net.copy(), batch_size=None, shuffle=False, **given, **more) for given in ({}, {"shards": shards})]
    assert np.allclose(found[0][0], found[1][0], rtol=1e-9, atol=1e-11)
    assert found[0][1]["loss"] == pytest.approx(found[1][1]["loss"], rel=1e-11)
    assert not np.array_equal(found[0][0], found[1][0])


@pytest.mark.parametrize("arguments", [{}, {"bayesian": True}], ids=named)
@pytest.mark.parametrize("weights", [None, RNG.random(103) + 0.5], ids=["alike", "weighted"])
def test_levenberg_marquardt_adds_up(arguments, weights):
    y = np.sin(X[:, 0]) + 0.1 * X[:, 1]
    net = bp.Sequential([bp.Dense(6, 5, "tanh", l2=1e-4), bp.Dense(5, 1)], rng=0, dtype="float64")
    nets = [net.copy() for _ in range(3)]
    found = [
        one.fit(X, y, loss="mse", optimizer=bp.LevenbergMarquardt(**arguments), epochs=6, sample_weight=weights, **more)
        for one, more in zip(nets, ({}, {"shards": 1}, {"shards": 5}), strict=True)
    ]
    assert dict(found[0]) == dict(found[1])
    assert np.array_equal(nets[0].parameters, nets[1].parameters)
    assert found[0]["loss"] == pytest.approx(found[2]["loss"], rel=1e-6)
    assert found[0]["mu"] == found[2]["mu"]
    assert not np.array_equal(nets[0].parameters, nets[2].parameters)


def test_each_shard_drops_other_numbers():
    """A mask is a function of the row: the same rows in each shard would lose the same, were the seeds one."""
    net = bp.Sequential([bp.Dropout(0.5), bp.Dense(6, 1)], rng=1, dtype="float64")
    x = np.ones((4, 6))
    gradients = []

    class Look(bp.Callback):
        def on_gradients(self, run):
            gradients.append(run.network.layers[1].weight_grad.copy())

    for shards in 1, 4:
        net.copy().fit(
            x, np.zeros(4), loss="mse", optimizer=bp.SGD(0.0), shards=shards, callbacks=[Look()], batch_size=4
        )
    assert np.count_nonzero(gradients[1]) > 3
    assert not np.array_equal(*gradients)


def test_batches_that_come_one_by_one_are_cut_too():
    batches = [(X[i : i + 20], Y[i : i + 20]) for i in range(0, 103, 20)]
    for layers in (), (bp.BatchNorm,):
        one = fitted(network(*layers), batches, None, metrics=["accuracy"])
        many = fitted(network(*layers), batches, None, shards=4, metrics=["accuracy"])
        assert np.allclose(one[0], many[0], rtol=1e-8, atol=1e-10)
        assert one[1]["loss"] == pytest.approx(many[1]["loss"], rel=1e-10)


class Custom(bp.Layer):
    n_in = n_out = 9

    def forward(self, x, training):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


@pytest.mark.parametrize(
    ("net", "arguments", "error", "message"),
    [
        (network(), {"shards": 0}, ValueError, "shards: expected"),
        (network(), {"shards": 104}, ValueError, "shards: expected at most one for each of 103 rows, got 104"),
        (network(), {"comm": "world"}, TypeError, "comm: expected a communicator of mpi4py"),
        (network(bp.BatchNorm), {"shards": 2, "optimizer": "lbfgs"}, TypeError, "optimizer: expected one of mini-batches"),
        (network(), {"shards": 2, "callbacks": [bp.LearningRateFinder()]}, TypeError, "LearningRateFinder"),
        (network(), {"shards": 2, "validation_split": 0.999}, ValueError, "validation_split"),
        (network(), {"shards": 2, "validation_data": (X,)}, TypeError, "validation_data"),
        (network(), {"shards": 2, "y": None}, TypeError, "y: expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_in_shards_is_refused(net, arguments, error, message):
    with pytest.raises(error, match=message):
        fitted(net, **arguments)
    assert net.steps == 0


def test_batch_norms_learn_from_a_last_batch_of_fewer_rows_than_shards():
    net = bp.Sequential([bp.BatchNorm(), bp.Dense(6, 3, "softmax")], rng=1, dtype="float64")
    how = {"batch_size": 101, "shuffle": False, "epochs": 1, "optimizer": bp.SGD(1.0)}
    one = fitted(net.copy(), shards=4, **how)[0]
    other = fitted(net.copy(), X[_turns()], Y[_turns()], **(how | {"optimizer": bp.SGD(1.0)}))[0]
    assert np.allclose(one, other, rtol=1e-10, atol=1e-12)


def _turns():
    """The rows in the order in which four shards of 103 rows give them."""
    places = Partition(103, 4, 1)
    return [places.begin(i % 4) + i // 4 for i in range(103)]


def test_what_diverges_keeps_the_last_finite_weights():
    net = network()
    with pytest.raises(bp.DivergedError, match="epoch 0"):
        fitted(net, optimizer=bp.SGD(1e308), shards=3)
    assert np.isfinite(net.parameters).all()
