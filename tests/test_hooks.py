"""When callbacks are called, what they may do, and what progress says."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from runs import Notes, small, table

import backprop as bp


def test_callbacks_are_called_in_order():
    x, y, _ = table(20)
    net, calls = small(), []

    class Named(bp.Callback):
        def __init__(self, name):
            self.name = name

        def on_epoch_end(self, run):
            calls.append((self.name, run.epoch))

    notes, optimizer = Notes(lambda net: net.parameters.copy()), bp.Adam()
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=3, callbacks=(Named("first"), notes, Named("second")))
    assert calls == [(name, epoch) for epoch in (1, 2, 3) for name in ("first", "second")]
    assert notes.seen == [("begin", 0, 3, {}), ("epoch", 1, 1), ("epoch", 2, 2), ("epoch", 3, 3), ("end", 3)]
    assert not np.array_equal(notes.values[0], notes.values[1]) and np.array_equal(notes.values[-1], net.parameters)


def test_a_callback_stops_the_fit():
    class Stop(bp.Callback):
        def on_epoch_end(self, run):
            run.stop = run.epoch == 2

    x, y, _ = table(20)
    net, notes = small(), Notes()
    history = net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=100, callbacks=[Stop(), notes])
    assert len(history["loss"]) == 2 and notes.seen[-1] == ("end", 2)
    other = small()
    other.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=2)
    assert np.array_equal(net.parameters, other.parameters)


def test_a_callback_need_not_see_every_epoch():
    class Every(bp.Callback):
        def __init__(self, some):
            self.some, self.seen = some, []

        def epochs_unseen(self, run):
            return self.some

        def on_epoch_end(self, run):
            self.seen.append((run.epoch, len(run.history["loss"])))

    x, y, _ = table(20)
    net, four, many, none = small(), Every(4), Every(100), Every(0)
    net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=10, callbacks=[four, many])
    assert four.seen == many.seen == [(4, 4), (8, 8), (10, 10)]
    other = small()
    other.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=10, callbacks=[many, none, Notes()])
    assert none.seen == [(epoch, epoch) for epoch in range(1, 11)]
    assert np.array_equal(net.parameters, other.parameters)


def test_a_callback_may_fail():
    class Fail(bp.Callback):
        def on_epoch_end(self, run):
            raise RuntimeError("no more paper")

    x, y, _ = table(20)
    net, notes, optimizer = small(), Notes(), bp.Adam()
    with pytest.raises(RuntimeError, match="no more paper"):
        net.fit(x, y, loss="mse", optimizer=optimizer, epochs=3, callbacks=[notes, Fail()])
    assert notes.seen[-1] == ("end", 1)
    assert len(net.fit(x, y, loss="mse", optimizer=optimizer)["loss"]) == 1


def test_progress_by_tqdm(capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    x, y, _ = table(20)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    small().fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=3, progress=True, metrics=["mae"])
    out, err = capsys.readouterr()
    assert "3/3" in err and "loss" in err and "mae" in err and not out
    small().fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=3)
    assert capsys.readouterr() == ("", "")


def test_progress_without_tqdm(capsys, monkeypatch, caplog):
    caplog.set_level("WARNING", "backprop")  # whose lines look at the clock too
    monkeypatch.setitem(sys.modules, "tqdm", None)
    x, y, _ = table(20)
    for seconds, said in ((0.4, [3, 6, 9, 10]), (3, list(range(1, 11))), (0.001, [10])):
        clock = iter(range(1000))
        # Each look at the clock is a little later than the last; a line is said no more than once a second.
        now = SimpleNamespace(monotonic=lambda seconds=seconds, clock=clock: next(clock) * seconds)
        monkeypatch.setattr(bp.callbacks.logging, "time", now)
        small().fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=10, progress=True, validation_split=0.5)
        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert not out and all("loss" in line and "val_loss" in line for line in lines)
        assert lines[-1].startswith("epoch 10/10") and len(lines) <= len(said) + 1
        if seconds != 0.4:
            assert [int(line.split()[1].split("/")[0]) for line in lines] == said
