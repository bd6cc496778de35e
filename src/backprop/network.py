"""`Sequential`: the network, as its users see it."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, overload

import numpy as np
import numpy.typing as npt

from . import _core, _threads, _validate, _words, layers, optimizers, schedules
from . import io as files
from . import metrics as _metrics
from .errors import DivergedError, FormatError
from .layers import Layer
from .optimizers import Optimizer
from .program import data as gate
from .program import engine, graph, moments
from .program.graph import Graph
from .program.objective import Objective
from .program.storage import Storage

if TYPE_CHECKING:
    from .derivatives.streams import Streams
    from .tracing import Trace
    from .training import History, Run

__all__ = ["Sequential", "load", "resume"]

Array = _validate.Array
Names = tuple[str, ...]


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
        Features of a row of the input, and of the output.
    dtype : numpy.dtype
        Of the parameters and of the arithmetic.
    seed, epochs, steps : int
        What the order of the rows and the dropout masks depend on: the seed, and how much has been trained.
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

    Notes
    -----
    ``net[0]`` is its first layer, ``len(net)`` how many there are, and a loop goes through them. A slice, ``net[:2]``,
    is a network of these layers on the same memory: what is trained or written there changes the whole. Saved, copied
    or pickled it is a network of its own. An optimizer belongs to one network, so keep the slice that is trained:
    ``features = net[:2]``.

    Examples
    --------
    >>> import backprop as bp
    >>> net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")], rng=0)
    >>> net.predict([[0.0, 1.0]]).shape
    (1, 1)
    >>> net[:1].predict([[0.0, 1.0]]).shape
    (1, 2)
    """

    metadata: dict[str, Any]
    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        "metadata": lambda value, name: files.model.checked_metadata(value, name),
        "seed": partial(_validate.integer, least=0, most=2**64 - 1),
        "epochs": partial(_validate.integer, least=0, most=2**62),
        "steps": partial(_validate.integer, least=0, most=2**62),
    }  # fmt: skip

    @_words.helpful("Sequential")
    def __init__(self, layers: Sequence[Layer], *, rng: Any = None, dtype: npt.DTypeLike = "float32") -> None:
        self._declare(checked := _checked(layers), _connect(checked), dtype)
        generator = _validate.generator(rng)
        self._allocate()
        for leaf in self.leaves.values():
            leaf.initialize(generator)
        self.seed = int(generator.integers(2**63))

    def _declare(self, layers: tuple[Layer, ...], sizes: Any, dtype: npt.DTypeLike) -> None:
        """Everything but memory: nothing here is larger than what describes the layers."""
        self.layers = layers
        self.dtype = _dtype(dtype)
        vars(self)["metadata"] = {}  # it needs no gate
        self.n_in, self.n_out = sizes
        self.leaves = {
            ".".join(map(str, (i, *path))): leaf for i, layer in enumerate(self.layers) for path, leaf in layer.leaves()
        }
        self.epochs = self.steps = 0
        owner = f"{type(self.layers[0]).__name__} 1 of {len(self.layers)}"
        self._inputs = gate.Inputs(self.n_in, self.dtype, owner)
        self._training = _threads.Turn()
        self._rows_seen: list[Array] | None = None
        self._streams: Streams | None = None

    def _allocate(self, arrays: dict[str, Array] | None = None) -> None:
        """The flat vectors, empty or with what these arrays hold, which are given up; and what runs on them."""
        self._build(Storage(self.leaves, self.dtype, arrays))

    def _build(self, storage: Storage) -> None:
        """What runs on the flat vectors."""
        self._storage, whole = storage, self.graph
        self._end, self._inputs.tables = whole[-1], whole.tables
        self._engine = engine.build(whole, self._storage)
        self._plan: _core.Plan | None = self._engine if isinstance(self._engine, _core.Plan) else None

    def __setattr__(self, name: str, value: Any) -> None:
        gate = self._gates.get(name)
        super().__setattr__(name, value if gate is None else gate(value, name))

    @property
    def graph(self) -> graph.Graph:
        """The network as a list of named operations, with their parameters as views.

        Returns
        -------
        Graph
            As it is now: made anew each time.

        Examples
        --------
        >>> net = bp.Sequential([bp.Dense(2, 3, "tanh"), bp.Dense(3, 1)], rng=0)
        >>> print(net.graph)
        input             -> (batch, 2)
        0     dense input -> (batch, 3) tanh, weight (2, 3), bias (3,)
        1     dense 0     -> (batch, 1) weight (3, 1), bias (1,)
        """
        return graph.of_layers(self.layers, self.n_in, self.dtype)

    # Its layers.

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, which: int) -> Layer: ...

    @overload
    def __getitem__(self, which: slice) -> Sequential: ...

    def __getitem__(self, which: Any) -> Layer | Sequential:
        if not isinstance(which, slice):
            return self.layers[_place(which, len(self))]
        begin, end, step = which.indices(len(self))
        if step != 1 or end <= begin:
            place = f"{which.start}:{which.stop}:{which.step}".removesuffix(":None").replace("None", "")
            raise ValueError(f"net[{place}]: expected layers that follow one another, at least one of {len(self)}")
        return self._slice(begin, end)

    def _slice(self, begin: int, end: int) -> Sequential:
        """A network of some of the layers, on the same memory."""
        before, chosen = self.layers[:begin], self.layers[begin:end]
        net, sizes = Sequential.__new__(Sequential), (chosen[0].n_in, chosen[-1].n_out)
        net._declare(chosen, sizes, self.dtype)
        net.seed, net._training, net._stale = self.seed, self._training, self._stale
        net._build(self._storage.part(_leaves(before), net.leaves.values()))
        net.feature_names = None if begin else self.feature_names
        return net

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
    def feature_names(self) -> Names | None:
        """What the columns of the input are called, if they have names."""
        return self._inputs.names

    @feature_names.setter
    def feature_names(self, value: Any) -> None:
        names = None if value is None else tuple(_validate.items(value, "feature_names"))
        if names is not None and not (len(names) == self.n_in and all(isinstance(name, str) for name in names)):
            got = _validate.shown(value)
            raise ValueError(f"feature_names: expected {self.n_in} strings, one for each column, or None, got {got}")
        if names is not None:
            files.strict_json.check_json([*map(str, names)], "feature_names")
        self._inputs.names = None if names is None else tuple(map(str, names))

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
        return self._engine.penalty()

    # Prediction.

    def _predict(self, x: Any, batch_size: int | None, threads: int | None, out: Array | None) -> Array:
        x = self._inputs.in_order(x)
        if batch_size is None:
            x = self._inputs.rows(x, later=True)
            return self._run(x, self._out(out, len(x), x), threads)
        step, x = _validate.integer(batch_size, "batch_size"), _validate.array(x, "x")
        if x.shape[1:] != (self.n_in,) or len(x) <= step:
            return self._predict(x, None, threads, out)
        out = self._out(out, len(x), x)
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            self._run(self._inputs.rows(x[rows], start, later=True), out[rows], threads, first_row=start)
        return out

    __call__ = _core.Predictor.predict

    def activations(self, x: Any, *, threads: int | None = None) -> list[Array]:
        """What each operation of the network gives: the inputs of the next.

        Parameters
        ----------
        x, threads
            As `predict` takes them.

        Returns
        -------
        list of numpy.ndarray, each of shape (batch, n_out of the operation)
            One for each operation of `graph`, in its order, in evaluation mode; the last is what `predict` returns, to
            the last bit.

        Examples
        --------
        >>> net = bp.Sequential([bp.Dense(2, 3, "tanh"), bp.Dense(3, 1)], rng=0)
        >>> hidden, outputs = net.activations([[0.0, 1.0]])
        >>> hidden.shape, outputs.shape
        ((1, 3), (1, 1))
        """
        self._check_statistics()
        x, whole = self._inputs.rows(x), self.graph
        with _threads.take(_threads.checked(threads), _threads.worth_starting(self._engine.work * len(x))) as count:
            return engine.outputs(whole, self._storage, x, count)

    def _before_activation(self, name: str, x: Array) -> Array:
        """What the activation of an operation is applied to, for rows that are finite, in evaluation mode."""
        until = self.graph.until(name)
        out = np.empty((len(x), until.n_out), self.dtype)
        engine.build(until, self._storage).predict(x, out, logits=True)
        return out

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
        from . import training

        measured, objective = _metrics.get(metrics), self._objective(loss).single()
        data = gate.rows(self._inputs, objective, x, y, sample_weight, lazily=True)
        data = gate.weighted_by_class(data, class_weight, objective)
        meaning = objective.meaning(data.y) if measured else None
        return training.evaluate(self, data, objective, measured, meaning, threads)

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
        _validate.some_rows(rows := self._inputs.lazy_rows(x))
        with self._restored_if_refused():
            for statistics, before in engine.norms(self.graph, self._storage):
                statistics[...] = moments.of(rows, before, statistics.shape[1], step, _threads.checked(threads))
        self._stale = False

    @contextmanager
    def _restored_if_refused(self) -> Iterator[None]:
        """What fails inside leaves the buffers as they were."""
        kept = self.buffers.copy()
        try:
            yield
        except BaseException:
            self.buffers[...] = kept
            raise

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
        comm: Any = None,
        shards: int | None = None,
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
            Show how far it is: a bar in a terminal or a notebook where tqdm is installed, else lines. The same lines
            go to the logger "backprop" of ``logging`` where that is enabled for INFO, with or without it.
        rng : int, numpy.random.Generator or None, default None
            Of the order of the rows and the dropped numbers. None: the network's own.
        threads : int or None, default None
            How many threads share the work; the result is the same. None: as many as pay.
        resume : str or path-like, optional
            A file that `Checkpoint` wrote in a fit with these arguments, of a network built as this one: the fit goes
            on from there, to the bits and the history that it would have come to. `backprop.resume` builds the network
            too.
        comm : mpi4py.MPI.Comm, optional
            Train over its processes, such as ``MPI.COMM_WORLD``, each of which calls this with the same network and
            arguments and with rows of its own, or none; all rows are those of rank 0, then those of rank 1, and so on.
            All networks come out the same. Rank 0 alone calls callbacks, shows progress and writes files.
        shards : int, optional
            Into how many parts rows and batches are cut, whose gradients are added in one fixed tree: at least one for
            each process. The result depends on this number, to the last bit, and not on how many processes there are;
            without a comm, one process comes to the same. Default: as many as processes.

        Returns
        -------
        History

        Raises
        ------
        DivergedError
            If the loss, or a weight, stops being finite. The last finite weights are kept.
        BusyError
            If the network is being trained already.
        RankError
            If another process of the comm has failed, with what it says has happened.
        KeyboardInterrupt
            On Ctrl-C, after the batch under way; the network keeps its weights.
        """
        from . import training  # what only trains is imported when it is asked for
        from .callbacks import chosen

        with self._training.taken():
            asked = {
                "loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch_size,
                "validation_data": validation_data, "validation_split": validation_split,
                "sample_weight": sample_weight, "class_weight": class_weight, "shuffle": shuffle, "metrics": metrics,
                "rng": rng, "threads": threads, "resume": resume,
            }  # fmt: skip
            if comm is not None or shards is not None:
                from .training import sharded

                return sharded.fit(
                    self, x, y, comm=comm, shards=shards, callbacks=callbacks, progress=progress, **asked
                )
            return training.fit(training.begin(self, x, y, callbacks=chosen(callbacks, progress), **asked))

    def forward(self, x: Any, *, training: bool = True, logits: bool = False) -> Array:
        """The outputs for a mini-batch, keeping what `backward` needs.

        Parameters
        ----------
        x : array_like, shape (batch, n_in)
        training : bool, default True
            Dropout drops, and each `BatchNorm` takes the statistics of the batch, which the running ones follow. False:
            evaluation mode, as in `predict`, and `backward` gives the derivatives of that.
        logits : bool, default False
            Leave out the activation that the network ends in.

        Returns
        -------
        numpy.ndarray, shape (batch, n_out)
            A new array.
        """
        x = self._inputs.rows(x)
        _validate.some_rows(x)
        training, logits = _validate.flag(training, "training"), _validate.flag(logits, "logits")
        if not training:
            self._check_statistics()
        outputs = np.empty((len(x), self.n_out), self.dtype)
        self._engine.forward(x, outputs, self.seed, self.steps, training, logits)
        self.steps += training
        return outputs

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
        self._engine.backward(dy, dx)
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
        objective = self._objective(loss)
        data = gate.rows(self._inputs, objective, x, y, sample_weight)
        return self._value_and_gradient(data, objective, self.seed, _threads.checked(threads))

    def _value_and_gradient(
        self, data: gate.Data, objective: Objective, seed: int, threads: int | None = None
    ) -> tuple[float, Array]:
        """`value_and_gradient`, on data that have passed the gate."""
        from .program.job import gradients

        if self._rows_seen is not None:
            self._rows_seen.append(data.x)
        kept = self.buffers.copy()
        try:
            value = gradients(
                self._engine, data, objective, np.zeros((1, 2)), seed=seed, step=self.steps, threads=threads
            )
        finally:
            self.buffers[...] = kept
        gradient = self.gradients
        return value, _validate.copied(gradient) if math.isfinite(value) else np.full_like(gradient, np.nan)

    def trace(
        self,
        x: Any,
        y: Any,
        loss: Any,
        *,
        optimizer: Optimizer | str | None = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Trace:
        """Every number of one training step on a few rows, with its formula: forward, loss, backward, update.

        Network and optimizer stay as they are.

        Parameters
        ----------
        x, y, loss, sample_weight
            As `fit` takes them; at most 64 rows, as one mini-batch.
        optimizer : Optimizer or str, optional
            Whose next step is shown. Default: no update.
        training : bool, default True
            As `forward` takes it. False: evaluation mode, the numbers of `predict`, without dropout and by the running
            statistics of each `BatchNorm`; and no optimizer.

        Returns
        -------
        Trace
            Printed, it is a worked example. Its numbers are those that `fit` would compute, to the last bit.

        Raises
        ------
        BusyError
            If another thread is training the network.

        Examples
        --------
        >>> net = bp.Sequential([bp.Dense(2, 1, "sigmoid")], rng=0)
        >>> trace = net.trace([[1.0, 2.0]], [1], "binary_cross_entropy", optimizer=bp.SGD(0.1))
        >>> trace["0"].z.shape
        (1, 1)
        """
        from .tracing import trace

        return trace(self, x, y, loss, optimizer=optimizer, sample_weight=sample_weight, training=training)

    # Derivatives.

    def jacobian(self, x: Any, *, dropout: bool = False, threads: int | None = None) -> Array:
        """The derivatives of each output with respect to each input, in evaluation mode.

        Parameters
        ----------
        x, threads
            As `predict` takes them.
        dropout : bool, default False
            Let each `Dropout` drop what it would in the next step of training, of these rows as its mini-batch.

        Returns
        -------
        numpy.ndarray, shape (batch, n_out, n_in)
            Found along the inputs or along the outputs, whichever are fewer, in one product a layer.

        Raises
        ------
        TypeError
            If a layer is custom.

        Examples
        --------
        >>> net = bp.Sequential([bp.Dense(2, 3, "tanh"), bp.Dense(3, 1)], rng=0)
        >>> net.jacobian([[0.0, 1.0]]).shape
        (1, 1, 2)
        """
        from .derivatives import rows

        return rows.jacobian(self, x, dropout, threads)

    def per_sample_gradients(
        self, x: Any, y: Any, loss: Any, *, norms_only: bool = False, dropout: bool = False,
        threads: int | None = None,
    ) -> Array:  # fmt: skip
        """The gradient of each row's own loss with respect to all parameters, in evaluation mode.

        Parameters
        ----------
        x, y, loss, threads
            As `fit` takes them. The penalties of the layers belong to no row, and are left out.
        norms_only : bool, default False
            Only the Euclidean norms of the gradients, which are found without storing them.
        dropout
            As `jacobian` takes it.

        Returns
        -------
        numpy.ndarray, shape (batch, n_parameters) or (batch,)

        References
        ----------
        Norms: Goodfellow, "Efficient per-example gradient computations", arXiv:1510.01799, 2015.
        """
        from .derivatives import rows

        data, objective = self._data_of(x, y, loss)
        norms_only = _validate.flag(norms_only, "norms_only")
        return rows.per_sample_gradients(self, data, objective, norms_only, dropout, threads)

    def hessian_vector_product(
        self, x: Any, y: Any, loss: Any, v: Any, *, sample_weight: Any = None, dropout: bool = False,
        threads: int | None = None,
    ) -> Array:  # fmt: skip
        """The second derivatives of the loss on some data, times a vector: H v, in evaluation mode.

        Parameters
        ----------
        x, y, loss, sample_weight, threads
            As `fit` takes them; a built-in loss. The penalties of the layers count.
        v : array_like, shape (n_parameters,)
        dropout
            As `jacobian` takes it.

        Returns
        -------
        numpy.ndarray, shape (n_parameters,)
            At about twice the cost of a gradient. Where an activation or a loss has a kink, the second derivative is
            that beside it.

        References
        ----------
        Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994.
        """
        from .derivatives import streams

        data, objective = self._data_of(x, y, loss, sample_weight)
        vector = self._vector(v, "v")
        return streams.Products(self, data, objective, dropout, threads).with_vector(vector).astype(self.dtype)

    def gauss_newton(
        self, x: Any, y: Any, loss: Any, *, sample_weight: Any = None, dropout: bool = False,
        threads: int | None = None,
    ) -> Array:  # fmt: skip
        """The Gauss-Newton matrix of the loss on some data: the sum of J^T H J, in evaluation mode.

        J are the derivatives of a row's outputs (its logits, where the loss is computed on those) with respect to the
        parameters, and H the second derivatives of its loss with respect to them. It is the Hessian without the second
        derivatives of the network; for a loss that is convex, it has no negative eigenvalue.

        Parameters
        ----------
        x, y, loss, sample_weight, threads
            As `fit` takes them; a built-in loss. The penalties of the layers are left out, which
            `hessian_vector_product` counts.
        dropout
            As `jacobian` takes it.

        Returns
        -------
        numpy.ndarray, shape (n_parameters, n_parameters)

        Raises
        ------
        ValueError
            If the loss is of straight pieces, as absolute errors, quantiles and hinges are: H is zero then. That of
            `Huber` is zero where an error is larger than delta.

        References
        ----------
        Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", Neural Computation 14,
        2002.
        """
        from .derivatives import rows

        data, objective = self._data_of(x, y, loss, sample_weight)
        return rows.gauss_newton(self, data, objective, threads, dropout).astype(self.dtype)

    def derivatives(
        self, x: Any, order: int = 1, directions: Any = None, *, allow_zero_curvature: bool = False,
        dropout: bool = False, threads: int | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The outputs and their derivatives with respect to the inputs, or along directions, in evaluation mode.

        Parameters
        ----------
        x, threads
            As `predict` takes them.
        order : {1, 2}, default 1
            1: outputs and first derivatives; 2: second ones too, along the same directions, none of them mixed.
        directions : array_like, shape (k, n_in), optional
            Along each of them; default: along each input.
        allow_zero_curvature : bool, default False
            Of order 2, activations of straight pieces, such as relu, have no second derivatives but at their kinks, so
            that a network cannot satisfy an equation in them. Such networks are refused, unless this is True.
        dropout
            As `jacobian` takes it.

        Returns
        -------
        value : numpy.ndarray, shape (batch, n_out)
            As `predict` gives it, or with dropout.
        first : numpy.ndarray, shape (batch, n_out, k)
        second : numpy.ndarray, shape (batch, n_out, k)
            Of order 2.

        Notes
        -----
        It keeps what `backward_derivatives` needs, for these rows and the present parameters.

        Examples
        --------
        >>> net = bp.Sequential([bp.Dense(2, 3, "tanh"), bp.Dense(3, 1)], rng=0)
        >>> u, du, d2u = net.derivatives([[0.0, 1.0]], order=2)
        >>> d2u.shape
        (1, 1, 2)
        """
        from .derivatives import streams

        self._streams = streams.Streams(self, x, order, directions, allow_zero_curvature, dropout, threads)
        return self._streams.results

    def backward_derivatives(
        self, d_value: Any = None, d_first: Any = None, d_second: Any = None, *, threads: int | None = None
    ) -> None:
        """Back-propagate from the last `derivatives`: overwrite ``gradients``, with those of `penalty` too.

        Parameters
        ----------
        d_value : array_like, shape (batch, n_out), optional
        d_first, d_second : array_like, shape (batch, n_out, k), optional
            The gradients of a loss with respect to what it returned; None: it does not depend on those.
        threads : int or None, default None
            As `predict` takes it.

        Raises
        ------
        ValueError
            If the parameters have changed since.
        """
        if self._streams is None:
            raise ValueError("backward_derivatives: expected a derivatives before it, got none")
        self._streams.backward((d_value, d_first, d_second), threads)

    def _data_of(self, x: Any, y: Any, loss: Any, sample_weight: Any = None) -> tuple[gate.Data, Objective]:
        """Rows and targets that have passed the gate, and the loss on this network."""
        objective = self._objective(loss)
        return gate.rows(self._inputs, objective, x, y, sample_weight), objective

    def _vector(self, value: Any, name: str) -> Array:
        """A number for each parameter."""
        n, given = self.parameters.size, _validate.array(value, name)
        if given.shape != (n,):
            raise ValueError(f"{name}: expected a number for each of {n} parameters, ({n},), got {given.shape}")
        return _validate.real(given, name, self.dtype)

    # Files.

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the network to a safetensors file, wholly or not at all.

        Parameters
        ----------
        file : str, path-like or binary file
            A path, where an existing file is replaced only once the new one is safe on the disk; or a file that is open
            for writing bytes, such as an `io.BytesIO`, which gets them where it stands.
        """
        files.atomic.write(file, self.to_bytes())

    def export_onnx(
        self, file: str | os.PathLike[str] | BinaryIO, *, opset: int | None = None, fold: bool = False
    ) -> None:  # fmt: skip
        """Write the network as an ONNX model, which ONNX runtimes predict with, wholly or not at all.

        Parameters
        ----------
        file : str, path-like or binary file
            As `save` takes it.
        opset : int or None, default None
            The version of the operators, from 13. None: 17, or 20 where there is a GELU in float32, which has had an
            operator since.
        fold : bool, default False
            Multiply batch norms into the weights beside them, as `Graph.for_inference` does: fewer operators, and
            outputs that are the same up to rounding.

        Notes
        -----
        Its input is "x" (batch, n_in) and its output "y" (batch, n_out), of the network's dtype, for any number of
        rows. Dropout is left out. Indices of embeddings are not checked there as they are here.

        Raises
        ------
        TypeError
            If there is a custom layer, which has no operators.

        Examples
        --------
        >>> net.export_onnx("model.onnx")
        """
        from . import onnx

        files.atomic.write(file, onnx.network(self._exported(fold), opset, {"feature_names": self.feature_names}))

    def _exported(self, fold: bool = False) -> Graph:
        """The graph that another program is to predict by."""
        self._check_statistics()
        _validate.real(self.parameters, "parameters", self.dtype)
        return self.graph.for_inference(fold_batch_norms=_validate.flag(fold, "fold"))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its `arrays`, by the same names."""
        return {
            f"{at}.{name}": shape for at, leaf in self.leaves.items()
            for name, shape in (*leaf.shapes().items(), *leaf.buffers().items())
        }  # fmt: skip

    def _tensors(self) -> dict[str, tuple[int, int]]:
        """Where in `parameters` each tensor lies, by its name in a model file: (begin, end)."""
        found, begin = {}, 0
        for at, leaf in self.leaves.items():
            for name, shape in leaf.shapes().items():
                found[f"{at}.{name}"] = begin, begin + math.prod(shape)
                begin += math.prod(shape)
        return found

    def arrays(self) -> dict[str, Array]:
        """Its arrays by their names in a model file: views, into which one may write."""
        return {
            f"{at}.{name}": getattr(leaf, name) for at, leaf in self.leaves.items()
            for name in (*leaf.shapes(), *leaf.buffers())
        }  # fmt: skip

    def to_torch_state_dict(self) -> dict[str, Array]:
        """Copies of its arrays that PyTorch's ``load_state_dict`` takes.

        Returns
        -------
        dict of str to numpy.ndarray
            By the keys of the ``nn.Sequential`` with one module for each layer and each activation:
            ``Dense(3, 4, "relu")`` is modules 0 and 1. A network that `backprop.from_torch` made has the keys of the
            module it came from. PyTorch's weights are (outputs, inputs).

        Raises
        ------
        TypeError
            If it has a layer that no ``nn.Sequential`` has, such as `Residual`.

        Examples
        --------
        >>> net = bp.Sequential([bp.Dense(3, 4, "relu"), bp.Dense(4, 1)], rng=0)
        >>> [*net.to_torch_state_dict()]  # of nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        ['0.weight', '0.bias', '2.weight', '2.bias']
        """
        from . import state_dict

        return state_dict.of(self.graph, self.metadata, self.steps)

    def export_c(
        self, path: str | os.PathLike[str], *, name: str | None = None, dtype: str = "float32", calibration: Any = None,
        fold: bool = False,
    ) -> None:  # fmt: skip
        """Write the network as a C file, and a header beside it.

        One C99 file that needs nothing else: without malloc, without stdio, without a variable that outlives a call; it
        compiles as C++ too. `NAME_predict` computes a row; ``-DNAME_TEST`` adds a ``main`` that checks stored rows and
        returns how many are wrong.

        Parameters
        ----------
        path : str or path-like
            Such as "model.c"; the header is "model.h".
        name : str, optional
            What the names in the file begin with. Default: the name of the file, without its end.
        dtype : {"float32", "float64", "int8"}, default "float32"
            Of the arithmetic; "int8" is that of `backprop.quantize`.
        calibration : array_like, shape (rows, n_in), optional
            For "int8": rows like those that it will see.
        fold : bool, default False
            Multiply batch norms into the weights beside them: faster, and rounded otherwise.

        Notes
        -----
        In the dtype of the network and without ``fold``, the outputs are those of `predict` of the build without wide
        registers (``BACKPROP_ISA=baseline`` on x86-64), to the last bit: on every processor whose compiler rounds each
        operation, as ``-std=c99`` or ``-ffp-contract=off`` says.

        Raises
        ------
        TypeError
            If there is a custom layer.

        Examples
        --------
        >>> net = bp.Sequential([bp.Dense(2, 3, "tanh"), bp.Dense(3, 1)], rng=0)
        >>> net.export_c("model.c")
        """
        from . import c

        self._check_statistics()
        c.export(path, self, name=name, dtype=dtype, calibration=calibration, fold=fold)

    def to_bytes(self, more: Mapping[str, Array] | None = None, training: str | None = None) -> bytes:
        """The bytes of a model file, which `load` reads; of a checkpoint, with more tensors and the training."""
        self._check_statistics()
        _validate.real(self.parameters, "parameters", self.dtype)
        return files.model.pack(self, more, training)

    def __reduce__(self) -> tuple[Callable[..., Sequential], tuple[bytes]]:
        return _from_bytes, (self.to_bytes(),)

    def copy(self) -> Sequential:
        """A network of its own that is the same to the last bit, and would go on training alike."""
        return _from_bytes(self.to_bytes())

    def _begun(
        self, run: Run, path: str | os.PathLike[str], names: Names | None
    ) -> tuple[Sequential, files.checkpoint.Checkpoint]:
        """The network and the run of a checkpoint, which must be of this network and this run."""
        other, kept = _checkpoint(path)
        if other != self:
            want, got = _validate.shown(other), _validate.shown(self)
            raise ValueError(f"resume: expected the network of the checkpoint, {want}, got {got}")
        if names and other.feature_names and names != other.feature_names:
            wanted, got = (_validate.shown(list(columns)) for columns in (other.feature_names, names))
            raise ValueError(f"resume: expected the columns of the checkpoint in their order, {wanted}, got {got}")
        kept.check(run)
        return other, kept

    def _take_over(self, run: Run, other: Sequential, kept: files.checkpoint.Checkpoint) -> None:
        """Become that network, and the run that run."""
        kept.restore(run)
        for mine, its in zip(self.arrays().values(), other.arrays().values(), strict=True):
            mine[...] = its
        self.seed, self.epochs, self.steps = other.seed, other.epochs, other.steps
        self.feature_names = other.feature_names or self.feature_names

    # Looking at it.

    def _rows(self) -> list[tuple[str, str, str]]:
        """The layers, their sizes and their parameters, under a header and above their sum."""
        rows = [("layer", "output", "parameters")]
        for layer in self.layers:
            n = sum(math.prod(shape) for _, leaf in layer.leaves() for shape in leaf.shapes().values())
            rows.append((repr(layer), f"(batch, {layer.n_out})", f"{n:,}"))
        rows.append((f"{self.dtype.name}, {self.parameters.nbytes:,} bytes", "", f"{self.parameters.size:,}"))
        return rows

    def summary(self) -> str:
        """The layers, their sizes and their parameters, as a table."""
        rows = self._rows()
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

    def _repr_html_(self) -> str:
        from . import _display

        return _display.network(self)

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], dtype={self.dtype.name!r})"

    @contextmanager
    def _with_parameters(self, parameters: Array, x: Any = None) -> Iterator[None]:
        """Take other parameters, and the statistics that belong to them, for a block; then all is as it was.

        Where statistics would be needed and no x is given, `predict` and what else uses them waits for
        `update_statistics`.
        """
        own, statistics, stale = self.parameters.copy(), self.buffers.copy(), self._stale
        try:
            self.parameters[...] = parameters
            self._stale = bool(self._norms())
            if x is not None:
                self.update_statistics(x)
            yield
        finally:
            self.parameters[...], self.buffers[...], self._stale = own, statistics, stale

    @contextmanager
    def _statistics_follow(self) -> Iterator[list[Array]]:
        """Let the running statistics follow after a block, which changes the parameters.

        Yields
        ------
        list of numpy.ndarray
            The rows that it sees are noted here; those that are there at the end count.
        """
        rows: list[Array] = []
        self._rows_seen = rows
        try:
            yield rows
        except DivergedError:  # before anything has changed
            rows.clear()
            raise
        finally:
            self._rows_seen = None
            if self._norms() and sum(len(some) for some in rows) > 1:
                self.update_statistics(rows[0] if len(rows) == 1 else np.concatenate(rows))

    def _following(self) -> dict[str, layers.BatchNorm]:
        """The batch norms whose statistics follow the batches."""
        return {at: it for at, it in self.leaves.items() if isinstance(it, layers.BatchNorm) and not it.frozen}

    def _norms(self) -> list[str]:
        """The same, as one would write them."""
        return [f"layers[{at.replace('.', '][')}], {leaf!r}" for at, leaf in self._following().items()]

    def _check_batch(self, rows: int) -> None:
        """Refuse batches of a single row, where a batch norm would have to learn its statistics from them."""
        norms = self._norms() if rows == 1 else []
        if norms:
            raise ValueError(
                f"batch_size: expected batches of at least 2 rows for {norms[0]}, which takes their variance, got 1: "
                "give more rows, take a LayerNorm(), or freeze its running statistics with momentum=0"
            )

    def _check_statistics(self) -> None:
        if self._stale:
            raise ValueError(
                "BatchNorm: expected running statistics of the averaged parameters, got those of the others: "
                "take averaged(net, x) with the rows of the training, or call net.update_statistics(x) first"
            )

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
        with _threads.take(_threads.checked(threads), _threads.worth_starting(self._engine.work * len(x))) as count:
            finite = self._engine.predict(x, out, logits, count)
        if not finite:
            self._inputs.rows(x, first_row)  # says what is not, and where
        return out

    def _objective(self, loss: Any) -> Objective:
        """A loss on this network; refused where what it takes is not what the network gives."""
        objective = Objective(loss, self._end)
        if objective.loss.differential:
            from .derivatives.equations import OnNetwork

            objective.derivatives = OnNetwork(self, objective.loss)
        return objective


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
    n = layers.chain_inputs(chain)
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


# Its layers.


def _place(which: Any, n: int) -> int:
    """The place of one of so many layers, which may be counted from the end."""
    try:
        place = operator.index(which)
    except TypeError:
        raise TypeError(f"net[...]: expected a whole number or a slice, got {_validate.shown(which)}") from None
    if not -n <= place < n:
        raise IndexError(f"net[{place}]: expected a layer from 0 to {n - 1}, or from -{n} to -1")
    return place


def _leaves(chain: tuple[Layer, ...]) -> list[Layer]:
    return [leaf for layer in chain for _, leaf in layer.leaves()]


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
        If the file is damaged, or not one of ours, or of a later version, or holds an ensemble, which
        `Ensemble.load` reads.
    TypeError
        If it is none of these, or an open file of text.
    """
    net: Sequential = files.model.read(declared, file)[0]
    return net


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
    net, kept = _checkpoint(path)
    if optimizer is None:
        optimizer = optimizers.from_config(kept.optimizer, schedules.from_config)
    epochs = kept.epochs if epochs is None else epochs
    return net, net.fit(x, y, loss=loss, optimizer=optimizer, epochs=epochs, resume=path, **how)


def _checkpoint(path: str | os.PathLike[str]) -> tuple[Sequential, files.checkpoint.Checkpoint]:
    net, kept = files.model.read(declared, os.fsdecode(path))
    if kept is None:
        raise ValueError(f"resume: expected a file that Checkpoint wrote, got a model alone, {os.fspath(path)!r}")
    return net, kept


def _from_bytes(data: bytes) -> Sequential:
    if not isinstance(data, (bytes, bytearray)):
        raise FormatError(f"pickle: expected bytes, got {_validate.shown(data)}")
    net: Sequential = files.model.read(declared, data, "pickle")[0]
    return net


def declared(layers: Any, dtype: Any) -> Sequential:
    """A network without memory."""
    net = Sequential.__new__(Sequential)
    net._declare(checked := _checked(layers), _connect(checked), dtype)
    return net
