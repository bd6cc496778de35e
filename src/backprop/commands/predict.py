"""``predict``: the predictions for a table, as CSV."""

import argparse
import csv
import io
import math
import sys
from typing import Any

import numpy as np

from .. import _validate, tables
from ..tables.cells import digits
from .models import Model, loaded

__all__ = ["predict"]

Array = _validate.Array


def predict(args: argparse.Namespace) -> None:
    """Write the predictions for a table, as CSV: what identifies a row, then what is predicted."""
    model = loaded(args.model)
    number = isinstance(model.recipe.target, tables.Number)
    if args.proba and number:
        got = f"got one that predicts the number {model.recipe.target.name!r}"
        raise ValueError(f"--proba: expected a model of classes, {got}")
    if args.interval is not None and not number:
        raise ValueError(f"--interval: expected a model of a number, got one of classes, {model.recipe.target.name!r}")
    half = model.half_width(args.interval) if args.interval is not None else None
    table = model.recipe.read(args.table)
    y_hat = model.network.predict(model.recipe.x(table), threads=args.threads)
    identified = [name for name in model.id if name in table.columns]
    for remark in [
        *model.recipe.remarks(table),
        *(f"{name}: no such column" for name in model.id if name not in identified),
    ]:
        print("backprop:", *remark.split(), file=sys.stderr)
    head, rows = _numbers(model, y_hat, half) if number else _classes(model, y_hat, args.proba)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*identified, *head])
    names = zip(*(table.cells(name) for name in identified), strict=True) if identified else [()] * len(table)
    out.writerows([*name, *row] for name, row in zip(names, rows, strict=True))
    print(text.getvalue(), end="")


def _numbers(model: Model, y_hat: Array, half: float | None) -> tuple[list[str], Any]:
    """The head and the rows: a number, and the ends of its interval."""
    target = model.recipe.target
    assert isinstance(target, tables.Number)
    written = target.written(y_hat[:, 0])
    if half is None:
        return [target.name], ([number] for number in written)
    places = 2 - math.floor(math.log10(half)) if half else 17  # a hundredth of an interval is of no matter
    values = target.decode(y_hat[:, 0]).tolist()
    ends = [[digits(round(value + end, places)) for end in (-half, half)] for value in values]
    rows = ([number, *both] for number, both in zip(written, ends, strict=True))
    return [target.name, f"{target.name} from", f"{target.name} to"], rows


def _classes(model: Model, y_hat: Array, proba: bool) -> tuple[list[str], Any]:
    """The head and the rows: a class, and its probability or that of each."""
    target = model.recipe.target
    assert isinstance(target, tables.Text)
    head = [target.name, *(target.categories if proba else ["probability"])]
    return head, ([target.categories[p.argmax()], *map(str, p if proba else [np.max(p)])] for p in y_hat)
