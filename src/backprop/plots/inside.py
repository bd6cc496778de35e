"""Figures of what is in a network: its units and connections, its weights."""

from typing import Any

import numpy as np

from .. import _validate
from .._display import BLUE, ORANGE, columns
from . import figures
from .figures import GRAY, Array, axes, diverging, figure

__all__ = ["network", "weights"]

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
    units = columns(figures.network(net), MOST_UNITS)
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
        text = f"{number:.2g}"
        size = min(7, 36 / len(text))  # within the circle, beside which black may not be seen
        ax.text(at, height, text, ha="center", va="center", fontsize=size, color="black", zorder=4)
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
    matrices = {key: array for key, array in figures.network(net).arrays().items() if array.ndim == 2}
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
