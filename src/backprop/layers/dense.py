"""The fully connected layer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import _validate, activations, initializers
from .base import Array, Layer


class Dense(Layer):
    """y = f(x w + b): fully connected.

    Parameters
    ----------
    n_in, n_out : int
        Inputs and outputs.
    activation : str or ActivationFunction, default "identity"
        f, by name or from `backprop.activations`.
    use_bias : bool, default True
        False: y = f(x w).
    weight_init, bias_init : str, default "glorot_uniform", "zeros"
        A name from `backprop.initializers`.
    l1, l2 : float, default 0
        Regularization of the weight: l1 sum |w| + l2 sum w^2 is added to the training loss; at least 0.

    Attributes
    ----------
    weight : numpy.ndarray, shape (n_in, n_out)
    bias : numpy.ndarray, shape (n_out,)
        Views into ``net.parameters``, once the layer is in a network: what is written there changes the network.
    weight_grad, bias_grad : numpy.ndarray
        Views into ``net.gradients``, of the same shapes.
    """

    operation = "dense"
    _gates: ClassVar = {
        "n_in": _validate.integer, "n_out": _validate.integer, "use_bias": _validate.flag,
        "weight_init": initializers.named, "bias_init": initializers.named,
        "l1": _validate.not_negative, "l2": _validate.not_negative,
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

    def penalties(self) -> list[tuple[int, int, float, float]]:
        """That on the weight."""
        begin = (self._offsets or {})["weight"]
        return [(begin, begin + self.n_in * self.n_out, self.l1, self.l2)] if self.l1 or self.l2 else []
