"""Networks as C files."""

from .export import Columns, Model, Prepared, checked_path, export, export_model
from .integers import Quantized, quantize

__all__ = ["Columns", "Model", "Prepared", "Quantized", "checked_path", "export", "export_model", "quantize"]
