"""One step of each optimizer against its plain twin: any length, any part, clipped, averaged, out of the numbers; and penalties."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from instances import CLIPPED, OPTIMIZERS, optimizer_of
from plans import DTYPES, eps

import backprop as bp


def begun(text, p):
    """An optimizer, and its state before the first step of these parameters."""
    it = optimizer_of(text)
    return it, it.bind(SimpleNamespace(parameters=p))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [*OPTIMIZERS, *CLIPPED])
def test_optimizers_are_their_twins(core, text, dtype):
    for n in 0, 1, 2, 7, 16, 17, 33, 64, 65, 300, 1031:
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
                assert (abs(got - wanted) <= 100 * eps(dtype) * size + np.finfo(dtype).tiny).all(), (n, name)


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
def test_a_step_out_of_the_numbers_is_not_taken(core, text, dtype):
    for bad, at in itertools.product((np.nan, np.inf, -np.inf), (0, 5, 32)):
        p, g = np.ones(33, dtype), np.ones(33, dtype)
        it, state = begun(text, p)
        g[at] = bad
        taken = core.apply_update(it.lower(), 0.1, 1, p, g, state, ((0, 33),))
        if it.clip_value and np.isinf(bad):
            assert taken and np.isfinite(p).all(), (bad, at)  # infinity is clipped as any number
            continue
        untouched = begun(text, np.ones(33, dtype))[0].state
        assert not taken and p[at] == 1, (bad, at)
        assert all(vector[at] == untouched[name][at] for name, vector in it.state.items()), (bad, at)
        assert (np.delete(p, at) < 1).all(), (bad, at)


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
