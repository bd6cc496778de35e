"""A step over several processes: how long it takes, how much of that is the sum, and what a network would make of it.

    python benchmarks/mpi.py [--ranks 1,2,4] [--widths 64,256,1024,2048] [--batches 256,4096,65536]

Needs mpi4py and an mpiexec. Networks of 64 inputs, two hidden layers of the width and 10 outputs, float32, Adam; one
thread a process, batches in as many shards as processes. The model says a step of many ranks from one of a single rank:
its rows are shared, what a step costs without rows is not, and a sum goes round by the latency and the bandwidth of a
network. First it is held against what was measured here, with those of this machine; then it says what networks would
make of it.
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
from typing import Any, NamedTuple

import numpy as np

INPUTS, OUTPUTS = 64, 10
#: Rows of a batch that is next to nothing: a step of it is what ranks cannot share.
FEW = 8
#: Arithmetic of an epoch, so that what comes once an epoch does not count.
EPOCH = 3e10


class Network(NamedTuple):
    """Seconds until a message arrives, and bytes a second."""

    latency: float
    bandwidth: float


#: Ethernet and InfiniBand, by their data sheets.
NETWORKS = {"10 Gbit/s": Network(30e-6, 1.25e9), "100 Gbit/s": Network(3e-6, 12.5e9)}
MACHINES = 2, 4, 16, 64, 256


def parameters(width: int) -> int:
    return INPUTS * width + width + width * width + width + width * OUTPUTS + OUTPUTS


# What one rank of several does.


def step(comm: Any, width: int, batch: int) -> list[float]:
    """Seconds of a step, and those in meetings and sums; the first rank knows."""
    import backprop as bp

    layers = [bp.Dense(INPUTS, width, "relu"), bp.Dense(width, width, "relu"), bp.Dense(width, OUTPUTS)]
    net = bp.Sequential(layers, rng=0)
    rng = np.random.default_rng(comm.Get_rank())
    steps = max(1, min(40, int(EPOCH / (6.0 * batch * parameters(width)))))
    rows = batch * steps // comm.Get_size()
    x = rng.standard_normal((rows, INPUTS), dtype=np.float32)
    y = rng.standard_normal((rows, OUTPUTS), dtype=np.float32)
    times, waits = [], []

    class Clock(bp.Callback):
        def on_epoch_end(self, run: bp.callbacks.Run) -> None:
            times.append(time.perf_counter())
            waits.append(run.shards.ranks.seconds)

    net.fit(x, y, loss="mse", optimizer=bp.Adam(1e-3), epochs=4, batch_size=batch, comm=comm,
            shards=comm.Get_size(), threads=1, callbacks=[Clock()])  # fmt: skip
    return [statistics.median(np.diff(each)) / steps for each in (times, waits)] if times else []


def sums(comm: Any) -> list[float]:
    """Seconds of a meeting and a sum of next to nothing, and of one of 16 MiB."""
    from backprop.distributed import Ranks

    ranks, found = Ranks(comm), []
    for n, repeats in (16, 300), (2**22, 15):
        vector, each = np.ones(n, np.float32), []
        for _ in range(repeats):
            begun = time.perf_counter()
            ranks.meet()
            ranks.total([vector], [range(rank, rank + 1) for rank in range(ranks.size)])
            each.append(time.perf_counter() - begun)
        found.append(statistics.median(each))
    return found


# What all of them come to.


def over(ranks: int, *what: int) -> list[float]:
    """What the first of some ranks has found: a step of this width and batch, or sums."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if mpiexec is None:
        raise SystemExit('there is no mpiexec: pip install "backprop-nn[mpi]" mpich')
    command = [mpiexec, "-n", str(ranks), sys.executable, __file__, "--measure", ",".join(map(str, what))]
    found: list[float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def round_trips(ranks: int) -> float:
    """Messages that wait for one another: a meeting, then a sum whose parts are scattered and gathered."""
    return 3 * float(np.ceil(np.log2(ranks)))


def moved(ranks: int, size: float) -> float:
    """Bytes that each rank sends in a sum."""
    return 2 * size * (ranks - 1) / ranks


def here(ranks: int) -> Network:
    """The latency and bandwidth between processes of this machine."""
    small, large = over(ranks)
    return Network(small / round_trips(ranks), moved(ranks, 2**24) / (large - small))


def modelled(one: float, fixed: float, size: float, ranks: int, cores: int, network: Network) -> float:
    """Seconds of a step of so many ranks."""
    shared = max(0.0, one - fixed) / min(ranks, cores)
    return fixed + shared + round_trips(ranks) * network.latency + moved(ranks, size) / network.bandwidth


def tables(ranks: list[int], widths: list[int], batches: list[int]) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    networks = {count: here(count) for count in ranks if count > 1}
    for count, network in networks.items():
        print(f"{count} ranks here: {network.latency * 1e6:.1f} us, {network.bandwidth / 1e9:.2f} GB/s")
    print(f"\n{'width':>6} {'batch':>6} {'ranks':>6} {'ms a step':>10} {'in sums':>8} {'speed-up':>9} {'modelled':>9}")
    found = []
    for width in widths:
        fixed, size = over(1, width, FEW)[0], 4.0 * parameters(width)
        for batch in batches:
            one = over(1, width, batch)[0]
            found.append((width, batch, one, fixed, size))
            print(f"{width:6} {batch:6} {1:6} {one * 1e3:10.3f}")
            for count, network in networks.items():
                seconds, waiting = over(count, width, batch)
                model = modelled(one, fixed, size, count, cores, network)
                shown = f"{waiting / seconds:8.0%} {one / seconds:8.2f}x {one / model:8.2f}x"
                print(f"{width:6} {batch:6} {count:6} {seconds * 1e3:10.3f} {shown}", flush=True)
    for name, network in NETWORKS.items():
        print(f"\nmodelled on {name}, one core each\n{'width':>6} {'batch':>6}", *(f"{many:7}" for many in MACHINES))
        for width, batch, one, fixed, size in found:
            speeds = [one / modelled(one, fixed, size, many, many, network) for many in MACHINES]
            print(f"{width:6} {batch:6}", *(f"{speed:6.1f}x" for speed in speeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name, default in ("ranks", "1,2,4"), ("widths", "64,256,1024,2048"), ("batches", "256,4096,65536"):
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure is None:
        tables(*(list(map(int, getattr(asked, name).split(","))) for name in ("ranks", "widths", "batches")))
        return
    from mpi4py import MPI

    what = [int(number) for number in asked.measure.split(",") if number]
    found = step(MPI.COMM_WORLD, *what) if what else sums(MPI.COMM_WORLD)
    if MPI.COMM_WORLD.Get_rank() == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
