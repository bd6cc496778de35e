"""Nothing is left behind: memory stays as it was over thousands of repetitions."""

import gc
import logging
import os
import sys
import tracemalloc
from pathlib import Path

import pytest
from runs import small, table

import backprop as bp


@pytest.fixture(autouse=True)
def _no_log(monkeypatch):
    """What is logged, pytest keeps."""
    monkeypatch.setattr(logging.getLogger("backprop"), "disabled", True)


def resident():
    """Bytes of memory this process holds."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        pytest.skip("needs /proc/self/statm to see how much memory is held")
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def traced(work, times):
    """How many bytes of Python's are held after so many repetitions."""
    for _ in range(times):
        work()
    if not getattr(sys, "_is_gil_enabled", lambda: True)():  # there what nobody needs any more is freed a little later
        gc.collect()
    return tracemalloc.get_traced_memory()[0]


def grown(work, times):
    """How many bytes repetitions leave behind: 300 of them of Python's, `times` of them of the process.

    What else goes on in the process makes noise, a leak is there each time: the least of up to four rounds counts.
    """
    held, per_round = [], max(times // 4, 1)
    for _ in range(per_round):
        work()
    while len(held) < 4:
        before = resident()
        for _ in range(per_round):
            work()
        held.append(resident() - before)
    tracemalloc.start()
    try:
        before = traced(work, 20)
        return traced(work, 300) - before, min(held) * 4
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_the_four_lines_leave_nothing_behind():
    x, y, weights = table(33)
    net, loss, optimizer = small(), bp.MeanSquaredError(), bp.Adam()

    def step():
        y_hat = net.forward(x)
        _, dy = loss(y_hat, y, weights)
        net.backward(dy)
        optimizer.step(net)

    python, process = grown(step, 20_000)
    assert python < 2000
    assert process < 2**20  # 52 bytes a step


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["fit", "fit by three threads", "watched", "predict", "value_and_gradient", "a new network"]
)
def test_nothing_leaks(how):
    x, y, weights = table(9)
    net, optimizer, loss = small(), bp.Adam(), bp.MeanSquaredError()

    def work():
        if how == "predict":
            net.predict(x)
        elif how == "value_and_gradient":
            net.value_and_gradient(x, y, loss, sample_weight=weights)
        elif how == "a new network":
            small().fit(x, y, loss=loss, optimizer=bp.Adam())
        elif how == "watched":
            net.fit(x, y, loss=loss, optimizer=optimizer, callbacks=[bp.Callback()], metrics=["mse"],
                    validation_split=0.3)  # fmt: skip
        else:
            net.fit(x, y, loss=loss, optimizer=optimizer, threads=3 if "three" in how else 1)

    python, process = grown(work, {"fit": 10_000, "predict": 20_000, "fit by three threads": 800}.get(how, 2000))
    assert python < 4000
    assert process < 2**20
