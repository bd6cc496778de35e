"""Derivatives beside PyTorch's, and beside finite differences: of every layer, activation and loss, in both types."""

import numpy as np
import pytest
from instances import ACTIVATIONS, LOSSES, NETWORKS
from oracles import InTorch, torch_rows

import backprop as bp

#: Of PyTorch, when it is first asked for a forward derivative.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")

#: Networks from 4 numbers to 3, whose inputs are no names.
NETS = {name: make for name, make in NETWORKS.items() if "names" not in name} | {
    name: lambda f=f: [bp.Dense(4, 5, f, bias_init="lecun_normal"), bp.Dense(5, 3, f), bp.Activation(f)]
    for name, f in ACTIVATIONS.items()
    if name != "exp"
}
NETS["exp"] = lambda: [bp.Dense(4, 5, "tanh", bias_init="lecun_normal"), bp.Dense(5, 3, "exp")]
#: Losses that have no second derivatives but at their kinks.
STRAIGHT = ("mae", "median", "quantiles", "hinge", "hinge-labels")
ROWS = 21


def network(layers, dtype="float64", seed=3):
    """Of these layers, with numbers everywhere that are not those of a beginning."""
    net, rng = bp.Sequential(layers, rng=seed, dtype=dtype), np.random.default_rng(seed)
    net.parameters += 0.3 * rng.normal(size=net.parameters.shape)
    for leaf in net.leaves.values():
        if isinstance(leaf, bp.BatchNorm):
            leaf.running_mean[...] = rng.normal(size=leaf.running_mean.shape)
            leaf.running_variance[...] = rng.random(leaf.running_variance.shape) + 0.5
    return net


def data(seed=0, names=False):
    """x, y, weights, and a vector of so many numbers as are asked for."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 4))
    if names:
        x[:, 1], x[:, 3] = rng.integers(0, 5, ROWS), rng.integers(0, 2, ROWS)
    return x, rng.normal(size=(ROWS, 3)), rng.random(ROWS) + 0.1, lambda n: rng.normal(size=n)


class Function:
    """A network as a function of its flat parameters and its rows, in PyTorch, in evaluation mode."""

    def __init__(self, torch, net):
        self.twin = InTorch(torch, net)
        self.twin.training = False
        self.parameters = torch.tensor(net.parameters)

    def __call__(self, flat, x):
        kept, at = dict(self.twin.own), 0
        for layer, tensors in kept.items():
            own = []
            for tensor in tensors:
                own.append(flat[at : at + tensor.numel()].reshape(tensor.shape))
                at += tensor.numel()
            self.twin.own[layer] = own
        try:
            return self.twin(x)
        finally:
            self.twin.own = kept


@pytest.fixture
def written_out(torch, monkeypatch):
    """A layer norm as its formula: of PyTorch's own, the second forward derivative is not right."""

    def layer_norm(x, shape, weight, bias, epsilon):
        c = x - x.mean(1, keepdim=True)
        return weight * c * ((c * c).mean(1, keepdim=True) + epsilon) ** -0.5 + bias

    monkeypatch.setattr(torch.nn.functional, "layer_norm", layer_norm)


def close(found, expected, tolerance=1e-10):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert abs(found - expected).max(initial=0) <= tolerance * max(1, abs(expected).max(initial=0))


@pytest.mark.parametrize("name", NETS)
def test_jacobians(name, torch):
    net = network(NETS[name]())
    x, *_ = data()
    f, rows = Function(torch, net), torch.tensor(x)
    twin = [torch.autograd.functional.jacobian(lambda rows, o=o: f(f.parameters, rows)[:, o].sum(), rows)
            for o in range(3)]  # fmt: skip
    close(net.jacobian(x), torch.stack(twin, 1))
    _, first = net.derivatives(x)
    close(first, torch.stack(twin, 1))


@pytest.mark.parametrize("name", [*NETS, "names", "names in branches"])
def test_gradients_of_rows_and_their_curvature(name, torch):
    net = network((NETS | NETWORKS)[name]())
    x, y, weights, draw = data(names="names" in name)
    f, rows, targets = Function(torch, net), torch.tensor(x), torch.tensor(y)
    per_row = torch.autograd.functional.jacobian(lambda p: ((f(p, rows) - targets) ** 2).mean(1), f.parameters)
    found = net.per_sample_gradients(x, y, "mse")
    close(found, per_row)
    norms = net.per_sample_gradients(x, y, "mse", norms_only=True)
    close(norms, np.sqrt((found**2).sum(axis=1)), 1e-14)

    jacobian = torch.autograd.functional.jacobian(lambda p: f(p, rows), f.parameters).numpy()
    share = weights / weights.sum() * 2 / 3
    close(net.gauss_newton(x, y, "mse", sample_weight=weights), np.einsum("boi,boj,b->ij", jacobian, jacobian, share))

    def loss(p):
        return (((f(p, rows) - targets) ** 2).mean(1) * torch.tensor(weights)).sum() / weights.sum()

    v = draw(len(net.parameters))
    hvp = torch.autograd.functional.hvp(loss, f.parameters, torch.tensor(v))[1]
    close(net.hessian_vector_product(x, y, "mse", v, sample_weight=weights), hvp)


def along(torch, f, rows, direction):
    """The first and the second derivative along a direction, of a function of the parameters."""
    at, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    jvp = torch.func.jvp

    def first(p, t):
        return jvp(lambda t: f(p, rows + t * direction), (t,), (one,))[1]

    return lambda p: first(p, at), lambda p: jvp(lambda t: first(p, t), (at,), (one,))[1]


@pytest.mark.usefixtures("written_out")
@pytest.mark.parametrize("name", NETS)
def test_second_derivatives_and_what_comes_back(name, torch):
    net = network(NETS[name]())
    x, _, _, draw = data(1)
    f, rows, directions = Function(torch, net), torch.tensor(x), draw((2, 4))
    value, first, second = net.derivatives(x, 2, directions, allow_zero_curvature=True)
    assert np.array_equal(value, net.predict(x))
    pairs = [along(torch, f, rows, torch.tensor(direction)) for direction in directions]
    close(first, torch.stack([one(f.parameters) for one, _ in pairs], 2).detach())
    close(second, torch.stack([two(f.parameters) for _, two in pairs], 2).detach())

    adjoints = [draw(part.shape) for part in (value, first, second)]
    by_value, by_first, by_second = map(torch.tensor, adjoints)

    def total(p):
        found = (f(p, rows) * by_value).sum()
        for k, (one, two) in enumerate(pairs):
            found = found + (one(p) * by_first[:, :, k]).sum() + (two(p) * by_second[:, :, k]).sum()
        return found

    net.backward_derivatives(*adjoints)
    close(net.gradients, torch.func.grad(total)(f.parameters).detach())
    for i, one in enumerate(adjoints):  # each alone, the others left out
        net.backward_derivatives(*(one if i == k else None for k in range(3)))
        kept = net.gradients.copy()
        net.backward_derivatives(*(one if i == k else np.zeros_like(other) for k, other in enumerate(adjoints)))
        assert np.array_equal(net.gradients, kept)


@pytest.mark.parametrize("loss", [pytest.param(loss, id=loss.name) for loss in LOSSES])
def test_the_second_derivatives_of_losses(loss, torch):
    made, end = loss.make("mean"), ACTIVATIONS[loss.ends[0]]
    net = network([bp.Dense(4, 5, "tanh"), bp.Dense(5, loss.n_out, end)])
    x, _, weights, draw = data(2)
    y, v = loss.data(ROWS, np.random.default_rng(2)), draw(len(net.parameters))
    f, rows = Function(torch, net), torch.tensor(x)

    def mean(p):
        return (torch_rows(torch, made, f(p, rows), torch.tensor(y)) * torch.tensor(weights)).sum() / weights.sum()

    hvp = torch.autograd.functional.hvp(mean, f.parameters, torch.tensor(v))[1]
    close(net.hessian_vector_product(x, y, made, v, sample_weight=weights), hvp, 1e-8)
    summed = net.hessian_vector_product(x, y, loss.make("sum"), v, sample_weight=weights)
    close(summed, hvp * weights.sum(), 1e-8)
    rows_of = net.per_sample_gradients(x, y, made)
    _, gradient = net.value_and_gradient(x, y, made, sample_weight=weights)
    close((rows_of * weights[:, None]).sum(axis=0) / weights.sum(), gradient)

    # Gauss-Newton is the Hessian where nothing but the last layer moves, and that is linear in its weights.
    last = network([bp.Dense(4, loss.n_out, end)])
    if loss.name in STRAIGHT:
        with pytest.raises(ValueError, match=r"loss: expected one with second derivatives, .* got"):
            last.gauss_newton(x, y, made)
    elif last.graph[-1].activation == bp.activations.identity or last._objective(made).on_logits:
        close(last.gauss_newton(x, y, made, sample_weight=weights), bp.hessian(last, x, y, made, sample_weight=weights))


def test_the_hessian_is_the_derivative_of_the_gradient():
    net = network([bp.Dense(4, 6, "tanh", l2=0.1), bp.LayerNorm(), bp.Dense(6, 3, "softmax")])
    x, *_ = data()
    labels, columns = np.arange(ROWS) % 3, []
    for i in range(len(net.parameters)):
        kept = net.parameters[i]
        net.parameters[i] = kept + 1e-5
        _, above = net.value_and_gradient(x, labels, "cross_entropy")
        net.parameters[i] = kept - 1e-5
        columns.append((above - net.value_and_gradient(x, labels, "cross_entropy")[1]) / 2e-5)
        net.parameters[i] = kept
    hessian = bp.hessian(net, x, labels, "cross_entropy")
    assert np.array_equal(hessian, hessian.T)
    close(hessian, columns, 1e-8)

    values, vectors = np.linalg.eigh(hessian)
    order = np.argsort(-abs(values))
    found, along = bp.curvature(net, x, labels, "cross_entropy", 4, vectors=True, tolerance=1e-12)
    close(found, values[order[:4]], 1e-10)
    close(abs((along * vectors[:, order[:4]]).sum(axis=0)), np.ones(4), 1e-6)
    assert bp.curvature(net, x, labels, "cross_entropy") == pytest.approx([values[order[0]]], rel=1e-5)
    everything = bp.curvature(net, x, labels, "cross_entropy", len(values))
    close(np.sort(everything), values, 1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_for_any_threads_and_rows(dtype):
    net = network([bp.Dense(5, 17, "tanh"), bp.Dense(17, 9, "gelu"), bp.Dense(9, 2)], dtype)
    rng = np.random.default_rng(0)
    x, y, v = rng.normal(size=(500, 5)), rng.normal(size=(500, 2)), rng.normal(size=net.parameters.shape)
    calls = {
        "jacobian": lambda threads, x=x, y=y: net.jacobian(x, threads=threads),
        "rows": lambda threads, x=x, y=y: net.per_sample_gradients(x, y, "mse", threads=threads),
        "norms": lambda threads, x=x, y=y: net.per_sample_gradients(x, y, "mse", norms_only=True, threads=threads),
        "first": lambda threads, x=x, y=y: net.derivatives(x, threads=threads)[1],
        "second": lambda threads, x=x, y=y: net.derivatives(x, 2, threads=threads)[2],
    }
    sums = {
        "hvp": lambda threads: net.hessian_vector_product(x, y, "mse", v, threads=threads),
        "gauss_newton": lambda threads: net.gauss_newton(x, y, "mse", threads=threads),
    }
    for name, call in (calls | sums).items():
        alone = call(1)
        assert alone.dtype == dtype
        assert all(np.array_equal(call(threads), alone) for threads in (2, 3, 5)), name
    for name, call in calls.items():
        alone = call(1)
        assert np.array_equal(alone[7:9], call(1, x[7:9], y[7:9])), name
        assert np.array_equal(alone, call(1, np.asfortranarray(x), y)), name

    def back(threads):
        value, first, second = net.derivatives(x, 2, threads=threads)
        net.backward_derivatives(value, first, second)
        return net.gradients.copy()

    assert np.array_equal(back(1), back(3))


def test_check_gradients_knows_second_derivatives(monkeypatch):
    net, (x, y, weights, _) = network([bp.Dense(4, 5, "tanh", l2=0.1), bp.LayerNorm(), bp.Dense(5, 3)]), data()
    before = net.parameters.copy()
    assert float(bp.check_gradients(net, "mse", x, y, sample_weight=weights, second=True)) < 1e-6
    assert np.array_equal(net.parameters, before)
    right = bp.Sequential.hessian_vector_product

    def wrong(self, *given, **more):
        found = right(self, *given, **more)
        found[7] *= 1.01
        return found

    monkeypatch.setattr(bp.Sequential, "hessian_vector_product", wrong)
    found = bp.check_gradients(net, "mse", x, y, second=True)
    assert float(found) > 1e-3 and found.parameter == "layers[0].weight[1, 2]"


def test_float32_is_near_float64():
    wide, narrow = (
        network([bp.Dense(4, 30, "tanh"), bp.Dense(30, 20, "silu"), bp.LayerNorm(), bp.Dense(20, 3, "softmax")], dtype)
        for dtype in ("float64", "float32")
    )
    x, *_ = data()
    wide.parameters[...] = narrow.parameters
    for found, expected in zip(narrow.derivatives(x, 2), wide.derivatives(x, 2), strict=True):
        close(found, expected, 1e-5)
    close(narrow.jacobian(x), wide.jacobian(x), 1e-5)
    v = np.random.default_rng(0).normal(size=wide.parameters.shape)
    labels = np.arange(ROWS) % 3
    close(*(net.hessian_vector_product(x, labels, "cross_entropy", v) for net in (narrow, wide)), 1e-5)


DROPPING = {name: make for name, make in NETS.items() if "dropout" in name} | {
    "by a schedule": lambda: [bp.Dense(4, 6, "tanh"), bp.Dropout(bp.schedules.Cosine(0.6, 10)), bp.Dense(6, 3)],
    "beside a batch norm": lambda: [bp.Dropout(0.2), bp.Dense(4, 6), bp.BatchNorm(momentum=0), bp.Activation("tanh"),
                                    bp.Dropout(0.4), bp.Dense(6, 3), bp.Clip(-9, 9)],
}  # fmt: skip


@pytest.mark.parametrize("name", DROPPING)
def test_dropout_where_it_is_asked_for(name):
    """Each derivative is that of what the next step of training computes."""
    net, rng = network(DROPPING[name]()), np.random.default_rng(5)
    net.steps = 4
    x, y, v = rng.normal(size=(300, 4)), rng.normal(size=(300, 3)), rng.normal(size=net.parameters.shape)
    begin, steps = net.parameters.copy(), (1e-5, -1e-5)

    def moved(measure):
        """How it changes along v."""
        found = []
        for step in steps:
            net.parameters[...] = begin + step * v
            found.append(measure())
        net.parameters[...] = begin
        return (found[0] - found[1]) / 2e-5

    value, first, second = net.derivatives(x, 2, allow_zero_curvature=True, dropout=True)
    close(value, net.copy().forward(x, training=True), 1e-14)
    assert abs(value - net.predict(x)).max() > 0.01
    close(net.jacobian(x, dropout=True), first, 1e-12)
    unit = np.eye(4)[2]
    above, below = (net.derivatives(x + step * unit, dropout=True) for step in steps)
    close(first[:, :, 2], (above[0] - below[0]) / 2e-5, 1e-7)
    close(second[:, :, 2], (above[1] - below[1])[:, :, 2] / 2e-5, 1e-6)

    each = net.per_sample_gradients(x, y, "mse", dropout=True)
    close(each.mean(axis=0), net.value_and_gradient(x, y, "mse")[1], 1e-12)
    close(net.per_sample_gradients(x, y, "mse", dropout=True, norms_only=True) ** 2, (each**2).sum(axis=1), 1e-12)
    product = moved(lambda: net.value_and_gradient(x, y, "mse")[1])
    close(net.hessian_vector_product(x, y, "mse", v, dropout=True), product, 1e-6)
    jacobian_v = moved(lambda: net.copy().forward(x, training=True))
    close(v @ net.gauss_newton(x, y, "mse", dropout=True) @ v, 2 * (jacobian_v**2).mean(), 1e-6)

    def total():
        found = net.derivatives(x, 2, allow_zero_curvature=True, dropout=True)
        return sum((part * other).sum() for part, other in zip(found, (value, first, second), strict=True))

    total()
    net.backward_derivatives(value, first, second)
    close(net.gradients @ v, moved(total), 1e-6)
    assert net.steps == 4
    for threads in (1, 3):
        assert np.array_equal(net.per_sample_gradients(x, y, "mse", dropout=True, threads=threads), each)
        assert np.array_equal(net.derivatives(x, dropout=True, threads=threads)[1], first)
    with pytest.raises(TypeError, match="dropout: expected True or False"):
        net.jacobian(x, dropout=0.5)


def test_the_jacobian_along_fewer_inputs_than_outputs():
    net, x = network([bp.Dense(2, 7, "tanh"), bp.Dense(7, 20, "softmax")]), np.random.default_rng(0).normal(size=(5, 2))
    found = net.jacobian(x)
    for i in range(2):
        step = 1e-6 * np.eye(2)[i]
        close(found[:, :, i], (net.predict(x + step) - net.predict(x - step)) / 2e-6, 1e-8)


class Twice(bp.Layer):
    def __init__(self):
        self.n_in = self.n_out = 4

    def forward(self, x, training):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def test_what_is_refused():
    net, (x, y, _, draw) = network([bp.Dense(4, 5, "tanh"), bp.Dense(5, 3)]), data()
    v = draw(len(net.parameters))
    before = net.to_bytes()
    own = bp.Sequential([Twice(), bp.Dense(4, 3)], rng=0, dtype="float64")
    for call in (
        own.jacobian, own.derivatives, lambda x: own.per_sample_gradients(x, y, "mse"),
        lambda x: own.gauss_newton(x, y, "mse"), lambda x: own.hessian_vector_product(x, y, "mse", np.zeros(15)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"built-in layers, got .*Twice"):
            call(x)
    with pytest.raises(ValueError, match=r"v: expected a number for each of 43 parameters, \(43,\), got \(42,\)"):
        net.hessian_vector_product(x, y, "mse", v[1:])
    with pytest.raises(ValueError, match=r"v: .*finite"):
        net.hessian_vector_product(x, y, "mse", np.where(v == v[3], np.nan, v))
    with pytest.raises(TypeError, match="loss: expected a built-in one"):
        net.hessian_vector_product(x, y, lambda y_hat, y: (1.0, y_hat), v)
    with pytest.raises(TypeError, match="loss: expected a built-in one"):
        net.gauss_newton(x, y, lambda y_hat, y: (1.0, y_hat))
    for order in (0, 3):
        with pytest.raises(ValueError, match=f"order: expected .*, got {order}"):
            net.derivatives(x, order)
    for directions in (np.zeros((2, 3)), np.zeros(4), np.zeros((0, 4))):
        with pytest.raises(ValueError, match=r"directions: expected an array of shape \(k, 4\)"):
            net.derivatives(x, directions=directions)
    for call in (net.jacobian, net.derivatives):
        with pytest.raises(ValueError, match="at least one row"):
            call(x[:0])
    for layers, word in (
        ([bp.Dense(4, 3, "relu")], "relu"), ([bp.Dense(4, 3), bp.PReLU()], "PReLU"),
        ([bp.Dense(4, 4), bp.ParametricActivation("relu")], "relu"),
        ([bp.PiecewiseLinearEmbedding([[-1.0, 0.0, 1.0]] * 4), bp.Dense(8, 3)], "PiecewiseLinearEmbedding"),
    ):  # fmt: skip
        straight = network(layers)
        with pytest.raises(ValueError, match=f"order: expected 1, got 2: the second derivative of {word}"):
            straight.derivatives(x, 2)
        assert not straight.derivatives(x, 2, allow_zero_curvature=True)[2].any()

    with pytest.raises(ValueError, match="expected a derivatives before it"):
        network([bp.Dense(4, 3)]).backward_derivatives(y)
    value, first = net.derivatives(x)
    gradients = net.gradients.copy()
    with pytest.raises(ValueError, match=r"d_first: expected the shape of what derivatives returned, \(21, 3, 4\)"):
        net.backward_derivatives(value, first[:, :, :2])
    with pytest.raises(ValueError, match="d_second: expected None after derivatives of order 1"):
        net.backward_derivatives(value, first, first)
    assert np.array_equal(gradients, net.gradients) and net.to_bytes() == before


def test_what_comes_back_belongs_to_the_parameters_and_rows_of_the_last_derivatives():
    net, (x, *_) = network([bp.Dense(4, 5, "tanh"), bp.BatchNorm(), bp.Dense(5, 3)]), data()
    value, first, second = net.derivatives(x, 2)
    net.backward_derivatives(value, first, second)
    gradients = net.gradients.copy()
    x[...] = 0  # the rows are those that it was given
    value[...] = 0
    net.backward_derivatives(np.array(net.predict(data()[0])), first, second)
    assert np.array_equal(net.gradients, gradients)
    with pytest.raises(ValueError, match="order: expected a whole number from 1 to 2"):
        net.derivatives(x, 3)  # the last one is still there
    net.backward_derivatives(None, first)
    for numbers in (net.parameters, net.buffers):
        net.derivatives(x, 2)
        gradients, kept = net.gradients.copy(), numbers.copy()
        numbers[3] += 0.1
        with pytest.raises(ValueError, match="expected the parameters of the last derivatives, got others"):
            net.backward_derivatives(value, first, second)
        assert np.array_equal(net.gradients, gradients)
        numbers[...] = kept
        net.backward_derivatives(value, first, second)


@pytest.mark.parametrize("layers", [
    [bp.PiecewiseLinearEmbedding([[-1.0, 0.0, 1.0]] * 4)], [bp.Columns(4, {}), bp.Residual([bp.Activation("tanh")])],
])  # fmt: skip
def test_a_network_without_parameters(layers):
    net, (x, *_) = bp.Sequential(layers, rng=0, dtype="float64"), data()
    y = np.zeros((ROWS, net.n_out))
    _, first = net.derivatives(x)
    close(net.jacobian(x), first)
    net.backward_derivatives(y)
    assert net.per_sample_gradients(x, y, "mse").shape == (ROWS, 0)
    assert not net.per_sample_gradients(x, y, "mse", norms_only=True).any()
    assert net.hessian_vector_product(x, y, "mse", []).shape == (0,)
    assert net.gauss_newton(x, y, "mse").shape == bp.hessian(net, x, y, "mse").shape == (0, 0)
    with pytest.raises(ValueError, match="net: expected a network with parameters"):
        bp.curvature(net, x, y, "mse")


def test_penalties_are_in_the_hessian_and_not_in_gauss_newton():
    net, (x, y, *_) = network([bp.Dense(4, 3, l2=0.3)]), data()
    l2 = np.repeat([0.6, 0.0], [12, 3])
    close(bp.hessian(net, x, y, "mse"), net.gauss_newton(x, y, "mse") + np.diag(l2))


def test_a_custom_loss_has_gradients_of_rows():
    net, (x, y, *_) = network([bp.Dense(4, 5, "tanh"), bp.Dense(5, 3)]), data()

    def squares(y_hat, y):
        return ((y_hat - y) ** 2).mean(), 2 * (y_hat - y) / y.size

    close(net.per_sample_gradients(x, y, squares), net.per_sample_gradients(x, y, "mse"), 1e-14)


def test_cholesky_beside_numpy():
    from backprop import _core

    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 31, 32, 33, 64, 100, 257):
        a = rng.normal(size=(n + 3, n))
        matrix, found = a.T @ a, np.zeros((n, n))
        _core.Gram(a, a, found, 2).run()
        close(np.triu(found), np.triu(matrix), 1e-13)
        factor, b = matrix.copy(), rng.normal(size=n)
        made = _core.Cholesky(factor)
        assert made.positive
        close(np.tril(factor), np.linalg.cholesky(matrix), 1e-9)
        solved = b.copy()
        made.solve(solved)
        close(matrix @ solved, b, 1e-7)
        inverse = np.linalg.inv(np.linalg.cholesky(matrix))
        assert made.inverse_trace() == pytest.approx((inverse**2).sum(), rel=1e-7)
    for matrix in (-np.eye(3), np.full((40, 40), np.nan), np.ones((2, 2))):
        assert not _core.Cholesky(matrix.copy()).positive


@pytest.mark.parametrize(("name", "limit"), [("siren_first", 30 / 7), ("siren", np.sqrt(6 / 7))])
def test_siren_initial_values(name, limit):
    layer = bp.Sequential([bp.Dense(7, 4000, "sin", weight_init=name)], rng=0)[0]
    assert 0.99 * limit < abs(layer.weight).max() <= limit
    assert layer.weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
