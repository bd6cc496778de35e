"""What the classifier and the regressor have in common: fitting, what a fit leaves behind, and predicting."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .. import _validate, losses, optimizers
from ..ensemble import Ensemble
from ..errors import DivergedError
from ..layers import Dense, Layer
from ..network import Sequential
from . import building, members, solvers
from .data import Rows, by_original_column, mean, split
from .gate import Gate
from .head import Head
from .monitor import Monitor
from .parameters import ALIASES, activation_of

__all__ = ["MLP"]

Array = _validate.Array
#: X_val, y_val and sample_weight_val.
Validation = tuple[Any, Any, Any]

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)

#: What fits leave behind that go epoch by epoch, and L-BFGS does not.
OF_EPOCHS = (
    "loss_curve_", "validation_loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "stopped_",
    "_optimizer", "_apart", "_series",
)  # fmt: skip


class MLP(Gate):
    """What the classifier and the regressor have in common.

    Pickles hold its attributes, the private ones too. Beside what is fitted they are

    - `_shape`, what a fit that goes on must not change, and `_described`, from which layers the network was built;
    - `_asked`, from which parameters the optimizer was made;
    - `_judged`, whether the last fit had early stopping, `_best`, its best weights, and `_series`, whether a series of
      `partial_fit` goes on with its counts;
    - `_apart`, under averaged weights, those that training goes on from, and the averaged ones;
    - `_encoder`, `_categorical` and `_categories`, of the categorical features.
    """

    network_: Sequential
    members_: list[Any]
    _optimizer: optimizers.Optimizer
    _loss: Any = None
    n_members, bagging = 1, "seeds"  # of estimators that an earlier version has pickled

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *,
        X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None,
    ) -> Any:  # fmt: skip
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A sparse matrix is converted to a dense array.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, an indicator matrix of several labels, or numbers to predict.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss.
        X_val, y_val : like X and y, default=None
            Validation data, evaluated on after each epoch, for `validation_loss_curve_`; with `early_stopping`, in
            place of the share that would be held out.
        sample_weight_val : array-like, default=None
            Weights of their rows.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, validation: Validation) -> Any:
        if self.early_stopping and validation[0] is None:
            raise ValueError("partial_fit does not support early_stopping=True without X_val and y_val to judge by")
        return self._fit(X, y, sample_weight, validation, incremental=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Validation, incremental: bool = False) -> Any:
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        with self._unless_refused():
            if self.n_members > 1 and self.warm_start:
                raise ValueError(f"n_members: expected 1 with warm_start, got {self.n_members}: set warm_start=False")
            train, held_out, head = self._prepare(X, y, sample_weight, validation, incremental, first)
            if self.n_members > 1:
                return self._fit_members(train, held_out, head)
            train, held_out = self._begin(train, held_out, head, incremental, first)
            self.__dict__.pop("members_", None)
        return self._solve(train, held_out, head, incremental)

    def _solve(self, train: Rows, held_out: Rows | None, head: Head, incremental: bool) -> Any:
        if self._lbfgs:
            self._minimize(train, head)
        else:
            self._train(train, head, held_out, incremental)
        return self

    def _fit_rows(self, train: Rows, held_out: Rows | None, head: Head) -> Any:
        """Fit to rows that have been checked, as a member."""
        train, held_out = self._begin(train, held_out, head, incremental=False, first=True)
        return self._solve(train, held_out, head, incremental=False)

    def _fit_members(self, train: Rows, held_out: Rows | None, head: Head) -> Any:
        """Fit each member; what a fit leaves behind is, but for the parameters, that of the first."""
        fitted = members.fitted(self, train, held_out, head)
        own = self.get_params(deep=False)
        for name, value in vars(fitted[0]).items():
            if name not in own:
                setattr(self, name, value)
        self.members_ = fitted
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
        self, X: Any, y: Any, sample_weight: Any, validation: Validation, incremental: bool, first: bool
    ) -> tuple[Rows, Rows | None, Head]:
        """Check the parameters and the data."""
        shape = self._new_shape(self._sizes())
        self._check_shape(shape, first, incremental)
        solvers.check_parameters(self, validation[0] is not None)
        train = self._rows(X, y, sample_weight, incremental, first)
        head = self._head(train.y.shape[1])
        self._loss = head.loss
        head = head.for_training()
        shape["the number of outputs"] = head.n_out
        self._check_shape(shape, first, incremental)
        self._shape = shape
        return train, self._validation(*validation, train.y.shape[1]), head

    def _begin(
        self, train: Rows, held_out: Rows | None, head: Head, incremental: bool, first: bool
    ) -> tuple[Rows, Rows | None]:
        """Hold out rows, if that is asked for, and have a network: a new one, or that of the last fit.

        Drawn in scikit-learn's order: the weights, the split, then what the rest needs. Those that go on draw weights
        too, so that the split is that of the first fit.
        """
        random = check_random_state(self.random_state)
        made = building.layers(self, self._sizes(), head, train.X.shape[1])
        drawn = [] if incremental and not first else list(building.draw(self, random, made))
        if self.early_stopping and held_out is None and not self._lbfgs:
            train, held_out = split(random, train, self.validation_fraction, self._stratified)
        self._set_network(made, drawn if first else [], random, train.X.dtype)
        if first:
            self.t_ = 0
            self._forget_epochs()
        return train, held_out

    def _sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return sizes

    def _new_shape(self, sizes: list[int]) -> dict[str, Any]:
        categorical = self.categorical_features
        return {
            "hidden_layer_sizes": tuple(sizes), "batch_norm": self.batch_norm, "layer_norm": self.layer_norm,
            "categorical_features": None if categorical is None else np.ravel(categorical).tolist(),
        }  # fmt: skip

    def _check_shape(self, shape: dict[str, Any], first: bool, incremental: bool) -> None:
        """Refuse to go on from the weights of another shape."""
        last = {} if first else getattr(self, "_shape", {})
        for name in shape.keys() & last.keys():
            if shape[name] != last[name]:
                how, cure = ("partial_fit", "call fit") if incremental else ("warm_start", "set warm_start=False")
                raise ValueError(
                    f"{name} changed under {how} from {last[name]} to {shape[name]}: it goes on with the weights of "
                    f"the last fit, which no longer fit; to begin anew, {cure}"
                )

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
        if last is None:
            building.set_weights(net, drawn)
        else:
            building.continued(net, last)
            if hasattr(self, "_optimizer"):
                self._optimizer = copy.copy(self._optimizer)  # whose network is another now
        self.network_, self._described = net, described
        self.n_outputs_, self.n_layers_ = net.n_out, 1 + len(self.coefs_)
        last_activation = net.layers[-1].activation.name
        self.out_activation_ = {ours: theirs for theirs, ours in ALIASES.items()}.get(last_activation, last_activation)

    def _forget_epochs(self) -> None:
        for name in OF_EPOCHS:
            self.__dict__.pop(name, None)

    # Epoch by epoch.

    def _train(self, train: Rows, head: Head, held_out: Rows | None, incremental: bool) -> None:
        self._set_optimizer(head.gradient_scale, incremental)
        if "_apart" in self.__dict__:
            own, averaged = self.__dict__.pop("_apart")
            if np.array_equal(self.network_.parameters, averaged):
                self.network_.parameters, self.network_.buffers = own
        if not (incremental and getattr(self, "_series", False)) or self._judged != self.early_stopping:
            self._reset_counts()
        self.n_iter_, self.stopped_ = 0, False
        monitor = Monitor(self, head, train, held_out)
        self._run_epochs(train, head, held_out, monitor, incremental)
        self.stopped_ = monitor.stopped
        over = self.early_stopping and (monitor.stopped or not incremental)
        self._series = incremental and not over
        if over:
            self._take_best()
        elif self._averages:
            self._take_averages(train.X)

    def _run_epochs(self, train: Rows, head: Head, held_out: Rows | None, monitor: Monitor, incremental: bool) -> None:
        """Fit the network; whatever ends it early is a warning, as it is in scikit-learn."""
        try:
            self.network_.fit(
                train.X, train.y, sample_weight=train.weights, loss=head.loss, optimizer=self._optimizer,
                epochs=1 if incremental else self.max_iter, batch_size=self._batch_size(len(train.X)),
                validation_data=held_out, shuffle=self.shuffle, callbacks=[monitor, *self.callbacks],
                progress=self.progress, threads=self.threads,
            )  # fmt: skip
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
        except DivergedError as error:
            if not self.early_stopping:
                raise ValueError(NOT_FINITE) from error
            self.validation_scores_.append(math.nan)
            warnings.warn(f"Stochastic Optimizer: {error}", ConvergenceWarning, stacklevel=6)
        else:
            if self.n_iter_ == self.max_iter and not (monitor.stopped or incremental):
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.", ConvergenceWarning, stacklevel=6,
                )  # fmt: skip

    def _reset_counts(self) -> None:
        """Begin anew what is counted in each fit; the curves go on, since they belong to the weights."""
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

    def _set_optimizer(self, scale: float, incremental: bool) -> None:
        """A new one for each fit; `partial_fit` goes on with the last, unless it was asked for another since."""
        asked = [scale, *(getattr(self, name) for name in solvers.OPTIMIZER_PARAMETERS)]
        last = getattr(self, "_optimizer", None) if incremental else None
        if last is None or getattr(self, "_asked", asked) != asked:
            self._optimizer = solvers.optimizer(self, scale)
            if last is not None and self.optimizer is None and type(last) is type(self._optimizer):
                self._optimizer.state, self._optimizer.steps = last.state, last.steps
        self._asked = asked

    def _batch_size(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows) if self._optimizer.stochastic else rows
        if self.batch_size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=7
            )
        return min(int(self.batch_size), rows)

    def _state(self) -> tuple[Array, Array]:
        return self.network_.parameters.copy(), self.network_.buffers.copy()

    def _take_best(self) -> None:
        """Have the weights of the best validation score."""
        self.network_.parameters, self.network_.buffers = self._best
        if self._averages:
            self._optimizer.state["average"][...] = self.network_.parameters

    def _take_averages(self, X: Array) -> None:
        """Have the averaged weights, and keep the others to go on from."""
        own = self._state()
        with self._averaged(X):
            averaged = self._state()
        self.network_.parameters, self.network_.buffers = averaged
        self._apart = own, averaged[0]

    @property
    def _averages(self) -> bool:
        """Whether the weights of the model are those that the optimizer averages."""
        return "average" in getattr(self._optimizer, "state", {})

    @contextmanager
    def _averaged(self, X: Array) -> Iterator[None]:
        """The network with the averaged weights, for as long as the block lasts, if there are such."""
        if not self._averages:
            yield
            return
        with self._optimizer.averaged(self.network_, X):
            yield

    # By L-BFGS.

    def _minimize(self, train: Rows, head: Head) -> None:
        self._forget_epochs()
        found, interrupted = solvers.lbfgs(self, self.network_, train, head)
        if interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        if not np.isfinite(found.x).all():
            raise ValueError(NOT_FINITE)
        self.network_.parameters = found.x
        self.n_iter_ = min(found.nit, self.max_iter)
        self.loss_ = float(found.fun) * head.loss_scale / head.gradient_scale + self._loss_offset(train)
        if found.status != 0:
            warnings.warn(
                f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): {found.message}. "
                "Increase max_iter or max_fun, or scale the data.", ConvergenceWarning, stacklevel=5,
            )  # fmt: skip

    # Predicting.

    def _outputs(self, X: Any) -> list[Array]:
        """What each member gives for these rows."""
        if not self._passes(X):
            check_is_fitted(self)
            X, _ = self._check(X)
        if "members_" in self.__dict__:
            return [*self.ensemble_.predict_all(X, threads=self.threads)]
        return [self.network_.predict(X, threads=self.threads)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a safetensors file, without pickle: `backprop.sklearn.load` reads it.

        Its parameters, networks, classes, names of columns, categories and curves; not its callbacks, and not the state
        of its optimizer: `partial_fit` goes on with a new one.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced only once the new one is safe on the disk.

        Raises
        ------
        TypeError
            If a parameter is a function of one's own, such as a loss: a file holds no code.
        """
        from .saving import save

        save(self, path)

    def export_c(
        self, path: str | os.PathLike[str], *, name: str | None = None, dtype: str = "float32", calibration: Any = None,
        fold: bool = False,
    ) -> None:  # fmt: skip
        """Write the fitted estimator as a C file, and a header beside it.

        ``NAME_predict`` gives what `predict_proba`, or a regressor's `predict`, gives for a row; ``NAME_classify`` the
        place of the most likely class in ``NAME_CLASSES``. Several members are averaged, numbers beside categorical
        features scaled; a category is given by its place in the list that the header has.

        Parameters
        ----------
        path, name, dtype, fold
            As `backprop.Sequential.export_c` takes them.
        calibration : array-like of shape (n_samples, n_features), default=None
            With ``dtype="int8"``: rows like those that it will see.
        """
        from .exporting import export_c

        export_c(self, path, name=name, dtype=dtype, calibration=calibration, fold=fold)

    def export_onnx(self, file: Any, *, opset: int | None = None) -> None:
        """Write the fitted estimator as an ONNX model.

        A classifier gives "label", as `predict` does, and "probabilities", a tensor (n_samples, n_classes); a regressor
        gives "y" (n_samples, n_outputs), under `GaussianNLL` the means. The input is "x", in the type of the network;
        with categorical features each column is an input, by its name or "x0", "x1": numbers as float64, texts as
        they are. Several members are averaged.

        Parameters
        ----------
        file : str, path-like or binary file
            As `backprop.Sequential.save` takes it.
        opset : int or None, default=None
            The version of the operators; None: the one that suits, as `backprop.Sequential.export_onnx` has it, and 19
            where categories are text.
        """
        from .exporting import export_onnx

        export_onnx(self, file, opset=opset)

    @property
    def ensemble_(self) -> Ensemble:
        """The networks of all members, as one that predicts the mean of their outputs."""
        return Ensemble(self._networks())

    @available_if(lambda self: self._check_members())
    def predict_std(self, X: Any) -> Array:
        """How far the members disagree: the standard deviation over them of what each predicts.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray
            In the shape of `predict_proba` for a classifier, and of `predict` for a regressor.
        """
        found: Array = np.std([self._said(outputs) for outputs in self._outputs(X)], axis=0, dtype=np.float64)
        return found

    def _check_members(self) -> bool:
        if self.n_members == 1:
            raise AttributeError("predict_std: expected several members, got n_members=1")
        return True

    def input_gradients(self, X: Any) -> Array:
        """The derivatives of the outputs with respect to the inputs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            The derivative of each output, such as the probability of the second of two classes, or of each of several,
            with respect to each feature; 0 for categorical features. Where the network gives logits
            (``from_logits=True``), those of the logits.
        """
        check_is_fitted(self)
        rows = self._check(X)[0]
        found = mean([net.jacobian(rows) for net in self._networks()])
        if self._encoder is not None:
            found = by_original_column(found, self._encoder, self._categorical)
        return found[:, 0] if self.network_.n_out == 1 else found

    def _networks(self) -> list[Sequential]:
        if not hasattr(self, "network_"):
            raise AttributeError(f"{type(self).__name__} has no networks before it is fitted")
        return [member.network_ for member in self.__dict__.get("members_", [self])]

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
        if self.n_members > 1:
            raise AttributeError(f"partial_fit is only available with one member, not with n_members={self.n_members}.")
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
    _default_loss: ClassVar[str]
    #: Whether the validation split is.
    _stratified: ClassVar[bool]

    def _loss_offset(self, rows: Rows | None) -> float:
        """What scikit-learn adds to the loss, a constant in the weights."""
        return 0.0

    def _strata(self, y: Array) -> Array | None:
        """The classes of rows that are to be in each fold alike."""
        return None

    def _of_members(self, outputs: list[Array]) -> Array:
        """What the outputs of all members say together."""
        return mean([self._said(part) for part in outputs])

    def _said(self, outputs: Array) -> Array:
        """What a network's outputs say, in the shape of the predictions: of a classifier, probabilities."""
        raise NotImplementedError

    def _head(self, targets: int) -> Head:
        """The output layer and the loss for so many columns of targets."""
        raise NotImplementedError

    def _given_loss(self) -> Any:
        """The loss that is asked for, where it is not scikit-learn's."""
        if isinstance(self.loss, str):
            _validate.choice(self.loss, "loss", [self._default_loss, *losses._TABLE])
        loss = self.loss if isinstance(self.loss, losses.Loss) else losses.get(self.loss)
        if getattr(loss, "reduction", "mean") == "none":
            raise ValueError('loss: expected a single number, got reduction="none": take "mean" or "sum"')
        return loss

    def _activation(self, default: str, allowed: Sequence[str] | None = None, why: str = "") -> Any:
        """The activation of the output layer: the one given, if it is allowed with the loss, or the default."""
        if self.output_activation is None:
            return default
        given = activation_of(self.output_activation)
        if allowed is not None and given.name not in allowed:
            raise ValueError(
                f"output_activation: expected None or {' or '.join(map(repr, allowed))} with the loss "
                f"{_validate.shown(self.loss)}, got {given.name!r}{why}"
            )
        return given

    def _validation_score(self, net: Sequential, rows: Rows, otherwise: float) -> float:
        """What early stopping judges by; otherwise, where there is no such score."""
        raise NotImplementedError


class _Arrays(list[Array]):
    """The arrays of some layers: assigning to an item copies into the array."""

    def __setitem__(self, place: Any, value: Any) -> None:
        for array, new in zip(self[place], value, strict=True) if isinstance(place, slice) else [(self[place], value)]:
            _validate.assign(array, new, "coefs_ or intercepts_")
