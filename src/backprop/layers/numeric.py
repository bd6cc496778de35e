"""Embeddings of numeric features: of each column several numbers, which a dense layer tells apart more easily."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import _validate, activations
from .base import Array, Builder, Composite, Layer

#: Bins that a column has at most.
MOST_BINS = 1024


class _Part(Layer):
    """One of the operations that an embedding is made of."""

    n_in: int
    n_out: int
    weight: Array
    bias: Array

    def __init__(self, n_in: int, n_out: int, **attributes: Any) -> None:
        self.n_in, self.n_out = n_in, n_out
        vars(self).update(attributes)

    @classmethod
    def _arguments(cls) -> Mapping[str, Any]:
        return {}


class _Periodic(_Part):
    """Waves of columns: y = cos(2 pi w x + b), or without b."""

    operation = "periodic"
    attributes = ("waves",)

    #: Column, how many waves, their row of the weight, and by how many quarters of a turn they are ahead; 0: x itself.
    waves: Sequence[tuple[int, int, int, int]]
    shape: tuple[int, ...]
    phases: bool
    sigma: float

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight`, the frequencies of each column, and `bias`, their phases."""
        return dict.fromkeys(("weight", "bias")[: 1 + self.phases], self.shape)

    def initialize(self, rng: np.random.Generator) -> None:
        """Frequencies from a normal distribution, phases from all round."""
        self.weight[...] = rng.normal(0, self.sigma, self.shape)
        if self.phases:
            self.bias[...] = rng.uniform(-math.pi, math.pi, self.shape)


class _Encoding(_Part):
    """Bins of columns: for each bin, the share of it that lies below x."""

    operation = "piecewise_linear"
    attributes = ("bins",)

    #: Column, and how many bins; 0: x itself.
    bins: Sequence[tuple[int, int]]
    edges: Array
    bin_edges: Array

    def buffers(self) -> dict[str, tuple[int, ...]]:
        """`bin_edges`, of one column after the other."""
        return {"bin_edges": self.edges.shape} if self.edges.size else {}

    def initialize(self, rng: np.random.Generator) -> None:
        """The edges that it was built with."""
        if self.edges.size:
            self.bin_edges[...] = self.edges


class _Grouped(_Part):
    """A dense layer for each of some groups of inputs, with outputs of its own."""

    operation = "grouped_dense"
    attributes = ("groups",)

    #: Inputs, and outputs of their dense layer; 0: they go on as they are.
    groups: Sequence[tuple[int, int]]
    bound: float
    #: Whether in each group all rows of the weight but the last are 0 at first.
    sparse: bool

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight`, the rows of one group after the other, and `bias`, a row for each."""
        dense = [(n, width) for n, width in self.groups if width]
        return {"weight": (sum(n for n, _ in dense), dense[0][1]), "bias": (len(dense), dense[0][1])}

    def initialize(self, rng: np.random.Generator) -> None:
        """Weight, then bias, uniform."""
        self.weight[...] = rng.uniform(-self.bound, self.bound, self.weight.shape)
        self.bias[...] = rng.uniform(-self.bound, self.bound, self.bias.shape)
        at = 0
        for n, width in self.groups if self.sparse else ():
            if width:
                self.weight[at : at + n - 1] = 0
                at += n


class _Embedding(Composite):
    """A chain of such parts."""

    _fixed: ClassVar[Sequence[str]] = ("n_in", "n_out", "parts")

    n_in: int
    n_out: int
    parts: tuple[_Part, ...]

    def _consist(self, *parts: _Part) -> None:
        self.parts = parts
        self.n_out = parts[-1].n_out

    def __getitem__(self, i: int) -> Layer:
        return self.parts[i]

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Layer]]:
        """Its parts."""
        for i, part in enumerate(self.parts):
            yield (i,), part

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """Those of its parts, one after the other."""
        return graph.chain(self.parts, source, f"{name}.")


#: Of each variant of a periodic embedding: waves and outputs of each column, and the deviation of the frequencies.
_VARIANTS = {"pbld": (16, 4, 0.1), "plr": (48, 24, 0.01)}


class PeriodicEmbedding(_Embedding):
    """Waves of each numeric column, with trainable frequencies, and a small dense layer for each column behind them.

    Of a column x, with w, b, W and c of its own::

        "pbld"   [cos(2 pi w x + b) W + c, x]                  periodic, bias, linear, densely connected
        "plr"    relu([cos(2 pi w x), sin(2 pi w x)] W + c)    periodic, linear, ReLU

    Parameters
    ----------
    n_in : int
        Columns.
    variant : {"pbld", "plr"}, default "pbld"
    n_frequencies : int, optional
        w of each column; default 16 for "pbld", 48 for "plr".
    width : int, optional
        Outputs for each column, of "pbld" with x itself; default 4 for "pbld", 24 for "plr".
    sigma : float, optional
        Standard deviation of the initial frequencies; default 0.1 for "pbld", 0.01 for "plr".
    columns : sequence of int, optional
        Which columns are embedded, of "pbld": the others pass through, in their places. Default: all.

    Attributes
    ----------
    parts : tuple of Layer
        The first has the frequencies w in its `weight` and, of "pbld", the phases b in its `bias`, a row for each
        column. The second has W of one column after the other in its `weight`, and c in its `bias`, a row for each
        column. ``embedding[0]`` is the first; in a model file it is "0.0.weight" where this layer is the first.

    Notes
    -----
    The outputs for a column lie side by side. Columns should be about as large as standardized ones. With a larger
    sigma it follows targets that change faster with a column, and noise, too. Frequencies are normal at first, phases
    uniform from -pi to pi, W and c uniform, at most 1 / sqrt(inputs of W), as in the references.

    References
    ----------
    .. [1] Holzmüller, Grinsztajn, Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
       data", NeurIPS 2024: "pbld".
    .. [2] Gorishniy, Rubachev, Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022,
       section 3.3: "plr".

    Examples
    --------
    >>> net = bp.Sequential([bp.PeriodicEmbedding(8), bp.Dense(32, 64, "relu"), bp.Dense(64, 1)], rng=0)
    """

    operation = "periodic"
    _gates: ClassVar = {
        "n_in": _validate.integer, "variant": lambda value, name: _validate.choice(value, name, _VARIANTS),
        "n_frequencies": _validate.optional(_validate.integer), "width": _validate.optional(_validate.integer),
        "sigma": _validate.optional(_validate.positive),
    }  # fmt: skip
    _fixed: ClassVar = (*_Embedding._fixed, "variant", "n_frequencies", "width", "sigma", "columns")
    _positional = 2

    def __init__(
        self,
        n_in: int,
        variant: str = "pbld",
        *,
        n_frequencies: int | None = None,
        width: int | None = None,
        sigma: float | None = None,
        columns: Sequence[int] | None = None,
    ) -> None:
        self.n_in = n_in
        self.variant = variant
        self.n_frequencies = n_frequencies
        self.width = width
        self.sigma = sigma
        self.columns = None if columns is None else _columns(columns, self.n_in)
        given = self.n_frequencies, self.width, self.sigma
        n, outputs, deviation = (
            default if own is None else own for own, default in zip(given, _VARIANTS[variant], strict=True)
        )
        self._consist(*self._parts(int(n), int(outputs), float(deviation)))

    def _parts(self, n: int, width: int, sigma: float) -> tuple[_Part, _Part]:
        waves: list[tuple[int, int, int, int]] = []
        groups: list[tuple[int, int]] = []
        densely, embedded = self.variant == "pbld", range(self.n_in) if self.columns is None else self.columns
        if densely and width < 2:
            raise ValueError(f"width: expected at least 2, of which x itself is one, got {width}")
        if not densely and len(embedded) < self.n_in:
            cure = 'leave columns out, or take "pbld"'
            raise ValueError(f"columns: expected all with {self.variant!r}, whose ReLU is for all outputs, got {cure}")
        rows = {column: row for row, column in enumerate(embedded)}
        for column in range(self.n_in):
            row = rows.get(column)
            if row is not None:
                waves += [(column, n, row, 0)] if densely else [(column, n, row, 0), (column, n, row, -1)]
                groups.append((n, width - 1) if densely else (2 * n, width))
            if row is None or densely:
                waves.append((column, 0, 0, 0))
                groups.append((1, 0))
        between = sum(max(1, count) for _, count, _, _ in waves)
        bound = math.sqrt(1 / (n if densely else 2 * n))
        first = _Periodic(
            self.n_in, between, waves=tuple(waves), shape=(len(rows), n), phases=densely, sigma=sigma
        )  # fmt: skip
        last = _Grouped(
            between, sum(out or count for count, out in groups), groups=tuple(groups), bound=bound, sparse=False
        )  # fmt: skip
        last.activation = activations.identity if densely else activations.relu
        return first, last


def _columns(value: Any, n: int) -> tuple[int, ...]:
    """Some of so many columns, each once."""
    columns = tuple(_validate.integer(column, "columns", 0, n - 1) for column in _validate.items(value, "columns"))
    if not columns or len({*columns}) < len(columns):
        raise ValueError(f"columns: expected at least one, and none twice, got {_validate.shown(list(columns))}")
    return tuple(sorted(columns))


class PiecewiseLinearEmbedding(_Embedding):
    """Each numeric column by its bins: a number for each bin, of which most are 0 or 1.

    Between the edges of the bin that x is in, its number grows from 0 to 1 with x; it is 1 for the bins below x and 0
    for those above. The first and the last bin go on beyond their outer edge. ::

        without a width   e(x)
        with a width      x w + b + e(x) W

    Parameters
    ----------
    edges : sequence of array_like, int or None
        For each column the edges of its bins, ascending, one more than there are bins. `preprocessing.quantile_edges`
        and `preprocessing.tree_edges` find some. An int is the number of bins, equally wide from 0 to 1, for edges that
        are to be set later; None lets the column pass through as it is.
    width : int, optional
        So many outputs for each column, by a small dense layer for each.

    Attributes
    ----------
    edges : list of numpy.ndarray or None
        As they are now. They are not trained; ``embedding[0].bin_edges`` holds them, column by column.
    parts : tuple of Layer
        With a width, the second has a `weight` of a row for each bin and one for x behind them, column by column, and a
        `bias` of a row for each column.

    Notes
    -----
    What follows a bin's edge and what comes before it have slopes of their own: a dense layer on top of the encoding
    is piecewise linear in each column, and can follow a target that changes abruptly. The encoding is not written out
    where a `Dense` layer takes it: of each column it adds the sum of the weights below x, and a share of one more. So
    the time does not depend on the number of bins.

    With a width, w and b are uniform at first, at most 1 / sqrt(width), and W is 0, as in "version B" of the authors'
    package; a width of 12 to 16 is usual.

    References
    ----------
    Gorishniy, Rubachev, Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022,
    section 3.2.

    Examples
    --------
    >>> edges = [[0, 1, 10, 100], None]  # three bins for the first column; the second passes through
    >>> net = bp.Sequential([bp.PiecewiseLinearEmbedding(edges), bp.Dense(4, 1)], rng=0)
    >>> net[:1].predict([[0.25, 7.0], [28.0, 7.0]])
    array([[0.25, 0.  , 0.  , 7.  ],
           [1.  , 1.  , 0.2 , 7.  ]], dtype=float32)
    """

    operation = "piecewise_linear"
    _gates: ClassVar = {"width": _validate.optional(_validate.integer)}
    _fixed: ClassVar = (*_Embedding._fixed, "width")

    def __init__(self, edges: Sequence[Any], width: int | None = None) -> None:
        self.width = width
        self._edges = found = [
            _edges(each, f"edges of column {i}") for i, each in enumerate(_validate.items(edges, "edges"))
        ]
        if not found:
            raise ValueError("edges: expected those of at least one column, got an empty list")
        self.n_in = len(found)
        self._bins = tuple(None if each is None else each.size - 1 for each in found)
        bins: list[tuple[int, int]] = []
        for column, count in enumerate(self._bins):
            bins += [(column, count), (column, 0)] if count and self.width else [(column, count or 0)]
        encoding = _Encoding(
            self.n_in, sum(count or 1 for _, count in bins), bins=tuple(bins),
            edges=np.concatenate([each for each in found if each is not None] or [np.empty(0)]),
        )  # fmt: skip
        self._consist(encoding, *self._dense(encoding.n_out))

    def _dense(self, n: int) -> list[_Part]:
        """The small dense layers, where there are such."""
        if not self.width or not any(self._bins):
            return []
        groups = tuple((count + 1, self.width) if count else (1, 0) for count in self._bins)
        bound = 1 / math.sqrt(self.width)
        return [_Grouped(n, sum(out or 1 for _, out in groups), groups=groups, bound=bound, sparse=True)]

    @property
    def edges(self) -> list[Array | None]:
        """Those of each column; None where it passes through."""
        encoding: Any = self.parts[0]
        if not encoding._bound:
            return self._edges
        found: list[Array | None] = []
        at = 0
        for count in self._bins:
            found.append(None if count is None else encoding.bin_edges[at : at + count + 1].copy())
            at += 0 if count is None else count + 1
        return found

    def _values(self) -> dict[str, Any]:
        """The edges are numbers of the network, as weights are: what it is built with is how many bins there are."""
        return {"edges": self._bins, "width": self.width}

    def _shown(self, value: Any) -> Any:
        return list(self._bins) if isinstance(value, list) else value

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PiecewiseLinearEmbedding:
        """Build a layer from what `config` returned."""
        return cls(**config)


def _edges(value: Any, name: str) -> Array | None:
    """The edges of a column, as they are given or for a number of bins."""
    if value is None:
        return None
    if isinstance(value, (int, np.integer)):
        return np.linspace(0, 1, 1 + _validate.integer(value, name, 1, MOST_BINS))
    edges = _validate.real(_validate.array(value, name), name, np.float64)
    if edges.ndim != 1 or not 2 <= edges.size <= MOST_BINS + 1:
        raise ValueError(f"{name}: expected 2 to {MOST_BINS + 1} numbers in a row, got shape {edges.shape}")
    wrong = np.flatnonzero(np.diff(edges) <= 0)
    if wrong.size:
        at = int(wrong[0])
        got = f"{edges[at]} and then {edges[at + 1]} at {at + 1}"
        raise ValueError(f"{name}: expected ascending numbers, got {got}: sort them, and leave out those that repeat")
    return edges
