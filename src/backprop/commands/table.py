"""``train FILE.csv``: how its columns are read, networks for them, and how good these are."""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import _validate, datasets, plots, tables, tabular
from ..tabular.model import sorted_residuals
from . import options, scores
from .models import Model, target_of

__all__ = ["Made", "trained"]

Array = _validate.Array

#: After how many epochs without a better one to stop, at least, where somebody has said how many there are.
PATIENCE = 100


class Made(NamedTuple):
    """A model that is ready to be written, how to draw it, and what to say of it."""

    save: Callable[[str], None]
    draw: Callable[[], Any]
    lines: list[str]


def trained(args: argparse.Namespace) -> Made:
    """Read the table, train on it as the estimators do, and test."""
    table, asked = options.read(args)
    given = tables.aimed(table, args.target, **asked)
    train, test = _divided(given, args)
    tables.Recipe.learn(given.table, args.target, train, given.readings)  # refuses cells before anything is said
    if args.header is None and not table.has_header:
        print(f"{table.path}: no header, the first row looks like data (--header, if it names the columns)")
    for name in table.repeated:
        print(f"{table.path}: several columns are called {name}: the others {name}.1 and so on, in their order")
    print(*given.remarks, sep="\n")
    print(f"{table.path}: {len(train):,} rows to train on, {len(test):,} others to test on")
    found = _fitted(given, train, args)
    print(found.ensemble[0].summary())
    if len(found.ensemble) > 1:
        print(f"{len(found.ensemble)} such networks, whose mean is predicted")
    target = target_of(found, {"name": args.target, **given.readings[args.target].style.said()})
    columns = 0 if table.has_header else len(table.columns)
    lines = _epochs(found)
    if len(test):
        lines += _test(found, target, given, train, test, args.threads)
    return Made(Model(found, target, columns, asked["id"]).save, lambda: plots.curves(found.histories[0]), lines)


def _divided(given: tables.Aimed, args: argparse.Namespace) -> tuple[Array, Array]:
    """The rows to train on, and those to test on."""
    share = 0.2 if args.test_fraction is None else args.test_fraction
    if not share:
        return np.arange(len(given.y)), np.arange(0)
    train, test = datasets.hold_out(given.strata, np.random.default_rng(args.seed), share)
    if len(np.unique(given.strata[train])) < len(np.unique(given.strata)):
        which = "each class" if given.classes else "them"
        raise ValueError(
            f"--test-fraction {share:g}: expected some rows of {which} to train on, got none: ask for less"
        )
    return train, test


def _fitted(given: tables.Aimed, train: Array, args: argparse.Namespace) -> tabular.TableModel:
    """The networks of RealMLPClassifier or RealMLPRegressor with these parameters, fitted to these rows."""
    if args.folds is not None and args.folds > len(train):
        raise ValueError(f"--folds: expected at most the {len(train):,} rows to train on, got {args.folds:,}")
    recipe = tabular.recipe(
        args.preset or "default", classes=bool(given.classes), hidden_layer_sizes=args.hidden, epochs=args.epochs,
        batch_size=args.batch_size, learning_rate=args.learning_rate,
    )  # fmt: skip
    x, y = given.table.without(args.target).rows(train.tolist()), given.y[train]
    return tabular.fit(
        x, y if given.classes else y[:, None],
        recipe=recipe, classes=given.classes, readings=given.readings,
        validation_fraction=0.2 if args.early_stopping else 0.0, folds=args.folds, n_members=args.members,
        early_stopping=max(PATIENCE, args.epochs // 2) if args.epochs and args.early_stopping else False,
        time_limit=args.time_limit, seed=tabular.seed_of(np.random.RandomState(args.seed)), threads=args.threads,
        progress=True,
    )  # fmt: skip


def _epochs(found: tabular.TableModel) -> list[str]:
    """Whose weights are kept."""
    if found.held_out is None:
        return []
    counts = zip(found.best_epochs, (len(history["loss"]) for history in found.histories), strict=True)
    best = ", ".join(f"{best} of {all_of_them}" for best, all_of_them in counts)
    several = "s" if len(found.ensemble) > 1 else ""
    rows = len(found.held_out.parts[0])
    return [f"best epoch{several}: {best}, by the loss on {rows:,} training rows held out"]


def _test(
    found: tabular.TableModel, target: tables.Number | tables.Text, given: tables.Aimed, train: Array, test: Array,
    threads: int | None,
) -> list[str]:  # fmt: skip
    """The scores on the test rows; how far numbers are from them is kept for intervals."""
    predicted = found.predict(given.table.rows(test.tolist()), threads)
    y, known = given.y[test], given.y[train]
    if isinstance(target, tables.Text):
        largest = int(np.bincount(known, minlength=len(target.categories)).argmax())
        return scores.of_classes(predicted, y, largest, target.categories, full=True)
    found.residuals = sorted_residuals(predicted, y[:, None])
    return scores.of_numbers(predicted[:, 0], y, float(np.median(known)))
