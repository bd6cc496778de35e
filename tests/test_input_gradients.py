"""The derivatives of an estimator's outputs: against finite differences, against PyTorch, and from several threads."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from oracles import InTorch

import backprop as bp

pytest.importorskip("sklearn", minversion="1.6", reason="needs scikit-learn")

from backprop.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 5))
TARGETS = {"binary": X[:, 0] > 0, "multiclass": rng.integers(3, size=80), "multi-label": X[:, :2] > 0}
MODELS = {
    "binary": MLPClassifier(),
    "multiclass": MLPClassifier(loss="focal"),
    "multi-label": MLPClassifier(),
    "logits": MLPClassifier(loss=bp.CrossEntropy(from_logits=True)),
    "regression": MLPRegressor(),
    "two targets": MLPRegressor(layer_norm=True, batch_norm=False, dropout=[0.0, 0.5]),
}


def fitted(kind):
    defaults = {"hidden_layer_sizes": (6, 5), "activation": "tanh", "max_iter": 5, "random_state": 0}
    norms = {} if kind == "two targets" else {"batch_norm": True, "dropout": 0.2}
    y = TARGETS.get(kind, TARGETS["multiclass"] if kind == "logits" else X[:, : 1 + (kind == "two targets")] ** 2)
    return MODELS[kind].set_params(**defaults, **norms).fit(X, y.ravel() if y.shape[1:] == (1,) else y)


def table():
    """Two numbers and two categories."""
    x = np.empty((80, 4), dtype=object)
    x[:, 0], x[:, 1], x[:, 2], x[:, 3] = X[:, 0], rng.integers(4, size=80), 100 * X[:, 1], rng.choice(["a", "b"], 80)
    return x


@pytest.mark.parametrize("kind", MODELS)
def test_they_are_finite_differences(kind):
    mlp = fitted(kind)
    net, before = mlp.network_, mlp.network_.to_bytes()
    found = mlp.input_gradients(X)
    assert found.shape == ((80, net.n_out, 5) if net.n_out > 1 else (80, 5))
    for column, step in enumerate(1e-6 * np.eye(5)):
        up, down = (net.predict(X + s) for s in (step, -step))
        np.testing.assert_allclose(found[..., column].reshape(up.shape), (up - down) / 2e-6, rtol=1e-5, atol=1e-9)
    assert net.to_bytes() == before


@pytest.mark.parametrize("kind", [*MODELS, "categories"])
def test_they_are_those_of_pytorch(kind, torch):
    if kind == "categories":
        mlp = MLPRegressor(
            hidden_layer_sizes=(8,), categorical_features=[1, 3], batch_norm=True, max_iter=5, random_state=0
        )
        x = mlp.fit(table(), X[:, :2])._check(table())[0]
    else:
        mlp, x = fitted(kind), X
    net = mlp.network_
    layers = [layer for layer in net.layers if not isinstance(layer, bp.Dropout)]
    twin = InTorch(torch, SimpleNamespace(layers=layers, leaves=net.leaves))
    twin.training = False
    inputs = torch.tensor(x, requires_grad=True)
    outputs = twin(inputs).sum(dim=0)
    expected = [torch.autograd.grad(output, inputs, retain_graph=True)[0].numpy() for output in outputs]
    found = net.jacobian(x)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-10, atol=1e-12)


def test_those_of_columns_are_in_the_order_and_the_unit_of_the_columns():
    mlp = MLPRegressor(hidden_layer_sizes=(8,), categorical_features=[1, 3], max_iter=5, random_state=0).fit(
        table(), X[:, 0]
    )
    x = table()
    found = mlp.input_gradients(x)
    assert found.shape == x.shape
    assert not found[:, [1, 3]].any()
    for column, step in (0, 1e-6), (2, 1e-4):
        moved = x.copy()
        moved[:, column] += step
        differences = (mlp.predict(moved) - mlp.predict(x)) / step
        np.testing.assert_allclose(found[:, column], differences, rtol=1e-3, atol=1e-3 * abs(differences).max())


def test_rows_do_not_know_of_one_another():
    mlp = fitted("multiclass")
    whole = mlp.input_gradients(X)
    np.testing.assert_array_equal(mlp.input_gradients(X[:7]), whole[:7])
    np.testing.assert_array_equal(mlp.input_gradients(X[5:6]), whole[5:6])


def test_several_threads_get_what_one_gets():
    mlp = MLPClassifier((64, 64), batch_norm=True, max_iter=2, random_state=0).fit(X, TARGETS["multiclass"])
    pieces = np.array_split(np.tile(X, (20, 1)), 16)
    alone = [mlp.input_gradients(piece) for piece in pieces]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(mlp.input_gradients, pieces), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_forward_that_waits_for_its_backward_is_not_lost():
    mlp = fitted("multiclass")
    net, twin = mlp.network_, mlp.network_.copy()
    dy = rng.normal(size=(9, 3))
    for one in (net, twin):
        one.forward(X[:9])
    net.gradients[...] = 1.0
    mlp.input_gradients(X)
    assert (net.gradients == 1).all()
    np.testing.assert_array_equal(net.backward(dy), twin.backward(dy))
    np.testing.assert_array_equal(net.gradients, twin.gradients)


def test_float32_stays_float32():
    mlp = MLPRegressor(max_iter=2).fit(X.astype("float32"), X[:, 0])
    assert mlp.input_gradients(X).dtype == "float32"
