"""`fit_many` and `sweep` in the workers of joblib: the bits and scores of this process."""

import os
import signal

import numpy as np
import pytest

import backprop as bp

joblib = pytest.importorskip("joblib", reason="joblib is not installed")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 5)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def networks(count=3):
    return [
        bp.Sequential([bp.Dense(5, 8, "relu"), bp.BatchNorm(), bp.Dense(8, 2, "softmax")], rng=i) for i in range(count)
    ]


def trained(**arguments):
    nets, optimizers = networks(), [bp.Adam(1e-2, average=0.9) for _ in range(3)]
    stops = [[bp.EarlyStopping(patience=1, restore_best=True)] if i else [] for i in range(3)]
    arguments = {"epochs": [3, 4, 5], "rows": [RNG_ROWS[i] for i in range(3)]} | arguments
    histories = bp.fit_many(
        nets, X, Y, loss="cross_entropy", optimizer=optimizers, validation_data=(X[:50], Y[:50]), callbacks=stops,
        metrics=["accuracy"], **arguments,
    )  # fmt: skip
    return nets, optimizers, stops, histories


RNG_ROWS = RNG.integers(0, 400, (3, 300))


def assert_alike(found, wanted):
    for one, other in zip(*(each[0] for each in (found, wanted)), strict=True):
        assert np.array_equal(one.parameters, other.parameters)
        assert np.array_equal(one.buffers, other.buffers)
        assert (one.steps, one.epochs) == (other.steps, other.epochs)
    for one, other in zip(*(each[1] for each in (found, wanted)), strict=True):
        assert one.steps == other.steps
        assert all(np.array_equal(one.state[name], other.state[name]) for name in other.state)
    for one, other in zip(*(each[2] for each in (found, wanted)), strict=True):
        for mine, its in zip(one, other, strict=True):
            assert {k: v for k, v in mine.state.items() if not isinstance(v, np.ndarray)} == {
                k: v for k, v in its.state.items() if not isinstance(v, np.ndarray)
            }
    assert [dict(one) for one in found[3]] == [dict(one) for one in wanted[3]]


@pytest.fixture(scope="module")
def here():
    return trained()


def test_processes_of_loky_train_to_the_same_bits(here):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        found = trained()
    assert_alike(found, here)
    for net, optimizer in zip(*found[:2], strict=True):  # all go on as their own
        net.fit(X, Y, loss="cross_entropy", optimizer=optimizer)


def test_threads_of_joblib_are_our_own(here):
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert_alike(trained(), here)


def test_what_diverges_in_a_worker_is_reported_by_its_number():
    nets = [bp.Sequential([bp.Dense(5, 8, "relu"), bp.Dense(8, 2)], rng=i) for i in range(3)]
    rates = [bp.SGD(1e-2), bp.SGD(1e38), bp.SGD(1e-2)]
    loss = bp.losses.CrossEntropy(from_logits=True)
    with (
        joblib.parallel_config(backend="loky", n_jobs=2),
        pytest.warns(RuntimeWarning, match="network 1: DivergedError"),
    ):
        histories = bp.fit_many(nets, X, Y, loss=loss, optimizer=rates, epochs=3)
    assert isinstance(histories[1].error, bp.DivergedError)
    assert len(histories[2]["loss"]) == 3


class Killing(bp.Callback):
    def on_epoch_end(self, run):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_reported():
    loky = joblib.externals.loky
    loky.get_reusable_executor(kill_workers=True).shutdown()  # those of other tests may not know this file
    with joblib.parallel_config(backend="loky", n_jobs=2), pytest.raises(loky.BrokenProcessPool):
        bp.fit_many(networks(), X, Y, loss="cross_entropy", optimizer="adam", epochs=3, callbacks=[Killing()])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_sweep_in_processes_has_the_same_scores():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from backprop.sklearn import MLPClassifier, sweep

    grid = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(4,), (8,)]}
    estimator = MLPClassifier(random_state=0, max_iter=5)
    wanted = sweep(estimator, grid, X, Y, cv=2)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        found = sweep(estimator, grid, X, Y, cv=2)
    for name in ("split0_test_score", "split1_test_score", "rank_test_score"):
        assert np.array_equal(found.cv_results_[name], wanted.cv_results_[name])
    assert np.array_equal(found.best_estimator_.predict(X), wanted.best_estimator_.predict(X))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_of_dask_trains_to_the_same_bits(here):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with (
        distributed.LocalCluster(2, processes=True, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        assert_alike(trained(), here)
