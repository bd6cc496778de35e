"""Tables: a CSV file, read strictly; and the recipe that makes numbers of it, the same ones in training and after.

Numbers are standardised, a missing one becomes the mean and a flag; categories become columns of 0 and 1, all 0 for one
that was not there in training, as are those of a missing one unless some were missing then. `readings` says which
columns are what. A target is a number to predict if it is numeric, unless it holds at most ten whole numbers, each
twice or more on average: those are classes, as texts are.
"""

from .cells import Style
from .columns import Reading, readings
from .reader import read
from .recipe import Number, Recipe, Text
from .table import Table

__all__ = ["Number", "Reading", "Recipe", "Style", "Table", "Text", "read", "readings"]
