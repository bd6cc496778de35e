"""An estimator's file gives it back, to the last bit, and nothing in a file is run."""

import numpy as np
import pytest

import backprop as bp

pytest.importorskip("sklearn", reason="of its estimators")
from backprop.sklearn import MLPClassifier, MLPRegressor, load

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"), pytest.mark.filterwarnings("ignore:lbfgs failed"),
]  # fmt: skip

X = np.random.default_rng(0).normal(size=(60, 3))
WORDS = np.array(["low", "mid", "höher"])[np.digitize(X[:, 0], [-0.4, 0.4])]


def same(a, b, x=X):
    """Whether two estimators are alike in what they say and what they hold."""
    for method in "predict", "predict_proba":
        if hasattr(a, method):
            found, expected = getattr(b, method)(x), getattr(a, method)(x)
            assert found.dtype == expected.dtype and (found == expected).all()
    assert type(a) is type(b)
    run = ("callbacks", "progress", "threads")
    ours, theirs = ({n: v for n, v in one.get_params().items() if n not in run} for one in (a, b))
    assert repr(ours) == repr(theirs)
    for name in "loss_curve_", "n_iter_", "loss_", "best_loss_", "out_activation_", "n_layers_", "n_features_in_":
        assert np.array_equal(getattr(a, name, None), getattr(b, name, None)), name


@pytest.mark.parametrize(
    "how",
    [
        {}, {"n_members": 3, "bagging": "bootstrap"}, {"early_stopping": True, "dropout": [0.1]}, {"solver": "lbfgs"},
        {"loss": bp.CrossEntropy(label_smoothing=0.1), "optimizer": bp.AdamW(bp.schedules.Cosine(1e-3, 10))},
        {"activation": bp.activations.elu.with_alpha(0.5), "batch_norm": True, "dtype": "float32"},
        {"class_weight": {"low": 2.0, "mid": 1, "höher": 1}, "random_state": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_classifier_comes_back(how, tmp_path):
    mlp = MLPClassifier((5,), max_iter=4, **{"random_state": 3, **how}).fit(X, WORDS)
    mlp.save(tmp_path / "mlp.safetensors")
    again = load(tmp_path / "mlp.safetensors")
    same(mlp, again)
    assert again.classes_.dtype == mlp.classes_.dtype and (again.classes_ == mlp.classes_).all()
    if "n_members" in how:
        assert (again.predict_std(X) == mlp.predict_std(X)).all()
    again.save(tmp_path / "again.safetensors")
    same(mlp, load(tmp_path / "again.safetensors"))
    if (
        how.get("solver") != "lbfgs"
        and not how.get("early_stopping")
        and "n_members" not in how
        and "class_weight" not in how
    ):
        again.partial_fit(X, WORDS)
    again.fit(X, WORDS)
    if "random_state" not in how:
        assert (again.predict_proba(X) == mlp.predict_proba(X)).all()


@pytest.mark.parametrize(
    "y", [X[:, 0] > 0, np.digitize(X[:, 0], [0, 1]).astype(np.int16), X > 0, np.where(X[:, 0] > 0, 2.0, -1.0)],
    ids=["bools", "whole numbers", "several labels", "numbers"],
)  # fmt: skip
def test_every_kind_of_labels(y, tmp_path):
    mlp = MLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
    mlp.save(tmp_path / "mlp.safetensors")
    same(mlp, load(tmp_path / "mlp.safetensors"))


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gaussian_nll", bp.Quantile([0.1, 0.9])], ids=str)
def test_a_regressor_comes_back(loss, tmp_path):
    mlp = MLPRegressor(loss, hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(X, abs(X[:, :2]))
    mlp.save(tmp_path / "mlp.safetensors")
    same(mlp, load(tmp_path / "mlp.safetensors"))


def test_categories_and_names_of_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({
        "size": X[:, 0], "town": np.array(["A", "B", "C"])[np.arange(60) % 3], "rooms": np.arange(60) % 4,
        "colour": [None if i % 7 == 0 else "rg"[i % 2] for i in range(60)],
    })  # fmt: skip
    mlp = MLPClassifier((5,), max_iter=3, random_state=0, categorical_features=["town", "rooms", "colour"])
    mlp.fit(table, X[:, 0] > 0)
    mlp.save(tmp_path / "mlp.safetensors")
    again = load(tmp_path / "mlp.safetensors")
    other = table.assign(town="Z", rooms=9)
    for some in table, other, table.iloc[:1]:
        same(mlp, again, some)
    assert list(again.feature_names_in_) == list(table.columns)
    assert (again.input_gradients(table) == mlp.input_gradients(table)).all()
    with pytest.raises(ValueError, match="feature names"):
        again.predict(table[["town", "size", "rooms", "colour"]])


def test_what_no_file_can_hold_is_refused(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        MLPClassifier().save(tmp_path / "mlp.safetensors")
    mlp = MLPRegressor(lambda y_hat, y: (float(((y_hat - y) ** 2).sum()), 2 * (y_hat - y)), max_iter=1).fit(X, X[:, 0])
    with pytest.raises(TypeError, match=r"got loss=<function .*: a file holds no code"):
        mlp.save(tmp_path / "mlp.safetensors")
    assert not [*tmp_path.iterdir()]


def test_files_of_others_and_damaged_files(tmp_path):
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    net.save(tmp_path / "net.safetensors")
    with pytest.raises(bp.FormatError, match=r"got a single network, which backprop\.load reads"):
        load(tmp_path / "net.safetensors")
    path = tmp_path / "mlp.safetensors"
    MLPClassifier((3,), max_iter=1, random_state=0).fit(X, WORDS).save(path)
    with pytest.raises(bp.FormatError, match=r"got an estimator, which backprop\.sklearn\.load reads"):
        bp.load(path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for i in [*range(0, len(data), 41)]:
        path.write_bytes(data[:i] + bytes([data[i] ^ (1 + rng.integers(255))]) + data[i + 1 :])
        with pytest.raises(bp.FormatError):
            load(path)
    for i in range(0, len(data), 53):
        path.write_bytes(data[:i])
        with pytest.raises(bp.FormatError):
            load(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"class": "Sweep"}, {"class": "os.system"}, {"parameters": {"alpha": "x"}}, {"parameters": {"unknown": 1}},
        {"parameters": {"loss": ["eval", "1"]}}, {"members": []}, {"members": [{"network_": 1}]}, {"encoder": {}},
        {"members": [{"n_features_in_": 9, "_loss": None}]}, {"members": [{"__class__": 1}]}, {"extra": 1},
        {"parameters": [1]}, {"parameters": {"hidden_layer_sizes": ["array", ["value/9", "float64"]]}},
        {"parameters": {"loss": ["loss", {"name": "Loss"}]}}, {"parameters": {"dtype": ["dtype", "O"]}},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused(changed, tmp_path, monkeypatch):
    from backprop import io

    mlp = MLPClassifier((3,), max_iter=1, random_state=0).fit(X, WORDS)
    pack = io.model.pack_estimator
    monkeypatch.setattr(io.model, "pack_estimator", lambda nets, told, more: pack(nets, {**told, **changed}, more))
    mlp.save(tmp_path / "mlp.safetensors")
    with pytest.raises(bp.FormatError, match="expected an estimator, got one that does not make sense"):
        load(tmp_path / "mlp.safetensors")
