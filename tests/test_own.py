"""What a user brings is used wherever it is met: a loss, a layer, an optimizer, a schedule of one's own, and subclasses
of those of the library that override a part."""

import copy
from itertools import product

import numpy as np
import pytest
from instances import LOSSES, optimizer_of

import backprop as bp

pytestmark = pytest.mark.slow

ROWS = 22
X = np.random.default_rng(0).normal(size=(ROWS, 4))
WEIGHTS = np.random.default_rng(1).uniform(0, 2, ROWS)
WEIGHTS[5:10] = 0  # a batch that counts for nothing


class Same(bp.Layer):
    """Changes nothing."""

    def forward(self, x, training):
        return x

    def backward(self, dy):
        return dy


def in_numpy(kind):
    """A subclass of a built-in dense layer that brings both ways of its own."""

    class Numpy(kind):
        def forward(self, x, training):
            self.x, self.y = x, self.activation(x @ self.weight + self.bias)
            return self.y

        def backward(self, dy):
            assert self.activation.name in ("tanh", "identity")
            dz = dy * (1 - self.y**2) if self.activation.name == "tanh" else dy
            self.weight_grad[...], self.bias_grad[...] = self.x.T @ dz, dz.sum(axis=0)
            return dz @ self.weight.T

    return Numpy


def network(way, end, n_out, l1=0.01, l2=0.02):
    hidden = in_numpy(bp.Dense) if way == "a layer that overrides" else bp.Dense
    made = [hidden(4, 5, "tanh", l1=l1, l2=l2), bp.Dense(5, n_out, end, l2=l2)]
    return bp.Sequential([Same(), *made] if way == "a layer" else made, rng=1, dtype="float64")


def own(loss, way):
    """The same loss, as a user may have it."""
    if way == "a function":
        return lambda y_hat, y, *weights: loss(y_hat, y, *weights)
    if way not in ("its __call__", "its on"):
        return loss
    kind = type(loss)

    class Call(kind):
        def __call__(self, y_hat, y, sample_weight=None):
            self.asked = True
            return kind.__call__(self, y_hat, y, sample_weight)

    class On(kind):
        def on(self, *data, **how):
            self.asked = True
            return kind.on(self, *data, **how)

    made = copy.copy(loss)
    made.__class__ = Call if way == "its __call__" else On
    made.asked = False
    return made


class Plain(bp.Optimizer):
    """p -= rate g, with a step of its own that counts nothing."""

    def step(self, net):
        net.parameters -= self.rates(1)[0] * net.gradients


WAYS = ["compiled", "a layer", "a layer that overrides", "a function", "its __call__", "its on", "an optimizer"]


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize("instance", LOSSES, ids=lambda it: it.name)
def test_whatever_is_ones_own_comes_to_the_same(instance, way):
    rng, n_out = np.random.default_rng(3), instance.n_out
    y = instance.data(ROWS, rng)
    for reduction, weights, shares in product(("mean", "sum"), (None, WEIGHTS), (False, True)):
        if way == "a function" and (reduction, shares) != ("mean", False):
            continue  # of which a function says nothing
        found = []
        for each in "compiled", way:
            loss, net = instance.make(reduction), network(each, instance.ends[0], n_out)
            loss.shares_penalties = shares
            loss = own(loss, each)
            value, gradient = net.value_and_gradient(X, y, loss, sample_weight=weights)
            measure = net.evaluate(X, y, loss=loss, sample_weight=weights)["loss"]
            full = net.fit(
                X, y, loss=loss, optimizer=bp.SGD(0.0), batch_size=None, sample_weight=weights, validation_data=(X, y)
            )
            by_hand = (own(instance.make(reduction), each))(net.predict(X), y, *([] if weights is None else [weights]))[
                0
            ]
            total = ROWS if weights is None else weights.sum()
            times = 1 / total if shares and reduction == "mean" else 1
            assert measure == pytest.approx(by_hand, rel=1e-9)
            assert value == pytest.approx(measure + times * net.penalty(), rel=1e-9)
            assert full["loss"][0] == pytest.approx(value, rel=1e-9)
            if weights is None:
                assert full["val_loss"][0] == pytest.approx(measure, rel=1e-9)
            how = {"epochs": 2, "batch_size": 5, "sample_weight": weights, "shuffle": False, "validation_data": (X, y)}
            optimizer = Plain(1e-3) if each == "an optimizer" else bp.SGD(1e-3)
            history = net.fit(X, y, loss=loss, optimizer=optimizer, **how)
            assert optimizer.steps == net.steps - 1 == 10
            if way in ("its __call__", "its on") and each == way:
                assert loss.asked
            found.append([value, gradient, measure, *map(np.array, history.values()), net.parameters.copy()])
        for theirs, ours in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9 * np.max(np.abs(theirs)))


def test_a_loss_without_a_kernel_keeps_its_reduction_and_its_classes():
    class Squares(bp.Loss):
        def __call__(self, y_hat, y, sample_weight=None):
            weights = np.ones(len(y)) if sample_weight is None else sample_weight
            d, total = y_hat - y, weights.sum() if self.reduction == "mean" else 1
            values = weights * np.square(d).mean(axis=1) / total
            return (values if self.reduction == "none" else values.sum()), 2 * weights[:, None] * d / d.shape[1] / total

    y = np.tanh(X[:, :2])
    for reduction, weights in product(("mean", "sum"), (None, WEIGHTS)):
        rows = []
        for loss in Squares(reduction=reduction), bp.MeanSquaredError(reduction=reduction):
            net = network("compiled", "identity", 2)
            how = {"batch_size": 5, "sample_weight": weights, "epochs": 2, "validation_data": (X, y)}
            history = net.fit(X, y, loss=loss, optimizer=bp.Adam(0.01), **how)
            rows.append([*history["loss"], *history["val_loss"]])
        assert rows[0] == pytest.approx(rows[1], rel=1e-9)
    net = network("compiled", "identity", 2)
    with pytest.raises(ValueError, match='reduction="none"'):
        net.fit(X, y, loss=Squares(reduction="none"), optimizer=bp.SGD(0.1))
    each = [net.value_and_gradient(X, y, loss(reduction="none")) for loss in (Squares, bp.MeanSquaredError)]
    assert each[0][0] == pytest.approx(each[1][0], rel=1e-9)
    total = bp.MeanSquaredError(reduction="sum")
    assert net.evaluate(X, y, loss=total.__call__) == net.evaluate(X, y, loss=total)
    with pytest.raises(TypeError, match="a loss with a formula, got Loss"):
        net.evaluate(X, y, loss=bp.Loss())


def test_targets_and_numbers_that_a_subclass_overrides_are_used():
    class InThousands(bp.MeanSquaredError):
        def targets(self, y, n_out, dtype):
            target, labels = super().targets(y, n_out, dtype)
            return target / 1000, labels

    class Wide(bp.Huber):
        numbers = ("width",)
        width = 5.0

    y = np.tanh(X[:, :1])
    net = network("compiled", "identity", 1)
    for loss, as_if, targets in (InThousands(), "mse", y / 1000), (Wide(), bp.Huber(5.0), y):
        given, expected = (1000 * y if loss.kernel == "nothing" else y), targets
        ours, theirs = (net.value_and_gradient(X, t, it) for t, it in ((given, loss), (expected, as_if)))
        assert ours[0] == theirs[0] and np.array_equal(ours[1], theirs[1])
        assert net.evaluate(X, given, loss=loss) == net.evaluate(X, expected, loss=as_if)
        assert loss(net.predict(X), given)[0] == pytest.approx(bp.losses.get(as_if)(net.predict(X), expected)[0])


def test_a_loss_that_broadcasts_is_refused_everywhere():
    def careless(y_hat, y):
        d = y_hat - y
        return float(np.mean(d**2)), 2 * d / d.size

    net, y = network("compiled", "identity", 1), np.tanh(X[:, 0])
    for call in (
        lambda: net.evaluate(X, y, loss=careless), lambda: net.value_and_gradient(X, y, careless),
        lambda: net.fit(X, y, loss=careless, optimizer=bp.SGD(0.1)),
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"dy: expected an array of shape \(batch, 1\).* y is \(\d+,\) beside y_hat"
        ):
            call()


@pytest.mark.parametrize("way", ["a layer", "a layer that overrides"])
def test_penalties_beside_a_layer_of_ones_own(way):
    net, plain = network(way, "identity", 2), network("compiled", "identity", 2)
    assert net._plan is None and net.penalty() == pytest.approx(plain.penalty(), rel=1e-12)
    net.forward(X)
    plain.forward(X)
    net.backward(np.zeros((ROWS, 2)))
    plain.backward(np.zeros((ROWS, 2)))
    np.testing.assert_allclose(net.gradients, plain.gradients, rtol=1e-12)
    assert net.gradients.any()


def test_a_subclass_of_a_layer_goes_its_own_way():
    class Doubled(bp.Dense):
        def forward(self, x, training):
            return 2 * (x @ self.weight + self.bias)

    class Shifted(bp.Dense):
        def lower(self, program, source):
            return super().lower(program, source)

    layer = Doubled(4, 2)
    net = bp.Sequential([layer], rng=0, dtype="float64")
    np.testing.assert_allclose(net.predict(X), 2 * (X @ layer.weight), rtol=1e-12)
    with pytest.raises(NotImplementedError, match="Doubled"):
        net.fit(X, X[:, :2], loss="mse", optimizer=bp.SGD(0.1))
    with pytest.raises(TypeError, match="built-in layers within Residual, got Doubled"):
        bp.Residual([Doubled(4, 4)])
    assert bp.Sequential([Shifted(4, 2)], rng=0)._plan is not None


@pytest.mark.parametrize("way", WAYS[:-1])
@pytest.mark.parametrize("shares", [False, True])
def test_l_bfgs_minimizes_the_same_in_a_fit_and_by_hand(way, shares):
    labels, ends = np.arange(ROWS) % 3, []
    for by_hand, each in (False, way), (True, way), (True, "compiled"):
        net, loss, optimizer = network(each, "softmax", 3), bp.CrossEntropy(), bp.LBFGS()
        if way == "a function" and shares:
            return  # of which a function says nothing
        loss.shares_penalties = shares
        loss = own(loss, each)
        if by_hand:
            look = lambda: net.value_and_gradient(X, labels, loss, sample_weight=WEIGHTS)  # noqa: B023, E731
            values = optimizer.minimize(net, look, 4)
        else:
            values = net.fit(X, labels, loss=loss, optimizer=optimizer, epochs=4, sample_weight=WEIGHTS)["loss"]
        ends.append([*values, *net.parameters])
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)
    assert ends[0] == pytest.approx(ends[2], rel=1e-6, abs=1e-8)


def test_a_schedule_that_overrides_its_call_is_asked():
    class Half(bp.schedules.Cosine):
        def __call__(self, step):
            return 0.001 * (step + 1)

    y, ends = X[:, :1], []
    for rate in Half(0.1, 100), lambda step: 0.001 * (step + 1):
        net = network("compiled", "identity", 1)
        net.fit(X, y, loss="mse", optimizer=bp.SGD(rate), epochs=2)
        ends.append(net.parameters.copy())
    assert np.array_equal(*ends)


def test_an_activation_of_ones_own_is_a_layer():
    class Cubic(bp.activations.ActivationFunction):
        def apply(self, y):
            y **= 3

    with pytest.raises(TypeError, match=r"expected one of backprop\.activations, got a Cubic"):
        bp.Dense(2, 2, Cubic("identity"))


# Optimizers.


class Momentum(bp.Optimizer):
    """Steps as SGD with momentum does, with its vector in the state."""

    def __init__(self, learning_rate, momentum=0.9):
        super().__init__(learning_rate)
        self.momentum = momentum

    def slots(self):
        return ("velocity",)

    def step(self, net):
        (velocity,) = self.bind(net)
        velocity *= self.momentum
        velocity += net.gradients
        net.parameters -= self.rates(1)[0] * velocity
        self.steps += 1


class Noisy(bp.Adam):
    """Adam, of gradients that are turned around first."""

    def step(self, net):
        net.gradients *= -1
        super().step(net)


class Bare(bp.Optimizer):
    """Forgets to call the constructor of what all have."""

    def __init__(self, rate=0.05):
        self.rate = rate

    def step(self, net):
        net.parameters[...] = net.parameters - self.rate * net.gradients


def trained(optimizer, by_hand=False, loss="mse", **how):
    net, y = network("compiled", "identity", 2), np.tanh(X[:, :2])
    if by_hand:
        for _ in range(3):
            for start in range(0, ROWS, 5):
                _, dy = bp.losses.get(loss)(net.forward(X[start : start + 5]), y[start : start + 5])
                net.backward(dy)
                optimizer.step(net)
        return net
    net.fit(X, y, loss=loss, optimizer=optimizer, epochs=3, batch_size=5, shuffle=False, **how)
    return net


OWN = {"Plain": lambda: Plain(0.05), "Momentum": lambda: Momentum(0.05), "Noisy": lambda: Noisy(0.01), "Bare": Bare}


@pytest.mark.parametrize("name", OWN)
def test_an_optimizer_of_ones_own_trains_as_by_hand(name):
    fitted, hand = OWN[name](), OWN[name]()
    net, other = trained(fitted), trained(hand, by_hand=True)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=1e-12)
    assert fitted.steps == hand.steps == net.steps == other.steps == 15
    assert repr(fitted)
    twin = {"Plain": "SGD(0.05)", "Momentum": "SGD(0.05, momentum=0.9)", "Bare": "SGD(0.05)"}.get(name)
    if twin:
        np.testing.assert_allclose(net.parameters, trained(optimizer_of(twin)).parameters, rtol=1e-9)
    else:  # uphill
        y = np.tanh(X[:, :2])
        assert (
            net.evaluate(X, y, loss="mse")["loss"]
            > network("compiled", "identity", 2).evaluate(X, y, loss="mse")["loss"]
        )


def test_an_optimizer_of_ones_own_follows_a_schedule_by_both_ways():
    rates = lambda step: 0.1 / (step + 1)  # noqa: E731
    np.testing.assert_allclose(
        trained(Plain(rates)).parameters, trained(Plain(rates), by_hand=True).parameters, rtol=1e-12
    )
    np.testing.assert_allclose(trained(Plain(rates)).parameters, trained(bp.SGD(rates)).parameters, rtol=1e-9)


def test_a_probability_stays_exact_under_an_optimizer_of_ones_own():
    labels = np.arange(ROWS) % 2
    ends = []
    for optimizer in bp.SGD(0.5), Plain(0.5):
        net = bp.Sequential([bp.Dense(4, 2, "softmax")], rng=0, dtype="float64")
        net.parameters *= 400  # where the probabilities are 0 and 1
        history = net.fit(X, labels, loss="cross_entropy", optimizer=optimizer, epochs=3, metrics=["accuracy"])
        ends.append([net.parameters.copy(), *map(np.array, history.values())])
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_batch_norm_keeps_its_statistics_under_an_optimizer_of_ones_own():
    ends = []
    for optimizer in bp.SGD(0.05), Plain(0.05):
        net = bp.Sequential([bp.Dense(4, 5), bp.BatchNorm(), bp.Dense(5, 1)], rng=0, dtype="float64")
        net.fit(X, X[:, :1], loss="mse", optimizer=optimizer, epochs=3, batch_size=11)
        ends.append([net.parameters.copy(), net.buffers.copy()])
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_step_put_into_an_optimizer_is_its_step():
    patched, asked = bp.SGD(0.05), []
    patched.step = lambda net: (asked.append(0), bp.SGD.step(patched, net))
    np.testing.assert_allclose(trained(patched).parameters, trained(bp.SGD(0.05)).parameters, rtol=1e-9)
    assert len(asked) == 15


def test_what_is_frozen_stays_under_an_optimizer_of_ones_own():
    net = network("compiled", "identity", 2)
    net.layers[0].trainable = False
    kept, moved = net.layers[0].weight.copy(), net.layers[1].weight.copy()
    net.fit(X, X[:, :2], loss="mse", optimizer=Plain(0.1))
    assert np.array_equal(net.layers[0].weight, kept) and not np.array_equal(net.layers[1].weight, moved)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_optimizer_of_ones_own_that_diverges(bad):
    class Bursts(Plain):
        def step(self, net):
            super().step(net)
            if self.steps == 7:
                net.parameters[3] = bad

    optimizer, net = Bursts(0.05), network("compiled", "identity", 2)
    with pytest.raises(bp.DivergedError) as error:
        net.fit(X, np.tanh(X[:, :2]), loss="mse", optimizer=optimizer, epochs=3, batch_size=5)
    assert (error.value.epoch, error.value.batch) == (1, 1) and np.isfinite(net.parameters).all()
    with pytest.raises(bp.DivergedError):
        trained(Plain(1e200))


def test_callbacks_under_an_optimizer_of_ones_own(tmp_path):
    y = np.tanh(X[:, :2])

    def fit(optimizer, **how):
        net = network("compiled", "identity", 2)
        return net, net.fit(X, y, loss="mse", optimizer=optimizer, batch_size=5, **how)

    path = tmp_path / "run.safetensors"
    fit(Momentum(0.05), epochs=2, callbacks=[bp.Checkpoint(path)])
    net, history = bp.resume(path, X, y, loss="mse", optimizer=Momentum(0.05), epochs=5, batch_size=5,
                             callbacks=[bp.Checkpoint(path)])  # fmt: skip
    whole, its = fit(Momentum(0.05), epochs=5)
    assert np.array_equal(net.parameters, whole.parameters) and history["loss"] == its["loss"]
    with pytest.raises(ValueError, match=r"name: expected one of .*got 'Momentum'"):
        bp.resume(path, X, y, loss="mse", batch_size=5, callbacks=[bp.Checkpoint(path)])

    class Aside(Plain):
        def step(self, net):
            self.velocity = net.gradients.copy()
            super().step(net)

    with pytest.raises(TypeError, match=r"vectors in its state.*\['velocity'\]"):
        fit(Aside(0.05), callbacks=[bp.Checkpoint(path)])
    optimizer = Plain(0.05)
    fit(optimizer, epochs=9, callbacks=[bp.ReduceOnPlateau("loss", patience=1, min_delta=1e3)])
    assert optimizer.learning_rate < 0.05
    for optimizer in Momentum(0.05), Aside(0.05):
        finder, before = bp.LearningRateFinder(1e-4, 1e2, 20), network("compiled", "identity", 2)
        net, _ = fit(optimizer, epochs=50, callbacks=[finder])
        assert np.array_equal(net.parameters, before.parameters) and finder.suggestion is not None
        assert (optimizer.steps, optimizer.learning_rate) == (0, 0.05) and "velocity" not in vars(optimizer)
        assert not any(vector.any() for vector in optimizer.state.values())


def test_what_an_optimizer_of_ones_own_does_not_know_is_refused():
    for word, value in {"clip_norm": 1.0, "clip_value": 0.1, "average": 0.9}.items():
        with pytest.raises(ValueError, match=f"{word}: expected None, got {value}: Plain.* does not support it"):
            trained(Plain(0.1, **{word: value}))
    averaging = bp.LBFGS()
    with pytest.raises(ValueError, match=r"average: expected None, got 0\.9: LBFGS"):
        averaging.average = 0.9
    trained(averaging)
    with pytest.raises(TypeError, match="that defines step"):
        trained(bp.Optimizer(0.1))
    optimizer = Noisy(0.01, average=0.9)
    net = trained(optimizer)
    assert not np.array_equal(optimizer.state["average"], net.parameters)


# In the estimators.


def test_an_estimator_takes_what_is_ones_own_as_the_built_in():
    sklearn = pytest.importorskip("backprop.sklearn", reason="scikit-learn is not installed")
    from sklearn.exceptions import ConvergenceWarning

    y, how = np.tanh(X[:, 0]), {"hidden_layer_sizes": (5,), "alpha": 2.0, "max_iter": 5, "random_state": 0, "tol": 0}

    def squares(y_hat, y, weights=None):
        return bp.MeanSquaredError()(y_hat, y, weights)

    found = []
    for words in {"loss": "mse"}, {"loss": squares}, {"loss": own(bp.MeanSquaredError(), "its __call__")}:
        with pytest.warns(ConvergenceWarning):
            mlp = sklearn.MLPRegressor(**how, **words).fit(X, y, sample_weight=WEIGHTS)
        found.append([*mlp.loss_curve_, *mlp.predict(X)])
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-9)
    with pytest.warns(ConvergenceWarning):
        ours, theirs = (
            sklearn.MLPRegressor(optimizer=optimizer, **how).fit(X, y) for optimizer in (Plain(0.1), bp.SGD(0.1))
        )
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
