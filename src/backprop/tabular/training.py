"""Networks for an encoded table, trained side by side, each with the weights of its best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _validate, losses
from ..callbacks import Callback
from ..many import fit_many
from ..network import Sequential
from ..training import History
from . import building
from .building import Layout
from .members import Member
from .recipes import Recipe
from .scores import METRICS

__all__ = ["Rows", "Trained", "train"]

Array = _validate.Array


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows as networks take them.

    Attributes
    ----------
    x : numpy.ndarray, float32 (rows, n_in)
    y : numpy.ndarray
        Labels (rows,), or standardised numbers (rows, n_out).
    weights : numpy.ndarray or None
    """

    x: Array
    y: Array
    weights: Array | None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, which: Any) -> Rows:
        return Rows(self.x[which], self.y[which], None if self.weights is None else self.weights[which])

    def with_others(self, others: Rows) -> Rows:
        """With others behind them."""
        weights = None
        if self.weights is not None or others.weights is not None:
            parts = [np.ones(len(rows)) if rows.weights is None else rows.weights for rows in (self, others)]
            weights = np.concatenate(parts)
        return Rows(np.concatenate([self.x, others.x]), np.concatenate([self.y, others.y]), weights)


@dataclass(frozen=True, eq=False)
class Trained:
    """What the training of some members came to.

    Attributes
    ----------
    networks : list of Sequential
    scores : list of list of float
        Of each, for each epoch, how wrong it was on the rows held out from it; none, where there were none.
    best : list of int
        The best epoch of each, from 1.
    histories : list of History
    """

    networks: list[Sequential]
    scores: list[list[float]]
    best: list[int]
    histories: list[History]


class BestEpoch(Callback):
    """Keep the weights of the best epoch, by the score of held-out rows; the last of those that are equally good.

    With few rows epochs are many and short: then only each so many is judged.
    """

    def __init__(
        self, rows: Rows, metric: str, every: int = 1, patience: int | None = None, until: float = math.inf
    ) -> None:
        self._rows, self._score, self._every = rows, METRICS[metric], every
        self._patience, self._until = patience, until
        self._kept: Array | None = None
        self._best, self.epoch, self.scores = math.inf, 0, list[float]()

    def epochs_unseen(self, run: Any) -> int:
        """Until the next that is judged."""
        return self._every - int(run.epoch) % self._every

    def on_epoch_end(self, run: Any) -> None:
        """Judge the epoch."""
        run.stop = run.stop or time.monotonic() > self._until
        if not len(self._rows):
            self.epoch = run.epoch
            return
        predicted = run.network.predict(self._rows.x, threads=1)
        self.scores.append(self._score(predicted, self._rows.y, self._rows.weights))
        if self._kept is None or self.scores[-1] <= self._best:
            self._best, self.epoch, self._kept = self.scores[-1], run.epoch, run.network.parameters.copy()
        run.stop = run.stop or (self._patience is not None and run.epoch - self.epoch >= self._patience)

    def on_fit_end(self, run: Any) -> None:
        """Go back to the best."""
        if self._kept is not None:
            run.network.parameters[...] = self._kept


def train(
    recipe: Recipe, layout: Layout, rows: Rows, members: Sequence[Member], n_out: int, *, classes: bool,
    patience: int | None = None, time_limit: float | None = None, threads: int | None = None, progress: bool = False,
) -> Trained:  # fmt: skip
    """Train a network for each member.

    Parameters
    ----------
    layout : Layout
        What the columns of the rows are.
    n_out : int
        Classes, or columns of numbers.
    patience : int, optional
        After how many epochs without a better one a network stops.
    time_limit : float, optional
        Seconds: there are as many epochs as end before, and the schedule goes over those.
    """
    until = math.inf if time_limit is None else time.monotonic() + time_limit
    if time_limit is not None:
        begun = time.monotonic()
        _train(replace(recipe, epochs=1), layout, rows, members, n_out, classes, None, until, threads, False)
        now = time.monotonic()
        recipe = replace(recipe, epochs=max(1, min(recipe.epochs, int(0.9 * (until - now) / (now - begun + 1e-9)))))
    return _train(recipe, layout, rows, members, n_out, classes, patience, until, threads, progress)


def _train(
    recipe: Recipe, layout: Layout, rows: Rows, members: Sequence[Member], n_out: int, classes: bool,
    patience: int | None, until: float, threads: int | None, progress: bool,
) -> Trained:  # fmt: skip
    networks = [building.network(recipe, layout, rows.x[one.rows], n_out, classes, one.seed) for one in members]
    watching = [BestEpoch(rows[one.held_out], recipe.metric, recipe.judged_every, patience, until) for one in members]
    loss: Any = losses.CrossEntropy(label_smoothing=recipe.label_smoothing) if classes else losses.MeanSquaredError()
    counts = [len(one.rows) for one in members]
    optimizers = [building.optimizer(recipe, net, recipe.steps(n)) for net, n in zip(networks, counts, strict=True)]
    common: dict[str, Any] = {"loss": loss, "epochs": recipe.epochs, "threads": threads, "progress": progress}
    if len(members) == 1:  # the same bits, and a line for each epoch
        own = rows[members[0].rows]
        histories = [networks[0].fit(
            own.x, own.y, sample_weight=own.weights, optimizer=optimizers[0], batch_size=recipe.batch(counts[0]),
            callbacks=watching, rng=members[0].seed, **common,
        )]  # fmt: skip
    else:
        histories = fit_many(
            networks, rows.x, rows.y, sample_weight=rows.weights, rows=[one.rows for one in members],
            optimizer=optimizers, batch_size=[recipe.batch(n) for n in counts], callbacks=[[one] for one in watching],
            rng=[one.seed for one in members], **common,
        )  # fmt: skip
    return Trained(networks, [one.scores for one in watching], [one.epoch for one in watching], histories)
