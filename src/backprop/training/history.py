"""What a fit came to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _validate, callbacks
from .. import io as files

__all__ = ["History"]

Array = _validate.Array


class History(Mapping[str, list[float]]):
    """What a fit came to: lists with one number for each epoch.

    ``history["loss"]`` is the mean over the epoch (or the sum, where the loss is reduced by one), while the weights
    changed; each metric stands under its name; ``val_`` before a name means on the validation data, at the epoch's end.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {}

    def extend(self, numbers: Mapping[str, Sequence[float] | Array]) -> None:
        """Add some epochs."""
        for name, values in numbers.items():
            self._parts.setdefault(name, [[]]).append(values)

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

    def __getitem__(self, name: str) -> list[float]:
        whole: list[float]
        whole, *parts = self._parts[name]
        for part in parts:  # made numbers of Python's only now: 10,000 take longer than some networks do to train
            whole.extend(part.tolist() if isinstance(part, np.ndarray) else part)
        del self._parts[name][1:]
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        epochs = max(map(len, self.values()), default=0)
        last = ", ".join(f"{name}={float(values[-1])!r}" for name, values in self.items())
        return f"<History of {epochs} epochs{': ' + last if last else ''}>"
