"""What comes of comparing the numbers of a trace with others: with finite differences, or with those of a reader."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import _display, _validate
from .differences import relative_errors
from .formulas import number

__all__ = ["Comparison", "TraceCheck", "Verdict", "compared"]

Array = _validate.Array
#: Of a check, in a notebook.
MOST_ROWS = 100


class TraceCheck:
    """Each gradient beside a finite difference.

    Attributes
    ----------
    pairs : dict of str to (numpy.ndarray, numpy.ndarray)
        The gradient by backpropagation, and the one by differences, by the name of the parameter, or "dx".
    errors : dict of str to numpy.ndarray
        The relative error of each number, |a - n| / max(|a|, |n|, floor), with a hundredth of the largest gradient for
        the floor.
    error : float
        The largest.
    """

    def __init__(self, pairs: Mapping[str, tuple[Array, Array]]) -> None:
        self.pairs = dict(pairs)
        flat = [np.concatenate([pair[i].ravel() for pair in self.pairs.values()]) for i in range(2)]
        errors, at = relative_errors(*flat), 0
        self.error = float(errors.max(initial=0))
        self.errors: dict[str, Array] = {}
        for name, (gradient, _) in self.pairs.items():
            self.errors[name] = errors[at : at + gradient.size].reshape(gradient.shape)
            at += gradient.size

    def __float__(self) -> float:
        return self.error

    def __str__(self) -> str:
        rows = [("gradient of", "backpropagation", "difference", "relative error"), *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [" ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([*lines, f"largest relative error: {self.error:.2g}"])

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        for name, (gradient, numeric) in self.pairs.items():
            for place in np.ndindex(gradient.shape):
                where = f"{name}[{','.join(map(str, place))}]"
                yield where, number(gradient[place]), number(numeric[place]), f"{self.errors[name][place]:.2g}"

    def _repr_html_(self) -> str:
        header = "gradient of", "backpropagation", "difference", "relative error"
        rows = [*itertools.islice(self._rows(), MOST_ROWS)]
        left_out = sum(gradient.size for gradient, _ in self.pairs.values()) - len(rows)
        rows += [(f"and {left_out:,} others", "", "", "")] * bool(left_out)
        return _display.table(header, [*rows, ("the largest", "", "", f"{self.error:.2g}")])

    def __repr__(self) -> str:
        return f"<TraceCheck of {len(self.pairs)} gradients: largest relative error {self.error:.2g}>"


class Verdict(NamedTuple):
    """How near some numbers are: "exact", "approximate" or "different"; by how much, and where the most."""

    verdict: str
    difference: float
    place: tuple[int, ...]

    def __str__(self) -> str:
        if self.verdict == "exact":
            return "exact"
        where = f" at [{', '.join(map(str, self.place))}]" if self.place else ""
        return f"{self.verdict}, off by {'up to ' * bool(self.place)}{self.difference:.3g}{where}"


class Comparison(dict[str, Verdict]):
    """Verdicts by name; printed, a line for each."""

    def _repr_html_(self) -> str:
        return _display.table(("numbers", "verdict"), [(name, str(verdict)) for name, verdict in self.items()])

    def __str__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:<{width}}  {verdict}" for name, verdict in self.items())


def compared(pairs: Mapping[str, tuple[Any, Array]], tolerance: float) -> Comparison:
    """What is given beside what is right."""
    return Comparison({name: _verdict(name, given, right, tolerance) for name, (given, right) in pairs.items()})


def _verdict(name: str, given: Any, right: Array, tolerance: float) -> Verdict:
    array = _validate.array(given, name)
    if array.shape != right.shape:
        raise ValueError(f"{name}: expected numbers of shape {right.shape}, got {array.shape}")
    mine, true = (_validate.real(each, name, np.float64) for each in (array, np.asarray(right)))
    off = abs(mine - true)
    place = tuple(int(i) for i in np.unravel_index(off.argmax(), off.shape)) if off.size else ()
    worst = float(off.max(initial=0))
    near = worst <= tolerance * float(abs(true).max(initial=0))
    return Verdict("exact" if worst == 0 else "approximate" if near else "different", worst, place)
