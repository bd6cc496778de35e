"""A trace as a worked example, in text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate
from ..layers import INPUT
from . import formulas, steps
from .factors import computed, loss_of_row, passed_back, products
from .formulas import at, is_plain, number, plus, put, terms
from .record import Step

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["penalised", "place", "reduced", "short", "states", "whole", "worked"]

Array = _validate.Array
#: So many lines of one kind are printed in full; of more, the first and the last ones.
MOST_LINES, ENDS = 8, 3


def whole(array: Array) -> str:
    """All numbers of an array, six significant digits each."""
    return _printed(array, 2**62)


def short(array: Array) -> str:
    """The same; of long rows and columns the middle is left out."""
    return _printed(array, 40)


def _printed(array: Array, threshold: int) -> str:
    format_: Any = {"float_kind": number}
    return np.array2string(
        np.asarray(array), threshold=threshold, edgeitems=3, max_line_width=88, separator=" ", formatter=format_
    )


def place(name: str) -> tuple[str, tuple[int, ...] | None]:
    """A name, and the place within it that follows in brackets."""
    if not isinstance(name, str):
        raise TypeError(f"name: expected a name, such as '0.weight[0,1]', got {_validate.shown(name)}")
    match = re.fullmatch(r"(.*?)(?:\[([\d, ]*)\])?", name)
    if match is None or match[2] is None:
        return name, None
    return match[1], tuple(int(word) for word in re.findall(r"\d+", match[2]))


def worked(trace: Trace) -> str:
    """All of it, shortened."""
    return "\n".join(_lines(trace))


def _lines(trace: Trace) -> Iterator[str]:
    rows = len(trace.data)
    mode = "" if trace.training else ", in evaluation mode: without dropout, by running statistics"
    operations = f"{len(trace.steps)} operation{'s' * (len(trace.steps) > 1)}"
    yield f"{rows} row{'s' * (rows > 1)} through {operations}, {trace.graph.dtype.name}{mode}"
    yield from _array("input x", trace.data.x)
    names = trace.feature_names
    if names is not None:
        x = trace.data.x
        yield from _some((len(names),), lambda j: f"{at(INPUT, 0, j)} = {number(x[0, j])}, {names[j]}")
    yield from ("", "Forward")
    for step in trace.steps.values():
        yield from _forward(trace, step)
    yield from ("", "Loss", *_loss(trace))
    yield from ("", "Backward")
    for step in reversed(trace.steps.values()):
        yield from _backward(trace, step)
    yield ""
    yield from _passed(trace, INPUT, "dx", trace.dx)
    yield from _array("dE/dx", trace.dx)
    if trace.update is not None:
        yield from ("", "Update", *_update(trace))


def _array(name: str, array: Array, indent: str = "  ") -> Iterator[str]:
    head = f"{indent}{name} = "
    yield head + short(array).replace("\n", "\n" + " " * len(head))


def _some(shape: tuple[int, ...], line: Callable[..., str]) -> Iterator[str]:
    """A line for each place of an array; of many, for the first and the last ones."""
    size = math.prod(shape)
    chosen = range(size) if size <= MOST_LINES else [*range(ENDS), *range(size - ENDS, size)]
    for k, i in enumerate(chosen):
        if k == ENDS and size > MOST_LINES:
            yield "    ..."
        yield f"    {line(*map(int, np.unravel_index(i, shape)))}"


def _forward(trace: Trace, step: Step) -> Iterator[str]:
    given = step.operation
    yield ""
    yield f"{given!r}"[len("<Operation ") : -1]
    yield f"  {formulas.operation(given, step.fixed)}"
    for name, array in step.more.items():
        yield from _array(name, array)
    if any(computed(trace, step, 0, j) for j in range(given.n_out)):
        name = f"{given.name}.z"
        yield from _some((given.n_out,), lambda j: _equation(at(name, 0, j), computed(trace, step, 0, j), step.z[0, j]))
    if given.activation.name == "identity":
        yield from _array("y", step.output)
        return
    yield from _array("z", step.z)
    formula = formulas.activation(given.activation)
    yield f"  y = {formula}"
    if is_plain(formula):
        name = f"{given.name}.output"
        yield from _some(
            (given.n_out,), lambda j: _equation(at(name, 0, j), put(formula, z=step.z[0, j]), step.output[0, j])
        )
    yield from _array("y", step.output)


def _equation(name: str, expression: str, value: Any) -> str:
    """A number, and what it is computed from where that is told."""
    return " = ".join([name, *[expression] * bool(expression), number(value)])


def _loss(trace: Trace) -> Iterator[str]:
    objective, data = trace.objective, trace.data
    end = trace.graph[-1].activation
    yield f"  {objective.loss!r}: {formulas.loss(objective.loss) or 'a callable'}"
    yield f"  {formulas.logits(objective, end)}"
    yield from _array("y", np.asarray(data.y))
    yield from _array("y_hat", trace.steps[trace.graph[-1].name].output)
    losses = trace.losses
    if losses is not None:
        if loss_of_row(trace, 0):
            yield from _some(losses.shape, lambda r: _equation(at("losses", r), loss_of_row(trace, r), losses[r]))
        else:
            yield from _array("l of each row", losses)
    if data.weights is not None:
        yield from _array("weight of each row", data.weights)
    yield f"  E = {reduced(trace)} = {number(trace.value)}"


def reduced(trace: Trace) -> str:
    """How the loss of all rows comes of theirs, with the numbers put in."""
    losses, weights, mean = trace.losses, trace.data.weights, trace.objective.mean
    if losses is None:
        how = "what it returns"
    elif weights is None:
        how = plus([number(each) for each in losses])
        how = f"the mean of l = ({how}) / {len(losses)}" if mean and len(losses) > 1 else f"the sum of l = {how}"
        how = "l" if len(losses) == 1 else how
    else:
        products = terms(list(zip(weights, losses, strict=True)))
        total = plus([number(weight) for weight in weights])
        how = f"sum(w l) / sum(w) = ({products}) / ({total})" if mean else f"sum(w l) = {products}"
    return how + penalised(trace)


def penalised(trace: Trace) -> str:
    """What the penalties add to the loss of the rows."""
    return f" + {number(trace.penalty)} of the penalties on the weights" if trace.penalty else ""


def _backward(trace: Trace, step: Step) -> Iterator[str]:
    given = step.operation
    yield ""
    yield f"{given.name} {given.kind}"
    if step.dy is None:
        yield "  the loss gives dE/dz at once: it is computed on the logits"
        yield from _passed(trace, given.name, f"{given.name}.delta", step.delta)
    else:
        yield from _passed(trace, given.name, f"{given.name}.dy", step.dy)
        yield from _array("dE/dy", step.dy)
    if step.dy is not None and given.activation.name != "identity":
        yield f"  dE/dz = dE/dy f'(z), f'(z) = {formulas.slope(given.activation)}"
        yield from _slopes(step)
    if step.dy is None or given.activation.name != "identity":
        yield from _array("dE/dz", step.delta)
    for name in given.parameters:
        yield from _gradient(trace, step, f"{given.name}.{name}")


def _slopes(step: Step) -> Iterator[str]:
    """From dE/dy to dE/dz, where the activation is elementwise."""
    dy, slope, name = step.dy, step.slope, f"{step.name}.delta"
    if dy is None or slope is None:
        return
    yield from _some(
        dy.shape[1:],
        lambda j: f"{at(name, 0, j)} = {terms([(dy[0, j], slope[0, j])])} = {number(step.delta[0, j])}",
    )


#: What a number is passed back through is shown for these; the others hand it on as it is.
_SHOWN = {
    "dense", "dropout", "prelu", "scale", "batch_norm", "layer_norm", "lerp", "periodic", "piecewise_linear",
    "grouped_dense",
}  # fmt: skip


def _passed(trace: Trace, name: str, called: str, array: Array) -> Iterator[str]:
    """What is passed back to the outputs of the first row; where that is handed on as it is, by what."""
    readers = [step.operation for step in trace.steps.values() if name in step.operation.inputs]
    for reader in readers:
        if formulas.passed(reader) and not trace.steps[reader.name].fixed:
            yield f"  {reader.name}, {reader.kind}, passes back {formulas.passed(reader)}"
    if readers and not _SHOWN & {reader.kind for reader in readers}:
        yield f"  dE/dy comes from {' and '.join(f'{reader.name}, {reader.kind}' for reader in readers)}"
        return
    yield from _some(
        array.shape[1:],
        lambda j: f"{at(called, 0, j)} = {passed_back(trace, name, 0, j)[0]} = {number(array[0, j])}",
    )


def _gradient(trace: Trace, step: Step, name: str) -> Iterator[str]:
    """A gradient, and the products that it is the sum of."""
    array = trace.gradients[name]
    formula = formulas.gradient(step.operation, name.removeprefix(f"{step.name}."))
    if formula and not (name.endswith(".bias") and len(trace.data) == 1):  # which is dE/dz itself
        yield f"  dE/d {name} = {formula}"
        called = f"{name}.gradient"
        yield from _some(
            array.shape,
            lambda *where: f"{at(called, *where)} = {products(trace, step, name, where)} = {number(array[where])}",
        )
    yield from _array(f"dE/d {name}", array)


def _update(trace: Trace) -> Iterator[str]:
    update = trace.update
    assert update is not None
    yield f"  {update.optimizer!r}, step {update.number}, learning rate {number(update.learning_rate)}"
    yield from formulas.rule(update.optimizer)
    for name, array in trace.parameters.items():
        yield from ("", f"  {name}" + ", of a frozen layer" * steps.frozen(trace, name))
        for word in ("", ".gradient", *states(trace), ".step", ".new"):
            if word == ".step":
                yield from _new(trace, name, array)
            if name + word in trace.values:
                label = {"": "before", ".new": "after", ".gradient": "gradient"}.get(word, word[1:].replace(".", " "))
                yield from _array(label, trace.values[name + word], "    ")


def _new(trace: Trace, name: str, array: Array) -> Iterator[str]:
    """How the first new value comes about, and the last step to the others."""
    first = (0,) * array.ndim
    lines = steps.stepped(trace, name, first) if array.size else []
    if not lines:
        return
    if len(lines) > 1:
        yield from (f"    {line}, for {at(name, *first)}" for line in lines[:-1])
    called = f"{name}.new"
    yield from _some(array.shape, lambda *where: f"{at(called, *where)} = {steps.new_value(trace, name, where)}")


def states(trace: Trace) -> list[str]:
    """The names of an optimizer's state, before and after."""
    update = trace.update
    slots = [] if update is None else list(dict.fromkeys([*update.before, *update.after]))
    return [f".{slot}.{when}" for slot in slots for when in ("before", "after")]
