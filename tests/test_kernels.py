"""Each kernel against its plain twin, in every build of the core that runs here."""

import itertools
import math
from decimal import Decimal, localcontext
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from instances import ACTIVATIONS, CLIPPED, OPTIMIZERS, builds, every_build, layouts, optimizer_of

import backprop as bp

BUILDS = builds()
DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.slow)]
SIZES = [1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 64, 65, 127, 300]
# Every size in every place, once beside small others and once beside large; and what the engine treats in its own way:
# sums longer than 256 and 512, rows of 2 KiB and more, batches beyond 128 and 1024 rows.
SHAPES = [
    *((SIZES[i], SIZES[i - 5], SIZES[i - 11]) for i in range(len(SIZES))),
    *((size, size, size) for size in (1, 2, 3, 31, 64, 127)),
    (5, 257, 9), (33, 600, 31), (40, 257, 256), (31, 3, 512), (129, 13, 513), (128, 513, 40), (260, 5, 1030),
    (1025, 7, 3), (2049, 3, 17), (2, 1, 700), (64, 1030, 1), (1, 700, 600),
]  # fmt: skip


@pytest.fixture(params=every_build())
def core(request):
    return BUILDS[request.param]


def eps(dtype):
    return float(np.finfo(dtype).eps)


def plan(core, dtype, steps, parameters=()):
    """A plan over these parameters, its gradients, and its outputs' width."""
    n = len(parameters)
    storage, gradients = np.zeros(n + core.ROOM, dtype), np.full(n + core.ROOM, 7, dtype)
    storage[:n] = parameters
    return core.Plan(storage, gradients, n, steps), gradients[:n], steps[-1][4]


def dense(core, x, w, b=None, activation="identity", slope=0.0):
    """A plan of one dense layer, and its gradients."""
    code, n = core.ACTIVATIONS[activation], w.shape[1]
    apart = code in core.NEEDS_Z
    first = 0 if apart else code
    steps = [(core.OPERATIONS["dense"], first, slope, *w.shape, 0, -1 if b is None else w.size)]
    if apart:
        steps.append((core.OPERATIONS["activation"], code, slope, n, n, -1, -1))
    parameters = np.concatenate([w.ravel(), *([] if b is None else [b])])
    made, gradients, _ = plan(core, x.dtype, steps, parameters)
    return made, gradients


def predict(made, x, n_out, **how):
    out = np.full((len(x), n_out), 7, x.dtype)
    made.predict(x, out, **how)
    return out


def dense_all(core, x, w, b, dy, activation="identity", slope=0.0):
    """y, dx, dw, db (None without a bias)."""
    made, gradients = dense(core, x, w, b, activation, slope)
    y, dx = np.full_like(dy, 7), np.full_like(x, 7)
    made.forward(x, y)
    made.backward(dy, dx)
    assert np.array_equal(y, predict(made, x, w.shape[1]))
    return y, dx, gradients[: w.size].reshape(w.shape), None if b is None else gradients[w.size :]


# The matrix products.


def products_of_integers(core, batch, n_in, n_out, dtype):
    """Small whole numbers: every sum is exact in whatever order, so a single number missed or met twice shows."""
    rng = np.random.default_rng(batch * n_in + n_out)
    x, w, b, dy = (
        rng.integers(-4, 5, shape).astype(dtype) for shape in ((batch, n_in), (n_in, n_out), n_out, (batch, n_out))
    )
    kept = [array.copy() for array in (x, w, b, dy)]
    ix, iw, idy = (array.astype(np.int64) for array in (x, w, dy))  # BLAS has been seen to warn of nothing
    for bias in b, None:
        y, dx, dw, db = dense_all(core, x, w, bias, dy)
        assert np.array_equal(y, ix @ iw + (0 if bias is None else b))
        assert np.array_equal(dx, idy @ iw.T)
        assert np.array_equal(dw, ix.T @ idy)
        assert bias is None or np.array_equal(db, dy.sum(axis=0))
    assert all(np.array_equal(*pair) for pair in zip(kept, (x, w, b, dy), strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "n_in", "n_out"), SHAPES)
def test_products_of_integers_are_exact(core, batch, n_in, n_out, dtype):
    products_of_integers(core, batch, n_in, n_out, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_products_of_integers_are_exact(core, dtype):
    for batch, n_in, n_out in itertools.product((1, 2, 3, 4, 6, 7, 9), (1, 2, 4, 5, 9), range(1, 10)):
        products_of_integers(core, batch, n_in, n_out, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (33, 65, 17), (64, 600, 31), (31, 13, 513), (300, 31, 10)])
def test_dense_is_its_twin_to_rounding(core, shape, dtype):
    batch, n_in, n_out = shape
    rng = np.random.default_rng(1)
    x, w, b, dy = (rng.normal(size=s).astype(dtype) for s in ((batch, n_in), (n_in, n_out), n_out, (batch, n_out)))
    found = dense_all(core, x, w, b, dy)
    twins = reference.dense_forward(x, w, b), *reference.dense_backward(x, w, dy)
    # The bound of Higham, "Accuracy and Stability of Numerical Algorithms", eq. 3.5, for sums in any order.
    sizes = reference.dense_forward(abs(x), abs(w), abs(b)), *reference.dense_backward(abs(x), abs(w), abs(dy))
    for got, twin, size, terms in zip(found, twins, sizes, (n_in + 1, n_out, batch, batch), strict=True):
        assert (abs(got - twin) <= terms * eps(dtype) * size).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 7), (17, 8, 33), (130, 5, 65), (33, 2, 1030)])
def test_dense_ends_in_its_activation(core, shape, name, dtype):
    batch, n_in, n_out = shape
    f, rng = ACTIVATIONS[name], np.random.default_rng(2)
    x, w, b, dy = (rng.normal(size=s).astype(dtype) for s in ((batch, n_in), (n_in, n_out), n_out, (batch, n_out)))
    z = predict(dense(core, x, w, b, f.name, f.slope)[0], x, n_out, logits=True)
    assert np.array_equal(z, dense_all(core, x, w, b, dy)[0])
    y, dx, dw, db = dense_all(core, x, w, b, dy, f.name, f.slope)
    assert is_its_twin(f, z, y)
    dz = reference.activation_backward(f.name, f.slope, z, y, dy)
    size = abs(dy) + abs(dz)
    sizes = reference.dense_backward(abs(x), abs(w), size)
    for got, twin, bound in zip((dx, dw, db), reference.dense_backward(x, w, dz), sizes, strict=True):
        assert (abs(got - twin) <= (10 + batch + n_out) * eps(dtype) * bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rows(core, dtype):
    w = np.ones((3, 2), dtype)
    made, _ = dense(core, w.T.copy(), w)
    assert predict(made, np.empty((0, 3), dtype), 2).shape == (0, 2)
    for shape in (0, 3), (3, 0), (0, 0):
        y = np.empty(shape, dtype)
        for name in core.ACTIVATIONS:
            core.activate(core.ACTIVATIONS[name], 0.0, y)
            core.activate_backward(core.ACTIVATIONS[name], 0.0, y, y.copy(), y)
        y_hat = np.empty((shape[0], 6 * shape[1]), dtype)
        for name, code in core.LOSSES.items():
            kind = code, False, NUMBERS.get(name, ())
            targets = np.empty((shape[0], core.loss_target_width(kind, y_hat.shape[1])), dtype)
            core.loss(kind, y_hat, targets, None, None, 1.0, np.empty(shape[0]), y_hat.copy())
    assert core.all_finite(np.empty(0, dtype))
    core.permutation(1, 2, np.empty(0, np.int64))


# A whole network.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 2, 31, 129, 1030])
def test_a_network_is_its_twin(batch, dtype):
    net = bp.Sequential([
        bp.Dropout(0.1), bp.Dense(5, 33, "tanh", bias_init="he_normal"), bp.Dropout(0.5), bp.Dense(33, 7),
        bp.Activation("leaky_relu"), bp.Activation("softmax"), bp.Dense(7, 3, "sigmoid", use_bias=False),
        bp.Activation("relu"),
    ], rng=3, dtype=dtype)  # fmt: skip
    rng = np.random.default_rng(4)
    x, dy = rng.normal(size=(batch, 5)).astype(dtype), rng.normal(size=(batch, 3)).astype(dtype)
    for step in range(2):
        y, dx = net.forward(x), net.backward(dy)
        found = reference.forward_rows(net.layers, x, net.seed, step)
        twin_dx, twin_gradients = reference.backward_rows(net.layers, x, found, dy, net.seed, step)
        near = 200 * eps(dtype)
        np.testing.assert_allclose(y, found[-1][1], rtol=near, atol=near)
        np.testing.assert_allclose(dx, twin_dx, rtol=near, atol=near)
        np.testing.assert_allclose(net.gradients, twin_gradients, rtol=near, atol=near * math.sqrt(batch))


# Activations.


def is_its_twin(f, z, y):
    """Whether y is the twin's, to rounding; in a tail the twin, which is in double, loses what z has lost, and in the
    engine a subnormal y is zero."""
    twin = reference.activation_forward(f.name, f.slope, z)
    lost = eps("float64") * abs(z * reference.activation_backward(f.name, f.slope, z, twin, np.ones_like(z)))
    near = (10 + z.shape[1]) * (eps(z.dtype) * abs(twin) + lost) + float(np.finfo(z.dtype).tiny)
    return (abs(y - twin) <= near).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 17, 31, 64, 65, 1031])
def test_activations_are_their_twins(core, n, name, dtype):
    f, rng = ACTIVATIONS[name], np.random.default_rng(n)
    for rows in 1, 3:
        z, dy = (rng.normal(scale=3, size=(rows, n)).astype(dtype) for _ in range(2))
        z[0, ::5] = 0
        y, dz, kept = z.copy(), dy.copy(), dy.copy()
        core.activate(core.ACTIVATIONS[f.name], f.slope, y)
        assert is_its_twin(f, z, y)
        before = y.copy(), z.copy()
        core.activate_backward(core.ACTIVATIONS[f.name], f.slope, y, dz, z)
        assert np.array_equal(y, before[0]) and np.array_equal(z, before[1])
        twin = reference.activation_backward(f.name, f.slope, z, y, kept)
        size = np.maximum(abs(kept).max(axis=1, keepdims=True), abs(twin))
        assert (abs(dz - twin) <= (10 + n) * eps(dtype) * size).all()


def test_a_derivative_is_taken_from_z_where_y_does_not_tell(core):
    assert {name for name, code in core.ACTIVATIONS.items() if code in core.NEEDS_Z} == reference.NEEDS_Z
    y = np.ones((3, 5))
    for name, code in core.ACTIVATIONS.items():
        if name in reference.NEEDS_Z:
            with pytest.raises(ValueError, match="expected z"):
                core.activate_backward(code, 0.0, y, y.copy())
        else:
            with_z, without = np.full((2, 3, 5), 0.7)
            core.activate_backward(code, 0.0, y, with_z, y)
            core.activate_backward(code, 0.0, y, without)
            assert np.array_equal(with_z, without)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_number_gives_the_same_bits_wherever_it_lies(core, name, dtype):
    f, rng = ACTIVATIONS[name], np.random.default_rng(3)
    code = core.ACTIVATIONS[f.name]
    z = (rng.normal(size=(630, 1)) * rng.choice([0.1, 1, 5, 30, 300], (630, 1))).astype(dtype)
    dy = rng.normal(size=z.shape).astype(dtype)
    if "softmax" in name:  # there, a row does
        z, dy = np.repeat(z, 9, axis=1) + dy, np.repeat(dy, 9, axis=1)

    def apart(n):
        """So many rows at a time."""
        y, dz = z.copy(), dy.copy()
        for r in range(0, len(z), n):
            rows = slice(r, r + n)
            core.activate(code, f.slope, y[rows])
            core.activate_backward(code, f.slope, y[rows], dz[rows], z[rows])
        return y, dz

    together = apart(len(z))
    for n in 1, 3, 5, 7, 9, 14:
        assert all(np.array_equal(a, b) for a, b in zip(apart(n), together, strict=True)), n


def spread(dtype):
    """Numbers of every size: subnormal to 1000 and beyond, both signs, zeros, and where the formulas change."""
    rng, info = np.random.default_rng(5), np.finfo(dtype)
    count = 400_000 if dtype == "float32" else 3000
    tiny, low = float(info.smallest_subnormal), math.log10(float(info.smallest_subnormal))
    sizes = np.concatenate([
        10 ** rng.uniform(low + 1, 3, count), rng.uniform(0, 2, count), rng.uniform(0, 25, count),
        rng.uniform(80, 110, count), rng.uniform(700, 760, count), (np.arange(1100) + 0.5) * math.log(2),
        [0, tiny, 2 * tiny, float(info.tiny), 1, 20, 40, 1000, float(info.max)],
    ])  # fmt: skip
    return np.concatenate([sizes, -sizes]).astype(dtype)


def exact(name, x):
    """e^x, sigmoid or tanh of a Python float, to 40 digits and more."""
    with localcontext(prec=50, Emin=-999_999, Emax=999_999):
        x = Decimal(x)
        if name == "exp":
            return min(x, Decimal(1000)).exp()
        if name == "sigmoid":
            e = (-abs(x)).exp()
            return (1 if x >= 0 else e) / (1 + e)
        if abs(x) < Decimal("1e-7"):
            return x - x**3 / 3 + 2 * x**5 / 15
        e = (-2 * abs(x)).exp()
        return ((1 - e) / (1 + e)).copy_sign(x)


@pytest.fixture(scope="module")
def oracle():
    """(x, f(x) in more digits than the type has), for each type and function."""
    found = {}
    twins = {"exp": reference.exponential, "sigmoid": reference.sigmoid_forward, "tanh": reference.tanh_forward}
    for name, twin in twins.items():
        x = spread("float32")
        found["float32", name] = x, twin(x)
        x = spread("float64")
        found["float64", name] = x, [exact(name, float(number)) for number in x]
    return found


def ulps(got, expected):
    """How many units in the last place of the expected number lie between."""
    if got.dtype == np.float32:
        return float((abs(got - expected) / np.spacing(abs(expected).astype(np.float32)).astype(float)).max())
    return max(
        float(abs(Decimal(float(a)) - b) / Decimal(float(np.spacing(abs(float(b))))))
        for a, b in zip(got, expected, strict=True)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
def test_within_2_ulp_everywhere(core, oracle, name, dtype):
    x, expected = oracle[dtype, name]
    if name == "exp":  # as far as it is finite, and a number
        few = x < (88.7 if dtype == "float32" else 709.7)
        x, expected = x[few], [e for e, good in zip(expected, few, strict=True) if good]
        expected = np.array(expected) if dtype == "float32" else expected
    y = x.reshape(1, -1).copy()
    core.activate(core.ACTIVATIONS[name], 0.0, y)
    assert np.isfinite(y).all()
    worst = ulps(y[0], expected)
    print(f"{name} {dtype}: {worst:.2f} ulp")
    assert worst <= (1.5 if dtype == "float32" else 2)
    if name == "tanh":  # odd, to the sign of zero
        assert np.array_equal(y[0, : len(x) // 2], -y[0, len(x) // 2 :])
        assert np.array_equal(np.signbit(y[0]), np.signbit(x))


def smooth(mp, name, x):
    """f(x) in mpmath's numbers."""
    if name == "softsign":
        return x / (1 + abs(x))
    x = max(x, mp.mpf(-1000))  # farther to the left, all the others are what they are there
    e, right = mp.exp(-abs(x)), x > 0
    if name in ("elu", "selu"):
        below = mp.expm1(min(x, 0))
        if name == "elu":
            return x if right else below
        return mp.mpf("1.0507009873554804934193349852946") * (
            x if right else mp.mpf("1.6732632423543772848170429916717") * below
        )
    if name == "gelu":
        return x * mp.erfc(-x / mp.sqrt(2)) / 2
    if name == "gelu_tanh":
        v = mp.sqrt(8 / mp.pi) * (abs(x) + mp.mpf("0.044715") * abs(x) ** 3)
        return x / (1 + mp.exp(-v)) * (1 if right else mp.exp(-v))
    if name == "silu":
        return x / (1 + e) * (1 if right else e)
    if name == "mish":  # the powers of 1 + e^x written out, since 1 swallows a small e^x
        return x * ((1 + 2 * e) / (1 + 2 * e + 2 * e * e) if right else (2 * e + e * e) / (2 + 2 * e + e * e))
    return max(x, 0) + mp.log1p(e)


SMOOTH = ["elu", "selu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "softsign"]


@cache
def smooth_oracle(name, dtype):
    """(x, f(x) rounded once, what that lost)."""
    if dtype == "float32":
        x = spread(dtype)
        y = reference.activation_forward(name, 1.0, x)
        with np.errstate(over="ignore"):
            rounded = y.astype(dtype)
        return x, rounded, np.where(np.isfinite(rounded), y - rounded, 0)
    mp = pytest.importorskip("mpmath", reason="mpmath is not installed: nothing to compare with")
    x = spread(dtype)[::5]
    with mp.workdps(50):
        y = [smooth(mp.mp, name, mp.mpf(number)) for number in x.tolist()]
        rounded = np.array([float(number) for number in y])
        return x, rounded, np.array([float(a - b) if math.isfinite(b) else 0 for a, b in zip(y, rounded, strict=True)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMOOTH)
def test_within_4_ulp_everywhere(core, name, dtype):
    """From the largest number to the smallest subnormal, near zero and in the tails."""
    x, rounded, lost = smooth_oracle(name, dtype)
    y = x.reshape(1, -1).copy()
    core.activate(core.ACTIVATIONS[name], 1.0, y)
    finite = np.isfinite(rounded)
    assert np.array_equal(y[0, ~finite], rounded[~finite])
    got, rounded, lost = y[0, finite].astype(float), rounded[finite], lost[finite]
    next_to_most = np.nextafter(np.finfo(dtype).max, rounded.dtype.type(0))  # beyond the largest number is infinity
    worst = (abs(got - rounded - lost) / np.spacing(np.minimum(abs(rounded), next_to_most))).max()
    print(f"{name} {dtype}: {worst:.2f} ulp")
    assert worst <= 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_out(core, dtype):
    most = float(np.finfo(dtype).max)
    far = np.array([[1000, -1000, 0, -0.0, np.inf, -np.inf, most, -most]], dtype)
    passing, left = [1000, 0, 0, 0, np.inf, 0, most, 0], -1.7580993408473766
    expected = {
        "sigmoid": [1, 0, 0.5, 0.5, 1, 0, 1, 0], "tanh": [1, -1, 0, 0, 1, -1, 1, -1], "relu": passing,
        "elu": [1000, -1, 0, 0, np.inf, -1, most, -1],
        "selu": [1050.7009873554804, left, 0, 0, np.inf, left, np.inf, left],
        "gelu": passing, "gelu_tanh": passing, "silu": passing, "mish": passing,
        "softplus": [1000, 0, math.log(2), math.log(2), np.inf, 0, most, 0],
        "softsign": [1000 / 1001, -1000 / 1001, 0, 0, 1, -1, 1, -1], "hard_sigmoid": [1, 0, 0.5, 0.5, 1, 0, 1, 0],
        "hard_tanh": [1, -1, 0, 0, 1, -1, 1, -1], "exp": [np.inf, 0, 1, 1, np.inf, 0, np.inf, 0],
    }  # fmt: skip
    slopes = {
        "sigmoid": [0, 0, 0.25, 0.25, 0, 0], "tanh": [0, 0, 1, 1, 0, 0], "relu": [1, 0, 0, 0, 1, 0],
        "elu": [1, 0, 1, 1, 1, 0], "selu": [1.0507009873554804, 0, -left, -left, 1.0507009873554804, 0],
        "gelu": [1, 0, 0.5, 0.5, 1, 0], "gelu_tanh": [1, 0, 0.5, 0.5, 1, 0], "silu": [1, 0, 0.5, 0.5, 1, 0],
        "mish": [1, 0, 0.6, 0.6, 1, 0], "softplus": [1, 0, 0.5, 0.5, 1, 0], "softsign": [1 / 1001**2, 1 / 1001**2, 1, 1, 0, 0],
        "hard_sigmoid": [0, 0, 1 / 6, 1 / 6, 0, 0], "hard_tanh": [0, 0, 1, 1, 0, 0],
        "exp": [np.inf, 0, 1, 1, np.inf, 0],
    }  # fmt: skip
    others = {"identity", "leaky_relu", "softmax", "log_softmax"}
    assert expected.keys() == slopes.keys() == core.ACTIVATIONS.keys() - others
    for name, y in expected.items():
        z = far.copy()
        core.activate(core.ACTIVATIONS[name], 1.0, z)
        np.testing.assert_allclose(z[0], y, rtol=4 * eps(dtype), atol=0, err_msg=name)
        y, z, dz = (np.delete(array, [4, 5], axis=1) for array in (z, far, np.ones_like(far)))
        core.activate_backward(core.ACTIVATIONS[name], 1.0, y, dz, z)
        np.testing.assert_allclose(dz[0], slopes[name], rtol=1000 * eps(dtype), atol=2 * eps(dtype), err_msg=name)
    # What is not a number stays so: a diverging run must show.
    for name in core.ACTIVATIONS:
        z = np.array([[np.nan] * 9], dtype)
        core.activate(core.ACTIVATIONS[name], 0.5, z)
        assert np.isnan(z).all(), name


@cache
def softmax_oracle(n, dtype):
    """Rows z (20,n), near and far, and their softmax rounded once."""
    rng = np.random.default_rng(n)
    z = np.concatenate([rng.normal(size=(10, n)), rng.uniform(-60, 60, (5, n)), rng.uniform(-1000, 1000, (5, n))])
    z = z.astype(dtype)
    with localcontext(prec=40):
        rows = [[(Decimal(v) - Decimal(max(row))).exp() for v in row] for row in z.tolist()]
        return z, np.array([[float(v / total) for v in row] for row, total in zip(rows, map(sum, rows), strict=True)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 16, 17, 100, 1031])
def test_softmax(core, n, dtype):
    z, twin = softmax_oracle(n, dtype)
    last = np.arange(n) == n - 1
    rows = [np.full(n, 1000.0), np.full(n, -1000.0), np.zeros(n), np.where(last, 1000.0, -1000.0)]
    y = np.concatenate([z, np.array(rows, dtype)])
    core.activate(core.ACTIVATIONS["softmax"], 0.0, y)
    assert (y >= 0).all() and (y <= 1).all()
    assert abs(y.sum(axis=1, dtype=np.float64) - 1).max() <= (n + 2) * eps(dtype)
    assert np.array_equal(y[-1], last)
    assert (y[-4:-1] == y[-2, 0]).all() and abs(y[-2, 0] * n - 1) <= n * eps(dtype)
    worst = (abs(y[:-4] - twin) / np.spacing(twin.astype(dtype))).max()
    print(f"softmax of {n} {dtype}: {worst:.2f} ulp")
    assert worst <= 3


@cache
def log_sum_oracle(n, dtype):
    """log sum e^(z - max z) for the same rows, from log n down to almost nothing."""
    z, _ = softmax_oracle(n, dtype)
    found = []
    with localcontext(prec=50, Emin=-999_999):
        for row in z.tolist():
            top, *rest = sorted(map(Decimal, row), reverse=True)
            more = sum((v - top).exp() for v in rest)
            found.append(more - more**2 / 2 + more**3 / 3 if more < Decimal("1e-12") else (1 + more).ln())
    return z, found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 17, 100, 1031])
def test_log_softmax(core, n, dtype):
    z, log_sums = log_sum_oracle(n, dtype)
    y = z.copy()
    core.activate(core.ACTIVATIONS["log_softmax"], 0.0, y)
    worst = 0
    for row, got, log_sum in zip(z.tolist(), y.tolist(), log_sums, strict=True):
        top = Decimal(max(row))
        with localcontext(prec=50, Emin=-999_999):
            for number, value in zip(row, got, strict=True):
                exact = Decimal(number) - top - Decimal(log_sum)
                unit = max(np.spacing(np.dtype(dtype).type(abs(exact))), np.finfo(dtype).smallest_subnormal)
                worst = max(worst, abs(Decimal(value) - exact) / Decimal(float(unit)))
    print(f"log_softmax of {n} {dtype}: {worst:.2f} ulp")
    assert worst <= 2
    far = np.array([[1000, -1000, 0], [-1000, -1000, -1000], [np.finfo(dtype).max, 0, -1000]], dtype)
    core.activate(core.ACTIVATIONS["log_softmax"], 0.0, far)
    expected = [[0, -2000, -1000], [-math.log(3)] * 3, [0, -np.finfo(dtype).max, -np.finfo(dtype).max]]
    np.testing.assert_allclose(far, expected, rtol=eps(dtype), atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 17, 100, 1031])
def test_log_sum_exp_within_4_ulp(core, n, dtype):
    """It is what cross-entropy comes to under the label of the largest logit."""
    z, expected = log_sum_oracle(n, dtype)
    values, kind = np.empty(len(z)), (core.LOSSES["cross_entropy"], True, (0.0,))
    core.loss(kind, z, None, z.argmax(axis=1), None, 1.0, values, np.empty_like(z))
    for value, exact in zip(values, expected, strict=True):
        unit = max(float(np.spacing(np.dtype(dtype).type(float(exact)))), float(np.finfo(dtype).smallest_subnormal))
        assert abs(Decimal(float(value)) - Decimal(exact)) <= 4 * Decimal(unit)


# Losses.


#: The numbers that some losses have in their formula.
NUMBERS = {"huber": (0.7,), "quantile": (0.2, 0.5, 0.9), "cross_entropy": (0.1,), "focal": (2.0, 0.3, 0.7, 0.0)}


def loss_cases(name, rows, n, rng):
    """(from_logits, numbers, y_hat, y, labels)."""
    probabilities, reals = rng.dirichlet(np.ones(n) * 2, rows), rng.normal(scale=4, size=(rows, n))
    ends = np.tile([0.0, 1.0, 1e-45, 1e-310, 1 - 1e-9, 0.5], rows * n)[: rows * n].reshape(rows, n)
    labels, hot = rng.integers(0, n, rows), rng.integers(0, 2, (rows, n)).astype(float)
    far, unit, distributions = 2000 * hot - 1000, rng.random((rows, n)), rng.dirichlet(np.ones(n), rows)
    chances = [(False, y) for y in (probabilities, ends)] + [(True, y) for y in (reals, far / 2, far)]
    some = NUMBERS.get(name, ())
    if name == "binary_cross_entropy":
        return [(*given, y, None) for given in with_numbers(chances, [()]) for y in (hot, unit)]
    if name in ("cross_entropy", "kl_divergence"):
        targets = [(distributions, None), (np.eye(n)[labels], None), (None, labels)][
            : 2 if name == "kl_divergence" else 3
        ]
        numbers = [()] if name == "kl_divergence" else [(0.0,), (0.1,)]
        return [(*given, *target) for given in with_numbers(chances, numbers) for target in targets]
    if name == "focal":
        apart = [(2.0, 1.0, 1.0, 1.0), (0.5, 0.25, 0.75, 1.0), (0.0, 1.0, 1.0, 1.0)]
        classes = [(2.0, 1.0, 1.0, 0.0), (0.5, 1.0, 1.0, 0.0), (0.0, 1.0, 1.0, 0.0)]
        return [(*given, y, None) for given in with_numbers(chances, apart) for y in (hot, unit)] + [
            (*given, *target)
            for given in with_numbers(chances, classes if n > 1 else [])
            for target in ((distributions, None), (None, labels))
        ]
    if name in ("hinge", "squared_hinge"):
        targets = (hot, None), (2 * hot - 1, None), (None, labels)
        return [(False, (), y_hat, *target) for y_hat in (reals, far, 2 * hot - 1) for target in targets]
    if name == "poisson":
        counts = rng.poisson(3, (rows, n)).astype(float)
        return [(False, (), ends, counts, None), (False, (), unit * 9, counts, None), (True, (), reals, counts, None)]
    if name == "gaussian_nll":
        log_variances = rng.normal(scale=2, size=(rows, n))
        answers = (reals, log_variances), (reals, far / 100), (hot, -500 - far), (hot, np.full_like(hot, -1e6))
        return [(False, (), np.stack(both, axis=2).reshape(rows, 2 * n), hot, None) for both in answers]
    if name == "quantile":
        answers = np.stack([reals, hot, far], axis=2).reshape(rows, 3 * n)
        return [(False, some, answers, hot, None), (False, (0.3,), reals, hot, None)]
    if name == "cosine_similarity":
        tiny = reals * 1e-30
        return [
            (False, (), y_hat, y, None) for y_hat in (reals, far, 0 * reals, tiny) for y in (hot, unit, 1e-30 * unit)
        ]
    return [(False, some, y_hat, y, None) for y_hat in (reals, far, hot, hot + 1e-3 * reals) for y in (hot, unit)]


def with_numbers(given, numbers):
    return [(from_logits, some, y_hat) for from_logits, y_hat in given for some in numbers]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", bp._core.LOSSES)
@pytest.mark.parametrize(("rows", "n"), [(1, 1), (1, 2), (3, 5), (7, 8), (17, 33), (5, 127), (130, 10), (1030, 3)])
def test_losses_are_their_twins(core, rows, n, name, dtype):
    rng = np.random.default_rng(rows * n)
    for from_logits, numbers, y_hat, y, labels in loss_cases(name, rows, n, rng):
        y_hat, y = y_hat.astype(dtype), None if y is None else y.astype(dtype)
        for weights in None, rng.random(rows) * (rng.random(rows) < 0.8):
            values, dy = np.full(rows, 7.0), np.full_like(y_hat, 7)
            kept = y_hat.copy()
            core.loss((core.LOSSES[name], from_logits, numbers), y_hat, y, labels, weights, 0.3, values, dy)
            assert np.array_equal(kept, y_hat)
            with np.errstate(over="ignore"):
                twin_values, twin_dy = reference.loss_rows(name, from_logits, numbers, y_hat, y, labels, weights, 0.3)
                twin_dy = twin_dy.astype(dtype)
            # A softmax takes its exponentials in the type; the rest is double, as far as large logits let it.
            classes = name in ("cross_entropy", "kl_divergence", "focal")
            rounding = eps(dtype) * n if classes and from_logits else eps("float64")
            rounding *= n if name == "kl_divergence" else 1  # a difference of two sums
            size = abs(y_hat).max() * eps("float64") if from_logits else 0
            np.testing.assert_allclose(values, twin_values, rtol=8 * rounding, atol=8 * (rounding + size))
            near = (8 + n) * eps(dtype)
            if name == "cosine_similarity" and y_hat.any():  # a difference of directions over a length
                near += (8 + n) * eps("float64") / abs(y_hat).max(axis=1).min()
            np.testing.assert_allclose(dy, twin_dy, rtol=8 * eps(dtype), atol=near)


# Optimizers.


def begun(text, p):
    """An optimizer, and its state before the first step of these parameters."""
    it = optimizer_of(text)
    return it, it.bind(SimpleNamespace(parameters=p))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 16, 17, 33, 64, 65, 300, 1031])
@pytest.mark.parametrize("text", [*OPTIMIZERS, *CLIPPED])
def test_optimizers_are_their_twins(core, text, n, dtype):
    rng = np.random.default_rng(n)
    p = rng.normal(size=n).astype(dtype)
    it, state = begun(text, p)
    for step in (*range(1, 9), 1000, 10**9):
        g = (rng.normal(size=n) * 10 ** rng.uniform(-3, 3, n) * (rng.random(n) < 0.9)).astype(dtype)
        before, old = p.copy(), {name: vector.copy() for name, vector in it.state.items()}
        expected, new = reference.update(it, step, p, g, it.state)
        assert core.apply_update(it.lower(), it.learning_rate, step, p, g, state, ((0, n),))
        found = {"p": (before, p, expected)} | {name: (old[name], it.state[name], new[name]) for name in old}
        assert len(found) == len(new) + 1
        for name, (was, got, wanted) in found.items():
            size = (
                abs(was)
                + abs(wanted)
                + {"square": g.astype(float) ** 2, "mean": abs(g), "momentum": abs(g)}.get(name, 0)
            )
            assert (abs(got - wanted) <= 100 * eps(dtype) * size + np.finfo(dtype).tiny).all(), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [text for text in (*OPTIMIZERS, *CLIPPED) if "clip_norm" not in text])
def test_parameters_one_by_one_take_the_same_step(core, text, dtype):
    # Threads share them in runs of any length; a vector's tail must not round in its own way.
    rng = np.random.default_rng(3)
    p = rng.normal(size=67).astype(dtype)
    (it, state), apart = begun(text, p), p.copy()
    its = tuple(vector.copy() for vector in state)
    for step in range(1, 6):
        g = rng.normal(size=67).astype(dtype)
        assert core.apply_update(it.lower(), 0.1, step, p, g, state, ((0, 67),))
        cuts = [0, *np.cumsum(rng.permutation([1, 2, 3, 4, 5, 7, 8, 15, 22]))]
        for part in (slice(*ends) for ends in itertools.pairwise(cuts)):
            few = tuple(vector[part] for vector in its)
            assert core.apply_update(it.lower(), 0.1, step, apart[part], g[part], few, ((0, len(g[part])),))
        for together, alone in zip((p, *state), (apart, *its), strict=True):
            assert np.array_equal(together, alone)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [*OPTIMIZERS, *CLIPPED])
def test_only_what_is_trainable_changes(core, text, dtype):
    rng, ranges = np.random.default_rng(4), ((1, 3), (3, 3), (5, 16), (20, 64), (65, 66))
    inside = np.zeros(70, bool)
    for begin, end in ranges:
        inside[begin:end] = True
    p = rng.normal(size=70).astype(dtype)
    start, few = p.copy(), p[inside]
    (it, state), (other, fewer) = begun(text, p), begun(text, few)
    for step in range(1, 6):
        g = rng.normal(size=70).astype(dtype)
        assert core.apply_update(it.lower(), 0.1, step, p, g, state, ranges)
        assert core.apply_update(other.lower(), 0.1, step, few, g[inside], fewer, ((0, len(few)),))
    outside = begun(text, start)[0].state
    near = {"rtol": 100 * eps(dtype)} if it.clip_norm else {"rtol": 0}  # a norm is added up in another order
    np.testing.assert_allclose(p[inside], few, **near)
    assert np.array_equal(p[~inside], start[~inside])
    for name, vector in it.state.items():
        np.testing.assert_allclose(vector[inside], other.state[name], **near)
        assert np.array_equal(vector[~inside], outside[name][~inside])


@pytest.mark.parametrize("dtype", DTYPES)
def test_adam_over_all_sizes(core, dtype):
    rng = np.random.default_rng(5)
    p, m, v = rng.normal(size=1000).astype(dtype), np.zeros(1000, dtype), np.zeros(1000, dtype)
    it, twin, largest = bp.Adam(0.1), (p.astype(float), {"mean": m.copy(), "square": v.copy()}), np.ones(1000)
    for step in (*range(1, 6), 1000, 10**9):
        g = (rng.normal(size=1000) * 10 ** rng.uniform(-6, 6, 1000)).astype(dtype)
        assert core.apply_update(it.lower(), 0.1, step, p, g, (m, v), ((0, 1000),))
        twin = reference.update(it, step, twin[0], g, twin[1])
        largest = np.maximum(largest, abs(g))  # m is a sum that may cancel
        for got, expected, size in zip((p, m, v), (twin[0], *twin[1].values()), (1, largest, largest**2), strict=True):
            assert (abs(got - expected) <= 60 * eps(dtype) * size).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [text for text in (*OPTIMIZERS, *CLIPPED) if "clip_norm" not in text])
@pytest.mark.parametrize("at", [0, 5, 32])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_out_of_the_numbers_is_not_taken(core, bad, at, text, dtype):
    p, g = np.ones(33, dtype), np.ones(33, dtype)
    it, state = begun(text, p)
    g[at] = bad
    taken = core.apply_update(it.lower(), 0.1, 1, p, g, state, ((0, 33),))
    if it.clip_value and np.isinf(bad):
        assert taken and np.isfinite(p).all()  # infinity is clipped as any number
        return
    untouched = begun(text, np.ones(33, dtype))[0].state
    assert not taken and p[at] == 1
    assert all(vector[at] == untouched[name][at] for name, vector in it.state.items())
    assert (np.delete(p, at) < 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.0])
def test_a_norm_that_is_none_moves_nothing(core, bad, dtype):
    p, g = np.ones(33, dtype), np.ones(33, dtype)
    it, state = begun("SGD(0.1, momentum=0.9, clip_norm=1)", p)
    g[3] = bad if bad != 1 else 1e200 if dtype == "float64" else 1  # its square overflows; that of a float32 does not
    fine = bad == 1 and dtype == "float32"
    assert core.apply_update(it.lower(), 0.1, 1, p, g, state, ((0, 33),)) is fine
    assert (p < 1).all() if fine else (p == 1).all() and not state[0].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 8, 9, 100, 1031])
def test_penalties_are_their_twins(core, n, dtype):
    rng = np.random.default_rng(n)
    parameters, gradients = rng.normal(size=2 * n + core.ROOM).astype(dtype), np.zeros(2 * n + core.ROOM, dtype)
    parameters[: 2 * n : 5] = 0
    step = core.OPERATIONS["dense"], core.ACTIVATIONS["identity"], 0.0, n, 1, 0, -1
    made = core.Plan(parameters, gradients, 2 * n, [step], None, ((0, n, 0.3, 0.2), (n // 2, 2 * n, 0.0, 0.7)))
    made.forward(np.zeros((1, n), dtype), np.empty((1, 1), dtype))
    made.backward(np.zeros((1, 1), dtype))
    (first, d_first), (second, d_second) = (
        reference.penalty(0.3, 0.2, parameters[:n]), reference.penalty(0.0, 0.7, parameters[n // 2 : 2 * n])
    )  # fmt: skip
    assert made.penalty() == pytest.approx(first + second, rel=1e-14 * n)
    expected = np.zeros(2 * n)
    expected[:n] += d_first
    expected[n // 2 :] += d_second
    np.testing.assert_allclose(gradients[: 2 * n], expected, rtol=4 * eps(dtype), atol=4 * eps(dtype))


# Random numbers.


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 64, 1000])
def test_shuffle_is_its_twin(core, n):
    for seed, epoch in (0, 0), (1, 0), (0, 1), (2**64 - 1, 2**62):
        order = np.full(n, -1)
        core.permutation(seed, epoch, order)
        assert order.tolist() == reference.shuffle(seed, epoch, n)
        assert sorted(order) == list(range(n))


def test_every_permutation_is_as_likely(core):
    order, counts = np.empty(4, np.int64), {}
    for epoch in range(24_000):
        core.permutation(9, epoch, order)
        counts[order.tobytes()] = counts.get(order.tobytes(), 0) + 1
    assert len(counts) == 24
    # Chi squared with 23 degrees of freedom: above 56 once in 10,000 seeds.
    assert sum((c - 1000) ** 2 / 1000 for c in counts.values()) < 56


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "n"), [(1, 1), (3, 7), (17, 33), (130, 5), (2, 300)])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.99])
def test_dropout_is_its_twin(core, rate, rows, n, dtype):
    made, _, _ = plan(core, dtype, [(core.OPERATIONS["dropout"], core.ACTIVATIONS["identity"], rate, n, n, -1, -1)])
    rng = np.random.default_rng(rows)
    x, dy = rng.normal(size=(2, rows, n)).astype(dtype)
    for seed, step in (0, 0), (2**63 - 1, 0), (5, 10**12):
        y, dx = np.full((2, rows, n), 7, dtype)
        made.forward(x, y, seed, step)
        made.backward(dy, dx)
        mask = reference.dropout_mask(reference.dropout_key(seed, step, 0), rate, 0, rows, n)
        scale = np.dtype(dtype).type(1 / (1 - rate))
        assert np.array_equal(y, np.where(mask, x * scale, 0))
        assert np.array_equal(dx, np.where(mask, dy * scale, 0))
    assert np.array_equal(predict(made, x, n), x)


def test_dropout_drops_the_share_it_is_told():
    net = bp.Sequential([bp.Dense(100, 100), bp.Dropout(0.3)], rng=1)
    net.parameters[...] = 0
    net.layers[0].bias[...] = 1
    masks = np.array([net.forward(np.zeros((100, 100))) == 0 for _ in range(20)])
    # 200,000 draws: five standard deviations of a binomial share, for all, for each row, column and step.
    for axis in None, (0, 1), (0, 2), (1, 2):
        shares = masks.mean(axis=axis)
        assert (abs(shares - 0.3) < 5 * math.sqrt(0.3 * 0.7 / (masks.size / shares.size))).all()
    neighbours = [np.corrcoef(masks[:, :, :-1].ravel(), masks[:, :, 1:].ravel())[0, 1],
                  np.corrcoef(masks[:, :-1].ravel(), masks[:, 1:].ravel())[0, 1],
                  np.corrcoef(masks[:-1].ravel(), masks[1:].ravel())[0, 1]]  # fmt: skip
    assert np.abs(neighbours).max() < 5 / math.sqrt(masks.size)


# The gate.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 17, 64, 1031])
def test_all_finite_is_its_twin(core, n, dtype):
    x = np.random.default_rng(0).normal(size=n).astype(dtype)
    assert core.all_finite(x) is reference.all_finite(x.tolist()) is True
    for at in {0, n // 2, n - 1}:
        for bad in np.nan, np.inf, -np.inf:
            wrong = x.copy()
            wrong[at] = bad
            assert core.all_finite(wrong) is reference.all_finite(wrong.tolist()) is False
    info = np.finfo(dtype)
    assert core.all_finite(np.array([info.max, info.min, info.smallest_subnormal, -0.0], dtype))


def uses(net, x, y, weights):
    """Every way a network takes arrays from outside, as numbers to compare."""
    loss = bp.MeanSquaredError()
    fresh = bp.Sequential(eval(repr(list(net.layers)), vars(bp)), rng=1, dtype=net.dtype)
    history = fresh.fit(x, y, loss=loss, optimizer=bp.Adam(), epochs=2, batch_size=3, sample_weight=weights, rng=1)
    y_hat = net.forward(x)
    value, dy = loss(y_hat, y, weights)
    gradient = net.value_and_gradient(x, y, loss, sample_weight=weights)
    scores = net.evaluate(x, y, loss=loss, metrics=["mse", "mae", "r2", "rmse"], sample_weight=weights)
    return [
        net.predict(x), net.predict(x, batch_size=2), y_hat, value, dy, net.backward(dy), net.gradients.copy(),
        *gradient, list(scores.values()), fresh.parameters, history["loss"],
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_changes_no_bit_and_nothing_is_modified(dtype):
    rng = np.random.default_rng(6)
    x, y, weights = rng.normal(size=(7, 5)).astype(dtype), rng.normal(size=(7, 3)).astype(dtype), rng.random((7, 1))
    net = bp.Sequential([bp.Dense(5, 9, "tanh"), bp.Dense(9, 3)], rng=7, dtype=dtype)
    expected = uses(net, x, y, weights[:, 0])
    ways = layouts(x), layouts(y), layouts(weights)
    for how in ways[0]:
        given = [way[how] for way in ways]
        given[2] = [row[0] for row in given[2]] if how == "lists" else given[2][:, 0]
        before = [np.array(array) for array in given]
        for got, wanted in zip(uses(net, *given), expected, strict=True):
            assert np.array_equal(got, wanted), how
        assert all(np.array_equal(a, b) for a, b in zip(before, given, strict=True)), how


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_hand_leave_their_argument(name):
    z = np.random.default_rng(8).normal(size=(4, 5))
    expected = ACTIVATIONS[name](z)
    for how, given in layouts(z).items():
        before = np.array(given)
        assert np.array_equal(ACTIVATIONS[name](given), expected), how
        assert np.array_equal(before, given)
    assert ACTIVATIONS[name](z.astype("float32")).dtype == "float32"


# Gradients that are the difference of almost equal numbers.


@pytest.fixture
def mpmath():
    found = pytest.importorskip("mpmath", reason="mpmath is not installed: nothing to compare with")
    with found.workdps(60):
        yield found


def gradient_of_logits(mpmath, z, q, gamma):
    """Of -sum q (1 - p)^gamma log p with p = softmax(z), in 60 digits, where 1 - p is the sum of the others."""
    z, q = [mpmath.mpf(float(v)) for v in z], [mpmath.mpf(float(v)) for v in q]
    e = [mpmath.exp(v) for v in z]
    total = mpmath.fsum(e)
    p = [v / total for v in e]
    rest = [mpmath.fsum(e[:i] + e[i + 1 :]) / total for i in range(len(e))]
    slope = [
        q * rest**gamma * ((gamma * p * mpmath.log(p) / rest if gamma else 0) - 1)
        for q, p, rest in zip(q, p, rest, strict=True)
    ]
    others = [mpmath.fsum(slope[:i] + slope[i + 1 :]) for i in range(len(e))]
    return [float(s * r - o * p) for s, r, o, p in zip(slope, rest, others, p, strict=True)]


LOGITS = [0.0, 0.3, 3.0, 9.0, 16.0, 17.0, 20.0, 36.0, 40.0, 60.0, 80.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cross_entropy", "kl_divergence", "focal", "focal of gamma 0"])
def test_the_slope_of_a_likely_class_does_not_cancel(core, mpmath, name, dtype):
    gamma = {"focal": 2.0}.get(name, 0.0)
    numbers = {"cross_entropy": (0.0,), "kl_divergence": ()}.get(name, (gamma, 1.0, 1.0, 0.0))
    kind = core.LOSSES[name.split()[0]], True, numbers
    for size, label in itertools.product(LOGITS, range(3)):
        z, q = np.array([[size, 0.5, -0.7]], dtype), np.eye(3, dtype=dtype)[[label]]
        dy = np.empty_like(z)
        core.loss(kind, z, q, None, None, 1.0, np.empty(1), dy)
        exact = gradient_of_logits(mpmath, z[0], q[0], gamma)
        np.testing.assert_allclose(dy[0], exact, rtol=8 * eps(dtype), atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_the_slope_of_a_likely_answer_does_not_cancel(core, mpmath, y, dtype):
    """That of binary cross-entropy is sigmoid(z), or -sigmoid(-z)."""
    z = np.array([*LOGITS, *(-size for size in LOGITS), 87.0, -87.0], dtype)[:, None]
    dy, kind = np.empty_like(z), (core.LOSSES["binary_cross_entropy"], True, ())
    core.loss(kind, z, np.full_like(z, y), None, None, 1.0, np.empty(len(z)), dy)
    side = 1 - 2 * y
    exact = [float(side / (1 + mpmath.exp(-side * mpmath.mpf(float(v))))) for v in z[:, 0]]
    np.testing.assert_allclose(dy[:, 0], exact, rtol=2 * eps(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_of_an_unlikely_answer_does_not_vanish(core, dtype):
    p, values = np.array([[1e-30], [1e-12], [1e-3]], dtype), np.empty(3)
    core.loss((core.LOSSES["binary_cross_entropy"], False, ()), p, np.zeros_like(p), None, None, 1.0, values, p.copy())
    np.testing.assert_allclose(values, -np.log1p(-p[:, 0].astype(np.float64)), rtol=1e-15)


# Order.


MONOTONE = [
    "exp", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "elu_0.4", "selu", "softplus", "softsign", "hard_sigmoid",
    "hard_tanh",
]  # fmt: skip


def neighbours(dtype):
    """Runs of numbers one after the other, from all sizes: around the borders of e^x's reduction too."""
    rng, bits = np.random.default_rng(13), np.dtype(dtype).str.replace("f", "i")
    middle = [
        *10 ** rng.uniform(-9, 2, 150),
        *((np.arange(60) + 0.5) * math.log(2) / 2),
        0.0625,
        0.25,
        0.5,
        1,
        2,
        3,
        40,
    ]
    for size in middle:
        begin = int(np.array(size, dtype).view(bits))
        run = np.arange(begin - 4000, begin + 4000).astype(bits).view(dtype)
        yield run
        yield -run[::-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MONOTONE)
def test_what_is_monotone_stays_so(core, name, dtype):
    """benchmarks/monotone.py looks at every float32."""
    near = 2 if (name, dtype) == ("softplus", "float64") else 0  # the one that may fall, by two of its last place
    f = ACTIVATIONS[name]
    for x in neighbours(dtype):
        y = x.copy()
        core.activate(core.ACTIVATIONS[f.name], f.slope, y.reshape(1, -1))
        assert (np.diff(y) >= -near * np.spacing(y[:-1])).all()
