"""Elementwise layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import _validate, activations, schedules
from .base import Array, Builder, Layer, SameSize


class Activation(SameSize):
    """y = f(x), an activation by itself: for something between a layer's weights and its activation.

    Parameters
    ----------
    activation : str or ActivationFunction
        f, by name or from `backprop.activations`.
    """

    operation = "activation"

    def __init__(self, activation: str | activations.ActivationFunction) -> None:
        self.activation = activations.get(activation)


class ParametricActivation(SameSize):
    """y = (1 - weight) x + weight f(x): an activation of which each unit learns how much of it it takes.

    Parameters
    ----------
    activation : str or ActivationFunction
        f, by name or from `backprop.activations`.

    Attributes
    ----------
    weight : numpy.ndarray, shape (n,)
        One for each feature, a view into ``net.parameters``; 1 at first, where y = f(x). With 0, y = x.

    References
    ----------
    Holzmüller, Grinsztajn, Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024, appendix A.
    """

    operation = "lerp"

    weight: Array
    weight_grad: Array

    def __init__(self, activation: str | activations.ActivationFunction) -> None:
        self.activation = activations.get(activation)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight`, one for each feature."""
        return {"weight": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """All of the activation."""
        self.weight[:] = 1

    def operations(self, graph: Builder, source: str, name: str) -> str:
        """The activation, and what lies between x and it."""
        inner = Activation(self.activation)
        inner.connect(self.n_in)
        applied = graph.add(inner, f"{name}.0", source, part=True)
        return graph.add(self, name, source, applied, activation=activations.identity)


class Dropout(SameSize):
    """In training, zero each input with probability `rate` and divide the others by 1 - rate; else do nothing.

    Parameters
    ----------
    rate : float or Schedule
        At least 0, below 1. A schedule from `backprop.schedules` gives it step by step, by ``net.steps``.

    Notes
    -----
    Inverted dropout [1]_. The mask is a function of the network's seed, the training step and the place in the
    mini-batch: it depends neither on the number of threads nor on what was computed before.

    References
    ----------
    .. [1] Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.
    """

    operation = "dropout"
    attributes = ("rate",)
    _gates: ClassVar = {"rate": schedules.or_number(_validate.share)}

    def __init__(self, rate: float | schedules.Schedule) -> None:
        self.rate = rate

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Build a layer from what `config` returned."""
        if isinstance(config.get("rate"), dict):
            config = {**config, "rate": schedules.from_config(config["rate"])}
        return super().from_config(config)


class Clip(SameSize):
    """In evaluation mode, y = x kept between two bounds; in training y = x, so that no row is without a gradient.

    At the end of a network of regression, the smallest and the largest target of the training: then no prediction is
    beyond what was ever seen.

    Parameters
    ----------
    low, high : float
        The bounds; low is below high.
    """

    operation = "clip"
    attributes = ("low", "high")
    _fixed = ("low", "high")
    _positional = 2
    _gates: ClassVar = {name: partial(_validate.number, least=-1e30, below=1e30) for name in attributes}

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def _check_arguments(self, given: Mapping[str, Any]) -> None:
        if not given["low"] < given["high"]:
            raise ValueError(f"high: expected a number above low, {given['low']}, got {given['high']}")


class PReLU(SameSize):
    """y = x where x > 0, else weight x: a leaky ReLU whose slope is trained, one for each feature.

    Parameters
    ----------
    slope : float, default 0.25
        Initial slope; at least 0, below 1.

    Attributes
    ----------
    weight : numpy.ndarray, shape (n,)
        The slopes, a view into ``net.parameters``.

    References
    ----------
    He et al., "Delving deep into rectifiers", ICCV 2015, eq. 1.
    """

    operation = "prelu"
    _gates: ClassVar = {"slope": _validate.share}

    weight: Array
    weight_grad: Array

    def __init__(self, slope: float = 0.25) -> None:
        self.slope = slope

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight`, one for each feature."""
        return {"weight": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """All slopes alike."""
        self.weight[:] = self.slope


class Scale(SameSize):
    """y = weight x, with a trainable factor for each feature.

    Parameters
    ----------
    initial : float, default 1.0
        Initial factor.

    Attributes
    ----------
    weight : numpy.ndarray, shape (n,)
        The factors, a view into ``net.parameters``.
    """

    operation = "scale"
    _gates: ClassVar = {"initial": partial(_validate.number, least=-1e30, below=1e30)}

    weight: Array
    weight_grad: Array

    def __init__(self, initial: float = 1.0) -> None:
        self.initial = initial

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight`, one for each feature."""
        return {"weight": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """All factors alike."""
        self.weight[:] = self.initial
