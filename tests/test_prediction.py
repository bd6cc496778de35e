"""Prediction: a row alone and among others, by every road, in many threads, the same bits; and nothing is changed."""

import itertools
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from instances import ACTIVATIONS
from runs import QUICK, big, small, table

import backprop as bp

WIDTHS = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 130, 513]


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_rows_alone_and_together_give_the_same_bits(name, dtype):
    rng = np.random.default_rng(3)
    for i, width in enumerate(WIDTHS):
        n_in, n_out, f = WIDTHS[i - 5], WIDTHS[i - 3], ACTIVATIONS[name]
        net = bp.Sequential(
            [bp.Dense(n_in, width, f, bias_init="he_normal"), bp.Dense(width, n_out, f)],
            rng=i, dtype=dtype,
        )  # fmt: skip
        x = rng.normal(size=(131, n_in)).astype(dtype)
        together = net.predict(x)
        assert np.array_equal(together, np.concatenate([net.predict(x[r : r + 1]) for r in range(len(x))])), width
        for rows in 2, 5, 31, 32, 33, 127, 129:
            assert np.array_equal(together[-rows:], net.predict(x[-rows:])), (width, rows)
        if i % 4 == 0:
            assert np.array_equal(together, net.predict(x, batch_size=13))
            assert np.array_equal(together, net(x))


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_rows_of_small_networks_give_the_same_bits(name, dtype):
    rng = np.random.default_rng(4)
    for n_in, width in itertools.product((1, 2, 3, 4, 6, 9), range(1, 10)):
        net = bp.Sequential([bp.Dense(n_in, width, ACTIVATIONS[name]), bp.Dense(width, 2)], rng=width, dtype=dtype)
        x = rng.normal(size=(21, n_in)).astype(dtype)
        together = net.predict(x)
        for rows in 1, 2, 3, 5, 8, 20:
            apart = np.concatenate([net.predict(x[start : start + rows]) for start in range(0, len(x), rows)])
            assert np.array_equal(together, apart), (n_in, width, rows)
        assert np.array_equal(together, net.forward(x)), (n_in, width)


@pytest.mark.parametrize("make", [small, big])
@pytest.mark.parametrize("rows", [0, 1, 255, 256, 600, 1500])
def test_predict_by_every_road_gives_the_same_bits(rows, make):
    net, (x, _, _) = make(), table(rows)
    expected = net.predict(x, threads=1)
    assert expected.shape == (rows, 3) and expected.dtype == net.dtype
    for batch_size in (None, 1, 7, 10**6) if rows < 300 else (None, 100, 257):
        for threads in None, 1, 2, 3, 5:
            out = np.full((rows, 3), 7, "float32")
            assert net.predict(x, batch_size=batch_size, threads=threads, out=out) is out
            assert np.array_equal(out, expected)
            assert np.array_equal(net.predict(x, batch_size=batch_size, threads=threads), expected)
    half = np.full((rows + 2, 3), 7, "float32")
    net.predict(x, out=half[1:-1])
    assert np.array_equal(half[1:-1], expected) and (half[[0, -1]] == 7).all()
    assert net.steps == 0


def test_predict_never_changes_the_network():
    net, optimizer = small(), bp.Adam()
    x, y, _ = table(20)
    net.fit(x, y, loss="mse", optimizer=optimizer)
    before = pickle.dumps(net), net.gradients.copy()
    y_hat = net.forward(x)  # what it keeps for backward is not touched either
    after_forward = pickle.dumps(net)
    net.predict(x)
    net.evaluate(x, y, loss="mse", metrics=["r2"])
    assert pickle.dumps(net) == after_forward != before[0]
    assert np.array_equal(net.gradients, before[1])
    net.backward(np.ones_like(y_hat))
    got = net.gradients.copy()
    net.steps -= 1
    net.forward(x)
    net.backward(np.ones_like(y_hat))
    assert np.array_equal(net.gradients, got)


def test_many_threads_predict_at_once_the_same_bits():
    net = big()
    inputs = [table(rows, seed=rows)[0] for rows in (1, 2, 40, 129, 300)]
    expected = [net.predict(x, threads=1) for x in inputs]

    def work(i):
        k = i % len(inputs)
        return np.array_equal(net.predict(inputs[k], threads=1 + i % 2), expected[k])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_predict_and_fit_release_the_interpreter():
    net = bp.Sequential([bp.Dense(64, 512, "tanh"), bp.Dense(512, 1)], rng=0)
    x = np.zeros((20_000, 64), "float32")
    for work in (
        lambda: net.predict(x, threads=1),
        lambda: net.fit(x, x[:, :1], loss="mse", optimizer=bp.SGD(0.1), batch_size=None, threads=1),
    ):
        worker, ticks = threading.Thread(target=work), []
        worker.start()
        while worker.is_alive():
            ticks.append(time.perf_counter())
            time.sleep(0.001)
        pauses = np.diff(ticks)
        # Held, there would be one pause as long as the work.
        assert len(ticks) > 5 and pauses.max() < 0.8 * (ticks[-1] - ticks[0]), (len(ticks), pauses.max())
