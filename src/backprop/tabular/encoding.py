"""From a table as it comes to the columns that networks take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _validate
from ..preprocessing import Encoder, RobustScaler, Scaler, TableEncoder
from ..preprocessing.bins import quantile_edges
from ..tables import Reading
from .building import Layout
from .recipes import Recipe

__all__ = ["UNSCALED", "Encoding"]

Array = _validate.Array

#: The scaler of no columns.
UNSCALED = RobustScaler()
UNSCALED.center_ = UNSCALED.scale_ = np.zeros(0)


@dataclass(eq=False)
class Encoding:
    """What is learned of the columns of a table: how they are encoded, scaled, and binned.

    Attributes
    ----------
    encoder : Encoder
        From the table to numbers that are not scaled.
    order : numpy.ndarray
        Its columns in the order of the layout, in which numbers may come twice.
    scaler : RobustScaler
        Of the first columns in this order, the numbers at least.
    layout : Layout
    """

    encoder: Encoder
    order: Array
    scaler: RobustScaler
    layout: Layout

    @classmethod
    def learn(
        cls, X: Any, recipe: Recipe, asked: Mapping[str, Any], readings: Mapping[str, Reading] | None = None
    ) -> Encoding:
        """Learn from the rows of a table; how columns are to be read is asked as `TableEncoder` takes it, or known."""
        categories = "index" if recipe.embedding else "onehot"
        encoder = TableEncoder(
            scaler=None, categories=categories, max_onehot=recipe.most_one_hot, dtype="float64", **asked
        ).fit(X, readings=readings)
        kinds = [output.kind for output in encoder.outputs]
        numbers = [i for i, kind in enumerate(kinds) if kind == "number"]
        others = [i for i, kind in enumerate(kinds) if kind not in ("number", "index")]
        indices = [i for i, kind in enumerate(kinds) if kind == "index"]
        again = numbers if recipe.numbers_again else []
        order = np.array([*numbers, *again, *others, *indices])
        x = encoder.transform(X)[:, order]
        scaled = len(numbers) + len(again) + len(others) * recipe.scaled_one_hot
        scaler = RobustScaler().fit(x[:, :scaled]) if scaled else UNSCALED
        edges: list[Array | None] = []
        if recipe.numbers == "piecewise_linear":
            binned = scaler.transform(x[:, :scaled])[:, : len(numbers)]
            edges = quantile_edges(binned, recipe.bins) if numbers else []
        values = tuple(encoder.outputs[i].cardinality for i in indices)
        return cls(encoder, order, scaler, Layout(len(numbers), len(again) + len(others), values, edges))

    def __call__(self, X: Any) -> Array:
        """The rows of a table with the same columns, as networks take them: float32 (rows, n_in)."""
        x = self.encoder.transform(X)[:, self.order]
        scaled = len(self.scaler.center_)
        encoded = np.empty(x.shape, np.float32)
        encoded[:, :scaled] = self.scaler.transform(x[:, :scaled])
        encoded[:, scaled:] = x[:, scaled:]
        return encoded

    @property
    def names(self) -> list[str]:
        """What these columns are called; a number that comes twice, "NAME itself" where it is not cut into bins."""
        names = [self.encoder.outputs[i].name for i in self.order]
        return [f"{name} itself" if name in names[:i] else name for i, name in enumerate(names)]

    @property
    def features(self) -> dict[str, list[int]]:
        """The columns that each feature of the table becomes."""
        columns = [self.encoder.outputs[i].column for i in self.order]
        return {name: [i for i, column in enumerate(columns) if column == name] for name in self.encoder.columns_}

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; the edges of bins are with the networks."""
        return {
            "encoder": self.encoder.to_dict(), "order": self.order.tolist(), "scaler": self.scaler.to_dict(),
            "numbers": self.layout.numbers, "categories": [*self.layout.categories],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, given: dict[str, Any], n_in: int) -> Encoding:
        """What `to_dict` wrote, for networks with so many inputs."""
        encoder, scaler = Encoder.from_dict(given["encoder"]), Scaler.from_dict(given["scaler"])
        order = np.array([_validate.integer(place, "order", 0) for place in given["order"]], np.intp)
        values = tuple(_validate.integer(count, "categories", 1) for count in given["categories"])
        numbers = _validate.integer(given["numbers"], "numbers", 0, n_in)
        if not isinstance(scaler, RobustScaler) or {*order.tolist()} != {*range(len(encoder.outputs))}:
            raise ValueError("expected a RobustScaler, and an order of what the encoder gives")
        if len(order) != n_in or not numbers <= len(scaler.center_) <= n_in - len(values):
            raise ValueError(f"expected {n_in} columns, as the networks take them, got {len(order)}")
        return cls(encoder, order, scaler, Layout(numbers, n_in - numbers - len(values), values, []))
