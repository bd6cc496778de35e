"""Training: the loop over the epochs of a fit, and the ways of making the steps of one."""

from .begin import begin, seed_of
from .evaluation import evaluate
from .history import History
from .loop import fit
from .run import Run, Settings

__all__ = ["History", "Run", "Settings", "begin", "evaluate", "fit", "seed_of"]
