"""Callbacks: what they do to a fit, epoch by epoch, and what they leave behind."""

import copy
import csv
import os
import pickle
import sys
import warnings
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import runs
from runs import alarm

import backprop as bp

INF, NAN = float("inf"), float("nan")


def network(dtype="float32", rng=1):
    return bp.Sequential([bp.Dense(4, 7, "tanh"), bp.Dropout(0.3), bp.Dense(7, 3)], rng=rng, dtype=dtype)


def table(rows=23, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    return x, np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2], x.sum(axis=1)], axis=1)


def script(values):
    """A metric that says these numbers, epoch by epoch."""
    left = iter(values)

    def scripted(y_hat, y):
        return next(left)

    return scripted


class Keep(bp.Callback):
    """The weights and the learning rate after each epoch."""

    def __init__(self):
        self.weights, self.rates = [], []

    def on_epoch_end(self, run):
        self.weights.append(run.network.parameters.copy())
        self.rates.append(run.optimizer.learning_rate)


def fit(values, *callbacks, net=None, optimizer=None, data=None, **how):
    """A fit of as many epochs as there are numbers in the script; what it kept, its network and its history."""
    keep, net = Keep(), net or network()
    how = {"loss": "mse", "epochs": len(values), "metrics": [script(values)]} | how
    history = net.fit(*(data or table()), optimizer=optimizer or bp.Adam(0.01), callbacks=[keep, *callbacks], **how)
    return keep, net, history


def watching(**how):
    return {"monitor": "scripted", "mode": "min"} | how


# EarlyStopping.

STOPS = [  # the script, the arguments, the epochs it takes, the best of them
    ([3, 2, 1, 1, 1, 1], {"patience": 2}, 5, 3),
    ([3, 2, 1, 1, 1, 1], {"patience": 1}, 4, 3),
    ([3, 2, 1, 1, 1, 1], {"patience": 4}, 6, 3),
    ([1, 2, 3, 4], {"patience": 1}, 2, 1),
    ([1, 2, 3, 4], {"patience": 2, "mode": "max"}, 4, 4),
    ([4, 3, 2, 1], {"patience": 2, "mode": "max"}, 3, 1),
    ([5, 4.9, 4.8, 4.7, 4.6], {"patience": 3, "min_delta": 0.25}, 5, 4),  # 4.7 is better than 5 by more than that
    ([5, 4.75, 4.5, 4.5, 4.5], {"patience": 2, "min_delta": 0.25}, 5, 3),  # but 4.75 is not
    ([5, 6, 4, 6, 6, 3], {"patience": 2}, 5, 3),
    ([NAN, 2, NAN, NAN, 1], {"patience": 2}, 4, 2),
    ([NAN, NAN, 1], {"patience": 2}, 2, 0),
    ([INF, 5, -INF, 4, 6], {"patience": 3}, 5, 4),
    ([-1, -2, -3, -2, -1], {"patience": 2}, 5, 3),
    ([0, 0, 0], {"patience": 1}, 2, 1),
    ([3, 2, 1, 1, 1, 1], {"patience": 2, "restore": "last_best"}, 5, 5),
    ([3, 1, 2, 1, 3, 1, 2], {"patience": 9, "restore": "last_best"}, 7, 6),
    ([3, 2, 2.5, 1.9, 2], {"patience": 9, "restore": "last_best", "min_delta": 0.2}, 5, 5),
    ([1, 2, 2, 1, 2, 1], {"patience": 9, "restore": "last_best", "mode": "max"}, 6, 5),
    ([NAN, 2, NAN, 2, NAN], {"patience": 3, "restore": "last_best"}, 5, 4),
    ([NAN, NAN, NAN], {"patience": 9, "restore": "last_best"}, 3, 0),
    ([1, 2, 3, 4, 5], {"patience": None}, 5, 1),
    ([5, 3, 4, 3, 6], {"patience": None}, 5, 2),
    ([5, 3, 4, 3, 6], {"patience": None, "restore": "last_best"}, 5, 4),
]


@pytest.mark.parametrize(("values", "how", "epochs", "best"), STOPS)
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(values, how, epochs, best, restore):
    early = bp.EarlyStopping(**watching(**how), restore_best=restore)
    assert eval(repr(early), {"EarlyStopping": bp.EarlyStopping}).config() == early.config()
    keep, net, history = fit(values, early)
    assert len(history["loss"]) == epochs
    assert early.state["best_epoch"] == best
    assert early.state["best"] == (values[best - 1] if best else None)
    left = keep.weights[best - 1 if restore and best else -1]
    assert net.parameters.tobytes() == left.tobytes()
    assert not any(isinstance(value, np.ndarray) for value in early.state.values())  # the weights are given back


def test_the_best_weights_come_back_however_a_fit_ends():
    def fail(run):
        if run.epoch == 3:
            raise LookupError

    for values, callback, error in (
        ([3, 1, 2], bp.Callback(), None), ([3, 1, 2, 2], SimpleNamespace(on_epoch_end=fail), LookupError),
    ):  # fmt: skip
        early, net, twin = bp.EarlyStopping(**watching()), network(), network()
        if error:
            with pytest.raises(error):
                fit(values, early, callback, net=net)
        else:
            fit(values, early, callback, net=net)
        keep, _, _ = fit(values, net=twin)
        assert net.parameters.tobytes() == keep.weights[1].tobytes()


def test_a_callback_begins_anew_with_each_fit():
    early = bp.EarlyStopping(**watching(patience=2))
    fit([1, 2, 3], early)
    keep, net, history = fit([9, 8, 7, 7, 7], early, net=network(rng=5))
    assert len(history["loss"]) == 5
    assert net.parameters.tobytes() == keep.weights[2].tobytes()
    net = network(rng=9)
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match="monitor: expected one of loss, got 'scripted'"):
        net.fit(*table(), loss="mse", optimizer=bp.Adam(), callbacks=[early])
    assert net.parameters.tobytes() == before  # and not the best of the fit before


def test_they_know_what_is_better():
    for name, mode in (
        ("loss", "min"), ("val_loss", "min"), ("accuracy", "max"), ("val_accuracy", "max"), ("val_top_3", "max"),
        ("rmse", "min"), ("val_roc_auc", "max"), ("val_log_loss", "min"),
    ):  # fmt: skip
        assert bp.EarlyStopping(name).mode == mode
    assert bp.EarlyStopping("accuracy", mode="min").mode == "min"
    with pytest.raises(ValueError, match='mode: expected "min" or "max" for \'mine\''):
        bp.EarlyStopping("mine")


@pytest.mark.parametrize("make", [bp.EarlyStopping, bp.ReduceOnPlateau, lambda: bp.Checkpoint("no", keep="best")])
def test_what_is_not_in_the_history_is_refused_at_once(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net, (x, y) = network(), table()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match="monitor: expected one of loss, got 'val_loss': give the fit validation data"):
        net.fit(x, y, loss="mse", optimizer=bp.Adam(), callbacks=[make()])
    assert net.parameters.tobytes() == before and list(tmp_path.iterdir()) == []
    net.fit(x, y, loss="mse", optimizer=bp.Adam(), callbacks=[make()], validation_split=0.2)


# ReduceOnPlateau.


def torchs(values, mode="min", factor=0.1, patience=10, min_delta=1e-4, cooldown=0, minimum=0.0):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer, rates = torch.optim.SGD([torch.zeros(1)], lr=0.1), []
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, factor, patience - 1, min_delta, "abs", cooldown, minimum, eps=0)  # fmt: skip
    for value in values:
        plateau.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.slow
@pytest.mark.parametrize("how", [
    {"patience": 1}, {"patience": 3, "factor": 0.5}, {"patience": 2, "cooldown": 3}, {"patience": 1, "minimum": 0.02},
    {"patience": 2, "mode": "max", "factor": 0.9}, {"patience": 1, "min_delta": 0.4, "cooldown": 1}, {},
], ids=str)  # fmt: skip
def test_reduce_on_plateau_is_pytorchs(how):
    for seed in range(5):
        values = np.random.default_rng(seed).random(40).round(1).tolist()
        keep = Keep()
        plateau = bp.ReduceOnPlateau(**watching(**how))
        fit(values, plateau, keep, optimizer=bp.SGD(0.1))
        np.testing.assert_allclose(keep.rates, torchs(values, **how), rtol=1e-12)


def test_epochs_that_do_not_count(tmp_path):
    """After each cut so many are left out, and as many as are left where a run goes on from its checkpoint."""
    path = tmp_path / "run-{epoch}"

    def how():
        return {"loss": "mse", "metrics": [script([1.0] * 20)], "callbacks": [
            bp.ReduceOnPlateau(**watching(factor=0.5, patience=2, cooldown=3)), Keep(), bp.Checkpoint(path, keep=20),
        ]}  # fmt: skip

    given = how()
    network().fit(*table(), optimizer=bp.SGD(0.1), epochs=14, **given)
    rates = [0.1] * 2 + [0.05] * 5 + [0.025] * 5 + [0.0125] * 2  # two that count, then three that do not
    assert given["callbacks"][1].rates == rates and given["callbacks"][0].state["cooling"] == 2
    for epoch in 3, 4, 5, 6:
        given = how()
        bp.resume(str(path).format(epoch=epoch), *table(), **given)
        assert given["callbacks"][1].rates == rates[epoch:]


def test_files_of_any_number_of_epochs(tmp_path):
    """Those of the first are looked for before the fit begins, and not those of 2^40."""

    class Stop(bp.Callback):
        def on_epoch_end(self, run):
            run.stop = run.epoch == 3

    x, y = table()
    network().fit(
        x,
        y,
        loss="mse",
        optimizer=bp.Adam(),
        epochs=2**40,
        callbacks=[Stop(), bp.Checkpoint(tmp_path / "run-{epoch}", keep=2)],
    )
    assert names(tmp_path) == ["run-2", "run-3"]


def test_one_that_keeps_something_else_in_its_next_fit(tmp_path):
    keep = bp.Checkpoint(tmp_path / "run-{epoch}", keep=2, monitor="scripted", mode="min")
    fit([1, 2], keep)
    keep.keep, keep.path = "best", str(tmp_path / "run-1")
    fit([2, 1, 3], keep)
    assert keep.state["best_epoch"] == 2 and bp.load(tmp_path / "run-1").epochs == 2


def test_what_was_written_is_remembered_as_far_as_it_is_there(tmp_path):
    class Look(bp.Callback):
        def on_epoch_end(self, run):
            seen.append(list(keep.state["written"]))

    seen, keep = [], bp.Checkpoint(tmp_path / "run-{epoch}", keep=3, every=2)
    fit([1] * 9, keep, Look())
    assert seen[1:] == [[], [2], [2], [2, 4], [2, 4], [2, 4, 6], [2, 4, 6], [4, 6, 8]] and keep.state["written"] == [
        6,
        8,
        9,
    ]
    assert names(tmp_path) == ["run-6", "run-8", "run-9"]


def test_a_reduced_rate_is_the_one_that_is_used():
    plateau = bp.ReduceOnPlateau(**watching(factor=0.5, patience=1))
    _, net, _ = fit([1, 1, 1, 1], plateau, optimizer=bp.SGD(0.1), batch_size=5)
    twin, optimizer = network(), bp.SGD(0.1)
    for rate in 0.1, 0.1, 0.05, 0.025:
        optimizer.learning_rate = rate
        twin.fit(*table(), loss="mse", optimizer=optimizer, batch_size=5)
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert bp.SGD(1e-3).learning_rate < 0.01  # already below the minimum: it is not raised
    its = bp.SGD(1e-3)
    fit([1, 1, 1], bp.ReduceOnPlateau(**watching(patience=1, minimum=0.01)), optimizer=its)
    assert its.learning_rate == 1e-3


def test_a_schedule_cannot_be_reduced():
    net, (x, y) = network(), table()
    for rate in bp.schedules.Constant(0.1), lambda step: 0.1:
        with pytest.raises(
            TypeError, match="ReduceOnPlateau: expected an optimizer with a number for its learning rate"
        ):
            net.fit(x, y, loss="mse", optimizer=bp.SGD(rate), callbacks=[bp.ReduceOnPlateau("loss")])
    assert net.steps == 0


# Checkpoint.


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("how", "kept"), [
    ({"keep": 1}, [5]), ({"keep": 2}, [4, 5]), ({"keep": 9}, [1, 2, 3, 4, 5]), ({"keep": 2, "every": 2}, [4, 5]),
    ({"keep": 9, "every": 2}, [2, 4, 5]), ({"keep": 9, "every": 9}, [5]),
])  # fmt: skip
def test_the_last_k_are_kept(how, kept, tmp_path):
    keep, _, _ = fit([1] * 5, bp.Checkpoint(tmp_path / "run-{epoch:02}.safetensors", **how))
    assert names(tmp_path) == [f"run-{epoch:02}.safetensors" for epoch in kept]
    for epoch in kept:
        net = bp.load(tmp_path / f"run-{epoch:02}.safetensors")
        assert net.parameters.tobytes() == keep.weights[epoch - 1].tobytes()


def test_only_its_own_files_are_removed(tmp_path):
    for epoch in 1, 2, 9:
        (tmp_path / f"run-{epoch}").write_text("mine")
    fit([1] * 3, bp.Checkpoint(tmp_path / "run-{epoch}", keep=1))
    assert names(tmp_path) == ["run-3", "run-9"]  # the first two were its own by then
    (tmp_path / "run-3").unlink()

    class Remove(bp.Callback):
        def on_epoch_end(self, run):
            for path in tmp_path.glob("run-[12]"):
                path.unlink()

    fit([1] * 3, Remove(), bp.Checkpoint(tmp_path / "run-{epoch}", keep=1))
    assert names(tmp_path) == ["run-3", "run-9"]


def test_the_last_and_the_best_are_kept(tmp_path):
    last, best, highest = (tmp_path / name for name in ("last", "best", "highest"))
    keep, _, _ = fit(
        [3, 1, 2, 4], bp.Checkpoint(last), bp.Checkpoint(best, keep="best", monitor="scripted", mode="min"),
        bp.Checkpoint(highest, keep="best", monitor="scripted", mode="max"),
    )  # fmt: skip
    assert names(tmp_path) == ["best", "highest", "last"]
    for path, epoch in (last, 4), (best, 2), (highest, 4):
        assert bp.load(path).parameters.tobytes() == keep.weights[epoch - 1].tobytes()
    fit([3, 1, 2], bp.Checkpoint(last, every=2), bp.EarlyStopping(**watching(patience=1)))
    assert bp.load(last).epochs == 3
    fit([3, 1, 2, 9, 9], bp.Checkpoint(last, every=4), bp.EarlyStopping(**watching(patience=1)))
    assert bp.load(last).epochs == 3  # where it was stopped
    fit([NAN], bp.Checkpoint(tmp_path / "none", keep="best", monitor="scripted", mode="min"))
    assert names(tmp_path) == ["best", "highest", "last"]


def test_a_save_that_fails_leaves_the_last(tmp_path, monkeypatch):
    path, net = tmp_path / "run", network()
    replace, count = os.replace, [0]

    def fail(*args):
        count[0] += 1
        if count[0] == 3:
            raise OSError(28, "no space")
        replace(*args)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        fit([1] * 5, bp.Checkpoint(path), net=net)
    assert names(tmp_path) == ["run"] and bp.load(path).epochs == 2


@pytest.mark.parametrize("path", ["run", "run-{step}", "run-{}", "{epoch.__class__}", "run-{epoch", "{epoch:q}"])
def test_a_path_without_a_place_for_the_epoch(path):
    with pytest.raises(ValueError, match="path: expected one such as"):
        bp.Checkpoint(path, keep=2)
    bp.Checkpoint(path)  # of one file, it is the name


# The others.


def test_the_log_is_the_table_of_the_history(tmp_path):
    seen, path = [], tmp_path / "log.csv"
    look = SimpleNamespace(on_epoch_end=lambda run: seen.append(path.read_text().count("\n")))
    path.write_text("old")
    values = [0.1 + 0.2, 1e-300, -5.0, 0.0, 1 / 3, 1e300]  # of the training and of the validation data in turn
    _, _, history = fit(values, bp.CSVLogger(path), look, validation_data=table(5, 3), epochs=3)
    assert seen == [2, 3, 4]  # at once
    history.to_csv(tmp_path / "history.csv")
    assert path.read_bytes() == (tmp_path / "history.csv").read_bytes()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", *history] and [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {name: [float(row[name]) for row in rows] for name in history} == dict(history)


def test_a_log_is_closed(tmp_path):
    logger = bp.CSVLogger(tmp_path / "log.csv")
    with pytest.raises(LookupError):
        fit([1], logger, SimpleNamespace(on_fit_begin=lambda run: {}[1]))
    assert logger._out.closed
    with pytest.raises(LookupError):
        fit([1], SimpleNamespace(on_fit_begin=lambda run: {}[1]), bp.CSVLogger(tmp_path / "log.csv"))
    with pytest.raises(FileNotFoundError):
        fit([1], bp.CSVLogger(tmp_path / "none" / "log.csv"))


def test_a_table_of_nothing(tmp_path):
    bp.History().to_csv(tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == "epoch\n"


@pytest.mark.parametrize("loss", ["mse", lambda y_hat, y: (np.square(y_hat - y).mean(), 2 * (y_hat - y) / y.size)])
def test_a_divergence_ends_a_fit(loss):
    x, y = table()
    nets = [network("float64"), network("float64")]

    def rate(step):
        return 0.01 if step < 7 else 1e300

    how = {"loss": loss, "epochs": 9, "batch_size": 5}
    with pytest.raises(bp.DivergedError) as caught, np.errstate(over="ignore", invalid="ignore"):
        nets[0].fit(x, y, optimizer=bp.SGD(rate), **how)
    terminate, seen = bp.TerminateOnNaN(), []
    look = SimpleNamespace(on_fit_end=lambda run: seen.append((run.epoch, run.error)))
    with np.errstate(over="ignore", invalid="ignore"):
        history = nets[1].fit(x, y, optimizer=bp.SGD(rate), callbacks=[terminate, look], **how)
    assert len(history["loss"]) == caught.value.epoch == 1
    assert isinstance(terminate.error, bp.DivergedError) and seen == [(1, terminate.error)]
    assert str(terminate.error) == str(caught.value) and terminate.error.batch == caught.value.batch
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes() and np.isfinite(nets[1].parameters).all()
    history = network("float64").fit(x, y, loss=loss, optimizer=bp.SGD(0.01), callbacks=[terminate])
    assert terminate.error is None and len(history["loss"]) == 1


def test_an_infinite_loss_of_the_validation_data_ends_a_fit():
    x, y = table()
    far = np.full_like(y, 1e200)
    history = network("float64").fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=9, validation_data=(x, far),
                                     callbacks=[bp.TerminateOnNaN()])  # fmt: skip
    assert history["val_loss"] == [INF]
    _, _, history = fit([NAN, NAN], bp.TerminateOnNaN())  # a metric may be undefined
    assert len(history["loss"]) == 2


def search(net, optimizer, data=None, **how):
    finder = bp.LearningRateFinder(**how)
    x, y = data or table(200)
    history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=5, batch_size=20, callbacks=[finder])
    assert dict(history) == {}
    return finder


@pytest.mark.parametrize("make", [lambda: bp.SGD(0.1, momentum=0.9), lambda: bp.Adam(bp.schedules.Cosine(0.01, 99))])
def test_the_finder_leaves_all_as_it_was(make):
    x, y = table(200)
    runs = []
    for finds in False, True:
        net, optimizer = network(), make()
        net.fit(x, y, loss="mse", optimizer=optimizer, batch_size=20)
        if finds:
            before = net.gradients.copy(), repr(optimizer.learning_rate)
            finder = search(net, optimizer)
            assert len(finder.rates) == len(finder.losses) == len(finder.smoothed) > 10
            assert net.gradients.tobytes() == before[0].tobytes() and repr(optimizer.learning_rate) == before[1]
        history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=2, batch_size=20)
        runs.append([net.parameters.tobytes(), *(v.tobytes() for v in optimizer.state.values()), history["loss"],
                     net.steps, net.epochs, optimizer.steps])  # fmt: skip
    assert runs[0] == runs[1]


def test_the_finder_trains_as_a_schedule_would():
    x, y = table(200)
    rates = np.geomspace(1e-4, 0.1, 25)
    finder = search(network(), bp.SGD(0.1), low=1e-4, high=0.1, steps=25)
    assert finder.rates == pytest.approx(rates.tolist())
    net, losses = network(), []
    optimizer = bp.SGD(lambda step: rates[step])
    for epoch in range(3):
        order = np.arange(200)
        bp._core.permutation(net.seed, epoch, order)
        for start in range(0, 200, 20) if epoch < 2 else range(0, 100, 20):
            y_hat = net.forward(x[order[start : start + 20]])
            value, dy = bp.MeanSquaredError()(y_hat, y[order[start : start + 20]])
            net.backward(dy)
            optimizer.step(net)
            losses.append(value)
    assert finder.losses == losses
    smoothed = [np.average(losses[: i + 1], weights=0.9 ** np.arange(i, -1, -1)) for i in range(25)]
    assert finder.smoothed == pytest.approx(smoothed)
    lowest = int(np.argmin(smoothed))
    assert finder.suggestion == (finder.rates[lowest] / 10 if lowest else None)


def test_what_it_suggests_trains_well():
    x, y = table(200)
    finder = search(network(), bp.SGD(0.1, momentum=0.9))
    assert 1e-3 < finder.suggestion < 1 and len(finder.rates) < 100  # it burst
    losses = {}
    for rate in finder.suggestion / 1000, finder.suggestion:
        net = network()
        history = net.fit(x, y, loss="mse", optimizer=bp.SGD(rate, momentum=0.9), epochs=5, batch_size=20)
        losses[rate] = history["loss"][-1]
    assert losses[finder.suggestion] < 0.5 * losses[finder.suggestion / 1000]


def test_the_finder_on_other_data(monkeypatch):
    x, y = table(200)
    expected = search(network(), bp.SGD(0.1), steps=15, data=(x.astype("f4"), y.astype("f4"))).losses
    monkeypatch.setattr(bp.program.data, "LARGE", 0)
    assert (
        search(network(), bp.SGD(0.1), steps=15, data=(x.astype("f4").astype(float), y.astype("f4"))).losses == expected
    )
    order = np.arange(200)
    batches = [(x[i : i + 20].astype("f4"), y[i : i + 20].astype("f4")) for i in range(0, 200, 20)]
    finder = search(network(), bp.SGD(0.1), steps=15, data=(batches, None))
    assert len(finder.losses) == 15 and order.size == 200
    net = network()
    finder = bp.LearningRateFinder(1e-300, 1e300, steps=9)
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), callbacks=[finder])
    assert len(finder.losses) < 9 and np.isfinite(finder.losses).all() and np.isfinite(net.parameters).all()


def test_nothing_found():
    finder = bp.LearningRateFinder(1e3, 1e4, steps=5)
    assert finder.suggestion is None
    network("float64").fit(*table(), loss="mse", optimizer=bp.SGD(0.1), callbacks=[finder])
    assert finder.suggestion is None and len(finder.rates) == 2


def test_the_progress_of_a_fit_that_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    x, y = table()
    how = {"loss": "mse", "optimizer": bp.Adam(), "callbacks": [bp.Checkpoint(tmp_path / "run")]}
    network().fit(x, y, epochs=2, **how)
    network().fit(x, y, epochs=5, progress=True, resume=tmp_path / "run", **how | {"optimizer": bp.Adam()})
    assert capsys.readouterr().err.startswith("epoch 5/5  loss")


# What one fit leaves to the next.


def bad_luck(error):
    """A callback that ends a fit in its third epoch."""

    def fail(run):
        if run.epoch == 3:
            raise error

    return SimpleNamespace(on_epoch_end=fail)


def whole(callback, folder):
    fit([3.0, 1.0, 2.0, 2.0], callback, data=table(seed=5))


def failed(callback, folder):
    with suppress(LookupError):  # the finder ends a fit before that
        fit([3.0, 1.0, 2.0, 2.0], callback, bad_luck(LookupError()))


def interrupted(callback, folder):
    with suppress(KeyboardInterrupt):
        fit([3.0, 1.0, 2.0, 2.0], callback, bad_luck(KeyboardInterrupt()))


def never_begun(callback, folder):
    def refuse(run):
        raise LookupError

    for order in [callback, SimpleNamespace(on_fit_begin=refuse)], [SimpleNamespace(on_fit_begin=refuse), callback]:
        with pytest.raises(LookupError):
            fit([3.0, 1.0], *order)


def burst(callback, folder):
    with np.errstate(over="ignore", invalid="ignore"), suppress(bp.DivergedError):
        fit([3.0] * 9, callback, optimizer=bp.SGD(1e30), net=network("float64"))


def resumed(callback, folder):
    path = folder / "before"
    fit([3.0, 1.0], *([copy.copy(callback)] if hasattr(callback, "state") else []), bp.Checkpoint(path))
    fit([2.0, 2.0], callback, bp.Checkpoint(path), epochs=4, resume=path, net=network(rng=8))


CALLBACKS = {
    "EarlyStopping": lambda folder: bp.EarlyStopping(**watching(patience=2)),
    "EarlyStopping, the last of the best": lambda folder: bp.EarlyStopping(
        **watching(patience=None), restore="last_best"
    ),
    "EarlyStopping, the last weights": lambda folder: bp.EarlyStopping(**watching(patience=2), restore_best=False),
    "ReduceOnPlateau": lambda folder: bp.ReduceOnPlateau(**watching(patience=1, cooldown=1)),
    "Checkpoint": lambda folder: bp.Checkpoint(folder / "last"),
    "CSVLogger": lambda folder: bp.CSVLogger(folder / "log.csv"),
    "TerminateOnNaN": lambda folder: bp.TerminateOnNaN(),
    "LearningRateFinder": lambda folder: bp.LearningRateFinder(1e-3, 10, steps=20),
    "Progress": lambda folder: bp.callbacks.Progress(),
    "Snapshots": lambda folder: bp.Snapshots(3),
}


@pytest.mark.parametrize("before", [whole, failed, interrupted, never_begun, burst, resumed])
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_fit_is_as_if_it_were_the_first(name, before, tmp_path):
    """A callback that has been through another fit does what a new one does, copied on the way or not."""
    found = []
    for used in False, True:
        folder = tmp_path / f"{used}"
        folder.mkdir()
        callback = CALLBACKS[name](folder)
        if used:
            before(callback, folder)
            callback = pickle.loads(pickle.dumps(callback))
        net, optimizer = network(rng=3), bp.SGD(0.1)
        _, _, history = fit([9.0, 8.0, 8.5, 8.5, 7.0, 7.0, 7.0], callback, net=net, optimizer=optimizer)
        state = {name: value for name, value in vars(callback).items() if not name.startswith("_") and name != "path"}
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "before"}
        found.append((net.parameters.tobytes(), dict(history), optimizer.learning_rate, state, files))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("asked", "epochs", "kept"),
    [(3, 12, [0, 4, 8, 12]), (10, 4, [0, 1, 2, 3, 4]), (1, 7, [0, 7]), ([5, 2], 7, [2, 5]), ([0, 99], 3, [0])],
)
def test_snapshots_are_the_networks_of_these_epochs(asked, epochs, kept):
    snapshots, calls = bp.Snapshots(asked), []
    x, y, _ = runs.table(20)
    net, other = runs.small(), runs.small()
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), epochs=epochs, callbacks=[snapshots])
    assert [*snapshots.networks] == kept
    for epoch, found in snapshots.networks.items():
        alone = runs.small()
        alone.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), epochs=epoch)
        assert found.to_bytes() == alone.to_bytes()  # with all that training depends on
    other.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), epochs=epochs)
    assert np.array_equal(net.parameters, other.parameters)  # it only looks
    run = SimpleNamespace(epoch=0, epochs=epochs)
    while run.epoch < epochs:  # whole stretches are one call of the core
        run.epoch += min(snapshots.epochs_unseen(run), epochs - run.epoch)
        calls.append(run.epoch)
    assert calls == sorted({*kept[kept[0] == 0 :], epochs})


def test_a_callback_that_fails_leaves_the_others_their_end():
    seen = []

    def fail(run):
        seen.append("failed")
        raise LookupError

    with pytest.raises(LookupError):
        fit([1], SimpleNamespace(on_fit_end=fail), SimpleNamespace(on_fit_end=lambda run: seen.append("ended")))
    assert seen == ["failed", "ended"]
    early, net = bp.EarlyStopping(**watching()), network()
    with pytest.raises(LookupError):
        fit([1, 2], SimpleNamespace(on_fit_end=fail), early, net=net)
    assert net.parameters.tobytes() == fit([1])[1].parameters.tobytes()


@pytest.mark.parametrize(("first", "second", "best"), [
    ([3, 1, 2], [5, 4, 6], (0, 2)), ([3, 1, 2], [5, 0.5, 6], (1, 2)), ([5, 4], [3, 3], (1, 1)),
    ([NAN, NAN], [3, 3], (1, 1)), ([3, 1], [NAN, INF], (0, 2)),
])  # fmt: skip
@pytest.mark.parametrize("how", ["the same object", "a new object", "a lost file", "resumed"])
def test_the_best_of_all_fits_is_kept(first, second, best, how, tmp_path):
    """A worse fit does not replace the best file of the object that wrote it; a new object begins anew."""
    best_file = {"keep": "best", "monitor": "scripted", "mode": "min"}
    path, last = tmp_path / "best", tmp_path / "last"
    keeper = bp.Checkpoint(path, **best_file)
    runs = [fit(first, keeper, bp.Checkpoint(last))]
    if how == "a lost file":
        path.unlink(missing_ok=True)
    if how in ("a new object", "resumed"):
        keeper = bp.Checkpoint(path, **best_file)
    if how == "resumed":
        epochs = {"epochs": len(first) + len(second), "resume": last}
        runs.append(fit(second, keeper, bp.Checkpoint(last), **epochs))
    else:
        runs.append(fit(second, keeper, net=network(rng=4)))
    run, epoch = best
    if how in ("a new object", "a lost file"):
        run, epoch = 1, np.nanargmin([v if np.isfinite(v) else 99 for v in second]) + 1
        if not np.isfinite(second).any():
            assert path.exists() == (how == "a new object")  # of the fit before
            return
    assert bp.load(path).parameters.tobytes() == runs[run][0].weights[epoch - 1].tobytes()


def test_the_best_file_of_the_estimators(tmp_path):
    sklearn = pytest.importorskip("backprop.sklearn", reason="needs scikit-learn")
    x, y = table()
    keeper = bp.Checkpoint(tmp_path / "best", keep="best", monitor="loss")
    mlp = sklearn.MLPRegressor(hidden_layer_sizes=(5,), callbacks=[keeper], optimizer=bp.Adam(0.01), max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp.fit(x, y[:, 0])
        kept = (tmp_path / "best").read_bytes()
        mlp.fit(x, 100 * y[:, 0])
    assert (tmp_path / "best").read_bytes() == kept


@pytest.mark.parametrize(("first", "second", "kept"), [(5, 3, [2, 3]), (5, 1, [1, 5]), (2, 5, [4, 5]), (3, 3, [2, 3])])
def test_so_many_files_are_kept_of_all_fits(first, second, kept, tmp_path):
    keeper = bp.Checkpoint(tmp_path / "run-{epoch}", keep=2)
    fit([1] * first, keeper)
    keep, _, _ = fit([1] * second, keeper, net=network(rng=7))
    assert names(tmp_path) == [f"run-{epoch}" for epoch in kept]
    for epoch in kept[-1:] if second > 1 else kept[:1]:
        assert bp.load(tmp_path / f"run-{epoch}").parameters.tobytes() == keep.weights[epoch - 1].tobytes()


@pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")
def test_what_is_done_before_ctrl_c_is_in_the_history():
    """Also of epochs that nobody had to look at one by one."""
    seen = []

    class Look(bp.Callback):
        def on_fit_begin(self, run):
            seen.append(run)

        def epochs_unseen(self, run):
            return run.epochs

    (x, y), net = table(), network()
    with alarm(KeyboardInterrupt, 0.3), pytest.raises(KeyboardInterrupt):
        net.fit(x, y, loss="mse", optimizer=bp.SGD(0.01), epochs=10_000_000, batch_size=5, callbacks=[Look()])
    done = seen[0].epoch
    assert 0 < done == len(seen[0].history["loss"]) == net.epochs == net.steps // 5
    twin = network().fit(x, y, loss="mse", optimizer=bp.SGD(0.01), epochs=min(done, 1000), batch_size=5)
    assert twin["loss"] == seen[0].history["loss"][:1000]


# What can be known before the first epoch.


def paths(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "run-1").mkdir()
    return {
        "a missing folder": ("none/run", FileNotFoundError), "a folder": ("folder", IsADirectoryError),
        "below a file": ("file/run", (FileNotFoundError, NotADirectoryError)),
        "no permission": ("locked/run", PermissionError), "a locked file": ("locked-file", PermissionError),
        "a missing folder, by epoch": ("none/run-{epoch}", FileNotFoundError),
        "a folder for each epoch": ("{epoch}/run", FileNotFoundError),
        "a folder of that name": ("run-{epoch}", IsADirectoryError), "a pipe": ("pipe", OSError),
    }  # fmt: skip


WRITERS = {
    "the last": lambda path: bp.Checkpoint(path), "the best": lambda path: bp.Checkpoint(path, keep="best", monitor="loss"),
    "every other": lambda path: bp.Checkpoint(path, every=2), "the log": lambda path: bp.CSVLogger(path),
    "some": lambda path: bp.Checkpoint(path, keep=2), "some of every other": lambda path: bp.Checkpoint(path, keep=2, every=9),
}  # fmt: skip
ONE = ["a missing folder", "a folder", "below a file", "no permission", "a locked file", "a pipe"]
MANY = ["a missing folder, by epoch", "a folder for each epoch", "a folder of that name"]


@pytest.mark.parametrize(("writer", "where"), [
    (writer, where) for writer in WRITERS for where in (MANY if writer.startswith("some") else ONE)
    if (writer, where) != ("the log", "a pipe")  # where a log may go
])  # fmt: skip
def test_what_cannot_be_written_is_refused_before_training(writer, where, tmp_path):
    name, error = paths(tmp_path)[where]
    if error is PermissionError:
        if os.name != "posix" or os.geteuid() == 0:
            pytest.skip("nothing is forbidden to root")
        (tmp_path / "locked").mkdir(mode=0o500)
        (tmp_path / "locked-file").write_text("kept")
        (tmp_path / "locked-file").chmod(0o400)
    if where == "a pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("needs the pipes of POSIX")
        os.mkfifo(tmp_path / "pipe")
    if writer == "some of every other" and where == "a folder of that name":
        (tmp_path / "run-1").rename(tmp_path / "run-5")  # the last
    log = tmp_path / "old.csv"
    log.write_text("old")
    net, optimizer, before = network(), bp.Adam(), names(tmp_path)
    start = net.parameters.tobytes()
    with pytest.raises(error) as caught:
        fit([1] * 5, bp.CSVLogger(log), WRITERS[writer](tmp_path / name), net=net, optimizer=optimizer)
    assert "path: expected" in str(caught.value) or where in ("no permission", "a locked file", "a pipe")
    assert (net.parameters.tobytes(), net.steps, optimizer.steps) == (start, 0, 0)
    assert names(tmp_path) == before and log.read_text() == "old"


class Mine(bp.Layer):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


def test_what_no_file_can_hold_is_refused_before_training(tmp_path):
    x, y = table()
    own = bp.Sequential([bp.Dense(4, 3), Mine()], rng=0)
    odd = network()
    odd.metadata = {"a": 1}
    vars(odd)["metadata"] = {"a": object()}
    for net in own, odd:
        for how in {"keep": "last"}, {"keep": "best", "monitor": "loss"}:
            with pytest.raises((TypeError, ValueError)):
                net.fit(x, y, loss="mse", optimizer=bp.Adam(), callbacks=[bp.Checkpoint(tmp_path / "run", **how)])
            assert net.steps == 0 and names(tmp_path) == []


# A knob that the optimizer does not have.


class Plain(bp.Optimizer):
    """One whose steps know no learning rate."""

    def __init__(self):
        self.state = {}

    def step(self, net):
        net.parameters -= 0.01 * np.sign(net.gradients)


class Own(bp.Optimizer):
    follows_learning_rate = False

    def __init__(self):
        super().__init__(0.1)

    def lower(self):
        return bp.SGD(0.1).lower()


def test_a_search_that_is_interrupted():
    calls = []

    def own(y_hat, y):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return float(np.square(y_hat - y).mean()), 2 * (y_hat - y) / y.size

    net, optimizer, finder = network("float64"), bp.Adam(0.01), bp.LearningRateFinder(1e-5, 1e-2, steps=40)
    net.fit(*table(), loss="mse", optimizer=optimizer, callbacks=[finder], batch_size=5)
    before = net.parameters.tobytes(), net.steps, optimizer.steps, optimizer.learning_rate
    with pytest.raises(KeyboardInterrupt):
        net.fit(*table(), loss=own, optimizer=optimizer, callbacks=[finder], batch_size=5)
    assert len(finder.rates) == len(finder.losses) == len(finder.smoothed) == 6
    assert finder.suggestion is None or finder.suggestion in [rate / 10 for rate in finder.rates]
    assert before == (net.parameters.tobytes(), net.steps, optimizer.steps, optimizer.learning_rate)


TURNERS = [lambda: bp.ReduceOnPlateau("loss"), bp.LearningRateFinder]


@pytest.mark.parametrize("turner", TURNERS)
@pytest.mark.parametrize("optimizer", [bp.Rprop, bp.LBFGS, Own, Plain, lambda: bp.Rprop(bp.schedules.Constant(0.1))])
def test_a_rate_that_does_nothing_is_not_turned(turner, optimizer):
    net, callback, its = network(), turner(), optimizer()
    name = type(callback).__name__
    said = (
        f"{name}: expected an optimizer whose steps grow with its learning rate, such as .*, got {type(its).__name__}"
    )
    before = net.parameters.tobytes()
    with pytest.raises(TypeError, match=said):
        net.fit(*table(), loss="mse", optimizer=its, callbacks=[callback], batch_size=None)
    assert net.parameters.tobytes() == before and net.steps == its.steps == 0


@pytest.mark.parametrize("name", sorted(set(bp.optimizers.__all__) - {"Optimizer", "LBFGS", "LevenbergMarquardt"}))
def test_an_optimizer_says_whether_its_rate_can_be_turned(name):
    """The second step of what says so is the longer, the larger the rate has become; of the others it is the same."""
    kind, steps = getattr(bp.optimizers, name), []
    for factor in 1, 3:
        net, optimizer = network("float64"), kind(0.01)
        how = {"loss": "mse", "optimizer": optimizer, "batch_size": None}
        net.fit(*table(), **how)
        before = net.parameters.copy()
        optimizer.learning_rate *= factor
        net.fit(*table(), **how)
        steps.append(net.parameters - before)
    follows = np.allclose(steps[1], 3 * steps[0], rtol=1e-9)
    assert follows == kind.follows_learning_rate


def test_nothing_is_suggested_where_no_loss_falls():
    net = network("float64")
    for layer in net.layers:
        layer.trainable = False
    finder = bp.LearningRateFinder(steps=30)
    plain = bp.Sequential([bp.Dense(4, 3)], rng=0, dtype="float64")
    for layer in plain.layers:
        layer.trainable = False
    plain.fit(*table(), loss="mse", optimizer=bp.SGD(0.1), batch_size=None, callbacks=[finder])
    assert len(finder.losses) == 30 and finder.suggestion is None
    for losses in ([2.0] * 5, [1.0], [1, 2, 3], [0.0, 0.0], [-1.0, -1.0], [3.0, 3.0 - 1e-9, 3.0]):
        finder.rates = np.geomspace(1e-3, 1, len(losses)).tolist()
        finder.smoothed = finder.losses = losses
        assert finder.suggestion is None
    finder.smoothed, finder.rates = [3.0, 2.0, 2.5], [0.1, 1.0, 10.0]
    assert finder.suggestion == 0.1


def test_a_rate_of_zero_cannot_be_lowered():
    with pytest.raises(ValueError, match="ReduceOnPlateau: expected a learning rate above 0, got 0"):
        network().fit(*table(), loss="mse", optimizer=bp.SGD(0), callbacks=[bp.ReduceOnPlateau("loss")])


def test_only_a_hook_for_batches_wants_batches():
    class Clipping(bp.Callback):
        def on_gradients(self, run):
            """Nothing."""

    class Inherits(Clipping):
        """What it overrides is its parent's."""

    own = [bp.EarlyStopping(), bp.callbacks.Progress(), bp.Callback(), SimpleNamespace(on_epoch_end=print)]
    assert not bp.callbacks.wants_batches(own) and not bp.callbacks.wants_batches([])
    for callback in Clipping(), Inherits(), SimpleNamespace(on_batch_end=print):
        assert bp.callbacks.wants_batches([*own, callback])
