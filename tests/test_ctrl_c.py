"""Ctrl-C ends a fit after the batch under way, within 0.2 s; what it leaves are the weights of the last whole batch."""

import itertools
import os
import signal
import textwrap
import threading
import time

import numpy as np
import pytest
from runs import alarm, interrupted, small, table

import backprop as bp
from backprop import _threads

posix = pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")


INTERRUPTED = """
    import signal, sys, time
    import numpy as np
    import backprop as bp

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background

    layers, rows, batch, epochs, threads = {scenario}
    rng = np.random.default_rng(0)
    n_in, n_out = layers[0], layers[-1]
    x, y = rng.normal(size=(rows, n_in)).astype("float32"), rng.normal(size=(rows, n_out)).astype("float32")

    def fresh():
        return bp.Sequential([bp.Dense(i, o, "tanh") for i, o in zip(layers, layers[1:])], rng=1), bp.Adam(1e-4)

    how = dict(loss="mse", batch_size=batch, shuffle=False, threads=threads)
    net, optimizer = fresh()
    print("ready", flush=True)
    try:
        net.fit(x, y, optimizer=optimizer, epochs=epochs, **how)
    except KeyboardInterrupt:
        stopped = time.monotonic()
    else:
        sys.exit("the fit came to its end")

    # The weights, and the optimizer, are those of the last whole batch.
    whole, rest = divmod(net.steps, -(-rows // batch))
    twin, other = fresh()
    twin.fit(x, y, optimizer=other, epochs=whole, **how)
    if rest:
        twin.fit(x[:rest * batch], y[:rest * batch], optimizer=other, **how)
    assert np.isfinite(net.parameters).all()
    assert net.steps == twin.steps == optimizer.steps
    assert np.array_equal(net.parameters, twin.parameters)
    assert all(np.array_equal(optimizer.state[name], other.state[name]) for name in optimizer.state)  # none before a step
    # It goes on.
    net.fit(x[:batch], y[:batch], optimizer=optimizer, **how)
    twin.fit(x[:batch], y[:batch], optimizer=other, **how)
    assert np.array_equal(net.parameters, twin.parameters)
    print(stopped, net.steps)
"""
SCENARIOS = {  # layers, rows, batch, epochs, threads
    "tiny": ((2, 2, 1), 4, 4, 20_000_000, None),
    "small": ((20, 64, 32, 1), 10_000, 32, 10_000, None),
    "threads": ((100, 300, 10), 10_000, 256, 10_000, 2),
    "more threads than processors": ((20, 64, 10), 1000, 100, 100_000, 3),
    "batches of one, two threads": ((20, 64, 1), 1000, 1, 100_000, 2),
    "many rows in one batch": ((20, 64, 1), 400_000, 400_000, 10_000, None),
    "big layers": ((1500, 2000, 2000, 10), 1024, 1024, 10_000, None),
    "big layers, two threads": ((1500, 2000, 2000, 10), 256, 256, 10_000, 2),
    "big layers, whose columns threads share": ((1500, 2000, 2000, 10), 64, 64, 10_000, 3),
}


@posix
@pytest.mark.parametrize(
    "name",
    [name if name in ("small", "big layers") else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS],
)
def test_ctrl_c(name):
    sent, out = interrupted(textwrap.dedent(INTERRUPTED).format(scenario=SCENARIOS[name]))
    stopped, steps = out.split()
    late = float(stopped) - sent
    print(f"Ctrl-C, {name}: {late * 1000:.0f} ms, after {steps} steps")
    # 0.2 s is what is promised; the rest is for a machine that is busy with other things.
    assert late < 1


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "rows", "batch", "epochs", "threads"),
    [((4096, 4096, 1), 1024, 1024, 1, 1), ((4096, 4096, 4096, 1), 64, 64, 4, 2), ((20, 64, 1), 1000, 1, 3, 3)],
    ids=["a wide layer", "columns shared by two threads", "batches of one row, three threads"],
)
def test_ctrl_c_is_looked_for_at_least_every_200_ms(layers, rows, batch, epochs, threads):
    # A handler of another signal is run where Ctrl-C would be noticed: the longest pause between two runs is the worst
    # that Ctrl-C can meet, in whatever part of a step it comes.
    net = bp.Sequential([bp.Dense(*sizes, weight_init="zeros") for sizes in itertools.pairwise(layers)], rng=0)
    x, y = np.zeros((rows, layers[0]), "float32"), np.zeros((rows, 1), "float32")
    net.predict(x)
    pauses = []
    while not pauses or (min(pauses) > 0.2 and len(pauses) < 3):  # again, if the machine was busy with other things
        seen = [time.monotonic()]
        before = signal.signal(signal.SIGALRM, lambda number, frame, seen=seen: seen.append(time.monotonic()))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            net.fit(x, y, loss="mse", optimizer=bp.SGD(1e-3), batch_size=batch, epochs=epochs, threads=threads)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        pauses.append(max(np.diff([*seen, time.monotonic()])))
    print(f"the longest time in which Ctrl-C is not looked for: {min(pauses) * 1000:.0f} ms")
    assert min(pauses) <= 0.2


@posix
def test_any_signal_handler_may_end_a_fit():
    class EnoughError(Exception):
        pass

    (x, y, _), net = table(100), small()
    with alarm(EnoughError, 0.2), pytest.raises(EnoughError):
        net.fit(x, y, loss="mse", optimizer=bp.SGD(1e-3), epochs=10**7)
    assert net.steps > 0 and np.isfinite(net.parameters).all()
    net.fit(x, y, loss="mse", optimizer=bp.SGD(1e-3))


# Where no handlers run, another thread says when to stop.


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("layers", [(2, 2, 1), (20, 64, 1), (300, 700, 1)])
def test_a_fit_in_another_thread_is_stopped_after_its_last_whole_batch(layers, threads):
    x = np.random.default_rng(0).normal(size=(512, layers[0])).astype("float32")
    how = {"loss": "mse", "batch_size": 4 if layers[0] == 2 else 256, "shuffle": False, "threads": threads}

    def fresh():
        return bp.Sequential([bp.Dense(i, o, "tanh") for i, o in itertools.pairwise(layers)], rng=1), bp.Adam(1e-4)

    for i in range(5):
        (net, optimizer), (twin, other), stop, raised = fresh(), fresh(), _threads.Stop(), []

        def work(net=net, optimizer=optimizer, stop=stop, raised=raised):
            with stop.heard(), pytest.raises(KeyboardInterrupt) as caught:
                net.fit(x, x[:, :1], optimizer=optimizer, epochs=10**7, **how)
            raised.append(caught.type)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.003 * i)
        stop.ask()
        thread.join()
        assert raised == [KeyboardInterrupt] and net.steps == optimizer.steps and not stop._under_way
        whole, rest = divmod(net.steps, -(-len(x) // how["batch_size"]))
        if whole:
            twin.fit(x, x[:, :1], optimizer=other, epochs=whole, **how)
        if rest:
            some = slice(rest * how["batch_size"])
            twin.fit(x[some], x[some, :1], optimizer=other, **how)
        assert np.array_equal(net.parameters, twin.parameters)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_that_is_stopped_before_it_begins_makes_no_step(monkeypatch, threads):
    net, (x, y, _) = small(), table(60)
    before = net.parameters.copy()
    monkeypatch.setattr(_threads, "run", lambda call: call.stop() or call.run())
    with pytest.raises(KeyboardInterrupt):
        net.fit(x, y, loss="mse", optimizer="adam", threads=threads)
    assert net.steps == 0 and np.array_equal(net.parameters, before)
