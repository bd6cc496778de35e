"""Optimizers: how a gradient becomes a step. Definitions and defaults are PyTorch's.

An optimizer carries its state, and belongs to the first network that it steps: passed again, it goes on where it was.

In the formulas g is the gradient, p the parameters, t the number of the step, from 1; sums and quotients are meant
number by number.
"""

from typing import TYPE_CHECKING, Any

from .base import KINDS as KINDS
from .base import Common as Common
from .base import FullBatch as FullBatch
from .base import Optimizer
from .base import Rate as Rate
from .base import declare as _declare
from .base import from_config as from_config
from .base import get as get
from .first_order import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, RAdam, RMSprop, Rprop
from .lbfgs import LBFGS
from .levenberg_marquardt import LevenbergMarquardt

__all__ = [
    "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "LevenbergMarquardt", "Lion", "NAdam", "Optimizer", "RAdam",
    "RMSprop", "Rprop",
]  # fmt: skip

_declare(*(globals()[name] for name in __all__ if name != "Optimizer"))

if TYPE_CHECKING:
    from .groups import neural_tangent as neural_tangent
else:

    def __getattr__(name: str) -> Any:
        """What is imported when it is first asked for."""
        if name == "neural_tangent":
            from .groups import neural_tangent

            return neural_tangent
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
