"""What a fit came to."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate, callbacks
from .. import io as files

__all__ = ["History"]

Array = _validate.Array


def _settled(name: str) -> Any:
    """A method of dict, once what `History.extend` was given has become numbers of Python's."""
    method = getattr(dict, name)

    @functools.wraps(method)
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        for history in (self, *args):
            if isinstance(history, History):
                history._settle()
        return method(self, *args, **kwargs)

    return read


class History(dict[str, list[float]]):
    """What a fit came to: a dict of lists with one number for each epoch, of which ``pandas.DataFrame`` makes a table.

    Of a network that `fit_many` trained, ``error`` is what ended its fit early, a `DivergedError` say, or None.

    ``history["loss"]`` is the mean over the epoch (or the sum, where the loss is reduced by one), while the weights
    changed; each metric stands under its name; ``val_`` before a name means on the validation data, at the epoch's end.
    """

    error: BaseException | None = None

    def __init__(self) -> None:
        super().__init__()
        self._added: list[tuple[list[float], Sequence[float] | Array]] = []

    def extend(self, numbers: Mapping[str, Sequence[float] | Array]) -> None:
        """Add some epochs."""
        for name, values in numbers.items():
            self._added.append((self.setdefault(name, []), values))

    def _settle(self) -> None:
        """Make numbers of Python's, only now: of 10,000 epochs it takes longer than some networks do to train."""
        for values, added in self._added:
            values.extend(added.tolist() if isinstance(added, np.ndarray) else added)
        self._added.clear()

    if not TYPE_CHECKING:  # whoever reads the values sees all of them; the names are always there
        __getitem__, get, items, values = map(_settled, ("__getitem__", "get", "items", "values"))
        pop, popitem, copy, __iter__ = map(_settled, ("pop", "popitem", "copy", "__iter__"))
        __eq__, __ne__, __or__, __ror__ = map(_settled, ("__eq__", "__ne__", "__or__", "__ror__"))
    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return History, (), None, None, iter(self.items())

    def to_csv(self, path: Any) -> None:
        """Write it as a table: a column "epoch", counted from 1, and one for each name.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced only once the new one is safe on the disk.
        """
        files.atomic.write(path, callbacks.table(self).encode())

    def plot(self, ax: Any = None) -> Any:
        """Draw its curves. Needs matplotlib, ``pip install "backprop-nn[plot]"``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw the loss. Default: a new figure, with the loss and a panel for each metric.

        Returns
        -------
        matplotlib.figure.Figure
            The one drawn in; ``savefig`` makes a file of it.
        """
        from .. import plots

        return plots.curves(self, ax)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """A pickle of version 0.1."""
        self._added = []
        for name, parts in state["_parts"].items():
            self[name] = [float(value) for part in parts for value in part]

    def _repr_html_(self) -> str:
        from .. import _display

        return _display.history(self)

    def __repr__(self) -> str:
        epochs = max(map(len, self.values()), default=0)
        last = ", ".join(f"{name}={float(values[-1])!r}" for name, values in self.items())
        return f"<History of {epochs} epochs{': ' + last if last else ''}>"
