"""A graph as an ONNX model: operators that ONNX runtimes know, written without another library."""

from .lowering import ensemble, network
from .writer import NEWEST, Writer

__all__ = ["NEWEST", "Writer", "ensemble", "network"]
