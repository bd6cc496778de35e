"""Edges of bins, for a `PiecewiseLinearEmbedding`: by quantiles of a column, or where it tells most of the target."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from .. import _validate

__all__ = ["quantile_edges", "tree_edges"]

Array = _validate.Array

#: What a split must gain, of a row, to be one.
NOTHING = 1e-12
#: What the quantiles of `quantile_edges` are of.
_OF = ("both", "rows", "values")


def quantile_edges(x: Any, n_bins: int = 32, *, of: str = "both") -> list[Array | None]:
    """Edges of bins that hold about as many rows each.

    Parameters
    ----------
    x : array_like, shape (rows, columns)
        Of the training rows.
    n_bins : int, default 32
        Bins of a column, at most; fewer where quantiles coincide.
    of : {"both", "rows", "values"}, default "both"
        "rows": quantiles of all values. "values": of the values without repetitions: a column that is 0 in most rows
        has edges elsewhere, too. "both": one half of each.

    Returns
    -------
    list of numpy.ndarray or None
        Ascending edges of each column, from its smallest to its largest value; None for a column of one value.

    Examples
    --------
    >>> from backprop.preprocessing import quantile_edges
    >>> quantile_edges([[0], [0], [0], [1], [2], [3]], 2, of="rows")
    [array([0. , 0.5, 3. ])]
    """
    _validate.choice(of, "of", _OF)
    bins = _validate.integer(n_bins, "n_bins", 1, 1024)
    return [_quantiles(column, bins, of) for column in _columns(x).T]


def _quantiles(column: Array, bins: int, of: str) -> Array | None:
    values = np.unique(column)
    if values.size < 2:
        return None
    if of != "both":
        found = np.quantile(column if of == "rows" else values, np.linspace(0, 1, bins + 1))
    else:  # the two share the smallest and the largest
        half = (bins + 1) // 2
        found = np.concatenate([
            np.quantile(some, np.linspace(0, 1, n + 1)) for some, n in ((column, half), (values, bins + 1 - half)) if n
        ])  # fmt: skip
    return np.unique(found)


def tree_edges(
    x: Any, y: Any, n_bins: int = 32, *, task: str = "regression", min_samples_leaf: int = 64,
    min_impurity_decrease: float = 1e-4,
) -> list[Array | None]:  # fmt: skip
    """Edges where a decision tree on a column alone splits it: finer where the target changes more.

    Parameters
    ----------
    x : array_like, shape (rows, columns)
        Of the training rows.
    y : array_like, shape (rows,) or (rows, targets)
        Their targets; for classification, a class for each row, as numbers or words.
    n_bins : int, default 32
        Leaves of the tree of a column, at most.
    task : {"regression", "classification"}, default "regression"
        Splits lower the variance of y, or its Gini impurity.
    min_samples_leaf : int, default 64
        Rows in a bin, at least.
    min_impurity_decrease : float, default 1e-4
        What a split lowers the impurity by, at least, as a mean over all rows; of a regression, as a share of the
        variance of y.

    Returns
    -------
    list of numpy.ndarray or None
        Ascending edges of each column, from its smallest to its largest value; None for a column of one value.

    Notes
    -----
    The best split comes first, as in scikit-learn's trees with ``max_leaf_nodes``. A column is sorted once.

    References
    ----------
    Gorishniy, Rubachev, Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022,
    section 3.2.2; the defaults are those that the authors' package suggests.
    """
    classes = _validate.choice(task, "task", ("regression", "classification")) == "classification"
    bins = _validate.integer(n_bins, "n_bins", 1, 1024)
    leaf = _validate.integer(min_samples_leaf, "min_samples_leaf")
    least = _validate.not_negative(min_impurity_decrease, "min_impurity_decrease")
    given = _columns(x)
    target = _indicators(y) if classes else _standardized(y)
    _validate.same_rows(len(given), y=target)
    return [_splits(column, target, bins, leaf, least * len(given)) for column in given.T]


def _columns(x: Any) -> Array:
    given = _validate.array(x, "x")
    if given.ndim != 2:
        raise ValueError(f"x: expected an array of shape (rows, columns), got {given.shape}")
    _validate.some_rows(given)
    return _validate.real(x if given is x else given, "x", np.float64)


def _standardized(y: Any) -> Array:
    """Each target with mean 0; together, a variance of 1."""
    given = _validate.real(_validate.array(y, "y"), "y", np.float64)
    if given.ndim not in (1, 2):
        raise ValueError(f"y: expected shape (rows,) or (rows, targets), got {given.shape}")
    centred = given.reshape(len(given), -1) - given.reshape(len(given), -1).mean(axis=0)
    spread = np.sqrt(np.square(centred).mean(axis=0).sum())
    result: Array = centred / (spread or 1)
    return result


def _indicators(y: Any) -> Array:
    """A column for each class, 1 in its rows."""
    classes, which = np.unique(np.asarray(y), return_inverse=True)
    if np.ndim(y) != 1:
        raise ValueError(f"y: expected a class for each row, shape (rows,), got {np.shape(y)}")
    return np.eye(len(classes))[which]


def _splits(column: Array, target: Array, bins: int, leaf: int, least: float) -> Array | None:
    """The edges of the leaves, the split that gains most first."""
    order = np.argsort(column, kind="stable")
    x, n = column[order], len(order)
    if x[0] == x[-1]:
        return None
    sums = np.concatenate([np.zeros((1, target.shape[1])), target[order].cumsum(axis=0)])
    parts = np.flatnonzero(np.diff(x)) + 1  # where a split may be
    edges = [x[0], x[-1]]
    waiting: list[tuple[float, int, int, int]] = []

    def look(begin: int, end: int) -> None:
        split = _best(sums, parts, begin, end, leaf)
        if split is not None and split[0] >= max(least, NOTHING * n):
            heapq.heappush(waiting, (-split[0], split[1], begin, end))

    look(0, n)
    while waiting and len(edges) <= bins:
        _, at, begin, end = heapq.heappop(waiting)
        edges.append((x[at - 1] + x[at]) / 2)
        look(begin, at)
        look(at, end)
    return np.unique(edges)


def _best(sums: Array, parts: Array, begin: int, end: int, leaf: int) -> tuple[float, int] | None:
    """By how much the best split of some rows lowers their sum of squares, and where it is."""
    first, last = np.searchsorted(parts, (begin + leaf, end - leaf + 1))
    if last <= first:
        return None
    at = parts[first:last]
    left, right = sums[at] - sums[begin], sums[end] - sums[at]
    gain = np.square(left).sum(axis=1) / (at - begin) + np.square(right).sum(axis=1) / (end - at)
    i = int(gain.argmax())
    return float(gain[i] - np.square(sums[end] - sums[begin]).sum() / (end - begin)), int(at[i])
