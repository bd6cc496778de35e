"""Figures of a fit: its learning curves, and a learning rate range test."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._display import logarithmic
from .figures import BLUE, GRAY, ORANGE, axes, figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

__all__ = ["curves", "history", "range_test", "with_curves"]

History = Mapping[str, Sequence[float]]


def curves(history: History, ax: Any = None) -> Any:
    """Draw the learning curves: the loss and each metric over the epochs, on the training and the validation data.

    Parameters
    ----------
    history : History
        From `Sequential.fit`.
    ax : matplotlib.axes.Axes, optional
        Where to draw the loss, and nothing else. Default: a new figure for all.
    """
    if not any(history.values()):
        raise ValueError("history: expected at least one epoch, got none")
    if ax is None:
        whole = figure(6)
        _draw_curves(whole, history)
        return whole
    if not history.get("loss"):
        raise ValueError(f"history: expected a loss to draw, got {', '.join(history)}")
    _draw_panel(ax, history, "loss")
    ax.set_xlabel("epoch")
    return ax.figure


def range_test(rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], marked: Any, ax: Any) -> Any:
    """Draw the losses that `LearningRateFinder` found, and mark the learning rate it suggests.

    Parameters
    ----------
    rates, losses, smoothed : sequence of float
    marked : float or None
    ax : matplotlib.axes.Axes or None
        None: those of a new figure.
    """
    if not rates:
        raise ValueError("rates: expected at least one learning rate tried, got none: give the finder to a fit first")
    ax = axes(ax)
    ax.plot(rates, losses, color=GRAY, alpha=0.8, linewidth=1)
    ax.plot(rates, smoothed, color=BLUE)
    if marked is not None:
        ax.axvline(marked, color=ORANGE, linestyle="--", label=f"suggested: {marked:.2g}")
        ax.legend(frameon=False)
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
    low, high = min(losses), smoothed[0]
    if high > low:  # how far it diverges is of no interest
        ax.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    plain(ax)
    return ax.figure


def with_curves(history: History) -> "tuple[Figure, FigureBase]":
    """A figure with the learning curves on the left, and its empty right."""
    whole = figure(12)
    grid = whole.add_gridspec(1, 2)
    left, right = whole.add_subfigure(grid[0]), whole.add_subfigure(grid[1])
    _draw_curves(left, history)
    return whole, right


def _draw_curves(whole: "FigureBase", history: History) -> None:
    names = [name for name in history if not name.startswith("val_")]
    panels = whole.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for ax, name in zip(panels, names, strict=True):
        _draw_panel(ax, history, name)
    panels[-1].set_xlabel("epoch")
    whole.align_ylabels(panels)


def _draw_panel(ax: Any, history: History, name: str) -> None:
    for key, label, color in (name, "training", BLUE), (f"val_{name}", "validation", ORANGE):
        values = history.get(key, ())
        ax.plot(range(1, len(values) + 1), values, color=color, marker="." if len(values) == 1 else "", label=label)
    ax.set_ylabel(name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    plain(ax)
    if name != "loss":
        return
    losses = [*history["loss"], *history.get("val_loss", ())]
    if logarithmic(losses):
        ax.set_yscale("log")
    if "val_loss" in history:
        ax.legend(frameon=False)


#: The name that the other pictures go by: that of what is drawn.
history = curves
