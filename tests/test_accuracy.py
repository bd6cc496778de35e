"""How exact it is: activations to a few units in the last place from the largest number to the smallest, gradients that do
not cancel, and what rises stays rising."""

import itertools
import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import pytest
import reference
from instances import ACTIVATIONS
from plans import DTYPES, eps

#: Of how many numbers a sample is made.
SAMPLES = pytest.mark.parametrize(
    ("dtype", "count"),
    [
        ("float32", 20_000), pytest.param("float32", 400_000, marks=pytest.mark.slow),
        pytest.param("float64", 3000, marks=pytest.mark.slow),
    ],
)  # fmt: skip


def spread(dtype, count):
    """Numbers of every size: subnormal to 1000 and beyond, both signs, zeros, and where the formulas change."""
    rng, info = np.random.default_rng(5), np.finfo(dtype)
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


@cache
def oracle(name, dtype, count):
    """(x, f(x) in more digits than the type has)."""
    x = spread(dtype, count)
    twins = {"exp": reference.exponential, "sigmoid": reference.sigmoid_forward, "tanh": reference.tanh_forward}
    return x, twins[name](x) if dtype == "float32" else [exact(name, float(number)) for number in x]


def ulps(got, expected):
    """How many units in the last place of the expected number lie between."""
    if got.dtype == np.float32:
        return float((abs(got - expected) / np.spacing(abs(expected).astype(np.float32)).astype(float)).max())
    return max(
        float(abs(Decimal(float(a)) - b) / Decimal(float(np.spacing(abs(float(b))))))
        for a, b in zip(got, expected, strict=True)
    )


@SAMPLES
@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
def test_within_2_ulp_everywhere(core, name, dtype, count):
    x, expected = oracle(name, dtype, count)
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
    if name in ("sin", "cos"):
        return mp.sin(x) if name == "sin" else mp.cos(x)
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


SMOOTH = ["elu", "selu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "softsign", "sin", "cos"]


@cache
def smooth_oracle(name, dtype, count):
    """(x, f(x) rounded once, what that lost)."""
    if dtype == "float32":
        x = spread(dtype, count)
        y = reference.activation_forward(name, 1.0, x)
        with np.errstate(over="ignore"):
            rounded = y.astype(dtype)
        return x, rounded, np.where(np.isfinite(rounded), y - rounded, 0)
    mp = pytest.importorskip("mpmath", reason="mpmath is not installed: nothing to compare with")
    x = spread(dtype, count)[::5]
    with mp.workdps(50):
        y = [smooth(mp.mp, name, mp.mpf(number)) for number in x.tolist()]
        rounded = np.array([float(number) for number in y])
        return x, rounded, np.array([float(a - b) if math.isfinite(b) else 0 for a, b in zip(y, rounded, strict=True)])


@SAMPLES
@pytest.mark.parametrize("name", SMOOTH)
def test_within_4_ulp_everywhere(core, name, dtype, count):
    """From the largest number to the smallest subnormal, near zero and in the tails."""
    x, rounded, lost = smooth_oracle(name, dtype, count)
    y = x.reshape(1, -1).copy()
    core.activate(core.ACTIVATIONS[name], 1.0, y)
    finite = np.isfinite(rounded)
    assert np.array_equal(y[0, ~finite], rounded[~finite])
    got, rounded, lost = y[0, finite].astype(float), rounded[finite], lost[finite]
    next_to_most = np.nextafter(np.finfo(dtype).max, rounded.dtype.type(0))  # beyond the largest number is infinity
    worst = (abs(got - rounded - lost) / np.spacing(np.minimum(abs(rounded), next_to_most))).max()
    print(f"{name} {dtype}: {worst:.2f} ulp")
    assert worst <= 4


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
