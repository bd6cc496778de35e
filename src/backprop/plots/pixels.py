"""Rows as square pictures: digits, and the weights and gradients of what looks at digits."""

import math
from collections.abc import Sequence
from typing import Any

from .. import _validate
from .figures import Array, diverging, figure

__all__ = ["images", "squares"]

#: Pictures of a figure at most, and side by side.
MOST, COLUMNS = 100, 8


def squares(rows: Array, name: str) -> Array:
    """Square images, row after row, from rows of pixels or as they are."""
    rows = rows.reshape(len(rows), -1)
    side = math.isqrt(rows.shape[1])
    if side * side != rows.shape[1]:
        raise ValueError(f"{name}: expected square images, got rows of {rows.shape[1]} pixels")
    return rows.reshape(-1, side, side)


def images(rows: Any, *, titles: Sequence[Any] | None = None, ax: Any = None) -> Any:
    """Draw rows as pictures, side by side: the more ink, the larger the number.

    Where there are numbers below 0, as in gradients or in the weights of the units of a first layer,
    ``net[0].weight.T``, they are blue, and those above 0 orange. All pictures share one scale.

    Parameters
    ----------
    rows : array_like, shape (n, pixels) or (n, side, side)
        Square images, row after row; at most 100.
    titles : sequence, optional
        What stands above each.
    ax : matplotlib.axes.Axes, optional
        Where to draw them. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    given = _validate.array(rows, "rows")
    _validate.some_rows(given, "rows")
    if len(given) > MOST:
        raise ValueError(f"rows: expected at most {MOST}, got {len(given)}: draw some of them, rows[:{MOST}]")
    pictures = squares(given, "rows")
    words = [""] * len(pictures) if titles is None else [str(title) for title in titles]
    if len(words) != len(pictures):
        raise ValueError(f"titles: expected {len(pictures)}, one for each picture, got {len(words)}")
    across = min(COLUMNS, len(pictures))
    down = -(-len(pictures) // across)
    if ax is None:
        ax = figure(0.2 + 1.1 * across, 0.2 + (1.1 + 0.25 * any(words)) * down).subplots()
    ax.set_axis_off()
    most = float(abs(pictures).max()) or 1.0
    signed = pictures.min() < 0
    how = {"cmap": diverging() if signed else "gray_r", "vmin": -most if signed else 0, "vmax": most}
    for place, (picture, word) in enumerate(zip(pictures, words, strict=True)):
        left, below = place % across / across, 1 - (1 + place // across) / down
        cell = ax.inset_axes((left, below, 0.94 / across, (0.77 if any(words) else 0.94) / down))
        cell.imshow(picture, interpolation="nearest", **how)
        cell.set(xticks=[], yticks=[])
        cell.set_title(word, fontsize="small", pad=3)
        cell.spines[:].set(color="lightgray")
    return ax.figure
