"""A layer of one's own: in NumPy, beside those of the core."""

import numpy as np
import pytest
from runs import same, state, table

import backprop as bp


class Cubic(bp.Layer):
    """y = x + factor x^3."""

    def shapes(self):
        return {"factor": (self.n_in,)}

    def initialize(self, rng):
        self.factor[:] = rng.normal(size=self.n_in)

    def forward(self, x, training):
        if training:
            self.x = x
        return x + self.factor * x**3

    def backward(self, dy):
        self.factor_grad[:] = (dy * self.x**3).sum(axis=0)
        return dy * (1 + 3 * self.factor * self.x**2)


class Halve(bp.Layer):
    """The mean of each pair of columns."""

    def __init__(self, n_in):
        self.n_in, self.n_out = n_in, n_in // 2

    def forward(self, x, training):
        return (x[:, ::2] + x[:, 1::2]) / 2

    def backward(self, dy):
        return np.repeat(dy / 2, 2, axis=1)


OWN = {
    "first": lambda: [Cubic(), bp.Dense(4, 3, "tanh"), bp.Dense(3, 3)],
    "between": lambda: [bp.Dense(4, 6, "tanh"), bp.BatchNorm(), Cubic(), Halve(6), bp.Dense(3, 3)],
    "last": lambda: [bp.Dense(4, 3, "tanh"), Cubic()],
    "alone": lambda: [Halve(6)],
    "with dropout": lambda: [bp.Dropout(0.2), bp.Dense(4, 6), Cubic(), bp.Dropout(0.5), Halve(6)],
}


@pytest.mark.parametrize("name", OWN)
def test_a_layer_of_ones_own(name):
    net = bp.Sequential(OWN[name](), rng=3, dtype="float64")
    x, y, _ = table(12, "float64")
    x = np.concatenate([x, x[:, :2]], axis=1) if name == "alone" else x
    for loss in "mse", lambda y_hat, y: (((y_hat - y) ** 2).sum(), 2 * (y_hat - y)):
        assert bp.check_gradients(net, loss, x, y).error < 1e-6
    before = net.evaluate(x, y, loss="mse", metrics=["mae"])
    assert before["loss"] == pytest.approx(((net.predict(x) - y) ** 2).mean())
    history = net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=30, batch_size=5, metrics=["mae"])
    if name != "alone":
        assert history["loss"][-1] < history["loss"][0] and net.evaluate(x, y, loss="mse")["loss"] < before["loss"]
    assert np.array_equal(net.predict(x), np.concatenate([net.predict(row[None]) for row in x]))
    assert "Cubic" in repr(net) or "Halve" in repr(net)
    assert net.summary()


def test_a_layer_of_ones_own_is_equal_to_itself_only():
    own = Halve(4)
    assert own == own and own != Halve(4) and own != Halve(6)
    assert bp.Dense(4, 3) == bp.Dense(4, 3) != bp.Dense(4, 2)


def test_a_network_with_a_layer_of_ones_own_trains_as_by_hand_bits():
    x, y, _ = table(23, "float64")
    runs = []
    for way in range(2):
        net, its, loss = bp.Sequential(OWN["between"](), rng=3, dtype="float64"), bp.Adam(), bp.MeanSquaredError()
        if way:
            for start in [*range(0, 23, 5)] * 2:
                rows = slice(start, start + 5)
                net.backward(loss(net.forward(x[rows]), y[rows])[1])
                its.step(net)
        else:
            net.fit(x, y, loss=loss, optimizer=its, epochs=2, batch_size=5, shuffle=False)
        runs.append(state(net, its))
    assert same(*runs)


def test_what_a_layer_of_ones_own_returns_is_looked_at(tmp_path):
    class Wrong(bp.Layer):
        def forward(self, x, training):
            return self.makes(x)

        def backward(self, dy):
            return dy[:, :1]

    net = bp.Sequential([bp.Dense(4, 3), Wrong(), bp.Dense(3, 3)], rng=0, dtype="float64")
    x, y, _ = table(5, "float64")
    net.layers[1].makes = lambda x: x[:, :2]
    with pytest.raises(ValueError, match=r"the forward of Wrong\(\) returned: expected shape \(5, 3\), got \(5, 2\)"):
        net.predict(x)
    net.layers[1].makes = lambda x: x * np.nan
    with pytest.raises(ValueError, match=r"Wrong\(\): expected finite numbers from its forward"):
        net.predict(x)
    net.layers[1].makes = lambda x: x
    net.forward(x)
    with pytest.raises(ValueError, match=r"the backward of Wrong\(\) returned"):
        net.backward(y)
    with pytest.raises(TypeError, match="a file holds no code"):
        net.save(tmp_path / "net.safetensors")
    with pytest.raises(TypeError, match="expected built-in layers within Residual"):
        bp.Residual([Wrong()])
    with pytest.raises(TypeError, match="which has no forward and backward"):
        bp.Sequential([bp.Dense(2, 2), bp.Layer()])


KEEPING = [bp.LayerNorm, bp.BatchNorm, bp.PReLU, lambda: bp.Dropout(0.2), lambda: bp.Activation("tanh")]
#: How many numbers go in, and layers that only later ones tell it.
INFERRED = {
    "a row beside a rectified one": (5, lambda: [bp.LayerNorm(), bp.Concatenate([[], [bp.PReLU()]]), bp.Dense(10, 2)]),
    "three branches": (4, lambda: [bp.Concatenate([[], [bp.PReLU(), bp.LayerNorm()], []]), bp.Dense(12, 2)]),
    "one within another": (3, lambda: [bp.Concatenate([[], [bp.Concatenate([[], []])]]), bp.BatchNorm(), bp.Dense(9, 2)]),
    "one after another": (2, lambda: [bp.Concatenate([[], []]), bp.Concatenate([[], [], []]), bp.Dense(12, 2)]),
    "before a residual": (2, lambda: [bp.Concatenate([[], []]), bp.Residual([bp.Dense(4, 8), bp.Dense(8, 4)])]),
    "in a residual": (3, lambda: [bp.Residual([bp.PReLU(), bp.Concatenate([[], []]), bp.Dense(6, 3)])]),
    "beside a residual": (4, lambda: [bp.Concatenate([[bp.Residual([bp.LayerNorm()])], []]), bp.Dense(8, 1)]),
    "sizes in one of the branches": (4, lambda: [
        bp.LayerNorm(), bp.Concatenate([[], [bp.Concatenate([[], []]), bp.Dense(8, 3)]]), bp.Dense(7, 3)]),
    "sizes before": (3, lambda: [bp.Dense(3, 2), bp.Concatenate([[], [bp.PReLU()]]), bp.Dense(4, 1)]),
    **{f"all that keep a size, {i}": (6, lambda layer=layer: [
        layer(), bp.Concatenate([[layer()], [layer(), layer()]]), layer(), bp.Dense(12, 3)])
       for i, layer in enumerate(KEEPING)},
}  # fmt: skip


@pytest.mark.parametrize("name", INFERRED)
def test_sizes_are_inferred_backwards(name, tmp_path):
    """As if a layer of that size stood before them; and again from a file."""
    n, make = INFERRED[name]
    net = bp.Sequential(make(), rng=0)
    told = bp.Sequential([bp.Dense(n, n), *make()], rng=0)
    assert net.n_in == n and net.n_out == told.n_out
    assert [layer.n_out for layer in net.layers] == [layer.n_out for layer in told.layers[1:]]
    x, y = np.random.default_rng(0).normal(size=(4, n)), np.zeros((4, net.n_out))
    net.fit(x, y, loss="mse", optimizer="adam")
    net.save(tmp_path / "net.safetensors")
    assert bp.load(tmp_path / "net.safetensors").predict(x).tobytes() == net.predict(x).tobytes()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: [bp.Concatenate([[], [bp.LayerNorm()]]), bp.Dense(5, 3)], "got a multiple of 2 .* never 5"),
        (lambda: [bp.Dropout(0.1), bp.Concatenate([[], [], []]), bp.Dense(10, 3)], "got a multiple of 3 .* never 10"),
        (lambda: [bp.Concatenate([[], [bp.LayerNorm()]]), bp.PReLU()], "expected at least one layer with sizes"),
        (
            lambda: [bp.Residual([bp.Concatenate([[], []])]), bp.Dense(6, 3)],
            "as many outputs as inputs, got 6 inputs",
        ),
    ],
)
def test_sizes_that_cannot_be_inferred(make, says):
    with pytest.raises(ValueError, match=says):
        bp.Sequential(make())
