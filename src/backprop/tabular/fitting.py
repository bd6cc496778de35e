"""From the rows of a table to a model of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _validate
from ..ensemble import Ensemble
from ..tables import Reading
from . import members
from .encoding import Encoding
from .members import Member
from .model import HeldOut, TableModel, Target
from .recipes import Recipe
from .training import Rows, train

__all__ = ["fit", "seed_of"]

Array = _validate.Array

#: X, y and the weights of the rows.
Given = tuple[Any, Array, Array | None]
#: The indices of rows to train on, and of those held out.
Split = tuple[Array, Array]


def fit(
    X: Any, y: Array, weights: Array | None = None, *, recipe: Recipe, classes: Sequence[Any] | None = None,
    asked: Mapping[str, Any] | None = None, readings: Mapping[str, Reading] | None = None,
    validation: Given | None = None, validation_fraction: float = 0.2, folds: int | list[Split] | None = None,
    n_members: int | None = None, early_stopping: bool | int = False, time_limit: float | None = None,
    calibrate: bool = True, seed: int = 0, threads: int | None = None, progress: bool = False,
) -> TableModel:  # fmt: skip
    """Train networks for a table.

    Parameters
    ----------
    X : DataFrame, dict of columns, array or Table
    y : numpy.ndarray
        Labels (rows,), from 0; or numbers (rows, n_out).
    weights : numpy.ndarray, shape (rows,), optional
    recipe : Recipe
    classes : sequence, optional
        What the labels stand for. Default: y are numbers.
    asked : dict, optional
        How columns are to be read, as arguments of `TableEncoder`: numeric, category, date, drop, id, decimal.
    readings : dict of str to Reading, optional
        How each of them is read, where that is known.
    validation : tuple, optional
        X, y and weights of rows by which epochs are judged. Default: some of the others are held out.
    validation_fraction : float, default 0.2
        How many; 0: none, and the last epoch counts.
    folds : int or list of tuple, optional
        Members by folds instead: how many there are, or of each the rows to train on and those held out.
    n_members : int, optional
        How many; of each fold. Default: what the recipe says, or one of each fold.
    early_stopping : bool or int, default False
        After how many epochs without a better one a member stops; True: a fifth of all.
    time_limit : float, optional
        Seconds.
    calibrate : bool, default True
        Whether held-out rows choose a temperature for the probabilities.
    seed : int, default 0
    threads : int, optional
    progress : bool, default False

    Returns
    -------
    TableModel
    """
    target = None if classes is not None else Target.learn(y, weights, recipe.clamped)
    encoding = Encoding.learn(X, recipe, asked or {}, readings)
    rows = _rows(encoding, target, (X, y, weights))
    if validation is not None:
        validation_fraction = 0.0
    count = n_members or (recipe.n_members if folds is None else 1)
    chosen = [*_chosen(rows, classes is not None, validation_fraction, folds, count, np.random.default_rng(seed))]
    if validation is not None:
        rows, chosen = _beside(rows, _rows(encoding, target, validation), chosen)
    if rows.weights is not None:
        _expect_weights(rows.weights, chosen)
    recipe = recipe.sized(min(len(one.rows) for one in chosen))
    trained = train(
        recipe, encoding.layout, rows, chosen, y.shape[1] if classes is None else len(classes),
        classes=classes is not None, patience=recipe.patience(early_stopping), time_limit=time_limit, threads=threads,
        progress=progress,
    )  # fmt: skip
    model = TableModel(encoding, Ensemble(trained.networks), None if classes is None else [*classes], target)
    model.scores, model.best_epochs, model.histories = trained.scores, trained.best, trained.histories
    model.learn_from(HeldOut(rows, [one.held_out for one in chosen]), calibrate, threads)
    return model


def seed_of(random_state: Any) -> int:
    """The seed of a fit, drawn from an old generator of NumPy's, as scikit-learn has them."""
    return int(random_state.randint(2**31 - 1))


def _rows(encoding: Encoding, target: Target | None, given: Given) -> Rows:
    X, y, weights = given
    return Rows(encoding(X), y if target is None else target.encode(y), weights)


def _chosen(
    rows: Rows, classes: bool, fraction: float, folds: int | list[Split] | None, count: int, rng: np.random.Generator
) -> Iterator[Member]:
    """What each member sees."""
    strata = rows.y if classes else None
    if folds is None:
        return members.held_out(len(rows), fraction, count, strata, rng)
    if isinstance(folds, int):
        return members.folds(len(rows), folds, count, strata, rng)
    return members.given(len(rows), folds, count, rng)


def _expect_weights(weights: Array, chosen: Sequence[Member]) -> None:
    """Refuse a division of which a part counts for nothing."""
    parts = (part for one in chosen for part in (one.rows, one.held_out) if len(part))
    if not all(weights[part].any() for part in parts):
        raise ValueError(
            "sample_weight: expected some weight among the rows that each network is trained on, and among those held "
            "out from it, got 0: leave out rows that do not count"
        )


def _beside(rows: Rows, others: Rows, chosen: list[Member]) -> tuple[Rows, list[Member]]:
    """With other rows behind them, which are held out from all members."""
    held_out = np.arange(len(rows), len(rows) + len(others))
    return rows.with_others(others), [one._replace(held_out=held_out) for one in chosen]
