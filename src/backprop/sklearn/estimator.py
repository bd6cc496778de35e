"""What the classifier and the regressor have in common: from scikit-learn's parameters and data to a network."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from sklearn.base import BaseEstimator, _fit_context
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

from .. import _validate, layers, losses, optimizers
from ..errors import DivergedError
from ..layers import Activation, BatchNorm, Columns, Dense, Dropout, Embedding, Layer, LayerNorm
from ..network import Sequential
from .data import Rows, flat, places
from .objective import Objective
from .parameters import ALIASES, EPOCHS_ONLY, STEPPING, activation_of, each
from .stopping import Iterations

__all__ = ["_MLP"]

Array = _validate.Array

SPARSE = ("csr", "csc")
FLOATS = (np.float64, np.float32)

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)

#: What a fit by epochs leaves behind, and one by L-BFGS does not.
BOOKS = (
    "loss_curve_", "validation_loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "stopped_",
    "_optimizer", "_apart", "_series",
)  # fmt: skip


class _MLP(BaseEstimator):
    """What both have."""

    network_: Sequential
    _optimizer: optimizers.Optimizer
    _loss: Any = None
    _encoder: Any = None

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
        books = Iterations(self, objective, train, held_out)
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
        activations = each(self.activation, sizes, "activation")
        for size, activation, dropout in zip(sizes, activations, each(self.dropout, sizes, "dropout"), strict=True):
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
        y = self._targets(flat(y), incremental)
        return Rows(X, y.reshape(len(y), -1), weights)

    def _check(self, X: Any, first: bool = False, **given: Any) -> tuple[Array, Any]:
        """X as a dense array of floats, the categories first; and y, where it is given."""
        if self.categorical_features is None if first else self._encoder is None:
            self._encoder = None
            multi = {"multi_output": True, "y_numeric": self._numeric} if given else {}
            found = validate_data(self, X, accept_sparse=SPARSE, dtype=FLOATS, reset=first, **given, **multi)
            X, y = found if given else (found, None)
            return X.toarray() if hasattr(X, "toarray") else X, y
        validate_data(self, X, skip_check_array=True, reset=first, **given)
        y = self._check_y(given["y"]) if given else None
        X = X if hasattr(X, "columns") else check_array(X, dtype=None, ensure_all_finite="allow-nan")
        if first:
            self._categorical = places(self.categorical_features, X)
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
            y = self._encode(flat(self._check_y(y)))
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
        full_batch = self.optimizer is not None and isinstance(optimizers.get(self.optimizer), optimizers.FullBatch)
        if self._lbfgs or full_batch:
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
        end = activation_of(given)
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


class _Arrays(list[Array]):
    """The arrays of some layers: what is put in the place of one is copied into it."""

    def __setitem__(self, place: Any, value: Any) -> None:
        for array, new in zip(self[place], value, strict=True) if isinstance(place, slice) else [(self[place], value)]:
            _validate.assign(array, new, "coefs_ or intercepts_")


@cache
def _blas() -> ThreadpoolController:
    """The libraries of linear algebra in this process; to find them takes a while."""
    return ThreadpoolController()


def _linear(n_in: int, n_out: int, activation: Any, l2: float) -> Dense:
    """A layer whose weights are drawn later."""
    return Dense(n_in, n_out, activation, weight_init="zeros", l2=l2)


def _with_arrays(net: Sequential) -> list[Layer]:
    """The layers that have parameters."""
    return [leaf for leaf in net.leaves.values() if leaf.shapes()]


def _times(factor: float, schedule: Callable[[int], float], step: int) -> float:
    return factor * schedule(step)


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
