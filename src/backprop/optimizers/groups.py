"""Parameter groups: tensors that step by other numbers than the rest, chosen by their names in a model file."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .. import _validate

__all__ = ["Factors", "Groups", "checked", "cut", "of"]

Groups = Mapping[str, Mapping[str, float]]


class Factors(NamedTuple):
    """What the numbers of an optimizer are multiplied by, for some tensors."""

    learning_rate: float = 1.0
    weight_decay: float = 1.0
    epsilon: float = 1.0


def checked(value: Any, takes: Collection[str]) -> Groups:
    """Factors by pattern, of what the optimizer takes."""
    if not isinstance(value, Mapping) or not all(isinstance(pattern, str) for pattern in value):
        got = _validate.shown(value)
        raise TypeError(f'groups: expected factors by pattern, {{"*.bias": {{"weight_decay": 0}}}}, say, got {got}')
    names = [name for name in Factors._fields if name in takes]
    return {pattern: _checked(given, f"groups[{pattern!r}]", names) for pattern, given in value.items()}


def _checked(given: Any, where: str, names: Collection[str]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{where}: expected factors by name, of {', '.join(names)}, got {_validate.shown(given)}")
    factors = {}
    for name, value in given.items():
        gate = _validate.positive if _validate.choice(name, where, names) == "epsilon" else _validate.not_negative
        factors[name] = gate(value, f"{where}: {name}")
    return factors


def of(groups: Groups, name: str) -> Factors:
    """Those of a tensor: the products over all patterns that match its name."""
    given = [factors for pattern, factors in groups.items() if fnmatchcase(name, pattern)]
    return Factors(*(math.prod(factors.get(kind, 1.0) for factors in given) for kind in Factors._fields))


def cut(groups: Groups, net: Any) -> tuple[list[Factors], tuple[tuple[int, int, int], ...]]:
    """The factors that there are in a network, and its trainable ranges cut by them: (begin, end, which of them).

    -1 is none of them: all of its factors are 1. Neighbours with the same factors are one range.
    """
    tensors = net._tensors()
    for pattern in groups:
        if not any(fnmatchcase(name, pattern) for name in tensors):
            names = ", ".join(tensors)
            names = names if len(names) <= 500 else f"{names[:400]}, ... {names[-50:]}"
            raise ValueError(f"groups: expected patterns that match some of {names}, got {pattern!r}: it matches none")
    found = {Factors(): -1}
    ranges: list[tuple[int, int, int]] = []
    for first, last in net.trainable_ranges:
        begun = len(ranges)
        for name, (begin, end) in tensors.items():
            if max(begin, first) < min(end, last):
                which = found.setdefault(of(groups, name), len(found) - 1)
                same = len(ranges) > begun and ranges[-1][2] == which
                begin = ranges.pop()[0] if same else max(begin, first)
                ranges.append((begin, min(end, last), which))
    return list(found)[1:], tuple(ranges)
