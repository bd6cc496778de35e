"""`RealMLPClassifier` and `RealMLPRegressor`: strong networks for tables, which take a table as it comes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, BinaryIO, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.model_selection import check_cv
from sklearn.utils import assert_all_finite, check_array, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from .. import _frames, _validate, c, tabular
from ..ensemble import Ensemble
from ..io import atomic
from ..network import Sequential
from .data import column
from .parameters import keep

__all__ = ["RealMLPClassifier", "RealMLPRegressor", "of_file"]

Array = _validate.Array

#: The parameters that take the place of what the preset says, by its name there.
OF_RECIPE = (
    "hidden_layer_sizes", "learning_rate", "epochs", "batch_size", "dropout", "weight_decay", "label_smoothing",
    "metric",
)  # fmt: skip

_count = Interval(Integral, 1, None, closed="left")
_positive = Interval(Real, 0, None, closed="neither")
_share = Interval(Real, 0, 1, closed="left")


class RealMLP(BaseEstimator):
    """What the two have in common."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "preset": [StrOptions(set(tabular.PRESETS))],
        "n_members": [_count, None],
        "cv": ["cv_object"],
        "validation_fraction": [_share],
        "early_stopping": ["boolean", _count],
        "time_limit": [_positive, None],
        "hidden_layer_sizes": ["array-like", _count, None],
        "learning_rate": [_positive, None],
        "epochs": [_count, None],
        "batch_size": [_count, None],
        "dropout": [_share, None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "progress": ["boolean"],
        "random_state": ["random_state"],
        "threads": [_count, None],
    }

    model_: tabular.TableModel
    calibrate = False

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *,
        X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None,
    ) -> Any:  # fmt: skip
        """Fit the model.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Of pandas, Polars or PyArrow, as it comes: numbers, categories, texts, booleans and dates, some missing.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes, or numbers to predict, in one column or several.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the loss and where an epoch is judged.
        X_val, y_val : like X and y, default=None
            The rows by which epochs are judged; then none of the others are held out.
        sample_weight_val : array-like, default=None
            Weights of their rows.

        Returns
        -------
        self
        """
        X, y, weights = self._given(X, y, sample_weight, first=True)
        folds = self._folds(X, y)
        y, weights = self._learn_target(y), self._weighted(y, weights)
        validation = self._validation(X_val, y_val, sample_weight_val)
        if validation is not None and folds is not None:
            raise ValueError("X_val: expected cv=None beside it, got folds, which hold out rows of their own")
        self.model_ = tabular.fit(
            X, y, weights, recipe=self._recipe(), classes=self._names(), asked=_asked(X), validation=validation,
            validation_fraction=self.validation_fraction, folds=folds, n_members=self.n_members,
            early_stopping=self.early_stopping, time_limit=self.time_limit, calibrate=self.calibrate,
            seed=tabular.seed_of(check_random_state(self.random_state)), threads=self.threads,
            progress=self.progress,
        )  # fmt: skip
        return self

    def _recipe(self) -> tabular.Recipe:
        """That of the preset, with what the parameters say instead."""
        given: dict[str, Any] = {name: getattr(self, name, None) for name in OF_RECIPE}
        if given["hidden_layer_sizes"] is not None:
            sizes = np.atleast_1d(given["hidden_layer_sizes"]).tolist()
            given["hidden_layer_sizes"] = tuple(_validate.integer(size, "hidden_layer_sizes") for size in sizes)
        return tabular.recipe(self.preset, classes=self._names() is not None, **given)

    def _folds(self, X: Any, y: Any) -> Any:
        """The rows of each fold, and those held out from it."""
        if self.cv is None or isinstance(self.cv, Integral):
            return None if self.cv is None else _validate.integer(self.cv, "cv", 2, len(y))
        splits = check_cv(self.cv, y, classifier=self._names is not None).split(np.zeros(len(y)), y)
        return [(np.asarray(rows), np.asarray(others)) for rows, others in splits]

    # What comes in.

    def _given(self, X: Any, y: Any, weights: Any, first: bool) -> tuple[Any, Array, Array | None]:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: expected the targets of X"
            )
        X = self._table(X, first)
        y = self._target(y)
        check_consistent_length(X, y)
        if weights is not None:
            weights = _check_sample_weight(weights, X, ensure_non_negative=True)
        return X, y, weights

    def _validation(self, X: Any, y: Any, weights: Any) -> tuple[Any, Array, Array | None] | None:
        if X is None and y is None and weights is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val: expected it together with y_val, got one of them")
        with _validate.within("validation data"):
            X, y, weights = self._given(X, y, weights, first=False)
            return X, self._encode(y), weights

    def _table(self, X: Any, first: bool = False) -> Any:
        """A DataFrame, or an array of two dimensions, with the columns of the fit."""
        if not first:
            check_is_fitted(self, "n_features_in_")
        if _frames.columns(X) is not None:
            validate_data(self, X, reset=first, skip_check_array=True)
            if len(X) < (least := 2 if first else 1):
                raise ValueError(f"Found array with {len(X)} sample(s): expected at least {least} in X, got {len(X)}")
            return X
        if isinstance(X, dict) and not hasattr(X, "toarray"):
            raise TypeError(
                "X: expected a DataFrame or rows, got columns by name: pandas.DataFrame(X) makes one of them"
            )
        return validate_data(
            self, X, reset=first, dtype=None if _holds_texts(X) else np.float64, ensure_all_finite="allow-nan",
            ensure_min_samples=2 if first else 1,
        )  # fmt: skip

    # What comes out.

    @property
    def ensemble_(self) -> Ensemble:
        """The networks, as one."""
        self._check_fitted("ensemble_")
        return self.model_.ensemble

    @property
    def network_(self) -> Sequential:
        """The first of them."""
        return self.ensemble_[0]

    @property
    def best_epochs_(self) -> list[int]:
        """Of which epoch each network has the weights, counted from 1."""
        self._check_fitted("best_epochs_")
        return self.model_.best_epochs

    @property
    def validation_scores_(self) -> list[list[float]]:
        """For each network how wrong it was after each epoch, on the rows held out from it, by the metric."""
        self._check_fitted("validation_scores_")
        return self.model_.scores

    @property
    def feature_importances_(self) -> Array:
        """Permutation importances: by how much the metric is worse on held-out rows where a feature is shuffled.

        Found when it is first asked for, by up to 2,000 held-out rows of each network, shuffled five times: differences
        of RMSE or MAE in standard deviations of the target, of log loss, of the share of right classes, or of AUC.
        """
        self._check_fitted("feature_importances_")
        return self.model_.importances(self._recipe().metric)

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a safetensors file, without pickle: `backprop.sklearn.load` reads it.

        What predicts is kept, and no rows of the training; `feature_importances_`, if they have been asked for.
        Parameters that are objects, such as a `cv` splitter, are not kept.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced only once the new one is safe on the disk.
        """
        check_is_fitted(self)
        params = {name: value for name, value in self.get_params(deep=False).items() if _is_plain(value)}
        names = getattr(self, "feature_names_in_", None)
        said = {
            "class": type(self).__name__, "params": params, "n_features_in": self.n_features_in_,
            "feature_names_in": None if names is None else names.tolist(), **self._kept(),
        }  # fmt: skip
        self.model_.save(path, said)

    def export_onnx(self, file: str | os.PathLike[str] | BinaryIO, *, opset: int | None = None) -> None:
        """Write the fitted estimator as an ONNX model, which takes the columns of the table as they are.

        Each column is an input by its name, (n_samples, 1): numbers as float64, missing ones as NaN, categories as
        text.
        A classifier gives "label" and "probabilities" (n_samples, n_classes), a regressor "y" (n_samples, n_outputs).

        Parameters
        ----------
        file : str, path-like or binary file
            As `backprop.Sequential.save` takes it.
        opset : int or None, default=None
            The version of the operators; None: the one that suits.

        Raises
        ------
        ValueError
            If a column holds dates, which no operator reads.
        """
        check_is_fitted(self)
        atomic.write(file, tabular.to_onnx(self.model_, opset))

    def export_c(
        self, path: str | os.PathLike[str], *, name: str | None = None, dtype: str = "float32", calibration: Any = None
    ) -> None:
        """Write the fitted estimator as a C file, and its header beside it, which need nothing else.

        Of a classifier ``int NAME_classify(x)`` gives the place of the class in ``NAME_CLASSES``, and
        ``NAME_predict(x, y)`` the probabilities; of a regressor, the numbers in their unit. The header lists what x is:
        numbers as they are, NaN where they are missing; of a category a 1 or a 0 for each of its values; of a date each
        of its parts.

        Parameters
        ----------
        path, name, dtype
            As `backprop.Sequential.export_c` takes them.
        calibration : DataFrame or array-like of shape (n_samples, n_features)
            With ``dtype="int8"``: rows like those that it will see.
        """
        check_is_fitted(self)
        rows = None if calibration is None else self.model_.encoding(self._table(calibration))
        model = tabular.to_c(self.model_)
        c.export_model(path, model, name=name, dtype=dtype, calibration=rows, fold=dtype == "int8")

    @classmethod
    def _of_file(cls, model: tabular.TableModel, said: Mapping[str, Any]) -> RealMLP:
        """The estimator that `save` described."""
        made = cls(**said["params"])
        made._validate_params()
        made.model_, made.n_features_in_ = model, _validate.integer(said["n_features_in"], "n_features_in")
        if said["feature_names_in"] is not None:
            made.feature_names_in_ = np.array(said["feature_names_in"], object)
        made._take(said)
        return made

    def _kept(self) -> dict[str, Any]:
        """What a file has to say beside."""
        raise NotImplementedError

    def _take(self, said: Mapping[str, Any]) -> None:
        """Take it from a file."""
        raise NotImplementedError

    def _check_fitted(self, name: str) -> None:
        if not hasattr(self, "model_"):
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    # What the two do each in their way.

    def _target(self, y: Any) -> Array:
        """y, checked."""
        raise NotImplementedError

    def _learn_target(self, y: Array) -> Array:
        """Y as labels or columns of numbers."""
        raise NotImplementedError

    def _encode(self, y: Array) -> Array:
        """The same for another y."""
        raise NotImplementedError

    def _names(self) -> list[Any] | None:
        """The classes."""
        return None

    def _weighted(self, y: Array, weights: Array | None) -> Array | None:
        return weights


class RealMLPClassifier(ClassifierMixin, RealMLP):
    """Classify the rows of a table: RealMLP, a network with preprocessing and defaults that were tuned on many tables.

    A table is taken as it comes: numbers, categories, texts, booleans and dates of a DataFrame, with missing values.
    Nothing has to be scaled or encoded beforehand.

    Parameters
    ----------
    preset : {"default", "fast", "best", "td", "td_s"}, default="default"
        How networks are built and trained. "td" and "td_s" are the published RealMLP-TD and -TD-S; the others were
        chosen by measuring, for score and time on a CPU: see ``docs/tables/realmlp.md``.
    n_members : int, default=None
        How many networks are trained, side by side; probabilities are their means. Each holds out other rows. None: 4
        of "default", 8 of "best", 1 of the others, and 1 of each fold.
    cv : int, cross-validation generator or iterable, default=None
        Networks by folds instead, each held out from `n_members` of them.
    validation_fraction : float, default=0.2
        The share of rows that is held out, of each class alike; by these the best epoch is chosen. 0: the last epoch.
    early_stopping : bool or int, default=False
        Whether to stop after so many epochs without a better one; True: a fifth of all.
    time_limit : float, default=None
        Seconds that `fit` may take: there are fewer epochs, if need be. The result then depends on the machine.
    metric : {"auto", "accuracy", "roc_auc", "log_loss"}, default="auto"
        By which the best epoch is chosen. "auto": log loss; of "td" and "td_s", accuracy.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, beside sample_weight.
    calibrate : bool, default=True
        Whether probabilities are calibrated, by a temperature that held-out rows choose. It changes no predicted class.
    hidden_layer_sizes, learning_rate, epochs, batch_size, dropout, weight_decay, label_smoothing : default=None
        What the preset says instead, if it is not None.
    progress : bool, default=False
        Whether to show how many networks are done.
    random_state : int, RandomState instance or None, default=None
        The same int gives the same model to the last bit, for any number of threads.
    threads : int or None, default=None
        How many networks are trained at a time. None: as many as there are free processors.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Of a DataFrame.
    feature_importances_ : ndarray of shape (n_features,)
        Permutation importances on held-out rows, found when they are first asked for.
    ensemble_, network_ : Ensemble, Sequential
        The networks as one, and the first of them.
    temperature_ : float
        What logits are divided by.
    best_epochs_ : list of int
    validation_scores_ : list of list of float

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart: "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> RealMLPClassifier(random_state=0).fit(X, y).score(X, y) > 0.98
    True
    """

    _parameter_constraints: ClassVar = {
        **RealMLP._parameter_constraints,
        "metric": [StrOptions({"auto", *tabular.OF_TASK["classification"]})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "calibrate": ["boolean"],
        "label_smoothing": [_share, None],
    }

    classes_: Array

    def __init__(  # type: ignore[no-untyped-def]  # as scikit-learn's: checked in fit, not here
        self, preset="default", *, n_members=None, cv=None, validation_fraction=0.2, early_stopping=False,
        time_limit=None, metric="auto", class_weight=None, calibrate=True, hidden_layer_sizes=None, learning_rate=None,
        epochs=None, batch_size=None, dropout=None, weight_decay=None, label_smoothing=None, progress=False,
        random_state=None, threads=None,
    ):  # fmt: skip
        keep(self, locals())

    def predict(self, X: Any) -> Array:
        """The most likely class of each row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The columns of the fit in their order. Categories that the fit has not seen are as if they were missing.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        most = self.predict_proba(X).argmax(axis=1)
        likely: Array = self.classes_[most]
        return likely

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : as `predict` takes it

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return self.model_.predict(self._table(X), self.threads)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`.

        Parameters
        ----------
        X : as `predict` takes it

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @property
    def temperature_(self) -> float:
        """What logits are divided by."""
        self._check_fitted("temperature_")
        return self.model_.temperature

    def _target(self, y: Any) -> Array:
        y = _of_one_kind(column_or_1d(y, warn=True))
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        return np.asarray(y)

    def _learn_target(self, y: Array) -> Array:
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y: expected at least two classes, got one class: {self.classes_.tolist()[0]!r}")
        return self._encode(y)

    def _encode(self, y: Array) -> Array:
        labels = np.searchsorted(self.classes_, y) % len(self.classes_)
        unknown = self.classes_[labels] != y
        if unknown.any():
            raise ValueError(f"y: expected classes of the fit, {self.classes_}, got {np.unique(y[unknown])}")
        return np.asarray(labels, np.int64)

    def _names(self) -> list[Any] | None:
        return self.classes_.tolist()

    def _kept(self) -> dict[str, Any]:
        return {"dtype": self.classes_.dtype.str if self.classes_.dtype.kind in "biufU" else "O"}

    def _take(self, said: Mapping[str, Any]) -> None:
        if self.model_.classes is None or np.dtype(said["dtype"]).kind not in "biufUO":
            raise ValueError("expected classes")
        self.classes_ = np.array(self.model_.classes, said["dtype"])

    def _weighted(self, y: Array, weights: Array | None) -> Array | None:
        if self.class_weight is None:
            return weights
        by_class: Array = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else by_class * weights


class RealMLPRegressor(RegressorMixin, RealMLP):
    """Predict numbers for the rows of a table: RealMLP, a network with preprocessing and defaults tuned on many tables.

    A table is taken as it comes: numbers, categories, texts, booleans and dates of a DataFrame, with missing values.
    Nothing has to be scaled or encoded beforehand, the target neither.

    Parameters
    ----------
    preset, n_members, cv, validation_fraction, early_stopping, time_limit
        As `RealMLPClassifier` takes them.
    metric : {"auto", "rmse", "mae"}, default="auto"
        By which the best epoch is chosen. "auto": RMSE.
    hidden_layer_sizes, ..., threads
        As `RealMLPClassifier` takes them.

    Attributes
    ----------
    feature_importances_, ensemble_, network_, best_epochs_, validation_scores_, ...
        As those of `RealMLPClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = RealMLPRegressor(random_state=0).fit(X, y)
    >>> low, high = model.predict_interval(X, coverage=0.8).T
    """

    _parameter_constraints: ClassVar = {
        **RealMLP._parameter_constraints, "metric": [StrOptions({"auto", *tabular.OF_TASK["regression"]})],
    }  # fmt: skip

    def __init__(  # type: ignore[no-untyped-def]  # as scikit-learn's: checked in fit, not here
        self, preset="default", *, n_members=None, cv=None, validation_fraction=0.2, early_stopping=False,
        time_limit=None, metric="auto", hidden_layer_sizes=None, learning_rate=None, epochs=None, batch_size=None,
        dropout=None, weight_decay=None, progress=False, random_state=None, threads=None,
    ):  # fmt: skip
        keep(self, locals())

    def predict(self, X: Any) -> Array:
        """Predict the target of each row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The columns of the fit in their order. Categories that the fit has not seen are as if they were missing.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        return column(self.model_.predict(self._table(X), self.threads)) if self._flat else self._rows_of(X)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """An interval for the target of each row, which holds it with this probability: split conformal prediction.

        It is as wide for all rows: as far as held-out rows were from their predictions. It holds for rows that are like
        those of the training, whatever the noise is like. With several members, held-out rows are predicted by those
        that have not seen them, so that it is a little too wide rather than too narrow.

        Parameters
        ----------
        X : as `predict` takes it
        coverage : float, default=0.9
            Above 0, below 1.

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            The lower and the upper end.

        Raises
        ------
        ValueError
            If too few rows were held out for this coverage.
        """
        check_is_fitted(self)
        width = self.model_.half_width(coverage)
        predicted = self._rows_of(X)
        ends = np.stack([predicted - width, predicted + width], axis=-1)
        return ends[:, 0] if self._flat else ends

    def predict_std(self, X: Any) -> Array:
        """How far the members disagree: the standard deviation over them of what each predicts.

        Parameters
        ----------
        X : as `predict` takes it

        Returns
        -------
        ndarray of the shape of `predict`
        """
        check_is_fitted(self)
        deviation: Array = np.std(self.model_.predict_all(self._table(X), self.threads), axis=0)
        return deviation[:, 0] if self._flat else deviation

    def _rows_of(self, X: Any) -> Array:
        return self.model_.predict(self._table(X), self.threads)

    def _target(self, y: Any) -> Array:
        if np.asarray(y).dtype.kind in "Mm":
            raise TypeError("y: expected numbers, got dates: make numbers of them, such as the days since the first")
        y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        return np.asarray(column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y, np.float64)

    def _learn_target(self, y: Array) -> Array:
        self._flat = y.ndim == 1
        return self._encode(y)

    def _encode(self, y: Array) -> Array:
        return y.reshape(len(y), -1)

    def _kept(self) -> dict[str, Any]:
        return {"flat": self._flat}

    def _take(self, said: Mapping[str, Any]) -> None:
        if self.model_.target is None:
            raise ValueError("expected numbers as a target, got classes")
        self._flat = _validate.flag(said["flat"], "flat")


def of_file(networks: Sequence[Sequential], told: Any) -> RealMLP:
    """The estimator that a file tells of."""
    model, said = tabular.TableModel.of_file(networks, told)
    kinds: dict[str, type[RealMLP]] = {kind.__name__: kind for kind in (RealMLPClassifier, RealMLPRegressor)}
    return kinds[_validate.choice(said["class"], "class", kinds)]._of_file(model, said)


def _of_one_kind(y: Array) -> Array:
    """Refuse classes that have no order, some of them missing, or texts beside numbers."""
    if y.dtype.kind != "O":
        return y
    gaps = [row for row, value in enumerate(y.tolist()) if value is None or value != value]
    if gaps:
        raise ValueError(f"y: expected a class in each row, got {y[gaps[0]]} at row {gaps[0]}: leave such rows out")
    kinds = {"text" if isinstance(value, str) else "numbers" for value in y.tolist()}
    if len(kinds) > 1:
        raise ValueError(
            "y: expected classes of one kind, got texts beside numbers: make all of them text, y.astype(str)"
        )
    return y


def _asked(X: Any) -> dict[str, Any]:
    """How columns are to be read: those of an array of numbers are numbers, whatever they look like."""
    numbers = isinstance(X, np.ndarray) and X.dtype.kind == "f"
    return {"numeric": [str(i) for i in range(X.shape[1])]} if numbers else {}


def _is_plain(value: Any) -> bool:
    """Whether JSON gives it back as it is."""
    plain = isinstance(value, (bool, int, float, str, type(None)))
    return plain or (isinstance(value, list) and all(map(_is_plain, value)))


def _holds_texts(X: Any) -> bool:
    """Whether not all cells of rows are numbers."""
    return not hasattr(X, "toarray") and np.asarray(X, None if hasattr(X, "dtype") else object).dtype.kind in "OUSM"
