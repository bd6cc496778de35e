"""Figures of what is in a network: its units and connections, its weights, its gradients."""

from typing import Any

import numpy as np

from .. import _validate
from .._display import BLUE, ORANGE, columns
from .figures import GRAY, Array, axes, diverging, figure, plain

__all__ = ["activations", "gradient_flow", "network", "weights"]

#: Units of a layer that are drawn.
MOST_UNITS = 12


def network(net: Any, x: Any = None, *, gradients: bool = False, ax: Any = None) -> Any:
    """Draw a network: its units, and its weights as lines between them, orange above 0 and blue below.

    Parameters
    ----------
    net : Sequential
        Of wide layers, some units stand for all.
    x : array_like, shape (n_in,) or (1, n_in), optional
        A row: the units show what they give for it, in evaluation mode.
    gradients : bool, default False
        Draw ``net.gradients``, those of the last `Sequential.backward` or `Sequential.value_and_gradient`, instead of
        the weights.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    units = columns(net, MOST_UNITS)
    values = None if x is None else _values(net, x)
    if _validate.flag(gradients, "gradients"):
        units = [
            column if column.weight is None else column._replace(weight=net.layers[i - 1].weight_grad)
            for i, column in enumerate(units)
        ]
    tall = max(len(column.shown) for column in units)
    ax = axes(ax, max(4.0, 1.6 * len(units)), max(2.5, 0.55 * tall + 1))
    for at in range(1, len(units)):
        _draw_edges(ax, at, units[at - 1], units[at])
    for at, column in enumerate(units):
        numbers = None if values is None else values[at][column.shown]
        _draw_units(ax, at, column, numbers)
    lowest = max(max(column.heights()) for column in units)
    for at, column in enumerate(units):
        ax.text(at, -lowest - 0.75, f"{column.label}\n{column.n:,}", ha="center", va="top")
    ax.set(xlim=(-0.5, len(units) - 0.5), ylim=(-lowest - 1.9, lowest + 0.6))
    ax.set_axis_off()
    return ax.figure


def _values(net: Any, x: Any) -> list[Array]:
    """A row, and what each layer gives for it."""
    row = _validate.array(x, "x")
    row = row.reshape(1, -1) if row.ndim == 1 else row
    if len(row) != 1:
        raise ValueError(f"x: expected one row, got {len(row)}")
    found = dict(zip((operation.name for operation in net.graph), net.activations(row), strict=True))
    values, last = [row[0]], row[0]
    for i in range(len(net.layers)):
        last = found[str(i)][0] if str(i) in found else last  # a residual of no layers is no operation
        values.append(last)
    return values


def _draw_edges(ax: Any, at: int, before: Any, column: Any) -> None:
    drawn = [*column.edges(before)]
    most = max((abs(w) for _, _, w in drawn if w is not None), default=0.0) or 1.0
    for a, b, w in drawn:
        size = 0.1 if w is None else abs(w) / most
        color = GRAY if w is None else ORANGE if w > 0 else BLUE
        ends = -before.heights()[a], -column.heights()[b]
        ax.plot([at - 1, at], ends, color=color, linewidth=0.4 + 3 * size, alpha=0.25 + 0.7 * size, zorder=1)


def _draw_units(ax: Any, at: int, column: Any, numbers: Array | None) -> None:
    heights = -np.array(column.heights())
    shades: Any = "white"
    if numbers is not None:
        most = float(abs(numbers).max()) or 1.0
        shades = diverging()(0.5 + numbers / most / 2.8)
    ax.scatter(np.full(len(heights), at), heights, s=620, c=shades, edgecolors="0.3", zorder=3)
    for height, number in zip(heights, () if numbers is None else numbers, strict=False):
        ax.text(at, height, f"{number:.2g}", ha="center", va="center", fontsize=7, zorder=4)
    if len(column.shown) < column.n:
        ax.text(at, heights[-1] + 1, "\N{VERTICAL ELLIPSIS}", ha="center", va="center")


def weights(net: Any, name: str | None = None, *, ax: Any = None) -> Any:
    """Draw matrices of weights, a cell for each: orange above 0, blue below, white at 0.

    Parameters
    ----------
    net : Sequential
    name : str, optional
        That of one matrix, as in `Sequential.arrays`: "0.weight". Default: all of them, side by side; in given axes,
        the first.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    matrices = {key: array for key, array in net.arrays().items() if array.ndim == 2}
    if name is not None and name not in matrices:
        raise ValueError(f"name: expected one of {', '.join(matrices)}, got {_validate.shown(name)}")
    if not matrices:
        raise ValueError(f"net: expected a network with a matrix of weights, got {_validate.shown(net)}")
    chosen = [*matrices] if name is None else [name]
    if ax is None:
        whole = figure(2 + 3 * len(chosen), 4)
        panels = list(whole.subplots(1, len(chosen), squeeze=False)[0])
    else:
        whole, panels = ax.figure, [ax]
    for panel, key in zip(panels, chosen, strict=False):
        array = matrices[key]
        most = float(abs(array).max()) or 1.0
        picture = panel.imshow(array, cmap=diverging(), vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
        panel.set(title=f"{key}  {array.shape}", xlabel="output", ylabel="input")
        for axis in panel.xaxis, panel.yaxis:
            axis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        whole.colorbar(picture, ax=panel)
    return whole


def gradient_flow(net: Any, x: Any, y: Any, loss: Any, *, ax: Any = None) -> Any:
    """Draw how large the gradients of each layer's weights are, and name units that let none through.

    Parameters
    ----------
    net : Sequential
        As it is now; its gradients are those of these rows afterwards.
    x, y, loss
        As `Sequential.fit` takes them; some hundred rows tell enough.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        For each array the median of the sizes of its gradients, from the 5th to the 95th percentile of them, on a
        logarithmic axis. A unit is called dead whose activation gives 0 for every row, or saturated where it is within
        1 % of an end of its range for every row.
    """
    net.value_and_gradient(x, y, loss)
    sizes = {
        f"{at}.{name}": abs(getattr(leaf, f"{name}_grad").astype(np.float64)).ravel()
        for at, leaf in net.leaves.items() for name in leaf.shapes()
    }  # fmt: skip
    notes = _asleep(net.graph, net.activations(x))
    ax = plain(axes(ax, max(5.0, 1.2 + 0.9 * len(sizes))))
    for i, size in enumerate(sizes.values()):
        there = size[size > 0]
        if len(there):
            low, middle, high = np.percentile(there, (5, 50, 95))
            ax.plot([i, i], [low, high], color=BLUE, linewidth=6, alpha=0.4, solid_capstyle="round")
            ax.plot(i, middle, "o", color=ORANGE)
    ax.set(
        xticks=range(len(sizes)), xticklabels=[*sizes], yscale="log", ylabel="size of the gradient",
        title="\n".join(notes) or "no unit is dead or saturated",
    )  # fmt: skip
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.tick_params("x", rotation=45)
    return ax.figure


def activations(net: Any, x: Any, *, ax: Any = None) -> Any:
    """Draw how the outputs of each operation are distributed, and name units that let no gradient through.

    Parameters
    ----------
    net : Sequential
        In evaluation mode.
    x : array_like, shape (batch, n_in)
        Some hundred rows tell enough.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        For each operation a histogram over all rows and units, its mean as a point; dead and saturated units as in
        `gradient_flow`.
    """
    outputs = net.activations(x)
    _validate.some_rows(outputs[0])
    ax = plain(axes(ax, max(5.0, 1.2 + 1.1 * len(outputs))))
    for i, out in enumerate(outputs):
        values = out.astype(np.float64).ravel()
        values = values[np.isfinite(values)]
        if len(values):
            counts, edges = np.histogram(values, 60)
            widths = np.sqrt(np.append(counts, 0) / counts.max()) / 2.3  # roots: the few are seen too
            ax.fill_betweenx(edges, i - widths, i + widths, step="post", color=BLUE, alpha=0.5, linewidth=0)
            ax.plot(i, values.mean(), "o", color=ORANGE)
    names = [f"{operation.name} {_word(operation)}" for operation in net.graph]
    ax.set(
        xticks=range(len(names)), xticklabels=names, xlim=(-0.6, len(names) - 0.4), ylabel="output",
        title="\n".join(_asleep(net.graph, outputs)) or "no unit is dead or saturated",
    )  # fmt: skip
    ax.tick_params("x", rotation=45)
    return ax.figure


def _word(operation: Any) -> str:
    """Its activation, or what it is where it has none."""
    name: str = operation.activation.name
    return name if name != "identity" or operation.kind == "dense" else str(operation.kind)


#: Where activations end that have a slope of 0 there.
ENDS = {"sigmoid": (0, 1), "hard_sigmoid": (0, 1), "tanh": (-1, 1), "hard_tanh": (-1, 1), "softsign": (-1, 1)}


def _asleep(graph: Any, outputs: list[Array]) -> list[str]:
    """What is to be said of units that let no gradient through."""
    notes = []
    for operation, out in zip(graph, outputs, strict=True):
        name = operation.activation.name
        dead: Any = np.zeros(operation.n_out, bool)
        stuck: Any = dead
        if name == "relu":
            dead = (out == 0).all(axis=0)
        elif name in ENDS:
            low, high = ENDS[name]
            near = 0.01 * (high - low)
            stuck = ((out <= low + near) | (out >= high - near)).all(axis=0)
        for which, word in (dead, "dead"), (stuck, "saturated"):
            if which.any():
                places = ", ".join(map(str, np.flatnonzero(which)[:8])) + (", ..." if which.sum() > 8 else "")
                units = f"{which.sum()} of {operation.n_out} units {word}"
                notes.append(f"operation {operation.name}, {name}: {units} ({places})")
    return notes
