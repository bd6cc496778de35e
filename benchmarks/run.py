"""The table: backprop beside its peers, in the same run.

    python benchmarks/run.py [--repeat 9] [--only TEXT] [--threads 1|all|both]

For each work, the libraries take turns, each called for at least a tenth of a second, and each gives its median; the
ratios are of medians. One thread means one
processor, for the whole process, since not every library obeys its own switch. A peer that is not installed is named.
"""

import argparse
import io
import itertools
import math
import os
import statistics
import subprocess
import sys
import time
import timeit
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def measure(repeat: int, only: str) -> None:
    """All rows, in this process."""
    import numpy as np
    import works

    import backprop as bp

    config = bp.show_config()
    print(f"\n{works.THREADS} thread(s), {config['isa']} ({config['register_bits']} bits), {processor()}")
    for name, (builders, goals) in works.WORKS.items():
        if only not in name:
            continue
        runs = {}
        for library, build in builders.items():
            try:
                runs[library] = build()
            except ImportError as error:
                print(f"{name}: {library} is missing ({error})")
        seconds = {library: [] for library in runs}
        calls = {library: enough(run) for library, run in runs.items()}
        for _ in range(repeat):
            for library, run in runs.items():
                time.sleep(0.2)  # until the last library's threads no longer spin
                run()  # and this one's are awake
                seconds[library].append(timeit.timeit(run, number=calls[library]) / calls[library])
        ours = statistics.median(seconds["backprop"])
        print(f"\n{name}: {timed(ours)}")
        for library in list(runs)[1:]:
            median = statistics.median(seconds[library])
            floor, goal = goals.get(library, (0, 0))
            ratio = median / ours
            print(f"    {library:<13} {timed(median):>10}  {ratio:8.2f}x  {beside(ratio, floor, goal)}")
    if only in "sgemm":
        import measured

        for dtype in (np.float32, np.float64):
            products(dtype, repeat, measured.load(), np)


def beside(reached: float, floor: float, goal: float) -> str:
    """What is reached, beside what shall be; times or shares of which more is better."""
    mark = "goal" if reached >= goal else "floor" if reached >= floor else "BELOW"
    return f"(floor {floor:g}, goal {goal:g}: {mark})"


def enough(run: object) -> int:
    """How many calls take a tenth of a second, so that no library is measured by a glimpse."""
    run()
    return max(1, math.ceil(0.1 / timeit.timeit(run, number=1)))


def lines(np: object, rows: int, n: int, dtype: type) -> object:
    """An array that begins a line of the cache, as the arrays of a network do."""
    line = 64 // np.dtype(dtype).itemsize
    memory = np.ones(rows * n + line, dtype)
    return memory[-(memory.ctypes.data // memory.itemsize) % line :][: rows * n].reshape(rows, n)


def products(dtype: type, repeat: int, measure: object, np: object) -> None:
    """A layer's three products beside the peak of multiply-adds, and beside NumPy, on one thread.

    A product under half the peak, where it fills the registers, has most likely lost its sums to memory: such a row is
    marked, and the disassembly worth a look.
    """
    shapes = [(32, 64, 64), (128, 784, 128), (128, 128, 784), (256, 256, 256), (256, 1024, 1024), (1024, 784, 1024)]
    forms = ("y = x w", "dx = dz w'", "dw = x' dz")
    print(
        f"\n{np.dtype(dtype).name} products of a layer (batch, in, out): one thread's share of the peak (NumPy's share)"
    )
    for rows, n_in, n_out in shapes:
        x, w, y = (lines(np, *shape, dtype) for shape in ((rows, n_in), (n_in, n_out), (rows, n_out)))
        memory, times = np.full(64, 1e-9, dtype), max(1, int(1e8 / (rows * n_in * n_out)))
        flop = 2 * rows * n_in * n_out * times
        theirs = ((x, w, y), (y, w.T, x), (x.T, y, w))
        peaks, ours, numpy = [], ([], [], []), ([], [], [])
        for _ in range(repeat):
            peaks.append(measure.peak_flops(memory.copy(), 1_000_000))
            for product, (a, b, out) in enumerate(theirs):
                x[:], w[:], y[:] = 1, 1, 1
                ours[product].append(measure.product_flops(product, x, w, y, times))
                start = time.perf_counter()
                for _ in range(times):
                    np.matmul(a, b, out=out)
                numpy[product].append(flop / (time.perf_counter() - start))
        peak = statistics.median(peaks)
        shares = [[statistics.median(rates) / peak for rates in library] for library in (ours, numpy)]
        text = "   ".join(f"{form} {o:4.0%} ({n:4.0%})" for form, o, n in zip(forms, *shares, strict=True))
        reached = beside(min(shares[0]), 0.8, 0.92) + " SPILL?" * (min(shares[0]) < 0.5)
        print(f"    {f'{rows} x {n_in} x {n_out}':<18} {text}   of {peak / 1e9:.1f} GFLOP/s  {reached}")


PEAK = """
import sys, warnings; sys.path.insert(0, {here!r}); warnings.simplefilter("ignore")
import works
def status(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) / 1024
run = works.WORKS[{name!r}][0][{library!r}]()
before = status("VmRSS"); run(); print(status("VmHWM") - before)
"""


def file_sizes() -> None:
    """What a network takes as a file, beside its parameters."""
    import backprop as bp

    for sizes in (20, 64, 32, 1), (784, 128, 10):
        dense = [bp.Dense(n_in, n_out, "relu") for n_in, n_out in itertools.pairwise(sizes)]
        net, onnx = bp.Sequential(dense, rng=0), io.BytesIO()
        net.export_onnx(onnx)
        own = net.parameters.nbytes
        more = f"{len(net.to_bytes()) - own:,} more as safetensors, {len(onnx.getvalue()) - own:,} as ONNX"
        print(f"\n{'-'.join(map(str, sizes))} as a file: {own:,} bytes of parameters, and {more}")


def footprint(repeat: int) -> None:
    """What it costs to have the library: the import, the package, the memory of a fit beside its data."""

    def ask(code: str) -> float | None:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        found = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=False)
        return float(found.stdout.split()[-1]) if found.returncode == 0 else None

    names = {"backprop": "backprop", "scikit-learn": "sklearn.neural_network", "PyTorch": "torch", "JAX": "jax",
             "ONNX Runtime": "onnxruntime"}  # fmt: skip
    print("\nimport, after NumPy's")
    for library, module in names.items():
        code = f"import numpy, time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
        took = [ask(code) for _ in range(repeat)]
        print(f"    {library:<13} {'missing' if None in took else timed(statistics.median(took[1:]))}")
    import backprop

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in Path(backprop.__file__).parent.rglob("*"):
            if file.is_file() and file.suffix not in (".pyc", ".pyx", ".pxi", ".h"):
                archive.write(file)
    print(f"\nthe package, compressed as a wheel is: {packed.tell() / 1e6:.2f} MB")
    file_sizes()
    if not Path("/proc/self/status").exists():
        return
    for name in [name for name in __import__("works").WORKS if name.startswith("784")]:
        print(f"\npeak memory beside the data and the library, {name}")
        for library in ("backprop", "scikit-learn", "PyTorch", "JAX"):
            found = ask(PEAK.format(here=str(Path(__file__).parent), name=name, library=library))
            print(f"    {library:<13} {'missing' if found is None else f'{found:.0f} MB'}")


def timed(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown processor")


def turns(script: str, about: str, measure: Callable[[int, str], None], repeat: int) -> argparse.Namespace:
    """What a script is asked for; `measure` it, at one processor and at all, each in a process of its own."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=repeat)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--threads", choices=("1", "all", "both", "here"), default="both")
    chosen = parser.parse_args()
    if chosen.threads == "here":
        warnings.simplefilter("ignore")
        measure(chosen.repeat, chosen.only)
        sys.exit()
    every = sorted(os.sched_getaffinity(0))
    for processors in {"1": [every[:1]], "all": [every], "both": [every[:1], every]}[chosen.threads]:
        count = str(len(processors))
        environment = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        command = [sys.executable, script, "--threads", "here", "--repeat", str(chosen.repeat), "--only", chosen.only]
        subprocess.run(command, env=environment, check=True, preexec_fn=lambda p=processors: os.sched_setaffinity(0, p))
    return chosen


if __name__ == "__main__":
    asked = turns(__file__, __doc__, measure, 9)
    if asked.only in "footprint":
        footprint(asked.repeat)
