"""Objects that know how they were built: layers, losses, schedules, optimizers and callbacks.

A class is declared by the signature of its constructor, which assigns each argument to an attribute of the same name,
and by a gate for each attribute. That is enough for what is assigned later to be what the constructor would take, for a
configuration that JSON can hold, for a repr that builds the object again, and for equality.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, ClassVar, TypeVar

import numpy as np

from . import _validate, _words

T = TypeVar("T")


def arguments(kind: type) -> Mapping[str, Parameter]:
    """The arguments of a constructor by name, in order; its ``**common`` are those of the constructor it calls."""
    found: Mapping[str, Parameter] | None = vars(kind).get("_signature")
    if found is None:
        given = inspect.signature(kind).parameters.values()
        own = {p.name: p for p in given if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if any(p.kind is p.VAR_KEYWORD for p in given):
            builders = [base for base in kind.__mro__ if "__init__" in vars(base) and base is not object]
            own |= {name: p for name, p in arguments(builders[1]).items() if name not in own} if builders[1:] else {}
        found = own
        setattr(kind, "_signature", found)  # noqa: B010 - kept with its class
    return found


def from_config(config: Mapping[str, Any], kinds: Mapping[str, type[T]]) -> T:
    """Build an object from what `Described.config` returned: of one of these classes, and of no other."""
    given = dict(config)
    return kinds[_validate.choice(given.pop("name", None), "name", kinds)](**given)


class Described:
    """What has such a declaration. The first class of a family names it, for the words of messages."""

    _family: ClassVar[str]
    _checks: ClassVar[bool]
    #: What an attribute passes whenever it is assigned, by the constructor or later; a subclass adds its own.
    _gates: ClassVar[Mapping[str, _validate.Gate]] = {}
    #: How many arguments the repr writes without their names, where the constructor takes them so.
    _positional: ClassVar[int] = 1
    #: Arguments that it writes even if they are as by default.
    _always: ClassVar[tuple[str, ...]] = ()
    #: What is put around a method that a subclass brings, by its name.
    _wrappers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def __init_subclass__(cls, family: str = "", **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._family = family or cls._family
        cls._gates = {
            name: gate for kind in reversed(cls.__mro__) for name, gate in vars(kind).get("_gates", {}).items()
        }
        cls._checks = cls._check_arguments is not Described._check_arguments
        wrappers = {"__init__": _words.helpful(cls._family), **({} if family else cls._wrappers)}
        for name, wrapper in wrappers.items():
            if name in vars(cls):
                setattr(cls, name, wrapper(vars(cls)[name]))

    def __setattr__(self, name: str, value: Any) -> None:
        """What is assigned must be what the constructor would take."""
        gate = self._gates.get(name)
        value = value if gate is None else gate(value, name)
        if self._checks and name in (names := type(self)._arguments()):
            after = {**vars(self), name: value}
            if after.keys() >= names.keys():
                self._check_arguments(after)
        super().__setattr__(name, value)

    def _check_arguments(self, given: Mapping[str, Any]) -> None:
        """Refuse arguments that do not go with one another; asked before each assignment, once all are there."""

    @classmethod
    def _arguments(cls) -> Mapping[str, Parameter]:
        return arguments(cls)

    def _values(self) -> dict[str, Any]:
        """What it was built with, as it is now."""
        names = self._arguments()
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise TypeError(
                f"config: expected arguments kept as attributes of their names, got {self!r} without {missing}"
            )
        return {name: getattr(self, name) for name in names}

    def config(self) -> dict[str, Any]:
        """The class and the arguments that build it again, as JSON can hold them."""
        return {"name": type(self).__name__, **{name: self._written(value) for name, value in self._values().items()}}

    def _written(self, value: Any) -> Any:
        """An argument, as JSON can hold it."""
        return value.config() if isinstance(value, Described) else value

    def _shown(self, value: Any) -> Any:
        """An argument, as the repr shows it."""
        return value

    def _alike(self, other: object) -> bool:
        """Whether the other was built alike."""
        return isinstance(other, Described) and type(self) is type(other) and self._values() == other._values()

    def __repr__(self) -> str:
        """The call that builds it, without what is as it is by default."""
        words = []
        for i, (name, parameter) in enumerate(type(self)._arguments().items()):
            value = type(self)._shown(self, getattr(self, name, parameter.default))
            if name in self._always or not _same(value, parameter.default):
                named = i >= self._positional or parameter.kind is Parameter.KEYWORD_ONLY
                words.append(f"{name}={value!r}" if named else f"{value!r}")
        return f"{type(self).__name__}({', '.join(words)})"


def _same(value: Any, default: Any) -> bool:
    """Whether this is the default; an array is not, unless it is the same one."""
    same = value == default
    return bool(same) if isinstance(same, (bool, np.bool_)) else value is default
