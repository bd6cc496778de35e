"""scikit-learn's multi-layer perceptrons, trained by backprop: the same parameters, attributes and pipelines, and more.

Changing the import is all it takes; ``docs/sklearn.md`` says what is new, and what is counted differently. The initial
weights and the validation split are those that scikit-learn draws from the same `random_state`; the order of the rows
is another.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
except ImportError as error:
    raise ImportError('backprop.sklearn needs scikit-learn 1.6 or later: pip install "backprop-nn[sklearn]"') from error
from scipy.optimize import OptimizeResult, minimize
from scipy.sparse import csr_matrix
from scipy.special import xlogy
from sklearn import neural_network
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    is_multilabel,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

from .. import _validate, activations, layers, losses, metrics, optimizers
from ..activations import ActivationFunction
from ..errors import DivergedError
from ..layers import Activation, BatchNorm, Columns, Dense, Dropout, Embedding, Layer, LayerNorm
from ..network import Sequential

__all__ = ["MLPClassifier", "MLPRegressor"]

Array = _validate.Array

SPARSE = ("csr", "csc")
FLOATS = (np.float64, np.float32)

#: scikit-learn's name for an activation of ours.
ALIASES: dict[Any, Any] = {"logistic": "sigmoid"}

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)

#: What only makes sense epoch by epoch, and the value that leaves it alone.
EPOCHS_ONLY: dict[str, Any] = {
    "dropout": 0.0, "batch_norm": False, "clip_norm": None, "clip_value": None, "callbacks": (), "progress": False,
}  # fmt: skip

#: The parameters that an optimizer is made from.
STEPPING = (
    "optimizer", "solver", "learning_rate", "learning_rate_init", "momentum", "nesterovs_momentum", "beta_1", "beta_2",
    "epsilon", "clip_norm", "clip_value",
)  # fmt: skip

#: What a fit by epochs leaves behind, and one by L-BFGS does not.
BOOKS = (
    "loss_curve_", "validation_loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "stopped_",
    "_optimizer", "_apart", "_series",
)  # fmt: skip


class Rows(NamedTuple):
    """Rows that have been checked: X and y are two-dimensional."""

    X: Array
    y: Array
    weights: Array | None


class Labels:
    """Classes as columns: one that says which of two, or one for each class, or for each of several labels.

    Parameters
    ----------
    y : array-like or sparse matrix
        Labels, or an indicator matrix of several.
    classes : ndarray, default=None
        All there will ever be; None: those in y.
    apart : bool, default=False
        Whether two classes have a column each, too.
    """

    def __init__(self, y: Any, classes: Array | None = None, apart: bool = False) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("y: expected one column, or an indicator matrix, got a class in each of several columns")
        self.several, self.sparse = kind == "multilabel-indicator", hasattr(y, "toarray")
        if classes is None:
            classes = np.arange(y.shape[1]) if self.several else np.unique(y)
        self.classes = classes
        self.multiclass = self._multiclass(apart)

    def _multiclass(self, apart: bool) -> bool:
        return not self.several and len(self.classes) > 2 - apart

    def again(self, y: Any, apart: bool) -> Labels:
        """Those of another fit with the same classes."""
        if is_multilabel(y) != self.several:
            before, now = ("several labels", "one class")[:: 1 if self.several else -1]
            raise ValueError(f"y: expected {before} for each row, as in the last fit, got {now}")
        other = copy.copy(self)
        other.sparse, other.multiclass = hasattr(y, "toarray"), self._multiclass(apart)
        return other

    def encode(self, y: Any) -> Array:
        """The columns (n_samples, n_outputs), of bool."""
        if self.several:
            return np.asarray(y.toarray() if hasattr(y, "toarray") else y, dtype=bool)
        codes = np.searchsorted(self.classes, y) % len(self.classes)
        unknown = self.classes[codes] != y
        if unknown.any():
            raise ValueError(f"`y` has classes not in `self.classes_`, {self.classes}: {np.unique(y[unknown])}.")
        return codes[:, None] == (np.arange(len(self.classes)) if self.multiclass else 1)

    def decide(self, chances: Array) -> Array:
        """The places of the classes in their list, or which of the labels, by the probability of each column."""
        if self.multiclass:
            return chances.argmax(axis=1)
        return (chances if self.several else chances[:, 0]) > 0.5

    def decode(self, chances: Array) -> Any:
        """The classes, or an indicator matrix as y was."""
        decided = self.decide(chances)
        if not self.several:
            return self.classes.take(decided.astype(int), mode="clip")
        return csr_matrix(decided.astype(int)) if self.sparse else decided.astype(int)


class Objective(NamedTuple):
    """What a network is trained on, beside what scikit-learn's is.

    Its gradient times `scale` is scikit-learn's gradient, its value times `reported` what scikit-learn reports: the two
    differ where several outputs have a squared error. An own loss is its own measure.
    """

    loss: Any
    n_out: int
    end: str | ActivationFunction
    scale: float = 1.0
    reported: float = 1.0


class _Iterations:
    """The callback that keeps scikit-learn's books: what it records of an epoch, when it stops, how it slows down."""

    def __init__(self, mlp: Any, objective: Objective, train: Rows, held_out: Rows | None) -> None:
        self.mlp, self.objective, self.held_out = mlp, objective, held_out
        self.rows, self.seen, self.stopped = train.X, 0, False
        self.constant, self.constant_val = (mlp._constant(rows) for rows in (train, held_out))

    def epochs_unseen(self, run: Any) -> int:
        """How many epochs may pass before it has to look: as many as must fail to improve before anything happens."""
        mlp = self.mlp
        if mlp.verbose or self.held_out is not None or mlp.learning_rate == "invscaling":
            return 1
        left: float = mlp.n_iter_no_change + 1 - mlp._no_improvement_count
        return int(min(max(1, left), run.epochs))

    def on_epoch_end(self, run: Any) -> None:
        """Look at the epochs since the last time."""
        for epoch in range(self.seen, run.epoch):
            self._record(run, epoch)
            self._slow_down(run.optimizer)
            run.stop |= self.stopped
        self.seen = run.epoch

    def on_fit_end(self, run: Any) -> None:
        """Record what was done before an interruption."""
        for epoch in range(self.seen, run.epoch):
            self._record(run, epoch)

    def _record(self, run: Any, epoch: int) -> None:
        mlp, names = self.mlp, run.history
        mlp.n_iter_ += 1
        mlp.t_ += len(self.rows)
        mlp.loss_ = self.objective.reported * names["loss"][epoch] + self.constant
        mlp.loss_curve_.append(mlp.loss_)
        if mlp.verbose:
            print(f"Iteration {mlp.n_iter_}, loss = {mlp.loss_:.8f}")
        if self.held_out is not None:
            with mlp._averaged(self.rows):
                self._look(run, self.held_out, names["val_loss"][epoch])
        if not mlp.early_stopping:
            mlp._no_improvement_count = mlp._no_improvement_count + 1 if mlp.loss_ > mlp.best_loss_ - mlp.tol else 0
            mlp.best_loss_ = min(mlp.best_loss_, mlp.loss_)

    def _look(self, run: Any, held_out: Rows, loss: float) -> None:
        """At the validation data, with the weights that the fit would end with."""
        mlp = self.mlp
        if mlp._averages:
            loss = run.network.evaluate(
                held_out.X, held_out.y, loss=self.objective.loss, sample_weight=held_out.weights, threads=mlp.threads
            )["loss"]
        mlp.validation_loss_curve_.append(self.objective.reported * loss + self.constant_val)
        if mlp.early_stopping:
            self._judge(mlp._score_of(run.network, held_out, -loss))

    def _judge(self, score: float) -> None:
        """Count on the validation score, and keep the weights of the best."""
        mlp = self.mlp
        mlp.validation_scores_.append(score)
        if mlp.verbose:
            print(f"Validation score: {score:f}")
        waits = score < mlp.best_validation_score_ + mlp.tol
        mlp._no_improvement_count = mlp._no_improvement_count + 1 if waits else 0
        if score > mlp.best_validation_score_:
            mlp.best_validation_score_ = score
            mlp._best = mlp._state()

    def _slow_down(self, optimizer: Any) -> None:
        """Lower the learning rate, or stop, where it is time to."""
        mlp = self.mlp
        rules = mlp.solver == "sgd" and mlp.optimizer is None
        if rules and mlp.learning_rate == "invscaling":
            _set_rate(optimizer, self.objective.scale * mlp.learning_rate_init / (mlp.t_ + 1) ** mlp.power_t)
        if mlp._no_improvement_count <= mlp.n_iter_no_change:
            return
        what = "Validation score" if mlp.early_stopping else "Training loss"
        said = f"{what} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} consecutive epochs."
        if rules and mlp.learning_rate == "adaptive" and optimizer.learning_rate > 1e-6 * self.objective.scale:
            _set_rate(optimizer, optimizer.learning_rate / 5)
            mlp._no_improvement_count = 0
            said += f" Setting learning rate to {optimizer.learning_rate / self.objective.scale:f}"
        else:
            self.stopped = True
            said += " Stopping."
        if mlp.verbose:
            print(said)


class _MLP(BaseEstimator):
    """What both have."""

    network_: Sequential
    _optimizer: optimizers.Optimizer
    _loss: Any

    # Fitting.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *,
        X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None,
    ) -> Any:  # fmt: skip
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A sparse one is made dense as a whole.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, an indicator matrix of several labels, or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.
        X_val, y_val : like X and y, default=None
            Data to evaluate on after each epoch, for `validation_loss_curve_`; with `early_stopping`, in place of the
            share that would be held out.
        sample_weight_val : array-like, default=None
            How much each row of them counts.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any]) -> Any:
        if self.early_stopping and validation[0] is None:
            raise ValueError("partial_fit does not support early_stopping=True without X_val and y_val to judge by")
        return self._fit(X, y, sample_weight, validation, incremental=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any], incremental: bool = False
    ) -> Any:
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        with self._unless_refused():
            train, held_out, objective = self._prepare(X, y, sample_weight, validation, incremental, first)
        if self._lbfgs:
            self._minimize(train, objective)
        else:
            self._train(train, objective, held_out, incremental)
        return self

    @contextmanager
    def _unless_refused(self) -> Iterator[None]:
        """Stay what it was, where something is refused before anything is trained."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any], incremental: bool, first: bool
    ) -> tuple[Rows, Rows | None, Objective]:
        """Check the parameters and the data, and have a network for them: a new one, or that of the last fit."""
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        categorical = self.categorical_features
        shape = {
            "hidden_layer_sizes": tuple(sizes), "batch_norm": self.batch_norm, "layer_norm": self.layer_norm,
            "categorical_features": None if categorical is None else np.ravel(categorical).tolist(),
        }  # fmt: skip
        self._goes_on(shape, first, incremental)
        self._check_steps(validation[0] is not None)
        train = self._rows(X, y, sample_weight, incremental, first)
        objective = self._objective(train.y.shape[1])
        self._loss = objective.loss
        if isinstance(objective.loss, losses.Loss):
            objective = objective._replace(loss=copy.copy(objective.loss))
            objective.loss.shares_penalties = True  # alpha / 2 |w|^2 is divided by the rows of each batch
        shape["the number of outputs"] = objective.n_out
        self._goes_on(shape, first, incremental)
        self._shape = shape
        held_out = self._validation(*validation, train.y.shape[1])
        # Drawn in scikit-learn's order: the weights, the split, then what the rest needs. Those that go on draw weights
        # too, so that the split is that of the first fit.
        random = check_random_state(self.random_state)
        made = self._layers(sizes, objective, train.X.shape[1])
        drawn = [] if incremental and not first else list(self._draw(random, made))
        if self.early_stopping and held_out is None and not self._lbfgs:
            train, held_out = self._split(random, train)
        self._set_network(made, drawn if first else [], random, train.X.dtype)
        if first:
            self.t_ = 0
            for name in BOOKS:
                self.__dict__.pop(name, None)
        return train, held_out, objective

    def _goes_on(self, shape: dict[str, Any], first: bool, incremental: bool) -> None:
        """Refuse to go on from the weights of another shape."""
        last = {} if first else getattr(self, "_shape", {})
        for name in shape.keys() & last.keys():
            if shape[name] != last[name]:
                how, cure = ("partial_fit", "call fit") if incremental else ("warm_start", "set warm_start=False")
                raise ValueError(
                    f"{name} changed under {how} from {last[name]} to {shape[name]}: it goes on with the weights of "
                    f"the last fit, which no longer fit; to begin anew, {cure}"
                )

    def _train(self, train: Rows, objective: Objective, held_out: Rows | None, incremental: bool) -> None:
        """Epoch by epoch."""
        self._set_optimizer(objective, incremental)
        net = self.network_
        if "_apart" in self.__dict__:  # the averaged weights were the model's, but training goes on from its own
            own, shown = self.__dict__.pop("_apart")
            if np.array_equal(net.parameters, shown):
                net.parameters, net.buffers = own
        if not (incremental and getattr(self, "_series", False)) or self._judged != self.early_stopping:
            self._open_books()
        books = _Iterations(self, objective, train, held_out)
        self.n_iter_, self.stopped_ = 0, False
        try:
            net.fit(
                train.X, train.y, sample_weight=train.weights, loss=objective.loss, optimizer=self._optimizer,
                epochs=1 if incremental else self.max_iter, batch_size=self._batch_size(len(train.X)),
                validation_data=held_out, shuffle=self.shuffle, callbacks=[books, *self.callbacks],
                progress=self.progress, threads=self.threads,
            )  # fmt: skip
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        except DivergedError as error:
            if not self.early_stopping:
                raise ValueError(NOT_FINITE) from error
            self.validation_scores_.append(math.nan)
            warnings.warn(f"Stochastic Optimizer: {error}", ConvergenceWarning, stacklevel=4)
        else:
            if self.n_iter_ == self.max_iter and not (books.stopped or incremental):
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.", ConvergenceWarning, stacklevel=4,
                )  # fmt: skip
        self.stopped_ = books.stopped
        over = self.early_stopping and (books.stopped or not incremental)
        self._series = incremental and not over
        if over:
            net.parameters, net.buffers = self._best
            if self._averages:
                self._optimizer.state["average"][...] = net.parameters
        elif self._averages:
            own = self._state()
            with self._averaged(train.X):
                shown = self._state()
            net.parameters, net.buffers = shown
            self._apart = own, shown[0]

    @property
    def _averages(self) -> bool:
        """Whether the weights of the optimizer's average are those to answer by."""
        return "average" in getattr(self._optimizer, "state", {})

    @contextmanager
    def _averaged(self, X: Array) -> Iterator[None]:
        """The network, for a while, with the averaged weights, if there are such."""
        if not self._averages:
            yield
            return
        with self._optimizer.averaged(self.network_, X):
            yield

    def _minimize(self, train: Rows, objective: Objective) -> None:
        """By the L-BFGS of SciPy, as scikit-learn does."""
        for name in BOOKS:
            self.__dict__.pop(name, None)
        net, scale = self.network_, objective.scale

        def look(parameters: Array) -> tuple[float, Array]:
            net.parameters = parameters
            value, gradient = net.value_and_gradient(
                train.X, train.y, objective.loss, sample_weight=train.weights, threads=self.threads
            )
            return scale * value, scale * gradient.astype(np.float64)

        begun = net.parameters.astype(np.float64)
        found = OptimizeResult(x=begun, fun=math.nan, nit=0, status=0)  # as far as it came

        def note(intermediate_result: Any) -> None:
            found.update(x=intermediate_result.x.copy(), fun=intermediate_result.fun, nit=found.nit + 1)
            if self.verbose:
                print(f"loss = {found.fun:.8f}")

        try:
            with _blas().limit(limits=1, user_api="blas"):  # its vectors are short, and its sums the same everywhere
                found = minimize(
                    look, begun, jac=True, method="L-BFGS-B", callback=note,
                    options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
                )  # fmt: skip
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if not np.isfinite(found.x).all():
            raise ValueError(NOT_FINITE)
        net.parameters = found.x
        self.n_iter_ = min(found.nit, self.max_iter)
        self.loss_ = float(found.fun) * objective.reported / scale + self._constant(train)
        if found.status != 0:
            warnings.warn(
                f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): {found.message}. "
                "Increase max_iter or max_fun, or scale the data.", ConvergenceWarning, stacklevel=4,
            )  # fmt: skip

    # The network.

    def _layers(self, sizes: list[int], objective: Objective, n_in: int) -> list[Layer]:
        """Those that the parameters describe."""
        if self.batch_norm and self.layer_norm:
            raise ValueError("batch_norm: expected one kind of norm, got layer_norm too")
        made: list[Layer] = []
        if self.categorical_features is not None:
            tables = {i: Embedding(n, min(50, (n + 1) // 2)) for i, n in enumerate(self._categories)}
            made.append(Columns(n_in, tables))
            n_in = made[0].n_out or 0
        l2 = self.alpha / 2 / objective.scale
        activations = _each(self.activation, sizes, "activation")
        for size, activation, dropout in zip(sizes, activations, _each(self.dropout, sizes, "dropout"), strict=True):
            f = ALIASES.get(activation, activation)
            if self.batch_norm or self.layer_norm:
                made += [_linear(n_in, size, "identity", l2), BatchNorm() if self.batch_norm else LayerNorm()]
                made.append(Activation(f))
            else:
                made.append(_linear(n_in, size, f, l2))
            if dropout:
                made.append(Dropout(dropout))
            n_in = size
        return [*made, _linear(n_in, objective.n_out, objective.end, l2)]

    def _draw(self, random: Any, made: list[Layer]) -> Iterator[tuple[Array, Array]]:
        """Weights and biases: Glorot and Bengio, as scikit-learn draws them."""
        given = self.activation
        named = given if isinstance(given, list | tuple) else [given]
        for i, layer in enumerate(layer for layer in made if isinstance(layer, Dense)):
            activation = named[min(i, len(named) - 1)] if named else None
            bound = math.sqrt((2.0 if activation == "logistic" else 6.0) / (layer.n_in + layer.n_out))
            yield random.uniform(-bound, bound, (layer.n_in, layer.n_out)), random.uniform(-bound, bound, layer.n_out)

    def _set_network(self, made: list[Layer], drawn: list[tuple[Array, Array]], random: Any, dtype: Any) -> None:
        """A new network, with new weights or, where it is not as it was, with those of the last."""
        last = None if drawn else self.network_
        if self.dtype is not None:
            dtype = self.dtype
        elif self._lbfgs:
            dtype = np.float64  # its line search wants the digits
        elif last is not None:
            dtype = last.dtype
        described = [[layer.described() for layer in made], np.dtype(dtype).name]
        if last is not None and getattr(self, "_described", None) == described:
            return
        net = Sequential(made, rng=int(random.randint(2**63 - 1, dtype=np.int64)), dtype=dtype)
        if last is not None:
            net.parameters, net.buffers = last.parameters, last.buffers
            net.seed, net.epochs, net.steps = last.seed, last.epochs, last.steps
            for layer, old in zip(_with_arrays(net), _with_arrays(last), strict=True):
                for name in ("trainable", *old._adjustable):
                    setattr(layer, name, getattr(old, name))
            if hasattr(self, "_optimizer"):
                self._optimizer = copy.copy(self._optimizer)  # whose network is another now
        dense = (layer for layer in net.layers if isinstance(layer, Dense))
        for layer, (weight, bias) in zip(dense, drawn, strict=False):
            layer.weight, layer.bias = weight, bias
        for table in net.leaves.values() if drawn else ():
            if isinstance(table, Embedding):
                table.weight[0] = 0  # what no fit has seen
        self.network_, self._described = net, described
        self.n_outputs_, self.n_layers_ = net.n_out, 1 + len(self.coefs_)
        end = net.layers[-1].activation.name
        self.out_activation_ = {ours: theirs for theirs, ours in ALIASES.items()}.get(end, end)

    def _open_books(self) -> None:
        """What is counted from the beginning of each fit, beside the curves, which belong to the weights."""
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] = []
        self._judged = self.early_stopping
        self._no_improvement_count = 0
        self._best = self._state()
        self.best_loss_ = None if self.early_stopping else math.inf
        self.best_validation_score_ = -math.inf if self.early_stopping else None
        scores = getattr(self, "validation_scores_", None) or []
        self.validation_scores_: Any = scores if self.early_stopping else None

    def _check_steps(self, validated: bool) -> None:
        """Refuse what the solver, or an optimizer of the user's own, would not heed."""
        if self._lbfgs:
            unfit = [name for name, unused in EPOCHS_ONLY.items() if getattr(self, name) not in (unused, None)]
            unfit += ["learning_rate"] * callable(self.learning_rate) + ["X_val"] * validated
            if unfit:
                raise ValueError(f"{', '.join(unfit)}: expected a solver that goes epoch by epoch, got solver='lbfgs'")
        if self.optimizer is None:
            return
        beside = [name for name in ("clip_norm", "clip_value") if getattr(self, name) is not None]
        beside += ["learning_rate"] * (self.learning_rate != "constant")
        if beside:
            got = ", ".join(f"{name}={_validate.shown(getattr(self, name))}" for name in beside)
            raise ValueError(
                f"{beside[0]}: expected it in the optimizer, such as optimizer=Adam(schedule, clip_norm=1.0), or by a "
                f"callback, such as ReduceOnPlateau, got {got} beside {_validate.shown(self.optimizer)}"
            )

    def _set_optimizer(self, objective: Objective, incremental: bool) -> None:
        """A new one for each fit; `partial_fit` goes on with the last, unless it was asked for another since."""
        asked = [objective.scale, *(getattr(self, name) for name in STEPPING)]
        last = getattr(self, "_optimizer", None) if incremental else None
        if last is None or getattr(self, "_asked", asked) != asked:
            self._optimizer = self._make_optimizer(objective.scale)
            if last is not None and self.optimizer is None and type(last) is type(self._optimizer):
                self._optimizer.state, self._optimizer.steps = last.state, last.steps
        self._asked = asked

    def _make_optimizer(self, scale: float) -> optimizers.Optimizer:
        """The one that is given, or scikit-learn's; its gradient is ours times scale, which Adam does not notice."""
        if self.optimizer is not None:
            made = copy.deepcopy(optimizers.get(self.optimizer))
            made.state, made.steps = {}, 0  # wherever that one has been
            return made
        clips = {"clip_norm": self.clip_norm, "clip_value": self.clip_value}
        clipped = {name: most / scale for name, most in clips.items() if most is not None}
        rate: Any = self.learning_rate if callable(self.learning_rate) else self.learning_rate_init
        if self.solver == "adam":
            return optimizers.Adam(rate, self.beta_1, self.beta_2, self.epsilon / scale, **clipped)
        if scale != 1:
            rate = scale * rate if isinstance(rate, Real) else partial(_times, scale, rate)
        return optimizers.SGD(rate, self.momentum, self.nesterovs_momentum and self.momentum > 0, **clipped)

    def _batch_size(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows) if self._optimizer.stochastic else rows
        if self.batch_size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
            )
        return min(int(self.batch_size), rows)

    def _state(self) -> tuple[Array, Array]:
        return self.network_.parameters.copy(), self.network_.buffers.copy()

    # The gate: scikit-learn's checks, since it is scikit-learn's users who come through it.

    def _rows(self, X: Any, y: Any, sample_weight: Any, incremental: bool, first: bool) -> Rows:
        X, y = self._check(X, first, y=y)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        weights = self._class_weights(y, weights, incremental)
        y = self._targets(_flat(y), incremental)
        return Rows(X, y.reshape(len(y), -1), weights)

    def _check(self, X: Any, first: bool = False, **given: Any) -> tuple[Array, Any]:
        """X as a dense array of floats, the categories first; and y, where it is given."""
        if self.categorical_features is None if first else self._encoder is None:
            self._encoder: Any = None
            multi = {"multi_output": True, "y_numeric": self._numeric} if given else {}
            found = validate_data(self, X, accept_sparse=SPARSE, dtype=FLOATS, reset=first, **given, **multi)
            X, y = found if given else (found, None)
            return X.toarray() if hasattr(X, "toarray") else X, y
        validate_data(self, X, skip_check_array=True, reset=first, **given)
        y = self._check_y(given["y"]) if given else None
        X = X if hasattr(X, "columns") else check_array(X, dtype=None, ensure_all_finite="allow-nan")
        if first:
            self._categorical = _places(self.categorical_features, X)
            self._encoder = self._make_encoder(X.shape[1]).fit(X)
            self._categories = [len(names) + 1 for names in self._encoder.transformers_[0][1].categories_]
        encoded = check_array(self._encoder.transform(X), dtype=FLOATS, copy=True)
        encoded[:, : len(self._categories)] += 1  # those not seen in the first fit, and the missing, are 0
        return encoded, y

    def _check_y(self, y: Any) -> Array:
        """Check y alone, as it is checked beside X."""
        kind = "numeric" if self._numeric else None
        return check_array(y, accept_sparse="csr", ensure_2d=False, dtype=kind, input_name="y")

    def _make_encoder(self, n: int) -> ColumnTransformer:
        """Categories to whole numbers from -1, in the first columns; the others to mean 0 and variance 1."""
        numbers = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, dtype=np.float64
        )
        others = np.setdiff1d(np.arange(n), self._categorical).tolist()
        return ColumnTransformer(
            [("categories", numbers, self._categorical), ("numbers", StandardScaler(), others)], sparse_threshold=0
        )

    def _validation(self, X: Any, y: Any, sample_weight: Any, targets: int) -> Rows | None:
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val: expected it together with X_val and y_val, got it alone")
            return None
        if X is None or y is None:
            raise ValueError("X_val: expected it together with y_val, got one of them")
        X, _ = self._check(X)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        with _validate.within("y_val"):
            y = self._encode(_flat(self._check_y(y)))
        y = y.reshape(len(y), -1)
        check_consistent_length(X, y)
        if y.shape[1] != targets:
            raise ValueError(f"y_val: expected as many columns as y has, {targets}, got {y.shape[1]}")
        return Rows(X, y, weights)

    def _split(self, random: Any, rows: Rows) -> tuple[Rows, Rows]:
        """Hold out a share, as scikit-learn does."""
        stratify = rows.y if self._stratified and rows.y.shape[1] == 1 else None
        given = [part for part in rows if part is not None]
        parts = train_test_split(*given, random_state=random, test_size=self.validation_fraction, stratify=stratify)
        train, held_out = (Rows(*some, *[None] * (3 - len(given))) for some in (parts[::2], parts[1::2]))
        if len(held_out.X) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return train, held_out

    # What a fitted one can do.

    def _outputs(self, X: Any) -> Array:
        if not self._passes(X):
            check_is_fitted(self)
            X, _ = self._check(X)
        return self.network_.predict(X, threads=self.threads)

    def _passes(self, X: Any) -> bool:
        """Whether scikit-learn's checks would hand X back as it is: they take longer than a small network does."""
        with np.errstate(all="ignore"):
            return (
                type(X) is np.ndarray and X.ndim == 2 and X.dtype in FLOATS and len(X) > 0
                and hasattr(self, "network_") and self._encoder is None
                and X.shape[1] == self.n_features_in_ and not hasattr(self, "feature_names_in_")
                and bool(np.isfinite(X.sum()))
            )  # fmt: skip

    def input_gradients(self, X: Any) -> Array:
        """How the answers change with the inputs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            The derivative of what the network answers, such as the probability of the second class of two, or that of
            each class of many, with respect to each feature; 0 for those that name categories. Where the network
            answers logits (``from_logits=True``), it is that of the logits.
        """
        check_is_fitted(self)
        x, frozen = self._check(X)[0], _frozen(self.network_)
        found = np.empty((len(x), frozen.n_out, frozen.n_in), frozen.dtype)
        for j, dy in enumerate(np.eye(frozen.n_out, dtype=frozen.dtype)):
            frozen.forward(x)
            found[:, j] = frozen.backward(np.tile(dy, (len(x), 1)))
        if self._encoder is not None:
            others = np.setdiff1d(np.arange(frozen.n_in), self._categorical)
            kind, scaler, _ = self._encoder.transformers_[1]
            if kind == "numbers" and len(others):
                found[:, :, len(self._categorical) :] /= scaler.scale_
            found = found[:, :, np.argsort([*self._categorical, *others])]
        return found[:, 0] if frozen.n_out == 1 else found

    @property
    def coefs_(self) -> list[Array]:
        """The weights (n_in, n_out) of each layer: views, what is written there changes the network."""
        return _Arrays(layer.weight for layer in self._dense())

    @coefs_.setter
    def coefs_(self, values: Sequence[Array]) -> None:
        self.coefs_[:] = values

    @property
    def intercepts_(self) -> list[Array]:
        """The biases (n_out,) of each layer, likewise."""
        return _Arrays(layer.bias for layer in self._dense())

    @intercepts_.setter
    def intercepts_(self, values: Sequence[Array]) -> None:
        self.intercepts_[:] = values

    def _dense(self) -> list[Dense]:
        if not hasattr(self, "network_"):
            raise AttributeError(f"{type(self).__name__} has no weights before it is fitted")
        return [layer for layer in self.network_.layers if isinstance(layer, Dense)]

    @property
    def _lbfgs(self) -> bool:
        return bool(self.solver == "lbfgs" and self.optimizer is None)

    def _check_solver(self) -> bool:
        if self._lbfgs or (self.optimizer is not None and hasattr(optimizers.get(self.optimizer), "minimize")):
            got = self.solver if self._lbfgs else self.optimizer
            raise AttributeError(f"partial_fit is only available for stochastic optimizers, not for {got}.")
        return True

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.categorical_features is None
        return tags

    # What the two do each in their way.

    #: The loss that only scikit-learn calls so.
    _usual: ClassVar[str]

    _numeric: bool
    _stratified: bool

    def _class_weights(self, y: Any, weights: Array | None, incremental: bool) -> Array | None:
        return weights

    def _constant(self, rows: Rows | None) -> float:
        """What scikit-learn adds to the loss, and nothing is learned from."""
        return 0.0

    def _targets(self, y: Any, incremental: bool) -> Array:
        """y, or its classes, as columns of numbers; the classes are learned."""
        raise NotImplementedError

    def _encode(self, y: Any) -> Array:
        """The same for a y whose classes are known."""
        raise NotImplementedError

    def _chosen(self) -> Any:
        """The loss that is asked for, where it is not scikit-learn's."""
        if isinstance(self.loss, str):
            _validate.choice(self.loss, "loss", [self._usual, *losses._TABLE])
        loss = self.loss if isinstance(self.loss, losses.Loss) else losses.get(self.loss)
        if getattr(loss, "reduction", "mean") == "none":
            raise ValueError('loss: expected a single number, got reduction="none": take "mean" or "sum"')
        return loss

    def _end(self, loss: Any, default: str, among: Sequence[str] | None, why: str = "") -> Any:
        """The last activation: the one given, if it is among those that mean something, or the default."""
        given = self.output_activation
        if given is None:
            return default
        end = _activation(given)
        if among is not None and end.name not in among:
            raise ValueError(
                f"output_activation: expected None or {' or '.join(map(repr, among))} with the loss "
                f"{_validate.shown(self.loss)}, got {end.name!r}{why}"
            )
        return end

    def _objective(self, targets: int) -> Objective:
        raise NotImplementedError

    def _score_of(self, net: Sequential, rows: Rows, instead: float) -> float:
        """What early stopping goes by."""
        raise NotImplementedError


NEW: dict[str, list[Any]] = {
    "loss": [str, callable],
    "activation": [str, list, tuple, ActivationFunction],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
    "output_activation": [str, ActivationFunction, None],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "batch_norm": ["boolean"],
    "layer_norm": ["boolean"],
    "optimizer": [optimizers.Optimizer, str, None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "clip_value": [Interval(Real, 0, None, closed="neither"), None],
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "callbacks": [list, tuple],
    "progress": ["boolean"],
    "dtype": [str, type, np.dtype, None],
    "threads": [Interval(Integral, 1, None, closed="left"), None],
}


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
        _keep(self, locals())

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
        named = given is not None and _activation(given).name == "softmax"
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


class MLPRegressor(RegressorMixin, _MLP):
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
    Under ``Quantile([...])`` a row has an answer for each level of each target; under `GaussianNLL` `predict` gives the
    means, with ``return_std=True`` the standard deviations too. Early stopping judges these two by the loss, not by R2.
    Under losses of logits, or of logarithms (``log_input=True``), `predict` gives what they stand for.
    """

    _parameter_constraints: ClassVar = {**neural_network.MLPRegressor._parameter_constraints, **NEW}

    _usual, _numeric, _stratified = "squared_error", True, False

    def __init__(  # type: ignore[no-untyped-def]  # its parameters are scikit-learn's, which has no types
        self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
        solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
        max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
        n_iter_no_change=10, max_fun=15000,
        output_activation=None, dropout=0.0, batch_norm=False, layer_norm=False, optimizer=None, clip_norm=None,
        clip_value=None, categorical_features=None, callbacks=(), progress=False, dtype=None, threads=None,
    ):  # fmt: skip
        _keep(self, locals())

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
        """The answer to each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            With the loss "gaussian_nll": the standard deviations too, in the unit of the targets.

        Returns
        -------
        answers : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        std : ndarray of the same shape
            Only with ``return_std=True``.
        """
        outputs = self._outputs(X)
        answers = _column(self._means(outputs))
        if not return_std:
            return answers
        if not isinstance(self._loss, losses.GaussianNLL):
            got = _validate.shown(self._loss)
            raise ValueError(f"return_std: expected a fit with loss='gaussian_nll', which finds variances, got {got}")
        with np.errstate(over="ignore"):
            return answers, _column(np.exp(outputs[:, 1::2] / 2))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination of the answers, R2, as of every regressor; at best 1.

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
        answers, loss = self.predict(X), self._loss
        if isinstance(loss, losses.Quantile) and isinstance(loss.q, tuple):
            levels = np.array(loss.q)
            away = abs(levels - 0.5)
            answers = answers.reshape(len(answers), -1, len(levels))[:, :, away <= away.min() + 1e-12].mean(axis=2)
        return float(r2_score(y, answers, sample_weight=sample_weight))

    def _targets(self, y: Any, incremental: bool) -> Array:
        return self._encode(y)

    def _encode(self, y: Any) -> Array:
        return np.asarray(y)

    def _objective(self, targets: int) -> Objective:
        if self.loss == "squared_error":
            return Objective(losses.MeanSquaredError(), targets, self._end(None, "identity", None), targets / 2, 0.5)
        if self.loss == "poisson":
            end = self._end(None, "exp", losses.RATES)
            return Objective(losses.Poisson(), targets, end, targets, targets)
        loss = self._chosen()
        link = loss.link_of(targets) if isinstance(loss, losses.Loss) else None
        if isinstance(loss, losses.CosineSimilarity) and targets == 1:
            raise ValueError(f"loss: expected one that looks at more than the sign of a single target, got {loss!r}")
        if isinstance(loss, losses.Quantile):
            return Objective(loss, targets * len(loss.numbers()), self._end(loss, "identity", None))
        if isinstance(loss, losses.GaussianNLL):
            why = ": log-variances stand beside the means"
            return Objective(loss, 2 * targets, self._end(loss, "identity", ["identity"], why))
        if isinstance(loss, losses.Poisson) and not loss.log_input:
            return Objective(loss, targets, self._end(loss, "exp", losses.RATES, ": it takes rates"))
        if link is not None:
            end = "identity" if loss.from_logits else link
            return Objective(loss, targets, self._end(loss, end, [end]))
        return Objective(loss, targets, self._end(loss, "identity", None))

    def _means(self, outputs: Array) -> Array:
        """The answers in the unit of the targets, without the variances beside them."""
        loss = self._loss
        if getattr(loss, "from_logits", False) or getattr(loss, "log_input", False):
            assert isinstance(loss, losses.Loss)
            return loss.metric_outputs(outputs)
        return outputs[:, ::2] if isinstance(loss, losses.GaussianNLL) else outputs

    def _constant(self, rows: Rows | None) -> float:
        if rows is None or self.loss != "poisson":
            return 0.0
        rates = rows.y.astype(np.float64)
        return float(np.average(xlogy(rates, rates) - rates, weights=rows.weights, axis=0).sum())

    def _score_of(self, net: Sequential, rows: Rows, instead: float) -> float:
        if isinstance(self._loss, losses.Quantile | losses.GaussianNLL):
            return instead  # not only the mean is learned
        answers = self._means(net.predict(rows.X, threads=self.threads))
        if answers.shape != rows.y.shape:
            return instead
        if not np.isfinite(answers).all():
            return math.nan
        return metrics.explained(rows.y - answers, rows.y, rows.weights)


class _Arrays(list[Array]):
    """The arrays of some layers: what is put in the place of one is copied into it."""

    def __setitem__(self, place: Any, value: Any) -> None:
        for array, new in zip(self[place], value, strict=True) if isinstance(place, slice) else [(self[place], value)]:
            _validate.assign(array, new, "coefs_ or intercepts_")


@cache
def _blas() -> ThreadpoolController:
    """The libraries of linear algebra in this process; to find them takes a while."""
    return ThreadpoolController()


def _keep(estimator: Any, arguments: dict[str, Any]) -> None:
    """An estimator's arguments become its attributes, as they are."""
    vars(estimator).update({name: value for name, value in arguments.items() if name not in ("self", "__class__")})


def _each(value: Any, sizes: list[int], name: str) -> list[Any]:
    """One for each hidden layer: those given, or the same for all."""
    if not isinstance(value, list | tuple):
        return [value] * len(sizes)
    if len(value) != len(sizes):
        raise ValueError(f"{name}: expected one for each of the {len(sizes)} hidden layers, got {len(value)}")
    return list(value)


def _linear(n_in: int, n_out: int, activation: Any, l2: float) -> Dense:
    """A layer whose weights are drawn later."""
    return Dense(n_in, n_out, activation, weight_init="zeros", l2=l2)


def _activation(given: Any) -> ActivationFunction:
    """The last activation, by a name of ours or scikit-learn's."""
    name = ALIASES.get(given, given)
    if isinstance(name, str):
        _validate.choice(name, "output_activation", activations._TABLE)
    return activations.get(name)


def _column(answers: Array) -> Array:
    """One column as (n_samples,)."""
    return answers[:, 0] if answers.shape[1] == 1 else answers


def _with_arrays(net: Sequential) -> list[Layer]:
    """The layers that have parameters."""
    return [leaf for leaf in net.leaves.values() if leaf.shapes()]


def _times(factor: float, schedule: Callable[[int], float], step: int) -> float:
    return factor * schedule(step)


def _set_rate(optimizer: Any, rate: float) -> None:
    """Change the learning rate of what is to come: scikit-learn's momentum remembers steps, ours gradients."""
    for momentum in optimizer.state.values():
        momentum *= optimizer.learning_rate / rate
    optimizer.learning_rate = rate


def _flat(y: Any) -> Any:
    return column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y


def _places(columns: Any, X: Any) -> list[int]:
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


def _frozen(net: Sequential) -> Sequential:
    """A network that does in training what this one does in prediction."""
    kept = [layer for layer in net.layers if not isinstance(layer, Dropout | BatchNorm)]
    frozen = Sequential([layers.from_description(*layer.described()) for layer in kept], rng=0, dtype=net.dtype)
    leaves = [leaf for layer in kept for _, leaf in layer.leaves()]
    for old, new in zip(leaves, frozen.leaves.values(), strict=True):
        for name in old.shapes():
            setattr(new, name, getattr(old, name))
    for dense, norm in pairwise(net.layers):
        if isinstance(dense, Dense) and isinstance(norm, BatchNorm):
            new, factor = frozen.layers[kept.index(dense)], norm.weight / np.sqrt(norm.running_variance + norm.epsilon)
            assert isinstance(new, Dense)
            new.bias = (new.bias - norm.running_mean) * factor + norm.bias
            new.weight = new.weight * factor
    return frozen
