"""The head of a network: its output layer and its loss, and how that relates to scikit-learn's loss."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from .. import losses
from ..activations import ActivationFunction

__all__ = ["Head"]


class Head(NamedTuple):
    """An output layer and its loss.

    The gradient of the loss times `gradient_scale` is scikit-learn's gradient, its value times `loss_scale` what
    scikit-learn reports: the two differ where several outputs have a squared error. Of other losses both are 1.
    """

    loss: Any
    n_out: int
    activation: str | ActivationFunction
    gradient_scale: float = 1.0
    loss_scale: float = 1.0

    def for_training(self) -> Head:
        """The same with the penalties as scikit-learn counts them: alpha / 2 |w|^2, divided by the rows of a batch."""
        if not isinstance(self.loss, losses.Loss):
            return self
        loss = copy.copy(self.loss)
        loss.shares_penalties = True
        return self._replace(loss=loss)
