from . import base as _base
from .base import *  # noqa: F403
from .base import HOOKS, Progress, Run, check_state, table

__doc__ = _base.__doc__
__all__ = [*_base.__all__]
