"""The loss and the metrics on data that have passed the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..program.data import Data, pieces
from ..program.objective import Objective

__all__ = ["evaluate"]


def evaluate(
    net: Any, data: Data, objective: Objective, measured: Mapping[str, Callable[..., float]],
    meaning: Any = None, threads: int | None = None,
) -> dict[str, float]:  # fmt: skip
    """As `Sequential.evaluate`; without a meaning, the targets tell it to the metrics."""
    found = np.empty((len(data), objective.n_out), net.dtype)
    for rows, x in pieces(data.x):
        net._run(x, found[rows], threads, logits=objective.on_logits, first_row=rows.start)
    value = objective.value(found, data)
    outputs = objective.outputs(found)
    return {"loss": value} | (objective.measure(measured, outputs, data.y, meaning) if measured else {})
