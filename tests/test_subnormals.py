"""Subnormal numbers cost the engine a multiple of others: to it they are zero, to everything around it they are not."""

import platform
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import backprop as bp

FLUSHES = (sys.platform, platform.machine()) != ("win32", "ARM64")


def exist():
    """Whether this thread's arithmetic has subnormals."""
    return bool(np.float64(2.0**-1000) * 2.0**-40 > 0 and np.float32(2.0**-100) * np.float32(2.0**-40) > 0)


def network(dtype="float32"):
    return bp.Sequential([bp.Dense(8, 16, "relu"), bp.Dense(16, 1)], rng=0, dtype=dtype)


def data(rows=64, dtype="float32"):
    x = np.random.default_rng(0).normal(size=(rows, 8)).astype(dtype)
    return x, x[:, :1]


def test_they_exist_after_import():
    code = "import backprop, numpy as np; assert np.float64(2.0**-1000) * 2.0**-40 > 0"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_they_exist_after_every_call_into_the_engine():
    net, optimizer, (x, y) = network(), bp.Adam(), data()
    assert exist()
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=3, threads=2)
    assert exist()
    net.predict(x), net.predict(x[:1]), net.evaluate(x, y, loss="mse"), net.value_and_gradient(x, y, "mse")
    assert exist()
    net.backward(np.ones_like(net.forward(x)))
    optimizer.step(net)
    assert exist()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_they_exist_in_a_signal_handler_during_a_fit():
    seen = []

    def handler(*_):
        seen.append(exist())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            network().fit(*data(), loss="mse", optimizer=bp.Adam(), epochs=10_000_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen == [True] and exist() and time.monotonic() - start < 60


@pytest.mark.skipif(not FLUSHES, reason="this build has no way to flush")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_state_of_dead_units_is_never_subnormal(dtype):
    net, optimizer, (x, y) = network(dtype), bp.Adam(1e-3, beta1=0.5, beta2=0.6), data(dtype=dtype)
    net.fit(x, y, loss="mse", optimizer=optimizer)
    net.layers[0].bias[:8] = -1e6  # these units never answer again: their moments only decay
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=1200)
    tiny = np.finfo(dtype).tiny
    for state in optimizer.state.values():
        dead = state[: 8 * 16].reshape(8, 16)[:, :8]
        assert abs(dead).max() <= 10 * tiny  # without fused multiply-adds, the decay itself is flushed at the end
        assert ((state == 0) | (abs(state) >= tiny)).all()


def test_by_hand_and_by_fit_flush_alike():
    (x, y), fitted, by_hand = data(), network(), network()
    x[:, 0] = 1e-40  # a column of subnormals
    loss, one, other = bp.MeanSquaredError(), bp.Adam(), bp.Adam()
    fitted.fit(x, y, loss=loss, optimizer=one, epochs=5, batch_size=None, shuffle=False)
    for _ in range(5):
        by_hand.backward(loss(by_hand.forward(x), y)[1])
        other.step(by_hand)
    assert np.array_equal(fitted.parameters, by_hand.parameters)
    assert all(np.array_equal(one.state[name], other.state[name]) for name in one.state)
