"""What stands around networks in an ONNX model: the columns of a table before them, classes and units behind them.

Each column is an input of its own, by its name: numbers as float64, since a date or a price may have more digits than
float32, and categories as text. A missing number is NaN; a missing text is empty, or one of the words that a CSV file
may have instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from .. import _validate
from ..activations import ActivationFunction
from ..io import onnx as files
from ..program.graph import Graph
from ..tables.cells import MISSING, PLAIN
from ..tables.features import Date, Feature, Number, Text
from .formulas import of_activation
from .lowering import begun, lower, mean, places
from .writer import USUAL, Writer

__all__ = ["averaged", "category", "columns", "estimator", "number", "table_model"]

Array = _validate.Array

#: Since when texts are compared.
TEXTS = 19
DOUBLE = np.dtype(np.float64)
_UNITS = ("mean", "deviation", "least", "greatest")


def table_model(
    graphs: Sequence[Graph], encoding: Any, opset: Any, *, classes: Sequence[Any] | None = None,
    temperature: float = 1.0, target: Any = None, said: Mapping[str, Any] | None = None,
) -> bytes:  # fmt: skip
    """The file of networks on columns that are encoded, put in another order, and scaled.

    Parameters
    ----------
    graphs : sequence of Graph
        Those of networks, whose outputs are averaged.
    encoding : object
        With `encoder`, an `Encoder` of a table; `order`, which of its columns; and `scaler`, a `RobustScaler` of the
        first of these.
    opset : int or None
    classes : sequence or None
    temperature : float
        Of classes: what their logits are divided by.
    target : object or None
        Of numbers: with `mean` and `deviation` of each output and, if it is `clamped`, its `least` and `greatest`.
    said : mapping or None
        What else the file is to tell.
    """
    features, scaler = encoding.encoder.features_, encoding.scaler
    writer = _begun(graphs, opset, any(isinstance(feature, Text) for feature in features))
    parts = list(chain.from_iterable(_feature(writer, feature, DOUBLE) for feature in features))
    ordered = writer.add("Gather", columns(writer, parts), writer.integers(*encoding.order.tolist()), axis=1)
    scaled, n = len(scaler.center_), len(encoding.order)
    x = _scaled(writer, ordered, "scaled", scaler.center_, scaler.scale_, scaler.clip, scaled) if scaled else ordered
    if 0 < scaled < n:
        rest = writer.add("Slice", ordered, writer.integers(scaled), writer.integers(n), writer.integers(1))
        x = writer.add("Concat", x, rest, axis=1)
    outputs = averaged(writer, graphs, _cast(writer, x, writer.code))
    if classes is not None:
        if temperature != 1:  # softmax(log(p) / t)
            logits = writer.write(("Div", ("Log", "x"), float(temperature)), "logits", x=outputs)
            outputs = writer.add("Softmax", logits, axis=-1)
        _classes(writer, outputs, classes)
        return writer.model(_texts({**(said or {}), "classes": [*np.asarray(classes).tolist()]}))
    words = _UNITS if target.clamped else _UNITS[:2]
    names = {word: writer.constant(word, np.asarray(getattr(target, word), np.float64)) for word in words}
    y: Any = ("Add", ("Mul", "x", names["deviation"]), names["mean"])
    if target.clamped:
        y = ("Min", ("Max", y, names["least"]), names["greatest"])
    units = writer.write(y, "units", DOUBLE, x=_cast(writer, outputs, files.DOUBLE))
    writer.output("y", units, files.DOUBLE, graphs[0].n_out)
    return writer.model(_texts(said or {}))


def estimator(
    graphs: Sequence[Graph], parts: Sequence[Any] | None, opset: Any, *, link: ActivationFunction | None, each: str,
    both: bool, classes: Array | None, labels: bool, feature_names: Sequence[str] | None,
) -> bytes:  # fmt: skip
    """The file of an estimator.

    Parameters
    ----------
    graphs : sequence of Graph
        Those of its networks, whose outputs are averaged.
    parts : sequence of (name, kind, ...) or None
        Its columns, ``("number", name, mean, deviation)`` or ``("category", name, words, codes)``; None: one input.
    opset : int or None
    link : ActivationFunction or None
        What makes outputs of logits.
    each : {"", "proportions", "every_other"}
        What is done to the outputs of each network.
    both : bool
        Whether the only output is the probability of the second of two classes.
    classes : numpy.ndarray or None
    labels : bool
        Whether outputs are the probabilities of several labels.
    feature_names : sequence of str or None
    """
    texts = any(part[0] == "category" and isinstance(part[2][0], str) for part in parts or ())
    writer, first = _begun(graphs, opset, texts), graphs[0]
    if parts is None:
        x = writer.input("x", writer.code, first.n_in)
    else:
        made = [(category if kind == "category" else number)(writer, *rest) for kind, *rest in parts]
        x = columns(writer, list(chain.from_iterable(made)))
    outputs = averaged(writer, graphs, x, link, each)
    width = first.n_out // 2 if each == "every_other" else first.n_out
    if both:
        outputs = writer.add("Concat", writer.write(("Sub", 1.0, "x"), "other", x=outputs), outputs, axis=1)
    if classes is not None:
        _classes(writer, outputs, classes)
    elif labels:
        likely = writer.add("Cast", writer.add("Greater", outputs, writer.number(0.5)), to=files.INT64)
        writer.output("label", likely, files.INT64, width)
        writer.output("probabilities", outputs, writer.code, width)
    else:
        writer.output("y", outputs, writer.code, width)
    said = {"feature_names": feature_names, "classes": None if classes is None else [*np.asarray(classes).tolist()]}
    return writer.model(_texts(said))


def _begun(graphs: Sequence[Graph], opset: Any, texts: bool) -> Writer:
    writer = begun(graphs, opset, TEXTS if texts else USUAL)
    if texts and writer.opset < TEXTS:
        raise ValueError(f"opset: expected at least {TEXTS} for categories, which are text, got {writer.opset}")
    return writer


def _texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in metadata.items() if value is not None}


# Before the networks.


def columns(writer: Writer, parts: Sequence[str]) -> str:
    """Columns side by side."""
    return writer.add("Concat", *parts, name="features", axis=1) if len(parts) > 1 else parts[0]


def _feature(writer: Writer, feature: Feature, dtype: np.dtype[Any] | None = None) -> list[str]:
    if isinstance(feature, Number):
        scale = feature.mean, feature.deviation, feature.fill, feature.clip
        return number(writer, feature.name, *scale, missing=feature.missing, dtype=dtype)
    if isinstance(feature, Text):
        return category(writer, feature.name, *_words(feature), dtype=dtype)
    if isinstance(feature, Date):
        raise ValueError(
            f"export_onnx: expected numbers and categories, got the dates {feature.name!r}, which no operator reads: "
            "train without them"
        )
    raise TypeError(f"export_onnx: expected a Number or a Text, got {feature!r}")


def number(
    writer: Writer, name: str, mean: float, deviation: float, fill: float | None = None, clip: float = 0.0,
    *, missing: bool = False, dtype: np.dtype[Any] | None = None,
) -> list[str]:  # fmt: skip
    """A numeric column, scaled; and, where that is asked for, whether it is missing."""
    code = writer.code if dtype is None else files.CODES[dtype]
    x = writer.input(name, files.DOUBLE, 1)
    absent = writer.add("IsNaN", x, name=f"{name}/missing")
    filled = writer.add(
        "Where", absent, writer.number(mean if fill is None else fill, DOUBLE), x, name=f"{name}/filled"
    )
    scaled = _scaled(writer, filled, f"{name}/scaled", mean, deviation, clip)
    flag = [_cast(writer, absent, code)] if missing else []
    return [scaled if code == files.DOUBLE else _cast(writer, scaled, code), *flag]


def _scaled(
    writer: Writer, x: str, name: str, center: Any, scale: Any, clip: float, first: int | None = None
) -> str:  # fmt: skip
    """What is scaled, and clipped smoothly; of several columns the first ones."""
    if first is not None:
        x = writer.add("Slice", x, writer.integers(0), writer.integers(first), writer.integers(1), name=f"{name}/of")
        center, scale = (writer.constant(f"{name}/{word}", array) for word, array in (("by", center), ("to", scale)))
    formula: Any = ("Div", ("Sub", "x", center), scale)
    if clip:
        squared = ("Mul", ("Div", formula, clip), ("Div", formula, clip))
        formula = ("Div", formula, ("Sqrt", ("Add", squared, 1.0)))
    return writer.write(formula, name, DOUBLE, x=x)


def category(
    writer: Writer, name: str, words: Sequence[Any], codes: Array, otherwise: Array | None = None,
    dtype: np.dtype[Any] | None = None,
) -> list[str]:  # fmt: skip
    """A categorical column: a row of codes for each word, which is text or a number, and one for all others."""
    text, kind = isinstance(words[0], str), writer.dtype if dtype is None else dtype
    x = writer.input(name, files.STRING if text else files.DOUBLE, 1)
    known = writer.constant(f"{name}/words", np.array([words], object if text else np.float64))
    equal = writer.add("Equal", x, known, name=f"{name}/is")
    found = writer.add("Cast", equal, name=f"{name}/found", to=files.CODES[kind])
    base = np.zeros(codes.shape[1]) if otherwise is None else otherwise
    code = writer.add("MatMul", found, writer.constant(f"{name}/codes", (codes - base).astype(kind)))
    if base.any():
        code = writer.add("Add", code, writer.constant(f"{name}/other", base.astype(kind)))
    return [code]


def _words(feature: Text) -> tuple[list[str], Array, Array]:
    """The words that a column may hold, a row of codes for each, and that of any other."""
    *codes, otherwise = feature._code
    found = dict(zip(feature.categories, codes, strict=False))
    for word, code in [*found.items()]:
        if PLAIN.number(word) is not None:  # pandas makes 1.0 of 1
            found.setdefault(word.removesuffix(".0") if word.endswith(".0") else f"{word}.0", code)
    if feature.missing:
        for word in sorted(MISSING):
            for written in (word, word.upper(), word.capitalize(), "NaN" if word == "nan" else word):
                found.setdefault(written, codes[-1])
    return [*found], np.array([*found.values()]), otherwise


# The networks, and what is behind them.


def averaged(
    writer: Writer, graphs: Sequence[Graph], x: str, link: ActivationFunction | None = None, each: str = ""
) -> str:
    """The mean of what networks give."""
    found = []
    for graph, place in zip(graphs, places(graphs), strict=True):
        outputs = lower(writer, graph, x, place)
        if link is not None:
            formula = of_activation(link, writer.opset, writer.dtype == np.float64)
            outputs = writer.write(formula, f"{place}link", x=outputs)
        if each == "proportions":
            total = writer.add("ReduceSum", outputs, writer.integers(1), name=f"{place}sum")
            some = writer.add("Greater", total, writer.number(0.0))
            shares = writer.add("Div", outputs, total)
            outputs = writer.add("Where", some, shares, writer.number(1 / graph.n_out))
        elif each == "every_other":
            outputs = writer.add("Gather", outputs, writer.integers(*range(0, graph.n_out, 2)), axis=1)
        found.append(outputs)
    return mean(writer, found)


def _classes(writer: Writer, probabilities: str, classes: Any) -> None:
    """The most likely class, and the probabilities of all."""
    given, names, code = np.asarray(classes), np.empty(0, object), files.STRING
    kinds = {"i": np.int64, "u": np.int64, "b": np.bool_, "f": np.float64}
    if given.dtype.kind in kinds:
        names, code = given.astype(kinds[given.dtype.kind]), files.CODES[np.dtype(kinds[given.dtype.kind])]
    elif all(isinstance(name, str) for name in given.tolist()):
        names, code = given.astype(object), files.STRING
    else:
        raise TypeError(
            f"export_onnx: expected classes that are numbers or text, got {_validate.shown(given.tolist())}"
        )
    place = writer.add("ArgMax", probabilities, name="place", axis=1, keepdims=0)
    label = writer.add("Gather", writer.constant("classes", names), place, name="class")
    writer.output("label", label, code)
    writer.output("probabilities", probabilities, writer.code, len(names))


def _cast(writer: Writer, value: str, code: int) -> str:
    return writer.add("Cast", value, to=code)
