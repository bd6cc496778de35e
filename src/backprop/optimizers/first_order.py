"""Optimizers that make a step of one gradient."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Unpack

import numpy as np

from .. import _validate
from .._validate import Array
from .base import Common, Decay, Optimizer, Rate, decay, within

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "RAdam", "RMSprop", "Rprop"]


class SGD(Optimizer):
    """Stochastic gradient descent: m = momentum m + g; p -= learning_rate m.

    Parameters
    ----------
    learning_rate : float or callable
        Step size.
    momentum : float, default 0
        Decay rate of the velocity m; at least 0, below 1.
    nesterov : bool, default False
        Nesterov momentum: step by g + momentum m instead of m.
    weight_decay : float or Schedule, default 0
        Coupled weight decay: this times p is added to g.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013; as PyTorch does,
    the learning rate multiplies the momentum too, and the gradient is taken at the present parameters.
    """

    kernel = "sgd"
    numbers = ("momentum", "nesterov")

    _gates: ClassVar = {"momentum": _validate.share, "nesterov": _validate.flag, "weight_decay": decay}

    def __init__(
        self,
        learning_rate: Rate,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self._check_together()

    def _check_together(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: expected a momentum above 0 with it, got 0")

    def slots(self) -> tuple[str, ...]:
        """The velocity, where there is momentum."""
        return ("momentum",) if self.momentum else ()


class RMSprop(Optimizer):
    """The gradient over its root mean square: p -= learning_rate g / (sqrt(v) + epsilon).

    v is a moving average of g^2, alpha v + (1 - alpha) g^2.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-2
        Step size.
    alpha : float, default 0.99
        Decay rate of the moving average; at least 0, below 1.
    epsilon : float, default 1e-8
        Keeps the denominator from zero; above 0.
    momentum : float, default 0
        Above 0: m = momentum m + g / (sqrt(v) + epsilon) and p -= learning_rate m. At least 0, below 1.
    centered : bool, default False
        Divide by the standard deviation: the root of v less the square of a moving average of g.
    weight_decay : float or Schedule, default 0
        Coupled weight decay: this times p is added to g.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5, RMSProp", Coursera, 2012; centered: Graves, "Generating sequences with recurrent
    neural networks", 2013, eq. 38 to 41. Where rounding makes the variance negative it is 0 here, and NaN in PyTorch.
    """

    kernel = "rmsprop"
    numbers = ("alpha", "epsilon", "momentum", "centered")

    _gates: ClassVar = {
        "alpha": _validate.share, "epsilon": _validate.positive, "momentum": _validate.share,
        "centered": _validate.flag, "weight_decay": decay,
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        *,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.alpha = alpha
        self.epsilon = epsilon
        self.momentum = momentum
        self.centered = centered
        self.weight_decay = weight_decay

    def slots(self) -> tuple[str, ...]:
        """The moving average of squares; with momentum its velocity, centered the moving average of the gradient."""
        return "square", *(("momentum",) if self.momentum else ()), *(("mean",) if self.centered else ())


class Adagrad(Optimizer):
    """Adaptive gradients: v += g^2; p -= learning_rate g / (sqrt(v) + epsilon).

    Parameters
    ----------
    learning_rate : float or callable, default 1e-2
        Step size. PyTorch's lr_decay is a schedule: ``lambda t: learning_rate / (1 + lr_decay * t)``.
    epsilon : float, default 1e-10
        Keeps the denominator from zero; above 0.
    initial_sum : float, default 0
        Initial value of v (initial_accumulator_value in PyTorch); at least 0.
    weight_decay : float or Schedule, default 0
        Coupled weight decay: this times p is added to g.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 12, 2011.
    """

    kernel = "adagrad"
    numbers = ("epsilon",)

    _gates: ClassVar = {
        "epsilon": _validate.positive, "initial_sum": _validate.not_negative, "weight_decay": decay,
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        epsilon: float = 1e-10,
        *,
        initial_sum: float = 0.0,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.epsilon = epsilon
        self.initial_sum = initial_sum
        self.weight_decay = weight_decay

    def slots(self) -> tuple[str, ...]:
        """The sum of squared gradients."""
        return ("sum",)

    def _initial(self, name: str, net: Any) -> Array:
        return _full(net.parameters, self.initial_sum) if name == "sum" else super()._initial(name, net)


class Adadelta(Optimizer):
    """Steps in the units of the parameters: d = g sqrt(u + epsilon) / sqrt(v + epsilon); p -= learning_rate d.

    v and u are moving averages of g^2 and d^2, rho v + (1 - rho) g^2, the latter of the steps before.

    Parameters
    ----------
    learning_rate : float or callable, default 1.0
        Step size; the paper has none.
    rho : float, default 0.9
        Decay rate of the moving averages; at least 0, below 1.
    epsilon : float, default 1e-6
        Lets the steps begin, and keeps the denominator from zero; above 0.
    weight_decay : float or Schedule, default 0
        Coupled weight decay: this times p is added to g.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.
    """

    kernel = "adadelta"
    numbers = ("rho", "epsilon")

    _gates: ClassVar = {"rho": _validate.share, "epsilon": _validate.positive, "weight_decay": decay}

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        *,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def slots(self) -> tuple[str, ...]:
        """The moving averages of squared gradients and of squared steps."""
        return "square", "step"


class _Moments(Optimizer):
    """What Adam and its variants share: the estimates of two moments, and their hyperparameters."""

    numbers: ClassVar[tuple[str, ...]] = ("beta1", "beta2", "epsilon")

    _gates: ClassVar = {
        "beta1": _validate.share, "beta2": _validate.share, "epsilon": _validate.positive,
        "weight_decay": decay,
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: Decay,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def slots(self) -> tuple[str, ...]:
        """The first and the second moment: moving averages of the gradient and of its square."""
        return "mean", "square"


class Adam(_Moments):
    """Adaptive moments: p -= learning_rate m' / (sqrt(v') + epsilon).

    m and v, the estimates of the first and second moment, are moving averages of g and g^2 with decay rates beta1 and
    beta2; m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) correct their bias towards zero at step t.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-3
        Step size.
    beta1, beta2 : float, default 0.9, 0.999
        Decay rates of the moment estimates; at least 0, below 1.
    epsilon : float, default 1e-8
        Keeps the denominator from zero; above 0.
    amsgrad : bool, default False
        Divide by the root of the largest v so far.
    weight_decay : float or Schedule, default 0
        Coupled weight decay: this times p is added to g. See `AdamW`.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; amsgrad: Reddi, Kale, Kumar,
    "On the convergence of Adam and beyond", ICLR 2018, algorithm 2, with bias correction as in PyTorch.
    """

    kernel = "adam"
    numbers = ("beta1", "beta2", "epsilon", "amsgrad")

    _gates: ClassVar = {"amsgrad": _validate.flag}

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        amsgrad: bool = False,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, **common)
        self.amsgrad = amsgrad

    def slots(self) -> tuple[str, ...]:
        """The moments; with amsgrad, the largest second one."""
        return (*super().slots(), "largest") if self.amsgrad else super().slots()


class AdamW(Adam):
    """Adam with decoupled weight decay: before its step, p -= learning_rate weight_decay p.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon, amsgrad
        As `Adam` takes them.
    weight_decay : float or Schedule, default 1e-2
        Decoupled weight decay: see the formula. At least 0.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2; as in PyTorch, its schedule
    multiplier is part of the learning rate, which multiplies the decay too.
    """

    kernel = "adamw"

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        amsgrad: bool = False,
        weight_decay: Decay = 1e-2,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            learning_rate, beta1, beta2, epsilon, amsgrad=amsgrad, weight_decay=weight_decay, **common
        )  # fmt: skip


class NAdam(_Moments):
    """Adam with Nesterov's momentum: p -= learning_rate (a g + b m) / (sqrt(v') + epsilon).

    The momentum warms up, mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), and stands for beta1 in the bias correction:
    a = (1 - mu_t) / (1 - mu_1 ... mu_t), b = mu_t+1 / (1 - mu_1 ... mu_t+1).

    Parameters
    ----------
    learning_rate : float or callable, default 2e-3
        Step size.
    beta1, beta2, epsilon
        As `Adam` takes them.
    momentum_decay : float, default 4e-3
        How fast the momentum warms up; at least 0.
    weight_decay : float or Schedule, default 0
        Coupled weight decay: this times p is added to g.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop, algorithm 2.
    """

    kernel = "nadam"
    numbers = ("beta1", "beta2", "epsilon", "momentum_decay")

    _gates: ClassVar = {"momentum_decay": _validate.not_negative}

    def __init__(
        self,
        learning_rate: Rate = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        momentum_decay: float = 4e-3,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, **common)
        self.momentum_decay = momentum_decay


class RAdam(_Moments):
    """Rectified Adam: p -= learning_rate r m' / (sqrt(v') + epsilon'), or learning_rate m' at first, to warm up.

    With R = 2 / (1 - beta2) - 1 and s = R - 2 t beta2^t / (1 - beta2^t), the length of the moving average v, the first
    holds where s > 5, with the rectification r = sqrt((s - 4) (s - 2) R / ((R - 4) (R - 2) s)); as in PyTorch, epsilon
    is added to the root of v before its bias correction.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-3
        Step size.
    beta1, beta2, epsilon
        As `Adam` takes them.
    weight_decay : float or Schedule, default 0
        Coupled weight decay: this times p is added to g.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020, algorithm 2.
    """

    kernel = "radam"

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, **common)


class Lion(Optimizer):
    """Sign momentum: p -= learning_rate (sign(beta1 m + (1 - beta1) g) + weight_decay p).

    Then m = beta2 m + (1 - beta2) g.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-4
        Step size of each parameter; a third to a tenth of Adam's.
    beta1, beta2 : float, default 0.9, 0.99
        Decay rates of m, in the step and of m itself; at least 0, below 1.
    weight_decay : float or Schedule, default 0
        Decoupled weight decay: see the formula. At least 0.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2. PyTorch has none.
    """

    kernel = "lion"
    numbers = ("beta1", "beta2")

    _gates: ClassVar = {"beta1": _validate.share, "beta2": _validate.share, "weight_decay": decay}

    def __init__(
        self,
        learning_rate: Rate = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        *,
        weight_decay: Decay = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta1 = beta1
        self.beta2 = beta2
        self.weight_decay = weight_decay

    def slots(self) -> tuple[str, ...]:
        """The moving average of the gradient."""
        return ("mean",)


class Rprop(Optimizer):
    """Resilient backpropagation: p -= sign(g) step, with a step size for each parameter. For full batches.

    A step size grows by eta_plus as long as g keeps its sign. Where that has changed, it shrinks by eta_minus, the
    parameter stays, and g counts as 0 in the next step.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-2
        Initial step size; of a schedule, its first value. Factors of ``groups`` multiply it.
    eta_minus, eta_plus : float, default 0.5, 1.2
        Factors of the step sizes: between 0 and 1, and above 1.
    step_min, step_max : float, default 1e-6, 50
        Bounds of the step sizes; above 0.
    **common
        clip_value, clip_norm, average, groups: see `Optimizer`.

    References
    ----------
    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN
    1993; as in PyTorch, without weight backtracking (iRprop-: Igel and Huesken, 2003).
    """

    kernel = "rprop"
    numbers = ("eta_minus", "eta_plus", "step_min", "step_max")
    follows_learning_rate = stochastic = False

    _gates: ClassVar = {
        "eta_minus": within, "eta_plus": partial(_validate.number, above=1), "step_min": _validate.positive,
        "step_max": _validate.positive,
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        eta_minus: float = 0.5,
        eta_plus: float = 1.2,
        *,
        step_min: float = 1e-6,
        step_max: float = 50.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.eta_minus = eta_minus
        self.eta_plus = eta_plus
        self.step_min = step_min
        self.step_max = step_max
        self._check_together()

    def _check_together(self) -> None:
        if self.step_min > self.step_max:
            raise ValueError(f"step_max: expected at least step_min, {self.step_min}, got {self.step_max}")

    def slots(self) -> tuple[str, ...]:
        """The last gradient, and the step sizes."""
        return "gradient", "step"

    def _initial(self, name: str, net: Any) -> Array:
        if name != "step":
            return super()._initial(name, net)
        sizes = _full(net.parameters, self.rates(1)[0])
        for tensor, (begin, end) in net._tensors().items() if self.groups else ():
            sizes[begin:end] = _full(sizes[begin:end], self.rates(1)[0] * self.factors(tensor).learning_rate)
        return sizes


def _full(like: Array, value: float) -> Array:
    """A vector of one number, or of the largest that its type has."""
    return np.full_like(like, min(value, np.finfo(like.dtype).max))
