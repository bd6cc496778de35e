"""What the training of a table leaves behind: networks, and what stands before and behind them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from .. import _validate, network
from .. import io as files
from ..ensemble import Ensemble
from ..network import Sequential
from ..training import History
from .encoding import Encoding
from .scores import METRICS, log_loss
from .training import Rows

__all__ = ["HeldOut", "TableModel", "Target", "ascending", "sorted_residuals"]

Array = _validate.Array

#: How many held-out rows of a member the importance of features is found by, at most; how many residuals are kept.
ROWS_OF_IMPORTANCE, RESIDUALS = 2000, 1000
#: Under which name a file tells what stands around the networks.
KEY = "table"


@dataclass(frozen=True, eq=False)
class Target:
    """Numbers to predict, standardised.

    Attributes
    ----------
    mean, deviation : numpy.ndarray, float64 (n_out,)
        Of the training: the (population) standard deviation, 1 of a constant.
    least, greatest : numpy.ndarray, float64 (n_out,)
    clamped : bool
        Whether predictions stay between those.
    """

    mean: Array
    deviation: Array
    least: Array
    greatest: Array
    clamped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {name: value if name == "clamped" else value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, given: Any, n_out: int) -> Target:
        """What `to_dict` wrote, for so many outputs."""
        names = ("mean", "deviation", "least", "greatest")
        if set(given) != {*names, "clamped"} or any(len(given[name]) != n_out for name in names):
            raise ValueError(f"target: expected numbers for each of {n_out} outputs, got {_validate.shown(given)}")
        numbers = {name: np.array([_validate.number(value, name) for value in given[name]]) for name in names}
        return cls(**numbers, clamped=_validate.flag(given["clamped"], "clamped"))

    @classmethod
    def of(cls, mean: float, deviation: float) -> Target:
        """One number, of which no more is known."""
        return cls(np.array([mean]), np.array([deviation]), np.array([-math.inf]), np.array([math.inf]))

    @classmethod
    def learn(cls, y: Array, weights: Array | None, clamped: bool) -> Target:
        """Those of y (rows, n_out)."""
        mean = np.average(y, axis=0, weights=weights)
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weights))
        least, greatest = y.min(axis=0), y.max(axis=0)
        counting = y if weights is None else y[weights > 0]
        constant = counting.min(axis=0) == counting.max(axis=0)
        if not (np.isfinite(deviation) & (constant | (deviation > 0))).all():
            got = f"got {least.min():g} to {greatest.max():g}: divide it by a number"
            raise ValueError(f"y: expected a target whose standard deviation is neither beyond float64 nor 0, {got}")
        return cls(mean, np.where(constant, 1.0, deviation), least, greatest, clamped)

    def encode(self, y: Array) -> Array:
        """Standardised: float32."""
        encoded: Array = ((y - self.mean) / self.deviation).astype(np.float32)
        return encoded

    def decode(self, outputs: Array) -> Array:
        """In the unit of y, float64."""
        y: Array = self.mean + self.deviation * outputs.astype(np.float64)
        return np.clip(y, self.least, self.greatest) if self.clamped else y


@dataclass(eq=False)
class HeldOut:
    """Rows that were held out, and from which member."""

    rows: Rows
    parts: list[Array]

    def outputs(self, networks: Sequence[Sequential], threads: int | None) -> tuple[Array, Rows]:
        """For each row that was held out from any, the mean of what those networks predict; and these rows."""
        total = np.zeros((len(self.rows), networks[0].n_out))
        count = np.zeros(len(self.rows))
        for net, part in zip(networks, self.parts, strict=True):
            total[part] += net.predict(self.rows.x[part], threads=threads)
            count[part] += 1
        seen = np.flatnonzero(count)
        return total[seen] / count[seen, None], self.rows[seen]

    def fewer(self, most: int) -> HeldOut:
        """At most so many for each member."""
        parts = [part[np.linspace(0, len(part) - 1, min(most, len(part))).astype(int)] for part in self.parts]
        union = np.unique(np.concatenate(parts))
        return HeldOut(self.rows[union], [np.searchsorted(union, part) for part in parts])


@dataclass(eq=False)
class TableModel:
    """Networks that predict for the rows of a table.

    Attributes
    ----------
    encoding : Encoding
        From the table to what the networks take.
    ensemble : Ensemble
    classes : list or None
        What the outputs stand for; None: numbers.
    target : Target or None
        Of numbers.
    temperature : float
        What logits are divided by.
    residuals : numpy.ndarray or None
        Of numbers: the absolute differences to held-out rows, in ascending order (rows, n_out).
    held_out : HeldOut or None
        Some of them.
    scores : list of list of float
        Of each member, for each epoch, how wrong it was on the rows held out from it.
    best_epochs : list of int
        Whose weights each has, from 1.
    histories : list of History
        Of each, after a fit; no file has them.
    """

    encoding: Encoding
    ensemble: Ensemble
    classes: list[Any] | None
    target: Target | None
    temperature: float = 1.0
    residuals: Array | None = None
    held_out: HeldOut | None = None
    scores: list[list[float]] = field(default_factory=list)
    best_epochs: list[int] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    _importances: Array | None = None

    def predict(self, X: Any, threads: int | None = None) -> Array:
        """Probabilities (rows, classes), or numbers (rows, n_out) in the unit of the target: means over the members."""
        return self.decoded(self.ensemble.predict(self.encoding(X), threads=threads))

    def predict_all(self, X: Any, threads: int | None = None) -> Array:
        """The same of each member: (members, rows, ...)."""
        outputs = self.ensemble.predict_all(self.encoding(X), threads=threads)
        return np.stack([self.decoded(one) for one in outputs])

    def decoded(self, outputs: Array) -> Array:
        """What outputs of the networks stand for: probabilities as the temperature has them, or numbers."""
        return _tempered(outputs, self.temperature) if self.target is None else self.target.decode(outputs)

    def learn_from(self, held_out: HeldOut, calibrate: bool, threads: int | None) -> None:
        """Find the temperature, or the residuals, by held-out rows, and keep some of them."""
        outputs, rows = held_out.outputs(self.ensemble.members, threads)
        if not len(rows):
            return
        if self.target is not None:
            self.residuals = sorted_residuals(self.target.decode(outputs), self.target.decode(rows.y))
        elif calibrate:
            self.temperature = _temperature(outputs, rows.y, rows.weights)
        self.held_out = held_out.fewer(ROWS_OF_IMPORTANCE)

    def half_width(self, coverage: float, name: str = "coverage") -> Array:
        """How far an interval goes to both sides of a prediction (n_out,).

        References
        ----------
        Lei et al.: "Distribution-free predictive inference for regression", Journal of the American Statistical
        Association 113, 2018, algorithm 2.
        """
        coverage = _validate.number(coverage, name, above=0, below=1)
        count = 0 if self.residuals is None else len(self.residuals)
        place = math.ceil(round((count + 1) * coverage, 9))
        if place > count or self.residuals is None:
            least = math.ceil(round(coverage / (1 - coverage), 9))
            raise ValueError(
                f"{name}: expected at least {least} held-out rows for {coverage:g}, got {count}: ask for less, or "
                "train on more rows, or by folds, so that each is held out once (cv=5)"
            )
        return np.asarray(self.residuals[place - 1])

    def importances(self, metric: str, repeats: int = 5, seed: int = 0) -> Array:
        """How much worse held-out rows are predicted where a feature is shuffled among them: by feature (features,).

        References
        ----------
        Breiman: "Random forests", Machine Learning 45, 2001, section 10.
        """
        if self._importances is None:
            if self.held_out is None:
                raise ValueError("importances: expected held-out rows, got none: fit with validation_fraction or cv")
            self._importances = self._find_importances(self.held_out, metric, repeats, seed)
        return self._importances

    def _find_importances(self, held_out: HeldOut, metric: str, repeats: int, seed: int) -> Array:
        rng, score = np.random.default_rng(seed), METRICS[metric]
        found = np.zeros(len(self.encoding.features))
        for net, part in zip(self.ensemble.members, held_out.parts, strict=True):
            rows = held_out.rows[part]
            before = score(net.predict(rows.x), rows.y, rows.weights)
            for i, columns in enumerate(self.encoding.features.values()):
                for _ in range(repeats if len(columns) else 0):
                    x = rows.x.copy()
                    x[:, columns] = x[rng.permutation(len(x))][:, columns]
                    found[i] += score(net.predict(x), rows.y, rows.weights) - before
        return found / (repeats * len(held_out.parts))

    # Files.

    def save(self, file: str | os.PathLike[str] | BinaryIO, more: dict[str, Any] | None = None) -> None:
        """Write it to a safetensors file, wholly or not at all: networks and what stands around them, no rows.

        Parameters
        ----------
        file : str, path-like or binary file
        more : dict, optional
            What else the file is to tell, as JSON.
        """
        files.atomic.write(
            file, files.model.pack_estimator(self.ensemble.members, {KEY: self.to_dict(), **(more or {})}, {})
        )

    def to_dict(self) -> dict[str, Any]:
        """What stands around the networks, as JSON can hold it."""
        return {
            "encoding": self.encoding.to_dict(), "classes": self.classes,
            "target": None if self.target is None else self.target.to_dict(), "temperature": self.temperature,
            "residuals": None if self.residuals is None else self.residuals.tolist(),
            "importances": None if self._importances is None else self._importances.tolist(),
            "best_epochs": self.best_epochs, "scores": self.scores,
        }  # fmt: skip

    @classmethod
    def load(cls, file: Any) -> tuple[TableModel, dict[str, Any]]:
        """What `save` wrote, and what it was given beside.

        Raises
        ------
        FormatError
            If the file is damaged, or no such file.
        """
        name = files.safetensors.name_of(file)
        networks, told, _ = files.model.read_estimator(network.declared, file, name)
        with files.safetensors.named(name), files.model.sensible("an estimator for tables"):
            return cls.of_file(networks, told)

    @classmethod
    def of_file(cls, networks: Sequence[Sequential], told: Any) -> tuple[TableModel, dict[str, Any]]:
        """The same of what a file holds."""
        if not isinstance(told, dict) or KEY not in told:
            raise ValueError(f"expected {KEY!r}, got {_validate.shown(told)}")
        more = {name: value for name, value in told.items() if name != KEY}
        return cls.from_dict(Ensemble(networks), told[KEY]), more

    @classmethod
    def from_dict(cls, ensemble: Ensemble, given: dict[str, Any]) -> TableModel:
        """What `to_dict` wrote, around these networks."""
        encoding = Encoding.from_dict(given["encoding"], ensemble.n_in)
        classes = None if given["classes"] is None else _validate.items(given["classes"], "classes")
        target = None if classes is not None else Target.from_dict(given["target"], ensemble.n_out)
        if classes is not None and (len(classes) != ensemble.n_out or len(set(classes)) < len(classes)):
            raise ValueError(f"expected {ensemble.n_out} classes, each once, got {_validate.shown(classes)}")
        model = cls(encoding, ensemble, classes, target, _validate.number(given["temperature"], "temperature", above=0))
        if given["residuals"] is not None:
            residuals = _validate.matrix(given["residuals"], "residuals", ensemble.n_out, np.dtype(np.float64))
            model.residuals = ascending(residuals)
        if given["importances"] is not None:
            model._importances = np.array([_validate.number(one, "importances") for one in given["importances"]])
        model.best_epochs = [_validate.integer(epoch, "best_epochs", 0) for epoch in given["best_epochs"]]
        model.scores = [[_validate.number(score, "scores") for score in one] for one in given["scores"]]
        return model


def sorted_residuals(predicted: Array, y: Array) -> Array:
    """How far predictions are from the truth, in ascending order: (rows, n_out)."""
    return fewer(np.sort(abs(predicted - y), axis=0))


def ascending(residuals: Array) -> Array:
    """Refuse residuals that are none: absolute, in ascending order."""
    if (residuals < 0).any() or (np.diff(residuals, axis=0) < 0).any():
        raise ValueError("residuals: expected them from 0 on, in ascending order, got others")
    return residuals


def fewer(residuals: Array) -> Array:
    """At most `RESIDUALS` of them, such that each stands for as large a share of rows, or a larger one."""
    if len(residuals) <= RESIDUALS:
        return residuals
    places = np.ceil(np.arange(1, RESIDUALS + 1) / (RESIDUALS + 1) * (len(residuals) + 1)).astype(int)
    some: Array = residuals[np.minimum(places, len(residuals)) - 1]
    return some


def _tempered(p: Array, temperature: float) -> Array:
    """Probabilities (rows, classes) as their logits divided by the temperature have them."""
    if temperature == 1:
        return p
    with np.errstate(divide="ignore"):
        logits = np.log(p.astype(np.float64)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    tempered: Array = (powers / powers.sum(axis=1, keepdims=True)).astype(p.dtype)
    return tempered


def _temperature(p: Array, y: Array, weights: Array | None) -> float:
    """The temperature of the least log loss, nearer to 1 the fewer rows there are: by golden sections of its logarithm.

    References
    ----------
    Guo et al.: "On calibration of modern neural networks", ICML 2017.
    """

    def loss(logarithm: float) -> float:
        return log_loss(_tempered(p, math.exp(logarithm)), y, weights) + 2 * logarithm**2 / len(y)

    golden, low, high = (math.sqrt(5) - 1) / 2, math.log(0.1), math.log(10.0)
    for _ in range(30):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return math.exp((low + high) / 2)
