"""RealMLP: the published constants, tables as they come, and what estimators promise, for classes and for numbers."""

import math
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

import backprop as bp
from backprop import tabular
from backprop.tabular import building, members, scores
from backprop.tabular.encoding import Encoding
from backprop.tabular.recipes import PRESETS

pytest.importorskip("sklearn", minversion="1.6", reason="needs scikit-learn")

from sklearn import datasets, metrics
from sklearn.base import clone, is_classifier
from sklearn.model_selection import KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from backprop.sklearn import RealMLPClassifier, RealMLPRegressor, load

#: Small and quick.
QUICK = {"preset": "fast", "epochs": 8, "hidden_layer_sizes": 16, "random_state": 0, "threads": 1}


# scikit-learn's checks.

_DRAWN = "which rows are held out is drawn, so that weights are not the same as repeating rows"
checks = parametrize_with_checks(
    [RealMLPClassifier("fast", epochs=40), RealMLPRegressor("fast", epochs=40, n_members=2)],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": _DRAWN,
        "check_sample_weight_equivalence_on_sparse_data": _DRAWN,
    },
)


@checks
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# The published recipes.


@pytest.mark.parametrize(
    ("preset", "classes", "constants"),
    [
        ("td", True, {"learning_rate": 0.04, "activation": "selu", "label_smoothing": 0.1, "metric": "accuracy"}),
        ("td", False, {"learning_rate": 0.2, "activation": "mish", "label_smoothing": 0, "metric": "rmse"}),
        ("td_s", True, {"learning_rate": 0.04, "activation": "selu", "label_smoothing": 0.1, "metric": "accuracy"}),
        ("td_s", False, {"learning_rate": 0.07, "activation": "mish", "label_smoothing": 0, "metric": "rmse"}),
    ],
)
def test_the_published_constants(preset, classes, constants):
    recipe = tabular.recipe(preset, classes=classes)
    shared = {
        "beta2": 0.95, "epsilon": 1e-8, "epochs": 256, "batch_size": 256, "hidden_layer_sizes": (256, 256, 256),
        "scale_factor": 6, "bias_factor": 0.1, "most_one_hot": 8, "scaled_one_hot": True, "n_members": 1,
    }  # fmt: skip
    apart = {
        "td": {
            "numbers": "pbld", "embedding": 8, "parametric": True, "initial": "data_driven", "dropout": 0.15,
            "weight_decay": 0.02, "flat_cosine": True, "activation_factor": 0.1, "numbers_factor": 0.1,
            "clamped": not classes,
        },
        "td_s": {
            "numbers": None, "embedding": 0, "parametric": False, "initial": "normal", "dropout": 0, "weight_decay": 0,
            "clamped": False,
        },
    }  # fmt: skip
    for name, value in {**shared, **apart[preset], **constants}.items():
        assert getattr(recipe, name) == value, name


def layout(numbers=3, others=2, categories=(12,)):
    return building.Layout(numbers, others, categories, [])


def rows(given, n=400):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, given.n_in)).astype("float32")
    for i, values in enumerate(given.categories):
        x[:, given.numbers + given.others + i] = rng.integers(values, size=n)
    return x


def test_the_published_network():
    given = layout()
    x = rows(given)
    recipe = tabular.recipe("td", classes=True)
    net = building.network(recipe, given, x, 3, True, 0)
    kinds = [type(layer).__name__ for layer in net.layers]
    block = ["Dense", "ParametricActivation", "Dropout"]
    assert kinds == ["Columns", "PeriodicEmbedding", "Scale", *block * 3, "Dense"]
    assert net.layers[0].embeddings[5].width == 8
    assert net.layers[2].n_out == 3 * 4 + 2 + 8
    periodic = net.layers[1]
    assert periodic[0].weight.shape == (3, 16)
    assert abs(periodic[0].weight).max() < 0.5
    assert abs(periodic[0].bias).max() <= math.pi
    assert abs(periodic[1].weight).max() <= 1 / 4
    assert net.layers[-1].activation.name == "softmax"
    dense = [layer for layer in net.layers if isinstance(layer, bp.Dense)]
    z = net[: kinds.index("Dense")].predict(x) @ dense[0].weight
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)


def test_what_the_published_network_starts_with():
    given = layout(numbers=40, categories=(500,))
    net = building.network(tabular.recipe("td", classes=False), given, rows(given), 1, False, 0)
    embedded, periodic, scale = net.layers[:3]
    table = embedded.embeddings[42].weight
    assert table.shape == (500, 8)
    assert abs(table.std() - 1) < 0.05  # N(0, 1), as the frequencies are N(0, 0.1^2)
    assert abs(periodic[0].weight.std() - 0.1) < 0.01
    assert periodic[0].bias.min() < -3 and periodic[0].bias.max() > 3
    for part in periodic[1].weight, periodic[1].bias:  # U[-1/4, 1/4]
        assert abs(part.std() - 0.25 / math.sqrt(3)) < 0.01
    assert (scale.weight == 1).all()
    shares = [layer.weight for layer in net.layers if isinstance(layer, bp.layers.ParametricActivation)]
    assert [share.shape for share in shares] == [(256,)] * 3
    assert all((share == 1).all() for share in shares)


def test_the_published_factors():
    given = layout()
    recipe = tabular.recipe("td", classes=True)
    net = building.network(recipe, given, rows(given), 3, True, 0)
    optimizer = building.optimizer(recipe, net, 100)
    names = [type(layer).__name__ for layer in net.layers]
    factors = {"PeriodicEmbedding": 0.1, "Scale": 6, "ParametricActivation": 0.1}
    for name, factor in factors.items():
        assert optimizer.groups[f"{names.index(name)}.*"] == {"learning_rate": factor}
    assert not any(pattern.startswith("0.") for pattern in optimizer.groups)  # embeddings of categories
    for i in (i for i, name in enumerate(names) if name == "Dense"):
        assert optimizer.groups[f"{i}.bias"] == {"learning_rate": 0.1, "weight_decay": 0}


@pytest.mark.parametrize("preset", ["td", "td_s"])
def test_the_published_encoding(preset):
    """One-hot up to 8 categories, two of them as -1 and 1, more embedded (TD) or one-hot, too; all 0 where unknown."""
    rng = np.random.default_rng(0)
    words = {n: rng.permutation(np.arange(90) % n).astype(str).astype(object) for n in (2, 8, 9)}
    columns = {f"of {n}": np.char.add("w", column.astype(str)).astype(object) for n, column in words.items()}
    columns["number"] = rng.normal(size=90)
    encoding = Encoding.learn(columns, tabular.recipe(preset, classes=True), {})
    embedded = preset == "td"
    layout = encoding.layout
    assert (layout.numbers, layout.others, layout.categories) == ((1, 9, (10,)) if embedded else (1, 18, ()))
    places = encoding.features
    raw = encoding.encoder.transform(columns)[:, encoding.order]
    assert {*raw[:, places["of 2"]].ravel()} == {-1, 1}
    assert {*raw[:, places["of 8"]].ravel()} == {0, 1}
    one_hot = encoding(columns)[:, places["of 8"]]  # scaled by half the range, and clipped
    np.testing.assert_allclose(np.unique(one_hot), [0, 2 / math.sqrt(1 + (2 / 3) ** 2)], rtol=1e-6)
    unknown = {name: np.full(2, "?", object) for name in list(columns)[:3]} | {"number": np.zeros(2)}
    raw = encoding.encoder.transform(unknown)[:, encoding.order]
    assert not raw[:, places["of 2"] + places["of 8"]].any()
    if embedded:  # a row of the table that is of its own
        assert set(raw[:, places["of 9"]].ravel()).isdisjoint(encoding.encoder.transform(columns)[:, -1])


def test_the_simple_network():
    given = layout(categories=())
    net = building.network(tabular.recipe("td_s", classes=False), given, rows(given), 1, False, 0)
    assert [type(layer).__name__ for layer in net.layers] == ["Scale", "Dense", "Dense", "Dense", "Dense"]
    dense = net.layers[1:]
    assert not dense[-1].weight.any()
    assert not dense[-1].bias.any()
    assert abs(dense[1].weight.std() * 16 - 1) < 0.02
    assert abs(dense[1].bias.std() - 1) < 0.2


def test_the_neural_tangent_form():
    """A step on V = W / sqrt(n_in) is the step of Adam on W, and weight decay takes as much of it."""
    given = layout(categories=())
    recipe = tabular.recipe("td_s", classes=False)
    net = building.network(recipe, given, rows(given), 1, False, 0)
    groups = building.optimizer(recipe, net, 100).groups
    assert groups["0.*"] == {"learning_rate": 6}
    for i, n_in in (1, 5), (2, 256), (4, 256):
        root = math.sqrt(n_in)
        assert groups[f"{i}.weight"] == {"learning_rate": 1 / root, "epsilon": root, "weight_decay": root}
        assert groups[f"{i}.bias"] == {"learning_rate": 0.1, "weight_decay": 0}


def test_the_schedules():
    """Steps are those of the reference, which leaves out a last short batch."""
    given = layout(categories=())
    recipe = tabular.recipe("td", classes=False)
    net = building.network(recipe, given, rows(given, 600), 1, False, 0)
    optimizer = building.optimizer(recipe, net, recipe.steps(600))
    assert optimizer.learning_rate == bp.schedules.CosLog4(0.2, 512)
    assert optimizer.weight_decay == bp.schedules.FlatCosine(0.02, 512)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.95, 1e-8)
    dropout = [layer.rate for layer in net.layers if isinstance(layer, bp.Dropout)]
    assert dropout == [bp.schedules.FlatCosine(0.15, 512)] * 3
    assert [recipe.batch(n) for n in (100, 256, 300, 600, 2400)] == [100, 256, 300, 300, 267]
    assert recipe.steps(2400) == 256 * 9
    for step in (0, 100, 256, 300, 511):
        t = step / 512
        assert optimizer.learning_rate(step) == pytest.approx(
            0.2 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * t))) / 2
        )
        assert dropout[0](step) == pytest.approx(0.15 * (1 + math.cos(math.pi * (max(1, 2 * t) - 1))) / 2)


def test_the_network_of_our_own():
    """A few numbers of the bins of each column, one factor for each input, and two layers."""
    given = replace(layout(categories=()), edges=[np.linspace(-1, 1, 25)] * 3)
    recipe = tabular.recipe("default", classes=True)
    net = building.network(recipe, given, rows(given), 3, True, 0)
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["PiecewiseLinearEmbedding", "Scale", *["Dense", "Dropout"] * 2, "Dense"]
    assert net.layers[0].n_out == 3 * 4 + 2
    assert building.optimizer(recipe, net, 100).groups["0.*"] == {"learning_rate": 3}
    assert [layer.rate for layer in net.layers if isinstance(layer, bp.Dropout)] == [0.15] * 2


def test_smoothing_is_for_accuracy_alone():
    made = RealMLPClassifier("td")
    made.classes_ = np.array([0, 1])
    assert made._recipe().label_smoothing == 0.1
    assert made.set_params(metric="roc_auc")._recipe().label_smoothing == 0
    assert made.set_params(label_smoothing=0.2)._recipe().label_smoothing == 0.2


# Members and scores.


def test_each_class_is_held_out_alike():
    strata = np.repeat([0, 1, 2], [70, 25, 5])
    for one in members.held_out(100, 0.2, 3, strata, np.random.default_rng(0)):
        assert np.bincount(strata[one.held_out]).tolist() == [14, 5, 1]
        assert np.array_equal(np.union1d(one.rows, one.held_out), np.arange(100))
        assert not np.intersect1d(one.rows, one.held_out).size


def test_folds_hold_out_each_row_once():
    strata = np.arange(30) % 3
    found = [*members.folds(30, 4, 2, strata, np.random.default_rng(0))]
    assert len(found) == 8
    for half in found[:4], found[4:]:
        assert sorted(np.concatenate([one.held_out for one in half]).tolist()) == [*range(30)]


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    y, weights = rng.integers(3, size=60), rng.uniform(0.1, 2, 60)
    p = rng.dirichlet([1, 1, 1], 60).round(1) + 0.01
    p /= p.sum(axis=1, keepdims=True)
    for w in None, weights:
        assert math.isclose(scores.error(p, y, w), 1 - metrics.accuracy_score(y, p.argmax(1), sample_weight=w))
        assert math.isclose(scores.log_loss(p, y, w), metrics.log_loss(y, p, sample_weight=w))
    assert math.isclose(scores.one_minus_auc(p, y, None), 1 - metrics.roc_auc_score(y, p, multi_class="ovr"))
    two, one = p[:, :2] / p[:, :2].sum(1, keepdims=True), (y > 0).astype(int)
    auc = metrics.roc_auc_score(one, two[:, 1], sample_weight=weights)
    assert math.isclose(scores.one_minus_auc(two, one, weights), 1 - auc)
    a, b = rng.normal(size=(2, 60, 1))
    assert math.isclose(scores.rmse(a, b, weights), metrics.root_mean_squared_error(b, a, sample_weight=weights))
    assert math.isclose(scores.mae(a, b, None), metrics.mean_absolute_error(b, a))


# The estimators.


def test_it_learns():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, random_state=0)
    assert RealMLPClassifier("fast", random_state=0, threads=1).fit(x, y).score(x_test, y_test) > 0.95
    x, y = datasets.load_diabetes(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y * 1000 + 1e6, random_state=0)
    assert RealMLPRegressor("fast", random_state=0, threads=1).fit(x, y).score(x_test, y_test) > 0.3


@pytest.mark.parametrize("preset", PRESETS)
def test_all_presets_train(preset):
    x, y = datasets.make_classification(120, 5, random_state=0)
    made = RealMLPClassifier(preset, epochs=3, n_members=1, random_state=0, threads=1).fit(x, y)
    assert made.predict_proba(x).shape == (120, 2)
    assert np.isfinite(RealMLPRegressor(preset, epochs=3, n_members=1, threads=1).fit(x, x[:, 0]).predict(x)).all()


def table(n=300, seed=0):
    """A DataFrame of all kinds of columns, and what depends on them."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(seed)
    town = rng.choice(["Bonn", "Aachen", "Trier"], n)
    frame = pandas.DataFrame({
        "size": rng.normal(50, 20, n), "town": pandas.Series(town).astype("category"), "new": rng.random(n) > 0.5,
        "day": pandas.Timestamp("2024-01-01") + pandas.to_timedelta(rng.integers(700, size=n), "D"),
        "rooms": rng.integers(1, 6, n),
    })  # fmt: skip
    y = frame["size"] * 3 + (town == "Bonn") * 200 + frame["new"] * 50
    frame.loc[rng.random(n) < 0.1, "size"] = np.nan
    frame.loc[rng.random(n) < 0.1, "town"] = None
    return frame, y


def test_a_table_as_it_comes():
    x, y = table()
    made = RealMLPRegressor("fast", random_state=0, threads=1).fit(x, y)
    assert made.score(x, y) > 0.8
    assert made.feature_names_in_.tolist() == ["size", "town", "new", "day", "rooms"]
    found = dict(zip(made.feature_names_in_, made.feature_importances_, strict=True))
    assert max(found, key=found.get) == "town"
    assert found["town"] > 10 * abs(found["rooms"])
    other = x.head(5).copy()
    other["town"] = "Neuss"
    assert np.isfinite(made.predict(other)).all()
    classes = np.where(y > y.median(), "dear", "cheap")
    judged = RealMLPClassifier("fast", random_state=0, threads=1).fit(x, classes)
    assert judged.score(x, classes) > 0.8
    assert judged.classes_.tolist() == ["cheap", "dear"]


def test_members_are_averaged():
    x, y = datasets.load_wine(return_X_y=True)
    made = RealMLPClassifier(**QUICK, n_members=3, calibrate=False).fit(x, y)
    assert len(made.ensemble_) == 3
    apart = made.model_.predict_all(x)
    np.testing.assert_allclose(apart.mean(axis=0), made.predict_proba(x), rtol=1e-5)
    assert abs(apart[0] - apart[1]).max() > 1e-3


def test_folds_are_members():
    x, y = datasets.load_diabetes(return_X_y=True)
    assert len(RealMLPRegressor(**QUICK, cv=3).fit(x, y).ensemble_) == 3
    made = RealMLPRegressor(**QUICK, cv=KFold(3), n_members=2).fit(x, y)
    assert len(made.ensemble_) == 6
    assert sorted(np.concatenate(made.model_.held_out.parts[:3]).tolist()) == [*range(len(x))]


def test_the_same_bits_on_any_number_of_threads():
    x, y = datasets.load_diabetes(return_X_y=True)
    first, second = (RealMLPRegressor(**QUICK | {"threads": threads}, n_members=3).fit(x, y) for threads in (1, 3))
    assert (first.predict(x) == second.predict(x)).all()
    assert (RealMLPRegressor(**QUICK | {"random_state": 1}).fit(x, y).predict(x) != first.predict(x)).any()


def test_the_best_epoch_is_kept():
    x, y = datasets.load_diabetes(return_X_y=True)
    made = RealMLPRegressor(**QUICK | {"epochs": 30, "batch_size": 32}).fit(x, y)
    (history,), (best,) = made.validation_scores_, made.best_epochs_
    last = max(i for i, score in enumerate(history) if score == min(history))
    assert best - 1 == last
    held_out = made.model_.held_out
    outputs = made.network_.predict(held_out.rows.x[held_out.parts[0]])
    assert math.isclose(scores.rmse(outputs, held_out.rows.y[held_out.parts[0]], None), min(history), rel_tol=1e-6)


def test_early_stopping_and_time_limit():
    x, y = datasets.load_diabetes(return_X_y=True)
    slow = QUICK | {"epochs": 4000, "batch_size": 16}
    stopped = RealMLPRegressor(**slow, early_stopping=5).fit(x, y)
    assert len(stopped.validation_scores_[0]) == stopped.best_epochs_[0] + 5
    limited = RealMLPRegressor(**slow, time_limit=0.5).fit(x, y)
    assert len(limited.validation_scores_[0]) < 4000


def test_validation_data_of_ones_own():
    x, y = table()
    x_val, y_val = table(seed=1)
    made = RealMLPRegressor(**QUICK, n_members=2).fit(x, y, X_val=x_val, y_val=y_val)
    assert [len(part) for part in made.model_.held_out.parts] == [300, 300]
    for given in {"X_val": x_val}, {"y_val": y_val}, {"X_val": x_val, "y_val": y_val[:5]}:
        with pytest.raises(ValueError):
            RealMLPRegressor(**QUICK).fit(x, y, **given)


def test_weights_count():
    x, y = datasets.make_classification(400, 4, flip_y=0.3, random_state=0)
    weights = np.where(y == 1, 20.0, 1.0)
    plain, weighted, balanced = (
        RealMLPClassifier(**QUICK | {"epochs": 30}, class_weight=of_class).fit(x, y, sample_weight)
        for of_class, sample_weight in ((None, None), (None, weights), ({1: 20}, None))
    )
    shares = [one.predict(x).mean() for one in (plain, weighted, balanced)]
    assert shares[0] + 0.1 < shares[1]
    assert shares[1] == shares[2]
    for refused in np.zeros(400), -weights, weights[:3]:
        with pytest.raises(ValueError):
            RealMLPClassifier(**QUICK).fit(x, y, refused)


def test_probabilities_are_calibrated():
    x, y = datasets.make_classification(3000, 8, n_informative=4, flip_y=0.3, random_state=0)
    x, x_test, y, y_test = x[:500], x[500:], y[:500], y[500:]
    given = {"epochs": 60, "dropout": 0, "metric": "accuracy", "label_smoothing": 0.0, "random_state": 0, "threads": 1}
    plain, calibrated = (RealMLPClassifier("fast", **given, calibrate=flag).fit(x, y) for flag in (False, True))
    assert plain.temperature_ == 1
    assert calibrated.temperature_ > 1
    assert (plain.predict(x_test) == calibrated.predict(x_test)).all()
    losses = [metrics.log_loss(y_test, one.predict_proba(x_test)) for one in (plain, calibrated)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("given", [{}, {"n_members": 3}, {"cv": 4}], ids=str)
def test_intervals_hold_what_they_promise(given):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3))
    y = x[:, 0] + rng.normal(size=3000) * 0.5
    made = RealMLPRegressor(**QUICK, **given).fit(x[:1500], y[:1500])
    for coverage in 0.5, 0.9:
        low, high = made.predict_interval(x[1500:], coverage).T
        assert abs(((low <= y[1500:]) & (y[1500:] <= high)).mean() - coverage) < 0.06
    with pytest.raises(ValueError, match="coverage: expected at least"):
        made.predict_interval(x, 0.9999)


def test_several_targets():
    x, y = datasets.make_regression(200, 5, n_targets=2, random_state=0)
    made = RealMLPRegressor(**QUICK).fit(x, y)
    assert made.predict(x).shape == (200, 2)
    assert made.predict_interval(x, 0.5).shape == (200, 2, 2)
    assert made.predict_std(x).shape == (200, 2)


def test_predictions_of_td_stay_in_the_range_of_the_training():
    x = np.linspace(-1, 1, 200)[:, None]
    made = RealMLPRegressor("td", epochs=20, random_state=0, threads=1).fit(x, x[:, 0])
    assert made.predict([[50.0], [-50.0]]).tolist() <= [1, -1]
    assert abs(made.predict(x)).max() <= 1


# Files.


@pytest.mark.parametrize("kind", [RealMLPClassifier, RealMLPRegressor])
@pytest.mark.parametrize("count", [1, 3])
def test_files_and_pickles(tmp_path, kind, count):
    x, y = table()
    y = np.where(y > 200, "much", "little") if kind is RealMLPClassifier else y
    made = kind(**QUICK, n_members=count).fit(x, y)
    made.save(tmp_path / "model.safetensors")
    for other in load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(made)):
        assert type(other) is kind
        assert other.get_params() == made.get_params()
        if kind is RealMLPClassifier:
            assert (other.predict_proba(x) == made.predict_proba(x)).all()
        else:
            assert (other.predict_interval(x) == made.predict_interval(x)).all()
        assert (other.predict(x) == made.predict(x)).all()
        assert other.feature_names_in_.tolist() == made.feature_names_in_.tolist()
        assert other.best_epochs_ == made.best_epochs_


def test_a_file_holds_no_rows(tmp_path):
    x, y = datasets.load_diabetes(return_X_y=True)
    made = RealMLPRegressor(**QUICK).fit(x, y)
    made.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="held-out rows"):
        _ = load(tmp_path / "model.safetensors").feature_importances_
    importances = made.feature_importances_
    made.save(tmp_path / "model.safetensors")
    assert (load(tmp_path / "model.safetensors").feature_importances_ == importances).all()


def test_other_files_are_refused(tmp_path):
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    bp.Ensemble([net]).save(tmp_path / "networks.safetensors")
    net.save(tmp_path / "network.safetensors")
    for name in "networks", "network":
        with pytest.raises(bp.FormatError):
            load(tmp_path / f"{name}.safetensors")
    x, y = datasets.load_diabetes(return_X_y=True)
    made = RealMLPRegressor(**QUICK).fit(x, y)
    for damaged in {}, {"class": "os.system"}, {"class": "RealMLPClassifier"}, {"params": {"preset": "?"}}:
        said = {"class": "RealMLPRegressor", "params": {}, "n_features_in": 10, "feature_names_in": None, "flat": True}
        made.model_.save(tmp_path / "damaged.safetensors", {**said, **damaged} if damaged else {})
        with pytest.raises(bp.FormatError):
            load(tmp_path / "damaged.safetensors")


# Bad input.


def test_bad_input_is_refused():
    x, y = datasets.load_diabetes(return_X_y=True)
    made = RealMLPRegressor(**QUICK).fit(x, y)
    with pytest.raises(ValueError, match="features"):
        made.predict(x[:, :3])
    with pytest.raises(ValueError, match="two classes"):
        RealMLPClassifier(**QUICK).fit(x, np.zeros(len(x)))
    with pytest.raises(ValueError, match="cv"):
        RealMLPRegressor(**QUICK, cv=3).fit(x, y, X_val=x, y_val=y)
    for name, value in {"preset": "?", "metric": "auc", "cv": 1, "n_members": 0, "validation_fraction": 1.0}.items():
        with pytest.raises(ValueError):
            RealMLPClassifier(**QUICK | {name: value}).fit(x, y > 100)
    for name in "feature_importances_", "network_", "best_epochs_":
        with pytest.raises(AttributeError, match="before it is fitted"):
            getattr(RealMLPRegressor(), name)


def test_it_goes_into_pipelines_and_searches():
    x, y = datasets.load_wine(return_X_y=True)
    pipeline = make_pipeline(FunctionTransformer(np.log1p), clone(RealMLPClassifier(**QUICK | {"epochs": 40})))
    assert pipeline.fit(x, y).score(x, y) > 0.9
    assert is_classifier(pipeline)
    found = bp.sklearn.sweep(RealMLPClassifier(**QUICK), {"hidden_layer_sizes": [4, (8, 8)]}, x, y, cv=2, threads=1)
    assert 0 <= found.best_score_ <= 1


def test_categories_alone():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pandas.DataFrame({"a": rng.choice(list("xyz"), 90), "b": rng.choice(["u", "v"], 90)})
    model = RealMLPClassifier("fast", epochs=30, random_state=0).fit(X, X.a)
    assert model.score(X, X.a) == 1


@pytest.mark.parametrize(
    ("estimator", "y", "said"),
    [
        (RealMLPRegressor, np.arange(60) * 1e200, "y: expected a target whose standard deviation is neither beyond"),
        (RealMLPRegressor, np.arange(60) * 1e-200, "is neither beyond float64 nor 0, got 0 to 5.9e-199: divide it"),
        (RealMLPRegressor, np.arange(60).astype("M8[D]"), "y: expected numbers, got dates: make numbers of them"),
        (
            RealMLPClassifier,
            np.array([None, *"ab" * 29, "a"], object),
            "y: expected a class in each row, got None at row 0",
        ),
        (
            RealMLPClassifier,
            np.array([1, *"ab" * 29, "a"], object),
            "y: expected classes of one kind, got texts beside",
        ),
        (RealMLPClassifier, np.array(["a"] * 60), "y: expected at least two classes, got one class: 'a'"),
    ],
)
def test_targets_that_nothing_can_be_learned_of(estimator, y, said):
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        estimator("fast", epochs=1).fit(np.random.default_rng(0).normal(size=(60, 2)), y)


def test_what_is_no_table_yet():
    polars = pytest.importorskip("polars")
    X = {"a": np.random.default_rng(0).normal(size=60)}
    for given, said in (
        (
            polars.DataFrame(X).lazy(),
            "expected a table, got a LazyFrame, which is yet to be computed: call its collect()",
        ),
        (X, "X: expected a DataFrame or rows, got columns by name: pandas.DataFrame(X) makes one of them"),
    ):
        with pytest.raises(TypeError, match=re.escape(said)):
            RealMLPRegressor("fast", epochs=1).fit(given, X["a"])


@pytest.mark.parametrize(
    ("cv", "said"),
    [
        ([], "cv: expected at least one division of the rows, got none"),
        ([([], [1])], "cv: expected rows to train on in each division, got none"),
        ([([0, 1], [60])], "cv: expected indices of rows, from 0 to 59, got [60]"),
        ([([0, -1], [2])], "cv: expected indices of rows, from 0 to 59, got [0, -1]"),
        ([([0.5, 1.5], [2])], "cv: expected indices of rows"),
    ],
)
def test_divisions_that_are_none(cv, said):
    x = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match=re.escape(said)):
        RealMLPRegressor("fast", epochs=1, cv=cv).fit(x, x[:, 0])
    mask = np.arange(60) < 40
    same = [RealMLPRegressor("fast", epochs=1, cv=cv, random_state=0).fit(x, x[:, 0]).predict(x) for cv in (
        [(mask, ~mask)], [(np.arange(40), np.arange(40, 60))],
    )]  # fmt: skip
    np.testing.assert_array_equal(*same)


def test_weights_that_leave_nothing_to_judge_by():
    x = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match="sample_weight: expected some weight among the rows"):
        RealMLPRegressor("fast", epochs=1, random_state=0).fit(x, x[:, 0], np.arange(60) < 1)
