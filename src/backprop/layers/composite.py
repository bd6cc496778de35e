"""Layers that are made of chains of layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

from .. import _validate
from .base import (
    DEEPEST,
    Builder,
    Composite,
    Layer,
    chain,
    chain_inputs,
    connect_chain,
    from_description,
)
from .dense import Dense


class Residual(Composite):
    """y = x + f(x), a residual connection around a chain of layers f with as many outputs as inputs.

    Parameters
    ----------
    layers : sequence of Layer
        ``residual[0]`` is the first of them.

    References
    ----------
    He et al., "Deep residual learning for image recognition", CVPR 2016, eq. 1.
    """

    operation = "add"
    _fixed = ("layers",)

    n_in: int
    n_out: int

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = _compiled(chain(layers), self)
        self.depth = _depth(self.layers)

    def __getitem__(self, i: int) -> Layer:
        return self.layers[i]

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """Those of its layers."""
        for i, layer in enumerate(self.layers):
            for path, leaf in layer.leaves():
                yield (i, *path), leaf

    def required_inputs(self) -> int | None:
        """What its layers need."""
        return chain_inputs(self.layers)

    def connect(self, n: int) -> int:
        """Its layers must have as many outputs as inputs."""
        after = connect_chain(self.layers, n)
        if after != n:
            raise ValueError(
                f"layers: {self!r} expected layers with as many outputs as inputs, got {n} inputs and {after} outputs"
            )
        self.n_in = self.n_out = n
        return n

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """Those of its layers, and a sum."""
        return graph.add(self, name, graph.chain(self.layers, source, f"{name}."), source, part=True)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Residual:
        """Build a layer from what `config` returned."""
        return cls(**{**config, "layers": [from_description(*given) for given in config["layers"]]})


class Concatenate(Composite):
    """y = f(x), g(x)... side by side: branches that all take the same inputs.

    Parameters
    ----------
    branches : sequence of sequences of Layer
        An empty branch is x itself. ``concatenate[1][0]`` is the first layer of the second branch.
    """

    operation = "concatenate"
    _fixed = ("branches",)

    n_in: int
    n_out: int

    def __init__(self, branches: Sequence[Sequence[Layer]]) -> None:
        self.branches = tuple(_compiled(chain(b, "branches"), self) for b in _validate.items(branches, "branches"))
        chain([layer for branch in self.branches for layer in branch], "branches")  # none twice
        if len(self.branches) < 2:
            raise ValueError(f"branches: expected at least two, got {len(self.branches)}")
        self.depth = _depth(layer for branch in self.branches for layer in branch)

    def __getitem__(self, i: int) -> tuple[Layer, ...]:
        return self.branches[i]

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """Those of its branches."""
        for b, branch in enumerate(self.branches):
            for i, layer in enumerate(branch):
                for path, leaf in layer.leaves():
                    yield (b, i, *path), leaf

    def required_inputs(self) -> int | None:
        """The inputs of the first branch that fixes them."""
        return next((n for n in map(chain_inputs, self.branches) if n is not None), None)

    def multiplier(self) -> int:
        """The sum of those of its branches."""
        return sum(math.prod(layer.multiplier() for layer in branch) for branch in self.branches)

    def connect(self, n: int) -> int:
        """All branches take the same inputs; their outputs lie side by side."""
        self.n_in, self.n_out = n, sum(connect_chain(branch, n) for branch in self.branches)
        return self.n_out

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """Those of its branches, and their outputs side by side."""
        ends = [graph.chain(branch, source, f"{name}.{b}.") for b, branch in enumerate(self.branches)]
        return graph.add(self, name, *ends, part=True)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Concatenate:
        """Build a layer from what `config` returned."""
        return cls(**{**config, "branches": [[from_description(*g) for g in b] for b in config["branches"]]})

    @property
    def ordered(self) -> int:
        """How many outputs rise, side by side: what all branches end in."""
        found = {getattr(branch[-1], "ordered", 0) if branch else 0 for branch in self.branches}
        return found.pop() if len(found) == 1 else 0


class Ordered(Composite):
    """Outputs that rise: y_1 = z_1 and y_k = y_k-1 + softplus(z_k), with z = x w + b.

    The end of a network that predicts quantiles, under ``Quantile(q, crossing=False)``: whatever is learned, none is
    below that of a lower level. For several targets, one for each, side by side: ``Concatenate([[Ordered(64, 3)],
    [Ordered(64, 3)]])``.

    Parameters
    ----------
    n_in, n_out : int
        Inputs, and outputs: at least 2.
    weight_init, bias_init, l1, l2
        As `Dense` takes them.

    Notes
    -----
    ``layer[k]`` is the `Dense` of one output that gives z_k or, from the second on, its softplus.
    """

    operation = "concatenate"
    depth = 2
    _fixed = ("n_in", "n_out", "weight_init", "bias_init", "l1", "l2")
    _gates: ClassVar = {"n_in": _validate.integer, "n_out": partial(_validate.integer, least=2, most=2**10)}

    n_in: int
    n_out: int

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        weight_init: str = "glorot_uniform",
        bias_init: str = "zeros",
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self.n_in = n_in
        self.n_out = n_out
        self.weight_init = weight_init
        self.bias_init = bias_init
        self.l1 = l1
        self.l2 = l2
        how: dict[str, Any] = {"weight_init": weight_init, "bias_init": bias_init, "l1": l1, "l2": l2}
        ends = ["identity"] + ["softplus"] * (self.n_out - 1)
        self._layers = tuple(Dense(self.n_in, 1, end, **how) for end in ends)
        self._sum = Residual([])
        self._sum.connect(1)

    def __getitem__(self, k: int) -> Dense:
        return self._layers[k]

    @property
    def ordered(self) -> int:
        """How many outputs rise, side by side."""
        return self.n_out

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """A dense layer for each output."""
        for k, layer in enumerate(self._layers):
            yield (k,), layer

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """Their outputs, each added to the sum of those before, side by side."""
        found = [graph.add(layer, f"{name}.{k}", source) for k, layer in enumerate(self._layers)]
        for k in range(1, len(found)):
            found[k] = graph.add(self._sum, f"{name}.{k}.sum", found[k], found[k - 1], part=True)
        return graph.add(self, name, *found, part=True)


def _compiled(layers: tuple[Layer, ...], owner: Layer) -> tuple[Layer, ...]:
    for layer in layers:
        if not layer.compiled:
            raise TypeError(f"layers: expected built-in layers within {type(owner).__name__}, got {layer!r}")
    return layers


def _depth(layers: Iterable[Layer]) -> int:
    """How many levels of nested layers there are in these."""
    found = 1 + max((layer.depth for layer in layers if isinstance(layer, Composite)), default=0)
    if found > DEEPEST:
        raise ValueError(f"layers: expected at most {DEEPEST} levels of nested layers, got {found}")
    return found
