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
from .models import loaded

__all__ = ["predict"]

Array = _validate.Array


def predict(args: argparse.Namespace) -> None:
    """Write the predictions for a table, as CSV: what identifies a row, then what is predicted."""
    model = loaded(args.model)
    target = model.target
    if args.proba and isinstance(target, tables.Number):
        got = f"got one that predicts the number {target.name!r}"
        raise ValueError(f"--proba: expected a model of classes, {got}")
    if args.interval is not None and isinstance(target, tables.Text):
        raise ValueError(f"--interval: expected a model of a number, got one of classes, {target.name!r}")
    half = None if args.interval is None else model.table.half_width(args.interval, "--interval")[0].item()
    table = model.read(args.table)
    predicted = model.table.predict(table, args.threads)
    identified = [name for name in model.id if name in table.columns]
    for remark in [
        *model.remarks(table),
        *(f"{name}: no such column" for name in model.id if name not in identified),
    ]:
        print("backprop:", *remark.split(), file=sys.stderr)
    head, rows = (
        _numbers(target, predicted[:, 0], half)
        if isinstance(target, tables.Number)
        else _classes(target, predicted, args.proba)
    )
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*identified, *head])
    names = zip(*(table.cells(name) for name in identified), strict=True) if identified else [()] * len(table)
    out.writerows([*name, *row] for name, row in zip(names, rows, strict=True))
    print(text.getvalue(), end="")


def _numbers(target: tables.Number, predicted: Array, half: float | None) -> tuple[list[str], Any]:
    """The head and the rows: a number, and the ends of its interval."""
    written = target.written(target.scale(predicted))
    if half is None:
        return [target.name], ([number] for number in written)
    places = 2 - math.floor(math.log10(half)) if half else 17  # a hundredth of an interval is of no matter
    ends = [[digits(round(value + end, places)) for end in (-half, half)] for value in predicted.tolist()]
    rows = ([number, *both] for number, both in zip(written, ends, strict=True))
    return [target.name, f"{target.name} from", f"{target.name} to"], rows


def _classes(target: tables.Text, predicted: Array, proba: bool) -> tuple[list[str], Any]:
    """The head and the rows: a class, and its probability or that of each."""
    head = [target.name, *(target.categories if proba else ["probability"])]
    return head, ([target.categories[p.argmax()], *map(str, p if proba else [np.max(p)])] for p in predicted)
