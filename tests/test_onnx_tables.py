"""ONNX models of estimators and of tables: classes and units behind the network, columns before it."""

import csv
import io
import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import backprop as bp
from backprop.__main__ import main
from backprop.tables.features import Date, Number, Text

onnx = pytest.importorskip("onnx", reason="onnx is not installed: nothing to compare with")
reference = pytest.importorskip("onnx.reference")
runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: nothing to compare with")

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.arange(60) % 3
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}


@pytest.fixture(scope="module")
def estimators():
    return pytest.importorskip("backprop.sklearn", reason="scikit-learn is not installed")


def outputs(data, feed):
    """What both runtimes give, by name; the model is checked first."""
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    names = [output.name for output in model.graph.output]
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for run in (session.run, reference.ReferenceEvaluator(model).run):
        yield dict(zip(names, map(np.asarray, run(None, feed)), strict=True))


def fitted(estimator, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(x, y)


def written(estimator, **how):
    file = io.BytesIO()
    estimator.export_onnx(file, **how)
    return file.getvalue()


def assert_alike(estimator, x, feed=None):
    double = estimator.network_.dtype == np.float64
    tolerance = {"rtol": 1e-12, "atol": 1e-13} if double else {"rtol": 1e-5, "atol": 1e-6}
    feed = {"x": np.asarray(x, estimator.network_.dtype)} if feed is None else feed
    for found in outputs(written(estimator), feed):
        if hasattr(estimator, "classes_"):
            expected = estimator.predict_proba(x)
            np.testing.assert_allclose(found["probabilities"], expected, **tolerance)
            np.testing.assert_array_equal(found["label"], estimator.predict(x))
        else:
            expected = estimator.predict(x)
            assert found["y"].shape == (len(x), expected.reshape(len(x), -1).shape[1])
            np.testing.assert_allclose(found["y"].reshape(expected.shape), expected, **tolerance)


#: Targets, and the parameters of a classifier.
CLASSIFIERS = {
    "three classes": (Y, {}), "two classes": (Y > 0, {}), "texts": (np.array(["c", "a", "b"])[Y], {}),
    "labels as floats": (Y * 1.0, {}), "several labels": (np.eye(3, dtype=int)[Y], {}), "focal": (Y, {"loss": "focal"}),
    "one-vs-rest": (Y, {"loss": "mse", "output_activation": "sigmoid"}), "members": (Y, {"n_members": 3}),
    "logits": (Y, {"loss": bp.CrossEntropy(from_logits=True)}),
    "logits of two": (Y > 1, {"loss": bp.BinaryCrossEntropy(from_logits=True)}),
}  # fmt: skip
REGRESSORS = {
    "a number": (X[:, 0], {}), "two numbers": (X[:, :2], {}), "rates": (Y, {"loss": "poisson"}),
    "means and variances": (X[:, :2], {"loss": "gaussian_nll", "n_members": 2}),
    "logarithms of rates": (Y, {"loss": bp.Poisson(log_input=True)}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier(estimators, name, dtype):
    y, parameters = CLASSIFIERS[name]
    x = X.astype(dtype)
    assert_alike(fitted(estimators.MLPClassifier(**SMALL, **parameters), x, y), x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor(estimators, name, dtype):
    y, parameters = REGRESSORS[name]
    x = X.astype(dtype)
    assert_alike(fitted(estimators.MLPRegressor(**SMALL, **parameters), x, y), x)


def test_categorical_features(estimators):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": X[:, 0], "town": np.array(["u", "v", "w"])[Y], "b": X[:, 1] * 100 + 5, "n": Y * 1.5})
    feed = {name: np.array(table[[name]], object if name == "town" else float) for name in table}
    table.loc[3, "town"] = None
    feed["town"][3] = ""
    assert_alike(fitted(estimators.MLPClassifier(**SMALL, categorical_features=["town", "n"]), table, Y), table, feed)
    regressor = fitted(estimators.MLPRegressor(**SMALL, categorical_features=["town"]), table, X[:, 2])
    assert_alike(regressor, table, feed)
    found = next(outputs(written(regressor), {**feed, "town": np.full((60, 1), "elsewhere", object)}))
    np.testing.assert_allclose(found["y"][:, 0], regressor.predict(table.assign(town="elsewhere")))
    assert json.loads(metadata(written(regressor))["feature_names"]) == ["a", "town", "b", "n"]
    with pytest.raises(ValueError, match="opset: expected at least 19 for categories, which are text, got 17"):
        written(regressor, opset=17)


def metadata(data):
    return {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}


def test_probabilities_are_read_back(estimators):
    for y in (Y, Y > 0):
        classifier = fitted(estimators.MLPClassifier(**SMALL), X, y)
        net = bp.from_onnx(written(classifier))
        assert net.metadata["classes"] == classifier.classes_.tolist()
        np.testing.assert_allclose(net.predict(X), classifier.predict_proba(X), rtol=1e-12)


def test_what_is_not_fitted_is_refused(estimators):
    with pytest.raises(ValueError, match="not fitted yet"):
        written(estimators.MLPClassifier())


# Tables.


def test_each_way_to_encode_a_column():
    """As the features encode them: missing values, unknown words, numbers as words, and clips."""
    from backprop import onnx as exporter
    from backprop.tables.frames import of

    features = [
        Number("a", 3.0, 2.0), Number("b", 1.5, 0.5, missing=True, fill=9.0, clip=3.0), Number("c", 0.0, 1.0, fill=7.0),
        Text("d", ["x", "y"], coding="sign"), Text("e", ["1", "2.0"], missing=True), Text("f", ["u"], coding="index"),
    ]  # fmt: skip
    table = {
        "a": [1e9 + 1, 2.5, np.nan], "b": [np.nan, 1e6, 1.25], "c": [-1.0, np.nan, 2.0], "d": ["x", "y", "z"],
        "e": ["1.0", "2", "NA"], "f": ["u", "", "other"],
    }  # fmt: skip
    expected = np.hstack([feature.encode(of(table)) for feature in features])
    n = expected.shape[1]
    net = bp.Sequential([bp.Dense(n, n, use_bias=False)])
    net.layers[0].weight[...] = np.eye(n)

    def written(features):
        class Encoded:
            encoder = SimpleNamespace(features_=features)
            order, scaler = np.arange(n), SimpleNamespace(center_=np.zeros(0))

        class Unit:
            mean, deviation, clamped = np.full(n, 10.0), np.full(n, 100.0), False

        return exporter.table_model([net.graph], Encoded, None, target=Unit)

    data = written(features)
    feed = {
        name: np.array(cells, object if isinstance(cells[0], str) else float)[:, None] for name, cells in table.items()
    }
    for found in outputs(data, feed):
        np.testing.assert_allclose(found["y"], 10 + 100 * expected.astype(float), rtol=1e-6, atol=1e-5)
    with pytest.raises(ValueError, match=r"got the dates 'day', which no operator reads: train without them"):
        written([Date("day", {"year": Number("day.year", 0.0, 1.0)})])


class Encoding:
    """Columns of a `TableEncoder` in another order, scaled, as networks on tables take them."""

    def __init__(self, table):
        preprocessing = pytest.importorskip("backprop.preprocessing")
        self.encoder = preprocessing.TableEncoder(scaler=None, dtype="float64").fit(table)
        kinds = [output.kind for output in self.encoder.outputs]
        numbers = [i for i, kind in enumerate(kinds) if kind == "number"]
        self.order = np.array([*numbers, *numbers, *(i for i, kind in enumerate(kinds) if kind != "number")])
        self.scaled = 2 * len(numbers) + 1
        self.scaler = preprocessing.RobustScaler().fit(self.encoder.transform(table)[:, self.order][:, : self.scaled])

    def __call__(self, table):
        x = self.encoder.transform(table)[:, self.order]
        return np.hstack([self.scaler.transform(x[:, : self.scaled]), x[:, self.scaled :]]).astype(np.float32)


class Target:
    mean, deviation, least, greatest, clamped = (
        np.array([1e6]),
        np.array([1e3]),
        np.array([999800.0]),
        np.array([1e6]),
        True,
    )


def test_columns_that_are_encoded_and_then_scaled():
    from backprop import onnx as exporter

    rng = np.random.default_rng(0)
    table = {
        "a": [*rng.normal(size=28) * 100 + 1e6, np.nan, 1e9], "b": rng.normal(size=30).tolist(),
        "c": rng.choice(["u", "v", "w"], 30).tolist(), "d": rng.choice(["no", "yes"], 30).tolist(),
    }  # fmt: skip
    encoding = Encoding(table)
    x = encoding(table)
    nets = [bp.Sequential([bp.Dense(x.shape[1], 5, "tanh"), bp.Dense(5, 3, "softmax")], rng=i) for i in range(2)]
    graphs, mean = [net.graph for net in nets], bp.Ensemble(nets).predict(x)
    feed = {
        name: np.array(cells, object if isinstance(cells[0], str) else float)[:, None] for name, cells in table.items()
    }
    powers = mean.astype(float) ** (1 / 1.7)
    for found in outputs(exporter.table_model(graphs, encoding, None, classes=["x", "y", "z"], temperature=1.7), feed):
        np.testing.assert_allclose(found["probabilities"], powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
        assert found["label"].tolist() == [*np.array(["x", "y", "z"])[mean.argmax(axis=1)]]
    net = bp.Sequential([bp.Dense(x.shape[1], 1)], rng=0)
    expected = np.clip(1e6 + 1e3 * net.predict(x).astype(float), 999800, 1e6)
    assert {999800.0, 1e6} < {*expected.ravel()}
    for found in outputs(exporter.table_model([net.graph], encoding, None, target=Target), feed):
        np.testing.assert_allclose(found["y"], expected, rtol=1e-7)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of a table with missing cells, one of a number and one of classes."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    area, town = rng.normal(size=120) * 1000 + 5000, rng.choice(["Bonn", "Köln", "Aachen"], 120)
    rows = [
        ["" if i % 11 == 0 else f"{area[i]:.3f}", "" if i % 13 == 0 else town[i], ["no", "yes"][i % 2],
         "hi" if area[i] > 5200 else "lo", f"{2 * area[i] + 300 * (town[i] == 'Bonn'):.2f}"] for i in range(120)
    ]  # fmt: skip
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["area", "town", "new", "level", "price"], *rows])
    for target, other in ("price", "level"), ("level", "price"):
        assert main([
            "train", str(folder / "table.csv"), "--target", target, "--drop", other, "--epochs", "3", "--no-plot",
            "--output", str(folder / f"{target}.safetensors"),
        ]) == 0  # fmt: skip
    return folder


@pytest.mark.parametrize("target", ["price", "level"])
def test_the_command_line_takes_the_columns_along(models, target, capsys):
    file, path = str(models / f"{target}.safetensors"), models / f"{target}.onnx"
    assert main(["export", file, "--onnx", str(path)]) == 0
    assert f"{path}: {path.stat().st_size:,} bytes" in capsys.readouterr().out
    assert main(["predict", file, str(models / "table.csv"), *["--proba"] * (target == "level")]) == 0
    predicted = list(csv.reader(io.StringIO(capsys.readouterr().out)))[1:]
    cells = list(csv.DictReader((models / "table.csv").read_text(encoding="utf-8").splitlines()))
    feed = {name: np.array([row[name] for row in cells], object)[:, None] for name in ("town", "new")}
    feed["area"] = np.array([float(row["area"] or "nan") for row in cells])[:, None]
    for found in outputs(path.read_bytes(), feed):
        if target == "price":
            np.testing.assert_allclose(found["y"][:, 0], [float(row[0]) for row in predicted], rtol=1e-6)
        else:
            assert found["label"].tolist() == [row[0] for row in predicted]
            np.testing.assert_allclose(found["probabilities"], np.array(predicted)[:, 1:].astype(float), atol=1e-6)


def test_the_command_line_imports_and_exports_networks(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = bp.Sequential([bp.Dense(3, 2, "tanh")], rng=0)
    net.save("net.safetensors")
    assert main(["export", "net.safetensors", "--onnx", "net.onnx", "--opset", "15"]) == 0
    assert main(["import", "net.onnx", "-o", "back.safetensors"]) == 0
    assert "model: back.safetensors" in capsys.readouterr().out
    assert np.array_equal(bp.load("back.safetensors").parameters, net.parameters)
    bp.Ensemble([net, net]).save("several.safetensors")
    assert main(["export", "several.safetensors", "--onnx", "several.onnx"]) == 0
    for arguments, says in [
        (["export", "net.safetensors", "--onnx", "net.safetensors"], "expected another file than the model"),
        (["export", "net.safetensors", "--onnx", "a.onnx", "--opset", "99"], "opset: expected a whole number from 13"),
        (["import", "net.safetensors", "-o", "a.safetensors"], "net.safetensors: "),
        (["import", "net.onnx", "-o", "net.onnx"], "expected another file than the ONNX model"),
        (["import", "none.onnx"], "none.onnx: No such file"),
    ]:  # fmt: skip
        assert main(arguments) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["td_s", "default"])
def test_realmlp_takes_the_columns_of_a_table(estimators, preset):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    table = pandas.DataFrame({
        "a": rng.normal(size=90) * 100 + 5, "town": rng.choice(["u", "v", "w"], 90), "new": rng.choice(["no", "yes"], 90),
    })  # fmt: skip
    y = table["a"] + 100 * (table["town"] == "u")
    table.loc[::7, "a"], table.loc[::9, "town"] = np.nan, None
    feed = {"a": np.array(table[["a"]])} | {
        name: np.array(table[[name]].fillna(""), object) for name in ("town", "new")
    }
    how = {"preset": preset, "epochs": 2, "random_state": 0}
    regressor = fitted(estimators.RealMLPRegressor(**how), table, y)
    for found in outputs(written(regressor), feed):
        np.testing.assert_allclose(found["y"][:, 0], regressor.predict(table), rtol=1e-5, atol=1e-5 * np.std(y))
    classifier = fitted(estimators.RealMLPClassifier(**how), table, np.where(y > 50, "dear", "cheap"))
    for found in outputs(written(classifier), feed):
        np.testing.assert_allclose(found["probabilities"], classifier.predict_proba(table), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["label"], classifier.predict(table))
