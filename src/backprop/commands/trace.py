"""``trace``: every number of one training step on a few rows."""

import argparse
from pathlib import Path

import numpy as np

import backprop as bp

from .. import _validate, tables
from ..io import atomic
from . import options
from .models import loaded

__all__ = ["trace"]

Array = _validate.Array


def trace(args: argparse.Namespace) -> None:
    """Write every number of one training step on a few rows."""
    net, x, y, loss = _xor_by_hand(args) if args.model == "xor" else _traced(args)
    if args.learning_rate is not None:
        _validate.number(args.learning_rate, "--learning-rate", above=0)
    if args.evaluation and (args.optimizer or args.learning_rate):
        given = "--optimizer" if args.optimizer else "--learning-rate"
        raise ValueError(f"{given}: expected none with --evaluation, which makes no step, got one")
    optimizer = bp.optimizers.get(args.optimizer or "sgd")
    if args.learning_rate is not None:
        optimizer.learning_rate = args.learning_rate
    if args.html is not None:
        atomic.expect_writable([args.html])
        for given in (args.model, args.table):
            if given is not None:
                options.refuse_same_file(Path(args.html), Path(given), "the model and the table", "--html")
    found = net.trace(x, y, loss, optimizer=None if args.evaluation else optimizer, training=not args.evaluation)
    text = found.explain(args.explain) if args.explain else found
    if args.html is not None:
        found.to_html(args.html)
        text = f"page: {args.html}"
    print(text)


def _xor_by_hand(args: argparse.Namespace) -> tuple[bp.Sequential, Array, Array, str]:
    """The smallest network that learns XOR, and its rows."""
    if args.table is not None:
        raise ValueError(f"trace: expected no table after xor, got {args.table!r}")
    net = bp.Sequential(
        [bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")],
        rng=_validate.integer(args.seed, "--seed", 0), dtype="float64",
    )  # fmt: skip
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    rows = [_validate.integer(row, "--row", 1, len(x)) - 1 for row in args.row or (1, 2, 3, 4)]
    return net, x[rows], y[rows], "mse"


def _traced(args: argparse.Namespace) -> tuple[bp.Sequential, Array, Array, str]:
    """A network of a model, and rows of a table with its loss."""
    if args.table is None:
        raise ValueError(f"trace: expected xor, or a model and a table, got {args.model!r} alone")
    model = loaded(args.model)
    nets, target = model.table.ensemble, model.target
    net = nets[_validate.integer(args.member, "--member", 1, len(nets)) - 1]
    if len(nets) > 1:
        print(f"{args.model}: network {args.member} of {len(nets)} (--member N traces another)")
    table = model.read(args.table)
    for row in args.row or ():
        if row not in table.lines:
            raise ValueError(f"--row: expected one from {table.lines[0]} to {table.lines[-1]}, got {row}")
    table = table.rows([table.lines.index(row) for row in args.row or table.lines[:1]])
    net.feature_names = model.table.encoding.names
    x = model.table.encoding(table)
    if isinstance(target, tables.Number):
        return net, x, target.encode(table), "mse"
    return net, x, target.labels(table), "cross_entropy"
