"""The network that a recipe describes, and its optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _validate, initializers, optimizers, schedules
from ..layers import (
    Columns,
    Dense,
    Dropout,
    Embedding,
    Layer,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Scale,
)
from ..network import Sequential
from .recipes import Recipe

__all__ = ["Layout", "network", "optimizer"]

Array = _validate.Array


@dataclass(frozen=True, eq=False)
class Layout:
    """What the columns of encoded rows are: numbers, then one-hot columns and flags, then indices of categories.

    Attributes
    ----------
    numbers, others : int
        How many there are.
    categories : tuple of int
        For each column of indices how many values it has.
    edges : list of numpy.ndarray or None
        Of a piecewise-linear encoding: for each number the edges of its bins, None for a constant.
    """

    numbers: int
    others: int
    categories: tuple[int, ...]
    edges: list[Array | None]

    @property
    def n_in(self) -> int:
        """How many columns there are."""
        return self.numbers + self.others + len(self.categories)


def network(recipe: Recipe, layout: Layout, x: Array, n_out: int, classes: bool, seed: int) -> Sequential:
    """A network for rows such as x, with its initial weights."""
    rng, steps = np.random.default_rng(seed), recipe.steps(len(x))
    made = [*_inputs(recipe, layout)]
    n = layout.n_in
    for layer in made:
        n = layer.connect(n)
    made.append(Scale())
    for size in recipe.hidden_layer_sizes:
        made += _block(recipe, n, size, steps)
        n = size
    made.append(Dense(n, n_out, "softmax" if classes else "identity", weight_init="zeros"))
    net = Sequential(made, rng=int(rng.integers(2**63 - 1)))
    _draw(recipe, net, x, rng)
    return net


def _inputs(recipe: Recipe, layout: Layout) -> Iterator[Layer]:
    """The layers that embed columns: those of categories, then the numbers among what that gives."""
    n, first = layout.n_in, layout.numbers + layout.others
    if layout.categories:
        tables = {first + i: Embedding(values, recipe.embedding) for i, values in enumerate(layout.categories)}
        columns = Columns(n, tables)
        n = columns.n_out
        yield columns
    if layout.numbers and recipe.numbers == "pbld":
        yield PeriodicEmbedding(n, columns=range(layout.numbers))
    elif any(edges is not None for edges in layout.edges):
        yield PiecewiseLinearEmbedding([*layout.edges, *[None] * (n - layout.numbers)], width=recipe.bins_width or None)


def _block(recipe: Recipe, n_in: int, size: int, steps: int) -> list[Layer]:
    made: list[Layer] = []
    if recipe.parametric:
        made += [Dense(n_in, size, weight_init="zeros"), ParametricActivation(recipe.activation)]
    else:
        made.append(Dense(n_in, size, recipe.activation, weight_init="zeros"))
    if recipe.dropout:
        rate: Any = schedules.FlatCosine(recipe.dropout, steps) if recipe.flat_cosine else recipe.dropout
        made.append(Dropout(rate))
    return made


def _draw(recipe: Recipe, net: Sequential, x: Array, rng: np.random.Generator) -> None:
    """The initial weights of the dense layers."""
    if recipe.initial == "data_driven":
        initializers.data_driven(net, x, rng)
        return
    dense = [layer for layer in net.layers if isinstance(layer, Dense)]
    for layer in dense[:-1]:
        layer.weight[...] = rng.normal(0, 1 / math.sqrt(layer.n_in), layer.weight.shape)
        layer.bias[...] = rng.normal(0, 1, layer.bias.shape)


def optimizer(recipe: Recipe, net: Sequential, steps: int) -> optimizers.Optimizer:
    """Adam with decoupled weight decay, in the parameter groups of the recipe.

    The neural-tangent form W / sqrt(n_in) of a weight V is V itself with the learning rate divided by sqrt(n_in), and
    epsilon and the decay times as much.
    """
    groups: dict[str, dict[str, float]] = {}
    for i, layer in enumerate(net.layers):
        if isinstance(layer, Dense):
            root = math.sqrt(layer.n_in)
            groups[f"{i}.bias"] = {"learning_rate": recipe.bias_factor, "weight_decay": 0.0}
            groups[f"{i}.weight"] = {"learning_rate": 1 / root, "epsilon": root, "weight_decay": root}
        elif isinstance(layer, Scale):
            groups[f"{i}.*"] = {"learning_rate": recipe.scale_factor}
        elif isinstance(layer, ParametricActivation):
            groups[f"{i}.*"] = {"learning_rate": recipe.activation_factor}
        elif isinstance(layer, PeriodicEmbedding) or (isinstance(layer, PiecewiseLinearEmbedding) and layer.width):
            groups[f"{i}.*"] = {"learning_rate": recipe.numbers_factor}
    decay: Any = recipe.weight_decay
    if decay and recipe.flat_cosine:
        decay = schedules.FlatCosine(decay, steps)
    return optimizers.AdamW(
        schedules.CosLog4(recipe.learning_rate, steps), beta2=recipe.beta2, epsilon=recipe.epsilon, weight_decay=decay,
        groups=groups,
    )  # fmt: skip
