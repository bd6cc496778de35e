"""``train``: train on data, test, and write a model and its picture."""

import argparse
import io
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import backprop as bp

from .. import _validate, datasets, plots
from ..distributed import launched, over
from ..io import atomic
from . import options, scores, table

__all__ = ["train"]

Array = _validate.Array


def train(args: argparse.Namespace) -> None:
    """Train, test, and write the model and its picture; over the ranks of MPI, where a launcher has started several."""
    comm = launched()
    if comm is None:
        _train(args)
        return
    with over(comm) as ranks, ExitStack() as silent:
        if ranks.rank > 0:
            silent.enter_context(redirect_stdout(io.StringIO()))
            silent.enter_context(redirect_stderr(io.StringIO()))
        _train(args, writes=ranks.rank == 0)


def _train(args: argparse.Namespace, writes: bool = True) -> None:
    output, picture = options.checked(args)
    of_file = options.is_stdin(args.what) or Path(args.what).suffix or Path(args.what).exists()
    if args.what not in TASKS and of_file:
        made = table.trained(args)
    else:
        make = TASKS[_validate.choice(args.what, "train", [*TASKS, "FILE.csv"])]
        options.refuse_columns(args, f"with {args.what}")
        rng = np.random.default_rng(args.seed)
        made = _trained(_with_options(make(args, rng), args), args, rng)
    if not writes:
        return
    drawn = _png(made.draw) if picture else None
    made.save(str(output))
    print(f"model: {output}")
    if picture and drawn:
        atomic.write(picture, drawn)
        print(f"picture: {picture}")
    for line in made.lines:
        print(line)


def _png(draw: Callable[[], Any]) -> bytes | None:
    """A picture as a PNG file; None, and how to come by one, where matplotlib is missing."""
    try:
        return plots.png(draw())
    except ImportError as error:
        print(f"no picture: {error}")
        return None


# What is trained on by name.


#: Of fewer rows none can be spared to find the best epoch.
FEWEST = 40


class Task(NamedTuple):
    """Rows to train on and to test on, and the hyperparameters where the options do not give them."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]
    classes: int
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int = 32
    learning_rate: float = 3e-3
    activation: str = "relu"
    dropout: float = 0.0
    plot: str = "digits"


def _digits(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    train, test = _divided(*datasets.digits(), rng)
    return Task(train, test, 10, (256, 128), epochs=60, dropout=0.3)


def _mnist(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    if args.data is None:
        raise ValueError("mnist: expected --data FOLDER, where its four files are")
    x, y, x_test, y_test = datasets.mnist(args.data)
    return Task((x, y), (x_test, y_test), 10, (128,), epochs=5, batch_size=64)


def _moons(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    train, test = _divided(*datasets.moons(rng=rng), rng)
    return Task(train, test, 2, (32, 32), epochs=100, activation="tanh", plot="regions")


def _xor(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    rows = datasets.xor()  # all there are, to train and to test on
    return Task(rows, rows, 2, (8,), epochs=500, batch_size=4, learning_rate=0.05, activation="tanh", plot="regions")


TASKS: dict[str, Any] = dict(zip(options.NAMES, (_digits, _mnist, _moons, _xor), strict=True))


def _divided(x: Array, y: Array, rng: np.random.Generator) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    train, test = datasets.hold_out(y, rng)
    return (x[train], y[train]), (x[test], y[test])


def _held_out(labels: Array, rng: np.random.Generator) -> tuple[Array, Array] | None:
    """The rows to train on, and some of them, if they are many, by which epochs are judged."""
    if len(labels) < FEWEST:
        return None
    return datasets.hold_out(labels, rng, 0.2 if len(labels) < 5 * FEWEST else 0.1)


def _with_options(task: Task, args: argparse.Namespace) -> Task:
    given = {name: getattr(args, name) for name in ("hidden", "epochs", "batch_size", "learning_rate")}
    return task._replace(**{name: value for name, value in given.items() if value is not None})


def _trained(task: Task, args: argparse.Namespace, rng: np.random.Generator) -> "table.Made":
    """A network for the task, and what is to be said of it."""
    alone = task.test is task.train
    parts = None if alone or not args.early_stopping else _held_out(task.train[1], rng)
    (x, y), validation = task.train, None if alone else task.test
    if parts:
        (x, y), validation = ((task.train[0][rows], task.train[1][rows]) for rows in parts)
    net = _network(task, rng)
    others = "the same" if alone else f"{len(task.test[0]):,} others"
    print(f"{options.called(args.what)}: {len(task.train[0]):,} rows to train on, {others} to test on")
    print(net.summary())
    stopping = bp.EarlyStopping(patience=max(10, task.epochs // 5))
    steps = task.epochs * -(-len(x) // task.batch_size)
    history = net.fit(
        x, y, loss="cross_entropy", optimizer=bp.Adam(bp.schedules.Polynomial(task.learning_rate, steps)),
        epochs=task.epochs, batch_size=task.batch_size, validation_data=validation, metrics=["accuracy"],
        callbacks=[stopping] if parts else [], progress=True, threads=args.threads,
    )  # fmt: skip
    x, y = task.test
    p = net.predict(x, threads=args.threads)
    largest = int(np.bincount(task.train[1], minlength=task.classes).argmax())
    lines = scores.of_classes(p, y, largest, [*map(str, range(task.classes))], full=False)
    if parts and validation:
        best, epochs = stopping.state["best_epoch"], len(history["loss"])
        rows = f"{len(validation[0]):,} training rows held out"
        lines = [f"best epoch: {best} of {epochs}, by the loss on {rows}", *lines]

    def draw() -> Any:
        return plots.digits(history, x, y, p) if task.plot == "digits" else plots.regions(history, net, x, y)

    return table.Made(net.save, draw, lines)


def _network(task: Task, rng: np.random.Generator) -> bp.Sequential:
    layers: list[bp.Layer] = []
    n = task.train[0].shape[1]
    for width in task.hidden:
        layers.append(bp.Dense(n, width, task.activation))
        if task.dropout:
            layers.append(bp.Dropout(task.dropout))
        n = width
    return bp.Sequential([*layers, bp.Dense(n, task.classes, "softmax")], rng=rng)
