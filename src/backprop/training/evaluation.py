"""The loss and the metrics on data that have passed the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _validate
from ..program.data import Data, pieces
from ..program.objective import Objective

__all__ = ["evaluate", "outputs", "score"]

Array = _validate.Array


def evaluate(
    net: Any, data: Data, objective: Objective, measured: Mapping[str, Callable[..., float]],
    meaning: Any = None, threads: int | None = None,
) -> dict[str, float]:  # fmt: skip
    """As `Sequential.evaluate`; without a meaning, the targets tell it to the metrics."""
    return score(outputs(net, data.x, objective, threads), data, objective, measured, meaning)


def outputs(net: Any, x: Any, objective: Objective, threads: int | None = None) -> Array:
    """What a network gives for some rows: that which the loss is computed on."""
    found = np.empty((len(x), objective.n_out), net.dtype)
    for rows, some in pieces(x):
        net._run(some, found[rows], threads, logits=objective.on_logits, first_row=rows.start)
    return found


def score(
    found: Array, data: Data, objective: Objective, measured: Mapping[str, Callable[..., float]], meaning: Any = None
) -> dict[str, float]:
    """The loss and the metrics of what `outputs` gave for these data; that becomes the outputs of the network."""
    value = objective.value(found, data)
    outputs = objective.outputs(found)
    return {"loss": value} | (objective.measure(measured, outputs, data.y, meaning) if measured else {})
