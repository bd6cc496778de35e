"""Frames: what the page draws of networks in training, as JSON can hold it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from .. import _validate
from .learner import Learner, number
from .points import PLACES, SIDE, SMALL, Points

__all__ = ["Artist"]

Array = _validate.Array

#: Rows of the coming batch whose numbers are shown in the middle of a step.
MOST_ROWS = 8


class Artist:
    """Draws networks over the plane, or the line, that the points lie in."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.whole, self.small = points.grid(SIDE, PLACES), points.grid(SMALL, 2 * SMALL)

    def drawn(self, learner: Learner, before: Array, phase: str) -> dict[str, Any]:
        """A network, and what has changed since its parameters were others."""
        net = learner.net
        found: dict[str, Any] = {
            "epoch": net.epochs, "step": learner.steps, "batch": [learner.batch, learner.batches],
            "diverged": learner.diverged, **learner.note(),
            "learning_rate": learner.rate(),
        }  # fmt: skip
        loss, gradient = learner.gradient()
        found["batch_loss"] = number(loss)
        vectors = {"weights": net.parameters, "gradients": gradient, "updates": net.parameters - before}
        for name, vector in vectors.items():
            found[name] = by_name(learner, vector)
        found["surface"], found["units"] = self._surface(learner), self._units(learner)
        if phase:
            found["pending"] = pending(learner, phase)
        return found

    def _surface(self, learner: Learner) -> dict[str, Any]:
        """The outputs everywhere."""
        outputs, goal = learner.net.predict(self.whole), self.points.goal
        if len(self.points.axes) == 1:
            return {"kind": "curve", "values": [rounded(column) for column in outputs.T]}
        if goal == "classes":
            best = outputs.argmax(axis=1)
            sure = np.clip(outputs[np.arange(len(best)), best], 0, 1)
            return {"kind": "classes", "class": encoded(best), "data": encoded(255 * sure)}
        if goal == "binary":
            outputs = (outputs + 1) / 2 if "hinge" in learner.settings.loss else outputs
            return {"kind": "probability", "data": encoded(255 * np.clip(outputs, 0, 1))}
        low, high = float(outputs.min()), float(outputs.max())
        return {"kind": "number", "low": number(low), "high": number(high), "data": scaled(outputs, low, high)}

    def _units(self, learner: Learner) -> dict[str, Any]:
        """The activation of each unit everywhere, by operation: from its lowest, 0, to its highest, 255."""
        net = learner.net
        found = {}
        for operation, outputs in zip(net.graph, net.activations(self.small), strict=True):
            if operation.kind == "dense":
                low, high = outputs.min(axis=0), outputs.max(axis=0)
                maps = scaled(outputs.T, low[:, None], high[:, None])
                found[operation.name] = {"low": rounded(low), "high": rounded(high), "data": maps}
        return found


def pending(learner: Learner, phase: str) -> dict[str, Any]:
    """The numbers of a step under way, of some of its rows."""
    try:
        trace, rows = learner.trace(), learner.coming()
    except ValueError as error:  # as where the loss is not finite
        return {"error": str(error)}
    found: dict[str, Any] = {"rows": learner.points.train[rows[:MOST_ROWS]].tolist(), "outputs": {}, "deltas": {}}
    for name, step in trace.steps.items():
        found["outputs"][name] = [rounded(row) for row in step.output[:MOST_ROWS]]
        if phase == "backward":
            found["deltas"][name] = [rounded(row) for row in step.delta[:MOST_ROWS]]
    return found


def by_name(learner: Learner, vector: Array) -> dict[str, list[float]]:
    """The parts of a flat vector, by the names of a model file."""
    found, at = {}, 0
    for name, array in learner.net.arrays().items():
        found[name] = rounded(vector[at : at + array.size])
        at += array.size
    return found


def rounded(values: Array) -> list[Any]:
    """With five significant digits; what is not finite is None."""
    return [float(f"{value:.5g}") if value - value == 0 else None for value in values.tolist()]


def scaled(values: Array, low: Any, high: Any) -> str:
    """Bytes from 0, for the lowest, to 255."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    width = np.where(high > low, high - low, 1.0)
    return encoded(255 * np.clip((values - low) / width, 0, 1))


def encoded(values: Array) -> str:
    """Whole numbers from 0 to 255 as base64; 0 for what is none."""
    return base64.b64encode(np.rint(np.nan_to_num(values)).astype(np.uint8).tobytes()).decode()
