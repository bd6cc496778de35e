"""Optimizers: how a gradient becomes a step. Definitions and defaults are PyTorch's.

An optimizer carries its state, and belongs to the first network that it steps: passed again, it goes on where it was.

In the formulas g is the gradient, p the parameters, t the number of the step, from 1; sums and quotients are meant
number by number.
"""

from __future__ import annotations

import functools
import inspect
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol, TypedDict, Unpack

import numpy as np

from . import _core, _validate, _words, linesearch
from .errors import DivergedError

__all__ = [
    "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop",
]  # fmt: skip

Array = _validate.Array
Rate = float | Callable[[int], float]


class _Network(Protocol):
    @property
    def parameters(self) -> Array: ...

    @property
    def gradients(self) -> Array: ...

    @property
    def trainable_ranges(self) -> tuple[tuple[int, int], ...]: ...


class Common(TypedDict, total=False):
    """What every optimizer takes by name; see `Optimizer`."""

    clip_value: float | None
    clip_norm: float | None
    average: float | None


class Optimizer(_words.Helped, family="Optimizer"):
    """What all optimizers have.

    One of one's own subclasses this, or one of the others, and brings ``step(net)``, which changes ``net.parameters``
    by ``net.gradients``. In a `Sequential.fit` it is called after each batch; its vectors belong into ``state``, where
    checkpoints find them.

    Parameters
    ----------
    learning_rate : float or callable
        A number, at least 0; a schedule from `backprop.schedules`; or any function of the number of steps made (0
        before the first) that returns one.
    clip_value : float or None, default None
        No number of the gradient counts for more than this, up or down.
    clip_norm : float or None, default None
        Where the Euclidean norm of the gradient of all trainable parameters is larger, the gradient is scaled down to
        it: exactly, without the 1e-6 that PyTorch adds to the norm. It comes before clip_value, if there are both, and
        before weight decay. ``net.gradients`` stays as it was.
    average : float or None, default None
        Above 0, below 1: keep the exponential moving average of the parameters, average a + (1 - average) p after
        each step, beginning with those after the first. See `averaged`.

    Attributes
    ----------
    state : dict of str to numpy.ndarray
        Flat vectors, one number for each parameter; empty before the first step.
    steps : int
        How many steps it has made. Together with the state, that is all it remembers.
    """

    #: Its name in the compiled core, and the attributes that its kernel takes, in order.
    kernel: ClassVar[str] = ""
    numbers: ClassVar[tuple[str, ...]] = ()
    weight_decay: float = 0.0
    #: Whether each step is the longer, the larger the learning rate is: what is worth turning while it trains.
    adjustable: ClassVar[bool] = True
    #: Whether it can go by some rows at a time; else it is for whole sets of data.
    stochastic: ClassVar[bool] = True
    # Of a subclass whose constructor does not call this one.
    learning_rate: Rate = 1.0
    clip_value: float | None = None
    clip_norm: float | None = None
    average: float | None = None
    steps: int = 0
    _owner: weakref.ref[Array] | None = None

    def __init__(
        self,
        learning_rate: Rate,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        average: float | None = None,
    ) -> None:
        if not callable(learning_rate):
            learning_rate = _validate.number(learning_rate, "learning_rate", least=0)
        self.learning_rate = learning_rate
        self.clip_value = None if clip_value is None else _validate.number(clip_value, "clip_value", above=0)
        self.clip_norm = None if clip_norm is None else _validate.number(clip_norm, "clip_norm", above=0)
        self.average = None if average is None else _validate.number(average, "average", above=0, below=1)
        self.state: dict[str, Array] = {}
        self.steps = 0
        self._owner = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        """A step of a subclass's own is counted, if it does not do so itself."""
        super().__init_subclass__(**arguments)
        own: Any = vars(cls).get("step")
        if own is not None:

            @functools.wraps(own)
            def step(self: Optimizer, *given: Any, **more: Any) -> Any:
                made = self.steps
                returned = own(self, *given, **more)
                self.steps += self.steps == made
                return returned

            cls.step = step  # type: ignore[method-assign]

    def step(self, net: _Network) -> None:
        """Change the trainable parameters of a network by its gradients.

        Parameters
        ----------
        net : Sequential
            After ``net.backward(...)``.

        Raises
        ------
        DivergedError
            If a parameter would become infinite or NaN; those that would keep their last value.
        """
        state = self.bind(net)
        rate = self.rates(1)[0]
        if not _core.apply_update(
            self.lower(), rate, self.steps + 1, net.parameters, net.gradients, state, net.trainable_ranges
        ):
            raise DivergedError(
                f"step {self.steps + 1} would have made a parameter infinite or NaN: lower the learning rate, "
                f"{rate:g} now", epoch=0, batch=self.steps,
            )  # fmt: skip
        self.steps += 1

    @contextmanager
    def averaged(self, net: _Network) -> Iterator[None]:
        """Give a network the averaged parameters, as long as the block of ``with optimizer.averaged(net):`` lasts.

        Parameters
        ----------
        net : Sequential
            Afterwards it has its own parameters again, to the last bit, whatever was written into them meanwhile. To
            keep the averaged ones, ``net.parameters = optimizer.state["average"]``.

        Raises
        ------
        ValueError
            If the optimizer keeps no average, or has made no step.
        """
        if "average" not in self.state:
            raise ValueError(f"averaged: expected an optimizer with average=0.999, say, after a step, got {self!r}")
        self.bind(net)
        own = net.parameters.copy()
        net.parameters[...] = self.state["average"]
        try:
            yield
        finally:
            net.parameters[...] = own

    def config(self) -> dict[str, Any]:
        """The class and the arguments that build this optimizer again, as JSON can hold them; not its state.

        Returns
        -------
        dict
            A schedule stands there by what its own ``config()`` returns.

        Raises
        ------
        TypeError
            If the learning rate is a function, which cannot be written down.
        """
        names = _arguments(type(self))
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise TypeError(
                f"config: expected arguments kept as attributes of their names, got {self!r} without {missing}"
            )
        arguments = {name: getattr(self, name) for name in names}
        if callable(self.learning_rate):
            written = getattr(self.learning_rate, "config", None)
            if written is None:
                got = _validate.shown(self.learning_rate)
                raise TypeError(f"learning_rate: expected a number or a schedule that has a config(), got {got}")
            arguments["learning_rate"] = written()
        return {"name": type(self).__name__, **arguments}

    # What training asks of an optimizer.

    @property
    def compiled(self) -> bool:
        """Whether the compiled core makes its steps; one with a `step` of its own is called for each."""
        return getattr(self.step, "__func__", None) is Optimizer.step

    def ready(self, net: _Network) -> None:
        """Refuse what cannot train this network; else have the state vectors that it needs."""
        if self.compiled:
            self.lower()
        elif not self.kernel:
            for name in "clip_value", "clip_norm", "average":
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name}: expected None, which is all that {self!r} knows, got {getattr(self, name)}"
                    )
        self.rates(1)
        self.bind(net)

    def slots(self) -> tuple[str, ...]:
        """The names of the state vectors, in the kernel's order."""
        return ()

    def bind(self, net: _Network) -> tuple[Array, ...]:
        """The state vectors for this network, made if this is its first step; refuse the network of another."""
        if not hasattr(net, "parameters"):
            raise TypeError(f"net: expected a network, got {_validate.shown(net)}")
        owner = self._owner() if self._owner is not None else None
        self.state = vars(self).get("state", {})
        fits = all(s.shape == net.parameters.shape and s.dtype == net.parameters.dtype for s in self.state.values())
        if (self._owner is not None and owner is not net.parameters) or not fits:
            got = f"{self!r}, which is bound to the parameters of another"
            raise ValueError(f"optimizer: expected one for this network, got {got}: make one for each network")
        if owner is None:
            self._owner = weakref.ref(net.parameters)
        names = (*self.slots(), "average") if self.average else self.slots()
        for name in names:
            if name not in self.state:
                self.state[name] = self._initial(name, net.parameters)
        return tuple(self.state[name] for name in names)

    def _initial(self, name: str, parameters: Array) -> Array:
        return parameters.copy() if name == "average" else np.zeros_like(parameters)

    def rates(self, count: int) -> Array:
        """The learning rates of the next steps: one if it is a number, else one for each."""
        rate, steps = self.learning_rate, range(self.steps, self.steps + count)
        if not callable(rate):
            return np.array([_validate.number(rate, "learning_rate", least=0)])
        schedule: Any = rate
        if not hasattr(schedule, "rates"):  # a function of one's own; schedules know many at once
            return np.array([_validate.number(rate(step), "learning_rate", least=0) for step in steps])
        rates: Array = schedule.rates(np.arange(steps.start, steps.stop))
        wrong = ~(np.isfinite(rates) & (rates >= 0))
        if wrong.any():
            _validate.number(rates[wrong][0], "learning_rate", least=0)
        return rates

    def lower(self) -> tuple[int, tuple[float, ...], float, float, float, float]:
        """How the compiled core calls this optimizer: its code and numbers, and what all have, 0 for none of it."""
        if not self.kernel:
            raise TypeError(f"optimizer: expected one with a formula, such as Adam(1e-3), got {self!r}")
        numbers = tuple([float(getattr(self, name)) for name in self.numbers])
        return (
            _core.OPTIMIZERS[self.kernel], numbers, self.weight_decay,
            self.clip_value or 0.0, self.clip_norm or 0.0, self.average or 0.0,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_owner": None}

    def __repr__(self) -> str:
        words = [f"{self.learning_rate}"]
        for name, default in _arguments(type(self)).items():
            value = getattr(self, name, default)  # a subclass may keep it under another name
            if name != "learning_rate" and value is not default and value != default:
                words.append(f"{name}={value}")
        return f"{type(self).__name__}({', '.join(words)})"


def _arguments(kind: type[Optimizer]) -> dict[str, Any]:
    """The arguments of a constructor and their defaults: its own, then those that all have."""
    own = dict(inspect.signature(kind).parameters)
    starred = [name for name, parameter in own.items() if parameter.kind is parameter.VAR_KEYWORD]
    common = dict(inspect.signature(Optimizer).parameters) if starred else {}
    named = {
        name: own[name]
        for name in own
        if name not in starred and own[name].kind is not inspect.Parameter.VAR_POSITIONAL
    }
    return {name: parameter.default for name, parameter in (named | common).items()}


def from_config(config: dict[str, Any], schedule: Callable[[dict[str, Any]], Any] | None = None) -> Optimizer:
    """Build an optimizer, without a state, from what `Optimizer.config` returned.

    Parameters
    ----------
    config : dict
        It names one of the classes of this module.
    schedule : callable, optional
        What builds a schedule from its ``config()``, where the learning rate is one.

    Returns
    -------
    Optimizer
        Give it its ``state`` and ``steps``, and it goes on as the other would.
    """
    arguments = dict(config)
    kind = globals()[_validate.choice(arguments.pop("name", None), "name", [n for n in __all__ if n != "Optimizer"])]
    if isinstance(arguments.get("learning_rate"), dict) and schedule is not None:
        arguments["learning_rate"] = schedule(arguments["learning_rate"])
    made: Optimizer = kind(**arguments)
    return made


def get(optimizer: Any) -> Optimizer:
    """The optimizer that a name stands for, new, with its defaults; an `Optimizer` stands for itself.

    Parameters
    ----------
    optimizer : str or Optimizer
        The name of a class of this module in lower case: "adam". "sgd", which has no default, has the learning rate
        0.01.

    Returns
    -------
    Optimizer
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    kinds = {name.lower(): globals()[name] for name in __all__ if name != "Optimizer"}
    if isinstance(optimizer, str):
        kind = kinds[_validate.choice(optimizer, "optimizer", kinds)]
        made: Optimizer = kind(1e-2) if kind is SGD else kind()
        return made
    cure = f": call it, {optimizer.__name__}(...)" if isinstance(optimizer, type) else ""
    got = _validate.shown(optimizer)
    raise TypeError(f'optimizer: expected an object such as Adam(1e-3), or a name such as "adam", got {got}{cure}')


class SGD(Optimizer):
    """Stochastic gradient descent: m = momentum m + g; p -= learning_rate m.

    Parameters
    ----------
    learning_rate : float or callable
        How far to go.
    momentum : float, default 0
        How much of the last step is kept; at least 0, below 1.
    nesterov : bool, default False
        Step by g + momentum m instead of m: the gradient as seen from where the momentum leads.
    weight_decay : float, default 0
        This times p is added to g.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013; as PyTorch does,
    the learning rate multiplies the momentum too, and the gradient is taken at the present parameters.
    """

    kernel = "sgd"
    numbers = ("momentum", "nesterov")

    def __init__(
        self,
        learning_rate: Rate,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum = _validate.number(momentum, "momentum", least=0, below=1)
        self.nesterov = _validate.flag(nesterov, "nesterov")
        self.weight_decay = _validate.number(weight_decay, "weight_decay", least=0)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: expected a momentum above 0 with it, got 0")

    def slots(self) -> tuple[str, ...]:
        """The momentum, where there is one."""
        return ("momentum",) if self.momentum else ()


class RMSprop(Optimizer):
    """Steps of a like size for all parameters: p -= learning_rate g / (sqrt(v) + epsilon).

    v is a running mean of g^2, alpha v + (1 - alpha) g^2.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-2
        How far to go.
    alpha : float, default 0.99
        How much of the mean is kept; at least 0, below 1.
    epsilon : float, default 1e-8
        Keeps the denominator from zero; above 0.
    momentum : float, default 0
        With it, m = momentum m + g / (sqrt(v) + epsilon) and p -= learning_rate m; at least 0, below 1.
    centered : bool, default False
        Divide by the square root of the variance, v less the square of a running mean of g.
    weight_decay : float, default 0
        This times p is added to g.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5, RMSProp", Coursera, 2012; centered: Graves, "Generating sequences with recurrent
    neural networks", 2013, eq. 38 to 41. Where rounding makes the variance negative it is 0 here, and NaN in PyTorch.
    """

    kernel = "rmsprop"
    numbers = ("alpha", "epsilon", "momentum", "centered")

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        *,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.alpha = _validate.number(alpha, "alpha", least=0, below=1)
        self.epsilon = _validate.number(epsilon, "epsilon", above=0)
        self.momentum = _validate.number(momentum, "momentum", least=0, below=1)
        self.centered = _validate.flag(centered, "centered")
        self.weight_decay = _validate.number(weight_decay, "weight_decay", least=0)

    def slots(self) -> tuple[str, ...]:
        """The mean square; the momentum and the mean, where there are such."""
        return "square", *(("momentum",) if self.momentum else ()), *(("mean",) if self.centered else ())


class Adagrad(Optimizer):
    """Ever shorter steps, where the gradient was large: v += g^2; p -= learning_rate g / (sqrt(v) + epsilon).

    Parameters
    ----------
    learning_rate : float or callable, default 1e-2
        How far to go. PyTorch's lr_decay is a schedule: ``lambda t: learning_rate / (1 + lr_decay * t)``.
    epsilon : float, default 1e-10
        Keeps the denominator from zero; above 0.
    initial_sum : float, default 0
        Where v begins (initial_accumulator_value in PyTorch); at least 0.
    weight_decay : float, default 0
        This times p is added to g.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 12, 2011.
    """

    kernel = "adagrad"
    numbers = ("epsilon",)

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        epsilon: float = 1e-10,
        *,
        initial_sum: float = 0.0,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.epsilon = _validate.number(epsilon, "epsilon", above=0)
        self.initial_sum = _validate.number(initial_sum, "initial_sum", least=0)
        self.weight_decay = _validate.number(weight_decay, "weight_decay", least=0)

    def slots(self) -> tuple[str, ...]:
        """The sum of the squares."""
        return ("sum",)

    def _initial(self, name: str, parameters: Array) -> Array:
        return _full(parameters, self.initial_sum) if name == "sum" else super()._initial(name, parameters)


class Adadelta(Optimizer):
    """Steps in the unit of the parameters: d = g sqrt(u + epsilon) / sqrt(v + epsilon); p -= learning_rate d.

    v and u are running means of g^2 and d^2, rho v + (1 - rho) g^2, the latter of the steps before.

    Parameters
    ----------
    learning_rate : float or callable, default 1.0
        How far to go; the paper has no such number.
    rho : float, default 0.9
        How much of the means is kept; at least 0, below 1.
    epsilon : float, default 1e-6
        Lets the steps begin, and keeps the denominator from zero; above 0.
    weight_decay : float, default 0
        This times p is added to g.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.
    """

    kernel = "adadelta"
    numbers = ("rho", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        *,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = _validate.number(rho, "rho", least=0, below=1)
        self.epsilon = _validate.number(epsilon, "epsilon", above=0)
        self.weight_decay = _validate.number(weight_decay, "weight_decay", least=0)

    def slots(self) -> tuple[str, ...]:
        """The mean squares of gradients and of steps."""
        return "square", "step"


class _Moments(Optimizer):
    """What Adam and its kin share: two running means, and their constants."""

    numbers: ClassVar[tuple[str, ...]] = ("beta1", "beta2", "epsilon")

    def __init__(
        self,
        learning_rate: Rate,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta1 = _validate.number(beta1, "beta1", least=0, below=1)
        self.beta2 = _validate.number(beta2, "beta2", least=0, below=1)
        self.epsilon = _validate.number(epsilon, "epsilon", above=0)
        self.weight_decay = _validate.number(weight_decay, "weight_decay", least=0)

    def slots(self) -> tuple[str, ...]:
        """The running means of the gradient and of its square."""
        return "mean", "square"


class Adam(_Moments):
    """Adaptive moments: p -= learning_rate m' / (sqrt(v') + epsilon).

    m and v are running means of g and g^2 with weights beta1 and beta2; m' = m / (1 - beta1^t) and
    v' = v / (1 - beta2^t) take out their bias towards zero at step t.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-3
        How far to go.
    beta1, beta2 : float, default 0.9, 0.999
        How much of the means is kept; at least 0, below 1.
    epsilon : float, default 1e-8
        Keeps the denominator from zero; above 0.
    amsgrad : bool, default False
        Divide by the root of the largest v so far.
    weight_decay : float, default 0
        This times p is added to g. See `AdamW`.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; amsgrad: Reddi, Kale, Kumar,
    "On the convergence of Adam and beyond", ICLR 2018, algorithm 2, with the bias taken out as PyTorch does.
    """

    kernel = "adam"
    numbers = ("beta1", "beta2", "epsilon", "amsgrad")

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        amsgrad: bool = False,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, **common)
        self.amsgrad = _validate.flag(amsgrad, "amsgrad")

    def slots(self) -> tuple[str, ...]:
        """The running means; with amsgrad, the largest square."""
        return (*super().slots(), "largest") if self.amsgrad else super().slots()


class AdamW(Adam):
    """Adam with decoupled weight decay: before its step, p -= learning_rate weight_decay p.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon, amsgrad
        As `Adam` takes them.
    weight_decay : float, default 1e-2
        What share of p is taken, times the learning rate; at least 0.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

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
        weight_decay: float = 1e-2,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            learning_rate, beta1, beta2, epsilon, amsgrad=amsgrad, weight_decay=weight_decay, **common
        )  # fmt: skip


class NAdam(_Moments):
    """Adam with Nesterov's momentum: p -= learning_rate (a g + b m) / (sqrt(v') + epsilon).

    The momentum warms up, mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), and stands for beta1 where the bias is taken
    out: a = (1 - mu_t) / (1 - mu_1 ... mu_t), b = mu_t+1 / (1 - mu_1 ... mu_t+1).

    Parameters
    ----------
    learning_rate : float or callable, default 2e-3
        How far to go.
    beta1, beta2, epsilon
        As `Adam` takes them.
    momentum_decay : float, default 4e-3
        How soon the momentum has warmed up; at least 0.
    weight_decay : float, default 0
        This times p is added to g.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop, algorithm 2.
    """

    kernel = "nadam"
    numbers = ("beta1", "beta2", "epsilon", "momentum_decay")

    def __init__(
        self,
        learning_rate: Rate = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, **common)
        self.momentum_decay = _validate.number(momentum_decay, "momentum_decay", least=0)


class RAdam(_Moments):
    """Adam that warms up by itself: p -= learning_rate r m' / (sqrt(v') + epsilon'), or learning_rate m' at first.

    With R = 2 / (1 - beta2) - 1 and s = R - 2 t beta2^t / (1 - beta2^t), the length of the mean that v is, the first
    holds where s > 5, with r = sqrt((s - 4) (s - 2) R / ((R - 4) (R - 2) s)); as in PyTorch, epsilon is added to the
    root of v before its bias is taken out.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-3
        How far to go.
    beta1, beta2, epsilon
        As `Adam` takes them.
    weight_decay : float, default 0
        This times p is added to g.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

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
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, **common)


class Lion(Optimizer):
    """Steps of one size, by sign: p -= learning_rate (sign(beta1 m + (1 - beta1) g) + weight_decay p).

    Then m = beta2 m + (1 - beta2) g.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-4
        How far each parameter goes; a third to a tenth of what Adam takes.
    beta1, beta2 : float, default 0.9, 0.99
        How much of m counts in the step, and is kept; at least 0, below 1.
    weight_decay : float, default 0
        Decoupled: see the formula. At least 0.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2. PyTorch has none.
    """

    kernel = "lion"
    numbers = ("beta1", "beta2")

    def __init__(
        self,
        learning_rate: Rate = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        *,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta1 = _validate.number(beta1, "beta1", least=0, below=1)
        self.beta2 = _validate.number(beta2, "beta2", least=0, below=1)
        self.weight_decay = _validate.number(weight_decay, "weight_decay", least=0)

    def slots(self) -> tuple[str, ...]:
        """The running mean of the gradient."""
        return ("mean",)


class Rprop(Optimizer):
    """Each parameter a step of its own, by the sign of its gradient alone: p -= sign(g) step. For whole sets of data.

    The step grows by eta_plus as long as g keeps its sign. Where that has changed, the step shrinks by eta_minus, the
    parameter waits, and g counts as 0 in what comes next.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-2
        The first step; of a schedule, its first number.
    eta_minus, eta_plus : float, default 0.5, 1.2
        Between 0 and 1, and above 1.
    step_min, step_max : float, default 1e-6, 50
        Between these a step stays; above 0.
    **common
        clip_value, clip_norm, average: see `Optimizer`.

    References
    ----------
    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN
    1993; as in PyTorch, a step that was too far is not taken back (iRprop-: Igel and Huesken, 2003).
    """

    kernel = "rprop"
    numbers = ("eta_minus", "eta_plus", "step_min", "step_max")
    adjustable = stochastic = False

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
        self.eta_minus = _validate.number(eta_minus, "eta_minus", above=0, below=1)
        self.eta_plus = _validate.number(eta_plus, "eta_plus", above=1)
        self.step_min = _validate.number(step_min, "step_min", above=0)
        self.step_max = _validate.number(step_max, "step_max", above=0)
        if self.step_min > self.step_max:
            raise ValueError(f"step_max: expected at least step_min, {self.step_min}, got {self.step_max}")

    def slots(self) -> tuple[str, ...]:
        """The last gradient, and the steps."""
        return "gradient", "step"

    def _initial(self, name: str, parameters: Array) -> Array:
        return _full(parameters, self.rates(1)[0]) if name == "step" else super()._initial(name, parameters)


class LBFGS(Optimizer):
    """Quasi-Newton steps for whole sets of data, to many digits: p -= H g, as long as a line search finds.

    H approximates the inverse of the second derivatives, from how g changed over the last steps. In a `fit` an epoch is
    one iteration on all rows, whatever the batch_size; dropout drops the same numbers in all of them.

    Parameters
    ----------
    learning_rate : float, default 1.0
        The first length that a line search tries, in units of H g; 1 is Newton's.
    history_size : int, default 10
        From how many steps.
    tolerance : float, default 1e-7
        Where no number of the gradient is larger, this is the minimum, and no step is taken; at least 0.
    max_evaluations : int, default 25
        How many lengths a line search tries.

    Notes
    -----
    The steps and the changes of the gradient are its state, under the number of their iteration: s7, y7. A line search
    that finds nothing forgets them; the next goes along the gradient. Frozen parameters stay as they are.

    References
    ----------
    Nocedal and Wright, "Numerical optimization", 2nd ed. 2006, algorithms 7.4 and 7.5; the line search is 3.5 and 3.6.
    PyTorch's makes 20 such iterations in a step, and has a strong Wolfe line search only if asked.
    """

    adjustable = stochastic = False

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        *,
        history_size: int = 10,
        tolerance: float = 1e-7,
        max_evaluations: int = 25,
    ) -> None:
        super().__init__(learning_rate)
        self.history_size = _validate.integer(history_size, "history_size", 1, 1000)
        self.tolerance = _validate.number(tolerance, "tolerance", least=0)
        self.max_evaluations = _validate.integer(max_evaluations, "max_evaluations", 1, 1000)

    def step(self, net: _Network) -> None:
        """Refuse: one gradient is not enough."""
        raise TypeError(
            f"step: expected an optimizer that needs one gradient, got {self!r}: "
            "optimizer.minimize(net, lambda: net.value_and_gradient(x, y, loss))"
        )

    def minimize(self, net: _Network, evaluate: Callable[[], tuple[float, Array]], iterations: int = 1) -> list[float]:
        """Make some iterations.

        Parameters
        ----------
        net : Sequential
            Whose trainable parameters are changed.
        evaluate : callable
            The loss and its gradient at the present parameters: ``lambda: net.value_and_gradient(x, y, loss)``.
        iterations : int, default 1
            How many.

        Returns
        -------
        list of float
            The loss before each.

        Raises
        ------
        DivergedError
            If the loss or its gradient is not finite where it begins.
        """
        iterations = _validate.integer(iterations, "iterations", 0)
        self.ready(net)
        frozen = np.ones(net.parameters.shape, bool)
        for begin, end in net.trainable_ranges:
            frozen[begin:end] = False

        def look() -> tuple[float, Array]:
            value, gradient = evaluate()
            return value, np.where(frozen, 0, gradient)

        value, gradient = look()
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            raise DivergedError(f"the loss is {value:g} before the first step", epoch=0, batch=self.steps)
        values, searching = [], True
        for _ in range(iterations):
            values.append(value)
            if searching and abs(gradient).max(initial=0) > self.tolerance:
                known = bool(self.state)
                found = self._search(net, look, value, gradient)
                value, gradient = found.value, found.gradient
                searching = (
                    known or found.step > 0
                )  # if nothing is lower along the gradient itself, nothing ever will be
            self.steps += 1
        return values

    def _search(
        self, net: _Network, look: Callable[[], tuple[float, Array]], value: float, gradient: Array
    ) -> linesearch.Point:
        """Go to where a line search ends, and remember what was learned on the way."""
        first, begin, direction = float(self.rates(1)[0]), net.parameters.copy(), self._direction(gradient)
        if not (np.isfinite(direction).all() and _dot(direction, gradient) < 0):
            self.state.clear()
        if not self.state:  # nothing is known of the scale
            direction, first = -gradient, first * min(1.0, 1 / float(abs(gradient).sum(dtype=np.float64)))

        def at(step: float) -> linesearch.Point:
            net.parameters[...] = begin + step * direction
            value, gradient = look()
            return linesearch.Point(step, value, _dot(gradient, direction), gradient)

        found = start = linesearch.Point(0.0, value, _dot(gradient, direction), gradient)
        noise = 10 * float(np.finfo(begin.dtype).eps) * abs(value)
        with np.errstate(over="ignore", invalid="ignore"):  # too far is seen by its loss
            try:
                found = linesearch.strong_wolfe(at, start, first, self.max_evaluations, noise=noise)
            finally:
                net.parameters[...] = begin + found.step * direction
                net.gradients[...] = found.gradient
            self._remember(net.parameters - begin, found.gradient - gradient)
        return found

    def _direction(self, gradient: Array) -> Array:
        """-H g, by two loops over what is remembered (algorithm 7.4)."""
        direction, pairs, shares = -gradient, self._pairs(), []
        for s, y in reversed(pairs):
            shares.append(_dot(s, direction) / _dot(s, y))
            direction -= shares[-1] * y
        if pairs:
            s, y = pairs[-1]
            direction *= _dot(s, y) / _dot(y, y)
        for s, y in pairs:
            direction += (shares.pop() - _dot(y, direction) / _dot(s, y)) * s
        return direction

    def _pairs(self) -> list[tuple[Array, Array]]:
        """The steps and the changes of the gradient, the oldest first."""
        when = sorted(int(name[1:]) for name in self.state if name.startswith("s"))
        return [(self.state[f"s{i}"], self.state[f"y{i}"]) for i in when]

    def _remember(self, s: Array, y: Array) -> None:
        """Keep a step along which the slope rose, and not more than enough; forget all where there was no step."""
        if not s.any():
            self.state.clear()
        elif _dot(s, y) > np.finfo(s.dtype).eps * _dot(y, y):
            self.state |= {f"s{self.steps}": s, f"y{self.steps}": y}
            oldest = self.steps - self.history_size
            self.state = {name: v for name, v in self.state.items() if int(name[1:]) > oldest}


def _full(like: Array, value: float) -> Array:
    """A vector of one number, or of the largest that its type has."""
    return np.full_like(like, min(value, np.finfo(like.dtype).max))


def _dot(a: Array, b: Array) -> float:
    """The sum of products in double, in an order that depends on nothing but the length."""
    return float(np.multiply(a, b, dtype=np.float64).sum())
