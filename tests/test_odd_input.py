"""What looks odd and is nothing to complain of gives the same bits; and what is assigned does not go astray."""

from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from refusals import Framed, Subclass, fit, read_only, setup, state

import backprop as bp


def mapped(a, folder):
    path = folder / f"{a.shape}"
    a.tofile(path)
    return np.memmap(path, a.dtype, "r", shape=a.shape)


ODD = {
    "lists": lambda a, _: a.tolist(),
    "tuples": lambda a, _: tuple(map(tuple, a.tolist())),
    "a list of arrays": lambda a, _: list(a),
    "a matrix": lambda a, _: np.asmatrix(a),
    "a frame": lambda a, _: Framed(a),
    "a subclass": lambda a, _: a.view(Subclass),
    "mapped from a file": mapped,
    "read-only": lambda a, _: read_only(a.copy()),
    "reversed strides": lambda a, _: a[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "every other": lambda a, _: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
    "other byte order": lambda a, _: a.astype(a.dtype.newbyteorder()),
    "unaligned": lambda a, _: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "float64": lambda a, _: a.astype(np.float64),
    "longdouble": lambda a, _: a.astype(np.longdouble),
    "float16": lambda a, _: a.astype(np.float16),
    "int8": lambda a, _: a.astype(np.int8),
    "uint64": lambda a, _: a.astype(np.uint64),
    "bool": lambda a, _: a.astype(bool),
    "a memoryview": lambda a, _: memoryview(a),
    "numbers as objects": lambda a, _: a.astype(object),
    "objects of one type and another": lambda a, _: [[Decimal(int(v)) if v else Fraction(0) for v in r] for r in a],
    "flags and numbers": lambda a, _: [[bool(v) if i else float(v) for i, v in enumerate(r)] for r in a],
    "a frame of objects": lambda a, _: Framed(a.astype(object)),
    "a subclass of objects": lambda a, _: a.astype(object).view(Subclass),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("odd", ODD)
def test_odd_but_good(odd, tmp_path):
    it = setup()
    it.x = (it.x > 0).astype(np.float32)
    odd_x, odd_y, before = ODD[odd](it.x, tmp_path), ODD[odd]((it.y > 0).astype(np.float32), tmp_path), state(it)
    assert it.net.predict(odd_x).tobytes() == it.net.predict(it.x).tobytes()
    assert it.net.predict(odd_x, batch_size=2).tobytes() == it.net.predict(it.x).tobytes()
    plain = it.net.evaluate(it.x, it.y > 0, loss="mse", metrics=["mse", "mae", "r2", "accuracy"])
    assert it.net.evaluate(odd_x, odd_y, loss="mse", metrics=["mse", "mae", "r2", "accuracy"]) == plain
    assert state(it) == before
    twin = setup()
    fit(it, x=odd_x, y=odd_y, epochs=3)
    fit(twin, x=(twin.x > 0).astype(np.float32), y=twin.y > 0, epochs=3)
    assert it.net.parameters.tobytes() == twin.net.parameters.tobytes()


def test_integers_at_their_ends():
    net = bp.Sequential([bp.Dense(2, 1)], rng=0, dtype="float64")
    net.layers[0].weight = np.ones((2, 1))
    for dtype in (np.int8, np.uint8, np.int64, np.uint64):
        ends = np.iinfo(dtype)
        assert net.predict(np.array([[ends.min, ends.max]], dtype))[0, 0] == float(ends.min) + float(ends.max)


def test_numbers_of_numpy_are_numbers():
    net = bp.Sequential([bp.Dense(np.int64(2), np.uint8(1)), bp.Dropout(np.float32(0.5))], rng=np.uint64(3))
    x, y = np.ones((4, 2)), np.ones(4)
    history = net.fit(
        x, y, loss="mse", optimizer=bp.Adam(np.float32(1e-3), np.float64(0.5), np.float16(0.5), np.longdouble(1e-8)),
        epochs=np.int8(2), batch_size=np.int64(2), validation_split=np.float32(0.5), shuffle=np.True_, rng=np.int64(1),
        threads=np.int32(1), class_weight=None, sample_weight=np.array([True, True, False, True]),
    )  # fmt: skip
    assert len(history["val_loss"]) == 2


def test_what_is_assigned_arrives():
    it = setup()
    net, layer = it.net, it.net.layers[0]
    views = layer.weight, layer.bias, net.parameters
    layer.weight = np.arange(12).reshape(3, 4)
    layer.bias += 1
    net.layers[-1].weight *= 0
    assert (layer.weight, layer.bias, net.parameters) == tuple(map(pytest.approx, views))
    assert all(now is then for now, then in zip((layer.weight, layer.bias, net.parameters), views, strict=True))
    assert net.parameters[:12].tolist() == list(range(12))
    assert (net.predict(it.x) == net.layers[-1].bias).all()
    net.parameters = np.zeros(net.parameters.size)
    net.parameters += 2
    net.gradients -= net.gradients
    assert (layer.weight == 2).all() and not layer.weight_grad.any()


@pytest.mark.parametrize(
    "where", ["0 n_in", "0 n_out", "0 activation", "0 use_bias", "0 bias_init", "0 l1", "0 l2", "1 rate", "1 n_in"]
)
def test_a_layer_in_a_network_stays_what_it_is(where):
    it, place, name = setup(), int(where[0]), where[2:]
    before = state(it), repr(it.net)
    with pytest.raises(AttributeError, match=f"{name}: .* is in a network"):
        setattr(it.net.layers[place], name, getattr(bp.Dense(9, 9), name, 0.5))
    assert (state(it), repr(it.net)) == before
    it.net.layers[place].note = "anything else is free"


def test_layers_of_a_network_that_was_refused_are_free():
    layers = [bp.Dropout(0.5), bp.Dense(2, 3), bp.Dense(4, 1)]
    with pytest.raises(ValueError, match="expected 4 inputs"):
        bp.Sequential(layers)
    for words in ({"dtype": "int8"}, {"rng": -1}):
        with pytest.raises(ValueError, match="expected"):
            bp.Sequential(layers[:2], **words)
    huge = bp.Dense(3, 2**40)
    with pytest.raises(ValueError, match="memory"):
        bp.Sequential([*layers[:2], huge])
    assert bp.Sequential(layers[:2]).n_out == 3
    assert layers[0].n_in == 2


def test_threads_are_as_they_were():
    before = bp.get_num_threads()
    for bad in (0, -1, 1.5, True, "2"):
        with pytest.raises((TypeError, ValueError), match="threads: expected"):
            bp.set_num_threads(bad)
    assert bp.get_num_threads() == before


def test_a_failed_fit_leaves_a_new_optimizer_new():
    it = setup()
    for optimizer in (bp.SGD(lambda step: -1.0, momentum=0.9), bp.Adam(lambda step: float("nan"))):
        with pytest.raises(ValueError, match="learning_rate"):
            fit(it, optimizer=optimizer)
        assert optimizer.state == {} and optimizer.steps == 0
        optimizer.learning_rate = 0.1
        fit(setup(), optimizer=optimizer)  # it belongs to nobody yet


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    it, path = setup(), tmp_path / "model.safetensors"
    for bad, error in ((float("nan"), ValueError), ({1}, TypeError)):
        it.net.metadata["a"] = bad
        with pytest.raises(error, match=r"^metadata\['a'\]: expected"):
            it.net.save(path)
    it.net.metadata = {}
    it.net.parameters[3] = np.inf
    with pytest.raises(ValueError, match="parameters: expected finite numbers, got inf at row 3"):
        it.net.save(path)
    assert list(tmp_path.iterdir()) == []
    it.net.parameters[3] = 0
    it.net.save(path)
    assert bp.load(path).predict(it.x).tobytes() == it.net.predict(it.x).tobytes()


def test_any_number_of_epochs_begins_at_once(monkeypatch):
    """Nothing is set aside for 2^40 epochs before the first, here with a rate for each batch of 1000 at a time."""

    def rate(step):
        if step >= 2500:
            raise LookupError("enough")
        return 1e-3

    monkeypatch.setattr(bp.training.steps, "AT_ONCE", 1000)
    it, twin = setup(), setup()
    with pytest.raises(LookupError, match="enough"):
        fit(it, epochs=2**40, batch_size=None, optimizer=(used := bp.SGD(rate)))
    assert used.steps == 2000
    history = fit(twin, epochs=2000, batch_size=None, optimizer=bp.SGD(1e-3))
    assert len(history["loss"]) == 2000
    assert it.net.parameters.tobytes() == twin.net.parameters.tobytes()
    assert (it.net.epochs, it.net.steps) == (twin.net.epochs, twin.net.steps)


def test_weights_reach_a_loss_that_is_a_function():
    it = setup(dtype="float64")
    value, gradient = it.net.value_and_gradient(it.x, it.y, "mse", sample_weight=it.weight)
    own = it.net.value_and_gradient(it.x, it.y, lambda *data: bp.MeanSquaredError()(*data), sample_weight=it.weight)
    # Dropout drops the same numbers: both are step `net.steps`.
    assert own[0] == pytest.approx(value, rel=1e-12)
    assert own[1] == pytest.approx(gradient, rel=1e-12)


def test_a_formula_of_ones_own_in_a_subclass_is_used():
    class Doubled(bp.MeanSquaredError):
        def __call__(self, y_hat, y, sample_weight=None):
            value, dy = super().__call__(y_hat, y, sample_weight)
            return 2 * value, 2 * dy

    it = setup(dtype="float64")
    value, gradient = it.net.value_and_gradient(it.x, it.y, "mse")
    doubled = it.net.value_and_gradient(it.x, it.y, Doubled())
    assert doubled[0] == pytest.approx(2 * value)
    assert doubled[1] == pytest.approx(2 * gradient)
    assert it.net.evaluate(it.x, it.y, loss=Doubled())["loss"] == 2 * it.net.evaluate(it.x, it.y, loss="mse")["loss"]


def test_callbacks_from_a_generator_are_all_called():
    seen = []
    fit(setup(), epochs=3, callbacks=(SimpleNamespace(on_epoch_end=lambda run, i=i: seen.append(i)) for i in range(2)))
    assert seen == [0, 1] * 3
