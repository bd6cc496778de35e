"""Embeddings of categorical features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import _validate, initializers
from .base import INPUT, Array, Builder, Composite, Layer, from_description


class Embedding(Layer):
    """Integers become vectors: y is the row of the embedding table with the index x.

    The first layer of a network, or within `Columns`.

    Parameters
    ----------
    values : int
        Size of the vocabulary: x is 0 to values - 1.
    width : int
        Length of an embedding vector.
    columns : int, default 1
        Features of x, all looked up in the same table: their vectors lie side by side.
    weight_init : str, default "lecun_normal"
        A name from `backprop.initializers`, for one input: the standard normal distribution, as in PyTorch.

    Attributes
    ----------
    weight : numpy.ndarray, shape (values, width)
        The table, a view into ``net.parameters``.
    """

    operation = "embedding"
    _gates: ClassVar = {
        "values": partial(_validate.integer, most=2**24), "width": _validate.integer, "columns": _validate.integer,
        "weight_init": initializers.named,
    }  # fmt: skip
    _fixed = ("n_in", "n_out", "width", "columns")

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
        """Groups of columns: the first, how many, and their table; here one group."""
        return [(0, self.columns, self)]

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """One operation, which looks up all columns."""
        return graph.add(self, name, _first(source, self), attributes={"tables": ((0, self.columns, "weight"),)})


class Columns(Composite):
    """Embeddings for the categorical columns of a table; the other columns pass through, in their order.

    The first layer of a network.

    Parameters
    ----------
    n_in : int
        How many columns there are.
    embeddings : dict of int to Embedding
        By column, for those that hold integers; each an `Embedding` of one column.

    Examples
    --------
    >>> layer = bp.Columns(3, {1: bp.Embedding(12, 4)})  # the second of three is a month, from 0
    >>> net = bp.Sequential([layer, bp.Dense(6, 1)], rng=0)
    >>> net.predict([[0.5, 11, -0.5]]).shape
    (1, 1)
    """

    operation = "columns"
    _gates: ClassVar = {"n_in": _validate.integer}
    _fixed = ("n_in", "n_out", "embeddings")

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
        """Groups of columns: the first, how many, and their table, where they have one."""
        found: list[tuple[int, int, Embedding | None]] = []
        after = 0
        for column, embedding in [*self.embeddings.items(), (self.n_in, None)]:
            if column > after:
                found.append((after, column - after, None))
            if embedding is not None:
                found.append((column, 1, embedding))
            after = column + 1
        return found

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """One operation, which looks up all columns."""
        tables = tuple(
            (first, count, None if table is None else f"{first}.weight") for first, count, table in self.tables()
        )
        parameters = {f"{column}.weight": embedding.weight for column, embedding in self.embeddings.items()}
        return graph.add(self, name, _first(source, self), attributes={"tables": tables}, parameters=parameters)

    def _written(self, value: Any) -> Any:
        return [[c, e.config()] for c, e in value.items()] if isinstance(value, dict) else super()._written(value)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Columns:
        """Build a layer from what `config` returned."""
        given = [(column, from_description("Embedding", its)) for column, its in config["embeddings"]]
        if len(given) != len({column for column, _ in given}):
            raise ValueError("embeddings: expected one for each column, got two for the same")
        return cls(**{**config, "embeddings": dict(given)})


def _first(source: str, layer: Layer) -> str:
    """The input of a network, which is all that a look-up takes."""
    if source != INPUT:
        raise ValueError(f"layers: expected {layer!r} first in its network, where it sees the columns, got it later")
    return source
