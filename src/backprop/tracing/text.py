"""A trace as a worked example, in text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate
from ..layers import INPUT
from . import formulas
from .factors import passed_back, products, summed
from .formulas import at, number, terms
from .record import Step

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["corrections", "place", "short", "states", "whole", "worked"]

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
    match = re.fullmatch(r"(.*?)(?:\[([\d, ]*)\])?", name)
    if match is None or match[2] is None:
        return name, None
    return match[1], tuple(int(word) for word in re.findall(r"\d+", match[2]))


def worked(trace: Trace) -> str:
    """All of it, shortened."""
    return "\n".join(_lines(trace))


def _lines(trace: Trace) -> Iterator[str]:
    rows = len(trace.data)
    yield f"{rows} row{'s' * (rows > 1)} through {len(trace.steps)} operations, {trace.graph.dtype.name}"
    yield from _array("input x", trace.data.x)
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
    yield f"  {formulas.operation(given)}"
    for name, array in step.more.items():
        yield from _array(name, array)
    if given.kind == "dense":
        name = f"{given.name}.z"
        yield from _some(
            (given.n_out,), lambda j: f"{at(name, 0, j)} = {summed(trace, step, 0, j)} = {number(step.z[0, j])}"
        )
    if given.activation.name == "identity":
        yield from _array("y", step.output)
        return
    yield from _array("z", step.z)
    yield f"  y = {formulas.activation(given.activation)}"
    yield from _array("y", step.output)


def _loss(trace: Trace) -> Iterator[str]:
    objective, data = trace.objective, trace.data
    end = trace.graph[-1].activation
    yield f"  {objective.loss!r}: {formulas.loss(objective.loss) or 'a callable'}"
    yield f"  {formulas.logits(objective, end)}"
    yield from _array("y", np.asarray(data.y))
    yield from _array("y_hat", trace.steps[trace.graph[-1].name].output)
    if trace.losses is not None:
        yield from _array("l of each row", trace.losses)
    if data.weights is not None:
        yield from _array("weight of each row", data.weights)
    how = "sum(w l) / sum(w)" if objective.mean else "sum(w l)"
    if trace.losses is None:
        how = "what it returns"
    if trace.penalty:
        how += f" + {number(trace.penalty)} of the penalties on the weights"
    yield f"  E = {how} = {number(trace.value)}"


def _backward(trace: Trace, step: Step) -> Iterator[str]:
    given = step.operation
    yield ""
    yield f"{given.name} {given.kind}"
    if step.dy is None:
        yield "  the loss gives dE/dz at once: it is computed on the logits"
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


def _passed(trace: Trace, name: str, called: str, array: Array) -> Iterator[str]:
    """What is passed back to the outputs of the first row; where that is handed on as it is, by what."""
    readers = [step.operation for step in trace.steps.values() if name in step.operation.inputs]
    if readers and not {"dense", "dropout", "prelu", "scale"} & {reader.kind for reader in readers}:
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
    for letter, slot, factor in corrections(trace):
        yield f"  {letter}' = {letter} / {number(factor)}, with {letter} = {slot} after"
    for name in trace.parameters:
        yield from ("", f"  {name}")
        for word in ("", ".gradient", *states(trace), ".step", ".new"):
            if name + word in trace.values:
                label = {"": "before", ".new": "after", ".gradient": "gradient"}.get(word, word[1:].replace(".", " "))
                yield from _array(label, trace.values[name + word], "    ")


def states(trace: Trace) -> list[str]:
    """The names of an optimizer's state, before and after."""
    update = trace.update
    slots = [] if update is None else list(dict.fromkeys([*update.before, *update.after]))
    return [f".{slot}.{when}" for slot in slots for when in ("before", "after")]


def corrections(trace: Trace) -> list[tuple[str, str, float]]:
    """The moments of Adam and its like: letter, state vector, and what the bias correction divides it by."""
    update = trace.update
    if update is None or update.optimizer.kernel not in ("adam", "adamw", "radam"):
        return []
    made: Any = update.optimizer
    second = "largest" if "largest" in update.after else "square"
    pairs = ("m", "mean", made.beta1), ("v", second, made.beta2)
    return [(letter, slot, 1 - beta**update.number) for letter, slot, beta in pairs]
