"""XOR by a 2-2-1 network of sigmoids, from scratch in NumPy, and the same by backprop.

10,000 passes over the four rows, squared error, learning rate 0.1, from the weights that NumPy's old generator draws at
seed 42. The loop subtracts 0.1 times the gradient of half the summed squares; the library's loss is the sum of the
squares, whose gradient is twice that, so its learning rate is 0.05.
"""

import time
from typing import Any

import numpy as np

import backprop as bp

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float64)
Y = np.array([[0], [1], [1], [0]], dtype=np.float64)
EPOCHS = 10_000


def initial() -> list[np.ndarray]:
    """Hidden weights, output weights, hidden bias, output bias."""
    np.random.seed(42)  # noqa: NPY002 - the published figures begin with this generator
    return [np.random.rand(*shape) for shape in ((2, 2), (2, 1), (1, 2), (1, 1))]  # noqa: NPY002


def sigmoid(z: np.ndarray) -> np.ndarray:
    y: np.ndarray = 1 / (1 + np.exp(-z))
    return y


def by_hand() -> tuple[np.ndarray, np.ndarray]:
    """The outputs of the last epoch's forward pass, and those after its update."""
    w1, w2, b1, b2 = initial()
    output = np.empty_like(Y)
    for _ in range(EPOCHS):
        hidden = sigmoid(X @ w1 + b1)
        output = sigmoid(hidden @ w2 + b2)
        d_output = (Y - output) * output * (1 - output)
        d_hidden = d_output @ w2.T * hidden * (1 - hidden)
        w2 += hidden.T @ d_output * 0.1
        b2 += d_output.sum(axis=0, keepdims=True) * 0.1
        w1 += X.T @ d_hidden * 0.1
        b1 += d_hidden.sum(axis=0, keepdims=True) * 0.1
    return output, sigmoid(sigmoid(X @ w1 + b1) @ w2 + b2)


def by_backprop() -> tuple[np.ndarray, np.ndarray]:
    net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")], dtype="float64")
    hidden, output = net.layers
    hidden.weight[:], output.weight[:], hidden.bias[:], output.bias[:] = initial()
    loss, optimizer = bp.MeanSquaredError(reduction="sum"), bp.SGD(0.05)
    how: dict[str, Any] = {"loss": loss, "optimizer": optimizer, "batch_size": None, "shuffle": False}
    net.fit(X, Y, epochs=EPOCHS - 1, **how)
    before = net.predict(X)
    net.fit(X, Y, epochs=1, **how)
    return before, net.predict(X)


def main() -> None:
    for name, run in ("NumPy", by_hand), ("backprop", by_backprop):
        start = time.perf_counter()
        before, after = run()
        seconds = time.perf_counter() - start
        print(f"{name:>8}: {seconds * 1000:8.1f} ms   last forward pass", *(f"{p:.8f}" for p in before[:, 0]))
        print(f"{'':>8}  {'':>11}   after the update ", *(f"{p:.8f}" for p in after[:, 0]))


if __name__ == "__main__":
    main()
