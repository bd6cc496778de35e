"""A step over several processes: how long it takes, how much of that is the sum, and what a network would make of it.

    python benchmarks/mpi.py [--ranks 1,2,4] [--widths 64,256,1024,2048] [--batches 256,4096,65536]

Needs mpi4py and an mpiexec. Networks of 64 inputs, two hidden layers of the width and 10 outputs, float32, Adam; one
thread a process, batches in as many shards as processes. The model takes a step of one process, its latencies and
bandwidths from a network's data sheet, and says from how many rows a batch on a second machine pays.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

INPUTS, OUTPUTS = 64, 10
#: Bytes a second and seconds for a message, of an Ethernet of 10 Gbit/s and of an InfiniBand of 100.
NETWORKS = {"10 Gbit/s": (1.25e9, 30e-6), "100 Gbit/s": (12.5e9, 3e-6)}


def parameters(width: int) -> int:
    return INPUTS * width + width + width * width + width + width * OUTPUTS + OUTPUTS


def measure(width: int, batch: int) -> None:
    """Time steps on the ranks of the world; rank 0 prints seconds a step, and seconds in meetings and sums."""
    from mpi4py import MPI

    import backprop as bp

    comm = MPI.COMM_WORLD
    layers = [bp.Dense(INPUTS, width, "relu"), bp.Dense(width, width, "relu"), bp.Dense(width, OUTPUTS)]
    net = bp.Sequential(layers, rng=0)
    rng = np.random.default_rng(comm.Get_rank())
    per_epoch = max(1, min(40, int(2e9 / (6.0 * batch * parameters(width)))))
    rows = max(1, batch * per_epoch // comm.Get_size())
    x = rng.standard_normal((rows, INPUTS), dtype=np.float32)
    y = rng.standard_normal((rows, OUTPUTS), dtype=np.float32)
    times, waits = [], []

    class Clock(bp.Callback):
        def on_epoch_end(self, run: bp.callbacks.Run) -> None:
            times.append(time.perf_counter())
            waits.append(run.shards.ranks.seconds)

    net.fit(x, y, loss="mse", optimizer=bp.Adam(1e-3), epochs=6, batch_size=batch, comm=comm,
            shards=comm.Get_size(), callbacks=[Clock()])  # fmt: skip
    if comm.Get_rank() == 0:
        steps = -(-rows * comm.Get_size() // batch)
        print(json.dumps([statistics.median(np.diff(times)) / steps, statistics.median(np.diff(waits)) / steps]))


def modelled(one: float, width: int, batch: int, ranks: int, bandwidth: float, latency: float) -> float:
    """Seconds a step: its share of the rows, the update, and a sum by scattering and gathering."""
    size = 4.0 * parameters(width)
    update = 3 * size / 10e9
    rows = (one - update) / ranks
    return rows + update + 2 * size * (ranks - 1) / ranks / bandwidth + 3 * latency * np.ceil(np.log2(ranks))


def table(ranks: list[int], widths: list[int], batches: list[int]) -> None:
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if mpiexec is None:
        raise SystemExit('there is no mpiexec: pip install "backprop-nn[mpi]" mpich')
    print(f"{'width':>6} {'batch':>6} {'ranks':>6} {'ms a step':>10} {'in sums':>8} {'speed-up':>9}   modelled on")
    print(" " * 52 + "   ".join(f"{name}: 2, 16, 256 machines" for name in NETWORKS))
    for width in widths:
        for batch in batches:
            one = 0.0
            for count in ranks:
                command = [mpiexec, "-n", str(count), sys.executable, __file__, "--measure", f"{width},{batch}"]
                found = subprocess.run(command, capture_output=True, text=True, check=True)
                step, waiting = json.loads(found.stdout)
                one = step if count == 1 else one
                line = f"{width:6} {batch:6} {count:6} {step * 1e3:10.3f} {waiting / step:7.0%} {one / step:8.2f}x"
                if count == 1:
                    for bandwidth, latency in NETWORKS.values():
                        many = [
                            one / modelled(one, width, batch, machines, bandwidth, latency) for machines in (2, 16, 256)
                        ]
                        line += "   " + "".join(f"{speed:8.1f}x" for speed in many)
                print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name, default in ("ranks", "1,2,4"), ("widths", "64,256,1024,2048"), ("batches", "256,4096,65536"):
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(*map(int, asked.measure.split(",")))
    else:
        table(*(list(map(int, getattr(asked, name).split(","))) for name in ("ranks", "widths", "batches")))


if __name__ == "__main__":
    main()
