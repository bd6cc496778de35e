"""Losses of derivatives: residuals of differential equations, and targets for the derivatives of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import _validate
from .losses import Loss

__all__ = ["Differential", "Sobolev", "room_for", "total_of"]

Array = _validate.Array


class Part(NamedTuple):
    """A term of a loss on the rows of a batch that it is of."""

    term: int
    x: Array
    y: Array
    #: What each row counts for, the weight of the term included.
    share: Array


Term = Callable[..., tuple[Any, ...]]

#: Slices of a batch, whose gradients are summed apart, at most; rows of one at least, and bytes of all of them at most.
SLICES, SLICE_ROWS, SLICE_BYTES = 16, 64, 1 << 25


def room_for(rows: int, n: int) -> Array:
    """Zeros for the sums of the gradients of n parameters over so many rows."""
    return np.zeros((max(1, min(SLICES, rows // SLICE_ROWS, SLICE_BYTES // max(1, 8 * n))), n))


def total_of(sums: Array) -> Array:
    """The sum of the slices, in their order."""
    found: Array = np.add.accumulate(sums, axis=0)[-1] if len(sums) > 1 else sums[0]
    return found


def _terms(value: Any, name: str) -> tuple[Term, ...]:
    found = (value,) if callable(value) else tuple(_validate.items(value, name))
    if not found or not all(map(callable, found)):
        raise TypeError(f"{name}: expected a function, or some, got {_validate.shown(value)}")
    return found


def _orders(value: Any, name: str) -> int | tuple[int, ...]:
    if hasattr(value, "__iter__"):
        return tuple(_validate.integer(one, name, 0, 2) for one in _validate.items(value, name))
    return _validate.integer(value, name, 0, 2)


def _weights(value: Any, name: str) -> tuple[float, ...]:
    return tuple(_validate.not_negative(one, name) for one in _validate.items(value, name))


class Differential(Loss):
    """A loss of the outputs and of their derivatives with respect to the inputs: what solves differential equations.

    Parameters
    ----------
    function : callable or sequence of callable
        ``function(x, u, du, d2u) -> (values, d_u, d_du, d_d2u)``: from the inputs (batch, n_in), the outputs (batch,
        n_out) and their first and second derivatives (batch, n_out, n_in), the loss of each row (batch,), such as the
        square of what an equation leaves over, and its derivatives with respect to each of these, of their shapes; None
        where it depends on none of them. Of order 1 there are no d2u and d_d2u. Several functions are terms on rows of
        their own, such as the inside and the boundary: the targets y are the number of the term, for each row.
    order : {0, 1, 2} or sequence, default 2
        Up to which derivatives; one for each term, or one for all. Of order 0 the function takes and returns none.
    weights : sequence of float, optional
        What each term counts for; default 1. The loss is the weighted sum of their means.
    allow_zero_curvature : bool, default False
        As `Sequential.derivatives` takes it.

    Notes
    -----
    Given to `Sequential.fit`, `evaluate` and `value_and_gradient`; y is of no matter where there is one function: zeros
    will do. The derivatives are those of evaluation mode, for built-in layers. `LBFGS` takes it too.

    References
    ----------
    Raissi, Perdikaris, Karniadakis, "Physics-informed neural networks", Journal of Computational Physics 378, 2019.

    Examples
    --------
    >>> def oscillator(t, u, du, d2u):  # u'' + u = 0
    ...     r = d2u[:, :, 0] + u
    ...     return (r**2)[:, 0], 2 * r, None, 2 * r[:, :, None]
    >>> net = bp.Sequential([bp.Dense(1, 8, "tanh"), bp.Dense(8, 1)], rng=0)
    >>> t = np.linspace(0, 1, 20)[:, None]
    >>> history = net.fit(t, 0 * t, loss=bp.losses.Differential(oscillator), optimizer=bp.Adam(), epochs=3)
    """

    differential = True
    classifies = False
    _gates: ClassVar = {
        "function": _terms, "order": _orders,
        "weights": _validate.optional(_weights), "allow_zero_curvature": _validate.flag,
    }  # fmt: skip

    def __init__(
        self,
        function: Term | Sequence[Term],
        order: int | Sequence[int] = 2,
        *,
        weights: Sequence[float] | None = None,
        allow_zero_curvature: bool = False,
    ) -> None:
        super().__init__()
        self.function: Any = function
        self.order: Any = order
        self.weights = weights
        self.allow_zero_curvature = allow_zero_curvature
        for name, given in (("weights", self.weights), ("order", self.order)):
            if isinstance(given, tuple) and len(given) != len(self.terms):
                raise ValueError(f"{name}: expected {len(self.terms)}, one for each term, got {len(given)}")

    @property
    def terms(self) -> tuple[Term, ...]:
        """The functions."""
        found: Any = self.function
        return tuple(found)

    def __repr__(self) -> str:
        names = ", ".join(map(_name, self.terms))
        return f"Differential({names}, order={self.order})"

    def __call__(self, y_hat: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Array]:
        """Refuse: it needs the network."""
        raise TypeError(f"loss: expected one of outputs alone, got {self!r}, which a network's fit and evaluate take")

    # What training asks of it.

    def taken(self, y: Any, rows: int, n_in: int, n_out: int) -> Any:
        """The targets as one array: the number of the term of each row."""
        given = np.asarray(_validate.array(y, "y"))
        if len(self.terms) == 1:
            return given
        _validate.same_rows(rows, y=given)
        terms = given.reshape(rows, -1)
        if terms.shape[1] != 1 or not np.isin(terms, np.arange(len(self.terms))).all():
            raise ValueError(f"y: expected for each row the number of its term, 0 to {len(self.terms) - 1}, got others")
        return terms[:, 0].astype(np.int64)

    def parts(self, x: Array, y: Array, weights: Array | None) -> list[Part]:
        """The terms, each with rows of its own, and what each of these counts for."""
        counts = np.ones(len(x)) if weights is None else weights
        parts = []
        for term in range(len(self.terms)):
            rows = slice(None) if len(self.terms) == 1 else np.flatnonzero(y == term)
            own = counts[rows]
            if len(own) and own.sum() > 0:
                share = own / own.sum() * (1.0 if self.weights is None else self.weights[term])
                parts.append(Part(term, np.ascontiguousarray(x[rows]), y[rows], share))
        return parts

    def order_of(self, term: int) -> int:
        """Up to which derivatives a term goes."""
        order: int = self.order[term] if isinstance(self.order, tuple) else self.order
        return order

    def measure(self, part: Part, results: Sequence[Array]) -> tuple[float, list[Array | None]]:
        """The loss of a term, and its adjoints."""
        values, *slopes = self._rows(part, results)
        share, value = part.share, float((values * part.share).sum())
        dtype = part.x.dtype
        return value, [
            None if slope is None else np.multiply(slope, share.reshape(-1, *[1] * (slope.ndim - 1)), dtype=dtype)
            for slope in slopes
        ]

    def _rows(self, part: Part, results: Sequence[Array]) -> list[Any]:
        """What the function says of some rows, checked."""
        function, rows = self.terms[part.term], len(part.x)
        returned: Any = function(part.x, *results)
        if not isinstance(returned, (tuple, list)) or len(returned) != 1 + len(results):
            names = ", ".join(("values", "d_u", "d_du", "d_d2u")[: 1 + len(results)])
            raise TypeError(f"{_name(function)}: expected it to return ({names}), got {_validate.shown(returned)}")
        values = np.asarray(returned[0])
        if values.shape not in ((rows,), (rows, 1)):
            raise ValueError(
                f"{_name(function)}: expected values of shape ({rows},), one for each row, got {values.shape}"
            )
        found: list[Any] = [values.reshape(-1)]
        for result, given, word in zip(results, returned[1:], ("d_u", "d_du", "d_d2u"), strict=False):
            slope = None if given is None else np.asarray(given)
            if slope is not None and slope.shape != result.shape:
                raise ValueError(f"{_name(function)}: expected {word} of shape {result.shape}, got {slope.shape}")
            found.append(slope)
        return found


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", repr(function)))


class Sobolev(Differential):
    """l = 1/n_out sum (y_hat - y)^2 + weight / n_out sum (dy_hat - dy)^2: outputs and their derivatives are fitted.

    Its targets are a pair, ``net.fit(x, (y, dy), loss=bp.losses.Sobolev(), ...)``, with dy (batch, n_out, n_in), or
    (batch, n_in) where there is one output, the derivatives with respect to the inputs.

    Parameters
    ----------
    weight : float, default 1
        What the derivatives count for.

    References
    ----------
    Czarnecki et al., "Sobolev training for neural networks", NeurIPS 2017; in finance, "differential machine learning":
    Huge and Savine, arXiv:2005.02347, 2020.
    """

    _gates: ClassVar = {"weight": _validate.not_negative}

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(self._squares, 1)
        self.weight = weight

    def __repr__(self) -> str:
        return f"Sobolev({self.weight})"

    def _squares(self) -> Any:
        raise NotImplementedError

    def taken(self, y: Any, rows: int, n_in: int, n_out: int) -> Any:
        """The targets as one array: outputs, then derivatives."""
        if not isinstance(y, (tuple, list)) or len(y) != 2:
            raise TypeError(f"y: expected a pair (y, dy) with {self!r}, got {_validate.shown(y)}")
        found = []
        for part, name, width in zip(y, ("y", "dy"), (n_out, n_out * n_in), strict=True):
            given = _validate.real(_validate.array(part, name), name, np.float64)
            if given.size != rows * width or len(given) != rows:
                shape = (rows, n_out) if name == "y" else (rows, n_out, n_in)
                raise ValueError(f"{name}: expected an array of shape {shape}, got {given.shape}")
            found.append(given.reshape(rows, width))
        return np.concatenate(found, axis=1)

    def _rows(self, part: Part, results: Sequence[Array]) -> list[Any]:
        (u, du), y = results, part.y
        off, slope = u - y[:, : u.shape[1]], du - y[:, u.shape[1] :].reshape(du.shape)
        n_out, weight = u.shape[1], self.weight
        values = ((off**2).sum(axis=1) + weight * (slope**2).sum(axis=(1, 2))) / n_out
        return [values, 2 * off / n_out, 2 * weight * slope / n_out]
