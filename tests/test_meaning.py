"""What targets mean: every metric beside every kind of them, by hand and under every loss that takes them.

Each cell is scikit-learn's number, or a refusal; and what a row, a class or a plot is taken for does not hang on a shape.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import backprop as bp
from backprop import metrics

sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
ROWS, N = 60, 3
RNG = np.random.default_rng(7)
REFUSED = "refused"


@dataclass(frozen=True)
class Kind:
    """Targets in one form, what they say, and the losses and ends under which a network meets them."""

    y: np.ndarray
    #: Labels (rows,), yes or no (rows,) or (rows, n), or numbers (rows, n); of the scores, what they are.
    truth: np.ndarray
    means: str  # "classes", "yes", "labels", "numbers"
    n_out: int
    under: tuple  # of (loss, end)
    by_hand: bool = True  # whether a metric alone can know


def softmaxes():
    return [(loss, "softmax") for loss in ("cross_entropy", "focal")] + [
        (loss(from_logits=True), "identity") for loss in (bp.CrossEntropy, bp.Focal)
    ]


def sigmoids(n):
    several = {"multi_label": True} if n > 1 else {}
    return [
        ("binary_cross_entropy", "sigmoid"), (bp.BinaryCrossEntropy(from_logits=True), "identity"),
        (bp.Focal(**several), "sigmoid"), (bp.Focal(from_logits=True, **several), "identity"),
    ]  # fmt: skip


NUMBERS = [(loss, "identity") for loss in ("mse", "mae", "huber", "log_cosh", "quantile", "cosine_similarity")]
HINGES = [("hinge", "identity"), ("squared_hinge", "identity")]
SQUARES = [("mse", "sigmoid"), ("huber", "sigmoid"), ("mae", "sigmoid")]
SIGNED = [("mse", "tanh"), ("log_cosh", "tanh"), *HINGES]

LABELS, YES = RNG.integers(0, N, ROWS), RNG.integers(0, 2, ROWS)
PAIR = RNG.integers(0, 2, ROWS)
HOT = np.eye(N)[LABELS]
SEVERAL = RNG.integers(0, 2, (ROWS, N))
ONE_EACH = HOT.astype(int)
REAL = RNG.normal(size=(ROWS, N))
UNEVEN = RNG.dirichlet(np.ones(N) / 3, ROWS)

KINDS = {
    "labels": Kind(LABELS, LABELS, "classes", N, (*softmaxes(), *HINGES)),
    "labels in a column": Kind(LABELS[:, None], LABELS, "classes", N, (*softmaxes(), *HINGES)),
    "labels of two": Kind(PAIR, PAIR, "classes", 2, (*softmaxes(), *HINGES)),
    "one-hot": Kind(HOT, LABELS, "classes", N, (*softmaxes(), *HINGES, ("kl_divergence", "softmax"), *SQUARES)),
    "one-hot of two": Kind(np.eye(2)[PAIR], PAIR, "classes", 2, (*softmaxes(), *HINGES, ("kl_divergence", "softmax"))),
    "one-hot signs": Kind(2 * HOT - 1, LABELS, "classes", N, tuple(SIGNED)),
    "smoothed one-hot": Kind(0.9 * HOT + 0.1 / N, LABELS, "classes", N, (*softmaxes(), ("kl_divergence", "softmax"))),
    "distributions": Kind(UNEVEN, UNEVEN.argmax(axis=1), "classes", N, (*softmaxes(), ("kl_divergence", "softmax"))),
    "yes or no": Kind(YES, YES, "yes", 1, (*sigmoids(1), *HINGES, *SQUARES)),
    "yes or no in a column": Kind(YES[:, None], YES, "yes", 1, (*sigmoids(1), *HINGES, *SQUARES)),
    "booleans": Kind(YES > 0, YES, "yes", 1, (*sigmoids(1), *HINGES, *SQUARES)),
    "signs": Kind(2 * YES - 1, YES, "yes", 1, tuple(SIGNED), by_hand=False),
    "signs in a column": Kind(2.0 * YES[:, None] - 1, YES, "yes", 1, tuple(SIGNED), by_hand=False),
    "smoothed yes or no": Kind(0.8 * YES + 0.1, YES, "yes", 1, tuple(sigmoids(1)), by_hand=False),
    "smoothed in a column": Kind(0.8 * YES[:, None] + 0.1, YES, "yes", 1, tuple(sigmoids(1)), by_hand=False),
    "several labels": Kind(SEVERAL, SEVERAL, "labels", N, (*sigmoids(N), *HINGES, *SQUARES)),
    "several labels of two": Kind(SEVERAL[:, :2], SEVERAL[:, :2], "labels", 2, (*sigmoids(2), *HINGES, *SQUARES)),
    "several labels, one in each row": Kind(ONE_EACH, ONE_EACH, "labels", N, tuple(sigmoids(N)), by_hand=False),
    "several labels in signs": Kind(2 * SEVERAL - 1, SEVERAL, "labels", N, tuple(SIGNED), by_hand=False),
    "several smoothed labels": Kind(0.8 * SEVERAL + 0.1, SEVERAL, "labels", N, tuple(sigmoids(N)), by_hand=False),
    "numbers": Kind(REAL, REAL, "numbers", N, tuple(NUMBERS)),
    "one number": Kind(REAL[:, 0], REAL[:, :1], "numbers", 1, tuple(NUMBERS)),
    "one number in a column": Kind(REAL[:, :1], REAL[:, :1], "numbers", 1, tuple(NUMBERS)),
    "counts": Kind(LABELS * 2, LABELS[:, None] * 2, "numbers", 1, (("poisson", "exp"),)),
}  # fmt: skip
OF_CLASSES = ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "top_2"]
OF_NUMBERS = {
    "mse": "mean_squared_error", "rmse": "root_mean_squared_error", "mae": "mean_absolute_error", "r2": "r2_score",
    "explained_variance": "explained_variance_score",
}  # fmt: skip


def average(means, n):
    return {"average": "binary" if n <= 2 and means != "labels" else "macro", "zero_division": 0}


def theirs(name, kind, scores, cut, probabilities):
    """scikit-learn's number for scores (rows, n) beside these targets, or REFUSED."""
    if name in OF_NUMBERS:
        if kind.y.shape not in (scores.shape, (len(scores),)) or (kind.y.ndim == 1 and scores.shape[1] > 1):
            return REFUSED
        return getattr(sk, OF_NUMBERS[name])(kind.y.astype(float).reshape(scores.shape), scores)
    if kind.means == "numbers" or (name == "log_loss" and not probabilities):
        return REFUSED
    truth, n = kind.truth, scores.shape[1]
    said = scores.argmax(axis=1) if kind.means == "classes" else scores > cut
    if name == "accuracy":
        return sk.accuracy_score(truth, said.reshape(truth.shape))
    if name == "top_2":
        if kind.means != "classes":
            return REFUSED
        return sk.top_k_accuracy_score(truth, scores, k=2, labels=range(n)) if n > 2 else 1.0
    if name == "log_loss":
        return their_log_loss(kind, scores)
    if name == "roc_auc":
        if kind.means == "classes" and n > 2:
            return np.mean([sk.roc_auc_score(truth == c, scores[:, c]) for c in range(n)])
        return sk.roc_auc_score(truth, scores[:, -1] if kind.means == "classes" else scores.reshape(truth.shape))
    return getattr(sk, f"{name}_score")(truth, said.reshape(truth.shape), **average(kind.means, n))


def their_log_loss(kind, p):
    """That of labels is scikit-learn's; targets between are the mean of what 0 and 1 would give."""
    if kind.means == "classes":
        if kind.y.shape == p.shape:
            return np.mean(-(np.maximum(kind.y, 0) * np.log(p)).sum(axis=1))
        return sk.log_loss(kind.truth, p, labels=range(p.shape[1]))
    y = np.maximum(kind.y.reshape(p.shape), 0).astype(float)
    if np.isin(y, (0, 1)).all():
        return np.mean([sk.log_loss(y[:, c], p[:, c], labels=(0, 1)) for c in range(p.shape[1])])
    return np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))


def agrees(measure, expected):
    if isinstance(expected, str):
        with pytest.raises((ValueError, TypeError)):
            measure()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert measure() == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def scores_for(kind):
    """Scores that are probabilities, with some right and some wrong."""
    rng = np.random.default_rng(1)
    if kind.means == "numbers":
        return rng.normal(size=(ROWS, kind.n_out))
    if kind.means == "classes":
        return (
            rng.dirichlet(np.ones(kind.n_out), ROWS) * 0.5 + np.eye(kind.n_out)[kind.truth] * 0.25 + 0.25 / kind.n_out
        )
    return (rng.random((ROWS, kind.n_out)) + 0.3 * kind.truth.reshape(ROWS, -1)) / 1.3


@pytest.mark.parametrize("name", [*OF_CLASSES, *OF_NUMBERS])
@pytest.mark.parametrize("which", KINDS)
def test_every_metric_of_every_kind_by_hand(which, name):
    kind, metric = KINDS[which], metrics.get([name])[name]
    scores = scores_for(kind)
    expected = theirs(name, kind, scores, 0.5, probabilities=True)
    if kind.by_hand or name in OF_NUMBERS or (name, kind.means) == ("log_loss", "yes"):
        agrees(lambda: metric(scores, kind.y), expected)
    elif name != "top_2":
        signs, how = kind.y.min() < 0, {"multi_label": True}
        if signs and name not in ("log_loss", "roc_auc"):
            with pytest.raises(ValueError, match="threshold=0"):
                metric(scores, kind.y, **how)
            how["threshold"] = 0.5
        if signs:
            how["multi_label"] = None
        agrees(lambda: metric(scores, kind.y, **how), expected)
    right = {"classes": np.eye(kind.n_out)[kind.truth] if kind.means == "classes" else None, "numbers": kind.truth}
    perfect = right.get(kind.means, kind.truth.reshape(ROWS, -1))
    if not isinstance(expected, str) and kind.by_hand and name in ("accuracy", "precision", "recall", "f1", "roc_auc"):
        assert metric(perfect, kind.y) == 1.0


#: The forms of targets that are met by every loss. Others are met by one of the losses that take them alike, and by all
#: among the slow tests.
BY_ALL = ("labels", "one-hot", "yes or no", "several labels", "signs", "numbers")
ALIKE = ("focal", "squared_hinge", "huber", "mae", "log_cosh", "cosine_similarity")
UNDER = [
    pytest.param(
        which, i, id=f"{which}-{kind.under[i]}",
        marks=pytest.mark.slow if which not in BY_ALL and kind.under[i][0] in ALIKE else (),
    )
    for which, kind in KINDS.items() for i in range(len(kind.under))
]  # fmt: skip


@pytest.mark.parametrize(("which", "i"), UNDER)
def test_every_metric_of_every_kind_under_every_loss(which, i):
    kind = KINDS[which]
    loss, end = kind.under[i]
    x = np.random.default_rng(2).normal(size=(ROWS, 4)) + 0.5 * kind.truth.reshape(ROWS, -1)[:, :1]
    net = bp.Sequential([bp.Dense(4, kind.n_out, end)], rng=3, dtype="float64")
    scores, logits = net.predict(x), getattr(loss, "from_logits", False)
    if logits:
        scores = (bp.activations.softmax if kind.means == "classes" else bp.activations.sigmoid)(scores)
    cut = 0.0 if loss in ("hinge", "squared_hinge") or kind.y.min() < 0 else 0.5
    probabilities = logits or end == "softmax" or (end == "sigmoid" and kind.means != "classes")  # rows that sum to 1
    names = [*OF_CLASSES, *OF_NUMBERS]
    expected = {name: theirs(name, kind, scores, cut, probabilities) for name in names}
    resting = {"loss": loss, "optimizer": bp.SGD(0.0)}
    for name in [name for name in names if isinstance(expected[name], str)]:
        del expected[name]
        with pytest.raises(ValueError, match="expected"):
            net.evaluate(x, kind.y, loss=loss, metrics=[name])
        with pytest.raises(ValueError, match="expected"):
            net.fit(x, kind.y, metrics=[name], **resting)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = net.evaluate(x, kind.y, loss=loss, metrics=list(expected))
    del found["loss"]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    resting |= {"metrics": list(expected), "validation_data": (x, kind.y)}
    batches = [(x[k : k + 7], kind.y[k : k + 7]) for k in range(0, ROWS, 7)]
    for history in net.fit(x, kind.y, batch_size=7, **resting), net.fit(batches, **resting):
        for before in "", "val_":
            assert {name: history[before + name][0] for name in expected} == pytest.approx(found, rel=1e-9, abs=1e-12)


def test_a_fit_decides_once_what_targets_are():
    x = np.random.default_rng(0).normal(size=(30, 2))
    several = np.r_[np.eye(2)[np.arange(20) % 2], np.ones((10, 2))][::-1]
    net = bp.Sequential([bp.Dense(2, 2, "sigmoid")], rng=0, dtype="float64")
    history = net.fit(
        x, several, loss="mse", optimizer=bp.SGD(0.0), metrics=["accuracy"], validation_split=0.5, shuffle=False
    )
    held_out = net.predict(x[15:]) > 0.5  # in which each row has a single 1
    assert history["val_accuracy"] == [np.mean((held_out == several[15:]).all(axis=1))]
    y = np.r_[np.tile([-1, 1], 10), np.ones(10)]
    net = bp.Sequential([bp.Dense(2, 1, "tanh")], rng=0, dtype="float64")
    history = net.fit(x, y, loss="mse", optimizer=bp.SGD(0.0), metrics=["accuracy"], validation_split=1 / 3)
    assert history["val_accuracy"] == [np.mean(net.predict(x[20:]) > 0)]  # in which all are 1


def test_scores_that_are_not_numbers_are_no_answer():
    for name in (*OF_CLASSES, *OF_NUMBERS):
        metric, n = metrics.get([name])[name], 3 if name == "top_2" else 1
        y_hat = np.full((4, n), np.nan)
        if name in OF_NUMBERS:
            assert np.isnan(metric(y_hat, np.arange(4.0))) and np.isnan(metric(y_hat, np.ones(4)))
        else:
            for bad in np.nan, np.inf:
                with pytest.raises(ValueError, match="y_hat: expected"):
                    metric(np.full((4, n), bad), [0, 1, 1, 0])
    net = bp.Sequential([bp.Dense(1, 1)], rng=0)
    net.parameters = [3e38, 3e38]
    score = net.evaluate([[9.0], [8.0]], [0, 1], loss="mse", metrics=["accuracy", "roc_auc", "mae"])
    assert np.isnan(score["accuracy"]) and np.isnan(score["roc_auc"]) and score["mae"] == np.inf


@pytest.mark.parametrize(
    ("y_hat", "y", "how", "says"),
    [
        ([[0.1], [0.9]], [0.05, 0.95], {}, "y: expected labels 0 to 1, whole numbers"),
        ([[0.1], [0.9]], [-1, 1], {}, "threshold=0"),
        ([[0.1, 0.8], [0.9, 0.2]], [[-1, 1], [1, 1]], {}, "threshold=0"),
        ([[0.1, 0.8], [0.9, 0.2]], [[0.4, 1], [1, 1]], {}, "y: expected rows that sum to 1"),
        ([[0.1, 0.8], [0.9, 0.2]], [[2, 1], [1, 1]], {}, "y: expected numbers from 0 to 1"),
        ([[0.1, 0.8], [0.9, 0.2]], [[1, 1], [1, 0]], {"multi_label": False}, "y: expected rows that sum to 1"),
        ([[0.1, 0.8], [0.9, 0.2]], [1, 0], {"multi_label": True}, "multi-label targets"),
        ([[0.1, 0.8], [0.9, 0.2]], [1, np.nan], {}, "y: expected finite"),
        ([[0.1], [0.9]], [1, 2], {"multi_label": True}, "from 0 to 1"),
    ],
)
def test_what_targets_cannot_be(y_hat, y, how, says):
    for name in "accuracy", "precision", "recall", "f1":
        with pytest.raises(ValueError, match=says):
            getattr(metrics, name)(y_hat, y, **how)


def test_what_a_threshold_and_several_labels_are():
    scores = [[-0.2], [0.3], [1.4]]
    assert metrics.accuracy(scores, [-1, 1, 1], threshold=0) == metrics.accuracy(scores, [0, 1, 1], threshold=0) == 1
    assert metrics.recall(scores, [0, 1, 1], threshold=1.0) == 0.5
    for word, value in (("multi_label", 1), ("threshold", "0")):
        with pytest.raises(TypeError, match=f"{word}: expected"):
            metrics.accuracy(scores, [0, 1, 1], **{word: value})
    several, always = [[1, 0, 1], [0, 0, 0]], np.ones((2, 3))
    assert metrics.log_loss(always, several) == pytest.approx(4 / 6 * -np.log(np.finfo(float).eps), rel=1e-12)
    with pytest.raises(ValueError, match="top_2: expected one class a row, got multi-label targets"):
        metrics.top_k(2)(always, several)
    with pytest.raises(ValueError, match="y_hat: expected rows that sum to 1"):
        metrics.log_loss([[0.9, 0.9]], [1])


def test_numbers_beside_numbers_have_one_shape():
    a, b = RNG.normal(size=(2, 12))
    for name in OF_NUMBERS:
        metric = getattr(metrics, name)
        one = metric(a[:, None], b[:, None])
        assert metric(a, b) == metric(a, b[:, None]) == metric(a[:, None], b) == one
        for shapes in ((6, 2), (12,)), ((3, 2, 2), (3, 4)), ((12, 1), (1, 12)):
            with pytest.raises(ValueError, match="y: expected targets of shape"):
                metric(a.reshape(shapes[0]), b.reshape(shapes[1]))


# Metrics of one's own.


@pytest.mark.parametrize(
    ("loss", "end", "n_out", "y", "shape"),
    [
        ("mse", "identity", 1, REAL[:, 0], (ROWS, 1)), ("mse", "identity", 1, REAL[:, :1], (ROWS, 1)),
        ("mse", "identity", N, REAL, (ROWS, N)), ("binary_cross_entropy", "sigmoid", 1, YES, (ROWS, 1)),
        ("hinge", "identity", 1, 2 * YES - 1, (ROWS, 1)), ("hinge", "identity", N, LABELS[:, None], (ROWS,)),
        ("cross_entropy", "softmax", N, LABELS, (ROWS,)), ("cross_entropy", "softmax", N, LABELS[:, None], (ROWS,)),
        ("cross_entropy", "softmax", N, HOT, (ROWS, N)), ("gaussian_nll", "identity", 2, REAL[:, 0], (ROWS, 1)),
        (bp.Quantile([0.1, 0.9]), "identity", 2, REAL[:, 0], (ROWS, 1)),
        (lambda y_hat, y: (1.0, 0 * y_hat), "identity", 1, REAL[:, 0], (ROWS, 1)),
        (lambda y_hat, y: (1.0, 0 * y_hat), "identity", 2, REAL[:, :1], (ROWS, 1)),
    ],
)  # fmt: skip
def test_a_metric_of_ones_own_is_given_targets_in_the_shape_of_the_outputs(loss, end, n_out, y, shape):
    seen = []

    def error(y_hat, y):
        seen.append((y_hat.shape, y.shape))
        return float(np.mean((y_hat - y) ** 2)) if y_hat.shape == y.shape else 0.0

    x = RNG.normal(size=(ROWS, 4))
    net = bp.Sequential([bp.Dense(4, n_out, end)], rng=0, dtype="float64")
    score = net.evaluate(x, y, loss=loss, metrics=[error])
    net.fit(x, y, loss=loss, optimizer=bp.SGD(0.0), metrics=[error], validation_data=(x, y))
    net.fit([(x, y)], loss=loss, optimizer=bp.SGD(0.0), metrics=[error])
    assert seen == [((ROWS, n_out), shape)] * 4
    if y.shape in ((ROWS,), (ROWS, n_out)) and shape == (ROWS, n_out):
        assert score["error"] == pytest.approx(np.mean((net.predict(x) - y.reshape(shape)) ** 2))


# Losses and weights by class.


@pytest.mark.parametrize(
    ("loss", "n_out", "y", "says"),
    [
        ("mse", N, LABELS, "expected targets of shape"), ("mse", N, LABELS[:, None], "expected targets of shape"),
        ("kl_divergence", N, LABELS, "expected targets of shape"), ("binary_cross_entropy", N, LABELS, "of shape"),
        ("cross_entropy", N, SEVERAL, "several labels a row"), ("focal", N, SEVERAL, "several labels a row"),
        ("cross_entropy", N, 2 * HOT - 1, "from 0 to 1"), ("binary_cross_entropy", 1, 2 * YES - 1, "from 0 to 1"),
        ("hinge", 1, 0.8 * YES + 0.1, "-1 and 1"), ("hinge", 2, 2 * YES - 1, "labels 0 to 1"),
        ("hinge", N, UNEVEN, "-1 and 1"), ("mse", 1, HOT, "expected targets of shape"),
    ],
)  # fmt: skip
def test_targets_that_a_loss_does_not_take_are_refused(loss, n_out, y, says):
    with pytest.raises(ValueError, match=says):
        bp.losses.get(loss)(np.full((ROWS, n_out), 0.5), y)


@pytest.mark.parametrize(
    ("loss", "end", "n_out", "y"),
    [
        ("binary_cross_entropy", "sigmoid", N, SEVERAL), (bp.Focal(multi_label=True), "sigmoid", N, SEVERAL),
        ("hinge", "identity", N, 2 * SEVERAL - 1),
        ("mse", "sigmoid", N, SEVERAL), ("binary_cross_entropy", "sigmoid", 1, 0.8 * YES + 0.1),
        ("cross_entropy", "softmax", N, 0.9 * HOT + 0.1 / N), ("kl_divergence", "softmax", N, UNEVEN),
        ("gaussian_nll", "identity", 2, LABELS[:, None]), ("mse", "identity", 1, REAL[:, 0]),
    ],
)  # fmt: skip
def test_weights_by_class_want_classes(loss, end, n_out, y):
    net = bp.Sequential([bp.Dense(4, n_out, end)], rng=0)
    with pytest.raises(ValueError, match=r"class_weight: expected targets that are classes|expected labels"):
        net.evaluate(np.zeros((ROWS, 4)), y, loss=loss, class_weight=[1.0, 2.0, 3.0][: max(2, n_out)])


# What is checked as a whole is not asked of a part.


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("how", ["sample_weight", "class_weight", "both"])
def test_a_batch_may_count_for_nothing_in_arrays_and_in_a_list(how, own):
    x, labels, weights = (
        np.random.default_rng(0).normal(size=(12, 4)),
        np.repeat([0, 1, 2], 4),
        np.repeat([1.0, 0, 2], 4),
    )
    arguments = {"class_weight": {1: 0.0, 2: 2.0}} if how != "sample_weight" else {}
    given = (x, labels, weights) if how != "class_weight" else (x, labels)
    loss = (lambda *data: bp.CrossEntropy()(*data)) if own else "cross_entropy"
    histories, ends = [], []
    for in_batches in False, True:
        net = bp.Sequential([bp.Dense(4, 3, "softmax")], rng=0, dtype="float64")
        fit = {"loss": loss, "optimizer": bp.SGD(0.1), "metrics": ["accuracy"], "epochs": 3, **arguments}
        if in_batches:
            history = net.fit([[part[k : k + 4] for part in given] for k in (0, 4, 8)], **fit)
        else:
            fit |= {"sample_weight": given[2]} if len(given) == 3 else {}
            history = net.fit(x, labels, batch_size=4, shuffle=False, **fit)
        histories.append(dict(history))
        ends.append(net.parameters.copy())
    for name, values in histories[0].items():
        assert values == pytest.approx(histories[1][name], rel=1e-12)
    np.testing.assert_allclose(*ends, rtol=1e-12)


def test_batches_may_have_targets_in_rows_and_in_columns():
    net = bp.Sequential([bp.Dense(4, 1)], rng=0, dtype="float64")
    x, y = RNG.normal(size=(6, 4)), np.arange(6.0)
    batches = [(x[:3], y[:3]), (x[3:], y[3:, None])]
    history = net.fit(batches, loss="mse", optimizer=bp.SGD(0.0), metrics=["mae"])
    assert history["mae"][0] == pytest.approx(net.evaluate(x, y, loss="mse", metrics=["mae"])["mae"], rel=1e-12)


@pytest.mark.parametrize("loss", ["mse", lambda y_hat, y, w: (1.0, 0 * y_hat)])
def test_no_batch_that_counts_is_an_error(loss):
    net = bp.Sequential([bp.Dense(4, 1)], rng=0)
    batches = [(np.ones((2, 4)), [1.0, 2.0], [0.0, 0.0])] * 2
    for callbacks in [], [bp.LearningRateFinder()]:
        with pytest.raises(ValueError, match="sample_weight: expected a positive weight in some batch, got only zeros"):
            net.fit(batches, loss=loss, optimizer=bp.SGD(0.1), callbacks=callbacks)
    finder = bp.LearningRateFinder(steps=5)
    batches = [(np.ones((2, 4)), [1.0, 2.0], [0.0, w]) for w in (0.0, 1.0)]
    net.fit(batches, loss=loss, optimizer=bp.SGD(0.1), callbacks=[finder])
    assert np.isfinite(finder.losses).all() and len(finder.losses) == 5
