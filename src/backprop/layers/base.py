"""What all layers have, and chains of layers: sizes that fit one another, and the steps they are lowered to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from .. import _validate, activations
from .._described import Described, arguments

Array = _validate.Array

#: The input of a network, among the names of its operations.
INPUT = "input"
#: The most features of a sample, and the most levels of nested layers.
WIDEST, DEEPEST = 2**40, 50
#: The layers that a description may name: those of this package.
KINDS: dict[str, type[Layer]] = {}


class Builder(Protocol):
    """What collects the operations of a network; see `backprop.program.graph.Builder`."""

    def add(
        self, layer: Layer, name: str, *inputs: str, attributes: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Array] | None = None, part: bool = False, activation: Any = None,
    ) -> str:  # fmt: skip
        """An operation of a layer, which takes these outputs; its name."""
        ...

    def chain(self, layers: Sequence[Layer], source: str, place: str = "") -> str:
        """The operations of layers that follow one another, in this place; the last of them, or the source."""
        ...


class Layer(Described, family="Layer"):
    """What all layers have: sizes, named parameters, and an activation they end in.

    Attributes
    ----------
    n_in, n_out : int
        Inputs and outputs: the features of a sample before and after. A layer with as many outputs as inputs learns
        them from its network.
    activation : ActivationFunction
        ``identity`` where there is none.
    trainable : bool, default True
        False freezes the layer: training leaves its parameters alone, and the statistics of a `BatchNorm` too. It may
        be changed at any time.

    Notes
    -----
    A custom layer subclasses this and implements ``forward(x, training)``, which returns y and, in training, stores
    what the backward pass needs, and ``backward(dy)``, which returns dx and writes the gradients of its parameters. Its
    constructor sets ``n_in`` and ``n_out``, unless the layer has as many outputs as inputs. Parameters are declared by
    `shapes`, get their initial values in `initialize`, and are attributes: ``self.weight`` and its gradient
    ``self.weight_grad``. It works in every network, at the speed of NumPy.

    Examples
    --------
    >>> class Sine(bp.Layer):
    ...     def shapes(self):
    ...         return {"frequency": (self.n_in,)}
    ...     def initialize(self, rng):
    ...         self.frequency[:] = rng.uniform(1, 10, self.n_in)
    ...     def forward(self, x, training):
    ...         if training:
    ...             self.x = x
    ...         return np.sin(self.frequency * x)
    ...     def backward(self, dy):
    ...         dz = np.cos(self.frequency * self.x) * dy
    ...         self.frequency_grad[:] = (dz * self.x).sum(axis=0)
    ...         return self.frequency * dz
    """

    n_in: int | None = None
    n_out: int | None = None
    activation: activations.ActivationFunction = activations.identity
    trainable: bool = True
    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        "n_in": _validate.optional(_validate.integer), "n_out": _validate.optional(_validate.integer),
        "activation": lambda value, name: activations.get(value), "trainable": _validate.flag,
    }  # fmt: skip
    _positional: ClassVar[int] = 3
    #: The attributes that can be assigned but once, and the arguments that may be changed in a network.
    _fixed: ClassVar[Sequence[str]] = ()
    _adjustable: ClassVar[Sequence[str]] = ()
    #: The operation that it is in a graph, and the attributes that are shown there; the core takes the first.
    operation: ClassVar[str] = ""
    attributes: ClassVar[Sequence[str]] = ()
    #: Where its parameters and buffers begin in the flat vectors, once it is in a network.
    _offsets: Mapping[str, int] | None = None

    if TYPE_CHECKING:  # parameters, buffers and gradients are attributes by the names that `shapes` and `buffers` give

        def __getattr__(self, name: str) -> Any: ...

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names of the parameters and their shapes, in the order in which they lie in the flat vector."""
        return {}

    def buffers(self) -> dict[str, tuple[int, ...]]:
        """The same for its buffers: arrays that are saved with the network and not trained, as running statistics."""
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Give the parameters and buffers their initial values."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """For a custom layer: the outputs y (batch, n_out) for the inputs x (batch, n_in)."""
        raise NotImplementedError(self._by_itself("forward"))

    def backward(self, dy: Array) -> Array:
        """For a custom layer: dx from the dy of its last forward in training; overwrites its gradients."""
        raise NotImplementedError(self._by_itself("backward"))

    def _by_itself(self, name: str) -> str:
        if not self.compiled:
            return f"{name}: expected {type(self).__name__} to implement {name}, got no such method"
        return (
            f"{name}: expected a network, got its layer {self!r}, which does nothing by itself: call net.{name}, "
            f"or make a network of such a layer, bp.Sequential([{self!r}])"
        )

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """Add what is computed from the output of an operation to those of the network; the name of the last."""
        return graph.add(self, name, source)

    @property
    def compiled(self) -> bool:
        """Whether the compiled core has its operation; a custom layer has its own forward or backward."""
        kind = type(self)
        own = kind.forward is not Layer.forward or kind.backward is not Layer.backward
        return bool(kind.operation) and not own

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """The layers that have parameters of their own: this one, or those it is made of, and where they are in it."""
        yield (), self

    def required_inputs(self) -> int | None:
        """The inputs it needs; None: any number."""
        return self.n_in

    def multiplier(self) -> int:
        """How many outputs it has for each input, where it takes any number."""
        return 1

    def connect(self, n: int) -> int:
        """Set the sizes from the number of inputs; the number of outputs."""
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

    @classmethod
    def _arguments(cls) -> Mapping[str, Parameter]:
        """Those of the layer of this package that it is or derives from: of a custom layer's own nothing is known."""
        return next((arguments(kind) for kind in cls.__mro__ if kind in KINDS.values()), {})

    def config(self) -> dict[str, Any]:
        """The arguments that build this layer again, as JSON can hold them."""
        values = {name: self._written(value) for name, value in self._values().items()}
        return values if self.trainable else {**values, "trainable": False}

    def _written(self, value: Any) -> Any:
        if isinstance(value, activations.ActivationFunction):
            return value.name if value == activations.get(value.name) else [value.name, value.slope]
        if isinstance(value, tuple):
            return [self._written(each) for each in value]
        return value.described() if isinstance(value, Layer) else super()._written(value)

    def _shown(self, value: Any) -> Any:
        if isinstance(value, activations.ActivationFunction) and value == activations.get(value.name):
            return value.name
        return list(value) if isinstance(value, tuple) else value

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

        Of a custom layer nothing is known: it is only equal to itself.
        """
        return self is other or (
            isinstance(other, Layer) and self._alike(other) and self.compiled and self.trainable == other.trainable
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
        if not self._bound:
            if name in self._fixed and name in vars(self):
                raise AttributeError(f"{name}: {self!r} cannot be changed: make a new layer")
        elif name.removesuffix("_grad") in {**self.shapes(), **self.buffers()}:
            _validate.assign(getattr(self, name), value, name)
            return
        elif name in ("n_in", "n_out", *self._arguments()) and name not in self._adjustable:
            raise AttributeError(f"{name}: {self!r} is in a network, where it cannot be changed: make a new network")
        super().__setattr__(name, value)


class SameSize(Layer):
    """A layer that keeps a row's size."""

    n_in: int
    n_out: int


class Composite(Layer):
    """A layer that is made of layers."""

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

    def config(self) -> dict[str, Any]:
        """The arguments that build this layer again; which of its layers are trainable, these say."""
        return {name: self._written(value) for name, value in self._values().items()}


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
            got = f"{layer!r} in place {i + 1}, which belongs to another network"
            raise ValueError(f"{name}: expected new layers, got {got}: create a new one")
    return checked


def chain_inputs(layers: tuple[Layer, ...]) -> int | None:
    """The inputs that a chain of layers needs, from its first layer of a fixed size; None: any number."""
    times = 1
    for layer in layers:
        n = layer.required_inputs()
        if n is None:
            times *= layer.multiplier()
        elif n % times:
            got = f"a multiple of {times} from the layers before it, which is never {n}"
            raise ValueError(f"layers: {layer!r} expected {n} inputs, got {got}")
        else:
            return n // times
    return None


def connect_chain(layers: tuple[Layer, ...], n: int) -> int:
    """Set the sizes of each layer from the outputs of the one before; the outputs of the last."""
    for i, layer in enumerate(layers):
        needed = layer.required_inputs()
        if needed is not None and needed != n:
            before = f"of {layers[i - 1]!r}" if i else "before it"
            raise ValueError(
                f"layers: {layer!r}, {i + 1} of {len(layers)}, expected {needed} inputs, got the {n} {before}"
            )
        n = layer.connect(n)
        if n > WIDEST:
            raise ValueError(f"layers: expected at most 2**40 outputs, got {n} of layer {i + 1}")
    return n


def from_description(name: Any, config: Any) -> Layer:
    """A layer by the name of its class: only those in the table, none that a file could bring along."""
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"no layer is called {_validate.shown(name)}")
    if not isinstance(config, dict):
        raise TypeError(f"{name}: expected its arguments by name, got {_validate.shown(config)}")
    unknown = sorted(config.keys() - {*kind._arguments(), "trainable"})
    if unknown:
        raise ValueError(f"{name}: expected {', '.join(kind._arguments())}, got {_validate.shown(unknown[0])}")
    return kind.from_config(config)
