"""Figures of what flows through a network: histograms of outputs and of gradients, for one network or for several."""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import _validate
from ..program.storage import unchanged
from .figures import BLUE, ORANGE, Array, axes, label, network, panels, plain

__all__ = ["activations", "gradient_flow"]

#: Of a histogram, at most; ticks that are labelled; units that a title names; the smallest gradient that is drawn, as a
#: share of the largest.
BINS, LABELLED, NAMED, SMALLEST = 60, 7, 8, 1e-12
#: Where activations end that have a slope of 0 there.
ENDS = {"sigmoid": (0, 1), "hard_sigmoid": (0, 1), "tanh": (-1, 1), "hard_tanh": (-1, 1), "softsign": (-1, 1)}


def activations(net: Any, x: Any, *, ax: Any = None) -> Any:
    """Draw how the outputs of each operation are distributed, and name units that let no gradient through.

    Parameters
    ----------
    net : Sequential or dict of int or str to Sequential
        In evaluation mode. Several, such as those that `Snapshots` kept, have a panel for each operation, with a
        histogram for each network, under its epoch or its name.
    x : array_like, shape (batch, n_in)
        Some hundred rows tell enough.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure. For several networks, as many axes as there are operations, or one for all.

    Returns
    -------
    matplotlib.figure.Figure
        For each operation a histogram over all rows and units, as wide as the root of how many they are, and its mean
        as a point. A unit is called dead whose activation gives 0 for every row, or saturated where it is within 1 %
        of an end of its range for every row.
    """
    found = {name: each.activations(x) for name, each in _several(net).items()}
    first, graph = next(iter(found.values())), _first(net).graph
    _validate.some_rows(first[0])
    names = [f"{operation.name} {_word(operation)}" for operation in graph]
    if not isinstance(net, Mapping):
        return _side_by_side(ax, dict(zip(names, first, strict=True)), "output", _notes(graph, first))
    made = panels(ax, len(names), "operation", 3.3, 2.9)
    for i, panel in enumerate(made):
        outputs = {name: out[i] for name, out in found.items()}
        _histograms(plain(panel), _thinned(found), [*outputs.values()])
        note = _since({name: _Asleep.of(graph[i], out) for name, out in outputs.items()})
        panel.set(xlabel=_axis(net), ylabel="output")
        panel.set_title(f"{names[i]}\n{note}".rstrip(), fontsize="medium")
    return made[0].figure


def gradient_flow(net: Any, x: Any, y: Any, loss: Any, *, ax: Any = None) -> Any:
    """Draw how large the gradients of each layer's weights are, and name units that let none through.

    Parameters
    ----------
    net : Sequential or dict of int or str to Sequential
        As `activations` takes it; nothing in it changes.
    x, y, loss
        As `Sequential.fit` takes them; some hundred rows tell enough.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure. For several networks, as many axes as there are arrays of parameters, or one for
        all.

    Returns
    -------
    matplotlib.figure.Figure
        For each array of parameters a histogram of the sizes of its gradients, on a logarithmic axis, and their median
        as a point; gradients of 0 are left out. Dead and saturated units as in `activations`.
    """
    found = {name: _sizes(each, x, y, loss) for name, each in _several(net).items()}
    if not isinstance(net, Mapping):
        (sizes,) = found.values()
        return _side_by_side(ax, sizes, "size of the gradient", _notes(net.graph, net.activations(x)))
    arrays = [*next(iter(found.values()))]
    made = panels(ax, len(arrays), "array of parameters", 3.3, 2.7)
    for panel, name in zip(made, arrays, strict=True):
        _histograms(plain(panel), _thinned(found), [sizes[name] for sizes in found.values()], logarithmic=True)
        panel.set(title=name, xlabel=_axis(net), ylabel="size of the gradient")
    limits = np.array([panel.get_ylim() for panel in made])
    for panel in made:
        panel.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    return made[0].figure


def _several(net: Any) -> Mapping[Any, Any]:
    """One network or several, by name; they are built alike."""
    if not isinstance(net, Mapping):
        return {"": network(net)}
    if not net:
        raise ValueError("net: expected at least one network, got none")
    first = network(_first(net))
    for name, each in net.items():
        if each != first:
            got, wanted = _validate.shown(each), _validate.shown(first)
            raise ValueError(f"net: expected networks that are built alike, {wanted}, got {got} under {name!r}")
    return net


def _thinned(names: Collection[Any]) -> list[str]:
    """Labels of networks side by side; of many, some are left out."""
    step = -(-len(names) // LABELLED)
    return [str(name) if i % step == 0 else "" for i, name in enumerate(names)]


def _first(net: Any) -> Any:
    return next(iter(net.values())) if isinstance(net, Mapping) else net


def _axis(net: Mapping[Any, Any]) -> str:
    """What numbers under the histograms of several networks are."""
    return "epoch" if all(isinstance(name, int) for name in net) else ""


def _word(operation: Any) -> str:
    """Its activation, or what it is where it has none."""
    name: str = operation.activation.name
    return name if name != "identity" or operation.kind == "dense" else str(operation.kind)


def _sizes(net: Any, x: Any, y: Any, loss: Any) -> dict[str, Array]:
    """How large the gradients are, by array of parameters."""
    with net._training.shared(), unchanged(net):
        value, _ = net.value_and_gradient(x, y, loss)
        if not math.isfinite(value):
            raise ValueError(f"loss: expected a finite number, got {value:g}: scale x and y")
        return {
            f"{at}.{name}": abs(getattr(leaf, f"{name}_grad").astype(np.float64))
            for at, leaf in net.leaves.items() for name in leaf.shapes()
        }  # fmt: skip


def _side_by_side(ax: Any, arrays: Mapping[str, Array], what: str, notes: list[str]) -> Any:
    """A histogram for each array of one network."""
    ax = plain(axes(ax, min(max(5.0, 1.2 + 1.1 * len(arrays)), 10.0)))
    _histograms(ax, [*arrays], [*arrays.values()], logarithmic=what != "output")
    ax.set(ylabel=what, title="\n".join(notes) or "no unit is dead or saturated")
    ax.tick_params("x", rotation=45 if len(arrays) > 4 else 0)
    return ax.figure


def _histograms(ax: Any, names: list[str], arrays: list[Array], *, logarithmic: bool = False) -> None:
    """Histograms that stand upright, side by side, each with its mean, or, on a logarithmic axis, its median."""
    for i, array in enumerate(arrays):
        values = array.astype(np.float64).ravel()
        values = values[np.isfinite(values)]
        if logarithmic:
            values = values[values > SMALLEST * values.max(initial=0)]
        if not len(values):
            continue
        bins = min(BINS, 4 + 2 * math.isqrt(len(values)))
        counts, edges = np.histogram(np.log10(values) if logarithmic else values, bins)
        widths = np.sqrt(np.append(counts, 0) / counts.max()) / 2.3  # roots: the few are seen too
        heights = 10**edges if logarithmic else edges
        ax.fill_betweenx(heights, i - widths, i + widths, step="post", color=BLUE, alpha=0.75, linewidth=0)
        ax.plot(i, np.median(values) if logarithmic else values.mean(), "o", color=ORANGE, markersize=5)
    ax.set(xticks=range(len(names)), xticklabels=names, xlim=(-0.6, len(names) - 0.4))
    if logarithmic:
        ax.set_yscale("log")


class _Asleep(NamedTuple):
    """Units of an operation that let no gradient through, for these rows."""

    dead: list[int]
    saturated: list[int]
    n: int

    @classmethod
    def of(cls, operation: Any, out: Array) -> "_Asleep":
        """Of what an operation gave for some rows."""
        name = operation.activation.name
        dead = (out == 0).all(axis=0) if name == "relu" else np.zeros(operation.n_out, bool)
        low, high = ENDS.get(name, (-np.inf, np.inf))
        near = 0.01 * (high - low) if name in ENDS else 0.0
        stuck = ((out <= low + near) | (out >= high - near)).all(axis=0)
        return cls(np.flatnonzero(dead).tolist(), np.flatnonzero(stuck).tolist(), operation.n_out)

    def __bool__(self) -> bool:
        return bool(self.dead or self.saturated)

    def __str__(self) -> str:
        said = []
        for which, word in (self.dead, "dead"), (self.saturated, "saturated"):
            if which:
                places = ", ".join(map(str, which[:NAMED])) + ", ..." * (len(which) > NAMED)
                said.append(f"{len(which)} of {self.n} units {word} ({places})")
        return "; ".join(said)

    def within(self, other: "_Asleep") -> bool:
        """Whether the other has all of these."""
        return {*self.dead} <= {*other.dead} and {*self.saturated} <= {*other.saturated}


def _notes(graph: Any, outputs: list[Array]) -> list[str]:
    """What is to be said of units that let no gradient through."""
    pairs = ((operation, _Asleep.of(operation, out)) for operation, out in zip(graph, outputs, strict=True))
    return [
        f"operation {operation.name}, {operation.activation.name}: {asleep}" for operation, asleep in pairs if asleep
    ]


def _since(notes: Mapping[Any, _Asleep]) -> str:
    """The units that are dead or saturated at last, and from which network on they were."""
    *_, (first, last) = notes.items()
    for name, note in reversed([*notes.items()]):
        if not last.within(note):
            break
        first = name
    return f"{last}, since {label(first)}" if last else ""
