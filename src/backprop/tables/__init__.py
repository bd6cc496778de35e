"""Tables: a CSV file, read strictly; and the recipe that preprocesses it, the same in training and at inference.

Numeric features are standardised, a missing value becomes the mean and a flag; dates become such numbers; categorical
features are one-hot encoded, all 0 for a category unknown in training, as for a missing one unless some were missing
then. `readings` says which columns are what. A target is regression if it is numeric, unless it holds at most ten whole
numbers, each twice or more on average: those are classes, as texts are. Of DataFrames, `backprop.preprocessing` does
the same.
"""

from .cells import Style
from .columns import Reading, readings
from .features import Date
from .frames import of
from .prepared import Aimed, Prepared, aimed, prepared
from .reader import read
from .recipe import Number, Recipe, Text
from .table import Table

__all__ = [
    "Aimed", "Date", "Number", "Prepared", "Reading", "Recipe", "Style", "Table", "Text", "aimed", "of", "prepared",
    "read", "readings",
]  # fmt: skip
