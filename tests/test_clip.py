"""Predictions between two bounds: in evaluation mode alone, so that training keeps its gradients."""

import pickle

import numpy as np
import pytest
from runs import DTYPES, table

import backprop as bp


def network(dtype="float32", rng=1, clip=(-0.4, 0.3)):
    return bp.Sequential(
        [bp.Dense(4, 9, "tanh"), bp.Dense(9, 3), *([bp.Clip(*clip)] if clip else [])], rng=rng, dtype=dtype
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_are_clipped_and_training_is_as_without_bits(dtype):
    x, y, _ = table(300, dtype)
    net, plain = network(dtype), network(dtype, clip=None)
    low, high = np.array([-0.4, 0.3], dtype)
    for threads in 1, 2:
        histories = [
            it.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=3, batch_size=64, threads=threads,
                   validation_data=(x, y)) for it in (net, plain)
        ]  # fmt: skip
        assert np.array_equal(net.parameters, plain.parameters) and histories[0]["loss"] == histories[1]["loss"]
        found = plain.predict(x).clip(low, high)
        assert np.array_equal(net.predict(x), found) and np.array_equal(net.predict(x[:1]), found[:1])
        assert (found == low).any() and (found == high).any()
        assert histories[0]["val_loss"][-1] == pytest.approx(np.mean((found - y) ** 2), rel=1e-5)
    assert np.array_equal(net.forward(x), plain.forward(x))


def test_the_derivative_of_a_prediction_is_zero_beyond_the_bounds():
    x, _, _ = table(50, "float64")
    net, plain = network("float64"), network("float64", clip=None)
    inside = (plain.predict(x) == net.predict(x)).astype(float)
    assert 0.1 < inside.mean() < 0.9
    net.forward(x, training=False)
    plain.forward(x, training=False)
    dx, expected = net.backward(np.ones((50, 3))), plain.backward(inside)
    assert np.array_equal(dx, expected) and np.array_equal(net.gradients, plain.gradients)
    net.forward(x)
    plain.forward(x)
    assert np.array_equal(net.backward(np.ones((50, 3))), plain.backward(np.ones((50, 3))))


def test_a_trace_tells_it():
    x, y, _ = table(3, "float64")
    net = network("float64", clip=(-0.05, 0.02))
    assert "in evaluation mode x, at least -0.05, at most 0.02" in str(net.trace(x, y, "mse"))
    trace = net.trace(x, y, "mse", training=False)
    assert np.array_equal(trace["2"].output, net.predict(x)) and trace.check()
    row, unit = (int(i) for i in np.argwhere(trace["1"].output > 0.02)[0])
    assert "0 (of 2, beyond its bounds)" in trace.explain(f"1.dy[{row},{unit}]")


def test_it_travels(tmp_path):
    net, (x, _, _) = network(), table(20)
    net.save(tmp_path / "net.safetensors")
    for other in bp.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)), eval(repr(net), vars(bp)):
        assert other == net != network(clip=(-0.4, 0.5)) and repr(other) == repr(net)
    assert np.array_equal(bp.load(tmp_path / "net.safetensors").predict(x), net.predict(x))


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ((1, 1), ValueError, "high: expected a number above low, 1.0, got 1.0"), ((2, 1), ValueError, "high: expected"),
        ((np.nan, 1), ValueError, "low: expected a finite number"), ((0, np.inf), ValueError, "high: expected a finite"),
        ((None, 1), TypeError, "low: expected a number, got None"), (("0", 1), TypeError, "low: expected a number"),
    ],
)  # fmt: skip
def test_bounds_that_are_none(bounds, error, message):
    with pytest.raises(error, match=message):
        bp.Clip(*bounds)
