"""``train FILE.csv``: how its columns are read, a network for them, and how good that is."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .. import _validate, datasets, plots, tables
from ..ensemble import Ensemble
from ..preprocessing.bins import quantile_edges
from ..tabular import building, recipes
from ..tabular.members import Member, folds
from ..tabular.model import fewer
from ..tabular.training import Rows, Trained, train
from . import options, scores
from .models import Model

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
    classes, n_out = bool(given.classes), len(given.classes or [0])
    recipe = _recipe(args, classes)
    members = _members(args, recipe, y if classes else np.zeros(len(y)), rng)
    recipe = recipe if args.epochs else recipe.sized(min(len(member.rows) for member in members))
    layout = building.Layout(x.shape[1], 0, (), _edges(given.recipe, x, recipe.bins))
    found = train(
        recipe, layout, Rows(x, y, None), members, n_out, classes=classes, patience=max(10, recipe.epochs // 2),
        time_limit=args.time_limit, threads=args.threads, progress=True,
    )  # fmt: skip
    print(found.networks[0].summary())
    model = Model(found.networks[0] if len(members) == 1 else Ensemble(found.networks), given.recipe, asked["id"])
    lines = _epochs(found, members) + _test(model, given, args.threads)
    return Made(model.save, lambda: plots.curves(found.histories[0]), lines)


def _recipe(args: argparse.Namespace, classes: bool) -> recipes.Recipe:
    """How networks are built and trained: as the preset has it, but for what options say; without one, a single one."""
    given = {
        "hidden_layer_sizes": args.hidden, "epochs": args.epochs, "batch_size": args.batch_size,
        "learning_rate": args.learning_rate, "n_members": None if args.preset else 1,
    }  # fmt: skip
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(recipes.recipe(args.preset or "default", classes=classes), **changed)


def _members(args: argparse.Namespace, recipe: recipes.Recipe, strata: Array, rng: np.random.Generator) -> list[Member]:
    """Which rows each network sees."""
    if args.folds is not None:
        if args.folds > len(strata):
            raise ValueError(f"--folds: expected at most the {len(strata):,} rows to train on, got {args.folds:,}")
        return [*folds(len(strata), args.folds, 1, strata, rng)]
    everything = np.arange(len(strata)), np.arange(0)
    parts = ((held_out(strata, rng) if args.early_stopping else None) or everything for _ in range(recipe.n_members))
    return [Member(rows, out, int(rng.integers(2**31))) for rows, out in parts]


def _edges(recipe: tables.Recipe, x: Array, bins: int) -> list[Array | None]:
    """Of each input that is a number the edges of its bins."""
    edges: list[Array | None] = [None] * x.shape[1]
    numbers = [i for i, output in enumerate(recipe.outputs) if output.kind == "number"]
    if numbers:
        for i, found in zip(numbers, quantile_edges(x[:, numbers], bins), strict=True):
            edges[i] = found
    return edges


def _epochs(found: Trained, members: list[Member]) -> list[str]:
    """Whose weights are kept."""
    rows = len(members[0].held_out)
    if not rows:
        return []
    epochs = [len(history["loss"]) for history in found.histories]
    best = ", ".join(f"{best} of {all_of_them}" for best, all_of_them in zip(found.best, epochs, strict=True))
    several = "s" if len(members) > 1 else ""
    return [f"best epoch{several}: {best}, by the loss on {rows:,} training rows held out"]


def _test(model: Model, given: tables.Prepared, threads: int | None) -> list[str]:
    """The scores on the test rows; how far numbers are from them is kept for intervals."""
    y_hat = model.network.predict(given.x[given.test], threads=threads)
    y, train = given.y[given.test], given.y[given.train]
    target = model.recipe.target
    if isinstance(target, tables.Text):
        largest = int(np.bincount(train, minlength=len(target.categories)).argmax())
        return scores.of_classes(y_hat, y, largest, target.categories, full=True)
    predicted, true, known = (target.decode(numbers[:, 0]) for numbers in (y_hat, y, train))
    model.residuals = fewer(np.sort(abs(true - predicted))).tolist()
    return scores.of_numbers(predicted, true, float(np.median(known)))
