"""A network that has been trained a little, and what it is to refuse a call: to say why, and to leave all as it was."""

from types import SimpleNamespace

import numpy as np

import backprop as bp

ROWS, N_IN = 5, 3
KINDS = {
    "regression": (lambda: [bp.Dense(N_IN, 4, "tanh"), bp.Dropout(0.2), bp.Dense(4, 2)], "mse"),
    "binary": (lambda: [bp.Dense(N_IN, 4, "relu"), bp.Dense(4, 1, "sigmoid")], "binary_cross_entropy"),
    "classes": (lambda: [bp.Dense(N_IN, 4, "relu"), bp.Dense(4, 3, "softmax")], "cross_entropy"),
}
ENDS = {"mse": bp.MeanSquaredError, "binary_cross_entropy": bp.BinaryCrossEntropy, "cross_entropy": bp.CrossEntropy}


def setup(kind="regression", dtype="float32"):
    """A network that has been trained a little, with all that belongs to it."""
    layers, loss = KINDS[kind]
    it = SimpleNamespace(loss=loss, optimizer=bp.Adam(1e-2), rng=np.random.default_rng(3))
    it.net = bp.Sequential(layers(), rng=7, dtype=dtype)
    it.x = it.rng.normal(size=(ROWS, N_IN)).astype(dtype)
    targets = {"regression": it.rng.normal(size=(ROWS, 2)), "binary": np.eye(ROWS)[0], "classes": np.arange(ROWS) % 3}
    it.y = targets[kind]
    it.weight = np.arange(1.0, ROWS + 1)
    fit(it, epochs=2)
    it.net.backward(np.ones_like(it.net.forward(it.x)))
    return it


def fit(it, **changes):
    wanted = {"x": it.x, "y": it.y, "loss": it.loss, "optimizer": it.optimizer, "batch_size": 2} | changes
    return it.net.fit(wanted.pop("x"), wanted.pop("y"), **wanted)


def state(it):
    """All that a refused call must leave alone."""
    net, optimizer = it.net, it.optimizer
    return {
        "parameters": net.parameters.tobytes(), "gradients": net.gradients.tobytes(), "metadata": dict(net.metadata),
        "counters": (net.seed, net.epochs, net.steps, optimizer.steps), "predictions": net.predict(it.x).tobytes(),
        "optimizer": {name: vector.tobytes() for name, vector in optimizer.state.items()}, "x": it.x.tobytes(),
    }  # fmt: skip


def assert_refused(it, call, error, says, name=""):
    """The call raises this class of error, whose message says what it must, and leaves all as it was."""
    before = state(it)
    try:
        call(it)
    except Exception as refusal:  # noqa: BLE001 - of whatever class it is, it is looked at
        caught, message = type(refusal), str(refusal)
    else:
        caught, message = None, "nothing was refused"
    assert caught is error, (name, caught, message)
    assert [part for part in says if part not in message] == [], (name, message)
    assert "expected" in message and "got" in message, (name, message)
    assert "\n" not in message and len(message) < 400, (name, message)
    assert state(it) == before, name
    assert np.isfinite(fit(it)["loss"]).all(), name


class Framed:
    """As a table from elsewhere: it can become an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Subclass(np.ndarray):
    pass


def read_only(array):
    array.flags.writeable = False
    return array
