"""The step of an optimizer for one parameter, with the numbers put in: from its gradient to its new value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .formulas import at, factor, number

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["Line", "frozen", "new_value", "stepped"]


class Line(NamedTuple):
    """A number, and what it is computed from."""

    name: str
    expression: str
    value: float

    def __str__(self) -> str:
        return f"{self.name} = {self.expression} = {number(self.value)}"


class _Numbers:
    """What the step of one parameter depends on."""

    def __init__(self, trace: Trace, name: str, where: tuple[int, ...]) -> None:
        assert trace.update is not None
        self._trace, self._name, self._where = trace, name, where
        self.made: Any = trace.update.optimizer
        its = self.made.factors(name)
        self.t, self.rate = trace.update.number, trace.update.learning_rate * its.learning_rate
        self.weight_decay = trace.update.weight_decay * its.weight_decay
        self.epsilon = getattr(self.made, "epsilon", 0.0) * its.epsilon
        self.p, self.new, self.raw = (self._of(word) for word in ("", ".new", ".gradient"))
        #: The gradient with the weight decay that is coupled to it.
        coupled = self.made.kernel not in ("adamw", "lion")
        self.decay = self.weight_decay if coupled else 0.0
        self.g = self.raw + self.decay * self.p

    def _of(self, word: str) -> float:
        return float(self._trace.values[self._name + word][self._where])

    def before(self, slot: str) -> float:
        """A number of its state."""
        return self._of(f".{slot}.before")

    def after(self, slot: str) -> float:
        """The same, after the step."""
        return self._of(f".{slot}.after")


#: The intermediate results of a step, and what is subtracted from the parameter.
Worked = tuple[list[Line], str]


def stepped(trace: Trace, name: str, where: tuple[int, ...]) -> list[Line]:
    """The lines of a step, of which the last is the new value; none where it is not told, as with clipped gradients."""
    update = trace.update
    made: Any = None if update is None else update.optimizer
    if made is None or made.kernel not in _STEPS or made.clip_value or made.clip_norm or frozen(trace, name):
        return []
    n = _Numbers(trace, name, where)
    decayed = [Line("g", f"{factor(n.raw)} + {number(n.decay)} * {factor(n.p)}", n.g)] if n.decay else []
    lines, subtracted = _STEPS[made.kernel](n)
    return [*decayed, *lines, Line(at(f"{name}.new", *where), f"{number(n.p)} - {subtracted}", n.new)]


def new_value(trace: Trace, name: str, where: tuple[int, ...]) -> str:
    """The last of these lines, without its name; or the new value alone."""
    lines = stepped(trace, name, where)
    new = trace.values[f"{name}.new"][where]
    return f"{lines[-1].expression} = {number(new)}" if lines else number(new)


def frozen(trace: Trace, name: str) -> bool:
    """Whether a parameter is one that training leaves alone."""
    layers = (step.operation.layer for step in trace.steps.values() if name.startswith(f"{step.name}."))
    return any(layer is not None and not layer.trainable for layer in layers)


def _average(name: str, beta: float, before: float, other: str, after: float) -> Line:
    """A moving average."""
    return Line(name, f"{number(beta)} * {factor(before)} + {number(1 - beta)} * {other}", after)


def _square(value: float) -> str:
    return f"{factor(value)}^2"


def _sgd(n: _Numbers) -> Worked:
    if not n.made.momentum:
        return [], f"{number(n.rate)} * {factor(n.g)}"
    m, momentum = n.after("momentum"), number(n.made.momentum)
    line = Line("m", f"{momentum} * {factor(n.before('momentum'))} + {factor(n.g)}", m)
    ahead = f"({factor(n.g)} + {momentum} * {factor(m)})" if n.made.nesterov else factor(m)
    return [line], f"{number(n.rate)} * {ahead}"


def _rmsprop(n: _Numbers) -> Worked:
    v = n.after("square")
    lines, spread = [_average("v", n.made.alpha, n.before("square"), _square(n.g), v)], number(v)
    if n.made.centered:
        a = n.after("mean")
        lines.append(_average("a", n.made.alpha, n.before("mean"), factor(n.g), a))
        spread, v = f"{spread} - {_square(a)}", max(v - a * a, 0.0)
    d = n.g / (math.sqrt(v) + n.epsilon)
    lines.append(Line("d", f"{factor(n.g)} / (sqrt({spread}) + {number(n.epsilon)})", d))
    if n.made.momentum:
        d, before = n.after("momentum"), factor(n.before("momentum"))
        lines.append(Line("m", f"{number(n.made.momentum)} * {before} + {factor(lines[-1].value)}", d))
    return lines, f"{number(n.rate)} * {factor(d)}"


def _adagrad(n: _Numbers) -> Worked:
    v = n.after("sum")
    line = Line("v", f"{number(n.before('sum'))} + {_square(n.g)}", v)
    return [line], f"{number(n.rate)} * {factor(n.g)} / (sqrt({number(v)}) + {number(n.epsilon)})"


def _adadelta(n: _Numbers) -> Worked:
    v, u, rho, epsilon = n.after("square"), n.before("step"), n.made.rho, n.epsilon
    d = n.g * math.sqrt(u + epsilon) / math.sqrt(v + epsilon)
    roots = f"sqrt({number(u)} + {number(epsilon)}) / sqrt({number(v)} + {number(epsilon)})"
    lines = [
        _average("v", rho, n.before("square"), _square(n.g), v), Line("d", f"{factor(n.g)} * {roots}", d),
        _average("u", rho, u, _square(d), n.after("step")),
    ]  # fmt: skip
    return lines, f"{number(n.rate)} * {factor(d)}"


def _moments(n: _Numbers) -> tuple[list[Line], float, float]:
    """Adam's two moments, and both without their bias."""
    beta1, beta2 = n.made.beta1, n.made.beta2
    m, v, w = n.after("mean"), n.after("square"), n.after("largest" if getattr(n.made, "amsgrad", False) else "square")
    unbiased = m / (1 - beta1**n.t), w / (1 - beta2**n.t)
    lines = [
        _average("m", beta1, n.before("mean"), factor(n.g), m),
        _average("v", beta2, n.before("square"), _square(n.g), v),
        Line("m'", f"{factor(m)} / (1 - {number(beta1)}^{n.t})", unbiased[0]),
        Line("v'", f"{number(w)} / (1 - {number(beta2)}^{n.t})", unbiased[1]),
    ]  # fmt: skip
    return lines, *unbiased


def _adam(n: _Numbers) -> Worked:
    lines, m, v = _moments(n)
    step = f"{factor(m)} / (sqrt({number(v)}) + {number(n.epsilon)})"
    if n.made.kernel == "adamw":
        return lines, f"{number(n.rate)} * ({number(n.weight_decay)} * {factor(n.p)} + {step})"
    return lines, f"{number(n.rate)} * {step}"


def _nadam(n: _Numbers) -> Worked:
    lines, _, v = _moments(n)
    decay, beta1 = n.made.momentum_decay, n.made.beta1
    mu = [beta1 * (1 - 0.96 ** (i * decay) / 2) for i in range(1, min(n.t, 20_000) + 2)]  # the product is 0 long before
    product = math.prod(mu[:-1])
    a, b = (1 - mu[-2]) / (1 - product), mu[-1] / (1 - product * mu[-1])
    ahead = f"({number(a)} * {factor(n.g)} + {number(b)} * {factor(n.after('mean'))})"
    unused = lines.pop(2)  # m', which is another here
    assert unused.name == "m'"
    return lines, f"{number(n.rate)} * {ahead} / (sqrt({number(v)}) + {number(n.epsilon)})"


def _radam(n: _Numbers) -> Worked:
    lines, m, _ = _moments(n)
    beta2, v = n.made.beta2, n.after("square")
    longest, power = 2 / (1 - beta2) - 1, beta2**n.t
    length = longest - 2 * n.t * power / (1 - power)
    decayed = f"{number(beta2)}^{n.t}"
    lines[3] = Line("s", f"{number(longest)} - 2 * {n.t} * {decayed} / (1 - {decayed})", length)
    if length <= 5:
        return lines, f"{number(n.rate)} * {factor(m)}"
    r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    root = f"sqrt(1 - {decayed}) / (sqrt({number(v)}) + {number(n.epsilon)})"
    return lines, f"{number(n.rate)} * {number(r)} * {factor(m)} * {root}"


def _lion(n: _Numbers) -> Worked:
    m, beta1, beta2 = n.before("mean"), n.made.beta1, n.made.beta2
    c = beta1 * m + (1 - beta1) * n.raw
    lines = [
        _average("c", beta1, m, factor(n.raw), c), _average("m", beta2, m, factor(n.raw), n.after("mean")),
    ]  # fmt: skip
    sign = f"sign({number(c)})"
    if n.weight_decay:
        sign = f"({sign} + {number(n.weight_decay)} * {factor(n.p)})"
    return lines, f"{number(n.rate)} * {sign}"


def _rprop(n: _Numbers) -> Worked:
    g, size = n.after("gradient"), n.after("step")
    agrees = n.raw * n.before("gradient")
    eta = n.made.eta_plus if agrees > 0 else n.made.eta_minus if agrees < 0 else 1
    bounds = f"at least {number(n.made.step_min)}, at most {number(n.made.step_max)}"
    line = Line("step", f"{number(n.before('step'))} * {number(eta)}, {bounds},", size)
    return [line], f"sign({number(g)}) * {number(size)}"


_STEPS: dict[str, Callable[[_Numbers], Worked]] = {
    "sgd": _sgd, "rmsprop": _rmsprop, "adagrad": _adagrad, "adadelta": _adadelta, "adam": _adam, "adamw": _adam,
    "nadam": _nadam, "radam": _radam, "lion": _lion, "rprop": _rprop,
}  # fmt: skip
