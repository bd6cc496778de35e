"""`Ensemble`: networks that predict as one, by the mean of their outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO, overload

import numpy as np

from . import _pool, _threads, _validate, network
from . import io as files
from . import metrics as _metrics
from .errors import FormatError
from .network import Sequential
from .program import data as gate
from .program.objective import Objective

__all__ = ["Ensemble"]

Array = _validate.Array

#: Rows that go through all members together: as many as have so many bytes of outputs, or so many.
PIECE, ROWS = 1 << 22, 1024
#: Numbers that are summed in one call.
FEW = 1 << 14


class Ensemble:
    """Networks that predict as one: the mean of what each predicts, and how far they are apart.

    Parameters
    ----------
    networks : list of Sequential
        With the same inputs, outputs, last activation and dtype; their hidden layers may differ. They are not copied.

    Attributes
    ----------
    members : tuple of Sequential
        Ordinary networks: ``ensemble[0]`` is the first, ``len(ensemble)`` how many there are, and a loop goes through
        them.
    n_in, n_out : int
    dtype : numpy.dtype

    Notes
    -----
    Outputs are averaged: probabilities, where networks end in a softmax or a sigmoid; where they end in logits, these.
    Means and deviations are computed in double. The bits do not depend on the number of threads.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", NeurIPS 2017.

    Examples
    --------
    >>> networks = [bp.Sequential([bp.Dense(3, 8, "relu"), bp.Dense(8, 1)], rng=seed) for seed in range(5)]
    >>> ensemble = bp.Ensemble(networks)
    >>> ensemble.predict([[0.0, 1.0, 2.0]]).shape, ensemble.predict_all([[0.0, 1.0, 2.0]]).shape
    ((1, 1), (5, 1, 1))
    """

    def __init__(self, networks: Iterable[Sequential]) -> None:
        given: list[Any] = _validate.items(networks, "networks")
        if not given:
            raise ValueError("networks: expected at least one, got none")
        for i, net in enumerate(given):
            if not isinstance(net, Sequential):
                raise TypeError(f"networks: expected Sequential networks, got {_validate.shown(net)} in place {i}")
            if _ends(net) != _ends(given[0]):
                raise ValueError(f"networks: expected all to be {_ends(given[0])}, got {_ends(net)} in place {i}")
        self.members: tuple[Sequential, ...] = tuple(given)
        self.n_in: int = given[0].n_in
        self.n_out: int = given[0].n_out
        self.dtype: np.dtype[Any] = given[0].dtype

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Sequential]:
        return iter(self.members)

    @overload
    def __getitem__(self, which: int) -> Sequential: ...

    @overload
    def __getitem__(self, which: slice) -> Ensemble: ...

    def __getitem__(self, which: Any) -> Sequential | Ensemble:
        return Ensemble(self.members[which]) if isinstance(which, slice) else self.members[which]

    # Prediction.

    def predict(self, x: Any, *, threads: int | None = None) -> Array:
        """The mean of the outputs of all members.

        Parameters
        ----------
        x : array_like, shape (rows, n_in)
            As `Sequential.predict` takes it.
        threads : int or None, default None
            How many threads share the rows; the result is the same. None: as many as pay.

        Returns
        -------
        numpy.ndarray, shape (rows, n_out)
        """
        mean: Array = self._together(x, threads, _mean)[0]
        return mean

    __call__ = predict

    def predict_all(self, x: Any, *, threads: int | None = None) -> Array:
        """The outputs of each member.

        Parameters
        ----------
        x, threads
            As `predict` takes them.

        Returns
        -------
        numpy.ndarray, shape (members, rows, n_out)
            ``[i]`` is what ``members[i].predict(x)`` gives, to the last bit.
        """
        inputs = self._rows(x)
        out = np.empty((len(self), len(inputs[0]), self.n_out), self.dtype)
        self._share(len(inputs[0]), threads, lambda rows: self._outputs(inputs, rows, out[:, rows]))
        return out

    def std(self, x: Any, *, threads: int | None = None) -> Array:
        """The standard deviation of the outputs over the members, dividing by their number: how far they disagree.

        Parameters
        ----------
        x, threads
            As `predict` takes them.

        Returns
        -------
        numpy.ndarray, shape (rows, n_out)
        """
        deviation: Array = self._together(x, threads, _deviation)[0]
        return deviation

    def mixture(self, x: Any, *, threads: int | None = None) -> tuple[Array, Array]:
        """Mean and variance of the mixture of normal distributions that members trained with `GaussianNLL` predict.

        Parameters
        ----------
        x, threads
            As `predict` takes them.

        Returns
        -------
        mean, variance : numpy.ndarray, shape (rows, n_out / 2)
            The mean m of the members' means m_i, and the mean of v_i + (m_i - m)^2, with their variances v_i.
        """
        if self.n_out % 2:
            raise ValueError(
                f"mixture: expected networks with a mean and a log-variance for each target, as GaussianNLL trains, "
                f"got {self.n_out} outputs"
            )
        mean, variance = self._together(x, threads, _mixture, 2)
        return mean, variance

    def evaluate(
        self, x: Any, y: Any, *, loss: Any, metrics: Sequence[Any] = (), sample_weight: Any = None,
        class_weight: Any = None, threads: int | None = None,
    ) -> dict[str, float]:  # fmt: skip
        """The loss and the metrics of `predict` on some data.

        Parameters
        ----------
        x, y, loss, metrics, sample_weight, class_weight
            As `Sequential.evaluate` takes them.
        threads : int or None, default None
            As `predict` takes it.

        Returns
        -------
        dict of str to float
            Under "loss" and the names of the metrics.
        """
        measured, objective = _metrics.get(metrics), Objective(loss, self.members[0]._end).single()
        objective.on_logits = False  # the mean of probabilities has none
        data = gate.rows(self.members[0]._inputs, objective, x, y, sample_weight)
        data = gate.weighted_by_class(data, class_weight, objective)
        found = self.predict(x, threads=threads)
        value = objective.value(found, data)
        return {"loss": value} | (objective.measure(measured, found, data.y, None) if measured else {})

    def _rows(self, x: Any) -> list[Array]:
        """The rows as each member takes them: one array, but where columns have other orders, or name other tables."""
        first = self.members[0]._inputs
        rows = first.rows(x)
        named = type(x) is not np.ndarray
        return [
            rows if (not named or its.names == first.names) and its.tables == first.tables else its.rows(x)
            for its in (net._inputs for net in self.members)
        ]

    def _share(self, count: int, threads: int | None, work: Callable[[slice], Any]) -> None:
        """Do so many rows, some at a time, on as many threads as pay."""
        amount = sum([net._engine.work for net in self.members]) * count
        with _threads.take(_threads.checked(threads), _threads.worth_starting(amount)) as workers:
            step = PIECE // (len(self.members) * self.n_out * self.dtype.itemsize)
            step = max(ROWS, min(step, -(-count // (4 * workers)) if workers > 1 else count))
            parts = [slice(start, min(start + step, count)) for start in range(0, count, step)]
            if min(workers, len(parts)) > 1:
                _pool.run([partial(work, rows) for rows in parts], min(workers, len(parts)))
            else:
                for rows in parts:
                    work(rows)

    def _outputs(self, inputs: list[Array], rows: slice, out: Array) -> Array:
        """What each member makes of these rows, (members, rows, n_out)."""
        for net, x, y in zip(self.members, inputs, out, strict=True):
            net.predict(x[rows], threads=1, out=y)
        return out

    def _together(self, x: Any, threads: int | None, combine: Callable[[Array], Array], parts: int = 1) -> Array:
        """What the outputs of all members come to, row by row: (parts, rows, n_out / parts)."""
        inputs = self._rows(x)
        found = np.empty((parts, len(inputs[0]), self.n_out // parts), self.dtype)

        def work(rows: slice) -> None:
            out = np.empty((len(self.members), rows.stop - rows.start, self.n_out), self.dtype)
            with np.errstate(over="ignore"):  # of a variance
                found[:, rows] = combine(self._outputs(inputs, rows, out))

        self._share(len(inputs[0]), threads, work)
        return found

    # Files.

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write all members to one safetensors file, wholly or not at all.

        Parameters
        ----------
        file : str, path-like or binary file
            As `Sequential.save` takes it. Tensors have the names of a model file after the number of their member:
            "0/0.weight".
        """
        files.atomic.write(file, self.to_bytes())

    def export_onnx(self, file: str | os.PathLike[str] | BinaryIO, *, opset: int | None = None) -> None:
        """Write what `predict` computes as an ONNX model, wholly or not at all.

        Parameters
        ----------
        file, opset
            As `Sequential.export_onnx` takes them. The mean is computed in the dtype of the members.
        """
        from . import onnx

        graphs, names = [net._exported() for net in self.members], self.members[0].feature_names
        if any(net.feature_names not in (None, names) for net in self.members):
            raise ValueError("export_onnx: expected members that take the columns in one order, got several")
        files.atomic.write(file, onnx.ensemble(graphs, opset, {"feature_names": names}))

    def to_bytes(self) -> bytes:
        """The bytes of such a file, which `load` reads."""
        for net in self.members:
            net._check_statistics()
        return files.model.pack_members(self.members)

    @staticmethod
    def load(file: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> Ensemble:
        """Read an ensemble that `save` or `to_bytes` wrote.

        Parameters
        ----------
        file : str, path-like, bytes-like or binary file
            As `backprop.load` takes it.

        Returns
        -------
        Ensemble
            The same members to the last bit; their training goes on as it would have.

        Raises
        ------
        FormatError
            If the file is damaged, or not one of ours, or of a later version, or holds a single network.
        """
        return _read(file)

    def __reduce__(self) -> tuple[Callable[..., Ensemble], tuple[bytes]]:
        return _from_bytes, (self.to_bytes(),)

    # Looking at it.

    def _repr_html_(self) -> str:
        from . import _display

        rows = [(i, repr(net), f"{net.parameters.size:,}", net.epochs) for i, net in enumerate(self.members)]
        return _display.table(("member", "network", "parameters", "epochs"), rows)

    def __repr__(self) -> str:
        return f"Ensemble([{', '.join(map(repr, self.members))}])"


# How outputs (members, rows, n_out) are put together: member by member, so that no sum depends on the rows beside it.


def _sum(parts: Array) -> Array:
    found: Array
    if parts.size <= FEW:
        found = np.add.accumulate(parts, axis=0, dtype=np.float64)[-1]
        return found
    found = parts[0].astype(np.float64)
    for part in parts[1:]:
        found += part
    return found


def _mean(outputs: Array) -> Array:
    mean: Array = _sum(outputs)[np.newaxis] / len(outputs)
    return mean


def _deviation(outputs: Array) -> Array:
    deviation: Array = np.sqrt(_mean((outputs - _mean(outputs)) ** 2))
    return deviation


def _mixture(outputs: Array) -> Array:
    means, logarithms = outputs[:, :, 0::2], outputs[:, :, 1::2].astype(np.float64)
    mean = _mean(means)
    return np.concatenate([mean, _mean(np.exp(logarithms) + (means - mean) ** 2)])


# Construction.


def _ends(net: Sequential) -> str:
    """What all members have in common, in words."""
    activation = net._end.activation
    return f"networks of {net.n_in} inputs and {net.n_out} outputs that end in {activation!r}, {net.dtype}"


def _read(file: Any, name: str | None = None) -> Ensemble:
    nets = files.model.read_members(network.declared, file, name)
    try:
        return Ensemble(nets)
    except ValueError as error:
        raise FormatError(f"{error}") from error


def _from_bytes(data: bytes) -> Ensemble:
    if not isinstance(data, (bytes, bytearray)):
        raise FormatError(f"pickle: expected bytes, got {_validate.shown(data)}")
    return _read(data, "pickle")
