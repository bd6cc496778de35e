"""``export``: a model as a file that others run."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import backprop as bp

from .. import _validate, c, onnx, tables
from ..io import atomic
from ..tables.features import Output
from .models import Model, loaded, network_of
from .options import refuse_same_file

__all__ = ["export"]

Array = _validate.Array


def export(args: argparse.Namespace) -> None:
    """Write a model as an ONNX model, as a C file and its header, or as both."""
    _check(args)
    network = network_of(args.model)
    nets = [network] if isinstance(network, bp.Sequential) else [*network]
    model = loaded(args.model) if "recipe" in nets[0].metadata else None
    if args.onnx is not None:
        graphs, opset = [net._exported() for net in nets], args.opset
        data = (
            onnx.ensemble(graphs, opset, {"feature_names": nets[0].feature_names})
            if model is None
            else onnx.table(graphs, model.recipe.inputs, model.recipe.target, opset)
        )
        atomic.write(args.onnx, data)
        print(f"{args.onnx}: {len(data):,} bytes")
    if args.c is not None:
        target = c.checked_path(args.c)
        exported = _plain(network, nets) if model is None else _of_table(model, nets)
        rows = None if args.calibration is None else _rows(args.calibration, model)
        dtype = "int8" if args.int8 else nets[0].dtype.name
        c.export_model(target, exported, name=args.name, dtype=dtype, calibration=rows, fold=args.int8)
        print(f"{target}: {target.stat().st_size:,} bytes, and {target.with_suffix('.h').name}")


def _check(args: argparse.Namespace) -> None:
    """Refuse what does not go together, and to write over the model."""
    if args.onnx is None and args.c is None:
        raise ValueError("export: expected --onnx FILE.onnx or --c FILE.c, got neither")
    if args.int8 and args.calibration is None:
        raise ValueError("--int8: expected --calibration FILE.csv beside it, rows like those that the model will see")
    if args.calibration is not None and not args.int8:
        raise ValueError("--calibration: expected it with --int8, got it alone")
    for option, needed in ("int8", "c"), ("name", "c"), ("opset", "onnx"):
        if getattr(args, option) and getattr(args, needed) is None:
            raise ValueError(f"--{option}: expected it with --{needed}, got it alone")
    targets = [] if args.onnx is None else [("onnx", Path(args.onnx))]
    if args.c is not None:
        target = c.checked_path(args.c)
        targets += [("c", target), ("c", target.with_suffix(".h"))]
    for option, written in targets:
        refuse_same_file(written, Path(args.model), "the model", f"--{option}")


def _plain(network: Any, nets: list[Any]) -> c.Model:
    return c.Model(nets, network.n_in, network.n_out, network.predict)


def _of_table(model: Model, nets: list[Any]) -> c.Model:
    """With the scaling of numbers inside, and the classes or the unit of the target."""
    recipe = model.recipe
    numbers = {column.name: column for column in recipe.inputs if isinstance(column, tables.Number)}
    outputs = recipe.outputs
    scaled = [numbers[one.column] if one.kind == "number" and one.column in numbers else None for one in outputs]
    raw = [None if column is None or column.clip else column for column in scaled]
    prepared = c.Prepared(
        np.arange(len(outputs)), np.array([column.mean if column else 0.0 for column in raw]),
        np.array([column.deviation if column else 1.0 for column in raw]),
    )  # fmt: skip
    notes = [
        f"x[{i}]: {one.name}, {_said(one, column)}" for i, (one, column) in enumerate(zip(outputs, raw, strict=True))
    ]
    target = recipe.target
    classes = target.categories if isinstance(target, tables.Text) else None
    unit = (target.mean, target.deviation) if isinstance(target, tables.Number) else None

    def predicted(x: Array) -> Array:
        found: Array = model.network.predict(prepared.rows(x))
        return found if unit is None else unit[0] + unit[1] * found.astype(np.float64)

    return c.Model(
        nets, len(outputs), model.network.n_out, predicted, prepared, classes=classes, notes=notes, unit=unit
    )


def _said(output: Output, column: tables.Number | None) -> str:
    """What stands in a place of the row."""
    if output.kind == "index":
        return f"the number of the category, 1 to {output.cardinality - 1}, or 0"
    return {
        "number": "as in the table" if column else "scaled as in training", "missing": "1 where it is missing, else 0",
        "onehot": "1 where it is so, else 0", "sign": "1 where it is so, -1 where it is the other",
    }.get(output.kind, "as it was encoded in training")  # fmt: skip


def _rows(path: str, model: Model | None) -> Array:
    """The rows of a table as a network takes them."""
    if model is not None:
        return model.recipe.x(model.recipe.read(path))
    for header in 0, 1:
        try:
            found: Array = np.loadtxt(path, delimiter=",", ndmin=2, skiprows=header)
        except ValueError as error:
            fault = error
        else:
            return found
    raise ValueError(f"{path}: expected numbers with commas between them, {fault}")
