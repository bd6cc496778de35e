"""A graph in C, in floating-point arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _validate, activations
from ..activations import ActivationFunction
from ..layers import INPUT
from ..program.graph import Graph, Operation
from . import memory
from .text import Body, constants, number

__all__ = ["body"]

Array = _validate.Array


def body(graph: Graph, dtype: str, name: str, given: Mapping[str, str] | None = None) -> Body:
    """The constants and the calls that compute the outputs y of a row x; or where else these are given to lie."""
    real = {"float32": "float", "float64": "double"}[dtype]
    return _Writer(graph, dtype, real, name, given or {}).body()


class _Writer:
    def __init__(self, graph: Graph, dtype: str, real: str, name: str, given: Mapping[str, str]) -> None:
        self.graph, self.dtype, self.real, self.name, self.given = graph, dtype, real, name, given
        self.places, self.size = memory.of_graph(graph)
        self.constants: list[str] = []
        self.calls: list[str] = []
        self.functions: set[str] = set()

    def body(self) -> Body:
        for operation in self.graph:
            self.calls.append(f"/* {operation.name}: {operation.kind}, {operation.n_in} -> {operation.n_out} */")
            getattr(self, f"_{operation.kind}")(operation)
            self._activate(operation)
        if not len(self.graph):
            self._call("copy", self.graph.n_in, "x", "y")
        return Body(self.real, self.real, self.constants, self.calls, self.functions, self.size)

    # Text.

    def _at(self, name: str, offset: int = 0) -> str:
        """Where an output lies."""
        if name in self.given:
            where, at = self.given[name], 0
        elif name == INPUT:
            where, at = "x", 0
        elif name == self.graph[-1].name:
            where, at = "y", 0
        else:
            where, at = "work", self.places[name]
        return f"{where} + {at + offset}" if at + offset else where

    def _call(self, function: str, *arguments: Any) -> None:
        function = f"{function}_{self.real[0]}"
        self.functions.add(function)
        self.calls.append(f"{function}({', '.join(map(str, arguments))});")

    def _array(self, operation: Operation, name: str, array: Array | None = None, dtype: str | None = None) -> str:
        """A parameter as a constant of the file; its name there."""
        given = {**operation.parameters, **operation.buffers}[name] if array is None else array
        called = f"{self.name}_{operation.name}_{name}".replace(".", "_")
        self.constants.append(constants(called, given, dtype or self.dtype))
        return called

    def _number(self, value: float) -> str:
        return number(value, self.dtype)

    # Operations.

    def _ends(self, operation: Operation) -> tuple[str, str]:
        """Its input and its output."""
        return self._at(operation.inputs[0]), self._at(operation.name)

    def _dense(self, operation: Operation) -> None:
        bias = self._array(operation, "bias") if "bias" in operation.parameters else "0"
        x, y = self._ends(operation)
        weight, bins = self._array(operation, "weight"), self._bins(operation)
        if bins is None:
            self._call("dense", operation.n_in, operation.n_out, x, weight, bias, y)
            return
        if bias == "0":
            bias = self._array(operation, "bias", np.zeros(operation.n_out))
        self._call("copy", operation.n_out, bias, y)
        self._binned([n for _, n in bins], operation.n_out, operation, 0, weight, 0, 0)

    def _bins(self, operation: Operation) -> Sequence[tuple[int, int]] | None:
        """Those that an operation takes, perhaps by copies: then its sums go over them as the core's do."""
        source = operation.inputs[0]
        while source != INPUT and self.graph[source].kind == "activation" and (
            self.graph[source].activation == activations.identity
        ):  # fmt: skip
            source = self.graph[source].inputs[0]
        if source == INPUT or self.graph[source].kind != "piecewise_linear":
            return None
        found: Sequence[tuple[int, int]] = self.graph[source].attributes["bins"]
        return found

    def _binned(
        self, bins: Sequence[int], n_out: int, operation: Operation, at: int, weight: str, row: int, to: int
    ) -> None:
        """What these bins, one after the other, add to some outputs."""
        for n in (count or 1 for count in bins):
            x, y = self._at(operation.inputs[0], at), self._at(operation.name, to)
            self._call("binned", n, n_out, x, f"{weight} + {row * n_out}", y)
            at, row = at + n, row + n

    def _activation(self, operation: Operation) -> None:
        self._call("copy", operation.n_out, *self._ends(operation))

    _dropout = _activation

    def _clip(self, operation: Operation) -> None:
        self._activation(operation)
        low, high = (self._number(operation.attributes[name]) for name in ("low", "high"))
        y = f"({self._at(operation.name)})[i]"
        bounded = f"{y} < {low} ? {low} : {y} > {high} ? {high} : {y}"
        self.calls.append(f"for (int32_t i = 0; i < {operation.n_out}; i++) {y} = {bounded};")

    def _prelu(self, operation: Operation) -> None:
        self._call("prelu", operation.n_out, self._array(operation, "weight"), *self._ends(operation))

    def _scale(self, operation: Operation) -> None:
        self._call("scale", operation.n_out, self._array(operation, "weight"), *self._ends(operation))

    def _lerp(self, operation: Operation) -> None:
        first, second = map(self._at, operation.inputs)
        self._call("lerp", operation.n_out, self._array(operation, "weight"), first, second, self._at(operation.name))

    def _periodic(self, operation: Operation) -> None:
        weight, to = self._array(operation, "weight"), 0
        bias = self._array(operation, "bias") if "bias" in operation.parameters else ""
        for column, n, row, quarters in operation.attributes["waves"]:
            x, y = self._at(operation.inputs[0], column), self._at(operation.name, to)
            if n:
                phases = f"{bias} + {row * n}" if bias else "0"
                self._call("waves", n, f"{weight} + {row * n}", phases, f"*({x})", self._number(quarters / 4), y)
            else:
                self._call("copy", 1, x, y)
            to += n or 1

    def _piecewise_linear(self, operation: Operation) -> None:
        edges, at, to = self._array(operation, "bin_edges") if operation.buffers else "", 0, 0
        for column, n in operation.attributes["bins"]:
            x, y = self._at(operation.inputs[0], column), self._at(operation.name, to)
            if n:
                self._call("bins", n, f"{edges} + {at}", f"*({x})", y)
                at += n + 1
            else:
                self._call("copy", 1, x, y)
            to += n or 1

    def _grouped_dense(self, operation: Operation) -> None:
        weight, bias = self._array(operation, "weight"), self._array(operation, "bias")
        bins = [n or 1 for _, n in self._bins(operation) or ()]
        at, to, row, group = 0, 0, 0, 0
        for n, width in operation.attributes["groups"]:
            x, y = self._at(operation.inputs[0], at), self._at(operation.name, to)
            own: list[int] = []
            while bins and sum(own) < n:
                own.append(bins.pop(0))
            if not width:
                self._call("copy", n, x, y)
            elif own:
                self._call("copy", width, f"{bias} + {group * width}", y)
                self._binned(own, width, operation, at, weight, row, to)
            else:
                self._call("dense", n, width, x, f"{weight} + {row * width}", f"{bias} + {group * width}", y)
            at, to = at + n, to + (width or n)
            row, group = row + (n if width else 0), group + bool(width)

    def _batch_norm(self, operation: Operation) -> None:
        """By the running statistics; their roots are taken here, in double, as the core takes them."""
        mean, variance = (operation.buffers[name].astype(np.float64) for name in ("running_mean", "running_variance"))
        rstd = 1 / np.sqrt(variance + operation.attributes["epsilon"])
        self._call(
            "batch_norm", operation.n_out, self._array(operation, "mean", mean, "float64"),
            self._array(operation, "rstd", rstd, "float64"), self._array(operation, "weight"),
            self._array(operation, "bias"), *self._ends(operation),
        )  # fmt: skip

    def _layer_norm(self, operation: Operation) -> None:
        epsilon = number(operation.attributes["epsilon"], "float64")
        weight, bias = self._array(operation, "weight"), self._array(operation, "bias")
        self._call("layer_norm", operation.n_out, epsilon, weight, bias, *self._ends(operation))

    def _add(self, operation: Operation) -> None:
        first, second = map(self._at, operation.inputs)
        self._call("add", operation.n_out, first, second, self._at(operation.name))

    def _concatenate(self, operation: Operation) -> None:
        at = 0
        for name in operation.inputs:
            width = self.graph.n_in if name == INPUT else self.graph[name].n_out
            self._call("copy", width, self._at(name), self._at(operation.name, at))
            at += width

    def _columns(self, operation: Operation) -> None:
        at = 0
        for column, count, name in operation.attributes["tables"]:
            x, y = self._at(operation.inputs[0], column), self._at(operation.name, at)
            if name is None:
                self._call("copy", count, x, y)
                at += count
            else:
                values, width = operation.parameters[name].shape
                self._call("look_up", count, values, width, self._array(operation, name), x, y)
                at += count * width

    _embedding = _columns

    # Activations.

    def _activate(self, operation: Operation) -> None:
        function, y = operation.activation, self._at(operation.name)
        if function != activations.identity:
            self._call(f"{_KERNEL.get(function.name, function.name)}_forward", *self._numbers(function, operation), y)

    def _numbers(self, function: ActivationFunction, operation: Operation) -> Iterator[Any]:
        """What its kernel takes before the row."""
        if function.name in ("softmax", "log_softmax"):
            yield 1
        yield operation.n_out
        if function.name in ("softmax", "log_softmax"):
            yield operation.n_out
        if function.name in ("sin", "cos"):
            yield "01"[function.name == "cos"]
        if function.name == "leaky_relu":
            yield self._number(function.slope)
        if function.name == "elu":
            yield from ("1", self._number(function.slope))
        if function.name == "selu":
            yield from map(self._number, (SELU_RIGHT, SELU_LEFT))


#: Of SELU: lambda, and lambda times alpha, as the core has them.
SELU_RIGHT, SELU_LEFT = 1.0507009873554804934193349852946, 1.7580993408473768599402175208123
_KERNEL = {"selu": "elu", "sin": "sine", "cos": "sine"}
