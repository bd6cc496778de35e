"""The estimators: scikit-learn's own checks and tests run on them, and what they are trained to is what its are."""

import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

import backprop as bp

pytest.importorskip("sklearn", minversion="1.6", reason="needs scikit-learn")

import sklearn
from sklearn import config_context, datasets, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from backprop.sklearn import MLPClassifier, MLPRegressor

PAIRS = [(MLPClassifier, neural_network.MLPClassifier), (MLPRegressor, neural_network.MLPRegressor)]

#: Weights of rows are to be the same as repeating them, which they are not under dropout or a batch norm.
CHECKED = [
    MLPClassifier(),
    MLPRegressor(),
    MLPClassifier((20,), max_iter=50, solver="lbfgs"),
    MLPRegressor(solver="sgd", learning_rate="adaptive", learning_rate_init=0.01, clip_norm=1.0),
    MLPClassifier((8, 4), ["tanh", "gelu"], max_iter=100, layer_norm=True, loss="focal", learning_rate_init=0.01),
    MLPRegressor(loss="huber", optimizer=bp.SGD(0.01, momentum=0.9), dtype="float64"),
    MLPClassifier(max_iter=100, learning_rate=bp.schedules.Cosine(0.01, 100), threads=2, alpha=0),
    MLPClassifier(n_members=2, max_iter=20),
    MLPRegressor(n_members=2),
]

#: What of scikit-learn's tests is of no concern here, and why.
EXCEPTIONS = {
    "test_gradient": "calls a private method with scikit-learn's lists of activations and deltas",
    "test_fit": "builds the private state of an estimator that was never fitted; test_a_worked_example does the sums",
}

since_1_7 = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.7"), reason="theirs had neither sample_weight nor loss then"
)
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# scikit-learn's checks, and its tests.

checks = parametrize_with_checks(CHECKED).mark  # before 1.9 a generator, which pytest no longer takes
PLAIN = {repr(estimator) for estimator in CHECKED[:2]}


@quiet
@pytest.mark.filterwarnings("ignore:Got `batch_size`:UserWarning")
@pytest.mark.parametrize(
    checks.args[0],
    [pytest.param(*case, marks=() if repr(case[0]) in PLAIN else pytest.mark.slow) for case in checks.args[1]],
    **checks.kwargs,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def _their_tests():
    """Each of scikit-learn's tests of its perceptrons, with our classes in the place of its own."""
    found = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    if found is None:
        pytest.skip("this scikit-learn was installed without its tests", allow_module_level=True)
    source, names = Path(found.origin).read_text(encoding="utf-8"), {"__name__": found.name}
    ours = re.sub("from sklearn.neural_network import (?=MLP)", "from backprop.sklearn import ", source)
    assert ours != source
    exec(compile(ours, found.origin, "exec"), names)
    assert names["MLPClassifier"] is MLPClassifier
    assert EXCEPTIONS.keys() <= names.keys()
    return {name: test for name, test in names.items() if name.startswith("test_") and name not in EXCEPTIONS}


@pytest.fixture
def global_random_seed():
    return 0


globals().update({
    f"test_theirs{name.removeprefix('test')}": pytest.mark.filterwarnings("ignore")(test)
    for name, test in _their_tests().items()
})  # fmt: skip


def test_a_worked_example():
    """scikit-learn's test_fit: one step whose numbers are worked out by hand in its comments."""
    x, y = np.array([[0.6, 0.8, 0.7]]), np.array([0])
    mlp = MLPClassifier(
        2, "logistic", solver="sgd", learning_rate_init=0.1, alpha=0.1, random_state=1, max_iter=1, momentum=0
    )
    mlp.partial_fit(x, y, classes=[0, 1])
    mlp.coefs_ = [[[0.1, 0.2], [0.3, 0.1], [0.5, 0]], [[0.1], [0.2]]]
    mlp.intercepts_ = [[0.1, 0.1], [1.0]]
    mlp.partial_fit(x, y)
    close = {"rtol": 0, "atol": 1.5e-3}
    np.testing.assert_allclose(
        mlp.coefs_[0], [[0.098, 0.195756], [0.2956664, 0.096008], [0.4939998, -0.002244]], **close
    )
    np.testing.assert_allclose(mlp.coefs_[1], [[0.04706], [0.154089]], **close)
    np.testing.assert_allclose(mlp.intercepts_[0], [0.098333, 0.09626], **close)
    np.testing.assert_allclose(mlp.intercepts_[1], [0.9235], **close)
    np.testing.assert_allclose(mlp.predict_proba(x)[0, 1], 0.739, **close)


# One for the other.


@since_1_7
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_parameters_are_theirs(ours, theirs):
    for method in ("__init__", "fit", "partial_fit", "predict", "score"):
        mine = list(inspect.signature(getattr(ours, method)).parameters.values())
        wanted = list(inspect.signature(getattr(theirs, method)).parameters.values())
        for i, parameter in enumerate(wanted):
            same = mine[i].name, mine[i].kind, mine[i].default
            assert same == (parameter.name, parameter.kind, parameter.default), (method, parameter)
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in mine[len(wanted) :])


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_tags_are_theirs(ours, theirs):
    assert get_tags(ours()) == get_tags(theirs())


def _scaled(x, y):
    return x, y / 100


def _data(kind):
    if kind == "regression":
        return _scaled(*datasets.make_regression(130, 7, noise=5.0, random_state=0))
    if kind == "outputs":
        x, y = datasets.make_regression(130, 7, n_targets=3, random_state=0)
        return x, y / 50
    if kind == "labels":
        return datasets.make_multilabel_classification(130, 7, n_classes=4, random_state=0)
    classes = 2 if kind == "binary" else 3
    return datasets.make_classification(130, 7, n_informative=5, n_classes=classes, random_state=0)


SOLVERS = {
    "momentum": {"solver": "sgd", "learning_rate_init": 0.01},
    "plain": {"solver": "sgd", "learning_rate_init": 0.01, "momentum": 0, "alpha": 1.0},
    "heavy": {"solver": "sgd", "learning_rate_init": 0.01, "nesterovs_momentum": False, "alpha": 0.1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.3},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.02,
        "tol": 0.1,
        "n_iter_no_change": 2,
    },
    "adam": {"epsilon": 1e-30, "alpha": 0.5},  # where the two put epsilon is not the same
    "lbfgs": {"solver": "lbfgs", "max_iter": 5},
}


@quiet
@pytest.mark.parametrize("kind", ["binary", "multiclass", "labels", "regression", "outputs"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weighted", [False, pytest.param(True, marks=since_1_7)])
def test_training_is_theirs(kind, solver, weighted):
    """Without a shuffle, every number is: the last batch of an epoch is shorter here."""
    ours, theirs = PAIRS[kind in ("regression", "outputs")]
    x, y = _data(kind)
    weights = {"sample_weight": np.random.default_rng(1).uniform(0.5, 2, len(x))} if weighted else {}
    settings = {
        "hidden_layer_sizes": (6, 5), "activation": "tanh", "shuffle": False, "random_state": 3, "max_iter": 30,
        "batch_size": 50, **SOLVERS[solver],
    }  # fmt: skip
    a, b = (kind(**settings).fit(x, y, **weights) for kind in (ours, theirs))
    steps = a.n_iter_ == b.n_iter_
    if solver == "lbfgs" and kind == "outputs":
        return  # theirs descends along another gradient than that of its loss
    assert steps
    for mine, wanted in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(a.predict(x), b.predict(x), rtol=1e-7)
    if weighted or kind == "outputs":
        return  # their value is another mean than the one their gradient is of
    np.testing.assert_allclose(a.loss_, b.loss_, rtol=1e-9)
    if solver != "lbfgs":
        np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-9)
        assert a.best_loss_ == min(a.loss_curve_)
    for name in ("t_", "n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(a, name, None) == getattr(b, name, None), name


@quiet
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_every_activation_of_theirs_begins_with_their_weights(activation):
    x, y = _data("multiclass")
    how = {"solver": "sgd", "random_state": 3, "max_iter": 1, "shuffle": False}
    a, b = (kind((6, 5), activation, **how).fit(x, y) for kind in PAIRS[0])
    for mine, wanted in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-8, atol=1e-9)


@quiet
@since_1_7
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_their_losses(loss):
    x, y = _data("regression")
    y = np.round(np.exp(y / 200))
    a, b = (
        kind(loss, (6,), "tanh", shuffle=False, random_state=3, max_iter=20, solver="sgd", learning_rate_init=1e-3)
        .fit(x, y) for kind in PAIRS[1]
    )  # fmt: skip
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(a.predict(x), b.predict(x), rtol=1e-8)


@quiet
@pytest.mark.parametrize("kind", ["binary", "multiclass", "labels", "regression"])
def test_early_stopping_is_theirs(kind):
    """The same rows are held out, and the same weights kept."""
    x, y = _data(kind)
    a, b = (
        kind((6,), random_state=3, early_stopping=True, shuffle=False, solver="sgd", tol=1e-3, learning_rate_init=0.01)
        for kind in PAIRS[0]
    ) if kind != "regression" else (
        kind(hidden_layer_sizes=(6,), random_state=3, early_stopping=True, shuffle=False, solver="sgd")
        for kind in PAIRS[1]
    )  # fmt: skip
    a.fit(x, y), b.fit(x, y)
    np.testing.assert_allclose(a.validation_scores_, b.validation_scores_, rtol=1e-7)
    np.testing.assert_allclose(a.best_validation_score_, b.best_validation_score_, rtol=1e-7)
    np.testing.assert_allclose(a.predict(x), b.predict(x), rtol=1e-7)
    assert a.best_loss_ is b.best_loss_ is None
    assert len(a.validation_loss_curve_) == a.n_iter_


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("name", ["breast_cancer", "digits", "wine", "diabetes"])
def test_scores_are_no_worse(name):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    kinds, settings = PAIRS[name == "diabetes"], {"max_iter": 60, "random_state": 0, "learning_rate_init": 0.003}
    if name == "diabetes":
        y = scale(y)
    ours, theirs = (cross_val_score(make_pipeline(StandardScaler(), kind(**settings)), x, y, cv=5) for kind in kinds)
    assert ours.mean() > theirs.mean() - 0.01


@quiet
def test_warm_start_goes_on():
    x, y = _data("binary")
    a, b = (kind((5,), warm_start=True, shuffle=False, solver="sgd", random_state=0, max_iter=7) for kind in PAIRS[0])
    for model in (a, b):
        model.fit(x, y).set_params(max_iter=4, alpha=1.0).fit(x, y)
    np.testing.assert_allclose(a.coefs_[0], b.coefs_[0], rtol=1e-8)
    assert (a.t_, a.n_iter_, len(a.loss_curve_)) == (b.t_, b.n_iter_, len(b.loss_curve_)) == (11 * len(x), 4, 11)


def test_partial_fit_is_fit_by_epochs():
    x, y = _data("multiclass")
    whole = MLPClassifier((5,), random_state=0, max_iter=9, n_iter_no_change=np.inf)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        whole.fit(x, y)
    parts = MLPClassifier((5,), random_state=0)
    for _ in range(9):
        parts.partial_fit(x, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(parts.network_.parameters, whole.network_.parameters)
    assert parts.loss_curve_ == whole.loss_curve_


@quiet
def test_a_plain_array_is_refused_as_any_other():
    """predict asks scikit-learn's checks only where they would change or refuse something."""
    x, y = _data("regression")
    mlp = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(x, y)
    found = mlp.predict(x)
    for same in (x.tolist(), x.astype(">f8"), np.asfortranarray(x), x[::-1].copy()[::-1], x.astype(object)):
        np.testing.assert_array_equal(mlp.predict(same), found)
    assert np.isfinite(mlp.predict(np.full_like(x, 1e307))).all()  # whose sum is infinite
    for number, said in (np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity"):
        with pytest.raises(ValueError, match=said):
            mlp.predict(np.where(np.eye(*x.shape) == 1, number, x))
    for wrong, said in (x[:, 1:], "features"), (x[0], "2D array"), (x[:0], "0 sample"), (x[None], "dim 3"):
        with pytest.raises(ValueError, match=said):
            mlp.predict(wrong)
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(x)


@quiet
@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_sparse_rows_are_dense_rows(kind):
    sparse = pytest.importorskip("scipy.sparse", reason="needs SciPy")
    x, y = _data("labels")
    made = getattr(sparse, f"{kind}_array")(x)
    a, b = (MLPClassifier((5,), random_state=0, max_iter=5).fit(rows, sparse.csr_array(y)) for rows in (x, made))
    np.testing.assert_array_equal(a.predict_proba(x), b.predict_proba(made))
    assert a.score(x, y) == b.score(made, y)


# What is new.


@quiet
def test_an_activation_for_each_layer():
    x, y = _data("regression")
    mlp = MLPRegressor(hidden_layer_sizes=(5, 4), activation=["logistic", "relu"], output_activation="tanh", max_iter=2)
    mlp.fit(x, y)
    assert [layer.activation.name for layer in mlp.network_.layers] == ["sigmoid", "relu", "tanh"]
    assert mlp.out_activation_ == "tanh"
    assert abs(mlp.predict(x)).max() <= 1
    with pytest.raises(ValueError, match="activation: expected one for each of the 2 hidden layers, got 1"):
        mlp.set_params(activation=["relu"]).fit(x, y)


@quiet
@pytest.mark.parametrize(
    ("loss", "columns"),
    [("mae", 1), ("huber", 1), (bp.losses.Quantile([0.1, 0.5, 0.9]), 3), ("log_cosh", 1), ("gaussian_nll", 1)],
)
def test_losses_of_ours(loss, columns):
    x, y = _data("regression")
    mlp = MLPRegressor(loss, max_iter=100, learning_rate_init=0.01, random_state=0).fit(scale(x), scale(y))
    found = mlp.predict(scale(x)).reshape(len(x), -1)
    assert found.shape[1] == columns
    assert np.corrcoef(found[:, columns // 2], y)[0, 1] > 0.9
    assert mlp.loss_curve_[-1] < mlp.loss_curve_[0]
    if columns == 3:
        below = (scale(y)[:, None] < found).mean(axis=0)
        assert below[0] < below[1] < below[2]


def _squares(y_hat, y, sample_weight=None):
    return float(np.square(y_hat - y).mean()), 2 * (y_hat - y) / y.size


@quiet
def test_a_loss_of_ones_own():
    x, y = _data("regression")
    settings = {"alpha": 0, "max_iter": 10, "random_state": 0}
    a, b = (MLPRegressor(loss, **settings).fit(x, y) for loss in (_squares, "mse"))
    np.testing.assert_allclose(a.predict(x), b.predict(x), rtol=1e-9)
    assert pickle.loads(pickle.dumps(a)).predict(x).shape == (len(x),)


@quiet
@pytest.mark.parametrize("kind", ["binary", "multiclass", "labels"])
def test_focal_loss_classifies(kind):
    x, y = _data(kind)
    mlp = MLPClassifier(loss="focal", learning_rate_init=0.01, random_state=0).fit(x, y)
    assert mlp.score(x, y) > 0.7


def test_what_gives_no_probabilities_is_refused():
    with pytest.raises(ValueError, match="expected a loss of probabilities, got Hinge"):
        MLPClassifier(loss="hinge").fit(*_data("binary"))


@quiet
@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm"])
def test_norms_and_dropout(norm):
    x, y = _data("multiclass")
    mlp = MLPClassifier((8, 8), dropout=[0.1, 0.0], random_state=0, learning_rate_init=0.02, **{norm: True}).fit(x, y)
    kinds = [type(layer).__name__ for layer in mlp.network_.layers]
    name = {"batch_norm": "BatchNorm", "layer_norm": "LayerNorm"}[norm]
    assert kinds == ["Dense", name, "Activation", "Dropout", "Dense", name, "Activation", "Dense"]
    assert mlp.score(x, y) > 0.8
    assert [array.shape for array in mlp.coefs_] == [(7, 8), (8, 8), (8, 3)]
    with pytest.raises(ValueError, match="one kind of norm"):
        MLPClassifier(batch_norm=True, layer_norm=True).fit(x, y)


@quiet
def test_class_weight_is_sample_weight():
    x, y = _data("binary")
    y = np.where(np.arange(len(y)) % 5 == 0, y, 0)
    names = np.array(["no", "yes"])[y]
    settings = {"random_state": 0, "max_iter": 10}
    a = MLPClassifier(class_weight={"no": 1, "yes": 3}, **settings).fit(x, names)
    b = MLPClassifier(**settings).fit(x, names, sample_weight=1 + 2 * y)
    np.testing.assert_array_equal(a.predict_proba(x), b.predict_proba(x))
    balanced = MLPClassifier(class_weight="balanced", **settings).fit(x, names)
    assert (balanced.predict(x) == "yes").sum() > (MLPClassifier(**settings).fit(x, names).predict(x) == "yes").sum()
    with pytest.raises(ValueError, match="got 'balanced'"):
        MLPClassifier(class_weight="balanced").partial_fit(x, names, classes=["no", "yes"])


@quiet
def test_validation_data_of_ones_own():
    x, y = _data("regression")
    x, held, y, wanted = train_test_split(x, scale(y), random_state=0)
    mlp = MLPRegressor(hidden_layer_sizes=(8,), random_state=0, max_iter=20, alpha=0)
    mlp.fit(x, y, X_val=held, y_val=wanted)
    assert len(mlp.validation_loss_curve_) == 20
    np.testing.assert_allclose(mlp.validation_loss_curve_[-1], np.square(mlp.predict(held) - wanted).mean() / 2)
    assert mlp.validation_scores_ is None
    mlp.set_params(early_stopping=True).fit(x, y, X_val=held, y_val=wanted, sample_weight_val=np.ones(len(held)))
    np.testing.assert_allclose(mlp.score(held, wanted), mlp.best_validation_score_)
    assert mlp.t_ == mlp.n_iter_ * len(x)  # nothing else is held out
    with pytest.raises(ValueError, match="X_val: expected it together with y_val"):
        mlp.fit(x, y, X_val=held)


def test_early_stopping_works_with_partial_fit():
    x, y = _data("binary")
    x, held, y, wanted = train_test_split(x, y, random_state=0)
    mlp = MLPClassifier(early_stopping=True, n_iter_no_change=3, random_state=0, learning_rate_init=0.01)
    for _ in range(300):
        mlp.partial_fit(x, y, classes=[0, 1], X_val=held, y_val=wanted)
        if mlp.stopped_:
            break
    assert mlp.stopped_
    assert 4 < len(mlp.validation_scores_) < 300
    assert mlp.score(held, wanted) == mlp.best_validation_score_ == max(mlp.validation_scores_)
    mlp.partial_fit(x, y, X_val=held, y_val=wanted)
    assert not mlp.stopped_


class _Epochs(bp.Callback):
    def __init__(self):
        self.epochs = []

    def on_epoch_end(self, run):
        self.epochs.append(run.epoch)
        run.stop = run.epoch == 5


@quiet
def test_callbacks_and_progress(capsys):
    x, y = _data("binary")
    seen = _Epochs()
    mlp = MLPClassifier(callbacks=[seen], progress=True).fit(x, y)
    assert seen.epochs == [1, 2, 3, 4, 5]
    assert mlp.n_iter_ == 5 and not mlp.stopped_
    assert "5/200" in capsys.readouterr().err


@quiet
def test_optimizers_and_schedules():
    x, y = _data("binary")
    given = bp.Adam(1e-3, 0.9, 0.999, 1e-8)
    settings = {"random_state": 0, "max_iter": 5}
    a = MLPClassifier(optimizer=given, solver="lbfgs", **settings).fit(x, y)
    b = MLPClassifier(learning_rate=_constant, **settings).fit(x, y)
    c = MLPClassifier(**settings).fit(x, y)
    np.testing.assert_array_equal(a.predict_proba(x), b.predict_proba(x))
    np.testing.assert_array_equal(a.predict_proba(x), c.predict_proba(x))
    assert given.steps == 0


def _constant(step):
    return 1e-3


@quiet
@pytest.mark.parametrize("clip", ["clip_norm", "clip_value"])
def test_clipped_gradients(clip):
    x, y = _data("regression")
    settings = {"solver": "sgd", "momentum": 0, "max_iter": 1, "batch_size": 130, "random_state": 0, clip: 1e-3}
    mlp = MLPRegressor(learning_rate_init=1e-9, **settings).fit(x, y)
    begun = mlp.network_.parameters.copy()
    mlp.set_params(learning_rate_init=1.0, warm_start=True).fit(x, y)
    step = mlp.network_.parameters - begun
    assert np.linalg.norm(step, 2 if clip == "clip_norm" else np.inf) == pytest.approx(1e-3)


@quiet
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(dtype):
    x, y = _data("regression")
    mlp = MLPRegressor(dtype=dtype, max_iter=2).fit(x.astype("float32"), y)
    assert mlp.network_.dtype == mlp.predict(x).dtype == mlp.coefs_[0].dtype == dtype


@quiet
@pytest.mark.parametrize("columns", [[1, 3], [False, True, False, True], np.array([-3, -1])])
def test_categories_are_embedded(columns):
    rng = np.random.default_rng(0)
    months, colours = rng.integers(1, 13, 300), rng.choice(["red", "green", "blue", None], 300)
    x = np.empty((300, 4), dtype=object)
    x[:, 0], x[:, 1], x[:, 2], x[:, 3] = rng.normal(size=300), months, rng.normal(size=300), colours
    y = np.where((months % 3 == 0) ^ (colours == "red"), "in", "out")
    mlp = MLPClassifier(categorical_features=columns, learning_rate_init=0.02, random_state=0).fit(x, y)
    assert mlp.score(x, y) > 0.95
    assert [table.values for table in mlp.network_.layers[0].embeddings.values()] == [13, 5]
    assert mlp.n_features_in_ == 4
    gradients = mlp.input_gradients(x)
    assert gradients.shape == (300, 4)
    assert not gradients[:, [1, 3]].any() and gradients[:, [0, 2]].all(axis=0).any()
    x[0, 3] = "violet"  # unknown, and so as good as missing
    copied = pickle.loads(pickle.dumps(mlp)).predict_proba(x)
    np.testing.assert_array_equal(copied, mlp.predict_proba(x))
    assert clone(mlp).fit(x, y).score(x, y) > 0.9


@pytest.mark.parametrize("columns", [[4], [-5], [1, -3], [True, False], ["colour"], "from_dtype", [], [0.5], [[0]]])
def test_columns_that_there_are_not(columns):
    with pytest.raises(ValueError, match="categorical_features: expected"):
        MLPRegressor(categorical_features=columns).fit(np.ones((5, 4)), np.ones(5))


def test_categories_of_a_data_frame():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    x = pd.DataFrame({"size": [0.1, 0.4, 0.2, 0.9] * 9, "colour": pd.Categorical(["red", "blue", "red", "green"] * 9)})
    y = [1.0, 2.0, 1.0, 3.0] * 9
    a, b = (
        MLPRegressor(categorical_features=columns, random_state=0, solver="lbfgs").fit(x, y)
        for columns in ("from_dtype", ["colour"])
    )
    assert a.score(x, y) > 0.99
    np.testing.assert_array_equal(a.predict(x), b.predict(x))
    assert list(a.feature_names_in_) == ["size", "colour"]


@quiet
def test_weights_are_views():
    x, y = _data("regression")
    mlp = MLPRegressor(max_iter=1).fit(x, y)
    mlp.coefs_[1][...] = 0
    mlp.intercepts_[1] = [2.5]
    np.testing.assert_array_equal(mlp.predict(x), 2.5)
    with pytest.raises(ValueError, match="expected shape"):
        mlp.coefs_[0] = np.zeros((2, 2))
    assert not hasattr(MLPRegressor(), "coefs_")


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"dropout": 0.5}, "dropout"), ({"callbacks": [_Epochs()]}, "callbacks"), ({"batch_norm": True}, "batch_norm")],
)
def test_lbfgs_refuses_what_goes_by_epochs(settings, name):
    with pytest.raises(ValueError, match=f"{name}: expected a solver that goes epoch by epoch, got solver='lbfgs'"):
        MLPRegressor(solver="lbfgs", **settings).fit(*_data("regression"))


def test_bad_parameters_are_refused():
    x, y = _data("binary")
    for settings in ({"alpha": -1}, {"dropout": 1.0}, {"dtype": "int8"}, {"threads": 0}, {"activation": "rleu"}):
        with pytest.raises((ValueError, TypeError)):
            MLPClassifier(**settings).fit(x, y)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(x)


# In the company of others.


@quiet
@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_a_grid_search_in_parallel_finds_the_same(backend):
    joblib = pytest.importorskip("joblib", reason="needs joblib")
    x, y = _data("multiclass")
    grid = {"hidden_layer_sizes": [(5,), (30, 30)], "optimizer": [None, bp.SGD(0.05, momentum=0.9)]}
    found = []
    for jobs in (None, 2):
        with joblib.parallel_backend(backend, n_jobs=jobs or 1):
            search = GridSearchCV(MLPClassifier(max_iter=15, random_state=0), grid, cv=3, n_jobs=jobs).fit(x, y)
        found.append((search.cv_results_["mean_test_score"].tolist(), search.predict_proba(x).tobytes()))
    assert found[0] == found[1]


@quiet
def test_the_company_of_others():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    mlp = MLPClassifier((10,), max_iter=20, random_state=0, learning_rate_init=0.01)
    columns = ColumnTransformer([("scaled", StandardScaler(), slice(0, 20))], remainder="drop")
    pipeline = make_pipeline(columns, mlp)
    assert pipeline.fit(x, y).score(x, y) > 0.9
    assert CalibratedClassifierCV(pipeline, cv=2).fit(x, y).score(x, y) > 0.9
    assert BaggingClassifier(pipeline, 3, random_state=0).fit(x, y).score(x, y) > 0.9
    importance = permutation_importance(pipeline, x, y, n_repeats=2, random_state=0)
    assert importance.importances_mean[:20].max() > 0 == importance.importances_mean[20:].max()


@quiet
def test_metadata_is_routed():
    x, y = _data("binary")
    weights = np.where(y == 1, 5.0, 1.0)
    with config_context(enable_metadata_routing=True):
        mlp = MLPClassifier(max_iter=5, random_state=0).set_fit_request(sample_weight=True, X_val=False, y_val=False)
        mlp.set_score_request(sample_weight=False)
        routed = cross_validate(mlp, x, y, params={"sample_weight": weights}, return_estimator=True)["estimator"]
        mlp.set_fit_request(sample_weight=False)
        alone = cross_validate(mlp, x, y, return_estimator=True)["estimator"]
    assert (routed[0].predict(x) == 1).sum() > (alone[0].predict(x) == 1).sum()


@quiet
def test_a_fitted_model_is_copied_whole():
    x, y = _data("multiclass")
    mlp = MLPClassifier(random_state=0, max_iter=5, dropout=0.1).fit(x, y)
    other = pickle.loads(pickle.dumps(mlp))
    np.testing.assert_array_equal(other.predict_proba(x), mlp.predict_proba(x))
    mlp.partial_fit(x, y), other.partial_fit(x, y)
    np.testing.assert_array_equal(other.predict_proba(x), mlp.predict_proba(x))
    assert not hasattr(clone(mlp), "network_")


@quiet
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_threads_change_no_bit(solver):
    x, y = datasets.make_classification(600, 60, random_state=0)
    settings = {"solver": solver, "random_state": 0, "max_iter": 4, "hidden_layer_sizes": (80,)}
    one, three = (MLPClassifier(threads=n, **settings).fit(x, y) for n in (1, 3))
    np.testing.assert_array_equal(one.predict_proba(x), three.predict_proba(x))


def test_a_fit_that_bursts():
    x, y = _data("regression")
    with pytest.raises(ValueError, match="non-finite parameter weights") as caught:
        MLPRegressor(solver="sgd", learning_rate_init=1e6).fit(x, y)
    assert isinstance(caught.value.__cause__, bp.DivergedError)


def test_an_interrupted_fit_keeps_what_it_has():
    class Interrupt(bp.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 3:
                raise KeyboardInterrupt

    x, y = _data("binary")
    mlp = MLPClassifier(callbacks=[Interrupt()], random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        mlp.fit(x, y)
    assert mlp.n_iter_ == len(mlp.loss_curve_) == 3


# The import.


def _python(code):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)


def test_scikit_learn_is_imported_when_asked_for():
    found = _python("""
        import sys, backprop as bp
        assert "sklearn" not in sys.modules and "scipy" not in sys.modules
        assert {"MLPClassifier", "MLPRegressor"} <= set(dir(bp))
        import backprop.sklearn
        assert bp.MLPClassifier is backprop.sklearn.MLPClassifier and bp.MLPRegressor().get_params()
        assert not hasattr(bp, "MLPTransformer")
    """)
    assert found.returncode == 0, found.stderr


def test_without_scikit_learn_it_says_what_to_install():
    found = _python("""
        import sys
        sys.modules["sklearn"] = None
        import backprop as bp
        bp.MLPClassifier
    """)
    assert 'ImportError: backprop.sklearn needs scikit-learn 1.6 or later: pip install "backprop-nn[sklearn]"' in (
        found.stderr
    )


def test_verbose_says_what_it_does(capsys):
    x, y = _data("binary")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        settings = {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2, "max_iter": 60}
        MLPClassifier(verbose=True, random_state=0, **settings).fit(x, y)
        MLPClassifier(verbose=True, random_state=0, solver="lbfgs", max_iter=3).fit(x, y)
    said = capsys.readouterr().out
    assert re.search(r"^Iteration 1, loss = 0\.\d{8}$", said, re.MULTILINE)
    assert (
        "Training loss did not improve more than tol=1.000000 for 2 consecutive epochs. Setting learning rate" in said
    )
    assert said.endswith("\n") and "loss = " in said.splitlines()[-1]


def test_estimators_that_an_earlier_version_pickled_predict_as_they_did():
    kept = Path(__file__).parent / "data" / "estimators.pickle"
    classifier, regressor, x, probabilities, numbers = pickle.loads(kept.read_bytes())
    for again in (lambda made: made, lambda made: pickle.loads(pickle.dumps(made))):
        np.testing.assert_allclose(again(classifier).predict_proba(x), probabilities, rtol=1e-12)
        np.testing.assert_allclose(again(regressor).predict(x), numbers, rtol=1e-12)
    assert type(classifier) is MLPClassifier and MLPClassifier.__module__ == "backprop.sklearn"
    classifier.partial_fit(x, classifier.predict(x))
