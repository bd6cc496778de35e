"""A network from scikit-learn's parameters, with the initial weights that scikit-learn draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .. import _validate
from ..layers import (
    Activation,
    BatchNorm,
    Columns,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Ordered,
)
from ..network import Sequential
from .head import Head
from .parameters import ALIASES, each

__all__ = ["continued", "draw", "layers", "set_weights"]

Array = _validate.Array


def layers(mlp: Any, sizes: list[int], head: Head, n_in: int) -> list[Layer]:
    """The layers that the parameters describe."""
    if mlp.batch_norm and mlp.layer_norm:
        raise ValueError("batch_norm: expected one kind of norm, got layer_norm too")
    made: list[Layer] = []
    if mlp.categorical_features is not None:
        tables = {i: Embedding(n, min(50, (n + 1) // 2)) for i, n in enumerate(mlp._categories)}
        made.append(Columns(n_in, tables))
        n_in = made[0].n_out or 0
    l2 = mlp.alpha / 2 / head.gradient_scale
    activations = each(mlp.activation, sizes, "activation")
    for size, name, dropout in zip(sizes, activations, each(mlp.dropout, sizes, "dropout"), strict=True):
        activation = ALIASES.get(name, name)
        if mlp.batch_norm or mlp.layer_norm:
            made += [_dense(n_in, size, "identity", l2), BatchNorm() if mlp.batch_norm else LayerNorm()]
            made.append(Activation(activation))
        else:
            made.append(_dense(n_in, size, activation, l2))
        if dropout:
            made.append(Dropout(dropout))
        n_in = size
    return [*made, _last(n_in, head, l2)]


def _last(n_in: int, head: Head, l2: float) -> Layer:
    """The output layer."""
    levels = getattr(head.loss, "ordered", 0)
    if not levels:
        return _dense(n_in, head.n_out, head.activation, l2)
    each: list[Layer] = [Ordered(n_in, levels, l2=l2) for _ in range(head.n_out // levels)]
    return each[0] if len(each) == 1 else Concatenate([[layer] for layer in each])


def _dense(n_in: int, n_out: int, activation: Any, l2: float) -> Dense:
    """A layer whose weights are drawn later."""
    return Dense(n_in, n_out, activation, weight_init="zeros", l2=l2)


def draw(mlp: Any, random: Any, made: list[Layer]) -> Iterator[tuple[Array, Array]]:
    """Weights and biases of the dense layers: Glorot and Bengio's, as scikit-learn draws them."""
    given = mlp.activation
    named = given if isinstance(given, list | tuple) else [given]
    for i, layer in enumerate(layer for layer in made if isinstance(layer, Dense)):
        activation = named[min(i, len(named) - 1)] if named else None
        bound = math.sqrt((2.0 if activation == "logistic" else 6.0) / (layer.n_in + layer.n_out))
        yield random.uniform(-bound, bound, (layer.n_in, layer.n_out)), random.uniform(-bound, bound, layer.n_out)


def set_weights(net: Sequential, drawn: list[tuple[Array, Array]]) -> None:
    """Give a new network its initial weights."""
    dense = (layer for layer in net.layers if isinstance(layer, Dense))
    for layer, (weight, bias) in zip(dense, drawn, strict=True):
        layer.weight, layer.bias = weight, bias
    for table in net.leaves.values():
        if isinstance(table, Embedding):
            table.weight[0] = 0  # the category of what no fit has seen


def continued(net: Sequential, last: Sequential) -> None:
    """Go on from the state of the last network, which has the same shapes."""
    net.parameters, net.buffers = last.parameters, last.buffers
    net.seed, net.epochs, net.steps = last.seed, last.epochs, last.steps
    both = ([leaf for leaf in one.leaves.values() if leaf.shapes()] for one in (net, last))
    for layer, old in zip(*both, strict=True):
        for name in ("trainable", *old._adjustable):
            setattr(layer, name, getattr(old, name))
