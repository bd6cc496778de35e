"""A quantized network is its C file to the last bit, loses little, and says what it has lost."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from in_c import compiled, compilers, needs_a_compiler, rows, same_bits
from instances import ACTIVATIONS, NETWORKS
from test_export_c import everything, inputs, network

import backprop as bp
from backprop import datasets


@pytest.fixture(scope="module")
def digits():
    """A network that is trained on them, the rows it saw, and others."""
    pytest.importorskip("sklearn", reason="has the digits")
    x, y = datasets.digits()
    seen = np.arange(len(x)) % 5 != 0
    net = bp.Sequential(
        [
            bp.Dense(64, 64),
            bp.BatchNorm(),
            bp.Activation("relu"),
            bp.Dense(64, 32, "tanh"),
            bp.Dense(32, 10, "softmax"),
        ],
        rng=0,
    )
    net.fit(x[seen], y[seen], loss="cross_entropy", optimizer="adam", epochs=30)
    return net, x[seen], x[~seen], y[~seen]


def accuracy(net, x, y):
    return net.evaluate(x, y, loss="cross_entropy", metrics=["accuracy"])["accuracy"]


def test_the_digits_lose_at_most_half_a_point_in_a_quarter_of_the_bytes(digits):
    net, x, others, y = digits
    quantized = bp.quantize(net, x[:200])
    assert accuracy(quantized, others, y) >= accuracy(net, others, y) - 0.005
    report = quantized.report()
    assert report.bytes < 0.3 * report.float_bytes and report.float_bytes == 4 * (64 * 64 + 64 * 32 + 320 + 106)
    assert [*report.errors] == ["row", "2", "3", "3.tanh", "4"]
    assert "error of each operation" in str(report) and max(report.errors.values()) < 0.03
    before = quantized.predict(others)
    net.parameters *= 2  # it has weights of its own
    try:
        assert same_bits(quantized.predict(others), before)
    finally:
        net.parameters /= 2


@pytest.mark.slow
@pytest.mark.skipif("BACKPROP_DATA" not in os.environ, reason="the folder of MNIST is not named")
def test_mnist_loses_at_most_half_a_point():
    x, y, others, answers = datasets.mnist(Path(os.environ["BACKPROP_DATA"]) / "mnist")
    net = bp.Sequential([bp.Dense(784, 128, "relu"), bp.Dense(128, 10, "softmax")], rng=0)
    net.fit(x, y, loss="cross_entropy", optimizer="adam", epochs=3, batch_size=128)
    assert accuracy(bp.quantize(net, x[:500]), others, answers) >= accuracy(net, others, answers) - 0.005


@needs_a_compiler
def test_the_c_file_is_the_same_to_the_last_bit(digits, tmp_path):
    net, x, others, _ = digits
    net.export_c(tmp_path / "net.c", dtype="int8", calibration=x[:200])
    net.export_c(tmp_path / "wide.c")
    assert (tmp_path / "net.c").stat().st_size < 0.5 * (tmp_path / "wide.c").stat().st_size
    expected = bp.quantize(net, x[:200]).predict(others)
    sanitized = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for compiler in compilers():
        for level in "-O0", "-O3":
            library = compiled(
                tmp_path / "net.c", tmp_path / f"{compiler}{level}.so", level, "-shared", "-fPIC", compiler=compiler
            )
            assert same_bits(rows(library, "net", others.astype(np.float32), 10), expected)
        flags = sanitized if compiler == "gcc" else ["-O2"]
        program = compiled(tmp_path / "net.c", tmp_path / "program", "-Dnet_TEST", *flags, compiler=compiler)
        assert subprocess.run([program], check=False).returncode == 0


@needs_a_compiler
def test_every_network_and_every_activation_is_its_c_file(tmp_path):
    nets = {"everything": everything("float32")}
    nets |= {
        name: network(make(), "float64" if i % 2 else "float32") for i, (name, make) in enumerate(NETWORKS.items())
    }
    nets |= {
        f"{name} inside": network([bp.Dense(4, 9, f), bp.Dense(9, 3)], "float32") for name, f in ACTIVATIONS.items()
    }
    nets |= {f"{name} last": network([bp.Dense(4, 9, f)], "float32") for name, f in ACTIVATIONS.items()}
    nets |= {f"{name} alone": network([bp.Activation(f), bp.Dense(4, 2)], "float32") for name, f in ACTIVATIONS.items()}
    nets["zeros"] = bp.Sequential(
        [bp.Dense(4, 3, weight_init="zeros", bias_init="zeros"), bp.Dense(3, 2, "relu")], rng=0
    )
    nets["a large bias"] = bp.Sequential([bp.Dense(4, 3, "tanh"), bp.Dense(3, 2)], rng=0)
    nets["a large bias"].layers[1].bias = [1e6, -1e-6]
    nets["a large bias"].layers[1].weight *= 1e-7
    sources = []
    for i, net in enumerate(nets.values()):
        x = inputs(net, 60, "float32")
        net.export_c(tmp_path / f"n{i}.c", dtype="int8", calibration=np.clip(x[:30], -3, None))
        sources.append(f'#include "n{i}.c"\n')
    (tmp_path / "all.c").write_text("".join(sources))
    library = compiled(tmp_path / "all.c", tmp_path / "all.so", "-O1", "-shared", "-fPIC")
    for i, (name, net) in enumerate(nets.items()):
        x = inputs(net, 60, "float32")
        quantized = bp.quantize(net, np.clip(x[:30], -3, None))
        assert same_bits(rows(library, f"n{i}", x, net.n_out), quantized.predict(x)), name


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_stays_close(name):
    net = bp.Sequential(NETWORKS[name](), rng=1)
    x = np.random.default_rng(0).normal(size=(500, 4))
    for column, width, values in net.graph.tables:
        x[:, column : column + width] = np.random.default_rng(0).integers(0, values, (500, width))
    quantized, expected = bp.quantize(net, x), net.predict(x)
    found = quantized.predict(x)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.1 * np.sqrt(np.mean(expected**2))
    assert quantized.report().errors


def test_units_that_hardly_move_do_not_spoil_what_a_batch_norm_makes_of_them():
    """Its weights are large where the variance is small: they are multiplied into those of the next layer."""
    x, y = datasets.digits()
    net = bp.Sequential([bp.Dense(64, 32, "relu"), bp.BatchNorm(), bp.Dense(32, 10, "softmax")], rng=0)
    net.fit(x, y, loss="cross_entropy", optimizer=bp.Adam(1e-3), epochs=20, batch_size=64)
    net.layers[0].bias[:3] = -1000.0  # dead: their variance is that of before
    net.update_statistics(x)
    exact = (net.predict(x).argmax(axis=1) == y).mean()
    assert exact > 0.9
    assert (bp.quantize(net, x[:300]).predict(x).argmax(axis=1) == y).mean() >= exact - 0.005


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.empty((0, 3)), "calibration: x: expected at least one row, got none"),
        (np.full((5, 3), np.nan), "calibration: x: expected finite numbers, got nan"),
        (np.zeros((5, 3)), "calibration: expected rows like those that the network will see, got zeros alone"),
        (np.ones((5, 2)), r"expected input of shape \(batch, 3\), got \(5, 2\)"),
        (None, "calibration: "),
        ("rows", "calibration: "),
    ],
)
def test_bad_calibration_is_refused(calibration, message, tmp_path):
    net = bp.Sequential([bp.Dense(3, 2)], rng=0)
    with pytest.raises((TypeError, ValueError), match=message):
        bp.quantize(net, calibration)
    with pytest.raises((TypeError, ValueError), match=message):
        net.export_c(tmp_path / "net.c", dtype="int8", calibration=calibration)
    assert not [*tmp_path.iterdir()]


def test_an_outlier_in_the_calibration_is_told():
    x = np.random.default_rng(0).normal(size=(200, 3))
    net = bp.Sequential([bp.Dense(3, 8, "relu"), bp.Dense(8, 2)], rng=0)
    bp.quantize(net, np.where(x > 0, x, 0))  # what is 0 already does not count
    x[17, 1] = 1e6
    with pytest.warns(RuntimeWarning, match=r"to 1e\+06, where half of them are within 0\.\d+ of 0 and become 0"):
        quantized = bp.quantize(net, x)
    assert not np.ptp(quantized.predict(x[:17]), axis=0).any()


def test_calibration_is_for_int8_alone(tmp_path):
    net = bp.Sequential([bp.Dense(3, 2)], rng=0)
    with pytest.raises(ValueError, match='expected rows with dtype="int8", only there, got rows with dtype="float32"'):
        net.export_c(tmp_path / "net.c", calibration=np.ones((5, 3)))


def test_a_custom_layer_is_refused():
    class Double(bp.Layer):
        def forward(self, x, training):
            return 2 * x

    with pytest.raises(TypeError, match=r"quantize: expected built-in layers, got Double.* at 1"):
        bp.quantize(bp.Sequential([bp.Dense(2, 2), Double()], rng=0), np.ones((3, 2)))


def test_evaluate_takes_every_loss_on_the_outputs():
    rng = np.random.default_rng(0)
    net = bp.Sequential([bp.Dense(3, 8, "tanh"), bp.Dense(8, 1, "sigmoid")], rng=0)
    x, y = rng.normal(size=(100, 3)), rng.integers(0, 2, 100)
    quantized = bp.quantize(net, x)
    for loss in "binary_cross_entropy", "mse":
        exact = net.evaluate(x, y, loss=loss, metrics=["accuracy", "roc_auc"])
        found = quantized.evaluate(x, y, loss=loss, metrics=["accuracy", "roc_auc"])
        assert found.keys() == exact.keys()
        assert found["loss"] == pytest.approx(exact["loss"], rel=0.02)
