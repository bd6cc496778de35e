"""scikit-learn's multi-layer perceptrons, trained by backprop: the same parameters, attributes and pipelines, and more."""

from .estimator import Labels as Labels
from .estimator import MLPClassifier, MLPRegressor
from .estimator import _times as _times

__all__ = ["MLPClassifier", "MLPRegressor"]
