"""Models and checkpoints as files. Its modules are imported when they are asked for: most programs write no file."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import atomic as atomic
    from . import checkpoint as checkpoint
    from . import model as model
    from . import safetensors as safetensors
    from . import strict_json as strict_json

__all__ = ["atomic", "checkpoint", "model", "safetensors", "strict_json"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
