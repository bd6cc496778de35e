"""Optimizers: how a gradient becomes a step. Definitions and defaults are PyTorch's.

An optimizer carries its state, and belongs to the first network that it steps: passed again, it goes on where it was.
"""

import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from . import _core, _validate
from .errors import DivergedError

__all__ = ["SGD", "Adam", "Optimizer"]

Array = _validate.Array


class _Network(Protocol):
    parameters: Array
    gradients: Array


class Optimizer:
    """What all optimizers have.

    Parameters
    ----------
    learning_rate : float or callable
        A number, at least 0; a schedule from `backprop.schedules`; or any function of the number of steps made (0
        before the first) that returns one.

    Attributes
    ----------
    state : dict of str to numpy.ndarray
        Flat vectors, one number for each parameter; empty before the first step.
    steps : int
        How many steps it has made.
    """

    #: The names of the state vectors, in the kernel's order.
    slots: ClassVar[tuple[str, ...]] = ()
    #: The arguments of the constructor, beside the learning rate.
    _arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, learning_rate: float | Callable[[int], float]) -> None:
        if not callable(learning_rate):
            learning_rate = _validate.number(learning_rate, "learning_rate", least=0)
        self.learning_rate = learning_rate
        self.state: dict[str, Array] = {}
        self.steps = 0
        self._owner: weakref.ref[Array] | None = None

    def step(self, net: _Network) -> None:
        """Change the parameters of a network by its gradients.

        Parameters
        ----------
        net : Sequential
            After ``net.backward(...)``.

        Raises
        ------
        DivergedError
            If a parameter would become infinite or NaN; those that would keep their last value.
        """
        m, v = self.bind(net)
        rate = self.rates(1)[0]
        if not _core.apply_update(self.lower(), rate, self.steps + 1, net.parameters, net.gradients, m, v):
            raise DivergedError(
                f"step {self.steps + 1} would have made a parameter infinite or NaN: lower the learning rate, "
                f"{rate:g} now", epoch=0, batch=self.steps,
            )  # fmt: skip
        self.steps += 1

    def bind(self, net: _Network) -> tuple[Array | None, Array | None]:
        """The state vectors for this network, made if this is its first step; refuse the network of another."""
        if not hasattr(net, "parameters"):
            raise TypeError(f"net: expected a network, got {_validate.shown(net)}")
        owner = self._owner() if self._owner is not None else None
        fits = all(s.shape == net.parameters.shape and s.dtype == net.parameters.dtype for s in self.state.values())
        if (self._owner is not None and owner is not net.parameters) or not fits:
            raise ValueError(f"optimizer: expected one for this network, got {self!r} of another: make one for each")
        if owner is None:
            self._owner = weakref.ref(net.parameters)
        for name in self.slots:
            self.state.setdefault(name, np.zeros_like(net.parameters))
        vectors = [self.state[name] for name in self.slots] + [None, None]
        return vectors[0], vectors[1]

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
        rate = self.learning_rate
        if callable(rate):
            written = getattr(rate, "config", None)
            if written is None:
                got = _validate.shown(rate)
                raise TypeError(f"learning_rate: expected a number or a schedule that has a config(), got {got}")
            rate = written()
        arguments = {name: getattr(self, name) for name in self._arguments}
        return {"name": type(self).__name__, "learning_rate": rate, **arguments}

    def lower(self) -> tuple[int, float, float, float, bool]:
        """How the compiled core calls this optimizer: its code, momentum or beta 1, beta 2, epsilon, nesterov."""
        raise TypeError(f"optimizer: expected one with a formula, such as Adam(1e-3), got {self!r}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_owner": None}


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

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013; as PyTorch does,
    the learning rate multiplies the momentum too, and the gradient is taken at the present parameters.
    """

    _arguments = ("momentum", "nesterov")

    def __init__(
        self, learning_rate: float | Callable[[int], float], momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        super().__init__(learning_rate)
        self.momentum = _validate.number(momentum, "momentum", least=0, below=1)
        self.nesterov = _validate.flag(nesterov, "nesterov")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: expected a momentum above 0 with it, got 0")

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """The momentum, where there is one."""
        return ("momentum",) if self.momentum else ()

    def lower(self) -> tuple[int, float, float, float, bool]:
        """How the compiled core calls it."""
        return _core.OPTIMIZERS["sgd"], self.momentum, 0.0, 0.0, self.nesterov

    def __repr__(self) -> str:
        return f"SGD({self.learning_rate}, momentum={self.momentum}, nesterov={self.nesterov})"


class Adam(Optimizer):
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

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """

    slots = ("mean", "square")
    _arguments = ("beta1", "beta2", "epsilon")

    def __init__(
        self,
        learning_rate: float | Callable[[int], float] = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate)
        self.beta1 = _validate.number(beta1, "beta1", least=0, below=1)
        self.beta2 = _validate.number(beta2, "beta2", least=0, below=1)
        self.epsilon = _validate.number(epsilon, "epsilon", above=0)

    def lower(self) -> tuple[int, float, float, float, bool]:
        """How the compiled core calls it."""
        return _core.OPTIMIZERS["adam"], self.beta1, self.beta2, self.epsilon, False

    def __repr__(self) -> str:
        return f"Adam({self.learning_rate}, beta1={self.beta1}, beta2={self.beta2}, epsilon={self.epsilon})"


_TABLE: dict[str, type[Optimizer]] = {"SGD": SGD, "Adam": Adam}


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
    kind = _TABLE[_validate.choice(arguments.pop("name", None), "name", _TABLE)]
    if isinstance(arguments.get("learning_rate"), dict) and schedule is not None:
        arguments["learning_rate"] = schedule(arguments["learning_rate"])
    return kind(**arguments)
