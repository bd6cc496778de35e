"""A C file has the bits of `predict`, with every compiler at every level, and asks for nothing."""

import importlib.util
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from in_c import compiled, compilers, needs_a_compiler, rows, same_bits
from instances import ACTIVATIONS, NETWORKS

import backprop as bp
from backprop.program import engine

ROOT = Path(__file__).parents[1]
#: One network with every layer and most activations.
EVERYTHING = [
    lambda: bp.Columns(6, {1: bp.Embedding(5, 3)}), lambda: bp.Dense(8, 19, "gelu"), bp.BatchNorm,
    lambda: bp.Residual([bp.Dense(19, 19, "mish"), bp.LayerNorm(), bp.PReLU()]), lambda: bp.Dense(19, 33, "selu"),
    lambda: bp.Scale(0.5),
    lambda: bp.Concatenate([[bp.Dense(33, 5, "softplus")], [bp.Dense(33, 9, "tanh"), bp.Dropout(0.5)], []]),
    lambda: bp.Dense(47, 40, "gelu_tanh"), lambda: bp.Dense(40, 20, "silu"), lambda: bp.Dense(20, 20, "elu"),
    lambda: bp.Dense(20, 20, "softsign", use_bias=False), lambda: bp.Dense(20, 20, "hard_sigmoid"),
    lambda: bp.Dense(20, 10, "softmax"),
]  # fmt: skip


def network(layers, dtype, seed=0):
    """With parameters and statistics that are none of the initial ones."""
    net, rng = bp.Sequential(layers, rng=0, dtype=dtype), np.random.default_rng(seed)
    net.parameters = rng.normal(size=net.parameters.size)
    net.buffers = abs(rng.normal(size=net.buffers.size))
    return net


def everything(dtype):
    return network([make() for make in EVERYTHING], dtype)


def inputs(net, count, dtype):
    """Small and large numbers, zeros and subnormal ones, and names where there are tables."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, net.n_in)) * np.exp(2 * rng.normal(size=(count, 1)))
    x[1] = 0
    x[2::9, 0] *= 1e-39 if dtype == "float32" else 1e-309
    for column, width, values in net.graph.tables:
        x[:, column : column + width] = rng.integers(0, values, (count, width))
    return x.astype(dtype)


def of_the_baseline(net, x):
    """What `predict` of the build without wide registers gives."""
    out = np.empty((len(x), net.n_out), net.dtype)
    assert engine.build(net.graph, net._storage, bp._isa.BASELINE).predict(x, out)
    return out


@needs_a_compiler
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "compiler", [name if name == "gcc" else pytest.param(name, marks=pytest.mark.slow) for name in compilers()]
)
def test_the_bits_are_those_of_predict_at_every_level(compiler, dtype, tmp_path):
    net = everything(dtype)
    x = inputs(net, 200, dtype)
    expected = of_the_baseline(net, x)
    net.export_c(tmp_path / "net.c", dtype=dtype)
    for level in "-O0", "-O1", "-O2", "-O3":
        library = compiled(
            tmp_path / "net.c", tmp_path / f"net{level}.so", level, "-shared", "-fPIC", compiler=compiler
        )
        assert same_bits(rows(library, "net", x, 10), expected), level


@needs_a_compiler
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_the_bits_of_every_network_and_every_activation(dtype, tmp_path):
    nets = {name: network(make(), dtype) for name, make in NETWORKS.items()}
    nets |= {name: network([bp.Dense(4, 37), bp.Dense(37, 37, f)], dtype) for name, f in ACTIVATIONS.items()}
    for i, net in enumerate(nets.values()):
        net.export_c(tmp_path / f"n{i}.c", dtype=dtype)
    library = tmp_path / "nets.so"
    sources = [f'#include "n{i}.c"\n' for i in range(len(nets))]  # all in one: no name is there twice
    (tmp_path / "all.c").write_text("".join(sources))
    compiled(tmp_path / "all.c", library, "-O2", "-shared", "-fPIC")
    for i, (name, net) in enumerate(nets.items()):
        x = inputs(net, 100, dtype)
        assert same_bits(rows(library, f"n{i}", x, net.n_out), of_the_baseline(net, x)), name


@needs_a_compiler
def test_its_own_test_finds_no_wrong_row_and_a_changed_one(tmp_path):
    net = everything("float32")
    net.export_c(tmp_path / "net.c")
    sanitized = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for flags in (
        ["-O2"],
        ["-O3", "-march=native", "-ffp-contract=fast"],
        *([sanitized] if "gcc" in compilers() else []),
    ):
        program = compiled(tmp_path / "net.c", tmp_path / "program", "-Dnet_TEST", *flags)
        assert subprocess.run([program], check=False).returncode == 0, flags
    text = (tmp_path / "net.c").read_text()
    changed = re.sub(r"(net_test_y\[80\] = \{[^{}]*?\n)([\d.e-]+)f", r"\g<1>9\2f", text)
    assert changed != text
    (tmp_path / "changed.c").write_text(changed)
    program = compiled(tmp_path / "changed.c", tmp_path / "program", "-Dnet_TEST")
    assert subprocess.run([program], check=False).returncode == 1


def test_it_asks_for_nothing(tmp_path):
    """No memory, no files, no state; and only the functions that it needs."""
    everything("float32").export_c(tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(malloc|free|printf|stdio|goto|while)\b", code)
    assert {*re.findall(r"#include <(.*?)>", code)} == {"math.h", "stdint.h", "string.h", "xmmintrin.h"}
    outside = re.sub(r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}", "{}", code)
    for line in re.findall(r"^static (?!const)[^(\n]*$", outside, re.MULTILINE):
        raise AssertionError(f"a variable that outlives a call: {line}")
    bp.Sequential([bp.Dense(2, 1)], rng=0).export_c(tmp_path / "small.c")
    assert "sigmoid" not in (tmp_path / "small.c").read_text() and "double" not in (tmp_path / "small.c").read_text()


@needs_a_compiler
def test_the_header_is_enough_to_call_it(tmp_path):
    net = bp.Sequential([bp.Dense(3, 40, "tanh"), bp.Dense(40, 2)], rng=0)
    net.export_c(tmp_path / "model.c", name="it")
    (tmp_path / "main.c").write_text(
        '#include "model.h"\n#include "model.h"\n'
        "int main(void)\n{\n    const float x[it_N_IN] = {1, 2, 3};\n    float y[it_N_OUT], z[it_N_OUT], work[it_WORK_SIZE];\n"
        "    it_predict(x, y);\n    it_predict_in(x, z, work);\n    return y[0] != z[0] || y[1] != z[1];\n}\n"
    )
    for compiler in compilers():
        part = compiled(tmp_path / "model.c", tmp_path / "model.o", "-c", compiler=compiler)
        main = compiled(tmp_path / "main.c", tmp_path / "main.o", "-c", compiler=compiler)
        subprocess.run([compiler, str(part), str(main), "-o", str(tmp_path / "a"), "-lm"], check=True)
        assert subprocess.run([tmp_path / "a"], check=False).returncode == 0


@needs_a_compiler
def test_a_folded_file_is_close_and_a_double_network_goes_to_float(tmp_path):
    net = network([bp.Dense(4, 9), bp.BatchNorm(), bp.Activation("relu"), bp.BatchNorm(), bp.Dense(9, 3)], "float64")
    x = inputs(net, 50, "float32")
    net.export_c(tmp_path / "net.c", fold=True)
    assert "batch_norm" not in (tmp_path / "net.c").read_text()
    found = rows(compiled(tmp_path / "net.c", tmp_path / "net.so", "-shared", "-fPIC"), "net", x, 3)
    expected = net.predict(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


def test_arm64_has_the_same_bits(tmp_path):
    """Under emulation, where that is at hand."""
    import shutil

    if not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64")):
        pytest.skip("there is no compiler for arm64, or no emulator")
    net = everything("float32")
    x = inputs(net, 50, "float32")
    net.export_c(tmp_path / "net.c")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.c"\nint main(void)\n{\n    float x[net_N_IN], y[net_N_OUT];\n'
        "    while (fread(x, sizeof x, 1, stdin) == 1) {\n        net_predict(x, y);\n"
        "        fwrite(y, sizeof y, 1, stdout);\n    }\n    return 0;\n}\n"
    )
    for level in "-O0", "-O3":
        program = compiled(tmp_path / "main.c", tmp_path / "a", level, "-static", compiler="aarch64-linux-gnu-gcc")
        done = subprocess.run(["qemu-aarch64", program], input=x.tobytes(), capture_output=True, check=True)
        assert done.stdout == of_the_baseline(net, x).tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.txt", {}), "path: expected a name that ends in .c, got '.*net.txt'"),
        (("my net.c", {}), r"name: expected an identifier of C, got 'my net': give one, name=\"net_my_net\""),
        (("1.c", {}), "name: expected an identifier of C, got '1'"),
        (("net.c", {"name": "int"}), "name: expected an identifier of C, got 'int'"),
        (("net.c", {"name": 3}), "name: expected an identifier of C, got 3"),
        (("net.c", {"dtype": "float16"}), "dtype: expected one of float32, float64, .*got 'float16'"),
        (("net.c", {"fold": 1}), "fold: expected True or False, got 1"),
    ],
)
def test_what_is_refused(arguments, message, tmp_path):
    path, how = arguments
    with pytest.raises((TypeError, ValueError), match=message):
        bp.Sequential([bp.Dense(2, 1)], rng=0).export_c(tmp_path / path, **how)
    assert not [*tmp_path.iterdir()]


def test_a_custom_layer_is_refused_by_its_name(tmp_path):
    class Double(bp.Layer):
        def forward(self, x, training):
            return 2 * x

    with pytest.raises(TypeError, match=r"expected built-in layers, got Double.* at 1: a C file holds no Python"):
        bp.Sequential([bp.Dense(2, 2), Double()], rng=0).export_c(tmp_path / "net.c")


@pytest.mark.skipif(not (ROOT / "src").exists(), reason="beside a wheel there are no sources")
def test_the_functions_in_c_are_translated_from_the_kernels():
    spec = importlib.util.spec_from_file_location("kernels_in_c", ROOT / "tools" / "kernels_in_c.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.TARGET.read_text(encoding="utf-8") == tool.written(), "run tools/kernels_in_c.py"
