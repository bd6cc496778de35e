"""A job: what the compiled core is to train on, and how. The only caller of `_core.Training`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core, _threads, _validate
from .data import Data
from .engine import Engine
from .objective import Objective

__all__ = ["Job", "gradients"]

Array = _validate.Array


@dataclass(eq=False)
class Job:
    """Some epochs of training, in one call of the core; or the gradients of one batch.

    Attributes
    ----------
    plan : _core.Plan
    data : Data
        Rows that are ready.
    objective : Objective
    rule : Rule or None
        How the optimizer steps; None: only gradients are computed.
    rates, decays : numpy.ndarray
        Learning rates: one, or one for each batch; weight decays, likewise, or None, where the rule has it.
    batch_size : int
    shuffle : bool
    seed, first_epoch, first_step : int
        What the order of the rows and the dropout masks depend on.
    update_statistics : bool
        Whether running statistics follow the batch where there is no rule.
    threads : int or None
    """

    plan: _core.Plan
    data: Data
    objective: Objective
    rule: Any = None
    rates: Any = (0.0,)
    decays: Any = None
    batch_size: int = 0
    shuffle: bool = False
    seed: int = 0
    first_epoch: int = 0
    first_step: int = 0
    update_statistics: bool = False
    threads: int | None = None
    #: Batches finished.
    steps: int = 0

    def run(self, losses: Array, outputs: Array | None = None) -> bool:
        """Go through the rows once for each row of losses, to which the epoch's sums of losses and weights are added.

        Outputs (rows, n_out), where given, are written. Whether loss and parameters stayed finite.
        """
        data, objective, rule = self.data, self.objective, self.rule
        size = self.batch_size or len(data)
        rows, batches = min(size, len(data)), -(-len(data) // size) * len(losses)
        pay = _threads.worth_meeting(self.plan.work, rows, self.plan.slices(rows), batches)
        with _threads.take(self.threads, pay) as threads:
            training = _core.Training(
                self.plan, data.x, data.target, data.labels, data.weights,
                loss=objective.loss.lower(objective.on_logits), logits=objective.on_logits, mean=objective.mean,
                share_penalties=objective.loss.shares_penalties,
                update=None if rule is None else rule.update, state=() if rule is None else rule.state,
                ranges=() if rule is None else rule.ranges, update_step=0 if rule is None else rule.steps,
                rates=np.asarray(self.rates, np.float64), batch_size=size, losses=losses, outputs=outputs,
                shuffle=self.shuffle, seed=self.seed, first_epoch=self.first_epoch, first_step=self.first_step,
                threads=threads, update_statistics=self.update_statistics, decays=self.decays,
            )  # fmt: skip
            try:
                return bool(_threads.run(training))
            finally:
                self.steps = training.steps


def gradients(
    engine: Engine, data: Data, objective: Objective, losses: Array, *, seed: int, step: int,
    threads: int | None = None, outputs: Array | None = None, update_statistics: bool = False,
) -> float:  # fmt: skip
    """The gradients of one batch, by the core or, where something is custom, by forward, loss and backward.

    The sums of its losses and of its weights are added to losses (1, 2); outputs, where given, are written. Running
    statistics follow it if that is wanted, or if a layer or a loss is custom. Returns the loss, with the penalties of
    the layers: NaN where it is not finite, and then the gradients are of no use.
    """
    if objective.derivatives is not None:
        value = float(objective.derivatives.gradients(data, objective.penalty_factor(data)))
        if outputs is not None:
            engine.predict(data.x, outputs)
        losses += objective.total(value, data), data.weight
        return value
    if not (isinstance(engine, _core.Plan) and objective.compiled):
        return _custom_gradients(engine, data, objective, losses, seed, step, outputs)
    job = Job(engine, data, objective, seed=seed, first_step=step, threads=threads, update_statistics=update_statistics)
    found = np.zeros((1, 2))
    if not job.run(found, outputs):
        return math.nan
    losses += found
    value, weight = found[0]
    return float(value / weight if objective.mean and weight else value)


def _custom_gradients(
    engine: Engine, data: Data, objective: Objective, losses: Array, seed: int, step: int, outputs: Array | None
) -> float:
    _threads.go_on()
    found = np.empty((len(data), objective.n_out), data.x.dtype)
    engine.forward(data.x, found, seed, step, logits=objective.on_logits)
    if outputs is not None:
        outputs[...] = found
        objective.outputs(outputs)
    value, dy = objective.value_and_gradient(found, data)
    factor = objective.penalty_factor(data)
    value += factor * engine.penalty()
    if dy is None or not math.isfinite(value):
        return math.nan
    engine.backward(dy, None, factor)
    losses += objective.total(value, data), data.weight
    return value
