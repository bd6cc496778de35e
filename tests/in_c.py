"""Exported C files, compiled and called."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
TYPES = {"float32": ctypes.c_float, "float64": ctypes.c_double}

needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def compilers():
    """Those that are here: of C, and of C++ with the flag that makes it one."""
    return [name for name in ("gcc", "clang", "g++", "clang++") if shutil.which(name)]


def compiled(source, target, *flags, compiler="cc"):
    """A library or a program."""
    plus = compiler.endswith("++")
    how = ["-std=c++11", "-x", "c++"] if plus else ["-std=c99", "-x", "c"]
    command = [
        compiler,
        *how,
        *WARNINGS,
        *flags,
        str(source),
        "-x",
        "none",
        "-o",
        str(target),
        *["-lm"] * ("-c" not in flags),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def rows(library, name, x, n_out):
    """What a compiled file gives, row by row."""
    function = getattr(ctypes.CDLL(str(library)), f"{name}_predict")
    pointer = ctypes.POINTER(TYPES[x.dtype.name])
    x, y = np.ascontiguousarray(x), np.empty((len(x), n_out), x.dtype)
    for row, result in zip(x, y, strict=True):
        function(row.ctypes.data_as(pointer), result.ctypes.data_as(pointer))
    return y


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
