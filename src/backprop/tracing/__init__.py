"""Every number of one training step, with its formula: `Sequential.trace`."""

from .trace import Trace, trace

__all__ = ["Trace", "trace"]
