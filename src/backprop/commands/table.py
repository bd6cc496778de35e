"""``train FILE.csv``: how its columns are read, a network for them, and how good that is."""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import backprop as bp

from .. import _validate, datasets, plots, tables
from . import options, scores
from .models import Model, fewer

__all__ = ["Made", "held_out", "trained"]

Array = _validate.Array

#: Of fewer rows none can be spared to find the best epoch.
FEWEST = 40


class Made(NamedTuple):
    """A model that is ready to be written, how to draw it, and what to say of it."""

    save: Callable[[str], None]
    draw: Callable[[], Any]
    lines: list[str]


def held_out(strata: Array, rng: np.random.Generator) -> tuple[Array, Array] | None:
    """The rows to train on, and some of them, if they are many, by which epochs are judged."""
    if len(strata) < FEWEST:
        return None
    try:
        return datasets.hold_out(strata, rng, 0.2 if len(strata) < 5 * FEWEST else 0.1)
    except ValueError:  # each class has but one row
        return None


def trained(args: argparse.Namespace, rng: np.random.Generator) -> Made:
    """Read the table, train on it, and test."""
    table, asked = options.read(args)
    given = tables.prepared(table, args.target, lambda labels: datasets.hold_out(labels, rng), **asked)
    if args.header is None and not table.has_header:
        print(f"{table.path}: no header, the first row looks like data (--header, if it names the columns)")
    print(*given.remarks, sep="\n")
    print(f"{table.path}: {len(given.train):,} rows to train on, {len(given.test):,} others to test on")
    x, y = given.x[given.train], given.y[given.train]
    parts = held_out(y if given.classes else np.zeros(len(y)), rng) if args.early_stopping else None
    net = _network(args, x.shape[1], len(given.classes or ()), rng)
    net, history, lines = _fitted(net, x, y, parts, args)
    model = Model(net, given.recipe, asked["id"])
    return Made(model.save, lambda: plots.curves(history), lines + _test(model, given, args.threads))


def _network(args: argparse.Namespace, n_in: int, classes: int, rng: np.random.Generator) -> bp.Sequential:
    layers: list[bp.Layer] = []
    for width in args.hidden or (64, 32):
        layers += [bp.Dense(n_in, width, "relu"), bp.Dropout(0.1)]
        n_in = width
    layers.append(bp.Dense(n_in, classes, "softmax") if classes else bp.Dense(n_in, 1))
    return bp.Sequential(layers, rng=rng)


def _fitted(
    net: bp.Sequential, x: Array, y: Array, parts: tuple[Array, Array] | None, args: argparse.Namespace
) -> tuple[bp.Sequential, bp.History, list[str]]:
    """The network, trained; its history, and whose weights are kept."""
    print(net.summary())
    train, out = parts or (np.arange(len(x)), np.arange(0))
    epochs = args.epochs or min(100, max(5, 500_000 // len(x)))
    batch_size, rate = args.batch_size or 32, args.learning_rate or 1e-3
    stopping = bp.EarlyStopping(patience=max(10, epochs // 5))
    loss, metric = ("cross_entropy", "accuracy") if net.n_out > 1 else ("mse", "r2")
    history = net.fit(
        x[train], y[train], loss=loss,
        optimizer=bp.Adam(bp.schedules.Polynomial(rate, epochs * -(-len(train) // batch_size))),
        epochs=epochs, batch_size=batch_size, validation_data=(x[out], y[out]) if parts else None,
        metrics=[metric], callbacks=[stopping] if parts else [], progress=True, threads=args.threads,
    )  # fmt: skip
    best, done = stopping.state.get("best_epoch"), len(history["loss"])
    kept = [f"best epoch: {best} of {done}, by the loss on {len(out):,} training rows held out"] if parts else []
    return net, history, kept


def _test(model: Model, given: tables.Prepared, threads: int | None) -> list[str]:
    """The scores on the test rows; how far numbers are from them is kept for intervals."""
    y_hat, y, train = (
        model.network.predict(given.x[given.test], threads=threads),
        given.y[given.test],
        given.y[given.train],
    )
    target = model.recipe.target
    if isinstance(target, tables.Text):
        largest = int(np.bincount(train, minlength=len(target.categories)).argmax())
        return scores.of_classes(y_hat, y, largest, target.categories, full=True)
    predicted, true, known = (target.decode(numbers[:, 0]) for numbers in (y_hat, y, train))
    model.residuals = fewer(np.sort(abs(true - predicted))).tolist()
    return scores.of_numbers(predicted, true, float(np.median(known)))
