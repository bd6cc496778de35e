"""An ONNX model: the messages of its file, tensors as arrays, and the file as a whole.

The fields are those of onnx.proto [1]_ that dense networks need. What a model may have beside them and still compute
the same, such as documentation, is skipped; what it could not be read without, such as subgraphs, functions, sparse
tensors and data in other files, is refused by its name.

References
----------
.. [1] https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .. import _validate
from ..errors import FormatError
from .protobuf import IGNORED, REFUSED, Message

__all__ = ["Attribute", "Entry", "Graph", "Model", "Node", "Opset", "Tensor", "ValueInfo", "array_of", "tensor_of"]

Array = _validate.Array

#: The numbers that tensors are made of, by their code: its name, and the dtype here.
FLOAT, INT64, STRING, BOOL, DOUBLE = 1, 7, 8, 9, 11
DTYPES = {FLOAT: "<f4", 6: "<i4", INT64: "<i8", BOOL: "|b1", DOUBLE: "<f8"}
CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}
_TYPE_NAMES = [
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE",
    "UINT32", "UINT64", "COMPLEX64", "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ", "UINT4", "INT4", "FLOAT4E2M1",
]  # fmt: skip
#: Where the numbers of a tensor stand that are not raw bytes: packed, or one by one.
_PACKED = {FLOAT: "float_data", DOUBLE: "double_data"}
_LISTED = {6: "int32_data", BOOL: "int32_data", INT64: "int64_data", STRING: "string_data"}
MOST_DIMENSIONS = 8
#: The values of an attribute, by its type.
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}


class Tensor(Message):
    """A constant."""

    FIELDS: ClassVar = {
        1: ("dims", ["int"]), 2: ("data_type", "int"), 3: ("segment", REFUSED), 4: ("float_data", "bytes"),
        5: ("int32_data", ["int"]), 6: ("string_data", ["bytes"]), 7: ("int64_data", ["int"]), 8: ("name", "text"),
        9: ("raw_data", "bytes"), 10: ("double_data", "bytes"), 11: ("uint64_data", REFUSED),
        12: ("doc_string", IGNORED), 13: ("external_data", REFUSED), 14: ("data_location", "int"),
        16: ("metadata_props", IGNORED),
    }  # fmt: skip


class Attribute(Message):
    """A number, text, list or tensor that a node goes by."""

    FIELDS: ClassVar = {
        1: ("name", "text"), 2: ("f", "float"), 3: ("i", "int"), 4: ("s", "bytes"), 5: ("t", Tensor),
        6: ("subgraph", REFUSED), 7: ("floats", ["float"]), 8: ("ints", ["int"]), 9: ("strings", ["bytes"]),
        10: ("tensors", REFUSED), 11: ("subgraphs", REFUSED), 13: ("doc_string", IGNORED), 14: ("tp", REFUSED),
        15: ("type_protos", REFUSED), 20: ("type", "int"), 21: ("ref_attr_name", REFUSED),
        22: ("sparse_tensor", REFUSED), 23: ("sparse_tensors", REFUSED),
    }  # fmt: skip

    @property
    def value(self) -> Any:
        """What it holds."""
        if self.type not in _ATTRIBUTES:
            raise FormatError(f"attribute {self.name!r}: expected a number, text, tensor or list, got type {self.type}")
        value = getattr(self, _ATTRIBUTES[self.type])
        if value is None:
            raise FormatError(f"attribute {self.name!r}: expected a value of type {self.type}, got none")
        return value

    @classmethod
    def of(cls, name: str, value: Any) -> Attribute:
        """One of this value."""
        if isinstance(value, str):
            return cls(name=name, s=value.encode(), type=3)
        if isinstance(value, list):
            return cls(name=name, ints=value, type=7)
        return cls(name=name, f=value, type=1) if isinstance(value, float) else cls(name=name, i=value, type=2)


class Node(Message):
    """An operator, the values it takes and those it gives, by name."""

    FIELDS: ClassVar = {
        1: ("input", ["text"]), 2: ("output", ["text"]), 3: ("name", "text"), 4: ("op_type", "text"),
        5: ("attribute", [Attribute]), 6: ("doc_string", IGNORED), 7: ("domain", "text"), 8: ("overload", "text"),
        9: ("metadata_props", IGNORED), 10: ("device_configurations", IGNORED),
    }  # fmt: skip


class Dimension(Message):
    """A size, or a name for any."""

    FIELDS: ClassVar = {1: ("value", "int"), 2: ("param", "text"), 3: ("denotation", IGNORED)}


class Shape(Message):
    """The sizes of a tensor."""

    FIELDS: ClassVar = {1: ("dim", [Dimension])}


class TensorType(Message):
    """What a tensor is made of."""

    FIELDS: ClassVar = {1: ("elem_type", "int"), 2: ("shape", Shape)}


class Type(Message):
    """What a value is."""

    FIELDS: ClassVar = {
        1: ("tensor", TensorType), 4: ("sequence", IGNORED), 5: ("map", IGNORED), 6: ("denotation", IGNORED),
        8: ("sparse", IGNORED), 9: ("optional", IGNORED),
    }  # fmt: skip


class ValueInfo(Message):
    """An input or an output."""

    FIELDS: ClassVar = {
        1: ("name", "text"), 2: ("type", Type), 3: ("doc_string", IGNORED), 4: ("metadata_props", IGNORED),
    }  # fmt: skip

    @classmethod
    def of(cls, name: str, code: int, *dims: int | str) -> ValueInfo:
        """One of such numbers, and these sizes."""
        shape = Shape(dim=[Dimension(param=dim) if isinstance(dim, str) else Dimension(value=dim) for dim in dims])
        return cls(name=name, type=Type(tensor=TensorType(elem_type=code, shape=shape)))


class Graph(Message):
    """Nodes in the order in which they are computed, constants, inputs and outputs."""

    FIELDS: ClassVar = {
        1: ("node", [Node]), 2: ("name", "text"), 5: ("initializer", [Tensor]), 10: ("doc_string", IGNORED),
        11: ("input", [ValueInfo]), 12: ("output", [ValueInfo]), 13: ("value_info", IGNORED),
        14: ("quantization_annotation", REFUSED), 15: ("sparse_initializer", REFUSED), 16: ("metadata_props", IGNORED),
    }  # fmt: skip


class Opset(Message):
    """The version of a domain's operators."""

    FIELDS: ClassVar = {1: ("domain", "text"), 2: ("version", "int")}


class Entry(Message):
    """A text under a key."""

    FIELDS: ClassVar = {1: ("key", "text"), 2: ("value", "text")}


class Model(Message):
    """A file."""

    FIELDS: ClassVar = {
        1: ("ir_version", "int"), 2: ("producer_name", "text"), 3: ("producer_version", "text"), 4: ("domain", IGNORED),
        5: ("model_version", IGNORED), 6: ("doc_string", IGNORED), 7: ("graph", Graph), 8: ("opset_import", [Opset]),
        14: ("metadata_props", [Entry]), 20: ("training_info", REFUSED), 25: ("functions", REFUSED),
        26: ("configuration", IGNORED),
    }  # fmt: skip


def tensor_of(name: str, array: Array) -> Tensor:
    """An array as a constant: of floats, integers, bools, or text."""
    dims = [*array.shape]
    if array.dtype.kind in "OU":
        texts = [str(text).encode() for text in array.ravel().tolist()]
        return Tensor(name=name, dims=dims, data_type=STRING, string_data=texts)
    dtype = array.dtype.newbyteorder("<") if array.dtype.kind != "b" else array.dtype
    code = next(code for code, known in DTYPES.items() if np.dtype(known) == dtype)
    return Tensor(name=name, dims=dims, data_type=code, raw_data=np.ascontiguousarray(array, dtype).tobytes())


def array_of(tensor: Tensor, where: str) -> Array:
    """A constant as an array, of objects where it is text, once its sizes are those of the bytes that are there."""
    code, dims = tensor.data_type or 0, tensor.dims
    known = _TYPE_NAMES[code] if 0 <= code < len(_TYPE_NAMES) else f"type {code}"
    if tensor.data_location:
        raise FormatError(f"{where}: expected its numbers in this file, got external data")
    if code not in (*DTYPES, STRING):
        raise FormatError(f"{where}: expected FLOAT, DOUBLE, INT32, INT64, BOOL or STRING, got {known}")
    room = math.prod(max(dim, 1) for dim in dims)  # what NumPy multiplies, also where another is 0
    if len(dims) > MOST_DIMENSIONS or any(dim < 0 for dim in dims) or room > sys.maxsize >> 4:
        raise FormatError(
            f"{where}: expected up to {MOST_DIMENSIONS} sizes that NumPy can hold, got {_validate.shown(list(dims))}"
        )
    count, raw = math.prod(dims), tensor.raw_data
    listed: Any = getattr(tensor, _LISTED[code]) if code in _LISTED and not len(raw) else []
    if code in _PACKED and not len(raw):
        raw = getattr(tensor, _PACKED[code])
    there = len(listed) if len(listed) or code == STRING else len(raw) / np.dtype(DTYPES[code]).itemsize
    if there != count:
        raise FormatError(f"{where}: expected {known} of shape {_validate.shown(list(dims))}, got {there:g} numbers")
    if code == STRING:
        return _texts(listed, where).reshape(dims)
    if not len(listed):
        flat = np.frombuffer(raw, DTYPES[code]) if code != BOOL else np.frombuffer(raw, np.uint8) != 0
        return flat.reshape(dims)
    numbers = np.array(listed, np.int64)
    if code != INT64 and (abs(numbers) >= 2**31).any():
        raise FormatError(f"{where}: expected {known}, got a number that is none")
    return numbers.astype(DTYPES[code]).reshape(dims)


def _texts(listed: Any, where: str) -> Array:
    try:
        return np.array([str(text, "utf-8") for text in listed], object)
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: expected text in UTF-8, got an error: {error}") from error


def metadata(model: Model) -> Mapping[str, str]:
    """What the file says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}
