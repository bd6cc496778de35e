"""Many networks side by side: 100 of 20-64-32-1, batch 32, Adam, beside a loop and beside the peers; nets a second.

    python benchmarks/many.py [--repeat 5] [--only TEXT] [--threads 1|all|both]

The rows are each network's own number of rows and epochs; all see the same x and y, in orders of their own. They take
turns, and each gives its median. "a loop in each process" is the ceiling: as many processes as processors, each with
its part of the loop, started at once. A peer that is not installed is named.
"""

import contextlib
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import works
from run import processor, turns

NETS, SIZES, BATCH = 100, works.SMALL, 32
#: (rows, epochs)
DATA = [(1000, 10), (10_000, 10)]

#: The ratio to reach at least, and the one aimed at; those beside our loop are shares of the processors.
GOALS = {"PyTorch vmap": (8, 20), "JAX vmap of scan": (1.6, 2.5), "a loop": (0.85, 0.97)}


def networks(count: int) -> list:
    import backprop as bp

    return [
        bp.Sequential([bp.Dense(i, o, "relu" if o > 1 else "identity") for i, o in pairwise(SIZES)], rng=seed)
        for seed in range(count)
    ]


def fit_many(x: np.ndarray, y: np.ndarray, epochs: int) -> works.Work:
    import backprop as bp

    bp.set_num_threads(works.THREADS)
    nets = networks(NETS)
    return lambda: bp.fit_many(nets, x, y, loss="mse", optimizer=bp.Adam(1e-3), epochs=epochs, batch_size=BATCH)


def looped(x: np.ndarray, y: np.ndarray, epochs: int, count: int = NETS) -> works.Work:
    import backprop as bp

    nets = networks(count)

    def run() -> None:
        for net in nets:
            net.fit(x, y, loss="mse", optimizer=bp.Adam(1e-3), epochs=epochs, batch_size=BATCH, threads=1)

    return run


def _serve(end: object, x: np.ndarray, y: np.ndarray, epochs: int, count: int) -> None:
    run = looped(x, y, epochs, count)
    with contextlib.suppress(EOFError):
        while end.recv():
            run()
            end.send(True)


def processes(x: np.ndarray, y: np.ndarray, epochs: int) -> works.Work:
    context, ends = multiprocessing.get_context("spawn"), []
    for part in np.array_split(np.arange(NETS), works.THREADS):
        ours, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, x, y, epochs, len(part)), daemon=True).start()
        ends.append(ours)

    def run() -> None:
        for end in ends:
            end.send(True)
        for end in ends:
            end.recv()

    return run


def joblib_sklearn(x: np.ndarray, y: np.ndarray, epochs: int) -> works.Work:
    import joblib

    model, target = works.train_sklearn(SIZES, x[:100], y[:100], BATCH, 1, True)(), y.ravel()
    models = [model.set_params(max_iter=epochs, random_state=i).__class__(**model.get_params()) for i in range(NETS)]
    return lambda: joblib.Parallel(n_jobs=works.THREADS)(joblib.delayed(_fitted)(one, x, target) for one in models)


def _fitted(model: object, x: np.ndarray, y: np.ndarray) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y)


def torch_vmap(x: np.ndarray, y: np.ndarray, epochs: int) -> works.Work:
    """One batched step for all; the parameters are stacked, and Adam is elementwise."""
    import torch
    from torch.func import functional_call, grad, stack_module_state, vmap

    nets = [works._torch_network(SIZES) for _ in range(NETS)]
    stacked, _ = stack_module_state(nets)
    parameters = {name: value.detach().clone() for name, value in stacked.items()}
    optimizer = torch.optim.Adam(parameters.values(), 1e-3, fused=True)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def loss(parameters: dict, x: object, y: object) -> object:
        return torch.nn.functional.mse_loss(functional_call(nets[0], parameters, (x,)), y)

    gradients = vmap(grad(loss))

    def run() -> object:
        for _ in range(epochs):
            orders = torch.stack([torch.randperm(len(tx)) for _ in range(NETS)])
            for rows in orders.split(BATCH, dim=1):
                found = gradients(parameters, tx[rows], ty[rows])
                for name, value in parameters.items():
                    value.grad = found[name]
                optimizer.step()
        return parameters

    return run


def jax_train(x: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[list, object], list]:
    """All epochs of one network, to be mapped or jitted; the last rows of an epoch, too few for a batch, are left."""
    import jax
    import jax.numpy as jnp

    tx, ty = jnp.asarray(x), jnp.asarray(y)

    def loss(p: list, x: object, y: object) -> object:
        for w, b in p[:-1]:
            x = jax.nn.relu(x @ w + b)
        return jnp.mean((x @ p[-1][0] + p[-1][1] - y) ** 2)

    def step(state: tuple, rows: object) -> tuple:
        p, m, v, t = state
        g, t = jax.grad(loss)(p, tx[rows], ty[rows]), t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        a, b = 1e-3 / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        return (jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v) * b + 1e-8), p, m, v), m, v, t), None

    def epoch(state: tuple, key: object) -> tuple:
        order = jax.random.permutation(key, len(tx))[: len(tx) // BATCH * BATCH]
        return jax.lax.scan(step, state, order.reshape(-1, BATCH))

    def train(p: list, key: object) -> list:
        zeros = jax.tree.map(jnp.zeros_like, p)
        return jax.lax.scan(epoch, (p, zeros, zeros, jnp.float32(0)), jax.random.split(key, epochs))[0][0]

    return train


def jax_vmap(x: np.ndarray, y: np.ndarray, epochs: int) -> works.Work:
    """One call for all networks."""
    import jax
    import jax.numpy as jnp

    train = jax.jit(jax.vmap(jax_train(x, y, epochs)))
    start = jax.tree.map(lambda a: jnp.stack([jnp.asarray(a)] * NETS), works.weights(SIZES))
    keys = jax.random.split(jax.random.key(0), NETS)
    return lambda: jax.block_until_ready(train(start, keys))


def jax_pool(x: np.ndarray, y: np.ndarray, epochs: int) -> works.Work:
    """A call for each network, from as many threads as processors."""
    from concurrent.futures import ThreadPoolExecutor

    import jax

    train, pool = jax.jit(jax_train(x, y, epochs)), ThreadPoolExecutor(works.THREADS)
    start, keys = works.weights(SIZES), list(jax.random.split(jax.random.key(0), NETS))
    return lambda: [*pool.map(lambda key: jax.block_until_ready(train(start, key)), keys)]


BUILDERS: dict[str, Callable[[np.ndarray, np.ndarray, int], works.Work]] = {
    "fit_many": fit_many, "a loop": looped, "a loop in each process": processes, "JAX vmap of scan": jax_vmap,
    "JAX scan in a pool": jax_pool, "PyTorch vmap": torch_vmap, "joblib, scikit-learn": joblib_sklearn,
}  # fmt: skip


def measure(repeat: int, only: str) -> None:
    """All rows, in this process."""
    import backprop as bp

    config = bp.show_config()
    print(f"\n{works.THREADS} thread(s), {config['isa']} ({config['register_bits']} bits), {processor()}")
    for rows, epochs in DATA:
        x, y = works.regression(rows, SIZES[0])
        runs = {}
        for name, build in BUILDERS.items():
            if name in ("fit_many", "a loop") or only in name:
                try:
                    runs[name] = build(x, y, epochs)
                    runs[name]()
                except ImportError as error:
                    print(f"{name} is missing ({error})")
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeat):
            for name, run in runs.items():
                time.sleep(0.2)  # until the last library's threads no longer spin
                begun = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - begun)
        show(f"{NETS} nets, {epochs} epochs of {rows:,} rows", seconds)


def show(title: str, seconds: dict[str, list[float]]) -> None:
    """The rates, and how many times as many nets a second ours trains."""
    ours = statistics.median(seconds["fit_many"])
    print(f"\n{title}")
    for name, times in seconds.items():
        ratio = statistics.median(times) / ours
        floor, goal = GOALS.get(name, (0, 0))
        share = ratio / works.THREADS if name == "a loop" else ratio
        mark = "" if not goal else "goal" if share >= goal else "floor" if share >= floor else "BELOW"
        beside = f"{ratio:7.2f}x  {mark}" if name != "fit_many" else ""
        print(f"    {name:<23} {NETS / statistics.median(times):9.1f} nets/s {beside}", flush=True)


if __name__ == "__main__":
    turns(__file__, __doc__, measure, 5)
