"""The chain rule for one number of a trace: from it to the loss, a line for each factor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..layers import INPUT
from . import formulas, steps, text
from .factors import MOST_UNITS, computed, loss_of_row, passed_back, products
from .formulas import at, factor, is_plain, number, put, terms
from .record import Step

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["explained"]


def explained(trace: Trace, name: str) -> str:
    """See `Trace.explain`."""
    plain, where = text.place(name)
    found = trace.at(name)
    if where is None and found.ndim:
        example = at(plain, *[0] * found.ndim)
        raise ValueError(f"name: expected one number, such as {example!r}, got all of {plain!r}")
    if where is None:
        return "\n".join(_whole_loss(trace)) if name == "loss" else f"{name} = {number(found)}"
    if plain == "losses":
        return "\n".join(_one_loss(trace, *where))
    owner = next((given for given in trace.parameters if plain == given or plain.startswith(f"{given}.")), None)
    if owner is not None:
        return "\n".join(_parameter(trace, owner, where))
    if plain == "dx":
        return f"dE/d {at(INPUT, *where)} = {passed_back(trace, INPUT, *where)[0]} = {number(found)}"
    step_name, _, word = plain.rpartition(".")
    lines = {"z": _z, "output": _output, "slope": _slope, "delta": _to_loss, "dy": _to_loss}.get(word)
    if lines is None or step_name not in trace.steps:
        return f"{name} = {number(found)}"
    return "\n".join(lines(trace, trace.steps[step_name], word, *where))


# Forward.


def _z(trace: Trace, step: Step, word: str, r: int, j: int) -> Iterator[str]:
    given = step.operation
    yield f"{at(f'{step.name}.z', r, j)}: {formulas.operation(given, step.fixed)}"
    shown = computed(trace, step, r, j)
    if shown:
        yield f"  = {shown}"
    yield f"  = {number(step.z[r, j])}"


def _output(trace: Trace, step: Step, word: str, r: int, j: int) -> Iterator[str]:
    formula = formulas.activation(step.operation.activation)
    yield f"{at(f'{step.name}.output', r, j)} = {formula}"
    if is_plain(formula):
        yield f"  = {put(formula, z=step.z[r, j])}"
    yield f"  = {number(step.output[r, j])}"
    yield from _z(trace, step, word, r, j)


def _slope(trace: Trace, step: Step, word: str, r: int, j: int) -> Iterator[str]:
    formula = formulas.slope(step.operation.activation)
    yield f"{at(f'{step.name}.slope', r, j)} = f'(z) = {formula}"
    if is_plain(formula):
        yield f"  = {put(formula, z=step.z[r, j], y=step.output[r, j])}"
    yield f"  = {number(trace.values[f'{step.name}.slope'][r, j])}"


def _one_loss(trace: Trace, r: int) -> Iterator[str]:
    yield f"{at('losses', r)}: {formulas.loss(trace.objective.loss) or repr(trace.objective.loss)}"
    shown = loss_of_row(trace, r)
    if shown:
        yield f"  = {shown}"
    yield f"  = {number(trace.values['losses'][r])}"


def _whole_loss(trace: Trace) -> Iterator[str]:
    yield f"loss = {text.reduced(trace)}"
    alone = loss_of_row(trace, 0) if len(trace.data) == 1 and trace.data.weights is None else ""
    if alone:
        yield f"  = {alone}{text.penalised(trace)}"
    yield f"  = {number(trace.value)}"


# Backward.


def _parameter(trace: Trace, name: str, where: tuple[int, ...]) -> Iterator[str]:
    """The gradient of a parameter, back to the loss, and its update."""
    gradient = trace.gradients[name]
    step = next(
        step for step in trace.steps.values() if name in (f"{step.name}.{own}" for own in step.operation.parameters)
    )  # fmt: skip
    yield f"dE/d {at(name, *where)} = {number(gradient[where])}"
    if step.operation.kind == "dense":
        source = step.operation.inputs[0]
        source = source if source == INPUT else f"{source}.output"
        factor = f"{at(source, 'r', where[0])} * " * (len(where) == 2)
        yield f"  = the sum over the rows r of {factor}{at(f'{step.name}.delta', 'r', where[-1])}"
    else:
        yield f"  of {formulas.operation(step.operation, step.fixed)}"
        formula = formulas.gradient(step.operation, name.removeprefix(f"{step.name}."))
        if formula:
            yield f"  = {formula}"
    if step.operation.kind != "python":
        yield f"  = {products(trace, step, name, where)}"
    if step.operation.kind == "dense" or len(where) == 1:
        unit = where[-1]
        for r in range(min(len(trace.data), 2)):
            yield from ("", f"row {r}", *_to_loss(trace, step, "delta", r, unit))
        if len(trace.data) > 2:
            yield from ("", f"and so on for the other rows: explain({at(f'{step.name}.delta', 2, unit)!r})")
    yield from _update(trace, name, where)


#: Operations that pass back to a number from all of their units.
_WIDE = ("dense", "layer_norm")


def _to_loss(trace: Trace, start: Step, word: str, r: int, j: int) -> Iterator[str]:
    """The gradients with respect to some number, and to those that it depends on, as far as the loss."""
    waiting: list[tuple[Step, str, int]] = [(start, word, j)]
    seen: set[tuple[str, str, int]] = set()
    widest = 0
    while waiting:
        step, word, j = waiting.pop(0)
        if (step.name, word, j) in seen:
            continue
        seen.add((step.name, word, j))
        if word == "delta" and step.dy is not None:
            if step.operation.activation.name == "identity":
                word = "dy"
            else:
                yield from _through_activation(step, r, j)
                mixes = step.slope is None
                widest = max(widest, step.operation.n_out if mixes else 0)
                units = range(min(step.operation.n_out, MOST_UNITS)) if mixes else (j,)
                waiting += [(step, "dy", k) for k in units]
                continue
        array = step.delta if step.dy is None else step.dy
        what = "z" if step.dy is None else "output"
        parts, following = passed_back(trace, step.name, r, j)
        yield f"  dE/d {at(f'{step.name}.{what}', r, j)} = {parts} = {number(array[r, j])}"
        waiting += [(reader, "delta", k) for reader, k in following]
        widest = max([widest, *(reader.operation.n_out for reader, _ in following if reader.operation.kind in _WIDE)])
    if widest > MOST_UNITS:
        yield f"  (of all units of a layer, the first {MOST_UNITS} are followed)"


def _through_activation(step: Step, r: int, j: int) -> Iterator[str]:
    function, name = step.operation.activation, at(f"{step.name}.z", r, j)
    formula = formulas.slope(function)
    if step.slope is None or step.dy is None:
        yield f"  dE/d {name} = {_mixed(step, r, j)} = {number(step.delta[r, j])}, of {formula}"
        return
    yield f"  dE/d {name} = dE/d {at(f'{step.name}.output', r, j)} * f'(z)"
    yield f"    = {terms([(step.dy[r, j], step.slope[r, j])])} = {number(step.delta[r, j])}"
    if is_plain(formula):
        shown = f"{formula} = {put(formula, z=step.z[r, j], y=step.output[r, j])} = {number(step.slope[r, j])}"
    else:
        shown = f"{number(step.slope[r, j])} at z = {number(step.z[r, j])}: {formula}"
    yield f"    with f'(z) = {shown}"


def _mixed(step: Step, r: int, j: int) -> str:
    """What softmax, or its logarithm, passes back to a number, which is of the whole row."""
    assert step.dy is not None
    y, dy = step.output[r], step.dy[r]
    if step.operation.activation.name == "softmax":
        return f"{number(y[j])} * ({factor(dy[j])} - ({terms(list(zip(dy, y, strict=True)))}))"
    return f"{factor(dy[j])} - e^{factor(y[j])} * {factor(dy.sum())}"


def _update(trace: Trace, name: str, where: tuple[int, ...]) -> Iterator[str]:
    update = trace.update
    if update is None:
        return
    made: Any = update.optimizer
    yield from ("", f"update: {made!r}, step {update.number}, learning rate {number(update.learning_rate)}")
    yield from formulas.rule(made)
    for word in text.states(trace):
        if name + word in trace.values:
            yield f"  {word[1:].replace('.', ' ')}: {number(trace.values[name + word][where])}"
    old, step, new = (trace.values[name + word][where] for word in ("", ".step", ".new"))
    if steps.frozen(trace, name):
        yield f"  {at(name, *where)} is of a frozen layer, and stays {number(old)}"
        return
    yield from (f"  {line}" for line in steps.stepped(trace, name, where))
    yield f"  {at(name, *where)}: {number(old)} becomes {number(new)}, a step of {number(step)}"
