"""Callbacks between gradient and update, and after each step: where nothing is changed, not a bit is."""

import numpy as np
import pytest
from instances import OPTIMIZERS, optimizer_of
from runs import small, table

import backprop as bp


class Watch(bp.Callback):
    def __init__(self):
        self.seen = []

    def on_gradients(self, run):
        self.seen.append(("gradients", run.batch))

    def on_batch_end(self, run):
        self.seen.append(("end", run.batch))


LAYERS = {
    "dense": lambda: [bp.Dense(3, 8, "tanh", l2=0.01), bp.Dropout(0.2), bp.Dense(8, 1)],
    "norms": lambda: [bp.Dense(3, 8), bp.BatchNorm(), bp.Activation("relu"), bp.LayerNorm(), bp.Dense(8, 1)],
}


def data(rows=50):
    rng = np.random.default_rng(2)
    return rng.normal(size=(rows, 3)).astype("float32"), rng.normal(size=(rows, 1)).astype("float32")


def fitted(make, callbacks, optimizer, **how):
    x, y = data()
    net = bp.Sequential(make(), rng=1)
    history = net.fit(x, y, loss="mse", optimizer=optimizer, epochs=3, callbacks=callbacks, **how)
    return net, history


def assert_alike(one, other):
    (a, its), (b, history) = one, other
    assert a.parameters.tobytes() == b.parameters.tobytes() and a.buffers.tobytes() == b.buffers.tobytes()
    assert dict(its) == dict(history)
    assert (a.steps, a.epochs) == (b.steps, b.epochs)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("optimizer", [text for text in OPTIMIZERS if "LBFGS" not in text])
def test_hooks_that_only_look_change_no_bit(layers, optimizer):
    for how in {"batch_size": 7}, {"batch_size": None, "metrics": ["mae"], "validation_split": 0.2}:
        plain = fitted(LAYERS[layers], [], optimizer_of(optimizer), **how)
        assert_alike(plain, fitted(LAYERS[layers], [Watch()], optimizer_of(optimizer), **how))


def test_what_they_see():
    watch = Watch()
    fitted(LAYERS["dense"], [watch], bp.Adam(), batch_size=20)
    assert watch.seen == [(kind, batch) for _ in range(3) for batch in range(3) for kind in ("gradients", "end")]


def test_the_loss_of_a_batch_and_its_gradients():
    class Compare(bp.Callback):
        def on_gradients(self, run):
            value, gradient = run.network.value_and_gradient(*data(), "mse")
            self.found = [run.loss, value]
            assert np.array_equal(run.network.gradients, gradient)

    compare = Compare()
    fitted(LAYERS["dense"], [compare], bp.SGD(0.1), batch_size=None, shuffle=False)
    assert compare.found[0] == compare.found[1]


def test_a_hook_changes_the_gradients():
    class Halve(bp.Callback):
        def on_gradients(self, run):
            run.network.gradients *= 0.5

    halved = fitted(LAYERS["norms"], [Halve()], bp.SGD(0.25))
    assert_alike(halved, fitted(LAYERS["norms"], [], bp.SGD(0.125)))


def test_an_object_with_one_hook_will_do():
    class Counts:
        batches = 0

        def on_batch_end(self, run):
            self.batches += 1

    counts = Counts()
    fitted(LAYERS["dense"], [counts], bp.Adam(), batch_size=10)
    assert counts.batches == 15


def test_a_hook_that_raises_leaves_the_last_whole_batch():
    class Stop(bp.Callback):
        def on_gradients(self, run):
            if run.batch == 2:
                raise RuntimeError("enough")

    x, y = data()
    net, twin = (bp.Sequential(LAYERS["norms"](), rng=1) for _ in range(2))
    with pytest.raises(RuntimeError, match="enough"):
        net.fit(x, y, loss="mse", optimizer=bp.Adam(), batch_size=10, shuffle=False, callbacks=[Stop()])
    twin.fit(x[:20], y[:20], loss="mse", optimizer=bp.Adam(), batch_size=10, shuffle=False)
    assert net.parameters.tobytes() == twin.parameters.tobytes() and net.steps == 2
    assert net.buffers.tobytes() == twin.buffers.tobytes()


def test_gradients_that_are_not_finite_diverge():
    class Break(bp.Callback):
        def on_gradients(self, run):
            run.network.gradients[0] = np.nan

    x, y = data()
    net = bp.Sequential(LAYERS["dense"](), rng=1)
    before = net.parameters.copy()
    with pytest.raises(bp.DivergedError):
        net.fit(x, y, loss="mse", optimizer=bp.Adam(), callbacks=[Break()])
    assert np.isfinite(net.parameters).all() and net.parameters.shape == before.shape


class Plain(bp.Optimizer):
    def __init__(self):
        super().__init__(0.1)

    def step(self, net):
        net.parameters -= np.float32(0.1) * net.gradients


def test_a_custom_optimizer_trains_in_fit():
    custom, ours = (fitted(LAYERS["norms"], [], optimizer) for optimizer in (Plain(), bp.SGD(0.1)))
    np.testing.assert_allclose(custom[0].parameters, ours[0].parameters, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(custom[1]["loss"], ours[1]["loss"], rtol=1e-5)
    assert_alike(custom, fitted(LAYERS["norms"], [Watch()], Plain()))


def test_hooks_beside_batches_that_come_one_by_one():
    x, y, _ = table(20)
    net, twin, watch = small(), small(), Watch()
    batches = [(x[:12], y[:12]), (x[12:], y[12:])]
    twin.fit(batches, loss="mse", optimizer=bp.Adam(), epochs=2)
    net.fit(batches, loss="mse", optimizer=bp.Adam(), epochs=2, callbacks=[watch])
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert [batch for kind, batch in watch.seen if kind == "end"] == [0, 1, 0, 1]
