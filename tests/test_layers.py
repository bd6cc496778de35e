"""Layers beside the dense one: against their twins, against PyTorch, and as parts of the engine."""

import copy
import pickle

import numpy as np
import pytest
import reference
from instances import EDGES, NETWORKS, every_network
from oracles import InTorch
from runs import QUICK, same, shaken, state

import backprop as bp

DTYPES = ["float32", "float64"]


def network(name, dtype="float64", rng=1):
    return shaken(NETWORKS[name](), dtype, rng)


def table(rows, dtype="float64", seed=0):
    """x (rows, 4), with names in columns 1 and 3; y (rows, 3)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    x[:, 1], x[:, 3] = rng.integers(0, 5, rows), rng.integers(0, 2, rows)
    return x.astype(dtype), rng.normal(size=(rows, 3)).astype(dtype)


# Gradients.


@every_network
def test_every_gradient_is_that_of_differences(name):
    net = network(name)
    x, y = table(6)
    kept = net.buffers.copy()
    found = bp.check_gradients(net, "mse", x, y, sample_weight=np.arange(1, 7))
    assert found.error < 1e-6, found
    assert np.array_equal(net.buffers, kept)  # a look changes nothing
    own = bp.check_gradients(net, lambda y_hat, y: (np.log(np.cosh(y_hat - y)).sum(), np.tanh(y_hat - y)), x, y)
    assert own.error < 1e-6, own
    assert np.array_equal(net.buffers, kept)


@every_network
def test_the_gradient_of_the_input_is_that_of_differences(name):
    net, loss = network(name), bp.MeanSquaredError()
    x, y = table(5)
    x[x == 0] = 0.7 if "names" not in name else 0  # where a rectifier is bent
    named = [1, 3] if "names" in name else []

    def value(x):
        net.steps = 0
        return loss(net.forward(x), y)[0]

    net.steps = 0
    dx = net.backward(loss(net.forward(x), y)[1])
    for at in np.ndindex(x.shape):
        if at[1] in named:
            continue
        above, below = x.copy(), x.copy()
        above[at] += 1e-6
        below[at] -= 1e-6
        assert dx[at] == pytest.approx((value(above) - value(below)) / 2e-6, rel=1e-5, abs=1e-7)
    if name == "names":
        assert not dx[:, named].any()


# Twins, and PyTorch.


def alone(layer, x, dtype):
    """A network of this layer and nothing else, which changes nothing of x before it."""
    net = bp.Sequential([layer], rng=0, dtype=dtype) if layer.n_in else bp.Sequential(
        [bp.Columns(x.shape[1], {}), layer], rng=0, dtype=dtype)  # fmt: skip
    rng = np.random.default_rng(5)
    net.parameters += rng.normal(scale=0.4, size=net.parameters.size)
    return net


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "n"), [(2, 1), (3, 2), (7, 5), (64, 33), (130, 16)])
def test_layers_are_their_twins(rows, n, dtype):
    rng, near = np.random.default_rng(n), 300 * np.finfo(dtype).eps
    x, dy = rng.normal(size=(rows, n)).astype(dtype), rng.normal(size=(rows, n)).astype(dtype)
    for make in bp.PReLU, bp.Scale, bp.LayerNorm, bp.BatchNorm:
        layer = make()
        net = alone(layer, x, dtype)
        y, dx = net.forward(x), net.backward(dy)
        if make is bp.PReLU:
            twin = reference.prelu_forward(x, layer.weight)
            twin_dx, *gradients = reference.prelu_backward(x, layer.weight, dy)
        elif make is bp.Scale:
            twin = reference.scale_forward(x, layer.weight)
            twin_dx, *gradients = reference.scale_backward(x, layer.weight, dy)
        else:
            axis = int(make is bp.LayerNorm)
            if axis and n == 1:
                continue  # a row of one number has no variance: everything is rounding
            twin = reference.norm_forward(axis, x, layer.weight, layer.bias, layer.epsilon)
            twin_dx, *gradients = reference.norm_backward(axis, x, layer.weight, layer.epsilon, dy)
        np.testing.assert_allclose(y, twin, rtol=near, atol=near)
        np.testing.assert_allclose(dx, twin_dx, rtol=near, atol=10 * near)
        np.testing.assert_allclose(net.gradients, np.concatenate(gradients), rtol=near, atol=near * rows)
        if make is bp.BatchNorm:
            mean = reference.running(0.1, 0, reference.double(x).mean(axis=0))
            variance = reference.running(0.1, 1, reference.double(x).var(axis=0, ddof=1))
            np.testing.assert_allclose(layer.running_mean, mean, rtol=near, atol=near)
            np.testing.assert_allclose(layer.running_variance, variance, rtol=near, atol=near)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_embeddings_of_numbers_are_their_twins(rows, dtype):
    """The operations that they are made of, one by one; a dense layer on bins is one on the encoding written out."""
    rng, near = np.random.default_rng(rows), 300 * np.finfo(dtype).eps
    x = rng.normal(size=(rows, 4)).astype(dtype)
    for layer in (
        bp.ParametricActivation("mish"), bp.PeriodicEmbedding(4, columns=[0, 3]), bp.PiecewiseLinearEmbedding(EDGES),
        bp.PeriodicEmbedding(4, "plr", n_frequencies=9, width=3), bp.PiecewiseLinearEmbedding(EDGES, 5),
        bp.PiecewiseLinearEmbedding(EDGES, 1), bp.PeriodicEmbedding(4, n_frequencies=1, width=2),
    ):  # fmt: skip
        net = alone(layer, x, dtype)
        graph, y = {operation.name: operation for operation in net.graph}, dict(
            zip([operation.name for operation in net.graph], net.activations(x), strict=True))  # fmt: skip
        y["input"] = x
        dy = rng.normal(size=(rows, net.n_out)).astype(dtype)
        net.forward(x)
        dx, gradients = net.backward(dy), net.gradients.copy()
        twin_dy, twins = dy, []
        for name in reversed(graph):
            a, given = graph[name].parameters, graph[name].attributes
            taken = [y[source] for source in graph[name].inputs]
            if graph[name].kind == "lerp":
                found, other, slope = reference.lerp_backward(*taken, a["weight"], twin_dy)
                twins, twin_dy = [slope], found + reference.mish_backward(reference.double(x), other)
                np.testing.assert_allclose(y[name], reference.lerp_forward(*taken, a["weight"]), rtol=near, atol=near)
                break
            if graph[name].kind == "periodic":
                bias = a.get("bias")
                twin = reference.periodic_forward(*taken, given["waves"], a["weight"], bias)
                twin_dy, dw, db = reference.periodic_backward(*taken, given["waves"], a["weight"], bias, twin_dy)
                twins = [dw, *([db] if bias is not None else []), *twins]
            elif graph[name].kind == "piecewise_linear":
                edges = graph[name].buffers["bin_edges"]
                twin = reference.piecewise_forward(*taken, given["bins"], edges)
                twin_dy = reference.piecewise_backward(*taken, given["bins"], edges, twin_dy)
            elif graph[name].kind == "grouped_dense":
                twin = reference.grouped_forward(*taken, given["groups"], a["weight"], a["bias"])
                if graph[name].activation.name == "relu":
                    twin, twin_dy = np.maximum(twin, 0), twin_dy * (twin > 0)
                twin_dy, dw, db = reference.grouped_backward(*taken, given["groups"], a["weight"], twin_dy)
                twins = [dw, db, *twins]
            else:
                continue
            np.testing.assert_allclose(y[name], twin, rtol=10 * near, atol=10 * near)
        np.testing.assert_allclose(dx, twin_dy, rtol=10 * near, atol=30 * near)
        twins = np.concatenate([np.ravel(twin) for twin in twins]) if twins else np.zeros(0)
        np.testing.assert_allclose(gradients, twins, rtol=10 * near, atol=10 * near * rows)


def test_bins_reach_beyond_their_outer_edges_and_start_at_an_edge():
    net = bp.Sequential([bp.PiecewiseLinearEmbedding([[0, 1, 3], [5, 6]])], rng=0)
    x = [[-2, 4], [0, 5], [0.5, 5.5], [1, 6], [2, 7], [5, 5]]
    expected = [[-2, 0, -1], [0, 0, 0], [0.5, 0, 0.5], [1, 0, 1], [1, 0.5, 2], [1, 2, 0]]
    assert np.array_equal(net.predict(x), np.array(expected, np.float32))
    assert [edges.tolist() for edges in net.layers[0].edges] == [[0, 1, 3], [5, 6]]
    assert repr(net.layers[0]) == "PiecewiseLinearEmbedding([2, 1])"


def test_edges_travel_with_the_network(tmp_path):
    net = bp.Sequential([bp.PiecewiseLinearEmbedding(EDGES), bp.Dense(10, 1)], rng=0)
    net.save(tmp_path / "net.safetensors")
    again = bp.load(tmp_path / "net.safetensors")
    for found, edges in zip(again.layers[0].edges, EDGES, strict=True):
        assert (found is None and edges is None) or np.array_equal(found, np.float32(edges))
    for other in (2.5, 1e30, -1e30):  # far beyond all edges
        x = np.full((3, 4), other, np.float32)
        assert np.array_equal(again.predict(x), net.predict(x)) and np.isfinite(net.predict(x)).all()


def test_edges_that_are_one_in_float32_hold_no_bin():
    net = bp.Sequential([bp.PiecewiseLinearEmbedding([[0, 1, 1 + 1e-12, 2]]), bp.Dense(3, 1)], rng=0)
    assert np.array_equal(net[:1].predict([[0.5], [1], [1.5]]), np.float32([[0.5, 0, 0], [1, 1, 0], [1, 1, 0.5]]))


def test_waves_have_the_initial_values_of_the_papers():
    net = bp.Sequential([bp.PeriodicEmbedding(200), bp.Dense(800, 1)], rng=0, dtype="float64")
    waves, dense = net.layers[0].parts
    assert waves.weight.shape == waves.bias.shape == (200, 16) and dense.weight.shape == (3200, 3)
    assert waves.weight.std() == pytest.approx(0.1, rel=0.05) and abs(waves.weight.mean()) < 0.01
    assert 3.1 < abs(waves.bias).max() <= np.pi
    for array in (dense.weight, dense.bias):
        assert 0.245 < abs(array).max() <= 0.25 and array.std() == pytest.approx(0.25 / np.sqrt(3), rel=0.05)
    plain = bp.PeriodicEmbedding(100, "plr")
    bp.Sequential([plain], rng=0)
    assert plain[0].weight.shape == (100, 48) and plain[0].weight.std() == pytest.approx(0.01, rel=0.05)
    assert plain.n_out == 2400 and plain[1].weight.shape == (9600, 24) and plain[1].activation.name == "relu"
    bins = bp.PiecewiseLinearEmbedding([[0, 1, 2]] * 100, 16)
    bp.Sequential([bins], rng=0)
    rows = bins[1].weight.reshape(100, 3, 16)
    assert not rows[:, :2].any() and 0.24 < abs(rows[:, 2]).max() <= 0.25 and 0.24 < abs(bins[1].bias).max() <= 0.25


def test_frequencies_of_any_size_have_waves():
    net = bp.Sequential([bp.PeriodicEmbedding(1, n_frequencies=1, width=2)], rng=0, dtype="float64")
    net.layers[0][0].weight[:], net.layers[0][0].bias[:] = 1, 0
    net.layers[0][1].weight[:], net.layers[0][1].bias[:] = 1, 0
    x = np.array([0, 0.25, 0.5, 1e6 + 0.125, -3.0625, 2.0**52 + 1, 2.0**53, -1e300, 1e16])[:, None]
    turns = np.array([0, 0.25, 0.5, 0.125, -0.0625, 0, 0, 0, 0])
    np.testing.assert_allclose(net.predict(x)[:, 0], np.cos(2 * np.pi * turns), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_are_their_twins(dtype):
    x, _ = table(50, dtype)
    layer = bp.Columns(4, {1: bp.Embedding(5, 3), 3: bp.Embedding(2, 17)})
    net = bp.Sequential([layer], rng=0, dtype=dtype)
    tables = [None, layer[1].weight, None, layer[3].weight]
    assert np.array_equal(net.forward(x), reference.columns_forward(x, tables))
    dy = np.random.default_rng(1).normal(size=(50, 22)).astype(dtype)
    dx, gradients = reference.columns_backward(x, tables, dy)
    assert np.array_equal(net.backward(dy), dx)
    for column, gradient in zip((1, 3), gradients, strict=True):
        np.testing.assert_allclose(layer[column].weight_grad, gradient, rtol=1e-5, atol=1e-5)
    words = bp.Sequential([bp.Embedding(5, 2, columns=3)], rng=0, dtype=dtype)
    rows = np.array([[4, 0, 4]])
    assert np.array_equal(words.predict(rows).reshape(3, 2), words.layers[0].weight[rows[0]])
    words.forward(rows)
    words.backward(np.arange(6.0).reshape(1, 6))
    assert np.array_equal(words.layers[0].weight_grad, [[2, 3], [0, 0], [0, 0], [0, 0], [0 + 4, 1 + 5]])


@pytest.mark.parametrize("name", [name for name in NETWORKS if "dropout" not in name])
def test_torch_agrees_on_every_number(torch, name):
    net = network(name)
    theirs = InTorch(torch, net)
    numeric = [0, 2] if "names" in name else [0, 1, 2, 3]
    for seed in range(3):
        x, y = table(7, seed=seed)
        tx = torch.tensor(x, requires_grad=True)
        y_hat = theirs(tx)
        loss = torch.nn.functional.mse_loss(y_hat, torch.tensor(y))
        dx, *gradients = torch.autograd.grad(loss, [tx, *theirs.parameters])
        found = net.forward(x)
        np.testing.assert_allclose(found, y_hat.detach().numpy(), rtol=1e-9, atol=1e-12)
        value, dy = bp.MeanSquaredError()(found, y)
        assert value == pytest.approx(loss.item(), rel=1e-9)
        np.testing.assert_allclose(net.backward(dy)[:, numeric], dx.numpy()[:, numeric], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(net.gradients, theirs.flat(gradients), rtol=1e-9, atol=1e-12)
    theirs.training = False
    np.testing.assert_allclose(net.predict(x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-9, atol=1e-12)


# As parts of the engine.


@every_network
@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize(("rows", "batch"), [(5, 2), (130, 128), (1500, 1500)])
def test_fit_is_the_four_lines_for_any_number_of_threads_bits(rows, batch, dtype, name):
    x, y = table(rows, dtype)
    weights, runs = np.random.default_rng(1).random(rows) + 0.1, []
    for threads in (None, 1, 2, 5):
        net, its, loss = network(name, dtype), bp.Adam(0.01), bp.MeanSquaredError()
        if threads is None:
            for start in [*range(0, rows, batch)] * 2:
                part = slice(start, start + batch)
                _, dy = loss(net.forward(x[part]), y[part], weights[part])
                net.backward(dy)
                its.step(net)
        else:
            net.fit(x, y, loss=loss, optimizer=its, epochs=2, batch_size=batch, shuffle=False, sample_weight=weights,
                    threads=threads)  # fmt: skip
        runs.append(state(net, its))
    assert same(*runs)


@every_network
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_alone_and_among_others_has_the_same_bits(dtype, name):
    net = network(name, dtype)
    x, y = table(300, dtype)
    net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=2)
    together = net.predict(x)
    assert np.array_equal(together, np.concatenate([net.predict(x[[r]]) for r in range(len(x))]))
    assert np.array_equal(together, net.predict(x, threads=3))
    assert np.array_equal(together, net.predict(x, batch_size=7))
    assert np.isfinite(together).all()


@every_network
def test_files_copies_and_configurations(tmp_path, name):
    net = network(name, "float32")
    x, y = table(20, "float32")
    net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=3)
    net.save(tmp_path / "net.safetensors")
    for other in bp.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net):
        assert repr(other) == repr(net)
        assert np.array_equal(other.predict(x), net.predict(x))
        assert np.array_equal(other.buffers, net.buffers)
    again = bp.Sequential(eval(f"[{repr(net.layers)[1:-1]}]", vars(bp)), rng=0)
    assert repr(again) == repr(net) and again.summary() == net.summary()


def test_batch_norm_learns_where_plain_layers_do_not():
    # Inputs of wild scales: normalised, they can be learned.
    x, _ = table(512)
    y = np.tanh(x[:, [0]] + x[:, [2]])
    scaled, losses = x * [1e3, 0, 1e-3, 0], {}
    for name, first in {"plain": [], "normed": [bp.BatchNorm()]}.items():
        net = bp.Sequential([*first, bp.Dense(4, 16, "tanh"), bp.Dense(16, 1)], rng=0)
        losses[name] = net.fit(scaled, y, loss="mse", optimizer=bp.Adam(0.01), epochs=100)["loss"][-1]
    assert losses["normed"] < 0.03 < 0.2 < losses["plain"]


def test_embeddings_learn_what_a_number_cannot_say():
    rng = np.random.default_rng(0)
    month = rng.integers(0, 12, 2000)
    y = np.sin(month * 2.5)[:, None]
    net = bp.Sequential([bp.Embedding(12, 4), bp.Dense(4, 1)], rng=0)
    history = net.fit(month[:, None], y, loss="mse", optimizer=bp.Adam(0.02), epochs=40)
    assert history["loss"][-1] < 1e-4


def test_everything_built_in_runs_in_the_engine():
    for name in set(bp.layers.__all__) - {"Layer"}:
        assert getattr(bp.layers, name).operation, name
    for name in set(bp.optimizers.__all__) - {
        "Optimizer",
        "LBFGS",
        "LevenbergMarquardt",
    }:  # L-BFGS asks the engine for gradients
        assert getattr(bp, name).kernel in bp._core.OPTIMIZERS, name
    for name in set(bp.activations.__all__) - {"ActivationFunction"}:
        assert getattr(bp.activations, name).code in bp._core.ACTIVATIONS.values(), name
    for name in NETWORKS:
        assert network(name)._plan is not None, name


# What is refused.


@pytest.mark.parametrize(("value", "says"), [(5, "5.0 at row 1"), (-1, "-1.0 at row 1"), (0.5, "0.5 at row 1")])
def test_a_number_that_names_nothing(value, says):
    net = network("names", "float32")
    x, y = table(3, "float32")
    x[1, 1] = value
    for call in (
        lambda: net.predict(x), lambda: net.forward(x), lambda: net.predict(x, batch_size=1),
        lambda: net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1)), lambda: net.evaluate(x, y, loss="mse"),
        lambda: net.value_and_gradient(x, y, "mse"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="x, column 1: expected labels 0 to 4, whole numbers") as caught:
            call()
        assert says in str(caught.value)
    with pytest.raises(ValueError, match="expected labels 0 to 4"):
        net.predict(np.array([[1, np.nan, 1, 1]], np.float32))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: bp.Residual([bp.Dense(4, 3)]), ValueError, "as many outputs as inputs, got 4 inputs and 3 outputs"),
        (lambda: bp.Residual(bp.Dense(4, 4)), TypeError, "layers: expected a list"),
        (lambda: bp.Residual([bp.Dense]), TypeError, "call it, Dense(...)"),
        (lambda: bp.Concatenate([[bp.Dense(4, 3)]]), ValueError, "branches: expected at least two, got 1"),
        (lambda: bp.Concatenate([[bp.Dense(4, 3)], [bp.Dense(5, 3)]]), ValueError, "expected 5 inputs, got the 4"),
        (lambda: bp.Columns(4, {4: bp.Embedding(2, 2)}), ValueError, "whole number from 0 to 3, got 4"),
        (lambda: bp.Columns(4, {1: bp.Dense(1, 2)}), TypeError, "expected an Embedding of one column"),
        (lambda: bp.Columns(4, [bp.Embedding(2, 2)]), TypeError, "expected a dict of columns"),
        (lambda: bp.Embedding(0, 2), ValueError, "values: expected a whole number"),
        (lambda: bp.Embedding(2**24 + 1, 2), ValueError, "values: expected a whole number from 1 to 16777216"),
        (lambda: bp.BatchNorm(momentum=1.5), ValueError, "momentum: expected a finite number at least 0"),
        (lambda: bp.LayerNorm(epsilon=0), ValueError, "epsilon: expected a finite number above 0"),
        (lambda: bp.PeriodicEmbedding(4, "pld"), ValueError, "variant: expected one of pbld, plr, got 'pld'"),
        (lambda: bp.PeriodicEmbedding(4, width=1), ValueError, "width: expected at least 2, of which x itself is one"),
        (lambda: bp.PeriodicEmbedding(4, sigma=0), ValueError, "sigma: expected a finite number above 0"),
        (lambda: bp.PeriodicEmbedding(4, columns=[1, 1]), ValueError, "columns: expected at least one, and none twice"),
        (
            lambda: bp.PeriodicEmbedding(4, columns=[4]),
            ValueError,
            "columns: expected a whole number from 0 to 3, got 4",
        ),
        (lambda: bp.PeriodicEmbedding(4, "plr", columns=[1]), ValueError, "columns: expected all"),
        (lambda: bp.PiecewiseLinearEmbedding([]), ValueError, "edges: expected those of at least one column"),
        (lambda: bp.PiecewiseLinearEmbedding(3), TypeError, "edges: expected a list"),
        (lambda: bp.PiecewiseLinearEmbedding([[1, 1]]), ValueError, "edges of column 0: expected ascending numbers"),
        (lambda: bp.PiecewiseLinearEmbedding([None, [1]]), ValueError, "edges of column 1: expected 2 to 1025 numbers"),
        (lambda: bp.PiecewiseLinearEmbedding([0]), ValueError, "edges of column 0: expected a whole number from 1"),
        (lambda: bp.PiecewiseLinearEmbedding([[0, np.inf]]), ValueError, "edges of column 0: expected finite numbers"),
        (lambda: bp.PiecewiseLinearEmbedding([[0, 1]], 0), ValueError, "width: expected a whole number"),
        (lambda: bp.ParametricActivation("wish"), ValueError, "activation: expected one of"),
        (lambda: bp.PReLU(1), ValueError, "slope: expected a finite number at least 0 and below 1"),
    ],
)
def test_refused(make, error, says):
    with pytest.raises(error) as caught:
        bp.Sequential([make(), bp.Dense(3, 1)], rng=0)
    assert says in str(caught.value)


def test_layers_belong_to_one_network_also_within_others():
    inner = bp.Dense(4, 4)
    bp.Sequential([bp.Residual([inner])], rng=0)
    with pytest.raises(ValueError, match="belongs to another network"):
        bp.Sequential([bp.Residual([inner])], rng=0)
    twice = bp.Dense(4, 4)
    with pytest.raises(ValueError, match="expected each once"):
        bp.Concatenate([[twice], [twice]])
    with pytest.raises(ValueError, match="first in its network"):
        bp.Sequential([bp.Dense(2, 1), bp.Embedding(3, 2)], rng=0)
    with pytest.raises(AttributeError, match="make a new network"):
        inner.n_in = 5
