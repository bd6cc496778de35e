"""A network as a list of named operations: what engines, exporters, traces and derivatives read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from .. import _validate, activations
from ..layers import INPUT

__all__ = ["Builder", "Graph", "Operation", "of_layers"]

Array = _validate.Array


class Operation:
    """One operation of a network.

    Attributes
    ----------
    name : str
        Where its layer is: "0", "1.0". The arrays of a model file are called after it: "0.weight".
    kind : str
        "dense", "activation", "dropout", "clip", "prelu", "scale", "layer_norm", "batch_norm", "embedding", "columns",
        "add" (of a `Residual`), "concatenate", "lerp" (of a `ParametricActivation`), "periodic", "piecewise_linear",
        "grouped_dense", or "python" for a custom layer.
    inputs : tuple of str
        The operations whose outputs it takes, or "input".
    n_in, n_out : int
        Features of a row of its first input, and of its output.
    activation : ActivationFunction
        What is applied to its result; ``identity`` where there is none.
    attributes : dict
        Its other numbers by name, such as ``rate`` and ``epsilon``.
    parameters, buffers : dict of str to numpy.ndarray
        Its arrays, as views into the network.
    layer : Layer or None
        The layer that it comes from.
    """

    def __init__(
        self, name: str, kind: str, inputs: tuple[str, ...], n_in: int, n_out: int, *,
        activation: activations.ActivationFunction, attributes: Mapping[str, Any], parameters: Mapping[str, Array],
        buffers: Mapping[str, Array], layer: Any, key: int,
    ) -> None:  # fmt: skip
        self.name, self.kind, self.inputs, self.n_in, self.n_out = name, kind, inputs, n_in, n_out
        self.activation, self.attributes, self.parameters, self.buffers = activation, attributes, parameters, buffers
        self.layer = layer
        #: How many layers come before its own: a dropout mask depends on it.
        self.key = key

    def changed(self, **changes: Any) -> Operation:
        """The same, but for these attributes."""
        return Operation(**{**vars(self), **changes})

    def __repr__(self) -> str:
        return f"<Operation {' '.join(self._cells()).strip()}>"

    def _cells(self) -> tuple[str, ...]:
        """What is said of it, column by column."""
        arrays = [f"{name} {array.shape}" for name, array in {**self.parameters, **self.buffers}.items()]
        words = [self.activation.name] * (self.activation != activations.identity)
        words += [f"{name}={_validate.shown(value)}" for name, value in self.attributes.items()]
        words += [repr(self.layer)] * (self.kind == "python")
        return self.name, self.kind, " + ".join(self.inputs), f"-> (batch, {self.n_out})", ", ".join(words + arrays)


class Graph(Sequence[Operation]):
    """The operations of a network, in the order in which they are computed; the last one's output is the network's.

    `Sequential.graph` makes it. It is printed as a table; an operation is found by its place or by its name.

    Parameters
    ----------
    operations : iterable of Operation
        Each takes the outputs of earlier ones, or the input.
    n_in : int
        Features of a row of the input.
    dtype : numpy.dtype
        Of the arithmetic.

    Attributes
    ----------
    n_in, n_out : int
        Features of a row of the input and of the output.
    dtype : numpy.dtype
    """

    def __init__(self, operations: Iterable[Operation], n_in: int, dtype: np.dtype[Any]) -> None:
        self._operations = tuple(operations)
        self._by_name = {operation.name: operation for operation in self._operations}
        self.n_in, self.dtype = n_in, dtype

    @property
    def n_out(self) -> int:
        """Features of a row of the output."""
        return self._operations[-1].n_out if self._operations else self.n_in

    @overload
    def __getitem__(self, which: int | str) -> Operation: ...

    @overload
    def __getitem__(self, which: slice) -> Sequence[Operation]: ...

    def __getitem__(self, which: int | str | slice) -> Operation | Sequence[Operation]:
        return self._by_name[which] if isinstance(which, str) else self._operations[which]

    def __len__(self) -> int:
        return len(self._operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations)

    def __str__(self) -> str:
        rows = [(INPUT, "", "", f"-> (batch, {self.n_in})", ""), *(operation._cells() for operation in self)]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        return "\n".join(" ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def __repr__(self) -> str:
        return f"<Graph of {len(self)} operations, {self.n_in} -> {self.n_out}, {self.dtype.name}>"

    @property
    def tables(self) -> list[tuple[int, int, int]]:
        """The first of some columns of the input that name rows of a table, how many they are, and its rows."""
        return [
            (column, count, len(operation.parameters[name]))
            for operation in self
            for column, count, name in operation.attributes.get("tables", ())
            if name is not None
        ]

    def before(self, name: str) -> Graph:
        """What computes the input of an operation; without operations where that is the input of the network."""
        source = self[name].inputs[0]
        return Graph((), self.n_in, self.dtype) if source == INPUT else self.until(source)

    def until(self, name: str) -> Graph:
        """What computes the output of an operation."""
        return Graph(self._operations[: 1 + self._operations.index(self[name])], self.n_in, self.dtype)

    def for_inference(self, *, fold_batch_norms: bool = True) -> Graph:
        """The graph of a trained network that only predicts.

        Parameters
        ----------
        fold_batch_norms : bool, default True
            Multiply a batch norm that follows a dense operation without an activation, or stands before a dense
            operation, into its weights. Those are copies then, and the outputs the same up to rounding. Otherwise
            outputs are the same to the last bit.

        Returns
        -------
        Graph
            Without dropout.
        """
        graph = self
        for operation in self:
            if operation.kind == "dropout":
                graph = graph._without(graph[operation.name])
        for operation in self if fold_batch_norms else ():
            if operation.kind == "batch_norm":
                graph = graph._folded(graph[operation.name])
        return graph

    def _without(self, dropped: Operation, *changed: Operation) -> Graph:
        """Without an operation that hands on its input, and with others in the place of those of their names."""
        new = {operation.name: operation for operation in changed}
        source = dropped.inputs[0]
        kept = [new.get(operation.name, operation) for operation in self if operation.name != dropped.name]
        return Graph(
            [
                op.changed(inputs=tuple(source if name == dropped.name else name for name in op.inputs))
                for op in kept
            ],
            self.n_in, self.dtype,
        )  # fmt: skip

    def _folded(self, norm: Operation) -> Graph:
        """With a batch norm in the weights before it, or after it, where it is all that stands between."""
        readers = Counter(name for operation in self for name in operation.inputs)
        factor, shift = _affine(norm)
        source = self._by_name.get(norm.inputs[0])
        if (
            source is not None and source.kind == "dense" and source.activation == activations.identity
            and readers[source.name] == 1
        ):  # fmt: skip
            weight, bias = _dense(source)
            return self._without(norm, self._dense_of(source, weight * factor, bias * factor + shift))
        after = next((operation for operation in self if norm.name in operation.inputs), None)
        if after is not None and after.kind == "dense" and readers[norm.name] == 1:
            weight, bias = _dense(after)
            return self._without(norm, self._dense_of(after, factor[:, None] * weight, bias + shift @ weight))
        return self

    def _dense_of(self, operation: Operation, weight: Array, bias: Array) -> Operation:
        parameters = {"weight": weight.astype(self.dtype), "bias": bias.astype(self.dtype)}
        return operation.changed(parameters=parameters, layer=None)


def _dense(operation: Operation) -> tuple[Array, Array]:
    """Weight and bias in double."""
    weight = operation.parameters["weight"].astype(np.float64)
    bias = operation.parameters.get("bias")
    return weight, np.zeros(weight.shape[1]) if bias is None else bias.astype(np.float64)


def _affine(norm: Operation) -> tuple[Array, Array]:
    """A batch norm in evaluation mode as x factor + shift."""
    arrays = {name: array.astype(np.float64) for name, array in {**norm.parameters, **norm.buffers}.items()}
    factor = arrays["weight"] / np.sqrt(arrays["running_variance"] + norm.attributes["epsilon"])
    return factor, arrays["bias"] - arrays["running_mean"] * factor


class Builder:
    """Collects the operations that the layers of a network become; see `Layer.operations`."""

    def __init__(self, n_in: int) -> None:
        self.operations: list[Operation] = []
        self._features = {INPUT: n_in}
        self._layers = 0

    def add(
        self, layer: Any, name: str, *inputs: str, attributes: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Array] | None = None, part: bool = False, activation: Any = None,
    ) -> str:  # fmt: skip
        """An operation of a layer, which takes these outputs; its name.

        By default, attributes, parameters and activation are those that the layer declares. What only puts the outputs
        of other layers together is a part of them.
        """
        if parameters is None:
            parameters = {array: getattr(layer, array) for array in layer.shapes()}
        if attributes is None:
            attributes = {name: getattr(layer, name) for name in (layer.attributes if layer.compiled else ())}
        self.operations.append(
            Operation(
                name, layer.operation if layer.compiled else "python", inputs, self._features[inputs[0]], layer.n_out,
                activation=activation or layer.activation, attributes=attributes, parameters=parameters,
                buffers={array: getattr(layer, array) for array in layer.buffers()}, layer=layer, key=self._layers,
            )
        )  # fmt: skip
        self._features[name] = layer.n_out
        self._layers += not part
        return name

    def chain(self, layers: Iterable[Any], source: str, place: str = "") -> str:
        """The operations of layers that follow one another, in this place; the last of them, or the source."""
        for i, layer in enumerate(layers):
            name = f"{place}{i}"
            source = layer.operations(self, source, name) if layer.compiled else self.add(layer, name, source)
        return source


def of_layers(layers: Sequence[Any], n_in: int, dtype: np.dtype[Any]) -> Graph:
    """The graph of layers that follow one another, once they have their arrays."""
    builder = Builder(n_in)
    builder.chain(layers, INPUT)
    return Graph(builder.operations, n_in, dtype)
