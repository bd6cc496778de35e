"""What a checkpoint holds beside the network: all that a run needs to go on as if it had not been stopped.

In the model file these are more tensors, ``optimizer.NAME``, ``history.NAME`` and ``callback.PLACE.NAME``, and as JSON
what else there is to know. The order of the rows and the dropped numbers need a seed and the network's counters.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate
from .errors import FormatError

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
            said["callbacks"].append({name: value for name, value in state.items() if name not in tensors})
        return arrays, json.dumps(said, allow_nan=False)

    def check(self, run: Any) -> None:
        """Refuse a run that is asked for something else."""
        now = of(run)
        for name, value in now.asked.items():
            if self.asked.get(name) != value:
                raise ValueError(f"resume: expected {name} {self.asked.get(name)}, as the run began with, got {value}")
        mine, its = dict(now.optimizer), dict(self.optimizer)
        if isinstance(mine["learning_rate"], float) and isinstance(its["learning_rate"], float):
            mine["learning_rate"] = its["learning_rate"]  # which a callback may have changed
        if mine != its:
            raise ValueError(f"resume: expected the optimizer {its}, as the run began with, got {mine}")

    def restore(self, run: Any) -> None:
        """Make of a run that has not begun the one that this is of."""
        optimizer, parameters = run.optimizer, run.network.parameters
        optimizer.state = {}
        optimizer.bind(run.network)
        fits = all((v.shape, v.dtype) == (parameters.shape, parameters.dtype) for v in self.state.values())
        if not fits or optimizer.state.keys() - self.state.keys():
            got = {name: f"{vector.dtype} {vector.shape}" for name, vector in self.state.items()}
            raise FormatError(f"resume: expected a state for {optimizer!r} and these parameters, got {got}")
        optimizer.state, optimizer.steps = dict(self.state), self.steps
        if isinstance(self.optimizer["learning_rate"], float):
            optimizer.learning_rate = self.optimizer["learning_rate"]
        for callback, state in zip(_remembering(run), self.callbacks, strict=True):
            callback.state = state
        run.history.extend({name: self.history[name] for name in run.names})
        run.epoch, run.seed = self.epoch, self.seed


def of(run: Any) -> Checkpoint:
    """A run as it stands."""
    optimizer, settings, callbacks = run.optimizer, run.settings, _remembering(run)
    asked = {
        "loss": repr(settings.loss) if settings.loss.compiled else "a function",
        "rows": len(run.data) if hasattr(run.data, "__len__") else "in batches",
        "batch_size": settings.batch_size, "shuffle": settings.shuffle, "history": run.names,
        "callbacks": [type(callback).__name__ for callback in callbacks],
    }  # fmt: skip
    history = {name: np.array(values, np.float64) for name, values in run.history.items()}
    return Checkpoint(
        asked, run.epoch, run.epochs, run.seed, _config(optimizer), optimizer.steps, optimizer.state, history,
        [dict(callback.state) for callback in callbacks],
    )  # fmt: skip


def unpack(arrays: Mapping[str, Array], text: str, source: str) -> Checkpoint:
    """What `Checkpoint.pack` gave; `source` is what to call it in an error message."""
    try:
        said = json.loads(text)
        tensors: dict[str, dict[str, Array]] = {"optimizer": {}, "history": {}}
        tensors |= {f"callback.{i}": state for i, state in enumerate(said["callbacks"])}
        for name, array in arrays.items():
            owner = next(owner for owner in tensors if name.startswith(f"{owner}."))
            tensors[owner][name.removeprefix(f"{owner}.")] = array
        checkpoint = Checkpoint(state=tensors["optimizer"], history=tensors["history"], **said)
        _check(checkpoint)
    except (AttributeError, KeyError, RecursionError, StopIteration, TypeError, ValueError) as error:
        raise FormatError(f"{source}: expected a checkpoint, got one that does not make sense: {error!r}") from error
    return checkpoint


def _check(checkpoint: Checkpoint) -> None:
    for name, most in ("epoch", 2**40), ("epochs", 2**40), ("steps", 2**63 - 1), ("seed", 2**63 - 1):
        _validate.integer(getattr(checkpoint, name), name, 0, most)
    asked, history = checkpoint.asked, checkpoint.history
    if sorted(asked["history"]) != sorted(history) or len(asked["callbacks"]) != len(checkpoint.callbacks):
        raise ValueError("expected a history and callbacks as they were asked for")
    if any(values.shape != (checkpoint.epoch,) or values.dtype != np.float64 for values in history.values()):
        raise ValueError("history: expected a number for each epoch")
    if "learning_rate" not in checkpoint.optimizer:
        raise ValueError("expected an optimizer with a learning rate")
    for name, vector in checkpoint.state.items():
        _validate.real(vector, name, vector.dtype)


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
