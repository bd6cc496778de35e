"""`MLPRegressor`: what is trained on for which targets, and the outputs as predictions."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import numpy as np
from scipy.special import xlogy
from sklearn import neural_network
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from .. import _validate, losses, metrics
from ..network import Sequential
from .data import Rows, column, mean
from .estimator import MLP
from .head import Head
from .parameters import NEW, keep

__all__ = ["MLPRegressor"]

Array = _validate.Array

#: Root mean squares of a target, and standard deviations from its mean, beyond which it is hardly learned.
LARGE, FAR = 100.0, 20.0


class MLPRegressor(RegressorMixin, MLP):
    """Predict numbers by a multi-layer perceptron: scikit-learn's `MLPRegressor`, trained by backprop.

    Parameters
    ----------
    loss : str, Loss or callable, default="squared_error"
        scikit-learn's "squared_error" and "poisson"; any of `backprop.losses`, such as "huber", "mae" or
        ``Quantile([0.1, 0.5, 0.9])``; or any ``(y_hat, y) -> (value, dy)``.
    hidden_layer_sizes, ..., max_fun
        Those of scikit-learn, with their meanings, defaults and places; `activation`, `learning_rate` and
        `random_state` as `MLPClassifier` takes them.
    output_activation : str or ActivationFunction, default=None
        None: the identity, or the exponential under "poisson".
    dropout, ..., threads
        As `MLPClassifier` takes them.

    Attributes
    ----------
    loss_, best_loss_, loss_curve_, validation_scores_, coefs_, intercepts_, network_, ...
        As those of `MLPClassifier`.

    Notes
    -----
    Outputs begin near 0 and move by small steps, so that a target of thousands is hardly learned, and the fit warns:
    standardise it (``sklearn.compose.TransformedTargetRegressor``), or take `RealMLPRegressor`, which does so itself.

    Under ``Quantile([...])`` a row has a prediction for each level of each target; under `GaussianNLL` `predict` gives
    the means, with ``return_std=True`` the standard deviations too. Early stopping judges these two by the loss, not by
    R2. Under losses of logits, or of logarithms (``log_input=True``), `predict` gives what they stand for.
    """

    _parameter_constraints: ClassVar = {**neural_network.MLPRegressor._parameter_constraints, **NEW}

    _default_loss, _numeric, _stratified = "squared_error", True, False

    def __init__(  # type: ignore[no-untyped-def]  # its parameters are scikit-learn's, which has no types
        self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
        solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
        max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
        n_iter_no_change=10, max_fun=15000,
        output_activation=None, dropout=0.0, batch_norm=False, layer_norm=False, optimizer=None, clip_norm=None,
        clip_value=None, categorical_features=None, callbacks=(), progress=False, dtype=None, threads=None,
        n_members=1, bagging="seeds",
    ):  # fmt: skip
        keep(self, locals())

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *,
        X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None,
    ) -> Any:  # fmt: skip
        """Train for one epoch.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As `fit` takes them. With `early_stopping` and validation data, `stopped_` turns true once the score has not
            improved for so many calls, and the best weights are back.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict the targets of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            With the loss "gaussian_nll": the standard deviations too, in the unit of the targets; of several members,
            that of the mixture of what they predict.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        std : ndarray of the same shape
            Only with ``return_std=True``.
        """
        outputs = self._outputs(X)
        predicted = mean([self._said(part) for part in outputs])
        if not return_std:
            return predicted
        if not isinstance(self._loss, losses.GaussianNLL):
            got = _validate.shown(self._loss)
            raise ValueError(f"return_std: expected a fit with loss='gaussian_nll', which finds variances, got {got}")
        with np.errstate(over="ignore"):
            if len(outputs) == 1:
                return predicted, column(np.exp(outputs[0][:, 1::2] / 2))
            apart = [(self._said(part) - predicted) ** 2 + column(np.exp(part[:, 1::2])) for part in outputs]
            return predicted, np.sqrt(mean(apart))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination of the predictions, R2, as of every regressor; at best 1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            Under ``Quantile([...])`` that of the median, or of the level that is nearest to it (of the mean of two that
            are equally near); under `GaussianNLL` that of the mean.
        """
        predicted, loss = self.predict(X), self._loss
        if isinstance(loss, losses.Quantile) and isinstance(loss.q, tuple):
            levels = np.array(loss.q)
            away = abs(levels - 0.5)
            predicted = predicted.reshape(len(predicted), -1, len(levels))
            predicted = predicted[:, :, away <= away.min() + 1e-12].mean(axis=2)
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def _targets(self, y: Any, incremental: bool) -> Array:
        y = self._encode(y)
        if not (incremental or self._lbfgs) and self.output_activation is None and self.loss != "poisson":
            _warn_of_scale(y)
        return y

    def _encode(self, y: Any) -> Array:
        return np.asarray(y)

    def _head(self, targets: int) -> Head:
        if self.loss == "squared_error":
            return Head(losses.MeanSquaredError(), targets, self._activation("identity"), targets / 2, 0.5)
        if self.loss == "poisson":
            return Head(losses.Poisson(), targets, self._activation("exp", losses.RATES), targets, targets)
        loss = self._given_loss()
        if isinstance(loss, losses.CosineSimilarity) and targets == 1:
            raise ValueError(f"loss: expected one that looks at more than the sign of a single target, got {loss!r}")
        if isinstance(loss, losses.Quantile):
            levels = len(loss.q) if isinstance(loss.q, tuple) else 1
            return Head(loss, targets * levels, self._activation("identity"))
        if isinstance(loss, losses.GaussianNLL):
            why = ": log-variances stand beside the means"
            return Head(loss, 2 * targets, self._activation("identity", ["identity"], why))
        if isinstance(loss, losses.Poisson) and not loss.log_input:
            return Head(loss, targets, self._activation("exp", losses.RATES, ": the loss takes rates"))
        link = loss.link_of(targets) if isinstance(loss, losses.Loss) else None
        if link is not None:
            activation = "identity" if loss.from_logits else link
            return Head(loss, targets, self._activation(activation, [activation]))
        return Head(loss, targets, self._activation("identity"))

    def _said(self, outputs: Array) -> Array:
        return column(self._means(outputs))

    def _means(self, outputs: Array) -> Array:
        """The predictions in the unit of the targets, without the variances beside them."""
        loss = self._loss
        if getattr(loss, "from_logits", False) or getattr(loss, "log_input", False):
            assert isinstance(loss, losses.Loss)
            return loss.metric_outputs(outputs)
        return outputs[:, ::2] if isinstance(loss, losses.GaussianNLL) else outputs

    def _loss_offset(self, rows: Rows | None) -> float:
        if rows is None or self.loss != "poisson":
            return 0.0
        rates = rows.y.astype(np.float64)
        return float(np.average(xlogy(rates, rates) - rates, weights=rows.weights, axis=0).sum())

    def _validation_score(self, net: Sequential, rows: Rows, otherwise: float) -> float:
        if isinstance(self._loss, losses.Quantile | losses.GaussianNLL):
            return otherwise  # not only the mean is learned
        predicted = self._means(net.predict(rows.X, threads=self.threads))
        if predicted.shape != rows.y.shape:
            return otherwise
        if not np.isfinite(predicted).all():
            return math.nan
        return metrics.explained(rows.y - predicted, rows.y, rows.weights)


def _warn_of_scale(y: Array) -> None:
    """Warn of a target that a network, whose outputs begin near 0 and move by small steps, does not come to."""
    y = y.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        size, deviation = np.sqrt(np.mean(y**2)), y.std(axis=0)
        farthest = np.max(abs(y - y.mean(axis=0)).max(axis=0) / np.where(deviation > 0, deviation, np.inf))
    if size >= LARGE:
        warnings.warn(
            f"y: expected a target of about the size of 1, got a root mean square of {size:.3g}: outputs begin near 0 "
            "and move by small steps, so that it is hardly learned. Standardise it, as TransformedTargetRegressor does "
            "with transformer=StandardScaler(), or take RealMLPRegressor, which does so itself",
            stacklevel=8,
        )
    elif farthest >= FAR:
        warnings.warn(
            f"y: expected a target without extreme values, got one {farthest:.3g} standard deviations from the mean: "
            "it outweighs all other rows. Transform it, such as by its logarithm, or take loss='huber'",
            stacklevel=8,
        )
