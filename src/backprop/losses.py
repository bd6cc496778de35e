"""Losses: one number for how far a prediction is from its target, and its gradient.

A loss is called as ``loss(y_hat, y, sample_weight=None) -> (value, dy)``; the value is exactly the number whose
gradient is returned. The outputs of a sample are averaged; `reduction` then says how the per-sample losses l, with the
sample weights w (1 where none are given), are combined:

======== ======================
"mean"   sum(w l) / sum(w)
"sum"    sum(w l)
"none"   w l, one for each sample; the gradient is that of their sum
======== ======================

A loss, or a gradient, beyond the largest number of its type is infinite; any other is finite.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import _core, _validate, targets
from ._described import Described
from .targets import Meaning, class_weights

__all__ = [
    "BinaryCrossEntropy", "CosineSimilarity", "CrossEntropy", "Focal", "GaussianNLL", "Hinge", "Huber", "KLDivergence",
    "LogCosh", "Loss", "MeanAbsoluteError", "MeanSquaredError", "Poisson", "Quantile", "SquaredHinge", "class_weights",
]  # fmt: skip

Array = _validate.Array

#: The activations without negative outputs.
RATES = ("exp", "softplus", "relu", "sigmoid", "hard_sigmoid", "softmax")


def running_sum(values: Array) -> float:
    """The sum from first to last, as the compiled core adds."""
    if len(values) == 1:
        return float(values[0])
    if values.nbytes <= _validate.PIECE:
        return float(np.add.accumulate(values)[-1])
    total = 0.0
    for some in _validate.slices(len(values), values.nbytes):
        total = float(np.add.accumulate(np.append(total, values[some]))[-1])
    return total


class Formula(NamedTuple):
    """A loss, as the compiled core takes it."""

    #: One of `_core.LOSSES`, and its parameters in the order of its kernel.
    kernel: int
    from_logits: bool
    numbers: tuple[float, ...]

    def __repr__(self) -> str:
        kernel = next((name for name, code in _core.LOSSES.items() if code == self.kernel), self.kernel)
        return f"Formula({', '.join(map(str, [kernel, *self.numbers]))}{', from_logits=True' * self.from_logits})"


class Loss(Described, family="Loss"):
    """What all losses have.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    A custom loss subclasses this, or one of the others, and implements ``__call__``. It is called for each mini-batch,
    and its `reduction` says how the losses of mini-batches are combined into that of an epoch.
    """

    #: Its name in the compiled core, and the attributes that its kernel takes, in order; a custom loss has none.
    kernel: ClassVar[str] = ""
    numbers: ClassVar[tuple[str, ...]] = ()
    #: The activation that turns logits into the probabilities this loss takes; computed together, on the logits.
    link: ClassVar[str | None] = None
    #: Which targets it takes, where the link does not say it.
    target: ClassVar[targets.Domain | None] = None
    from_logits: bool = False
    #: Whether the layers' penalties are divided by the sum of the sample weights too, as the losses are in the mean.
    shares_penalties: bool = False
    #: Whether outputs between 0 and 1 are, to it, probabilities that the target is 1.
    classifies: ClassVar[bool] = True
    #: Whether it is of the derivatives of outputs too: a `Differential`.
    differential: ClassVar[bool] = False
    #: Which outputs it needs, in words.
    outputs: ClassVar[str] = "an output for each target"
    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        "reduction": partial(_validate.choice, choices=("mean", "sum", "none")), "from_logits": _validate.flag,
    }  # fmt: skip

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction

    def __call__(self, y_hat: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Array]:
        """The loss, and its gradient with respect to y_hat.

        Parameters
        ----------
        y_hat : array_like, shape (batch, n_out)
            The outputs of the network. float32 and float64 keep their type, anything else becomes float64.
        y : array_like
            The targets: (batch, n_out), or (batch,) where that is one; labels (batch,) where the loss takes them.
        sample_weight : array_like, shape (batch,), optional
            How much each sample counts. Default: all the same.

        Returns
        -------
        value : float
            The loss; with ``reduction="none"`` an array (batch,).
        dy : numpy.ndarray, shape (batch, n_out)
            The gradient of the value (of its sum, where it is an array) with respect to y_hat.
        """
        given = _validate.array(y_hat, "y_hat")
        if given.ndim != 2 or given.shape[1] == 0:
            raise ValueError(f"y_hat: expected an array of shape (batch, n_out), got {given.shape}")
        y_hat = _validate.real(given, "y_hat", np.float32 if given.dtype == np.float32 else np.float64)
        _validate.some_rows(y_hat, "y_hat")
        target, labels = self.targets(y, y_hat.shape[1], y_hat.dtype)
        _validate.same_rows(len(y_hat), y=labels if target is None else target)
        self.check_outputs(y_hat)
        weights = None if sample_weight is None else _validate.weights(sample_weight, len(y_hat))
        return self.on(y_hat, target, labels, weights)

    def on(
        self, y_hat: Array, target: Array | None, labels: Array | None, weights: Array | None, *, logits: bool = False
    ) -> tuple[Any, Array]:
        """`__call__` on arrays that were checked; with ``logits`` y_hat holds logits, not probabilities."""
        total = len(y_hat) if weights is None else running_sum(weights) or 1.0  # a batch may count for nothing
        norm = 1 / total if self.reduction == "mean" else 1.0
        values, dy = np.empty(len(y_hat)), np.empty_like(y_hat)
        _core.loss(self.lower(logits), y_hat, target, labels, weights, norm, values, dy)
        if weights is not None:
            values *= weights
        if self.reduction == "none":
            return values, dy
        value = running_sum(values)
        return (value / total if self.reduction == "mean" else value), dy

    # What a loss says of itself; a subclass says what is different.

    @property
    def compiled(self) -> bool:
        """Whether the compiled core has its formula; else it is called, on the outputs of the network."""
        return bool(self.kernel) and not self._custom

    @property
    def _custom(self) -> bool:
        """Whether a subclass implements it in Python."""
        return type(self).__call__ is not Loss.__call__ or getattr(self.on, "__func__", None) is not Loss.on

    def lower(self, logits: bool) -> Formula:
        """How the compiled core computes it, on logits or on the outputs of the network."""
        given = [getattr(self, name) for name in self.numbers]
        each = [number for some in given for number in (some if isinstance(some, tuple) else [some])]
        return Formula(_core.LOSSES[self.kernel], self.from_logits or logits, tuple(map(float, each)))

    def target_width(self, n_out: int) -> int:
        """How many targets a row of n_out outputs has."""
        width = _core.loss_target_width(self.lower(False), n_out)
        if not width:
            raise ValueError(f"{self!r} expected {self.outputs}, got {n_out} outputs")
        return width

    def domain(self, n_out: int) -> targets.Domain:
        """Which targets it takes from a network with so many outputs."""
        linked = {"sigmoid": targets.PROBABILITIES, "softmax": targets.CLASSES}
        return self.target or linked.get(self.link_of(n_out) or "", targets.NUMBERS)

    def targets(self, y: Any, n_out: int, dtype: Any) -> tuple[Array | None, Array | None]:
        """The targets as (rows, n_targets) of this type, or the labels as (rows,) int64; the other is None."""
        return self.domain(n_out).read(y, self.target_width(n_out), dtype, self)

    def link_of(self, n_out: int) -> str | None:
        """The `link` for a network with so many outputs."""
        return self.link

    def check_outputs(self, y_hat: Array) -> None:
        """Refuse outputs that the loss is not defined on."""
        if self.link and not self.from_logits:
            _validate.between(y_hat, 0, 1, "y_hat", f"{self!r} takes probabilities; for logits, from_logits=True")

    def check_end(self, layer: Any) -> None:
        """Refuse a network that ends in a layer whose outputs this loss does not take."""

    def fuses(self, end: str, n_out: int) -> bool:
        """Whether a network that ends in this activation computes the loss on logits, without the activation.

        A last activation whose outputs are not what this loss takes is refused.
        """
        link = self.link_of(n_out)
        if link is None:
            return False
        if not self.from_logits and end != link:
            raise ValueError(
                f"loss: {self!r} expected probabilities, a last layer that ends in {link!r}, got {end!r}: "
                f"end it so, or use {type(self).__name__}(from_logits=True)"
            )
        if self.from_logits and end != "identity":
            raise ValueError(f"loss: {self!r} expected a last layer that ends in 'identity', got {end!r}")
        return not self.from_logits

    def metric_outputs(self, outputs: Array) -> Array:
        """A network's outputs as the metrics expect them: probabilities, also where it gives logits."""
        link = self.link_of(outputs.shape[1])
        if not self.from_logits or link is None:
            return outputs
        probabilities = outputs.copy()
        _core.activate(_core.ACTIVATIONS[link], 0.0, probabilities)
        return probabilities

    def taken(self, y: Any, rows: int, n_in: int, n_out: int) -> Any:
        """The targets of so many rows, where they come as several arrays, as one."""
        return y

    def metric_targets(self, y: Array) -> Array:
        """The targets as the metrics expect them."""
        return y

    def meaning(self, y: Array, n_out: int) -> Meaning:
        """What targets are to the metrics; where this loss takes several kinds, these tell."""
        n_targets = n_out if self.link else self.target_width(n_out) if self.kernel else 1 if n_out == 1 else None
        return self.domain(n_out).meaning(y, n_targets)


class MeanSquaredError(Loss):
    """l = 1/n_out sum (y_hat - y)^2.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.
    """

    kernel = "mean_squared_error"


class MeanAbsoluteError(Loss):
    """l = 1/n_out sum |y_hat - y|; where they are equal, the gradient is 0.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.
    """

    kernel = "mean_absolute_error"


class Huber(Loss):
    """l = 1/n_out sum h(y_hat - y), with h(d) = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2).

    Parameters
    ----------
    delta : float, default 1
        The error up to which the loss is quadratic; above 0.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    References
    ----------
    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.
    """

    kernel = "huber"
    numbers = ("delta",)
    _gates: ClassVar = {"delta": _validate.positive}

    def __init__(self, delta: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = delta


class LogCosh(Loss):
    """l = 1/n_out sum log cosh(y_hat - y): quadratic near 0, an absolute error far away, smooth between.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.
    """

    kernel = "log_cosh"


def _levels(q: Any, name: str) -> float | tuple[float, ...]:
    if not hasattr(q, "__iter__"):
        return _validate.number(q, name, above=0, below=1)
    levels = tuple(_validate.number(level, name, above=0, below=1) for level in _validate.items(q, name))
    if not 1 <= len(levels) <= _core.LOSS_NUMBERS:
        raise ValueError(f"{name}: expected 1 to {_core.LOSS_NUMBERS} levels, got {len(levels)}")
    return levels


class Quantile(Loss):
    """l = 1/n_out sum q max(y - y_hat, 0) + (1 - q) max(y_hat - y, 0): the pinball loss, least at the quantile q.

    Parameters
    ----------
    q : float or sequence of float, default 0.5
        The level, between 0 and 1, or several, at most 32. The network then has n_targets * len(q) outputs, those of
        one target side by side: ``y_hat.reshape(-1, n_targets, len(q))``.
    crossing : bool, default True
        False: the quantiles cannot cross. The network ends in `Ordered`, of as many outputs as there are levels, which
        rise; for several targets, in a `Concatenate` of such branches. Any other end is refused.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    References
    ----------
    Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.
    """

    kernel = "quantile"
    numbers = ("q",)
    classifies = False
    outputs = "an output for each level of each target"
    _gates: ClassVar = {"q": _levels, "crossing": _validate.flag}

    def __init__(self, q: float | Iterable[float] = 0.5, *, crossing: bool = True, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.q = _levels(q, "q")
        self.crossing = crossing

    def _check_arguments(self, given: Mapping[str, Any]) -> None:
        q = given["q"] if isinstance(given["q"], tuple) else (given["q"],)
        if not given["crossing"] and any(low >= high for low, high in pairwise(q)):
            raise ValueError(f"q: expected levels that rise, with crossing=False, got {_validate.shown(q)}")

    @property
    def ordered(self) -> int:
        """How many outputs have to rise, side by side; 0: none."""
        return len(self.q) if isinstance(self.q, tuple) and len(self.q) > 1 and not self.crossing else 0

    def check_end(self, layer: Any) -> None:
        """Refuse a network whose quantiles may cross, where they must not."""
        n = self.ordered
        if n and getattr(layer, "ordered", 0) != n:
            raise ValueError(f"loss: {self!r} expected a network that ends in Ordered(n_in, {n}), got {layer!r} there")

    def check_outputs(self, y_hat: Array) -> None:
        """Refuse quantiles that cross, where they must not."""
        falls = np.diff(y_hat.reshape(len(y_hat), -1, self.ordered or 1)) < 0
        if falls.any():
            row = int(falls.any(axis=(1, 2)).argmax())
            cure = "end the network in Ordered"
            raise ValueError(f"y_hat: expected quantiles that rise, got {y_hat[row]} in row {row}: {cure}")


def _positive_weights(value: Any, name: str) -> float | tuple[float, ...]:
    if not hasattr(value, "__iter__"):
        return _validate.positive(value, name)
    weights = tuple(_validate.positive(weight, name) for weight in _validate.items(value, name))
    if not 2 <= len(weights) < _core.LOSS_NUMBERS:
        got = len(weights)
        raise ValueError(f"{name}: expected a number, or 2 to {_core.LOSS_NUMBERS - 1}, one for each output, got {got}")
    return weights


class BinaryCrossEntropy(Loss):
    """l = -1/n_out sum y log p + (1 - y) log(1 - p), for targets between 0 and 1.

    With label_smoothing or pos_weight, l = -1/n_out sum w t log p + (1 - t) log(1 - p).

    Parameters
    ----------
    from_logits : bool, default False
        y_hat holds the logits z with p = sigmoid(z), not the probabilities p.
    label_smoothing : float, default 0
        s in t = y (1 - s) + s / 2; at least 0, below 1.
    pos_weight : float or sequence of float, default 1
        w, the weight of the positive class, above 0: rows (0) / rows (1) balances them. A sequence has one for each
        output, at most 31. Other than with a class_weight, the mean is not divided by the weights.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    Under a network that ends in a sigmoid it is computed on the logits, as max(z, 0) - z y + log(1 + e^-|z|), which
    cannot overflow; its gradient there is p - y, or (1 - t) p - w t (1 - p). On probabilities by hand, log p below the
    smallest normal number goes on as its tangent, so that value and gradient stay finite, and consistent.

    References
    ----------
    Bishop, "Pattern Recognition and Machine Learning", 2006, eq. 4.90 and 4.91. The smoothing is Keras's, pos_weight
    that of PyTorch's BCEWithLogitsLoss.
    """

    kernel = "binary_cross_entropy"
    numbers = ("_numbers",)
    link = "sigmoid"
    _gates: ClassVar = {"label_smoothing": _validate.share, "pos_weight": _positive_weights}

    def __init__(
        self,
        *,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        pos_weight: float | Iterable[float] = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.pos_weight = _positive_weights(pos_weight, "pos_weight")

    @property
    def _numbers(self) -> tuple[float, ...]:
        """What its kernel takes: nothing where it is the plain one."""
        weights = self.pos_weight if isinstance(self.pos_weight, tuple) else (self.pos_weight,)
        return () if self.label_smoothing == 0 and weights == (1.0,) else (self.label_smoothing, *weights)

    def target_width(self, n_out: int) -> int:
        """As many targets as outputs; and as many weights, if they are several."""
        if isinstance(self.pos_weight, tuple) and len(self.pos_weight) != n_out:
            got = len(self.pos_weight)
            raise ValueError(f"pos_weight: expected a number, or one for each of {n_out} outputs, got {got}")
        return super().target_width(n_out)


class CrossEntropy(Loss):
    """l = -sum q log p, with q the target distribution over the classes: one at the label, or as given.

    Parameters
    ----------
    from_logits : bool, default False
        y_hat holds the logits z with p = softmax(z), not the probabilities p.
    label_smoothing : float, default 0
        s in q (1 - s) + s / n_out; at least 0, below 1.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    Targets are integer labels (batch,), or rows that sum to one (batch, n_out). Under a network that ends in a softmax
    it is computed on the logits, as log(sum e^z) - sum q z, which cannot overflow; its gradient there is p - q.

    References
    ----------
    Bishop, "Pattern Recognition and Machine Learning", 2006, eq. 4.108 and 4.109; label smoothing: Szegedy et al.,
    "Rethinking the Inception architecture", CVPR 2016, section 7.
    """

    kernel = "cross_entropy"
    numbers = ("label_smoothing",)
    link = "softmax"
    _gates: ClassVar = {"label_smoothing": _validate.share}

    def __init__(self, *, from_logits: bool = False, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


class Focal(Loss):
    """Cross-entropy in which each term -log p fades as (1 - p)^gamma: easy samples count for less.

    With one output, or where ``multi_label`` says that each output is a binary classification, it is, of
    p = sigmoid(z), l = -1/n_out sum alpha y (1 - p)^gamma log p + (1 - alpha) (1 - y) p^gamma log(1 - p). With several
    outputs, one for each class, it is, of p = softmax(z), l = -sum q (1 - p)^gamma log p.

    Parameters
    ----------
    gamma : float, default 2
        The focusing parameter, at least 0: the larger, the less easy samples count; at 0 this is cross-entropy.
    alpha : float, optional
        The weight of targets of 1, between 0 and 1, while those of 0 weigh 1 - alpha. None: both weigh 1. Where the
        outputs are classes there is none: use class_weight.
    multi_label : bool, default False
        Each of several outputs is a binary classification, under a sigmoid; False: they are the classes.
    from_logits : bool, default False
        y_hat holds the logits z, not the probabilities p.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    Targets are those of `BinaryCrossEntropy`, or those of `CrossEntropy`. Under a network that ends in the sigmoid or
    the softmax it is computed on the logits.

    References
    ----------
    Lin et al., "Focal loss for dense object detection", ICCV 2017, eq. 4 and 5.
    """

    kernel = "focal"
    numbers = ("gamma", "_alphas", "multi_label")
    link = "softmax"
    _gates: ClassVar = {
        "gamma": _validate.not_negative, "alpha": _validate.optional(partial(_validate.number, above=0, below=1)),
        "multi_label": _validate.flag,
    }  # fmt: skip

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        *,
        multi_label: bool = False,
        from_logits: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.gamma = gamma
        self.alpha = alpha
        self.multi_label = multi_label
        self.from_logits = from_logits

    @property
    def _alphas(self) -> tuple[float, float]:
        """The weights of targets of 1 and of 0."""
        return (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)

    def link_of(self, n_out: int) -> str | None:
        """A sigmoid for each binary output, a softmax over classes."""
        return "sigmoid" if n_out == 1 or self.multi_label else "softmax"

    def targets(self, y: Any, n_out: int, dtype: Any) -> tuple[Array | None, Array | None]:
        """Probabilities of each binary output; labels or distributions over classes."""
        if self.alpha is not None and self.link_of(n_out) == "softmax":
            raise ValueError(f"alpha: expected None for the {n_out} classes, got {self.alpha}: use class_weight")
        return super().targets(y, n_out, dtype)


class Hinge(Loss):
    """l = 1/n_out sum max(0, 1 - y y_hat), for targets of -1 and 1.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    Targets of 0 and 1 are taken for -1 and 1. With several outputs each is a binary classification; a label (batch,)
    stands for 1 at its class and -1 elsewhere: one class against the rest.

    References
    ----------
    Rosasco et al., "Are loss functions all the same?", Neural Computation 16, 2004.
    """

    kernel = "hinge"
    target = targets.SIGNS
    classifies = False


class SquaredHinge(Hinge):
    """l = 1/n_out sum max(0, 1 - y y_hat)^2, for targets of -1 and 1; otherwise as `Hinge`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.
    """

    kernel = "squared_hinge"


class Poisson(Loss):
    """l = 1/n_out sum r - y log r, for counts y at a rate r: their negative log-likelihood, less log y!.

    Parameters
    ----------
    log_input : bool, default False
        y_hat holds log r, under any last layer, and not the rate r, under one that is never negative, such as "exp" or
        "softplus".
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    With log_input the loss is infinite where e^y_hat is. On rates, log r goes on as its tangent below 1e-19
    (1.5e-154 in float64), so that value and gradient stay finite, and consistent.

    References
    ----------
    As ``torch.nn.PoissonNLLLoss`` with full=False and eps=0.
    """

    kernel = "poisson"
    target = targets.COUNTS
    _gates: ClassVar = {"log_input": _validate.flag}

    def __init__(self, *, log_input: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.log_input = log_input

    def lower(self, logits: bool) -> Formula:
        """How the compiled core computes it; its logits are logarithms of rates."""
        return super().lower(self.log_input)

    def check_outputs(self, y_hat: Array) -> None:
        """Rates, none negative."""
        if not self.log_input:
            _validate.between(y_hat, 0, np.inf, "y_hat", f"{self!r} takes rates; for their logarithms, log_input=True")

    def fuses(self, end: str, n_out: int) -> bool:
        """Never; a last activation with negative outputs is refused, unless they are logarithms."""
        if not self.log_input and end not in RATES:
            raise ValueError(
                f"loss: {self!r} expected rates, a last layer that ends in one of {', '.join(RATES)}, got {end!r}: "
                "end it so, or use Poisson(log_input=True)"
            )
        return False

    def metric_outputs(self, outputs: Array) -> Array:
        """Rates."""
        with np.errstate(over="ignore"):
            return np.exp(outputs) if self.log_input else outputs


class GaussianNLL(Loss):
    """l = 1/(2 n_targets) sum s + (y - m)^2 e^-s: the negative log-likelihood of y, less log(2 pi) / 2.

    The network predicts, for each target, the mean m and the logarithm s of the variance, side by side: it has
    2 * n_targets outputs, the means ``y_hat[:, 0::2]`` and the log-variances ``y_hat[:, 1::2]``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    In e^-s, a logarithm below -1400 counts as -1400: its inverse would leave the numbers. Metrics are given all the
    outputs, not the means alone.

    References
    ----------
    Nix and Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994, eq. 3;
    ``torch.nn.GaussianNLLLoss`` with full=False, of the variance e^s.
    """

    kernel = "gaussian_nll"
    classifies = False
    outputs = "a mean and a log-variance for each target"


class KLDivergence(Loss):
    """l = sum y log(y / p): how far a distribution p over the classes is from y, the one given.

    Parameters
    ----------
    from_logits : bool, default False
        y_hat holds the logits z with p = softmax(z), not the probabilities p.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined; "mean" is PyTorch's "batchmean".

    Notes
    -----
    It is `CrossEntropy` less the entropy of y, with the same gradient, and computed likewise on the logits under a
    softmax. Targets are rows that sum to one (batch, n_out); terms where y is 0 are 0.

    References
    ----------
    Kullback and Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22, 1951.
    """

    kernel = "kl_divergence"
    target = targets.DISTRIBUTIONS
    link = "softmax"

    def __init__(self, *, from_logits: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.from_logits = from_logits


class CosineSimilarity(Loss):
    """l = 1 - cos a, with a the angle between the rows y_hat and y: 0 where they point the same way, 2 where opposite.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How the per-sample losses are combined.

    Notes
    -----
    A row whose numbers are all below the smallest normal one has no direction: there the loss is 1, its gradient 0.
    """

    kernel = "cosine_similarity"


# Of derivatives.

Term = Callable[..., tuple[Any, ...]]


def _terms(value: Any, name: str) -> tuple[Term, ...]:
    found: tuple[Any, ...] = (value,) if callable(value) else tuple(_validate.items(value, name))
    if not found or not all(map(callable, found)):
        raise TypeError(f"{name}: expected a function, or some, got {_validate.shown(value)}")
    return found


def _orders(value: Any, name: str) -> int | tuple[int, ...]:
    if hasattr(value, "__iter__"):
        return tuple(_validate.integer(one, name, 0, 2) for one in _validate.items(value, name))
    return _validate.integer(value, name, 0, 2)


def _weights(value: Any, name: str) -> tuple[float, ...]:
    return tuple(_validate.not_negative(one, name) for one in _validate.items(value, name))


class Differential(Loss):
    """A loss of the outputs and of their derivatives with respect to the inputs: what solves differential equations.

    Parameters
    ----------
    function : callable or sequence of callable
        ``function(x, u, du, d2u) -> (values, d_u, d_du, d_d2u)``: from the inputs (batch, n_in), the outputs (batch,
        n_out) and their first and second derivatives (batch, n_out, n_in), the loss of each row (batch,), such as the
        square of what an equation leaves over, and its derivatives with respect to each of these, of their shapes; None
        where it depends on none of them. Of order 1 there are no d2u and d_d2u. Several functions are terms on rows of
        their own, such as the inside and the boundary: the targets y are the number of the term, for each row.
    order : {0, 1, 2} or sequence, default 2
        Up to which derivatives; one for each term, or one for all. Of order 0 the function takes and returns none.
    weights : sequence of float, optional
        What each term counts for; default 1. The loss is the weighted sum of their means.
    allow_zero_curvature : bool, default False
        As `Sequential.derivatives` takes it.

    Notes
    -----
    Given to `Sequential.fit`, `evaluate` and `value_and_gradient`; y is of no matter where there is one function: zeros
    will do. The derivatives are those of evaluation mode, for built-in layers: no `Dropout` drops, and each `BatchNorm`
    stays at its running statistics. `LBFGS` takes it too.

    References
    ----------
    Raissi, Perdikaris, Karniadakis, "Physics-informed neural networks", Journal of Computational Physics 378, 2019.

    Examples
    --------
    >>> def oscillator(t, u, du, d2u):  # u'' + u = 0
    ...     r = d2u[:, :, 0] + u
    ...     return (r**2)[:, 0], 2 * r, None, 2 * r[:, :, None]
    >>> net = bp.Sequential([bp.Dense(1, 8, "tanh"), bp.Dense(8, 1)], rng=0)
    >>> t = np.linspace(0, 1, 20)[:, None]
    >>> history = net.fit(t, 0 * t, loss=bp.losses.Differential(oscillator), optimizer=bp.Adam(), epochs=3)
    """

    differential = True
    classifies = False
    _gates: ClassVar = {
        "function": _terms, "order": _orders,
        "weights": _validate.optional(_weights), "allow_zero_curvature": _validate.flag,
    }  # fmt: skip

    def __init__(
        self,
        function: Term | Sequence[Term],
        order: int | Sequence[int] = 2,
        *,
        weights: Sequence[float] | None = None,
        allow_zero_curvature: bool = False,
    ) -> None:
        super().__init__()
        self.function: Any = function
        self.order: Any = order
        self.weights = weights
        self.allow_zero_curvature = allow_zero_curvature
        for name, given in (("weights", self.weights), ("order", self.order)):
            if isinstance(given, tuple) and len(given) != len(self.terms):
                raise ValueError(f"{name}: expected {len(self.terms)}, one for each term, got {len(given)}")

    @property
    def terms(self) -> tuple[Term, ...]:
        """The functions."""
        found: Any = self.function
        return tuple(found)

    def __repr__(self) -> str:
        names = ", ".join(map(name_of, self.terms))
        return f"Differential({names}, order={self.order})"

    def __call__(self, y_hat: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Array]:
        """Refuse: it needs the network."""
        raise TypeError(f"loss: expected one of outputs alone, got {self!r}, which a network's fit and evaluate take")

    # What training asks of it.

    def taken(self, y: Any, rows: int, n_in: int, n_out: int) -> Any:
        """The targets as one array: the number of the term of each row."""
        given = np.asarray(_validate.array(y, "y"))
        if len(self.terms) == 1:
            return given
        _validate.same_rows(rows, y=given)
        terms = given.reshape(rows, -1)
        if terms.shape[1] != 1 or not np.isin(terms, np.arange(len(self.terms))).all():
            raise ValueError(f"y: expected for each row the number of its term, 0 to {len(self.terms) - 1}, got others")
        return terms[:, 0].astype(np.int64)

    def order_of(self, term: int) -> int:
        """Up to which derivatives a term goes."""
        order: int = self.order[term] if isinstance(self.order, tuple) else self.order
        return order


def name_of(function: Any) -> str:
    """What a function is called, for messages."""
    return str(getattr(function, "__name__", repr(function)))


class Sobolev(Differential):
    """l = 1/n_out sum (y_hat - y)^2 + weight / n_out sum (dy_hat - dy)^2: outputs and their derivatives are fitted.

    Its targets are a pair, ``net.fit(x, (y, dy), loss=bp.losses.Sobolev(), ...)``, with dy (batch, n_out, n_in), or
    (batch, n_in) where there is one output, the derivatives with respect to the inputs.

    Parameters
    ----------
    weight : float, default 1
        What the derivatives count for.

    References
    ----------
    Czarnecki et al., "Sobolev training for neural networks", NeurIPS 2017; in finance, "differential machine learning":
    Huge and Savine, arXiv:2005.02347, 2020.
    """

    _gates: ClassVar = {"weight": _validate.not_negative}

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(self._squares, 1)
        self.weight = weight

    def __repr__(self) -> str:
        return f"Sobolev({self.weight})"

    def _squares(self) -> Any:
        raise NotImplementedError

    def taken(self, y: Any, rows: int, n_in: int, n_out: int) -> Any:
        """The targets as one array: outputs, then derivatives."""
        if not isinstance(y, (tuple, list)) or len(y) != 2:
            raise TypeError(f"y: expected a pair (y, dy) with {self!r}, got {_validate.shown(y)}")
        found = []
        for part, name, width in zip(y, ("y", "dy"), (n_out, n_out * n_in), strict=True):
            given = _validate.real(_validate.array(part, name), name, np.float64)
            if given.size != rows * width or len(given) != rows:
                shape = (rows, n_out) if name == "y" else (rows, n_out, n_in)
                raise ValueError(f"{name}: expected an array of shape {shape}, got {given.shape}")
            found.append(given.reshape(rows, width))
        return np.concatenate(found, axis=1)

    def meaning(self, y: Array, n_out: int) -> Meaning:
        """None that metrics or weights of classes know."""
        raise ValueError(
            f"metrics: expected none with {self!r}, of which targets are derivatives too, and no class_weight: measure "
            "net.predict(x) by backprop.metrics"
        )


_TABLE: dict[str, type[Loss]] = {
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "huber": Huber,
    "log_cosh": LogCosh,
    "quantile": Quantile,
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "poisson": Poisson,
    "gaussian_nll": GaussianNLL,
    "kl_divergence": KLDivergence,
    "cosine_similarity": CosineSimilarity,
}


class _Function(Loss):
    """Any callable ``(y_hat, y, sample_weight) -> (value, dy)``; its reduction is the mean, if it does not say."""

    def __init__(self, function: Callable[..., tuple[Any, Any]]) -> None:
        super().__init__(reduction=getattr(function, "reduction", "mean"))
        self.function = function

    def __call__(self, *data: Any) -> tuple[Any, Any]:
        """What it returns."""
        return self.function(*data)

    def __repr__(self) -> str:
        return repr(self.function)


def get(loss: Any) -> Loss:
    """The loss that a name, a `Loss` or any other callable stands for."""
    if isinstance(loss, type):
        name = loss.__name__
        raise TypeError(f"loss: expected a name or an object, got the class {name}: call it, {name}()")
    bound = getattr(loss, "__self__", None)
    if isinstance(bound, Loss) and loss == bound.__call__:
        loss = bound
    if isinstance(loss, Loss):
        if not loss.kernel and not loss._custom:
            raise TypeError(f"loss: expected a loss with a formula, got {loss!r}, which is abstract: use a subclass")
        return loss
    if callable(loss):
        function: Callable[..., Any] = loss
        return _Function(function)
    return _TABLE[_validate.choice(loss, "loss", _TABLE)]()
