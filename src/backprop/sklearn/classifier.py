"""The classifier."""

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
from .data import Rows
from .estimator import _MLP
from .labels import Labels
from .objective import Objective
from .parameters import NEW, activation_of, keep

__all__ = ["MLPClassifier"]

Array = _validate.Array


class MLPClassifier(ClassifierMixin, _MLP):
    """Classify by a multi-layer perceptron: scikit-learn's `MLPClassifier`, trained by backprop.

    Parameters
    ----------
    hidden_layer_sizes, ..., max_fun
        Those of scikit-learn, with their meanings, defaults and places. Three take more:
    activation : str, ActivationFunction or list of them, default="relu"
        Any of `backprop.activations`, beside scikit-learn's names; a list has one for each hidden layer.
    learning_rate : {"constant", "invscaling", "adaptive"} or callable, default="constant"
        A schedule gives the rate of each step, for "adam" too.
    random_state : int, RandomState instance or None, default=None
        The same int gives the same model to the last bit, for any number of threads or jobs.
    loss : str, Loss or callable, default="log_loss"
        One of `backprop.losses` that takes probabilities or their logits, such as "focal" or
        ``CrossEntropy(label_smoothing=0.1)``, or any ``(y_hat, y) -> (value, dy)``.
    output_activation : str or ActivationFunction, default=None
        None: the softmax, or the sigmoid for two classes and for several labels; the identity under a loss with
        ``from_logits=True``. Sigmoids for several classes are one class against the rest.
    dropout : float or list of float, default=0.0
        The share of the numbers dropped after each hidden layer; a list has one for each.
    batch_norm, layer_norm : bool, default=False
        Put one between the weights and the activation of each hidden layer.
    class_weight : dict, list of dict, "balanced" or None, default=None
        How much the rows of each class count, beside sample_weight.
    optimizer : Optimizer, str or None, default=None
        A new copy of it is used in place of `solver`, with its own learning rate, momentum and clipping. With an
        ``average=``, the averaged weights are those of the fitted model. `LBFGS` and `Rprop` go by all rows at once
        under batch_size="auto".
    clip_norm, clip_value : float or None, default=None
        No gradient is longer, or has a larger number.
    categorical_features : array-like or "from_dtype", default=None
        Columns that name categories, by index, name or mask: they are embedded, with a vector for each category of the
        first fit, and one, zero at first, for the missing and the unknown. "from_dtype": those that are categories in
        a pandas DataFrame. The other columns are scaled to mean 0 and variance 1 in the first fit; without
        categorical_features, nothing is scaled.
    callbacks : list of Callback, default=()
        What to call between epochs; they are not copied.
    progress : bool, default=False
        Show how far it is.
    dtype : {"float32", "float64"} or None, default=None
        Of the network; None: that of X, but "float64" for solver="lbfgs".
    threads : int or None, default=None
        How many threads share the work; None: as many as pay, of those that are free.

    Attributes
    ----------
    classes_, loss_, best_loss_, loss_curve_, validation_scores_, ...
        Those of scikit-learn.
    coefs_, intercepts_ : list of ndarray
        Views into the network: what is written into them changes it.
    network_ : Sequential
        The network inside.
    validation_loss_curve_ : list of float
        The loss on the validation data after each epoch, where there are such; without the penalty.
    stopped_ : bool
        Whether the last fit ended, or the last `partial_fit` would have, because nothing improved any more.
    """

    _parameter_constraints: ClassVar = {
        **neural_network.MLPClassifier._parameter_constraints, **NEW,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }  # fmt: skip

    classes_: Array
    _usual, _numeric, _stratified = "log_loss", False, True

    def __init__(  # type: ignore[no-untyped-def]  # its parameters are scikit-learn's, which has no types
        self, hidden_layer_sizes=(100,), activation="relu", *,
        solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
        max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
        n_iter_no_change=10, max_fun=15000,
        loss="log_loss", output_activation=None, dropout=0.0, batch_norm=False, layer_norm=False, class_weight=None,
        optimizer=None, clip_norm=None, clip_value=None, categorical_features=None, callbacks=(), progress=False,
        dtype=None, threads=None,
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
            All there will ever be; needed in the first call.

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
        outputs = self._outputs(X)
        return self._labels.decode(self._chances(outputs))

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        chances = self._chances(self._outputs(X))
        return np.hstack([1 - chances, chances]) if self.n_outputs_ == 1 else chances

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
        labels, classes = self._labels.again(y, self._softmax()), unique_labels(y)
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

    def _encode(self, y: Any) -> Array:
        return self._labels.encode(y)

    def _softmax(self) -> bool:
        """Whether two classes share a softmax, and not one sigmoid."""
        given = self.output_activation
        if self.loss == "log_loss" and given is None:
            return False
        named = given is not None and activation_of(given).name == "softmax"
        loss = None if self.loss == "log_loss" else self._chosen()
        return bool(named or (isinstance(loss, losses.Loss) and loss.link_of(1) == "softmax"))

    def _objective(self, targets: int) -> Objective:
        labels = self._labels
        usual = "softmax" if labels.multiclass else "sigmoid"
        if self.loss == "log_loss":
            end = self._end(None, usual, [usual])
            if labels.multiclass:
                return Objective(losses.CrossEntropy(), targets, end)
            return Objective(losses.BinaryCrossEntropy(), targets, end, targets, targets)
        apart = self.loss == "focal" and not labels.multiclass
        loss = losses.Focal(multi_label=True) if apart else self._chosen()
        link = loss.link_of(targets) if isinstance(loss, losses.Loss) else None
        odd = isinstance(loss, losses.CosineSimilarity) and not labels.multiclass  # one number has no direction
        if odd or getattr(loss, "log_input", False) or not getattr(loss, "classifies", True):
            raise ValueError(
                f"loss: expected a loss of probabilities, got {loss!r}: take 'log_loss' or 'focal', or build a "
                "Sequential and fit it with this loss"
            )
        if labels.several and link == "softmax":
            raise ValueError(
                f"loss: expected one for which each label is a question of its own, such as 'binary_cross_entropy' or "
                f"'focal', got {loss!r}, for which a row is of one class"
            )
        if link is not None and loss.from_logits:
            return Objective(loss, targets, self._end(loss, "identity", ["identity"], ": it takes logits"))
        each = ["sigmoid", "hard_sigmoid"] if link is None else [link]
        among = each if labels.several or link is not None else ["softmax", *each]
        cure = ": answers that are probabilities; for logits, take a loss with from_logits=True"
        return Objective(loss, targets, self._end(loss, link or usual, among, cure))

    def _chances(self, outputs: Array) -> Array:
        """What the network answers as probabilities: of each class, or each label, or the second of two classes."""
        loss, end = self._loss, self.network_.layers[-1].activation.name
        if getattr(loss, "from_logits", False):
            assert isinstance(loss, losses.Loss)
            outputs, end = loss.metric_outputs(outputs), loss.link_of(outputs.shape[1]) or end
        if not self._labels.multiclass or end == "softmax":
            return outputs
        sums = outputs.sum(axis=1, keepdims=True)  # one class against the rest, each by itself
        return np.divide(outputs, sums, out=np.full_like(outputs, 1 / outputs.shape[1]), where=sums > 0)

    def _score_of(self, net: Sequential, rows: Rows, instead: float) -> float:
        chances = self._chances(net.predict(rows.X, threads=self.threads))
        found, wanted = (self._labels.decide(y) for y in (chances, rows.y))
        right = (found == wanted).reshape(len(wanted), -1).all(axis=1)
        return float(np.average(right, weights=rows.weights))
