"""What a row counts for: sample weights, and weights by class."""

import numpy as np
import pytest
from instances import ACTIVATIONS, LOSSES
from runs import classifier, same, small, table

import backprop as bp


def after(x, y, loss="mse", net=None, **how):
    net = net or small("float64", dropout=0)
    history = net.fit(x, y, loss=loss, optimizer=bp.SGD(0.05), epochs=3, batch_size=None, shuffle=False, **how)
    return net.parameters, history["loss"]


def near(*runs):
    for run in runs[1:]:
        for a, b in zip(runs[0], run, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_a_weight_is_how_often_a_row_counts():
    x, y, _ = table(9, "float64")
    for reduction in "sum", "mean":
        loss = bp.MeanSquaredError(reduction=reduction)
        counts = np.array([1, 2, 0, 1, 3, 1, 0, 1, 2])
        near(
            after(x, y, loss, sample_weight=counts),
            after(np.repeat(x, counts, axis=0), np.repeat(y, counts, axis=0), loss),
        )
        near(after(x, y, loss), after(x, y, loss, sample_weight=np.ones(9)))
    near(after(x, y, sample_weight=counts), after(x, y, sample_weight=counts * 0.37))  # a mean does not see the scale


@pytest.mark.parametrize("instance", LOSSES, ids=lambda loss: loss.name)
def test_a_weighted_mean(instance):
    rng = np.random.default_rng(4)
    end = instance.ends[-1]
    net = bp.Sequential([bp.Dense(4, instance.n_out, ACTIVATIONS[end])], rng=3, dtype="float64")
    x, y, weights = table(9, "float64")[0], instance.data(9, rng), rng.random(9)
    rows, _ = instance.make("none")(net.predict(x), y)
    expected = (weights * rows).sum() / weights.sum(), (weights * rows).sum()
    for reduction, value in zip(("mean", "sum"), expected, strict=True):
        loss = instance.make(reduction)
        assert net.evaluate(x, y, loss=loss, sample_weight=weights)["loss"] == pytest.approx(value, rel=1e-12)
        assert net.value_and_gradient(x, y, loss, sample_weight=weights)[0] == pytest.approx(value, rel=1e-12)
        assert loss(net.predict(x), y, weights)[0] == pytest.approx(value, rel=1e-12)
        history = net.fit(x, y, loss=loss, optimizer=bp.SGD(0.0), batch_size=4, sample_weight=weights)
        assert history["loss"][0] == pytest.approx(value, rel=1e-12)


def test_a_batch_of_weight_zero_moves_nothing():
    x, y, weights = table(12, "float64")
    weights[4:8] = 0
    net, other = small("float64", dropout=0), small("float64", dropout=0)
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), batch_size=4, shuffle=False, sample_weight=weights)
    kept = np.r_[0:4, 8:12]
    other.fit(x[kept], y[kept], loss="mse", optimizer=bp.SGD(0.1), batch_size=4, shuffle=False,
              sample_weight=weights[kept])  # fmt: skip
    assert np.array_equal(net.parameters, other.parameters)


def test_class_weights_leave_held_out_rows_alone():
    x, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    net = bp.Sequential([bp.Dense(3, 3, "softmax")], rng=0)
    history = net.fit(
        x, labels, loss="cross_entropy", optimizer=bp.SGD(0.1), validation_split=0.25, class_weight={0: 9.0}
    )
    assert history["val_loss"] == [net.evaluate(x[30:], labels[30:], loss="cross_entropy")["loss"]]


def test_class_weights_are_sample_weights():
    x, _, own = table(30, "float64")
    labels = np.random.default_rng(1).integers(0, 3, 30) ** 2 // 2  # 0, 0, 2: class 1 has no rows
    labels[3] = 1
    by_class = np.array([0.5, 1.0, 3.0])
    hot = np.eye(3)[labels]
    expected = after(x, labels, "cross_entropy", classifier(), sample_weight=by_class[labels])
    for given in by_class, by_class.tolist(), dict(enumerate(by_class)), {0: 0.5, 2: 3.0}:
        for y in labels, hot, labels.tolist():
            assert same(expected, after(x, y, "cross_entropy", classifier(), class_weight=given))
    assert same(
        after(x, labels, "cross_entropy", classifier(), class_weight=by_class, sample_weight=own),
        after(x, labels, "cross_entropy", classifier(), sample_weight=by_class[labels] * own),
    )
    near(
        after(x, labels > 0, "binary_cross_entropy", classifier("sigmoid", 1), class_weight={1: 2.5}),
        after(
            x, labels > 0, "binary_cross_entropy", classifier("sigmoid", 1), sample_weight=np.where(labels > 0, 2.5, 1)
        ),
    )


def test_balanced_is_scikit_learns():
    weights = pytest.importorskip("sklearn.utils.class_weight", reason="scikit-learn is not installed")
    x = table(30, "float64")[0]
    labels = np.random.default_rng(1).integers(0, 3, 30)
    labels[labels == 1] = 0
    labels[3] = 1
    near(
        after(x, labels, "cross_entropy", classifier(), class_weight="balanced"),
        after(
            x, labels, "cross_entropy", classifier(), sample_weight=weights.compute_sample_weight("balanced", labels)
        ),
    )


@pytest.mark.parametrize("hidden", [3, 40])
def test_penalties_may_be_shared_among_the_rows(hidden):
    x, y, _ = table(20)
    weights, loss = np.linspace(0.5, 2, 20), bp.MeanSquaredError()
    loss.shares_penalties = True
    net, plain = (
        bp.Sequential([bp.Dense(4, hidden, "tanh", l1=l1, l2=l2), bp.Dense(hidden, 3)], rng=0, dtype="float64")
        for l1, l2 in ((0.3, 0.7), (0, 0))
    )
    value, gradient = net.value_and_gradient(x, y, loss, sample_weight=weights)
    expected, other = plain.value_and_gradient(x, y, "mse", sample_weight=weights)
    weight = net.layers[0].weight
    assert value == pytest.approx(expected + net.penalty() / weights.sum(), rel=1e-14)
    other[: weight.size] += ((0.3 * np.sign(weight) + 1.4 * weight) / weights.sum()).ravel()
    np.testing.assert_allclose(gradient, other, rtol=1e-13)
    net.fit(x, y, loss=loss, optimizer=bp.SGD(0.1), batch_size=None, sample_weight=weights, threads=3)
    np.testing.assert_allclose(net.parameters, plain.parameters - 0.1 * gradient, rtol=1e-13)
