"""Figures of the loss around a network, and of the way that its training took there."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _validate
from .._display import logarithmic
from ..program import data as gate
from ..program.objective import Objective
from ..program.storage import unchanged
from .figures import BLUE, ORANGE, Array, axes, network, plain

__all__ = ["loss_landscape"]

#: Points of a line, and to a side of a plane; how far beyond a path is drawn, as a share of it.
LINE, PLANE, MARGIN = 61, 31, 0.2


def loss_landscape(
    net: Any, x: Any, y: Any, loss: Any, *, dimensions: int = 2, path: Any = None, span: float = 1.0,
    points: int | None = None, sample_weight: Any = None, rng: Any = 0, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw the loss around a network: along a random direction in the space of its weights, or over a plane of two.

    The directions are filter-normalised: the part of each unit's weights is as long as these weights are, so the
    pictures of networks with larger and smaller weights can be compared. Biases, the parameters of norms and frozen
    layers stay as they are.

    Parameters
    ----------
    net : Sequential
        In evaluation mode, batch norms by their running statistics; it is the same afterwards.
    x, y, loss, sample_weight
        As `Sequential.fit` takes them; some hundred rows tell enough.
    dimensions : {1, 2}, default 2
        A line, or a plane.
    path : dict of int or str to Sequential, or sequence of array_like, shape (n_parameters,), optional
        What the network was on the way, as `Snapshots` keeps it, or the parameters: the way is drawn too. Random
        directions do not show it, so the directions are its principal components then.
    span : float, default 1.0
        How far to go in each direction, there and back, in lengths of the weights; with a path, it decides.
    points : int, optional
        How many to compute in each dimension, at least 3. Default: 61 for a line, 31 for a plane.
    rng : int, numpy.random.Generator or None, default 0
        Where the directions come from.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The loss that is trained on, with the penalties of the layers. Its axis, or its colours, are logarithmic where
        the highest is more than ten times the lowest.

    References
    ----------
    Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, sections 4 and 7.2; arXiv 1712.09913.
    """
    if _validate.integer(dimensions, "dimensions") > 2:
        raise ValueError(f"dimensions: expected 1 or 2, got {dimensions}")
    points = _validate.integer((LINE, PLANE)[dimensions - 1] if points is None else points, "points", 3)
    span, at = _validate.number(span, "span", above=0), _Losses(net, x, y, loss, sample_weight)
    with net._training.shared(), unchanged(net):
        here = at(0.0)
        if path is None:
            frame, own = _at_random(net, dimensions, span, _validate.generator(rng)), []
        else:
            past = _past(net, path)
            way = np.reshape([parameters for parameters, _ in past], (len(past), net.parameters.size))
            frame = _along(way - at.center, dimensions)
            own = [at(parameters - at.center, buffers) for parameters, buffers in past]
        steps = [np.linspace(low, high, points) for low, high in frame.ends.tolist()]
        losses = np.array([at(np.array(step) @ frame.directions) for step in itertools.product(*steps)])
    if not np.isfinite(losses).any():
        raise ValueError("loss: expected a finite number somewhere around the network, got none: scale x and y")
    ax = axes(ax)
    if dimensions == 1:
        _draw_line(ax, steps[0], losses, frame.way[:, 0], [*own, here])
    else:
        _draw_plane(ax, frame.ends, losses.reshape(points, points).T, frame.way)
    across, up, *_ = *frame.labels, "loss"
    ax.set(xlabel=across, ylabel=up, title=f"loss {here:.4g} at the network")
    return ax.figure


class _Losses:
    """The loss that a network is trained on, at other parameters, in evaluation mode; they are left there."""

    def __init__(self, net: Any, x: Any, y: Any, loss: Any, sample_weight: Any) -> None:
        self._net, self._objective = net, Objective(loss, network(net).graph[-1]).single()
        self._data = gate.rows(net._inputs, self._objective, x, y, sample_weight)
        self._found = np.empty((len(self._data), net.n_out), net.dtype)
        self._buffers = net.buffers.copy()
        self.center: Array = net.parameters.astype(np.float64)

    def __call__(self, away: Any, buffers: Array | None = None) -> float:
        """So far away from the network's own, and with its running statistics or others."""
        net, objective, data = self._net, self._objective, self._data
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is not drawn
            net.parameters[...] = self.center + away
            net.buffers[...] = self._buffers if buffers is None else buffers
            net._run(data.x, self._found, None, logits=objective.on_logits)
            value = objective.value(self._found, data) + objective.penalty_factor(data) * net.penalty()
        return value if math.isfinite(value) else math.nan


class _Frame(NamedTuple):
    """What is drawn of the space of parameters, around those of a network."""

    #: (dimensions, n_parameters).
    directions: Array
    #: Where it begins and ends in each.
    ends: Array
    labels: list[str]
    #: The way of training, step by step, down to the network at 0; empty where none is drawn.
    way: Array


def _at_random(net: Any, dimensions: int, span: float, rng: np.random.Generator) -> _Frame:
    """Filter-normalised directions."""
    found = np.zeros((dimensions, net.parameters.size))
    for direction in found:
        for begin, array, axis in _filters(net):
            made = rng.normal(size=array.shape)
            own, its = (np.linalg.norm(each.astype(np.float64), axis=axis, keepdims=True) for each in (array, made))
            direction[begin : begin + array.size] = (made * own / its).ravel()
    if not found.any(axis=1).all():
        raise ValueError("net: expected weights to go away from, in a layer that is not frozen, got zeros or none")
    labels = [f"direction {i + 1}, in lengths of the weights" for i in range(dimensions)]
    return _Frame(found, np.tile([-span, span], (dimensions, 1)), labels, np.zeros((0, dimensions)))


def _filters(net: Any) -> Iterator[tuple[int, Array, int]]:
    """Where each matrix that is trained begins, the matrix, and along which axis the weights of a unit lie."""
    for leaf in net.leaves.values():
        for name, shape in leaf.shapes().items() if leaf.trainable else ():
            if len(shape) == 2:  # a unit of a dense layer has a column, a word of an embedding a row
                array = getattr(leaf, name)
                yield net._storage.offset(array), array, 1 if leaf.operation in ("embedding", "columns") else 0


def _past(net: Any, path: Any) -> list[tuple[Array, Array | None]]:
    """The parameters of each step of a path, and its running statistics where they are known."""
    given = [*path.values()] if isinstance(path, Mapping) else _validate.items(path, "path")
    found: list[tuple[Array, Array | None]] = []
    for i, each in enumerate(given):
        if hasattr(each, "parameters"):
            if each != net:
                got, wanted = _validate.shown(each), _validate.shown(net)
                raise ValueError(f"path: expected networks built as net, {wanted}, got {got} in place {i}")
            found.append((each.parameters.astype(np.float64), each.buffers.copy()))
            continue
        vector = _validate.real(_validate.array(each, f"path[{i}]"), f"path[{i}]", np.float64)
        if vector.shape != net.parameters.shape:
            raise ValueError(f"path[{i}]: expected {net.parameters.size} parameters, got shape {vector.shape}")
        found.append((vector, None))
    return found


def _along(apart: Array, dimensions: int) -> _Frame:
    """The principal components of a path, of which the last step is the network itself, and the way in them."""
    with np.errstate(over="ignore", invalid="ignore"):
        products = apart @ apart.T
    if not np.isfinite(products).all():
        raise ValueError("path: expected networks whose distances are finite numbers, got others")
    squares, vectors = np.linalg.eigh(products) if len(apart) else (np.zeros(0), apart)
    most = squares[::-1][:dimensions]
    if len(most) < dimensions or not most[-1] > 1e-12 * most[0]:
        needed = f"{dimensions} networks that lie" if dimensions > 1 else "a network that lies"
        raise ValueError(f"path: expected at least {needed} in other directions from net, got fewer")
    directions = vectors[:, ::-1][:, :dimensions].T @ apart / np.sqrt(most)[:, None]
    directions *= np.where(directions @ apart[0] < 0, -1, 1)[:, None]  # it begins above 0: a sign is anybody's
    way = np.vstack([apart @ directions.T, np.zeros(dimensions)])
    low, high = way.min(axis=0), way.max(axis=0)
    shares = most / squares.sum()
    labels = [f"component {i + 1} of the path, {share:.0%} of it" for i, share in enumerate(shares)]
    return _Frame(directions, np.array([low - MARGIN * (high - low), high + MARGIN * (high - low)]).T, labels, way)


def _draw_line(ax: Any, steps: Array, losses: Array, way: Array, own: Sequence[float]) -> None:
    """The loss along a direction, and those of the networks on the way."""
    plain(ax).plot(steps, losses, color=BLUE, label="along the line")
    named = "networks on the way" if len(way) else "the network"
    ax.plot(way if len(way) else [0.0], own, color=ORANGE, marker="o", markersize=4, linewidth=1, label=named)
    ax.legend(frameon=False)
    if logarithmic(losses[np.isfinite(losses)].tolist()):
        ax.set_yscale("log")


def _draw_plane(ax: Any, ends: Array, losses: Array, way: Array) -> None:
    """The loss over a plane, as colours and contours, and the way through it."""
    from matplotlib.colors import LogNorm, Normalize

    extent, finite = ends.ravel(), losses[np.isfinite(losses)]
    norm = (LogNorm if logarithmic(finite.tolist()) else Normalize)(finite.min(), finite.max())
    smooth = "bilinear" if len(finite) == losses.size else "nearest"
    picture = ax.imshow(
        losses, origin="lower", extent=extent, aspect="auto", cmap="cividis", norm=norm, interpolation=smooth
    )
    if finite.max() > finite.min():
        spaced = np.geomspace if isinstance(norm, LogNorm) else np.linspace
        levels = spaced(finite.min(), finite.max(), 12)[1:-1]
        ax.contour(losses, levels=levels, extent=extent, colors="white", linewidths=0.6, alpha=0.7)
    ax.plot(*way.T, color=ORANGE, marker="o", markersize=4, markeredgecolor="white", linewidth=1.5)
    ax.plot(0, 0, marker="*", color=ORANGE, markeredgecolor="white", markersize=14)
    ax.figure.colorbar(picture, ax=ax, label="loss")
