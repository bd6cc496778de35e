"""Networks as C files."""

from .export import export
from .integers import Quantized, quantize

__all__ = ["Quantized", "export", "quantize"]
