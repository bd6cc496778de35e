"""The layers of a network: one by one, as slices that share its memory, and what each operation gives."""

import copy
import pickle
import re

import numpy as np
import pytest
from instances import NETWORKS, every_network
from runs import QUICK, big, penalised, shaken, small, table, three_layers, tiny

import backprop as bp

MADE = {
    "small": small, "tiny": tiny, "big": big, "penalised": lambda dtype: penalised(small, dtype),
    **{name: lambda dtype, name=name: shaken(NETWORKS[name](), dtype) for name in NETWORKS},
}  # fmt: skip


#: Without any of these, no file can say how many inputs there are.
SIZED = bp.Dense, bp.Columns, bp.Concatenate


def rows(net, n=40):
    """Rows that every network takes: the columns that name rows of a table are whole numbers."""
    return (np.random.default_rng(0).random((n, net.n_in)) * 2).astype(int).astype(net.dtype)


def test_layers_by_place():
    net = small()
    assert len(net) == 4 and [*net] == list(net.layers) and net
    for i in range(-4, 4):
        assert net[i] is net.layers[i]
    assert net[np.int64(1)] is net.layers[1]
    for i in 4, -5:
        with pytest.raises(IndexError, match=re.escape(f"net[{i}]: expected a layer from 0 to 3, or from -4 to -1")):
            net[i]
    for bad in "0", 1.0, None, (0, 1):
        with pytest.raises(TypeError, match=r"net\[...\]: expected a whole number or a slice, got"):
            net[bad]
    for part, shown in (
        (slice(2, 2), "2:2"), (slice(4, None), "4:"), (slice(3, 1), "3:1"), (slice(None, None, 2), "::2"),
        (slice(None, None, -1), "::-1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(f"net[{shown}]: expected layers that follow one another")):
            net[part]


@pytest.mark.parametrize("name", MADE)
def test_slices_compute_what_their_layers_do(name):
    net = MADE[name]("float64")
    x, outputs = rows(net), net.predict(rows(net))

    def alike(found, wanted):
        """To the bit; but a dense layer that sees the columns behind bins adds in another order than one alone."""
        return np.allclose(found, wanted, 1e-12, 1e-13) if "bins" in name else np.array_equal(found, wanted)

    for i in range(1, len(net)):
        first, last = net[:i], net[i:]
        assert (len(first), len(last)) == (i, len(net) - i) and [*first, *last] == list(net.layers)
        assert (first.n_in, last.n_in, last.n_out) == (net.n_in, first.n_out, net.n_out)
        assert alike(last.predict(first.predict(x)), outputs)
        assert first.penalty() + last.penalty() == pytest.approx(net.penalty(), rel=1e-14)
    assert net[:] == net and np.array_equal(net[:].predict(x), outputs)
    assert alike(net[-1:][0:1].predict(net[:-1].predict(x) if len(net) > 1 else x), outputs)


@pytest.mark.parametrize("optimizer", [bp.Adam, lambda: bp.SGD(0.01, momentum=0.9), bp.Lion, lambda: bp.LBFGS()])
@pytest.mark.parametrize("name", MADE)
def test_training_a_slice_changes_the_whole_and_nothing_else(name, optimizer):
    net = MADE[name]("float32")
    net.gradients[...] = np.arange(len(net.gradients))
    for begin, end in {(0, max(1, len(net) - 1)), (len(net) - 1, len(net)), (len(net) // 2, len(net))}:
        part = net[begin:end]
        if not any(isinstance(layer, SIZED) for layer in part):
            continue
        alone = part.copy()
        x = rows(net) if begin == 0 else net[:begin].predict(rows(net))
        y = np.random.default_rng(1).random((len(x), part.n_out))
        graded = net.gradients.copy()
        before = {key: array.copy() for key, array in net.arrays().items()}
        for it in part, alone:
            it.fit(x, y, loss="mse", optimizer=optimizer(), epochs=2, batch_size=13)
        assert np.array_equal(part.parameters, alone.parameters) and np.array_equal(part.buffers, alone.buffers)
        inside = np.zeros(len(net.parameters), bool)
        at = len(net[:begin].parameters) if begin else 0
        inside[at : at + len(part.parameters)] = True
        assert np.array_equal(net.parameters[inside], alone.parameters)
        assert np.array_equal(net.gradients[~inside], graded[~inside])
        for key, array in net.arrays().items():
            if not begin <= int(key.split(".")[0]) < end:
                assert np.array_equal(array, before[key]), key


def test_a_slice_is_a_view_and_its_copies_are_not():
    net, x = small(), table(5)[0]
    part = net[2:]
    assert np.shares_memory(part.parameters, net.parameters) and np.shares_memory(part.gradients, net.gradients)
    assert part[0] is net[2] and part.leaves["0"] is net[2] and list(part.arrays()) == [
        "0.weight", "0.bias", "1.weight", "1.bias"]  # fmt: skip
    hidden = net[:2].predict(x)
    part.parameters[...] = 0
    assert not net[2].weight.any() and not net.predict(x).any()
    net[3].bias = [1, 2, 3]
    assert np.array_equal(part.predict(hidden), [[1, 2, 3]] * 5)
    net[2].trainable = False
    assert part.trainable_ranges == ((40, 58),)
    for apart in part.copy(), copy.deepcopy(part), pickle.loads(pickle.dumps(part)), bp.load(part.to_bytes()):
        assert apart == part and np.array_equal(apart.predict(hidden), part.predict(hidden))
        assert not np.shares_memory(apart.parameters, net.parameters)
    assert part.seed == net.seed and part.steps == 0 and part.metadata == {}


def test_a_slice_is_traced_as_its_copy():
    net = penalised(small)
    hidden = net[:2].predict(table(1)[0])
    said = [str(it.trace(hidden, [[1, 2, 3]], "mse", optimizer=bp.SGD(0.1))) for it in (net[2:], net[2:].copy())]
    assert said[0] == said[1] and "0.weight" in said[0]


def test_a_slice_outlives_the_whole():
    net = big()
    part, x = net[:2], table(5)[0]
    expected = part.predict(x)
    del net
    assert np.array_equal(part.predict(x), expected)


def test_the_names_of_the_columns_stay_with_the_first_layer():
    net = small()
    net.feature_names = [*"abcd"]
    assert net[:2].feature_names == tuple("abcd") and net[1:].feature_names is None
    with pytest.raises(ValueError, match=r"Dense 1 of 2 expected input of shape \(batch, 7\)"):
        net[2:].predict(np.ones((1, 4)))


def test_a_slice_is_busy_while_the_whole_is_trained():
    net, said = small(), []
    part = net[:1]

    class Tries(bp.Callback):
        def on_epoch_end(self, run):
            with pytest.raises(bp.BusyError):
                part.fit(np.ones((4, 4)), np.ones((4, 7)), loss="mse", optimizer="adam")
            said.append(run.epoch)

    net.fit(*table(8)[:2], loss="mse", optimizer="adam", callbacks=[Tries()])
    assert said == [1]


def test_a_slice_without_sizes_computes_and_is_not_saved(tmp_path):
    net, x = shaken([bp.Dense(4, 3), bp.PReLU(), bp.Dropout(0.1), bp.Residual([])]), table(5)[0]
    hidden = net[:1].predict(x)
    assert np.array_equal(net[1:].predict(hidden), net.predict(x))
    part = net[1:]
    part.fit(hidden, x[:, :3], loss="mse", optimizer=bp.SGD(0.1))
    for save in part.copy, lambda: part.save(tmp_path / "net"), lambda: pickle.dumps(net[2:]):
        with pytest.raises(ValueError, match="save: expected at least one layer with sizes, such as Dense, got only "):
            save()
    assert not [*tmp_path.iterdir()]


def test_slices_of_custom_layers():
    class Twice(bp.Layer):
        def shapes(self):
            return {"factor": (self.n_in,)}

        def initialize(self, rng):
            self.factor[:] = 2

        def penalties(self):
            begin = self._offsets["factor"]
            return [(begin, begin + self.n_in, 0.0, 1.0)]

        def forward(self, x, training):
            self.x = x
            return x * self.factor

        def backward(self, dy):
            self.factor_grad[:] = (dy * self.x).sum(axis=0)
            return dy * self.factor

    net, x = bp.Sequential([bp.Dense(4, 3, "tanh"), Twice(), bp.Dense(3, 2)], rng=0), table(6)[0]
    hidden = net.activations(x)
    assert np.array_equal(net[1:2].predict(hidden[0]), 2 * hidden[0]) and np.array_equal(hidden[1], 2 * hidden[0])
    assert net[1:].penalty() == 12
    before = net.parameters.copy()
    net[1:].fit(hidden[0], np.ones((6, 2)), loss="mse", optimizer=bp.SGD(0.1), epochs=2)
    changed = net.parameters != before
    assert not changed[:15].any() and changed[15:18].all()


@pytest.mark.parametrize("dtype", QUICK)
@every_network
def test_activations_are_those_of_predict(name, dtype):
    net = shaken(NETWORKS[name](), dtype)
    x = rows(net)
    found, graph = net.activations(x), net.graph
    assert [a.shape for a in found] == [(len(x), operation.n_out) for operation in graph]
    assert np.array_equal(found[-1], net.predict(x)) and all(a.dtype == net.dtype for a in found)
    at = {operation.name: a for operation, a in zip(graph, found, strict=True)}
    for i in range(1, len(net)):  # the outputs of a layer are those of the operation of its name
        expected = net[:i].predict(x)
        if str(i - 1) in at:
            assert np.array_equal(at[str(i - 1)], expected)


def test_activations_change_nothing_and_may_be_infinite_within():
    net, x = three_layers(), table(7)[0]
    net.forward(x)
    kept = [net.parameters.copy(), net.gradients.copy(), net.steps]
    hidden = net.activations(x[:3], threads=1)
    np.testing.assert_allclose(hidden[0], np.tanh(x[:3] @ net[0].weight + net[0].bias), rtol=1e-6)
    assert np.array_equal(net.activations(x)[1][:3], hidden[1])
    net.backward(np.ones((7, 3)))
    net.gradients = kept[1]
    assert np.array_equal(net.parameters, kept[0]) and net.steps == kept[2]
    huge = bp.Sequential([bp.Dense(1, 1, "exp"), bp.Dense(1, 1, "sigmoid")], rng=0)
    huge[0].weight, huge[1].weight = [[1000]], [[1]]
    first, second = huge.activations([[1.0]])
    assert np.isinf(first).all() and np.array_equal(second, huge.predict([[1.0]]))
    assert [a.shape for a in net.activations(np.empty((0, 4)))] == [(0, 9), (0, 7), (0, 3)]
    with pytest.raises(ValueError, match="x: expected finite numbers"):
        net.activations([[np.nan] * 4])
