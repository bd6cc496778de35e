"""Layers beside the dense one: against their twins, against PyTorch, and as parts of the engine."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import reference
from instances import NETWORKS
from oracles import InTorch
from runs import QUICK

import backprop as bp

DTYPES = ["float32", "float64"]

#: Networks from 4 numbers to 3, of every layer there is; those of names take whole numbers in columns 1 and 3.
every_network = pytest.mark.parametrize("name", NETWORKS)


def network(name, dtype="float64", rng=1):
    net = bp.Sequential(NETWORKS[name](), rng=rng, dtype=dtype)
    net.parameters += np.random.default_rng(2).normal(scale=0.3, size=net.parameters.size)  # no zeros, no ones
    return net


def table(rows, dtype="float64", seed=0):
    """x (rows, 4), with names in columns 1 and 3; y (rows, 3)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    x[:, 1], x[:, 3] = rng.integers(0, 5, rows), rng.integers(0, 2, rows)
    return x.astype(dtype), rng.normal(size=(rows, 3)).astype(dtype)


def state(net, optimizer):
    return [net.parameters, net.gradients, net.buffers, *optimizer.state.values()]


def same(*runs):
    return all(np.array_equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other, strict=True))


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
    for make in bp.PReLU, bp.LayerNorm, bp.BatchNorm:
        layer = make()
        net = alone(layer, x, dtype)
        y, dx = net.forward(x), net.backward(dy)
        if make is bp.PReLU:
            twin = reference.prelu_forward(x, layer.weight)
            twin_dx, *gradients = reference.prelu_backward(x, layer.weight, dy)
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
    for name in set(bp.optimizers.__all__) - {"Optimizer", "LBFGS"}:  # L-BFGS asks the engine for gradients
        assert getattr(bp, name).kernel in bp._core.OPTIMIZERS, name
    for name in set(bp.activations.__all__) - {"ActivationFunction"}:
        assert getattr(bp.activations, name).code in bp._core.ACTIVATIONS.values(), name
    for name in NETWORKS:
        assert network(name).plan is not None, name


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
        (lambda: bp.Residual([bp.Dense(4, 3)]), ValueError, "layers that keep a row's size, got 4 before and 3 after"),
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
    with pytest.raises(ValueError, match="of another network"):
        bp.Sequential([bp.Residual([inner])], rng=0)
    twice = bp.Dense(4, 4)
    with pytest.raises(ValueError, match="expected each once"):
        bp.Concatenate([[twice], [twice]])
    with pytest.raises(ValueError, match="first in its network"):
        bp.Sequential([bp.Dense(2, 1), bp.Embedding(3, 2)], rng=0)
    with pytest.raises(AttributeError, match="make a new network"):
        inner.n_in = 5


# A layer of one's own.


class Cubic(bp.Layer):
    """y = x + factor x^3."""

    def shapes(self):
        return {"factor": (self.n_in,)}

    def initialize(self, rng):
        self.factor[:] = rng.normal(size=self.n_in)

    def forward(self, x, training):
        if training:
            self.x = x
        return x + self.factor * x**3

    def backward(self, dy):
        self.factor_grad[:] = (dy * self.x**3).sum(axis=0)
        return dy * (1 + 3 * self.factor * self.x**2)


class Halve(bp.Layer):
    """The mean of each pair of columns."""

    def __init__(self, n_in):
        self.n_in, self.n_out = n_in, n_in // 2

    def forward(self, x, training):
        return (x[:, ::2] + x[:, 1::2]) / 2

    def backward(self, dy):
        return np.repeat(dy / 2, 2, axis=1)


OWN = {
    "first": lambda: [Cubic(), bp.Dense(4, 3, "tanh"), bp.Dense(3, 3)],
    "between": lambda: [bp.Dense(4, 6, "tanh"), bp.BatchNorm(), Cubic(), Halve(6), bp.Dense(3, 3)],
    "last": lambda: [bp.Dense(4, 3, "tanh"), Cubic()],
    "alone": lambda: [Halve(6)],
    "with dropout": lambda: [bp.Dropout(0.2), bp.Dense(4, 6), Cubic(), bp.Dropout(0.5), Halve(6)],
}


@pytest.mark.parametrize("name", OWN)
def test_a_layer_of_ones_own(name):
    net = bp.Sequential(OWN[name](), rng=3, dtype="float64")
    x, y = table(12)
    x = np.concatenate([x, x[:, :2]], axis=1) if name == "alone" else x
    for loss in "mse", lambda y_hat, y: (((y_hat - y) ** 2).sum(), 2 * (y_hat - y)):
        assert bp.check_gradients(net, loss, x, y).error < 1e-6
    before = net.evaluate(x, y, loss="mse", metrics=["mae"])
    assert before["loss"] == pytest.approx(((net.predict(x) - y) ** 2).mean())
    history = net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=30, batch_size=5, metrics=["mae"])
    if name != "alone":
        assert history["loss"][-1] < history["loss"][0] and net.evaluate(x, y, loss="mse")["loss"] < before["loss"]
    assert np.array_equal(net.predict(x), np.concatenate([net.predict(row[None]) for row in x]))
    assert "Cubic" in repr(net) or "Halve" in repr(net)
    assert net.summary()


def test_a_layer_of_ones_own_is_equal_to_itself_only():
    own = Halve(4)
    assert own == own and own != Halve(4) and own != Halve(6)
    assert bp.Dense(4, 3) == bp.Dense(4, 3) != bp.Dense(4, 2)


def test_a_network_with_a_layer_of_ones_own_trains_as_by_hand_bits():
    x, y = table(23)
    runs = []
    for way in range(2):
        net, its, loss = bp.Sequential(OWN["between"](), rng=3, dtype="float64"), bp.Adam(), bp.MeanSquaredError()
        if way:
            for start in [*range(0, 23, 5)] * 2:
                rows = slice(start, start + 5)
                net.backward(loss(net.forward(x[rows]), y[rows])[1])
                its.step(net)
        else:
            net.fit(x, y, loss=loss, optimizer=its, epochs=2, batch_size=5, shuffle=False)
        runs.append(state(net, its))
    assert same(*runs)


def test_what_a_layer_of_ones_own_returns_is_looked_at(tmp_path):
    class Wrong(bp.Layer):
        def forward(self, x, training):
            return self.makes(x)

        def backward(self, dy):
            return dy[:, :1]

    net = bp.Sequential([bp.Dense(4, 3), Wrong(), bp.Dense(3, 3)], rng=0, dtype="float64")
    x, y = table(5)
    net.layers[1].makes = lambda x: x[:, :2]
    with pytest.raises(ValueError, match=r"the forward of Wrong\(\) returned: expected shape \(5, 3\), got \(5, 2\)"):
        net.predict(x)
    net.layers[1].makes = lambda x: x * np.nan
    with pytest.raises(ValueError, match=r"Wrong\(\): expected finite numbers from its forward"):
        net.predict(x)
    net.layers[1].makes = lambda x: x
    net.forward(x)
    with pytest.raises(ValueError, match=r"the backward of Wrong\(\) returned"):
        net.backward(y)
    with pytest.raises(TypeError, match="a file holds no code"):
        net.save(tmp_path / "net.safetensors")
    with pytest.raises(TypeError, match="expected built-in layers within Residual"):
        bp.Residual([Wrong()])
    with pytest.raises(TypeError, match="which has no forward and backward"):
        bp.Sequential([bp.Dense(2, 2), bp.Layer()])


KEEPING = [bp.LayerNorm, bp.BatchNorm, bp.PReLU, lambda: bp.Dropout(0.2), lambda: bp.Activation("tanh")]
#: How many numbers go in, and layers that only later ones tell it.
INFERRED = {
    "a row beside a rectified one": (5, lambda: [bp.LayerNorm(), bp.Concatenate([[], [bp.PReLU()]]), bp.Dense(10, 2)]),
    "three branches": (4, lambda: [bp.Concatenate([[], [bp.PReLU(), bp.LayerNorm()], []]), bp.Dense(12, 2)]),
    "one within another": (3, lambda: [bp.Concatenate([[], [bp.Concatenate([[], []])]]), bp.BatchNorm(), bp.Dense(9, 2)]),
    "one after another": (2, lambda: [bp.Concatenate([[], []]), bp.Concatenate([[], [], []]), bp.Dense(12, 2)]),
    "before a residual": (2, lambda: [bp.Concatenate([[], []]), bp.Residual([bp.Dense(4, 8), bp.Dense(8, 4)])]),
    "in a residual": (3, lambda: [bp.Residual([bp.PReLU(), bp.Concatenate([[], []]), bp.Dense(6, 3)])]),
    "beside a residual": (4, lambda: [bp.Concatenate([[bp.Residual([bp.LayerNorm()])], []]), bp.Dense(8, 1)]),
    "sizes in one of the branches": (4, lambda: [
        bp.LayerNorm(), bp.Concatenate([[], [bp.Concatenate([[], []]), bp.Dense(8, 3)]]), bp.Dense(7, 3)]),
    "sizes before": (3, lambda: [bp.Dense(3, 2), bp.Concatenate([[], [bp.PReLU()]]), bp.Dense(4, 1)]),
    **{f"all that keep a size, {i}": (6, lambda layer=layer: [
        layer(), bp.Concatenate([[layer()], [layer(), layer()]]), layer(), bp.Dense(12, 3)])
       for i, layer in enumerate(KEEPING)},
}  # fmt: skip


@pytest.mark.parametrize("name", INFERRED)
def test_sizes_are_inferred_backwards(name, tmp_path):
    """As if a layer of that size stood before them; and again from a file."""
    n, make = INFERRED[name]
    net = bp.Sequential(make(), rng=0)
    told = bp.Sequential([bp.Dense(n, n), *make()], rng=0)
    assert net.n_in == n and net.n_out == told.n_out
    assert [layer.n_out for layer in net.layers] == [layer.n_out for layer in told.layers[1:]]
    x, y = np.random.default_rng(0).normal(size=(4, n)), np.zeros((4, net.n_out))
    net.fit(x, y, loss="mse", optimizer="adam")
    net.save(tmp_path / "net.safetensors")
    assert bp.load(tmp_path / "net.safetensors").predict(x).tobytes() == net.predict(x).tobytes()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: [bp.Concatenate([[], [bp.LayerNorm()]]), bp.Dense(5, 3)], "2 times as many numbers .* never 5"),
        (lambda: [bp.Dropout(0.1), bp.Concatenate([[], [], []]), bp.Dense(10, 3)], "3 times as many .* never 10"),
        (lambda: [bp.Concatenate([[], [bp.LayerNorm()]]), bp.PReLU()], "expected at least one layer with sizes"),
        (
            lambda: [bp.Residual([bp.Concatenate([[], []])]), bp.Dense(6, 3)],
            "layers that keep a row's size, got 6 before",
        ),
    ],
)
def test_sizes_that_cannot_be_inferred(make, says):
    with pytest.raises(ValueError, match=says):
        bp.Sequential(make())


# Norms are rounded once.


def norm_data(dtype):
    """x, weight, bias and dy, of rows that lie around zero, far from it, and close together."""
    rng = np.random.default_rng(12)
    places = (0.0, 1.0), (0.0, 1e-3), (100.0, 1.0), (100.0, 1e-2), (-1e4, 1.0)
    for n, (offset, spread) in itertools.product((1, 2, 7, 8, 9, 33, 300), places):
        x, dy = offset + spread * rng.normal(size=(40, n)), rng.normal(size=(40, n))
        yield tuple(part.astype(dtype) for part in (x, rng.normal(size=n), rng.normal(size=n), dy))


def exact_norm(x, weight, bias, dy, axis):
    """y, dx, dweight and dbias in extended precision."""
    x, weight, bias, dy = (np.asarray(part, np.longdouble) for part in (x, weight, bias, dy))
    d = x - x.mean(axis=axis, keepdims=True)
    rstd = 1 / np.sqrt((d * d).mean(axis=axis, keepdims=True) + np.longdouble(1e-5))
    unit, g = d * rstd, weight * dy
    dx = rstd * (g - g.mean(axis=axis, keepdims=True) - unit * (g * unit).mean(axis=axis, keepdims=True))
    return unit * weight + bias, dx, (dy * unit).sum(axis=0), dy.sum(axis=0)


NORMS = {bp.LayerNorm: 1, bp.BatchNorm: 0}


@pytest.mark.parametrize("layer", NORMS)
def test_a_norm_in_float32_is_rounded_once(layer):
    """Its answers are within the last place, wherever the rows lie; its gradients are close to that."""
    for x, weight, bias, dy in norm_data("float32"):
        net = bp.Sequential([layer(), bp.Dense(x.shape[1], x.shape[1], use_bias=False)], rng=0)
        net.parameters = np.concatenate([weight, bias, np.eye(len(weight)).ravel()])
        exact_y, dx, dweight, dbias = exact_norm(x, weight, bias, dy, NORMS[layer])
        answers = [net.forward(x)]
        found_dx = net.backward(dy)
        if layer is bp.LayerNorm:
            answers.append(net.predict(x))
        unit = np.spacing(abs(exact_y).astype("float32"))
        for y in answers:
            assert (abs(y - exact_y) <= 0.51 * unit).all()
        for found, exact in (
            (found_dx, dx), (net.layers[0].weight_grad, dweight), (net.layers[0].bias_grad, dbias),
        ):  # fmt: skip
            size = abs(exact).max() or 1.0
            assert (abs(found - exact) <= 2 * np.finfo("float32").eps * size).all()


def test_a_batch_norm_in_float32_predicts_what_is_rounded_once():
    """From running statistics that are float32 themselves."""
    for x, weight, bias, _ in norm_data("float32"):
        net = bp.Sequential([bp.BatchNorm(), bp.Dense(x.shape[1], x.shape[1], use_bias=False)], rng=0)
        net.parameters = np.concatenate([weight, bias, np.eye(len(weight)).ravel()])
        net.buffers = np.concatenate([x.mean(axis=0), x.var(axis=0)])
        mean, variance = np.split(net.buffers.astype(np.longdouble), 2)
        exact = (x - mean) / np.sqrt(variance + np.longdouble(1e-5)) * weight + bias
        assert (abs(net.predict(x) - exact) <= 0.51 * np.spacing(abs(exact).astype("float32"))).all()
