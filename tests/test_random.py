"""Shuffling and dropout against their plain twins, and how random they are."""

import math

import numpy as np
import pytest
import reference
from plans import DTYPES, plan, predict

import backprop as bp


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
