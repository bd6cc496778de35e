"""Metrics: scikit-learn's numbers, ties and classes without rows included."""

import inspect
import json
import pickle
import warnings

import numpy as np
import pytest

import backprop as bp
from backprop import metrics

CLASSES = {"precision": "precision_score", "recall": "recall_score", "f1": "f1_score"}


def sklearns(name, *args, **how):
    """A number of scikit-learn's, which warns where it is undefined."""
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(sklearn, name)(*args, **how)


def close(ours, theirs):
    assert type(ours) is float
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


def forms(labels, n):
    return [labels, labels[:, None], labels.tolist(), labels.astype(np.float32)] + (
        [np.eye(n)[labels]] if n > 1 else []
    )


def problems(n):
    """Scores with many ties, and labels; of all classes, of some, of one."""
    rng = np.random.default_rng(n)
    for rows, present in ((60, n), (60, max(n, 2) - 1), (9, 1), (1, 1)):
        scores = rng.dirichlet(np.ones(max(n, 2)), rows).round(1)
        scores = scores[:, 1:] if n == 1 else scores / scores.sum(axis=1, keepdims=True)
        yield scores, rng.integers(0, max(present, 2 if present == n else 1), rows)
    yield np.eye(max(n, 2))[:, -n:], np.arange(max(n, 2))  # all right
    yield np.eye(max(n, 2))[::-1, -n:], np.arange(max(n, 2))
    yield np.eye(max(n, 2))[np.maximum(np.arange(max(n, 2)), 1), -n:], np.arange(max(n, 2))  # class 0 never said


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("name", CLASSES)
def test_precision_recall_and_f1(name, n):
    for scores, labels in problems(n):
        said = scores[:, 0] > 0.5 if n == 1 else scores.argmax(axis=1)
        how = {"average": "binary" if n <= 2 else "macro", "zero_division": 0}
        for y in forms(labels, n):
            close(getattr(metrics, name)(scores, y), sklearns(CLASSES[name], labels, said, **how))


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_roc_auc(n):
    for scores, labels in problems(n):
        theirs = sklearns("roc_auc_score", labels, scores, multi_class="ovr", labels=range(n)) if n > 2 else sklearns(
            "roc_auc_score", labels, scores[:, -1])  # fmt: skip
        for y in forms(labels, n):
            close(metrics.roc_auc(scores, y), theirs)
    assert metrics.roc_auc(np.full((6, 1), 0.3), np.arange(6) % 2) == 0.5  # all tied
    assert metrics.roc_auc([[-5.0], [3.0], [9.0]], [0, 1, 1]) == 1.0  # any scores will do
    assert np.isnan(metrics.roc_auc([[0.1], [0.2]], [1, 1]))


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_log_loss(n, dtype):
    for scores, labels in problems(n):  # zeros and ones among them
        p = scores.astype(dtype)
        both = np.hstack([1 - p, p]) if n == 1 else p
        for y in forms(labels, n):
            theirs = sklearns("log_loss", labels, both, labels=range(max(n, 2)))
            np.testing.assert_allclose(metrics.log_loss(p, y), theirs, rtol=1e-12 if dtype == "float64" else 2e-5)
    close(metrics.log_loss([[0.2]], [0.75]), -0.75 * np.log(0.2) - 0.25 * np.log(0.8))
    close(metrics.log_loss([[0.2, 0.3, 0.5]], [[0.5, 0.5, 0]]), -0.5 * np.log(0.2 * 0.3))


def test_top_k():
    for n in 3, 7:
        for scores, labels in problems(n):
            for k in 1, 2, n, n + 3:
                theirs = sklearns("top_k_accuracy_score", labels, scores, k=k, labels=range(n))
                for y in forms(labels, n):
                    close(metrics.top_k(k)(scores, y), theirs)
    assert metrics.top_k(2).__name__ == "top_2"
    assert repr(pickle.loads(pickle.dumps(metrics.top_k(2)))) == "metrics.top_k(2)"


NUMBERS = {
    "mse": "mean_squared_error", "rmse": "root_mean_squared_error", "mae": "mean_absolute_error", "r2": "r2_score",
    "explained_variance": "explained_variance_score",
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("shape", [(50, 1), (50, 3), (2, 2)])
def test_numbers(name, shape):
    y_hat, y = np.random.default_rng(5).normal(size=(2, *shape))
    constant = np.where(np.arange(shape[1]) == 0, 2.5, y)
    for got, wanted in (
        (y_hat, y), (y, y), (y + 1, y), (y_hat, constant), (constant, constant), (constant + 1, constant),
        (y_hat + 1e6, y + 1e6),
    ):  # fmt: skip
        close(getattr(metrics, name)(got, wanted), sklearns(NUMBERS[name], wanted, got))
    assert getattr(metrics, name)(y_hat[:, :1], y[:, 0]) == getattr(metrics, name)(y_hat[:, :1], y[:, :1])


@pytest.mark.parametrize(
    ("end", "loss"), [("softmax", "cross_entropy"), ("identity", bp.CrossEntropy(from_logits=True))]
)
def test_by_name_in_fit_and_evaluate(end, loss):
    names = ["accuracy", "top_2", "precision", "recall", "f1", "roc_auc", "log_loss", metrics.top_k(3)]
    x = np.random.default_rng(0).normal(size=(60, 4))
    labels = np.arange(60) % 4
    net = bp.Sequential([bp.Dense(4, 4, end)], rng=0, dtype="float64")
    history = net.fit(x, labels, loss=loss, optimizer=bp.SGD(0.0), metrics=names, validation_data=(x, labels))
    score = net.evaluate(x, labels, loss=loss, metrics=names)
    assert list(score) == ["loss", *names[:-1], "top_3"]
    assert {name: values[0] for name, values in history.items() if "val_" not in name} == pytest.approx(
        score, rel=1e-12
    )
    assert score["log_loss"] == pytest.approx(score["loss"], rel=1e-12)
    json.dumps(score)


def test_every_metric_is_known_to_be_better_low_or_high():
    assert {name for name in metrics.__all__ if name != "top_k"} == set(metrics._TABLE)
    for name in metrics._TABLE:
        perfect, poor = (getattr(metrics, name)(p, [[0.0], [1.0]]) for p in ([[0.0], [1.0]], [[1.0], [0.3]]))
        assert (metrics.best(name) == "max") == (perfect > poor), name
        assert metrics.best(f"val_{name}") == metrics.best(name)
    assert (metrics.best("top_5"), metrics.best("loss"), metrics.best("val_loss")) == ("max", "min", "min")
    with pytest.raises(ValueError, match='mode: expected "min" or "max" for \'mine\''):
        metrics.best("mine")


def test_metrics_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(5)
    labels, scores = rng.integers(0, 4, 50), rng.dirichlet(np.ones(4), 50)
    accuracy = sklearn.accuracy_score(labels, scores.argmax(axis=1))
    for y in labels, labels[:, None], np.eye(4)[labels], labels.tolist():
        assert bp.metrics.accuracy(scores, y) == accuracy
    binary, p = rng.integers(0, 2, 50), rng.random((50, 1))
    for y in binary, binary[:, None], binary.astype(float):
        assert bp.metrics.accuracy(p, y) == sklearn.accuracy_score(binary, p[:, 0] > 0.5)
    for shape in (50, 3), (50, 1):
        y_hat, y = rng.normal(size=(2, *shape))
        y[:, 0] = 2.5
        for constant in y_hat, np.where(np.arange(shape[1]) == 0, y, y_hat):
            for ours, theirs in (("mse", "mean_squared_error"), ("mae", "mean_absolute_error"), ("r2", "r2_score")):
                expected = getattr(sklearn, theirs)(y, constant)
                assert getattr(bp.metrics, ours)(constant, y) == pytest.approx(expected, rel=1e-12)
        assert bp.metrics.mse(y_hat[:, :1], y[:, 0]) == bp.metrics.mse(y_hat[:, :1], y[:, :1])


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1"])
def test_help_tells_every_parameter(name):
    metric = getattr(metrics, name)
    text = inspect.getdoc(metric)
    assert text.count("\nParameters\n") == text.count("\nRaises\n") == 1
    assert all(f"\n{parameter} : " in text for parameter in inspect.signature(metric).parameters)
