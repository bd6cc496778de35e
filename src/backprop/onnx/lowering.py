"""A network as an ONNX model: each kind of operation by the operators that compute it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _validate
from ..activations import identity
from ..io import onnx as files
from ..layers import INPUT
from ..program.graph import Graph, Operation
from .formulas import layer_norm, of_activation, prelu
from .writer import USUAL, Writer, checked_opset

__all__ = ["begun", "ensemble", "lower", "mean", "network", "places"]

Array = _validate.Array
#: Activations that have had an operator only since a version that is therefore taken.
_WANTS = {"gelu": 20, "gelu_tanh": 20}


def network(graph: Graph, opset: Any, metadata: Mapping[str, Any]) -> bytes:
    """The file of one network: from "x" (batch, n_in) to "y" (batch, n_out)."""
    return ensemble([graph], opset, metadata)


def ensemble(graphs: Sequence[Graph], opset: Any, metadata: Mapping[str, Any]) -> bytes:
    """The file of networks whose outputs are averaged."""
    writer, first = begun(graphs, opset), graphs[0]
    x = writer.input("x", writer.code, first.n_in)
    outputs = [lower(writer, graph, x, place) for graph, place in zip(graphs, places(graphs), strict=True)]
    writer.output("y", mean(writer, outputs), writer.code, first.n_out)
    return writer.model({key: json.dumps(value) for key, value in metadata.items() if value is not None})


def begun(graphs: Sequence[Graph], opset: Any, least: int = USUAL) -> Writer:
    """What writes these graphs, by operators of a version that suits them."""
    opset, dtype = checked_opset(opset), graphs[0].dtype
    wanted = [_WANTS.get(op.activation.name, least) for graph in graphs for op in graph if dtype == np.float32]
    return Writer(max([least, *wanted]) if opset is None else opset, dtype)


def places(graphs: Sequence[Graph]) -> list[str]:
    """How the names of each network begin, as in the file of an ensemble."""
    return [f"{i}/" for i in range(len(graphs))] if len(graphs) > 1 else [""]


def mean(writer: Writer, values: Sequence[str]) -> str:
    """The mean of some values; of one, that itself."""
    return values[0] if len(values) == 1 else writer.add("Div", writer.add("Sum", *values), writer.number(len(values)))


def lower(writer: Writer, graph: Graph, source: str, place: str = "") -> str:
    """The nodes of a graph, whose names begin so; its output."""
    values, last = {INPUT: source}, INPUT
    for operation in graph.for_inference(fold_batch_norms=False):
        name, last = f"{place}{operation.name}", operation.name
        if operation.kind not in _KINDS:
            raise TypeError(
                f"export_onnx: expected built-in layers, got {operation.layer!r} at {operation.name}: a layer in "
                "Python has no operators; export the layers around it as slices, such as net[:2]"
            )
        arrays = {
            key: writer.constant(f"{name}.{key}", array)
            for key, array in {**operation.parameters, **_buffers(operation)}.items()
            if operation.kind not in _OWN_ARRAYS
        }
        plain = operation.activation == identity
        z = name if plain else f"{name}/z"
        taken = [values[given] for given in operation.inputs]
        values[last] = _KINDS[operation.kind](writer, operation, z, taken, arrays)
        if not plain:
            formula = of_activation(operation.activation, writer.opset, writer.dtype == np.float64)
            values[last] = writer.write(formula, name, x=values[last])
    return values[last]


#: Operations that write their arrays in another form.
_OWN_ARRAYS = ("periodic", "piecewise_linear", "grouped_dense")


def _dense(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    operator = "Gemm" if "bias" in arrays else "MatMul"
    return writer.add(operator, *taken, *arrays.values(), name=name)


def _layer_norm(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    epsilon = float(operation.attributes["epsilon"])
    if writer.opset >= 17 and writer.dtype == np.float32:
        return writer.add("LayerNormalization", *taken, *arrays.values(), name=name, axis=-1, epsilon=epsilon)
    scaled = ("Mul", layer_norm(operation.n_in, epsilon), arrays["weight"])
    return writer.write(("Add", scaled, arrays["bias"]), name, x=taken[0])


def _buffers(operation: Operation) -> Mapping[str, Array]:
    """Its buffers; an epsilon is float32 in a file, and what that lacks in float64 is added to the variance."""
    if operation.kind != "batch_norm":
        return operation.buffers
    mean, variance = operation.buffers["running_mean"], operation.buffers["running_variance"]
    lost = operation.attributes["epsilon"] - float(np.float32(operation.attributes["epsilon"]))
    return {"running_mean": mean, "running_variance": variance + lost if variance.dtype == np.float64 else variance}


def _batch_norm(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    epsilon, momentum = (float(operation.attributes[key]) for key in ("epsilon", "momentum"))
    return writer.add("BatchNormalization", *taken, *arrays.values(), name=name, epsilon=epsilon, momentum=1 - momentum)


def _clip(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    bounds = (writer.number(operation.attributes[key]) for key in ("low", "high"))
    return writer.add("Clip", *taken, *bounds, name=name)


def _prelu(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    if writer.dtype == np.float64:
        return writer.write(prelu(arrays["weight"]), name, x=taken[0])
    return writer.add("PRelu", *taken, arrays["weight"], name=name)


def _columns(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    """Groups of columns side by side, some of them looked up in their tables."""
    parts = []
    for first, count, table in operation.attributes["tables"]:
        alone = count == operation.n_in
        part = taken[0] if alone else writer.add(
            "Slice", taken[0], writer.integers(first), writer.integers(first + count), writer.integers(1),
            name=f"{name}/Slice",
        )  # fmt: skip
        if table is not None:
            index = writer.add("Cast", part, name=f"{name}/Cast", to=files.INT64)
            rows = writer.add("Gather", arrays[table], index, name=f"{name}/Gather")
            width = count * operation.parameters[table].shape[1]
            part = writer.add("Reshape", rows, writer.integers(0, width), name=name if alone else f"{name}/Reshape")
        parts.append(part)
    return writer.add("Concat", *parts, name=name, axis=1) if len(parts) > 1 else parts[0]


def _lerp(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    rest = writer.constant(f"{name}.rest", 1 - operation.parameters["weight"])
    own = writer.add("Mul", taken[0], rest, name=f"{name}/own")
    return writer.add("Add", own, writer.add("Mul", taken[1], arrays["weight"], name=f"{name}/other"), name=name)


def _of_columns(writer: Writer, name: str, x: str, columns: Sequence[int]) -> str:
    """A column of x for each output."""
    return writer.add("Gather", x, writer.integers(*columns), name=f"{name}/Gather", axis=1)


def _periodic(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    """Of all outputs at once, of which some are their columns."""
    weight, bias = operation.parameters["weight"], operation.parameters.get("bias", np.zeros((0, 0)))
    columns: list[int] = []
    angles: list[Array] = []
    for column, n, row, quarters in operation.attributes["waves"]:
        columns += [column] * (n or 1)
        phases = bias[row] if n and bias.size else np.full(n or 1, quarters * np.pi / 2)
        angles.append(np.stack([2 * np.pi * weight[row] if n else np.zeros(1), phases, np.full(n or 1, not n)]))
    factor, ahead, passes = np.hstack(angles)
    x = _of_columns(writer, name, taken[0], columns)
    turned = writer.add("Mul", x, writer.constant(f"{name}.factor", factor.astype(writer.dtype)), name=f"{name}/Mul")
    angle = writer.add("Add", turned, writer.constant(f"{name}.ahead", ahead.astype(writer.dtype)), name=f"{name}/Add")
    wave = writer.add("Cos", angle, name=f"{name}/Cos")
    return writer.add("Where", writer.constant(f"{name}.passes", passes.astype(bool)), x, wave, name=name)


def _piecewise_linear(
    writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]
) -> str:  # fmt: skip
    """Of all outputs at once: (x - start) / wide, between two bounds."""
    columns: list[int] = []
    bins: list[Array] = []
    at = 0
    for column, n in operation.attributes["bins"]:
        columns += [column] * (n or 1)
        edges = operation.buffers["bin_edges"][at : at + n + 1] if n else np.array([0, 1])
        low, high = np.zeros(n or 1), np.ones(n or 1)
        low[0], high[-1] = -np.inf, np.inf
        bins.append(np.stack([edges[:-1], np.maximum(np.diff(edges), np.finfo(writer.dtype).tiny), low, high]))
        at += n + 1 if n else 0
    x = _of_columns(writer, name, taken[0], columns)
    for operator, word, values in zip(
        ("Sub", "Div", "Max", "Min"), ("start", "wide", "low", "high"), np.hstack(bins), strict=True
    ):
        its = writer.constant(f"{name}.{word}", values.astype(writer.dtype))
        x = writer.add(operator, x, its, name=name if operator == "Min" else f"{name}/{operator}")
    return x


def _grouped_dense(writer: Writer, operation: Operation, name: str, taken: list[str], arrays: dict[str, str]) -> str:
    weight, bias = operation.parameters["weight"], operation.parameters["bias"]
    parts: list[str] = []
    at = row = group = 0
    for n, width in operation.attributes["groups"]:
        part = writer.add(
            "Slice", taken[0], writer.integers(at), writer.integers(at + n), writer.integers(1), name=f"{name}/Slice"
        )
        if width:
            own = {f"{name}.{group}.weight": weight[row : row + n], f"{name}.{group}.bias": bias[group]}
            part = writer.add("Gemm", part, *(writer.constant(*each) for each in own.items()), name=f"{name}/Gemm")
            row, group = row + n, group + 1
        parts.append(part)
        at += n
    return writer.add("Concat", *parts, name=name, axis=1) if len(parts) > 1 else parts[0]


_KINDS: dict[str, Callable[[Writer, Operation, str, list[str], dict[str, str]], str]] = {
    "dense": _dense,
    "activation": lambda writer, operation, name, taken, arrays: taken[0],
    "clip": _clip,
    "prelu": _prelu,
    "scale": lambda writer, operation, name, taken, arrays: writer.add("Mul", *taken, arrays["weight"], name=name),
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "lerp": _lerp,
    "periodic": _periodic,
    "piecewise_linear": _piecewise_linear,
    "grouped_dense": _grouped_dense,
    "embedding": _columns,
    "columns": _columns,
    "add": lambda writer, operation, name, taken, arrays: writer.add("Add", *taken, name=name),
    "concatenate": lambda writer, operation, name, taken, arrays: writer.add("Concat", *taken, name=name, axis=1),
}
