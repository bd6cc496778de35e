"""Files that are signed, and lie: what they ask for is refused before it costs anything. And old files, which do not."""

import json
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import signed

import backprop as bp
from backprop import schedules
from backprop.io import atomic, safetensors

DATA = Path(__file__).parent / "data"


def model(layers, arrays=None, *, text=None, metadata="{}", **more):
    """The bytes of a file with this architecture, signed."""
    architecture = {"layers": layers, "dtype": "float32", "seed": 0, "epochs": 0, "steps": 0} | more
    return safetensors.pack(arrays or {}, {
        "format": "backprop", "format_version": "1", "backprop_version": "0",
        "architecture": json.dumps(architecture) if text is None else text, "metadata": metadata,
    })  # fmt: skip


def dense(n_in, n_out, **more):
    return ["Dense", {"n_in": n_in, "n_out": n_out, **more}]


def vectors(**shapes):
    return {name.replace("_", "."): np.zeros(shape, np.float32) for name, shape in shapes.items()}


ONE = vectors(**{"0_weight": (1, 1), "0_bias": 1})


# Files of version 0.1.


def raw(path):
    """The tensors of a file, read by hand."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    kinds = {"F32": "<f4", "F64": "<f8"}
    return {
        name: np.frombuffer(data[8 + size :][slice(*its["data_offsets"])], kinds[its["dtype"]]).reshape(its["shape"])
        for name, its in header.items() if name != "__metadata__"
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.safetensors")))
def test_files_of_version_0_1(name):
    """Written by the code of version 0.1; tensors are compared with the bytes in the file."""
    net, arrays = bp.load(DATA / name), raw(DATA / name)
    for at, array in net.arrays().items():
        assert array.tobytes() == arrays.pop(at).tobytes()
    assert all(at.startswith(("optimizer.", "history.", "callback.")) for at in arrays)
    twin = bp.load(net.to_bytes())
    assert twin == net and twin.parameters.tobytes() == net.parameters.tobytes()
    assert (twin.seed, twin.epochs, twin.steps) == (net.seed, net.epochs, net.steps)


def test_a_model_and_a_pickle_of_version_0_1():
    net, pickled = bp.load(DATA / "model.safetensors"), pickle.loads((DATA / "model.pickle").read_bytes())
    assert net.metadata == {"classes": ["no", "\u00e9\u6f22"], "nested": {"a": [1, 2.5, None, True, -0.0, 10**20]}}
    assert pickled == net and pickled.parameters.tobytes() == net.parameters.tobytes()
    assert pickled.metadata == net.metadata
    assert (net.epochs, net.steps, net.seed) == (2, 6, 6436932044539064378)
    assert not net.layers[3][1].trainable and net.layers[0].activation == bp.activations.leaky_relu.with_slope(0.2)


def run_of_version_0_1():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 4))
    y = np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2], x.sum(axis=1)], axis=1)
    return x, y


#: The losses of five epochs, of which the file is the third.
LOSSES = {
    "sgd": [1.7170365560566048, 1.184403658675184, 0.9371525440546992, 0.6983874470767413, 0.492892016160208],
    "schedule": [1.8219456855056755, 1.6117368002551629, 1.4351116176515786, 1.3089542342657754, 1.0212153894232945],
    "lbfgs": [1.9403679163811975, 1.6238383641996748, 0.6693028394443093, 0.4272890117990617, 0.3543180141669881],
}


@pytest.mark.parametrize("kind", LOSSES)
def test_a_run_of_version_0_1_goes_on(kind, tmp_path):
    x, y = run_of_version_0_1()
    callbacks = {
        "sgd": lambda: [
            bp.EarlyStopping("loss", patience=20),
            bp.ReduceOnPlateau("loss", 0.5, 1, min_delta=0.05, cooldown=2),
        ],
        "schedule": lambda: [bp.EarlyStopping("loss", restore_best=False)],
        "lbfgs": list,
    }[kind]()
    path = tmp_path / f"{kind}-{{epoch}}.safetensors"
    keep = bp.Checkpoint(path, keep=5)
    how = {"loss": "mse", "batch_size": 8, "metrics": ["r2"], "callbacks": [*callbacks, keep]}
    net, history = bp.resume(DATA / f"{kind}-3.safetensors", x, y, **how)
    assert history["loss"][:3] == LOSSES[kind][:3]
    np.testing.assert_allclose(history["loss"], LOSSES[kind], rtol=1e-4)  # the bits are those of a build
    assert net.epochs == 5 and keep.state["written"] == [1, 2, 3, 4, 5]


# What a file asks for, beside what there is in it.


def nested(kind, depth):
    inner = ["Residual", {"layers": []}]
    for _ in range(depth - 1):
        inner = (
            ["Residual", {"layers": [inner]}] if kind == "Residual" else ["Concatenate", {"branches": [[inner], []]}]
        )
    return inner


ENORMOUS = {
    "columns": lambda: model([["Columns", {"n_in": 2**27, "embeddings": []}]]),
    "more columns": lambda: model([["Columns", {"n_in": 2**39, "embeddings": []}]]),
    "as many columns as there are": lambda: model([["Columns", {"n_in": 2**40, "embeddings": []}]]),
    "too many columns": lambda: model([["Columns", {"n_in": 2**63, "embeddings": []}]]),
    "columns of one table": lambda: model(
        [["Embedding", {"values": 2, "width": 2, "columns": 2**27}]], vectors(**{"0_weight": (2, 2)})),
    "more of one table": lambda: model(
        [["Embedding", {"values": 2, "width": 2**20, "columns": 2**30}]], vectors(**{"0_weight": (2, 2)})),
    "a table without a tensor": lambda: model([["Embedding", {"values": 2**24, "width": 2**16}]]),
    "a layer without a tensor": lambda: model([dense(16000, 16000)]),
    "a larger one": lambda: model([dense(30000, 30000)]),
    "the largest": lambda: model([dense(2**40, 2**40)]),
    "one among others": lambda: model([dense(1, 1), dense(1, 2**33)], ONE),
    "initial values": lambda: model([dense(1, 2**30, weight_init="he_normal", bias_init="lecun_normal")]),
    "norms of many columns": lambda: model([["Columns", {"n_in": 2**33, "embeddings": []}], ["BatchNorm", {}]]),
    "twice as wide, often": lambda: model(
        [["Columns", {"n_in": 2**20, "embeddings": []}], *[["Concatenate", {"branches": [[], []]}]] * 60]),
    "twice as wide, thousands of times": lambda: model([*[["Concatenate", {"branches": [[], []]}]] * 9000, dense(1, 1)]),
    "many branches": lambda: model(
        [["Columns", {"n_in": 2, "embeddings": []}], ["Concatenate", {"branches": [[]] * 200_000}]]),
    "many layers": lambda: model([dense(1, 1), *[["Dropout", {"rate": 0.5}]] * 20_000], ONE),
    "many layers with parameters": lambda: model([dense(1, 1), *[["PReLU", {}]] * 10_000], ONE),
    "many with all of them": lambda: model(
        [dense(1, 1), *[["PReLU", {}]] * 7000], ONE | vectors(**{f"{i}_weight": 1 for i in range(1, 7001)})),
    "more tensors than layers": lambda: model([dense(1, 1)], ONE | vectors(**{f"{i}_weight": 1 for i in range(1, 9000)})),
    "columns with many tables": lambda: model(
        [["Columns", {"n_in": 2**38, "embeddings": [[i, {"values": 1, "width": 1}] for i in range(15_000)]}]]),
    "layers within layers": lambda: model([dense(1, 1), nested("Residual", 49)], ONE),
    "deeper": lambda: model([dense(1, 1), nested("Residual", 80)], ONE),
    "deeper in branches": lambda: model([dense(1, 1), nested("Concatenate", 60)], ONE),
    "far deeper": lambda: model([dense(1, 1), nested("Residual", 300)], ONE),
    "brackets": lambda: model([], text="[" * 30_000 + "]" * 30_000),
    "more brackets": lambda: model([], text='{"layers":' * 60_000 + "1" + "}" * 60_000),
    "metadata of brackets": lambda: model([dense(1, 1)], ONE, metadata='{"a":' + "[" * 90_000 + "]" * 90_000 + "}"),
    "metadata of a long number": lambda: model([dense(1, 1)], ONE, metadata='{"a":' + "1" * 900_000 + "}"),
    "metadata of many": lambda: model([dense(1, 1)], ONE, metadata='{"a":[' + "1," * 250_000 + "1]}"),
    "a long name": lambda: model([["x" * 900_000, {}]]),
    "a long argument": lambda: model([["Dense", {"y" * 900_000: 1}]]),
    "a long activation": lambda: model([dense(1, 1, activation="x" * 900_000)]),
}  # fmt: skip

#: Load each in turn, with as much more memory as is allowed, and say how it went.
MEASURE = """
import json, resource, sys, time
import backprop as bp

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

for path in sys.argv[1:]:
    with open(path, "rb") as file:
        size = len(file.read())
    limit = held() + 2 * size + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    begun = time.process_time()
    try:
        bp.load(path)
        said = "loads"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps([path, time.process_time() - begun, said]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
def test_no_file_takes_more_than_it_holds(tmp_path):
    paths = []
    for i, make in enumerate(ENORMOUS.values()):
        paths.append(tmp_path / f"{i}.safetensors")
        paths[-1].write_bytes(make())
    done = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True)
    results = dict(zip(ENORMOUS, map(json.loads, done.stdout.splitlines()), strict=False))
    assert done.returncode == 0 and results.keys() == ENORMOUS.keys(), (done.stderr, [*results][-1:])
    for name, (path, seconds, said) in results.items():
        assert said == "loads" or said.startswith(f"FormatError: {path}: expected"), (name, said[:1000])
        assert len(said) < len(path) + 500, name
        assert seconds < 2, (name, seconds)  # of this thread: most are refused in a thousandth of that


def test_a_wide_network_works_as_far_as_it_can():
    net = bp.load(ENORMOUS["columns"]())
    assert (net.n_in, net.n_out) == (2**27, 2**27) and net == net.copy()
    with pytest.raises(ValueError, match=r"of shape \(batch, 134217728\), got \(1, 3\)"):
        net.predict([[1, 2, 3]])


def test_twenty_thousand_layers():
    """Made by hand they take no longer, and they predict."""
    layers = [bp.Dense(2, 2), *[bp.Dropout(0.5) for _ in range(20_000)]]
    net = bp.Sequential(layers, rng=0)
    x = np.ones((2, 2), np.float32)
    assert np.array_equal(net.predict(x), bp.Sequential([bp.Dense(2, 2)], rng=0).predict(x))
    again = bp.Dropout(0.5)
    with pytest.raises(ValueError, match=r"expected each once, got Dropout\(0.5\) again in place 20001"):
        bp.layers.chain([*[bp.Dropout(0.5) for _ in range(9_999)], again, *[bp.PReLU() for _ in range(10_000)], again])


def test_a_file_is_in_memory_once_beside_the_network():
    net = bp.Sequential([bp.Dense(2000, 2000)], rng=0)
    size = net.parameters.nbytes
    data = net.to_bytes()
    del net
    tracemalloc.start()
    try:
        assert bp.load(data).n_in == 2000
        assert tracemalloc.get_traced_memory()[1] < 2 * size + (
            1 << 20
        )  # parameters and gradients; or those and the file
    finally:
        tracemalloc.stop()


def test_columns_side_by_side_are_as_columns_one_by_one():
    """The core counts columns of one kind: the same network, with a table on each column."""
    rng = np.random.default_rng(0)
    table, weight = rng.normal(size=(3, 2)), rng.normal(size=(9, 2))
    layers = [bp.Columns(7, {2: bp.Embedding(3, 2), 5: bp.Embedding(3, 2)}), bp.Dense(9, 2)]
    net = bp.Sequential(layers, dtype="float64", rng=0)
    net.layers[0][2].weight, net.layers[0][5].weight, net.layers[1].weight = table, table, weight
    x = rng.normal(size=(50, 7))
    x[:, [2, 5]] = rng.integers(0, 3, (50, 2))
    looked = np.hstack([x[:, :2], table[x[:, 2].astype(int)], x[:, 3:5], table[x[:, 5].astype(int)], x[:, 6:]])
    np.testing.assert_allclose(net.predict(x), looked @ weight, rtol=1e-12)
    assert bp.check_gradients(net, "mse", x, rng.normal(size=(50, 2))).error < 1e-6
    net.forward(x)
    dy = rng.normal(size=(50, 2))
    dx = dy @ weight.T
    np.testing.assert_allclose(
        net.backward(dy), np.hstack([dx[:, :2], np.zeros((50, 1)), dx[:, 4:6], np.zeros((50, 1)), dx[:, 8:]])
    )


# What JSON has no word for, or two.


WRONG_JSON = {
    "NaN": '{"a":NaN}', "infinity": '{"a":[Infinity]}', "minus infinity": '{"a":-Infinity}', "overflow": '{"a":1e999}',
    "deep overflow": '{"a":[{"b":-1e999}]}', "a key twice": '{"a":1,"a":1}', "a key twice within": '{"a":{"b":1,"b":2}}',
    "half a pair": '{"a":"\\ud800"}', "half a pair as key": '{"\\udc00":1}', "an enormous number": '{"a":1' + "0" * 400 + "}",
    "more digits than Python reads": '{"a":1' + "0" * 5000 + "}", "too deep": '{"a":' + "[" * 257 + "]" * 257 + "}",
    "cut off": '{"a":1', "nothing": "", "two": "{}{}", "a list": "[]", "a number": "1", "null": "null", "text": '"a"',
}  # fmt: skip


def with_words(data, part, change):
    """The same file with another text for one part of it."""
    arrays, metadata = safetensors.unpack(data, source="m")
    return safetensors.pack(arrays, metadata | {part: change(metadata[part])})


@pytest.mark.parametrize("what", WRONG_JSON)
@pytest.mark.parametrize("part", ["architecture", "metadata", "training"])
def test_json_that_says_nothing_or_two_things(part, what, tmp_path):
    wrong = WRONG_JSON[what]
    data, how = signed.checkpoint("SGD", tmp_path)

    def change(text):
        inside = wrong.startswith('{"') and wrong.endswith("}") and part != "metadata"
        return f"{text[:-1]},{wrong[1:]}" if inside else wrong

    lies = with_words(data, part, change)
    path = tmp_path / "lies.safetensors"
    path.write_bytes(lies)
    pickled = pickle.dumps(bp.Sequential([bp.Dense(1, 1)])).replace  # its bytes are one argument of a function
    assert pickled
    for call in (
        lambda: bp.load(path),
        lambda: bp.load(lies),
        lambda: bp.network._from_bytes(lies),
        lambda: bp.resume(path, **how()),
        lambda: signed.run_of("SGD")[0].fit(**how(), resume=path),
    ):
        with pytest.raises(bp.FormatError) as error:
            call()
        assert len(str(error.value)) < len(str(path)) + 450


# Words and numbers that are not what they should be.


def layers_with(**config):
    return [["Dense", {"n_in": 1, "n_out": 1, **config}]]


#: Layers, and what else there is to say of a network of one input and one output.
WRONG = {
    "no layers": ([], {}), "a dict of layers": ({}, {}), "words for layers": ("Dense", {}), "a layer alone": ([["Dense"]], {}),
    "three of a pair": ([["Dense", {}, 1]], {}), "a number for a layer": ([1], {}), "a number for a name": ([[1, {}]], {}),
    "a list for a name": ([[["Dense"], {}]], {}), "the base class": ([["Layer", {}]], {}), "a private class": ([["_Norm", {}]], {}),
    "a class of elsewhere": ([["Popen", {"args": "true"}]], {}), "a list of arguments": ([["Dense", [1, 1]]], {}),
    "no arguments": ([["Dense", None]], {}), "one argument missing": ([["Dense", {"n_in": 1}]], {}),
    "an argument more": (layers_with(more=1), {}), "an argument of another": (layers_with(rate=0.1), {}),
    "a flag for a size": ([dense(True, 1)], {}), "a float for a size": ([dense(1.0, 1)], {}), "text for a size": ([dense("1", 1)], {}),
    "none of a size": ([dense(0, 1)], {}), "a negative size": ([dense(-1, 1)], {}), "an enormous size": ([dense(10**300, 1)], {}),
    "a list for a size": ([dense([1], 1)], {}), "null for a size": ([dense(None, 1)], {}),
    "a number for a flag": (layers_with(use_bias=1), {}), "a negative penalty": (layers_with(l1=-1e-9), {}),
    "text for a penalty": (layers_with(l2="0"), {}), "a flag for a penalty": (layers_with(l2=True), {}),
    "an unknown activation": (layers_with(activation="swish"), {}), "a number as activation": (layers_with(activation=1), {}),
    "an activation of three": (layers_with(activation=["elu", 1, 1]), {}), "of one": (layers_with(activation=["elu"]), {}),
    "an activation within": (layers_with(activation=[["elu"], 1]), {}), "a slope of 1": (layers_with(activation=["leaky_relu", 1]), {}),
    "a negative slope": (layers_with(activation=["leaky_relu", -0.1]), {}), "a slope of text": (layers_with(activation=["elu", "1"]), {}),
    "a slope of none": (layers_with(activation=["relu", 0.5]), {}), "an enormous slope": (layers_with(activation=["elu", 1e300]), {}),
    "an unknown initializer": (layers_with(weight_init="ones"), {}), "a list as initializer": (layers_with(bias_init=["zeros"]), {}),
    "half frozen": (layers_with(trainable=0.5), {}), "frozen by a word": (layers_with(trainable="no"), {}),
    "a rate of 1": ([dense(1, 1), ["Dropout", {"rate": 1}]], {}), "a rate of null": ([dense(1, 1), ["Dropout", {"rate": None}]], {}),
    "an epsilon of 0": ([dense(1, 1), ["LayerNorm", {"epsilon": 0}]], {}),
    "a momentum of 2": ([dense(1, 1), ["BatchNorm", {"momentum": 2}]], {}),
    "a slope of PReLU": ([dense(1, 1), ["PReLU", {"slope": 1.0}]], {}),
    "frozen layers of layers": ([dense(1, 1), ["Residual", {"layers": [], "trainable": False}]], {}),
    "layers of layers of words": ([dense(1, 1), ["Residual", {"layers": "ab"}]], {}),
    "a branch": ([dense(1, 1), ["Concatenate", {"branches": [[]]}]], {}),
    "branches of numbers": ([dense(1, 1), ["Concatenate", {"branches": [1, 2]}]], {}),
    "two tables for a column": ([["Columns", {"n_in": 1, "embeddings": [[0, {"values": 1, "width": 1}]] * 2}]], {}),
    "a table for no column": ([["Columns", {"n_in": 1, "embeddings": [[1, {"values": 1, "width": 1}]]}]], {}),
    "a table for column 0.0": ([["Columns", {"n_in": 1, "embeddings": [[0.0, {"values": 1, "width": 1}]]}]], {}),
    "a table for column false": ([["Columns", {"n_in": 1, "embeddings": [[False, {"values": 1, "width": 1}]]}]], {}),
    "a table of words": ([["Columns", {"n_in": 1, "embeddings": [[0, "Embedding"]]}]], {}),
    "a table of two columns": ([["Columns", {"n_in": 1, "embeddings": [[0, {"values": 1, "width": 1, "columns": 2}]]}]], {}),
    "tables in the middle": ([dense(1, 1), ["Embedding", {"values": 1, "width": 1}]], {}),
    "sizes that do not fit": ([dense(1, 1), dense(2, 1)], {}),
    "no type": ([dense(1, 1)], {"dtype": None}), "NumPy's name of a type": ([dense(1, 1)], {"dtype": "<f4"}),
    "a type with a shape": ([dense(1, 1)], {"dtype": "(2,)f4"}), "a list of types": ([dense(1, 1)], {"dtype": ["float32"]}),
    "half a type": ([dense(1, 1)], {"dtype": "float16"}), "a short type": ([dense(1, 1)], {"dtype": "f4"}),
    "an entry more": ([dense(1, 1)], {"more": 1}),
    **{f"{name} {value!r:.20}": ([dense(1, 1)], {name: value}) for name in ("seed", "epochs", "steps")
       for value in (-1, 2**64, 1.0, True, None, "1", 10**30)},
    "epochs without an end": ([dense(1, 1)], {"epochs": 2**63}), "steps without an end": ([dense(1, 1)], {"steps": 2**63}),
    "one epoch too many": ([dense(1, 1)], {"epochs": 2**61 + 1}), "one step too many": ([dense(1, 1)], {"steps": 2**61 + 1}),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_words_and_numbers_that_make_no_sense(what):
    layers, more = WRONG[what]
    with pytest.raises(bp.FormatError, match=r"^the bytes given: expected"):
        bp.load(model(layers, ONE, **more))


@pytest.mark.parametrize("name", ["layers", "dtype", "seed", "epochs", "steps"])
def test_what_is_missing(name):
    architecture = {"layers": [dense(1, 1)], "dtype": "float32", "seed": 0, "epochs": 0, "steps": 0}
    assert bp.load(model([], ONE, text=json.dumps(architecture))).n_in == 1
    del architecture[name]
    with pytest.raises(bp.FormatError, match=f"does not make sense: KeyError: '{name}'"):
        bp.load(model([], ONE, text=json.dumps(architecture)))


@pytest.mark.parametrize("name", ["epochs", "steps", "seed"])
def test_counters_go_as_far_as_they_can_be_used(name):
    most = 2**64 - 1 if name == "seed" else 2**61
    net = bp.load(model([dense(1, 1)], ONE, **{name: most}))
    x = np.ones((4, 1))
    before = getattr(net, name)
    net.fit(x, x, loss="mse", optimizer=bp.SGD(0.1), epochs=0)
    net.value_and_gradient(x, x, "mse")
    assert before == getattr(net, name) == most
    for end in [], [["Dropout", {"rate": 0.5}]]:
        on = bp.load(model([dense(1, 1), *end], ONE, **{name: most}))
        on.fit(x, x, loss="mse", optimizer=bp.SGD(0.1), epochs=3)
        on.forward(x)
        assert getattr(on, name) == most + {"seed": 0, "epochs": 3, "steps": 4}[name]
    beyond = {"seed": 2**64, "epochs": 2**62 + 1, "steps": 2**62 + 1}[name]
    for value in (beyond, -1, 1.0, "1", None, True):
        with pytest.raises((TypeError, ValueError), match=f"^{name}: expected a whole number"):
            setattr(net, name, value)
    if name != "seed":
        setattr(net, name, most + 1)
        with pytest.raises(ValueError, match=f"^{name}: expected a whole number from 0 to {most}"):
            net.to_bytes()


@pytest.mark.parametrize("kind", ["SGD", "LBFGS"])
def test_a_run_goes_on_from_as_many_steps_as_a_file_may_say(kind, tmp_path):
    data, how = signed.checkpoint(kind, tmp_path)
    arrays, metadata = safetensors.unpack(data, source="m")
    training = json.loads(metadata["training"]) | {"steps": 2**61}
    path = tmp_path / "far.safetensors"
    path.write_bytes(safetensors.pack(arrays, metadata | {"training": json.dumps(training)}))
    given = how()
    assert len(bp.resume(path, **given)[1]["loss"]) == 4 and given["optimizer"].steps > 2**61


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("0.bias"), r"expected the tensor 0\.bias, float32 \(1,\), got none"),
        (lambda a: a.update({"more": np.zeros(3)}), "expected the tensors of the layers, got 'more'"),
        (
            lambda a: a.update({"0.weight": np.zeros((1, 2), "f4")}),
            r"0\.weight: expected float32 \(1, 1\), got float32 \(1, 2\)",
        ),
        (lambda a: a.update({"0.weight": np.zeros((1, 1))}), r"0\.weight: expected float32 \(1, 1\), got float64"),
        (lambda a: a.update({"0.weight": np.full((1, 1), np.nan, "f4")}), r"0\.weight: expected finite numbers"),
        (
            lambda a: a.update({"1.running_variance": np.full(1, -1, "f4")}),
            r"1\.running_variance: expected variances, got -1",
        ),
        (lambda a: a.update({"1.running_mean": np.full(1, np.inf, "f4")}), r"1\.running_mean: expected finite"),
    ],
)
def test_tensors_that_are_not_the_network_s(change, says):
    net = bp.Sequential([bp.Dense(1, 1), bp.BatchNorm()], rng=0)
    arrays, metadata = safetensors.unpack(net.to_bytes(), source="m")
    change(arrays)
    with pytest.raises(bp.FormatError, match=says):
        bp.load(safetensors.pack(arrays, metadata))


def test_what_cannot_be_loaded_cannot_be_saved():
    net = bp.Sequential([bp.Dense(1, 1), bp.BatchNorm()], rng=0)
    for name, value in (("running_mean", np.inf), ("running_variance", np.nan), ("running_variance", -1)):
        net.buffers[:] = 1
        getattr(net.layers[1], name).fill(value)
        with pytest.raises(ValueError, match=rf"1\.{name}: expected"):
            net.to_bytes()


# Checkpoints.


def said(**changes):
    return lambda a, s: s.update(changes)


def asked(**changes):
    return lambda a, s: s["asked"].update(changes)


def optimizer(**changes):
    return lambda a, s: s["optimizer"].update(changes)


def state(place, **changes):
    return lambda a, s: s["callbacks"][place].update(changes)


def tensor(name, change):
    def changed(arrays, _):
        arrays[name] = change(arrays[name].copy())

    return changed


def dropped(name):
    return lambda a, s: a.pop(name)


def filled(value):
    def fill(array):
        array.reshape(-1)[0] = value
        return array

    return fill


#: What makes of the checkpoint of a run a file that no run could have left: callback 0 stops early, 1 lowers the rate,
#: 2 writes.
DAMAGE = {
    "SGD": {
        **{f"{name} is {value!r:.12}": said(**{name: value}) for name in ("epoch", "epochs", "steps", "seed")
           for value in (-1, 2**63, 1.5, "2", None, True, [])},
        "steps without room": said(steps=2**61 + 1),
        "more epochs than asked for": said(epochs=1), "an entry more": said(more=1), "no optimizer": said(optimizer=None),
        "an optimizer without a name": lambda a, s: s["optimizer"].pop("name"), "a number for its name": optimizer(name=1),
        "no learning rate": lambda a, s: s["optimizer"].pop("learning_rate"), "a negative one": optimizer(learning_rate=-1),
        "a learning rate of words": optimizer(learning_rate="fast"), "a flag for it": optimizer(learning_rate=True),
        "no schedule": optimizer(learning_rate={}), "a schedule of none": optimizer(learning_rate={"name": "Popen"}),
        "a schedule with more": optimizer(learning_rate={"name": "Constant", "learning_rate": 0.1, "more": 1}),
        "a schedule of words": optimizer(learning_rate={"name": "Constant", "learning_rate": "x"}),
        "a schedule by number": optimizer(learning_rate={"name": 3}),
        "a momentum of 2": optimizer(momentum=2), "a momentum of words": optimizer(momentum="much"),
        "an argument more": optimizer(more=1), "an argument of another": optimizer(beta1=0.9),
        "Nesterov without momentum": optimizer(momentum=0.0), "an average of 1": optimizer(average=1.0),
        "a list for a clip": optimizer(clip_norm=[1]), "another optimizer": optimizer(name="Adam"),
        "a callback of words": lambda a, s: s["callbacks"].__setitem__(0, "x"),
        "a callback of null": lambda a, s: s["callbacks"].__setitem__(0, None),
        "a callback of numbers": lambda a, s: s["callbacks"].__setitem__(1, [1, 2]),
        "a callback more": lambda a, s: s["callbacks"].append({}), "a callback less": lambda a, s: s["callbacks"].pop(),
        "callbacks by name": said(callbacks={}), "nothing asked": said(asked={}), "asked in words": said(asked="all"),
        "another thing asked": asked(more=1), "rows of words": asked(rows="many"), "negative rows": asked(rows=-3),
        "a flag of rows": asked(rows=True), "a batch of null": asked(batch_size=None), "half a shuffle": asked(shuffle=0.5),
        "a loss by number": asked(loss=3), "a history of numbers": asked(history=[1]), "a history of null": asked(history=None),
        "a history of more": asked(history=["loss", "r2", "x"]), "twice the same": asked(history=["loss", "loss"]),
        "callbacks of numbers": asked(callbacks=[1, 2, 3]), "callbacks of null": asked(callbacks=None),
        "waited in words": state(0, waited="long"), "waited for longer than there was": state(0, waited=99),
        "waited less than nothing": state(0, waited=-1), "waited half": state(0, waited=0.5), "waited truly": state(1, waited=True),
        "a best epoch to come": state(0, best_epoch=3), "a best epoch of words": state(1, best_epoch="2"),
        "no best epoch": lambda a, s: s["callbacks"][0].pop("best_epoch"), "a best of words": state(0, best="good"),
        "a best of none": state(0, best=None), "a best of many": state(0, best=[1.0]), "a best of flags": state(1, best=True),
        "an entry more of a callback": state(0, more=1), "cooling in words": state(1, cooling="x"),
        "cooling less than nothing": state(1, cooling=-1), "cooling where nothing cools": state(0, cooling=1),
        "written words": state(2, written=["../precious"]), "written numbers": state(2, written=1.5),
        "written null": state(2, written=None), "written epoch 0": state(2, written=[0, 1]),
        "written twice": state(2, written=[1, 1]), "written before": state(2, written=[-1]), "written halves": state(2, written=[0.5]),
        "written without an end": state(2, written=[2**63]), "written flags": state(2, written=[True]),
        "nothing of a writer": lambda a, s: s["callbacks"][2].clear(),
        "best weights of NaN": tensor("callback.0.best.0.weight", filled(np.nan)),
        "best weights of infinity": tensor("callback.0.best.3.bias", filled(-np.inf)),
        "a best variance below zero": tensor("callback.0.best.2.running_variance", filled(-1)),
        "best weights of another shape": tensor("callback.0.best.0.weight", lambda v: v[:1]),
        "best weights, flat": tensor("callback.0.best.0.weight", lambda v: v.reshape(-1)),
        "best weights of another type": tensor("callback.0.best.0.weight", lambda v: v.astype("f8")),
        "best weights of bytes": tensor("callback.0.best.0.weight", lambda v: v.view("u1")),
        "some of the best weights": dropped("callback.0.best.0.weight"),
        "best weights of no layer": lambda a, s: a.update({"callback.0.best.9.weight": np.zeros(3, "f4")}),
        "a tensor in the place of a number": lambda a, s: a.update({"callback.0.waited": np.zeros(1)}),
        "a tensor for who keeps none": lambda a, s: a.update({"callback.1.best.0.weight": np.zeros((3, 4), "f4")}),
        "a tensor of nobody": lambda a, s: a.update({"callback.3.x": np.zeros(3)}),
        "a tensor of callback 01": lambda a, s: a.update({"callback.01.x": np.zeros(3)}),
        "a tensor that is called wrongly": lambda a, s: a.update({"optimizer": np.zeros(3)}),
        "a state that is missing": dropped("optimizer.momentum"), "an average that is missing": dropped("optimizer.average"),
        "a state more": lambda a, s: a.update({"optimizer.square": a["optimizer.momentum"]}),
        "a state of infinity": tensor("optimizer.momentum", filled(np.inf)),
        "a state too short": tensor("optimizer.momentum", lambda v: v[1:]),
        "a state in rows": tensor("optimizer.average", lambda v: v.reshape(-1, 1)),
        "a state of another type": tensor("optimizer.average", lambda v: v.astype("f8")),
        "a history too short": tensor("history.loss", lambda v: v[1:]), "a history of bytes": tensor("history.r2", lambda v: v.astype("u1")),
        "a history in rows": tensor("history.loss", lambda v: v.reshape(1, -1)), "no history": dropped("history.loss"),
        "a history more": lambda a, s: a.update({"history.mae": a["history.loss"]}),
    },
    "schedule": {
        "a schedule of no steps": lambda a, s: s["optimizer"]["learning_rate"].update(steps=0),
        "a schedule of words": lambda a, s: s["optimizer"]["learning_rate"].update(steps="many"),
        "a schedule with a longer start": lambda a, s: s["optimizer"]["learning_rate"].update(warmup=30),
        "a schedule that grows enormously": lambda a, s: s["optimizer"]["learning_rate"].update(growth=2**40),
        "squares below zero": tensor("optimizer.square", filled(-1e-3)), "the largest square missing": dropped("optimizer.largest"),
        "no flag": optimizer(amsgrad=1),
    },
    "LBFGS": {
        "a pair of one": dropped("optimizer.s0"), "a pair to come": lambda a, s: a.update(
            {"optimizer.s9": a["optimizer.s1"], "optimizer.y9": a["optimizer.y1"]}),
        "a pair of no number": lambda a, s: a.update({"optimizer.sx": a["optimizer.s1"], "optimizer.yx": a["optimizer.y1"]}),
        "a pair of 01": lambda a, s: a.update({"optimizer.s01": a["optimizer.s1"], "optimizer.y01": a["optimizer.y1"]}),
        "an average": lambda a, s: a.update({"optimizer.average": a["optimizer.s1"]}),
        "a slope that fell": lambda a, s: a.update({"optimizer.s0": -a["optimizer.s0"]}),
        "a step of nothing": tensor("optimizer.s0", lambda v: 0 * v), "a step of NaN": tensor("optimizer.s0", filled(np.nan)),
        "fewer than it has": optimizer(history_size=1), "no history at all": optimizer(history_size=0),
    },
}  # fmt: skip


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind, changes in DAMAGE.items() for what in changes])
def test_no_run_left_this_behind(kind, what, tmp_path):
    """`load`, `resume` and `fit` refuse it alike, and neither network nor optimizer is touched."""
    data, how = signed.checkpoint(kind, tmp_path)
    arrays, metadata = safetensors.unpack(data, source="m")
    training = json.loads(metadata["training"])
    DAMAGE[kind][what](arrays, training)
    path = tmp_path / "lies.safetensors"
    path.write_bytes(safetensors.pack(arrays, metadata | {"training": json.dumps(training)}))
    net, given = signed.run_of(kind)[0], how()
    before = net.parameters.tobytes()
    for call in (
        lambda: bp.load(path),
        lambda: bp.resume(path, **how() | {"optimizer": None}),
        lambda: bp.resume(path, **how()),
        lambda: net.fit(**given, resume=path),
    ):
        with pytest.raises(bp.FormatError, match=r"lies\.safetensors: expected a checkpoint, got one that") as error:
            call()
        assert len(str(error.value)) < len(str(path)) + 450
    assert net.parameters.tobytes() == before and not given["optimizer"].state


@pytest.mark.parametrize("kind", signed.RUNS)
def test_the_run_goes_on_without_the_lie(kind, tmp_path):
    data, how = signed.checkpoint(kind, tmp_path)
    path = tmp_path / "true.safetensors"
    path.write_bytes(data)
    whole = signed.run_of(kind)[0]
    history = whole.fit(**how())
    again, longer = bp.resume(path, **how() | {"optimizer": None})
    assert again.parameters.tobytes() == whole.parameters.tobytes() and dict(longer) == dict(history)


@pytest.mark.parametrize("kind", [*bp.optimizers.KINDS])
def test_every_optimizer_s_state_is_looked_at(kind, tmp_path):
    """With every option it has, as it was saved, and with each of its vectors broken."""
    its = {"SGD": {"learning_rate": 0.01, "momentum": 0.9}, "RMSprop": {"momentum": 0.5, "centered": True},
           "Adam": {"amsgrad": True}, "AdamW": {"amsgrad": True}}.get(kind, {})  # fmt: skip
    its = its if kind in ("LBFGS", "LevenbergMarquardt") else {**its, "average": 0.9}
    path, x = tmp_path / "run.safetensors", signed.rows(3)
    how = {"x": x, "y": np.sin(x), "loss": "mse", "epochs": 3, "callbacks": [bp.Checkpoint(path)]}
    bp.Sequential([bp.Dense(3, 3)], rng=0).fit(**how, optimizer=bp.optimizers.KINDS[kind](**its))
    arrays, metadata = safetensors.read(path)
    assert len(bp.resume(path, **how | {"epochs": 4})[1]["loss"]) == 4
    names = [name for name in arrays if name.startswith("optimizer.")]
    assert names
    for name in names:
        for change in (filled(np.nan), lambda v: v[1:], lambda v: v.astype("f8"), None):
            lies = {other: array for other, array in arrays.items() if change is not None or other != name}
            if change is not None:
                lies[name] = change(arrays[name].copy())
            atomic.write(path, safetensors.pack(lies, metadata))
            with pytest.raises(bp.FormatError, match="state: expected"):
                bp.load(path)


def test_a_state_of_an_option_that_was_taken_back():
    """It is forgotten, so that the checkpoint fits what it says of the optimizer."""
    x = signed.rows(3)
    net, its = bp.Sequential([bp.Dense(3, 1)], rng=0), bp.SGD(0.1, 0.9, average=0.5)
    net.fit(x, x[:, 0], loss="mse", optimizer=its)
    assert its.state.keys() == {"momentum", "average"}
    its.momentum, its.average = 0.0, None
    net.fit(x, x[:, 0], loss="mse", optimizer=its)
    assert its.state == {}


def test_a_schedule_at_the_largest_step():
    """Its counter goes to 2**62, and each of them still gives a learning rate there."""
    far = np.array([2**62 - 1, 2**62])
    for schedule in (
        schedules.Constant(0.1), schedules.Step(0.1, 3), schedules.Exponential(0.1, 0.5), schedules.Polynomial(0.1, 10),
        schedules.OneCycle(0.1, 10), schedules.Cosine(0.1, 10), *(schedules.Cosine(0.1, 10, growth=n) for n in (1, 2, 3, 2**20)),
    ):  # fmt: skip
        rates = schedule.rates(far)
        assert rates.shape == (2,) and np.all((rates >= 0) & (rates <= 0.1)), schedule


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_content_changed_at_random(seed, tmp_path):
    """Models, checkpoints and what pickles hold, changed in a place or two and signed again."""
    refused = signed.fuzz(200, seed, tmp_path)
    assert 100 < refused < 195  # and some are another network
