"""Layers: declarations of sizes and parameters. The arithmetic is in the compiled core, which runs them as one plan.

A layer's arrays are views into the flat vectors of the network it belongs to; before that it has none. Most layers are
lowered to steps of the compiled plan; one that brings ``forward`` and ``backward`` of its own is run in Python.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _core, _validate, _words, activations, initializers

__all__ = [
    "Activation", "BatchNorm", "Columns", "Concatenate", "Dense", "Dropout", "Embedding", "Layer", "LayerNorm", "PReLU",
    "Residual",
]  # fmt: skip

Array = _validate.Array

#: The input of a network, among the numbers of its steps.
INPUT = -1
#: How many numbers a row may have, and how many layers may lie within one another.
WIDEST, DEEPEST = 2**40, 50


class Program:
    """The steps that layers are lowered to; each is named by its number."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self.key = 0  # the leaf whose turn it is: what its dropout masks depend on

    def add(
        self,
        operation: str,
        source: int,
        n_in: int,
        n_out: int,
        *,
        activation: activations.ActivationFunction = activations.identity,
        number: float = 0.0,
        weight: int = -1,
        bias: int = -1,
        other: int = INPUT,
        extra: tuple[Any, ...] = (),
    ) -> int:
        """A step that takes the output of another; with an activation whose derivative needs its input, two."""
        apart = activation.code in _core.NEEDS_Z and operation != "activation"
        ends = activations.identity if apart else activation
        self.steps.append((
            _core.OPERATIONS[operation], ends.code, ends.slope or number, n_in, n_out, weight, bias, source, other,
            self.key, extra,
        ))  # fmt: skip
        made = len(self.steps) - 1
        return self.add("activation", made, n_out, n_out, activation=activation) if apart else made


class Layer(_words.Helped, family="Layer"):
    """What all layers have: sizes, named parameters, and an activation they end in.

    Attributes
    ----------
    n_in, n_out : int
        How many numbers a row has before and after. A layer that keeps a row's size learns it from its network.
    activation : ActivationFunction
        ``identity`` where there is none.
    trainable : bool, default True
        Set it to False, and training leaves the layer's parameters alone, and the statistics of a `BatchNorm` too; and
        back, whenever that is wanted.

    Notes
    -----
    A layer of one's own subclasses this, and brings ``forward(x, training)``, which returns y and, in training, keeps
    what it needs, and ``backward(dy)``, which returns dx and writes the gradients of its parameters. ``n_in`` and
    ``n_out`` are set by its constructor, if it does not keep a row's size. Parameters are named by `shapes`, given
    their first values by `initialize`, and found as attributes: ``self.weight`` and its gradient ``self.weight_grad``.
    It works in every network, at the speed of NumPy.

    Examples
    --------
    >>> class Scale(bp.Layer):
    ...     def shapes(self):
    ...         return {"factor": (self.n_in,)}
    ...     def initialize(self, rng):
    ...         self.factor[:] = 1
    ...     def forward(self, x, training):
    ...         if training:
    ...             self.x = x
    ...         return self.factor * x
    ...     def backward(self, dy):
    ...         self.factor_grad[:] = (dy * self.x).sum(axis=0)
    ...         return self.factor * dy
    """

    n_in: int | None = None
    n_out: int | None = None
    activation: activations.ActivationFunction = activations.identity
    trainable: bool = True
    #: What passes a gate whenever it is assigned, and what can be assigned but once.
    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        "n_in": _validate.optional(_validate.integer), "n_out": _validate.optional(_validate.integer),
        "activation": lambda value, name: activations.get(value), "trainable": _validate.flag,
    }  # fmt: skip
    _once: ClassVar[Sequence[str]] = ()
    #: The arguments of the constructor, in order; the first `_positional` are written without their names.
    _arguments: ClassVar[Sequence[str]] = ()
    _positional: ClassVar[int] = 0
    _defaults: ClassVar[dict[str, Any]] = {}
    #: Those of them that may be changed in a network.
    _adjustable: ClassVar[Sequence[str]] = ()
    #: Where its parameters and buffers begin in the flat vectors, once it is in a network.
    _offsets: Mapping[str, int] | None = None

    if TYPE_CHECKING:  # parameters, buffers and gradients are attributes by the names that `shapes` and `buffers` give

        def __getattr__(self, name: str) -> Any: ...

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names of the parameters and their shapes, in the order in which they lie in the flat vector."""
        return {}

    def buffers(self) -> dict[str, tuple[int, ...]]:
        """The same for what it keeps beside: numbers that belong to a trained network, and that nothing trains."""
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Give the parameters and buffers their initial values."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """For a layer of one's own: y (batch, n_out) for x (batch, n_in)."""
        raise NotImplementedError(self._by_itself("forward"))

    def backward(self, dy: Array) -> Array:
        """For a layer of one's own: dx for the dy of its last forward in training; overwrites its gradients."""
        raise NotImplementedError(self._by_itself("backward"))

    def _by_itself(self, name: str) -> str:
        if not self.compiled:
            return f"{name}: expected {type(self).__name__} to have a {name} of its own, got none"
        return (
            f"{name}: expected a network, got its layer {self!r}, which does nothing by itself: call net.{name}, "
            f"or make a network of such a layer, bp.Sequential([{self!r}])"
        )

    def lower(self, program: Program, source: int) -> int:
        """Add the steps this layer becomes to those of its network, and return the last."""
        raise NotImplementedError

    @property
    def compiled(self) -> bool:
        """Whether it is lowered to steps of the compiled core; one with a way of its own goes that way."""
        kind = type(self)
        own = kind.forward is not Layer.forward or kind.backward is not Layer.backward
        return kind.lower is not Layer.lower and not own

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """The layers that have parameters of their own: this one, or those it is made of, and where they are in it."""
        yield (), self

    def takes(self) -> int | None:
        """How many numbers a row must have before it; None: any."""
        return self.n_in

    def times(self) -> int:
        """How many times as many numbers a row has after it, where it takes any."""
        return 1

    def connect(self, n: int) -> int:
        """Learn how many numbers a row has before; how many after."""
        if self.n_in is None:
            self.n_in = n
        if self.n_in != n:
            raise ValueError(f"{self!r} expected {self.n_in} inputs, got {n}")
        if self.n_out is None:
            self.n_out = n
        return self.n_out

    def penalties(self) -> list[tuple[int, int, float, float]]:
        """Ranges of the flat vector and their l1 and l2, where there are such."""
        return []

    def config(self) -> dict[str, Any]:
        """The arguments that build this layer again, as JSON can hold them."""
        values = {name: getattr(self, name) for name in self._arguments}
        if "activation" in values:
            f = self.activation
            values["activation"] = f.name if f == activations.get(f.name) else [f.name, f.slope]
        return values if self.trainable else {**values, "trainable": False}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Build a layer from what `config` returned."""
        given = config.get("activation")
        if isinstance(given, list):
            if len(given) != 2:
                raise ValueError(f"activation: expected a name and a number, got {_validate.shown(given)}")
            config = {**config, "activation": activations.ActivationFunction(*given)}
        layer = cls(**{name: value for name, value in config.items() if name != "trainable"})
        layer.trainable = config.get("trainable", True)
        return layer

    def described(self) -> list[Any]:
        """The name of its class, and `config`: what a file holds of it."""
        return [type(self).__name__, self.config()]

    def __eq__(self, other: object) -> bool:
        """Whether the other would be built alike: by the configuration, not by the parameters.

        Of a layer of one's own nothing is known: it is only equal to itself.
        """
        return self is other or (
            isinstance(other, Layer) and type(self) is type(other) and self.compiled and self.config() == other.config()
        )

    __hash__ = object.__hash__  # in a set or a dictionary, each stands for itself

    def bind(self, views: Mapping[str, Array], offsets: Mapping[str, int]) -> None:
        """Take the views that belong to this layer as attributes."""
        for name, view in views.items():
            setattr(self, name, view)
        self._offsets = offsets

    @property
    def _bound(self) -> bool:
        """Whether it is in a network, which has taken over what it was built with."""
        return self._offsets is not None

    def __setattr__(self, name: str, value: Any) -> None:
        """In a network, what is assigned to a parameter is copied into it, and how the layer was built is settled."""
        gate = self._gates.get(name)
        if not self._bound:
            if name in self._once and name in vars(self):
                raise AttributeError(f"{name}: {self!r} cannot be changed: make a new layer")
        elif name.removesuffix("_grad") in {**self.shapes(), **self.buffers()}:
            _validate.assign(getattr(self, name), value, name)
            return
        elif name in ("n_in", "n_out", *self._arguments) and name not in self._adjustable:
            raise AttributeError(f"{name}: {self!r} is in a network, where it cannot be changed: make a new network")
        super().__setattr__(name, value if gate is None else gate(value, name))

    def __repr__(self) -> str:
        words = []
        for i, name in enumerate(self._arguments):
            value, default = getattr(self, name), self._defaults.get(name)
            value = list(value) if isinstance(value, tuple) else value
            if isinstance(value, activations.ActivationFunction) and value == activations.get(value.name):
                value = value.name
            if name not in self._defaults or value != default:
                words.append(f"{value!r}" if i < self._positional else f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(words)})"


class Dense(Layer):
    """y = f(x w + b): every output a weighted sum of every input.

    Parameters
    ----------
    n_in, n_out : int
        How many numbers a row has before and after.
    activation : str or ActivationFunction, default "identity"
        f, by name or from `backprop.activations`.
    use_bias : bool, default True
        Without it, y = f(x w).
    weight_init, bias_init : str, default "glorot_uniform", "zeros"
        A name from `backprop.initializers`.
    l1, l2 : float, default 0
        Add l1 sum |w| + l2 sum w^2 to the loss that is trained on, and to its gradient; at least 0. Not of the bias.

    Attributes
    ----------
    weight : numpy.ndarray, shape (n_in, n_out)
    bias : numpy.ndarray, shape (n_out,)
        Views into ``net.parameters``, once the layer is in a network: what is written there changes the network.
    weight_grad, bias_grad : numpy.ndarray
        Views into ``net.gradients``, of the same shapes.
    """

    _arguments = ("n_in", "n_out", "activation", "use_bias", "weight_init", "bias_init", "l1", "l2")
    _positional = 3
    _defaults: ClassVar = {
        "activation": "identity", "use_bias": True, "weight_init": "glorot_uniform", "bias_init": "zeros",
        "l1": 0.0, "l2": 0.0,
    }  # fmt: skip

    _gates: ClassVar = {
        **Layer._gates, "n_in": _validate.integer, "n_out": _validate.integer, "use_bias": _validate.flag,
        "weight_init": initializers.named, "bias_init": initializers.named, "l1": _validate.not_negative,
        "l2": _validate.not_negative,
    }  # fmt: skip

    n_in: int
    n_out: int
    weight: Array
    bias: Array
    weight_grad: Array
    bias_grad: Array

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | activations.ActivationFunction = "identity",
        *,
        use_bias: bool = True,
        weight_init: str = "glorot_uniform",
        bias_init: str = "zeros",
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self.n_in = n_in
        given: Any = n_out
        if given in activations.__all__:
            cure = f"sizes are given, not guessed, Dense(n_in, {n_in}, {given!r})"
            raise TypeError(f"n_out: expected a whole number, got {given!r}: {cure}")
        self.n_out = n_out
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.weight_init = weight_init
        self.bias_init = bias_init
        self.l1 = l1
        self.l2 = l2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight` and, where there is one, `bias`."""
        return {"weight": (self.n_in, self.n_out)} | ({"bias": (self.n_out,)} if self.use_bias else {})

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weights, then the bias."""
        initializers.fill(self.weight, self.weight_init, self.n_in, self.n_out, rng)
        if self.use_bias:
            initializers.fill(self.bias, self.bias_init, self.n_in, self.n_out, rng)

    def lower(self, program: Program, source: int) -> int:
        """One product, and the activation."""
        assert self._offsets is not None
        return program.add(
            "dense", source, self.n_in, self.n_out, activation=self.activation, weight=self._offsets["weight"],
            bias=self._offsets.get("bias", -1),
        )  # fmt: skip

    def penalties(self) -> list[tuple[int, int, float, float]]:
        """That on the weight."""
        begin = (self._offsets or {})["weight"]
        return [(begin, begin + self.n_in * self.n_out, self.l1, self.l2)] if self.l1 or self.l2 else []


class _Same(Layer):
    """A layer that keeps a row's size: one step of the core."""

    operation: ClassVar[str]

    n_in: int
    n_out: int

    def lower(self, program: Program, source: int) -> int:
        """One step."""
        at = self._offsets or {}
        return program.add(
            self.operation, source, self.n_in, self.n_out, activation=self.activation, number=self._number(),
            weight=at.get("weight", -1), bias=at.get("bias", -1), extra=self._extra(at),
        )  # fmt: skip

    def _number(self) -> float:
        """What the step's kernel takes beside its parameters."""
        return 0.0

    def _extra(self, at: Mapping[str, int]) -> tuple[Any, ...]:
        return ()


class Activation(_Same):
    """y = f(x), alone: for a network in which something stands between the weights and the activation.

    Parameters
    ----------
    activation : str or ActivationFunction
        f, by name or from `backprop.activations`.
    """

    operation = "activation"
    _arguments = ("activation",)
    _positional = 1

    def __init__(self, activation: str | activations.ActivationFunction) -> None:
        self.activation = activations.get(activation)


class Dropout(_Same):
    """In training, zero each number with probability `rate` and divide the others by 1 - rate; else do nothing.

    Parameters
    ----------
    rate : float
        At least 0, below 1.

    Notes
    -----
    Inverted dropout [1]_. Which numbers are dropped is a function of the network's seed, the training step and the
    place in the batch: it depends neither on the number of threads nor on what was computed before.

    References
    ----------
    .. [1] Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.
    """

    operation = "dropout"
    _arguments = ("rate",)
    _positional = 1
    _gates: ClassVar = {**Layer._gates, "rate": _validate.share}

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def _number(self) -> float:
        return self.rate


class PReLU(_Same):
    """y = x where x > 0, else weight x: a rectifier whose slope below zero is learned, one for each column.

    Parameters
    ----------
    slope : float, default 0.25
        Where the slopes begin; at least 0, below 1.

    Attributes
    ----------
    weight : numpy.ndarray, shape (n,)
        The slopes, a view into ``net.parameters``.

    References
    ----------
    He et al., "Delving deep into rectifiers", ICCV 2015, eq. 1.
    """

    operation = "prelu"
    _arguments = ("slope",)
    _positional = 1
    _defaults: ClassVar = {"slope": 0.25}
    _gates: ClassVar = {**Layer._gates, "slope": _validate.share}

    weight: Array
    weight_grad: Array

    def __init__(self, slope: float = 0.25) -> None:
        self.slope = slope

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight`, a number for each column."""
        return {"weight": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """All slopes alike."""
        self.weight[:] = self.slope


class _Norm(_Same):
    """y = weight (x - mean) / sqrt(variance + epsilon) + bias."""

    weight: Array
    bias: Array
    weight_grad: Array
    bias_grad: Array
    epsilon: float

    _gates: ClassVar = {**Layer._gates, "epsilon": _validate.positive}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight` and `bias`, a number for each column."""
        return {"weight": (self.n_out,), "bias": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """Change nothing but mean and variance."""
        self.weight[:], self.bias[:] = 1, 0

    def _number(self) -> float:
        return self.epsilon


class LayerNorm(_Norm):
    """Normalise each row: y = weight (x - mean) / sqrt(variance + epsilon) + bias, over the numbers of the row.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Keeps the root from zero; above 0.

    Attributes
    ----------
    weight, bias : numpy.ndarray, shape (n,)
        Views into ``net.parameters``; 1 and 0 at first.

    References
    ----------
    Ba, Kiros, Hinton, "Layer normalization", 2016, eq. 4. The variance is that of the row, divided by n.
    """

    operation = "layer_norm"
    _arguments = ("epsilon",)
    _defaults: ClassVar = {"epsilon": 1e-5}

    def __init__(self, *, epsilon: float = 1e-5) -> None:
        self.epsilon = epsilon


class BatchNorm(_Norm):
    """Normalise each column: y = weight (x - mean) / sqrt(variance + epsilon) + bias, over the rows of the batch.

    `predict` takes the running mean and variance instead, which follow those of the batches: after each step of a fit,
    and in each `Sequential.forward` by hand, running += momentum (batch - running).

    Parameters
    ----------
    momentum : float, default 0.1
        How fast the running statistics follow; at least 0, at most 1. It may be changed in a network. 0 freezes them,
        as ``trainable = False`` does: then they stay, and training is normalised by them too.
    epsilon : float, default 1e-5
        Keeps the root from zero; above 0.

    Attributes
    ----------
    weight, bias : numpy.ndarray, shape (n,)
        Views into ``net.parameters``; 1 and 0 at first.
    running_mean, running_variance : numpy.ndarray, shape (n,)
        0 and 1 at first. They are saved with the network, and not trained.

    Notes
    -----
    As in PyTorch, a batch is normalised by its variance divided by n, and the running variance follows the one divided
    by n - 1. A full batch is kept in memory as a whole.

    Frozen statistics make of it a map of each row by itself, in training and in `predict`, as in Keras. So does a batch
    of a single row, which has no variance: it is normalised by the running statistics, and leaves them alone. Each row
    of a batch counts the same in its mean and variance, whatever its sample_weight.

    `Sequential.update_statistics` sets the running statistics to those of given rows.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
    """

    operation = "batch_norm"
    _arguments = ("momentum", "epsilon")
    _defaults: ClassVar = {"momentum": 0.1, "epsilon": 1e-5}
    _adjustable = ("momentum",)
    _gates: ClassVar = {**_Norm._gates, "momentum": partial(_validate.number, least=0, below=math.nextafter(1, 2))}

    running_mean: Array
    running_variance: Array

    def __init__(self, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        self.momentum = momentum
        self.epsilon = epsilon

    @property
    def frozen(self) -> bool:
        """Whether its running statistics stay as they are, and normalise the batches of training too."""
        return not (self.trainable and self.momentum)

    def pace(self) -> float:
        """How fast they follow: the core asks at the beginning of each run, since it may have changed."""
        return 0.0 if self.frozen else self.momentum

    def buffers(self) -> dict[str, tuple[int, ...]]:
        """`running_mean` and `running_variance`, a number for each column."""
        return {"running_mean": (self.n_out,), "running_variance": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """Change nothing, in training nothing but mean and variance."""
        super().initialize(rng)
        self.running_mean[:], self.running_variance[:] = 0, 1

    def _extra(self, at: Mapping[str, int]) -> tuple[Any, ...]:
        return self.pace, at["running_mean"]


class Embedding(Layer):
    """Whole numbers become vectors: y is the row of the table that x names.

    The first layer of a network, or within `Columns`.

    Parameters
    ----------
    values : int
        Rows of the table: x is 0 to values - 1.
    width : int
        Their length.
    columns : int, default 1
        How many numbers a row of x has, each looked up in the same table: the vectors lie side by side.
    weight_init : str, default "lecun_normal"
        A name from `backprop.initializers`, for one input: the standard normal distribution, as in PyTorch.

    Attributes
    ----------
    weight : numpy.ndarray, shape (values, width)
        The table, a view into ``net.parameters``.
    """

    _arguments = ("values", "width", "columns", "weight_init")
    _positional = 2
    _defaults: ClassVar = {"columns": 1, "weight_init": "lecun_normal"}
    _gates: ClassVar = {
        **Layer._gates, "values": partial(_validate.integer, most=2**24), "width": _validate.integer,
        "columns": _validate.integer, "weight_init": initializers.named,
    }  # fmt: skip
    _once = ("n_in", "n_out", "width", "columns")

    n_in: int
    n_out: int
    weight: Array
    weight_grad: Array

    def __init__(self, values: int, width: int, *, columns: int = 1, weight_init: str = "lecun_normal") -> None:
        self.values = values
        self.width = width
        self.columns = columns
        self.n_in, self.n_out = self.columns, self.columns * self.width
        self.weight_init = weight_init

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight`, the table."""
        return {"weight": (self.values, self.width)}

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the table."""
        initializers.fill(self.weight, self.weight_init, 1, self.width, rng)

    def tables(self) -> list[tuple[int, int, Embedding | None]]:
        """The first of some columns, how many they are, and their table: it has one for all."""
        return [(0, self.columns, self)]

    def lower(self, program: Program, source: int) -> int:
        """One step, which looks up all columns."""
        return _look_up(self, self.tables(), program, source)


class _Composite(Layer):
    """A layer of layers."""

    #: How many such layers lie within one another here.
    depth = 1

    @property
    def trainable(self) -> bool:
        """Whether training may change all that is in it; what is set is set for each."""
        return all(leaf.trainable for _, leaf in self.leaves())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for _, leaf in self.leaves():
            leaf.trainable = value


class Columns(_Composite):
    """The columns of a table with words in it: some become vectors, the others go on as they are, in their order.

    The first layer of a network.

    Parameters
    ----------
    n_in : int
        How many columns there are.
    embeddings : dict of int to Embedding
        For the columns that hold whole numbers, what they become; each an `Embedding` of one column.

    Examples
    --------
    >>> layer = bp.Columns(3, {1: bp.Embedding(12, 4)})  # the second of three is a month, from 0
    >>> net = bp.Sequential([layer, bp.Dense(6, 1)], rng=0)
    >>> net.predict([[0.5, 11, -0.5]]).shape
    (1, 1)
    """

    _arguments = ("n_in", "embeddings")
    _positional = 2
    _gates: ClassVar = {**Layer._gates, "n_in": _validate.integer}
    _once = ("n_in", "n_out", "embeddings")

    n_in: int
    n_out: int

    def __init__(self, n_in: int, embeddings: Mapping[int, Embedding]) -> None:
        self.n_in = n_in
        if not isinstance(embeddings, Mapping):
            raise TypeError(f"embeddings: expected a dict of columns, got {_validate.shown(embeddings)}")
        found: dict[int, Any] = {}
        given: Mapping[Any, Any] = embeddings
        for column, embedding in given.items():
            place = _validate.integer(column, "embeddings", 0, self.n_in - 1)
            if not isinstance(embedding, Embedding) or embedding.columns != 1:
                raise TypeError(
                    f"embeddings: expected an Embedding of one column, got {_validate.shown(embedding)} at {place}"
                )
            found[place] = embedding
        self.embeddings: dict[int, Embedding] = dict(sorted(found.items()))
        self.n_out = self.n_in + sum(embedding.width - 1 for embedding in found.values())

    def __getitem__(self, column: int) -> Embedding:
        return self.embeddings[column]

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """Its embeddings."""
        for column, embedding in self.embeddings.items():
            yield (column,), embedding

    def tables(self) -> list[tuple[int, int, Embedding | None]]:
        """The first of some columns, how many they are, and their table, where they have one."""
        found: list[tuple[int, int, Embedding | None]] = []
        after = 0
        for column, embedding in [*self.embeddings.items(), (self.n_in, None)]:
            if column > after:
                found.append((after, column - after, None))
            if embedding is not None:
                found.append((column, 1, embedding))
            after = column + 1
        return found

    def lower(self, program: Program, source: int) -> int:
        """One step, which looks up all columns."""
        return _look_up(self, self.tables(), program, source)

    def config(self) -> dict[str, Any]:
        """The arguments that build this layer again, as JSON can hold them."""
        return {"n_in": self.n_in, "embeddings": [[c, e.config()] for c, e in self.embeddings.items()]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Columns:
        """Build a layer from what `config` returned."""
        given = [(column, from_description("Embedding", its)) for column, its in config["embeddings"]]
        if len(given) != len({column for column, _ in given}):
            raise ValueError("embeddings: expected one for each column, got two for the same")
        return cls(**{**config, "embeddings": dict(given)})


def _look_up(
    layer: Embedding | Columns, tables: list[tuple[int, int, Embedding | None]], program: Program, source: int
) -> int:
    if source != INPUT:
        raise ValueError(f"layers: expected {layer!r} first in its network, where it sees the columns, got it later")
    extra = []
    for _, count, table in tables:
        at = None if table is None else table._offsets
        extra.append(
            (-1, 1, 1, count) if table is None or at is None else (at["weight"], table.values, table.width, count)
        )
    return program.add("columns", source, layer.n_in, layer.n_out, extra=tuple(extra))


def chain(layers: Any, name: str = "layers") -> tuple[Layer, ...]:
    """Layers that follow one another, each a new one."""
    checked = tuple(_validate.items(layers, name))
    seen: set[int] = set()
    for i, layer in enumerate(checked):
        if not isinstance(layer, Layer):
            cure = f": call it, {layer.__name__}(...)" if isinstance(layer, type) else ""
            cure = f": Activation({layer!r}) is one" if isinstance(layer, str) else cure
            raise TypeError(f"{name}: expected layers, got {_validate.shown(layer)} in place {i + 1}{cure}")
        if id(layer) in seen:
            raise ValueError(f"{name}: expected each once, got {layer!r} again in place {i + 1}: create a new one")
        seen.add(id(layer))
        if any(leaf._bound for _, leaf in layer.leaves()):
            got = f"{layer!r} of another network in place {i + 1}"
            raise ValueError(f"{name}: expected new ones, got {got}: it belongs to that one, create a new one")
    return checked


def chain_takes(layers: tuple[Layer, ...]) -> int | None:
    """How many numbers a row must have before these: as the first that has sizes takes them; None: any."""
    times = 1
    for layer in layers:
        n = layer.takes()
        if n is None:
            times *= layer.times()
        elif n % times:
            got = f"rows of {times} times as many numbers as those before {layers[0]!r}"
            raise ValueError(f"layers: {layer!r} expected {n} inputs, got {got}, which are never {n}")
        else:
            return n // times
    return None


def connect_chain(layers: tuple[Layer, ...], n: int) -> int:
    """Let each layer learn its sizes from the one before; how many numbers a row has after the last."""
    for i, layer in enumerate(layers):
        takes = layer.takes()
        if takes is not None and takes != n:
            before = f"of {layers[i - 1]!r}" if i else "before it"
            raise ValueError(
                f"layers: {layer!r}, {i + 1} of {len(layers)}, expected {takes} inputs, got the {n} {before}"
            )
        n = layer.connect(n)
        if n > WIDEST:
            raise ValueError(f"layers: expected rows of at most 2**40 numbers, got {n} after layer {i + 1}")
    return n


def lower_chain(layers: tuple[Layer, ...], program: Program, source: int) -> int:
    """Add the steps of layers that follow one another; the last of them."""
    for layer in layers:
        source = layer.lower(program, source)
        program.key += not isinstance(layer, (Residual, Concatenate))
    return source


class Residual(_Composite):
    """y = x + f(x), where f are layers that keep a row's size, one after the other.

    Parameters
    ----------
    layers : sequence of Layer
        ``residual[0]`` is the first of them.

    References
    ----------
    He et al., "Deep residual learning for image recognition", CVPR 2016, eq. 1.
    """

    _arguments = ("layers",)
    _positional = 1
    _once = ("layers",)

    n_in: int
    n_out: int

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = _compiled(chain(layers), self)
        self.depth = _depth(self.layers)

    def __getitem__(self, i: int) -> Layer:
        return self.layers[i]

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """Those of its layers."""
        for i, layer in enumerate(self.layers):
            for path, leaf in layer.leaves():
                yield (i, *path), leaf

    def takes(self) -> int | None:
        """What its layers do."""
        return chain_takes(self.layers)

    def connect(self, n: int) -> int:
        """Its layers must give as many numbers as they take."""
        after = connect_chain(self.layers, n)
        if after != n:
            raise ValueError(
                f"layers: {self!r} expected layers that keep a row's size, got {n} before and {after} after"
            )
        self.n_in = self.n_out = n
        return n

    def lower(self, program: Program, source: int) -> int:
        """The steps of its layers, and a sum."""
        last = lower_chain(self.layers, program, source)
        return program.add("add", last, self.n_in, self.n_out, other=source)

    def config(self) -> dict[str, Any]:
        """The arguments that build this layer again, as JSON can hold them."""
        return {"layers": [layer.described() for layer in self.layers]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Residual:
        """Build a layer from what `config` returned."""
        return cls(**{**config, "layers": [from_description(*given) for given in config["layers"]]})


class Concatenate(_Composite):
    """y = f(x), g(x)... side by side: branches that all take the same numbers.

    Parameters
    ----------
    branches : sequence of sequences of Layer
        An empty branch is x itself. ``concatenate[1][0]`` is the first layer of the second branch.
    """

    _arguments = ("branches",)
    _positional = 1
    _once = ("branches",)

    n_in: int
    n_out: int

    def __init__(self, branches: Sequence[Sequence[Layer]]) -> None:
        self.branches = tuple(_compiled(chain(b, "branches"), self) for b in _validate.items(branches, "branches"))
        chain([layer for branch in self.branches for layer in branch], "branches")  # none twice
        if len(self.branches) < 2:
            raise ValueError(f"branches: expected at least two, got {len(self.branches)}")
        self.depth = _depth(layer for branch in self.branches for layer in branch)

    def __getitem__(self, i: int) -> tuple[Layer, ...]:
        return self.branches[i]

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """Those of its branches."""
        for b, branch in enumerate(self.branches):
            for i, layer in enumerate(branch):
                for path, leaf in layer.leaves():
                    yield (b, i, *path), leaf

    def takes(self) -> int | None:
        """What the first of its branches does that is not content with anything."""
        return next((n for n in map(chain_takes, self.branches) if n is not None), None)

    def times(self) -> int:
        """What its branches do, side by side."""
        return sum(math.prod(layer.times() for layer in branch) for branch in self.branches)

    def connect(self, n: int) -> int:
        """All branches take the same; what they give is added up."""
        self._widths = [connect_chain(branch, n) for branch in self.branches]
        self.n_in, self.n_out = n, sum(self._widths)
        return self.n_out

    def lower(self, program: Program, source: int) -> int:
        """The steps of its branches, joined two by two."""
        joined, width = lower_chain(self.branches[0], program, source), self._widths[0]
        for branch, more in zip(self.branches[1:], self._widths[1:], strict=True):
            other = lower_chain(branch, program, source)
            joined = program.add("join", joined, width, width + more, other=other)
            width += more
        return joined

    def config(self) -> dict[str, Any]:
        """The arguments that build this layer again, as JSON can hold them."""
        return {"branches": [[layer.described() for layer in branch] for branch in self.branches]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Concatenate:
        """Build a layer from what `config` returned."""
        return cls(**{**config, "branches": [[from_description(*g) for g in b] for b in config["branches"]]})


def _compiled(layers: tuple[Layer, ...], owner: Layer) -> tuple[Layer, ...]:
    for layer in layers:
        if not layer.compiled:
            raise TypeError(f"layers: expected built-in layers within {type(owner).__name__}, got {layer!r}")
    return layers


def _depth(layers: Iterable[Layer]) -> int:
    """How many layers of layers lie within one another in one of these."""
    found = 1 + max((layer.depth for layer in layers if isinstance(layer, _Composite)), default=0)
    if found > DEEPEST:
        raise ValueError(f"layers: expected at most {DEEPEST} layers within one another, got {found}")
    return found


def from_description(name: Any, config: Any) -> Layer:
    """A layer by the name of its class: only those in the table, none that a file could bring along."""
    if name not in __all__ or name == "Layer":
        raise ValueError(f"no layer is called {_validate.shown(name)}")
    kind: type[Layer] = globals()[name]
    if not isinstance(config, dict):
        raise TypeError(f"{name}: expected its arguments by name, got {_validate.shown(config)}")
    unknown = sorted(config.keys() - {*kind._arguments, "trainable"})
    if unknown:
        raise ValueError(f"{name}: expected {', '.join(kind._arguments)}, got {_validate.shown(unknown[0])}")
    return kind.from_config(config)
