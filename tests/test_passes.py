"""A plan's forward and backward by hand, in training and in evaluation mode, on outputs and on logits."""

import numpy as np
import pytest
from instances import ACTIVATIONS
from oracles import InTorch, differences, error

import backprop as bp
from backprop import _core

DTYPES = "float32", "float64"

#: Networks that hold all layers, each from 4 numbers to 3.
NETWORKS = {
    "dense": lambda: [bp.Dense(4, 6, "tanh"), bp.Dense(6, 3, "softmax")],
    "dropout": lambda: [bp.Dropout(0.5), bp.Dense(4, 6, "relu"), bp.Dropout(0.5), bp.Dense(6, 3), bp.Dropout(0.5)],
    "batch norms": lambda: [
        bp.BatchNorm(), bp.Dense(4, 6), bp.Dropout(0.5), bp.BatchNorm(), bp.Activation("gelu"), bp.Dense(6, 3),
        bp.BatchNorm(),
    ],
    "layer norm": lambda: [bp.Dense(4, 6), bp.LayerNorm(), bp.PReLU(), bp.Dense(6, 3), bp.LayerNorm()],
    "branches": lambda: [
        bp.Concatenate([[bp.Dense(4, 5, "silu"), bp.BatchNorm()], [bp.Dropout(0.5)], []]),
        bp.Residual([bp.Dropout(0.5), bp.Dense(13, 13, "mish"), bp.LayerNorm()]), bp.Dense(13, 3),
    ],
    "penalties": lambda: [bp.Dense(4, 6, "tanh", l1=0.02), bp.Dense(6, 3, l2=0.03)],
    "at the end": lambda: [bp.Dense(4, 3), bp.Activation("gelu")],
}  # fmt: skip


def network(name, dtype="float64"):
    """With running statistics that are not those of anything."""
    net = bp.Sequential(NETWORKS[name](), rng=3, dtype=dtype)
    net.buffers[:] = np.random.default_rng(7).uniform(0.5, 1.5, len(net.buffers))
    net.parameters += np.random.default_rng(8).normal(scale=0.1, size=len(net.parameters)).astype(dtype)
    return net


def rows(n, width=4, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(dtype)


def predicted(net, x, logits=False):
    out = np.empty((len(x), 3), x.dtype)
    assert net._plan.predict(x, out, logits)
    return out


def forward(net, x, **how):
    out = np.full((len(x), 3), np.nan, x.dtype)
    net._plan.forward(x, out, 5, 6, **how)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_has_the_bits_of_predict_and_changes_nothing(name, logits, dtype):
    net = network(name, dtype)
    for n in (1, 2, 7, 1500):
        x = rows(n, dtype=dtype)
        buffers, gradients = net.buffers.copy(), net.gradients.copy()
        np.testing.assert_array_equal(forward(net, x, training=False, logits=logits), predicted(net, x, logits))
        np.testing.assert_array_equal(net.buffers, buffers)
        np.testing.assert_array_equal(net.gradients, gradients)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_backward_is_the_derivative_of_predict(name, logits):
    net, x = network(name), rows(6)
    towards = rows(6, 3, seed=4)
    forward(net, rows(6, seed=9))  # what another pass left behind is not met again
    net._plan.backward(towards)
    forward(net, x, training=False, logits=logits)
    dx = np.empty_like(x)
    net._plan.backward(towards, dx)

    def value():
        return (towards * predicted(net, x, logits)).sum() + net.penalty()

    gradients = net.gradients.copy()
    assert error(dx, differences(value, x)) < 1e-6
    assert error(gradients, differences(value, net.parameters)) < 1e-6


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_without_parameters_dx_is_the_same_and_gradients_stay(name, training):
    for n in (3, 1100):
        net, x = network(name), rows(n)
        towards, dx, alone = rows(n, 3, seed=4), np.empty_like(x), np.empty_like(x)
        forward(net, x, training=training)
        net.gradients[:] = 77
        net._plan.backward(towards, alone, parameters=False)
        assert (net.gradients == 77).all()
        net._plan.backward(towards, dx)
        assert not (net.gradients == 77).any()
        np.testing.assert_array_equal(dx, alone)


def test_one_forward_serves_many_backwards():
    net, x = network("branches"), rows(5)
    y = forward(net, x, training=False)
    jacobian = np.empty((3, *x.shape))
    for k in range(3):
        net._plan.backward(np.tile(np.eye(3)[k], (5, 1)), jacobian[k], parameters=False)
    by_hand = np.empty_like(jacobian)
    for k in range(3):
        by_hand[k] = differences(lambda k=k: predicted(net, x)[:, k].sum(), x)
    assert error(jacobian, by_hand) < 1e-6
    np.testing.assert_array_equal(predicted(net, x), y)


@pytest.mark.parametrize("f", ["identity", "tanh", "softmax", "gelu", "log_softmax"])
def test_logits_leave_out_the_last_activation(f):
    with_f, without = (
        bp.Sequential([bp.Dense(4, 6, "tanh"), bp.Dense(6, 3), *end], rng=3, dtype="float64")
        for end in ([bp.Activation(ACTIVATIONS[f])], [])
    )
    x, towards = rows(5), rows(5, 3, seed=4)
    found, expected = np.empty_like(x), np.empty_like(x)
    np.testing.assert_array_equal(forward(with_f, x, logits=True), forward(without, x))
    with_f._plan.backward(towards, found)
    without._plan.backward(towards, expected)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(with_f.gradients, without.gradients)


def test_evaluation_as_pytorch_does_it(torch):
    net, x, towards = network("batch norms"), rows(9), rows(9, 3, seed=4)
    twin = InTorch(torch, net)
    twin.training = False
    given = torch.tensor(x, requires_grad=True)
    y = twin(given)
    y.backward(torch.tensor(towards))
    dx = np.empty_like(x)
    np.testing.assert_allclose(forward(net, x, training=False), y.detach().numpy(), rtol=1e-10, atol=1e-12)
    net._plan.backward(towards, dx)
    np.testing.assert_allclose(dx, given.grad.numpy(), rtol=1e-10, atol=1e-12)
    gradients = twin.flat([parameter.grad for parameter in twin.parameters])
    np.testing.assert_allclose(net.gradients, gradients, rtol=1e-10, atol=1e-12)


def test_training_mode_is_the_default_and_statistics_follow_it():
    net, x = network("batch norms"), rows(9)
    before = net.buffers.copy()
    y = forward(net, x)
    assert (net.buffers != before).all() and (y != predicted(net, x)).any()


def gradients_of_a_batch(net, x, y, **how):
    return _core.Training(
        net._plan, x, y, None, None, loss=(_core.LOSSES["mean_squared_error"], False, ()), logits=False, mean=True,
        state=(), update_step=0, batch_size=len(x), losses=np.zeros((1, 2)), outputs=None, shuffle=False,
        seed=1, first_epoch=0, first_step=0, threads=1, **{"update": None, "ranges": (), "rates": np.zeros(1), **how},
    ).run()  # fmt: skip


def test_statistics_follow_a_step_whose_update_is_made_elsewhere():
    x, y = rows(9), rows(9, 3, seed=4)
    still, following, stepping = (network("batch norms") for _ in range(3))
    assert gradients_of_a_batch(still, x, y)
    assert gradients_of_a_batch(following, x, y, update_statistics=True)
    sgd = _core.OPTIMIZERS["sgd"], (0.0, 0.0), 0.0, 0.0, 0.0, 0.0
    assert gradients_of_a_batch(stepping, x, y, update=sgd, ranges=((0, len(stepping.parameters)),))
    np.testing.assert_array_equal(still.buffers, network("batch norms").buffers)
    assert (following.buffers != still.buffers).all()
    np.testing.assert_array_equal(following.buffers, stepping.buffers)
    np.testing.assert_array_equal(following.gradients, still.gradients)
    np.testing.assert_array_equal(following.parameters, still.parameters)


def scale_between(dtype):
    """x (4) times a weight for each column, then dense to 3, then times another weight."""
    operation, n = _core.OPERATIONS, 4 + 15 + 3
    vectors = [np.zeros(n + _core.ROOM, dtype) for _ in range(2)]
    vectors[0][:n] = np.random.default_rng(2).normal(size=n)
    plan = _core.Plan(*vectors, n, [
        (operation["scale"], _core.ACTIVATIONS["tanh"], 0.0, 4, 4, 0, -1),
        (operation["dense"], 0, 0.0, 4, 3, 4, 16),
        (operation["scale"], 0, 0.0, 3, 3, 19, -1),
    ])  # fmt: skip
    return plan, vectors[0][:n], vectors[1][:n]


def test_scale_multiplies_each_column_by_its_weight():
    plan, p, gradients = scale_between(np.float64)
    x, out, towards = rows(7), np.empty((7, 3)), rows(7, 3, seed=4)

    def value():
        assert plan.predict(x, out)
        return (out * towards).sum()

    value()
    np.testing.assert_allclose(out, (np.tanh(x * p[:4]) @ p[4:16].reshape(4, 3) + p[16:19]) * p[19:], rtol=1e-12)
    dx = np.empty_like(x)
    plan.forward(x, out)
    plan.backward(towards, dx)
    assert error(dx, differences(value, x)) < 1e-6
    assert error(gradients, differences(value, p)) < 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_has_the_same_bits_on_any_number_of_threads(dtype):
    def trained(threads):
        plan, p, _ = scale_between(dtype)
        n = 1500
        assert _core.Training(
            plan, rows(n, dtype=dtype), rows(n, 3, dtype, 4), None, None,
            loss=(_core.LOSSES["mean_squared_error"], False, ()), logits=False, mean=True,
            update=(_core.OPTIMIZERS["sgd"], (0.0, 0.0), 0.0, 0.0, 0.0, 0.0), state=(), ranges=((0, len(p)),),
            update_step=0, rates=np.array([0.01]), batch_size=1200, losses=np.zeros((3, 2)), outputs=None, shuffle=True,
            seed=1, first_epoch=0, first_step=0, threads=threads,
        ).run()  # fmt: skip
        return p

    for threads in (2, 3):
        np.testing.assert_array_equal(trained(threads), trained(1))
