"""`net.graph`: what it says of a network is what the network computes, by a reader that knows nothing else."""

import numpy as np
import pytest
import reference
from instances import NETWORKS

import backprop as bp


def run(graph, x):
    """The outputs of a graph in evaluation mode, with nothing but NumPy and what the operations say."""
    values = {"input": np.asarray(x, np.float64)}
    for operation in graph:
        taken = [values[name] for name in operation.inputs]
        arrays = {name: array.astype(np.float64) for name, array in (operation.parameters | operation.buffers).items()}
        z = KINDS[operation.kind](operation, arrays, *taken)
        assert taken[0].shape[1] == operation.n_in and z.shape[1] == operation.n_out
        values[operation.name] = reference.activation_forward(operation.activation.name, operation.activation.slope, z)
    return values[graph[-1].name]


def normalised(operation, a, x, mean, variance):
    return a["weight"] * (x - mean) / np.sqrt(variance + operation.attributes["epsilon"]) + a["bias"]


def looked_up(operation, a, x):
    parts = []
    for first, count, name in operation.attributes["tables"]:
        for column in range(first, first + count):
            parts.append(x[:, [column]] if name is None else a[name][x[:, column].astype(int)])
    return np.hstack(parts)


KINDS = {
    "dense": lambda operation, a, x: x @ a["weight"] + a.get("bias", 0),
    "activation": lambda operation, a, x: x,
    "dropout": lambda operation, a, x: x,
    "clip": lambda operation, a, x: x.clip(operation.attributes["low"], operation.attributes["high"]),
    "prelu": lambda operation, a, x: np.where(x > 0, x, a["weight"] * x),
    "scale": lambda operation, a, x: x * a["weight"],
    "layer_norm": lambda op, a, x: normalised(op, a, x, x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)),
    "batch_norm": lambda op, a, x: normalised(op, a, x, a["running_mean"], a["running_variance"]),
    "lerp": lambda operation, a, x, other: reference.lerp_forward(x, other, a["weight"]),
    "periodic": lambda op, a, x: reference.periodic_forward(x, op.attributes["waves"], a["weight"], a.get("bias")),
    "piecewise_linear": lambda op, a, x: reference.piecewise_forward(x, op.attributes["bins"], a.get("bin_edges")),
    "grouped_dense": lambda op, a, x: reference.grouped_forward(x, op.attributes["groups"], a["weight"], a["bias"]),
    "embedding": looked_up,
    "columns": looked_up,
    "add": lambda operation, a, x, y: x + y,
    "concatenate": lambda operation, a, *xs: np.hstack(xs),
}


def trained(layers, dtype="float64"):
    """With running statistics and biases that are none of the simple ones."""
    net = bp.Sequential(layers, rng=3, dtype=dtype)
    rng = np.random.default_rng(5)
    net.parameters = net.parameters + 0.1 * rng.normal(size=net.parameters.size)
    for name, array in net.arrays().items():
        if name.endswith("running_variance"):
            array[...] = rng.uniform(0.5, 2, array.shape)
        elif name.endswith("running_mean"):
            array[...] = rng.normal(size=array.shape)
    return net


MORE = {
    "columns": lambda: [bp.Columns(3, {1: bp.Embedding(4, 2)}), bp.Dense(4, 2, "gelu")],
    "embedding": lambda: [bp.Embedding(4, 3, columns=2), bp.Dropout(0.3), bp.Dense(6, 2)],
    "nested": lambda: [
        bp.Dense(3, 4, "mish"),
        bp.Residual([bp.Concatenate([[bp.Dense(4, 2, "elu")], [bp.Dropout(0.2)], []]), bp.Dense(10, 4)]),
        bp.Concatenate([[bp.LayerNorm()], [bp.Residual([])]]), bp.Dense(8, 3, "softmax"),
    ],
    "norms": lambda: [
        bp.BatchNorm(), bp.Dense(3, 5), bp.BatchNorm(), bp.Activation("tanh"), bp.Dropout(0.5),
        bp.BatchNorm(), bp.Dense(5, 2, use_bias=False), bp.BatchNorm(),
    ],
    "a norm between two readers": lambda: [bp.BatchNorm(), bp.Residual([bp.Dense(3, 3), bp.BatchNorm()])],
}  # fmt: skip


def inputs(net, rows=6):
    x = np.random.default_rng(7).normal(size=(rows, net.n_in))
    return np.floor(abs(x)) % 2 if net.graph.tables else x


every_network = pytest.mark.parametrize("make", (NETWORKS | MORE).values(), ids=NETWORKS | MORE)


@every_network
def test_the_graph_says_what_the_network_computes(make):
    net = trained(make())
    x, graph = inputs(net), net.graph
    np.testing.assert_allclose(run(graph, x), net.predict(x), rtol=1e-9, atol=1e-12)
    assert (graph.n_in, graph.n_out, graph.dtype) == (net.n_in, net.n_out, net.dtype)
    parameters = {f"{op.name}.{key}": array for op in graph for key, array in (op.parameters | op.buffers).items()}
    assert parameters.keys() == net.arrays().keys()
    assert all(np.shares_memory(array, net.arrays()[key]) or not array.size for key, array in parameters.items())
    for operation in graph:
        assert operation.name in str(graph) and operation.kind in str(graph)
        assert graph[operation.name] is operation


@every_network
def test_for_inference(make):
    net = trained(make())
    x = inputs(net)
    kept, folded = net.graph.for_inference(fold_batch_norms=False), net.graph.for_inference()
    assert not any(operation.kind == "dropout" for operation in [*kept, *folded])
    norms = [operation.kind for operation in net.graph].count("batch_norm")
    assert [operation.kind for operation in kept].count("batch_norm") == norms
    np.testing.assert_allclose(run(kept, x), net.predict(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run(folded, x), net.predict(x), rtol=1e-9, atol=1e-12)
    before = net.parameters.copy()
    for operation in folded:
        if operation.layer is None:
            assert not any(np.shares_memory(array, net.parameters) for array in operation.parameters.values())
    assert np.array_equal(net.parameters, before)


def test_batch_norms_are_folded_where_they_can_be():
    folded = {name: [op.kind for op in trained(MORE[name]()).graph.for_inference()] for name in MORE}
    assert folded["norms"] == ["dense", "activation", "dense"]
    assert folded["a norm between two readers"] == ["batch_norm", "dense", "add"]


def test_a_custom_layer_is_what_it_is():
    class Double(bp.Layer):
        def forward(self, x, training):
            return 2 * x

        def backward(self, dy):
            return 2 * dy

    layer = Double()
    net = bp.Sequential([bp.Dense(2, 3), layer, bp.Dense(3, 1)], rng=0)
    graph = net.graph
    assert [operation.kind for operation in graph] == ["dense", "python", "dense"]
    assert graph[1].layer is layer and graph[1].n_in == graph[1].n_out == 3 and graph[1].inputs == ("0",)
    assert "Double" in str(graph)


def test_how_a_graph_is_printed():
    net = bp.Sequential(
        [bp.Dense(2, 3, "tanh"), bp.Residual([bp.Dropout(0.5), bp.Dense(3, 3)]), bp.Dense(3, 1, use_bias=False)], rng=0
    )
    assert str(net.graph) == (
        "input               -> (batch, 2)\n"
        "0     dense   input   -> (batch, 3) tanh, weight (2, 3), bias (3,)\n"
        "1.0   dropout 0       -> (batch, 3) rate=0.5\n"
        "1.1   dense   1.0     -> (batch, 3) weight (3, 3), bias (3,)\n"
        "1     add     1.1 + 0 -> (batch, 3)\n"
        "2     dense   1       -> (batch, 1) weight (3, 1)"
    ).replace("input               ->", "input                 ->")
    assert repr(net.graph) == "<Graph of 5 operations, 2 -> 1, float32>"
    assert repr(net.graph["1.0"]) == "<Operation 1.0 dropout 0 -> (batch, 3) rate=0.5>"


def test_the_graph_is_of_now():
    net = bp.Sequential([bp.Dense(2, 3), bp.BatchNorm(momentum=0.2)], rng=0)
    assert net.graph["1"].attributes["momentum"] == 0.2
    net.layers[1].momentum = 0.0
    assert net.graph["1"].attributes["momentum"] == 0.0
    net.graph["0"].parameters["weight"][...] = 7
    assert (net.layers[0].weight == 7).all()


def test_several_dropouts_one_after_the_other():
    net = bp.Sequential([bp.Dropout(0.1), bp.Dropout(0.2), bp.Dense(4, 3), bp.Dropout(0.3), bp.Dropout(0.4)], rng=0)
    assert [(operation.name, operation.inputs) for operation in net.graph.for_inference()] == [("2", ("input",))]
