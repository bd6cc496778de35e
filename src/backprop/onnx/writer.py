"""What collects the nodes and constants of an ONNX model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _validate
from .._version import __version__
from ..io import onnx as files
from .formulas import Formula

__all__ = ["NEWEST", "OLDEST", "USUAL", "Writer", "checked_opset"]

Array = _validate.Array

#: The versions of the operators that can be written, and the one that is unless another is needed.
OLDEST, USUAL, NEWEST = 13, 17, 28
#: Which version of the file format these operators need, and all after them.
_FORMATS = {28: 14, 25: 13, 24: 12, 23: 11, 21: 10, 19: 9, 15: 8, 13: 7}
#: What a file of protocol buffers can hold.
MOST_BYTES = 2**31 - 1


def checked_opset(opset: Any) -> int | None:
    """A version of the operators; None: the one that suits."""
    return None if opset is None else _validate.integer(opset, "opset", OLDEST, NEWEST)


class Writer:
    """Collects nodes and constants.

    Parameters
    ----------
    opset : int
        The version of the operators.
    dtype : numpy.dtype
        Of the arithmetic.
    """

    def __init__(self, opset: int, dtype: np.dtype[Any]) -> None:
        self.opset, self.dtype = opset, dtype
        self._nodes: list[files.Node] = []
        self._constants: dict[str, files.Tensor] = {}
        self._used: set[str] = set()
        self._inputs: list[files.ValueInfo] = []
        self._outputs: list[files.ValueInfo] = []

    @property
    def code(self) -> int:
        """How a file calls the type of the arithmetic."""
        return files.DOUBLE if self.dtype == np.float64 else files.FLOAT

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node; the name of what it gives, made from this one."""
        output = self._unused(name or operator)
        given = [files.Attribute.of(key, value) for key, value in attributes.items()]
        node = files.Node(input=[*inputs], output=[output], name=output, op_type=operator, attribute=given)
        self._nodes.append(node)
        return output

    def input(self, name: str, code: int, width: int) -> str:
        """An input, rows of so many numbers or texts."""
        self._used.add(name)
        self._inputs.append(files.ValueInfo.of(name, code, "batch", width))
        return name

    def constant(self, name: str, array: Array) -> str:
        """An array by its name; the same one is kept once."""
        if name not in self._constants:
            name = self._unused(name)
            self._constants[name] = files.tensor_of(name, array)
        return name

    def number(self, value: float, dtype: np.dtype[Any] | None = None) -> str:
        """A number of the arithmetic, or of another type."""
        kind = self.dtype if dtype is None else np.dtype(dtype)
        return self.constant(f"{kind.name}/{value!r}", np.array(value, kind))

    def integers(self, *values: int) -> str:
        """A list of whole numbers."""
        return self.constant(f"int64/{','.join(map(str, values))}", np.array(values, np.int64))

    def write(self, formula: Formula, name: str = "", dtype: np.dtype[Any] | None = None, **values: str) -> str:
        """The nodes of a formula; what is equal in it is computed once.

        Parameters
        ----------
        formula : Formula
        name : str
            What the result is called, and how the names of what it is computed from begin.
        dtype : numpy.dtype, optional
            Of its numbers. Default: that of the arithmetic.
        **values
            What stands for ``X``, and others, by name.

        Returns
        -------
        str
            The result.
        """
        known: dict[str, str] = {}

        def written(part: Formula, at: str) -> str:
            if isinstance(part, float):
                return self.number(part, dtype)
            return values.get(part, part) if isinstance(part, str) else self._node(part, at, name, known, written)

        return written(formula, name)

    def _node(
        self, formula: Formula, name: str, begin: str, known: dict[str, str], written: Callable[[Formula, str], str]
    ) -> str:
        if isinstance(formula[0], int):
            return self.integers(*formula)
        key = repr(formula)
        if key not in known:
            inputs = [part for part in formula[1:] if not isinstance(part, dict)]
            attributes = formula[-1] if isinstance(formula[-1], dict) else {}
            taken = [written(part, f"{begin}/{_operator(part)}") for part in inputs]
            known[key] = self.add(formula[0], *taken, name=name, **attributes)
        return known[key]

    def _unused(self, name: str) -> str:
        found, i = name, 1
        while found in self._used:
            found, i = f"{name}/{i}", i + 1
        self._used.add(found)
        return found

    def output(self, name: str, value: str, code: int, *width: int) -> None:
        """Give out a value by this name, or one made of it where an input has it: rows of so many numbers or texts."""
        self._outputs.append(files.ValueInfo.of(self._rename(value, name), code, "batch", *width))

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The bytes of the file."""
        graph = files.Graph(
            node=self._nodes, name="backprop", initializer=[*self._constants.values()], input=self._inputs,
            output=self._outputs,
        )  # fmt: skip
        size = sum(len(tensor.raw_data) for tensor in self._constants.values())
        if size > MOST_BYTES - (1 << 24):
            raise ValueError(f"export_onnx: expected at most 2 GB of parameters, as much as a file holds, got {size}")
        return files.Model(
            ir_version=next(version for since, version in _FORMATS.items() if since <= self.opset),
            producer_name="backprop", producer_version=__version__, graph=graph,
            opset_import=[files.Opset(domain="", version=self.opset)],
            metadata_props=[files.Entry(key=key, value=value) for key, value in metadata.items()],
        ).pack()  # fmt: skip

    def _rename(self, value: str, name: str) -> str:
        """Give a value the name of an output; where no node gives it, or gives it as another output, by a node more."""
        source = next((node for node in self._nodes if node.output == [value]), None)
        if source is None or name in self._used or value in [info.name for info in self._outputs]:
            return self.add("Identity", value, name=name)
        source.output, self._used = [name], self._used | {name}
        for node in self._nodes:
            node.input = [name if taken == value else taken for taken in node.input]
        return name


def _operator(formula: Formula) -> str:
    """What a result is named after that has no name of its own."""
    return str(formula[0]) if isinstance(formula, tuple) else ""
