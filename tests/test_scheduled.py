"""Weight decay and the rate of a dropout by a schedule: as learning rates are, by hand, in a fit, resumed, and in files."""

import pickle
import re

import numpy as np
import pytest
from instances import OPTIMIZERS, optimizer_of
from oracles import InTorch
from runs import DTYPES, by_hand, same, state, table, three_layers

import backprop as bp
from backprop import schedules

DECAYING = [text for text in OPTIMIZERS if "weight_decay" in optimizer_of(text)._arguments()]
FLAT = schedules.FlatCosine(0.4, 12)


def dropping(dtype="float32", rate=FLAT, rng=1):
    layers = [
        bp.Dense(4, 7, "tanh"), bp.Dropout(rate), bp.Residual([bp.Dense(7, 7, "relu"), bp.Dropout(0.2)]),
        bp.Dropout(schedules.Polynomial(0.6, 20)), bp.Dense(7, 3),
    ]  # fmt: skip
    return bp.Sequential(layers, rng=rng, dtype=dtype)


@pytest.mark.parametrize("text", [text for text in DECAYING if OPTIMIZERS[text]])
def test_torch_takes_the_same_60_steps_with_a_weight_decay_that_falls(torch, text):
    decay, net = schedules.FlatCosine(0.3, 60), three_layers()
    ours, twin, (name, options) = optimizer_of(text), InTorch(torch, net), OPTIMIZERS[text]
    ours.weight_decay, ours.groups = decay, {"1.*": {"weight_decay": 0.5}, "*.bias": {"weight_decay": 0}}
    theirs = getattr(torch.optim, name)([{"params": [p]} for p in twin.parameters], **options)
    x, y, _ = table(20, "float64")
    for step in range(60):
        for i, group in enumerate(theirs.param_groups):
            group["weight_decay"] = 0 if i % 2 else decay(step) * (0.5 if i == 2 else 1)
        rows = slice(step % 5 * 4, step % 5 * 4 + 4)
        theirs.zero_grad()
        torch.nn.functional.mse_loss(twin(torch.tensor(x[rows])), torch.tensor(y[rows])).backward()
        theirs.step()
    net.fit(x, y, loss="mse", optimizer=ours, epochs=12, batch_size=4, shuffle=False)
    np.testing.assert_allclose(net.parameters, twin.flat(twin.parameters), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", DECAYING)
def test_a_fit_is_the_four_lines_bits(text, dtype):
    x, y, weights = table(23, dtype)
    runs = []
    for threads in (None, 1, 2):
        net, its = dropping(dtype), optimizer_of(text)
        its.weight_decay = schedules.FlatCosine(0.3, 12)
        if threads is None:
            by_hand(net, x, y, bp.MeanSquaredError(), its, 3, 5, weights)
        else:
            net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=5, shuffle=False, sample_weight=weights,
                    threads=threads)  # fmt: skip
        runs.append(state(net, its))
    assert same(*runs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "batch"), [(300, 129), (2500, 1025)])
def test_whatever_the_way_of_a_step_bits(rows, batch, dtype):
    x, y, _ = table(rows, dtype)
    for make in dropping, wide:
        runs = []
        for threads in (None, 1, 3):
            net, its = make(dtype), bp.AdamW(0.01, weight_decay=FLAT)
            if threads is None:
                by_hand(net, x, y, bp.MeanSquaredError(), its, 3, batch)
            else:
                net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=batch, shuffle=False, threads=threads)
            runs.append(state(net, its))
        assert same(*runs)


def wide(dtype):
    layers = [bp.Dropout(FLAT), bp.Dense(4, 523, "relu"), bp.BatchNorm(), bp.Dropout(FLAT), bp.Dense(523, 3)]
    return bp.Sequential(layers, rng=1, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_schedule_is_its_number_bits(dtype):
    x, y, _ = table(60, dtype)
    runs = []
    for rate, decay in ((0.3, 0.05), (schedules.Constant(0.3), schedules.Constant(0.05))):
        net, its = dropping(dtype, rate), bp.AdamW(0.01, weight_decay=decay)
        net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=7)
        runs.append(state(net, its))
    assert same(*runs)


def test_each_step_drops_at_its_own_rate():
    net = bp.Sequential([bp.Dropout(schedules.Polynomial(0.8, 4)), bp.Dense(500, 1)], rng=0, dtype="float64")
    net.layers[1].weight[:] = 1
    x = np.ones((40, 500))
    for step, rate in enumerate((0.8, 0.6, 0.4, 0.2, 0.0, 0.0)):
        assert net.steps == step
        net.forward(x)
        dx = net.backward(np.ones((40, 1)))
        kept = dx[dx != 0]
        assert kept == pytest.approx(1 / (1 - rate), rel=1e-12)
        assert len(kept) / dx.size == pytest.approx(1 - rate, abs=0.02)
        assert np.array_equal(net.forward(x, training=False)[:, 0], np.full(40, 500.0))
    assert np.array_equal(net.predict(x)[:, 0], np.full(40, 500.0))


def test_a_fit_goes_on_where_its_schedules_are(tmp_path):
    x, y, _ = table(40, "float64")

    def optimizer():
        return bp.AdamW(schedules.CosLog4(0.05, 30), weight_decay=schedules.FlatCosine(0.3, 30))

    whole, its = dropping("float64"), optimizer()
    whole.fit(x, y, loss="mse", optimizer=its, epochs=6, batch_size=8)
    twice, again = dropping("float64"), optimizer()
    twice.fit(x, y, loss="mse", optimizer=again, epochs=2, batch_size=8)
    twice.fit(x, y, loss="mse", optimizer=again, epochs=4, batch_size=8)
    path = tmp_path / "run.safetensors"
    how = {"loss": "mse", "batch_size": 8, "callbacks": [bp.Checkpoint(path)]}
    dropping("float64").fit(x, y, optimizer=optimizer(), epochs=4, **how)
    resumed, _ = bp.resume(path, x, y, epochs=6, **how)
    assert same(state(whole, its), state(twice, again))
    assert np.array_equal(resumed.parameters, whole.parameters)
    with pytest.raises(ValueError, match="resume: expected the optimizer"):
        bp.resume(path, x, y, epochs=7, optimizer=bp.AdamW(schedules.CosLog4(0.05, 30), weight_decay=0.3), **how)


def test_scheduled_networks_and_optimizers_travel(tmp_path):
    net = dropping()
    net.save(tmp_path / "net.safetensors")
    for other in bp.load(tmp_path / "net.safetensors"), net.copy(), pickle.loads(pickle.dumps(net)):
        assert other == net and other.layers[1].rate == FLAT and repr(other) == repr(net)
    assert eval(repr(net), vars(bp)) == net != dropping(rate=0.4)
    assert "rate=schedules.FlatCosine(learning_rate=0.4, steps=12, flat=0.5)" in str(net.graph)
    its = bp.Lion(weight_decay=FLAT)
    again = bp.optimizers.from_config(its.config(), schedules.from_config)
    assert repr(again) == repr(its) == repr(eval(repr(its), vars(bp)))
    assert again.weight_decay == FLAT


def test_side_by_side_and_in_parts_and_under_a_callback():
    x, y, _ = table(60)
    nets = [dropping(rng=i) for i in range(2)]
    bp.fit_many(nets, x, y, loss="mse", optimizer=bp.AdamW(0.01, weight_decay=FLAT), epochs=3, threads=2)

    class Looks:
        def on_batch_end(self, run):
            pass

    for more in {}, {"callbacks": [Looks()]}, {"loss": lambda *data: bp.MeanSquaredError()(*data)}:
        net = dropping(rng=0)
        net.fit(x, y, **{"loss": "mse", "optimizer": bp.AdamW(0.01, weight_decay=FLAT), "epochs": 3} | more)
        assert np.array_equal(net.parameters, nets[0].parameters)


class Own(bp.Layer):
    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


def test_beside_a_custom_layer():
    x, y, _ = table(60)
    nets = []
    for layers in ([], [Own()]):
        nets.append(bp.Sequential([bp.Dense(4, 9), bp.Dropout(FLAT), *layers, bp.Dense(9, 3)], rng=0))
        nets[-1].fit(x, y, loss="mse", optimizer="adam", epochs=8)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


def test_a_trace_tells_the_numbers_of_its_step():
    x, y, _ = table(3, "float64")
    net, its = dropping("float64", FLAT), bp.AdamW(0.1, weight_decay=FLAT)
    for _ in range(9):
        net.backward(bp.MeanSquaredError()(net.forward(x), y)[1])
        its.step(net)
    trace = net.trace(x, y, "mse", optimizer=its)
    assert f"{FLAT(9)}" in str(trace) and trace.update.weight_decay == FLAT(9)
    mask = trace.values["1.mask"]
    assert set(np.unique(mask)) <= {0.0, 1 / (1 - FLAT(9))}
    line = trace.explain("4.weight[0,0]").splitlines()[-2:]
    told = re.search(r"= (\S.*) = (\S+)$", "\n".join(line), re.MULTILINE)
    assert told and f"{FLAT(9):.6g} * " in told[1]
    assert trace.check()


@pytest.mark.parametrize("rate", [schedules.Constant(1.0), schedules.Exponential(0.5, 2.0), schedules.Constant(3.0)])
def test_rates_that_no_dropout_has(rate):
    x, y, _ = table(60)
    net = bp.Sequential([bp.Dense(4, 3), bp.Dropout(rate)], rng=0)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"rate: expected a finite number at least 0.* and below 1, got"):
        net.fit(x, y, loss="mse", optimizer="adam", batch_size=8)
    assert np.array_equal(net.parameters, before)


def test_what_is_no_schedule():
    for make in bp.Dropout, lambda it: bp.AdamW(weight_decay=it):
        for nonsense in ("x", None, [0.1]):
            with pytest.raises(TypeError, match=r"(rate|weight_decay): expected a number, got"):
                make(nonsense)
        with pytest.raises(
            TypeError, match=r"(rate|weight_decay): expected a number or a schedule from backprop.sched"
        ):
            make(lambda step: 0.1)
    x, y, _ = table(20, "float64")
    with pytest.raises(ValueError, match="weight_decay: expected a finite number at least 0"):
        three_layers().fit(
            x, y, loss="mse", optimizer=bp.AdamW(weight_decay=schedules.Exponential(1e300, 1e9)), epochs=9
        )


def test_a_custom_schedule():
    class Halving(bp.schedules.Schedule):
        def __init__(self, start):
            self.start = start

        def __call__(self, step):
            return self.start / 2**step

    x, y, _ = table(60)
    net = bp.Sequential([bp.Dense(4, 3), bp.Dropout(Halving(0.5))], rng=0)
    net.fit(x, y, loss="mse", optimizer=bp.AdamW(weight_decay=Halving(1)), epochs=2)
    with pytest.raises(ValueError, match=r"name: expected one of .*got 'Halving'"):
        net.save("nowhere.safetensors")


def test_the_core_takes_no_rates_that_are_none(core):
    storage = [np.zeros(12 + core.ROOM, "float32") for _ in range(2)]
    drop = (core.OPERATIONS["dropout"], 0, 0.0, 3, 3, -1, -1, -1, -1, 0)
    for given, error in (
        (np.full(1, 1.0), ValueError), (np.full(1, np.nan), ValueError), (np.full(1, -0.1), ValueError),
        (np.zeros(2), ValueError), (np.zeros(1, "float32"), ValueError), (None, (TypeError, ValueError)),
    ):  # fmt: skip
        plan = core.Plan(*storage, 12, [(*drop, (lambda first, count, given=given: given,))])
        with pytest.raises(error):
            plan.forward(np.ones((2, 3), "float32"), np.ones((2, 3), "float32"))
        assert plan.predict(np.ones((2, 3), "float32"), np.ones((2, 3), "float32"))
