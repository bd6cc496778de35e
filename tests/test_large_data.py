"""Data larger than memory: nothing is copied as a whole, and the bits are those of the whole."""

import gc
import tracemalloc

import numpy as np
import pytest
from instances import layouts

import backprop as bp
from backprop.program import data

DTYPES = ["float32", "float64"]


@pytest.fixture
def pieces(monkeypatch):
    """As if the memory held two or three batches."""
    monkeypatch.setattr(data, "LARGE", 200)
    monkeypatch.setattr(data, "PIECE", 200)


def network(dtype="float32", n_out=3):
    layers = [bp.Dense(4, 9, "tanh"), bp.Dropout(0.2), bp.Dense(9, n_out)]
    return bp.Sequential(layers, rng=3, dtype=dtype)


def table(rows=45):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return x, np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2], x.sum(axis=1)], axis=1), rng.random(rows)


def trained(x, y, dtype="float32", net=None, **how):
    net, optimizer = net or network(dtype), bp.Adam(0.01)
    history = net.fit(x, y, optimizer=optimizer, **({"loss": "mse", "epochs": 3, "batch_size": 7} | how))
    assert all(len(values) == len(history["loss"]) for values in history.values())
    counters = np.array([net.steps, net.epochs, optimizer.steps])
    return [net.parameters, *optimizer.state.values(), counters, *map(np.array, history.values())]


def assert_same(*runs):
    for run in runs[1:]:
        assert [array.tobytes() for array in run] == [array.tobytes() for array in runs[0]]


def whole(call):
    """With nothing taken apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "LARGE", 2**60)
        return call()


# Rows of another type.

PIECES = {
    "plain": {}, "in order": {"shuffle": False}, "rows alone": {"batch_size": 1}, "all rows": {"batch_size": None},
    "weighted": {"metrics": ["r2", "mae"], "sample_weight": table()[2]},
    "split": {"validation_split": 0.4, "metrics": ["r2"]},
    "summed, two threads": {"loss": bp.MeanSquaredError(reduction="sum"), "threads": 2},
    "watched": {"callbacks": [bp.Callback()], "validation_data": table()},
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("what", PIECES)
def test_pieces_are_the_whole(what, dtype, pieces):
    (x, y, _), how = table(), PIECES[what]
    for kind in "float64", "float32", ">f4", "float16", "longdouble":
        given = x.astype(kind), y.astype(kind)
        expected = whole(lambda given=given: trained(*given, dtype, **how))
        assert_same(expected, trained(*given, dtype, **how))
        if kind == "float64":
            for name, other in layouts(given[0]).items():
                assert_same(expected, trained(other, layouts(given[1])[name], dtype, **how))


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool"])
def test_pieces_of_whole_numbers(kind, pieces):
    x, y, _ = table()
    x, y = (10 * abs(x)).astype(kind), (10 * abs(y)).astype(kind)
    assert_same(whole(lambda: trained(x, y)), trained(x, y))


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0}])
def test_pieces_of_classes(class_weight, one_hot, pieces):
    x, y, _ = table()
    labels = y.argmax(axis=1)
    how = {"loss": "cross_entropy", "metrics": ["accuracy", "log_loss"], "class_weight": class_weight}

    def net():
        return bp.Sequential([bp.Dense(4, 3, "softmax")], rng=0)

    given = np.eye(3, dtype=np.uint8)[labels] if one_hot else labels
    assert_same(whole(lambda: trained(x, given, net=net(), **how)), trained(x, given, net=net(), **how))


def own_mse(y_hat, y):
    return float(np.square(y_hat - y).mean()), 2 * (y_hat - y) / y.size


def test_pieces_under_a_loss_of_ones_own(pieces):
    x, y, _ = table()
    how = {"loss": own_mse, "metrics": ["mse"], "validation_split": 0.2}
    assert_same(whole(lambda: trained(x, y, **how)), trained(x, y, **how))


def test_pieces_are_evaluated(pieces):
    (x, y, weights), net = table(), network()
    how = {"loss": "mse", "metrics": ["mae"], "sample_weight": weights}
    assert whole(lambda: net.evaluate(x, y, **how)) == net.evaluate(x, y, **how)
    with pytest.raises(ValueError, match="x: expected finite numbers, got nan at row, column 40, 1"):
        net.evaluate(np.where((np.arange(45) == 40)[:, None] & (np.arange(4) == 1), np.nan, x), y, loss="mse")
    assert net.value_and_gradient(x, y, "mse")[0] > 0  # takes a whole


@pytest.mark.parametrize(("name", "row", "value", "says"), [
    ("x", 41, np.nan, "x: expected finite numbers, got nan at row, column 41, 2"),
    ("x", 41, 1e39, "x: expected finite numbers, got 1e\\+39 at row, column 41, 2: a number beyond float32"),
    ("y", 41, np.inf, "in 13 rows from row 32 on: y: expected finite numbers, got inf at row, column 9, 2"),
])  # fmt: skip
def test_each_row_is_looked_at_before_anything_is_trained(name, row, value, says, pieces):
    given, net = dict(zip("xy", table()[:2], strict=True)), network()
    given[name][row, 2] = value
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=f"^{says}"):
        net.fit(**given, loss="mse", optimizer=bp.Adam())
    with pytest.raises(ValueError, match=f"^validation_data: {says}"):
        net.fit(*table()[:2], loss="mse", optimizer=bp.Adam(), validation_data=tuple(given.values()))
    assert net.parameters.tobytes() == before


def mapped(array, path):
    array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def peak(call):
    """Bytes of memory taken by NumPy and Python on the way."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float32", "uint8", "float64", "the wrong order"])
def test_a_file_is_not_copied(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "LARGE", 1 << 20)
    monkeypatch.setattr(data, "PIECE", 1 << 18)
    rng, rows = np.random.default_rng(0), 40_000
    dtype = "float32" if kind == "the wrong order" else kind
    x, y = (mapped((10 * rng.random((rows, 100))).astype(dtype), tmp_path / name) for name in "xy")
    if kind == "the wrong order":
        x, y = x.reshape(100, rows).T, y.reshape(100, rows).T
    net, converted = bp.Sequential([bp.Dense(100, 3, "tanh"), bp.Dense(3, 100)], rng=0), rows * 100 * 4
    how = {"loss": "mse", "batch_size": 100}
    taken = peak(lambda: net.fit(x, y, optimizer=bp.Adam(), epochs=2, **how))
    assert taken < converted / 4, taken
    if kind != "the wrong order":  # elsewhere, in memory, the same
        other = bp.Sequential([bp.Dense(100, 3, "tanh"), bp.Dense(3, 100)], rng=0)
        whole(lambda: other.fit(np.array(x), np.array(y), optimizer=bp.Adam(), epochs=2, **how))
        assert other.parameters.tobytes() == net.parameters.tobytes()
    assert peak(lambda: net.fit(np.zeros((rows, 100)), np.zeros((rows, 100)), optimizer=bp.Adam(), **how)) > converted


# Batches that come one by one.


BATCHES = {
    "plain": {}, "measured": {"metrics": ["r2", "mae"]}, "summed": {"loss": bp.MeanSquaredError(reduction="sum")},
    "validated, two threads": {"validation_data": table(), "threads": 2}, "watched": {"callbacks": [bp.Callback()]},
    "a loss of one's own": {"loss": own_mse, "metrics": ["mse"]},
}  # fmt: skip


class Again:
    """Batches that can be gone through again and again."""

    def __init__(self, *arrays, size=7):
        self.arrays, self.size, self.begun = arrays, size, 0

    def __iter__(self):
        self.begun += 1
        for i in range(0, len(self.arrays[0]), self.size):
            yield tuple(array[i : i + self.size] for array in self.arrays)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("what", BATCHES)
def test_batches_are_those_of_an_array(what, weighted, dtype):
    (x, y, weights), how = table(), BATCHES[what]
    if weighted and how.get("loss") is own_mse:
        how = {**how, "loss": lambda y_hat, y, weights: own_mse(y_hat, y)}
    more = (weights,) if weighted else ()
    batches = Again(x, y, *more)
    expected = trained(x, y, dtype, shuffle=False, sample_weight=weights if weighted else None, **how)
    for given in batches, list(batches), [list(batch) for batch in batches], tuple(batches):
        assert_same(expected, trained(given, None, dtype, batch_size=3, **how))
    assert batches.begun == 6


def test_an_iterator_is_one_epoch():
    x, y, _ = table()
    expected = trained(x, y, shuffle=False, epochs=1)
    for given in iter(Again(x, y)), (batch for batch in Again(x, y)), map(tuple, Again(x, y)):
        assert_same(expected, trained(given, None, epochs=1))
        with pytest.raises(
            ValueError, match="x: expected at least one batch, got none: an iterator gives its batches on"
        ):
            network().fit(given, loss="mse", optimizer=bp.Adam())
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match="epochs: expected 1 with batches that come only once, got 2: give a list"):
        net.fit(iter(Again(x, y)), loss="mse", optimizer=bp.Adam(), epochs=2)
    assert net.parameters.tobytes() == before


def test_batches_of_any_size_and_kind():
    x, y, _ = table()
    given = [
        (x[:1].tolist(), y[:1].tolist()),
        (x[1:40].astype("f4"), y[1:40].astype("f2")),
        (x[40:][::-1], y[40:][::-1]),
    ]
    net = network()
    history = net.fit(given, loss="mse", optimizer=bp.SGD(0.0), epochs=2, metrics=["mse", "r2"])
    assert net.steps == 6 and net.epochs == 2
    net = bp.Sequential([bp.Dense(4, 3)], rng=0, dtype="float64")
    history = net.fit(given, loss="mse", optimizer=bp.SGD(0.0), metrics=["mse", "r2"])
    score = net.evaluate(x, y.astype("f2"), loss="mse", metrics=["mse", "r2"])
    assert [history[name][0] for name in score] == pytest.approx(list(score.values()), rel=1e-2)


def test_class_weights_of_batches():
    x, y, _ = table()
    labels, net = y.argmax(axis=1), lambda: bp.Sequential([bp.Dense(4, 3, "softmax")], rng=0)
    how = {"loss": "cross_entropy", "class_weight": [1.0, 2.0, 0.5], "metrics": ["accuracy"]}
    batches = Again(x, labels)
    assert_same(trained(x, labels, net=net(), shuffle=False, **how), trained(batches, None, net=net(), **how))


def test_a_loader_of_pytorchs(torch):
    data = torch.utils.data
    x, y, _ = (torch.from_numpy(array.astype("float32")) for array in table())
    loader = data.DataLoader(data.TensorDataset(x, y), batch_size=7)
    assert_same(trained(x.numpy(), y.numpy(), shuffle=False), trained(loader, None))


def test_a_batch_is_forgotten():
    class Large:
        def __iter__(self):
            for seed in range(20):
                x = np.random.default_rng(seed).random((1000, 100), np.float32)
                yield x, x[:, :1]

    net = bp.Sequential([bp.Dense(100, 1)], rng=0)
    assert peak(lambda: net.fit(Large(), loss="mse", optimizer=bp.Adam(), epochs=2)) < 4 * 400_000


BAD = {
    "NaN": (
        lambda x, y: (np.where(x > 2, np.nan, x * 0 + np.nan), y),
        ValueError,
        "x: expected finite numbers, got nan at row",
    ),
    "another width": (lambda x, y: (x[:, :3], y), ValueError, "Dense 1 of 3 expected input of shape"),
    "y of another width": (lambda x, y: (x, y[:, :2]), ValueError, r"y: expected targets of shape \(batch, 3\), got"),
    "too few rows of y": (lambda x, y: (x, y[:3]), ValueError, "y: expected 7 rows, as many as x has, got 3"),
    "no rows": (lambda x, y: (x[:0], y[:0]), ValueError, "x: expected at least one row"),
    "negative weights": (lambda x, y: (x, y, -np.ones(7)), ValueError, "sample_weight: expected no negative weight"),
    "x alone": (lambda x, y: x, TypeError, r"expected \(x, y\) or \(x, y, sample_weight\), got array"),
    "x in a tuple": (lambda x, y: (x,), TypeError, r"expected \(x, y\) or"),
    "four": (lambda x, y: (x, y, None, None), TypeError, r"expected \(x, y\) or"),
    "words": (lambda x, y: "xy", TypeError, r"expected \(x, y\) or .* got 'xy'"),
    "strings": (lambda x, y: (x.astype(str), y), TypeError, "x: expected real numbers, got strings"),
    "None": (lambda x, y: None, TypeError, r"expected \(x, y\) or .*, got None"),
    "labels for numbers": (lambda x, y: (x, y[:, 0]), ValueError, "y: expected"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_batch_is_named(what):
    make, error, says = BAD[what]
    x, y, _ = table()
    batches, net, twin = list(Again(x, y)), network(), network()
    batches[3] = make(*batches[3])
    with pytest.raises(error, match=f"^batch 3: {says}") as caught:
        net.fit(batches, loss="mse", optimizer=bp.Adam(), metrics=["mse"])
    assert caught.type is error
    twin.fit(x[:21], y[:21], loss="mse", optimizer=bp.Adam(), batch_size=7, shuffle=False)
    assert net.parameters.tobytes() == twin.parameters.tobytes()  # the batches before it count


def test_an_error_of_ones_own_on_the_way():
    def failing():
        yield from list(Again(*table()[:2]))[:2]
        raise LookupError("no more")

    net = network()
    with pytest.raises(LookupError, match="no more"):
        net.fit(failing(), loss="mse", optimizer=bp.Adam())
    assert net.steps == 2
    net.fit(*table()[:2], loss="mse", optimizer=bp.Adam())


def test_where_batches_diverge():
    x, y, _ = table()
    batches = [(x[:5], y[:5]), (x[5:10], y[5:10]), (x[10:], 1e200 * y[10:])]
    net = network("float64")
    for epochs, loss in (1, "mse"), (3, "mse"), (2, lambda y_hat, y: (np.nan if abs(y).max() > 9 else 0.0, 0 * y_hat)):
        with pytest.raises(bp.DivergedError) as caught:
            net.fit(batches, loss=loss, optimizer=bp.SGD(1e-6), epochs=epochs)
        assert (caught.value.epoch, caught.value.batch) == (0, 2)


def test_what_does_not_go_with_batches():
    x, y, weights = table()
    for changes, says in (
        ({"validation_split": 0.2}, "validation_split: expected 0 with batches, got 0.2"),
        ({"sample_weight": weights}, "sample_weight: expected none with batches, got some"),
        ({"class_weight": "balanced"}, "class_weight: expected numbers with batches, got 'balanced'"),
        ({"x": []}, "x: expected at least one batch, got none"),
    ):
        with pytest.raises(ValueError, match=says):
            network().fit(**({"x": [(x, y)], "loss": "mse", "optimizer": bp.Adam()} | changes))
    for given in 5, None, bp.Dense(1, 1):
        with pytest.raises(TypeError, match=r"x: expected rows and y, or batches .*, got .* without y"):
            network().fit(given, loss="mse", optimizer=bp.Adam())
    with pytest.raises(TypeError, match="y: expected the targets of x, got None"):
        network().fit(x, loss="mse", optimizer=bp.Adam())
