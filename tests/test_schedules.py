"""Schedules: PyTorch's numbers, the same for one step and for many, and in a fit."""

import json
import pickle

import numpy as np
import pytest

import backprop as bp
from backprop import schedules

SCHEDULES = [
    schedules.Constant(0.1),
    schedules.Step(0.1, 7, 0.3),
    schedules.Exponential(0.1, 0.97),
    schedules.Exponential(0.1, 0.5, every=10),
    schedules.Cosine(0.1, 50),
    schedules.Cosine(0.1, 50, final=0.01, warmup=10),
    schedules.Cosine(0.1, 11, final=0.02, growth=1),
    schedules.Cosine(0.1, 12, final=0.02, warmup=3, growth=2),
    schedules.CosLog4(0.1, 50),
    schedules.FlatCosine(0.1, 50),
    schedules.FlatCosine(0.1, 50, flat=0.2),
    schedules.Polynomial(0.1, 60),
    schedules.Polynomial(0.1, 60, power=2.5, final=0.01),
    schedules.OneCycle(0.1, 100),
    schedules.OneCycle(0.1, 100, pct_start=0.21, div_factor=10, final_div_factor=100),
]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
STEPS = np.arange(150)


@each
def test_one_step_and_many_are_the_same_bits(schedule):
    rates = schedule.rates(STEPS)
    assert rates.dtype == np.float64 and rates.shape == STEPS.shape and (rates >= 0).all()
    assert rates.tolist() == [schedule(step) for step in STEPS]
    assert type(schedule(np.int32(3))) is float
    for start, stop in (0, 3), (1, 9), (5, 150), (17, 18):
        assert schedule.rates(STEPS[start:stop]).tolist() == rates[start:stop].tolist()
    assert schedule.rates(STEPS[:0]).shape == (0,)
    assert np.isfinite(schedule.rates(np.array([10**6, 2**40]))).all()


def torchs(make, count):
    """The learning rates of a schedule of PyTorch's, over a rate of 0.1."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64)], lr=0.1)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


WARM = {"start_factor": 1 / 4, "total_iters": 3}
TORCHS = [
    (schedules.Step(0.1, 7, 0.3), lambda t, o: t.StepLR(o, 7, 0.3), 100),
    (schedules.Step(0.1, 30), lambda t, o: t.StepLR(o, 30), 100),
    (schedules.Exponential(0.1, 0.97), lambda t, o: t.ExponentialLR(o, 0.97), 100),
    (schedules.Cosine(0.1, 50, final=0.01), lambda t, o: t.CosineAnnealingLR(o, 50, 0.01), 51),
    (schedules.Cosine(0.1, 11, final=0.02, growth=1), lambda t, o: t.CosineAnnealingWarmRestarts(o, 11, 1, 0.02), 100),
    (schedules.Cosine(0.1, 10, growth=3), lambda t, o: t.CosineAnnealingWarmRestarts(o, 10, 3), 300),
    (schedules.Cosine(0.1, 12, warmup=3, growth=2), lambda t, o: t.SequentialLR(
        o, [t.LinearLR(o, **WARM), t.CosineAnnealingWarmRestarts(o, 9, 2)], [3]), 100),
    (schedules.Cosine(0.1, 40, warmup=3), lambda t, o: t.SequentialLR(
        o, [t.LinearLR(o, **WARM), t.CosineAnnealingLR(o, 37)], [3]), 41),
    (schedules.Polynomial(0.1, 60), lambda t, o: t.PolynomialLR(o, 60), 100),
    (schedules.Polynomial(0.1, 60, power=2.5), lambda t, o: t.PolynomialLR(o, 60, 2.5), 100),
    (schedules.OneCycle(0.1, 100), lambda t, o: t.OneCycleLR(o, 0.1, 100), 100),
    (schedules.OneCycle(0.1, 2), lambda t, o: t.OneCycleLR(o, 0.1, 2), 2),
    (schedules.OneCycle(0.1, 97, pct_start=0.21, div_factor=10, final_div_factor=100), lambda t, o: t.OneCycleLR(
        o, 0.1, 97, pct_start=0.21, div_factor=10, final_div_factor=100), 97),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "make", "count"), TORCHS, ids=[repr(ours) for ours, *_ in TORCHS])
def test_they_are_pytorchs(ours, make, count):
    np.testing.assert_allclose(ours.rates(np.arange(count)), torchs(make, count), rtol=1e-12, atol=1e-15)


def test_what_pytorch_has_not():
    assert schedules.Polynomial(0.1, 10, power=2, final=0.02)(5) == pytest.approx(0.02 + 0.08 / 4, rel=1e-15)
    assert schedules.Exponential(0.1, 0.25, every=10)(5) == pytest.approx(0.05, rel=1e-15)
    for schedule, final in (
        (schedules.Cosine(0.1, 30, final=0.01), 0.01), (schedules.Polynomial(0.1, 30, final=0.03), 0.03),
        (schedules.OneCycle(0.1, 30), 0.1 / 25 / 1e4), (schedules.FlatCosine(0.1, 30), 0),
    ):  # fmt: skip
        assert schedule(0) == pytest.approx(0.004 if isinstance(schedule, schedules.OneCycle) else 0.1, rel=1e-15)
        rates = schedule.rates(np.arange(30, 60))
        assert rates == pytest.approx(final, rel=1e-12, abs=1e-15) and np.ptp(rates) == 0
    for step, share in enumerate(np.arange(100) / 100):
        log4 = (1 - np.cos(2 * np.pi * np.log2(1 + 15 * share))) / 2
        flat = (1 + np.cos(np.pi * (max(1, 2 * share) - 1))) / 2
        assert schedules.CosLog4(0.04, 100)(step) == pytest.approx(0.04 * log4, rel=1e-12, abs=1e-15)
        assert schedules.FlatCosine(0.15, 100)(step) == pytest.approx(0.15 * flat, rel=1e-12)
    ends = np.round(2000 * (2 ** np.arange(5) - 1) / 15)  # of its cycles
    assert schedules.CosLog4(1.0, 2000).rates(ends) == pytest.approx(0, abs=1e-4)
    assert schedules.CosLog4(1.0, 2000).rates(ends[:-1] + np.diff(ends) * (2**0.5 - 1)) == pytest.approx(1, abs=1e-4)
    assert schedules.FlatCosine(0.1, 100, flat=0.25)(25) == 0.1 > schedules.FlatCosine(0.1, 100, flat=0.25)(26)
    warm = schedules.Cosine(0.1, 100, warmup=4)
    assert warm.rates(np.arange(5)) == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1], rel=1e-15)


@each
def test_they_are_built_again(schedule):
    assert eval(repr(schedule), vars(bp)) == schedule
    assert schedules.from_config(json.loads(json.dumps(schedule.config()))) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert [other for other in SCHEDULES if other == schedule] == [schedule]
    assert schedule != schedule.config()


def test_numbers_of_numpy_become_pythons():
    schedule = schedules.Cosine(np.float32(0.5), np.int64(10), warmup=np.uint8(2), growth=np.int16(2))
    assert json.loads(json.dumps(schedule.config()))["learning_rate"] == 0.5


@each
@pytest.mark.parametrize("optimizer", [bp.SGD, bp.Adam])
def test_a_fit_follows_it_as_any_function(schedule, optimizer):
    rng = np.random.default_rng(0)
    x, y, parameters = rng.normal(size=(20, 3)), rng.normal(size=(20, 1)), []
    for rate in schedule, lambda step: schedule(step):
        net, its = bp.Sequential([bp.Dense(3, 1)], rng=1, dtype="float64"), optimizer(rate)
        net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=5)
        for _ in range(2):  # by hand it goes on
            net.backward(np.ones_like(net.forward(x)))
            its.step(net)
        parameters.append(net.parameters)
        assert its.steps == 14
    assert np.array_equal(*parameters)


def test_a_fit_asks_for_many_steps_at_once(monkeypatch):
    asked, rates = [], schedules.Constant.rates

    def count(self, steps):
        asked.append(len(steps))
        return rates(self, steps)

    monkeypatch.setattr(schedules.Constant, "rates", count)
    net = bp.Sequential([bp.Dense(1, 1)], rng=0)
    net.fit(np.ones((4, 1)), np.ones(4), loss="mse", optimizer=bp.SGD(schedules.Constant(0.1)), epochs=9, batch_size=2)
    assert asked == [1, 18]  # the first is to see that it is one
