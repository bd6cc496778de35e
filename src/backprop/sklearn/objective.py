"""What a network is trained on."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..activations import ActivationFunction

__all__ = ["Objective"]


class Objective(NamedTuple):
    """What a network is trained on, beside what scikit-learn's is.

    Its gradient times `scale` is scikit-learn's gradient, its value times `reported` what scikit-learn reports: the two
    differ where several outputs have a squared error. An own loss is its own measure.
    """

    loss: Any
    n_out: int
    end: str | ActivationFunction
    scale: float = 1.0
    reported: float = 1.0
