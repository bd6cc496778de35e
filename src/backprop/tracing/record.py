"""One training step on a few rows, written down: the pass forward and back, and the update."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import _core, _validate, activations, optimizers
from ..layers import INPUT
from ..program.data import Data
from ..program.engine import build
from ..program.graph import Graph, Operation
from ..program.objective import Objective
from ..program.probe import Between, Probe

__all__ = ["Mode", "Pass", "Places", "Step", "Update", "run", "update", "value"]

Array = _validate.Array


class Places:
    """Where the parameters of a graph lie in the flat vectors, by their names in a model file."""

    def __init__(self, net: Any, graph: Graph) -> None:
        self.places = {
            f"{operation.name}.{name}": (net._storage.offset(array), array.shape)
            for operation in graph
            for name, array in operation.parameters.items()
        }

    def of(self, vector: Array) -> dict[str, Array]:
        """Copies of the parts of a flat vector."""
        return {
            name: vector[begin : begin + math.prod(shape)].reshape(shape).copy()
            for name, (begin, shape) in self.places.items()
        }


class Step:
    """What one operation has computed.

    Attributes
    ----------
    operation : Operation
    inputs : tuple of numpy.ndarray
        The outputs that it takes, each (rows, features).
    z, output : numpy.ndarray, shape (rows, n_out)
        Before its activation, and after; the same where there is none.
    slope : numpy.ndarray or None
        The derivative of the activation at z; None where that is not elementwise.
    dy : numpy.ndarray or None
        The gradient with respect to the output; None where the loss is computed on z, the logits.
    delta : numpy.ndarray
        The gradient with respect to z.
    more : dict of str to numpy.ndarray
        The "mask" of a dropout, "mean" and "variance" of a norm; "running_mean.before", "running_mean.after" and so on;
        the "wave_slope" of a periodic operation, the derivative of its outputs with respect to their angles.
    fixed : bool
        Whether it is a batch norm that goes by its running statistics, or a dropout that drops nothing.
    """

    def __init__(
        self, operation: Operation, inputs: tuple[Array, ...], found: Between, more: Mapping[str, Array], fused: bool,
        fixed: bool,
    ) -> None:  # fmt: skip
        self.operation, self.inputs, self.more, self.fixed = operation, inputs, dict(more), fixed
        self.z, self.output, self.delta = found.z, found.output, found.dz
        self.dy = None if fused else found.dy
        self.slope = _slope(operation.activation, self.z, self.output)
        if fused:
            self.output = self.z.copy()
            operation.activation.apply(self.output)

    @property
    def name(self) -> str:
        """That of its operation."""
        return self.operation.name

    def __repr__(self) -> str:
        return f"<Step of {self.operation!r}>"


def _slope(function: activations.ActivationFunction, z: Array, y: Array) -> Array | None:
    """f'(z), by the core's own backward of a gradient of 1."""
    if function.name in ("softmax", "log_softmax"):
        return None
    slope = np.ones_like(z)
    _core.activate_backward(function.code, function.slope, y, slope, z)
    return slope


class Pass(NamedTuple):
    """The way forward and back."""

    value: float
    #: The loss of each row, before weights; None where a called loss does not tell.
    losses: Array | None
    #: What the penalties add to the value.
    penalty: float
    steps: dict[str, Step]
    gradients: Array
    dx: Array


class Mode(NamedTuple):
    """How the way forward is gone."""

    #: What the dropout masks depend on.
    seed: int
    step: int
    #: Training mode, or evaluation mode.
    training: bool


def value(probe: Probe, objective: Objective, data: Data, mode: Mode) -> float:
    """The loss, with penalties."""
    found = probe.forward(data.x, *mode)
    return objective.value(found, data) + objective.penalty_factor(data) * probe.penalty()


def run(net: Any, graph: Graph, objective: Objective, data: Data, mode: Mode) -> Pass:
    """Forward and back, as a step of training would, or in evaluation mode."""
    probe, before = Probe(graph, net._storage, objective.on_logits), net.buffers.copy()
    found = probe.forward(data.x, *mode)
    loss, dy = objective.value_and_gradient(found, data)
    factor = objective.penalty_factor(data)
    penalty = factor * probe.penalty()
    if dy is None or not math.isfinite(loss + penalty):
        raise ValueError(f"loss: expected a finite number to trace, got {loss + penalty:g}: scale x and y")
    dx = probe.backward(dy, factor)
    steps = _steps(net, graph, probe.between(data.x), data.x, objective, mode)
    if mode.training:
        _note_statistics(net, steps, before)
    losses = _losses(objective, found, data)
    gradients, total = net.gradients.copy(), loss + penalty
    in_core = mode.training and net._plan is not None and objective.compiled
    if penalty and in_core:  # which adds the rows to the penalties
        total, _ = net._value_and_gradient(data, objective, net.seed)
    return Pass(total, losses, penalty, steps, gradients, dx)


def _steps(
    net: Any, graph: Graph, found: Mapping[str, Between], x: Array, objective: Objective, mode: Mode
) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for operation in (_at_step(given, mode.step) for given in graph):
        inputs = tuple(x if name == INPUT else steps[name].output for name in operation.inputs)
        fused = objective.on_logits and operation.name == graph[-1].name
        more = _more(net, operation, inputs[0], mode)
        fixed = _is_fixed(operation, len(x), mode)
        steps[operation.name] = Step(operation, inputs, found[operation.name], more, fused, fixed)
    return steps


def _at_step(operation: Operation, step: int) -> Operation:
    """With the number that a schedule comes to."""
    rate: Any = operation.attributes.get("rate")
    if not callable(rate):
        return operation
    at: Any = rate(step)
    return operation.changed(attributes={**operation.attributes, "rate": float(at)})


def _more(net: Any, operation: Operation, x: Array, mode: Mode) -> dict[str, Array]:
    """What an operation takes of its rows beside their numbers."""
    if operation.kind == "dropout":
        return {"mask": _mask(net, operation, len(x), mode)} if mode.training else {}
    if operation.kind == "periodic":
        return {"wave_slope": _wave_slope(net, operation, x)}
    wide = x.astype(np.float64)
    if operation.kind == "layer_norm":
        return {"mean": wide.mean(axis=1), "variance": wide.var(axis=1)}
    if operation.kind == "batch_norm":
        if _is_fixed(operation, len(x), mode):
            mean, variance = (operation.buffers[f"running_{name}"].copy() for name in ("mean", "variance"))
            return {"mean": mean, "variance": variance}
        return {"mean": wide.mean(axis=0), "variance": wide.var(axis=0)}
    return {}


def _note_statistics(net: Any, steps: Mapping[str, Step], before: Array) -> None:
    """The running statistics before the pass, and after it."""
    for step in steps.values():
        for name, after in step.operation.buffers.items():
            begin = net._storage.buffer_offset(after)
            step.more[f"{name}.before"] = before[begin : begin + after.size].reshape(after.shape)
            step.more[f"{name}.after"] = after.copy()


def _is_fixed(operation: Operation, rows: int, mode: Mode) -> bool:
    """Whether a batch norm goes by its running statistics, or a dropout drops nothing."""
    if operation.kind == "batch_norm":
        return not mode.training or rows == 1 or bool(operation.layer.frozen)
    return operation.kind == "dropout" and not mode.training


def _alone(net: Any, operation: Operation) -> Any:
    """What runs this operation and no other."""
    return build(Graph([operation.changed(inputs=(INPUT,))], operation.n_in, net.dtype), net._storage)


def _wave_slope(net: Any, operation: Operation, x: Array) -> Array:
    """What waves multiply a gradient of 1 by."""
    alone, (y, slope) = _alone(net, operation), (np.ones((len(x), operation.n_out), net.dtype) for _ in range(2))
    alone.forward(np.ascontiguousarray(x), y)
    alone.backward(slope, parameters=False)
    alone.tape_of(0, y, slope)
    return slope


def _mask(net: Any, operation: Operation, rows: int, mode: Mode) -> Array:
    """What each number is multiplied by: 0, or 1 / (1 - rate)."""
    alone = _alone(net, operation)
    mask = np.empty((rows, operation.n_out), net.dtype)
    alone.forward(np.ones_like(mask), mask, *mode)
    return mask


def _losses(objective: Objective, found: Array, data: Data) -> Array | None:
    loss = objective.loss
    if objective.compiled:
        values, dy = np.empty(len(found)), np.empty_like(found)
        _core.loss(loss.lower(objective.on_logits), found, data.target, data.labels, None, 1.0, values, dy)
        return values
    if loss.reduction != "none":
        return None
    return np.asarray(loss(found, data.y)[0], np.float64)


class Update(NamedTuple):
    """A step of the optimizer.

    Attributes
    ----------
    optimizer : Optimizer
        As it is after the step: a copy.
    number : int
        Which step it is, from 1.
    learning_rate : float
    before, after : dict of str to numpy.ndarray
        Its state, as flat vectors.
    parameters : numpy.ndarray
        Flat, after the step.
    weight_decay : float
    """

    optimizer: optimizers.Optimizer
    number: int
    learning_rate: float
    before: dict[str, Array]
    after: dict[str, Array]
    parameters: Array
    weight_decay: float


def update(net: Any, given: Any, found: Pass, data: Data, objective: Objective) -> Update:
    """What a copy of the optimizer does to the network, which has the gradients of the pass."""
    original = optimizers.get(given)
    made = copy.deepcopy(original)
    made._owner = original._owner  # which refuses another network
    made.ready(net)
    rate, decay = float(made.rates(1)[0]), float(made.decays(1)[0])
    before = {name: vector.copy() for name, vector in made.state.items()}
    if isinstance(made, optimizers.FullBatch):
        made.minimize(net, lambda: net._value_and_gradient(data, objective, net.seed), 1)
    else:
        net.gradients[...] = found.gradients
        made.step(net)
    after = {name: vector.copy() for name, vector in made.state.items()}
    return Update(made, original.steps + 1, rate, before, after, net.parameters.copy(), decay)
