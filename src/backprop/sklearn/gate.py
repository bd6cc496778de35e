"""The gate of the estimators: scikit-learn's checks, since it is scikit-learn's users who come through it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, validate_data

from .. import _validate
from .data import Rows, categorical_columns, encoder, flat

__all__ = ["Gate"]

Array = _validate.Array

SPARSE = ("csr", "csc")
FLOATS = (np.float64, np.float32)


class Gate(BaseEstimator):
    """An estimator that checks its data, and encodes categorical features."""

    _encoder: Any = None
    #: Whether y must be numbers.
    _numeric: ClassVar[bool]

    def _rows(self, X: Any, y: Any, sample_weight: Any, incremental: bool, first: bool) -> Rows:
        X, y = self._check(X, first, y=y)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        weights = self._class_weights(y, weights, incremental)
        y = self._targets(flat(y), incremental)
        return Rows(X, y.reshape(len(y), -1), weights)

    def _check(self, X: Any, first: bool = False, **given: Any) -> tuple[Array, Any]:
        """X as a dense array of floats, the categories first; and y, where it is given."""
        if self.categorical_features is None if first else self._encoder is None:
            self._encoder = None
            multi = {"multi_output": True, "y_numeric": self._numeric} if given else {}
            found = validate_data(self, X, accept_sparse=SPARSE, dtype=FLOATS, reset=first, **given, **multi)
            X, y = found if given else (found, None)
            return X.toarray() if hasattr(X, "toarray") else X, y
        return self._check_mixed(X, first, given)

    def _check_mixed(self, X: Any, first: bool, given: dict[str, Any]) -> tuple[Array, Any]:
        """The same for an X with categorical features."""
        validate_data(self, X, skip_check_array=True, reset=first, **given)
        y = self._check_y(given["y"]) if given else None
        X = X if hasattr(X, "columns") else check_array(X, dtype=None, ensure_all_finite="allow-nan")
        if first:
            self._categorical = categorical_columns(self.categorical_features, X)
            self._encoder = encoder(self._categorical, X.shape[1]).fit(X)
            self._categories = [len(names) + 1 for names in self._encoder.transformers_[0][1].categories_]
        encoded = check_array(self._encoder.transform(X), dtype=FLOATS, copy=True)
        encoded[:, : len(self._categories)] += 1  # those not seen in the first fit, and the missing, are 0
        return encoded, y

    def _check_y(self, y: Any) -> Array:
        """Check y alone, as it is checked beside X."""
        kind = "numeric" if self._numeric else None
        return check_array(y, accept_sparse="csr", ensure_2d=False, dtype=kind, input_name="y")

    def _validation(self, X: Any, y: Any, sample_weight: Any, targets: int) -> Rows | None:
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val: expected it together with X_val and y_val, got it alone")
            return None
        if X is None or y is None:
            raise ValueError("X_val: expected it together with y_val, got one of them")
        X, _ = self._check(X)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        with _validate.within("y_val"):
            y = self._encode(flat(self._check_y(y)))
        y = y.reshape(len(y), -1)
        check_consistent_length(X, y)
        if y.shape[1] != targets:
            raise ValueError(f"y_val: expected as many columns as y has, {targets}, got {y.shape[1]}")
        return Rows(X, y, weights)

    def _passes(self, X: Any) -> bool:
        """Whether scikit-learn's checks would return X as it is: they take longer than a small network does."""
        with np.errstate(all="ignore"):
            return (
                type(X) is np.ndarray and X.ndim == 2 and X.dtype in FLOATS and len(X) > 0
                and hasattr(self, "network_") and self._encoder is None
                and X.shape[1] == self.n_features_in_ and not hasattr(self, "feature_names_in_")
                and bool(np.isfinite(X.sum()))
            )  # fmt: skip

    # What the two do each in their way.

    def _class_weights(self, y: Any, weights: Array | None, incremental: bool) -> Array | None:
        return weights

    def _targets(self, y: Any, incremental: bool) -> Array:
        """The columns of y as numbers; its classes are learned."""
        raise NotImplementedError

    def _encode(self, y: Any) -> Array:
        """The same for a y whose classes are known."""
        raise NotImplementedError
