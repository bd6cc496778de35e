"""Networks as C files."""

from .export import Model, Prepared, checked_path, export, export_model
from .integers import Quantized, quantize

__all__ = ["Model", "Prepared", "Quantized", "checked_path", "export", "export_model", "quantize"]
