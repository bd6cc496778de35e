"""A network as a C file and its header."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import _validate
from .._version import __version__
from ..activations import ActivationFunction
from ..io import atomic
from . import floating, functions, templates
from .integers import ending, quantize
from .text import Body, constants, number

__all__ = ["Columns", "Model", "Prepared", "export", "export_model"]

Array = _validate.Array

#: Rows that the file's own test goes through.
TESTED = 8
BYTES = {"float": 4, "double": 8, "int8_t": 1}
KEYWORDS = frozenset({
    "auto", "bool", "break", "case", "catch", "char", "class", "const", "continue", "default", "delete", "do", "double",
    "else", "enum", "extern", "false", "float", "for", "goto", "if", "inline", "int", "long", "main", "namespace",
    "new", "operator", "private", "protected", "public", "register", "restrict", "return", "short", "signed", "sizeof",
    "static", "struct", "switch", "template", "this", "throw", "true", "try", "typedef", "union", "unsigned", "using",
    "virtual", "void", "volatile", "while",
})  # fmt: skip


class Prepared(NamedTuple):
    """How a row of a network is made of the row that goes in: y[i] = (x[source[i]] - shift[i]) / scale[i]."""

    source: Array
    shift: Array
    scale: Array

    @property
    def call(self) -> str:
        """What does that in C, with these arrays."""
        return "prepare"

    @property
    def scaled(self) -> Array:
        """Which numbers of the row are scaled."""
        return np.ones(len(self.source), bool)

    def rows(self, x: Array) -> Array:
        """Rows of the network."""
        found: Array = (x[:, self.source].astype(np.float64) - self.shift) / self.scale
        return found


class Columns(NamedTuple):
    """The same of columns of a table: missing ones are filled, or flagged; what is scaled may be clipped smoothly."""

    source: Array
    flag: Array
    fill: Array
    shift: Array
    scale: Array
    clip: Array

    @property
    def call(self) -> str:
        """What does that in C, with these arrays."""
        return "columns"

    @property
    def scaled(self) -> Array:
        """Which numbers of the row are scaled."""
        scaled: Array = self.flag == 0
        return scaled

    def rows(self, x: Array) -> Array:
        """Rows of the network."""
        given = x[:, self.source].astype(np.float64)
        given = np.where(self.flag, np.isnan(given), given)
        u = (np.where(np.isnan(given), self.fill, given) - self.shift) / self.scale
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.clip > 0, u / np.hypot(1, u / self.clip), u)


class Model(NamedTuple):
    """What a file computes: of one network, or the mean of several, and what is around them.

    Attributes
    ----------
    nets : list of Sequential
    n_in, n_out : int
    outputs : callable
        From rows that go in to what is to come out, for the file's own test.
    prepared : Prepared or Columns or None
    link : ActivationFunction or None
        Where the networks give logits, what makes outputs of them.
    each, whole : str
        What is done to the outputs of each network, and to their mean: "proportions" (divided by their sum),
        "every_other" (means without the variances beside them), "both_classes" (of the probability of one of two).
    classes : list or None
        With them the file has a function that classifies.
    notes : list of str
        What the header says besides.
    unit : (ndarray, ndarray) or None
        What is added to outputs, once they are multiplied.
    temperature : float
        What the logits of probabilities are divided by.
    bounds : (ndarray, ndarray) or None
        Between which outputs stay.
    """

    nets: list[Any]
    n_in: int
    n_out: int
    outputs: Callable[[Array], Array]
    prepared: Prepared | Columns | None = None
    link: ActivationFunction | None = None
    each: str = ""
    whole: str = ""
    classes: list[Any] | None = None
    notes: Sequence[str] = ()
    unit: tuple[Array, Array] | None = None
    temperature: float = 1.0
    bounds: tuple[Array, Array] | None = None


def export(
    path: str | os.PathLike[str], net: Any, *, name: str | None, dtype: str, calibration: Any, fold: bool,
) -> None:  # fmt: skip
    """Write a network to ``path``, and its header beside it; see `Sequential.export_c`."""
    model = Model([net], net.n_in, net.n_out, net.predict)
    export_model(path, model, name=name, dtype=dtype, calibration=calibration, fold=fold)


def export_model(
    path: str | os.PathLike[str], model: Model, *, name: str | None, dtype: str, calibration: Any, fold: bool,
) -> None:  # fmt: skip
    """Write a model to ``path``, and its header beside it. Rows of calibration are those of its networks."""
    target = checked_path(path)
    name = checked_name(target, name)
    dtype, fold = _validate.choice(dtype, "dtype", ("float32", "float64", "int8")), _validate.flag(fold, "fold")
    if (calibration is not None) != (dtype == "int8"):
        got = "none" if calibration is None else "rows"
        raise ValueError(f'calibration: expected rows with dtype="int8", only there, got {got} with dtype="{dtype}"')
    for operation in (operation for net in model.nets for operation in net.graph):
        if operation.kind == "python":
            raise TypeError(
                f"export_c: expected built-in layers, got {operation.layer!r} at {operation.name}: a C file "
                "holds no Python"
            )
    places = [name] if len(model.nets) == 1 else [f"{name}_{i}" for i in range(len(model.nets))]
    quantized = []
    if dtype == "int8":
        quantized = [quantize(net, calibration, model.link) for net in model.nets]
        bodies = [one.body(place) for one, place in zip(quantized, places, strict=True)]
    else:
        graphs = [ending(net.graph.for_inference(fold_batch_norms=fold), model.link) for net in model.nets]
        bodies = [floating.body(graph, dtype, place) for graph, place in zip(graphs, places, strict=True)]
    x = test_rows(model, dtype)
    if len(quantized) == 1 and model.prepared is None and model.whole == model.each == "":
        x, y = quantized[0].rows[:TESTED], quantized[0].predict(quantized[0].rows[:TESTED])
    else:
        y = model.outputs(x)
    write(target, name, model, dtype, bodies, x, y)


def test_rows(model: Model, dtype: str) -> Array:
    """Some rows for the file's own test: normal, and names where there are tables."""
    prepared = model.prepared
    x = np.random.default_rng(0).normal(size=(TESTED, model.nets[0].n_in))
    for column, count, values in model.nets[0].graph.tables:
        x[:, column : column + count] = np.abs(x[:, column : column + count] * 1000).astype(int) % values
    if prepared is not None:
        rows = np.zeros((TESTED, model.n_in))
        scaled = prepared.scaled
        rows[:, prepared.source[scaled]] = (x * prepared.scale + prepared.shift)[:, scaled]
        x = rows
    return x.astype("float64" if dtype == "float64" else "float32")


def checked_path(path: str | os.PathLike[str]) -> Path:
    """A path of a C file."""
    target = Path(atomic.path_of(path))
    if target.suffix not in (".c", ".cc", ".cpp", ".cxx"):
        raise ValueError(f"path: expected a name that ends in .c, got {str(target)!r}")
    return target


def checked_name(target: Path, name: str | None) -> str:
    """What the functions begin with: an identifier of C."""
    given = target.stem if name is None else name
    if not isinstance(given, str):
        raise TypeError(f"name: expected an identifier of C, got {_validate.shown(given)}")
    if not re.fullmatch(r"[A-Za-z]\w*", given, re.ASCII) or given in KEYWORDS:
        cure = f': give one, name="{re.sub(r"[^A-Za-z0-9]", "_", "net_" + given)}"' if name is None else ""
        raise ValueError(f"name: expected an identifier of C, got {_validate.shown(given)}{cure}")
    return given


def write(target: Path, name: str, model: Model, dtype: str, bodies: Sequence[Body], x: Array, y: Array) -> None:
    """Both files, each whole or not at all."""
    first, size = bodies[0], max([1, *(body.size for body in bodies)])
    reals = "float64" if first.real == "double" else "float32"
    upper = name.upper()
    words = {
        "name": name, "upper": upper, "n_in": model.n_in, "n_out": model.n_out, "dtype": dtype, "version": __version__,
        "work": size, "real": first.real, "room": first.work, "work_bytes": size * BYTES[first.work],
        "rows": len(x), "tolerance": "1e-5f" if first.real == "float" else "1e-10",
        "macros": "".join(_macros(name, model)), "classify": "",
    }  # fmt: skip
    if dtype == "int8":
        words["tolerance"] = "0.5f"  # of what the float network gives
    if model.classes is not None:
        words["classify"] = templates.CLASSIFY.format(**words)
    head, declarations = templates.HEAD.format(**words), templates.DECLARATIONS.format(**words)
    header = f"{head}#ifndef {upper}_H\n#define {upper}_H\n\n{declarations}\n#endif\n"
    around = _around(name, model, first.real, [body.size for body in bodies])
    found = functions.needed(set().union(around.functions, *(body.functions for body in bodies)))
    members = [templates.MEMBER.format(**words, i=i, **_calls(body, found, name)) for i, body in enumerate(bodies)]
    code = [
        head, templates.INCLUDES, declarations, templates.CONTRACT, templates.MODE.format(**words), "\n",
        functions.renamed("\n".join(found.values()), found, name), "\n",
        "\n".join([*(line for body in bodies for line in body.constants), *around.constants]), "\n", *members,
        templates.PREDICT.format(**words, calls=_calls(around, found, name)["calls"]), "\n",
        templates.CLASSIFIES.format(**words) if model.classes is not None else "",
        templates.TEST.format(
            **words, x=constants(f"{name}_test_x", x, reals), y=constants(f"{name}_test_y", y, reals)
        ),
    ]  # fmt: skip
    atomic.write(target, "".join(code).encode())
    atomic.write(target.with_suffix(".h"), header.encode())


def _calls(body: Body, known: Iterable[str], name: str) -> dict[str, str]:
    """The statements of a function, and what says that it needs no room."""
    calls = functions.renamed("".join(f"    {call}\n" for call in body.calls), known, name)
    return {"calls": calls, "unused": "" if re.search(r"\bwork\b", calls) else "    (void)work;\n"}


def _macros(name: str, model: Model) -> Iterator[str]:
    """The sizes in capitals too; the classes, and what else is to be said."""
    if name.upper() != name:
        for word in ("N_IN", "N_OUT", "WORK_SIZE"):
            yield f"#define {name.upper()}_{word} {name}_{word}\n"
    if model.classes is not None:
        yield f"#define {name}_CLASSES {{{', '.join(map(_in_c, model.classes))}}}\n"
    for note in model.notes:
        yield f"/* {note.replace('*/', '* /')} */\n"


def _in_c(label: Any) -> str:
    """A class as C writes it."""
    if isinstance(label, (bool, np.bool_)):
        return str(int(label))
    if isinstance(label, (int, float, np.integer, np.floating)):
        return repr(label.item() if isinstance(label, np.generic) else label)
    return json.dumps(str(label))


def _around(name: str, model: Model, real: str, sizes: Sequence[int]) -> Body:
    """What is done before and after the networks."""
    calls, lines, used = [], [], set[str]()
    n, inside, r = model.nets[0].n_out, "x", real[0]

    def call(function: str, *arguments: Any) -> None:
        used.add(function)
        calls.append(f"{function}({', '.join(map(str, arguments))});")

    def kept(word: str, array: Array) -> str:
        lines.append(constants(f"{name}_{word}", array, "int32" if word in ("source", "flag") else "float64"))
        return f"{name}_{word}"

    several = len(model.nets) > 1
    apart = several or model.each == "every_other"
    if model.prepared is not None:
        calls.append(f"{real} row[{model.nets[0].n_in}];")
    if apart:
        calls.append(f"{real} out[{n}];")
    if several:
        calls.append(f"double total[{model.nets[0].n_out}];")
    if model.prepared is not None:
        places = [kept(word, array) for word, array in model.prepared._asdict().items()]
        call(f"{model.prepared.call}_{r}", model.nets[0].n_in, *places, "x", "row")
        inside = "row"
    out = "out" if apart else "y"
    for i in range(len(model.nets)):
        calls.append(f"{name}_member_{i}({inside}, {out}, work);")
        if model.each == "proportions":
            call(f"proportions_{r}", n, out)
        if several:
            call(f"add_to_total_{r}", n, int(i == 0), out, "total")
    if several:
        call(f"mean_{r}", n, len(model.nets), "total", out)
    if model.each == "every_other":
        call(f"every_other_{r}", model.n_out, out, "y")
    elif apart:
        call(f"copy_{r}", n, out, "y")
    if model.temperature != 1:
        call(f"tempered_{r}", model.n_out, number(model.temperature, "float64"), "y")
    for function, words, parts in (
        ("in_units", ("mean", "deviation"), model.unit), ("clamp", ("least", "greatest"), model.bounds),
    ):  # fmt: skip
        if parts is not None:
            call(f"{function}_{r}", model.n_out, *map(kept, words, parts), "y")
    if model.whole == "both_classes":
        call(f"both_classes_{r}", "y")
    return Body(real, "", lines, calls, used, 0)
