"""What all optimizers have, and what they are called by."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypedDict

import numpy as np

from .. import _core, _described, _validate, schedules
from .._described import Described
from ..errors import DivergedError

if TYPE_CHECKING:
    from .groups import Factors, Groups

__all__ = ["KINDS", "Common", "FullBatch", "Optimizer", "Rate", "declare", "from_config", "get"]

Array = _validate.Array
Rate = float | Callable[[int], float]
Decay = float | schedules.Schedule


class Parameters(Protocol):
    """What a step asks of a network: flat vectors."""

    @property
    def parameters(self) -> Array: ...

    @property
    def gradients(self) -> Array: ...

    @property
    def trainable_ranges(self) -> tuple[tuple[int, int], ...]: ...


class Network(Parameters, Protocol):
    """What averaging asks of it, beside: other parameters for a block, and the running statistics that go with them."""

    def _with_parameters(self, parameters: Array, x: Any = None) -> AbstractContextManager[None]: ...


class Group(NamedTuple):
    """What some tensors step by instead, as the core takes it."""

    #: Factors of the two; and the hyperparameters, where they are others.
    learning_rate: float
    weight_decay: float
    numbers: tuple[float, ...]


class Update(NamedTuple):
    """A step, as the compiled core takes it; 0 where nothing is decayed, clipped or averaged."""

    #: One of `_core.OPTIMIZERS`, and its hyperparameters in the order of its kernel.
    kernel: int
    numbers: tuple[float, ...]
    weight_decay: float
    clip_value: float
    clip_norm: float
    average: float
    groups: tuple[Group, ...] = ()

    def __repr__(self) -> str:
        kernel = next((name for name, code in _core.OPTIMIZERS.items() if code == self.kernel), self.kernel)
        rest = [f"{name}={value}" for name, value in zip(self._fields[2:], self[2:], strict=True) if value]
        return f"Update({', '.join([str(kernel), *map(str, self.numbers), *rest])})"


class Rule(NamedTuple):
    """An optimizer that is bound to a network: all that its next steps depend on, beside learning rates."""

    update: Update
    #: Flat vectors, in the kernel's order; they change with each step.
    state: tuple[Array, ...]
    #: Which of the parameters it may change, ascending: (begin, end), and in which group those are, if there are any.
    ranges: tuple[tuple[int, ...], ...]
    #: How many steps were made.
    steps: int

    def __repr__(self) -> str:
        state = ", ".join(f"{vector.dtype}[{len(vector)}]" for vector in self.state)
        return f"Rule({self.update}, state=({state}), ranges={self.ranges}, steps={self.steps})"


def _rate(value: Any, name: str) -> Any:
    return value if callable(value) else _validate.not_negative(value, name)


#: The gate of a weight decay.
decay = schedules.or_number(_validate.not_negative)


def within(value: Any, name: str) -> float:
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
    groups: Groups | None


def _counted(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of a subclass, which is counted if it does not do so itself."""

    @functools.wraps(step)
    def counted(self: Optimizer, *given: Any, **more: Any) -> Any:
        made = self.steps
        returned = step(self, *given, **more)
        self.steps += self.steps == made
        return returned

    return counted


class Optimizer(Described, family="Optimizer"):
    """What all optimizers have.

    A custom optimizer subclasses this, or one of the others, and defines ``step(net)``, which changes
    ``net.parameters`` by ``net.gradients``. `Sequential.fit` calls it after each batch; its vectors belong into
    ``state``, where checkpoints find them.

    Parameters
    ----------
    learning_rate : float or callable
        A number, at least 0; a schedule from `backprop.schedules`; or any function of the number of steps made (0
        before the first) that returns one.
    clip_value : float or None, default None
        Gradient clipping by value: each element counts as if it were between -clip_value and clip_value.
    clip_norm : float or None, default None
        Gradient clipping by norm: where the Euclidean norm of the gradient of all trainable parameters is larger, the
        gradient is scaled down to it, exactly, without the 1e-6 that PyTorch adds to the norm. It comes before
        clip_value, if there are both, and before weight decay. ``net.gradients`` stays as it was.
    average : float or None, default None
        Decay rate of an exponential moving average (EMA) of the parameters, average a + (1 - average) p after each
        step, beginning with those after the first; above 0, below 1. See `averaged`.
    groups : dict of str to dict, or None, default None
        Parameter groups: factors of ``learning_rate``, ``weight_decay`` and ``epsilon`` for the tensors whose names, as
        in a model file, match a pattern of ``fnmatch``. ``{"*.bias": {"weight_decay": 0}}``: no weight decay on biases.
        Where several patterns match, their factors multiply; a pattern that matches no tensor is refused.

    Attributes
    ----------
    state : dict of str to numpy.ndarray
        Flat vectors, with an element for each parameter; empty before the first step.
    steps : int
        How many steps it has made. Together with the state, that is all it remembers.
    """

    #: Its name in the compiled core, and the attributes that its kernel takes, in order.
    kernel: ClassVar[str] = ""
    numbers: ClassVar[tuple[str, ...]] = ()
    weight_decay: Decay = 0.0
    #: Whether a step is the longer, the larger the learning rate is; else callbacks that change that refuse it.
    follows_learning_rate: ClassVar[bool] = True
    #: Whether mini-batches do; else it is for full batches.
    stochastic: ClassVar[bool] = True
    # Of a subclass whose constructor does not call this one.
    learning_rate: Rate = 1.0
    clip_value: float | None = None
    clip_norm: float | None = None
    average: float | None = None
    groups: Groups | None = None
    steps: int = 0
    _owner: weakref.ref[Array] | None = None
    #: The arguments that only other built-in optimizers have, once it is known; none of a custom one.
    _foreign: ClassVar[frozenset[str] | None] = None
    _always: ClassVar[tuple[str, ...]] = ("learning_rate",)
    _wrappers: ClassVar = {"step": _counted}
    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        "learning_rate": _rate, "clip_value": _validate.optional(_validate.positive),
        "clip_norm": _validate.optional(_validate.positive), "average": _validate.optional(within),
        "state": _vectors, "steps": partial(_validate.integer, least=0, most=2**62),
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        average: float | None = None,
        groups: Groups | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.average = average
        self.groups = groups
        self.state: dict[str, Array] = {}
        self.steps = 0
        self._owner = None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._foreign = None

    def __setattr__(self, name: str, value: Any) -> None:
        """What is assigned must be what the constructor would take; and something that this optimizer has."""
        if name in (self._foreign if self._foreign is not None else self._find_foreign()) and value is not None:
            if getattr(self, name, 0) is None:
                raise ValueError(f"{name}: expected None, got {_validate.shown(value)}: {self!r} does not support it")
            raise AttributeError(f"{name}: {type(self).__name__} has none; it takes {', '.join(self._arguments())}")
        if name == "groups" and value is not None:
            from .groups import checked

            value = checked(value, self._arguments())
        super().__setattr__(name, value)

    @classmethod
    def _find_foreign(cls) -> frozenset[str]:
        others = map(_described.arguments, KINDS.values() if KINDS.get(cls.__name__) is cls else ())
        cls._foreign = frozenset().union(*others) - cls._arguments().keys()
        return cls._foreign

    def step(self, net: Parameters) -> None:
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
        rule, rate = self.rule(net), self.rates(1)[0]
        if not _core.apply_update(
            rule.update, rate, rule.steps + 1, net.parameters, net.gradients, rule.state, rule.ranges
        ):
            raise DivergedError(
                f"step {self.steps + 1} would have made a parameter infinite or NaN: lower the learning rate, "
                f"{rate:g} now", epoch=0, batch=self.steps,
            )  # fmt: skip
        self.steps += 1

    @contextmanager
    def averaged(self, net: Network, x: Any = None) -> Iterator[None]:
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
        with net._with_parameters(self.state["average"], x):
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
        config = super().config()
        if callable(config.get("learning_rate")):
            got = _validate.shown(self.learning_rate)
            raise TypeError(f"learning_rate: expected a number or a schedule that has a config(), got {got}")
        return config

    def _written(self, value: Any) -> Any:
        written = getattr(value, "config", None) if callable(value) else None
        return value if written is None else written()

    # What training asks of an optimizer.

    @property
    def compiled(self) -> bool:
        """Whether the compiled core makes its steps; a custom `step` is called for each."""
        return getattr(self.step, "__func__", None) is Optimizer.step

    def ready(self, net: Parameters) -> None:
        """Check its arguments, and allocate its state for this network."""
        if self.compiled:
            self.lower()
        elif not self.kernel:
            for name in "clip_value", "clip_norm", "average", "groups":
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: expected None, got {getattr(self, name)}: {self!r} does not support it")
        self.rates(1)
        self._cut(net)
        self.bind(net)

    def slots(self) -> tuple[str, ...]:
        """The names of the state vectors, in the kernel's order."""
        return ()

    def bind(self, net: Parameters) -> tuple[Array, ...]:
        """The state vectors for this network, allocated before its first step; it is bound to this network then."""
        if not hasattr(net, "parameters"):
            raise TypeError(f"net: expected a network, got {_validate.shown(net)}")
        owner = self._owner() if self._owner is not None else None
        self.state = vars(self).get("state", {})
        _vectors(self.state, "state")
        fits = all(s.shape == net.parameters.shape and s.dtype == net.parameters.dtype for s in self.state.values())
        if (self._owner is not None and owner is not net.parameters) or not fits:
            got = f"{self!r}, which is bound to another network"
            raise ValueError(f"optimizer: expected one for this network, got {got}: create a new one")
        if owner is None:
            self._owner = weakref.ref(net.parameters)
        names = self._names()
        if self._ours and self.kernel and len(self.state) > len(names):  # an option was taken back
            self.state = {name: vector for name, vector in self.state.items() if name in names}
        for name in names:
            if name not in self.state:
                self.state[name] = self._initial(name, net)
        return tuple(self.state[name] for name in names)

    @property
    def _ours(self) -> bool:
        """Whether it is built-in."""
        return KINDS.get(type(self).__name__) is type(self)

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
            check_vector(name, vector, parameters)
            if self._ours and name in _NOT_NEGATIVE and vector.min(initial=0) < 0:
                raise ValueError(f"state: expected no negative number in {name}, got {vector.min()}")

    def _initial(self, name: str, net: Any) -> Array:
        return net.parameters.copy() if name == "average" else np.zeros_like(net.parameters)

    def factors(self, name: str) -> Factors:
        """What learning rate, weight decay and epsilon are multiplied by for the tensor of that name."""
        from .groups import of

        return of(self.groups or {}, name)

    def _cut(self, net: Any) -> tuple[Sequence[Factors], tuple[tuple[int, ...], ...]]:
        """The factors of its groups, and the trainable ranges of a network, cut by them."""
        if not self.groups:
            return (), net.trainable_ranges
        from .groups import cut

        return cut(self.groups, net)

    def rates(self, count: int) -> Array:
        """The learning rates of the next steps: one if it is constant, else one for each."""
        return schedules.values(self.learning_rate, "learning_rate", self.steps, count)

    def decays(self, count: int) -> Array:
        """The weight decays of the next steps, likewise."""
        return schedules.values(self.weight_decay, "weight_decay", self.steps, count)

    def rule(self, net: Parameters) -> Rule:
        """What its steps on this network depend on, with the state vectors bound to it."""
        state = self.bind(net)
        factors, ranges = self._cut(net)
        return Rule(self.lower(factors), state, ranges, self.steps)

    def lower(self, factors: Sequence[Factors] = ()) -> Update:
        """Its steps, as the compiled core takes them; with these factors in its groups."""
        if not self.kernel:
            raise TypeError(f"optimizer: expected one that defines step(net), or a built-in one, got {self!r}")
        self._check_together()
        groups = [Group(it.learning_rate, it.weight_decay, self._numbers(it.epsilon)) for it in factors]
        return Update(
            _core.OPTIMIZERS[self.kernel], self._numbers(), float(self.decays(1)[0]), self.clip_value or 0.0,
            self.clip_norm or 0.0, self.average or 0.0, tuple(groups),
        )  # fmt: skip

    def _numbers(self, epsilon: float = 1.0) -> tuple[float, ...]:
        """What its kernel takes, with so many times its epsilon."""
        return tuple([float(getattr(self, name)) * (epsilon if name == "epsilon" else 1) for name in self.numbers])

    def _check_together(self) -> None:
        """Refuse attributes that do not go with one another."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_owner": None}


class FullBatch(Optimizer):
    """One that asks for the loss and the gradient of all rows as often as it likes: in a fit, an epoch is an iteration.

    A subclass brings `minimize`.
    """

    follows_learning_rate = stochastic = False
    #: Whether it wants more than the loss and its gradient: a `derivatives.problem.Problem`.
    needs_problem: ClassVar[bool] = False
    #: What the history tells of each iteration, beside the loss; and what the last call of `minimize` has to tell.
    reports: Any = ()
    reported: Mapping[str, list[float]] = {}

    def over(self, run: Any) -> bool:
        """Whether a fit is to end after this epoch."""
        return False

    def step(self, net: Parameters) -> None:
        """Refuse: one gradient is not enough."""
        raise TypeError(
            f"step: expected an optimizer that needs one gradient, got {self!r}: "
            "optimizer.minimize(net, lambda: net.value_and_gradient(x, y, loss))"
        )

    def minimize(
        self, net: Parameters, evaluate: Callable[[], tuple[float, Array]], iterations: int = 1
    ) -> list[float]:
        """Make some iterations; the loss before each."""
        raise NotImplementedError


#: The optimizers that a file may name; and the vectors that hold no negative number.
KINDS: dict[str, type[Optimizer]] = {}
_NOT_NEGATIVE = ("square", "sum", "largest", "step")


def declare(*kinds: type[Optimizer]) -> None:
    """Name the optimizers of this package, once."""
    KINDS.update({kind.__name__: kind for kind in kinds})


def from_config(config: dict[str, Any], schedule: Callable[[dict[str, Any]], Any] | None = None) -> Optimizer:
    """Build an optimizer, without a state, from what `Optimizer.config` returned.

    Parameters
    ----------
    config : dict
        It names one of the classes of this module.
    schedule : callable, optional
        What builds a schedule from its ``config()``, where the learning rate or the weight decay is one.

    Returns
    -------
    Optimizer
        Give it its ``state`` and ``steps``, and it goes on as the other would.
    """
    scheduled = [name for name in ("learning_rate", "weight_decay") if isinstance(config.get(name), dict)]
    if schedule is not None:
        config = {**config, **{name: schedule(config[name]) for name in scheduled}}
    return _described.from_config(config, KINDS)


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
    kinds = {name.lower(): kind for name, kind in KINDS.items()}
    if isinstance(optimizer, str):
        name = _validate.choice(optimizer, "optimizer", kinds)
        return kinds[name](1e-2) if name == "sgd" else kinds[name]()  # type: ignore[call-arg]  # all others have one
    cure = f": call it, {optimizer.__name__}(...)" if isinstance(optimizer, type) else ""
    got = _validate.shown(optimizer)
    raise TypeError(f'optimizer: expected an object such as Adam(1e-3), or a name such as "adam", got {got}{cure}')


def check_vector(name: str, vector: Array, parameters: Array) -> None:
    if vector.shape != parameters.shape or vector.dtype != parameters.dtype:
        got = f"{vector.dtype} {_validate.shown(vector.shape)}"
        raise ValueError(f"state: expected {parameters.dtype} {parameters.shape} for {name}, got {got}")
    if not _core.all_finite(vector):
        raise ValueError(f"state: expected finite numbers in {_validate.shown(name)}")
