"""A grid search whose fits go side by side, on threads of one process, with the scores of scikit-learn's."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import product
from numbers import Real
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn import config_context, get_config
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _check_method_params

from .. import _pool, _threads, _validate, callbacks
from .._workers import workers

__all__ = ["Sweep", "sweep"]

Array = _validate.Array


@dataclass(repr=False)
class Sweep:
    """What a `sweep` came to, by the names that a fitted `GridSearchCV` has.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        A table with a row for each candidate: "params", "param_alpha", "split0_test_score", "mean_test_score",
        "std_test_score", "rank_test_score", "mean_fit_time" and so on. ``pandas.DataFrame`` takes it.
    best_index_ : int
        The row of the best candidate.
    best_params_ : dict
    best_score_ : float
        Its mean score.
    best_estimator_ : estimator or None
        It, fitted to all rows; None with ``refit=False``.
    n_splits_ : int
        How many folds there were.
    """

    cv_results_: dict[str, Any]
    best_index_: int
    best_params_: dict[str, Any]
    best_score_: float
    best_estimator_: Any
    n_splits_: int

    def __repr__(self) -> str:
        count = len(self.cv_results_["params"])
        return f"<Sweep of {count} candidates: {self.best_score_:.4g} with {self.best_params_}>"


@dataclass
class _Scored:
    """A fit on a fold, and its score."""

    score: float
    fit_time: float
    score_time: float
    error: Exception | None = None


def sweep(
    estimator: Any, grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]], X: Any, y: Any = None, *,
    cv: Any = None, scoring: Any = None, groups: Any = None, fit_params: Mapping[str, Any] | None = None,
    refit: bool = True, error_score: Any = math.nan, threads: int | None = None, progress: bool = False,
) -> Sweep:  # fmt: skip
    """Fit all candidates of a grid on all folds, side by side, and the best of them on all rows.

    The scores are those of scikit-learn's `GridSearchCV` with the same seeds. Its processes each hold a copy of the
    data, and take longer to start than a small network to train; here the fits share one process, each on one thread.

    Parameters
    ----------
    estimator : estimator
        `MLPClassifier`, `MLPRegressor`, or a pipeline that ends in one. Others are fitted too, but they may hold the
        interpreter's lock, and wait for one another.
    grid : dict of str to list, or list of such
        Parameters and their values, as `GridSearchCV` takes them; in a pipeline "mlpclassifier__alpha".
    X, y : array-like
    cv, scoring, groups
        As `GridSearchCV` and its `fit` take them; one score.
    fit_params : dict, optional
        What else each `fit` is given, such as ``{"sample_weight": weights}``; what has a value for each row is split
        with the rows.
    refit : bool, default True
        Fit the best candidate to all rows.
    error_score : "raise" or float, default NaN
        The score of a fit that fails, with a warning; or raise its error, which stops the others.
    threads : int or None, default None
        How many fits at a time. None: as many as there are free processors. Where joblib's ``parallel_config`` is
        active with processes, as "loky", "dask" or "ray", its workers fit, to the same scores.
    progress : bool, default False
        Show how many fits are done.

    Returns
    -------
    Sweep

    Examples
    --------
    >>> grid = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(16,), (64,)]}
    >>> found = sweep(MLPClassifier(random_state=0), grid, X, y, cv=3)
    >>> sorted(found.best_params_)
    ['alpha', 'hidden_layer_sizes']
    """
    candidates = list(ParameterGrid(grid))
    if not candidates:
        raise ValueError("grid: expected at least one candidate, got none")
    if error_score != "raise" and not isinstance(error_score, Real):
        raise TypeError(f'error_score: expected a number or "raise", got {_validate.shown(error_score)}')
    refit = _validate.flag(refit, "refit")
    X, y = indexable(X, y)
    folds = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))
    if isinstance(scoring, (list, tuple, set, dict)):
        raise TypeError(f"scoring: expected one score, its name or a function, got {_validate.shown(scoring)}")
    fitting = _Fitting(estimator, candidates, folds, X, y, check_scoring(estimator, scoring), dict(fit_params or {}))
    fitting.run(error_score == "raise", threads, _validate.flag(progress, "progress"))
    results = fitting.results(error_score)
    best = int(results["rank_test_score"].argmin())
    chosen = fitting.candidate(best).fit(X, y, **fitting.params) if refit else None
    return Sweep(results, best, candidates[best], float(results["mean_test_score"][best]), chosen, len(folds))


class _Fitting:
    """The fits of all candidates on all folds."""

    def __init__(
        self, estimator: Any, candidates: list[dict[str, Any]], folds: list[Any], X: Any, y: Any, scorer: Any,
        params: dict[str, Any],
    ) -> None:  # fmt: skip
        self.estimator, self.candidates, self.folds, self.params = estimator, candidates, folds, params
        self._X, self._y, self._scorer, self._config = X, y, scorer, get_config()
        self._found: dict[tuple[int, int], _Scored] = {}

    def candidate(self, i: int) -> Any:
        """A new estimator with these parameters."""
        return clone(self.estimator).set_params(**clone(self.candidates[i], safe=False))

    def run(self, stops: bool, threads: int | None, progress: bool) -> None:
        """Fit and score them, side by side."""
        places, others = list(product(range(len(self.candidates)), range(len(self.folds)))), workers()
        if others is not None:
            found = others.call(_Fitting.score, [(self, *place, stops) for place in places])
            self._found = dict(zip(places, found, strict=True))
        else:
            with (
                closing(callbacks.Counter(len(places), "fit", progress)) as counter,
                _threads.take(_threads.checked(threads), len(places)) as count,
            ):
                tasks = [partial(self._keep, i, fold, stops) for i, fold in places]
                _pool.run(tasks, min(count, len(tasks)), lambda: counter.show(len(self._found)))
        failed = {place: one.error for place, one in self._found.items() if one.error is not None}
        if failed:
            first = min(failed)
            said = f"the first, of {self.candidates[first[0]]}: {type(failed[first]).__name__}: {failed[first]}"
            if len(failed) == len(places):
                raise ValueError(f"sweep: all {len(places)} fits failed; {said}") from failed[first]
            warnings.warn(
                f"sweep: {len(failed)} of {len(places)} fits failed; {said}", FitFailedWarning, stacklevel=3
            )  # fmt: skip

    def _keep(self, i: int, fold: int, stops: bool) -> None:
        self._found[i, fold] = self.score(i, fold, stops)

    def score(self, i: int, fold: int, stops: bool) -> _Scored:
        """Fit a candidate on the rows of a fold, and score it on the others."""
        train, test = self.folds[fold]
        found = _Scored(math.nan, 0.0, 0.0)
        with config_context(**self._config):
            one, begun = self.candidate(i), time.perf_counter()
            try:
                (X, y), (X_test, y_test) = self._rows(train), self._rows(test)
                one.fit(X, *y, **_check_method_params(self._X, self.params, indices=train))
                found.fit_time, begun = time.perf_counter() - begun, time.perf_counter()
                found.score = self._scorer(one, X_test, *y_test)
                found.score_time = time.perf_counter() - begun
            except Exception as error:
                error.add_note(f"in a fit with {self.candidates[i]}, fold {fold}")
                if stops:
                    raise
                found.error = error
        return found

    def _rows(self, which: Any) -> tuple[Any, list[Any]]:
        return _safe_indexing(self._X, which), [] if self._y is None else [_safe_indexing(self._y, which)]

    def results(self, error_score: Any) -> dict[str, Any]:
        """The table, by scikit-learn's names."""
        count, folds = len(self.candidates), len(self.folds)
        every = [[self._found[i, fold] for fold in range(folds)] for i in range(count)]
        score = np.array([[error_score if one.error else one.score for one in row] for row in every], float)
        table: dict[str, Any] = {}
        for name in ("fit_time", "score_time"):
            times = np.array([[getattr(one, name) for one in row] for row in every])
            table |= {f"mean_{name}": times.mean(axis=1), f"std_{name}": times.std(axis=1)}
        for name in sorted({name for candidate in self.candidates for name in candidate}):
            column: Any = np.ma.MaskedArray(np.empty(count, object), mask=True)
            for i, candidate in enumerate(self.candidates):
                if name in candidate:
                    column[i] = candidate[name]
            table[f"param_{name}"] = column
        table["params"] = self.candidates
        table |= {f"split{fold}_test_score": score[:, fold] for fold in range(folds)}
        mean = score.mean(axis=1)
        worst = np.nanmin(mean) - 1 if np.isfinite(mean).any() else 0.0  # below all others
        ranks = rankdata(-np.nan_to_num(mean, nan=worst), method="min").astype(np.int32)
        return table | {"mean_test_score": mean, "std_test_score": score.std(axis=1), "rank_test_score": ranks}
