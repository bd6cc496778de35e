"""Estimators of several members, and searches whose fits go side by side: each fit is what it would be alone."""

import math
import os
import pickle
import threading
import time
import warnings

import numpy as np
import pytest
from runs import alarm

import backprop as bp

pytest.importorskip("sklearn", minversion="1.6", reason="needs scikit-learn")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from backprop.sklearn import MLPClassifier, MLPRegressor, Sweep, sweep
from backprop.sklearn import members as module

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 5))
Y = X[:, 0] + X[:, 1] * X[:, 2]
CLASSES = np.array(["a", "b", "c"])[(Y > -0.5).astype(int) + (Y > 0.7)]
WEIGHTS = rng.random(150)
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 7, "learning_rate_init": 0.01}


def classifier(**more):
    return MLPClassifier(**SMALL, n_members=4, random_state=3, **more)


def regressor(*loss, **more):
    return MLPRegressor(*loss, **SMALL, n_members=4, random_state=3, **more)


def weights_of(mlp):
    return np.concatenate([net.parameters for net in mlp.ensemble_])


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("bagging", ["seeds", "bootstrap", "folds"])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_each_member_is_the_estimator_alone_on_its_rows(make, bagging, early):
    y = CLASSES if make is classifier else Y
    mlp = make(bagging=bagging, early_stopping=early).fit(X, y, WEIGHTS)
    parts = list(module.parts(mlp, module.Rows(X, mlp._labels.encode(y) if make is classifier else Y, WEIGHTS)))
    assert len(mlp.members_) == len(parts) == 4
    for member, part in zip(mlp.members_, parts, strict=True):
        alone = clone(mlp).set_params(n_members=1, random_state=member.random_state)
        rows = X[part.rows], y[part.rows], WEIGHTS[part.rows]
        held_out = {}
        if early and bagging != "seeds":
            assert not set(part.others) & set(np.arange(150)[part.rows])
            held_out = {"X_val": X[part.others], "y_val": y[part.others], "sample_weight_val": WEIGHTS[part.others]}
        alone.fit(*rows, **held_out)
        assert np.array_equal(member.network_.parameters, alone.network_.parameters)
        assert member.loss_curve_ == alone.loss_curve_ and member.validation_scores_ == alone.validation_scores_
        assert np.array_equal(member.predict(X), alone.predict(X))


def test_the_rows_of_bootstraps_and_folds():
    mlp = classifier(bagging="folds").fit(X, CLASSES)
    train = module.Rows(X, mlp._labels.encode(CLASSES), None)
    left_out = [part.others for part in module.parts(mlp, train)]
    assert sorted(np.concatenate(left_out)) == list(range(150))
    shares = np.array([np.unique(CLASSES[rows], return_counts=True)[1] for rows in left_out])
    assert (np.ptp(shares, axis=0) <= 1).all()  # stratified
    mlp.set_params(bagging="bootstrap")
    for part in module.parts(mlp, train):
        assert len(part.rows) == 150 and 0.5 < len(np.unique(part.rows)) / 150 < 0.75
        assert sorted({*part.rows, *part.others}) == list(range(150))


def test_the_mean_and_how_far_they_are_apart():
    mlp = classifier().fit(X, CLASSES)
    each = np.array([member.predict_proba(X) for member in mlp.members_])
    assert np.allclose(mlp.predict_proba(X), each.mean(axis=0), rtol=1e-12)
    assert np.allclose(mlp.predict_proba(X).sum(axis=1), 1)
    assert np.allclose(mlp.predict_std(X), each.std(axis=0))
    assert np.array_equal(mlp.predict(X), mlp.classes_[each.mean(axis=0).argmax(axis=1)])
    assert np.allclose(mlp.predict_log_proba(X), np.log(mlp.predict_proba(X)))
    assert np.array_equal(mlp.predict_proba(X[4:5])[0], mlp.predict_proba(X)[4])
    assert isinstance(mlp.ensemble_, bp.Ensemble) and np.allclose(mlp.ensemble_.predict(X), mlp.predict_proba(X))
    gradients = np.mean([member.input_gradients(X) for member in mlp.members_], axis=0)
    assert np.allclose(mlp.input_gradients(X), gradients)
    two = classifier().fit(X, Y > 0)
    assert two.predict_proba(X).shape == two.predict_std(X).shape == (150, 2)

    mlp = regressor().fit(X, Y)
    each = np.array([member.predict(X) for member in mlp.members_])
    assert mlp.predict(X).shape == mlp.predict_std(X).shape == (150,)
    assert np.allclose(mlp.predict(X), each.mean(axis=0)) and np.allclose(mlp.predict_std(X), each.std(axis=0))
    assert mlp.score(X, Y) > np.mean([member.score(X, Y) for member in mlp.members_])
    mlp = regressor().fit(X, np.column_stack([Y, -Y]))
    assert mlp.predict(X).shape == mlp.predict_std(X).shape == (150, 2)


def test_variances_of_a_mixture():
    mlp = regressor("gaussian_nll").fit(X, Y)
    mean, std = mlp.predict(X, return_std=True)
    each = [member.predict(X, return_std=True) for member in mlp.members_]
    means, stds = (np.array(part) for part in zip(*each, strict=True))
    assert np.allclose(mean, means.mean(axis=0))
    assert np.allclose(std**2, (stds**2 + means**2).mean(axis=0) - mean**2)
    assert np.allclose(std**2, mlp.ensemble_.mixture(X)[1][:, 0])


def test_a_member_of_a_bootstrap_may_miss_a_class():
    y = np.array(["rare"] + ["a", "b"] * 30)
    mlp = MLPClassifier(**SMALL, n_members=12, bagging="bootstrap", random_state=0).fit(X[:61], y)
    assert mlp.predict_proba(X).shape == (150, 3) and list(mlp.classes_) == ["a", "b", "rare"]


def test_several_labels_categories_and_names_of_columns():
    pandas = pytest.importorskip("pandas")
    labels = np.column_stack([Y > 0, X[:, 1] > 0]).astype(int)
    mlp = classifier().fit(X, labels)
    assert mlp.predict(X).shape == mlp.predict_proba(X).shape == (150, 2)
    frame = pandas.DataFrame({"number": X[:, 0], "colour": pandas.Categorical(CLASSES)})
    mlp = regressor(categorical_features="from_dtype", bagging="bootstrap").fit(frame, Y)
    assert mlp.predict(frame).shape == (150,) and list(mlp.feature_names_in_) == ["number", "colour"]
    assert mlp.input_gradients(frame).shape == (150, 2)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_bits_do_not_depend_on_threads(threads):
    one = classifier(dropout=0.2, bagging="bootstrap").fit(X, CLASSES)
    other = classifier(dropout=0.2, bagging="bootstrap", threads=threads).fit(X, CLASSES)
    assert np.array_equal(weights_of(one), weights_of(other))
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_copies_and_pickles():
    mlp = classifier(bagging="folds").fit(X, CLASSES)
    again = pickle.loads(pickle.dumps(mlp))
    assert np.array_equal(again.predict_proba(X), mlp.predict_proba(X))
    assert np.array_equal(again.predict_std(X), mlp.predict_std(X))
    assert not hasattr(clone(mlp), "members_")
    assert np.array_equal(weights_of(clone(mlp).fit(X, CLASSES)), weights_of(mlp))
    assert mlp.network_ is mlp.members_[0].network_ and mlp.loss_curve_ == mlp.members_[0].loss_curve_
    assert mlp.get_params()["n_members"] == 4 and mlp.random_state == 3
    assert all(member.n_members == 1 for member in mlp.members_)


def test_lbfgs_and_a_given_optimizer():
    mlp = regressor(solver="lbfgs", bagging="bootstrap").fit(X, Y)
    assert len({net.parameters.tobytes() for net in mlp.ensemble_}) == 4
    rule = bp.Adam(0.01, average=0.9)
    mlp = regressor(optimizer=rule).fit(X, Y)
    assert rule.steps == 0 and len({net.parameters.tobytes() for net in mlp.ensemble_}) == 4


def test_callbacks_are_copied_or_refused():
    stopping = bp.EarlyStopping("loss", patience=1, min_delta=10.0)
    mlp = regressor(callbacks=[stopping]).fit(X, Y)
    assert not stopping.state and [member.n_iter_ for member in mlp.members_] == [2] * 4
    seen = type("Seen", (bp.Callback,), {"__init__": lambda self: setattr(self, "epochs", [])})
    with pytest.raises(ValueError, match=r"callbacks: expected for all members.*one by one"):
        regressor(callbacks=[seen()]).fit(X, Y)


def test_progress_counts_members(capsys):
    regressor(progress=True).fit(X, Y)
    assert capsys.readouterr().err.splitlines()[-1] == "member 4/4"


def test_a_fit_with_one_member_follows():
    mlp = regressor().fit(X, Y)
    mlp.set_params(n_members=1).fit(X, Y)
    alone = MLPRegressor(**SMALL, random_state=3).fit(X, Y)
    assert np.array_equal(mlp.predict(X), alone.predict(X)) and not hasattr(mlp, "members_")
    assert len(mlp.ensemble_) == 1


def test_what_is_refused():
    with pytest.raises(ValueError, match="'n_members' parameter"):
        regressor().set_params(n_members=0).fit(X, Y)
    with pytest.raises(ValueError, match="'bagging' parameter"):
        regressor(bagging="rows").fit(X, Y)
    with pytest.raises(AttributeError, match="partial_fit"):
        regressor().partial_fit(X, Y)
    with pytest.raises(ValueError, match="n_members: expected 1 with warm_start, got 4"):
        regressor(warm_start=True).fit(X, Y)
    with pytest.raises(AttributeError, match="predict_std"):
        regressor().set_params(n_members=1).fit(X, Y).predict_std(X)
    with pytest.raises(NotFittedError):
        regressor().predict_std(X)
    mlp = regressor().fit(X, Y)
    before = weights_of(mlp)
    with pytest.raises(ValueError, match="non-finite") as caught:
        mlp.set_params(solver="sgd", learning_rate_init=1e30).fit(X, Y)
    assert caught.value.__notes__[0].startswith("in the fit of member ")
    assert np.array_equal(weights_of(mlp), before)  # it stays what it was


# Searches.

GRID = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(4,), (8, 4)], "learning_rate_init": [0.001, 0.02]}


def expected(search, found):
    """The scores, ranks and choice are those of scikit-learn's search."""
    results = search.cv_results_
    timed = {name for name in results if name.endswith("time")}
    assert found.cv_results_.keys() == results.keys() and found.cv_results_["params"] == results["params"]
    for name in results.keys() - timed - {"params"}:
        if name.startswith("param_"):
            assert list(found.cv_results_[name]) == list(results[name])
        else:
            assert np.array_equal(found.cv_results_[name], results[name], equal_nan=True), name
            assert found.cv_results_[name].dtype == results[name].dtype
    assert (found.best_index_, found.best_params_) == (search.best_index_, search.best_params_)
    assert found.best_score_ == search.best_score_ and found.n_splits_ == search.n_splits_


@pytest.mark.parametrize("threads", [1, 2, None])
def test_the_scores_are_those_of_grid_search(threads):
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    mlp = MLPClassifier(max_iter=10, random_state=0)
    search = GridSearchCV(mlp, GRID, cv=StratifiedKFold(3, shuffle=True, random_state=1)).fit(X, y)
    found = sweep(mlp, GRID, X, y, cv=StratifiedKFold(3, shuffle=True, random_state=1), threads=threads)
    expected(search, found)
    assert isinstance(found, Sweep) and "of 8 candidates" in repr(found)
    assert np.array_equal(found.best_estimator_.predict_proba(X), search.best_estimator_.predict_proba(X))
    table = pandas.DataFrame(found.cv_results_)
    assert len(table) == 8 and table["mean_test_score"].max() == found.best_score_
    assert (found.cv_results_["mean_fit_time"] > 0).all()


def test_pipelines_scores_groups_and_weights():
    X, y = load_breast_cancer(return_X_y=True)
    X, y, groups, weights = X[:200], y[:200], np.arange(200) % 5, rng.random(200)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=5, random_state=0))
    grids = [{"mlpclassifier__alpha": [1e-4, 1.0]}, {"mlpclassifier__dropout": [0.1]}]
    how = {"scoring": "neg_log_loss", "cv": GroupKFold(4)}
    search = GridSearchCV(pipeline, grids, **how).fit(X, y, groups=groups, mlpclassifier__sample_weight=weights)
    found = sweep(pipeline, grids, X, y, groups=groups, fit_params={"mlpclassifier__sample_weight": weights}, **how)
    expected(search, found)
    search = GridSearchCV(MLPRegressor(max_iter=5, random_state=0, n_members=2), {"alpha": [0, 1]}).fit(X, y)
    expected(search, sweep(MLPRegressor(max_iter=5, random_state=0, n_members=2), {"alpha": [0, 1]}, X, y))


def test_searches_by_scikit_learn_go_on_as_before():
    mlp = classifier()
    assert len(cross_val_score(mlp, X, CLASSES, cv=3, n_jobs=2)) == 3
    search = GridSearchCV(mlp, {"bagging": ["seeds", "folds"], "n_members": [1, 3]}, cv=3).fit(X, CLASSES)
    expected(search, sweep(mlp, {"bagging": ["seeds", "folds"], "n_members": [1, 3]}, X, CLASSES, cv=3))


def test_a_fit_that_fails():
    mlp = MLPRegressor(max_iter=3, random_state=0, solver="sgd")
    grid = {"learning_rate_init": [0.001, 1e30]}
    with pytest.warns(FitFailedWarning, match="3 of 6 fits failed; the first, of {'learning_rate_init': 1e.30}: Value"):
        found = sweep(mlp, grid, X, Y, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected(GridSearchCV(mlp, grid, cv=3).fit(X, Y), found)
        assert math.isnan(found.cv_results_["mean_test_score"][1])
        other = sweep(mlp, grid, X, Y, cv=3, error_score=-7.0, refit=False)
    assert other.cv_results_["mean_test_score"][1] == -7 and other.best_estimator_ is None
    with pytest.raises(ValueError, match="non-finite") as caught:
        sweep(mlp, grid, X, Y, cv=3, error_score="raise")
    assert caught.value.__notes__[-1].startswith("in a fit with {'learning_rate_init': 1e+30}, fold ")
    with pytest.raises(ValueError, match="all 3 fits failed; the first"):
        sweep(mlp, {"learning_rate_init": [1e30]}, X, Y, cv=3)
    with pytest.raises(ValueError, match="Invalid parameter 'depth' for estimator"):
        sweep(mlp, {"depth": [1, 2]}, X, Y, cv=3)
    with pytest.raises(ValueError, match="grid: expected at least one candidate"):
        sweep(mlp, [], X, Y)
    with pytest.raises(TypeError, match="error_score: expected a number or \"raise\", got 'nan'"):
        sweep(mlp, grid, X, Y, error_score="nan")
    with pytest.raises(TypeError, match="scoring: expected one score"):
        sweep(mlp, grid, X, Y, scoring=["r2", "neg_mean_squared_error"])


def test_other_estimators_are_searched_too():
    expected(GridSearchCV(SVC(), {"C": [0.1, 1]}).fit(X, CLASSES), sweep(SVC(), {"C": [0.1, 1]}, X, CLASSES))


def test_fits_go_side_by_side():
    meeting = threading.Barrier(2, timeout=20)  # which two have to reach together

    class Meets(bp.Callback):
        def __deepcopy__(self, memory):
            return self

        def on_fit_begin(self, run):
            meeting.wait()

    found = sweep(
        MLPRegressor(max_iter=2, callbacks=[Meets()]), {"alpha": [0, 1]}, X, Y, cv=2, threads=2, refit=False
    )  # fmt: skip
    assert found.n_splits_ == 2


class EnoughError(Exception):
    pass


@pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")
@pytest.mark.parametrize("what", ["members", "search", "members in a search"])
@pytest.mark.filterwarnings("ignore:Training interrupted")
def test_whatever_a_handler_raises_stops_all(what):
    mlp = MLPRegressor(max_iter=10**8, n_iter_no_change=10**8, n_members=1 if what == "search" else 3)
    begun = time.monotonic()
    with alarm(EnoughError, 0.3), pytest.raises(EnoughError):
        mlp.fit(X, Y) if what == "members" else sweep(mlp, {"alpha": [0, 1]}, X, Y, cv=2, threads=2)
    assert time.monotonic() - begun < 5


def test_an_error_ends_a_search():
    class Interrupted(bp.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 3:
                raise RuntimeError("as if by a signal")

    grid = {"max_iter": [10**9], "callbacks": [[], [Interrupted()]]}
    mlp = MLPRegressor(random_state=0, n_iter_no_change=10**9)
    with (
        pytest.warns(UserWarning, match="Training interrupted"),
        pytest.raises(RuntimeError, match="as if by a signal"),
    ):
        sweep(mlp, grid, X, Y, cv=2, threads=3, error_score="raise")
