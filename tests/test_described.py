"""What every object that knows how it was built can do: its arguments, gates, configuration, repr and equality."""

import json
from typing import ClassVar

import numpy as np
import pytest

import backprop as bp
from backprop import _described, _validate, schedules
from backprop._described import Described, arguments


class Base(Described, family="Loss"):
    _gates: ClassVar = {"size": _validate.integer, "label": lambda value, name: value.lower()}

    def __init__(self, size, *, label="x", common=None):
        self.size, self.label, self.common = size, label, common


class Pair(Base):
    _gates: ClassVar = {"least": _validate.integer}

    def __init__(self, least, most=9, **common):
        super().__init__(1, **common)
        self.most = most
        self.least = least

    def _check_arguments(self, given):
        if given["least"] > given["most"]:
            raise ValueError("least: expected no more than most")


def test_arguments_are_those_of_the_constructors():
    assert list(arguments(Base)) == ["size", "label", "common"]
    assert list(arguments(Pair)) == ["least", "most", "size", "label", "common"]
    assert arguments(Pair) is arguments(Pair)


def test_gates_are_inherited_and_passed_at_every_assignment():
    pair = Pair(3, label="Y")
    assert pair.label == "y" and Pair._gates.keys() == {"size", "label", "least"}
    for name, value in (("size", 0), ("size", "x"), ("least", 0.5)):
        before = getattr(pair, name)
        with pytest.raises((TypeError, ValueError), match=f"^{name}: expected a whole number"):
            setattr(pair, name, value)
        assert getattr(pair, name) == before


def test_arguments_that_do_not_go_together_are_refused_at_once():
    with pytest.raises(ValueError, match="no more than most"):
        Pair(10)
    pair = Pair(3)
    with pytest.raises(ValueError, match="no more than most"):
        pair.most = 2
    assert pair.most == 9
    cosine = schedules.Cosine(0.1, 10, warmup=5)
    with pytest.raises(ValueError, match="warmup: expected a whole number from 0 to 4"):
        cosine.steps = 5
    assert cosine.steps == 10


def test_a_repr_is_the_call_without_defaults():
    assert repr(Base(2)) == "Base(2)" and repr(Base(2, label="Z")) == "Base(2, label='z')"
    assert repr(bp.Dense(2, 3, "relu", l2=0.5)) == "Dense(2, 3, 'relu', l2=0.5)"
    assert repr(bp.Focal(1.0, 0.25)) == "Focal(1.0, alpha=0.25)"
    assert repr(schedules.Step(0.1, 3)) == "schedules.Step(learning_rate=0.1, every=3, factor=0.1)"


def test_a_configuration_is_json_and_builds_it_again():
    made = Base(2, label="z", common=Base(3))
    config = json.loads(json.dumps(made.config()))
    assert config == {
        "name": "Base", "size": 2, "label": "z", "common": {"name": "Base", "size": 3, "label": "x", "common": None}
    }  # fmt: skip
    assert repr(_described.from_config(config | {"common": None}, {"Base": Base})) == "Base(2, label='z')"


def test_only_a_class_of_the_table_is_built():
    kinds = {"Step": schedules.Step}
    assert _described.from_config(schedules.Step(0.1, 3).config(), kinds) == schedules.Step(0.1, 3)
    for config in ({"name": "Cosine"}, {}, {"name": None}):
        with pytest.raises((TypeError, ValueError), match="name: expected one of Step"):
            _described.from_config(config, kinds)


def test_alike_is_built_alike():
    assert schedules.Step(0.1, 3) == schedules.Step(0.1, 3) != schedules.Step(0.1, 4)
    assert bp.Dense(2, 3) == bp.Dense(2, 3) != bp.Dense(2, 3, "relu")
    assert bp.Huber() != bp.Huber()  # a loss, as an optimizer, stands for itself


def test_a_method_that_a_subclass_brings_is_wrapped():
    class Counted(Described, family="Loss"):
        _wrappers: ClassVar = {"step": lambda step: lambda self: step(self) + 1}

        def step(self):
            return 0

    class Own(Counted):
        def step(self):
            return 10

    assert (Counted().step(), Own().step()) == (0, 11)


def test_a_wrong_argument_is_told_what_to_write():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'sizes'.*did you mean size"):
        Base(sizes=2)


def test_what_a_custom_callback_calls_its_attributes_is_up_to_it():
    class Watching(bp.Callback):
        def __init__(self, rows=None, names=()):
            self.rows, self.names = rows, names
            self._shown, self._arguments = 3, ["a"]

    it = Watching(np.zeros(3))
    it.names = ("b",)
    assert repr(it) == "Watching(array([0., 0., 0.]), names=('b',))" and repr(Watching()) == "Watching()"
