"""A network that has learned the digits, in every form that it goes out in: accuracy, size, and the time of a row.

The C files are compiled and called where there is a C compiler; the ONNX file runs where there is onnxruntime.

    python examples/deploy.py [FOLDER]     (where to write the files; by default nowhere that stays)
"""

import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import backprop as bp
from backprop.datasets import digits

#: Calls a file's function again and again, so that only its own time is measured.
DRIVER = """#include "{name}.c"
void rows(long n, const float *x, float *y)
{{
    for (long i = 0; i < n; i++) {name}_predict(x + i * {name}_N_IN, y + i * {name}_N_OUT);
}}
"""


def trained(x: np.ndarray, y: np.ndarray) -> bp.Sequential:
    net = bp.Sequential(
        [
            bp.Dense(64, 64),
            bp.BatchNorm(),
            bp.Activation("relu"),
            bp.Dense(64, 32, "tanh"),
            bp.Dense(32, 10, "softmax"),
        ],
        rng=0,
    )
    net.fit(x, y, loss="cross_entropy", optimizer="adam", epochs=40, batch_size=64)
    return net


def by_row(predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> tuple[np.ndarray, float]:
    """All outputs, one row a call, and the seconds of a call."""
    found, start = [predict(x[i : i + 1]) for i in range(len(x))], time.perf_counter()
    for i in range(len(x)):
        predict(x[i : i + 1])
    return np.concatenate(found), (time.perf_counter() - start) / len(x)


def in_c(folder: Path, name: str, x: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The same of a C file; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    (folder / f"{name}_driver.c").write_text(DRIVER.format(name=name))
    library = folder / f"{name}.so"
    command: list[str | Path] = [
        compiler,
        "-std=c99",
        "-O3",
        "-shared",
        "-fPIC",
        folder / f"{name}_driver.c",
        "-o",
        library,
        "-lm",
    ]
    subprocess.run(command, check=True)
    pointer, out = ctypes.POINTER(ctypes.c_float), np.empty((len(x), 10), np.float32)
    rows = ctypes.CDLL(str(library)).rows
    rows.argtypes = [ctypes.c_long, pointer, pointer]
    rows(len(x), x.ctypes.data_as(pointer), out.ctypes.data_as(pointer))
    start = time.perf_counter()
    rows(len(x), x.ctypes.data_as(pointer), out.ctypes.data_as(pointer))
    return out, (time.perf_counter() - start) / len(x)


def in_onnxruntime(path: Path, x: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The same of an ONNX file; None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return by_row(lambda row: session.run(None, {"x": row})[0], x)


def main(folder: Path) -> None:
    x, y = digits()
    seen = np.arange(len(x)) % 5 != 0
    net, others, answers = trained(x[seen], y[seen]), x[~seen], y[~seen]
    net.save(folder / "digits.safetensors")
    net.export_onnx(folder / "digits.onnx")
    net.export_c(folder / "digits.c")
    net.export_c(folder / "digits8.c", dtype="int8", calibration=x[seen][:300])
    small = bp.quantize(net, x[seen][:300])
    runs = [
        ("Python", "digits.safetensors", by_row(net.predict, others)),
        ("ONNX Runtime", "digits.onnx", in_onnxruntime(folder / "digits.onnx", others)),
        ("C, float32", "digits.c", in_c(folder, "digits", others)),
        ("C, int8", "digits8.c", in_c(folder, "digits8", others)),
    ]
    print("form          accuracy     file    one row")
    for form, name, run in runs:
        size = f"{(folder / name).stat().st_size / 1000:.0f} kB"
        if run is None:
            print(f"{form:<13} {'not run here':<11} {size:>7}")
            continue
        outputs, seconds = run
        accuracy = (outputs.argmax(axis=1) == answers).mean()
        print(f"{form:<13} {accuracy:8.2%} {size:>8} {seconds * 1e6:7.2f} us")
    print(f"\nIn whole numbers: {small.report()}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as given:
            main(Path(given))
