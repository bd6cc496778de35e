from . import base as _base
from .base import *  # noqa: F403
from .base import KINDS, Array, Common, Rate, from_config, get

__doc__ = _base.__doc__
__all__ = [*_base.__all__]
