"""The command line: ``python -m backprop train digits``, ``predict MODEL FILE.csv``, ``trace xor``, ``play``, ``info``.

A command ends in its result, or in one line on the standard error that says what was expected, what came, and where.
Files are written at the very end, and wholly; whether they can be is checked before the work begins.
"""

import argparse
import csv
import errno
import io
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

import backprop as bp

from . import _validate, datasets, metrics, plots, tables
from .io import atomic
from .tables.cells import digits
from .tables.reader import STDIN

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
    """Train, test, and write the model and its picture."""
    output, picture = _checked(args)
    rng = np.random.default_rng(args.seed)
    task = _task(args, rng)
    alone = task.test is task.train
    (x, y), validation = (task.train, None) if alone or not args.early_stopping else _validation_split(task, rng)
    net = _network(task, rng)
    others = "the same" if alone else f"{len(task.test[0]):,} others"
    print(*task.remarks, f"{_called(args)}: {len(task.train[0]):,} rows to train on, {others} to test on", sep="\n")
    print(net.summary())
    steps = task.epochs * -(-len(x) // task.batch_size)
    loss, metric = ("cross_entropy", "accuracy") if task.classes else ("mse", "r2")
    stopping = bp.EarlyStopping(patience=max(10, task.epochs // 5))
    history = net.fit(
        x, y, loss=loss, optimizer=bp.Adam(bp.schedules.Polynomial(task.learning_rate, steps)),
        epochs=task.epochs, batch_size=task.batch_size, validation_data=validation or (None if alone else task.test),
        metrics=[metric], callbacks=[stopping] if validation else [], progress=True, threads=args.threads,
    )  # fmt: skip
    scores = _scores(task, net, args.threads)
    drawn = _picture(task, net, history) if picture else None
    net.save(output)
    print(f"model: {output}")
    if picture and drawn:
        atomic.write(picture, drawn)
        print(f"picture: {picture}")
    if validation:
        best, epochs = stopping.state["best_epoch"], len(history["loss"])
        print(f"best epoch: {best} of {epochs}, by the loss on {len(validation[0]):,} training rows held out")
    print(*scores, sep="\n")


def predict(args: argparse.Namespace) -> None:
    """Write the predictions for a table, as CSV."""
    net = bp.load(args.model)
    recipe = _recipe(net, args.model)
    target, text = recipe.target, io.StringIO()
    if args.proba and isinstance(target, tables.Number):
        raise ValueError(f"--proba: expected a model of classes, got one that predicts the number {target.name!r}")
    table = recipe.read(args.table)
    y_hat = net.predict(recipe.x(table), threads=args.threads)
    for remark in recipe.remarks(table):
        print("backprop:", *remark.split(), file=sys.stderr)
    out = csv.writer(text, lineterminator="\n")
    if isinstance(target, tables.Number):
        out.writerow([target.name])
        out.writerows([number] for number in target.written(y_hat[:, 0]))
    else:
        out.writerow([target.name, *(target.categories if args.proba else ["probability"])])
        out.writerows((target.categories[p.argmax()], *map(str, p if args.proba else [p.max()])) for p in y_hat)
    print(text.getvalue(), end="")


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
                _refuse_same_file(Path(args.html), Path(given), "the model and the table", "--html")
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
    """A model, and rows of a table with the loss that it was trained by."""
    if args.table is None:
        raise ValueError(f"trace: expected xor, or a model and a table, got {args.model!r} alone")
    net = bp.load(args.model)
    recipe = _recipe(net, args.model)
    table = recipe.read(args.table)
    for row in args.row or ():
        if row not in table.lines:
            raise ValueError(f"--row: expected one from {table.lines[0]} to {table.lines[-1]}, got {row}")
    table = table.rows([table.lines.index(row) for row in args.row or table.lines[:1]])
    net.feature_names = recipe.features
    target = recipe.target
    if isinstance(target, tables.Number):
        return net, recipe.x(table), target.encode(table), "mse"
    return net, recipe.x(table), target.labels(table), "cross_entropy"


def play(args: argparse.Namespace) -> None:
    """Serve the playground, a page in the browser, until Ctrl-C."""
    from . import play as playground  # which nothing else needs

    port = _validate.integer(args.port, "--port", 0, 65535)
    if args.what is None:
        _refuse_columns(args, "without one")
        playground.serve(None, port=port, browser=not args.no_browser)
        return
    points, remarks = playground.of_table(*_read(args), args.target)
    print(*remarks, sep="\n")
    playground.serve(points, port=port, browser=not args.no_browser)


def info(args: argparse.Namespace) -> None:
    """Say what a bug report should say."""
    for name, value in bp.show_config().items():
        print(f"{name}: {value}")


# What there is to train on.


class Task(NamedTuple):
    """Rows to train on and to test on, and the hyperparameters where the options do not give them."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]
    classes: int  # 0: regression
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int = 32
    learning_rate: float = 3e-3
    activation: str = "relu"
    dropout: float = 0.0
    plot: str = "curves"
    recipe: tables.Recipe | None = None
    remarks: Sequence[str] = ()


def _task(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    """The task with the hyperparameters that suit it, and the options where they are given."""
    if args.what not in TASKS and (_is_stdin(args) or Path(args.what).suffix or Path(args.what).exists()):
        task = _table(args, rng)
    else:
        make = TASKS[_validate.choice(args.what, "train", [*TASKS, "FILE.csv"])]
        _refuse_columns(args, f"with {args.what}")
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
    rows = datasets.xor()  # all there are, to train and to test on
    return Task(rows, rows, 2, (8,), epochs=500, batch_size=4, learning_rate=0.05, activation="tanh", plot="regions")


def _table(args: argparse.Namespace, rng: np.random.Generator) -> Task:
    table, options = _read(args)
    rows = tables.prepared(table, args.target, lambda labels: datasets.hold_out(labels, rng), **options)
    (x, y), train, test = (rows.x, rows.y), rows.train, rows.test
    return Task(
        (x[train], y[train]), (x[test], y[test]), len(rows.classes or ()), (64, 32),
        epochs=min(100, max(5, 500_000 // len(x))), learning_rate=1e-3, dropout=0.1, recipe=rows.recipe,
        remarks=rows.remarks,
    )  # fmt: skip


def _read(args: argparse.Namespace) -> tuple[tables.Table, dict[str, Any]]:
    """The table, and how its columns are to be read."""
    table = tables.read(args.what, args.header)
    if args.target is None:
        raise ValueError(f"{table.path}: expected --target COLUMN, one of {', '.join(table.columns)}")
    options = {name: _columns(getattr(args, name), table) for name in ("numeric", "category", "drop")}
    return table, {"task": args.task, "decimal": args.decimal, **options}


def _refuse_columns(args: argparse.Namespace, instead: str) -> None:
    """Refuse options of a CSV file where there is none."""
    for option in "target", "task", "numeric", "category", "drop", "decimal", "header":
        if (value := getattr(args, option)) is not None:
            raise ValueError(f"--{option}: expected only with a CSV file, got {value!r} {instead}")


def _columns(words: Iterable[str] | None, table: tables.Table) -> list[str]:
    """The columns that an option names, several with commas between them, as long as none is called so."""
    return [name for word in words or () for name in ([word] if word in table.columns else word.split(","))]


#: Of fewer rows none can be spared for early stopping.
FEWEST = 40

#: What `train` knows by name.
TASKS = {"digits": _digits, "mnist": _mnist, "moons": _moons, "xor": _xor}


def _divided(x: Array, y: Array, rng: np.random.Generator) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    train, test = datasets.hold_out(y, rng)
    return (x[train], y[train]), (x[test], y[test])


def _validation_split(task: Task, rng: np.random.Generator) -> tuple[tuple[Array, Array], tuple[Array, Array] | None]:
    """The rows to train on, and some of them, if they are many, held out for early stopping."""
    x, y = task.train
    if len(x) < FEWEST:
        return task.train, None
    try:
        labels = y if task.classes else np.zeros(len(y))
        train, held_out = datasets.hold_out(labels, rng, 0.2 if len(x) < 5 * FEWEST else 0.1)
    except ValueError:  # each class has but one row
        return task.train, None
    return (x[train], y[train]), (x[held_out], y[held_out])


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


# The results.


def _scores(task: Task, net: bp.Sequential, threads: int | None) -> list[str]:
    """The test scores, an accuracy beside that of always predicting the largest class."""
    x, y = task.test
    y_hat = net.predict(x, threads=threads)
    if task.classes:
        labels = np.bincount(task.train[1], minlength=task.classes)
        largest = int(labels.argmax())
        target = task.recipe.target if task.recipe else None
        name = target.categories[largest] if isinstance(target, tables.Text) else largest
        return [
            f"accuracy of always predicting {name}: {_below(100 * float(np.mean(y == largest)), 1)} %",
            f"test accuracy: {_below(100 * metrics.accuracy(y_hat, y), 1)} %",
        ]
    assert task.recipe
    assert isinstance(task.recipe.target, tables.Number)
    predicted, true = (task.recipe.target.decode(numbers) for numbers in (y_hat, y))
    errors = [("rmse", metrics.rmse(predicted, true)), ("mae", metrics.mae(predicted, true))]
    scores = [f"test {name}: {digits(float(f'{error:.4g}'))}" for name, error in errors]
    return [*scores, f"test r2: {_below(metrics.r2(predicted, true), 4)}"]


def _below(score: float, places: int) -> str:
    """A score, rounded down: only what is perfect looks so."""
    return f"{math.floor(round(score * 10**places, 6)) / 10**places:.{places}f}"


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


def _is_stdin(args: argparse.Namespace) -> bool:
    return args.what in STDIN


def _called(args: argparse.Namespace) -> str:
    return "stdin" if _is_stdin(args) else str(args.what)


def _checked(args: argparse.Namespace) -> tuple[Path, Path | None]:
    """Where to write model and picture; options and files that do not make sense are refused before the work begins."""
    for option, least in ("epochs", 1), ("batch_size", 1), ("seed", 0), ("threads", 1):
        value = getattr(args, option)
        if value is not None:
            _validate.integer(value, f"--{option.replace('_', '-')}", least)
    if args.learning_rate is not None:
        _validate.number(args.learning_rate, "--learning-rate", above=0)
    output = Path(args.output or f"{Path(_called(args)).stem}.safetensors")
    if output.suffix != ".safetensors":
        raise ValueError(f"--output: expected a name that ends in .safetensors, got {str(output)!r}")
    if not output.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(output.parent))
    picture = None if args.no_plot else output.with_suffix(".png")
    inputs = [*Path(args.data).glob("*")] if args.data else []
    if args.what not in TASKS and not _is_stdin(args):
        inputs.append(Path(args.what))
    for written in [output, picture] if picture else [output]:
        for given in inputs:
            _refuse_same_file(written, given, "the data")
        atomic.expect_writable([str(written)])
    if picture:
        _refuse_same_file(picture, output, "the model")
    return output, picture


def _refuse_same_file(written: Path, other: Path, what: str, option: str = "--output") -> None:
    """Refuse to write over a file, by whatever name, link or hard link."""
    if written.exists() and other.exists() and written.samefile(other):
        raise ValueError(f"{written}: expected another file than {what}, {other}, to write to: use {option}")


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
    parser.add_argument("--version", action="version", version=f"backprop {bp.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    text = "Train on data, test, and write a model and a picture. What is not given is chosen to suit the data."
    learn = commands.add_parser("train", help="train on data, test, write a model and a picture", description=text)
    learn.set_defaults(run=train)
    learn.add_argument("what", metavar="DATA", help=f"{', '.join(TASKS)}, or a CSV file; - for stdin")
    _add_columns(learn.add_argument_group("of a CSV file"))
    learn.add_argument("--data", metavar="FOLDER", help="of mnist: where its four files are")
    learn.add_argument("--hidden", type=_sizes, metavar="N,N", help="sizes of the hidden layers, such as 64,32")
    learn.add_argument("--epochs", type=int, metavar="N")
    learn.add_argument("--batch-size", type=int, metavar="N")
    learn.add_argument("--learning-rate", type=float, metavar="X", help="at the start; it falls linearly to 0")
    learn.add_argument("--seed", type=int, default=0, metavar="N", help="the same gives the same model (default 0)")
    learn.add_argument("--output", metavar="MODEL", help="default: DATA.safetensors in this folder; DATA.png beside it")
    learn.add_argument("--no-plot", action="store_true", help="make no picture")
    text = "train to the last epoch, on all rows; else a tenth is held out for validation"
    learn.add_argument("--no-early-stopping", dest="early_stopping", action="store_false", help=text)

    say = commands.add_parser("predict", help="write the predictions for a table, as CSV")
    say.set_defaults(run=predict)
    say.add_argument("model", metavar="MODEL", help="that was trained on a CSV file")
    say.add_argument("table", metavar="FILE.csv", help="with the same columns; the target may be absent; - for stdin")
    say.add_argument("--proba", action="store_true", help="write the probability of each class, a column for each")

    text = "Write every number of one training step: forward, loss, backward, update."
    show = commands.add_parser("trace", help="write every number of one training step", description=text)
    show.set_defaults(run=trace)
    show.add_argument("model", metavar="MODEL", help="that was trained on a CSV file; or xor, a new network of 2-2-1")
    show.add_argument("table", metavar="FILE.csv", nargs="?", help="with the same columns, the target included")
    text = "of the file, where the header is row 1; of xor, 1 to 4; several: the option again (default: the first; of "
    show.add_argument("--row", type=int, action="append", metavar="N", help=text + "xor, all)")
    show.add_argument("--optimizer", metavar="NAME", help="whose first step is shown (default sgd)")
    show.add_argument("--learning-rate", type=float, metavar="X")
    show.add_argument("--seed", type=int, default=0, metavar="N", help="of the weights of xor (default 0)")
    text = "in evaluation mode: without dropout, by running statistics, without an optimizer"
    show.add_argument("--evaluation", action="store_true", help=text)
    show.add_argument("--explain", metavar="NAME", help="one number alone, by the chain rule, such as 0.weight[0,1]")

    show.add_argument("--html", metavar="PAGE", help="write a page instead, whose drawing opens the formulas")

    text = "Train a network in the browser, step by step, and look at every number of it. Ctrl-C ends it."
    page = commands.add_parser("play", help="a playground in the browser", description=text)
    page.set_defaults(run=play)
    page.add_argument("what", metavar="FILE.csv", nargs="?", help="to learn on, beside data sets that are made")
    _add_columns(page.add_argument_group("of a CSV file"))
    page.add_argument("--port", type=int, default=0, metavar="N", help="default: any that is free")
    page.add_argument("--no-browser", action="store_true", help="print the address, and do not open it")

    for command in learn, say:
        command.add_argument("--threads", type=int, metavar="N", help="default: as many as pay")
    commands.add_parser("info", help="version, instruction set, threads").set_defaults(run=info)
    return parser


def _add_columns(group: argparse._ArgumentGroup) -> None:
    """The options that say how a table is read."""
    group.add_argument("--target", metavar="COLUMN", help="the column to predict")
    text = "classes or a number; by default ten whole numbers or fewer are classes"
    group.add_argument("--task", choices=["classification", "regression"], help=text)
    for option, what in ("numeric", "as numbers"), ("category", "as categories"), ("drop", "not at all"):
        text = f"read these {what}; several with commas, or the option again"
        group.add_argument(f"--{option}", action="append", metavar="COLUMN", help=text)
    text = "point or comma, where 1,234 could be two numbers"
    group.add_argument("--decimal", choices=[".", ","], metavar="MARK", help=text)
    group.add_argument("--header", action="store_true", default=None, help="the first row names the columns")
    text = "it does not: the columns are called 1, 2, ..."
    group.add_argument("--no-header", dest="header", action="store_false", default=None, help=text)


if __name__ == "__main__":
    sys.exit(main())
