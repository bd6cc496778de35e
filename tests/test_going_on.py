"""Training that goes on is one longer run: the same object, a copy, a file, a pickle, by hand and by `fit` in turns."""

import copy
import pickle

import numpy as np
import pytest
from instances import CLIPPED, OPTIMIZERS, optimizer_of
from runs import DTYPES, QUICK, by_hand, same, small, state, table

import backprop as bp


@pytest.mark.parametrize("dtype", QUICK)
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *CLIPPED])
@pytest.mark.parametrize("through", ["the same object", "a copy", "a file", "pickle", "one epoch at a time"])
def test_going_on_is_one_longer_run_bits(through, optimizer, dtype, tmp_path):
    x, y, weights = table(23, dtype)
    how = {"loss": "mse", "batch_size": 5, "sample_weight": weights}
    net, its = small(dtype), optimizer_of(optimizer)
    history = net.fit(x, y, optimizer=its, epochs=5, **how)
    other, again = small(dtype), optimizer_of(optimizer)
    losses = other.fit(x, y, optimizer=again, epochs=2, **how)["loss"]
    if through == "a copy":
        other, again = copy.deepcopy(other), copy.deepcopy(again)
    elif through == "pickle":
        other, again = pickle.loads(pickle.dumps(other)), pickle.loads(pickle.dumps(again))
    elif through == "a file":
        other.save(tmp_path / "half.safetensors")
        other, again = bp.load(tmp_path / "half.safetensors"), copy.deepcopy(again)
    if through == "one epoch at a time":
        for _ in range(3):
            losses += other.fit(x, y, optimizer=again, **how)["loss"]
    else:
        losses += other.fit(x, y, optimizer=again, epochs=3, **how)["loss"]
    assert losses == history["loss"]
    assert same(state(net, its), state(other, again))


def test_being_watched_changes_no_bits():
    x, y, weights = table(23)
    runs = []
    for how in (
        {}, {"callbacks": [bp.Callback()]}, {"metrics": ["mse", "r2"]}, {"validation_data": (x[:3], y[:3])},
        {"validation_data": (x, y, weights), "metrics": ["mae"], "callbacks": [bp.Callback()]},
    ):  # fmt: skip
        net, optimizer = small(), bp.Adam(0.01)
        history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=4, batch_size=5, **how)
        runs.append([*state(net, optimizer), history["loss"]])
    assert same(*runs)


def test_by_hand_and_fit_by_turns():
    x, y, _ = table(20, "float64")
    net, its, other, again = small("float64"), bp.Adam(0.01), small("float64"), bp.Adam(0.01)
    by_hand(net, x, y, bp.MeanSquaredError(), its, 6, 5)
    for turn in range(3):
        if turn == 1:
            by_hand(other, x, y, bp.MeanSquaredError(), again, 2, 5)
        else:
            other.fit(x, y, loss="mse", optimizer=again, epochs=2, batch_size=5, shuffle=False)
    assert same(state(net, its), state(other, again))


def test_a_schedule_is_asked_for_every_step():
    x, y, _ = table(23, "float64")
    net, other, constant = small("float64"), small("float64"), small("float64")
    asked = []

    def rate(step):
        asked.append(step)
        return 0.1 / (1 + step)

    net.fit(x, y, loss="mse", optimizer=bp.SGD(rate), epochs=3, batch_size=5, shuffle=False)
    assert sorted(set(asked)) == list(range(15))
    its = bp.SGD(0.1)
    for step in range(15):
        its.learning_rate = 0.1 / (1 + step)
        rows = slice(step % 5 * 5, step % 5 * 5 + 5)
        _, dy = bp.MeanSquaredError()(other.forward(x[rows]), y[rows])
        other.backward(dy)
        its.step(other)
    assert np.array_equal(net.parameters, other.parameters)
    constant.fit(x, y, loss="mse", optimizer=bp.SGD(lambda step: 0.1), epochs=2, batch_size=5)
    other = small("float64")
    other.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), epochs=2, batch_size=5)
    assert np.array_equal(constant.parameters, other.parameters)


def test_float32_is_within_its_rounding_of_float64():
    runs = {}
    for dtype in DTYPES:
        x, y, _ = table(200)
        net = small(dtype, dropout=0)
        history = net.fit(x, y, loss="mse", optimizer=bp.SGD(0.05, momentum=0.9), epochs=20, batch_size=16)
        runs[dtype] = net.predict(x), history["loss"], net.evaluate(x, y, loss="mse")["loss"]
    for single, double in zip(*(runs[dtype] for dtype in DTYPES), strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)
    assert runs["float64"][2] < 0.2  # it learned, so that there was something to differ in
    assert not np.array_equal(runs["float32"][0], runs["float64"][0])
