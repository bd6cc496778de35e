"""Ctrl-C in the middle of a call: how soon it is noticed, what it leaves, and that other signals end nothing."""

import signal
import threading
import time

import numpy as np
import pytest
from runs import alarm

import backprop as bp
from backprop import _threads

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers"),
]

#: Seconds. It is looked for every 0.05, but other programs have the processor too; where one try has to do, more.
SOON, AT_ONCE = 0.5, 1.0


def rows(n, columns=64, dtype="float32"):
    return np.random.default_rng(0).normal(size=(n, columns)).astype(dtype)


def network(between=lambda: bp.Activation("relu")):
    """Soon made, and much work for a row, so that few rows take long."""
    first, second = (bp.Dense(n_in, 2048, weight_init="zeros") for n_in in (64, 2048))
    return bp.Sequential([first, between(), second, between(), bp.Dense(2048, 1)], rng=0)


class Twice(bp.Layer):
    def forward(self, x, training):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def squares(y_hat, y):
    return float(np.mean((y_hat - y) ** 2)), 2 * (y_hat - y) / y_hat.size


# Each makes a network, and a call that takes long enough.


def predict(*between, dtype="float32", **how):
    net, x = network(*between), rows(6000, dtype=dtype)
    return net, lambda: net.predict(x, **how)


def predict_into():
    net, x, out = network(), rows(6000), np.empty((6000, 1), "float32")
    return net, lambda: net.predict(x, out=out)


def predict_a_wide_layer():
    net = bp.Sequential([bp.Dense(64, 6144, weight_init="zeros"), bp.Dense(6144, 6144, weight_init="zeros")], rng=0)
    x = rows(1024)
    return net, lambda: net.predict(x, threads=1)


def evaluate(loss="mse", **how):
    net, x = network(), rows(6000)
    return net, lambda: net.evaluate(x, x[:, :1], loss=loss, metrics=["mae", "r2"], **how)


def forward(*between):
    net, x = network(*between), rows(4000)
    return net, lambda: net.forward(x)


def backward(*between):
    net, x = network(*between), rows(2000)
    net.forward(x)
    return net, lambda: net.backward(x[:, :1])


def value_and_gradient(loss="mse", n=6000):
    net, x = network(), rows(n)
    return net, lambda: net.value_and_gradient(x, x[:, :1], loss)


def check_gradients():
    net, x = network(), rows(100)
    return net, lambda: bp.check_gradients(net, "mse", x, x[:, :1])


def update_statistics():
    net, x = network(bp.BatchNorm), rows(6000)
    return net, lambda: net.update_statistics(x)


def fit(optimizer, **how):
    net, x = network(), rows(6000)
    return net, lambda: net.fit(x, x[:, :1], loss="mse", optimizer=optimizer, batch_size=None, epochs=3, **how)


def loss_by_hand():
    loss, z = bp.losses.CrossEntropy(from_logits=True), rows(1_000_000, 16)
    labels = np.zeros(len(z), "int64")
    return network(), lambda: loss(z, labels)


def metric():
    scores, labels = np.random.default_rng(0).random((2_000_000, 1)), np.arange(2_000_000) % 2
    return network(), lambda: bp.metrics.roc_auc(scores, labels)


def construct():
    return network(), lambda: bp.Sequential([bp.Dense(5000, 5000)], rng=0)


def convert():
    net, x = bp.Sequential([bp.Dense(1000, 1)], rng=0), np.zeros((60_000, 1000), "float64")
    return net, lambda: net.forward(x)


CALLS = {
    "predict": lambda: predict(threads=1),
    "predict, two threads": lambda: predict(threads=2),
    "predict, batches": lambda: predict(batch_size=3000),
    "predict, converted": lambda: predict(dtype="float64"),
    "predict, a layer in Python": lambda: predict(Twice),
    "predict, batch norm": lambda: predict(bp.BatchNorm),
    "predict, out": lambda: predict_into(),
    "predict, a wide layer": lambda: predict_a_wide_layer(),
    "evaluate": lambda: evaluate(),
    "evaluate, own loss": lambda: evaluate(squares, threads=2),
    "forward": lambda: forward(),
    "forward, batch norm": lambda: forward(bp.BatchNorm),
    "forward, a layer in Python": lambda: forward(Twice),
    "backward": lambda: backward(),
    "backward, batch norm": lambda: backward(bp.BatchNorm),
    "value_and_gradient": lambda: value_and_gradient(),
    "value_and_gradient, own loss": lambda: value_and_gradient(squares, 3000),
    "check_gradients": lambda: check_gradients(),
    "update_statistics": lambda: update_statistics(),
    "fit, L-BFGS": lambda: fit(bp.LBFGS()),
    "fit, two threads": lambda: fit(bp.SGD(1e-3), threads=2),
    "a loss by hand": lambda: loss_by_hand(),
    "a metric": lambda: metric(),
    "construction": lambda: construct(),
    "conversion": lambda: convert(),
}  # fmt: skip


def interrupted(call, after):
    """Seconds from a signal to what its handler raises; None where the call is over before."""
    begun = time.monotonic()
    try:
        with alarm(KeyboardInterrupt, after):
            call()
    except KeyboardInterrupt:
        return time.monotonic() - begun - after
    return None


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_ends_any_call_soon_and_leaves_the_network_as_it_was(name):
    net, call = CALLS[name]()
    some, after, delays = rows(5, net.n_in), 0.2, []
    own, buffers, expected = net.parameters.copy(), net.buffers.copy(), net.predict(some)
    while not delays or (min(delays) > SOON and len(delays) < 3):  # again, if the machine was busy with other things
        delay = interrupted(call, after)
        if delay is None:
            after /= 2
            assert after > 0.01, "the call is too short for this test"
        else:
            delays.append(delay)
    print(f"{name}: {min(delays) * 1000:.0f} ms")
    assert min(delays) <= SOON
    if not name.startswith("fit"):
        assert np.array_equal(net.parameters, own) and np.array_equal(net.predict(some), expected)
    assert np.array_equal(net.buffers, buffers)
    assert _threads._active == 0
    y_hat = net.forward(some)  # the tape, the locks: all is there for whatever comes next
    net.backward(y_hat)
    net.fit(some, y_hat, loss="mse", optimizer=bp.SGD(1e-9), threads=2)
    assert np.isfinite(net.parameters).all()


def test_a_backward_pass_that_was_interrupted_can_be_made_again():
    net, call = backward()
    expected = call().copy()
    gradients = net.gradients.copy()
    after = 0.1
    while interrupted(call, after) is None:
        after /= 2
    assert np.array_equal(call(), expected) and np.array_equal(net.gradients, gradients)


def test_a_forward_pass_that_was_interrupted_leaves_nothing_to_go_back_through():
    net, call = forward()
    after = 0.2
    while interrupted(call, after) is None:
        after /= 2
    with pytest.raises(ValueError, match="expected a forward before each backward"):
        net.backward(np.zeros((4000, 1)))


@pytest.mark.parametrize("keep", [0, 1])
def test_saving_and_loading_are_interrupted_and_leave_no_temporary_file(tmp_path, keep):
    net = bp.Sequential([bp.Dense(5000, 5000, weight_init="zeros")], rng=0)
    path = tmp_path / "net.safetensors"
    net.save(path)
    call, after = [lambda: net.save(path), lambda: bp.load(path)][keep], 0.1
    while (delay := interrupted(call, after)) is None:
        after /= 2
    assert delay <= AT_ONCE
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert np.array_equal(bp.load(path).parameters, net.parameters)


@pytest.mark.parametrize("name", ["predict", "predict, two threads", "evaluate", "forward, batch norm", "backward"])
def test_a_handler_that_returns_lets_the_call_go_on(name):
    net, call = CALLS[name]()
    net.parameters[...] = np.random.default_rng(0).normal(size=net.parameters.shape) * 0.01
    if name == "backward":
        net.forward(rows(2000))
    kept, some = net.buffers.copy(), rows(1, net.n_in)
    expected = call()
    net.buffers = kept
    alone = net.predict(some)
    seen, tiny, within = [time.monotonic()], np.float32(1e-40), []

    def handler(number, frame):
        if within:
            return
        within.append(number)
        seen.append(time.monotonic())
        assert tiny * np.float32(1) == tiny  # as the caller's own arithmetic, whatever the kernels' does
        assert np.array_equal(net.predict(some), alone) or np.any(net.buffers != kept)  # the call may be over
        within.clear()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        found = call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(seen) > 1 and max(np.diff([*seen, time.monotonic()])) <= AT_ONCE
    assert found == expected if isinstance(found, dict) else np.array_equal(found, expected)


def test_a_call_in_another_thread_goes_on_when_the_main_thread_is_interrupted():
    _, call = predict(threads=2)
    expected, answers = call(), []
    worker = threading.Thread(target=lambda: answers.append(call()))
    worker.start()
    assert interrupted(lambda: time.sleep(60), 0.05) < AT_ONCE
    worker.join()
    assert np.array_equal(answers[0], expected) and _threads._active == 0
