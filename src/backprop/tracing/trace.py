"""`Trace`: every number of one training step."""

from __future__ import annotations

import copy
import fnmatch
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import _validate
from ..io import atomic
from ..program import data as gate
from ..program.data import Data
from ..program.objective import Objective
from ..program.probe import Probe
from ..program.storage import unchanged
from . import chain, page, record, text
from .differences import central_differences
from .record import Places, Step
from .verdicts import Comparison, TraceCheck, compared

__all__ = ["MOST_ROWS", "Trace", "trace"]

Array = _validate.Array
#: More rows are not traced.
MOST_ROWS = 64


def trace(
    net: Any, x: Any, y: Any, loss: Any, *, optimizer: Any = None, sample_weight: Any = None, training: bool = True,
    most: int = MOST_ROWS,
) -> Trace:  # fmt: skip
    """See `Sequential.trace`; of so many rows at most."""
    mode = record.Mode(net.seed, net.steps, _validate.flag(training, "training"))
    if not mode.training:
        net._check_statistics()
        if optimizer is not None:
            got = _validate.shown(optimizer)
            raise ValueError(
                f"optimizer: expected none with training=False, since it steps in training mode, got {got}"
            )
    objective = net._objective(loss)
    data = gate.rows(net._inputs, objective, x, y, sample_weight)
    if len(data) > most:
        raise ValueError(f"x: expected at most {most} rows to trace, got {len(data)}: take some, x[:4], y[:4]")
    graph = net.graph
    with net._training.shared(), unchanged(net):
        before = net.buffers.copy()
        found = record.run(net, graph, objective, data, mode)
        net.buffers[...] = before
        update = None if optimizer is None else record.update(net, optimizer, found, data, objective)
    return Trace(net, objective, data, found, update, mode)


class Trace:
    """Every number of one training step on a few rows: forward, loss, backward, update; or of evaluation mode.

    `Sequential.trace` makes it. All numbers are those of the compiled core, to the last bit. Printed, it is a worked
    example; long layers are shortened, and `table` shows all of them.

    Attributes
    ----------
    value : float
        The loss, with the penalties of the layers: what `Sequential.value_and_gradient` returns.
    losses : numpy.ndarray or None
        The loss of each row, before its weight; None where a called loss does not tell.
    steps : dict of str to Step
        What each operation of ``net.graph`` has computed, by its name; ``trace["1"]`` is one of them. A step has
        ``inputs``, ``z``, ``slope``, ``output``, ``dy`` and ``delta``, which is dE/dz.
    gradients : dict of str to numpy.ndarray
        By the names in a model file: "0.weight".
    dx : numpy.ndarray, shape (rows, n_in)
        The gradient with respect to the input.
    update : Update or None
        The optimizer's step, where one was given: ``number``, ``learning_rate``, and its state ``before`` and ``after``
        and the new ``parameters`` as flat vectors.
    values : dict of str to numpy.ndarray
        All of these by name: "input", "0.z", "0.slope", "0.output", "0.dy", "0.delta", "0.weight", "0.weight.gradient",
        "0.weight.step", "0.weight.new", "0.weight.momentum.before" and ".after", "losses", "loss", "dx"; and, where
        there are such, "1.mask", "1.mean", "1.variance", "1.running_mean.before".
    """

    def __init__(
        self, net: Any, objective: Objective, data: Data, found: record.Pass, update: record.Update | None,
        mode: record.Mode,
    ) -> None:  # fmt: skip
        self.net, self.objective, self.data, self.update = net, objective, data, update
        self.value, self.losses, self.penalty = found.value, found.losses, found.penalty
        self.steps, self.dx = found.steps, found.dx
        self._pass, self._parameters = found, net.parameters.copy()
        self._buffers, self._mode = net.buffers.copy(), mode
        self.graph, self.feature_names = net.graph, net.feature_names
        places = Places(net, self.graph)
        self.parameters, self.gradients = places.of(self._parameters), places.of(found.gradients)
        self.values: dict[str, Array] = dict(self._named(places))

    def _named(self, places: Places) -> Iterator[tuple[str, Array]]:
        yield "input", self.data.x.copy()
        for name, step in self.steps.items():
            found = {"z": step.z, "slope": step.slope, "output": step.output, "dy": step.dy, "delta": step.delta}
            for word, array in {**found, **step.more}.items():
                if array is not None:
                    yield f"{name}.{word}", array
        vectors: dict[str, Array] = {"": self._parameters, ".gradient": self._pass.gradients}
        if self.update is not None:
            vectors |= {".step": self.update.parameters - self._parameters, ".new": self.update.parameters}
            for when, state in ("before", self.update.before), ("after", self.update.after):
                vectors |= {f".{slot}.{when}": vector for slot, vector in state.items()}
        for word, vector in vectors.items():
            if vector.shape == self._parameters.shape:
                yield from ((name + word, array) for name, array in places.of(vector).items())
        if self.losses is not None:
            yield "losses", self.losses
        yield "loss", np.array(self.value)
        yield "dx", self.dx

    def __getitem__(self, name: str) -> Step:
        return self.steps[_validate.choice(name, "name", self.steps)]

    def __str__(self) -> str:
        return text.worked(self)

    def __repr__(self) -> str:
        updated = "" if self.update is None else f", {self.update.optimizer!r}"
        rows = f"{len(self.data)} row{'s' * (len(self.data) > 1)}"
        how = "" if self.training else " in evaluation mode"
        return f"<Trace of {rows}{how}, {self.objective.loss!r}{updated}: loss {self.value:.6g}>"

    @property
    def training(self) -> bool:
        """Whether it is of training mode; else of evaluation mode."""
        return self._mode.training

    def _repr_html_(self) -> str:
        return page.fragment(self)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page that needs no other file: a drawing of the network whose units and weights open their formulas.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced. Of wide layers, the first and the last units are drawn.
        """
        atomic.write(path, page.page(self).encode())

    def table(self, *names: str) -> str:
        """All numbers, or those of some names, in full.

        Parameters
        ----------
        *names : str
            Of ``values``; "1.*" is all of operation 1. Default: all.

        Returns
        -------
        str
        """
        for given in names:
            text.place(given)  # which refuses what is no name
        chosen = [name for name in self.values if any(fnmatch.fnmatchcase(name, given) for given in names or "*")]
        for given in names:
            if not fnmatch.filter(chosen, given):
                raise ValueError(f"name: expected one of {', '.join(self.values)}, got {given!r}")
        return "\n\n".join(f"{name} {self.values[name].shape}\n{text.whole(self.values[name])}" for name in chosen)

    def to_dict(self) -> dict[str, Any]:
        """All numbers by name, as lists that JSON can hold.

        Returns
        -------
        dict of str to float or list
        """
        return {name: array.tolist() for name, array in self.values.items()}

    def explain(self, name: str) -> str:
        """The chain rule for one number, factor by factor, with the numbers put in.

        Parameters
        ----------
        name : str
            A weight, "0.weight[0,1]": its gradient, from the loss back, and its update. Or "1.delta[0,1]", "1.dy[0,1]",
            "1.z[0,1]", "1.output[0,1]": row, then unit.

        Returns
        -------
        str
        """
        return chain.explained(self, name)

    def check(self) -> TraceCheck:
        """Compare each gradient with a central finite difference of the loss, (E(p + h) - E(p - h)) / 2h.

        It takes two forward passes for each parameter and each input: on small networks a moment.

        Returns
        -------
        TraceCheck
            Printed, both numbers of each gradient, of the parameters and of the input; ``error`` is the largest
            relative error. In float32 few digits agree.
        """
        net, rows = self.net, copy.copy(self.data)
        rows.x = self.data.x.copy()
        with net._training.shared(), unchanged(net):
            net.parameters[...], net.buffers[...] = self._parameters, self._buffers
            probe = Probe(self.graph, net._storage, self.objective.on_logits)

            def value() -> float:
                return record.value(probe, self.objective, rows, self._mode)

            numeric = Places(net, self.graph).of(central_differences(net.parameters, value))
            if not self.graph.tables:  # where inputs name rows of a table, there is no derivative
                numeric["dx"] = central_differences(rows.x.reshape(-1), value).reshape(rows.x.shape)
        found = {**self.gradients, "dx": self.dx}
        return TraceCheck({name: (found[name], array) for name, array in numeric.items()})

    def compare(self, given: Mapping[str, Any], *, tolerance: float = 1e-5) -> Comparison:
        """Compare numbers that were computed elsewhere, by hand for one, with those of the trace.

        Parameters
        ----------
        given : mapping of str to array_like
            By the names of ``values``: ``{"1.delta": [[0.138, -0.038]]}``; or one number, "0.weight.gradient[0,1]".
        tolerance : float, default 1e-5
            What is approximately equal: within this share of the largest number.

        Returns
        -------
        Comparison
            A dict of verdicts, "exact", "approximate" or "different", each with the largest difference. Printed, a line
            for each.
        """
        if not isinstance(given, Mapping):
            raise TypeError(f"values: expected a dict of names and numbers, got {_validate.shown(given)}")
        pairs = {name: (values, self.at(name)) for name, values in given.items()}
        return compared(pairs, _validate.number(tolerance, "tolerance", least=0))

    def at(self, name: str) -> Array:
        """The numbers of a name of ``values``, or one of them, "0.weight[0,1]".

        Parameters
        ----------
        name : str

        Returns
        -------
        numpy.ndarray
        """
        plain, place = text.place(name)
        found = self.values[_validate.choice(plain, "name", self.values)]
        if place is None:
            return found
        if len(place) != found.ndim or any(not 0 <= i < n for i, n in zip(place, found.shape, strict=True)):
            raise ValueError(f"{plain}: expected a place within its shape {found.shape}, got {list(place)}")
        return np.asarray(found[place])
