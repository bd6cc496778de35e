"""Networks as C files."""

from .export import Model, Prepared, export, export_model
from .integers import Quantized, quantize

__all__ = ["Model", "Prepared", "Quantized", "export", "export_model", "quantize"]
