"""PyTorch agrees: on activations and their derivatives, on losses and gradients, on the steps of every optimizer."""

import itertools

import numpy as np
import pytest
from instances import ACTIVATIONS, GRADIENTS, LOSSES, OPTIMIZERS, data, network, optimizer_of
from oracles import InTorch, torch_activation, torch_loss

import backprop as bp


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


@GRADIENTS
def test_torch_agrees_on_losses_and_gradients(torch, layer, f, end, loss):
    layer = "dense" if layer == "dropout" else layer  # whose masks are its own
    net = network(layer, f, end, loss.n_out)
    x, y, weights = data(loss)
    twin = InTorch(torch, net)
    for reduction, sample_weight in itertools.product(("mean", "sum"), (None, weights)):
        made = loss.make(reduction)
        plain = torch_loss(torch, made, twin(torch.tensor(x)), y, sample_weight)
        expected = plain + twin.penalty()
        gradient = twin.flat(torch.autograd.grad(expected, twin.parameters))
        value, found = net.value_and_gradient(x, y, made, sample_weight=sample_weight)
        assert value == pytest.approx(expected.item(), rel=1e-9)
        np.testing.assert_allclose(found, gradient, rtol=1e-9, atol=1e-12)
        score = net.evaluate(x, y, loss=made, sample_weight=sample_weight)["loss"]
        assert score == pytest.approx(plain.item(), rel=1e-9)
        assert score + net.penalty() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("optimizer", [text for text, theirs in OPTIMIZERS.items() if theirs])
@pytest.mark.parametrize("by_hand", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_torch_takes_the_same_60_steps(torch, optimizer, by_hand):
    net = bp.Sequential(
        [bp.Dense(4, 9, "tanh"), bp.Dense(9, 7, "sigmoid"), bp.Dense(7, 3, "softmax")], rng=2, dtype="float64"
    )
    x, y, _ = data(next(loss for loss in LOSSES if loss.name == "ce-labels"), rows=20)
    twin = InTorch(torch, net)
    name, options = OPTIMIZERS[optimizer]
    theirs, ours = getattr(torch.optim, name)(twin.parameters, **options), optimizer_of(optimizer)
    losses = []
    for start in range(60):
        rows = slice(start % 5 * 4, start % 5 * 4 + 4)
        theirs.zero_grad()
        loss = torch.nn.functional.nll_loss(torch.log(twin(torch.tensor(x[rows]))), torch.tensor(y[rows]))
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
    np.testing.assert_allclose(net.parameters, twin.flat(twin.parameters), rtol=1e-9, atol=1e-9)
