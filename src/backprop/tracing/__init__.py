"""Every number of one training step, with its formula: `Sequential.trace`."""

from .trace import MOST_ROWS, Trace, trace

__all__ = ["MOST_ROWS", "Trace", "trace"]
