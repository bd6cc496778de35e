"""Models of tables as ONNX models and as C files, with what stands before and behind their networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _validate, c, onnx
from ..tables.features import Feature, Number, Output, Text
from .encoding import Encoding
from .model import TableModel

__all__ = ["to_c", "to_onnx"]

Array = _validate.Array

#: What stands in a place of the row that a C file takes.
_SAID = {
    "number": "as in the table, or NaN", "onehot": "1 where it is so, else 0",
    "missing": "1 where it is missing, else 0",
    "sign": "1 where it is so, -1 where it is the other, else 0",
}  # fmt: skip

#: The same of the parts of dates.
_PARTS = {
    "year": "the year", "month": "the month", "day": "the day of the month", "weekday": "the weekday, 0 is Monday",
    "hour": "the hour, with its minutes as a fraction", "elapsed": "the days since 1970",
}  # fmt: skip


def to_onnx(model: TableModel, opset: int | None, said: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of an ONNX model, with an input for each column."""
    return onnx.table_model(
        [net._exported() for net in model.ensemble], model.encoding, opset, classes=model.classes,
        temperature=model.temperature, target=model.target, said=said,
    )  # fmt: skip


def to_c(model: TableModel) -> c.Model:
    """What a C file computes, of the columns that its header lists.

    A number is one of them, its flag of missing values is found from it; a date is one for each of its parts; a
    category is one for each of the columns that it is encoded as.
    """
    encoding, target, ensemble = model.encoding, model.target, model.ensemble
    columns, given = _columns(encoding)

    def outputs(x: Array) -> Array:
        return model.decoded(ensemble.predict(columns.rows(x).astype(np.float32)))

    return c.Model(
        [*ensemble], len(given), ensemble.n_out, outputs, columns, classes=model.classes,
        notes=[f"x[{i}]: {output.name}, {_said(output)}" for i, output in enumerate(given)],
        unit=None if target is None else (target.mean, target.deviation), temperature=model.temperature,
        bounds=(target.least, target.greatest) if target is not None and target.clamped else None,
    )  # fmt: skip


def _said(output: Output) -> str:
    if output.kind == "number" and output.name != output.column:
        return f"{_PARTS[output.name.removeprefix(f'{output.column}.')]}, or NaN"
    if output.kind == "index":
        return f"the number of the category, 1 to {output.cardinality - 1}, or 0"
    return _SAID[output.kind]


def _columns(encoding: Encoding) -> tuple[c.Columns, list[Output]]:
    """How the columns of the networks come about, and what is needed for them."""
    given: list[Output] = []
    made: list[tuple[int, int, float, float, float, float]] = []  # as Columns has them
    for feature in encoding.encoder.features_:
        scales = _scales(feature)
        first = len(given)
        for output in feature.outputs:
            flag = output.kind == "missing" and not isinstance(feature, Text)
            scale = scales[len(given) - first] if output.kind == "number" else (0.0, 0.0, 1.0, 0.0)
            made.append((first if flag else len(given), int(flag), *scale))
            given += [] if flag else [output]
    source, flags, fill, shift, scale_, clip = (np.array(part) for part in zip(*made, strict=True))
    parts = [part[encoding.order] for part in (source, flags, fill, shift, scale_, clip)]
    scaler = encoding.scaler
    scaled = slice(0, len(scaler.center_))
    parts[3][scaled], parts[4][scaled], parts[5][scaled] = scaler.center_, scaler.scale_, scaler.clip
    return c.Columns(*parts), given


def _scales(feature: Feature) -> list[tuple[float, float, float, float]]:
    """Of each number of a feature what fills it, what is taken off, what is divided by, and where it is clipped."""
    if isinstance(feature, Text):
        return []
    numbers = [feature] if isinstance(feature, Number) else feature.parts.values()
    return [(one.mean if one.fill is None else one.fill, one.mean, one.deviation, one.clip) for one in numbers]
