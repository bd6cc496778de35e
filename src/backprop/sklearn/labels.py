"""Classes as columns of numbers, and back."""

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
    """Classes as columns: one that says which of two, or one for each class, or for each of several labels.

    Parameters
    ----------
    y : array-like or sparse matrix
        Labels, or an indicator matrix of several.
    classes : ndarray, default=None
        All there will ever be; None: those in y.
    apart : bool, default=False
        Whether two classes have a column each, too.
    """

    def __init__(self, y: Any, classes: Array | None = None, apart: bool = False) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("y: expected one column, or an indicator matrix, got a class in each of several columns")
        self.several, self.sparse = kind == "multilabel-indicator", hasattr(y, "toarray")
        if classes is None:
            classes = np.arange(y.shape[1]) if self.several else np.unique(y)
        self.classes = classes
        self.multiclass = self._multiclass(apart)

    def _multiclass(self, apart: bool) -> bool:
        return not self.several and len(self.classes) > 2 - apart

    def again(self, y: Any, apart: bool) -> Labels:
        """Those of another fit with the same classes."""
        if is_multilabel(y) != self.several:
            before, now = ("several labels", "one class")[:: 1 if self.several else -1]
            raise ValueError(f"y: expected {before} for each row, as in the last fit, got {now}")
        other = copy.copy(self)
        other.sparse, other.multiclass = hasattr(y, "toarray"), self._multiclass(apart)
        return other

    def encode(self, y: Any) -> Array:
        """The columns (n_samples, n_outputs), of bool."""
        if self.several:
            return np.asarray(y.toarray() if hasattr(y, "toarray") else y, dtype=bool)
        codes = np.searchsorted(self.classes, y) % len(self.classes)
        unknown = self.classes[codes] != y
        if unknown.any():
            raise ValueError(f"`y` has classes not in `self.classes_`, {self.classes}: {np.unique(y[unknown])}.")
        return codes[:, None] == (np.arange(len(self.classes)) if self.multiclass else 1)

    def decide(self, chances: Array) -> Array:
        """The places of the classes in their list, or which of the labels, by the probability of each column."""
        if self.multiclass:
            return chances.argmax(axis=1)
        return (chances if self.several else chances[:, 0]) > 0.5

    def decode(self, chances: Array) -> Any:
        """The classes, or an indicator matrix as y was."""
        decided = self.decide(chances)
        if not self.several:
            return self.classes.take(decided.astype(int), mode="clip")
        return csr_matrix(decided.astype(int)) if self.sparse else decided.astype(int)
