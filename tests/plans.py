"""The compiled core by itself: plans of a few steps, and what they answer."""

import numpy as np
import pytest
from instances import builds

BUILDS = builds()
DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.slow)]


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
