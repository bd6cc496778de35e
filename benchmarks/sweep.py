"""How the cost of a step of training grows with the layers and with the batch, and where a second thread pays.

    python benchmarks/sweep.py [--plot docs/sweep.png] [--repeat 7]

A step is forward, backward and Adam for a network of two square layers, width - width - width, in float32. Beside it
stands the model: its floating-point operations (6 for each weight and row, 4 for the first layer's, which sends no
gradient further) at the peak of multiply-adds that is measured in the same run, on one thread.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import measured
import numpy as np

import backprop as bp

WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)


def stepper(width: int, batch: int, threads: int) -> tuple[Callable[[], object], int]:
    """A fit of several steps, and of how many."""
    steps = max(1, min(2000, int(2e9 / (10 * width * width * batch))))
    x = np.random.default_rng(0).standard_normal((steps * batch, width), dtype=np.float32)
    net = bp.Sequential([bp.Dense(width, width, "relu"), bp.Dense(width, width)], rng=0)
    optimizer = bp.Adam(1e-4)
    return lambda: net.fit(x, x, loss="mse", optimizer=optimizer, batch_size=batch, threads=threads), steps


def timed(runs: list[tuple[Callable[[], object], int]], repeat: int) -> list[float]:
    """The median seconds of a step of each, taken in turns."""
    seconds: list[list[float]] = [[] for _ in runs]
    for round_ in range(repeat + 1):
        for (run, steps), found in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run()
            if round_ > 0:
                found.append((time.perf_counter() - start) / steps)
    return [statistics.median(found) for found in seconds]


def peak(repeat: int) -> float:
    memory = np.full(64, 1e-9, np.float32)
    return statistics.median(measured.load().peak_flops(memory.copy(), 1_000_000) for _ in range(repeat))


def growth(repeat: int) -> dict[tuple[int, int], tuple[float, float]]:
    """For each width and batch, the seconds of a step and those of the model."""
    found = {}
    print(f"{'width':>6} {'batch':>6} {'step':>11} {'model':>11}  share of the peak")
    for width, batch in [(w, 64) for w in WIDTHS] + [(256, b) for b in BATCHES if b != 64]:
        (took,) = timed([stepper(width, batch, 1)], repeat)
        model = 10 * width * width * batch / peak(3)
        found[width, batch] = took, model
        print(f"{width:>6} {batch:>6} {1e6 * took:>8.1f} us {1e6 * model:>8.1f} us  {model / took:.0%}", flush=True)
    return found


def crossover(repeat: int) -> None:
    """One thread beside two: in a fit, where they meet, and in a prediction, where the second has to be started."""
    print("\nmultiply-adds for each of two threads, and how many times as fast they are as one")
    for width, batch in [(w, b) for w in (8, 32, 64, 128, 512) for b in (32, 64, 128, 256, 512)]:
        one, two = timed([stepper(width, batch, 1), stepper(width, batch, 2)], repeat)
        each = f"{width * width * batch / 1e6:8.2f} million"
        print(f"    fit, width {width}, batch {batch:<5} {each}  {one / two:5.2f}x", flush=True)
    net = bp.Sequential([bp.Dense(64, 64, "relu"), bp.Dense(64, 64)], rng=0)
    for rows in (256, 512, 1024, 2048, 4096, 16384):
        x = np.zeros((rows, 64), np.float32)
        runs = [(lambda t=t, x=x: [net.predict(x, threads=t) for _ in range(50)], 50) for t in (1, 2)]
        one, two = timed(runs, repeat)
        print(f"    predict, {rows:<18} {rows * 4096 / 1e6:8.2f} million  {one / two:5.2f}x", flush=True)


def plot(found: dict[tuple[int, int], tuple[float, float]], path: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    series = (("width of both layers, batch 64", 0, 64), ("batch, both layers 256 wide", 1, 256))
    for axis, (label, free, fixed) in zip(axes, series, strict=True):
        points = sorted((key[free], value) for key, value in found.items() if key[1 - free] == fixed)
        at = [x for x, _ in points]
        axis.plot(at, [1e6 * took for _, (took, _) in points], "o-", label="a step of training")
        axis.plot(at, [1e6 * model for _, (_, model) in points], "k--", label="its arithmetic at the peak")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.set_xticks(at, map(str, at), rotation=45)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("microseconds")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--plot", metavar="FILE", help="draw the growth there")
    chosen = parser.parse_args()
    print(f"{bp.show_config()['isa']}, Python {sys.version.split()[0]}, NumPy {np.__version__}")
    measured = growth(chosen.repeat)
    if chosen.plot:
        plot(measured, chosen.plot)
    crossover(chosen.repeat)
