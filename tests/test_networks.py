"""Networks as objects: repr, summary, views, pickles, copies, equality."""

import copy
import multiprocessing
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from runs import QUICK, small, table

import backprop as bp

NETWORK = """Sequential([Dense(4, 6, 'relu', use_bias=False, weight_init='he_normal'), Dropout(0.25),
    Dense(6, 5, activations.leaky_relu.with_slope(0.2), bias_init='lecun_uniform'), Activation('tanh'),
    Dense(5, 3, 'softmax')], dtype='float64')"""


def test_the_repr_builds_it_again():
    net = eval(NETWORK, vars(bp))
    assert repr(net) == " ".join(NETWORK.split())
    again = eval(repr(net), vars(bp))
    assert repr(again) == repr(net) and again.summary() == net.summary()
    for text in ("MeanSquaredError()", "BinaryCrossEntropy(from_logits=True, reduction='sum')",
                 "CrossEntropy(label_smoothing=0.1)", "SGD(0.1, momentum=0.9, nesterov=True)",
                 "Adam(0.001, beta1=0.8, beta2=0.99, epsilon=1e-07)"):  # fmt: skip
        assert repr(eval(text, vars(bp))) == text


def test_the_summary():
    lines = eval(NETWORK, vars(bp)).summary().splitlines()
    assert [line.split()[-1] for line in lines[2:-2]] == ["24", "0", "35", "0", "18"]
    assert lines[-1].split() == ["float64,", "616", "bytes", "77"]
    assert len({len(line) for line in lines}) == 1
    assert "(batch, 6)" in lines[2] and repr(eval(NETWORK, vars(bp)).layers[2]) in lines[4]


def test_views():
    net = small("float64")
    x = table(5, "float64")[0]
    for layer in (layer for layer in net.layers if layer.shapes()):
        for name, shape in layer.shapes().items():
            for view, vector in (
                (getattr(layer, name), net.parameters),
                (getattr(layer, f"{name}_grad"), net.gradients),
            ):
                assert view.shape == shape and np.shares_memory(view, vector)
    before = net.predict(x)
    net.layers[3].bias[1] += 1
    np.testing.assert_allclose(net.predict(x) - before, [[0, 1, 0]] * 5, atol=1e-15)
    net.parameters[...] = 0
    assert not net.predict(x).any()


@pytest.mark.parametrize("dtype", QUICK)
def test_pickling(dtype):
    x, y, _ = table(20, dtype)
    net, optimizer = small(dtype), bp.Adam(0.01)
    net.metadata["who"] = "a test"
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=2)
    for again in pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net), net.copy():
        assert np.array_equal(again.predict(x), net.predict(x))
        assert again == net and repr(again) == repr(net) and again.metadata == net.metadata
        assert (again.seed, again.steps, again.epochs) == (net.seed, net.steps, net.epochs)
        assert not np.shares_memory(again.parameters, net.parameters)
    for thing in optimizer, bp.CrossEntropy(label_smoothing=0.1), bp.activations.leaky_relu.with_slope(0.3):
        assert repr(pickle.loads(pickle.dumps(thing))) == repr(thing)
    error = pickle.loads(pickle.dumps(bp.DivergedError("far", epoch=1, batch=2)))
    assert (str(error), error.epoch, error.batch) == ("far", 1, 2)


def test_a_copy_goes_its_own_way_bits():
    x, y, _ = table(20)
    net = small()
    net.fit(x, y, loss="mse", optimizer=bp.Adam(), batch_size=5)
    again, before = net.copy(), net.parameters.copy()
    again.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), batch_size=5)
    assert np.array_equal(net.parameters, before)
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.1), batch_size=5)
    assert np.array_equal(net.parameters, again.parameters)


def test_equal_is_built_alike():
    net = eval(NETWORK, vars(bp))
    alike = eval(NETWORK, vars(bp))
    assert net == alike and (net != alike) is False and not np.array_equal(net.parameters, alike.parameters)
    assert net.layers == alike.layers and net.layers[0] == bp.Dense(4, 6, bp.activations.relu, use_bias=False,
                                                                    weight_init="he_normal")  # fmt: skip
    others = [
        ("'float64'", "'float32'"), ("'he_normal'", "'he_uniform'"), ("False", "True"), ("0.25", "0.5"), ("0.2)", "0.3)"),
        ("'tanh'", "'relu'"), (", Activation('tanh')", ""), ("'softmax'", "'sigmoid'"), ("Dropout(0.25)", "Activation('relu')"),
    ]  # fmt: skip
    text = " ".join(NETWORK.split())
    for old, new in others:
        assert text.count(old) >= 1 and net != eval(text.replace(old, new), vars(bp)), old
    assert net != net.layers and net.layers[0] != "Dense"
    assert len({net, alike}) == 2 and len({*net.layers, *alike.layers}) == 10  # each stands for itself
    assert {net: 1}[net] == 1 and alike not in {net: 1}


def test_other_processes_predict_the_same_bits():
    x, y, _ = table(20)
    net = small()
    net.fit(x, y, loss="mse", optimizer=bp.Adam())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert np.array_equal(pool.submit(net.predict, x).result(120), net.predict(x))
        elsewhere = pool.submit(net.fit, x, y, loss="mse", optimizer=bp.Adam(), epochs=2).result(120)
    assert elsewhere["loss"] == net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=2)["loss"]


def test_the_public_names_of_a_network_are_those_of_its_documentation():
    page = (Path(__file__).parents[1] / "docs" / "api" / "networks.rst").read_text(encoding="utf-8")
    section = page.split("autoclass:: backprop.Sequential\n")[1].split(".. autofunction")[0]
    documented = set(re.findall(r":: (\w+)\n", section))
    attributes = set(re.findall(r"^    ([\w, ]+) : ", bp.Sequential.__doc__.split("Attributes")[1], re.MULTILINE))
    documented |= {name.strip() for names in attributes for name in names.split(",")}
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    assert {name for name in dir(net) if not name.startswith("_")} == documented


def test_scoring_as_scikit_learn_does_it_is_named():
    with pytest.raises(AttributeError, match=r"no attribute 'score': evaluate gives the loss and the metrics"):
        bp.Sequential([bp.Dense(2, 1)], rng=0).score([[0.0, 1.0]], [1.0])
