"""ONNX models that are written: valid, and what runtimes compute by them is what the network predicts."""

import io
import math

import numpy as np
import pytest
from instances import ACTIVATIONS, LAYERS, NETWORKS
from test_graph import trained

import backprop as bp
from backprop.onnx import formulas
from backprop.onnx.writer import NEWEST, OLDEST

onnx = pytest.importorskip("onnx", reason="onnx is not installed: nothing to compare with")
reference = pytest.importorskip("onnx.reference")
runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: nothing to compare with")

DTYPES = ("float32", "float64")
BOTH = ("onnxruntime", "onnx.reference")
#: Relative to the largest of a row's numbers.
CLOSE = {"float32": 1e-5, "float64": 1e-12}


def activated(name):
    return lambda: [
        bp.Dense(4, 37, ACTIVATIONS[name]),
        bp.Dense(37, 5),
        bp.Activation(ACTIVATIONS[name]),
        bp.Dense(5, 3),
    ]


EVERY = {
    **NETWORKS, **{f"{name} alone": activated(name) for name in ACTIVATIONS},
    **{f"last {name}": lambda name=name: [bp.Dense(4, 3, ACTIVATIONS[name])] for name in ACTIVATIONS},
    **{f"layer {name}": lambda layer=layer: layer(ACTIVATIONS["tanh"]) for name, layer in LAYERS.items()},
    "embedding": lambda: [bp.Embedding(7, 3, columns=4), bp.Dense(12, 3, "tanh")],
}  # fmt: skip


def rows(n, dtype, seed=0):
    """Numbers as the networks of `instances` take them: those of columns 1 and 3 are whole."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) * 2
    x[:, 1], x[:, 3] = rng.integers(0, 5, n), rng.integers(0, 2, n)
    return x.astype(dtype)


def written(net, **how):
    file = io.BytesIO()
    net.export_onnx(file, **how)
    return file.getvalue()


def sessions(data):
    """What ONNX Runtime and the reference make of it, as functions of x."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    evaluator = reference.ReferenceEvaluator(onnx.load_from_string(data))
    return {"onnxruntime": lambda **x: session.run(None, x), "onnx.reference": lambda **x: evaluator.run(None, x)}


def assert_close(got, expected, where):
    assert got.shape == expected.shape and got.dtype == expected.dtype, where
    if expected.size:
        scale = np.maximum(abs(expected).max(axis=1, keepdims=True), 1e-3 * abs(expected).max())
        error = (abs(got - expected) / scale).max()
        assert error <= CLOSE[expected.dtype.name], f"{where}: {error}"


def assert_alike(net, data, names=BOTH, take=rows):
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    for name, run in sessions(data).items():
        for n in (0, 1, 50) if name in names else ():
            x = take(n, net.dtype)
            if name == "onnx.reference" and n == 0:
                continue  # NumPy warns of means of nothing
            assert_close(run(x=x)[0], net.predict(x), f"{name}, {n} rows")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EVERY)
def test_a_network_is_predicted_alike(name, dtype):
    make = whole if name == "embedding" else rows
    net = trained(EVERY[name](), dtype)
    assert_alike(net, written(net), take=make)


def whole(n, dtype):
    return np.random.default_rng(n).integers(0, 7, (n, 4)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("opset", [OLDEST, 14, 16, 18, 20, 21, NEWEST])
def test_by_the_operators_of_each_version(opset, dtype):
    layers = [bp.Dense(4, 30)]
    for name in ACTIVATIONS:
        layers += [bp.Activation(name.split("_0")[0]), bp.BatchNorm(), bp.LayerNorm(), bp.Dense(30, 30)]
    layers += [bp.PReLU(), bp.Scale(), bp.Dense(30, 3)]
    net = trained(layers, dtype)
    data = written(net, opset=opset)
    model = onnx.load_from_string(data)
    assert [(own.domain, own.version) for own in model.opset_import] == [("", opset)]
    assert model.ir_version == {row[2]: row[1] for row in onnx.helper.VERSION_TABLE[::-1]}[opset]
    # The reference trains batch norms by the operator of version 9.
    assert_alike(net, data, BOTH[:1] if opset < 14 else BOTH)


@pytest.mark.parametrize("name", ["gelu", "elu", "selu", "softplus", "mish", "gelu_tanh", "silu", "elu_0.4"])
def test_the_last_digits_of_small_numbers_in_float64(name):
    """Far from zero and near it, where the plain formulas cancel."""
    net = bp.Sequential([bp.Dense(1, 1, ACTIVATIONS[name], use_bias=False)], dtype="float64")
    net.parameters[:] = 1
    x = np.concatenate([sign * 10.0 ** np.arange(-18, 2.2, 0.37) for sign in (-1, 1)])[:, None]
    x = x[x[:, 0] > -35]
    expected = net.predict(x)
    own = "onnx.reference" if name in ("silu", "gelu_tanh") else "onnxruntime"  # whose sigmoid has no such digits
    with np.errstate(all="ignore"):
        got = sessions(written(net))[own](x=x)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-300)


def test_the_tail_of_the_normal_distribution(mpmath):
    coefficients = formulas._tail()
    for z in [0.0, 1e-9, 0.3, 1.0, 2.5, 4.0, 7.99, 8.01, 15.0, 37.0]:
        place = (z - formulas.MIDDLE) / (z + formulas.MIDDLE)
        got = np.polyval(coefficients, place) * math.exp(-z * z / 2)
        assert got == pytest.approx(float(mpmath.erfc(z / mpmath.sqrt(2)) / 2), rel=3e-14)


def test_random_networks():
    rng = np.random.default_rng(3)
    kinds = [bp.BatchNorm, bp.LayerNorm, bp.PReLU, bp.Scale, lambda: bp.Dropout(0.3)]
    for seed in range(25):
        dtype, width = DTYPES[seed % 2], 4
        layers = [bp.Columns(4, {1: bp.Embedding(5, 3), 3: bp.Embedding(2, 2)})] if seed % 3 == 0 else []
        width += 3 * (seed % 3 == 0)
        for _ in range(rng.integers(1, 6)):
            after = int(rng.integers(1, 20))
            name = rng.choice([name for name in ACTIVATIONS if name not in ("exp", "log_softmax")])
            layers.append(bp.Dense(width, after, ACTIVATIONS[name], use_bias=bool(rng.integers(2))))
            some = [kinds[k]() for k in rng.integers(0, len(kinds), rng.integers(3))]
            if rng.integers(2):
                some = [bp.Residual([*some, bp.Dense(after, after, "tanh")])]
            layers += some
            width = after
            if rng.integers(3) == 0:
                layers.append(bp.Concatenate([[], [bp.Dense(width, 3, "relu")]]))
                width += 3
        net = trained(layers, dtype)
        if len(net.layers) > 3 and any(isinstance(layer, bp.LayerNorm) and layer.n_in < 3 for layer in net.layers):
            continue  # of two numbers: its outputs are signs
        assert_alike(net, written(net))


# What is in the file.


def test_the_smallest_file():
    """116 bytes beside the weights, and the name and version of the program."""
    data = written(bp.Sequential([bp.Dense(20, 10)], rng=0))
    assert len(data) < 20 * 10 * 4 + 10 * 4 + 200
    model = onnx.load_from_string(data)
    assert (model.producer_name, model.producer_version) == ("backprop", bp.__version__)
    assert model.ir_version == 8 and model.opset_import[0].version == 17
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["x", "y"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert model.SerializeToString() == data  # as the library of protocol buffers writes it


def test_versions_that_suit():
    def version(*layers, **how):
        return onnx.load_from_string(written(bp.Sequential(layers, **how))).opset_import[0].version

    assert version(bp.Dense(2, 2, "mish")) == 17
    assert version(bp.Dense(2, 2, "gelu")) == version(bp.Dense(2, 2, "gelu_tanh")) == 20
    assert version(bp.Dense(2, 2, "gelu"), dtype="float64") == 17  # written out anyway


def test_batch_norms_are_folded_where_that_is_asked_for():
    net = trained([bp.Dense(4, 5), bp.BatchNorm(), bp.Activation("relu"), bp.Dense(5, 3)], "float32")
    for fold, kinds in (False, "Gemm BatchNormalization Relu Gemm"), (True, "Gemm Relu Gemm"):
        nodes = onnx.load_from_string(written(net, fold=fold)).graph.node
        assert [node.op_type for node in nodes] == kinds.split()
    assert_alike(net, written(net, fold=True))


def test_names_of_columns_travel():
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    net.feature_names = ["a", "ß"]
    found = {entry.key: entry.value for entry in onnx.load_from_string(written(net)).metadata_props}
    assert found == {"feature_names": '["a", "\\u00df"]'}


def test_only_dropout():
    net = bp.Sequential([bp.Dropout(0.5), bp.Dense(4, 4)], rng=0)[:1]
    assert_alike(net, written(net))


def test_an_ensemble():
    nets = [trained([bp.Dense(4, n, "tanh"), bp.Dense(n, 3, "softmax")], "float32") for n in (3, 5, 8)]
    for net in nets:
        net.feature_names = ["a", "b", "c", "d"]
    members = bp.Ensemble(nets)
    data = written(members)
    assert_alike(members, data)
    names = {tensor.name for tensor in onnx.load_from_string(data).graph.initializer}
    assert names >= {"0/0.weight", "2/1.bias"}
    assert_alike(members[:1], written(members[:1], opset=13))
    nets[1].feature_names = ["b", "a", "c", "d"]
    with pytest.raises(ValueError, match="expected members that take the columns in one order"):
        written(members)


def test_a_path_is_written_wholly(tmp_path):
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    path = tmp_path / "model.onnx"
    net.export_onnx(path)
    assert path.read_bytes() == written(net)
    with pytest.raises(FileNotFoundError):
        net.export_onnx(tmp_path / "none" / "model.onnx")
    assert [*tmp_path.iterdir()] == [path]


# What is refused.


class Sine(bp.Layer):
    def forward(self, x, training):
        return np.sin(x)

    def backward(self, dy):
        return dy


def test_a_layer_in_python_is_refused_by_its_name():
    net = bp.Sequential([bp.Dense(4, 3), Sine(), bp.Dense(3, 3)], rng=0)
    with pytest.raises(TypeError, match=r"export_onnx: expected built-in layers, got Sine\(\) at 1: .*net\[:2\]"):
        written(net)
    assert_alike(net[:1], written(net[:1]))


@pytest.mark.parametrize("opset", [12, 29, 17.5, "17", True])
def test_other_versions_are_refused(opset):
    with pytest.raises((ValueError, TypeError), match="opset: expected"):
        written(bp.Sequential([bp.Dense(2, 1)]), opset=opset)


def test_what_predicts_nothing_is_refused():
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    net.parameters[0] = np.nan
    with pytest.raises(ValueError, match="parameters: expected finite numbers"):
        written(net)
