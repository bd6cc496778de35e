"""What can be chosen for a network and its training; what the page asks for is checked here, once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from .. import Dense, Dropout, Layer, Sequential, _described, _validate, activations, optimizers, schedules
from ..optimizers import Optimizer

__all__ = ["LOSSES", "Hidden", "Settings", "choices", "only"]

MOST_LAYERS, MOST_UNITS, MOST_BATCH, MOST_SEED = 6, 16, 100_000, 2**32 - 1
BATCH_SIZES = (1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 256)
ACTIVATIONS = tuple(name for name in activations.__all__[1:] if "softmax" not in name)

#: What a network may end in under each loss, by what there is to learn: yes or no, one of several classes, a number.
LOSSES: dict[str, dict[str, tuple[str, ...]]] = {
    "binary": {
        "binary_cross_entropy": ("sigmoid",), "mse": ("sigmoid", "identity"), "focal": ("sigmoid",),
        "hinge": ("identity",), "squared_hinge": ("identity",),
    },
    "classes": {"cross_entropy": ("softmax",), "mse": ("softmax", "sigmoid"), "focal": ("softmax",)},
    "number": dict.fromkeys(("mse", "mae", "huber", "log_cosh"), ("identity",)),
}  # fmt: skip

#: Learning rates that suit small networks, where the optimizer's own is another.
RATES = {"SGD": 0.1, "Adam": 0.01, "AdamW": 0.01, "NAdam": 0.01, "RAdam": 0.01, "Lion": 0.003}
#: Of LBFGS: with more, a step would take too long.
_MOST = {"history_size": 100, "max_evaluations": 1000}
#: Of the schedules.
_GUESSES: dict[str, Any] = {"steps": 10_000, "every": 1000, "factor": 0.5}


@dataclass(frozen=True)
class Hidden:
    """A hidden layer."""

    units: int
    activation: str


@dataclass(frozen=True)
class Settings:
    """A network and how it is trained.

    Attributes
    ----------
    goal : {"binary", "classes", "number"}
        What there is to learn: it belongs to the data.
    layers : tuple of Hidden
    output : str
        The activation of the last layer.
    loss : str
    dropout : float
        After each hidden layer.
    l1, l2 : float
        Of all weights.
    seed : int
        Of the initial weights, of the order of the rows and of the dropout masks.
    optimizer : dict
        What its ``config`` returns, the learning rate always as a number.
    schedule : dict or None
        The same of the schedule, without the learning rate.
    batch_size : int or None
        None: all rows.
    """

    goal: str
    layers: tuple[Hidden, ...]
    output: str
    loss: str
    dropout: float
    l1: float
    l2: float
    seed: int
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any] | None
    batch_size: int | None

    @classmethod
    def default(cls, goal: str) -> Settings:
        """Where one begins."""
        loss, (output, *_) = next(iter(LOSSES[goal].items()))
        hidden = (Hidden(4, "tanh"), Hidden(2, "tanh"))
        adam = {"name": "Adam", **dict(choices()["optimizers"]["Adam"])}
        return cls(goal, hidden, output, loss, 0.0, 0.0, 0.0, 0, adam, None, 10)

    def of(self, goal: str) -> Settings:
        """The same for other data: another loss, where this one does not suit them."""
        if goal == self.goal:
            return self
        other = Settings.default(goal)
        return replace(self, goal=goal, loss=other.loss, output=other.output)

    def changed(self, given: Any) -> Settings:
        """With a part of the settings, as JSON has them, in the place of what was there.

        Raises
        ------
        TypeError, ValueError
            If any of it is not what it may be.
        """
        only(given, _GATES, "settings")
        new: dict[str, Any] = {name: _GATES[name](value, name) for name, value in given.items()}
        changed = replace(self, **new)
        outputs = LOSSES[self.goal][_validate.choice(changed.loss, "loss", LOSSES[self.goal])]
        if "output" not in new and changed.output not in outputs:
            changed = replace(changed, output=outputs[0])
        _validate.choice(changed.output, f"output, with {changed.loss}", outputs)
        optimizer = changed.built_optimizer()  # which has its own words for what does not fit
        optimizer.rates(1)
        if optimizer.kernel:
            optimizer.lower()
        return changed

    def to_dict(self) -> dict[str, Any]:
        """As the page reads it, and may send it back."""
        return {
            **{name: getattr(self, name) for name in _GATES},
            "layers": [{"units": layer.units, "activation": layer.activation} for layer in self.layers],
        }

    @property
    def structure(self) -> Settings:
        """All that, changed, needs a new network: the rest may change in the middle of training."""
        return replace(self, optimizer={}, schedule=None, batch_size=None)

    def built_layers(self, n_in: int, n_out: int) -> list[Layer]:
        """The layers of the network."""
        built: list[Layer] = []
        for layer in self.layers:
            built.append(Dense(n_in, layer.units, layer.activation, l1=self.l1, l2=self.l2))
            built += [Dropout(self.dropout)] if self.dropout else []
            n_in = layer.units
        return [*built, Dense(n_in, n_out, self.output, l1=self.l1, l2=self.l2)]

    def built_network(self, n_in: int, n_out: int) -> Sequential:
        """A network that has not been trained."""
        return Sequential(self.built_layers(n_in, n_out), rng=self.seed)

    def changes(self, before: Settings) -> list[tuple[str, Any]] | None:
        """What to assign to an optimizer that was built by other settings; None: it must be a new one."""
        if self.optimizer["name"] != before.optimizer["name"]:
            return None
        changed = [
            (name, value) for name, value in self.optimizer.items()
            if name != "learning_rate" and value != before.optimizer[name]
        ]  # fmt: skip
        rate = self.learning_rate()
        return changed if rate == before.learning_rate() else [*changed, ("learning_rate", rate)]

    def built_optimizer(self) -> Optimizer:
        """An optimizer that has made no step."""
        return optimizers.from_config({**self.optimizer, "learning_rate": self.learning_rate()})

    def learning_rate(self) -> Any:
        """A number, or a schedule."""
        rate = self.optimizer["learning_rate"]
        return rate if self.schedule is None else schedules.from_config({**self.schedule, "learning_rate": rate})


def only(given: Any, names: Collection[str], what: str) -> None:
    """It is a dict that has none but these names."""
    if not isinstance(given, dict):
        raise TypeError(f"{what}: expected an object, got {_validate.shown(given)}")
    for name in given:
        if not names:
            raise ValueError(f"{what}: expected nothing more, got {_validate.shown(name)}")
        _validate.choice(name, what, names)


def _layers(value: Any, name: str) -> tuple[Hidden, ...]:
    given = _validate.items(value, name)
    if len(given) > MOST_LAYERS:
        raise ValueError(f"{name}: expected at most {MOST_LAYERS} hidden layers, got {len(given)}")
    found = []
    for i, layer in enumerate(given):
        only(layer, ("units", "activation"), f"{name}[{i}]")
        units = _validate.integer(layer.get("units"), f"{name}[{i}].units", 1, MOST_UNITS)
        found.append(Hidden(units, _validate.choice(layer.get("activation", "tanh"), "activation", ACTIVATIONS)))
    return tuple(found)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a name, got {_validate.shown(value)}")
    return value


def _configured(value: Any, name: str, kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One of these kinds, with its arguments; those that are not given have their defaults."""
    if not isinstance(value, dict) or "name" not in value:
        raise TypeError(f"{name}: expected an object with a name, got {_validate.shown(value)}")
    kind = _validate.choice(value["name"], name, kinds)
    only(value, ("name", *kinds[kind]), f"{name} {kind}")
    return {"name": kind, **kinds[kind], **value}


def _optimizer(value: Any, name: str) -> dict[str, Any]:
    found = _configured({"name": value} if isinstance(value, str) else value, name, choices()["optimizers"])
    for word, most in _MOST.items():
        if word in found:
            _validate.integer(found[word], word, 1, most)
    _validate.number(found["learning_rate"], "learning_rate", least=0)  # a schedule has a place of its own
    return found


def _schedule(value: Any, name: str) -> dict[str, Any] | None:
    if value is None:
        return None
    return _configured({"name": value} if isinstance(value, str) else value, name, choices()["schedules"])


def _batch_size(value: Any, name: str) -> int | None:
    return None if value is None else _validate.integer(value, name, 1, MOST_BATCH)


def _penalty(value: Any, name: str) -> float:
    return _validate.number(value, name, least=0, below=1e6)


_GATES: dict[str, _validate.Gate] = {
    "layers": _layers, "output": _text, "loss": _text, "dropout": _validate.share, "l1": _penalty, "l2": _penalty,
    "seed": lambda value, name: _validate.integer(value, name, 0, MOST_SEED),
    "optimizer": _optimizer, "schedule": _schedule, "batch_size": _batch_size,
}  # fmt: skip


@cache
def choices() -> dict[str, Any]:
    """All that can be chosen, as the page shows it; optimizers and schedules with their arguments and defaults."""
    return {
        "activations": ACTIVATIONS, "losses": LOSSES, "batch_sizes": BATCH_SIZES,
        "optimizers": {
            name: _arguments(kind, {"learning_rate": RATES[name]} if name in RATES else {})
            for name, kind in optimizers.KINDS.items()
            if "learning_rate" in _arguments(kind, {})
        },
        "schedules": {
            name: {word: value for word, value in _arguments(kind, _GUESSES).items() if word != "learning_rate"}
            for name, kind in schedules.KINDS.items()
        },
        "limits": {
            "layers": MOST_LAYERS, "units": MOST_UNITS, "batch_size": MOST_BATCH, "seed": MOST_SEED,
            "dropout": 1, "l1": 1e6, "l2": 1e6,
        },
    }  # fmt: skip


def _arguments(kind: type, guesses: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor that are one number or choice, and their defaults, or what suits small networks
    better.
    """
    return {
        name: guesses.get(name, argument.default)
        for name, argument in _described.arguments(kind).items()
        if name != "groups"
    }
