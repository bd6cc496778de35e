"""An engine that shows what is between: the numbers before and after each activation, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import _core, _validate, activations
from ..layers import INPUT
from . import engine
from .graph import Graph, Operation
from .storage import Storage

__all__ = ["Between", "Probe"]

Array = _validate.Array


class Between(NamedTuple):
    """What an operation has computed, there and back; each (rows, n_out)."""

    #: Before its activation, and after.
    z: Array
    output: Array
    #: The gradient with respect to each.
    dz: Array
    dy: Array


class Probe:
    """Runs a graph, in training mode or in evaluation mode, and reads its tape.

    Each activation is an operation of its own here, and what takes an output takes it from a copy: so z and output, and
    the gradients with respect to both, have places of their own on the tape. The sums are the same chains in the same
    order, so all numbers have the bits that the network's own engine gives them.

    Parameters
    ----------
    graph : Graph
    storage : Storage
        In which its arrays are views. Gradients and running statistics are written there.
    logits : bool
        Leave out the activation that the graph ends in.
    """

    def __init__(self, graph: Graph, storage: Storage, logits: bool) -> None:
        self._graph, self._logits = graph, logits
        self._apart = Graph(self._operations(), graph.n_in, graph.dtype)
        self._engine = engine.build(self._apart, storage)

    def forward(self, x: Array, seed: int, step: int, training: bool) -> Array:
        """The outputs, or the logits."""
        out = np.empty((len(x), self._graph.n_out), self._graph.dtype)
        self._engine.forward(x, out, seed, step, training)
        return out

    def backward(self, dy: Array, penalties: float) -> Array:
        """Write the gradients, those of the penalties so many times included; dx."""
        dx = np.empty((len(dy), self._graph.n_in), self._graph.dtype)
        self._engine.backward(dy, dx, penalties)
        return dx

    def penalty(self) -> float:
        """What the penalties of the layers add to the loss."""
        return self._engine.penalty()

    def between(self, x: Array) -> dict[str, Between]:
        """What the last forward, of x, and its backward left, by operation."""
        tape = dict(self._tape(len(x)))
        found = {}
        for operation in self._graph:
            output, dy = tape[_after(operation.name)]
            z, dz = tape.get(operation.name, (output, dy))
            if operation.kind == "activation":
                source = operation.inputs[0]
                z = x if source == INPUT else tape[_after(source)][0]
            elif operation.kind in ("dropout", "periodic"):  # which multiply their gradients where those lie
                dz = dy
            found[operation.name] = Between(z, output, dz, dy)
        return found

    def _operations(self) -> Iterator[Operation]:
        last = self._graph[-1].name
        for given in self._graph:
            fused = self._logits and given.name == last
            function = activations.identity if fused else given.activation
            alone = given.kind in ("activation", "python")
            inputs = tuple(name if name == INPUT else _after(name) for name in given.inputs)
            yield given.changed(inputs=inputs, activation=function if alone else activations.identity)
            name = given.name
            if function != activations.identity and not alone:
                yield _activation(given, _activated(name), name, function)
                name = _activated(name)
            yield _activation(given, _after(given.name), name, activations.identity)

    def _tape(self, rows: int) -> Iterator[tuple[str, tuple[Array, Array]]]:
        """Outputs and dz of each operation of a plan, by its name."""
        own = self._engine
        parts: list[Any] = [part for part, _ in own.parts] if isinstance(own, engine.Chain) else [own]
        for part, run in zip(parts, engine.runs(self._apart), strict=True):
            at = -1
            for operation in run if isinstance(part, _core.Plan) else ():
                at += len(operation.inputs) - 1 if operation.kind == "concatenate" else 1
                y, dz = (np.empty((rows, operation.n_out), self._graph.dtype) for _ in range(2))
                part.tape_of(at, y, dz)
                yield operation.name, (y, dz)


def _activated(name: str) -> str:
    return f"{name} activated"


def _after(name: str) -> str:
    """What hands on the output of an operation."""
    return f"{name} after"


def _activation(of: Operation, name: str, source: str, function: activations.ActivationFunction) -> Operation:
    return Operation(
        name, "activation", (source,), of.n_out, of.n_out, activation=function, attributes={}, parameters={},
        buffers={}, layer=None, key=of.key,
    )  # fmt: skip
