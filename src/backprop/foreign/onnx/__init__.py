"""ONNX models as networks of this library, by a reader of our own."""

from __future__ import annotations

import json
from typing import Any

from ... import _validate
from ...errors import FormatError
from ...io import onnx as files
from ...io import source
from ...network import Sequential
from .layering import layered
from .values import Program

__all__ = ["from_onnx"]

#: How many numbers a network may have beside those of the file: one may stand for all columns there.
ROOM = 1 << 22


def from_onnx(file: source.Readable) -> Sequential:
    """A network from an ONNX model, of what scikit-learn, PyTorch, Keras and `Sequential.export_onnx` write.

    Parameters
    ----------
    file : str, path-like, bytes-like or binary file
        As `load` takes it. A dense network: ``Gemm`` or ``MatMul`` and ``Add``, activations, written as one operator or
        as several, batch norm, layer norm, dropout, PReLU, embeddings of the input's columns, scaling, sums with what
        a branch began with, and concatenation. Its operators are of versions 7 to 28.

    Returns
    -------
    Sequential
        With copies of the weights, in their type, which trains on. What scales and shifts columns is a `Scale`, or a
        `BatchNorm` that training leaves alone. Where the model names classes, they are ``net.metadata["classes"]``.

    Raises
    ------
    FormatError
        If the file is damaged, or has what no layer computes: it is named. No code of a file is run, and no other file
        is opened.

    Examples
    --------
    >>> net = bp.from_onnx("model.onnx")
    """
    name = source.name_of(file)
    with source.named(name):
        data = source.whole(file)
        other = source.other_format(bytes(data[:8]))
        if other and "ONNX" not in other:
            raise FormatError(f"expected an ONNX model, got {other}")
        model = files.Model.unpack(data)
        program = Program(model)
        try:
            made = layered(program, ROOM + 4 * len(data))
            net = made.network()
            _describe(net, program, files.metadata(model), model.producer_name)
        except FormatError:
            raise
        except (ArithmeticError, TypeError, ValueError) as error:
            raise FormatError(f"expected a dense network, got one that does not make sense: {error}") from error
    return net


def _describe(net: Sequential, program: Program, metadata: Any, producer: str) -> None:
    """What the file says of features and classes."""
    if program.classes is not None and len(program.classes) == net.n_out:
        net.metadata["classes"] = program.classes
    if producer == "backprop":
        given = {key: json.loads(metadata[key]) for key in ("feature_names", "classes") if key in metadata}
        net.feature_names = given.get("feature_names")
        if isinstance(given.get("classes"), list):
            net.metadata = {**net.metadata, "classes": given["classes"]}
    _validate.real(net.parameters, "parameters", net.dtype)
