"""Check gradients: backpropagation against central finite differences, for any network and loss."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate
from .network import Sequential
from .tracing.differences import central_differences, relative_errors

__all__ = ["GradientCheck", "check_gradients"]


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """The result of a check.

    Attributes
    ----------
    error : float
        The largest relative error, |a - n| / max(|a|, |n|, floor), of the gradient a by backpropagation against n by
        finite differences; the floor is a hundredth of the largest gradient, as these can tell no less.
    parameter : str
        Where it is: ``layers[0].weight[3, 1]``.
    """

    error: float
    parameter: str

    def __float__(self) -> float:
        return self.error

    def _repr_html_(self) -> str:
        from . import _display

        rows = [("largest relative error", f"{self.error:.3g}"), ("of the gradient of", self.parameter)]
        return _display.table(("backpropagation beside finite differences", ""), rows)


def check_gradients(
    net: Sequential, loss: Any, x: Any, y: Any, *, sample_weight: Any = None, second: bool = False
) -> GradientCheck:
    """Compare the gradient of every parameter with (L(p + h) - L(p - h)) / 2h.

    Parameters
    ----------
    net : Sequential
        In float64, for a check of more than a few digits. Its parameters are the same afterwards.
    loss, x, y, sample_weight
        As `Sequential.fit` takes them. A few rows are enough: each parameter takes two forward passes.
    second : bool, default False
        Check second derivatives instead: `Sequential.hessian_vector_product` along a vector of random numbers, against
        differences of gradients, in evaluation mode.

    Returns
    -------
    GradientCheck
        The largest relative error, and the parameter it is at. Around 1e-8 is right in float64; near a kink of relu or
        of an absolute error it may be larger without anything being wrong.

    References
    ----------
    Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 11.5, "compare back-propagated derivatives to
    numerical derivatives".
    """
    if _validate.flag(second, "second"):
        return _second(net, loss, x, y, sample_weight)

    def value() -> float:
        return net.value_and_gradient(x, y, loss, sample_weight=sample_weight)[0]

    _, gradient = net.value_and_gradient(x, y, loss, sample_weight=sample_weight)
    p = net.parameters
    numeric = central_differences(p, value)
    net.gradients[...] = gradient
    if not len(p):
        return GradientCheck(0.0, "none")
    errors = relative_errors(gradient, numeric)
    worst = int(errors.argmax())
    return GradientCheck(float(errors[worst]), _name(net, worst))


def _second(net: Sequential, loss: Any, x: Any, y: Any, sample_weight: Any) -> GradientCheck:
    """H v beside (g(p + h v) - g(p - h v)) / 2h."""
    data, objective = net._data_of(x, y, loss, sample_weight)
    kept, gradients = net.parameters.copy(), net.gradients.copy()
    v = np.random.default_rng(0).normal(size=kept.shape)
    product = net.hessian_vector_product(x, y, loss, v, sample_weight=sample_weight)
    step, found = float(np.finfo(net.dtype).eps) ** (1 / 3), []
    try:
        for h in (step, -step):
            net.parameters[...] = kept + h * v
            y_hat = net.forward(data.x, training=False, logits=objective.on_logits)
            _, dy = objective.value_and_gradient(y_hat, data)
            net._engine.backward(_validate.matrix(dy, "dy", net.n_out, net.dtype), None, objective.penalty_factor(data))
            found.append(net.gradients.astype(np.float64))
    finally:
        net.parameters[...], net.gradients[...] = kept, gradients
    if not len(kept):
        return GradientCheck(0.0, "none")
    errors = relative_errors(product, (found[0] - found[1]) / (2 * step))
    worst = int(errors.argmax())
    return GradientCheck(float(errors[worst]), _name(net, worst))


def _name(net: Sequential, index: int) -> str:
    """The name of the parameter at this index of the flat vector."""
    for at, leaf in net.leaves.items():
        for name, shape in leaf.shapes().items():
            size = math.prod(shape)
            if index < size:
                place = ", ".join(str(int(k)) for k in np.unravel_index(index, shape))
                return f"layers[{at.replace('.', '][')}].{name}[{place}]"
            index -= size
    raise IndexError(index)
