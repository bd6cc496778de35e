"""Networks of scikit-learn, PyTorch and Keras come in, answer the same, and go back to PyTorch."""

import os

import numpy as np
import pytest
from instances import ACTIVATIONS
from oracles import torch_activation

import backprop as bp

X = np.random.default_rng(0).normal(size=(50, 4))


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    pytest.importorskip("torch", reason="computes for Keras")
    return pytest.importorskip("keras", reason="its models are read")


# scikit-learn.


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_classifier_of_scikit_learn(activation, dtype):
    neural_network = pytest.importorskip("sklearn.neural_network")
    x = X.astype(dtype)
    for classes in 2, 3:
        y = np.array(["a", "b", "c"])[np.digitize(x[:, 0], [-0.5, 0.5][: classes - 1])]
        theirs = neural_network.MLPClassifier((5, 3), activation=activation, max_iter=5, random_state=0).fit(x, y)
        net = bp.from_sklearn(theirs)
        assert net.dtype == dtype and net.metadata["classes"] == ["a", "b", "c"][:classes]
        expected = theirs.predict_proba(x)
        np.testing.assert_allclose(
            net.predict(x), expected[:, -net.n_out :], rtol=1e-12 if dtype == "float64" else 1e-5
        )
        for ours, coefficients in zip(net.layers, theirs.coefs_, strict=True):
            assert (ours.weight == coefficients).all()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_regressor_of_scikit_learn_with_names():
    neural_network = pytest.importorskip("sklearn.neural_network")
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    theirs = neural_network.MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0).fit(table, X[:, :2])
    net = bp.from_sklearn(theirs)
    assert net.feature_names == ("a", "b", "c", "d")
    np.testing.assert_allclose(net.predict(table), theirs.predict(table), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_what_is_no_fitted_perceptron_is_refused():
    neural_network = pytest.importorskip("sklearn.neural_network")
    pipeline = pytest.importorskip("sklearn.pipeline")
    with pytest.raises(ValueError, match="expected a fitted estimator, got MLPClassifier"):
        bp.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(TypeError, match=r"got Pipeline at the top: hand over its last step"):
        bp.from_sklearn(pipeline.make_pipeline(neural_network.MLPClassifier()))
    with pytest.raises(TypeError, match="expected an MLPClassifier or MLPRegressor, got int"):
        bp.from_sklearn(3)
    with pytest.raises(TypeError, match=r"it has one, mlp\.network_"):
        bp.from_sklearn(bp.sklearn.MLPRegressor(hidden_layer_sizes=(2,), max_iter=1).fit(X, X[:, 0]))


# PyTorch.


def every_module(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2),
        nn.Sequential(nn.Linear(6, 5, bias=False), nn.LayerNorm(5), nn.PReLU(5), nn.Sequential(nn.GELU("tanh"))),
        nn.Identity(), nn.PReLU(), nn.BatchNorm1d(5, eps=1e-3, momentum=0.3, affine=False), nn.LeakyReLU(0.2),
        nn.LayerNorm(5, elementwise_affine=False), nn.Flatten(), nn.Linear(5, 3), nn.ELU(0.4), nn.Softmax(-1),
    )  # fmt: skip


def trained(torch, module):
    """A little, so that no parameter and no statistic is as it was."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(3):
        module(torch.tensor(X, dtype=torch.float32)).square().sum().backward()
        optimizer.step()
    return module.eval()


@pytest.mark.parametrize("double", [False, True])
def test_a_module_of_pytorch_comes_in_and_goes_back(torch, double, tmp_path):
    module = trained(torch, every_module(torch).float())
    module = module.double() if double else module
    x = torch.tensor(X, dtype=torch.float64 if double else torch.float32)
    net = bp.from_torch(module)
    expected = module(x).detach().numpy()
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-10 if double else 1e-5, atol=1e-12 if double else 1e-6)
    net.save(tmp_path / "net.safetensors")
    state = bp.load(tmp_path / "net.safetensors").to_torch_state_dict()
    own = module.state_dict()
    assert state.keys() == own.keys()
    for name, tensor in own.items():
        if not name.endswith("num_batches_tracked"):
            assert state[name].shape == tensor.shape and (state[name] == tensor.numpy()).all(), name
    fresh = every_module(torch)
    fresh = (fresh.double() if double else fresh.float()).eval()
    fresh.load_state_dict(state)
    assert (fresh(x).detach().numpy() == expected).all()


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("exp", "sin", "cos")])
def test_every_activation_of_pytorch(torch, name):
    modules = {"hard_sigmoid": "Hardsigmoid", "hard_tanh": "Hardtanh", "log_softmax": "LogSoftmax", "gelu": "GELU"}
    f = ACTIVATIONS[name]
    kind = modules.get(f.name, {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "selu": "SELU", "silu": "SiLU",
                                "gelu_tanh": "GELU"}.get(f.name, f.name.capitalize()))  # fmt: skip
    given = {"leaky_relu": [f.slope], "elu": [f.slope], "gelu_tanh": ["tanh"], "softmax": [-1], "log_softmax": [1]}
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), getattr(torch.nn, kind)(*given.get(f.name, []))).double()
    net = bp.from_torch(module)
    assert net.layers[0].activation == f
    z = X @ net.layers[0].weight + net.layers[0].bias
    np.testing.assert_allclose(
        net.predict(X), torch_activation(torch, f)(torch.tensor(z)).numpy(), rtol=1e-9, atol=1e-12
    )


def test_a_network_of_ours_goes_to_pytorch(torch):
    net = bp.Sequential(
        [bp.Dense(4, 5, "relu"), bp.BatchNorm(), bp.Activation("tanh"), bp.Dropout(0.5), bp.Dense(5, 3), bp.PReLU()],
        rng=0,
    )
    net.fit(X, X[:, :3], loss="mse", optimizer="adam", epochs=2)
    nn = torch.nn
    module = (
        nn.Sequential(
            nn.Linear(4, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3), nn.PReLU(3)
        )
        .float()
        .eval()
    )
    state = net.to_torch_state_dict()
    module.load_state_dict(state)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    np.testing.assert_allclose(net.predict(X), module(torch.tensor(X).float()).detach().numpy(), rtol=1e-5, atol=1e-6)
    state["0.weight"][:] = 0  # a copy
    assert net.layers[0].weight.any()


def test_weights_of_pytorch_find_their_layers(torch, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.LayerNorm(4)
            self.fc = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])

        def forward(self, x):
            return self.fc[1](self.fc[0](self.norm(x)).relu())

    module = Own().float()
    layers = [bp.LayerNorm(), bp.Dense(4, 4, "relu"), bp.Dense(4, 4)]
    with pytest.raises(
        TypeError, match=r"got Own at the top: hand over the nn\.Sequential inside it, or its state_dict"
    ):
        bp.from_torch(module)
    net = bp.from_torch(module.state_dict(), layers)
    expected = module(torch.tensor(X).float()).detach().numpy()
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-5, atol=1e-6)
    assert net.to_torch_state_dict().keys() == module.state_dict().keys()
    other = Own().float()
    other.load_state_dict(net.to_torch_state_dict())
    assert (other(torch.tensor(X).float()).detach().numpy() == expected).all()

    path = tmp_path / "module.safetensors"
    safetensors.save_file(module.state_dict(), path)
    with pytest.raises(ValueError, match=r"expected modules whose names differ in their numbers, got .*fc.0"):
        bp.from_torch(path, [bp.LayerNorm(), bp.Dense(4, 4, "relu"), bp.Dense(4, 4)])
    wide = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(12)]).double()
    safetensors.save_file(wide.state_dict(), path)
    net = bp.from_torch(path, [bp.Dense(4, 4) for _ in range(12)])
    assert net.dtype == "float64"
    np.testing.assert_allclose(net.predict(X), wide(torch.tensor(X)).detach().numpy(), rtol=1e-10)
    safetensors.save_file({f"fc{i + 8}.{n}": t for i in range(3) for n, t in wide[i].state_dict().items()}, path)
    net = bp.from_torch(path, bp.Sequential([bp.Dense(4, 4, "tanh") for _ in range(3)], rng=0))
    assert (net.layers[2].weight == wide[2].weight.detach().numpy().T).all()


def test_what_does_not_fit_is_named_with_its_place(torch):
    nn = torch.nn
    cases = {
        "got Conv2d at 1.0": nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Conv2d(1, 1, 1))),
        "Softplus at 1: expected beta=1, got 2": nn.Sequential(nn.Linear(4, 4), nn.Softplus(beta=2)),
        "Softmax at 1: expected dim=-1": nn.Sequential(nn.Linear(4, 4), nn.Softmax(0)),
        "BatchNorm1d at 1: expected running statistics": nn.Sequential(
            nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)
        ),
        "expected 5 inputs, got the 4": nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 4)),
        "got ReLU6 at 1": nn.Sequential(nn.Linear(4, 4), nn.ReLU6()),
        "device meta": nn.Sequential(nn.Linear(4, 4, device="meta")),
    }
    for message, module in cases.items():
        with pytest.raises((TypeError, ValueError), match=message):
            bp.from_torch(module)
    layers = [bp.Dense(4, 3), bp.Dense(3, 2)]
    for state, message in [
        ({"0.weight": np.ones((3, 4))}, "expected tensors of 2 modules, one for each layer, got those of 1"),
        ({"a.weight": np.ones((3, 4)), "b.weight": np.ones((2, 3))}, "expected bias, weight for layer 0, got a.weight"),
        ({"0.weight": np.ones((3, 5)), "0.bias": np.ones(3), "1.weight": np.ones((2, 3)), "1.bias": np.ones(2)},
         r"0.weight: expected shape \(4, 3\), got \(5, 3\)"),
        ({"0.weight": np.full((3, 4), np.nan), "0.bias": np.ones(3), "1.weight": np.ones((2, 3)), "1.bias": np.ones(2)},
         "0.weight: expected finite numbers"),
        ({0: 1}, "expected names of tensors, got 0"),
    ]:  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=message):
            bp.from_torch(state, bp.Sequential(layers if layers[0].n_in is None else [bp.Dense(4, 3), bp.Dense(3, 2)]))
    with pytest.raises(TypeError, match="expected the layers of the network beside a state dict"):
        bp.from_torch({})
    with pytest.raises(TypeError, match="expected no layers beside a module"):
        bp.from_torch(nn.Linear(4, 3), layers)
    with pytest.raises(TypeError, match=r"got add at 0, for which nn\.Sequential has no module"):
        bp.Sequential([bp.Residual([bp.Dense(3, 3, "tanh"), bp.Activation("relu")])]).to_torch_state_dict()


def test_one_slope_for_all_columns_goes_back_while_it_is_one(torch):
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.PReLU())
    net = bp.from_torch(module)
    assert net.to_torch_state_dict()["1.weight"].shape == (1,)
    net.layers[1].weight[0] = 0.5
    with pytest.raises(ValueError, match=r"expected one number for all columns at 1\.weight"):
        net.to_torch_state_dict()


def test_an_embedding_of_pytorch(torch):
    module = torch.nn.Sequential(torch.nn.Embedding(7, 3), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    net = bp.from_torch(module)
    names = np.arange(7)[:, None]
    np.testing.assert_allclose(net.predict(names), module(torch.tensor(names)).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert net.to_torch_state_dict().keys() == module.state_dict().keys()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch.compile itself
def test_compiled_modules_of_pytorch_keep_their_keys(torch):
    inner = torch.nn.Sequential(torch.compile(torch.nn.Linear(4, 3)), torch.nn.Tanh())
    module = torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), inner))
    net = bp.from_torch(module)
    assert list(net.to_torch_state_dict()) == list(module.state_dict())
    assert repr(net) == "Sequential([Dense(2, 4, 'relu'), Dense(4, 3, 'tanh')], dtype='float64')"
    with pytest.raises(TypeError, match=r"got Conv1d at _orig_mod\.1"):
        bp.from_torch(torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Conv1d(1, 2, 3))))


# Keras.


def every_keras_layer(keras):
    layers = keras.layers
    return keras.Sequential([
        keras.Input((4,)), layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1.0, 2.0, 3.0, 0.0]),
        layers.Dense(6, activation="gelu"), layers.BatchNormalization(momentum=0.9), layers.PReLU(), layers.Dropout(0.2),
        keras.Sequential([layers.Dense(5, use_bias=False), layers.LayerNormalization(), layers.LeakyReLU()]),
        layers.BatchNormalization(scale=False), layers.Rescaling(2.0, -0.5), layers.ReLU(negative_slope=0.1),
        layers.Dense(5, activation=layers.ELU(0.5)), layers.Identity(), layers.Normalization(mean=0.5, variance=2.0),
        layers.LayerNormalization(center=False), layers.Dense(3, activation="leaky_relu"), layers.Softmax(),
    ])  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Keras's and its backend's own
def test_a_model_of_keras(keras, tmp_path):
    keras.utils.set_random_seed(0)
    model = every_keras_layer(keras)
    for layer in model._flatten_layers():  # no parameter and no statistic as it was
        if not isinstance(layer, (keras.Sequential, keras.layers.Normalization)):
            layer.set_weights(
                [
                    weight + np.abs(0.1 * np.random.default_rng(1).normal(size=weight.shape))
                    for weight in layer.get_weights()
                ]
            )
    x = X.astype("float32")
    x[:, 3] = 0.4
    net = bp.from_keras(model)
    np.testing.assert_allclose(net.predict(x), np.asarray(model.predict(x, verbose=0)), rtol=2e-5, atol=1e-6)
    assert net.layers[2].epsilon == 1e-3 and net.layers[2].momentum == pytest.approx(0.1)
    frozen = net.layers[0].weight.copy()
    net.fit(x, np.zeros(50, int), loss="cross_entropy", optimizer="adam")
    assert (net.layers[0].weight == frozen).all()
    path = tmp_path / "model.keras"
    model.save(path)
    assert (bp.from_keras(keras.saving.load_model(path)).predict(x) == bp.from_keras(model).predict(x)).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["linear", "relu", "sigmoid", "tanh", "softmax", "log_softmax", "elu", "selu", "silu", "mish", "softplus",
             "softsign", "hard_sigmoid", "hard_tanh", "gelu", "swish", "exponential", "leaky_relu"],
)  # fmt: skip
def test_every_activation_of_keras(keras, name):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Activation("tanh")(keras.layers.Dense(3, activation=name)(inputs)))
    expected = np.asarray(model.predict(X, verbose=0))
    np.testing.assert_allclose(bp.from_keras(model).predict(X), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_what_does_not_fit_of_keras_is_named_with_its_place(keras):
    layers = keras.layers
    given = keras.Input((4,))
    hidden = layers.Dense(4, name="hidden")(given)
    cases = {
        "got Conv2D at deep": keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 2, name="deep")]),
        "expected each layer to take the one before it, once, got sum": keras.Model(
            given, layers.Add(name="sum")([given, hidden])
        ),
        "ReLU at top: expected a ReLU without max_value, got 6": keras.Sequential(
            [keras.Input((4,)), layers.Dense(2), layers.ReLU(6, name="top")]
        ),
        "Dense at one: expected an activation of .*, got 'relu6'": keras.Sequential(
            [keras.Input((4,)), layers.Dense(2, activation="relu6", name="one")]
        ),
        "Dense at bare: expected a layer that is built": keras.Sequential([layers.Dense(2, name="bare")]),
    }
    for message, model in cases.items():
        with pytest.raises((TypeError, ValueError), match=message):
            bp.from_keras(model)
    with pytest.raises(TypeError, match="expected a Sequential or a functional model of Keras, got str"):
        bp.from_keras("model.keras")


def test_what_computes_something_of_its_own_is_refused(torch):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    handle = module[0].register_forward_hook(lambda module, given, found: found * 2)
    with pytest.raises(ValueError, match=r"without forward hooks.*Linear at 0"):
        bp.from_torch(module)
    handle.remove()
    module.register_forward_pre_hook(lambda module, given: None)
    with pytest.raises(ValueError, match=r"without forward hooks.*Sequential at the top"):
        bp.from_torch(module)


def test_a_model_of_keras_with_a_call_of_its_own_is_refused(keras):
    class Doubled(keras.Sequential):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs)

    with pytest.raises(TypeError, match="Doubled, with a call of its own"):
        bp.from_keras(Doubled([keras.Input((4,)), keras.layers.Dense(2)]))
