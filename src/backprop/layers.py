"""Layers: declarations of sizes and parameters. The arithmetic is in the compiled core, which runs them as one plan.

A layer's arrays are views into the flat vectors of the network it belongs to; before that it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from . import _core, _validate, activations, initializers

__all__ = ["Activation", "Dense", "Dropout", "Layer"]

Array = _validate.Array


class Layer:
    """What all layers have: sizes, named parameters, and an activation they end in.

    Attributes
    ----------
    n_in, n_out : int
        How many numbers a row has before and after. A layer that keeps a row's size learns it from its network.
    activation : ActivationFunction
        ``identity`` where there is none.
    """

    n_in: int | None = None
    n_out: int | None = None
    activation: activations.ActivationFunction = activations.identity
    operation: ClassVar[str]
    #: The arguments of the constructor, in order; the first `_positional` are written without their names.
    _arguments: ClassVar[Sequence[str]] = ()
    _positional: ClassVar[int] = 0
    _defaults: ClassVar[dict[str, Any]] = {}
    #: Whether it is in a network, which has taken over what it was built with.
    _bound: bool = False

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names of the parameters and their shapes, in the order in which they lie in the flat vector."""
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Give the parameters their initial values."""

    def lower(self, offsets: dict[str, int]) -> tuple[int, int, float, int, int, int, int]:
        """The step of the plan this layer becomes; `offsets` says where its parameters begin."""
        assert self.n_in is not None
        assert self.n_out is not None
        return (
            _core.OPERATIONS[self.operation], self.activation.code, self._alpha(), self.n_in, self.n_out,
            offsets.get("weight", -1), offsets.get("bias", -1),
        )  # fmt: skip

    def _alpha(self) -> float:
        return self.activation.slope

    def config(self) -> dict[str, Any]:
        """The arguments that build this layer again, as JSON can hold them."""
        values = {name: getattr(self, name) for name in self._arguments}
        if "activation" in values:
            f = self.activation
            values["activation"] = f.name if f == activations.get(f.name) else [f.name, f.slope]
        return values

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Build a layer from what `config` returned."""
        if isinstance(config.get("activation"), list):
            name, slope = config["activation"]
            config = {**config, "activation": activations.get(name).with_slope(slope)}
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        """Whether the other would be built alike: by the configuration, not by the parameters."""
        return type(self) is type(other) and self.config() == other.config()

    __hash__ = object.__hash__  # in a set or a dictionary, each stands for itself

    def _bind(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Take the views that belong to this layer as attributes."""
        for name, view in parameters.items():
            setattr(self, name, view)
            setattr(self, f"{name}_grad", gradients[name])
        self._bound = True

    def __setattr__(self, name: str, value: Any) -> None:
        """In a network, what is assigned to a parameter is copied into it, and how the layer was built is settled."""
        if self._bound and name.removesuffix("_grad") in self.shapes():
            _validate.assign(getattr(self, name), value, name)
        elif self._bound and name in ("n_in", "n_out", *self._arguments):
            raise AttributeError(f"{name}: {self!r} is in a network, where it cannot be changed: make a new network")
        else:
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        words = []
        for i, name in enumerate(self._arguments):
            value, default = getattr(self, name), self._defaults.get(name)
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

    Attributes
    ----------
    weight : numpy.ndarray, shape (n_in, n_out)
    bias : numpy.ndarray, shape (n_out,)
        Views into ``net.parameters``, once the layer is in a network: what is written there changes the network.
    weight_grad, bias_grad : numpy.ndarray
        Views into ``net.gradients``, of the same shapes.
    """

    operation = "dense"
    _arguments = ("n_in", "n_out", "activation", "use_bias", "weight_init", "bias_init")
    _positional = 3
    _defaults: ClassVar = {
        "activation": "identity", "use_bias": True, "weight_init": "glorot_uniform", "bias_init": "zeros",
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
    ) -> None:
        self.n_in = _validate.integer(n_in, "n_in")
        self.n_out = _validate.integer(n_out, "n_out")
        self.activation = activations.get(activation)
        self.use_bias = _validate.flag(use_bias, "use_bias")
        self.weight_init = _validate.choice(weight_init, "weight_init", initializers.NAMES)
        self.bias_init = _validate.choice(bias_init, "bias_init", initializers.NAMES)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight` and, where there is one, `bias`."""
        return {"weight": (self.n_in, self.n_out)} | ({"bias": (self.n_out,)} if self.use_bias else {})

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weights, then the bias."""
        initializers.fill(self.weight, self.weight_init, self.n_in, self.n_out, rng)
        if self.use_bias:
            initializers.fill(self.bias, self.bias_init, self.n_in, self.n_out, rng)


class Activation(Layer):
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


class Dropout(Layer):
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

    def __init__(self, rate: float) -> None:
        self.rate = _validate.number(rate, "rate", least=0, below=1)

    def _alpha(self) -> float:
        return self.rate
