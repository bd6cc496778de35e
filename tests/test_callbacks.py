"""Callbacks: what they do to a fit, epoch by epoch, and what they leave behind."""

import csv
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

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


def fit(values, *callbacks, net=None, optimizer=None, **how):
    """A fit of as many epochs as there are numbers in the script; what it kept, its network and its history."""
    keep, net = Keep(), net or network()
    how = {"loss": "mse", "epochs": len(values), "metrics": [script(values)]} | how
    history = net.fit(*table(), optimizer=optimizer or bp.Adam(0.01), callbacks=[keep, *callbacks], **how)
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
]


@pytest.mark.parametrize(("values", "how", "epochs", "best"), STOPS)
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(values, how, epochs, best, restore):
    early = bp.EarlyStopping(**watching(**how), restore_best=restore)
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
    monkeypatch.setattr(bp.training, "LARGE", 0)
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
