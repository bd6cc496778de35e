"""`MLPClassifier`: what is trained on for which classes, and the outputs as probabilities and classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn import neural_network
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, unique_labels

from .. import _validate, losses
from ..network import Sequential
from .data import Rows, mean
from .estimator import MLP
from .head import Head
from .labels import Labels
from .parameters import NEW, activation_of, keep

__all__ = ["MLPClassifier"]

Array = _validate.Array


class MLPClassifier(ClassifierMixin, MLP):
    """Classify by a multi-layer perceptron: scikit-learn's `MLPClassifier`, trained by backprop.

    Parameters
    ----------
    hidden_layer_sizes, ..., max_fun
        Those of scikit-learn, with their meanings, defaults and places. Three take more:
    activation : str, ActivationFunction or list of them, default="relu"
        Any of `backprop.activations`, beside scikit-learn's names; a list has one for each hidden layer.
    learning_rate : {"constant", "invscaling", "adaptive"} or callable, default="constant"
        A learning rate schedule, a function of the step, also for "adam".
    random_state : int, RandomState instance or None, default=None
        The same int gives the same model to the last bit, for any number of threads or jobs.
    loss : str, Loss or callable, default="log_loss"
        One of `backprop.losses` that takes probabilities or their logits, such as "focal" or
        ``CrossEntropy(label_smoothing=0.1)``, or any ``(y_hat, y) -> (value, dy)``.
    output_activation : str or ActivationFunction, default=None
        None: the softmax, or the sigmoid for two classes and for several labels; the identity under a loss with
        ``from_logits=True``. Sigmoids for several classes are one-vs-rest.
    dropout : float or list of float, default=0.0
        The dropout rate after each hidden layer; a list has one for each.
    batch_norm, layer_norm : bool, default=False
        Normalize between the weights and the activation of each hidden layer.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes in the loss, beside sample_weight.
    optimizer : Optimizer, str or None, default=None
        A new copy of it is used in place of `solver`, with its own learning rate, momentum and clipping. With an
        ``average=``, the averaged weights are those of the fitted model. `LBFGS` and `Rprop` are full-batch under
        batch_size="auto".
    clip_norm, clip_value : float or None, default=None
        Gradient clipping: the largest norm, and the largest element.
    categorical_features : array-like or "from_dtype", default=None
        Columns of categories, by index, name or mask. Each category of the first fit has an embedding, and one, zero at
        first, is for missing and unknown categories. "from_dtype": the columns of dtype category of a pandas
        DataFrame. The other columns are scaled to mean 0 and variance 1 in the first fit; without
        categorical_features, nothing is scaled.
    callbacks : list of Callback, default=()
        Called between epochs; they are not copied.
    progress : bool, default=False
        Whether to show a progress bar.
    dtype : {"float32", "float64"} or None, default=None
        Of the network; None: that of X, but "float64" for solver="lbfgs".
    threads : int or None, default=None
        Number of threads; None: as many as pay, of those that are free.
    n_members : int, default=1
        How many networks to fit, side by side, each on one thread; `predict_proba` is the mean of theirs.
    bagging : {"seeds", "bootstrap", "folds"}, default="seeds"
        What several members differ in: the seed, alone; the rows too, drawn as many as there are, with replacement; or
        that each leaves out one of n_members folds. With early stopping, the rows that a member does not see are its
        validation data, if neither X_val is given nor all see all.

    Attributes
    ----------
    classes_, loss_, best_loss_, loss_curve_, validation_scores_, ...
        Those of scikit-learn.
    coefs_, intercepts_ : list of ndarray
        Views of the network's parameters: what is written into them changes it.
    network_ : Sequential
        The network inside.
    members_ : list of estimators
        With several members: each as the same estimator of one network, with its `random_state`. What else a fit
        leaves behind, `network_` and `loss_curve_` say, is that of the first.
    ensemble_ : Ensemble
        Their networks as one.
    validation_loss_curve_ : list of float
        The loss on the validation data after each epoch, if there are any; without the penalty.
    stopped_ : bool
        Whether the last fit ended, or the last `partial_fit` would have, because nothing improved any more.
    """

    _parameter_constraints: ClassVar = {
        **neural_network.MLPClassifier._parameter_constraints, **NEW,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }  # fmt: skip

    classes_: Array
    _default_loss, _numeric, _stratified = "log_loss", False, True

    def __init__(  # type: ignore[no-untyped-def]  # its parameters are scikit-learn's, which has no types
        self, hidden_layer_sizes=(100,), activation="relu", *,
        solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
        max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
        n_iter_no_change=10, max_fun=15000,
        loss="log_loss", output_activation=None, dropout=0.0, batch_norm=False, layer_norm=False, class_weight=None,
        optimizer=None, clip_norm=None, clip_value=None, categorical_features=None, callbacks=(), progress=False,
        dtype=None, threads=None, n_members=1, bagging="seeds",
    ):  # fmt: skip
        keep(self, locals())

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, *,
        X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None,
    ) -> Any:  # fmt: skip
        """Train for one epoch.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As `fit` takes them. With `early_stopping` and validation data, `stopped_` turns true once the score has not
            improved for so many calls, and the best weights are back.
        classes : array-like of shape (n_classes,), default=None
            All classes of all calls; needed in the first.

        Returns
        -------
        self
        """
        with self._unless_refused():
            if _check_partial_fit_first_call(self, classes):
                self._labels = Labels(y, self.classes_, self._softmax())
        return self._partial_fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    def predict(self, X: Any) -> Array:
        """The most likely class of each row, or its labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        probabilities = self._mean_probabilities(X)
        return self._labels.decode(probabilities)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._by_class(self._mean_probabilities(X))

    def _mean_probabilities(self, X: Any) -> Array:
        return mean([self._probabilities(outputs) for outputs in self._outputs(X)])

    def _by_class(self, probabilities: Array) -> Array:
        return np.hstack([1 - probabilities, probabilities]) if self.n_outputs_ == 1 else probabilities

    def _of_members(self, outputs: list[Array]) -> Array:
        return self._by_class(mean([self._probabilities(part) for part in outputs]))

    def _said(self, outputs: Array) -> Array:
        return self._by_class(self._probabilities(outputs))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _class_weights(self, y: Any, weights: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return weights
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight: expected a dict with partial_fit, which sees some rows only, got 'balanced'"
            )
        by_class: Array = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else by_class * weights

    def _targets(self, y: Any, incremental: bool) -> Array:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._labels = Labels(y, None, self._softmax())
            self.classes_ = self._labels.classes
            return self._encode(y)
        labels, classes = self._labels.of_another_fit(y, self._softmax()), unique_labels(y)
        if self.warm_start and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {classes}"
            )
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        self._labels = labels
        return self._encode(y)

    def _strata(self, y: Array) -> Array | None:
        return None if self._labels.several else np.asarray(self._labels.decide(y))

    def _encode(self, y: Any) -> Array:
        return self._labels.encode(y)

    def _softmax(self) -> bool:
        """Whether two classes have a softmax, not one sigmoid."""
        given = self.output_activation
        if self.loss == "log_loss" and given is None:
            return False
        named = given is not None and activation_of(given).name == "softmax"
        loss = None if self.loss == "log_loss" else self._given_loss()
        return bool(named or (isinstance(loss, losses.Loss) and loss.link_of(1) == "softmax"))

    def _head(self, targets: int) -> Head:
        multiclass = self._labels.multiclass
        default = "softmax" if multiclass else "sigmoid"
        if self.loss == "log_loss":
            activation = self._activation(default, [default])
            if multiclass:
                return Head(losses.CrossEntropy(), targets, activation)
            return Head(losses.BinaryCrossEntropy(), targets, activation, targets, targets)
        loss = losses.Focal(multi_label=True) if self.loss == "focal" and not multiclass else self._given_loss()
        self._check_loss(loss, targets)
        link = loss.link_of(targets) if isinstance(loss, losses.Loss) else None
        if link is not None and loss.from_logits:
            return Head(loss, targets, self._activation("identity", ["identity"], ": the loss takes logits"))
        allowed = ["sigmoid", "hard_sigmoid"] if link is None else [link]
        if link is None and not self._labels.several:
            allowed.insert(0, "softmax")
        cure = ": outputs that are probabilities; for logits, take a loss with from_logits=True"
        return Head(loss, targets, self._activation(link or default, allowed, cure))

    def _check_loss(self, loss: Any, targets: int) -> None:
        """Refuse a loss that knows no probabilities, or not those of these labels."""
        direction = isinstance(loss, losses.CosineSimilarity) and not self._labels.multiclass  # one number has none
        if direction or getattr(loss, "log_input", False) or not getattr(loss, "classifies", True):
            raise ValueError(
                f"loss: expected a loss of probabilities, got {loss!r}: take 'log_loss' or 'focal', or build a "
                "Sequential and fit it with this loss"
            )
        if self._labels.several and isinstance(loss, losses.Loss) and loss.link_of(targets) == "softmax":
            raise ValueError(
                f"loss: expected one for multi-label targets, such as 'binary_cross_entropy' or 'focal', got {loss!r}, "
                "for which each row is of one class"
            )

    def _probabilities(self, outputs: Array) -> Array:
        """Outputs as probabilities: of each class, or each label, or the second of two classes."""
        loss, activation = self._loss, self.network_.layers[-1].activation.name
        if getattr(loss, "from_logits", False):
            assert isinstance(loss, losses.Loss)
            outputs, activation = loss.metric_outputs(outputs), loss.link_of(outputs.shape[1]) or activation
        if not self._labels.multiclass or activation == "softmax":
            return outputs
        sums = outputs.sum(axis=1, keepdims=True)  # one-vs-rest, each by itself
        return np.divide(outputs, sums, out=np.full_like(outputs, 1 / outputs.shape[1]), where=sums > 0)

    def _validation_score(self, net: Sequential, rows: Rows, otherwise: float) -> float:
        probabilities = self._probabilities(net.predict(rows.X, threads=self.threads))
        predicted, true = (self._labels.decide(y) for y in (probabilities, rows.y))
        right = (predicted == true).reshape(len(true), -1).all(axis=1)
        return float(np.average(right, weights=rows.weights))
