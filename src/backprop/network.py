"""`Sequential`: the network. The one place that knows layers, the plan they become, training, and files."""

import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from . import (
    _core,
    _frames,
    _threads,
    _validate,
    _words,
    callbacks,
    checkpoints,
    engine,
    files,
    layers,
    losses,
    optimizers,
    schedules,
    training,
)  # fmt: skip
from . import metrics as _metrics
from ._version import __version__
from .errors import BusyError, DivergedError, FormatError
from .layers import Layer
from .optimizers import Optimizer
from .training import Batches, Data, History, Lazy

__all__ = ["Sequential", "load", "resume"]

Array = _validate.Array

FORMAT_VERSION = "1"
#: Layers and branches, and the lists they stand in, that a file may have.
MOST_LISTS = 1 << 15


def _metadata(value: Any, name: str) -> dict[str, Any]:
    """What a file gives back as it is."""
    if type(value) is not dict:
        raise TypeError(f"{name}: expected a dict, got {_validate.shown(value)}")
    files.check_json(value, name)
    if (size := len(json.dumps(value))) > files.MAX_HEADER:
        raise ValueError(
            f"{name}: expected at most {files.MAX_HEADER} bytes as JSON, got {size}: keep it in its own file"
        )
    return value


#: What its counters hold; those of a file are at most half of it, so that there is room to go on.
_COUNTERS: dict[str, _validate.Gate] = {
    "seed": partial(_validate.integer, least=0, most=2**64 - 1),
    "epochs": partial(_validate.integer, least=0, most=2**62),
    "steps": partial(_validate.integer, least=0, most=2**62),
}

#: Rows whose statistics are taken at a time.
SLICE = 1024


class Sequential(_core.Predictor):
    """A network: layers, one after the other.

    Parameters
    ----------
    layers : sequence of Layer
        Each takes as many numbers as the one before it gives.
    rng : int, numpy.random.Generator or None, default None
        Where the initial weights, the order of the rows in training and the dropped numbers come from. The same int
        gives the same network, and the same training, to the last bit; None takes a new one each time.
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of the arithmetic.

    Attributes
    ----------
    parameters, gradients : numpy.ndarray, shape (n_parameters,)
        All parameters and their gradients. The layers' arrays are views into them: writing there changes the network.
    layers : tuple of Layer
    leaves : dict of str to Layer
        Those that have parameters of their own, also within other layers, by where they are: "0", "1.0".
    buffers : numpy.ndarray, shape (n_buffers,)
        What layers keep beside their parameters, such as the running statistics of a `BatchNorm`.
    n_in, n_out : int
        How many numbers a row has before and after.
    metadata : dict
        It travels with the model file, a copy and a pickle, and comes back as it is: None, bools, ints, finite floats,
        strings, and lists and dicts of such, with strings for keys. Anything else is refused when it is assigned, and
        where it is put into the dict later, when the network is saved or copied.
    feature_names : tuple of str or None
        What the columns of the table that it was fitted on are called; None where they had no names. A table with the
        same columns in another order is put in this one, one with others is refused. It travels with the model file.

    Raises
    ------
    ValueError
        If sizes do not fit, or the parameters would not fit into memory.

    Examples
    --------
    >>> import backprop as bp
    >>> net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")], rng=0)
    >>> net.predict([[0.0, 1.0]]).shape
    (1, 1)
    """

    _gates: ClassVar[Mapping[str, _validate.Gate]] = {"metadata": _metadata, **_COUNTERS}

    @_words.helpful("Sequential")
    def __init__(self, layers: Sequence[Layer], *, rng: Any = None, dtype: npt.DTypeLike = "float32") -> None:
        self._declare(layers, dtype)
        generator = _validate.generator(rng)
        self._allocate()
        for leaf in self.leaves.values():
            leaf.initialize(generator)
        self.seed = int(generator.integers(2**63))

    def _declare(self, layers: Sequence[Layer], dtype: npt.DTypeLike) -> None:
        """Everything but memory: nothing here is larger than what describes the layers."""
        self.layers = _checked(layers)
        self.dtype = _dtype(dtype)
        self.metadata: dict[str, Any] = {}
        self._feature_names: tuple[str, ...] | None = None
        self.n_in, self.n_out = _connect(self.layers)
        self.leaves = {
            ".".join(map(str, (i, *path))): leaf for i, layer in enumerate(self.layers) for path, leaf in layer.leaves()
        }
        self.epochs = self.steps = 0
        self._training = threading.Lock()
        self._looked: list[Array] | None = None

    def _allocate(self, arrays: dict[str, Array] | None = None) -> None:
        """The flat vectors, empty or with what these arrays hold, which are given up; and what runs on them."""
        self._storage = engine.Storage(self.leaves, self.dtype, arrays)
        self.engine = engine.build(self.layers, self._storage)
        self.plan: _core.Plan | None = self.engine if isinstance(self.engine, _core.Plan) else None

    def __setattr__(self, name: str, value: Any) -> None:
        gate = self._gates.get(name)
        super().__setattr__(name, value if gate is None else gate(value, name))

    @cached_property
    def beneath(self) -> _core.Plan | engine.Chain:
        """Its engine without the activation at the end: what goes there and back under a loss that takes logits."""
        return engine.build(self.layers, self._storage, beneath=True)

    @property
    def parameters(self) -> Array:
        """All parameters, one after the other; what is assigned is copied into them."""
        return self._storage.parameters

    @parameters.setter
    def parameters(self, value: Any) -> None:
        _validate.assign(self.parameters, value, "parameters")

    @property
    def gradients(self) -> Array:
        """Their gradients, in the same order."""
        return self._storage.gradients

    @gradients.setter
    def gradients(self, value: Any) -> None:
        _validate.assign(self.gradients, value, "gradients")

    @property
    def buffers(self) -> Array:
        """What layers keep beside their parameters, such as the running statistics of a `BatchNorm`."""
        return self._storage.buffers

    @buffers.setter
    def buffers(self, value: Any) -> None:
        _validate.assign(self.buffers, value, "buffers")

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """What the columns of the input are called, if they have names."""
        return self._feature_names

    @feature_names.setter
    def feature_names(self, value: Any) -> None:
        names = None if value is None else tuple(_validate.items(value, "feature_names"))
        if names is not None and not (len(names) == self.n_in and all(isinstance(name, str) for name in names)):
            got = _validate.shown(value)
            raise ValueError(f"feature_names: expected {self.n_in} strings, one for each column, or None, got {got}")
        files.check_json([*map(str, names or ())], "feature_names")
        self._feature_names = None if names is None else tuple(map(str, names))

    @property
    def trainable_ranges(self) -> tuple[tuple[int, int], ...]:
        """Where in ``parameters`` those lie that training may change: (begin, end), ascending."""
        if all(leaf.trainable for leaf in self.leaves.values()):
            return ((0, self.parameters.size),)
        ranges, at = [], 0
        for leaf in self.leaves.values():
            n = sum(math.prod(shape) for shape in leaf.shapes().values())
            if leaf.trainable and n:
                ranges.append((at, at + n))
            at += n
        return tuple(ranges)

    def penalty(self) -> float:
        """What the layers' l1 and l2 add to the loss that is trained on; `evaluate` leaves it out.

        Returns
        -------
        float
            The sum of l1 sum |w| + l2 sum w^2 over the layers that have them. `backward` adds its gradient.
        """
        return self.engine.penalty()

    # Prediction.

    def _predict(self, x: Any, batch_size: int | None, threads: int | None, out: Array | None) -> Array:
        x = self._in_order(x)
        if batch_size is None:
            x = self._inputs(x, later=True)
            return self._run(x, self._out(out, len(x), x), threads)
        step, x = _validate.integer(batch_size, "batch_size"), _validate.array(x, "x")
        if x.shape[1:] != (self.n_in,) or len(x) <= step:
            return self._predict(x, None, threads, out)
        out = self._out(out, len(x), x)
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            self._run(self._inputs(x[rows], start, later=True), out[rows], threads, first_row=start)
        return out

    __call__ = _core.Predictor.predict

    @_words.helpful("fit")
    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        loss: Any,
        metrics: Sequence[Any] = (),
        sample_weight: Any = None,
        class_weight: Any = None,
        threads: int | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics on some data.

        Parameters
        ----------
        x, y : array_like
            As `fit` takes them.
        loss : str, Loss or callable
            As `fit` takes it.
        metrics : sequence of str or callable, default ()
            Names from `backprop.metrics`, or callables ``(y_hat, y) -> float``.
        sample_weight : array_like, shape (batch,), optional
            How much each row counts in the loss.
        class_weight : dict, array_like or "balanced", optional
            As `fit` takes it.
        threads : int or None, default None
            As `predict` takes it.

        Returns
        -------
        dict of str to float
            Under "loss" and the names of the metrics.
        """
        measured, loss = _metrics.get(metrics), self._loss(loss)
        _single(loss)
        data = _weighted_by_class(self._data(x, y, loss, sample_weight, lazily=True), class_weight, loss, self.n_out)
        return self.score(data, loss, measured, loss.meaning(data.y, self.n_out) if measured else None, threads)

    def update_statistics(self, x: Any, *, batch_size: int | None = None, threads: int | None = None) -> None:
        """Set the running statistics of every `BatchNorm` to those of some rows under the present parameters.

        They follow training by themselves. Where the parameters come from elsewhere (an average, SciPy, another file),
        they do not; then this makes `predict` normalise as a batch of all these rows would be. Each norm in its turn:
        mean and variance, divided by the number of rows, of what it takes from the layers before it, without dropout.
        Those that are frozen (see `BatchNorm`) stay; without a batch norm, nothing happens.

        Parameters
        ----------
        x : array_like, shape (rows, n_in)
            As `predict` takes it: best all rows of the training data, and at least 2.
        batch_size : int or None, default None
            How many rows to compute at a time, in whole thousands; the result is the same. None: a few megabytes.
        threads : int or None, default None
            As `predict` takes it.

        References
        ----------
        Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithm 2, with one batch of all rows; of averaged
        weights: Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
        section 3.2. PyTorch's ``update_bn`` takes the mean over batches instead.
        """
        step = None if batch_size is None else _validate.integer(batch_size, "batch_size")
        _validate.some_rows(rows := self._lazy_inputs(x, None))
        kept = self.buffers.copy()
        try:
            for statistics, before in engine.norms(self.layers, self._storage):
                statistics[...] = self._moments(rows, before, statistics.shape[1], step, threads)
        except BaseException:
            self.buffers[...] = kept
            raise
        self.stale = False

    def _moments(
        self, x: Array | Lazy, before: engine.Chain, n: int, step: int | None, threads: int | None
    ) -> tuple[Array, Array]:
        """Mean and variance of the n numbers that some layers make of each row.

        Of `SLICE` rows at a time, put together in double: the bits do not depend on how many are computed at once.
        """
        if len(x) < 2:
            raise ValueError(f"x: expected at least 2 rows to take a variance of, got {len(x)}")
        slices = training.PIECE // (SLICE * n * self.dtype.itemsize) if step is None else -(-step // SLICE)
        step, count = SLICE * max(1, slices), 0
        mean, squares = np.zeros((2, n))
        for start in range(0, len(x), step):
            some = np.asarray(x[start : start + step])
            y = np.empty((len(some), n), self.dtype)
            with _threads.take(_threads.checked(threads), before.work * len(some), _threads.WORTH_STARTING) as workers:
                before.predict(some, y, False, workers)
            with np.errstate(all="ignore"):  # what is not finite is seen at the end
                for part in np.split(y, range(SLICE, len(y), SLICE)):
                    middle = part.mean(axis=0, dtype=np.float64)
                    apart, count = middle - mean, count + len(part)
                    squares += ((part - middle) ** 2).sum(axis=0) + apart**2 * (len(part) * (count - len(part)) / count)
                    mean += apart * (len(part) / count)
        with np.errstate(over="ignore", invalid="ignore"):
            found = mean.astype(self.dtype), (squares / count).astype(self.dtype)
        if not np.isfinite(found).all():
            raise ValueError("x: expected rows whose numbers before each batch norm have a finite variance: scale them")
        return found

    # Training.

    @_words.helpful("fit")
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: Any,
        optimizer: Optimizer | str,
        epochs: int = 1,
        batch_size: int | None = 32,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        metrics: Sequence[Any] = (),
        callbacks: Sequence[Any] = (),
        progress: bool = False,
        rng: Any = None,
        threads: int | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train: go through the rows in batches, and take a step of the optimizer after each.

        Parameters
        ----------
        x : array_like, shape (rows, n_in), or iterable of batches
            Any layout and real type; contiguous arrays of the network's own dtype, such as a `numpy.memmap`, are not
            copied, and of others, where they are large, a part at a time is converted. Without y: anything that gives
            batches (x, y) or (x, y, sample_weight) each time it is gone through, which is once an epoch. They are taken
            as they come: batch_size and shuffle are of no matter. The columns of a table (a DataFrame) may hold any
            kind of numbers; their names are kept in ``feature_names``.
        y : array_like
            Targets (rows, n_out), or (rows,) where that is one; labels (rows,) where the loss takes them.
        loss : str, Loss or callable
            "mse", "cross_entropy" or another name or object from `backprop.losses`, or any
            ``(y_hat, y) -> (value, dy)``.
        optimizer : Optimizer or str
            Passed again, it goes on where it was. A name, "adam", is a new one with its defaults each time; see
            `backprop.optimizers.get`.
        epochs : int, default 1
            How many times to go through all rows; where the fit goes on from a checkpoint, those done before included.
        batch_size : int or None, default 32
            Rows to a step; the last batch of an epoch may be shorter. None: all rows, as `LBFGS` takes them always.
        validation_data : tuple (x, y) or (x, y, sample_weight), optional
            Data to evaluate on after each epoch.
        validation_split : float, default 0.0
            Without validation_data: the share of the rows, the last ones, to hold out for it.
        sample_weight : array_like, shape (rows,), optional
            How much each row counts.
        class_weight : dict, array_like or "balanced", optional
            How much the rows of each class count, beside sample_weight: by label; "balanced" weighs each class
            rows / (classes * its rows).
        shuffle : bool, default True
            Go through the rows in a new order each epoch.
        metrics : sequence of str or callable, default ()
            What else to measure each epoch: names from `backprop.metrics`, or callables ``(y_hat, y) -> float``.
        callbacks : sequence of Callback, default ()
            What to call between epochs.
        progress : bool, default False
            Show how far it is.
        rng : int, numpy.random.Generator or None, default None
            Of the order of the rows and the dropped numbers. None: the network's own.
        threads : int or None, default None
            How many threads share the work; the result is the same. None: as many as pay.
        resume : str or path-like, optional
            A file that `Checkpoint` wrote in a fit with these arguments, of a network built as this one: the fit goes
            on from there, to the bits and the history that it would have come to. `backprop.resume` builds the network
            too.

        Returns
        -------
        History

        Raises
        ------
        DivergedError
            If the loss, or a weight, stops being finite. The last finite weights are kept.
        BusyError
            If the network is being trained already.
        KeyboardInterrupt
            On Ctrl-C, after the batch under way; the network keeps its weights.
        """
        with self._busy():
            loss = self._loss(loss)
            optimizer = optimizers.get(optimizer)
            _single(loss)
            share = _validate.number(validation_split, "validation_split", 0, below=1)
            measured = _metrics.get(metrics)
            epochs = _validate.integer(epochs, "epochs", 0)
            meaning = None
            data: Data | Batches
            names = self._names_of(x)
            if y is None and not _is_rows(x):
                if isinstance(validation_data, (tuple, list)) and validation_data:
                    names = self._names_of(validation_data[0])
                data = self._batches(x, loss, measured, sample_weight, class_weight, share, epochs, names)
                held_out = None
            else:
                data, held_out = _held_out(self._data(x, y, loss, sample_weight, lazily=True, names=names), share)
                data = _weighted_by_class(data, class_weight, loss, self.n_out)
                if measured:
                    meaning = loss.meaning(data.y, self.n_out)
                    _metrics.check(measured, data.y, self.n_out, meaning)
            if validation_data is not None:
                if held_out is not None:
                    raise ValueError("validation_split: expected 0 beside validation_data, got both")
                held_out = self._validation(validation_data, loss, names)
            if held_out is not None and measured:
                _metrics.check(measured, held_out.y, self.n_out, meaning or loss.meaning(held_out.y, self.n_out))
            rows = 1 if isinstance(data, Batches) else len(data)
            settings = training.Settings(
                loss, optimizer, rows if batch_size is None else _validate.integer(batch_size, "batch_size"),
                _validate.flag(shuffle, "shuffle"), measured, meaning, held_out, _callbacks(callbacks, progress),
                _threads.checked(threads),
            )  # fmt: skip
            if isinstance(data, Data):
                self.check_batch(
                    min(rows, rows if isinstance(optimizer, optimizers.FullBatch) else settings.batch_size)
                )
            seed = self.seed if rng is None else int(_validate.generator(rng).integers(2**63))
            run = training.Run(self, data, settings, epochs, seed)
            begun = None if resume is None else self._begun(run, resume, names)
            optimizer.ready(self)
            if begun is not None:
                self._take_over(run, *begun)
            if isinstance(data, Data):  # batches are looked at as they come
                self.feature_names = names or self.feature_names
            return training.fit(run)

    def forward(self, x: Any) -> Array:
        """What the network answers in training, keeping what `backward` needs.

        Parameters
        ----------
        x : array_like, shape (batch, n_in)

        Returns
        -------
        numpy.ndarray, shape (batch, n_out)
            A new array.
        """
        x = self._inputs(x)
        _validate.some_rows(x)
        y_hat = np.empty((len(x), self.n_out), self.dtype)
        self.engine.forward(x, y_hat, self.seed, self.steps)
        self.steps += 1
        return y_hat

    def backward(self, dy: Any) -> Array:
        """Back-propagate: overwrite ``gradients``, with those of `penalty` too.

        Parameters
        ----------
        dy : array_like, shape (batch, n_out)
            The gradient of a loss with respect to what the last `forward` returned.

        Returns
        -------
        numpy.ndarray, shape (batch, n_in)
            The gradient with respect to its input.
        """
        dy = _validate.matrix(dy, "dy", self.n_out, self.dtype)
        dx = np.empty((len(dy), self.n_in), self.dtype)
        self.engine.backward(dy, dx)
        return dx

    def value_and_gradient(
        self, x: Any, y: Any, loss: Any, *, sample_weight: Any = None, threads: int | None = None
    ) -> tuple[float, Array]:
        """The loss on some data and its gradient with respect to all parameters: what SciPy's optimisers take.

        As a batch of training would give them; but the running statistics of a `BatchNorm` stay as they are. Once the
        parameters are found, `update_statistics` makes them follow.

        Parameters
        ----------
        x, y, loss, sample_weight, threads
            As `fit` takes them.

        Returns
        -------
        value : float
            With `penalty`, where there is one. NaN if it is not finite, and the gradient with it.
        gradient : numpy.ndarray, shape (n_parameters,)
            A copy of ``gradients``.
        """
        loss = self._loss(loss)
        return self.slope(self._data(x, y, loss, sample_weight), loss, self.seed, _threads.checked(threads))

    def slope(self, data: Data, loss: Any, seed: int, threads: int | None = None) -> tuple[float, Array]:
        """`value_and_gradient`, on data that have passed the gate."""
        if self._looked is not None:
            self._looked.append(data.x)
        if not self.compiles(loss):
            kept = self.buffers.copy()
            try:
                value = self.backpropagate(data, loss, seed)
            finally:
                self.buffers[...] = kept
            return value, self._slopes(math.isfinite(value))
        assert self.plan is not None
        losses = np.zeros((1, 2))
        with _threads.take(threads, self.engine.work * len(data), _threads.WORTH_MEETING) as count:
            finite = _core.Training(
                self.plan, data.x, data.target, data.labels, data.weights, **self.objective(loss),
                update=None, state=(), ranges=(), update_step=0, rates=np.zeros(1), batch_size=len(data), losses=losses,
                outputs=None, shuffle=False, seed=seed, first_epoch=0, first_step=self.steps, threads=count,
            ).run()  # fmt: skip
        if not finite:
            return np.nan, self._slopes(False)
        value, weight = losses[0]
        return float(value / weight if loss.reduction == "mean" else value), self._slopes(True)

    def _slopes(self, finite: bool) -> Array:
        """A copy of the gradients; NaN where they are not to be used."""
        return _validate.copied(self.gradients) if finite else np.full_like(self.gradients, np.nan)

    # Files.

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the network to a safetensors file, wholly or not at all.

        Parameters
        ----------
        file : str, path-like or binary file
            A path, where an existing file is replaced only once the new one is safe on the disk; or a file that is open
            for writing bytes, such as an `io.BytesIO`, which gets them where it stands.
        """
        files.write(file, self.to_bytes())

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its `arrays`, by the same names."""
        return {
            f"{at}.{name}": shape for at, leaf in self.leaves.items()
            for name, shape in (*leaf.shapes().items(), *leaf.buffers().items())
        }  # fmt: skip

    def arrays(self) -> dict[str, Array]:
        """Its arrays by their names in a model file: views, into which one may write."""
        return {
            f"{at}.{name}": getattr(leaf, name) for at, leaf in self.leaves.items()
            for name in (*leaf.shapes(), *leaf.buffers())
        }  # fmt: skip

    def to_bytes(self, more: Mapping[str, Array] | None = None, training: str | None = None) -> bytes:
        """The bytes of a model file, which `load` reads; of a checkpoint, with more tensors and the training."""
        self._check_statistics()
        _validate.real(self.parameters, "parameters", self.dtype)
        for name, array in self.arrays().items():
            _check_array(name, array)
        _check_room(self)
        _metadata(self.metadata, "metadata")
        own = next((layer for layer in self.layers if not layer.compiled), None)
        if own is not None:
            raise TypeError(f"save: expected built-in layers, got {own!r}: a file holds no code; save its arrays apart")
        architecture = {
            "layers": [layer.described() for layer in self.layers],
            "dtype": self.dtype.name, "seed": self.seed, "epochs": self.epochs, "steps": self.steps,
        } | ({} if self.feature_names is None else {"feature_names": self.feature_names})  # fmt: skip
        return files.pack({**self.arrays(), **(more or {})}, {
            "format": "backprop", "format_version": FORMAT_VERSION, "backprop_version": __version__,
            "architecture": json.dumps(architecture), "metadata": json.dumps(self.metadata, allow_nan=False),
        } | ({} if training is None else {"training": training}))  # fmt: skip

    def __reduce__(self) -> tuple[Callable[..., "Sequential"], tuple[bytes]]:
        return _from_bytes, (self.to_bytes(),)

    def copy(self) -> "Sequential":
        """A network of its own that is the same to the last bit, and would go on training alike."""
        return _from_bytes(self.to_bytes())

    def _begun(
        self, run: training.Run, path: str | os.PathLike[str], names: tuple[str, ...] | None
    ) -> tuple["Sequential", checkpoints.Checkpoint]:
        """The network and the run of a checkpoint, which must be of this network and this run."""
        other, checkpoint = _checkpoint(path)
        if other != self:
            want, got = _validate.shown(other), _validate.shown(self)
            raise ValueError(f"resume: expected the network of the checkpoint, {want}, got {got}")
        if names and other.feature_names and names != other.feature_names:
            wanted, got = (_validate.shown(list(columns)) for columns in (other.feature_names, names))
            raise ValueError(f"resume: expected the columns of the checkpoint in their order, {wanted}, got {got}")
        checkpoint.check(run)
        return other, checkpoint

    def _take_over(self, run: training.Run, other: "Sequential", checkpoint: checkpoints.Checkpoint) -> None:
        """Become that network, and the run that run."""
        checkpoint.restore(run)
        for mine, its in zip(self.arrays().values(), other.arrays().values(), strict=True):
            mine[...] = its
        self.seed, self.epochs, self.steps = other.seed, other.epochs, other.steps
        self.feature_names = other.feature_names or self.feature_names

    # Looking at it.

    def summary(self) -> str:
        """The layers, their sizes and their parameters, as a table."""
        rows = [("layer", "output", "parameters")]
        for layer in self.layers:
            n = sum(math.prod(shape) for _, leaf in layer.leaves() for shape in leaf.shapes().values())
            rows.append((repr(layer), f"(batch, {layer.n_out})", f"{n:,}"))
        rows.append((f"{self.dtype.name}, {self.parameters.nbytes:,} bytes", "", f"{self.parameters.size:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    if not TYPE_CHECKING:  # where an attribute that there is not is an error anyway

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{_words.of_method(name)}")

    def __eq__(self, other: object) -> bool:
        """Whether the other is built alike: the same layers and dtype, whatever their parameters and their seed."""
        return isinstance(other, Sequential) and (self.layers, self.dtype) == (other.layers, other.dtype)

    __hash__ = object.__hash__  # in a set or a dictionary, each stands for itself

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], dtype={self.dtype.name!r})"

    # What training asks of a network.

    def compiles(self, loss: Any) -> bool:
        """Whether the compiled core does all of a training step under this loss."""
        return self.plan is not None and bool(loss.compiled)

    def objective(self, loss: Any) -> dict[str, Any]:
        """How the compiled core computes this loss here: on the logits, where the last activation is its link."""
        logits = self._fuses(loss)
        return {
            "loss": loss.lower(logits), "logits": logits, "mean": loss.reduction == "mean",
            "share_penalties": loss.shares_penalties,
        }  # fmt: skip

    @contextmanager
    def lent(self, parameters: Array, x: Any = None) -> Iterator[None]:
        """Take other parameters, and the statistics that belong to them, for a block; then all is as it was.

        Where statistics would be needed and no x is given, `predict` and what else uses them waits for
        `update_statistics`.
        """
        own, statistics, stale = self.parameters.copy(), self.buffers.copy(), self.stale
        try:
            self.parameters[...] = parameters
            self.stale = bool(self._norms())
            if x is not None:
                self.update_statistics(x)
            yield
        finally:
            self.parameters[...], self.buffers[...], self.stale = own, statistics, stale

    @contextmanager
    def settled(self) -> Iterator[list[Array]]:
        """Let the running statistics follow after a block, which changes the parameters by what `slope` finds.

        Yields
        ------
        list of numpy.ndarray
            The rows that `slope` sees are noted here; those that are there at the end count.
        """
        rows: list[Array] = []
        self._looked = rows
        try:
            yield rows
        except DivergedError:  # before anything has changed
            rows.clear()
            raise
        finally:
            self._looked = None
            if self._norms() and sum(len(some) for some in rows) > 1:
                self.update_statistics(rows[0] if len(rows) == 1 else np.concatenate(rows))

    def _norms(self) -> list[str]:
        """The batch norms whose statistics follow the batches, as one would write them."""
        return [
            f"layers[{at.replace('.', '][')}], {leaf!r}" for at, leaf in self.leaves.items()
            if isinstance(leaf, layers.BatchNorm) and not leaf.frozen
        ]  # fmt: skip

    def check_batch(self, rows: int) -> None:
        """Refuse batches of a single row, where a batch norm would have to learn its statistics from them."""
        norms = self._norms() if rows == 1 else []
        if norms:
            raise ValueError(
                f"batch_size: expected batches of at least 2 rows for {norms[0]}, which takes their variance, got 1: "
                "give more rows, take a LayerNorm(), or freeze its running statistics with momentum=0"
            )

    def _check_statistics(self) -> None:
        if self.stale:
            raise ValueError(
                "BatchNorm: expected running statistics of the averaged parameters, got those of the others: "
                "take averaged(net, x) with the rows of the training, or call net.update_statistics(x) first"
            )

    def scores(self, outputs: Array, y: Array, loss: Any) -> tuple[Array, float]:
        """Outputs under a loss, as probabilities where it knows them; and above what one column says yes."""
        loss = self._loss(loss)
        threshold = loss.meaning(y, self.n_out).threshold
        return loss.metric_outputs(outputs), 0.5 if threshold is None else threshold

    def measure(
        self, outputs: Array, y: Array, loss: Any, measured: Mapping[str, Callable[..., float]], meaning: Any
    ) -> dict[str, float]:
        """The metrics of outputs beside targets, of which the loss knows the meaning."""
        meaning = loss.meaning(y, self.n_out) if meaning is None else meaning
        return _metrics.measure(measured, loss.metric_outputs(outputs), y, meaning)

    def score(
        self,
        data: Data,
        loss: Any,
        measured: Mapping[str, Callable[..., float]],
        meaning: Any = None,
        threads: int | None = None,
    ) -> dict[str, float]:
        """`evaluate`, on data that have passed the gate."""
        fused = self._fuses(loss)
        y_hat = np.empty((len(data), self.n_out), self.dtype)
        for rows, x in training.pieces(data.x):
            self._run(x, y_hat[rows], threads, logits=fused, first_row=rows.start)
        value, _ = self.call(loss, y_hat, data, fused)
        if fused and measured:
            self.layers[-1].activation.apply(y_hat)
        return {"loss": value} | (self.measure(y_hat, data.y, loss, measured, meaning) if measured else {})

    def backpropagate(self, data: Data, loss: Any, seed: int, outputs: Array | None = None) -> float:
        """Rows there and back where the core does not do all of it: the loss, with `penalty`; fills the gradients.

        Where the loss is not finite, it leaves them alone. What the network answers is written into outputs.
        """
        fused = self._fuses(loss)
        parts = self.beneath if fused else self.engine
        y_hat = np.empty((len(data), self.n_out), self.dtype)
        parts.forward(data.x, y_hat, seed, self.steps)
        if outputs is not None:
            outputs[...] = y_hat
            if fused:
                self.layers[-1].activation.apply(outputs)
        if not _core.all_finite(y_hat.reshape(-1)):
            return math.nan
        if loss.compiled and not fused:
            loss.check_outputs(y_hat)
        value, dy = self.call(loss, y_hat, data, fused)
        times = 1 / (data.weight or math.inf) if loss.shares_penalties and loss.reduction == "mean" else 1.0
        value += times * self.penalty()
        if math.isfinite(value):
            parts.backward(_validate.matrix(dy, "dy", self.n_out, self.dtype), None, times)
        return value

    def call(self, loss: Any, y_hat: Array, data: Data, logits: bool = False) -> tuple[float, Any]:
        """The loss and its gradient; of one that is called, the numbers in that are not looked at yet."""
        if loss.compiled:
            target = None if data.target is None else np.asarray(data.target)
            value, dy = loss.on(y_hat, target, data.labels, data.weights, logits=logits)
            return float(np.sum(value)), dy
        if not data.weight:  # a batch may count for nothing
            return 0.0, np.zeros_like(y_hat)
        found = loss(y_hat, data.y) if data.weights is None else loss(y_hat, data.y, data.weights)
        value = np.asarray(found[0] if isinstance(found, (tuple, list)) and len(found) == 2 else None)
        shape = (len(y_hat),) if loss.reduction == "none" else ()
        if value.shape != shape or value.dtype.kind not in "fiu":
            raise TypeError(f"loss: expected {loss!r} to return (value, dy), got {_validate.shown(found)}")
        dy = _validate.array(found[1], "dy")
        if dy.shape[1:] != (self.n_out,):
            cure = f": y is {data.y.shape} beside y_hat {y_hat.shape}" if data.y.shape != y_hat.shape else ""
            raise ValueError(
                f"dy: expected an array of shape (batch, {self.n_out}), as y_hat has, got {dy.shape}{cure}"
            )
        if len(dy) != len(y_hat):
            raise ValueError(f"dy: expected the {len(y_hat)} rows of y_hat, got {len(dy)}")
        return float(value.sum()), dy

    # The gate.

    def _names_of(self, x: Any) -> tuple[str, ...] | None:
        """The names of a table's columns: those known, in their order, where they are the same; None for no table."""
        given, known = _frames.names(x), self.feature_names
        return known if given and known and sorted(given) == sorted(known) else given

    def _in_order(self, x: Any, names: tuple[str, ...] | None = None) -> Any:
        """The columns of a table in the order of these names, or of those known."""
        names = names or self._feature_names
        return x if names is None or type(x) is np.ndarray else _frames.ordered(x, names, "x")

    def _inputs(self, x: Any, first_row: int = 0, later: bool = False, names: tuple[str, ...] | None = None) -> Array:
        x = self._in_order(x, names)
        owner = f"{type(self.layers[0]).__name__} 1 of {len(self.layers)}"
        rows = _validate.matrix(x, "x", self.n_in, self.dtype, owner, first_row, later)
        if isinstance(self.layers[0], (layers.Columns, layers.Embedding)):
            for first, count, table in self.layers[0].tables():
                if table is not None:
                    for column in range(first, first + count):
                        _validate.names(rows[:, column], table.values, f"x, column {column}", first_row)
        return rows

    def _out(self, out: Any, rows: int, x: Array) -> Array:
        if out is None:
            return np.empty((rows, self.n_out), self.dtype)
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise TypeError(f"out: expected a NumPy array, got {type(out).__name__}")
        if out.shape != (rows, self.n_out) or out.dtype != self.dtype:
            raise ValueError(f"out: expected {self.dtype} ({rows}, {self.n_out}), got {out.dtype} {out.shape}")
        if not out.flags.carray:
            raise ValueError("out: expected a contiguous, aligned, writable array, got one that is not")
        if np.may_share_memory(out, x):
            raise ValueError("out: expected an array apart from x, got one that overlaps it")
        if not out.flags.owndata and any(np.may_share_memory(out, v) for v in (self.parameters, self.gradients)):
            raise ValueError("out: expected an array apart from the network's parameters, got one that overlaps them")
        return out

    def _run(self, x: Array, out: Array, threads: int | None, *, logits: bool = False, first_row: int = 0) -> Array:
        self._check_statistics()
        with _threads.take(_threads.checked(threads), self.engine.work * len(x), _threads.WORTH_STARTING) as count:
            finite = self.engine.predict(x, out, logits, count)
        if not finite:
            self._inputs(x, first_row)  # says what is not, and where
        return out

    def _loss(self, loss: Any) -> Any:
        """The loss a name stands for, refused where what it takes is not what the network gives."""
        loss = losses.get(loss)
        self._fuses(loss)
        return loss

    def _fuses(self, loss: Any) -> bool:
        """Whether the loss takes what lies beneath the last activation; in a layer of one's own nothing is beneath."""
        last = self.layers[-1]
        return loss.compiled and loss.fuses(last.activation.name, self.n_out) and last.compiled

    def _data(
        self, x: Any, y: Any, loss: Any, sample_weight: Any, *, lazily: bool = False,
        names: tuple[str, ...] | None = None, part: bool = False,
    ) -> Data:  # fmt: skip
        """Rows that pass the gate; lazily, those of which many have to be converted stay what they are for now.

        A part of the rows may count for nothing.
        """
        if y is None:
            raise TypeError("y: expected the targets of x, got None: give both, x and y, or, to fit, batches (x, y)")
        try:
            rows = self._lazy_inputs(x, names) if lazily else self._inputs(x, names=names)
        except ValueError as error:
            if _shape(x)[1:] != (self.n_in,) and _shape(y)[1:] == (self.n_in,):
                raise ValueError(f"{error}: are x and y swapped?") from None
            raise
        x, y = rows, _validate.array(y, "y")
        _validate.some_rows(x)
        target, labels = self._targets(y, loss, lazily)
        y = loss.metric_targets(y)
        _validate.same_rows(len(x), y=y)
        weights = None if sample_weight is None else _validate.weights(sample_weight, len(x), part=part)
        return Data(x, target, labels, weights, y)

    def _lazy_inputs(self, x: Any, names: tuple[str, ...] | None) -> Array | Lazy:
        x = _validate.array(self._in_order(x, names), "x")
        rows = training.lazy(x, self._inputs, self.dtype) if x.shape[1:] == (self.n_in,) else None
        return self._inputs(x) if rows is None else rows

    def _targets(self, y: Array, loss: Any, lazily: bool) -> tuple[Array | Lazy | None, Array | None]:
        if not loss.compiled:
            return None, None

        def convert(rows: Array, first: int) -> Array:
            with _validate.within(f"in {len(rows)} rows from row {first} on"):
                target: Array = loss.targets(rows, self.n_out, self.dtype)[0]
            return target

        rows = training.lazy(y, convert, self.dtype) if lazily and y.ndim == 2 and y.shape[1] > 1 else None
        return loss.targets(y, self.n_out, self.dtype) if rows is None else (rows, None)

    def _batches(
        self, given: Any, loss: Any, measured: Any, weights: Any, class_weight: Any, share: float, epochs: int,
        names: tuple[str, ...] | None,
    ) -> Batches:  # fmt: skip
        """Batches that come one by one; what goes with whole arrays only is refused."""
        if not hasattr(given, "__iter__"):
            raise TypeError(f"x: expected rows and y, or batches (x, y), got {_validate.shown(given)} without y")
        if epochs > 1 and iter(given) is given:
            cure = "give a list, or an object that begins again each time"
            raise ValueError(f"epochs: expected 1 with batches that come only once, got {epochs}: {cure}")
        if weights is not None:
            raise ValueError("sample_weight: expected none with batches, got some: give batches (x, y, sample_weight)")
        if share:
            raise ValueError(f"validation_split: expected 0 with batches, got {share}: hold out validation_data")
        if isinstance(class_weight, str):
            raise ValueError(f"class_weight: expected numbers with batches, got {class_weight!r}: count the classes")

        def gate(batch: Any) -> Data:
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3) or np.isscalar(batch[0]):
                got = _validate.shown(batch)
                raise TypeError(f"expected (x, y) or (x, y, sample_weight), got {got}: was y forgotten?")
            nonlocal names
            names = names or self._names_of(batch[0])
            weights = batch[2] if len(batch) == 3 else None
            data = self._data(batch[0], batch[1], loss, weights, names=names, part=True)
            self.feature_names = names or self.feature_names
            if measured:
                _metrics.check(measured, data.y, self.n_out, loss.meaning(data.y, self.n_out))
            return _weighted_by_class(data, class_weight, loss, self.n_out, part=True)

        return Batches(given, gate)

    def _validation(self, given: Any, loss: Any, names: tuple[str, ...] | None) -> Data:
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise TypeError(f"validation_data: expected (x, y) or (x, y, sample_weight), got {_validate.shown(given)}")
        with _validate.within("validation_data"):
            weights = given[2] if len(given) == 3 else None
            return self._data(given[0], given[1], loss, weights, lazily=True, names=names)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        if not self._training.acquire(blocking=False):
            raise BusyError("this network is being trained: wait for that fit to end, or train a copy")
        try:
            yield
        finally:
            self._training.release()


# Construction.


def _checked(given: Any) -> tuple[Layer, ...]:
    checked = layers.chain(given)
    if not checked:
        raise ValueError("layers: expected at least one layer, got none")
    for i, layer in enumerate(checked):
        if not layer.compiled and type(layer).forward is Layer.forward:
            raise TypeError(
                f"layers: expected layers, got {layer!r} in place {i + 1}, which has no forward and backward"
            )
    return checked


def _connect(chain: tuple[Layer, ...]) -> tuple[int, int]:
    """Let layers learn their sizes; how many numbers go in and out."""
    n = layers.chain_takes(chain)
    if n is None:
        got = _validate.shown(list(chain))
        raise ValueError(f"layers: expected at least one layer with sizes, such as Dense, got only {got}")
    return n, layers.connect_chain(chain, n)


def _dtype(dtype: Any) -> np.dtype[Any]:
    """The type meant; NumPy's own reading of words would take "<f4", and count what "(2,)f4" says."""
    for kind in np.dtype("float32"), np.dtype("float64"):
        words = isinstance(dtype, str) and dtype == kind.name
        if words or (isinstance(dtype, np.dtype) and dtype == kind) or dtype is kind.type:
            return kind
    if dtype is float:
        return np.dtype("float64")
    raise ValueError(f'dtype: expected "float32" or "float64", got {_validate.shown(dtype)}')


# What a fit is asked for.


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return np.shape(value)
    except (TypeError, ValueError, RuntimeError):
        return ()


def _is_rows(x: Any) -> bool:
    """Whether what came without y is rows that it was forgotten for, and not batches."""
    if isinstance(x, (list, tuple)) and x:
        first = x[0][0] if isinstance(x[0], (list, tuple)) and x[0] else x[0]
        return np.isscalar(first) or (first is x[0] and hasattr(first, "__array__"))
    return hasattr(x, "__array__") or _frames.columns(x) is not None


def _single(loss: Any) -> None:
    if loss.reduction == "none":
        raise ValueError('loss: expected a single number, got reduction="none": take "mean" or "sum"')


def _callbacks(given: Any, progress: Any) -> list[Any]:
    chosen = _validate.items(given, "callbacks")
    for callback in chosen:
        if isinstance(callback, type) or not any(callable(getattr(callback, hook, None)) for hook in callbacks.HOOKS):
            got = _validate.shown(callback)
            raise TypeError(f"callbacks: expected objects with any of {', '.join(callbacks.HOOKS)}, got {got}")
    chosen.sort(key=lambda callback: isinstance(callback, callbacks.Checkpoint))  # it keeps what the others remember
    return chosen + [callbacks.Progress()] * _validate.flag(progress, "progress")


def _held_out(data: Data, share: float) -> tuple[Data, Data | None]:
    n = round(share * len(data))
    if share == 0:
        return data, None
    if not 0 < n < len(data):
        raise ValueError(f"validation_split: expected a share with rows on both sides, got {share} of {len(data)} rows")
    parts = data.rows(slice(None, -n)), data.rows(slice(-n, None))
    for part in parts if data.weights is not None else ():
        _validate.weights(part.weights, len(part), "sample_weight, split for validation")
    return parts


def _weighted_by_class(data: Data, given: Any, loss: Any, n_out: int, *, part: bool = False) -> Data:
    """The same rows, each counting for as much more as its class does."""
    if given is None:
        return data
    n_targets = loss.meaning(data.y, n_out).targets or n_out
    with np.errstate(over="ignore"):
        weights = losses.class_weights(data.y, given, n_targets) * (1.0 if data.weights is None else data.weights)
    return replace(data, weights=_validate.weights(weights, len(data), "class_weight", part=part))


# Files.


def load(file: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> Sequential:
    """Read a network that `Sequential.save` or `Sequential.to_bytes` wrote.

    Parameters
    ----------
    file : str, path-like, bytes-like or binary file
        A path; the bytes themselves; or a file that is open for reading bytes, such as an `io.BytesIO` or a pipe, which
        holds the model from where it stands to its end.

    Returns
    -------
    Sequential
        The same network to the last bit; training goes on as it would have.

    Raises
    ------
    FormatError
        If the file is damaged, or not one of ours, or of a later version.
    TypeError
        If it is none of these, or an open file of text.
    """
    return _build(file)[0]


def resume(
    path: str | os.PathLike[str],
    x: Any,
    y: Any = None,
    *,
    loss: Any,
    optimizer: Optimizer | None = None,
    epochs: int | None = None,
    **how: Any,
) -> tuple[Sequential, History]:
    """Go on with a fit from a checkpoint, to the bits and the history that it would have come to.

    Parameters
    ----------
    path : str or path-like
        A file that `Checkpoint` wrote.
    x, y, loss
        As the fit was given them.
    optimizer : Optimizer, optional
        Default: as in the file. Needed where the learning rate is a function of one's own, which no file holds.
    epochs : int, optional
        How many the whole fit shall have, those done included. Default: as many as it was given.
    **how
        What else `Sequential.fit` was given. The callbacks that remember something must be there again, in their order.

    Returns
    -------
    net : Sequential
    history : History
        Of the whole fit.

    Raises
    ------
    FormatError
        If the file is damaged, or not one of ours.
    ValueError
        If the file is of a network alone, or the fit was given something else.

    Examples
    --------
    >>> _ = net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=100, callbacks=[bp.Checkpoint("run.safetensors")])
    >>> net, history = bp.resume("run.safetensors", x, y, loss="mse", callbacks=[bp.Checkpoint("run.safetensors")])
    """
    net, checkpoint = _checkpoint(path)
    if optimizer is None:
        optimizer = optimizers.from_config(checkpoint.optimizer, schedules.from_config)
    epochs = checkpoint.epochs if epochs is None else epochs
    return net, net.fit(x, y, loss=loss, optimizer=optimizer, epochs=epochs, resume=path, **how)


def _checkpoint(path: str | os.PathLike[str]) -> tuple[Sequential, checkpoints.Checkpoint]:
    net, checkpoint = _build(os.fsdecode(path))
    if checkpoint is None:
        raise ValueError(f"resume: expected a file that Checkpoint wrote, got a model alone, {os.fspath(path)!r}")
    return net, checkpoint


def _from_bytes(data: bytes) -> Sequential:
    if not isinstance(data, (bytes, bytearray)):
        raise FormatError(f"pickle: expected bytes, got {_validate.shown(data)}")
    return _build(data, "pickle")[0]


def _build(source: files.Readable, name: str | None = None) -> tuple[Sequential, checkpoints.Checkpoint | None]:
    """The network that a file describes, and its training; every word of it is checked against a closed list.

    What the architecture asks for is compared with what there is before memory is taken for it.
    """
    name = files.name_of(source) if name is None else name
    arrays, metadata = files.read(source, name)
    with files.named(name):
        _ours(metadata)
        with _sensible("an architecture"):
            if metadata["architecture"].count("[") > MOST_LISTS:
                raise ValueError(f"more than {MOST_LISTS} layers and branches")
            net = _declared(files.decode(metadata["architecture"], "architecture"))
            net.metadata = files.decode(metadata["metadata"], "metadata")
        wanted = net.shapes()
        more = {name: arrays.pop(name) for name in [*arrays] if name not in wanted and "training" in metadata}
        try:
            _compare(wanted, arrays, net.dtype)
        except ValueError as error:
            raise FormatError(str(error)) from error
        with _sensible("an architecture"):
            net._allocate(arrays)
        checkpoint = None
        if "training" in metadata:
            with _sensible("a checkpoint"):
                checkpoint = checkpoints.unpack(more, files.decode(metadata["training"], "training"))
                _check_training(net, checkpoint)
    return net, checkpoint


@contextmanager
def _sensible(what: str) -> Iterator[None]:
    """What was refused inside is refused as part of a file."""
    try:
        yield
    except FormatError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else error
        raise FormatError(f"expected {what}, got one that does not make sense: {said}") from error


def _ours(metadata: Mapping[str, str]) -> None:
    """Refuse the files of other programs, and of later versions."""
    if metadata.get("format") != "backprop":
        raise FormatError("expected a model of backprop, got a safetensors file of something else")
    if metadata.get("format_version") != FORMAT_VERSION:
        got = _validate.shown(metadata.get("format_version"))
        raise FormatError(
            f"expected format version {FORMAT_VERSION}, got {got}: a later version of backprop may read it"
        )
    known = {"format", "format_version", "backprop_version", "architecture", "metadata", "training"}
    if metadata.keys() - known:
        raise FormatError(f"unknown metadata {_validate.shown(sorted(metadata.keys() - known))}")


def _declared(architecture: Any) -> Sequential:
    """The network of an architecture, without memory."""
    if not isinstance(architecture, dict):
        raise TypeError(f"expected a dict, got {_validate.shown(architecture)}")
    given = {name: architecture.pop(name) for name in ("layers", "dtype", *_COUNTERS)}
    columns = architecture.pop("feature_names", None)
    if architecture:
        raise ValueError(f"unknown entries {_validate.shown(sorted(architecture))}")
    if given["dtype"] not in ("float32", "float64"):
        raise ValueError(f'dtype: expected "float32" or "float64", got {_validate.shown(given["dtype"])}')
    net = Sequential.__new__(Sequential)
    net._declare([layers.from_description(*layer) for layer in given["layers"]], given["dtype"])
    for name in _COUNTERS:
        setattr(net, name, given[name])
    _check_room(net)
    net.feature_names = columns
    return net


def _check_room(net: Sequential) -> None:
    """Refuse counters that training could not go on from."""
    for name in "epochs", "steps":
        _validate.integer(getattr(net, name), name, 0, 2**61)


def _compare(wanted: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Array], dtype: np.dtype[Any]) -> None:
    """Refuse arrays that are not, name by name, what the layers ask for."""
    for name, shape in wanted.items():
        if name not in arrays:
            raise ValueError(f"expected the tensor {name}, {dtype} {shape}, got none of this name")
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name}: expected {dtype} {shape}, got {array.dtype} {_validate.shown(array.shape)}")
        _check_array(name, array)
    if len(arrays) > len(wanted):
        got = next(name for name in arrays if name not in wanted)
        raise ValueError(f"expected the tensors of the layers, got {_validate.shown(got)}, which none of them has")


def _check_array(name: str, array: Array) -> None:
    """Refuse numbers that no network can have."""
    if not _core.all_finite(array.reshape(-1)):
        raise ValueError(f"{name}: expected finite numbers")
    if name.endswith(".running_variance") and array.min(initial=0) < 0:
        raise ValueError(f"{name}: expected variances, got {array.min()}")


def _check_training(net: Sequential, checkpoint: checkpoints.Checkpoint) -> None:
    """Refuse what no run of this network could have left behind."""
    if checkpoint.optimizer["name"] in optimizers.KINDS and checkpoint.optimizer["learning_rate"] is not None:
        optimizer = optimizers.from_config(checkpoint.optimizer, schedules.from_config)
        checkpoint.check_state(optimizer, net.parameters)
    weights = partial(_compare, net.shapes(), dtype=net.dtype)
    for kind, state in zip(checkpoint.asked["callbacks"], checkpoint.callbacks, strict=True):
        callbacks.check_state(kind, state, checkpoint.epoch, weights)
