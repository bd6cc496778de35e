"""The gradients of losses as formulas of complex numbers, from which their second derivatives are read.

For an analytic g, the imaginary part of g(z + ihv) / h is the derivative of g along v, up to a term of h^2: with an h
that small it is right to the last bits, since nothing is subtracted (Squire and Trapp, "Using complex variables to
estimate derivatives of real functions", SIAM Review 40, 1998).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _validate
from ..losses import Loss
from ..program.data import Data
from ..program.objective import Objective

__all__ = ["hessians", "product", "refuse_straight"]

Array = _validate.Array
Complex = npt.NDArray[np.complex128]
Slope = Callable[[Any, Complex, Array, bool, float], Any]

#: The step: its square vanishes beside everything.
STEP = 1e-150
#: Where the logarithm goes on as its tangent, as in the compiled losses; a log-variance is not lower either.
LEAST_LOG_VARIANCE = -1400


def product(objective: Objective, found: Array, data: Data, direction: Array) -> Array:
    """The second derivatives of each row's own loss times a direction (rows, n_out)."""
    along = found.astype(np.complex128)  # first: the step is below float32
    along.imag = STEP * direction.astype(np.float64)
    curved: Array = np.imag(_slopes(objective, found, data, along)) / STEP
    return curved


def hessians(objective: Objective, found: Array, data: Data) -> Array:
    """The second derivatives of each row's own loss, (rows, n_out, n_out)."""
    columns = [product(objective, found, data, unit) for unit in np.eye(found.shape[1])]
    return np.stack(columns, axis=2)


def refuse_straight(objective: Objective) -> None:
    """Refuse a loss of straight pieces: its Gauss-Newton matrix is zero, whatever the network."""
    if objective.compiled and _SLOPES.get(objective.loss.kernel) is _none:
        raise ValueError(
            f"loss: expected one with second derivatives, of which a Gauss-Newton matrix is made, got "
            f"{objective.loss!r}, which is straight on either side of its kinks: take a loss that bends, such as "
            f"MeanSquaredError, LogCosh or SquaredHinge"
        )


def _slopes(objective: Objective, found: Array, data: Data, z: Complex) -> Array:
    loss = objective.loss
    if not objective.compiled or loss.kernel not in _SLOPES:
        raise TypeError(f"loss: expected a built-in one, whose second derivatives are known, got {loss!r}")
    targets = _targets(loss, data, z.shape[1])
    tiny = np.finfo(found.dtype).tiny
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        found_slopes: Array = _SLOPES[loss.kernel](loss, z, targets, loss.lower(objective.on_logits).from_logits, tiny)
    return found_slopes


def _targets(loss: Loss, data: Data, n: int) -> Array:
    """As rows of numbers."""
    if data.labels is not None:
        return np.asarray(data.labels[:, None] == np.arange(n), np.float64)
    return np.asarray(data.target).astype(np.float64)


def _inverse(p: Complex, tiny: float) -> Any:
    """The derivative of the logarithm that goes on as its tangent."""
    return np.where(p.real > tiny, 1 / np.where(p.real > tiny, p, 1), 1 / tiny)


def _log(p: Complex, tiny: float) -> Any:
    return np.where(p.real > tiny, np.log(np.where(p.real > tiny, p, 1)), np.log(tiny) + (p - tiny) / tiny)


def _sigmoid(z: Complex) -> Any:
    e = np.exp(np.where(z.real > 0, -z, z))
    return np.where(z.real > 0, 1, e) / (1 + e)


def _log_sigmoid(z: Complex) -> Any:
    return np.where(z.real < 0, z, 0) - np.log1p(np.exp(np.where(z.real > 0, -z, z)))


def _log_softmax(z: Complex) -> Any:
    shifted = z - z.real.max(axis=1, keepdims=True)
    logs: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _none(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    """Of a loss whose slope does not change, but at kinks."""
    return np.zeros_like(z)


def _squared_error(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    return 2 * (z - y) / z.shape[1]


def _huber(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    d = z - y
    return np.where(abs(np.real(d)) <= loss.delta, d, loss.delta * np.sign(np.real(d))) / z.shape[1]


def _log_cosh(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    return np.tanh(z - y) / z.shape[1]


def _squared_hinge(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    sign = np.where(y > 0, 1, -1)
    short = 1 - sign * z
    return np.where(np.real(short) > 0, -2 * sign * short, 0) / z.shape[1]


def _poisson(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    slope = np.exp(z) - y if logits else 1 - y * _inverse(z, np.sqrt(tiny))
    return slope / z.shape[1]


def _gaussian_nll(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    d, s = z[:, ::2] - y, z[:, 1::2]
    inverse = np.exp(-np.where(s.real > LEAST_LOG_VARIANCE, s, LEAST_LOG_VARIANCE))
    slopes = np.empty_like(z)
    slopes[:, ::2] = d * inverse
    slopes[:, 1::2] = 0.5 * (1 - np.where(s.real > LEAST_LOG_VARIANCE, d * d * inverse, 0))
    return slopes / y.shape[1]


def _binary_cross_entropy(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    t, weight = y * (1 - loss.label_smoothing) + loss.label_smoothing / 2, np.asarray(loss.pos_weight)
    if logits:
        return ((1 - t) * _sigmoid(z) - weight * t * _sigmoid(-z)) / z.shape[1]
    return ((1 - t) * _inverse(1 - z, tiny) - weight * t * _inverse(z, tiny)) / z.shape[1]


def _cross_entropy(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    smoothing = getattr(loss, "label_smoothing", 0.0)
    q = y * (1 - smoothing) + smoothing / z.shape[1]
    return q.sum(axis=1, keepdims=True) * np.exp(_log_softmax(z)) - q if logits else -q * _inverse(z, tiny)


def _faded(p: Complex, rest: Complex, log_p: Complex, gamma: float) -> Any:
    """The derivative of -rest^gamma log p with respect to log p, where rest = 1 - p."""
    some = np.real(rest) > 0
    ratio = np.where(some, log_p / np.where(some, rest, 1), -1)
    return np.where(some, np.where(some, rest, 1) ** gamma, float(gamma == 0)) * (gamma * p * ratio - 1)


def _focal(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    if z.shape[1] > 1 and not loss.multi_label:
        log_p = _log_softmax(z) if logits else _log(z, tiny)
        p = np.exp(log_p) if logits else z
        slopes = y * _faded(p, 1 - p, log_p, loss.gamma)
        return slopes - p * slopes.sum(axis=1, keepdims=True) if logits else slopes * _inverse(z, tiny)
    one, zero = loss._alphas
    p, rest = (_sigmoid(z), _sigmoid(-z)) if logits else (z, 1 - z)
    log_p, log_rest = (_log_sigmoid(z), _log_sigmoid(-z)) if logits else (_log(p, tiny), _log(rest, tiny))
    to_p, to_rest = (rest, -p) if logits else (_inverse(p, tiny), -_inverse(rest, tiny))
    slope_p, slope_rest = _faded(p, rest, log_p, loss.gamma), _faded(rest, p, log_rest, loss.gamma)
    return (one * y * slope_p * to_p + zero * (1 - y) * slope_rest * to_rest) / z.shape[1]


def _cosine_similarity(loss: Any, z: Complex, y: Array, logits: bool, tiny: float) -> Any:
    """Rows scaled to a largest number of 1, so that their squares neither vanish nor overflow."""
    size, of_y = (abs(np.real(rows)).max(axis=1, keepdims=True) for rows in (z, y))
    some = (size >= tiny) & (of_y >= tiny)
    u, v = z / np.where(some, size, 1), y / np.where(some, of_y, 1)
    norm = np.sqrt((u * u).sum(axis=1, keepdims=True))
    v = v / np.where(some, np.sqrt((v * v).sum(axis=1, keepdims=True)), 1)
    cosine = (u * v).sum(axis=1, keepdims=True) / np.where(some, norm, 1)
    return np.where(some, (cosine * u / norm - v) / norm / np.where(some, size, 1), 0)


_SLOPES: dict[str, Slope] = {
    "mean_squared_error": _squared_error, "mean_absolute_error": _none, "huber": _huber, "log_cosh": _log_cosh,
    "quantile": _none, "binary_cross_entropy": _binary_cross_entropy, "cross_entropy": _cross_entropy,
    "focal": _focal, "hinge": _none, "squared_hinge": _squared_hinge, "poisson": _poisson,
    "gaussian_nll": _gaussian_nll, "kl_divergence": _cross_entropy, "cosine_similarity": _cosine_similarity,
}  # fmt: skip
