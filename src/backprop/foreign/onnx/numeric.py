"""Embeddings of numeric columns, as `Sequential.export_onnx` writes them: all outputs at once, from their columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import _validate, layers
from .values import Value

__all__ = ["Embedded", "embedded"]

Array = _validate.Array


class Embedded(NamedTuple):
    """A layer that embeds columns, its arrays, and the value whose columns they are."""

    layer: layers.Layer
    arrays: dict[str, Array]
    start: Value


class _Encoded(NamedTuple):
    """Numbers made of columns: of each number its column, and what it goes by."""

    start: Value
    columns: list[int]
    numbers: list[Array]


def embedded(value: Value) -> Embedded | None:
    """The embedding that ends in a value; None where it is something else."""
    rectified = value.operator == "Relu"
    end = value.inputs[0] if rectified else value
    if not rectified and (bins := _bins(end)) is not None:
        return _piecewise_linear(bins, [])
    groups = _groups(end)
    if groups is None:
        return None
    inner, gemms = groups
    if not rectified and (bins := _bins(inner)) is not None:
        return _piecewise_linear(bins, gemms)
    waves = _waves(inner)
    return None if waves is None else _periodic(waves, gemms, rectified)


def _constants(value: Value, *places: int) -> list[Array] | None:
    """What a value takes in these places, one number for each of its row."""
    found = [value.taken[i] for i in places if i < len(value.taken)]
    fit = all(isinstance(one, np.ndarray) and one.shape == (value.width,) for one in found)
    return found if fit and len(found) == len(places) else None


def _of(value: Any, operator: str) -> Value | None:
    """A value, where it is made so of another one and constants."""
    return value if isinstance(value, Value) and value.operator == operator and len(value.inputs) == 1 else None


# How they are written.


def _bins(value: Value) -> _Encoded | None:
    """The column x as min(max((x - start) / wide, low), high)."""
    numbers: list[Array] = []
    at: Any = value
    for operator in "Min", "Max", "Div", "Sub":
        found = _of(at, operator)
        its = None if found is None else _constants(found, 1)
        if found is None or its is None:
            return None
        numbers, at = [*its, *numbers], found.taken[0]
    return _chosen(at, numbers)


def _waves(value: Value) -> _Encoded | None:
    """The column where it passes, else cos(factor x + ahead)."""
    passes = _constants(value, 0) if value.operator == "Where" and len(value.inputs) == 2 else None
    wave = _of(value.taken[2], "Cos") if passes is not None else None
    angle = _of(wave.taken[0], "Add") if wave is not None else None
    turned = _of(angle.taken[0], "Mul") if angle is not None else None
    if passes is None or angle is None or turned is None or turned.taken[0] is not value.taken[1]:
        return None
    ahead, factor = _constants(angle, 1), _constants(turned, 1)
    return None if ahead is None or factor is None else _chosen(value.taken[1], [*passes, *factor, *ahead])


def _chosen(value: Any, numbers: list[Array]) -> _Encoded | None:
    columns = value.columns if isinstance(value, Value) else None
    return None if columns is None else _Encoded(value.inputs[0], columns, numbers)


def _groups(value: Value) -> tuple[Value, list[tuple[int, Value | None]]] | None:
    """The value whose numbers go in groups, in their order; how many are in each, and its dense layer."""
    parts = value.inputs if value.operator == "Concat" else [value]
    inner: Value | None = None
    at, found = 0, []
    for part in parts:
        gemm = _of(part, "Gemm")
        own = gemm.inputs[0] if gemm is not None else part
        columns = own.columns
        if columns is None or columns != [*range(at, at + len(columns))]:
            return None
        if (inner or own.inputs[0]) is not own.inputs[0]:
            return None
        inner, at = own.inputs[0], at + len(columns)
        found.append((len(columns), gemm))
    return None if inner is None or at != inner.width else (inner, found)


# What they are.


def _dense(gemms: Sequence[tuple[int, Value | None]], place: str) -> dict[str, Array]:
    """The arrays of the small dense layers, one after the other."""
    dense = [gemm for _, gemm in gemms if gemm is not None and len(gemm.taken) == 3 and not gemm.attributes]
    weights, biases = ([np.asarray(gemm.constant(i)) for gemm in dense] for i in (1, 2))
    if not dense or any(bias.shape != (gemm.width,) for gemm, bias in zip(dense, biases, strict=True)):
        return {}
    return {f"{place}.weight": np.concatenate(weights), f"{place}.bias": np.stack(biases)}


def _piecewise_linear(bins: _Encoded, gemms: Sequence[tuple[int, Value | None]]) -> Embedded | None:
    """Bins begin where there is no lower limit, and end where there is no upper one; another passes."""
    edges: list[Array | None] = [None] * bins.start.width
    start, wide, low, high = (array.astype(np.float64) for array in bins.numbers)
    begins, ends = np.flatnonzero(low == -math.inf), np.flatnonzero(high == math.inf)
    if len(begins) != len(ends) or sorted({*bins.columns}) != [*range(bins.start.width)]:
        return None
    for begin, end in zip(begins, ends, strict=True):
        if end < begin or len({*bins.columns[begin : end + 1]}) != 1:
            return None
        if end > begin or (start[begin], wide[begin]) != (0, 1):
            edges[bins.columns[begin]] = np.append(start[begin : end + 1], start[end] + wide[end])
    width = next((gemm.width for _, gemm in gemms if gemm is not None), None)
    layer = layers.PiecewiseLinearEmbedding(edges, width)
    arrays = (
        {"0.bin_edges": np.concatenate([own for own in edges if own is not None])}
        if any(own is not None for own in edges)
        else {}
    )
    return _checked(layer, arrays | _dense(gemms, "1"), bins, gemms)


def _periodic(waves: _Encoded, gemms: Sequence[tuple[int, Value | None]], rectified: bool) -> Embedded | None:
    passes, factor, ahead = waves.numbers
    turning = ~passes.astype(bool)
    columns = [*dict.fromkeys(column for column, turns in zip(waves.columns, turning, strict=True) if turns)]
    width = next((gemm.width for _, gemm in gemms if gemm is not None), None)
    if not columns or width is None or turning.sum() % len(columns):
        return None
    n, rows = int(turning.sum()) // len(columns), len(columns)
    weight = (factor[turning].astype(np.float64) / (2 * math.pi)).reshape(rows, n)
    if rectified:
        layer = layers.PeriodicEmbedding(waves.start.width, "plr", n_frequencies=n // 2, width=width)
        arrays = {"0.weight": weight[:, : n // 2]}
    else:
        some = None if rows == waves.start.width else columns
        layer = layers.PeriodicEmbedding(waves.start.width, n_frequencies=n, width=width + 1, columns=some)
        arrays = {"0.weight": weight, "0.bias": ahead[turning].reshape(rows, n)}
    return _checked(layer, arrays | _dense(gemms, "1"), waves, gemms)


def _checked(
    layer: Any, arrays: dict[str, Array], found: _Encoded, gemms: Sequence[tuple[int, Value | None]]
) -> Embedded | None:
    """The layer, if it is written as it was found; else it is something else that only looks like it."""
    first = layer.parts[0]
    if first.operation == "periodic":
        columns = [column for column, n, _, _ in first.waves for _ in range(n or 1)]
        passes = np.array([not n for _, n, _, _ in first.waves for _ in range(n or 1)])
        quarters = np.array([quarters for _, n, _, quarters in first.waves for _ in range(n or 1)])
        alike = np.array_equal(passes, found.numbers[0]) and (
            "0.bias" in arrays or np.allclose(found.numbers[2], quarters * math.pi / 2)
        )
    else:
        columns = [column for column, n in first.bins for _ in range(n or 1)]
        alike = True
    groups = [(n, 0 if gemm is None else gemm.width) for n, gemm in gemms]
    own = list(layer.parts[1].groups) if len(layer.parts) > 1 else []
    shapes = {f"{i}.{name}" for i, part in enumerate(layer.parts) for name in (*part.shapes(), *part.buffers())}
    fits = alike and columns == found.columns and groups == own and shapes == arrays.keys()
    return Embedded(layer, arrays, found.start) if fits else None
