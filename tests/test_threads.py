"""How many threads are used: what a container allows, what pays, and what others have taken."""

import _thread
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import backprop as bp
from backprop import _pool, _threads


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ({"cpu.max": "nonsense"}, float("inf")),
        ({"cpu.max": "1 0\n"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_a_container_may_have_fewer_processors_than_it_sees(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _threads._quota(str(tmp_path)) == quota


@pytest.mark.parametrize(("quota", "threads"), [(0.5, 1), (1.5, 1), (2.9, 2), (64, 8), (float("inf"), 8)])
def test_the_quota_bounds_the_processors(monkeypatch, quota, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(_threads, "_quota", lambda: quota)
    assert _threads.available() == threads


@pytest.mark.parametrize(("told", "threads"), [("1", 1), ("3,2", 3), ("64", 8), ("0", 8), ("many", 8), ("", 8)])
def test_a_worker_of_joblib_uses_its_share(monkeypatch, told, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(_threads, "_quota", lambda: float("inf"))
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert _threads.available() == threads


def test_threads_are_taken_where_they_pay_and_while_there_are_any(monkeypatch):
    monkeypatch.setattr(_threads, "_limit", 4)
    with _threads.take(None, 1) as count:
        assert count == 1
    with _threads.take(None, 3) as count:
        assert count == 3
        with _threads.take(None, 100) as rest:
            assert rest == 1
    with _threads.take(None, 100) as all_again, _threads.take(7, 0) as asked_for:
        assert (all_again, asked_for) == (4, 7)
    with pytest.raises(KeyError), _threads.take(None, 100):
        raise KeyError
    assert _threads._active == 0


def test_a_task_of_a_pool_computes_alone(monkeypatch):
    monkeypatch.setattr(_threads, "_limit", 8)
    taken = []

    def task():
        for threads in None, 3:
            with _threads.take(threads, 100) as count:
                taken.append(count)

    _pool.run([task, task], 2)
    assert sorted(taken) == [1, 1, 3, 3]


def test_more_threads_are_taken_where_each_finds_enough(monkeypatch):
    def worth(row, rows, slices=1, batches=1000, most=16):
        monkeypatch.setattr(_threads, "_limit", most)
        return _threads.worth_meeting(row, rows, slices, batches)

    assert worth(3360, 192, 3) == 1 and worth(3360, 256, 4) == 4  # by slices: two each, or one of four
    assert worth(144, 256, 4) == 2 and worth(144, 512, 8) == 4  # of a tiny network, each row counts
    assert [worth(3360, rows, rows // 64) for rows in (512, 1024, 2048)] == [4, 8, 8]
    assert worth(101_632, 128) == 7 and worth(101_632, 32) == 1  # by weights: enough work
    assert worth(10**6, 15) == 1 and worth(10**6, 64) == 16 and worth(10**6, 32) == 11  # and enough rows
    assert worth(33_000, 256, most=2) == 1 and worth(33_000, 256) == 5  # for two or three, much more of it
    assert worth(101_632, 128, most=2) > 1 and worth(101_632, 112, most=2) == 1
    assert worth(10**6, 32, most=2) == 1 and worth(10**6, 64, most=2) > 1
    assert worth(3360, 1024, 16, batches=1) == 1 and worth(10**6, 1024, 1, batches=1) == 43  # they have to be started
    for slices in (1, 32):
        counts = [worth(1000, rows, slices) for rows in range(1, 100_000, 999)]
        assert counts == sorted(counts) and counts[0] == 1


def test_a_prediction_starts_fewer_threads_than_there_is_work_for():
    assert [_threads.worth_starting(work * 1e6) for work in (0, 15, 16, 33.6, 101, 336)] == [1, 1, 2, 4, 7, 14]


@pytest.mark.parametrize(("batch", "expected"), [(32, 1), (1024, 6)])
def test_a_fit_takes_what_pays(monkeypatch, batch, expected):
    net, x, taken = bp.Sequential([bp.Dense(20, 64), bp.Dense(64, 1)], rng=0), np.ones((2048, 20), "float32"), []
    take = _threads.take
    monkeypatch.setattr(_threads, "take", lambda *given: taken.append(given[1]) or take(*given))
    net.fit(x, x[:, :1], loss="mse", optimizer="adam", epochs=50, batch_size=batch)
    assert taken == [expected]


def test_many_predictions_at_once_use_a_thread_each(monkeypatch):
    monkeypatch.setattr(_threads, "_limit", 4)
    net = bp.Sequential([bp.Dense(20, 400, "relu"), bp.Dense(400, 1)], rng=0)
    x = np.random.default_rng(0).normal(size=(20_000, 20)).astype("float32")
    expected, most = net.predict(x, threads=1), []
    start = _thread.start_new_thread

    def watched(*work):
        most.append(_thread._count())
        return start(*work)

    answers = []
    callers = [threading.Thread(target=lambda: answers.append(net.predict(x))) for _ in range(8)]
    monkeypatch.setattr(_thread, "start_new_thread", watched)
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(answers) == 8 and all(np.array_equal(answer, expected) for answer in answers)
    assert max(most, default=0) <= 1 + 8 + 3  # this one, the callers, and what the first of them started
    assert _threads._active == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_fork_trains_and_predicts_as_its_parent_does():
    x = np.random.default_rng(0).normal(size=(4000, 20)).astype("float32")

    def work():
        net = bp.Sequential([bp.Dense(20, 64, "relu"), bp.Dense(64, 1)], rng=0)
        net.fit(x, x[:, :1], loss="mse", optimizer=bp.Adam(1e-3), batch_size=500, threads=2)
        return net.predict(x, threads=2)

    expected = work()
    with _threads.take(3, 0):
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if np.array_equal(work(), expected) and _threads._active == 0 else 1)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


# Many threads of Python at once: with a global interpreter lock they take turns between calls, without one they do not.


def all_at_once(*works):
    """What they return, in a thread each, which all begin together."""
    gate = threading.Barrier(len(works))

    def run(work):
        gate.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def rows(n, columns=6):
    x = np.random.default_rng(0).normal(size=(n, columns))
    return x, (x[:, :1] * x[:, 1:2] > 0).astype(float)


def small_net(seed=0):
    return bp.Sequential(
        [bp.Dense(6, 16, "tanh"), bp.BatchNorm(), bp.Dropout(0.2), bp.Dense(16, 1, "sigmoid")],
        rng=seed, dtype="float64",
    )  # fmt: skip


def trained(seed, **how):
    x, y = rows(300)
    net = small_net(seed)
    history = net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.Adam(0.01), epochs=8, batch_size=32, **how)
    return net.parameters.tobytes() + net.buffers.tobytes() + np.array(history["loss"]).tobytes()


def test_many_threads_predict_on_one_network():
    net = small_net()
    x, _ = rows(3000)
    expected = net.predict(x)

    def ask(i):
        for k in range(200):
            first = (37 * i + k) % 2900
            for n in (1, 3, 64):
                assert np.array_equal(net.predict(x[first : first + n]), expected[first : first + n])
        return np.array_equal(net.predict(x, threads=1 + i % 3), expected)

    assert all(all_at_once(*[lambda i=i: ask(i) for i in range(8)]))


def test_many_threads_fit_a_network_each():
    alone = [trained(seed) for seed in range(6)]
    together = all_at_once(*[lambda seed=seed: trained(seed, threads=1 + seed % 2) for seed in range(6)])
    assert together == alone


def test_one_fits_while_others_predict_with_a_copy():
    net, (x, y) = small_net(), rows(300)
    copy = net.copy()
    expected, done = copy.predict(x), threading.Event()

    def fit():
        try:
            net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.Adam(0.01), epochs=200, batch_size=32)
        finally:
            done.set()
        return True

    def ask():
        asked = 0
        while not done.is_set() or not asked:
            assert np.array_equal(copy.predict(x), expected)
            asked += 1
        return True

    assert all(all_at_once(fit, ask, ask, ask))
    assert not np.array_equal(net.predict(x), expected)


def test_two_fits_of_one_network_are_refused_or_one_after_the_other():
    net, (x, y) = small_net(), rows(300)

    def fit():
        try:
            net.fit(x, y, loss="binary_cross_entropy", optimizer=bp.Adam(0.01), epochs=20, batch_size=32)
        except bp.BusyError:
            return 0
        return 20

    assert sum(all_at_once(*[fit] * 6)) == net.epochs >= 20


def test_the_lock_of_a_free_threaded_python_stays_off():
    if not hasattr(sys, "_is_gil_enabled"):
        return  # before 3.13 there was none without the lock
    code = "import sys, numpy; before = sys._is_gil_enabled(); import backprop; assert sys._is_gil_enabled() == before"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_sub_interpreter_is_refused_in_peace():
    """NumPy, and so this library, is for the main interpreter; what may not happen is a crash."""
    code = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import backprop
try:
    run = getattr(interpreters, "exec", None) or interpreters.run_string
    said = run(interpreters.create(), "import backprop")
except Exception as error:
    said = error
assert "ImportError" in str(said), said
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
