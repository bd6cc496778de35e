"""Derivatives beside PyTorch, JAX, mlpfile and SciPy, on one processor: ratios of the same run.

    python benchmarks/derivatives.py

The Jacobian of 40-100-100-10, one row, 8 and 64; a product with the Hessian of 20-64-32-1 on 256 rows;
Levenberg-Marquardt beside SciPy's, on the same residuals and Jacobian, with 13 to 481 parameters, with MATLAB's damping
and with a finer one. Others are left out where they are missing.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np

import backprop as bp


def seconds(call: Callable[[], object], least: float = 0.4) -> float:
    """The shortest of some calls."""
    call()
    found, begun = [], time.perf_counter()
    while time.perf_counter() - begun < least or len(found) < 5:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def tell(what: str, ours: float, **others: float) -> None:
    """A line of the table."""
    rest = ", ".join(f"{name} {1e6 * theirs:.0f} us, {theirs / ours:.1f} times" for name, theirs in others.items())
    print(f"{what}: {1e6 * ours:.1f} us; {rest}")


def jacobians(torch, jax) -> None:
    sizes = (40, 100, 100, 10)
    net = bp.Sequential([bp.Dense(n, m, "tanh") for n, m in pairwise(sizes)], rng=0)
    weights = [(layer.weight.copy(), layer.bias.copy()) for layer in net.layers]

    tensors = [] if torch is None else [tuple(map(torch.tensor, pair)) for pair in weights]

    def in_torch(x):
        for w, b in tensors:
            x = torch.tanh(x @ w + b)
        return x

    def in_jax(x):
        for w, b in weights:
            x = jax.numpy.tanh(x @ w + b)
        return x

    for rows in (1, 8, 64):
        x = np.random.default_rng(0).normal(size=(rows, 40)).astype(np.float32)
        others = {}
        if torch is not None:
            one, given = torch.func.jacrev(in_torch), torch.tensor(x)
            others["torch.func.jacrev"] = seconds(
                partial(one, given[0]) if rows == 1 else partial(torch.func.vmap(one), given)
            )
        if jax is not None:
            others["JAX, jit"] = seconds(partial(_ready, jax.jit(jax.vmap(jax.jacrev(in_jax))), x))
        tell(f"Jacobian of 40-100-100-10, {rows} rows", seconds(partial(net.jacobian, x, threads=1)), **others)


def rectified() -> None:
    """One row of the same sizes with relu, beside mlpfile, which is in C++."""
    try:
        import mlpfile  # pyright: ignore[reportMissingImports]
    except ImportError:
        return
    net = bp.Sequential([bp.Dense(40, 100, "relu"), bp.Dense(100, 100, "relu"), bp.Dense(100, 10)], rng=0)
    x, theirs = np.random.default_rng(0).normal(size=40).astype(np.float32), mlpfile.Model.random(40, [100, 100], 10)
    tell(
        "Jacobian of a row with relu",
        seconds(partial(net.jacobian, x[None])),
        mlpfile=seconds(partial(theirs.jacobian, x)),
    )


def _ready(call, x) -> None:
    call(x).block_until_ready()


def products(torch) -> None:
    net = bp.Sequential([bp.Dense(20, 64, "tanh"), bp.Dense(64, 32, "tanh"), bp.Dense(32, 1)], rng=0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(256, 20)).astype(np.float32), rng.normal(size=(256, 1)).astype(np.float32)
    v = rng.normal(size=net.parameters.shape).astype(np.float32)
    others = {}
    if torch is not None:
        tensors = [torch.tensor(array) for layer in net.layers for array in (layer.weight, layer.bias)]
        given, target, along, at = torch.tensor(x), torch.tensor(y), [], 0
        for tensor in tensors:
            along.append(torch.tensor(v[at : at + tensor.numel()]).reshape(tensor.shape))
            at += tensor.numel()

        def loss(w0, b0, w1, b1, w2, b2):
            return ((torch.tanh(torch.tanh(given @ w0 + b0) @ w1 + b1) @ w2 + b2 - target) ** 2).mean()

        others["torch.autograd.functional.hvp"] = seconds(
            lambda: torch.autograd.functional.hvp(loss, tuple(tensors), tuple(along))
        )
    ours = seconds(lambda: net.hessian_vector_product(x, y, "mse", v, threads=1))
    tell("Hessian-vector product of 20-64-32-1, 256 rows", ours, **others)


def least_squares() -> None:
    try:
        from scipy.optimize import least_squares as scipys
    except ImportError:
        return
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1000, 2))
    y = np.sin(3 * x[:, :1]) * x[:, 1:] + 0.01 * rng.normal(size=(1000, 1))
    for hidden in (3, 12, 40, 120):
        net = bp.Sequential([bp.Dense(2, hidden, "tanh"), bp.Dense(hidden, 1)], rng=0, dtype="float64")
        start, twin = net.parameters.copy(), net.copy()

        def outputs(parameters, twin=twin):
            twin.parameters[...] = parameters
            return (twin.predict(x) - y).ravel()

        def jacobian(parameters, twin=twin):
            twin.parameters[...] = parameters
            found = np.empty((len(x), 1, len(parameters)))
            bp._core.Pullback(twin._engine, x, None, dp=found).run()
            return found[:, 0]

        begun = time.perf_counter()
        theirs = scipys(outputs, start, jacobian, method="lm", max_nfev=60)
        scipy_time = time.perf_counter() - begun
        print(
            f"Levenberg-Marquardt, {len(start)} parameters, 1000 rows: SciPy {1e3 * scipy_time:.0f} ms to "
            f"{2 * theirs.cost:.4g} in {theirs.nfev} evaluations"
        )
        net.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt(), threads=1)  # the first is slower
        for finer in ({}, {"mu_dec": 0.3, "mu_inc": 3}):
            net.parameters[...] = start
            begun = time.perf_counter()
            history = net.fit(x, y, loss="mse", optimizer=bp.LevenbergMarquardt(**finer), epochs=60, threads=1)
            ours = time.perf_counter() - begun
            off = ((net.predict(x) - y) ** 2).sum()
            print(f"  {finer}: {1e3 * ours:.0f} ms to {off:.4g} in {len(history['loss'])} iterations")


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # JAX has no other way to one thread
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        torch = None
    try:
        import jax
    except ImportError:
        jax = None
    jacobians(torch, jax)
    rectified()
    products(torch)
    least_squares()


if __name__ == "__main__":
    main()
