"""Edges of bins: quantiles as NumPy has them, and the splits that scikit-learn's trees make."""

import numpy as np
import pytest

import backprop as bp
from backprop.preprocessing import quantile_edges, tree_edges


def columns(rows, seed=0):
    """A column of numbers, one that is mostly 0, one of a few numbers, one of a single number."""
    rng = np.random.default_rng(seed)
    return np.stack([
        rng.normal(size=rows), np.where(rng.random(rows) < 0.9, 0, rng.exponential(size=rows)),
        rng.integers(0, 5, rows), np.full(rows, 3.0),
    ], axis=1)  # fmt: skip


def test_quantiles_of_rows_and_of_values():
    x = columns(1000)
    rows, values, both = (quantile_edges(x, 16, of=of) for of in ("rows", "values", "both"))
    assert rows[3] is values[3] is both[3] is None
    np.testing.assert_array_equal(rows[0], np.quantile(x[:, 0], np.linspace(0, 1, 17)))
    np.testing.assert_array_equal(values[1], np.quantile(np.unique(x[:, 1]), np.linspace(0, 1, 17)))
    assert len(rows[1]) < 5 and len(values[1]) == 17  # nine rows in ten are 0
    np.testing.assert_array_equal(rows[2], np.arange(5))
    halves = [np.quantile(some, np.linspace(0, 1, n + 1)) for some, n in ((x[:, 0], 8), (np.unique(x[:, 0]), 9))]
    np.testing.assert_array_equal(both[0], np.unique(np.concatenate(halves)))
    for edges in (*rows[:3], *values[:3], *both[:3]):
        assert 1 <= len(edges) - 1 <= 16 and (np.diff(edges) > 0).all()
    for n in (1, 2, 3, 31):
        assert all(edges is None or len(edges) <= n + 1 for edges in quantile_edges(x, n))
    assert [edges is None for edges in bp.PiecewiseLinearEmbedding(both).edges] == [False] * 3 + [True]


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("least", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("seed", range(4))
def test_trees_split_where_those_of_scikit_learn_do(task, least, seed):
    trees = pytest.importorskip("sklearn.tree")
    rng = np.random.default_rng(seed)
    x = columns(3000, seed)
    y = np.sin(3 * x[:, 0]) + 2 * (x[:, 1] > 0.5) + 0.3 * rng.normal(size=len(x))
    y = np.digitize(y, [-0.5, 0.8]) if task == "classification" else y
    found = tree_edges(x, y, 12, task=task, min_samples_leaf=40, min_impurity_decrease=least)
    for column, edges in zip(x.T[:3], found, strict=False):
        kind = trees.DecisionTreeClassifier if task == "classification" else trees.DecisionTreeRegressor
        scale = 1 if task == "classification" else y.var()
        tree = kind(max_leaf_nodes=12, min_samples_leaf=40, min_impurity_decrease=least * scale)
        tree.fit(column[:, None], y)
        thresholds = np.sort(tree.tree_.threshold[tree.tree_.children_left >= 0])
        np.testing.assert_allclose(edges[1:-1], thresholds, rtol=1e-6, atol=1e-6)  # theirs are of float32
        assert edges[0] == column.min() and edges[-1] == column.max()
    assert found[3] is None


def test_a_tree_takes_words_for_classes_and_several_targets():
    x = np.arange(400.0)[:, None]
    words = np.repeat(["low", "high", "low"], [100, 200, 100])
    assert tree_edges(x, words, task="classification")[0].tolist() == [0, 99.5, 299.5, 399]
    y = np.stack([x[:, 0] > 150, x[:, 0] > 300], axis=1)
    assert tree_edges(x, y, 3)[0].tolist() == [0, 150.5, 300.5, 399]
    assert tree_edges(x, np.zeros(400))[0].tolist() == [0, 399]  # nothing to tell
    assert tree_edges(x[:100], x[:100])[0].tolist() == [0, 99]  # fewer than two leaves of 64


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: quantile_edges([1, 2]), ValueError, r"x: expected an array of shape \(rows, columns\), got \(2,\)"),
        (
            lambda: quantile_edges([[1], [np.nan]]),
            ValueError,
            "x: expected finite numbers, got nan at row, column 1, 0",
        ),
        (lambda: quantile_edges(np.zeros((0, 2))), ValueError, "x: expected at least one row"),
        (lambda: quantile_edges([[1]], 0), ValueError, "n_bins: expected a whole number from 1 to 1024, got 0"),
        (lambda: quantile_edges([[1]], of="all"), ValueError, "of: expected one of both, rows, values, got 'all'"),
        (lambda: tree_edges([[1]], [1, 2]), ValueError, "y: expected 1 rows, as many as x has, got 2"),
        (lambda: tree_edges([[1]], [1], task="ranking"), ValueError, "task: expected one of regression, classif"),
        (lambda: tree_edges([[1]], [[[1]]]), ValueError, r"y: expected shape \(rows,\) or \(rows, targets\)"),
        (lambda: tree_edges([[1]], [["a"]], task="classification"), ValueError, "y: expected a class for each row"),
        (lambda: tree_edges([[1]], ["a"]), TypeError, "y: expected"),
        (lambda: tree_edges([[1]], [1], min_samples_leaf=0), ValueError, "min_samples_leaf: expected a whole number"),
        (lambda: tree_edges([[1]], [1], min_impurity_decrease=-1), ValueError, "min_impurity_decrease: expected"),
    ],
)
def test_refused(call, error, says):
    with pytest.raises(error, match=f"^{says}"):
        call()
