"""What a fit tells: its history, validation, and metrics while it trains."""

import pickle

import numpy as np
import pytest
from runs import Notes, classifier, same, small, table

import backprop as bp


def test_validation_is_evaluate_after_each_epoch():
    x, y, weights = table(40)
    xv, yv, wv = table(11, seed=1)
    metrics = ["mse", "r2"]
    for given, more in (((xv, yv), {}), ((xv, yv, wv), {"sample_weight": wv}), ([xv.tolist(), yv.tolist()], {})):
        notes = Notes(lambda net, more=more: net.evaluate(xv, yv, loss="mse", metrics=metrics, **more))
        history = small().fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=4, validation_data=given, metrics=metrics,
                              callbacks=[notes], sample_weight=weights)  # fmt: skip
        assert list(history) == ["loss", "mse", "r2", "val_loss", "val_mse", "val_r2"]
        for name in "loss", "mse", "r2":
            assert history[f"val_{name}"] == [scores[name] for scores in notes.values]


def test_validation_split_holds_out_the_last_rows():
    x, y, weights = table(40)
    runs = []
    for how in {"validation_split": 0.3}, {"validation_data": (x[28:], y[28:], weights[28:])}:
        net, n = small(), 40 if "validation_split" in how else 28
        history = net.fit(x[:n], y[:n], loss="mse", optimizer=bp.Adam(), epochs=3, metrics=["mae"],
                          sample_weight=weights[:n], batch_size=5, **how)  # fmt: skip
        runs.append([net.parameters, *history.values()])
    assert same(*runs)


@pytest.mark.parametrize("from_logits", [False, True])
def test_history_is_measured_while_it_trains(from_logits):
    # Of a full batch without dropout: what evaluate says before the step.
    x = table(40, "float64")[0]
    y = np.random.default_rng(0).integers(0, 3, 40)
    net, loss = classifier("identity" if from_logits else "softmax"), bp.CrossEntropy(from_logits=from_logits)
    expected, optimizer = [], bp.SGD(1.0)
    for _ in range(4):
        expected.append(net.evaluate(x, y, loss=loss, metrics=["accuracy"]))
        net.fit(x, y, loss=loss, optimizer=optimizer, batch_size=None)
    history = classifier("identity" if from_logits else "softmax").fit(
        x, y, loss=loss, optimizer=bp.SGD(1.0), batch_size=None, epochs=4, metrics=["accuracy"]
    )
    np.testing.assert_allclose(history["loss"], [scores["loss"] for scores in expected], rtol=1e-12)
    assert history["accuracy"] == [scores["accuracy"] for scores in expected]
    assert history["accuracy"][0] != history["accuracy"][-1]


@pytest.mark.parametrize("end", ["identity", "sigmoid", "softmax"])
def test_metrics_see_every_row_in_its_place(end):
    net = bp.Sequential([bp.Dense(4, 8, "tanh"), bp.Dense(8, 3, end)], rng=1)
    x, y, _ = table(2500)
    y = np.eye(3)[y.argmax(axis=1)]
    loss = {"identity": "mse", "sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}[end]
    seen = []

    def answers(y_hat, y):
        seen.append((y_hat.copy(), y.copy()))
        return 0

    net.fit(x, y, loss=loss, optimizer=bp.SGD(0.0), batch_size=1100, metrics=[answers], epochs=2, threads=2)
    for y_hat, targets in seen:
        np.testing.assert_allclose(y_hat, net.predict(x), rtol=1e-6)
        assert np.array_equal(targets, y)
    assert len(seen) == 2


def test_what_a_history_is():
    x, y, _ = table(20)
    net = small()
    empty = net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=0)
    assert dict(empty) == {} and net.steps == 0
    history = net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=3, metrics=["mse", "mae"])
    assert list(history) == ["loss", "mse", "mae"] and len(history) == 3
    assert all(len(values) == 3 and all(type(value) is float for value in values) for values in history.values())
    assert "val_loss" not in history and history.get("val_loss") is None
    assert "3 epochs" in repr(history) and f"loss={history['loss'][-1]!r}, " in repr(history)
    assert dict(pickle.loads(pickle.dumps(history))) == dict(history)
    np.testing.assert_allclose(history["loss"], history["mse"], rtol=1e-6)


def test_histories_are_compared_before_either_is_read():
    one, other = bp.History(), bp.History()
    for history in (one, other):
        history.extend({"loss": np.arange(3.0)})
    assert one == other
    other.extend({"loss": [3.0]})
    assert (one | other)["loss"] == [0.0, 1.0, 2.0, 3.0]


def test_metrics_of_ones_own():
    def worst(y_hat, y):
        return np.abs(y_hat - y).max()

    class Median:
        def __call__(self, y_hat, y):
            return np.median(y_hat)

    x, y, _ = table(20)
    net = small()
    history = net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=2, metrics=[worst, Median(), "mse"])
    assert list(history) == ["loss", "worst", "Median", "mse"]
    score = net.evaluate(x, y, loss="mse", metrics=[worst])
    assert score["worst"] == np.abs(net.predict(x) - y).max()
