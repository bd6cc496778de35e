"""``import``: an ONNX model as a model of this library."""

import argparse
from pathlib import Path

import backprop as bp

from ..io import atomic
from .options import refuse_same_file

__all__ = ["import_"]


def import_(args: argparse.Namespace) -> None:
    """Read an ONNX model, and write it as a model file."""
    output = Path(args.output or f"{Path(args.file).stem}.safetensors")
    refuse_same_file(output, Path(args.file), "the ONNX model")
    atomic.expect_writable([str(output)])
    net = bp.from_onnx(args.file)
    print(net.summary())
    net.save(output)
    print(f"model: {output}")
