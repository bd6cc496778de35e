"""Divergence: where the loss stops being finite, the last finite weights are kept, and the error says what to do."""

import pickle

import numpy as np
import pytest
from instances import OPTIMIZERS, optimizer_of

import backprop as bp


def deep(dtype):
    return bp.Sequential([bp.Dense(3, 4), bp.Dense(4, 4), bp.Dense(4, 2)], rng=0, dtype=dtype)


def shallow(dtype):
    return bp.Sequential([bp.Dense(3, 2)], rng=0, dtype=dtype)


RISING = {
    "SGD(1e30)": lambda: bp.SGD(1e30),
    "SGD(1e300)": lambda: bp.SGD(1e300),
    "SGD(3e38)": lambda: bp.SGD(3e38),
    "SGD(1e30, momentum)": lambda: bp.SGD(1e30, momentum=0.9),
    "SGD(1e30, Nesterov)": lambda: bp.SGD(1e30, momentum=0.9, nesterov=True),
    "SGD, a schedule": lambda: bp.SGD(lambda step: 1e-3 if step < 7 else 1e200),
    "RMSprop(1e300)": lambda: bp.RMSprop(1e300),
    "RMSprop(1e300, all)": lambda: bp.RMSprop(1e300, momentum=0.9, centered=True),
    "Adagrad(1e300)": lambda: bp.Adagrad(1e300),
    "Adadelta(1e300)": lambda: bp.Adadelta(1e300),
    "Adam(1e300)": lambda: bp.Adam(1e300),
    "AdamW(1e300)": lambda: bp.AdamW(1e300, amsgrad=True),
    "NAdam(1e300)": lambda: bp.NAdam(1e300),
    "RAdam(1e300)": lambda: bp.RAdam(1e300),
    "Lion(1e300)": lambda: bp.Lion(1e300),
    "Rprop(1e300)": lambda: bp.Rprop(1e300, step_max=1e300),
    "SGD, clipped": lambda: bp.SGD(1e300, clip_norm=1, clip_value=0.5, average=0.9),
    "Adam, a schedule": lambda: bp.Adam(lambda step: 1e-3 if step < 7 else 1e300),
}


@pytest.mark.parametrize("loss", ["compiled", "a function"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rising", RISING)
def test_divergence(rising, dtype, loss):
    net, optimizer, rng = deep(dtype), RISING[rising](), np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    with pytest.raises(bp.DivergedError, match="lower the learning rate") as caught:
        net.fit(x, y, loss="mse" if loss == "compiled" else plain_mse, optimizer=optimizer, epochs=500, batch_size=5)
    error = caught.value
    assert caught.type is bp.DivergedError and isinstance(error, ArithmeticError)
    assert f"epoch {error.epoch}, batch {error.batch}" in str(error)
    assert 0 <= error.batch < 3
    assert optimizer.steps == net.steps == 3 * error.epoch + error.batch
    assert net.epochs == error.epoch
    assert np.isfinite(net.parameters).all()
    assert all(np.isfinite(vector).all() for vector in optimizer.state.values())
    net.parameters = deep(dtype).parameters
    net.fit(x, y, loss="mse", optimizer=bp.Adam(1e-3), epochs=3)
    assert np.isfinite(net.predict(x)).all()


def plain_mse(y_hat, y):
    with np.errstate(over="ignore"):
        return np.square(y_hat.astype(np.float64) - y).mean(), ((y_hat - y) / y.size * 2).clip(-1e300, 1e300)


@pytest.mark.parametrize(
    "optimizer",
    [getattr(bp, name) for name in bp.optimizers.__all__ if name not in ("Optimizer", "LBFGS", "LevenbergMarquardt")],
)
def test_the_last_finite_weights_are_those_before_the_batch(optimizer):
    """The second batch gives an infinite loss: what remains is the network after the first."""
    x, y = np.ones((2, 3)), np.array([[1.0, 1.0], [1e300, 1.0]])
    net, twin = shallow("float64"), shallow("float64")
    how = {"loss": "mse", "batch_size": 1, "shuffle": False}
    with pytest.raises(bp.DivergedError) as caught:
        net.fit(x, y, optimizer=(used := optimizer(0.1)), epochs=3, **how)
    twin.fit(x[:1], y[:1], optimizer=(kept := optimizer(0.1)), **how)
    assert (caught.value.epoch, caught.value.batch) == (0, 1)
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert used.steps == kept.steps == net.steps == twin.steps == 1
    assert {k: v.tobytes() for k, v in used.state.items()} == {k: v.tobytes() for k, v in kept.state.items()}


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "SGD(0.1, clip_norm=1)"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_beyond_the_numbers(optimizer, dtype):
    """By hand and in a fit, where the loss of float32 is finite, its gradient not. Weights and state stay, all of them."""
    net, used = shallow(dtype), optimizer_of(optimizer)
    big = 1e30 if dtype == "float32" else 1e160
    net.fit(np.ones((4, 3)), np.ones((4, 2)), loss="mse", optimizer=used)
    steps = used.steps
    net.gradients[:] = big**1.2
    net.gradients[1] = np.inf
    with pytest.raises(bp.DivergedError, match="infinite or NaN"):
        used.step(net)
    with pytest.raises(bp.DivergedError):
        net.fit(np.full((4, 3), big), np.full((4, 2), big**1.05), loss="mse", optimizer=used)
    assert np.isfinite(net.parameters).all()
    assert all(np.isfinite(vector).all() for vector in used.state.values())
    assert used.steps == steps
    net.parameters = shallow(dtype).parameters
    net.fit(np.ones((4, 3)), np.ones((4, 2)), loss="mse", optimizer=used)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_does_not_stand_still(dtype):
    """Squares of the gradient overflow before it does: then no step would ever be taken again, which must not pass."""
    net, big = shallow(dtype), {"float32": 1e25, "float64": 1e170}[dtype]
    optimizer = bp.Adam(0.1)
    net.gradients[:] = big
    with pytest.raises(bp.DivergedError):
        optimizer.step(net)
    assert all(np.isfinite(vector).all() for vector in optimizer.state.values())


def test_a_small_epsilon_is_no_divergence():
    """1e-50 is above 0, as asked, and must not become 0 on the way into float32."""
    net = shallow("float32")
    net.gradients[:] = 0
    bp.Adam(0.1, epsilon=1e-50).step(net)
    assert np.isfinite(net.parameters).all()


def test_divergence_can_be_pickled():
    error = pickle.loads(pickle.dumps(bp.DivergedError("gone", epoch=3, batch=4)))
    assert (str(error), error.epoch, error.batch) == ("gone", 3, 4)
