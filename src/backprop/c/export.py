"""A network as a C file and its header."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import _validate
from .._version import __version__
from ..io import atomic
from ..program.graph import Graph
from . import floating, functions
from .integers import quantize
from .text import Body, constants

__all__ = ["export"]

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

HEAD = """\
/* {name}: {n_in} -> {n_out} in {dtype}, written by backprop {version}.
 *
 * C99, and C++; without malloc, without stdio, without a variable that outlives a call. Compile it with -std=c99 or
 * -ffp-contract=off, so that each operation is rounded as it is written: then the outputs have the bits of backprop's
 * build without wide registers. -lm is for those who have LayerNorm or log_softmax. -D{name}_TEST adds a main that
 * returns how many of the rows stored at the end come out otherwise. */
"""
DECLARATIONS = """\
#define {name}_N_IN {n_in}
#define {name}_N_OUT {n_out}
#define {name}_WORK_SIZE {work} /* numbers in the work buffer */
{classes}
#ifdef __cplusplus
extern "C" {{
#endif
/* The outputs y for a row x; {work_bytes} bytes of the stack are the work buffer. */
void {name}_predict(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT]);
/* The same in a work buffer of the caller's. */
void {name}_predict_in(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT], {room} work[{name}_WORK_SIZE]);
{classify}#ifdef __cplusplus
}}
#endif
"""
CLASSIFY = """\
/* The most likely class of a row x, by its place in {name}_CLASSES. */
int {name}_classify(const {real} x[{name}_N_IN]);
"""
#: Numbers below the smallest normal one are zero in the core, since they would cost a hundred times as much.
MODE = """\
/* While it computes, numbers below the smallest normal one are zero, where the processor can do that. */
#if defined(__GNUC__)
#define {name}_APART __attribute__((noinline))
#else
#define {name}_APART
#endif
#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned int {name}_mode;
static {name}_mode {name}_flush(void)
{{
    const {name}_mode mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u);
    return mode;
}}
static void {name}_restore({name}_mode mode) {{ _mm_setcsr(mode); }}
#elif defined(__aarch64__) && defined(__GNUC__)
typedef uint64_t {name}_mode;
static void {name}_restore({name}_mode mode) {{ __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }}
static {name}_mode {name}_flush(void)
{{
    {name}_mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    {name}_restore(mode | (1u << 24));
    return mode;
}}
#else
typedef int {name}_mode;
static {name}_mode {name}_flush(void) {{ return 0; }}
static void {name}_restore({name}_mode mode) {{ (void)mode; }}
#endif
"""
PREDICT = """\
static {name}_APART void {name}_run(const {real} *x, {real} *y, {room} *work)
{{
{unused}{calls}}}

void {name}_predict_in(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT], {room} work[{name}_WORK_SIZE])
{{
    const {name}_mode mode = {name}_flush();
    {name}_run(x, y, work);
    {name}_restore(mode);
}}

void {name}_predict(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT])
{{
    {room} work[{name}_WORK_SIZE];
    {name}_predict_in(x, y, work);
}}
"""
TEST = """\
#if defined({name}_TEST)
{x}{y}
int main(void)
{{
    {real} found[{name}_N_OUT], error, size;
    int wrong = 0, r, i, off;
    for (r = 0; r < {rows}; r++) {{
        off = 0;
        {name}_predict({name}_test_x + r * {name}_N_IN, found);
        for (i = 0; i < {name}_N_OUT; i++) {{
            size = {name}_test_y[r * {name}_N_OUT + i];
            error = found[i] - size;
            error = error < 0 ? -error : error;
            size = size < 0 ? -size : size;
            if (!(error <= {tolerance} * (1 + size))) off = 1;
        }}
        wrong += off;
    }}
    return wrong;
}}
#endif
"""


def export(
    path: str | os.PathLike[str], net: Any, *, name: str | None, dtype: str, calibration: Any, fold: bool,
) -> None:  # fmt: skip
    """Write a network to ``path``, and its header beside it; see `Sequential.export_c`."""
    target = checked_path(path)
    name = checked_name(target, name)
    dtype, fold = _validate.choice(dtype, "dtype", ("float32", "float64", "int8")), _validate.flag(fold, "fold")
    if (calibration is not None) != (dtype == "int8"):
        got = "none" if calibration is None else "rows"
        raise ValueError(f'calibration: expected rows with dtype="int8" and only there, got {got} with dtype="{dtype}"')
    whole = net.graph
    for operation in whole:
        if operation.kind == "python":
            raise TypeError(
                f"export_c: expected built-in layers, got {operation.layer!r} at {operation.name}: a C file "
                "holds no Python"
            )
    if dtype == "int8":
        quantized = quantize(net, calibration)
        x = quantized.rows[:TESTED]
        write(target, name, whole, dtype, quantized.body(name), x, quantized.predict(x))
        return
    graph = whole.for_inference(fold_batch_norms=fold)
    x = test_rows(graph).astype(dtype)
    write(target, name, graph, dtype, floating.body(graph, dtype, name), x, net.predict(x))


def test_rows(graph: Graph) -> Array:
    """Some rows for the file's own test: normal, and names where there are tables."""
    x = np.random.default_rng(0).normal(size=(TESTED, graph.n_in))
    for column, count, values in graph.tables:
        x[:, column : column + count] = np.abs(x[:, column : column + count] * 1000).astype(int) % values
    return x


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


def write(
    target: Path, name: str, graph: Graph, dtype: str, body: Body, x: Array, y: Array, classes: Sequence[Any] = ()
) -> None:
    """Both files, each whole or not at all."""
    size = max(1, body.size)
    words = {
        "name": name, "n_in": graph.n_in, "n_out": graph.n_out, "dtype": dtype, "version": __version__, "work": size,
        "real": body.real, "room": body.work, "work_bytes": size * BYTES[body.work], "classes": "", "classify": "",
        "rows": len(x), "tolerance": "1e-5f" if body.real == "float" else "1e-10",
    }  # fmt: skip
    head, declarations = HEAD.format(**words), DECLARATIONS.format(**words)
    reals = "float64" if body.real == "double" else "float32"
    guard = f"{name.upper()}_H"
    header = f"{head}#ifndef {guard}\n#define {guard}\n\n{declarations}\n#endif\n"
    found = functions.needed(body.functions)
    calls = "".join(f"    {call}\n" for call in body.calls)
    calls = functions.renamed(calls, body.functions, name)
    code = [
        head, "\n#include <math.h>\n#include <stdint.h>\n#include <string.h>\n\n", declarations, "\n",
        "#ifdef __clang__\n#pragma STDC FP_CONTRACT OFF\n#endif\n\n", MODE.format(**words), "\n",
        functions.renamed("\n".join(found.values()), found, name), "\n",
        "\n".join(body.constants), "\n",
        PREDICT.format(**words, calls=calls, unused="" if re.search(r"\bwork\b", calls) else "    (void)work;\n"), "\n",
        TEST.format(
            **words, x=constants(f"{name}_test_x", x, reals), y=constants(f"{name}_test_y", y, reals)
        ),
    ]  # fmt: skip
    atomic.write(target, "".join(code).encode())
    atomic.write(target.with_suffix(".h"), header.encode())
