"""The estimators: what belongs to one fit and what to the object, and that every answer means what it is taken for."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import backprop as bp

pytest.importorskip("sklearn", minversion="1.6", reason="needs scikit-learn")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from backprop.sklearn import MLPClassifier, MLPRegressor

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 7))
ONE, OTHER = X[:, 0] + 0.1 * X[:, 1], 1 - 3 * X[:, 2]


def known(mlp):
    """What a fitted estimator tells, as one can compare it."""
    told = {name: getattr(mlp, name) for name in dir(mlp) if name.endswith("_") and not name.startswith("_")}
    told.pop("network_")
    return {name: repr(value) if not isinstance(value, list) else str(value) for name, value in told.items()}


def same(one, other):
    assert one.network_.parameters.tobytes() == other.network_.parameters.tobytes()
    assert one.network_.buffers.tobytes() == other.network_.buffers.tobytes()
    assert known(one) == known(other)


class Interrupt(bp.Callback):
    def on_epoch_end(self, run):
        if run.epoch == 3:
            raise KeyboardInterrupt


# What one fit leaves to the next.

STOPPING = [
    {"learning_rate_init": 0.02}, {"learning_rate_init": 0.02, "early_stopping": True},
    {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.02},
    {"optimizer": bp.SGD(0.02, momentum=0.9), "early_stopping": True}, {"optimizer": bp.Rprop(), "tol": 1e-5},
    {"learning_rate_init": 0.02, "dropout": 0.05, "early_stopping": True}, {"optimizer": "rmsprop", "tol": 1e-5},
]  # fmt: skip


@pytest.mark.parametrize("settings", STOPPING, ids=str)
def test_a_warm_start_learns_the_new_data(settings):
    mlp = MLPRegressor(hidden_layer_sizes=(7,), warm_start=True, random_state=0, **settings).fit(X, ONE)
    epochs = mlp.n_iter_
    assert mlp.score(X, ONE) > 0.9 > mlp.score(X, OTHER)
    mlp.fit(X, OTHER)
    assert mlp.n_iter_ > 5 and mlp.score(X, OTHER) > 0.9
    assert len(mlp.loss_curve_) == epochs + mlp.n_iter_
    recent = slice(-mlp.n_iter_, None)
    if settings.get("early_stopping"):
        assert mlp.best_validation_score_ == max(mlp.validation_scores_[recent]) and mlp.best_loss_ is None
        assert len(mlp.validation_scores_) == len(mlp.loss_curve_)
    else:
        assert mlp.best_loss_ == min(mlp.loss_curve_[recent]) and mlp.validation_scores_ is None
    epochs = len(mlp.loss_curve_)
    mlp.fit(X, OTHER)  # the same data once more: it is given its time again
    assert mlp.n_iter_ > mlp.n_iter_no_change and mlp.score(X, OTHER) > 0.9
    assert len(mlp.loss_curve_) == epochs + mlp.n_iter_


def test_a_warm_start_is_one_longer_fit():
    """Where nothing stops it, two fits of plain gradient descent are one; also one by one, and copied on the way."""
    settings = {"hidden_layer_sizes": (5,), "solver": "sgd", "momentum": 0, "random_state": 0, "dropout": 0.2, "tol": 0}
    whole = MLPRegressor(**settings, max_iter=8).fit(X, ONE)
    for parts in [3, 5], [1] * 8:
        mlp = MLPRegressor(**settings, warm_start=True)
        for part in parts:
            mlp = pickle.loads(pickle.dumps(mlp)).set_params(max_iter=part).fit(X, ONE)
        assert mlp.network_.parameters.tobytes() == whole.network_.parameters.tobytes()
        assert (mlp.loss_curve_, mlp.t_) == (whole.loss_curve_, whole.t_)


def _partly(mlp, y, calls=3):
    for _ in range(calls):
        mlp.partial_fit(X, y, X_val=X[:50], y_val=y[:50])


BEFORE = {
    "a fit": lambda mlp: mlp.fit(X, OTHER),
    "a fit of other columns": lambda mlp: mlp.fit(X[:, :4], OTHER),
    "a fit of several outputs": lambda mlp: mlp.fit(X, np.stack([ONE, OTHER], axis=1)),
    "partial fits": lambda mlp: _partly(mlp, OTHER),
    "partial fits that stopped": lambda mlp: _partly(mlp, OTHER, 40),
    "a fit that was interrupted": lambda mlp: copied(mlp, callbacks=[Interrupt()], solver="adam").fit(X, OTHER),
    "a fit that burst": lambda mlp: copied(mlp, solver="sgd", learning_rate_init=1e9).fit(X, OTHER),
    "a fit that was refused": lambda mlp: mlp.fit(X, OTHER[1:]),
    "a fit by L-BFGS": lambda mlp: copied(mlp, solver="lbfgs").fit(X, OTHER),
    "an average": lambda mlp: copied(
        mlp, optimizer=bp.Adam(0.1, average=0.5), learning_rate="constant").fit(X, OTHER),
    "another stopping": lambda mlp: copied(mlp, early_stopping=not mlp.early_stopping).fit(X, OTHER),
    "another shape": lambda mlp: copied(mlp, hidden_layer_sizes=(3, 2), batch_norm=True, solver="adam").fit(X, OTHER),
}  # fmt: skip


def copied(mlp, **settings):
    """The same object with other settings, put back after the fit."""
    kept = mlp.get_params()
    mlp.set_params(**settings)

    class Once:
        def fit(self, x, y):
            try:
                mlp.fit(x, y)
            finally:
                mlp.set_params(**{name: kept[name] for name in settings})

    return Once()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"optimizer": bp.Adam(0.01, average=0.9)},
                                      {"solver": "sgd", "learning_rate": "adaptive"}, {"solver": "lbfgs"}], ids=str)  # fmt: skip
def test_a_cold_fit_is_as_if_it_were_the_first(before, settings):
    settings = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 20, "tol": 1e-3, **settings}
    if "partial" in before and settings.get("solver") == "lbfgs":
        settings.pop("solver")
    mlp, new = MLPRegressor(**settings), MLPRegressor(**settings).fit(X, ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            BEFORE[before](mlp)
        except ValueError:
            assert before in ("a fit that burst", "a fit that was refused")
    same(mlp.fit(X, ONE), new)
    same(pickle.loads(pickle.dumps(mlp)), new)
    assert not hasattr(clone(mlp), "network_")


def _set(**settings):
    return lambda mlp: mlp.set_params(**settings)


REFUSED = {  # what is asked for, the data, what is said
    "sizes": (_set(hidden_layer_sizes=(3,)), X, ONE, r"hidden_layer_sizes changed under HOW from \(7,\) to \(3,\)"),
    "a layer": (_set(hidden_layer_sizes=[7, 2]), X, ONE, r"hidden_layer_sizes changed under HOW from \(7,\) to \(7, 2\)"),
    "a norm": (_set(batch_norm=True), X, ONE, "batch_norm changed under HOW from False to True"),
    "another norm": (_set(layer_norm=True), X, ONE, "layer_norm changed under HOW from False to True"),
    "levels": (_set(loss=bp.losses.Quantile([0.1, 0.9])), X, ONE, "the number of outputs changed under HOW from 1 to 2"),
    "targets": (_set(), X, np.stack([ONE, ONE], 1), "the number of outputs changed under HOW from 1 to 2"),
    "categories": (_set(categorical_features=[0]), X, ONE, r"categorical_features changed under HOW from None to \[0\]"),
    "columns": (_set(), X[:, :4], ONE, "X has 4 features, but MLPRegressor is expecting 7"),
    "rows": (_set(), X[1:], ONE, "inconsistent numbers of samples"),
    "NaN": (_set(), np.where(np.isclose(X, X[3, 3]), np.nan, X), ONE, "NaN"),
    "a loss": (_set(loss="none"), X, ONE, "loss: expected one of"),
    "an activation": (_set(activation="rleu"), X, ONE, "activation: expected one of"),
    "dropout": (_set(dropout=[0.1, 0.1]), X, ONE, "dropout: expected one for each"),
}  # fmt: skip


@pytest.mark.parametrize("how", ["warm_start", "partial_fit", "fit"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_changes_nothing(what, how):
    """The model answers as before, and goes on as before; the message is in the words of the parameters."""
    change, x, y, said = REFUSED[what]
    settings = {"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 5, "warm_start": how == "warm_start"}
    mlp, twin = (MLPRegressor(**settings).fit(X, ONE) for _ in range(2))
    kept = mlp.get_params()
    change(mlp)
    call = mlp.partial_fit if how == "partial_fit" else mlp.fit
    if how == "fit" and what in (
        "sizes",
        "a layer",
        "a norm",
        "another norm",
        "levels",
        "targets",
        "categories",
        "columns",
    ):
        return  # to begin anew is allowed
    with pytest.raises(ValueError, match=said.replace("HOW", how)):
        call(x, y)
    mlp.set_params(**kept)
    same(mlp, twin)
    np.testing.assert_array_equal(mlp.predict(X), twin.predict(X))
    same(mlp.partial_fit(X, OTHER), twin.partial_fit(X, OTHER))


def test_classes_that_are_refused_change_nothing():
    names = np.array(["a", "b", "c"])[np.digitize(ONE, [-0.5, 0.5])]
    labels = np.stack([ONE > 0, OTHER > 0], axis=1).astype(int)
    mlp = MLPClassifier((4,), max_iter=3, random_state=0, warm_start=True).fit(X, names)
    before = mlp.predict(X).tolist()
    for y, said in (
        (np.where(names == "a", "d", names), "same classes"), (names[names != "c"].repeat(2)[:300], "same classes|incons"),
        (labels, "y: expected one class for each row, as in the last fit, got several labels"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            mlp.fit(X[: len(y)], y)
        assert mlp.predict(X).tolist() == before and mlp.classes_.tolist() == ["a", "b", "c"]
    mlp = MLPClassifier((4,), max_iter=3, random_state=0, loss="mse").fit(X, names)
    before = mlp.predict(X).tolist()
    with pytest.raises(ValueError, match="output_activation"):
        mlp.set_params(output_activation="tanh").fit(X, names == "a")
    assert mlp.predict(X).tolist() == before
    new = MLPClassifier((4,))
    with pytest.raises(ValueError, match="class in each of several columns"):
        new.partial_fit(X, np.stack([names, names], 1), classes=["a", "b", "c"])
    new.partial_fit(X, names, classes=["a", "b", "c"])


@pytest.mark.parametrize("early", [False, True])
def test_stopping_can_be_changed_between_fits(early):
    mlp = MLPRegressor(
        hidden_layer_sizes=(5,), warm_start=True, random_state=0, max_iter=4, early_stopping=early, tol=0
    )
    mlp.fit(X, ONE).set_params(early_stopping=not early).fit(X, ONE)
    assert mlp.n_iter_ == 4 and len(mlp.loss_curve_) == 8
    assert (mlp.validation_scores_ is None) == early and (mlp.best_loss_ is None) != early
    mlp.set_params(early_stopping=True)
    for _ in range(3):
        mlp.partial_fit(X, ONE, X_val=X, y_val=ONE)
    assert mlp.validation_scores_[-1] == mlp.best_validation_score_
    mlp.set_params(early_stopping=False).partial_fit(X, ONE)
    assert mlp.validation_scores_ is None and mlp.best_loss_ == mlp.loss_


def test_a_series_of_partial_fits_ends_with_itself():
    """After it has stopped, or after a fit, the next series judges by its own scores, on other data too."""
    mlp = MLPRegressor(
        hidden_layer_sizes=(7,), early_stopping=True, n_iter_no_change=3, random_state=0, learning_rate_init=0.02
    )
    for y in ONE, OTHER, ONE:
        for _ in range(500):
            mlp.partial_fit(X, y, X_val=X, y_val=y)
            if mlp.stopped_:
                break
        assert mlp.stopped_ and mlp.score(X, y) == mlp.best_validation_score_ > 0.9
    mlp.fit(X, ONE, X_val=X, y_val=ONE)
    for _ in range(2):
        mlp.partial_fit(X, OTHER, X_val=X, y_val=OTHER)
    assert not mlp.stopped_ and mlp.best_validation_score_ == max(mlp.validation_scores_[-2:])
    mlp = MLPRegressor(hidden_layer_sizes=(7,), random_state=0).fit(X, ONE)
    assert not mlp.partial_fit(X, ONE).stopped_ and mlp.n_iter_ == 1


CHANGES = {
    "learning_rate_init": ({"learning_rate_init": 1e-30}, lambda change: abs(change).max() < 1e-20),
    "optimizer": ({"optimizer": bp.SGD(0.0)}, lambda change: not change.any()),
    "learning_rate": ({"learning_rate": bp.schedules.Constant(0.0)}, lambda change: not change.any()),
    "clip_value": ({"solver": "sgd", "momentum": 0, "clip_value": 1e-9}, lambda change: abs(change).max() < 1e-9),
}


@pytest.mark.parametrize("what", CHANGES)
def test_partial_fit_heeds_what_is_set_between(what):
    settings, expected = CHANGES[what]
    mlp = MLPRegressor(hidden_layer_sizes=(7,), random_state=0)
    for _ in range(3):
        mlp.partial_fit(X, ONE)
    before = mlp.network_.parameters.copy()
    mlp.set_params(**settings).partial_fit(X, ONE)
    assert expected(mlp.network_.parameters - before)


def test_partial_fit_goes_on_where_the_rate_is_changed():
    """Adam's means stay, and so do the weights and the order of the rows, where alpha or the dropout is changed."""
    mlp, net = MLPRegressor(hidden_layer_sizes=(7,), random_state=0, alpha=0, batch_size=50), None
    mlp.partial_fit(X, ONE)
    net, optimizer = mlp.network_.copy(), copy.deepcopy(mlp._optimizer)
    mlp.set_params(learning_rate_init=0.05).partial_fit(X, ONE)
    optimizer.learning_rate = 0.05
    net.fit(X, ONE, loss="mse", optimizer=optimizer, batch_size=50)
    np.testing.assert_allclose(mlp.network_.parameters, net.parameters, rtol=1e-12)
    mlp.set_params(alpha=300.0, activation="tanh", dropout=0.1).partial_fit(X, ONE)
    layers = mlp.network_.layers
    assert (layers[0].l2, layers[0].activation.name, layers[1].rate) == (300.0, "tanh", 0.1)
    assert mlp.network_.epochs == 3 and mlp._optimizer.steps == 18


def test_what_is_set_after_a_fit_does_not_change_it():
    y = np.where(ONE > 0, "yes", "no")
    gaussian = MLPRegressor("gaussian_nll", (5,), max_iter=5, random_state=0).fit(X, ONE)
    logits = MLPClassifier((5,), loss=bp.BinaryCrossEntropy(from_logits=True), max_iter=5, random_state=0).fit(X, y)
    table = np.column_stack([np.round(X[:, 0]), X[:, 1:]])
    embedded = MLPRegressor("mae", (5,), categorical_features=[0], max_iter=5, random_state=0).fit(table, ONE)
    for mlp, x in (gaussian, X), (logits, X), (embedded, table):
        before = mlp.predict(x).tolist()
        mlp.set_params(
            loss="mse", categorical_features=None, output_activation="tanh", optimizer="adam", batch_norm=True
        )
        assert mlp.predict(x).tolist() == before
        assert mlp.set_params(categorical_features=[0]).predict(x).tolist() == before


def test_the_rows_held_out_are_those_of_the_first_fit():
    """Else a warm start would be judged by rows that it has learned."""
    seen = []

    class Look(bp.Callback):
        def on_fit_begin(self, run):
            seen.append(np.sort(run.settings.validation.x[:, 0]).tolist())

    mlp = MLPRegressor(hidden_layer_sizes=(5,), warm_start=True, early_stopping=True, random_state=0, max_iter=2)
    mlp.set_params(callbacks=[Look()])
    mlp.fit(X, ONE).fit(X, ONE)
    assert seen[0] == seen[1]


def test_an_interrupted_fit_knows_what_it_has_done():
    mlp = MLPRegressor(hidden_layer_sizes=(5,), random_state=0, callbacks=[Interrupt()], warm_start=True)
    with pytest.warns(UserWarning, match="interrupted"):
        mlp.fit(X, ONE)
    assert mlp.n_iter_ == len(mlp.loss_curve_) == 3 and mlp.best_loss_ == min(mlp.loss_curve_)
    mlp.set_params(callbacks=()).fit(X, ONE)
    assert mlp.n_iter_ > 10 and len(mlp.loss_curve_) == 3 + mlp.n_iter_


@pytest.mark.parametrize("calls", [1, 2, 30])
def test_an_interrupted_fit_by_lbfgs_keeps_its_last_step(calls):
    looks = []

    def squares(y_hat, y):
        looks.append(1)
        if len(looks) == calls:
            raise KeyboardInterrupt
        return _squares(y_hat, y)

    settings = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "random_state": 0, "max_iter": 200}
    mlp = MLPRegressor(squares, **settings)
    with pytest.warns(UserWarning, match="interrupted"):
        mlp.fit(X, ONE)
    assert mlp.n_iter_ < calls
    twin = MLPRegressor(_squares, **(settings | {"max_iter": max(mlp.n_iter_, 1)})).fit(X, ONE)
    if mlp.n_iter_:
        np.testing.assert_array_equal(mlp.predict(X), twin.predict(X))
        assert mlp.loss_ == twin.loss_
    assert np.isfinite(mlp.predict(X)).all()


def test_an_optimizer_that_has_been_elsewhere_begins_anew():
    used = bp.Adam(0.01)
    bp.Sequential([bp.Dense(7, 5), bp.Dense(5, 1)]).fit(X, ONE, loss="mse", optimizer=used, epochs=2)
    settings = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 4}
    a, b = (MLPRegressor(optimizer=optimizer, **settings).fit(X, ONE) for optimizer in (used, bp.Adam(0.01)))
    same(a, b)
    assert used.steps == 20


# Answers that are what they are taken for.

SMALL = X[:60, :4]
TARGETS = {
    "two classes": np.array(["no", "yes"])[(SMALL[:, 0] > 0).astype(int)],
    "three classes": (SMALL[:, 0] > 0).astype(int) + (SMALL[:, 1] > 0),
    "labels": (SMALL[:, :3] > 0).astype(int),
}


def called(loss):
    return getattr(loss, "__name__", str(loss))  # without an address, which differs from process to process


def _squares(y_hat, y, sample_weight=None):
    return float(np.square(y_hat - y).mean()), 2 * (y_hat - y) / y.size


class OwnLogits(bp.losses.BinaryCrossEntropy):
    def __call__(self, y_hat, y, sample_weight=None):
        return super().__call__(y_hat, y, sample_weight)


NAMES = ["log_loss", *sorted(bp.losses._TABLE)]
OBJECTS = [
    bp.BinaryCrossEntropy(from_logits=True), bp.BinaryCrossEntropy(reduction="sum"), bp.CrossEntropy(from_logits=True),
    bp.CrossEntropy(label_smoothing=0.1), bp.losses.Focal(), bp.losses.Focal(multi_label=True),
    bp.losses.Focal(from_logits=True), bp.losses.Focal(from_logits=True, multi_label=True),
    bp.losses.KLDivergence(from_logits=True), bp.losses.Poisson(log_input=True), bp.MeanSquaredError(reduction="sum"),
    bp.MeanSquaredError(reduction="none"), bp.losses.Quantile([0.1, 0.9]), _squares, OwnLogits(from_logits=True),
]  # fmt: skip
ENDS = [None, "identity", "sigmoid", "logistic", "softmax", "tanh", "hard_sigmoid", "log_softmax", "relu", "exp"]
NEVER = ("hinge", "squared_hinge", "quantile", "gaussian_nll", "Poisson(log", "Quantile(", "reduction='none'")


def _fits(mlp, x, y):
    """Fit it, or be refused in the words of its parameters."""
    said = ""
    try:
        mlp.fit(x, y)
    except ValueError as error:
        said = str(error)
    assert said.startswith(("loss: expected", "output_activation: expected")) or not said
    return not said


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("loss", [*NAMES, *OBJECTS], ids=called)
def test_a_classifier_answers_with_probabilities_or_refuses(loss, kind):
    y, works = TARGETS[kind], []
    for end in ENDS:
        mlp = MLPClassifier((4,), loss=loss, output_activation=end, max_iter=3, random_state=0, early_stopping=True)
        if not _fits(mlp, SMALL, y):
            continue
        works.append(end)
        found, chances = mlp.predict(SMALL), mlp.predict_proba(SMALL)
        assert chances.min() >= 0 and chances.max() <= 1
        if kind == "labels":
            np.testing.assert_array_equal(found, chances > 0.5)
            right = (found == y).all(axis=1)
        else:
            assert chances.shape == (60, len(mlp.classes_))
            np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-6)
            np.testing.assert_array_equal(found, mlp.classes_[chances.argmax(axis=1)])
            right = found == y
        assert mlp.score(SMALL, y) == right.mean()
        with np.errstate(divide="ignore"):
            np.testing.assert_array_equal(mlp.predict_log_proba(SMALL), np.log(chances))
        assert max(mlp.validation_scores_) == mlp.best_validation_score_
    impossible = any(never in str(loss) for never in NEVER)
    if kind == "labels":
        impossible |= "cosine" in str(loss) or str(loss) in ("cross_entropy", "kl_divergence", "Focal()")
        impossible |= "CrossEntropy(from" in str(loss) and "Binary" not in str(loss) and "Own" not in str(loss)
        impossible |= "smoothing" in str(loss) or "KLD" in str(loss) or str(loss) == "Focal(from_logits=True)"
    if kind == "two classes" and "cosine" in str(loss):
        assert works == ["softmax"]  # one number has no direction
    else:
        assert (None in works) != impossible
    assert not {"tanh", "log_softmax", "relu", "exp"} & {*works}
    assert ("identity" in works) <= ("from_logits" in str(loss) or isinstance(loss, OwnLogits))


LOGITS = [
    (bp.BinaryCrossEntropy, {}, "sigmoid"), (bp.CrossEntropy, {}, "softmax"), (bp.losses.KLDivergence, {}, "softmax"),
    (bp.losses.Focal, {"multi_label": True}, "sigmoid"), (bp.losses.Focal, {}, None),
]  # fmt: skip


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(("loss", "how", "end"), LOGITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_logits_are_the_same_model(loss, how, end, kind, weighted):
    if kind == "labels" and (end == "softmax" or (end is None)):
        return
    settings = {"hidden_layer_sizes": (4,), "random_state": 0, "max_iter": 20, "early_stopping": True, "tol": 0}
    weights = {"sample_weight": 1.0 + (SMALL[:, 3] > 0)} if weighted else {}
    if kind == "three classes":
        settings["class_weight"] = {0: 1.0, 1: 2.0, 2: 3.0}
    a, b = (
        MLPClassifier(loss=loss(**how, from_logits=logits), **settings).fit(SMALL, TARGETS[kind], **weights)
        for logits in (False, True)
    )
    assert b.out_activation_ == "identity"
    np.testing.assert_allclose(a.predict_proba(SMALL), b.predict_proba(SMALL), rtol=1e-6)
    np.testing.assert_array_equal(a.predict(SMALL), b.predict(SMALL))
    np.testing.assert_allclose(a.validation_scores_, b.validation_scores_)


def test_logits_that_are_the_issue_of_users():
    """Many rows far apart: the logits are large, the probabilities are not."""
    y = (20 * ONE > 1).astype(int)
    mlp = MLPClassifier(loss=bp.BinaryCrossEntropy(from_logits=True), output_activation="identity", random_state=0,
                        learning_rate_init=0.05).fit(20 * X, y)  # fmt: skip
    assert abs(mlp.network_.predict(20 * X)).max() > 10
    assert mlp.score(20 * X, y) > 0.95
    np.testing.assert_array_equal(mlp.predict(20 * X), mlp.network_.predict(20 * X)[:, 0] > 0)


def test_one_class_against_the_rest():
    y, settings = TARGETS["three classes"], {"random_state": 0, "learning_rate_init": 0.02}
    for loss, end in ("binary_cross_entropy", None), ("mse", "sigmoid"), ("mse", "hard_sigmoid"):
        mlp = MLPClassifier((8,), loss=loss, output_activation=end, **settings).fit(SMALL, y)
        raw = mlp.network_.predict(SMALL)
        sums = raw.sum(axis=1, keepdims=True)
        assert abs(sums - 1).max() > 1e-3 and mlp.score(SMALL, y) > 0.9
        np.testing.assert_allclose(
            mlp.predict_proba(SMALL), np.where(sums > 0, raw / np.where(sums > 0, sums, 1), 1 / 3)
        )
    mlp.network_.layers[-1].weight[...] = 0
    mlp.network_.layers[-1].bias[...] = -9
    np.testing.assert_allclose(mlp.predict_proba(SMALL), 1 / 3)


VALUES = {"one": np.exp(SMALL[:, 0] / 2), "two": np.exp(np.stack([SMALL[:, 0], SMALL[:, 1]], axis=1) / 2)}
SHARES = {name: 1 / (1 + y) for name, y in VALUES.items()}
PARTS = {"one": None, "two": np.stack([SHARES["one"], 1 - SHARES["one"]], axis=1)}
REGRESSORS = {  # the loss, its targets, the columns it answers with
    "squared_error": (VALUES, 1), "poisson": (VALUES, 1), "mse": (VALUES, 1), "mae": (VALUES, 1), "huber": (VALUES, 1),
    "log_cosh": (VALUES, 1), "quantile": (VALUES, 1), "gaussian_nll": (VALUES, 1), "binary_cross_entropy": (SHARES, 1),
    "cross_entropy": (PARTS, 1), "kl_divergence": (PARTS, 1), "cosine_similarity": ({"two": VALUES["two"]}, 1),
}  # fmt: skip
MORE = [
    (bp.losses.Quantile([0.1, 0.5, 0.9]), VALUES, 3), (bp.losses.Quantile([0.9]), VALUES, 1),
    (bp.losses.Poisson(log_input=True), VALUES, 1), (bp.losses.Poisson(), VALUES, 1),
    (bp.BinaryCrossEntropy(from_logits=True), SHARES, 1), (bp.CrossEntropy(from_logits=True), PARTS, 1),
    (bp.losses.KLDivergence(from_logits=True), PARTS, 1), (bp.losses.GaussianNLL(reduction="sum"), VALUES, 1),
    (bp.losses.Focal(0, from_logits=True), {"one": SHARES["one"]}, 1), (_squares, VALUES, 1),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "targets", "columns"), [(a, *b) for a, b in REGRESSORS.items()] + MORE,
                         ids=[*REGRESSORS, *(called(loss) for loss, _, _ in MORE)])  # fmt: skip
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_regressor_answers_in_the_unit_of_its_targets(loss, targets, columns, solver, weighted):
    weights = {"sample_weight": 0.5 + (SMALL[:, 3] > 0)} if weighted else {}
    rate = {"adam": 0.02, "lbfgs": 1.0, "sgd": 1e-5 if "sum" in str(loss) else 1e-3}[solver]
    for n, y in (("one", targets.get("one")), ("two", targets.get("two"))):
        if y is None:
            continue
        mlp = MLPRegressor(
            loss, (6,), "tanh", solver=solver, learning_rate_init=rate, random_state=0,
            max_iter=400, early_stopping=solver == "adam", validation_fraction=0.2,
            n_iter_no_change=40,
        ).fit(SMALL, y, **weights)  # fmt: skip
        found, n_targets = mlp.predict(SMALL), {"one": 1, "two": 2}[n]
        width = n_targets * columns
        assert found.shape == ((60,) if width == 1 else (60, width)) and np.isfinite(found).all()
        score = mlp.score(SMALL, y)
        assert score == (r2_score(y, found) if columns == 1 else score) <= 1
        direction = "cosine" in str(loss)  # which leaves the length open
        assert direction or solver == "sgd" or score > (-0.5 if "Quantile((0.9" in str(loss) else 0.6)


@pytest.mark.parametrize(("plain", "other", "targets"), [
    ("poisson", bp.losses.Poisson(log_input=True), VALUES), ("poisson", bp.losses.Poisson(), VALUES),
    ("binary_cross_entropy", bp.BinaryCrossEntropy(from_logits=True), SHARES),
])  # fmt: skip
@pytest.mark.parametrize("n", ["one", "two"])
def test_logarithms_and_logits_are_the_same_regression(plain, other, targets, n):
    settings = {"random_state": 0, "max_iter": 30, "alpha": 0, "learning_rate_init": 0.01}
    a, b = (MLPRegressor(loss, (6,), **settings).fit(SMALL, targets[n]) for loss in (plain, other))
    np.testing.assert_allclose(a.predict(SMALL), b.predict(SMALL), rtol=1e-5)
    assert b.score(SMALL, targets[n]) == r2_score(targets[n], b.predict(SMALL))


@pytest.mark.parametrize(("settings", "said"), [
    ({"loss": "gaussian_nll", "output_activation": "softplus"}, "output_activation: expected None or 'identity'.*log-var"),
    ({"loss": "poisson", "output_activation": "tanh"}, "output_activation: expected None or 'exp'"),
    ({"loss": bp.losses.Poisson(), "output_activation": "identity"}, "output_activation: expected None or 'exp'"),
    ({"loss": "binary_cross_entropy", "output_activation": "tanh"}, "output_activation: expected None or 'sigmoid'"),
    ({"loss": bp.BinaryCrossEntropy(from_logits=True), "output_activation": "sigmoid"}, "None or 'identity'"),
    ({"loss": "cosine_similarity"}, "loss: expected one that looks at more than the sign"),
    ({"loss": bp.MeanSquaredError(reduction="none")}, "loss: expected a single number"),
    ({"loss": bp.MeanSquaredError(reduction="none"), "solver": "lbfgs"}, "loss: expected a single number"),
    ({"optimizer": bp.Adam(), "clip_norm": 1.0}, "clip_norm: expected it in the optimizer.*got clip_norm=1.0 beside Adam"),
    ({"optimizer": bp.SGD(0.1), "clip_value": 1.0}, "clip_value: expected it in the optimizer"),
    ({"optimizer": bp.Rprop(), "learning_rate": "adaptive"}, "learning_rate: expected it in the optimizer.*Rprop"),
    ({"optimizer": bp.SGD(0.1), "learning_rate": "invscaling"}, "learning_rate: expected it in the optimizer"),
    ({"optimizer": "adam", "learning_rate": bp.schedules.Constant(0.1)}, "learning_rate: expected it in the optimizer"),
    ({"solver": "lbfgs", "learning_rate": bp.schedules.Constant(0.1)}, "learning_rate: expected a solver that goes"),
    ({"optimizer": "adma"}, "optimizer: expected one of.*'adma'"),
    ({"loss": "squared_eror"}, "loss: expected one of squared_error, .*did you mean 'squared_error'"),
    ({"output_activation": "tnah"}, "output_activation: expected one of .*did you mean 'tanh'"),
    ({"optimizer": bp.Rprop(), "callbacks": [bp.ReduceOnPlateau("loss")]}, "ReduceOnPlateau: expected an optimizer"),
    ({"callbacks": [bp.Checkpoint("none/none")]}, "path: expected a folder"),
])  # fmt: skip
def test_what_would_not_be_heeded_is_refused(settings, said):
    with pytest.raises((ValueError, TypeError, OSError), match=said):
        MLPRegressor(hidden_layer_sizes=(4,), **settings).fit(SMALL, VALUES["one"])


@pytest.mark.parametrize(("more", "said"), [
    ({"sample_weight_val": np.ones(60)}, "sample_weight_val: expected it together with X_val"),
    ({"X_val": SMALL}, "X_val: expected it together with y_val"),
    ({"X_val": SMALL, "y_val": VALUES["two"]}, "y_val: expected as many columns as y has, 1, got 2"),
    ({"X_val": SMALL, "y_val": VALUES["one"][1:]}, "inconsistent numbers of samples"),
    ({"X_val": SMALL[:, 1:], "y_val": VALUES["one"]}, "X has 3 features"),
])  # fmt: skip
def test_validation_data_that_does_not_fit(more, said):
    with pytest.raises(ValueError, match=said):
        MLPRegressor(hidden_layer_sizes=(4,)).fit(SMALL, VALUES["one"], **more)
    with pytest.raises(ValueError, match=r"y_val: .*classes not in"):
        MLPClassifier((4,)).fit(SMALL, TARGETS["two classes"], X_val=SMALL[:2], y_val=["yes", "maybe"])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_alpha_is_the_same_under_a_function(solver, weighted):
    def squares(y_hat, y, sample_weight=None):
        weights = np.ones(len(y)) if sample_weight is None else sample_weight
        share = (weights / weights.sum())[:, None] / y.shape[1]
        return float((share * np.square(y_hat - y)).sum()), 2 * share * (y_hat - y)

    settings = {"hidden_layer_sizes": (4,), "alpha": 5.0, "random_state": 0, "max_iter": 20, "solver": solver}
    weights = {"sample_weight": 0.5 + (SMALL[:, 3] > 0)} if weighted else {}
    a, b = (MLPRegressor(loss, **settings).fit(SMALL, VALUES["two"], **weights) for loss in ("mse", squares))
    np.testing.assert_allclose(a.predict(SMALL), b.predict(SMALL), rtol=1e-6)
    assert a.loss_ == pytest.approx(b.loss_)


# Every optimizer.


class Own(bp.Optimizer):
    """One of the user's own."""

    def __init__(self):
        super().__init__(0.05)

    def step(self, net):
        net.parameters -= self.learning_rate * net.gradients


@pytest.mark.parametrize("name", [*sorted(set(bp.optimizers.__all__) - {"Optimizer"}), "own", "clipped", "scheduled"])
def test_every_optimizer_trains_an_estimator(name):
    special = {
        "own": Own(), "clipped": bp.Adam(0.02, clip_norm=1.0, clip_value=0.5),
        "scheduled": bp.SGD(bp.schedules.Cosine(0.05, 600, warmup=20), momentum=0.9), "SGD": bp.SGD(0.05),
        "Lion": bp.Lion(0.005), "Adadelta": bp.Adadelta(5.0), "Adagrad": bp.Adagrad(0.1),
    }  # fmt: skip
    optimizer = special.get(name) or getattr(bp.optimizers, name)()
    y = np.where(ONE > 0, "yes", "no")
    for mlp, target in (MLPClassifier(), y), (MLPRegressor(), ONE):
        mlp.set_params(hidden_layer_sizes=(6,), optimizer=optimizer, max_iter=200, random_state=0, batch_size=50,
                       n_iter_no_change=100)  # fmt: skip
        if not optimizer.stochastic:
            mlp.set_params(batch_size="auto")
        for settings in {}, {"early_stopping": True}, {"early_stopping": False, "warm_start": True}:
            mlp.set_params(**settings).fit(X, target)
            assert mlp.score(X, target) > 0.8
            assert optimizer.steps == 0 and not optimizer.state
    if optimizer.stochastic:
        for _ in range(3):
            mlp.partial_fit(X, ONE)
        assert mlp._optimizer.steps > 18
    if name.lower() in bp.optimizers.__all__:
        assert MLPRegressor(optimizer=name.lower(), max_iter=2).fit(X, ONE).n_iter_ == 2


def test_those_for_whole_sets_of_data_get_them():
    x, y = np.tile(X, (2, 1)), np.tile(ONE, 2)
    for optimizer, steps in (bp.Rprop(), 1), (bp.LBFGS(), 1), ("rprop", 1), (bp.Adam(), 3):
        mlp = MLPRegressor(hidden_layer_sizes=(5,), optimizer=optimizer, max_iter=4, random_state=0).fit(x, y)
        assert mlp._optimizer.steps == 4 * steps
    mlp = MLPRegressor(hidden_layer_sizes=(5,), optimizer=bp.Rprop(), batch_size=200, max_iter=4).fit(x, y)
    assert mlp._optimizer.steps == 12  # as it was asked for
    for optimizer in bp.LBFGS(), "lbfgs":
        mlp = MLPRegressor(optimizer=optimizer)
        assert not hasattr(mlp, "partial_fit")
        with pytest.raises(AttributeError, match="partial_fit"):
            mlp.partial_fit(X, ONE)


# Averaged weights.


@pytest.mark.parametrize("early", [False, True])
def test_the_averaged_weights_answer(early):
    settings = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 30, "batch_size": 300, "tol": 0}
    if early:
        settings |= {"early_stopping": True}
    seen = {}

    class Watch(bp.Callback):
        """The mean, one step an epoch, and what it and the plain weights say of the data."""

        def on_epoch_end(self, run):
            now = run.network.parameters.copy()
            mean = seen.get("mean", now)
            seen["mean"] = 0.8 * mean + 0.2 * now if "mean" in seen else now
            twin = run.network.copy()
            twin.parameters = seen["mean"]
            seen.setdefault("scores", []).append(r2_score(ONE, twin.predict(X)))
            seen.setdefault("losses", []).append(np.square(twin.predict(X)[:, 0] - ONE).mean() / 2)
            seen["plain"] = now

    mlp = MLPRegressor(optimizer=bp.Adam(0.02, average=0.8), callbacks=[Watch()], **settings)
    mlp.fit(X, ONE, X_val=X, y_val=ONE)
    np.testing.assert_allclose(mlp.validation_loss_curve_, seen["losses"], rtol=1e-6)
    if early:
        np.testing.assert_allclose(mlp.validation_scores_, seen["scores"], rtol=1e-6)
        assert mlp.score(X, ONE) == pytest.approx(mlp.best_validation_score_)
    else:
        np.testing.assert_allclose(mlp.network_.parameters, seen["mean"], rtol=1e-12)
        assert mlp.score(X, ONE) == pytest.approx(seen["scores"][-1])
    again = pickle.loads(pickle.dumps(mlp.set_params(callbacks=())))
    np.testing.assert_array_equal(again.predict(X), mlp.predict(X))


def test_training_goes_on_from_the_plain_weights():
    settings = {"hidden_layer_sizes": (5,), "random_state": 0, "batch_size": 50}
    plain, mean = (MLPRegressor(optimizer=bp.Adam(0.01, average=average), **settings) for average in (None, 0.9))
    whole = MLPRegressor(optimizer=bp.Adam(0.01, average=0.9), max_iter=6, **settings).fit(X, ONE)
    for _ in range(6):
        plain.partial_fit(X, ONE), mean.partial_fit(X, ONE)
        mean = pickle.loads(pickle.dumps(mean))
        np.testing.assert_array_equal(mean.network_.parameters, mean._optimizer.state["average"])
    np.testing.assert_array_equal(mean.predict(X), whole.predict(X))
    assert mean.loss_curve_ == plain.loss_curve_ == whole.loss_curve_
    mean.coefs_[1][...] = 0  # what is written into the model counts
    mean.intercepts_[1][...] = 5
    mean.set_params(optimizer=bp.SGD(0.0)).partial_fit(X, ONE)
    np.testing.assert_array_equal(mean.predict(X), 5)
    warm = [
        MLPRegressor(optimizer=bp.SGD(0.01, average=a), max_iter=3, warm_start=True, **settings) for a in (None, 0.9)
    ]
    for mlp in warm:
        mlp.fit(X, ONE).fit(X, ONE)
    assert warm[0].loss_curve_ == warm[1].loss_curve_


# Intervals, deviations, scores.


def test_the_standard_deviation_is_that_of_the_targets():
    x = np.linspace(-2, 2, 2000)[:, None]
    deviation = np.where(x[:, 0] > 0, 2.0, 0.5)
    y = 5 + x[:, 0] + deviation * rng.normal(size=2000)
    mlp = MLPRegressor(
        "gaussian_nll", (20,), learning_rate_init=0.01, max_iter=400, random_state=0, tol=0, n_iter_no_change=400
    )
    mlp.fit(x, y)
    mean, std = mlp.predict(x, return_std=True)
    assert mean.shape == std.shape == (2000,) and (std > 0).all()
    np.testing.assert_array_equal(mean, mlp.predict(x))
    np.testing.assert_allclose(std**2, np.exp(mlp.network_.predict(x)[:, 1]), rtol=1e-12)
    for part in x[:, 0] < -0.8, x[:, 0] > 0.8:
        assert std[part].mean() == pytest.approx(deviation[part][0], rel=0.15)
    assert mlp.score(x, y) == r2_score(y, mean)
    pipeline = make_pipeline(StandardScaler(), MLPRegressor("gaussian_nll", (5,), max_iter=3)).fit(x, y)
    assert pipeline.predict(x, return_std=True)[1].shape == (2000,)
    two = MLPRegressor(bp.losses.GaussianNLL(), (5,), max_iter=3).fit(SMALL, VALUES["two"])
    assert [part.shape for part in two.predict(SMALL, return_std=True)] == [(60, 2), (60, 2)]


@pytest.mark.parametrize("loss", ["squared_error", "mae", bp.losses.Quantile([0.1, 0.9]), _squares])
def test_no_standard_deviation_without_a_variance(loss):
    mlp = MLPRegressor(loss, (4,), max_iter=2).fit(SMALL, VALUES["one"])
    with pytest.raises(ValueError, match="return_std: expected a fit with loss='gaussian_nll'"):
        mlp.predict(SMALL, return_std=True)
    assert mlp.set_params(loss="gaussian_nll").predict(SMALL).shape[0] == 60


@pytest.mark.parametrize(("levels", "central"), [
    (0.5, [0]), (0.9, [0]), ([0.5], [0]), ([0.1, 0.5, 0.9], [1]), ([0.9, 0.5, 0.1], [1]), ([0.25, 0.75], [0, 1]),
    ([0.1, 0.45, 0.8], [1]), ([0.1, 0.2, 0.3], [2]),
])  # fmt: skip
@pytest.mark.parametrize("n", ["one", "two"])
def test_the_score_of_quantiles_is_that_of_the_middle(levels, central, n):
    y, several = VALUES[n], isinstance(levels, list)
    mlp = MLPRegressor(bp.losses.Quantile(levels), (8,), max_iter=300, learning_rate_init=0.02, random_state=0)
    mlp.fit(SMALL, y)
    found = mlp.predict(SMALL).reshape(60, -1, len(levels) if several else 1)[:, :, central].mean(axis=2)
    assert mlp.score(SMALL, y) == r2_score(y, found)
    weights = rng.random(60)
    assert mlp.score(SMALL, y, weights) == r2_score(y, found, sample_weight=weights)


@pytest.mark.parametrize(
    "loss", ["gaussian_nll", bp.losses.Quantile([0.1, 0.5, 0.9]), bp.losses.Quantile(0.5)], ids=str
)
def test_they_can_be_compared(loss):
    settings = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.02, "random_state": 0}
    for early in False, True:
        mlp = MLPRegressor(loss, early_stopping=early, **settings)
        scores = cross_val_score(mlp, X, ONE, cv=3)
        assert (scores > 0.9).all()
    search = GridSearchCV(MLPRegressor(**settings), {"loss": ["mse", loss]}, cv=2).fit(X, ONE)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    mlp.fit(X, ONE, X_val=X[:90], y_val=ONE[:90])  # judged by the loss, which knows of more than the mean
    np.testing.assert_allclose(mlp.validation_scores_, np.negative(mlp.validation_loss_curve_))


# Categories beside numbers.


def test_the_numbers_beside_categories_are_scaled():
    colours = rng.choice(["red", "green", "blue"], 300)
    x = np.empty((300, 4), dtype=object)
    x[:, 0], x[:, 1], x[:, 2], x[:, 3] = 5e6 + 1e6 * X[:, 0], colours, 1e-6 * X[:, 1], 7.0
    y = X[:, 0] + X[:, 1] + (colours == "red")
    settings = {"hidden_layer_sizes": (20,), "learning_rate_init": 0.02, "random_state": 0}
    mlp = MLPRegressor(categorical_features=[1], **settings).fit(x, y)
    assert mlp.score(x, y) > 0.98
    scaled = x.copy()
    scaled[:, [0, 2, 3]] = StandardScaler().fit_transform(x[:, [0, 2, 3]].astype(float))
    same = MLPRegressor(categorical_features=[1], **settings).fit(scaled, y)  # whoever has scaled them loses nothing
    np.testing.assert_allclose(same.predict(scaled), mlp.predict(x), rtol=1e-6, atol=1e-6)
    gradients = mlp.input_gradients(x)
    for column, step in (0, 1.0), (2, 1e-12):
        moved = x.copy()
        moved[:, column] += step
        differences = (mlp.predict(moved) - mlp.predict(x)) / step
        np.testing.assert_allclose(gradients[:, column], differences, rtol=1e-3, atol=1e-3 * abs(differences).max())
    assert not gradients[:, 1].any()
    kept = mlp.predict(x[:5])
    for _ in range(2):
        mlp.set_params(optimizer=bp.SGD(0.0)).partial_fit(x[:9], y[:9])  # the scale is that of the first fit
    np.testing.assert_array_equal(mlp.predict(x[:5]), kept)
    only = np.stack([colours, colours], axis=1).astype(object)
    assert MLPRegressor(categorical_features=[0, 1], max_iter=3).fit(only, y).predict(only).shape == (300,)


def test_without_categories_nothing_is_scaled():
    x = 100 * X[:, :3] + 50
    mlp = MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(x, ONE)
    np.testing.assert_array_equal(mlp.predict(x), mlp.network_.predict(x)[:, 0])


def test_categories_are_no_worse_than_columns_of_their_own():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    size, colour = rng.uniform(1000, 9000, 400), rng.choice(["red", "green", "blue"], 400)
    frame = pd.DataFrame({"size": size, "colour": pd.Categorical(colour)})
    y = np.where((size > 5000) ^ (colour == "red"), "in", "out")
    from sklearn.compose import ColumnTransformer

    other = make_pipeline(
        ColumnTransformer([("words", OneHotEncoder(), ["colour"]), ("numbers", StandardScaler(), ["size"])]),
        MLPClassifier((20,), learning_rate_init=0.02, random_state=0),
    )
    mlp = MLPClassifier((20,), categorical_features="from_dtype", learning_rate_init=0.02, random_state=0)
    scores = [cross_val_score(model, frame, y, cv=3).mean() for model in (mlp, other)]
    assert scores[0] > scores[1] - 0.03 and scores[0] > 0.9


def test_the_warnings_are_still_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match="Maximum iterations"):
            MLPRegressor(hidden_layer_sizes=(4,), max_iter=2).fit(X, ONE)
