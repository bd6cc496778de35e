"""The command line: ``python -m backprop train digits``, ``predict MODEL FILE.csv``, ``info``.

A command ends in its result, or in one line on the standard error that says what was expected, what came, and where.
Files are written at the very end, and wholly.
"""

import argparse
import csv
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

import backprop as bp

from . import _validate, datasets, files, plots, tables

__all__ = ["main"]

Array = _validate.Array


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        What follows ``python -m backprop``. Default: what did.

    Returns
    -------
    int
        The exit status: 0; 2 after an error; 130 after Ctrl-C; 141 where nobody reads the output any more.
    """
    try:
        args = _parser().parse_args(argv)
        args.run(args)
        print(end="", flush=True)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        _drop_output()
        return 141
    except bp.DivergedError as error:
        return _fail(f"error: the loss stopped being finite in epoch {error.epoch + 1}: lower --learning-rate")
    except OSError as error:
        if error.filename is None:  # as where the standard output is a full disk
            _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"error: {where}{error.strerror or error}")
    except (ImportError, MemoryError, ValueError) as error:
        return _fail(f"error: {str(error) or 'not enough memory'}")
    return 0


def _fail(message: str, status: int = 2) -> int:
    print("backprop:", *message.split(), file=sys.stderr)  # one line, also where a name has several
    return status


def _drop_output() -> None:
    """Let what is not yet flushed go nowhere, as it cannot go where it should: Python would try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# The commands.


def train(args: argparse.Namespace) -> None:
    """Learn, test, and write the model and its picture."""
    output = _checked(args)
    rng = np.random.default_rng(args.seed)
    task = _task(args, rng)
    net = _network(task, rng)
    (x, y), others = task.train, None if task.test is task.train else task.test
    tested = f"{len(others[0]):,} others" if others else "the same"
    print(f"{args.what}: {len(x):,} rows to learn from, {tested} to test on")
    print(net.summary())
    steps = task.epochs * -(-len(x) // task.batch_size)
    loss, metric = ("cross_entropy", "accuracy") if task.classes else ("mse", "r2")
    history = net.fit(
        x, y, loss=loss, optimizer=bp.Adam(bp.schedules.Polynomial(task.learning_rate, steps)),
        epochs=task.epochs, batch_size=task.batch_size, validation_data=others, metrics=[metric],
        progress=True, threads=args.threads,
    )  # fmt: skip
    score = net.evaluate(*task.test, loss=loss, metrics=[metric], threads=args.threads)[metric]
    picture = None if args.no_plot else _picture(task, net, history)
    net.save(output)
    print(f"model: {output}")
    if picture:
        files.write(output.with_suffix(".png"), picture)
        print(f"picture: {output.with_suffix('.png')}")
    print(f"test accuracy: {100 * score:.1f} %" if task.classes else f"test r2: {score:.2f}")


def predict(args: argparse.Namespace) -> None:
    """Write what a model says of a table, as CSV."""
    net = bp.load(args.model)
    recipe = _recipe(net, args.model)
    y_hat = net.predict(recipe.x(tables.read(args.table)), threads=args.threads)
    target, text = recipe.target, io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    if isinstance(target, tables.Text):
        out.writerow([target.name, "probability"])
        out.writerows((target.categories[p.argmax()], f"{p.max():.4f}") for p in y_hat)
    else:
        out.writerow([target.name])
        out.writerows([f"{value:.7g}"] for value in target.decode(y_hat[:, 0]))
    print(text.getvalue(), end="")


def info(args: argparse.Namespace) -> None:
    """Say what a bug report should say."""
    for name, value in bp.show_config().items():
        print(f"{name}: {value}")


# What there is to learn.


class Task(NamedTuple):
    """Rows to learn from and to test on, and how to go about it where the options do not say."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]
    classes: int  # 0 where a number is to be predicted
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int = 32
    learning_rate: float = 3e-3
    activation: str = "relu"
    dropout: float = 0.0
    plot: str = "curves"
    recipe: tables.Recipe | None = None


def _task(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    """The task with the defaults that suit it, and the options where they are given."""
    if args.what not in TASKS and (Path(args.what).suffix or Path(args.what).exists()):
        task = _table(args, rng)
    else:
        make = TASKS[_validate.choice(args.what, "train", [*TASKS, "FILE.csv"])]
        if args.target is not None:
            raise ValueError(f"--target: expected only with a CSV file, got {args.target!r} with {args.what}")
        task = make(args, rng)
    given = {name: getattr(args, name) for name in ("hidden", "epochs", "batch_size", "learning_rate")}
    return task._replace(**{name: value for name, value in given.items() if value is not None})


def _digits(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    train, test = _divided(*datasets.digits(), rng)
    return Task(train, test, 10, (256, 128), epochs=60, dropout=0.3, plot="digits")


def _mnist(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    if args.data is None:
        raise ValueError("mnist: expected --data FOLDER, where its four files are")
    x, y, x_test, y_test = datasets.mnist(args.data)
    return Task((x, y), (x_test, y_test), 10, (128,), epochs=5, batch_size=64, plot="digits")


def _moons(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    train, test = _divided(*datasets.moons(rng=rng), rng)
    return Task(train, test, 2, (32, 32), epochs=100, activation="tanh", plot="regions")


def _xor(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    rows = datasets.xor()  # all there are: they are learned from and tested on
    return Task(rows, rows, 2, (8,), epochs=500, batch_size=4, learning_rate=0.05, activation="tanh", plot="regions")


def _table(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    table = tables.read(args.what)
    if args.target is None:
        raise ValueError(f"{table.path}: expected --target COLUMN, one of {', '.join(table.columns)}")
    classes, y = table.target(args.target)
    train, test = datasets.hold_out(y if classes else np.zeros(len(y)), rng)
    recipe = tables.Recipe.learn(table, args.target, train)
    x, y = recipe.x(table), y if classes else recipe.target.encode(table)
    return Task(
        (x[train], y[train]), (x[test], y[test]), len(classes or ()), (64, 32),
        epochs=min(100, max(5, 500_000 // len(x))), learning_rate=1e-3, dropout=0.1, recipe=recipe,
    )  # fmt: skip


#: What `train` knows by name.
TASKS = {"digits": _digits, "mnist": _mnist, "moons": _moons, "xor": _xor}


def _divided(x: Array, y: Array, rng: np.random.Generator) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    train, test = datasets.hold_out(y, rng)
    return (x[train], y[train]), (x[test], y[test])


def _network(task: Task, rng: np.random.Generator) -> bp.Sequential:
    layers: list[bp.Layer] = []
    n = task.train[0].shape[1]
    for width in task.hidden:
        layers.append(bp.Dense(n, width, task.activation))
        if task.dropout:
            layers.append(bp.Dropout(task.dropout))
        n = width
    layers.append(bp.Dense(n, task.classes, "softmax") if task.classes else bp.Dense(n, 1))
    net = bp.Sequential(layers, rng=rng)
    if task.recipe:
        net.metadata["recipe"] = task.recipe.to_dict()
    return net


# What it comes to.


def _picture(task: Task, net: bp.Sequential, history: bp.History) -> bytes | None:
    """The picture that suits the task, as a PNG file; None, and how to come by one, where matplotlib is missing."""
    x, y = task.test
    try:
        if task.plot == "digits":
            return plots.png(plots.digits(history, x, y, net.predict(x)))
        if task.plot == "regions":
            return plots.png(plots.regions(history, net, x, y))
        return plots.png(plots.curves(history))
    except ImportError as error:
        print(f"no picture: {error}")
        return None


def _recipe(net: bp.Sequential, path: str) -> tables.Recipe:
    """The recipe that a model carries, refused where the two do not fit."""
    if "recipe" not in net.metadata:
        raise ValueError(f"{path}: expected a model trained on a CSV file, got one without a recipe for its columns")
    try:
        recipe = tables.Recipe.from_dict(net.metadata["recipe"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if (recipe.n_in, recipe.target.width) != (net.n_in, net.n_out):
        raise ValueError(
            f"{path}: the recipe makes {recipe.n_in} numbers of a row and expects {recipe.target.width} back, "
            f"the network takes {net.n_in} and gives {net.n_out}"
        )
    return recipe


# The options.


def _checked(args: argparse.Namespace) -> Path:
    """Where to write the model; the options that do not make sense are refused before the work begins."""
    for option, least in ("epochs", 1), ("batch_size", 1), ("seed", 0), ("threads", 1):
        value = getattr(args, option)
        if value is not None:
            _validate.integer(value, f"--{option.replace('_', '-')}", least)
    if args.learning_rate is not None:
        _validate.number(args.learning_rate, "--learning-rate", above=0)
    output = Path(args.output or f"{Path(args.what).stem}.safetensors")
    if output.suffix != ".safetensors":
        raise ValueError(f"--output: expected a name that ends in .safetensors, got {str(output)!r}")
    if not output.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(output.parent))
    return output


def _sizes(text: str) -> tuple[int, ...]:
    """Read ``64,32``."""
    try:
        return tuple(_validate.integer(int(word), "size") for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected sizes such as 64,32, got {text!r}") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave it to `main` to say it, in one line."""
        raise ValueError(f"{message} (--help shows the options)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m backprop", description="Train and use dense neural networks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    text = "Learn from data, test, and write a model and a picture. What is not given is chosen to suit the data."
    learn = commands.add_parser("train", help="learn from data, test, write a model and a picture", description=text)
    learn.set_defaults(run=train)
    learn.add_argument("what", metavar="DATA", help=f"{', '.join(TASKS)}, or a CSV file with a header")
    learn.add_argument("--target", metavar="COLUMN", help="of a CSV file: the column to predict")
    learn.add_argument("--data", metavar="FOLDER", help="of mnist: where its four files are")
    learn.add_argument("--hidden", type=_sizes, metavar="N,N", help="sizes of the hidden layers, such as 64,32")
    learn.add_argument("--epochs", type=int, metavar="N")
    learn.add_argument("--batch-size", type=int, metavar="N")
    learn.add_argument("--learning-rate", type=float, metavar="X", help="at the start; it falls to 0 on a line")
    learn.add_argument("--seed", type=int, default=0, metavar="N", help="the same gives the same model (default 0)")
    learn.add_argument("--output", metavar="MODEL", help="default: DATA.safetensors in this folder; DATA.png beside it")
    learn.add_argument("--no-plot", action="store_true", help="make no picture")

    say = commands.add_parser("predict", help="write what a model says of a table, as CSV")
    say.set_defaults(run=predict)
    say.add_argument("model", metavar="MODEL", help="that was trained on a CSV file")
    say.add_argument("table", metavar="FILE.csv", help="with the same columns; the target may be missing")

    for command in learn, say:
        command.add_argument("--threads", type=int, metavar="N", help="default: as many as pay")
    commands.add_parser("info", help="version, instruction set, threads").set_defaults(run=info)
    return parser


if __name__ == "__main__":
    sys.exit(main())
