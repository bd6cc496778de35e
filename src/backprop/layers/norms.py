"""Layers that normalize: each sample, or each feature over the mini-batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from .. import _validate
from .base import Array, SameSize


class _Norm(SameSize):
    """y = weight (x - mean) / sqrt(variance + epsilon) + bias."""

    weight: Array
    bias: Array
    weight_grad: Array
    bias_grad: Array
    epsilon: float

    attributes: ClassVar[Sequence[str]] = ("epsilon",)
    _gates: ClassVar = {"epsilon": _validate.positive}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight` and `bias`, one for each feature."""
        return {"weight": (self.n_out,), "bias": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """Weight 1, bias 0."""
        self.weight[:], self.bias[:] = 1, 0


class LayerNorm(_Norm):
    """Normalize each sample: y = weight (x - mean) / sqrt(variance + epsilon) + bias, over its features.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance, for numerical stability; above 0.

    Attributes
    ----------
    weight, bias : numpy.ndarray, shape (n,)
        Views into ``net.parameters``; 1 and 0 at first.

    References
    ----------
    Ba, Kiros, Hinton, "Layer normalization", 2016, eq. 4. The variance is that of the sample, divided by n.
    """

    operation = "layer_norm"

    def __init__(self, *, epsilon: float = 1e-5) -> None:
        self.epsilon = epsilon


class BatchNorm(_Norm):
    """Normalize each feature: y = weight (x - mean) / sqrt(variance + epsilon) + bias, over the mini-batch.

    `predict` takes the running mean and variance instead, which follow those of the batches: after each step of a fit,
    and in each `Sequential.forward` by hand, running += momentum (batch - running).

    Parameters
    ----------
    momentum : float, default 0.1
        Weight of a mini-batch in the running statistics; at least 0, at most 1. It may be changed in a network. 0
        freezes them,
        as ``trainable = False`` does: then training is normalized by them too.
    epsilon : float, default 1e-5
        Added to the variance, for numerical stability; above 0.

    Attributes
    ----------
    weight, bias : numpy.ndarray, shape (n,)
        Views into ``net.parameters``; 1 and 0 at first.
    running_mean, running_variance : numpy.ndarray, shape (n,)
        0 and 1 at first. They are saved with the network, and not trained.

    Notes
    -----
    As in PyTorch, a mini-batch is normalized by its variance divided by n, and the running variance follows the one
    divided by n - 1. A full batch is kept in memory as a whole.

    With frozen statistics it computes the same in training as in `predict`, as in Keras. A mini-batch of a single
    sample has no variance: it is normalized by the running statistics, and leaves them alone. Each sample counts the
    same in the mean and variance of its mini-batch, whatever its sample_weight.

    `Sequential.update_statistics` sets the running statistics to those of given rows.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
    """

    operation = "batch_norm"
    attributes: ClassVar = ("epsilon", "momentum")
    _adjustable = ("momentum",)
    _gates: ClassVar = {"momentum": partial(_validate.number, least=0, below=math.nextafter(1, 2))}

    running_mean: Array
    running_variance: Array

    def __init__(self, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        self.momentum = momentum
        self.epsilon = epsilon

    @property
    def frozen(self) -> bool:
        """Whether its running statistics stay as they are, and normalize in training too."""
        return not (self.trainable and self.momentum)

    def effective_momentum(self) -> float:
        """The momentum, 0 where frozen: the core asks at the beginning of each run, since it may have changed."""
        return 0.0 if self.frozen else self.momentum

    def buffers(self) -> dict[str, tuple[int, ...]]:
        """`running_mean` and `running_variance`, one for each feature."""
        return {"running_mean": (self.n_out,), "running_variance": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        """Weight 1, bias 0; running mean 0, running variance 1."""
        super().initialize(rng)
        self.running_mean[:], self.running_variance[:] = 0, 1
