"""Networks in whole numbers of 8 bits."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _isa, _validate, activations, layers, metrics
from ..activations import ActivationFunction, identity
from ..layers import INPUT
from ..program import data as gate
from ..program import engine
from ..program.graph import Graph, Operation
from ..program.objective import Objective
from . import floating, memory
from .steps import Add, Affine, Dense, Join, Quantize, Scheme, Step, Table, in_c
from .text import Body, constants

__all__ = ["Quantized", "Report", "ending", "quantize"]

Array = _validate.Array

#: What whole numbers of a row are called.
ROW = "row"
#: Inputs of a sum that stays within 32 bits.
MOST = 32_768
#: Activations whose outputs have a known range, and the scheme that TensorFlow Lite gives them.
_KNOWN = {
    "sigmoid": Scheme(1 / 256, -128), "hard_sigmoid": Scheme(1 / 256, -128), "softmax": Scheme(1 / 256, -128),
    "tanh": Scheme(1 / 128, 0), "softsign": Scheme(1 / 128, 0), "hard_tanh": Scheme(1 / 128, 0),
}  # fmt: skip


class Report(NamedTuple):
    """What quantizing has cost.

    Attributes
    ----------
    bytes, float_bytes : int
        Of the constants: quantized, and in float32.
    errors : dict of str to float
        By operation: the root mean square of the error over the calibration rows, divided by that of the output itself.
    """

    bytes: int
    float_bytes: int
    errors: dict[str, float]

    def __str__(self) -> str:
        width = max(map(len, self.errors))
        lines = [f"{name:<{width}}  {error:.2%}" for name, error in self.errors.items()]
        whole = f"{self.bytes:,} bytes, {self.bytes / self.float_bytes:.0%} of the {self.float_bytes:,} in float32"
        return "\n".join([whole, "error of each operation:", *lines])


class Floating:
    """What is computed in floating point between whole numbers."""

    def __init__(self, operation: Operation, source: str, given: Scheme | None, out: Scheme, plan: Any) -> None:
        self.operation, self.given, self.out, self.plan = operation, given, out, plan
        self.name, self.source, self.size = operation.name, source, operation.n_out
        self.inputs = () if given is None else (source,)
        self.nbytes = sum(4 * array.size for array in {**operation.parameters, **operation.buffers}.values())

    def real(self, values: Mapping[str, Array]) -> Array:
        """Its output, float32."""
        x = values[self.source]
        x = np.ascontiguousarray(x if self.given is None else self.given.real(x))
        out = np.empty((len(x), self.size), np.float32)
        if not self.plan.predict(x, out):
            raise ValueError("predict: expected finite numbers")
        return out

    def run(self, values: Mapping[str, Array]) -> Array:
        return self.out.quantized(self.real(values))

    def write_real(self, to: _Writer, y: str) -> None:
        """The same in C, without its end."""
        if self.given is not None:
            to.call("dequantize", self.operation.n_in, *in_c(self.given), to.at(self.source), "wide")
            to.wide = max(to.wide, self.operation.n_in)
        x = "x" if self.given is None else "wide"
        to.floating(self.operation, x, y)

    def write(self, to: _Writer) -> None:
        to.wide = max(to.wide, self.size)
        self.write_real(to, "other")
        to.call("quantize", self.size, *in_c(self.out), "other", to.at(self.name))


class Quantized:
    """A network in whole numbers of 8 bits, as `quantize` makes it: the same, to the last bit, as its C file.

    Attributes
    ----------
    n_in, n_out : int
        Features of a row of the input, and of the output.

    Notes
    -----
    The scheme is that of TensorFlow Lite: weights with a scale for each output, everything else with one scale and one
    zero, sums in 32 bits, activations by tables of 256. In floating point are the row that goes in, the activation that
    the network ends in, and what lies between: `Embedding`, `Columns` and `LayerNorm`.

    References
    ----------
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    CVPR 2018.
    """

    def __init__(self, net: Any, steps: Sequence[Step], end: Floating | None, report: Report, rows: Array) -> None:
        self._net, self._steps, self._end, self._report = net, steps, end, report
        self.n_in, self.n_out = net.n_in, net.n_out
        self.rows = rows

    def predict(self, x: Any) -> Array:
        """The outputs of the quantized network.

        Parameters
        ----------
        x : array_like, shape (batch, n_in)

        Returns
        -------
        numpy.ndarray of float32, shape (batch, n_out)
        """
        values = {INPUT: self._net._inputs.rows(x)}
        for step in self._steps:
            values[step.name] = step.run(values)
        if self._end is not None:
            return self._end.real(values)
        return self._steps[-1].out.real(values[self._steps[-1].name])

    def evaluate(self, x: Any, y: Any, *, loss: Any, metrics: Sequence[Any] = ()) -> dict[str, float]:
        """The loss and the metrics on some data.

        Parameters
        ----------
        x, y, loss, metrics
            As `Sequential.evaluate` takes them.

        Returns
        -------
        dict of str to float
        """
        return _evaluated(self._net, self.predict(x), x, y, loss, metrics)

    def report(self) -> Report:
        """Bytes, and the error of each operation; printed, it is a table."""
        return self._report

    def body(self, name: str) -> Body:
        """What the C file says."""
        writer = _Writer(name, self._steps)
        for step in self._steps:
            writer.write(step)
        last = self._steps[-1] if self._steps else None
        if self._end is not None:
            writer.begin(self._end.name)
            self._end.write_real(writer, "y")
        elif last is not None:
            writer.call("dequantize", last.size, *in_c(last.out), writer.at(last.name), "y")
        return writer.body()


class _Writer:
    """Writes steps in C."""

    def __init__(self, name: str, steps: Sequence[Step]) -> None:
        self.name, self.now = name, ""
        self.places, self.room = memory.plan([memory.Room(step.name, step.size, step.inputs) for step in steps])
        self.constants: list[str] = []
        self.calls: list[str] = []
        self.functions: set[str] = set()
        self.wide = 0

    def write(self, step: Any) -> None:
        self.begin(step.name)
        self.calls.append(f"/* {step.name}: {type(step).__name__.lower()}, -> {step.size} */")
        step.write(self)

    def begin(self, name: str) -> None:
        self.now = name

    def at(self, name: str, offset: int = 0) -> str:
        place = self.places[name] + offset
        return f"work + {place}" if place else "work"

    def array(self, name: str, array: Array, dtype: str) -> str:
        called = f"{self.name}_{self.now}_{name}".replace(".", "_")
        self.constants.append(constants(called, array, dtype))
        return called

    def call(self, function: str, *arguments: Any) -> None:
        self.functions.add(function)
        self.calls.append(f"{function}({', '.join(map(str, arguments))});")

    def floating(self, operation: Operation, x: str, y: str) -> None:
        """An operation in floating point."""
        alone = Graph([operation.changed(inputs=(INPUT,))], operation.n_in, np.dtype(np.float32))
        body = floating.body(alone, "float32", self.name, {INPUT: x, operation.name: y})
        self.constants += body.constants
        self.calls += body.calls
        self.functions |= body.functions

    def body(self) -> Body:
        room = [f"float wide[{self.wide}];"] * any("wide" in call for call in self.calls)
        room += [f"float other[{self.wide}];"] * any("other" in call for call in self.calls)
        return Body("float", "int8_t", self.constants, [*room, *self.calls], self.functions, self.room)


def quantize(net: Any, calibration: Any, link: ActivationFunction | None = None) -> Quantized:
    """A network in whole numbers of 8 bits.

    Parameters
    ----------
    net : Sequential
        Trained. Batch norms are multiplied into the weights beside them, where that can be.
    calibration : array_like, shape (rows, n_in)
        Rows like those that it will see, a hundred or more: what they come to in each layer is the range that 8 bits
        span.
    link : ActivationFunction, optional
        What makes outputs of the logits of a network that gives those.

    Returns
    -------
    Quantized
        With ``predict``, ``evaluate`` and ``report``. ``net.export_c(path, dtype="int8", calibration=calibration)``
        writes the same in C.

    Raises
    ------
    ValueError
        If there are no rows, or they are not finite, or all zero.
    TypeError
        If there is a custom layer.

    Warns
    -----
    RuntimeWarning
        If a few of the rows are so large that most numbers of the others become 0.

    Examples
    --------
    >>> small = bp.quantize(net, x[:500])
    >>> print(small.report())
    >>> small.evaluate(x_test, y_test, loss="cross_entropy", metrics=["accuracy"])
    """
    for operation in net.graph:
        if operation.kind == "python":
            raise TypeError(f"quantize: expected built-in layers, got {operation.layer!r} at {operation.name}")
    with _validate.within("calibration"):
        rows = net._inputs.rows(calibration)
        _validate.some_rows(rows)
    if not rows.any():
        raise ValueError("calibration: expected rows like those that the network will see, got zeros alone")
    if (rows == rows[0]).all():
        raise ValueError(f"calibration: expected rows that differ, a hundred or more, got one, {len(rows)} times")
    _warn_of_outliers(rows)
    net._check_statistics()
    own = _in_float(net)
    return _Quantizer(own, rows.astype(np.float32), link).made()


def _warn_of_outliers(rows: Array) -> None:
    """Where half of the numbers are nearer to 0 than to the next of the 256 that are left of them."""
    half, step = float(np.median(abs(rows[rows != 0]))), float(rows.max()) / 255 - float(rows.min()) / 255
    if half < step / 2:
        warnings.warn(
            f"calibration: expected numbers of one scale, got {rows.min():g} to {rows.max():g}, where half of them are "
            f"within {half:g} of 0 and become 0 in 8 bits: leave out what lies far off, or scale the columns",
            RuntimeWarning, stacklevel=3,
        )  # fmt: skip


def _in_float(net: Any) -> Any:
    """A copy in float32."""
    made = [layers.from_description(*layer.described()) for layer in net.layers]
    own = type(net)(made, rng=0, dtype="float32")
    for name, array in own.arrays().items():
        array[...] = net.arrays()[name]
    own.feature_names = net.feature_names
    return own


def ending(graph: Graph, link: ActivationFunction | None) -> Graph:
    """The same with another activation at its end, where one is given."""
    if link is None:
        return graph
    return Graph([*graph[:-1], graph[-1].changed(activation=link)], graph.n_in, graph.dtype)


def apart(graph: Graph) -> Graph:
    """The same with each activation as an operation of its own."""
    operations: list[Operation] = []
    renamed: dict[str, str] = {}
    for operation in graph:
        inputs = tuple(renamed.get(name, name) for name in operation.inputs)
        function = operation.activation
        if operation.kind == "activation" or function == identity:
            operations.append(operation.changed(inputs=inputs))
            continue
        name = renamed[operation.name] = f"{operation.name}.{function.name}"
        operations.append(operation.changed(inputs=inputs, activation=identity))
        operations.append(
            operation.changed(
                name=name, kind="activation", inputs=(operation.name,), n_in=operation.n_out, attributes={},
                parameters={}, buffers={}, layer=None,
            )
        )  # fmt: skip
    return Graph(operations, graph.n_in, graph.dtype)


class _Quantizer:
    """Chooses the schemes of a network and makes its steps."""

    def __init__(self, net: Any, rows: Array, link: ActivationFunction | None) -> None:
        self.net, self.rows = net, rows
        unfolded = apart(ending(net.graph.for_inference(fold_batch_norms=False), link))
        self.graph = unfolded.for_inference()
        names = [operation.name for operation in unfolded]
        outputs = dict(zip(names, engine.outputs(unfolded, net._storage, rows), strict=True))
        self.values = {INPUT: rows.astype(np.float64)}
        for operation in self.graph:
            folded = operation.kind == "dense"  # whose output may be that of a norm
            self.values[operation.name] = self._product(operation) if folded else outputs[operation.name]
        self._equalize()
        self.readers = self._readers()
        self.schemes: dict[str, Scheme] = {}
        self.steps: list[Any] = []
        self.same: dict[str, str] = {}  # what a step before has computed already

    def _readers(self) -> dict[str, list[Operation]]:
        return {
            operation.name: [other for other in self.graph if operation.name in other.inputs]
            for operation in self.graph
        }

    def _equalize(self) -> None:
        """Have all units between two dense layers span the same range: a rectifier lets a factor through, by which the
        weights before it are divided and those behind it multiplied.

        Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.1,
        with the ranges of the calibration rows in place of those of the weights.
        """
        readers, changed = self._readers(), {operation.name: operation for operation in self.graph}
        for first in self.graph:
            chain = [first]
            while len(readers[chain[-1].name]) == 1 and len(chain) < 3:
                chain += readers[chain[-1].name]
            if [one.kind for one in chain] != ["dense", "activation", "dense"] or not _homogeneous(chain[1]):
                continue
            seen = self.values[chain[chain[1].activation == activations.relu].name]  # what 8 bits have to span
            span = abs(seen).max(axis=0)
            span[span == 0] = 1.0
            weight, bias = _parameters(changed[first.name])
            changed[first.name] = first.changed(parameters={"weight": weight / span, "bias": bias / span})
            weight, bias = _parameters(changed[chain[2].name])
            changed[chain[2].name] = chain[2].changed(parameters={"weight": weight * span[:, None], "bias": bias})
            for one in chain[:2]:
                self.values[one.name] = self.values[one.name] / span
        self.graph = Graph(list(changed.values()), self.graph.n_in, self.graph.dtype)

    def _product(self, operation: Operation) -> Array:
        x = self.values[operation.inputs[0]].astype(np.float64)
        found: Array = x @ operation.parameters["weight"].astype(np.float64)
        return found + operation.parameters["bias"] if "bias" in operation.parameters else found

    def made(self) -> Quantized:
        end = None
        for operation in self.graph:
            last = operation is self.graph[-1]
            if last and self._is_floating(operation, last):
                end = self._floating(operation)
            else:
                self._put(operation)
        if not self.steps and end is None:
            raise ValueError("quantize: expected layers that compute, got none")
        return Quantized(self.net, self.steps, end, self._report(), self.rows)

    def _is_floating(self, operation: Operation, last: bool) -> bool:
        if operation.kind == "activation":
            mixes = operation.activation.name in ("softmax", "log_softmax")
            return mixes or (last and operation.activation.name not in ("relu", "identity"))
        return not hasattr(self, f"_{operation.kind}")

    def _put(self, operation: Operation) -> None:
        if self._is_floating(operation, last=False):
            self._append(self._floating(operation))
        else:
            getattr(self, f"_{operation.kind}")(operation)

    def _append(self, step: Any) -> None:
        self.steps.append(step)
        self.schemes[step.name] = step.out

    def _scheme(self, operation: Operation) -> Scheme:
        """The one of an operation's output."""
        known = _KNOWN.get(operation.activation.name) if operation.kind == "activation" else None
        return known or Scheme.of_range(self.values[operation.name])

    def _source(self, name: str) -> tuple[str, Scheme]:
        """The whole numbers that stand for an output, and their scheme."""
        name = self.same.get(name, name)
        if name == INPUT:
            if ROW not in self.schemes:
                self._append(Quantize(ROW, INPUT, self.graph.n_in, Scheme.of_range(self.rows)))
            name = ROW
        return name, self.schemes[name]

    # Kinds of operations.

    def _floating(self, operation: Operation) -> Floating:
        source = operation.inputs[0]
        given = None
        if source != INPUT:
            source, given = self._source(source)
        alone = Graph([operation.changed(inputs=(INPUT,))], operation.n_in, np.dtype(np.float32))
        plan = engine.build(alone, self.net._storage, _isa.BASELINE)
        return Floating(operation, source, given, self._scheme(operation), plan)

    def _dense(self, operation: Operation) -> None:
        """With a ReLU that is all that takes it: what is below the least whole number is zero anyway. An input that
        moves by less than the step between two whole numbers is a part of the bias: its weight would multiply
        nothing but rounding.
        """
        if operation.n_in > MOST:
            raise ValueError(f"quantize: expected at most {MOST} inputs of a layer, got {operation.n_in} at "
                             f"{operation.name}")  # fmt: skip
        source, given = self._source(operation.inputs[0])
        readers, ends = self.readers[operation.name], operation
        if len(readers) == 1 and readers[0].kind == "activation" and readers[0].activation == activations.relu:
            ends = readers[0]
            self.same[ends.name] = operation.name
        weight, bias = _parameters(operation)
        x = self.values[operation.inputs[0]]
        still = np.ptp(x, axis=0) < given.scale
        bias = bias + x[:, still].mean(axis=0, dtype=np.float64) @ weight[still]
        weight = np.where(still[:, None], 0, weight)
        self._append(Dense(operation.name, source, given, self._scheme(ends), weight, bias))

    def _activation(self, operation: Operation) -> None:
        if operation.name in self.same:
            return
        source, given = self._source(operation.inputs[0])
        if operation.activation == identity:
            self.same[operation.name] = source
            return
        out = self._scheme(operation)
        self._append(Table(operation.name, source, operation.n_out, given, out, operation.activation))

    def _affine(self, operation: Operation, right: Array, left: Array, offset: Array) -> None:
        source, given = self._source(operation.inputs[0])
        self._append(Affine(operation.name, source, given, self._scheme(operation), right, left, offset))

    def _scale(self, operation: Operation) -> None:
        weight = operation.parameters["weight"]
        self._affine(operation, weight, weight, np.zeros_like(weight))

    def _prelu(self, operation: Operation) -> None:
        weight = operation.parameters["weight"]
        self._affine(operation, np.ones_like(weight), weight, np.zeros_like(weight))

    def _batch_norm(self, operation: Operation) -> None:
        """One that could not be multiplied into the weights beside it."""
        arrays = {**operation.parameters, **operation.buffers}
        variance = arrays["running_variance"].astype(np.float64) + operation.attributes["epsilon"]
        factor = arrays["weight"] / np.sqrt(variance)
        self._affine(operation, factor, factor, arrays["bias"] - arrays["running_mean"] * factor)

    def _add(self, operation: Operation) -> None:
        names, given = zip(*map(self._source, operation.inputs), strict=True)
        self._append(Add(operation.name, names, operation.n_out, list(given), self._scheme(operation)))

    def _lerp(self, operation: Operation) -> None:
        """Each of its inputs times a factor, and their sum."""
        weight = operation.parameters["weight"].astype(np.float64)
        parts = []
        for source, factor in zip(operation.inputs, (1 - weight, weight), strict=True):
            part = operation.changed(name=f"{operation.name}.of.{source}", inputs=(source,))
            self.values[part.name] = self.values[source] * factor
            self._affine(part, factor, factor, np.zeros_like(factor))
            parts.append(part.name)
        self._add(operation.changed(inputs=tuple(parts)))

    def _concatenate(self, operation: Operation) -> None:
        sizes = [self.graph.n_in if name == INPUT else self.graph[name].n_out for name in operation.inputs]
        names, given = zip(*map(self._source, operation.inputs), strict=True)
        self._append(Join(operation.name, names, sizes, list(given), self._scheme(operation)))

    # What it has cost.

    def _report(self) -> Report:
        values: dict[str, Array] = {INPUT: self.rows}
        errors = {}
        for step in self.steps:
            values[step.name] = step.run(values)
            name = next((name for name, same in self.same.items() if same == step.name), step.name)
            exact = self.values[INPUT if name == ROW else name].astype(np.float64)
            errors[name] = _relative(step.out.real(values[step.name]) - exact, exact)
        return Report(sum(step.nbytes for step in self.steps), max(1, self._float_bytes()), errors)

    def _float_bytes(self) -> int:
        return sum(4 * array.size for op in self.graph for array in {**op.parameters, **op.buffers}.values())


def _homogeneous(operation: Operation) -> bool:
    """Whether a positive factor passes through an activation."""
    return operation.activation.name in ("identity", "relu", "leaky_relu")


def _parameters(operation: Operation) -> tuple[Array, Array]:
    """The weight and the bias of a dense layer, in double."""
    weight = operation.parameters["weight"].astype(np.float64)
    return weight, operation.parameters.get("bias", np.zeros(operation.n_out)).astype(np.float64)


def _relative(error: Array, exact: Array) -> float:
    size = float(np.sqrt(np.mean(np.square(exact))))
    return float(np.sqrt(np.mean(np.square(error)))) / size if size else 0.0


def _evaluated(net: Any, outputs: Array, x: Any, y: Any, loss: Any, measured: Sequence[Any]) -> dict[str, float]:
    """The loss and the metrics of some outputs of a network."""
    objective = Objective(loss, net._end).single()
    objective.on_logits = False  # there are none
    data = gate.rows(net._inputs, objective, x, y)
    value = {"loss": objective.value(outputs, data)}
    return value | (objective.measure(metrics.get(measured), outputs, data.y, None) if measured else {})
