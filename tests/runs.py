"""Networks and rows that many tests train on, the four lines by hand, and what two runs are compared by."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import reference

import backprop as bp

DTYPES = ["float32", "float64"]
QUICK = ["float32", pytest.param("float64", marks=pytest.mark.slow)]


def small(dtype="float32", rng=1, dropout=0.3):
    layers = [bp.Dense(4, 7, "tanh"), bp.Dropout(dropout), bp.Dense(7, 5, "leaky_relu"), bp.Dense(5, 3)]
    return bp.Sequential(layers, rng=rng, dtype=dtype)


def tiny(dtype="float32", rng=1):
    """Below one register, in every product."""
    return bp.Sequential([bp.Dense(4, 2, "tanh"), bp.Dense(2, 3, "sigmoid")], rng=rng, dtype=dtype)


def big(dtype="float32", rng=1):
    """Sums longer than 256, rows of more than 2 KiB, widths that fit no register."""
    layers = [bp.Dense(4, 523, "relu"), bp.Dropout(0.2), bp.Dense(523, 67, "sigmoid"), bp.Dense(67, 3)]
    return bp.Sequential(layers, rng=rng, dtype=dtype)


def wide(dtype="float32", rng=1):
    """Two layers of more than a megabyte, after another and before one, of widths that fit no tile."""
    layers = [
        bp.Dense(4, 517, "tanh"),
        bp.Dense(517, 530, "gelu"),
        bp.Dropout(0.2),
        bp.Dense(530, 521, "relu"),
        bp.Dense(521, 3),
    ]
    return bp.Sequential(layers, rng=rng, dtype=dtype)


def normed(dtype="float32", rng=1):
    """What looks along columns, twice, and drops numbers between."""
    layers = [bp.Dense(4, 9), bp.BatchNorm(), bp.Dense(9, 20, "gelu"), bp.Dropout(0.2), bp.BatchNorm(), bp.Dense(20, 3)]
    return bp.Sequential(layers, rng=rng, dtype=dtype)


def middling(dtype="float32", rng=1):
    """Gradients of more than 128 KiB and less than 512, in either precision."""
    return bp.Sequential([bp.Dense(4, 150, "relu"), bp.Dense(150, 240, "tanh"), bp.Dense(240, 3)], rng=rng, dtype=dtype)


def penalised(make, dtype="float32", rng=1):
    """The same with an l1 and an l2 on every other layer."""
    layers = make(dtype, rng).layers
    configs = [layer.config() | ({"l1": 1e-3, "l2": 1e-2} if i % 3 == 0 else {}) for i, layer in enumerate(layers)]
    made = [type(layer).from_config(config) for layer, config in zip(layers, configs, strict=True)]
    return bp.Sequential(made, rng=rng, dtype=dtype)


def three_layers(dtype="float64", rng=2, **more):
    """Of which the first and the last take what is given beside."""
    layers = [bp.Dense(4, 9, "tanh", **more), bp.Dense(9, 7, "sigmoid"), bp.Dense(7, 3, **more)]
    return bp.Sequential(layers, rng=rng, dtype=dtype)


def shaken(layers, dtype="float64", rng=1):
    """A network none of whose parameters is 0 or 1."""
    net = bp.Sequential(layers, rng=rng, dtype=dtype)
    net.parameters += np.random.default_rng(2).normal(scale=0.3, size=net.parameters.size)
    return net


def table(rows, dtype="float32", seed=0):
    """x (rows, 4), y (rows, 3), weights (rows,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    y = np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2], x.sum(axis=1)], axis=1)
    return x.astype(dtype), y.astype(dtype), rng.random(rows)


def state(net, optimizer):
    return [net.parameters, net.gradients, net.buffers, net.steps, optimizer.steps, *optimizer.state.values()]


def same(*runs):
    return all(np.array_equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other, strict=True))


def by_hand(net, x, y, loss, optimizer, epochs, batch_size, weights=None, *, shuffle=False):
    losses = []
    for epoch in range(epochs):
        order = reference.shuffle(net.seed, epoch, len(x)) if shuffle else np.arange(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            y_hat = net.forward(x[rows])
            value, dy = loss(y_hat, y[rows], None if weights is None else weights[rows])
            net.backward(dy)
            optimizer.step(net)
            losses.append(value)
    return losses


def classifier(end="softmax", n_out=3):
    return bp.Sequential([bp.Dense(4, 5, "tanh"), bp.Dense(5, n_out, end)], rng=3, dtype="float64")


class Notes:
    """A callback that writes down everything."""

    def __init__(self, look=lambda net: None):
        self.look, self.seen, self.values = look, [], []

    def on_fit_begin(self, run):
        self.seen.append(("begin", run.epoch, run.epochs, dict(run.history)))

    def on_epoch_end(self, run):
        self.seen.append(("epoch", run.epoch, len(run.history["loss"])))
        self.values.append(self.look(run.network))

    def on_fit_end(self, run):
        self.seen.append(("end", run.epoch))


def interrupted(code):
    """Run a program until it says that it is ready, and for a little longer: when Ctrl-C came, and what it printed then."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n", child.stderr.read()
            time.sleep(0.3)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 0, err
    return sent, out


@contextmanager
def alarm(error, seconds):
    """A signal after so many seconds, whose handler raises the error."""

    def handler(number, frame):
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
