"""Networks of other libraries as networks of this one, read from the object that is handed over, or from ONNX files.

No other library is imported: what it takes is the attributes that their own objects have.
"""

from .keras import from_keras
from .onnx import from_onnx
from .sklearn import from_sklearn
from .torch import from_torch

__all__ = ["from_keras", "from_onnx", "from_sklearn", "from_torch"]
