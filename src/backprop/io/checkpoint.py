"""What a checkpoint holds beside the network: all that a run needs to go on as if it had not been stopped.

In the model file these are more tensors, ``optimizer.NAME``, ``history.NAME`` and ``callback.PLACE.NAME``, and as JSON
what else there is to know. The order of the rows and the dropped numbers need a seed and the network's counters.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import _validate, callbacks
from ..errors import FormatError
from . import strict_json

__all__ = ["Checkpoint", "of"]

Array = _validate.Array


@dataclass(eq=False, repr=False)
class Checkpoint:
    """A run of training between two epochs."""

    #: What was asked for: a run goes on only as what it was.
    asked: dict[str, Any]
    epoch: int
    epochs: int
    seed: int
    #: What builds the optimizer again, how many steps it has made, and its vectors.
    optimizer: dict[str, Any]
    steps: int
    state: dict[str, Array]
    history: dict[str, Array]
    #: What each callback that remembers anything remembers.
    callbacks: list[dict[str, Any]]

    def pack(self) -> tuple[dict[str, Array], str]:
        """As tensors and JSON."""
        arrays = {f"optimizer.{name}": vector for name, vector in self.state.items()}
        arrays |= {f"history.{name}": values for name, values in self.history.items()}
        said = {name: getattr(self, name) for name in ("asked", "epoch", "epochs", "seed", "optimizer", "steps")}
        said["callbacks"] = []
        for i, state in enumerate(self.callbacks):
            tensors = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
            arrays |= {f"callback.{i}.{name}": value for name, value in tensors.items()}
            rest = {name: _plain(value) for name, value in state.items() if name not in tensors}
            strict_json.check_json(rest, f"the state of {self.asked['callbacks'][i]}")
            said["callbacks"].append(rest)
        return arrays, json.dumps(said, allow_nan=False)

    def check(self, run: Any) -> None:
        """Refuse a run that is asked for something else."""
        now = of(run)
        for name, value in now.asked.items():
            if self.asked.get(name) != value:
                want = self.asked.get(name)
                raise ValueError(f"resume: expected {name} {_brief(want)}, as the run began with, got {_brief(value)}")
        mine, its = (
            {name: value for name, value in given.items() if value is not None or name == "learning_rate"}
            for given in (now.optimizer, self.optimizer)
        )  # an earlier version knew fewer options
        if isinstance(mine.get("learning_rate"), float) and isinstance(its.get("learning_rate"), float):
            mine["learning_rate"] = its["learning_rate"]  # which a callback may have changed
        if mine != its:
            want, got = _brief(its), _brief(mine)
            raise ValueError(f"resume: expected the optimizer {want}, as the run began with, got {got}")
        for callback, state in zip(_remembering(run), self.callbacks, strict=True):
            if hasattr(callback, "check_resumed"):
                callback.check_resumed(state)

    def check_state(self, optimizer: Any, parameters: Array) -> None:
        """Refuse a state that is not one of this optimizer."""
        try:
            optimizer.check_state(self.state, self.steps, parameters)
        except ValueError as error:
            raise ValueError(f"resume: expected a state for {optimizer!r} and these parameters: {error}") from error

    def restore(self, run: Any) -> None:
        """Make of a run that has not begun the one that this is of."""
        optimizer = run.optimizer
        optimizer.state = {}
        optimizer.bind(run.network)
        try:
            self.check_state(optimizer, run.network.parameters)
        except ValueError as error:
            raise FormatError(str(error)) from error
        optimizer.state, optimizer.steps = dict(self.state), self.steps
        if isinstance(self.optimizer.get("learning_rate"), float):
            optimizer.learning_rate = self.optimizer["learning_rate"]
        for callback, state in zip(_remembering(run), self.callbacks, strict=True):
            callback.state = state
        run.history.extend({name: self.history[name] for name in run.names})
        run.epoch, run.seed = self.epoch, self.seed


def of(run: Any) -> Checkpoint:
    """A run as it stands."""
    optimizer, settings, callbacks = run.optimizer, run.settings, _remembering(run)
    asked = {
        "loss": repr(settings.objective.loss) if settings.objective.compiled else "a function",
        "rows": "in batches" if run.rows is None else run.rows,
        "batch_size": settings.batch_size, "shuffle": settings.shuffle, "history": run.names,
        "callbacks": [_kind(callback) for callback in callbacks],
    }  # fmt: skip
    history = {name: np.array(values, np.float64) for name, values in run.history.items()}
    return Checkpoint(
        asked, run.epoch, run.epochs, run.seed, _config(optimizer), optimizer.steps, optimizer.state, history,
        [dict(callback.state) for callback in callbacks],
    )  # fmt: skip


def unpack(arrays: Mapping[str, Array], said: Any) -> Checkpoint:
    """What `Checkpoint.pack` gave, once its JSON is read.

    Raises
    ------
    LookupError, TypeError, ValueError
        If no run could have given it.
    """
    unknown = said.keys() - {"asked", "epoch", "epochs", "seed", "optimizer", "steps", "callbacks"}
    if unknown:
        raise ValueError(f"unknown entries {_brief(sorted(unknown))}")
    states = [dict(state) for state in said["callbacks"]]
    tensors: dict[str, dict[str, Array]] = {"optimizer": {}, "history": {}}
    tensors |= {f"callback.{i}": state for i, state in enumerate(states)}
    for name, array in arrays.items():
        owner, _, rest = name.partition(".")
        if owner == "callback":
            place, _, rest = rest.partition(".")
            owner = f"callback.{place}"
        if owner not in tensors or rest in tensors[owner]:
            raise ValueError(f"expected the tensors of a run, got {_brief(name)}")
        tensors[owner][rest] = array
    counters = {name: _validate.integer(said[name], name, 0, most) for name, most in _MOST.items()}
    checkpoint = Checkpoint(
        _asked(said["asked"]), optimizer=_described(said["optimizer"]), state=tensors["optimizer"],
        history=tensors["history"], callbacks=states, **counters,
    )  # fmt: skip
    _check(checkpoint)
    return checkpoint


#: How far its counters go; steps beyond leave no room to go on.
_MOST = {"epoch": 2**40, "epochs": 2**40, "steps": 2**61, "seed": 2**63 - 1}


def _asked(given: Any) -> dict[str, Any]:
    """What the run was asked for, each word of its type."""
    several = partial(_validate.choice, choices=["in batches"])
    kinds: dict[str, _validate.Gate] = {
        "loss": _text, "rows": lambda value, name: (several if isinstance(value, str) else _count)(value, name),
        "batch_size": _count, "shuffle": _validate.flag, "history": _texts, "callbacks": _texts,
    }  # fmt: skip
    if given.keys() != kinds.keys():
        raise ValueError(f"asked: expected {', '.join(kinds)}, got {_brief(sorted(given))}")
    return {name: kinds[name](value, name) for name, value in given.items()}


def _described(given: Any) -> dict[str, Any]:
    """An optimizer, of which the name and the learning rate are looked at; None is that of a function."""
    _text(given["name"], "optimizer")
    rate = given.get("learning_rate", 0.0)  # not every one has it
    if rate is not None and not isinstance(rate, dict):
        _validate.number(rate, "learning_rate", least=0)
    return dict(given)


def _check(checkpoint: Checkpoint) -> None:
    asked, history = checkpoint.asked, checkpoint.history
    if sorted(asked["history"]) != sorted(history) or "loss" not in history:
        raise ValueError(f"history: expected {_brief(asked['history'])}, as asked for, got {_brief(sorted(history))}")
    if len(asked["callbacks"]) != len(checkpoint.callbacks):
        raise ValueError(f"callbacks: expected {len(asked['callbacks'])} states, got {len(checkpoint.callbacks)}")
    if any(values.shape != (checkpoint.epoch,) or values.dtype != np.float64 for values in history.values()):
        raise ValueError("history: expected a number for each epoch")
    if checkpoint.epoch > checkpoint.epochs:
        raise ValueError(f"epoch: expected at most {checkpoint.epochs}, got {checkpoint.epoch}")
    for name, vector in checkpoint.state.items():
        if not np.isfinite(vector).all():
            raise ValueError(f"state: expected finite numbers in {_brief(name)}")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, got {_brief(value)}")
    return value


def _texts(value: Any, name: str) -> list[str]:
    return [_text(entry, name) for entry in _validate.items(value, name)]


def _count(value: Any, name: str) -> int:
    return _validate.integer(value, name, 1, 2**62)


def _plain(value: Any) -> Any:
    """Numbers of NumPy's as those of Python, which a file holds."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if type(value) is list else value


def _brief(value: Any) -> str:
    """A value in a message, which has room for an optimizer."""
    said = str(value)
    return said if len(said) <= 300 else f"{said[:150]}...{said[-150:]}"


def _config(optimizer: Any) -> dict[str, Any]:
    """What builds it again; where its learning rate is a function, which no file holds, that without it."""
    elsewhere = [name for name, value in vars(optimizer).items() if isinstance(value, np.ndarray)]
    if elsewhere:
        raise TypeError(f"optimizer: expected vectors in its state, where a checkpoint finds them, got {elsewhere}")
    rate = optimizer.learning_rate
    if callable(rate) and not hasattr(rate, "config"):
        return {"name": type(optimizer).__name__, "learning_rate": None}
    config: dict[str, Any] = json.loads(json.dumps(optimizer.config()))  # as a file gives it back
    return config


def _remembering(run: Any) -> list[Any]:
    """The callbacks with a state of their own."""
    return [callback for callback in run.settings.callbacks if hasattr(callback, "state")]


def _kind(callback: Any) -> str:
    """The name of its class; one that is not of this package is not known by one of its names."""
    kind = type(callback)
    ours = callbacks.REMEMBERING.get(kind.__name__, kind) is kind
    return kind.__name__ if ours else f"{kind.__module__}.{kind.__name__}"
