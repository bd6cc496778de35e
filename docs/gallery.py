"""The pictures of the examples, each drawn from what the example computes.

That of MNIST wants its data, which not every build has: ``python docs/gallery.py FOLDER`` draws docs/mnist.png.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from pictures import BLUE, GRAY, ORANGE, STYLE, bare, figure

import backprop as bp
from backprop import datasets

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import binary_classification
import by_hand
import xor


def example_xor() -> Figure:
    """The four outputs over the epochs, from the weights of the example."""
    net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")], dtype="float64")
    hidden, output = net.layers
    hidden.weight[:], output.weight[:], hidden.bias[:], output.bias[:] = xor.initial()
    loss, optimizer = bp.MeanSquaredError(reduction="sum"), bp.SGD(0.05)
    outputs = []
    for _ in range(100):
        net.fit(xor.X, xor.Y, loss=loss, optimizer=optimizer, epochs=xor.EPOCHS // 100, batch_size=None, shuffle=False)
        outputs.append(net.predict(xor.X)[:, 0])
    fig = figure(4.5, 3)
    axes = fig.subplots()
    for (a, b), target, values in zip(xor.X.astype(int), xor.Y[:, 0], np.transpose(outputs), strict=True):
        line = {"color": ORANGE if target else BLUE, "linestyle": "--" if b else "-", "label": f"{a}, {b}"}
        axes.plot(np.arange(1, 101) * 100, values, **line)
    axes.set(xlabel="epoch", ylabel="output", ylim=(0, 1))
    axes.legend(fontsize=8)
    return fig


def example_binary_classification() -> Figure:
    """Finney's table, and the probability that one neuron gives to each place."""
    x, y = binary_classification.X, binary_classification.Y
    net = bp.Sequential([bp.Dense(2, 1, "sigmoid", weight_init="zeros")], dtype="float64")
    net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.SGD(5.0, momentum=0.9), epochs=2000, batch_size=None)
    fig = figure(4.5, 3)
    axes = fig.subplots()
    volume, rate = np.meshgrid(np.linspace(0.3, 4, 100), np.linspace(0.02, 4, 100))
    p = net.predict(np.log(np.column_stack([volume.ravel(), rate.ravel()]))).reshape(100, 100)
    lines = axes.contour(volume, rate, p, [0.1, 0.5, 0.9], colors="0.5", linewidths=1)
    axes.clabel(lines, fontsize=7)
    for label, color in ((0, BLUE), (1, ORANGE)):
        axes.plot(*np.exp(x[y[:, 0] == label]).T, "o", color=color, markersize=5)
    axes.set(xlabel="volume of the breath, litres", ylabel="litres a second")
    return fig


def example_digits() -> Figure:
    """What sixteen hidden units look for."""
    x, y = datasets.digits()
    net = bp.Sequential([bp.Dense(64, 16, "tanh", l2=1e-3), bp.Dense(16, 10, "softmax")], rng=0)
    net.fit(x, y, loss="cross_entropy", optimizer=bp.Adam(0.01), epochs=30)
    fig = figure(6, 2)
    signs = LinearSegmentedColormap.from_list("signs", [BLUE, "white", ORANGE])
    for axes, weights in zip(fig.subplots(2, 8).flat, net.layers[0].weight.T, strict=True):
        most = abs(weights).max()
        bare(axes).imshow(weights.reshape(8, 8), cmap=signs, vmin=-most, vmax=most)
    return fig


def example_by_hand() -> Figure:
    """The losses of single steps by hand, and the mean that fit reports."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 4)), rng.normal(size=(10, 3))
    net, optimizer, loss, values = by_hand.network(), bp.Adam(0.01), bp.MeanSquaredError(), []
    for start in (0, 4, 8) * 20:
        y_hat = net.forward(x[start : start + 4])
        value, dy = loss(y_hat, y[start : start + 4])
        net.backward(dy)
        optimizer.step(net)
        values.append(value)
    history = by_hand.network().fit(x, y, loss=loss, optimizer=bp.Adam(0.01), epochs=20, batch_size=4, shuffle=False)
    fig = figure(4.5, 3)
    axes = fig.subplots()
    axes.plot(np.arange(60) / 3, values, ".", color=GRAY, label="steps, by hand")
    axes.step(np.arange(20), history["loss"], where="post", color=BLUE, label="epochs, by fit")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend(fontsize=8)
    return fig


def example_command_line() -> Figure:
    """What `python -m backprop train moons` draws."""
    x, y = datasets.moons(rng=0)
    net = bp.Sequential([bp.Dense(2, 32, "tanh"), bp.Dense(32, 32, "tanh"), bp.Dense(32, 2, "softmax")], rng=0)
    history = net.fit(x, y, loss="cross_entropy", optimizer=bp.Adam(3e-3), epochs=100, metrics=["accuracy"])
    return bp.plots.regions(history, net, x, y)


def example_mnist(folder: str) -> Figure:
    """Test images that 784-128-10 gets wrong, with what it takes them for."""
    x, y, x_test, y_test = datasets.mnist(folder)
    net = bp.Sequential([bp.Dense(784, 128, "relu"), bp.Dense(128, 10, "softmax")], rng=0)
    rate = bp.schedules.Polynomial(3e-3, 5 * -(-len(x) // 64))
    net.fit(x, y, loss="cross_entropy", optimizer=bp.Adam(rate), epochs=5, batch_size=64)
    said = net.predict(x_test).argmax(axis=1)
    fig = figure(4.5, 3)
    for axes, i in zip(fig.subplots(3, 6).flat, np.flatnonzero(said != y_test), strict=False):
        bare(axes).imshow(x_test[i].reshape(28, 28), cmap="gray_r")
        axes.set_title(f"{y_test[i]}, not {said[i]}", fontsize=7)
    return fig


PICTURES = (example_binary_classification, example_xor, example_digits, example_by_hand, example_command_line)

if __name__ == "__main__":
    with matplotlib.rc_context(STYLE):
        example_mnist(sys.argv[1]).savefig(Path(__file__).with_name("mnist.png"), dpi=110, metadata={"Software": None})
