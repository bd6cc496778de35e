"""Each loss and its gradient against its plain twin: near, far out, with labels and with rows."""

import numpy as np
import pytest
import reference
from plans import DTYPES, eps

import backprop as bp

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
        numbers = [(), (0.0, 3.0), (0.2, 0.5), *([(0.1, *rng.uniform(0.1, 9, n))] if 1 < n < 32 else [])]
        return [(*given, y, None) for given in with_numbers(chances, numbers) for y in (hot, unit)]
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_of_an_unlikely_answer_does_not_vanish(core, dtype):
    p, values = np.array([[1e-30], [1e-12], [1e-3]], dtype), np.empty(3)
    core.loss((core.LOSSES["binary_cross_entropy"], False, ()), p, np.zeros_like(p), None, None, 1.0, values, p.copy())
    np.testing.assert_allclose(values, -np.log1p(-p[:, 0].astype(np.float64)), rtol=1e-15)
