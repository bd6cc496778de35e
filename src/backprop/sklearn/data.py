"""Rows that have been checked, and which of their columns are meant."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import column_or_1d

from .. import _validate

__all__ = ["Rows", "column", "flat", "places"]

Array = _validate.Array


class Rows(NamedTuple):
    """Rows that have been checked: X and y are two-dimensional."""

    X: Array
    y: Array
    weights: Array | None


def column(answers: Array) -> Array:
    """One column as (n_samples,)."""
    return answers[:, 0] if answers.shape[1] == 1 else answers


def flat(y: Any) -> Any:
    """(n_samples, 1) as (n_samples,), with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y


def places(columns: Any, X: Any) -> list[int]:
    """The columns that are meant by their indices, names, mask or, in a DataFrame, type."""
    n, given = X.shape[1], np.asarray(columns)
    kind = given.dtype.kind if given.ndim == 1 else ""
    if isinstance(columns, str):
        found = [i for i, dtype in enumerate(getattr(X, "dtypes", ())) if getattr(dtype, "name", "") == "category"]
    elif kind == "b" and len(given) == n:
        found = np.flatnonzero(given).tolist()
    elif kind == "i" and (abs(given + 0.5) < n).all():
        found = (given % n).tolist()
    else:
        names = list(getattr(X, "columns", ()))
        found = [names.index(name) for name in given.ravel().tolist() if name in names]
        if not kind or len(found) != len(given):
            of = f" of {names}" if names else ""
            raise ValueError(
                f"categorical_features: expected names{of}, indices below {n} or a mask of {n} columns, "
                f"got {_validate.shown(columns)}"
            )
    if not found or len(set(found)) != len(found):
        raise ValueError(f"categorical_features: expected columns, each once, got {_validate.shown(columns)}: {found}")
    return found
