"""What notebooks show of networks, histories and checks: HTML and SVG without scripts, legible on light and on dark.

Text and lines have the colour of the page's text; the two colours beside it differ for the colour-blind too.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BLUE", "ORANGE", "Column", "columns", "history", "logarithmic", "network", "table"]

BLUE, ORANGE = "#3a86c8", "#d9731a"
#: Layers and units of each that a drawing shows.
MOST_LAYERS, MOST_UNITS = 12, 8
#: Points of a curve; of more, the lowest and the highest of each stretch are drawn.
MOST_POINTS = 400


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows of text under a header; the first column to the left, the others to the right."""

    def line(cells: Sequence[Any], tag: str) -> str:
        sides = ["left"] + ["right"] * (len(cells) - 1)
        found = (
            f'<{tag} style="text-align:{s};padding:1px 8px">{escape(str(c))}</{tag}>'
            for s, c in zip(sides, cells, strict=True)
        )
        return f"<tr>{''.join(found)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<table style="color:inherit"><thead>{line(header, "th")}</thead><tbody>{body}</tbody></table>'


def _svg(width: float, height: float, parts: Iterable[str], title: str) -> str:
    style = f'style="max-width:{width:g}px;width:100%" font-family="sans-serif" font-size="11" fill="currentColor"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" {style}>'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


# Networks.


class Column(NamedTuple):
    """Units side by side in a drawing: the input, or a layer's output."""

    label: str
    n: int
    #: Those that are drawn.
    shown: list[int]
    #: (units before, n) of a dense layer; None: each unit goes on by itself, or nobody knows.
    weight: Any

    def heights(self) -> list[float]:
        """Where they are drawn, around 0; where some are left out, there is a gap before the last."""
        n, gap = len(self.shown), len(self.shown) < self.n
        places = [i + (gap and i == n - 1) for i in range(n)]
        return [place - places[-1] / 2 for place in places]

    def edges(self, before: "Column") -> Iterator[tuple[int, int, float | None]]:
        """The lines to the units before, by their numbers, with the weights; the places are those in `shown`."""
        for b, j in enumerate(self.shown):
            for a, i in enumerate(before.shown):
                if self.weight is not None:
                    yield a, b, float(self.weight[i, j])
                elif i == j or self.n != before.n:
                    yield a, b, None


def columns(net: Any, most: int = MOST_UNITS) -> list[Column]:
    """The input and the layers of a network, with at most so many units each."""

    def shown(n: int) -> list[int]:
        return [*range(n)] if n <= most else [*range(most - 1), n - 1]

    found = [Column("input", net.n_in, shown(net.n_in), None)]
    for layer in net.layers:
        dense = layer.operation == "dense"
        label = layer.activation.name if dense else type(layer).__name__
        found.append(Column(label, layer.n_out, shown(layer.n_out), layer.weight if dense else None))
    return found


def network(net: Any) -> str:
    """The layers of a network with their outputs and parameters, and a drawing where it is small."""
    rows = net._rows()
    whole = f"<div>{table(rows[0], rows[1:])}"
    return f"{whole}{_drawing(net) if len(net.layers) <= MOST_LAYERS else ''}</div>"


def _drawing(net: Any) -> str:
    units = columns(net)
    across, up = 84, 20
    height = up * (max(max(column.heights()) - min(column.heights()) for column in units) + 1) + 34
    middle = (height - 34) / 2

    def at(c: int, place: float) -> tuple[float, float]:
        return 50 + across * c, middle + up * place

    parts = []
    for c, (before, column) in enumerate(pairwise(units)):
        drawn = [*column.edges(before)]
        most = max((abs(w) for _, _, w in drawn if w is not None and math.isfinite(w)), default=0.0) or 1.0
        for a, b, w in drawn:
            (x1, y1), (x2, y2) = at(c, before.heights()[a]), at(c + 1, column.heights()[b])
            size = 0.2 if w is None else abs(w) / most if math.isfinite(w) else 1.0
            color = "currentColor" if w is None or not math.isfinite(w) else ORANGE if w > 0 else BLUE
            parts.append(
                f'<line x1="{x1:g}" y1="{y1:.1f}" x2="{x2:g}" y2="{y2:.1f}" stroke="{color}" '
                f'stroke-width="{0.4 + 2 * size:.2f}" stroke-opacity="{0.25 + 0.65 * size:.2f}"/>'
            )
    for c, column in enumerate(units):
        for place in column.heights():
            x, y = at(c, place)
            parts.append(f'<circle cx="{x:g}" cy="{y:.1f}" r="6" fill="#888" stroke="currentColor"/>')
        if len(column.shown) < column.n:
            parts.append(_text(at(c, 0)[0], at(c, column.heights()[-1] - 1)[1] + 4, "\N{VERTICAL ELLIPSIS}"))
        parts += [
            _text(50 + across * c, height - 18, f"{column.n:,}"),
            _text(50 + across * c, height - 5, column.label),
        ]
    words = " - ".join(f"{column.label} {column.n}" for column in units)
    return _svg(100 + across * (len(units) - 1), height, parts, f"{words}; weights: orange above 0, blue below")


# Histories.


def logarithmic(losses: Sequence[float]) -> bool:
    """Whether losses are best seen on a logarithmic axis, and can be."""
    return 0 < 10 * min(losses) < max(losses)


def history(curves: Mapping[str, Sequence[float]]) -> str:
    """The curves of a history, the loss and each metric, and their last values."""
    epochs = max(map(len, curves.values()), default=0)
    names = [name for name in curves if not name.startswith("val_") and curves[name]]
    panels = "".join(_panel(name, curves[name], curves.get(f"val_{name}", ()), name == "loss") for name in names)
    rows = [(name, f"{values[-1]:.6g}") for name, values in curves.items() if values]
    last = table((f"{epochs:,} epoch{'s' * (epochs != 1)}", "last"), rows)
    style = "display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start"
    return f'<div style="{style}">{last}{panels}</div>'


def _panel(name: str, training: Sequence[float], validation: Sequence[float], is_loss: bool) -> str:
    """Training and validation over the epochs."""
    width, height, left, right, top, bottom = 340.0, 190.0, 58.0, 24.0, 22.0, 24.0
    finite = [value for value in (*training, *validation) if math.isfinite(value)] or [0.0]
    log = is_loss and logarithmic(finite)
    scale = math.log10 if log else float
    low, high = scale(min(finite)), scale(max(finite))
    if low == high:
        low, high = low - 0.5, high + 0.5
    n = max(len(training), len(validation))

    def at(epoch: float, value: float) -> tuple[float, float]:
        x = left + (width - left - right) * ((epoch - 1) / (n - 1) if n > 1 else 0.5)
        return x, top + (height - top - bottom) * (1 - (value - low) / (high - low))

    parts = [_text(left, 13, name + (" (logarithmic)" if log else ""), "start")]
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        _, y = at(1, value)
        ends = f'x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line {ends} stroke="currentColor" stroke-opacity=".2"/>')
        parts.append(_text(left - 5, y + 4, f"{10**value if log else value:.3g}", "end"))
    parts += [_text(at(epoch, low)[0], height - 8, f"{epoch:,}") for epoch in sorted({1, n})]
    for values, color, dash in (training, BLUE, ""), (validation, ORANGE, ' stroke-dasharray="5 3"'):
        for run in _runs(values):
            points = [at(epoch, scale(value)) for epoch, value in run]
            parts.append(
                f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="2.5" fill="{color}"/>' if len(points) == 1
                else f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" '
                f'stroke="{color}" stroke-width="1.6"{dash}/>'
            )  # fmt: skip
    if validation:
        keys = ("training", BLUE, width - 150), ("validation", ORANGE, width - 76)
        parts += [f'<text x="{x}" y="13" style="fill:{color}">{words}</text>' for words, color, x in keys]
    return _svg(width, height, parts, f"{name} over {n} epochs")


def _runs(values: Sequence[float]) -> Iterator[list[tuple[int, float]]]:
    """The points (epoch, value) of a curve, in pieces between values that are not finite."""
    array = np.asarray(values, np.float64)
    size = -(-2 * len(array) // MOST_POINTS)
    chosen = range(len(array)) if len(array) <= MOST_POINTS else _extremes(array, size)
    run: list[tuple[int, float]] = []
    for i in chosen:
        if math.isfinite(array[i]):
            run.append((i + 1, float(array[i])))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _extremes(array: Any, size: int) -> list[int]:
    """The first, the last, and of each stretch of this size the places of the lowest and of the highest."""
    found = {0, len(array) - 1}
    for begin in range(0, len(array), size):
        part = array[begin : begin + size]
        found |= {begin + int(part.argmin()), begin + int(part.argmax())}
    return sorted(found)
