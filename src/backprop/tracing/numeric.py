"""What embeddings of numeric columns are computed from, and pass back: their outputs are made of groups."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .._validate import Array
from .formulas import factor, number, plus, terms
from .record import Step

__all__ = ["computed", "passed_back", "products"]


class _Group(NamedTuple):
    """The first of its inputs and outputs, how many they are, and where its arrays begin."""

    source: int
    n: int
    to: int
    n_out: int
    #: The first row of the weight, and the row of the bias; -1: its inputs go on as they are.
    row: int
    bias: int
    quarters: int = 0
    #: Of bins.
    edges: Array | None = None


def _groups(step: Step) -> Iterator[_Group]:
    given, to, at, row, bias = step.operation, 0, 0, 0, 0
    if given.kind == "periodic":
        for column, n, own, quarters in given.attributes["waves"]:
            yield _Group(column, 1, to, n or 1, own if n else -1, own, quarters)
            to += n or 1
    elif given.kind == "piecewise_linear":
        for column, n in given.attributes["bins"]:
            yield _Group(column, 1, to, n or 1, -1, -1, 0, given.buffers["bin_edges"][at : at + n + 1] if n else None)
            to, at = to + (n or 1), at + (n + 1 if n else 0)
    else:
        for n, width in given.attributes["groups"]:
            yield _Group(at, n, to, width or n, row if width else -1, bias)
            at, to, row, bias = at + n, to + (width or n), row + (n if width else 0), bias + bool(width)


def computed(step: Step, x: Array, j: int, weight: Array | None, bias: Array | None) -> str:
    """What an output is computed from, with the numbers put in; empty where that is a number as it stands."""
    group = next(group for group in _groups(step) if group.to <= j < group.to + group.n_out)
    i = j - group.to
    if group.edges is not None:
        low, high = group.edges[i], group.edges[i + 1]
        below, above = x[group.source] < low and i > 0, x[group.source] >= high and i < group.n_out - 1
        inside = f"({number(x[group.source])} - {factor(low)}) / ({number(high)} - {factor(low)})"
        return "" if below or above else inside
    if group.row < 0 or weight is None:
        return ""
    if step.operation.kind == "periodic":
        return f"cos({_angle(group, x, i, weight, bias)})"
    rows = range(group.n)
    pairs = [(x[group.source + k], weight[group.row + k, i]) for k in rows]
    return terms(pairs, None if bias is None else bias[group.bias, i])


def _angle(group: _Group, x: Array, i: int, weight: Array, bias: Array | None) -> str:
    ahead = f" + {factor(bias[group.bias, i])}" if bias is not None else " - pi / 2" * (group.quarters < 0)
    return f"2 pi * {factor(weight[group.row, i])} * {factor(x[group.source])}{ahead}"


def passed_back(reader: Step, r: int, j: int, weight: Array | None) -> tuple[str, list[int]]:
    """What the operation passes back to an input, and the outputs that it does so from."""
    x, delta = reader.inputs[0][r], reader.delta[r]
    pairs: list[tuple[float, float]] = []
    units: list[int] = []
    for group in _groups(reader):
        if not group.source <= j < group.source + group.n:
            continue
        if group.edges is not None:
            i = int((x[j] >= group.edges[1:-1]).sum())
            pairs.append((delta[group.to + i], 1 / float(group.edges[i + 1] - group.edges[i])))
            units.append(group.to + i)
        elif group.row < 0 or weight is None:
            pairs.append((delta[group.to + j - group.source], 1.0))
            units.append(group.to + j - group.source)
        else:
            for i in range(group.n_out):
                slope = float(weight[group.row + j - group.source, i])
                if reader.operation.kind == "periodic":
                    slope = 2 * math.pi * float(weight[group.row, i] * reader.more["wave_slope"][r, group.to + i])
                pairs.append((delta[group.to + i], slope))
                units.append(group.to + i)
    return f"{terms(pairs)} (through the {reader.operation.kind} {reader.name})", units


def products(step: Step, name: str, where: tuple[int, ...]) -> str:
    """The sum that the gradient of a parameter is, over the rows."""
    row, i = where
    x, is_bias = step.inputs[0], name.endswith(".bias")
    if step.operation.kind == "periodic":
        total = np.zeros(len(x))
        for group in _groups(step):
            if group.row == row:
                at = group.to + i
                total += step.more["wave_slope"][:, at] * step.delta[:, at] * (
                    1 if is_bias else 2 * math.pi * x[:, group.source])  # fmt: skip
        return plus([number(value) for value in total])
    for group in _groups(step):
        if group.row >= 0 and is_bias and group.bias == row:
            return plus([number(value) for value in step.delta[:, group.to + i]])
        if 0 <= group.row <= row < group.row + group.n and not is_bias:
            return terms(list(zip(x[:, group.source + row - group.row], step.delta[:, group.to + i], strict=True)))
    return ""
