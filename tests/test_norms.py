"""Norms are computed in double and rounded once: close to the mean, and beside a large bias."""

import itertools

import numpy as np
import pytest

import backprop as bp

DTYPES = ["float32", "float64"]


def norm_data(dtype):
    """x, weight, bias and dy, of rows that lie around zero, far from it, and close together."""
    rng = np.random.default_rng(12)
    places = (0.0, 1.0), (0.0, 1e-3), (100.0, 1.0), (100.0, 1e-2), (-1e4, 1.0)
    for n, (offset, spread) in itertools.product((1, 2, 7, 8, 9, 33, 300), places):
        x, dy = offset + spread * rng.normal(size=(40, n)), rng.normal(size=(40, n))
        yield tuple(part.astype(dtype) for part in (x, rng.normal(size=n), rng.normal(size=n), dy))


def exact_norm(x, weight, bias, dy, axis):
    """y, dx, dweight and dbias in extended precision."""
    x, weight, bias, dy = (np.asarray(part, np.longdouble) for part in (x, weight, bias, dy))
    d = x - x.mean(axis=axis, keepdims=True)
    rstd = 1 / np.sqrt((d * d).mean(axis=axis, keepdims=True) + np.longdouble(1e-5))
    unit, g = d * rstd, weight * dy
    dx = rstd * (g - g.mean(axis=axis, keepdims=True) - unit * (g * unit).mean(axis=axis, keepdims=True))
    return unit * weight + bias, dx, (dy * unit).sum(axis=0), dy.sum(axis=0)


NORMS = {bp.LayerNorm: 1, bp.BatchNorm: 0}


@pytest.mark.parametrize("layer", NORMS)
def test_a_norm_in_float32_is_rounded_once(layer):
    """Its answers are within the last place, wherever the rows lie; its gradients are close to that."""
    for x, weight, bias, dy in norm_data("float32"):
        net = bp.Sequential([layer(), bp.Dense(x.shape[1], x.shape[1], use_bias=False)], rng=0)
        net.parameters = np.concatenate([weight, bias, np.eye(len(weight)).ravel()])
        exact_y, dx, dweight, dbias = exact_norm(x, weight, bias, dy, NORMS[layer])
        answers = [net.forward(x)]
        found_dx = net.backward(dy)
        if layer is bp.LayerNorm:
            answers.append(net.predict(x))
        unit = np.spacing(abs(exact_y).astype("float32"))
        for y in answers:
            assert (abs(y - exact_y) <= 0.51 * unit).all()
        for found, exact in (
            (found_dx, dx), (net.layers[0].weight_grad, dweight), (net.layers[0].bias_grad, dbias),
        ):  # fmt: skip
            size = abs(exact).max() or 1.0
            assert (abs(found - exact) <= 2 * np.finfo("float32").eps * size).all()


def test_a_batch_norm_in_float32_predicts_what_is_rounded_once():
    """From running statistics that are float32 themselves."""
    for x, weight, bias, _ in norm_data("float32"):
        net = bp.Sequential([bp.BatchNorm(), bp.Dense(x.shape[1], x.shape[1], use_bias=False)], rng=0)
        net.parameters = np.concatenate([weight, bias, np.eye(len(weight)).ravel()])
        net.buffers = np.concatenate([x.mean(axis=0), x.var(axis=0)])
        mean, variance = np.split(net.buffers.astype(np.longdouble), 2)
        exact = (x - mean) / np.sqrt(variance + np.longdouble(1e-5)) * weight + bias
        assert (abs(net.predict(x) - exact) <= 0.51 * np.spacing(abs(exact).astype("float32"))).all()
