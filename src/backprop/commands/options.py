"""The options of the command line, and what is refused before any work begins."""

import argparse
import errno
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import backprop as bp

from .. import _validate, tables
from ..io import atomic
from ..tables.reader import STDIN

__all__ = [
    "COLUMNS",
    "called",
    "checked",
    "columns",
    "is_stdin",
    "parser",
    "read",
    "refuse_columns",
    "refuse_same_file",
    "with_share",
]

#: What is trained on by name.
NAMES = ("digits", "mnist", "moons", "xor")
#: The options that say how columns are read.
COLUMNS = ("numeric", "category", "date", "drop", "id")
PRESETS = ("fast", "default", "best")
#: Of an interval, where none is given.
SHARE = 0.9


def is_stdin(what: str) -> bool:
    """Whether a table comes from the standard input."""
    return what in STDIN


def called(what: str) -> str:
    """What messages call the data."""
    return "stdin" if is_stdin(what) else what


def read(args: argparse.Namespace) -> tuple[tables.Table, dict[str, Any]]:
    """The table of a command, and how its columns are to be read."""
    words = [word for option in COLUMNS for given in getattr(args, option) or () for word in (given, *given.split(","))]
    table = tables.read(args.what, args.header, True, [*words, *filter(None, [args.target])])
    if args.target is None:
        raise ValueError(f"{table.path}: expected --target COLUMN, one of {', '.join(table.columns)}")
    if args.target in table.repeated:
        raise ValueError(
            f"{table.path}: expected one column {args.target!r} to predict, got several: rename the others"
        )
    given = {option: columns(getattr(args, option), table) for option in COLUMNS}
    return table, {"task": args.task, "decimal": args.decimal, **given}


def columns(words: Iterable[str] | None, table: tables.Table) -> list[str]:
    """The columns that an option names, several with commas between them, as long as none is called so."""
    return [name for word in words or () for name in ([word] if word in table.columns else word.split(","))]


def refuse_columns(args: argparse.Namespace, instead: str) -> None:
    """Refuse options of a CSV file where there is none."""
    of_table = ("preset", "members", "folds", "time_limit", "test_fraction")
    for option in ("target", "task", *COLUMNS, "decimal", "header", *of_table):
        if (value := getattr(args, option, None)) is not None:
            name = option.replace("_", "-")
            raise ValueError(f"--{name}: expected only with a CSV file, got {value!r} {instead}")


def checked(args: argparse.Namespace) -> tuple[Path, Path | None]:
    """Where to write model and picture; options and files that do not make sense are refused."""
    _validate.integer(args.seed, "--seed", 0, 2**32 - 1)
    for option, least in ("epochs", 1), ("batch_size", 1), ("threads", 1), ("members", 1), ("folds", 2):
        value = getattr(args, option)
        if value is not None:
            _validate.integer(value, f"--{option.replace('_', '-')}", least)
    if args.test_fraction is not None:
        _validate.number(args.test_fraction, "--test-fraction", least=0, below=1)
    for option in "learning_rate", "time_limit":
        if getattr(args, option) is not None:
            _validate.number(getattr(args, option), f"--{option.replace('_', '-')}", above=0)
    if args.folds is not None and not args.early_stopping:
        raise ValueError("--folds: expected none with --no-early-stopping, which holds out no rows, got one")
    output = Path(args.output or f"{Path(called(args.what)).stem}.safetensors")
    if output.suffix != ".safetensors":
        raise ValueError(f"--output: expected a name that ends in .safetensors, got {str(output)!r}")
    if not output.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(output.parent))
    picture = None if args.no_plot else output.with_suffix(".png")
    inputs = [*Path(args.data).glob("*")] if args.data else []
    if args.what not in NAMES and not is_stdin(args.what):
        inputs.append(Path(args.what))
    for written in [output, picture] if picture else [output]:
        for given in inputs:
            refuse_same_file(written, given, "the data")
        atomic.expect_writable([str(written)])
    if picture:
        refuse_same_file(picture, output, "the model")
    return output, picture


def refuse_same_file(written: Path, other: Path, what: str, option: str = "--output") -> None:
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


def parser() -> argparse.ArgumentParser:
    """The parser of all commands: each has its name as ``command``."""
    whole = _Parser(prog="python -m backprop", description="Train and use dense neural networks.")
    whole.add_argument("--version", action="version", version=f"backprop {bp.__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _train(commands)
    _predict(commands)
    _trace(commands)
    _play(commands)
    _export(commands)
    _import(commands)
    commands.add_parser("info", help="version, instruction set, threads")
    return whole


def with_share(argv: Sequence[str]) -> list[str]:
    """The arguments, with the share of an ``--interval`` that none follows: else it would take the model for one."""
    given = [*argv]
    for i, word in enumerate(given):
        if word == "--interval" and (i + 1 == len(given) or not _is_number(given[i + 1])):
            given[i] = f"--interval={SHARE}"
    return given


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _train(commands: Any) -> None:
    text = "Train on data, test, and write a model and a picture. What is not given is chosen to suit the data."
    learn = commands.add_parser("train", help="train on data, test, write a model and a picture", description=text)
    learn.add_argument("what", metavar="DATA", help=f"{', '.join(NAMES)}, or a CSV file; - for stdin")
    table = learn.add_argument_group("of a CSV file")
    _columns(table)
    text = "fast: one network, of fewer epochs; default: four; best: eight, which are wider"
    table.add_argument("--preset", choices=PRESETS, help=text)
    table.add_argument("--members", type=int, metavar="N", help="networks, whose mean is predicted; of each fold")
    table.add_argument("--time-limit", type=float, metavar="SECONDS", help="train no longer than that")
    text = "train so many networks, each of which leaves out another part of the rows, and predict by their mean"
    table.add_argument("--folds", type=int, metavar="N", help=text)
    text = "of the rows, which are only tested on (default 0.2); 0: train on all"
    table.add_argument("--test-fraction", type=float, metavar="X", help=text)
    learn.add_argument("--data", metavar="FOLDER", help="of mnist: where its four files are")
    learn.add_argument("--hidden", type=_sizes, metavar="N,N", help="sizes of the hidden layers, such as 64,32")
    learn.add_argument("--epochs", type=int, metavar="N")
    learn.add_argument("--batch-size", type=int, metavar="N")
    learn.add_argument("--learning-rate", type=float, metavar="X", help="the highest; it falls to 0")
    learn.add_argument("--seed", type=int, default=0, metavar="N", help="the same gives the same model (default 0)")
    learn.add_argument("--output", metavar="MODEL", help="default: DATA.safetensors in this folder; DATA.png beside it")
    learn.add_argument("--no-plot", action="store_true", help="make no picture")
    text = "train to the last epoch, on all rows; else some are held out for validation"
    learn.add_argument("--no-early-stopping", dest="early_stopping", action="store_false", help=text)
    _threads(learn)


def _predict(commands: Any) -> None:
    say = commands.add_parser("predict", help="write the predictions for a table, as CSV")
    say.add_argument("model", metavar="MODEL", help="that was trained on a CSV file")
    say.add_argument("table", metavar="FILE.csv", help="with the same columns; the target may be absent; - for stdin")
    say.add_argument("--proba", action="store_true", help="write the probability of each class, a column for each")
    text = f"of a number: write the ends of an interval that holds such a share of the values (without SHARE: {SHARE})"
    say.add_argument("--interval", type=float, metavar="[SHARE]", help=text)
    _threads(say)


def _trace(commands: Any) -> None:
    text = "Write every number of one training step: forward, loss, backward, update."
    show = commands.add_parser("trace", help="write every number of one training step", description=text)
    show.add_argument("model", metavar="MODEL", help="that was trained on a CSV file; or xor, a new network of 2-2-1")
    show.add_argument("table", metavar="FILE.csv", nargs="?", help="with the same columns, the target included")
    text = "of the file, where the header is row 1; of xor, 1 to 4; several: the option again (default: the first; of "
    show.add_argument("--row", type=int, action="append", metavar="N", help=text + "xor, all)")
    text = "of a model of several networks: which of them (default 1)"
    show.add_argument("--member", type=int, default=1, metavar="N", help=text)
    show.add_argument("--optimizer", metavar="NAME", help="whose first step is shown (default sgd)")
    show.add_argument("--learning-rate", type=float, metavar="X")
    show.add_argument("--seed", type=int, default=0, metavar="N", help="of the weights of xor (default 0)")
    text = "in evaluation mode: without dropout, by running statistics, without an optimizer"
    show.add_argument("--evaluation", action="store_true", help=text)
    show.add_argument("--explain", metavar="NAME", help="one number alone, by the chain rule, such as 0.weight[0,1]")
    show.add_argument("--html", metavar="PAGE", help="write a page instead, whose drawing opens the formulas")


def _play(commands: Any) -> None:
    text = "Train a network in the browser, step by step, and look at every number of it. Ctrl-C ends it."
    page = commands.add_parser("play", help="a playground in the browser", description=text)
    page.add_argument("what", metavar="FILE.csv", nargs="?", help="to learn on, beside data sets that are made")
    _columns(page.add_argument_group("of a CSV file"))
    page.add_argument("--port", type=int, default=0, metavar="N", help="default: any that is free")
    page.add_argument("--no-browser", action="store_true", help="print the address, and do not open it")


def _export(commands: Any) -> None:
    text = "Write a model as a file that others run: an ONNX model, or a C file and its header."
    out = commands.add_parser("export", help="write a model as an ONNX model, or as a C file", description=text)
    out.add_argument("model", metavar="MODEL", help="that was trained on a CSV file, or any other network")
    out.add_argument("--onnx", metavar="FILE.onnx", help="an ONNX model; of a table, each column is an input")
    out.add_argument("--opset", type=int, metavar="N", help="with --onnx: the version of its operators")
    out.add_argument("--c", metavar="FILE.c", help="a C file; the header is FILE.h")
    text = "with --c: what its functions begin with (default: the name of the file)"
    out.add_argument("--name", metavar="NAME", help=text)
    out.add_argument("--int8", action="store_true", help="with --c: in whole numbers of 8 bits")
    text = "with --int8: rows like those that it will see, such as the table that it was trained on"
    out.add_argument("--calibration", metavar="FILE.csv", help=text)


def _import(commands: Any) -> None:
    given = commands.add_parser("import", help="write a model file from an ONNX model")
    given.add_argument("file", metavar="FILE.onnx", help="of a dense network, of whatever program")
    given.add_argument("-o", "--output", metavar="MODEL", help="default: FILE.safetensors in this folder")


def _threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, metavar="N", help="default: as many as pay")


def _columns(group: argparse._ArgumentGroup) -> None:
    """The options that say how a table is read."""
    group.add_argument("--target", metavar="COLUMN", help="the column to predict")
    text = "classes or a number; by default ten whole numbers or fewer are classes"
    group.add_argument("--task", choices=["classification", "regression"], help=text)
    what = {
        "numeric": "read these as numbers", "category": "read these as categories", "date": "read these as dates",
        "drop": "do not read these", "id": "do not learn from these; predictions begin with them",
    }  # fmt: skip
    for option in COLUMNS:
        text = f"{what[option]}; several with commas, or the option again"
        group.add_argument(f"--{option}", action="append", metavar="COLUMN", help=text)
    text = "point or comma, where 1,234 could be two numbers"
    group.add_argument("--decimal", choices=[".", ","], metavar="MARK", help=text)
    group.add_argument("--header", action="store_true", default=None, help="the first row names the columns")
    text = "it does not: the columns are called 1, 2, ..."
    group.add_argument("--no-header", dest="header", action="store_false", default=None, help=text)
