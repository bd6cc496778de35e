"""Every gradient against central differences, and against PyTorch."""

import functools
import itertools

import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from instances import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, REDUCTIONS, optimizer_of

import backprop as bp

#: Each layer with each activation, and each loss under each of its ends, once; what only crosses them is slow.
CASES = [
    pytest.param(
        layer, f, end, loss, id=f"{layer}-{f}-{end}-{loss.name}",
        marks=() if (layer, f) == ("dense", "tanh") or (loss.name, end) == ("mse", "identity") else pytest.mark.slow,
    )
    for layer, f, loss in itertools.product(LAYERS, ACTIVATIONS, LOSSES)
    for end in loss.ends
    # The last activation of one kind of layer is enough for the mean squared error, which takes any, and one activation
    # within for losses that are not computed together with the last one.
    if (layer == "dense" or loss.name != "mse" or end == "identity")
    and (f == "tanh" or loss.name.startswith(("mse", "bce", "ce")))
]  # fmt: skip
MSE, LABELS = (next(loss for loss in LOSSES if loss.name == name) for name in ("mse", "ce-labels"))
WITHIN = 1e-6


def network(layer, f, end, n_out=3):
    return bp.Sequential(
        [*LAYERS[layer](ACTIVATIONS[f]), bp.Dense(3, n_out, ACTIVATIONS[end], bias_init="he_normal")],
        rng=5,
        dtype="float64",
    )


def data(loss, rows=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 4)), loss.data(rows, rng), rng.random(rows) + 0.1


def differences(f, x, h=6e-6):
    """The gradient of f, a number, with respect to the array x, changed in place meanwhile."""
    gradient = np.empty_like(x)
    for at in np.ndindex(x.shape):
        kept = x[at]
        x[at] = kept + h
        above = f()
        x[at] = kept - h
        gradient[at] = (above - f()) / (2 * h)
        x[at] = kept
    return gradient


def error(gradient, numeric):
    """As `check_gradients` measures it."""
    size = np.maximum(abs(gradient), abs(numeric))
    return float((abs(gradient - numeric) / np.maximum(size, max(size.max() / 100, 1e-300))).max())


@pytest.mark.parametrize(("layer", "f", "end", "loss"), CASES)
def test_every_parameter(layer, f, end, loss):
    net = network(layer, f, end, loss.n_out)
    x, y, weights = data(loss)
    for reduction, sample_weight in itertools.product(REDUCTIONS, (None, weights)):
        found = bp.check_gradients(net, loss.make(reduction), x, y, sample_weight=sample_weight)
        assert found.error < WITHIN, (reduction, found)


@pytest.mark.parametrize(("layer", "f", "end", "loss"), CASES)
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


# PyTorch.


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    torch.set_num_threads(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which NAdam keeps the product of its momenta
    yield torch
    torch.set_default_dtype(before)


def torch_activation(torch, activation):
    f, slope = torch.nn.functional, activation.slope
    return {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
        "leaky_relu": functools.partial(f.leaky_relu, negative_slope=slope),
        "elu": functools.partial(f.elu, alpha=slope), "selu": torch.selu, "gelu": f.gelu,
        "gelu_tanh": functools.partial(f.gelu, approximate="tanh"), "silu": f.silu, "mish": f.mish,
        "softplus": functools.partial(f.softplus, threshold=500), "softsign": f.softsign,
        "hard_sigmoid": lambda z: f.relu6(z + 3) / 6,  # f.hardsigmoid's derivative is a sixth of float32
        "hard_tanh": f.hardtanh, "exp": torch.exp,
        "softmax": functools.partial(torch.softmax, dim=1), "log_softmax": functools.partial(torch.log_softmax, dim=1),
    }[activation.name]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_torch_agrees_on_activations_and_their_slopes(torch, name):
    """Also where they are bent, and far out."""
    f, rng = ACTIVATIONS[name], np.random.default_rng(0)
    z = np.concatenate([[-1000, -30, -3, -1, -0.75, -0.0, 0, 0.3, 1, 3, 30, 700], rng.normal(scale=4, size=988)])
    z, dy = z.reshape(-1, 4), rng.normal(size=(250, 4))
    given = torch.tensor(z, requires_grad=True)
    expected = torch_activation(torch, f)(given)
    expected.backward(torch.tensor(dy))
    y, dz = f(z), dy.copy()
    bp._core.activate_backward(f.code, f.slope, y, dz, z)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dz, given.grad.numpy(), rtol=1e-9, atol=1e-12)


def in_torch(torch, net):
    """The same network as a function of torch tensors, its parameters in the order of ours."""
    parameters, steps = [], []
    for layer in net.layers:
        views = [getattr(layer, name) for name in layer.shapes()]
        own = [torch.tensor(view, requires_grad=True) for view in views]
        parameters += own
        steps.append((layer, own, torch_activation(torch, layer.activation)))

    def fixed_norm(norm, x, own):
        running = (torch.tensor(view.copy()) for view in (norm.running_mean, norm.running_variance))
        return torch.nn.functional.batch_norm(x, *running, *own, eps=norm.epsilon)

    def forward(x):
        for layer, own, f in steps:
            if isinstance(layer, bp.BatchNorm):
                x = fixed_norm(layer, x, own)
            else:
                x = f(x @ own[0] + (own[1] if len(own) > 1 else 0) if own else x)
        return x

    return forward, parameters


def torch_rows(torch, f, made, z, y):
    """The loss of each row, from torch's own functions as far as it has them."""
    name, none = made.kernel, {"reduction": "none"}
    if (
        name in ("cross_entropy", "kl_divergence", "focal")
        and z.shape[1] > 1
        and not getattr(made, "multi_label", False)
    ):
        log_p = torch.log_softmax(z, dim=1) if made.from_logits else torch.log(z)
        if name == "kl_divergence":
            return f.kl_div(log_p, y, **none).sum(dim=1)
        if name == "cross_entropy":
            return f.cross_entropy(log_p, y, label_smoothing=made.label_smoothing, **none)
        q = f.one_hot(y, z.shape[1]) if y.ndim == 1 else y
        return -(q * (1 - log_p.exp()) ** made.gamma * log_p).sum(dim=1)
    if name in ("binary_cross_entropy", "focal"):
        p = torch.sigmoid(z) if made.from_logits else z
        each = f.binary_cross_entropy_with_logits if made.from_logits else f.binary_cross_entropy
        if name == "binary_cross_entropy":
            return each(z, y, **none).mean(dim=1)
        one, zero = (1, 1) if made.alpha is None else (made.alpha, 1 - made.alpha)
        ones, zeros = torch.ones_like(z), torch.zeros_like(z)
        return (
            one * y * (1 - p) ** made.gamma * each(z, ones, **none)
            + zero * (1 - y) * p**made.gamma * each(z, zeros, **none)
        ).mean(dim=1)
    if name in ("hinge", "squared_hinge"):
        sign = 2 * f.one_hot(y, z.shape[1]) - 1 if y.ndim == 1 else y
        return (torch.clamp(1 - sign * z, min=0) ** (2 if name == "squared_hinge" else 1)).mean(dim=1)
    if name == "quantile":
        levels = torch.tensor(made.numbers(), dtype=torch.float64)
        d = y[:, :, None] - z.reshape(*y.shape, len(levels))
        return torch.maximum(levels * d, (levels - 1) * d).mean(dim=(1, 2))
    if name == "gaussian_nll":
        return f.gaussian_nll_loss(z[:, ::2], y, torch.exp(z[:, 1::2]), eps=1e-300, **none).mean(dim=1)
    if name == "cosine_similarity":
        return f.cosine_embedding_loss(z, y, torch.ones(len(z)), **none)
    if name == "poisson":
        return f.poisson_nll_loss(z, y, log_input=made.log_input, eps=0, **none).mean(dim=1)
    return {
        "mean_squared_error": lambda: f.mse_loss(z, y, **none),
        "mean_absolute_error": lambda: f.l1_loss(z, y, **none),
        "huber": lambda: f.huber_loss(z, y, delta=made.delta, **none),
        "log_cosh": lambda: torch.log(torch.cosh(z - y)),
    }[name]().mean(dim=1)


def torch_loss(torch, made, y_hat, y, weights):
    """The same loss from torch's own functions."""
    rows = torch_rows(torch, torch.nn.functional, made, y_hat, torch.tensor(y))
    weights = torch.ones(len(y)) if weights is None else torch.tensor(weights)
    total = (rows * weights).sum()
    return total / weights.sum() if made.reduction == "mean" else total


def torch_penalty(net, parameters):
    """What the layers' l1 and l2 add."""
    weights = iter(parameters)
    total = 0.0
    for layer in net.layers:
        own = [next(weights) for _ in layer.shapes()]
        total = (
            total + layer.l1 * own[0].abs().sum() + layer.l2 * own[0].square().sum() if hasattr(layer, "l1") else total
        )
    return total


@pytest.mark.parametrize(("layer", "f", "end", "loss"), [case for case in CASES if case.values[0] != "dropout"])
def test_torch_agrees_on_losses_and_gradients(torch, layer, f, end, loss):
    net = network(layer, f, end, loss.n_out)
    x, y, weights = data(loss)
    forward, parameters = in_torch(torch, net)
    for reduction, sample_weight in itertools.product(("mean", "sum"), (None, weights)):
        made = loss.make(reduction)
        plain = torch_loss(torch, made, forward(torch.tensor(x)), y, sample_weight)
        expected = plain + torch_penalty(net, parameters)
        gradient = torch.cat([g.ravel() for g in torch.autograd.grad(expected, parameters)]).numpy()
        value, found = net.value_and_gradient(x, y, made, sample_weight=sample_weight)
        assert value == pytest.approx(expected.item(), rel=1e-9)
        np.testing.assert_allclose(found, gradient, rtol=1e-9, atol=1e-12)
        score = net.evaluate(x, y, loss=made, sample_weight=sample_weight)["loss"]
        assert score == pytest.approx(plain.item(), rel=1e-9)
        assert score + net.penalty() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("optimizer", [text for text, theirs in OPTIMIZERS.items() if theirs])
@pytest.mark.parametrize("by_hand", [True, False])
def test_torch_takes_the_same_60_steps(torch, optimizer, by_hand):
    net = bp.Sequential(
        [bp.Dense(4, 9, "tanh"), bp.Dense(9, 7, "sigmoid"), bp.Dense(7, 3, "softmax")], rng=2, dtype="float64"
    )
    x, y, _ = data(LABELS, rows=20)
    forward, parameters = in_torch(torch, net)
    name, options = OPTIMIZERS[optimizer]
    theirs, ours = getattr(torch.optim, name)(parameters, **options), optimizer_of(optimizer)
    losses = []
    for start in range(60):
        rows = slice(start % 5 * 4, start % 5 * 4 + 4)
        theirs.zero_grad()
        loss = torch.nn.functional.nll_loss(torch.log(forward(torch.tensor(x[rows]))), torch.tensor(y[rows]))
        loss.backward()
        theirs.step()
        losses.append(loss.item())
        if by_hand:
            value, dy = bp.CrossEntropy()(net.forward(x[rows]), y[rows])
            assert value == pytest.approx(losses[-1], rel=1e-9)
            net.backward(dy)
            ours.step(net)
    if not by_hand:
        history = net.fit(x, y, loss="cross_entropy", optimizer=ours, epochs=12, batch_size=4, shuffle=False)
        np.testing.assert_allclose(history["loss"], np.reshape(losses, (12, 5)).mean(axis=1), rtol=1e-9)
    expected = torch.cat([p.detach().ravel() for p in parameters]).numpy()
    np.testing.assert_allclose(net.parameters, expected, rtol=1e-9, atol=1e-9)
