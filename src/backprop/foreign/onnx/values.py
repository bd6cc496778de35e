"""What an ONNX model computes: values, each by an operator from earlier ones, and constants.

Only what the output needs is looked at. Each operator, and each of its attributes, is in a table; what is not is
refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ... import _validate
from ...errors import FormatError
from ...io import onnx as files
from ...onnx import NEWEST

__all__ = ["Program", "Value", "decimal"]

Array = _validate.Array

#: The oldest operators that mean for rows what they mean today.
OLDEST = 7
MOST_NODES, MOST_COLUMNS = 1 << 13, 1 << 20
#: The numbers that rows may be made of, and those that are whole.
_FLOATS, _WHOLE = (files.FLOAT, files.DOUBLE), (6, files.INT64)
#: The operators that are known: the least and the most that each takes, and the attributes that it may have.
_OPERATORS: dict[str, tuple[int, int, Sequence[str]]] = {
    **dict.fromkeys([
        "Abs", "Cos", "Erf", "Exp", "Identity", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Sigmoid", "Sin",
        "Softplus", "Softsign", "Sqrt", "Tanh",
    ], (1, 1, ())),
    **dict.fromkeys(["LogSoftmax", "Softmax"], (1, 1, ("axis",))),
    **dict.fromkeys(["Elu", "LeakyRelu", "Swish"], (1, 1, ("alpha",))),
    **dict.fromkeys([
        "Add", "Div", "Equal", "Greater", "Less", "MatMul", "Max", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum"
    ], (2, 2, ())),
    **dict.fromkeys(["ReduceMean", "ReduceSum"], (1, 2, ("axes", "keepdims", "noop_with_empty_axes"))),
    **dict.fromkeys(["Squeeze", "Unsqueeze"], (1, 2, ("axes",))),
    "BatchNormalization": (5, 5, ("epsilon", "momentum", "training_mode")),
    "Cast": (1, 1, ("to", "saturate", "round_mode")), "Clip": (1, 3, ("min", "max")), "Concat": (1, 1 << 16, ("axis",)),
    "Constant": (0, 0, ("value", "value_float", "value_floats", "value_int", "value_ints")),
    "Dropout": (1, 3, ("ratio", "seed")), "Flatten": (1, 1, ("axis",)), "Gather": (2, 2, ("axis",)),
    "Gelu": (1, 1, ("approximate",)), "Gemm": (2, 3, ("alpha", "beta", "transA", "transB")),
    "HardSigmoid": (1, 1, ("alpha", "beta")), "LayerNormalization": (2, 3, ("axis", "epsilon", "stash_type")),
    "Reshape": (2, 2, ("allowzero",)), "Selu": (1, 1, ("alpha", "gamma")), "Slice": (1, 5, ("starts", "ends", "axes")),
    "Transpose": (1, 1, ("perm",)), "Where": (3, 3, ()),
}  # fmt: skip
#: Those of the domain ai.onnx.ml.
_OF_ML: dict[str, tuple[int, int, Sequence[str]]] = {
    "Scaler": (1, 1, ("offset", "scale")), "ZipMap": (1, 1, ("classlabels_int64s", "classlabels_strings")),
}  # fmt: skip


class Value:
    """A value, row by row.

    Attributes
    ----------
    name : str
    operator : str
        What it is computed by; "" of the input.
    inputs : list of Value
        Those that differ from row to row, in the order of the node.
    taken : list of Value, numpy.ndarray or None
        All that it takes, constants too, and None for what is left out.
    attributes : dict
    place : int
        After all that it takes.
    shape : tuple of int
        Of one row.
    columns : list of int or None
        Which columns it is of what it takes, where it is no more than that.
    source : Value or None
        The last value that all of its ways from the input go through, but for itself.
    whole : bool
        Whether it has been made whole numbers, to look something up by.
    last : bool
        Whether it is the output of the model.
    """

    def __init__(
        self, name: str, operator: str, taken: Sequence[Any], attributes: Mapping[str, Any], place: int,
    ) -> None:  # fmt: skip
        self.name, self.operator, self.taken, self.attributes, self.place = name, operator, taken, attributes, place
        self.inputs = [one for one in taken if isinstance(one, Value)]
        self.shape: tuple[int, ...] = ()
        self.columns: list[int] | None = None
        self.whole = self.last = False
        self.source = _common(self.inputs) if self.inputs else None

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return math.prod(self.shape)

    def numbers(self, i: int) -> Array | None:
        """A constant that it takes as one number, or one for each of a row."""
        found = self.constant(i)
        if found is None:
            return None
        if found.dtype.kind != "f" or found.size not in (1, self.width) or found.size != max(found.shape, default=1):
            raise self.error(f"one float, or {self.width} of them", f"{found.dtype} {found.shape}")
        if found.ndim > 2:
            raise self.error("a number, or a row", f"shape {found.shape}")
        return found.reshape(-1)

    def number(self, name: str, otherwise: float) -> float:
        """An attribute that is a number."""
        found = self.attributes.get(name, otherwise)
        if not isinstance(found, (int, float)) or not math.isfinite(found):
            raise self.error(f"{name} to be a finite number", _validate.shown(found))
        return found

    def constant(self, i: int) -> Array | None:
        """A constant that it takes, None where there is none; a value in its place is refused."""
        found = self.taken[i] if i < len(self.taken) else None
        if isinstance(found, Value):
            raise self.error(f"a constant as input {i + 1}", f"the value {_validate.shown(found.name)}")
        return found

    def error(self, expected: str, got: str) -> FormatError:
        """What is wrong with it."""
        return FormatError(f"{self.operator or 'input'} {_validate.shown(self.name)}: expected {expected}, got {got}")


def _common(values: Sequence[Value]) -> Value:
    """The last value that all ways to these go through."""
    found = {value.place: value for value in values}
    while len(found) > 1:
        last = found.pop(max(found))
        assert last.source is not None  # the input is the first of all
        found[last.source.place] = last.source
    return next(iter(found.values()))


class Program:
    """The values of a model, from its input to the output that is the network's.

    Attributes
    ----------
    input, output : Value
    classes : list or None
        What the columns of the output stand for, where the model says so.
    double : bool
        Whether it computes in float64.
    """

    def __init__(self, model: files.Model) -> None:
        if model.graph is None:
            raise FormatError("expected a graph, got none: damaged, or another format")
        graph: files.Graph = model.graph
        if len(graph.node) > MOST_NODES:
            raise FormatError(f"expected at most {MOST_NODES} nodes, got {len(graph.node)}")
        self.opset = _opset(model.opset_import)
        self._tensors = _by_name((tensor.name, tensor) for tensor in graph.initializer)
        self._constants: dict[str, Array] = {}
        self._makers = _by_name((name, node) for node in graph.node for name in node.output if name)
        self.input = self._input(graph.input)
        self.classes: Any = None
        self._values = {self.input.name: self.input}
        name = self._output_name(graph.output)
        self._read(graph.node, name)
        if name not in self._values:
            raise FormatError(f"expected an output that depends on the input, got the constant {_validate.shown(name)}")
        self.output = self._values[name]
        self.output.last = True
        self.double = self._is_double(graph)
        if self.classes is None:
            self.classes = self._labels(graph)

    # The input and the output.

    def _input(self, given: Sequence[files.ValueInfo]) -> Value:
        inputs = [info for info in given if info.name not in self._tensors]
        if len(inputs) != 1:
            names = _validate.shown([info.name for info in inputs])
            raise FormatError(f"expected one input, the features of a row, got {len(inputs)}, {names}")
        found = Value(inputs[0].name, "", [], {}, 0)
        code, sizes = _tensor_type(inputs[0])
        if code not in (*_FLOATS, *_WHOLE):
            raise found.error("numbers, FLOAT, DOUBLE, INT32 or INT64", f"type {code}")
        if sizes is None or len(sizes) < 2 or None in sizes[1:]:
            got = "a shape that is not known" if sizes is None else f"{len(sizes)} sizes, {sizes}"
            raise found.error("a batch of rows of known size", got)
        found.shape = tuple(int(size or 0) for size in sizes[1:])
        if found.width < 1:
            raise found.error("at least one feature", f"the sizes {sizes}")
        found.whole, self._rows = code in _WHOLE, sizes[0]
        self._code = code
        return found

    def _output_name(self, given: Sequence[files.ValueInfo]) -> str:
        """The output that is a network's: beside labels, that of the probabilities."""
        tensors = [info for info in given if _tensor_type(info)[0] in (*_FLOATS, None)]
        if len(tensors) != 1:
            got = _validate.shown([info.name for info in given])
            raise FormatError(f"expected one output of floats, got {len(tensors)} in {got}")
        name: str = tensors[0].name
        return name

    def _is_double(self, graph: files.Graph) -> bool:
        """By the weights; where there are none, by the input."""
        matrices = [
            array.dtype for value in self._values.values() if value.operator in ("Gemm", "MatMul", "Gather")
            for array in value.taken if isinstance(array, np.ndarray) and array.ndim == 2
        ]  # fmt: skip
        return np.float64 in matrices if matrices else self._code == files.DOUBLE

    def _labels(self, graph: files.Graph) -> list[Any] | None:
        """The names of classes that a label is looked up in, beside the probabilities."""
        for node in graph.node:
            if node.op_type in ("ArrayFeatureExtractor", "Gather") and node.input:
                tensor = self._tensors.get(node.input[0])
                if tensor is not None and tensor.data_type in (6, files.INT64, files.STRING):
                    found = self._constant(node.input[0])
                    if found is not None and found.shape == (self.output.width,):
                        return [*found.tolist()]
        return None

    # The nodes.

    def _read(self, nodes: Sequence[files.Node], output: str) -> None:
        """Values of all nodes that an output needs, each after those that it takes."""
        needed, left = set(), [output]
        while left:
            name = left.pop()
            if name not in needed and name in self._makers:
                needed.add(name)
                left += self._makers[name].input
        for node in nodes:
            wanted = [name for name in node.output if name in needed]
            if wanted:
                self._add(node, wanted)

    def _add(self, node: files.Node, wanted: Sequence[str]) -> None:
        (least, most, known), name = _known(node), node.output[0]
        attributes = _by_name((one.name, one) for one in node.attribute)
        where = f"{node.op_type} {_validate.shown(name)}"
        for other in attributes.keys() - set(known):
            raise FormatError(f"{where}: expected no attribute {_validate.shown(other)}, which is not known, got one")
        if [*wanted] != [name]:
            raise FormatError(f"{where}: expected its first output to be used, got {_validate.shown(wanted[-1])}")
        if name in self._values or name in self._tensors:
            raise FormatError(f"{where}: expected a name of its own, got one that is taken")
        values = {key: one.value for key, one in attributes.items()}
        taken = [self._taken(given, where) if given else None for given in node.input]
        if not least <= len(taken) <= most or any(one is None for one in taken[:least]):
            raise FormatError(f"{where}: expected {least} to {most} inputs, got {_validate.shown([*node.input])}")
        if any(isinstance(one, Value) for one in taken):
            value = Value(name, node.op_type, taken, values, len(self._values))
            self._values[name] = self._shaped(value)
        else:
            self._constants[name] = _folded(node.op_type, taken, values, where)

    def _taken(self, name: str, where: str) -> Value | Array:
        if name in self._values:
            return self._values[name]
        found = self._constant(name)
        if found is None:
            raise FormatError(f"{where}: expected to take what is computed before, got {_validate.shown(name)}")
        return found

    def _constant(self, name: str) -> Array | None:
        if name not in self._constants and name in self._tensors:
            self._constants[name] = files.array_of(self._tensors[name], f"tensor {_validate.shown(name)}")
        return self._constants.get(name)

    def _shaped(self, value: Value) -> Value:
        """With the shape of a row; what only hands on a value is that value."""
        first, operator = value.inputs[0], value.operator
        if operator in ("Identity", "ZipMap"):
            if operator == "ZipMap":
                named = [*value.attributes.values()][:1] or [[]]
                self.classes = [text.tobytes().decode() if isinstance(text, memoryview) else text for text in named[0]]
            return first
        if operator == "Cast":
            return self._cast(value, first)
        if operator in ("Flatten", "Reshape", "Squeeze", "Unsqueeze"):
            return self._reshaped(value, first)
        if operator == "Gather":
            return self._gathered(value)
        if operator == "Slice":
            return _columns(value, range(first.width)[_slice(value)])
        if any(len(one.shape) != 1 for one in value.inputs):
            got = [one.shape for one in value.inputs]
            raise value.error("rows of numbers (batch, features), flattened before", f"rows of shape {got}")
        if any(one.whole for one in value.inputs):
            if self._code in _WHOLE and first.source is None:
                raise value.error("floats", "the input as whole numbers: a Cast to FLOAT lacks")
            raise value.error("floats", "whole numbers, which are only looked up by")
        value.shape = (_width(value),)
        return value

    def _cast(self, value: Value, first: Value) -> Value:
        to = value.attributes.get("to")
        if to in _FLOATS and (not first.whole or first.source is None):
            if first.whole:
                value.shape, value.operator = first.shape, "Identity"
                return value
            return first
        if to in _WHOLE:
            value.shape, value.whole = first.shape, True
            return value
        raise value.error("FLOAT or DOUBLE, or INT64 to look something up by", f"type {to}")

    def _reshaped(self, value: Value, first: Value) -> Value:
        """Only so that rows stay rows: flattened, or one column as a number."""
        after: tuple[int, ...] | None
        flat = (first.width,)
        if value.operator == "Flatten":
            after = flat if value.attributes.get("axis", 1) == 1 else None
        elif value.operator == "Reshape":
            after = self._flattened(value, first)
        else:
            axes = _axes(value, 1)
            single = {"Squeeze": ((1,), ()), "Unsqueeze": ((), (1,))}[value.operator]
            after = single[1] if axes in ([1], [-1]) and first.shape == single[0] else None
        if after is None:
            raise value.error("rows that are flattened", f"{_validate.shown(value.taken[1:])} of rows {first.shape}")
        if first.shape == after:
            return first
        value.shape, value.whole = after, first.whole
        return value

    def _flattened(self, value: Value, first: Value) -> tuple[int, ...] | None:
        sizes = value.constant(1)
        wanted = [] if sizes is None or sizes.ndim != 1 else sizes.tolist()
        if len(wanted) != 2 or (0 in wanted and value.attributes.get("allowzero", 0)):
            return None
        rows, width = wanted
        fits = width == first.width or (width == -1 and rows != -1)
        return (first.width,) if fits and (rows in (0, -1) or rows == self._rows) else None

    def _gathered(self, value: Value) -> Value:
        """Columns of rows, or rows of a table."""
        table, index = value.taken
        axis = value.attributes.get("axis", 0)
        if isinstance(table, Value) and isinstance(index, np.ndarray) and axis in (1, -1) and index.ndim < 2:
            return _columns(value, index.ravel().tolist(), alone=index.ndim == 0)
        if isinstance(table, np.ndarray) and isinstance(index, Value) and table.ndim == 2 and axis == 0 and index.whole:
            value.shape = (*index.shape, table.shape[1])
            return value
        raise value.error("columns of rows, or rows of a table by whole numbers", "something else")


def decimal(number: float, double: bool) -> float:
    """A number of a file, which is float32, with as few digits as tell it from others, where that is what is meant."""
    return float(number) if double else float(str(np.float32(number)))


# Parts.


def _opset(imports: Sequence[files.Opset]) -> int:
    """The version of the operators."""
    versions = [one.version for one in imports if one.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] is None:
        raise FormatError(f"expected one version of the operators of ONNX, got {versions}")
    version: int = versions[0]
    if not OLDEST <= version <= NEWEST:
        raise FormatError(f"expected operators of version {OLDEST} to {NEWEST}, got {version}")
    return version


def _known(node: files.Node) -> tuple[int, int, Sequence[str]]:
    """What is known of an operator."""
    table = {"": _OPERATORS, "ai.onnx": _OPERATORS, "ai.onnx.ml": _OF_ML}.get(node.domain, {})
    if node.op_type not in table or not node.output or node.overload:
        kind = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        name = _validate.shown(node.name or (node.output[0] if node.output else ""))
        raise FormatError(f"node {name}: expected an operator of a dense network, got {kind or 'none'}")
    found: tuple[int, int, Sequence[str]] = table[node.op_type]
    return found


def _by_name(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, one in pairs:
        if found.setdefault(name, one) is not one:
            raise FormatError(f"expected different names, got {_validate.shown(name)} twice")
    return found


def _tensor_type(info: files.ValueInfo) -> tuple[int | None, list[int | None] | None]:
    """What it is made of, and its sizes, as far as they are known."""
    tensor = info.type.tensor if info.type is not None else None
    if tensor is None:
        return None, None
    sizes = None if tensor.shape is None else [dim.value if not dim.param else None for dim in tensor.shape.dim]
    return tensor.elem_type, sizes


def _axes(value: Value, i: int) -> list[int]:
    """The axes that an operator goes by, which were an attribute once."""
    given = value.constant(i)
    if given is None:
        return [*value.attributes.get("axes", [])]
    return [*map(int, given.ravel().tolist())] if given.dtype.kind == "i" else []


def _slice(value: Value) -> slice:
    """The columns of a slice."""
    if "starts" in value.attributes:
        parts = [[*value.attributes.get(name, [])] for name in ("starts", "ends", "axes")]
    else:
        parts = [[] if (given := value.constant(i)) is None else given.ravel().tolist() for i in (1, 2, 3, 4)]
    starts, ends, axes, *steps = parts
    if len(starts) != 1 or len(ends) != 1 or axes not in ([1], [-1]) or steps not in ([], [[]], [[1]]):
        raise value.error("a slice of columns", f"starts {starts}, ends {ends}, axes {axes}, steps {steps}")
    return slice(int(starts[0]), int(ends[0]))


def _columns(value: Value, columns: Any, alone: bool = False) -> Value:
    """Some columns of rows."""
    first = value.inputs[0]
    if len(value.inputs) > 1 or len(first.shape) != 1 or (first.whole and first.source is not None):
        raise value.error("columns of rows", f"rows of shape {first.shape}")
    if len(columns) > MOST_COLUMNS or not all(-first.width <= column < first.width for column in columns):
        raise value.error(f"columns 0 to {first.width - 1}", _validate.shown([*columns[:9]]))
    value.columns, value.whole = [column % first.width for column in columns], first.whole
    value.shape = () if alone else (len(columns),)
    return value


def _width(value: Value) -> int:
    """Numbers of a row of what an operator gives."""
    widths = [one.width for one in value.inputs]
    if value.operator == "Concat":
        if value.attributes.get("axis") not in (1, -1) or len(value.inputs) < len(value.taken):
            raise value.error("rows side by side, axis 1", f"axis {value.attributes.get('axis')}")
        return sum(widths)
    if value.operator in ("MatMul", "Gemm"):
        weight = value.constant(1)
        if weight is None or weight.ndim != 2:
            raise value.error("weights (inputs, outputs)", "none" if weight is None else f"shape {weight.shape}")
        transposed = bool(value.attributes.get("transB", 0))
        n_in, n_out = weight.shape[:: -1 if transposed else 1]
        if widths != [n_in]:
            raise value.error(f"rows of {n_in}, as its weights take", f"rows of {widths[0]}")
        return int(n_out)
    if value.operator in ("ReduceMean", "ReduceSum"):
        if _axes(value, 1) not in ([1], [-1]) or not value.attributes.get("keepdims", 1):
            raise value.error("sums over a row, which keep it", f"axes {_axes(value, 1)}")
        return 1
    if len({*widths} - {1}) > 1:
        raise value.error("rows of one size", f"rows of {widths}")
    return max(widths)


def _folded(operator: str, taken: Sequence[Any], attributes: Mapping[str, Any], where: str) -> Array:
    """A constant, made of constants of the same size."""
    if operator == "Constant" and len(attributes) == 1:
        ((kind, value),) = attributes.items()
        if kind == "value":
            return files.array_of(value, where)
        return np.array(value, np.float32 if "float" in kind else np.int64)
    first: Any = taken[0] if taken else None
    if isinstance(first, np.ndarray):
        if operator == "Identity":
            return first
        if operator == "Transpose" and [*attributes.get("perm", (1, 0))] == [1, 0] and first.ndim == 2:
            return first.T
        if operator in ("Reshape", "Squeeze", "Unsqueeze", "Flatten") and first.size == max(first.shape, default=1):
            return first.reshape(-1)  # a vector, however it lay
        if operator == "Cast" and attributes.get("to") in _FLOATS and first.dtype.kind in "if":
            return first.astype(files.DTYPES[attributes["to"]])
    raise FormatError(f"{where}: expected weights as they are, got a computation of them")
