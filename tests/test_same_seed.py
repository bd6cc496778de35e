"""The same seed, the same bits: for any number of threads, any layout, in another process."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from instances import CLIPPED, builds, layouts, optimizer_of
from runs import DTYPES, QUICK, big, by_hand, middling, normed, penalised, same, small, state, table, tiny, wide

import backprop as bp


def trained(make, dtype, rows, batch, how=None, threads=None):
    x, y, weights = table(rows, dtype)
    if how:
        x, y = layouts(x)[how], layouts(y)[how]
    net, optimizer = make(dtype), bp.Adam(0.01)
    history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=2, batch_size=batch, sample_weight=weights,
                      metrics=["mae"], threads=threads)  # fmt: skip
    return [*state(net, optimizer), history["loss"], history["mae"], net.predict(x, threads=threads)]


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize(
    ("rows", "batch"), [(2, 2), (3, 2), (45, 7), (300, 129), (700, 191), (2500, 1030), (1500, 1500), (9100, 9100)]
)
@pytest.mark.parametrize("make", [tiny, small, normed, middling, big])
def test_any_number_of_threads_gives_the_same_bits(make, rows, batch, dtype):
    once = trained(make, dtype, rows, batch)
    assert same(once, *(trained(make, dtype, rows, batch, threads=threads) for threads in (None, 1, 2, 3, 5)))


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize(("rows", "batch"), [(45, 7), (300, 129), (1100, 1030)])
def test_threads_that_share_the_columns_of_wide_layers_give_the_same_bits(rows, batch, dtype):
    once = trained(wide, dtype, rows, batch, threads=1)
    assert same(once, *(trained(wide, dtype, rows, batch, threads=threads) for threads in (2, 3, 4, 9)))


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize(("rows", "batch"), [(3, 1), (45, 7), pytest.param(2500, 1030, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [tiny, small, pytest.param(big, marks=pytest.mark.slow)])
@pytest.mark.parametrize("optimizer", CLIPPED)
@pytest.mark.parametrize("frozen", [[], [0], [-1], [0, -1]])
def test_clipping_penalties_and_frozen_layers_by_every_road_bits(frozen, optimizer, make, rows, batch, dtype):
    x, y, weights = table(rows, dtype)
    runs = []
    for threads in (0, 1, 2, 3):
        net, its = penalised(make, dtype), optimizer_of(optimizer)
        for layer in frozen:
            net.layers[layer].trainable = False
        if threads == 0:
            by_hand(net, x, y, bp.MeanSquaredError(), its, 2, batch, weights)
        else:
            net.fit(x, y, loss="mse", optimizer=its, epochs=2, batch_size=batch, sample_weight=weights, shuffle=False,
                    threads=threads)  # fmt: skip
        runs.append(state(net, its))
    assert same(*runs)
    assert not np.array_equal(runs[0][0], make(dtype).parameters) or len(frozen) == len(net.layers)


@pytest.mark.parametrize("dtype", QUICK)
def test_any_layout_gives_the_same_bits(dtype):
    once = trained(small, dtype, 45, 7)
    assert same(once, *(trained(small, dtype, 45, 7, how) for how in layouts(np.zeros((1, 1)))))


def fingerprint():
    """Of everything random in a fit."""
    digest = hashlib.sha256()
    for dtype in DTYPES:
        for make in small, big:
            for part in trained(make, dtype, 45, 7):
                digest.update(np.asarray(part).tobytes())
    return digest.hexdigest()


def test_another_process_gives_the_same_bits():
    here = Path(__file__).parent
    code = f"import sys; sys.path.insert(0, {str(here)!r}); import test_same_seed as t; print(t.fingerprint())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == fingerprint()


def test_networks_train_at_once_the_same_bits():
    once = trained(small, "float32", 300, 7)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda i: trained(small, "float32", 300, 7, threads=1 + i % 2), range(8)))
    assert same(once, *runs)


def test_another_seed_gives_other_bits():
    once, other = small(rng=1), small(rng=2)
    assert not np.array_equal(once.parameters, other.parameters)
    x, y, _ = table(45)
    other.parameters[...] = once.parameters
    how = {"loss": "mse", "batch_size": 7, "epochs": 2}
    for net in once, other:
        net.fit(x, y, optimizer=bp.SGD(0.1), **how)
    assert not np.array_equal(once.parameters, other.parameters)
    assert not np.array_equal(bp.Sequential([bp.Dense(9, 9)]).parameters, bp.Sequential([bp.Dense(9, 9)]).parameters)


def test_the_order_of_the_rows_and_the_dropped_numbers_change():
    x, y, _ = table(45)

    def parameters(dropout, shuffle, seed):
        net = small(dropout=dropout)
        net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), batch_size=7, shuffle=shuffle, rng=seed)
        return net.parameters

    for dropout, shuffle, alike in ((0, False, True), (0.3, False, False), (0, True, False)):
        assert np.array_equal(parameters(dropout, shuffle, 1), parameters(dropout, shuffle, 2)) is alike
    y_hat = [small(rng=1).forward(x), small(rng=1).forward(x)]
    assert np.array_equal(*y_hat)
    net = small(rng=1)
    assert not np.array_equal(net.forward(x), net.forward(x))


def test_fit_takes_its_own_rng():
    x, y, _ = table(45)

    def parameters(rng, seed=1):
        net = small(rng=seed)
        net.parameters[...] = np.linspace(-1, 1, net.parameters.size)
        net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), batch_size=7, rng=rng)
        return net.parameters

    assert np.array_equal(parameters(5), parameters(5, seed=2))
    assert np.array_equal(parameters(5), parameters(np.random.default_rng(5)))
    assert not np.array_equal(parameters(5), parameters(6))
    assert not np.array_equal(parameters(None), parameters(None, seed=2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 2, 1), (3, 2), (1, 1)])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize(("rows", "batch_size"), [(4, None), (3, 2), (8, None), (9, 7), (40, 4)])
def test_a_tiny_batch_has_the_same_bits(dtype, shape, activation, rows, batch_size):
    """On one thread it takes a way of its own, and squared errors without weights another one."""
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, shape[0])).astype(dtype), rng.normal(size=(rows, shape[-1])).astype(dtype)

    def fit(shuffle, **how):
        layers = [bp.Dense(n_in, n_out, activation) for n_in, n_out in pairwise(shape)]
        net = bp.Sequential(layers, rng=1, dtype=dtype)
        how = {"loss": bp.MeanSquaredError(), "optimizer": bp.SGD(0.3), "shuffle": shuffle, **how}
        losses = net.fit(x, y, epochs=70, batch_size=batch_size, **how)["loss"]
        return [net.parameters.tobytes(), net.gradients.tobytes(), list(losses)]

    for shuffle in (False, True):
        expected = fit(shuffle, threads=2)
        assert fit(shuffle, threads=1) == expected
        assert fit(shuffle, threads=1, sample_weight=np.ones(rows)) == expected


#: What has tests whose name ends in _bits: by every road, to the last bit.
BITS = ["four_lines", "same_seed", "prediction", "going_on", "value_and_gradient", "networks"]


@pytest.mark.slow
@pytest.mark.parametrize("isa", [name for name in builds() if name != bp.show_config()["isa"]])
def test_the_other_builds(isa):
    here = Path(__file__).parent
    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "", "-k", "bits and not process"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(str(here / f"test_{name}.py") for name in BITS)],
        env=os.environ | {"BACKPROP_ISA": isa}, capture_output=True, text=True, timeout=1200, cwd=here.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
