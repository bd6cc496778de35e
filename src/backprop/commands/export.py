"""``export``: a model as a file that others run."""

import argparse
from pathlib import Path

import numpy as np

import backprop as bp

from .. import _validate, c, onnx, tabular
from ..io import atomic
from .models import Model, loaded, network_of
from .options import refuse_same_file

__all__ = ["export"]

Array = _validate.Array


def export(args: argparse.Namespace) -> None:
    """Write a model as an ONNX model, as a C file and its header, or as both."""
    _check(args)
    network = network_of(args.model)
    nets = [network] if isinstance(network, bp.Sequential) else [*network]
    model = loaded(args.model) if {"recipe", "table"} & nets[0].metadata.keys() else None
    if args.onnx is not None:
        names = {"feature_names": nets[0].feature_names}
        data = (
            onnx.ensemble([net._exported() for net in nets], args.opset, names)
            if model is None
            else tabular.to_onnx(model.table, args.opset, {"target": model.target.name})
        )
        atomic.write(args.onnx, data)
        print(f"{args.onnx}: {len(data):,} bytes")
    if args.c is not None:
        target = c.checked_path(args.c)
        plain = c.Model(nets, network.n_in, network.n_out, network.predict)
        exported = plain if model is None else tabular.to_c(model.table)
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


def _rows(path: str, model: Model | None) -> Array:
    """The rows of a table as a network takes them."""
    if model is not None:
        return model.table.encoding(model.read(path))
    for header in 0, 1:
        try:
            found: Array = np.loadtxt(path, delimiter=",", ndmin=2, skiprows=header)
        except ValueError as error:
            fault = error
        else:
            return found
    raise ValueError(f"{path}: expected numbers with commas between them, {fault}")
