"""Networks of other libraries as networks of this one, read from the object that is handed over.

No other library is imported: what it takes is the attributes that their own objects have.
"""

from .keras import from_keras
from .sklearn import from_sklearn
from .torch import from_torch

__all__ = ["from_keras", "from_sklearn", "from_torch"]
