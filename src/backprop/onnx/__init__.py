"""A graph as an ONNX model: operators that ONNX runtimes know, written without another library."""

from .lowering import ensemble, network
from .writer import Writer

__all__ = ["Writer", "ensemble", "network"]
