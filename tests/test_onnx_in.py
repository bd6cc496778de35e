"""ONNX models that are read: those of other libraries answer as they did there, and what does not fit is refused."""

import io
import random
import tracemalloc
import warnings

import numpy as np
import pytest
from test_graph import trained

import backprop as bp
from backprop.io import onnx as files

onnx = pytest.importorskip("onnx", reason="onnx is not installed: nothing to compare with")
test_onnx_out = pytest.importorskip("test_onnx_out")
helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
EVERY, DTYPES, rows, whole, written = (
    getattr(test_onnx_out, name) for name in ("EVERY", "DTYPES", "rows", "whole", "written")
)


def arguments_alike(layer):
    """What it is built with, but for what only training and its first values know."""
    apart = ("weight_init", "bias_init", "l1", "l2", "slope", "initial", "trainable")
    return {key: value for key, value in layer.config().items() if key not in apart}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EVERY)
def test_what_was_written_comes_back(name, dtype):
    net = trained(EVERY[name](), dtype)
    net.feature_names = list("abcd")
    for opset in (None, 13, 21):
        back = bp.from_onnx(written(net, opset=opset))
        assert back.dtype == net.dtype and back.feature_names == net.feature_names
        x = (whole if name == "embedding" else rows)(30, dtype)
        expected = net.predict(x)
        got = back.predict(x)
        assert abs(got - expected).max() <= (1e-6 if dtype == "float32" else 1e-14) * abs(expected).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_come_back_as_they_were(dtype):
    net = trained([
        bp.Columns(4, {1: bp.Embedding(5, 2)}), bp.Dense(5, 6, "gelu"), bp.BatchNorm(momentum=0.25, epsilon=1e-3),
        bp.Residual([bp.LayerNorm(epsilon=1e-4), bp.Dense(6, 6, "mish", use_bias=False)]), bp.PReLU(), bp.Scale(),
        bp.Concatenate([[bp.Dense(6, 2, bp.activations.elu.with_alpha(0.3))], [], [bp.Dense(6, 1, "softplus")]]),
        bp.Dense(9, 3, "log_softmax"),
    ], dtype)  # fmt: skip
    back = bp.from_onnx(written(net))
    assert [arguments_alike(layer) for layer in back] == [arguments_alike(layer) for layer in net]
    for name, array in back.arrays().items():
        np.testing.assert_allclose(array, net.arrays()[name], rtol=0 if dtype == "float32" else 1e-15)


def test_paths_files_and_bytes(tmp_path):
    net = bp.Sequential([bp.Dense(2, 3, "tanh")], rng=0)
    path = tmp_path / "model.onnx"
    net.export_onnx(path)
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes()), io.BytesIO(path.read_bytes())):
        assert np.array_equal(bp.from_onnx(source).parameters, net.parameters)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(bp.FormatError, match=r"model.onnx: .*: cut off"):
        bp.from_onnx(path)
    with pytest.raises(bp.FormatError, match="the bytes given: expected an ONNX model, got a zip archive"):
        bp.from_onnx(b"PK\x03\x04 and so on")
    with pytest.raises(bp.FormatError, match=r"got an ONNX model, which backprop\.from_onnx reads"):
        bp.load(written(net))
    with pytest.raises(FileNotFoundError):
        bp.from_onnx(tmp_path / "none.onnx")


# What other libraries write.


def assert_read(data, x, expected):
    net = bp.from_onnx(data)
    got = net.predict(np.asarray(x).reshape(len(x), -1))
    scale = abs(expected).max()
    tolerance = 1e-12 if net.dtype == np.float64 else 1e-5
    assert abs(got - expected.reshape(got.shape)).max() <= tolerance * scale
    return net


def modules(torch, dtype):
    """Of each kind of module, in evaluation mode, and rows for them."""
    nn = torch.nn
    activations = [
        nn.ReLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Hardtanh(), nn.Hardsigmoid(),
        nn.ELU(0.5), nn.SELU(), nn.Softplus(), nn.Softsign(), nn.LeakyReLU(0.1), nn.Sigmoid(), nn.Tanh(), nn.PReLU(8),
        nn.PReLU(), nn.ReLU6(),
    ]  # fmt: skip
    inner, epsilon = [], 2.0**-17  # an attribute of ONNX is float32: this one comes back as it was
    for i, activation in enumerate(activations):
        inner += [
            activation, nn.BatchNorm1d(8), nn.Linear(8, 8, bias=i % 2 == 0), nn.LayerNorm(8, epsilon), nn.Dropout(0.1)
        ]  # fmt: skip
    chain = nn.Sequential(nn.Linear(4, 8), *inner, nn.Linear(8, 3), nn.Softmax(-1)).to(dtype)
    for module in chain.modules():
        if isinstance(module, nn.BatchNorm1d | nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    chain(torch.randn(300, 4, dtype=dtype))
    yield chain.eval(), torch.randn(7, 4, dtype=dtype)
    pictures = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2), nn.LogSoftmax(-1))
    yield pictures.to(dtype).eval(), torch.randn(7, 1, 3, 4, dtype=dtype)
    yield branches(torch).to(dtype).eval(), torch.randn(7, 4, dtype=dtype)
    looked_up = torch.tensor([[0, 1, 0.5], [6, 0, 2]], dtype=dtype)
    yield embedded(torch).to(dtype).eval(), looked_up


def branches(torch):
    class Branches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

        def forward(self, x):
            x = (x - 1000) / 0.5
            x = x + torch.tanh(self.a(x))
            return torch.cat([self.c(x), x, torch.relu(self.b(x))], 1)

    return Branches()


def embedded(torch):
    class Embedded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.d, self.e, self.f = torch.nn.Linear(6, 4), torch.nn.Embedding(7, 3), torch.nn.Embedding(2, 2)

        def forward(self, x):
            return self.d(torch.cat([self.e(x[:, 0].long()), self.f(x[:, 1].long()), x[:, 2:]], 1))

    return Embedded()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("opset", [13, 17, 20])
def test_pytorch_by_its_first_exporter(torch, opset, dtype):
    for module, x in modules(torch, getattr(torch, dtype)):
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (x,), file, dynamo=False, opset_version=opset, input_names=["x"],
                dynamic_axes={"x": {0: "batch"}},
            )  # fmt: skip
        assert_read(file.getvalue(), x.numpy(), module(x).detach().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_by_its_second_exporter(torch, dtype):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: PyTorch's exporter needs it")
    for module, x in modules(torch, getattr(torch, dtype)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
        assert_read(program.model_proto.SerializeToString(), x.numpy(), module(x).detach().numpy())


def test_scikit_learn():
    """By skl2onnx: labels beside probabilities, as a tensor or as maps, and what stands before the network."""
    to_onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed").to_onnx
    neural, pipeline = pytest.importorskip("sklearn.neural_network"), pytest.importorskip("sklearn.pipeline")
    scalers = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3

    def classifier(targets, **how):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return neural.MLPClassifier((5,), max_iter=3, random_state=0, **how).fit(x, targets)

    cases = [(y, [0, 1, 2]), (y > 0, [0, 1]), (np.array(list("abc"))[y], ["a", "b", "c"]), (np.eye(3)[y], None)]
    for (targets, classes), activation in zip(cases, ("relu", "tanh", "logistic", "identity"), strict=True):
        model = classifier(targets, activation=activation)
        for zipmap in (True, False) if classes else (False,):
            data = to_onnx(model, x[:1], options={id(model): {"zipmap": zipmap}}).SerializeToString()
            net = assert_read(data, x, model.predict_proba(x))
            assert net.metadata.get("classes") == classes
            assert net.layers[-1].activation.name == ("softmax" if classes else "sigmoid")
    for scaler in (scalers.StandardScaler(), scalers.MinMaxScaler(), scalers.MaxAbsScaler(), scalers.RobustScaler()):
        model = pipeline.make_pipeline(scaler, neural.MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y.astype(float))
        assert_read(to_onnx(model, x[:1]).SerializeToString(), x, model.predict(x)[:, None])


# Models made by hand.


def model(nodes, constants, n_in=4, *, opset=17, outputs=("y",), inputs=None, **how):
    """The bytes of a model of these nodes: lines such as "y = Gemm(x, w, b)", or nodes."""
    made = [node(one) if isinstance(one, str) else one for one in nodes]
    tensors = [
        one if isinstance(one, onnx.TensorProto) else onnx.numpy_helper.from_array(np.asarray(one), name)
        for name, one in constants.items()
    ]
    given = inputs or [helper.make_tensor_value_info("x", FLOAT, ["batch", n_in])]
    infos = [helper.make_tensor_value_info(name, FLOAT, [None, None]) for name in outputs]
    graph = helper.make_graph(made, "made by hand", given, infos, tensors)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, **how).SerializeToString()


def node(line, **attributes):
    output, call = line.split(" = ")
    operator, inputs = call.rstrip(")").split("(")
    return helper.make_node(operator, inputs.replace(" ", "").split(",") if inputs else [], [output], **attributes)


RNG = np.random.default_rng(8)
W, B = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
V = RNG.normal(size=(3, 3)).astype(np.float32)
ONE, HALF = np.float32(1), np.float32(0.5)
ROOT, CUBIC, SQRT2 = np.float32(np.sqrt(2 / np.pi)), np.float32(0.044715), np.float32(np.sqrt(2))
#: Ways in which other programs write a function of z: (lines, constants, the layers after the first).
WRITTEN = {
    "gelu, halved first": (["a = Mul(z, h)", "d = Div(z, s)", "e = Erf(d)", "f = Add(o, e)", "y = Mul(a, f)"],
                           {"h": HALF, "s": SQRT2, "o": ONE}, [bp.Activation("gelu")]),
    "gelu, by a product": (["d = Mul(z, r)", "e = Erf(d)", "f = Add(e, o)", "g = Mul(f, h)", "y = Mul(g, z)"],
                           {"h": HALF, "r": 1 / SQRT2, "o": ONE}, [bp.Activation("gelu")]),
    "gelu by tanh": (["p = Pow(z, k)", "q = Mul(c, p)", "a = Add(z, q)", "b = Mul(a, r)", "t = Tanh(b)", "u = Add(t, o)",
                      "v = Mul(u, z)", "y = Mul(v, h)"],
                     {"k": np.float32(3), "c": CUBIC, "r": ROOT, "o": ONE, "h": HALF}, [bp.Activation("gelu_tanh")]),
    "silu": (["s = Sigmoid(z)", "y = Mul(s, z)"], {}, [bp.Activation("silu")]),
    "mish": (["s = Softplus(z)", "t = Tanh(s)", "y = Mul(t, z)"], {}, [bp.Activation("mish")]),
    "softplus": (["e = Exp(z)", "a = Add(e, o)", "y = Log(a)"], {"o": ONE}, [bp.Activation("softplus")]),
    "softsign": (["a = Abs(z)", "b = Add(o, a)", "y = Div(z, b)"], {"o": ONE}, [bp.Activation("softsign")]),
    "sigmoid": (["n = Neg(z)", "e = Exp(n)", "a = Add(e, o)", "y = Div(o, a)"], {"o": ONE}, [bp.Activation("sigmoid")]),
    "relu": (["y = Max(z, o)"], {"o": np.float32(0)}, [bp.Activation("relu")]),
    "prelu": (["a = Relu(z)", "n = Neg(z)", "m = Relu(n)", "k = Mul(m, w)", "y = Add(a, k)"],
              {"w": np.float32([-0.1, -0.2, -0.3])}, [bp.PReLU()]),
    "layer norm": (["m = ReduceMean(z)", "c = Sub(z, m)", "q = Mul(c, c)", "v = ReduceMean(q)", "e = Add(v, k)",
                    "r = Sqrt(e)", "i = Reciprocal(r)", "n = Mul(c, i)", "s = Mul(n, w)", "y = Add(s, w)"],
                   {"k": np.float32(1e-3), "w": np.float32([1, 2, 3])}, [bp.LayerNorm(epsilon=1e-3)]),
    "batch norm": (["c = Sub(z, m)", "s = Mul(c, w)", "y = Add(s, w)"],
                   {"m": np.float32([[1, 2, 3]]), "w": np.float32([1, 2, 3])}, [bp.BatchNorm(momentum=0, epsilon=1e-30)]),
    "keras 2's hard sigmoid": (["y = HardSigmoid(z)"], {}, None),
    "a limit": (["y = Clip(z, a, b)"], {"a": np.float32(-0.5), "b": np.float32(2)}, None),
    "none of its limits": (["y = Clip(z, a, )"], {"a": np.float32(0)}, [bp.Activation("relu")]),
    "classes of one sigmoid": (["u = MatMul(z, k)", "s = Sigmoid(u)", "r = Sub(o, s)", "y = Concat(r, s)"],
                               {"k": V[:, :1], "o": ONE}, [bp.Dense(3, 2, "softmax", use_bias=False)]),
    "left over": (["f = Flatten(z)", "i = Identity(f)", "d = Dropout(i)", "c = Cast(d)", "y = Reshape(c, k)"],
                  {"k": np.int64([-1, 3])}, [bp.Dropout(0.5)]),
}  # fmt: skip
ATTRIBUTES = {
    "ReduceMean": {"axes": [-1], "keepdims": 1}, "Concat": {"axis": 1}, "Cast": {"to": FLOAT}, "Flatten": {"axis": 1},
}  # fmt: skip


def lines(some):
    return [node(line, **ATTRIBUTES.get(line.split(" = ")[1].split("(")[0], {})) for line in some]


@pytest.mark.parametrize("name", WRITTEN)
def test_functions_are_known_however_they_are_written(name):
    some, constants, expected = WRITTEN[name]
    data = model([node("a0 = MatMul(x, w0)"), node("z = Add(b0, a0)"), *lines(some)], {"w0": W, "b0": B, **constants})
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    x = rows(20, "float32", 4)
    net = assert_read(data, x, onnx.reference.ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"x": x})[0])
    if expected is not None:
        first, *rest = net.layers
        if expected[0].operation == "activation":
            assert (first, rest) == (bp.Dense(4, 3, expected[0].activation), [])
        else:
            assert arguments_alike(first) == arguments_alike(bp.Dense(4, 3))
            assert [arguments_alike(layer) for layer in rest] == [arguments_alike(layer) for layer in expected]


def test_what_is_nearly_a_function_is_not_taken_for_it():
    some, constants, _ = WRITTEN["gelu by tanh"]
    for name in ("c", "r", "h"):
        other = {**constants, name: constants[name] * np.float32(1.0001)}
        with pytest.raises(bp.FormatError):
            bp.from_onnx(model([node("z = MatMul(x, w0)"), *lines(some)], {"w0": W, **other}))


def info(name, kind, *sizes):
    return helper.make_tensor_value_info(name, kind, sizes)


GEMM = ["y = Gemm(x, w, b)"]
OF_GEMM = {"w": W, "b": B}
NARROW = RNG.normal(size=(4, 3)).astype(np.float16)
IF = helper.make_node("If", ["c"], ["y"], then_branch=helper.make_graph([], "t", [], []), else_branch=helper.make_graph([], "e", [], []))  # fmt: skip
#: (nodes, constants, how) of a model, and what its refusal says.
REFUSED = {
    "a convolution": ((["y = Conv(x, w)"], {"w": W}), r"node 'y': expected an operator of a dense network, got Conv"),
    "another domain": (([node("y = Gelu(x)", domain="com.microsoft")], {}), r"got com.microsoft.Gelu"),
    "a subgraph": (([IF], {"c": np.array(True)}), r"attribute: expected no subgraph, which is not read here"),
    "an attribute": (([node("y = Relu(x)", inplace=1)], {}), r"Relu 'y': expected no attribute 'inplace'"),
    "operators of the future": ((GEMM, OF_GEMM, {"opset": 29}), r"operators of version 7 to 28, got 29"),
    "operators of the past": ((GEMM, OF_GEMM, {"opset": 6}), r"got 6"),
    "float16": ((["y = MatMul(x, w)"], {"w": NARROW}), r"tensor 'w': expected FLOAT, DOUBLE.*got FLOAT16"),
    "two inputs": ((["y = Add(x, z)"], {}, {"inputs": [info("x", FLOAT, "n", 2), info("z", FLOAT, "n", 2)]}),
                   r"expected one input.*\['x', 'z'\]"),
    "text": ((["y = Identity(x)"], {}, {"inputs": [info("x", onnx.TensorProto.STRING, "n", 2)]}), r"got type 8"),
    "unknown sizes": ((GEMM, OF_GEMM, {"inputs": [info("x", FLOAT, "n", "m")]}), r"rows of known size"),
    "a sequence": ((GEMM, OF_GEMM, {"inputs": [info("x", FLOAT, "n", 5, 4)]}), r"flattened before, got"),
    "two outputs": ((["a = Relu(x)", "y = Tanh(x)"], {}, {"outputs": ("a", "y")}), r"one output of floats, got 2"),
    "a constant output": ((["y = Identity(w)"], {"w": W}), r"depends on the input"),
    "an output that nobody makes": ((["z = Relu(x)"], {}), r"expected an output that depends on the input"),
    "computed weights": ((["v = Mul(w, w)", "y = MatMul(x, v)"], {"w": W}), r"Mul 'v': expected weights as they are"),
    "other sizes": ((["y = MatMul(x, w)"], {"w": V}), r"MatMul 'y': expected rows of 3, as its weights take, got rows of"),
    "weights on the left": ((["y = MatMul(w, x)"], {"w": W}), r"MatMul 'y': expected a constant as input 2"),
    "a product of values": ((["t = Tanh(x)", "y = Mul(x, t)"], {}), r"operators that together are a layer, got Mul of"),
    "a bias for each row": ((["y = Add(x, b)"], {"b": np.ones((2, 4), np.float32)}), r"Add 'y': expected one float, or 4"),
    "a transposed batch": (([node("y = Gemm(x, w, b)", transA=1)], OF_GEMM), r"Gemm 'y': expected rows times weights"),
    "a softmax over the batch": (([node("y = Softmax(x)", axis=0)], {}), r"softmax over a row, got axis 0"),
    "rows on rows": (([node("y = Concat(x, x)", axis=0)], {}), r"side by side, axis 1"),
    "sums of branches": ((["a = Relu(x)", "b = Tanh(x)", "y = Add(a, b)"], {}), r"sum with the value that the other side"),
    "a shared layer": (([*map(node, ("h = MatMul(x, w)", "t = Tanh(h)", "a = Add(x, t)")), node("y = Concat(a, h)", axis=1)],
                        {"w": np.eye(4, dtype=np.float32)}), r"a value of one branch, got one that two branches take"),
    "a circle": ((["a = Relu(y)", "y = Relu(a)"], {}), r"computed before, got 'y'"),
    "an own input": ((["y = Add(x, y)"], {}), r"computed before"),
    "no such constant": ((["y = MatMul(x, w)"], {}), r"MatMul 'y': expected to take what is computed before, got 'w'"),
    "some columns": (([node("y = Gather(x, k)", axis=1)], {"k": np.int64([0, 2])}), r"operators that together are a layer"),
    "columns twice": (([node("a = Gather(x, k)", axis=1), node("y = Concat(a, a)", axis=1)], {"k": np.int64([0, 1])}),
                      r"operators that together are a layer"),
    "columns in another order": (([node("a = Gather(x, k)", axis=1), node("b = Gather(x, j)", axis=1), node("y = Concat(a, b)", axis=1)],
                                  {"k": np.int64([2, 3]), "j": np.int64([0, 1])}), r"all columns of the input in their order"),
    "columns that are not there": (([node("y = Gather(x, k)", axis=1)], {"k": np.int64([4])}), r"columns 0 to 3"),
    "a batch norm in training": (([node("y = BatchNormalization(x, o, o, o, o)", training_mode=1)],
                                  {"o": np.ones(4, np.float32)}), r"one that is in training"),
    "negative variances": ((["y = BatchNormalization(x, o, o, o, v)"],
                            {"o": np.ones(4, np.float32), "v": -np.ones(4, np.float32)}), r"variances, got -1"),
    "a dropout in training": ((["y = Dropout(x, r, t)"], {"r": HALF, "t": np.array(True)}), r"in training"),
    "a mask": (([helper.make_node("Dropout", ["x"], ["z", "y"])], {}), r"expected its first output to be used, got 'y'"),
    "no finite weights": ((["y = MatMul(x, w)"], {"w": W * np.inf}), r"finite"),
    "too few inputs": ((["y = Gemm(x)"], {}), r"Gemm 'y': expected 2 to 3 inputs, got \['x'\]"),
    "a division by zero": ((["y = Div(x, k)"], {"k": np.float32(0)}), r"divided by numbers other than 0"),
    "a slope above 1": (([node("y = LeakyRelu(x)", alpha=1.5)], {}), r"slope"),
    "whole numbers as floats": ((["y = Relu(x)"], {}, {"inputs": [info("x", INT64, "n", 2)]}), r"a Cast to FLOAT lacks"),
    "truncation": (([node("c = Cast(x)", to=INT64), node("y = Cast(c)", to=FLOAT)], {}), r"Cast 'y': expected FLOAT"),
    "quantised": ((["y = MatMulInteger(x, w)"], {"w": np.zeros((4, 3), np.int8)}), r"got MatMulInteger"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_its_name(name):
    (nodes, constants, *how), says = REFUSED[name]
    with pytest.raises(bp.FormatError, match=says) as caught:
        bp.from_onnx(model(nodes, constants, **(how[0] if how else {})))
    message = str(caught.value)
    assert message.startswith("the bytes given: ") and "\n" not in message and len(message) < 500


def test_data_in_other_files_is_not_looked_for():
    outside = onnx.numpy_helper.from_array(W, "w")
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(bp.FormatError, match="tensor 'w': expected its numbers in this file, got external data"):
        bp.from_onnx(model(["y = MatMul(x, w)"], {"w": outside}))
    outside.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(bp.FormatError, match="expected no external_data, which is not read here"):
        bp.from_onnx(model(["y = MatMul(x, w)"], {"w": outside}))


def test_functions_and_sparse_weights_are_refused():
    whole_model = onnx.load_from_string(model(["y = Relu(x)"], {}))
    function = helper.make_function("own", "F", ["x"], ["y"], [], [helper.make_opsetid("", 17)])
    whole_model.functions.append(function)
    with pytest.raises(bp.FormatError, match="Model: expected no functions"):
        bp.from_onnx(whole_model.SerializeToString())
    whole_model.ClearField("functions")
    whole_model.graph.sparse_initializer.add()
    with pytest.raises(bp.FormatError, match=r"Model.graph: expected no sparse_initializer"):
        bp.from_onnx(whole_model.SerializeToString())


def test_what_the_output_does_not_need_may_be_anything():
    data = model(["y = MatMul(x, w)", "z = NonMaxSuppression(x)"], {"w": W, "unused": NARROW})
    assert bp.from_onnx(data).layers == (bp.Dense(4, 3, use_bias=False),)


def test_numbers_in_every_place():
    """Raw bytes, or lists of floats, packed by protocol buffers."""
    for array in (W, W.astype(np.float64)):
        listed = helper.make_tensor(
            "w", onnx.helper.np_dtype_to_tensor_dtype(array.dtype), [4, 3], array.ravel().tolist()
        )
        net = bp.from_onnx(model(["y = MatMul(x, w)"], {"w": listed}))
        assert net.dtype == array.dtype and np.array_equal(net.layers[0].weight, array)
        listed.dims[1] = 4
        with pytest.raises(bp.FormatError, match=r"tensor 'w': expected .* of shape \[4, 4\], got 12 numbers"):
            bp.from_onnx(model(["y = MatMul(x, w)"], {"w": listed}))


# Files that are damaged, or meant to do harm.


@pytest.fixture(scope="module")
def small():
    """The files that are damaged: the first as small as can be."""
    return [
        written(trained([bp.Dense(2, 2, "relu"), bp.Dense(2, 1)], "float32")),
        written(trained([
            bp.Columns(3, {0: bp.Embedding(3, 2)}), bp.Dense(4, 3), bp.BatchNorm(), bp.Residual([bp.Dense(3, 3, "silu")]),
            bp.Concatenate([[bp.LayerNorm()], [bp.PReLU()]])], "float32")),
        written(trained([
            bp.Dense(2, 3, "elu"), bp.LayerNorm(), bp.Activation("softplus"), bp.Dense(3, 1, "hard_sigmoid")], "float64")),
    ]  # fmt: skip


def read(data):
    """Whether it is a network; anything but that and a FormatError is a fault."""
    try:
        net = bp.from_onnx(data)
    except bp.FormatError:
        return False
    assert np.isfinite(net.parameters).all()
    return True


def test_every_truncation(small):
    data = small[0]
    assert read(data)
    for end in range(len(data)):
        read(data[:end])


@pytest.mark.parametrize("change", [
    pytest.param(change, marks=[] if change in (1, 0xFF) else pytest.mark.slow) for change in range(1, 256)
])  # fmt: skip
def test_every_changed_byte(small, change):
    data = small[0]
    for at in range(len(data)):
        read(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :])


def mutated(rng, some):
    data = bytearray(rng.choice(some))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8, 30))):
        at, how = rng.randrange(len(data) + 1), rng.randrange(5)
        if how == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif how == 1:
            del data[at : at + rng.randrange(1, 40)]
        elif how == 2:
            data[rng.randrange(len(data) + 1) : 0] = data[at : at + rng.randrange(1, 60)]
        elif how == 3:
            data[at:at] = rng.choice([b"\xff" * 9 + b"\x01", b"\x80" * 12, bytes(rng.randrange(1, 9)), b"\x7f"])
        else:
            data[at:at] = rng.choice(some)[: rng.randrange(200)]
    return bytes(data)


@pytest.mark.parametrize("count", [400, pytest.param(100_000, marks=pytest.mark.slow)])
def test_random_damage(small, count):
    rng = random.Random(count)
    kinds = {read(mutated(rng, small)) for _ in range(count)}
    assert kinds == {True, False}


def packed(n):
    """A varint."""
    found = bytearray()
    while n > 127:
        found.append(n & 127 | 128)
        n >>= 7
    return bytes([*found, n])


def field(number, content):
    return packed(number << 3 | 2) + packed(len(content)) + content


def bombs():
    """Models that say little and ask for much."""
    whole_of = model(["y = Relu(x)"], {}, n_in=1 << 39)
    yield "a wide input", whole_of
    yield "a wide scale", model(["y = Mul(x, k)"], {"k": HALF}, n_in=1 << 39)
    huge = helper.make_tensor("w", FLOAT, [0], [])
    huge.dims[:] = [1 << 31, 1 << 31]
    yield "a large tensor", model(["y = MatMul(x, w)"], {"w": huge})
    huge.dims[:] = [0, 1 << 62]
    yield "a large tensor without numbers", model(["y = MatMul(x, w)"], {"w": huge})
    norms = [f"a{i + 1} = PRelu(a{i}, k)" for i in range(2000)]
    yield "many layers of many", model(["a0 = Identity(x)", *norms, "y = Relu(a2000)"], {"k": HALF}, n_in=1 << 19)
    yield "many nodes", field(7, field(1, b"") * (1 << 20))
    yield "deep messages", model([], {}) + b"\x3a\x00" * 10
    doubled = [f"a{i + 1} = Mul(a{i}, a{i})" for i in range(3000)]
    yield "a product of products", model(["a0 = Tanh(x)", *doubled, "y = Add(a3000, x)"], {})
    tanh = [line for i in range(200) for line in (f"t{i} = Tanh(a{i})", f"a{i + 1} = Mul(a{i}, t{i})")]
    yield "a form that doubles", model(["a0 = Sigmoid(x)", *tanh, "y = Clip(a200, k, o)"], {"k": HALF, "o": ONE})
    halves = [line for i in range(200) for line in (f"t{i} = Tanh(a{i})", f"a{i + 1} = Add(t{i}, a{i})")]
    yield "residuals within residuals", model(["a0 = Identity(x)", *halves, "y = Relu(a200)"], {})


@pytest.mark.parametrize("name", [
    "a wide input", "a wide scale", "a large tensor", "a large tensor without numbers", "many layers of many",
    "many nodes", "deep messages", "a product of products", "a form that doubles", "residuals within residuals",
])  # fmt: skip
def test_a_file_cannot_take_more_memory_than_it_has(name):
    data = dict(bombs())[name]
    bp.from_onnx(model(["y = MatMul(x, w)"], {"w": W}))  # what is imported
    tracemalloc.start()
    try:
        read(data)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000 + 20 * len(data)
    finally:
        tracemalloc.stop()


def test_messages_within_messages_have_an_end():
    inner = b""
    for _ in range(5000):
        inner = field(7, inner)
    assert not read(inner)


def test_the_reader_knows_nothing_that_the_format_does_not():
    """Each field of our table is the one of onnx.proto of that number."""
    names = {"subgraph": "g", "subgraphs": "graphs", "value": "dim_value", "param": "dim_param"}
    pairs = [
        (files.Tensor, onnx.TensorProto), (files.Attribute, onnx.AttributeProto), (files.Node, onnx.NodeProto),
        (files.Graph, onnx.GraphProto), (files.Model, onnx.ModelProto), (files.Opset, onnx.OperatorSetIdProto),
        (files.Entry, onnx.StringStringEntryProto), (files.ValueInfo, onnx.ValueInfoProto),
        (files.Dimension, onnx.TensorShapeProto.Dimension),
    ]  # fmt: skip
    for ours, theirs in pairs:
        numbers = {one.number: one.name for one in theirs.DESCRIPTOR.fields}
        for number, (name, _) in ours.FIELDS.items():
            expected = names.get(name, name) if ours in (files.Attribute, files.Dimension) else name
            assert numbers[number] == expected, ours
