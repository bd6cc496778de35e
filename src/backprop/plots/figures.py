"""What all pictures share: figures of no window, axes, colours, and a file of them."""

import functools
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _validate
from .._display import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE", "GRAY", "ORANGE", "axes", "colors", "diverging", "figure", "label", "network", "panels", "plain", "png",
]  # fmt: skip

Array = npt.NDArray[Any]

GRAY = "0.45"
#: Of Okabe and Ito, "Color universal design", 2008, its blue and its orange first: the colour-blind tell them apart.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#f0e442", "#56b4e9", "#000000")


def png(figure: "Figure") -> bytes:
    """Make a PNG file of a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    bytes
        The same for the same figure.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, pad_inches=0.1, metadata={"Software": None})
    return file.getvalue()


def figure(width: float, height: float = 5.0) -> "Figure":
    """An empty figure, which a notebook shows."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures are drawn by matplotlib: pip install "backprop-nn[plot]"') from error
    made = Figure(figsize=(width, height))
    made.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1, wspace=0.0, hspace=0.0)
    made._repr_png_ = functools.partial(png, made)  # type: ignore[attr-defined]  # by which a notebook shows it
    return made


def axes(ax: Any, width: float = 6.0, height: float = 5.0) -> Any:
    """The axes given, or those of a new figure."""
    return figure(width, height).subplots() if ax is None else ax


#: Panels side by side in a figure, at most; and the share of a panel that is drawn in, within axes that are given.
ACROSS, WIDTH, HEIGHT = 3, 0.78, 0.66


def panels(ax: Any, n: int, what: str, width: float, height: float) -> list[Any]:
    """So many axes, one for each of what there is: those given, or within the one given, or of a new figure."""
    if ax is None:
        down = -(-n // ACROSS)
        across = -(-n // down)
        made = figure(0.6 + width * across, 0.4 + height * down).subplots(down, across, squeeze=False).ravel()
        for spare in made[n:]:
            spare.remove()
        return list(made[:n])
    given = list(np.ravel(ax))
    if len(given) == n:
        return given
    if len(given) != 1:
        raise ValueError(f"ax: expected {n} axes, one for each {what}, or one for all, got {len(given)}")
    given[0].set_axis_off()
    across = math.ceil(math.sqrt(n))
    down = -(-n // across)
    insets = [
        given[0].inset_axes((i % across / across, 1 - (i // across + HEIGHT) / down, WIDTH / across, HEIGHT / down))
        for i in range(n)
    ]
    for inset in insets:
        inset.tick_params(labelsize="x-small")
    return insets


def network(net: Any) -> Any:
    """A network, looked at by what it can do; anything else is refused."""
    if isinstance(net, type) or not all(hasattr(net, name) for name in ("activations", "layers", "graph")):
        raise TypeError(f"net: expected a network, a Sequential, got {_validate.shown(net)}")
    return net


def label(name: Any) -> str:
    """What one of several networks is called: a number is an epoch."""
    return f"epoch {name}" if isinstance(name, int) else str(name)


def plain(axes: Any) -> Any:
    """Axes with a grid and without a box."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def colors(n: int) -> Array:
    """A color for each class, red, green and blue from 0 to 1."""
    import matplotlib
    from matplotlib.colors import to_rgb

    if n <= len(PALETTE):
        return np.array([to_rgb(color) for color in PALETTE[:n]])
    return np.array(matplotlib.colormaps["hsv"](np.arange(n) / n))[:, :3]


def diverging() -> Any:
    """Blue below the middle, orange above it."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("blue-orange", [BLUE, "#f7f7f7", ORANGE])
