"""A network that is being trained refuses to be trained, from wherever that is asked for."""

import threading
from types import SimpleNamespace

import pytest
from refusals import fit, setup, state

import backprop as bp


class Inside(bp.Callback):
    """Tries to train what is being trained."""

    def __init__(self, it):
        self.it, self.refused = it, []

    def on_fit_begin(self, run):
        self.on_epoch_end(run)

    def on_epoch_end(self, run):
        with pytest.raises(bp.BusyError, match="being trained: wait") as caught:
            fit(self.it)
        self.refused.append(caught.type)

    on_fit_end = on_epoch_end


def test_a_fit_inside_a_fit():
    it, twin = setup(), setup()
    inside = Inside(it)
    history = fit(it, epochs=3, callbacks=[inside])
    assert inside.refused == [bp.BusyError] * 5
    assert dict(history) == dict(fit(twin, epochs=3))
    assert state(it) == state(twin)
    assert issubclass(bp.BusyError, RuntimeError)


@pytest.mark.parametrize("where", ["metric", "loss", "schedule"])
def test_a_fit_inside_what_a_fit_calls(where):
    it = setup()
    caught = []

    def again(*_):
        try:
            fit(it)
        except bp.BusyError as error:
            caught.append(error)
        return 1e-3

    def loss(y_hat, y):
        again()
        return bp.MeanSquaredError()(y_hat, y)

    fit(it, **{"metric": {"metrics": [again]}, "loss": {"loss": loss}, "schedule": {"optimizer": bp.SGD(again)}}[where])
    assert len(caught) >= 1
    fit(it)


def test_a_fit_from_another_thread():
    it = setup()
    started, go_on = threading.Event(), threading.Event()

    class Wait(bp.Callback):
        def on_epoch_end(self, run):
            started.set()
            assert go_on.wait(60)

    thread = threading.Thread(target=fit, args=(it,), kwargs={"callbacks": [Wait()]})
    thread.start()
    try:
        assert started.wait(60)
        before = it.net.parameters.tobytes()
        with pytest.raises(bp.BusyError, match="wait for that fit to end, or train a copy"):
            fit(it)
        with pytest.raises(bp.BusyError):
            fit(it, x="not even looked at")
        assert it.net.parameters.tobytes() == before
        it.net.predict(it.x)  # this one may
    finally:
        go_on.set()
        thread.join()
    fit(it)


@pytest.mark.parametrize("where", ["on_fit_begin", "on_epoch_end", "on_fit_end"])
def test_after_a_callback_that_fails(where):
    def fail(run):
        raise LookupError("mine")

    it = setup()
    with pytest.raises(LookupError, match="mine"):
        fit(it, callbacks=[SimpleNamespace(**{where: fail})])
    fit(it)
