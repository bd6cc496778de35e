"""The chain rule for one number of a trace: from it to the loss, a line for each factor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import formulas, text
from .formulas import number, put, terms
from .record import Step
from .text import at

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["explained"]

#: So many units of a wide layer are followed to the loss.
MOST_UNITS = 4


def explained(trace: Trace, name: str) -> str:
    """See `Trace.explain`."""
    plain, where = text.place(name)
    found = trace.at(name)
    if where is None:
        example = at(plain, *[0] * found.ndim)
        raise ValueError(f"name: expected one number, such as {example!r}, got all of {plain!r}")
    owner = next((given for given in trace.parameters if plain == given or plain.startswith(f"{given}.")), None)
    if owner is not None:
        return "\n".join(_parameter(trace, owner, where))
    step_name, _, word = plain.rpartition(".")
    lines = {"z": _z, "output": _output, "slope": _slope, "delta": _to_loss, "dy": _to_loss}.get(word)
    if lines is None or step_name not in trace.steps:
        return f"{name} = {number(found)}"
    return "\n".join(lines(trace, trace.steps[step_name], word, *where))


# Forward.


def _z(trace: Trace, step: Step, word: str, r: int, j: int) -> Iterator[str]:
    given = step.operation
    yield f"{at(f'{step.name}.z', r, j)}: {formulas.operation(given)}"
    if given.kind == "dense":
        bias = trace.parameters.get(f"{step.name}.bias")
        weight = trace.parameters[f"{step.name}.weight"]
        pairs = list(zip(step.inputs[0][r], weight[:, j], strict=True))
        yield f"  = {terms(pairs, None if bias is None else bias[j])}"
    yield f"  = {number(step.z[r, j])}"


def _output(trace: Trace, step: Step, word: str, r: int, j: int) -> Iterator[str]:
    formula = formulas.activation(step.operation.activation)
    yield f"{at(f'{step.name}.output', r, j)} = {formula}"
    if " where " not in formula and "_" not in formula:
        yield f"  = {put(formula, z=step.z[r, j])}"
    yield f"  = {number(step.output[r, j])}"
    yield from _z(trace, step, word, r, j)


def _slope(trace: Trace, step: Step, word: str, r: int, j: int) -> Iterator[str]:
    assert step.slope is not None
    formula = formulas.slope(step.operation.activation)
    yield f"{at(f'{step.name}.slope', r, j)} = f'(z) = {formula}"
    if " where " not in formula:
        yield f"  = {put(formula, z=step.z[r, j], y=step.output[r, j])}"
    yield f"  = {number(step.slope[r, j])}"


# Backward.


def _parameter(trace: Trace, name: str, where: tuple[int, ...]) -> Iterator[str]:
    """The gradient of a parameter, back to the loss, and its update."""
    gradient = trace.gradients[name]
    step = next(
        step for step in trace.steps.values() if name in (f"{step.name}.{own}" for own in step.operation.parameters)
    )  # fmt: skip
    yield f"dE/d {at(name, *where)} = {number(gradient[where])}"
    if step.operation.kind == "dense":
        factor = f"{at(f'{step.name}.x', 'r', where[0])} * " * (len(where) == 2)
        yield f"  = the sum over the rows r of {factor}{at(f'{step.name}.delta', 'r', where[-1])}"
        yield f"  = {text.products(trace, step, name, where)}"
        unit = where[-1]
    else:
        yield f"  of {formulas.operation(step.operation)}"
        unit = where[-1] if len(where) == 1 else None
    if unit is not None:
        for r in range(min(len(trace.data), 2)):
            yield from ("", f"row {r}", *_to_loss(trace, step, "delta", r, unit))
        if len(trace.data) > 2:
            yield from ("", f"and so on for the other rows: explain({at(f'{step.name}.delta', 2, unit)!r})")
    yield from _update(trace, name, where)


def _to_loss(trace: Trace, start: Step, word: str, r: int, j: int) -> Iterator[str]:
    """The gradients with respect to some number, and to those that it depends on, as far as the loss."""
    waiting, seen = [(start, word, j)], set()
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
                units = range(min(step.operation.n_out, MOST_UNITS)) if mixes else (j,)
                waiting += [(step, "dy", k) for k in units]
                continue
        array = step.delta if step.dy is None else step.dy
        what = "z" if step.dy is None else "output"
        parts, following = _parts(trace, step, r, j)
        yield f"  dE/d {at(f'{step.name}.{what}', r, j)} = {parts} = {number(array[r, j])}"
        waiting += following


def _through_activation(step: Step, r: int, j: int) -> Iterator[str]:
    function, name = step.operation.activation, at(f"{step.name}.z", r, j)
    formula = formulas.slope(function)
    if step.slope is None or step.dy is None:
        yield f"  dE/d {name} = {number(step.delta[r, j])}, of {formula}"
        return
    yield f"  dE/d {name} = dE/d {at(f'{step.name}.output', r, j)} * f'(z)"
    yield f"    = {terms([(step.dy[r, j], step.slope[r, j])])} = {number(step.delta[r, j])}"
    shown = "" if " where " in formula else f" = {put(formula, z=step.z[r, j], y=step.output[r, j])}"
    yield f"    with f'(z) = {formula}{shown} = {number(step.slope[r, j])}"


def _parts(trace: Trace, step: Step, r: int, j: int) -> tuple[str, list[tuple[Step, str, int]]]:
    """What a gradient is the sum of, as text; and the gradients that it takes."""
    texts: list[str] = []
    following: list[tuple[Step, str, int]] = []
    if step.name == trace.graph[-1].name:
        return _of_loss(trace, step, r, j), []
    for reader in trace.steps.values():
        at_column = 0
        for source in reader.operation.inputs:
            if source == step.name:
                words, units = _from_reader(trace, reader, r, j, at_column)
                texts.append(words)
                following += [(reader, "delta", k) for k in units[:MOST_UNITS]]
            at_column += trace.steps[source].operation.n_out if source in trace.steps else trace.graph.n_in
    return " + ".join(texts) or "0", following


def _from_reader(trace: Trace, reader: Step, r: int, j: int, column: int) -> tuple[str, list[int]]:
    """What an operation passes back to a number that it takes, and the units that it does so from."""
    given, delta = reader.operation, reader.delta[r]
    weight = trace.parameters.get(f"{reader.name}.weight")
    if given.kind == "dense" and weight is not None:
        pairs = [(delta[k], weight[j, k]) for k in range(given.n_out)]
        return f"({terms(pairs)} through {reader.name}.weight)", [*range(given.n_out)]
    if given.kind == "dropout":
        return f"{terms([(delta[j], reader.more['mask'][r, j])])} (the mask of {reader.name})", [j]
    if given.kind in ("scale", "prelu") and weight is not None:
        factor = 1.0 if given.kind == "prelu" and reader.inputs[0][r, j] > 0 else weight[j]
        return f"{terms([(delta[j], factor)])} (through {reader.name}.weight)", [j]
    if given.kind == "concatenate":
        return f"{number(delta[column + j])} (of {at(reader.name + '.output', r, column + j)})", [column + j]
    if given.kind in ("add", "activation"):
        return f"{number(delta[j])} (of {at(reader.name + '.z', r, j)})", [j]
    return f"what the {given.kind} {reader.name} passes back", [j] if j < given.n_out else []


def _of_loss(trace: Trace, step: Step, r: int, j: int) -> str:
    """The derivative of the loss with respect to what it is computed on."""
    objective, data, n = trace.objective, trace.data, step.operation.n_out
    weight = 1.0 if data.weights is None else float(data.weights[r])
    scale = weight / (data.weight or 1.0) if objective.mean else weight
    kernel = objective.loss.kernel if objective.compiled else ""
    y_hat = step.output[r, j]
    if kernel == "mean_squared_error":
        return f"{number(scale)} * 2 ({number(y_hat)} - {number(data.target[r, j])}) / {n}, of the loss"
    if objective.on_logits and kernel == "binary_cross_entropy":
        difference = f"({number(y_hat)} - {number(data.target[r, j])})"
        return f"{number(scale)} * (y_hat - y) / {n} = {number(scale)} * {difference} / {n}, of the loss"
    if objective.on_logits and kernel in ("cross_entropy", "kl_divergence"):
        target = float(data.labels[r] == j) if data.target is None else float(data.target[r, j])
        smooth = getattr(objective.loss, "label_smoothing", 0.0)
        target = target * (1 - smooth) + smooth / n
        return f"{number(scale)} * (y_hat - y) = {number(scale)} * ({number(y_hat)} - {number(target)}), of the loss"
    return f"the derivative of the loss {objective.loss!r}"


def _update(trace: Trace, name: str, where: tuple[int, ...]) -> Iterator[str]:
    update = trace.update
    if update is None:
        return
    made: Any = update.optimizer
    yield from ("", f"update: {made!r}, step {update.number}", f"  {formulas.rule(made)}")
    yield from (f"  {line}" for line in text.corrections(trace))
    for word in (*text.states(trace), ".step"):
        if name + word in trace.values:
            yield f"  {word[1:].replace('.', ' ')}: {number(trace.values[name + word][where])}"
    old, gradient, new = (trace.values[name + word][where] for word in ("", ".gradient", ".new"))
    if made.kernel == "sgd" and made.lower()[1:] == ((0.0, 0.0), 0.0, 0.0, 0.0, 0.0):
        rate = number(update.learning_rate)
        yield f"  {at(name, *where)} - {rate} g = {number(old)} - {rate} * {number(gradient)} = {number(new)}"
    else:
        yield f"  {at(name, *where)}: {number(old)} becomes {number(new)}"

