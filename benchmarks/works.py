"""The works of the table, done by each library: a function builds one, and returns what is to be timed.

Every library gets the same network, rows, batches, float type and number of epochs. A builder whose library is not
installed raises ImportError, and the table says so.
"""

import io
import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], object]
THREADS = int(os.environ.get("OMP_NUM_THREADS", "0")) or len(os.sched_getaffinity(0))


def regression(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns), dtype=np.float32)
    return x, np.tanh(x[:, :1] + x[:, 1:2] * x[:, 2:3]).astype(np.float32)


def classification(rows: int, columns: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random((rows, columns), dtype=np.float32)
    return x, (x @ rng.standard_normal((columns, classes), dtype=np.float32)).argmax(axis=1)


def weights(sizes: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same initial weights for all."""
    rng = np.random.default_rng(1)
    return [
        ((rng.standard_normal((i, o)) * np.sqrt(2 / i)).astype(np.float32), np.zeros(o, np.float32))
        for i, o in pairwise(sizes)
    ]


# XOR: 2-2-1 sigmoids, 10,000 epochs of the four rows, squared error, float32.

XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
XOR_Y = np.array([[0], [1], [1], [0]], dtype=np.float32)
XOR_EPOCHS = 10_000


def xor_weights() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random(shape, dtype=np.float32) for shape in ((2, 2), (2, 1), (1, 2), (1, 1))]


def xor_backprop() -> Work:
    import backprop as bp

    net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")], rng=0)
    how = {"loss": bp.MeanSquaredError(reduction="sum"), "optimizer": bp.SGD(0.05), "epochs": XOR_EPOCHS}
    return lambda: net.fit(XOR_X, XOR_Y, batch_size=None, shuffle=False, **how)


def xor_numpy() -> Work:
    def run() -> object:
        w1, w2, b1, b2 = xor_weights()
        for _ in range(XOR_EPOCHS):
            h = 1 / (1 + np.exp(-(XOR_X @ w1 + b1)))
            o = 1 / (1 + np.exp(-(h @ w2 + b2)))
            d_o = (XOR_Y - o) * o * (1 - o)
            d_h = d_o @ w2.T * h * (1 - h)
            w2 += h.T @ d_o * 0.1
            b2 += d_o.sum(axis=0, keepdims=True) * 0.1
            w1 += XOR_X.T @ d_h * 0.1
            b1 += d_h.sum(axis=0, keepdims=True) * 0.1
        return w1

    return run


def xor_jax() -> Work:
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(XOR_X), jnp.asarray(XOR_Y)

    def loss(p: tuple) -> object:
        h = jax.nn.sigmoid(x @ p[0] + p[2])
        return 0.5 * jnp.sum((jax.nn.sigmoid(h @ p[1] + p[3]) - y) ** 2)

    def step(_: int, p: tuple) -> tuple:
        return jax.tree.map(lambda a, g: a - 0.1 * g, p, jax.grad(loss)(p))

    train = jax.jit(lambda p: jax.lax.fori_loop(0, XOR_EPOCHS, step, p))
    start = tuple(jnp.asarray(array) for array in xor_weights())
    return lambda: jax.block_until_ready(train(start))


# Training: relu layers; one linear output under squared error, or several under softmax and cross-entropy.


def train_backprop(
    sizes: tuple[int, ...],
    x: np.ndarray,
    y: np.ndarray,
    batch: int,
    epochs: int,
    adam: bool,
    threads: int | None = None,
) -> Work:
    import backprop as bp

    bp.set_num_threads(THREADS)
    last = "identity" if sizes[-1] == 1 else "softmax"
    hidden = [bp.Dense(i, o, "relu") for i, o in pairwise(sizes[:-1])]
    net = bp.Sequential([*hidden, bp.Dense(*sizes[-2:], last)])
    for layer, (w, b) in zip(net.layers, weights(sizes), strict=True):
        layer.weight[:], layer.bias[:] = w, b
    optimizer = bp.Adam(1e-3) if adam else bp.SGD(1e-2, momentum=0.9)
    loss = "mse" if sizes[-1] == 1 else "cross_entropy"
    how = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch, "threads": threads}
    return lambda: net.fit(x, y, **how)


def train_sklearn(sizes: tuple[int, ...], x: np.ndarray, y: np.ndarray, batch: int, epochs: int, adam: bool) -> Work:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    make = MLPRegressor if sizes[-1] == 1 else MLPClassifier
    sgd = {"solver": "sgd", "learning_rate_init": 1e-2, "nesterovs_momentum": False}
    how = {"solver": "adam"} if adam else sgd
    how |= {"batch_size": batch, "max_iter": epochs, "tol": 0, "n_iter_no_change": 10**6, "alpha": 0}
    model = make(hidden_layer_sizes=sizes[1:-1], **how)
    target = y.ravel()

    def run() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(x, target)

    return run


def _torch_network(sizes: tuple[int, ...]) -> object:
    import torch

    torch.set_num_threads(THREADS)
    layers = []
    for w, b in weights(sizes):
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T)), linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def train_torch(sizes: tuple[int, ...], x: np.ndarray, y: np.ndarray, batch: int, epochs: int, adam: bool) -> Work:
    import torch

    net = _torch_network(sizes)
    loss = torch.nn.MSELoss() if sizes[-1] == 1 else torch.nn.CrossEntropyLoss()
    optimizer = (
        torch.optim.Adam(net.parameters(), 1e-3, fused=True)
        if adam
        else torch.optim.SGD(net.parameters(), 1e-2, momentum=0.9, fused=True)
    )
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def run() -> object:
        for _ in range(epochs):
            for rows in torch.randperm(len(tx)).split(batch):
                optimizer.zero_grad()
                loss(net(tx[rows]), ty[rows]).backward()
                optimizer.step()
        return net

    return run


def train_jax(sizes: tuple[int, ...], x: np.ndarray, y: np.ndarray, batch: int, epochs: int, adam: bool) -> Work:
    """A whole epoch is one jitted scan over its full batches; a short last batch is a call of its own."""
    import jax
    import jax.numpy as jnp

    def loss(p: list, x: object, y: object) -> object:
        for w, b in p[:-1]:
            x = jax.nn.relu(x @ w + b)
        z = x @ p[-1][0] + p[-1][1]
        if sizes[-1] == 1:
            return jnp.mean((z - y) ** 2)
        return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0])

    def step(state: tuple, rows: object) -> tuple:
        p, m, v, t = state
        g, t = jax.grad(loss)(p, tx[rows], ty[rows]), t + 1
        if not adam:
            m = jax.tree.map(lambda m, g: 0.9 * m + g, m, g)
            return (jax.tree.map(lambda p, m: p - 1e-2 * m, p, m), m, v, t), None
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        a, b = 1e-3 / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        return (jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v) * b + 1e-8), p, m, v), m, v, t), None

    @jax.jit
    def epoch(state: tuple, key: object) -> tuple:
        order = jax.random.permutation(key, len(tx))
        full = len(tx) // batch * batch
        state, _ = jax.lax.scan(step, state, order[:full].reshape(-1, batch))
        return step(state, order[full:])[0] if full < len(tx) else state

    tx, ty = jnp.asarray(x), jnp.asarray(y)
    p = [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights(sizes)]
    zeros = jax.tree.map(jnp.zeros_like, p)
    start = (p, zeros, zeros, jnp.float32(0))

    def run() -> object:
        state = start
        for i in range(epochs):
            state = epoch(state, jax.random.key(i))
        return jax.block_until_ready(state)

    return run


# Prediction: 20-64-32-1.

SMALL = (20, 64, 32, 1)


def _small_network() -> Any:
    import backprop as bp

    bp.set_num_threads(THREADS)
    return bp.Sequential([bp.Dense(20, 64, "relu"), bp.Dense(64, 32, "relu"), bp.Dense(32, 1)], rng=0)


def predict_backprop(x: np.ndarray) -> Work:
    return partial(_small_network().predict, x)


def predict_torch(x: np.ndarray) -> Work:
    import torch

    net, tx = _torch_network(SMALL), torch.from_numpy(x)

    def run() -> object:
        with torch.inference_mode():
            return net(tx)

    return run


def predict_onnx(x: np.ndarray) -> Work:
    import onnxruntime

    options, file = onnxruntime.SessionOptions(), io.BytesIO()
    options.intra_op_num_threads = THREADS
    _small_network().export_onnx(file)
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def one_by_one(build: Callable[[np.ndarray], Work]) -> Work:
    """A row a call, a thousand times."""
    run = build(regression(1, 20)[0])

    def runs() -> None:
        for _ in range(1000):
            run()

    return runs


def predict_in_c(dtype: str = "float32") -> Work:
    """A row a call, a thousand times, in a loop of C."""
    import ctypes
    import subprocess
    import tempfile

    folder, rows = Path(tempfile.mkdtemp()), regression(1000, 20)[0]
    calibration = rows if dtype == "int8" else None
    _small_network().export_c(folder / "net.c", dtype=dtype, calibration=calibration)
    loop = "for (long i = 0; i < n; i++) net_predict(x + i * net_N_IN, y + i * net_N_OUT);"
    (folder / "all.c").write_text(f'#include "net.c"\nvoid rows(long n, const float *x, float *y) {{ {loop} }}\n')
    command = ["cc", "-std=c99", "-O3", "-shared", "-fPIC", str(folder / "all.c"), "-o", str(folder / "all.so"), "-lm"]
    subprocess.run(command, check=True)
    pointer, y = ctypes.POINTER(ctypes.c_float), np.empty((len(rows), 1), np.float32)
    function = ctypes.CDLL(str(folder / "all.so")).rows
    given = ctypes.c_long(len(rows)), rows.ctypes.data_as(pointer), y.ctypes.data_as(pointer)
    return lambda: function(*given)


def predict_sklearn(x: np.ndarray) -> Work:
    model = train_sklearn(SMALL, *regression(200, 20), 32, 1, True)()
    return partial(model.predict, x)


# The table: for each row, what is done, and by whom; then the goals beside each peer.

_small = partial(lambda build: build(SMALL, *regression(10_000, 20), 32, 5, True))
_digits = partial(lambda build: build((784, 128, 10), *classification(20_000, 784, 10), 128, 2, True))
_wide = partial(lambda build: build((784, 1024, 1024, 10), *classification(12_000, 784, 10), 256, 1, False))
TRAINERS = {"backprop": train_backprop, "scikit-learn": train_sklearn, "PyTorch": train_torch, "JAX": train_jax}
PREDICTORS = {
    "backprop": predict_backprop, "ONNX Runtime": predict_onnx, "PyTorch": predict_torch,
    "scikit-learn": predict_sklearn,
}  # fmt: skip

WORKS: dict[str, tuple[dict[str, Callable[[], Work]], dict[str, tuple[float, float]]]] = {
    "XOR 2-2-1, 10,000 epochs": (
        {"backprop": xor_backprop, "NumPy": xor_numpy, "JAX": xor_jax}, {"NumPy": (150, 400), "JAX": (0.7, 1.5)},
    ),
    "20-64-32-1, batch 32, Adam, 5 epochs of 10,000": (
        {name: partial(_small, build) for name, build in TRAINERS.items()},
        {"scikit-learn": (25, 60), "PyTorch": (30, 70), "JAX": (3, 6)},
    ),
    "784-128-10, batch 128, Adam, 2 epochs of 20,000": (
        {name: partial(_digits, build) for name, build in TRAINERS.items()},
        {"scikit-learn": (2.5, 3.8), "PyTorch": (2.2, 3.3), "JAX": (1.3, 1.7)},
    ),
    "784-1024-1024-10, batch 256, momentum, 12,000": (
        {name: partial(_wide, build) for name, build in TRAINERS.items()},
        {"scikit-learn": (1.2, 1.6), "PyTorch": (1.1, 1.4), "JAX": (1.1, 1.2)},
    ),
    "predict 1 row, 20-64-32-1": (
        {name: partial(build, regression(1, 20)[0]) for name, build in PREDICTORS.items()},
        {"ONNX Runtime": (15, 30), "PyTorch": (50, 100), "scikit-learn": (200, 500)},
    ),
    "predict 1,000 rows one by one, 20-64-32-1": (
        {
            "backprop": partial(one_by_one, predict_backprop), "ONNX Runtime": partial(one_by_one, predict_onnx),
            "C": predict_in_c, "C, int8": partial(predict_in_c, "int8"),
        }, {"ONNX Runtime": (8, 12)},
    ),
    "predict 100,000 rows, 20-64-32-1": (
        {name: partial(build, regression(100_000, 20)[0]) for name, build in PREDICTORS.items()},
        {"ONNX Runtime": (1.2, 1.7), "PyTorch": (3, 6)},
    ),
}  # fmt: skip
