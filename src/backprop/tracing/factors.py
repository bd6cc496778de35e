"""What a number is computed from; and what a gradient is the sum of, of the loss, of operations, or over the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._validate import Array
from . import numeric
from .formulas import at, factor, number, plus, terms
from .record import Step

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["MOST_UNITS", "computed", "loss_of_row", "passed_back", "products"]

#: Operations whose outputs are made of groups of their inputs.
GROUPED = ("periodic", "piecewise_linear", "grouped_dense")
#: So many units of a wide layer are followed to the loss.
MOST_UNITS = 4


def computed(trace: Trace, step: Step, r: int, j: int) -> str:
    """What z of an operation is computed from, with the numbers put in; empty where that is a number as it stands."""
    given = step.operation
    bias, weight = (trace.parameters.get(f"{step.name}.{name}") for name in ("bias", "weight"))
    x = step.inputs[0][r]
    if given.kind == "dense" and weight is not None:
        return terms(list(zip(x, weight[:, j], strict=True)), None if bias is None else bias[j])
    if given.kind in ("layer_norm", "batch_norm") and weight is not None and bias is not None:
        mean, variance = _statistics(step, r, j)
        root = f"sqrt({number(variance)} + {number(given.attributes['epsilon'])})"
        return f"{factor(weight[j])} * ({number(x[j])} - {factor(mean)}) / {root} + {factor(bias[j])}"
    if given.kind == "dropout":
        return "" if step.fixed else terms([(x[j], step.more["mask"][r, j])])
    if given.kind == "scale" and weight is not None:
        return terms([(x[j], weight[j])])
    if given.kind == "prelu" and weight is not None and x[j] <= 0:
        return terms([(x[j], weight[j])])
    if given.kind == "lerp" and weight is not None:
        return terms([(1 - weight[j], x[j]), (weight[j], step.inputs[1][r, j])])
    if given.kind in GROUPED:
        return numeric.computed(step, x, j, weight, bias)
    if given.kind == "add":
        return plus([number(some[r, j]) for some in step.inputs])
    return ""


def _statistics(step: Step, r: int, j: int) -> tuple[float, float]:
    """Mean and variance that a norm goes by."""
    place = r if step.operation.kind == "layer_norm" else j
    return float(step.more["mean"][place]), float(step.more["variance"][place])


def passed_back(trace: Trace, name: str, r: int, j: int) -> tuple[str, list[tuple[Step, int]]]:
    """What dE/d an output, or the input, is the sum of, as text; and the steps and units whose dE/dz it takes."""
    texts: list[str] = []
    following: list[tuple[Step, int]] = []
    if name == trace.graph[-1].name:
        return _of_loss(trace, trace.steps[name], r, j), []
    for reader in trace.steps.values():
        at_column = 0
        for source in reader.operation.inputs:
            if source == name:
                words, units = _from_reader(trace, reader, r, j, at_column)
                texts.append(words)
                following += [(reader, k) for k in units[:MOST_UNITS]]
            at_column += trace.steps[source].operation.n_out if source in trace.steps else trace.graph.n_in
    return " + ".join(texts) or "0", following


def _from_reader(trace: Trace, reader: Step, r: int, j: int, column: int) -> tuple[str, list[int]]:
    """What an operation passes back to a number that it takes, and the units that it does so from."""
    given, delta = reader.operation, reader.delta[r]
    weight = trace.parameters.get(f"{reader.name}.weight")
    if given.kind == "dense" and weight is not None:
        pairs = [(delta[k], weight[j, k]) for k in range(given.n_out)]
        return f"({terms(pairs)} through {reader.name}.weight)", [*range(given.n_out)]
    if given.kind == "dropout" and not reader.fixed:
        return f"{terms([(delta[j], reader.more['mask'][r, j])])} (the mask of {reader.name})", [j]
    if given.kind in ("scale", "prelu") and weight is not None:
        slope = 1.0 if given.kind == "prelu" and reader.inputs[0][r, j] > 0 else weight[j]
        return f"{terms([(delta[j], slope)])} (through {reader.name}.weight)", [j]
    if given.kind == "lerp" and weight is not None:
        share = weight[j] if column else 1 - weight[j]
        return f"{terms([(delta[j], share)])} (through {reader.name}.weight)", [j]
    if given.kind in GROUPED:
        return numeric.passed_back(reader, r, j, weight)
    if given.kind == "concatenate":
        return f"{factor(delta[column + j])} (of {at(reader.name + '.output', r, column + j)})", [column + j]
    if given.kind == "clip" and not trace.training and reader.inputs[0][r, j] != reader.output[r, j]:
        return f"0 (of {reader.name}, beyond its bounds)", []
    if given.kind in ("add", "activation", "dropout", "clip"):
        return f"{factor(delta[j])} (of {at(reader.name + '.z', r, j)})", [j]
    if given.kind in ("layer_norm", "batch_norm") and weight is not None:
        return _from_norm(reader, weight, r, j)
    if given.kind == "columns":
        return _from_columns(reader, delta, j)
    if given.kind == "embedding":
        return "0 (a number that names a row of a table has no derivative)", []
    return f"what the {given.kind} {reader.name} passes back", [j] if j < given.n_out else []


def _from_norm(reader: Step, weight: Array, r: int, j: int) -> tuple[str, list[int]]:
    """What a norm passes back: its statistics depend on all numbers that they are taken of."""
    over_rows = reader.operation.kind == "batch_norm"
    x, dy = (array.astype(np.float64) for array in (reader.inputs[0], reader.delta))
    mean, variance = _statistics(reader, r, j)
    root = f"sqrt({number(variance)} + {number(reader.operation.attributes['epsilon'])})"
    if reader.fixed:
        return f"{factor(dy[r, j])} * {factor(weight[j])} / {root} (through the batch_norm {reader.name})", [j]
    spread = np.sqrt(variance + reader.operation.attributes["epsilon"])
    some_x, some_dy = (x[:, j], dy[:, j]) if over_rows else (x[r], dy[r] * weight)
    own = r if over_rows else j
    normalized = (some_x - mean) / spread
    mean_dy, along = factor(some_dy.mean()), factor((some_dy * normalized).mean())
    inner = f"{factor(some_dy[own])} - {mean_dy} - {factor(normalized[own])} * {along}"
    outer = f"{factor(weight[j])} / {root}" if over_rows else f"1 / {root}"
    less = f"less means over the {'rows' if over_rows else 'features'}"
    through = f"through the {reader.operation.kind} {reader.name}, {less}"
    return f"{outer} * ({inner}) ({through})", [j] if over_rows else [*range(len(weight))]


def _from_columns(reader: Step, delta: Array, j: int) -> tuple[str, list[int]]:
    """What goes on beside the tables is handed back as it is."""
    out = 0
    for first, count, table in reader.operation.attributes["tables"]:
        width = 1 if table is None else reader.operation.parameters[table].shape[1]
        if first <= j < first + count:
            if table is not None:
                return "0 (a number that names a row of a table has no derivative)", []
            unit = out + j - first
            return f"{factor(delta[unit])} (of column {unit} of {reader.name})", [unit]
        out += count * width
    return "0", []


def loss_of_row(trace: Trace, r: int) -> str:
    """The loss of a row with the numbers put in; empty where the formula alone has to do."""
    objective, data = trace.objective, trace.data
    kernel = objective.loss.kernel if objective.compiled else ""
    y_hat = trace.steps[trace.graph[-1].name].output[r].astype(np.float64)
    if kernel in ("mean_squared_error", "mean_absolute_error"):
        pair = "({} - {})^2" if kernel == "mean_squared_error" else "|{} - {}|"
        each = [pair.format(number(p), factor(t)) for p, t in zip(y_hat, data.target[r], strict=True)]
        return _mean(each)
    if objective.on_logits and kernel == "binary_cross_entropy" and not objective.loss.lower(True).numbers:
        pairs = zip(y_hat, data.target[r], strict=True)
        mean = _mean([_of_probability(float(p), float(t)) for p, t in pairs])
        return f"-({mean})" if " + " in mean and len(y_hat) == 1 else f"-{mean}"
    smooth = getattr(objective.loss, "label_smoothing", 0.0)
    if objective.on_logits and kernel == "cross_entropy" and data.labels is not None and not smooth:
        return f"-log {number(y_hat[int(data.labels[r])])}"
    return ""


def _mean(words: list[str]) -> str:
    """The mean of some terms."""
    return words[0] if len(words) == 1 else f"({plus(words)}) / {len(words)}"


def _of_probability(p: float, target: float) -> str:
    """The terms of the binary cross-entropy, without what is multiplied by 0."""
    if target == 1:
        return f"log {number(p)}"
    if target == 0:
        return f"log(1 - {number(p)})"
    return f"{number(target)} log {number(p)} + (1 - {number(target)}) log(1 - {number(p)})"


def _of_loss(trace: Trace, step: Step, r: int, j: int) -> str:
    """The derivative of the loss with respect to what it is computed on."""
    objective, data, n = trace.objective, trace.data, step.operation.n_out
    weight = 1.0 if data.weights is None else float(data.weights[r])
    scale = weight / (data.weight or 1.0) if objective.mean else weight
    kernel = objective.loss.kernel if objective.compiled else ""
    y_hat = step.output[r, j]
    if kernel == "mean_squared_error":
        return f"{number(scale)} * 2 ({number(y_hat)} - {number(data.target[r, j])}) / {n}, of the loss"
    if objective.on_logits and kernel == "binary_cross_entropy" and not objective.loss.lower(True).numbers:
        difference = f"({number(y_hat)} - {number(data.target[r, j])})"
        return f"{number(scale)} * (y_hat - y) / {n} = {number(scale)} * {difference} / {n}, of the loss"
    if objective.on_logits and kernel in ("cross_entropy", "kl_divergence"):
        target = float(data.target[r, j]) if data.labels is None else float(data.labels[r] == j)
        smooth = getattr(objective.loss, "label_smoothing", 0.0)
        target = target * (1 - smooth) + smooth / n
        return f"{number(scale)} * (y_hat - y) = {number(scale)} * ({number(y_hat)} - {number(target)}), of the loss"
    return f"the derivative of the loss {objective.loss!r}"


def products(trace: Trace, step: Step, name: str, where: tuple[int, ...]) -> str:
    """The sum that the gradient of a parameter is, over the rows, with that of its penalty."""
    if step.operation.kind in ("embedding", "columns"):
        return plus([number(value) for value in _looked_up(trace, step, name, where)])
    if step.operation.kind in GROUPED:
        return numeric.products(step, name, where)
    delta, factors = step.delta[:, where[-1]], _factors(step, name, where)
    if factors is None:
        return plus([number(value) for value in delta])
    text = terms(list(zip(factors, delta, strict=True)))
    layer = step.operation.layer
    return text + " + the gradient of its penalty" * bool(layer is not None and layer.penalties())


def _factors(step: Step, name: str, where: tuple[int, ...]) -> Array | None:
    """What the dE/dz of each row is multiplied by; None: by 1."""
    if name.endswith(".bias"):
        return None
    kind, x = step.operation.kind, step.inputs[0][:, where[0]]
    if kind == "lerp":
        difference: Array = step.inputs[1][:, where[0]] - x
        return difference
    if kind == "prelu":
        return np.where(x > 0, 0, x)
    if kind not in ("layer_norm", "batch_norm"):
        return x
    mean, variance = (step.more[word] for word in ("mean", "variance"))
    if kind == "batch_norm":
        mean, variance = mean[where[0]], variance[where[0]]
    normalized: Array = (x - mean) / np.sqrt(variance + step.operation.attributes["epsilon"])
    return normalized


def _looked_up(trace: Trace, step: Step, name: str, where: tuple[int, ...]) -> list[float]:
    """The gradients of the places where a number of a table was looked up."""
    found, out = [], 0
    for first, count, table in step.operation.attributes["tables"]:
        width = 1 if table is None else step.operation.parameters[table].shape[1]
        for column in range(first, first + count):
            if f"{step.name}.{table}" == name:
                rows = np.flatnonzero(step.inputs[0][:, column] == where[0])
                found += [float(step.delta[r, out + where[1]]) for r in rows]
            out += width
    return found
