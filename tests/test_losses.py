"""Each loss against oracles that know nothing of it, near and far; what targets it takes; and that it is compiled."""

import pickle
from itertools import product

import numpy as np
import pytest
from instances import ACTIVATIONS, LOSSES, REDUCTIONS

import backprop as bp
from backprop.program import job

INSTANCES = pytest.mark.parametrize("instance", LOSSES, ids=lambda loss: loss.name)


def loss_of(text):
    return eval(text, vars(bp))


# mpmath, in more digits than there are: the loss of a row of outputs z with targets t, and its derivatives.


@pytest.fixture(scope="module")
def mp():
    mpmath = pytest.importorskip("mpmath", reason="mpmath is not installed: nothing to compare with")
    with mpmath.workdps(600):  # e^-1000 beside 1
        yield mpmath.mp


def mean(values):
    return sum(values) / len(values)


def softmax(mp, z):
    e = [mp.exp(v) for v in z]
    return [v / sum(e) for v in e]


def sigmoid(mp, z):
    return 1 / (1 + mp.exp(-z))


def binary_focal(mp, p, t, gamma=2, one=1, zero=1):
    terms = (one, t, p), (zero, 1 - t, 1 - p)
    return -sum(weight * share * (1 - q) ** gamma * mp.log(q) for weight, share, q in terms if share)


def focal(mp, p, q, gamma):
    return -sum(b * (1 - a) ** gamma * mp.log(a) for a, b in zip(p, q, strict=True) if b)


def divergence(mp, p, q):
    return sum(b * mp.log(b / a) for a, b in zip(p, q, strict=True) if b)


def cosine(mp, z, t):
    def dot(a, b):
        return sum(v * w for v, w in zip(a, b, strict=True))

    return 1 - dot(z, t) / mp.sqrt(dot(z, z) * dot(t, t))


#: By the loss: its formula for one number.
OF_NUMBERS = {
    "MeanSquaredError()": lambda mp, z, t: (z - t) ** 2,
    "MeanAbsoluteError()": lambda mp, z, t: abs(z - t),
    "Huber()": lambda mp, z, t: (z - t) ** 2 / 2 if abs(z - t) <= 1 else abs(z - t) - mp.mpf(1) / 2,
    "Huber(0.25)": lambda mp, z, t: (z - t) ** 2 / 2 if abs(z - t) <= 0.25 else (abs(z - t) - mp.mpf(1) / 8) / 4,
    "LogCosh()": lambda mp, z, t: mp.log(mp.cosh(z - t)),
    "Quantile(0.125)": lambda mp, z, t: max((t - z) / 8, 7 * (z - t) / 8),
    "BinaryCrossEntropy(from_logits=True)": lambda mp, z, t: binary_focal(mp, sigmoid(mp, z), t, 0),
    "BinaryCrossEntropy()": lambda mp, p, t: binary_focal(mp, p, t, 0),
    "BinaryCrossEntropy(from_logits=True, pos_weight=4.0)": (
        lambda mp, z, t: binary_focal(mp, sigmoid(mp, z), t, 0, 4, 1)
    ),
    "BinaryCrossEntropy(label_smoothing=0.25, pos_weight=0.5)": (
        lambda mp, p, t: binary_focal(mp, p, 0.75 * t + mp.mpf(1) / 8, 0, 0.5, 1)
    ),
    "Focal(multi_label=True, from_logits=True)": lambda mp, z, t: binary_focal(mp, sigmoid(mp, z), t),
    "Focal(0.5, 0.25, multi_label=True, from_logits=True)": (
        lambda mp, z, t: binary_focal(mp, sigmoid(mp, z), t, 0.5, 0.25, 0.75)
    ),
    "Focal(multi_label=True)": lambda mp, p, t: binary_focal(mp, p, t),
    "Focal(0.5, 0.25, multi_label=True)": lambda mp, p, t: binary_focal(mp, p, t, 0.5, 0.25, 0.75),
    "Hinge()": lambda mp, z, t: max(0, 1 - (1 if t > 0 else -1) * z),
    "SquaredHinge()": lambda mp, z, t: max(0, 1 - (1 if t > 0 else -1) * z) ** 2,
    "Poisson()": lambda mp, r, t: r - t * mp.log(r),
    "Poisson(log_input=True)": lambda mp, z, t: mp.exp(z) - t * z,
}
#: And for a row.
OF_ROWS = {
    "Quantile((0.125, 0.5, 0.75))": lambda mp, z, t: mean(
        [max(q * (b - a), (1 - q) * (a - b)) for a, (b, q) in zip(z, product(t, [0.125, 0.5, 0.75]), strict=True)]
    ),
    "GaussianNLL()": lambda mp, z, t: mean(
        [(s + (b - m) ** 2 * mp.exp(-s)) / 2 for m, s, b in zip(z[::2], z[1::2], t, strict=True)]
    ),
    "CrossEntropy(from_logits=True)": lambda mp, z, t: focal(mp, softmax(mp, z), t, 0),
    "CrossEntropy()": lambda mp, p, t: focal(mp, p, t, 0),
    "CrossEntropy(from_logits=True, label_smoothing=0.25)": (
        lambda mp, z, t: focal(mp, softmax(mp, z), [0.75 * b + mp.mpf(1) / 4 / len(t) for b in t], 0)
    ),
    "Focal(from_logits=True)": lambda mp, z, t: focal(mp, softmax(mp, z), t, 2),
    "Focal(0.5, from_logits=True)": lambda mp, z, t: focal(mp, softmax(mp, z), t, 0.5),
    "Focal(1.5)": lambda mp, p, t: focal(mp, p, t, 1.5),
    "KLDivergence(from_logits=True)": lambda mp, z, t: divergence(mp, softmax(mp, z), t),
    "KLDivergence()": lambda mp, p, t: divergence(mp, p, t),
    "CosineSimilarity()": cosine,
}  # fmt: skip
REALS = [-1000.0, -37.5, -3.0, -0.7, -1e-5, 0.0, 1e-5, 0.3, 1.1, 38.25, 700.0, 1000.0]


def numbers_for(loss):
    """Outputs and targets, each with each."""
    text = type(loss).__name__
    if text in ("BinaryCrossEntropy", "Focal"):
        outputs = REALS if loss.from_logits else [1e-300, 1e-9, 0.25, 0.5, 0.99, 1 - 1e-12]
        return outputs, [0.0, 0.25, 1.0]
    if text == "Poisson":
        return ([z for z in REALS if z < 709] if loss.log_input else [1e-150, 1e-3, 0.5, 3.0, 1e6]), [0.0, 1.0, 17.0]
    return REALS, [-1.0, 1.0] if "Hinge" in text else [-1.5, 0.125, 2.5]


def rows_for(loss):
    """The same, in rows."""
    rng = np.random.default_rng(0)
    if isinstance(loss, bp.Quantile):
        return [rng.normal(size=6), REALS[:6], REALS[6:]], [[0.5, -0.5]]
    if isinstance(loss, bp.GaussianNLL):
        return [[0.5, 0.25, -1, 2], [3, -7, 3, 7], [1, 1000, -1000, 600], [1, -1000, -1, -1000]], [[1, -1]]
    if isinstance(loss, bp.CosineSimilarity):
        return rng.normal(size=(3, 5)) * [[1], [1e-9], [1e200]], rng.normal(size=(2, 5)) * [[1], [1e200]]
    targets = [[0.125, 0.5, 0.25, 0.125], [1, 0, 0, 0], [0, 0.75, 0.25, 0]]
    if loss.from_logits:
        far = [[9, 8, -30, 2], [1000, 1000, 999, 0], [1000, -1000, 0, 300], [40, 0, 0, 0]]
        return [rng.normal(size=4), *far], targets
    return [rng.dirichlet(np.ones(4)), [0.25, 1e-300, 0.5, 0.25], [1 - 1e-9, 5e-10, 2.5e-10, 2.5e-10]], targets


def agrees(mp, text, formula, z, t):
    """The value and the gradient of a row."""
    row, targets = [mp.mpf(float(v)) for v in z], [mp.mpf(float(v)) for v in t]
    value, dy = loss_of(text)([z], [t])
    assert value == pytest.approx(float(formula(mp, row, targets)), rel=1e-12, abs=1e-14), (z, t)
    for i, before in enumerate(row):

        def moved(v, i=i):
            return formula(mp, [*row[:i], v, *row[i + 1 :]], targets)

        assert dy[0, i] == pytest.approx(float(mp.diff(moved, before)), rel=1e-9, abs=1e-14), (z, t, i)


@pytest.mark.parametrize("text", OF_NUMBERS)
def test_mpmath_agrees_on_numbers(mp, text):
    for z, t in product(*numbers_for(loss_of(text))):
        agrees(mp, text, lambda mp, z, t: OF_NUMBERS[text](mp, z[0], t[0]), [z], [t])


@pytest.mark.slow
@pytest.mark.parametrize("text", OF_ROWS)
def test_mpmath_agrees_on_rows(mp, text):
    for z, t in product(*rows_for(loss_of(text))):
        agrees(mp, text, OF_ROWS[text], z, t)


def test_log_cosh_is_right_to_the_last_places(mp):
    for d in 10.0 ** np.arange(-150, 3, 0.25):
        value, dy = bp.LogCosh()([[d]], [[0.0]])
        assert value == pytest.approx(float(mp.log(mp.cosh(mp.mpf(d)))), rel=1e-14, abs=0)
        assert dy[0, 0] == pytest.approx(float(mp.tanh(mp.mpf(d))), rel=1e-15, abs=0)


# PyTorch's classes as they are called, and scikit-learn.


BATCH = {"mean": "batchmean"}  # what PyTorch calls the mean over rows


@pytest.mark.parametrize(
    ("text", "theirs", "outputs", "targets"),
    [
        ("MeanSquaredError", lambda nn, r: nn.MSELoss(reduction=r), "real", "real"),
        ("MeanAbsoluteError", lambda nn, r: nn.L1Loss(reduction=r), "real", "real"),
        ("Huber", lambda nn, r: nn.HuberLoss(reduction=r), "real", "real"),
        ("BinaryCrossEntropy", lambda nn, r: nn.BCELoss(reduction=r), "unit", "unit"),
        ("BinaryCrossEntropy, from_logits=True", lambda nn, r: nn.BCEWithLogitsLoss(reduction=r), "real", "unit"),
        (
            "BinaryCrossEntropy, from_logits=True, pos_weight=2.5",
            lambda nn, r: lambda z, y: nn.BCEWithLogitsLoss(reduction=r, pos_weight=z.new_tensor(2.5))(z, y), "real",
            "unit",
        ),
        ("CrossEntropy, from_logits=True", lambda nn, r: nn.CrossEntropyLoss(reduction=r), "real", "labels"),
        ("CrossEntropy, from_logits=True", lambda nn, r: nn.CrossEntropyLoss(reduction=r), "real", "rows"),
        (
            "CrossEntropy, from_logits=True, label_smoothing=0.1",
            lambda nn, r: nn.CrossEntropyLoss(reduction=r, label_smoothing=0.1), "real", "labels",
        ),
        ("Poisson", lambda nn, r: nn.PoissonNLLLoss(log_input=False, eps=0, reduction=r), "unit", "counts"),
        ("Poisson, log_input=True", lambda nn, r: nn.PoissonNLLLoss(reduction=r), "real", "counts"),
        (
            "KLDivergence",
            lambda nn, r: lambda p, y: nn.KLDivLoss(reduction=BATCH.get(r, r))(p.log(), y), "rows", "rows",
        ),
        (
            "CosineSimilarity",
            lambda nn, r: lambda p, y: nn.CosineEmbeddingLoss(reduction=r)(p, y, y.new_ones(len(y))), "real", "real",
        ),
        (
            "GaussianNLL",
            lambda nn, r: lambda p, y: nn.GaussianNLLLoss(reduction=r)(p[:, ::2], y, p[:, 1::2].exp()), "real", "half",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_torch_agrees_by_hand(torch, text, theirs, outputs, targets, reduction):
    rng, rows, n = np.random.default_rng(3), 7, 6
    data = {
        "real": lambda: rng.normal(size=(rows, n)), "unit": lambda: rng.random((rows, n)),
        "half": lambda: rng.normal(size=(rows, n // 2)), "counts": lambda: rng.poisson(2, (rows, n)).astype(float),
        "rows": lambda: rng.dirichlet(np.ones(n), rows), "labels": lambda: rng.integers(0, n, rows),
    }  # fmt: skip
    y_hat, y = data[outputs](), data[targets]()
    name, _, words = text.partition(", ")
    value, dy = loss_of(f"{name}({words}{', ' * bool(words)}reduction={reduction!r})")(y_hat, y)
    z = torch.tensor(y_hat, requires_grad=True)
    found = theirs(torch.nn, reduction)(z, torch.tensor(y))
    # What they call "none" is not yet averaged over the outputs (of a divergence, summed), and neither is their "sum".
    if name == "KLDivergence":
        found = found.sum(dim=1) if reduction == "none" else found
    elif name not in ("CrossEntropy", "CosineSimilarity") and reduction != "mean":
        found = found.mean(dim=1) if reduction == "none" else found / y.shape[1]
    found.sum().backward()
    np.testing.assert_allclose(value, found.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(dy, z.grad.numpy(), rtol=1e-9, atol=1e-15)


def test_what_binary_weights_are_worth():
    rng = np.random.default_rng(5)
    p, y = rng.random((30, 2)), rng.integers(0, 2, (30, 2)).astype(float)
    plain, weighted = bp.BinaryCrossEntropy(reduction="none"), bp.BinaryCrossEntropy(pos_weight=[3, 0.5])
    each = np.where(y == 1, [3, 0.5], 1) * np.stack([plain(p[:, [c]], y[:, [c]])[0] for c in (0, 1)], axis=1)
    assert weighted(p, y)[0] == pytest.approx(each.mean(), rel=1e-12)
    assert bp.BinaryCrossEntropy(pos_weight=[1.0, 1.0]).pos_weight == (1.0, 1.0)
    same = bp.BinaryCrossEntropy(pos_weight=1, label_smoothing=0)
    assert same.lower(True) == bp.BinaryCrossEntropy().lower(True)
    assert np.array_equal(same(p, y)[1], bp.BinaryCrossEntropy()(p, y)[1])
    smoothed = bp.BinaryCrossEntropy(label_smoothing=0.2)(p, y)
    by_hand = bp.BinaryCrossEntropy()(p, 0.8 * y + 0.1)
    assert smoothed[0] == pytest.approx(by_hand[0], rel=1e-12)
    np.testing.assert_allclose(smoothed[1], by_hand[1], rtol=1e-12)
    for wrong in (0, -1, np.nan, [1, 0], [2], [1] * 32):
        with pytest.raises(ValueError, match="pos_weight: expected"):
            bp.BinaryCrossEntropy(pos_weight=wrong)
    for wrong in ("2", None, {1: 2}):
        with pytest.raises(TypeError, match="pos_weight: expected"):
            bp.BinaryCrossEntropy(pos_weight=wrong)
    wrong = "pos_weight: expected a number, or one for each of 1 outputs, got 2"
    with pytest.raises(ValueError, match=wrong):
        weighted(p[:, :1], y[:, :1])
    net = bp.Sequential([bp.Dense(2, 1, "sigmoid")], rng=0)
    with pytest.raises(ValueError, match=wrong):
        net.fit(p, y[:, :1], loss=weighted, optimizer="adam")
    with pytest.raises(ValueError, match=r"label_smoothing: expected .* at least 0 and below 1"):
        bp.BinaryCrossEntropy(label_smoothing=1)


def test_scikit_learn_agrees():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(4)
    y_hat, y, w = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), rng.random(50)
    for q in 0.1, 0.5, 0.75:
        expected = metrics.mean_pinball_loss(y, y_hat, sample_weight=w, alpha=q)
        assert bp.Quantile(q)(y_hat, y, w)[0] == pytest.approx(expected, rel=1e-12)
    expected = np.mean(
        [metrics.mean_pinball_loss(y[:, 0], y_hat[:, i], alpha=q) for i, q in enumerate((0.1, 0.5, 0.75))]
    )
    assert bp.Quantile([0.1, 0.5, 0.75])(y_hat, y[:, 0])[0] == pytest.approx(expected, rel=1e-12)
    assert bp.MeanAbsoluteError()(y_hat, y, w)[0] == pytest.approx(
        metrics.mean_absolute_error(y, y_hat, sample_weight=w)
    )
    signs = np.sign(y[:, 0])
    expected = metrics.hinge_loss(signs, y_hat[:, 0], sample_weight=w)
    assert bp.Hinge()(y_hat[:, :1], signs, w)[0] == pytest.approx(expected, rel=1e-12)
    counts, rates = rng.poisson(3, 50) + 1.0, rng.random(50) + 0.1
    least = counts - counts * np.log(counts)
    expected = metrics.mean_poisson_deviance(counts, rates, sample_weight=w) / 2 + np.average(least, weights=w)
    assert bp.Poisson()(rates[:, None], counts, w)[0] == pytest.approx(expected, rel=1e-12)
    labels, p = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    expected = metrics.log_loss(labels, p, sample_weight=w)
    for loss in bp.CrossEntropy(), bp.Focal(0), bp.KLDivergence():
        target = np.eye(3)[labels] if loss.kernel == "kl_divergence" else labels
        assert loss(p, target, w)[0] == pytest.approx(expected, rel=1e-12)


# Far out, and where a formula bends.


@INSTANCES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_for_what_is_finite(instance, dtype):
    loss, info, rng = instance.make("sum"), np.finfo(dtype), np.random.default_rng(5)
    y = instance.data(400, rng)
    for far in 0.0, 1.0, 1000.0, -1000.0, float(info.tiny), float(info.smallest_subnormal):
        y_hat = rng.choice([0.0, 1.0, far], (400, instance.n_out)).astype(dtype)
        if instance.ends != ("identity",):
            y_hat = y_hat.clip(0, 1)
        if isinstance(loss, bp.GaussianNLL):  # e^1000 times an error is no number
            y_hat[:, 1::2] = y_hat[:, 1::2].clip(-20, 1000)
        if loss.kernel == "poisson":  # nor is e^1000
            y_hat = y_hat.clip(-1000, 80)
        value, dy = loss(y_hat, y)
        assert np.isfinite(value) and np.isfinite(dy).all(), far
    # Beyond, a loss may be infinite, but it is never something that is not a number.
    huge = rng.choice([float(info.max), float(info.min), 0.0], (400, instance.n_out)).astype(dtype)
    with np.errstate(all="ignore"):
        values, _ = instance.make("none")(huge if instance.ends == ("identity",) else huge.clip(0, 1), y)
    assert not np.isnan(values).any()


@INSTANCES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_a_number_shows(instance, dtype):
    loss, core = instance.make("none"), bp.losses._core
    target, labels = loss.targets(instance.data(4, np.random.default_rng(0)), instance.n_out, dtype)
    for logits in {False, loss.link is not None}:
        for column in range(instance.n_out):
            if labels is not None and not logits and not loss.from_logits:
                labels[:] = column  # where there are no logits beneath, a label looks at one number
            y_hat, values = np.full((4, instance.n_out), 0.5, dtype), np.zeros(4)
            y_hat[:, column] = np.nan
            core.loss(loss.lower(logits), y_hat, target, labels, None, 1.0, values, y_hat.copy())
            assert np.isnan(values).all(), (logits, column)


def test_where_a_formula_bends():
    for text, y_hat, y, value, slope in (
        ("MeanAbsoluteError()", 2.0, 2.0, 0, 0), ("Quantile(0.25)", 2.0, 2.0, 0, 0), ("Hinge()", 1.0, 1.0, 0, 0),
        ("Quantile(0.25)", 1.0, 2.0, 0.25, -0.25), ("Quantile(0.25)", 3.0, 2.0, 0.75, 0.75),
        ("Hinge()", 0.0, 0.0, 1, 1), ("LogCosh()", 0.0, 0.0, 0, 0),
        ("Huber(0.5)", 1.5, 1.0, 0.125, 0.5), ("Huber(0.5)", -1e300, 0.0, 5e299, -0.5),
        ("SquaredHinge()", -1.0, 1.0, 4, -4), ("SquaredHinge()", 1.0, 1.0, 0, 0), ("Poisson()", 0.0, 0.0, 0, 1),
        ("Focal(0)", 1.0, 1.0, 0, -1), ("Focal(0.5)", 1.0, 1.0, 0, 0), ("Focal(0.5)", 0.0, 0.0, 0, 0),
    ):  # fmt: skip
        found, dy = loss_of(text)([[y_hat]], [[y]])
        assert (found, dy[0, 0]) == (value, slope), (text, y_hat)
    for y_hat, y in ([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0]), ([1e-320, 0.0], [1.0, 2.0]):
        value, dy = bp.CosineSimilarity()([y_hat], [y])
        assert value == 1 and not dy.any()
    value, dy = bp.GaussianNLL()([[3.0, -1e9, 1.0, 0.0]], [[3.0, 1.0]])
    assert value == -2.5e8 and dy.tolist() == [[0, 0.25, 0, 0.25]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_are_computed_on_the_logits(dtype):
    x, z = np.array([[1.0], [-1.0]]), 1000.0
    one = bp.Sequential([bp.Dense(1, 1, "sigmoid")], rng=0, dtype=dtype)
    one.layers[0].weight[...] = z
    two = bp.Sequential([bp.Dense(1, 2, "softmax")], rng=0, dtype=dtype)
    two.layers[0].weight[...] = [[0, z]]
    for net, loss in (one, bp.Focal()), (two, bp.Focal()), (two, bp.KLDivergence()):
        for y, expected, slope in ([1, 0], 0, 0), ([0, 1], z, 1):
            targets = np.eye(2)[y] if net is two else y
            value, gradient = net.value_and_gradient(x, targets, loss)
            assert value == net.evaluate(x, targets, loss=loss)["loss"] == expected
            assert abs(gradient[: net.n_out]).max() == slope
            by_hand, dy = loss(net.predict(x), targets)
            assert np.isfinite(by_hand) and np.isfinite(dy).all() and (by_hand > 40) == (expected > 0)


# What the targets mean.


def test_the_levels_of_a_target_lie_side_by_side():
    rng = np.random.default_rng(6)
    y_hat, y, q = rng.normal(size=(5, 6)), rng.normal(size=(5, 2)), (0.1, 0.5, 0.8)
    value, dy = bp.Quantile(q, reduction="none")(y_hat, y)
    parts = [
        [bp.Quantile(q[k], reduction="none")(y_hat.reshape(5, 2, 3)[:, t, [k]], y[:, [t]]) for k in range(3)]
        for t in range(2)
    ]
    np.testing.assert_allclose(value, np.mean([[part[0] for part in row] for row in parts], axis=(0, 1)), rtol=1e-14)
    np.testing.assert_allclose(dy * 6, np.hstack([part[1] for row in parts for part in row]), rtol=1e-14)
    for same in [0.1, 0.5, 0.8], np.array(q), iter(q):
        assert bp.Quantile(same).q == q
    assert bp.Quantile([0.3]).q == (0.3,) and bp.Quantile(0.3).q == 0.3 and bp.losses.get("quantile").q == 0.5


def test_a_fit_finds_the_quantiles_and_the_gaussian():
    rng = np.random.default_rng(7)
    y, x = rng.gamma(2, size=501), np.zeros((501, 1))
    for loss, n_out, expected in (
        (bp.Quantile((0.1, 0.5, 0.9)), 3, np.quantile(y, (0.1, 0.5, 0.9))),
        (bp.GaussianNLL(), 2, [y.mean(), np.log(y.var())]),
    ):
        net = bp.Sequential([bp.Dense(1, n_out)], rng=0, dtype="float64")
        net.fit(x, y, loss=loss, optimizer=bp.Adam(lambda step: 0.1 * 0.998**step), epochs=4000, batch_size=None)
        np.testing.assert_allclose(net.predict(x[:1])[0], expected, atol=0.01)


@pytest.mark.parametrize("loss", [bp.Hinge(), bp.SquaredHinge()], ids=repr)
def test_hinge_takes_signs_and_zeros_and_labels(loss):
    rng = np.random.default_rng(8)
    y_hat, labels = rng.normal(size=(9, 3)), rng.integers(0, 3, 9)
    hot = np.eye(3)[labels]
    value, dy = loss(y_hat, labels)
    for y in hot, 2 * hot - 1, hot.astype(int), hot.astype(bool), labels[:, None], labels.astype(float):
        again = loss(y_hat, y)
        assert again[0] == value and np.array_equal(again[1], dy)
    margins = np.maximum(0, 1 - (2 * hot - 1) * y_hat) ** (2 if isinstance(loss, bp.SquaredHinge) else 1)
    assert value == pytest.approx(margins.mean(), rel=1e-14)


def test_the_metrics_of_a_hinge_see_classes():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(60, 4))
    right = (x[:, 0] > 0.1).astype(int)
    for n_out, targets in (1, (right, 2 * right - 1)), (2, (right, np.eye(2)[right], 2 * np.eye(2)[right] - 1)):
        net = bp.Sequential([bp.Dense(4, n_out)], rng=1)
        y_hat = net.predict(x)
        share = np.mean((y_hat[:, 0] > 0 if n_out == 1 else y_hat.argmax(axis=1)) == right)
        assert 0 < share < 1
        for y in targets:
            assert net.evaluate(x, y, loss="hinge", metrics=["accuracy"])["accuracy"] == share
            history = net.fit(x, y, loss="hinge", optimizer=bp.SGD(0.0), metrics=["accuracy"], validation_data=(x, y))
            assert history["accuracy"] == history["val_accuracy"] == [share]


def test_the_metrics_of_a_poisson_loss_see_rates():
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20)
    net = bp.Sequential([bp.Dense(4, 1)], rng=1, dtype="float64")
    score = net.evaluate(x, y, loss=bp.Poisson(log_input=True), metrics=["mse"])
    assert score["mse"] == pytest.approx(np.mean((np.exp(net.predict(x)[:, 0]) - y) ** 2), rel=1e-12)


def test_a_poisson_loss_stands_under_what_is_never_negative():
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20)
    for name in ACTIVATIONS:
        net = bp.Sequential([bp.Dense(4, 1, ACTIVATIONS[name], bias_init="he_normal")], rng=1)
        if (ACTIVATIONS[name]([[-0.1, -3.0]]) < 0).any():
            with pytest.raises(ValueError, match=r"expected rates.*log_input=True"):
                net.evaluate(x, y, loss="poisson")
        else:
            assert np.isfinite(net.fit(x, y, loss="poisson", optimizer=bp.SGD(1e-3))["loss"]).all()
        assert np.isfinite(net.evaluate(x, y, loss=bp.Poisson(log_input=True))["loss"])


def test_focal_is_one_loss_for_questions_and_for_classes():
    rng = np.random.default_rng(10)
    p, hot, labels = rng.random((9, 3)), rng.integers(0, 2, (9, 3)), rng.integers(0, 3, 9)
    for questions in bp.Focal(0, multi_label=True), bp.Focal(0, 0.5, multi_label=True):
        value, dy = questions(p, hot)
        expected, expected_dy = bp.BinaryCrossEntropy()(p, hot)
        half = 0.5 if questions.alpha else 1
        assert value == pytest.approx(half * expected, rel=1e-14)
        np.testing.assert_allclose(dy, half * expected_dy, rtol=1e-14)
    rows = rng.dirichlet(np.ones(3), 9)
    for y in labels, np.eye(3)[labels]:
        value, dy = bp.Focal()(rows, y)
        chosen = rows[np.arange(9), labels]
        assert value == pytest.approx(np.mean(-((1 - chosen) ** 2) * np.log(chosen)), rel=1e-12)
        assert np.count_nonzero(dy) == 9
    for n_out, end, words in (1, "sigmoid", {}), (3, "softmax", {}), (3, "sigmoid", {"multi_label": True}):
        net = bp.Sequential([bp.Dense(4, n_out, end)], rng=0)
        y = labels % 2 if n_out == 1 else labels if end == "softmax" else hot
        how = {"loss": bp.Focal(**words), "metrics": ["accuracy"]}
        history = net.fit(rng.normal(size=(9, 4)), y, optimizer=bp.Adam(), **how)
        assert np.isfinite(history["loss"]).all()


# Weights by class.


BY_CLASS = [
    ("binary_cross_entropy", "sigmoid", 1, "01"), ("focal", "sigmoid", 1, "01"), ("hinge", "identity", 1, "01"),
    ("hinge", "identity", 1, "-+"), ("squared_hinge", "identity", 1, "-+"), ("mse", "sigmoid", 1, "01"),
    ("cross_entropy", "softmax", 3, "labels"), ("cross_entropy", "softmax", 3, "hot"),
    ("focal", "softmax", 3, "labels"), ("focal", "softmax", 3, "hot"), ("hinge", "identity", 3, "hot"),
    ("hinge", "identity", 3, "labels"),
    ("squared_hinge", "identity", 3, "-+"), ("kl_divergence", "softmax", 3, "hot"),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "end", "n_out", "kind"), BY_CLASS)
@pytest.mark.parametrize("given", ["balanced", "dict", "array"])
def test_weights_by_class_in_fit_in_evaluate_and_by_hand(given, loss, end, n_out, kind):
    rng, classes = np.random.default_rng(11), max(n_out, 2)
    x, labels, own = rng.normal(size=(40, 4)), rng.integers(0, classes, 40) * rng.integers(0, 2, 40), rng.random(40)
    labels[:classes] = range(classes)
    hot = np.eye(classes)[labels] if n_out > 1 else labels[:, None]
    y = {"labels": labels, "hot": hot, "01": labels, "-+": 2 * hot - 1}[kind]
    by_class = np.array([0.5, 2.0, 3.0][:classes])
    if given == "balanced":
        by_class = 40 / (classes * np.bincount(labels))
    class_weight = {"balanced": "balanced", "dict": dict(enumerate(by_class)), "array": by_class}[given]
    weights = bp.losses.class_weights(y, class_weight, n_out)
    np.testing.assert_allclose(weights, by_class[labels], rtol=1e-15)

    def fresh():
        return bp.Sequential([bp.Dense(4, n_out, end)], rng=2, dtype="float64")

    how = {"loss": loss, "optimizer": None, "epochs": 3, "batch_size": 7}
    net, other = fresh(), fresh()
    net.fit(x, y, **how | {"optimizer": bp.Adam(0.1)}, class_weight=class_weight, sample_weight=own)
    other.fit(x, y, **how | {"optimizer": bp.Adam(0.1)}, sample_weight=weights * own)
    assert np.array_equal(net.parameters, other.parameters)
    value, _ = bp.losses.get(loss)(net.predict(x), y, weights)
    score = net.evaluate(x, y, loss=loss, class_weight=class_weight)
    assert score["loss"] == net.evaluate(x, y, loss=loss, sample_weight=weights)["loss"]
    assert score["loss"] == pytest.approx(value, rel=1e-12)
    assert score["loss"] != pytest.approx(net.evaluate(x, y, loss=loss)["loss"], rel=1e-3)


def test_balanced_by_hand_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.utils.class_weight", reason="scikit-learn is not installed")
    labels = np.random.default_rng(1).integers(0, 3, 30)
    labels[labels == 1] = 0
    expected = sklearn.compute_sample_weight("balanced", labels)
    for y in labels, labels[:, None], np.eye(3)[labels], 2 * np.eye(3)[labels] - 1, labels.astype(float):
        np.testing.assert_allclose(bp.losses.class_weights(y, "balanced", 3), expected, rtol=1e-15)
    for y in labels > 0, 2 * (labels > 0) - 1:
        expected = sklearn.compute_sample_weight("balanced", y)
        np.testing.assert_allclose(bp.losses.class_weights(y, "balanced", 1), expected, rtol=1e-15)


# What runs in the engine.


NAMES = {
    "mse": bp.MeanSquaredError, "mean_squared_error": bp.MeanSquaredError, "mae": bp.MeanAbsoluteError,
    "mean_absolute_error": bp.MeanAbsoluteError, "huber": bp.Huber, "log_cosh": bp.LogCosh, "quantile": bp.Quantile,
    "binary_cross_entropy": bp.BinaryCrossEntropy, "cross_entropy": bp.CrossEntropy, "focal": bp.Focal,
    "hinge": bp.Hinge, "squared_hinge": bp.SquaredHinge, "poisson": bp.Poisson, "gaussian_nll": bp.GaussianNLL,
    "kl_divergence": bp.KLDivergence, "cosine_similarity": bp.CosineSimilarity,
}  # fmt: skip


def test_every_loss_has_a_name_and_is_tested():
    classes = {getattr(bp.losses, name) for name in bp.losses.__all__ if name not in ("Loss", "class_weights")}
    assert {type(bp.losses.get(name)) for name in bp.losses._TABLE} == classes
    assert {name: type(bp.losses.get(name)) for name in bp.losses._TABLE} == NAMES
    assert {type(instance.make("mean")) for instance in LOSSES} == classes
    assert {loss.kernel for loss in classes} == set(bp.losses._core.LOSSES)
    assert all(getattr(bp, loss.__name__) is loss and loss.__name__ in bp.__all__ for loss in classes)


@INSTANCES
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_every_loss_is_trained_in_the_engine(instance, reduction, monkeypatch):
    def python(*args, **kwargs):
        raise AssertionError("this loss is not compiled")

    for owner, name in (job, "_custom_gradients"), (bp.Loss, "on"), (bp.Loss, "__call__"), (bp.Sequential, "forward"):
        monkeypatch.setattr(owner, name, python)
    x, y = np.random.default_rng(0).normal(size=(30, 4)), instance.data(30, np.random.default_rng(1))
    net = bp.Sequential([bp.Dense(4, 5, "tanh"), bp.Dense(5, instance.n_out, ACTIVATIONS[instance.ends[-1]])], rng=1)
    before = net.parameters.copy()
    for threads in 1, 2:
        history = net.fit(x, y, loss=instance.make(reduction), optimizer=bp.Adam(), epochs=2, threads=threads)
        assert np.isfinite(history["loss"]).all()
    assert not np.array_equal(net.parameters, before)
    assert np.isfinite(net.value_and_gradient(x, y, instance.make(reduction))[1]).all()


@INSTANCES
def test_the_repr_and_the_pickle_of_a_loss(instance):
    for reduction in REDUCTIONS:
        loss = instance.make(reduction)
        for again in loss_of(repr(loss)), pickle.loads(pickle.dumps(loss)):
            assert type(again) is type(loss) and vars(again) == vars(loss) and repr(again) == repr(loss)
            assert again.lower(False) == loss.lower(False)
    assert repr(bp.Focal(1.5, 0.25, multi_label=True)) == "Focal(1.5, alpha=0.25, multi_label=True)"
    assert repr(bp.Focal(alpha=0.25)) == "Focal(alpha=0.25)"


# Beside a layer of one's own.


class Same(bp.Layer):
    def forward(self, x, training):
        return x

    def backward(self, dy):
        return dy


PLACES = {
    "first": lambda end, n: [Same(), bp.Dense(4, 5, "tanh", l1=0.01), bp.Dense(5, n, end, l2=0.01)],
    "before a layer": lambda end, n: [bp.Dense(4, 5, "tanh", l1=0.01), bp.BatchNorm(), Same(), bp.Dense(5, n, end)],
    "before the activation": lambda end, n: [bp.Dense(4, 5, "tanh"), bp.Dense(5, n), Same(), bp.Activation(end)],
    "before an activation after a layer": lambda end, n: [bp.Dense(4, 5), Same(), bp.Dense(5, n), bp.Activation(end)],
}


def beside(place, end, n, dtype="float64"):
    """A network with a layer of one's own that changes nothing, and the same without it."""
    return [
        bp.Sequential([layer for layer in PLACES[place](end, n) if keep or layer.compiled], rng=1, dtype=dtype)
        for keep in (True, False)
    ]


@INSTANCES
@pytest.mark.parametrize(
    "place", [pytest.param(place, marks=pytest.mark.slow if place.startswith("before an") else ()) for place in PLACES]
)
def test_every_loss_is_the_same_beside_a_layer_of_ones_own(instance, place):
    # A loss meets the layer of one's own in the activation between them, if it does: what is before only passes dy on.
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(20, 4)), instance.data(20, rng), rng.uniform(0, 2, 20)
    ends = ("identity", "tanh", "gelu", "log_softmax") if instance.name == "mse" else instance.ends
    ways = product(("mean", "sum"), (None, weights)) if place == "first" else [("mean", weights)]
    for end, (reduction, w) in product(ends, list(ways)):
        loss, nets = instance.make(reduction), beside(place, ACTIVATIONS[end], instance.n_out)
        assert [net._plan is None for net in nets] == [True, False]
        own, plain = (net.value_and_gradient(x, y, loss, sample_weight=w) for net in nets)
        assert own[0] == pytest.approx(plain[0], rel=1e-12)
        np.testing.assert_allclose(own[1], plain[1], rtol=1e-12, atol=1e-13 * abs(plain[1]).max())
        assert np.array_equal(*(net.predict(x) for net in nets))
        how = {"loss": loss, "sample_weight": w, "metrics": [lambda y_hat, y: abs(y_hat).sum()]}
        own, plain = (net.evaluate(x, y, **how) for net in nets)
        assert own == pytest.approx(plain, rel=1e-12)
        how |= {"epochs": 3, "batch_size": 6, "validation_data": (x, y)}
        own, plain = (dict(net.fit(x, y, optimizer=bp.SGD(0.001), **how)) for net in nets)
        assert own.keys() == plain.keys()
        for name, values in own.items():
            assert values == pytest.approx(plain[name], rel=1e-9)


@pytest.mark.parametrize(
    "instance",
    [
        pytest.param(loss, id=loss.name, marks=() if loss.name in ("mse", "bce", "ce-labels") else pytest.mark.slow)
        for loss in LOSSES
    ],
)
def test_finite_differences_beside_a_layer_of_ones_own(instance):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 4)), instance.data(6, rng)
    for place, end in product(PLACES, instance.ends if instance.name != "mse" else ("tanh", "gelu", "log_softmax")):
        own, net = beside(place, ACTIVATIONS[end], instance.n_out)
        plain = bp.check_gradients(net, instance.make("mean"), x, y).error
        assert bp.check_gradients(own, instance.make("mean"), x, y).error < max(1e-6, 2 * plain)


SATURATED = [
    (bp.CrossEntropy(), "softmax", [1], 400, [1, -1, 0, 0, 1, -1]),
    (bp.CrossEntropy(), "softmax", [[0, 1]], 400, [1, -1, 0, 0, 1, -1]),
    (bp.CrossEntropy(label_smoothing=0.5), "softmax", [1], 300, [0.75, -0.75, 0, 0, 0.75, -0.75]),
    (bp.KLDivergence(), "softmax", [[0, 1]], 400, [1, -1, 0, 0, 1, -1]),
    (bp.Focal(), "softmax", [1], 400, [1, -1, 0, 0, 1, -1]),
    (bp.Focal(multi_label=True), "sigmoid", [[0, 1]], 200, [0.5, -0.5, 0, 0, 0.5, -0.5]),
    (bp.BinaryCrossEntropy(), "sigmoid", [[0, 1]], 200, [0.5, -0.5, 0, 0, 0.5, -0.5]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "end", "y", "expected", "slopes"), SATURATED)
def test_a_confident_wrong_answer_keeps_its_gradient_beside_a_layer_of_ones_own(loss, end, y, expected, slopes, dtype):
    x = np.array([[1.0, 0.0]])
    for layers in [Same(), bp.Dense(2, 2, end)], [bp.Dense(2, 2), Same(), bp.Activation(end)]:
        net = bp.Sequential(layers, rng=0, dtype=dtype)
        net.parameters = [200, -200, 0, 0, 0, 0]
        value, gradient = net.value_and_gradient(x, y, loss)
        assert value == net.evaluate(x, y, loss=loss)["loss"] == expected and gradient.tolist() == slopes
        history = net.fit(x, y, loss=loss, optimizer=bp.SGD(8), metrics=["accuracy"], class_weight={0: 1, 1: 3})
        assert history["loss"] == [expected] and history["accuracy"] == [0]
        np.testing.assert_array_equal(net.parameters, [200, -200, 0, 0, 0, 0] - 8 * np.array(slopes))


def test_a_last_layer_of_ones_own_gives_what_it_says():
    class Softmax(bp.Layer):
        activation = bp.activations.softmax

        def forward(self, x, training):
            self.y = self.activation(x)
            return self.shift + self.y

        def backward(self, dy):
            return self.y * (dy - (dy * self.y).sum(axis=1, keepdims=True))

    net, plain = (
        bp.Sequential([bp.Dense(4, 3), end], rng=0, dtype="float64") for end in (Softmax(), bp.Activation("softmax"))
    )
    net.layers[1].shift = 0.0
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    value, gradient = net.value_and_gradient(x, y, "cross_entropy")
    expected = plain.value_and_gradient(x, y, "cross_entropy")
    assert value == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-9)
    assert net.evaluate(x, y, loss="cross_entropy")["loss"] == pytest.approx(value, rel=1e-12)
    net.layers[1].shift = 0.5
    with pytest.raises(ValueError, match="y_hat: expected numbers from 0 to 1"):
        net.value_and_gradient(x, y, "cross_entropy")


def test_a_batch_that_counts_for_nothing_beside_a_layer_of_ones_own():
    x, y, weights = np.random.default_rng(0).normal(size=(4, 4)), [0, 1, 2, 0], [0, 0, 1, 2]
    histories = []
    for net in beside("first", "softmax", 3):
        how = {"loss": "cross_entropy", "batch_size": 2, "shuffle": False, "sample_weight": weights}
        histories.append(net.fit(x, y, optimizer=bp.SGD(0.1), epochs=3, **how)["loss"])
    assert histories[0] == pytest.approx(histories[1], rel=1e-12)


def test_a_loss_that_is_not_finite_beside_a_layer_of_ones_own():
    x, y = np.ones((2, 4)), [0, 1]
    for net in beside("first", "softmax", 3):
        net.parameters[-5:] = np.finfo(np.float64).max
        net.parameters[:20] = 9
        value, gradient = net.value_and_gradient(x, y, "cross_entropy")
        assert np.isnan(value) and np.isnan(gradient).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight", [1.0, 5.0, 1e6])
def test_a_weighted_cross_entropy_stays_finite_where_a_one_has_no_probability(dtype, weight):
    value, slope = bp.BinaryCrossEntropy(pos_weight=weight)(np.zeros((1, 1), dtype), np.ones((1, 1)))
    assert value >= weight * 70
    assert np.isfinite(slope).all()
    assert slope[0, 0] < -1e37
