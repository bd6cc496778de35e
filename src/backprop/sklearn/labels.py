"""Class labels as columns of targets, and predicted probabilities as class labels."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.multiclass import check_classification_targets, is_multilabel, type_of_target

from .. import _validate

__all__ = ["Labels"]

Array = _validate.Array


class Labels:
    """How classes are encoded: one column for two classes, else one-hot; one column for each of several labels.

    Parameters
    ----------
    y : array-like or sparse matrix
        Class labels, or the indicator matrix of several labels.
    classes : ndarray, default=None
        All classes; None: those in y.
    one_hot : bool, default=False
        Whether two classes are one-hot, too.
    """

    def __init__(self, y: Any, classes: Array | None = None, one_hot: bool = False) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("y: expected one column, or an indicator matrix, got a class in each of several columns")
        self.several, self.sparse = kind == "multilabel-indicator", hasattr(y, "toarray")
        if classes is None:
            classes = np.arange(y.shape[1]) if self.several else np.unique(y)
        self.classes = classes
        self.multiclass = self._is_one_hot(one_hot)

    def _is_one_hot(self, asked: bool) -> bool:
        return not self.several and len(self.classes) > 2 - asked

    def of_another_fit(self, y: Any, one_hot: bool) -> Labels:
        """The same classes, for the y of another fit."""
        if is_multilabel(y) != self.several:
            before, now = ("several labels", "one class")[:: 1 if self.several else -1]
            raise ValueError(f"y: expected {before} for each row, as in the last fit, got {now}")
        other = copy.copy(self)
        other.sparse, other.multiclass = hasattr(y, "toarray"), self._is_one_hot(one_hot)
        return other

    def encode(self, y: Any) -> Array:
        """The targets (n_samples, n_outputs), of bool."""
        if self.several:
            return np.asarray(y.toarray() if hasattr(y, "toarray") else y, dtype=bool)
        codes = np.searchsorted(self.classes, y) % len(self.classes)
        unknown = self.classes[codes] != y
        if unknown.any():
            raise ValueError(f"`y` has classes not in `self.classes_`, {self.classes}: {np.unique(y[unknown])}.")
        return codes[:, None] == (np.arange(len(self.classes)) if self.multiclass else 1)

    def decide(self, probabilities: Array) -> Array:
        """The index of the predicted class of each row, or which labels it has, from the probability of each column."""
        if self.multiclass:
            return probabilities.argmax(axis=1)
        return (probabilities if self.several else probabilities[:, 0]) > 0.5

    def decode(self, probabilities: Array) -> Any:
        """The predicted classes, or an indicator matrix as y was."""
        decided = self.decide(probabilities)
        if not self.several:
            return self.classes.take(decided.astype(int), mode="clip")
        return csr_matrix(decided.astype(int)) if self.sparse else decided.astype(int)
