"""A graph as an ONNX model: operators that ONNX runtimes know, written without another library."""

from .around import estimator, table_model
from .lowering import ensemble, network
from .writer import NEWEST, Writer

__all__ = ["NEWEST", "Writer", "ensemble", "estimator", "network", "table_model"]
