"""scikit-learn's multi-layer perceptrons, trained by backprop: the same parameters, attributes and pipelines, and more.

Changing the import is all it takes; ``docs/sklearn.md`` says what is new, and what is counted differently. The initial
weights and the validation split are those that scikit-learn draws from the same `random_state`; the order of the rows
is another.
"""

try:
    from sklearn.utils.validation import validate_data as _  # noqa: F401  # new in 1.6
except ImportError as error:
    raise ImportError('backprop.sklearn needs scikit-learn 1.6 or later: pip install "backprop-nn[sklearn]"') from error

from .classifier import MLPClassifier
from .labels import Labels
from .regressor import MLPRegressor
from .search import Sweep, sweep
from .solvers import _times

__all__ = ["MLPClassifier", "MLPRegressor", "Sweep", "sweep"]

for _pickled in (MLPClassifier, MLPRegressor, Labels, Sweep, _times):
    _pickled.__module__ = __name__  # where pickles look for them
