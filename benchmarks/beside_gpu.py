"""The same trainings on the cores of a machine and on its GPU: what threads gain, and from where on a GPU pays.

    python benchmarks/beside_gpu.py [--repeat 3] [--only TEXT] [--quick]

`fit` on 1, 2, 4 ... all threads; JAX, an epoch as one compiled scan; PyTorch, a step as one CUDA graph with a fused
optimizer: on the GPU where they find one, else on all cores, PyTorch eagerly. Products are in float32 for all, not in
TF32, and the rows are on the device before the clock starts. All take turns, each once before it counts, and each gives
its median; the tables are Markdown. A second one is of networks width-width-width-width, for where ours and theirs come
out even. Some minutes on 16 cores; --quick is a trial with few rows and small networks. A peer that is not installed is
named.
"""

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the GPU's memory is for both

import works
from run import processor, timed

#: Sizes, rows, batch, epochs, and whether Adam; all batches are full.
Training = tuple[tuple[int, ...], int, int, int, bool]
TRAININGS: list[Training] = [
    (works.SMALL, 10_240, 32, 5, True),
    (works.SMALL, 10_240, 1024, 5, True),
    ((784, 128, 10), 20_480, 128, 2, True),
    ((784, 128, 10), 20_480, 1024, 2, True),
    ((784, 1024, 1024, 10), 12_288, 256, 1, False),
    ((512, 2048, 2048, 10), 10_240, 1024, 1, False),
]
WIDTHS, BATCHES = (32, 128, 512, 2048), (32, 256, 2048)


def train_torch_graph(sizes: tuple[int, ...], x: object, y: object, batch: int, epochs: int, adam: bool) -> works.Work:
    """Each step is one graph, which finds the numbers of its rows where they were put; without a GPU, eagerly."""
    import torch

    if not torch.cuda.is_available():
        return works.train_torch(sizes, x, y, batch, epochs, adam)
    net = works._torch_network(sizes).cuda()
    loss = torch.nn.MSELoss() if sizes[-1] == 1 else torch.nn.CrossEntropyLoss()
    optimizer = (
        torch.optim.Adam(net.parameters(), 1e-3, fused=True, capturable=True)
        if adam
        else torch.optim.SGD(net.parameters(), 1e-2, momentum=0.9, fused=True)
    )
    tx, ty = torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda()
    rows = torch.arange(batch, device="cuda")

    def step() -> None:
        loss(net(tx[rows]), ty[rows]).backward()
        optimizer.step()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is made in the first steps must be there
        for _ in range(3):
            optimizer.zero_grad()
            step()
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad()  # then the graph writes gradients, and adds to none
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def run(held: object = step) -> None:  # a graph does not hold what it reads and writes
        for _ in range(epochs):
            for some in torch.randperm(len(tx), device="cuda").split(batch):
                rows.copy_(some)
                graph.replay()
        torch.cuda.synchronize()

    return run


PEERS = {"JAX": works.train_jax, "PyTorch": train_torch_graph}


def devices() -> dict[str, str]:
    """Where each peer computes; of those that are there."""
    found = {}
    try:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
        found["JAX"] = getattr(jax.devices()[0], "device_kind", "cpu")
    except ImportError as error:
        print(f"JAX is missing ({error})")
    try:
        import torch

        torch.set_float32_matmul_precision("highest")
        found["PyTorch"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    except ImportError as error:
        print(f"PyTorch is missing ({error})")
    return found


def medians(runs: dict[object, works.Work], repeat: int) -> dict[object, float]:
    """The seconds of each, in turns."""
    seconds: dict[object, list[float]] = {name: [] for name in runs}
    for turn in range(repeat + 1):
        for name, run in runs.items():
            time.sleep(0.2)  # until the last library's threads no longer spin
            begun = time.perf_counter()
            run()
            if turn > 0:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(found) for name, found in seconds.items()}


def builds(training: Training, counts: list[int | None], peers: list[str]) -> dict[object, works.Work]:
    """The same training, by so many threads of ours each, and by the peers."""
    sizes, rows, batch, epochs, adam = training
    make = works.regression(rows, sizes[0]) if sizes[-1] == 1 else works.classification(rows, sizes[0], sizes[-1])
    made: dict[object, Callable[..., works.Work]] = {
        count: partial(works.train_backprop, threads=count) for count in counts
    }
    made |= {name: PEERS[name] for name in peers}
    return {name: build(sizes, *make, batch, epochs, adam) for name, build in made.items()}


def beside(found: dict[object, float], peers: list[str]) -> list[str]:
    """Of each peer the time, and how many times as long as our best it takes."""
    best = min(took for name, took in found.items() if name not in peers)
    return [f"{timed(found[name])} ({found[name] / best:.2f}x)" for name in peers]


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def head(*cells: str) -> None:
    print()
    row(*cells)
    print("|" + "---|" * len(cells))


def threads_and_peers(trainings: list[Training], counts: list[int], where: dict[str, str], repeat: int) -> None:
    """The first table."""
    peers = list(where)
    head("work", *(f"{n} thread{'s' * (n > 1)}" for n in counts), *(f"{name}, {at}" for name, at in where.items()))
    for training in trainings:
        found = medians(builds(training, counts, peers), repeat)
        ours = [timed(found[1])] + [f"{timed(found[n])} ({found[1] / found[n]:.2f}x)" for n in counts[1:]]
        row(title(training), *ours, *beside(found, peers))


def title(training: Training) -> str:
    sizes, _, batch, _, adam = training
    return f"{'-'.join(map(str, sizes))}, batch {batch}, {'Adam' if adam else 'momentum'}"


def squares(widths: tuple[int, ...], batches: tuple[int, ...], peers: list[str], repeat: int) -> None:
    """The second: a step, by the threads that `fit` chooses; from which batch on a peer is faster."""
    head("a step of width-width-width-width", "batch", "backprop", *peers)
    pays: dict[str, list[str]] = {name: [] for name in peers}
    for width in widths:
        first: dict[str, int] = {}
        for batch in batches:
            steps = max(4, min(256, int(2e10 / (16 * width * width * batch))))
            training = ((width,) * 4, steps * batch, batch, 1, True)
            found = medians(builds(training, [None], peers), repeat)
            each = {name: took / steps for name, took in found.items()}
            row(str(width), str(batch), timed(each[None]), *beside(each, peers))
            for name in peers:
                if each[name] < each[None]:
                    first.setdefault(name, batch)
        for name in peers:
            pays[name].append(f"width {width} from batch {first[name]}" if name in first else f"width {width} at none")
    print()
    for name, found_at in pays.items():
        print(f"{name} is faster at {', '.join(found_at)}.")


def smaller(training: Training) -> Training:
    sizes, rows, batch, _, adam = training
    batch = min(batch, 256)
    return (
        tuple(min(size, 256) if i else size for i, size in enumerate(sizes)),
        max(batch, rows // 10 // batch * batch),
        batch,
        1,
        adam,
    )


def main() -> None:
    import backprop as bp

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name holds this text, and not the second table")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    most, config = works.THREADS, bp.show_config()
    counts = sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})
    where = devices()
    gpus = sorted({at for at in where.values() if at != "cpu"})
    print(f"{processor()}, {most} thread(s), {config['isa']} ({config['register_bits']} bits)")
    print(f"GPU: {', '.join(gpus)}" if gpus else "No GPU is found: the peers use the cores.")
    trainings = [smaller(one) for one in TRAININGS] if asked.quick else TRAININGS
    threads_and_peers([one for one in trainings if asked.only in title(one)], counts, where, asked.repeat)
    if where and not asked.only:
        widths, batches = (WIDTHS[:2], BATCHES[:2]) if asked.quick else (WIDTHS, BATCHES)
        squares(widths, batches, list(where), asked.repeat)


if __name__ == "__main__":
    main()
