"""Which rows each member is trained on, and which are held out from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .. import _validate

__all__ = ["Member", "folds", "held_out"]

Array = _validate.Array


class Member(NamedTuple):
    """The indices of rows to train on, and of those held out; the seed of all that is random beside."""

    rows: Array
    held_out: Array
    seed: int


def held_out(n: int, share: float, count: int, strata: Array | None, rng: np.random.Generator) -> Iterator[Member]:
    """So many members, each of which has its own share of the rows held out.

    Parameters
    ----------
    strata : numpy.ndarray or None
        The class of each row: each class is held out alike.
    """
    for _ in range(count):
        order = rng.permutation(n)
        out = np.sort(_first(order, share, strata))
        yield Member(np.setdiff1d(np.arange(n), out), out, _seed(rng))


def folds(n: int, k: int, count: int, strata: Array | None, rng: np.random.Generator) -> Iterator[Member]:
    """For each of k folds so many members, from which it is held out."""
    for _ in range(count):
        order = rng.permutation(n)
        if strata is not None:
            order = order[np.argsort(strata[order], kind="stable")]
        for fold in range(k):
            out = np.sort(order[fold::k])
            yield Member(np.setdiff1d(np.arange(n), out), out, _seed(rng))


def given(n: int, parts: list[tuple[Array, Array]], count: int, rng: np.random.Generator) -> Iterator[Member]:
    """So many members for each of these pairs of rows, those to train on and those held out."""
    if not parts:
        raise ValueError("cv: expected at least one division of the rows, got none")
    divided = [(_indices(rows, n), _indices(out, n)) for rows, out in parts]
    if not all(len(rows) for rows, _ in divided):
        raise ValueError("cv: expected rows to train on in each division, got none")
    for _ in range(count):
        for rows, out in divided:
            yield Member(rows, out, _seed(rng))


def _indices(rows: Array, n: int) -> Array:
    """The indices of rows; a mask is made such."""
    given = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
    if not given.size:
        return np.zeros(0, np.intp)
    if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= n:
        raise ValueError(f"cv: expected indices of rows, from 0 to {n - 1}, got {_validate.shown(given.tolist())}")
    return given


def _first(order: Array, share: float, strata: Array | None) -> Array:
    """The first rows in this order; of each class its share, but never its last row."""
    if strata is None:
        return order[: min(round(share * len(order)), len(order) - 1)]
    classes = (order[strata[order] == k] for k in np.unique(strata))
    return np.concatenate([rows[: min(round(share * len(rows)), len(rows) - 1)] for rows in classes])


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))
