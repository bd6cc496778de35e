"""Optimizers: how a gradient becomes a step. Definitions and defaults are PyTorch's.

An optimizer carries its state, and belongs to the first network that it steps: passed again, it goes on where it was.

In the formulas g is the gradient, p the parameters, t the number of the step, from 1; sums and quotients are meant
number by number.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar, Protocol, TypedDict, Unpack

import numpy as np

from .. import _core, _validate, _words
from ..errors import DivergedError
from . import linesearch

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

    def lent(self, parameters: Array, x: Any = None) -> AbstractContextManager[None]: ...


def _rate(value: Any, name: str) -> Any:
    return value if callable(value) else _validate.not_negative(value, name)


def _within(value: Any, name: str) -> float:
    return _validate.number(value, name, above=0, below=1)


def _vectors(value: Any, name: str) -> dict[str, Array]:
    if not isinstance(value, dict) or not all(isinstance(vector, np.ndarray) for vector in value.values()):
        raise TypeError(f"{name}: expected a dict of arrays, got {_validate.shown(value)}")
    return value


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
    #: What an attribute passes whenever it is assigned, by the constructor or later.
    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        "learning_rate": _rate, "clip_value": _validate.optional(_validate.positive),
        "clip_norm": _validate.optional(_validate.positive), "average": _validate.optional(_within),
        "state": _vectors, "steps": partial(_validate.integer, least=0, most=2**62),
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        average: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.average = average
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

            cls.step = step  # type: ignore[method-assign]  # the same, counted

    def __setattr__(self, name: str, value: Any) -> None:
        """What is assigned must be what the constructor would take; and something that this optimizer has."""
        gate, kind = self._gates.get(name), type(self)
        if value is not None and name in _KNOBS and name not in _arguments(kind) and self._ours:
            if getattr(self, name, 0) is None:
                raise ValueError(
                    f"{name}: expected None, which is all that {self!r} knows, got {_validate.shown(value)}"
                )
            raise AttributeError(f"{name}: {kind.__name__} has none; it takes {', '.join(_arguments(kind))}")
        super().__setattr__(name, value if gate is None else gate(value, name))

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
    def averaged(self, net: _Network, x: Any = None) -> Iterator[None]:
        """Give a network the averaged parameters, as long as the block of ``with optimizer.averaged(net):`` lasts.

        Parameters
        ----------
        net : Sequential
            Afterwards it has its own parameters and running statistics again, to the last bit, whatever was written
            into them meanwhile. To keep the averaged ones, ``net.parameters = optimizer.state["average"]``, and then
            ``net.update_statistics(x)`` if there is a `BatchNorm`.
        x : array_like, shape (rows, n_in), optional
            Rows of the training, for `Sequential.update_statistics`: the running statistics of a `BatchNorm` are those
            of the network's own parameters, and not of the averaged ones. Not needed where there is none, or where all
            are frozen.

        Raises
        ------
        ValueError
            If the optimizer keeps no average, or has made no step. In the block, from `predict` and what else uses
            running statistics, if they are wanted and neither x was given nor ``net.update_statistics(x)`` called.
        """
        if "average" not in self.state:
            raise ValueError(f"averaged: expected an optimizer with average=0.999, say, after a step, got {self!r}")
        self.bind(net)
        with net.lent(self.state["average"], x):
            yield

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
        _vectors(self.state, "state")
        fits = all(s.shape == net.parameters.shape and s.dtype == net.parameters.dtype for s in self.state.values())
        if (self._owner is not None and owner is not net.parameters) or not fits:
            got = f"{self!r}, which is bound to the parameters of another"
            raise ValueError(f"optimizer: expected one for this network, got {got}: make one for each network")
        if owner is None:
            self._owner = weakref.ref(net.parameters)
        names = self._names()
        if self._ours and self.kernel and len(self.state) > len(names):  # an option was taken back
            self.state = {name: vector for name, vector in self.state.items() if name in names}
        for name in names:
            if name not in self.state:
                self.state[name] = self._initial(name, net.parameters)
        return tuple(self.state[name] for name in names)

    @property
    def _ours(self) -> bool:
        """Whether all that it does is known here."""
        return type(self) in _OURS

    def _names(self) -> tuple[str, ...]:
        return (*self.slots(), "average") if self.average else self.slots()

    def check_state(self, state: Mapping[str, Array], steps: int, parameters: Array) -> None:
        """Refuse vectors that it cannot have after so many steps on these parameters.

        Parameters
        ----------
        state : dict of str to numpy.ndarray
        steps : int
        parameters : numpy.ndarray

        Raises
        ------
        ValueError
            If names, shapes or types are others, or a number is not finite, or negative where it is a mean of squares.
        """
        if set(self._names()) - state.keys() or (self._ours and state.keys() - set(self._names())):
            raise ValueError(f"state: expected {', '.join(self._names())}, got {_validate.shown(sorted(state))}")
        for name, vector in state.items():
            _check_vector(name, vector, parameters)
            if self._ours and name in _NOT_NEGATIVE and vector.min(initial=0) < 0:
                raise ValueError(f"state: expected no negative number in {name}, got {vector.min()}")

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
        self._check_together()
        numbers = tuple([float(getattr(self, name)) for name in self.numbers])
        return (
            _core.OPTIMIZERS[self.kernel], numbers, self.weight_decay,
            self.clip_value or 0.0, self.clip_norm or 0.0, self.average or 0.0,
        )  # fmt: skip

    def _check_together(self) -> None:
        """Refuse attributes that do not go with one another."""

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
    return _OURS[kind] if kind in _OURS else _found_arguments(kind)


def _found_arguments(kind: type[Optimizer]) -> dict[str, Any]:
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
    kind = KINDS[_validate.choice(arguments.pop("name", None), "name", KINDS)]
    if isinstance(arguments.get("learning_rate"), dict) and schedule is not None:
        arguments["learning_rate"] = schedule(arguments["learning_rate"])
    return kind(**arguments)


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

    _gates: ClassVar = {
        **Optimizer._gates, "momentum": _validate.share, "nesterov": _validate.flag,
        "weight_decay": _validate.not_negative,
    }  # fmt: skip

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
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self._check_together()

    def _check_together(self) -> None:
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

    _gates: ClassVar = {
        **Optimizer._gates, "alpha": _validate.share, "epsilon": _validate.positive, "momentum": _validate.share,
        "centered": _validate.flag, "weight_decay": _validate.not_negative,
    }  # fmt: skip

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
        self.alpha = alpha
        self.epsilon = epsilon
        self.momentum = momentum
        self.centered = centered
        self.weight_decay = weight_decay

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

    _gates: ClassVar = {
        **Optimizer._gates, "epsilon": _validate.positive, "initial_sum": _validate.not_negative,
        "weight_decay": _validate.not_negative,
    }  # fmt: skip

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
        self.epsilon = epsilon
        self.initial_sum = initial_sum
        self.weight_decay = weight_decay

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

    _gates: ClassVar = {
        **Optimizer._gates, "rho": _validate.share, "epsilon": _validate.positive,
        "weight_decay": _validate.not_negative,
    }  # fmt: skip

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
        self.rho = rho
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def slots(self) -> tuple[str, ...]:
        """The mean squares of gradients and of steps."""
        return "square", "step"


class _Moments(Optimizer):
    """What Adam and its kin share: two running means, and their constants."""

    numbers: ClassVar[tuple[str, ...]] = ("beta1", "beta2", "epsilon")

    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        **Optimizer._gates, "beta1": _validate.share, "beta2": _validate.share, "epsilon": _validate.positive,
        "weight_decay": _validate.not_negative,
    }  # fmt: skip

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
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay

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

    _gates: ClassVar = {**_Moments._gates, "amsgrad": _validate.flag}

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
        self.amsgrad = amsgrad

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

    _gates: ClassVar = {**_Moments._gates, "momentum_decay": _validate.not_negative}

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
        self.momentum_decay = momentum_decay


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

    _gates: ClassVar = {
        **Optimizer._gates, "beta1": _validate.share, "beta2": _validate.share, "weight_decay": _validate.not_negative,
    }  # fmt: skip

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
        self.beta1 = beta1
        self.beta2 = beta2
        self.weight_decay = weight_decay

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

    _gates: ClassVar = {
        **Optimizer._gates, "eta_minus": _within, "eta_plus": partial(_validate.number, above=1),
        "step_min": _validate.positive, "step_max": _validate.positive,
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
        """The last gradient, and the steps."""
        return "gradient", "step"

    def _initial(self, name: str, parameters: Array) -> Array:
        return _full(parameters, self.rates(1)[0]) if name == "step" else super()._initial(name, parameters)


class LBFGS(Optimizer):
    """Quasi-Newton steps for whole sets of data, to many digits: p -= H g, as long as a line search finds.

    H approximates the inverse of the second derivatives, from how g changed over the last steps. In a `fit` an epoch is
    one iteration on all rows, whatever the batch_size; dropout drops the same numbers in all of them. After it, the
    running statistics of a `BatchNorm` are those of all rows under the new parameters.

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
    _gates: ClassVar = {
        **Optimizer._gates, "history_size": partial(_validate.integer, least=1, most=1000),
        "tolerance": _validate.not_negative, "max_evaluations": partial(_validate.integer, least=1, most=1000),
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        *,
        history_size: int = 10,
        tolerance: float = 1e-7,
        max_evaluations: int = 25,
    ) -> None:
        super().__init__(learning_rate)
        self.history_size = history_size
        self.tolerance = tolerance
        self.max_evaluations = max_evaluations

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
            The loss and its gradient at the present parameters: ``lambda: net.value_and_gradient(x, y, loss)``. In the
            end, the running statistics of a `BatchNorm` are those of the rows that it saw there.
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
        rows: list[Array]

        def look() -> tuple[float, Array]:
            before, rows[:] = rows[:], []
            try:
                value, gradient = evaluate()
            finally:
                rows[:] = rows or before
            return value, np.where(frozen, 0, gradient)

        settled: Callable[[], Any] = getattr(net, "settled", lambda: nullcontext([]))  # flat vectors are enough
        with settled() as rows:
            return self._iterate(net, look, iterations)

    def _iterate(self, net: _Network, look: Callable[[], tuple[float, Array]], iterations: int) -> list[float]:
        value, gradient = look()
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            raise DivergedError(f"the loss is {value:g} before the first step", epoch=0, batch=self.steps)
        values, searching = [], True
        for _ in range(iterations):
            values.append(value)
            if searching and float(abs(gradient).max(initial=0)) > self.tolerance:
                known = bool(self.state)
                found = self._search(net, look, value, gradient)
                value, gradient = found.value, found.gradient
                searching = (
                    known or found.step > 0
                )  # if nothing is lower along the gradient itself, nothing ever will be
            self.steps += 1
        return values

    def check_state(self, state: Mapping[str, Array], steps: int, parameters: Array) -> None:
        """As that of `Optimizer`: pairs of a step and a change of the gradient, along which the slope rose."""
        numbers = sorted(int(name[1:]) for name in state if re.fullmatch("s(0|[1-9][0-9]{0,18})", name))
        if state.keys() != {f"{letter}{i}" for letter in "sy" for i in numbers} or len(numbers) > self.history_size:
            raise ValueError(
                f"state: expected up to {self.history_size} pairs s0 and y0..., got {_validate.shown([*state])}"
            )
        if numbers and numbers[-1] >= steps:
            raise ValueError(f"state: expected pairs of {steps} iterations, got one of iteration {numbers[-1]}")
        for name, vector in state.items():
            _check_vector(name, vector, parameters)
        for i in numbers:
            with np.errstate(over="ignore", invalid="ignore"):
                rise = _dot(state[f"s{i}"], state[f"y{i}"])
            if not (rise > 0 and math.isfinite(rise)):
                raise ValueError(f"state: expected a slope that rose along s{i}, got {rise}")

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


def _check_vector(name: str, vector: Array, parameters: Array) -> None:
    if vector.shape != parameters.shape or vector.dtype != parameters.dtype:
        got = f"{vector.dtype} {_validate.shown(vector.shape)}"
        raise ValueError(f"state: expected {parameters.dtype} {parameters.shape} for {name}, got {got}")
    if not _core.all_finite(vector):
        raise ValueError(f"state: expected finite numbers in {_validate.shown(name)}")


def _full(like: Array, value: float) -> Array:
    """A vector of one number, or of the largest that its type has."""
    return np.full_like(like, min(value, np.finfo(like.dtype).max))


def _dot(a: Array, b: Array) -> float:
    """The sum of products in double, in an order that depends on nothing but the length."""
    return float(np.multiply(a, b, dtype=np.float64).sum())


#: The optimizers that a file may name; what of them can be turned; and the vectors that hold no negative number.
KINDS: dict[str, type[Optimizer]] = {name: globals()[name] for name in __all__ if name != "Optimizer"}
_OURS: dict[type, dict[str, Any]] = {kind: _found_arguments(kind) for kind in KINDS.values()}
_KNOBS = {name for arguments in _OURS.values() for name in arguments}
_NOT_NEGATIVE = ("square", "sum", "largest", "step")
