"""Parameter groups: tensors that step by other numbers than the rest, chosen by their names in a model file."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .. import _validate

__all__ = ["Factors", "Groups", "checked", "cut", "neural_tangent", "of"]

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


def neural_tangent(net: Any) -> dict[str, dict[str, float]]:
    """Parameter groups with which `AdamW` steps as if the dense layers were in neural tangent parametrization.

    There, z = x w / sqrt(n_in) + b, with weights of about 1 whatever the width. Steps of Adam are as large as the
    learning rate for any weight, so what they change of z does not grow with n_in. A `Dense` layer as it is has
    v = w / sqrt(n_in) for its weight: the same steps are those of v with a learning rate that is divided by sqrt(n_in),
    an epsilon that is multiplied by it, and a weight decay that is multiplied by it, since the learning rate multiplies
    it in turn. That is exact for `AdamW`, and for `Adam` without weight decay.

    Parameters
    ----------
    net : Sequential
        Weights that begin as ``lecun_normal`` are normal with variance 1 there.

    Returns
    -------
    dict of str to dict
        For ``groups``, a group for the weight of each `Dense` layer; others may be added, and multiply.

    References
    ----------
    Jacot, Gabriel, Hongler, "Neural tangent kernel: convergence and generalization in neural networks", NeurIPS 2018,
    section 2.

    Examples
    --------
    >>> net = bp.Sequential([bp.Dense(4, 8, "relu"), bp.Dense(8, 1)], rng=0)
    >>> bp.optimizers.neural_tangent(net)["0.weight"]
    {'learning_rate': 0.5, 'weight_decay': 2.0, 'epsilon': 2.0}
    >>> optimizer = bp.AdamW(0.01, groups={**bp.optimizers.neural_tangent(net), "*.bias": {"learning_rate": 0.1}})
    """
    if not hasattr(net, "graph"):
        raise TypeError(f"net: expected a network, a Sequential, got {_validate.shown(net)}")
    dense = (operation for operation in net.graph if operation.kind == "dense")
    roots = {f"{operation.name}.weight": math.sqrt(operation.n_in) for operation in dense}
    return {name: {"learning_rate": 1 / root, "weight_decay": root, "epsilon": root} for name, root in roots.items()}
