"""The beginning of a fit: what it was asked for passes the gate and becomes a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import _threads, _validate, optimizers
from .. import metrics as _metrics
from ..program import data as gate
from .run import Run, Settings

if TYPE_CHECKING:
    import os

__all__ = ["begin", "seed_of"]


def seed_of(net: Any, rng: Any) -> int:
    """What the order of the rows and the dropped numbers of a fit come from: its rng, or the network's own seed."""
    return net.seed if rng is None else int(_validate.generator(rng).integers(2**63))


def begin(
    net: Any, x: Any, y: Any, *, loss: Any, optimizer: Any, epochs: int, batch_size: int | None, validation_data: Any,
    validation_split: float, sample_weight: Any, class_weight: Any, shuffle: bool, metrics: Sequence[Any],
    callbacks: Sequence[Any], rng: Any, threads: int | None, resume: str | os.PathLike[str] | None = None,
    seed: int | None = None, rows: Any = None, passed: gate.Passed | None = None,
) -> Run:  # fmt: skip
    """A run of what `Sequential.fit` was asked for; nothing has been trained yet.

    Parameters
    ----------
    net, x, y, loss, ..., resume
        As `Sequential.fit` takes them; the callbacks as `callbacks.chosen` gives them.
    seed : int, optional
        What `seed_of` came to, in place of rng.
    rows : array_like of int, optional
        Which rows of x and y there are to this network.
    passed : Passed, optional
        What has passed the gate for other networks.
    """
    objective, measured = net._objective(loss).single(), _metrics.get(metrics)
    optimizer = optimizers.get(optimizer)
    epochs = _validate.integer(epochs, "epochs", 0)
    prepared = gate.prepare(
        net._inputs, objective, measured, x, y, epochs=epochs, sample_weight=sample_weight,
        class_weight=class_weight, validation_data=validation_data,
        validation_split=_validate.number(validation_split, "validation_split", 0, below=1),
        which=rows, passed=passed,
    )  # fmt: skip
    data, names = prepared.data, prepared.names
    count = 1 if isinstance(data, gate.Batches) else len(data)
    settings = Settings(
        objective, optimizer, count if batch_size is None else _validate.integer(batch_size, "batch_size"),
        _validate.flag(shuffle, "shuffle"), measured, prepared.meaning, prepared.validation, callbacks,
        _threads.checked(threads),
    )  # fmt: skip
    if isinstance(data, gate.Data):
        whole = isinstance(optimizer, optimizers.FullBatch)
        net._check_batch(count if whole else min(count, settings.batch_size))
    run = Run(net, net._engine, data, settings, epochs, seed_of(net, rng) if seed is None else seed)
    begun = None if resume is None else net._begun(run, resume, names)
    optimizer.ready(net)
    if begun is not None:
        net._take_over(run, *begun)
    if isinstance(data, gate.Data):  # batches are looked at as they come
        net.feature_names = names or net.feature_names
    return run
