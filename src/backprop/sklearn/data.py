"""Data in scikit-learn's shapes: checked rows, categorical columns, the validation split."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.utils import column_or_1d

from .. import _validate

__all__ = ["Rows", "by_original_column", "categorical_columns", "column", "encoder", "flat", "mean", "split"]

Array = _validate.Array


class Rows(NamedTuple):
    """Rows that have been checked: X and y are two-dimensional."""

    X: Array
    y: Array
    weights: Array | None


def column(outputs: Array) -> Array:
    """A single column as (n_samples,)."""
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def mean(found: list[Array]) -> Array:
    """Of what each member gives; of one, that itself."""
    if len(found) == 1:
        return found[0]
    total = found[0].astype(np.float64)
    for other in found[1:]:  # in their order, so that no row depends on those beside it
        total += other
    return (total / len(found)).astype(found[0].dtype)


def flat(y: Any) -> Any:
    """(n_samples, 1) as (n_samples,), with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y


def split(random: Any, rows: Rows, share: float, stratified: bool) -> tuple[Rows, Rows]:
    """Hold out a share for validation, as scikit-learn does."""
    stratify = rows.y if stratified and rows.y.shape[1] == 1 else None
    given = [part for part in rows if part is not None]
    parts = train_test_split(*given, random_state=random, test_size=share, stratify=stratify)
    train, held_out = (Rows(*some, *[None] * (3 - len(given))) for some in (parts[::2], parts[1::2]))
    if len(held_out.X) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return train, held_out


def encoder(categorical: list[int], n: int) -> ColumnTransformer:
    """Categories to codes from -1, in the first columns; the other columns to mean 0 and variance 1."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, dtype=np.float64
    )
    others = np.setdiff1d(np.arange(n), categorical).tolist()
    return ColumnTransformer(
        [("categories", codes, categorical), ("numbers", StandardScaler(), others)], sparse_threshold=0
    )


def by_original_column(gradients: Array, fitted: ColumnTransformer, categorical: list[int]) -> Array:
    """Gradients (..., n) with respect to what `encoder` made, as those with respect to the columns of X."""
    others = np.setdiff1d(np.arange(gradients.shape[-1]), categorical)
    kind, scaler, _ = fitted.transformers_[1]
    if kind == "numbers" and len(others):
        gradients[..., len(categorical) :] /= scaler.scale_
    return gradients[..., np.argsort([*categorical, *others])]


def categorical_columns(given: Any, X: Any) -> list[int]:
    """The indices of the columns that are given by index, name, mask or, in a DataFrame, dtype."""
    n, array = X.shape[1], np.asarray(given)
    kind = array.dtype.kind if array.ndim == 1 else ""
    if isinstance(given, str):
        found = [i for i, dtype in enumerate(getattr(X, "dtypes", ())) if getattr(dtype, "name", "") == "category"]
    elif kind == "b" and len(array) == n:
        found = np.flatnonzero(array).tolist()
    elif kind == "i" and (abs(array + 0.5) < n).all():
        found = (array % n).tolist()
    else:
        names = list(getattr(X, "columns", ()))
        found = [names.index(name) for name in array.ravel().tolist() if name in names]
        if not kind or len(found) != len(array):
            of = f" of {names}" if names else ""
            raise ValueError(
                f"categorical_features: expected names{of}, indices below {n} or a mask of {n} columns, "
                f"got {_validate.shown(given)}"
            )
    if not found or len(set(found)) != len(found):
        raise ValueError(f"categorical_features: expected columns, each once, got {_validate.shown(given)}: {found}")
    return found
