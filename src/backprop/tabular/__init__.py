"""Networks for tables: from columns as they come to what they predict, by recipes that were measured.

Below the estimators and the command line, which both are faces of it; it needs NumPy alone.
"""

from .exporting import to_c, to_onnx
from .fitting import fit, seed_of
from .model import TableModel
from .recipes import PRESETS, Recipe, recipe
from .scores import OF_TASK

__all__ = ["OF_TASK", "PRESETS", "Recipe", "TableModel", "fit", "recipe", "seed_of", "to_c", "to_onnx"]
