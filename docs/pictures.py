"""The pictures of the pages, each drawn from a run of the library: ``python docs/pictures.py`` puts them in a folder.

A picture is a function of its name that returns a figure. The site is built with SVG; ``draw("png")`` is for looking.
"""

import calendar
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import backprop as bp
from backprop import datasets

FOLDER = Path(__file__).parent / "pictures"

STYLE = {
    "svg.hashsalt": "backprop", "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False, "lines.linewidth": 1.6,
}  # fmt: skip
BLUE, ORANGE, GREEN, RED, PURPLE, GRAY = "tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "0.5"


def figure(width: float, height: float) -> Figure:
    """An empty figure, of no window."""
    return Figure(figsize=(width, height), layout="constrained")


def bare(axes):
    """Axes without any lines: for diagrams."""
    axes.set_axis_off()
    return axes


# A picture for each page.


def index() -> Figure:
    """What each unit of a trained network makes of the plane, from the two inputs to the answer."""
    x, y = datasets.moons(300, noise=0.15, rng=1)
    net = bp.Sequential([bp.Dense(2, 5, "tanh"), bp.Dense(5, 1, "sigmoid")], rng=4, dtype="float64")
    net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.Adam(0.03), epochs=150)
    low, high = x.min(axis=0) - 0.4, x.max(axis=0) + 0.4
    plane = np.stack(np.meshgrid(*np.linspace(low, high, 80).T), axis=-1).reshape(-1, 2)
    hidden, answer = net.activations(plane)
    columns = [plane / abs(plane).max(axis=0), hidden, 2 * answer - 1]
    colors = LinearSegmentedColormap.from_list("signs", ["#7fb3da", "white", "#ffbb78"])
    places = [[(0.01, 0.62), (0.01, 0.22)], [(0.3, 0.78 - 0.19 * i) for i in range(5)], [(0.58, 0.1)]]
    fig = Figure(figsize=(9, 4.4))
    names = iter(("$x_1$", "$x_2$", "five units of tanh", "", "", "", "", "the probability of orange"))
    lines = bare(fig.add_axes((0, 0, 1, 1)))
    lines.set(xlim=(0, 1), ylim=(0, 1))
    for layer, before, after in zip(net.layers, places, places[1:], strict=False):
        for (i, j), w in np.ndenumerate(layer.weight):
            (left, bottom), (right, top) = before[i], after[j]
            end = top + (0.08 if len(after) > 1 else 0.41)
            width = 0.4 + 5 * abs(w) / abs(layer.weight).max()
            color = ORANGE if w > 0 else BLUE
            lines.plot([left + 0.1, right], [bottom + 0.08, end], color=color, linewidth=width, alpha=0.7)
    for column, spots in zip(columns, places, strict=True):
        for unit, (left, bottom) in zip(column.T, spots, strict=True):
            width, height = (0.41, 0.82) if len(spots) == 1 else (0.1, 0.16)
            axes = fig.add_axes((left, bottom, width, height))
            axes.set_title(next(names), fontsize=9)
            axes.imshow(unit.reshape(80, 80), origin="lower", extent=(low[0], high[0], low[1], high[1]), cmap=colors,
                        vmin=-1, vmax=1, aspect="auto", interpolation="bilinear")  # fmt: skip
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            for side in axes.spines.values():
                side.set(visible=True, color="0.4")
    axes.contour(*np.linspace(low, high, 80).T, answer.reshape(80, 80), [0.5], colors="0.2", linewidths=1)
    for label, color in ((0, BLUE), (1, ORANGE)):
        axes.plot(*x[y == label].T, "o", color=color, markeredgecolor="white", markeredgewidth=0.6, markersize=5)
    return fig


def networks() -> Figure:
    """A small network that has learned XOR, and the flat vector that holds it."""
    x, y = datasets.xor()
    net = bp.Sequential([bp.Dense(2, 3, "tanh"), bp.Dense(3, 2, "softmax")], rng=0)
    net.fit(x, y, loss="cross_entropy", optimizer=bp.Adam(0.05), epochs=200, batch_size=None)
    most = abs(net.parameters).max()
    colors = matplotlib.colormaps["coolwarm"]
    fig = figure(7.5, 4.6)
    top, bottom = fig.subplots(2, gridspec_kw={"height_ratios": [3, 1]})
    bare(top).set(xlim=(-0.35, 2.35), ylim=(-1.35, 1.3))
    places = [[(layer, (n - 1) / 2 - i) for i in range(n)] for layer, n in enumerate((2, 3, 2))]
    for layer, before, after in zip(net.layers, places, places[1:], strict=False):
        for i, a in enumerate(before):
            for j, b in enumerate(after):
                w = layer.weight[i, j]
                top.plot(*zip(a, b, strict=True), color=colors(0.5 + w / most / 2), linewidth=0.6 + 4 * abs(w) / most)
    for units in places:
        for place in units:
            top.plot(*place, "o", markersize=19, markerfacecolor="white", markeredgecolor="0.2", zorder=3)
    for at, name in enumerate(("x  (batch, 2)", "tanh  (batch, 3)", "softmax  (batch, 2)")):
        top.text(at, -1.32, name, ha="center")
    bare(bottom).set(xlim=(-0.2, net.parameters.size + 0.2), ylim=(-1.3, 1.7))
    at = 0
    for place, layer in enumerate(net.layers):
        for name, array in (("weight", layer.weight), ("bias", layer.bias)):
            for value in array.ravel():
                bottom.add_patch(Rectangle((at, 0), 1, 1, facecolor=colors(0.5 + value / most / 2), edgecolor="white"))
                at += 1
            begin = at - array.size
            bottom.plot([begin + 0.08, at - 0.08], [-0.25, -0.25], color="0.2", linewidth=1)
            shape = f"({', '.join(map(str, array.shape))}{',' * (array.ndim == 1)})"
            bottom.text((begin + at) / 2, -0.45, f"layers[{place}].{name}\n{shape}", ha="center", va="top", fontsize=8)
    bottom.text(0, 1.25, "net.parameters: one vector of 17 numbers; blue is negative, red positive")
    return fig


def activations() -> Figure:
    """Every activation that works elementwise, with the derivative that the library computes."""
    names = [name for name in bp.activations.__all__[1:] if "softmax" not in name]
    z = np.linspace(-4, 4, 400).reshape(-1, 1)
    fig = figure(8, 1.8 * math.ceil(len(names) / 4))
    places = fig.subplots(math.ceil(len(names) / 4), 4, sharex=True).flat
    for axes in places[len(names) :]:
        axes.remove()
    for axes, name in zip(places, names, strict=False):
        net = bp.Sequential([bp.Dense(1, 1), bp.Activation(name)], rng=0, dtype="float64")
        net.parameters = [1, 0]
        y, derivative = net.forward(z), net.backward(np.ones_like(z))
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        axes.plot(z, y, color=BLUE, label="$f(z)$")
        axes.plot(z, derivative, color=ORANGE, linestyle="--", linewidth=1.2, label="$f'(z)$")
        axes.set(title=name, ylim=(-1.6, 3.2), xticks=[-4, 0, 4])
    fig.axes[0].legend(loc="upper left", fontsize=8)
    return fig


def losses() -> Figure:
    """Losses over the error, and over the probability of the right class; above the value, below the derivative."""
    fig = figure(8, 6)
    (value_of_d, value_of_p), (derivative_of_d, derivative_of_p) = fig.subplots(2, 2, sharex="col")
    d = np.linspace(-3, 3, 601).reshape(-1, 1)
    several = {"mse": bp.MeanSquaredError, "mae": bp.MeanAbsoluteError, "huber": bp.Huber, "log_cosh": bp.LogCosh}
    for name, kind in {**several, "quantile 0.9": lambda **how: bp.Quantile(0.9, **how)}.items():
        value, derivative = kind(reduction="none")(d, np.zeros_like(d))
        value_of_d.plot(d, value, label=name)
        derivative_of_d.plot(d, derivative)
    value_of_d.set(title="of a number", ylabel="loss", ylim=(-0.1, 4))
    derivative_of_d.set(xlabel=r"error, $\hat y - y$", ylabel="derivative", ylim=(-3.3, 3.3))
    value_of_d.legend(fontsize=8, loc="upper center")
    p = np.linspace(0.005, 0.995, 400)
    logits = np.log(p / (1 - p)).reshape(-1, 1)
    for name, loss, color in (
        ("cross-entropy", bp.BinaryCrossEntropy(from_logits=True, reduction="none"), PURPLE),
        ("focal, gamma 1", bp.Focal(1.0, from_logits=True, reduction="none"), "tab:brown"),
        ("focal, gamma 3", bp.Focal(3.0, from_logits=True, reduction="none"), "tab:pink"),
    ):
        value, derivative = loss(logits, np.ones_like(logits))
        value_of_p.plot(p, value, color=color, label=name)
        derivative_of_p.plot(p, derivative, color=color)
    value_of_p.set(title="of a class", ylim=(-0.1, 4))
    value_of_p.legend(fontsize=8)
    derivative_of_p.set(xlabel="probability given to the right class", ylabel="derivative by the logit")
    return fig


def optimizers() -> Figure:
    """Paths down a valley of two parameters, and schedules."""
    fig = figure(8.6, 4)
    valley, rates = fig.subplots(1, 2)
    x, y = np.array([[math.sqrt(24.0), 0], [0, 1.0]]), np.zeros(2)  # the mean of the squares is 12 a^2 + b^2 / 2
    a, b = np.meshgrid(np.linspace(-1.9, 1.2, 200), np.linspace(-0.6, 2.3, 200))
    valley.contour(a, b, 12 * a**2 + b**2 / 2, levels=np.geomspace(0.05, 15, 10), colors="0.82", linewidths=0.8)
    for label, optimizer, color in (
        ("SGD", bp.SGD(0.078), BLUE),
        ("SGD, momentum 0.8", bp.SGD(0.03, momentum=0.8), ORANGE),
        ("RMSprop", bp.RMSprop(0.05, 0.9), GREEN),
        ("Adam", bp.Adam(0.15), RED),
    ):
        net = bp.Sequential([bp.Dense(2, 1, use_bias=False)], rng=0, dtype="float64")
        net.parameters = [0.9, 2.0]
        path = [net.parameters.copy()]
        for _ in range(40):
            net.fit(x, y, loss="mse", optimizer=optimizer, batch_size=None)
            path.append(net.parameters.copy())
        valley.plot(*np.transpose(path), ".-", color=color, markersize=4, linewidth=1, label=label)
    valley.plot(0, 0, "k*", markersize=10)
    valley.set(title="40 steps down a valley", xlabel="one parameter", ylabel="another", xlim=(-1.9, 1.2),
               ylim=(-0.6, 2.3))  # fmt: skip
    valley.legend(fontsize=8, loc="lower left")
    steps = np.arange(1000)
    for label, schedule in (
        ("Step, every 300", bp.schedules.Step(1.0, 300, 0.4)),
        ("Cosine, warmup 100", bp.schedules.Cosine(1.0, 1000, warmup=100)),
        ("OneCycle", bp.schedules.OneCycle(1.0, 1000)),
        ("CosLog4", bp.schedules.CosLog4(1.0, 1000)),
        ("FlatCosine", bp.schedules.FlatCosine(1.0, 1000)),
        ("Polynomial, power 2", bp.schedules.Polynomial(1.0, 1000, power=2.0)),
    ):
        rates.plot(steps, schedule.rates(steps), label=label)
    rates.set(title="schedules", xlabel="steps made", ylabel="share of the highest learning rate", ylim=(0, 1.32))
    rates.legend(fontsize=8, ncols=2, loc="upper center")
    return fig


def choosing() -> Figure:
    """The loss on the digits over the learning rate, and over the batch size."""
    x, y = datasets.digits()
    train, test = datasets.hold_out(y, np.random.default_rng(0))

    def loss(optimizer, batch_size=32):
        net = bp.Sequential([bp.Dense(64, 64, "relu", weight_init="he_normal"), bp.Dense(64, 10, "softmax")], rng=0)
        try:
            net.fit(x[train], y[train], loss="cross_entropy", optimizer=optimizer, epochs=20, batch_size=batch_size)
        except bp.DivergedError:
            return math.nan
        return net.evaluate(x[test], y[test], loss="cross_entropy")["loss"]

    fig = figure(9, 4)
    over_rates, over_sizes = fig.subplots(1, 2, sharey=True)
    rates = np.geomspace(1e-4, 3, 14)
    for label, make, color in (
        ("SGD", bp.SGD, BLUE), ("SGD, momentum 0.9", lambda rate: bp.SGD(rate, momentum=0.9), ORANGE),
        ("Adam", bp.Adam, GREEN), ("RMSprop", bp.RMSprop, PURPLE), ("Lion", bp.Lion, RED),
    ):  # fmt: skip
        over_rates.loglog(rates, [loss(make(rate)) for rate in rates], ".-", color=color, label=label)
    over_rates.set(xlabel="learning rate", ylabel="test loss after 20 epochs", ylim=(0.05, 3))
    over_rates.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    sizes = [4, 8, 16, 32, 64, 128, 256, 512]
    for label, rate, color in (
        ("Adam, 0.003", lambda size: 0.003, GREEN),
        ("Adam, 0.003, growing with the root of the size", lambda size: 0.003 * math.sqrt(size / 32), GRAY),
    ):
        over_sizes.loglog(sizes, [loss(bp.Adam(rate(size)), size) for size in sizes], ".-", color=color, label=label)
    over_sizes.set_xticks(sizes, sizes)
    over_sizes.minorticks_off()
    over_sizes.set(xlabel="batch size")
    over_sizes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1))
    return fig


def troubleshooting() -> Figure:
    """One network, four runs: one that learns, and three that do not."""
    x, y = datasets.moons(500, noise=0.1, rng=0)
    fig = figure(6.5, 3.6)
    axes = fig.subplots()
    for label, rate, inputs, color in (
        ("it learns: 0.1, scaled", 0.1, x, GREEN), ("a thousandth of the rate", 1e-4, x, GRAY),
        ("a hundred times the rate", 10.0, x, RED), ("one column in thousandths", 0.1, x * [1, 1e-3], BLUE),
    ):  # fmt: skip
        net = bp.Sequential([bp.Dense(2, 16, "relu"), bp.Dense(16, 1, "sigmoid")], rng=0)
        history = net.fit(inputs, y, loss="binary_cross_entropy", optimizer=bp.SGD(rate, momentum=0.9), epochs=60)
        axes.plot(np.arange(1, 61), history["loss"], color=color, label=label)
    axes.set(xlabel="epoch", ylabel="training loss", ylim=(0, 1.5))
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return fig


def training() -> Figure:
    """A network that overfits, and where early stopping takes it back to."""
    x, y = datasets.moons(300, noise=0.35, rng=0)
    net = bp.Sequential([bp.Dense(2, 64, "relu"), bp.Dense(64, 64, "relu"), bp.Dense(64, 2, "softmax")], rng=0)
    stopping = bp.EarlyStopping(patience=150)
    history = net.fit(
        x, y, loss="cross_entropy", optimizer=bp.Adam(0.003), epochs=150, callbacks=[stopping],
        validation_data=datasets.moons(300, noise=0.35, rng=1),
    )  # fmt: skip
    fig = figure(6.5, 3.6)
    axes = fig.subplots()
    epochs = np.arange(1, len(history["loss"]) + 1)
    axes.plot(epochs, history["loss"], label="loss, on the training data")
    axes.plot(epochs, history["val_loss"], label="val_loss, on the validation data")
    best, value = stopping.state["best_epoch"], stopping.state["best"]
    axes.axvline(best, color=GRAY, linestyle=":", linewidth=1.2)
    axes.plot(best, value, "o", color=RED)
    axes.annotate(f"epoch {best}: the weights\nthat EarlyStopping restores", (best, value), (best + 14, 0.06),
                  arrowprops={"arrowstyle": "->", "color": GRAY}, va="center")  # fmt: skip
    axes.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
    axes.legend(loc="upper right")
    return fig


def by_hand() -> Figure:
    """The error of a central difference, long steps and short ones, in both types."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
    fig = figure(6.5, 3.8)
    axes = fig.subplots()
    exact = None
    for dtype, color in (("float64", BLUE), ("float32", ORANGE)):
        net = bp.Sequential([bp.Dense(4, 6, "tanh"), bp.Dense(6, 2)], rng=0, dtype=dtype)
        gradient = net.value_and_gradient(x, y, "mse")[1]
        exact = gradient if exact is None else exact
        steps, errors = np.geomspace(1e-10 if dtype == "float64" else 1e-6, 1, 60), []
        for h in steps:
            numeric = []
            for i, kept in enumerate(net.parameters.tolist()):
                values = []
                for p in (kept + h, kept - h):
                    net.parameters[i] = p
                    values += [net.value_and_gradient(x, y, "mse")[0], float(net.parameters[i])]
                net.parameters[i] = kept
                numeric.append((values[0] - values[2]) / (values[1] - values[3] or math.inf))
            errors.append(np.linalg.norm(numeric - exact) / np.linalg.norm(exact))
        axes.loglog(steps, errors, color=color, label=dtype)
        axes.axvline(float(np.finfo(dtype).eps) ** (1 / 3), color=color, linestyle=":", linewidth=1.2)
    axes.text(0.9, 1e-6, "the curve of the loss:\ngrows with $h^2$", fontsize=8, ha="right")
    axes.text(2e-9, 2e-5, "rounding: grows with $1/h$", fontsize=8)
    axes.set(xlabel="step $h$; dotted: the one that check_gradients takes", ylabel="relative error of the difference",
             xlim=(1e-10, 1), ylim=(1e-12, 3))  # fmt: skip
    axes.legend(loc="upper left")
    return fig


def derivatives() -> Figure:
    """What a network looks at in a digit, and the curvature of the loss of another."""
    x, y = datasets.digits()
    net = bp.Sequential([bp.Dense(64, 32, "tanh"), bp.Dense(32, 10, "softmax")], rng=0)
    net.fit(x, y, loss="cross_entropy", optimizer=bp.Adam(3e-3), epochs=30)
    three = int(np.flatnonzero(y == 3)[4])
    slopes = net.jacobian(x[three : three + 1])[0, 3].reshape(8, 8)
    points, classes = datasets.moons(200, noise=0.2, rng=0)
    small = bp.Sequential([bp.Dense(2, 8, "tanh"), bp.Dense(8, 1, "sigmoid")], rng=0, dtype="float64")
    small.fit(points, classes, loss="binary_cross_entropy", optimizer=bp.Adam(0.03), epochs=100)
    values = np.linalg.eigvalsh(bp.hessian(small, points, classes, "binary_cross_entropy"))
    values = values[np.argsort(-abs(values))]
    fig = figure(9, 5.6)
    above, below = fig.subfigures(2, 1)
    digit, seen, spectrum = above.subplots(1, 3, width_ratios=(1, 1, 1.6))
    most = abs(slopes).max()
    digit.imshow(x[three].reshape(8, 8), cmap="gray_r")
    seen.imshow(slopes, cmap="RdBu_r", vmin=-most, vmax=most)
    for axes, title in ((digit, "a three"), (seen, "d P(three) / d pixels")):
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(visible=False)
    for which, color, word in ((values > 0, BLUE, "positive"), (values < 0, ORANGE, "negative")):
        spectrum.semilogy(1 + np.flatnonzero(which), abs(values[which]), "o", color=color, markersize=4, label=word)
    spectrum.set(title="eigenvalues of a Hessian, by size", xlabel="number")
    spectrum.legend()
    _second_order(*below.subplots(1, 2))
    return fig


def _second_order(fits, equation):
    """Levenberg-Marquardt beside Adam, and the solution of an equation beside the exact one."""
    t = np.linspace(-1, 1, 60)[:, None]
    for optimizer, color in ((bp.LevenbergMarquardt(), BLUE), (bp.Adam(0.01), ORANGE)):
        net = bp.Sequential([bp.Dense(1, 8, "tanh"), bp.Dense(8, 1)], rng=0, dtype="float64")
        history = net.fit(t, np.sin(4 * t), loss="mse", optimizer=optimizer, epochs=200, batch_size=None)
        fits.semilogy(history["loss"], color=color, label=type(optimizer).__name__)
    fits.set(title="fitting a curve", xlabel="epoch", ylabel="mean squared error")
    fits.legend()

    def oscillation(t, u, du, d2u):
        r = d2u[:, :, 0] + 9 * u
        return (r**2)[:, 0], 18 * r, None, 2 * r[:, :, None]

    def start(t, u, du):
        off, slope = u - 1, du[:, :, 0]
        return (off**2 + slope**2)[:, 0], 2 * off, 2 * slope[:, :, None]

    times = np.concatenate([np.linspace(0, 3, 60), [0]])[:, None]
    net = bp.Sequential([bp.Dense(1, 20, "sin"), bp.Dense(20, 1)], rng=0, dtype="float64")
    loss = bp.losses.Differential([oscillation, start], order=[2, 1], weights=[0.01, 1])
    net.fit(times, np.repeat([0, 1], [60, 1]), loss=loss, optimizer=bp.LBFGS(), epochs=600)
    equation.plot(times[:60], np.cos(3 * times[:60]), color=GRAY, linewidth=4, alpha=0.4, label="cos 3t")
    equation.plot(times[:60], net.predict(times[:60]), color=BLUE, label="the network")
    equation.set(title="u'' = -9 u, u(0) = 1, u'(0) = 0", xlabel="t")
    equation.legend(loc="upper left", bbox_to_anchor=(0.18, 1))


def data() -> Figure:
    """The vectors that twelve months become, where the target is a season."""
    month = np.arange(12)
    season = np.column_stack([np.cos(2 * np.pi * month / 12), np.sin(2 * np.pi * month / 12)])
    net = bp.Sequential([bp.Embedding(12, 2), bp.Dense(2, 2)], rng=3)
    net.fit(np.tile(month, 20)[:, None], np.tile(season, (20, 1)), loss="mse", optimizer=bp.Adam(0.02), epochs=200)
    vectors = net.layers[0].weight
    fig = figure(4.6, 4.4)
    axes = fig.subplots()
    axes.plot(*np.vstack([vectors, vectors[:1]]).T, color="0.8", linewidth=1)
    axes.scatter(*vectors.T, c=month, cmap="twilight_shifted", s=60, zorder=3, edgecolors="0.3", linewidths=0.5)
    middle = vectors.mean(axis=0)
    for name, vector in zip(calendar.month_abbr[1:], vectors, strict=True):
        away = (vector - middle) / np.linalg.norm(vector - middle)
        axes.annotate(name, vector, away * 17, textcoords="offset points", ha="center", va="center")
    axes.margins(0.18)
    axes.set(aspect="equal", xlabel="first number", ylabel="second number", title="Embedding(12, 2), trained")
    return fig


def ensembles() -> Figure:
    """What an ensemble predicts over the plane, and how far its members are apart there."""
    x, y = datasets.moons(200, noise=0.15, rng=0)
    nets = [
        bp.Sequential([bp.Dense(2, 32, "relu"), bp.Dense(32, 32, "relu"), bp.Dense(32, 2, "softmax")], rng=seed)
        for seed in range(10)
    ]
    bp.fit_many(nets, x, y, loss="cross_entropy", optimizer=bp.Adam(0.005), epochs=60)
    ensemble, sides = bp.Ensemble(nets), (np.linspace(-3, 4, 141), np.linspace(-2.5, 3, 111))
    points = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    fig = figure(7.6, 3.1)
    panels = (
        (ensemble.predict, "mean of the members", "coolwarm", 1), (ensemble.std, "std over the members", "Greys", 0.5),
    )  # fmt: skip
    for axes, (look, title, colors, most) in zip(fig.subplots(1, 2, sharey=True), panels, strict=True):
        found = look(points)[:, 1].reshape(len(sides[1]), len(sides[0]))
        shown = axes.contourf(*sides, found, np.linspace(0, most, 11), cmap=colors, alpha=0.8)
        for label, color in enumerate((BLUE, RED)):
            axes.scatter(*x[y == label].T, s=8, color=color, linewidths=0)
        axes.set_title(f"P(class 1): {title}")
        axes.grid(visible=False)
        fig.colorbar(shown, ax=axes)
    return fig


def distributed() -> Figure:
    """The rows of two and of three processes, the shards they are cut into, and the tree in which these are added."""
    fig = figure(7.6, 3.3)
    places = {0: 0.5, 1: 1.5, 2: 2.5, 3: 3.5}
    for axes, ranks in zip(fig.subplots(1, 2), (2, 3), strict=True):
        bare(axes).set(xlim=(-0.1, 4.1), ylim=(-0.35, 4.3), title=f"{ranks} processes, 4 shards")
        for rank in range(ranks):
            begin, end = rank * 4 / ranks, (rank + 1) * 4 / ranks
            color = (BLUE, ORANGE, GREEN)[rank]
            axes.add_patch(Rectangle((begin + 0.02, 0), end - begin - 0.04, 0.45, color=color, alpha=0.35, lw=0))
            axes.text((begin + end) / 2, 0.22, f"rows of rank {rank}", ha="center", va="center", fontsize=8)
            for shard in range(rank * 4 // ranks, (rank + 1) * 4 // ranks):
                axes.add_patch(Rectangle((shard + 0.02, 1), 0.96, 0.5, color=color, alpha=0.35, lw=0))
        for shard, x in places.items():
            axes.text(x, 1.25, f"shard {shard}", ha="center", va="center", fontsize=8)
            axes.plot([x, x], [0.5, 0.95], color=GRAY, lw=1)
            axes.plot([x, shard // 2 * 2 + 1], [1.6, 2.3], color=GRAY, lw=1)
        for x in (1, 3):
            axes.text(x, 2.5, "+", ha="center", va="center", fontsize=13)
            axes.plot([x, 2], [2.7, 3.35], color=GRAY, lw=1)
        axes.text(2, 3.55, "+", ha="center", va="center", fontsize=13)
        axes.text(2, 3.95, "the gradient of the batch", ha="center", va="center", fontsize=9)
    return fig


def reproducibility() -> Figure:
    """How many parameters differ between runs of one training."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 20)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype(int)

    def network(seed=0):
        return bp.Sequential([bp.Dense(20, 32, "relu"), bp.Dropout(0.2), bp.Dense(32, 2, "softmax")], rng=seed)

    def fit(net, epochs=6, x=x, **how):
        net.fit(x, y, loss="cross_entropy", optimizer=bp.Adam(0.01), epochs=epochs, **how)
        return net.parameters

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.safetensors")
        keep = [bp.Checkpoint(path)]
        fit(network(), 2, callbacks=keep)
        resumed = bp.resume(path, x, y, loss="cross_entropy", epochs=6, callbacks=keep)[0].parameters
    runs = {
        "1 thread": fit(network(), threads=1), "2 threads": fit(network(), threads=2),
        "3 threads": fit(network(), threads=3), "by columns": fit(network(), x=np.asfortranarray(x)),
        "resumed": resumed, "another seed": fit(network(1)),
    }  # fmt: skip
    differ = np.array([[np.count_nonzero(a != b) for b in runs.values()] for a in runs.values()])
    fig = figure(5.2, 4.6)
    axes = fig.subplots()
    axes.imshow(differ > 0, cmap="Oranges", vmin=0, vmax=2.2)
    for i, row in enumerate(differ):
        for j, count in enumerate(row):
            axes.text(j, i, f"{count}", ha="center", va="center")
    places = range(len(runs))
    axes.set_xticks(places, runs, rotation=30, ha="right")
    axes.set_yticks(places, runs)
    axes.set_title(f"how many of {resumed.size} parameters differ")
    axes.grid(visible=False)
    return fig


def saving() -> Figure:
    """Where the bytes of a model file go."""
    net = bp.Sequential([bp.Dense(4, 8, "relu"), bp.Dense(8, 2, "softmax")], rng=0)
    file = net.to_bytes()
    begin = 8 + int.from_bytes(file[:8], "little")
    parts = [("length of the header", 0, 8, "0.55"), ("header: JSON, with the SHA-256", 8, begin, "0.85")]
    colors = iter(("tab:blue", "lightskyblue", "tab:orange", "navajowhite"))
    header = json.loads(file[8:begin])
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in sorted(tensors.items()):
        first, last = entry["data_offsets"]
        parts.append((f"{name}  {entry['dtype']} {tuple(entry['shape'])}", begin + first, begin + last, next(colors)))
    parts.sort(key=lambda part: part[1])
    fig = figure(7.5, 2.9)
    axes = bare(fig.subplots())
    axes.set(xlim=(-15, len(file) + 15), ylim=(-3.6, 1.35))
    for place, (name, first, last, color) in enumerate(parts):
        axes.add_patch(Rectangle((first, 0), last - first, 1, facecolor=color, edgecolor="0.3", linewidth=0.6))
        row, column = place % 3, place // 3
        left = column * len(file) * 0.5
        axes.add_patch(Rectangle((left, -1.35 - row), len(file) * 0.018, 0.55, facecolor=color, edgecolor="0.3"))
        axes.text(left + len(file) * 0.03, -1.08 - row, f"{name}: {last - first:,} bytes", va="center")
    axes.text(0, 1.12, "0")
    axes.text(len(file), 1.12, f"{len(file):,}", ha="right")
    return fig


def evaluation() -> Figure:
    """Predicted probabilities of two classes, and the ROC curve over all thresholds."""
    x, y = datasets.moons(1000, noise=0.3, rng=0)
    x_test, y_test = datasets.moons(1000, noise=0.3, rng=1)
    net = bp.Sequential([bp.Dense(2, 16, "tanh"), bp.Dense(16, 1, "sigmoid")], rng=0)
    net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.Adam(0.01), epochs=30)
    p = net.predict(x_test)
    fig = figure(8, 3.7)
    counts, roc = fig.subplots(1, 2)
    bins = np.linspace(0, 1, 26)
    for label, color in ((0, BLUE), (1, ORANGE)):
        counts.hist(p[y_test == label, 0], bins, color=color, alpha=0.6, label=f"rows of class {label}")
    counts.axvline(0.5, color=GRAY, linestyle=":", linewidth=1.2)
    counts.set(xlabel="probability of class 1; dotted: the threshold of accuracy", ylabel="test rows")
    counts.legend()
    order = np.argsort(-p[:, 0], kind="stable")
    hits = y_test[order]
    true, false = np.cumsum(hits) / hits.sum(), np.cumsum(1 - hits) / (1 - hits).sum()
    roc.plot(false, true, color=GREEN)
    roc.fill_between(false, true, color=GREEN, alpha=0.12)
    roc.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1)
    said = p[:, 0] > 0.5
    roc.plot(said[y_test == 0].mean(), said[y_test == 1].mean(), "o", color=RED)
    roc.annotate("threshold 0.5", (said[y_test == 0].mean(), said[y_test == 1].mean()), (14, -10),
                 textcoords="offset points")  # fmt: skip
    roc.text(0.55, 0.25, f"roc_auc {bp.metrics.roc_auc(p, y_test):.3f}")
    roc.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    return fig


def plots() -> Figure:
    """Six of the library's own figures of one network."""
    x, y = datasets.moons(300, noise=0.2, rng=0)
    x_test, y_test = datasets.moons(300, noise=0.2, rng=1)
    net, snapshots = bp.Sequential([bp.Dense(2, 8, "tanh"), bp.Dense(8, 1, "sigmoid")], rng=0), bp.Snapshots()
    loss = "binary_cross_entropy"
    net.fit(x, y, loss=loss, optimizer=bp.Adam(0.02), epochs=100, callbacks=[snapshots])
    fig = figure(9, 11)
    (units, plane), (gradients, shares), (around, way) = fig.subplots(3, 2)
    bp.plots.network(net, x[0], ax=units)
    bp.plots.decision_surface(net, x_test, y_test, ax=plane)
    bp.plots.gradient_flow(net, x, y, loss, ax=gradients)
    bp.plots.calibration(y_test, net.predict(x_test), ax=shares)
    bp.plots.loss_landscape(net, x, y, loss, ax=around)
    bp.plots.loss_landscape(net, x, y, loss, path=snapshots.networks, ax=way)
    return fig


class Sine(bp.Layer):
    """y = sin(frequency x), with a frequency for each column."""

    def shapes(self):
        """The frequencies."""
        return {"frequency": (self.n_in,)}

    def initialize(self, rng):
        """From none to high."""
        self.frequency[:] = rng.uniform(0, 8, self.n_in)

    def forward(self, x, training):
        """Keep x."""
        if training:
            self.x = x
        return np.sin(self.frequency * x)

    def backward(self, dy):
        """By the cosine."""
        dz = dy * np.cos(self.frequency * self.x)
        self.frequency_grad[:] = (dz * self.x).sum(axis=0)
        return dz * self.frequency


def extending() -> Figure:
    """A custom layer beside built-in ones, within the data and beyond."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-1, -0.3, 45), rng.uniform(0.1, 0.8, 45)]).reshape(-1, 1)

    def wave(x):
        return np.sin(6 * x[:, 0]) + 0.5 * np.cos(3 * x[:, 0])

    y = wave(x) + 0.08 * rng.normal(size=len(x))
    fig = figure(7.5, 3.6)
    axes = fig.subplots()
    where = np.linspace(-1.6, 1.6, 400).reshape(-1, 1)
    axes.plot(where, wave(where), color="0.75", linewidth=3, label="the wave")
    axes.plot(x, y, ".", color="0.3", label="data")
    for label, layers, color in (
        ("Sine", [bp.Dense(1, 6), Sine(), bp.Dense(6, 1, l2=0.002)], RED),
        ("relu", [bp.Dense(1, 32, "relu", bias_init="lecun_uniform"), bp.Dense(32, 32, "relu"), bp.Dense(32, 1)], BLUE),
    ):
        net = bp.Sequential(layers, rng=0)
        net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=1000, batch_size=30)
        axes.plot(where, net.predict(where), color=color, label=label)
    axes.set(xlabel="x", ylim=(-2.2, 2.6))
    axes.legend(ncols=4, loc="upper center", fontsize=8)
    return fig


def mathematics() -> Figure:
    """The arrays of two layers, forward, and the gradients of the same shapes."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 4)), rng.integers(3, size=6)
    net = bp.Sequential(
        [bp.Dense(4, 5), bp.Activation("tanh"), bp.Dense(5, 3), bp.Activation("softmax")], rng=0, dtype="float64"
    )
    first, second = net.layers[0], net.layers[2]
    p = net.forward(x)
    dx = net.backward(bp.CrossEntropy()(p, labels)[1])
    z1 = x @ first.weight + first.bias
    y1 = np.tanh(z1)
    dz2 = (p - np.eye(3)[labels]) / len(x)
    dy1 = dz2 @ second.weight.T
    columns = [
        ("$x$", x, dx), ("$w_1$", first.weight, first.weight_grad), ("$z_1$", z1, dy1 * (1 - y1**2)),
        ("$y_1$", y1, dy1), ("$w_2$", second.weight, second.weight_grad),
        ("$z_2$", y1 @ second.weight + second.bias, dz2), (r"$p = \hat y$", p, None),
    ]  # fmt: skip
    fig = figure(9, 3.9)
    grid = fig.subplots(2, len(columns), gridspec_kw={"width_ratios": [v.shape[1] for _, v, _ in columns]})
    for (name, value, gradient), (above, below) in zip(columns, grid.T, strict=True):
        weights = name.startswith("$w")
        for axes, array in ((above, value), (below, gradient)):
            bare(axes)
            if array is None:
                continue
            most = abs(array).max()
            axes.imshow(array, cmap="PiYG" if weights else "coolwarm", vmin=-most, vmax=most)
        above.set_title(f"{name}\n{value.shape[0]} x {value.shape[1]}")
        below.set_title("" if gradient is None else rf"$\mathrm{{d}}${name}")
    fig.supxlabel("above: forward, from left to right; below: backward, from right to left, each of the shape above it",
                  fontsize=9)  # fmt: skip
    return fig


PICTURES = (
    index, networks, activations, losses, optimizers, choosing, training, troubleshooting, by_hand, derivatives, data,
    reproducibility, saving, evaluation, ensembles, distributed, plots, extending, mathematics,
)  # fmt: skip


def draw(kind: str = "svg", folder: Path = FOLDER, pictures: Sequence[Callable[[], Figure]] = PICTURES) -> None:
    """Draw them all into a folder; the same bytes each time."""
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for picture in pictures:
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            picture().savefig(folder / f"{picture.__name__}.{kind}", dpi=110, metadata=metadata)


if __name__ == "__main__":
    draw(*sys.argv[1:])
