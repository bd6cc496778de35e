"""scikit-learn's multi-layer perceptrons, trained by backprop: the same parameters, attributes and pipelines, and more.

Changing the import is all it takes; ``docs/sklearn.md`` says what is new, and what is counted differently. The initial
weights and the validation split are those that scikit-learn draws from the same `random_state`; the order of the rows
is another.
"""

try:
    from sklearn.utils.validation import validate_data as _  # noqa: F401  # new in 1.6
except ImportError as error:
    raise ImportError('backprop.sklearn needs scikit-learn 1.6 or later: pip install "backprop-nn[sklearn]"') from error

import os

from .classifier import MLPClassifier
from .labels import Labels
from .realmlp import RealMLPClassifier, RealMLPRegressor
from .regressor import MLPRegressor
from .search import Sweep, sweep
from .solvers import _times

__all__ = ["MLPClassifier", "MLPRegressor", "RealMLPClassifier", "RealMLPRegressor", "Sweep", "load", "sweep"]


def load(path: "str | os.PathLike[str]") -> "MLPClassifier | MLPRegressor | RealMLPClassifier | RealMLPRegressor":
    """Read an estimator that its `save` wrote, without pickle: nothing in a file is run.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    MLPClassifier, MLPRegressor, RealMLPClassifier or RealMLPRegressor
        Fitted; it predicts the same, to the last bit.

    Raises
    ------
    FormatError
        If the file is damaged, or not one of ours, or holds a network alone, which `backprop.load` reads.
    """
    from .saving import read

    found: MLPClassifier | MLPRegressor | RealMLPClassifier | RealMLPRegressor
    found = read(path, {kind.__name__: kind for kind in (MLPClassifier, MLPRegressor)})
    return found


for _pickled in (MLPClassifier, MLPRegressor, RealMLPClassifier, RealMLPRegressor, Labels, Sweep, _times):
    _pickled.__module__ = __name__  # where pickles look for them
