"""One sigmoid neuron under binary cross-entropy: every number of a step, by the chain rule and by backprop.

The table is Finney's: whether a vasoconstriction of the skin of the fingers followed a breath of air, by the volume
(litres) and the rate (litres a second) of the breath; D. J. Finney, Biometrika 34 (1947), 320-334. On the logarithms of
both, Pregibon (Annals of Statistics 9 (1981), 705-724) finds the coefficients -2.875, 5.179, 4.562.

    python examples/binary_classification.py [curve.png]
"""

import sys

import numpy as np

import backprop as bp

VOLUME = [
    3.7, 3.5, 1.25, 0.75, 0.8, 0.7, 0.6, 1.1, 0.9, 0.9, 0.8, 0.55, 0.6, 1.4, 0.75, 2.3, 3.2, 0.85, 1.7, 1.8, 0.4,
    0.95, 1.35, 1.5, 1.6, 0.6, 1.8, 0.95, 1.9, 1.6, 2.7, 2.35, 1.1, 1.1, 1.2, 0.8, 0.95, 0.75, 1.3,
]  # fmt: skip
RATE = [
    0.825, 1.09, 2.5, 1.5, 3.2, 3.5, 0.75, 1.7, 0.75, 0.45, 0.57, 2.75, 3, 2.33, 3.75, 1.64, 1.6, 1.415, 1.06, 1.8,
    2, 1.36, 1.35, 1.36, 1.78, 1.5, 1.5, 1.9, 0.95, 0.4, 0.75, 0.03, 1.83, 2.2, 2, 3.33, 1.9, 1.9, 1.625,
]  # fmt: skip
RESPONSE = [
    1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0,
    0, 1,
]  # fmt: skip

X = np.log(np.column_stack([VOLUME, RATE]))
Y = np.array(RESPONSE, dtype=np.float64).reshape(-1, 1)
LEARNING_RATE = 0.1


def by_hand(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Predicted outputs a, the error E, dE/dW and dE/db."""
    a = 1 / (1 + np.exp(-(X @ w + b)))
    error = -np.mean(Y * np.log(a) + (1 - Y) * np.log(1 - a))
    dz = a - Y  # dE/da da/dz: the sigmoid's derivative a (1 - a) cancels against the cross-entropy's 1 / (a (1 - a))
    return a, float(error), X.T @ dz / len(X), dz.mean(axis=0)


def main() -> None:
    net = bp.Sequential([bp.Dense(2, 1, "sigmoid", weight_init="zeros")], dtype="float64")
    neuron = net.layers[0]

    a, error, dw, db = by_hand(neuron.weight, neuron.bias)
    value, _ = net.value_and_gradient(X, Y, "binary_cross_entropy")
    print("predicted outputs", *(f"{p:.4f}" for p in a[:5, 0]), "...")
    print(f"error E           by hand {error:.10f}   backprop {value:.10f}")
    for name, hand, library in ("dE/dW1", dw[0, 0], neuron.weight_grad[0, 0]), (
        "dE/dW2", dw[1, 0], neuron.weight_grad[1, 0]), ("dE/db", db[0], neuron.bias_grad[0]):  # fmt: skip
        print(f"{name:<17} by hand {hand:.10f}   backprop {library:.10f}")

    bp.SGD(LEARNING_RATE).step(net)
    print(f"one update        E = {by_hand(neuron.weight, neuron.bias)[1]:.10f}")

    optimizer = bp.SGD(5.0, momentum=0.9)
    history = net.fit(X, Y, loss="binary_cross_entropy", optimizer=optimizer, epochs=2000, batch_size=None)
    _, error, dw, _ = by_hand(neuron.weight, neuron.bias)
    weights = ", ".join(f"{w:.4f}" for w in (neuron.bias[0], *neuron.weight[:, 0]))
    print(f"at the minimum    E = {error:.10f}, |dE/dW| = {np.abs(dw).max():.1e}")
    print(f"log odds = b + w1 log(volume) + w2 log(rate): b, w1, w2 = {weights}")
    print(f"accuracy          {bp.metrics.accuracy(net.predict(X), Y):.1%}")
    draw(history["loss"], sys.argv[1] if len(sys.argv) > 1 else None)


def draw(losses: list[float], path: str | None) -> None:
    """The error over the epochs: a line of characters, and a picture where a path is given."""
    low, high = min(losses), max(losses)
    bars = "".join(" .:-=+*#"[round(7 * (losses[2**i - 1] - low) / (high - low))] for i in range(11))
    print(f"E at epoch 1, 2, 4, ... 1024: {high:.3f} [{bars}] {low:.3f}")
    if path is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.semilogx(range(1, len(losses) + 1), losses)
        axes.set(xlabel="epoch", ylabel="binary cross-entropy E", title="One sigmoid neuron on Finney's table")
        figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
