"""A network in training: whole epochs or single steps, in any order, with the bits of one long `fit`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import DivergedError, _core, _validate, tracing
from ..optimizers import FullBatch
from .points import Points
from .settings import Settings

__all__ = ["Learner", "Part"]

Array = _validate.Array

#: Rows of a batch that are traced; and points of a learning curve, of which half are left out when there are more.
MOST_TRACED, MOST_POINTS = 1024, 1000


@dataclass
class Part:
    """So much training in one way: what a script must do to come to the same network."""

    settings: Settings
    epochs: int = 0
    #: Steps of the epoch after these.
    steps: int = 0


class Learner:
    """A network, its optimizer, and how far they are.

    Attributes
    ----------
    settings : Settings
    net : Sequential
    optimizer : Optimizer
    steps : int
        Made since the network was new.
    batch : int
        How many of them belong to the epoch under way.
    parts : list of Part
        All that was done since the network was new.
    curve : list of [step, loss, validation loss or None]
    diverged : str or None
        Why it cannot go on.
    """

    def __init__(self, settings: Settings, points: Points) -> None:
        self.settings, self.points = settings, points
        self.net = settings.built_network(points.x.shape[1], points.n_out)
        if points.recipe is not None:
            self.net.metadata["recipe"] = points.recipe.to_dict()
            self.net.feature_names = points.columns
        self.optimizer = settings.built_optimizer()
        self.x, self.y = points.x[points.train], points.target(settings.loss, points.train)
        measured = [points.measured(points.train), points.measured(points.test) if points.tested else None]
        self._measured = [
            None if rows is None else (points.x[rows], points.target(settings.loss, rows)) for rows in measured
        ]
        self.steps = self.batch = 0
        self.parts = [Part(settings)]
        self.curve: list[list[Any]] = []
        self.diverged: str | None = None
        self.note()

    # Where it is.

    @property
    def rows(self) -> int:
        """To a step."""
        size = self.settings.batch_size
        return len(self.x) if size is None or isinstance(self.optimizer, FullBatch) else min(size, len(self.x))

    @property
    def batches(self) -> int:
        """To an epoch."""
        return -(-len(self.x) // self.rows)

    @property
    def seen(self) -> int:
        """Rows that it has gone through, each as often as that."""
        return self.net.epochs * len(self.x) + min(self.batch * self.rows, len(self.x))

    def coming(self, count: int = 1) -> Array:
        """The rows of the coming steps, of at most the rest of the epoch."""
        order = np.arange(len(self.x))
        if isinstance(self.optimizer, FullBatch):
            return order
        _core.permutation(self.net.seed, self.net.epochs, order)
        return order[self.batch * self.rows : (self.batch + count) * self.rows]

    # Training.

    def go_to(self, seen: int) -> None:
        """Train until it has gone through so many rows, or one batch more."""
        while self.seen < seen and self.diverged is None:
            epochs = 0 if self.batch else seen // len(self.x) - self.net.epochs
            if epochs > 0:
                self._fit(self.x, self.y, epochs, self.rows, shuffle=True)
            else:
                left = min(seen, (self.net.epochs + 1) * len(self.x)) - self.seen
                self.make_steps(-(-left // self.rows))

    def make_steps(self, count: int) -> None:
        """So many steps, of at most the rest of the epoch."""
        rows = self.coming(count)
        if self.diverged is None:
            self._fit(self.x[rows], self.y[rows], 1, self.rows, shuffle=False)

    def _fit(self, x: Array, y: Array, epochs: int, size: int, shuffle: bool) -> None:
        """Some epochs, or the rows of a part of one; and what is done of it is counted, wherever it ends."""
        net, part = self.net, self.parts[-1]
        begun, made = net.epochs, self.optimizer.steps
        try:
            net.fit(
                x, y, loss=self.settings.loss, optimizer=self.optimizer, epochs=epochs, batch_size=size, shuffle=shuffle
            )
        except (DivergedError, ValueError) as error:  # also of a schedule that rises beyond all bounds
            self.diverged = str(error)
        made = self.optimizer.steps - made
        whole, self.batch = divmod(self.batch + made, self.batches)
        net.epochs, self.steps = begun + whole, self.steps + made
        part.epochs, part.steps = part.epochs + whole, self.batch

    def set(self, settings: Settings) -> None:
        """Go on with another optimizer, learning rate or batch size, from the next epoch on."""
        if settings == self.settings:
            return
        changes = settings.changes(self.settings)
        if changes is None:
            self.optimizer = settings.built_optimizer()
        for name, value in changes or ():
            setattr(self.optimizer, name, value)
        self.settings, self.diverged = settings, None
        if self.batch:
            self.net.epochs, self.batch = self.net.epochs + 1, 0
        if self.parts[-1].epochs or self.parts[-1].steps:
            self.parts.append(Part(settings))
        self.parts[-1].settings = settings

    # Looking at it.

    def rate(self) -> float | None:
        """The learning rate of the coming step."""
        try:
            return number(float(self.optimizer.rates(1)[0]))
        except ValueError:
            return None

    def scores(self) -> dict[str, Any]:
        """The loss and, of classes, the accuracy: of training rows and of test rows, as the network is now."""
        found: dict[str, Any] = {}
        metrics = [] if self.points.goal == "number" else ["accuracy"]
        for prefix, rows in zip(("", "val_"), self._measured, strict=True):
            measured = None if rows is None else self.net.evaluate(*rows, loss=self.settings.loss, metrics=metrics)
            for name in ("loss", *metrics):
                found[prefix + name] = None if measured is None else number(measured[name])
        return found

    def note(self) -> dict[str, Any]:
        """Write the present losses into the curve."""
        found = self.scores()
        if len(self.curve) >= MOST_POINTS:
            self.curve = self.curve[::2]
        if not self.curve or self.curve[-1][0] != self.steps:
            self.curve.append([self.steps, found["loss"], found["val_loss"]])
        return found

    def gradient(self) -> tuple[float, Array]:
        """The loss of the coming batch, and its gradient."""
        rows = self.coming()
        return self.net.value_and_gradient(self.x[rows], self.y[rows], self.settings.loss)

    def trace(self, most: int = MOST_TRACED) -> tracing.Trace:
        """Every number of the coming step, of so many rows at most; without the update, where that diverges."""
        rows = self.coming()[:most]
        x, y, loss = self.x[rows], self.y[rows], self.settings.loss
        try:
            return tracing.trace(self.net, x, y, loss, optimizer=self.optimizer, most=most)
        except DivergedError:
            return tracing.trace(self.net, x, y, loss, most=most)


def number(value: float) -> float | None:
    """As JSON can hold it."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
