"""An estimator's C file gives its probabilities and its class, with what it does to a row before and after."""

import ctypes
import re
import subprocess

import numpy as np
import pytest
from in_c import compiled, needs_a_compiler, rows

import backprop as bp

pytest.importorskip("sklearn", reason="of its estimators")
pytestmark = [needs_a_compiler, pytest.mark.filterwarnings("ignore:Stochastic Optimizer")]

X = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
LABELS = np.array(["low", 'mid"dle', "high"])


def in_c(mlp, folder, x, **how):
    """The probabilities, or the predictions, and the classes that the compiled file gives."""
    folder = folder / str(len([*folder.iterdir()]))  # a library is loaded once
    folder.mkdir()
    mlp.export_c(folder / "mlp.c", **how)
    text = (folder / "mlp.h").read_text()
    n_out = int(re.search(r"#define mlp_N_OUT (\d+)", text)[1])
    library = compiled(folder / "mlp.c", folder / "mlp.so", "-O2", "-shared", "-fPIC")
    program = compiled(folder / "mlp.c", folder / "program", "-DMLP_TEST")
    assert subprocess.run([program], check=False).returncode == 0
    found = rows(library, "mlp", x, n_out)
    if "_classify" not in text:
        return found, None
    function = ctypes.CDLL(str(library)).mlp_classify
    pointer = ctypes.POINTER(ctypes.c_float if x.dtype == np.float32 else ctypes.c_double)
    return found, [function(row.ctypes.data_as(pointer)) for row in x]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"n_members": 3},
        {"output_activation": "softmax"},
        {"loss": bp.CrossEntropy(from_logits=True)},
        {"batch_norm": True, "dropout": 0.2},
    ],
    ids=str,
)
def test_a_classifier(classes, how, tmp_path):
    if classes == 2 and how.get("output_activation"):
        how = {"output_activation": "softmax", "loss": "cross_entropy"}
    if classes == 2 and isinstance(how.get("loss"), bp.CrossEntropy):
        how = {"loss": bp.BinaryCrossEntropy(from_logits=True)}
    y = LABELS[np.digitize(X[:, 0], [-0.4, 0.4][: classes - 1])]
    mlp = bp.sklearn.MLPClassifier((8,), max_iter=8, random_state=0, **how).fit(X, y)
    found, best = in_c(mlp, tmp_path, X)
    np.testing.assert_allclose(found, mlp.predict_proba(X), rtol=2e-5, atol=1e-6)
    assert (mlp.classes_[best] == mlp.predict(X)).all()
    named = re.search(r"#define mlp_CLASSES \{(.*)\}", (tmp_path / "0" / "mlp.h").read_text())[1]
    assert named == ", ".join('"' + str(name).replace('"', '\\"') + '"' for name in mlp.classes_)


def test_one_against_the_rest_and_several_labels(tmp_path):
    y = np.digitize(X[:, 0], [-0.4, 0.4])
    mlp = bp.sklearn.MLPClassifier((8,), max_iter=5, random_state=0, loss="binary_cross_entropy").fit(X, y)
    found, best = in_c(mlp, tmp_path, X)
    np.testing.assert_allclose(found, mlp.predict_proba(X), rtol=2e-5, atol=1e-6)
    assert (np.array(best) == mlp.predict(X)).all()
    mlp = bp.sklearn.MLPClassifier((8,), max_iter=5, random_state=0).fit(X, X > 0)
    found, best = in_c(mlp, tmp_path, X)
    np.testing.assert_allclose(found, mlp.predict_proba(X), rtol=2e-5, atol=1e-6)
    assert best is None


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gaussian_nll", bp.Quantile([0.1, 0.9])], ids=str)
@pytest.mark.parametrize("members", [1, 2])
def test_a_regressor(loss, members, tmp_path):
    y = abs(X[:, :2])
    mlp = bp.sklearn.MLPRegressor(
        loss, hidden_layer_sizes=(8,), max_iter=5, random_state=0, n_members=members, dtype="float32"
    ).fit(X, y)
    found, best = in_c(mlp, tmp_path, X)
    np.testing.assert_allclose(found, mlp.predict(X), rtol=2e-5, atol=1e-5)
    assert best is None


def test_categories_and_scaling_are_inside(tmp_path):
    pandas = pytest.importorskip("pandas")
    colours = np.array(["red", "green", "blue"])[np.arange(120) % 3]
    table = pandas.DataFrame({"size": 100 + 20 * X[:, 0], "colour": colours, "width": X[:, 1]})
    mlp = bp.sklearn.MLPClassifier((8,), max_iter=20, random_state=0, categorical_features=["colour"])
    mlp.fit(table, (X[:, 0] > 0) == (colours == "red"))
    places = np.searchsorted(["blue", "green", "red"], colours)
    x = np.stack([table["size"], places, table["width"]], axis=1)
    for dtype in "float32", "float64":
        found, best = in_c(mlp, tmp_path, x.astype(dtype), dtype=dtype)
        np.testing.assert_allclose(found, mlp.predict_proba(table), rtol=1e-4, atol=1e-5)
        assert (mlp.classes_[best] == mlp.predict(table)).all()
    assert "column 1: 0 is blue, 1 is green, 2 is red; -1 is another" in (tmp_path / "0" / "mlp.h").read_text()
    found, _ = in_c(mlp, tmp_path, x.astype("float32"), dtype="int8", calibration=table)
    assert abs(found - mlp.predict_proba(table)).max() < 0.1


def test_whole_numbers_of_an_estimator(tmp_path):
    y = np.digitize(X[:, 0], [-0.4, 0.4])
    mlp = bp.sklearn.MLPClassifier((16,), max_iter=60, random_state=0, n_members=2).fit(X, y)
    found, best = in_c(mlp, tmp_path, X, dtype="int8", calibration=X)
    assert abs(found - mlp.predict_proba(X)).max() < 0.1
    assert (np.array(best) == mlp.predict(X)).mean() > 0.95


def test_one_that_is_not_fitted_is_refused(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        bp.sklearn.MLPClassifier().export_c(tmp_path / "mlp.c")


@pytest.fixture(scope="module")
def flats():
    """A table with each kind of column, and gaps."""
    pandas = pytest.importorskip("pandas")
    rng, n = np.random.default_rng(1), 240
    table = pandas.DataFrame({
        "size": rng.normal(70, 20, n), "zeros": np.where(rng.random(n) < 0.9, 0, rng.normal(size=n)),
        "town": rng.choice(["Aachen", "Bonn", "Trier"], n).astype(object), "lift": rng.random(n) > 0.5,
        "let": np.datetime64("2024-01-01") + rng.integers(0, 700, n).astype("m8[D]"),
    })  # fmt: skip
    for column, step in ("size", 7), ("town", 11), ("let", 13):
        table.loc[::step, column] = None
    return table, table["size"].fillna(60).to_numpy() * np.where(table.town == "Bonn", 14, 9)


def as_in_c(model, table, dtype):
    """The rows that the header asks for."""
    encoder, days = model.model_.encoding.encoder, table["let"]
    names = [output.name for output in encoder.outputs]
    given = dict(zip(names, encoder.transform(table).T, strict=True))
    parts = {
        "let.year": days.dt.year, "let.month": days.dt.month, "let.day": days.dt.day, "let.weekday": days.dt.day_of_week,
        "let.elapsed": (days - np.datetime64("1970-01-01")).dt.total_seconds() / 86400,
    }  # fmt: skip
    given |= {"size": table["size"], "zeros": table["zeros"]} | parts
    for name in "size=missing", "let=missing":
        given.pop(name)
    return np.column_stack([np.asarray(column, float) for column in given.values()]).astype(dtype)


@pytest.mark.parametrize("preset", ["fast", "best", "td", "td_s"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_realmlp_classifies(flats, preset, dtype, tmp_path):
    table, rent = flats
    y = LABELS[np.digitize(rent, [500, 800])]
    model = bp.sklearn.RealMLPClassifier(preset, epochs=8, n_members=2, random_state=0).fit(table, y)
    assert model.temperature_ != 1
    how = {"dtype": "int8", "calibration": table} if dtype == "int8" else {}
    found, best = in_c(model, tmp_path, as_in_c(model, table, "float32"), **how)
    expected = model.predict_proba(table)
    np.testing.assert_allclose(found, expected, atol=2e-5 if dtype == "float32" else 0.2)
    assert np.mean(model.classes_[best] == model.predict(table)) > (0.99 if dtype == "float32" else 0.9)


@pytest.mark.parametrize(("preset", "outputs"), [("fast", 1), ("default", 2), ("td", 1)])
def test_realmlp_predicts_numbers_in_their_unit(flats, preset, outputs, tmp_path):
    table, rent = flats
    y = rent if outputs == 1 else np.column_stack([rent, -1000 * rent])
    model = bp.sklearn.RealMLPRegressor(preset, epochs=4, random_state=0).fit(table, y)
    found, best = in_c(model, tmp_path, as_in_c(model, table, "float32"))
    assert best is None
    expected = model.predict(table).reshape(len(table), -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())
    header = (tmp_path / "0" / "mlp.h").read_text()
    for said in (
        "x[0]: size, as in the table, or NaN",
        "town=Bonn, 1 where it is so, else 0",
        "let.weekday, the weekday, 0 is Monday, or NaN",
    ):
        assert said in header


def test_realmlp_of_numbers_alone_takes_them_as_they_are(tmp_path):
    x = np.where(np.random.default_rng(3).random(X.shape) < 0.1, np.nan, 100 * X).astype(np.float32)
    model = bp.sklearn.RealMLPRegressor("fast", epochs=4, random_state=0).fit(x, X[:, 0])
    found, _ = in_c(model, tmp_path, x)
    np.testing.assert_allclose(found[:, 0], model.predict(x), rtol=1e-5, atol=1e-5)
    assert "#define mlp_N_IN 3" in (tmp_path / "0" / "mlp.h").read_text()
